//! State in one SQLite file: `sqlite:PATH`.
//!
//! A rollback journal (truncated, not removed), not WAL: our processes live for milliseconds, and opening and closing
//! a WAL costs more than it saves; and a dry run can read it without making a file. `synchronous=FULL` makes a commit
//! durable with either. Measured: open, commit and close in 0.8 ms against 1.2 ms with WAL.

mod lock;
mod words;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rs_contract::{Entry, Error, Expect, Holder, Kind, Lock, Mode, Result, State, Txn, epoch_key};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use serde_json::Value as Json;

/// How long a statement waits for another process' transaction; those last milliseconds.
const BUSY: Duration = Duration::from_secs(20);

/// Opens `sqlite:PATH`. Nothing is made or read yet: a missing file is an empty store until the first write.
pub fn open(url: &str, mode: Mode) -> Result<Box<dyn State>> {
    let path = url.strip_prefix("sqlite:").unwrap_or_default();
    if path.is_empty() || path.contains(['\0', '\n']) {
        return Err(Error::new(Kind::Usage, format!("{url:?} names no file"))
            .hint("write sqlite:PATH, e.g. sqlite:/var/lib/rs/site.db"));
    }
    let path = std::path::absolute(path)
        .map_err(|e| Error::new(Kind::Usage, format!("{url:?} names no file")).because(e))?;
    if path.is_dir() {
        return Err(Error::new(Kind::Usage, format!("{} is a folder", path.display()))
            .hint(format!("name a file in it: sqlite:{}/site.db", path.display())));
    }
    Ok(Box::new(Sqlite { path, mode, open: Mutex::new(None) }))
}

struct Sqlite {
    path: PathBuf,
    mode: Mode,
    open: Mutex<Option<Opened>>,
}

struct Opened {
    connection: Connection,
    /// Of a dry run that met a transaction cut off by a kill: the copy in which it is taken back.
    _copy: Option<tempfile::TempDir>,
}

impl Sqlite {
    fn failed(&self, doing: &str, e: &rusqlite::Error) -> Error {
        words::error(&self.path, doing, e)
    }

    fn is_missing(&self) -> bool {
        let none =
            |e: &std::io::Error| matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
        std::fs::metadata(&self.path).is_err_and(|e| none(&e))
    }

    fn refuse_dry(&self, doing: &str) -> Result<()> {
        match self.mode {
            Mode::Real | Mode::Found => Ok(()),
            Mode::DryRun => Err(Error::new(
                Kind::Failed,
                format!("a dry run wanted to write to {} ({doing})", self.place()),
            )
            .hint("this is an error in the tool: please report it; nothing was written")),
        }
    }

    /// Reads with `work`; `None` when there is no store yet.
    fn read<T>(
        &self,
        doing: &str,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            if self.is_missing() {
                return Ok(None);
            }
            *slot = self.existing(doing)?;
        }
        let Some(opened) = slot.as_ref() else { return Ok(None) };
        work(&opened.connection).map(Some).map_err(|e| self.failed(doing, &e))
    }

    /// Writes with `work`, all or nothing; the store is made when it is not there.
    fn write<T>(&self, doing: &str, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.refuse_dry(doing)?;
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(match self.existing(doing)? {
                Some(opened) => opened,
                None => self.make(doing)?,
            });
        }
        let Some(opened) = slot.as_mut() else {
            return Err(Error::new(Kind::Failed, format!("{} is not open", self.place())));
        };
        let txn = opened
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| self.failed(doing, &e))?;
        let result = work(&txn)?;
        txn.commit().map_err(|e| self.failed(doing, &e))?;
        Ok(result)
    }

    /// Opens the store if one is there. A file without our tables (made by a process that was killed before its
    /// first commit) is none yet.
    fn existing(&self, doing: &str) -> Result<Option<Opened>> {
        if self.is_missing() {
            return Ok(None);
        }
        let opened = match self.mode {
            Mode::Real | Mode::Found => {
                Opened { connection: self.connect(&self.path, doing, false)?, _copy: None }
            }
            Mode::DryRun => self.look_only(doing)?,
        };
        Ok(self.is_ours(&opened.connection, doing)?.then_some(opened))
    }

    fn connect(&self, path: &Path, doing: &str, create: bool) -> Result<Connection> {
        let access = match self.mode {
            Mode::DryRun => OpenFlags::SQLITE_OPEN_READ_ONLY,
            _ if create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            Mode::Real | Mode::Found => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let ready = || -> rusqlite::Result<Connection> {
            let connection =
                Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY)?;
            if self.mode != Mode::DryRun {
                connection
                    .execute_batch("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL")?;
            }
            Ok(connection)
        };
        ready().map_err(|e| self.failed(doing, &e))
    }

    /// Opens for reading only, so that no byte of the folder changes. What a killed writer left half done can only
    /// be taken back by writing: that is done in a copy.
    fn look_only(&self, doing: &str) -> Result<Opened> {
        let connection = self.connect(&self.path, doing, false)?;
        let probe = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        match probe {
            Err(rusqlite::Error::SqliteFailure(e, _))
                if matches!(
                    e.code,
                    rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen
                ) && self.journal().exists() =>
            {
                let copy = || -> std::io::Result<(tempfile::TempDir, PathBuf)> {
                    let folder = tempfile::tempdir()?;
                    let there = folder.path().join("copy.db");
                    std::fs::copy(&self.path, &there)?;
                    std::fs::copy(self.journal(), folder.path().join("copy.db-journal"))?;
                    Ok((folder, there))
                };
                let (folder, there) = copy().map_err(|e| {
                    Error::new(
                        Kind::Failed,
                        format!("{} was cut off in a write, and cannot be copied", self.place()),
                    )
                    .because(e)
                    .hint("rs-journal show (no dry run) takes the cut-off write back")
                })?;
                let connection = Connection::open(&there).map_err(|e| self.failed(doing, &e))?;
                Ok(Opened { connection, _copy: Some(folder) })
            }
            Err(e) => Err(self.failed(doing, &e)),
            Ok(()) => Ok(Opened { connection, _copy: None }),
        }
    }

    fn journal(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push("-journal");
        name.into()
    }

    /// Whether the tables are there; somebody else's database, and one of a newer layout, are refused.
    fn is_ours(&self, connection: &Connection, doing: &str) -> Result<bool> {
        let facts = || -> rusqlite::Result<(i64, i64, i64)> {
            let one = |sql: &str| connection.query_row(sql, [], |row| row.get(0));
            Ok((
                one("PRAGMA application_id")?,
                one("PRAGMA user_version")?,
                one("SELECT count(*) FROM sqlite_schema")?,
            ))
        };
        match facts().map_err(|e| self.failed(doing, &e))? {
            (words::APPLICATION, words::LAYOUT, _) => Ok(true),
            (0, 0, 0) => Ok(false),
            (words::APPLICATION, layout, _) => Err(Error::new(
                Kind::Usage,
                format!(
                    "{} has layout {layout}, this version reads {}",
                    self.place(),
                    words::LAYOUT
                ),
            )
            .hint("use the tools of the version that wrote it")),
            _ => Err(Error::new(
                Kind::Usage,
                format!("{} is a SQLite database of something else", self.path.display()),
            )
            .hint("name another file: sqlite:PATH")),
        }
    }

    fn make(&self, doing: &str) -> Result<Opened> {
        if let Some(folder) = self.path.parent()
            && !folder.is_dir()
        {
            if self.mode != Mode::Found {
                let what =
                    format!("there is no state store {}: its folder is not there", self.place());
                return Err(Error::new(Kind::NotFound, what).hint(
                    "look at RS_CLOUD (--cloud) and RS_STATE (--store); rs-server apply FILE makes store and folder",
                ));
            }
            std::fs::create_dir_all(folder).map_err(|e| {
                Error::new(Kind::Failed, format!("the folder {} cannot be made", folder.display()))
                    .because(e)
                    .hint("name a place that you may write to: sqlite:PATH")
            })?;
        }
        let mut connection = self.connect(&self.path, doing, true)?;
        let mut build = || -> rusqlite::Result<()> {
            let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // another process may have made it in the meantime
            let tables: i64 =
                txn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables == 0 {
                txn.execute_batch(words::CREATE)?;
                txn.pragma_update(None, "application_id", words::APPLICATION)?;
                txn.pragma_update(None, "user_version", words::LAYOUT)?;
            }
            txn.commit()
        };
        build().map_err(|e| self.failed(doing, &e))?;
        Ok(Opened { connection, _copy: None })
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        // one file has one lock, whatever links and folders lead to it
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        path.with_file_name(words::lock_file(&file, name))
    }
}

impl Sqlite {
    /// Raises the epoch, in one transaction with `first`: whose lock counts and whose epoch is the highest is one answer.
    fn raised(&self, name: &str, first: impl FnOnce() -> Result<()>) -> Result<u64> {
        let key = epoch_key(name);
        self.write("raising the epoch", |rows| {
            first()?;
            let raised = || -> rusqlite::Result<u64> {
                rows.execute(words::PUT, params![key, Json::Null.to_string()])?;
                rows.query_row(words::GET, [&key], |row| count(row, 0))
            };
            raised().map_err(|e| self.failed("raising the epoch", &e))
        })
    }
}

/// Counts are never negative.
fn count(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn value(path: &Path, key: &str, text: &str) -> Result<Json> {
    serde_json::from_str(text).map_err(|e| {
        Error::new(Kind::Failed, format!("{key} in {} is not JSON", path.display()))
            .because(e)
            .hint("somebody wrote to the file by hand")
    })
}

impl State for Sqlite {
    fn place(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    fn is_there(&self) -> bool {
        // an empty file is none yet; one that cannot be asked is not missing: what opens it says why
        !self.is_missing() && std::fs::metadata(&self.path).map_or(true, |file| file.len() > 0)
    }

    fn get(&self, key: &str) -> Result<Option<Entry>> {
        let found = self.read("reading", |connection| {
            connection
                .prepare_cached(words::GET)?
                .query_row([key], |row| Ok((count(row, 0)?, row.get::<_, String>(1)?)))
                .optional()
        })?;
        let Some((version, text)) = found.flatten() else { return Ok(None) };
        Ok(Some(Entry { key: key.to_owned(), version, value: value(&self.path, key, &text)? }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let found = self.read("reading", |connection| {
            let mut select = connection.prepare_cached(words::FROM)?;
            let mut rows = select.query([prefix])?;
            let mut found: Vec<(String, u64, String)> = Vec::new();
            while let Some(row) = rows.next()? {
                let key: String = row.get(0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                found.push((key, count(row, 1)?, row.get(2)?));
            }
            Ok(found)
        })?;
        found
            .unwrap_or_default()
            .into_iter()
            .map(|(key, version, text)| {
                let value = value(&self.path, &key, &text)?;
                Ok(Entry { key, version, value })
            })
            .collect()
    }

    fn commit(&self, txn: &Txn) -> Result<()> {
        let doing = "writing";
        self.write(doing, |rows| {
            let failed = |e: rusqlite::Error| self.failed(doing, &e);
            for expected in &txn.expect {
                let (key, wanted) = match expected {
                    Expect::Absent(key) => (key, None),
                    Expect::Version(key, version) => (key, Some(*version)),
                };
                let found: Option<u64> = rows
                    .prepare_cached(words::GET)
                    .and_then(|mut get| get.query_row([key], |row| count(row, 0)).optional())
                    .map_err(failed)?;
                if found != wanted {
                    let told = |version: Option<u64>| {
                        version.map_or("absent".into(), |version| format!("version {version}"))
                    };
                    return Err(Error::new(
                        Kind::Declined,
                        format!("{key} was changed by another tool in the meantime"),
                    )
                    .because(format!("expected {}, found {}", told(wanted), told(found)))
                    .hint("the same command again; nothing was written")
                    .race());
                }
            }
            for key in &txn.delete {
                rows.prepare_cached(words::DELETE)
                    .and_then(|mut delete| delete.execute([key]))
                    .map_err(failed)?;
            }
            for (key, value) in &txn.put {
                rows.prepare_cached(words::PUT)
                    .and_then(|mut put| put.execute(params![key, value.to_string()]))
                    .map_err(failed)?;
            }
            Ok(())
        })
    }

    fn next(&self, counter: &str) -> Result<u64> {
        self.write("counting", |rows| {
            rows.query_row(words::COUNT, [counter], |row| count(row, 0))
                .map_err(|e| self.failed("counting", &e))
        })
    }

    fn lock(&self, name: &str, holder: &Holder, wait: Duration) -> Result<Box<dyn Lock>> {
        // the file must be there for its one true path to be known
        self.write("locking", |_| Ok(()))?;
        let first = self.lock_path(name);
        let raise = |held: &Path| self.raised(name, || lock::counts(&first, held));
        Ok(Box::new(lock::take(&first, name, holder, wait, raise)?))
    }

    fn holder(&self, name: &str) -> Result<Option<Holder>> {
        lock::who(&self.lock_path(name))
    }

    fn raise_epoch(&self, name: &str) -> Result<u64> {
        let first = self.lock_path(name);
        self.raised(name, || lock::pass_over(&first))
    }

    fn epoch(&self, name: &str) -> Result<u64> {
        Ok(self.get(&epoch_key(name))?.map_or(0, |entry| entry.version))
    }
}
