//! What a definition changes, by name: whether one that was cut off was done is seen there, and not in the rest of the
//! schema, which others may change meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use crate::sql::{OBJECTS, words};
use crate::storage::{named, opened};

/// What a statement changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Nothing that a schema shows; the second time does no harm.
    Harmless,
    /// Of these names each is another when it was done, in small letters.
    Names(BTreeSet<String>),
    /// That cannot be read from it.
    Unknown,
}

/// What each of some names is, as a digest; of one that is not there an empty text.
pub type Names = BTreeMap<String, String>;

/// What became of a statement that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All that it changes is as it was.
    Unchanged,
    /// All that it changes is another.
    Changed,
    /// Neither, or nobody can tell.
    Unknown,
}

/// What of a statement can be seen: `names` are its names as noted before and as they are now, `same` is whether the whole
/// schema is as it was.
pub fn seen(touched: &Touched, names: Option<&(Names, Names)>, same: bool) -> Seen {
    if *touched == Touched::Harmless || same {
        return Seen::Unchanged;
    }
    let Some((then, now)) = names else { return Seen::Unknown };
    let other = then.iter().filter(|(name, was)| now.get(*name) != Some(*was)).count();
    match other {
        0 => Seen::Unchanged,
        all if all == then.len() => Seen::Changed,
        _ => Seen::Unknown,
    }
}

/// What a statement changes.
pub fn touched(statement: &str) -> Touched {
    let words = words(&opened(statement));
    let said: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    match said.first().map(String::as_str) {
        Some("OPTIMIZE" | "ANALYZE" | "CHECK" | "REPAIR" | "TRUNCATE" | "GRANT") => {
            Touched::Harmless
        }
        _ => names(&words, &said).map_or(Touched::Unknown, Touched::Names),
    }
}

fn names(words: &[String], said: &[String]) -> Option<BTreeSet<String>> {
    let verb = said.first()?.as_str();
    let header = said.iter().position(|word| OBJECTS.contains(&word.as_str()))?;
    let one = |at: usize| named(words, said, at).filter(|(_, next)| is_name(&words[next - 1]));
    let behind = |word: &str, from: usize| {
        said.iter().skip(from).position(|one| one == word).map(|at| from + at + 1)
    };
    match (verb, said[header].as_str()) {
        ("RENAME", "TABLE") => {
            let (mut from, mut to, mut at) = (BTreeSet::new(), BTreeSet::new(), header);
            loop {
                let (old, next) = one(at + 1)?;
                let (new, next) = one(behind("TO", next).filter(|at| *at == next + 1)?)?;
                from.insert(old);
                to.insert(new);
                at = next;
                match said.get(at).map(String::as_str) {
                    None => break,
                    Some(",") => {}
                    _ => return None,
                }
            }
            // what is taken and given again may look the same
            Some(from.symmetric_difference(&to).cloned().collect())
        }
        ("ALTER", "TABLE") => {
            let (table, mut at) = one(header + 1)?;
            let mut names = BTreeSet::from([table]);
            while let Some(mut to) = behind("RENAME", at) {
                at = to;
                if said.get(to).is_some_and(|word| ["COLUMN", "INDEX", "KEY"].contains(&&**word)) {
                    continue;
                }
                while said.get(to).is_some_and(|word| ["TO", "AS", "="].contains(&&**word)) {
                    to += 1;
                }
                names.insert(one(to)?.0);
            }
            Some(names)
        }
        ("CREATE" | "DROP", "INDEX") => Some(BTreeSet::from([one(behind("ON", header)?)?.0])),
        ("CREATE" | "ALTER" | "DROP", _) => Some(BTreeSet::from([one(header + 1)?.0])),
        _ => None,
    }
    .filter(|names| !names.is_empty())
}

/// Whether a word can be a name: not a sign, and no text.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphanumeric() || ['_', '$', '`'].contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_seen_by_the_names_that_it_changes() {
        for (statement, names) in [
            ("ALTER TABLE orders ADD e2 INT", "orders"),
            ("alter online table if exists shop.`Odd``One` DROP a", "odd`one"),
            ("ALTER TABLE t RENAME COLUMN a TO b, RENAME INDEX i TO j", "t"),
            ("ALTER TABLE t ADD a INT, RENAME TO shop.u", "t u"),
            ("ALTER TABLE t RENAME AS u", "t u"),
            ("ALTER TABLE t /*! RENAME = u */", "t u"),
            ("CREATE TABLE IF NOT EXISTS t LIKE u", "t"),
            ("CREATE UNIQUE INDEX IF NOT EXISTS i USING BTREE ON shop.t (a)", "t"),
            ("DROP INDEX i ON t", "t"),
            ("DROP TABLE IF EXISTS t", "t"),
            ("RENAME TABLE a TO b", "a b"),
            ("RENAME TABLE t TO old, shop.new TO t", "new old"),
            ("CREATE OR REPLACE DEFINER=`table`@`%` SQL SECURITY INVOKER VIEW v AS SELECT 1", "v"),
            (
                "CREATE DEFINER = CURRENT_USER TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1",
                "x",
            ),
            ("DROP PROCEDURE p", "p"),
            ("ALTER EVENT e RENAME TO f", "e"),
        ] {
            let names = names.split(' ').map(str::to_owned).collect();
            assert_eq!(touched(statement), Touched::Names(names), "{statement}");
        }
        for harmless in ["TRUNCATE t", "OPTIMIZE TABLE t", "GRANT SELECT ON shop.* TO a"] {
            assert_eq!(touched(harmless), Touched::Harmless, "{harmless}");
        }
        for unknown in [
            "",
            "ALTER",
            "RENAME TABLE a",
            "RENAME TABLE a TO b WAIT 5",
            "CREATE INDEX i",
            "DROP TABLE ,",
        ] {
            assert_eq!(touched(unknown), Touched::Unknown, "{unknown}");
        }
    }

    #[test]
    fn what_others_change_does_not_count_and_what_is_not_clear_is_unknown() {
        let of = |all: &[(&str, &str)]| -> Names {
            all.iter().map(|(name, is)| ((*name).to_owned(), (*is).to_owned())).collect()
        };
        let then = of(&[("a", "1"), ("b", "")]);
        let ask = |now: &[(&str, &str)]| {
            seen(&touched("RENAME TABLE a TO b"), Some(&(then.clone(), of(now))), false)
        };
        assert_eq!(ask(&[("a", "1"), ("b", "")]), Seen::Unchanged, "somebody else's change");
        assert_eq!(ask(&[("a", ""), ("b", "2")]), Seen::Changed);
        assert_eq!(ask(&[("a", "1"), ("b", "2")]), Seen::Unknown, "somebody made the new name");
        assert_eq!(seen(&Touched::Unknown, None, true), Seen::Unchanged);
        assert_eq!(seen(&Touched::Unknown, None, false), Seen::Unknown);
        assert_eq!(seen(&Touched::Harmless, None, false), Seen::Unchanged);
    }
}
