//! Which table has which storage engine while a migration goes on: rows of one that knows no transactions would be changed
//! twice when the migration is cut off, whether the table was there before or the migration makes it.

use std::collections::BTreeMap;

use crate::sql::{OBJECTS, changes, plain, words};

/// What a server has before a migration, or before what is left of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Tables, each with whether its engine knows transactions.
    pub tables: BTreeMap<String, bool>,
    /// Engines, the same.
    pub engines: BTreeMap<String, bool>,
    /// The engine of a table that names none.
    pub default: String,
    /// What changes rows of other tables than it names: views, and tables with triggers, each with what it is.
    pub detours: BTreeMap<String, String>,
}

/// Where a statement changes rows of a table without transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The statement, counted from 1.
    pub statement: usize,
    /// The table.
    pub table: String,
    /// The view that it names, or the table with triggers, by which rows of that table may be reached, and what it is.
    pub by: Option<(String, String)>,
}

/// The first statement that changes rows of a table without transactions, or may do so by a view or a trigger: where they
/// lead is not followed, and any such table of the schema counts. The first `done` are done, and what they made is in
/// `storage`; what they set for the session is set again.
pub fn repeats(statements: &[String], done: usize, storage: &Storage) -> Option<Repeat> {
    let mut now = Storage {
        tables: storage.tables.iter().map(|(name, is)| (name.to_lowercase(), *is)).collect(),
        detours: storage.detours.iter().map(|(n, what)| (n.to_lowercase(), what.clone())).collect(),
        ..storage.clone()
    };
    for (at, statement) in statements.iter().enumerate() {
        let words = words(&opened(statement));
        let said: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        if said.first().is_some_and(|verb| verb == "SET") {
            now.set(&said, storage);
        }
        if at < done {
            continue;
        }
        let bare: Vec<String> =
            now.tables.iter().filter(|(_, is)| !**is).map(|(name, _)| name.clone()).collect();
        if let Some(table) = changes(statement, &bare) {
            return Some(Repeat { statement: at + 1, table: table.to_owned(), by: None });
        }
        let detours: Vec<String> = now.detours.keys().cloned().collect();
        if let (Some(table), Some(by)) = (bare.first(), changes(statement, &detours)) {
            let what = now.detours.get(by).cloned().unwrap_or_default();
            let by = Some((by.to_owned(), what));
            return Some(Repeat { statement: at + 1, table: table.clone(), by });
        }
        let _ = now.lead(&words, &said);
        let _ = now.define(&words, &said);
    }
    None
}

impl Storage {
    /// Whether an engine knows transactions; one that is not known does not.
    fn knows(&self, engine: &str) -> bool {
        let of = |(name, _): &(&String, &bool)| name.eq_ignore_ascii_case(engine);
        self.engines.iter().find(of).is_some_and(|(_, is)| *is)
    }

    fn set(&mut self, said: &[String], before: &Storage) {
        for (at, word) in said.iter().enumerate() {
            if word == "DEFAULT_STORAGE_ENGINE" || word == "STORAGE_ENGINE" {
                let value = said[at + 1..].iter().find(|sign| *sign != "=" && *sign != ":");
                let value = value.map(|value| bare(value)).unwrap_or_default();
                self.default = if value == "DEFAULT" { before.default.clone() } else { value };
            }
        }
    }

    /// What a definition adds to what leads to other tables. What it drops stays: in doubt nothing is run.
    fn lead(&mut self, words: &[String], said: &[String]) -> Option<()> {
        if !["CREATE", "ALTER"].contains(&said.first()?.as_str()) {
            return None;
        }
        let header = said.iter().position(|word| OBJECTS.contains(&word.as_str()))?;
        let (at, what) = match said[header].as_str() {
            "VIEW" => (header + 1, "is a view"),
            "TRIGGER" => {
                let on = said[header..].iter().position(|word| word == "ON")?;
                (header + on + 1, "has triggers")
            }
            _ => return None,
        };
        let (name, _) = named(words, said, at)?;
        self.detours.insert(name, what.to_owned());
        Some(())
    }

    /// What a definition makes of the tables; none when it is not about a table.
    fn define(&mut self, words: &[String], said: &[String]) -> Option<()> {
        let verb = said.first()?.as_str();
        let header = said.iter().take(4).position(|word| word == "TABLE")?;
        let absent = said.get(header + 1).is_some_and(|word| word == "IF");
        let (name, next) = named(words, said, header + 1)?;
        match verb {
            "CREATE" if absent && self.tables.contains_key(&name) => {}
            "CREATE" => {
                let like = said[next..].iter().position(|word| word == "LIKE").map(|at| next + at);
                // a column's default or a check may say LIKE too: the other table's name stands before all of that
                let like = like.filter(|at| *at <= next + 1);
                let source = like.and_then(|at| named(words, said, at + 1));
                let is = match source {
                    Some((source, _)) => self.tables.get(&source).copied().unwrap_or(false),
                    None => {
                        let engine = self.engine(said, next);
                        self.knows(engine.as_ref().unwrap_or(&self.default))
                    }
                };
                self.tables.insert(name, is);
            }
            "ALTER" => {
                if let Some(engine) = self.engine(said, next) {
                    let is = self.knows(&engine);
                    self.tables.insert(name.clone(), is);
                }
                let renamed = said[next..].iter().position(|word| word == "RENAME");
                let mut to = renamed.map_or(said.len(), |at| next + at + 1);
                if said.get(to).is_some_and(|word| ["COLUMN", "INDEX", "KEY"].contains(&&**word)) {
                    return None;
                }
                while said.get(to).is_some_and(|word| ["TO", "AS", "="].contains(&&**word)) {
                    to += 1;
                }
                if let Some((other, _)) = named(words, said, to) {
                    self.renamed(&name, other);
                }
            }
            "RENAME" => {
                let (mut from, mut at) = (name, next);
                while said.get(at).is_some_and(|word| word == "TO") {
                    let (to, behind) = named(words, said, at + 1)?;
                    self.renamed(&from, to);
                    (from, at) = named(words, said, behind + 1)?;
                }
            }
            _ => {}
        }
        None
    }

    fn renamed(&mut self, from: &str, to: String) {
        if let Some(what) = self.detours.remove(from) {
            self.detours.insert(to.clone(), what);
        }
        if let Some(is) = self.tables.remove(from) {
            self.tables.insert(to, is);
        }
    }

    /// The engine that a table's options name, behind its columns: `ENGINE = X`, or `ENGINE X` where X is one.
    fn engine(&self, said: &[String], from: usize) -> Option<String> {
        let (mut depth, mut found) = (0, None);
        for (at, word) in said.iter().enumerate().skip(from) {
            match word.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                "ENGINE" if depth == 0 => {
                    let sign = said.get(at + 1).is_some_and(|word| word == "=");
                    let value = said.get(at + 1 + usize::from(sign)).map(|value| bare(value));
                    let is_one = |value: &String| {
                        sign || self.engines.keys().any(|name| name.eq_ignore_ascii_case(value))
                    };
                    found = value.filter(is_one).or(found);
                }
                _ => {}
            }
        }
        found
    }
}

/// A table's name that stands there, in small letters and without its schema, and where what is behind it begins.
fn named(words: &[String], said: &[String], from: usize) -> Option<(String, usize)> {
    let mut at = from;
    while said.get(at).is_some_and(|word| ["IF", "NOT", "EXISTS"].contains(&&**word)) {
        at += 1;
    }
    if words.get(at + 1).is_some_and(|dot| dot == ".") {
        at += 2;
    }
    Some((plain(words.get(at)?).to_lowercase(), at + 1))
}

/// A word without its quotes.
fn bare(word: &str) -> String {
    word.trim_matches(['\'', '"', '`']).to_owned()
}

/// With the comments that are code to the server opened.
pub(crate) fn opened(statement: &str) -> String {
    let mut text = String::new();
    let mut rest = statement;
    while let Some((before, code)) = rest.split_once("/*!").or_else(|| rest.split_once("/*M!")) {
        let (inside, behind) = code.split_once("*/").unwrap_or((code, ""));
        let inside = inside.trim_start_matches(|c: char| c.is_ascii_digit());
        text.push_str(&format!("{before} {inside} "));
        rest = behind;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split;
    use proptest::prelude::*;

    fn storage() -> Storage {
        let of = |all: &[(&str, bool)]| all.iter().map(|(n, is)| ((*n).to_owned(), *is)).collect();
        Storage {
            tables: of(&[("t", true), ("log", false)]),
            engines: of(&[("InnoDB", true), ("MyISAM", false), ("Aria", false)]),
            default: "InnoDB".into(),
            detours: BTreeMap::new(),
        }
    }

    fn found(text: &str, done: usize) -> Option<(usize, String)> {
        let found = repeats(&split(text).unwrap(), done, &storage())?;
        assert_eq!(found.by, None, "{text}");
        Some((found.statement, found.table))
    }

    #[test]
    fn a_way_round_by_a_view_or_a_trigger_counts_where_a_table_has_no_transactions() {
        let of = |name: &str, what: &str| (name.to_owned(), what.to_owned());
        let there = Storage {
            detours: [of("V", "is a view"), of("g", "has triggers")].into(),
            ..storage()
        };
        let whole = Storage {
            tables: [("t".to_owned(), true), ("g".to_owned(), true)].into(),
            ..there.clone()
        };
        let (view, trigger) = ("is a view", "has triggers");
        for (text, name, what) in [
            ("INSERT INTO v VALUES (1)", "v", view),
            ("UPDATE t JOIN shop.`V` USING (a) SET t.a=1", "v", view),
            ("DELETE FROM g", "g", trigger),
            ("WITH x AS (SELECT 1) UPDATE v SET a=1", "v", view),
            ("CREATE SQL SECURITY INVOKER VIEW w AS SELECT 1; REPLACE w VALUES (1)", "w", view),
            (
                "CREATE DEFINER=a@b TRIGGER x BEFORE INSERT ON shop.t FOR EACH ROW SET @a=1; INSERT t VALUES (1)",
                "t",
                trigger,
            ),
            ("ALTER TABLE g RENAME TO h; UPDATE h SET a=1", "h", trigger),
        ] {
            let statements = split(text).unwrap();
            let by = Some(of(name, what));
            let wanted = Repeat { statement: statements.len(), table: "log".into(), by };
            assert_eq!(repeats(&statements, 0, &there), Some(wanted), "{text}");
            assert_eq!(repeats(&statements, 0, &whole), None, "{text}");
        }
        for text in ["INSERT INTO t SELECT * FROM v", "SELECT * FROM v", "ALTER TABLE g ADD b INT"]
        {
            assert_eq!(repeats(&split(text).unwrap(), 0, &there), None, "{text}");
        }
    }

    #[test]
    fn a_table_without_transactions_is_seen_wherever_it_comes_from() {
        for (text, table) in [
            ("UPDATE log SET a=1", "log"),
            ("CREATE TABLE n (a INT) ENGINE=MyISAM; INSERT INTO n VALUES (1)", "n"),
            ("CREATE TABLE n (a INT) engine 'aria'; UPDATE `N` SET a=1", "n"),
            ("CREATE TABLE shop.n (a INT) /*!50000 ENGINE = MyISAM */; DELETE FROM n", "n"),
            ("CREATE TABLE n (a INT) ENGINE=NoSuch; DELETE FROM n", "n"),
            ("SET default_storage_engine=MyISAM; CREATE TABLE n (a INT); DELETE FROM n", "n"),
            (
                "SET @@session.default_storage_engine := @x; CREATE TABLE n (a INT); DELETE FROM n",
                "n",
            ),
            ("CREATE TABLE n LIKE log; INSERT INTO n VALUES (1)", "n"),
            ("CREATE TABLE n (LIKE log); INSERT INTO n VALUES (1)", "n"),
            ("CREATE TABLE n LIKE nobody; INSERT INTO n VALUES (1)", "n"),
            ("DROP TABLE t; CREATE TABLE t (a INT) ENGINE=Aria; REPLACE t VALUES (1)", "t"),
            ("ALTER TABLE t ENGINE=MyISAM; UPDATE t SET a=1", "t"),
            ("ALTER TABLE t ADD b INT, ENGINE MyISAM; UPDATE t SET a=1", "t"),
            ("RENAME TABLE t TO u, log TO t; UPDATE t SET a=1", "t"),
            ("ALTER TABLE log RENAME TO n; UPDATE n SET a=1", "n"),
            ("ALTER TABLE log RENAME n; UPDATE n SET a=1", "n"),
        ] {
            let last = split(text).unwrap().len();
            assert_eq!(found(text, 0), Some((last, table.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_table_with_transactions_is_none() {
        for text in [
            "UPDATE t SET a=1",
            "INSERT INTO t SELECT * FROM log",
            "CREATE TABLE n (a INT); INSERT INTO n VALUES (1)",
            "CREATE TABLE n (engine INT DEFAULT 1, `MyISAM` INT) COMMENT='ENGINE=MyISAM'; UPDATE n SET engine=1",
            "CREATE TABLE IF NOT EXISTS t (a INT) ENGINE=MyISAM; UPDATE t SET a=1",
            "CREATE TABLE n (a INT, CHECK (a LIKE 'log')); UPDATE n SET a=1",
            "ALTER TABLE log ENGINE=InnoDB; UPDATE log SET a=1",
            "ALTER TABLE t ADD COLUMN engine INT; UPDATE t SET engine=1",
            "ALTER TABLE t RENAME COLUMN a TO log; UPDATE t SET a=1",
            "SET default_storage_engine=Aria; SET default_storage_engine=DEFAULT; CREATE TABLE n (a INT); DELETE FROM n",
            "CREATE TABLE n (a INT) ENGINE=MyISAM",
            "RENAME TABLE log TO n; UPDATE log SET a=1",
            "CREATE INDEX i ON log (a)",
        ] {
            assert_eq!(found(text, 0), None, "{text}");
        }
    }

    #[test]
    fn what_is_done_is_not_asked_again_and_what_it_set_is() {
        let text =
            "UPDATE log SET a=1; SET storage_engine=MyISAM; CREATE TABLE n (a INT); DELETE FROM n";
        assert_eq!(found(text, 0), Some((1, "log".into())));
        assert_eq!(found(text, 2), Some((4, "n".into())));
        assert_eq!(found(text, 4), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in r#"[a-z '"`;()=.,/*!-]{0,60}"#) {
            for verb in ["CREATE TABLE", "ALTER TABLE", "RENAME TABLE", "SET storage_engine"] {
                let _ = repeats(&[format!("{verb} {text}")], 0, &storage());
            }
        }
    }
}
