//! What the binary log tells of the transactions between two positions: to which tables each wrote.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Result};
use rs_model::Position;
use rs_model::price::Written;

use super::Mysql;
use super::conn::{Row, column};
use super::dialect::literal;

/// So many events are read in one question: the engine keeps its log to itself meanwhile.
const CHUNK: u64 = 2000;
/// Where the first event of a log stands.
const FIRST: u64 = 4;

pub fn written(db: &Mysql, from: &Position, to: &Position, limit: Duration) -> Result<Written> {
    let begun = Instant::now();
    let mut session = db.link.open()?;
    let (mut file, mut pos) = place(db, from)?;
    let (last, end) = place(db, to)?;
    let mut tally = Tally::default();
    if (file.as_str(), pos) == (last.as_str(), end) {
        return Ok(tally.done());
    }
    let logs: Vec<String> = session
        .rows("SHOW BINARY LOGS")?
        .iter()
        .map(|row| Ok(column(row, "Log_name")?.unwrap_or_default().to_owned()))
        .collect::<Result<_>>()?;
    loop {
        if begun.elapsed() > limit {
            return Err(Error::new(
                Kind::TimedOut,
                format!("reading the binary log of {} took longer than {limit:?}", db.link.place()),
            ));
        }
        let sql = format!("SHOW BINLOG EVENTS IN {} FROM {pos} LIMIT {CHUNK}", literal(&file));
        let rows = session.rows(&sql)?;
        let many = rows.len() as u64;
        for row in &rows {
            if file == last && pos >= end {
                return Ok(tally.done());
            }
            tally.add(row)?;
            pos = number(row, "End_log_pos")?;
        }
        if file == last && (pos >= end || many < CHUNK) {
            return Ok(tally.done());
        }
        if many < CHUNK {
            let at = logs.iter().position(|log| *log == file);
            let next = at.and_then(|at| logs.get(at + 1));
            (file, pos) = match next {
                Some(next) => (next.clone(), FIRST),
                None => {
                    return Err(Error::new(
                        Kind::Failed,
                        format!("{} has no log between {file} and {last}", db.link.place()),
                    ));
                }
            };
        }
    }
}

fn place(db: &Mysql, position: &Position) -> Result<(String, u64)> {
    let pos = position.pos.as_deref().and_then(|pos| pos.parse().ok());
    match (&position.file, pos) {
        (Some(file), Some(pos)) => Ok((file.clone(), pos)),
        _ => Err(Error::new(
            Kind::Failed,
            format!("{}: {:?} names no place in a binary log", db.link.place(), position.text()),
        )),
    }
}

fn number(row: &Row, name: &str) -> Result<u64> {
    let text = column(row, name)?.unwrap_or_default();
    text.parse()
        .map_err(|_| Error::new(Kind::Failed, format!("the binary log has {text:?} for {name}")))
}

/// Events, put together to transactions.
#[derive(Default)]
struct Tally {
    open: Option<BTreeSet<String>>,
    found: Written,
}

impl Tally {
    fn add(&mut self, row: &Row) -> Result<()> {
        let kind = column(row, "Event_type")?.unwrap_or_default();
        self.event(kind, column(row, "Info")?.unwrap_or_default());
        Ok(())
    }

    /// Each transaction begins with its number. What names no table (a statement, something packed) may be of anybody.
    fn event(&mut self, kind: &str, info: &str) {
        let table = match kind {
            "Gtid" | "Gtid_tagged" | "Anonymous_Gtid" => {
                self.close();
                self.open = Some(BTreeSet::new());
                return;
            }
            "Table_map" => info
                .split_once(" (")
                .and_then(|(_, name)| name.strip_suffix(')'))
                .map(str::to_owned),
            "Transaction_payload" => None,
            "Query" if ["BEGIN", "COMMIT"].contains(&info) => return,
            "Query" => changed(info),
            _ if kind.starts_with("Query") => None,
            _ => return,
        };
        if let Some(tables) = &mut self.open {
            tables.insert(table.unwrap_or_default());
        }
    }

    fn close(&mut self) {
        if let Some(tables) = self.open.take() {
            *self.found.entry(tables).or_default() += 1;
        }
    }

    fn done(mut self) -> Written {
        self.close();
        self.found
    }
}

/// The one table that a plain statement changes, as the log has it: USE, then the statement. Of anything that reads
/// or joins others, or that is no change of rows, nothing is said.
fn changed(info: &str) -> Option<String> {
    let (schema, sql) = match info.strip_prefix("use `") {
        Some(rest) => rest.split_once("`; ").map(|(schema, sql)| (Some(schema), sql))?,
        None => (None, info),
    };
    let words: Vec<&str> = sql.split([' ', '\t', '\n', '(']).filter(|w| !w.is_empty()).collect();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(word));
    if words.iter().any(|word| word.eq_ignore_ascii_case("select")) {
        return None;
    }
    let (at, next): (usize, &[&str]) = if (is(0, "insert") || is(0, "replace")) && is(1, "into") {
        (2, &[])
    } else if is(0, "insert") && is(1, "ignore") && is(2, "into") {
        (3, &[])
    } else if is(0, "update") {
        (1, &["set"])
    } else if is(0, "delete") && is(1, "from") {
        (2, &["where"])
    } else if ["create", "table", "if", "not", "exists"].iter().zip(0..).all(|(w, at)| is(at, w)) {
        (5, &[]) // as our own tables come to be
    } else {
        return None;
    };
    if !next.is_empty() && !next.iter().any(|word| is(at + 1, word)) {
        return None;
    }
    let name = words.get(at)?.replace('`', "");
    if name.contains(',') {
        return None;
    }
    match (name.contains('.'), schema) {
        (true, _) => Some(name),
        (false, Some(schema)) => Some(format!("{schema}.{name}")),
        (false, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[(&str, &str)]) -> Vec<(Vec<String>, u64)> {
        let mut tally = Tally::default();
        for (kind, info) in events {
            tally.event(kind, info);
        }
        tally.done().into_iter().map(|(set, n)| (set.into_iter().collect(), n)).collect()
    }

    #[test]
    fn both_dialects_are_put_together_to_transactions() {
        let maria = [
            ("Format_desc", "Server ver: 10.11"),
            ("Gtid_list", "[0-1-3]"),
            ("Gtid", "BEGIN GTID 0-1-4"),
            ("Annotate_rows", "INSERT INTO orders VALUES (1)"),
            ("Table_map", "table_id: 18 (shop.orders)"),
            ("Write_rows_v1", "table_id: 18 flags: STMT_END_F"),
            ("Xid", "COMMIT /* xid=9 */"),
            ("Gtid", "GTID 0-1-5"),
            ("Query", "use `shop`; ALTER TABLE orders ADD x INT"),
        ];
        let all = vec![(vec![String::new()], 1), (vec!["shop.orders".into()], 1)];
        assert_eq!(read(&maria), all);
        let mysql = [
            ("Previous_gtids", ""),
            ("Gtid", "SET @@SESSION.GTID_NEXT= 'u:4'"),
            ("Query", "BEGIN"),
            ("Table_map", "table_id: 18 (shop.orders)"),
            ("Write_rows", "table_id: 18 flags: STMT_END_F"),
            ("Xid", "COMMIT /* xid=9 */"),
            ("Gtid", "SET @@SESSION.GTID_NEXT= 'u:5'"),
            ("Transaction_payload", "compression='ZSTD'"),
        ];
        assert_eq!(read(&mysql), all);
    }

    #[test]
    fn a_plain_statement_names_its_table_and_no_other_does() {
        for (info, table) in [
            ("use `h`; INSERT INTO beat VALUES (1)", Some("h.beat")),
            ("use `h`; INSERT IGNORE INTO beat (at) VALUES (1)", Some("h.beat")),
            ("use `h`; REPLACE INTO `p`.`beat`(ts) VALUES ('x')", Some("p.beat")),
            ("UPDATE p.beat SET ts = 2 WHERE id = 1", Some("p.beat")),
            ("use `h`; DELETE FROM beat WHERE id = 1", Some("h.beat")),
            (
                "CREATE TABLE IF NOT EXISTS rs_tools.migration (token INT)",
                Some("rs_tools.migration"),
            ),
            ("use `h`; CREATE TABLE IF NOT EXISTS p.beat SELECT * FROM shop.orders", None),
            ("use `h`; CREATE TABLE t (id INT)", None),
            ("use `h`; INSERT INTO beat SELECT * FROM shop.orders", None),
            ("use `h`; UPDATE beat, shop.orders SET paid = 1", None),
            ("use `h`; UPDATE beat JOIN shop.orders SET paid = 1", None),
            ("use `h`; ALTER TABLE beat ADD x INT", None),
            ("INSERT INTO beat VALUES (1)", None),
            ("use `h", None),
            ("", None),
        ] {
            assert_eq!(changed(info).as_deref(), table, "{info}");
        }
    }

    #[test]
    fn a_statement_beside_rows_hides_nothing() {
        let mixed = [
            ("Gtid", "BEGIN GTID 0-1-4"),
            ("Table_map", "table_id: 1 (heartbeat.beat)"),
            ("Query", "use `shop`; CALL pay(1)"),
            ("Query", "COMMIT"),
        ];
        assert_eq!(read(&mixed), [(vec![String::new(), "heartbeat.beat".into()], 1)]);
        assert_eq!(read(&[]), []);
    }
}
