//! `set`, `unset`, `copy`.

use std::collections::{BTreeMap, BTreeSet};

use rs_cli::{Changing, Context, Done, Exit, Step, Subject, Subjects, What};
use rs_contract::{Error, Kind, Result, Target, World};
use rs_drivers::levels::Book;
use rs_model::possible::outside;
use rs_model::promote::Party;
use rs_model::{Deployment, Inputs, Level, Value};
use rs_records::Record;
use serde_json::json;

use crate::plan::{self, Changes, CurrentChanges, Levels, Work};
use crate::{CopyArgs, FromLevel, On, SetArgs, ToLevel, UnsetArgs};

/// `set NAME=TYPE:VALUE…`
pub(crate) fn set(cx: &Context, world: &World, args: SetArgs) -> anyhow::Result<Exit> {
    let mut wanted = Changes::new();
    for (name, value) in args.set {
        let value = (value != Value::Inherit).then_some(value);
        if wanted.insert(name.clone(), value).is_some() {
            return Err(Error::new(Kind::Usage, format!("{name} is given twice"))
                .hint("each input once")
                .into());
        }
    }
    if args.at.current && wanted.values().any(Option::is_none) {
        return Err(Error::new(Kind::Usage, "a current set inherits nothing: it is frozen")
            .hint("rs-inputs copy --from next --to current NAME")
            .into());
    }
    about(cx, wanted.keys(), &args.at.levels());
    if args.at.deployment_level {
        return at_deployment(cx, world, &wanted, args.create);
    }
    // a lasting value settles what a temporary one owed
    let rules = Rules { temporary: args.temporary, settle: args.at.next() };
    let (next, current) = (args.at.next(), args.at.current);
    on_subjects(cx, world, args.on, &args.changing, &rules, |book, party, known| {
        if !args.create {
            unknown(book, party, wanted.keys(), known)?;
        }
        let values = wanted.iter().map(|(name, value)| {
            (name.clone(), value.clone().map(|value| (value, Level::Current)))
        });
        Ok((next.then(|| wanted.clone()), current.then(|| values.collect())))
    })
}

/// `unset NAME…`
pub(crate) fn unset(cx: &Context, world: &World, args: UnsetArgs) -> anyhow::Result<Exit> {
    let wanted: Changes = args.name.into_iter().map(|name| (name, None)).collect();
    about(cx, wanted.keys(), &args.at.levels());
    if args.at.deployment_level {
        return at_deployment(cx, world, &wanted, true);
    }
    let rules = Rules { settle: args.at.next(), ..Rules::default() };
    let (next, current) = (args.at.next(), args.at.current);
    on_subjects(cx, world, args.on, &args.changing, &rules, |book, party, known| {
        // it may have been one until the last call: nothing to do is no error
        for name in wanted.keys().filter(|name| !known.contains(*name)) {
            cx.warn(&format!("{name} of {:?} is not there, and no script declares it", party.name));
        }
        let values = current.then(|| shown_through(book, party, wanted.keys())).transpose()?;
        Ok((next.then(|| wanted.clone()), values))
    })
}

/// What a current set gets in the place of its own values: those of the levels below, as they are now.
fn shown_through<'n>(
    book: &Book<'_>,
    party: &Party,
    names: impl Iterator<Item = &'n String>,
) -> Result<CurrentChanges> {
    let below = book.resolve(&Party { next: Inputs::new(), ..party.clone() });
    let names: Vec<&String> = names.collect();
    let without = |name: &&str| below.missing.iter().chain(&below.ambiguous).any(|n| n == name);
    let lost: Vec<&str> = names.iter().map(|name| name.as_str()).filter(without).collect();
    if party.current.is_some() && !lost.is_empty() {
        return Err(Error::new(
            Kind::Declined,
            format!(
                "{} of {:?} would have no value: a script needs it, and no level below gives one",
                lost.join(", "),
                party.name
            ),
        )
        .hint("rs-inputs set --current NAME=VALUE, or give it one at --deployment-level first")
        .untouched());
    }
    let shown = |name: &&String| below.values.get(*name).map(|r| (r.value.clone(), r.from));
    Ok(names.iter().map(|name| ((*name).clone(), shown(name))).collect())
}

/// `copy --from LEVEL --to LEVEL NAME…`
pub(crate) fn copy(cx: &Context, world: &World, args: CopyArgs) -> anyhow::Result<Exit> {
    let same = matches!(
        (args.from, args.to),
        (FromLevel::Next, ToLevel::Next) | (FromLevel::Current, ToLevel::Current)
    );
    if same {
        return Err(Error::new(Kind::Usage, "--from and --to are the same level")
            .hint("e.g. --from next --to current")
            .into());
    }
    about(cx, args.name.iter(), &[if args.to == ToLevel::Next { "next" } else { "current" }]);
    let rules = Rules::default();
    on_subjects(cx, world, args.on, &args.changing, &rules, |book, party, known| {
        unknown(book, party, args.name.iter(), known)?;
        let source = match args.from {
            FromLevel::Deployment => {
                book.resolve(&Party { next: Inputs::new(), ..party.clone() }).values
            }
            FromLevel::Next => book.resolve(party).values,
            FromLevel::Current => match &party.current {
                Some(current) => current.clone(),
                None => return Ok((None, None)),
            },
        };
        let found = args
            .name
            .iter()
            .map(|name| (name.clone(), source.get(name).map(|r| (r.value.clone(), r.from))));
        Ok(match args.to {
            ToLevel::Current => (None, Some(found.collect())),
            ToLevel::Next => {
                let values = found.map(|(name, value)| (name, value.map(|(value, _)| value)));
                (Some(values.collect()), None)
            }
        })
    })
}

/// Says of which inputs a verb is, and at which levels: the deployment's own have no other.
fn about<'n>(cx: &Context, names: impl Iterator<Item = &'n String>, levels: &[&str]) {
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    let names = Vec::from_iter(names).join(", ");
    cx.about(&match levels {
        [] => names,
        levels => format!("{names} at {}", levels.join(" and ")),
    });
}

/// What is asked of all subjects of a call.
#[derive(Default)]
struct Rules {
    /// Overrides are debts.
    temporary: bool,
    /// What is written at next settles the debt of an override.
    settle: bool,
}

/// Next entries and current values that are wanted of one subject.
type Wanted = (Option<Changes>, Option<CurrentChanges>);

fn on_subjects(
    cx: &Context,
    world: &World,
    on: On,
    changing: &Changing,
    rules: &Rules,
    wanted: impl Fn(&Book<'_>, &Party, &BTreeSet<String>) -> Result<Wanted>,
) -> anyhow::Result<Exit> {
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, &on.select(), changing)?;
    let book = Book::read(cloud, &deployment)?;
    let mut works: BTreeMap<usize, Work> = BTreeMap::new();
    let mut steps = Vec::new();
    let mut outside_of = Vec::new();
    for (at, item) in subjects.items.iter().enumerate() {
        let (party, target) = match &item.what {
            What::Server(server) => (book.server(server)?, Target::Next(server.name.clone())),
            What::Array(array) => (book.array(array)?, Target::Array(array.name.clone())),
            _ => continue,
        };
        let (mut next, mut current) = wanted(&book, &party, &book.known(&party))?;
        let texts = next.iter().flatten().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let frozen = current.iter().flatten();
        let frozen = frozen.filter_map(|(name, value)| Some((name, &value.as_ref()?.0)));
        fits(&party, &texts.chain(frozen).collect(), &mut outside_of);
        let its_array = item.as_server().and_then(|server| server.array.as_deref());
        if its_array.is_some()
            && next.take().is_some()
            && !subjects.arrays().any(|array| Some(array.name.as_str()) == its_array)
        {
            cx.say(&format!("{:?} takes its next from its array: set it there", party.name));
        }
        if party.current.is_none() && current.take().is_some() && next.is_none() && !party.array {
            return Err(Error::new(
                Kind::Declined,
                format!("{:?} has no current instance", party.name),
            )
            .hint("set its next, or launch it first; nothing has been done")
            .into());
        }
        let all = next.clone().unwrap_or_default();
        let work = Work {
            deployment: deployment.clone(),
            name: party.name.clone(),
            next: next.map(|changes| (target, changes)),
            current,
            before: Levels { next: party.next.clone(), current: party.current.clone() },
        };
        let work = work.trim();
        let mut step = work.step(at, &item.record.body);
        for (name, value) in &all {
            if rules.temporary {
                if value.is_none() {
                    continue;
                }
                step.opens.push(plan::debt(&deployment, &party.name, name, party.next.get(name)));
            } else if rules.settle {
                step.settles.push(plan::debt_key(&party.name, name));
            }
        }
        steps.push(step);
        works.insert(at, work);
    }
    taken(outside_of)?;
    finish(cx, world, &deployment, &mut subjects, &steps, &works)
}

/// Acts, reads back, passes on.
pub(crate) fn finish(
    cx: &Context,
    world: &World,
    deployment: &str,
    subjects: &mut Subjects,
    steps: &[Step],
    works: &BTreeMap<usize, Work>,
) -> anyhow::Result<Exit> {
    let cloud = world.cloud.as_ref();
    let exit = cx.each(world.state.as_ref(), deployment, subjects, steps, |step| {
        match works.get(&step.at) {
            Some(work) => {
                work.carry_out(cloud, deployment)?;
                Ok(Done::now(work.facts().1))
            }
            None => Ok(Done::default()),
        }
    })?;
    cx.refresh(cloud, deployment, subjects)?;
    cx.pass_on(subjects, exit)
}

/// Notes the texts that no script of its template takes.
fn fits(party: &Party, values: &BTreeMap<&String, &Value>, wrong: &mut Vec<String>) {
    let scripts = party.template.iter().flat_map(|template| &template.scripts);
    let found = outside(scripts, |name| values.get(&name.to_owned()).copied());
    wrong.extend(found.iter().map(|found| format!("{:?}: {found}", party.name)));
}

/// Refuses what was noted, all of it at once.
fn taken(wrong: Vec<String>) -> Result<()> {
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, wrong.join("; ")).hint("write one of them; nothing has been done"))
}

fn unknown<'n>(
    book: &Book<'_>,
    party: &Party,
    names: impl Iterator<Item = &'n String>,
    known: &BTreeSet<String>,
) -> Result<()> {
    let strange: Vec<&str> =
        names.filter(|name| !known.contains(*name)).map(String::as_str).collect();
    if strange.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!(
            "{} of {:?}: no script of its template declares it, and it has no value in {:?}",
            strange.join(", "),
            party.name,
            book.deployment.name
        ),
    )
    .hint(match rs_model::name::did_you_mean(strange[0], known.iter().map(String::as_str)) {
        Some(near) => format!("{near}; nothing has been done"),
        None => {
            "rs-inputs show lists the names; `set --create` for a new one; nothing has been done"
                .into()
        }
    }))
}

/// Changes the deployment's own entries; emits the deployment.
fn at_deployment(
    cx: &Context,
    world: &World,
    wanted: &Changes,
    create: bool,
) -> anyhow::Result<Exit> {
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    let book = Book::read(cloud, &deployment)?;
    if !create {
        let mut known: BTreeSet<String> = book.deployment.inputs.keys().cloned().collect();
        for server in &book.servers {
            known.extend(book.known(&book.server(server)?));
        }
        for array in &book.arrays {
            known.extend(book.known(&book.array(array)?));
        }
        let nobody = Party { name: deployment.clone(), ..Party::default() };
        unknown(&book, &nobody, wanted.keys(), &known)?;
    }
    let mut wrong = Vec::new();
    let servers = book.servers.iter().map(|server| book.server(server));
    for party in servers.chain(book.arrays.iter().map(|array| book.array(array))) {
        let party = party?;
        // where an entry of its own stands over it, it is not seen
        let texts = wanted.iter().filter(|(name, _)| !party.next.contains_key(*name));
        fits(
            &party,
            &texts.filter_map(|(n, value)| Some((n, value.as_ref()?))).collect(),
            &mut wrong,
        );
    }
    taken(wrong)?;
    let mut subjects = Subjects { items: vec![of_deployment(&book.deployment)] };
    let step = deployment_step(&book.deployment, wanted);
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &[step], |_| {
        cloud.set_inputs(&deployment, &Target::Deployment, wanted)?;
        Ok(Done::now(json!({ "inputs": wanted })))
    })?;
    if !cx.dry()
        && let Some(now) = cloud.deployments()?.into_iter().find(|d| d.name == deployment)
        && let Some(item) = subjects.items.first_mut()
    {
        item.record.refresh(&now);
    }
    cx.pass_on(&subjects, exit)
}

/// The deployment as a subject.
pub(crate) fn of_deployment(deployment: &Deployment) -> Subject {
    Subject { record: Record::of(deployment), what: What::Deployment(Box::new(deployment.clone())) }
}

/// The step that changes the deployment's own entries.
pub(crate) fn deployment_step(deployment: &Deployment, wanted: &Changes) -> Step {
    let mut changes = wanted.clone();
    changes.retain(|name, value| deployment.inputs.get(name) != value.as_ref());
    let was: BTreeMap<&String, Option<&Value>> =
        changes.keys().map(|name| (name, deployment.inputs.get(name))).collect();
    let of = plan::quote(&deployment.name);
    let mut undo = Vec::new();
    for (name, value) in &was {
        undo.push(match value {
            Some(value) => {
                let pair = plan::quote(&format!("{name}={value}"));
                format!("rs-inputs set --deployment {of} --deployment-level --create {pair}")
            }
            None => format!("rs-inputs unset --deployment {of} --deployment-level {name}"),
        });
    }
    Step {
        needed: !changes.is_empty(),
        before: json!({ "inputs": was }),
        expect: json!({ "inputs": changes }),
        predict: serde_json::Map::from_iter([(
            "inputs".to_owned(),
            json!(plan::applied(&deployment.inputs, wanted)),
        )]),
        undo: (!undo.is_empty()).then(|| undo.join(" && ")),
        ..Step::default()
    }
}
