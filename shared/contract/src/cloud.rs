use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rs_model::{Array, Deployment, Inputs, Level, Resolved, Server, Template, TemplateRef, Value};
use serde::{Deserialize, Serialize};

use crate::{Channel, Hand, Result, State};

/// Hears what long work is doing, for people.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Work that was named, with the time it may take.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Give up after this.
    pub timeout: Duration,
}

/// What becomes of a server's tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retag {
    /// The server's name.
    pub server: String,
    /// Tags that it gets.
    pub add: BTreeSet<String>,
    /// Tags that it loses.
    pub remove: BTreeSet<String>,
}

/// What inputs (and tags, locks) hang on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The deployment itself.
    Deployment,
    /// A server's next instance.
    Next(String),
    /// A server's current instance.
    Current(String),
    /// An array's next instance.
    Array(String),
}

/// What is wanted of a launch.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Values for this launch only.
    pub inputs: Inputs,
    /// Also write them to next (`Save and Launch`).
    pub save: bool,
}

/// One run of a script on one server.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// RightScript Name, in the server's template.
    pub script: String,
    /// Values of this run only.
    pub inputs: Inputs,
    /// What was stopped stays stopped: no restart by init, timer or reboot (step 19).
    pub stay: bool,
    /// Give up after this.
    pub timeout: Duration,
    /// Each line of output as it comes, and not only what the run waits for.
    pub follow: bool,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Unique, e.g. `run-42`: the output is kept under it.
    pub id: String,
    /// RightScript Name.
    pub script: String,
    /// Exit status; 128 + N when a signal ended it.
    pub exit: i32,
    /// Milliseconds.
    pub ms: u64,
    /// The last lines of output.
    pub tail: String,
    /// Every value that it saw (secrets as `cred:NAME`), with its source.
    #[serde(default)]
    pub values: BTreeMap<String, Resolved>,
}

/// The control plane: deployments, servers, arrays, inputs, locks, tags, scripts, launches.
///
/// Contract, checked for every driver by tests/contract/cloud.rs:
/// - names are unique within a deployment; what is not there is [`crate::Kind::NotFound`];
/// - `create_*` of something that is there and alike changes nothing, unlike is [`crate::Kind::Declined`];
/// - `launch` returns once the machine is there, `settle` once it is operational: it drives or awaits the boot;
///   a boot script that fails leaves it stranded and is [`crate::Kind::Failed`] with the script's name;
/// - required inputs that are missing are named all at once ([`crate::Kind::Usage`]), and nothing is launched;
/// - `terminate`, `delete_*` and a relaunch refuse what is locked ([`crate::Kind::Declined`]); `run` does not;
/// - a kill at any moment leaves something that `launch`, `settle` or `terminate` finishes when called again.
pub trait Cloud: Send + Sync {
    /// The place in words, for messages. Never holds a secret.
    fn place(&self) -> String;
    /// Answers as if these deployments were there, empty, unless they are: a dry run made them, and the plan goes on from
    /// there. Nothing is written.
    fn assume(&self, _planned: &[Deployment]) {}
    /// Every deployment.
    fn deployments(&self) -> Result<Vec<Deployment>>;
    /// Every server of a deployment, instances of arrays included, in the order of creation.
    fn servers(&self, deployment: &str) -> Result<Vec<Server>>;
    /// Every array of a deployment.
    fn arrays(&self, deployment: &str) -> Result<Vec<Array>>;
    /// A template by name and revision, with its scripts.
    fn template(&self, reference: &TemplateRef) -> Result<Template>;
    /// Every template in its newest revision.
    fn templates(&self) -> Result<Vec<Template>>;
    /// Files a template: the revision it now has (the newest when the content is the same).
    fn put_template(&self, template: &Template) -> Result<TemplateRef>;

    /// Defines a deployment, or gives it these inputs.
    fn put_deployment(&self, deployment: &Deployment) -> Result<Deployment>;
    /// Defines a server without launching it.
    fn create_server(&self, deployment: &str, server: &Server) -> Result<Server>;
    /// Defines an array, disabled or enabled, without launching anything.
    fn create_array(&self, deployment: &str, array: &Array) -> Result<Array>;
    /// Changes a definition's template (`apply`, step 10).
    fn set_template(&self, deployment: &str, target: &Target, template: &TemplateRef)
    -> Result<()>;
    /// Removes an inactive, unlocked definition.
    fn delete_server(&self, deployment: &str, name: &str) -> Result<()>;
    /// Removes an array without instances.
    fn delete_array(&self, deployment: &str, name: &str) -> Result<()>;
    /// Removes a deployment without servers and arrays.
    fn delete_deployment(&self, name: &str) -> Result<()>;

    /// Sets (`Some`) and removes (`None`) inputs of one level, all at once.
    fn set_inputs(
        &self,
        deployment: &str,
        target: &Target,
        changes: &BTreeMap<String, Option<Value>>,
    ) -> Result<()>;
    /// Puts values into a current set with the level that they come from (`rs-inputs copy`).
    fn set_current(
        &self,
        deployment: &str,
        server: &str,
        values: &BTreeMap<String, Option<(Value, Level)>>,
    ) -> Result<()>;
    /// Adds and removes tags, of a server or an array.
    fn set_tags(
        &self,
        deployment: &str,
        target: &Target,
        add: &BTreeSet<String>,
        remove: &BTreeSet<String>,
    ) -> Result<()>;
    /// Adds and removes tags of several servers, in one go: all of them or none. What a server has already, or has
    /// not, is fine.
    fn retag(&self, deployment: &str, changes: &[Retag]) -> Result<()>;
    /// Locks or unlocks a server.
    fn set_lock(&self, deployment: &str, server: &str, locked: bool) -> Result<()>;
    /// Changes an array: enabled, minimum, maximum.
    fn set_array(
        &self,
        deployment: &str,
        array: &str,
        enabled: bool,
        minimum: u32,
        maximum: u32,
    ) -> Result<()>;

    /// Makes the machine of a server; one that is up stays as it is.
    fn launch(&self, deployment: &str, server: &str, launch: &Launch) -> Result<Server>;
    /// Makes one more instance of an array and returns it as a server.
    fn launch_instance(&self, deployment: &str, array: &str, launch: &Launch) -> Result<Server>;
    /// Drives or awaits the boot until operational.
    fn settle(
        &self,
        deployment: &str,
        server: &str,
        work: Work,
        progress: Progress<'_>,
    ) -> Result<Server>;
    /// Runs the decommission scripts and ends the machine. An array's instance is gone with it.
    fn terminate(
        &self,
        deployment: &str,
        server: &str,
        work: Work,
        progress: Progress<'_>,
    ) -> Result<()>;
    /// Runs a script; one at a time on a server. A non-zero exit is a result, not an error. Who must wait for another
    /// script is told at once whose it is, and is asked again before his own is begun: of a run that was taken over
    /// meanwhile nothing is begun ([`crate::Kind::Declined`]). The same holds for the scripts of `settle` and `terminate`.
    fn run(
        &self,
        deployment: &str,
        server: &str,
        request: &RunRequest,
        line: Progress<'_>,
    ) -> Result<RunResult>;
    /// The whole output of an earlier run.
    fn output(&self, run: &str) -> Result<String>;
    /// How to reach a server. A foreign server has none ([`crate::Kind::Declined`]).
    fn channel(&self, server: &Server) -> Result<Box<dyn Channel>>;
}

/// Whether writes reach the world. In a dry run the state store is opened read-only and no act is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Changes are made.
    #[default]
    Real,
    /// Changes are made, and a store whose folder is missing is made with it: of what makes a site.
    Found,
    /// Nothing is changed; a write that is tried all the same is an error.
    DryRun,
}

/// Where the world is, as the command line and the environment say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `RS_CLOUD`, e.g. `sqlite:/var/lib/rs/site.db`.
    pub cloud: String,
    /// `RS_STATE`; by default the managed cloud's own store.
    pub state: Option<String>,
    /// Whether writes reach it.
    pub mode: Mode,
    /// `--timeout`, so that who does not answer is named before it is over.
    pub timeout: Option<Duration>,
    /// Whose hand acts there.
    pub hand: Hand,
}

/// The world as a tool meets it.
pub struct World {
    /// The control plane.
    pub cloud: Box<dyn Cloud>,
    /// Journal, debts, lock.
    pub state: Box<dyn State>,
}
