//! Backups in a folder: `BACKUP_DIR/LINEAGE/ID/` with `metadata.json` and `data/`.
//!
//! Everything is done through the server's [`Channel`], also listing, since the folder belongs to the server's user
//! and may lie where only that user can read. Without a channel (a server that nobody of ours launched) the folder is
//! taken to be on this machine: what is there can be listed, pinned and pruned, nothing taken or restored.
//!
//! Inputs: `BACKUP_DIR` (absolute, shared by the servers of a set), `DB_DATA_DIR`, `DB_OPTION_FILE`, `DB_CONNECT`,
//! `DB_SOCKET`, `DB_PORT`; for `mariabackup` also `DBADMIN_USER`, `DBADMIN_PASSWORD` (needs RELOAD, PROCESS, LOCK TABLES, BINLOG
//! MONITOR and REPLICA MONITOR; for `mysqlclone` BACKUP_ADMIN and the clone plugin). On the server: `mariadb-backup`,
//! `mariadbd`, `mariadb`, or `mysqld` and `mysql`; util-linux and coreutils.

#[cfg(test)]
mod fuzz_tests;
mod store;
mod words;

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rs_contract::{Channel, Endpoint, Error, Kind, Progress, Result, Snapshots, Work};
use rs_model::Position;
use rs_model::snapshot::Snapshot;

use crate::settings::Settings;
use store::{Store, Taking};

/// `mariabackup`: physical backup of a running MariaDB by mariadb-backup, made startable at once.
pub fn mariabackup(
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
) -> Result<Box<dyn Snapshots>> {
    open(settings, channel, Way::Mariabackup)
}

/// `mysqlclone`: MySQL's own copy of a running server (CLONE), recovered at once so that it is startable.
pub fn mysqlclone(
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
) -> Result<Box<dyn Snapshots>> {
    open(settings, channel, Way::Mysqlclone)
}

/// `filesystem`: a copy of the data folder of a cleanly stopped server, sharing blocks where the file system can.
pub fn filesystem(
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
) -> Result<Box<dyn Snapshots>> {
    open(settings, channel, Way::Filesystem)
}

const MARIABACKUP: &str =
    concat!(include_str!("sh/begin.sh"), "\n", include_str!("sh/mariabackup.sh"));
const MYSQLCLONE: &str = concat!(
    include_str!("sh/beside.sh"),
    "\n",
    include_str!("sh/begin.sh"),
    "\n",
    include_str!("sh/mysqlclone.sh")
);
const FILESYSTEM: &str = concat!(
    "data=$5\n",
    include_str!("sh/stopped.sh"),
    "\n",
    include_str!("sh/begin.sh"),
    "\n",
    include_str!("sh/filesystem.sh")
);
const RESTORE: &str = concat!(
    "set -eu\numask 077\ndata=$2\n",
    include_str!("sh/stopped.sh"),
    "\n",
    include_str!("sh/restore.sh")
);
const PROVE: &str = concat!(include_str!("sh/beside.sh"), "\n", include_str!("sh/prove.sh"));

/// How long we try to reach a database that should be stopped.
const KNOCK: Duration = Duration::from_millis(500);

enum Way {
    Mariabackup,
    Mysqlclone,
    Filesystem,
}

struct Backups {
    way: Way,
    store: Store,
    settings: Settings,
    data: String,
    socket: String,
}

fn open(
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
    way: Way,
) -> Result<Box<dyn Snapshots>> {
    let root = settings.path_of(&settings.need("BACKUP_DIR")?);
    let data = settings.path_of(&settings.or("DB_DATA_DIR", "data")?);
    let socket = settings.path_of(&settings.or("DB_SOCKET", "run/mysqld.sock")?);
    Ok(Box::new(Backups {
        way,
        store: Store::new(root, channel),
        settings: settings.clone(),
        data: data.trim_end_matches('/').to_owned(),
        socket,
    }))
}

impl Backups {
    /// The folder that a restore replaces: refused when it looks like none of ours.
    fn data(&self, channel: &dyn Channel) -> Result<&str> {
        let deep = self.data.split('/').filter(|part| !part.is_empty()).count();
        if !self.data.starts_with('/') || deep < 2 || channel.home().starts_with(&self.data) {
            return Err(Error::new(
                Kind::Usage,
                format!("DB_DATA_DIR of {} is {:?}", self.settings.subject, self.data),
            )
            .hint("it must be a folder of the database's own, below the server's home"));
        }
        Ok(&self.data)
    }

    /// The server's own option file, for the engine's paths and formats.
    fn server_options(&self) -> Result<String> {
        Ok(self.settings.path_of(&self.settings.or("DB_OPTION_FILE", "etc/my.cnf")?))
    }

    /// The option file with account and way to the database, for one program alone.
    fn options(&self, channel: &dyn Channel, program: &str) -> Result<String> {
        let user = self.settings.need("DBADMIN_USER")?;
        let password = self.settings.secret("DBADMIN_PASSWORD")?;
        // as every other tool reaches it: over TCP and over the socket one name may be two accounts
        let by_socket = self.settings.or("DB_CONNECT", "tcp")? == "socket";
        let mut lines = vec![
            format!("[{program}]"),
            format!("user={}", words::quoted(&user)),
            format!("password={}", words::quoted(password.expose())),
        ];
        if program == "mariadb-backup" {
            lines.push(format!("datadir={}", words::quoted(self.data(channel)?)));
        }
        if by_socket {
            lines.push(format!("socket={}", words::quoted(&self.socket)));
        } else {
            lines.push(format!("host={}", self.settings.address()?));
            lines.push(format!("port={}", self.settings.port("DB_PORT", 3306)?));
        }
        Ok(lines.join("\n") + "\n")
    }

    fn declined_when_it_answers(&self, channel: &dyn Channel) -> Result<()> {
        let answers = |endpoint: Endpoint| -> bool {
            match channel.reach(&endpoint) {
                Ok(Endpoint::Unix(path)) => UnixStream::connect(path).is_ok(),
                Ok(Endpoint::Tcp(host, port)) => (host.as_str(), port)
                    .to_socket_addrs()
                    .ok()
                    .and_then(|mut all| all.next())
                    .is_some_and(|to| TcpStream::connect_timeout(&to, KNOCK).is_ok()),
                Err(_) => false,
            }
        };
        let mut endpoints = vec![Endpoint::Unix(self.socket.clone())];
        if let Ok(address) = self.settings.address() {
            endpoints
                .push(Endpoint::Tcp(address.to_string(), self.settings.port("DB_PORT", 3306)?));
        }
        match endpoints.into_iter().find(|endpoint| answers(endpoint.clone())) {
            Some(endpoint) => Err(Error::new(
                Kind::Declined,
                format!("the database of {} answers at {endpoint}", self.settings.subject),
            )
            .hint("stop it first: rs-run with the script that stops the database")),
            None => Ok(()),
        }
    }
}

impl Snapshots for Backups {
    fn place(&self) -> String {
        format!("backups in {}", self.store.root)
    }

    fn list(&self, lineage: &str) -> Result<Vec<Snapshot>> {
        self.store.list(lineage)
    }

    fn take(&self, wanted: &Snapshot, work: Work, progress: Progress<'_>) -> Result<Snapshot> {
        let channel = self.store.channel("a backup is taken")?;
        let taking = match self.way {
            Way::Mariabackup => Taking {
                script: MARIABACKUP,
                args: vec![self.data(channel)?.to_owned()],
                stdin: self.options(channel, "mariadb-backup")?.into_bytes(),
                what: "a backup by mariadb-backup",
            },
            Way::Mysqlclone => Taking {
                script: MYSQLCLONE,
                args: vec![
                    self.data(channel)?.to_owned(),
                    self.server_options()?,
                    work.timeout.as_secs().max(1).to_string(),
                ],
                stdin: self.options(channel, "mysql")?.into_bytes(),
                what: "a backup by CLONE",
            },
            Way::Filesystem => {
                self.declined_when_it_answers(channel)?;
                Taking {
                    script: FILESYSTEM,
                    args: vec![self.data(channel)?.to_owned()],
                    stdin: Vec::new(),
                    what: "a copy of the data folder",
                }
            }
        };
        self.store.take(&self.settings.subject, wanted, &taking, work, progress)
    }

    fn restore(&self, snapshot: &Snapshot, work: Work, progress: Progress<'_>) -> Result<Position> {
        let channel = self.store.channel("a backup is restored")?;
        let there = self.store.whole(&snapshot.lineage, &snapshot.id)?;
        self.declined_when_it_answers(channel)?;
        let folder = self.store.folder(&there);
        progress(&format!("copying {} bytes", there.bytes));
        let what = format!("restoring {:?} on {}", there.id, self.settings.subject);
        self.store.run(&what, RESTORE, &[&folder, self.data(channel)?], &[], work, progress)?;
        Ok(there.position)
    }

    fn prove(&self, snapshot: &Snapshot, work: Work, progress: Progress<'_>) -> Result<String> {
        self.store.channel("a backup is proven")?;
        let there = self.store.whole(&snapshot.lineage, &snapshot.id)?;
        let folder = self.store.folder(&there);
        let options = self.server_options()?;
        let seconds = work.timeout.as_secs().max(1).to_string();
        let what = format!("proving {:?} on {}", there.id, self.settings.subject);
        let output =
            self.store.run(&what, PROVE, &[&folder, &options, &seconds], &[], work, progress)?;
        let facts = words::facts(&output.text);
        let fact = |name: &str| facts.get(name).cloned().unwrap_or_default();
        Ok(format!("started, {} tables checked by {}", fact("tables"), fact("engine")))
    }

    fn pin(&self, lineage: &str, id: &str, pinned: bool) -> Result<()> {
        let mut there = self.store.whole(lineage, id)?;
        if there.pinned == pinned {
            return Ok(());
        }
        there.pinned = pinned;
        self.store.note(&there)
    }

    fn note_proven(&self, lineage: &str, id: &str, at: &str) -> Result<()> {
        let mut there = self.store.whole(lineage, id)?;
        there.proven_at = Some(at.to_owned());
        self.store.note(&there)
    }

    fn remove(&self, lineage: &str, id: &str) -> Result<()> {
        let there = self.store.list(lineage)?.into_iter().find(|there| there.id == id);
        let Some(there) = there else { return Ok(()) };
        if there.pinned {
            return Err(Error::new(Kind::Declined, format!("the backup {id:?} is pinned"))
                .hint(format!("if it may go: rs-snapshot pin --off {id}")));
        }
        if there.taking {
            return Err(Error::new(Kind::Declined, format!("{id:?} is being taken just now"))
                .hint("wait until it is complete"));
        }
        self.store.remove(&there)
    }
}
