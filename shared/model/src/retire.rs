//! What may end: the reasons that forbid it, and whether a plan still matches the world (steps 37 and 38).
//!
//! Ending a server is the only act that cannot be taken back, so everything here needs evidence: what is not known
//! forbids as much as what is known to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::journal::Stands;
use crate::member::Admin;
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
    /// What does not forbid an end here, each of [`EVIDENCE`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accepted: BTreeSet<String>,
    /// Instances of arrays before their array.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// What the plan may end besides.
    pub fn reach(&self) -> Reach {
        Reach {
            warm: self.include_warm || self.whole,
            whole: self.whole,
            accepted: self.accepted.clone(),
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What can be accepted by its name; everything else that forbids an end has to be put right.
pub const EVIDENCE: [&str; 6] =
    ["sessions", "unanswered", "good-slave", "backup", "rollback-time", "balances"];

/// What may end that otherwise never does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Rollback copies.
    pub warm: bool,
    /// Masters whose whole set ends with them.
    pub whole: bool,
    /// What of [`EVIDENCE`] the operator has seen and accepts.
    pub accepted: BTreeSet<String>,
}

impl Reach {
    /// A reason, unless it is accepted by the name of its kind.
    fn unless(&self, kind: &str, reason: String, reasons: &mut Vec<String>) {
        if !self.accepted.contains(kind) {
            reasons.push(format!("{reason} (or plan with --accept {kind})"));
        }
    }
}

/// A database server as it shows itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseSeen {
    /// Sessions of accounts that are not ours, from other machines, in words.
    pub sessions: Vec<String>,
    /// What it lacks of a slave that replicates from the set's master; a master lacks nothing.
    pub lacks: Vec<String>,
    /// The server that it replicates from.
    pub source: Option<String>,
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
    /// Members of every pool on every balancer that ends and answers.
    pub balanced: Vec<Member>,
    /// Balancers that end, have a machine and could not be asked what they carry, with why.
    pub silent: BTreeMap<String, String>,
    /// Servers of the database sets that lose one: what each shows, or why it could not be asked.
    pub databases: BTreeMap<String, Result<DatabaseSeen, String>>,
    /// How many complete backups there are of each of these sets, or why that is not known.
    pub backups: BTreeMap<String, Result<usize, String>>,
    /// Held slaves that are inside their time: until when, RFC 3339 UTC.
    pub held_until: BTreeMap<String, String>,
    /// What names a host, of every server and of the deployment (`the deployment`): input and text. Secrets are not among
    /// them.
    pub told: BTreeMap<String, Vec<(String, String)>>,
}

/// Whose inputs the deployment's own are, in [`World::told`].
pub const DEPLOYMENT: &str = "the deployment";

/// Whether an input sends whoever has it to a host: it names the name server, or its text is an address with a scheme
/// (a repository's). Pools and databases have reasons of their own.
pub fn sends(input: &str, text: &str, host: IpAddr) -> bool {
    let place = match text.split_once("://") {
        Some((_, rest)) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
        None if input == "DNS_SERVER" => text.trim(),
        None => return false,
    };
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let named = match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        // more than one colon without brackets is an address itself
        None if place.matches(':').count() == 1 => place.split(':').next().unwrap_or_default(),
        None => place,
    };
    named.parse().is_ok_and(|named: IpAddr| named == host)
}

/// Whether a server is among those of these names, by itself or with its array.
pub fn ends(server: &Server, names: &[(String, String)]) -> bool {
    let wanted = |kind: &str, name: &str| names.iter().any(|(k, n)| k == kind && n == name);
    wanted("server", &server.name)
        || server.array.as_ref().is_some_and(|array| wanted("array", array))
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
    let servers: Vec<&Server> = world.servers.iter().filter(|s| ends(s, names)).collect();
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
            forbidden: of_server(server, world, &ending, &reach),
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

fn of_server(
    server: &Server,
    world: &World,
    ending: &BTreeSet<&str>,
    reach: &Reach,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if server.locked {
        reasons.push("it is locked (rs-server unlock it, if it may go)".to_owned());
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
            if !ending.contains(balancer.as_str()) {
                reasons.push(format!(
                    "{balancer} could not be asked whether it is a member: {why} (make it answer, or end it too)"
                ));
            }
        }
    }
    if !reach.whole {
        of_balancer(server, world, ending, reach, &mut reasons);
        of_service(server, world, ending, &mut reasons);
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

/// A name server or a repository is no member of anything, and whoever asks it is told of it by an input. The machine of
/// one that we did not launch goes on.
fn of_service(server: &Server, world: &World, ending: &BTreeSet<&str>, reasons: &mut Vec<String>) {
    let Some(host) = server.address.filter(|_| server.state.is_up() && !server.foreign) else {
        return;
    };
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (who, inputs) in &world.told {
        if who == &server.name || ending.contains(who.as_str()) {
            continue;
        }
        for (input, _) in inputs.iter().filter(|(input, text)| sends(input, text, host)) {
            needs.entry(input).or_default().push(who);
        }
    }
    reasons.extend(needs.iter().map(|(input, who)| {
        format!(
            "{input} of {} names its address {host} (rs-inputs set it to another first)",
            who.join(", ")
        )
    }));
    let names = |other: &&Server| other.has_role("dns") && other.state.is_up();
    let mut others = world.servers.iter().filter(names);
    if server.has_role("dns") && others.all(|other| ending.contains(other.name.as_str())) {
        reasons.push(
            "it is the only name server that is left (dns:active=true): who asks names of it would find nobody (launch \
             another first)"
                .into(),
        );
    }
}

/// A balancer carries what is in flight, and is in use as long as members that stay are ready on it: clients come to it by
/// a name that points there. One that was made for a run only (part `temp`) has no clients but the run's.
fn of_balancer(
    server: &Server,
    world: &World,
    ending: &BTreeSet<&str>,
    reach: &Reach,
    reasons: &mut Vec<String>,
) {
    let stays = |member: &&Member| {
        let of = |other: &&Server| other.address == Some(member.address);
        !world.servers.iter().filter(of).any(|other| ending.contains(other.name.as_str()))
    };
    let of_it = || world.balanced.iter().filter(|member| member.balancer == server.name);
    if let Some(why) = world.silent.get(&server.name) {
        let reason = format!("it could not be asked what it carries, and its machine runs: {why}");
        reach.unless("unanswered", reason, reasons);
    }
    for member in of_it().filter(|member| member.sessions > 0) {
        let reason = format!(
            "it carries {} requests to {}: drain it or wait for them",
            member.sessions,
            member.title()
        );
        reach.unless("sessions", reason, reasons);
    }
    let temp =
        server.tags.iter().any(|tag| tag.starts_with("rs_upgrade:") && tag.ends_with("=temp"));
    let mut ready: BTreeMap<&str, usize> = BTreeMap::new();
    for member in of_it().filter(|member| member.admin == Admin::Ready).filter(stays) {
        *ready.entry(member.pool.as_str()).or_default() += 1;
    }
    for (pool, count) in ready.into_iter().filter(|_| !temp) {
        let reason = format!(
            "it balances the pool {pool:?}: {count} members are ready there (take its address out of every name that \
             clients use first)"
        );
        reach.unless("balances", reason, reasons);
    }
}

/// A master never ends while its set goes on; neither does the last slave of a set whose master goes on. When the whole
/// deployment ends, no set goes on.
fn of_database(
    server: &Server,
    world: &World,
    ending: &BTreeSet<&str>,
    reach: &Reach,
) -> Vec<String> {
    let Some(set) = server.set_or_fenced() else { return Vec::new() };
    if !server.state.is_up() {
        return Vec::new();
    }
    let master = server.database_set().map(|(_, master)| master);
    let of_set = |other: &&Server| other.database_set().is_some_and(|(name, _)| name == set);
    if reach.whole && world.servers.iter().filter(of_set).all(|s| ending.contains(s.name.as_str()))
    {
        return Vec::new();
    }
    let mut reasons = Vec::new();
    let followers: Vec<&str> = world
        .databases
        .iter()
        .filter(|(name, _)| !ending.contains(name.as_str()))
        .filter(|(_, seen)| {
            seen.as_ref().is_ok_and(|seen| seen.source.as_ref() == Some(&server.name))
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if master == Some(true) {
        reasons.push(format!(
            "it is a master of the database set {set} (promote another first, or take the tag from one that was abandoned)"
        ));
    } else if !followers.is_empty() {
        // the tags say otherwise, and the runtime is the truth
        reasons.push(format!(
            "{} replicate from it: it is their master (rs-dbsync init them from another first)",
            followers.join(", ")
        ));
    }
    if master == Some(false) {
        let others: Vec<&Server> = world
            .servers
            .iter()
            .filter(|other| {
                !ending.contains(other.name.as_str())
                    && other.database_set() == Some((set, false))
                    && other.state == State::Operational
            })
            .collect();
        let bad: Vec<String> = others
            .iter()
            .filter_map(|other| match world.databases.get(&other.name) {
                Some(Ok(seen)) if seen.lacks.is_empty() => None,
                Some(Ok(seen)) => Some(format!("{}: {}", other.name, seen.lacks.join(", "))),
                Some(Err(why)) => Some(format!("{}: {why}", other.name)),
                None => Some(format!("{}: nobody asked it", other.name)),
            })
            .collect();
        if others.is_empty() {
            reasons.push(format!(
                "it is the last slave of the database set {set} (rs-dbsync init another first)"
            ));
        } else if bad.len() == others.len() {
            let reason = format!(
                "no other slave of the database set {set} is a good one: {}",
                bad.join("; ")
            );
            reach.unless("good-slave", reason, &mut reasons);
        }
    }
    match world.databases.get(&server.name) {
        Some(Ok(seen)) if seen.sessions.is_empty() => {}
        Some(Ok(seen)) => {
            reach.unless(
                "sessions",
                format!("it is used by {}", seen.sessions.join(", ")),
                &mut reasons,
            );
        }
        Some(Err(why)) => {
            let reason = format!("its database could not be asked who uses it: {why}");
            reach.unless("unanswered", reason, &mut reasons);
        }
        None => reach.unless(
            "unanswered",
            "nobody has asked its database who uses it".into(),
            &mut reasons,
        ),
    }
    match world.backups.get(set) {
        Some(Ok(complete)) if *complete > 0 => {}
        Some(Err(why)) => {
            let reason = format!("whether {set} has a good backup is not known: {why}");
            reach.unless("backup", reason, &mut reasons);
        }
        _ => {
            let reason = format!("{set} has no complete backup (rs-snapshot take one first)");
            reach.unless("backup", reason, &mut reasons);
        }
    }
    if let Some(until) = world.held_until.get(&server.name) {
        let reason = format!("it is the way back until {until}");
        reach.unless("rollback-time", reason, &mut reasons);
    }
    reasons
}

/// What is accepted by that name: a database comes up empty where one with data was.
pub const EMPTY: &str = "empty";

/// Why a database's machine must not be made anew: what it holds ends with it, as when it retires, and it comes back
/// empty. One that never came up has nothing yet; one that is gone has nothing left, but no empty server comes up as the
/// master of a set, or in the place of a way back, unless that is accepted ([`EMPTY`]).
///
/// - `ending`: all that are made anew with it.
/// - `gone`: its machine is known to be gone.
/// - `owed`: it is owed that it is kept: it is held, or was abandoned.
/// - `empty`: it may come up empty.
pub fn not_anew(
    server: &Server,
    world: &World,
    ending: &BTreeSet<&str>,
    gone: bool,
    owed: bool,
    empty: bool,
) -> Vec<String> {
    let Some(set) = server.set_or_fenced() else { return Vec::new() };
    let master = server.database_set().is_some_and(|(_, master)| master);
    let answers = world.databases.get(&server.name).is_some_and(Result::is_ok);
    match server.state {
        State::Inactive => return Vec::new(),
        State::Pending | State::Booting | State::StrandedInBooting
            if !(owed || master && answers) =>
        {
            return Vec::new();
        }
        _ if gone && !empty && (master || owed) => {
            let (place, instead) = if master {
                let tag =
                    format!("promote another first, or take its tag database:master_active={set}");
                ("as the master", tag)
            } else {
                (
                    "in the place of a way back",
                    "rs-cleanup audit --settle forgets that it was one".into(),
                )
            };
            return vec![format!(
                "its machine is gone, and it would come back empty {place} of the database set {set} ({instead}; or \
                 --accept {EMPTY})"
            )];
        }
        _ if gone => return Vec::new(),
        _ => {}
    }
    let mut reasons = of_database(server, world, ending, &Reach::default());
    let warm =
        server.tags.iter().any(|tag| tag.starts_with("rs_upgrade:") && tag.ends_with("=warm"));
    if owed || warm || server.database_set().is_none() {
        reasons.push(format!("it is kept as a way back of the database set {set}"));
    }
    reasons
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

/// Servers of a plan that we did not launch: their machines are not ours to end, and only their definitions can go.
///
/// - `delete`: whether definitions go.
pub fn not_ours(world: &World, names: &[(String, String)], delete: bool) -> Vec<String> {
    let foreign = world.servers.iter().filter(|server| server.foreign && ends(server, names));
    foreign
        .filter(|_| !delete)
        .map(|server| {
            format!(
                "server {}: we did not launch it, and cannot end it (with --delete its definition goes, and nothing else)",
                server.name
            )
        })
        .collect()
}

/// Whether a debt is about that server (or array) and is settled by its end.
pub fn ends_with(debt: &Debt, name: &str) -> bool {
    let Some((kind, subject)) = debt.key.split_once(':') else { return false };
    match kind {
        "held" | "backups" | "quenched" | "array" | "lock" | "runtime-only" | "fenced"
        | "rebuild" | "sync_relay_log" | "binlogs" | "temp" => subject == name,
        "input" => subject.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')),
        "standby" => subject.split_once('/').is_some_and(|(_, server)| server == name),
        _ => false,
    }
}

/// Whether a debt is settled by the end of what it is about, and not by its inverse: what was made for an upgrade only;
/// the new array of a run that came back, and the old one of a run that migrated. Enabled, either would start a release on
/// a schema that it cannot live with.
///
/// - `part`: what the subject is in the run that owes it.
/// - `stands`: where that run stands.
pub fn is_ended(debt: &Debt, part: Option<&str>, stands: Stands) -> bool {
    match (debt.kind.as_str(), part) {
        ("temp", _) => true,
        ("array", Some("new")) => stands == Stands::Back,
        ("array", Some("old")) => stands == Stands::Over,
        _ => false,
    }
}

#[cfg(test)]
#[path = "retire_tests.rs"]
mod tests;
