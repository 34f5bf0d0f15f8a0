//! Replication positions: sets, never numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Bad;

/// A position as a server gave it. Text: comparing is [`Gtids`]' work, per dialect.
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

/// A MariaDB GTID position: per domain the last server id and sequence number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gtids(pub BTreeMap<u32, (u32, u64)>);

impl Gtids {
    /// Reads `0-1-42,7-11-3`. Order does not matter; the same position comes in any.
    pub fn parse(written: &str) -> Result<Self, Bad> {
        let mut found = BTreeMap::new();
        for part in written.split(',').map(str::trim).filter(|part| !part.is_empty()) {
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
            let domain = domain.parse().map_err(|_| bad())?;
            let there = (server.parse().map_err(|_| bad())?, sequence.parse().map_err(|_| bad())?);
            // one domain twice happens when several servers wrote to it: the highest counts
            let slot = found.entry(domain).or_insert(there);
            if there.1 > slot.1 {
                *slot = there;
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
        self.0
            .iter()
            .map(|(domain, (_, mine))| {
                mine.saturating_sub(other.0.get(domain).map_or(0, |(_, theirs)| *theirs))
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
