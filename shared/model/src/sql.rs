//! SQL files of a migration: into statements, and what kind each is.

use crate::Bad;

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
    /// Changes rows: done in one transaction with the note that it is done.
    Rows,
    /// Everything else commits by itself: whether it was done is seen from the schema.
    Definition,
}

/// The kind, by the first word.
pub fn kind(statement: &str) -> Kind {
    match first_word(statement).as_str() {
        "SET" => Kind::Session,
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "WITH" => Kind::Rows,
        _ => Kind::Definition,
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

/// The first word in capitals, comments skipped.
fn first_word(statement: &str) -> String {
    let mut rest = statement.trim_start();
    while let Ok(Some(len)) = comment(rest, rest, 0) {
        if rest.starts_with("/*!") || rest.starts_with("/*M!") {
            break;
        }
        rest = rest[len..].trim_start();
    }
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
        _ => None,
    };
    if let Some((what, hint)) = refused {
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
    let plain = |word: &String| match word.strip_prefix('`').and_then(|w| w.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`"),
        None => word.clone(),
    };
    let first = plain(words.get(at)?);
    if words.get(at + 1).is_some_and(|dot| dot == ".") {
        return Some((Some(first), plain(words.get(at + 2)?)));
    }
    Some((None, first))
}

/// Words, quoted texts and names, and single signs, comments left out.
fn words(statement: &str) -> Vec<String> {
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
    fn the_kind_is_told_by_the_first_word() {
        assert_eq!(kind("SET foreign_key_checks=0"), Kind::Session);
        assert_eq!(kind("/* a */ -- b\n update t set a=1"), Kind::Rows);
        for rows in ["insert into t values (1)", "DELETE FROM t", "REPLACE t SET a=1"] {
            assert_eq!(kind(rows), Kind::Rows, "{rows}");
        }
        assert_eq!(kind("WITH a AS (SELECT 1) UPDATE t SET b=1"), Kind::Rows);
        assert_eq!(kind("ALTER TABLE t ADD c INT"), Kind::Definition);
        // code to the server in a comment, whatever follows it
        for code in ["/*!40101 SET x=1 */", "/*!40101 ALTER TABLE t */ SET x=1"] {
            assert_eq!(kind(code), Kind::Definition, "{code}");
        }
    }

    proptest! {
        #[test]
        fn splitting_never_panics(text in r#"[a-z '"`;\\#/*\n-]{0,80}"#) {
            let _ = split(&text);
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
