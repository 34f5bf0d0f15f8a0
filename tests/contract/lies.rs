//! Replication states that lie: `SHOW SLAVE STATUS` says Yes, Yes, 0, or a wait says "reached", and rows are missing.
//! Each is made on real servers and must be refused under its own name.

use std::collections::BTreeSet;
use std::time::Duration;

use rs_contract::{Place, Target};
use rs_tests::{MariaDb, until};

use crate::tools::dbsync::{Set, names, set};

const LIMIT: Duration = Duration::from_secs(20);

fn running(db: &MariaDb) -> bool {
    let status =
        db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE COMMAND LIKE 'Slave%'");
    status != "0" && db.sql("SHOW SLAVE STATUS").contains("\tYes\tYes\t")
}

/// The warm slave as it should be: all of the master's rows, one source, running.
fn heal(set: &Set) {
    let (master, warm) = (&set.master, &set.warm);
    let position = master.sql("SELECT @@gtid_binlog_pos");
    if warm.sql("SHOW ALL SLAVES STATUS").lines().any(|line| line.starts_with("east\t")) {
        warm.sql("STOP SLAVE 'east'; RESET SLAVE 'east' ALL");
    }
    warm.sql("STOP SLAVE; RESET SLAVE ALL");
    warm.sql(&format!(
        "SET sql_log_bin=0; DELETE FROM appdb.t WHERE id > 500; \
         SET GLOBAL replicate_wild_ignore_table=''; SET GLOBAL server_id={}; RESET MASTER; \
         SET GLOBAL gtid_slave_pos='{position}'",
        warm.server_id
    ));
    for id in master.sql("SELECT id FROM appdb.t WHERE id > 500").lines() {
        warm.sql(&format!("SET sql_log_bin=0; INSERT INTO appdb.t VALUES ({id}, '')"));
    }
    follow(warm, master, "");
}

fn follow(slave: &MariaDb, source: &MariaDb, more: &str) {
    slave.sql(&format!(
        "CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT=3306, MASTER_USER='repl', MASTER_PASSWORD='repl', \
         MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1{more}; START SLAVE",
        source.address
    ));
    until("replication", LIMIT, || running(slave));
}

/// The conjuncts that the proof refuses, in order.
fn refused(set: &Set) -> Vec<String> {
    let ran = set.dbsync(&["status", "Slave2 DB", "--proof", "--wait", "400ms", "--json"], 3);
    assert!(ran.stdout.is_empty(), "{ran}");
    let what = names(&ran);
    what.trim_start_matches("not in sync: ")
        .split(", ")
        .map(|part| part.split(" of \"").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_lying_state_is_refused_by_its_own_name() {
    let set = set("lies");
    let (master, slave, warm) = (&set.master, &set.slave, &set.warm);
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    let lie = |what: &str, wanted: &[&str], make: &dyn Fn()| {
        make();
        assert_eq!(refused(&set), wanted, "{what}");
        heal(&set);
        set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    };
    let behind = ["position waited for", "positions equal"];

    lie("the applier is stopped", &["applier runs", behind[0], behind[1]], &|| {
        warm.sql("STOP SLAVE SQL_THREAD");
        master.sql("INSERT INTO appdb.t VALUES (501, '')");
    });
    lie("the receiver is stopped and nothing is missing", &["receiver runs"], &|| {
        warm.sql("STOP SLAVE IO_THREAD");
    });
    lie("the receiver connects in vain", &["receiver runs", "no errors"], &|| {
        warm.sql("STOP SLAVE; CHANGE MASTER TO MASTER_PORT=1; START SLAVE");
        until("the error", LIMIT, || warm.sql("SHOW SLAVE STATUS").contains("error connecting"));
    });
    lie("a delay, and nothing to do just now", &["no delay"], &|| {
        warm.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=3600; START SLAVE");
        until("replication", LIMIT, || running(warm));
    });
    lie("a filter: position and wait say reached, the row is not there", &["no filters"], &|| {
        warm.sql("STOP SLAVE; SET GLOBAL replicate_wild_ignore_table='appdb.t'; START SLAVE");
        until("replication", LIMIT, || running(warm));
        master.sql("INSERT INTO appdb.t VALUES (502, '')");
    });
    lie("a domain that is ignored", &["no filters"], &|| {
        warm.sql("STOP SLAVE");
        follow(warm, master, ", IGNORE_DOMAIN_IDS=(7)");
        master.sql("SET gtid_domain_id=7; INSERT INTO appdb.t VALUES (503, '')");
    });
    lie("a stray transaction", &["no errant transaction"], &|| {
        warm.sql("INSERT INTO appdb.t VALUES (999, '')");
    });
    lie("a stray transaction behind newer ones", &["no errant transaction"], &|| {
        warm.sql("STOP SLAVE; SET GLOBAL gtid_strict_mode=0; INSERT INTO appdb.t VALUES (998, '')");
        master.sql("INSERT INTO appdb.t VALUES (504, ''); INSERT INTO appdb.t VALUES (505, '')");
        warm.sql("START SLAVE");
        until("replication", LIMIT, || running(warm));
        until("the rows", LIMIT, || warm.sql("SELECT COUNT(*) FROM appdb.t WHERE id=505") == "1");
    });
    lie("an UNTIL that is far away", &["no UNTIL"], &|| {
        warm.sql("STOP SLAVE; START SLAVE UNTIL master_gtid_pos='0-1-99999999'");
        until("replication", LIMIT, || running(warm));
    });
    warm.sql(&format!(
        "CHANGE MASTER 'east' TO MASTER_HOST='{}', MASTER_USER='repl'",
        slave.address
    ));
    assert!(refused(&set).contains(&"one channel".to_owned()), "a second channel");
    heal(&set);
    warm.sql("STOP SLAVE; RESET SLAVE ALL");
    follow(warm, master, "");
    warm.sql("STOP SLAVE; RESET SLAVE ALL");
    let named = format!(
        "CHANGE MASTER 'east' TO MASTER_HOST='{}', MASTER_PORT=3306, MASTER_USER='repl', \
         MASTER_PASSWORD='repl', MASTER_USE_GTID=slave_pos; START SLAVE 'east'",
        master.address
    );
    warm.sql(&named);
    until("the named channel", LIMIT, || {
        warm.sql("SHOW ALL SLAVES STATUS").contains("\tYes\tYes\t")
    });
    assert_eq!(
        refused(&set),
        ["one channel"],
        "only a named channel: STOP SLAVE would stop nothing"
    );
    heal(&set);
    lie("an old position and no source", &["one channel"], &|| {
        warm.sql("STOP SLAVE; RESET SLAVE ALL");
    });
    lie("another source with the right position", &["source is the master"], &|| {
        warm.sql("STOP SLAVE");
        until("the relay", LIMIT, || {
            slave.sql("SELECT @@gtid_slave_pos").len()
                == master.sql("SELECT @@gtid_binlog_pos").len()
        });
        follow(warm, slave, "");
    });
    lie("the master's server id", &["own server id"], &|| {
        warm.sql(&format!("SET GLOBAL server_id={}", master.server_id));
    });
    lie("no GTID", &["GTID in use"], &|| {
        let log = master.sql("SHOW MASTER STATUS");
        let mut at = log.split('\t');
        let (file, pos) = (at.next().unwrap(), at.next().unwrap());
        warm.sql(&format!(
            "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=no, MASTER_LOG_FILE='{file}', \
             MASTER_LOG_POS={pos}; START SLAVE"
        ));
        until("replication", LIMIT, || running(warm));
    });

    // a twin of the master: its ids, its position to the last digit, and another row under the last number
    let twin = set.scene.replica_of(master, "twin");
    twin.sql(&format!("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL server_id={}", master.server_id));
    set.dbsync(&["writes", "on", "Master DB"], 0);
    warm.sql("STOP SLAVE");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    twin.sql("SET GLOBAL read_only=0; INSERT INTO appdb.t VALUES (777, 'twin')");
    let theirs = twin.sql("SELECT @@gtid_binlog_pos");
    assert!(master.sql("SELECT @@gtid_binlog_pos").contains(&theirs), "the same number: {theirs}");
    follow(warm, &twin, "");
    until("the twin's row", LIMIT, || warm.sql("SELECT COUNT(*) FROM appdb.t WHERE id=777") == "1");
    assert_eq!(refused(&set), ["canary seen"], "a restored twin as source");

    // two masters in the set
    let place = Place { cloud: set.scene.cloud(), ..Place::default() };
    let world = rs_drivers::world(&place).unwrap();
    let tag = BTreeSet::from(["database:master_active=shop".to_owned()]);
    let (target, none) = (Target::Next("Slave DB".into()), BTreeSet::new());
    world.cloud.set_tags("production", &target, &tag, &none).unwrap();
    let ran = set.dbsync(&["status", "Slave2 DB", "--proof", "--json"], 3);
    assert!(names(&ran).contains("one master"), "{ran}");
    world.cloud.set_tags("production", &target, &none, &tag).unwrap();

    // numbers that began anew: an empty position counts as reached everywhere
    heal(&set);
    master.sql("RESET MASTER");
    let names = refused(&set);
    assert!(names.contains(&"master's position read".to_owned()), "{names:?}");
    assert!(names.contains(&"positions equal".to_owned()), "{names:?}");
}
