//! Which table has which storage engine while a migration goes on: rows of one that knows no transactions would be changed
//! twice when the migration is cut off, whether the table was there before or the migration makes it.

use std::collections::BTreeMap;

use crate::sql::{Kind, OBJECTS, changes, kind, plain, target, words};

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
    /// Stored functions of every schema, each with whether it may change rows ([`writing`]).
    pub functions: BTreeMap<String, bool>,
    /// Of other schemas, by schema and name: tables whose engine knows no transactions.
    pub others: BTreeMap<(String, String), Reached>,
    /// Of other schemas: what changes rows of other tables than it names.
    pub other_detours: BTreeMap<(String, String), String>,
}

/// Whether a view, a trigger or a routine may lead to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// One names it, or cannot be read.
    Perhaps,
    /// None names it.
    No,
}

impl Reached {
    /// Asks what views, triggers and routines say; absent: it is not to be read.
    pub fn by(texts: &[Option<String>], table: &str) -> Reached {
        let names =
            |text: &String| words(text).iter().any(|w| plain(w).eq_ignore_ascii_case(table));
        let by = texts.iter().any(|text| text.as_ref().is_none_or(names));
        if by { Reached::Perhaps } else { Reached::No }
    }
}

/// Of stored functions, by name with what each says (absent: it is not to be read), those that may change rows: by a
/// statement of their own, or by another one that may.
pub fn writing(functions: &BTreeMap<String, Option<String>>) -> BTreeMap<String, bool> {
    let mut found: BTreeMap<String, bool> =
        functions.iter().map(|(n, text)| (n.to_lowercase(), writes(text.as_deref()))).collect();
    loop {
        let by = |text: &Option<String>| {
            text.as_ref().is_some_and(|text| called(&words(text), &found).is_some())
        };
        let more: Vec<String> = functions
            .iter()
            .filter(|(name, text)| found.get(&name.to_lowercase()) == Some(&false) && by(text))
            .map(|(name, _)| name.to_lowercase())
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more.into_iter().map(|name| (name, true)));
    }
}

/// Whether the text of a routine may change rows. `INSERT(` and `REPLACE(` are functions of texts.
fn writes(text: Option<&str>) -> bool {
    let Some(text) = text else { return true };
    let words = words(&opened(text));
    words.iter().enumerate().any(|(at, word)| match word.to_ascii_uppercase().as_str() {
        "UPDATE" | "DELETE" | "CALL" => true,
        "INSERT" | "REPLACE" => words.get(at + 1).is_none_or(|next| next != "("),
        _ => false,
    })
}

/// The function that may change rows and is called in these words.
fn called(words: &[String], functions: &BTreeMap<String, bool>) -> Option<String> {
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs
        .filter(|(_, next)| *next == "(")
        .map(|(word, _)| plain(word).to_lowercase())
        .find(|name| functions.get(name) == Some(&true))
}

/// Where a statement changes rows of a table without transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The statement, counted from 1.
    pub statement: usize,
    /// The table's schema, when it is another one.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// By which rows of that table may be reached: the view that it names, the table with triggers, or the function that it
    /// calls, and what it is.
    pub by: Option<(String, String)>,
}

/// What a stored function is.
const FUNCTION: &str = "is a stored function";

impl Repeat {
    /// What the statement does, in words that end before the table's name. `schema`: the migration's own.
    pub fn how(&self, schema: &str) -> String {
        match &self.by {
            None => "changes rows".to_owned(),
            Some((name, what)) if what == FUNCTION => {
                format!("calls {name}, which {what}, and changes by that perhaps rows")
            }
            Some((name, what)) => {
                let name =
                    if name.contains('.') { name.clone() } else { format!("{schema}.{name}") };
                format!("changes rows of {name}, which {what}, and by that perhaps rows")
            }
        }
    }
}

/// The first statement that changes rows of a table without transactions, or may do so by a view, a trigger or a stored
/// function: where they lead is not followed, and any such table of the schema counts, and of the others each that one of
/// them names. The first `done` are done, and what they made is in `storage`; what they set for the session is set again.
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
        let session = kind(statement) == Some(Kind::Session);
        if at < done && !session {
            continue;
        }
        let repeat = |schema: Option<&String>, table: &str, by| {
            Some(Repeat { statement: at + 1, schema: schema.cloned(), table: table.to_owned(), by })
        };
        let bare: Vec<String> =
            now.tables.iter().filter(|(_, is)| !**is).map(|(name, _)| name.clone()).collect();
        if let Some(table) = changes(statement, &bare) {
            return repeat(None, table, None);
        }
        let named = target(statement).unwrap_or_default();
        if let Some((schema, table)) = now.others.keys().find(|one| qualified(&named, one)) {
            return repeat(Some(schema), table, None);
        }
        let reached = now.others.iter().find(|(_, reached)| **reached == Reached::Perhaps);
        let reached = match (bare.first(), reached) {
            (Some(table), _) => Some((None, table)),
            (None, Some(((schema, table), _))) => Some((Some(schema), table)),
            (None, None) => None,
        };
        if let (Some((schema, table)), Some(by)) = (reached, now.detour(statement, &words, &named))
        {
            return repeat(schema, table, Some(by));
        }
        if at < done {
            continue;
        }
        let _ = now.lead(&words, &said);
        let _ = now.define(&words, &said);
    }
    None
}

/// Whether the words name that table of another schema.
fn qualified(named: &[String], (schema, table): &(String, String)) -> bool {
    named.windows(3).any(|part| {
        part[1] == "."
            && part[0].eq_ignore_ascii_case(schema)
            && part[2].eq_ignore_ascii_case(table)
    })
}

impl Storage {
    /// By what a statement may change rows of other tables than it names, and what that is.
    fn detour(
        &self,
        statement: &str,
        words: &[String],
        named: &[String],
    ) -> Option<(String, String)> {
        let own: Vec<String> = self.detours.keys().cloned().collect();
        if let Some(by) = changes(statement, &own) {
            return Some((by.to_owned(), self.detours.get(by).cloned().unwrap_or_default()));
        }
        let other = self.other_detours.iter().find(|(one, _)| qualified(named, one));
        if let Some(((schema, name), what)) = other {
            return Some((format!("{schema}.{name}"), what.clone()));
        }
        // a definition calls none: one that fills what it makes is refused
        let calls = kind(statement) != Some(Kind::Definition);
        let name = calls.then(|| called(words, &self.functions)).flatten()?;
        Some((name, FUNCTION.to_owned()))
    }

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
        if ["FUNCTION", "VIEW", "TRIGGER"].contains(&said[header].as_str()) {
            for ((_, table), reached) in &mut self.others {
                if words.iter().any(|word| plain(word).eq_ignore_ascii_case(table)) {
                    *reached = Reached::Perhaps;
                }
            }
        }
        let (at, what) = match said[header].as_str() {
            "FUNCTION" => {
                let (name, _) = named(words, said, header + 1)?;
                // its own name is no call
                let behind = &words[(header + 2).min(words.len())..];
                let may =
                    writes(Some(&words.join(" "))) || called(behind, &self.functions).is_some();
                self.functions.insert(name, may);
                return None;
            }
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
pub(crate) fn named(words: &[String], said: &[String], from: usize) -> Option<(String, usize)> {
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
            ..Storage::default()
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
            let wanted =
                Repeat { statement: statements.len(), schema: None, table: "log".into(), by };
            assert_eq!(repeats(&statements, 0, &there), Some(wanted), "{text}");
            assert_eq!(repeats(&statements, 0, &whole), None, "{text}");
        }
        for text in ["INSERT INTO t SELECT * FROM v", "SELECT * FROM v", "ALTER TABLE g ADD b INT"]
        {
            assert_eq!(repeats(&split(text).unwrap(), 0, &there), None, "{text}");
        }
    }

    #[test]
    fn a_stored_function_that_may_change_rows_counts_wherever_it_is_called() {
        let text = |text: &str| Some(text.to_owned());
        let functions = [
            ("note".to_owned(), text("BEGIN INSERT INTO log VALUES (1); RETURN 1; END")),
            ("By".to_owned(), text("RETURN shop.`note`()")),
            ("hidden".to_owned(), None),
            ("pure".to_owned(), text("RETURN REPLACE(INSERT(a, 1, 2, 'x'), ' ', '-')")),
            ("far".to_owned(), text("RETURN pure(a)")),
        ];
        let functions = writing(&functions.into());
        assert_eq!(functions.values().collect::<Vec<_>>(), [&true, &false, &true, &true, &false]);
        let there = Storage { functions, ..storage() };
        for (text, name) in [
            ("UPDATE t SET a=note()", "note"),
            ("SELECT shop.`by` (1)", "by"),
            ("DO hidden(1)", "hidden"),
            ("SET @a = NOTE()", "note"),
            ("CREATE FUNCTION f() RETURNS INT RETURN note(); INSERT INTO t VALUES (f())", "f"),
        ] {
            let statements = split(text).unwrap();
            let by = Some((name.to_owned(), FUNCTION.to_owned()));
            let wanted =
                Repeat { statement: statements.len(), schema: None, table: "log".into(), by };
            assert_eq!(repeats(&statements, 0, &there), Some(wanted), "{text}");
            let whole = Storage { tables: [("t".to_owned(), true)].into(), ..there.clone() };
            assert_eq!(repeats(&statements, 0, &whole), None, "{text}");
        }
        // done is done, but for what is set again at every start
        let done = |text: &str| repeats(&split(text).unwrap(), 1, &there).is_some();
        assert!(done("SET @a = note()") && !done("UPDATE t SET a=note()"));
        for text in [
            "UPDATE t SET a=far(pure(b))",
            "CREATE FUNCTION f() RETURNS INT RETURN note()",
            "CREATE VIEW w AS SELECT note() AS a",
            "UPDATE t SET note=1",
        ] {
            assert_eq!(repeats(&split(text).unwrap(), 0, &there), None, "{text}");
        }
    }

    #[test]
    fn a_table_of_another_schema_counts_where_it_is_named_or_something_leads_to_it() {
        let key = |schema: &str, name: &str| (schema.to_owned(), name.to_owned());
        let texts = [Some("INSERT INTO `Other`.`Marks` VALUES (1)".to_owned())];
        let reached = Reached::by(&texts, "marks");
        assert_eq!(reached, Reached::Perhaps);
        assert_eq!(Reached::by(&texts, "rest"), Reached::No);
        assert_eq!(Reached::by(&[None], "rest"), Reached::Perhaps, "nobody knows");
        let there = Storage {
            tables: [("t".to_owned(), true), ("g".to_owned(), true)].into(),
            detours: [("g".to_owned(), "has triggers".to_owned())].into(),
            others: [(key("other", "marks"), reached)].into(),
            other_detours: [(key("other", "v"), "is a view".to_owned())].into(),
            ..storage()
        };
        for (text, by) in [
            ("UPDATE other.marks SET a=1", None),
            ("INSERT INTO `OTHER` . `Marks` VALUES (1)", None),
            ("DELETE FROM g", Some(("g", "has triggers"))),
            ("UPDATE t JOIN other.v USING (a) SET v.a=1", Some(("other.v", "is a view"))),
        ] {
            let by = by.map(|(name, what)| (name.to_owned(), what.to_owned()));
            let schema = Some("other".to_owned());
            let wanted = Repeat { statement: 1, schema, table: "marks".into(), by };
            assert_eq!(repeats(&split(text).unwrap(), 0, &there), Some(wanted), "{text}");
        }
        let nobody =
            Storage { others: [(key("other", "rest"), Reached::No)].into(), ..there.clone() };
        for text in ["UPDATE t SET a=1", "UPDATE v SET a=1", "UPDATE marks SET a=1"] {
            assert_eq!(repeats(&split(text).unwrap(), 0, &there), None, "{text}");
        }
        assert_eq!(repeats(&split("DELETE FROM g").unwrap(), 0, &nobody), None);
        let made = "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW DELETE FROM other.rest; INSERT t VALUES (1)";
        let made = repeats(&split(made).unwrap(), 0, &nobody).unwrap();
        assert_eq!((made.statement, made.table.as_str()), (2, "rest"), "the migration leads there");
        let how = |by: Option<(&str, &str)>| {
            let by = by.map(|(name, what)| (name.to_owned(), what.to_owned()));
            Repeat { statement: 1, schema: None, table: "t".into(), by }.how("shop")
        };
        assert_eq!(how(None), "changes rows");
        assert!(how(Some(("g", "has triggers"))).contains("shop.g, which has triggers, and"));
        assert!(how(Some(("other.v", "is a view"))).contains("of other.v, which is a view"));
        assert!(how(Some(("note", FUNCTION))).contains("calls note, which is a stored function"));
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
