//! `status`: facts about replication; with `--require` and `--proof` a gate.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use rs_cli::{Answers, Changing, Context, Exit, Select, shell_words};
use rs_contract::{Error, Kind, Result};
use rs_model::migration::{SchemaState, schema_state};
use rs_model::replica::{Replica, judge_replicating};
use rs_model::{Answer, Check, Position, Server};
use rs_records::{REPLICA_STATUS, Record};
use serde_json::json;

use crate::rows::Checksum;
use crate::sets::{Asked, Nobody, Open, Site, fenced_tag, is_silence, role};
use crate::{command, proof};

/// What is asked.
#[derive(clap::Args)]
pub struct Status {
    #[command(flatten)]
    select: Select,
    /// Prove that each slave has every write of its master: writes must be off
    #[arg(long)]
    proof: bool,
    /// Exit 3 unless each is so
    #[arg(long, value_enum, value_name = "WHAT")]
    require: Option<Require>,
    /// How long --proof waits for the master's position, and --require for its state; at most a third of --timeout
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "60s")]
    wait: Duration,
    #[command(flatten)]
    checksum: Checksum,
    /// Nothing on stdin is fine
    #[arg(long)]
    allow_none: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Require {
    /// Both threads run, from the set's master, without errors, filters or delay
    Replicating,
    /// Held, and unmoved since; or fenced by the newest promotion, and unmoved since
    Held,
}

/// Asks.
pub fn run(status: &Status, cx: &Context) -> anyhow::Result<Exit> {
    if status.checksum.asked() && !status.proof {
        return Err(Error::new(Kind::Usage, "--checksum belongs to --proof")
            .hint("rows can be compared only while nobody writes")
            .into());
    }
    let world = rs_drivers::world(&cx.place()?)?;
    let changing = Changing { dry_run: false, allow_none: status.allow_none };
    let (deployment, subjects) = cx.subjects(world.cloud.as_ref(), &status.select, &changing)?;
    // who does not answer is named while there is time to say so: before the whole call is given up
    let share = cx.common.timeout / 6;
    let site = Site { answer: Some(share), ..Site::new(&world, &deployment)? };
    let wait = status.wait.min(share * 2);
    let gate = status.proof || status.require.is_some();
    let mut answers = Answers::of("databases");
    let mut records = Vec::new();
    let mut refused: Vec<(Check, usize)> = Vec::new();
    let all = site.ask_all(&subjects)?;
    if status.require == Some(Require::Replicating) && !status.proof {
        masters(cx, &all)?;
    }
    let begun = Instant::now();
    let asked = cx.side_by_side(&all, |one| {
        let open = match one {
            Asked::Open(open) => open,
            Asked::Nobody(nobody) => {
                let (record, checks) = unasked(gate, cx, &deployment, nobody);
                return Ok((record, checks, None));
            }
        };
        let mut told = ask(status, wait, &site, open)?;
        told.checks.extend(abandoned(gate, cx, &deployment, open, &told.replica));
        // an account that may ask for replication only sees no tables: the schema's state is then not known
        let migrations = open.db.migrations().ok();
        let schema = migrations.map(|all| schema_state(&all, cx.common.upgrade.as_deref()));
        Ok((record(&site, open, &told, schema), told.checks, told.silent))
    });
    for (one, asked) in all.iter().zip(asked) {
        let (record, checks, silent) = match (one, asked) {
            (_, Ok(told)) => told,
            (Asked::Open(open), Err(e)) if is_silence(&e) => {
                answers.silent(cx, &deployment, &open.server, begun, e);
                continue;
            }
            // what declines a change is a no to a question
            (_, Err(e)) if e.kind() == Kind::Declined => return Err(e.as_kind(Kind::No).into()),
            (_, Err(e)) => return Err(e.into()),
        };
        if let Some((master, error)) = silent {
            answers.silent(cx, &deployment, &master, begun, error);
        }
        let bad = checks.into_iter().filter(|check| check.answer != Answer::Ok);
        refused.extend(bad.filter(|_| gate).map(|check| (check, records.len())));
        records.push(record);
    }
    let Some((first, _)) = refused.first() else {
        records.into_iter().for_each(|record| answers.answered(record));
        return answers.end(cx, gate);
    };
    let names: Vec<String> =
        refused.iter().map(|(check, _)| format!("{} of {:?}", check.name, check.subject)).collect();
    let word = if status.proof { "not in sync" } else { "not so" };
    let error = Error::new(Kind::No, format!("{word}: {}", names.join(", ")))
        .because(format!("{}: {}", first.name, first.detail));
    let error = match &first.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error.hint("rs-dbsync status shows all facts"),
    };
    for (at, record) in records.into_iter().enumerate() {
        if refused.iter().any(|(_, of)| *of == at) {
            answers.answered(record);
        }
    }
    Err(answers.refuse(cx, error).into())
}

/// A master that was abandoned takes no writes, whatever is asked of it.
fn abandoned(
    gate: bool,
    cx: &Context,
    deployment: &str,
    open: &Open,
    now: &Replica,
) -> Option<Check> {
    if !open.server.tags.contains(&fenced_tag(&open.set)) {
        return None;
    }
    let name = &open.server.name;
    let hint = shell_words(&command(deployment, &["writes", "off"], name));
    let check = |answer, detail| Check::new("abandoned and read-only", name, answer, detail);
    let check = match now.read_only {
        true => check(Answer::Ok, "it takes no writes"),
        false => check(Answer::No, "it takes writes, which nobody will have").hint(&hint),
    };
    if !gate && check.answer != Answer::Ok {
        cx.warn(&format!("{}: {name:?}: {} (try: {hint})", check.name, check.detail));
    }
    Some(check)
}

/// Whether a master replicates is not asked: each is named, and where there are no others, that is no yes.
fn masters(cx: &Context, all: &[Asked]) -> Result<()> {
    let master = |one: &Asked| match one {
        Asked::Open(open) if open.is_master => Some(open.server.name.clone()),
        _ => None,
    };
    let names: Vec<String> = all.iter().filter_map(master).collect();
    for name in &names {
        cx.warn(&format!("nothing was asked of {name:?}: it is the master"));
    }
    if names.is_empty() || names.len() < all.len() {
        return Ok(());
    }
    Err(Error::new(Kind::No, format!("nobody was asked whether he replicates: {names:?}"))
        .because("a master has nobody to replicate from")
        .hint("--role slave"))
}

/// One without a machine: named as such, and no yes of a gate.
fn unasked(gate: bool, cx: &Context, deployment: &str, nobody: &Nobody) -> (Record, Vec<Check>) {
    let mut record = nobody.record(REPLICA_STATUS, deployment);
    if gate {
        let checks = vec![nobody.check()];
        record.nest("checks", &checks);
        return (record, checks);
    }
    cx.warn(&nobody.why);
    (record, Vec::new())
}

/// What a server told.
#[derive(Default)]
struct Told {
    /// As a slave.
    replica: Replica,
    /// Its master's position; absent on the master itself, and where that did not answer.
    position: Option<Position>,
    /// The answers to what is asked.
    checks: Vec<Check>,
    /// Its master, where that was not to be asked how far it is.
    silent: Option<(Server, Error)>,
}

fn ask(status: &Status, wait: Duration, site: &Site<'_>, open: &Open) -> Result<Told> {
    if status.proof {
        if open.is_master {
            return Err(Error::new(
                Kind::Usage,
                format!("{:?} is the master: --proof is asked of slaves", open.server.name),
            )
            .hint("--role slave, or --as warm"));
        }
        let (facts, checks) = proof::sync(site, open, wait, &status.checksum, None)?;
        let position = Some(facts.position);
        return Ok(Told { replica: facts.slave, position, checks, silent: None });
    }
    // whether a copy is held it says itself: its master may be dead
    let alone = open.is_master || status.require == Some(Require::Held);
    let master = if alone { None } else { Some(site.open(site.master(&open.set)?)?) };
    let told = |replica: Replica, checks: Vec<Check>| {
        let told = Told { replica, checks, ..Told::default() };
        let Some(master) = &master else { return Ok(told) };
        let told = match master.db.position() {
            Ok(position) => Told { position: Some(position), ..told },
            // a slave tells of itself without it
            Err(e) if is_silence(&e) => Told { silent: Some((master.server.clone(), e)), ..told },
            Err(e) => return Err(e),
        };
        Ok(told)
    };
    let begun = Instant::now();
    loop {
        let replica = open.db.replica()?;
        let checks = match status.require {
            None => return told(replica, Vec::new()),
            Some(Require::Replicating) => match &master {
                None => return told(replica, Vec::new()),
                Some(master) => match master.db.identity() {
                    Ok(identity) => judge_replicating(&open.server.name, &replica, &identity),
                    Err(e) if is_silence(&e) => return told(replica, Vec::new()),
                    Err(e) => return Err(e),
                },
            },
            Some(Require::Held) => match site.kept(open)? {
                Some(held) => proof::held(open, &held)?,
                None => vec![
                    Check::new(
                        "held",
                        &open.server.name,
                        Answer::No,
                        "nobody has noted that it is held",
                    )
                    .hint("rs-dbsync hold"),
                ],
            },
        };
        // threads may be just connecting: what is not so in the end is not so
        if checks.iter().all(|check| check.answer == Answer::Ok)
            || status.require == Some(Require::Held)
            || begun.elapsed() >= wait.min(Duration::from_secs(5))
        {
            return told(replica, checks);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn record(site: &Site<'_>, open: &Open, told: &Told, schema: Option<SchemaState>) -> Record {
    let replica = &told.replica;
    let behind = match (told.position.as_ref().and_then(Position::set), replica.applied.set()) {
        (Some(master), Some(applied)) => master.beyond(&applied),
        _ => None,
    };
    Record::replica(
        &open.server.name,
        replica,
        json!({
            "deployment": site.deployment,
            "set": open.set,
            "role": role(open.is_master),
            "state": open.server.state,
            "held": replica.is_held(),
            "behind_transactions": behind,
            "schema_state": schema,
            "checks": told.checks,
        }),
    )
}
