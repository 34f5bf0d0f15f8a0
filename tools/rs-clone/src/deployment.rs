//! `deployment`: a whole deployment with its servers and arrays, told apart from its original in everything that
//! users, data and addresses hang on.

use std::collections::{BTreeMap, BTreeSet};

use rs_cli::{Context, Done, Exit, Step, Subject, Subjects, What};
use rs_contract::{Error, Kind, Result, World};
use rs_drivers::levels::Book;
use rs_drivers::site::MACHINES;
use rs_model::likeness::retag;
use rs_model::{Array, Deployment, Inputs, Server, Value, lint, name};
use rs_records::Record;
use serde_json::{Value as Json, json};

use crate::member::inputs;
use crate::{DeploymentArgs, quote};

/// The clone, before anything is made.
struct Plan {
    deployment: Deployment,
    servers: Vec<Server>,
    arrays: Vec<Array>,
}

/// Clones a deployment.
pub(crate) fn run(cx: &Context, world: &World, args: DeploymentArgs) -> anyhow::Result<Exit> {
    let cloud = world.cloud.as_ref();
    let book = Book::read(cloud, &args.original)?;
    let called = args.name.replace("%s", &args.original);
    name::object("deployment", &called)?;
    if called == args.original {
        return Err(Error::new(Kind::Usage, "the clone has the original's name")
            .hint("give it another --name")
            .into());
    }
    let there = cloud.deployments()?.into_iter().find(|d| d.name == called);
    let plan = plan(&book, &args, &called)?;
    if let Some(there) = &there {
        if there.cloned_from.as_deref() != Some(&args.original) {
            let what = format!("the deployment {called:?} is there, and is no clone of it");
            return Err(Error::new(Kind::Declined, what).hint("choose another --name").into());
        }
        alike(cx, cloud, there, &plan)?;
    }
    let refused = identity(&book, &plan);
    if !refused.is_empty() {
        let what =
            format!("the clone would share with {:?}: {}", args.original, refused.join("; "));
        return Err(Error::new(Kind::Declined, what)
            .hint("give each another value: --set NAME=…, --set-on SERVER/NAME=…, --root, --addresses, --without")
            .into());
    }
    let item = |deployment: &Deployment| Subject {
        record: Record::of(deployment),
        what: What::Deployment(Box::new(deployment.clone())),
    };
    let mut whole = Subjects { items: vec![item(there.as_ref().unwrap_or(&plan.deployment))] };
    let step = Step {
        needed: there.is_none(),
        expect: json!({ "name": called, "cloned_from": args.original }),
        undo: Some(format!(
            "rs-cleanup plan --deployment {} --whole >plan && rs-cleanup retire --plan plan --delete",
            quote(&called)
        )),
        ..Step::default()
    };
    cx.each(world.state.as_ref(), &called, &mut whole, &[step], |step| {
        cloud.put_deployment(&plan.deployment)?;
        Ok(Done::now(step.expect.clone()))
    })?;
    let known: BTreeSet<String> = match &there {
        Some(_) => cloud
            .servers(&called)?
            .into_iter()
            .map(|s| s.name)
            .chain(cloud.arrays(&called)?.into_iter().map(|a| a.name))
            .collect(),
        None => BTreeSet::new(),
    };
    let mut members = Subjects::default();
    members.items.extend(plan.servers.iter().map(|s| Subject::server(&called, s.clone())));
    members.items.extend(plan.arrays.iter().map(|a| Subject::array(&called, a.clone())));
    let steps: Vec<Step> = members
        .items
        .iter()
        .enumerate()
        .map(|(at, item)| Step {
            at,
            needed: !known.contains(item.name()),
            expect: json!({ "name": item.name() }),
            ..Step::default()
        })
        .collect();
    let wanted: BTreeMap<usize, What> =
        members.items.iter().enumerate().map(|(at, item)| (at, item.what.clone())).collect();
    // one after the other, so that they are listed in the original's order
    let exit = cx.together(world.state.as_ref(), &called, &mut members, &steps, |todo| {
        let mut done = Vec::new();
        for step in todo {
            match wanted.get(&step.at) {
                Some(What::Server(server)) => drop(cloud.create_server(&called, server)?),
                Some(What::Array(array)) => drop(cloud.create_array(&called, array)?),
                _ => {}
            }
            done.push(Done::now(step.expect.clone()));
        }
        Ok(done)
    })?;
    if !cx.dry() {
        cx.refresh(cloud, &called, &mut members)?;
    }
    whole.items.append(&mut members.items);
    cx.pass_on(&whole, exit)
}

/// A clone that is there must be what is asked for, as far as the deployment itself goes.
fn alike(
    cx: &Context,
    cloud: &dyn rs_contract::Cloud,
    there: &Deployment,
    plan: &Plan,
) -> Result<()> {
    let differs: Vec<&str> = plan
        .deployment
        .inputs
        .iter()
        .filter(|(name, value)| there.inputs.get(*name) != Some(*value))
        .map(|(name, _)| name.as_str())
        .collect();
    let machines = there.later.get(MACHINES) != plan.deployment.later.get(MACHINES);
    if differs.is_empty() && !machines {
        return Ok(());
    }
    let launched = cloud.servers(&there.name)?.iter().any(|s| s.state.is_up());
    if launched && !machines {
        // it lives its own life already
        cx.say(&format!(
            "{:?} has another {} by now: left as it is",
            there.name,
            differs.join(", ")
        ));
        return Ok(());
    }
    let mut what = differs;
    if machines {
        what.push("Machines");
    }
    Err(Error::new(
        Kind::Declined,
        format!("the deployment {:?} is there with another {}", there.name, what.join(", ")),
    )
    .hint("choose another --name, or change that one"))
}

fn plan(book: &Book<'_>, args: &DeploymentArgs, called: &str) -> Result<Plan> {
    let set = inputs(&args.set.set)?;
    let names: BTreeSet<&str> = book
        .servers
        .iter()
        .filter(|s| s.array.is_none())
        .map(|s| s.name.as_str())
        .chain(book.arrays.iter().map(|a| a.name.as_str()))
        .collect();
    for name in args.without.iter().chain(args.set_on.iter().map(|(server, _, _)| server)) {
        if !names.contains(name.as_str()) {
            let what = format!("no server or array of {:?} is called {name:?}", args.original);
            return Err(
                Error::new(Kind::NotFound, what).hint("rs-server list --all shows the names")
            );
        }
    }
    let mut deployment = Deployment {
        name: called.to_owned(),
        cloned_from: Some(args.original.clone()),
        ..book.deployment.clone()
    };
    let renamed: Vec<(String, String)> = ["LB_APPLISTENER_NAME", "DB_LINEAGE_NAME"]
        .iter()
        .filter_map(|name| match (book.deployment.inputs.get(*name), set.get(*name)) {
            (Some(Value::Text(old)), Some(Value::Text(new))) => Some((old.clone(), new.clone())),
            _ => None,
        })
        .collect();
    deployment.inputs.extend(set.clone());
    deployment.inputs.retain(|_, value| *value != Value::Inherit);
    if let Some(kind) = deployment
        .later
        .get_mut(MACHINES)
        .and_then(Json::as_object_mut)
        .and_then(|machines| machines.values_mut().next())
    {
        if let Some(root) = &args.root {
            let whole = std::path::absolute(root).unwrap_or_else(|_| root.into());
            kind["Root"] = whole.display().to_string().into();
        }
        if let Some(addresses) = &args.addresses {
            kind["Addresses"] = addresses.clone().into();
        }
    } else if args.root.is_some() || args.addresses.is_some() {
        let what = format!("{:?} says nowhere where its servers are launched", args.original);
        return Err(Error::new(Kind::Usage, what).hint("leave --root and --addresses out"));
    }
    // what is set for the whole deployment is not hidden by a copied override
    let own = |name: &str, next: &Inputs| {
        let mut next = next.clone();
        next.retain(|input, _| !set.contains_key(input));
        for (_, input, value) in args.set_on.iter().filter(|(server, _, _)| server == name) {
            match value {
                Value::Inherit => next.remove(input),
                value => next.insert(input.clone(), value.clone()),
            };
        }
        next
    };
    let kept = |name: &str| !args.without.iter().any(|out| out == name);
    let servers =
        book.servers.iter().filter(|s| s.array.is_none() && kept(&s.name)).map(|s| Server {
            name: s.name.clone(),
            template: s.template.clone(),
            address: s.address.filter(|_| s.foreign),
            foreign: s.foreign,
            tags: retag(&s.tags, &renamed),
            next: own(&s.name, &s.next),
            ..Server::default()
        });
    let arrays = book.arrays.iter().filter(|a| kept(&a.name)).map(|a| Array {
        name: a.name.clone(),
        minimum: a.minimum,
        maximum: a.maximum,
        template: a.template.clone(),
        tags: retag(&a.tags, &renamed),
        next: own(&a.name, &a.next),
        ..Array::default()
    });
    Ok(Plan { servers: servers.collect(), arrays: arrays.collect(), deployment })
}

/// Everything that the clone would share with its original.
fn identity(book: &Book<'_>, plan: &Plan) -> Vec<String> {
    let none = Inputs::new();
    let mut levels: Vec<(String, &Inputs, &Inputs)> =
        vec![("the deployment".into(), &book.deployment.inputs, &plan.deployment.inputs)];
    for server in &plan.servers {
        let source = book.servers.iter().find(|s| s.name == server.name).map_or(&none, |s| &s.next);
        levels.push((format!("server {:?}", server.name), source, &server.next));
    }
    for array in &plan.arrays {
        let source = book.arrays.iter().find(|a| a.name == array.name).map_or(&none, |a| &a.next);
        levels.push((format!("array {:?}", array.name), source, &array.next));
    }
    let addresses: Vec<(String, std::net::IpAddr)> =
        book.servers.iter().filter_map(|s| Some((s.name.clone(), s.address?))).collect();
    let mut found = lint::deployment_identity(&levels, &addresses);
    for server in plan.servers.iter().filter(|server| server.foreign) {
        found.push(format!("{:?}, which was not launched by us, and its address", server.name));
    }
    let machines = |d: &Deployment| d.later.get(MACHINES).cloned().unwrap_or(Json::Null);
    let (ours, theirs) = (machines(&plan.deployment), machines(&book.deployment));
    let kinds = ours.as_object().into_iter().flatten();
    for (kind, body) in kinds {
        let theirs = &theirs[kind];
        if !body["Root"].is_null() && body["Root"] == theirs["Root"] {
            found.push(format!("Root of Machines {kind}"));
        }
        if let (Some(ours), Some(theirs)) =
            (body["Addresses"].as_str(), theirs["Addresses"].as_str())
            && lint::ranges_overlap(ours, theirs)
        {
            found.push(format!("Addresses of Machines {kind}"));
        }
    }
    found
}
