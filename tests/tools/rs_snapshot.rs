//! rs-snapshot as a black box, on a database that our own template launches.

use std::time::Duration;

use rs_tests::{Call, Scene, root, until};
use serde_json::Value as Json;

use super::small_site::settled_only_by;

/// A master database of the deployment `production`, launched.
pub fn launched(name: &str) -> Scene {
    let scene = Scene::new(name);
    for secret in ["ADMIN", "OTHERS"] {
        scene.credential(secret, "p\"a'ss #\\x;");
    }
    let backups = scene.path("backups");
    std::fs::create_dir_all(&backups).unwrap();
    scene.hand_over(&backups);
    let template = root().join("scripts/templates/database.yml").canonicalize().unwrap();
    let user = if rustix::process::geteuid().is_root() { "    User: nobody\n" } else { "" };
    let text = format!(
        "Deployment: production\nMachines:\n  Local:\n    Root: machines\n    Addresses: {net}.128/25\n    Path: {path}\n{user}\
         Inputs:\n  DB_LINEAGE_NAME: text:mysite prod\n  DB_BUFFER_POOL: text:32M\n  DBADMIN_USER: text:dba\n  DBADMIN_PASSWORD: cred:ADMIN\n\
         \x20 DBREPLICATION_USER: text:repl\n  DBREPLICATION_PASSWORD: cred:OTHERS\n  BACKUP_DIR: text:{backups}\n\
         \x20 DBAPPLICATION_USER: text:app\n  DBAPPLICATION_PASSWORD: cred:OTHERS\n  DBHEARTBEAT_PASSWORD: cred:OTHERS\n  DBMIGRATION_USER: text:migrator\n\
         \x20 DBMIGRATION_PASSWORD: cred:OTHERS\n  DB_SCHEMA_NAME: text:shop\n  BACKUP_EVERY_MINUTES: text:60\n  DB_BACKUP_KEEP: text:2\n\
         Templates:\n  - {t}\nServers:\n  - Name: Master DB\n    Template: {t}\n    Tags: [\"database:master_active=production\"]\n    Inputs:\n      DB_CREATE: text:true\n",
        net = scene.net,
        path = scene.search_path(),
        backups = backups.display(),
        t = template.display(),
    );
    let file = scene.file("site.yml", &text);
    let _ = scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    let _ = scene.tool("rs-server").args(["launch", "Master DB"]).run().exits(0);
    scene
}

fn call(scene: &Scene, args: &[&str]) -> Call {
    scene.tool("rs-snapshot").args(args)
}

fn home(scene: &Scene) -> String {
    let list = scene.tool("rs-server").args(["list", "Master DB"]).run().exits(0).record();
    list["current"]["home"].as_str().unwrap().to_owned()
}

/// Runs SQL as the administrator, by the option file that the template wrote.
pub fn sql(scene: &Scene, statement: &str) -> String {
    let options = format!("--defaults-file={}/etc/admin.cnf", home(scene));
    let ran = scene.call("mariadb", "mariadb").args([&options, "-NBe", statement]).run();
    ran.exits(0).stdout.trim().to_owned()
}

fn debts(scene: &Scene) -> Vec<String> {
    let ran = scene.tool("rs-cleanup").args(["audit"]).run();
    let keys = ran.records();
    keys.iter().filter_map(|r| r["key"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_backup_is_taken_once_proven_pinned_pruned_and_restored() {
    let scene = launched("snapshot");
    let master = ["Master DB"];
    // its heartbeats move the position, and here it shall stand still
    let _ = scene.tool("rs-run").args(["heartbeat stop", "Master DB"]).run().exits(0);
    call(&scene, &["list", "Master DB"]).run().exits(4).says("rs-snapshot take");
    call(&scene, &["list", "Master DB", "--require", "age<2h,perfect"]).run().exits(3);
    sql(&scene, "CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE shop.t (id INT PRIMARY KEY)");

    // a dry run changes nothing
    let dry = call(&scene, &["take", "Master DB", "--label", "pre; 'up'", "--dry-run"]).run();
    assert_eq!(dry.exits(0).record()["planned"], true);
    let _ = call(&scene, &["list", "--allow-none"]).args(master).run().exits(0);

    let taken =
        call(&scene, &["take", "Master DB", "--label", "pre; 'up'", "--pin"]).run().exits(0);
    let record = taken.record();
    assert_eq!(record["name"], "Master DB");
    assert_eq!(record["snapshot"]["perfect"], true, "{taken}");
    assert_eq!(record["snapshot"]["position"]["gtid"], sql(&scene, "SELECT @@gtid_binlog_pos"));
    assert!(!taken.stdout.contains("p\\\"a'ss") && !taken.stderr.contains("p\"a'ss"));
    assert_eq!(debts(&scene), ["pin:mysite prod/pre; 'up'"]);
    // the lineage is not called like the set
    let audit = scene.tool("rs-cleanup").args(["audit", "--json"]).run();
    let owed: serde_json::Value =
        serde_json::from_str(audit.stdout.lines().next().unwrap()).unwrap();
    assert!(owed["seen"].as_str().unwrap().ends_with("is pinned"), "{audit}");
    // the same position: once is enough; another one: that label is taken
    let again =
        call(&scene, &["take", "Master DB", "--label", "pre; 'up'", "--pin"]).run().exits(0);
    assert_eq!(again.record()["did"][0]["changed"], false, "{again}");
    sql(&scene, "INSERT INTO shop.t VALUES (1)");
    call(&scene, &["take", "Master DB", "--label", "pre; 'up'"]).run().exits(5).says("position");
    let once =
        call(&scene, &["take", "Master DB", "--label", "pre; 'up'", "--once"]).run().exits(0);
    assert_eq!(once.record()["did"][0]["changed"], false);

    call(&scene, &["list", "--require", "age<2h,perfect"]).args(master).run().exits(0);
    call(&scene, &["list", "--require", "proven"])
        .args(master)
        .run()
        .exits(3)
        .says("never restored");
    let proven = call(&scene, &["prove"]).args(master).run().exits(0);
    assert!(proven.record()["snapshot"]["proven_at"].is_string(), "{proven}");
    call(&scene, &["list", "--require", "proven"]).args(master).run().exits(0);
    assert_eq!(sql(&scene, "SELECT COUNT(*) FROM shop.t"), "1", "the server itself is untouched");

    for _ in 0..3 {
        let _ = call(&scene, &["take"]).args(master).run().exits(0);
    }
    let pruned = call(&scene, &["prune"]).args(master).run().exits(0);
    assert_eq!(
        pruned.record()["did"][0]["after"]["backups"],
        3,
        "two and the pinned one\n{pruned}"
    );
    let twice = call(&scene, &["prune"]).args(master).run().exits(0);
    assert_eq!(twice.record()["did"][0]["changed"], false);

    let restore = ["restore", "Master DB", "--label", "pre; 'up'"];
    call(&scene, &restore).run().exits(5).says("answers");
    call(&scene, &["restore", "Master DB"]).run().exits(2).says("--label");
    let _ = scene.tool("rs-run").args(["database stop", "Master DB"]).run().exits(0);
    let back = call(&scene, &restore).run().exits(0);
    assert_eq!(back.record()["did"][0]["after"]["position"], record["snapshot"]["position"]);
    let _ = scene.tool("rs-run").args(["database start", "Master DB"]).run().exits(0);
    assert_eq!(sql(&scene, "SELECT COUNT(*) FROM shop.t"), "0");

    let _ = call(&scene, &["unpin", "Master DB", "--label", "pre; 'up'"]).run().exits(0);
    assert!(debts(&scene).is_empty());
    let pin = |verb, which: &[&'static str]| [&["rs-snapshot", verb, "Master DB"], which].concat();
    let first = pin("pin", &["--label", "pre; 'up'"]);
    let _ = call(&scene, &first[1..]).run().exits(0);
    settled_only_by(&scene, &pin("pin", &["--newest"]), &pin("unpin", &["--label", "pre; 'up'"]));
    // what a tool unpinned is nobody's doing by hand
    let _ = scene.tool("rs-journal").args(["verify"]).run().exits(0);
}

#[test]
fn the_schedule_is_a_debt_while_it_is_off_and_waits_for_what_is_under_way() {
    let scene = launched("schedule");
    let _ = call(&scene, &["take", "--if-due", "Master DB"]).run().exits(0);
    let _ = call(&scene, &["list", "Master DB"]).run().exits(4);
    let on = call(&scene, &["schedule", "on", "Master DB"]).run().exits(0).record();
    assert_eq!(on["schedule"]["enabled"], true, "{on}");
    assert_eq!(
        (&on["schedule"]["every_minutes"], &on["schedule"]["keep"]),
        (&60.into(), &2.into())
    );
    assert!(debts(&scene).is_empty());
    // due once, then not for an hour
    let first = call(&scene, &["take", "--if-due", "Master DB"]).run().exits(0).record();
    assert_eq!(first["did"][0]["changed"], true, "{first}");
    let second = call(&scene, &["take", "--if-due", "Master DB"]).run().exits(0).record();
    assert_eq!(second["did"][0]["changed"], false, "{second}");
    let status = call(&scene, &["schedule", "status", "Master DB"]).run().exits(0).record();
    assert!(status["last_run"].is_string() && status["due_in_seconds"].as_u64().unwrap() > 3000);

    // whatever is under way when `off` comes: none is when it is back
    let mut child = call(&scene, &["take", "Master DB", "--label", "slow"])
        .env("PATH", scene.search_path())
        .start();
    until("the backup to be under way or done", Duration::from_secs(30), || {
        let ran = call(&scene, &["list", "Master DB"]).run().exits(0);
        ran.records().iter().any(|r| r["label"] == "slow")
    });
    let off = call(&scene, &["schedule", "off", "Master DB"]).run().exits(0).record();
    assert_eq!(off["schedule"]["enabled"], false, "{off}");
    let list = call(&scene, &["list", "Master DB"]).run().exits(0);
    let taking: Vec<Json> = list.records().into_iter().filter(|r| r["taking"] == true).collect();
    assert!(taking.is_empty(), "off came back while one was under way\n{list}");
    assert!(child.wait().unwrap().success());
    assert_eq!(debts(&scene), ["backups:Master DB"]);
    let again = call(&scene, &["schedule", "off", "Master DB"]).run().exits(0).record();
    assert_eq!(again["did"][0]["changed"], false);
    let idle = call(&scene, &["take", "--if-due", "Master DB"]).run().exits(0).record();
    assert_eq!(idle["did"][0]["changed"], false);
    let _ = call(&scene, &["schedule", "on", "Master DB"]).run().exits(0);
    assert!(debts(&scene).is_empty());
}

#[test]
fn a_backup_whose_tool_was_killed_is_waited_for_and_taken_under_its_label() {
    let scene = launched("snapshot-killed");
    let mut child = call(&scene, &["take", "Master DB", "--label", "x"]).start();
    until("the backup to be under way", Duration::from_secs(30), || {
        let ran = call(&scene, &["list", "Master DB", "--allow-none"]).run().exits(0);
        ran.records().iter().any(|r| r["label"] == "x" && r["taking"] == true)
    });
    child.kill().unwrap();
    let _ = child.wait();
    // what it ran on the server goes on, and nobody puts it into its place
    let again = call(&scene, &["take", "Master DB", "--label", "x"]).run().exits(0);
    assert_eq!(again.record()["snapshot"]["perfect"], true, "{again}");
    let list = call(&scene, &["list", "Master DB"]).run().exits(0).record();
    assert!(list["perfect"] == true && list["taking"].is_null(), "{list}");
}

#[test]
fn bad_input_is_refused_and_nothing_is_done() {
    let scene = launched("snapshot-bad");
    call(&scene, &["take", "Slave DB"]).run().exits(4);
    call(&scene, &["take", "Master DB", "--label", "a\nb"]).run().exits(2);
    call(&scene, &["list", "Master DB", "--require", "young"]).run().exits(2).says("age<2h");
    call(&scene, &["prune", "Master DB", "--keep", "0"]).run().exits(2);
    call(&scene, &["prove", "Master DB", "--label", "none"])
        .run()
        .exits(4)
        .says("rs-snapshot list");
    call(&scene, &["take"]).stdin("").run().exits(2).says("nothing came in");
    call(&scene, &["take"]).stdin("nope\n").run().exits(2).says("line 1");
    let _ = scene
        .tool("rs-inputs")
        .args(["set", "Master DB", "--current", "DBADMIN_PASSWORD=text:wrong"])
        .run();
    let _ = call(&scene, &["list", "--allow-none", "Master DB"]).run().exits(0);
}
