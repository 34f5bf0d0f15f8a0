//! `archive` and `recreate`: definitions that ended are kept with their inputs, and come back as they were.

use anyhow::Result;
use rs_cli::{Changing, Context, Done, Exit, Step, Subject, Subjects, What, shell_words};
use rs_contract::{Error, Kind, State};
use rs_model::{Array, Inputs, Server};
use serde_json::{Value as Json, json};

use crate::retire::archive_key;

/// Flags of `archive`.
#[derive(clap::Args)]
pub struct ArchiveArgs {
    /// Only these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Nothing is archived: exit 0
    #[arg(long)]
    allow_none: bool,
}

/// Flags of `recreate`.
#[derive(clap::Args)]
pub struct RecreateArgs {
    /// Names of archived servers and arrays
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    changing: Changing,
}

/// What is archived under one name.
struct Kept {
    what: What,
    at: Json,
    deployment_inputs: Inputs,
}

/// Lists what is archived.
pub fn list(cx: &Context, args: &ArchiveArgs) -> Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let deployment = cx.deployment(world.cloud.as_ref())?;
    let mut records = Vec::new();
    for entry in world.state.list(&archive_key(&deployment, ""))? {
        let kept = read(&entry.key, entry.value)?;
        let subject = subject(&deployment, &kept);
        if !args.names.is_empty() && !args.names.iter().any(|name| name == subject.name()) {
            continue;
        }
        let mut record = subject.record;
        record.nest("archived_at", &kept.at);
        records.push(record);
    }
    let found: Vec<&str> = records.iter().filter_map(|r| r.body["name"].as_str()).collect();
    let missing: Vec<String> = args
        .names
        .iter()
        .filter(|name| !found.contains(&name.as_str()))
        .map(|name| format!("{name:?}"))
        .collect();
    if !missing.is_empty() || records.is_empty() && !args.allow_none {
        let what = match missing.as_slice() {
            [] => format!("no definition of {deployment:?} is archived"),
            missing => format!("of {deployment:?} is not archived: {}", missing.join(", ")),
        };
        return Err(Error::new(Kind::NotFound, what)
            .hint("rs-cleanup retire archives what it ends")
            .into());
    }
    cx.emit(&records)?;
    Ok(Exit::Done)
}

/// Defines again what was archived: template, inputs, lasting tags. Nothing is launched.
pub fn recreate(cx: &Context, args: &RecreateArgs) -> Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let deployment = cx.deployment(cloud)?;
    let (servers, arrays) = (cloud.servers(&deployment)?, cloud.arrays(&deployment)?);
    let inputs = cloud
        .deployments()?
        .into_iter()
        .find(|known| known.name == deployment)
        .map(|known| known.inputs)
        .unwrap_or_default();
    let (mut subjects, mut steps) = (Subjects::default(), Vec::new());
    for name in &args.names {
        let kept = kept(state, &deployment, name)?;
        let there = match &kept.what {
            What::Server(_) => servers.iter().any(|known| known.name == *name),
            _ => arrays.iter().any(|known| known.name == *name),
        };
        let other = match &kept.what {
            What::Server(_) => arrays.iter().any(|known| known.name == *name),
            _ => servers.iter().any(|known| known.name == *name),
        };
        if other {
            return Err(Error::new(
                Kind::Declined,
                format!("something else is called {name:?} now"),
            )
            .hint("rs-server list --all shows it; nothing has been done")
            .untouched()
            .into());
        }
        for (input, value) in &kept.deployment_inputs {
            if inputs.get(input) != Some(value) {
                cx.warn(&format!(
                    "{input} of the deployment was {value} when {name} ended, and is {} now",
                    inputs.get(input).map_or("unset".to_owned(), ToString::to_string)
                ));
            }
        }
        let end = ["rs-cleanup", "plan", "--deployment", &deployment, "--", name];
        steps.push(Step {
            at: subjects.items.len(),
            needed: !there,
            before: json!({"defined": there}),
            expect: json!({"defined": true}),
            undo: Some(format!(
                "{} >plan.json, then rs-cleanup retire --plan plan.json --delete",
                shell_words(&end.map(str::to_owned))
            )),
            ..Step::default()
        });
        subjects.items.push(subject(&deployment, &kept));
    }
    subjects.once("is named")?;
    let wanted: Vec<What> = subjects.items.iter().map(|item| item.what.clone()).collect();
    // one after the other, as they were named: lists show definitions in the order of their creation
    let mut exit = Exit::Done;
    for step in &steps {
        let define = |step: &Step| {
            match wanted.get(step.at) {
                Some(What::Server(server)) => drop(cloud.create_server(&deployment, server)?),
                Some(What::Array(array)) => drop(cloud.create_array(&deployment, array)?),
                _ => return Ok(Done::default()),
            }
            Ok(Done::now(json!({"defined": true})))
        };
        let step = std::slice::from_ref(step);
        exit = cx.each(state, &deployment, &mut subjects, step, define)?;
        if exit != Exit::Done {
            break;
        }
    }
    if exit == Exit::Done && !cx.dry() {
        cx.refresh(cloud, &deployment, &mut subjects)?;
    }
    cx.pass_on(&subjects, exit)
}

fn kept(state: &dyn State, deployment: &str, name: &str) -> Result<Kept> {
    let key = archive_key(deployment, name);
    let entry = state.get(&key)?.filter(|_| !name.is_empty()).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("no definition {name:?} of {deployment:?} is archived"))
            .hint("rs-cleanup archive lists the names")
    })?;
    let kept = read(&key, entry.value)?;
    if let What::Server(server) = &kept.what
        && let Some(array) = &server.array
    {
        return Err(Error::new(Kind::Declined, format!("{name:?} was an instance of {array:?}"))
            .hint(format!("rs-server launch {array} --to N makes instances; recreate the array first, if it is gone"))
            .untouched()
            .into());
    }
    Ok(kept)
}

fn read(key: &str, mut value: Json) -> Result<Kept> {
    let bad = |e: serde_json::Error| {
        Error::new(Kind::Failed, format!("the entry {key} cannot be read")).because(e)
    };
    let lasting = |tag: &String| !tag.starts_with("rs_upgrade:");
    let what = if value["array"].is_null() {
        let mut server: Server = serde_json::from_value(value["server"].take()).map_err(bad)?;
        server.tags.retain(lasting);
        // the machine is gone; a definition that comes back is as one that was never launched
        (server.state, server.current, server.locked) = (rs_model::State::Inactive, None, false);
        server.address = server.address.filter(|_| server.foreign);
        What::Server(Box::new(server))
    } else {
        let mut array: Array = serde_json::from_value(value["array"].take()).map_err(bad)?;
        array.tags.retain(lasting);
        What::Array(Box::new(array))
    };
    let inputs = value["deployment_inputs"].take();
    Ok(Kept {
        what,
        at: value["archived_at"].take(),
        deployment_inputs: match inputs {
            Json::Null => Inputs::new(),
            inputs => serde_json::from_value(inputs).map_err(bad)?,
        },
    })
}

fn subject(deployment: &str, kept: &Kept) -> Subject {
    match &kept.what {
        What::Array(array) => Subject::array(deployment, (**array).clone()),
        What::Server(server) => Subject::server(deployment, (**server).clone()),
        what => Subject {
            record: rs_records::Record::new(rs_records::NAME, json!({})),
            what: what.clone(),
        },
    }
}
