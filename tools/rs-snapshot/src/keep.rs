//! `prune`, `pin` and `unpin`: what stays and what goes.

use std::collections::BTreeSet;

use rs_cli::{Changing, Context, Done, Exit, Select, Step};
use rs_contract::{Error, Kind};
use rs_model::snapshot::{Snapshot, prunable};
use serde_json::json;

use crate::stores::{self, Which};

/// Flags of `prune`.
#[derive(clap::Args)]
pub struct Prune {
    #[command(flatten)]
    select: Select,
    /// How many complete unpinned ones stay in each lineage [default: the input DB_BACKUP_KEEP, else 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    #[command(flatten)]
    changing: Changing,
}

/// Flags of `pin` and `unpin`.
#[derive(clap::Args)]
pub struct Pin {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    changing: Changing,
}

/// Removes what is old and what broke.
pub fn prune(prune: &Prune, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let (deployment, mut subjects) = cx.subjects(cloud, &prune.select, &prune.changing)?;
    let stores = stores::open(cloud, &deployment, &subjects)?;
    let (mut seen, mut steps, mut plans) = (BTreeSet::new(), Vec::new(), Vec::new());
    for store in &stores {
        let keep = match prune.keep {
            Some(keep) => u64::from(keep),
            None => store.settings.number("DB_BACKUP_KEEP", 10, 100_000)?,
        };
        // servers of one lineage share a store: the first one prunes it
        let first = seen.insert((store.backups.place(), store.lineage.clone()));
        let all = if first { store.backups.list(&store.lineage)? } else { Vec::new() };
        let go: Vec<Snapshot> = prunable(&all, usize::try_from(keep).unwrap_or(usize::MAX))
            .into_iter()
            .cloned()
            .collect();
        let ids: Vec<&str> = go.iter().map(|one| one.id.as_str()).collect();
        steps.push(Step {
            at: store.at,
            needed: !go.is_empty(),
            before: json!({ "backups": all.len() }),
            expect: json!({ "backups": all.len() - go.len(), "removed": ids }),
            ..Step::default()
        });
        plans.push(go);
    }
    let exit = cx.each(state, &deployment, &mut subjects, &steps, |step| {
        let found = stores.iter().zip(&plans).find(|(store, _)| store.at == step.at);
        let (store, go) =
            found.ok_or_else(|| Error::new(Kind::Failed, "a step without its server"))?;
        for one in go {
            store.backups.remove(&store.lineage, &one.id)?;
        }
        let left = store.backups.list(&store.lineage)?.len();
        let ids: Vec<&str> = go.iter().map(|one| one.id.as_str()).collect();
        Ok(Done::now(json!({ "backups": left, "removed": ids })))
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// Pins or unpins one backup of each server's lineage.
pub fn pin(pin: &Pin, pinned: bool, cx: &Context) -> anyhow::Result<Exit> {
    let which = &pin.which;
    if which.label.is_none() && which.id.is_none() && !which.newest {
        return Err(Error::new(Kind::Usage, "which backup is not said")
            .hint("--label LABEL, --id ID or --newest; rs-snapshot list shows them")
            .into());
    }
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let (deployment, mut subjects) = cx.subjects(cloud, &pin.select, &pin.changing)?;
    let stores = stores::open(cloud, &deployment, &subjects)?;
    let (mut names, mut steps, mut plans) = (BTreeSet::new(), Vec::new(), Vec::new());
    for store in &stores {
        let one = which.find(store, &store.lineage, &store.backups.list(&store.lineage)?)?.clone();
        let name = one.label.clone().unwrap_or_else(|| one.id.clone());
        steps.push(Step {
            at: store.at,
            needed: one.pinned != pinned,
            before: json!({ "id": one.id, "pinned": one.pinned }),
            expect: json!({ "id": one.id, "pinned": pinned }),
            settles: if pinned {
                Vec::new()
            } else {
                vec![format!("pin:{}/{name}", store.lineage)]
            },
            ..Step::default()
        });
        names.insert(name);
        plans.push(one);
    }
    cx.about(&Vec::from_iter(names).join(", "));
    let exit = cx.each(state, &deployment, &mut subjects, &steps, |step| {
        let found = stores.iter().zip(&plans).find(|(store, _)| store.at == step.at);
        let (store, one) =
            found.ok_or_else(|| Error::new(Kind::Failed, "a step without its server"))?;
        store.backups.pin(&store.lineage, &one.id, pinned)?;
        Ok(Done::now(json!({ "id": one.id, "pinned": pinned })))
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}
