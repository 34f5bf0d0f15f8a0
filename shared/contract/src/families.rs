use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rs_model::member::{Admin, Member};
use rs_model::ready::{Configured, Sticky};
use rs_model::snapshot::Snapshot;
use rs_model::{Position, Server};

use crate::{Progress, Result, Secret, Work};

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket, absolute.
    Unix(String),
    /// Host and port.
    Tcp(String, u16),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix:{path}"),
            Endpoint::Tcp(host, port) if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Endpoint::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
        }
    }
}

/// A machine of the `Machines` family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The instance's id.
    pub id: String,
    /// Its address.
    pub address: IpAddr,
    /// The server's folder on it.
    pub home: String,
}

/// Where `managed` launches and ends a server.
///
/// Contract: `make` with the id of a machine that is there returns it; `end` of one that is gone is fine and leaves
/// no process behind; `alive` tells from the machine itself.
pub trait Machines: Send + Sync {
    /// The place in words.
    fn place(&self) -> String;
    /// Makes the machine `id`; `used` are the addresses that are taken.
    fn make(&self, id: &str, used: &[IpAddr]) -> Result<Machine>;
    /// Whether it is there.
    fn alive(&self, machine: &Machine) -> Result<bool>;
    /// Ends it: no process of it is left when this returns; its folder is removed.
    fn end(&self, machine: &Machine, work: Work) -> Result<()>;
    /// How to reach it.
    fn channel(&self, machine: &Machine) -> Result<Box<dyn Channel>>;
}

/// A command on a server. An argument list, never a shell line.
#[derive(Clone, Default)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// What of the environment is secret.
    pub secrets: BTreeMap<String, Secret>,
    /// Fed to it.
    pub stdin: Vec<u8>,
    /// Working directory, absolute; absent: the server's home.
    pub cwd: Option<String>,
    /// Ended with all its children after this.
    pub timeout: Duration,
}

/// Without what may be secret: of the secrets their names, of stdin its length.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("argv", &self.argv)
            .field("env", &self.env)
            .field("secrets", &self.secrets)
            .field("stdin", &format_args!("{} bytes", self.stdin.len()))
            .field("cwd", &self.cwd)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// What a command said. Output is one stream, as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Exit status; 128 + N when a signal ended it.
    pub exit: i32,
    /// stdout and stderr in the order in which they came.
    pub text: String,
    /// Milliseconds.
    pub ms: u64,
}

/// How we reach a server, whoever launched it.
///
/// Contract: `put` is atomic (a new file, flushed, renamed) and `get` of a missing file is
/// [`crate::Kind::NotFound`]; relative paths begin at the server's home; a command that outlives its time is ended
/// ([`crate::Kind::TimedOut`]); daemons that a command leaves behind live on.
pub trait Channel: Send + Sync {
    /// The server in words.
    fn place(&self) -> String;
    /// The server's home, absolute.
    fn home(&self) -> &str;
    /// Runs a command; each line goes to `line` as it comes.
    fn run(&self, command: &Command, line: Progress<'_>) -> Result<Output>;
    /// Reads a file.
    fn get(&self, path: &str) -> Result<Vec<u8>>;
    /// Writes a file atomically with these permission bits.
    fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<()>;
    /// Removes a file; absent is fine.
    fn remove(&self, path: &str) -> Result<()>;
    /// Where *we* connect to reach that endpoint of the server: the same for `local`, a forwarded one for others.
    fn reach(&self, endpoint: &Endpoint) -> Result<Endpoint>;
}

/// One wish for one member, known by address and port.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Present with this administrative state; added when absent.
    Present {
        /// Where requests go.
        address: IpAddr,
        /// TCP port.
        port: u16,
        /// Name to give it when it is added: a word made of the server's name.
        id: String,
        /// Ready, drain or maint.
        admin: Admin,
    },
    /// Gone. Traffic in flight is ended first: drain before, when it matters.
    Absent {
        /// Where requests went.
        address: IpAddr,
        /// TCP port.
        port: u16,
    },
}

/// Pools and members of one balancer.
///
/// Contract: `members` is the runtime's truth through every process; `apply` does all changes of one pool in one
/// batch, reads back, and keeps what survives a reload in step (or says in [`Member::saved`] that it cannot);
/// an unknown pool is [`crate::Kind::NotFound`]; a repeated `apply` changes nothing; `prepare` changes nothing that
/// serves, and an `apply` of the same changes by the same driver need not look again at what it has looked at.
pub trait Balancer: Send + Sync {
    /// The balancer in words.
    fn place(&self) -> String;
    /// Names of its pools.
    fn pools(&self) -> Result<Vec<String>>;
    /// Members of one pool, in the balancer's order.
    fn members(&self, pool: &str) -> Result<Vec<Member>>;
    /// Whether its process is there at all, when it does not say what it carries: one that is frozen, or that cannot be
    /// reached, may be.
    fn may_run(&self) -> bool;
    /// Looks at everything of the changes that can be looked at before: what `apply` would refuse is refused.
    fn prepare(&self, pool: &str, changes: &[Change]) -> Result<()>;
    /// Makes the changes, all in one batch, and returns the members read back.
    fn apply(&self, pool: &str, changes: &[Change]) -> Result<Vec<Member>>;
    /// Whether what survives a reload can be kept in step; the reason why not is the error.
    fn can_save(&self, pool: &str) -> Result<()>;
    /// What ties users to a member of a pool; absent when the configuration is out of reach.
    fn sticky(&self, pool: &str) -> Result<Option<Sticky>>;
    /// The configuration's digest, our own lines left out, and the processes.
    fn configured(&self) -> Result<Configured>;
    /// Ends the sessions of a member at once, in every process; how many there were.
    fn kill_sessions(&self, pool: &str, address: IpAddr, port: u16) -> Result<u64>;
}

/// An address at which a balancer answers clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// The maintenance page of one balancer.
///
/// Contract: `set` changes the runtime (in every process that still serves) and what survives a reload, both read
/// back; `prepare` checks everything that `set` needs and changes nothing that a client could see.
pub trait PageSwitch: Send + Sync {
    /// The balancer in words.
    fn place(&self) -> String;
    /// Runtime, then what survives a reload (absent when that cannot be read).
    fn active(&self, pool: &str) -> Result<(bool, Option<bool>)>;
    /// Each process that still serves, in words, with whether it shows the page.
    fn processes(&self, pool: &str) -> Result<Vec<(String, bool)>>;
    /// Every address at which clients of the pool are answered: where the page must be seen. One that cannot be asked
    /// as it is written, and is not named otherwise, is [`crate::Kind::Declined`].
    fn listens(&self, pool: &str) -> Result<Vec<Listen>>;
    /// What the page must look like; absent when that cannot be known.
    fn content(&self, pool: &str) -> Result<Option<Vec<u8>>>;
    /// Checks (and puts) page file and rule; `page` replaces the page's content, at most 15,000 bytes.
    fn prepare(&self, pool: &str, page: Option<&[u8]>) -> Result<()>;
    /// Switches.
    fn set(&self, pool: &str, on: bool) -> Result<()>;
}

/// A records.
///
/// Contract: `set` returns after the authoritative server answers with the new addresses; an empty list removes the
/// name; `lookup` of a name that is not there is an empty list, a server that does not answer
/// [`crate::Kind::Unreachable`].
pub trait Dns: Send + Sync {
    /// The server in words.
    fn place(&self) -> String;
    /// A records as the authoritative server gives them, sorted, and their time to live in seconds.
    fn lookup(&self, name: &str) -> Result<(Vec<Ipv4Addr>, Option<u32>)>;
    /// Whether the name has AAAA records too.
    fn has_aaaa(&self, name: &str) -> Result<bool>;
    /// Whether what is needed to change records is accepted: an update that changes nothing, where the driver has one.
    fn try_key(&self) -> Result<String>;
    /// Replaces the A records of a name.
    fn set(&self, name: &str, addresses: &[Ipv4Addr], ttl_seconds: u32) -> Result<()>;
}

/// Silence and what fires.
pub trait Alerts: Send + Sync {
    /// The alert system in words.
    fn place(&self) -> String;
    /// Silences the alerts of a server until `until` (RFC 3339 UTC).
    fn quench(&self, deployment: &str, server: &Server, until: &str, reason: &str) -> Result<()>;
    /// Ends the silence.
    fn unquench(&self, deployment: &str, server: &Server) -> Result<()>;
    /// What fires now, as sentences.
    fn firing(&self, deployment: &str, server: &Server) -> Result<Vec<String>>;
    /// Whether the server is silenced.
    fn quenched(&self, deployment: &str, server: &Server) -> Result<bool>;
}

/// Backups of one database server.
///
/// Contract: a snapshot is listed as perfect only after it is complete on disk and renamed into place; a broken one
/// is listed as not perfect or not at all; `take` with a label that is there returns that snapshot; `restore`
/// refuses a server whose database answers; `remove` refuses a pinned one.
pub trait Snapshots: Send + Sync {
    /// The store in words.
    fn place(&self) -> String;
    /// Every snapshot of the lineage, oldest first.
    fn list(&self, lineage: &str) -> Result<Vec<Snapshot>>;
    /// Reads a snapshot of the server that this driver was opened for. `wanted` has lineage, label, server, pinned.
    fn take(&self, wanted: &Snapshot, work: Work, progress: Progress<'_>) -> Result<Snapshot>;
    /// Puts a snapshot's data in the place of the server's (its database is stopped) and makes it startable;
    /// returns the position that the data stands for.
    fn restore(&self, snapshot: &Snapshot, work: Work, progress: Progress<'_>) -> Result<Position>;
    /// Restores a snapshot into a scratch place, starts its database there without network, asks it, and removes it
    /// again; the server's own data stays out of reach. Returns what was seen.
    fn prove(&self, snapshot: &Snapshot, work: Work, progress: Progress<'_>) -> Result<String>;
    /// Pins or unpins.
    fn pin(&self, lineage: &str, id: &str, pinned: bool) -> Result<()>;
    /// Notes that a restore was proven, RFC 3339 UTC.
    fn note_proven(&self, lineage: &str, id: &str, at: &str) -> Result<()>;
    /// Removes one that is not pinned.
    fn remove(&self, lineage: &str, id: &str) -> Result<()>;
}
