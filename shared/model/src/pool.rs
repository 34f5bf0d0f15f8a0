//! What a pool is and should be: who balances it, who is in it, what has to change, what must not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::member::{Admin, Member};
use crate::server::{Server, State};

/// The pools that any server's tags say it balances.
pub fn pools(servers: &[Server]) -> BTreeSet<String> {
    servers
        .iter()
        .flat_map(|server| &server.tags)
        .filter_map(|tag| tag.strip_prefix("load_balancer:active_")?.strip_suffix("=true"))
        .map(str::to_owned)
        .collect()
}

/// The balancers of a pool that can be asked: operational, or launched by somebody else.
pub fn balancers<'a>(servers: &'a [Server], pool: &str) -> Vec<&'a Server> {
    servers
        .iter()
        .filter(|server| server.balances(pool))
        .filter(|server| server.state == State::Operational || server.foreign)
        .collect()
}

/// The balancers of a pool that have a machine and cannot be relied on: booting, stranded.
pub fn doubtful<'a>(servers: &'a [Server], pool: &str) -> Vec<&'a Server> {
    servers
        .iter()
        .filter(|server| server.balances(pool) && server.state.is_up() && !server.foreign)
        .filter(|server| server.state != State::Operational)
        .collect()
}

/// What the tags of an application server say of a pool: the first when it is in, the second when it was.
pub fn tags(pool: &str) -> (String, String) {
    (format!("application:active_{pool}=true"), format!("application:active_{pool}=false"))
}

/// The arrays whose instances come into a pool or go out of it, each with whether it is in the pool then: as long as
/// one of its instances is. `left`: who else is in the pool.
pub fn arrays<'a>(
    servers: &'a [Server],
    come: &[&str],
    gone: &[&str],
    left: &[&str],
) -> BTreeMap<&'a str, bool> {
    let of = |name: &&str| servers.iter().find(|server| server.name == **name)?.array.as_deref();
    let stay = left.iter().filter(|name| !gone.contains(name));
    let there: BTreeSet<&str> = come.iter().chain(stay).filter_map(of).collect();
    come.iter().chain(gone).filter_map(of).map(|array| (array, there.contains(array))).collect()
}

/// Names the server that each member is. By address; where several servers have that address, by port too.
pub fn name_members(members: &mut [Member], servers: &[Server], port_of: impl Fn(&Server) -> u16) {
    for member in members {
        let there: Vec<&Server> =
            servers.iter().filter(|server| server.address == Some(member.address)).collect();
        member.server = match there.as_slice() {
            [one] => Some(one.name.clone()),
            several => several
                .iter()
                .find(|server| port_of(server) == member.port)
                .map(|server| server.name.clone()),
        };
    }
}

/// A server as it should be in a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The server's name.
    pub server: String,
    /// Where requests go.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Ready, or in maint: standby.
    pub admin: Admin,
}

impl Wish {
    /// The member that it is on one balancer.
    pub fn of<'a>(&self, members: &'a [Member]) -> Option<&'a Member> {
        members.iter().find(|m| (m.address, m.port) == (self.address, self.port))
    }

    /// Whether it is so on one balancer, at run time and over a reload (where that is wanted).
    pub fn is_so(&self, members: &[Member], saved_too: bool) -> bool {
        self.of(members).is_some_and(|member| {
            member.is_there()
                && member.admin == self.admin
                && (!saved_too || member.saved != Some(false))
        })
    }
}

impl Member {
    /// Whether new requests know it: not what an old process or only the file still has.
    pub fn is_there(&self) -> bool {
        !self.status.starts_with("only in ")
    }

    /// Whether it gets traffic as far as the balancer's own word goes.
    pub fn takes(&self) -> bool {
        self.is_there() && self.admin == Admin::Ready && !self.status.starts_with("DOWN")
    }

    /// In words: who, on what.
    pub fn title(&self) -> String {
        let who = self.server.clone().unwrap_or_else(|| format!("the unknown {:?}", self.id));
        format!("{who} ({}:{}) in {} on {}", self.address, self.port, self.pool, self.balancer)
    }
}

/// Members of one balancer that are not wished for.
pub fn extras<'a>(members: &'a [Member], wishes: &[Wish]) -> Vec<&'a Member> {
    members
        .iter()
        .filter(|m| m.is_there() || m.saved == Some(false))
        .filter(|m| !wishes.iter().any(|w| (w.address, w.port) == (m.address, m.port)))
        .collect()
}

/// Whether taking these away leaves nobody who is told to get traffic, or nobody who is up, where somebody is now.
pub fn would_be_empty(members: &[Member], gone: &[(IpAddr, u16)]) -> bool {
    let last = |counts: &dyn Fn(&Member) -> bool| {
        let mut all = members.iter().filter(|m| counts(m)).peekable();
        all.peek().is_some() && all.all(|m| gone.contains(&(m.address, m.port)))
    };
    last(&|m| m.is_there() && m.admin == Admin::Ready) || last(&Member::takes)
}

/// What somebody else did to the members of one balancer since they were read, each as it was and as it is. Health and
/// requests in flight change by themselves and do not count, nor does what an old process still has.
pub fn drifted(before: &[Member], now: &[Member]) -> Vec<String> {
    let lasting = |m: &&Member| !m.status.starts_with("only in the old");
    let at = |m: &Member| (m.address, m.port);
    let told = |m: Option<&Member>| match m {
        None => "absent".to_owned(),
        Some(m) if !m.is_there() => "only in its configuration".to_owned(),
        Some(m) => {
            let admin = match m.admin {
                Admin::Ready => "ready",
                Admin::Drain => "draining",
                Admin::Maint => "in maint",
            };
            let other = if m.saved == Some(false) { ", and its configuration differs" } else { "" };
            format!("{admin}{other}")
        }
    };
    let mut places: Vec<_> = before.iter().chain(now).filter(lasting).map(at).collect();
    places.sort_unstable();
    places.dedup();
    places
        .into_iter()
        .filter_map(|place| {
            let find =
                |all: &'_ [Member]| all.iter().filter(lasting).find(|m| at(m) == place).cloned();
            let (was, is) = (find(before), find(now));
            let (then, since) = (told(was.as_ref()), told(is.as_ref()));
            (then != since).then(|| {
                let title = was.or(is).map(|m| m.title()).unwrap_or_default();
                format!("{title} was {then} and is {since}")
            })
        })
        .collect()
}

/// What keeps a pool from being as a gate wants it on one balancer: at least `least` members (all that are told to be
/// ready, and one, when absent) get traffic, everybody is known, and a reload would bring the same.
///
/// `answers`: whether our own request to the member was answered; what a balancer says before its first check proves
/// nothing.
pub fn not_up(
    members: &[Member],
    least: Option<usize>,
    answers: impl Fn(&Member) -> Result<(), String>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut up = 0;
    for member in members {
        let title = member.title();
        if member.server.is_none() {
            found.push(format!("{title}: no server of the deployment has that address"));
        }
        if member.saved == Some(false) {
            found.push(format!("{title}: a reload would bring another thing"));
        }
        if !member.is_there() || member.admin != Admin::Ready {
            continue;
        }
        match answers(member) {
            Ok(()) if member.takes() => up += 1,
            Ok(()) => found.push(format!("{title}: the balancer says {}", member.status)),
            Err(why) => found.push(format!("{title}: {why}")),
        }
    }
    if let Some(least) = least {
        // with a number, others may be down
        if up >= least {
            found.retain(|why| {
                !why.contains(": the balancer says ") && !why.contains("does not answer")
            });
        } else {
            found.push(format!("{up} of at least {least} members answer"));
        }
    } else if up == 0 {
        found.push("no member answers".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(last: u8, admin: Admin, status: &str) -> Member {
        Member {
            balancer: "lb".into(),
            pool: "www".into(),
            id: format!("m{last}"),
            address: IpAddr::from([127, 0, 1, last]),
            port: 8000,
            server: Some(format!("App Server-{last}")),
            admin,
            status: status.into(),
            last_check: None,
            sessions: 0,
            weight: 1,
            saved: Some(true),
        }
    }

    fn at(last: u8) -> (IpAddr, u16) {
        (IpAddr::from([127, 0, 1, last]), 8000)
    }

    #[test]
    fn the_last_member_is_the_last_that_gets_traffic() {
        let members = [member(1, Admin::Ready, "UP"), member(2, Admin::Maint, "MAINT")];
        assert!(would_be_empty(&members, &[at(1)]));
        assert!(!would_be_empty(&members, &[at(2)]));
        assert!(!would_be_empty(&members[1..], &[at(2)]), "it is empty already");
        assert!(!would_be_empty(&[], &[]));
        let other_port = (at(1).0, 8001);
        assert!(!would_be_empty(&members, &[other_port]), "it is another member");
        let old = member(3, Admin::Ready, "only in the old worker 7");
        let members = [members[0].clone(), old.clone()];
        assert!(
            would_be_empty(&members, &[at(1)]),
            "what only an old process has serves nobody new"
        );
        assert!(!old.takes() && !would_be_empty(&[old], &[at(3)]));
    }

    #[test]
    fn whoever_is_not_wished_for_is_extra_by_address_and_port() {
        let wish = Wish { server: "x".into(), address: at(1).0, port: 8000, admin: Admin::Ready };
        let mut other_port = member(1, Admin::Ready, "UP");
        (other_port.port, other_port.id) = (8001, "m1b".into());
        let mut in_file = member(4, Admin::Maint, "only in its configuration");
        in_file.saved = Some(false);
        let members = [
            member(1, Admin::Ready, "UP"),
            other_port,
            member(2, Admin::Maint, "MAINT"),
            member(3, Admin::Ready, "only in the old worker 7"),
            in_file,
        ];
        let found: Vec<&str> =
            extras(&members, &[wish]).into_iter().map(|m| m.id.as_str()).collect();
        assert_eq!(found, ["m1b", "m2", "m4"], "an old process goes by itself, the file does not");
    }

    #[test]
    fn the_last_member_that_is_up_is_the_last_though_others_are_ready() {
        let members = [member(1, Admin::Ready, "UP"), member(2, Admin::Ready, "DOWN")];
        assert!(would_be_empty(&members, &[at(1)]), "the other one is down");
        assert!(!would_be_empty(&members, &[at(2)]));
        let down = [member(1, Admin::Ready, "DOWN"), member(2, Admin::Ready, "DOWN")];
        assert!(!would_be_empty(&down, &[at(1)]), "nobody was up before");
        assert!(would_be_empty(&down, &[at(1), at(2)]), "they come up again by themselves");
    }

    #[test]
    fn what_somebody_else_told_a_balancer_is_named_as_it_was_and_as_it_is() {
        let before = [member(1, Admin::Ready, "UP"), member(2, Admin::Maint, "MAINT")];
        let mut now = before.clone();
        now[0].status = "DOWN".into();
        now[0].sessions = 7;
        assert!(drifted(&before, &now).is_empty(), "health and traffic are nobody's doing");
        now[0].admin = Admin::Drain;
        now[1].saved = Some(false);
        let found = drifted(&before, &now);
        assert!(found[0].ends_with("was ready and is draining"), "{found:?}");
        assert!(found[1].contains("its configuration differs"), "{found:?}");
        assert!(drifted(&before, &before[..1])[0].ends_with("was in maint and is absent"));
        assert!(drifted(&before[..1], &before)[0].ends_with("was absent and is in maint"));
        let old = [
            before[0].clone(),
            before[1].clone(),
            member(3, Admin::Ready, "only in the old worker 7"),
        ];
        assert!(drifted(&before, &old).is_empty());
        let gone = [member(1, Admin::Ready, "only in its configuration"), before[1].clone()];
        assert!(drifted(&before, &gone)[0].ends_with("was ready and is only in its configuration"));
    }

    #[test]
    fn up_is_our_own_request_and_not_the_balancer_s_word() {
        let members = [member(1, Admin::Ready, "UP"), member(2, Admin::Ready, "UP 1/3")];
        assert_eq!(not_up(&members, None, |_| Ok(())), Vec::<String>::new());
        let one = |m: &Member| {
            if m.id == "m1" { Ok(()) } else { Err("it does not answer".to_owned()) }
        };
        assert_eq!(not_up(&members, None, one).len(), 1);
        assert_eq!(not_up(&members, Some(1), one), Vec::<String>::new());
        assert_eq!(not_up(&members, Some(2), one).len(), 2);
        assert_eq!(not_up(&[], None, one), ["no member answers"]);
        let down = [member(1, Admin::Ready, "DOWN")];
        assert!(not_up(&down, None, |_| Ok(()))[0].contains("DOWN"));
    }

    #[test]
    fn an_unknown_member_and_one_that_is_not_saved_are_named() {
        let mut members = [member(1, Admin::Ready, "UP"), member(2, Admin::Maint, "MAINT")];
        members[1].server = None;
        members[0].saved = Some(false);
        let found = not_up(&members, Some(1), |_| Ok(()));
        assert_eq!(found.len(), 2, "{found:?}");
        let old =
            [member(1, Admin::Ready, "UP"), member(2, Admin::Ready, "only in the old worker 7")];
        let new = |m: &Member| if m.id == "m1" { Ok(()) } else { Err("gone".to_owned()) };
        let standby = [old[0].clone(), member(2, Admin::Maint, "MAINT")];
        assert_eq!(not_up(&standby, None, new), Vec::<String>::new(), "nor to who stands by");
        assert_eq!(not_up(&old, None, new), Vec::<String>::new(), "nobody new is sent there");
    }

    #[test]
    fn what_only_an_old_process_has_is_not_there() {
        let wish = Wish { server: "x".into(), address: at(1).0, port: 8000, admin: Admin::Ready };
        assert!(wish.is_so(&[member(1, Admin::Ready, "UP")], true));
        assert!(!wish.is_so(&[member(1, Admin::Ready, "only in the old worker 7")], true));
        assert!(!wish.is_so(&[member(1, Admin::Maint, "MAINT")], true));
        let mut unsaved = member(1, Admin::Ready, "UP");
        unsaved.saved = Some(false);
        assert!(!wish.is_so(std::slice::from_ref(&unsaved), true));
        assert!(wish.is_so(&[unsaved], false));
        let mut unread = member(1, Admin::Ready, "UP");
        unread.saved = None;
        assert!(wish.is_so(std::slice::from_ref(&unread), true), "out of reach is owed, not wrong");
        unread.port = 8001;
        assert!(!wish.is_so(&[unread], true), "another port is another member");
    }

    #[test]
    fn members_are_named_by_address_and_by_port_where_an_address_is_shared() {
        let server = |name: &str, last: u8| Server {
            name: name.into(),
            address: Some(at(last).0),
            ..Server::default()
        };
        let servers = [server("a", 1), server("b", 2), server("c", 2)];
        let mut members =
            [member(1, Admin::Ready, ""), member(2, Admin::Ready, ""), member(3, Admin::Ready, "")];
        name_members(&mut members, &servers, |s| if s.name == "c" { 8000 } else { 9000 });
        let names: Vec<_> = members.iter().map(|m| m.server.as_deref()).collect();
        assert_eq!(names, [Some("a"), Some("c"), None]);
    }

    #[test]
    fn an_array_is_in_a_pool_as_long_as_an_instance_of_it_is() {
        let instance = |name: &str, array: Option<&str>| Server {
            name: name.into(),
            array: array.map(str::to_owned),
            ..Server::default()
        };
        let servers = [
            instance("a1", Some("a")),
            instance("a2", Some("a")),
            instance("b1", Some("b")),
            instance("alone", None),
        ];
        let found = |come: &[&str], gone: &[&str], left: &[&str]| -> Vec<(String, bool)> {
            let found = arrays(&servers, come, gone, left).into_iter();
            found.map(|(name, there)| (name.to_owned(), there)).collect()
        };
        let so = |pairs: &[(&str, bool)]| -> Vec<(String, bool)> {
            pairs.iter().map(|(name, there)| ((*name).to_owned(), *there)).collect()
        };
        assert_eq!(found(&["a1", "alone"], &["b1"], &[]), so(&[("a", true), ("b", false)]));
        assert_eq!(found(&[], &["a1"], &["a2", "b1"]), so(&[("a", true)]), "one of two stays");
        assert_eq!(found(&[], &["a1", "a2"], &["a2"]), so(&[("a", false)]), "the last goes");
        assert_eq!(found(&["a2"], &["a1"], &[]), so(&[("a", true)]), "another one is wished for");
        assert_eq!(found(&["alone", "nobody"], &["a"], &["b1"]), so(&[]), "nothing of an array");
    }

    #[test]
    fn pools_and_balancers_are_found_by_tags() {
        let lb = |name: &str, state: State, tag: &str| Server {
            name: name.into(),
            state,
            tags: [tag.to_owned()].into(),
            ..Server::default()
        };
        let servers = [
            lb("1", State::Operational, "load_balancer:active_www=true"),
            lb("2", State::StrandedInBooting, "load_balancer:active_www=true"),
            lb("3", State::Operational, "load_balancer:active_test1=true"),
            lb("4", State::Inactive, "load_balancer:active_www=true"),
            Server { foreign: true, ..lb("5", State::Inactive, "load_balancer:active_www=true") },
            Server { foreign: true, ..lb("6", State::Booting, "load_balancer:active_www=true") },
        ];
        assert_eq!(pools(&servers).into_iter().collect::<Vec<_>>(), ["test1", "www"]);
        let names = |found: Vec<&Server>| found.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(balancers(&servers, "www")), ["1", "5", "6"]);
        assert_eq!(names(doubtful(&servers, "www")), ["2"]);
    }
}
