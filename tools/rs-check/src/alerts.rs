//! `alerts`: does anything fire, and is anybody blind.

use rs_cli::{Changing, Context, Exit, Select};
use rs_contract::Alerts;
use rs_drivers::settings::Settings;
use rs_model::{Answer, Check, Server};

use crate::gate;

/// Flags of `alerts`.
#[derive(clap::Args)]
pub struct OfServers {
    #[command(flatten)]
    select: Select,
    /// A silenced server is fine
    #[arg(long)]
    allow_quenched: bool,
}

/// Asks.
pub fn run(alerts: &OfServers, cx: &Context) -> anyhow::Result<Exit> {
    let cloud = rs_drivers::world(&cx.place()?)?.cloud;
    let (deployment, subjects) =
        cx.subjects(cloud.as_ref(), &alerts.select, &Changing::default())?;
    let settings = Settings::of_deployment(cloud.as_ref(), &deployment)?;
    let hook = rs_drivers::alerts(&settings)?;
    let servers: Vec<&Server> = subjects.servers().collect();
    let checks = cx.side_by_side(&servers, |server| match &hook {
        Some(hook) => of(hook.as_ref(), &deployment, server, alerts),
        None => vec![
            Check::new(
                "nothing fires",
                &server.name,
                Answer::Unknown,
                format!("{deployment:?} names no alert system"),
            )
            .hint("rs-inputs set ALERTS_HOOK=text:COMMAND at the deployment"),
        ],
    });
    let checks: Vec<Check> = checks.into_iter().flatten().collect();
    gate::answer(cx, &deployment, "rs-check alerts", &checks)
}

fn of(hook: &dyn Alerts, deployment: &str, server: &Server, flags: &OfServers) -> Vec<Check> {
    let fires = match hook.firing(deployment, server) {
        Ok(lines) if lines.is_empty() => {
            Check::new("nothing fires", &server.name, Answer::Ok, "nothing fires")
        }
        Ok(lines) => Check::new("nothing fires", &server.name, Answer::No, lines.join("; "))
            .facts(lines.into()),
        Err(e) => Check::new("nothing fires", &server.name, Answer::Unknown, e.to_string()),
    };
    let blind = match hook.quenched(deployment, server) {
        Ok(false) => Check::new("is heard", &server.name, Answer::Ok, "not silenced"),
        Ok(true) if flags.allow_quenched => {
            Check::new("is heard", &server.name, Answer::Ok, "silenced, which is allowed")
        }
        Ok(true) => Check::new("is heard", &server.name, Answer::No, "its alerts are silenced")
            .hint("rs-server unquench, when the work on it is done"),
        Err(e) => Check::new("is heard", &server.name, Answer::Unknown, e.to_string()),
    };
    vec![fires, blind]
}
