//! Replication states that lie: `SHOW SLAVE STATUS` says Yes, Yes, 0, or a wait says "reached", and rows are missing.
//! Each is made on real servers and must be refused under its own name. With a tool in which conjuncts can be switched
//! off (`make mutants` names its folder in RS_MUTANTS) each is also seen by its conjunct alone, and seen to pass without it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use rs_contract::{Place, Target};
use rs_model::replica::SYNC;
use rs_tests::{MariaDb, Wire, root, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::tools::dbsync::{Set, set};

const LIMIT: Duration = Duration::from_secs(20);
/// How long the proof may take from its first reading to its last, beyond its waits.
const FRESH: Duration = Duration::from_secs(10);

/// A set, and what is needed to lie about it.
struct World {
    set: Set,
    /// A master of its own.
    other: MariaDb,
    /// Between the warm slave and the master.
    wire: Wire,
    /// Sessions that stay open.
    sessions: std::cell::RefCell<Vec<Child>>,
}

/// How the proof is asked: with the tool as it is, or with conjuncts switched off.
#[derive(Clone, Copy)]
struct How<'a> {
    off: Option<&'a [&'a str]>,
    args: &'a [&'a str],
}

/// A lying state.
struct Lie {
    what: &'static str,
    /// All conjuncts that refuse it, in order. Its own name is `own`.
    refused: &'static [&'static str],
    own: &'static str,
    make: fn(&World),
    args: &'static [&'static str],
    ask: fn(&World, How<'_>) -> Vec<String>,
}

fn lie(what: &'static str, refused: &'static [&'static str], make: fn(&World)) -> Lie {
    Lie { what, refused, own: refused[0], make, args: &["--wait", "1s"], ask }
}

fn mutant() -> Option<String> {
    std::env::var("RS_MUTANTS").ok().map(|folder| format!("{folder}/rs-dbsync"))
}

impl World {
    fn start(&self, how: How<'_>) -> Child {
        let scene = &self.set.scene;
        let call = match (how.off, mutant()) {
            (Some(off), Some(tool)) => {
                scene.call(&tool, "rs-dbsync").env("RS_SWITCHED_OFF", off.join(","))
            }
            _ => scene.tool("rs-dbsync"),
        };
        call.args(["status", "Slave2 DB", "--proof", "--json"]).args(how.args).start()
    }

    /// A session of root on a server that runs this and then sleeps.
    fn session(&self, db: &MariaDb, sql: &str) {
        let child = self
            .set
            .scene
            .call(&rs_tests::program("mariadb").display().to_string(), "session")
            .args(["--no-defaults", "-uroot", "-S", &db.socket.display().to_string(), "-e"])
            .args([format!("{sql}; DO SLEEP(600)")])
            .start();
        self.sessions.borrow_mut().push(child);
        until("the session", LIMIT, || {
            db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'")
                != "0"
        });
    }

    fn end_sessions(&self) {
        for mut child in self.sessions.borrow_mut().drain(..) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for db in [&self.set.master, &self.set.warm] {
            let list = "SELECT ID FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'";
            for id in db.sql(list).lines() {
                db.sql(&format!("KILL {id}"));
            }
            until("the session's end", LIMIT, || db.sql(list).is_empty());
        }
    }
}

/// The conjuncts that an answer refuses, in order; none: it is in sync.
fn refused(out: &Output) -> Vec<String> {
    let (said, told) = (&out.stdout, String::from_utf8_lossy(&out.stderr));
    match out.status.code() {
        Some(0) => return Vec::new(),
        Some(3) => assert!(said.is_empty(), "a gate that says no prints nothing"),
        code => panic!("exit {code:?}: {told}"),
    }
    let error: Json = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let checks = error["found"][0]["checks"].as_array().unwrap();
    let bad: Vec<String> = checks
        .iter()
        .filter(|check| check["answer"] != "ok")
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(bad.iter().all(|name| error["what"].as_str().unwrap().contains(name)), "{told}");
    bad
}

fn ask(world: &World, how: How<'_>) -> Vec<String> {
    refused(&world.start(how).wait_with_output().unwrap())
}

/// Asks while the slave is just connecting, and does something once the master's position was read.
fn ask_and(world: &World, how: How<'_>, meanwhile: fn(&World, &Child)) -> Vec<String> {
    let warm = &world.set.warm;
    heal(world);
    warm.sql("STOP SLAVE");
    follow(warm, &world.wire.address, "");
    world.wire.cut();
    until("the cut", LIMIT, || warm.sql("SHOW SLAVE STATUS").contains("\tConnecting\t"));
    let looks = || {
        let counted = warm.sql("SHOW GLOBAL STATUS LIKE 'Com_show_slave_status'");
        counted.rsplit('\t').next().unwrap().parse::<u64>().unwrap()
    };
    let before = looks();
    let child = world.start(how);
    until("the proof to look at the slave", LIMIT, || looks() > before);
    meanwhile(world, &child);
    refused(&child.wait_with_output().unwrap())
}

fn running(db: &MariaDb) -> bool {
    let status =
        db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE COMMAND LIKE 'Slave%'");
    status != "0" && db.sql("SHOW SLAVE STATUS").contains("\tYes\tYes\t")
}

/// The set as it should be: writes off, the warm slave with all of the master's rows, one source, running.
fn heal(world: &World) {
    let (master, warm) = (&world.set.master, &world.set.warm);
    world.end_sessions();
    world.wire.forward();
    master.sql("SET GLOBAL read_only=1");
    tag(world, false);
    if warm.sql("SELECT @@slave_skip_errors") != "OFF" {
        restart(world, warm, "read-only=1");
    }
    let position = || master.sql("SELECT @@gtid_binlog_pos");
    if position().is_empty() {
        master.sql("REPLACE INTO appdb.t VALUES (600, '')");
    }
    let (position, nonce) = (position(), master.sql("SELECT nonce FROM rs_tools.canary"));
    if warm.sql("SHOW ALL SLAVES STATUS").lines().any(|line| line.starts_with("east\t")) {
        warm.sql("STOP SLAVE 'east'; RESET SLAVE 'east' ALL");
    }
    warm.sql("STOP SLAVE; RESET SLAVE ALL");
    warm.sql(&format!(
        "SET sql_log_bin=0; DELETE FROM appdb.t WHERE id > 500; UPDATE appdb.t SET note='' WHERE id=1; \
         UPDATE rs_tools.canary SET nonce='{nonce}'; SET GLOBAL replicate_wild_ignore_table=''; SET GLOBAL gtid_strict_mode=1; \
         SET GLOBAL server_id={}; RESET MASTER; SET GLOBAL gtid_slave_pos='{position}'",
        warm.server_id
    ));
    master.sql("SET sql_log_bin=0; UPDATE appdb.t SET note='' WHERE id=1");
    for id in master.sql("SELECT id FROM appdb.t WHERE id > 500").lines() {
        warm.sql(&format!("SET sql_log_bin=0; INSERT INTO appdb.t VALUES ({id}, '')"));
    }
    follow(warm, &master.address, "");
}

fn follow(slave: &MariaDb, source: &str, more: &str) {
    slave.sql(&format!(
        "CHANGE MASTER TO MASTER_HOST='{source}', MASTER_PORT=3306, MASTER_USER='repl', MASTER_PASSWORD='repl', \
         MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1{more}; START SLAVE",
    ));
    until("replication", LIMIT, || running(slave));
}

fn restart(world: &World, db: &MariaDb, line: &str) {
    let pid = std::fs::read_to_string(db.dir.join("db.pid")).unwrap();
    // in order: what a kill leaves prepared, a server without its binary log would not start with
    world.set.scene.call("kill", "kill").args(["-TERM", pid.trim()]).run().exits(0);
    until("the server to be gone", LIMIT, || !db.dir.join("db.pid").exists());
    let config = std::fs::read_to_string(db.dir.join("my.cnf")).unwrap();
    std::fs::write(db.dir.join("my.cnf"), format!("{config}{line}\n")).unwrap();
    world.set.scene.start_mariadb(db);
    std::fs::write(db.dir.join("my.cnf"), config).unwrap();
}

fn tag(world: &World, master: bool) {
    let place = Place { cloud: world.set.scene.cloud(), ..Place::default() };
    let cloud = rs_drivers::world(&place).unwrap().cloud;
    let tag = BTreeSet::from(["database:master_active=shop".to_owned()]);
    let (target, none) = (Target::Next("Slave DB".into()), BTreeSet::new());
    let (add, remove) = if master { (&tag, &none) } else { (&none, &tag) };
    cloud.set_tags("production", &target, add, remove).unwrap();
}

fn lies() -> Vec<Lie> {
    vec![
        lie("the applier is stopped and nothing is missing", &["applier runs"], |w| {
            w.set.warm.sql("STOP SLAVE SQL_THREAD");
        }),
        lie("the applier is stopped", &["applier runs", "position applied"], |w| {
            w.set.warm.sql("STOP SLAVE SQL_THREAD");
            w.set.master.sql("INSERT INTO appdb.t VALUES (501, '')");
        }),
        lie("the receiver is stopped and nothing is missing", &["receiver runs"], |w| {
            w.set.warm.sql("STOP SLAVE IO_THREAD");
        }),
        lie("the receiver connects in vain", &["receiver runs", "no errors"], |w| {
            let warm = &w.set.warm;
            warm.sql("STOP SLAVE; CHANGE MASTER TO MASTER_PORT=1; START SLAVE");
            until("the error", LIMIT, || {
                warm.sql("SHOW SLAVE STATUS").contains("error connecting")
            });
        }),
        lie(
            "a row is missing that the master changes",
            &["no errors", "applier runs", "position applied"],
            |w| {
                let (master, warm) = (&w.set.master, &w.set.warm);
                warm.sql("SET sql_log_bin=0; DELETE FROM appdb.t WHERE id=2");
                master.sql("SET binlog_format=ROW; UPDATE appdb.t SET note='changed' WHERE id=2");
                until("the error", LIMIT, || warm.sql("SHOW SLAVE STATUS").contains("1032"));
                warm.sql("SET sql_log_bin=0; INSERT INTO appdb.t VALUES (2, 'changed')");
            },
        ),
        lie("a delay, and nothing to do just now", &["no delay"], |w| {
            w.set.warm.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=3600; START SLAVE");
            until("replication", LIMIT, || running(&w.set.warm));
        }),
        lie(
            "a filter: position and wait say reached, the row is not there",
            &["no filters"],
            |w| {
                let filter = "SET GLOBAL replicate_wild_ignore_table='appdb.t'";
                w.set.warm.sql(&format!("STOP SLAVE; {filter}; START SLAVE"));
                until("replication", LIMIT, || running(&w.set.warm));
                w.set.master.sql("INSERT INTO appdb.t VALUES (502, '')");
            },
        ),
        lie("a domain that is ignored", &["no filters"], |w| {
            w.set.warm.sql("STOP SLAVE");
            follow(&w.set.warm, &w.set.master.address, ", IGNORE_DOMAIN_IDS=(7)");
            w.set.master.sql("SET gtid_domain_id=7; INSERT INTO appdb.t VALUES (503, '')");
        }),
        lie("a stray transaction", &["no errant transaction"], |w| {
            w.set.warm.sql("INSERT INTO appdb.t VALUES (999, '')");
        }),
        lie("a stray transaction behind newer ones", &["no errant transaction"], |w| {
            let (master, warm) = (&w.set.master, &w.set.warm);
            warm.sql(
                "STOP SLAVE; SET GLOBAL gtid_strict_mode=0; INSERT INTO appdb.t VALUES (998, '')",
            );
            master
                .sql("INSERT INTO appdb.t VALUES (504, ''); INSERT INTO appdb.t VALUES (505, '')");
            warm.sql("START SLAVE");
            until("replication", LIMIT, || running(warm));
            until("the rows", LIMIT, || {
                warm.sql("SELECT COUNT(*) FROM appdb.t WHERE id=505") == "1"
            });
        }),
        lie("an UNTIL that is far away", &["no UNTIL"], |w| {
            w.set.warm.sql("STOP SLAVE; START SLAVE UNTIL master_gtid_pos='0-1-99999999'");
            until("replication", LIMIT, || running(&w.set.warm));
        }),
        lie(
            "a second channel, never started",
            &["one channel", "source is the master", "receiver runs", "applier runs"],
            |w| {
                let source = &w.set.slave.address;
                w.set.warm.sql(&format!(
                    "CHANGE MASTER 'east' TO MASTER_HOST='{source}', MASTER_USER='repl'"
                ));
            },
        ),
        lie("only a named channel: STOP SLAVE would stop nothing", &["one channel"], |w| {
            let warm = &w.set.warm;
            warm.sql("STOP SLAVE; RESET SLAVE ALL");
            warm.sql(&format!(
                "CHANGE MASTER 'east' TO MASTER_HOST='{}', MASTER_PORT=3306, MASTER_USER='repl', \
                 MASTER_PASSWORD='repl', MASTER_USE_GTID=slave_pos; START SLAVE 'east'",
                w.set.master.address
            ));
            until("the named channel", LIMIT, || {
                warm.sql("SHOW ALL SLAVES STATUS").contains("\tYes\tYes\t")
            });
        }),
        lie("an old position and no source", &["one channel"], |w| {
            w.set.warm.sql("STOP SLAVE; RESET SLAVE ALL");
        }),
        lie("a relay in between, with the right position", &["source is the master"], |w| {
            let (master, slave, warm) = (&w.set.master, &w.set.slave, &w.set.warm);
            warm.sql("STOP SLAVE");
            let position = master.sql("SELECT @@gtid_binlog_pos");
            until("the relay", LIMIT, || {
                slave.sql("SELECT @@gtid_slave_pos").len() == position.len()
            });
            follow(warm, &slave.address, "");
        }),
        lie("a slave of another master", &["source is the master", "position applied"], |w| {
            let (warm, other) = (&w.set.warm, &w.other);
            let position = other.sql("SELECT @@gtid_binlog_pos");
            warm.sql(&format!(
                "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL gtid_slave_pos='{position}'"
            ));
            follow(warm, &other.address, "");
        }),
        lie("the master's server id", &["own server id"], |w| {
            w.set.warm.sql(&format!("SET GLOBAL server_id={}", w.set.master.server_id));
        }),
        lie("no GTID", &["GTID in use"], |w| {
            let log = w.set.master.sql("SHOW MASTER STATUS");
            let mut at = log.split('\t');
            let (file, pos) = (at.next().unwrap(), at.next().unwrap());
            w.set.warm.sql(&format!(
                "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=no, MASTER_LOG_FILE='{file}', \
                 MASTER_LOG_POS={pos}; START SLAVE"
            ));
            until("replication", LIMIT, || running(&w.set.warm));
        }),
        lie("the master was opened again and nobody has written yet", &["master frozen"], |w| {
            w.set.master.sql("SET GLOBAL read_only=0");
        }),
        lie("a long statement is still open on the master", &["master frozen"], |w| {
            w.session(&w.set.master, "BEGIN; INSERT INTO appdb.t VALUES (506, '')");
        }),
        lie("the network is frozen, without a reset", &["position applied"], |w| {
            w.set.warm.sql("STOP SLAVE");
            follow(&w.set.warm, &w.wire.address, "");
            w.wire.freeze();
            w.set.master.sql("INSERT INTO appdb.t VALUES (507, '')");
        }),
        lie("the applier waits for a lock", &["position applied"], |w| {
            w.session(&w.set.warm, "LOCK TABLES appdb.t WRITE");
            w.set.master.sql("INSERT INTO appdb.t VALUES (508, '')");
        }),
        Lie {
            args: &["--wait", "1s", "--checksum", "all"],
            ..lie("rows changed past the binary log", &["rows equal"], |w| {
                w.set.master.sql("SET sql_log_bin=0; UPDATE appdb.t SET note='x' WHERE id=1");
                let (unseen, seen) = (["--wait", "1s"], ["--wait", "1s", "--checksum", "t"]);
                let ask_with = |args: &[&str]| ask(w, How { off: None, args });
                assert_eq!(ask_with(&unseen), [""; 0], "no position shows it");
                assert_eq!(ask_with(&seen), ["rows equal"]);
                let none = ["--wait", "1s", "--checksum", "appdb.nowhere"];
                assert_eq!(ask_with(&none), ["rows equal"], "a table that is not there");
            })
        },
        Lie {
            args: &["--wait", "5s"],
            ask: |w, how| {
                ask_and(w, how, |w, _| {
                    let (master, warm) = (&w.set.master, &w.set.warm);
                    // it arrives, and cannot be applied before the proof's end: only the master has moved
                    w.session(warm, "LOCK TABLES appdb.t WRITE");
                    let id = master.sql("SELECT MAX(id) + 1 FROM appdb.t");
                    master.sql(&format!("INSERT INTO appdb.t VALUES ({id}, '')"));
                    w.wire.forward();
                })
            },
            ..lie("the master changed under the proof", &["master's position unchanged"], |_| {})
        },
        Lie {
            args: &["--wait", "2s"],
            ask: |w, how| {
                ask_and(w, how, |w, child| {
                    let pid = Pid::from_child(child);
                    kill_process(pid, Signal::STOP).unwrap();
                    let stopped = Instant::now();
                    w.wire.forward();
                    until("replication", LIMIT, || running(&w.set.warm));
                    let enough = FRESH + Duration::from_secs(3);
                    until("the readings to be old", LIMIT, || stopped.elapsed() > enough);
                    kill_process(pid, Signal::CONT).unwrap();
                })
            },
            ..lie("the proof was stopped half way", &["readings fresh"], |_| {})
        },
        lie("two servers are tagged as the master", &["one master"], |w| tag(w, true)),
        lie("a restored twin of the master as source", &["canary seen"], |w| {
            // its ids, its position to the last digit, and another row under the last number
            let (set, master, warm) = (&w.set, &w.set.master, &w.set.warm);
            let twin = set.scene.replica_of(master, "twin");
            twin.sql(&format!(
                "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL server_id={}",
                master.server_id
            ));
            set.dbsync(&["writes", "on", "Master DB"], 0);
            warm.sql("STOP SLAVE");
            set.dbsync(&["writes", "off", "Master DB"], 0);
            twin.sql("SET GLOBAL read_only=0; INSERT INTO appdb.t VALUES (777, 'twin')");
            let theirs = twin.sql("SELECT @@gtid_binlog_pos");
            let ours = master.sql("SELECT @@gtid_binlog_pos");
            assert!(ours.contains(&theirs), "the same number: {theirs}");
            follow(warm, &twin.address, "");
            until("the twin's row", LIMIT, || {
                warm.sql("SELECT COUNT(*) FROM appdb.t WHERE id=777") == "1"
            });
        }),
        lie("errors are skipped", &["no errors skipped"], |w| {
            let warm = &w.set.warm;
            restart(w, warm, "slave-skip-errors=1062\nread-only=1");
            until("replication", LIMIT, || running(warm));
        }),
        lie(
            "numbers began anew: the wait says reached, the row is not there",
            &["position applied", "receiver runs", "no errors", "no errant transaction"],
            |w| {
                let warm = &w.set.warm;
                // it has a log of its own to be compared
                w.set.master.sql("INSERT INTO appdb.t VALUES (701, '')");
                until("the row", LIMIT, || {
                    warm.sql("SELECT COUNT(*) FROM appdb.t WHERE id=701") == "1"
                });
                w.set.master.sql("RESET MASTER; INSERT INTO appdb.t VALUES (702, '')");
                warm.sql("STOP SLAVE IO_THREAD; START SLAVE IO_THREAD");
                until("the error", LIMIT, || warm.sql("SHOW SLAVE STATUS").contains("\t1236\t"));
            },
        ),
        lie(
            "RESET MASTER: the empty position counts as reached everywhere",
            &["master's position read"],
            |w| {
                w.set.master.sql("RESET MASTER");
                w.set.warm.sql("RESET MASTER");
            },
        ),
        lie(
            "a master without a binary log",
            &["master's position read", "receiver runs", "no errors"],
            |w| {
                restart(w, &w.set.master, "skip-log-bin\nread-only=1");
                let warm = &w.set.warm;
                warm.sql("STOP SLAVE; START SLAVE");
                until("the error", LIMIT, || warm.sql("SHOW SLAVE STATUS").contains("\t1236\t"));
            },
        ),
    ]
}

/// One row of docs/PROOFS.md.
struct Seen {
    own: &'static str,
    what: &'static str,
    refused: BTreeSet<String>,
}

#[test]
fn every_lying_state_is_refused_by_its_own_name() {
    let set = set("lies");
    let other = set.scene.mariadb("other");
    other.sql("CREATE DATABASE appdb; CREATE TABLE appdb.t (id INT PRIMARY KEY) ENGINE=InnoDB");
    let wire = Wire::new(set.scene.address(), &set.master.address, set.master.port);
    let world = World { set, other, wire, sessions: std::cell::RefCell::default() };
    let only = std::env::var("RS_LIE").ok();
    world.set.dbsync(&["writes", "off", "Master DB"], 0);
    world.set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    let (mut seen, mut wrong) = (Vec::new(), Vec::new());
    for lie in lies() {
        if only.as_ref().is_some_and(|only| !lie.what.contains(only.as_str())) {
            continue;
        }
        heal(&world);
        world.set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
        (lie.make)(&world);
        let mut expect = |off: Option<&[&str]>, wanted: &[&str], how: &str| {
            let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            let found: BTreeSet<String> =
                (lie.ask)(&world, How { off, args: lie.args }).into_iter().collect();
            if found != wanted {
                wrong.push(format!("{} ({how}): {found:?} and not {wanted:?}", lie.what));
            }
            found
        };
        let refused = expect(None, lie.refused, "as it is");
        if mutant().is_some() {
            let others: Vec<&str> = SYNC.iter().copied().filter(|name| *name != lie.own).collect();
            expect(Some(&others), &[lie.own], "all others switched off");
            expect(Some(lie.refused), &[], "these switched off");
        } else {
            // what is installed knows no such switch
            let all = expect(Some(&SYNC), lie.refused, "asked to look away");
            assert_eq!(all, refused);
        }
        seen.push(Seen { own: lie.own, what: lie.what, refused });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if only.is_some() {
        return;
    }
    for name in SYNC {
        assert!(seen.iter().any(|seen| seen.own == name), "no lying state has the name {name}");
    }
    if mutant().is_some() {
        let version = world.set.warm.sql("SELECT VERSION()");
        std::fs::write(root().join("docs/PROOFS.md"), table(&seen, &version)).unwrap();
    }
}

/// What a slave says: whether both threads run, and how far behind it is.
fn says(db: &MariaDb) -> (bool, String) {
    let status = db.sql("SHOW SLAVE STATUS");
    let columns: Vec<&str> = status.split('\t').collect();
    (columns[10..=11] == ["Yes", "Yes"], columns[32].to_owned())
}

#[test]
fn two_slaves_with_one_server_id_prove_nothing() {
    let set = set("lies-twins");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    set.warm.sql(&format!("STOP SLAVE; SET GLOBAL server_id={}; START SLAVE", set.slave.server_id));
    // its master ends the connection of one for the other: for moments each says that all is well
    until("the twin to say that all is well", LIMIT, || says(&set.warm) == (true, "0".into()));
    let out = set
        .scene
        .tool("rs-dbsync")
        .args(["status", "Slave2 DB", "--proof", "--wait", "1s", "--json"])
        .start()
        .wait_with_output()
        .unwrap();
    let bad = refused(&out);
    assert!(bad.contains(&"own server id".to_owned()), "{bad:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("Slave DB has the slave's"));
}

#[test]
fn a_master_that_is_frozen_under_the_proof_is_no_proof_though_its_slave_says_zero() {
    let set = set("lies-frozen");
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    let (master, warm) = (&set.master, &set.warm);
    let pid = std::fs::read_to_string(master.dir.join("db.pid")).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let ask = || {
        let args = ["status", "Slave2 DB", "--proof", "--wait", "30s", "--json"];
        set.scene.tool("rs-dbsync").args(args).start()
    };
    // a lock keeps the proof waiting until the master is frozen
    let mut lock = set
        .scene
        .call(&rs_tests::program("mariadb").display().to_string(), "lock")
        .args(["--no-defaults", "-uroot", "-S", &warm.socket.display().to_string(), "-e"])
        .args(["LOCK TABLES appdb.t WRITE; DO SLEEP(600)"])
        .start();
    let running = |text: &str| {
        warm.sql(&format!(
            "SELECT COUNT(*) FROM information_schema.processlist \
             WHERE ID <> CONNECTION_ID() AND INFO LIKE '%{text}%'"
        ))
    };
    until("the lock", LIMIT, || running("DO SLEEP(600)") == "1");
    master.sql("INSERT INTO appdb.t VALUES (501, '')");
    let proof = ask();
    until("the proof to wait", LIMIT, || running("MASTER_GTID_WAIT(") == "1");
    kill_process(pid, Signal::STOP).unwrap();
    lock.kill().unwrap();
    lock.wait().unwrap();
    // no reset: the slave has all that it got, and says Yes, Yes, 0
    let out = proof.wait_with_output().unwrap();
    assert_eq!(says(warm), (true, "0".to_owned()));
    let bad = refused(&out);
    assert!(bad.contains(&"master's position unchanged".to_owned()), "{bad:?}");
    // frozen from the beginning: nobody there, which is no proof either
    let out = ask().wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(7), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(out.stdout.is_empty());
    kill_process(pid, Signal::CONT).unwrap();
    set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
}

/// docs/PROOFS.md.
fn table(seen: &[Seen], version: &str) -> String {
    let day = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().unwrap().stdout;
    let mut text = format!(
        "# Proofs\n\nWritten by `make mutants` on {}, {version}; do not edit it by hand.\n\n\
         `rs-dbsync status --proof` is a conjunction. Each row is a lying state made on real servers. It was\n\
         *refused* by the tool as it is installed, under the names of the second column; *alone*: refused by its own\n\
         conjunct with all others switched off; *passes*: taken for in sync, exit 0, once the conjuncts of the second\n\
         column are switched off. Switches are there in a build for this table only.\n\n\
         | conjunct | refused as | lying state | refused | alone | passes |\n|---|---|---|---|---|---|\n",
        String::from_utf8_lossy(&day).trim()
    );
    for name in SYNC {
        for row in seen.iter().filter(|seen| seen.own == name) {
            let all: Vec<&str> = row.refused.iter().map(String::as_str).collect();
            let what = row.what;
            writeln!(text, "| {name} | {} | {what} | seen | seen | seen |", all.join(", "))
                .unwrap();
        }
    }
    text.push_str(
        "\n`no errors` never stands alone on real servers: what ends with an error runs no longer.\n",
    );
    text
}

#[test]
fn docs_proofs_has_a_row_for_each_lie_and_its_conjuncts() {
    let text = std::fs::read_to_string(root().join("docs/PROOFS.md")).unwrap();
    for lie in lies() {
        let row = text
            .lines()
            .find(|line| line.contains(&format!("| {} |", lie.what)))
            .unwrap_or_else(|| panic!("{} is not in docs/PROOFS.md: make mutants", lie.what));
        assert!(row.starts_with(&format!("| {} |", lie.own)), "{row}: make mutants");
        assert!(lie.refused.iter().all(|name| row.contains(name)), "{row}: make mutants");
    }
}
