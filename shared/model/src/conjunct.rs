//! What a proof is made of: readings, and the conjuncts that are judged by them.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Answer, Check};

/// One question to one server: what was asked, and when the answer was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What was asked, in words.
    pub asked: String,
    /// Of which server.
    pub of: String,
    /// When the answer was there, RFC 3339 UTC.
    pub at: String,
    /// The same by a clock that nobody sets: milliseconds since the proof began.
    pub after_ms: u64,
    /// Why there is no answer: what could not be read is never taken for ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// One table on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSum {
    /// `SCHEMA.TABLE`.
    pub table: String,
    /// Its checksum on the master; absent: it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Its checksum on the slave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave: Option<String>,
}

/// What a comparison of rows found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Whether a part of the tables is enough.
    pub sample: bool,
    /// Tables that were compared.
    pub compared: Vec<TableSum>,
    /// Tables for which the time did not suffice.
    pub left_out: Vec<String>,
}

impl Rows {
    /// Whether every table that had to be compared was, and is the same on both sides. Nothing compared is not equal.
    pub fn equal(&self) -> bool {
        !self.compared.is_empty()
            && (self.sample || self.left_out.is_empty())
            && self.compared.iter().all(|sum| sum.master.is_some() && sum.master == sum.slave)
    }

    /// In words.
    pub fn words(&self) -> String {
        let other: Vec<&str> = self
            .compared
            .iter()
            .filter(|sum| sum.master.is_none() || sum.master != sum.slave)
            .map(|sum| sum.table.as_str())
            .collect();
        let mut words = match (self.compared.len(), other.as_slice()) {
            (0, _) => "no table was compared".to_owned(),
            (n, []) => format!("{n} tables are the same on both sides"),
            (_, other) => format!("not the same on both sides: {}", other.join(", ")),
        };
        if !self.left_out.is_empty() {
            words.push_str("; the time did not suffice for ");
            words.push_str(&self.left_out.join(", "));
        }
        words
    }
}

/// A schema on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schemas {
    /// Its name.
    pub name: String,
    /// Its fingerprint on the master.
    pub master: String,
    /// Its fingerprint on the slave.
    pub slave: String,
    /// Tables, routines and the like that are not the same on both sides, as far as that could be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differ: Vec<String>,
}

impl Schemas {
    /// Whether both were read and are the same.
    pub fn same(&self) -> bool {
        !self.master.is_empty() && self.master == self.slave
    }

    /// In words; `versions` are the master's and the slave's: another engine may write the same definition otherwise.
    pub fn words(&self, versions: [&str; 2]) -> String {
        let mut words = match (self.same(), self.differ.as_slice()) {
            (true, _) => format!("schema {:?}: {}", self.name, self.slave),
            (false, []) => {
                format!("schema {:?}: {}, the master's {}", self.name, self.slave, self.master)
            }
            (false, differ) => format!("schema {:?} differs in {}", self.name, differ.join(", ")),
        };
        if !self.same() && versions[0] != versions[1] {
            words.push_str(&format!(
                "; the master is {}, the slave {}, which may write down the same differently",
                versions[0], versions[1]
            ));
        }
        words
    }
}

/// A conjunct: ok only if it is so.
pub fn conjunct(name: &str, subject: &str, good: bool, detail: impl Into<String>) -> Check {
    let good = good || switched_off(name);
    Check::new(name, subject, if good { Answer::Ok } else { Answer::No }, detail)
}

/// A conjunct, with the readings that it rests on and what they gave. One that was not read: unknown, whatever the
/// default value in its place would say.
pub fn read_conjunct(
    name: &str,
    subject: &str,
    good: bool,
    detail: impl Into<String>,
    readings: &[&Reading],
    answered: &Json,
) -> Check {
    let unread: Vec<String> = readings
        .iter()
        .filter_map(|reading| {
            let why = reading.unread.as_ref()?;
            Some(format!("{} of {:?} was not read: {why}", reading.asked, reading.of))
        })
        .collect();
    let check = if unread.is_empty() || switched_off(name) {
        conjunct(name, subject, good, detail)
    } else {
        Check::new(name, subject, Answer::Unknown, unread.join("; "))
    };
    check.facts(serde_json::json!({ "asked": readings, "answered": answered }))
}

/// A build for `make mutants` only: the conjuncts that are switched off, so that their lying states are seen to pass.
#[cfg(feature = "mutants")]
static SWITCHED_OFF: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();

/// Switches conjuncts off, by name. Only the first call counts.
#[cfg(feature = "mutants")]
pub fn switch_off(names: Vec<String>) {
    SWITCHED_OFF.get_or_init(|| names);
}

#[cfg(feature = "mutants")]
fn switched_off(name: &str) -> bool {
    SWITCHED_OFF.get().is_some_and(|off| off.iter().any(|one| one == name))
}

/// No conjunct can be switched off.
#[cfg(not(feature = "mutants"))]
const fn switched_off(_name: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(table: &str, master: Option<&str>, slave: Option<&str>) -> TableSum {
        TableSum {
            table: table.into(),
            master: master.map(str::to_owned),
            slave: slave.map(str::to_owned),
        }
    }

    #[test]
    fn rows_are_equal_only_when_all_that_was_asked_was_compared() {
        let mut rows = Rows { compared: vec![sum("a.t", Some("1"), Some("1"))], ..Rows::default() };
        assert!(rows.equal());
        rows.left_out.push("a.u".into());
        assert!(!rows.equal() && rows.words().contains("a.u"));
        rows.sample = true;
        assert!(rows.equal(), "a sample need not be all");
        for (master, slave) in [(Some("1"), Some("2")), (None, None), (Some("1"), None)] {
            rows.compared = vec![sum("a.t", master, slave)];
            assert!(!rows.equal() && rows.words().contains("not the same on both sides: a.t"));
        }
        rows.compared.clear();
        assert!(!rows.equal(), "nothing compared");
    }

    #[test]
    fn what_was_not_read_is_unknown_though_its_default_would_be_fine() {
        let mut reading =
            Reading { asked: "channels".into(), of: "s".into(), ..Reading::default() };
        let judge =
            |reading: &Reading| read_conjunct("no delay", "s", true, "", &[reading], &0.into());
        let check = judge(&reading);
        assert_eq!((check.answer, &check.facts["asked"][0]["of"]), (Answer::Ok, &"s".into()));
        reading.unread = Some("no column \"SQL_Delay\"".into());
        let check = judge(&reading);
        assert_eq!(check.answer, Answer::Unknown);
        assert!(check.detail.contains("SQL_Delay"), "{}", check.detail);
    }
}
