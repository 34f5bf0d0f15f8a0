//! `init`: a slave of its set's master, from a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rs_cli::{Changing, Context, Done, Exit, Journal, Select, Step};
use rs_contract::{Error, Kind, Progress, Result, RunRequest, Target, Work};
use rs_drivers::look::Look;
use rs_model::act::Act;
use rs_model::replica::judge_replicating;
use rs_model::snapshot::{ABANDONED_KEPT, Snapshot};
use rs_model::takeover::of_this_history;
use rs_model::{Answer, Check, Server};
use serde_json::json;

use crate::sets::{Open, Site, held_key, rebuild_key, refuse};
use crate::writes::of;

/// What to make.
#[derive(clap::Args)]
pub struct Init {
    #[command(flatten)]
    select: Select,
    /// Id or label of the backup [default: the newest complete one of the set's lineage]
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// Read a new backup from the master first, instead of taking the newest there is
    #[arg(long, conflicts_with = "snapshot")]
    fresh: bool,
    /// Also a former master that a promotion fenced: its data is replaced
    #[arg(long)]
    rebuild: bool,
    /// Rebuild although no whole backup has what that master holds, or it cannot be asked: that is lost then
    #[arg(long = "override", value_name = "CONDITION", requires = "rebuild", value_parser = [ABANDONED_KEPT])]
    overrides: Vec<String>,
    /// How long the slave may take to catch up
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "10m")]
    wait_lag: Duration,
    /// Script that stops the database
    #[arg(long, value_name = "NAME", default_value = "database stop")]
    stop_script: String,
    /// Script that starts the database
    #[arg(long, value_name = "NAME", default_value = "database start")]
    start_script: String,
    #[command(flatten)]
    changing: Changing,
}

/// Restores and follows; what replicates from the master already is left alone.
pub fn run(init: &Init, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) =
        cx.subjects(world.cloud.as_ref(), &init.select, &init.changing)?;
    let site = Site::new(&world, &deployment)?;
    let planned: BTreeSet<usize> = subjects
        .items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.record.planned())
        .map(|(at, _)| at)
        .collect();
    let mut opened = Vec::new();
    let mut steps = Vec::new();
    for (at, item) in subjects.items.iter().enumerate() {
        // a dry launch before us in the pipe: there is nothing to ask yet
        if planned.contains(&at) && item.as_server().is_some_and(|server| server.address.is_none())
        {
            steps.push(Step {
                at,
                needed: true,
                expect: json!({ "replicating": true }),
                ..Step::default()
            });
            continue;
        }
        let Some(server) = item.as_server() else { continue };
        let open = site.open(server)?;
        allowed(init, &site, &open)?;
        let before = open.db.replica();
        let master = site.open(site.master(&open.set)?)?;
        let replicates = match &before {
            Ok(now) => judge_replicating(&open.server.name, now, &master.db.identity()?)
                .iter()
                .all(|check| check.answer == Answer::Ok),
            Err(_) => false,
        };
        steps.push(Step {
            at,
            needed: !replicates,
            before: json!({ "replicating": replicates }),
            expect: json!({ "replicating": true, "source": master.server.name }),
            settles: vec![format!("fenced:{}", open.server.name), rebuild_key(&open.server.name)],
            ..Step::default()
        });
        opened.push((at, open));
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        make(init, &site, cx, of(&opened, step)?)
    })?;
    cx.refresh(world.cloud.as_ref(), &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// Whose data may be replaced.
fn allowed(init: &Init, site: &Site<'_>, open: &Open) -> Result<()> {
    let name = &open.server.name;
    if open.is_master {
        return Err(Error::new(
            Kind::Declined,
            format!("{name:?} is the master of {:?}", open.set),
        )
        .hint("name a slave")
        .untouched());
    }
    if site.debt(&held_key(name))?.is_some() {
        return Err(Error::new(Kind::Declined, format!("{name:?} is held as the way back"))
            .hint("rs-dbsync resume, when the way back is no longer wanted")
            .untouched());
    }
    if open.server.foreign {
        return Err(Error::new(Kind::Declined, format!("{name:?} is not ours to reach"))
            .hint("a backup is restored through the server's own machine")
            .untouched());
    }
    if open.server.database_set().is_none() && !init.rebuild {
        return Err(Error::new(
            Kind::Declined,
            format!("{name:?} was a master and holds data that may be nowhere else"),
        )
        .hint("--rebuild, when that data is no longer wanted")
        .untouched());
    }
    if open.server.database_set().is_none() && init.overrides.is_empty() {
        refuse(Kind::Declined, "its data would be lost", &[kept_elsewhere(site, open)?])?;
    }
    Ok(())
}

/// What an abandoned master holds may be in one place only: what users wrote last.
fn kept_elsewhere(site: &Site<'_>, open: &Open) -> Result<Check> {
    let name = &open.server.name;
    // one that was cut off may have taken the data away already: it was allowed to
    let acts = Journal::new(site.state()).acts()?;
    let fence =
        |act: &Act| site.is_promotion(act, &open.set) && act.after["old_master"] == json!(name);
    let rebuild = |act: &Act| {
        (act.tool.as_str(), act.verb.as_str()) == ("rs-dbsync", "init")
            && act.deployment == site.deployment
            && act.subject.strip_prefix("server ") == Some(name.as_str())
    };
    if acts.iter().rev().take_while(|act| !fence(act)).any(rebuild) {
        let detail = "an earlier rebuild of it was begun";
        return Ok(Check::new(ABANDONED_KEPT, name, Answer::Ok, detail));
    }
    let look = Look::new(site.cloud(), &site.deployment)?;
    let (answer, detail) = match look.backup_of(&open.server) {
        Ok(Some(backup)) => (Answer::Ok, format!("{} has what it holds", backup.id)),
        Ok(None) => (Answer::No, "no whole backup has what it holds".to_owned()),
        Err(why) => (Answer::Unknown, format!("whether a backup has what it holds: {why}")),
    };
    Ok(Check::new(ABANDONED_KEPT, name, answer, detail)
        .hint(format!("rs-snapshot take --pin -- {name:?}; or --override '{ABANDONED_KEPT}'")))
}

fn make(init: &Init, site: &Site<'_>, cx: &Context, open: &Open) -> Result<Done> {
    let name = &open.server.name;
    let channel = site.cloud().channel(&open.server)?;
    let snapshots = rs_drivers::snapshots(&open.settings, Some(channel))?;
    let begun = Instant::now();
    let work = || Work { timeout: cx.common.timeout.saturating_sub(begun.elapsed()) };
    let say = |line: &str| cx.say(&format!("{name}: {line}"));
    let lineage = open.settings.or("DB_LINEAGE_NAME", &open.set)?;
    let snapshot = {
        // slaves of one call that need a backup share the first one's
        let alone = one_at_a_time(&lineage);
        let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there = snapshots.list(&lineage)?;
        if init.snapshot.is_none() {
            // the newest may be of a master that was abandoned: its data is not this master's
            let state = site.open(site.master(&open.set)?)?.db.replica()?.own_state;
            there.retain(|one| of_this_history(one, state.as_deref()));
        }
        if init.fresh || (init.snapshot.is_none() && !there.iter().any(|s| s.perfect)) {
            say("reading a backup from the master");
            take(site, &open.set, &lineage, work(), &say)?
        } else {
            choose(init, &there, &lineage)?
        }
    };
    say(&format!("restoring {}", snapshot.id));
    script(site, &open.server, &init.stop_script, work(), &say)?;
    let position = snapshots.restore(&snapshot, work(), &say)?;
    script(site, &open.server, &init.start_script, work(), &say)?;
    open.db.follow(&site.source(open)?, &position)?;
    let master = site.open(site.master(&open.set)?)?;
    let goal = master.db.position()?;
    say(&format!("catching up to {}", goal.text()));
    if !open.db.wait_applied(&goal, init.wait_lag)? {
        return Err(Error::new(
            Kind::TimedOut,
            format!("{name:?} did not catch up within {:?}", init.wait_lag),
        )
        .hint("rs-dbsync status shows how far it is; the same init again only waits"));
    }
    let now = open.db.replica()?;
    let checks = judge_replicating(name, &now, &master.db.identity()?);
    refuse(Kind::Failed, "it does not replicate as it should", &checks)?;
    if open.server.database_set().is_none() {
        crate::promote::unlock_fenced(site, &open.server)?;
        let tag = |kind: &str| BTreeSet::from([format!("database:{kind}={}", open.set)]);
        site.cloud().set_tags(
            &site.deployment,
            &Target::Next(name.clone()),
            &tag("slave_active"),
            &tag("fenced"),
        )?;
    }
    Ok(Done::now(json!({
        "replicating": true, "snapshot": snapshot.id, "from": position, "applied": now.applied,
    })))
}

/// Held by whoever looks for a backup of the lineage, and takes one where there is none.
fn one_at_a_time(lineage: &str) -> Arc<Mutex<()>> {
    static LINEAGES: Mutex<BTreeMap<String, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut lineages = LINEAGES.lock().unwrap_or_else(PoisonError::into_inner);
    lineages.entry(lineage.to_owned()).or_default().clone()
}

/// A set's first slave comes before its first scheduled backup.
fn take(
    site: &Site<'_>,
    set: &str,
    lineage: &str,
    work: Work,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Snapshot> {
    let master = site.open(site.master(set)?)?;
    let channel = site.cloud().channel(&master.server)?;
    let wanted = Snapshot {
        lineage: lineage.to_owned(),
        server: master.server.name.clone(),
        from_master: true,
        ..Snapshot::default()
    };
    rs_drivers::snapshots(&master.settings, Some(channel))?.take(&wanted, work, say)
}

fn choose(init: &Init, all: &[Snapshot], lineage: &str) -> Result<Snapshot> {
    let found = match &init.snapshot {
        Some(wanted) => all
            .iter()
            .find(|s| s.id == *wanted || s.label.as_deref() == Some(wanted.as_str()))
            .filter(|s| s.perfect),
        None => all.iter().rev().find(|s| s.perfect),
    };
    found.cloned().ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            match &init.snapshot {
                Some(wanted) => format!("no complete backup of {lineage:?} is called {wanted:?}"),
                None => format!("there is no complete backup of {lineage:?}"),
            },
        )
        .hint("rs-snapshot take makes one; rs-snapshot list shows them")
    })
}

fn script(
    site: &Site<'_>,
    server: &Server,
    script: &str,
    work: Work,
    say: Progress<'_>,
) -> Result<()> {
    let request =
        RunRequest { script: script.to_owned(), timeout: work.timeout, ..RunRequest::default() };
    let result = site.cloud().run(&site.deployment, &server.name, &request, say)?;
    if result.exit == 0 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Failed,
        format!("{script:?} on {:?} ended with {} (run {})", server.name, result.exit, result.id),
    )
    .because(result.tail.lines().last().unwrap_or("it said nothing"))
    .hint(format!("rs-journal show; the script's name is another one? see {:?}", server.template)))
}
