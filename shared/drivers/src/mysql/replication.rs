//! Follow, hold, resume, promote; and the canary.

use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Result, SourceSpec};
use rs_model::Position;
use rs_model::replica::{HELD_HOST, Replica};

use super::conn::{Fault, Session, column};
use super::dialect::{Dialect, fill, literal, name};
use super::{Mysql, facts};

/// The options that keep a held slave held over a restart.
const KEPT: &str = "rs-hold";
/// The options that keep master or slave what it was made, whatever the server was installed as.
const ROLE: &str = "rs-role";
/// Between two looks at something that must come about.
const LOOK: Duration = Duration::from_millis(10);
/// How long replication may take to start or stop its threads.
const THREADS: Duration = Duration::from_secs(20);

/// How long our own small row may take: a commit that does not come about waits for somebody else.
const CANARY: Duration = Duration::from_secs(10);

/// Our own schema: small, on the master, replicated. `IF NOT EXISTS` would be logged each time, so we look first.
const TABLES: [(&str, &str); 4] = [
    (
        "canary",
        "CREATE TABLE IF NOT EXISTS rs_tools.canary (id TINYINT NOT NULL PRIMARY KEY, \
         nonce VARCHAR(64) NOT NULL, written BIGINT UNSIGNED NOT NULL, written_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB",
    ),
    (
        "migration",
        "CREATE TABLE IF NOT EXISTS rs_tools.migration (token VARCHAR(100) NOT NULL PRIMARY KEY, \
         target VARCHAR(64) NOT NULL, statements INT NOT NULL, digest CHAR(64) NOT NULL, \
         begun_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB",
    ),
    (
        "migration_step",
        "CREATE TABLE IF NOT EXISTS rs_tools.migration_step (token VARCHAR(100) NOT NULL, number INT NOT NULL, \
         digest CHAR(64) NOT NULL, schema_before CHAR(64) NOT NULL, schema_after CHAR(64) NULL, \
         session BIGINT NOT NULL, done TINYINT NOT NULL, PRIMARY KEY (token, number)) ENGINE=InnoDB",
    ),
    (
        "migration_part",
        "CREATE TABLE IF NOT EXISTS rs_tools.migration_part (token VARCHAR(100) NOT NULL, number INT NOT NULL, \
         parts MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL, PRIMARY KEY (token, number)) ENGINE=InnoDB",
    ),
];

pub fn ensure_tables(session: &mut Session) -> Result<()> {
    let there: Vec<String> = session
        .rows(
            "SELECT TABLE_NAME AS name FROM information_schema.tables WHERE TABLE_SCHEMA = 'rs_tools'",
        )?
        .iter()
        .map(|row| Ok(column(row, "name")?.unwrap_or_default().to_owned()))
        .collect::<Result<_>>()?;
    if there.is_empty() {
        session.run("CREATE DATABASE IF NOT EXISTS rs_tools")?;
    }
    for (table, create) in TABLES {
        if !there.iter().any(|known| known == table) {
            session.run(create)?;
        }
    }
    Ok(())
}

pub fn write_canary(db: &Mysql, nonce: &str) -> Result<()> {
    let dialect = db.dialect()?;
    let mut session = db.link.open_for(crate::patience(CANARY))?;
    if !session.rows(dialect.channels)?.is_empty() {
        return Err(Error::new(
            Kind::Declined,
            format!(
                "{} is a slave: a row written there would be an errant transaction",
                db.link.place()
            ),
        )
        .hint("the canary is written on the master"));
    }
    let nonce = literal(nonce);
    let insert = format!(
        "INSERT INTO rs_tools.canary (id, nonce, written) VALUES (1, {nonce}, 1) \
         ON DUPLICATE KEY UPDATE nonce = {nonce}, written = written + 1, written_at = CURRENT_TIMESTAMP"
    );
    ensure_tables(&mut session).and_then(|()| session.run(&insert)).map_err(|e| {
        if e.kind() == Kind::TimedOut { unacknowledged(db, &session).unwrap_or(e) } else { e }
    })
}

/// The error of a write of ours that waits for a slave's acknowledgement, if it is that which it waits for.
fn unacknowledged(db: &Mysql, waits: &Session) -> Option<Error> {
    let id = waits.id();
    let state = format!("SELECT STATE FROM information_schema.processlist WHERE ID = {id}");
    let state = db.link.open().ok()?.value(&state).ok()??;
    state.to_lowercase().contains("semi-sync").then(|| {
        Error::new(
            Kind::TimedOut,
            format!("a commit on {} waits for a semi-synchronous acknowledgement", db.link.place()),
        )
        .because(format!("session {id}: {state}: no slave acknowledges what the master commits"))
        .hint(
            "bring a semi-synchronous slave back (rs-dbsync status --role slave); or let the master go on without: SET GLOBAL \
             rpl_semi_sync_master_enabled=0 (MySQL: rpl_semi_sync_source_enabled)",
        )
    })
}

pub fn read_canary(db: &Mysql) -> Result<Option<String>> {
    canary(db, "nonce")
}

pub fn canaries(db: &Mysql) -> Result<u64> {
    Ok(canary(db, "written")?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn canary(db: &Mysql, name: &str) -> Result<Option<String>> {
    let mut session = db.link.open()?;
    match session.ask(&format!("SELECT {name} FROM rs_tools.canary WHERE id = 1")) {
        Ok(rows) => match rows.first() {
            Some(row) => Ok(column(row, name)?.map(str::to_owned)),
            None => Ok(None),
        },
        // no such schema, no such table
        Err(Fault::Server(1049 | 1146, _)) => Ok(None),
        Err(fault) => Err(db.link.error(fault, "reading the canary")),
    }
}

fn state(db: &Mysql, session: &mut Session, dialect: &Dialect) -> Result<Replica> {
    facts::replica(session, dialect, db.version()?)
}

/// Waits until the status fits; the last status is in the error.
fn until(
    db: &Mysql,
    session: &mut Session,
    dialect: &Dialect,
    what: &str,
    limit: Duration,
    fits: impl Fn(&Replica) -> bool,
) -> Result<Replica> {
    let begun = Instant::now();
    loop {
        let now = state(db, session, dialect)?;
        if fits(&now) {
            return Ok(now);
        }
        if begun.elapsed() >= limit {
            let words: Vec<String> = now
                .channels
                .iter()
                .map(|c| format!("IO {}, SQL {}, {}", c.io_running, c.sql_running, c.last_error))
                .collect();
            return Err(Error::new(
                Kind::TimedOut,
                format!("{}: {what} did not come about within {limit:?}", db.link.place()),
            )
            .because(if words.is_empty() {
                "it is no slave".into()
            } else {
                words.join("; ")
            }));
        }
        std::thread::sleep(LOOK);
    }
}

fn one_channel(db: &Mysql, now: &Replica) -> Result<()> {
    match now.channels.as_slice() {
        [channel] if channel.name.is_empty() => Ok(()),
        [] => Err(Error::new(Kind::Declined, format!("{} is no slave", db.link.place()))
            .hint("rs-dbsync init makes one")),
        channels => {
            let names: Vec<String> = channels.iter().map(|c| format!("{:?}", c.name)).collect();
            Err(Error::new(
                Kind::Declined,
                format!("{} has the channels {}", db.link.place(), names.join(", ")),
            )
            .hint("only the one default channel is handled"))
        }
    }
}

fn source(dialect: &Dialect, source: &SourceSpec) -> String {
    fill(
        dialect.change_source,
        &[
            ("host", &literal(&source.host)),
            ("port", &source.port.to_string()),
            ("user", &literal(&source.user)),
            ("password", &literal(source.password.expose())),
        ],
    )
}

fn follows(now: &Replica, source: &SourceSpec) -> bool {
    matches!(now.channels.as_slice(), [c] if c.name.is_empty()
        && c.source_host == source.host && c.source_port == source.port && c.uses_gtid)
}

pub fn follow(db: &Mysql, wanted: &SourceSpec, position: &Position) -> Result<()> {
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    let now = state(db, &mut session, dialect)?;
    if !now.channels.is_empty() {
        one_channel(db, &now)?;
    }
    session.run(dialect.set_read_only)?;
    if !follows(&now, wanted) {
        session.run(dialect.stop)?;
        let stands = !position.text().is_empty() && !position.same(&now.applied);
        if stands {
            // only a fresh restore may be told where it stands: what has history of its own would lose or repeat it
            if now.own.set().is_some() && !position.same(&now.own) {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{} has a history of its own", db.link.place()),
                )
                .because(format!(
                    "its binary log is at `{}`, the position given is `{}`",
                    now.own.text(),
                    position.text()
                ))
                .hint("restore a snapshot into it first: rs-dbsync init --fresh"));
            }
            session.run(&fill(dialect.set_applied, &[("position", &literal(position.text()))]))?;
        } else if position.text().is_empty() && now.applied.set().is_none() {
            return Err(Error::new(
                Kind::Declined,
                format!("{}: nothing says where its data stands", db.link.place()),
            )
            .hint("give the position of the snapshot that it was made from"));
        }
        session.run(&source(dialect, wanted))?;
    }
    db.remove_options(super::writes::KEPT)?;
    db.put_options(ROLE, dialect.role_options.0)?;
    db.remove_options(KEPT)?;
    session.run(dialect.start)?;
    until(db, &mut session, dialect, "replication", THREADS, |now| {
        follows(now, wanted)
            && now.channels.iter().all(|c| c.io_running == "Yes" && c.sql_running == "Yes")
    })?;
    Ok(())
}

pub fn hold(db: &Mysql, limit: Duration) -> Result<Position> {
    facts::check_held_host()?;
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    let begun = Instant::now();
    let now = state(db, &mut session, dialect)?;
    one_channel(db, &now)?;
    if !now.is_held() {
        session.run(dialect.stop_receiver)?;
        // what was received and not applied is thrown away with the source
        until(db, &mut session, dialect, "applying all that was received", limit, |now| {
            let received = now.channels.first().and_then(|c| c.received.set());
            match (received, now.applied.set()) {
                (Some(received), Some(applied)) => applied.covers(&received),
                (None, Some(_)) => true,
                _ => false,
            }
        })?;
        let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_secs(1));
        session.run(dialect.stop)?;
        until(db, &mut session, dialect, "stopping", left, |now| {
            now.channels.iter().all(|c| c.io_running == "No" && c.sql_running == "No")
        })?;
        session.run(&fill(dialect.change_host, &[("host", &literal(HELD_HOST))]))?;
    } else if now.channels.iter().any(|c| c.sql_running != "No" || c.io_running != "No") {
        session.run(dialect.stop)?;
    }
    session.run(dialect.short_lock_wait)?;
    session.run(dialect.set_read_only)?;
    db.put_options(KEPT, dialect.held_options)?;
    let held = until(db, &mut session, dialect, "the hold", THREADS, |now| {
        now.is_held()
            && now.read_only
            && now.channels.iter().all(|c| c.uses_gtid && c.sql_running == "No")
    })?;
    Ok(held.applied)
}

pub fn resume(db: &Mysql, wanted: &SourceSpec) -> Result<()> {
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    let now = state(db, &mut session, dialect)?;
    one_channel(db, &now)?;
    if !follows(&now, wanted) {
        session.run(dialect.stop)?;
        session.run(&source(dialect, wanted))?;
    }
    db.remove_options(KEPT)?;
    session.run(dialect.start)?;
    until(db, &mut session, dialect, "replication", THREADS, |now| {
        follows(now, wanted)
            && now.channels.iter().all(|c| c.io_running == "Yes" && c.sql_running == "Yes")
    })?;
    Ok(())
}

pub fn promote(db: &Mysql) -> Result<Position> {
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    let now = state(db, &mut session, dialect)?;
    if !now.channels.is_empty() {
        one_channel(db, &now)?;
        session.run(dialect.stop)?;
        session.run(dialect.forget)?;
    }
    if !session.rows(dialect.channels)?.is_empty() {
        return Err(Error::new(
            Kind::Failed,
            format!("{} still has a source after it was told to forget it", db.link.place()),
        ));
    }
    db.remove_options(KEPT)?;
    db.remove_options(super::writes::KEPT)?;
    db.put_options(ROLE, dialect.role_options.1)?;
    session.run(dialect.clear_read_only)?;
    for row in session.rows(dialect.foreign_events)? {
        let (schema, event) = (column(&row, "event_schema")?, column(&row, "event_name")?);
        session.run(&format!(
            "ALTER EVENT {}.{} ENABLE",
            name(schema.unwrap_or_default()),
            name(event.unwrap_or_default())
        ))?;
    }
    facts::position(&mut session, dialect)
}
