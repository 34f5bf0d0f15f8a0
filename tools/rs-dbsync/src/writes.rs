//! `writes off`, `writes on`, `writes status`.

use std::time::{Duration, Instant};

use rs_cli::{
    Answers, Changing, Context, DebtSpec, Done, Exit, Owing, Select, Step, shell_words as words,
};
use rs_contract::{Error, Kind, Result, WritesState};
use rs_model::silence::{SilenceFacts, judge_silence};
use rs_model::{Answer, Due};
use rs_records::{Record, WRITES};
use serde_json::{Value as Json, json};

use crate::sets::{
    Asked, Open, Site, events_key, fenced_tag, is_silence, lowered_key, refuse, role, writes_key,
};
use crate::{Subject, command, proof};

/// What to switch off.
#[derive(clap::Args)]
pub struct Off {
    #[command(flatten)]
    select: Select,
    /// Account that may go on writing, e.g. a heartbeat's; repeated
    #[arg(long, value_name = "USER")]
    allow: Vec<String>,
    /// End every session of applications too, not only those that could write: before their master is abandoned
    #[arg(long)]
    sessions: bool,
    /// Give up on what is in the way after this
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "30s")]
    limit: Duration,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

/// Whose writes.
#[derive(clap::Args)]
pub struct Status {
    #[command(flatten)]
    select: Select,
    /// Nothing on stdin is fine
    #[arg(long)]
    allow_none: bool,
}

/// Only a master's writes are switched.
pub fn master(open: &Open) -> Result<()> {
    if open.is_master {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!("server {:?} is not the master of {:?}", open.server.name, open.set),
    )
    .hint("--role master names the masters"))
}

/// Whether it was the master and was abandoned for another: its writes can be switched off again, and owe nothing more.
fn is_fenced(open: &Open) -> bool {
    open.server.tags.contains(&fenced_tag(&open.set))
}

/// Ends whoever could write, and proves that nobody can.
pub fn off(off: &Off, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) =
        cx.subjects(world.cloud.as_ref(), &off.select, &off.changing)?;
    let site = Site::new(&world, &deployment)?;
    let opened = site.open_all(&subjects)?;
    let mut steps = Vec::new();
    for (at, open) in &opened {
        let fenced = is_fenced(open);
        if !fenced {
            master(open)?;
            site.master(&open.set)?;
        }
        let before = open.db.writes()?;
        let silence = open.db.silence(&off.allow)?;
        unknown_allowed(cx, open, &off.allow, &silence);
        let silent = judge_silence(&open.server.name, &silence)
            .iter()
            .all(|check| check.answer == Answer::Ok);
        let alone = !off.sessions || open.db.attached(&off.allow)?.sessions.is_empty();
        let key = writes_key(&open.set);
        let known = site.debt(&key)?;
        let inverse = command(&deployment, &["writes", "on"], &open.server.name);
        let nonce = proof::nonce()?;
        // what a killed migration left lowered is raised too
        let lowered = lowered_key(&open.set);
        let left = !fenced && site.debt(&lowered)?.is_some();
        let kept = json!({ "writes": before, "allowed": off.allow, "nonce": nonce });
        steps.push(Step {
            at: *at,
            needed: !silent || !alone || (known.is_none() && !fenced),
            before: json!({ "off": before.off, "lowered": before.lowered }),
            expect: json!({ "off": true }),
            settles: if left { vec![lowered] } else { Vec::new() },
            undo: (!fenced).then(|| words(&inverse)),
            opens: if fenced { Vec::new() } else { owed(open, &inverse, &before, kept) },
            ..Step::default()
        });
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let open = of(&opened, step)?;
        // the canary is the last write before the freeze; the debt that was opened first says which
        let (_, nonce) = site.frozen(&open.set)?;
        if let Some(nonce) = nonce
            && !is_fenced(open)
            && open.db.read_canary()?.as_ref() != Some(&nonce)
        {
            open.db.write_canary(&nonce)?;
        }
        let state = open.db.writes_off(&off.allow, off.limit)?;
        if state.survives_restart != Some(true) {
            cx.warn(&format!(
                "{}: its option file cannot be reached: after a restart of the server writes are on again",
                open.server.name
            ));
        }
        if off.sessions {
            open.db.kill_sessions(&off.allow, &|line| cx.say(line))?;
        }
        let silence = open.db.silence(&off.allow)?;
        let checks = judge_silence(&open.server.name, &silence);
        refuse(Kind::Declined, "writes are off, but somebody could still write", &checks)
            .map_err(touched)?;
        let mut done = Done::now(json!({
            "off": true, "survives_restart": state.survives_restart, "position": silence.position,
        }));
        done = done.nest("writes", json!({ "off": true, "silence": silence, "checks": checks }));
        Ok(done)
    })?;
    cx.pass_on(&subjects, exit)
}

/// Names the accounts that may write and are not there: a slip in a name lets nobody in, and somebody be ended.
fn unknown_allowed(cx: &Context, open: &Open, allowed: &[String], seen: &SilenceFacts) {
    let is_there = |user: &String| {
        let of = |account: &str| account.rsplit_once('@').is_some_and(|(name, _)| name == user);
        seen.accounts.iter().any(|one| of(&one.account))
            || seen.sessions.iter().any(|session| session.user == *user)
    };
    let rest: Vec<&String> = allowed.iter().filter(|user| !is_there(user)).collect();
    if rest.is_empty() {
        return;
    }
    // who sees no accounts can say nothing of them
    let Ok(survey) = open.db.survey() else { return };
    for user in rest.into_iter().filter(|user| !survey.users.contains(user)) {
        cx.warn(&format!("{:?} has no account of --allow {user}", open.server.name));
    }
}

/// That writes are off, and that events are, which were on.
fn owed(open: &Open, inverse: &[String], before: &WritesState, kept: Json) -> Vec<DebtSpec> {
    let debt = |key: String, what: &str, before: Json| DebtSpec {
        key,
        reason: format!("{what} {:?} are off", open.server.name),
        inverse: inverse.to_vec(),
        due: Due::Window,
        deadline: None,
        before,
    };
    let mut owed = vec![debt(writes_key(&open.set), "writes to", kept)];
    if before.events_before.as_deref() == Some("ON") {
        owed.push(debt(events_key(&open.set), "events of", json!({ "events": "ON" })));
    }
    owed
}

/// The refusal comes after the act: the debt stays.
fn touched(e: Error) -> Error {
    let error = Error::new(e.kind(), e.what()).found(e.records().to_vec());
    let error = match e.cause() {
        Some(cause) => error.because(cause),
        None => error,
    };
    match e.advice() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The open server of a step.
pub fn of<'a>(opened: &'a [(usize, Open)], step: &Step) -> Result<&'a Open> {
    opened.iter().find(|(at, _)| *at == step.at).map(|(_, open)| open).ok_or_else(|| {
        Error::new(Kind::Failed, "a step without its server").hint("this is a fault of the tool")
    })
}

/// Puts back what was before.
pub fn on(subject: &Subject, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) =
        cx.subjects(world.cloud.as_ref(), &subject.select, &subject.changing)?;
    let site = Site::new(&world, &deployment)?;
    let opened = site.open_all(&subjects)?;
    let mut steps = Vec::new();
    for (at, open) in &opened {
        master(open)?;
        site.master(&open.set)?;
        if !open.db.replica()?.channels.is_empty() {
            return Err(Error::new(
                Kind::Declined,
                format!("{:?} is a slave of another server", open.server.name),
            )
            .hint("its tags call it the master: which is right?")
            .untouched()
            .into());
        }
        let now = open.db.writes()?;
        let inverse = command(&deployment, &["writes", "off"], &open.server.name);
        steps.push(Step {
            at: *at,
            needed: now.off || site.debt(&writes_key(&open.set))?.is_some(),
            before: json!({ "off": now.off }),
            expect: json!({ "off": false }),
            undo: Some(words(&inverse)),
            settles: vec![writes_key(&open.set), events_key(&open.set)],
            ..Step::default()
        });
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let open = of(&opened, step)?;
        let before = match site.debt(&writes_key(&open.set))? {
            Some(debt) => serde_json::from_value(debt.before["writes"].clone()).unwrap_or_default(),
            None => WritesState::default(),
        };
        open.db.writes_on(&before)?;
        if before.off {
            cx.warn(&format!(
                "{}: it was read-only before writes were switched off, and is so again",
                open.server.name
            ));
        }
        Ok(Done::now(json!({ "off": open.db.writes()?.off })))
    })?;
    cx.pass_on(&subjects, exit)
}

/// Who could write now.
pub fn status(status: &Status, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let changing = Changing { dry_run: false, allow_none: status.allow_none };
    let (deployment, subjects) = cx.subjects(world.cloud.as_ref(), &status.select, &changing)?;
    let site = Site::new(&world, &deployment)?;
    let mut answers = Answers::of("databases");
    for one in site.ask_all(&subjects)? {
        let open = match one {
            Asked::Open(open) => open,
            Asked::Nobody(nobody) => {
                cx.warn(&nobody.why);
                answers.answered(nobody.record(WRITES, &deployment));
                continue;
            }
        };
        let begun = Instant::now();
        match who_could_write(&site, &open) {
            Ok(record) => answers.answered(record),
            Err(e) if is_silence(&e) => {
                answers.silent(cx, &deployment, &open.server, begun, e);
            }
            Err(e) => return Err(e.into()),
        }
    }
    answers.end(cx, false)
}

fn who_could_write(site: &Site<'_>, open: &Open) -> Result<Record> {
    let (allowed, _) = site.frozen(&open.set)?;
    let silence = open.db.silence(&allowed)?;
    let checks = judge_silence(&open.server.name, &silence);
    let writes = open.db.writes()?;
    let mut value = json!({
        "name": open.server.name,
        "deployment": site.deployment,
        "set": open.set,
        "role": role(open.is_master),
        "state": open.server.state,
        "off": writes.off,
        "silent": checks.iter().all(|check| check.answer == Answer::Ok),
        "allowed": allowed,
        "checks": checks,
        "unsupported": open.db.unsupported()?,
    });
    if let (Json::Object(body), Json::Object(facts)) = (&mut value, json!(silence)) {
        body.extend(facts);
        if let Some(survives) = writes.survives_restart {
            body.insert("survives_restart".into(), json!(survives));
        }
    }
    Ok(Record::new(WRITES, value))
}
