//! Definitions that a start after a kill would get wrong: those that may be there in part, where the schema looks as if they
//! were done, and those that exchange names, where it looks as if they were not.

use std::collections::BTreeSet;

use crate::sql::{plain, words};
use crate::storage::opened;

/// What such a statement is, and what to write instead of it.
pub fn instead(statement: &str) -> Option<(&'static str, &'static str)> {
    let words = words(&opened(statement));
    let said: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    match *said.first()? {
        "CREATE" if said.get(1..3) == Some(&["OR", "REPLACE"]) && !replaces_a_view(&said) => {
            Some((
                "CREATE OR REPLACE, which drops first and then may fail,",
                "write DROP … IF EXISTS and CREATE, two statements, or run it by --script; nothing has been run",
            ))
        }
        "CREATE" if fills(&said) => Some((
            "CREATE TABLE … SELECT, which makes a table and then fills it,",
            "write CREATE TABLE with its columns and INSERT … SELECT, two statements, or run it by --script; nothing has been run",
        )),
        "DROP" if said.contains(&",") => Some((
            "DROP of several, some of which may be gone when it fails,",
            "write a DROP … IF EXISTS for each, or run it by --script; nothing has been run",
        )),
        "ALTER" if exchanges(&words, &said) => Some((
            "ALTER TABLE that gives a column the name of another one that it renames",
            "write an ALTER TABLE for each, by way of a name that is not there yet, or run it by --script; nothing has \
             been run",
        )),
        "SET" if says_requoting(&said) => Some((
            "SET of a sql_mode that reads quotes in another way",
            "quote names in `backticks` and texts in 'quotes', or run it by --script; nothing has been run",
        )),
        _ => None,
    }
}

/// Whether a sql_mode reads `"name"` as a name, or a backslash as any sign: which table is named, and where a statement
/// ends, would not be what is read here. Some modes are short for several.
pub fn requotes(mode: &str) -> bool {
    let modes = ["ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"];
    let others = ["DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL"];
    mode.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|one| modes.iter().chain(&others).any(|mode| mode.eq_ignore_ascii_case(one)))
}

/// The same of a `SET`: by its words, by a number, or by a variable that is to be the mode later.
fn says_requoting(said: &[&str]) -> bool {
    let text = |word: &&str| word.starts_with(['\'', '"']);
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && **word != *"0";
    let of_mode = said.iter().any(|word| ["SQL_MODE", "`SQL_MODE`"].contains(word));
    of_mode && said.iter().any(|word| number(word) || requotes(word))
        || said.iter().any(|word| text(word) && word.contains("ANSI") && requotes(word))
}

/// Whether one of the new names of columns is an old one, too: the second time takes it back, and the schema need not show it.
fn exchanges(words: &[String], said: &[&str]) -> bool {
    let (mut old, mut new) = (BTreeSet::new(), BTreeSet::new());
    for (at, word) in said.iter().enumerate() {
        let column = said.get(at + 1) == Some(&"COLUMN");
        if !(*word == "CHANGE" || *word == "RENAME" && column) {
            continue;
        }
        let mut from = at + 1 + usize::from(column);
        while ["IF", "EXISTS"].contains(said.get(from).unwrap_or(&"")) {
            from += 1;
        }
        let to = from + 1 + usize::from(*word == "RENAME");
        let name = |at: usize| words.get(at).map(|word| plain(word).to_lowercase());
        // under its own name it is only defined anew
        if name(from) != name(to) {
            old.extend(name(from));
            new.extend(name(to));
        }
    }
    !old.is_disjoint(&new)
}

/// A view is replaced as a whole; the options before the word VIEW name no other object.
fn replaces_a_view(said: &[&str]) -> bool {
    let objects = ["TABLE", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "SEQUENCE", "INDEX"];
    said.iter().find(|word| objects.contains(word) || **word == "VIEW") == Some(&"VIEW")
}

/// Whether a table gets its rows from another one, or from values, at once.
fn fills(said: &[&str]) -> bool {
    let Some(header) = said.iter().take(4).position(|word| *word == "TABLE") else { return false };
    let rest = &said[header + 1..];
    // values of partitions are those LESS THAN, or IN
    let values =
        |pair: &[&str]| ["VALUES", "VALUE"].contains(&pair[0]) && ["ROW", "("].contains(&pair[1]);
    rest.iter().any(|word| ["SELECT", "TABLE"].contains(word)) || rest.windows(2).any(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{kind, split};

    #[test]
    fn what_may_be_done_in_part_is_refused_and_told_how_to_write_it() {
        for (statement, hint) in [
            ("CREATE OR REPLACE TABLE t (a INT)", "DROP … IF EXISTS and CREATE"),
            ("create or replace table t (a INT) SELECT 1 UNION ALL SELECT 1", "DROP … IF EXISTS"),
            ("CREATE /*M!100000 OR REPLACE */ TABLE t (a INT)", "DROP … IF EXISTS"),
            ("/*!50000 CREATE OR REPLACE TABLE t (a INT) */", "DROP … IF EXISTS"),
            (
                "CREATE OR REPLACE DEFINER=a@b TRIGGER v BEFORE INSERT ON t FOR EACH ROW SET @a=1",
                "DROP …",
            ),
            ("CREATE OR REPLACE PROCEDURE p() SELECT 1 FROM view", "DROP … IF EXISTS and CREATE"),
            ("CREATE TABLE t SELECT * FROM u", "INSERT … SELECT"),
            ("CREATE TABLE n (a INT) ENGINE=MyISAM AS SELECT 1 AS a", "INSERT … SELECT"),
            ("CREATE TABLE IF NOT EXISTS t (a INT) AS (SELECT 1)", "INSERT … SELECT"),
            ("CREATE TABLE t (a INT) /*! SELECT 1 */", "INSERT … SELECT"),
            ("CREATE TABLE t AS WITH x AS (SELECT 1) SELECT * FROM x", "INSERT … SELECT"),
            ("CREATE TABLE t TABLE u", "INSERT … SELECT"),
            ("CREATE TABLE t (a INT) VALUES ROW(1)", "INSERT … SELECT"),
            ("CREATE TABLE t (a INT) VALUES (1)", "INSERT … SELECT"),
            ("DROP TABLE a, missing, b", "a DROP … IF EXISTS for each"),
            ("DROP TABLE IF EXISTS a /*! , b */", "a DROP … IF EXISTS for each"),
            ("DROP VIEW v, w", "a DROP … IF EXISTS for each"),
            ("ALTER TABLE t CHANGE a b INT, CHANGE b a INT", "an ALTER TABLE for each"),
            ("alter table t change column if exists a `B` INT, rename column b to a", "for each"),
            ("ALTER TABLE t RENAME COLUMN a TO x, RENAME COLUMN `b` TO a", "for each"),
            ("/*!50000 ALTER TABLE t CHANGE a b INT, CHANGE b c INT */", "for each"),
            ("SET sql_mode='STRICT_ALL_TABLES,ansi_quotes'", "`backticks`"),
            ("SET @@session.sql_mode = ANSI", "`backticks`"),
            ("SET SESSION `sql_mode` = CONCAT(@@sql_mode, \",ANSI_QUOTES\")", "`backticks`"),
            ("SET sql_mode = 4", "`backticks`"),
            ("SET sql_mode = 'ORACLE'", "`backticks`"),
            ("/*!40101 SET sql_mode = 'NO_BACKSLASH_ESCAPES' */", "`backticks`"),
            ("SET @mode = 'ANSI_QUOTES'", "`backticks`"),
        ] {
            let (what, _) = instead(statement).expect(statement);
            assert_eq!(kind(statement), None, "{statement}");
            let bad = split(&format!("SET x=1;\n{statement};")).unwrap_err();
            assert!(bad.what.starts_with(&format!("line 2: {what} (")), "{bad}");
            assert!(bad.hint.contains(hint) && bad.hint.ends_with("nothing has been run"), "{bad}");
        }
    }

    #[test]
    fn what_is_done_as_a_whole_is_not() {
        for statement in [
            "CREATE TABLE t (a INT, `select` INT, b TEXT DEFAULT 'SELECT, TABLE')",
            "CREATE TABLE t (a INT) PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (9))",
            "CREATE TABLE t (a INT) PARTITION BY LIST (a) (PARTITION p VALUES IN (1, 2))",
            "CREATE TABLE t LIKE u",
            "CREATE OR REPLACE DEFINER=a@b SQL SECURITY INVOKER VIEW v AS SELECT 1",
            "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = (SELECT 1)",
            "DROP TABLE IF EXISTS `a,b`",
            "DROP INDEX i ON t",
            "ALTER TABLE t DROP a, DROP b",
            "ALTER TABLE t CHANGE a a BIGINT, CHANGE b b_cents INT, RENAME COLUMN c TO d",
            "ALTER TABLE t RENAME TO u, RENAME INDEX a TO b, CHANGE b c INT, ADD `change` INT",
            "RENAME TABLE t TO old, new TO t",
            "INSERT INTO t SELECT * FROM u",
            "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES', @n = 'ANSIBLE'",
            "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */",
            "SET @vendor = 'oracle', lock_wait_timeout = 4",
            "SET sql_mode = 0",
            "INSERT INTO t VALUES ('ANSI_QUOTES')",
        ] {
            assert_eq!(instead(statement), None, "{statement}");
            assert!(kind(statement).is_some(), "{statement}");
        }
    }
}
