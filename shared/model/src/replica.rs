//! Facts about a database server and its replication, in one vocabulary for every dialect.

use serde::{Deserialize, Serialize};

use crate::position::stray;
use crate::silence::{SilenceFacts, judge_silence};
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
    /// Its own binary log (`@@gtid_binlog_pos`).
    pub own: Position,
    /// Everything that ever went into its own binary log (`@@gtid_binlog_state`, `@@gtid_executed`): what is in a
    /// slave's and not in its master's is an errant transaction. Absent: not read, which proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_state: Option<String>,
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncFacts {
    /// Every server of the set that its tags call a master.
    pub masters: Vec<String>,
    /// The master, asked directly.
    pub master: Replica,
    /// Who could have written on the master, read before its position.
    pub silence: SilenceFacts,
    /// The master's position, read after the freeze.
    pub position: Position,
    /// The same, read again at the end on a fresh connection.
    pub position_after: Position,
    /// The nonce that we wrote to the master; absent when none could be written.
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
    let check = |conjunct: &str, good: bool, detail: String| {
        Check::new(conjunct, name, if good { Answer::Ok } else { Answer::No }, detail)
    };
    let (master, slave) = (&facts.master, &facts.slave);
    let mut checks = vec![
        check("one master", facts.masters.len() == 1, facts.masters.join(", ")),
        check(
            "one channel",
            matches!(slave.channels.as_slice(), [only] if only.name.is_empty()),
            match slave.channels.as_slice() {
                [] => "it is configured as no slave".into(),
                [only] if only.name.is_empty() => format!("from {}", only.source_host),
                channels => {
                    let names: Vec<String> = channels
                        .iter()
                        .map(|c| format!("{:?} ({})", c.name, c.source_host))
                        .collect();
                    format!("{} channels: {}", channels.len(), names.join(", "))
                }
            },
        ),
    ];
    for channel in &slave.channels {
        checks.extend(judge_channel(name, channel, &master.identity));
    }
    checks.push(check(
        "no errors skipped",
        ["", "OFF"].contains(&slave.skips_errors.as_str()),
        format!("skipped errors: {}", slave.skips_errors),
    ));
    checks.push(check(
        "own server id",
        slave.identity.server_id != master.identity.server_id && slave.identity.server_id != 0,
        format!(
            "the slave has server id {}, the master {}",
            slave.identity.server_id, master.identity.server_id
        ),
    ));
    let loud: Vec<String> = judge_silence(name, &facts.silence)
        .into_iter()
        .filter(|check| check.answer != Answer::Ok)
        .map(|check| format!("{}: {}", check.name, check.detail))
        .collect();
    checks.push(check(
        "master frozen",
        loud.is_empty(),
        if loud.is_empty() { "nobody could write".into() } else { loud.join("; ") },
    ));
    let (before, after) = (facts.position.set(), facts.position_after.set());
    checks.push(check(
        "master's position read",
        before.is_some(),
        format!("`{}`", facts.position.text()),
    ));
    checks.push(check(
        "master's position unchanged",
        before.is_some() && before == after,
        format!("`{}`, then `{}`", facts.position.text(), facts.position_after.text()),
    ));
    checks.push(check(
        "position waited for",
        facts.waited,
        format!("wait for `{}`", facts.position.text()),
    ));
    checks.push(check(
        "positions equal",
        facts.position.same(&slave.applied),
        format!("master `{}`, applied `{}`", facts.position.text(), slave.applied.text()),
    ));
    let errant = match (&slave.own_state, &master.own_state) {
        (Some(own), Some(theirs)) => stray(own, theirs),
        _ => None,
    };
    checks.push(check(
        "no errant transaction",
        errant.as_ref().is_some_and(Vec::is_empty),
        match errant {
            None => "the binary logs' states cannot be compared".into(),
            Some(errant) if errant.is_empty() => "none".into(),
            Some(errant) => {
                format!(
                    "in the slave's own binary log and not in the master's: {}",
                    errant.join(", ")
                )
            }
        },
    ));
    checks.push(check(
        "canary seen",
        facts.canary.is_some() && facts.canary == facts.canary_seen,
        match (&facts.canary, &facts.canary_seen) {
            (None, _) => "no canary was written".into(),
            (Some(_), None) => "the master's canary row is not on the slave".into(),
            (Some(wrote), Some(seen)) if wrote == seen => "the master's newest nonce".into(),
            (Some(wrote), Some(seen)) => format!("wrote {wrote}, the slave shows {seen}"),
        },
    ));
    checks
}

/// Judges whether a slave replicates from its master as far as can be seen while writes go on: no proof of sync.
pub fn judge_replicating(name: &str, slave: &Replica, master: &Identity) -> Vec<Check> {
    let check = |conjunct: &str, good: bool, detail: String| {
        Check::new(conjunct, name, if good { Answer::Ok } else { Answer::No }, detail)
    };
    let mut checks = vec![check(
        "one channel",
        slave.channels.len() == 1,
        format!("{} channels", slave.channels.len()),
    )];
    for channel in &slave.channels {
        checks.extend(judge_channel(name, channel, master));
    }
    checks.push(check(
        "own server id",
        slave.identity.server_id != master.server_id && slave.identity.server_id != 0,
        format!("the slave has server id {}", slave.identity.server_id),
    ));
    checks
}

fn judge_channel(name: &str, channel: &Channel, master: &Identity) -> Vec<Check> {
    let check = |conjunct: &str, good: bool, detail: String| {
        Check::new(conjunct, name, if good { Answer::Ok } else { Answer::No }, detail)
    };
    let or = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    vec![
        check(
            "source is the master",
            channel.source_server_id == master.server_id
                && master.server_id != 0
                && channel.source_host != HELD_HOST,
            format!(
                "its source has server id {} ({}:{}), the master has {}",
                channel.source_server_id,
                channel.source_host,
                channel.source_port,
                master.server_id
            ),
        ),
        check(
            "receiver runs",
            channel.io_running == "Yes",
            format!("IO thread: {}", channel.io_running),
        ),
        check(
            "applier runs",
            channel.sql_running == "Yes",
            format!("SQL thread: {}", channel.sql_running),
        ),
        check("no errors", channel.last_error.is_empty(), or(&channel.last_error)),
        check("no filters", channel.filters.is_empty(), or(&channel.filters.join(", "))),
        check(
            "no delay",
            channel.delay_seconds == 0,
            format!("delay of {} s", channel.delay_seconds),
        ),
        check(
            "no UNTIL",
            channel.until.is_none(),
            or(channel.until.as_deref().unwrap_or_default()),
        ),
        check("GTID in use", channel.uses_gtid, format!("GTID in use: {}", channel.uses_gtid)),
    ]
}

/// What is known of a held slave when it was held: the rollback copy's side of the pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldAt {
    /// Applied position, and the master's, at that moment.
    pub position: Position,
    /// The slave's own binary log then.
    pub own: Position,
    /// Fingerprint of the schema then.
    pub schema_fingerprint: String,
    /// The schema that it is of.
    pub schema: String,
    /// Host of its source.
    pub source_host: String,
    /// Port of its source.
    pub source_port: u16,
    /// When, RFC 3339 UTC.
    pub at: String,
}

/// Judges a hold: whether the slave still is what it was when it was held (design: held is not merely stopped).
pub fn judge_held(name: &str, held: &HeldAt, slave: &Replica) -> Vec<Check> {
    let check = |conjunct: &str, good: bool, detail: String| {
        Check::new(conjunct, name, if good { Answer::Ok } else { Answer::No }, detail)
    };
    let sources: Vec<&str> = slave.channels.iter().map(|c| c.source_host.as_str()).collect();
    let stays = |then: &Position, now: &Position| match (then.set(), now.set()) {
        (Some(then), Some(now)) => then == now,
        (None, None) => then.text().is_empty() && now.text().is_empty(),
        _ => false,
    };
    vec![
        check(
            "held",
            sources == [HELD_HOST],
            format!(
                "source: {}",
                if sources.is_empty() { "none".into() } else { sources.join(", ") }
            ),
        ),
        check(
            "applied position unmoved",
            held.position.same(&slave.applied),
            format!("held at `{}`, now `{}`", held.position.text(), slave.applied.text()),
        ),
        check(
            "own binary log unmoved",
            stays(&held.own, &slave.own),
            format!("`{}` when it was held, now `{}`", held.own.text(), slave.own.text()),
        ),
        check("held read-only", slave.read_only, format!("read_only is {}", slave.read_only)),
    ]
}

#[cfg(test)]
mod tests;
