//! Replication positions: sets, never numbers, and never compared as text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Bad;

/// A position as a server gave it. Text: comparing is [`GtidSet`]'s work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// GTID set, e.g. `0-1-42` (MariaDB) or `UUID:1-42` (MySQL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    /// Binary log file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Offset in it, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pos: Option<String>,
}

impl Position {
    /// The GTID set, an empty text when there is none.
    pub fn text(&self) -> &str {
        self.gtid.as_deref().unwrap_or_default()
    }

    /// The set; absent when it is empty, unread or unreadable: such a position proves nothing.
    pub fn set(&self) -> Option<GtidSet> {
        GtidSet::parse(self.text()).ok().filter(|set| !set.is_empty())
    }

    /// Whether both are the same non-empty set, down to the server that wrote: two servers with a history of their own
    /// can have come to the same sequence number.
    pub fn same(&self, other: &Position) -> bool {
        matches!((self.set(), other.set()), (Some(a), Some(b)) if a == b)
    }

    /// Whether it is where it was: the same set; or nothing, as then. What cannot be read did not stay.
    pub fn stayed(&self, then: &Position) -> bool {
        self.same(then) || (self.text().is_empty() && then.text().is_empty())
    }
}

/// A position of either dialect, as the set of transactions that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GtidSet {
    /// MariaDB's.
    Domains(Gtids),
    /// MySQL's: per source (`UUID` or `UUID:TAG`) the intervals, sorted, apart from one another.
    Sources(BTreeMap<String, Vec<(u64, u64)>>),
}

impl GtidSet {
    /// Reads a set of either dialect: MySQL's holds colons, MariaDB's does not.
    pub fn parse(written: &str) -> Result<Self, Bad> {
        if !written.contains(':') {
            return Gtids::parse(written).map(GtidSet::Domains);
        }
        let mut found: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        for part in written.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let bad =
                || Bad::new(format!("`{part}` is no GTID set"), "UUID:FIRST-LAST is expected");
            let mut pieces = part.split(':').map(str::trim);
            let uuid = pieces.next().filter(|uuid| uuid.len() == 36).ok_or_else(bad)?;
            let mut source = uuid.to_ascii_lowercase();
            for piece in pieces {
                if !piece.starts_with(|c: char| c.is_ascii_digit()) {
                    source = format!("{}:{piece}", uuid.to_ascii_lowercase());
                    continue;
                }
                let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
                let (first, last): (u64, u64) =
                    (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
                if first == 0 || last < first {
                    return Err(bad());
                }
                found.entry(source.clone()).or_default().push((first, last));
            }
        }
        for intervals in found.values_mut() {
            intervals.sort_unstable();
            let mut joined: Vec<(u64, u64)> = Vec::new();
            for (first, last) in intervals.drain(..) {
                match joined.last_mut() {
                    Some(before) if first <= before.1.saturating_add(1) => {
                        before.1 = before.1.max(last);
                    }
                    _ => joined.push((first, last)),
                }
            }
            *intervals = joined;
        }
        Ok(GtidSet::Sources(found))
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        match self {
            GtidSet::Domains(gtids) => gtids.is_empty(),
            GtidSet::Sources(sources) => sources.is_empty(),
        }
    }

    /// Whether everything in `other` is here too. Sets of different dialects cover one another never.
    pub fn covers(&self, other: &GtidSet) -> bool {
        match (self, other) {
            (GtidSet::Domains(mine), GtidSet::Domains(theirs)) => mine.covers(theirs),
            (GtidSet::Sources(mine), GtidSet::Sources(theirs)) => {
                theirs.iter().all(|(source, intervals)| {
                    let mine = mine.get(source).map_or(&[][..], Vec::as_slice);
                    intervals.iter().all(|(first, last)| {
                        mine.iter().any(|(from, to)| from <= first && last <= to)
                    })
                })
            }
            _ => false,
        }
    }

    /// How many transactions are here that are not in `other`; absent when they cannot be compared.
    pub fn beyond(&self, other: &GtidSet) -> Option<u64> {
        match (self, other) {
            (GtidSet::Domains(mine), GtidSet::Domains(theirs)) => Some(mine.beyond(theirs)),
            (GtidSet::Sources(mine), GtidSet::Sources(theirs)) => {
                Some(total(mine.iter().map(|(source, intervals)| {
                    let theirs = theirs.get(source).map_or(&[][..], Vec::as_slice);
                    // no interval holds 0, and intervals of one source lie apart: neither sum is beyond u64
                    let all = total(intervals.iter().map(|(a, b)| b - a + 1));
                    let common = total(intervals.iter().flat_map(|(a, b)| {
                        theirs.iter().map(move |(c, d)| {
                            let (from, to) = (*a.max(c), *b.min(d));
                            if from <= to { to - from + 1 } else { 0 }
                        })
                    }));
                    all - common
                })))
            }
            _ => None,
        }
    }
}

/// A sum that stays at the greatest number: what a server says is not trusted to add up.
fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// A MariaDB GTID position: per domain the last server id and sequence number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gtids(pub BTreeMap<u32, (u32, u64)>);

impl Gtids {
    /// Reads `0-1-42,7-11-3`. Order does not matter; the same position comes in any.
    pub fn parse(written: &str) -> Result<Self, Bad> {
        let mut found = BTreeMap::new();
        for (domain, server, sequence) in triples(written)? {
            // one domain twice happens when several servers wrote to it: the highest counts
            let slot = found.entry(domain).or_insert((server, sequence));
            if sequence > slot.1 {
                *slot = (server, sequence);
            }
        }
        Ok(Gtids(found))
    }

    /// Whether nothing was ever written: such a position proves nothing and must be refused before asking.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether everything in `other` is also here, domain by domain.
    pub fn covers(&self, other: &Gtids) -> bool {
        other.0.iter().all(|(domain, (_, sequence))| {
            self.0.get(domain).is_some_and(|(_, mine)| mine >= sequence)
        })
    }

    /// Transactions in `self` that are not in `other` (sequence numbers are counted; gaps count as transactions).
    pub fn beyond(&self, other: &Gtids) -> u64 {
        total(self.0.iter().map(|(domain, (_, mine))| {
            mine.saturating_sub(other.0.get(domain).map_or(0, |(_, theirs)| *theirs))
        }))
    }
}

/// What of a binary log's state is not in another's: `@@gtid_binlog_state` names the last sequence number of *every*
/// server that ever wrote to each domain, so that an old stray transaction cannot hide behind newer replicated ones.
/// Of MySQL's sets: what `mine` has and `theirs` has not. `None`: one of them cannot be read.
pub fn stray(mine: &str, theirs: &str) -> Option<Vec<String>> {
    if mine.contains(':') || theirs.contains(':') {
        let (mine_set, theirs) = (GtidSet::parse(mine).ok()?, GtidSet::parse(theirs).ok()?);
        if mine_set.is_empty() || theirs.covers(&mine_set) {
            return Some(Vec::new());
        }
        let more = mine_set.beyond(&theirs)?;
        return Some(vec![format!("{more} transactions of {mine}")]);
    }
    let known: BTreeMap<(u32, u32), u64> = triples(theirs)
        .ok()?
        .into_iter()
        .map(|(domain, server, seq)| ((domain, server), seq))
        .collect();
    Some(
        triples(mine)
            .ok()?
            .into_iter()
            .filter(|(domain, server, seq)| known.get(&(*domain, *server)).is_none_or(|k| seq > k))
            .map(|(domain, server, seq)| format!("{domain}-{server}-{seq}"))
            .collect(),
    )
}

fn triples(written: &str) -> Result<Vec<(u32, u32, u64)>, Bad> {
    written
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let bad = || {
                Bad::new(
                    format!("`{part}` is no GTID"),
                    "DOMAIN-SERVER-SEQUENCE is expected, e.g. 0-1-42",
                )
            };
            let mut numbers = part.split('-');
            let (Some(domain), Some(server), Some(sequence), None) =
                (numbers.next(), numbers.next(), numbers.next(), numbers.next())
            else {
                return Err(bad());
            };
            Ok((
                domain.parse().map_err(|_| bad())?,
                server.parse().map_err(|_| bad())?,
                sequence.parse().map_err(|_| bad())?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4f11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn positions_are_sets_and_their_order_does_not_matter() {
        let a = Gtids::parse("0-11-58617,7-11-3").unwrap();
        let b = Gtids::parse("7-11-3, 0-11-58617").unwrap();
        assert_eq!(a, b);
        assert!(a.covers(&b) && b.covers(&a));
    }

    #[test]
    fn distance_and_cover_are_counted_per_domain() {
        let master = Gtids::parse("0-1-42,1-1-7").unwrap();
        let slave = Gtids::parse("0-1-40").unwrap();
        assert!(!slave.covers(&master) && master.covers(&slave));
        assert_eq!(master.beyond(&slave), 9);
        assert!(Gtids::parse("").unwrap().is_empty());
        Gtids::parse("1-2").unwrap_err();
        Gtids::parse("a-b-c").unwrap_err();
        Gtids::parse("0-1-2-3").unwrap_err();
        // a domain that two servers wrote to is where the later of them was
        for twice in ["0-1-40,0-2-42", "0-2-42,0-1-40"] {
            assert_eq!(Gtids::parse(twice), Gtids::parse("0-2-42"), "{twice}");
        }
        let most = u64::MAX;
        let most = Gtids::parse(&format!("0-1-{most},1-1-{most}")).unwrap();
        assert_eq!(most.beyond(&slave), u64::MAX, "a sum that is too great stays at the greatest");
    }

    #[test]
    fn sets_of_sources_are_joined_compared_and_counted() {
        let set = |text: &str| GtidSet::parse(text).unwrap();
        let whole = set(&format!("{A}:1-10,\n{B}:1-3:5"));
        let parts = set(&format!("{B}:5:1-3,{A}:6-10:1-5"));
        assert!(whole.covers(&parts) && parts.covers(&whole));
        let less = set(&format!("{A}:1-8"));
        assert!(whole.covers(&less) && !less.covers(&whole));
        assert_eq!(whole.beyond(&less), Some(6));
        assert!(!set(&format!("{A}:1-10")).covers(&whole), "a source is missing");
        assert!(!set(&format!("{A}:5-10")).covers(&set(&format!("{A}:3-8"))), "its begin is");
        assert_eq!(set(&format!("{A}:1-10")).beyond(&set(&format!("{A}:3"))), Some(9));
        assert_eq!(set(&format!("{A}:1-10:2-3")), set(&format!("{A}:1-10")));
        assert_eq!(set(&format!("{}:1-3", A.to_uppercase())), set(&format!("{A}:1-3")));
        let tagged = set(&format!("{A}:tag:1-3"));
        assert!(!tagged.covers(&set(&format!("{A}:1-3"))) && !less.covers(&tagged));
        assert_eq!(whole.beyond(&set("0-1-1")), None);
        assert!(!whole.covers(&set("0-1-1")), "dialects are never mixed");
        for bad in ["x:1", &format!("{A}:0"), &format!("{A}:5-2"), &format!("{A}:a-b-c:x-1-")] {
            let read = GtidSet::parse(bad);
            assert!(read.is_err() || read.unwrap().is_empty(), "{bad}");
        }
    }

    #[test]
    fn an_old_stray_transaction_does_not_hide_behind_newer_ones() {
        assert_eq!(stray("0-1-9,0-2-5", "0-1-9"), Some(vec!["0-2-5".to_owned()]));
        assert_eq!(stray("0-1-9", "0-1-9,0-2-5"), Some(Vec::new()));
        assert_eq!(stray("0-1-10", "0-1-9"), Some(vec!["0-1-10".to_owned()]));
        assert_eq!(stray("", "0-1-9"), Some(Vec::new()));
        assert_eq!(stray("rubbish", "0-1-9"), None);
        let theirs = format!("{A}:1-5");
        assert_eq!(stray("", &theirs), Some(Vec::new()), "a log that holds nothing");
        assert_eq!(stray(&format!("{A}:2-3"), &theirs), Some(Vec::new()));
        assert!(stray(&format!("{A}:1-6"), &theirs).is_some_and(|errant| errant.len() == 1));
        assert_eq!(stray(&theirs, "0-1-9"), None, "dialects are never compared");
    }

    #[test]
    fn an_empty_position_is_no_position() {
        let of = |text: &str| Position { gtid: Some(text.into()), ..Position::default() };
        assert!(Position::default().set().is_none() && of("").set().is_none());
        assert!(!of("").same(&of("")) && !of("x").same(&of("x")));
        assert!(of("0-1-2,1-1-1").same(&of("1-1-1,0-1-2")));
        assert!(!of("0-1-2").same(&of("0-3-2")), "the same number of another server");
    }

    proptest! {
        #[test]
        fn whatever_is_read_never_panics(text in ".{0,60}") {
            let _ = GtidSet::parse(&text);
            let _ = stray(&text, &text);
        }

        #[test]
        fn covering_means_that_nothing_is_beyond(
            a in proptest::collection::btree_map(0u32..4, (1u32..4, 1u64..50), 1..4),
            b in proptest::collection::btree_map(0u32..4, (1u32..4, 1u64..50), 1..4),
        ) {
            let (a, b) = (Gtids(a), Gtids(b));
            prop_assert_eq!(a.covers(&b), b.beyond(&a) == 0);
            let written: Vec<String> =
                a.0.iter().rev().map(|(d, (s, q))| format!("{d}-{s}-{q}")).collect();
            prop_assert_eq!(&Gtids::parse(&written.join(",")).unwrap(), &a);
        }
    }
}
