//! A promotion is refused by the name of what is not so; it moves the names, ends who still has the old address, and is
//! done when every application server sees the moved name, each through the name server that it asks.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rs_drivers::settings::Settings;
use rs_model::Value;
use rs_tests::{Engines, Named, Scene, each_engine, until};

use super::dbsync::{NO_BACKUPS, Set, did, names, set_with};

const NAME: &str = "master-db.mysite.com";
const READ_NAME: &str = "slave-db.mysite.com";

each_engine!(a_promotion_moves_the_names_and_waits_until_every_application_server_sees_them);

fn dns(named: &Named) -> Box<dyn rs_contract::Dns> {
    let values = [
        ("DNS_SERVER", named.server.to_string()),
        ("DNS_ZONE", "mysite.com".to_owned()),
        ("DNS_TSIG_NAME", "updater".to_owned()),
        ("DNS_TSIG_KEY", named.key.clone()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::Text(text)));
    rs_drivers::dns(&Settings::given("production", None, values)).unwrap()
}

fn with(more: &[&'static str]) -> Vec<&'static str> {
    let all = ["promote", "Slave2 DB", "--json"].into_iter().chain(NO_BACKUPS);
    all.chain(more.iter().copied()).collect()
}

fn point(set: &Set, name: &str, at: &str) {
    set.scene.tool("rs-lbctl").args(["point", name, "--at", at]).run().exits(0);
}

/// Every other word about who is the master counts too, and whatever was changed on the held slave.
fn each_condition_is_refused_by_its_own_name(set: &Set, named: &Named) {
    // a name that points elsewhere is somebody else's
    dns(named).set(NAME, &["192.0.2.1".parse().unwrap()], 60).unwrap();
    let ran = set.dbsync(&["promote", "Slave2 DB", "--json"], 5);
    let all = ": rollback pair, abandoned data kept, DNS record ours, application ready";
    assert!(names(&ran).ends_with(all), "{ran}");
    point(set, NAME, "Master DB");
    let refused = |more: &[&'static str], condition: &str| {
        let ran = set.dbsync(&with(more), 5);
        assert!(names(&ran).ends_with(&format!(": {condition}")), "{ran}");
    };
    // nobody was asked whether the old release is there: its servers are not marked, or do not answer
    refused(&[], "application ready");
    set.scene.tool("rs-server").args(["mark", "old", "App 1", "--upgrade", "u-1"]).run().exits(0);
    let app = set.scene.tool("rs-server").args(["list", "App 1"]).run().exits(0).record();
    let home = app["current"]["home"].as_str().unwrap().to_owned();
    let away = format!("{home}.away");
    std::fs::rename(&home, &away).unwrap();
    refused(&[], "application ready");
    std::fs::rename(&away, &home).unwrap();
    // a slave that the master shows, and that none of the set says it is
    let id = set.slave.sql("SELECT @@global.server_id");
    set.slave.sql("SET GLOBAL server_id = 4711");
    refused(&[], "other slaves declared");
    set.slave.sql(&format!("SET GLOBAL server_id = {id}"));
    // a reader's session does not count, one that could write when writes are on does, until it is ended
    set.master.force(
        "SET sql_log_bin=0; CREATE USER watcher@'127.%' IDENTIFIED BY 'watcher'; \
         GRANT SELECT, PROCESS ON *.* TO watcher@'127.%'",
    );
    let watcher = set.master.session_as("watcher", "DO 0");
    let idle = set.master.session_as("app", "DO 0");
    refused(&[], "application sessions gone");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    assert!(idle.is_there(), "what cannot write stays");
    set.dbsync(&["writes", "off", "Master DB", "--sessions", "--allow", "watcher"], 0);
    assert!(!idle.is_there() && watcher.is_there());
    drop(watcher);
    refused(&["--expect-master", "Slave DB"], "expected master");
    refused(&["--max-ttl", "59s"], "DNS record ours");
    refused(&["--lose-after", "2020-01-01T00"], "hold time stated");
    point(set, NAME, "Slave DB");
    refused(&[], "expected master");
    point(set, NAME, "Master DB");
    set.warm.sql("SET GLOBAL read_only=0");
    refused(&[], "hold unbroken, read-only since the hold");
    set.warm.sql(set.warm.or("SET GLOBAL read_only=1", "SET GLOBAL super_read_only=1"));
    set.warm.force("SET sql_log_bin=0; ALTER TABLE appdb.t ADD COLUMN k INT");
    refused(&[], "schema before the migration");
    set.warm.force("SET sql_log_bin=0; ALTER TABLE appdb.t DROP COLUMN k");
    what_is_no_slave_any_more_is_no_promotion_that_was_cut_off(set);
    an_empty_database_in_the_place_of_the_held_one_is_refused(set);
    let ran = set.dbsync(&with(&["--dry-run"]), 0);
    assert_eq!(did(&ran)["planned"], true);
    assert_eq!(named.dig(NAME), std::slice::from_ref(&set.master.address));
}

/// Puts a server's positions back to those, held.
fn held_at(warm: &rs_tests::Db, applied: &str, log: &str) -> String {
    match warm.engine {
        Engines::Host => format!(
            "RESET MASTER; SET GLOBAL gtid_binlog_state='{log}'; SET GLOBAL gtid_slave_pos='{applied}'; \
             CHANGE MASTER TO MASTER_HOST='held.invalid', MASTER_USE_GTID=slave_pos; SET GLOBAL read_only=1"
        ),
        Engines::Newer => format!(
            "RESET BINARY LOGS AND GTIDS; SET GLOBAL gtid_purged='{log}'; \
             CHANGE REPLICATION SOURCE TO SOURCE_HOST='held.invalid', SOURCE_AUTO_POSITION=1; \
             SET GLOBAL super_read_only=1"
        ),
    }
}

fn positions(warm: &rs_tests::Db) -> (String, String) {
    let log = warm.or("@@gtid_binlog_state", "@@gtid_executed");
    (warm.applied(), warm.sql(&format!("SELECT {log}")))
}

/// Somebody made the held slave forget its source, as a promotion does; the journal knows of none.
fn what_is_no_slave_any_more_is_no_promotion_that_was_cut_off(set: &Set) {
    let warm = &set.warm;
    let (applied, log) = positions(warm);
    warm.sql("STOP REPLICA; RESET REPLICA ALL");
    let refused = |all: &str| {
        let ran = set.dbsync(&with(&["--lose-writes"]), 5);
        assert!(names(&ran).ends_with(all), "{ran}");
    };
    refused(": hold unbroken");
    warm.sql("SET GLOBAL read_only=0; INSERT INTO appdb.t VALUES (990, ''); DELETE FROM appdb.t WHERE id=990");
    warm.sql(warm.or("SET GLOBAL read_only=1", "SET GLOBAL super_read_only=1"));
    refused(": hold unbroken, read-only since the hold");
    warm.sql(&held_at(warm, &applied, &log));
}

/// Its tags, its address and the debt are those of the held slave, and it has nothing.
fn an_empty_database_in_the_place_of_the_held_one_is_refused(set: &Set) {
    let warm = &set.warm;
    let (applied, log) = positions(warm);
    set.scene.made_anew(warm);
    let ran = set.dbsync(&with(&[]), 5);
    for name in ["hold unbroken", "data as held", "schema before the migration"] {
        assert!(names(&ran).contains(name), "{ran}");
    }
    // whoever takes what he sees for a thawed slave is told all the same
    let thawed = ["hold unbroken", "read-only since the hold", "schema before the migration"];
    let thawed: Vec<&str> = thawed.iter().flat_map(|name| ["--override", name]).collect();
    let ran = set.dbsync(&with(&thawed), 5);
    assert!(names(&ran).ends_with(": data as held"), "{ran}");
    // also with the schema, and with every position as it was noted
    warm.sql(&format!(
        "SET sql_log_bin=0; CREATE DATABASE appdb; \
         CREATE TABLE appdb.t (id INT PRIMARY KEY, note VARCHAR(200)) ENGINE=InnoDB; {}",
        held_at(warm, &applied, &log)
    ));
    let ran = set.dbsync(&with(&[]), 5);
    assert!(names(&ran).ends_with(": data as held"), "{ran}");
    let ran = set.dbsync(&["status", "Slave2 DB", "--require", "held", "--json"], 3);
    assert!(names(&ran).ends_with(": data as held of \"Slave2 DB\""), "{ran}");
    set.scene.with_old_data(warm);
    warm.sql(warm.or("SET GLOBAL read_only=1", "SET GLOBAL super_read_only=1"));
}

fn a_promotion_moves_the_names_and_waits_until_every_application_server_sees_them(
    engines: Engines,
) {
    let scene = Scene::on(engines, "promoted");
    let (first, second) = (scene.named("dns"), scene.knot("secondary"));
    scene.credential("DNS_TSIG_KEY", &first.key);
    std::fs::create_dir_all(scene.path("servers")).unwrap();
    let user = if rustix::process::geteuid().is_root() { "\n    User: nobody" } else { "" };
    let inputs = format!(
        "  DB_HOST_NAME: text:{NAME}\n  DB_READ_HOST_NAME: text:{READ_NAME}\n  DNS_SERVER: text:{}\n  DNS_ZONE: text:mysite.com\n  \
         DNS_TSIG_NAME: text:updater\n  DNS_TSIG_KEY: cred:DNS_TSIG_KEY\n\
         Machines:\n  Local:\n    Root: '{}'\n    Addresses: {}.128/25\n    Path: '{}'{user}\n",
        first.server,
        scene.text("servers"),
        scene.net,
        scene.search_path()
    );
    let set = set_with(scene, &inputs);
    let scene = &set.scene;
    scene.file("boot.sh", "#!/bin/bash\n# ---\n# RightScript Name: boot\n# Inputs: {}\n# ...\n");
    scene.file("app.yml", "Name: App\nInputs: {}\nRightScripts:\n  Boot: [boot.sh]\n");
    let site = std::fs::read_to_string(scene.path("site.yaml")).unwrap();
    let app = |name: &str, more: &str| {
        format!(
            "  - Name: {name}\n    Template: '{}'\n    Tags: ['application:active_www=true']\n{more}",
            scene.text("app.yml")
        )
    };
    let elsewhere = format!("    Inputs:\n      DNS_SERVER: text:{}\n", second.server);
    let site = format!("{site}{}{}", app("App 1", ""), app("App 2", &elsewhere));
    let file = scene.file("more.yaml", &site);
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    scene.tool("rs-server").args(["launch", "App 1", "App 2"]).run().exits(0);
    let old: Ipv4Addr = set.master.address.parse().unwrap();
    let new: Ipv4Addr = set.warm.address.parse().unwrap();
    let other = dns(&second);
    for (name, address) in [(NAME, old), (READ_NAME, set.slave.address.parse().unwrap())] {
        other.set(name, &[address], 60).unwrap();
    }
    point(&set, READ_NAME, "Slave DB");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    each_condition_is_refused_by_its_own_name(&set, &first);
    let idle = set.master.session_as("app", "DO 0");

    // the other name server knows nothing of it yet: the promotion is done, and says who does not see it
    let ran = set.dbsync(&with(&["--limit", "2s", "--override", "application sessions gone"]), 6);
    ran.says(&format!("\"App 2\" still sees {NAME} at {old}"));
    for name in [NAME, READ_NAME] {
        assert_eq!(first.dig(name), [new.to_string()]);
    }
    assert!(!idle.is_there(), "the old session was ended");
    assert_eq!(set.warm.sql("SELECT @@read_only; SHOW REPLICA STATUS"), "0");

    // it waits while the other comes round, and names everybody who sees it
    let promote = with(&["--limit", "60s"]);
    let child = scene.tool("rs-dbsync").args(&promote).env("RS_UPGRADE", "u-1").start();
    until("the wait to be begun", Duration::from_secs(30), || {
        let open = scene.tool("rs-journal").args(["show", "--open", "--json"]).run();
        open.stdout.contains("promote")
    });
    // somebody who may goes on writing where nobody should: it is said, and where that left it is known
    let ended = AtomicBool::new(false);
    std::thread::scope(|work| {
        let writer = work.spawn(|| writes_on(&set.master, &ended));
        until("the first writes", Duration::from_secs(30), || {
            // this session is ended too, at times
            let many = set.master.asked("SELECT COUNT(*) > 20 FROM appdb.t WHERE id > 9000");
            many.is_ok_and(|many| many.ends_with('1'))
        });
        for name in [NAME, READ_NAME] {
            other.set(name, &[new], 60).unwrap();
        }
        told(child);
        ended.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    let again = set.dbsync(&promote, 0);
    assert_eq!(did(&again)["changed"], false);
    assert_eq!(set.debts_of_ours(), ["fenced:Master DB", "lock:Slave2 DB", "rebuild:Slave DB"]);
    taken_back_though_cut_off_at_its_end(&set, other.as_ref(), old);
}

/// The fenced master is the master again, and whoever waits for the names gives up: the same once more goes on from there.
fn taken_back_though_cut_off_at_its_end(set: &Set, other: &dyn rs_contract::Dns, old: Ipv4Addr) {
    set.dbsync(&["writes", "off", "Slave2 DB"], 0);
    let back = |more: &[&'static str]| -> Vec<&'static str> {
        let all = ["promote", "Master DB", "--json", "--lose-writes"].into_iter().chain(NO_BACKUPS);
        // the writer above went on for a while
        let known = ["application ready", "hold unbroken", "read-only since the hold"];
        all.chain(known.into_iter().flat_map(|name| ["--override", name]))
            .chain(more.iter().copied())
            .collect()
    };
    set.dbsync(&back(&["--limit", "2s"]), 6).says("\"App 2\" still sees");
    let master = ["list", "--role", "master"];
    assert_eq!(
        set.scene.tool("rs-server").args(master).run().exits(0).record()["name"],
        "Master DB"
    );
    // its price is paid, and what it abandoned is no way back before it has come to its end
    set.dbsync(&["price", "Master DB"], 4);
    set.dbsync(&["status", "Slave2 DB", "--require", "held"], 3);
    for name in [NAME, READ_NAME] {
        other.set(name, &[old], 60).unwrap();
    }
    assert_eq!(did(&set.dbsync(&back(&["--dry-run"]), 0))["changed"], true);
    assert_eq!(did(&set.dbsync(&back(&[]), 0))["changed"], true);
    assert_eq!(did(&set.dbsync(&back(&[]), 0))["changed"], false);
    set.dbsync(&["status", "Slave2 DB", "--require", "held"], 0);
}

/// Writes as root until it is told to end, each in a session of its own; some are ended by the server.
fn writes_on(master: &rs_tests::Db, ended: &AtomicBool) {
    for id in 9001.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let insert = format!("INSERT INTO appdb.t VALUES ({id}, 'behind the fence')");
        let newer = format!("SET GLOBAL super_read_only=0; {insert}; SET GLOBAL super_read_only=1");
        let _ = master.asked(master.or(&insert, &newer));
    }
}

/// The promotion comes to its end, and says what was seen and what was written behind its back.
fn told(child: std::process::Child) {
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let record: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let seen = &record["did"].as_array().unwrap().last().unwrap()["after"]["seen_by"];
    assert_eq!(seen, &serde_json::json!(["App 1", "App 2"]), "{record}");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("\"Master DB\" was written to after it was fenced"), "{said}");
    let fenced = &record["did"].as_array().unwrap().last().unwrap()["after"]["fenced"];
    assert!(
        said.contains(&format!("at `{}` now", fenced["position"]["gtid"].as_str().unwrap())),
        "{said}"
    );
}
