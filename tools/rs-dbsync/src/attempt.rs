//! Attempts of a migration: each is noted, and whether the master is where the last one left it is asked.

use rs_cli::Journal;
use rs_contract::{Kind, Result, Txn};
use rs_model::Position;
use rs_model::act::{Act, Outcome};
use rs_model::attempt::{Attempt, Left, Since};
use rs_model::price::{Moment, only_ours};
use rs_model::replica::HeldAt;
use serde_json::{Value as Json, json};

use crate::price::{READ, heartbeat_tables};
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

/// Whether the master is where the copy was held; or where the last attempt of this migration since then left it, but for
/// canaries and heartbeats.
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
    let acts = Journal::new(site.state()).acts()?;
    let since = Since {
        held_at: held.at.clone(),
        fenced,
        attempt,
        abandoned: abandoned(site, master, &acts),
        opened: opened(site, master, &acts),
    };
    let cut_off = || since.attempt.as_ref().map_or("", |attempt| &attempt.begun);
    Ok(match since.left() {
        Left::Unknown => (false, detail),
        Left::Alone => (
            true,
            format!(
                "{detail}; an attempt at {} was cut off, and no writes were on since",
                cut_off()
            ),
        ),
        Left::Opened(at, verb) => (
            false,
            format!(
                "{detail}; an attempt at {} was cut off, and writes were on since: {verb} at {at}",
                cut_off()
            ),
        ),
        Left::At(place) => {
            let detail =
                format!("{detail}; the last attempt left it at `{}`", place.position.text());
            let now = now(master)?;
            let written = master.db.written(&place.position, &now.position, READ).ok();
            let tables = heartbeat_tables(master)?;
            (only_ours(place, &now, written.as_ref(), &tables), detail)
        }
    })
}

/// Where this master was when it was abandoned for another, the last time.
fn abandoned(site: &Site<'_>, master: &Open, acts: &[Act]) -> Option<Moment> {
    let act = acts.iter().rev().find(|act| {
        site.is_promotion(act, &master.set) && act.after["old_master"] == json!(master.server.name)
    })?;
    let fenced = serde_json::from_value::<HeldAt>(act.after["fenced"].clone()).ok()?;
    Some(Moment { at: fenced.at, position: fenced.position, canaries: fenced.known_by?.canaries })
}

/// The acts that switched a master's writes on, or that found them on.
fn opened(site: &Site<'_>, master: &Open, acts: &[Act]) -> Vec<(String, String)> {
    let subject = format!("server {}", master.server.name);
    let opens = |act: &&Act| {
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
        on && act.tool == "rs-dbsync" && act.deployment == site.deployment && act.subject == subject
    };
    acts.iter().filter(opens).map(|act| (act.at.clone(), act.verb.clone())).collect()
}
