//! rs-run: a script of the template on servers.
//!
//! stdin   `rs.server/1`, `rs.array/1`   the subjects, when none are named
//! stdout  the same, with the run nested: `run` of a server, `runs` of an array's operational instances
//!
//! A script sees the current inputs of its server, and over them what `--set` gives it for this run only.

mod gate;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use rs_cli::{Changing, Common, Context, Done, Exit, Select, Set, Step, Subjects, What};
use rs_contract::{Cloud, Error, Expect, Kind, Result, RunRequest, RunResult, State, Txn};
use rs_drivers::look;
use rs_model::possible::unfit;
use rs_model::{Inputs, Server, TemplateRef};
use serde_json::{Value as Json, json};

use gate::Gate;

/// Run a script of the template on servers.
#[derive(Parser)]
#[command(
    version,
    before_help = "Examples:
  rs-run 'app: update code' --role app --rolling 1 --set APPLICATION=text:shop-2
  rs-server list --as old | rs-run 'app: stop' --stay
  rs-run 'db: load fixtures' 'Master DB' --once u-42/fixtures --follow"
)]
struct Args {
    /// RightScript Name, in the template of each server
    #[arg(value_name = "SCRIPT")]
    script: String,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    set: Set,
    /// Run it once: where it succeeded under this key on the same machine it is not run again
    #[arg(long, value_name = "KEY")]
    once: Option<String>,
    /// What is stopped stays stopped: no restart by init, timer or reboot (RS_STAY=true for the script)
    #[arg(long)]
    stay: bool,
    /// At most so many servers at once, and no further one after a failure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rolling: Option<u16>,
    /// Show the output on stderr as it comes
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    changing: Changing,
}

fn main() -> ExitCode {
    rs_cli::main("rs-run", |args: &Args| &args.common, run)
}

/// One server on which the script is to be run.
struct Target {
    server: String,
    /// Key of `--once` in the state store.
    once: Option<String>,
    /// The run under which it succeeded before.
    done: Option<Json>,
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    let inputs = inputs(&args.set)?;
    cx.about(&args.script);
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let (deployment, mut subjects) = cx.subjects(cloud, &args.select, &args.changing)?;
    let all = targets(&args, cloud, state, &deployment, &subjects, &inputs)?;
    let steps: Vec<Step> = all.iter().map(|(at, targets)| step(*at, targets, &args)).collect();
    let gate = Gate::new(args.rolling);
    let runs: Mutex<BTreeMap<usize, Vec<RunResult>>> = Mutex::default();
    let request = RunRequest {
        script: args.script.clone(),
        inputs,
        stay: args.stay,
        timeout: args.common.timeout,
        follow: args.follow,
    };
    let exit = cx.each(state, &deployment, &mut subjects, &steps, |step| {
        let mut failed = None;
        let mut results = Vec::new();
        for target in all.get(&step.at).into_iter().flatten().filter(|t| t.done.is_none()) {
            let one = gate.pass(&target.server, || {
                let name = &target.server;
                let line = |text: &str| cx.say(&format!("{name}: {text}"));
                let result = cloud.run(&deployment, name, &request, &line)?;
                if result.exit == 0
                    && let Some(key) = &target.once
                {
                    keep(state, key, &result)?;
                }
                let bad = failure(name, &result);
                runs.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(step.at)
                    .or_default()
                    .push(result.clone());
                bad.map_or(Ok(result), Err)
            });
            match one {
                Ok(result) => results.push(json!({ "server": target.server, "run": result.id })),
                Err(e) => failed = Some(failed.unwrap_or(e)),
            }
        }
        match failed {
            Some(e) => Err(e),
            None => Ok(Done::now(json!({ "runs": results }))),
        }
    })?;
    for (at, results) in runs.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let Some(item) = subjects.items.get_mut(at) else { continue };
        match (&item.what, results.as_slice()) {
            (What::Server(_), [one]) => item.record.nest("run", one),
            _ => item.record.nest("runs", &results),
        }
    }
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

fn inputs(set: &Set) -> Result<Inputs> {
    let mut found = Inputs::new();
    for (name, value) in &set.set {
        if found.insert(name.clone(), value.clone()).is_some() {
            return Err(Error::new(Kind::Usage, format!("--set gives {name} twice"))
                .hint("each input once"));
        }
    }
    Ok(found)
}

/// Every server on which the script is to be run, by subject; all of it is checked before anything is run.
fn targets(
    args: &Args,
    cloud: &dyn Cloud,
    state: &dyn State,
    deployment: &str,
    subjects: &Subjects,
    inputs: &Inputs,
) -> Result<BTreeMap<usize, Vec<Target>>> {
    let servers = match subjects.arrays().next() {
        Some(_) => cloud.servers(deployment)?,
        None => Vec::new(),
    };
    // an instance that is a subject itself is not run again for its array
    let named: BTreeSet<&str> = subjects.servers().map(|server| server.name.as_str()).collect();
    let mut found = BTreeMap::new();
    let mut checked = BTreeMap::new();
    for (at, item) in subjects.items.iter().enumerate() {
        let chosen: Vec<&Server> = match &item.what {
            What::Server(server) => vec![server],
            What::Array(array) => servers
                .iter()
                .filter(|s| s.array.as_ref() == Some(&array.name))
                .filter(|s| s.state == rs_model::State::Operational)
                .filter(|s| !named.contains(s.name.as_str()))
                .collect(),
            What::Deployment(_) if subjects.items.len() > 1 => continue,
            What::Deployment(_) => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("no script runs on {} as such", item.title()),
                )
                .hint("name servers, or --all --role server"));
            }
            What::Other => continue,
        };
        let mut targets = Vec::new();
        for server in chosen {
            if !item.record.planned() {
                check(args, cloud, server, inputs, &mut checked)?;
                // what would be told to a machine that is not there would not be done
                if args.changing.dry_run {
                    look::answers(cloud, deployment, server, &servers)?;
                }
            }
            let instance = server.current.as_ref().map_or("", |current| current.id.as_str());
            let once = args.once.as_ref().map(|key| once_key(deployment, server, instance, key));
            let done = match &once {
                Some(key) => state.get(key)?.map(|entry| entry.value),
                None => None,
            };
            if let Some(done) = &done
                && done.get("script").and_then(Json::as_str) != Some(&args.script)
            {
                return Err(Error::new(
                    Kind::Usage,
                    format!(
                        "the key {:?} stands for another script on {:?}: {}",
                        args.once.as_deref().unwrap_or_default(),
                        server.name,
                        done.get("script").unwrap_or(&Json::Null)
                    ),
                )
                .hint("another --once KEY for another script"));
            }
            targets.push(Target { server: server.name.clone(), once, done });
        }
        found.insert(at, targets);
    }
    Ok(found)
}

/// A key holds for one machine: what a script did is gone with it.
fn once_key(deployment: &str, server: &Server, instance: &str, key: &str) -> String {
    let part = |text: &str| text.replace('%', "%25").replace('/', "%2F");
    format!("once/{}/{}/{instance}/{}", part(deployment), part(&server.name), part(key))
}

fn keep(state: &dyn State, key: &str, result: &RunResult) -> Result<()> {
    let value = json!({ "run": result.id, "script": result.script });
    let txn = Txn {
        expect: vec![Expect::Absent(key.to_owned())],
        put: vec![(key.to_owned(), value)],
        delete: Vec::new(),
    };
    match state.commit(&txn) {
        // somebody else ran it under the same key at the same time: it is done all the same
        Err(e) if e.is_race() => Ok(()),
        done => done,
    }
}

/// Whether the script is there, has its inputs, and the server runs scripts.
fn check(
    args: &Args,
    cloud: &dyn Cloud,
    server: &Server,
    inputs: &Inputs,
    known: &mut BTreeMap<TemplateRef, rs_model::Template>,
) -> Result<()> {
    let name = &server.name;
    let current = server.current.as_ref().filter(|_| server.state == rs_model::State::Operational);
    let Some(current) = current.filter(|_| !server.foreign) else {
        let why = if server.foreign { "not launched by us" } else { server.state.word() };
        let hint = if server.foreign {
            "leave it out, and run it there by hand; nothing was run"
        } else {
            "rs-server launch it, or leave it out: --state operational; nothing was run"
        };
        return Err(
            Error::new(Kind::Declined, format!("{name:?} is {why}: it runs no scripts")).hint(hint)
        );
    };
    let Some(reference) = &current.template else {
        return Err(Error::new(
            Kind::Declined,
            format!("{name:?} has no template, hence no scripts"),
        )
        .hint("leave it out; nothing was run"));
    };
    if !known.contains_key(reference) {
        known.insert(reference.clone(), cloud.template(reference)?);
    }
    let Some(template) = known.get(reference) else { return Ok(()) };
    let Some(script) = template.script(&args.script) else {
        let names = template.scripts.iter().map(|s| s.name.as_str());
        let near = rs_model::name::did_you_mean(&args.script, names);
        let near = near.map(|near| near + "; ").unwrap_or_default();
        let scripts: Vec<String> =
            template.scripts.iter().map(|s| format!("{:?}", s.name)).collect();
        return Err(Error::new(
            Kind::Usage,
            format!("template {reference} of {name:?} has no script {:?}", args.script),
        )
        .hint(format!("{near}its scripts: {}; nothing was run", scripts.join(", "))));
    };
    if let Some(input) = inputs.keys().find(|input| !script.inputs.contains_key(*input)) {
        let declared = || script.inputs.keys().map(String::as_str);
        let names = || match declared().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "it declares none".into(),
            names => format!("its inputs: {names}"),
        };
        let hint = rs_model::name::did_you_mean(input, declared()).unwrap_or_else(names);
        return Err(Error::new(
            Kind::Usage,
            format!("{:?} of {reference} on {name:?} declares no input {input}", script.name),
        )
        .hint(format!("{hint}; nothing was run")));
    }
    let Some(why) = unfit(script, &current.inputs, inputs) else { return Ok(()) };
    Err(Error::new(Kind::Usage, format!("{:?} on {name:?} {why}", script.name))
        .hint("--set NAME=TYPE:VALUE, or rs-inputs set them on the server; nothing was run"))
}

fn step(at: usize, targets: &[Target], args: &Args) -> Step {
    let open: Vec<&str> =
        targets.iter().filter(|t| t.done.is_none()).map(|t| t.server.as_str()).collect();
    let before: Vec<&Json> = targets.iter().filter_map(|t| t.done.as_ref()).collect();
    Step {
        at,
        needed: !open.is_empty(),
        before: if before.is_empty() { Json::Null } else { json!({ "once": before }) },
        expect: json!({ "script": args.script, "servers": open }),
        ..Step::default()
    }
}

fn failure(server: &str, result: &RunResult) -> Option<Error> {
    if result.exit == 0 {
        return None;
    }
    let lines: Vec<&str> =
        result.tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join("; ");
    let error = Error::new(
        Kind::Failed,
        format!(
            "{:?} on {server:?} ended with exit {} ({})",
            result.script, result.exit, result.id
        ),
    );
    Some(if last.is_empty() {
        error.because("it said nothing")
    } else {
        error.because(format!("it said last: {last}"))
    })
}
