//! What keeps the page up: each condition of `rs-maintenance stop`, on balancers and databases of our own templates.

use std::io::{Read, Write};
use std::time::Duration;

use rs_contract::{Mode, Place};
use rs_tests::{Engines, Ran, Scene, root, until};
use serde_json::Value as Json;

use super::dbsync::{managed_on, sql};

const LIMIT: Duration = Duration::from_secs(60);
const PROGRAM: &str = "mariadb";
/// Every kind of statement that a migration may have, while all others may not write; but for GRANT: its account must not.
const KINDS: &str = "\
SET @a = 5;
CREATE TABLE kinds (id INT PRIMARY KEY, a INT);
INSERT INTO kinds VALUES (1, @a), (2, 2);
REPLACE INTO kinds VALUES (2, @a);
UPDATE kinds SET a = a + 1;
DELETE FROM kinds WHERE id = 1;
WITH x AS (SELECT 9 AS a) SELECT * FROM x;
SELECT COUNT(*) FROM kinds;
DO 1;
SHOW TABLES;
CREATE INDEX by_a ON kinds (a);
DROP INDEX by_a ON kinds;
CREATE VIEW seen AS SELECT a FROM kinds;
ALTER VIEW seen AS SELECT a, id FROM kinds;
DROP VIEW seen;
CREATE PROCEDURE said() SELECT 1;
ALTER PROCEDURE said COMMENT 'said';
DROP PROCEDURE said;
CREATE EVENT later_on ON SCHEDULE EVERY 1 DAY DISABLE DO SET @x = 1;
ALTER EVENT later_on COMMENT 'later';
DROP EVENT later_on;
CREATE TABLE emptied LIKE kinds;
INSERT INTO emptied SELECT * FROM kinds;
TRUNCATE TABLE emptied;
RENAME TABLE kinds TO kept;
ANALYZE TABLE kept;
CHECK TABLE kept;
OPTIMIZE TABLE kept;
";

/// A balancer with one application, a master, a slave that serves reads, and a warm one.
pub fn site(name: &str) -> (Scene, rs_tests::App) {
    site_on(Engines::Host, name)
}

fn site_on(engines: Engines, name: &str) -> (Scene, rs_tests::App) {
    let servers = [
        ("Master DB", "master", "true"),
        ("Slave DB", "slave", "false"),
        ("Slave2 DB", "slave", "false"),
    ];
    let scene = managed_on(engines, name, &servers);
    scene.credential("LB_BYPASS", "open-sesame-7");
    let app = scene.app("App 1");
    let template = root().join("scripts/templates/load-balancer.yml");
    let text = std::fs::read_to_string(scene.path("site.yaml")).unwrap();
    let text = text
        .replacen(
            "Inputs:\n",
            "Inputs:\n  LB_APPLISTENER_NAME: text:www\n  LB_HOSTNAME: text:www.mysite.com\n  \
             LB_BYPASS_SECRET: cred:LB_BYPASS\n  HEALTH_CHECK_URI: text:/health\n",
            1,
        )
        .replacen(
            "['database:slave_active=shop']",
            "['database:slave_active=shop', 'database:reads=true']",
            1,
        );
    let text = format!(
        "{text}  - Name: Load Balancer-1\n    Template: '{}'\n    Tags: ['load_balancer:active_www=true']\n  \
         - Name: App 1\n    Address: {}\n",
        template.display(),
        app.address
    );
    let file = scene.file("site.yaml", &text);
    let tool = |tool: &str, args: &[&str]| scene.tool(tool).args(args).run().exits(0);
    tool("rs-server", &["apply", &file]);
    tool("rs-server", &["launch", "--role", "db", "--role", "lb"]);
    tool("rs-lbctl", &["connect", "--pool", "www", "App 1"]);
    sql(
        &scene,
        "Master DB",
        "CREATE TABLE appdb.t (id INT PRIMARY KEY); INSERT INTO appdb.t VALUES (1),(2)",
    );
    tool("rs-dbsync", &["init", "Slave DB", "Slave2 DB"]);
    (scene, app)
}

/// A command for the balancer's own socket: what somebody does behind our back.
pub fn balancer(scene: &Scene, command: &str) -> String {
    let list = ["list", "Load Balancer-1", "--deployment", "production"];
    let server = scene.tool("rs-server").args(list).run().exits(0).record();
    balancer_at(server["current"]["home"].as_str().unwrap(), command)
}

/// The same, for the balancer with that home.
pub fn balancer_at(home: &str, command: &str) -> String {
    let mut socket =
        std::os::unix::net::UnixStream::connect(format!("{home}/run/haproxy.sock")).unwrap();
    writeln!(socket, "{command}").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

rs_tests::each_engine!(the_page_stays_up_while_one_condition_is_not_so_each_by_its_own_name);

fn the_page_stays_up_while_one_condition_is_not_so_each_by_its_own_name(engines: Engines) {
    let (scene, app) = site_on(engines, "reopen");
    if engines == Engines::Newer {
        super::preflight::backups_are_proven_and_there_is_room(&scene);
    }
    let run = |tool: &str, args: &[&str], code: i32| -> Ran {
        scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run().exits(code)
    };
    let stop = |more: &[&str], code: i32| {
        run("rs-maintenance", &[&["stop", "--wait", "1s", "--json"], more].concat(), code)
    };
    let declined = |condition: &str, words: &str| {
        let ran = stop(&[], 5);
        let what = super::dbsync::names(&ran);
        assert!(what.ends_with(&format!("stays up: {condition} not so")), "{what}\n{ran}");
        ran.says(words);
    };
    // before any migration nothing of it hinders: no check, no backup
    let only = "the pool is \"www\", the only one of \"production\"";
    let _ = run("rs-maintenance", &["start"], 0).says(only);
    let _ = stop(&[], 0).says(only);
    assert!(!run("rs-maintenance", &["stop", "--pool", "www"], 0).stderr.contains("the pool is"));

    run("rs-maintenance", &["start"], 0);
    run("rs-check", &["site", "--pool", "www", "--bypass"], 0);
    run("rs-dbsync", &["writes", "off", "Master DB"], 0);
    declined("writes-on", "writes are off");
    run("rs-dbsync", &["hold", "Slave2 DB"], 0);
    let file = scene.file(
        "up.sql",
        &format!(
            "ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 7;\nALTER TABLE later ADD COLUMN n INT;\n{KINDS}"
        ),
    );
    // it fails in the middle: neither release can live with what is there now
    run("rs-dbsync", &["migrate", "Master DB", "--sql", &file], 1);
    run("rs-dbsync", &["writes", "on", "Master DB"], 0);
    run("rs-check", &["site", "--pool", "www", "--bypass"], 0);
    declined(
        "schema-whole, backup-finished",
        "Slave2 DB: no backup of it was begun since it is held",
    );
    run("rs-snapshot", &["take", "Slave2 DB", "--label", "early"], 0);
    declined("schema-whole", "the schema of shop is half: the migration \"u-1\"");
    let status = run("rs-dbsync", &["status", "Master DB"], 0).record();
    assert_eq!(status["schema_state"], "half", "{status}");
    // the held slave is the only way back
    let ran = run("rs-dbsync", &["resume", "Slave2 DB", "--json"], 5);
    assert!(super::dbsync::names(&ran).contains("schema-whole"), "{ran}");
    let resume = ["resume", "Slave2 DB", "--dry-run", "--json", "--override", "schema-whole"];
    // half is not as it was either: each by its own name
    let ran = run("rs-dbsync", &resume, 5);
    assert!(super::dbsync::names(&ran).ends_with("gone: schema-unchanged"), "{ran}");
    run("rs-dbsync", &[&resume[..], &["--override", "schema-unchanged"]].concat(), 0);
    sql(&scene, "Master DB", "CREATE TABLE appdb.later (id INT PRIMARY KEY)");
    run("rs-dbsync", &["writes", "off", "Master DB"], 0);
    // what was put right by hand is on the master only: whoever goes on says so
    let again = ["migrate", "Master DB", "--json", "--sql", &file];
    let ran = run("rs-dbsync", &again, 5);
    assert!(super::dbsync::names(&ran).ends_with("master unmoved since the hold"), "{ran}");
    let by_hand = ["--override", "master unmoved since the hold"];
    run("rs-dbsync", &[&again[..], &by_hand].concat(), 0);
    let made = "SELECT a FROM appdb.kept; SELECT COUNT(*) FROM appdb.emptied; SELECT @@read_only";
    assert_eq!(sql(&scene, "Master DB", made), "6\n0\n1");
    if engines == Engines::Newer {
        assert_eq!(sql(&scene, "Master DB", "SELECT @@super_read_only"), "1", "raised again");
    }
    run("rs-dbsync", &["writes", "on", "Master DB"], 0);

    // the check is older than the migration
    declined("site-check", "and the schema changed at");
    app.healthy(false);
    run("rs-check", &["site", "--pool", "www", "--bypass", "--path", "/health"], 3);
    app.healthy(true);
    declined("site-check", "status 500");
    run("rs-check", &["site", "--pool", "www", "--bypass", "--mode", "process"], 0);
    declined("site-check", "status 500");
    run("rs-check", &["site", "--pool", "www", "--bypass"], 0);

    // a slave that serves reads: its applier waits for a lock
    let list = run("rs-server", &["list", "Slave DB"], 0).record();
    let home = list["current"]["home"].as_str().unwrap().to_owned();
    let mut lock = scene
        .call(&rs_tests::program(PROGRAM).display().to_string(), "lock")
        .args([&format!("--defaults-file={home}/etc/admin.cnf"), "-e"])
        .args(["LOCK TABLES appdb.t READ; DO SLEEP(600)"])
        .start();
    until("the lock", LIMIT, || {
        sql(
            &scene,
            "Slave DB",
            "SELECT COUNT(*) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'",
        ) == "1"
    });
    sql(&scene, "Master DB", "INSERT INTO appdb.t VALUES (3, 3)");
    declined("reads-caught-up", "transactions of what the master had 1s ago is not applied");
    lock.kill().unwrap();
    lock.wait().unwrap();
    sql(&scene, "Slave DB", "STOP REPLICA SQL_THREAD");
    declined("reads-caught-up", "SQL thread");
    sql(&scene, "Slave DB", "START REPLICA");
    run("rs-dbsync", &["status", "Slave DB", "--require", "replicating"], 0);

    let stranger = format!("{}.200:{}", scene.net, app.port);
    let added = balancer(
        &scene,
        &format!("add server www/stranger {stranger}; enable server www/stranger"),
    );
    assert!(added.contains("registered"), "{added}");
    declined("unknown-members", &stranger);
    balancer(&scene, "set server www/stranger state maint; del server www/stranger");

    // a newer backup of the rollback copy is cut off, then is there
    let take = ["take", "Slave2 DB", "--label", "pre-upgrade"];
    let state = rs_drivers::state(&Place {
        cloud: scene.cloud(),
        state: None,
        mode: Mode::Real,
        ..Place::default()
    })
    .unwrap();
    let mut taking = scene.tool("rs-snapshot").args(take).env("RS_UPGRADE", "u-1").start();
    until("the backup to be begun", LIMIT, || {
        let open = rs_cli::Journal::new(state.as_ref()).open_acts().unwrap();
        open.iter().any(|act| act.tool == "rs-snapshot")
    });
    taking.kill().unwrap();
    taking.wait().unwrap();
    declined("backup-finished", "was cut off");
    run("rs-snapshot", &take, 0);
    // it was whole already when its tool was cut off: whoever finds that says so, and runs none again
    let journal = rs_cli::Journal::new(state.as_ref());
    let acts = journal.acts().unwrap();
    let newest = acts.iter().rfind(|act| act.tool == "rs-snapshot").unwrap().clone();
    let cut = rs_model::act::Act { outcome: rs_model::act::Outcome::Open, ..newest };
    let put = vec![
        (format!("journal/{:012}", cut.seq), serde_json::to_value(&cut).unwrap()),
        (format!("journal-open/{:012}", cut.seq), cut.deployment.clone().into()),
    ];
    state.commit(&rs_contract::Txn { put, ..rs_contract::Txn::default() }).unwrap();
    declined("backup-finished", "was cut off");
    run("rs-snapshot", &take, 0);
    assert!(journal.acts().unwrap().iter().any(rs_model::act::Act::was_found_done));

    // all of it is so; an override of what is not so is kept
    app.healthy(false);
    declined("members-up", "50");
    let ran = stop(&["--override", "members-up", "--override", "site-check"], 0);
    app.healthy(true);
    let did = &ran.record()["did"][0];
    let kept = did["before"]["overridden"].as_array().unwrap();
    assert_eq!(kept.len(), 1, "what is so needs no override: {did}");
    assert_eq!(kept[0]["condition"], "members-up");
    let acts = run("rs-journal", &["show", "--last", "1", "--json"], 0).record();
    assert_eq!(acts["before"]["overridden"][0]["condition"], Json::from("members-up"));
    stop(&["--override", "no-such"], 2).says("no-such");
    run("rs-maintenance", &["start"], 0);
    stop(&[], 0);
}
