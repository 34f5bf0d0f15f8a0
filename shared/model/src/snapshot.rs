//! Backups and their schedule.

use serde::{Deserialize, Serialize};

use crate::position::GtidSet;
use crate::{Bad, Position};

/// One backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Unique in its lineage, sorts by time, e.g. `20261124T141503.271Z-pre-upgrade`.
    pub id: String,
    /// The lineage: which database set's data it is.
    pub lineage: String,
    /// Label that somebody gave it; a label names at most one snapshot of a lineage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The server that it was read from.
    pub server: String,
    /// Whether that server was the master.
    pub from_master: bool,
    /// When it was complete, RFC 3339 UTC; absent while it is being taken or when it broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// Complete and restorable as far as its own files say. Only [`Snapshot::proven_at`] is a proof.
    pub perfect: bool,
    /// Somebody takes it just now; neither this nor `perfect`: it broke half way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taking: bool,
    /// Never pruned while pinned.
    #[serde(default)]
    pub pinned: bool,
    /// Bytes on disk.
    pub bytes: u64,
    /// The master's position that the data stands for.
    pub position: Position,
    /// When a restore of it was started and answered, RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<String>,
    /// Where it lies, for people.
    pub place: String,
    /// Engine version that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// The backup schedule of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Whether backups are taken.
    pub enabled: bool,
    /// Minutes from one to the next.
    pub every_minutes: u64,
    /// How many unpinned ones are kept.
    pub keep: u64,
}

/// What a gate demands of the backups of a lineage, e.g. `age<2h,perfect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The newest perfect one is younger than this, seconds.
    pub max_age_seconds: Option<u64>,
    /// Nothing newer than the newest perfect one broke.
    pub perfect: bool,
    /// The newest perfect one was proven.
    pub proven: bool,
}

impl Demand {
    /// Reads a list of `age<TIME`, `perfect`, `proven`; TIME is like `90s`, `30m`, `2h`, `1d`.
    pub fn parse(written: &str) -> Result<Demand, Bad> {
        let hint = "write age<2h, perfect, proven, or several of them with commas";
        let mut demand = Demand::default();
        for word in written.split(',').map(str::trim) {
            match word {
                "perfect" => demand.perfect = true,
                "proven" => demand.proven = true,
                _ => {
                    let age = word.strip_prefix("age<").and_then(seconds);
                    demand.max_age_seconds =
                        Some(age.ok_or_else(|| Bad::new(format!("{word:?} is no demand"), hint))?);
                }
            }
        }
        Ok(demand)
    }

    /// Why the backups of one lineage do not meet it, oldest first; nothing: they do. `age` tells how old one is,
    /// seconds.
    pub fn unmet(&self, all: &[Snapshot], age: impl Fn(&Snapshot) -> Option<u64>) -> Vec<String> {
        let Some(at) = all.iter().rposition(|one| one.perfect) else {
            return vec!["there is no complete backup".to_owned()];
        };
        let (newest, later) = (&all[at], &all[at + 1..]);
        let mut why = Vec::new();
        if let Some(most) = self.max_age_seconds {
            match age(newest) {
                Some(age) if age < most => {}
                Some(age) => why.push(format!(
                    "the newest complete backup, {:?}, is {age} s old, and {most} s are allowed",
                    newest.id
                )),
                None => why.push(format!("the age of {:?} is unknown", newest.id)),
            }
        }
        if self.perfect {
            why.extend(
                later
                    .iter()
                    .filter(|one| !one.taking)
                    .map(|one| format!("{:?} broke after it", one.id)),
            );
        }
        if self.proven && newest.proven_at.is_none() {
            why.push(format!("{:?} was never restored and asked", newest.id));
        }
        why
    }
}

fn seconds(written: &str) -> Option<u64> {
    let at = written.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = written.split_at(at);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|seconds| *seconds > 0)
}

/// The condition that what an abandoned master holds is in a backup too.
pub const ABANDONED_KEPT: &str = "abandoned data kept";

/// Whether a whole backup stands for a position, so that what a server there holds is in more than one place. MariaDB's
/// numbers are of one history only: those of another server can be higher and stand for other rows.
pub fn stands_for<'a>(all: &'a [Snapshot], at: &Position) -> Option<&'a Snapshot> {
    let has = |one: &&Snapshot| match (one.position.set(), at.set()) {
        (Some(has @ GtidSet::Sources(_)), Some(at)) => has.covers(&at),
        (Some(has), Some(at)) => has == at,
        _ => false,
    };
    all.iter().rev().filter(|one| one.perfect).find(has)
}

/// What may go so that `keep` complete unpinned backups are left: the older ones, and what broke. Never a pinned one,
/// never one that is being taken. `all` is oldest first.
pub fn prunable(all: &[Snapshot], keep: usize) -> Vec<&Snapshot> {
    let mut whole: Vec<&Snapshot> = all.iter().filter(|one| one.perfect && !one.pinned).collect();
    whole.truncate(whole.len().saturating_sub(keep.max(1)));
    let broken = all.iter().filter(|one| !one.perfect && !one.taking && !one.pinned);
    whole.into_iter().chain(broken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: &str, perfect: bool, pinned: bool) -> Snapshot {
        Snapshot { id: id.into(), perfect, pinned, ..Snapshot::default() }
    }

    #[test]
    fn pruning_keeps_the_newest_the_pinned_and_what_is_being_taken() {
        let mut all = vec![
            one("1", true, false),
            one("2", true, true),
            one("3", false, false),
            one("4", true, false),
            one("5", true, false),
            one("6", false, false),
            one("7", false, true),
        ];
        all[5].taking = true;
        let ids = |keep| prunable(&all, keep).iter().map(|s| s.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(2), ["1", "3"]);
        assert_eq!(ids(0), ["1", "4", "3"], "one is always left");
        assert_eq!(ids(9), ["3"]);
    }

    #[test]
    fn only_a_whole_backup_of_the_same_history_stands_for_a_position() {
        let at = |gtid: &str| Position { gtid: Some(gtid.into()), ..Position::default() };
        let of = |gtid: &str| Snapshot { position: at(gtid), ..one("1", true, false) };
        let stands = |has: &str, wanted: &str| stands_for(&[of(has)], &at(wanted)).is_some();
        assert!(stands("0-1-54", "0-1-54"));
        assert!(!stands("0-1-53", "0-1-54"));
        assert!(!stands("0-3-60", "0-1-54"), "of the master that took its place");
        assert!(!stands("", "") && !stands("0-1-54", ""));
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let set = |last: u32| format!("{uuid}:1-{last}");
        assert!(stands(&set(41), &set(40)) && !stands(&set(39), &set(40)));
        let broken = Snapshot { perfect: false, ..of("0-1-54") };
        assert_eq!(stands_for(&[broken], &at("0-1-54")), None);
    }

    #[test]
    fn a_demand_names_everything_that_is_missing() {
        let demand = Demand::parse("age<2h, perfect,proven").unwrap();
        let all = [one("1", true, false), one("2", false, false)];
        assert_eq!(demand.unmet(&all, |_| Some(7200)).len(), 3);
        assert_eq!(demand.unmet(&all, |_| None).len(), 3, "unknown is not young");
        assert_eq!(demand.unmet(&[], |_| Some(1)).len(), 1);
        let mut good = one("1", true, false);
        good.proven_at = Some("x".into());
        assert!(demand.unmet(std::slice::from_ref(&good), |_| Some(7199)).is_empty());
        let mut under_way = one("2", false, false);
        under_way.taking = true;
        let all = [good, under_way];
        assert!(demand.unmet(&all, |_| Some(7199)).is_empty(), "what is being taken is not broken");
        for bad in ["", "age<", "age<2", "age<0h", "age>1h", "young"] {
            Demand::parse(bad).unwrap_err();
        }
        for (age, seconds) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400)] {
            let demand = Demand::parse(&format!("age<{age}")).unwrap();
            assert_eq!(demand.max_age_seconds, Some(seconds), "{age}");
        }
    }
}
