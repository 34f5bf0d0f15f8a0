//! Gathers what `stop` rests on, each fact asked now; the model judges.

use std::path::Path;
use std::time::Duration;

use rs_cli::{Context, Journal, alive};
use rs_contract::{Cloud, Error, Kind, Result, State};
use rs_drivers::look::Look;
use rs_drivers::settings::Settings;
use rs_model::act::{Act, Debt, Outcome};
use rs_model::migration::{half, schema_state};
use rs_model::reopen::{Copy, Master, Reader, ReopenFacts};
use rs_model::replica::{HeldAt, judge_replicating};
use rs_model::{Answer, Check, Position, Server, pool};

use crate::balancers::{Lb, Pool};

/// What is asked of the operator besides.
pub struct Asked<'a> {
    /// Records of `rs-check site`.
    pub brought: Option<&'a Path>,
    /// How long a slave that serves reads may take.
    pub wait: Duration,
    /// Whether a balancer is reached: the others are named when their turn comes.
    pub reached: &'a (dyn Fn(&Lb) -> bool + Sync),
}

/// Every fact.
pub fn gather(
    cx: &Context,
    pool: &Pool,
    cloud: &dyn Cloud,
    state: &dyn State,
    asked: &Asked<'_>,
) -> Result<ReopenFacts> {
    let journal = Journal::new(state);
    let debts = journal.debts(&pool.deployment)?;
    let acts: Vec<Act> =
        journal.acts()?.into_iter().filter(|act| act.deployment == pool.deployment).collect();
    let look = Look::new(cloud, &pool.deployment)?;
    let migrated = |act: &&Act| act.tool == "rs-dbsync" && act.verb == "migrate";
    let changed = |act: &&Act| migrated(act) || act.tool == "rs-dbsync" && act.verb == "promote";
    let running = acts.iter().filter(migrated).filter(|act| act.outcome == Outcome::Open);
    let held = debts.iter().filter(|debt| debt.kind == "held");
    let last_migrated = acts.iter().filter(migrated).filter_map(end).max();
    Ok(ReopenFacts {
        pool: pool.name.clone(),
        writes_owed: debts
            .iter()
            .filter(|debt| debt.kind == "writes")
            .map(|debt| format!("writes are off ({}) since {}", debt.key, debt.since))
            .collect(),
        masters: masters(cx, &look),
        migrating: running
            .filter(|act| alive(act) == Some(true))
            .map(|act| format!("the migration of {} (act {}) is under way", act.subject, act.seq))
            .collect(),
        changed_at: acts.iter().filter(changed).filter_map(end).max(),
        site_check: journal.site_check(&pool.deployment, &pool.name)?,
        brought: asked.brought.map(brought).transpose()?.unwrap_or_default(),
        readers: readers(cx, &look, asked.wait),
        strangers: strangers(pool, asked.reached, cloud)?,
        unreached: unreached(pool, asked.reached),
        copies: held
            .filter(|debt| last_migrated.as_ref().is_some_and(|at| *at > debt.since))
            .map(|debt| copy(&acts, &look, debt))
            .collect(),
    })
}

/// When an act ended, RFC 3339 UTC; of one that was cut off, when it was begun.
fn end(act: &Act) -> Option<String> {
    let begun: jiff::Timestamp = act.at.parse().ok()?;
    let ms = i64::try_from(act.ms.unwrap_or(0)).ok()?;
    Some(format!("{:.3}", begun.checked_add(jiff::SignedDuration::from_millis(ms)).ok()?))
}

fn up(server: &Server) -> bool {
    server.state.is_up() || server.foreign
}

fn masters(cx: &Context, look: &Look<'_>) -> Vec<Master> {
    let found: Vec<(&str, &Server)> = look
        .servers
        .iter()
        .filter(|server| up(server))
        .filter_map(|server| match server.database_set() {
            Some((set, true)) => Some((set, server)),
            _ => None,
        })
        .collect();
    cx.side_by_side(&found, |(set, server)| {
        let see = || {
            let db = look.database(server)?;
            let migrations = db.migrations()?;
            let words = half(&migrations).iter().map(|one| one.words()).collect();
            Ok((db.writes()?.off, schema_state(&migrations, None), words))
        };
        Master { set: (*set).to_owned(), seen: see().map_err(|e: Error| e.to_string()) }
    })
}

/// The slaves that serve reads: whether each has what its master had when it was asked.
fn readers(cx: &Context, look: &Look<'_>, wait: Duration) -> Vec<Reader> {
    let found: Vec<&Server> = look
        .servers
        .iter()
        .filter(|server| up(server) && server.has_role("reads"))
        .filter(|server| server.database_set().is_some_and(|(_, master)| !master))
        .collect();
    cx.side_by_side(&found, |server| {
        let serves = serves(look, server);
        Reader {
            server: server.name.clone(),
            serves: serves.clone().unwrap_or(true),
            lacks: serves.and_then(|serves| {
                if serves {
                    lacks(look, server, wait).map_err(|e| e.to_string())
                } else {
                    Ok(vec![])
                }
            }),
        }
    })
}

/// Whether the name for reads leads to a slave; where there is no such name its tag counts.
fn serves(look: &Look<'_>, server: &Server) -> std::result::Result<bool, String> {
    let ask = || {
        let name = look.settings_of(server)?.or("DB_READ_HOST_NAME", "")?;
        if name.is_empty() {
            return Ok(true);
        }
        let dns = rs_drivers::dns(&Settings::of_deployment(look.cloud, look.deployment)?)?;
        let (addresses, _) = dns.lookup(&name)?;
        Ok(addresses.iter().any(|address| server.address == Some((*address).into())))
    };
    ask().map_err(|e: Error| e.to_string())
}

fn lacks(look: &Look<'_>, slave: &Server, wait: Duration) -> Result<Vec<String>> {
    let set = slave.database_set().map(|(set, _)| set);
    let of_set =
        |s: &&Server| s.database_set().is_some_and(|(name, master)| master && Some(name) == set);
    let masters: Vec<&Server> = look.servers.iter().filter(of_set).collect();
    let [master] = masters.as_slice() else {
        return Err(Error::new(Kind::Declined, format!("its set has {} masters", masters.len())));
    };
    let (master, slave_db) = (look.database(master)?, look.database(slave)?);
    let position = master.position()?;
    let checks = judge_replicating(&slave.name, &slave_db.replica()?, &master.identity()?);
    let mut lacks: Vec<String> = checks
        .into_iter()
        .filter(|check| check.answer != Answer::Ok)
        .map(|check| format!("{}: {}", check.name, check.detail))
        .collect();
    if lacks.is_empty() && !slave_db.wait_applied(&position, wait)? {
        let applied = slave_db.replica()?.applied;
        let behind = match (position.set(), applied.set()) {
            (Some(master), Some(applied)) => master.beyond(&applied),
            _ => None,
        };
        let behind =
            behind.map_or_else(|| "what".to_owned(), |n| format!("{n} transactions of what"));
        lacks.push(format!(
            "it lags: {behind} the master had {wait:?} ago is not applied (at {}, the master at {})",
            applied.text(),
            position.text()
        ));
    }
    Ok(lacks)
}

/// The newest backup that stands for a held slave: of itself since it is held, or of its master between that and the
/// migration, when nobody writes there.
fn copy(acts: &[Act], look: &Look<'_>, debt: &Debt) -> Copy {
    let (server, since) = (debt.subject.as_str(), debt.since.as_str());
    let set = look.server(server).and_then(|held| held.database_set()).map(|(set, _)| set);
    let of_set =
        |master: &&Server| set.is_some_and(|set| master.database_set() == Some((set, true)));
    let subject = |name: &str| format!("server {name}");
    let masters: Vec<String> =
        look.servers.iter().filter(of_set).map(|master| subject(&master.name)).collect();
    let migrated =
        |act: &&Act| act.tool == "rs-dbsync" && act.verb == "migrate" && act.at.as_str() >= since;
    let migrated = acts.iter().find(migrated).map(|act| act.at.as_str());
    let of = |act: &&Act| {
        act.tool == "rs-snapshot"
            && act.verb == "take"
            && act.at.as_str() >= since
            && (act.subject == subject(server)
                || masters.contains(&act.subject) && migrated.is_none_or(|at| act.at.as_str() < at))
    };
    // one that was there before, and is of the very same position, stands for it too
    let position = serde_json::from_value::<HeldAt>(debt.before.clone()).map(|held| held.position);
    let same = |act: &&Act| {
        act.tool == "rs-snapshot"
            && act.verb == "take"
            && act.outcome == Outcome::Done
            && serde_json::from_value::<Position>(act.after["position"].clone())
                .is_ok_and(|at| position.as_ref().is_ok_and(|held| held.same(&at)))
    };
    let backup = acts.iter().rfind(of).or_else(|| acts.iter().rfind(same)).map(|act| {
        let outcome = if act.was_found_done() { Outcome::Done } else { act.outcome };
        let how = match (outcome, alive(act)) {
            (Outcome::Done, _) => "is done".to_owned(),
            (Outcome::Failed, _) => {
                format!("failed: {}", act.error.as_deref().unwrap_or("nobody knows why"))
            }
            (Outcome::Open, Some(false)) => "was cut off".to_owned(),
            (Outcome::Open, _) => "is being taken".to_owned(),
        };
        (outcome, format!("its backup (act {}, begun {}) {how}", act.seq, act.at))
    });
    Copy { server: server.to_owned(), backup }
}

fn unreached(pool: &Pool, reached: &(dyn Fn(&Lb) -> bool + Sync)) -> Vec<String> {
    let results = pool.on_all(|lb| if reached(lb) { through(lb, &pool.name) } else { Ok(()) });
    let failed = pool.lbs.iter().zip(results).filter_map(|(lb, result)| Some((lb, result.err()?)));
    failed.map(|(lb, e)| format!("{}: {e}", lb.server.name)).collect()
}

/// A request through the bypass must reach an application that is well.
fn through(lb: &Lb, pool: &str) -> Result<()> {
    let path = lb.settings.or("HEALTH_CHECK_URI", "/health")?;
    for probe in lb.probes(pool, &path)? {
        let probe = probe.bypass(&lb.settings)?;
        let url = probe.url();
        let answer = probe.send()?;
        if answer.status >= 400 {
            return Err(Error::new(
                Kind::No,
                format!("{url} answers {} through the bypass", answer.status),
            ));
        }
    }
    Ok(())
}

fn strangers(pool: &Pool, reached: &dyn Fn(&Lb) -> bool, cloud: &dyn Cloud) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for lb in pool.lbs.iter().filter(|lb| reached(lb)) {
        let channel = if lb.server.foreign { None } else { Some(cloud.channel(&lb.server)?) };
        let members = rs_drivers::balancer(&lb.server, &lb.settings, channel)
            .and_then(|driver| driver.members(&pool.name));
        match members {
            Ok(mut members) => {
                pool::name_members(&mut members, &pool.servers, |server| {
                    Settings::among(cloud, &pool.deployment, server, &pool.servers)
                        .and_then(|settings| settings.port("APPLICATION_PORT", 8000))
                        .unwrap_or(0)
                });
                let strange = members.iter().filter(|m| m.server.is_none() && m.is_there());
                found.extend(strange.map(|m| format!("nobody knows {}", m.title())));
            }
            Err(e) => found.push(format!("the members of {} cannot be read: {e}", lb.server.name)),
        }
    }
    Ok(found)
}

/// What is not ok in the checks of a file.
fn brought(path: &Path) -> Result<Vec<String>> {
    let bad = |e: &dyn std::fmt::Display| {
        Error::new(Kind::Usage, format!("{} cannot be read", path.display()))
            .because(e)
            .hint("rs-check site --json >FILE writes it")
    };
    let text = std::fs::read_to_string(path).map_err(|e| bad(&e))?;
    let checks: Vec<Check> = rs_records::parse_all(&text, None)
        .map_err(|e| bad(&e))?
        .iter()
        .filter(|record| record.is::<Check>())
        .map(|record| record.decode())
        .collect::<std::result::Result<_, _>>()?;
    if checks.is_empty() {
        return Ok(vec![format!("{} holds no check", path.display())]);
    }
    Ok(checks
        .iter()
        .filter(|check| check.answer != Answer::Ok)
        .map(|check| format!("{} of {}: {}", check.name, check.subject, check.detail))
        .collect())
}
