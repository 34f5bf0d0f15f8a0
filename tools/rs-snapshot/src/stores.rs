//! The stores of the servers that a call is about.

use rs_cli::Subjects;
use rs_contract::{Channel, Cloud, Error, Kind, Result, Snapshots};
use rs_drivers::settings::Settings;
use rs_model::Server;
use rs_model::snapshot::Snapshot;

/// A database server with its backups.
pub struct Store {
    /// Index into the subjects.
    pub at: usize,
    /// The server.
    pub server: Server,
    /// Its inputs.
    pub settings: Settings,
    /// The lineage of its backups.
    pub lineage: String,
    /// The backups.
    pub backups: Box<dyn Snapshots>,
}

/// Which backup of a lineage.
#[derive(clap::Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub struct Which {
    /// The one with this label
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
    /// The one with this id, as list shows it
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// The newest complete one
    #[arg(long)]
    pub newest: bool,
}

impl Which {
    /// Finds it among the snapshots of a lineage, oldest first.
    pub fn find<'a>(
        &self,
        store: &Store,
        lineage: &str,
        all: &'a [Snapshot],
    ) -> Result<&'a Snapshot> {
        let wanted = |one: &&Snapshot| match (&self.label, &self.id) {
            (Some(label), _) => one.perfect && one.label.as_ref() == Some(label),
            (_, Some(id)) => one.id == *id,
            _ => one.perfect,
        };
        all.iter().rev().find(wanted).ok_or_else(|| {
            let which = match (&self.label, &self.id) {
                (Some(label), _) => format!("no complete backup with the label {label:?}"),
                (_, Some(id)) => format!("no backup {id:?}"),
                _ => "no complete backup".to_owned(),
            };
            Error::new(Kind::NotFound, format!("there is {which} of {lineage:?}"))
                .because(format!("looked in {}", store.backups.place()))
                .hint("rs-snapshot list shows what is there; rs-snapshot take makes one")
        })
    }
}

/// Opens the stores of the servers among the subjects. What is no database server is refused.
pub fn open(cloud: &dyn Cloud, deployment: &str, subjects: &Subjects) -> Result<Vec<Store>> {
    let all = cloud.servers(deployment)?;
    let mut found = Vec::new();
    for (at, server) in subjects.databases()? {
        let server = server.clone();
        let settings = Settings::among(cloud, deployment, &server, &all)?;
        let lineage = settings.need("DB_LINEAGE_NAME")?;
        let channel: Option<Box<dyn Channel>> = match cloud.channel(&server) {
            Ok(channel) => Some(channel),
            // not launched, or launched by somebody else: its backups can be looked at all the same
            Err(e) if e.kind() == Kind::Declined => None,
            Err(e) => return Err(e),
        };
        let backups = rs_drivers::snapshots(&settings, channel)?;
        found.push(Store { at, server, settings, lineage, backups });
    }
    Ok(found)
}

/// Seconds since a time; absent when it is none, or lies ahead of us.
pub fn age(at: Option<&str>) -> Option<u64> {
    let at: jiff::Timestamp = at?.parse().ok()?;
    u64::try_from(jiff::Timestamp::now().as_second() - at.as_second()).ok()
}
