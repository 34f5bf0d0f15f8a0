//! rs-dbsync as a black box, on real MariaDB servers that are named by address.

use rs_tests::{Db, Engines, Scene};
use serde_json::Value as Json;

/// A master, a slave that serves, and a warm slave.
pub struct Set {
    pub scene: Scene,
    pub master: Db,
    pub slave: Db,
    pub warm: Db,
}

/// Of these engines.
pub fn set_on(engines: Engines, name: &str) -> Set {
    set_with(Scene::on(engines, name), "")
}

/// With more inputs of the deployment, as lines of the site file.
pub fn set_with(scene: Scene, inputs: &str) -> Set {
    let master = scene.database("m");
    master.sql(&format!(
        "CREATE DATABASE appdb; USE appdb; CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(200)) ENGINE=InnoDB; \
         INSERT INTO t SELECT seq, REPEAT('x', 100) FROM {}; \
         CREATE DATABASE beats; CREATE TABLE beats.beat (at BIGINT) ENGINE=InnoDB",
        master.numbers(1, 500)
    ));
    let slave = scene.replica_of(&master, "s");
    let warm = scene.replica_of(&master, "w");
    let site = format!(
        "Deployment: production\nInputs:\n  DB_SCHEMA_NAME: text:appdb\n  DBADMIN_USER: text:admin\n  \
         DBADMIN_PASSWORD: cred:admin\n  DBREPLICATION_USER: text:repl\n  DBREPLICATION_PASSWORD: cred:repl\n  \
         DBMIGRATION_USER: text:migrator\n  DBMIGRATION_PASSWORD: cred:migrator\n  \
         DB_HEARTBEAT_TABLES: text:beats.beat\n{inputs}Servers:\n\
         \x20 - Name: Master DB\n    Address: {}\n    Tags: ['database:master_active=shop']\n\
         \x20 - Name: Slave DB\n    Address: {}\n    Tags: ['database:slave_active=shop', 'database:reads=true']\n\
         \x20 - Name: Slave2 DB\n    Address: {}\n    Tags: ['database:slave_active=shop']\n",
        master.address, slave.address, warm.address
    );
    let file = scene.file("site.yaml", &site);
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    Set { scene, master, slave, warm }
}

impl Set {
    pub fn dbsync(&self, args: &[&str], code: i32) -> rs_tests::Ran {
        self.scene.tool("rs-dbsync").args(args).env("RS_UPGRADE", "u-1").run().exits(code)
    }

    /// Keys of the open debts, in order. MySQL throws binary logs away by itself, and has events on: those debts are
    /// of its own.
    pub fn debts_of_ours(&self) -> Vec<String> {
        let mut debts = self.debts();
        debts.retain(|key| {
            self.master.engine == Engines::Host
                || !["binlogs:", "events:"].iter().any(|own| key.starts_with(own))
        });
        debts.sort();
        debts
    }

    pub fn debts(&self) -> Vec<String> {
        let ran = self.scene.tool("rs-cleanup").args(["audit", "--json"]).run();
        let keys = ran.stdout.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        keys.filter_map(|debt| debt["key"].as_str().map(str::to_owned)).collect()
    }
}

pub fn did(ran: &rs_tests::Ran) -> Json {
    let record: Json = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    record["did"].as_array().unwrap().last().unwrap().clone()
}

pub fn names(ran: &rs_tests::Ran) -> String {
    let last = ran.stderr.lines().last().unwrap();
    let error: Json = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}\n{ran}"));
    error["what"].as_str().unwrap().to_owned()
}

/// What servers that are only named by address cannot have: backups through their own machines.
pub const NO_BACKUPS: [&str; 4] =
    ["--override", "rollback pair", "--override", "abandoned data kept"];

rs_tests::each_engine!(
    from_status_over_proof_hold_and_migration_to_promotion,
    a_script_migrates_once_and_one_that_failed_is_not_run_again_unasked,
    a_master_that_does_not_answer_is_no_dead_master_and_a_dead_one_may_be_left,
    a_held_slave_resumes_and_bad_input_is_refused,
    on_managed_servers_init_hold_and_writes_outlive_a_restart_and_the_old_master_is_rebuilt,
);

fn from_status_over_proof_hold_and_migration_to_promotion(engines: Engines) {
    let set = set_on(engines, "dbsync-way");
    let (master, warm) = (&set.master, &set.warm);
    let ran = set.dbsync(&["status", "--role", "db"], 0);
    assert_eq!(ran.stdout.lines().count(), 3, "{ran}");
    let record: Json = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(record["schema"], "rs.replica/1");
    assert_eq!((&record["role"], &record["behind_transactions"]), (&"slave".into(), &0.into()));
    set.dbsync(&["status", "--role", "slave", "--require", "replicating"], 0);
    // a master is nobody's slave: nothing is asked of it, which alone is no yes
    let all = ["status", "--role", "db", "--require", "replicating"];
    set.dbsync(&all, 0).says("nothing was asked of \"Master DB\"");
    let ran = set.dbsync(&["status", "--role", "master", "--require", "replicating"], 3);
    assert!(ran.says("\"Master DB\"").says("--role slave").stdout.is_empty());

    // nothing is proven while somebody could write, and nothing is printed by a gate that says no
    let ran = set.dbsync(&["status", "Slave2 DB", "--proof", "--json"], 3);
    assert!(ran.stdout.is_empty() && names(&ran).contains("master frozen"), "{ran}");
    let ran = set.dbsync(&["hold", "Slave2 DB", "--json"], 5);
    assert!(names(&ran).contains("master frozen"), "{ran}");
    set.dbsync(&["migrate", "Master DB", "--sql", "/dev/null"], 2);

    set.dbsync(&["writes", "off", "--role", "master", "--dry-run"], 0);
    assert_eq!(master.sql("SELECT @@read_only"), "0");
    let ran = set.dbsync(&["writes", "off", "--role", "master"], 0);
    assert_eq!((&did(&ran)["changed"], &did(&ran)["after"]["off"]), (&true.into(), &true.into()));
    assert_eq!(did(&set.dbsync(&["writes", "off", "--role", "master"], 0))["changed"], false);
    let ran = set.dbsync(&["writes", "status", "--role", "master"], 0);
    assert!(ran.stdout.contains("\"silent\":true"), "{ran}");

    let sql = set.scene.file(
        "up.sql",
        "ALTER TABLE t RENAME COLUMN note TO remark;\nUPDATE t SET remark='a;b' WHERE id=1;\n",
    );
    let ran = set.dbsync(&["migrate", "--role", "master", "--sql", &sql, "--json"], 5);
    assert!(names(&ran).contains("rollback copy"), "{ran}");

    set.dbsync(&["status", "--role", "slave", "--proof"], 0);
    let ran = set.dbsync(&["hold", "Slave2 DB"], 0);
    assert_eq!(did(&ran)["changed"], true);
    assert_eq!(did(&set.dbsync(&["hold", "Slave2 DB"], 0))["changed"], false);
    set.dbsync(&["status", "Slave2 DB", "--require", "held"], 0);
    set.dbsync(&["status", "Slave DB", "--proof"], 0);
    // MySQL throws binary logs away by itself, and has events on
    let mut debts = set.debts();
    debts.sort();
    let owed =
        ["binlogs:Master DB", "events:shop", "held:Slave2 DB", "lock:Slave2 DB", "writes:shop"];
    let by_itself = |key: &&&str| key.starts_with("binlogs") || key.starts_with("events");
    let owed: Vec<&str> = owed
        .iter()
        .filter(|key| master.or("no", "yes") == "yes" || !by_itself(key))
        .copied()
        .collect();
    assert_eq!(debts, owed, "debts");

    // a hold that somebody thawed is noticed at the next gate
    warm.sql("SET GLOBAL read_only=0");
    let ran = set.dbsync(&["migrate", "--role", "master", "--sql", &sql, "--json"], 5);
    assert!(names(&ran).contains("held read-only"), "{ran}");
    warm.sql(warm.or("SET GLOBAL read_only=1", "SET GLOBAL super_read_only=1"));

    // nobody sees the disks of servers that are only named by address
    let room = ["--override", "space for the migration"];
    let args = ["migrate", "--role", "master", "--sql", &sql];
    let ran = set.dbsync(&[&args[..], &room].concat(), 0);
    assert_eq!(did(&ran)["after"]["done"], 2);
    assert_eq!(
        did(&set.dbsync(&["migrate", "--role", "master", "--sql", &sql], 0))["changed"],
        false
    );
    assert_eq!(master.sql("SELECT remark FROM appdb.t WHERE id=1"), "a;b");
    let price = |words: &str| {
        let ran = set.dbsync(&["price", "Slave2 DB"], 0);
        assert!(ran.stdout.contains(words), "{ran}");
    };
    price("nothing but the migration");

    // users write, and the price is said
    set.dbsync(&["writes", "on", "--role", "master"], 0);
    assert_eq!(master.sql("SELECT @@read_only"), "0");
    let beat = || master.sql("INSERT INTO beats.beat VALUES (1)");
    master.sql("INSERT INTO appdb.t VALUES (600, 'a test behind the page')");
    beat();
    price("1 transaction of users since");
    set.dbsync(&["writes", "opened", "--role", "master", "--dry-run"], 0);
    price("1 transaction of users since");
    assert_eq!(did(&set.dbsync(&["writes", "opened", "--role", "master"], 0))["changed"], true);
    price("nothing but the migration would be lost (our tests: 1)");
    for id in 601..=603 {
        master.sql(&format!("INSERT INTO appdb.t VALUES ({id}, 'user')"));
        beat();
        master.sql("FLUSH BINARY LOGS");
    }
    // where it was opened is known once and for all
    assert_eq!(did(&set.dbsync(&["writes", "opened", "--role", "master"], 0))["changed"], false);
    price("3 transactions of users since");
    let record = set.dbsync(&["price", "Slave2 DB", "--json"], 0).record();
    let counted = ["transactions", "heartbeats", "tests"].map(|field| record[field].as_u64());
    assert_eq!(counted, [Some(3), Some(3), Some(1)], "{record}");
    assert_eq!((&record["since_what"], &record["at_most"]), (&"opened".into(), &Json::Null));
    // a later migration that mends the first one does not make them its own
    let mend = set.scene.file("mend.sql", "CREATE TABLE mended (id INT PRIMARY KEY);\n");
    set.dbsync(&["writes", "off", "--role", "master"], 0);
    let args = ["migrate", "--role", "master", "--sql", &mend, "--token", "mend"];
    set.dbsync(&[&args[..], &["--no-rollback-copy"], &room].concat(), 0);
    set.dbsync(&["writes", "on", "--role", "master"], 0);
    price("would be lost (heartbeats: 3, our tests: 1): another migration is among them");
    let record = set.dbsync(&["price", "Slave2 DB", "--json"], 0).record();
    let counted = [&record["transactions"], &record["at_most"], &record["since_what"]];
    assert_eq!(counted, [&Json::from(4), &true.into(), &"opened".into()], "{record}");
    // what the log no longer tells counts as the users', and is said
    let logs = master.sql("SHOW BINARY LOGS");
    let last = logs.lines().last().and_then(|line| line.split_whitespace().next()).unwrap();
    master.sql(&format!("PURGE BINARY LOGS TO '{last}'"));
    let record = set.dbsync(&["price", "Slave2 DB", "--json"], 0).record();
    let most = record["transactions"].as_u64().unwrap();
    assert!(most >= 7 && record["at_most"] == true, "{record}");
    price(&format!("at most {most} transactions of users since"));
    let ran = set.dbsync(&["promote", "Slave2 DB", "--json"], 5);
    assert!(
        names(&ran).contains("master fenced") && names(&ran).contains("price accepted"),
        "{ran}"
    );
    set.dbsync(&["writes", "off", "--role", "master"], 0);
    let ran = set
        .dbsync(&["promote", "Slave2 DB", "--accept-loss", &(most - 1).to_string(), "--json"], 5);
    assert!(names(&ran).contains("price accepted"), "{ran}");
    assert!(!names(&ran).contains("fenced"), "{ran}");
    let ran = set.dbsync(&["promote", "Slave DB", "--lose-writes", "--json"], 5);
    assert!(names(&ran).contains("is not held"), "{ran}");
    set.dbsync(&["promote", "Slave2 DB", "--override", "no such"], 2);

    let all = most.to_string();
    let promote: Vec<&str> =
        ["promote", "Slave2 DB", "--accept-loss", &all].into_iter().chain(NO_BACKUPS).collect();
    let ran = set.dbsync(&promote, 0);
    assert_eq!(did(&ran)["after"]["role"], "master");
    assert_eq!(did(&set.dbsync(&["promote", "Slave2 DB"], 0))["changed"], false);
    assert_eq!(warm.sql("SELECT @@read_only; SHOW REPLICA STATUS"), "0");
    assert_eq!(warm.sql("SELECT note FROM appdb.t WHERE id=2").len(), 100, "the old schema");
    assert_eq!(master.sql("SELECT @@read_only"), "1", "the old master is fenced");
    let list = set.scene.tool("rs-server").args(["list", "--role", "master"]).run().exits(0);
    assert!(list.stdout.contains("Slave2 DB") && list.stdout.lines().count() == 1, "{list}");
    let ran = set
        .dbsync(&["status", "Slave DB", "--require", "replicating", "--wait", "1s", "--json"], 3);
    assert!(names(&ran).contains("source is the master"), "{ran}");
    super::taken_back::taken_back(&set);
}

fn a_script_migrates_once_and_one_that_failed_is_not_run_again_unasked(engines: Engines) {
    let scene = Scene::on(engines, "dbsync-script");
    std::fs::create_dir_all(scene.path("servers")).unwrap();
    let user = if rustix::process::geteuid().is_root() { "\n    User: nobody" } else { "" };
    let machines = format!(
        "Machines:\n  Local:\n    Root: '{}'\n    Addresses: {}.0/24\n    Path: '{}'{user}\n",
        scene.text("servers"),
        scene.net,
        scene.search_path()
    );
    let set = set_with(scene, &machines);
    let scene = &set.scene;
    let (ready, gate) = (scene.text("ready"), scene.text("gate"));
    scene.file(
        "migrate.sh",
        &format!(
            "#!/bin/bash\n# ---\n# RightScript Name: migrate\n# Inputs: {{}}\n# ...\necho run >>\"$HOME/runs\"\n\
             [ ! -p '{gate}' ] || cat '{gate}'\n[ -e '{ready}' ] || {{ echo 'not ready'; exit 3; }}\n"
        ),
    );
    scene.file(
        "app.yml",
        "Name: App\nDescription: One script.\nInputs: {}\nRightScripts:\n  Operational:\n    - migrate.sh\n",
    );
    let site = std::fs::read_to_string(scene.path("site.yaml")).unwrap();
    let site = format!("{site}  - Name: App 1\n    Template: '{}'\n", scene.text("app.yml"));
    let file = scene.file("more.yaml", &site);
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    scene.tool("rs-server").args(["launch", "App 1"]).run().exits(0);
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);

    let migrate =
        ["migrate", "App 1", "--script", "migrate", "--override", "space for the migration"];
    set.dbsync(&migrate, 1).says("not ready");
    set.dbsync(&migrate, 5).says("has failed").says("--again");
    // nor where users wrote since it failed
    set.dbsync(&["writes", "on", "Master DB"], 0);
    set.master.sql("INSERT INTO appdb.t VALUES (899, 'user')");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    let ran = set.dbsync(&[&migrate[..], &["--again", "--json"]].concat(), 5);
    assert!(names(&ran).ends_with(": master unmoved since the hold"), "{ran}");
    let follow = ["resume", "Slave2 DB", "--override", "schema-whole"];
    set.dbsync(&follow, 5).says("schema-unchanged");
    set.dbsync(&[&follow[..], &["--override", "schema-unchanged"]].concat(), 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    let schema = || {
        let ran = set.dbsync(&["status", "Master DB"], 0);
        ran.record()["schema_state"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(schema(), "half");
    std::fs::write(&ready, "").unwrap();
    let app = scene.tool("rs-server").args(["list", "App 1"]).run().exits(0).record();
    let runs = format!("{}/runs", app["current"]["home"].as_str().unwrap());
    let runs = || std::fs::read_to_string(&runs).unwrap().lines().count();

    // while it runs nobody runs it beside; cut off it is as one that failed
    scene.call("mkfifo", "mkfifo").args(["-m", "666", &gate]).run().exits(0);
    let again: Vec<&str> = migrate.iter().copied().chain(["--again"]).collect();
    let mut child = scene.tool("rs-dbsync").args(&again).env("RS_UPGRADE", "u-1").start();
    rs_tests::until("the script", std::time::Duration::from_secs(30), || runs() == 2);
    set.dbsync(&again, 5).says("is running");
    child.kill().unwrap();
    child.wait().unwrap();
    set.dbsync(&migrate, 5).says("was cut off");
    assert_eq!(schema(), "half");
    // nobody can tell what it wrote from what users write: counted, and said
    let price = |words: &str| {
        let ran = set.dbsync(&["price", "Slave2 DB"], 0);
        assert!(ran.stdout.contains(words), "{ran}");
    };
    price("nothing would be lost");
    set.master.sql("INSERT INTO appdb.t VALUES (900, 'of the migration')");
    price("at most 1 transaction of users since");
    price("a migration that did not end is among them");
    // what was left behind ends by itself
    std::fs::write(&gate, "").unwrap();
    std::fs::remove_file(&gate).unwrap();
    let ran = set.dbsync(&again, 0);
    assert_eq!((&did(&ran)["changed"], &did(&ran)["after"]["done"]), (&true.into(), &1.into()));
    assert_eq!(did(&set.dbsync(&migrate, 0))["changed"], false);
    assert_eq!((runs(), schema().as_str()), (3, "new"));
    let other = ["migrate", "Slave DB", "Master DB", "--script", "migrate", "--token", "x"];
    set.dbsync(&other, 2).says("--first");
}

fn a_master_that_does_not_answer_is_no_dead_master_and_a_dead_one_may_be_left(engines: Engines) {
    let set = set_on(engines, "dbsync-dead");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    let pid = std::fs::read_to_string(set.master.dir.join("db.pid")).unwrap();
    set.scene.call("kill", "kill").args(["-STOP", pid.trim()]).run().exits(0);
    // what is asked ends within its time, with the words of who does not answer
    let short = ["--timeout", "6s"];
    let ran = set.dbsync(&[&["status", "Slave DB", "--proof", "--json"], &short[..]].concat(), 3);
    assert!(names(&ran).contains("master's position read of \"Slave DB\""), "{ran}");
    let ran = ran.says("was not read: \"Master DB\" did not answer before");
    assert!(!ran.stderr.contains("gave up"), "{ran}");
    let ran = set.dbsync(&[&["status", "--role", "db"], &short[..]].concat(), 8);
    let ran = ran.says("1 of 3 databases").says("Master DB: ").says("answer").says("(try: is it ");
    assert!(ran.by_name()["Slave DB"]["applied"]["gtid"].is_string(), "{ran}");
    for verb in
        [&["writes", "status", "Master DB"][..], &["writes", "off", "Master DB", "--dry-run"]]
    {
        let ran = set.dbsync(&[verb, &["--timeout", "4s"]].concat(), 6);
        let ran = ran.says("database of \"Master DB\" at").says("did not answer in time");
        assert!(!ran.stderr.contains("gave up"), "{ran}");
    }
    let ran =
        set.dbsync(&["promote", "Slave2 DB", "--lose-writes", "--json", "--timeout", "60s"], 5);
    let refused = names(&ran);
    let unknown = ["master fenced", "application sessions gone", "other slaves declared"];
    assert!(unknown.iter().all(|name| refused.contains(name)), "{ran}");
    assert_eq!(set.warm.sql("SELECT @@read_only"), "1", "nothing was begun");
    // somebody has cut it off by other means, and says so
    let more = unknown.iter().flat_map(|name| ["--override", name]);
    let all: Vec<&str> = ["promote", "Slave2 DB", "--lose-writes", "--timeout", "60s"]
        .into_iter()
        .chain(NO_BACKUPS)
        .chain(more)
        .collect();
    set.dbsync(&all, 0);
    assert_eq!(set.warm.sql("SELECT @@read_only; SHOW REPLICA STATUS"), "0");
    set.scene.call("kill", "kill").args(["-CONT", pid.trim()]).run().exits(0);
    assert!(set.debts().contains(&"rebuild:Slave DB".to_owned()), "{:?}", set.debts());
}

fn a_held_slave_resumes_and_bad_input_is_refused(engines: Engines) {
    let set = set_on(engines, "dbsync-resume");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    super::hold::a_master_that_was_migrated_by_hand_keeps_it_held(&set);
    assert_eq!(did(&set.dbsync(&["resume", "Slave2 DB"], 0))["changed"], true);
    assert_eq!(did(&set.dbsync(&["resume", "Slave2 DB"], 0))["changed"], false);
    set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    set.dbsync(&["writes", "on", "Master DB"], 0);
    assert_eq!(set.debts(), Vec::<String>::new());

    // what may stay and is in the way: named, and nothing is owed
    let holder = set.master.session("LOCK TABLES appdb.t WRITE");
    let ran = set.dbsync(&["writes", "off", "Master DB", "--allow", "root", "--limit", "1s"], 6);
    ran.says("root@localhost").says("appdb.t");
    assert_eq!(set.debts(), Vec::<String>::new());
    holder.end();
    // one that is not there is named, and is no error
    let allow = ["--allow", "rot", "--allow", "root", "--allow", "repl", "--dry-run"];
    let ran = set.dbsync(&[&["writes", "off", "Master DB"], &allow[..]].concat(), 0);
    let ran = ran.says("\"Master DB\" has no account of --allow rot");
    assert_eq!(ran.stderr.matches("--allow").count(), 1, "{ran}");

    set.dbsync(&["writes", "off", "Slave DB"], 2);
    set.dbsync(&["hold", "Master DB"], 2);
    set.dbsync(&["hold", "Nobody"], 4);
    set.dbsync(&["init", "Master DB"], 5);
    set.dbsync(&["status", "--proof", "--role", "master"], 2);
    let bad = set.scene.file("bad.sql", "ALTER TABLE t ADD a INT;\nDELIMITER //\n");
    set.dbsync(&["migrate", "Master DB", "--sql", &bad], 2).says("bad.sql: line 2");
    set.dbsync(&["migrate", "Master DB", "--sql", "/no/such"], 4);
    let ran = set.scene.tool("rs-dbsync").args(["hold"]).stdin("").run().exits(2);
    ran.says("nothing came in");
    who_does_not_answer_hides_none(&set);
}

/// Replicating, and writes are on.
fn who_does_not_answer_hides_none(set: &Set) {
    let kill = |db: &Db| {
        let pid = std::fs::read_to_string(db.dir.join("db.pid")).unwrap();
        set.scene.call("kill", "kill").args(["-9", pid.trim()]).run().exits(0);
        let limit = std::time::Duration::from_secs(20);
        rs_tests::until("the server to be gone", limit, || !db.answers());
    };
    kill(&set.slave);
    let ran = set.dbsync(&["status", "Slave DB"], 7).says("Slave DB").says("is it running");
    assert!(ran.stdout.is_empty(), "{ran}");
    for (verb, schema) in
        [(&["status"][..], "rs.replica/1"), (&["writes", "status"], "rs.writes/1")]
    {
        let ran = set.dbsync(&[verb, &["--role", "db"]].concat(), 8);
        let ran = ran.says("1 of 3 databases did not answer").says("Slave DB: ");
        let ran = ran.says("try: is it running");
        let records = ran.by_name();
        assert_eq!(records["Master DB"]["schema"], schema, "{ran}");
        assert_eq!(records["Slave2 DB"]["schema"], schema, "{ran}");
        assert_eq!(records["Slave DB"]["schema"], "rs.server/1", "{ran}");
        assert!(records["Slave DB"]["did"][0]["error"].is_string(), "{ran}");
    }
    // what nobody knows is no yes, and a no is a no: what was found goes with the error
    let found = |gate: &[&str], exit| {
        let ran = set.dbsync(&[&["status", "--json"], gate].concat(), exit).says("does not answer");
        assert!(ran.stdout.is_empty(), "{ran}");
        let error: Json = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        let found = error["found"].as_array().unwrap().iter();
        found.map(|record| record["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let both = ["Slave2 DB", "Slave DB"];
    assert_eq!(found(&["--role", "slave", "--require", "replicating"], 7), both);
    assert_eq!(found(&["--role", "slave", "--proof"], 3), both);
    // a slave tells of itself without its master
    kill(&set.master);
    let ran = set.dbsync(&["status", "Slave2 DB"], 8).says("1 of 2 databases").says("Master DB: ");
    let records = ran.by_name();
    assert!(records["Slave2 DB"]["applied"]["gtid"].is_string(), "{ran}");
    assert_eq!(records["Slave2 DB"]["behind_transactions"], Json::Null, "{ran}");
    assert!(records["Master DB"]["did"][0]["error"].is_string(), "{ran}");
    assert_eq!(set.dbsync(&["status", "--role", "db"], 8).records().len(), 3);
    let gate = ["Slave2 DB", "--require", "replicating", "--wait", "1s"];
    assert_eq!(found(&gate, 7), ["Slave2 DB", "Master DB"]);
    kill(&set.warm);
    let ran = set.dbsync(&["status", "--role", "db"], 7).says("Slave DB").says("Slave2 DB");
    assert!(ran.says("Master DB").stdout.is_empty());
}

/// The same on servers of a managed cloud, from the project's own template.
pub fn managed(name: &str, servers: &[(&str, &str, &str)]) -> Scene {
    managed_on(Engines::Host, name, servers)
}

/// The same of other engines.
pub fn managed_on(engines: Engines, name: &str, servers: &[(&str, &str, &str)]) -> Scene {
    let scene = Scene::on(engines, name);
    let backups = match engines {
        Engines::Host => "mariabackup",
        Engines::Newer => "mysqlclone",
    };
    for credential in ["dba", "replication", "migrator", "application", "heartbeat"] {
        scene.credential(credential, &format!("{credential}-'secret\\"));
    }
    std::fs::create_dir_all(scene.path("servers")).unwrap();
    std::fs::create_dir_all(scene.path("backups")).unwrap();
    scene.hand_over(&scene.path("backups"));
    let template = rs_tests::root().join("scripts/templates/database.yml");
    let user = if rustix::process::geteuid().is_root() { "\n    User: nobody" } else { "" };
    let mut site = format!(
        "Deployment: production\nMachines:\n  Local:\n    Root: '{}'\n    Addresses: {}.0/24\n    Path: '{}'{user}\n\
         Inputs:\n  DB_SCHEMA_NAME: text:appdb\n  DB_LINEAGE_NAME: text:shop\n  BACKUP_DIR: 'text:{}'\n  \
         BACKUP_DRIVER: text:{backups}\n  BACKUP_EVERY_MINUTES: text:60\n  DB_BACKUP_KEEP: text:5\n",
        scene.text("servers"),
        scene.net,
        scene.search_path(),
        scene.text("backups"),
    );
    for (input, account) in [
        ("DBADMIN", "dba"),
        ("DBREPLICATION", "replication"),
        ("DBMIGRATION", "migrator"),
        ("DBAPPLICATION", "application"),
        ("DBHEARTBEAT", "heartbeat"),
    ] {
        site.push_str(&format!(
            "  {input}_USER: text:{account}\n  {input}_PASSWORD: cred:{account}\n"
        ));
    }
    site.push_str("Servers:\n");
    for (name, role, create) in servers {
        site.push_str(&format!(
            "  - Name: {name}\n    Template: '{}'\n    Tags: ['database:{role}_active=shop']\n    Inputs:\n      \
             DB_CREATE: text:{create}\n",
            template.display()
        ));
    }
    let file = scene.file("site.yaml", &site);
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    scene
}

/// Runs SQL as the administrator of a managed server, through its own socket.
pub fn sql(scene: &Scene, server: &str, sql: &str) -> String {
    let list = ["list", server, "--deployment", "production"];
    let record = scene.tool("rs-server").args(list).run().exits(0).record();
    let home = record["current"]["home"].as_str().unwrap().to_owned();
    let ran = scene
        .call(&rs_tests::program("mariadb").display().to_string(), "mariadb")
        .args([&format!("--defaults-file={home}/etc/admin.cnf"), "-N", "-B", "-e", sql])
        .run()
        .exits(0);
    ran.stdout.trim().to_owned()
}

/// Who asks a role hears of those that run, and of the one that has no machine that it has none.
fn one_that_is_only_defined_is_named_and_proves_nothing(
    scene: &Scene,
    dbsync: &dyn Fn(&[&str], i32) -> rs_tests::Ran,
) {
    let clone = ["server", "Slave DB", "--name", "Slave9 DB"];
    scene.tool("rs-clone").args(clone).run().exits(0);
    let asked = || dbsync(&["status", "--role", "slave"], 0);
    rs_tests::until("the canary of init on the slave", std::time::Duration::from_secs(30), || {
        asked().by_name()["Slave DB"]["behind_transactions"] == 0
    });
    let ran = asked().says("\"Slave9 DB\" is inactive");
    let records = ran.by_name();
    let defined = &records["Slave9 DB"];
    assert_eq!((&defined["state"], &defined["role"]), (&"inactive".into(), &"slave".into()));
    assert!(defined["channels"].is_null(), "nobody asked it\n{ran}");
    let writes = dbsync(&["writes", "status", "--role", "db"], 0).says("has no machine").by_name();
    assert_eq!(writes["Master DB"]["off"], false);
    assert_eq!(writes["Slave9 DB"]["off"], Json::Null);
    for gate in [&["--require", "replicating"][..], &["--require", "held"], &["--proof"]] {
        let ran = dbsync(&[&["status", "Slave9 DB"], gate].concat(), 3);
        let ran = ran.says("machine of \"Slave9 DB\"").says("it has no machine");
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    dbsync(&["status", "--role", "slave", "--require", "replicating"], 3);
    dbsync(&["status", "Slave DB", "--require", "replicating"], 0);
    let plan = scene.tool("rs-cleanup").args(["plan", "Slave9 DB"]).run().exits(0);
    let plan = scene.file("plan", &plan.stdout);
    scene.tool("rs-cleanup").args(["retire", "--plan", &plan, "--delete"]).run().exits(0);
}

fn on_managed_servers_init_hold_and_writes_outlive_a_restart_and_the_old_master_is_rebuilt(
    engines: Engines,
) {
    let scene = managed_on(
        engines,
        "dbsync-managed",
        &[("Master DB", "master", "true"), ("Slave DB", "slave", "false")],
    );
    let dbsync = |args: &[&str], code: i32| {
        scene.tool("rs-dbsync").args(args).env("RS_UPGRADE", "u-1").run().exits(code)
    };
    let restart = |server: &str| {
        scene.tool("rs-run").args(["database restart", server]).run().exits(0);
    };
    let launch = scene.tool("rs-server").args(["launch", "--all"]);
    launch.limit(std::time::Duration::from_secs(300)).run().exits(0);
    sql(
        &scene,
        "Master DB",
        "CREATE TABLE appdb.t (id INT PRIMARY KEY); INSERT INTO appdb.t VALUES (1),(2)",
    );
    let ran = dbsync(&["init", "Slave DB"], 0);
    assert_eq!(did(&ran)["changed"], true);
    assert_eq!(did(&dbsync(&["init", "Slave DB"], 0))["changed"], false);
    assert_eq!(sql(&scene, "Slave DB", "SELECT COUNT(*) FROM appdb.t; SELECT @@read_only"), "2\n1");
    one_that_is_only_defined_is_named_and_proves_nothing(&scene, &dbsync);
    // either has what is in no other place: the master, and its only slave
    let relaunch = |server: &str| scene.tool("rs-server").args(["relaunch", server]).run().exits(5);
    relaunch("Master DB").says("it is a master of the database set").says("rs-cleanup plan");
    relaunch("Slave DB").says("it is the last slave of the database set");
    assert_eq!(sql(&scene, "Master DB", "SELECT COUNT(*) FROM appdb.t"), "2", "nothing ended");

    dbsync(&["writes", "off", "Master DB"], 0);
    restart("Master DB");
    assert_eq!(sql(&scene, "Master DB", "SELECT @@read_only"), "1", "a restart must not open it");
    dbsync(&["hold", "Slave DB"], 0);
    restart("Slave DB");
    dbsync(&["status", "Slave DB", "--require", "held"], 0);
    let status = sql(&scene, "Slave DB", "SHOW REPLICA STATUS");
    assert!(status.contains("held.invalid") && status.contains("\tNo\t"), "{status}");
    dbsync(&["init", "Slave DB"], 5);

    let file = scene.file("up.sql", "ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 7;");
    dbsync(&["migrate", "Master DB", "--sql", &file], 0);
    // a pair: the held slave, and a pinned backup of the same position
    let ran = dbsync(&["promote", "Slave DB", "--json"], 5);
    assert!(names(&ran).ends_with(": rollback pair"), "{ran}");
    let take = ["take", "Slave DB", "--label", "pre-upgrade", "--pin"];
    scene.tool("rs-snapshot").args(take).env("RS_UPGRADE", "u-1").run().exits(0);
    dbsync(&["promote", "Slave DB"], 0);
    let list = scene.tool("rs-snapshot").args(["list", "--role", "db"]).run().exits(0);
    let kept: Vec<Json> = list.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let kept = kept
        .iter()
        .find(|s| s["label"].as_str().is_some_and(|l| l.starts_with("abandoned-")))
        .unwrap_or_else(|| panic!("the abandoned master's state was snapshotted first: {list}"));
    assert_eq!((&kept["pinned"], &kept["server"]), (&true.into(), &"Master DB".into()));
    let label = kept["label"].as_str().unwrap();
    let key = format!("pin:{}/{label}", kept["lineage"].as_str().unwrap());
    let audit = || scene.tool("rs-cleanup").args(["audit", "--json"]).run().records();
    let owed = audit().into_iter().find(|debt| debt["key"] == *key).unwrap();
    let settle =
        format!("rs-snapshot unpin --label {label} --deployment production -- 'Master DB'");
    assert_eq!((&owed["settle"], &owed["due"]), (&settle.into(), &"retire".into()));
    restart("Slave DB");
    assert_eq!(sql(&scene, "Slave DB", "SELECT @@read_only"), "0", "it was installed read-only");
    sql(&scene, "Slave DB", "INSERT INTO appdb.t VALUES (3)");
    restart("Master DB");
    assert_eq!(sql(&scene, "Master DB", "SELECT @@read_only"), "1", "the old master stays fenced");

    dbsync(&["init", "Master DB"], 5);
    // the newest backup is the abandoned master's: not this one's data
    let ran = dbsync(&["init", "Master DB", "--rebuild"], 0);
    assert_ne!(did(&ran)["after"]["snapshot"], kept["id"]);
    let columns = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema='appdb' AND column_name='n'";
    assert_eq!(sql(&scene, "Master DB", columns), "0", "the migration is gone");
    restart("Master DB");
    assert_eq!(sql(&scene, "Master DB", "SELECT MAX(id) FROM appdb.t; SELECT @@read_only"), "3\n1");
    dbsync(&["status", "--role", "slave", "--require", "replicating"], 0);
    dbsync(&["writes", "off", "--role", "master"], 0);
    dbsync(&["status", "Master DB", "--proof"], 0);
    scene.tool("rs-server").args(["list", "--role", "slave"]).run().exits(0).record();
    let all = scene.tool("rs-server").args(["unlock", "--all"]).run().exits(0);
    assert!(!all.stdout.contains("-'secret"), "no secret in a record");
    scene.tool("rs-snapshot").args(["unpin", "--label", label, "--", "Master DB"]).run().exits(0);
    assert!(audit().iter().all(|debt| debt["key"] != *key));
    super::hold::none_comes_up_empty_where_data_was(&scene, &dbsync);
}
