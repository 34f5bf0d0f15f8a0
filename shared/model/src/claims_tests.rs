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
