//! The balancers of a pool as one: opened, read and changed side by side.

use std::ops::Deref;
use std::time::Duration;

use rs_cli::{Balancers, Context, DebtSpec, Meant, Subject, Subjects};
use rs_contract::{Balancer, Change, Cloud, Error, Kind, Result};
use rs_drivers::look::way;
use rs_drivers::settings::Settings;
use rs_model::act::Due;
use rs_model::member::{Admin, Member};
use rs_model::pool;
use rs_model::{Server, State};

/// Between two looks at sessions.
pub const POLL: Duration = Duration::from_millis(10);

/// One balancer.
pub struct Lb {
    /// Its server's name.
    pub name: String,
    /// Its inputs.
    pub settings: Settings,
    /// Its driver.
    pub driver: Box<dyn Balancer>,
}

/// A pool: its balancers, with all servers of the deployment.
pub struct Pool {
    all: Balancers<Lb>,
    /// Balancers that are left out since they do not answer; what they miss is owed.
    pub offline: Vec<String>,
}

impl Deref for Pool {
    type Target = Balancers<Lb>;

    fn deref(&self) -> &Balancers<Lb> {
        &self.all
    }
}

/// What a plan is made from: it is carried out on nothing else.
pub struct Read {
    /// Members of each balancer, in order.
    pub members: Vec<Vec<Member>>,
    /// The digest of each balancer's configuration without our own lines, as far as it can be read.
    digests: Vec<Option<String>>,
}

fn open(cloud: &dyn Cloud, deployment: &str, server: &Server, servers: &[Server]) -> Result<Lb> {
    let (settings, channel) = way(cloud, deployment, server, servers)?;
    Ok(Lb {
        name: server.name.clone(),
        driver: rs_drivers::balancer(server, &settings, channel)?,
        settings,
    })
}

impl Pool {
    /// Opens every balancer of a pool but those that are offline, which must not answer.
    pub fn open(
        cx: &Context,
        cloud: &dyn Cloud,
        deployment: &str,
        name: &str,
        offline: &[String],
    ) -> Result<Pool> {
        let make = |server: &Server, servers: &[Server]| open(cloud, deployment, server, servers);
        let meant = Meant { offline, ..Meant::default() };
        let all = Balancers::open(cx, cloud, deployment, name, meant, make)?;
        for server in all.servers.iter().filter(|server| offline.contains(&server.name)) {
            if make(server, &all.servers)?.driver.members(name).is_ok() {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{:?} answers: it is not offline", server.name),
                )
                .because("clients that meet it would meet another pool than on the others")
                .hint("the same without --offline; take its tag away if it serves nobody")
                .untouched());
            }
        }
        Ok(Pool { all, offline: offline.to_vec() })
    }

    /// The pool as far as its balancers answer, with the members of each that does.
    pub fn answers(
        cx: &Context,
        cloud: &dyn Cloud,
        deployment: &str,
        name: &str,
    ) -> Result<(Pool, Vec<Vec<Member>>)> {
        let make = |server: &Server, servers: &[Server]| open(cloud, deployment, server, servers);
        let some = Meant { some: true, ..Meant::default() };
        let mut all = Balancers::open(cx, cloud, deployment, name, some, make)?;
        let mut members = all.read(cx, |lb| lb.driver.members(name));
        let pool = Pool { all, offline: Vec::new() };
        members.iter_mut().for_each(|members| pool.name_them(cloud, members));
        Ok((pool, members))
    }

    /// Ends the look at a pool.
    pub fn into_balancers(self) -> Balancers<Lb> {
        self.all
    }

    /// What a plan is made from.
    pub fn read(&self, cloud: &dyn Cloud) -> Result<Read> {
        let members = self.members(cloud).map_err(|e| match e.kind() {
            Kind::Unreachable => Error::new(
                Kind::Unreachable,
                format!("the pool {:?} cannot be read on every balancer", self.name),
            )
            .because(&e)
            .hint("bring that balancer back; while it is dead, --offline NAME goes on without it")
            .untouched(),
            _ => e,
        })?;
        let digests = self
            .on_all(|lb| lb.driver.configured().map(|configured| configured.digest))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        Ok(Read { members, digests })
    }

    /// Reads again, and declines when somebody else has changed what the plan was made from.
    pub fn unchanged(&self, cloud: &dyn Cloud, before: &Read) -> Result<Read> {
        let now = self.read(cloud)?;
        for (at, lb) in self.lbs.iter().enumerate() {
            let of = |read: &Read| read.members.get(at).cloned().unwrap_or_default();
            let mut found = pool::drifted(&of(before), &of(&now));
            if let (Some(Some(then)), Some(Some(since))) =
                (before.digests.get(at), now.digests.get(at))
                && then != since
            {
                let short = |digest: &str| digest.chars().take(12).collect::<String>();
                found.push(format!(
                    "the configuration had the digest {} and has {}",
                    short(then),
                    short(since)
                ));
            }
            if !found.is_empty() {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{:?} was changed by somebody else since it was read", lb.name),
                )
                .because(found.join("; "))
                .hint("rs-lbctl status shows what is there now; the same again plans anew")
                .untouched());
            }
        }
        Ok(now)
    }

    /// Members on every balancer, in order, each with the server that it is.
    pub fn members(&self, cloud: &dyn Cloud) -> Result<Vec<Vec<Member>>> {
        self.on_all(|lb| lb.driver.members(&self.name))
            .into_iter()
            .map(|members| {
                let mut members = members?;
                self.name_them(cloud, &mut members);
                Ok(members)
            })
            .collect()
    }

    /// Names the servers that members are.
    pub fn name_them(&self, cloud: &dyn Cloud, members: &mut [Member]) {
        pool::name_members(members, &self.servers, |server| {
            Settings::among(cloud, &self.deployment, server, &self.servers)
                .and_then(|settings| settings.port("APPLICATION_PORT", 8000))
                .unwrap_or(0)
        });
    }

    /// Fails when what is done could not outlast a reload on every balancer.
    pub fn can_save(&self) -> Result<()> {
        self.on_all(|lb| lb.driver.can_save(&self.name)).into_iter().collect()
    }

    /// Whether the page of a balancer is up: an unread page is no page.
    pub fn page_is_up(&self, cloud: &dyn Cloud, lb: &Lb) -> bool {
        let Some(server) = self.servers.iter().find(|server| server.name == lb.name) else {
            return false;
        };
        let open = || {
            let (settings, channel) = way(cloud, &self.deployment, server, &self.servers)?;
            rs_drivers::page(server, &settings, channel)?.active(&self.name)
        };
        open().is_ok_and(|(on, _)| on)
    }

    /// Looks at what every balancer would refuse of the changes, before any of them is changed.
    pub fn prepare(&self, changes: &[Vec<Change>]) -> Result<()> {
        let at = |lb: &Lb| self.lbs.iter().position(|known| known.name == lb.name);
        let looked = self.on_all(|lb| match at(lb).and_then(|at| changes.get(at)) {
            Some(changes) if !changes.is_empty() => lb.driver.prepare(&self.name, changes),
            _ => Ok(()),
        });
        looked.into_iter().collect()
    }

    /// Makes the changes on every balancer or on none, if everything is as it was read: whatever was changed is taken
    /// back when one fails.
    pub fn apply(&self, cloud: &dyn Cloud, before: &Read, changes: &[Vec<Change>]) -> Result<()> {
        self.unchanged(cloud, before)?;
        self.switch(&before.members, changes)
    }

    /// Makes the changes on every balancer or on none.
    pub fn switch(&self, before: &[Vec<Member>], changes: &[Vec<Change>]) -> Result<()> {
        let at = |lb: &Lb| self.lbs.iter().position(|known| known.name == lb.name);
        let results = self.on_all(|lb| match at(lb).and_then(|at| changes.get(at)) {
            Some(changes) if !changes.is_empty() => {
                lb.driver.apply(&self.name, changes).map(|_| ())
            }
            _ => Ok(()),
        });
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(e) => Err(self.take_back(before, changes, e)),
        }
    }

    /// Brings back what was before on every balancer, and says in the error whether that went well.
    pub fn take_back(&self, before: &[Vec<Member>], changes: &[Vec<Change>], why: Error) -> Error {
        let at = |lb: &Lb| self.lbs.iter().position(|known| known.name == lb.name);
        let back = self.on_all(|lb| {
            let Some(at) = at(lb) else { return Ok(()) };
            let (Some(before), Some(changes)) = (before.get(at), changes.get(at)) else {
                return Ok(());
            };
            let back: Vec<Change> = changes.iter().map(|change| inverse(before, change)).collect();
            if back.is_empty() {
                return Ok(());
            }
            lb.driver.apply(&self.name, &back).map(|_| ())
        });
        let mut left = Vec::new();
        for (lb, result) in self.lbs.iter().zip(back) {
            if let Err(e) = result {
                left.push(format!("{}: {e}", lb.name));
            }
        }
        let kind = if why.kind() == Kind::No { Kind::Declined } else { why.kind() };
        let error = |what: String| {
            let error = Error::new(kind, what).because(&why);
            match why.advice() {
                Some(hint) => error.hint(hint),
                None => error,
            }
        };
        if left.is_empty() {
            return error(format!(
                "the pool {:?} is as it was on every balancer: what was changed was taken back",
                self.name
            ))
            .untouched();
        }
        Error::new(
            Kind::Partial,
            format!(
                "the pool {:?} is half changed: taking back failed on {}",
                self.name,
                left.join("; ")
            ),
        )
        .because(&why)
        .hint(format!(
            "rs-lbctl status --pool {} says what is there; a dead balancer: --offline NAME",
            self.name
        ))
    }

    /// What an act owes to the balancers that are left out, for one server: `inverse` is what settles it there.
    pub fn owed(&self, server: &str, inverse: &[String]) -> Vec<DebtSpec> {
        self.offline
            .iter()
            .map(|lb| DebtSpec {
                key: self.offline_key(lb, server),
                reason: format!(
                    "{lb} was offline when {server} was changed in the pool {}",
                    self.name
                ),
                inverse: inverse.to_vec(),
                due: Due::Window,
                deadline: None,
                before: serde_json::Value::Null,
            })
            .collect()
    }

    /// What an act settles for one server: every balancer of it has heard.
    pub fn heard(&self, server: &str) -> Vec<String> {
        self.lbs.iter().map(|lb| self.offline_key(&lb.name, server)).collect()
    }

    fn offline_key(&self, lb: &str, server: &str) -> String {
        format!("offline:{}/{lb}/{server}", self.name)
    }

    /// Waits until the sessions that `counts` picks have ended on every balancer; what is left after `limit`.
    pub fn wait_idle(
        &self,
        limit: Duration,
        counts: impl Fn(&Member) -> bool + Sync,
    ) -> Result<u64> {
        let begun = std::time::Instant::now();
        loop {
            let mut left = 0;
            for members in self.on_all(|lb| lb.driver.members(&self.name)) {
                left += members?.iter().filter(|m| counts(m)).map(|m| m.sessions).sum::<u64>();
            }
            if left == 0 || begun.elapsed() >= limit {
                return Ok(left);
            }
            std::thread::sleep(POLL);
        }
    }
}

/// What brings a member back to what it was.
fn inverse(before: &[Member], change: &Change) -> Change {
    let (address, port) = match change {
        Change::Present { address, port, .. } | Change::Absent { address, port } => {
            (*address, *port)
        }
    };
    match before.iter().find(|m| m.is_there() && (m.address, m.port) == (address, port)) {
        Some(m) => Change::Present { address, port, id: m.id.clone(), admin: m.admin },
        None => Change::Absent { address, port },
    }
}

/// An application server among the subjects, with where its requests go.
pub struct Target {
    /// Index among the subjects.
    pub at: usize,
    /// The server.
    pub server: Server,
    /// Its inputs.
    pub settings: Option<Settings>,
    /// Where requests go; absent when it has no address (yet, or any more).
    pub place: Option<(std::net::IpAddr, u16)>,
}

/// The servers that the subjects stand for, with the index of the subject: an array stands for its operational
/// instances, as far as they do not come by themselves.
fn meant<'a>(pool: &'a Pool, subjects: &'a Subjects) -> Vec<(usize, &'a Subject, &'a Server)> {
    let mut found = Vec::new();
    for (at, item) in subjects.items.iter().enumerate() {
        if let Some(server) = item.as_server() {
            found.push((at, item, server));
        } else if let Some(array) = item.as_array() {
            let instances = pool.servers.iter().filter(|server| {
                server.array.as_deref() == Some(array.name.as_str())
                    && server.state == State::Operational
                    && subjects.servers().all(|other| other.name != server.name)
            });
            found.extend(instances.map(|server| (at, item, server)));
        }
    }
    found
}

/// The application servers among the subjects.
pub fn targets(
    cloud: &dyn Cloud,
    pool: &Pool,
    subjects: &Subjects,
    port: Option<u16>,
) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for (at, item, server) in meant(pool, subjects) {
        if server.balances(&pool.name) || server.has_role("db") || server.has_role("dns") {
            return Err(Error::new(
                Kind::Usage,
                format!("{:?} is no application server: {}", server.name, roles(item)),
            )
            .hint("--role app, or leave it out of the stream; nothing has been done"));
        }
        let settings = if item.record.planned() {
            None
        } else {
            Some(Settings::among(cloud, &pool.deployment, server, &pool.servers)?)
        };
        let port = match (port, &settings) {
            (Some(port), _) => port,
            (None, Some(settings)) => settings.port("APPLICATION_PORT", 8000)?,
            (None, None) => 8000,
        };
        found.push(Target {
            at,
            place: server.address.map(|address| (address, port)),
            server: server.clone(),
            settings,
        });
    }
    for (n, target) in found.iter().enumerate() {
        if let Some(place) = target.place
            && let Some(other) = found[..n].iter().find(|other| other.place == Some(place))
        {
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "{:?} and {:?} have the same address and port",
                    other.server.name, target.server.name
                ),
            )
            .hint("APPLICATION_PORT of each says where it answers"));
        }
    }
    Ok(found)
}

fn roles(item: &Subject) -> String {
    let tags = item.as_server().map(|server| server.tags.iter().cloned().collect::<Vec<_>>());
    format!("its tags are {}", tags.unwrap_or_default().join(", "))
}

impl Target {
    /// Fails unless it can serve now.
    pub fn must_serve(&self) -> Result<(std::net::IpAddr, u16)> {
        match self.place {
            Some(place) if self.server.state == State::Operational || self.server.foreign => {
                Ok(place)
            }
            _ => Err(Error::new(
                Kind::Declined,
                format!("{:?} is {}", self.server.name, self.server.state.word()),
            )
            .hint("rs-server launch it first; only an operational server is connected")
            .untouched()),
        }
    }

    /// Whether a member is this server. By address, and by port too where another server has that address.
    pub fn is(&self, member: &Member) -> bool {
        match &member.server {
            Some(name) => *name == self.server.name,
            None => self.place == Some((member.address, member.port)),
        }
    }
}

/// One change for each wish.
pub fn present(server: &Server, place: (std::net::IpAddr, u16), admin: Admin) -> Change {
    Change::Present { address: place.0, port: place.1, id: server.name.clone(), admin }
}

/// The pool that a changing verb was given.
pub fn named(pool: Option<String>) -> Result<String> {
    let pool = pool.ok_or_else(|| {
        Error::new(Kind::Usage, "no pool is named")
            .hint("--pool www; rs-lbctl status shows the pools")
    })?;
    rs_model::name::pool(&pool)?;
    Ok(pool)
}
