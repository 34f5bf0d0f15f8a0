//! Deployment, server, instance, array: RightScale's words with RightScale's meaning.
//!
//! A server is a *definition* with a next instance (its own inputs and template) and, once launched, a *current* one.
//! Only next is durable: what is changed on current dies with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{Bad, Inputs, Resolved, TemplateRef};

/// A named group of servers and arrays with one flat set of inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Unique in the control plane.
    pub name: String,
    /// Inputs at the deployment's level.
    #[serde(default)]
    pub inputs: Inputs,
    /// The deployment that it was cloned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloned_from: Option<String>,
    /// Fields of a newer writer: kept.
    #[serde(flatten)]
    pub later: Map<String, Json>,
}

/// Where a server is in its life. *Stranded* states hold a machine that costs money and runs no scripts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Defined, never launched, or deleted since.
    #[default]
    Inactive,
    /// The machine is being made.
    Pending,
    /// Boot scripts run.
    Booting,
    /// A boot script failed.
    StrandedInBooting,
    /// Every boot script exited 0.
    Operational,
    /// Decommission scripts run.
    Decommissioning,
    /// A decommission script failed or took too long.
    StrandedInDecommissioning,
    /// The machine is gone.
    Terminated,
}

impl State {
    /// Whether a machine is there.
    pub fn is_up(self) -> bool {
        !matches!(self, State::Inactive | State::Terminated)
    }

    /// As it is written in records and selectors, e.g. `stranded-in-booting`.
    pub fn word(self) -> &'static str {
        match self {
            State::Inactive => "inactive",
            State::Pending => "pending",
            State::Booting => "booting",
            State::StrandedInBooting => "stranded-in-booting",
            State::Operational => "operational",
            State::Decommissioning => "decommissioning",
            State::StrandedInDecommissioning => "stranded-in-decommissioning",
            State::Terminated => "terminated",
        }
    }
}

/// A machine: what a launch made of a definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique for ever, e.g. `i-7f3a…`.
    pub id: String,
    /// Where its services answer.
    pub address: IpAddr,
    /// The server's own folder on its machine, absolute; absent where no Channel reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// RFC 3339, UTC.
    pub launched_at: String,
    /// The template that it was launched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// The current set: frozen at launch, changed only on purpose.
    #[serde(default)]
    pub inputs: BTreeMap<String, Resolved>,
    /// Boot (or decommission) scripts that have succeeded, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts_done: Vec<String>,
    /// The script that failed, with its run's id, when stranded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stranded_at: Option<String>,
}

/// A server: the definition with its next and its current instance. Array instances are servers of their array.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Unique within the deployment, e.g. `App Server-3`; an array's instances are `array-1 #1`.
    pub name: String,
    /// The state of the current instance, or inactive.
    #[serde(default)]
    pub state: State,
    /// Where it answers: the current instance's address, or the one given for a server that we did not launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The array that it is an instance of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// What the next launch takes; absent for a server that we did not launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// A locked server is never terminated, relaunched or deleted; scripts run on it (step 13).
    #[serde(default)]
    pub locked: bool,
    /// `namespace:predicate=value`, or plain.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// Overrides at the next instance.
    #[serde(default)]
    pub next: Inputs,
    /// The machine, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Instance>,
    /// The server whose likeness it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloned_from: Option<String>,
    /// Somebody else launched it: named by address, no Channel, cannot be launched or ended by us.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// Fields of a newer writer: kept.
    #[serde(flatten)]
    pub later: Map<String, Json>,
}

impl Server {
    /// Why nothing on it can be asked: there is no machine, neither one of ours nor somebody else's.
    pub fn no_machine(&self) -> Option<String> {
        let none = !self.foreign && (!self.state.is_up() || self.state == State::Pending);
        none.then(|| format!("{:?} is {}: it has no machine", self.name, self.state.word()))
    }

    /// Its database set, that of an abandoned master too.
    pub fn set_or_fenced(&self) -> Option<&str> {
        let fenced = || self.tags.iter().find_map(|tag| tag.strip_prefix("database:fenced="));
        self.database_set().map(|(set, _)| set).or_else(fenced)
    }

    /// Whether it plays the role: `lb`, `app`, `db`, `master`, `slave`, `reads`, `dns`, `worker`.
    pub fn has_role(&self, role: &str) -> bool {
        let any = |prefix: &str| self.tags.iter().any(|tag| tag.starts_with(prefix));
        match role {
            "lb" => any("load_balancer:active"),
            "app" => any("application:active"),
            "db" => any("database:master_active=") || any("database:slave_active="),
            "master" => any("database:master_active="),
            "slave" => any("database:slave_active="),
            "reads" => any("database:reads=true"),
            "dns" => any("dns:active"),
            "worker" => any("worker:active"),
            _ => false,
        }
    }

    /// The pools that its tags say it balances (`load_balancer:active_POOL=true`).
    pub fn balances(&self, pool: &str) -> bool {
        self.tags.contains(&format!("load_balancer:active_{pool}=true"))
    }

    /// The database set that it belongs to, by its tags, and whether as master.
    pub fn database_set(&self) -> Option<(&str, bool)> {
        self.tags.iter().find_map(|tag| {
            tag.strip_prefix("database:master_active=")
                .map(|set| (set, true))
                .or_else(|| tag.strip_prefix("database:slave_active=").map(|set| (set, false)))
        })
    }

    /// Its database set and whether it is its master, for what is done to databases only; an abandoned master belongs to
    /// the set that it had.
    pub fn in_set(&self) -> Result<(&str, bool), Bad> {
        let master = self.database_set().is_some_and(|(_, master)| master);
        self.set_or_fenced().map(|set| (set, master)).ok_or_else(|| {
            Bad::new(
                format!("server {:?} belongs to no database set", self.name),
                "it needs the tag database:master_active=SET or database:slave_active=SET",
            )
        })
    }

    /// What it is in a run: `old`, `new`, `warm` or `temp` (`rs_upgrade:RUN=WORD`).
    pub fn part(&self, run: &str) -> Option<&str> {
        let prefix = format!("rs_upgrade:{run}=");
        self.tags.iter().find_map(|tag| tag.strip_prefix(&prefix))
    }
}

/// The database set whose master and slave these tags would have a server be at once.
pub fn both_roles(tags: &BTreeSet<String>) -> Option<&str> {
    let sets = tags.iter().filter_map(|tag| tag.strip_prefix("database:master_active="));
    sets.into_iter().find(|set| tags.contains(&format!("database:slave_active={set}")))
}

/// The roles that [`Server::has_role`] knows.
pub const ROLES: [&str; 8] = ["lb", "app", "db", "master", "slave", "reads", "dns", "worker"];

/// A group of like servers, launched to a number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// Unique within the deployment.
    pub name: String,
    /// Only an enabled array is kept at its minimum by `rs-server tend`. Disabling touches no instance (step 27).
    #[serde(default)]
    pub enabled: bool,
    /// Fewest operational instances while enabled.
    pub minimum: u32,
    /// Most instances.
    pub maximum: u32,
    /// What a launch takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// Tags of the array; a launch copies them to the instance.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// Overrides at the next instance; the same rank as a server's.
    #[serde(default)]
    pub next: Inputs,
    /// Names of its instances, oldest first.
    #[serde(default)]
    pub instances: Vec<String>,
    /// Of these, operational.
    #[serde(default)]
    pub operational: u32,
    /// The array whose likeness it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloned_from: Option<String>,
    /// Fields of a newer writer: kept.
    #[serde(flatten)]
    pub later: Map<String, Json>,
}

impl Array {
    /// What it is in a run, as [`Server::part`].
    pub fn part(&self, run: &str) -> Option<&str> {
        let prefix = format!("rs_upgrade:{run}=");
        self.tags.iter().find_map(|tag| tag.strip_prefix(&prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tags: &[&str]) -> Server {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Server { name: "A".into(), tags, ..Server::default() }
    }

    #[test]
    fn only_what_has_a_machine_can_be_asked() {
        use State::{
            Booting, Decommissioning, Inactive, Operational, Pending, StrandedInBooting,
            StrandedInDecommissioning, Terminated,
        };
        for (state, up, none) in [
            (Inactive, false, true),
            (Pending, true, true),
            (Booting, true, false),
            (StrandedInBooting, true, false),
            (Operational, true, false),
            (Decommissioning, true, false),
            (StrandedInDecommissioning, true, false),
            (Terminated, false, true),
        ] {
            let server = Server { state, ..tagged(&[]) };
            assert_eq!((state.is_up(), server.no_machine().is_some()), (up, none), "{state:?}");
            let foreign = Server { foreign: true, ..server };
            assert_eq!(foreign.no_machine(), None, "somebody else launched it");
        }
    }

    #[test]
    fn a_server_is_master_or_slave_of_a_set() {
        let both = |tags: &[&str]| both_roles(&tagged(tags).tags).map(str::to_owned);
        let (master, slave) = ("database:master_active=shop", "database:slave_active=shop");
        assert_eq!(both(&[master, slave, "database:reads=true"]).as_deref(), Some("shop"));
        for fine in [&[master][..], &[slave], &[master, "database:slave_active=other"], &[]] {
            assert_eq!(both(fine), None, "{fine:?}");
        }
    }

    #[test]
    fn an_abandoned_master_belongs_to_its_set_and_is_its_master_no_more() {
        for (tags, of, roles) in [
            (&["database:master_active=shop"][..], Ok(("shop", true)), &["db", "master"][..]),
            (&["database:slave_active=shop"], Ok(("shop", false)), &["db", "slave"]),
            (&["database:fenced=shop"], Ok(("shop", false)), &[]),
            (&["application:active_www=true"], Err(()), &["app"]),
        ] {
            let server = tagged(tags);
            assert_eq!(server.in_set().map_err(drop), of, "{tags:?}");
            let played: Vec<&str> =
                ROLES.into_iter().filter(|role| server.has_role(role)).collect();
            let sorted =
                |roles: &[&str]| roles.iter().map(|r| (*r).to_owned()).collect::<BTreeSet<_>>();
            assert_eq!(sorted(&played), sorted(roles), "{tags:?}");
        }
        assert_eq!(tagged(&["database:fenced=shop"]).database_set(), None);
    }
}
