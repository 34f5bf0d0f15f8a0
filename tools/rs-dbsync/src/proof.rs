//! Gathers what a proof rests on, each fact after the one before it; the model judges.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Result};
use rs_model::conjunct::{Reading, Schemas};
use rs_model::replica::{
    HeldAt, Identity, KnownBy, Replica, SyncFacts, judge_data, judge_held, judge_sync,
};
use rs_model::silence::judge_silence;
use rs_model::{Answer, Check, Position, Server};

use crate::attempt;
use crate::rows::Checksum;
use crate::sets::{Open, Site, lowered_key};

/// How long a receiver may take to connect: a slave tries again every second.
const CONNECTING: Duration = Duration::from_secs(5);

/// A nonce that nobody has seen.
pub fn nonce() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Failed, "the system gives no random numbers").because(e))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How much longer than its waits a proof may take, from the first reading to the last.
const FRESH: Duration = Duration::from_secs(10);

/// Asks, and notes what was asked, of whom and when. What could not be read is unknown and not an end: the others are
/// asked all the same, and each conjunct says for itself what it lacks.
struct Asking {
    begun: Instant,
    readings: BTreeMap<String, Reading>,
    /// Servers that let us wait in vain: they are not waited for once more per question.
    silent: Vec<String>,
    /// Whose proof it is.
    subject: String,
    /// Whether that one has answered: if it is gone now, it went away under the proof.
    answered: bool,
}

impl Asking {
    /// Whether it is worth asking.
    fn hears(&self, server: &str) -> bool {
        !self.silent.iter().any(|name| name == server)
    }

    fn of<T: Default>(
        &mut self,
        server: &str,
        field: &str,
        asked: &str,
        ask: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let answer = if self.hears(server) {
            ask()
        } else {
            Err(Error::new(Kind::TimedOut, format!("{server:?} did not answer before")))
        };
        let mut reading = Reading {
            asked: asked.to_owned(),
            of: server.to_owned(),
            at: rs_cli::now(),
            after_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            unread: None,
        };
        let answer = match answer {
            Ok(answer) => {
                self.answered |= server == self.subject;
                answer
            }
            Err(e) if [Kind::Usage, Kind::NotFound].contains(&e.kind()) => return Err(e),
            // a slave that nobody reaches was asked nothing: that may be retried. Of one that answers, a master that
            // does not is a no like everything else that is unread, whether it is dead, frozen or cut off
            Err(e) if e.kind() == Kind::Unreachable && server == self.subject && !self.answered => {
                return Err(e);
            }
            Err(e) => {
                if [Kind::TimedOut, Kind::Unreachable].contains(&e.kind()) {
                    self.silent.push(server.to_owned());
                }
                let cause = e.cause().map(|cause| format!(": {cause}")).unwrap_or_default();
                reading.unread = Some(format!("{}{cause}", e.what()));
                T::default()
            }
        };
        self.readings.insert(field.to_owned(), reading);
        Ok(answer)
    }
}

/// Whether a slave has every write of its set's master: facts and answers.
pub fn sync(
    site: &Site<'_>,
    slave: &Open,
    wait: Duration,
    checksum: &Checksum,
    schema: Option<&str>,
) -> Result<(SyncFacts, Vec<Check>)> {
    let schema = match schema {
        Some(schema) => schema.to_owned(),
        None => slave.settings.need("DB_SCHEMA_NAME")?,
    };
    let (set, name) = (slave.set.as_str(), slave.server.name.as_str());
    let mut asking = Asking {
        begun: Instant::now(),
        readings: BTreeMap::new(),
        silent: Vec::new(),
        subject: name.to_owned(),
        answered: false,
    };
    let masters: Vec<String> =
        asking.of(&site.deployment, "masters", "servers tagged as the set's master", || {
            Ok(site.masters(set).iter().map(|s| s.name.clone()).collect())
        })?;
    // of several the first is asked: that they are several is refused by its own name
    let master = match site.masters(set).first() {
        Some(first) => site.open(first)?,
        None => site.open(site.master(set)?)?,
    };
    let its = master.server.name.as_str();
    let (allowed, nonce) = site.frozen(set)?;
    let silence = asking.of(its, "silence", "who could write", || master.db.silence(&allowed))?;
    // the canary of `writes off` is the last write before the freeze. Asking writes nothing: it would move the position
    // that others prove against
    let canary = asking.of(its, "canary", "the newest canary", || master.db.read_canary())?;
    let canary = nonce.filter(|nonce| canary.as_ref() == Some(nonce));
    let position =
        asking.of(its, "position", "position of its binary log", || master.db.position())?;
    // before the wait: it would be the first that a master which freezes then does not answer
    let master_schema = asking.of(its, "master_schema", "fingerprint of its schema", || {
        master.db.schema_fingerprint(&schema)
    })?;
    // the slave's, which takes as long as all else, beside the rest
    let (waited, replica, canary_seen, rows, slave_schema) = std::thread::scope(|scope| {
        let waited = asking.of(name, "waited", "wait for the master's position", || {
            if position.set().is_some() {
                slave.db.wait_applied(&position, wait)
            } else {
                Ok(false)
            }
        })?;
        let on_slave =
            asking.hears(name).then(|| scope.spawn(|| slave.db.schema_fingerprint(&schema)));
        let replica =
            asking.of(name, "slave", "all channels, what is applied, its binary log", || {
                settled(slave, wait.min(CONNECTING))
            })?;
        let canary_seen =
            asking.of(name, "canary_seen", "the newest canary", || slave.db.read_canary())?;
        let rows =
            if checksum.asked() {
                Some(asking.of(name, "rows", "checksums of both sides", || {
                    checksum.compare(&master, slave)
                })?)
            } else {
                None
            };
        let slave_schema = asking.of(name, "slave_schema", "fingerprint of its schema", || {
            on_slave.map_or_else(|| Ok(String::new()), ended)
        })?;
        Ok::<_, Error>((waited, replica, canary_seen, rows, slave_schema))
    })?;
    let position_after =
        asking.of(its, "position_after", "position of its binary log, again", || {
            master.db.position()
        })?;
    let replicates = asking
        .of(its, "master", "who it is, and its binary log's state", || master.db.replica())?;
    let twins = twins(site, slave, &replica.identity);
    let fresh = wait + checksum.limit() + FRESH;
    let facts = SyncFacts {
        readings: asking.readings,
        masters,
        twins,
        silence,
        position,
        canary,
        canary_seen,
        waited,
        schema: schemas(&master, slave, schema, [master_schema, slave_schema]),
        slave: replica,
        position_after,
        master: replicates,
        rows,
        fresh_ms: u64::try_from(fresh.as_millis()).unwrap_or(u64::MAX),
    };
    let checks = judge_sync(name, &facts);
    Ok((facts, checks))
}

/// What a question asked beside others was answered.
fn ended<T>(asked: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    let cut_off = |_| Err(Error::new(Kind::Failed, "a question to it was cut off"));
    asked.join().unwrap_or_else(cut_off)
}

/// A schema on both sides; where it is not the same, what differs, as far as both tell.
fn schemas(master: &Open, slave: &Open, name: String, found: [String; 2]) -> Schemas {
    let [on_master, on_slave] = found;
    let mut differ = Vec::new();
    if !on_master.is_empty()
        && !on_slave.is_empty()
        && on_master != on_slave
        && let (Ok(theirs), Ok(its)) = (master.db.schema_parts(&name), slave.db.schema_parts(&name))
    {
        let names: BTreeSet<&String> = theirs.keys().chain(its.keys()).collect();
        let other = names.into_iter().filter(|name| theirs.get(*name) != its.get(*name));
        differ.extend(other.cloned());
    }
    Schemas { name, master: on_master, slave: on_slave, differ }
}

/// Other slaves of the set that say to be the same server: their master ends the connection of one for the other, and
/// what one of them wrote the other takes for its own. One that does not answer now disturbs nobody.
fn twins(site: &Site<'_>, slave: &Open, own: &Identity) -> Vec<String> {
    let others = site.servers.iter().filter(|server| {
        server.name != slave.server.name
            && server.database_set() == Some((slave.set.as_str(), false))
            && (server.state.is_up() || server.foreign)
    });
    let same = |server: &&Server| {
        let identity = site.open(server).and_then(|open| open.db.identity());
        identity.is_ok_and(|its| its.server_id == own.server_id)
    };
    others.filter(same).map(|server| server.name.clone()).collect()
}

/// The slave's facts. A receiver that is just connecting (its master was restarted a moment ago) is given a while; what
/// it is then is what counts.
fn settled(slave: &Open, limit: Duration) -> Result<Replica> {
    let begun = Instant::now();
    loop {
        // before the reading: one that is the last is not an old one
        let last = begun.elapsed() >= limit;
        let replica = slave.db.replica()?;
        let connecting = replica
            .channels
            .iter()
            .any(|c| ["Connecting", "Preparing"].contains(&c.io_running.as_str()));
        if !connecting || replica.is_held() || last {
            return Ok(replica);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Silence on a master now.
pub fn silence(site: &Site<'_>, master: &Open) -> Result<(Position, Vec<Check>)> {
    let (allowed, _) = site.frozen(&master.set)?;
    let mut facts = master.db.silence(&allowed)?;
    // a migration that was killed left it lowered, as its debt says: sessions and accounts that could write then are
    // judged all the same, and it goes on
    if !facts.read_only && site.debt(&lowered_key(&master.set))?.is_some() {
        facts.read_only = master.db.writes()?.lowered;
    }
    let checks = judge_silence(&master.server.name, &facts);
    Ok((facts.position, checks))
}

/// What a server's data is known again by.
pub fn known_by(open: &Open) -> Result<KnownBy> {
    Ok(KnownBy { server: open.db.identity()?, canaries: open.db.canaries()? })
}

/// Whether a hold is what it was; its data and the schema too.
pub fn held(slave: &Open, held: &HeldAt) -> Result<Vec<Check>> {
    let now = slave.db.replica()?;
    let mut checks = judge_held(&slave.server.name, held, &now);
    checks.push(judge_data(&slave.server.name, held, &now, slave.db.canaries()?));
    let schema = slave.db.schema_fingerprint(&held.schema)?;
    checks.push(Check::new(
        "schema unchanged since the hold",
        &slave.server.name,
        if schema == held.schema_fingerprint { Answer::Ok } else { Answer::No },
        format!("schema {:?}: {schema}, held with {}", held.schema, held.schema_fingerprint),
    ));
    Ok(checks)
}

/// The name of the pair's answer about the master's position.
pub const UNMOVED: &str = "master unmoved since the hold";

/// The pair of a set: master silent and unmoved since the hold, a held slave at its position. Of a migration that was
/// `begun` under this token its own writes are excused.
pub fn pair(site: &Site<'_>, set: &str, token: &str, begun: bool) -> Result<Vec<Check>> {
    let master = site.open(site.master(set)?)?;
    let (position, mut checks) = silence(site, &master)?;
    let mut copies = site.held_in(set)?;
    if begun {
        // a rollback from the middle of it was taken back: what it went to is fenced, and a way back again
        copies.extend(site.fenced_in(set)?);
    }
    checks.push(
        Check::new(
            "rollback copy",
            set,
            if copies.is_empty() { Answer::No } else { Answer::Ok },
            if copies.is_empty() {
                "no slave of the set is held".to_owned()
            } else {
                copies.iter().map(|(s, _)| s.name.clone()).collect::<Vec<_>>().join(", ")
            },
        )
        .hint("rs-dbsync hold; --no-rollback-copy goes without a way back"),
    );
    for (server, at) in &copies {
        checks.extend(held(&site.open(server)?, at)?);
        let (is, detail) = attempt::unmoved(site, &master, token, at, &position)?;
        let answer = if is { Answer::Ok } else { Answer::No };
        checks.push(Check::new(UNMOVED, &master.server.name, answer, detail).hint(format!(
            "what was written since would be lost on the way back: rs-dbsync resume and hold again{}; or \
             scripts/rollback.sh",
            if begun { "; what was put right by hand, and nothing else: --override 'master unmoved since the hold'" } else { "" }
        )));
    }
    Ok(checks)
}
