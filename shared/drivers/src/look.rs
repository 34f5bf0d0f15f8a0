//! The world as all families together show it, for whoever compares it with what was written down.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use crate::settings::Settings;
use rs_contract::{Balancer, Cloud, Command, Database, Error, Kind, PageSwitch, Result};
use rs_model::act::Debt;
use rs_model::journal::Left;
use rs_model::replica::{Identity, judge_replicating};
use rs_model::retire::{DEPLOYMENT, DatabaseSeen, World};
use rs_model::snapshot::{Snapshot, stands_for};
use rs_model::{Answer, Array, Member, Server};

/// How long a machine has to show that it is there.
const KNOCK: Duration = Duration::from_secs(10);

/// A deployment's servers and arrays, and the way to ask them.
pub struct Look<'a> {
    /// The control plane.
    pub cloud: &'a dyn Cloud,
    /// Its deployment.
    pub deployment: &'a str,
    /// Servers and instances, as the control plane lists them.
    pub servers: Vec<Server>,
    /// Arrays.
    pub arrays: Vec<Array>,
}

/// What a driver is opened with: a server's settings, and the way to it where there is one.
pub fn way(
    cloud: &dyn Cloud,
    deployment: &str,
    server: &Server,
    servers: &[Server],
) -> Result<(Settings, Option<Box<dyn rs_contract::Channel>>)> {
    // one that we did not launch is asked over the network
    let channel = if server.foreign { None } else { Some(cloud.channel(server)?) };
    Ok((Settings::among(cloud, deployment, server, servers)?, channel))
}

/// Whether a server's machine is there, asked of itself: it runs a command, or, where we did not launch it, answers at its
/// application's port, if only that nobody listens.
pub fn answers(
    cloud: &dyn Cloud,
    deployment: &str,
    server: &Server,
    servers: &[Server],
) -> Result<()> {
    let silent = |why: String| {
        Error::new(Kind::Unreachable, format!("the machine of {:?} does not answer", server.name))
            .because(why)
            .hint("bring it back, or end it when it is dead for good")
    };
    if server.foreign {
        let settings = Settings::among(cloud, deployment, server, servers)?;
        let at = (settings.address()?, settings.port("APPLICATION_PORT", 8000)?).into();
        return match TcpStream::connect_timeout(&at, crate::patience(KNOCK)) {
            Err(e) if e.kind() != ErrorKind::ConnectionRefused => Err(silent(e.to_string())),
            _ => Ok(()),
        };
    }
    let command = Command {
        argv: vec!["true".to_owned()],
        timeout: crate::patience(KNOCK),
        ..Command::default()
    };
    let said = cloud.channel(server)?.run(&command, &|_| ()).map_err(|e| silent(e.to_string()))?;
    match said.exit {
        0 => Ok(()),
        exit => Err(silent(format!("it runs no command (exit {exit})"))),
    }
}

impl<'a> Look<'a> {
    /// Reads what the control plane knows; nobody else is asked yet.
    pub fn new(cloud: &'a dyn Cloud, deployment: &'a str) -> Result<Look<'a>> {
        let (servers, arrays) = (cloud.servers(deployment)?, cloud.arrays(deployment)?);
        Ok(Look { cloud, deployment, servers, arrays })
    }

    /// A server or instance by its name.
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// What is there of a subject of the journal: `server NAME`, `array NAME`.
    pub fn left(&self, subject: &str) -> Left {
        let server = |name: &str| match self.server(name) {
            Some(server) if server.state.is_up() || server.foreign => Left::All,
            Some(_) => Left::Definition,
            None => Left::Nothing,
        };
        match subject.split_once(' ') {
            Some(("server", name)) => server(name),
            Some(("array", name)) if self.arrays.iter().all(|array| array.name != name) => {
                Left::Nothing
            }
            _ => Left::All,
        }
    }

    /// What a server or an array of that name is in a run.
    pub fn part(&self, name: &str, run: &str) -> Option<&str> {
        let array = || self.arrays.iter().find(|array| array.name == name);
        match self.server(name) {
            Some(server) => server.part(run),
            None => array()?.part(run),
        }
    }

    /// The database server that is asked for the backups of a lineage: the master where there is one.
    pub fn of_lineage(&self, lineage: &str) -> Result<Option<&Server>> {
        let mut found = None;
        for server in &self.servers {
            if let Some((set, master)) = server.database_set()
                && (master || found.is_none())
                && self.lineage(server, set)? == lineage
            {
                found = Some(server);
                if master {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Who is named in the place of the server with which a debt of a backup ends, when that is defined no more: the
    /// backup stays.
    pub fn stand_in(&self, debt: &Debt) -> Option<&str> {
        let named = debt.inverse.last().filter(|_| debt.kind == "pin")?;
        let (lineage, _) = debt.key.strip_prefix("pin:")?.split_once('/')?;
        let gone = self.server(named).is_none();
        gone.then(|| self.of_lineage(lineage).ok()?).flatten().map(|server| server.name.as_str())
    }

    fn channel(&self, server: &Server) -> Result<Option<Box<dyn rs_contract::Channel>>> {
        match self.cloud.channel(server) {
            Ok(channel) => Ok(Some(channel)),
            // one that we did not launch is asked over the network
            Err(e) if e.kind() == Kind::Declined => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A balancer's driver.
    pub fn balancer(&self, server: &Server) -> Result<Box<dyn Balancer>> {
        crate::balancer(server, &self.settings_of(server)?, self.channel(server)?)
    }

    /// A balancer's page.
    pub fn page(&self, server: &Server) -> Result<Box<dyn PageSwitch>> {
        crate::page(server, &self.settings_of(server)?, self.channel(server)?)
    }

    /// A database server's driver.
    pub fn database(&self, server: &Server) -> Result<Box<dyn Database>> {
        crate::database(server, &self.settings_of(server)?, self.channel(server)?, None)
    }

    /// A server's settings.
    pub fn settings_of(&self, server: &Server) -> Result<Settings> {
        Settings::among(self.cloud, self.deployment, server, &self.servers)
    }

    /// Balancers that are up.
    pub fn balancers(&self) -> impl Iterator<Item = &Server> {
        self.servers
            .iter()
            .filter(|server| server.has_role("lb") && (server.state.is_up() || server.foreign))
    }

    /// The facts on which it is decided what may end: members, and of every database set that loses a server who uses,
    /// follows and backs up what.
    pub fn evidence(&self, ending: &dyn Fn(&Server) -> bool, debts: &[Debt], now: &str) -> World {
        let mut world = self.facts(ending);
        for server in self.balancers().filter(|server| ending(server)) {
            match self.members_of(server) {
                Ok(members) => world.balanced.extend(members),
                // one whose process is gone carries nothing
                Err(_) if self.balancer(server).is_ok_and(|balancer| !balancer.may_run()) => {}
                Err(e) => drop(world.silent.insert(server.name.clone(), e.to_string())),
            }
        }
        let up = |server: &&Server| server.state.is_up() || server.foreign;
        let sets: BTreeSet<&str> = self
            .servers
            .iter()
            .filter(|server| ending(server) && server.state.is_up())
            .filter_map(Server::set_or_fenced)
            .collect();
        for set in sets {
            let all: Vec<&Server> =
                self.servers.iter().filter(up).filter(|s| s.set_or_fenced() == Some(set)).collect();
            let identities: Vec<(&Server, Identity)> = all
                .iter()
                .filter_map(|s| Some((*s, self.database(s).ok()?.identity().ok()?)))
                .collect();
            for server in &all {
                let seen = self.see(server, &identities).map_err(|e| e.to_string());
                world.databases.insert(server.name.clone(), seen);
            }
            world
                .backups
                .insert(set.to_owned(), self.backups(set, &all).map_err(|e| e.to_string()));
        }
        let held = debts.iter().filter(|debt| debt.kind == "held");
        world.told = self.told();
        world.held_until = held
            .filter_map(|debt| Some((debt.subject.clone(), debt.deadline.clone()?)))
            .filter(|(_, until)| until.as_str() > now)
            .collect();
        world
    }

    /// The inputs that may name a host, of every server and of the deployment. What cannot be evaluated can
    /// neither be launched nor run.
    fn told(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let texts = |settings: Settings| -> Vec<(String, String)> {
            let named = settings.values.keys().filter_map(|name| {
                let text = settings.get(name).ok()??;
                (name == "DNS_SERVER" || text.contains("://")).then(|| (name.clone(), text))
            });
            named.collect()
        };
        let servers = self.servers.iter().map(|s| (s.name.clone(), self.settings_of(s)));
        let of = Settings::of_deployment(self.cloud, self.deployment);
        let all = servers.chain([(DEPLOYMENT.to_owned(), of)]);
        all.filter_map(|(name, settings)| Some((name, texts(settings.ok()?)))).collect()
    }

    fn see(&self, server: &Server, all: &[(&Server, Identity)]) -> Result<DatabaseSeen> {
        let database = self.database(server)?;
        let replica = database.replica()?;
        let sessions = database.survey()?.sessions;
        let master = all.iter().find(|(s, _)| s.database_set().is_some_and(|(_, master)| master));
        let lacks = match (server.database_set(), master) {
            (Some((_, true)), _) => Vec::new(),
            (_, None) => vec!["its set has no master that answers".to_owned()],
            (_, Some((_, identity))) => judge_replicating(&server.name, &replica, identity)
                .iter()
                .filter(|check| check.answer != Answer::Ok)
                .map(|check| format!("{}: {}", check.name, check.detail))
                .collect(),
        };
        let source = replica.channels.iter().find_map(|channel| {
            let of = |(s, id): &&(&Server, Identity)| {
                id.server_id == channel.source_server_id
                    && s.address.is_some_and(|at| at.to_string() == channel.source_host)
            };
            all.iter().find(of).map(|(s, _)| s.name.clone())
        });
        Ok(DatabaseSeen {
            // those of its own machine end with it
            sessions: sessions
                .iter()
                .filter(|s| s.host != "localhost")
                .map(|s| s.words())
                .collect(),
            lacks,
            source,
        })
    }

    /// The lineage that the backups of a server of this set belong to.
    pub fn lineage(&self, server: &Server, set: &str) -> Result<String> {
        self.settings_of(server)?.or("DB_LINEAGE_NAME", set)
    }

    /// The whole backup that has all that a database holds now, where there is one.
    pub fn backup_of(&self, server: &Server) -> Result<Option<Snapshot>> {
        let settings = self.settings_of(server)?;
        let lineage = settings.or("DB_LINEAGE_NAME", server.in_set()?.0)?;
        let at = self.database(server)?.position()?;
        let all = crate::snapshots(&settings, self.channel(server)?)?.list(&lineage)?;
        Ok(stands_for(&all, &at).cloned())
    }

    /// Complete backups of a set's lineages.
    fn backups(&self, set: &str, servers: &[&Server]) -> Result<usize> {
        let mut complete = 0;
        let mut seen = BTreeSet::new();
        for server in servers {
            let settings = self.settings_of(server)?;
            let lineage = self.lineage(server, set)?;
            if seen.insert(lineage.clone()) {
                let all = crate::snapshots(&settings, self.channel(server)?)?.list(&lineage)?;
                complete += all.iter().filter(|one| one.perfect).count();
            }
        }
        Ok(complete)
    }

    /// The members of every pool of one balancer.
    fn members_of(&self, server: &Server) -> Result<Vec<Member>> {
        let balancer = self.balancer(server)?;
        let mut members = Vec::new();
        for pool in balancer.pools()? {
            members.extend(balancer.members(&pool)?);
        }
        Ok(members)
    }

    /// The members of every pool, as the balancers that go on know them; those in `ending` are not asked.
    pub fn facts(&self, ending: &dyn Fn(&Server) -> bool) -> World {
        let mut world = World {
            servers: self.servers.clone(),
            arrays: self.arrays.clone(),
            ..World::default()
        };
        for server in self.balancers().filter(|server| !ending(server)) {
            match self.members_of(server) {
                Ok(members) => world.members.extend(members),
                Err(e) => world.unanswered.push((server.name.clone(), e.to_string())),
            }
        }
        for member in &mut world.members {
            let server = self.servers.iter().find(|s| s.address == Some(member.address));
            member.server = server.map(|server| server.name.clone());
        }
        world
    }
}
