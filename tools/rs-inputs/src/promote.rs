//! `promote`: step 36 of the guide.

use std::collections::{BTreeMap, BTreeSet};

use rs_cli::{Context, Done, Exit, Journal, Subjects, What};
use rs_contract::{Error, Kind, Target, World};
use rs_drivers::levels::Book;
use rs_model::promote::{Party, Temporary, Wish, plan_promote, verify};
use rs_model::{Server, Value};
use serde_json::json;

use crate::PromoteArgs;
use crate::change::{deployment_step, finish, of_deployment};
use crate::plan::{self, Changes, Levels, Work};

/// Plans, writes the deployment first, removes the overrides, and reads back that it holds.
pub(crate) fn run(cx: &Context, world: &World, args: PromoteArgs) -> anyhow::Result<Exit> {
    if args.undo {
        return undo(cx, world);
    }
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, &args.on.select(), &args.changing)?;
    if subjects.is_empty() {
        return cx.pass_on(&subjects, Exit::Done);
    }
    let book = Book::read(cloud, &deployment)?;
    let mut wish = Wish {
        promote: args.promote.into_iter().collect(),
        drop: args.drop.into_iter().collect(),
        keep: args.keep.into_iter().collect(),
        also_affects: args.also_affects.into_iter().collect(),
    };
    if args.also_affects_old {
        let run = cx.run_name()?;
        wish.also_affects.extend(
            book.servers.iter().filter(|s| s.part(run) == Some("old")).map(|s| s.name.clone()),
        );
        let old = |array: &&rs_model::Array| array.part(run) == Some("old");
        let arrays: Vec<String> =
            book.arrays.iter().filter(old).map(|array| array.name.clone()).collect();
        // an instance takes its next from its array
        let mine = |s: &&Server| s.array.as_ref().is_some_and(|array| arrays.contains(array));
        wish.also_affects.extend(book.servers.iter().filter(mine).map(|s| s.name.clone()));
        wish.also_affects.extend(arrays);
    }
    for name in &wish.also_affects {
        let there = book.servers.iter().any(|s| s.name == *name)
            || book.arrays.iter().any(|a| a.name == *name);
        if !there {
            let what = format!("no server or array of {deployment:?} is called {name:?}");
            return Err(Error::new(Kind::NotFound, what)
                .hint("rs-server list --all shows the names")
                .into());
        }
    }
    let (set, others) = sides(&book, &subjects)?;
    let temporary = temporary(&book)?;
    let entries = &book.deployment.inputs;
    let plan = plan_promote(entries, &set, &others, &temporary, &wish).map_err(|all| {
        Error::new(Kind::Declined, format!("promotion declined: {}", all.join("; ")))
            .hint(
                "put that right first; --also-affects NAME, --also-affects-old, --keep NAME; nothing has been done",
            )
    })?;
    let mut affected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, inputs) in &plan.affected {
        let list = inputs.iter().cloned().collect::<Vec<_>>().join(", ");
        affected.entry(list).or_default().push(format!("{name:?}"));
    }
    for (inputs, names) in affected {
        cx.say(&format!("a launch takes the new {inputs} from now on: {}", names.join(", ")));
    }
    let changes: Changes =
        plan.deployment.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    let mut whole = Subjects { items: vec![of_deployment(&book.deployment)] };
    let first = deployment_step(&book.deployment, &changes);
    cx.each(world.state.as_ref(), &deployment, &mut whole, &[first], |_| {
        cloud.set_inputs(&deployment, &Target::Deployment, &changes)?;
        Ok(Done::now(json!({ "inputs": changes })))
    })?;
    let mut works = BTreeMap::new();
    let mut steps = Vec::new();
    for (at, item) in subjects.items.iter().enumerate() {
        let (target, next) = match &item.what {
            What::Server(server) => (Target::Next(server.name.clone()), server.next.clone()),
            What::Array(array) => (Target::Array(array.name.clone()), array.next.clone()),
            _ => continue,
        };
        let gone = plan.removals.get(item.name()).cloned().unwrap_or_default();
        let work = Work {
            deployment: deployment.clone(),
            name: item.name().to_owned(),
            next: Some((target, gone.into_iter().map(|name| (name, None)).collect())),
            current: None,
            before: Levels { next, current: None },
        }
        .trim();
        let mut step = work.step(at, &item.record.body);
        let names = wish.promote.union(&wish.drop);
        step.settles = names.map(|name| plan::debt_key(item.name(), name)).collect();
        steps.push(step);
        works.insert(at, work);
    }
    // arrays whose instances came in are part of the set; their own overrides go only when they came in too
    let exit = finish(cx, world, &deployment, &mut subjects, &steps, &works)?;
    if !cx.dry() {
        let now = Book::read(cloud, &deployment)?;
        let (set, _) = sides(&now, &subjects)?;
        let broken = verify(&now.deployment.inputs, &set, &wish);
        if !broken.is_empty() {
            let what = format!("after the promotion: {}", broken.join("; "));
            return Err(Error::new(Kind::Failed, what)
                .hint("somebody changed inputs meanwhile: rs-inputs show, then again")
                .into());
        }
    }
    Ok(exit)
}

/// Gives the deployment back what it had before the promotions of this run, as the journal knows it. The overrides of
/// the new servers stay gone: they are to be retired.
fn undo(cx: &Context, world: &World) -> anyhow::Result<Exit> {
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    let run = cx.run_name()?;
    let mut changes = Changes::new();
    // newest first, so that the oldest value of each name stays
    for act in Journal::new(world.state.as_ref()).acts()?.iter().rev().filter(|act| {
        act.tool == cx.tool
            && act.verb == cx.verb
            && act.deployment == deployment
            && act.subject == format!("deployment {deployment}")
            && act.owner.run.as_deref() == Some(run)
    }) {
        let before: BTreeMap<String, Option<Value>> =
            serde_json::from_value(act.before["inputs"].clone()).map_err(|e| {
                Error::new(Kind::Failed, format!("act {} does not say what was before", act.seq))
                    .because(e)
                    .hint("rs-journal show --run RUN; set the inputs by rs-inputs set")
            })?;
        changes.extend(before);
    }
    let book = Book::read(cloud, &deployment)?;
    let mut whole = Subjects { items: vec![of_deployment(&book.deployment)] };
    let step = deployment_step(&book.deployment, &changes);
    let exit = cx.each(world.state.as_ref(), &deployment, &mut whole, &[step], |_| {
        cloud.set_inputs(&deployment, &Target::Deployment, &changes)?;
        Ok(Done::now(json!({ "inputs": changes })))
    })?;
    if !cx.dry() {
        let now = Book::read(cloud, &deployment)?;
        for item in &mut whole.items {
            item.record.refresh(&now.deployment);
        }
    }
    cx.pass_on(&whole, exit)
}

/// The new ones (instances of arrays that came in included), and all others.
fn sides(book: &Book<'_>, subjects: &Subjects) -> anyhow::Result<(Vec<Party>, Vec<Party>)> {
    let servers: BTreeSet<&str> = subjects.servers().map(|s| s.name.as_str()).collect();
    let arrays: BTreeSet<&str> = subjects.arrays().map(|a| a.name.as_str()).collect();
    let (mut set, mut others) = (Vec::new(), Vec::new());
    for server in &book.servers {
        let of_array = server.array.as_deref().is_some_and(|array| arrays.contains(array));
        let party = book.server(server)?;
        if of_array || servers.contains(server.name.as_str()) {
            set.push(party);
        } else {
            others.push(party);
        }
    }
    for array in &book.arrays {
        let party = book.array(array)?;
        if arrays.contains(array.name.as_str()) {
            set.push(party);
        } else {
            others.push(party);
        }
    }
    Ok((set, others))
}

/// What leads to the temporary balancers of any run.
fn temporary(book: &Book<'_>) -> anyhow::Result<Temporary> {
    let mut found = Temporary::default();
    let temp = |server: &&Server| {
        server.tags.iter().any(|tag| tag.starts_with("rs_upgrade:") && tag.ends_with("=temp"))
    };
    for server in book.servers.iter().filter(temp) {
        let party = book.server(server)?;
        found.servers.insert(server.name.clone());
        found.hosts.extend(server.address.map(|address| address.to_string()));
        let mut values = vec![book.resolve(&party).values];
        values.extend(party.current.clone());
        for values in values {
            let text = |name: &str| match values.get(name).map(|r| &r.value) {
                Some(Value::Text(text)) => Some(text.clone()),
                _ => None,
            };
            found.pools.extend(text("LB_APPLISTENER_NAME"));
            found.hosts.extend(text("LB_HOSTNAME"));
        }
    }
    Ok(found)
}
