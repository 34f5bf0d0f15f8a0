//! The servers that the lies are told on, and how they are put right again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::Child;
use std::time::Duration;

use rs_contract::{Place, Target};
use rs_tests::{Db, Engines, Session, Wire, until};
use rustix::process::{Pid, Signal, kill_process};

use crate::tools::dbsync::{Set, set_on};

pub const LIMIT: Duration = Duration::from_secs(20);

/// How the proof is asked: its arguments, and the conjuncts that the tool is told to switch off.
pub struct How {
    pub off: Vec<&'static str>,
    pub args: &'static [&'static str],
}

/// A set whose writes are off, and what is needed to lie about it.
pub struct World {
    pub set: Set,
    /// A master of its own.
    pub other: Db,
    /// Between the warm slave and the master.
    pub wire: Wire,
    /// Sessions that stay open until the state is over.
    sessions: RefCell<Vec<Session>>,
    /// Servers that run with an option that they must not keep.
    altered: RefCell<Vec<Db>>,
}

/// The folder of tools in which conjuncts can be switched off.
pub fn mutant() -> Option<String> {
    std::env::var("RS_MUTANTS").ok().map(|folder| format!("{folder}/rs-dbsync"))
}

pub fn pid(db: &Db) -> Pid {
    let pid = std::fs::read_to_string(db.dir.join("db.pid")).unwrap();
    Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
}

/// Whether both threads of a slave run.
pub fn running(db: &Db) -> bool {
    let threads = "SELECT COUNT(*) FROM information_schema.processlist WHERE COMMAND LIKE 'Slave%'";
    // MariaDB says so before the threads are there
    (db.engine == Engines::Newer || db.sql(threads) != "0") && shows(db, "\tYes\tYes\t")
}

/// Whether a slave's status holds this; a line for each channel.
pub fn shows(db: &Db, text: &str) -> bool {
    let status = db.sql(db.or("SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS"));
    format!("\n{status}").contains(text)
}

/// What a slave says: whether both threads run, and how far behind it is. The columns stand alike on both engines.
pub fn says(db: &Db) -> (bool, String) {
    let status = db.asked("SHOW REPLICA STATUS").unwrap();
    let columns: Vec<&str> = status.lines().nth(1).unwrap().split('\t').collect();
    (columns[10..=11] == ["Yes", "Yes"], columns[32].to_owned())
}

pub fn there(db: &Db, id: u32) -> bool {
    db.sql(&format!("SELECT COUNT(*) FROM appdb.t WHERE id={id}")) == "1"
}

/// A statement about a named channel.
pub fn of(db: &Db, statement: &str, channel: &str) -> String {
    match db.engine {
        Engines::Host => format!("{statement} '{channel}'"),
        Engines::Newer => format!("{statement} FOR CHANNEL '{channel}'"),
    }
}

/// Options of a source in MariaDB's words, said in the server's own.
pub fn source(db: &Db, channel: Option<&str>, options: &str) -> String {
    let channel = channel.map(|name| format!("'{name}'"));
    match db.engine {
        Engines::Host => format!("CHANGE MASTER {} TO {options}", channel.unwrap_or_default()),
        Engines::Newer => format!(
            "CHANGE REPLICATION SOURCE TO {}{}",
            options.replace("MASTER_", "SOURCE_"),
            channel.map(|name| format!(" FOR CHANNEL {name}")).unwrap_or_default()
        ),
    }
}

/// Follows an address that need not be a server's own.
pub fn follow(slave: &Db, address: &str) {
    slave.follow(&Db { address: address.to_owned(), ..slave.clone() }, "");
    until("replication", LIMIT, || running(slave));
}

/// Stops replication, says something, starts it, and waits until it runs as if nothing were wrong.
pub fn again(slave: &Db, change: &str) {
    slave.sql(&format!("STOP REPLICA; {change}; START REPLICA"));
    until("replication", LIMIT, || running(slave));
}

impl World {
    pub fn new(engines: Engines) -> World {
        let set = set_on(engines, "lies");
        let other = set.scene.database("other");
        other.sql("CREATE DATABASE appdb; CREATE TABLE appdb.t (id INT PRIMARY KEY) ENGINE=InnoDB");
        let wire = Wire::new(set.scene.address(), &set.master.address, set.master.port);
        set.dbsync(&["writes", "off", "Master DB"], 0);
        set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
        World { set, other, wire, sessions: RefCell::default(), altered: RefCell::default() }
    }

    /// The master and the warm slave.
    pub fn both(&self) -> (&Db, &Db) {
        (&self.set.master, &self.set.warm)
    }

    pub fn start(&self, how: &How) -> Child {
        let scene = &self.set.scene;
        let call = match mutant() {
            Some(tool) => scene.call(&tool, "rs-dbsync"),
            None => scene.tool("rs-dbsync"),
        };
        call.args(["status", "Slave2 DB", "--proof", "--json"])
            .args(how.args)
            .env("RS_SWITCHED_OFF", how.off.join(","))
            .start()
    }

    /// A row that the master wrote though nobody may.
    pub fn row(&self, id: u32) {
        self.set.master.force(&format!("USE appdb; INSERT INTO t VALUES ({id}, '')"));
    }

    pub fn session(&self, db: &Db, sql: &str) {
        self.sessions.borrow_mut().push(db.session(sql));
    }

    pub fn end_sessions(&self) {
        self.sessions.borrow_mut().drain(..).for_each(Session::end);
    }

    /// Starts a server again with one more option, which it keeps as long as the state lasts.
    pub fn restart_with(&self, db: &Db, option: &str) {
        self.restart(db, option);
        self.altered.borrow_mut().push(db.clone());
    }

    fn restart(&self, db: &Db, option: &str) {
        let down = db.dir.join("db.pid");
        // in order: what a kill leaves prepared, a server without its binary log would not start with
        kill_process(pid(db), Signal::TERM).unwrap();
        until("the server to be gone", LIMIT, || !down.exists());
        let file = db.dir.join("my.cnf");
        let config = std::fs::read_to_string(&file).unwrap();
        let lock = db.or("read-only=1", "super-read-only=1");
        std::fs::write(&file, format!("{config}{option}\n{lock}\nevent-scheduler=OFF\n")).unwrap();
        self.set.scene.start_database(db);
        std::fs::write(&file, config).unwrap();
    }

    /// Whether a second server is tagged as the master.
    pub fn tag(&self, master: bool) {
        let place = Place { cloud: self.set.scene.cloud(), ..Place::default() };
        let cloud = rs_drivers::world(&place).unwrap().cloud;
        let tag = BTreeSet::from(["database:master_active=shop".to_owned()]);
        let (target, none) = (Target::Next("Slave DB".into()), BTreeSet::new());
        let (add, remove) = if master { (&tag, &none) } else { (&none, &tag) };
        cloud.set_tags("production", &target, add, remove).unwrap();
    }

    /// The set as it should be: writes off, the warm slave with all of the master's rows, one source, running.
    pub fn heal(&self) {
        let (master, warm) = self.both();
        let _ = kill_process(pid(master), Signal::CONT);
        self.end_sessions();
        self.wire.forward();
        self.tag(false);
        for db in self.altered.take() {
            self.restart(&db, "");
        }
        master.sql(master.or("SET GLOBAL read_only=1", "SET GLOBAL super_read_only=1"));
        if master.position().is_empty() {
            master.force("REPLACE INTO appdb.t VALUES (600, '')");
        }
        master.force("SET sql_log_bin=0; UPDATE appdb.t SET note='' WHERE id=1");
        let rows: String = master
            .sql("SELECT id, note FROM appdb.t WHERE id IN (1, 2) OR id > 500")
            .lines()
            .map(|row| row.split_once('\t').unwrap_or((row, "")))
            .map(|(id, note)| format!("REPLACE INTO appdb.t VALUES ({id}, '{note}'); "))
            .collect();
        // it is given the position of the canary, so it is given the canary
        let nonce = master.sql("SELECT nonce FROM rs_tools.canary");
        if warm.engine == Engines::Host && shows(warm, "\neast\t") {
            warm.sql("STOP SLAVE 'east'; RESET SLAVE 'east' ALL");
        }
        let (unlearn, position) = (
            warm.or(
                "SET GLOBAL replicate_wild_ignore_table=''; SET GLOBAL replicate_rewrite_db=''; \
                 SET GLOBAL replicate_events_marked_for_skip='REPLICATE'; SET GLOBAL slave_type_conversions=''; \
                 SET GLOBAL slave_exec_mode='STRICT'; SET GLOBAL sql_slave_skip_counter=0; \
                 SET GLOBAL gtid_strict_mode=1; RESET MASTER",
                "CHANGE REPLICATION FILTER REPLICATE_WILD_IGNORE_TABLE=(), REPLICATE_REWRITE_DB=(); \
                 SET GLOBAL replica_exec_mode='STRICT'; SET GLOBAL replica_type_conversions=''; SET GLOBAL sql_replica_skip_counter=0; RESET BINARY LOGS AND GTIDS",
            ),
            warm.or("gtid_slave_pos", "gtid_purged"),
        );
        warm.force(&format!(
            "STOP REPLICA; RESET REPLICA ALL; SET sql_log_bin=0; DROP DATABASE IF EXISTS elsewhere; \
             ALTER TABLE appdb.t MODIFY note VARCHAR(200), ENGINE=InnoDB; DELETE FROM appdb.t WHERE id > 500; {rows} UPDATE rs_tools.canary SET nonce='{nonce}'; \
             SET GLOBAL server_id={}; {unlearn}; SET GLOBAL {position}='{}'",
            warm.server_id,
            master.position()
        ));
        follow(warm, &master.address);
        let slave = &self.set.slave;
        if !shows(slave, "\tYes\tYes\t") {
            slave.sql("STOP REPLICA; START REPLICA");
        }
    }
}
