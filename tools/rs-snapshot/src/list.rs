//! `list`: what backups there are, and the gate on them.

use std::collections::BTreeSet;

use rs_cli::{Changing, Context, Exit, Select};
use rs_contract::{Error, Kind};
use rs_model::snapshot::Demand;
use rs_records::Record;
use serde_json::Value as Json;

use crate::stores::{self, Store};

/// Flags of `list`.
#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    select: Select,
    /// Gate: exit 3 unless the backups of every lineage are so: age<TIME, perfect, proven, with commas
    #[arg(long, value_name = "DEMANDS", value_parser = Demand::parse)]
    require: Option<Demand>,
    /// No backup is fine
    #[arg(long)]
    allow_none: bool,
}

/// Lists them, each store once.
pub fn run(list: &List, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let changing = Changing { allow_none: list.allow_none, ..Changing::default() };
    let (deployment, subjects) = cx.subjects(world.cloud.as_ref(), &list.select, &changing)?;
    let stores = stores::open(world.cloud.as_ref(), &deployment, &subjects)?;
    let (mut seen, mut records, mut unmet) = (BTreeSet::new(), Vec::new(), Vec::new());
    let once: Vec<&Store> = stores
        .iter()
        .filter(|store| seen.insert((store.backups.place(), store.lineage.clone())))
        .collect();
    let lists = cx.side_by_side(&once, |store| store.backups.list(&store.lineage));
    for (store, all) in once.iter().zip(lists) {
        let all = all?;
        if let Some(demand) = &list.require {
            let age = |one: &rs_model::snapshot::Snapshot| stores::age(one.completed_at.as_deref());
            let why = demand.unmet(&all, age);
            unmet.extend(why.into_iter().map(|why| format!("{:?}: {why}", store.lineage)));
        }
        records.extend(all.iter().map(|one| {
            let mut record = Record::of(one);
            record.nest("deployment", &deployment);
            record
        }));
    }
    if !unmet.is_empty() {
        let found = records.into_iter().map(|record| Json::Object(record.body)).collect();
        return Err(Error::new(Kind::No, "the backups are not as they are required")
            .because(unmet.join("; "))
            .hint("rs-snapshot take makes a new one; rs-snapshot list shows all")
            .found(found)
            .into());
    }
    if records.is_empty() && !list.allow_none {
        return Err(Error::new(Kind::NotFound, "there is no backup")
            .hint("rs-snapshot take makes one; --allow-none if none is fine")
            .into());
    }
    cx.emit(&records)?;
    Ok(Exit::Done)
}
