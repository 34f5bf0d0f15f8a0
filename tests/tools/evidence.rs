//! rs-cleanup ends a database server on evidence only: on real servers, each reason by its own words.

use std::time::Duration;

use rs_tests::{Ran, Scene, until};
use serde_json::Value as Json;

use super::dbsync::{managed, sql};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_database_server_ends_on_evidence_only() {
    let scene: Scene = managed(
        "evidence",
        &[
            ("Master DB", "master", "true"),
            ("Slave DB", "slave", "false"),
            ("Slave2 DB", "slave", "false"),
        ],
    );
    let run = |tool: &str, args: &[&str], code: i32| -> Ran {
        scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run().exits(code)
    };
    run("rs-server", &["launch", "--all"], 0);
    sql(&scene, "Master DB", "CREATE TABLE appdb.t (id INT PRIMARY KEY)");
    run("rs-dbsync", &["init", "Slave DB", "Slave2 DB"], 0);
    let plan = |args: &[&str]| run("rs-cleanup", &[&["plan"], args].concat(), 0);
    let forbidden = |args: &[&str]| -> Vec<String> {
        let record = plan(args).record();
        let list = record["entries"][0]["forbidden"].as_array().unwrap().clone();
        list.iter().filter_map(|why| why.as_str().map(str::to_owned)).collect()
    };
    let only = |args: &[&str], part: &str| {
        let found = forbidden(args);
        assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
    };
    // init took one of the master: without it the lineage has none
    let backups = scene.path("backups");
    let taken = std::fs::read_dir(backups.join("shop")).unwrap().flatten();
    let taken = taken.filter(|entry| entry.file_name().to_string_lossy().starts_with("20"));
    assert_eq!(taken.count(), 1, "two slaves of one call share it");
    let away = scene.path("away");
    std::fs::rename(&backups, &away).unwrap();
    std::fs::create_dir_all(&backups).unwrap();
    only(&["Slave2 DB"], "shop has no complete backup");
    assert_eq!(forbidden(&["Slave2 DB", "--accept", "backup"]), [""; 0]);
    run("rs-cleanup", &["plan", "Slave2 DB", "--accept", "master"], 2).says("good-slave");
    std::fs::remove_dir(&backups).unwrap();
    std::fs::rename(&away, &backups).unwrap();
    assert_eq!(forbidden(&["Slave2 DB"]), [""; 0]);

    // an application of another machine is connected
    let address = run("rs-server", &["list", "Slave2 DB"], 0).record()["address"].clone();
    let mut session = scene
        .call(&rs_tests::program("mariadb").display().to_string(), "session")
        .args(["--no-defaults", "-h", address.as_str().unwrap(), "-uapplication"])
        .args(["-papplication-'secret\\", "-e", "DO SLEEP(600)"])
        .start();
    let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'";
    until("the session", LIMIT, || sql(&scene, "Slave2 DB", count) == "1");
    only(&["Slave2 DB"], "of application@127");
    let file = scene.file("plan.json", &plan(&["Slave2 DB"]).stdout);
    run("rs-cleanup", &["retire", "--plan", &file], 5).says("application@127");
    session.kill().unwrap();
    session.wait().unwrap();
    until("the session to be gone", LIMIT, || sql(&scene, "Slave2 DB", count) == "0");

    // the other slave is there, and no good one
    sql(&scene, "Slave DB", "STOP SLAVE SQL_THREAD");
    only(&["Slave2 DB"], "Slave DB: ");
    sql(&scene, "Slave DB", "START SLAVE");
    run("rs-dbsync", &["status", "Slave DB", "--require", "replicating"], 0);

    // the way back has its time
    run("rs-dbsync", &["writes", "off", "Master DB"], 0);
    run("rs-dbsync", &["hold", "Slave2 DB", "--deadline", "2h"], 0);
    run("rs-server", &["unlock", "Slave2 DB"], 0);
    only(&["Slave2 DB"], "it is the way back until");

    // the master by its tags; and what replicates from a server that the tags call a slave
    let found = forbidden(&["Master DB"]);
    assert!(found.iter().any(|why| why.contains("a master of the database set")), "{found:?}");
    sql(
        &scene,
        "Slave DB",
        &format!(
            "STOP SLAVE; CHANGE MASTER TO MASTER_HOST='{}'; START SLAVE",
            address.as_str().unwrap()
        ),
    );
    until("the tags to be wrong", LIMIT, || {
        forbidden(&["Slave2 DB"]).iter().any(|why| why.contains("Slave DB replicate from it"))
    });
    // a database that does not answer says nothing of who uses it
    run("rs-run", &["database stop", "Slave DB"], 0);
    let found: Vec<String> = forbidden(&["Slave DB"]);
    assert!(found.iter().any(|why| why.contains("could not be asked who uses it")), "{found:?}");
    let record: Json = plan(&["Slave DB", "--accept", "unanswered"]).record();
    assert_eq!(record["accepted"], serde_json::json!(["unanswered"]));
}
