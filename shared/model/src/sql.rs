//! SQL files of a migration: into statements, and what kind each is.

use crate::Bad;
use crate::whole::instead;

/// Splits the text of a migration into statements, at semicolons outside quotes and comments. Comments between
/// statements fall away; those inside stay.
///
/// What only the command-line client knows (`DELIMITER`, `source`, `\.`) and what would break "one statement, one
/// unit" (transactions of their own, `USE`, `LOCK TABLES`) is refused with its line.
pub fn split(text: &str) -> Result<Vec<String>, Bad> {
    let mut found = Vec::new();
    let mut at = 0;
    let bytes = text.as_bytes();
    let mut start = None;
    while at < bytes.len() {
        let rest = &text[at..];
        if let Some(len) = comment(rest, text, at)? {
            // a comment that is code to the server (/*! … */) belongs to a statement
            if rest.starts_with("/*!") || rest.starts_with("/*M!") {
                start.get_or_insert(at);
            }
            at += len;
        } else if let Some(quote) = ['\'', '"', '`'].into_iter().find(|q| rest.starts_with(*q)) {
            start.get_or_insert(at);
            at += quoted(rest, quote).ok_or_else(|| {
                Bad::new(
                    format!("line {}: the {quote} is never closed", line(text, at)),
                    "close the quote; nothing has been run",
                )
            })?;
        } else if rest.starts_with(';') {
            if let Some(from) = start.take() {
                push(&mut found, text, from, at)?;
            }
            at += 1;
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            if !c.is_whitespace() && start.is_none() {
                client_command(rest, text, at)?;
                start = Some(at);
            }
            at += c.len_utf8();
        }
    }
    if let Some(from) = start {
        push(&mut found, text, from, text.len())?;
    }
    Ok(found)
}

/// What a statement is to a run that may be cut off and begun again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only of this session (`SET`): repeated at every start.
    Session,
    /// Changes or reads rows: done in one transaction with the note that it is done.
    Rows,
    /// Commits by itself: whether it was done is seen from the schema, or it does no harm twice.
    Definition,
}

/// What may be defined: the schema shows it.
pub(crate) const OBJECTS: [&str; 8] =
    ["TABLE", "INDEX", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "SEQUENCE"];

/// The kind. What is in no list is none: it could be done twice, and nobody would know.
pub fn kind(statement: &str) -> Option<Kind> {
    let words = code(statement)?;
    if instead(statement).is_some() {
        return None;
    }
    let capitals: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    let said: Vec<&str> = capitals.iter().map(String::as_str).collect();
    let says = |word: &str| said.contains(&word);
    let early = |word: &str| said.iter().take(3).any(|one| *one == word);
    match *said.first()? {
        // of the whole server, or a statement of its own behind it
        "SET"
            if ["GLOBAL", "PERSIST", "PERSIST_ONLY", "PASSWORD", "STATEMENT"]
                .iter()
                .any(|word| says(word)) =>
        {
            None
        }
        "SET" => Some(Kind::Session),
        // what it leaves in a variable, a later start would miss
        "SELECT" if says("INTO") => None,
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "WITH" | "SELECT" | "DO" | "SHOW" => {
            Some(Kind::Rows)
        }
        // rows change their place, and come back the second time
        "ALTER" if says("EXCHANGE") || says("TABLESPACE") => None,
        "RENAME" if early("TABLE") => (!swaps(&words)).then_some(Kind::Definition),
        "CREATE" | "ALTER" | "DROP" => {
            let header = said.iter().position(|word| OBJECTS.contains(word))?;
            let foreign =
                |word: &&str| ["TEMPORARY", "USER", "DATABASE", "SCHEMA", "SERVER"].contains(word);
            // behind DEFINER = `user`@`host` and the like
            (header < 20 && !said[..header].iter().any(foreign)).then_some(Kind::Definition)
        }
        "OPTIMIZE" | "ANALYZE" | "CHECK" | "REPAIR" => early("TABLE").then_some(Kind::Definition),
        "TRUNCATE" | "GRANT" => Some(Kind::Definition),
        _ => None,
    }
}

/// The words of a statement. One that begins in a comment that is code to the server (`/*!50000 … */`, `/*M!100000 … */`)
/// is all of it in there: what stands behind it would be another statement where the comment is not read.
fn code(statement: &str) -> Option<Vec<String>> {
    let statement = uncommented(statement);
    let inner = match ["/*!", "/*M!"].iter().find_map(|open| statement.strip_prefix(open)) {
        None => return Some(words(statement)),
        Some(inner) => inner,
    };
    let (inside, behind) = inner.split_once("*/")?;
    if !uncommented(behind).is_empty() {
        return None;
    }
    let inside = inside.trim_start_matches(|c: char| c.is_ascii_digit());
    let words = words(inside);
    (!words.is_empty()).then_some(words)
}

/// Whether a `RENAME TABLE` gives the names it takes: the second time takes it back, and the schema need not show it.
fn swaps(words: &[String]) -> bool {
    let mut names: Vec<(String, bool)> = Vec::new();
    let mut rest = words.iter().skip(2).peekable();
    let mut target = false;
    while let Some(word) = rest.next() {
        match word.to_ascii_uppercase().as_str() {
            "TO" => target = true,
            "," => target = false,
            "IF" | "EXISTS" | "." => {}
            _ => {
                // the last part of a name counts
                if rest.peek().is_none_or(|next| *next != ".") {
                    names.push((plain(word), target));
                }
            }
        }
    }
    let of = |side: bool| -> std::collections::BTreeSet<&str> {
        names.iter().filter(|(_, target)| *target == side).map(|(name, _)| name.as_str()).collect()
    };
    of(true) == of(false)
}

/// The schema of another name that a definition changes, when it names one: its effect would not be seen.
pub fn elsewhere(statement: &str, schema: &str) -> Option<String> {
    let words = code(statement)?;
    let capitals: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    let first = capitals.first()?.as_str();
    if !["CREATE", "ALTER", "DROP", "RENAME"].contains(&first) {
        return None;
    }
    let header = capitals.iter().position(|word| OBJECTS.contains(&word.as_str()))?;
    let object = capitals[header].as_str();
    let list = first == "RENAME" || first == "DROP" && object != "INDEX";
    let names_of = |from: usize| {
        let mut at = from;
        while ["IF", "NOT", "EXISTS"].contains(&capitals.get(at).map_or("", String::as_str)) {
            at += 1;
        }
        let mut found = Vec::new();
        while at < words.len() {
            if words.get(at + 1).is_some_and(|dot| dot == ".") {
                found.push(plain(&words[at]));
                at += 2;
            }
            at += 1;
            match capitals.get(at).map(String::as_str) {
                Some("," | "TO") if list => at += 1,
                _ => break,
            }
        }
        found
    };
    let mut found = names_of(header + 1);
    if ["INDEX", "TRIGGER"].contains(&object)
        && let Some(on) = capitals.iter().skip(header).position(|word| word == "ON")
    {
        found.extend(names_of(header + on + 1));
    }
    found.into_iter().find(|named| named != schema)
}

/// The one of these tables whose rows a statement may change.
pub fn changes<'a>(statement: &str, tables: &'a [String]) -> Option<&'a str> {
    let named = target(statement)?;
    tables
        .iter()
        .find(|table| named.iter().any(|name| name.eq_ignore_ascii_case(table)))
        .map(String::as_str)
}

/// The words of a statement that changes rows by which it names whose: what it only reads may be among them.
pub(crate) fn target(statement: &str) -> Option<Vec<String>> {
    if kind(statement) != Some(Kind::Rows) {
        return None;
    }
    let words = code(statement)?;
    let capitals: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    let until = |word: &str| capitals.iter().position(|one| one == word).unwrap_or(words.len());
    let part = match capitals.first()?.as_str() {
        "UPDATE" => until("SET"),
        "DELETE" => until("WHERE"),
        "INSERT" | "REPLACE" => {
            ["(", "SELECT", "VALUES", "VALUE", "SET"].map(until).into_iter().min()?
        }
        "SELECT" | "SHOW" | "DO" => return None,
        _ => words.len(),
    };
    Some(words[..part].iter().map(|word| plain(word)).collect())
}

/// A name without its backticks.
pub(crate) fn plain(word: &str) -> String {
    match word.strip_prefix('`').and_then(|w| w.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`"),
        None => word.to_owned(),
    }
}

/// How much longer a statement takes that did `percent` of its work in `so_far`, in milliseconds. Below one percent
/// nothing can be said.
pub fn left_ms(so_far: std::time::Duration, percent: f64) -> Option<u64> {
    if !(1.0..=100.0).contains(&percent) {
        return None;
    }
    let left = so_far.as_secs_f64() * 1000.0 * (100.0 - percent) / percent;
    // a time of years is no expectation
    (left < 1e11).then_some(left as u64)
}

/// The statement without the comments and blanks before it.
fn uncommented(statement: &str) -> &str {
    let mut rest = statement.trim_start();
    while let Ok(Some(len)) = comment(rest, rest, 0) {
        if rest.starts_with("/*!") || rest.starts_with("/*M!") {
            break;
        }
        rest = rest[len.min(rest.len())..].trim_start();
    }
    rest
}

/// The first word in capitals, that of a comment that is code too.
fn first_word(statement: &str) -> String {
    let rest = uncommented(statement);
    let inner = ["/*!", "/*M!"].iter().find_map(|open| rest.strip_prefix(open));
    let rest = inner
        .map_or(rest, |inner| inner.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start());
    rest.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect::<String>()
        .to_ascii_uppercase()
}

fn push(found: &mut Vec<String>, text: &str, from: usize, to: usize) -> Result<(), Bad> {
    let statement = text[from..to].trim();
    let hint = "each statement of a migration is one unit, done once; nothing has been run";
    let word = first_word(statement);
    let refused = match word.as_str() {
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "XA" => {
            Some(("a transaction of its own", hint))
        }
        "LOCK" | "UNLOCK" => Some(("table locks", hint)),
        "USE" => Some(("USE", "name the schema with --schema; nothing has been run")),
        _ if kind(statement).is_none() => Some((
            "what may be done twice when it is cut off, or what nothing shows,",
            "write it as one plain SET, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP or RENAME; or run it by --script; \
             nothing has been run",
        )),
        _ => None,
    };
    if let Some((what, hint)) = instead(statement).or(refused) {
        return Err(Bad::new(
            format!("line {}: {what} ({word}) is refused", line(text, from)),
            hint,
        ));
    }
    found.push(statement.to_owned());
    Ok(())
}

fn client_command(rest: &str, text: &str, at: usize) -> Result<(), Bad> {
    let word: String = rest.chars().take_while(|c| !c.is_whitespace()).collect();
    let word = word.to_ascii_uppercase();
    if ["DELIMITER", "SOURCE"].contains(&word.as_str()) || word.starts_with('\\') {
        return Err(Bad::new(
            format!("line {}: {word} is a command of the client program, not SQL", line(text, at)),
            "routines and triggers with a body go through --script; nothing has been run",
        ));
    }
    Ok(())
}

/// The length of a comment that begins here.
fn comment(rest: &str, text: &str, at: usize) -> Result<Option<usize>, Bad> {
    let to_line_end = || rest.find('\n').map_or(rest.len(), |end| end + 1);
    if rest.starts_with('#') {
        return Ok(Some(to_line_end()));
    }
    if let Some(after) = rest.strip_prefix("--")
        && after.chars().next().is_none_or(|c| c.is_whitespace() || c.is_control())
    {
        return Ok(Some(to_line_end()));
    }
    if let Some(after) = rest.strip_prefix("/*") {
        return match after.find("*/") {
            Some(end) => Ok(Some(end + 4)),
            None => Err(Bad::new(
                format!("line {}: the comment is never closed", line(text, at)),
                "close it with */; nothing has been run",
            )),
        };
    }
    Ok(None)
}

/// The length of a quoted text: doubled quotes and, but for names in backticks, backslashes escape.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return Some(at + c.len_utf8()),
            }
        }
    }
    None
}

fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The table that a statement may copy: schema, when it is named, and table. `ALTER TABLE`, `CREATE INDEX`, `DROP INDEX`
/// and `OPTIMIZE TABLE` do, unless they say `ALGORITHM=INSTANT`; others do not.
pub fn copies(statement: &str) -> Option<(Option<String>, String)> {
    let words = words(statement);
    let is = |at: usize, word: &str| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let instant = words.windows(3).any(|w| {
        w[0].eq_ignore_ascii_case("ALGORITHM")
            && w[1] == "="
            && w[2].eq_ignore_ascii_case("INSTANT")
    });
    if instant {
        return None;
    }
    let verb = words.first()?.to_ascii_uppercase();
    let mut at = match verb.as_str() {
        "ALTER" | "OPTIMIZE" => {
            let table = words.iter().take(4).position(|w| w.eq_ignore_ascii_case("TABLE"))?;
            table + 1
        }
        "CREATE" | "DROP" => {
            let index = words.iter().take(4).position(|w| w.eq_ignore_ascii_case("INDEX"))?;
            index + words.iter().skip(index).position(|w| w.eq_ignore_ascii_case("ON"))? + 1
        }
        _ => return None,
    };
    if is(at, "IF") && is(at + 1, "EXISTS") {
        at += 2;
    }
    let first = plain(words.get(at)?);
    if words.get(at + 1).is_some_and(|dot| dot == ".") {
        return Some((Some(first), plain(words.get(at + 2)?)));
    }
    Some((None, first))
}

/// Words, quoted texts and names, and single signs, comments left out.
pub(crate) fn words(statement: &str) -> Vec<String> {
    let (mut found, mut word, mut at) = (Vec::new(), String::new(), 0);
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            found.push(std::mem::take(word));
        }
    };
    while let Some(c) = statement[at..].chars().next() {
        let rest = &statement[at..];
        if let Ok(Some(length)) = comment(rest, statement, at) {
            end(&mut word);
            at += length.min(rest.len());
            continue;
        }
        if matches!(c, '\'' | '"' | '`')
            && let Some(length) = quoted(rest, c)
        {
            end(&mut word);
            word.push_str(&rest[..length]);
            end(&mut word);
            at += length;
            continue;
        }
        if c.is_alphanumeric() || c == '_' || c == '$' {
            word.push(c);
        } else {
            end(&mut word);
            if !c.is_whitespace() {
                word.push(c);
                end(&mut word);
            }
        }
        at += c.len_utf8();
    }
    end(&mut word);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn semicolons_in_quotes_and_comments_end_nothing() {
        let text = "-- first; comment\nALTER TABLE `a;b` ADD c VARCHAR(9) DEFAULT 'x;''y\\';' /* in; */;\n\
                    # another;\nUPDATE t SET a=\"q;\" -- tail;\n WHERE b=1;;\n/*!40101 SET x=1 */;\nSELECT 5--1";
        let found = split(text).unwrap();
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("ALTER TABLE `a;b`") && found[0].ends_with("/* in; */"));
        assert!(found[1].starts_with("UPDATE") && found[1].ends_with("b=1"));
        assert_eq!(found[2], "/*!40101 SET x=1 */");
        assert_eq!(found[3], "SELECT 5--1");
        assert_eq!(split(" ;\n-- nothing\n").unwrap(), Vec::<String>::new());
        assert_eq!(split("/*M!100000 SET x=1 */;").unwrap(), ["/*M!100000 SET x=1 */"]);
        // two dashes begin a comment only before a blank; a backslash escapes nothing in a name
        assert_eq!(split("SELECT 5--1; SELECT 2").unwrap(), ["SELECT 5--1", "SELECT 2"]);
        assert_eq!(split("SELECT `a\\`; SELECT 2").unwrap(), ["SELECT `a\\`", "SELECT 2"]);
    }

    #[test]
    fn what_is_no_single_statement_is_refused_with_its_line() {
        for (text, line) in [
            ("ALTER TABLE a ADD b INT;\nDELIMITER //\n", 2),
            ("delimiter ;;", 1),
            ("source x.sql", 1),
            ("\\. x.sql", 1),
            ("SELECT 1;\n\nBEGIN;", 3),
            ("/* c */ start transaction", 1),
            ("USE other;", 1),
            ("LOCK TABLES a WRITE;", 1),
            ("UNLOCK TABLES;", 1),
            ("SELECT 1;\nCOMMIT", 2),
            ("ROLLBACK;", 1),
            ("SAVEPOINT s;", 1),
            ("XA START 'x';", 1),
            ("SELECT 'a", 1),
            ("\n/* never", 2),
        ] {
            let bad = split(text).unwrap_err();
            assert!(bad.what.starts_with(&format!("line {line}: ")), "{bad}");
        }
    }

    #[test]
    fn the_rest_of_a_statement_is_expected_by_what_it_did() {
        let ten = std::time::Duration::from_secs(10);
        assert_eq!(left_ms(ten, 25.0), Some(30_000));
        assert_eq!(left_ms(ten, 100.0), Some(0));
        for nonsense in [0.0, 0.5, -3.0, 101.0, f64::NAN] {
            assert_eq!(left_ms(ten, nonsense), None);
        }
        let month = std::time::Duration::from_secs(30 * 86_400);
        assert_eq!(left_ms(month, 1.0), None, "years are no expectation");
    }

    #[test]
    fn a_statement_names_the_table_that_it_may_copy() {
        let some =
            |schema: Option<&str>, table: &str| Some((schema.map(str::to_owned), table.to_owned()));
        for (statement, found) in [
            ("ALTER TABLE t ADD c INT", some(None, "t")),
            (
                "/* a */ alter online table if exists `a``b` . `t 1` ADD c INT",
                some(Some("a`b"), "t 1"),
            ),
            (
                "ALTER IGNORE TABLE shop.items DROP x -- ALGORITHM=INSTANT",
                some(Some("shop"), "items"),
            ),
            ("ALTER TABLE t ADD c INT, ALGORITHM = instant", None),
            ("ALTER TABLE t COMMENT 'ALGORITHM=INSTANT'", some(None, "t")),
            ("CREATE UNIQUE INDEX i ON t (a)", some(None, "t")),
            ("DROP INDEX i ON s.t", some(Some("s"), "t")),
            ("OPTIMIZE TABLE t", some(None, "t")),
            ("CREATE TABLE t (a INT, INDEX (a))", None),
            ("UPDATE t SET a = 1", None),
            ("ALTER VIEW v AS SELECT 1", None),
            ("", None),
        ] {
            assert_eq!(copies(statement), found, "{statement}");
        }
    }

    #[test]
    fn a_kind_has_a_closed_list_of_statements() {
        use Kind::{Definition, Rows, Session};
        for (statement, known) in [
            ("SET foreign_key_checks=0", Some(Session)),
            ("SET @a = 1", Some(Session)),
            ("SET GLOBAL read_only = 0", None),
            ("SET @@global.read_only = 0", None),
            ("SET PERSIST x = 1", None),
            ("SET STATEMENT max_statement_time=1 FOR UPDATE t SET a=a+1", None),
            ("/* a */ -- b\n update t set a=1", Some(Rows)),
            ("insert into t values (1)", Some(Rows)),
            ("DELETE FROM t", Some(Rows)),
            ("REPLACE t SET a=1", Some(Rows)),
            ("WITH a AS (SELECT 1) UPDATE t SET b=1", Some(Rows)),
            // a function may change rows: with the note or not at all
            ("SELECT refill()", Some(Rows)),
            ("DO refill()", Some(Rows)),
            ("SHOW TABLES", Some(Rows)),
            ("SELECT MAX(id) INTO @m FROM t", None),
            ("ALTER TABLE t ADD c INT", Some(Definition)),
            ("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u", None),
            ("ALTER TABLE t IMPORT TABLESPACE", None),
            ("CREATE TABLE t (a INT)", Some(Definition)),
            ("CREATE TABLE t SELECT * FROM u", None),
            ("CREATE TEMPORARY TABLE t (a INT)", None),
            (
                "CREATE OR REPLACE ALGORITHM=MERGE DEFINER=`a`@`%` SQL SECURITY INVOKER VIEW v AS SELECT 1",
                Some(Definition),
            ),
            ("CREATE UNIQUE INDEX i ON t (a)", Some(Definition)),
            (
                "CREATE DEFINER = CURRENT_USER TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1",
                Some(Definition),
            ),
            ("CREATE USER a", None),
            ("CREATE DATABASE a", None),
            ("ALTER USER a ACCOUNT LOCK", None),
            ("DROP TABLE IF EXISTS t", Some(Definition)),
            ("DROP DATABASE d", None),
            ("RENAME TABLE t TO old, new TO t", Some(Definition)),
            ("RENAME TABLE a TO x, b TO a, x TO b", None),
            ("RENAME TABLE a TO s.x, s.b TO `a`, s.x TO b", None),
            ("RENAME USER a TO b", None),
            ("TRUNCATE t", Some(Definition)),
            ("OPTIMIZE LOCAL TABLE t", Some(Definition)),
            ("ANALYZE TABLE t", Some(Definition)),
            ("ANALYZE UPDATE t SET a=a+1", None),
            ("ANALYZE FORMAT=JSON UPDATE t SET a=a+1", None),
            ("GRANT SELECT ON shop.* TO a", Some(Definition)),
            ("REVOKE SELECT ON shop.* FROM a", None),
            ("CALL backfill()", None),
            ("EXECUTE p", None),
            ("EXECUTE IMMEDIATE 'UPDATE t SET a=a+1'", None),
            ("PREPARE p FROM 'UPDATE t SET a=a+1'", None),
            ("LOAD DATA INFILE 'x' INTO TABLE t", None),
            ("HANDLER t OPEN", None),
            ("IMPORT TABLE FROM 'x'", None),
            ("(SELECT 1)", None),
            ("EXPLAIN ANALYZE UPDATE t SET a=1", None),
            ("KILL 7", None),
            ("", None),
            // code to the server in a comment: by the word in there, and nothing behind it
            ("/*!40101 SET x=1 */", Some(Session)),
            ("/*!50000 UPDATE t SET a=a+1 */", Some(Rows)),
            ("/*! UPDATE t SET a=a+1*/ -- all of it", Some(Rows)),
            ("/*M!100000 ALTER TABLE t ADD c INT */", Some(Definition)),
            ("/*!50000 CALL backfill() */", None),
            ("/*!99999 ALTER TABLE t ADD c INT */ UPDATE t SET a=a+1", None),
            ("/*!50000 */ UPDATE t SET a=a+1", None),
            ("/*!50000 */", None),
        ] {
            assert_eq!(kind(statement), known, "{statement}");
            if known.is_none() && !statement.is_empty() {
                let bad = split(&format!("SET x=1;\n{statement};")).unwrap_err();
                assert!(bad.what.starts_with("line 2: ") && bad.hint.contains("--script"), "{bad}");
            }
        }
    }

    #[test]
    fn a_definition_of_another_schema_is_told() {
        for (statement, named) in [
            ("ALTER TABLE other.t ADD c INT", Some("other")),
            ("ALTER TABLE IF EXISTS `o``r`.t ADD c INT", Some("o`r")),
            ("ALTER TABLE shop.t ADD FOREIGN KEY (a) REFERENCES other.u (a)", None),
            ("CREATE VIEW v AS SELECT other.t.a FROM other.t", None),
            ("CREATE VIEW other.v AS SELECT 1", Some("other")),
            ("DROP TABLE a, shop.b, other.c", Some("other")),
            ("RENAME TABLE a TO b, c TO other.d", Some("other")),
            ("CREATE INDEX i ON other.t (a)", Some("other")),
            ("CREATE TRIGGER x BEFORE INSERT ON other.t FOR EACH ROW SET @a = 1", Some("other")),
            ("CREATE TABLE IF NOT EXISTS other.t (a INT)", Some("other")),
            ("/*!50000 ALTER TABLE other.t ADD c INT */", Some("other")),
            ("CREATE TABLE t (a INT)", None),
            ("UPDATE other.t SET a=1", None),
        ] {
            assert_eq!(elsewhere(statement, "shop").as_deref(), named, "{statement}");
        }
    }

    #[test]
    fn a_table_that_a_statement_changes_is_told_from_one_that_it_reads() {
        let tables = ["log".to_owned(), "odd`one".to_owned()];
        for (statement, named) in [
            ("INSERT INTO log VALUES (1)", Some("log")),
            ("insert ignore `LOG` (a) values (1)", Some("log")),
            ("INSERT INTO t SELECT * FROM log", None),
            ("UPDATE t JOIN log USING (a) SET t.b = 1", Some("log")),
            ("UPDATE t SET a = (SELECT MAX(a) FROM log)", None),
            ("DELETE FROM shop.`odd``one` WHERE a = 1", Some("odd`one")),
            ("DELETE FROM t WHERE a IN (SELECT a FROM log)", None),
            ("WITH x AS (SELECT 1) UPDATE log SET a = 1", Some("log")),
            ("/*!50000 REPLACE log SET a = 1 */", Some("log")),
            ("SELECT * FROM log", None),
            ("ALTER TABLE log ADD b INT", None),
            ("UPDATE t SET a = 'log'", None),
        ] {
            assert_eq!(changes(statement, &tables), named, "{statement}");
        }
    }

    proptest! {
        #[test]
        fn splitting_never_panics(text in r#"[a-z '"`;\\#/*\n-]{0,80}"#) {
            let _ = split(&text);
            let _ = (kind(&text), elsewhere(&text, "s"), changes(&text, &["t".to_owned()]));
            let _ = copies(&text);
            let _ = copies(&format!("ALTER TABLE {text}"));
        }

        #[test]
        fn what_was_joined_comes_apart_again(
            values in proptest::collection::vec("[ -~]{0,20}", 1..6)
        ) {
            let quoted: Vec<String> = values
                .iter()
                .map(|v| format!("SELECT '{}'", v.replace('\\', "\\\\").replace('\'', "''")))
                .collect();
            prop_assert_eq!(split(&quoted.join(";\n")).unwrap(), quoted);
        }
    }
}
