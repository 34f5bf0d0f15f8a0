//! `tend`: one pass over a deployment, for cron or a timer.

use std::time::Duration;

use rs_cli::{Context, Done, Exit, Journal, Step, Subject, Subjects};
use rs_contract::{Cloud, Kind, Launch, Result};
use rs_model::{Array, Server, State};
use serde_json::{Map, json};

/// How to tend.
#[derive(clap::Args)]
pub struct Tend {
    /// A boot that takes longer is named as stuck
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "45m")]
    boot_limit: Duration,
    /// Say what would be done, as records with "planned": true; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What one step of the pass does.
enum Todo {
    /// Brings an enabled array to its minimum.
    Raise(Box<Array>),
    /// Takes note of a machine that is gone.
    Lost(Box<Server>),
}

/// Emits what it acted on and what it found stuck; nothing to do is no output and success.
pub fn run(tend: &Tend, cx: &Context) -> anyhow::Result<Exit> {
    cx.by_the_clock();
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    if !cx.dry() {
        Journal::new(world.state.as_ref()).beat("server-tend")?;
    }
    let servers = cloud.servers(&deployment)?;
    let mut subjects = Subjects::default();
    let (mut steps, mut todo) = (Vec::new(), Vec::new());
    let mut lost = Vec::new();
    for server in &servers {
        if is_lost(cloud, server)? {
            cx.warn(&format!("the machine of {:?} is gone", server.name));
            lost.push(server.name.clone());
            if server.locked {
                cx.warn(&format!("{:?} is locked: it stays as it is written", server.name));
                continue;
            }
            steps.push(Step {
                at: subjects.items.len(),
                needed: true,
                before: json!({ "state": server.state.word() }),
                expect: json!({ "state": State::Terminated.word() }),
                predict: Map::from_iter([("state".to_owned(), State::Terminated.word().into())]),
                ..Step::default()
            });
            subjects.items.push(Subject::server(&deployment, server.clone()));
            todo.push(Todo::Lost(Box::new(server.clone())));
        } else if is_stuck(server, tend.boot_limit) {
            cx.warn(&format!(
                "{:?} is {} since {}",
                server.name,
                server.state.word(),
                server.current.as_ref().map_or("?", |current| current.launched_at.as_str())
            ));
            let mut subject = Subject::server(&deployment, server.clone());
            subject.record.nest("stuck", true);
            subjects.items.push(subject);
            todo.push(Todo::Lost(Box::new(server.clone())));
        }
    }
    for array in cloud.arrays(&deployment)?.into_iter().filter(|array| array.enabled) {
        let serving = servers
            .iter()
            .filter(|s| s.array.as_ref() == Some(&array.name) && !lost.contains(&s.name))
            .filter(|s| s.state == State::Operational);
        let operational = u32::try_from(serving.count()).unwrap_or(u32::MAX);
        if operational >= array.minimum {
            continue;
        }
        steps.push(Step {
            at: subjects.items.len(),
            needed: true,
            before: json!({ "operational": operational }),
            expect: json!({ "operational": array.minimum }),
            predict: Map::from_iter([("operational".to_owned(), array.minimum.into())]),
            ..Step::default()
        });
        subjects.items.push(Subject::array(&deployment, array.clone()));
        todo.push(Todo::Raise(Box::new(array)));
    }
    // machines that are gone first: an array counts what is left
    let (first, then): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| matches!(todo.get(step.at), Some(Todo::Lost(_))));
    let mut exit = Exit::Done;
    for steps in [first, then].iter().filter(|steps| !steps.is_empty()) {
        let done = cx.each(world.state.as_ref(), &deployment, &mut subjects, steps, |step| {
            let say = |text: &str| cx.say(text);
            match todo.get(step.at) {
                Some(Todo::Lost(server)) => {
                    cloud.terminate(&deployment, &server.name, cx.work(), &say)?;
                    Ok(Done::now(json!({ "state": State::Terminated.word() })))
                }
                Some(Todo::Raise(array)) => raise(cloud, &deployment, array, cx),
                None => Ok(Done::default()),
            }
        })?;
        if done != Exit::Done {
            exit = done;
        }
    }
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// A machine that was made and is not there any more.
pub fn is_lost(cloud: &dyn Cloud, server: &Server) -> Result<bool> {
    let made = server.current.as_ref().is_some_and(|current| current.home.is_some());
    if !made || server.foreign || !server.state.is_up() {
        return Ok(false);
    }
    match cloud.channel(server) {
        Err(e) if e.kind() == Kind::NotFound => Ok(true),
        Err(e) => Err(e),
        Ok(_) => Ok(false),
    }
}

fn is_stuck(server: &Server, limit: Duration) -> bool {
    let since = server.current.as_ref().and_then(|c| c.launched_at.parse::<jiff::Timestamp>().ok());
    match server.state {
        State::StrandedInBooting | State::StrandedInDecommissioning => true,
        State::Pending | State::Booting => since.is_some_and(|since| {
            let age = jiff::Timestamp::now().duration_since(since);
            age.unsigned_abs() > limit
        }),
        _ => false,
    }
}

/// Finishes what boots already, then makes what is still missing.
fn raise(cloud: &dyn Cloud, deployment: &str, array: &Array, cx: &Context) -> Result<Done> {
    let say = |text: &str| cx.say(text);
    let mine = |server: &&Server| server.array.as_ref() == Some(&array.name);
    let mut launched = Vec::new();
    let servers = cloud.servers(deployment)?;
    for coming in servers.iter().filter(mine) {
        if matches!(coming.state, State::Pending | State::Booting) {
            cloud.settle(deployment, &coming.name, cx.work(), &say)?;
            launched.push(coming.name.clone());
        }
    }
    loop {
        let servers = cloud.servers(deployment)?;
        let serving = servers.iter().filter(mine).filter(|s| s.state == State::Operational);
        if serving.count() >= usize::try_from(array.minimum).unwrap_or(usize::MAX) {
            return Ok(Done::now(json!({ "launched": launched })));
        }
        let made = cloud.launch_instance(deployment, &array.name, &Launch::default())?;
        cloud.settle(deployment, &made.name, cx.work(), &say)?;
        launched.push(made.name);
    }
}
