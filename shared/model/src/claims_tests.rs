//! What the journal claims, over acts as the tools write them.

use serde_json::{Value as Json, json};

use super::*;

fn act(seq: u64, call: &str, subject: &str, after: Json) -> Act {
    let (tool, verb) = call.split_once(' ').unwrap();
    serde_json::from_value(json!({
        "seq": seq, "at": "2026-01-01T00:00:00.000Z", "deployment": "d", "subject": subject, "tool": tool,
        "verb": verb, "outcome": "done", "after": after,
        "owner": {"user": "u", "host": "h", "pid": seq / 10, "run": "u-1"}
    }))
    .unwrap()
}

fn told(acts: &[Act]) -> Vec<(String, Says)> {
    claims(acts).into_iter().map(|claim| (claim.name, claim.says)).collect()
}

#[test]
fn the_newest_act_on_a_thing_counts() {
    let lock = |seq, on| {
        act(
            seq,
            if on { "rs-server lock" } else { "rs-server unlock" },
            "server A",
            json!({"locked": on}),
        )
    };
    assert_eq!(told(&[lock(1, true), lock(2, false)]), [("A".into(), Says::Locked(false))]);
    let mut failed = lock(3, true);
    failed.outcome = Outcome::Failed;
    assert_eq!(told(&[lock(1, true), failed]), [], "nobody knows how far it came");
}

#[test]
fn every_verb_that_leaves_something_claims_it() {
    let member = json!([{"balancer": "L", "pool": "www", "id": "A", "admin": "ready", "port": 80}]);
    let acts = [
        act(1, "rs-server launch", "server A", json!({"state": "operational"})),
        act(2, "rs-server disable", "array x", json!({"enabled": false})),
        act(3, "rs-server mark", "server A", json!({"part": "old"})),
        act(4, "rs-inputs set", "server A", json!({"next": {"V": "text:1", "W": null}})),
        act(5, "rs-inputs set", "deployment d", json!({"inputs": {"V": "text:2"}})),
        act(6, "rs-maintenance start", "server L", json!({"pool": "www", "active": true})),
        act(7, "rs-dbsync writes off", "server M", json!({"off": true})),
        act(8, "rs-dbsync hold", "server S", json!({"held": true})),
        act(9, "rs-lbctl connect", "server A", member),
        act(10, "rs-lbctl point", "server A", json!({"name": "t.x", "addresses": ["127.0.0.9"]})),
        act(11, "rs-snapshot pin", "server M", json!({"id": "s1", "pinned": true})),
        act(12, "rs-snapshot schedule off", "server M", json!({"enabled": false})),
    ];
    let value = |text: &str| Some(Value::parse(text).unwrap());
    let members = vec![OnBalancer {
        balancer: "L".into(),
        pool: "www".into(),
        admin: Admin::Ready,
        port: 80,
    }];
    let wanted = [
        ("A", Says::Up),
        ("x", Says::Enabled(false)),
        ("A", Says::Tag("rs_upgrade:u-1=old".into())),
        ("A", Says::Next("V".into(), value("text:1"))),
        ("A", Says::Next("W".into(), None)),
        ("d", Says::Level("V".into(), value("text:2"))),
        ("L", Says::Page("www".into(), true)),
        ("M", Says::WritesOff(true)),
        ("S", Says::Held(true)),
        ("A", Says::Members("www".into(), members)),
        ("A", Says::Record("t.x".into(), vec!["127.0.0.9".parse().unwrap()])),
        ("M", Says::Pinned("s1".into())),
        ("M", Says::Backups(false)),
    ];
    assert_eq!(told(&acts), wanted.map(|(name, says)| (name.to_owned(), says)));
}

#[test]
fn what_ends_a_thing_ends_what_was_said_of_it() {
    let held = act(1, "rs-dbsync hold", "server S", json!({"held": true}));
    for end in [
        act(2, "rs-cleanup retire", "server S", json!({"state": "terminated"})),
        act(2, "rs-cleanup retire", "server S", json!({"defined": false})),
        act(2, "rs-dbsync promote", "server S", json!({"role": "master"})),
        act(2, "rs-dbsync init", "server S", json!({"replicating": true})),
    ] {
        assert_eq!(told(&[held.clone(), end]), []);
    }
    // what is held is locked by its holder, and what is abandoned too
    let unlocked = |name: &str| {
        act(1, "rs-server unlock", &format!("server {name}"), json!({"locked": false}))
    };
    let hold = act(2, "rs-dbsync hold", "server S", json!({"held": true}));
    let promote = act(3, "rs-dbsync promote", "server S", json!({"old_master": "M"}));
    let all = [unlocked("S"), unlocked("M"), unlocked("X"), hold, promote];
    assert_eq!(told(&all), [("X".into(), Says::Locked(false))]);
    let again = act(2, "rs-server relaunch", "server S", json!({"state": "operational"}));
    assert_eq!(told(&[held, again]), [("S".into(), Says::Up)]);
    let point = |seq, to: &[&str]| {
        act(seq, "rs-lbctl point", "server A", json!({"name": "m.x", "addresses": to}))
    };
    let promote = act(2, "rs-dbsync promote", "server S", json!({"names": ["m.x"]}));
    assert_eq!(told(&[point(1, &["127.0.0.1"]), promote]), []);
}

#[test]
fn members_of_a_newer_call_are_all_that_is_claimed_of_a_pool() {
    let on = |seq, name: &str, pool: &str| {
        let list =
            json!([{"balancer": "L", "pool": pool, "id": "x", "admin": "ready", "port": 80}]);
        act(seq, "rs-lbctl connect", &format!("server {name}"), list)
    };
    let names = |acts: &[Act]| -> Vec<String> { told(acts).into_iter().map(|(n, _)| n).collect() };
    assert_eq!(names(&[on(10, "A", "www"), on(11, "B", "www")]), ["A", "B"], "one call");
    assert_eq!(names(&[on(10, "A", "www"), on(20, "B", "www")]), ["B"], "it may be --only");
    assert_eq!(names(&[on(10, "A", "www"), on(20, "B", "test")]), ["A", "B"]);
}

#[test]
fn a_part_that_was_taken_away_is_claimed_no_more() {
    let marked = act(1, "rs-server mark", "server A", json!({"part": "old"}));
    assert_eq!(claims(std::slice::from_ref(&marked)).len(), 1);
    let none = act(2, "rs-server mark", "server A", json!({"part": null}));
    assert!(claims(&[marked, none]).is_empty());
}

#[test]
fn every_pin_is_claimed_until_it_is_taken_away_through_whichever_server() {
    let turn = |seq, verb: &str, server: &str, id: &str| {
        let after = json!({"id": id, "pinned": verb == "pin"});
        act(seq, &format!("rs-snapshot {verb}"), &format!("server {server}"), after)
    };
    let pins = [turn(1, "pin", "M", "s1"), turn(2, "pin", "M", "s2")];
    let pinned = |name: &str, id: &str| (name.to_owned(), Says::Pinned(id.to_owned()));
    assert_eq!(told(&pins), [pinned("M", "s1"), pinned("M", "s2")]);
    for server in ["M", "S"] {
        let acts = [pins.as_slice(), &[turn(3, "unpin", server, "s1")]].concat();
        assert_eq!(told(&acts), [pinned("M", "s2")], "unpinned through {server}");
    }
}

#[test]
fn what_failed_or_was_launched_elsewhere_takes_nothing_from_others() {
    let claim = act(1, "rs-server lock", "server A", json!({"locked": true}));
    type Change = fn(&mut Act);
    let others: [Change; 3] = [
        |a| a.deployment = "e".into(),
        |a| a.subject = "server B".into(),
        |a| a.tool = "rs-run".into(),
    ];
    for change in others {
        let mut failed = act(2, "rs-server lock", "server A", Json::Null);
        failed.outcome = Outcome::Failed;
        change(&mut failed);
        assert_eq!(told(&[claim.clone(), failed]).len(), 1);
    }
    let up = act(1, "rs-server launch", "server A", json!({"state": "operational"}));
    let mut other = act(2, "rs-server relaunch", "server A", json!({"state": "booting"}));
    assert_eq!(told(&[up.clone(), other.clone()]), [], "it does not run so far");
    other.deployment = "e".into();
    assert_eq!(told(&[up, other]), [("A".into(), Says::Up)]);
}

#[test]
fn what_a_verb_changes_besides_is_claimed_no_more() {
    let told = |before: (&str, &str, Json), later: (&str, &str, Json)| -> Vec<Says> {
        let acts = [act(1, before.0, before.1, before.2), act(2, later.0, later.1, later.2)];
        claims(&acts).into_iter().filter(|claim| claim.act.seq == 1).map(|c| c.says).collect()
    };
    let lock = ("rs-server lock", "server S", json!({"locked": true}));
    let off = ("rs-dbsync writes off", "server M", json!({"off": true}));
    let name = ("rs-lbctl point", "server L", json!({"name": "t.x", "addresses": ["127.0.0.9"]}));
    let next = ("rs-inputs set", "server S", json!({"next": {"V": "text:1"}}));
    let hold = ("rs-dbsync hold", "server S", json!({"held": true}));
    let promote = ("rs-dbsync promote", "server S", json!({"old_master": "M"}));
    let retire = ("rs-cleanup retire", "server X", json!({"state": "terminated"}));
    let apply = ("rs-server apply", "deployment d", json!({}));
    for (before, later) in [(&lock, &hold), (&off, &promote), (&name, &retire), (&next, &apply)] {
        assert_eq!(told(before.clone(), later.clone()), [], "{} {}", before.0, later.0);
    }
    for (before, later) in [(&lock, &apply), (&off, &hold), (&name, &promote), (&next, &retire)] {
        assert_eq!(told(before.clone(), later.clone()).len(), 1, "{} {}", before.0, later.0);
    }
}

#[test]
fn an_entry_is_as_it_was_left_or_it_is_said_what_is_there() {
    let value = |text: &str| Value::parse(text).unwrap();
    let inputs = Inputs::from([("V".to_owned(), value("text:1"))]);
    assert_eq!(entry(&inputs, "V", Some(&value("text:1"))), Ok(()));
    assert_eq!(entry(&inputs, "W", None), Ok(()));
    assert_eq!(entry(&inputs, "V", Some(&value("text:2"))), Err("V is text:1".into()));
    assert_eq!(entry(&inputs, "V", None), Err("V is text:1".into()));
    assert_eq!(entry(&inputs, "W", Some(&value("text:1"))), Err("there is no W".into()));
}
