//! `stop`: the page down. It goes forward: what can be opened is opened, and what cannot is named.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rs_cli::{Changing, Context, Done, Exit, Journal, Step};
use rs_contract::{Cloud, Error, Kind, Result, State};
use rs_drivers::settings::Settings;
use rs_model::act::Outcome;
use rs_model::check::{Answer, Check};
use rs_model::member::Page;
use rs_model::pool;
use serde_json::{Value as Json, json};

use crate::balancers::{Lb, Pool, choose, not_open, still_on};

/// How long a balancer may take until clients see the site again.
const OPEN: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct Stop {
    /// The pool; needed when there are several
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Records of rs-check site: none of them may be a no
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    /// Open although this is not so; repeat it for several
    #[arg(long = "override", value_name = "CONDITION")]
    overrides: Vec<Condition>,
    #[command(flatten)]
    changing: Changing,
}

/// What must be so before users come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Condition {
    /// Every balancer answers our own request through the bypass
    MembersUp,
    /// Every member of the pool is a server that we know
    UnknownMembers,
    /// Writes are on in every database
    WritesOn,
    /// No migration is half done
    SchemaWhole,
    /// The site check has no no
    SiteCheck,
}

impl Condition {
    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

pub fn run(cx: &Context, args: &Stop) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    let name = choose(cloud, &deployment, args.pool.as_deref())?;
    let pool = Pool::open(cx, cloud, &deployment, &name, false)?;
    let before: Vec<(Option<Page>, Vec<String>)> = pool
        .lbs
        .iter()
        .map(|lb| match look(lb, &name) {
            Ok((page, problems)) => (Some(page), problems),
            Err(e) => (None, vec![format!("{}: {e}", lb.server.name)]),
        })
        .collect();
    let shown = before
        .iter()
        .any(|(page, _)| page.as_ref().is_none_or(|page| page.active || page.saved == Some(true)));
    let needed = |at: usize| before.get(at).is_some_and(|(_, problems)| !problems.is_empty());
    if shown {
        // one that is out of reach does not keep the others closed: it is named when its turn comes
        let reached = |lb: &Lb| {
            before.iter().flat_map(|(page, _)| page).any(|page| page.balancer == lb.server.name)
        };
        conditions(cx, &pool, &reached, cloud, world.state.as_ref(), args)?;
    }
    let steps: Vec<Step> = (0..pool.lbs.len())
        .map(|at| Step {
            at,
            needed: needed(at),
            before: before
                .get(at)
                .and_then(|(page, _)| page.as_ref())
                .map(told)
                .unwrap_or_default(),
            expect: json!({"pool": name, "active": false}),
            undo: Some(format!("rs-maintenance start --pool {name}")),
            ..Step::default()
        })
        .collect();
    let mut subjects = pool.subjects();
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let lb =
            pool.lbs.get(step.at).ok_or_else(|| Error::new(Kind::Failed, "no such balancer"))?;
        lb.driver.set(&name, false)?;
        let begun = Instant::now();
        loop {
            let (page, mut problems) = look(lb, &name)?;
            let closed = not_open(&page);
            if args.overrides.contains(&Condition::MembersUp) {
                if problems.is_empty() {
                    closed.iter().for_each(|why| cx.warn(why));
                }
            } else {
                problems.extend(closed);
            }
            if problems.is_empty() {
                return Ok(Done::now(told(&page)).nest("page", page));
            }
            if begun.elapsed() > OPEN.min(cx.common.timeout) {
                return Err(Error::new(
                    Kind::Failed,
                    format!(
                        "the page is down on {:?}, and clients do not see the site",
                        lb.server.name
                    ),
                )
                .because(problems.join("; "))
                .hint(format!(
                    "rs-lbctl status --pool {name}; rs-maintenance start --pool {name} closes again"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    })?;
    if exit == Exit::Done && !cx.dry() {
        let journal = Journal::new(world.state.as_ref());
        let key = format!("page:{name}");
        if journal.debt(&deployment, &key)?.is_some() {
            journal.settle(&deployment, &key)?;
        }
        for ((item, step), (page, _)) in subjects.items.iter_mut().zip(&steps).zip(&before) {
            if let (false, Some(page)) = (step.needed, page) {
                not_open(page).iter().for_each(|why| cx.warn(why));
                item.record.nest("page", page);
            }
        }
    }
    cx.pass_on(&subjects, exit)
}

fn told(page: &Page) -> Json {
    json!({"pool": page.pool, "active": page.active, "saved": page.saved})
}

/// The page, and where it is still up.
fn look(lb: &Lb, pool: &str) -> Result<(Page, Vec<String>)> {
    let page = lb.page(pool)?;
    let problems = still_on(&page, &lb.driver.processes(pool)?);
    Ok((page, problems))
}

/// Declines while something is not so that users would meet.
fn conditions(
    cx: &Context,
    pool: &Pool,
    reached: &(dyn Fn(&Lb) -> bool + Sync),
    cloud: &dyn Cloud,
    state: &dyn State,
    args: &Stop,
) -> Result<()> {
    let mut failed: Vec<(Condition, String)> = Vec::new();
    let journal = Journal::new(state);
    for debt in journal.debts(&pool.deployment)?.iter().filter(|debt| debt.kind == "writes") {
        failed.push((
            Condition::WritesOn,
            format!("writes are off ({}) since {}", debt.key, debt.since),
        ));
    }
    // a promotion brings another schema: what was half before it does not matter any more
    let last = journal.acts()?.into_iter().rfind(|act| {
        act.deployment == pool.deployment
            && act.tool == "rs-dbsync"
            && ["migrate", "promote"].contains(&act.verb.as_str())
    });
    if let Some(act) = last.filter(|act| act.verb == "migrate" && act.outcome != Outcome::Done) {
        failed.push((
            Condition::SchemaWhole,
            format!("the migration of {} (act {}) is not finished", act.subject, act.seq),
        ));
    }
    for (lb, result) in pool
        .lbs
        .iter()
        .zip(pool.on_all(|lb| if reached(lb) { through(lb, &pool.name) } else { Ok(()) }))
    {
        if let Err(e) = result {
            failed.push((Condition::MembersUp, format!("{}: {e}", lb.server.name)));
        }
    }
    failed.extend(
        unknown(pool, reached, cloud)?.into_iter().map(|why| (Condition::UnknownMembers, why)),
    );
    if let Some(path) = &args.after {
        failed.extend(site_check(path)?.into_iter().map(|why| (Condition::SiteCheck, why)));
    }
    let (over, failed): (Vec<_>, Vec<_>) =
        failed.into_iter().partition(|(condition, _)| args.overrides.contains(condition));
    for (condition, why) in over {
        cx.warn(&format!("{} is overridden: {why}", condition.word()));
    }
    let Some((condition, why)) = failed.first() else { return Ok(()) };
    for (condition, why) in failed.iter().skip(1) {
        cx.warn(&format!("{}: {why}", condition.word()));
    }
    Err(Error::new(
        Kind::Declined,
        format!("the page of {:?} stays up: {} is not so", pool.name, condition.word()),
    )
    .because(why)
    .hint(format!("put that right, or --override {}", condition.word()))
    .untouched())
}

/// A request through the bypass must reach an application that is well.
fn through(lb: &Lb, pool: &str) -> Result<()> {
    let path = lb.settings.or("HEALTH_CHECK_URI", "/health")?;
    for probe in lb.probes(pool, &path)? {
        let probe = probe.bypass(&lb.settings)?;
        let url = probe.url();
        let answer = probe.send()?;
        if answer.status >= 400 {
            return Err(Error::new(
                Kind::No,
                format!("{url} answers {} through the bypass", answer.status),
            ));
        }
    }
    Ok(())
}

fn unknown(pool: &Pool, reached: &dyn Fn(&Lb) -> bool, cloud: &dyn Cloud) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for lb in pool.lbs.iter().filter(|lb| reached(lb)) {
        let channel = if lb.server.foreign { None } else { Some(cloud.channel(&lb.server)?) };
        let members = rs_drivers::balancer(&lb.server, &lb.settings, channel)
            .and_then(|driver| driver.members(&pool.name));
        match members {
            Ok(mut members) => {
                pool::name_members(&mut members, &pool.servers, |server| {
                    Settings::among(cloud, &pool.deployment, server, &pool.servers)
                        .and_then(|settings| settings.port("APPLICATION_PORT", 8000))
                        .unwrap_or(0)
                });
                let strange = members.iter().filter(|m| m.server.is_none() && m.is_there());
                found.extend(strange.map(|m| format!("nobody knows {}", m.title())));
            }
            Err(e) => found.push(format!("the members of {} cannot be read: {e}", lb.server.name)),
        }
    }
    Ok(found)
}

fn site_check(path: &std::path::Path) -> Result<Vec<String>> {
    let bad = |e: &dyn std::fmt::Display| {
        Error::new(Kind::Usage, format!("{} cannot be read", path.display()))
            .because(e)
            .hint("rs-check site --json >FILE writes it")
    };
    let text = std::fs::read_to_string(path).map_err(|e| bad(&e))?;
    let checks: Vec<Check> = rs_records::parse_all(&text)
        .map_err(|e| bad(&e))?
        .iter()
        .filter(|record| record.is::<Check>())
        .map(|record| record.decode())
        .collect::<std::result::Result<_, _>>()?;
    if checks.is_empty() {
        return Ok(vec![format!("{} holds no check", path.display())]);
    }
    Ok(checks
        .iter()
        .filter(|check| check.answer != Answer::Ok)
        .map(|check| format!("{} of {}: {}", check.name, check.subject, check.detail))
        .collect())
}
