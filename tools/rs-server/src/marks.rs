//! `mark`, `lock`, `unlock`, `enable`, `disable`: what is written on a definition.

use std::collections::BTreeSet;

use clap::ValueEnum;
use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Owing, Select, Step, What};
use rs_contract::{Error, Kind, Target};
use rs_model::input::resolve;
use rs_model::{Due, Inputs, Level};
use serde_json::{Map, Value as Json, json};

use crate::{Subject, command, typed};

/// What a server or array is in a run.
#[derive(Clone, Copy, ValueEnum)]
pub enum Part {
    /// Serves now, and goes in the end.
    Old,
    /// Comes with the upgrade.
    New,
    /// The slave that is held as the way back.
    Warm,
    /// Only for the time of the upgrade.
    Temp,
    /// It has no part any more.
    None,
}

/// What to mark.
#[derive(clap::Args)]
pub struct Mark {
    /// What it is in the run
    #[arg(value_name = "PART")]
    word: Part,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    changing: Changing,
}

/// Until when an array may stay disabled.
#[derive(Clone, Copy, ValueEnum)]
pub enum Until {
    /// The end of the maintenance window.
    Window,
    /// The end of the work after it.
    After,
    /// The retirement of the old servers.
    Retire,
}

/// What to disable.
#[derive(clap::Args)]
pub struct Disable {
    #[command(flatten)]
    select: Select,
    /// Until when that is owed
    #[arg(long, value_enum, default_value = "after")]
    due: Until,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

/// Tags subjects with their part in the run; another part is replaced.
pub fn mark(mark: &Mark, cx: &Context) -> anyhow::Result<Exit> {
    let run = cx.run_name()?.to_owned();
    let word = mark.word.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
    let prefix = format!("rs_upgrade:{run}=");
    let part = (!matches!(mark.word, Part::None)).then_some(word.as_str());
    let add: BTreeSet<String> = part.iter().map(|part| format!("{prefix}{part}")).collect();
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, &mark.select, &mark.changing)?;
    let mut steps = Vec::new();
    let mut targets = std::collections::BTreeMap::new();
    for (at, item) in subjects.items.iter().enumerate() {
        let (target, tags) = match &item.what {
            What::Server(server) => (Target::Next(server.name.clone()), &server.tags),
            What::Array(array) => (Target::Array(array.name.clone()), &array.tags),
            What::Deployment(_) => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{} has no part in a run", item.title()),
                )
                .hint("mark servers and arrays")
                .into());
            }
            What::Other => continue,
        };
        let there: BTreeSet<String> =
            tags.iter().filter(|tag| tag.starts_with(&prefix)).cloned().collect();
        let mut after = tags.clone();
        after.retain(|tag| !tag.starts_with(&prefix));
        after.extend(add.iter().cloned());
        let before = there.iter().next().and_then(|tag| tag.strip_prefix(&prefix));
        steps.push(Step {
            at,
            needed: there != add,
            before: json!({ "part": before }),
            expect: json!({ "part": part }),
            predict: Map::from_iter([("tags".to_owned(), json!(after))]),
            undo: Some(typed(&command(
                &deployment,
                &["mark", before.unwrap_or("none"), "--upgrade", &run],
                item.name(),
            ))),
            ..Step::default()
        });
        targets.insert(at, (target, there));
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        if let Some((target, there)) = targets.get(&step.at) {
            let remove: BTreeSet<String> = there.difference(&add).cloned().collect();
            cloud.set_tags(&deployment, target, &add, &remove)?;
        }
        Ok(Done::now(json!({ "part": part })))
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// Locks or unlocks servers.
pub fn lock(subject: &Subject, locked: bool, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, &subject.select, &subject.changing)?;
    let back = if locked { "unlock" } else { "lock" };
    let mut steps = Vec::new();
    for (at, item) in subjects.items.iter().enumerate() {
        let server = match &item.what {
            What::Server(server) => server,
            What::Other => continue,
            _ => {
                return Err(Error::new(Kind::Usage, format!("{} has no lock", item.title()))
                    .hint("only servers have: --role server, or --array NAME for its instances")
                    .into());
            }
        };
        let inverse = command(&deployment, &[back], &server.name);
        let key = format!("lock:{}", server.name);
        let needed = server.locked != locked;
        let mut step = Step {
            at,
            needed,
            before: json!({ "locked": server.locked }),
            expect: json!({ "locked": locked }),
            predict: Map::from_iter([("locked".to_owned(), locked.into())]),
            undo: Some(typed(&inverse)),
            ..Step::default()
        };
        match (locked, needed) {
            // one that was locked before us is not ours to unlock
            (true, false) => {}
            (true, true) => step.opens.push(DebtSpec {
                key,
                reason: "locked, so that it is neither ended nor relaunched".into(),
                inverse,
                due: Due::Retire,
                deadline: None,
                before: json!({ "locked": false }),
            }),
            (false, _) => step.settles.push(key),
        }
        steps.push(step);
    }
    let names: Vec<String> = subjects.items.iter().map(|item| item.name().to_owned()).collect();
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let name = names.get(step.at).map(String::as_str).unwrap_or_default();
        cloud.set_lock(&deployment, name, locked)?;
        Ok(Done::now(json!({ "locked": locked })))
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// Enables arrays whose inputs are complete.
pub fn enable(subject: &Subject, cx: &Context) -> anyhow::Result<Exit> {
    switch(&subject.select, &subject.changing, None, cx)
}

/// Disables arrays, and owes to enable them.
pub fn disable(disable: &Disable, cx: &Context) -> anyhow::Result<Exit> {
    let due = match disable.due {
        Until::Window => Due::Window,
        Until::After => Due::After,
        Until::Retire => Due::Retire,
    };
    switch(&disable.select, &disable.changing, Some(due), cx)
}

fn switch(
    select: &Select,
    changing: &Changing,
    due: Option<Due>,
    cx: &Context,
) -> anyhow::Result<Exit> {
    let enabled = due.is_none();
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, select, changing)?;
    let inputs: Inputs = cloud
        .deployments()?
        .into_iter()
        .find(|d| d.name == deployment)
        .map(|d| d.inputs)
        .unwrap_or_default();
    let back = if enabled { "disable" } else { "enable" };
    let mut steps = Vec::new();
    let mut sizes = std::collections::BTreeMap::new();
    for (at, item) in subjects.items.iter().enumerate() {
        let array = match &item.what {
            What::Array(array) => array,
            What::Other => continue,
            _ => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{} cannot be enabled or disabled", item.title()),
                )
                .hint("only arrays can: --role array")
                .into());
            }
        };
        let needed = array.enabled != enabled;
        if enabled && needed && !item.record.planned() {
            check(cloud, array, &inputs)?;
        }
        let inverse = command(&deployment, &[back], &array.name);
        let key = format!("array:{}", array.name);
        let mut step = Step {
            at,
            needed,
            before: json!({ "enabled": array.enabled }),
            expect: json!({ "enabled": enabled }),
            predict: Map::from_iter([("enabled".to_owned(), enabled.into())]),
            undo: Some(typed(&inverse)),
            ..Step::default()
        };
        match due {
            None => step.settles.push(key),
            Some(due) if needed => step.opens.push(DebtSpec {
                key,
                reason: "disabled: it is not kept at its minimum".into(),
                inverse,
                due,
                deadline: None,
                before: json!({ "enabled": true }),
            }),
            // one that was disabled before us is not ours to enable
            Some(_) => {}
        }
        sizes.insert(at, (array.name.clone(), array.minimum, array.maximum));
        steps.push(step);
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        if let Some((name, minimum, maximum)) = sizes.get(&step.at) {
            cloud.set_array(&deployment, name, enabled, *minimum, *maximum)?;
        }
        Ok(Done::now(json!({ "enabled": enabled })))
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// An array that could not launch anything must not be enabled: nobody sees the failures of an automatic launch.
fn check(
    cloud: &dyn rs_contract::Cloud,
    array: &rs_model::Array,
    deployment: &Inputs,
) -> rs_contract::Result<()> {
    let way = match &array.template {
        None => "it has no template".to_owned(),
        Some(reference) => {
            let template = cloud.template(reference)?;
            let found =
                resolve(Some(&template), deployment, &array.next, Level::Array, &Inputs::new());
            let mut wrong = found.missing;
            wrong.extend(found.ambiguous);
            let mut ways: Vec<String> = found.outside.iter().map(ToString::to_string).collect();
            if !wrong.is_empty() {
                ways.insert(0, format!("its launches have no value for {}", wrong.join(", ")));
            }
            if ways.is_empty() {
                return Ok(());
            }
            ways.join("; ")
        }
    };
    Err(Error::new(Kind::Declined, format!("array {:?} is not enabled: {way}", array.name))
        .hint("rs-inputs check says what is missing and where; set it, then the same command again")
        .found(vec![Json::from(array.name.clone())])
        .untouched())
}
