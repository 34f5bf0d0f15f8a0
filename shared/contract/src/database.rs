use std::collections::BTreeMap;
use std::time::Duration;

use rs_model::Position;
use rs_model::migration::Migration;
use rs_model::price::Written;
use rs_model::ready::Survey;
use rs_model::replica::{Identity, Replica};
pub use rs_model::silence::{Privileged, Session, SilenceFacts};
use rs_model::takeover::Attached;
use serde::{Deserialize, Serialize};

use crate::{Progress, Result, Secret, Work};

/// Whether writes are off, and what `on` has to restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritesState {
    /// Whether writes are off (of what `writes_off` returns: whether they were before).
    pub off: bool,
    /// Writes are on for accounts that migrate, and off for all others: where the engine's strongest lock stops those
    /// too (MySQL's `super_read_only`), a migration has it lowered for its own run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lowered: bool,
    /// The event scheduler as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_before: Option<String>,
    /// Whether the option file keeps it over a restart; absent when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives_restart: Option<bool>,
}

/// A setting of a server that a run changes for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The binary log is kept until somebody says otherwise: a held slave, and the price, need it.
    KeptBinlogs,
    /// What a slave received is on its disk at once: what was not would be waited for in the window.
    SyncedRelayLog,
}

/// How a slave reaches its source.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Host or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Replication account.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// What a migration tells while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrationEvent {
    /// Number of the statement, from 1.
    pub statement: usize,
    /// How many there are.
    pub of: usize,
    /// Its text, cut at 200 characters.
    pub text: String,
    /// Milliseconds that are still expected for this statement, by what it has done so far; absent when the engine does
    /// not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// Percent done as the engine says; absent when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Milliseconds so far.
    pub ms: u64,
}

/// One database server: replication, writes, migration, promotion.
///
/// Contract: facts are read on this server, now, by column name; nothing is assumed of what could not be read
/// (that is an error); every wait has a positive limit; only the exact answer counts; a lost connection is
/// [`crate::Kind::Unreachable`], a refused password [`crate::Kind::Failed`] that names the account, not the secret.
pub trait Database: Send + Sync {
    /// The server in words. Never holds a secret.
    fn place(&self) -> String;
    /// From here on an ordinary answer that takes longer than that counts as none, where the usual limit is longer.
    fn answer_within(&mut self, limit: Duration);
    /// Who it is.
    fn identity(&self) -> Result<Identity>;
    /// The position of its own binary log, on a fresh connection. Empty when it has none.
    fn position(&self) -> Result<Position>;
    /// What it is as a slave, on a fresh connection.
    fn replica(&self) -> Result<Replica>;
    /// Waits until `position` is applied here; true only for the exact answer.
    fn wait_applied(&self, position: &Position, limit: Duration) -> Result<bool>;
    /// Writes a fresh nonce into our own schema (`rs_tools`): the last write before a freeze.
    fn write_canary(&self, nonce: &str) -> Result<()>;
    /// The newest nonce that is here; absent when there is none.
    fn read_canary(&self) -> Result<Option<String>>;
    /// How many canaries were ever written, as far as this server knows: they count in no price.
    fn canaries(&self) -> Result<u64>;
    /// To which tables the transactions between two positions of its own binary log wrote, as the log tells.
    fn written(&self, from: &Position, to: &Position, limit: Duration) -> Result<Written>;

    /// Who could write. `allowed` are accounts that may (heartbeats).
    fn silence(&self, allowed: &[String]) -> Result<SilenceFacts>;
    /// Who hangs on it: sessions whose accounts can change rows when writes are on (not ours, not replication's, not
    /// those of the accounts `allowed` or of its own machine), and slaves that read from it. A session that ends by itself does not count.
    fn attached(&self, allowed: &[String]) -> Result<Attached>;
    /// What it says of itself before a window; nothing is changed.
    fn survey(&self) -> Result<Survey>;
    /// Read-only on, sessions that could write ended, events off; gives up within `limit` and names what is in the
    /// way. Returns what `writes_on` has to restore.
    fn writes_off(&self, allowed: &[String], limit: Duration) -> Result<WritesState>;
    /// Puts back exactly what was before.
    fn writes_on(&self, before: &WritesState) -> Result<()>;
    /// What other engines have and this one has not, by name and with the reason.
    fn unsupported(&self) -> Result<Vec<String>>;
    /// Whether a migration while writes are off needs [`Database::lowered`].
    fn lowers(&self) -> Result<bool>;
    /// Does the work of a migration with the engine's strongest lock lowered to one that lets accounts with the
    /// privilege write, and raises it in every exit. First sessions that could then write are ended, and those that
    /// come meanwhile, but for our own and those of the accounts `allowed`: a script that migrates has an account, and
    /// no mark of ours. `progress` is told of each. Where nothing has to be lowered, or writes are on, it only does
    /// the work. What a kill left lowered is raised by the next run, and by `writes_off`.
    fn lowered(
        &self,
        allowed: &[String],
        work: &mut dyn FnMut() -> Result<()>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<()>;
    /// Whether writes are off.
    fn writes(&self) -> Result<WritesState>;

    /// Makes this server a slave that continues at `position`, read-only, and starts it. One that already
    /// replicates from there is left alone.
    fn follow(&self, source: &SourceSpec, position: &Position) -> Result<()>;
    /// Stops, waits until all that was received is applied, and sets the source to a host that cannot exist: a
    /// restart or a stray start replays nothing. Returns the position at which it is held.
    fn hold(&self, limit: Duration) -> Result<Position>;
    /// Ends a hold: the source as it was, and start.
    fn resume(&self, source: &SourceSpec) -> Result<()>;
    /// What a setting is now.
    fn setting(&self, setting: Setting) -> Result<String>;
    /// What a run makes of a setting.
    fn changed_setting(&self, setting: Setting) -> String;
    /// Changes a setting, over a restart too where the option file is reached; whether it is. Absent: puts back this
    /// value, and nothing is left in the option file.
    fn change_setting(&self, setting: Setting, back: Option<&str>) -> Result<bool>;
    /// Ends replication for good and opens for writes: the last act of a promotion.
    fn promote(&self) -> Result<Position>;

    /// A fingerprint of every table's definition in a schema (SHA-256, hexadecimal).
    fn schema_fingerprint(&self, schema: &str) -> Result<String>;
    /// What makes up that fingerprint, by name: tables, routines and the like, each with its definition as text.
    fn schema_parts(&self, schema: &str) -> Result<BTreeMap<String, String>>;
    /// Every migration that this server's data knows, from the token table beside it, in the order of their begin.
    fn migrations(&self) -> Result<Vec<Migration>>;
    /// How many statements of a migration are done, and of how many: `None` when nothing of it was noted.
    fn migration_state(&self, token: &str) -> Result<Option<(usize, usize)>> {
        let found = self.migrations()?.into_iter().find(|one| one.token == token);
        Ok(found.map(|one| (one.done, one.statements)))
    }
    /// Runs statements once, under `token`: those done are skipped, the one cut off is settled by looking.
    fn migrate(
        &self,
        token: &str,
        schema: &str,
        statements: &[String],
        work: Work,
        event: &(dyn Fn(&MigrationEvent) + Sync),
    ) -> Result<()>;
    /// Runs a script, a black box, under `token`: it is noted as begun, is running while `work` does, and then is done
    /// or (when `work` says false, or fails) failed. After a kill it is failed too: begun, and nobody runs it.
    fn script(
        &self,
        token: &str,
        schema: &str,
        work: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<()>;
    /// Rows and sizes: free bytes needed by the largest table of a schema.
    fn largest_table_bytes(&self, schema: &str) -> Result<u64>;
    /// Bytes of one table with its indexes, as they are now; absent when there is no such table.
    fn table_bytes(&self, schema: &str, table: &str) -> Result<Option<u64>>;
    /// Ends sessions of an account at once (after a promotion, on the old master); how many.
    fn kill_sessions(&self, allowed: &[String], progress: Progress<'_>) -> Result<u64>;
    /// Every table of the site's own schemas, as schema and name: not the server's, not our own.
    fn tables(&self) -> Result<Vec<(String, String)>>;
    /// The server's checksum over all rows of a table; absent when there is no such table. What takes longer than
    /// `limit` is ended on the server too, and [`crate::Kind::TimedOut`].
    fn checksum(&self, schema: &str, table: &str, limit: Duration) -> Result<Option<String>>;
    /// One value of one row, for checks and counters that are written by us.
    fn scalar(&self, sql: &str) -> Result<Option<String>>;
}
