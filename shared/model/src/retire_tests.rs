use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::act::{Due, Owner};
use crate::member::Admin;
use crate::server::Instance;

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn server(name: &str, last: u8, tags: &[&str]) -> Server {
    Server {
        name: name.into(),
        state: State::Operational,
        address: Some(address(last)),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        current: Some(Instance {
            id: format!("i-{last}"),
            address: address(last),
            home: None,
            launched_at: "2026-11-24T14:00:00Z".into(),
            template: None,
            inputs: Default::default(),
            scripts_done: Vec::new(),
            stranded_at: None,
        }),
        ..Server::default()
    }
}

fn member(balancer: &str, last: u8) -> Member {
    Member {
        balancer: balancer.into(),
        pool: "www".into(),
        id: "x".into(),
        address: address(last),
        port: 8000,
        server: None,
        admin: Admin::Maint,
        status: "MAINT".into(),
        last_check: None,
        sessions: 3,
        weight: 1,
        saved: None,
    }
}

fn site() -> World {
    let mut one = server("array-1 #1", 7, &["rs_upgrade:u-1=old"]);
    one.array = Some("array-1".into());
    World {
        servers: vec![
            server("App 1", 1, &["rs_upgrade:u-1=old", "application:active_www=true"]),
            server("Master", 2, &["database:master_active=shop"]),
            server("Slave", 3, &["database:slave_active=shop"]),
            server("Warm", 4, &["database:slave_active=shop", "rs_upgrade:u-1=warm"]),
            server("LB 3", 5, &["load_balancer:active_test1=true", "rs_upgrade:u-1=temp"]),
            one,
        ],
        arrays: vec![Array { name: "array-1".into(), minimum: 1, ..Array::default() }],
        databases: [("Master", None), ("Slave", Some("Master")), ("Warm", Some("Master"))]
            .map(|(name, source)| {
                let source = source.map(str::to_owned);
                (name.to_owned(), Ok(DatabaseSeen { source, ..DatabaseSeen::default() }))
            })
            .into(),
        backups: [("shop".to_owned(), Ok(1))].into(),
        ..World::default()
    }
}

fn ask(world: &World, names: &[&str], include_warm: bool) -> Vec<Entry> {
    let names: Vec<(String, String)> = names
        .iter()
        .map(|name| {
            let kind =
                if name.starts_with("array-") && !name.contains('#') { "array" } else { "server" };
            (kind.to_owned(), (*name).to_owned())
        })
        .collect();
    entries(world, &names, Some("u-1"), Reach { warm: include_warm, ..Reach::default() })
}

fn forbidden(world: &World, name: &str, part: &str) {
    let found = ask(world, &[name], false);
    assert!(found[0].forbidden.iter().any(|why| why.contains(part)), "{name}: {found:?}");
}

#[test]
fn each_reason_forbids_by_itself_and_without_any_it_may_end() {
    assert_eq!(ask(&site(), &["App 1"], false)[0].forbidden, [""; 0]);
    assert_eq!(ask(&site(), &["Slave"], false)[0].forbidden, [""; 0]);

    let mut world = site();
    world.servers[0].locked = true;
    forbidden(&world, "App 1", "locked");
    let mut world = site();
    world.servers[0].foreign = true;
    let names = [("server".to_owned(), "App 1".to_owned())];
    let kept = not_ours(&world, &names, false);
    assert!(kept.len() == 1 && kept[0].contains("App 1: we did not launch it"), "{kept:?}");
    assert_eq!(not_ours(&world, &names, true), [""; 0], "its definition may go");
    assert_eq!(not_ours(&site(), &names, false), [""; 0]);
    world.members = vec![member("LB 1", 1)];
    forbidden(&world, "App 1", "LB 1 has it in pool www");
    let mut world = site();
    world.members = vec![member("LB 1", 1)];
    forbidden(&world, "App 1", "LB 1 has it in pool www");
    forbidden(&world, "App 1", "3 requests");
    let mut world = site();
    world.unanswered = vec![("LB 1".into(), "refused".into())];
    forbidden(&world, "App 1", "could not be asked");
    forbidden(&site(), "Master", "master of the database set shop");
    forbidden(&site(), "Warm", "rollback copy");
    assert_eq!(ask(&site(), &["Warm"], true)[0].forbidden, [""; 0]);
    let mut world = site();
    world.servers[3].state = State::StrandedInBooting;
    forbidden(&world, "Slave", "last slave");
    let mut world = site();
    world.arrays[0].enabled = true;
    forbidden(&world, "array-1 #1", "its array array-1 is enabled");
    assert!(ask(&world, &["array-1"], false)[1].forbidden[0].contains("enabled"));
}

#[test]
fn a_database_ends_only_on_evidence_each_of_which_can_be_accepted_by_its_name() {
    type Change = fn(&mut World);
    fn seen<'a>(world: &'a mut World, name: &str) -> &'a mut DatabaseSeen {
        world.databases.get_mut(name).unwrap().as_mut().unwrap()
    }
    let ways: [(&str, &str, Change); 11] = [
        ("sessions", "used by session 7", |w| seen(w, "Slave").sessions.push("session 7".into())),
        ("unanswered", "could not be asked who", |w| {
            w.databases.insert("Slave".into(), Err("refused".into()));
        }),
        ("unanswered", "nobody has asked", |w| drop(w.databases.remove("Slave"))),
        ("good-slave", "Warm: SQL thread: No", |w| {
            seen(w, "Warm").lacks.push("SQL thread: No".into());
        }),
        ("good-slave", "Warm: refused", |w| {
            w.databases.insert("Warm".into(), Err("refused".into()));
        }),
        ("good-slave", "Warm: nobody asked it", |w| drop(w.databases.remove("Warm"))),
        ("backup", "no complete backup", |w| drop(w.backups.insert("shop".into(), Ok(0)))),
        ("backup", "no complete backup", |w| w.backups = [("crm".to_owned(), Ok(1))].into()),
        ("backup", "no complete backup", |w| w.backups.clear()),
        ("backup", "is not known: full", |w| {
            w.backups.insert("shop".into(), Err("full".into()));
        }),
        ("rollback-time", "the way back until 2026", |w| {
            w.held_until.insert("Slave".into(), "2026-11-25T14:00:00Z".into());
        }),
    ];
    for (kind, part, change) in ways {
        let mut world = site();
        change(&mut world);
        forbidden(&world, "Slave", part);
        let names = [("server".to_owned(), "Slave".to_owned())];
        let accept = |kind: &str| Reach { accepted: [kind.to_owned()].into(), ..Reach::default() };
        assert_eq!(entries(&world, &names, None, accept(kind))[0].forbidden, [""; 0], "{kind}");
        for other in EVIDENCE.iter().filter(|other| **other != kind) {
            assert!(!entries(&world, &names, None, accept(other))[0].forbidden.is_empty());
        }
    }
    // the tags call it a slave, and the others follow it: nothing to accept
    let mut world = site();
    seen(&mut world, "Warm").source = Some("Slave".into());
    forbidden(&world, "Slave", "Warm replicate from it");
    let mut world = site();
    world.balanced.push(member("LB 3", 1));
    forbidden(&world, "LB 3", "carries 3 requests to ");
    // one that does not say what it carries
    let mut world = site();
    world.silent.insert("LB 3".into(), "refused".into());
    forbidden(
        &world,
        "LB 3",
        "it could not be asked what it carries, and its machine runs: refused",
    );
    let names = [("server".to_owned(), "LB 3".to_owned())];
    let accepted = Reach { accepted: ["unanswered".to_owned()].into(), ..Reach::default() };
    assert_eq!(entries(&world, &names, None, accepted)[0].forbidden, [""; 0]);
}

#[test]
fn a_balancer_that_has_ready_members_which_stay_is_in_use_and_one_of_a_run_is_not() {
    let ready = |balancer: &str, last: u8| Member {
        admin: Admin::Ready,
        sessions: 0,
        ..member(balancer, last)
    };
    let mut world = site();
    world.servers.push(server("LB 1", 6, &["load_balancer:active_www=true"]));
    // one of ours, and one that nobody knows
    world.balanced = vec![ready("LB 1", 1), ready("LB 1", 99), ready("LB 3", 1)];
    world.balanced.push(Member { sessions: 0, ..member("LB 1", 2) });
    let why = |names: &[&str], world: &World| {
        let found = ask(world, names, true).into_iter().find(|entry| entry.name == names[0]);
        found.unwrap().forbidden
    };
    let found = why(&["LB 1"], &world);
    let told = "it balances the pool \"www\": 2 members are ready there (take its address";
    assert!(found.len() == 1 && found[0].starts_with(told), "{found:?}");
    assert!(found[0].ends_with("(or plan with --accept balances)"), "{found:?}");
    let found = why(&["LB 1", "App 1"], &world);
    assert!(found[0].contains(": 1 members"), "what ends with it is none: {found:?}");
    assert_eq!(why(&["LB 3"], &world), [""; 0], "a temporary balancer has the run's clients only");
    let names = [("server".to_owned(), "LB 1".to_owned())];
    let accepted = Reach { accepted: ["balances".to_owned()].into(), ..Reach::default() };
    assert_eq!(entries(&world, &names, None, accepted)[0].forbidden, [""; 0]);
    let whole = Reach { whole: true, ..Reach::default() };
    assert_eq!(entries(&world, &names, None, whole)[0].forbidden, [""; 0]);
    for member in &mut world.balanced {
        member.admin = Admin::Maint;
    }
    assert_eq!(why(&["LB 1"], &world), [""; 0]);
}

/// What may end in such a world is not forbidden.
fn allowed(name: &str, change: impl Fn(&mut World)) {
    let mut world = site();
    change(&mut world);
    assert_eq!(ask(&world, &[name], false)[0].forbidden, [""; 0], "{name}");
}

#[test]
fn what_is_about_others_forbids_nothing() {
    allowed("App 1", |w| w.members = vec![member("LB 1", 9)]);
    allowed("App 1", |w| w.balanced = vec![member("LB 3", 1)]);
    allowed("App 1", |w| {
        w.servers[0].tags.insert("note:kept=warm".into());
    });
    allowed("App 1", |w| {
        w.servers[0].state = State::Inactive;
        w.unanswered = vec![("LB 1".into(), "refused".into())];
    });
    // one good slave is enough
    allowed("Slave", |w| {
        w.servers.push(server("Third", 9, &["database:slave_active=shop"]));
        w.databases.insert("Third".into(), Err("refused".into()));
    });
}

#[test]
fn a_machine_that_is_stranded_or_abandoned_needs_evidence_too() {
    let mut world = site();
    world.servers[0].state = State::StrandedInBooting;
    world.members = vec![member("LB 1", 1)];
    forbidden(&world, "App 1", "LB 1 has it in pool www");
    let used = |w: &mut World, name: &str| {
        let sessions = vec!["session 7".into()];
        w.databases.insert(name.into(), Ok(DatabaseSeen { sessions, ..DatabaseSeen::default() }));
    };
    let mut world = site();
    world.servers[2].state = State::StrandedInBooting;
    used(&mut world, "Slave");
    forbidden(&world, "Slave", "used by session 7");
    let mut world = site();
    world.servers[1].tags = ["database:fenced=shop".to_owned()].into();
    let alone = |world: &World| ask(world, &["Master"], true)[0].forbidden.clone();
    assert_eq!(
        alone(&world),
        [
            "Slave, Warm replicate from it: it is their master (rs-dbsync init them from another first)"
        ]
    );
    let together = ask(&world, &["Master", "Slave", "Warm"], true);
    assert_eq!(together[0].forbidden, [""; 0], "they end with it");
    for slave in ["Slave", "Warm"] {
        world.databases.insert(slave.into(), Ok(DatabaseSeen::default()));
    }
    assert_eq!(alone(&world), [""; 0]);
    used(&mut world, "Master");
    forbidden(&world, "Master", "used by session 7");
    // a slave of another set is none of this
    let mut world = site();
    world.servers[3].tags = ["database:slave_active=crm".to_owned()].into();
    forbidden(&world, "Slave", "last slave");
}

#[test]
fn a_plan_reaches_as_far_as_it_says_and_names_what_it_ends() {
    let made = plan(&site(), &["App 1"]);
    assert_eq!(made.reach(), Reach::default());
    let warm = Plan { include_warm: true, ..made.clone() };
    assert_eq!(warm.reach(), Reach { warm: true, ..Reach::default() });
    let whole = Plan { whole: true, ..made.clone() };
    assert_eq!(whole.reach(), Reach { warm: true, whole: true, ..Reach::default() });
    // each of what the digest stands for makes another text
    type Change = fn(&mut Entry);
    let changes: [Change; 4] = [
        |e| e.kind = "array".into(),
        |e| e.name.push('2'),
        |e| e.instance = Some("i-2".into()),
        |e| e.state = "booting".into(),
    ];
    for change in changes {
        let mut entries = made.entries.clone();
        change(&mut entries[0]);
        assert_ne!(canonical(&entries), canonical(&made.entries));
    }
    // an array is not the server of that name
    let mut now = made.entries.clone();
    now[0].kind = "array".into();
    let reasons = refusals(&made, &made.digest, 10, 3600, &now);
    assert!(reasons[0].contains("array App 1 is not in it"), "{reasons:?}");
}

#[test]
fn slaves_that_end_together_do_not_count_for_one_another() {
    let found = ask(&site(), &["Slave", "Warm"], true);
    assert!(found.iter().all(|entry| entry.forbidden[0].contains("last slave")), "{found:?}");
}

#[test]
fn a_balancer_that_ends_too_does_not_keep_its_members_alive() {
    let mut world = site();
    world.members = vec![member("LB 3", 1)];
    world.unanswered = vec![("LB 3".into(), "refused".into())];
    let found = ask(&world, &["App 1", "LB 3"], false);
    assert!(found.iter().all(|entry| entry.forbidden.is_empty()), "{found:?}");
}

#[test]
fn an_array_brings_its_instances_before_itself() {
    let names: Vec<String> =
        ask(&site(), &["array-1"], false).into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["array-1 #1", "array-1"]);
}

fn plan(world: &World, names: &[&str]) -> Plan {
    let entries = ask(world, names, false);
    Plan {
        deployment: "production".into(),
        run: Some("u-1".into()),
        created_at: "2026-11-24T14:00:00Z".into(),
        count: entries.len(),
        digest: canonical(&entries),
        include_warm: false,
        whole: false,
        accepted: BTreeSet::new(),
        entries,
    }
}

fn refuse(plan: &Plan, world: &World, names: &[&str]) -> Vec<String> {
    refusals(plan, &canonical(&plan.entries), 10, 3600, &ask(world, names, false))
}

#[test]
fn a_plan_that_matches_is_followed_and_may_be_followed_again() {
    let mut world = site();
    let made = plan(&world, &["App 1", "array-1"]);
    assert_eq!(refuse(&made, &world, &["App 1", "array-1"]), [""; 0]);
    world.servers[0].state = State::StrandedInDecommissioning;
    assert_eq!(refuse(&made, &world, &["App 1", "array-1"]), [""; 0]);
    world.servers[0].state = State::Inactive;
    world.servers[0].current = None;
    world.servers.pop();
    assert_eq!(refuse(&made, &world, &["App 1", "array-1"]), [""; 0]);
}

#[test]
fn what_changed_since_the_plan_is_named() {
    let made = plan(&site(), &["App 1", "array-1"]);
    let changed = |change: &dyn Fn(&mut World), part: &str| {
        let mut world = site();
        change(&mut world);
        let reasons = refuse(&made, &world, &["App 1", "array-1"]);
        assert!(reasons.iter().any(|why| why.contains(part)), "{part}: {reasons:?}");
    };
    changed(
        &|world| {
            if let Some(current) = &mut world.servers[0].current {
                current.id = "i-new".into();
            }
        },
        "server App 1 was launched again",
    );
    changed(&|world| world.servers[0].state = State::Booting, "App 1 is booting now");
    changed(
        &|world| {
            let mut two = server("array-1 #2", 8, &["rs_upgrade:u-1=old"]);
            two.array = Some("array-1".into());
            world.servers.push(two);
        },
        "server array-1 #2 is not in it",
    );
    changed(&|world| world.servers[0].locked = true, "App 1: it is locked");
    changed(&|world| world.servers[0].tags.clear(), "App 1 is nothing in the run now, and was old");
    changed(&|world| world.arrays[0].enabled = true, "array array-1 is enabled now");
}

#[test]
fn a_plan_that_was_edited_or_is_old_is_refused() {
    let world = site();
    let made = plan(&world, &["App 1"]);
    let now = ask(&world, &["App 1"], false);
    let text = canonical(&made.entries);
    assert_eq!(refusals(&made, &text, 3600, 3600, &now), [""; 0]);
    assert!(refusals(&made, &text, 3601, 3600, &now)[0].contains("old"));
    assert!(refusals(&made, &text, -5, 3600, &now)[0].contains("future"));
    assert!(refusals(&made, "other", 1, 3600, &now)[0].contains("digest"));
    let more = Plan { count: 2, ..made };
    assert!(refusals(&more, &text, 1, 3600, &now)[0].contains("says 2 entries and has 1"));
}

fn debt(key: &str) -> Debt {
    let (kind, subject) = key.split_once(':').unwrap();
    Debt {
        key: key.into(),
        deployment: "production".into(),
        kind: kind.into(),
        subject: subject.into(),
        owner: Owner::default(),
        reason: String::new(),
        since: String::new(),
        inverse: Vec::new(),
        due: Due::Retire,
        deadline: None,
        undo_on_deadline: false,
        before: serde_json::Value::Null,
    }
}

#[test]
fn an_array_is_never_enabled_on_the_schema_of_the_other_release() {
    use Stands::{Back, Before, Over};
    for (key, part, stands, ended) in [
        ("temp:Load Balancer-3", Some("temp"), Before, true),
        ("temp:Load Balancer-3", Some("temp"), Back, true),
        ("array:array-2", Some("new"), Back, true),
        ("array:array-2", Some("new"), Before, false),
        ("array:array-2", Some("new"), Over, false),
        ("array:array-1", Some("old"), Back, false),
        ("array:array-1", Some("old"), Before, false),
        ("array:array-1", Some("old"), Over, true),
        ("array:array-9", None, Back, false),
        ("array:array-9", None, Over, false),
        ("backups:Master DB", Some("new"), Back, false),
        ("backups:Master DB", Some("old"), Over, false),
    ] {
        assert_eq!(is_ended(&debt(key), part, stands), ended, "{key} {part:?} {stands:?}");
    }
}

#[test]
fn a_server_s_end_settles_the_debts_about_it_and_no_others() {
    for (key, name, ends) in [
        ("held:Warm DB", "Warm DB", true),
        ("held:Warm DB", "Warm", false),
        ("lock:Warm DB", "Warm DB", true),
        ("backups:Warm DB", "Warm DB", true),
        ("quenched:Warm DB", "Warm DB", true),
        ("array:array-1", "array-1", true),
        ("runtime-only:App 1", "App 1", true),
        ("fenced:Master DB", "Master DB", true),
        ("rebuild:Slave DB", "Slave DB", true),
        ("sync_relay_log:Warm DB", "Warm DB", true),
        ("binlogs:Master DB", "Master DB", true),
        ("temp:Load Balancer-3", "Load Balancer-3", true),
        ("input:App 1/LB_HOSTNAME", "App 1", true),
        ("input:App 12/LB_HOSTNAME", "App 1", false),
        ("standby:www/App 1", "App 1", true),
        ("standby:www/App 1", "www", false),
        ("page:www", "www", false),
        ("writes:shop", "shop", false),
        ("record:test1.mysite.com", "test1.mysite.com", false),
        ("pin:shop/pre-upgrade", "shop", false),
    ] {
        assert_eq!(ends_with(&debt(key), name), ends, "{key} {name}");
    }
}

#[test]
fn a_master_ends_only_when_its_whole_set_does_and_the_plan_is_for_the_whole() {
    let mut world = site();
    // nobody is served any more when all of it ends
    world.balanced = vec![member("LB 3", 1)];
    let all: Vec<(String, String)> = world
        .servers
        .iter()
        .map(|s| ("server".to_owned(), s.name.clone()))
        .chain([("array".to_owned(), "array-1".to_owned())])
        .collect();
    let whole = Reach { warm: true, whole: true, ..Reach::default() };
    let found = entries(&world, &all, None, whole.clone());
    assert!(found.iter().all(|entry| entry.forbidden.is_empty()), "{found:?}");
    let found = entries(&world, &all, None, Reach { warm: true, ..Reach::default() });
    assert!(found.iter().any(|e| e.name == "Master" && !e.forbidden.is_empty()), "{found:?}");
    let without_slave: Vec<_> = all.iter().filter(|(_, n)| n != "Slave").cloned().collect();
    let found = entries(&world, &without_slave, None, whole);
    assert!(found.iter().any(|e| e.name == "Master" && !e.forbidden.is_empty()), "{found:?}");

    assert!(not_whole(Some("production"), &world, &all).is_empty());
    assert!(not_whole(None, &world, &all)[0].contains("no clone"));
    assert!(not_whole(Some("production"), &world, &without_slave)[0].contains("server Slave came"));
    let mut other_kind = all.clone();
    other_kind[0].0 = "array".into();
    assert!(not_whole(Some("production"), &world, &other_kind)[0].contains("server App 1 came"));
    let without_array = &all[..all.len() - 1];
    assert!(not_whole(Some("production"), &world, without_array)[0].contains("array array-1 came"));
}

#[test]
fn a_database_is_made_anew_only_where_nothing_is_lost_with_it() {
    let anew = |world: &World, at: usize, gone: bool, owed: bool| {
        let server = &world.servers[at];
        let ending = [server.name.as_str()].into();
        // what is there is not given up by that word
        let accepted = not_anew(server, world, &ending, gone, owed, true);
        let reasons = not_anew(server, world, &ending, gone, owed, false);
        assert_eq!(accepted, if gone { Vec::new() } else { reasons.clone() });
        reasons.join("; ")
    };
    let (app, master, slave, warm) = (0, 1, 2, 3);
    assert_eq!(anew(&site(), app, false, false), "");
    assert_eq!(anew(&site(), slave, false, false), "", "another good one is there");
    assert!(anew(&site(), slave, false, true).contains("way back"), "it is held");
    assert!(anew(&site(), warm, false, false).contains("way back"));
    assert!(anew(&site(), master, false, false).contains("a master of the database set shop"));
    let empty = anew(&site(), master, true, false);
    assert!(empty.contains("empty as the master") && empty.contains("promote"), "{empty}");
    assert_eq!(anew(&site(), slave, true, false), "");
    assert!(anew(&site(), warm, true, true).contains("empty in the place of a way back"));
    assert_eq!(anew(&site(), warm, true, false), "", "nobody is owed it any more");
    // its silence is no proof that its machine is gone
    let mut world = site();
    world.databases.insert("Master".into(), Err("refused".into()));
    assert!(anew(&world, master, false, false).contains("a master of the database set shop"));
    let mut world = site();
    world.databases.insert("Warm".into(), Err("refused".into()));
    assert!(anew(&world, slave, false, false).contains("no other slave"), "the only good one");
    let mut world = site();
    world.servers[slave].tags = ["database:fenced=shop".to_owned()].into();
    assert!(anew(&world, slave, false, false).contains("way back"), "it was abandoned");
    // one that never came up has no data yet, unless it shows a database
    for state in [State::Inactive, State::Booting, State::StrandedInBooting] {
        let mut world = site();
        world.databases.insert("Master".into(), Err("refused".into()));
        world.servers.iter_mut().for_each(|server| server.state = state);
        assert_eq!(anew(&world, master, false, false), "", "{state:?}");
        assert_eq!(anew(&world, warm, false, false), "", "{state:?}");
    }
    let mut world = site();
    world.servers[master].state = State::StrandedInBooting;
    assert!(anew(&world, master, false, false).contains("a master of the database set shop"));
}

#[test]
fn what_others_are_sent_to_does_not_end_before_them() {
    let mut world = site();
    world.servers.push(server("DNS", 8, &["dns:active=true"]));
    world.servers.push(server("Repository", 9, &[]));
    forbidden(&world, "DNS", "only name server");
    world.servers.push(server("DNS 2", 10, &["dns:active=true"]));
    assert_eq!(ask(&world, &["DNS"], false)[0].forbidden, [""; 0]);
    let both = ask(&world, &["DNS", "DNS 2"], false);
    assert!(both.iter().all(|entry| entry.forbidden[0].contains("only name server")), "{both:?}");
    let told = |input: &str, text: &str| vec![(input.to_owned(), text.to_owned())];
    world.told.insert("App 1".into(), told("DNS_SERVER", "127.0.0.8"));
    world.told.insert(DEPLOYMENT.into(), told("SVN_APP_REPOSITORY", "svn://127.0.0.9:3690/shop"));
    forbidden(&world, "DNS", "DNS_SERVER of App 1 names its address");
    forbidden(&world, "Repository", "SVN_APP_REPOSITORY of the deployment");
    assert_eq!(ask(&world, &["App 1", "DNS"], false)[1].forbidden, [""; 0], "who asks it ends too");
    world.servers[7].foreign = true;
    assert_eq!(ask(&world, &["Repository"], false)[0].forbidden, [""; 0], "it goes on");
    for (input, text, is) in [
        ("DNS_SERVER", "127.0.0.8:5353", true),
        ("DNS_SERVER", "127.0.0.80", false),
        ("PEER", "127.0.0.8", false),
        ("URL", "git+ssh://deploy@127.0.0.8/shop.git#1.0", true),
        ("URL", "http://127.0.0.80/127.0.0.8", false),
    ] {
        assert_eq!(sends(input, text, address(8)), is, "{input}={text}");
    }
    assert!(sends("URL", "https://[::1]:8443/x", "::1".parse().unwrap()));
    assert!(sends("DNS_SERVER", "::1", "::1".parse().unwrap()));
}
