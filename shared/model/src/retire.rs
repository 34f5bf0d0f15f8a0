//! What may end: the reasons that forbid it, and whether a plan still matches the world (steps 37 and 38).
//!
//! Ending a server is the only act that cannot be taken back, so everything here needs evidence: what is not known
//! forbids as much as what is known to be wrong.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::server::{Array, Server, State};
use crate::{Member, act::Debt};

/// One thing that would end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `server` or `array`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it is in the run: `old`, `new`, `warm`, `temp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Its state; an array's is `enabled` or `disabled`.
    pub state: String,
    /// The machine; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The array that it is an instance of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Why it must not end now, each with what to do about it. Empty: it may.
    #[serde(default)]
    pub forbidden: Vec<String>,
}

/// What would end (`rs.plan/1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Deployment.
    pub deployment: String,
    /// The run that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// When the world was looked at, RFC 3339 UTC.
    pub created_at: String,
    /// How many entries.
    pub count: usize,
    /// SHA-256 over kind, name, instance and state of every entry, hexadecimal ([`canonical`] is what is hashed).
    pub digest: String,
    /// Whether rollback copies (part `warm`) may end too.
    #[serde(default)]
    pub include_warm: bool,
    /// Whether the whole deployment ends, masters and rollback copies with it; only a clone may.
    #[serde(default, skip_serializing_if = "is_false")]
    pub whole: bool,
    /// Instances of arrays before their array.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// What the plan may end besides.
    pub fn reach(&self) -> Reach {
        Reach { warm: self.include_warm || self.whole, whole: self.whole }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What may end that otherwise never does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Rollback copies.
    pub warm: bool,
    /// Masters whose whole set ends with them.
    pub whole: bool,
}

/// The text whose digest a plan carries.
pub fn canonical(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let instance = entry.instance.as_deref().unwrap_or("-");
        // names hold no control characters, so that no two lists give one text
        let _ = writeln!(text, "{}\t{}\t{instance}\t{}", entry.kind, entry.name, entry.state);
    }
    text
}

/// The world as it was looked at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Every server of the deployment.
    pub servers: Vec<Server>,
    /// Every array.
    pub arrays: Vec<Array>,
    /// Members of every pool on every balancer that goes on.
    pub members: Vec<Member>,
    /// Balancers that go on and could not be asked, with why.
    pub unanswered: Vec<(String, String)>,
}

/// The entries for the servers and arrays of these names, with what forbids each. The instances of an array come with
/// it: an array never leaves them behind.
pub fn entries(
    world: &World,
    names: &[(String, String)],
    run: Option<&str>,
    reach: Reach,
) -> Vec<Entry> {
    let wanted = |kind: &str, name: &str| names.iter().any(|(k, n)| k == kind && n == name);
    let servers: Vec<&Server> = world
        .servers
        .iter()
        .filter(|s| {
            wanted("server", &s.name) || s.array.as_ref().is_some_and(|a| wanted("array", a))
        })
        .collect();
    let arrays: Vec<&Array> = world.arrays.iter().filter(|a| wanted("array", &a.name)).collect();
    let ending: BTreeSet<&str> = servers.iter().map(|s| s.name.as_str()).collect();
    let mut found: Vec<Entry> = servers
        .iter()
        .map(|server| Entry {
            kind: "server".into(),
            name: server.name.clone(),
            part: part(run, |run| server.part(run), &server.tags),
            state: server.state.word().into(),
            instance: server.current.as_ref().map(|current| current.id.clone()),
            address: server.address,
            array: server.array.clone(),
            forbidden: of_server(server, world, &ending, reach),
        })
        .collect();
    found.extend(arrays.iter().map(|array| Entry {
        kind: "array".into(),
        name: array.name.clone(),
        part: part(run, |run| array.part(run), &array.tags),
        state: if array.enabled { "enabled" } else { "disabled" }.into(),
        instance: None,
        address: None,
        array: None,
        forbidden: of_array(array),
    }));
    found
}

fn part<'a>(
    run: Option<&str>,
    of: impl Fn(&str) -> Option<&'a str>,
    tags: &'a BTreeSet<String>,
) -> Option<String> {
    match run {
        Some(run) => of(run).map(str::to_owned),
        None => tags
            .iter()
            .find_map(|tag| tag.strip_prefix("rs_upgrade:")?.split_once('='))
            .map(|(_, part)| part.to_owned()),
    }
}

fn of_array(array: &Array) -> Vec<String> {
    if array.enabled {
        vec![format!(
            "it is enabled, so that its minimum of {} is launched again (rs-server disable it first)",
            array.minimum
        )]
    } else {
        Vec::new()
    }
}

fn of_server(server: &Server, world: &World, ending: &BTreeSet<&str>, reach: Reach) -> Vec<String> {
    let mut reasons = Vec::new();
    if server.locked {
        reasons.push("it is locked (rs-server unlock it, if it may go)".to_owned());
    }
    if server.foreign {
        reasons.push("we did not launch it, and cannot end it".to_owned());
    }
    let warm =
        server.tags.iter().any(|tag| tag.starts_with("rs_upgrade:") && tag.ends_with("=warm"));
    if warm && !reach.warm {
        reasons.push(
            "it is the rollback copy (plan with --include-warm once there is no way back to it)"
                .into(),
        );
    }
    if server.state.is_up() {
        for member in &world.members {
            if Some(member.address) == server.address && !ending.contains(member.balancer.as_str())
            {
                reasons.push(format!(
                    "{} has it in pool {} as {:?} with {} requests in flight (rs-lbctl disconnect it)",
                    member.balancer, member.pool, member.admin, member.sessions
                ));
            }
        }
        for (balancer, why) in &world.unanswered {
            if !ending.contains(balancer.as_str()) && balancer != &server.name {
                reasons.push(format!(
                    "{balancer} could not be asked whether it is a member: {why} (make it answer, or end it too)"
                ));
            }
        }
    }
    reasons.extend(of_database(server, world, ending, reach));
    if let Some(name) = &server.array
        && let Some(array) = world.arrays.iter().find(|array| array.name == *name)
        && array.enabled
    {
        reasons.push(format!(
            "its array {name} is enabled, so that another is launched for it (rs-server disable the array)"
        ));
    }
    reasons
}

/// A master never ends while its set goes on; neither does the last slave of a set whose master goes on. When the whole
/// deployment ends, no set goes on.
fn of_database(
    server: &Server,
    world: &World,
    ending: &BTreeSet<&str>,
    reach: Reach,
) -> Vec<String> {
    let Some((set, master)) = server.database_set() else { return Vec::new() };
    if !server.state.is_up() {
        return Vec::new();
    }
    let of_set = |other: &&Server| other.database_set().is_some_and(|(name, _)| name == set);
    if reach.whole && world.servers.iter().filter(of_set).all(|s| ending.contains(s.name.as_str()))
    {
        return Vec::new();
    }
    if master {
        return vec![format!(
            "it is a master of the database set {set} (promote another first, or take the tag from one that was abandoned)"
        )];
    }
    let others = world.servers.iter().filter(|other| {
        other.name != server.name
            && !ending.contains(other.name.as_str())
            && other.database_set() == Some((set, false))
            && other.state == State::Operational
    });
    if others.count() == 0 {
        vec![format!(
            "it is the last slave of the database set {set} (rs-dbsync init another first)"
        )]
    } else {
        Vec::new()
    }
}

/// Why a deployment must not end as a whole: it is no clone, or it has what the plan does not name.
///
/// - `cloned_from`: the deployment that it was cloned from.
/// - `names`: kind and name of what the plan names.
pub fn not_whole(
    cloned_from: Option<&str>,
    world: &World,
    names: &[(String, String)],
) -> Vec<String> {
    let mut reasons = Vec::new();
    if cloned_from.is_none() {
        reasons.push("it is no clone: only a clone of a deployment may end as a whole".to_owned());
    }
    let servers = world.servers.iter().map(|server| ("server", &server.name));
    let arrays = world.arrays.iter().map(|array| ("array", &array.name));
    for (kind, name) in servers.chain(arrays) {
        if !names.iter().any(|(k, n)| k == kind && n == name) {
            reasons.push(format!("{kind} {name} came since the plan was made (plan again)"));
        }
    }
    reasons
}

/// Why a plan must not be followed: it was edited, is too old, no longer matches the world, or something forbids an
/// entry. Each reason names its entry. What a plan wanted and is so already (a machine that is gone, a definition that
/// is gone) is no reason: a plan may be followed twice.
///
/// - `digest`: of [`canonical`] over the plan's own entries.
/// - `age_ms`: milliseconds since `created_at`; negative: it is from the future.
/// - `now`: [`entries`] for the plan's names, looked at now.
pub fn refusals(
    plan: &Plan,
    digest: &str,
    age_ms: i64,
    max_age_ms: i64,
    now: &[Entry],
) -> Vec<String> {
    let mut reasons = Vec::new();
    if plan.count != plan.entries.len() {
        reasons.push(format!("it says {} entries and has {}", plan.count, plan.entries.len()));
    }
    if plan.digest != digest {
        reasons.push("its digest does not fit its entries: it was edited or cut off".into());
    }
    if age_ms < 0 {
        reasons.push(format!("it is from the future ({})", plan.created_at));
    } else if age_ms > max_age_ms {
        reasons.push(format!("it is {age_ms} ms old, and {max_age_ms} ms are the most"));
    }
    for entry in now {
        let title = format!("{} {}", entry.kind, entry.name);
        let Some(planned) =
            plan.entries.iter().find(|p| (&p.kind, &p.name) == (&entry.kind, &entry.name))
        else {
            reasons.push(format!("{title} is not in it, and would be left without its array"));
            continue;
        };
        if entry.part != planned.part {
            reasons.push(format!(
                "{title} is {} in the run now, and was {}",
                entry.part.as_deref().unwrap_or("nothing"),
                planned.part.as_deref().unwrap_or("nothing")
            ));
        }
        let leaving = ["decommissioning", "stranded-in-decommissioning", "terminated", "inactive"];
        if entry.instance.is_some() && entry.instance != planned.instance {
            reasons.push(format!("{title} was launched again since then"));
        } else if entry.state != planned.state && !leaving.contains(&entry.state.as_str()) {
            reasons.push(format!("{title} is {} now, and was {}", entry.state, planned.state));
        }
        reasons.extend(entry.forbidden.iter().map(|why| format!("{title}: {why}")));
    }
    reasons
}

/// Whether a debt is about that server (or array) and is settled by its end.
pub fn ends_with(debt: &Debt, name: &str) -> bool {
    let Some((kind, subject)) = debt.key.split_once(':') else { return false };
    match kind {
        "held" | "backups" | "quenched" | "array" | "lock" | "runtime-only" | "fenced"
        | "rebuild" | "sync_relay_log" | "temp" => subject == name,
        "input" => subject.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')),
        "standby" => subject.split_once('/').is_some_and(|(_, server)| server == name),
        _ => false,
    }
}

#[cfg(test)]
#[path = "retire_tests.rs"]
mod tests;
