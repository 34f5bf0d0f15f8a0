//! Gathers what a proof rests on, each fact after the one before it; the model judges.

use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Result};
use rs_model::replica::{HeldAt, Replica, SyncFacts, judge_held, judge_sync};
use rs_model::silence::judge_silence;
use rs_model::{Answer, Check, Position};

use crate::sets::{Open, Site};

/// How long a receiver may take to connect: a slave tries again every second.
const CONNECTING: Duration = Duration::from_secs(5);

/// A nonce that nobody has seen.
pub fn nonce() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Failed, "the system gives no random numbers").because(e))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a slave has every write of its set's master: facts and answers.
pub fn sync(site: &Site<'_>, slave: &Open, wait: Duration) -> Result<(SyncFacts, Vec<Check>)> {
    let masters: Vec<String> = site.masters(&slave.set).iter().map(|s| s.name.clone()).collect();
    let master = site.open(site.master(&slave.set)?)?;
    let (allowed, nonce) = site.frozen(&slave.set)?;
    let silence = master.db.silence(&allowed)?;
    // the canary of `writes off` is the last write before the freeze. Asking writes nothing: it would move the position
    // that others prove against
    let canary = match nonce {
        Some(nonce) if master.db.read_canary()?.as_ref() == Some(&nonce) => Some(nonce),
        _ => None,
    };
    let position = master.db.position()?;
    let waited =
        if position.set().is_some() { slave.db.wait_applied(&position, wait)? } else { false };
    let replica = settled(slave, wait.min(CONNECTING))?;
    let canary_seen = slave.db.read_canary()?;
    let facts = SyncFacts {
        masters,
        silence,
        position,
        canary,
        canary_seen,
        waited,
        slave: replica,
        position_after: master.db.position()?,
        master: master.db.replica()?,
    };
    let checks = judge_sync(&slave.server.name, &facts);
    Ok((facts, checks))
}

/// The slave's facts. A receiver that is just connecting (its master was restarted a moment ago) is given a while; what
/// it is then is what counts.
fn settled(slave: &Open, limit: Duration) -> Result<Replica> {
    let begun = Instant::now();
    loop {
        let replica = slave.db.replica()?;
        let connecting = replica
            .channels
            .iter()
            .any(|c| ["Connecting", "Preparing"].contains(&c.io_running.as_str()));
        if !connecting || replica.is_held() || begun.elapsed() >= limit {
            return Ok(replica);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Silence on a master now.
pub fn silence(site: &Site<'_>, master: &Open) -> Result<(Position, Vec<Check>)> {
    let (allowed, _) = site.frozen(&master.set)?;
    let facts = master.db.silence(&allowed)?;
    let checks = judge_silence(&master.server.name, &facts);
    Ok((facts.position, checks))
}

/// Whether a hold is what it was; the schema too.
pub fn held(slave: &Open, held: &HeldAt) -> Result<Vec<Check>> {
    let now = slave.db.replica()?;
    let mut checks = judge_held(&slave.server.name, held, &now);
    let schema = slave.db.schema_fingerprint(&held.schema)?;
    checks.push(Check::new(
        "schema unchanged since the hold",
        &slave.server.name,
        if schema == held.schema_fingerprint { Answer::Ok } else { Answer::No },
        format!("schema {:?}: {schema}, held with {}", held.schema, held.schema_fingerprint),
    ));
    Ok(checks)
}

/// The pair of a set: master silent and unmoved since the hold, a held slave at its position. Once a migration has
/// begun (`moved`) the master's position is its own.
pub fn pair(site: &Site<'_>, set: &str, moved: bool) -> Result<Vec<Check>> {
    let master = site.open(site.master(set)?)?;
    let (position, mut checks) = silence(site, &master)?;
    let copies = site.held_in(set)?;
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
        if !moved {
            checks.push(Check::new(
                "master unmoved since the hold",
                &master.server.name,
                if at.position.same(&position) { Answer::Ok } else { Answer::No },
                format!("held at `{}`, the master is at `{}`", at.position.text(), position.text()),
            ));
        }
    }
    Ok(checks)
}
