//! `drift`: is the balancers' configuration still what was recorded, and does one process serve.

use rs_cli::{Context, Exit, now};
use rs_contract::{Error, Kind, Result, Txn, World};
use rs_drivers::settings::Settings;
use rs_model::ready::{self, Configured};
use rs_model::{Answer, Bad, Check, Server};
use serde_json::json;

use crate::gate;

/// Flags of `drift`.
#[derive(clap::Args)]
pub struct Drift {
    /// Note what the configuration is now; nothing is compared
    #[arg(long)]
    record: bool,
    /// Nothing was recorded: exit 0
    #[arg(long)]
    allow_none: bool,
    /// A question whose answer does not count; it is asked and shown all the same
    #[arg(long, value_name = "NAME", value_parser = question)]
    accept: Vec<String>,
}

fn question(written: &str) -> std::result::Result<String, Bad> {
    ready::question(written, &ready::DRIFT)
}

/// Asks.
pub fn run(drift: &Drift, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let deployment = cx.deployment(world.cloud.as_ref())?;
    let servers = world.cloud.servers(&deployment)?;
    if drift.record {
        record(cx, &world, &deployment, &servers)?;
    }
    let mut checks = Vec::new();
    for (server, now_there) in looks(cx, &world, &deployment, &servers) {
        let Some(entry) = world.state.get(&key(&deployment, &server.name))? else { continue };
        let asked = "configuration is as recorded";
        match (serde_json::from_value::<Configured>(entry.value), now_there) {
            (Ok(then), Ok(now)) => checks.extend(ready::judge_drift(&server.name, &then, &now)),
            (Err(e), _) => checks.push(
                Check::new(asked, &server.name, Answer::Unknown, e.to_string())
                    .hint("rs-check drift --record"),
            ),
            (_, Err(e)) => checks.push(gate::tried(asked, &server.name, Err(e))),
        }
    }
    if checks.is_empty() {
        if drift.allow_none {
            return Ok(Exit::Done);
        }
        return Err(Error::new(Kind::NotFound, format!("nothing was recorded of {deployment:?}"))
            .hint("rs-check preflight --record, or rs-check drift --record")
            .into());
    }
    gate::accept(&mut checks, &drift.accept, &ready::DRIFT);
    gate::answer(cx, &deployment, "rs-check drift", &checks)
}

/// Notes what the configuration of every balancer that is up is now.
pub fn record(cx: &Context, world: &World, deployment: &str, servers: &[Server]) -> Result<()> {
    let mut txn = Txn::default();
    for (server, now_there) in looks(cx, world, deployment, servers) {
        let mut value = json!(now_there?);
        value["at"] = json!(now());
        txn.put.push((key(deployment, &server.name), value));
    }
    world.state.commit(&txn)
}

/// Side by side: step 31 asks in the dark.
fn looks<'a>(
    cx: &Context,
    world: &World,
    deployment: &str,
    servers: &'a [Server],
) -> Vec<(&'a Server, Result<Configured>)> {
    let asked: Vec<&Server> = balancers(servers).collect();
    let found = cx.side_by_side(&asked, |server| look(world, deployment, server, servers));
    asked.iter().copied().zip(found).collect()
}

fn look(
    world: &World,
    deployment: &str,
    server: &Server,
    servers: &[Server],
) -> Result<Configured> {
    let settings = Settings::among(world.cloud.as_ref(), deployment, server, servers)?;
    let channel = if server.foreign { None } else { world.cloud.channel(server).ok() };
    rs_drivers::balancer(server, &settings, channel)?.configured()
}

fn balancers(servers: &[Server]) -> impl Iterator<Item = &Server> {
    servers.iter().filter(|s| s.has_role("lb") && (s.foreign || s.state.is_up()))
}

fn key(deployment: &str, server: &str) -> String {
    let plain = |text: &str| text.replace('%', "%25").replace('/', "%2F");
    format!("configured/{}/{}", plain(deployment), plain(server))
}
