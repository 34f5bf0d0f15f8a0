//! `watch`: debts past their deadline alarm, and what was opened for that is put back.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use rs_cli::{Context, Exit, Journal};
use rs_contract::{Error, Kind, Mode, Place, State};
use rs_model::act::Debt;
use rs_records::Record;

/// Flags of `watch`.
#[derive(clap::Args)]
pub struct Watch {
    /// Look once, for cron or a timer: exit 3 when a deadline has passed, also when it is put back
    #[arg(long)]
    once: bool,
    /// Look again after this
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "60s", conflicts_with = "once")]
    every: Duration,
    /// Program to call with the records of new alarms on its stdin
    #[arg(long, value_name = "FILE")]
    hook: Option<PathBuf>,
    /// Send new alarms to this address, by the machine's sendmail
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    mail: Option<String>,
}

/// An address that sendmail cannot take for a flag.
fn address(written: &str) -> std::result::Result<String, rs_model::Bad> {
    match written.starts_with('-') || written.trim().is_empty() || written.contains('\n') {
        true => {
            Err(rs_model::Bad::new(format!("{written:?} is no address"), "write ops@example.com"))
        }
        false => Ok(written.to_owned()),
    }
}

/// The name under which the heartbeat is left: `heartbeat/journal-watch`.
const BEAT: &str = "journal-watch";

pub fn run(cx: &Context, watch: &Watch) -> Result<Exit> {
    let place = cx.place()?;
    let mut told = BTreeSet::new();
    loop {
        let (late, undone) = look(cx, &place)?;
        if !watch.once {
            cx.takes_its_time();
        }
        let none = late.is_empty() && undone.is_empty();
        let mut alarms: Vec<Alarm> = undone;
        alarms.extend(
            late.iter()
                .filter(|alarm| {
                    let debt = &alarm.debt;
                    told.insert((debt.deployment.clone(), debt.key.clone(), debt.since.clone()))
                })
                .cloned(),
        );
        let records: Vec<Record> = alarms.iter().map(Alarm::record).collect();
        cx.emit(&records)?;
        for alarm in &alarms {
            cx.warn(&alarm.text());
        }
        if !alarms.is_empty() {
            if let Some(hook) = &watch.hook {
                let lines: String = records.iter().map(|record| record.line() + "\n").collect();
                call(
                    &mut Command::new(hook),
                    &lines,
                    "it gets rs.debt/1 records on stdin, one a line, and must end with 0",
                )?;
            }
            if let Some(mail) = &watch.mail {
                let text: String = alarms.iter().map(|alarm| alarm.text() + "\n").collect();
                let letter =
                    format!("To: {mail}\nSubject: {} past their deadline\n\n{text}", alarms.len());
                call(
                    Command::new("sendmail").args(["-i", "--", mail]),
                    &letter,
                    "the machine's sendmail must take a letter on stdin; or use --hook",
                )?;
            }
        }
        if watch.once {
            return Ok(if none { Exit::Done } else { Exit::No });
        }
        std::thread::sleep(watch.every);
    }
}

/// A debt past its deadline, and what was done about it.
#[derive(Clone)]
struct Alarm {
    debt: Debt,
    /// Put back by us; otherwise why not.
    undone: std::result::Result<(), String>,
}

impl Alarm {
    fn record(&self) -> Record {
        let mut record = Record::of(&self.debt);
        record.nest("settle", rs_cli::shell_words(&self.debt.inverse));
        record.nest("undone", self.undone.is_ok());
        if let Err(why) = &self.undone {
            record.nest("kept", why);
        }
        record
    }

    fn text(&self) -> String {
        let debt = &self.debt;
        let (deployment, key, subject) = (&debt.deployment, &debt.key, &debt.subject);
        let deadline = debt.deadline.as_deref().unwrap_or_default();
        let command = rs_cli::shell_words(&debt.inverse);
        match &self.undone {
            Ok(()) => format!(
                "{deployment:?}: {key} on {subject} was past its deadline {deadline} and is put back ({command})"
            ),
            Err(why) => format!(
                "{deployment:?}: {key} on {subject} is past its deadline {deadline} ({}; not put back: {why}; try: \
                 {command})",
                debt.reason
            ),
        }
    }
}

/// What is past its deadline and stays so, and what was put back, of the deployment that is named or of all; leaves the
/// heartbeat.
fn look(cx: &Context, place: &Place) -> Result<(Vec<Alarm>, Vec<Alarm>)> {
    let state = rs_drivers::state(place)?;
    let journal = Journal::new(state.as_ref());
    let debts = match &cx.common.deployment {
        Some(name) => journal.debts(name)?,
        None => journal.all_debts()?,
    };
    if debts.is_empty() {
        crate::acts(cx)?;
    }
    let mut alarms = Vec::new();
    for debt in debts {
        let Some(deadline) = &debt.deadline else { continue };
        let deadline: Timestamp = deadline.parse().map_err(|e| {
            Error::new(Kind::Failed, format!("the deadline of {} is {deadline:?}", debt.key))
                .because(e)
        })?;
        if deadline <= Timestamp::now() {
            let undone = undo(cx, state.as_ref(), &debt)?;
            alarms.push(Alarm { debt, undone });
        }
    }
    if place.mode != Mode::DryRun {
        journal.beat(BEAT)?;
    }
    Ok(alarms.into_iter().partition(|alarm| alarm.undone.is_err()))
}

/// Puts back what may be put back by a clock; otherwise why not.
fn undo(cx: &Context, state: &dyn State, debt: &Debt) -> Result<std::result::Result<(), String>> {
    let journal = Journal::new(state);
    let acts = if debt.undo_on_deadline { journal.acts()? } else { Vec::new() };
    let holder = state.holder(&debt.deployment)?.map(|holder| holder.run);
    if let Err(why) = rs_model::act::by_the_clock(debt, holder.as_deref(), &acts) {
        return Ok(Err(why));
    }
    let Some((tool, args)) = debt.inverse.split_first() else {
        return Ok(Err("it names no command that does".into()));
    };
    let ran = own_tool(tool).and_then(|program| {
        let mut command = Command::new(program);
        command.args(args).env("RS_DEPLOYMENT", &debt.deployment);
        // it belongs to no run: should one begin meanwhile, the tool declines by itself
        command.env_remove("RS_UPGRADE").env_remove("RS_EPOCH");
        for (name, value) in [("RS_CLOUD", &cx.common.cloud), ("RS_STATE", &cx.common.store)] {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .map_err(|e| format!("{tool}: {e}"))
    });
    let output = match ran {
        Ok(output) => output,
        Err(why) => return Ok(Err(why)),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim_end().lines().last().unwrap_or_default();
        return Ok(Err(format!("it was tried and failed ({}): {last}", output.status)));
    }
    Ok(match journal.debt(&debt.deployment, &debt.key)? {
        None => Ok(()),
        Some(_) => Err("its command ended well, and it is still owed".into()),
    })
}

/// One of our tools: beside ourselves, else on the PATH; nothing else is started for a debt.
fn own_tool(name: &str) -> std::result::Result<PathBuf, String> {
    let ours = name.strip_prefix("rs-").is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    });
    if !ours {
        return Err(format!("its command {name:?} is none of our tools"));
    }
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(name));
    Ok(beside.filter(|program| program.exists()).unwrap_or_else(|| name.into()))
}

/// Starts a program with a text on its stdin; it must end well.
fn call(program: &mut Command, text: &str, hint: &str) -> Result<()> {
    let name = program.get_program().to_string_lossy().into_owned();
    let failed =
        |e: String| Error::new(Kind::Failed, format!("{name} failed")).because(e).hint(hint);
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // it need not read what it gets
        let _ = stdin.write_all(text.as_bytes());
    }
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if !status.success() {
        return Err(failed(status.to_string()).into());
    }
    Ok(())
}
