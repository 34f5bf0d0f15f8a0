//! Facts about a database server and its replication, in one vocabulary for every dialect.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::conjunct::{Reading, Rows, Schemas, conjunct, read_conjunct};
use crate::migration::Migration;
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

impl Identity {
    /// Whether it has a server id, and one of its own: a slave passes over what seems to be its own events.
    fn is_apart(&self, master: &Identity) -> bool {
        self.server_id != 0 && self.server_id != master.server_id
    }
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
    /// What its own binary log leaves out, as `NAME=VALUE`: a master's slaves never get it, and nobody sees what is
    /// written on a slave. `log_bin=OFF`: it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_filters: Vec<String>,
    /// `@@slave_skip_errors` and whatever else lets it pass over an event, `OFF` when none.
    pub skips_errors: String,
}

/// The host that a held slave's source is set to: never resolves, by standard.
pub const HELD_HOST: &str = "held.invalid";

impl Replica {
    /// Whether it is held: some channel's source is [`HELD_HOST`].
    pub fn is_held(&self) -> bool {
        self.channels.iter().any(|channel| channel.source_host == HELD_HOST)
    }

    /// What its own binary log does not tell, in words: it could be no master, and of what is written on it nothing is
    /// known.
    pub fn untold(&self) -> Option<String> {
        let words = || format!("its own binary log leaves out: {}", self.log_filters.join(", "));
        (!self.log_filters.is_empty()).then(words)
    }

    /// Whether nothing was written on it since: its own binary log is where it was then, and tells everything.
    pub fn wrote_nothing(&self, then: &Position) -> bool {
        self.log_filters.is_empty() && self.own.stayed(then)
    }
}

/// The facts that a proof of sync rests on, each read after the one before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncFacts {
    /// What was asked, of whom and when, by the name of the field that holds the answer.
    pub readings: BTreeMap<String, Reading>,
    /// Every server of the set that its tags call a master.
    pub masters: Vec<String>,
    /// Other servers of the set that answer and have the slave's server id, or are the same server by their own word.
    #[serde(default)]
    pub twins: Vec<String>,
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
    /// The application's schema: the master's read after its position, the slave's after the wait.
    #[serde(default)]
    pub schema: Schemas,
    /// Rows compared at the frozen position; absent when that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
    /// The oldest that a reading may be when the last one is there, milliseconds.
    pub fresh_ms: u64,
}

/// Every conjunct of [`judge_sync`], by name, in its order. The last one only when rows were asked for.
pub const SYNC: [&str; 22] = [
    "one master",
    "one channel",
    "source is the master",
    "receiver runs",
    "applier runs",
    "no errors",
    "no filters",
    "no delay",
    "no UNTIL",
    "GTID in use",
    "no errors skipped",
    "own server id",
    "master frozen",
    "master's position read",
    "master logs all",
    "master's position unchanged",
    "position applied",
    "no errant transaction",
    "same schema",
    "canary seen",
    "readings fresh",
    "rows equal",
];

/// Judges a slave: one check per conjunct, all named, none left out. In sync only if every answer is ok.
///
/// Source: step 21; `Seconds_Behind_Master: 0` proves nothing. Facts of the dialect are already in one vocabulary.
pub fn judge_sync(name: &str, facts: &SyncFacts) -> Vec<Check> {
    let never = Reading { unread: Some("it was not asked".into()), ..Reading::default() };
    let check = |conjunct: &str, good: bool, detail: String, fields: &[&str], answered: Json| {
        let readings: Vec<&Reading> =
            fields.iter().map(|field| facts.readings.get(*field).unwrap_or(&never)).collect();
        read_conjunct(conjunct, name, good, detail, &readings, &answered)
    };
    let (master, slave) = (&facts.master, &facts.slave);
    let mut checks = vec![check(
        "one master",
        facts.masters.len() == 1,
        facts.masters.join(", "),
        &["masters"],
        json!(facts.masters),
    )];
    checks.extend(judge_slave(slave, &master.identity, &facts.twins).into_iter().map(
        |(conjunct, good, detail, answered)| {
            let of: &[&str] = if [SOURCE, OWN_ID].contains(&conjunct) {
                &["slave", "master"]
            } else {
                &["slave"]
            };
            check(conjunct, good, detail, of, answered)
        },
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
        &["silence"],
        json!(facts.silence),
    ));
    let (before, after) = (facts.position.set(), facts.position_after.set());
    checks.push(check(
        "master's position read",
        before.is_some(),
        format!("`{}`", facts.position.text()),
        &["position"],
        json!(facts.position),
    ));
    checks.push(check(
        "master logs all",
        master.log_filters.is_empty(),
        or_none(&master.log_filters.join(", ")),
        &["master"],
        json!(master.log_filters),
    ));
    checks.push(check(
        "master's position unchanged",
        before == after,
        format!("`{}`, then `{}`", facts.position.text(), facts.position_after.text()),
        &["position", "position_after"],
        json!([facts.position, facts.position_after]),
    ));
    // every engine answers "reached" to an empty position: that it is none is the conjunct before the last
    checks.push(check(
        "position applied",
        before.is_none() || (facts.waited && facts.position.same(&slave.applied)),
        format!(
            "master `{}`, applied `{}`{}",
            facts.position.text(),
            slave.applied.text(),
            if facts.waited { "" } else { "; it was waited for in vain" }
        ),
        &["position", "waited", "slave"],
        json!({ "waited": facts.waited, "applied": slave.applied }),
    ));
    let errant = match (&slave.own_state, &master.own_state) {
        (Some(own), Some(theirs)) => stray(own, theirs),
        _ => None,
    };
    checks.push(check(
        "no errant transaction",
        errant.as_ref().is_some_and(Vec::is_empty) && slave.untold().is_none(),
        match (slave.untold(), errant) {
            (Some(untold), _) => format!("what was written on it nobody sees: {untold}"),
            (None, None) => "the binary logs' states cannot be compared".into(),
            (None, Some(errant)) if errant.is_empty() => "none".into(),
            (None, Some(errant)) => {
                format!(
                    "in the slave's own binary log and not in the master's: {}",
                    errant.join(", ")
                )
            }
        },
        &["slave", "master"],
        json!([slave.own_state, master.own_state, slave.log_filters]),
    ));
    checks.push(check(
        "same schema",
        facts.schema.same(),
        facts.schema.words([&master.identity.version, &slave.identity.version]),
        &["master_schema", "slave_schema"],
        json!(facts.schema),
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
        &["canary", "canary_seen"],
        json!([facts.canary, facts.canary_seen]),
    ));
    checks.push(judge_fresh(name, facts));
    if let Some(rows) = &facts.rows {
        checks.push(check("rows equal", rows.equal(), rows.words(), &["rows"], json!(rows)));
    }
    checks
}

/// Whether what was read first still is of the same moment as what was read last: a proof that was stopped in between
/// (a suspended process, a machine asleep) says nothing about now.
fn judge_fresh(name: &str, facts: &SyncFacts) -> Check {
    let times: Vec<u64> = facts.readings.values().map(|reading| reading.after_ms).collect();
    let took = match (times.iter().min(), times.iter().max()) {
        (Some(first), Some(last)) => Some(last - first),
        _ => None,
    };
    conjunct(
        "readings fresh",
        name,
        took.is_some_and(|took| took <= facts.fresh_ms),
        match took {
            Some(took) => {
                format!("{took} ms from the first to the last, at most {}", facts.fresh_ms)
            }
            None => "nothing was read".into(),
        },
    )
    .facts(json!({ "answered": facts.readings }))
}

/// Judges whether a slave replicates from its master as far as can be seen while writes go on: no proof of sync.
pub fn judge_replicating(name: &str, slave: &Replica, master: &Identity) -> Vec<Check> {
    judge_slave(slave, master, &[])
        .into_iter()
        .map(|(asked, good, detail, _)| conjunct(asked, name, good, detail))
        .collect()
}

const SOURCE: &str = "source is the master";
const OWN_ID: &str = "own server id";

/// A conjunct's name, whether it is so, what was seen in words, and as it was read.
type Judged = (&'static str, bool, String, Json);

/// The conjuncts that a slave's own description decides: the same for every proof that asks for them by name.
fn judge_slave(slave: &Replica, master: &Identity, twins: &[String]) -> Vec<Judged> {
    let named = |c: &Channel| format!("{:?} ({})", c.name, c.source_host);
    let (one, seen) = match slave.channels.as_slice() {
        [] => (false, "it is configured as no slave".to_owned()),
        [only] if only.name.is_empty() => (true, format!("from {}", only.source_host)),
        channels => {
            let names: Vec<String> = channels.iter().map(named).collect();
            (false, format!("{} channels: {}", channels.len(), names.join(", ")))
        }
    };
    let names: Vec<&String> = slave.channels.iter().map(|c| &c.name).collect();
    let mut judged = vec![("one channel", one, seen, json!(names))];
    judged.extend(slave.channels.iter().flat_map(|channel| judge_channel(channel, master)));
    judged.push((
        "no errors skipped",
        ["", "OFF"].contains(&slave.skips_errors.as_str()),
        format!("skipped errors: {}", slave.skips_errors),
        json!(slave.skips_errors),
    ));
    let (mine, theirs) = (slave.identity.server_id, master.server_id);
    judged.push((
        OWN_ID,
        slave.identity.is_apart(master) && twins.is_empty(),
        format!(
            "the slave has server id {mine}, the master {theirs}{}",
            twins.iter().map(|twin| format!(", {twin} has the slave's")).collect::<String>()
        ),
        json!([slave.identity, master]),
    ));
    judged
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

/// The conjuncts of one channel.
fn judge_channel(channel: &Channel, master: &Identity) -> Vec<Judged> {
    let runs = |what: &str, state: &str| (state == "Yes", format!("{what}: {state}"), json!(state));
    let (receives, receiver, io) = runs("IO thread", &channel.io_running);
    let (applies, applier, sql) = runs("SQL thread", &channel.sql_running);
    let until = channel.until.as_deref().unwrap_or_default();
    vec![
        (
            SOURCE,
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
            json!([channel.source_server_id, channel.source_host, channel.source_port]),
        ),
        ("receiver runs", receives, receiver, io),
        ("applier runs", applies, applier, sql),
        (
            "no errors",
            channel.last_error.is_empty(),
            or_none(&channel.last_error),
            json!(channel.last_error),
        ),
        (
            "no filters",
            channel.filters.is_empty(),
            or_none(&channel.filters.join(", ")),
            json!(channel.filters),
        ),
        (
            "no delay",
            channel.delay_seconds == 0,
            format!("delay of {} s", channel.delay_seconds),
            json!(channel.delay_seconds),
        ),
        ("no UNTIL", channel.until.is_none(), or_none(until), json!(channel.until)),
        (
            "GTID in use",
            channel.uses_gtid,
            format!("GTID in use: {}", channel.uses_gtid),
            json!(channel.uses_gtid),
        ),
    ]
}

/// What is known of a held slave when it was held: the rollback copy's side of the pair. The same of a master when a
/// promotion fenced it: the way back from that promotion.
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
    /// Host of its source; of a fenced master, of the server that took its place.
    pub source_host: String,
    /// Port of its source.
    pub source_port: u16,
    /// When, RFC 3339 UTC.
    pub at: String,
    /// It is a master that was fenced, when this server was promoted in its place; absent: it is a held slave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced_by: Option<String>,
    /// What its data is known again by; absent: it was not noted, which proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_by: Option<KnownBy>,
}

/// What a server's data is known again by, when another server, or an empty one, has its name, its tags and its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBy {
    /// Who it is by its own word.
    pub server: Identity,
    /// How many canaries were ever written, as far as its data knows: it never gets fewer.
    pub canaries: u64,
}

/// The name of [`judge_data`]'s answer.
pub const DATA_AS_HELD: &str = "data as held";

/// Whether a server has what it was held or fenced with: it is that server, and its data is not less than it was. Whether it
/// is more is asked by [`judge_held`]: a promotion that was cut off may have written, but has lost nothing.
pub fn judge_data(name: &str, held: &HeldAt, now: &Replica, canaries: u64) -> Check {
    let (good, detail) = match &held.known_by {
        None => (false, "what it is known by was not noted".to_owned()),
        Some(then) => {
            let here = match &held.fenced_by {
                Some(_) => &now.own,
                None => &now.applied,
            };
            let there = match (here.set(), held.position.set()) {
                (Some(here), Some(then)) => here.covers(&then),
                _ => false,
            };
            let server = |who: &Identity| {
                format!("server {} {}", who.server_id, who.uuid.as_deref().unwrap_or_default())
            };
            let same = then.server.uuid == now.identity.uuid
                && then.server.server_id == now.identity.server_id;
            (
                same && there && then.canaries > 0 && canaries >= then.canaries,
                format!(
                    "then {} at `{}` with {} canaries, now {} at `{}` with {canaries}",
                    server(&then.server),
                    held.position.text(),
                    then.canaries,
                    server(&now.identity),
                    here.text(),
                ),
            )
        }
    };
    conjunct(DATA_AS_HELD, name, good, detail)
}

/// Judges a hold: whether the slave still is what it was when it was held (design: held is not merely stopped). A fenced
/// master follows nobody, and has only its own binary log to be moved.
pub fn judge_held(name: &str, held: &HeldAt, slave: &Replica) -> Vec<Check> {
    let check = |asked: &str, good: bool, detail: String| conjunct(asked, name, good, detail);
    let sources: Vec<&str> = slave.channels.iter().map(|c| c.source_host.as_str()).collect();
    let source =
        format!("source: {}", if sources.is_empty() { "none".into() } else { sources.join(", ") });
    let mut checks = match &held.fenced_by {
        Some(_) => vec![check("fenced", sources.is_empty(), source)],
        None => vec![
            check("held", sources == [HELD_HOST], source),
            check(
                "applied position unmoved",
                held.position.same(&slave.applied),
                format!("held at `{}`, now `{}`", held.position.text(), slave.applied.text()),
            ),
        ],
    };
    checks.extend([
        check(
            "own binary log unmoved",
            slave.wrote_nothing(&held.own),
            slave.untold().unwrap_or_else(|| {
                format!("`{}` when it was held, now `{}`", held.own.text(), slave.own.text())
            }),
        ),
        check("held read-only", slave.read_only, format!("read_only is {}", slave.read_only)),
    ]);
    checks
}

/// The name of [`judge_resume`]'s answer.
pub const SCHEMA_UNCHANGED: &str = "schema-unchanged";

/// Whether a held slave may follow its master again: the master's schema is the one that both had when the slave was
/// held. What was migrated since, by whatever tool, it would replay, and the way back would be gone. `known` is what was
/// noted at the hold with the master's fingerprint now; what nobody knows is no yes. `migrated` are the migrations that
/// the master's data has and the slave's has not: those of rows no fingerprint shows.
pub fn judge_resume(
    slave: &str,
    master: &str,
    known: Option<(&HeldAt, Result<String, String>)>,
    migrated: &[&Migration],
) -> Check {
    let all: Vec<String> = migrated.iter().map(|one| one.words()).collect();
    let (answer, detail) = match known {
        _ if !all.is_empty() => (
            Answer::No,
            format!("its master {master:?} was migrated since it was held: {}", all.join("; ")),
        ),
        None => (
            Answer::Unknown,
            format!("what the schema of {master:?} was when it was held is noted nowhere"),
        ),
        Some((held, Err(why))) => (
            Answer::Unknown,
            format!(
                "the schema {:?} of its master {master:?} could not be read: {why}; when it was held, at {}, it had \
                 the fingerprint {}",
                held.schema, held.at, held.schema_fingerprint
            ),
        ),
        Some((held, Ok(now))) => (
            if now == held.schema_fingerprint { Answer::Ok } else { Answer::No },
            format!(
                "the schema {:?} of its master {master:?} has the fingerprint {now}, when it was held, at {}, it had {}",
                held.schema, held.at, held.schema_fingerprint
            ),
        ),
    };
    Check::new(SCHEMA_UNCHANGED, slave, answer, detail).hint(format!(
        "scripts/rollback.sh (rs-dbsync promote) goes back with it; rs-dbsync resume --override {SCHEMA_UNCHANGED} \
         gives the way back up and lets it follow into what its master has"
    ))
}

#[cfg(test)]
mod tests;
