//! `server` and `array`.

use std::collections::{BTreeMap, BTreeSet};

use rs_cli::{Context, DebtSpec, Done, Exit, Step, Subject, Subjects, What};
use rs_contract::{Error, Kind, Result, World};
use rs_drivers::levels::{Book, overrides_from_current};
use rs_model::act::Due;
use rs_model::likeness::{self, Likeness};
use rs_model::promote::Party;
use rs_model::{Array, Inputs, Server, State, TemplateRef};
use serde_json::json;

use crate::{From, MemberArgs, Part, quote};

/// Clones servers.
pub(crate) fn servers(cx: &Context, world: &World, args: MemberArgs) -> anyhow::Result<Exit> {
    clone(cx, world, args, &Servers)
}

/// Clones arrays.
pub(crate) fn arrays(cx: &Context, world: &World, args: MemberArgs) -> anyhow::Result<Exit> {
    clone(cx, world, args, &Arrays)
}

/// What differs between servers and arrays.
trait Way: Sync {
    /// A clonable original among the subjects; others pass through.
    fn original(&self, book: &Book<'_>, item: &Subject) -> Result<Option<Party>>;
    /// Names of the clones of an original.
    fn clones(&self, book: &Book<'_>, original: &str) -> BTreeSet<String>;
    /// What is called so already, as a subject, and how it differs from what is wanted.
    fn there(
        &self,
        book: &Book<'_>,
        original: &str,
        name: &str,
        like: &Likeness,
    ) -> Result<Option<Subject>>;
    /// The clone, defined.
    fn define(&self, item: &Subject, overrides: &Inputs, name: &str, like: &Likeness) -> Subject;
    /// What it still shares with production.
    fn shared(&self, book: &Book<'_>, clone: &Subject) -> Result<Vec<String>>;
}

/// What is made for the upgrade only has to go again.
fn owed(deployment: &str, name: &str) -> DebtSpec {
    let inverse = ["rs-cleanup", "plan", "--deployment", deployment, "--", name];
    DebtSpec {
        key: format!("temp:{name}"),
        reason: "made for the upgrade only".into(),
        inverse: inverse.map(str::to_owned).into(),
        due: Due::Retire,
        deadline: None,
        before: serde_json::Value::Null,
    }
}

fn clone(cx: &Context, world: &World, args: MemberArgs, way: &dyn Way) -> anyhow::Result<Exit> {
    let cloud = world.cloud.as_ref();
    if args.to == 0 {
        return Err(Error::new(Kind::Usage, "--to 0 makes no clone")
            .hint("clones are ended by rs-cleanup")
            .into());
    }
    let (deployment, subjects) = cx.subjects(cloud, &args.originals.select(), &args.changing)?;
    let book = Book::read(cloud, &deployment)?;
    let like = Likeness {
        set: inputs(&args.set.set)?,
        template: args.template.as_ref().map(|wanted| settle(&book, wanted)).transpose()?,
        tags: args.tag.into_iter().collect(),
        drop_tags: args.drop_tag.into_iter().collect(),
        part: match args.part {
            Some(part) => Some((cx.run_name()?.to_owned(), part.word().to_owned())),
            None => None,
        },
    };
    let temporary = args.part == Some(Part::Temp);
    let mut originals = Vec::new();
    for item in &subjects.items {
        originals.push(way.original(&book, item)?);
    }
    let many = originals.iter().flatten().count();
    if many == 0 && !subjects.items.is_empty() {
        return Err(Error::new(Kind::Usage, "nothing of that kind came in")
            .hint("rs-clone server clones servers, rs-clone array clones arrays")
            .into());
    }
    if many > 1 && !args.name.tells_apart() {
        return Err(Error::new(
            Kind::Usage,
            format!("{many} originals, and one name for the clones"),
        )
        .hint("put %s (the original's name) or %n (a number) into --name")
        .into());
    }
    let mut taken: BTreeSet<String> = book.servers.iter().map(|s| s.name.clone()).collect();
    taken.extend(book.arrays.iter().map(|a| a.name.clone()));
    let mut out = Subjects::default();
    let mut steps = Vec::new();
    for (item, party) in subjects.items.iter().zip(&originals) {
        let Some(party) = party else {
            out.items.push(item.clone());
            continue;
        };
        if args.with_original {
            out.items.push(item.clone());
        }
        let overrides = overrides(cx, &book, party, args.from)?;
        if !args.create {
            known(&book, party, &like)?;
        }
        let to = args.to - u32::from(args.with_original);
        let clones = way.clones(&book, &party.name);
        for name in likeness::names(&args.name, &party.name, to, &clones, &taken)? {
            let at = out.items.len();
            if let Some(there) = way.there(&book, &party.name, &name, &like)? {
                steps.push(Step { at, before: json!({ "name": name }), ..Step::default() });
                out.items.push(there);
                continue;
            }
            if !taken.insert(name.clone()) {
                return Err(taken_twice(&deployment, &name).into());
            }
            let made = way.define(item, &overrides, &name, &like);
            for shared in way.shared(&book, &made)? {
                cx.warn(&format!(
                    "{} shares with production: {shared}: it will not launch so",
                    made.title()
                ));
            }
            steps.push(Step {
                at,
                needed: true,
                expect: json!({ "name": name, "cloned_from": party.name }),
                undo: Some(format!(
                    "rs-cleanup plan --deployment {} -- {} >plan && rs-cleanup retire --plan plan --delete",
                    quote(&deployment),
                    quote(&name)
                )),
                opens: temporary.then(|| owed(&deployment, &name)).into_iter().collect(),
                ..Step::default()
            });
            out.items.push(made);
        }
    }
    let wanted: BTreeMap<usize, What> =
        steps.iter().filter_map(|s| Some((s.at, out.items.get(s.at)?.what.clone()))).collect();
    let exit = cx.each(world.state.as_ref(), &deployment, &mut out, &steps, |step| {
        match wanted.get(&step.at) {
            Some(What::Server(server)) => drop(cloud.create_server(&deployment, server)?),
            Some(What::Array(array)) => drop(cloud.create_array(&deployment, array)?),
            _ => {}
        }
        Ok(Done::now(step.expect.clone()))
    })?;
    cx.refresh(cloud, &deployment, &mut out)?;
    cx.pass_on(&out, exit)
}

/// `--set` as entries; the same name twice is refused.
pub(crate) fn inputs(set: &[(String, rs_model::Value)]) -> Result<Inputs> {
    let mut found = Inputs::new();
    for (name, value) in set {
        if found.insert(name.clone(), value.clone()).is_some() {
            return Err(Error::new(Kind::Usage, format!("--set {name} is given twice"))
                .hint("each input once"));
        }
    }
    Ok(found)
}

fn settle(book: &Book<'_>, wanted: &TemplateRef) -> Result<TemplateRef> {
    Ok(book.template(wanted)?.reference())
}

fn taken_twice(deployment: &str, name: &str) -> Error {
    Error::new(
        Kind::Declined,
        format!("{name:?} is in {deployment:?} already, and is no clone of it"),
    )
    .hint("choose another --name")
}

fn overrides(cx: &Context, book: &Book<'_>, party: &Party, from: From) -> Result<Inputs> {
    if from == From::Current {
        return overrides_from_current(book, party).ok_or_else(|| {
            Error::new(Kind::Declined, format!("{:?} has no current instance", party.name))
                .hint("clone it --from next")
        });
    }
    if let Some(current) = &party.current {
        let next = book.resolve(party).values;
        let names: BTreeSet<&String> = current.keys().chain(next.keys()).collect();
        let differ: Vec<&str> = names
            .into_iter()
            .filter(|n| current.get(*n).map(|r| &r.value) != next.get(*n).map(|r| &r.value))
            .map(String::as_str)
            .collect();
        if !differ.is_empty() {
            cx.say(&format!(
                "{:?} runs with another {} than its next has: the clone takes next (--from current takes the other)",
                party.name,
                differ.join(", ")
            ));
        }
    }
    Ok(party.next.clone())
}

fn known(book: &Book<'_>, original: &Party, like: &Likeness) -> Result<()> {
    let mut party = original.clone();
    let mut known = book.known(&party);
    if let Some(reference) = &like.template {
        party.template = Some(book.template(reference)?);
        known.extend(book.known(&party));
    }
    let strange: Vec<&str> =
        like.set.keys().filter(|name| !known.contains(*name)).map(String::as_str).collect();
    if strange.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!(
            "--set {}: no script of it declares it, and {:?} has it not",
            strange.join(", "),
            original.name
        ),
    )
    .hint("rs-inputs show lists the names; --create for a new one; nothing has been done"))
}

fn unlike(kind: &str, name: &str, original: &str, how: &str) -> Error {
    Error::new(Kind::Declined, format!("the {kind} {name:?} is there, and {how}")).hint(format!(
        "choose another --name, or look: rs-server list {} ({original:?} is the original)",
        quote(name)
    ))
}

/// How a definition that nobody used yet differs from what is wanted; what was launched belongs to later verbs.
fn differs(
    like: &Likeness,
    template: Option<&TemplateRef>,
    next: &Inputs,
    tags: &BTreeSet<String>,
) -> Option<String> {
    if like.template.is_some() && like.template.as_ref() != template {
        return Some("has another template".into());
    }
    let other = |(name, value): &(&String, &rs_model::Value)| match value {
        rs_model::Value::Inherit => next.contains_key(*name),
        value => next.get(*name) != Some(value),
    };
    if let Some((name, _)) = like.set.iter().find(other) {
        return Some(format!("has another {name}"));
    }
    let wanted = like.tags_of(&BTreeSet::new());
    wanted.difference(tags).next().map(|tag| format!("has not the tag {tag}"))
}

struct Servers;

impl Way for Servers {
    fn original(&self, book: &Book<'_>, item: &Subject) -> Result<Option<Party>> {
        let Some(server) = item.as_server() else { return Ok(None) };
        if let Some(array) = &server.array {
            return Err(Error::new(
                Kind::Usage,
                format!("{:?} is an instance of the array {array:?}", server.name),
            )
            .hint(format!("rs-clone array {}", quote(array))));
        }
        if server.foreign {
            return Err(Error::new(
                Kind::Declined,
                format!("{:?} was not launched by us: there is no template to clone", server.name),
            )
            .hint("name the new one in the site file"));
        }
        book.server(server).map(Some)
    }

    fn clones(&self, book: &Book<'_>, original: &str) -> BTreeSet<String> {
        let mine = |s: &&Server| s.cloned_from.as_deref() == Some(original) && s.array.is_none();
        book.servers.iter().filter(mine).map(|s| s.name.clone()).collect()
    }

    fn there(
        &self,
        book: &Book<'_>,
        original: &str,
        name: &str,
        like: &Likeness,
    ) -> Result<Option<Subject>> {
        if book.arrays.iter().any(|array| array.name == name) {
            return Err(unlike("array", name, original, "a server was asked for"));
        }
        let Some(server) = book.servers.iter().find(|s| s.name == name) else { return Ok(None) };
        if server.cloned_from.as_deref() != Some(original) || server.array.is_some() {
            return Err(unlike("server", name, original, "it is no clone of it"));
        }
        if server.state == State::Inactive
            && let Some(how) = differs(like, server.template.as_ref(), &server.next, &server.tags)
        {
            return Err(unlike("server", name, original, &how));
        }
        Ok(Some(Subject::server(&book.deployment.name, server.clone())))
    }

    fn define(&self, item: &Subject, overrides: &Inputs, name: &str, like: &Likeness) -> Subject {
        let original = item.as_server().cloned().unwrap_or_default();
        let deployment = item.record.body.get("deployment").and_then(|d| d.as_str());
        Subject::server(deployment.unwrap_or_default(), like.server(&original, overrides, name))
    }

    fn shared(&self, book: &Book<'_>, clone: &Subject) -> Result<Vec<String>> {
        let Some(server) = clone.as_server() else { return Ok(Vec::new()) };
        Ok(book.shared_by_server(server)?.iter().map(ToString::to_string).collect())
    }
}

struct Arrays;

impl Way for Arrays {
    fn original(&self, book: &Book<'_>, item: &Subject) -> Result<Option<Party>> {
        item.as_array().map(|array| book.array(array)).transpose()
    }

    fn clones(&self, book: &Book<'_>, original: &str) -> BTreeSet<String> {
        let mine = |a: &&Array| a.cloned_from.as_deref() == Some(original);
        book.arrays.iter().filter(mine).map(|a| a.name.clone()).collect()
    }

    fn there(
        &self,
        book: &Book<'_>,
        original: &str,
        name: &str,
        like: &Likeness,
    ) -> Result<Option<Subject>> {
        if book.servers.iter().any(|server| server.name == name) {
            return Err(unlike("server", name, original, "an array was asked for"));
        }
        let Some(array) = book.arrays.iter().find(|a| a.name == name) else { return Ok(None) };
        if array.cloned_from.as_deref() != Some(original) {
            return Err(unlike("array", name, original, "it is no clone of it"));
        }
        if array.instances.is_empty()
            && !array.enabled
            && let Some(how) = differs(like, array.template.as_ref(), &array.next, &array.tags)
        {
            return Err(unlike("array", name, original, &how));
        }
        Ok(Some(Subject::array(&book.deployment.name, array.clone())))
    }

    fn define(&self, item: &Subject, overrides: &Inputs, name: &str, like: &Likeness) -> Subject {
        let original = item.as_array().cloned().unwrap_or_default();
        let deployment = item.record.body.get("deployment").and_then(|d| d.as_str());
        let array = Array {
            name: name.to_owned(),
            minimum: original.minimum,
            maximum: original.maximum,
            template: like.template.clone().or_else(|| original.template.clone()),
            tags: like.tags_of(&original.tags),
            next: like.inputs_of(overrides),
            cloned_from: Some(original.name.clone()),
            ..Array::default()
        };
        Subject::array(deployment.unwrap_or_default(), array)
    }

    fn shared(&self, book: &Book<'_>, clone: &Subject) -> Result<Vec<String>> {
        let Some(array) = clone.as_array() else { return Ok(Vec::new()) };
        Ok(book.shared_by_array(array)?.iter().map(ToString::to_string).collect())
    }
}
