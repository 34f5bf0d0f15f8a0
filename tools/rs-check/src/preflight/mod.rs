//! `preflight`: what must be so before a window begins. Each question by itself; nothing is taken for granted.

mod balancers;
mod database;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rs_cli::{Context, Exit, Journal};
use rs_contract::{Channel, Cloud, Error, Kind, Result, State, World};
use rs_drivers::settings::Settings;
use rs_model::check::enough;
use rs_model::{Answer, Bad, Check, Server, State as Life, Value, ready};

use crate::{drift, gate};

/// Flags of `preflight`.
#[derive(clap::Args)]
pub struct Preflight {
    /// How long the window will be: no backup may fall into it
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration)]
    window: Option<Duration>,
    /// The newest backup must be younger
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "24h")]
    backup_age: Duration,
    /// Some backup must have been restored and asked within
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "7d")]
    proven_age: Duration,
    /// How long after the window one wants to be able to come back: the binary log must be kept and fit
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "4h")]
    horizon: Duration,
    /// No statement may run longer: read-only waits behind it
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "1m")]
    long: Duration,
    /// An account that may write though writes are off, or that watches and is paused; repeat it for several
    #[arg(long, value_name = "USER")]
    allow: Vec<String>,
    /// A program that rewrites configuration here, besides those that are known
    #[arg(long, value_name = "PROGRAM")]
    agent: Vec<String>,
    /// A program that is paused, or rewrites nothing of ours
    #[arg(long, value_name = "PROGRAM")]
    allow_agent: Vec<String>,
    /// The deployment where this was rehearsed: what it took must fit the window
    #[arg(long, value_name = "DEPLOYMENT")]
    rehearsal: Option<String>,
    /// When all is well, note what the balancers' configuration is: rs-check drift compares it
    #[arg(long)]
    record: bool,
    /// A question whose answer does not count; it is asked and shown all the same
    #[arg(long, value_name = "NAME", value_parser = question)]
    accept: Vec<String>,
}

/// Free space that a state store needs at least.
const STATE_BYTES: u64 = 100 << 20;
/// Longest time to live that a name may have that moves in an upgrade, seconds.
const TTL_SECONDS: u32 = 60;
/// What needs a clock must have run within this, seconds.
const BEAT_SECONDS: i64 = 15 * 60;

fn question(written: &str) -> std::result::Result<String, Bad> {
    ready::question(written, &ready::PREFLIGHT)
}

/// Asks everything.
pub fn run(preflight: &Preflight, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let deployment = cx.deployment(world.cloud.as_ref())?;
    let servers = world.cloud.servers(&deployment)?;
    let site = Site { world: &world, deployment: &deployment, servers: &servers };
    let mut checks = vec![site.state_disk(cx)];
    checks.extend(site.credentials());
    checks.extend(site.names());
    checks.extend(site.balancers());
    for server in servers.iter().filter(|server| server.has_role("db") && site.up(server)) {
        checks.extend(site.database(server, preflight));
        checks.extend(site.backups(server, preflight));
    }
    checks.extend(site.servers_settled());
    checks.extend(site.agents(preflight));
    checks.extend(site.clocks());
    match (&preflight.rehearsal, preflight.window) {
        (Some(rehearsed), window) => checks.push(site.rehearsal(rehearsed, window)),
        (None, Some(window)) => {
            checks.push(ready::judge_rehearsal("", None, Some(window.as_secs())))
        }
        (None, None) => {}
    }
    gate::accept(&mut checks, &preflight.accept, &ready::PREFLIGHT);
    if preflight.record && checks.iter().all(|check| check.answer == Answer::Ok) {
        drift::record(cx, &world, &deployment, &servers)?;
    }
    gate::answer(cx, &deployment, "rs-check preflight", &checks)
}

struct Site<'a> {
    world: &'a World,
    deployment: &'a str,
    servers: &'a [Server],
}

impl Site<'_> {
    fn cloud(&self) -> &dyn Cloud {
        self.world.cloud.as_ref()
    }

    fn state(&self) -> &dyn State {
        self.world.state.as_ref()
    }

    fn up(&self, server: &Server) -> bool {
        server.foreign || server.state.is_up()
    }

    fn settings(&self, server: &Server) -> Result<Settings> {
        Settings::among(self.cloud(), self.deployment, server, self.servers)
    }

    fn channel(&self, server: &Server) -> Option<Box<dyn Channel>> {
        if server.foreign { None } else { self.cloud().channel(server).ok() }
    }

    /// The journal must not run out of disk in the dark.
    fn state_disk(&self, cx: &Context) -> Check {
        let name = "space for the state";
        let place = cx.common.store.as_deref().or(cx.common.cloud.as_deref()).unwrap_or_default();
        let path = place.split_once(':').map_or(place, |(_, path)| path);
        let folder = std::path::Path::new(path).parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(std::path::Path::new("."));
        match rustix::fs::statvfs(folder) {
            Ok(disk) => {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                enough(name, &self.state().place(), free, STATE_BYTES)
            }
            Err(e) => Check::new(name, &self.state().place(), Answer::Unknown, e.to_string()),
        }
    }

    /// Every secret that a server's inputs name, each looked up once.
    fn credentials(&self) -> Vec<Check> {
        let mut needed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut checks = Vec::new();
        for server in self.servers {
            match self.settings(server) {
                Ok(settings) => {
                    for resolved in settings.values.values() {
                        if let Value::Cred(name) | Value::Key(name) = &resolved.value {
                            needed.entry(name.clone()).or_default().insert(server.name.clone());
                        }
                    }
                }
                Err(e) => checks.push(gate::tried("inputs are known", &server.name, Err(e))),
            }
        }
        for (name, servers) in needed {
            let found = rs_drivers::credentials::credential(&name)
                .map(|_| format!("there, for {} servers", servers.len()));
            checks.push(gate::tried("credential", &name, found));
        }
        checks
    }

    /// Names that move in an upgrade: authoritative answer, time to live, no second address family.
    fn names(&self) -> Vec<Check> {
        let settings = match Settings::of_deployment(self.cloud(), self.deployment) {
            Ok(settings) => settings,
            Err(e) => return vec![gate::tried("DNS answers", self.deployment, Err(e))],
        };
        let mut names = BTreeSet::new();
        for server in self.servers.iter().filter(|s| s.has_role("lb") || s.has_role("db")) {
            let input = if server.has_role("lb") { "LB_HOSTNAME" } else { "DB_HOST_NAME" };
            if let Ok(Some(name)) = self.settings(server).and_then(|s| s.get(input)) {
                names.insert(name);
            }
        }
        names.remove("");
        let dns = match rs_drivers::dns(&settings) {
            Ok(dns) => dns,
            Err(e) => {
                let check =
                    Check::new("DNS answers", self.deployment, Answer::Unknown, e.to_string());
                return vec![check.hint("set DNS_SERVER and DNS_ZONE at the deployment")];
            }
        };
        let asked = names.iter().map(|name| {
            let found = dns.lookup(name).and_then(|(addresses, ttl)| {
                let no = |what: String, hint: &str| Err(Error::new(Kind::No, what).hint(hint));
                if addresses.is_empty() {
                    return no(format!("{name} has no address"), "rs-lbctl point sets it");
                }
                if let Some(ttl) = ttl.filter(|ttl| *ttl > TTL_SECONDS) {
                    return no(
                        format!("{name} lives {ttl} s in caches"),
                        "lower it to 60 s at least one such time before the window",
                    );
                }
                if dns.has_aaaa(name)? {
                    return no(
                        format!("{name} has an AAAA record too"),
                        "it would still lead to the old place: remove it first",
                    );
                }
                Ok(format!("{addresses:?}, time to live {ttl:?} s"))
            });
            gate::tried("name", name, found)
        });
        let mut checks: Vec<Check> = asked.collect();
        checks.push(gate::tried("DNS key", &dns.place(), dns.try_key()));
        checks
    }

    /// What a rehearsal took: the window as clients saw it there, else the steps from page to page.
    fn rehearsal(&self, deployment: &str, window: Option<Duration>) -> Check {
        let acts = match Journal::new(self.state()).acts() {
            Ok(acts) => acts,
            Err(e) => return gate::tried("rehearsal fits the window", deployment, Err(e)),
        };
        let took = rs_model::journal::rehearsed_ms(&acts, deployment);
        ready::judge_rehearsal(deployment, took, window.map(|window| window.as_secs()))
    }

    /// Free bytes where a folder of a server lies.
    fn free(&self, server: &Server, folder: &str) -> Result<u64> {
        let channel = self.channel(server).ok_or_else(|| {
            Error::new(Kind::Declined, format!("no channel reaches {:?}", server.name))
                .hint("look there by hand, then --accept this question")
        })?;
        rs_drivers::space::free(channel.as_ref(), folder)
    }

    /// Nobody is between states: what boots in the dark with old code connects itself and writes.
    fn servers_settled(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for server in self.servers.iter().filter(|server| !server.foreign) {
            let answer = match server.state {
                Life::Operational | Life::Inactive | Life::Terminated => Answer::Ok,
                _ => Answer::No,
            };
            let check = Check::new("settled", &server.name, answer, server.state.word());
            checks.push(match answer {
                Answer::Ok => check,
                _ => check.hint("wait for it, or rs-server launch / rs-cleanup to end it"),
            });
        }
        checks
    }

    /// What needs a clock has an owner: each left its heartbeat lately.
    fn clocks(&self) -> Vec<Check> {
        let mut wanted = vec![("journal-watch".to_owned(), "rs-journal watch --once")];
        match self.cloud().arrays(self.deployment) {
            Ok(arrays) if arrays.iter().any(|array| array.enabled) => {
                wanted.push(("server-tend".to_owned(), "rs-server tend"));
            }
            Ok(_) => {}
            Err(e) => return vec![gate::tried("clock runs", self.deployment, Err(e))],
        }
        let asked = wanted.into_iter().map(|(beat, command)| {
            let found = Journal::new(self.state()).last_beat(&beat).and_then(|at| {
                let hint = format!("call `{command}` every minute, by cron or a timer");
                match at.as_deref().and_then(age) {
                    Some(age) if age <= BEAT_SECONDS => Ok(format!("{age} s ago")),
                    Some(age) => Err(Error::new(Kind::No, format!("{age} s ago")).hint(hint)),
                    None => Err(Error::new(Kind::No, "it never ran").hint(hint)),
                }
            });
            gate::tried("clock runs", command, found)
        });
        asked.collect()
    }
}

fn age(at: &str) -> Option<i64> {
    let at: jiff::Timestamp = at.parse().ok()?;
    Some(jiff::Timestamp::now().as_second() - at.as_second())
}
