//! Making and ending servers on this host.
//!
//! `ROOT/.machines` holds one empty file per server, `ID@ADDRESS`: it is made before the server's folder and removed
//! after it, so that a kill at any moment leaves what `make` or `end` finishes.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rs_contract::{Channel, Error, Kind, Machine, Machines, Result, Work};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::channel::Shell;
use super::config::Config;
use super::processes;

/// How long a server's processes may take to end by themselves.
const GRACE: Duration = Duration::from_secs(5);
/// How often we look.
const LOOK: Duration = Duration::from_millis(20);

/// Servers of this host.
pub struct Local {
    config: Config,
}

impl Local {
    /// As configured.
    pub fn new(config: Config) -> Local {
        Local { config }
    }

    fn book(&self) -> PathBuf {
        self.config.root.join(".machines")
    }

    fn home(&self, id: &str) -> PathBuf {
        self.config.root.join(id)
    }

    /// Every machine that is in the book, by id.
    fn booked(&self) -> Result<Vec<(String, Ipv4Addr)>> {
        let entries = match fs::read_dir(self.book()) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.failed("its book cannot be read", e)),
        };
        Ok(entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (id, address) = name.split_once('@')?;
                Some((id.to_owned(), address.parse().ok()?))
            })
            .collect())
    }

    fn entry(&self, id: &str) -> Result<Option<Ipv4Addr>> {
        Ok(self.booked()?.into_iter().find(|(known, _)| known == id).map(|(_, address)| address))
    }

    /// One maker at a time, so that no address is given twice.
    fn alone(&self) -> Result<File> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.book())
            .map_err(|e| self.failed("the folder cannot be made", e))?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.book().join("lock"))
            .map_err(|e| self.failed("its book cannot be locked", e))?;
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(_) if Instant::now() < until => std::thread::sleep(LOOK),
                Err(e) => return Err(self.failed("its book is locked by another", e)),
            }
        }
    }

    /// The next free address after the one that was given last: one that was just given back is not given again at
    /// once, since a balancer may still know it.
    fn choose(&self, used: &[IpAddr]) -> Result<Ipv4Addr> {
        let mut taken: BTreeSet<IpAddr> = used.iter().copied().collect();
        taken.extend(self.booked()?.into_iter().map(|(_, address)| IpAddr::V4(address)));
        taken.extend(listening());
        let marker = self.book().join("last");
        let last = fs::read_to_string(&marker)
            .ok()
            .and_then(|text| text.trim().parse::<Ipv4Addr>().ok())
            .map_or(self.config.last, u32::from);
        let (first, size) = (self.config.first, self.config.last - self.config.first + 1);
        let begin = if (first..=self.config.last).contains(&last) { last - first + 1 } else { 0 };
        let free = (0..size)
            .map(|step| Ipv4Addr::from(first + (begin + step) % size))
            .find(|address| !taken.contains(&IpAddr::V4(*address)));
        let free = free.ok_or_else(|| {
            Error::new(Kind::Declined, format!("no address is free in {}", self.place()))
                .hint("end servers that are not needed, or give Machines: Local a larger range of Addresses")
        })?;
        fs::write(&marker, free.to_string())
            .map_err(|e| self.failed("its book cannot be written", e))?;
        Ok(free)
    }

    fn failed(&self, what: &str, why: impl std::fmt::Display) -> Error {
        Error::new(Kind::Failed, format!("{}: {what}", self.place())).because(why)
    }

    fn furnish(&self, home: &Path) -> Result<()> {
        for folder in [home.to_owned(), home.join("tmp")] {
            match fs::DirBuilder::new().mode(0o755).create(&folder) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(self.failed("the server's folder cannot be made", e));
                }
                _ => {}
            }
            if let Some(user) = &self.config.user {
                chown(&folder, Some(user.uid), Some(user.gid))
                    .map_err(|e| self.failed("the server's folder cannot be given away", e))?;
            }
        }
        self.reachable(home)
    }

    /// Whether the servers' user gets to its folder: a closed folder above it would make every script fail oddly.
    fn reachable(&self, home: &Path) -> Result<()> {
        let Some(user) = &self.config.user else { return Ok(()) };
        for folder in home.ancestors().skip(1) {
            let Ok(meta) = fs::metadata(folder) else { continue };
            let bit = match () {
                () if meta.uid() == user.uid => 0o100,
                () if meta.gid() == user.gid => 0o010,
                () => 0o001,
            };
            if meta.permissions().mode() & bit == 0 {
                return Err(Error::new(
                    Kind::Declined,
                    format!(
                        "{} is closed to {:?}, the User of Machines: Local",
                        folder.display(),
                        user.name
                    ),
                )
                .hint(format!("chmod o+x '{}', or another Root", folder.display())));
            }
        }
        Ok(())
    }

    fn known(id: &str) -> Result<()> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || !id.chars().all(word) {
            return Err(Error::new(Kind::Usage, format!("{id:?} is no machine's id")));
        }
        Ok(())
    }
}

impl Machines for Local {
    fn place(&self) -> String {
        format!("local machines in {}", self.config.root.display())
    }

    fn make(&self, id: &str, used: &[IpAddr]) -> Result<Machine> {
        Local::known(id)?;
        let lock = self.alone()?;
        let address = match self.entry(id)? {
            Some(address) => address,
            None => {
                let address = self.choose(used)?;
                File::create_new(self.book().join(format!("{id}@{address}")))
                    .and_then(|file| file.sync_all())
                    .map_err(|e| self.failed("its book cannot be written", e))?;
                address
            }
        };
        drop(lock);
        let home = self.home(id);
        self.furnish(&home)?;
        Ok(Machine {
            id: id.to_owned(),
            address: address.into(),
            home: home.to_string_lossy().into_owned(),
        })
    }

    fn alive(&self, machine: &Machine) -> Result<bool> {
        Ok(self.entry(&machine.id)?.is_some() && self.home(&machine.id).is_dir())
    }

    fn end(&self, machine: &Machine, work: Work) -> Result<()> {
        Local::known(&machine.id)?;
        let home = self.home(&machine.id);
        let begun = Instant::now();
        let grace = GRACE.min(work.timeout / 2);
        let mut asked = BTreeSet::new();
        loop {
            let left = processes::of_machine(&machine.id, &home);
            if left.is_empty() {
                break;
            }
            if begun.elapsed() > work.timeout {
                let names: Vec<String> = left.iter().map(|pid| processes::title(*pid)).collect();
                return Err(Error::new(
                    Kind::TimedOut,
                    format!("processes of {} do not end: {}", machine.id, names.join(", ")),
                )
                .hint("look at them, then the same command again"));
            }
            for pid in left {
                if begun.elapsed() > grace {
                    processes::signal(pid, Signal::KILL);
                } else if asked.insert(pid) {
                    processes::signal(pid, Signal::TERM);
                }
            }
            std::thread::sleep(LOOK);
        }
        match fs::remove_dir_all(&home) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(self.failed("the server's folder cannot be removed", e));
            }
            _ => {}
        }
        if let Some(address) = self.entry(&machine.id)? {
            match fs::remove_file(self.book().join(format!("{}@{address}", machine.id))) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.failed("its book cannot be written", e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn channel(&self, machine: &Machine) -> Result<Box<dyn Channel>> {
        let home = self.home(&machine.id);
        if !home.is_dir() {
            return Err(Error::new(
                Kind::NotFound,
                format!("the machine {} is gone from {}", machine.id, self.place()),
            )
            .hint("rs-server tend takes note of it; rs-server relaunch makes a new one"));
        }
        Ok(Box::new(Shell::new(&self.config, &machine.id, home)))
    }
}

/// Addresses of this host that something listens on, by TCP or UDP.
fn listening() -> BTreeSet<IpAddr> {
    let tcp = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let udp = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    parse_sockets(&tcp, true).chain(parse_sockets(&udp, false)).map(IpAddr::V4).collect()
}

/// Local addresses in the form of `/proc/net/tcp`: hexadecimal, in the order of this machine.
fn parse_sockets(text: &str, only_listening: bool) -> impl Iterator<Item = Ipv4Addr> + '_ {
    text.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next()?;
        let state = fields.nth(1)?;
        let address = u32::from_str_radix(local.split(':').next()?, 16).ok()?;
        (!only_listening || state == "0A").then(|| Ipv4Addr::from(address.to_ne_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_listen_are_read_from_proc() {
        let text = "  sl  local_address rem_address   st tx_queue\n\
                    0: 0104005D:1F90 00000000:0000 0A 00000000:00000000\n\
                    1: 0204005D:1F90 0104005D:0050 01 00000000:00000000\n";
        let found: Vec<[u8; 4]> = parse_sockets(text, true).map(|a| a.octets()).collect();
        assert_eq!(found, [0x0104_005D_u32.to_ne_bytes()]);
        assert_eq!(parse_sockets(text, false).count(), 2);
    }
}
