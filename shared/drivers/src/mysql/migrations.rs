//! Which migrations a server's data knows, and scripts, which are black boxes.

use rs_contract::{Error, Kind, Result};
use rs_model::migration::Migration;

use super::Mysql;
use super::conn::{Fault, Session, column};
use super::definitions::{digest, fingerprint};
use super::dialect::literal;
use super::replication::ensure_tables;

/// Locks of a token: of whoever runs it, and of the session in which its statements run.
const LOCKS: [&str; 2] = ["rs_tools.run.", "rs_tools.work."];

/// The lock of whoever runs a token.
pub fn run_lock(token: &str) -> String {
    literal(&format!("{}{}", LOCKS[0], &digest(token)[..32]))
}

/// The lock of the session in which a token's statements run.
pub fn work_lock(token: &str) -> String {
    literal(&format!("{}{}", LOCKS[1], &digest(token)[..32]))
}

pub fn list(db: &Mysql) -> Result<Vec<Migration>> {
    let used = LOCKS.map(|lock| {
        format!(
            "IS_USED_LOCK(CONCAT('{lock}', LEFT(SHA2(CONVERT(m.token USING utf8mb4), 256), 32))) IS NOT NULL"
        )
    });
    let count = |more: &str| {
        format!("(SELECT COUNT(*) FROM rs_tools.migration_step s WHERE s.token = m.token{more})")
    };
    let question = format!(
        "SELECT m.token AS token, m.target AS target, m.statements AS statements, \
         CAST(m.begun_at AS CHAR) AS begun_at, {} AS begun, {} AS done, {} AS running \
         FROM rs_tools.migration m ORDER BY m.begun_at, m.token",
        count(""),
        count(" AND s.done = 1"),
        used.join(" OR ")
    );
    let mut session = db.link.open()?;
    let rows = match session.ask(&question) {
        Ok(rows) => rows,
        // no migration was ever begun here
        Err(Fault::Server(1049 | 1146, _)) => return Ok(Vec::new()),
        Err(fault) => return Err(db.link.error(fault, "reading the state of migrations")),
    };
    rows.iter()
        .map(|row| {
            let text = |name: &str| -> Result<String> {
                Ok(column(row, name)?.unwrap_or_default().to_owned())
            };
            let number = |name: &str| -> Result<usize> {
                text(name)?.parse().map_err(|_| {
                    Error::new(Kind::Failed, format!("{name} of a migration is no number"))
                })
            };
            Ok(Migration {
                token: text("token")?,
                schema: text("target")?,
                statements: number("statements")?,
                begun: number("begun")?,
                done: number("done")?,
                running: text("running")? == "1",
                begun_at: text("begun_at")?,
            })
        })
        .collect()
}

/// Takes the lock of a token's run; a run that was killed a moment ago is given the time to be noticed.
pub fn alone(db: &Mysql, session: &mut Session, token: &str) -> Result<()> {
    if session.value(&format!("SELECT GET_LOCK({}, 2)", run_lock(token)))?.as_deref() == Some("1") {
        return Ok(());
    }
    Err(Error::new(
        Kind::Declined,
        format!("the migration {token:?} is being run by somebody else on {}", db.link.place()),
    )
    .hint("wait for it: rs-dbsync migrate again then finds it done"))
}

/// Notes a script as begun, lets `work` run it, and notes whether it is done: whatever happens in between, it is known
/// to be begun. While it runs, its lock says so.
pub fn script(
    db: &Mysql,
    token: &str,
    schema: &str,
    work: &mut dyn FnMut() -> Result<bool>,
) -> Result<()> {
    let mut session = db.link.open()?;
    alone(db, &mut session, token)?;
    ensure_tables(&mut session)?;
    let before = fingerprint(&mut session, db.dialect()?, schema)?;
    let (of, target, digest) = (literal(token), literal(schema), digest("script"));
    let known =
        session.value(&format!("SELECT digest FROM rs_tools.migration WHERE token = {of}"))?;
    if known.is_some_and(|known| known != digest) {
        return Err(another(token));
    }
    session.run("START TRANSACTION")?;
    session.run(&format!(
        "INSERT IGNORE INTO rs_tools.migration (token, target, statements, digest) \
         VALUES ({of}, {target}, 1, '{digest}')"
    ))?;
    session.run(&format!(
        "INSERT INTO rs_tools.migration_step (token, number, digest, schema_before, session, done) \
         VALUES ({of}, 1, '{digest}', '{before}', 0, 0) ON DUPLICATE KEY UPDATE done = 0"
    ))?;
    session.run("COMMIT")?;
    let result = work();
    // hours may have passed, and the session may be gone
    let mut session = db.link.open()?;
    let after = fingerprint(&mut session, db.dialect()?, schema)?;
    let done = if matches!(result, Ok(true)) { 1 } else { FAILED };
    session.run(&format!(
        "UPDATE rs_tools.migration_step SET done = {done}, schema_after = '{after}' \
         WHERE token = {of} AND number = 1 AND digest = '{digest}'"
    ))?;
    result.map(|_| ())
}

/// A token stands for one migration only.
pub fn another(token: &str) -> Error {
    Error::new(Kind::Declined, format!("the token {token:?} was used for another migration"))
        .hint("name a new one with --token")
}

/// What stands for a script that did not end well, and for a statement that failed and changed the schema nevertheless.
pub const FAILED: u8 = 2;
