//! What the world shows of a debt: whether it is still owed.

use rs_contract::{Setting, State};
use rs_model::act::Debt;
use rs_model::replica::judge_replicating;
use rs_model::{Admin, Answer, Server, Value};

use crate::look::Look;
use crate::settings::Settings;

/// What the world says of a debt.
pub enum Seen {
    /// It is as the debt says.
    Open(String),
    /// It is owed, and what it was to keep is not kept: due now, whenever the debt is, and settled by the verb (and flags)
    /// of that tool on that server.
    Broken(String, &'static [&'static str]),
    /// It is as the debt says, and before the command that settles it another one has to be, of that verb on that server.
    First(String, &'static [&'static str]),
    /// Somebody has put it back.
    Settled(String),
    /// It could not be found out, which counts as open.
    Unknown(String),
}

/// The command that puts right what a debt was to keep.
pub fn settled_by(verb: &[&str], debt: &Debt) -> Vec<String> {
    // an act on one server may owe another
    let name = debt.key.split_once(':').map_or(debt.subject.as_str(), |(_, name)| name);
    let rest = ["--deployment", &debt.deployment, "--", name];
    verb.iter().copied().chain(rest).map(str::to_owned).collect()
}

/// Asks the world about one debt.
pub fn see(look: &Look<'_>, state: &dyn State, debt: &Debt) -> rs_contract::Result<Seen> {
    let Some((kind, subject)) = debt.key.split_once(':') else {
        return Ok(Seen::Unknown("its key has no kind".into()));
    };
    match kind {
        "page" => page(look, subject),
        "writes" => writes(look, subject),
        "events" => events(look, subject),
        "lowered" => lowered(look, subject),
        "standby" => standby(look, subject),
        "offline" => offline(look, subject),
        "record" => record(look, subject),
        "pin" => pin(look, subject),
        "array" => Ok(match look.arrays.iter().find(|array| array.name == subject) {
            None => Seen::Settled(format!("array {subject} is gone")),
            Some(array) if array.enabled => Seen::Settled(format!("array {subject} is enabled")),
            Some(_) => Seen::Open(format!("array {subject} is disabled")),
        }),
        "input" => Ok(input(look, debt, subject)),
        "backups" => backups(look, state, subject),
        "runtime-only" => runtime_only(look, subject),
        _ => of_server(look, kind, subject),
    }
}

fn of_server(look: &Look<'_>, kind: &str, name: &str) -> rs_contract::Result<Seen> {
    let Some(server) = look.server(name) else {
        return Ok(Seen::Settled(format!("server {name} is gone")));
    };
    if kind == "lock" {
        return Ok(if server.locked {
            Seen::Open(format!("server {name} is locked"))
        } else {
            Seen::Settled(format!("server {name} is not locked"))
        });
    }
    if kind == "temp" {
        let temp = |tag: &String| tag.starts_with("rs_upgrade:") && tag.ends_with("=temp");
        return Ok(match server.tags.iter().any(temp) {
            true => Seen::Open(format!("server {name} is there, for the upgrade only")),
            false => Seen::Settled(format!("server {name} is temporary no more")),
        });
    }
    if !server.state.is_up() && !server.foreign {
        return Ok(Seen::Settled(format!("server {name} has no machine any more")));
    }
    Ok(match kind {
        "held" if look.database(server)?.replica()?.is_held() => {
            Seen::Open(format!("server {name} is held"))
        }
        "held" => Seen::Settled(format!("server {name} is not held")),
        "binlogs" => setting(look, server, Setting::KeptBinlogs)?,
        "sync_relay_log" => setting(look, server, Setting::SyncedRelayLog)?,
        "quenched" => {
            match crate::alerts(&Settings::of_deployment(look.cloud, look.deployment)?)? {
                None => Seen::Unknown("the deployment has no alert system any more".into()),
                Some(alerts) if alerts.quenched(look.deployment, server)? => {
                    Seen::Open(format!("the alerts of {name} are silenced"))
                }
                Some(_) => Seen::Settled(format!("the alerts of {name} are on")),
            }
        }
        "fenced" if !server.tags.iter().any(|tag| tag.starts_with("database:fenced=")) => {
            Seen::Settled(format!("server {name} is no abandoned master any more"))
        }
        "rebuild" => rebuild(look, server)?,
        // its tag says what was meant, and the server itself who can write
        "fenced" => fenced(look, server)?,
        _ => Seen::Unknown(format!("of the kind {kind} only the debt itself can tell")),
    })
}

/// An abandoned master: what it holds is in a backup, or in one place only.
fn fenced(look: &Look<'_>, server: &Server) -> rs_contract::Result<Seen> {
    let said = format!("server {} is an abandoned master, and", server.name);
    if !look.database(server)?.writes()?.off {
        return Ok(Seen::Broken(format!("{said} takes writes"), &["rs-dbsync", "writes", "off"]));
    }
    let none = |why: &str| Seen::First(format!("{said} read-only; {why}"), TAKE);
    Ok(match look.backup_of(server) {
        Ok(Some(backup)) => {
            Seen::Open(format!("{said} read-only; what it holds is in the backup {:?}", backup.id))
        }
        Ok(None) => none("what it holds is in no backup"),
        Err(why) => none(&format!("whether a backup has what it holds is not known: {why}")),
    })
}

/// What keeps the data of a server.
const TAKE: &[&str] = &["rs-snapshot", "take", "--pin"];

/// A slave that followed an abandoned master is settled once it follows the present one.
fn rebuild(look: &Look<'_>, slave: &Server) -> rs_contract::Result<Seen> {
    let name = &slave.name;
    let Some((set, false)) = slave.database_set() else {
        return Ok(Seen::Settled(format!("server {name} is no slave any more")));
    };
    let masters: Vec<&Server> =
        look.servers.iter().filter(|s| s.database_set() == Some((set, true))).collect();
    let [master] = masters.as_slice() else {
        return Ok(Seen::Unknown(format!("the set {set} has {} masters", masters.len())));
    };
    let replica = look.database(slave)?.replica()?;
    let identity = look.database(master)?.identity()?;
    let follows = judge_replicating(name, &replica, &identity);
    Ok(match follows.iter().find(|check| check.answer != Answer::Ok) {
        None => Seen::Settled(format!("server {name} replicates from {}", master.name)),
        Some(check) => Seen::Open(format!("server {name}: {}: {}", check.name, check.detail)),
    })
}

fn page(look: &Look<'_>, pool: &str) -> rs_contract::Result<Seen> {
    let mut asked = Vec::new();
    for server in look.balancers().filter(|server| server.balances(pool)) {
        let (active, saved) = look.page(server)?.active(pool)?;
        if active || saved == Some(true) {
            let also = if active { "" } else { " after its next reload" };
            return Ok(Seen::Open(format!("{} shows the page{also}", server.name)));
        }
        asked.push(server.name.clone());
    }
    Ok(if asked.is_empty() {
        Seen::Unknown(format!("no balancer of pool {pool} is up"))
    } else {
        Seen::Settled(format!("no page on {}", asked.join(", ")))
    })
}

fn writes(look: &Look<'_>, set: &str) -> rs_contract::Result<Seen> {
    let masters = look.servers.iter().filter(|server| server.database_set() == Some((set, true)));
    let mut asked = Vec::new();
    for server in masters.filter(|server| server.state.is_up() || server.foreign) {
        if look.database(server)?.writes()?.off {
            return Ok(Seen::Open(format!("writes are off on {}", server.name)));
        }
        asked.push(server.name.clone());
    }
    Ok(if asked.is_empty() {
        Seen::Unknown(format!("no master of the set {set} is up"))
    } else {
        Seen::Settled(format!("writes are on on {}", asked.join(", ")))
    })
}

fn events(look: &Look<'_>, set: &str) -> rs_contract::Result<Seen> {
    let masters = look.servers.iter().filter(|server| server.database_set() == Some((set, true)));
    let mut asked = Vec::new();
    for server in masters.filter(|server| server.state.is_up() || server.foreign) {
        if look.database(server)?.writes()?.events_before.as_deref() != Some("ON") {
            return Ok(Seen::Open(format!("events are off on {}", server.name)));
        }
        asked.push(server.name.clone());
    }
    Ok(if asked.is_empty() {
        Seen::Unknown(format!("no master of the set {set} is up"))
    } else {
        Seen::Settled(format!("events are on on {}", asked.join(", ")))
    })
}

/// A setting that a run changed for a time.
fn setting(look: &Look<'_>, server: &Server, setting: Setting) -> rs_contract::Result<Seen> {
    let database = look.database(server)?;
    let (now, changed) = (database.setting(setting)?, database.changed_setting(setting));
    let what = match setting {
        Setting::KeptBinlogs => "binary logs are kept for",
        Setting::SyncedRelayLog => "its relay log is synced after each",
    };
    Ok(if now == changed {
        Seen::Open(format!("server {} is changed for the run: {now}", server.name))
    } else {
        Seen::Settled(format!("server {}: {what} {now} again", server.name))
    })
}

fn lowered(look: &Look<'_>, set: &str) -> rs_contract::Result<Seen> {
    let masters = look.servers.iter().filter(|server| server.database_set() == Some((set, true)));
    let mut asked = Vec::new();
    for server in masters.filter(|server| server.state.is_up() || server.foreign) {
        if look.database(server)?.writes()?.lowered {
            return Ok(Seen::Open(format!("{} lets privileged accounts write", server.name)));
        }
        asked.push(server.name.clone());
    }
    Ok(if asked.is_empty() {
        Seen::Unknown(format!("no master of the set {set} is up"))
    } else {
        Seen::Settled(format!("the lock is not lowered on {}", asked.join(", ")))
    })
}

/// What a balancer missed while it did not answer: settled once it has that server as the others of the pool have it.
fn offline(look: &Look<'_>, subject: &str) -> rs_contract::Result<Seen> {
    let Some((pool, rest)) = subject.split_once('/') else {
        return Ok(Seen::Unknown("its key names no pool".into()));
    };
    let all: Vec<&Server> = look.balancers().filter(|server| server.balances(pool)).collect();
    // names may hold slashes
    let missed = all
        .iter()
        .find_map(|lb| Some((*lb, rest.strip_prefix(lb.name.as_str())?.strip_prefix('/')?)));
    let Some((lb, name)) = missed else {
        return Ok(Seen::Settled(format!("{rest}: that balancer is none of {pool} any more")));
    };
    let Some(address) = look.server(name).and_then(|server| server.address) else {
        return Ok(Seen::Settled(format!("server {name} has no address any more")));
    };
    let there = |lb: &Server| -> rs_contract::Result<Vec<(u16, Admin)>> {
        let members = look.balancer(lb)?.members(pool)?;
        let its = members.iter().filter(|m| m.address == address && m.is_there());
        let mut its: Vec<_> = its.map(|m| (m.port, m.admin)).collect();
        its.sort_by_key(|(port, _)| *port);
        Ok(its)
    };
    let own = there(lb)?;
    let Some(other) = all.iter().find(|other| other.name != lb.name) else {
        return Ok(Seen::Unknown(format!("no other balancer of pool {pool} is up")));
    };
    Ok(if there(other)? == own {
        Seen::Settled(format!("{} has {name} as {} has it", lb.name, other.name))
    } else {
        Seen::Open(format!("{} does not have {name} as {} has it", lb.name, other.name))
    })
}

fn standby(look: &Look<'_>, subject: &str) -> rs_contract::Result<Seen> {
    let Some((pool, name)) = subject.split_once('/') else {
        return Ok(Seen::Unknown("its key names no pool and server".into()));
    };
    let Some(address) = look.server(name).and_then(|server| server.address) else {
        return Ok(Seen::Settled(format!("server {name} has no address any more")));
    };
    let mut asked = 0;
    for server in look.balancers().filter(|server| server.balances(pool)) {
        let members = look.balancer(server)?.members(pool)?;
        let mut found = members.iter().filter(|member| member.address == address);
        if found.any(|member| member.admin == Admin::Maint) {
            return Ok(Seen::Open(format!("{name} stands by in {pool} on {}", server.name)));
        }
        asked += 1;
    }
    Ok(if asked == 0 {
        Seen::Unknown(format!("no balancer of pool {pool} is up"))
    } else {
        Seen::Settled(format!("{name} stands by on none of {asked} balancers"))
    })
}

/// A backup schedule is in the state store; one that somebody removed is as much off as one that is switched off.
fn backups(look: &Look<'_>, state: &dyn State, name: &str) -> rs_contract::Result<Seen> {
    if !look.server(name).is_some_and(|server| server.state.is_up() || server.foreign) {
        return Ok(Seen::Settled(format!("server {name} has no machine any more")));
    }
    let entry = state.get(&format!("schedule/{}/{name}", look.deployment))?;
    let on = entry.is_some_and(|entry| entry.value["enabled"] == true);
    Ok(if on {
        Seen::Settled(format!("backups of {name} are on"))
    } else {
        Seen::Open(format!("backups of {name} are off"))
    })
}

fn runtime_only(look: &Look<'_>, name: &str) -> rs_contract::Result<Seen> {
    let Some(address) = look.server(name).and_then(|server| server.address) else {
        return Ok(Seen::Settled(format!("server {name} has no address any more")));
    };
    let facts = look.facts(&|_| false);
    if let Some((balancer, why)) = facts.unanswered.first() {
        return Ok(Seen::Unknown(format!("{balancer} could not be asked: {why}")));
    }
    let mut members = facts.members.iter().filter(|member| member.address == address);
    Ok(match members.find(|member| member.saved != Some(true)) {
        Some(member) => Seen::Open(format!(
            "a reload of {} would lose it from the pool {}",
            member.balancer, member.pool
        )),
        None => Seen::Settled(format!("every membership of {name} outlives a reload")),
    })
}

fn record(look: &Look<'_>, host: &str) -> rs_contract::Result<Seen> {
    let dns = crate::dns(&Settings::of_deployment(look.cloud, look.deployment)?)?;
    let (addresses, _) = dns.lookup(host)?;
    Ok(if addresses.is_empty() {
        Seen::Settled(format!("{host} points nowhere"))
    } else {
        Seen::Open(format!("{host} points to {addresses:?}"))
    })
}

fn pin(look: &Look<'_>, subject: &str) -> rs_contract::Result<Seen> {
    let Some((lineage, label)) = subject.split_once('/') else {
        return Ok(Seen::Unknown("its key names no lineage and label".into()));
    };
    let Some(server) = look.of_lineage(lineage)? else {
        return Ok(Seen::Unknown(format!("no server of the lineage {lineage} is defined")));
    };
    let store = crate::snapshots(&look.settings_of(server)?, None)?;
    let mut found = store.list(lineage)?.into_iter();
    Ok(match found.find(|snapshot| snapshot.label.as_deref() == Some(label)) {
        None => Seen::Settled(format!("there is no snapshot {label:?} any more")),
        Some(snapshot) if snapshot.pinned => {
            Seen::Open(format!("snapshot {} is pinned", snapshot.id))
        }
        Some(snapshot) => Seen::Settled(format!("snapshot {} is not pinned", snapshot.id)),
    })
}

/// An override that was set for a time only: gone, or no longer what the debt's act had set.
fn input(look: &Look<'_>, debt: &Debt, subject: &str) -> Seen {
    let Some((name, input)) = subject.rsplit_once('/') else {
        return Seen::Unknown("its key names no server and input".into());
    };
    let next = look
        .server(name)
        .map(|server| &server.next)
        .or_else(|| look.arrays.iter().find(|array| array.name == name).map(|array| &array.next));
    let Some(next) = next else { return Seen::Settled(format!("{name} is gone")) };
    let before = debt.before.as_str().and_then(|text| Value::parse(text).ok());
    match next.get(input) {
        None => Seen::Settled(format!("{name} overrides {input} no more")),
        Some(value) if before.as_ref() == Some(value) => {
            Seen::Settled(format!("{input} of {name} is {value} again"))
        }
        Some(value) => Seen::Open(format!("{name} overrides {input} with {value}")),
    }
}
