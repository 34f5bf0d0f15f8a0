//! Facts about replication, read on this server, now, by column name.

use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Result};
use rs_model::Position;
use rs_model::replica::{Channel, HELD_HOST, Identity, Replica};

use super::Mysql;
use super::conn::{Row, Session, column, waiting};
use super::dialect::{Columns, Dialect, fill, literal};

/// One wait is cut into pieces of this: a waiter whose client was killed stays on the server as long as it was told.
const PIECE: Duration = Duration::from_secs(5);

/// What the applier's workers stopped for; MariaDB has the table too, and leaves it empty.
const WORKERS: &str = "SELECT CHANNEL_NAME, LAST_ERROR_MESSAGE \
                       FROM performance_schema.replication_applier_status_by_worker \
                       WHERE LAST_ERROR_NUMBER <> 0";

pub fn identity(session: &mut Session, dialect: &Dialect, version: &str) -> Result<Identity> {
    let id = session.must("SELECT @@server_id")?;
    Ok(Identity {
        server_id: number(&id, "@@server_id")?,
        uuid: session.value(dialect.uuid)?,
        version: version.to_owned(),
    })
}

pub fn position(session: &mut Session, dialect: &Dialect) -> Result<Position> {
    // MySQL without a binary log still shows what it once wrote into one: that moves no more, whatever is written
    let Some(row) = session.rows(dialect.log_status)?.pop() else { return Ok(Position::default()) };
    let gtid = session.value(dialect.own_position)?.map(tidy).filter(|text| !text.is_empty());
    let text = |name: &str| Ok::<_, Error>(column(&row, name)?.map(str::to_owned));
    Ok(Position { gtid, file: text("File")?, pos: text("Position")? })
}

/// What a server keeps out of its own binary log, as `NAME=VALUE`: everything where it has none, and of a slave what it
/// applies where that is not logged.
fn log_filters(session: &mut Session, dialect: &Dialect, slave: bool) -> Result<Vec<String>> {
    let mut filters = Vec::new();
    if session.must("SELECT @@global.log_bin")? != "1" {
        filters.push("log_bin=OFF".to_owned());
    } else if slave && session.must(dialect.logs_applied)? != "1" {
        filters.push("log_slave_updates=OFF".to_owned());
    }
    for row in session.rows(dialect.log_status)? {
        set_among(&row, &["Binlog_Do_DB", "Binlog_Ignore_DB"], &mut filters)?;
    }
    Ok(filters)
}

/// Adds the columns that hold something.
fn set_among(row: &Row, names: &[&str], found: &mut Vec<String>) -> Result<()> {
    for name in names {
        if let Some(value) = column(row, name)?.filter(|value| !value.is_empty()) {
            found.push(format!("{name}={value}"));
        }
    }
    Ok(())
}

pub fn replica(session: &mut Session, dialect: &Dialect, version: &str) -> Result<Replica> {
    let identity = identity(session, dialect, version)?;
    let mut channels = session
        .rows(dialect.channels)?
        .iter()
        .map(|row| channel(row, &dialect.columns))
        .collect::<Result<Vec<_>>>()?;
    let marked = dialect.marked.get().map(|question| session.must(question)).transpose()?;
    if let Some(marked) = marked.filter(|marked| marked != "REPLICATE") {
        for channel in &mut channels {
            channel.filters.push(format!("Replicate_Events_Marked_For_Skip={marked}"));
        }
    }
    if channels.iter().any(|channel| !channel.last_error.is_empty()) {
        workers_errors(session, &mut channels)?;
    }
    let slave = !channels.is_empty();
    Ok(Replica {
        identity,
        channels,
        applied: Position {
            gtid: session.value(dialect.applied)?.map(tidy).filter(|text| !text.is_empty()),
            ..Position::default()
        },
        own: position(session, dialect)?,
        own_state: session.value(dialect.own_state)?.map(tidy),
        read_only: session.must(dialect.read_only)? == "1",
        log_filters: log_filters(session, dialect, slave)?,
        skips_errors: session.value(dialect.skips)?.unwrap_or_default(),
    })
}

/// Of an applier with several workers the status says only that one of them has failed: the worker itself says why. An
/// account that may not read that goes without.
fn workers_errors(session: &mut Session, channels: &mut [Channel]) -> Result<()> {
    for row in session.ask(WORKERS).unwrap_or_default() {
        let text = |name: &str| Ok::<_, Error>(column(&row, name)?.unwrap_or_default());
        let (of, why) = (text("CHANNEL_NAME")?, text("LAST_ERROR_MESSAGE")?);
        for channel in channels.iter_mut().filter(|channel| channel.name == of) {
            if !why.is_empty() && !channel.last_error.contains(why) {
                channel.last_error = format!("{}; {why}", channel.last_error);
            }
        }
    }
    Ok(())
}

/// MySQL writes its sets over several lines.
fn tidy(text: String) -> String {
    text.split_whitespace().collect()
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T> {
    text.parse().map_err(|_| Error::new(Kind::Failed, format!("{what} is {text:?}, no number")))
}

/// One row of the status. Every column must be there; NULL where a number is needed is an error too.
pub fn channel(row: &Row, columns: &Columns) -> Result<Channel> {
    let text = |name: &str| Ok::<_, Error>(column(row, name)?.unwrap_or_default().to_owned());
    let must = |name: &str| {
        column(row, name)?.map(str::to_owned).ok_or_else(|| {
            Error::new(Kind::Failed, format!("the slave's status has NULL for {name}"))
        })
    };
    let mut errors = Vec::new();
    for (errno, message) in columns.errors {
        let (errno, message) = (must(errno)?, text(message)?);
        if errno != "0" {
            errors.push(format!("{errno} {message}"));
        }
    }
    let mut filters = Vec::new();
    set_among(row, columns.filters, &mut filters)?;
    let until = text(columns.until)?;
    let behind = column(row, columns.behind)?;
    let uses = text(columns.gtid.0)?;
    Ok(Channel {
        name: text(columns.name)?,
        source_host: text(columns.host)?,
        source_port: number(&must(columns.port)?, columns.port)?,
        source_server_id: number(&must(columns.server_id)?, columns.server_id)?,
        io_running: must(columns.io)?,
        sql_running: must(columns.sql)?,
        last_error: errors.join("; "),
        seconds_behind: behind.map(|text| number(text, columns.behind)).transpose()?,
        delay_seconds: number(&must(columns.delay)?, columns.delay)?,
        filters,
        until: Some(until).filter(|text| !text.is_empty() && text != "None"),
        uses_gtid: columns.gtid.1.contains(&uses.as_str()),
        received: Position {
            gtid: Some(tidy(text(columns.received)?)).filter(|text| !text.is_empty()),
            ..Position::default()
        },
    })
}

/// Waits until `position` is applied. Only the exact answer counts; an empty position is refused before asking, since
/// every engine answers "reached" to it.
pub fn wait_applied(db: &Mysql, position: &Position, limit: Duration) -> Result<bool> {
    if position.set().is_none() {
        return Err(Error::new(
            Kind::Declined,
            format!("{}: an empty position cannot be waited for", db.link.place()),
        )
        .hint("does the master write a binary log?"));
    }
    let dialect = db.dialect()?;
    let begun = Instant::now();
    let mut session = db.link.open_for(PIECE + Duration::from_secs(10))?;
    super::writes::end_left_behind(&mut session)?;
    loop {
        let left = limit.saturating_sub(begun.elapsed()).min(PIECE);
        let sql = fill(
            dialect.wait,
            &[
                ("position", &literal(position.text())),
                ("seconds", &format!("{:.3}", left.as_secs_f64().max(0.001))),
            ],
        );
        if session.value(&waiting(&sql))?.as_deref() == Some(dialect.wait_applied) {
            return Ok(true);
        }
        if begun.elapsed() >= limit {
            return Ok(false);
        }
    }
}

/// The host that a held slave is pointed at must not be there: a resolver that answers everything would defeat it.
pub fn check_held_host() -> Result<()> {
    match (HELD_HOST, 3306).to_socket_addrs() {
        Ok(mut found) => match found.next() {
            Some(address) => Err(Error::new(
                Kind::Declined,
                format!("{HELD_HOST} resolves to {}: a slave cannot be held by it", address.ip()),
            )
            .hint("a resolver here answers names that cannot exist; switch that off")),
            None => Ok(()),
        },
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::dialect::{MARIADB, MYSQL};

    fn row(columns: &Columns) -> Row {
        let mut row = Row::new();
        let mut put = |name: &str, value: &str| row.insert(name.to_owned(), Some(value.to_owned()));
        for name in columns.filters {
            put(name, "");
        }
        for (errno, message) in columns.errors {
            put(errno, "0");
            put(message, "");
        }
        put(columns.name, "");
        put(columns.host, "127.0.0.1");
        put(columns.port, "3306");
        put(columns.server_id, "11");
        put(columns.io, "Yes");
        put(columns.sql, "Yes");
        put(columns.behind, "0");
        put(columns.delay, "0");
        put(columns.until, "None");
        put(columns.gtid.0, columns.gtid.1[0]);
        put(columns.received, "0-11-5,\n1-1-1");
        row
    }

    #[test]
    fn a_status_is_read_by_column_name_in_both_dialects() {
        for dialect in [&MARIADB, &MYSQL] {
            let columns = &dialect.columns;
            let read = channel(&row(columns), columns).unwrap();
            assert_eq!((read.source_server_id, read.until.as_deref()), (11, None));
            assert!(read.uses_gtid && read.filters.is_empty() && read.last_error.is_empty());
            assert_eq!(read.received.text(), "0-11-5,1-1-1");
            let mut told = row(columns);
            told.insert(columns.behind.into(), None);
            told.insert(columns.filters[5].into(), Some("a.%".into()));
            told.insert(columns.errors[1].0.into(), Some("1032".into()));
            told.insert(columns.until.into(), Some("Gtid".into()));
            let read = channel(&told, columns).unwrap();
            assert_eq!(read.seconds_behind, None);
            assert_eq!(read.filters, [format!("{}=a.%", columns.filters[5])]);
            assert!(read.last_error.starts_with("1032") && read.until.is_some());
        }
    }

    #[test]
    fn a_column_that_is_not_there_is_no_empty_column() {
        for dialect in [&MARIADB, &MYSQL] {
            let columns = &dialect.columns;
            for name in row(columns).keys() {
                let mut less = row(columns);
                less.remove(name);
                channel(&less, columns).unwrap_err();
            }
        }
    }
}
