//! How a fault strikes, and how it is known that it did.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::small::Small;
use super::table::{Partner, Row, asks, dice};

/// How long a frozen partner stays frozen when nobody gives up before.
const FROZEN: Duration = Duration::from_secs(12);
/// How long a partner that was killed may be away.
const BACK: Duration = Duration::from_secs(60);
/// How long a start of a script may take.
const LIMIT: Duration = Duration::from_secs(480);

/// A fault that is armed: strikes once in one start of upgrade.sh.
pub struct Strike<'a> {
    small: &'a Small,
    row: &'a Row,
    kind: &'a str,
    seed: u64,
    call: String,
    asks: bool,
    surely: bool,
    /// The process that was killed of whom the step talks to.
    gone: std::cell::Cell<Option<i32>>,
}

/// What a strike leaves of the run.
enum Left {
    /// It goes on, or it is dead: it ends by itself.
    Running,
    /// A frozen operator: he does not end.
    Frozen,
}

/// Why a process was not caught half way.
enum Missed {
    /// It ended before.
    Ended(&'static str),
    /// It never began.
    Late,
}

/// One look at a process between two slices of its time.
const SLICE: Duration = Duration::from_micros(700);

/// Sends a signal to one process.
pub fn send(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// The state letter of a process, as /proc shows it.
fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

impl<'a> Strike<'a> {
    /// Arms it for a step. The kind `call` is `b` without the scripts: the call itself fails, with nothing done.
    pub fn arm(small: &'a Small, row: &'a Row, kind: &'a str, seed: u64) -> Strike<'a> {
        small.disarm();
        let roll = |what: &str| dice(seed, &format!("{}/{kind} {what}", row.step));
        let pick = |from: &[&'static str]| {
            let length = u64::try_from(from.len()).unwrap();
            from[usize::try_from(roll("which") % length).unwrap()]
        };
        let mut how = "stop";
        let chosen = match kind {
            "c" => row.partner.0,
            "call" | "b" if kind == "call" || row.scripts.is_empty() => {
                how = "fail";
                pick(row.calls)
            }
            _ => pick(row.calls),
        };
        let call = chosen.to_owned();
        if kind == "b" && !row.scripts.is_empty() {
            let when = if roll("when").is_multiple_of(2) { "before" } else { "after" };
            let text = format!("{when}\n{}\n", pick(row.scripts));
            // the first call of the step puts it in force
            std::fs::write(small.fault.join(format!("script-{}", row.step)), text).unwrap();
        } else {
            let text = format!("{}\n{how}\n{call}\n", row.step);
            std::fs::write(small.fault.join("armed"), text).unwrap();
        }
        Strike {
            small,
            row,
            kind,
            seed,
            call,
            asks: asks(chosen),
            surely: false,
            gone: None.into(),
        }
    }

    /// Of a tool that is too quick to be killed half way the run is killed instead.
    pub fn surely(self) -> Strike<'a> {
        Strike { surely: true, ..self }
    }

    fn roll(&self, what: &str) -> u64 {
        dice(self.seed, &format!("{}/{} {what}", self.row.step, self.kind))
    }

    /// Follows a start of upgrade.sh to its end, and strikes on the way. How it ended, and what was struck.
    pub fn follow(&self, child: &mut Child, mark: &str) -> Result<(i32, String), String> {
        let begun = Instant::now();
        let (mut struck, mut missed) = (None, None);
        let mut frozen: Option<(i32, Instant)> = None;
        let exit = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break std::os::unix::process::ExitStatusExt::signal(&status)
                    .map_or_else(|| status.code().unwrap_or(-1), |signal| 128 + signal);
            }
            if begun.elapsed() > LIMIT {
                thaw(frozen.take());
                return Err(format!("it did not end within {LIMIT:?}"));
            }
            if struck.is_none()
                && missed.is_none()
                && let Some(pid) = self.caught()
            {
                match self.strike(pid, mark, &mut frozen) {
                    Ok((what, Left::Frozen)) => return Ok((-1, what)),
                    Ok((what, Left::Running)) => struck = Some(what),
                    // the run goes on, and is followed to its end
                    Err(why) => {
                        let _ = send(pid, Signal::CONT);
                        missed = Some(why);
                    }
                }
            }
            if frozen.is_some_and(|(_, since)| since.elapsed() > FROZEN) {
                thaw(frozen.take());
            }
            pause(Duration::from_millis(2));
        };
        thaw(frozen.take());
        // what a script on a server left behind, or a call that failed in the tool's place
        if struck.is_none() && missed.is_none() && self.small.fault.join("struck").exists() {
            let script = std::fs::read_to_string(self.small.fault.join("script"));
            struck = Some(match script {
                Ok(text) => format!("script {}", text.trim().replace('\n', ": ")),
                Err(_) => format!("`{}` failed", self.told()),
            });
        }
        match struck {
            Some(what) => Ok((exit, what)),
            None => Err(missed.unwrap_or_else(|| format!("it did not strike (exit {exit})"))),
        }
    }

    /// The call that was struck, with all its arguments.
    fn told(&self) -> String {
        let call = std::fs::read_to_string(self.small.fault.join("struck/call"));
        call.map_or_else(|_| self.call.clone(), |text| text.trim().to_owned())
    }

    /// The process that stopped itself before it became the tool.
    fn caught(&self) -> Option<i32> {
        let pid = std::fs::read_to_string(self.small.fault.join("struck/pid")).ok()?;
        let pid = pid.trim().parse().ok()?;
        (state(pid) == Some('T')).then_some(pid)
    }

    fn strike(
        &self,
        pid: i32,
        mark: &str,
        frozen: &mut Option<(i32, Instant)>,
    ) -> Result<(String, Left), String> {
        let told = self.told();
        let one = |what: String| Ok((what, Left::Running));
        let half_way = match self.kind {
            // half of the partners are struck before anything was begun
            "c" if self.early() => "before it began".to_owned(),
            kind => match self.half_way(pid) {
                Ok(when) => when,
                // the step has not ended with it
                Err(Missed::Ended(why)) if self.surely || matches!(kind, "d" | "rollback") => {
                    everybody(self.small, mark, Signal::STOP);
                    everybody(self.small, mark, Signal::KILL);
                    return one(format!("the run killed behind `{told}`: {why}"));
                }
                Err(Missed::Ended(why)) => return Err(why.into()),
                Err(Missed::Late) => return Err("its intent never came".into()),
            },
        };
        match self.kind {
            "a" => {
                let _ = send(pid, Signal::KILL);
                one(format!("`{told}` killed {half_way}"))
            }
            "c" => one(format!("{}, `{told}` {half_way}", self.partner(pid, frozen)?)),
            _ => {
                everybody(self.small, mark, Signal::STOP);
                if self.kind == "d" && self.roll("how").is_multiple_of(2) {
                    // whoever takes over has to end him
                    return Ok((format!("the run frozen in `{told}` {half_way}"), Left::Frozen));
                }
                everybody(self.small, mark, Signal::KILL);
                one(format!("the run killed in `{told}` {half_way}"))
            }
        }
    }

    /// Whether a partner is struck before the call began.
    fn early(&self) -> bool {
        self.asks
            || matches!(self.row.partner.1, Partner::Store)
            || self.roll("when").is_multiple_of(2)
    }

    /// Lets it run in slices until its intent is in the journal, and then some more. It is stopped afterwards.
    fn half_way(&self, pid: i32) -> Result<String, Missed> {
        // who only asks is done soon
        let more = self.roll("more") % if self.asks { 3 } else { 12 };
        let begun = Instant::now();
        let mut after = 0;
        let mut intent = false;
        loop {
            if begun.elapsed() > LIMIT {
                return Err(Missed::Late);
            }
            let _ = send(pid, Signal::CONT);
            pause(SLICE);
            let _ = send(pid, Signal::STOP);
            while state(pid).is_some_and(|letter| !matches!(letter, 'T' | 'Z' | 'X')) {
                pause(Duration::from_micros(50));
            }
            if !matches!(state(pid), Some('T')) {
                return Err(Missed::Ended(if intent {
                    "its outcome was written before it could be struck"
                } else {
                    "it ended without an act"
                }));
            }
            let open = self.asks || self.has_intent(pid).unwrap_or(intent);
            if intent && !open {
                return Ok("after its act, before its end".into());
            }
            intent = open;
            if open {
                if after >= more {
                    let what = if self.asks { "after" } else { "after its intent and" };
                    return Ok(format!("{what} {after} slices"));
                }
                after += 1;
            }
        }
    }

    /// Whether a process has an open act; nothing when the store cannot be read just now.
    fn has_intent(&self, pid: i32) -> Option<bool> {
        let path = self.small.site.place.join("state.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = rusqlite::Connection::open_with_flags(path, flags).ok()?;
        db.busy_timeout(Duration::ZERO).ok()?;
        let found = db.query_row(
            "SELECT COUNT(*) FROM entry AS open JOIN entry AS act \
             ON act.key = 'journal/' || substr(open.key, length('journal-open/') + 1) \
             WHERE open.key LIKE 'journal-open/%' AND open.value IS NOT NULL \
             AND json_extract(act.value, '$.owner.pid') = ?1",
            [pid],
            |row| row.get::<_, i64>(0),
        );
        found.ok().map(|count| count > 0)
    }

    /// Kills or freezes whom the step talks to, and lets the step go on.
    fn partner(&self, pid: i32, frozen: &mut Option<(i32, Instant)>) -> Result<String, String> {
        let (server, service) = match self.row.partner.1 {
            Partner::Store => return self.hold_store(pid),
            Partner::Service(server, service) => (server, service),
        };
        let find = || self.leader(server, service);
        let mut found = find();
        let begun = Instant::now();
        if found.is_none() {
            // it comes with the step itself
            let _ = send(pid, Signal::CONT);
            while found.is_none() && begun.elapsed() < Duration::from_secs(60) {
                pause(Duration::from_millis(2));
                found = find();
            }
        }
        let Some(leader) = found else { return Err(format!("{service} of {server} never came")) };
        let kill = self.roll("how").is_multiple_of(2);
        let group = Pid::from_raw(leader).unwrap();
        let signal = if kill { Signal::KILL } else { Signal::STOP };
        kill_process_group(group, signal).map_err(|e| format!("{service} of {server}: {e}"))?;
        if kill {
            self.gone.set(Some(leader));
        } else {
            *frozen = Some((leader, Instant::now()));
        }
        let _ = send(pid, Signal::CONT);
        Ok(format!("{service} of {server} {}", if kill { "killed" } else { "frozen" }))
    }

    /// The process of a service.
    fn leader(&self, server: &str, service: &str) -> Option<i32> {
        let home = self.small.home(server)?;
        let text = std::fs::read_to_string(home.join("svc").join(service).join("pid")).ok()?;
        text.split(' ').next()?.trim().parse().ok()
    }

    /// Whoever was killed is started again by his server's init, and with nobody's help: waits for that, as a person does
    /// before the upgrade is started again. Whom it waited for.
    pub fn back_again(&self) -> Result<Option<String>, String> {
        let (Some(gone), Partner::Service(server, service)) = (self.gone.get(), self.row.partner.1)
        else {
            return Ok(None);
        };
        let begun = Instant::now();
        let there = || {
            let pid = self.leader(server, service);
            pid.is_some_and(|pid| pid != gone && !matches!(state(pid), None | Some('Z' | 'X')))
                && (service != "database"
                    || self.small.tool("rs-dbsync", &["status", server]).exit != 7)
        };
        while !there() {
            if begun.elapsed() > BACK {
                return Err(format!("{service} of {server} is not back within {BACK:?}"));
            }
            pause(Duration::from_millis(50));
        }
        Ok(Some(format!("{service} of {server} is back")))
    }

    /// Somebody keeps the state store busy for longer than anybody waits for it.
    fn hold_store(&self, pid: i32) -> Result<String, String> {
        let path = self.small.site.place.join("state.db");
        let failed = |e: rusqlite::Error| format!("the store cannot be held: {e}");
        let mut db = rusqlite::Connection::open(path).map_err(failed)?;
        db.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        let held = db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)
            .map_err(failed)?;
        let _ = send(pid, Signal::CONT);
        let begun = Instant::now();
        while begun.elapsed() < FROZEN && state(pid).is_some_and(|letter| letter != 'Z') {
            pause(Duration::from_millis(5));
        }
        held.rollback().map_err(failed)?;
        Ok(format!("the store held for {} ms", begun.elapsed().as_millis()))
    }
}

fn thaw(frozen: Option<(i32, Instant)>) {
    if let Some(group) = frozen.and_then(|(leader, _)| Pid::from_raw(leader)) {
        let _ = kill_process_group(group, Signal::CONT);
    }
}

/// Signals every process of a start, until no new one appears.
pub fn everybody(small: &Small, mark: &str, signal: Signal) {
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let tree = small.tree(mark);
        let fresh: Vec<i32> = tree.into_iter().filter(|pid| seen.insert(*pid)).collect();
        if fresh.is_empty() {
            return;
        }
        for pid in fresh {
            let _ = send(pid, signal);
        }
    }
}

/// Follows a start that nothing strikes.
pub fn wait(child: &mut Child, log: &Path) -> Result<i32, String> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Ok(status.code().unwrap_or(-1));
        }
        if begun.elapsed() > LIMIT {
            let _ = child.kill();
            return Err(format!("it did not end within {LIMIT:?}: {}", log.display()));
        }
        pause(Duration::from_millis(5));
    }
}
