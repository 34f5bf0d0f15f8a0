//! `status`: the page on every balancer, as told and as seen.

use clap::{Args, ValueEnum};
use rs_cli::{Answers, Context, Exit, Meant};
use rs_contract::{Error, Kind};
use rs_model::pool;
use rs_records::Record;

use crate::balancers::Pool;

#[derive(Args)]
pub struct Status {
    /// Only this pool [default: every pool that a tag names]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// A gate: the page is on (or off) on every balancer, in every process, over a reload, and as a client sees it
    #[arg(long, value_name = "on|off")]
    require: Option<Want>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Want {
    On,
    Off,
}

pub fn run(cx: &Context, args: &Status) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    let names: Vec<String> = match &args.pool {
        Some(name) => {
            rs_model::name::pool(name)?;
            vec![name.clone()]
        }
        None => {
            let servers = cloud.servers(&deployment)?;
            pool::pools(&servers)
                .into_iter()
                .filter(|name| !pool::balancers(&servers, name).is_empty())
                .collect()
        }
    };
    if names.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            format!("no operational server of {deployment:?} balances a pool"),
        )
        .hint("tag the balancers load_balancer:active_POOL=true")
        .into());
    }
    let mut answers = Answers::of("balancers");
    let mut problems = Vec::new();
    let some = Meant { some: true, ..Meant::default() };
    for name in &names {
        let (pool, pages) = Pool::open(cx, cloud, &deployment, name, some)?.answers(cx);
        for (lb, page) in pool.lbs.iter().zip(&pages) {
            problems.extend(match args.require {
                None => Vec::new(),
                Some(Want::On) => {
                    let mut found = page.not_on();
                    found.extend(lb.spared(name)?);
                    found
                }
                Some(Want::Off) => {
                    let mut found = page.still_on(&lb.driver.processes(name)?);
                    found.extend(page.not_open());
                    found
                }
            });
        }
        answers.add(pool, pages.iter().map(Record::of));
    }
    let Some(first) = problems.first() else {
        return answers.end(cx, args.require.is_some());
    };
    for problem in problems.iter().skip(1) {
        cx.warn(problem);
    }
    let word = if args.require == Some(Want::On) { "on" } else { "off" };
    let no = Error::new(Kind::No, format!("the page is not {word} everywhere"))
        .because(first)
        .hint("rs-maintenance status shows every balancer");
    Err(answers.refuse(cx, no).into())
}
