//! A promotion that is taken back.

use serde_json::Value as Json;

use super::dbsync::{NO_BACKUPS, Set, did, names};

/// A promotion is taken back, and that again: the fenced side is as it was, and what is lost is counted.
pub fn taken_back(set: &Set) {
    let (master, warm) = (&set.master, &set.warm);
    let price = |server: &str| set.dbsync(&["price", server, "--json"], 0).record();
    let counted = |record: &Json| ["transactions", "tests"].map(|field| record[field].as_u64());
    set.dbsync(&["status", "Master DB", "--require", "held"], 0);
    // what was abandoned takes writes again: due at once, whoever else is asked, and settled by the command that is named
    let audit = || set.scene.tool("rs-cleanup").args(["audit", "--due", "window"]).run();
    let takes = "server Master DB is an abandoned master, and takes writes";
    let named = "rs-dbsync writes off --deployment production -- 'Master DB'";
    let verify = || set.scene.tool("rs-journal").args(["verify"]).run();
    let status = || set.dbsync(&["status", "Master DB"], 0);
    assert!(!audit().stderr.contains("fenced:"), "nothing is wrong with it");
    assert!(!verify().stderr.contains("abandoned") && !status().stderr.contains("abandoned"));
    master.sql("SET GLOBAL read_only=0");
    audit().exits(3).says(takes).says(named);
    verify().exits(3).says(takes).says(named);
    let record = status().says("abandoned and read-only").says(named).record();
    assert_eq!(record["checks"][0]["answer"], "no", "{record}");
    for gate in [&["--require", "held"][..], &["--require", "replicating"], &["--proof"]] {
        let ran = set.dbsync(&[&["status", "Master DB", "--json"], gate].concat(), 3);
        assert!(names(&ran).contains("abandoned and read-only of \"Master DB\""), "{ran}");
    }
    set.dbsync(&["writes", "off", "Master DB"], 0);
    assert_eq!(master.sql("SELECT @@read_only"), "1");
    assert_eq!(warm.sql("SELECT @@read_only"), "0", "the present master goes on");
    assert!(!audit().stderr.contains("fenced:"), "it is as it was");
    set.dbsync(&["status", "Master DB", "--require", "held"], 0);
    warm.sql("INSERT INTO appdb.t VALUES (700, 'a test behind the page')");
    assert_eq!(counted(&price("Master DB")), [Some(1), None]);
    assert_eq!(did(&set.dbsync(&["writes", "opened", "--role", "master"], 0))["changed"], true);
    assert_eq!(did(&set.dbsync(&["writes", "opened", "--role", "master"], 0))["changed"], false);
    warm.sql("INSERT INTO appdb.t VALUES (701, 'user')");
    warm.sql("INSERT INTO appdb.t VALUES (702, 'user')");
    let record = price("Master DB");
    assert_eq!(counted(&record), [Some(2), Some(1)], "{record}");
    assert_eq!(record["since_what"], "promoted");
    let ran = set.dbsync(&["promote", "Master DB", "--json"], 5);
    assert!(
        names(&ran).contains("master fenced") && names(&ran).contains("price accepted"),
        "{ran}"
    );
    set.dbsync(&["writes", "off", "--role", "master"], 0);
    let promote = |server: &'static str, loss: &'static str| -> Vec<&str> {
        ["promote", server, "--json", "--accept-loss", loss].into_iter().chain(NO_BACKUPS).collect()
    };
    let ran = set.dbsync(&promote("Master DB", "1"), 5);
    assert!(names(&ran).ends_with(": price accepted"), "{ran}");
    let ran = set.dbsync(&promote("Master DB", "2"), 0);
    assert_eq!(did(&ran)["after"]["old_master"], "Slave2 DB");
    assert_eq!(did(&set.dbsync(&promote("Master DB", "0"), 0))["changed"], false);
    assert_eq!(master.sql("SELECT @@read_only; SELECT COUNT(remark) FROM appdb.t"), "0\n504");
    assert_eq!(warm.sql("SELECT @@read_only"), "1");
    // the slave that followed it all the while needs no rebuilding
    set.dbsync(&["status", "Slave DB", "--require", "replicating"], 0);
    let mut debts = set.debts();
    debts.retain(|key| !key.starts_with("binlogs"));
    debts.sort();
    assert_eq!(debts, ["fenced:Slave2 DB", "lock:Slave2 DB"]);
    let list = set.scene.tool("rs-server").args(["list", "--role", "master"]).run().exits(0);
    assert!(list.stdout.contains("Master DB") && list.stdout.lines().count() == 1, "{list}");

    // and back once more: all that came after the hold would be lost, also what was counted the first time
    master.sql("INSERT INTO appdb.t VALUES (800, 'user')");
    let record = price("Slave2 DB");
    assert!(record["transactions"].as_u64() > Some(6), "{record}");
    set.dbsync(&["writes", "off", "--role", "master"], 0);
    let ran = set.dbsync(&promote("Slave2 DB", "6"), 5);
    assert!(names(&ran).ends_with(": price accepted"), "{ran}");
    warm.sql("SET GLOBAL read_only=0");
    let ran = set.dbsync(&promote("Slave2 DB", "100"), 5);
    assert!(names(&ran).ends_with(": hold unbroken, read-only since the hold"), "{ran}");
    warm.sql(warm.or("SET GLOBAL read_only=1", "SET GLOBAL super_read_only=1"));
    set.dbsync(&promote("Slave2 DB", "100"), 0);
    assert_eq!(warm.sql("SELECT @@read_only; SELECT MAX(id) FROM appdb.t"), "0\n702");
    let _ = &set.slave;
}
