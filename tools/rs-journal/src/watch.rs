//! `watch`: debts past their deadline alarm; nothing is undone by a clock.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use rs_cli::{Context, Exit, Journal};
use rs_contract::{Error, Kind, Mode, Place};
use rs_model::act::Debt;
use rs_records::Record;

/// Flags of `watch`.
#[derive(clap::Args)]
pub struct Watch {
    /// Look once, for cron or a timer: exit 3 when a deadline has passed
    #[arg(long)]
    once: bool,
    /// Look again after this
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "60s", conflicts_with = "once")]
    every: Duration,
    /// Program to call with the records of new alarms on its stdin
    #[arg(long, value_name = "FILE")]
    hook: Option<PathBuf>,
}

/// The name under which the heartbeat is left: `heartbeat/journal-watch`.
const BEAT: &str = "journal-watch";

pub fn run(cx: &Context, watch: &Watch) -> Result<Exit> {
    let place = cx.place()?;
    let mut told = BTreeSet::new();
    loop {
        let late = look(cx, &place)?;
        if !watch.once {
            cx.takes_its_time();
        }
        let new: Vec<Debt> = late
            .iter()
            .filter(|debt| {
                told.insert((debt.deployment.clone(), debt.key.clone(), debt.since.clone()))
            })
            .cloned()
            .collect();
        cx.emit(&new.iter().map(Record::of).collect::<Vec<_>>())?;
        for debt in &new {
            cx.warn(&format!(
                "{:?}: {} on {} is past its deadline {} ({}; try: {})",
                debt.deployment,
                debt.key,
                debt.subject,
                debt.deadline.as_deref().unwrap_or_default(),
                debt.reason,
                rs_cli::shell_words(&debt.inverse)
            ));
        }
        if let Some(hook) = watch.hook.as_ref().filter(|_| !new.is_empty()) {
            call(hook, &new)?;
        }
        if watch.once {
            return Ok(if late.is_empty() { Exit::Done } else { Exit::No });
        }
        std::thread::sleep(watch.every);
    }
}

/// The debts past their deadline, of the deployment that is named or of all; leaves the heartbeat.
fn look(cx: &Context, place: &Place) -> Result<Vec<Debt>> {
    let state = rs_drivers::state(place)?;
    let journal = Journal::new(state.as_ref());
    let debts = match &cx.common.deployment {
        Some(name) => journal.debts(name)?,
        None => journal.all_debts()?,
    };
    let mut late = Vec::new();
    for debt in debts {
        let Some(deadline) = &debt.deadline else { continue };
        let deadline: Timestamp = deadline.parse().map_err(|e| {
            Error::new(Kind::Failed, format!("the deadline of {} is {deadline:?}", debt.key))
                .because(e)
        })?;
        if deadline <= Timestamp::now() {
            late.push(debt);
        }
    }
    if place.mode == Mode::Real {
        journal.beat(BEAT)?;
    }
    Ok(late)
}

fn call(hook: &PathBuf, debts: &[Debt]) -> Result<()> {
    let failed = |e: String| {
        Error::new(Kind::Failed, format!("the hook {} failed", hook.display()))
            .because(e)
            .hint("it gets rs.debt/1 records on stdin, one a line, and must end with 0")
    };
    let mut child = Command::new(hook)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let text: String = debts.iter().map(|debt| Record::of(debt).line() + "\n").collect();
    if let Some(mut stdin) = child.stdin.take() {
        // a hook need not read what it gets
        let _ = stdin.write_all(text.as_bytes());
    }
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if !status.success() {
        return Err(failed(status.to_string()).into());
    }
    Ok(())
}
