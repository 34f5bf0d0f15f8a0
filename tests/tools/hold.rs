//! A held slave, on servers with option files and boot scripts of their own, while the master writes.

use std::time::Duration;

use rs_tests::{Engines, each_engine, until};

use super::dbsync::{Set, did, managed_on, names, sql};

const LIMIT: Duration = Duration::from_secs(60);

each_engine!(a_held_slave_stays_held_over_kill_start_boot_and_relaunch_while_the_master_writes);

fn a_held_slave_stays_held_over_kill_start_boot_and_relaunch_while_the_master_writes(
    engines: Engines,
) {
    let servers = [("Master DB", "master", "true"), ("Slave DB", "slave", "false")];
    let scene = managed_on(engines, "hold-managed", &servers);
    let tool = |tool: &str, args: &[&str], code: i32| {
        scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run().exits(code)
    };
    let dbsync = |args: &[&str], code: i32| tool("rs-dbsync", args, code);
    let (master, slave) =
        (|text: &str| sql(&scene, "Master DB", text), |text: &str| sql(&scene, "Slave DB", text));
    // MySQL makes its data in its own time
    let launch = scene.tool("rs-server").args(["launch", "--all"]).limit(Duration::from_secs(300));
    let _ = launch.run().exits(0);
    master(
        "CREATE TABLE appdb.t (id INT AUTO_INCREMENT PRIMARY KEY); INSERT INTO appdb.t VALUES (1);\n\
         DELIMITER //\nCREATE PROCEDURE appdb.go() BEGIN WHILE TRUE DO \
         INSERT INTO appdb.t VALUES (NULL); DO SLEEP(0.02); END WHILE; END//",
    );
    dbsync(&["init", "Slave DB"], 0);

    // backups of the held side would become the newest of the lineage
    tool("rs-snapshot", &["schedule", "on", "Slave DB"], 0);
    dbsync(&["writes", "off", "Master DB"], 0);
    let ran = dbsync(&["hold", "Slave DB", "--json"], 5);
    assert!(names(&ran).contains("backups off"), "{ran}");
    tool("rs-snapshot", &["schedule", "off", "Slave DB"], 0);
    let ran = dbsync(&["hold", "Slave DB", "--checksum", "all"], 0);
    let record = ran.record();
    assert_eq!(did(&ran)["changed"], true);
    assert_eq!(record["locked"], true);
    assert!(record["tags"].to_string().contains("database:held=shop"), "{record}");
    let point = &record["rollback_point"];
    for field in ["position", "schema_fingerprint", "at"] {
        assert!(!point[field].is_null() && point[field] != "", "{field} in {point}");
    }
    let debts = tool("rs-cleanup", &["audit", "--json"], 3).stdout;
    for kept in [point["schema_fingerprint"].as_str(), point["at"].as_str()] {
        assert!(debts.contains(kept.unwrap()), "the debt keeps {kept:?}");
    }

    // the master writes all the while
    dbsync(&["writes", "on", "Master DB"], 0);
    let home = tool("rs-server", &["list", "Master DB"], 0).record();
    let home = home["current"]["home"].as_str().unwrap().to_owned();
    let mut writer = scene
        .call(&rs_tests::program("mariadb").display().to_string(), "writer")
        .args([&format!("--defaults-file={home}/etc/admin.cnf"), "-e"])
        .args(["CALL appdb.go()"])
        .start();
    let rows =
        |ask: &dyn Fn(&str) -> String| ask("SELECT COUNT(*) FROM appdb.t").parse::<u64>().unwrap();
    let more = |what: &str| {
        let now = rows(&master);
        until(what, LIMIT, || rows(&master) > now + 3);
        assert_eq!(rows(&slave), 1, "{what}: a row of the master arrived");
        dbsync(&["status", "Slave DB", "--require", "held"], 0);
    };
    more("the master's rows");
    slave("START REPLICA");
    until("the stray start to try", LIMIT, || {
        slave("SHOW REPLICA STATUS").contains("held.invalid'")
    });
    more("a stray START SLAVE");

    let file = slave("SELECT @@pid_file");
    let pid = || std::fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
    let killed = pid();
    scene.call("kill", "kill").args(["-9", &killed]).run().exits(0);
    until("the killed one's end", LIMIT, || !std::path::Path::new("/proc").join(&killed).exists());
    tool("rs-run", &["database start", "Slave DB"], 0);
    assert_ne!(pid(), killed);
    more("kill -9 and a start with its own file");
    assert!(slave("SHOW REPLICA STATUS").contains("\tNo\tNo\t"), "its file keeps it stopped");
    // what a boot script that makes slaves ends with
    tool("rs-run", &["database restart", "Slave DB"], 0);
    slave("START REPLICA");
    dbsync(&["init", "Slave DB"], 5).says("held");
    more("a boot script that makes slaves");
    tool("rs-server", &["relaunch", "Slave DB"], 5).says("lock");
    more("a relaunch");

    // on from the exact position: nothing is missing, nothing came twice
    let ran = dbsync(&["resume", "Slave DB"], 0);
    let record = ran.record();
    assert_eq!(record["locked"], false);
    assert!(!record["tags"].to_string().contains("database:held"), "{record}");
    writer.kill().unwrap();
    writer.wait().unwrap();
    let list = "SELECT ID FROM information_schema.processlist \
                WHERE USER = 'dba' AND COMMAND = 'Query' AND ID <> CONNECTION_ID()";
    for id in master(list).lines() {
        master(&format!("KILL {id}"));
    }
    until("the writer's end", LIMIT, || master(list).is_empty());
    dbsync(&["writes", "off", "Master DB"], 0);
    dbsync(&["status", "Slave DB", "--proof", "--checksum", "all"], 0);
    assert_eq!(rows(&slave), rows(&master));

    // thawed by hand: every gate says so, and the way back is none
    dbsync(&["hold", "Slave DB"], 0);
    let address = tool("rs-server", &["list", "Master DB"], 0).record()["address"].clone();
    let host = match engines {
        Engines::Host => "CHANGE MASTER TO MASTER_HOST",
        Engines::Newer => "CHANGE REPLICATION SOURCE TO SOURCE_HOST",
    };
    slave(&format!("STOP REPLICA; {host}={address}; START REPLICA"));
    let up = scene.file("up.sql", "ALTER TABLE t ADD COLUMN n INT;");
    let ran = dbsync(&["status", "Slave DB", "--require", "held", "--json"], 3);
    assert!(names(&ran).contains("held of"), "{ran}");
    let ran = dbsync(&["migrate", "Master DB", "--sql", &up, "--json"], 5);
    assert!(names(&ran).contains("held"), "{ran}");
    let ran = dbsync(&["promote", "Slave DB", "--lose-writes", "--json"], 5);
    assert!(names(&ran).contains("hold unbroken"), "{ran}");
}

/// No journal and no note knows of it: the master's schema does, and a master that does not answer says nothing.
pub fn a_master_that_was_migrated_by_hand_keeps_it_held(set: &Set) {
    let answer = |ran: &rs_tests::Ran| {
        assert!(names(ran).contains("would be gone: "), "{ran}");
        let error: serde_json::Value =
            serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        let one = error["found"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["name"] == "schema-unchanged");
        let one = one.unwrap_or_else(|| panic!("schema-unchanged is not named: {ran}"));
        assert_eq!(one["subject"], "Slave2 DB", "{ran}");
        one["answer"].clone()
    };
    set.master.force("ALTER TABLE appdb.t ADD COLUMN by_hand INT");
    let declined = set.dbsync(&["resume", "Slave2 DB", "--json"], 5);
    assert!(names(&declined).ends_with("would be gone: schema-unchanged"), "{declined}");
    assert_eq!(answer(&declined), "no", "{declined}");
    let declined = declined.says("the schema \"appdb\" of its master \"Master DB\"");
    let _ = declined.says("scripts/rollback.sh").says("--override schema-unchanged");
    set.dbsync(&["status", "Slave2 DB", "--require", "held"], 0);
    assert_eq!(
        set.warm.sql("SELECT COUNT(*) FROM information_schema.columns WHERE column_name='by_hand'"),
        "0"
    );
    set.dbsync(&["resume", "Slave2 DB", "--dry-run", "--override", "schema-unchanged"], 0);
    set.master.force("ALTER TABLE appdb.t DROP COLUMN by_hand");

    let pid = std::fs::read_to_string(set.master.dir.join("db.pid")).unwrap();
    set.scene.kill(pid.trim().parse().unwrap());
    let declined = set.dbsync(&["resume", "Slave2 DB", "--json"], 5);
    assert_eq!(answer(&declined), "unknown", "{declined}");
    rollback_goes_the_way_that_is_left(set);
    set.scene.start_database(&set.master);
    set.dbsync(&["status", "Slave2 DB", "--require", "held"], 0);
    set.dbsync(&["writes", "off", "Master DB"], 0);
}

/// The master is dead, and what it had is not known: the copy is the way back all the same, and a person says at what price.
fn rollback_goes_the_way_that_is_left(set: &Set) {
    let mark = |part: &str| {
        let args = ["mark", part, "Slave2 DB", "--upgrade", "u-1"];
        set.scene.tool("rs-server").args(args).run().exits(0);
    };
    mark("warm");
    let conf = set.scene.file(
        "upgrade.conf",
        "DEPLOYMENT=production\nUPGRADE=u-1\nPOOL=www\nTEST_POOL=test1\nTEST_HOST=test1.mysite.com\n\
         TEST_LB_LIKE=Load Balancer-1\nTEST_LB=Load Balancer-3\nAPP_LIKE=App Server-1\nAPP_NAME=App Server-%n\n\
         WARM=Slave DB => Slave2 DB\nRELEASE=APPLICATION=text:2.0\nMIGRATION_SQL=up.sql\n",
    );
    let back = |args: &[&str]| {
        set.scene.script("scripts/rollback.sh").args(["--conf", &conf]).args(args).run()
    };
    let ran = back(&[]).exits(5).says("a decision is wanted").says("it counts as migrated");
    let ran = ran
        .says("the warm slave becomes the master")
        .says("now: unknown: database of \"Master DB\" at tcp:");
    assert!(!ran.stderr.contains("no way back"), "{ran}");
    // whoever decided is told what stands in the way before the page is up, and nothing is begun
    let acts = || set.scene.tool("rs-journal").args(["show"]).run().exits(0).records().len();
    let before = acts();
    let ran =
        back(&["--yes"]).exits(5).says("not begun, for a balancer whose page cannot be asked;");
    let ran = ran.says("the promotion of the warm slave; nothing was changed");
    let ran = ran.says("abandoned data kept, other slaves declared").says("end its machine first");
    assert!(!ran.stderr.contains("page on") && !ran.stderr.contains("master fenced,"), "{ran}");
    assert_eq!(acts(), before, "{ran}");
    // asked further, it is the master's own answer that is missing, and it is said what to do about it
    let ran = back(&["--dry-run"]);
    assert_eq!(ran.exit, 7, "{ran}");
    assert!(!ran.stdout.contains("no way back"), "{ran}");
    for word in
        ["writes off on the migrated masters", "end its machine, so that it does not come back"]
    {
        assert!(ran.stdout.contains(word), "{word}\n{ran}");
    }
    mark("none");
}

/// A held slave and the master, whose machines somebody ended: neither comes up with nothing under its old name.
pub fn none_comes_up_empty_where_data_was(
    scene: &rs_tests::Scene,
    dbsync: &dyn Fn(&[&str], i32) -> rs_tests::Ran,
) {
    dbsync(&["hold", "Master DB"], 0);
    scene.tool("rs-server").args(["unlock", "Master DB"]).run().exits(0);
    let place = rs_contract::Place { cloud: scene.cloud(), ..rs_contract::Place::default() };
    let world = rs_drivers::world(&place).unwrap();
    let work = rs_contract::Work { timeout: std::time::Duration::from_secs(60) };
    let server = |args: &[&str]| scene.tool("rs-server").args(args).run();
    for (name, place) in [("Master DB", "place of a way back"), ("Slave DB", "the master")] {
        world.cloud.terminate("production", name, work, &|_| {}).unwrap();
        for verb in ["launch", "relaunch"] {
            server(&[verb, name]).exits(5).says(place).says("--accept empty");
            server(&[verb, name, "--dry-run", "--accept", "empty"]).exits(0);
        }
    }
}
