//! `promote`: a held slave becomes the master; or the master that was fenced for it becomes the master again. Every condition
//! is asked and named; a missing one declines, and only its name overrides it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Select, Step, shell_words as words};
use rs_contract::{Dns, Error, Kind, Result, Target, WritesState};
use rs_drivers::settings::Settings;
use rs_model::replica::{HeldAt, judge_replicating};
use rs_model::snapshot::{ABANDONED_KEPT, Snapshot};
use rs_model::takeover::{Abandoned, CONDITIONS, TakeoverFacts, judge_takeover, promotion_begun};
use rs_model::{Answer, Check, Due, Server};
use serde_json::json;

use crate::sets::{
    Open, Site, events_key, fenced_key, fenced_tag, held_key, rebuild_key, refuse, writes_key,
};
use crate::{command, proof, takeover};

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
    /// Time of the hold, or of the fence, as the operator knows it: what was written since then is lost; another time is declined
    #[arg(long, value_name = "TIME")]
    lose_after: Option<String>,
    /// Go on although this condition does not hold; repeated, by name
    #[arg(long = "override", value_name = "CONDITION")]
    pub overrides: Vec<String>,
    /// Who has to be the master now
    #[arg(long, value_name = "SERVER")]
    expect_master: Option<String>,
    /// Longest time to live that the master's names may have
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "5m")]
    pub max_ttl: Duration,
    /// Give up on the old master's sessions, and on application servers that still see the old address, after this
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "30s")]
    limit: Duration,
    #[command(flatten)]
    changing: Changing,
}

/// What a promotion works with.
pub struct Plan {
    pub slave: Open,
    pub held: HeldAt,
    pub master: Option<Open>,
    pub old: Server,
    pub dns: Option<Record>,
    /// Slaves of the set that will have to be rebuilt.
    pub others: Vec<Server>,
    /// Slaves that have followed this very server all the while.
    pub followers: Vec<Server>,
    /// An earlier promotion was cut off after the slave had become a master.
    pub half: bool,
    /// Label of the backup of what is abandoned: a label names one backup, another promotion's is another.
    pub kept_as: String,
}

/// The names that point at the master.
pub struct Record {
    pub dns: Box<dyn Dns>,
    /// The master's own name comes first.
    pub names: Vec<String>,
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
        let name = &slave.server.name;
        // a promotion that would have abandoned it and was cut off before has left a debt, and changed nothing of it
        if slave.is_master && site.debt(&held_key(name))?.is_none() && site.kept(&slave)?.is_none()
        {
            steps.push(Step { at, before, ..Step::default() });
            continue;
        }
        let plan = plan(&site, slave)?;
        let facts = takeover::gather(promote, cx.common.upgrade.as_deref(), &site, &plan)?;
        let checks = judge_takeover(&facts);
        let bad: Vec<Check> = checks
            .iter()
            .filter(|check| !promote.overrides.contains(&check.name))
            .cloned()
            .collect();
        refuse(Kind::Declined, "the promotion may not be", &bad)?;
        steps.push(step(&site, &deployment, at, &plan, before, keeps(promote, &plan, &facts))?);
        plans.push((at, plan, facts, checks));
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let (_, plan, facts, checks) =
            plans.iter().find(|(at, ..)| *at == step.at).ok_or_else(|| {
                Error::new(Kind::Failed, "a step without its server")
                    .hint("this is a fault of the tool")
            })?;
        act(promote, cx, &site, plan, facts, checks)
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
    kept: bool,
) -> Result<Step> {
    let (set, name) = (&plan.slave.set, &plan.slave.server.name);
    let mut opens = debts(site, plan, kept);
    if let Some(master) = plan.master.as_ref().filter(|_| kept) {
        opens.push(pinned(deployment, plan, &lineage(master)?));
    }
    let mut settles = vec![held_key(name), fenced_key(name), writes_key(set), events_key(set)];
    settles.extend(plan.followers.iter().map(|slave| rebuild_key(&slave.name)));
    Ok(Step {
        at,
        needed: true,
        before,
        expect: json!({ "role": "master", "old_master": plan.old.name }),
        undo: Some(format!(
            "{}; what is written on {name:?} since is lost then",
            words(&command(deployment, &["promote"], &plan.old.name))
        )),
        opens,
        settles,
        ..Step::default()
    })
}

fn lineage(master: &Open) -> Result<String> {
    master.settings.or("DB_LINEAGE_NAME", &master.set)
}

/// What the abandoned master holds is kept in a backup until somebody says that it is not needed any more.
fn pinned(deployment: &str, plan: &Plan, lineage: &str) -> DebtSpec {
    let (label, old) = (plan.kept_as.as_str(), plan.old.name.as_str());
    let inverse = ["rs-snapshot", "unpin", "--label", label, "--deployment", deployment, "--", old];
    DebtSpec {
        key: format!("pin:{lineage}/{label}"),
        reason: format!("the backup {label:?} of the abandoned master {old:?} is kept"),
        inverse: inverse.map(str::to_owned).to_vec(),
        due: Due::Retire,
        deadline: None,
        before: json!({ "pinned": false }),
    }
}

/// Whether what the abandoned master holds will be in a backup: of one that does not answer none can be read.
fn keeps(promote: &Promote, plan: &Plan, facts: &TakeoverFacts) -> bool {
    plan.master.is_some()
        && matches!(facts.master, Abandoned::Answers { .. })
        && !promote.overrides(ABANDONED_KEPT)
}

/// What is owed from then on: the old master is kept aside, and the other slaves are marked: they follow what was
/// abandoned.
pub fn debts(site: &Site<'_>, plan: &Plan, kept: bool) -> Vec<DebtSpec> {
    let deployment = site.deployment.as_str();
    let old = &plan.old.name;
    let mut debts: Vec<DebtSpec> = plan
        .others
        .iter()
        .map(|other| DebtSpec {
            key: rebuild_key(&other.name),
            reason: format!("{:?} holds the data of {old:?}, which was abandoned", other.name),
            inverse: command(deployment, &["init"], &other.name),
            due: Due::Retire,
            deadline: None,
            before: json!({ "source": old }),
        })
        .collect();
    if *old != plan.slave.server.name {
        debts.push(DebtSpec {
            key: fenced_key(old),
            reason: format!(
                "{old:?} was the master: to be read-only and locked, {}",
                match kept {
                    true => "its data in a pinned backup too",
                    false => "no backup of its data was read: it may be the only copy",
                }
            ),
            inverse: command(deployment, &["init", "--rebuild"], old),
            due: Due::Retire,
            deadline: None,
            before: json!({ "tags": plan.old.tags, "locked": plan.old.locked, "site": site.deployment }),
        });
    }
    debts
}

fn plan(site: &Site<'_>, slave: Open) -> Result<Plan> {
    let held = site.kept(&slave)?.ok_or_else(|| {
        Error::new(Kind::Declined, format!("rollback point: {:?} is not held", slave.server.name))
            .hint("only a slave that rs-dbsync held, or the master that the newest promotion fenced, is a way back")
            .untouched()
    })?;
    let now = slave.db.replica()?;
    let masters: Vec<&Server> =
        site.masters(&slave.set).into_iter().filter(|s| s.name != slave.server.name).collect();
    // a promotion that was cut off is known by its intent, and by the tags that it moves before it touches the candidate: what
    // only looks like one is a way back that somebody spoiled
    let acts = rs_cli::Journal::new(site.state()).acts()?;
    let by = held.fenced_by.as_deref();
    let begun =
        masters.is_empty() && promotion_begun(&acts, &site.deployment, &slave.server.name, by);
    let half = begun
        && now.channels.is_empty()
        && match &held.fenced_by {
            Some(_) => slave.is_master || !now.read_only,
            None => now.applied.same(&held.position),
        };
    let tagged = fenced_tag(&slave.set);
    let was = |s: &&Server| match &held.fenced_by {
        Some(by) => s.name == *by,
        None => s.tags.contains(&tagged),
    };
    let old = match masters.as_slice() {
        [old] => (*old).clone(),
        [] if begun || held.fenced_by.is_some() => {
            site.servers.iter().find(was).cloned().unwrap_or_else(|| slave.server.clone())
        }
        _ => site.master(&slave.set)?.clone(),
    };
    let master = if old.state.is_up() || old.foreign { Some(site.open(&old)?) } else { None };
    let dns = names(site, &slave)?;
    let (mut others, mut followers) = (Vec::new(), Vec::new());
    let identity = slave.db.identity()?;
    for other in site.servers.iter().filter(|s| {
        s.database_set().is_some_and(|(set, _)| set == slave.set)
            && s.name != slave.server.name
            && s.name != old.name
    }) {
        // one that cannot be asked is rebuilt
        let seen = site.open(other).and_then(|open| open.db.replica());
        let follows = seen.is_ok_and(|seen| {
            judge_replicating(&other.name, &seen, &identity)
                .iter()
                .all(|check| check.answer == Answer::Ok)
        });
        if follows { followers.push(other.clone()) } else { others.push(other.clone()) }
    }
    let kept_as = format!("abandoned-{}", rs_cli::now().replace([':', '.'], ""));
    Ok(Plan { slave, held, master, old, dns, others, followers, half, kept_as })
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

impl Promote {
    /// How many transactions are given up; absent: however many.
    pub fn accepted(&self) -> Option<u64> {
        if self.lose_writes { None } else { Some(self.accept_loss.unwrap_or_default()) }
    }

    /// The time of the hold as it was stated.
    pub fn stated_time(&self) -> Option<String> {
        self.lose_after.clone()
    }

    /// Who has to be the master, when somebody said.
    pub fn expected(&self) -> Option<&str> {
        self.expect_master.as_deref()
    }

    fn overrides(&self, condition: &str) -> bool {
        self.overrides.iter().any(|name| name == condition)
    }
}

fn act(
    promote: &Promote,
    cx: &Context,
    site: &Site<'_>,
    plan: &Plan,
    facts: &TakeoverFacts,
    checks: &[Check],
) -> Result<Done> {
    let (set, slave) = (&plan.slave.set, &plan.slave.server);
    let other = plan.old.name != slave.name;
    // a master that does not answer is fenced by other hands: that is what the override says
    let master = match (&plan.master, &facts.master) {
        (Some(master), Abandoned::Answers { .. }) if other => Some(master),
        _ => None,
    };
    let (mut kept, mut fence) = (None, None);
    if let Some(master) = master {
        let (allowed, _) = site.frozen(set)?;
        master.db.writes_off(&allowed, promote.limit)?;
        master.db.kill_sessions(&[], &|line| cx.say(line))?;
        if keeps(promote, plan, facts) {
            kept = Some(keep(cx, site, plan, master, facts)?);
        }
        fence = Some(fenced(plan, master)?);
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
    let canaries = plan.slave.db.canaries()?;
    let target = Target::Next(slave.name.clone());
    let ends = ["slave_active", "fenced", "held"];
    let ends = ends.map(|kind| format!("database:{kind}={set}")).into();
    site.cloud().set_tags(&site.deployment, &target, &tag("master_active"), &ends)?;
    if plan.held.fenced_by.is_some() {
        unfence(site, plan)?;
    }
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
    if let Some(master) = master {
        master.db.kill_sessions(&[], &|line| cx.say(line))?;
    }
    let seen_by = seen(promote, site, plan, &names)?;
    if let (Some(master), Some(then)) = (master, &fence) {
        let end = fenced(plan, master)?;
        if !end.position.same(&then.position) {
            cx.warn(&format!(
                "{:?} was written to after it was fenced, through an account that may while it is read-only: at `{}` then, \
                 at `{}` now (try: what still runs there, e.g. the script of a migration that was cut off: end it; what it \
                 wrote is not in the new master)",
                plan.old.name,
                then.position.text(),
                end.position.text()
            ));
            fence = Some(end);
        }
    }
    let now = plan.slave.db.replica()?;
    if !now.channels.is_empty() || now.read_only {
        return Err(Error::new(Kind::Failed, format!("{:?} is not what a master is", slave.name))
            .because(format!("sources {}, read_only {}", now.channels.len(), now.read_only)));
    }
    Ok(Done::now(json!({
        "role": "master", "set": set, "old_master": plan.old.name, "position": position, "names": names,
        "canaries": canaries, "fenced": fence, "seen_by": seen_by, "kept": kept.map(|one| json!({ "id": one.id, "position": one.position })),
    }))
    .nest("conditions", checks))
}

/// What the abandoned master is from now on, so that it can be told whether it still is when somebody wants it back.
fn fenced(plan: &Plan, master: &Open) -> Result<HeldAt> {
    let (own, schema) = (master.db.position()?, plan.held.schema.clone());
    Ok(HeldAt {
        position: own.clone(),
        own,
        schema_fingerprint: master.db.schema_fingerprint(&schema)?,
        schema,
        source_host: plan.slave.settings.address()?.to_string(),
        source_port: plan.slave.settings.port("DB_PORT", 3306)?,
        at: rs_cli::now(),
        fenced_by: Some(plan.slave.server.name.clone()),
        known_by: Some(proof::known_by(master)?),
    })
}

/// A fenced master is one again: events run where they ran on the one that it replaces, and it is locked only when it was
/// before the fence.
fn unfence(site: &Site<'_>, plan: &Plan) -> Result<()> {
    let before = site.debt(&writes_key(&plan.slave.set))?.map(|debt| debt.before["writes"].clone());
    let before: WritesState =
        before.and_then(|w| serde_json::from_value(w).ok()).unwrap_or_default();
    plan.slave.db.writes_on(&WritesState {
        events_before: before.events_before,
        ..WritesState::default()
    })?;
    unlock_fenced(site, &plan.slave.server)
}

/// Unlocks a fenced master that was not locked before the fence.
pub fn unlock_fenced(site: &Site<'_>, server: &Server) -> Result<()> {
    let fence = site.debt(&fenced_key(&server.name))?;
    if fence.is_some_and(|debt| debt.before["locked"] == json!(false)) && !server.foreign {
        site.cloud().set_lock(&site.deployment, &server.name, false)?;
    }
    Ok(())
}

/// What the abandoned master holds now, as a pinned backup: its writes are then not in one place only. One that is
/// there already will do.
fn keep(
    cx: &Context,
    site: &Site<'_>,
    plan: &Plan,
    master: &Open,
    facts: &TakeoverFacts,
) -> Result<Snapshot> {
    let name = &master.server.name;
    let at = master.db.position()?;
    let there = facts
        .backups
        .iter()
        .flatten()
        .find(|one| one.perfect && one.pinned && one.server == *name && one.position.same(&at));
    if let Some(one) = there {
        return Ok(one.clone());
    }
    let channel = site.cloud().channel(&master.server)?;
    let wanted = Snapshot {
        lineage: lineage(master)?,
        label: Some(plan.kept_as.clone()),
        server: name.clone(),
        from_master: true,
        pinned: true,
        ..Snapshot::default()
    };
    let say = |line: &str| cx.say(&format!("{name}, before it is abandoned: {line}"));
    let backups = rs_drivers::snapshots(&master.settings, Some(channel))?;
    let taken = backups.take(&wanted, cx.work(), &say)?;
    if !taken.pinned {
        backups.pin(&wanted.lineage, &taken.id, true)?;
    }
    Ok(taken)
}

/// Waits until every application server sees the master's new address, each through the name server that it is told
/// to ask.
fn seen(promote: &Promote, site: &Site<'_>, plan: &Plan, names: &[String]) -> Result<Vec<String>> {
    let Some(name) = names.first() else { return Ok(Vec::new()) };
    let wanted = plan.slave.settings.address()?;
    let begun = Instant::now();
    let mut seen_by = Vec::new();
    for server in site.servers.iter().filter(|s| s.has_role("app") && s.state.is_up()) {
        let settings = Settings::among(site.cloud(), &site.deployment, server, &site.servers)?;
        // a server whose inputs name no name server asks the deployment's
        let own = rs_drivers::dns(&settings).ok();
        let Some(dns) = own.as_ref().or(plan.dns.as_ref().map(|record| &record.dns)) else {
            continue;
        };
        loop {
            let (found, _) = dns.lookup(name)?;
            if matches!(found.as_slice(), [only] if std::net::IpAddr::V4(*only) == wanted) {
                seen_by.push(server.name.clone());
                break;
            }
            if begun.elapsed() >= promote.limit {
                let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
                return Err(Error::new(
                    Kind::TimedOut,
                    format!("{:?} still sees {name} at {}", server.name, shown.join(", ")),
                )
                .hint("the promotion itself is done; the same command again waits for it"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(seen_by)
}
