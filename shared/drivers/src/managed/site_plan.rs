//! What a site file changes in the world: planned first, then done step by step.

use std::collections::{BTreeMap, BTreeSet};

use rs_contract::{Cloud, Error, Kind, Result, Target};
use rs_model::possible::outside;
use rs_model::{Array, Deployment, Inputs, Server, Template, TemplateRef, Value};
use serde_json::{Value as Json, json};

use super::site::{Site, SiteArray, SiteServer};
use super::yaml::Faults;

/// What `apply` does, and what the file says nothing of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Templates, then the deployment, then servers and arrays in the order of the file. Those without a need are
    /// there too.
    pub steps: Vec<Planned>,
    /// What is in the world and not in the file: kept, and named.
    pub lacks: Vec<Lack>,
}

impl Plan {
    /// Whether anything is to be done.
    pub fn changes(&self) -> bool {
        self.steps.iter().any(|step| !step.acts.is_empty())
    }
}

/// One object of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// `template`, `deployment`, `server` or `array`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What changes, in words; empty: it is so already.
    pub what: Vec<String>,
    /// What was there, as far as it changes; null for what is new.
    pub before: Json,
    /// What will be there.
    pub after: Json,
    /// The calls that make it so.
    pub acts: Vec<Act>,
}

/// One call of the control plane.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the call of the same name, with its arguments")]
pub enum Act {
    PutTemplate(Box<Template>),
    PutDeployment(Box<Deployment>),
    CreateServer(Box<Server>),
    CreateArray(Box<Array>),
    SetTemplate(Target, TemplateRef),
    SetInputs(Target, BTreeMap<String, Option<Value>>),
    SetTags(Target, BTreeSet<String>),
    SetLock(String, bool),
    SetArray { name: String, enabled: bool, minimum: u32, maximum: u32 },
}

/// Something that is in the world and not in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Lack {
    /// `server`, `array`, `input` or `tag`.
    pub kind: &'static str,
    /// What has it: the deployment, a server, an array.
    pub subject: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            "server" | "array" => {
                write!(f, "the {} {:?} is not in the file: kept", self.kind, self.name)
            }
            kind => {
                write!(f, "the {kind} {} of {} is not in the file: kept", self.name, self.subject)
            }
        }
    }
}

/// Compares a site file with the world. Changes nothing.
pub fn plan(cloud: &dyn Cloud, site: &Site) -> Result<Plan> {
    let mut plan = Plan::default();
    let revisions = templates(cloud, site, &mut plan)?;
    let name = &site.deployment.name;
    let there = cloud.deployments()?.into_iter().find(|d| d.name == *name);
    deployment(there.as_ref(), site, &mut plan);
    let (servers, arrays) = match &there {
        Some(_) => (cloud.servers(name)?, cloud.arrays(name)?),
        None => Default::default(),
    };
    let known = Known { cloud, revisions };
    known.check(site)?;
    known.possible(site, &servers, &arrays)?;
    for wanted in &site.servers {
        let name = &wanted.server.name;
        clash(name, "server", arrays.iter().any(|a| a.name == *name))?;
        let there = servers.iter().find(|s| s.name == *name);
        if there.is_some_and(|s| s.array.is_some()) {
            clash(name, "server", true)?;
        }
        let step = server(there, wanted, &known, &mut plan.lacks)?;
        plan.steps.push(step);
    }
    for wanted in &site.arrays {
        let name = &wanted.array.name;
        clash(name, "array", servers.iter().any(|s| s.name == *name))?;
        let step = array(arrays.iter().find(|a| a.name == *name), wanted, &known, &mut plan.lacks)?;
        plan.steps.push(step);
    }
    let lack = |kind, name: &str| Lack {
        kind,
        subject: format!("deployment {:?}", site.deployment.name),
        name: name.to_owned(),
    };
    for there in servers.iter().filter(|s| s.array.is_none()) {
        if !site.servers.iter().any(|s| s.server.name == there.name) {
            plan.lacks.push(lack("server", &there.name));
        }
    }
    for there in &arrays {
        if !site.arrays.iter().any(|a| a.array.name == there.name) {
            plan.lacks.push(lack("array", &there.name));
        }
    }
    Ok(plan)
}

fn clash(name: &str, kind: &str, there: bool) -> Result<()> {
    if !there {
        return Ok(());
    }
    let other = if kind == "server" { "array or an instance of one" } else { "server" };
    Err(Error::new(
        Kind::Usage,
        format!("{name:?} is a {kind} in the file and a {other} in the world"),
    )
    .hint("give it another name"))
}

/// Does one step; what it became is read from the cloud by whoever wants to know.
pub fn carry_out(cloud: &dyn Cloud, deployment: &str, step: &Planned) -> Result<()> {
    for act in &step.acts {
        match act {
            Act::PutTemplate(template) => {
                let filed = cloud.put_template(template)?;
                if filed.revision != Some(template.revision) {
                    return Err(Error::new(
                        Kind::Declined,
                        format!("the template {:?} became {filed} meanwhile", template.name),
                    )
                    .hint("somebody else filed one: look, and apply again"));
                }
            }
            Act::PutDeployment(wanted) => drop(cloud.put_deployment(wanted)?),
            Act::CreateServer(wanted) => drop(cloud.create_server(deployment, wanted)?),
            Act::CreateArray(wanted) => drop(cloud.create_array(deployment, wanted)?),
            Act::SetTemplate(target, template) => {
                cloud.set_template(deployment, target, template)?
            }
            Act::SetInputs(target, changes) => cloud.set_inputs(deployment, target, changes)?,
            Act::SetTags(target, add) => {
                cloud.set_tags(deployment, target, add, &BTreeSet::new())?
            }
            Act::SetLock(server, locked) => cloud.set_lock(deployment, server, *locked)?,
            Act::SetArray { name, enabled, minimum, maximum } => {
                cloud.set_array(deployment, name, *enabled, *minimum, *maximum)?;
            }
        }
    }
    Ok(())
}

/// Plans, and unless `dry` does it. A second call changes nothing.
pub fn apply(cloud: &dyn Cloud, site: &Site, dry: bool) -> Result<Plan> {
    let plan = plan(cloud, site)?;
    if !dry {
        for step in &plan.steps {
            carry_out(cloud, &site.deployment.name, step)?;
        }
    }
    Ok(plan)
}

/// Files the templates; the revision that each name then has.
fn templates(cloud: &dyn Cloud, site: &Site, plan: &mut Plan) -> Result<BTreeMap<String, u32>> {
    let mut revisions: BTreeMap<String, u32> = BTreeMap::new();
    let known = if site.templates.is_empty() { Vec::new() } else { cloud.templates()? };
    for loaded in &site.templates {
        let newest = known.iter().find(|t| t.name == loaded.template.name);
        let mut step = Planned {
            kind: "template",
            name: loaded.template.name.clone(),
            what: Vec::new(),
            before: newest.map_or(Json::Null, |t| json!({ "revision": t.revision })),
            after: Json::Null,
            acts: Vec::new(),
        };
        let revision = match newest {
            Some(newest) if newest.digest == loaded.template.digest => newest.revision,
            newest => {
                let revision = newest.map_or(1, |t| t.revision + 1);
                step.what.push(format!("revision {revision}"));
                let template = Template { revision, ..loaded.template.clone() };
                step.acts.push(Act::PutTemplate(Box::new(template)));
                revision
            }
        };
        step.after = json!({ "revision": revision });
        revisions.insert(loaded.template.name.clone(), revision);
        plan.steps.push(step);
    }
    Ok(revisions)
}

fn deployment(there: Option<&Deployment>, site: &Site, plan: &mut Plan) {
    let wanted = &site.deployment;
    let mut step = Planned {
        kind: "deployment",
        name: wanted.name.clone(),
        what: Vec::new(),
        before: Json::Null,
        after: Json::Null,
        acts: Vec::new(),
    };
    let fresh = Deployment { name: wanted.name.clone(), ..Deployment::default() };
    let mut now = there.cloned().unwrap_or(fresh);
    let before = now.clone();
    let changes = input_changes(&now.inputs, &wanted.inputs);
    for (name, value) in &changes {
        match value {
            Some(value) => now.inputs.insert(name.clone(), value.clone()),
            None => now.inputs.remove(name),
        };
    }
    let mut fields: Vec<&str> = Vec::new();
    for (key, value) in &wanted.later {
        if now.later.insert(key.clone(), value.clone()).as_ref() != Some(value) {
            fields.push(key);
        }
    }
    match there {
        None => step.what.push("new".into()),
        Some(_) => {
            step.before = inputs_json(&before.inputs, &changes);
            if !changes.is_empty() {
                step.what.push(format!("inputs {}", names(&changes)));
            }
            if !fields.is_empty() {
                step.what.push(fields.join(", "));
            }
            for name in before.inputs.keys().filter(|name| !wanted.inputs.contains_key(*name)) {
                plan.lacks.push(Lack {
                    kind: "input",
                    subject: format!("deployment {:?}", wanted.name),
                    name: name.clone(),
                });
            }
        }
    }
    if !step.what.is_empty() {
        step.after = match there {
            Some(_) => inputs_json(&now.inputs, &changes),
            None => json!({ "inputs": now.inputs }),
        };
        step.acts.push(Act::PutDeployment(Box::new(now)));
    }
    plan.steps.push(step);
}

struct Known<'a> {
    cloud: &'a dyn Cloud,
    revisions: BTreeMap<String, u32>,
}

impl Known<'_> {
    /// Every template that the file names and nobody has filed, at once.
    fn check(&self, site: &Site) -> Result<()> {
        let mut faults = Faults::default();
        for (wanted, line) in &site.template_lines {
            match self.settle(wanted) {
                Err(e) if e.kind() == Kind::NotFound => faults.add(
                    &site.source,
                    *line,
                    &format!("\"Template\": {}", e.what()),
                    e.advice().unwrap_or_default(),
                ),
                found => drop(found?),
            }
        }
        faults.check()
    }

    /// Every text that a script of its template does not take, at once: of a server or an array, and of the deployment
    /// where none of theirs stands over it.
    fn possible(&self, site: &Site, servers: &[Server], arrays: &[Array]) -> Result<()> {
        let own = |next: &Inputs, there: Option<&Inputs>| {
            let mut own = there.cloned().unwrap_or_default();
            own.extend(next.clone());
            own.retain(|_, value| *value != Value::Inherit);
            own
        };
        let server = |wanted: &SiteServer| {
            let wanted = &wanted.server;
            let there = servers.iter().find(|s| s.name == wanted.name).map(|s| &s.next);
            (wanted.name.clone(), wanted.template.clone(), own(&wanted.next, there))
        };
        let array = |wanted: &SiteArray| {
            let wanted = &wanted.array;
            let there = arrays.iter().find(|a| a.name == wanted.name).map(|a| &a.next);
            (wanted.name.clone(), wanted.template.clone(), own(&wanted.next, there))
        };
        let mut wrong = BTreeMap::new();
        for (name, template, own) in
            site.servers.iter().map(server).chain(site.arrays.iter().map(array))
        {
            let Some(template) = template else { continue };
            let template = self.template(site, &template)?;
            let of =
                |input: &str| if own.contains_key(input) { name.clone() } else { String::new() };
            let value = |input: &str| own.get(input).or_else(|| site.deployment.inputs.get(input));
            for found in outside(&template.scripts, value) {
                // what stands in the world alone is no fault of the file
                if let Some(line) = site.input_lines.get(&(of(&found.input), found.input.clone())) {
                    wrong.entry(*line).or_insert_with(|| found.to_string());
                }
            }
        }
        let mut faults = Faults::default();
        for (line, what) in wrong {
            faults.add(&site.source, line, &what, "write one of them");
        }
        faults.check()
    }

    /// The template as it will be: of the file, or as it is filed.
    fn template(&self, site: &Site, wanted: &TemplateRef) -> Result<Template> {
        let settled = self.settle(wanted)?;
        let of_file = site.templates.iter().find(|loaded| loaded.template.name == settled.name);
        match of_file {
            Some(loaded) if self.revisions.get(&settled.name).copied() == settled.revision => {
                Ok(loaded.template.clone())
            }
            _ => self.cloud.template(&settled),
        }
    }

    /// A template with its revision: the one that is named, else the newest.
    fn settle(&self, wanted: &TemplateRef) -> Result<TemplateRef> {
        let newest = self.revisions.get(&wanted.name).copied();
        let revision = match (wanted.revision, newest) {
            (None, Some(newest)) => newest,
            (Some(revision), Some(newest)) if revision == newest => revision,
            _ => {
                let found = self.cloud.template(wanted).map_err(|e| {
                    if e.kind() == Kind::NotFound { self.unknown(wanted) } else { e }
                })?;
                found.revision
            }
        };
        Ok(TemplateRef { name: wanted.name.clone(), revision: Some(revision) })
    }

    fn unknown(&self, wanted: &TemplateRef) -> Error {
        let newest = TemplateRef { revision: None, ..wanted.clone() };
        let newest = match self.revisions.get(&wanted.name) {
            Some(revision) => Some(*revision),
            None => self.cloud.template(&newest).ok().map(|template| template.revision),
        };
        match newest.filter(|_| wanted.revision.is_some()) {
            Some(newest) => Error::new(
                Kind::NotFound,
                format!("there is no {wanted}: the newest revision is {newest}"),
            )
            .hint("name one that is there, or none for the newest"),
            None => Error::new(Kind::NotFound, format!("no template is called {wanted}"))
                .hint("name its file under Templates"),
        }
    }
}

fn server(
    there: Option<&Server>,
    wanted: &SiteServer,
    known: &Known<'_>,
    lacks: &mut Vec<Lack>,
) -> Result<Planned> {
    let mut server = wanted.server.clone();
    server.template = server.template.as_ref().map(|t| known.settle(t)).transpose()?;
    let mut step = Planned {
        kind: "server",
        name: server.name.clone(),
        what: Vec::new(),
        before: Json::Null,
        after: Json::Null,
        acts: Vec::new(),
    };
    let Some(there) = there else {
        server.locked = wanted.locked.unwrap_or(false);
        server.next.retain(|_, value| *value != Value::Inherit);
        step.what.push("new".into());
        step.after = json!(server);
        step.acts.push(Act::CreateServer(Box::new(server)));
        return Ok(step);
    };
    if there.foreign != server.foreign || (server.foreign && there.address != server.address) {
        let how = |s: &Server| match (s.foreign, s.address) {
            (true, Some(address)) => format!("at {address}, not launched by us"),
            _ => "launched by us".into(),
        };
        return Err(Error::new(
            Kind::Declined,
            format!(
                "the server {:?} is {} in the world and {} in the file",
                there.name,
                how(there),
                how(&server)
            ),
        )
        .hint(
            "rs-cleanup plan, then rs-cleanup retire --delete, takes that definition away; or give this one another name",
        ));
    }
    let target = Target::Next(server.name.clone());
    let subject = format!("server {:?}", server.name);
    common(
        &mut step,
        &target,
        (there.template.as_ref(), server.template.as_ref()),
        (&there.next, &server.next),
        (&there.tags, &server.tags),
        (&subject, lacks),
    );
    if let Some(locked) = wanted.locked.filter(|locked| *locked != there.locked) {
        step.what.push(if locked { "locked" } else { "unlocked" }.into());
        step.before["locked"] = there.locked.into();
        step.after["locked"] = locked.into();
        step.acts.push(Act::SetLock(server.name.clone(), locked));
    }
    Ok(step)
}

fn array(
    there: Option<&Array>,
    wanted: &SiteArray,
    known: &Known<'_>,
    lacks: &mut Vec<Lack>,
) -> Result<Planned> {
    let mut array = wanted.array.clone();
    array.template = array.template.as_ref().map(|t| known.settle(t)).transpose()?;
    let mut step = Planned {
        kind: "array",
        name: array.name.clone(),
        what: Vec::new(),
        before: Json::Null,
        after: Json::Null,
        acts: Vec::new(),
    };
    array.enabled = wanted.enabled.or(there.map(|a| a.enabled)).unwrap_or(false);
    array.minimum = wanted.minimum.or(there.map(|a| a.minimum)).unwrap_or(0);
    array.maximum = wanted.maximum.or(there.map(|a| a.maximum)).unwrap_or(array.minimum.max(1));
    if array.minimum > array.maximum {
        return Err(Error::new(
            Kind::Usage,
            format!(
                "the array {:?} would have minimum {} and maximum {}",
                array.name, array.minimum, array.maximum
            ),
        )
        .hint("write both Minimum and Maximum"));
    }
    let Some(there) = there else {
        array.next.retain(|_, value| *value != Value::Inherit);
        step.what.push("new".into());
        step.after = json!(array);
        step.acts.push(Act::CreateArray(Box::new(array)));
        return Ok(step);
    };
    let target = Target::Array(array.name.clone());
    let subject = format!("array {:?}", array.name);
    common(
        &mut step,
        &target,
        (there.template.as_ref(), array.template.as_ref()),
        (&there.next, &array.next),
        (&there.tags, &array.tags),
        (&subject, lacks),
    );
    let numbers =
        |a: &Array| json!({"enabled": a.enabled, "minimum": a.minimum, "maximum": a.maximum});
    if numbers(there) != numbers(&array) {
        step.what.push("enabled, minimum, maximum".into());
        step.before["array"] = numbers(there);
        step.after["array"] = numbers(&array);
        let Array { name, enabled, minimum, maximum, .. } = array;
        step.acts.push(Act::SetArray { name, enabled, minimum, maximum });
    }
    Ok(step)
}

fn common(
    step: &mut Planned,
    target: &Target,
    template: (Option<&TemplateRef>, Option<&TemplateRef>),
    next: (&Inputs, &Inputs),
    tags: (&BTreeSet<String>, &BTreeSet<String>),
    (subject, lacks): (&str, &mut Vec<Lack>),
) {
    step.before = json!({});
    step.after = json!({});
    if let (before, Some(after)) = template
        && before != Some(after)
    {
        step.what.push(format!("template {after}"));
        step.before["template"] = before.map_or(Json::Null, |t| t.to_string().into());
        step.after["template"] = after.to_string().into();
        step.acts.push(Act::SetTemplate(target.clone(), after.clone()));
    }
    let changes = input_changes(next.0, next.1);
    if !changes.is_empty() {
        step.what.push(format!("inputs {}", names(&changes)));
        step.before["inputs"] = inputs_json(next.0, &changes);
        step.after["inputs"] = json!(changes);
        step.acts.push(Act::SetInputs(target.clone(), changes));
    }
    for name in next.0.keys().filter(|name| !next.1.contains_key(*name)) {
        lacks.push(Lack { kind: "input", subject: subject.to_owned(), name: name.clone() });
    }
    let mut add = BTreeSet::new();
    for tag in tags.1.difference(tags.0) {
        // which database is master is the world's to say: after a promotion the file is the one that is behind
        let other = ["database:master_active=", "database:slave_active="];
        let held = tags.0.iter().any(|t| other.iter().any(|role| t.starts_with(role)));
        if held && other.iter().any(|role| tag.starts_with(role)) {
            continue;
        }
        add.insert(tag.clone());
    }
    if !add.is_empty() {
        step.what.push(format!("tags {}", add.iter().cloned().collect::<Vec<_>>().join(", ")));
        step.before["tags"] = json!(tags.0);
        step.after["tags"] = json!(tags.0.union(&add).collect::<Vec<_>>());
        step.acts.push(Act::SetTags(target.clone(), add));
    }
    for tag in tags.0.difference(tags.1).filter(|tag| !tag.starts_with("rs_upgrade:")) {
        lacks.push(Lack { kind: "tag", subject: subject.to_owned(), name: tag.clone() });
    }
    if step.acts.is_empty() {
        step.before = Json::Null;
        step.after = Json::Null;
    }
}

/// What has to be set (`Some`) and removed (`None`) so that the file's entries are there.
fn input_changes(there: &Inputs, wanted: &Inputs) -> BTreeMap<String, Option<Value>> {
    wanted
        .iter()
        .filter_map(|(name, value)| match (value, there.get(name)) {
            (Value::Inherit, None) => None,
            (Value::Inherit, Some(_)) => Some((name.clone(), None)),
            (value, now) if now == Some(value) => None,
            (value, _) => Some((name.clone(), Some(value.clone()))),
        })
        .collect()
}

fn inputs_json(inputs: &Inputs, changes: &BTreeMap<String, Option<Value>>) -> Json {
    json!(changes.keys().map(|name| (name, inputs.get(name))).collect::<BTreeMap<_, _>>())
}

fn names(changes: &BTreeMap<String, Option<Value>>) -> String {
    changes.keys().cloned().collect::<Vec<_>>().join(", ")
}
