//! Attempts of a migration: where each left the master. What is there beyond the hold is excused only where it is the
//! migration's own.

use rs_cli::Journal;
use rs_contract::{Kind, Result, Txn};
use rs_model::Position;
use rs_model::act::{Act, Outcome};
use rs_model::migration::Attempt;
use rs_model::price::{Moment, only_canaries};
use rs_model::replica::HeldAt;
use serde_json::{Value as Json, json};

use crate::sets::{Open, Site};

/// Where the newest attempt under a token is noted.
fn key(site: &Site<'_>, set: &str, token: &str) -> String {
    format!("migrating/{}/{set}/{token}", site.deployment)
}

fn now(open: &Open) -> Result<Moment> {
    Ok(Moment { at: rs_cli::now(), position: open.db.position()?, canaries: open.db.canaries()? })
}

/// Does the work of an attempt, with a note before it and, where it came to its end or failed at a known place, behind it.
pub fn noted(
    site: &Site<'_>,
    master: &Open,
    token: &str,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let key = key(site, &master.set, token);
    let before = site.state().get(&key)?;
    let put = |value: Json| {
        site.state().commit(&Txn { put: vec![(key.clone(), value)], ..Txn::default() })
    };
    let begun = rs_cli::now();
    put(json!(Attempt { begun: begun.clone(), left: None }))?;
    let result = work();
    let ended = match &result {
        Ok(()) => true,
        Err(e) if e.kind() == Kind::Declined => {
            // nothing was run
            match before {
                Some(entry) => put(entry.value)?,
                None => {
                    site.state().commit(&Txn { delete: vec![key.clone()], ..Txn::default() })?;
                }
            }
            false
        }
        // of all others nobody knows whether what was sent has ended
        Err(e) => e.kind() == Kind::Failed,
    };
    if ended && let Ok(left) = now(master) {
        put(json!(Attempt { begun, left: Some(left) }))?;
    }
    result
}

/// Whether the master is where the copy was held; or where the last attempt of this migration since then left it. One that
/// was cut off left it at no known place: then nobody may have switched writes on since.
pub fn unmoved(
    site: &Site<'_>,
    master: &Open,
    token: &str,
    held: &HeldAt,
    position: &Position,
) -> Result<(bool, String)> {
    let detail =
        format!("held at `{}`, the master is at `{}`", held.position.text(), position.text());
    let fenced = held.fenced_by.is_some();
    if held.position.same(position) && !fenced {
        return Ok((true, detail));
    }
    let attempt = site.state().get(&key(site, &master.set, token))?;
    let attempt = attempt.and_then(|entry| serde_json::from_value::<Attempt>(entry.value).ok());
    // a copy that is fenced was held before it, and promoted since
    let Some(attempt) = attempt.filter(|one| fenced || one.begun > held.at) else {
        return Ok((false, detail));
    };
    let acts = Journal::new(site.state()).acts()?;
    let place = match attempt.left {
        Some(left) => Some(left),
        None => match abandoned(site, master, &acts, &attempt.begun) {
            Some(moment) if opened(site, master, &acts, &attempt.begun, &moment.at).is_none() => {
                Some(moment)
            }
            Some(_) => return Ok((false, detail)),
            None if fenced => return Ok((false, detail)),
            None => None,
        },
    };
    let Some(place) = place else {
        let opened = opened(site, master, &acts, &attempt.begun, &rs_cli::now());
        return Ok(match opened {
            Some(act) => (
                false,
                format!(
                    "{detail}; an attempt at {} was cut off, and writes were on since: {} at {}",
                    attempt.begun, act.verb, act.at
                ),
            ),
            None => (
                true,
                format!(
                    "{detail}; an attempt at {} was cut off, and no writes were on since",
                    attempt.begun
                ),
            ),
        });
    };
    let detail = format!("{detail}; the last attempt left it at `{}`", place.position.text());
    Ok((only_canaries(&place, &now(master)?), detail))
}

/// Where this master was when it was abandoned for another, after a moment.
fn abandoned(site: &Site<'_>, master: &Open, acts: &[Act], after: &str) -> Option<Moment> {
    let act = acts.iter().rev().find(|act| {
        site.is_promotion(act, &master.set)
            && act.after["old_master"] == json!(master.server.name)
            && act.at.as_str() > after
    })?;
    let fenced = serde_json::from_value::<HeldAt>(act.after["fenced"].clone()).ok()?;
    Some(Moment { at: fenced.at, position: fenced.position, canaries: fenced.known_by?.canaries })
}

/// The act between two moments that switched a master's writes on, or that found them on.
fn opened<'a>(
    site: &Site<'_>,
    master: &Open,
    acts: &'a [Act],
    from: &str,
    to: &str,
) -> Option<&'a Act> {
    let subject = format!("server {}", master.server.name);
    acts.iter().find(|act| {
        let on = match act.verb.as_str() {
            // one that failed may have come half the way
            "writes on" => true,
            // found on: a migration that was killed may have left the lock lowered, which lets nobody else in
            "writes off" => {
                act.before["off"] == json!(false) && act.before["lowered"] != json!(true)
            }
            "promote" => act.outcome == Outcome::Done,
            _ => false,
        };
        on && act.tool == "rs-dbsync"
            && act.deployment == site.deployment
            && act.subject == subject
            && (from..=to).contains(&act.at.as_str())
    })
}
