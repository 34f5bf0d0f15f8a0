//! HAProxy's configuration file as text: what tools need to read of it, and the server lines between our markers.
//!
//! Between `# rs-members begin POOL` and `# rs-members end POOL` of a backend the server lines are ours; everything
//! else in the file stays as it is, byte for byte. Pure.

use std::net::IpAddr;

use rs_contract::{Error, Kind, Result};

use super::words;

/// Looks up an environment variable of the process, for `"${NAME}"`.
pub type Expand<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a server line says.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerLine {
    /// Index of the line in the file.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Absent when it is a host name or a socket.
    pub place: Option<(IpAddr, u16)>,
    /// What follows name and address, without `disabled` and `enabled`.
    pub parameters: Vec<String>,
    /// Whether it starts in maintenance.
    pub disabled: bool,
}

/// A server as it should stand between the markers.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Where requests go.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Whether a reload brings it in maintenance.
    pub disabled: bool,
}

/// A backend (or `listen`) section.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Every server line, in order.
    pub servers: Vec<ServerLine>,
    /// Lines of the two markers, when they are as they should be.
    pub markers: std::result::Result<(usize, usize), String>,
    /// Words of `default-server`, those of `defaults` first.
    pub defaults: Vec<String>,
}

/// Where clients are answered, as the file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Host, `*` or empty for all addresses.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether `::` answers IPv4 as well (`v4v6`).
    pub both: bool,
}

/// Where clients are answered, and what of it is no address with a port: a socket, a host name, QUIC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binds {
    /// In the file's order, each once.
    pub found: Vec<Bind>,
    /// As the file has them, with the port where there is one.
    pub unread: Vec<(String, Option<u16>)>,
}

/// The rule that shows the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageRule {
    /// The page's file.
    pub file: Option<String>,
    /// The file is a format that is filled in for each request.
    pub composed: bool,
    /// Answers 503.
    pub status_503: bool,
    /// Has a `Retry-After`.
    pub retry_after: bool,
    /// Has `Cache-Control: no-store`.
    pub no_store: bool,
}

/// Parameters that belong to one server, not to its likes: never copied to another. True: a value follows.
const PERSONAL: &[(&str, bool)] =
    &[("disabled", false), ("enabled", false), ("id", true), ("track", true), ("redir", true)];
/// Parameters that are refused for servers added at run time and mean nothing for an address.
const NOT_AT_RUN_TIME: &[(&str, bool)] =
    &[("init-addr", true), ("resolvers", true), ("resolve-prefer", true), ("resolve-net", true)];
/// A server that nothing is said of.
const CHECKED: &[&str] = &["check", "inter", "1s", "fall", "2", "rise", "1"];

/// Words of a line: blanks separate, `#` begins a comment, quotes and backslashes as HAProxy has them.
pub fn split(line: &str, expand: Expand<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    let mut double = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                if let Some(next) = chars.next() {
                    word.get_or_insert_default().push(next);
                }
            }
            '\'' if !double => {
                let word = word.get_or_insert_default();
                for c in chars.by_ref().take_while(|c| *c != '\'') {
                    word.push(c);
                }
            }
            '"' => {
                double = !double;
                word.get_or_insert_default();
            }
            '$' if double => {
                let braced = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| {
                    if braced { *c != '}' } else { c.is_ascii_alphanumeric() || *c == '_' }
                }) {
                    name.push(c);
                }
                if braced {
                    chars.next();
                }
                let (name, default) = name.split_once('-').unwrap_or((name.as_str(), ""));
                let value = expand(name).unwrap_or_else(|| default.to_owned());
                word.get_or_insert_default().push_str(&value);
            }
            '#' if !double => break,
            c if c.is_whitespace() && !double => found.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

const SECTIONS: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "mailers",
    "userlist",
    "cache",
    "ring",
    "program",
    "http-errors",
    "fcgi-app",
    "crt-store",
    "log-forward",
];

/// A section of the file.
pub struct Section<'a> {
    /// `backend`, `defaults` …
    pub kind: String,
    /// Its name; empty when it has none.
    pub name: String,
    /// Index and words of each line, the head left out; lines without words too.
    pub lines: Vec<(usize, Vec<String>, &'a str)>,
}

/// The sections, in order.
pub fn sections<'a>(text: &'a str, expand: Expand<'_>) -> Vec<Section<'a>> {
    let mut found: Vec<Section<'a>> = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let words = split(raw, expand);
        match words.first() {
            Some(first) if SECTIONS.contains(&first.as_str()) => found.push(Section {
                kind: first.clone(),
                name: words.get(1).cloned().unwrap_or_default(),
                lines: Vec::new(),
            }),
            _ => {
                if let Some(section) = found.last_mut() {
                    section.lines.push((at, words, raw));
                }
            }
        }
    }
    found
}

/// Reads a backend of the file; absent when the file has none of that name.
pub fn backend(text: &str, name: &str, pool: &str, expand: Expand<'_>) -> Option<Backend> {
    let mut defaults = Vec::new();
    for section in sections(text, expand) {
        let own: Vec<String> = section
            .lines
            .iter()
            .filter(|(_, words, _)| words.first().is_some_and(|w| w == "default-server"))
            .flat_map(|(_, words, _)| words.iter().skip(1).cloned())
            .collect();
        if section.kind == "defaults" {
            defaults = own;
            continue;
        }
        if !matches!(section.kind.as_str(), "backend" | "listen") || section.name != name {
            continue;
        }
        defaults.extend(own);
        let servers = section
            .lines
            .iter()
            .filter(|(_, words, _)| words.first().is_some_and(|w| w == "server"))
            .filter_map(|(at, words, _)| server_line(*at, words))
            .collect();
        return Some(Backend { servers, markers: markers(&section, pool), defaults });
    }
    None
}

fn server_line(line: usize, words: &[String]) -> Option<ServerLine> {
    let (name, written) = (words.get(1)?, words.get(2)?);
    let parameters = words.get(3..).unwrap_or_default();
    let is_switch = |word: &String| word == "disabled" || word == "enabled";
    Some(ServerLine {
        line,
        name: name.clone(),
        place: place_of(written),
        disabled: parameters.iter().rev().find(|w| is_switch(w)).is_some_and(|w| w == "disabled"),
        parameters: parameters.iter().filter(|word| !is_switch(word)).cloned().collect(),
    })
}

fn place_of(written: &str) -> Option<(IpAddr, u16)> {
    let plain = written.strip_prefix("ipv4@").or(written.strip_prefix("ipv6@")).unwrap_or(written);
    let (host, port) = plain.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).parse().ok()?, port.parse().ok()?))
}

fn markers(section: &Section<'_>, pool: &str) -> std::result::Result<(usize, usize), String> {
    let find = |word: &str| -> Vec<usize> {
        section
            .lines
            .iter()
            .filter(|(_, _, raw)| {
                let mut words = raw.trim().trim_start_matches('#').split_whitespace();
                raw.trim_start().starts_with('#')
                    && words.next() == Some("rs-members")
                    && words.next() == Some(word)
                    && words.next() == Some(pool)
            })
            .map(|(at, _, _)| *at)
            .collect()
    };
    match (find("begin").as_slice(), find("end").as_slice()) {
        ([begin], [end]) if begin < end => Ok((*begin, *end)),
        ([], []) => {
            Err(format!("the backend has no `# rs-members begin {pool}` and `… end {pool}`"))
        }
        _ => Err(format!(
            "`# rs-members begin {pool}` and `# rs-members end {pool}` must each stand once, in this order"
        )),
    }
}

impl Backend {
    /// One of which nothing is known: its file is out of reach.
    pub fn unknown() -> Backend {
        Backend { servers: Vec::new(), markers: Err("out of reach".into()), defaults: Vec::new() }
    }

    /// The line of a server: by where it is; by name only where the line has no address.
    pub fn line_of(&self, address: IpAddr, port: u16, name: &str) -> Option<&ServerLine> {
        self.servers
            .iter()
            .find(|line| line.place == Some((address, port)))
            .or_else(|| self.servers.iter().find(|line| line.place.is_none() && line.name == name))
    }

    /// Whether a line stands between the markers.
    pub fn is_ours(&self, line: &ServerLine) -> bool {
        matches!(&self.markers, Ok((begin, end)) if (*begin..*end).contains(&line.line))
    }

    /// What a new server line between the markers gets after its address: as the first one there has it, with a
    /// cookie of its own.
    pub fn line_parameters(&self, name: &str) -> Vec<String> {
        let first = self.servers.iter().find(|line| self.is_ours(line)).or(self.servers.first());
        let mut found = match first {
            Some(line) => without(&line.parameters, PERSONAL),
            None if self.defaults.is_empty() => CHECKED.iter().map(|w| (*w).to_owned()).collect(),
            None => vec!["check".to_owned()],
        };
        if let Some(at) = found.iter().position(|word| word == "cookie")
            && let Some(value) = found.get_mut(at + 1)
        {
            name.clone_into(value);
        }
        found
    }

    /// What `add server` is given: it inherits nothing, so `default-server` comes first.
    pub fn run_time_parameters(&self, name: &str) -> Vec<String> {
        let mut all = without(&self.defaults, PERSONAL);
        all.extend(self.line_parameters(name));
        without(&all, NOT_AT_RUN_TIME)
    }

    /// The file with exactly the `wanted` servers between the markers. Lines of those that stay are left as they
    /// are, but for `disabled`; servers that have a line outside the markers are left alone.
    pub fn rewrite(&self, text: &str, wanted: &[Wanted]) -> Result<String> {
        let (begin, end) = self.markers.clone().map_err(|why| {
            Error::new(Kind::Declined, "the members cannot be saved").because(why)
        })?;
        if self.defaults.iter().any(|word| word == "disabled") {
            return Err(Error::new(Kind::Declined, "the members cannot be saved")
                .because("`default-server disabled` makes every server line mean another thing")
                .hint("take `disabled` off default-server"));
        }
        let indent: String = text
            .lines()
            .nth(begin)
            .unwrap_or_default()
            .chars()
            .take_while(|c| c.is_whitespace())
            .collect();
        let mut out = String::with_capacity(text.len() + 100 * wanted.len());
        let mut written = vec![false; wanted.len()];
        for (at, raw) in text.split_inclusive('\n').enumerate() {
            if at == end {
                for (server, _) in wanted.iter().zip(&written).filter(|(_, done)| !**done) {
                    if self
                        .line_of(server.address, server.port, &server.name)
                        .is_some_and(|line| !self.is_ours(line))
                    {
                        continue;
                    }
                    out.push_str(&indent);
                    out.push_str(&self.new_line(server)?);
                    out.push('\n');
                }
            }
            let ours = self
                .servers
                .iter()
                .find(|line| line.line == at && (begin..end).contains(&line.line));
            let Some(line) = ours else {
                out.push_str(raw);
                continue;
            };
            let is = |server: &Wanted| match line.place {
                Some(place) => place == (server.address, server.port),
                None => line.name == server.name,
            };
            // a second line for the same address goes: a server stands once
            if let Some(which) = wanted.iter().position(is)
                && let Some(done) = written.get_mut(which)
                && !std::mem::replace(done, true)
                && let Some(server) = wanted.get(which)
            {
                out.push_str(&switched(raw, line, server.disabled));
            }
        }
        Ok(out)
    }

    fn new_line(&self, server: &Wanted) -> Result<String> {
        let name = words::word("server", &server.name)?;
        let mut line = format!("server {name} {}", words::place(server.address, server.port));
        for parameter in self.line_parameters(&server.name) {
            line.push(' ');
            line.push_str(words::word("server parameter", &parameter)?);
        }
        if server.disabled {
            line.push_str(" disabled");
        }
        Ok(line)
    }
}

fn switched(raw: &str, line: &ServerLine, disabled: bool) -> String {
    if line.disabled == disabled {
        return raw.to_owned();
    }
    let body = raw.trim_end();
    let end = &raw[body.len()..];
    if disabled {
        let (code, comment) = match body.find(" #") {
            Some(at) => body.split_at(at),
            None => (body, ""),
        };
        return format!("{} disabled{comment}{end}", code.trim_end());
    }
    let indent: String = body.chars().take_while(|c| c.is_whitespace()).collect();
    let kept: Vec<&str> = body.split_whitespace().filter(|word| *word != "disabled").collect();
    format!("{indent}{}{end}", kept.join(" "))
}

fn without(parameters: &[String], what: &[(&str, bool)]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = parameters.iter();
    while let Some(word) = words.next() {
        match what.iter().find(|(name, _)| name == word) {
            Some((_, true)) => {
                words.next();
            }
            Some((_, false)) => {}
            None => kept.push(word.clone()),
        }
    }
    kept
}

/// Where clients reach a backend: the `bind` lines of the frontends that use it, or of the `listen` itself.
pub fn binds(text: &str, backend: &str, expand: Expand<'_>) -> Binds {
    let mut all = Binds::default();
    for section in sections(text, expand).iter().filter(|section| uses(section, backend)) {
        for (_, words, _) in &section.lines {
            if words.first().is_none_or(|word| word != "bind") {
                continue;
            }
            let has = |name: &str| words.iter().any(|word| word == name);
            for place in words.get(1).map(String::as_str).unwrap_or_default().split(',') {
                let Some((host, ports)) = host_and_ports(place) else {
                    let port = place.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
                    all.unread.push((place.to_owned(), port));
                    continue;
                };
                for port in ports {
                    let host = host.to_owned();
                    let bind = Bind { host, port, tls: has("ssl"), both: has("v4v6") };
                    if !all.found.contains(&bind) {
                        all.found.push(bind);
                    }
                }
            }
        }
    }
    all
}

/// Host and ports of `HOST:PORT` or `HOST:FIRST-LAST`; absent when it is no address.
fn host_and_ports(place: &str) -> Option<(&str, std::ops::RangeInclusive<u16>)> {
    let plain = place.strip_prefix("ipv4@").or(place.strip_prefix("ipv6@")).unwrap_or(place);
    let (host, port) = plain.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    if !host.is_empty() && host != "*" {
        host.parse::<IpAddr>().ok()?;
    }
    let (first, last) = port.split_once('-').unwrap_or((port, port));
    Some((host, first.parse().ok()?..=last.parse().ok()?))
}

/// The rules that show the page by that map, itself or through an `acl`: one for each frontend that uses the backend,
/// with the frontend's name; absent where a frontend has none.
pub fn page_rules(
    text: &str,
    backend: &str,
    map: &str,
    expand: Expand<'_>,
) -> Vec<(String, Option<PageRule>)> {
    let asks = |words: &[String]| {
        words
            .iter()
            .any(|word| word.contains(&format!("({map},")) || word.contains(&format!("({map})")))
    };
    let first = |words: &[String], name: &str| words.first().is_some_and(|word| word == name);
    sections(text, expand)
        .iter()
        .filter(|section| uses(section, backend))
        .map(|section| {
            let acls: Vec<&String> = section
                .lines
                .iter()
                .filter(|(_, words, _)| first(words, "acl") && asks(words))
                .filter_map(|(_, words, _)| words.get(1))
                .collect();
            let rule = section.lines.iter().find(|(_, words, _)| {
                first(words, "http-request")
                    && words.get(1).is_some_and(|word| word == "return")
                    && (asks(words) || words.iter().skip(2).any(|word| acls.contains(&word)))
            });
            (section.name.clone(), rule.map(|(_, words, _)| rule_of(words)))
        })
        .collect()
}

fn rule_of(words: &[String]) -> PageRule {
    let after =
        |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let header = |name: &str| {
        words.windows(3).find(|three| three[0] == "hdr" && three[1].eq_ignore_ascii_case(name))
    };
    PageRule {
        file: after("file").or(after("lf-file")).cloned(),
        composed: after("lf-file").is_some(),
        status_503: after("status").is_some_and(|status| status == "503"),
        retry_after: header("Retry-After").is_some(),
        no_store: header("Cache-Control").is_some_and(|three| three[2].contains("no-store")),
    }
}

/// Whether a section answers clients of the backend, or may do so: a backend that is chosen by a sample can be any.
fn uses(section: &Section<'_>, backend: &str) -> bool {
    match section.kind.as_str() {
        "listen" => section.name == backend,
        "frontend" => section.lines.iter().any(|(_, words, _)| {
            matches!(words.first().map(String::as_str), Some("default_backend" | "use_backend"))
                && words.get(1).is_some_and(|name| name == backend || name.contains("%["))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
global
  stats socket run/s level admin
defaults
  default-server inter 2s
frontend web
  bind 127.0.1.1:8080,[::1]:8080
  bind \"${LB_BIND_ADDRESS}:${LB_TLS_PORT-8443}\" ssl crt x.pem
  http-request return status 503 content-type text/html file /h/page.html hdr Retry-After 60 hdr Cache-Control no-store if { str(maintenance),map(/h/maintenance.map,off) -m str on }
  default_backend be_www
frontend other
  bind :9999
  default_backend other
backend be_www
  balance roundrobin   # a comment stays
  server fixed 127.0.1.30:8000 check
  # rs-members begin www
  server a 127.0.1.31:8000 check weight 5 cookie a disabled # mine
  # rs-members end www
  option redispatch
backend other
";

    fn none(_: &str) -> Option<String> {
        None
    }

    fn wanted(name: &str, last: u8, disabled: bool) -> Wanted {
        let address = IpAddr::from([127, 0, 1, last]);
        Wanted { name: name.into(), address, port: 8000, disabled }
    }

    #[test]
    fn lines_outside_the_markers_stay_byte_for_byte() {
        let found = backend(FILE, "be_www", "www", &none).unwrap();
        let all = [wanted("fixed", 30, true), wanted("a", 31, true), wanted("new", 32, false)];
        let text = found.rewrite(FILE, &all).unwrap();
        let expected = FILE.replace(
            "disabled # mine\n",
            "disabled # mine\n  server new 127.0.1.32:8000 check weight 5 cookie new\n",
        );
        assert_eq!(text, expected);
        let again = backend(&text, "be_www", "www", &none).unwrap();
        assert_eq!(again.rewrite(&text, &all).unwrap(), text, "a second time changes nothing");
        let none_left = again.rewrite(&text, &[]).unwrap();
        assert!(!none_left.contains("server a ") && !none_left.contains("server new "));
        assert!(none_left.contains("server fixed "));
    }

    #[test]
    fn disabled_is_switched_and_nothing_else() {
        let found = backend(FILE, "be_www", "www", &none).unwrap();
        let text = found.rewrite(FILE, &[wanted("renamed", 31, false)]).unwrap();
        assert!(
            text.contains("  server a 127.0.1.31:8000 check weight 5 cookie a # mine\n"),
            "{text}"
        );
        let found = backend(&text, "be_www", "www", &none).unwrap();
        let back = found.rewrite(&text, &[wanted("x", 31, true)]).unwrap();
        assert_eq!(back, FILE);
    }

    #[test]
    fn parameters_come_from_default_server_and_the_first_line() {
        let found = backend(FILE, "be_www", "www", &none).unwrap();
        assert_eq!(found.run_time_parameters("n").join(" "), "inter 2s check weight 5 cookie n");
        let text = "backend b\n # rs-members begin b\n # rs-members end b\n";
        let found = backend(text, "b", "b", &none).unwrap();
        assert_eq!(found.run_time_parameters("n").join(" "), "check inter 1s fall 2 rise 1");
    }

    #[test]
    fn missing_or_crossed_markers_say_so() {
        for text in [
            "backend b\n server x 127.0.0.1:1\n",
            "backend b\n # rs-members end b\n # rs-members begin b\n",
            "backend b\n # rs-members begin b\n # rs-members begin b\n # rs-members end b\n",
            "backend b\n # rs-members begin c\n # rs-members end c\n",
        ] {
            let found = backend(text, "b", "b", &none).unwrap();
            let e = found.rewrite(text, &[]).unwrap_err();
            assert_eq!(e.kind(), Kind::Declined);
        }
        assert_eq!(backend(FILE, "nope", "nope", &none), None);
    }

    #[test]
    fn a_name_that_is_no_word_never_reaches_the_file() {
        let text = "backend b\n # rs-members begin b\n # rs-members end b\n";
        let found = backend(text, "b", "b", &none).unwrap();
        let bad = Wanted { name: "x\n server y".into(), ..wanted("", 1, false) };
        assert_eq!(found.rewrite(text, &[bad]).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn binds_are_those_of_the_frontends_that_use_the_backend() {
        let expand = |name: &str| (name == "LB_BIND_ADDRESS").then(|| "127.0.1.2".to_owned());
        let found = binds(FILE, "be_www", &expand);
        let of = |bind: &Bind| (bind.host.clone(), bind.port, bind.tls);
        assert_eq!(
            found.found.iter().map(of).collect::<Vec<_>>(),
            [
                ("127.0.1.1".into(), 8080, false),
                ("::1".into(), 8080, false),
                ("127.0.1.2".into(), 8443, true)
            ]
        );
        assert!(found.unread.is_empty());
    }

    #[test]
    fn a_bind_that_is_no_address_is_told_and_a_backend_chosen_by_a_sample_can_be_any() {
        let text = "frontend f\n bind :::80-81 v4v6\n bind www.mysite.com:82,unix@/run/x\n bind quic4@:443 ssl\n use_backend %[req.hdr(host),map(/m)]\nbackend b\n";
        let all = binds(text, "b", &none);
        let of = |bind: &Bind| (bind.host.clone(), bind.port, bind.both);
        assert_eq!(
            all.found.iter().map(of).collect::<Vec<_>>(),
            [("::".into(), 80, true), ("::".into(), 81, true)]
        );
        let unread: Vec<_> = all.unread.iter().map(|(what, port)| (what.as_str(), *port)).collect();
        assert_eq!(
            unread,
            [("www.mysite.com:82", Some(82)), ("unix@/run/x", None), ("quic4@:443", Some(443))]
        );
    }

    #[test]
    fn the_page_rule_is_found_by_its_map_in_every_frontend_that_uses_the_backend() {
        let found = page_rules(FILE, "be_www", "/h/maintenance.map", &none);
        let rule = found[0].1.clone().unwrap();
        assert!(rule.status_503 && rule.retry_after && rule.no_store);
        assert_eq!(rule.file.as_deref(), Some("/h/page.html"));
        assert_eq!(page_rules(FILE, "be_www", "/h/other.map", &none), [("web".into(), None)]);
        let by_acl = "frontend f\n acl up str(m),map(/m,off) -m str on\n http-request return status 503 file p if up !x\n default_backend b\nfrontend tls\n default_backend b\nbackend b\n";
        let found = page_rules(by_acl, "b", "/m", &none);
        assert_eq!(found[0].1.as_ref().and_then(|r| r.file.as_deref()), Some("p"));
        assert_eq!(
            found[1],
            ("tls".into(), None),
            "a frontend without the rule lets clients through"
        );
    }

    #[test]
    fn words_are_split_as_haproxy_does() {
        let found = split(r#"a "b c" 'd "e' f\ g "${X}y" h#i"#, &|_| Some("v".into()));
        assert_eq!(found, ["a", "b c", "d \"e", "f g", "vy", "h"]);
    }
}
