//! `stop`: the page down. It goes forward: what can be opened is opened, and what cannot is named.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use rs_cli::{Changing, Context, Done, Exit, Journal, Meant, Step};
use rs_contract::{Cloud, Error, Kind, Result, State};
use rs_model::member::Page;
use rs_model::reopen::{CONDITIONS, judge_reopen};
use rs_model::{Answer, Check};
use serde_json::{Value as Json, json};

use crate::balancers::{Lb, Pool, choose};
use crate::reopen::{Asked, gather};

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
    /// How long a slave that serves reads may take to have what its master has
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "60s")]
    wait: Duration,
    /// Open although this is not so; repeat it for several; the journal keeps it
    #[arg(long = "override", value_name = "CONDITION", value_parser = CONDITIONS)]
    overrides: Vec<String>,
    #[command(flatten)]
    changing: Changing,
}

impl Stop {
    fn overrides(&self, condition: &str) -> bool {
        self.overrides.iter().any(|name| name == condition)
    }
}

pub fn run(cx: &Context, args: &Stop) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    let name = choose(cx, cloud, &deployment, args.pool.as_deref())?;
    let pool = Pool::open(cx, cloud, &deployment, &name, Meant::default())?;
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
    let mut overridden = Vec::new();
    if shown {
        // one that is out of reach does not keep the others closed: it is named when its turn comes
        let reached = |lb: &Lb| {
            before.iter().flat_map(|(page, _)| page).any(|page| page.balancer == lb.server.name)
        };
        overridden = conditions(cx, &pool, &reached, cloud, world.state.as_ref(), args)?;
    }
    let steps: Vec<Step> = (0..pool.lbs.len())
        .map(|at| Step {
            at,
            needed: needed(at),
            before: before
                .get(at)
                .and_then(|(page, _)| page.as_ref())
                .map(|page| before_it(page, &overridden))
                .unwrap_or_default(),
            expect: json!({"pool": name, "active": false}),
            undo: Some(rs_cli::shell_words(&crate::command("start", &deployment, &name))),
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
            let closed = page.not_open();
            if args.overrides("members-up") {
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
                page.not_open().iter().for_each(|why| cx.warn(why));
                item.record.nest("page", page);
            }
        }
    }
    cx.pass_on(&subjects, exit)
}

/// The page as it was, with the conditions that the operator opened it in spite of.
fn before_it(page: &Page, overridden: &[Check]) -> Json {
    let mut before = told(page);
    if !overridden.is_empty() {
        let kept = overridden.iter().map(|c| json!({"condition": c.name, "seen": c.detail}));
        before["overridden"] = kept.collect();
    }
    before
}

fn told(page: &Page) -> Json {
    json!({"pool": page.pool, "active": page.active, "saved": page.saved})
}

/// The page, and where it is still up.
fn look(lb: &Lb, pool: &str) -> Result<(Page, Vec<String>)> {
    let page = lb.page(pool)?;
    let problems = page.still_on(&lb.driver.processes(pool)?);
    Ok((page, problems))
}

/// Declines while something is not so that users would meet; what the operator overrides is returned, for the journal.
fn conditions(
    cx: &Context,
    pool: &Pool,
    reached: &(dyn Fn(&Lb) -> bool + Sync),
    cloud: &dyn Cloud,
    state: &dyn State,
    args: &Stop,
) -> Result<Vec<Check>> {
    let asked = Asked { brought: args.after.as_deref(), wait: args.wait, reached };
    let checks = judge_reopen(&gather(cx, pool, cloud, state, &asked)?);
    let bad = checks.into_iter().filter(|check| check.answer != Answer::Ok);
    let (over, failed): (Vec<Check>, Vec<Check>) = bad.partition(|c| args.overrides(&c.name));
    for check in &over {
        cx.warn(&format!("{} is overridden: {}", check.name, check.detail));
    }
    let Some(first) = failed.first() else { return Ok(over) };
    for check in failed.iter().skip(1) {
        cx.warn(&format!("{}: {}", check.name, check.detail));
    }
    let names: Vec<&str> = failed.iter().map(|check| check.name.as_str()).collect();
    let what = format!("the page of {:?} stays up: {} not so", pool.name, names.join(", "));
    Err(Error::new(Kind::Declined, what)
        .because(&first.detail)
        .hint(format!(
            "{}; or --override {}",
            first.hint.as_deref().unwrap_or("put that right"),
            first.name
        ))
        .found(failed.iter().map(|check| json!(check)).collect())
        .untouched())
}
