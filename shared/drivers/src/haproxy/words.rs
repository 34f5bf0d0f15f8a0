//! HAProxy's words: commands built, replies read. Pure text.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rs_contract::{Error, Kind, Result};
use rs_model::member::Admin;

/// A server of a backend, from `show servers state`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerState {
    /// Backend.
    pub backend: String,
    /// Its name there.
    pub name: String,
    /// Unspecified (0.0.0.0) when it has none: a name that was not resolved yet, a unix socket.
    pub address: IpAddr,
    /// Port; 0 when it has none.
    pub port: u16,
    /// What the balancer was told.
    pub admin: Admin,
    /// Effective weight.
    pub weight: u32,
}

/// The processes of a master, from `show proc`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processes {
    /// Those that take new connections.
    pub workers: Vec<u32>,
    /// Those that serve what they have after a reload.
    pub old: Vec<u32>,
}

/// A name or path that is pasted into a command: one word without anything that HAProxy gives a meaning.
pub fn word<'a>(kind: &str, text: &'a str) -> Result<&'a str> {
    let good = !text.is_empty()
        && text.len() <= 1_000
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-/+%@,=".contains(c))
        && !text.starts_with(['@', '-']);
    if good {
        return Ok(text);
    }
    Err(Error::new(
        Kind::Usage,
        format!("the {kind} {text:?} is no word that HAProxy can be given"),
    )
    .hint("letters, digits and _ . : - / + % @ , = are; blanks, quotes, `;` and `#` are not"))
}

/// The name that a server gets in a backend: a word made of ours, unlike those that are `taken`.
pub fn server_name(ours: &str, taken: &[&str]) -> String {
    let mut plain: String = ours
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' })
        .take(60)
        .collect();
    if plain.trim_matches('-').is_empty() {
        plain = "server".into();
    }
    let plain = plain.trim_start_matches(['-', '.']).to_owned();
    if !taken.contains(&plain.as_str()) {
        return plain;
    }
    let mut number = 2_u32;
    loop {
        let tried = format!("{plain}-{number}");
        if !taken.contains(&tried.as_str()) {
            return tried;
        }
        number += 1;
    }
}

/// `ADDRESS:PORT` as HAProxy takes it.
pub fn place(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

fn admin_word(admin: Admin) -> &'static str {
    match admin {
        Admin::Ready => "ready",
        Admin::Drain => "drain",
        Admin::Maint => "maint",
    }
}

/// `set server B/S state …`. Silent.
pub fn set_state(backend: &str, server: &str, admin: Admin) -> Result<String> {
    let (backend, server) = (word("backend", backend)?, word("server", server)?);
    Ok(format!("set server {backend}/{server} state {}", admin_word(admin)))
}

/// `add server B/S ADDRESS:PORT PARAMETERS`. Says `New server registered.`; the server begins in maint.
pub fn add_server(
    backend: &str,
    server: &str,
    address: IpAddr,
    port: u16,
    parameters: &[String],
) -> Result<String> {
    let (backend, server) = (word("backend", backend)?, word("server", server)?);
    let mut command = format!("add server {backend}/{server} {}", place(address, port));
    for parameter in parameters {
        command.push(' ');
        command.push_str(word("server parameter", parameter)?);
    }
    Ok(command)
}

/// `enable health B/S`: without it the checks of an added server never run. Silent.
pub fn enable_health(backend: &str, server: &str) -> Result<String> {
    Ok(format!("enable health {}/{}", word("backend", backend)?, word("server", server)?))
}

/// `del server B/S`. Says `Server deleted.`; wants maint and no sessions.
pub fn del_server(backend: &str, server: &str) -> Result<String> {
    Ok(format!("del server {}/{}", word("backend", backend)?, word("server", server)?))
}

/// `shutdown sessions server B/S`. Silent; clients get an error at once.
pub fn shutdown_sessions(backend: &str, server: &str) -> Result<String> {
    let (backend, server) = (word("backend", backend)?, word("server", server)?);
    Ok(format!("shutdown sessions server {backend}/{server}"))
}

/// Sessions one by one: a worker that is on its way out refuses [`shutdown_sessions`].
pub const SHOW_SESSIONS: &str = "show sess";

/// Of `show sess`: the sessions that have their request at a server.
pub fn sessions_of<'a>(reply: &'a str, backend: &str, server: &str) -> Vec<&'a str> {
    let (backend, server) = (format!("be={backend}"), format!("srv={server}"));
    reply
        .lines()
        .filter_map(|line| {
            let (id, rest) = line.split_once(": ")?;
            let mut words = rest.split_whitespace();
            let is_id = id.strip_prefix("0x")?.bytes().all(|byte| byte.is_ascii_hexdigit());
            (is_id && words.any(|word| word == backend) && words.any(|word| word == server))
                .then_some(id)
        })
        .collect()
}

/// `shutdown session ID`. Silent; one that is gone is told.
pub fn shutdown_session(id: &str) -> Result<String> {
    Ok(format!("shutdown session {}", word("session", id)?))
}

/// `show servers state B`.
pub fn show_state(backend: &str) -> Result<String> {
    Ok(format!("show servers state {}", word("backend", backend)?))
}

/// `show stat B 4 -1`: servers only, as CSV (JSON costs ten times as much).
pub fn show_stat(backend: &str) -> Result<String> {
    Ok(format!("show stat {} 4 -1", word("backend", backend)?))
}

/// `set map M K V`. Silent; `entry not found.` when the key is not there.
pub fn set_map(map: &str, key: &str, value: &str) -> Result<String> {
    let (map, key, value) = (word("map", map)?, word("key", key)?, word("value", value)?);
    Ok(format!("set map {map} {key} {value}"))
}

/// `add map M K V`. Silent; makes a second entry when the key is there.
pub fn add_map(map: &str, key: &str, value: &str) -> Result<String> {
    let (map, key, value) = (word("map", map)?, word("key", key)?, word("value", value)?);
    Ok(format!("add map {map} {key} {value}"))
}

/// `show map M`.
pub fn show_map(map: &str) -> Result<String> {
    Ok(format!("show map {}", word("map", map)?))
}

/// Known refusals, as they begin: what they mean for a caller, and what to do.
const REFUSALS: &[(&str, Kind, &str)] = &[
    ("No such server", Kind::NotFound, "rs-lbctl status shows the members"),
    ("No such backend", Kind::NotFound, "LB_APPLISTENER_NAME and LB_POOLS name pool and backend"),
    (
        "Can't find backend",
        Kind::NotFound,
        "LB_APPLISTENER_NAME and LB_POOLS name pool and backend",
    ),
    ("No such proxy", Kind::NotFound, "LB_APPLISTENER_NAME and LB_POOLS name pool and backend"),
    (
        "Unknown map identifier",
        Kind::NotFound,
        "no rule of the configuration uses that map file; LB_PAGE_MAP names it, absolute",
    ),
    ("entry not found", Kind::NotFound, "the map has no such key"),
    ("Can't find the target PID", Kind::NotFound, "that process is gone"),
    (
        "Already exists a server with the same name",
        Kind::Declined,
        "try again: somebody else added it",
    ),
    ("Only servers in maintenance mode", Kind::Declined, "maint first"),
    (
        "Server still has connections attached",
        Kind::TimedOut,
        "wait for them, or end them: rs-lbctl drain --kill",
    ),
    (
        "This server cannot be removed at runtime",
        Kind::Declined,
        "another server of the configuration tracks it",
    ),
    (
        "'cookie' option is not accepted",
        Kind::Declined,
        "this HAProxy cannot add servers with a cookie at run time: take `cookie` off the server lines",
    ),
    (
        "Permission denied",
        Kind::Failed,
        "the socket needs `level admin` in HAProxy's configuration",
    ),
    (
        "Proxy is disabled",
        Kind::Declined,
        "an old worker keeps its members until its connections end",
    ),
    ("Unknown command", Kind::Failed, "HAProxy 2.6 or later is needed"),
];

/// The error that a reply stands for.
pub fn refusal(place: &str, command: &str, reply: &str) -> Error {
    let first = reply.lines().find(|line| !line.trim().is_empty()).unwrap_or("no answer").trim();
    let what = format!("{place} refused `{command}`");
    match REFUSALS.iter().find(|(begin, _, _)| first.starts_with(begin)) {
        Some((_, kind, hint)) => Error::new(*kind, what).because(first).hint(*hint),
        None => Error::new(Kind::Failed, what).because(first),
    }
}

/// Success is silence: anything else is an error.
pub fn silent(place: &str, command: &str, reply: &str) -> Result<()> {
    if reply.trim().is_empty() { Ok(()) } else { Err(refusal(place, command, reply)) }
}

/// Success is this text.
pub fn says(place: &str, command: &str, reply: &str, wanted: &str) -> Result<()> {
    if reply.trim().starts_with(wanted) { Ok(()) } else { Err(refusal(place, command, reply)) }
}

/// Reads `show servers state`, columns by their names.
pub fn servers_state(place: &str, command: &str, reply: &str) -> Result<Vec<ServerState>> {
    let mut lines = reply.lines().filter(|line| !line.trim().is_empty());
    if lines.next().map(str::trim) != Some("1") {
        return Err(refusal(place, command, reply));
    }
    let header: Vec<&str> = lines
        .next()
        .and_then(|line| line.strip_prefix("# "))
        .map(|line| line.split_whitespace().collect())
        .unwrap_or_default();
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let field = |name: &str| {
                header
                    .iter()
                    .position(|known| *known == name)
                    .and_then(|at| fields.get(at))
                    .copied()
                    .ok_or_else(|| strange(place, command, &format!("no {name} in {line:?}")))
            };
            let number = |name: &str| -> Result<u32> {
                let text = field(name)?;
                text.parse().map_err(|_| strange(place, command, &format!("{name} is {text:?}")))
            };
            Ok(ServerState {
                backend: field("be_name")?.to_owned(),
                name: field("srv_name")?.to_owned(),
                address: field("srv_addr")?
                    .parse()
                    .unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
                port: u16::try_from(number("srv_port")?).unwrap_or_default(),
                admin: admin_of(number("srv_admin_state")?),
                weight: number("srv_uweight")?,
            })
        })
        .collect()
}

/// Administrative bits. Maint: forced 1, by a tracked server 2, by name resolution 32; a 4 says only that the
/// configuration has `disabled` and stays when the server is up. Drain: forced 8, inherited 16.
fn admin_of(bits: u32) -> Admin {
    if bits & (1 | 2 | 32) != 0 {
        Admin::Maint
    } else if bits & (8 | 16) != 0 {
        Admin::Drain
    } else {
        Admin::Ready
    }
}

fn strange(place: &str, command: &str, what: &str) -> Error {
    Error::new(Kind::Failed, format!("the answer of {place} to `{command}` cannot be read"))
        .because(what)
        .hint("HAProxy 2.6 or later is needed")
}

/// Reads `show stat` by header names: versions add columns.
pub fn stat(place: &str, command: &str, reply: &str) -> Result<Vec<BTreeMap<String, String>>> {
    let mut lines = reply.lines();
    let Some(header) = lines.next().and_then(|line| line.strip_prefix("# ")) else {
        return Err(refusal(place, command, reply));
    };
    let names = csv(header);
    Ok(lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| names.iter().cloned().zip(csv(line)).collect())
        .collect())
}

/// One line of CSV; a field in double quotes may hold commas, and a doubled quote is one.
fn csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push(&mut fields, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => push(&mut fields, c),
        }
    }
    fields
}

fn push(fields: &mut [String], c: char) {
    if let Some(last) = fields.last_mut() {
        last.push(c);
    }
}

/// The value that look-ups of `key` find, from `show map`: the first entry wins.
pub fn map_value(place: &str, command: &str, reply: &str, key: &str) -> Result<Option<String>> {
    if reply.starts_with("Unknown map identifier") || reply.starts_with("Can't find") {
        return Err(refusal(place, command, reply));
    }
    Ok(reply.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (_id, found, value) = (fields.next()?, fields.next()?, fields.next()?);
        (found == key).then(|| value.to_owned())
    }))
}

/// Reads `show proc` of the master.
pub fn processes(place: &str, reply: &str) -> Result<Processes> {
    if !reply.starts_with("#<PID>") {
        return Err(refusal(place, "show proc", reply));
    }
    let mut found = Processes::default();
    let mut section = "";
    for line in reply.lines().skip(1) {
        if let Some(name) = line.strip_prefix("# ") {
            section = name.trim();
            continue;
        }
        let Some(pid) = line.split_whitespace().next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        match section {
            "workers" => found.workers.push(pid),
            "old workers" => found.old.push(pid),
            _ => {}
        }
    }
    Ok(found)
}

/// A field of `show info`.
pub fn info<'a>(reply: &'a str, name: &str) -> Option<&'a str> {
    reply.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| *n == name)).map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n3 www 1 a 127.0.1.31 0 1 1 1 8 2 0 14 0 0 0 0 - 8000 - 0 0 - - 0\n3 www 2 b ::1 2 4 7 1 8 2 0 14 0 0 0 0 - 8001 - 0 0 - - 0\n3 www 3 c - 2 8 1 1 8 2 0 14 0 0 0 0 app.local 80 - 0 0 - - 0\n";

    #[test]
    fn sessions_are_those_of_the_server_and_no_others() {
        let reply = "0x55d7d8f0b0a0: proto=tcpv4 src=127.0.0.1:4000 fe=site be=www srv=a ts=00 age=2s\n\
                     0x55d7d8f0b0b0: proto=tcpv4 src=127.0.0.1:4001 fe=site be=www srv=ab ts=00\n\
                     0x55d7d8f0b0c0: proto=tcpv4 src=127.0.0.1:4002 fe=site be=www2 srv=a ts=00\n\
                     0x55d7d8f0b0d0: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none>\n\
                     rubbish: be=www srv=a\n\n";
        assert_eq!(sessions_of(reply, "www", "a"), ["0x55d7d8f0b0a0"]);
        assert!(sessions_of("", "www", "a").is_empty());
    }

    #[test]
    fn states_are_read_by_bits_and_by_header() {
        let found = servers_state("x", "show servers state www", STATE).unwrap();
        let of = |at: usize| (found[at].name.as_str(), found[at].port, found[at].admin);
        assert_eq!(of(0), ("a", 8000, Admin::Maint));
        assert_eq!(of(1), ("b", 8001, Admin::Ready), "4 is the configuration's word, not a state");
        assert_eq!(of(2), ("c", 80, Admin::Drain));
        assert_eq!(found[1].address, "::1".parse::<IpAddr>().unwrap());
        assert_eq!(found[1].weight, 7);
        assert!(found[2].address.is_unspecified());
        let e = servers_state("x", "c", "Can't find backend.\n").unwrap_err();
        assert_eq!(e.kind(), Kind::NotFound);
    }

    #[test]
    fn every_reply_of_a_silent_command_is_an_error() {
        silent("x", "c", "\n").unwrap();
        for (reply, kind) in [
            ("No such server.", Kind::NotFound),
            ("No such backend.", Kind::NotFound),
            ("anything new", Kind::Failed),
            (
                "Unknown command, but maybe one of the following ones is a better match:",
                Kind::Failed,
            ),
            ("Server still has connections attached to it, cannot remove it.", Kind::TimedOut),
            ("Unknown map identifier. Please use #<id> or <file>.", Kind::NotFound),
        ] {
            let e = silent("x", "set server a/b state ready", reply).unwrap_err();
            assert_eq!(e.kind(), kind, "{reply}");
            assert!(e.to_string().contains(reply.trim()), "{e}");
        }
    }

    #[test]
    fn what_is_pasted_is_one_word() {
        for bad in [
            "www;disable frontend www",
            "a b",
            "a\nshutdown sessions server www/a",
            "$(reboot)x",
            "a#b",
            "\"a\"",
            "a\\b",
            "a'b",
            "",
            "@1",
            "-x",
        ] {
            assert_eq!(set_state("www", bad, Admin::Ready).unwrap_err().kind(), Kind::Usage);
            set_state(bad, "a", Admin::Ready).unwrap_err();
            set_map("/etc/m", bad, "on").unwrap_err();
            set_map(bad, "k", "on").unwrap_err();
            del_server("www", bad).unwrap_err();
            let address = "127.0.1.1".parse().unwrap();
            add_server("www", "a", address, 1, &[bad.to_owned()]).unwrap_err();
        }
    }

    #[test]
    fn names_become_words_that_are_unlike_each_other() {
        assert_eq!(server_name("App Server-3", &[]), "App-Server-3");
        assert_eq!(server_name("App Server-3", &["App-Server-3"]), "App-Server-3-2");
        assert_eq!(server_name("a;b $(x)\"", &[]), "a-b---x--");
        assert_eq!(server_name("äöü", &[]), "server");
        assert_eq!(server_name("array-1 #2", &["x"]), "array-1--2");
        for name in ["--x", "@!1 y", &"x".repeat(200), ";;"] {
            word("server", &server_name(name, &[])).unwrap();
        }
    }

    #[test]
    fn an_ipv6_address_is_bracketed() {
        let command = add_server("b", "s", "::1".parse().unwrap(), 80, &["check".into()]).unwrap();
        assert_eq!(command, "add server b/s [::1]:80 check");
    }

    #[test]
    fn stat_is_read_by_header_names() {
        let reply = "# pxname,svname,scur,status,last_chk,\nwww,a,3,UP 1/3,\"a, \"\"b\"\"\",\n";
        let rows = stat("x", "c", reply).unwrap();
        assert_eq!(rows[0]["scur"], "3");
        assert_eq!(rows[0]["status"], "UP 1/3");
        assert_eq!(rows[0]["last_chk"], "a, \"b\"");
        assert_eq!(stat("x", "c", "No such proxy.").unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn the_first_entry_of_a_map_counts() {
        let reply = "0x55d0 maintenance off\n0x55d1 maintenance on\n";
        assert_eq!(map_value("x", "c", reply, "maintenance").unwrap().as_deref(), Some("off"));
        assert_eq!(map_value("x", "c", "", "maintenance").unwrap(), None);
        map_value("x", "c", "Unknown map identifier. Please use #<id> or <file>.", "k")
            .unwrap_err();
    }

    #[test]
    fn old_workers_are_told_from_new_ones() {
        let reply = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n25507           master          1 [failed: 0]   0d00h00m28s     2.6.12\n# workers\n25674           worker          0               0d00h00m01s     2.6.12\n# old workers\n25535           worker          1               0d00h00m28s     2.6.12\n# programs\n";
        let found = processes("x", reply).unwrap();
        assert_eq!(found, Processes { workers: vec![25674], old: vec![25535] });
        processes("x", "Permission denied").unwrap_err();
    }
}
