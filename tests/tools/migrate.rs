//! rs-dbsync migrate on real servers: killed in the middle of a long statement, and its slaves watched.

use std::io::Read;
use std::time::Duration;

use rs_tests::{Engines, until};

use super::dbsync::{did, names, set_on};

const LIMIT: Duration = Duration::from_secs(60);
/// What servers that are named by an address only do not tell.
const ROOM: [&str; 2] = ["--override", "space for the migration"];

rs_tests::each_engine!(
    a_migration_killed_in_a_long_alter_is_neither_repeated_nor_skipped,
    a_slave_that_cannot_apply_the_migration_is_named_while_it_runs,
);

fn a_migration_killed_in_a_long_alter_is_neither_repeated_nor_skipped(engines: Engines) {
    let set = set_on(engines, "migrate-kill");
    let (master, slave) = (&set.master, &set.slave);
    master.sql(&format!(
        "USE appdb; INSERT INTO t SELECT seq, REPEAT('y', 150) FROM {}",
        master.numbers(1000, 500_000)
    ));
    let file = set.scene.file(
        "up.sql",
        "ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 7, ALGORITHM=COPY;\nUPDATE t SET n=8 WHERE id=1;\n",
    );
    let wanted = master.position();
    until("the slaves", LIMIT, || slave.applied() == wanted && set.warm.applied() == wanted);
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);

    // room that nobody can see is a no of every server that applies it, and of no other
    let migrate = ["migrate", "Master DB", "--sql", &file];
    let ran = set.dbsync(&[&migrate[..], &["--json"]].concat(), 5);
    assert!(names(&ran).contains("space for the migration, space for the migration"), "{ran}");
    ran.says("there is no way onto it");
    let migrate = [&migrate[..], &ROOM].concat();
    let state = || {
        let record = set.dbsync(&["status", "Master DB"], 0).record();
        record["schema_state"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(state(), "old");

    // a reader keeps the slave from applying it
    let reader = slave.session_as("app", "BEGIN; SELECT id FROM appdb.t LIMIT 1");
    let mut killed = set.scene.tool("rs-dbsync").args(&migrate).env("RS_UPGRADE", "u-1").start();
    let running =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE INFO LIKE 'ALTER TABLE t ADD%'";
    until("the ALTER to run", LIMIT, || {
        if killed.try_wait().unwrap().is_some() {
            let mut told = String::new();
            killed.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            panic!("it has ended: {told}");
        }
        // seen by its new copy of the table: a session of root's that asks would be one that could write
        let files = std::fs::read_dir(master.dir.join("data/appdb")).unwrap().flatten();
        files.map(|file| file.file_name()).any(|name| name.to_string_lossy().starts_with("#sql"))
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(state(), "half");
    assert_eq!(master.sql(running), "1", "the statement goes on without its client");

    let ran = set.dbsync(&migrate, 0);
    let ran = ran.says("an earlier run's statement still runs");
    assert_eq!(did(&ran)["after"]["done"], 2, "{ran}");
    assert_eq!(master.sql("SELECT COUNT(*) FROM appdb.t WHERE n=8"), "1");
    assert_eq!(master.sql("SELECT MIN(n) FROM appdb.t"), "7");
    assert_eq!(state(), "new");
    // who lags is named, and the held one is nobody's reader
    let ran = ran.says("Slave DB serves reads and applies it: ");
    let slaves = did(&ran)["after"]["slaves"].clone();
    assert_eq!(slaves.as_array().map(Vec::len), Some(1), "{slaves}");
    assert_eq!((&slaves[0]["server"], &slaves[0]["reads"]), (&"Slave DB".into(), &true.into()));
    reader.end();
    let column = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema='appdb' AND column_name='n'";
    until("the slave", LIMIT, || slave.sql(column) == "1");
    assert_eq!(did(&set.dbsync(&migrate, 0))["changed"], false);
    assert_eq!(set.warm.sql(column), "0");
    if master.or("no", "yes") == "yes" {
        a_lock_left_lowered_is_owed(&set);
    }
}

/// The master's migration is half; it is left for the held slave, and that is taken back: it is half as it was, and goes on.
fn a_rollback_from_the_middle_is_taken_back(set: &super::dbsync::Set) {
    let file = set.scene.file(
        "half.sql",
        "ALTER TABLE t ADD COLUMN m INT NOT NULL DEFAULT 1;\nALTER TABLE later ADD COLUMN m INT;\n",
    );
    let sql = ["migrate", "Master DB", "--sql", &file, "--token", "u-3"];
    let migrate = [&sql[..], &ROOM].concat();
    set.dbsync(&["resume", "Slave2 DB", "--override", "schema-unchanged"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    set.dbsync(&migrate, 1);
    let promote = |server: &'static str, code: i32| {
        let promote = ["promote", server, "--lose-writes", "--json"];
        set.dbsync(&[&promote[..], &super::dbsync::NO_BACKUPS].concat(), code)
    };
    promote("Slave2 DB", 0);
    set.dbsync(&["status", "Master DB", "--require", "held"], 0);
    set.dbsync(&["writes", "off", "--role", "master"], 0);
    // one that was changed since is no more what it was
    let column = |verb: &str| {
        set.master.force(&format!("SET sql_log_bin=0; ALTER TABLE appdb.t {verb}"));
    };
    column("ADD COLUMN k INT");
    assert!(names(&promote("Master DB", 5)).ends_with(": schema before the migration"));
    column("DROP COLUMN k");
    promote("Master DB", 0);
    set.dbsync(&["status", "Slave2 DB", "--require", "held"], 0);
    let state = || {
        let status = ["status", "Master DB", "--upgrade", "u-3"];
        set.dbsync(&status, 0).record()["schema_state"].clone()
    };
    assert_eq!(state(), "half");
    set.dbsync(&["writes", "off", "--role", "master"], 0);
    set.master.force("CREATE TABLE appdb.later (id INT PRIMARY KEY)");
    // what was put right by hand is not told from what users wrote
    let ran = set.dbsync(&[&migrate[..], &["--json"]].concat(), 5);
    assert!(names(&ran).ends_with(": master unmoved since the hold"), "{ran}");
    let migrate = [&migrate[..], &["--override", "master unmoved since the hold"]].concat();
    assert_eq!(did(&set.dbsync(&migrate, 0))["after"]["done"], 2);
    assert_eq!(state(), "new");
    // the way back is there still
    promote("Slave2 DB", 0);
    let columns = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema='appdb' AND column_name='m'";
    assert_eq!(set.warm.sql(columns), "0");
}

/// MySQL's strongest lock stops the migration too: lowered for it, and a debt that its own command settles.
fn a_lock_left_lowered_is_owed(set: &super::dbsync::Set) {
    set.dbsync(&["resume", "Slave2 DB", "--override", "schema-unchanged"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    let file = set.scene.file("slow.sql", "DO SLEEP(600);\n");
    let migrate = ["migrate", "Master DB", "--sql", &file, "--token", "u-2"];
    let mut killed = set.scene.tool("rs-dbsync").args(migrate).args(ROOM).start();
    let owed = || {
        let debts = set.scene.tool("rs-cleanup").args(["audit", "--json"]).run().records();
        debts.into_iter().find(|debt| debt["key"] == "lowered:shop")
    };
    // asked of our tool: a session of root's would be one that could write, and the lock would stay up
    until("the lock to be lowered", LIMIT, || {
        assert!(killed.try_wait().unwrap().is_none(), "it has ended");
        owed().is_some_and(|debt| debt["world"] == "open")
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let debt = owed().unwrap_or_else(|| panic!("what the kill left lowered is owed"));
    assert_eq!(debt["world"], "open", "{debt}");
    let words = debt["inverse"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let words: Vec<&str> = words.collect();
    let _ = set.scene.tool(words[0]).args(&words[1..]).run().exits(0);
    assert!(owed().is_none());
    assert_eq!(set.master.sql("SELECT @@super_read_only"), "1");
}

fn a_slave_that_cannot_apply_the_migration_is_named_while_it_runs(engines: Engines) {
    let set = set_on(engines, "migrate-watch");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    what_users_wrote_after_an_attempt_that_changed_nothing_is_no_migration(&set);
    a_migration_of_rows_is_one_for_resume_and_promote(&set);
    set.slave.force("SET sql_log_bin=0; ALTER TABLE appdb.t ADD COLUMN n INT");
    let file = set.scene.file("up.sql", "ALTER TABLE t ADD COLUMN n INT;\nDO SLEEP(3);\n");
    let ran = set.dbsync(&[&["migrate", "Master DB", "--sql", &file][..], &ROOM].concat(), 0);
    let ran = ran.says("Slave DB: does not apply it: ").says("Duplicate column name 'n'");
    let ran = ran.says("Slave DB serves reads and does not apply it");
    assert_eq!(did(&ran)["after"]["slaves"][0]["stopped"], true, "{ran}");
    later_ones_mend_forward_and_none_is_done_twice(&set);
    a_rollback_from_the_middle_is_taken_back(&set);
}

/// The master has to stand where the attempt left it, until the slave that is the way back has it all.
fn what_users_wrote_after_an_attempt_that_changed_nothing_is_no_migration(
    set: &super::dbsync::Set,
) {
    let file = set.scene.file("nothing.sql", "ALTER TABLE t DROP COLUMN nope;\n");
    let migrate = ["migrate", "Master DB", "--sql", &file, "--token", "nothing", "--json"];
    let migrate = [&migrate[..], &ROOM].concat();
    set.dbsync(&migrate, 1).says("it changed nothing");
    set.dbsync(&migrate, 1).says("it changed nothing");
    set.dbsync(&["writes", "on", "Master DB"], 0);
    set.master.sql("INSERT INTO appdb.t VALUES (901, 'user'), (902, 'user')");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    let ran = set.dbsync(&migrate, 5);
    assert!(names(&ran).ends_with(": master unmoved since the hold"), "{ran}");
    ran.says("rs-dbsync resume and hold again");
    set.dbsync(&["resume", "Slave2 DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    set.dbsync(&migrate, 1).says("it changed nothing");
}

/// No fingerprint shows it: the notes beside the data do.
fn a_migration_of_rows_is_one_for_resume_and_promote(set: &super::dbsync::Set) {
    let file = set.scene.file("rows.sql", "UPDATE t SET note='migrated' WHERE id=2;\n");
    let migrate = ["migrate", "Master DB", "--sql", &file, "--token", "rows"];
    // the resume and the hold again of before: its own attempt is its first
    set.dbsync(&["resume", "Slave2 DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    set.dbsync(&[&migrate[..], &ROOM].concat(), 0);
    let ran = set.dbsync(&["resume", "Slave2 DB", "--json"], 5);
    assert!(names(&ran).ends_with(": schema-unchanged"), "{ran}");
    ran.says("the migration \\\"rows\\\" of \\\"appdb\\\" is done");
    set.dbsync(&["resume", "Slave2 DB", "--override", "schema-unchanged"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);
    let promote = ["promote", "Slave2 DB", "--lose-writes", "--json"];
    let ran = set.dbsync(&[&promote[..], &super::dbsync::NO_BACKUPS].concat(), 5);
    assert!(names(&ran).ends_with(": schema before the migration"), "{ran}");
}

/// The held slave is no pair with this master any more, and need not be.
fn later_ones_mend_forward_and_none_is_done_twice(set: &super::dbsync::Set) {
    let file = set.scene.file("fix.sql", "ALTER TABLE t ADD COLUMN fixed INT;\n");
    let fix = ["migrate", "Master DB", "--sql", &file, "--token", "fix", "--json"];
    let ran = set.dbsync(&[&fix[..], &ROOM].concat(), 5);
    assert!(names(&ran).contains("master unmoved since the hold"), "{ran}");
    let forward = [&fix[..], &ROOM, &["--no-rollback-copy"]].concat();
    assert_eq!(did(&set.dbsync(&forward, 0))["after"]["done"], 1);
    set.dbsync(&["writes", "on", "Master DB"], 0);
    let open =
        [&forward[..3], &[&file, "--token", "fix-2"], &ROOM, &["--no-rollback-copy"]].concat();
    set.dbsync(&open, 5).says("read_only");
    set.dbsync(&["writes", "off", "Master DB"], 0);

    // what could be done twice, or what nobody would see: before anything is run
    for (text, words) in [
        ("SET @a = 1;\nCALL backfill();\n", "bad.sql: line 2: "),
        ("/*!50000 CALL backfill() */;\n", "--script"),
        ("ALTER TABLE other.t ADD COLUMN n INT;\n", "changes the schema \"other\""),
        (
            "SELECT @top := MAX(id) FROM t;\nUPDATE t SET note='a' WHERE id > @top - 9;\n",
            "bad.sql: statement 2 takes @top from an earlier one",
        ),
    ] {
        let file = set.scene.file("bad.sql", text);
        set.dbsync(&["migrate", "Master DB", "--sql", &file, "--token", "bad"], 2).says(words);
    }
}
