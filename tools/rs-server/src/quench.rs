//! `quench` and `unquench`: silence for the alerts of servers.

use std::time::Duration;

use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Select, Step, What};
use rs_contract::{Error, Kind};
use rs_drivers::settings::Settings;
use rs_model::{Due, Server};
use serde_json::json;

use crate::{Subject, command, typed};

/// What to silence.
#[derive(clap::Args)]
pub struct Quench {
    #[command(flatten)]
    select: Select,
    /// How long
    #[arg(long = "for", value_name = "TIME", value_parser = rs_cli::duration, default_value = "2h")]
    time: Duration,
    /// Why, for whoever looks at the alerts
    #[arg(long, value_name = "TEXT", default_value = "maintenance")]
    reason: String,
    #[command(flatten)]
    changing: Changing,
}

/// Silences, and owes to end the silence.
pub fn quench(quench: &Quench, cx: &Context) -> anyhow::Result<Exit> {
    let until = jiff::Timestamp::now()
        .checked_add(quench.time)
        .map_err(|e| Error::new(Kind::Usage, "--for reaches too far").because(e))?;
    let until = format!("{until:.0}");
    switch(&quench.select, &quench.changing, Some((&until, &quench.reason)), cx)
}

/// Ends the silence.
pub fn unquench(subject: &Subject, cx: &Context) -> anyhow::Result<Exit> {
    switch(&subject.select, &subject.changing, None, cx)
}

fn switch(
    select: &Select,
    changing: &Changing,
    silence: Option<(&str, &str)>,
    cx: &Context,
) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, select, changing)?;
    let settings = Settings::of_deployment(cloud, &deployment)?;
    let alerts = rs_drivers::alerts(&settings)?;
    if alerts.is_none() {
        cx.say(&format!("{deployment:?} has no alerts (no input ALERTS_HOOK): nothing to silence"));
    }
    let mut steps = Vec::new();
    let mut servers: Vec<Option<Server>> = Vec::new();
    for (at, item) in subjects.items.iter().enumerate() {
        servers.push(item.as_server().cloned());
        let server = match &item.what {
            What::Server(server) => server,
            What::Other => continue,
            _ => {
                return Err(Error::new(Kind::Usage, format!("{} has no alerts", item.title()))
                    .hint("only servers have: --role server, or --array NAME for its instances")
                    .into());
            }
        };
        let quenched = match &alerts {
            Some(alerts) => alerts.quenched(&deployment, server)?,
            None => false,
        };
        let wanted = silence.is_some();
        let inverse = command(&deployment, &["unquench"], &server.name);
        let key = format!("quenched:{}", server.name);
        let mut step = Step {
            at,
            needed: alerts.is_some() && quenched != wanted,
            before: json!({ "quenched": quenched }),
            expect: json!({ "quenched": wanted }),
            undo: silence.map(|_| typed(&inverse)),
            ..Step::default()
        };
        match silence {
            None => step.settles.push(key),
            Some((until, reason)) if step.needed => step.opens.push(DebtSpec {
                key,
                reason: format!("alerts silenced: {reason}"),
                inverse,
                due: Due::After,
                deadline: Some(until.to_owned()),
                before: json!({ "quenched": false }),
            }),
            Some(_) => {}
        }
        steps.push(step);
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let server = servers.get(step.at).and_then(Option::as_ref);
        let (Some(server), Some(alerts)) = (server, &alerts) else { return Ok(Done::default()) };
        match silence {
            Some((until, reason)) => alerts.quench(&deployment, server, until, reason)?,
            None => alerts.unquench(&deployment, server)?,
        }
        Ok(Done::now(json!({ "quenched": alerts.quenched(&deployment, server)? })))
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}
