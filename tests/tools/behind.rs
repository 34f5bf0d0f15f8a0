//! What was changed behind the journal, past every tool, must be named: each noun once.

use std::collections::{BTreeMap, BTreeSet};

use rs_contract::{Place, Target};
use rs_model::Value;
use rs_tests::{Ran, Scene};

use super::flags::mixed;

const D: &str = "production";

/// What `rs-journal verify` names, subject and detail.
fn named(ran: &Ran) -> Vec<String> {
    let error: serde_json::Value =
        ran.stderr.lines().last().map(|line| serde_json::from_str(line).unwrap()).unwrap();
    let found = error["found"].as_array().unwrap();
    let not_ok = found.iter().filter(|r| r["answer"] != "ok");
    not_ok.map(|r| format!("{}: {}", r["subject"], r["detail"])).collect()
}

fn verify(scene: &Scene) -> Ran {
    scene.tool("rs-journal").args(["verify", "--json"]).run()
}

#[test]
fn what_was_changed_behind_the_journal_is_named_once_per_noun() {
    let (scene, db, _apps) = mixed("behind");
    let rs = |tool: &str, args: &[&str]| {
        scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run().exits(0)
    };
    // a part that is taken away again is claimed no more
    rs("rs-server", &["mark", "old", "Two"]);
    let none = rs("rs-server", &["mark", "none", "Two", "--json"]);
    assert!(
        none.stdout.contains("\"changed\":true") && !none.stdout.contains("rs_upgrade:"),
        "{none}"
    );
    let again = rs("rs-server", &["mark", "none", "Two", "--json"]);
    assert!(again.stdout.contains("\"changed\":false"), "{again}");
    rs("rs-server", &["mark", "old", "One"]);
    std::fs::remove_file(scene.path("quiet")).unwrap();
    rs("rs-server", &["quench", "LB", "--for", "1h", "--reason", "a test"]);
    rs("rs-server", &["disable", "array-1"]);
    rs("rs-inputs", &["set", "--deployment-level", "GREETING=text:d"]);
    rs("rs-maintenance", &["start", "--pool", "www"]);
    rs("rs-dbsync", &["writes", "off", "M"]);
    rs("rs-lbctl", &["point", "test1.mysite.com", "--at", "LB", "--temp"]);
    verify(&scene).exits(0);

    let place = Place { cloud: scene.cloud(), ..Place::default() };
    let world = rs_drivers::world(&place).unwrap();
    let cloud = world.cloud.as_ref();
    let next = |name: &str| Target::Next(name.into());
    let tag = BTreeSet::from(["rs_upgrade:u-1=old".to_owned()]);
    let value =
        |text: &str| BTreeMap::from([("GREETING".to_owned(), Some(Value::parse(text).unwrap()))]);
    let hosts = std::fs::read_to_string(scene.path("hosts")).unwrap();
    let array = |on| cloud.set_array(D, "array-2", on, 1, 2).unwrap();
    let level = |text: &str| {
        cloud.set_inputs(D, &Target::Deployment, &value(text)).unwrap();
    };
    // a tool that writes its journal into another store
    let other = format!("sqlite:{}", scene.text("other.db"));
    let another = rs_drivers::state(&Place { cloud: other.clone(), ..Place::default() }).unwrap();
    another.commit(&rs_contract::Txn::default()).unwrap();
    let elsewhere = |tool: &str, args: &[&str]| {
        let _ = scene.tool(tool).args(args).args(["--store", &other]).run().exits(0);
    };
    let none = BTreeSet::new();
    // each is changed, must be named by these words, and is put back
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>, Box<dyn Fn() + 'a>);
    let changes: Vec<Change<'_>> = vec![
        (
            "Two is not locked",
            Box::new(|| cloud.set_lock(D, "Two", false).unwrap()),
            Box::new(|| cloud.set_lock(D, "Two", true).unwrap()),
        ),
        ("array-2 is disabled", Box::new(|| array(false)), Box::new(|| array(true))),
        (
            "One has no tag rs_upgrade:u-1=old",
            Box::new(|| cloud.set_tags(D, &next("One"), &none, &tag).unwrap()),
            Box::new(|| cloud.set_tags(D, &next("One"), &tag, &none).unwrap()),
        ),
        (
            "GREETING is text:z",
            Box::new(|| cloud.set_inputs(D, &next("One"), &value("text:z")).unwrap()),
            Box::new(|| cloud.set_inputs(D, &next("One"), &value("text:y")).unwrap()),
        ),
        ("GREETING is text:other", Box::new(|| level("text:other")), Box::new(|| level("text:d"))),
        (
            "maint of www on LB",
            Box::new(|| elsewhere("rs-lbctl", &["connect", "--pool", "www", "--standby", "App 2"])),
            Box::new(|| elsewhere("rs-lbctl", &["connect", "--pool", "www", "App 2"])),
        ),
        (
            "no member of www on LB",
            Box::new(|| elsewhere("rs-lbctl", &["disconnect", "--pool", "www", "App 2"])),
            Box::new(|| elsewhere("rs-lbctl", &["connect", "--pool", "www", "App 2"])),
        ),
        (
            "the page of www is down",
            Box::new(|| {
                elsewhere("rs-maintenance", &["stop", "--pool", "www", "--override", "writes-on"])
            }),
            Box::new(|| elsewhere("rs-maintenance", &["start", "--pool", "www"])),
        ),
        (
            "writes are on",
            Box::new(|| drop(db.sql("SET GLOBAL read_only = 0"))),
            Box::new(|| drop(db.sql("SET GLOBAL read_only = 1"))),
        ),
        (
            "test1.mysite.com points to []",
            Box::new(|| drop(scene.file("hosts", "127.0.0.1 localhost\n"))),
            Box::new(|| drop(scene.file("hosts", &hosts))),
        ),
        (
            "the alerts of LB are on",
            Box::new(|| std::fs::remove_file(scene.path("quiet")).unwrap()),
            Box::new(|| drop(scene.file("quiet", ""))),
        ),
    ];
    for (says, change, back) in &changes {
        change();
        let ran = verify(&scene);
        assert_eq!(ran.exit, 3, "{says}: {ran}");
        let named = named(&ran);
        assert!(named.iter().any(|line| line.contains(says)), "{says} in {named:?}");
        assert!(named.len() <= 2, "nothing else is named: {named:?}"); // a debt may tell of it too
        back();
        verify(&scene).exits(0);
    }
    // a machine that somebody ended
    let work = rs_contract::Work { timeout: std::time::Duration::from_secs(60) };
    cloud.terminate(D, "One", work, &|_| {}).unwrap();
    let ran = verify(&scene).exits(3);
    assert!(named(&ran).iter().any(|line| line.contains("One is terminated")), "{ran}");
    // whoever asks for the journal alone asks nobody
    scene.tool("rs-journal").args(["verify", "--no-world"]).run().exits(0);
}
