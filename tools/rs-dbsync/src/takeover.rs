//! Gathers what a promotion rests on; the model judges.

use std::collections::BTreeMap;

use rs_contract::Result;
use rs_drivers::settings::Settings;
use rs_drivers::{look, outside};
use rs_model::act::Outcome;
use rs_model::migration::{Stage, half};
use rs_model::silence::judge_silence;
use rs_model::snapshot::Snapshot;
use rs_model::takeover::{Abandoned, Application, Known, TakeoverFacts, strangers};
use rs_model::{Answer, Position, Server, State, pool};
use serde_json::json;

use crate::price;
use crate::promote::{Plan, Promote, Record, debts};
use crate::sets::{Site, fenced_key, held_key, rebuild_key};

/// Every fact, each asked now.
pub fn gather(
    promote: &Promote,
    run: Option<&str>,
    site: &Site<'_>,
    plan: &Plan,
) -> Result<TakeoverFacts> {
    let slave = &plan.slave;
    // whoever promotes by hand names no run: it is the one that held it
    let name = &slave.server.name;
    let kept_by = site.debt(&held_key(name))?.or(site.debt(&fenced_key(name))?);
    let kept_by = kept_by.and_then(|debt| debt.owner.run);
    let run = run.or(kept_by.as_deref());
    let backups = backups(site, plan);
    let master = abandoned(site, plan);
    let (price, price_words) = lost(site, plan, &master);
    let names = plan.dns.as_ref().map(|record| record.names.clone()).unwrap_or_default();
    let found = match &plan.dns {
        Some(record) => lookup(record),
        None => BTreeMap::new(),
    };
    // a machine that ended has no address in the records any more, and the name still points there
    let former = matches!(master, Abandoned::Dead(_)).then_some(plan.held.source_host.as_str());
    let names_wrong = wrong(site, former, promote.max_ttl.as_secs(), &found);
    // the migrated master has the new release's data; whoever was held has the old one's
    let warm = run.is_some_and(|run| slave.server.part(run) == Some("warm"));
    let release = if plan.held.fenced_by.is_some() && !warm { "new" } else { "old" };
    let migrations = slave.db.migrations()?;
    let token = migrated_by(site, &slave.set, run)?;
    Ok(TakeoverFacts {
        candidate: slave.server.name.clone(),
        held: plan.held.clone(),
        now: slave.db.replica()?,
        canaries: slave.db.canaries()?,
        schema: slave.db.schema_fingerprint(&plan.held.schema)?,
        left_half: half(&migrations).into_iter().cloned().collect(),
        migrated: migrations
            .into_iter()
            .find(|one| Some(&one.token) == token.as_ref() && one.stage() == Stage::Done),
        half: plan.half,
        candidates: candidates(site, plan)?,
        kept: kept(plan, &master, &backups),
        backups,
        frozen_at: frozen_at(site, &plan.old.name, &plan.held.at)?,
        open_pages: open_pages(site, run)?,
        master,
        price,
        price_words,
        accepted: promote.accepted(),
        stated_time: promote.stated_time(),
        scheduled: scheduled(site)?,
        names_wrong,
        names,
        slaves: slaves(site, plan)?,
        applications: applications(site, run, release),
        all_applications: site.servers.iter().filter(|s| serves(s)).count(),
        release: release.to_owned(),
        expected: promote.expected().unwrap_or(&plan.old.name).to_owned(),
        said: said(site, plan, &found),
    })
}

/// The token of the newest migration of a run in the set: what is to be gone back from.
fn migrated_by(site: &Site<'_>, set: &str, run: Option<&str>) -> Result<Option<String>> {
    let acts = rs_cli::Journal::new(site.state()).acts()?;
    let newest = acts.iter().rev().find(|act| {
        (act.tool.as_str(), act.verb.as_str()) == ("rs-dbsync", "migrate")
            && act.deployment == site.deployment
            && act.before["set"] == json!(set)
            && run.is_some_and(|run| act.owner.run.as_deref() == Some(run))
    });
    Ok(newest.and_then(|act| act.before["token"].as_str().map(str::to_owned)))
}

/// Who could become the master: held slaves, and the fenced master itself.
fn candidates(site: &Site<'_>, plan: &Plan) -> Result<Vec<String>> {
    let held = site.held_in(&plan.slave.set)?;
    let mut names: Vec<String> = held.iter().map(|(s, _)| s.name.clone()).collect();
    if plan.held.fenced_by.is_some() {
        names.push(plan.slave.server.name.clone());
    }
    Ok(names)
}

fn backups(site: &Site<'_>, plan: &Plan) -> std::result::Result<Vec<Snapshot>, String> {
    let read = || {
        let lineage = plan.slave.settings.or("DB_LINEAGE_NAME", &plan.slave.set)?;
        let channel = match plan.slave.server.foreign {
            true => None,
            false => Some(site.cloud().channel(&plan.slave.server)?),
        };
        rs_drivers::snapshots(&plan.slave.settings, channel)?.list(&lineage)
    };
    read().map_err(|e| e.to_string())
}

/// The master's position when writes were switched off, the last time before the hold.
fn frozen_at(site: &Site<'_>, master: &str, held_at: &str) -> Result<Option<Position>> {
    let subject = format!("server {master}");
    Ok(rs_cli::Journal::new(site.state())
        .acts()?
        .into_iter()
        .rev()
        .filter(|act| {
            act.tool == "rs-dbsync"
                && act.deployment == site.deployment
                && act.subject == subject
                && act.outcome == Outcome::Done
                && act.at.as_str() <= held_at
                && act.after["off"] == json!(true)
        })
        .find_map(|act| serde_json::from_value(act.after["position"].clone()).ok()))
}

/// The present master: gone by the control plane's word, or asked.
fn abandoned(site: &Site<'_>, plan: &Plan) -> Abandoned {
    let Some(master) = &plan.master else {
        return Abandoned::Dead(format!("{:?} is {}", plan.old.name, plan.old.state.word()));
    };
    if plan.old.name == plan.slave.server.name {
        return Abandoned::Dead(format!("{:?} has no other master any more", plan.slave.set));
    }
    let asked = site
        .frozen(&master.set)
        .and_then(|(allowed, _)| Ok((master.db.silence(&allowed)?, master.db.attached(&allowed)?)));
    match asked {
        Ok((facts, attached)) => Abandoned::Answers {
            loud: judge_silence(&master.server.name, &facts)
                .iter()
                .filter(|check| check.answer != Answer::Ok)
                .map(|check| format!("{}: {}", check.name, check.detail))
                .collect(),
            attached,
        },
        Err(e) => Abandoned::Silent(e.to_string()),
    }
}

fn lost(site: &Site<'_>, plan: &Plan, master: &Abandoned) -> (Option<u64>, String) {
    match (&plan.master, master) {
        (Some(open), Abandoned::Answers { .. }) => {
            let lost = price::of_held(site, open, &plan.slave, &plan.held, price::READ);
            (lost.transactions, lost.words())
        }
        _ => (None, "the master is gone: what it had more cannot be counted".into()),
    }
}

fn kept(
    plan: &Plan,
    master: &Abandoned,
    backups: &std::result::Result<Vec<Snapshot>, String>,
) -> std::result::Result<String, String> {
    let old = &plan.old;
    match (master, backups) {
        (Abandoned::Dead(state), _) => Ok(format!("{state}: there is nothing to read")),
        (Abandoned::Silent(_), _) => {
            Err(format!("{:?} does not answer: no backup of it", old.name))
        }
        (_, Err(why)) => Err(format!("no backup of {:?} can be read: {why}", old.name)),
        _ if old.foreign => Err(format!("no channel reaches {:?}: no backup of it", old.name)),
        _ if old.name == plan.slave.server.name => Ok("it is abandoned already".into()),
        _ => Ok(format!("a backup of {:?} is read first and pinned; it is locked", old.name)),
    }
}

/// Balancers whose users could reach an application now.
fn open_pages(site: &Site<'_>, run: Option<&str>) -> Result<Vec<String>> {
    let mut open = Vec::new();
    // a test balancer of the run has no users
    let temp = |s: &Server| run.is_some_and(|run| s.part(run) == Some("temp"));
    let up = |s: &Server| s.state.is_up() || s.foreign;
    for server in site.servers.iter().filter(|s| s.has_role("lb") && up(s) && !temp(s)) {
        let settings = Settings::among(site.cloud(), &site.deployment, server, &site.servers)?;
        for pool in pool::pools(std::slice::from_ref(server)) {
            let channel = if server.foreign { None } else { Some(site.cloud().channel(server)?) };
            // the map may say yes where no rule reads it: what counts is what a client gets
            let page = rs_drivers::page(server, &settings, channel)
                .and_then(|page| outside::page(page.as_ref(), &settings, &server.name, &pool));
            match page {
                Ok(page) => open.extend(page.not_on()),
                Err(e) => open.push(format!("{}: {e}", server.name)),
            }
        }
    }
    Ok(open)
}

/// A scheduled backup of the wrong side would become the newest of the lineage.
fn scheduled(site: &Site<'_>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for server in site.servers.iter().filter(|s| s.state.is_up() && s.database_set().is_some()) {
        let key = format!("schedule/{}/{}", site.deployment, server.name);
        let schedule = site.state().get(&key)?.map(|entry| entry.value);
        if schedule.is_some_and(|schedule| schedule["enabled"] != json!(false)) {
            found.push(server.name.clone());
        }
    }
    Ok(found)
}

/// What each name is: addresses and time to live, or why it could not be asked.
type Found = BTreeMap<String, std::result::Result<(Vec<String>, Option<u32>), String>>;

fn lookup(record: &Record) -> Found {
    record
        .names
        .iter()
        .map(|name| {
            let found = record.dns.lookup(name).map_err(|e| e.to_string());
            let shown =
                found.map(|(all, ttl)| (all.iter().map(ToString::to_string).collect(), ttl));
            (name.clone(), shown)
        })
        .collect()
}

fn wrong(site: &Site<'_>, former: Option<&str>, max_ttl: u64, found: &Found) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, found) in found {
        match found {
            Err(why) => wrong.push(format!("{name}: {why}")),
            Ok((addresses, ttl)) => {
                let strangers = strangers(addresses, &site.servers, former);
                wrong.extend(strangers.map(|address| format!("{name} is {address}")));
                if let Some(ttl) = ttl.filter(|ttl| u64::from(*ttl) > max_ttl) {
                    wrong.push(format!("{name} lives {ttl} s in caches, {max_ttl} s are allowed"));
                }
            }
        }
    }
    wrong
}

/// The slaves of the set as the records have them: each is the candidate, follows it, or is marked, before or by this act.
fn slaves(site: &Site<'_>, plan: &Plan) -> Result<Vec<Known>> {
    let marks: Vec<String> = debts(site, plan, true).into_iter().map(|debt| debt.key).collect();
    let mut slaves = Vec::new();
    let all = plan.others.iter().chain(&plan.followers).chain([&plan.slave.server]);
    for server in all {
        let name = &server.name;
        let key = rebuild_key(name);
        let declared = *name == plan.slave.server.name
            || plan.followers.iter().any(|one| one.name == *name)
            || marks.contains(&key)
            || site.debt(&key)?.is_some();
        let asked = site.open(server).and_then(|open| open.db.identity());
        slaves.push(Known {
            name: name.clone(),
            address: server.address.map(|address| address.to_string()),
            server_id: asked.ok().map(|identity| identity.server_id),
            declared,
        });
    }
    Ok(slaves)
}

/// Whether a server belongs to the application and not to what stands before or behind it.
fn serves(server: &Server) -> bool {
    server.has_role("app") || server.has_role("worker")
}

/// The application servers of a release, `old` or `new` by the run's tag: each is asked whether it is there.
fn applications(site: &Site<'_>, run: Option<&str>, release: &str) -> Vec<Application> {
    let beside = |s: &Server| ["db", "lb", "dns"].iter().any(|role| s.has_role(role));
    site.servers
        .iter()
        .filter(|s| run.is_some_and(|run| s.part(run) == Some(release)) && !beside(s))
        .map(|server| Application {
            name: server.name.clone(),
            operational: server.state == State::Operational,
            silent: look::answers(site.cloud(), &site.deployment, server, &site.servers)
                .err()
                .map(|e| e.to_string()),
        })
        .collect()
}

/// Who says which server is the master: tags, the master's own name, and whom the held slave followed.
fn said(site: &Site<'_>, plan: &Plan, found: &Found) -> Vec<(String, String)> {
    let by_address = |address: &str| {
        let of = |s: &&Server| s.address.is_some_and(|a| a.to_string() == address);
        site.servers.iter().find(of).map(|s| s.name.clone())
    };
    let mut said = vec![("the tags".to_owned(), plan.old.name.clone())];
    if let Some(source) = by_address(&plan.held.source_host) {
        let when = match plan.held.fenced_by {
            Some(_) => "the promotion that fenced it",
            None => "replication, when it was held,",
        };
        said.push((when.into(), source));
    }
    // after a promotion that was cut off the name may have moved
    if let Some(name) = plan.dns.as_ref().and_then(|record| record.names.first())
        && !plan.half
        && let Some(Ok((addresses, _))) = found.get(name)
    {
        let servers = addresses.iter().filter_map(|address| by_address(address));
        said.extend(servers.map(|server| (name.clone(), server)));
    }
    said
}
