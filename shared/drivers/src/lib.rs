//! All that we know of each vendor, one folder each. This file holds the only tables of names.
//!
//! Drivers print nothing, decide nothing and do not use one another; a tool composes families.

pub mod agents;
mod bits;
pub mod certificate;
pub mod credentials;
pub mod http;
pub mod levels;
pub mod look;
pub mod outside;
pub mod owed;
pub mod settings;
pub mod space;

#[cfg(test)]
#[path = "fuzz_tests.rs"]
mod fuzz;

mod dns;
mod haproxy;
mod hook;
mod local;
mod managed;
mod mysql;
mod snapshots;
mod sqlite;

use std::sync::OnceLock;
use std::time::Duration;

use rs_contract::{
    Alerts, Balancer, Channel, Cloud, Database, Dns, Error, Kind, Machines, Mode, PageSwitch,
    Place, Result, Secret, Snapshots, State, World,
};
use rs_model::Server;
use settings::Settings;

pub use managed::site;
pub use managed::templates;
pub use mysql::{Cell, cells};

/// How long one answer may be waited for in this process: a part of `--timeout`, so that the others are asked as well, and who
/// did not answer is named.
static ANSWER: OnceLock<Duration> = OnceLock::new();

/// `usual`, or less where the whole call may not take long.
pub(crate) fn patience(usual: Duration) -> Duration {
    ANSWER.get().map_or(usual, |most| usual.min(*most))
}

/// What opens the state store at a URL.
type OpenState = fn(&str, Mode) -> Result<Box<dyn State>>;
/// What opens the control plane of a place.
type OpenCloud = fn(&Place) -> Result<Box<dyn Cloud>>;

/// What opens the machines of a site file's `Machines`.
type OpenMachines = fn(&serde_json::Value) -> Result<Box<dyn Machines>>;
/// What opens the DNS that a deployment's inputs name.
type OpenDns = fn(&Settings) -> Result<Box<dyn Dns>>;
/// What opens the backups of a server, over its channel where there is one.
type OpenSnapshots = fn(&Settings, Option<Box<dyn Channel>>) -> Result<Box<dyn Snapshots>>;

/// What opens the balancer that runs on a server, over its channel where there is one.
type OpenBalancer = fn(&Server, &Settings, Option<Box<dyn Channel>>) -> Result<Box<dyn Balancer>>;
/// What opens the page of the balancer that runs on a server.
type OpenPage = fn(&Server, &Settings, Option<Box<dyn Channel>>) -> Result<Box<dyn PageSwitch>>;
/// Whose name and password, where it is not the administrator's.
type Account = Option<(String, Secret)>;
/// What opens the database that runs on a server.
type OpenDatabase =
    fn(&Server, &Settings, Option<Box<dyn Channel>>, Account) -> Result<Box<dyn Database>>;
/// What opens the alerts that a deployment's inputs name; absent when they name none.
type OpenAlerts = fn(&Settings) -> Result<Option<Box<dyn Alerts>>>;

/// State stores, by the scheme of `RS_STATE` (or of `RS_CLOUD` for the managed cloud).
const STATES: &[(&str, OpenState)] = &[("sqlite", sqlite::open)];

/// Control planes, by the scheme of `RS_CLOUD`. The managed cloud keeps its objects in the state store named there.
const CLOUDS: &[(&str, OpenCloud)] = &[("sqlite", managed::open)];

/// Where the managed cloud launches servers, by the key in the site file's `Machines`.
pub(crate) const MACHINES: &[(&str, OpenMachines)] = &[("Local", local::open)];

/// DNS drivers, by the input `DNS_DRIVER`.
const DNS: &[(&str, OpenDns)] = &[("rfc2136", dns::rfc2136), ("hosts", dns::hosts)];

/// Balancers, by the input `LB_DRIVER`.
const BALANCERS: &[(&str, OpenBalancer)] = &[("haproxy", haproxy::balancer)];

/// Maintenance pages, by the input `LB_DRIVER`: a page is shown by the balancer.
const PAGES: &[(&str, OpenPage)] = &[("haproxy", haproxy::page)];

/// Databases, by the input `DB_DRIVER`. MariaDB and MySQL are one: which it is, it says itself.
const DATABASES: &[(&str, OpenDatabase)] = &[("mysql", mysql::database)];

/// Alerts, by the input `ALERTS_DRIVER`.
const ALERTS: &[(&str, OpenAlerts)] = &[("hook", hook::open)];

/// Snapshot drivers, by the input `BACKUP_DRIVER`.
const SNAPSHOTS: &[(&str, OpenSnapshots)] = &[
    ("mariabackup", snapshots::mariabackup),
    ("mysqlclone", snapshots::mysqlclone),
    ("filesystem", snapshots::filesystem),
];

/// Opens the control plane and the state store.
pub fn world(place: &Place) -> Result<World> {
    let state = state(place)?;
    Ok(World { cloud: by_scheme(CLOUDS, "cloud", &place.cloud)?(place)?, state })
}

/// Opens both for what makes a site: its first write makes what is not there.
pub fn founded(place: &Place) -> Result<World> {
    let mode = match place.mode {
        Mode::DryRun => Mode::DryRun,
        Mode::Real | Mode::Found => Mode::Found,
    };
    let place = Place { mode, ..place.clone() };
    let state = opened(&place)?;
    Ok(World { cloud: by_scheme(CLOUDS, "cloud", &place.cloud)?(&place)?, state })
}

/// Opens the state store alone: what asks only for journal, debts and lock needs no control plane. One that is named
/// beside the control plane must be there: in a store that is missing nothing is owed, and nobody holds a lock.
pub fn state(place: &Place) -> Result<Box<dyn State>> {
    let state = opened(place)?;
    if place.state.is_some() && !state.is_there() {
        let what = format!("there is no state store {}", state.place());
        return Err(Error::new(Kind::NotFound, what)
            .hint("look at RS_STATE and --store; rs-server apply FILE makes one"));
    }
    Ok(state)
}

fn opened(place: &Place) -> Result<Box<dyn State>> {
    if let Some(timeout) = place.timeout {
        let _ = ANSWER.set(timeout / 4);
    }
    match place.state.as_deref() {
        Some(url) => by_scheme(STATES, "state store", url)?(url, place.mode),
        // a URL that is no cloud either is called what the caller gave it as
        None => by_scheme(STATES, "cloud", &place.cloud)?(&place.cloud, place.mode),
    }
}

fn by_scheme<'a, T>(table: &'a [(&'static str, T)], family: &str, url: &str) -> Result<&'a T> {
    choose(table, family, url.split_once(':').map_or(url, |(scheme, _)| scheme))
}

pub(crate) fn unknown(family: &str, name: &str, known: &[&str]) -> Error {
    Error::new(Kind::Usage, format!("no {family} driver is called {name:?}"))
        .hint(format!("known: {}", known.join(", ")))
}

fn choose<'a, T>(table: &'a [(&'static str, T)], family: &str, name: &str) -> Result<&'a T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, make)| make).ok_or_else(|| {
        unknown(family, name, &table.iter().map(|(known, _)| *known).collect::<Vec<_>>())
    })
}

/// The machines that a site file's `Machines` names: an object with one key, the kind.
pub fn machines(written: &serde_json::Value) -> Result<Box<dyn Machines>> {
    let known: Vec<&str> = MACHINES.iter().map(|(name, _)| *name).collect();
    let mut entries = written.as_object().into_iter().flatten();
    match (entries.next(), entries.next()) {
        (Some((name, config)), None) => choose(MACHINES, "machines", name)?(config),
        (None, _) => Err(Error::new(Kind::Declined, "this deployment has no Machines")
            .hint(format!("give it some in the site file: {}", known.join(", ")))),
        (Some(_), Some(_)) => Err(Error::new(Kind::Usage, "this deployment has several Machines")
            .hint("one kind of machines in a deployment")),
    }
}

/// The balancer that runs on a server (`LB_DRIVER`, by default `haproxy`).
pub fn balancer(
    server: &Server,
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
) -> Result<Box<dyn Balancer>> {
    choose(BALANCERS, "balancer", &settings.or("LB_DRIVER", "haproxy")?)?(server, settings, channel)
}

/// The maintenance page of the balancer that runs on a server (`LB_DRIVER`).
pub fn page(
    server: &Server,
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
) -> Result<Box<dyn PageSwitch>> {
    choose(PAGES, "page", &settings.or("LB_DRIVER", "haproxy")?)?(server, settings, channel)
}

/// The database that runs on a server (`DB_DRIVER`, by default `mysql`), as its administrator; as another account when one
/// is given.
pub fn database(
    server: &Server,
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
    account: Account,
) -> Result<Box<dyn Database>> {
    let name = settings.or("DB_DRIVER", "mysql")?;
    choose(DATABASES, "database", &name)?(server, settings, channel, account)
}

/// The DNS that a deployment's inputs name (`DNS_DRIVER`, by default `rfc2136`).
pub fn dns(settings: &Settings) -> Result<Box<dyn Dns>> {
    choose(DNS, "DNS", &settings.or("DNS_DRIVER", "rfc2136")?)?(settings)
}

/// The backups of a database server (`BACKUP_DRIVER`, by default `mariabackup`). Without a channel only the store
/// can be read.
pub fn snapshots(
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
) -> Result<Box<dyn Snapshots>> {
    choose(SNAPSHOTS, "snapshot", &settings.or("BACKUP_DRIVER", "mariabackup")?)?(settings, channel)
}

/// The alerts that a deployment's inputs name (`ALERTS_DRIVER`, by default `hook`); absent when it has none.
pub fn alerts(settings: &Settings) -> Result<Option<Box<dyn Alerts>>> {
    choose(ALERTS, "alerts", &settings.or("ALERTS_DRIVER", "hook")?)?(settings)
}
