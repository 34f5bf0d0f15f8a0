//! What was done (acts), and what was changed for a time only and must be put back (debts).

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What one tool did to one subject, as it stands in the subject's record under `did`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Did {
    /// e.g. `rs-lbctl`.
    pub tool: String,
    /// e.g. `connect`.
    pub verb: String,
    /// False when it was so already.
    pub changed: bool,
    /// How long it took, milliseconds, monotonic.
    pub ms: u64,
    /// What was there before, as far as it matters for coming back.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub before: Json,
    /// What is there now, read back.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub after: Json,
    /// How a person undoes it; absent when there is nothing to undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// A dry run: nothing was done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub planned: bool,
    /// Why it failed; the subject then counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Who acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Login name.
    pub user: String,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// The run (`u-42`), when it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Intent written, nothing heard since: killed half way, or still running.
    Open,
    /// Done, and read back.
    Done,
    /// Failed; the error says how far it came.
    Failed,
}

/// One entry of the journal: the intent, written durably before the act, completed by the outcome after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// Order of all acts in this state store; never a time.
    pub seq: u64,
    /// When the intent was written, RFC 3339 UTC.
    pub at: String,
    /// Deployment of the subject.
    pub deployment: String,
    /// What it was done to, e.g. `server App Server-3`.
    pub subject: String,
    /// The tool.
    pub tool: String,
    /// The verb.
    pub verb: String,
    /// What of the subject, where the verb is about one thing of several: the script, the pool, the label, the inputs, the setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Who.
    pub owner: Owner,
    /// Epoch of the run lock at the time; a take-over raises it.
    #[serde(default)]
    pub epoch: u64,
    /// Begun by a clock (backups that are due, the minimum of arrays): goes on beside a run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clock: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Before, as far as it matters for coming back.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub before: Json,
    /// After, read back; absent while open.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub after: Json,
    /// Milliseconds from intent to outcome; absent while open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// How a person undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why an act that was cut off counts as failed though the world has what it was for.
pub const FOUND_DONE: &str = "cut off; a later call found nothing left to do";

impl Act {
    /// Whether it was cut off, and what it was for was found done later.
    pub fn was_found_done(&self) -> bool {
        self.outcome == Outcome::Failed && self.error.as_deref() == Some(FOUND_DONE)
    }
}

/// Until when a temporary change may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Due {
    /// Until the maintenance window ends (step 33).
    Window,
    /// Until the work after the window is done (step 36).
    After,
    /// Until the old servers are retired (steps 37 and 38).
    Retire,
}

/// A temporary change that somebody owes: backups off, the page up, writes off, a slave held …
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Debt {
    /// What is owed, unique in the deployment, e.g. `page:www` or `held:Slave2 DB`.
    pub key: String,
    /// Deployment.
    pub deployment: String,
    /// The kind: the part of the key before the colon.
    pub kind: String,
    /// On what, e.g. `Slave2 DB`.
    pub subject: String,
    /// Who opened it.
    pub owner: Owner,
    /// Why, for people.
    pub reason: String,
    /// Since when, RFC 3339 UTC.
    pub since: String,
    /// The command that puts back what was: an argument list of one of our tools, never a shell line.
    pub inverse: Vec<String>,
    /// Until when.
    pub due: Due,
    /// When it alarms, RFC 3339 UTC; absent: never by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Whether a clock may settle it once its deadline has passed ([`by_the_clock`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo_on_deadline: bool,
    /// What was there before, needed to restore it exactly.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub before: Json,
}

/// Whether a clock may settle a debt that is past its deadline; otherwise why not.
///
/// Only what was opened for that, with the run lock free, and with no migration begun since or in its run: a long
/// `ALTER` is no dead operator, and what protects its data must not end by a clock.
///
/// - `holder`: the run that holds the lock of the deployment.
/// - `acts`: those of the deployment.
pub fn by_the_clock(debt: &Debt, holder: Option<&str>, acts: &[Act]) -> Result<(), String> {
    if !debt.undo_on_deadline {
        return Err("it was not opened with --undo-on-deadline".into());
    }
    if let Some(run) = holder {
        return Err(format!("the run {run:?} holds the deployment"));
    }
    let migration = acts.iter().find(|act| {
        (act.tool.as_str(), act.verb.as_str()) == ("rs-dbsync", "migrate")
            && act.deployment == debt.deployment
            && (act.at >= debt.since || act.owner.run.is_some() && act.owner.run == debt.owner.run)
    });
    match migration {
        Some(act) => Err(format!("a migration was begun (act {} at {})", act.seq, act.at)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debt() -> Debt {
        Debt {
            key: "page:www".into(),
            deployment: "site".into(),
            kind: "page".into(),
            subject: "www".into(),
            owner: Owner { run: Some("u-1".into()), ..Owner::default() },
            reason: "a test".into(),
            since: "2026-01-01T12:00:00.000Z".into(),
            inverse: vec!["rs-maintenance".into(), "stop".into()],
            due: Due::Window,
            deadline: Some("2026-01-01T13:00:00.000Z".into()),
            undo_on_deadline: true,
            before: Json::Null,
        }
    }

    fn migrate(at: &str, run: Option<&str>, deployment: &str) -> Act {
        serde_json::from_value(serde_json::json!({
            "seq": 7, "at": at, "deployment": deployment, "subject": "server M", "tool": "rs-dbsync",
            "verb": "migrate", "outcome": "open",
            "owner": {"user": "u", "host": "h", "pid": 1, "run": run}
        }))
        .unwrap()
    }

    #[test]
    fn a_clock_settles_only_what_may_be() {
        let (debt, early, late) = (debt(), "2026-01-01T11:00:00.000Z", "2026-01-01T12:30:00.000Z");
        assert_eq!(by_the_clock(&debt, None, &[]), Ok(()));
        for run in ["u-1", "u-2"] {
            // its own run still is at work: the operator will put it back
            assert!(by_the_clock(&debt, Some(run), &[]).unwrap_err().contains(run));
        }
        let at_once = migrate(&debt.since, None, "site");
        assert!(by_the_clock(&debt, None, &[at_once]).is_err(), "begun in the same moment");
        for (tool, verb) in [("rs-dbsync", "hold"), ("rs-journal", "migrate")] {
            let (tool, verb) = (tool.into(), verb.into());
            let other = Act { tool, verb, ..migrate(late, None, "site") };
            assert_eq!(by_the_clock(&debt, None, &[other]), Ok(()), "that is no migration");
        }
        let unasked = Debt { undo_on_deadline: false, ..debt.clone() };
        assert!(by_the_clock(&unasked, None, &[]).unwrap_err().contains("--undo-on-deadline"));
        for act in [migrate(late, None, "site"), migrate(early, Some("u-1"), "site")] {
            assert!(by_the_clock(&debt, None, &[act]).unwrap_err().contains("migration"));
        }
        for act in [migrate(early, Some("u-0"), "site"), migrate(late, None, "other")] {
            assert_eq!(by_the_clock(&debt, None, &[act]), Ok(()));
        }
        let by_hand = Debt { owner: Owner::default(), ..debt };
        assert_eq!(by_the_clock(&by_hand, None, &[migrate(early, None, "site")]), Ok(()));
    }
}
