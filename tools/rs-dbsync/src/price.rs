//! `price`: what a promotion of a held slave would lose.

use rs_cli::{Changing, Context, Exit, Journal, Select};
use rs_contract::{Error, Kind, Result};
use rs_model::Position;
use rs_model::act::Outcome;
use rs_model::replica::HeldAt;
use rs_records::Record;
use serde_json::json;

use crate::sets::{Open, Site};

/// Whose price.
#[derive(clap::Args)]
pub struct Price {
    #[command(flatten)]
    select: Select,
    /// Nothing on stdin is fine
    #[arg(long)]
    allow_none: bool,
}

/// What would be lost.
pub struct Lost {
    /// Transactions on the master since the hold.
    pub since_hold: u64,
    /// Of these, since the migration ended: what users and testers wrote.
    pub since_migration: Option<u64>,
}

impl Lost {
    /// What counts: the migration itself is not missed.
    pub fn counted(&self) -> u64 {
        self.since_migration.unwrap_or(self.since_hold)
    }

    /// In words.
    pub fn words(&self, held: &HeldAt) -> String {
        match self.since_migration {
            Some(0) => "nothing but the migration would be lost".into(),
            Some(n) => format!("{n} transactions since the migration would be lost"),
            None => format!("{} transactions since {} would be lost", self.since_hold, held.at),
        }
    }
}

/// Counts on the master's own position. What cannot be counted is an error. Our own canaries are not missed.
pub fn lost(site: &Site<'_>, master: &Open, slave: &Open, held: &HeldAt) -> Result<Lost> {
    let now = master.db.position()?;
    let canaries = master.db.canaries()?;
    let beyond = |from: &Position, canaries_then: u64| match (now.set(), from.set()) {
        (Some(now), Some(from)) if now.covers(&from) => {
            Some(now.beyond(&from)?.saturating_sub(canaries.saturating_sub(canaries_then)))
        }
        _ => None,
    };
    let since_hold = beyond(&held.position, slave.db.canaries()?).ok_or_else(|| {
        Error::new(
            Kind::Failed,
            format!("what {:?} has more than the held slave cannot be counted", master.server.name),
        )
        .because(format!(
            "it is at `{}`, the hold at `{}`",
            now.text(),
            held.position.text()
        ))
    })?;
    let since_migration = Journal::new(site.state())
        .acts()?
        .into_iter()
        .rev()
        .filter(|act| {
            act.tool == "rs-dbsync"
                && act.verb == "migrate"
                && act.deployment == site.deployment
                && act.outcome == Outcome::Done
                && act.at > held.at
                && act.after["set"] == json!(master.set)
        })
        .find_map(|act| {
            let position: Position = serde_json::from_value(act.after["position"].clone()).ok()?;
            beyond(&position, act.after["canaries"].as_u64()?)
        });
    Ok(Lost { since_hold, since_migration })
}

/// Says it.
pub fn run(price: &Price, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let changing = Changing { dry_run: false, allow_none: price.allow_none };
    let (deployment, subjects) = cx.subjects(world.cloud.as_ref(), &price.select, &changing)?;
    let site = Site::new(&world, &deployment)?;
    let (mut records, mut text) = (Vec::new(), String::new());
    for (_, open) in site.open_all(&subjects)? {
        let held = site.held(&open.server.name)?.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("{:?} is not held", open.server.name))
                .hint("rs-dbsync hold makes it the way back")
        })?;
        let master = site.open(site.master(&open.set)?)?;
        let lost = lost(&site, &master, &open, &held)?;
        text.push_str(&format!("{}: {}\n", open.server.name, lost.words(&held)));
        records.push(Record::new(
            "rs.price/1",
            json!({
                "name": open.server.name,
                "deployment": deployment,
                "set": open.set,
                "held_at": held.at,
                "transactions_since_hold": lost.since_hold,
                "transactions_since_migration": lost.since_migration,
            }),
        ));
    }
    if cx.common.json {
        cx.emit(&records)?
    } else {
        cx.print(&text)?
    }
    Ok(Exit::Done)
}
