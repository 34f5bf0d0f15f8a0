//! HAProxy, 2.6 and later: members and page by the runtime API, what must outlast a reload by its files.
//!
//! Nothing here ever reloads: a reload forgets what the runtime was told, and leaves an old worker that keeps old
//! members and an old page until its connections end.

mod balancer;
mod client;
mod config;
#[cfg(test)]
mod fuzz_tests;
mod page;
mod ready;
mod words;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rs_contract::{Balancer, Channel, Endpoint, Error, Kind, PageSwitch, Result};
use rs_model::Server;

use crate::settings::Settings;
use client::Client;

/// No batch of commands takes longer: HAProxy answers in microseconds, a frozen one never.
const ANSWER: Duration = Duration::from_secs(5);

/// How long the master process may be out of reach in a reload.
const RELOAD: Duration = Duration::from_secs(2);

/// The balancer that runs on `server`.
pub fn balancer(
    server: &Server,
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
) -> Result<Box<dyn Balancer>> {
    Ok(Box::new(balancer::Haproxy::new(Site::open(server, settings, channel)?)))
}

/// The page of the balancer that runs on `server`.
pub fn page(
    server: &Server,
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
) -> Result<Box<dyn PageSwitch>> {
    page::open(Site::open(server, settings, channel)?)
}

/// One HAProxy with all its processes and files.
struct Site {
    /// Name of the server, as records have it.
    name: String,
    /// For messages.
    who: String,
    address: Option<IpAddr>,
    settings: Settings,
    channel: Option<Box<dyn Channel>>,
    /// The process that takes new connections.
    worker: Client,
    /// Absent: it runs without a master process.
    master: Option<Client>,
    /// Pool and the backend that it is here.
    pools: Vec<(String, String)>,
    /// Path of the configuration, absolute.
    config_file: String,
}

impl Site {
    fn open(
        server: &Server,
        settings: &Settings,
        channel: Option<Box<dyn Channel>>,
    ) -> Result<Site> {
        let who = format!("HAProxy of {:?}", server.name);
        let socket = |name: &str, default: &str| -> Result<Endpoint> {
            let endpoint = settings.endpoint(name, default, channel.as_deref())?;
            match &endpoint {
                Endpoint::Unix(path) if !path.starts_with('/') => Err(Error::new(
                    Kind::Declined,
                    format!(
                        "{name} of {:?} is {path:?}, and it has no folder of its own",
                        server.name
                    ),
                )
                .hint(format!("rs-inputs set {name}=text:tcp:ADDRESS:PORT, or an absolute path"))),
                _ => Ok(endpoint),
            }
        };
        let answer = crate::patience(ANSWER);
        let worker =
            Client::worker(&who, socket("LB_RUNTIME_SOCKET", "unix:run/haproxy.sock")?, answer);
        let written = settings.get("LB_MASTER_SOCKET")?;
        let master = match written.as_deref() {
            Some("") => None,
            Some(_) => Some(Client::master(&who, socket("LB_MASTER_SOCKET", "")?, answer)),
            // by default there may be one or not: without a master process there are no old workers to ask
            None => socket("LB_MASTER_SOCKET", "unix:run/master.sock")
                .ok()
                .map(|endpoint| Client::master(&who, endpoint, answer))
                .filter(|master| !master.is_absent()),
        };
        Ok(Site {
            name: server.name.clone(),
            address: server.address,
            pools: pools(settings)?,
            config_file: settings.path_of(&settings.or("LB_CONFIG_FILE", "etc/haproxy.cfg")?),
            settings: settings.clone(),
            channel,
            worker,
            master,
            who,
        })
    }

    /// The backend that a pool is here.
    fn backend(&self, pool: &str) -> Result<&str> {
        rs_model::name::pool(pool)?;
        self.pools
            .iter()
            .find(|(name, _)| name == pool)
            .map(|(_, backend)| backend.as_str())
            .ok_or_else(|| {
                let known: Vec<&str> = self.pools.iter().map(|(name, _)| name.as_str()).collect();
                Error::new(Kind::NotFound, format!("{:?} has no pool {pool:?}", self.name)).hint(
                    format!("it has {}; LB_APPLISTENER_NAME and LB_POOLS say so", known.join(", ")),
                )
            })
    }

    /// The processes that serve what they had before a reload.
    fn old_workers(&self) -> Result<Vec<(u32, Client)>> {
        let Some(master) = &self.master else { return Ok(Vec::new()) };
        let begun = Instant::now();
        let reply = loop {
            match master.ask("show proc") {
                // in a reload the master executes itself anew, and nobody listens for some milliseconds
                Err(e) if e.kind() == Kind::Unreachable && begun.elapsed() < RELOAD => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                reply => break reply?,
            }
        };
        let found = words::processes(&master.place(), &reply)?;
        Ok(found.old.into_iter().map(|pid| (pid, master.old(pid))).collect())
    }

    /// Whether there may be a process: of one that is gone nobody listens at its sockets, for longer than a reload takes.
    fn may_run(&self) -> bool {
        let begun = Instant::now();
        loop {
            let deserted = [Some(&self.worker), self.master.as_ref()];
            if !deserted.into_iter().flatten().all(Client::is_deserted) {
                return true;
            }
            if begun.elapsed() > RELOAD {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether an old worker that did not answer has ended: its master notices it a moment later.
    fn has_ended(&self, pid: u32) -> Result<bool> {
        let begun = Instant::now();
        while self.old_workers()?.iter().any(|(known, _)| *known == pid) {
            if begun.elapsed() > RELOAD {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(true)
    }

    /// The configuration's text; absent when no Channel reaches it.
    fn config(&self) -> Result<Option<String>> {
        let Some(channel) = &self.channel else { return Ok(None) };
        let bytes = channel.get(&self.config_file)?;
        String::from_utf8(bytes).map(Some).map_err(|_| {
            Error::new(
                Kind::Failed,
                format!("{} of {:?} is not UTF-8", self.config_file, self.name),
            )
        })
    }

    /// What `"${NAME}"` in the configuration stands for: the server's inputs. A secret stands for itself nowhere.
    fn expand(&self, name: &str) -> Option<String> {
        self.settings.get(name).ok().flatten()
    }
}

fn pools(settings: &Settings) -> Result<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |pool: &str, backend: &str| -> Result<()> {
        rs_model::name::pool(pool)?;
        rs_model::name::pool(backend)?;
        if !found.iter().any(|(name, _)| name == pool) {
            found.push((pool.to_owned(), backend.to_owned()));
        }
        Ok(())
    };
    let listed = settings.get("LB_POOLS")?.unwrap_or_default();
    for item in listed.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('=') {
            Some((pool, backend)) => add(pool.trim(), backend.trim())?,
            None => add(item, item)?,
        }
    }
    match settings.get("LB_APPLISTENER_NAME")?.filter(|name| !name.is_empty()) {
        Some(pool) => add(&pool, &pool)?,
        None if found.is_empty() => {
            settings.need("LB_APPLISTENER_NAME")?;
        }
        None => {}
    }
    Ok(found)
}
