//! The levels that a server's or an array's inputs come from, read from a control plane: what `rs-inputs`,
//! `rs-clone` and a launch ask.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use rs_contract::{Cloud, Error, Kind, Result};
use rs_model::input::Resolution;
use rs_model::lint::{self, Shared};
use rs_model::promote;
use rs_model::{Array, Deployment, Inputs, Server, State, Template, TemplateRef};

/// A deployment with everything that inputs hang on, read once.
pub struct Book<'a> {
    cloud: &'a dyn Cloud,
    /// The deployment with its own entries.
    pub deployment: Deployment,
    /// Its servers, instances of arrays included.
    pub servers: Vec<Server>,
    /// Its arrays.
    pub arrays: Vec<Array>,
    templates: RefCell<BTreeMap<TemplateRef, Template>>,
}

impl<'a> Book<'a> {
    /// Reads it.
    pub fn read(cloud: &'a dyn Cloud, deployment: &str) -> Result<Book<'a>> {
        let found = cloud.deployments()?.into_iter().find(|d| d.name == deployment);
        let found = found.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("no deployment is called {deployment:?}"))
                .hint("rs-server apply FILE makes one")
        })?;
        Ok(Book {
            cloud,
            servers: cloud.servers(deployment)?,
            arrays: cloud.arrays(deployment)?,
            deployment: found,
            templates: RefCell::default(),
        })
    }

    /// A template with its scripts, read once.
    pub fn template(&self, reference: &TemplateRef) -> Result<Template> {
        if let Some(known) = self.templates.borrow().get(reference) {
            return Ok(known.clone());
        }
        let found = self.cloud.template(reference)?;
        self.templates.borrow_mut().insert(reference.clone(), found.clone());
        Ok(found)
    }

    /// A server's levels. The next of an array's instance is its array's.
    pub fn server(&self, server: &Server) -> Result<promote::Party> {
        let array = server.array.as_ref().and_then(|a| self.arrays.iter().find(|b| b.name == *a));
        let (template, next) = match array {
            Some(array) => (array.template.as_ref(), &array.next),
            None => (server.template.as_ref(), &server.next),
        };
        Ok(promote::Party {
            name: server.name.clone(),
            array: false,
            instance: server.array.is_some(),
            template: template.map(|t| self.template(t)).transpose()?,
            next: next.clone(),
            original: match array {
                Some(array) => self.original_array(array),
                None => self.original_server(server),
            },
            current: server.current.as_ref().map(|current| current.inputs.clone()),
            operational: server.state == State::Operational || server.foreign,
        })
    }

    /// An array's levels.
    pub fn array(&self, array: &Array) -> Result<promote::Party> {
        let mine = |server: &&Server| server.array.as_deref() == Some(&array.name);
        Ok(promote::Party {
            name: array.name.clone(),
            array: true,
            instance: false,
            template: array.template.as_ref().map(|t| self.template(t)).transpose()?,
            next: array.next.clone(),
            original: self.original_array(array),
            current: None,
            operational: self
                .servers
                .iter()
                .filter(mine)
                .all(|server| server.state == State::Operational),
        })
    }

    /// Entries of the production original: the first ancestor that is not itself new or temporary.
    fn original_server(&self, server: &Server) -> Inputs {
        let mut from = server.cloned_from.as_deref();
        for _ in 0..self.servers.len() {
            let found = from.and_then(|name| self.servers.iter().find(|s| s.name == name));
            match found {
                Some(found) if lint::must_be_isolated(&found.tags) => {
                    from = found.cloned_from.as_deref();
                }
                Some(found) => return found.next.clone(),
                None => break,
            }
        }
        Inputs::new()
    }

    fn original_array(&self, array: &Array) -> Inputs {
        let mut from = array.cloned_from.as_deref();
        for _ in 0..self.arrays.len() {
            let found = from.and_then(|name| self.arrays.iter().find(|a| a.name == name));
            match found {
                Some(found) if lint::must_be_isolated(&found.tags) => {
                    from = found.cloned_from.as_deref();
                }
                Some(found) => return found.next.clone(),
                None => break,
            }
        }
        Inputs::new()
    }

    /// What a launch would see now.
    pub fn resolve(&self, party: &promote::Party) -> Resolution {
        party.resolve(&self.deployment.inputs)
    }

    /// Every name that is known to it: declared by a script, or there at any level.
    pub fn known(&self, party: &promote::Party) -> BTreeSet<String> {
        let mut known: BTreeSet<String> = self.resolve(party).values.into_keys().collect();
        known.extend(party.next.keys().cloned());
        known.extend(party.current.iter().flat_map(|current| current.keys().cloned()));
        if let Some(template) = &party.template {
            known.extend(template.scripts.iter().flat_map(|s| s.inputs.keys().cloned()));
        }
        known
    }

    /// What a definition that was never launched still shares with production; see [`lint::isolation`].
    pub fn shared_by_server(&self, server: &Server) -> Result<Vec<Shared>> {
        if server.state != State::Inactive || server.current.is_some() || server.array.is_some() {
            return Ok(Vec::new());
        }
        let clone = self.looked_at(server)?;
        if !clone.must_be_isolated() {
            return Ok(Vec::new());
        }
        let all = self.servers.iter().map(|s| self.looked_at(s)).collect::<Result<Vec<_>>>()?;
        Ok(lint::isolation(&clone, &all))
    }

    /// The same of an array that has no instance.
    pub fn shared_by_array(&self, array: &Array) -> Result<Vec<Shared>> {
        if !array.instances.is_empty() {
            return Ok(Vec::new());
        }
        let look = |array: &Array| -> Result<lint::Party> {
            Ok(lint::Party {
                name: array.name.clone(),
                cloned_from: array.cloned_from.clone(),
                tags: array.tags.clone(),
                values: self.resolve(&self.array(array)?).values,
                address: None,
            })
        };
        let clone = look(array)?;
        if !clone.must_be_isolated() {
            return Ok(Vec::new());
        }
        let all = self.arrays.iter().map(look).collect::<Result<Vec<_>>>()?;
        Ok(lint::isolation(&clone, &all))
    }

    /// Declines the first launch of a server that still shares something with production.
    pub fn isolated_server(&self, server: &Server) -> Result<()> {
        refuse("server", &server.name, self.shared_by_server(server)?)
    }

    /// Declines the first launch into an array that still shares something with production.
    pub fn isolated_array(&self, array: &Array) -> Result<()> {
        refuse("array", &array.name, self.shared_by_array(array)?)
    }

    fn looked_at(&self, server: &Server) -> Result<lint::Party> {
        let party = self.server(server)?;
        Ok(lint::Party {
            name: server.name.clone(),
            cloned_from: server.cloned_from.clone(),
            tags: server.tags.clone(),
            values: match party.current.clone() {
                Some(current) => current,
                None => self.resolve(&party).values,
            },
            address: server.address,
        })
    }
}

fn refuse(kind: &str, name: &str, shared: Vec<Shared>) -> Result<()> {
    let Some(first) = shared.first() else { return Ok(()) };
    let list: Vec<String> = shared.iter().map(ToString::to_string).collect();
    Err(Error::new(
        Kind::Declined,
        format!("the {kind} {name:?} still shares with production: {}", list.join("; ")),
    )
    .hint(format!(
        "give it its own: rs-inputs set --on '{name}' {}=text:…; if it is meant so: rs-clone with --tag {}",
        first.what,
        lint::sharing_tag(&first.what)
    )))
}

/// The entries that make a definition's launch see what its current instance runs with (`rs-clone --from current`).
pub fn overrides_from_current(book: &Book<'_>, party: &promote::Party) -> Option<Inputs> {
    let current = party.current.as_ref()?;
    let bare = promote::Party { next: Inputs::new(), ..party.clone() };
    let inherited = book.resolve(&bare).values;
    let mut found = Inputs::new();
    for (name, resolved) in current {
        if inherited.get(name).map(|r| &r.value) != Some(&resolved.value) {
            found.insert(name.clone(), resolved.value.clone());
        }
    }
    // a name that current has not at all is not to be inherited either
    for name in inherited.keys().filter(|name| !current.contains_key(*name)) {
        found.insert(name.clone(), rs_model::Value::Ignore);
    }
    Some(found)
}
