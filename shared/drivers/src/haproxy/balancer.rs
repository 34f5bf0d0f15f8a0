//! Members: the runtime's truth, in one batch, and the server lines that outlast a reload.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rs_contract::{Balancer, Change, Command, Error, Kind, Result};
use rs_model::member::{Admin, Member};
use rs_model::ready::{Configured, Sticky};

use super::client::Client;
use super::config::{self, Backend, Wanted};
use super::words::{self, ServerState};
use super::{Site, ready};

/// How long the sessions of a member that goes may take to end, once it is in maint.
const LAST_SESSIONS: Duration = Duration::from_secs(10);
/// Between two looks at sessions.
const POLL: Duration = Duration::from_millis(5);
/// `haproxy -c` of 5,000 servers takes a quarter of a second.
const CHECK: Duration = Duration::from_secs(60);

/// A balancer.
pub struct Haproxy {
    /// Its processes and files.
    pub site: Site,
    /// What `prepare` has looked at.
    prepared: Mutex<Option<Prepared>>,
}

/// A configuration that HAProxy takes.
struct Prepared {
    /// The whole new text.
    text: String,
    /// Permission bits of the file.
    mode: u32,
}

/// What is to be done, looked at as far as that is possible without doing it.
struct Planned {
    batch: Batch,
    /// The text that the configuration has, and the one that it gets.
    rewritten: Option<(String, String)>,
}

/// One server of a backend in one process.
struct Seen {
    state: ServerState,
    status: String,
    last_check: Option<String>,
    sessions: u64,
}

/// What the file says of a backend; absent when no Channel reaches it.
struct Saved {
    text: String,
    backend: Backend,
}

impl Haproxy {
    /// Of that HAProxy.
    pub fn new(site: Site) -> Haproxy {
        Haproxy { site, prepared: Mutex::new(None) }
    }

    fn seen(&self, client: &Client, backend: &str) -> Result<Vec<Seen>> {
        let commands = [words::show_state(backend)?, words::show_stat(backend)?];
        let replies = client.run(&commands)?;
        let place = client.place();
        let [states, stat] = replies.as_slice() else { return Ok(Vec::new()) };
        let states = words::servers_state(&place, &commands[0], states)?;
        let rows = words::stat(&place, &commands[1], stat)?;
        Ok(states
            .into_iter()
            .map(|state| {
                let row = rows.iter().find(|row| row.get("svname") == Some(&state.name));
                let text = |name: &str| {
                    row.and_then(|row| row.get(name)).map(String::as_str).unwrap_or_default()
                };
                let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
                let check = text("check_status").trim_start_matches("* ").to_owned();
                Seen {
                    status: text("status").to_owned(),
                    last_check: Some(check).filter(|check| !check.is_empty()),
                    // what waits for this server in particular is in flight to it as well
                    sessions: number("scur") + number("qcur"),
                    state,
                }
            })
            .collect())
    }

    fn saved(&self, pool: &str, backend: &str) -> Result<Option<Saved>> {
        let Some(text) = self.site.config()? else { return Ok(None) };
        match config::backend(&text, backend, pool, &|name| self.site.expand(name)) {
            Some(backend) => Ok(Some(Saved { text, backend })),
            None => Err(Error::new(
                Kind::NotFound,
                format!(
                    "{} of {:?} has no backend {backend:?}",
                    self.site.config_file, self.site.name
                ),
            )
            .hint("LB_CONFIG_FILE, LB_APPLISTENER_NAME and LB_POOLS say where to look")),
        }
    }

    /// Members as every process and the file have them.
    fn read(&self, pool: &str) -> Result<Vec<Member>> {
        let backend = self.site.backend(pool)?;
        let now = self.seen(&self.site.worker, backend)?;
        let saved = self.saved(pool, backend)?;
        let mut members: Vec<Member> = now
            .into_iter()
            .map(|seen| {
                let state = seen.state;
                let line = saved
                    .as_ref()
                    .map(|saved| saved.backend.line_of(state.address, state.port, &state.name));
                Member {
                    balancer: self.site.name.clone(),
                    pool: pool.to_owned(),
                    saved: line.map(|line| {
                        line.is_some_and(|line| line.disabled == (state.admin != Admin::Ready))
                    }),
                    id: state.name,
                    address: state.address,
                    port: state.port,
                    server: None,
                    admin: state.admin,
                    status: seen.status,
                    last_check: seen.last_check,
                    sessions: seen.sessions,
                    weight: state.weight,
                }
            })
            .collect();
        for (pid, old) in self.site.old_workers()? {
            match self.seen(&old, backend) {
                Ok(seen) => add_old(&mut members, pid, seen, &self.site.name, pool),
                // it may have ended since
                Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Unreachable) => {
                    if !self.site.has_ended(pid)? {
                        return Err(e);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        for line in saved.iter().flat_map(|saved| &saved.backend.servers) {
            if let Some((address, port)) = line.place
                && !members.iter().any(|m| (m.address, m.port) == (address, port))
            {
                members.push(Member {
                    balancer: self.site.name.clone(),
                    pool: pool.to_owned(),
                    id: line.name.clone(),
                    address,
                    port,
                    server: None,
                    admin: Admin::Maint,
                    status: "only in the configuration: a reload would bring it".into(),
                    last_check: None,
                    sessions: 0,
                    weight: 0,
                    saved: Some(false),
                });
            }
        }
        Ok(members)
    }

    /// Puts the new configuration aside and lets HAProxy look at it. Nothing that anybody uses is changed.
    fn check_config(&self, text: &str) -> Result<()> {
        let Some(channel) = &self.site.channel else { return Ok(()) };
        let new = format!("{}.rs-new", self.site.config_file);
        channel.put(&new, text.as_bytes(), 0o600)?;
        let command = Command {
            argv: vec!["haproxy".into(), "-c".into(), "-f".into(), new.clone()],
            timeout: CHECK,
            ..Command::default()
        };
        let out = channel.run(&command, &|_| ());
        channel.remove(&new)?;
        let out = out?;
        if out.exit == 0 {
            return Ok(());
        }
        let alert =
            out.text.lines().find(|line| line.contains("ALERT")).or(out.text.lines().last());
        Err(Error::new(
            Kind::Declined,
            format!("{} does not take its new configuration", self.site.who),
        )
        .because(alert.unwrap_or("no reason given").trim())
        .hint(format!("`haproxy -c -f {}` there; nothing has been changed", self.site.config_file)))
    }

    /// Permission bits of the configuration.
    fn mode(&self) -> Result<u32> {
        let Some(channel) = &self.site.channel else { return Ok(0o600) };
        crate::bits::of(channel.as_ref(), &self.site.config_file)
    }

    /// The mode of the file, when exactly that text was looked at.
    fn prepared(&self, text: &str) -> Option<u32> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.as_ref().filter(|prepared| prepared.text == text).map(|prepared| prepared.mode)
    }

    /// Asks what there is, and makes of it what is to be done.
    fn planned(&self, pool: &str, changes: &[Change]) -> Result<Planned> {
        let backend = self.site.backend(pool)?;
        let client = &self.site.worker;
        let command = words::show_state(backend)?;
        let now = words::servers_state(&client.place(), &command, &client.ask(&command)?)?;
        let saved = self.saved(pool, backend)?;
        let parameters = |name: &str| match &saved {
            Some(saved) => saved.backend.run_time_parameters(name),
            None => Backend::unknown().run_time_parameters(name),
        };
        let batch = plan(backend, &now, changes, &parameters)?;
        let Some(saved) = saved.filter(|saved| can_save(saved).is_ok()) else {
            return Ok(Planned { batch, rewritten: None });
        };
        let gone = |line: &config::ServerLine| {
            line.place.is_some_and(|(a, p)| {
                changes.iter().any(|change| {
                    matches!(change, Change::Absent { address, port } if (*address, *port) == (a, p))
                })
            })
        };
        if let Some(line) =
            saved.backend.servers.iter().find(|l| gone(l) && !saved.backend.is_ours(l))
        {
            return Err(Error::new(
                Kind::Declined,
                format!("{:?} of {:?} stands outside the markers", line.name, self.site.name),
            )
            .because("a reload would bring it back, and that line is not ours")
            .hint(format!("move the line between the markers of {pool}")));
        }
        let text = saved.backend.rewrite(&saved.text, &batch.after)?;
        let rewritten = (text != saved.text).then_some((saved.text, text));
        Ok(Planned { batch, rewritten })
    }

    fn put_config(&self, before: &str, text: &str, mode: u32) -> Result<()> {
        let Some(channel) = &self.site.channel else { return Ok(()) };
        let path = &self.site.config_file;
        if channel.get(path)? != before.as_bytes() {
            return Err(Error::new(
                Kind::Declined,
                format!("{path} of {:?} was changed by somebody else meanwhile", self.site.name),
            )
            .hint("run the same again"));
        }
        channel.put(path, text.as_bytes(), mode)
    }

    /// The servers of one process that have requests at that place.
    fn busy(&self, client: &Client, backend: &str, at: (IpAddr, u16)) -> Result<Vec<Seen>> {
        let mut seen = self.seen(client, backend)?;
        seen.retain(|s| (s.state.address, s.state.port) == at && s.sessions > 0);
        Ok(seen)
    }

    /// Ends the sessions of a member in an old worker; how many there were.
    fn kill_in_old(&self, client: &Client, backend: &str, at: (IpAddr, u16)) -> Result<u64> {
        let busy = self.busy(client, backend, at)?;
        if busy.is_empty() {
            return Ok(0);
        }
        let sessions = client.ask(words::SHOW_SESSIONS)?;
        let ids = busy
            .iter()
            .flat_map(|seen| words::sessions_of(&sessions, backend, &seen.state.name))
            .collect::<Vec<_>>();
        let commands =
            ids.iter().map(|id| words::shutdown_session(id)).collect::<Result<Vec<_>>>()?;
        // silence, or that it has ended since: whether all are gone is seen by whoever looks again
        client.run(&commands)?;
        Ok(ids.len() as u64)
    }

    /// Deletes servers that are in maint, waiting for their last sessions.
    fn delete(&self, backend: &str, mut names: Vec<String>) -> Result<()> {
        let deadline = Instant::now() + LAST_SESSIONS;
        let client = &self.site.worker;
        loop {
            let commands = names
                .iter()
                .map(|name| words::del_server(backend, name))
                .collect::<Result<Vec<_>>>()?;
            let replies = client.run(&commands)?;
            let mut busy = Vec::new();
            let mut last = None;
            for ((name, command), reply) in names.iter().zip(&commands).zip(&replies) {
                match words::says(&client.place(), command, reply, "Server deleted.") {
                    Ok(()) => {}
                    Err(e) if e.kind() == Kind::NotFound => {}
                    Err(e) if e.kind() == Kind::TimedOut => {
                        busy.push(name.clone());
                        last = Some(e);
                    }
                    Err(e) => return Err(e),
                }
            }
            match last {
                None => return Ok(()),
                Some(e) if Instant::now() >= deadline => {
                    return Err(Error::new(
                        Kind::TimedOut,
                        format!("{} still has requests to {}", client.place(), busy.join(", ")),
                    )
                    .because(e.cause().unwrap_or_default())
                    .hint("they get nothing new; rs-lbctl drain --wait, or --kill to end them"));
                }
                Some(_) => std::thread::sleep(POLL),
            }
            names = busy;
        }
    }
}

/// Adds what an old worker still has: its sessions count, and what only it has is a member too.
fn add_old(members: &mut Vec<Member>, pid: u32, seen: Vec<Seen>, balancer: &str, pool: &str) {
    for seen in seen {
        let state = seen.state;
        let same = |m: &&mut Member| (m.address, m.port) == (state.address, state.port);
        if let Some(member) = members.iter_mut().find(same) {
            member.sessions += seen.sessions;
            if state.admin != member.admin || seen.sessions > 0 {
                member.status = format!(
                    "{}; {} in the old worker {pid}",
                    member.status,
                    admin_in_words(state.admin)
                );
            }
        } else {
            members.push(Member {
                balancer: balancer.to_owned(),
                pool: pool.to_owned(),
                id: state.name,
                address: state.address,
                port: state.port,
                server: None,
                admin: state.admin,
                status: format!("only in the old worker {pid}"),
                last_check: seen.last_check,
                sessions: seen.sessions,
                weight: state.weight,
                saved: None,
            });
        }
    }
}

fn admin_in_words(admin: Admin) -> &'static str {
    match admin {
        Admin::Ready => "ready",
        Admin::Drain => "draining",
        Admin::Maint => "in maint",
    }
}

/// One command with what its reply must be: absent is silence.
struct Wish {
    command: String,
    says: Option<&'static str>,
}

/// What a batch is made of.
#[derive(Default)]
struct Batch {
    /// Those that bring servers in come first, so that the pool is never empty in between.
    bring: Vec<Wish>,
    /// Those that take traffic away.
    take: Vec<Wish>,
    /// Names to delete afterwards.
    delete: Vec<String>,
    /// As it will be, for the file.
    after: Vec<Wanted>,
}

fn plan(
    backend: &str,
    now: &[ServerState],
    changes: &[Change],
    parameters: &dyn Fn(&str) -> Vec<String>,
) -> Result<Batch> {
    let mut batch = Batch::default();
    let mut admins: BTreeMap<usize, Option<Admin>> =
        now.iter().enumerate().map(|(at, state)| (at, Some(state.admin))).collect();
    let mut taken: Vec<String> = now.iter().map(|state| state.name.clone()).collect();
    let mut done: Vec<(IpAddr, u16)> = Vec::new();
    let silent = |command: String| Wish { command, says: None };
    let mut added = Vec::new();
    for change in changes {
        let (address, port) = match change {
            Change::Present { address, port, .. } | Change::Absent { address, port } => {
                (*address, *port)
            }
        };
        let place = words::place(address, port);
        if port == 0 || address.is_unspecified() || done.contains(&(address, port)) {
            return Err(Error::new(
                Kind::Usage,
                format!("{place} cannot be changed twice, or is no address to send requests to"),
            )
            .hint("each server once; has each app server its own address and APPLICATION_PORT?"));
        }
        done.push((address, port));
        let here: Vec<usize> = (0..now.len())
            .filter(|at| now.get(*at).is_some_and(|s| (s.address, s.port) == (address, port)))
            .collect();
        match change {
            Change::Present { id, admin, .. } if here.is_empty() => {
                let names: Vec<&str> = taken.iter().map(String::as_str).collect();
                let name = words::server_name(id, &names);
                let parameters = parameters(&name);
                batch.bring.push(Wish {
                    command: words::add_server(backend, &name, address, port, &parameters)?,
                    says: Some("New server registered."),
                });
                if parameters.iter().any(|word| word == "check") {
                    batch.bring.push(silent(words::enable_health(backend, &name)?));
                }
                if *admin != Admin::Maint {
                    batch.bring.push(silent(words::set_state(backend, &name, *admin)?));
                }
                added.push(Wanted {
                    name: name.clone(),
                    address,
                    port,
                    disabled: *admin != Admin::Ready,
                });
                taken.push(name);
            }
            Change::Present { admin, .. } => {
                for at in here {
                    let Some(state) = now.get(at) else { continue };
                    if state.admin != *admin {
                        let wish = silent(words::set_state(backend, &state.name, *admin)?);
                        if *admin == Admin::Ready { &mut batch.bring } else { &mut batch.take }
                            .push(wish);
                    }
                    admins.insert(at, Some(*admin));
                }
            }
            Change::Absent { .. } => {
                for at in here {
                    let Some(state) = now.get(at) else { continue };
                    if state.admin != Admin::Maint {
                        batch.take.push(silent(words::set_state(
                            backend,
                            &state.name,
                            Admin::Maint,
                        )?));
                    }
                    batch.delete.push(state.name.clone());
                    admins.insert(at, None);
                }
            }
        }
    }
    for (state, admin) in now.iter().zip(admins.into_values()) {
        if let Some(admin) = admin
            && !state.address.is_unspecified()
        {
            batch.after.push(Wanted {
                name: state.name.clone(),
                address: state.address,
                port: state.port,
                disabled: admin != Admin::Ready,
            });
        }
    }
    batch.after.extend(added);
    Ok(batch)
}

impl Balancer for Haproxy {
    fn place(&self) -> String {
        self.site.who.clone()
    }

    fn pools(&self) -> Result<Vec<String>> {
        Ok(self.site.pools.iter().map(|(pool, _)| pool.clone()).collect())
    }

    fn members(&self, pool: &str) -> Result<Vec<Member>> {
        self.read(pool)
    }

    fn may_run(&self) -> bool {
        self.site.may_run()
    }

    fn sticky(&self, pool: &str) -> Result<Option<Sticky>> {
        ready::sticky(&self.site, pool)
    }

    fn configured(&self) -> Result<Configured> {
        ready::configured(&self.site)
    }

    fn prepare(&self, pool: &str, changes: &[Change]) -> Result<()> {
        let Some((_, text)) = self.planned(pool, changes)?.rewritten else { return Ok(()) };
        if self.prepared(&text).is_none() {
            self.check_config(&text)?;
            let prepared = Prepared { text, mode: self.mode()? };
            *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some(prepared);
        }
        Ok(())
    }

    fn apply(&self, pool: &str, changes: &[Change]) -> Result<Vec<Member>> {
        let backend = self.site.backend(pool)?;
        let client = &self.site.worker;
        let Planned { batch, rewritten } = self.planned(pool, changes)?;
        let rewritten = match rewritten {
            Some((before, text)) => {
                let mode = match self.prepared(&text) {
                    Some(mode) => mode,
                    None => {
                        self.check_config(&text)?;
                        self.mode()?
                    }
                };
                Some((before, text, mode))
            }
            None => None,
        };
        let wishes: Vec<Wish> = batch.bring.into_iter().chain(batch.take).collect();
        let commands: Vec<String> = wishes.iter().map(|wish| wish.command.clone()).collect();
        let replies = client.run(&commands)?;
        for (wish, reply) in wishes.iter().zip(&replies) {
            match wish.says {
                Some(text) => words::says(&client.place(), &wish.command, reply, text)?,
                None => words::silent(&client.place(), &wish.command, reply)?,
            }
        }
        if let Some((before, text, mode)) = &rewritten {
            self.put_config(before, text, *mode)?;
        }
        if !batch.delete.is_empty() {
            self.delete(backend, batch.delete)?;
        }
        let members = self.read(pool)?;
        for change in changes {
            let (address, port, wanted) = match change {
                Change::Present { address, port, admin, .. } => (*address, *port, Some(*admin)),
                Change::Absent { address, port } => (*address, *port, None),
            };
            let found = members.iter().find(|m| {
                (m.address, m.port) == (address, port) && !m.status.starts_with("only in the old")
            });
            if found.map(|m| m.admin) != wanted {
                return Err(Error::new(
                    Kind::Failed,
                    format!(
                        "{} says another thing of {} than it was told",
                        self.site.who,
                        words::place(address, port)
                    ),
                )
                .because(format!("wanted {wanted:?}, found {:?}", found.map(|m| m.admin)))
                .hint("somebody or something else changes it too: rs-lbctl status"));
            }
        }
        Ok(members)
    }

    fn can_save(&self, pool: &str) -> Result<()> {
        let backend = self.site.backend(pool)?;
        match self.saved(pool, backend)? {
            Some(saved) => can_save(&saved).map_err(|e| {
                let cause = e.cause().unwrap_or_default().to_owned();
                Error::new(e.kind(), format!("{:?} cannot keep members over a reload", self.site.name))
                    .because(cause)
                    .hint(format!(
                        "put the two comment lines around the server lines of {backend:?} in {}, or --runtime-only",
                        self.site.config_file
                    ))
            }),
            None => Err(Error::new(
                Kind::Declined,
                format!("{:?} cannot keep members over a reload", self.site.name),
            )
            .because("its configuration is out of reach: somebody else launched it")
            .hint("--runtime-only, and see that its configuration follows")),
        }
    }

    fn kill_sessions(&self, pool: &str, address: IpAddr, port: u16) -> Result<u64> {
        let backend = self.site.backend(pool)?;
        let client = &self.site.worker;
        let busy = self.busy(client, backend, (address, port))?;
        let mut count = busy.iter().map(|seen| seen.sessions).sum();
        let commands = busy
            .iter()
            .map(|seen| words::shutdown_sessions(backend, &seen.state.name))
            .collect::<Result<Vec<_>>>()?;
        for (command, reply) in commands.iter().zip(&client.run(&commands)?) {
            words::silent(&client.place(), command, reply)?;
        }
        for (pid, old) in self.site.old_workers()? {
            match self.kill_in_old(&old, backend, (address, port)) {
                Ok(more) => count += more,
                // it may have ended since
                Err(e) if !self.site.has_ended(pid)? => return Err(e),
                Err(_) => {}
            }
        }
        Ok(count)
    }
}

fn can_save(saved: &Saved) -> Result<()> {
    saved.backend.rewrite(&saved.text, &[]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, last: u8, admin: Admin) -> ServerState {
        ServerState {
            backend: "www".into(),
            name: name.into(),
            address: IpAddr::from([127, 0, 1, last]),
            port: 8000,
            admin,
            weight: 1,
        }
    }

    fn present(id: &str, last: u8, admin: Admin) -> Change {
        Change::Present {
            address: IpAddr::from([127, 0, 1, last]),
            port: 8000,
            id: id.into(),
            admin,
        }
    }

    fn absent(last: u8) -> Change {
        Change::Absent { address: IpAddr::from([127, 0, 1, last]), port: 8000 }
    }

    fn planned(now: &[ServerState], changes: &[Change]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let batch = plan("www", now, changes, &|_| vec!["check".into()]).unwrap();
        let text = |wishes: Vec<Wish>| wishes.into_iter().map(|wish| wish.command).collect();
        (text(batch.bring), text(batch.take), batch.delete)
    }

    #[test]
    fn a_swap_brings_in_before_it_takes_out() {
        let now = [state("old", 1, Admin::Ready), state("standby", 2, Admin::Maint)];
        let changes = [absent(1), present("x", 2, Admin::Ready), present("App 3", 3, Admin::Ready)];
        let (bring, take, delete) = planned(&now, &changes);
        assert_eq!(
            bring,
            [
                "set server www/standby state ready",
                "add server www/App-3 127.0.1.3:8000 check",
                "enable health www/App-3",
                "set server www/App-3 state ready"
            ]
        );
        assert_eq!(take, ["set server www/old state maint"]);
        assert_eq!(delete, ["old"]);
    }

    #[test]
    fn what_is_so_already_needs_no_command() {
        let now = [state("a", 1, Admin::Ready), state("b", 2, Admin::Maint)];
        let changes = [present("z", 1, Admin::Ready), present("z", 2, Admin::Maint), absent(3)];
        assert_eq!(planned(&now, &changes), (vec![], vec![], vec![]));
    }

    #[test]
    fn members_are_known_by_address_and_port_never_by_name() {
        let now = [state("App-3", 9, Admin::Ready)];
        let (bring, _, _) = planned(&now, &[present("App 3", 3, Admin::Maint)]);
        assert_eq!(bring[0], "add server www/App-3-2 127.0.1.3:8000 check");
        let twice = [present("a", 1, Admin::Ready), absent(1)];
        assert_eq!(plan("www", &[], &twice, &|_| vec![]).err().unwrap().kind(), Kind::Usage);
    }
}
