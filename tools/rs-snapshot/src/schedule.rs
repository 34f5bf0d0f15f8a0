//! `schedule on|off|status`: backups by the clock, per server, kept in the state store. The clock itself is cron or a
//! timer that calls `rs-snapshot take --if-due`.

use std::time::{Duration, Instant};

use clap::Subcommand;
use rs_cli::{
    Changing, Context, DebtSpec, Done, Exit, Journal, Owing, Select, Step, alive, shell_words,
};
use rs_contract::{Error, Kind, Result, State, Txn};
use rs_model::act::{Due, Outcome};
use rs_model::snapshot::Schedule;
use rs_records::Record;
use serde_json::json;

use crate::stores::{self, Store};

/// Verbs of `schedule`.
#[derive(clap::Args)]
pub struct Schedules {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Take backups again (settles the debt of `off`)
    #[command(before_help = "Examples:
  rs-snapshot schedule on --role db
  rs-server list --role db --not-as warm | rs-snapshot schedule on")]
    On(On),
    /// Take none, and wait until none is under way (a debt until `on`)
    #[command(before_help = "Examples:
  rs-snapshot schedule off --role db")]
    Off(Off),
    /// Whether backups are taken, and when the next is due (asks only)
    #[command(before_help = "Examples:
  rs-snapshot schedule status --role db")]
    Status(Status),
}

#[derive(clap::Args)]
struct On {
    #[command(flatten)]
    select: Select,
    /// Minutes from one to the next [default: the input BACKUP_EVERY_MINUTES, else 60]
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=525_600))]
    every: Option<u64>,
    #[command(flatten)]
    changing: Changing,
}

#[derive(clap::Args)]
struct Off {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

#[derive(clap::Args)]
struct Status {
    #[command(flatten)]
    select: Select,
}

fn key(deployment: &str, server: &str) -> String {
    format!("schedule/{deployment}/{server}")
}

/// The name of the heartbeat that `take --if-due` leaves.
pub fn beat(deployment: &str, server: &str) -> String {
    format!("backups/{deployment}/{server}")
}

/// The schedule of a server; absent when it never had one.
pub fn read(state: &dyn State, deployment: &str, server: &str) -> Result<Option<Schedule>> {
    let Some(entry) = state.get(&key(deployment, server))? else { return Ok(None) };
    serde_json::from_value(entry.value).map(Some).map_err(|e| {
        Error::new(Kind::Failed, format!("the schedule {} cannot be read", entry.key)).because(e)
    })
}

fn write(state: &dyn State, deployment: &str, server: &str, schedule: &Schedule) -> Result<()> {
    let value = serde_json::to_value(schedule)
        .map_err(|e| Error::new(Kind::Failed, "a schedule cannot be written").because(e))?;
    state.commit(&Txn { put: vec![(key(deployment, server), value)], ..Txn::default() })
}

/// The three verbs.
pub fn run(schedules: &Schedules, cx: &Context) -> anyhow::Result<Exit> {
    match &schedules.verb {
        Verb::On(on) => switch(&on.select, &on.changing, true, on.every, cx),
        Verb::Off(off) => switch(&off.select, &off.changing, false, None, cx),
        Verb::Status(status) => show(status, cx),
    }
}

fn debt_key(server: &str) -> String {
    format!("backups:{server}")
}

fn switch(
    select: &Select,
    changing: &Changing,
    on: bool,
    every: Option<u64>,
    cx: &Context,
) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let (deployment, mut subjects) = cx.subjects(cloud, select, changing)?;
    let stores = stores::open(cloud, &deployment, &subjects)?;
    let (mut steps, mut plans) = (Vec::new(), Vec::new());
    for store in &stores {
        let name = &store.server.name;
        let before = read(state, &deployment, name)?;
        let was = before.clone().unwrap_or_default();
        let wanted = if on {
            Schedule {
                enabled: true,
                every_minutes: match every {
                    Some(every) => every,
                    None => store.settings.number("BACKUP_EVERY_MINUTES", 60, 525_600)?,
                },
                keep: store.settings.number("DB_BACKUP_KEEP", 10, 100_000)?,
            }
        } else {
            Schedule { enabled: false, ..was.clone() }
        };
        let mut step = Step {
            at: store.at,
            needed: was != wanted,
            before: json!(before),
            expect: json!(wanted),
            ..Step::default()
        };
        let inverse = ["rs-snapshot", "schedule", "on", "--deployment", &deployment, "--", name];
        let inverse: Vec<String> = inverse.map(str::to_owned).to_vec();
        if on {
            step.settles.push(debt_key(name));
        } else if was.enabled {
            step.undo = Some(shell_words(&inverse));
            step.opens.push(DebtSpec {
                key: debt_key(name),
                reason: format!("no backups of {name:?} are taken by the clock"),
                inverse,
                due: Due::After,
                deadline: None,
                before: json!(before),
            });
        }
        steps.push(step);
        plans.push(wanted);
    }
    let exit = cx.each(state, &deployment, &mut subjects, &steps, |step| {
        let found = stores.iter().zip(&plans).find(|(store, _)| store.at == step.at);
        let (store, wanted) =
            found.ok_or_else(|| Error::new(Kind::Failed, "a step without its server"))?;
        write(state, &deployment, &store.server.name, wanted)?;
        if !on {
            none_under_way(state, &deployment, store, cx)?;
        }
        Ok(Done::now(json!(wanted)))
    })?;
    if !cx.dry() {
        for (store, _) in stores.iter().zip(&plans) {
            let now = read(state, &deployment, &store.server.name)?;
            // off already, but one may still run
            let idle = steps.iter().any(|step| step.at == store.at && !step.needed);
            if !on && idle {
                none_under_way(state, &deployment, store, cx)?;
            }
            if let Some(item) = subjects.items.get_mut(store.at) {
                item.record.nest("schedule", now);
            }
        }
    }
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// Waits until no backup of the server is being taken, and no tool is about to.
fn none_under_way(state: &dyn State, deployment: &str, store: &Store, cx: &Context) -> Result<()> {
    let begun = Instant::now();
    let title = format!("server {}", store.server.name);
    let mut told = false;
    loop {
        let taking: Vec<String> = store
            .backups
            .list(&store.lineage)?
            .into_iter()
            .filter(|one| one.taking && one.server == store.server.name)
            .map(|one| one.id)
            .collect();
        let about = Journal::new(state).acts()?.into_iter().any(|act| {
            act.outcome == Outcome::Open
                && act.tool == "rs-snapshot"
                && act.verb == "take"
                && act.deployment == deployment
                && act.subject == title
                && alive(&act) != Some(false)
        });
        if taking.is_empty() && !about {
            return Ok(());
        }
        if begun.elapsed() >= cx.common.timeout {
            return Err(Error::new(
                Kind::TimedOut,
                format!("a backup of {:?} is still being taken", store.server.name),
            )
            .because(taking.join(", "))
            .hint("the schedule is off; wait for it with a longer --timeout"));
        }
        if !told {
            cx.say(&format!("{}: waiting for the backup that is being taken", store.server.name));
            told = true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn show(status: &Status, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let (deployment, subjects) = cx.subjects(cloud, &status.select, &Changing::default())?;
    let stores = stores::open(cloud, &deployment, &subjects)?;
    let mut records = Vec::new();
    for store in &stores {
        let name = &store.server.name;
        let schedule = read(state, &deployment, name)?.unwrap_or_default();
        let all = store.backups.list(&store.lineage)?;
        let newest = all.iter().rev().find(|one| one.perfect && one.server == *name);
        let age = newest.and_then(|one| stores::age(one.completed_at.as_deref()));
        let due = match (schedule.enabled, age) {
            (false, _) => None,
            (true, Some(age)) => Some((schedule.every_minutes * 60).saturating_sub(age)),
            (true, None) => Some(0),
        };
        let mut value = json!({
            "deployment": deployment, "name": name, "lineage": store.lineage, "enabled": schedule.enabled,
            "under_way": all.iter().filter(|one| one.taking && one.server == *name).count(),
            "last_run": Journal::new(state).last_beat(&beat(&deployment, name))?,
        });
        if let Some(body) = value.as_object_mut() {
            if schedule.every_minutes > 0 {
                body.insert("every_minutes".into(), json!(schedule.every_minutes));
                body.insert("keep".into(), json!(schedule.keep));
            }
            if let Some(one) = newest {
                body.insert("newest".into(), json!(one.id));
                body.insert("newest_age_seconds".into(), json!(age));
            }
            if let Some(seconds) = due {
                body.insert("due_in_seconds".into(), json!(seconds));
            }
        }
        records.push(Record::new(rs_records::SCHEDULE, value));
    }
    cx.emit(&records)?;
    Ok(Exit::Done)
}
