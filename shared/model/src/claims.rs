//! What the journal says is so now: the newest done act on each thing left it like that.
//!
//! Compared with the world it shows what was changed by hand, past every tool (`rs-journal verify`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::act::{Act, Outcome};
use crate::member::Admin;
use crate::verb::Leaves;
use crate::{Inputs, Value};

/// One thing that should be so now.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The act that left it so.
    pub act: Act,
    /// Name of the server, array or deployment that it is about.
    pub name: String,
    /// What should be so.
    pub says: Says,
}

/// What should be so.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    /// A server runs.
    Up,
    /// A server is locked, or not.
    Locked(bool),
    /// An array is kept at its minimum, or not.
    Enabled(bool),
    /// A server or array has this tag of a run.
    Tag(String),
    /// An entry of the next instance; absent: there is none.
    Next(String, Option<Value>),
    /// An entry of the deployment; absent: there is none.
    Level(String, Option<Value>),
    /// A balancer shows the page of a pool, or not.
    Page(String, bool),
    /// Writes are off on a master, or on.
    WritesOff(bool),
    /// A slave is held, or not.
    Held(bool),
    /// What a server is in a pool, on each balancer: none of them means that it is no member.
    Members(String, Vec<OnBalancer>),
    /// A name has these addresses.
    Record(String, Vec<Ipv4Addr>),
    /// A snapshot is there and pinned.
    Pinned(String),
    /// Backups of a server are made by the clock, or not.
    Backups(bool),
}

/// A membership as an act left it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OnBalancer {
    /// Name of the balancer.
    pub balancer: String,
    /// Its pool.
    pub pool: String,
    /// How it takes part.
    pub admin: Admin,
    /// The member's port.
    pub port: u16,
}

/// What is claimed twice is claimed by the newest: deployment, subject, aspect.
type Key = (String, String, String);

/// What should be so now, in the order of the acts.
///
/// An act that failed or was cut off leaves what it was about unknown: nothing is claimed of that. What ends a server
/// or its machine ends what was said about it.
pub fn claims(acts: &[Act]) -> Vec<Claim> {
    let mut found: BTreeMap<Key, Claim> = BTreeMap::new();
    for act in acts {
        let (deployment, subject) = (&act.deployment, &act.subject);
        if act.outcome != Outcome::Done {
            found.retain(|(d, s, _), claim| {
                (d, s) != (deployment, subject) || claim.act.tool != act.tool
            });
            continue;
        }
        forget(&mut found, act);
        let name = subject.split_once(' ').map_or(subject.as_str(), |(_, name)| name);
        for (aspect, says) in says(act) {
            // a name points somewhere whoever pointed it; the rest belongs to the act's subject
            let about = if matches!(says, Says::Record(..)) { "" } else { subject };
            let key = (deployment.clone(), about.to_owned(), aspect);
            found.insert(key, Claim { act: act.clone(), name: name.to_owned(), says });
        }
    }
    let mut claims: Vec<Claim> = found.into_values().collect();
    claims.sort_by_key(|claim| claim.act.seq);
    claims
}

/// Removes what an act makes untrue without saying so of each thing.
fn forget(found: &mut BTreeMap<Key, Claim>, act: &Act) {
    let gone = act.after["defined"] == false || act.after["state"] == "terminated";
    let names: Vec<&str> =
        act.after["names"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let pool = pool(act);
    found.retain(|(deployment, subject, _), claim| {
        if *deployment != act.deployment {
            return true;
        }
        let same = *subject == act.subject;
        // what a machine had goes with it
        let of_machine = matches!(
            claim.says,
            Says::Up | Says::WritesOff(_) | Says::Held(_) | Says::Members(..) | Says::Page(..)
        );
        match (act.tool.as_str(), act.verb.as_str()) {
            _ if gone && same => false,
            ("rs-server", "launch" | "relaunch") => !(same && of_machine),
            ("rs-server", "apply") => {
                !matches!(claim.says, Says::Next(..) | Says::Level(..) | Says::Tag(_))
            }
            // one part at a time; none is one too
            ("rs-server", "mark") => !(same && matches!(claim.says, Says::Tag(_))),
            // it locks and unlocks what it holds
            ("rs-dbsync", "hold" | "resume") => !(same && matches!(claim.says, Says::Locked(_))),
            ("rs-dbsync", "promote" | "init") => match &claim.says {
                Says::WritesOff(_) => false,
                Says::Held(_) => !same,
                Says::Locked(_) => !same && act.after["old_master"] != claim.name,
                Says::Record(name, _) => !names.contains(&name.as_str()),
                _ => true,
            },
            ("rs-cleanup", "retire") => !matches!(claim.says, Says::Record(..)),
            // servers of one lineage share their backups: another may have pinned it
            ("rs-snapshot", "unpin") => {
                !matches!(&claim.says, Says::Pinned(id) if act.after["id"] == *id)
            }
            // the members of one call belong together: with --only they are all that is left
            ("rs-lbctl", "connect" | "disconnect") => match &claim.says {
                Says::Members(name, _) => {
                    pool.as_ref() != Some(name) || claim.act.owner == act.owner && !same
                }
                _ => true,
            },
            _ => true,
        }
    });
}

/// The pool of an act on members.
fn pool(act: &Act) -> Option<String> {
    let mut lists = [&act.after, &act.before].into_iter().filter_map(Json::as_array);
    lists.find_map(|list| Some(list.first()?["pool"].as_str()?.to_owned()))
}

/// What a done act says is so now, each with its aspect.
fn says(act: &Act) -> Vec<(String, Says)> {
    let after = &act.after;
    let one = |aspect: &str, says: Option<Says>| -> Vec<(String, Says)> {
        says.map(|says| (aspect.to_owned(), says)).into_iter().collect()
    };
    let flag = |key: &str| after[key].as_bool();
    match crate::verb::of(act).map_or(Leaves::Nothing, |verb| verb.leaves) {
        Leaves::Up => one("up", (after["state"] == "operational").then_some(Says::Up)),
        Leaves::Locked => one("locked", flag("locked").map(Says::Locked)),
        Leaves::Enabled => one("enabled", flag("enabled").map(Says::Enabled)),
        Leaves::Tag => {
            let run = act.owner.run.as_deref();
            let tag = run
                .zip(after["part"].as_str())
                .map(|(run, part)| format!("rs_upgrade:{run}={part}"));
            one("tag", tag.map(Says::Tag))
        }
        Leaves::Inputs => {
            let mut all = entries(&after["next"], "next", Says::Next);
            all.extend(entries(&after["inputs"], "level", Says::Level));
            all
        }
        Leaves::Page => {
            let pool = after["pool"].as_str();
            let says = pool.zip(flag("active")).map(|(pool, on)| Says::Page(pool.to_owned(), on));
            one(&format!("page {}", pool.unwrap_or_default()), says)
        }
        Leaves::Writes => one("writes", flag("off").map(Says::WritesOff)),
        Leaves::Held => one("held", flag("held").map(Says::Held)),
        Leaves::Members => {
            let members = Vec::<OnBalancer>::deserialize(after).ok();
            let says = pool(act).zip(members).map(|(pool, members)| Says::Members(pool, members));
            one("members", says)
        }
        Leaves::Record => {
            let addresses = Vec::<Ipv4Addr>::deserialize(&after["addresses"]).ok();
            let name = after["name"].as_str();
            let says = name.zip(addresses).map(|(name, list)| Says::Record(name.to_owned(), list));
            one(&format!("record {}", name.unwrap_or_default()), says)
        }
        Leaves::Pinned => {
            let id = after["id"].as_str().filter(|_| after["pinned"] == true);
            let says = id.map(|id| Says::Pinned(id.to_owned()));
            one(&format!("pinned {}", id.unwrap_or_default()), says)
        }
        Leaves::Backups => one("backups", flag("enabled").map(Says::Backups)),
        Leaves::Nothing => Vec::new(),
    }
}

fn entries(
    written: &Json,
    level: &str,
    says: fn(String, Option<Value>) -> Says,
) -> Vec<(String, Says)> {
    let entries = BTreeMap::<String, Option<Value>>::deserialize(written).unwrap_or_default();
    entries
        .into_iter()
        .map(|(name, value)| (format!("{level} {name}"), says(name, value)))
        .collect()
}

/// Whether an entry is as it was left; what is there instead, for people.
pub fn entry(inputs: &Inputs, name: &str, wanted: Option<&Value>) -> Result<(), String> {
    match (inputs.get(name), wanted) {
        (there, wanted) if there == wanted => Ok(()),
        (Some(there), _) => Err(format!("{name} is {there}")),
        (None, _) => Err(format!("there is no {name}")),
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
