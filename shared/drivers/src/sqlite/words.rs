//! SQLite's words: statements, and what its errors mean for a person.

use std::path::Path;

use rs_contract::{Error, Kind};
use rusqlite::ErrorCode;
use sha2::{Digest, Sha256};

/// `application_id` of our files, so that somebody else's database is not taken for ours ("rs-1").
pub(super) const APPLICATION: i64 = 0x7273_2d31;

/// `user_version` of the layout below.
pub(super) const LAYOUT: i64 = 1;

/// Keys keep their row when they are removed (`value` NULL): versions go on counting.
pub(super) const CREATE: &str = "
CREATE TABLE entry (key TEXT PRIMARY KEY, version INTEGER NOT NULL, value TEXT) WITHOUT ROWID;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

pub(super) const GET: &str =
    "SELECT version, value FROM entry WHERE key = ?1 AND value IS NOT NULL";

/// From the prefix on; the caller stops at the first key without it (keys compare as bytes).
pub(super) const FROM: &str = "SELECT key, version, value FROM entry \
     WHERE key >= ?1 AND value IS NOT NULL ORDER BY key";

pub(super) const PUT: &str = "INSERT INTO entry (key, version, value) VALUES (?1, 1, ?2) \
     ON CONFLICT (key) DO UPDATE SET version = version + 1, value = excluded.value";

pub(super) const DELETE: &str = "UPDATE entry SET value = NULL WHERE key = ?1";

pub(super) const COUNT: &str = "INSERT INTO counter (name, value) VALUES (?1, 1) \
     ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value";

/// The file of a run lock, beside the database: readable, and unique for every name whatever is in it.
pub(super) fn lock_file(database: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' })
        .take(40)
        .collect();
    let digest: String =
        Sha256::digest(name.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{database}.lock-{plain}-{digest}")
}

/// What an error of SQLite means, on which file, and what to try.
pub(super) fn error(path: &Path, doing: &str, e: &rusqlite::Error) -> Error {
    let shown = path.display();
    let (code, extended) = match e {
        rusqlite::Error::SqliteFailure(failure, _) => (Some(failure.code), failure.extended_code),
        _ => (None, 0),
    };
    let made = |kind, what: String, hint: String| Error::new(kind, what).because(e).hint(hint);
    match code {
        Some(ErrorCode::NotADatabase) => made(
            Kind::Usage,
            format!("{shown} is no SQLite database"),
            "look at RS_CLOUD and RS_STATE: sqlite:PATH names the file of the state store".into(),
        ),
        Some(ErrorCode::DiskFull) => made(
            Kind::Failed,
            format!("the disk is full under {shown} ({doing})"),
            format!(
                "make room (df '{shown}'), then the same command again: all or nothing was written"
            ),
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => made(
            Kind::TimedOut,
            format!("{shown} is kept busy by another process ({doing})"),
            format!("fuser -v '{shown}' shows which; then the same command again"),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => made(
            Kind::Failed,
            format!("{shown} cannot be written or opened ({doing})"),
            format!(
                "the file and its folder must be readable and writable by you: ls -ld '{shown}' '{}'",
                path.parent().unwrap_or(path).display()
            ),
        ),
        Some(ErrorCode::DatabaseCorrupt) => made(
            Kind::Failed,
            format!("{shown} is damaged ({doing})"),
            format!("stop all tools, copy the file, then: sqlite3 '{shown}' .recover"),
        ),
        Some(ErrorCode::SystemIoFailure) => made(
            Kind::Failed,
            format!("{shown} cannot be read or written ({doing}, code {extended})"),
            format!("look at the disk: df '{shown}'; dmesg"),
        ),
        _ => made(
            Kind::Failed,
            format!("the state store {shown} failed ({doing})"),
            format!("sqlite3 '{shown}' 'PRAGMA integrity_check'"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_safe_and_unique_whatever_the_name_holds() {
        let odd = lock_file("s.db", "a/../b 'c\"; $(x)");
        assert!(odd.starts_with("s.db.lock-a_.._b__c_____x_-"), "{odd}");
        assert!(!odd["s.db.lock-".len()..].contains(['/', ' ', '\'', '"', '$', ';']));
        assert_ne!(lock_file("s.db", "a b"), lock_file("s.db", "a_b"));
        assert!(lock_file("s.db", &"x".repeat(200)).len() < 80);
    }
}
