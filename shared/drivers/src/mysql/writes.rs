//! Writes off and on, and who could write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Privileged, Result, Session as Seen, SilenceFacts, WritesState};

use super::conn::{Fault, Row, Session, column, is_left_behind, is_mark, waiting};
use super::dialect::Dialect;
use super::{Mysql, facts};

/// The options that keep writes off over a restart.
pub const KEPT: &str = "rs-writes";
/// Between two looks at something that must come to an end.
pub const LOOK: Duration = Duration::from_millis(20);
/// InnoDB, MariaDB's and MySQL's, shows its last picture of the transactions to whoever asks within 100 ms of the last who
/// asked: who asks more often than that is shown for ever what was, or was not, open the first time. What is empty is taken
/// as it is: an agent that asks that often could hide a transaction that was begun since, but one from before is seen.
const PICTURE: Duration = Duration::from_millis(120);
/// How long sessions that may go by themselves are looked at again before they are taken for somebody's.
pub const SETTLE: Duration = Duration::from_secs(2);

pub fn writes(db: &Mysql) -> Result<WritesState> {
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    Ok(WritesState {
        off: session.must(dialect.read_only)? == "1",
        lowered: is_lowered(&mut session, dialect)?,
        events_before: session.value("SELECT @@global.event_scheduler")?,
        survives_restart: db.has_options(KEPT)?,
    })
}

/// Whether a migration has the lock lowered, or had when it was killed.
pub fn is_lowered(session: &mut Session, dialect: &Dialect) -> Result<bool> {
    match dialect.is_lowered.get() {
        Some(question) => Ok(session.must(question)? == "1"),
        None => Ok(false),
    }
}

pub fn silence(db: &Mysql, allowed: &[String]) -> Result<SilenceFacts> {
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    let accounts = accounts(db, &mut session, dialect, allowed)?;
    let sessions = sessions(db, &mut session, dialect, &accounts, allowed)?;
    let known: BTreeMap<u64, &Seen> = sessions.iter().map(|s| (s.id, s)).collect();
    let open: Vec<u64> = open_transactions(&mut session)?
        .into_iter()
        .filter(|id| *id != 0 && known.get(id).is_none_or(|s| s.exempt.is_empty()))
        .collect();
    let channels = session.rows(dialect.channels)?;
    Ok(SilenceFacts {
        read_only: session.must(dialect.read_only)? == "1",
        events_on: session.value("SELECT @@global.event_scheduler")?.as_deref() == Some("ON"),
        prepared_xa: session
            .rows("XA RECOVER")?
            .iter()
            .map(|row| Ok(column(row, "data")?.unwrap_or_default().to_owned()))
            .collect::<Result<Vec<_>>>()?,
        open_transactions: u64::try_from(open.len()).unwrap_or(u64::MAX),
        open_by: open
            .iter()
            .map(|id| known.get(id).map_or(format!("session {id}, gone by now"), |s| s.words()))
            .collect(),
        incoming_replication: !channels.is_empty(),
        sources: channels
            .iter()
            .map(|row| {
                let text = |name| Ok::<_, Error>(column(row, name)?.unwrap_or_default());
                let of = &dialect.columns;
                Ok(format!("{}:{} ({:?})", text(of.host)?, text(of.port)?, text(of.name)?))
            })
            .collect::<Result<Vec<_>>>()?,
        position: facts::position(&mut session, dialect)?,
        sessions: sessions.into_iter().filter(|s| s.may_write).collect(),
        accounts,
    })
}

/// Accounts that may write though writes are off, also by a role that they could take.
pub fn accounts(
    db: &Mysql,
    session: &mut Session,
    dialect: &Dialect,
    allowed: &[String],
) -> Result<Vec<Privileged>> {
    let own_host = session.value("SELECT @@hostname")?.unwrap_or_default();
    let direct = session.rows(dialect.may_write)?;
    let roles = session.rows(dialect.roles)?;
    let is_role =
        |user: &str| roles.iter().any(|row| column(row, "role").ok().flatten() == Some(user));
    let text = |row: &Row, name: &str| -> Result<String> {
        Ok(column(row, name)?.unwrap_or_default().to_owned())
    };
    let mut found: BTreeMap<(String, String), String> = BTreeMap::new();
    for row in &direct {
        found.insert(
            (text(row, "account_user")?, text(row, "account_host")?),
            text(row, "because")?,
        );
    }
    let lent = session.rows(dialect.lent)?;
    // a role has no host, and as a definer no `@` either
    let named = |user: &str, host: &str| {
        if host.is_empty() { user.to_owned() } else { format!("{user}@{host}") }
    };
    // whoever may call what runs with the rights of somebody who may write, may write; so may who may take a role that
    // may. Roles hold roles, and what is called calls: until nobody comes to them
    loop {
        let mut more = Vec::new();
        let may: BTreeSet<String> = found.keys().map(|(user, host)| named(user, host)).collect();
        for row in &lent {
            let definer = text(row, "definer")?;
            if may.contains(definer.trim_end_matches('@')) {
                let holder = (text(row, "account_user")?, text(row, "account_host")?);
                more.push((holder, format!("{} runs as {definer}", text(row, "routine")?)));
            }
        }
        for row in &roles {
            let role = text(row, "role")?;
            let may = found
                .keys()
                .any(|(user, host)| *user == role && (host.is_empty() || dialect.roles_have_hosts));
            if may {
                let holder = (text(row, "account_user")?, text(row, "account_host")?);
                more.push((holder, format!("role {role}")));
            }
        }
        let before = found.len();
        for (holder, because) in more {
            found.entry(holder).or_insert(because);
        }
        if found.len() == before {
            break;
        }
    }
    let ours = db.own_accounts();
    Ok(found
        .into_iter()
        .filter(|((user, host), because)| {
            // a role nobody logs in as: its holders are listed
            let nobody = host.is_empty() || dialect.roles_have_hosts;
            !(nobody && !because.starts_with("role ") && is_role(user))
        })
        .map(|((user, host), because)| {
            let local = ["localhost", "127.0.0.1", "::1", own_host.as_str()];
            let system = ["root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session"];
            let exempt = if ours.contains(&user.as_str()) {
                "ours"
            } else if allowed.contains(&user) {
                "allowed"
            } else if system.contains(&user.as_str()) && local.contains(&host.as_str()) {
                "system"
            } else {
                ""
            };
            Privileged { account: format!("{user}@{host}"), because, exempt: exempt.into() }
        })
        .collect())
}

/// Every session, judged by its account's grants and not by its name. A session whose user no account has by name
/// came in as the anonymous one; what `PUBLIC` may, everybody may. A waiter that a killed process of ours left behind
/// is nobody's any more.
///
/// A session of ours bears no mark in the moment after it came and in the moment before it is gone. So one that has an
/// account of ours is looked at again, and for a while if it does nothing: it gets its mark, or goes, or is somebody's.
/// Anybody else's that could write is looked at twice too: a client that has ended is on the list for a moment longer.
pub fn sessions(
    db: &Mysql,
    session: &mut Session,
    dialect: &Dialect,
    accounts: &[Privileged],
    allowed: &[String],
) -> Result<Vec<Seen>> {
    let ours = db.own_accounts();
    let begun = Instant::now();
    let mut stayed = BTreeSet::new();
    loop {
        let found = seen(db, session, dialect, accounts, allowed)?;
        let is_ours = |s: &Seen| ours.contains(&s.user.as_str());
        let suspects = found.iter().filter(|s| s.exempt.is_empty() && (is_ours(s) || s.may_write));
        // one of ours that works without a mark in two looks is somebody's; a single look may meet it at its end
        let idle = |s: &Seen| s.statement.is_empty() || is_mark(&s.statement);
        let may_count = |s: &&Seen| !is_ours(s) || !idle(s);
        let settled = suspects.clone().all(|s| may_count(&s) && stayed.contains(&s.id));
        if settled || begun.elapsed() >= SETTLE {
            return Ok(found);
        }
        stayed = suspects.filter(may_count).map(|s| s.id).collect();
        std::thread::sleep(LOOK);
    }
}

fn seen(
    db: &Mysql,
    session: &mut Session,
    dialect: &Dialect,
    accounts: &[Privileged],
    allowed: &[String],
) -> Result<Vec<Seen>> {
    let may: BTreeSet<&str> = accounts
        .iter()
        .map(|a| a.account.rsplit_once('@').map_or(a.account.as_str(), |(user, _)| user))
        .collect();
    let own = session.id();
    let mut found = Vec::new();
    for row in session.rows(
        "SELECT ID AS id, USER AS account_user, HOST AS account_host, COMMAND AS command, TIME AS seconds, \
         LEFT(COALESCE(INFO, ''), 200) AS statement, \
         COALESCE(IS_USED_LOCK(CONCAT('rs_tools.', ID)) = ID, 0) AS marked FROM information_schema.processlist",
    )? {
        let text = |name: &str| Ok::<_, Error>(column(&row, name)?.unwrap_or_default().to_owned());
        let (id, user, command) = (text("id")?, text("account_user")?, text("command")?);
        let id: u64 = id.parse().map_err(|_| {
            Error::new(Kind::Failed, format!("{}: session id {id:?}", db.link.place()))
        })?;
        let server = dialect.server_threads.contains(&user.as_str()) || command == "Daemon";
        let statement = text("statement")?;
        let exempt = if server || command.starts_with("Binlog Dump") {
            "replication"
        } else if is_left_behind(&statement) {
            ""
        } else if id == u64::from(own) || text("marked")? == "1" {
            "ours"
        } else if allowed.contains(&user) {
            "allowed"
        } else {
            ""
        };
        found.push(Seen {
            id,
            may_write: may.contains(user.as_str())
                || !server && (may.contains("") || may.contains("PUBLIC")),
            host: text("account_host")?,
            seconds: text("seconds")?.parse().unwrap_or(0),
            statement,
            exempt: exempt.into(),
            user,
            command,
        });
    }
    Ok(found)
}

/// Ends the waiters that killed processes of ours left on the server; how many there were.
pub fn end_left_behind(session: &mut Session) -> Result<usize> {
    let rows = session.rows(
        "SELECT ID AS id, INFO AS statement FROM information_schema.processlist \
         WHERE LEFT(INFO, 19) = '/* rs_tools waiter ' AND ID <> CONNECTION_ID()",
    )?;
    let mut left = Vec::new();
    for row in &rows {
        if is_left_behind(column(row, "statement")?.unwrap_or_default()) {
            left.extend(column(row, "id")?.and_then(|id| id.parse::<u64>().ok()));
        }
    }
    end(session, &left)?;
    Ok(left.len())
}

/// Connection ids of open transactions that have changed rows; 0 are prepared ones whose session is gone.
fn open_transactions(session: &mut Session) -> Result<BTreeSet<u64>> {
    let mut look = || -> Result<BTreeSet<u64>> {
        session
            .rows(
                "SELECT TRX_MYSQL_THREAD_ID AS id FROM information_schema.innodb_trx \
                 WHERE TRX_ROWS_MODIFIED > 0",
            )?
            .iter()
            .map(|row| Ok(column(row, "id")?.unwrap_or_default().parse().unwrap_or(0)))
            .collect()
    };
    let seen = look()?;
    if seen.is_empty() {
        return Ok(seen);
    }
    std::thread::sleep(PICTURE);
    look()
}

pub fn writes_off(db: &Mysql, allowed: &[String], limit: Duration) -> Result<WritesState> {
    let dialect = db.dialect()?;
    let begun = Instant::now();
    let mut session = db.link.open()?;
    session.run(dialect.short_lock_wait)?;
    end_left_behind(&mut session)?;
    let before = writes(db)?;
    let attempt = freeze(db, &mut session, dialect, allowed, begun, limit);
    if let Err(e) = attempt {
        // nothing half: whoever reads the error finds the server as it was
        unfreeze(&mut session, dialect, &before)?;
        return Err(e);
    }
    let survives = db.put_options(KEPT, dialect.read_only_options)?;
    Ok(WritesState {
        off: before.off,
        lowered: before.lowered,
        events_before: before.events_before,
        survives_restart: survives.then_some(true),
    })
}

fn freeze(
    db: &Mysql,
    session: &mut Session,
    dialect: &Dialect,
    allowed: &[String],
    begun: Instant,
    limit: Duration,
) -> Result<()> {
    if session.value("SELECT @@global.event_scheduler")?.as_deref() == Some("ON") {
        session.run("SET GLOBAL event_scheduler = OFF")?;
    }
    let late = |what: &str, who: &[String]| {
        Error::new(
            Kind::TimedOut,
            format!("{}: writes could not be switched off within {limit:?}", db.link.place()),
        )
        .because(format!(
            "{what}: {}",
            if who.is_empty() { "unknown".into() } else { who.join(", ") }
        ))
        .hint("end what is in the way, then try again; writes are as they were")
        .untouched()
    };
    while session.must(dialect.read_only)? != "1" {
        match session.attempt(&waiting(dialect.set_read_only)) {
            Ok(()) => break,
            Err(Fault::Server(1205, _)) => {
                let blockers = blockers(db, session, dialect, allowed)?;
                let names: Vec<String> = blockers.iter().map(|(words, _)| words.clone()).collect();
                let ends: Vec<u64> = blockers.iter().filter_map(|(_, id)| *id).collect();
                if begun.elapsed() >= limit || (ends.is_empty() && !names.is_empty()) {
                    return Err(late("in the way", &names));
                }
                end(session, &ends)?;
            }
            Err(fault) => return Err(db.link.error(fault, "writes off")),
        }
    }
    // whoever could still write is ended; what he had open is rolled back before he is gone from the list
    loop {
        let accounts = accounts(db, session, dialect, allowed)?;
        let all = sessions(db, session, dialect, &accounts, allowed)?;
        let open = open_transactions(session)?;
        let left: Vec<&Seen> = all
            .iter()
            .filter(|s| s.exempt.is_empty() && (s.may_write || open.contains(&s.id)))
            .collect();
        // MySQL takes a session off the list before what it had open is rolled back
        let here: BTreeSet<u64> = all.iter().map(|s| s.id).collect();
        let rolls: Vec<u64> =
            open.iter().copied().filter(|id| *id != 0 && !here.contains(id)).collect();
        if left.is_empty() && rolls.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= limit {
            let mut names: Vec<String> = left.iter().map(|s| s.words()).collect();
            names.extend(rolls.iter().map(|id| format!("rollback of session {id}")));
            return Err(late("still there", &names));
        }
        end(session, &left.iter().map(|s| s.id).collect::<Vec<_>>())?;
        std::thread::sleep(LOOK);
    }
}

/// Who is in the way of read-only: in words, with the session that may be ended (not ours, not replication, not
/// allowed ones).
fn blockers(
    db: &Mysql,
    session: &mut Session,
    dialect: &Dialect,
    allowed: &[String],
) -> Result<Vec<(String, Option<u64>)>> {
    let all = sessions(db, session, dialect, &[], allowed)?;
    let holders = lock_holders(session, dialect)?;
    let busy = |s: &Seen| s.command == "Query" && !s.statement.is_empty();
    Ok(all
        .iter()
        .filter(|s| s.id != u64::from(session.id()) && s.exempt != "replication")
        .filter(|s| holders.contains_key(&s.id) || busy(s))
        .map(|s| (held(s, &holders), s.exempt.is_empty().then_some(s.id)))
        .collect())
}

/// Sessions that hold locks as far as the engine tells, and those of the given ids, in words.
pub fn holders(db: &Mysql, session: &mut Session, ids: &[u64]) -> Result<Vec<(u64, String)>> {
    let dialect = db.dialect()?;
    let all = sessions(db, session, dialect, &[], &[])?;
    let holders = lock_holders(session, dialect)?;
    Ok(all
        .iter()
        .filter(|s| s.id != u64::from(session.id()))
        .filter(|s| holders.contains_key(&s.id) || ids.contains(&s.id))
        .map(|s| (s.id, held(s, &holders)))
        .collect())
}

/// A session in words, with the locks that it holds.
fn held(session: &Seen, holders: &BTreeMap<u64, Vec<String>>) -> String {
    let locks = holders.get(&session.id).map(|what| format!(", holds {}", what.join(", ")));
    format!("{}{}", session.words(), locks.unwrap_or_default())
}

/// What each session holds, as far as the engine tells.
fn lock_holders(session: &mut Session, dialect: &Dialect) -> Result<BTreeMap<u64, Vec<String>>> {
    let mut holders: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let locks = &dialect.lock_holders;
    let mut rows = session.ask(locks.ask);
    if let (Err(Fault::Server(..)), Some(load)) = (&rows, locks.load.get())
        && session.attempt(load).is_ok()
    {
        rows = session.ask(locks.ask);
        if let Some(unload) = locks.unload.get() {
            // a plugin that stays is a change that nobody asked for
            let _ = session.attempt(unload);
        }
    }
    for row in rows.unwrap_or_default() {
        let id = column(&row, "id")?.and_then(|id| id.parse().ok()).unwrap_or(0);
        let what = column(&row, "what")?.unwrap_or_default().to_owned();
        holders.entry(id).or_default().push(what.trim_end_matches([' ', '.']).to_owned());
    }
    Ok(holders)
}

/// Ends sessions; one that is gone already is fine.
pub fn end(session: &mut Session, ids: &[u64]) -> Result<()> {
    for id in ids {
        match session.attempt(&format!("KILL {id}")) {
            Ok(()) | Err(Fault::Server(1094, _)) => {}
            Err(Fault::Server(number, why)) => {
                return Err(Error::new(Kind::Failed, format!("session {id} cannot be ended"))
                    .because(format!("{number} {why}"))
                    .hint("the administrator's account needs CONNECTION ADMIN"));
            }
            Err(_) => {
                return Err(Error::new(
                    Kind::Unreachable,
                    "the connection was lost while ending sessions",
                ));
            }
        }
    }
    Ok(())
}

/// What was read-only before we came stays so, and as much as it was.
fn unfreeze(session: &mut Session, dialect: &Dialect, before: &WritesState) -> Result<()> {
    match dialect.lower.get() {
        _ if before.off => {}
        Some(lower) if before.lowered => session.run(lower)?,
        _ => session.run(dialect.clear_read_only)?,
    }
    if before.events_before.as_deref() == Some("ON") {
        session.run("SET GLOBAL event_scheduler = ON")?;
    }
    Ok(())
}

pub fn writes_on(db: &Mysql, before: &WritesState) -> Result<()> {
    let dialect = db.dialect()?;
    // first the file: a restart in between finds what was asked for
    db.remove_options(KEPT)?;
    let mut session = db.link.open()?;
    unfreeze(&mut session, dialect, before)?;
    let (read_only, events) = (
        session.must(dialect.read_only)?,
        session.value("SELECT @@global.event_scheduler")?.unwrap_or_default(),
    );
    if (read_only == "1") != before.off
        || is_lowered(&mut session, dialect)? != before.lowered
        || (before.events_before.as_deref() == Some("ON") && events != "ON")
    {
        return Err(Error::new(
            Kind::Failed,
            format!(
                "{}: read_only is {read_only} and event_scheduler {events} after switching writes on",
                db.link.place()
            ),
        ));
    }
    Ok(())
}

/// Ends every session but ours, replication's and the allowed, and waits until they are gone; how many there were.
pub fn kill_sessions(db: &Mysql, allowed: &[String], limit: Duration) -> Result<u64> {
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    let begun = Instant::now();
    let mut ended = BTreeSet::new();
    loop {
        let left: Vec<Seen> = sessions(db, &mut session, dialect, &[], allowed)?
            .into_iter()
            .filter(|s| s.exempt.is_empty())
            .collect();
        let fresh: Vec<u64> = left.iter().map(|s| s.id).filter(|id| !ended.contains(id)).collect();
        // new ones may come as long as clients try: what was there at the start has to be gone
        if ended.is_empty() {
            ended.extend(fresh.iter().copied());
            end(&mut session, &fresh)?;
        }
        if left.iter().all(|s| !ended.contains(&s.id)) {
            return Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX));
        }
        if begun.elapsed() >= limit {
            let names: Vec<String> = left.iter().map(Seen::words).collect();
            return Err(Error::new(
                Kind::TimedOut,
                format!("{}: sessions do not end: {}", db.link.place(), names.join(", ")),
            ));
        }
        std::thread::sleep(LOOK);
    }
}
