//! Facts about a database server and its replication, in one vocabulary for every dialect.

use serde::{Deserialize, Serialize};

use crate::{Answer, Check, Position};

/// Who a database server is, asked of the server itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `@@server_id`.
    pub server_id: u64,
    /// `@@server_uuid` or `@@server_uid`; a restored copy can carry the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// `SELECT VERSION()`, whole.
    pub version: String,
}

/// One replication channel as the slave describes it. Absent is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Empty for the default connection.
    pub name: String,
    /// Host of its source.
    pub source_host: String,
    /// Port of its source.
    pub source_port: u16,
    /// Server id of its source as the slave learned it; 0 before the first contact.
    pub source_server_id: u64,
    /// `Yes`, `No`, `Connecting` or `Preparing`: the receiver.
    pub io_running: String,
    /// The applier.
    pub sql_running: String,
    /// Last error of either thread, empty when none.
    pub last_error: String,
    /// Seconds behind as the server says: NULL is `None`, and neither it nor 0 proves anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_behind: Option<u64>,
    /// Configured delay, seconds.
    pub delay_seconds: u64,
    /// Every filter that is set, as `NAME=VALUE`: databases, tables, domains, server ids.
    pub filters: Vec<String>,
    /// The UNTIL condition, `None` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Whether GTIDs are used.
    pub uses_gtid: bool,
    /// Position received.
    pub received: Position,
}

/// What a slave is, read in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Itself.
    pub identity: Identity,
    /// Its channels; none: it is no slave.
    pub channels: Vec<Channel>,
    /// Position *applied* (`@@gtid_slave_pos`, `@@gtid_executed`).
    pub applied: Position,
    /// Its own binary log (`@@gtid_binlog_pos`): foreign server ids in it are errant transactions.
    pub own: Position,
    /// Whether it is read-only.
    pub read_only: bool,
    /// `@@slave_skip_errors` and the like, `OFF` when none.
    pub skips_errors: String,
}

/// The host that a held slave's source is set to: never resolves, by standard.
pub const HELD_HOST: &str = "held.invalid";

impl Replica {
    /// Whether it is held: some channel's source is [`HELD_HOST`].
    pub fn is_held(&self) -> bool {
        self.channels.iter().any(|channel| channel.source_host == HELD_HOST)
    }
}

/// The facts that a proof of sync rests on, each read after the one before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncFacts {
    /// The master, asked directly.
    pub master: Identity,
    /// Whether the master was frozen (writes off, proven) when its position was read.
    pub master_frozen: bool,
    /// The master's position, read after the freeze.
    pub position: Position,
    /// The same, read again at the end on a fresh connection.
    pub position_after: Position,
    /// The nonce that we wrote to the master before the freeze; absent when none could be written.
    pub canary: Option<String>,
    /// What the slave shows in its place.
    pub canary_seen: Option<String>,
    /// The slave, read after the wait.
    pub slave: Replica,
    /// Whether the wait for `position` on the slave ended with exactly "applied".
    pub waited: bool,
}

/// Judges a slave: one check per conjunct, all named, none left out. In sync only if every answer is ok.
///
/// Source: step 21; `Seconds_Behind_Master: 0` proves nothing. Facts of the dialect are already in one vocabulary.
pub fn judge_sync(name: &str, facts: &SyncFacts) -> Vec<Check> {
    use crate::position::Gtids;
    let check = |conjunct: &str, good: bool, detail: String| {
        Check::new(conjunct, name, if good { Answer::Ok } else { Answer::No }, detail)
    };
    let mut checks = Vec::new();
    let slave = &facts.slave;
    checks.push(check(
        "one channel",
        slave.channels.len() == 1,
        format!("{} channels", slave.channels.len()),
    ));
    for channel in &slave.channels {
        checks.push(check(
            "source is the master",
            channel.source_server_id == facts.master.server_id,
            format!(
                "its source has server id {} ({}:{}), the master has {}",
                channel.source_server_id,
                channel.source_host,
                channel.source_port,
                facts.master.server_id
            ),
        ));
        checks.push(check(
            "receiver runs",
            channel.io_running == "Yes",
            format!("IO thread: {}", channel.io_running),
        ));
        checks.push(check(
            "applier runs",
            channel.sql_running == "Yes",
            format!("SQL thread: {}", channel.sql_running),
        ));
        checks.push(check("no errors", channel.last_error.is_empty(), channel.last_error.clone()));
        checks.push(check("no filters", channel.filters.is_empty(), channel.filters.join(", ")));
        checks.push(check(
            "no delay",
            channel.delay_seconds == 0,
            format!("delay of {} s", channel.delay_seconds),
        ));
        checks.push(check(
            "no UNTIL",
            channel.until.is_none(),
            channel.until.clone().unwrap_or_default(),
        ));
        checks.push(check("GTID in use", channel.uses_gtid, "Using_Gtid".into()));
    }
    checks.push(check(
        "no errors skipped",
        slave.skips_errors.is_empty() || slave.skips_errors == "OFF",
        slave.skips_errors.clone(),
    ));
    checks.push(check(
        "own server id",
        slave.identity.server_id != facts.master.server_id,
        format!("server id {}", slave.identity.server_id),
    ));
    checks.push(check("master frozen", facts.master_frozen, "writes off on the master".into()));
    let text = |p: &Position| p.gtid.clone().unwrap_or_default();
    let parsed = |p: &Position| Gtids::parse(&text(p)).ok().filter(|g| !g.is_empty());
    let (before, after) = (parsed(&facts.position), parsed(&facts.position_after));
    checks.push(check(
        "master's position read",
        before.is_some(),
        format!("`{}`", text(&facts.position)),
    ));
    checks.push(check(
        "master's position unchanged",
        before.is_some() && before == after,
        format!("`{}`, then `{}`", text(&facts.position), text(&facts.position_after)),
    ));
    checks.push(check(
        "position waited for",
        facts.waited,
        format!("wait for `{}`", text(&facts.position)),
    ));
    let applied = parsed(&slave.applied);
    let equal = matches!((&before, &applied), (Some(b), Some(a)) if b.covers(a) && a.covers(b));
    checks.push(check(
        "positions equal",
        equal,
        format!("master `{}`, applied `{}`", text(&facts.position), text(&slave.applied)),
    ));
    let errant = match (&before, Gtids::parse(&text(&slave.own))) {
        (Some(b), Ok(own)) => {
            own.0
                .iter()
                .any(|(domain, (_, seq))| b.0.get(domain).is_none_or(|(_, theirs)| seq > theirs))
                || own.0.values().any(|(server, _)| *server as u64 == slave.identity.server_id)
        }
        _ => true,
    };
    checks.push(check(
        "no errant transaction",
        !errant,
        format!("own binary log `{}`", text(&slave.own)),
    ));
    checks.push(check(
        "canary seen",
        facts.canary.is_some() && facts.canary == facts.canary_seen,
        match (&facts.canary, &facts.canary_seen) {
            (None, _) => "no canary was written".into(),
            (Some(_), None) => "the master's canary row is not on the slave".into(),
            (Some(wrote), Some(seen)) => format!("wrote {wrote}, the slave shows {seen}"),
        },
    ));
    checks
}
