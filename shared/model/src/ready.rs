//! Whether a site is ready for a window (step 17): what can be known before is judged here, one answer a question.
//!
//! Facts that are absent are unknown, and unknown is never ok.

use serde::{Deserialize, Serialize};

use crate::migration::ROOM;
use crate::silence::{Session, SilenceFacts};
use crate::{Answer, Bad, Check};

/// A failover manager or proxy that watches whether a database is read-only, and acts when it becomes so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watcher {
    /// The program, e.g. `orchestrator`.
    pub program: String,
    /// The account that it uses.
    pub account: String,
    /// Its sessions just now.
    pub sessions: Vec<u64>,
}

/// How a database keeps its binary log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BinaryLog {
    /// Seconds until a log is removed; absent: never.
    pub kept_seconds: Option<u64>,
    /// How fast it grew since the server started, bytes a second; absent: the engine does not tell.
    pub bytes_per_second: Option<f64>,
}

/// What a database server says of itself before a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// Every session but the server's own, replication's and ours.
    pub sessions: Vec<Session>,
    /// The users that it has accounts of.
    #[serde(default)]
    pub users: Vec<String>,
    /// Who watches it.
    pub watchers: Vec<Watcher>,
    /// Events that are enabled, `schema.name`.
    pub events: Vec<String>,
    /// Whether the event scheduler runs.
    pub events_on: bool,
    /// Its binary log; absent: it writes none.
    pub log: Option<BinaryLog>,
}

/// What is asked of a database server besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted<'a> {
    /// Whether it is a master.
    pub master: bool,
    /// The account that migrates, when one is named.
    pub migrator: Option<&'a str>,
    /// Accounts that may watch and write: `--allow`.
    pub allowed: &'a [String],
    /// A statement that runs longer keeps read-only waiting, and with it everybody, seconds.
    pub long_seconds: u64,
    /// How long one wants to be able to come back, seconds: window and after.
    pub horizon_seconds: u64,
    /// Free bytes where the binary log lies; absent: not known.
    pub free_bytes: Option<u64>,
}

/// The questions of a preflight by name, some of them asked of some sites only.
pub const PREFLIGHT: [&str; 37] = [
    "space for the state",
    "inputs are known",
    "credential",
    "DNS answers",
    "DNS key",
    "name",
    "balancer answers",
    "changes survive a reload",
    "one process serves",
    "users can change members",
    "outside probe",
    "certificate",
    "database answers",
    "database tells of itself",
    "migration account",
    "replication account",
    "application account",
    "slave replicates",
    "clock",
    "nobody watches read-only",
    "no long statement",
    "events",
    "no prepared XA transaction",
    "no incoming replication",
    "no application account that writes in spite of read-only",
    "migration account writes in spite of read-only",
    "binary log is kept long enough",
    "space for the binary log",
    ROOM,
    "backup is young",
    "backup is proven",
    "space for backups",
    "no backup in the window",
    "settled",
    "nothing rewrites configuration",
    "clock runs",
    "rehearsal fits the window",
];
/// The questions of a drift by name.
pub const DRIFT: [&str; 2] = ["configuration is as recorded", "no old process serves"];

/// The name of a question as it is asked: an answer to another one cannot be accepted.
pub fn question(written: &str, known: &[&str]) -> Result<String, Bad> {
    if known.contains(&written) {
        return Ok(written.to_owned());
    }
    let known = format!("they are: {}", known.join("; "));
    Err(Bad::new(format!("no question is called {written:?}"), known))
}

fn ask(name: &str, subject: &str, good: bool, detail: impl Into<String>, hint: &str) -> Check {
    let answer = if good { Answer::Ok } else { Answer::No };
    let check = Check::new(name, subject, answer, detail);
    if good || hint.is_empty() { check } else { check.hint(hint) }
}

fn listed(of: &[String]) -> String {
    if of.is_empty() { "none".into() } else { of.join(", ") }
}

/// Judges a database server: who watches it, who could write in spite of read-only, what would hold it up, and whether
/// the way back is kept long enough.
pub fn judge_database(
    name: &str,
    survey: &Survey,
    silence: &SilenceFacts,
    wanted: &Wanted<'_>,
) -> Vec<Check> {
    let mut checks = vec![
        watched(name, survey, wanted.allowed),
        long_statements(name, survey, wanted.long_seconds),
        events(name, survey, wanted.master),
        ask(
            "no prepared XA transaction",
            name,
            silence.prepared_xa.is_empty(),
            listed(&silence.prepared_xa),
            "its owner commits it or rolls it back; no tool here does",
        ),
    ];
    if wanted.master {
        checks.push(ask(
            "no incoming replication",
            name,
            !silence.incoming_replication,
            if silence.incoming_replication { "it replicates from elsewhere" } else { "none" },
            "stop it, or name the real master: what it brings is written in spite of read-only",
        ));
        checks.push(writers(name, silence));
        checks.extend(wanted.migrator.map(|user| migrator(name, silence, user)));
        checks.push(kept(name, survey, wanted.horizon_seconds));
        checks.push(log_space(name, survey, wanted));
    }
    checks
}

fn watched(name: &str, survey: &Survey, allowed: &[String]) -> Check {
    let asked = "nobody watches read-only";
    let counts = |watcher: &&Watcher| !allowed.contains(&watcher.account);
    let watchers: Vec<&Watcher> = survey.watchers.iter().filter(counts).collect();
    let hint = "pause it (it moves the master or promotes a slave in the dark), or --allow ACCOUNT";
    let of = |watcher: &&Watcher| format!("{} as {:?}", watcher.program, watcher.account);
    let live: Vec<String> = watchers
        .iter()
        .filter(|w| !w.sessions.is_empty())
        .map(|w| format!("{} in {} sessions", of(w), w.sessions.len()))
        .collect();
    if !live.is_empty() {
        return Check::new(asked, name, Answer::No, live.join(", ")).hint(hint);
    }
    let known: Vec<String> = watchers.iter().map(of).collect();
    if known.is_empty() {
        return Check::new(asked, name, Answer::Ok, "no session and no account of one");
    }
    let detail = format!("an account for {}, and no session just now", known.join(", "));
    Check::new(asked, name, Answer::Unknown, detail)
        .hint("see whether it runs and pause it, then --allow ACCOUNT")
}

fn long_statements(name: &str, survey: &Survey, most: u64) -> Check {
    let runs = |session: &&Session| {
        !["Sleep", "Daemon"].contains(&session.command.as_str()) && session.seconds > most
    };
    let long: Vec<String> = survey.sessions.iter().filter(runs).map(Session::words).collect();
    ask(
        "no long statement",
        name,
        long.is_empty(),
        listed(&long),
        "wait for it or end it: read-only and ALTER wait behind it, and everybody behind them",
    )
}

/// On a master `writes off` stops the scheduler and remembers it. On a slave an event would write what no master has.
fn events(name: &str, survey: &Survey, master: bool) -> Check {
    let asked = "events";
    if survey.events.is_empty() || !survey.events_on {
        let detail = format!(
            "{} enabled, the scheduler {}",
            survey.events.len(),
            if survey.events_on { "runs" } else { "does not run" }
        );
        return Check::new(asked, name, Answer::Ok, detail);
    }
    let detail = format!("the scheduler runs {}", survey.events.join(", "));
    if master {
        return Check::new(asked, name, Answer::Ok, format!("{detail}; writes off stops it"));
    }
    Check::new(asked, name, Answer::No, format!("{detail} on a slave"))
        .hint("SET GLOBAL event_scheduler = OFF there: what it writes no master has")
}

fn writers(name: &str, silence: &SilenceFacts) -> Check {
    let accounts = silence.writers();
    ask(
        "no application account that writes in spite of read-only",
        name,
        accounts.is_empty(),
        listed(&accounts),
        "take the privilege away, or name the account with --allow USER here and at writes off",
    )
}

fn migrator(name: &str, silence: &SilenceFacts, user: &str) -> Check {
    let mut of = silence.accounts.iter().map(|account| account.account.as_str());
    let may = of.any(|account| account.rsplit_once('@').is_some_and(|(known, _)| known == user));
    ask(
        "migration account writes in spite of read-only",
        name,
        may,
        format!("{user:?} {}", if may { "may" } else { "may not" }),
        "grant it READ ONLY ADMIN (MySQL: SYSTEM_VARIABLES_ADMIN and CONNECTION_ADMIN), or it waits for ever",
    )
}

fn kept(name: &str, survey: &Survey, horizon: u64) -> Check {
    let asked = "binary log is kept long enough";
    let Some(log) = &survey.log else {
        return Check::new(asked, name, Answer::No, "it writes no binary log")
            .hint("without one nothing can be resumed, priced or brought back");
    };
    match log.kept_seconds {
        None => Check::new(asked, name, Answer::Ok, "it is kept for ever"),
        Some(seconds) => ask(
            asked,
            name,
            seconds >= horizon,
            format!("{seconds} s, and {horizon} s are wanted"),
            "keep it longer: SET GLOBAL binlog_expire_logs_seconds, and in the option file",
        ),
    }
}

fn log_space(name: &str, survey: &Survey, wanted: &Wanted<'_>) -> Check {
    let asked = "space for the binary log";
    let rate = survey.log.as_ref().and_then(|log| log.bytes_per_second);
    let hint = "look by hand, then --accept this question";
    match (rate, wanted.free_bytes) {
        (None, _) => Check::new(asked, name, Answer::Unknown, "how fast it grows is not known"),
        (_, None) => Check::new(asked, name, Answer::Unknown, "the free space is not known"),
        (Some(rate), Some(free)) => {
            let needed = bytes(rate, wanted.horizon_seconds);
            return ask(
                asked,
                name,
                free >= needed,
                format!(
                    "{} MiB free, {} MiB grow in {} s",
                    free >> 20,
                    needed.div_ceil(1 << 20),
                    wanted.horizon_seconds
                ),
                "free space there, or it fills up before the way back ends",
            );
        }
    }
    .hint(hint)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a forecast: a byte more or less is nothing, and `as` saturates"
)]
fn bytes(per_second: f64, seconds: u64) -> u64 {
    (per_second.max(0.0) * seconds as f64) as u64
}

/// What ties users to a member of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sticky {
    /// The cookie that names a server, as the configuration has it.
    pub cookie: Option<String>,
    /// The table that remembers who went where.
    pub table: Option<String>,
    /// Whether a request whose member is gone goes to another.
    pub redispatch: bool,
}

/// Judges a pool's ties; `None`: the configuration is out of reach.
pub fn judge_sticky(subject: &str, sticky: Option<&Sticky>) -> Check {
    let asked = "users can change members";
    let Some(sticky) = sticky else {
        return Check::new(asked, subject, Answer::Unknown, "the configuration is out of reach")
            .hint(
                "look for `cookie`, `stick` and `option redispatch` by hand, then --accept this",
            );
    };
    let ties: Vec<String> = [("cookie", &sticky.cookie), ("stick", &sticky.table)]
        .into_iter()
        .filter_map(|(kind, what)| Some(format!("{kind} {}", what.as_ref()?)))
        .collect();
    if ties.is_empty() {
        return Check::new(asked, subject, Answer::Ok, "nothing ties them: sessions will end: no");
    }
    let detail = format!("{}; sessions will end: yes", ties.join(", "));
    ask(
        asked,
        subject,
        sticky.redispatch,
        if sticky.redispatch { detail } else { format!("{detail}; no redispatch") },
        "`option redispatch` in the backend: else a cookie of a member that is gone leads nowhere",
    )
}

/// What a balancer's configuration was, or is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// SHA-256 of the file without the lines that are ours; absent: out of reach.
    pub digest: Option<String>,
    /// The process that takes new connections.
    pub pid: u32,
    /// Processes left from before a reload.
    pub old: Vec<u32>,
}

/// Judges whether somebody rewrote a configuration, or reloaded, since it was recorded.
pub fn judge_drift(subject: &str, then: &Configured, now: &Configured) -> Vec<Check> {
    let hint = "pause what rewrites it (preflight lists agents and timers); when the change is wanted: \
                rs-check drift --record";
    let digest = match (&then.digest, &now.digest) {
        (Some(then), Some(now)) => ask(
            "configuration is as recorded",
            subject,
            then == now,
            if then == now { "the same digest" } else { "somebody rewrote it since" },
            hint,
        ),
        _ => Check::new(
            "configuration is as recorded",
            subject,
            Answer::Unknown,
            "it is, or was, out of reach",
        )
        .hint("look by hand, then --accept this question"),
    };
    let pid = if then.pid == now.pid { "the same process" } else { "another process than then" };
    vec![
        digest,
        ask(
            "no old process serves",
            subject,
            now.old.is_empty(),
            format!("{pid}, {} old ones", now.old.len()),
            "they serve their clients with the page and the members of before: end them",
        ),
    ]
}

/// Something on a server's machine that rewrites configuration, or starts again what was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The program.
    pub program: String,
    /// Where it was seen: `process 17`, `cron`, `timer`.
    pub seen: String,
}

/// Judges what was found on a machine.
pub fn judge_agents(subject: &str, found: &[Agent]) -> Check {
    let words: Vec<String> =
        found.iter().map(|agent| format!("{} ({})", agent.program, agent.seen)).collect();
    ask(
        "nothing rewrites configuration",
        subject,
        found.is_empty(),
        listed(&words),
        "pause it for the window: it brings old members back, reloads, starts what was stopped",
    )
}

/// Judges a window by what a rehearsal took.
///
/// - `took_ms`: the rehearsed steps of the window, or what clients saw; absent: nothing was rehearsed.
pub fn judge_rehearsal(subject: &str, took_ms: Option<u64>, window_seconds: Option<u64>) -> Check {
    let asked = "rehearsal fits the window";
    match (took_ms, window_seconds) {
        (None, _) => Check::new(asked, subject, Answer::Unknown, "no window was rehearsed")
            .hint("scripts/rehearse.sh, then --rehearsal DEPLOYMENT"),
        (Some(took), None) => Check::new(asked, subject, Answer::Ok, format!("{took} ms")),
        (Some(took), Some(window)) => ask(
            asked,
            subject,
            took <= window.saturating_mul(1000),
            format!("{took} ms, and the window has {window} s"),
            "a longer window, or a faster migration",
        ),
    }
}

#[cfg(test)]
#[path = "ready_tests.rs"]
mod tests;
