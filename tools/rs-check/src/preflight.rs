//! `preflight`: what must be so before a window begins. Each question by itself; nothing is taken for granted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rs_cli::{Context, Exit, Journal};
use rs_contract::{Channel, Cloud, Command, Database, Error, Kind, Result, State, World};
use rs_drivers::settings::Settings;
use rs_model::snapshot::{Schedule, Snapshot};
use rs_model::{Answer, Check, Server, State as Life, Value};
use serde_json::json;

use crate::gate;

/// Flags of `preflight`.
#[derive(clap::Args)]
pub struct Preflight {
    /// How long the window will be: no backup may fall into it
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration)]
    window: Option<Duration>,
    /// The newest backup must be younger
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "24h")]
    backup_age: Duration,
    /// A question whose answer does not count; it is asked and shown all the same
    #[arg(long, value_name = "NAME")]
    accept: Vec<String>,
}

/// Free space that a state store needs at least.
const STATE_BYTES: u64 = 100 << 20;
/// Longest time to live that a name may have that moves in an upgrade, seconds.
const TTL_SECONDS: u32 = 60;
/// How far a database's clock may be from ours, seconds.
const SKEW_SECONDS: f64 = 2.0;
/// What needs a clock must have run within this, seconds.
const BEAT_SECONDS: i64 = 15 * 60;
/// Commands on servers here only look.
const LOOK: Duration = Duration::from_secs(20);

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
        checks.extend(site.database(server));
        checks.extend(site.backups(server, preflight));
    }
    checks.extend(site.servers_settled());
    checks.extend(site.clocks());
    for check in &mut checks {
        if check.answer != Answer::Ok && preflight.accept.contains(&check.name) {
            check.detail = format!("accepted by --accept: {}", check.detail);
            check.answer = Answer::Ok;
        }
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
        asked.collect()
    }

    /// Each pool of each balancer: reachable, no worker left from an earlier reload, and what we change survives one.
    fn balancers(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for server in self.servers.iter().filter(|s| s.has_role("lb") && self.up(s)) {
            let opened = self.settings(server).and_then(|settings| {
                let balancer = rs_drivers::balancer(server, &settings, self.channel(server))?;
                let page = rs_drivers::page(server, &settings, self.channel(server))?;
                Ok((balancer.pools()?, balancer, page))
            });
            let (pools, balancer, page) = match opened {
                Ok(opened) => opened,
                Err(e) => {
                    checks.push(gate::tried("balancer answers", &server.name, Err(e)));
                    continue;
                }
            };
            for pool in pools {
                let subject = format!("{pool} on {}", server.name);
                let members = balancer.members(&pool).map(|m| format!("{} members", m.len()));
                checks.push(gate::tried("balancer answers", &subject, members));
                let saved = balancer.can_save(&pool).map(|()| "the markers are there".to_owned());
                checks.push(gate::tried("changes survive a reload", &subject, saved));
                let alone = page.processes(&pool).and_then(|processes| match processes.len() {
                    1 => Ok(processes[0].0.clone()),
                    many => Err(Error::new(Kind::No, format!("{many} processes serve"))
                        .hint("old workers keep their clients: end them before the window")),
                });
                checks.push(gate::tried("one process serves", &subject, alone));
            }
        }
        checks
    }

    fn open(&self, server: &Server, settings: &Settings) -> Result<Box<dyn Database>> {
        rs_drivers::database(server, settings, self.channel(server), None)
    }

    fn database(&self, server: &Server) -> Vec<Check> {
        let name = &server.name;
        let opened = self.settings(server).and_then(|settings| {
            let database = self.open(server, &settings)?;
            let version = database.identity()?.version;
            Ok((settings, database, version))
        });
        let (settings, database, version) = match opened {
            Ok(opened) => opened,
            Err(e) => return vec![gate::tried("database answers", name, Err(e))],
        };
        let mut checks = vec![gate::tried("database answers", name, Ok(version))];
        if settings.values.contains_key("DBMIGRATION_USER") {
            let migrates = settings.need("DBMIGRATION_USER").and_then(|user| {
                let account = Some((user.clone(), settings.secret("DBMIGRATION_PASSWORD")?));
                rs_drivers::database(server, &settings, self.channel(server), account)?
                    .identity()?;
                Ok(format!("{user:?} can log in"))
            });
            checks.push(gate::tried("migration account", name, migrates));
        }
        if server.has_role("slave") {
            checks.push(gate::tried("slave replicates", name, replicates(database.as_ref())));
        }
        checks.push(gate::tried("clock", name, skew(database.as_ref())));
        if let Ok(Some(schema)) = settings.get("DB_SCHEMA_NAME")
            && !schema.is_empty()
        {
            checks.push(self.room(server, &settings, database.as_ref(), &schema));
        }
        checks
    }

    /// A change of a table may copy it: there must be room for the largest one and half of it again.
    fn room(&self, server: &Server, settings: &Settings, db: &dyn Database, schema: &str) -> Check {
        let name = "space for the migration";
        let found = (|| {
            let data = settings.path_of(&settings.or("DB_DATA_DIR", "data")?);
            let free = self.free(server, &data)?;
            Ok((free, db.largest_table_bytes(schema)?))
        })();
        match found {
            Ok((free, largest)) => enough(name, &server.name, free, largest + largest / 2),
            Err(e) => Check { answer: Answer::Unknown, ..gate::tried(name, &server.name, Err(e)) },
        }
    }

    /// Free bytes where a folder of a server lies.
    fn free(&self, server: &Server, folder: &str) -> Result<u64> {
        let channel = self.channel(server).ok_or_else(|| {
            Error::new(Kind::Declined, format!("no channel reaches {:?}", server.name))
                .hint("look there by hand, then --accept this question")
        })?;
        let argv = ["df", "--output=avail", "--block-size=1", "--", folder];
        let output = channel.run(
            &Command {
                argv: argv.map(str::to_owned).to_vec(),
                timeout: LOOK,
                ..Command::default()
            },
            &|_| {},
        )?;
        let free = output.text.lines().last().and_then(|line| line.trim().parse().ok());
        free.filter(|_| output.exit == 0).ok_or_else(|| {
            Error::new(Kind::Failed, format!("free space of {folder} on {:?}", server.name))
                .because(output.text.trim())
        })
    }

    fn backups(&self, server: &Server, preflight: &Preflight) -> Vec<Check> {
        let name = &server.name;
        let opened = self.settings(server).and_then(|settings| {
            let lineage = settings.need("DB_LINEAGE_NAME")?;
            let folder = settings.path_of(&settings.need("BACKUP_DIR")?);
            let all = rs_drivers::snapshots(&settings, self.channel(server))?.list(&lineage)?;
            Ok((all, folder))
        });
        let (all, folder) = match opened {
            Ok(opened) => opened,
            Err(e) => return vec![gate::tried("backup is young", name, Err(e))],
        };
        let newest = all.iter().rev().find(|one| one.perfect);
        let age = newest.and_then(|one| age(one.completed_at.as_deref()?));
        let most = i64::try_from(preflight.backup_age.as_secs()).unwrap_or(i64::MAX);
        let young = match (newest, age) {
            (Some(one), Some(age)) if age < most => Ok(format!("{:?} is {age} s old", one.id)),
            (Some(one), age) => Err(Error::new(Kind::No, format!("{:?} is {age:?} s old", one.id))
                .hint("rs-snapshot take")),
            (None, _) => {
                Err(Error::new(Kind::No, "there is no complete backup").hint("rs-snapshot take"))
            }
        };
        let mut checks = vec![gate::tried("backup is young", name, young)];
        let largest = all.iter().map(|one: &Snapshot| one.bytes).max().unwrap_or(0);
        checks.push(match self.free(server, &folder) {
            Ok(free) => enough("space for backups", name, free, largest.saturating_mul(2)),
            Err(e) => {
                Check { answer: Answer::Unknown, ..gate::tried("space for backups", name, Err(e)) }
            }
        });
        if let Some(window) = preflight.window {
            let schedule = self
                .state()
                .get(&format!("schedule/{}/{name}", self.deployment))
                .map(|entry| entry.and_then(|e| serde_json::from_value::<Schedule>(e.value).ok()));
            let clear = schedule.and_then(|schedule| match schedule {
                Some(schedule) if schedule.enabled => {
                    let every = i64::try_from(schedule.every_minutes).unwrap_or(0) * 60;
                    let due = every - age.unwrap_or(every);
                    let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
                    if due > window {
                        return Ok(format!("the next one is due in {due} s"));
                    }
                    Err(Error::new(Kind::No, format!("a backup is due in {} s", due.max(0)))
                        .hint("rs-snapshot schedule off --role db (step 15)"))
                }
                _ => Ok("no backup is taken by the clock".to_owned()),
            });
            checks.push(gate::tried("no backup in the window", name, clear));
        }
        checks
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

fn enough(name: &str, subject: &str, free: u64, needed: u64) -> Check {
    let answer = if free >= needed { Answer::Ok } else { Answer::No };
    let detail = format!("{} MiB free, {} MiB needed", free >> 20, needed.div_ceil(1 << 20));
    let check = Check::new(name, subject, answer, detail)
        .facts(json!({ "free_bytes": free, "needed_bytes": needed }));
    match answer {
        Answer::Ok => check,
        _ => check.hint("free space there before the window"),
    }
}

fn replicates(database: &dyn Database) -> Result<String> {
    let replica = database.replica()?;
    if replica.is_held() {
        return Ok("held".into());
    }
    let [channel] = replica.channels.as_slice() else {
        return Err(Error::new(Kind::No, format!("{} channels", replica.channels.len()))
            .hint("rs-dbsync status shows it; rs-dbsync init makes it a slave"));
    };
    if channel.io_running == "Yes" && channel.sql_running == "Yes" && channel.last_error.is_empty()
    {
        return Ok(format!("from {}:{}", channel.source_host, channel.source_port));
    }
    Err(Error::new(
        Kind::No,
        format!("receiver {}, applier {}", channel.io_running, channel.sql_running),
    )
    .because(&channel.last_error)
    .hint("rs-dbsync status shows it"))
}

fn skew(database: &dyn Database) -> Result<String> {
    let begun = Instant::now();
    let text = database.scalar("SELECT UNIX_TIMESTAMP(NOW(6))")?;
    let here = jiff::Timestamp::now().as_duration().as_secs_f64();
    let there: f64 = text
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new(Kind::Failed, "the database did not say what time it is"))?;
    let (apart, took) = (here - there, begun.elapsed().as_secs_f64());
    if apart.abs() <= SKEW_SECONDS + took {
        return Ok(format!("{apart:.3} s apart"));
    }
    Err(Error::new(Kind::No, format!("its clock is {apart:.1} s behind ours"))
        .hint("set the clocks right: reports and deadlines depend on them"))
}
