//! Replication states that lie, in the words of MySQL: `SHOW REPLICA STATUS` says Yes, Yes, 0, or a wait says
//! "reached", and rows are missing. Each is made on real servers and must be refused under its own name.

use std::time::Duration;

use rs_tests::{Db, Engines, until};

use crate::tools::dbsync::{Set, names, set_on};

const LIMIT: Duration = Duration::from_secs(20);

fn running(db: &Db) -> bool {
    db.sql("SHOW REPLICA STATUS").contains("\tYes\tYes\t")
}

/// A change by root though nobody may write.
fn force(db: &Db, sql: &str) {
    db.sql(&format!("SET GLOBAL super_read_only=0; {sql}; SET GLOBAL super_read_only=1"));
}

/// The warm slave as it should be: all of the master's rows, one source, running.
fn heal(set: &Set) {
    let (master, warm) = (&set.master, &set.warm);
    let rows: String = master
        .sql("SELECT id FROM appdb.t WHERE id > 500")
        .lines()
        .map(|id| format!("INSERT INTO appdb.t VALUES ({id}, '');"))
        .collect();
    // it is given the position of the canary, so it is given the canary
    let nonce = master.sql("SELECT nonce FROM rs_tools.canary");
    force(
        warm,
        &format!(
            "STOP REPLICA; RESET REPLICA ALL; CHANGE REPLICATION FILTER REPLICATE_WILD_IGNORE_TABLE=(); \
             SET sql_log_bin=0; DELETE FROM appdb.t WHERE id > 500; {rows} \
             UPDATE rs_tools.canary SET nonce='{nonce}'; SET GLOBAL server_id={}; \
             RESET BINARY LOGS AND GTIDS; SET GLOBAL gtid_purged='{}'",
            warm.server_id,
            master.position()
        ),
    );
    warm.follow(master, "");
    until("replication", LIMIT, || running(warm));
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
#[cfg_attr(rs_no_engines, ignore = "run scripts/setup.sh engines mysql haproxy3")]
fn every_lying_state_of_mysql_is_refused_by_its_own_name() {
    let set = set_on(Engines::Newer, "lies-mysql");
    let (master, slave, warm) = (&set.master, &set.slave, &set.warm);
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    let uuid = master.sql("SELECT @@server_uuid");
    let lie = |what: &str, wanted: &[&str], make: &dyn Fn()| {
        make();
        assert_eq!(refused(&set), wanted, "{what}");
        heal(&set);
        set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    };
    let again = |change: &str| {
        warm.sql(&format!("STOP REPLICA; {change}; START REPLICA"));
    };
    let behind = ["position applied"];

    lie("the applier is stopped", &["applier runs", behind[0]], &|| {
        warm.sql("STOP REPLICA SQL_THREAD");
        force(master, "INSERT INTO appdb.t VALUES (501, '')");
    });
    lie("the receiver is stopped and nothing is missing", &["receiver runs"], &|| {
        warm.sql("STOP REPLICA IO_THREAD");
    });
    lie(
        "the receiver is dead and shows 0 seconds behind",
        &["receiver runs", "no errors", "own server id"],
        &|| {
            again(&format!("SET GLOBAL server_id={}", master.server_id));
            until("the error", LIMIT, || {
                warm.sql("SHOW REPLICA STATUS").contains("equal MySQL server ids")
            });
        },
    );
    lie("a delay, and nothing to do just now", &["no delay"], &|| {
        again("CHANGE REPLICATION SOURCE TO SOURCE_DELAY=3600");
        until("replication", LIMIT, || running(warm));
    });
    lie("a filter: position and wait say reached, the row is not there", &["no filters"], &|| {
        again("CHANGE REPLICATION FILTER REPLICATE_WILD_IGNORE_TABLE=('appdb.t')");
        until("replication", LIMIT, || running(warm));
        force(master, "INSERT INTO appdb.t VALUES (502, '')");
    });
    lie("a stray transaction", &["position applied", "no errant transaction"], &|| {
        force(warm, "INSERT INTO appdb.t VALUES (999, '')");
    });
    lie("an UNTIL that is far away", &["no UNTIL"], &|| {
        warm.sql(&format!("STOP REPLICA; START REPLICA UNTIL SQL_AFTER_GTIDS='{uuid}:1-99999999'"));
        until("replication", LIMIT, || running(warm));
    });
    lie("an old position and no source", &["one channel"], &|| {
        warm.sql("STOP REPLICA; RESET REPLICA ALL");
    });
    lie("another source with the right position", &["source is the master"], &|| {
        warm.sql("STOP REPLICA");
        until("the relay", LIMIT, || slave.position() == master.position());
        warm.follow(slave, "");
        until("replication", LIMIT, || running(warm));
    });
    lie("no GTID", &["GTID in use"], &|| {
        let log = master.sql("SHOW BINARY LOG STATUS");
        let mut at = log.split('\t');
        let (file, pos) = (at.next().unwrap(), at.next().unwrap());
        again(&format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=0, SOURCE_LOG_FILE='{file}', SOURCE_LOG_POS={pos}"
        ));
        until("replication", LIMIT, || running(warm));
    });
    warm.sql(&format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='{}', SOURCE_USER='repl' FOR CHANNEL 'east'",
        slave.address
    ));
    assert!(refused(&set).contains(&"one channel".to_owned()), "a second channel");
    heal(&set);

    // the applier is blocked, and its state says that it has read all
    let mut holder = set
        .scene
        .call(&rs_tests::program("mariadb").display().to_string(), "holder")
        .args(["--no-defaults", "-uroot", "-S", &warm.socket.display().to_string(), "-e"])
        .args(["LOCK TABLES appdb.t READ; DO SLEEP(600)"])
        .start();
    until("the lock", LIMIT, || {
        let held = "SELECT COUNT(*) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'";
        warm.sql(held) == "1"
    });
    force(master, "INSERT INTO appdb.t VALUES (503, '')");
    until("the applier's word", LIMIT, || {
        warm.sql("SHOW REPLICA STATUS").contains("Replica has read all relay log")
    });
    assert_eq!(refused(&set), behind, "the applier is blocked");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let session = "SELECT ID FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'";
    for id in warm.sql(session).lines() {
        warm.sql(&format!("KILL {id}"));
    }
    set.dbsync(&["status", "Slave2 DB", "--proof"], 0);

    // a twin of the master: its id, its position to the last digit, and another row under the last number
    let twin = set.scene.replica_of(master, "twin");
    twin.sql(&format!(
        "STOP REPLICA; RESET REPLICA ALL; SET GLOBAL server_id={}",
        master.server_id
    ));
    set.dbsync(&["writes", "on", "Master DB"], 0);
    warm.sql("STOP REPLICA");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    let position = master.position();
    let last = position.rsplit(['-', ':']).next().unwrap();
    force(
        &twin,
        &format!(
            "SET gtid_next='{uuid}:{last}'; INSERT INTO appdb.t VALUES (777, 'twin'); SET gtid_next=AUTOMATIC"
        ),
    );
    assert_eq!(twin.position(), position);
    warm.follow(&twin, "");
    until("the twin's row", LIMIT, || warm.sql("SELECT COUNT(*) FROM appdb.t WHERE id=777") == "1");
    assert_eq!(refused(&set), ["canary seen"], "a restored twin as source");

    // numbers that began anew: an empty position counts as reached
    heal(&set);
    set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    master.sql("RESET BINARY LOGS AND GTIDS");
    // the rows are there, the canary too; what the slave has in its own log is in no log of the master's any more
    assert_eq!(refused(&set), ["master's position read", "no errant transaction"]);
}
