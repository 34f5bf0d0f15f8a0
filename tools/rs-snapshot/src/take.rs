//! `take`: a backup of each server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Journal, Select, Step, shell_words};
use rs_contract::{Cloud, Error, Kind, Result, State};
use rs_model::act::Due;
use rs_model::snapshot::{Schedule, Snapshot, prunable};
use serde_json::json;

use crate::schedule;
use crate::stores::{self, Store};

/// Flags of `take`.
#[derive(clap::Args)]
pub struct Take {
    #[command(flatten)]
    select: Select,
    /// Name it; a label names one backup of a lineage. The same label at the same position changes nothing
    #[arg(long, value_name = "LABEL", conflicts_with = "if_due")]
    label: Option<String>,
    /// One with this label is enough, whatever its position
    #[arg(long, requires = "label")]
    once: bool,
    /// Keep it whatever prune is told (a debt until somebody unpins it)
    #[arg(long, conflicts_with = "if_due")]
    pin: bool,
    /// For cron: only where the schedule is on and the last one is old enough; prunes as the schedule says
    #[arg(long)]
    if_due: bool,
    #[command(flatten)]
    changing: Changing,
}

/// Takes them.
pub fn run(take: &Take, cx: &Context) -> anyhow::Result<Exit> {
    if let Some(label) = &take.label {
        rs_model::name::object("label", label)?;
        cx.about(label);
    }
    if take.if_due {
        cx.by_the_clock();
    }
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let (deployment, mut subjects) = cx.subjects(cloud, &take.select, &take.changing)?;
    let stores = stores::open(cloud, &deployment, &subjects)?;
    one_server_a_label(take, &stores)?;
    let mut steps = Vec::new();
    for store in &stores {
        let all = settled(take, cx, store)?;
        steps.push(plan(take, cloud, state, &deployment, store, &all)?);
    }
    let exit = cx.each(state, &deployment, &mut subjects, &steps, |step| {
        let store = of(&stores, step)?;
        // whoever switches the schedule off looks for our intent, so we look again after it was written
        let schedule = schedule::read(state, &deployment, &store.server.name)?;
        if take.if_due && !schedule.as_ref().is_some_and(|s| s.enabled) {
            return Ok(Done { after: json!("the schedule is off"), ..Done::default() });
        }
        let wanted = Snapshot {
            lineage: store.lineage.clone(),
            label: take.label.clone(),
            server: store.server.name.clone(),
            pinned: take.pin,
            ..Snapshot::default()
        };
        let say = |phase: &str| cx.say(&format!("{}: {phase}", store.server.name));
        let taken = store.backups.take(&wanted, cx.work(), &say)?;
        if take.pin && !taken.pinned {
            store.backups.pin(&store.lineage, &taken.id, true)?;
        }
        if let Some(schedule) = schedule.filter(|_| take.if_due) {
            prune(cx, store, &schedule)?;
        }
        Ok(Done::now(json!({ "id": taken.id, "position": taken.position })).nest("snapshot", taken))
    })?;
    if take.if_due && !cx.dry() {
        for store in &stores {
            Journal::new(state).beat(&schedule::beat(&deployment, &store.server.name))?;
        }
    }
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// The backups of the lineage once nobody takes one of our label any more: a tool that was killed leaves a script behind
/// that goes on.
fn settled(take: &Take, cx: &Context, store: &Store) -> Result<Vec<Snapshot>> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let all = store.backups.list(&store.lineage)?;
        let Some(label) = take.label.as_ref().filter(|_| !cx.dry()) else { return Ok(all) };
        let Some(one) = all.iter().find(|one| one.taking && one.label.as_ref() == Some(label))
        else {
            return Ok(all);
        };
        if begun.elapsed() >= cx.common.timeout {
            return Err(Error::new(
                Kind::TimedOut,
                format!("a backup {label:?} of {:?} is still being taken", store.lineage),
            )
            .because(format!("by somebody else, in {}", one.place))
            .hint("wait for it with a longer --timeout, or give another label"));
        }
        if !told {
            told = true;
            cx.say(&format!("{:?}: waits for {label:?}, which is being taken", store.lineage));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn one_server_a_label(take: &Take, stores: &[Store]) -> Result<()> {
    let Some(label) = &take.label else { return Ok(()) };
    let mut seen = BTreeSet::new();
    match stores.iter().find(|store| !seen.insert(&store.lineage)) {
        None => Ok(()),
        Some(store) => Err(Error::new(
            Kind::Usage,
            format!("several servers of {:?} cannot all have the label {label:?}", store.lineage),
        )
        .hint("name one server of each lineage; nothing has been done")),
    }
}

fn of<'a>(stores: &'a [Store], step: &Step) -> Result<&'a Store> {
    stores
        .iter()
        .find(|store| store.at == step.at)
        .ok_or_else(|| Error::new(Kind::Failed, "a step without its server"))
}

fn plan(
    take: &Take,
    cloud: &dyn Cloud,
    state: &dyn State,
    deployment: &str,
    store: &Store,
    all: &[Snapshot],
) -> Result<Step> {
    let name = &store.server.name;
    let mut step = Step { at: store.at, needed: true, ..Step::default() };
    if take.if_due {
        let schedule = schedule::read(state, deployment, name)?;
        let newest = all.iter().rev().find(|one| one.perfect && one.server == *name);
        step.before = json!({ "newest": newest.map(|one| &one.id) });
        step.needed = match &schedule {
            Some(schedule) if schedule.enabled => newest
                .and_then(|one| stores::age(one.completed_at.as_deref()))
                .is_none_or(|age| age >= schedule.every_minutes * 60),
            _ => false,
        };
        return Ok(step);
    }
    let Some(label) = &take.label else { return Ok(step) };
    step.expect = json!({ "label": label });
    if take.pin {
        let inverse =
            ["rs-snapshot", "unpin", "--label", label, "--deployment", deployment, "--", name];
        let inverse: Vec<String> = inverse.map(str::to_owned).to_vec();
        step.undo = Some(shell_words(&inverse));
        step.opens.push(DebtSpec {
            key: format!("pin:{}/{label}", store.lineage),
            reason: format!("the backup {label:?} of {name:?} is kept"),
            inverse,
            due: Due::Retire,
            deadline: None,
            before: json!({ "pinned": false }),
        });
    }
    let Some(there) = all.iter().find(|one| one.perfect && one.label.as_ref() == Some(label))
    else {
        return Ok(step);
    };
    if !take.once {
        let now = position(cloud, store)?;
        if now != there.position.gtid {
            let shown = |gtid: &Option<String>| gtid.clone().unwrap_or_else(|| "nothing".into());
            return Err(Error::new(
                Kind::Declined,
                format!(
                    "the label {label:?} of {:?} names a backup at another position",
                    store.lineage
                ),
            )
            .because(format!(
                "it stands for {}, {name:?} is at {}",
                shown(&there.position.gtid),
                shown(&now)
            ))
            .hint("give another label; --once if that backup will do"));
        }
    }
    step.needed = take.pin && !there.pinned;
    step.before = json!({ "id": there.id, "position": there.position, "pinned": there.pinned });
    Ok(step)
}

/// What a backup read now would stand for, in GTIDs: a slave's applied position, a master's own.
fn position(cloud: &dyn Cloud, store: &Store) -> Result<Option<String>> {
    let server = &store.server;
    let database = rs_drivers::database(server, &store.settings, cloud.channel(server).ok(), None)?;
    let replica = database.replica()?;
    let position = match replica.channels.is_empty() {
        true => database.position()?,
        false => replica.applied,
    };
    Ok(position.gtid)
}

fn prune(cx: &Context, store: &Store, schedule: &Schedule) -> Result<()> {
    let all = store.backups.list(&store.lineage)?;
    // each server of a lineage prunes what was read from it
    let own: Vec<Snapshot> = all
        .into_iter()
        .filter(|one| one.server == store.server.name && one.label.is_none())
        .collect();
    for old in prunable(&own, usize::try_from(schedule.keep).unwrap_or(usize::MAX)) {
        cx.say(&format!("{}: {} goes", store.server.name, old.id));
        store.backups.remove(&store.lineage, &old.id)?;
    }
    Ok(())
}
