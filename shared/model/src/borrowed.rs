//! What a statement takes from an earlier one of the same session: a start after a kill skips what is done, and with it what
//! that left in the session. Only a `SET` to what stands there is repeated and says the same each time.

use std::collections::BTreeSet;

use crate::sql::{Kind, kind, words};
use crate::storage::opened;

/// Functions that answer with what the statement before left.
const LEFT: [&str; 4] = ["LAST_INSERT_ID", "FOUND_ROWS", "ROW_COUNT", "LASTVAL"];

/// The first statement that takes something from an earlier one, counted from 0, and what.
pub fn borrows(statements: &[String]) -> Option<(usize, String)> {
    // variables that hold the same whenever the statements before are begun anew
    let mut fixed = BTreeSet::new();
    for (at, statement) in statements.iter().enumerate() {
        let words = words(&opened(statement));
        let taken = match kind(statement) {
            Some(Kind::Session) => set(&words, &mut fixed),
            Some(Kind::Rows) => rows(&words, &mut fixed),
            _ => None,
        };
        if let Some(what) = taken {
            return Some((at, what));
        }
    }
    None
}

/// A variable of the user that stands there, in small letters; `@@name` is the server's.
fn variable(words: &[String], at: usize) -> Option<String> {
    let sign = |at: usize| words.get(at).is_some_and(|word| word == "@");
    if !sign(at) || sign(at + 1) || at.checked_sub(1).is_some_and(sign) {
        return None;
    }
    let name = words.get(at + 1)?;
    Some(name.trim_matches(['`', '\'', '"']).to_lowercase())
}

/// A function, or a variable of the server, that tells of an earlier statement.
fn left(words: &[String]) -> Option<String> {
    words.windows(3).find_map(|three| {
        let of_server = three[0] == "@" && three[1] == "@";
        let name = if of_server { &three[2] } else { &three[0] };
        let upper = name.to_ascii_uppercase();
        let is = match of_server {
            true => ["LAST_INSERT_ID", "IDENTITY"].contains(&upper.as_str()),
            false => LEFT.contains(&upper.as_str()) && three[1] == "(",
        };
        let previous = upper == "PREVIOUS" && three[1].eq_ignore_ascii_case("VALUE");
        match (is, previous) {
            (true, _) if of_server => Some(format!("@@{name}")),
            (true, _) => Some(format!("{name}()")),
            (_, true) => Some("PREVIOUS VALUE".into()),
            _ => None,
        }
    })
}

/// `SET`: what is set to values that stand there is fixed from here on, all else is not.
fn set(words: &[String], fixed: &mut BTreeSet<String>) -> Option<String> {
    if let Some(what) = left(words) {
        return Some(what);
    }
    let (mut depth, mut from, mut items) = (0usize, 1, Vec::new());
    for (at, word) in words.iter().enumerate() {
        match word.as_str() {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                items.push(words.get(from..at).unwrap_or_default());
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(words.get(from..).unwrap_or_default());
    for item in items {
        let target = variable(item, 0);
        let value = item.iter().position(|word| word == "=").map_or(item.len(), |at| at + 1);
        let value = &item[value..];
        let unfixed = |at: usize| variable(value, at).filter(|name| !fixed.contains(name));
        if let Some(name) = (0..value.len()).find_map(unfixed) {
            return Some(format!("@{name}"));
        }
        if let Some(name) = target {
            fixed.remove(&moved(&name));
            match stands_there(value) {
                true => fixed.insert(name),
                false => fixed.remove(&name),
            };
        }
    }
    None
}

/// Whether a value is the same each time: no function and no query is asked for it.
fn stands_there(value: &[String]) -> bool {
    value.iter().enumerate().all(|(at, word)| {
        let of_variable = at.checked_sub(1).and_then(|at| value.get(at)).is_some_and(|w| w == "@");
        let text = value.get(at + 1).is_some_and(|next| next.starts_with(['\'', '"']));
        let bare = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let constant =
            ["TRUE", "FALSE", "NULL"].iter().any(|known| word.eq_ignore_ascii_case(known));
        // a character set before a text is no function
        word != "(" && (!bare || of_variable || constant || (word.starts_with('_') && text))
    })
}

/// Of what it sets itself the statement may take; from here on that is not fixed any more.
fn rows(words: &[String], fixed: &mut BTreeSet<String>) -> Option<String> {
    if let Some(what) = left(words) {
        return Some(what);
    }
    let next = |at: usize, sign: &str| words.get(at).is_some_and(|word| word == sign);
    let (mut own, mut read) = (BTreeSet::new(), BTreeSet::new());
    for at in 0..words.len() {
        if let Some(name) = variable(words, at) {
            let set = next(at + 2, ":") && next(at + 3, "=");
            if set {
                own.insert(name)
            } else {
                read.insert(name)
            };
        }
    }
    // set in an earlier statement, and again in this one: which of the two is read first is not to be seen
    let taken = read.iter().find(|name| !fixed.contains(*name) && !own.contains(*name));
    let taken = taken.map(|name| format!("@{name}"));
    let again = read.iter().find(|name| own.contains(*name) && fixed.contains(&moved(name)));
    let taken = taken.or_else(|| again.map(|name| format!("@{name}")));
    for name in own {
        fixed.remove(&name);
        fixed.insert(moved(&name));
    }
    taken
}

/// The mark of a variable that a statement has set to what only that statement knows.
fn moved(name: &str) -> String {
    format!("@{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split;

    #[test]
    fn what_a_statement_takes_from_an_earlier_one_is_named() {
        for (text, found) in [
            (
                "SELECT @top := MAX(id) FROM orders; UPDATE t SET a=1 WHERE id > @top-9",
                Some((1, "@top")),
            ),
            (
                "SET @Top = (SELECT MAX(id) FROM t); SELECT 1; DELETE FROM t WHERE id > @`top`",
                Some((2, "@top")),
            ),
            ("SET @now = NOW(); UPDATE t SET at=@now", Some((1, "@now"))),
            ("SET @now = CURRENT_TIMESTAMP, @b = @now; SELECT @b", Some((0, "@now"))),
            ("SET @a = 1, @b = @a + 1; UPDATE t SET a=@b", None),
            ("SET @a := 'x', @c = _utf8mb4'y', @d = NULL; UPDATE t SET a=CONCAT(@a, @c, @d)", None),
            (
                "SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO'; SET SQL_MODE=@OLD_SQL_MODE",
                None,
            ),
            ("SELECT @a := 1; SET @b = @a", Some((1, "@a"))),
            ("SELECT @a := 1; SET @a = 2; UPDATE t SET a=@a", None),
            ("UPDATE t, (SELECT @n := 0) i SET a = (@n := @n + 1)", None),
            (
                "SET @n = 0; UPDATE t SET a = (@n := @n + 1); UPDATE u SET a = (@n := @n + 1)",
                Some((2, "@n")),
            ),
            (
                "SET @n = 0; UPDATE t SET a = (@n := @n + 1); SET @n = 0; UPDATE u SET a = (@n := @n + 1)",
                None,
            ),
            ("UPDATE t SET a = @never", Some((0, "@never"))),
            (
                "INSERT INTO t VALUES (1); INSERT INTO u VALUES (last_insert_id())",
                Some((1, "last_insert_id()")),
            ),
            (
                "INSERT INTO t VALUES (1); INSERT INTO u VALUES (@@identity)",
                Some((1, "@@identity")),
            ),
            ("SELECT 1; SELECT FOUND_ROWS()", Some((1, "FOUND_ROWS()"))),
            ("DELETE FROM t; SET @n = ROW_COUNT()", Some((1, "ROW_COUNT()"))),
            ("DELETE FROM t; INSERT INTO u SELECT /*! ROW_COUNT() */", Some((1, "ROW_COUNT()"))),
            (
                "SELECT NEXTVAL(s); INSERT INTO u VALUES (PREVIOUS VALUE FOR s)",
                Some((1, "PREVIOUS VALUE")),
            ),
            ("INSERT INTO t VALUES ('a@b.c', 'LAST_INSERT_ID()', \"@x\")", None),
            (
                "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = @b, NEW.a = LAST_INSERT_ID()",
                None,
            ),
            ("UPDATE t SET row_count = 1, found_rows = found_rows + 1", None),
        ] {
            let statements = split(text).unwrap();
            let found = found.map(|(at, what)| (at, what.to_owned()));
            assert_eq!(borrows(&statements), found, "{text}");
        }
    }
}
