//! What coming back costs: whose transactions a promotion of the held slave would lose; or of the master that was fenced for
//! it, when that promotion is taken back.
//!
//! Counted on the master's own position, as a set. Heartbeats are known by the tables that they write to, our own tests
//! by position: nobody else writes between the migration and the moment at which the site was opened, as long as the page was
//! up all the time. What cannot be told apart counts as the users'; what cannot be counted is unknown, which is never 0.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Position;

/// How many transactions wrote to which tables (`schema.table`; an empty name stands for what is not known).
pub type Written = BTreeMap<BTreeSet<String>, u64>;

/// What the tools write beside the data: missed by nobody.
const OURS: &str = "rs_tools.";

/// Why it may be less than it says.
const LIFTED: &str =
    "the page was not up all the time before the site was opened: our tests are counted too";
/// Why it may be less than it says.
const BEGUN: &str = "a migration was begun and did not end: what it wrote is counted";
/// Why it may be less than it says.
const MENDED: &str = "another migration was run since then: what it wrote is counted";

/// A moment of a master.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// RFC 3339 UTC.
    pub at: String,
    /// Where its own binary log was.
    pub position: Position,
    /// How many canaries we had written.
    pub canaries: u64,
}

/// What a price rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceFacts {
    /// The hold: the held slave is there. Of a fenced master: the promotion.
    pub held: Moment,
    /// The end of the first migration, or that promotion; absent: none came to its end.
    pub migrated: Option<Moment>,
    /// Whether it is counted from a promotion on: nothing was migrated there.
    pub promoted: bool,
    /// Whether a migration was begun since users' transactions count: what it wrote cannot be told from them.
    pub begun: bool,
    /// The moment at which the site was opened to users, after that; absent: nobody noted one.
    pub opened: Option<Moment>,
    /// Whether the page came down or had to be put up again between the two: users may have written there.
    pub lifted: bool,
    /// Now.
    pub now: Moment,
    /// What was written between the migration and the opening; absent: it cannot be read.
    pub written_before: Option<Written>,
    /// What was written since the opening, or since the migration, or since the hold; absent: it cannot be read.
    pub written_since: Option<Written>,
    /// Tables of heartbeats.
    pub heartbeat_tables: Vec<String>,
}

impl PriceFacts {
    /// From when on users' transactions count.
    pub fn users_from(&self) -> &Moment {
        self.opened().or(self.migrated.as_ref()).unwrap_or(&self.held)
    }

    /// The opening, where nobody but our tests can have written before it.
    fn opened(&self) -> Option<&Moment> {
        self.opened.as_ref().filter(|_| !self.lifted)
    }
}

/// The price of coming back (`rs.price/1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Transactions of users that would be lost; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<u64>,
    /// They may be fewer: heartbeats, or a migration that did not end or was run since then, could not be told apart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_most: bool,
    /// Since when they count, RFC 3339 UTC.
    pub since: String,
    /// What happened then: `opened`, `migrated`, `held`, `promoted`.
    pub since_what: String,
    /// Of heartbeats, since then; absent: not told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeats: Option<u64>,
    /// Of our own tests: between the migration and the opening; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<u64>,
    /// All that the master has more than the held slave, the migration included; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions_since_hold: Option<u64>,
    /// Why it is unknown, or `at_most`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Price {
    /// Nobody could be asked.
    pub fn unknown(since: &str, why: impl Into<String>) -> Price {
        Price {
            since: since.into(),
            since_what: "held".into(),
            because: Some(why.into()),
            ..Price::default()
        }
    }

    /// In words: `137 transactions of users since 14:02:11Z would be lost (heartbeats: 12, our tests: 3)`.
    pub fn words(&self) -> String {
        let time = self.since.get(11..19).map_or(self.since.clone(), |time| format!("{time}Z"));
        let apart: Vec<String> = [("heartbeats", self.heartbeats), ("our tests", self.tests)]
            .into_iter()
            .filter_map(|(what, n)| Some(format!("{what}: {}", n.filter(|n| *n > 0)?)))
            .collect();
        let apart =
            if apart.is_empty() { String::new() } else { format!(" ({})", apart.join(", ")) };
        match (self.transactions, self.since_what.as_str()) {
            (None, _) => {
                format!("unknown: {}", self.because.as_deref().unwrap_or("nobody could be asked"))
            }
            (Some(0), "held" | "promoted") => format!("nothing would be lost{apart}"),
            (Some(0), _) => format!("nothing but the migration would be lost{apart}"),
            (Some(n), _) => format!(
                "{}{n} transaction{} of users since {time} would be lost{apart}{}",
                if self.at_most { "at most " } else { "" },
                if n == 1 { "" } else { "s" },
                match self.because.as_deref() {
                    Some(BEGUN) => ": a migration that did not end is among them",
                    Some(MENDED) => ": another migration is among them",
                    _ => "",
                },
            ),
        }
    }
}

/// Whether a master wrote nothing between two moments but what is ours: canaries, and, where it was read which tables were
/// `written` to, heartbeats. What cannot be compared is no yes.
pub fn only_ours(from: &Moment, to: &Moment, written: Option<&Written>, tables: &[String]) -> bool {
    part(from, to, written, tables).is_some_and(|(users, _)| users == 0)
}

/// How many there are between two moments, and how many of them are heartbeats (absent: not told apart).
fn part(
    from: &Moment,
    to: &Moment,
    written: Option<&Written>,
    tables: &[String],
) -> Option<(u64, Option<u64>)> {
    let (then, now) = (from.position.set()?, to.position.set()?);
    if !now.covers(&then) {
        return None;
    }
    let all = now.beyond(&then)?;
    // what was read must be all of it, and nothing else
    if let Some(written) = written.filter(|written| written.values().sum::<u64>() == all) {
        let of = |is: &dyn Fn(&String) -> bool| -> u64 {
            let only = |set: &BTreeSet<String>| !set.is_empty() && set.iter().all(is);
            written.iter().filter(|(set, _)| only(set)).map(|(_, n)| n).sum()
        };
        let ours = of(&|table| table.starts_with(OURS));
        let beats = of(&|table| table.starts_with(OURS) || tables.contains(table)) - ours;
        return Some((all - ours - beats, Some(beats)));
    }
    Some((all.saturating_sub(to.canaries.saturating_sub(from.canaries)), None))
}

/// Counts.
pub fn price(facts: &PriceFacts) -> Price {
    let from = facts.users_from();
    let tables = &facts.heartbeat_tables;
    let counted = part(from, &facts.now, facts.written_since.as_ref(), tables);
    let tests = match (&facts.migrated, facts.opened()) {
        (Some(migrated), Some(opened)) => {
            part(migrated, opened, facts.written_before.as_ref(), tables).map(|(n, _)| n)
        }
        _ => None,
    };
    let apart = counted.is_some_and(|(_, beats)| beats.is_some());
    let because = match counted {
        None => Some(format!(
            "the master is at `{}`, and not behind `{}`",
            facts.now.position.text(),
            from.position.text()
        )),
        Some((n, _)) if facts.begun && n > 0 => {
            Some(if facts.migrated.is_none() { BEGUN } else { MENDED }.to_owned())
        }
        Some((n, _)) if facts.lifted && n > 0 => Some(LIFTED.to_owned()),
        Some(_) if !apart => Some("its binary log does not tell heartbeats apart".to_owned()),
        Some(_) => None,
    };
    Price {
        transactions: counted.map(|(n, _)| n),
        at_most: counted.is_some_and(|(n, _)| !apart || ((facts.begun || facts.lifted) && n > 0)),
        since: from.at.clone(),
        since_what: match (facts.opened(), &facts.migrated) {
            _ if facts.promoted => "promoted",
            (Some(_), _) => "opened",
            (None, Some(_)) => "migrated",
            (None, None) => "held",
        }
        .into(),
        heartbeats: counted.and_then(|(_, beats)| beats),
        tests,
        transactions_since_hold: part(&facts.held, &facts.now, None, &[]).map(|(n, _)| n),
        because,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str, gtid: &str, canaries: u64) -> Moment {
        let position = Position { gtid: Some(gtid.into()), ..Position::default() };
        Moment { at: format!("2026-11-29T{time}Z"), position, canaries }
    }

    fn wrote(of: &[(&[&str], u64)]) -> Option<Written> {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Some(of.iter().map(|(names, n)| (set(names), *n)).collect())
    }

    fn opened() -> PriceFacts {
        PriceFacts {
            held: at("14:00:00", "0-1-100", 1),
            migrated: Some(at("14:01:00", "0-1-110", 1)),
            opened: Some(at("14:02:11", "0-1-115", 1)),
            now: at("14:10:00", "0-1-265", 2),
            written_before: wrote(&[(&["shop.orders"], 3), (&["heartbeat.beat"], 2)]),
            written_since: wrote(&[
                (&["shop.orders"], 130),
                (&["shop.orders", "heartbeat.beat"], 5),
                (&[""], 2),
                (&["heartbeat.beat"], 12),
                (&["rs_tools.canary"], 1),
            ]),
            heartbeat_tables: vec!["heartbeat.beat".into()],
            ..PriceFacts::default()
        }
    }

    #[test]
    fn where_the_page_was_lifted_before_the_opening_nothing_is_taken_for_our_tests() {
        let all = wrote(&[
            (&["shop.orders"], 138),
            (&[""], 2),
            (&["heartbeat.beat"], 14),
            (&["rs_tools.canary"], 1),
        ]);
        let found = price(&PriceFacts { lifted: true, written_since: all, ..opened() });
        assert_eq!((found.transactions, found.tests, found.at_most), (Some(140), None, true));
        assert_eq!((found.since_what.as_str(), &found.since[11..19]), ("migrated", "14:01:00"));
        assert_eq!(found.because.as_deref(), Some(LIFTED));
        let quiet = PriceFacts { now: at("14:03:00", "0-1-110", 1), ..opened() };
        let quiet = price(&PriceFacts { lifted: true, written_since: wrote(&[]), ..quiet });
        assert_eq!((quiet.transactions, quiet.at_most), (Some(0), false));
    }

    #[test]
    fn from_a_promotion_on_no_migration_is_lost() {
        let facts = PriceFacts { promoted: true, ..opened() };
        let found = price(&facts);
        assert_eq!((found.since_what.as_str(), found.tests), ("promoted", Some(3)));
        assert!(found.words().starts_with("137 transactions of users since 14:02:11Z"));
        let facts =
            PriceFacts { now: at("14:03:00", "0-1-115", 1), written_since: wrote(&[]), ..facts };
        assert_eq!(price(&facts).words(), "nothing would be lost (our tests: 3)");
    }

    #[test]
    fn users_heartbeats_and_tests_are_counted_apart() {
        let price = price(&opened());
        assert_eq!(
            (price.transactions, price.heartbeats, price.tests, price.at_most),
            (Some(137), Some(12), Some(3), false)
        );
        assert_eq!(price.transactions_since_hold, Some(164));
        assert_eq!(
            price.words(),
            "137 transactions of users since 14:02:11Z would be lost (heartbeats: 12, our tests: 3)"
        );
    }

    #[test]
    fn what_the_binary_log_does_not_tell_counts_as_the_users() {
        for written in [None, wrote(&[(&["heartbeat.beat"], 149)]), wrote(&[])] {
            let price = price(&PriceFacts { written_since: written, ..opened() });
            assert_eq!((price.transactions, price.heartbeats), (Some(149), None));
            assert!(price.at_most && price.words().starts_with("at most 149 transactions"));
        }
        // one that names no table, and one that beat and touched ours
        let odd = wrote(&[(&[], 140), (&["heartbeat.beat", "rs_tools.canary"], 10)]);
        let price = price(&PriceFacts { written_since: odd, ..opened() });
        assert_eq!((price.transactions, price.heartbeats), (Some(140), Some(10)));
    }

    #[test]
    fn a_list_of_heartbeats_that_is_empty_names_nobody() {
        let nobody = PriceFacts { heartbeat_tables: Vec::new(), ..opened() };
        assert_eq!(price(&nobody).transactions, Some(149));
    }

    #[test]
    fn where_no_opening_was_noted_all_since_the_migration_counts() {
        let facts = PriceFacts { opened: None, written_since: None, ..opened() };
        let found = price(&facts);
        assert_eq!((found.transactions, found.tests), (Some(154), None));
        assert_eq!(found.since_what, "migrated");
        let facts = PriceFacts { migrated: None, ..facts };
        assert_eq!(price(&facts).transactions, Some(164));
    }

    #[test]
    fn a_migration_that_did_not_end_is_counted_and_named() {
        let facts = PriceFacts { migrated: None, opened: None, begun: true, ..opened() };
        let found = price(&facts);
        assert!(found.at_most, "{found:?}");
        assert_eq!(
            found.words(),
            "at most 164 transactions of users since 14:00:00Z would be lost: a migration that did not end is among them"
        );
        let told = wrote(&[(&["shop.orders"], 160), (&["heartbeat.beat"], 5)]);
        let apart = price(&PriceFacts { written_since: told, ..facts.clone() });
        assert!(apart.at_most, "known by table, and yet the migration's own is among them");
        assert_eq!((apart.transactions, apart.heartbeats), (Some(160), Some(5)));
        let mended = price(&PriceFacts { begun: true, ..opened() });
        assert_eq!((mended.transactions, mended.at_most), (Some(137), true));
        assert!(
            mended
                .words()
                .ends_with("(heartbeats: 12, our tests: 3): another migration is among them")
        );
        let none = PriceFacts { now: facts.held.clone(), written_since: wrote(&[]), ..facts };
        assert_eq!(price(&none).words(), "nothing would be lost");
    }

    #[test]
    fn nothing_is_lost_but_the_migration_until_somebody_writes() {
        let facts =
            PriceFacts { now: at("14:03:00", "0-1-115", 1), written_since: wrote(&[]), ..opened() };
        let price = price(&facts);
        assert_eq!(price.transactions, Some(0));
        assert_eq!(price.words(), "nothing but the migration would be lost (our tests: 3)");
    }

    #[test]
    fn what_cannot_be_counted_is_unknown_and_not_nothing() {
        for gtid in ["", "0-1-90", "rubbish"] {
            let found = price(&PriceFacts { now: at("15:00:00", gtid, 9), ..opened() });
            assert_eq!((found.transactions, found.heartbeats), (None, None), "{gtid}");
            assert!(found.words().starts_with("unknown: ") && !found.at_most, "{gtid}");
        }
        assert_eq!(Price::unknown("", "it does not answer").words(), "unknown: it does not answer");
    }
}
