//! `connect`: servers into a pool, on every balancer or on none.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Owing, Select, Step};
use rs_contract::{Change, Cloud, Error, Kind, Result, Retag};
use rs_model::act::Due;
use rs_model::member::{Admin, Member};
use rs_model::pool::{self, Wish};
use serde_json::{Value as Json, json};

use crate::balancers::{Pool, Read, Target, named, present, targets};
use crate::probe;

#[derive(Args)]
pub struct Connect {
    #[command(flatten)]
    select: Select,
    /// TCP port of the application [default: APPLICATION_PORT of each, else 8000]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Present, but in maint: gets no request
    #[arg(long)]
    standby: bool,
    /// The pool becomes exactly these: everybody else goes, in the same act
    #[arg(long, conflicts_with = "standby")]
    only: bool,
    /// Each must say this release (VERSION_URI, /version), before and after
    #[arg(long, value_name = "RELEASE", conflicts_with_all = ["standby", "no_probe"])]
    expect_release: Option<String>,
    /// Do not ask the applications before they get traffic
    #[arg(long)]
    no_probe: bool,
    /// How long the applications may take to answer: those started beside a migration do when it has ended
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "10s")]
    answer_within: Duration,
    /// Change the running balancers even where that cannot outlast a reload (owed until it does)
    #[arg(long)]
    runtime_only: bool,
    /// With --only: how long the requests of those that go may take to end
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "30s")]
    wait: Duration,
    /// Go on without this balancer, which does not answer (owed until it has heard)
    #[arg(long, value_name = "BALANCER")]
    offline: Vec<String>,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

pub fn run(cx: &Context, mut args: Connect) -> anyhow::Result<Exit> {
    // --pool names where to, not which
    let name = named(args.select.pool.take())?;
    args.wait = args.wait.min(cx.common.timeout);
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, &args.select, &args.changing)?;
    let pool = Pool::open(cx, cloud, &deployment, &name, &args.offline)?;
    let targets = targets(cloud, &pool, &subjects, args.port)?;
    if targets.is_empty() {
        return cx.pass_on(&subjects, Exit::Done);
    }
    let mut plan = Plan::make(cx, cloud, &pool, &args, targets)?;
    if !cx.dry() && plan.is_needed() {
        // the balancers look at it while the applications may still be on their way
        pool.prepare(&plan.changes(plan.at_once(cloud))).map_err(Error::untouched)?;
        plan.ask_first(&args)?;
        // that may have taken its time
        plan.look_again(cloud, &args)?;
    } else if !plan.is_needed() && args.expect_release.is_some() {
        plan.ask_first(&args)?;
    }
    let steps: Vec<Step> = plan.targets.iter().map(|target| plan.step(&args, target)).collect();
    let exit = cx.together(world.state.as_ref(), &deployment, &mut subjects, &steps, |todo| {
        plan.carry_out(cx, cloud, &args)?;
        let after = pool.members(cloud)?;
        todo.iter()
            .map(|step| {
                let target = plan.targets.iter().find(|target| target.at == step.at);
                let mine = target.map(|target| mine(target, &after)).unwrap_or_default();
                Ok(Done::now(brief(&mine)).nest("members", mine))
            })
            .collect()
    });
    let exit = exit?;
    if !plan.is_needed() && !cx.dry() {
        // an earlier call may have been cut off before it came to the tags
        plan.tag(cx, cloud, &args);
    }
    cx.refresh(cloud, &deployment, &mut subjects)?;
    for target in &plan.targets {
        if let Some(item) = subjects.items.get_mut(target.at)
            && !item.record.body.contains_key("members")
            && !cx.dry()
        {
            item.record.nest("members", mine(target, &plan.before.members));
        }
    }
    cx.pass_on(&subjects, exit)
}

/// The members that a server is, on every balancer.
pub fn mine(target: &Target, all: &[Vec<Member>]) -> Vec<Member> {
    all.iter().flatten().filter(|member| target.is(member)).cloned().collect()
}

/// As it stands in `before` and `after`.
pub fn brief(members: &[Member]) -> Json {
    members
        .iter()
        .map(|m| json!({"balancer": m.balancer, "pool": m.pool, "id": m.id, "admin": m.admin, "port": m.port}))
        .collect()
}

struct Plan<'a> {
    pool: &'a Pool,
    targets: Vec<Target>,
    wishes: Vec<Wish>,
    before: Read,
    /// Members of each balancer that go, with `--only`.
    extras: Vec<Vec<Member>>,
    /// Balancers that cannot save.
    unsaved: Vec<String>,
}

impl<'a> Plan<'a> {
    fn make(
        cx: &Context,
        cloud: &dyn Cloud,
        pool: &'a Pool,
        args: &Connect,
        targets: Vec<Target>,
    ) -> Result<Plan<'a>> {
        let admin = if args.standby { Admin::Maint } else { Admin::Ready };
        let mut wishes = Vec::new();
        for target in &targets {
            let place = match target.must_serve() {
                // what an earlier dry run would launch has no address yet
                Err(_) if cx.dry() && target.settings.is_none() => continue,
                place => place?,
            };
            wishes.push(Wish {
                server: target.server.name.clone(),
                address: place.0,
                port: place.1,
                admin,
            });
        }
        let before = pool.read(cloud)?;
        let mut unsaved = Vec::new();
        for (lb, result) in pool.lbs.iter().zip(pool.on_all(|lb| lb.driver.can_save(&pool.name))) {
            match result {
                Err(e) if e.kind() == Kind::Declined && args.runtime_only => {
                    unsaved.push(lb.name.clone());
                }
                result => result.map_err(Error::untouched)?,
            }
        }
        let extras = extras(args, &before.members, &wishes);
        Ok(Plan { pool, targets, wishes, before, extras, unsaved })
    }

    fn look_again(&mut self, cloud: &dyn Cloud, args: &Connect) -> Result<()> {
        self.before = self.pool.unchanged(cloud, &self.before)?;
        self.extras = extras(args, &self.before.members, &self.wishes);
        Ok(())
    }

    /// Whether those that go may go in the same batch: they have no request, and behind the page get none.
    fn at_once(&self, cloud: &dyn Cloud) -> bool {
        self.extras.iter().flatten().all(|member| member.sessions == 0)
            && self.pool.lbs.iter().all(|lb| self.pool.page_is_up(cloud, lb))
    }

    /// What becomes of each balancer's members. Those that go are deleted (`at_once`), or only get nothing new: then
    /// they are deleted when all balancers have switched.
    fn changes(&self, at_once: bool) -> Vec<Vec<Change>> {
        let leave = |m: &Member| match at_once {
            true => Change::Absent { address: m.address, port: m.port },
            false => Change::Present {
                address: m.address,
                port: m.port,
                id: m.id.clone(),
                admin: Admin::Maint,
            },
        };
        self.extras
            .iter()
            .map(|extras| {
                let wished = self.targets.iter().filter_map(|target| {
                    let wish = self.wishes.iter().find(|w| w.server == target.server.name)?;
                    Some(present(&target.server, (wish.address, wish.port), wish.admin))
                });
                let leaving = extras.iter().filter(|m| at_once || m.is_there()).map(leave);
                wished.chain(leaving).collect()
            })
            .collect()
    }

    fn is_so(&self, target: &Target) -> bool {
        let Some(wish) = self.wishes.iter().find(|wish| wish.server == target.server.name) else {
            return false;
        };
        self.pool
            .lbs
            .iter()
            .zip(&self.before.members)
            .all(|(lb, members)| wish.is_so(members, !self.unsaved.contains(&lb.name)))
    }

    fn has_extras(&self) -> bool {
        self.extras.iter().any(|extras| !extras.is_empty())
    }

    fn is_needed(&self) -> bool {
        self.has_extras() || !self.targets.iter().all(|target| self.is_so(target))
    }

    /// Our own request to each, before any of them gets traffic.
    fn ask_first(&self, args: &Connect) -> Result<()> {
        if args.no_probe || args.standby {
            return Ok(());
        }
        let answers = self.ask_all(args);
        let mut failed = answers.into_iter().filter_map(Result::err);
        let Some(first) = failed.next() else { return Ok(()) };
        let more = failed.count();
        Err(Error::new(
            Kind::Declined,
            match more {
                0 => "one application does not answer as it should; nothing was changed".to_owned(),
                more => format!(
                    "{} applications do not answer as they should; nothing was changed",
                    more + 1
                ),
            },
        )
        .because(&first)
        .hint(first.advice().unwrap_or("--no-probe connects it all the same"))
        .untouched())
    }

    fn ask_all(&self, args: &Connect) -> Vec<Result<()>> {
        let release = args.expect_release.as_deref();
        let limit = args.answer_within;
        std::thread::scope(|scope| {
            let running: Vec<_> = self
                .targets
                .iter()
                .filter_map(|target| Some((target.settings.as_ref()?, target.place?, target)))
                .map(|(settings, place, target)| {
                    scope.spawn(move || {
                        probe::serves(settings, place, release, limit).map_err(|e| {
                            let hint = e.advice().unwrap_or_default().to_owned();
                            Error::new(e.kind(), format!("{:?}: {e}", target.server.name))
                                .hint(hint)
                        })
                    })
                })
                .collect();
            running
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(Error::new(Kind::Failed, "a probe was cut off")))
                })
                .collect()
        })
    }

    fn step(&self, args: &Connect, target: &Target) -> Step {
        let pool = &self.pool.name;
        let name = &target.server.name;
        let there = mine(target, &self.before.members);
        let admin = if args.standby { Admin::Maint } else { Admin::Ready };
        let deployment = self.pool.deployment.as_str();
        let inverse = |verb: &str| -> Vec<String> {
            ["rs-lbctl", verb, "--pool", pool, "--deployment", deployment, "--", name]
                .map(str::to_owned)
                .into()
        };
        let mut opens = Vec::new();
        if args.standby {
            opens.push(DebtSpec {
                key: format!("standby:{pool}/{name}"),
                reason: format!("stands by in the pool {pool}"),
                inverse: inverse("disconnect"),
                due: Due::Window,
                deadline: None,
                before: brief(&there),
            });
        }
        if !self.unsaved.is_empty() {
            opens.push(DebtSpec {
                key: format!("runtime-only:{name}"),
                reason: format!(
                    "a reload of {} would not bring it back into {pool}",
                    self.unsaved.join(", ")
                ),
                inverse: inverse("connect"),
                due: Due::After,
                deadline: None,
                before: Json::Null,
            });
        }
        // what an offline balancer misses: with --only that others left, too
        let all: Vec<&str> = self.targets.iter().map(|t| t.server.name.as_str()).collect();
        let mut again: Vec<&str> =
            vec!["rs-lbctl", "connect", "--pool", pool, "--deployment", deployment];
        again.extend(args.standby.then_some("--standby"));
        again.extend(args.only.then_some("--only"));
        again.push("--");
        again.extend(if args.only { all } else { vec![name.as_str()] });
        let again: Vec<String> = again.into_iter().map(str::to_owned).collect();
        opens.extend(self.pool.owed(name, &again));
        let mut settles = self.pool.heard(name);
        if !args.standby {
            settles.push(format!("standby:{pool}/{name}"));
        }
        if self.unsaved.is_empty() {
            settles.push(format!("runtime-only:{name}"));
        }
        let balancers: Vec<Json> = self
            .pool
            .lbs
            .iter()
            .map(|lb| json!({"balancer": lb.name, "pool": pool, "admin": admin}))
            .collect();
        let gone: BTreeSet<String> = self
            .extras
            .iter()
            .flatten()
            .map(|m| m.server.clone().unwrap_or(m.id.clone()))
            .collect();
        let undo = if gone.is_empty() {
            inverse("disconnect")
        } else {
            let call =
                ["rs-lbctl", "connect", "--pool", pool, "--deployment", deployment, "--only", "--"];
            call.into_iter().map(str::to_owned).chain(gone).collect()
        };
        Step {
            at: target.at,
            needed: self.has_extras() || !self.is_so(target),
            before: brief(&there),
            expect: balancers.into(),
            undo: Some(rs_cli::shell_words(&undo)),
            opens,
            settles,
            ..Step::default()
        }
    }

    fn carry_out(&self, cx: &Context, cloud: &dyn Cloud, args: &Connect) -> Result<()> {
        let at_once = self.at_once(cloud);
        let changes = self.changes(at_once);
        self.pool.apply(cloud, &self.before, &changes)?;
        if !args.no_probe && !args.standby {
            let failed: Vec<Error> =
                self.ask_all(args).into_iter().filter_map(Result::err).collect();
            if let Some(first) = failed.into_iter().next() {
                return Err(self.pool.take_back(&self.before.members, &changes, first));
            }
        }
        self.tag(cx, cloud, args);
        if self.has_extras() && !at_once {
            self.remove_extras(args)?;
        }
        Ok(())
    }

    fn remove_extras(&self, args: &Connect) -> Result<()> {
        let at = |member: &Member| (member.address, member.port);
        let leaving: BTreeSet<_> = self.extras.iter().flatten().map(at).collect();
        let left = self.pool.wait_idle(args.wait, |m| m.is_there() && leaving.contains(&at(m)))?;
        if left > 0 {
            return Err(Error::new(
                Kind::TimedOut,
                format!("the pool {:?} is switched, and {left} requests to its old members go on", self.pool.name),
            )
            .hint(format!("they get nothing new; rs-lbctl drain --pool {} --kill ends them, then the same again", self.pool.name)));
        }
        let position = |name: &str| self.pool.lbs.iter().position(|lb| lb.name == name);
        let results = self.pool.on_all(|lb| {
            let Some(extras) = position(&lb.name).and_then(|at| self.extras.get(at)) else {
                return Ok(());
            };
            let gone: Vec<Change> = extras
                .iter()
                .map(|m| Change::Absent { address: m.address, port: m.port })
                .collect();
            if gone.is_empty() {
                Ok(())
            } else {
                lb.driver.apply(&self.pool.name, &gone).map(|_| ())
            }
        });
        results.into_iter().collect()
    }

    /// Tags find things, the runtime is the truth: a tag that cannot be set is told, and nothing is taken back. With
    /// `--only`, whoever is tagged as in the pool and does not belong there is out of it, also when an earlier call was
    /// cut off before it came to the tags.
    fn tag(&self, cx: &Context, cloud: &dyn Cloud, args: &Connect) {
        let come: BTreeSet<&str> = self.targets.iter().map(|t| t.server.name.as_str()).collect();
        let extras = self.extras.iter().flatten().filter_map(|m| m.server.as_deref());
        let (is, _) = pool::tags(&self.pool.name);
        let tagged = self
            .pool
            .servers
            .iter()
            .filter(|s| args.only && s.tags.contains(&is) && (s.state.is_up() || s.foreign));
        let gone: BTreeSet<&str> = extras
            .chain(tagged.map(|s| s.name.as_str()))
            .filter(|name| !come.contains(name))
            .collect();
        let come: Vec<&str> = if args.standby { Vec::new() } else { come.into_iter().collect() };
        let gone: Vec<&str> = gone.into_iter().collect();
        set_tags(cx, cloud, self.pool, &come, &gone, &[]);
    }
}

/// Members of each balancer that go, with `--only`.
fn extras(args: &Connect, before: &[Vec<Member>], wishes: &[Wish]) -> Vec<Vec<Member>> {
    before
        .iter()
        .map(|members| {
            let extras = pool::extras(members, wishes).into_iter().cloned();
            if args.only { extras.collect() } else { Vec::new() }
        })
        .collect()
}

/// Tags servers as in the pool (`come`) and as out of it (`gone`), and the arrays that they are instances of as what
/// their instances are. `left`: who else is in the pool.
pub fn set_tags(
    cx: &Context,
    cloud: &dyn Cloud,
    pool: &Pool,
    come: &[&str],
    gone: &[&str],
    left: &[&str],
) {
    let one = |tag: &String| BTreeSet::from([tag.clone()]);
    let (is, was) = pool::tags(&pool.name);
    let swap = |there: bool| if there { (&is, &was) } else { (&was, &is) };
    let both = come.iter().map(|name| (name, true)).chain(gone.iter().map(|name| (name, false)));
    let changes: Vec<Retag> = both
        .filter_map(|(name, there)| {
            let (add, remove) = swap(there);
            let known = pool.servers.iter().find(|server| server.name == **name);
            let so = known.is_some_and(|s| s.tags.contains(add) && !s.tags.contains(remove));
            let change = || Retag { server: (*name).into(), add: one(add), remove: one(remove) };
            (!so).then(change)
        })
        .collect();
    if !changes.is_empty() && cloud.retag(&pool.deployment, &changes).is_err() {
        // one that cannot be tagged does not keep the others from it
        for change in &changes {
            if let Err(e) = cloud.retag(&pool.deployment, std::slice::from_ref(change)) {
                cx.warn(&format!("{:?} cannot be tagged {:?}: {e}", change.server, change.add));
            }
        }
    }
    let wanted = pool::arrays(&pool.servers, come, gone, left);
    if wanted.is_empty() {
        return;
    }
    let told = cloud.arrays(&pool.deployment).and_then(|arrays| {
        for array in arrays {
            let Some((add, remove)) = wanted.get(array.name.as_str()).map(|there| swap(*there))
            else {
                continue;
            };
            if !array.tags.contains(add) || array.tags.contains(remove) {
                let target = rs_contract::Target::Array(array.name.clone());
                cloud.set_tags(&pool.deployment, &target, &one(add), &one(remove))?;
            }
        }
        Ok(())
    });
    if let Err(e) = told {
        cx.warn(&format!(
            "arrays cannot be tagged as their instances are in the pool {:?}: {e}",
            pool.name
        ));
    }
}
