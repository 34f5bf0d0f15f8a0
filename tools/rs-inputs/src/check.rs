//! `check`: would a launch go well?

use rs_cli::{Changing, Context, Exit, What};
use rs_contract::{Error, Kind, World};
use rs_drivers::levels::Book;
use rs_drivers::settings::metadata;
use rs_model::check::{Answer, Check};
use rs_model::lint::{self, Shared};
use rs_model::possible::outside;
use rs_model::promote::Party;
use rs_model::{Phase, Value};
use rs_records::Record;
use serde_json::json;

use crate::CheckArgs;

/// Emits the answers, or with `--require` passes the subjects on.
pub(crate) fn run(cx: &Context, world: &World, args: &CheckArgs) -> anyhow::Result<Exit> {
    let cloud = world.cloud.as_ref();
    let changing = Changing { allow_none: args.allow_none, ..Changing::default() };
    let (deployment, subjects) = cx.subjects(cloud, &args.select, &changing)?;
    let book = Book::read(cloud, &deployment)?;
    let phases: Vec<Phase> = args.phase.iter().map(|phase| (*phase).into()).collect();
    let mut checks = Vec::new();
    for item in &subjects.items {
        match &item.what {
            // what is named by address is not launched
            What::Server(server) if server.foreign => {}
            What::Server(server) => {
                let (party, shared) = (book.server(server)?, book.shared_by_server(server)?);
                ask(&book, &item.title(), &party, &shared, &phases, &mut checks);
            }
            What::Array(array) => {
                let (party, shared) = (book.array(array)?, book.shared_by_array(array)?);
                ask(&book, &item.title(), &party, &shared, &phases, &mut checks);
            }
            _ => {}
        }
    }
    let bad: Vec<&Check> = checks.iter().filter(|check| check.answer != Answer::Ok).collect();
    if args.require {
        if let Some(first) = bad.first() {
            return Err(no(&bad, first).into());
        }
        return cx.pass_on(&subjects, Exit::Done);
    }
    let exit = if bad.is_empty() { Exit::Done } else { Exit::No };
    for check in &bad {
        cx.say(&format!("{}: {}: {}", check.subject, check.name, check.detail));
    }
    let records: Vec<Record> = checks
        .iter()
        .map(|check| {
            let mut record = Record::of(check);
            record.nest("deployment", &deployment);
            record
        })
        .collect();
    cx.emit(&records)?;
    Ok(exit)
}

fn no(bad: &[&Check], first: &Check) -> Error {
    let list: Vec<String> =
        bad.iter().map(|check| format!("{}: {}", check.subject, check.detail)).collect();
    let error = Error::new(Kind::No, format!("a launch would not go well: {}", list.join("; ")))
        .found(
            bad.iter().map(|check| serde_json::Value::Object(Record::of(*check).body)).collect(),
        );
    match &first.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error,
    }
}

fn ask(
    book: &Book<'_>,
    subject: &str,
    party: &Party,
    shared: &[Shared],
    phases: &[Phase],
    checks: &mut Vec<Check>,
) {
    let seen = book.resolve(party);
    let check = |name: &str, bad: Vec<String>, good: &str, hint: String| {
        if bad.is_empty() {
            Check::new(name, subject, Answer::Ok, good)
        } else {
            Check::new(name, subject, Answer::No, bad.join("; ")).hint(hint)
        }
    };
    let set = format!("rs-inputs set --on {}", crate::plan::quote(&party.name));
    let (missing, absent) = match &party.template {
        Some(template) => (lint::missing(template, &seen, phases), lint::absent(template, phases)),
        None => (Vec::new(), Vec::new()),
    };
    let hint = format!("{set} {}=text:…", missing.first().map_or("NAME", String::as_str));
    let bad = missing.iter().map(|name| format!("{name} is required and has no value")).collect();
    checks.push(check("required inputs", bad, "all have a value", hint).facts(json!({
        "missing": missing, "phases": phases,
    })));
    let bad = absent.iter().map(|name| format!("the script {name:?} was not found")).collect();
    let hint = "rs-server apply FILE --script-path FOLDER".to_owned();
    checks.push(check("scripts", bad, "all are there", hint));
    let bad = seen.ambiguous.iter().map(|name| {
        format!("{name} has different defaults in two scripts, and no level above decides")
    });
    let hint = format!("{set} {}=text:…", seen.ambiguous.first().map_or("NAME", String::as_str));
    checks.push(check("ambiguous inputs", bad.collect(), "none", hint));
    let scripts = party.template.iter().flat_map(|template| {
        let run = phases.iter().flat_map(|phase| template.sequence(*phase));
        run.filter_map(|reference| template.script(&reference.name))
    });
    let outside = outside(scripts, |name| seen.values.get(name).map(|r| &r.value));
    let bad = outside.iter().map(ToString::to_string).collect();
    let hint = format!("{set} {}=text:…", outside.first().map_or("NAME", |o| &o.input));
    checks.push(check("possible values", bad, "none is outside", hint));
    let mut bad = Vec::new();
    let mut references = Vec::new();
    for (name, server, var) in lint::cross_references(&seen.values) {
        if let Err(why) = leads(book, &server, &var) {
            bad.push(format!("{name} is env:{server}:{var}, {why}"));
        }
        references.push(json!({ "name": name, "server": server, "var": var }));
    }
    for (name, resolved) in &seen.values {
        if let Value::Env { server: None, var } = &resolved.value
            && !VARIABLES.contains(&var.as_str())
        {
            bad.push(format!("{name} is env:{var}, and there is no such variable"));
        }
    }
    let good = match references.len() {
        0 => "none to other servers".to_owned(),
        some => format!("{some} to other servers, all of them there"),
    };
    let hint =
        format!("variables: {}; rs-server list --all shows the servers", VARIABLES.join(", "));
    checks.push(check("references", bad, &good, hint).facts(json!({ "references": references })));
    let bad: Vec<String> = shared.iter().map(Shared::to_string).collect();
    let hint = format!(
        "{set} {}=text:…; if it is meant so: rs-clone with --tag {}",
        shared.first().map_or("NAME", |s| &s.what),
        lint::sharing_tag(shared.first().map_or("NAME", |s| &s.what))
    );
    checks.push(check("isolation", bad, "nothing shared with production", hint));
}

/// Metadata variables that a server has once it is launched.
const VARIABLES: [&str; 5] =
    ["PRIVATE_IP", "PUBLIC_IP", "INSTANCE_ID", "SERVER_NAME", "DEPLOYMENT_NAME"];

/// Whether a reference leads somewhere; else why not.
fn leads(book: &Book<'_>, server: &str, var: &str) -> Result<(), String> {
    let Some(found) = book.servers.iter().find(|s| s.name == server) else {
        return Err(format!("and no server is called {server:?}"));
    };
    if !VARIABLES.contains(&var) {
        return Err("and there is no such variable".to_owned());
    }
    if !metadata(&book.deployment.name, found).contains_key(var) {
        return Err(format!("and {server:?} is not launched"));
    }
    Ok(())
}
