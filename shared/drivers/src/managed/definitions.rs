//! Definitions: deployments, servers and arrays before and beside their machines.

use std::collections::{BTreeMap, BTreeSet};

use rs_contract::{Error, Expect, Kind, Result, Retag, Target, Txn};
use rs_model::{
    Array, Deployment, Inputs, Level, Resolved, Server, State, TemplateRef, Value, name,
};

use super::keys::Stored;
use super::objects::encode;
use super::{Managed, keys};

impl Managed {
    pub(super) fn all_servers(&self, deployment: &str) -> Result<Vec<Server>> {
        let servers = self.all::<Server>(&keys::servers(deployment))?;
        if servers.is_empty() {
            self.find_deployment(deployment)?;
        }
        Ok(servers.into_iter().map(|stored| stored.is).collect())
    }

    pub(super) fn all_arrays(&self, deployment: &str) -> Result<Vec<Array>> {
        let mut arrays: Vec<Array> =
            self.all::<Array>(&keys::arrays(deployment))?.into_iter().map(|s| s.is).collect();
        if arrays.is_empty() {
            self.find_deployment(deployment)?;
            return Ok(arrays);
        }
        let mut instances: BTreeMap<String, (Vec<String>, u32)> = BTreeMap::new();
        for server in self.all_servers(deployment)? {
            if let Some(array) = server.array {
                let (names, operational) = instances.entry(array).or_default();
                names.push(server.name);
                *operational += u32::from(server.state == State::Operational);
            }
        }
        for array in &mut arrays {
            (array.instances, array.operational) =
                instances.remove(&array.name).unwrap_or_default();
        }
        Ok(arrays)
    }

    pub(super) fn define_deployment(&self, wanted: &Deployment) -> Result<Deployment> {
        name::object("deployment", &wanted.name)?;
        check_inputs(wanted.inputs.keys())?;
        let clean = Deployment { inputs: without_inherit(&wanted.inputs), ..wanted.clone() };
        let key = keys::deployment(&wanted.name);
        if self.make(&key, &clean, Txn::default())? {
            return Ok(clean);
        }
        self.change(
            &key,
            || self.no_deployment(&wanted.name),
            |stored, _| {
                let there: &mut Deployment = &mut stored.is;
                let before = there.clone();
                there.inputs.clone_from(&clean.inputs);
                if clean.cloned_from.is_some() {
                    there.cloned_from.clone_from(&clean.cloned_from);
                }
                there.later.extend(clean.later.clone());
                Ok(*there != before)
            },
        )
    }

    pub(super) fn define_server(&self, deployment: &str, wanted: &Server) -> Result<Server> {
        name::object("server", &wanted.name)?;
        check_inputs(wanted.next.keys())?;
        check_tags(&wanted.tags)?;
        self.find_deployment(deployment)?;
        if let Some(template) = &wanted.template {
            self.find_template(template)?;
        }
        if wanted.foreign && wanted.address.is_none() {
            return Err(Error::new(
                Kind::Usage,
                format!("{:?} is nobody's machine of ours and has no address", wanted.name),
            )
            .hint("give its address, or a template to launch it from"));
        }
        if self.state.get(&keys::array(deployment, &wanted.name))?.is_some() {
            return Err(taken(deployment, "an array", &wanted.name));
        }
        let clean = Server {
            state: if wanted.foreign { State::Operational } else { State::Inactive },
            address: wanted.address.filter(|_| wanted.foreign),
            array: None,
            current: None,
            next: without_inherit(&wanted.next),
            ..wanted.clone()
        };
        let key = keys::server(deployment, &wanted.name);
        let txn = Txn {
            expect: vec![Expect::Absent(keys::array(deployment, &wanted.name))],
            ..Txn::default()
        };
        if self.make(&key, &clean, txn)? {
            return Ok(clean);
        }
        let there = self.find_server(deployment, &wanted.name)?;
        let unlike = [
            ("template", there.template != clean.template),
            ("inputs", there.next != clean.next),
            (
                "address",
                there.foreign != clean.foreign || clean.foreign && there.address != clean.address,
            ),
            ("origin", there.cloned_from != clean.cloned_from),
            ("array", there.array.is_some()),
            ("tags", !clean.tags.is_subset(&there.tags)),
        ];
        alike(deployment, "server", &wanted.name, &unlike)?;
        Ok(there)
    }

    pub(super) fn define_array(&self, deployment: &str, wanted: &Array) -> Result<Array> {
        name::object("array", &wanted.name)?;
        check_inputs(wanted.next.keys())?;
        check_tags(&wanted.tags)?;
        check_bounds(&wanted.name, wanted.minimum, wanted.maximum)?;
        self.find_deployment(deployment)?;
        if let Some(template) = &wanted.template {
            self.find_template(template)?;
        }
        if self.state.get(&keys::server(deployment, &wanted.name))?.is_some() {
            return Err(taken(deployment, "a server", &wanted.name));
        }
        let clean = Array {
            instances: Vec::new(),
            operational: 0,
            next: without_inherit(&wanted.next),
            ..wanted.clone()
        };
        let key = keys::array(deployment, &wanted.name);
        let txn = Txn {
            expect: vec![Expect::Absent(keys::server(deployment, &wanted.name))],
            ..Txn::default()
        };
        if self.make(&key, &clean, txn)? {
            return Ok(clean);
        }
        let there = self.find_array(deployment, &wanted.name)?;
        let unlike = [
            ("template", there.template != clean.template),
            ("inputs", there.next != clean.next),
            ("bounds", (there.minimum, there.maximum) != (clean.minimum, clean.maximum)),
            ("origin", there.cloned_from != clean.cloned_from),
            ("tags", !clean.tags.is_subset(&there.tags)),
        ];
        alike(deployment, "array", &wanted.name, &unlike)?;
        let arrays = self.all_arrays(deployment)?;
        Ok(arrays.into_iter().find(|array| array.name == wanted.name).unwrap_or(there))
    }

    pub(super) fn give_template(
        &self,
        deployment: &str,
        target: &Target,
        template: &TemplateRef,
    ) -> Result<()> {
        self.find_template(template)?;
        match target {
            Target::Next(server) => self
                .change_server(deployment, server, |stored, _| {
                    let changes = stored.is.template.as_ref() != Some(template);
                    stored.is.template = Some(template.clone());
                    Ok(changes)
                })
                .map(|_| ()),
            Target::Array(array) => self
                .change_array(deployment, array, |stored, _| {
                    let changes = stored.is.template.as_ref() != Some(template);
                    stored.is.template = Some(template.clone());
                    Ok(changes)
                })
                .map(|_| ()),
            Target::Current(_) | Target::Deployment => Err(Error::new(
                Kind::Usage,
                "only a definition has a template: a server's next, or an array",
            )),
        }
    }

    pub(super) fn drop_server(&self, deployment: &str, server: &str) -> Result<()> {
        let key = keys::server(deployment, server);
        loop {
            let Some(read) = self.read::<Server>(&key)? else {
                return Err(self.no_server(deployment, server));
            };
            let there = read.stored.is;
            if there.locked {
                return Err(locked(server));
            }
            if there.state.is_up() && !there.foreign {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{server:?} is {}", there.state.word()),
                )
                .hint("rs-cleanup plan, then rs-cleanup retire, ends and removes it"));
            }
            let txn = Txn {
                expect: vec![Expect::Version(key.clone(), read.version)],
                put: Vec::new(),
                delete: vec![key.clone()],
            };
            match self.state.commit(&txn) {
                Err(e) if e.is_race() => {}
                done => return done,
            }
        }
    }

    pub(super) fn drop_array(&self, deployment: &str, array: &str) -> Result<()> {
        let key = keys::array(deployment, array);
        loop {
            let Some(read) = self.read::<Array>(&key)? else {
                return Err(self.no_array(deployment, array));
            };
            let servers = self.all_servers(deployment)?;
            let left: Vec<&str> = servers
                .iter()
                .filter(|server| server.array.as_deref() == Some(array))
                .map(|server| server.name.as_str())
                .collect();
            if !left.is_empty() {
                return Err(Error::new(
                    Kind::Declined,
                    format!("array {array:?} has instances: {}", left.join(", ")),
                )
                .hint("rs-cleanup plan, then rs-cleanup retire, ends them first"));
            }
            let txn = Txn {
                expect: vec![Expect::Version(key.clone(), read.version)],
                put: Vec::new(),
                delete: vec![key.clone()],
            };
            match self.state.commit(&txn) {
                Err(e) if e.is_race() => {}
                done => return done,
            }
        }
    }

    pub(super) fn drop_deployment(&self, name: &str) -> Result<()> {
        self.find_deployment(name)?;
        let servers = self.all_servers(name)?.len();
        let arrays = self.all_arrays(name)?.len();
        if servers + arrays > 0 {
            return Err(Error::new(
                Kind::Declined,
                format!("deployment {name:?} has {servers} servers and {arrays} arrays"),
            )
            .hint("remove those first: rs-cleanup plan, then rs-cleanup retire"));
        }
        self.state.commit(&Txn { delete: vec![keys::deployment(name)], ..Txn::default() })
    }

    pub(super) fn change_inputs(
        &self,
        deployment: &str,
        target: &Target,
        changes: &BTreeMap<String, Option<Value>>,
    ) -> Result<()> {
        // what must not get a value may lose the one that it has
        let gets = |value: &Option<Value>| value.as_ref().is_some_and(|v| *v != Value::Inherit);
        check_inputs(changes.iter().filter(|(_, value)| gets(value)).map(|(name, _)| name))?;
        match target {
            Target::Deployment => self
                .change(
                    &keys::deployment(deployment),
                    || self.no_deployment(deployment),
                    |stored: &mut Stored<Deployment>, _| Ok(set(&mut stored.is.inputs, changes)),
                )
                .map(|_: Deployment| ()),
            Target::Next(server) => self
                .change_server(deployment, server, |s, _| Ok(set(&mut s.is.next, changes)))
                .map(|_| ()),
            Target::Array(array) => self
                .change_array(deployment, array, |s, _| Ok(set(&mut s.is.next, changes)))
                .map(|_| ()),
            Target::Current(server) => {
                let values = changes
                    .iter()
                    .map(|(name, value)| {
                        let value = value.clone().filter(|value| *value != Value::Inherit);
                        (name.clone(), value.map(|value| (value, Level::Current)))
                    })
                    .collect();
                self.change_current(deployment, server, &values)
            }
        }
    }

    pub(super) fn change_current(
        &self,
        deployment: &str,
        server: &str,
        values: &BTreeMap<String, Option<(Value, Level)>>,
    ) -> Result<()> {
        check_inputs(values.iter().filter(|(_, to)| to.is_some()).map(|(name, _)| name))?;
        self.change_server(deployment, server, |stored, _| {
            let Some(current) = &mut stored.is.current else {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{server:?} is not launched: it has no current inputs"),
                )
                .hint("set them at next, or launch it first"));
            };
            let before = current.inputs.clone();
            for (name, value) in values {
                match value {
                    Some((value, from)) => {
                        let value = Resolved { value: value.clone(), from: *from };
                        current.inputs.insert(name.clone(), value);
                    }
                    None => {
                        current.inputs.remove(name);
                    }
                }
            }
            Ok(current.inputs != before)
        })
        .map(|_| ())
    }

    pub(super) fn change_tags(
        &self,
        deployment: &str,
        target: &Target,
        add: &BTreeSet<String>,
        remove: &BTreeSet<String>,
    ) -> Result<()> {
        check_tags(add)?;
        let edit = |tags: &mut BTreeSet<String>| {
            let before = tags.clone();
            tags.retain(|tag| !remove.contains(tag));
            tags.extend(add.iter().cloned());
            *tags != before
        };
        match target {
            Target::Next(server) | Target::Current(server) => {
                self.change_server(deployment, server, |s, _| Ok(edit(&mut s.is.tags))).map(|_| ())
            }
            Target::Array(array) => {
                self.change_array(deployment, array, |s, _| Ok(edit(&mut s.is.tags))).map(|_| ())
            }
            Target::Deployment => {
                Err(Error::new(Kind::Usage, "a deployment has no tags").hint("tag its servers"))
            }
        }
    }

    /// All of them in one transaction, tried again as a whole when somebody else was faster with one.
    pub(super) fn change_tags_of(&self, deployment: &str, changes: &[Retag]) -> Result<()> {
        let mut edits: BTreeMap<&str, Vec<&Retag>> = BTreeMap::new();
        for change in changes {
            check_tags(&change.add)?;
            edits.entry(&change.server).or_default().push(change);
        }
        self.again(|| {
            let mut txn = Txn::default();
            for (server, changes) in &edits {
                let key = keys::server(deployment, server);
                let read = self.read::<Server>(&key)?;
                let mut read = read.ok_or_else(|| self.no_server(deployment, server))?;
                let before = read.stored.is.tags.clone();
                for change in changes {
                    read.stored.is.tags.retain(|tag| !change.remove.contains(tag));
                    read.stored.is.tags.extend(change.add.iter().cloned());
                }
                if read.stored.is.tags != before {
                    txn.expect.push(Expect::Version(key.clone(), read.version));
                    txn.put.push((key, encode(&read.stored)?));
                }
            }
            if txn == Txn::default() { Ok(()) } else { self.state.commit(&txn) }
        })
    }

    pub(super) fn change_array_size(
        &self,
        deployment: &str,
        array: &str,
        enabled: bool,
        minimum: u32,
        maximum: u32,
    ) -> Result<()> {
        check_bounds(array, minimum, maximum)?;
        self.change_array(deployment, array, |stored, _| {
            let there = &mut stored.is;
            let before = (there.enabled, there.minimum, there.maximum);
            (there.enabled, there.minimum, there.maximum) = (enabled, minimum, maximum);
            Ok(before != (enabled, minimum, maximum))
        })
        .map(|_| ())
    }
}

/// What a lock forbids.
pub fn locked(server: &str) -> Error {
    Error::new(Kind::Declined, format!("{server:?} is locked"))
        .hint("if it may go: rs-server unlock, with its name")
}

fn taken(deployment: &str, what: &str, name: &str) -> Error {
    Error::new(Kind::Declined, format!("{name:?} is {what} of {deployment:?} already"))
        .hint("names are unique in a deployment: choose another")
}

fn alike(deployment: &str, kind: &str, name: &str, unlike: &[(&str, bool)]) -> Result<()> {
    let differ: Vec<&str> = unlike.iter().filter(|(_, is)| *is).map(|(what, _)| *what).collect();
    if differ.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Declined,
        format!(
            "a {kind} {name:?} is in {deployment:?} already, and differs: {}",
            differ.join(", ")
        ),
    )
    .hint("choose another name, or change what is there"))
}

/// Sets and removes; whether anything changed. `inherit` is no value, so it removes.
fn set(inputs: &mut Inputs, changes: &BTreeMap<String, Option<Value>>) -> bool {
    let before = inputs.clone();
    for (name, value) in changes {
        match value {
            Some(value) if *value != Value::Inherit => {
                inputs.insert(name.clone(), value.clone());
            }
            _ => {
                inputs.remove(name);
            }
        }
    }
    *inputs != before
}

fn without_inherit(inputs: &Inputs) -> Inputs {
    inputs
        .iter()
        .filter(|(_, value)| **value != Value::Inherit)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn check_inputs<'a>(names: impl Iterator<Item = &'a String>) -> Result<()> {
    for input in names {
        name::input(input)?;
    }
    Ok(())
}

fn check_tags(tags: &BTreeSet<String>) -> Result<()> {
    for tag in tags {
        name::object("tag", tag)?;
    }
    Ok(())
}

fn check_bounds(array: &str, minimum: u32, maximum: u32) -> Result<()> {
    if minimum <= maximum {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!("array {array:?} would have a minimum of {minimum} and a maximum of {maximum}"),
    )
    .hint("the minimum is at most the maximum"))
}
