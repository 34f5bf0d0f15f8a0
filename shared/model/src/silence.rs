//! Silence: that nobody writes, proven by who *could* write at one moment and not by waiting (step 19).

use serde::{Deserialize, Serialize};

use crate::{Answer, Check, Position};

/// A session of the database, as the process list shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Connection id.
    pub id: u64,
    /// Account: user.
    pub user: String,
    /// Where it comes from.
    pub host: String,
    /// What it does: `Query`, `Sleep`, `Binlog Dump` …
    pub command: String,
    /// Seconds in that state.
    pub seconds: u64,
    /// Statement, cut at 200 characters.
    pub statement: String,
    /// Whether its account's grants let it write although the server is read-only.
    pub may_write: bool,
    /// Why it does not count: `replication`, `ours`, `allowed`, or empty.
    pub exempt: String,
}

impl Session {
    /// Whether it could write, and nothing says that it does not count.
    pub fn could_write(&self) -> bool {
        self.may_write && self.exempt.is_empty()
    }

    /// In words, for messages.
    pub fn words(&self) -> String {
        let doing = if self.statement.is_empty() { &self.command } else { &self.statement };
        format!("session {} of {}@{} ({} s: {doing})", self.id, self.user, self.host, self.seconds)
    }
}

/// An account that writes in spite of read-only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileged {
    /// `user@host` pattern.
    pub account: String,
    /// Why, e.g. `READ ONLY ADMIN`.
    pub because: String,
    /// Why it does not count: `ours`, `allowed`, `system` (`root@localhost` and its like), or empty.
    #[serde(default)]
    pub exempt: String,
}

/// Who could write at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SilenceFacts {
    /// `@@read_only` (and super where the engine has it).
    pub read_only: bool,
    /// Sessions that could write, exempt ones included and marked.
    pub sessions: Vec<Session>,
    /// Accounts that may write in spite of read-only.
    pub accounts: Vec<Privileged>,
    /// Event scheduler runs.
    pub events_on: bool,
    /// Prepared XA transactions: named, never rolled back by us.
    pub prepared_xa: Vec<String>,
    /// Open transactions that hold changed rows.
    pub open_transactions: u64,
    /// Whose they are, in words.
    #[serde(default)]
    pub open_by: Vec<String>,
    /// The server itself replicates from somewhere.
    pub incoming_replication: bool,
    /// From where: each channel in words.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Position when this was read.
    pub position: Position,
}

impl SilenceFacts {
    /// The accounts that write in spite of read-only and count, each with why it may.
    pub fn writers(&self) -> Vec<String> {
        self.accounts
            .iter()
            .filter(|account| account.exempt.is_empty())
            .map(|account| format!("{} ({})", account.account, account.because))
            .collect()
    }
}

/// Judges silence: one check per way to write, none left out. Silent only if every answer is ok.
pub fn judge_silence(name: &str, facts: &SilenceFacts) -> Vec<Check> {
    let check = |asked: &str, good: bool, detail: String, hint: &str| {
        let check = Check::new(asked, name, if good { Answer::Ok } else { Answer::No }, detail);
        if good || hint.is_empty() { check } else { check.hint(hint) }
    };
    let sessions: Vec<String> =
        facts.sessions.iter().filter(|session| session.could_write()).map(Session::words).collect();
    let accounts = facts.writers();
    let or = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
    vec![
        check(
            "read-only",
            facts.read_only,
            format!("read_only is {}", facts.read_only),
            "rs-dbsync writes off",
        ),
        check(
            "no session that could write",
            sessions.is_empty(),
            or(sessions.join(", "), "none"),
            "rs-dbsync writes off ends them; --allow USER for those that may stay",
        ),
        check(
            "no account that could write",
            accounts.is_empty(),
            or(accounts.join(", "), "none but ours and the system's"),
            "take the privilege away, or name the account with --allow USER",
        ),
        check(
            "events off",
            !facts.events_on,
            format!("event scheduler {}", if facts.events_on { "runs" } else { "does not run" }),
            "rs-dbsync writes off",
        ),
        check(
            "no open transaction",
            facts.open_transactions == 0,
            match facts.open_transactions {
                0 => "none".into(),
                n => format!("{n} with changed rows: {}", or(facts.open_by.join(", "), "unknown")),
            },
            "rs-dbsync writes off ends them",
        ),
        check(
            "no prepared XA transaction",
            facts.prepared_xa.is_empty(),
            or(facts.prepared_xa.join(", "), "none"),
            "their owner must commit them or roll them back: XA RECOVER shows them",
        ),
        check(
            "no incoming replication",
            !facts.incoming_replication,
            match facts.incoming_replication {
                false => "none".into(),
                true => format!("from {}", or(facts.sources.join(", "), "unknown")),
            },
            "this server is a slave of another one: name the master",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> SilenceFacts {
        SilenceFacts {
            read_only: true,
            sessions: vec![
                Session { may_write: true, exempt: "ours".into(), ..Session::default() },
                Session { may_write: false, ..Session::default() },
            ],
            accounts: vec![Privileged {
                account: "root@localhost".into(),
                because: "READ ONLY ADMIN".into(),
                exempt: "system".into(),
            }],
            ..SilenceFacts::default()
        }
    }

    fn refused(facts: &SilenceFacts) -> Vec<String> {
        judge_silence("m", facts)
            .into_iter()
            .filter(|check| check.answer != Answer::Ok)
            .map(|check| check.name)
            .collect()
    }

    #[test]
    fn each_way_to_write_is_refused_by_its_own_name() {
        assert_eq!(refused(&silent()), Vec::<String>::new());
        type Change = fn(&mut SilenceFacts);
        let ways: [(&str, Change); 7] = [
            ("read-only", |f| f.read_only = false),
            ("no session that could write", |f| f.sessions[0].exempt.clear()),
            ("no account that could write", |f| f.accounts[0].exempt.clear()),
            ("events off", |f| f.events_on = true),
            ("no open transaction", |f| f.open_transactions = 1),
            ("no prepared XA transaction", |f| f.prepared_xa.push("x".into())),
            ("no incoming replication", |f| f.incoming_replication = true),
        ];
        for (name, change) in ways {
            let mut facts = silent();
            change(&mut facts);
            assert_eq!(refused(&facts), [name]);
        }
    }

    #[test]
    fn nothing_read_is_not_silent() {
        assert!(refused(&SilenceFacts::default()).contains(&"read-only".to_owned()));
    }
}
