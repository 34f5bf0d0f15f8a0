//! `hold` and `resume`: the slave that is the way back.

use std::collections::BTreeSet;
use std::time::Duration;

use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Owing, Select, Step, shell_words as words};
use rs_contract::{Error, Kind, Result, Target};
use rs_model::migration::{ahead, half};
use rs_model::replica::{HeldAt, SCHEMA_UNCHANGED, judge_resume};
use rs_model::{Answer, Check, Due};
use serde_json::{Value as Json, json};

use crate::rows::Checksum;
use crate::sets::{Open, Site, held_key, refuse};
use crate::settings::Which;
use crate::writes::of;
use crate::{command, proof};

/// What to hold.
#[derive(clap::Args)]
pub struct Hold {
    #[command(flatten)]
    select: Select,
    /// How long to wait for the master's position
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "60s")]
    wait: Duration,
    /// Schema whose fingerprint is kept [default: the input DB_SCHEMA_NAME]
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    #[command(flatten)]
    checksum: Checksum,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

/// What to resume.
#[derive(clap::Args)]
pub struct Resume {
    #[command(flatten)]
    select: Select,
    /// Go on although this is not so, or not known: the slave follows into the schema that is half (schema-whole) or
    /// was changed since the hold (schema-unchanged), and is no way back any more
    #[arg(long = "override", value_name = "CONDITION", value_parser = [SCHEMA_WHOLE, SCHEMA_UNCHANGED])]
    overrides: Vec<String>,
    #[command(flatten)]
    changing: Changing,
}

/// What must be so before a held slave goes on.
const SCHEMA_WHOLE: &str = "schema-whole";
const GONE: &str = "the only way back would be gone";

/// Proves again in this process, then holds.
pub fn hold(hold: &Hold, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) =
        cx.subjects(world.cloud.as_ref(), &hold.select, &hold.changing)?;
    let site = Site::new(&world, &deployment)?;
    let opened = site.open_all(&subjects)?;
    let mut steps = Vec::new();
    for (at, open) in &opened {
        if open.is_master {
            return Err(Error::new(
                Kind::Usage,
                format!("{:?} is the master: a slave is held", open.server.name),
            )
            .hint("--as warm, or the slave's name")
            .into());
        }
        let known = site.held(&open.server.name)?;
        let source = site.source(open)?;
        let now = open.db.replica()?;
        let mut step = Step {
            at: *at,
            before: json!({ "held": now.is_held(), "applied": now.applied }),
            undo: Some(words(&command(&deployment, &["resume"], &open.server.name))),
            ..Step::default()
        };
        refuse(Kind::Declined, "the way back would not stay", &[backups_off(&site, open)?])?;
        if !open.server.locked {
            let inverse = ["rs-server", "unlock", "--deployment", &deployment, "--"];
            step.opens.push(DebtSpec {
                key: lock_key(&open.server.name),
                reason: "locked while it is held: neither ended nor relaunched".into(),
                inverse: inverse
                    .iter()
                    .chain([&open.server.name.as_str()])
                    .map(|w| (*w).to_owned())
                    .collect(),
                due: Due::Retire,
                deadline: None,
                before: json!({ "locked": false }),
            });
        }
        match known {
            Some(held) if now.is_held() => {
                refuse(Kind::Declined, "the hold is broken", &proof::held(open, &held)?)?;
                // one that was cut off between the database and its server is brought to its end
                step.needed = !open.server.locked || !open.server.tags.contains(&tag(&open.set));
                step.expect = json!({ "held": true, "position": held.position });
            }
            known => {
                if known.is_some() {
                    // an earlier hold was cut off in the middle: from the beginning, with a fresh proof
                    refuse(Kind::Declined, GONE, &may_follow(&site, open)?)?;
                    if !cx.dry() {
                        open.db.resume(&source)?;
                    }
                }
                let (facts, checks) =
                    proof::sync(&site, open, hold.wait, &hold.checksum, hold.schema.as_deref())?;
                refuse(Kind::Declined, "not in sync", &checks)?;
                let schema = match &hold.schema {
                    Some(schema) => schema.clone(),
                    None => open.settings.need("DB_SCHEMA_NAME")?,
                };
                let held = HeldAt {
                    position: facts.position.clone(),
                    own: facts.slave.own.clone(),
                    schema_fingerprint: open.db.schema_fingerprint(&schema)?,
                    schema,
                    source_host: source.host,
                    source_port: source.port,
                    at: rs_cli::now(),
                    fenced_by: None,
                    known_by: Some(proof::known_by(open)?),
                };
                step.needed = true;
                step.expect = json!({ "held": true, "position": held.position });
                let master = site.open(site.master(&open.set)?)?;
                step.opens.extend(Which::Binlogs.debt(&site, &master)?);
                step.settles.push(Which::SyncRelayLog.key(&open.server.name));
                step.opens.push(DebtSpec {
                    key: held_key(&open.server.name),
                    reason: format!(
                        "{:?} is held as the way back, at {}",
                        open.server.name,
                        held.position.text()
                    ),
                    inverse: command(&deployment, &["resume"], &open.server.name),
                    due: Due::Retire,
                    deadline: None,
                    before: serde_json::to_value(&held).unwrap_or(Json::Null),
                });
            }
        }
        steps.push(step);
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let open = of(&opened, step)?;
        // what the master would throw away meanwhile, a slave that goes on would miss
        let master = site.open(site.master(&open.set)?)?;
        Which::Binlogs.change(cx, &master)?;
        let position = open.db.hold(hold.wait)?;
        let held = site.held(&open.server.name)?.ok_or_else(|| {
            Error::new(Kind::Failed, format!("the debt of {:?} is gone", open.server.name))
        })?;
        let checks = proof::held(open, &held)?;
        refuse(Kind::Failed, "the hold did not come out as it should", &checks)?;
        let (target, none) = (Target::Next(open.server.name.clone()), BTreeSet::new());
        site.cloud().set_tags(&deployment, &target, &BTreeSet::from([tag(&open.set)]), &none)?;
        site.cloud().set_lock(&deployment, &open.server.name, true)?;
        Which::SyncRelayLog.put_back(&site, open)?;
        Ok(Done::now(json!({ "held": true, "position": position })).nest("rollback_point", &held))
    })?;
    cx.refresh(world.cloud.as_ref(), &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// Ends a hold: on from the exact position.
pub fn resume(resume: &Resume, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) =
        cx.subjects(world.cloud.as_ref(), &resume.select, &resume.changing)?;
    let site = Site::new(&world, &deployment)?;
    let opened = site.open_all(&subjects)?;
    let mut steps = Vec::new();
    for (at, open) in &opened {
        let now = open.db.replica()?;
        let known = site.debt(&held_key(&open.server.name))?;
        if now.channels.is_empty() {
            return Err(Error::new(
                Kind::Declined,
                format!("{:?} is no slave and nobody holds it", open.server.name),
            )
            .hint("rs-dbsync init makes it one")
            .untouched()
            .into());
        }
        let needed = now.is_held() || known.is_some() || open.server.tags.contains(&tag(&open.set));
        if needed {
            let mut checks = may_follow(&site, open)?.to_vec();
            checks.retain(|check| !resume.overrides.contains(&check.name));
            refuse(Kind::Declined, GONE, &checks)?;
        }
        steps.push(Step {
            at: *at,
            needed,
            before: json!({ "held": now.is_held(), "applied": now.applied }),
            expect: json!({ "held": false }),
            undo: Some(words(&command(&deployment, &["hold"], &open.server.name))),
            settles: resumed(&site, open)?,
            ..Step::default()
        });
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let open = of(&opened, step)?;
        open.db.resume(&site.source(open)?)?;
        if last_held(&site, open)? {
            Which::Binlogs.put_back(&site, &site.open(site.master(&open.set)?)?)?;
        }
        let now = open.db.replica()?;
        let (target, none) = (Target::Next(open.server.name.clone()), BTreeSet::new());
        site.cloud().set_tags(&deployment, &target, &none, &BTreeSet::from([tag(&open.set)]))?;
        // a lock that somebody else had set stays
        if site.debt(&lock_key(&open.server.name))?.is_some() {
            site.cloud().set_lock(&deployment, &open.server.name, false)?;
        }
        Ok(Done::now(json!({ "held": now.is_held(), "applied": now.applied })))
    })?;
    cx.refresh(world.cloud.as_ref(), &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// A slave that goes on follows into what its master has: a schema that is half, or one that somebody migrated since,
/// of which the journal and the notes beside the data need not know. The held copy is the only way back then.
fn may_follow(site: &Site<'_>, open: &Open) -> Result<[Check; 2]> {
    let (name, master) = (&open.server.name, site.master(&open.set)?);
    let held = site.held(name)?;
    let asked = site.open(master).and_then(|master| {
        let schema = held.as_ref().map(|held| master.db.schema_fingerprint(&held.schema));
        Ok((master.db.migrations()?, schema.transpose()?, open.db.migrations()?))
    });
    let asked = asked.map_err(|why| why.to_string());
    let whole = match &asked {
        Err(why) => (Answer::Unknown, format!("{:?} could not be asked: {why}", master.name)),
        Ok((migrations, ..)) => {
            let left: Vec<String> = half(migrations).iter().map(|one| one.words()).collect();
            match left.as_slice() {
                [] => (Answer::Ok, "no migration is half".to_owned()),
                left => (Answer::No, left.join("; ")),
            }
        }
    };
    let migrated =
        asked.as_ref().map_or_else(|_| Vec::new(), |(theirs, _, its)| ahead(theirs, its));
    let now = asked.as_ref().map(|(_, schema, _)| schema.clone().unwrap_or_default());
    let now = now.map_err(String::clone);
    Ok([
        Check::new(SCHEMA_WHOLE, name, whole.0, whole.1)
            .hint(format!("the same rs-dbsync migrate goes on; or --override {SCHEMA_WHOLE}")),
        judge_resume(name, &master.name, held.as_ref().map(|held| (held, now)), &migrated),
    ])
}

/// Whether no other slave of the set is held: nobody needs the master's old binary logs then.
fn last_held(site: &Site<'_>, open: &Open) -> Result<bool> {
    Ok(site.held_in(&open.set)?.iter().all(|(other, _)| other.name == open.server.name))
}

/// What a slave that goes on settles.
fn resumed(site: &Site<'_>, open: &Open) -> Result<Vec<String>> {
    let mut settles = vec![held_key(&open.server.name), lock_key(&open.server.name)];
    if last_held(site, open)? {
        settles.push(Which::Binlogs.key(&site.master(&open.set)?.name));
    }
    Ok(settles)
}

/// The tag of a held slave.
fn tag(set: &str) -> String {
    format!("database:held={set}")
}

/// Key of the debt that a server is locked; `rs-server unlock` settles it too.
fn lock_key(server: &str) -> String {
    format!("lock:{server}")
}

/// A scheduled backup of the held side would become the newest of the lineage when nobody wants it to.
fn backups_off(site: &Site<'_>, open: &Open) -> Result<Check> {
    let name = &open.server.name;
    let schedule = site.state().get(&format!("schedule/{}/{name}", site.deployment))?;
    let on = schedule.is_some_and(|entry| entry.value["enabled"] != json!(false));
    Ok(Check::new(
        "backups off",
        name,
        if on { Answer::No } else { Answer::Ok },
        if on { "backups of it are scheduled" } else { "none is scheduled" },
    )
    .hint(format!("rs-snapshot schedule off {name:?}")))
}
