//! `prove` and `restore`.

use rs_cli::{Changing, Context, Done, Exit, Select, Step};
use rs_contract::{Error, Kind, Result};
use rs_model::snapshot::Snapshot;
use serde_json::json;

use crate::stores::{self, Store, Which};

/// Flags of `prove`.
#[derive(clap::Args)]
pub struct Prove {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    which: Which,
    /// Also one that was proven before
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    changing: Changing,
}

/// Flags of `restore`.
#[derive(clap::Args)]
pub struct Restore {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    which: Which,
    /// Look among the backups of this lineage, this once: production's for a staging master [default: the server's own]
    #[arg(long, value_name = "LINEAGE")]
    lineage: Option<String>,
    #[command(flatten)]
    changing: Changing,
}

/// Proves a backup on each server.
pub fn prove(prove: &Prove, cx: &Context) -> anyhow::Result<Exit> {
    on_each(
        &prove.select,
        &prove.changing,
        &prove.which,
        None,
        cx,
        |one| prove.again || one.proven_at.is_none(),
        |store, one| {
            let say = |phase: &str| cx.say(&format!("{}: {phase}", store.server.name));
            let seen = store.backups.prove(one, cx.work(), &say)?;
            let at = rs_cli::now();
            store.backups.note_proven(&store.lineage, &one.id, &at)?;
            let proven = Snapshot { proven_at: Some(at), ..one.clone() };
            Ok(Done::now(json!({ "id": one.id, "seen": seen })).nest("snapshot", proven))
        },
    )
}

/// Restores a backup on each server.
pub fn restore(restore: &Restore, cx: &Context) -> anyhow::Result<Exit> {
    let which = &restore.which;
    if which.label.is_none() && which.id.is_none() && !which.newest {
        return Err(Error::new(Kind::Usage, "which backup is to be restored is not said")
            .hint("--label LABEL, --id ID or --newest; rs-snapshot list shows them")
            .into());
    }
    on_each(
        &restore.select,
        &restore.changing,
        which,
        restore.lineage.as_deref(),
        cx,
        |_| true,
        |store, one| {
            let say = |phase: &str| cx.say(&format!("{}: {phase}", store.server.name));
            let position = store.backups.restore(one, cx.work(), &say)?;
            let now = json!({ "id": one.id, "lineage": one.lineage, "position": position });
            Ok(Done::now(now).nest("snapshot", one))
        },
    )
}

fn on_each(
    select: &Select,
    changing: &Changing,
    which: &Which,
    lineage: Option<&str>,
    cx: &Context,
    needed: impl Fn(&Snapshot) -> bool,
    work: impl Fn(&Store, &Snapshot) -> Result<Done> + Sync,
) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let (deployment, mut subjects) = cx.subjects(cloud, select, changing)?;
    let stores = stores::open(cloud, &deployment, &subjects)?;
    let (mut plans, mut steps) = (Vec::new(), Vec::new());
    for store in &stores {
        let lineage = lineage.unwrap_or(&store.lineage);
        let one = which.find(store, lineage, &store.backups.list(lineage)?)?.clone();
        steps.push(Step {
            at: store.at,
            needed: needed(&one),
            before: json!({ "id": one.id, "proven_at": one.proven_at }),
            expect: json!({ "id": one.id }),
            ..Step::default()
        });
        plans.push(one);
    }
    let exit = cx.each(state, &deployment, &mut subjects, &steps, |step| {
        let found = stores.iter().zip(&plans).find(|(store, _)| store.at == step.at);
        let (store, one) =
            found.ok_or_else(|| Error::new(Kind::Failed, "a step without its server"))?;
        work(store, one)
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}
