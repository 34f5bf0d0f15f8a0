//! Migrations: each statement once, under a token that lives beside the data. After a crash the world is asked, not
//! the exit status: a statement that still runs is waited for, and the schema says whether a definition was made.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, MigrationEvent, Result, Work};
use rs_model::sql;
use rs_model::touched::{Seen, Touched, seen, touched};
use rs_model::whole::requotes;

use super::Mysql;
use super::conn::{Fault, Session, column};
use super::definitions::{digest, fingerprint, of_names, read};
use super::dialect::{Dialect, fill, literal, name};
use super::migrations::{self, FAILED, alone, another, work_lock};
use super::replication::ensure_tables;
use super::storage::transactional;

/// Between two looks at a statement that runs.
const LOOK: Duration = Duration::from_millis(200);
/// Ordinary statements are over before anybody is told of progress.
const QUIET: Duration = Duration::from_secs(1);
/// A session that slept so long, in seconds, waits for a client that is gone: ours send one statement after another.
const ORPHAN_SECONDS: u64 = 5;

/// How to go on where a statement failed and the schema is not what it was.
const HALF: &str = "it changed the schema in part, and that is noted: look at it; put back what it was, and the same migrate \
     runs it again; or write what is left as a migration with another --token; or go back";

/// Errors of a definition that may be done already: something exists, or is gone.
const DONE: [u16; 19] = [
    1007, 1008, 1050, 1051, 1054, 1060, 1061, 1068, 1091, 1146, 1304, 1305, 1359, 1360, 1537, 1539,
    1826, 3821, 3822,
];

/// Whoever splits a file knows that already, with its line.
fn unknown(statement: &str) -> Error {
    Error::new(
        Kind::Usage,
        format!("what may be done twice when it is cut off: {}", cut(statement)),
    )
    .hint("write it as plain statements, or run it by --script")
}

/// The statements run with the server's own mode, and are read here as most modes read them.
fn quotes(session: &mut Session) -> Result<()> {
    let mode = session.must("SELECT @@GLOBAL.sql_mode")?;
    if !requotes(&mode) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Declined,
        format!("the server's sql_mode reads quotes in another way than a migration's: {mode}"),
    )
    .hint("a sql_mode without ANSI_QUOTES and NO_BACKSLASH_ESCAPES, or run it by --script")
    .untouched())
}

fn number(text: Option<&str>) -> usize {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// One migration under way.
struct Run<'a> {
    db: &'a Mysql,
    dialect: &'static Dialect,
    token: &'a str,
    schema: &'a str,
    of: usize,
    begun: Instant,
    limit: Duration,
    event: &'a (dyn Fn(&MigrationEvent) + Sync),
}

pub fn migrate(
    db: &Mysql,
    token: &str,
    schema: &str,
    statements: &[String],
    work: Work,
    event: &(dyn Fn(&MigrationEvent) + Sync),
) -> Result<()> {
    if token.is_empty() || token.len() > 100 {
        return Err(Error::new(Kind::Usage, format!("the token {token:?} is no token"))
            .hint("1 to 100 bytes, e.g. the name of the run"));
    }
    let run = Run {
        db,
        dialect: db.dialect()?,
        token,
        schema,
        of: statements.len(),
        begun: Instant::now(),
        limit: work.timeout,
        event,
    };
    let mut notes = db.link.open()?;
    alone(db, &mut notes, token)?;
    for statement in statements {
        sql::kind(statement).ok_or_else(|| unknown(statement))?;
    }
    quotes(&mut notes)?;
    let known = migrations::list(db)?.into_iter().find(|one| one.token == token);
    let done = known.map_or(0, |one| one.done);
    transactional(&mut notes, run.dialect, schema, (statements, done))?;
    ensure_tables(&mut notes)?;
    run.begin(&mut notes, statements)?;
    let mut worker = db.link.plain(work.timeout + Duration::from_secs(60))?;
    run.await_worker(&mut notes, &mut worker)?;
    worker.run(&format!("USE {}", name(schema)))?;
    // an ALTER that waits for a lock holds up every SELECT behind it: better to try again
    worker.run("SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 2")?;
    for (at, statement) in statements.iter().enumerate() {
        run.step(&mut notes, &mut worker, at + 1, statement)?;
    }
    Ok(())
}

impl Run<'_> {
    /// Notes that the migration is begun; the same token for other statements is declined.
    fn begin(&self, notes: &mut Session, statements: &[String]) -> Result<()> {
        let digest = digest(&statements.join(";\n"));
        let token = literal(self.token);
        let known = notes.rows(&format!(
            "SELECT target, digest FROM rs_tools.migration WHERE token = {token}"
        ))?;
        match known.first() {
            None => notes.run(&format!(
                "INSERT INTO rs_tools.migration (token, target, statements, digest) \
                 VALUES ({token}, {}, {}, '{digest}')",
                literal(self.schema),
                self.of
            )),
            Some(row)
                if column(row, "digest")? == Some(digest.as_str())
                    && column(row, "target")? == Some(self.schema) =>
            {
                Ok(())
            }
            Some(_) => Err(another(self.token)),
        }
    }

    fn step(
        &self,
        notes: &mut Session,
        worker: &mut Session,
        at: usize,
        statement: &str,
    ) -> Result<()> {
        let kind = sql::kind(statement).ok_or_else(|| unknown(statement))?;
        let known = notes.rows(&format!(
            "SELECT done, digest, schema_before FROM rs_tools.migration_step WHERE token = {} AND number = {at}",
            literal(self.token)
        ))?;
        let mut half = false;
        if let Some(row) = known.first() {
            if column(row, "done")? == Some("1") {
                return if kind == sql::Kind::Session { worker.run(statement) } else { Ok(()) };
            }
            half = column(row, "done")? == Some(FAILED.to_string().as_str());
            self.await_other(notes, worker, at, statement)?;
            if kind == sql::Kind::Definition {
                match self.changed(notes, at, statement)? {
                    Seen::Unchanged => {}
                    Seen::Changed if !half => return self.note_done(notes, at),
                    Seen::Changed => return Err(self.half(at, statement)),
                    Seen::Unknown => return Err(self.unclear(at, statement)),
                }
            }
            notes.run(&format!(
                "UPDATE rs_tools.migration_step SET session = {}, done = 0 WHERE token = {} AND number = {at}",
                worker.id(),
                literal(self.token)
            ))?;
        } else {
            self.note_begun(notes, worker, at, (statement, kind))?;
        }
        // what failed before and was put back was never begun
        self.perform(notes, worker, (at, !known.is_empty() && !half), statement, kind)?;
        if kind == sql::Kind::Rows { Ok(()) } else { self.note_done(notes, at) }
    }

    /// What the statement is about to change, as it is now: its own names too, since others may change the rest meanwhile.
    fn note_begun(
        &self,
        notes: &mut Session,
        worker: &Session,
        at: usize,
        (statement, kind): (&str, sql::Kind),
    ) -> Result<()> {
        let (before, parts) = read(notes, self.dialect, self.schema)?;
        let token = literal(self.token);
        notes.run("START TRANSACTION")?;
        notes.run(&format!(
            "DELETE FROM rs_tools.migration_part WHERE token = {token} AND number = {at}"
        ))?;
        if let (sql::Kind::Definition, Touched::Names(names)) = (kind, touched(statement)) {
            notes.run(&format!(
                "INSERT INTO rs_tools.migration_part (token, number, parts) VALUES ({token}, {at}, {})",
                literal(&serde_json::json!(of_names(&parts, names.iter())).to_string())
            ))?;
        }
        notes.run(&format!(
            "INSERT INTO rs_tools.migration_step (token, number, digest, schema_before, session, done) \
             VALUES ({token}, {at}, '{}', '{before}', {}, 0)",
            digest(statement),
            worker.id()
        ))?;
        notes.run("COMMIT")
    }

    /// Whether what a statement changes is another than when it was begun.
    fn changed(&self, notes: &mut Session, at: usize, statement: &str) -> Result<Seen> {
        let of = format!("WHERE token = {} AND number = {at}", literal(self.token));
        let whole =
            notes.must(&format!("SELECT schema_before FROM rs_tools.migration_step {of}"))?;
        let noted = notes.value(&format!("SELECT parts FROM rs_tools.migration_part {of}"))?;
        let noted: Option<BTreeMap<String, String>> =
            noted.and_then(|text| serde_json::from_str(&text).ok());
        let (now, parts) = read(notes, self.dialect, self.schema)?;
        let pair = noted.map(|then| {
            let now = of_names(&parts, then.keys());
            (then, now)
        });
        Ok(seen(&touched(statement), pair.as_ref(), now == whole))
    }

    fn note_done(&self, notes: &mut Session, at: usize) -> Result<()> {
        let after = fingerprint(notes, self.dialect, self.schema)?;
        notes.run(&format!(
            "UPDATE rs_tools.migration_step SET done = 1, schema_after = '{after}' \
             WHERE token = {} AND number = {at}",
            literal(self.token)
        ))
    }

    /// Whatever an earlier run of this token began runs in a session that holds this lock: it is ours only when that
    /// session is gone, and with it every statement that it was sent. One that only sleeps has lost its client.
    fn await_worker(&self, notes: &mut Session, worker: &mut Session) -> Result<()> {
        let lock = work_lock(self.token);
        let mut told = false;
        while worker.value(&format!("SELECT GET_LOCK({lock}, 0)"))?.as_deref() != Some("1") {
            let holder = notes.value(&format!("SELECT IS_USED_LOCK({lock})"))?.unwrap_or_default();
            let rows = notes.rows(&format!(
                "SELECT COMMAND AS command, TIME AS seconds, COALESCE(INFO, '') AS statement \
                 FROM information_schema.processlist WHERE ID = {}",
                holder.parse::<u64>().unwrap_or(0)
            ))?;
            if let Some(row) = rows.first() {
                let text = column(row, "statement")?.unwrap_or_default().to_owned();
                let idle = column(row, "command")? == Some("Sleep");
                let seconds = column(row, "seconds")?.and_then(|s| s.parse().ok()).unwrap_or(0);
                if idle && seconds >= ORPHAN_SECONDS {
                    super::writes::end(notes, &[holder.parse().unwrap_or(0)])?;
                } else if !text.is_empty() {
                    let at = number(
                        notes
                            .value(&format!(
                                "SELECT MAX(number) FROM rs_tools.migration_step WHERE token = {}",
                                literal(self.token)
                            ))?
                            .as_deref(),
                    );
                    let percent = self.percent(notes, &holder)?;
                    let mut event = self.told(at, &text, percent, self.begun);
                    event.text = format!("an earlier run's statement still runs: {}", event.text);
                    if !told || self.begun.elapsed() >= QUIET {
                        told = true;
                        (self.event)(&event);
                    }
                    if self.begun.elapsed() >= self.limit {
                        return Err(self.late(at, &text).because(format!(
                            "an earlier run's statement still runs in session {holder}"
                        )));
                    }
                }
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// A client that was killed leaves its statement running: it has to end before the schema can be asked.
    fn await_other(
        &self,
        notes: &mut Session,
        worker: &Session,
        at: usize,
        statement: &str,
    ) -> Result<()> {
        loop {
            let running = notes.rows(&format!(
                "SELECT ID AS id, TIME AS seconds FROM information_schema.processlist \
                 WHERE ID NOT IN ({}, {}) AND COMMAND <> 'Sleep' AND INFO = {}",
                worker.id(),
                notes.id(),
                literal(statement)
            ))?;
            let Some(row) = running.first() else { return Ok(()) };
            let id = column(row, "id")?.unwrap_or_default().to_owned();
            (self.event)(&self.told(at, statement, self.percent(notes, &id)?, self.begun));
            if self.begun.elapsed() >= self.limit {
                return Err(self
                    .late(at, statement)
                    .because(format!("an earlier run's statement still runs in session {id}")));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn perform(
        &self,
        notes: &mut Session,
        worker: &mut Session,
        (at, again): (usize, bool),
        statement: &str,
        kind: sql::Kind,
    ) -> Result<()> {
        let mut blocked: Option<String> = None;
        loop {
            match self.watched(worker, at, statement, kind)? {
                Ok(()) => return Ok(()),
                // waited for a lock, or was the victim of a deadlock: nothing is done
                Err(Fault::Server(1205 | 1213, why)) => {
                    let who = blockers(self.db, notes, worker.id())?;
                    if self.begun.elapsed() >= self.limit {
                        return Err(self.late(at, statement).because(format!("{why}: {who}")));
                    }
                    if blocked.replace(who.clone()).is_none() {
                        let mut told = self.told(at, statement, None, self.begun);
                        told.text = format!("waits for a lock ({who}): {}", told.text);
                        (self.event)(&told);
                    }
                }
                Err(Fault::Server(1317, _)) if self.begun.elapsed() >= self.limit => {
                    let late = self.late(at, statement);
                    let half =
                        kind == sql::Kind::Definition && self.note_half(notes, at, statement)?;
                    return Err(match blocked {
                        _ if half => late.hint(HALF),
                        Some(who) => late.because(format!("it waited for a lock: {who}")),
                        None => late,
                    });
                }
                Err(Fault::Server(number, why)) => {
                    // begun before, and the error says that what it makes is there, or what it takes is gone
                    let definition = kind == sql::Kind::Definition;
                    let half = definition && self.note_half(notes, at, statement)?;
                    let perhaps = !half && again && definition && DONE.contains(&number);
                    if !half && !perhaps {
                        self.forget(notes, at)?;
                    }
                    let error = Error::new(
                        Kind::Failed,
                        format!(
                            "statement {at} of {} failed on {}: {}",
                            self.of,
                            self.db.link.place(),
                            cut(statement)
                        ),
                    )
                    .because(format!("{number} {why}"));
                    return Err(error.hint(if perhaps {
                        "it was begun before and cut off, the schema does not show whether it was done, and it stays \
                         noted as begun: look whether what it makes is there; put back what it was and run the same \
                         migrate again, or go back"
                    } else if half {
                        HALF
                    } else {
                        "it changed nothing; the statements before it are done and will be skipped"
                    }));
                }
                Err(fault) => {
                    return Err(self.db.link.error(fault, "migrating").hint(
                        "run the same migrate again: it looks whether the statement was done and goes on",
                    ));
                }
            }
        }
    }

    /// A statement that failed and changed nothing was never begun.
    fn forget(&self, notes: &mut Session, at: usize) -> Result<()> {
        notes.run(&format!(
            "DELETE FROM rs_tools.migration_step WHERE token = {} AND number = {at}",
            literal(self.token)
        ))
    }

    /// Whether a definition that failed changed something nevertheless; that is noted, or the next start would take it for done.
    fn note_half(&self, notes: &mut Session, at: usize, statement: &str) -> Result<bool> {
        if self.changed(notes, at, statement)? == Seen::Unchanged {
            return Ok(false);
        }
        notes.run(&format!(
            "UPDATE rs_tools.migration_step SET done = {FAILED} WHERE token = {} AND number = {at}",
            literal(self.token)
        ))?;
        Ok(true)
    }

    fn unclear(&self, at: usize, statement: &str) -> Error {
        Error::new(
            Kind::Declined,
            format!(
                "statement {at} of {} was cut off, and somebody else changed {:?} meanwhile: whether it was done cannot \
                 be told: {}",
                self.of,
                self.schema,
                cut(statement)
            ),
        )
        .hint(
            "look at it; put back what it was before, and the same migrate goes on; or write what is left as a migration \
             with another --token; or go back",
        )
        .untouched()
    }

    fn half(&self, at: usize, statement: &str) -> Error {
        Error::new(
            Kind::Declined,
            format!(
                "statement {at} of {} failed in an earlier run and changed {:?} in part: {}",
                self.of,
                self.schema,
                cut(statement)
            ),
        )
        .hint(HALF)
        .untouched()
    }

    /// Runs a statement beside a watcher that tells of progress and ends it at the time limit. The outer result is
    /// about the watcher, the inner one about the statement.
    fn watched(
        &self,
        worker: &mut Session,
        at: usize,
        statement: &str,
        kind: sql::Kind,
    ) -> Result<std::result::Result<(), Fault>> {
        let over = AtomicBool::new(false);
        let trouble = Mutex::new(None);
        let id = worker.id().to_string();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                if let Err(e) = self.watch(&over, &id, at, statement)
                    && let Ok(mut slot) = trouble.lock()
                {
                    *slot = Some(e);
                }
            });
            let result = if kind == sql::Kind::Rows {
                self.rows(worker, at, statement)
            } else {
                worker.attempt(statement)
            };
            over.store(true, Ordering::Release);
            result
        });
        match (result, trouble.into_inner().ok().flatten()) {
            // the statement's own end counts; without a watcher only its time limit was not kept
            (result, None) => Ok(result),
            (Ok(()), Some(_)) => Ok(Ok(())),
            (Err(fault), Some(_)) => Ok(Err(fault)),
        }
    }

    /// Rows and the note that they are done: one transaction, so that either both are there or neither.
    fn rows(
        &self,
        worker: &mut Session,
        at: usize,
        statement: &str,
    ) -> std::result::Result<(), Fault> {
        worker.attempt("START TRANSACTION")?;
        let done = worker.attempt(statement).and_then(|()| {
            worker.attempt(&format!(
                "UPDATE rs_tools.migration_step SET done = 1, schema_after = schema_before \
                 WHERE token = {} AND number = {at}",
                literal(self.token)
            ))?;
            worker.attempt("COMMIT")
        });
        if let Err(Fault::Server(..)) = done {
            worker.attempt("ROLLBACK")?;
        }
        done
    }

    fn watch(&self, over: &AtomicBool, id: &str, at: usize, statement: &str) -> Result<()> {
        let quiet = Instant::now();
        let mut session: Option<Session> = None;
        let mut looked = Instant::now();
        while !over.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(2));
            if looked.elapsed() < LOOK {
                continue;
            }
            looked = Instant::now();
            let session = match &mut session {
                Some(session) => session,
                None => session.insert(self.db.link.open()?),
            };
            if self.begun.elapsed() >= self.limit {
                // an ALTER that is ended leaves the old table whole
                match session.attempt(&format!("KILL QUERY {id}")) {
                    Ok(()) | Err(Fault::Server(1094, _)) => {}
                    Err(fault) => return Err(self.db.link.error(fault, "ending a statement")),
                }
            } else if quiet.elapsed() >= QUIET {
                let percent = self.percent(session, id)?;
                (self.event)(&self.told(at, statement, percent, quiet));
            }
        }
        Ok(())
    }

    fn percent(&self, session: &mut Session, id: &str) -> Result<Option<f64>> {
        let question = self.dialect.progress;
        match session.ask(&fill(question, &[("id", id)])) {
            Ok(rows) => match rows.first() {
                Some(row) => Ok(column(row, "percent")?.and_then(|text| text.parse().ok())),
                None => Ok(None),
            },
            // without the privilege there is no progress, and the migration goes on
            Err(Fault::Server(..)) => Ok(None),
            Err(fault) => Err(self.db.link.error(fault, "asking for progress")),
        }
    }

    /// `since`: when the statement began, as far as we know.
    fn told(
        &self,
        at: usize,
        statement: &str,
        percent: Option<f64>,
        since: Instant,
    ) -> MigrationEvent {
        MigrationEvent {
            statement: at,
            of: self.of,
            text: cut(statement),
            percent,
            left_ms: percent.and_then(|percent| sql::left_ms(since.elapsed(), percent)),
            ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn late(&self, at: usize, statement: &str) -> Error {
        Error::new(
            Kind::TimedOut,
            format!(
                "statement {at} of {} did not end within {:?} on {}: {}",
                self.of,
                self.limit,
                self.db.link.place(),
                cut(statement)
            ),
        )
        .hint("the statements before it are done; the same migrate with a longer --time-limit goes on")
    }
}

/// Who could be holding the lock: whoever holds or does something, and sessions with an open transaction.
fn blockers(db: &Mysql, session: &mut Session, worker: u32) -> Result<String> {
    let open = match session
        .ask("SELECT DISTINCT TRX_MYSQL_THREAD_ID AS id FROM information_schema.innodb_trx")
    {
        Ok(rows) => rows,
        Err(Fault::Server(..)) => return Ok("who holds it cannot be seen without PROCESS".into()),
        Err(_) => return Err(Error::new(Kind::Unreachable, "the connection was lost")),
    };
    let open: Vec<u64> =
        open.iter().filter_map(|row| column(row, "id").ok().flatten()?.parse().ok()).collect();
    let names: Vec<String> = super::writes::holders(db, session, &open)?
        .into_iter()
        .filter(|(id, _)| *id != u64::from(worker))
        .map(|(_, words)| words)
        .collect();
    Ok(if names.is_empty() { "its holder is not to be seen".into() } else { names.join(", ") })
}

pub fn cut(statement: &str) -> String {
    statement.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}
