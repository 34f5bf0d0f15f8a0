//! The balancers of one pool, for the tools that change all of them or none.

use std::time::{Duration, Instant};

use rs_contract::{Balancer, Cloud, Error, Kind, Result};
use rs_model::member::{Drained, Member};
use rs_model::{Server, pool};

use crate::answers::Silent;
use crate::{Context, side_by_side};

/// A pool: its balancers, each as the tool needs it, with all servers of the deployment.
pub struct Balancers<L> {
    /// The pool.
    pub name: String,
    /// Deployment.
    pub deployment: String,
    /// Every server of the deployment.
    pub servers: Vec<Server>,
    /// Its balancers.
    pub lbs: Vec<L>,
    /// The servers that they are, in that order.
    of: Vec<Server>,
    /// Those that did not answer, where it is enough that others do ([`Meant::some`]).
    pub(crate) silent: Vec<Silent>,
    /// How many balancers at once.
    jobs: u16,
}

/// Which balancers of a pool are meant.
#[derive(Clone, Copy, Default)]
pub struct Meant<'a> {
    /// None may be in doubt; otherwise a doubtful one is named and left out.
    pub all: bool,
    /// Those that answer are enough: who does not hides none of the others.
    pub some: bool,
    /// Names of those that are left out.
    pub offline: &'a [String],
}

impl<L: Sync> Balancers<L> {
    /// Opens every balancer of a pool that is meant. One that is up and in doubt is named: it may serve clients.
    pub fn open(
        cx: &Context,
        cloud: &dyn Cloud,
        deployment: &str,
        name: &str,
        meant: Meant<'_>,
        make: impl Fn(&Server, &[Server]) -> Result<L>,
    ) -> Result<Balancers<L>> {
        rs_model::name::pool(name)?;
        cx.about(name);
        let servers = cloud.servers(deployment)?;
        for doubtful in pool::doubtful(&servers, name) {
            let what = format!(
                "{:?} balances {name:?} by its tags and is {}",
                doubtful.name,
                doubtful.state.word()
            );
            if meant.all {
                return Err(Error::new(Kind::Declined, what)
                    .because("it may serve clients, and nothing of it can be relied on")
                    .hint("settle or terminate it, or take its tag away; then again")
                    .untouched());
            }
            cx.warn(&format!("{what}: it is left out"));
        }
        let known = pool::balancers(&servers, name);
        if let Some(other) =
            meant.offline.iter().find(|other| known.iter().all(|lb| lb.name != **other))
        {
            return Err(Error::new(
                Kind::NotFound,
                format!("{other:?} is no operational balancer of the pool {name:?}"),
            )
            .hint(format!("its balancers: {}", names(known.iter().map(|lb| lb.name.as_str()))))
            .untouched());
        }
        let (mut lbs, mut of, mut silent) = (Vec::new(), Vec::new(), Vec::new());
        for server in known.into_iter().filter(|server| !meant.offline.contains(&server.name)) {
            let begun = Instant::now();
            match make(server, &servers) {
                Ok(lb) => {
                    lbs.push(lb);
                    of.push(server.clone());
                }
                Err(e) if meant.some => silent.push(Silent::new(cx, deployment, server, begun, e)),
                Err(e) => return Err(e),
            }
        }
        if lbs.is_empty() && silent.is_empty() {
            return Err(Error::new(
                Kind::NotFound,
                format!("no operational server of {deployment:?} balances the pool {name:?}"),
            )
            .hint(format!(
                "tag one load_balancer:active_{name}=true; pools with balancers: {}",
                names(pool::pools(&servers).iter().map(String::as_str))
            )));
        }
        Ok(Balancers {
            name: name.to_owned(),
            deployment: deployment.to_owned(),
            servers,
            lbs,
            of,
            silent,
            jobs: cx.common.jobs,
        })
    }

    /// Does something on every balancer, `--jobs` at once; one result each, in order.
    pub fn on_all<T: Send>(&self, act: impl Fn(&L) -> Result<T> + Sync) -> Vec<Result<T>> {
        side_by_side(self.jobs, &self.lbs, act)
    }

    /// Reads from every balancer, `--jobs` at once. One that does not answer is one of `lbs` no more; it is kept for
    /// [`Answers::add`].
    pub fn read<T: Send>(&mut self, cx: &Context, read: impl Fn(&L) -> Result<T> + Sync) -> Vec<T> {
        let begun = Instant::now();
        let answers = self.on_all(read);
        let mut found = Vec::new();
        let asked = std::mem::take(&mut self.lbs).into_iter().zip(std::mem::take(&mut self.of));
        for ((lb, server), answer) in asked.zip(answers) {
            match answer {
                Ok(answer) => {
                    found.push(answer);
                    self.lbs.push(lb);
                    self.of.push(server);
                }
                Err(e) => {
                    self.silent.push(Silent::new(cx, &self.deployment, &server, begun, e));
                }
            }
        }
        found
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Between two looks at what is in flight.
const POLL: Duration = Duration::from_millis(10);
/// How long a request that was cut off may take to be gone.
const CUT: Duration = Duration::from_secs(5);

/// How long requests in flight may take to end, and what becomes of them then.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// So long they may take.
    pub wait: Duration,
    /// Then they are ended; otherwise it is said that they go on.
    pub kill: bool,
}

/// Waits until what is in flight to members has ended, and ends the rest when told so. `look` reads those that count,
/// each with its balancer; `begun` is when they got nothing new any more, `before` how many they had just before.
pub fn settle<'a>(
    what: &str,
    pool: &str,
    (begun, before): (Instant, u64),
    patience: Patience,
    look: impl Fn() -> Result<Vec<(&'a dyn Balancer, Member)>>,
) -> Result<Drained> {
    let ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let busy = || -> Result<Vec<_>> {
        Ok(look()?.into_iter().filter(|(_, member)| member.sessions > 0).collect())
    };
    let mut most = before;
    let left = loop {
        let left = busy()?;
        let now: u64 = left.iter().map(|(_, member)| member.sessions).sum();
        most = most.max(now);
        if now == 0 {
            let longest_ms = if most > 0 { ms(begun).max(1) } else { 0 };
            return Ok(Drained { finished: most, killed: 0, longest_ms });
        }
        if begun.elapsed() >= patience.wait {
            if patience.kill {
                break left;
            }
            return Err(Error::new(
                Kind::TimedOut,
                format!("{what} still has {now} requests after {} ms", patience.wait.as_millis()),
            )
            .because(format!("{} of {most} have ended; it gets nothing new", most - now))
            .hint("the same again with a longer --wait, or with --kill"));
        }
        std::thread::sleep(POLL);
    };
    let cut = |left: &[(&dyn Balancer, Member)]| -> Result<u64> {
        left.iter().map(|(lb, m)| lb.kill_sessions(pool, m.address, m.port)).sum()
    };
    let killed = cut(&left)?;
    let since = Instant::now();
    loop {
        let left = busy()?;
        if left.is_empty() {
            let finished = most.saturating_sub(killed);
            return Ok(Drained { finished, killed, longest_ms: ms(begun).max(1) });
        }
        if since.elapsed() > CUT {
            return Err(Error::new(
                Kind::TimedOut,
                format!("{what} has requests that cannot be ended"),
            )
            .hint("rs-lbctl status names the process that has them: end it there"));
        }
        // one that had just come was not among them
        cut(&left)?;
        std::thread::sleep(POLL);
    }
}
