//! `start`: the page up on every balancer of a pool, or on none.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Meant, Owing, Patience, Step};
use rs_contract::{Balancer, Cloud, Error, Kind, Result};
use rs_drivers::look::way;
use rs_model::act::Due;
use rs_model::member::{Drained, Member, Page};
use serde_json::{Value as Json, json};

use crate::balancers::{Lb, Pool, choose};

#[derive(Args)]
pub struct Start {
    /// The pool; needed when there are several
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// The page's new content; it is shown once the balancers have been reloaded
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// The page must say this in Retry-After, else it is taken back
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u64>,
    /// Once the page is up, wait so long for requests in flight (long ones, websockets) to end; exit 6 if they do not
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration)]
    wait: Option<Duration>,
    /// End what is in flight (after --wait): its clients get an error, and then the page
    #[arg(long)]
    kill: bool,
    /// Also where a reload would bring the site back
    #[arg(long)]
    runtime_only: bool,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

pub fn run(cx: &Context, args: &Start) -> anyhow::Result<Exit> {
    let page = match &args.page {
        Some(path) => Some(std::fs::read(path).map_err(|e| {
            Error::new(Kind::Usage, format!("{} cannot be read", path.display())).because(e)
        })?),
        None => None,
    };
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    let name = choose(cx, cloud, &deployment, args.pool.as_deref())?;
    let pool = Pool::open(cx, cloud, &deployment, &name, Meant { all: true, ..Meant::default() })?;
    // everything that could go wrong is looked at on every balancer before any of them is switched
    let content = page.as_deref().filter(|_| !cx.dry());
    pool.on_all(|lb| lb.driver.prepare(&name, content))
        .into_iter()
        .collect::<Result<Vec<()>>>()
        .map_err(Error::untouched)?;
    let before = pool.pages()?;
    if let Some(page) = before.iter().find(|page| page.saved.is_none() && !args.runtime_only) {
        return Err(Error::new(
            Kind::Declined,
            format!(
                "{:?} could lose the page with a reload: its files are out of reach",
                page.balancer
            ),
        )
        .hint("--runtime-only, and see that nothing reloads it")
        .untouched()
        .into());
    }
    let is_so = |page: &Page| page.not_on().is_empty();
    let members = members(args, cloud, &pool)?;
    let in_flight = members.requests()?;
    let steps: Vec<Step> = before
        .iter()
        .enumerate()
        .map(|(at, page)| Step {
            at,
            needed: !is_so(page) || in_flight > 0,
            before: told(page),
            expect: json!({"pool": name, "active": true}),
            undo: Some(rs_cli::shell_words(&crate::command("stop", &deployment, &name))),
            opens: if at == 0 { vec![debt(&deployment, &name)] } else { Vec::new() },
            ..Step::default()
        })
        .collect();
    let mut subjects = pool.subjects();
    let exit = cx.together(world.state.as_ref(), &deployment, &mut subjects, &steps, |todo| {
        let after = switch(&pool, &before, args.retry_after)?;
        let drained = members.settle(cx, args, &name, in_flight)?;
        Ok(todo
            .iter()
            .filter_map(|step| after.get(step.at))
            .map(|page| {
                let done = Done::now(told(page)).nest("page", page);
                match drained {
                    Some(drained) => done.nest("drain", drained),
                    None => done,
                }
            })
            .collect())
    })?;
    if !cx.dry() {
        for ((item, step), page) in subjects.items.iter_mut().zip(&steps).zip(&before) {
            if !step.needed {
                item.record.nest("page", page);
            }
        }
    }
    cx.pass_on(&subjects, exit)
}

/// The members behind the page, where somebody asked what becomes of their requests.
struct Members(Vec<(String, Box<dyn Balancer>)>);

fn members(args: &Start, cloud: &dyn Cloud, pool: &Pool) -> Result<Members> {
    if args.wait.is_none() && !args.kill {
        return Ok(Members(Vec::new()));
    }
    let open = |lb: &Lb| {
        let (settings, channel) = way(cloud, &pool.deployment, &lb.server, &pool.servers)?;
        Ok((pool.name.clone(), rs_drivers::balancer(&lb.server, &settings, channel)?))
    };
    pool.lbs.iter().map(open).collect::<Result<Vec<_>>>().map(Members)
}

impl Members {
    /// Each member of each balancer, in every process.
    fn all(&self) -> Result<Vec<(&dyn Balancer, Member)>> {
        let mut found = Vec::new();
        for (pool, lb) in &self.0 {
            found.extend(lb.members(pool)?.into_iter().map(|member| (lb.as_ref(), member)));
        }
        Ok(found)
    }

    /// What is in flight now.
    fn requests(&self) -> Result<u64> {
        Ok(self.all()?.iter().map(|(_, member)| member.sessions).sum())
    }

    /// The page keeps new requests away: what is in flight ends, or is ended.
    fn settle(
        &self,
        cx: &Context,
        args: &Start,
        pool: &str,
        before: u64,
    ) -> Result<Option<Drained>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let wait = args.wait.unwrap_or_default().min(cx.common.timeout);
        let patience = Patience { wait, kill: args.kill };
        let what = format!("the page of {pool:?} is up, and the pool");
        rs_cli::settle(&what, pool, (Instant::now(), before), patience, || self.all()).map(Some)
    }
}

fn told(page: &Page) -> Json {
    json!({"pool": page.pool, "active": page.active, "saved": page.saved})
}

fn debt(deployment: &str, pool: &str) -> DebtSpec {
    DebtSpec {
        key: format!("page:{pool}"),
        reason: format!("the maintenance page of {pool} is up"),
        inverse: crate::command("stop", deployment, pool),
        due: Due::Window,
        deadline: None,
        before: Json::Null,
    }
}

/// Switches all, looks at all from outside, and takes back what was changed when one of them is not as it should be.
fn switch(pool: &Pool, before: &[Page], retry_after: Option<u64>) -> Result<Vec<Page>> {
    let switched: Result<Vec<()>> =
        pool.on_all(|lb| lb.driver.set(&pool.name, true)).into_iter().collect();
    let seen = switched.and_then(|_| {
        let pages = pool.pages()?;
        let mut problems: Vec<String> = pages.iter().flat_map(Page::not_on).collect();
        let spared = pool.on_all(|lb| lb.spared(&pool.name));
        problems.extend(spared.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten());
        if let Some(wanted) = retry_after {
            let others = pages.iter().flat_map(|page| &page.seen);
            problems.extend(
                others
                    .filter(|seen| seen.retry_after_seconds != Some(wanted))
                    .map(|seen| format!("{} does not say Retry-After: {wanted}", seen.url)),
            );
        }
        match problems.is_empty() {
            true => Ok(pages),
            false => Err(Error::new(Kind::Declined, "the page is not what clients see")
                .because(problems.join("; "))
                .hint(
                    "look at the balancer's configuration: its rule, and who else listens there",
                )),
        }
    });
    let why = match seen {
        Ok(pages) => return Ok(pages),
        Err(why) => why,
    };
    let back = pool.on_all(|lb| {
        let was = before.iter().find(|page| page.balancer == lb.server.name);
        match was {
            Some(page) if !page.active => lb.driver.set(&pool.name, false),
            _ => Ok(()),
        }
    });
    let left: Vec<String> = pool
        .lbs
        .iter()
        .zip(back)
        .filter_map(|(lb, result)| Some(format!("{}: {}", lb.server.name, result.err()?)))
        .collect();
    let hint = why.advice().unwrap_or("rs-maintenance status shows every balancer").to_owned();
    if left.is_empty() {
        return Err(Error::new(
            why.kind(),
            format!(
                "the page of {:?} is down again on every balancer: one did not take it",
                pool.name
            ),
        )
        .because(why)
        .hint(hint)
        .untouched());
    }
    Err(Error::new(
        Kind::Partial,
        format!(
            "the page of {:?} is up on some balancers only; not taken back: {}",
            pool.name,
            left.join("; ")
        ),
    )
    .because(why)
    .hint(format!("rs-maintenance stop --pool {}", pool.name)))
}
