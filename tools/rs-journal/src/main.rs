//! rs-journal: what was done, by whom, how it is undone; what was cut off; and the run lock.
//!
//! stdout  `rs.act/1`     show, mark, close
//!         `rs.check/1`   verify
//!         `rs.report/1`  report --json
//!         `rs.output/1`  output --json
//!         `rs.debt/1`    watch: debts past their deadline

mod lock;
mod watch;
mod world;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args as ClapArgs, Parser, Subcommand};
use rs_cli::{Changing, Common, Context, Exit, Journal, alive, now, owner};
use rs_contract::{Error, Kind};
use rs_model::act::{Act, Outcome};
use rs_model::check::Answer;
use rs_model::journal::{self, Left, MARK, Report, Wanted};
use rs_records::Record;
use serde_json::json;

/// What was done, what was cut off, and the run lock
#[derive(Parser)]
#[command(
    version,
    before_help = "\
Examples:
  rs-journal show --run u-42 --last 20
  rs-journal show --subject 'App Server-3' --json
  rs-journal verify && rs-cleanup audit
  rs-journal report --run u-42
  rs-journal lock --upgrade u-42 -- scripts/upgrade.sh
"
)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Verb {
    /// Acts, oldest first
    #[command(before_help = "\
Examples:
  rs-journal show --last 20
  rs-journal show --run u-42 --subject 'step *'
  rs-journal show --open
")]
    Show(Show),
    /// A gate: whether every act came to an end, and the world is as they left it (exit 3 names what is not)
    #[command(before_help = "\
Examples:
  rs-journal verify
  rs-journal verify --run u-42 --json
  rs-journal verify --no-world --deployment staging --run 'u-42-rehearsal-*' --marked 'step 38'
")]
    Verify(Verify),
    /// What a run did: acts by tool with their times, steps, and how each act is undone
    #[command(before_help = "\
Examples:
  rs-journal report --run u-42
  rs-journal report --run u-42 --json | jq '.steps[]'
")]
    Report(OfRun),
    /// The whole output of an earlier run of a script
    #[command(before_help = "\
Examples:
  rs-journal output run-42
  rs-run 'code update' 'App Server-3' --json | jq -r .run.id | xargs rs-journal output
")]
    Output(Output),
    /// Alarm about debts past their deadline
    #[command(before_help = "\
Examples:
  * * * * *  rs-journal watch --once --hook /usr/local/bin/page-me     (a line for cron)
  rs-journal watch --every 30s
")]
    Watch(watch::Watch),
    /// Run a command that holds the run lock of the deployment
    #[command(before_help = "\
Examples:
  rs-journal lock --upgrade u-42 -- scripts/upgrade.sh
  rs-journal lock --upgrade u-42 --lock-wait 10m -- bash
  rs-journal lock --upgrade u-42 --take-over -- scripts/rollback.sh
")]
    Lock(lock::LockArgs),
    /// Note in the journal that something is done, e.g. a step of the upgrade
    #[command(before_help = "\
Examples:
  rs-journal mark 'step 18' --took-ms 412
")]
    Mark(Mark),
    /// Give acts that were cut off an outcome, after having looked at the world
    #[command(before_help = "\
Examples:
  rs-journal close 17 --because 'the balancer is gone for good'
")]
    Close(Close),
}

#[derive(ClapArgs)]
struct OfRun {
    /// Only acts of this run, e.g. u-42; * stands for any text
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
}

#[derive(ClapArgs)]
struct Verify {
    #[command(flatten)]
    of: OfRun,
    /// Something that must be marked as done, e.g. 'step 38'
    #[arg(long, value_name = "WHAT")]
    marked: Vec<String>,
    /// Only the journal itself: the world is not asked
    #[arg(long)]
    no_world: bool,
}

#[derive(ClapArgs)]
struct Show {
    #[command(flatten)]
    of: OfRun,
    /// Only acts on this: a name, or a subject as shown; * stands for any text
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only acts without an outcome
    #[arg(long)]
    open: bool,
    /// Only the newest so many
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// A run that did nothing yet is fine
    #[arg(long)]
    allow_none: bool,
}

#[derive(ClapArgs)]
struct Output {
    /// The run, as `run.id` of what rs-run emits
    #[arg(value_name = "RUN")]
    run: String,
}

#[derive(ClapArgs)]
struct Mark {
    /// What is done, e.g. 'step 18'
    #[arg(value_name = "WHAT")]
    what: String,
    /// How long it took, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    took_ms: u64,
    #[command(flatten)]
    changing: Changing,
}

#[derive(ClapArgs)]
struct Close {
    /// Numbers of the acts
    #[arg(value_name = "ACT", required = true)]
    acts: Vec<u64>,
    /// What was found
    #[arg(long, value_name = "TEXT")]
    because: String,
    #[command(flatten)]
    changing: Changing,
}

fn main() -> ExitCode {
    rs_cli::main("rs-journal", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> Result<Exit> {
    match args.verb {
        Verb::Show(show) => {
            let wanted = Wanted {
                subject: show.subject,
                open: show.open,
                last: show.last,
                ..wanted(cx, show.of)
            };
            let all = acts(cx)?;
            if !show.allow_none {
                something(&all, &wanted)?;
            }
            let acts = journal::select(all, &wanted);
            cx.emit(&acts.iter().map(Record::of).collect::<Vec<_>>())?;
            Ok(Exit::Done)
        }
        Verb::Verify(of) => verify(cx, of),
        Verb::Report(of) => {
            let all = acts(cx)?;
            let wanted = wanted(cx, of);
            something(&all, &wanted)?;
            let acts = journal::select(all, &wanted);
            let reports = journal::report(&acts);
            if cx.common.json {
                cx.emit(&reports.iter().map(Record::of).collect::<Vec<_>>())?;
            } else {
                cx.print(&reports.iter().map(text).collect::<Vec<_>>().join("\n"))?;
            }
            Ok(Exit::Done)
        }
        Verb::Output(of) => {
            let world = rs_drivers::world(&cx.place()?)?;
            let text = world.cloud.output(&of.run)?;
            if cx.common.json {
                let output = json!({ "run": of.run, "text": text });
                cx.emit(&[Record::new(rs_records::OUTPUT, output)])?;
            } else {
                cx.print(&text)?;
            }
            Ok(Exit::Done)
        }
        Verb::Watch(watch) => watch::run(cx, &watch),
        Verb::Lock(lock) => lock::run(cx, &lock),
        Verb::Mark(what) => mark(cx, what),
        Verb::Close(what) => close(cx, &what),
    }
}

fn wanted(cx: &Context, of: OfRun) -> Wanted {
    Wanted { deployment: cx.common.deployment.clone(), run: of.run, ..Wanted::default() }
}

/// Every act. Not found where nothing is written of the deployment (or of any) and the control plane has none such: a
/// slip in a name must not read as "all is well".
fn acts(cx: &Context) -> Result<Vec<Act>> {
    let acts = written(cx)?;
    let named = cx.common.deployment.as_ref();
    if !acts.iter().any(|act| named.is_none_or(|name| act.deployment == *name)) {
        cx.deployments(rs_drivers::world(&cx.place()?)?.cloud.as_ref())?;
    }
    Ok(acts)
}

/// A run that is named is in the journal: of one that never was, nothing is open and nothing differs.
fn something(all: &[Act], wanted: &Wanted) -> Result<()> {
    let Some(run) = &wanted.run else { return Ok(()) };
    if all.iter().any(|act| wanted.of_run(act)) {
        return Ok(());
    }
    let of = wanted.deployment.as_deref();
    let known: BTreeSet<&str> = all
        .iter()
        .filter(|act| of.is_none_or(|of| act.deployment == of))
        .filter_map(|act| act.owner.run.as_deref())
        .collect();
    let place = of.map(|of| format!(" of {of:?}")).unwrap_or_default();
    Err(Error::new(Kind::NotFound, format!("the journal{place} has no act of a run {run:?}"))
        .hint(match rs_model::name::did_you_mean(run, known.iter().copied()) {
            Some(near) => near,
            None if known.is_empty() => "rs-journal show lists what is there".into(),
            None => format!("its runs: {}", Vec::from_iter(known).join(", ")),
        })
        .into())
}

/// Every act, of whatever there was.
fn written(cx: &Context) -> Result<Vec<Act>> {
    let state = rs_drivers::state(&cx.place()?)?;
    Ok(Journal::new(state.as_ref()).acts()?)
}

/// The deployment that is named, or the only one. A name beside those that there are is refused: a lock on a name
/// with a slip in it protects nothing. Where there is none yet, or the control plane does not answer, it is believed.
fn deployment(cx: &Context) -> Result<String> {
    match &cx.common.deployment {
        Some(name) => {
            let world = rs_drivers::world(&cx.place()?)?;
            match world.cloud.deployments() {
                Ok(all) if !all.is_empty() => Ok(cx.deployment(world.cloud.as_ref())?),
                _ => Ok(name.clone()),
            }
        }
        None => Ok(cx.deployment(rs_drivers::world(&cx.place()?)?.cloud.as_ref())?),
    }
}

fn verify(cx: &Context, what: Verify) -> Result<Exit> {
    // of what is not there nothing is marked: a no, which cannot read as "all is well"
    let all = if what.no_world && !what.marked.is_empty() { written(cx)? } else { acts(cx)? };
    let wanted = wanted(cx, what.of);
    let acts = journal::select(all.clone(), &wanted);
    if what.marked.is_empty() {
        something(&all, &wanted)?;
    }
    let asked = |act: &Act| acts.iter().any(|wanted| wanted.seq == act.seq);
    let mut checks = if what.no_world {
        journal::verify(&all, &asked, &alive, &|_| Left::All)
    } else {
        let world = rs_drivers::world(&cx.place()?)?;
        let left = world::left(&world, &all)?;
        let mut checks = journal::verify(&all, &asked, &alive, &left);
        checks.extend(world::compare(cx, &world, &all, &asked)?);
        checks
    };
    checks.extend(what.marked.iter().map(|marked| journal::marked(&acts, marked)));
    let records: Vec<Record> = checks.iter().map(Record::of).collect();
    let bad: Vec<_> = checks.iter().filter(|check| check.answer != Answer::Ok).collect();
    let Some(first) = bad.first() else {
        cx.emit(&records)?;
        return Ok(Exit::Done);
    };
    for check in &bad {
        let hint = check.hint.as_deref().unwrap_or_default();
        cx.warn(&format!("{}: {} (try: {hint})", check.subject, check.detail));
    }
    let what = match bad.len() {
        1 => format!("{:?}: no to \"{}\"", first.subject, first.name),
        no => {
            format!("{no} answers are not ok; the first: {:?}: \"{}\"", first.subject, first.name)
        }
    };
    Err(Error::new(Kind::No, what)
        .because(&first.detail)
        .hint(first.hint.clone().unwrap_or_default())
        .found(records.into_iter().map(|record| record.body.into()).collect())
        .into())
}

fn mark(cx: &Context, what: Mark) -> Result<Exit> {
    let deployment = deployment(cx)?;
    rs_model::name::object("mark", &what.what)?;
    let state = rs_drivers::state(&cx.place()?)?;
    let mut note = [Act {
        seq: 0,
        at: now(),
        deployment: deployment.clone(),
        subject: what.what,
        tool: MARK.0.into(),
        verb: MARK.1.into(),
        about: None,
        owner: owner(cx.common.upgrade.as_deref()),
        epoch: 0,
        clock: false,
        outcome: Outcome::Done,
        before: serde_json::Value::Null,
        after: serde_json::Value::Null,
        ms: Some(what.took_ms),
        undo: None,
        error: None,
    }];
    if !cx.dry() {
        let guard = || cx.may_begin(state.as_ref(), &deployment);
        Journal::new(state.as_ref()).begin(&mut note, &[], &guard)?;
    }
    emit_acts(cx, &note)
}

fn close(cx: &Context, what: &Close) -> Result<Exit> {
    let state = rs_drivers::state(&cx.place()?)?;
    let journal = Journal::new(state.as_ref());
    let mut closed = Vec::new();
    for seq in &what.acts {
        let mut act = journal.act(*seq)?.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("there is no act {seq}"))
                .hint("rs-journal show --open lists those without an outcome")
        })?;
        if act.outcome == Outcome::Open {
            if alive(&act) != Some(false) {
                let who = format!("process {} on {}", act.owner.pid, act.owner.host);
                return Err(Error::new(
                    Kind::Declined,
                    format!("act {seq} ({} on {}) may still be under way", act.verb, act.subject),
                )
                .because(&who)
                .hint(format!("wait for {who}, or end it; nothing was written"))
                .into());
            }
            act.outcome = Outcome::Failed;
            act.error = Some(format!("cut off; closed by {}: {}", owner(None).user, what.because));
        }
        closed.push(act);
    }
    if !cx.dry() {
        let failed = closed.iter().filter(|act| act.outcome == Outcome::Failed);
        journal.end(&failed.map(|act| (act.clone(), Vec::new())).collect::<Vec<_>>())?;
    }
    emit_acts(cx, &closed)
}

fn emit_acts(cx: &Context, acts: &[Act]) -> Result<Exit> {
    let planned = |act: &Act| {
        let mut record = Record::of(act);
        if cx.dry() {
            record.nest("planned", true);
        }
        record
    };
    cx.emit(&acts.iter().map(planned).collect::<Vec<_>>())?;
    Ok(Exit::Done)
}

/// A report for people.
fn text(report: &Report) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let run = report.run.as_deref().unwrap_or("by hand");
    let _ =
        writeln!(text, "{} of {:?}: {} to {}", run, report.deployment, report.began, report.last);
    let _ = writeln!(
        text,
        "  {} acts, {} failed, {} without an outcome, {} ms in all",
        report.acts, report.failed, report.open, report.ms
    );
    if !report.steps.is_empty() {
        let _ = writeln!(text, "\n  Steps                                ms");
        for step in &report.steps {
            let _ = writeln!(text, "  {:<28} {:>10}", step.step, step.ms);
        }
    }
    if !report.tally.is_empty() {
        let _ = writeln!(text, "\n  Tool and verb              acts      ms  failed  open");
    }
    for tally in &report.tally {
        let name = format!("{} {}", tally.tool, tally.verb);
        let _ = writeln!(
            text,
            "  {name:<24} {:>6} {:>7} {:>7} {:>5}",
            tally.acts, tally.ms, tally.failed, tally.open
        );
    }
    if !report.undo.is_empty() {
        let _ = writeln!(text, "\n  To undo, in this order");
        for undo in &report.undo {
            let _ = writeln!(text, "  {:>6}  {}: {}", undo.seq, undo.subject, undo.undo);
        }
    }
    text
}
