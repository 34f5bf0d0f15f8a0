//! `price`: what a promotion of a held slave, or of the master fenced for it, would lose; `writes opened`: from when on
//! users' writes count.

use std::time::Duration;

use rs_cli::{Changing, Context, Done, Exit, Journal, Select, Step};
use rs_contract::{Error, Kind, Result};
use rs_model::Position;
use rs_model::act::{Act, Outcome};
use rs_model::price::{Moment, Price, PriceFacts, Written, price};
use rs_model::replica::HeldAt;
use rs_records::{PRICE, Record};
use serde_json::{Value as Json, json};

use crate::Subject;
use crate::sets::{Open, Site};
use crate::writes::{master as only_master, of};

/// Whose price.
#[derive(clap::Args)]
pub struct Asked {
    #[command(flatten)]
    select: Select,
    /// How long the binary log may be read to tell heartbeats apart
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "20s")]
    limit: Duration,
    /// Nothing on stdin is fine
    #[arg(long)]
    allow_none: bool,
}

/// The verb, as the journal has it.
const OPENED: &str = "writes opened";
/// How long a promotion reads the binary log.
pub const READ: Duration = Duration::from_secs(20);

/// What would be lost; what cannot be counted is unknown.
pub fn of_held(
    site: &Site<'_>,
    master: &Open,
    slave: &Open,
    held: &HeldAt,
    limit: Duration,
) -> Price {
    gather(site, master, slave, held, limit)
        .map_or_else(|e| Price::unknown(&held.at, e.to_string()), |facts| price(&facts))
}

fn gather(
    site: &Site<'_>,
    master: &Open,
    slave: &Open,
    held: &HeldAt,
    limit: Duration,
) -> Result<PriceFacts> {
    let acts = Journal::new(site.state()).acts()?;
    let (parted, promoted) = parted(site, &acts, master, slave, held)?;
    let migrated = match promoted {
        true => Some(parted.clone()),
        // the first: what one that mends it later writes, and users before that, is not the migration's
        false => moment(site, acts.iter(), master, &["migrate"], &parted.at),
    };
    let here = format!("server {}", master.server.name);
    let opened = migrated.as_ref().and_then(|migrated| {
        moment(site, acts.iter().filter(|a| a.subject == here), master, &[OPENED], &migrated.at)
    });
    // a page that a tool took down, or that had to be put up again since somebody had lifted it
    let lifted = migrated.as_ref().zip(opened.as_ref()).is_some_and(|(migrated, opened)| {
        acts.iter().any(|act| {
            act.tool == "rs-maintenance"
                && ["start", "stop"].contains(&act.verb.as_str())
                && act.deployment == site.deployment
                && act.outcome != Outcome::Failed
                && (migrated.at.as_str()..opened.at.as_str()).contains(&act.at.as_str())
        })
    });
    let mut facts = PriceFacts {
        held: parted,
        migrated,
        promoted,
        opened,
        lifted,
        now: Moment {
            at: rs_cli::now(),
            position: master.db.position()?,
            canaries: master.db.canaries()?,
        },
        heartbeat_tables: heartbeat_tables(master)?,
        ..PriceFacts::default()
    };
    let from = facts.users_from().at.clone();
    facts.begun = acts.iter().any(|act| {
        (act.tool.as_str(), act.verb.as_str()) == ("rs-dbsync", "migrate")
            && act.deployment == site.deployment
            && act.before["set"] == json!(master.set)
            && act.at > from
    });
    let read = |from: &Moment, to: &Moment| -> Option<Written> {
        master.db.written(&from.position, &to.position, limit).ok()
    };
    if let (Some(migrated), Some(opened)) = (&facts.migrated, &facts.opened) {
        facts.written_before = read(migrated, opened);
    }
    facts.written_since = read(facts.users_from(), &facts.now);
    Ok(facts)
}

/// The tables that heartbeats write to.
pub fn heartbeat_tables(master: &Open) -> Result<Vec<String>> {
    let tables = master.settings.or("DB_HEARTBEAT_TABLES", "")?;
    let tables = tables.split(',').map(|table| table.trim().to_owned());
    Ok(tables.filter(|table| !table.is_empty()).collect())
}

/// Where the present master was when the two parted, and whether that was the promotion. A slave parted from it when it
/// was held, also one that was promoted since and is fenced now: it lacks all that came after. A master that was fenced
/// lacks all since the first promotion of the slave that was held.
fn parted(
    site: &Site<'_>,
    acts: &[Act],
    master: &Open,
    candidate: &Open,
    held: &HeldAt,
) -> Result<(Moment, bool)> {
    let canaries = candidate.db.canaries()?;
    let at_hold = |at: &str, position: Position| Moment { at: at.to_owned(), position, canaries };
    if held.fenced_by.is_none() {
        return Ok((at_hold(&held.at, held.position.clone()), false));
    }
    let unknown = |what: &str| {
        Error::new(Kind::NotFound, format!("{what} of {:?} is not in the journal", candidate.set))
            .hint("rs-journal show")
    };
    let (own, other) =
        [candidate, master].map(|open| format!("server {}", open.server.name)).into();
    let hold = acts.iter().rev().find(|act| {
        act.tool == "rs-dbsync"
            && act.verb == "hold"
            && act.deployment == site.deployment
            && act.outcome == Outcome::Done
            && [&own, &other].contains(&&act.subject)
    });
    let hold = hold.ok_or_else(|| unknown("the hold of a slave"))?;
    if hold.subject == own {
        let position = serde_json::from_value(hold.after["position"].clone());
        return Ok((
            at_hold(&hold.at, position.map_err(|_| unknown("the position of the hold"))?),
            false,
        ));
    }
    let of_it = acts.iter().filter(|act| act.subject == other);
    moment(site, of_it, master, &["promote"], &hold.at)
        .map(|moment| (moment, true))
        .ok_or_else(|| unknown("where the master was when it was promoted"))
}

/// Where the master of a set was at the first of these acts that is one of `verbs` after `after`, and was done.
fn moment<'a>(
    site: &Site<'_>,
    acts: impl Iterator<Item = &'a Act>,
    master: &Open,
    verbs: &[&str],
    after: &str,
) -> Option<Moment> {
    let mut of = acts.filter(|act| {
        act.tool == "rs-dbsync"
            && verbs.contains(&act.verb.as_str())
            && act.deployment == site.deployment
            && act.outcome == Outcome::Done
            && act.at.as_str() > after
            && act.after["set"] == json!(master.set)
    });
    of.find_map(|act| {
        Some(Moment {
            at: act.after["at"].as_str().unwrap_or(&act.at).to_owned(),
            position: serde_json::from_value(act.after["position"].clone()).ok()?,
            canaries: act.after["canaries"].as_u64()?,
        })
    })
}

/// Says it, set by set.
pub fn run(asked: &Asked, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let changing = Changing { dry_run: false, allow_none: asked.allow_none };
    let (deployment, subjects) = cx.subjects(world.cloud.as_ref(), &asked.select, &changing)?;
    let site = Site::new(&world, &deployment)?;
    let (mut records, mut text) = (Vec::new(), String::new());
    for (_, slave) in site.open_all(&subjects)? {
        // in the middle of its promotion it is the master already, and that is paid
        let held = site.kept(&slave)?.filter(|_| !slave.is_master).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("{:?} is not held", slave.server.name))
                .hint("rs-dbsync hold makes it the way back")
        })?;
        let master = site.open(site.master(&slave.set)?)?;
        let price = of_held(&site, &master, &slave, &held, asked.limit);
        text.push_str(&format!("{}: {}\n", slave.server.name, price.words()));
        let mut record = json!(price);
        if let Json::Object(body) = &mut record {
            body.insert("name".into(), json!(slave.server.name));
            body.insert("deployment".into(), json!(deployment));
            body.insert("set".into(), json!(slave.set));
            body.insert("held_at".into(), json!(held.at));
            body.insert("words".into(), json!(price.words()));
        }
        records.push(Record::new(PRICE, record));
    }
    if cx.common.json {
        cx.emit(&records)?
    } else {
        cx.print(&text)?
    }
    Ok(Exit::Done)
}

/// Notes where each master is, before users write: what is there since the migration, or since it was promoted, was our
/// tests'. Once for each.
pub fn opened(subject: &Subject, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) =
        cx.subjects(world.cloud.as_ref(), &subject.select, &subject.changing)?;
    let site = Site::new(&world, &deployment)?;
    let opened = site.open_all(&subjects)?;
    let acts = Journal::new(site.state()).acts()?;
    let mut steps = Vec::new();
    for (at, open) in &opened {
        only_master(open)?;
        let migrated = moment(&site, acts.iter().rev(), open, &["migrate", "promote"], "");
        let known =
            migrated.as_ref().and_then(|m| moment(&site, acts.iter(), open, &[OPENED], &m.at));
        steps.push(Step {
            at: *at,
            needed: migrated.is_some() && known.is_none(),
            before: json!({ "opened": known.map(|moment| moment.at) }),
            expect: json!({ "set": open.set }),
            ..Step::default()
        });
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let open = of(&opened, step)?;
        Ok(Done::now(json!({
            "set": open.set, "at": rs_cli::now(), "position": open.db.position()?,
            "canaries": open.db.canaries()?,
        })))
    })?;
    cx.pass_on(&subjects, exit)
}
