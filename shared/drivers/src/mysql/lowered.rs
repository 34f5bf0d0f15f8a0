//! A migration while writes are off, where the engine's strongest lock stops everybody: it is lowered for the work,
//! and raised in every exit.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Result, Session as Seen};

use super::Mysql;
use super::conn::{Fault, Session};
use super::dialect::Dialect;
use super::writes::{accounts, end, is_lowered, sessions};

/// Between two looks at who is there.
const LOOK: Duration = Duration::from_millis(100);
/// How long sessions may take to end.
const END: Duration = Duration::from_secs(10);
/// How long raising may wait for the statements of others.
const RAISE: Duration = Duration::from_secs(60);

pub fn lowered(
    db: &Mysql,
    allowed: &[String],
    work: &mut dyn FnMut() -> Result<()>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let dialect = db.dialect()?;
    let Some(lower) = dialect.lower.get() else { return work() };
    let mut session = db.link.open()?;
    let left = is_lowered(&mut session, dialect)?;
    if !left && session.must(dialect.read_only)? != "1" {
        return work();
    }
    let begun = Instant::now();
    let look = Look { db, dialect, allowed, progress };
    while !look.intruders(&mut session, &mut BTreeSet::new())?.is_empty() {
        if begun.elapsed() > END {
            return Err(Error::new(
                Kind::TimedOut,
                format!("{}: sessions that could write do not end", db.link.place()),
            )
            .hint("rs-dbsync writes status names them"));
        }
        std::thread::sleep(LOOK);
    }
    if !left {
        session.run(lower)?;
    }
    let raise = Raise { db, dialect };
    let over = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let watch = scope.spawn(|| look.watch(&over));
        // also when the work panics: the watcher would be waited for for ever
        let end = Over(&over);
        let done = work();
        drop(end);
        let watched = watch.join().unwrap_or_else(|_| {
            Err(Error::new(Kind::Failed, "the watch over sessions that could write broke off"))
        });
        done.and(watched)
    });
    std::mem::forget(raise);
    // the work's own fault counts; that of raising is told beside it
    match (done, raise_again(db, dialect)) {
        (Ok(()), raised) => raised,
        (Err(e), Ok(())) => Err(e),
        (Err(e), Err(raised)) => {
            progress(&raised.to_string());
            Err(e)
        }
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Raises when the work does not come back.
struct Raise<'a> {
    db: &'a Mysql,
    dialect: &'static Dialect,
}

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        // nobody is left who could be told; the debt is open and names the command
        let _ = raise_again(self.db, self.dialect);
    }
}

fn raise_again(db: &Mysql, dialect: &Dialect) -> Result<()> {
    let begun = Instant::now();
    loop {
        let raised = db.link.open().and_then(|mut session| {
            session.run(dialect.short_lock_wait)?;
            Ok(session.attempt(dialect.set_read_only))
        });
        let error = match raised {
            Ok(Ok(())) => return Ok(()),
            // somebody's statement is in the way, or the server starts again: as it was told in its option file
            Ok(Err(Fault::Server(1205, why))) => {
                Error::new(Kind::TimedOut, format!("{}: {why}", db.link.place()))
            }
            Ok(Err(fault)) => db.link.error(fault, "raising read-only again"),
            Err(error) => error,
        };
        if begun.elapsed() > RAISE || error.kind() == Kind::Failed {
            return Err(error.hint("accounts with privileges could write: rs-dbsync writes off"));
        }
        std::thread::sleep(LOOK);
    }
}

/// Who watches over what.
struct Look<'a> {
    db: &'a Mysql,
    dialect: &'static Dialect,
    allowed: &'a [String],
    progress: &'a (dyn Fn(&str) + Sync),
}

impl Look<'_> {
    fn watch(&self, over: &AtomicBool) -> Result<()> {
        let mut told = BTreeSet::new();
        let mut session: Option<Session> = None;
        while !over.load(Ordering::Acquire) {
            let looked = match &mut session {
                Some(session) => self.intruders(session, &mut told),
                None => self.db.link.open().map(|fresh| {
                    session = Some(fresh);
                    Vec::new()
                }),
            };
            match looked {
                Ok(_) => {}
                // the server is gone, and with it whoever was there; the work finds that out itself
                Err(e) if e.kind() == Kind::Unreachable => session = None,
                Err(e) => return Err(e),
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Ends sessions that could write now, and names each once.
    fn intruders(&self, session: &mut Session, told: &mut BTreeSet<u64>) -> Result<Vec<Seen>> {
        let (db, dialect) = (self.db, self.dialect);
        let accounts = accounts(db, session, dialect, self.allowed)?;
        let found: Vec<Seen> = sessions(db, session, dialect, &accounts, self.allowed)?
            .into_iter()
            .filter(Seen::could_write)
            .collect();
        for seen in &found {
            if told.insert(seen.id) {
                (self.progress)(&format!(
                    "{} ({}): ended, it could have written while read-only is lowered: {}",
                    db.link.place(),
                    dialect.engine,
                    seen.words()
                ));
            }
        }
        end(session, &found.iter().map(|seen| seen.id).collect::<Vec<_>>())?;
        Ok(found)
    }
}
