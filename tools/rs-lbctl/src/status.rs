//! `status`: every member on every balancer.

use clap::Args;
use rs_cli::{Answers, Context, Exit};
use rs_contract::{Error, Kind};
use rs_drivers::settings::Settings;
use rs_model::Bad;
use rs_model::member::Member;
use rs_model::pool;
use rs_records::Record;

use crate::balancers::Pool;
use crate::probe;

#[derive(Args)]
pub struct Status {
    /// Only this pool [default: every pool that a tag names]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// A gate: every ready member answers our own request (up), or at least N on each balancer (up=N); all are
    /// known, and a reload would bring the same
    #[arg(long, value_name = "up[=N]", value_parser = require)]
    require: Option<Require>,
    /// A pool without members is fine
    #[arg(long)]
    allow_none: bool,
}

#[derive(Clone, Debug)]
struct Require {
    least: Option<usize>,
}

fn require(written: &str) -> Result<Require, Bad> {
    let bad = || Bad::new(format!("`{written}` is nothing to require"), "write up, or up=4");
    match written.split_once('=') {
        None if written == "up" => Ok(Require { least: None }),
        Some(("up", number)) => match number.parse() {
            Ok(least) if least > 0 => Ok(Require { least: Some(least) }),
            _ => Err(bad()),
        },
        _ => Err(bad()),
    }
}

pub fn run(cx: &Context, args: &Status) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    let names: Vec<String> = match &args.pool {
        Some(pool) => vec![pool.clone()],
        None => {
            let servers = cloud.servers(&deployment)?;
            pool::pools(&servers)
                .into_iter()
                .filter(|name| !pool::balancers(&servers, name).is_empty())
                .collect()
        }
    };
    let mut answers = Answers::of("balancers");
    let mut problems = Vec::new();
    for name in &names {
        let (pool, members) = Pool::answers(cx, cloud, &deployment, name)?;
        if let Some(require) = &args.require {
            for (lb, members) in pool.lbs.iter().zip(&members) {
                let answers = |member: &Member| {
                    let settings = member
                        .server
                        .as_ref()
                        .and_then(|name| pool.servers.iter().find(|s| s.name == *name))
                        .map(|server| Settings::among(cloud, &deployment, server, &pool.servers));
                    let settings = match settings {
                        Some(settings) => settings.map_err(|e| e.to_string())?,
                        None => lb.settings.clone(),
                    };
                    probe::healthy(&settings, (member.address, member.port))
                        .map_err(|e| e.to_string())
                };
                problems.extend(
                    pool::not_up(members, require.least, answers)
                        .into_iter()
                        .map(|why| format!("{}: {why}", lb.name)),
                );
            }
            problems.extend(unlike(&pool, &members));
        }
        answers.add(pool.into_balancers(), members.iter().flatten().map(Record::of));
    }
    if args.require.is_some() && (!problems.is_empty() || names.is_empty()) {
        for problem in problems.iter().skip(1) {
            cx.warn(problem);
        }
        let first = problems.first().map_or("there is no pool", String::as_str);
        let no = Error::new(Kind::No, "not every pool is as required")
            .because(first)
            .hint("rs-lbctl status shows every member");
        return Err(answers.refuse(cx, no).into());
    }
    if answers.is_empty() && !args.allow_none {
        return Err(Error::new(
            Kind::NotFound,
            match &args.pool {
                Some(pool) => format!("the pool {pool:?} has no member"),
                None => format!("no pool of {deployment:?} has a member"),
            },
        )
        .hint("rs-lbctl connect --pool POOL; --allow-none if that is fine")
        .into());
    }
    answers.end(cx, args.require.is_some())
}

/// Balancers of one pool that do not have the same members: a client's luck decides what he meets.
fn unlike(pool: &Pool, members: &[Vec<Member>]) -> Vec<String> {
    let set = |members: &[Member]| {
        let mut all: Vec<_> = members
            .iter()
            .filter(|m| m.is_there())
            .map(|m| format!("{}:{} {:?} weight {}", m.address, m.port, m.admin, m.weight))
            .collect();
        all.sort();
        all
    };
    let Some(first) = members.first().map(|m| set(m)) else { return Vec::new() };
    pool.lbs
        .iter()
        .zip(members)
        .skip(1)
        .filter(|(_, members)| set(members) != first)
        .map(|(lb, _)| {
            let other = pool.lbs.first().map(|lb| lb.name.as_str()).unwrap_or_default();
            format!("{} and {other} have different members in {}", lb.name, pool.name)
        })
        .collect()
}
