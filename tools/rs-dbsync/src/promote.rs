//! `promote`: a held slave becomes the master. Every condition is asked and named; a missing one declines, and only
//! its name overrides it.

use std::collections::BTreeSet;
use std::time::Duration;

use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Select, Step, shell_words as words};
use rs_contract::{Dns, Error, Kind, Result, Target};
use rs_drivers::settings::Settings;
use rs_model::replica::{HeldAt, judge_held};
use rs_model::silence::judge_silence;
use rs_model::{Answer, Check, Due, Server};
use serde_json::json;

use crate::command;
use crate::price::lost;
use crate::sets::{Open, Site, held_key, refuse, writes_key};

/// Whom to promote.
#[derive(clap::Args)]
pub struct Promote {
    #[command(flatten)]
    select: Select,
    /// Lose what was written since the hold, however much
    #[arg(long)]
    lose_writes: bool,
    /// Lose at most so many transactions
    #[arg(long, value_name = "N", conflicts_with = "lose_writes")]
    accept_loss: Option<u64>,
    /// Go on although this condition does not hold; repeated, by name
    #[arg(long = "override", value_name = "CONDITION")]
    overrides: Vec<String>,
    /// Who has to be the master now
    #[arg(long, value_name = "SERVER")]
    expect_master: Option<String>,
    /// Give up on the old master's sessions after this
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "30s")]
    limit: Duration,
    #[command(flatten)]
    changing: Changing,
}

/// Every condition that a promotion asks, by name.
const CONDITIONS: [&str; 12] = [
    "rollback point",
    "hold unbroken",
    "one candidate",
    "page active",
    "master fenced",
    "application sessions gone",
    "price accepted",
    "abandoned data kept",
    "backups off",
    "DNS record ours",
    "expected master",
    "other slaves",
];

/// What a promotion works with.
struct Plan {
    slave: Open,
    held: HeldAt,
    master: Option<Open>,
    old: Server,
    dns: Option<Record>,
    /// An earlier promotion was cut off after the slave had become a master.
    half: bool,
}

/// The names that point at the master.
struct Record {
    dns: Box<dyn Dns>,
    names: Vec<String>,
}

/// Checks, fences, promotes, moves tags and names.
pub fn run(promote: &Promote, cx: &Context) -> anyhow::Result<Exit> {
    for name in &promote.overrides {
        if !CONDITIONS.contains(&name.as_str()) {
            return Err(Error::new(Kind::Usage, format!("no condition is called {name:?}"))
                .hint(format!("conditions: {}", CONDITIONS.join(", ")))
                .into());
        }
    }
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) =
        cx.subjects(world.cloud.as_ref(), &promote.select, &promote.changing)?;
    let site = Site::new(&world, &deployment)?;
    let mut plans = Vec::new();
    let mut steps = Vec::new();
    let mut sets = BTreeSet::new();
    for (at, slave) in site.open_all(&subjects)? {
        if !sets.insert(slave.set.clone()) {
            return Err(Error::new(
                Kind::Usage,
                format!("two servers of {:?} were named", slave.set),
            )
            .hint("a set has one master")
            .into());
        }
        let before = json!({ "role": if slave.is_master { "master" } else { "slave" } });
        if slave.is_master && site.debt(&held_key(&slave.server.name))?.is_none() {
            steps.push(Step { at, before, ..Step::default() });
            continue;
        }
        let plan = plan(&site, slave)?;
        let checks = conditions(promote, cx.common.upgrade.as_deref(), &site, &plan)?;
        let bad: Vec<Check> = checks
            .iter()
            .filter(|check| !promote.overrides.contains(&check.name))
            .cloned()
            .collect();
        refuse(Kind::Declined, "the promotion may not be", &bad)?;
        steps.push(step(&site, &deployment, at, &plan, before));
        plans.push((at, plan, checks));
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let (_, plan, checks) =
            plans.iter().find(|(at, _, _)| *at == step.at).ok_or_else(|| {
                Error::new(Kind::Failed, "a step without its server")
                    .hint("this is a fault of the tool")
            })?;
        act(promote, cx, &site, plan, checks)
    })?;
    cx.refresh(world.cloud.as_ref(), &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

fn step(
    site: &Site<'_>,
    deployment: &str,
    at: usize,
    plan: &Plan,
    before: serde_json::Value,
) -> Step {
    let set = &plan.slave.set;
    Step {
        at,
        needed: true,
        before,
        expect: json!({ "role": "master", "old_master": plan.old.name }),
        undo: Some(format!(
            "none by itself: {:?} is fenced and keeps its data; {}",
            plan.old.name,
            words(&command(deployment, &["init", "--rebuild"], &plan.old.name))
        )),
        opens: if plan.old.name == plan.slave.server.name {
            Vec::new()
        } else {
            vec![DebtSpec {
                key: format!("fenced:{}", plan.old.name),
                reason: format!(
                    "{:?} was the master: read-only, locked, its data kept",
                    plan.old.name
                ),
                inverse: command(deployment, &["init", "--rebuild"], &plan.old.name),
                due: Due::Retire,
                deadline: None,
                before: json!({ "tags": plan.old.tags, "locked": plan.old.locked, "site": site.deployment }),
            }]
        },
        settles: vec![held_key(&plan.slave.server.name), writes_key(set)],
        ..Step::default()
    }
}

fn plan(site: &Site<'_>, slave: Open) -> Result<Plan> {
    let held = site.held(&slave.server.name)?.ok_or_else(|| {
        Error::new(Kind::Declined, format!("rollback point: {:?} is not held", slave.server.name))
            .hint("only a slave that rs-dbsync held is a way back")
            .untouched()
    })?;
    let now = slave.db.replica()?;
    let half = now.channels.is_empty() && now.applied.same(&held.position);
    // tags may have moved already when an earlier promotion was cut off
    let fenced = format!("database:fenced={}", slave.set);
    let masters: Vec<&Server> =
        site.masters(&slave.set).into_iter().filter(|s| s.name != slave.server.name).collect();
    let old = match (masters.as_slice(), half) {
        ([old], _) => (*old).clone(),
        ([], true) => site
            .servers
            .iter()
            .find(|s| s.tags.contains(&fenced))
            .cloned()
            .unwrap_or_else(|| slave.server.clone()),
        _ => site.master(&slave.set)?.clone(),
    };
    let master = if old.state.is_up() || old.foreign { Some(site.open(&old)?) } else { None };
    let dns = names(site, &slave)?;
    Ok(Plan { slave, held, master, old, dns, half })
}

/// The names that move with the set: its own master's, and the one for reads unless that leads to another set.
fn names(site: &Site<'_>, slave: &Open) -> Result<Option<Record>> {
    let settings = Settings::of_deployment(site.cloud(), &site.deployment)?;
    let of = |input: &str| -> Result<Option<String>> {
        let own = slave.settings.get(input)?;
        Ok(own.or(settings.get(input)?).filter(|name| !name.is_empty()))
    };
    let (write, read) = (of("DB_HOST_NAME")?, of("DB_READ_HOST_NAME")?);
    if write.is_none() && read.is_none() {
        return Ok(None);
    }
    let dns = rs_drivers::dns(&settings)?;
    let mut names: Vec<String> = write.into_iter().collect();
    if let Some(name) = read {
        let (addresses, _) = dns.lookup(&name)?;
        let elsewhere = site.servers.iter().any(|server| {
            server.address.is_some_and(|at| addresses.iter().any(|a| at == *a))
                && server.database_set().is_some_and(|(set, _)| set != slave.set)
        });
        if !elsewhere {
            names.push(name);
        }
    }
    Ok(Some(Record { dns, names }))
}

fn conditions(
    promote: &Promote,
    run: Option<&str>,
    site: &Site<'_>,
    plan: &Plan,
) -> Result<Vec<Check>> {
    let name = plan.slave.server.name.as_str();
    let check = |asked: &str, good: bool, detail: String, hint: &str| {
        let answer = if good { Answer::Ok } else { Answer::No };
        Check::new(asked, name, answer, detail).hint(format!("{hint}; or --override '{asked}'"))
    };
    let summed = |checks: &[Check]| -> (bool, String) {
        let bad: Vec<String> = checks
            .iter()
            .filter(|check| check.answer != Answer::Ok)
            .map(|check| format!("{}: {}", check.name, check.detail))
            .collect();
        (bad.is_empty(), if bad.is_empty() { "as it was".into() } else { bad.join("; ") })
    };
    let mut checks = vec![check(
        "rollback point",
        plan.held.position.set().is_some(),
        format!("held since {} at {}", plan.held.at, plan.held.position.text()),
        "only a slave that rs-dbsync held is a way back",
    )];
    let (good, detail) = if plan.half {
        (true, "an earlier promotion of it was cut off; it goes on".into())
    } else {
        let mut held = judge_held(name, &plan.held, &plan.slave.db.replica()?);
        let schema = plan.slave.db.schema_fingerprint(&plan.held.schema)?;
        held.push(Check::new(
            "schema",
            name,
            if schema == plan.held.schema_fingerprint { Answer::Ok } else { Answer::No },
            format!("fingerprint {schema}, held with {}", plan.held.schema_fingerprint),
        ));
        summed(&held)
    };
    checks.push(check(
        "hold unbroken",
        good,
        detail,
        "a thawed slave is no way back: restore the backup",
    ));
    let held_in = site.held_in(&plan.slave.set)?;
    checks.push(check(
        "one candidate",
        held_in.len() == 1,
        format!("held in {:?}: {}", plan.slave.set, held_in.len()),
        "resume or retire the others first",
    ));
    checks.push(page(site, run, &check)?);
    checks.extend(fence(promote, site, plan, &check)?);
    checks.push(check(
        "abandoned data kept",
        true,
        format!("{:?} is locked and not touched: its data stays there", plan.old.name),
        "",
    ));
    // a scheduled backup of the wrong side would become the newest of the lineage
    let mut scheduled = Vec::new();
    for server in site.servers.iter().filter(|s| s.state.is_up() && s.database_set().is_some()) {
        let key = format!("schedule/{}/{}", site.deployment, server.name);
        let schedule = site.state().get(&key)?.map(|entry| entry.value);
        if schedule.is_some_and(|schedule| schedule["enabled"] != json!(false)) {
            scheduled.push(server.name.clone());
        }
    }
    checks.push(check(
        "backups off",
        scheduled.is_empty(),
        if scheduled.is_empty() { "none is scheduled".into() } else { scheduled.join(", ") },
        "rs-snapshot schedule off --role db",
    ));
    if let Some(record) = &plan.dns {
        let known: Vec<String> =
            site.servers.iter().filter_map(|s| s.address).map(|a| a.to_string()).collect();
        let mut strangers = Vec::new();
        for name in &record.names {
            let (addresses, _) = record.dns.lookup(name)?;
            strangers.extend(
                addresses
                    .iter()
                    .map(ToString::to_string)
                    .filter(|address| !known.contains(address))
                    .map(|address| format!("{name} is {address}")),
            );
        }
        checks.push(check(
            "DNS record ours",
            strangers.is_empty(),
            if strangers.is_empty() { record.names.join(", ") } else { strangers.join(", ") },
            "the name points at no server of this deployment: whose is it?",
        ));
    }
    let expected = promote.expect_master.as_deref().unwrap_or(&plan.old.name);
    checks.push(check(
        "expected master",
        expected == plan.old.name,
        format!("expected {expected:?}, the tags say {:?}", plan.old.name),
        "tags, DNS and replication must agree on who is the master",
    ));
    let others: Vec<&str> = site
        .servers
        .iter()
        .filter(|s| s.database_set().is_some_and(|(set, _)| set == plan.slave.set))
        .filter(|s| s.name != name && s.name != plan.old.name)
        .map(|s| s.name.as_str())
        .collect();
    checks.push(check("other slaves", true, format!("to be rebuilt: {}", others.join(", ")), ""));
    Ok(checks)
}

type Asked<'a> = dyn Fn(&str, bool, String, &str) -> Check + 'a;

/// The page on every balancer of the deployment, through its own runtime.
fn page(site: &Site<'_>, run: Option<&str>, check: &Asked<'_>) -> Result<Check> {
    let mut open = Vec::new();
    // a test balancer of the run has no users
    let temp = |s: &Server| run.is_some_and(|run| s.part(run) == Some("temp"));
    let up = |s: &Server| s.state.is_up() || s.foreign;
    for server in site.servers.iter().filter(|s| s.has_role("lb") && up(s) && !temp(s)) {
        let pools = server.tags.iter().filter_map(|tag| {
            tag.strip_prefix("load_balancer:active_").and_then(|t| t.strip_suffix("=true"))
        });
        let settings = Settings::among(site.cloud(), &site.deployment, server, &site.servers)?;
        for pool in pools {
            let channel = if server.foreign { None } else { Some(site.cloud().channel(server)?) };
            let active = rs_drivers::page(server, &settings, channel).and_then(|p| p.active(pool));
            match active {
                Ok((true, _)) => {}
                Ok((false, _)) => open.push(format!("{} serves {pool}", server.name)),
                Err(e) => open.push(format!("{}: {e}", server.name)),
            }
        }
    }
    Ok(check(
        "page active",
        open.is_empty(),
        if open.is_empty() { "on every balancer".into() } else { open.join("; ") },
        "rs-maintenance start",
    ))
}

/// The present master: silent, without sessions of applications, and what it has more than the copy.
fn fence(promote: &Promote, site: &Site<'_>, plan: &Plan, check: &Asked<'_>) -> Result<Vec<Check>> {
    let Some(master) = &plan.master else {
        let gone = format!("{:?} is {}", plan.old.name, plan.old.state.word());
        return Ok(vec![
            check("master fenced", true, gone.clone(), ""),
            check("application sessions gone", true, gone, ""),
            check(
                "price accepted",
                promote.lose_writes,
                "the master is gone: what it had more cannot be counted".into(),
                "--lose-writes",
            ),
        ]);
    };
    let (allowed, _) = site.frozen(&master.set)?;
    let facts = master.db.silence(&allowed)?;
    let loud: Vec<String> = judge_silence(&master.server.name, &facts)
        .iter()
        .filter(|check| check.answer != Answer::Ok)
        .map(|check| format!("{}: {}", check.name, check.detail))
        .collect();
    let lost = lost(site, master, &plan.slave, &plan.held)?;
    let accepted = promote.lose_writes || lost.counted() <= promote.accept_loss.unwrap_or_default();
    Ok(vec![
        check(
            "master fenced",
            loud.is_empty(),
            if loud.is_empty() { "nobody could write".into() } else { loud.join("; ") },
            "rs-dbsync writes off on the master",
        ),
        check(
            "application sessions gone",
            true,
            "what is left is ended before the slave becomes the master".into(),
            "",
        ),
        check(
            "price accepted",
            accepted,
            lost.words(&plan.held),
            "--accept-loss N, or --lose-writes however much it is",
        ),
    ])
}

fn act(
    promote: &Promote,
    cx: &Context,
    site: &Site<'_>,
    plan: &Plan,
    checks: &[Check],
) -> Result<Done> {
    let (set, slave) = (&plan.slave.set, &plan.slave.server);
    let other = plan.old.name != slave.name;
    if let (Some(master), true) = (&plan.master, other) {
        let (allowed, _) = site.frozen(set)?;
        master.db.writes_off(&allowed, promote.limit)?;
        master.db.kill_sessions(&[], &|line| cx.say(line))?;
    }
    if other && !plan.old.foreign {
        site.cloud().set_lock(&site.deployment, &plan.old.name, true)?;
    }
    // one master at any moment: first the old one is none any more, then the new one is
    let tag = |kind: &str| BTreeSet::from([format!("database:{kind}={set}")]);
    if other {
        let target = Target::Next(plan.old.name.clone());
        site.cloud().set_tags(&site.deployment, &target, &tag("fenced"), &tag("master_active"))?;
    }
    let position = plan.slave.db.promote()?;
    let target = Target::Next(slave.name.clone());
    site.cloud().set_tags(
        &site.deployment,
        &target,
        &tag("master_active"),
        &tag("slave_active"),
    )?;
    let mut names = Vec::new();
    if let Some(record) = &plan.dns {
        let address = match plan.slave.settings.address()? {
            std::net::IpAddr::V4(address) => address,
            std::net::IpAddr::V6(address) => {
                return Err(Error::new(Kind::Failed, format!("{address} fits no A record"))
                    .hint("rs-lbctl point"));
            }
        };
        for name in &record.names {
            let (_, ttl) = record.dns.lookup(name)?;
            record.dns.set(name, &[address], ttl.unwrap_or(60))?;
            names.push(name.clone());
        }
    }
    // whoever still has the old address comes in here: not for long
    if let (Some(master), true) = (&plan.master, other) {
        master.db.kill_sessions(&[], &|line| cx.say(line))?;
    }
    let now = plan.slave.db.replica()?;
    if !now.channels.is_empty() || now.read_only {
        return Err(Error::new(Kind::Failed, format!("{:?} is not what a master is", slave.name))
            .because(format!("sources {}, read_only {}", now.channels.len(), now.read_only)));
    }
    Ok(Done::now(json!({
        "role": "master", "set": set, "old_master": plan.old.name, "position": position, "names": names,
    }))
    .nest("conditions", checks))
}
