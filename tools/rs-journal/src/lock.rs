//! `lock`: takes the run lock and executes a command in our place, which goes on holding it until it ends.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use rs_cli::{Context, Exit, Journal, alive, now, owner};
use rs_contract::{Error, Holder, Kind, State};
use rs_model::act::{Act, Outcome};
use rs_model::journal::MARK;
use rustix::process::{Pid, Signal, kill_process};

/// Flags of `lock`.
#[derive(clap::Args)]
pub struct LockArgs {
    /// Wait at most so long for another run to end [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration)]
    lock_wait: Option<Duration>,
    /// Take the deployment from a dead or frozen operator: his run begins no further act, and what of it runs on
    /// this host is ended
    #[arg(long)]
    take_over: bool,
    /// The command that holds the lock; it is executed in our place
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<String>,
}

/// How long the processes of a run that is taken over have to end before they are killed.
const GRACE: Duration = Duration::from_secs(5);

pub fn run(cx: &Context, args: &LockArgs) -> Result<Exit> {
    let run = cx.run_name()?;
    let place = cx.place()?;
    let state = rs_drivers::state(&place)?;
    let state = state.as_ref();
    // the lock's file is asked first: whoever has it may have been frozen while he wrote, and then the store answers nobody
    let deployment = match &cx.common.deployment {
        Some(name) if state.holder(name)?.is_some() => name.clone(),
        _ => super::deployment(cx)?,
    };
    let me = owner(Some(run));
    let holder = Holder {
        run: run.to_owned(),
        who: format!("{}@{}", me.user, me.host),
        pid: me.pid,
        began: process(me.pid.cast_signed()).map(|process| process.began),
        since: now(),
        epoch: 0,
    };
    let wait = args.lock_wait.unwrap_or_default();
    let now_held = state.holder(&deployment)?;
    if let (Some(ours), Some(held)) = (cx.hand().epoch(state, &deployment), &now_held)
        && (ours, run) == (state.epoch(&deployment)?, held.run.as_str())
    {
        // inside the run already: its lock covers us
        return Err(execute(args, &[]).into());
    }
    if let Some(other) = now_held.filter(|_| args.take_over) {
        cx.warn(&format!(
            "taking {deployment:?} from run {:?} of {} (process {}, since {})",
            other.run, other.who, other.pid, other.since
        ));
        let here = other.who.rsplit('@').next() == Some(me.host.as_str());
        let other = Run { store: state.place(), deployment: deployment.clone(), holder: other };
        if here {
            // frozen while it wrote, it would keep us from the store
            let frozen: Vec<i32> = processes_of(&other).into_iter().filter(is_stopped).collect();
            signal(&other, &frozen, Signal::KILL)?;
        }
        let raised = state.raise_epoch(&deployment);
        if here {
            end(&other)?;
        }
        // whoever of it kept the store busy has ended
        raised.or_else(|e| if here { state.raise_epoch(&deployment) } else { Err(e) })?;
    }
    // from here on --lock-wait says how long
    cx.takes_its_time();
    let lock =
        state.lock(&deployment, &holder, wait).map_err(|e| match state.holder(&deployment) {
            Ok(Some(other)) if e.kind() == Kind::Declined => {
                e.because(place_of(state, &deployment, &other))
            }
            _ => e,
        })?;
    nobody_under_way(cx, state, &deployment, wait)?;
    let descriptor = lock.keep_over_exec()?;
    let mut env = vec![
        ("RS_EPOCH", lock.epoch().to_string()),
        ("RS_LOCKED", deployment.clone()),
        ("RS_LOCKED_IN", state.place()),
        ("RS_LOCK_FD", descriptor.to_string()),
        ("RS_DEPLOYMENT", deployment),
        ("RS_UPGRADE", run.to_owned()),
        ("RS_CLOUD", place.cloud),
    ];
    env.extend(place.state.map(|url| ("RS_STATE", url)));
    Err(execute(args, &env).into())
}

/// How far another run is: the newest that it marked as done, and what it does just now.
fn place_of(state: &dyn State, deployment: &str, other: &Holder) -> String {
    let acts = Journal::new(state).acts().unwrap_or_default();
    let of = |act: &&Act| {
        act.deployment == deployment && act.owner.run.as_deref() == Some(other.run.as_str())
    };
    let marked = acts.iter().rev().filter(of).find(|act| (&*act.tool, &*act.verb) == MARK);
    let at = match marked {
        Some(act) => format!("it has done {} at {}", act.subject, act.at),
        None => "it has done no step yet".to_owned(),
    };
    let busy = acts
        .iter()
        .rev()
        .filter(of)
        .find(|act| act.outcome == Outcome::Open && !act.clock && alive(act) == Some(true));
    match busy {
        Some(act) => format!("{at}; now: {} {} on {}", act.tool, act.verb, act.subject),
        None => at,
    }
}

/// Becomes the command; returns only when that failed.
fn execute(args: &LockArgs, env: &[(&str, String)]) -> Error {
    let Some((program, rest)) = args.command.split_first() else {
        return Error::new(Kind::Usage, "no command is named").hint("rs-journal lock -- CMD");
    };
    let mut command = Command::new(program);
    command.args(rest).envs(env.iter().map(|(name, value)| (name, value)));
    let e = command.exec();
    let kind = match e.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Failed,
    };
    Error::new(kind, format!("{program:?} cannot be run"))
        .because(e)
        .hint("name a program that is on PATH, or its path")
}

/// A changing verb by hand that began before we had the lock: it is waited for, or it declines us.
///
/// A tool of the same run is what a killed script left behind: it is waited for without being asked to.
fn nobody_under_way(
    cx: &Context,
    state: &dyn State,
    deployment: &str,
    wait: Duration,
) -> Result<()> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let open = Journal::new(state).open_acts()?;
        let busy = open
            .into_iter()
            .find(|act| act.deployment == deployment && !act.clock && alive(act) == Some(true));
        let Some(act) = busy else { return Ok(()) };
        let left_behind = act.owner.run.is_some() && act.owner.run == cx.common.upgrade;
        let limit = if left_behind { wait.max(cx.common.timeout) } else { wait };
        if left_behind && !told {
            told = true;
            cx.warn(&format!(
                "waits for {} {} on {}, which an earlier start of this run left behind (process {})",
                act.tool, act.verb, act.subject, act.owner.pid
            ));
        }
        if begun.elapsed() >= limit {
            return Err(Error::new(
                Kind::Declined,
                format!(
                    "{} {} on {} is under way (process {} of {})",
                    act.tool, act.verb, act.subject, act.owner.pid, act.owner.user
                ),
            )
            .hint("wait for it to end (--lock-wait 1m)")
            .into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A run that is taken over.
struct Run {
    store: String,
    deployment: String,
    holder: Holder,
}

/// Ends the processes of a run on this host: its holder, and every tool that works under its epoch.
fn end(run: &Run) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = processes_of(run);
        if left.is_empty() {
            return Ok(());
        }
        // who is stopped does not hear a request
        let late = begun.elapsed() >= GRACE;
        let (killed, asked): (Vec<i32>, Vec<i32>) =
            left.iter().partition(|pid| late || is_stopped(pid));
        signal(run, &killed, Signal::KILL)?;
        signal(run, &asked, Signal::TERM)?;
        if begun.elapsed() > GRACE * 2 {
            return Err(Error::new(
                Kind::TimedOut,
                format!("processes {left:?} of that run do not end"),
            )
            .hint("look at them: ps -o pid,stat,cmd -p …; then the same command again")
            .into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn signal(run: &Run, pids: &[i32], signal: Signal) -> Result<()> {
    // one that ended since we looked may have left its number to somebody
    let still = pids.iter().filter(|pid| is_holder(run, **pid) || is_tool(run, **pid));
    for pid in still.filter_map(|pid| Pid::from_raw(*pid)) {
        if let Err(e) = kill_process(pid, signal)
            && e != rustix::io::Errno::SRCH
        {
            return Err(Error::new(
                Kind::Declined,
                format!("process {} of that run cannot be ended", pid.as_raw_nonzero()),
            )
            .because(e)
            .hint("its epoch is over, so it begins nothing more; end it as its owner")
            .into());
        }
    }
    Ok(())
}

/// The holder of a run's lock, and every tool of it, as far as they are on this host and none of us.
fn processes_of(run: &Run) -> Vec<i32> {
    let mut found = tools_of(run);
    found.extend(i32::try_from(run.holder.pid).ok().filter(|pid| is_holder(run, *pid)));
    let us = ancestors();
    found.retain(|pid| !us.contains(pid));
    found
}

/// Whether a process is the one that took the lock, and not another that has its number now. One that took it without
/// saying when it began is found as every tool of the run is.
fn is_holder(run: &Run, pid: i32) -> bool {
    u32::try_from(pid) == Ok(run.holder.pid)
        && run.holder.began.is_some()
        && process(pid)
            .is_some_and(|process| !process.has_ended() && Some(process.began) == run.holder.began)
}

/// Processes of this host whose environment says that they work under that holder's lock.
fn tools_of(run: &Run) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| is_tool(run, *pid))
        .collect()
}

fn is_tool(run: &Run, pid: i32) -> bool {
    // all of these together: another store may have the same names and numbers
    let marks = [
        format!("RS_LOCKED={}", run.deployment),
        format!("RS_LOCKED_IN={}", run.store),
        format!("RS_EPOCH={}", run.holder.epoch),
        format!("RS_UPGRADE={}", run.holder.run),
    ];
    let env = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let has = |mark: &String| env.split(|byte| *byte == 0).any(|var| var == mark.as_bytes());
    marks.iter().all(has) && process(pid).is_some_and(|process| !process.has_ended())
}

/// Whether a process is frozen by a signal.
fn is_stopped(pid: &i32) -> bool {
    process(*pid).is_some_and(|process| process.state == 'T')
}

/// Ourselves and everybody above us: never ended by us.
fn ancestors() -> Vec<i32> {
    let mut found = vec![std::process::id().cast_signed()];
    while let Some(parent) = found.last().and_then(|pid| parent_of(*pid)) {
        if parent <= 0 || found.contains(&parent) {
            break;
        }
        found.push(parent);
    }
    found
}

fn parent_of(pid: i32) -> Option<i32> {
    process(pid).map(|process| process.parent)
}

/// A process of this host.
struct Process {
    state: char,
    parent: i32,
    /// Ticks from the boot to its begin: with its number it is this process and no other.
    began: String,
}

impl Process {
    /// Whether it ended and was only not waited for.
    fn has_ended(&self) -> bool {
        self.state == 'Z' || self.state == 'X'
    }
}

fn process(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name stands in brackets and may hold anything
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Process {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        began: (*fields.get(19)?).to_owned(),
    })
}
