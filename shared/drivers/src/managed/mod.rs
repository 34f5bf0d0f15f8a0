//! Our own control plane: objects in a state store, machines by a driver of the family Machines.
//!
//! RightScale's semantics without a daemon: whoever calls drives the boot. Every object is one key, changed by
//! compare-and-set, so that two tools at once never lose a write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rs_contract::{
    Channel, Cloud, Hand, Launch, Place, Progress, Result, Retag, RunRequest, RunResult, State,
    Target, Work,
};
use rs_model::{Array, Deployment, Level, Server, Template, TemplateRef, Value};

mod alerts;
mod definitions;
mod images;
mod keys;
mod library;
mod life;
mod metadata;
mod objects;
mod runs;
mod script;
pub mod site;
mod site_plan;
mod site_print;
pub mod templates;
mod yaml;

/// Opens the control plane whose objects are in the state store that is named as the cloud.
pub fn open(place: &Place) -> Result<Box<dyn Cloud>> {
    let own = Place { state: None, ..place.clone() };
    let state = crate::opened(&own)?;
    let run_locks = place.state.as_ref().map(|_| crate::opened(place)).transpose()?;
    Ok(Box::new(Managed { state, run_locks, hand: place.hand.clone(), assumed: Mutex::default() }))
}

/// Our own control plane.
struct Managed {
    state: Box<dyn State>,
    /// Where the run locks are, when not beside the objects.
    run_locks: Option<Box<dyn State>>,
    /// Who drives it.
    hand: Hand,
    /// Deployments that only a dry run made.
    assumed: Mutex<Vec<Deployment>>,
}

impl Managed {
    fn word(&self) -> String {
        self.state.place()
    }

    fn assumed(&self) -> MutexGuard<'_, Vec<Deployment>> {
        self.assumed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cloud for Managed {
    fn place(&self) -> String {
        self.word()
    }

    fn assume(&self, planned: &[Deployment]) {
        self.assumed().extend_from_slice(planned);
    }

    fn deployments(&self) -> Result<Vec<Deployment>> {
        let mut all: Vec<Deployment> =
            self.all(keys::DEPLOYMENTS)?.into_iter().map(|stored| stored.is).collect();
        for assumed in self.assumed().iter() {
            if !all.iter().any(|there| there.name == assumed.name) {
                all.push(assumed.clone());
            }
        }
        Ok(all)
    }

    fn servers(&self, deployment: &str) -> Result<Vec<Server>> {
        self.all_servers(deployment)
    }

    fn arrays(&self, deployment: &str) -> Result<Vec<Array>> {
        self.all_arrays(deployment)
    }

    fn template(&self, reference: &TemplateRef) -> Result<Template> {
        self.find_template(reference)
    }

    fn templates(&self) -> Result<Vec<Template>> {
        self.newest_templates()
    }

    fn put_template(&self, template: &Template) -> Result<TemplateRef> {
        self.file_template(template)
    }

    fn put_deployment(&self, deployment: &Deployment) -> Result<Deployment> {
        self.define_deployment(deployment)
    }

    fn create_server(&self, deployment: &str, server: &Server) -> Result<Server> {
        self.define_server(deployment, server)
    }

    fn create_array(&self, deployment: &str, array: &Array) -> Result<Array> {
        self.define_array(deployment, array)
    }

    fn set_template(
        &self,
        deployment: &str,
        target: &Target,
        template: &TemplateRef,
    ) -> Result<()> {
        self.give_template(deployment, target, template)
    }

    fn delete_server(&self, deployment: &str, name: &str) -> Result<()> {
        self.drop_server(deployment, name)
    }

    fn delete_array(&self, deployment: &str, name: &str) -> Result<()> {
        self.drop_array(deployment, name)
    }

    fn delete_deployment(&self, name: &str) -> Result<()> {
        self.drop_deployment(name)
    }

    fn set_inputs(
        &self,
        deployment: &str,
        target: &Target,
        changes: &BTreeMap<String, Option<Value>>,
    ) -> Result<()> {
        self.change_inputs(deployment, target, changes)
    }

    fn set_current(
        &self,
        deployment: &str,
        server: &str,
        values: &BTreeMap<String, Option<(Value, Level)>>,
    ) -> Result<()> {
        self.change_current(deployment, server, values)
    }

    fn set_tags(
        &self,
        deployment: &str,
        target: &Target,
        add: &BTreeSet<String>,
        remove: &BTreeSet<String>,
    ) -> Result<()> {
        self.change_tags(deployment, target, add, remove)
    }

    fn retag(&self, deployment: &str, changes: &[Retag]) -> Result<()> {
        self.change_tags_of(deployment, changes)
    }

    fn set_lock(&self, deployment: &str, server: &str, locked: bool) -> Result<()> {
        self.change_server(deployment, server, |stored, _| {
            let changes = stored.is.locked != locked;
            stored.is.locked = locked;
            Ok(changes)
        })
        .map(|_| ())
    }

    fn set_array(
        &self,
        deployment: &str,
        array: &str,
        enabled: bool,
        minimum: u32,
        maximum: u32,
    ) -> Result<()> {
        self.change_array_size(deployment, array, enabled, minimum, maximum)
    }

    fn launch(&self, deployment: &str, server: &str, launch: &Launch) -> Result<Server> {
        self.begin_launch(deployment, server, launch)
    }

    fn launch_instance(&self, deployment: &str, array: &str, launch: &Launch) -> Result<Server> {
        self.begin_instance(deployment, array, launch)
    }

    fn settle(
        &self,
        deployment: &str,
        server: &str,
        work: Work,
        progress: Progress<'_>,
    ) -> Result<Server> {
        self.finish_boot(deployment, server, work, progress)
    }

    fn terminate(
        &self,
        deployment: &str,
        server: &str,
        work: Work,
        progress: Progress<'_>,
    ) -> Result<()> {
        self.finish_end(deployment, server, work, progress)
    }

    fn run(
        &self,
        deployment: &str,
        server: &str,
        request: &RunRequest,
        line: Progress<'_>,
    ) -> Result<RunResult> {
        self.run_on_demand(deployment, server, request, line)
    }

    fn output(&self, run: &str) -> Result<String> {
        self.find_output(run)
    }

    fn channel(&self, server: &Server) -> Result<Box<dyn Channel>> {
        self.reach(server)
    }
}
