//! The page: a map that a rule of the configuration asks. What the map says now and what its file says for the next
//! reload are two things, and an old worker has a map of its own.

use std::net::IpAddr;

use rs_contract::{Command, Error, Kind, Listen, PageSwitch, Result};

use super::client::Client;
use super::{ANSWER, Site, config, words};

/// The key that the rule asks for; its value is `on` or `off`.
const KEY: &str = "maintenance";
/// A page and its head must fit into HAProxy's buffer (16,384): above, it does not start any more.
const LARGEST: usize = 15_000;

struct Page {
    site: Site,
    /// The map's file, absolute: also its name at run time.
    map: String,
    /// The page's file, absolute.
    file: String,
}

pub fn open(site: Site) -> Result<Box<dyn PageSwitch>> {
    let path = |name: &str, default: &str| -> Result<String> {
        Ok(site.settings.path_of(&site.settings.or(name, default)?))
    };
    let map = path("LB_PAGE_MAP", "etc/maintenance.map")?;
    let file = path("LB_PAGE_FILE", "etc/maintenance.html")?;
    words::word("map", &map)?;
    Ok(Box::new(Page { map, file, site }))
}

impl Page {
    fn shows(&self, client: &Client) -> Result<bool> {
        let command = words::show_map(&self.map)?;
        let reply = client.ask(&command)?;
        let value = words::map_value(&client.place(), &command, &reply, KEY)?;
        Ok(value.as_deref() == Some("on"))
    }

    fn switch(&self, client: &Client, on: bool) -> Result<()> {
        let value = if on { "on" } else { "off" };
        let set = words::set_map(&self.map, KEY, value)?;
        match words::silent(&client.place(), &set, &client.ask(&set)?) {
            // `add` where the key is there would make a second entry that nothing ever sees
            Err(e) if e.cause().is_some_and(|cause| cause.starts_with("entry not found")) => {
                let add = words::add_map(&self.map, KEY, value)?;
                words::silent(&client.place(), &add, &client.ask(&add)?)?;
            }
            done => done?,
        }
        if self.shows(client)? == on {
            return Ok(());
        }
        Err(Error::new(
            Kind::Failed,
            format!("the map of {} did not take the switch", client.place()),
        )
        .hint("somebody else switches it too: rs-maintenance status"))
    }

    /// The file's text and what it says; absent when no Channel reaches it.
    fn saved(&self) -> Result<Option<(String, bool)>> {
        let Some(channel) = &self.site.channel else { return Ok(None) };
        let text = match channel.get(&self.map) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == Kind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        let on = text.lines().find_map(value_of) == Some("on");
        Ok(Some((text, on)))
    }

    fn save(&self, on: bool) -> Result<()> {
        let (Some(channel), Some((text, _))) = (&self.site.channel, self.saved()?) else {
            return Ok(());
        };
        let wanted = switched(&text, on);
        if wanted != text {
            channel.put(&self.map, wanted.as_bytes(), 0o644)?;
        }
        if self.saved()?.is_some_and(|(_, now)| now == on) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Failed,
            format!("{} of {:?} did not keep the switch", self.map, self.site.name),
        )
        .hint("something else writes that file: find out what, before anything reloads"))
    }

    /// Switches an old worker, unless it ends meanwhile.
    fn each_old(&self, act: &dyn Fn(&Client) -> Result<()>) -> Result<()> {
        for (pid, old) in self.site.old_workers()? {
            if let Err(e) = act(&old)
                && !self.site.has_ended(pid)?
            {
                return Err(e);
            }
        }
        Ok(())
    }

    /// Where it is reached when it listens on every address.
    fn own_address(&self) -> Result<Option<IpAddr>> {
        let written = self.site.settings.get("LB_BIND_ADDRESS")?;
        let written = written.and_then(|text| text.parse::<IpAddr>().ok());
        Ok(written.filter(|address| !address.is_unspecified()).or(self.site.address))
    }

    /// What nobody can ask as the file writes it must be named by `LB_PROBE_URL`: an address that nobody looked at is
    /// one without the page.
    fn must_be_named(&self, unread: &[(String, Option<u16>)]) -> Result<()> {
        let urls = self.site.settings.or("LB_PROBE_URL", "")?;
        let ports: Vec<&str> = urls
            .split(',')
            .filter_map(|url| url.split_once("://")?.1.split('/').next()?.rsplit(':').next())
            .collect();
        let is_named = |port: &Option<u16>| match port {
            Some(port) => ports.iter().any(|named| *named == port.to_string()),
            None => !ports.is_empty(),
        };
        match unread.iter().find(|(_, port)| !is_named(port)) {
            None => Ok(()),
            Some((what, _)) => Err(Error::new(
                Kind::Declined,
                format!(
                    "{:?} answers clients at {what:?}, which cannot be asked so",
                    self.site.name
                ),
            )
            .hint("LB_PROBE_URL names how it is reached from outside, such as http://[::1]:8080")),
        }
    }

    /// When the page's file was changed, and when the process began that read it, in seconds of the server's clock.
    fn times(&self) -> Result<Option<(u64, u64)>> {
        let Some(channel) = &self.site.channel else { return Ok(None) };
        let ask = |argv: &[&str]| -> Result<Option<u64>> {
            let command = Command {
                argv: argv.iter().map(|word| (*word).to_owned()).collect(),
                timeout: crate::patience(ANSWER),
                ..Command::default()
            };
            let out = channel.run(&command, &|_| ())?;
            Ok(out.text.trim().parse().ok().filter(|_| out.exit == 0))
        };
        let changed = ask(&["stat", "-c", "%Y", &self.file])?;
        let now = ask(&["date", "+%s"])?;
        let info = self.site.worker.ask("show info")?;
        let up = words::info(&info, "Uptime_sec").and_then(|text| text.parse::<u64>().ok());
        Ok(match (changed, now, up) {
            (Some(changed), Some(now), Some(up)) => Some((changed, now.saturating_sub(up))),
            _ => None,
        })
    }

    /// Every frontend that uses the backend has a whole rule.
    fn check_rules(&self, text: &str, backend: &str) -> Result<()> {
        let declined = |why: String, hint: String| {
            let what = format!("{:?} has no rule for the page", self.site.name);
            Err(Error::new(Kind::Declined, what).because(why).hint(hint))
        };
        let rules = config::page_rules(text, backend, &self.map, &|name| self.site.expand(name));
        if rules.is_empty() {
            return declined(
                format!("no frontend of its configuration uses the backend {backend:?}"),
                format!("LB_POOLS and {} disagree", self.site.config_file),
            );
        }
        for (frontend, rule) in rules {
            let missing = match rule {
                None => format!("no `http-request return` asks the map {}", self.map),
                Some(rule) if !rule.status_503 => "its rule has no `status 503`".into(),
                Some(rule) if !rule.retry_after => "its rule has no `hdr Retry-After`".into(),
                Some(rule) if !rule.no_store => {
                    "its rule has no `hdr Cache-Control no-store`".into()
                }
                Some(rule) => {
                    let file = rule.file.map(|file| self.site.settings.path_of(&file));
                    if file.as_ref() == Some(&self.file) {
                        continue;
                    }
                    format!("its rule shows {file:?}, not {}", self.file)
                }
            };
            return declined(
                format!("frontend {frontend:?}: {missing}"),
                format!(
                    "{} needs it; LB_PAGE_MAP and LB_PAGE_FILE say which",
                    self.site.config_file
                ),
            );
        }
        Ok(())
    }
}

fn value_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some(KEY)).then(|| words.next()).flatten()
}

/// The map file with the key once; every other line stays.
fn switched(text: &str, on: bool) -> String {
    let line = format!("{KEY} {}", if on { "on" } else { "off" });
    let mut out = String::new();
    let mut there = false;
    for old in text.lines() {
        if value_of(old).is_none() {
            out.push_str(old);
            out.push('\n');
        } else if !there {
            there = true;
            out.push_str(&line);
            out.push('\n');
        }
    }
    if !there {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

impl PageSwitch for Page {
    fn place(&self) -> String {
        self.site.who.clone()
    }

    fn active(&self, pool: &str) -> Result<(bool, Option<bool>)> {
        let all = self.processes(pool)?.iter().all(|(_, on)| *on);
        Ok((all, self.saved()?.map(|(_, on)| on)))
    }

    fn processes(&self, pool: &str) -> Result<Vec<(String, bool)>> {
        self.site.backend(pool)?;
        let mut found = vec![(self.site.worker.place(), self.shows(&self.site.worker)?)];
        for (pid, old) in self.site.old_workers()? {
            match self.shows(&old) {
                Ok(on) => found.push((old.place(), on)),
                Err(e) => {
                    if !self.site.has_ended(pid)? {
                        return Err(e);
                    }
                }
            }
        }
        Ok(found)
    }

    fn listens(&self, pool: &str) -> Result<Vec<Listen>> {
        let backend = self.site.backend(pool)?;
        let own = self.own_address()?;
        let binds = match self.site.config()? {
            Some(text) => config::binds(&text, backend, &|name| self.site.expand(name)),
            None => config::Binds::default(),
        };
        let (mut found, mut unread): (Vec<Listen>, _) = (Vec::new(), binds.unread);
        for bind in binds.found {
            let of = |address| Listen { address, port: bind.port, tls: bind.tls };
            match bind.host.parse::<IpAddr>() {
                Ok(address) if !address.is_unspecified() => found.push(of(address)),
                Ok(IpAddr::V6(_)) => {
                    let v6 = own.filter(IpAddr::is_ipv6);
                    let v4 = own.filter(|own| bind.both && own.is_ipv4());
                    found.extend(v6.or(v4).map(of));
                    if v6.is_none() {
                        unread.push((format!("[::]:{}", bind.port), Some(bind.port)));
                    }
                }
                // every IPv4 address of its own
                _ => match own.filter(IpAddr::is_ipv4) {
                    Some(own) => found.push(of(own)),
                    None => unread.push((format!("*:{}", bind.port), Some(bind.port))),
                },
            }
        }
        self.must_be_named(&unread)?;
        if found.is_empty() {
            let address = own.ok_or_else(|| {
                Error::new(Kind::Declined, format!("{:?} has no address", self.site.name))
                    .hint("launch it first, or set LB_BIND_ADDRESS")
            })?;
            let port = self.site.settings.port("LB_BIND_PORT", 8080)?;
            found.push(Listen { address, port, tls: false });
        }
        Ok(found)
    }

    fn content(&self, pool: &str) -> Result<Option<Vec<u8>>> {
        let (Some(channel), Some(text)) = (&self.site.channel, self.site.config()?) else {
            return Ok(None);
        };
        let backend = self.site.backend(pool)?;
        let rules = config::page_rules(&text, backend, &self.map, &|name| self.site.expand(name));
        // a page that is composed for each request looks like no file
        if rules.iter().flat_map(|(_, rule)| rule).any(|rule| rule.composed) {
            return Ok(None);
        }
        match channel.get(&self.file) {
            Ok(content) => Ok(Some(content)),
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn prepare(&self, pool: &str, page: Option<&[u8]>) -> Result<()> {
        let backend = self.site.backend(pool)?;
        let too_large = |size: usize, what: &str| {
            Err(Error::new(Kind::Usage, format!("{what} has {size} bytes"))
                .hint(format!("at most {LARGEST}: it must fit into one buffer of HAProxy")))
        };
        if let Some(page) = page.filter(|page| page.len() > LARGEST || page.is_empty()) {
            return too_large(page.len(), "the page");
        }
        // the map must be known at run time, in every process: a rule uses it
        self.processes(pool)?;
        let Some(channel) = &self.site.channel else {
            return match page {
                None => Ok(()),
                Some(_) => Err(Error::new(
                    Kind::Declined,
                    format!("the page's file of {:?} is out of reach", self.site.name),
                )
                .because("somebody else launched it")
                .hint("put the file there by hand, and call again without --page")),
            };
        };
        let text = self.site.config()?.unwrap_or_default();
        self.check_rules(&text, backend)?;
        let there = match channel.get(&self.file) {
            Ok(there) => there,
            Err(e) if e.kind() == Kind::NotFound && page.is_some() => Vec::new(),
            Err(e) => return Err(e),
        };
        match page {
            Some(page) if page != there => channel.put(&self.file, page, 0o644)?,
            _ if there.len() > LARGEST => return too_large(there.len(), &self.file),
            _ => {}
        }
        // HAProxy reads the file when it starts: a newer one is not what clients would see
        match self.times()? {
            Some((changed, began)) if changed > began + 1 => Err(Error::new(
                Kind::Declined,
                format!("{:?} does not show its newest page yet", self.site.name),
            )
            .because(format!("{} is newer than the process that has read it", self.file))
            .hint("reload HAProxy there, then call again; tools never reload it")),
            _ => Ok(()),
        }
    }

    fn set(&self, pool: &str, on: bool) -> Result<()> {
        self.site.backend(pool)?;
        // the file first: a reload from here on brings what is wanted
        self.save(on)?;
        self.switch(&self.site.worker, on)?;
        self.each_old(&|old| self.switch(old, on))?;
        // a reload in between has made the worker an old one, with a new one that has read the file
        if self.processes(pool)?.iter().all(|(_, now)| *now == on) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Failed,
            format!("not every process of {} took the switch", self.site.who),
        )
        .hint("run the same again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_file_keeps_every_other_line() {
        assert_eq!(switched("", true), "maintenance on\n");
        assert_eq!(
            switched("# note\nother 1\nmaintenance on\nmaintenance off\n", false),
            "# note\nother 1\nmaintenance off\n"
        );
        assert_eq!(switched("maintenances off", true), "maintenances off\nmaintenance on\n");
        assert_eq!(switched("maintenance on\n", true), "maintenance on\n");
    }
}
