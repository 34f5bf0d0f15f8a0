//! The run lock: a record lock (`fcntl`) on a file beside the database.
//!
//! Such a lock belongs to the *process*: it goes when the process ends, however it ends; a child does not have it,
//! whatever descriptors it inherits; a program executed in its place keeps it as long as the descriptor stays open.
//! Its one trap: closing *any* descriptor of the file gives it up. So this process never closes one (`FILES`).
//!
//! A frozen process keeps its lock, and from another host nobody can end it. So a take-over passes it over: the next file
//! is made, and only the newest file counts ([`newest`]). Who woke up holds a lock that nobody asks for any more.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rs_contract::{Error, Holder, Kind, Lock, Result};
use rustix::fs::FlockOperation;
use rustix::process::{Flock, FlockType};

/// Every lock file that this process has opened, and whether it holds the lock.
static FILES: Mutex<BTreeMap<PathBuf, Known>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Known {
    reading: Option<File>,
    writing: Option<File>,
    held: bool,
}

fn files() -> MutexGuard<'static, BTreeMap<PathBuf, Known>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lock, held.
pub(super) struct Held {
    path: PathBuf,
    epoch: u64,
}

impl Lock for Held {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn keep_over_exec(&self) -> Result<i32> {
        let files = files();
        let known = files.get(&self.path);
        let writing = known.and_then(|known| known.writing.as_ref());
        let writing = writing.ok_or_else(|| failed(&self.path, "is not open any more"))?;
        // one that was opened only to look must stay open as well: the exec that closes it gives the lock up
        for file in known.and_then(|known| known.reading.as_ref()).into_iter().chain([writing]) {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())
                .map_err(|e| failed(&self.path, e))?;
        }
        Ok(writing.as_raw_fd())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut files = files();
        if let Some(known) = files.get_mut(&self.path) {
            known.held = false;
            if let Some(file) = &known.writing {
                // unlocking what is locked cannot fail in a way that could be helped; the process' end does it too
                let _ = rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingUnlock);
            }
        }
    }
}

fn failed(path: &Path, e: impl std::fmt::Display) -> Error {
    Error::new(Kind::Failed, format!("the lock file {} cannot be used", path.display()))
        .because(e)
        .hint(match std::fs::metadata(path).map(|file| file.uid()) {
            Ok(uid) if uid != rustix::process::geteuid().as_raw() => format!(
                "it belongs to user {uid}, who ran a tool here: run it as that user, or as root chown '{}' to yours",
                path.display()
            ),
            _ => "the file and its folder must be writable by you, on a file system with locks".into(),
        })
}

/// The file that counts, the last one that a take-over made, or the first; and the one that the next would make.
fn files_of(first: &Path) -> (PathBuf, PathBuf) {
    let numbered = |number: u32| {
        let mut name = first.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let (mut path, mut number) = (first.to_owned(), 2);
    loop {
        let next = numbered(number);
        if !next.try_exists().unwrap_or(false) {
            return (path, next);
        }
        (path, number) = (next, number + 1);
    }
}

/// The file that counts.
fn newest(first: &Path) -> PathBuf {
    files_of(first).0
}

/// Passes over whoever holds the lock: the next file counts. Only one of several makes it.
pub(super) fn pass_over(first: &Path) -> Result<()> {
    let (path, next) = files_of(first);
    if look(&path)?.is_none() {
        return Ok(());
    }
    match OpenOptions::new().write(true).create_new(true).open(&next) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(failed(&next, e)),
    }
}

/// Whether the lock is still the one that counts: not so, when it was passed over since it was taken.
pub(super) fn counts(first: &Path, held: &Path) -> Result<()> {
    if newest(first) == held {
        return Ok(());
    }
    Err(Error::new(Kind::Declined, "the run lock was taken over just now")
        .hint("the same command again")
        .race())
}

/// Takes the lock whose first file is `first`, waiting at most `wait`. `raise` is called once it is held, with the file
/// that is locked, and gives the epoch.
pub(super) fn take(
    first: &Path,
    name: &str,
    holder: &Holder,
    wait: Duration,
    raise: impl Fn(&Path) -> Result<u64>,
) -> Result<Held> {
    let deadline = Instant::now() + wait;
    let held = loop {
        let path = newest(first);
        if try_lock(&path)? {
            let mut held = Held { path, epoch: 0 };
            match raise(&held.path) {
                Ok(epoch) => held.epoch = epoch,
                // passed over between the two
                Err(e) if e.is_race() => continue,
                Err(e) => return Err(e),
            }
            break held;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(match who(first)? {
                Some(other) => declined(name, &other),
                None => Error::new(
                    Kind::Declined,
                    format!("the run lock of {name:?} was taken by another just now"),
                )
                .hint("the same command again"),
            });
        }
        // the system offers no wait with a limit for these locks
        std::thread::sleep(left.min(Duration::from_millis(50)));
    };
    let path = held.path.as_path();
    let facts = Holder { epoch: held.epoch, ..holder.clone() };
    let text = serde_json::to_string(&facts).map_err(|e| failed(path, e))? + "\n";
    let files = files();
    if let Some(file) = files.get(path).and_then(|known| known.writing.as_ref()) {
        file.write_all_at(text.as_bytes(), 0)
            .and_then(|()| file.set_len(text.len() as u64))
            .map_err(|e| failed(path, e))?;
    }
    drop(files);
    Ok(held)
}

/// The refusal that names who holds it.
pub(super) fn declined(name: &str, other: &Holder) -> Error {
    Error::new(
        Kind::Declined,
        format!(
            "{name:?} is being upgraded: run {:?} of {} (process {}, epoch {}) holds the lock since {}",
            other.run, other.who, other.pid, other.epoch, other.since
        ),
    )
    .hint("wait for it (--lock-wait 10m), or take over from a dead or frozen operator (--take-over)")
}

fn try_lock(path: &Path) -> Result<bool> {
    let mut files = files();
    let known = files.entry(path.to_owned()).or_default();
    if known.held {
        return Ok(false);
    }
    if known.writing.is_none() {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        known.writing = Some(options.open(path).map_err(|e| failed(path, e))?);
    }
    let Some(file) = &known.writing else { return Ok(false) };
    match rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            known.held = true;
            Ok(true)
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(false),
        Err(e) => Err(failed(path, e)),
    }
}

/// Who holds the lock whose first file is `first`; changes nothing on disk.
pub(super) fn who(first: &Path) -> Result<Option<Holder>> {
    let deadline = Instant::now() + Duration::from_millis(500);
    loop {
        let Some((pid, facts)) = look(&newest(first))? else { return Ok(None) };
        match facts {
            // facts of an earlier holder: the lock was taken just now, and the new ones are being written
            Some(facts) if facts.pid == pid => return Ok(Some(facts)),
            _ if Instant::now() >= deadline => {
                let who = "somebody who left no name".to_owned();
                return Ok(Some(Holder { who, pid, ..Holder::default() }));
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn look(path: &Path) -> Result<Option<(u32, Option<Holder>)>> {
    let mut files = files();
    let known = files.entry(path.to_owned()).or_default();
    if known.writing.is_none() && known.reading.is_none() {
        match File::open(path) {
            Ok(file) => known.reading = Some(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(path, e)),
        }
    }
    let Some(file) = known.writing.as_ref().or(known.reading.as_ref()) else { return Ok(None) };
    let pid = if known.held {
        std::process::id()
    } else {
        let wanted = Flock { typ: FlockType::WriteLock, ..Flock::from(FlockType::WriteLock) };
        match rustix::process::fcntl_getlk(file, &wanted).map_err(|e| failed(path, e))? {
            Some(lock) => lock.pid.map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs()),
            None => return Ok(None),
        }
    };
    let mut text = vec![0; 4096];
    let read = file.read_at(&mut text, 0).map_err(|e| failed(path, e))?;
    let line = text.get(..read).unwrap_or_default().split(|byte| *byte == b'\n').next();
    Ok(Some((pid, line.and_then(|line| serde_json::from_slice(line).ok()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_of_somebody_else_is_told_with_whose_it_is() {
        let told =
            |path: &Path| failed(path, "Permission denied").advice().map(str::to_owned).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(told(file.path()).contains("writable by you"));
        let theirs = [Path::new("/proc/1/stat"), file.path()].map(Path::to_owned);
        let other = rustix::process::geteuid().as_raw().wrapping_add(1);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&theirs[1], Some(other), None).unwrap();
            assert!(told(&theirs[1]).contains(&format!("belongs to user {other}")));
        } else {
            assert!(told(&theirs[0]).contains("belongs to user 0"));
        }
    }
}
