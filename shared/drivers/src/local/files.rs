//! Files of a server: read and written as the server's user, so that a link planted by the server leads no farther
//! than that user could go himself.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use rs_contract::{Error, Kind, Result};

use super::beneath::{Beneath, Tried};
use super::config::User;

/// Exit status of our one-liners for a file that is not there.
const ABSENT: i32 = 44;

/// As whom files are read and written.
pub struct Files<'a> {
    /// Another user; absent: ourselves.
    pub user: Option<&'a User>,
    /// The server's home.
    pub home: &'a Path,
    /// For messages.
    pub place: &'a str,
}

impl Files<'_> {
    /// Reads a file.
    pub fn get(&self, path: &Path) -> Result<Vec<u8>> {
        if let Some(user) = self.user {
            return match (Beneath { home: self.home, user }).get(path) {
                Tried::Done(content) => Ok(content),
                Tried::Failed(e) => Err(self.failed(path, "read", &e)),
                Tried::Otherwise => {
                    self.ask(path, r#"[ -e "$1" ] || exit 44; exec cat -- "$1""#, &[], "read")
                }
            };
        }
        std::fs::read(path).map_err(|e| self.failed(path, "read", &e))
    }

    /// Writes a file atomically: a new one, flushed, renamed.
    pub fn put(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        if let Some(user) = self.user {
            match (Beneath { home: self.home, user }).put(path, content, mode) {
                Tried::Done(()) => return Ok(()),
                Tried::Failed(e) => return Err(self.failed(path, "written", &e)),
                Tried::Otherwise => {}
            }
            // what we send may be cut short when we are killed: only all of it gets the name
            let write = format!(
                r#"set -e; d=$(dirname -- "$1"); mkdir -p -- "$d"; [ ! -d "$1" ] || {{ echo "it is a folder" >&2; exit 1; }}
                umask 077; t=$(mktemp -- "$d/.rs-XXXXXXXXXX"); trap 'rm -f -- "$t"' EXIT
                cat >"$t"; [ "$(stat -c %s -- "$t")" = {} ]; chmod {:o} -- "$t"; sync -- "$t"; mv -T -- "$t" "$1"
                sync -- "$d""#,
                content.len(),
                mode & 0o7777
            );
            return self.ask(path, &write, content, "written").map(|_| ());
        }
        let write = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::Builder::new().prefix(".rs-").tempfile_in(folder)?;
            file.write_all(content)?;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode & 0o7777))?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|e| e.error)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().map_err(|e| self.failed(path, "written", &e))
    }

    /// Removes a file; absent is fine.
    pub fn remove(&self, path: &Path) -> Result<()> {
        if let Some(user) = self.user {
            match (Beneath { home: self.home, user }).remove(path) {
                Tried::Done(()) => return Ok(()),
                Tried::Failed(e) => return Err(self.failed(path, "removed", &e)),
                Tried::Otherwise => {}
            }
            return self.ask(path, r#"exec rm -f -- "$1""#, &[], "removed").map(|_| ());
        }
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(self.failed(path, "removed", &e))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, path: &Path, verb: &str, why: &std::io::Error) -> Error {
        let kind = match why.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Failed,
        };
        Error::new(kind, format!("{} on {} cannot be {verb}", path.display(), self.place))
            .because(why)
    }

    /// Runs a fixed shell text as the user; the path is its `$1`, never part of the text.
    fn ask(&self, path: &Path, text: &str, input: &[u8], verb: &str) -> Result<Vec<u8>> {
        let io = |e: std::io::Error| self.failed(path, verb, &e);
        let mut command = std::process::Command::new("/usr/bin/timeout");
        command
            .args(["60", "/bin/sh", "-c", text, "sh"])
            .arg(path)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        let mut child = command.spawn().map_err(io)?;
        let mut stdin = child.stdin.take();
        let out = std::thread::scope(|scope| {
            scope.spawn(move || {
                // one that ends before it read all says why by its exit status
                stdin.take().map(|mut stdin| stdin.write_all(input))
            });
            child.wait_with_output()
        })
        .map_err(io)?;
        match out.status.code() {
            Some(0) => Ok(out.stdout),
            code => {
                let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
                let kind = if code == Some(ABSENT) { Kind::NotFound } else { Kind::Failed };
                let why = match code {
                    Some(ABSENT) => "there is no such file".to_owned(),
                    Some(124) => "it took longer than 60 s".to_owned(),
                    _ => said,
                };
                Err(Error::new(
                    kind,
                    format!("{} on {} cannot be {verb}", path.display(), self.place),
                )
                .because(why))
            }
        }
    }
}
