//! Isolation: what production alone may have, and whether a clone still shares it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::input::Resolution;
use crate::{Inputs, Phase, Resolved, Template, Value};

/// Inputs of balancers and applications that send users somewhere.
pub const POOL: [&str; 3] = ["LB_APPLISTENER_NAME", "LB_HOSTNAME", "LB_POOLS"];
/// Inputs of databases that say whose data it is.
pub const LINEAGE: [&str; 3] = ["DB_LINEAGE_NAME", "DB_EBS_PREFIX", "DB_SERVER_ID"];
/// Inputs that name a record in DNS which a server or script writes.
pub const RECORDS: [&str; 7] = [
    "DB_HOST_NAME",
    "DB_READ_HOST_NAME",
    "MASTER_DB_DNSID",
    "MASTER_DB_DNSNAME",
    "SLAVE_DB_DNSID",
    "SLAVE_DB_DNSNAME",
    "WEBSITE_DNS",
];

/// Inputs of which two deployments must never hold the same value (step 2): they would share a pool, a host name, a
/// backup lineage, a DNS record or a server id.
pub fn is_identity(name: &str) -> bool {
    POOL.contains(&name) || LINEAGE.contains(&name) || RECORDS.contains(&name)
}

/// The inputs of which the value is this host name: what has one asks for it, or answers to it.
pub fn named_as<'a>(values: &'a BTreeMap<String, Resolved>, host: &str) -> Vec<&'a str> {
    let names = |name: &&String| *name == "LB_HOSTNAME" || RECORDS.contains(&name.as_str());
    let is = |value: &Value| match value {
        Value::Text(text) => text.trim_end_matches('.').eq_ignore_ascii_case(host),
        _ => false,
    };
    let all = values.iter().filter(|(name, resolved)| names(name) && is(&resolved.value));
    all.map(|(name, _)| name.as_str()).collect()
}

/// The tag by which a clone says that it shares an input on purpose: `isolation:shares=NAME`.
pub fn sharing_tag(name: &str) -> String {
    format!("isolation:shares={name}")
}

/// Whether tags mark something as `new` or `temp` in any run.
pub fn must_be_isolated(tags: &BTreeSet<String>) -> bool {
    tags.iter().any(|tag| {
        tag.strip_prefix("rs_upgrade:")
            .and_then(|rest| rest.split_once('='))
            .is_some_and(|(_, part)| part == "new" || part == "temp")
    })
}

/// A server or array as the lint looks at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Its original's name.
    pub cloned_from: Option<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Of a clone: what a launch would see. Of what is launched: what it runs with.
    pub values: BTreeMap<String, Resolved>,
    /// Its address.
    pub address: Option<IpAddr>,
}

impl Party {
    /// Marked `new` or `temp` in any run.
    pub fn must_be_isolated(&self) -> bool {
        must_be_isolated(&self.tags)
    }

    fn tagged(&self, prefixes: &[&str]) -> bool {
        self.tags.iter().any(|tag| prefixes.iter().any(|prefix| tag.starts_with(prefix)))
    }
}

/// A production-only value that a clone still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The input, or `address`.
    pub what: String,
    /// The value.
    pub value: String,
    /// The server or array of production that has it too.
    pub with: String,
}

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {} as on {:?}", self.what, self.value, self.with)
    }
}

/// What a clone that was never launched still shares with production; nothing for what is not marked `new` or
/// `temp`. A launch of one that shares anything is declined. One that was launched before may have been wired to
/// production on purpose since (step 25): it is not asked.
///
/// - `all`: every server (or every array) of the deployment, to find the production original: a clone of a clone is
///   compared with the first ancestor that is not itself to be isolated.
pub fn isolation(clone: &Party, all: &[Party]) -> Vec<Shared> {
    if !clone.must_be_isolated() {
        return Vec::new();
    }
    let mut seen = BTreeSet::from([clone.name.as_str()]);
    let mut from = clone.cloned_from.as_deref();
    let source = loop {
        let Some(name) = from.filter(|name| seen.insert(name)) else { return Vec::new() };
        let Some(party) = all.iter().find(|party| party.name == name) else { return Vec::new() };
        if !party.must_be_isolated() {
            break party;
        }
        from = party.cloned_from.as_deref();
    };
    let mut names: Vec<&str> = Vec::new();
    if source.tagged(&["load_balancer:active", "application:active"]) {
        names.extend(POOL);
    }
    if source.tagged(&["database:master_active=", "database:slave_active="]) {
        names.extend(LINEAGE);
        names.extend(RECORDS);
    }
    let text = |party: &Party, name: &str| {
        let value = party.values.get(name).map(|r| r.value.clone());
        value.filter(|v| {
            !matches!(v, Value::Blank | Value::Ignore | Value::Env { server: None, .. })
        })
    };
    let mut found = Vec::new();
    for name in names {
        if let Some(value) = text(source, name)
            && text(clone, name).as_ref() == Some(&value)
            && !clone.tags.contains(&sharing_tag(name))
        {
            found.push(Shared {
                what: name.to_owned(),
                value: value.to_string(),
                with: source.name.clone(),
            });
        }
    }
    let mut to_source: Vec<String> = cross_references(&clone.values)
        .into_iter()
        .filter(|(name, server, _)| {
            *server == source.name && !clone.tags.contains(&sharing_tag(name))
        })
        .map(|(name, _, _)| name)
        .collect();
    to_source.dedup();
    found.extend(to_source.into_iter().map(|what| Shared {
        value: clone.values.get(&what).map(|r| r.value.to_string()).unwrap_or_default(),
        with: source.name.clone(),
        what,
    }));
    if let Some(address) = clone.address.filter(|address| source.address == Some(*address)) {
        let with = source.name.clone();
        found.push(Shared { what: "address".into(), value: address.to_string(), with });
    }
    found
}

/// Required by a script of one of these phases and without a value (`ignore` is none), sorted.
pub fn missing(template: &Template, seen: &Resolution, phases: &[Phase]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for reference in phases.iter().flat_map(|phase| template.sequence(*phase)) {
        let Some(script) = template.script(&reference.name) else { continue };
        for (name, _) in script.inputs.iter().filter(|(_, decl)| decl.required) {
            if seen.values.get(name).is_none_or(|r| r.value == Value::Ignore) {
                found.insert(name.clone());
            }
        }
    }
    found.into_iter().collect()
}

/// Scripts of these phases that the template names and does not have, in order.
pub fn absent(template: &Template, phases: &[Phase]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for reference in phases.iter().flat_map(|phase| template.sequence(*phase)) {
        if !reference.found && !found.contains(&reference.name) {
            found.push(reference.name.clone());
        }
    }
    found
}

/// Values that name another server (`env:Server Name:VAR`), by input.
pub fn cross_references(values: &BTreeMap<String, Resolved>) -> Vec<(String, String, String)> {
    fn all(name: &str, value: &Value, found: &mut Vec<(String, String, String)>) {
        match value {
            Value::Env { server: Some(server), var } => {
                found.push((name.to_owned(), server.clone(), var.clone()));
            }
            Value::Array(items) => items.iter().for_each(|item| all(name, item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (name, resolved) in values {
        all(name, &resolved.value, &mut found);
    }
    found
}

/// What a clone of a deployment still shares with its source (step 2), as sentences: identity inputs of any level
/// with the same value, and values that hold the address of one of the source's servers.
///
/// - each level: its name in words, the source's entries, the clone's.
pub fn deployment_identity(
    levels: &[(String, &Inputs, &Inputs)],
    addresses: &[(String, IpAddr)],
) -> Vec<String> {
    let mut found = Vec::new();
    for (level, source, clone) in levels {
        for (name, value) in *clone {
            let literal = matches!(value, Value::Text(_) | Value::Array(_));
            if is_identity(name) && literal && source.get(name) == Some(value) {
                found.push(format!("{name} of {level} is {value}, as in the source"));
                continue;
            }
            let Value::Text(text) = value else { continue };
            for (server, address) in addresses {
                if holds(text, &address.to_string()) {
                    found.push(format!(
                        "{name} of {level} is {value}, the address of the source's {server:?}"
                    ));
                }
            }
        }
    }
    found
}

/// Whether two ranges of addresses (`127.9.0.0/24`) have one in common; texts that are no ranges only when equal.
pub fn ranges_overlap(one: &str, other: &str) -> bool {
    let range = |text: &str| {
        let (address, bits) = text.trim().split_once('/')?;
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
        Some((u32::from(address.parse::<std::net::Ipv4Addr>().ok()?), bits))
    };
    match (range(one), range(other)) {
        (Some((one, short)), Some((other, long))) => {
            let bits = short.min(long);
            bits == 0 || (one ^ other) >> (32 - bits) == 0
        }
        _ => one == other,
    }
}

/// Whether the text holds the address and not a longer one.
fn holds(text: &str, address: &str) -> bool {
    text.match_indices(address).any(|(at, _)| {
        let part = |c: char| c.is_ascii_hexdigit() || c == '.';
        !text[..at].ends_with(part) && !text[at + address.len()..].starts_with(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn party(name: &str, from: Option<&str>, tags: &[&str], values: &[(&str, &str)]) -> Party {
        let value = |v: &str| Resolved { value: Value::parse(v).unwrap(), from: Level::Deployment };
        Party {
            name: name.into(),
            cloned_from: from.map(str::to_owned),
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            values: values.iter().map(|(n, v)| ((*n).to_owned(), value(v))).collect(),
            address: None,
        }
    }

    const WWW: &[(&str, &str)] =
        &[("LB_HOSTNAME", "text:www.mysite.com"), ("LB_APPLISTENER_NAME", "text:www")];
    const TEST: &[(&str, &str)] =
        &[("LB_HOSTNAME", "text:test1.mysite.com"), ("LB_APPLISTENER_NAME", "text:test1")];

    #[test]
    fn a_clone_that_still_shares_is_named_and_an_isolated_one_is_not() {
        let all = [
            party("App-1", None, &["application:active_www=true"], WWW),
            party("App-3", Some("App-1"), &["rs_upgrade:u-42=new"], TEST),
        ];
        let shares = party("App-3", Some("App-1"), &["rs_upgrade:u-42=new"], WWW);
        let names: Vec<String> = isolation(&shares, &all).into_iter().map(|s| s.what).collect();
        assert_eq!(names, ["LB_APPLISTENER_NAME", "LB_HOSTNAME"]);
        assert!(isolation(&all[1], &all).is_empty());
        // a clone of the isolated clone is compared with production
        let mixed = [TEST[0], WWW[1]];
        let fourth = party("App-4", Some("App-3"), &["rs_upgrade:u-42=new"], &mixed);
        assert_eq!(isolation(&fourth, &all).len(), 1);
        let fourth = party("App-4", Some("App-3"), &["rs_upgrade:u-42=new"], TEST);
        assert!(isolation(&fourth, &all).is_empty());
    }

    #[test]
    fn what_is_not_marked_or_says_that_it_shares_is_let_through() {
        let all = [party("App-1", None, &["application:active_www=true"], WWW)];
        assert!(
            isolation(&party("x", Some("App-1"), &["rs_upgrade:u=warm"], WWW), &all).is_empty()
        );
        let tags = ["rs_upgrade:u=new", "isolation:shares=LB_HOSTNAME"];
        let found = isolation(&party("x", Some("App-1"), &tags, WWW), &all);
        assert_eq!(found.len(), 1);
        assert!(isolation(&party("x", Some("x"), &["rs_upgrade:u=new"], WWW), &all).is_empty());
        // two that call each other their original have none
        let ring = [
            party("x", Some("y"), &["rs_upgrade:u=new"], WWW),
            party("y", Some("x"), &["rs_upgrade:u=temp"], WWW),
        ];
        assert!(isolation(&ring[0], &ring).is_empty());
    }

    #[test]
    fn every_role_has_its_own_that_a_clone_must_not_share() {
        let shared = |role: &str, part: &str, values: &[(&str, &str)]| -> Vec<String> {
            let source = party("P", None, &[role], values);
            let clone = party("C", Some("P"), &[&format!("rs_upgrade:u={part}")], values);
            isolation(&clone, &[source]).into_iter().map(|s| s.what).collect()
        };
        let pools = [("LB_POOLS", "text:www"), ("DB_SERVER_ID", "text:7")];
        for role in ["load_balancer:active_www=true", "application:active_www=true"] {
            assert_eq!(shared(role, "new", &pools), ["LB_POOLS"], "{role}");
            assert_eq!(shared(role, "temp", &pools), ["LB_POOLS"], "{role}");
        }
        let data =
            [("DB_HOST_NAME", "text:db"), ("DB_SERVER_ID", "text:7"), ("LB_POOLS", "text:w")];
        for role in ["database:master_active=shop", "database:slave_active=shop"] {
            assert_eq!(shared(role, "new", &data), ["DB_SERVER_ID", "DB_HOST_NAME"], "{role}");
        }
        // what is empty, ignored, or each one's own is not the same thing
        for value in ["blank", "ignore", "env:PRIVATE_IP"] {
            let values = [("LB_HOSTNAME", value)];
            assert!(shared("application:active_www=true", "new", &values).is_empty(), "{value}");
        }
        let names = POOL.iter().chain(&LINEAGE).chain(&RECORDS);
        assert!(names.into_iter().all(|name| is_identity(name)) && !is_identity("APPLICATION"));
    }

    #[test]
    fn a_host_name_is_used_where_an_input_of_names_holds_it() {
        let values = party(
            "x",
            None,
            &[],
            &[
                ("LB_HOSTNAME", "text:WWW.my.site."),
                ("DB_HOST_NAME", "text:www.my.site"),
                ("DB_READ_HOST_NAME", "text:ww.my.site"),
                ("APPLICATION", "text:www.my.site"),
                ("WEBSITE_DNS", "ignore"),
            ],
        )
        .values;
        assert_eq!(named_as(&values, "www.my.site"), ["DB_HOST_NAME", "LB_HOSTNAME"]);
        assert!(named_as(&values, "my.site").is_empty());
    }

    #[test]
    fn what_a_launch_lacks_is_named_by_phase() {
        use crate::template::{InputDecl, Script, ScriptRef};
        let script = |name: &str, inputs: &[(&str, bool)]| Script {
            name: name.into(),
            inputs: inputs
                .iter()
                .map(|(n, required)| {
                    let decl = InputDecl { required: *required, ..InputDecl::default() };
                    ((*n).to_owned(), decl)
                })
                .collect(),
            ..Script::default()
        };
        let refer = |name: &str, found| ScriptRef { name: name.into(), found };
        let template = Template {
            boot: vec![refer("b", true), refer("gone", false), refer("gone", false)],
            operational: vec![refer("o", true), refer("away", false)],
            scripts: vec![
                script("b", &[("SET", true), ("IGNORED", true), ("MAY", false)]),
                script("o", &[("LATER", true)]),
            ],
            ..Template::default()
        };
        let values = party("x", None, &[], &[("SET", "text:1"), ("IGNORED", "ignore")]).values;
        let seen = Resolution { values, ..Resolution::default() };
        let boot = [Phase::Boot, Phase::Decommission];
        assert_eq!(missing(&template, &seen, &boot), ["IGNORED"]);
        assert_eq!(missing(&template, &seen, &[Phase::Operational]), ["LATER"]);
        assert_eq!(absent(&template, &boot), ["gone"]);
        assert_eq!(absent(&template, &[Phase::Operational]), ["away"]);
    }

    #[test]
    fn values_that_name_another_server_are_found_in_lists_too() {
        let list = r#"array:["text:a","env:LB:PUBLIC_IP"]"#;
        let values = party("x", None, &[], &[("A", list), ("B", "env:PRIVATE_IP")]).values;
        let found = [("A".to_owned(), "LB".to_owned(), "PUBLIC_IP".to_owned())];
        assert_eq!(cross_references(&values), found);
    }

    #[test]
    fn lineage_address_and_a_reference_to_the_original_are_production_s_too() {
        let list = r#"array:["env:Slave DB:PRIVATE_IP","env:Slave DB:PUBLIC_IP"]"#;
        let values =
            [("DB_LINEAGE_NAME", "text:shop"), ("X", "env:Slave DB:PRIVATE_IP"), ("Z", list)];
        let address = "127.0.0.9".parse().ok();
        let mut source = party("Slave DB", None, &["database:slave_active=shop"], &values);
        source.address = address;
        let mut clone = party("new DB", Some("Slave DB"), &["rs_upgrade:u=new"], &values);
        clone.address = address;
        let what: Vec<String> =
            isolation(&clone, std::slice::from_ref(&source)).into_iter().map(|s| s.what).collect();
        assert_eq!(what, ["DB_LINEAGE_NAME", "X", "Z", "address"]);
        let mut says = party(
            "new DB",
            Some("Slave DB"),
            &["rs_upgrade:u=new", "isolation:shares=X"],
            &[("X", "env:Slave DB:PRIVATE_IP"), ("Y", "env:Master DB:PRIVATE_IP")],
        );
        says.address = "127.0.0.8".parse().ok();
        assert!(isolation(&says, &[source]).is_empty(), "on purpose, and of another server");
    }

    #[test]
    fn ranges_overlap_when_one_holds_the_other() {
        assert!(ranges_overlap("127.9.0.0/24", "127.9.0.128/25"));
        assert!(ranges_overlap("127.9.0.128/25", "127.0.0.0/9"));
        assert!(!ranges_overlap("127.9.0.0/25", "127.9.0.128/25"));
        assert!(!ranges_overlap("127.9.0.0/24", "127.9.1.0/24"));
        assert!(ranges_overlap("a", "a") && !ranges_overlap("a", "127.9.0.0/24"));
        assert!(ranges_overlap("0.0.0.0/0", "127.9.0.0/24"));
        assert!(!ranges_overlap("127.9.0.0/33", "127.9.0.0/24"), "that is no range");
    }

    #[test]
    fn a_clone_of_a_deployment_shares_no_identity_at_any_level() {
        let inputs = |pairs: &[(&str, &str)]| -> Inputs {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), Value::parse(v).unwrap())).collect()
        };
        let source = inputs(&[("LB_HOSTNAME", "text:www"), ("A", "text:x")]);
        let server = inputs(&[("DB_SERVER_ID", "text:7"), ("B", "text:udp://127.0.0.1:53")]);
        let addresses = [("dns".to_owned(), "127.0.0.1".parse().unwrap())];
        let levels = [
            ("the deployment".to_owned(), &source, &source),
            ("server \"db\"".to_owned(), &server, &server),
        ];
        let found = deployment_identity(&levels, &addresses);
        assert_eq!(found.len(), 3, "{found:?}");
        let other =
            inputs(&[("LB_HOSTNAME", "text:staging"), ("A", "text:x"), ("B", "text:127.0.0.11")]);
        let levels = [("the deployment".to_owned(), &source, &other)];
        assert!(deployment_identity(&levels, &addresses).is_empty());
        let longer = inputs(&[("B", "text:2127.0.0.1")]);
        let levels = [("the deployment".to_owned(), &source, &longer)];
        assert!(deployment_identity(&levels, &addresses).is_empty());
        // a list is a value as a text is; what each server has for itself is none
        let list = inputs(&[("LB_POOLS", r#"array:["text:www"]"#), ("DB_SERVER_ID", "env:ID")]);
        let levels = [("the deployment".to_owned(), &list, &list)];
        let found = deployment_identity(&levels, &addresses);
        assert!(found.len() == 1 && found[0].starts_with("LB_POOLS"), "{found:?}");
    }
}
