//! `disconnect` and `drain`.

use std::time::{Duration, Instant};

use clap::Args;
use rs_cli::{Changing, Context, Done, Exit, Patience, Select, Step, Subjects};
use rs_contract::{Change, Cloud, Error, Kind, Result, World};
use rs_model::member::{Admin, Drained, Member};
use rs_model::pool;
use serde_json::json;

use crate::balancers::{Pool, Read, Target, named, targets};
use crate::connect::{brief, mine, set_tags};

#[derive(Args)]
struct Which {
    #[command(flatten)]
    select: Select,
    /// TCP port of the application [default: APPLICATION_PORT of each, else 8000]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// How long requests in flight may take to end
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "30s")]
    wait: Duration,
    /// End what is in flight after that: its clients get an error
    #[arg(long)]
    kill: bool,
    /// Leave the pool without a member that gets traffic, though its page is not up
    #[arg(long)]
    allow_empty: bool,
    /// Go on without this balancer, which does not answer (owed until it has heard)
    #[arg(long, value_name = "BALANCER")]
    offline: Vec<String>,
    #[command(flatten)]
    changing: Changing,
}

#[derive(Args)]
pub struct Disconnect {
    #[command(flatten)]
    which: Which,
    /// Change the running balancers even where that cannot outlast a reload
    #[arg(long)]
    runtime_only: bool,
}

#[derive(Args)]
pub struct Drain {
    #[command(flatten)]
    which: Which,
}

struct Job {
    world: World,
    deployment: String,
    subjects: Subjects,
    pool: Pool,
    targets: Vec<Target>,
    before: Read,
}

impl Job {
    fn open(cx: &Context, which: &mut Which) -> Result<Job> {
        // --pool names where from, not which
        let name = named(which.select.pool.take())?;
        which.wait = which.wait.min(cx.common.timeout);
        let world = rs_drivers::world(&cx.place()?)?;
        let cloud = world.cloud.as_ref();
        let (deployment, subjects) = cx.subjects(cloud, &which.select, &which.changing)?;
        let pool = Pool::open(cx, cloud, &deployment, &name, &which.offline)?;
        let targets = targets(cloud, &pool, &subjects, which.port)?;
        let before = pool.read(cloud)?;
        Ok(Job { world, deployment, subjects, pool, targets, before })
    }

    fn cloud(&self) -> &dyn Cloud {
        self.world.cloud.as_ref()
    }

    /// Whether the server is a member anywhere.
    fn members_of(&self, target: &Target) -> Vec<Member> {
        mine(target, &self.before.members)
    }

    /// The last member that gets traffic is not taken away while users come.
    fn guard_last(&self, allow_empty: bool) -> Result<()> {
        if allow_empty {
            return Ok(());
        }
        for (lb, members) in self.pool.lbs.iter().zip(&self.before.members) {
            let gone: Vec<_> = members
                .iter()
                .filter(|member| self.targets.iter().any(|target| target.is(member)))
                .map(|member| (member.address, member.port))
                .collect();
            if pool::would_be_empty(members, &gone) && !self.pool.page_is_up(self.cloud(), lb) {
                return Err(Error::new(
                    Kind::Declined,
                    format!(
                        "{:?} would have no member left in {:?} that gets traffic, and no page is up",
                        lb.name, self.pool.name
                    ),
                )
                .hint(format!(
                    "rs-maintenance start --pool {} first, connect others, or --allow-empty",
                    self.pool.name
                ))
                .untouched());
            }
        }
        Ok(())
    }

    /// One change for each member that is one of the targets, on each balancer.
    fn changes(
        &self,
        targets: &[&Target],
        change: impl Fn(&Member) -> Option<Change>,
    ) -> Vec<Vec<Change>> {
        self.before
            .members
            .iter()
            .map(|members| {
                members
                    .iter()
                    .filter(|member| targets.iter().any(|target| target.is(member)))
                    .filter_map(&change)
                    .collect()
            })
            .collect()
    }

    /// Waits until what is in flight to a server has ended, and ends the rest when told so: the receipt.
    fn settle(&self, target: &Target, begun: Instant, which: &Which) -> Result<Drained> {
        let patience = Patience { wait: which.wait, kill: which.kill };
        let what = format!("{:?}", target.server.name);
        let before = self.members_of(target).iter().map(|member| member.sessions).sum();
        rs_cli::settle(&what, &self.pool.name, (begun, before), patience, || {
            let members = self.pool.members(self.cloud())?;
            let lbs = self.pool.lbs.iter().map(|lb| lb.driver.as_ref());
            Ok(lbs
                .zip(members)
                .flat_map(|(lb, members)| members.into_iter().map(move |member| (lb, member)))
                .filter(|(_, member)| target.is(member))
                .collect())
        })
    }

    fn step(&self, verb: &str, target: &Target, needed: bool, after: serde_json::Value) -> Step {
        let name = &target.server.name;
        let (pool, deployment) = (&self.pool.name, &self.deployment);
        let call =
            |verb| ["rs-lbctl", verb, "--pool", pool, "--deployment", deployment, "--", name];
        let mut settles = self.pool.heard(name);
        if verb == "disconnect" {
            settles.push(format!("standby:{}/{name}", self.pool.name));
            settles.push(format!("runtime-only:{name}"));
        }
        Step {
            at: target.at,
            needed,
            before: brief(&self.members_of(target)),
            expect: after,
            undo: Some(rs_cli::shell_words(&call("connect").map(str::to_owned))),
            opens: self.pool.owed(name, &call(verb).map(str::to_owned)),
            settles,
            ..Step::default()
        }
    }

    fn of(&self, step: &Step) -> Result<&Target> {
        self.targets
            .iter()
            .find(|target| target.at == step.at)
            .ok_or_else(|| Error::new(Kind::Failed, "an act without a server"))
    }
}

pub fn disconnect(cx: &Context, mut args: Disconnect) -> anyhow::Result<Exit> {
    let job = Job::open(cx, &mut args.which)?;
    let which = &args.which;
    let there = |target: &Target| {
        job.members_of(target).iter().any(|m| m.is_there() || m.saved == Some(false))
    };
    if job.targets.iter().any(there) {
        job.guard_last(which.allow_empty)?;
        if !args.runtime_only {
            job.pool.can_save().map_err(Error::untouched)?;
        }
    }
    let steps: Vec<Step> = job
        .targets
        .iter()
        .map(|target| job.step("disconnect", target, there(target), json!([])))
        .collect();
    let mut subjects = job.subjects.clone();
    let state = job.world.state.as_ref();
    let exit = cx.together(state, &job.deployment, &mut subjects, &steps, |todo| {
        let going = todo.iter().map(|step| job.of(step)).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        let out = job.changes(&going, |m| {
            m.is_there().then(|| Change::Present {
                address: m.address,
                port: m.port,
                id: m.id.clone(),
                admin: Admin::Maint,
            })
        });
        job.pool.apply(job.cloud(), &job.before, &out)?;
        let receipts = going
            .iter()
            .map(|target| job.settle(target, begun, which))
            .collect::<Result<Vec<_>>>()?;
        let gone =
            job.changes(&going, |m| Some(Change::Absent { address: m.address, port: m.port }));
        job.pool.switch(&job.before.members, &gone)?;
        let after = job.pool.members(job.cloud())?;
        let names: Vec<&str> = going.iter().map(|target| target.server.name.as_str()).collect();
        set_tags(cx, job.cloud(), &job.pool, &[], &names, &served(&after));
        going
            .iter()
            .zip(receipts)
            .map(|(target, receipt)| {
                let left = mine(target, &after);
                Ok(Done::now(brief(&left)).nest("members", left).nest("drain", receipt))
            })
            .collect()
    })?;
    if !cx.dry() {
        // those that were out already: an earlier call may have been cut off before it came to the tags
        let out = job.targets.iter().filter(|target| !there(target));
        let tagged: Vec<&str> = out
            .filter(|target| target.server.tags.contains(&pool::tags(&job.pool.name).0))
            .map(|target| target.server.name.as_str())
            .collect();
        set_tags(cx, job.cloud(), &job.pool, &[], &tagged, &served(&job.before.members));
    }
    cx.refresh(job.cloud(), &job.deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// The servers that get traffic on any balancer.
fn served(members: &[Vec<Member>]) -> Vec<&str> {
    let serving = |m: &&Member| m.is_there() && m.admin != Admin::Maint;
    members.iter().flatten().filter(serving).filter_map(|m| m.server.as_deref()).collect()
}

pub fn drain(cx: &Context, mut args: Drain) -> anyhow::Result<Exit> {
    let job = Job::open(cx, &mut args.which)?;
    let which = &args.which;
    let takes = |target: &Target| {
        job.members_of(target)
            .iter()
            .any(|m| (m.is_there() && m.admin == Admin::Ready) || m.sessions > 0)
    };
    if job.targets.iter().any(takes) {
        job.guard_last(which.allow_empty)?;
    }
    let steps: Vec<Step> = job
        .targets
        .iter()
        .map(|target| {
            let after =
                job.members_of(target).into_iter().map(|m| Member { admin: Admin::Drain, ..m });
            job.step("drain", target, takes(target), brief(&after.collect::<Vec<_>>()))
        })
        .collect();
    let mut subjects = job.subjects.clone();
    let state = job.world.state.as_ref();
    let exit = cx.together(state, &job.deployment, &mut subjects, &steps, |todo| {
        let going = todo.iter().map(|step| job.of(step)).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        let out = job.changes(&going, |m| {
            // one in maint gets nothing either: it stays so
            (m.is_there() && m.admin == Admin::Ready).then(|| Change::Present {
                address: m.address,
                port: m.port,
                id: m.id.clone(),
                admin: Admin::Drain,
            })
        });
        job.pool.apply(job.cloud(), &job.before, &out)?;
        let receipts = going
            .iter()
            .map(|target| job.settle(target, begun, which))
            .collect::<Result<Vec<_>>>()?;
        let after = job.pool.members(job.cloud())?;
        Ok(going
            .iter()
            .zip(receipts)
            .map(|(target, receipt)| {
                let left = mine(target, &after);
                Done::now(brief(&left)).nest("members", left).nest("drain", receipt)
            })
            .collect())
    })?;
    cx.refresh(job.cloud(), &job.deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}
