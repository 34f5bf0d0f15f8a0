//! The table of lying states: what is wrong, which conjuncts refuse it, and how it is made on either engine.

use std::process::Child;
use std::time::{Duration, Instant};

use rs_tests::{Engines, until};
use rustix::process::{Pid, Signal, kill_process};

use super::world::{
    How, LIMIT, World, again, follow, of, pid, running, says, shows, source, there,
};
use super::{ask, refused};

/// How long the proof may take from its first reading to its last, beyond its waits.
const FRESH: Duration = Duration::from_secs(10);
const SHORT: &[&str] = &["--wait", "1s"];

/// A lying state.
pub struct Lie {
    pub what: &'static str,
    /// All conjuncts that refuse it on MariaDB, and on MySQL. Its own name comes first.
    refused: [&'static [&'static str]; 2],
    pub make: fn(&World),
    pub args: &'static [&'static str],
    /// Asks in each of these ways, in any order or at once.
    pub ask: fn(&World, &[How]) -> Vec<Vec<String>>,
    /// Which engine has no such state, and the statement for it that the server refuses, or answers with 0.
    pub cannot: Option<(Engines, &'static str)>,
    /// Whether all but its own conjunct come and go.
    pub flaps: bool,
}

impl Lie {
    pub fn refused(&self, engines: Engines) -> &'static [&'static str] {
        self.refused[usize::from(engines == Engines::Newer)]
    }

    pub fn own(&self) -> &'static str {
        self.refused[0][0]
    }

    /// More, or fewer, refuse it on MySQL.
    fn on_mysql(self, refused: &'static [&'static str]) -> Lie {
        assert_eq!(refused[0], self.own(), "{}", self.what);
        Lie { refused: [self.refused[0], refused], ..self }
    }

    fn not_on(self, engines: Engines, statement: &'static str) -> Lie {
        Lie { cannot: Some((engines, statement)), ..self }
    }

    fn asked(self, args: &'static [&'static str]) -> Lie {
        Lie { args, ..self }
    }

    fn by(self, ask: fn(&World, &[How]) -> Vec<Vec<String>>) -> Lie {
        Lie { ask, ..self }
    }
}

fn lie(what: &'static str, refused: &'static [&'static str], make: fn(&World)) -> Lie {
    let refused = [refused; 2];
    Lie { what, refused, make, args: SHORT, ask, cannot: None, flaps: false }
}

/// Asks while the slave is just connecting, and does something once the master's position was read.
fn ask_and(world: &World, hows: &[How], meanwhile: fn(&World, &Child)) -> Vec<Vec<String>> {
    let warm = &world.set.warm;
    let counter = warm.or("Com_show_slave_status", "Com_show_replica_status");
    let looks = || {
        let counted = warm.sql(&format!("SHOW GLOBAL STATUS LIKE '{counter}'"));
        counted.rsplit('\t').next().unwrap().parse::<u64>().unwrap()
    };
    let each = |how| {
        world.heal();
        warm.sql("STOP REPLICA");
        follow(warm, &world.wire.address);
        world.wire.cut();
        until("the cut", LIMIT, || shows(warm, "\tConnecting\t"));
        let before = looks();
        let child = world.start(how);
        until("the proof to look at the slave", LIMIT, || looks() > before);
        meanwhile(world, &child);
        refused(&child.wait_with_output().unwrap())
    };
    hows.iter().map(each).collect()
}

/// Asks while a lock keeps the applier waiting, and freezes the master once all wait for its position.
fn ask_and_freeze(world: &World, hows: &[How]) -> Vec<Vec<String>> {
    let (master, warm) = world.both();
    world.session(warm, "LOCK TABLES appdb.t READ");
    world.row(509);
    // a receiver that is connected may have got nothing yet
    let behind_it = "SELECT COUNT(*) FROM information_schema.processlist WHERE STATE LIKE 'Waiting for table%lock'";
    until("the applier to wait", LIMIT, || warm.sql(behind_it) == "1");
    let children: Vec<Child> = hows.iter().map(|how| world.start(how)).collect();
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE ID <> CONNECTION_ID() AND INFO LIKE '%{}(%'",
        warm.or("MASTER_GTID_WAIT", "WAIT_FOR_EXECUTED_GTID_SET")
    );
    until("the proof to wait", LIMIT, || warm.sql(&waiting) == hows.len().to_string());
    kill_process(pid(master), Signal::STOP).unwrap();
    world.end_sessions();
    let answers = children.into_iter().map(|child| refused(&child.wait_with_output().unwrap()));
    let answers = answers.collect();
    // no reset: the slave has all that it got, and says Yes, Yes, 0
    assert_eq!(says(warm), (true, "0".to_owned()));
    kill_process(pid(master), Signal::CONT).unwrap();
    answers
}

pub fn lies() -> Vec<Lie> {
    let mut all = threads();
    all.extend(options());
    all.extend(sources());
    all.extend(masters());
    all.extend(moments());
    all.extend(new_histories());
    all
}

/// Of the two threads.
fn threads() -> Vec<Lie> {
    vec![
        lie("the applier is stopped and nothing is missing", &["applier runs"], |w| {
            w.set.warm.sql("STOP REPLICA SQL_THREAD");
        }),
        lie("the applier is stopped", &["applier runs", "position applied"], |w| {
            w.set.warm.sql("STOP REPLICA SQL_THREAD");
            w.row(501);
        }),
        lie("the receiver is stopped and nothing is missing", &["receiver runs"], |w| {
            w.set.warm.sql("STOP REPLICA IO_THREAD");
        }),
        lie("the receiver connects in vain", &["receiver runs", "no errors"], |w| {
            let warm = &w.set.warm;
            let nobody = source(warm, None, "MASTER_PORT=1");
            warm.sql(&format!("STOP REPLICA; {nobody}; START REPLICA"));
            until("the error", LIMIT, || shows(warm, "rror connecting"));
        })
        // another port is another source there, of which nothing is known yet
        .on_mysql(&["receiver runs", "no errors", "source is the master"]),
        lie(
            "the receiver is dead of an error",
            &["receiver runs", "no errors", "own server id"],
            |w| {
                let (master, warm) = w.both();
                let same = format!("SET GLOBAL server_id={}", master.server_id);
                warm.sql(&format!("STOP REPLICA; RESET REPLICA ALL; {same}"));
                warm.follow(master, "");
                until("the error", LIMIT, || {
                    shows(warm, warm.or("equal MariaDB server ids", "equal MySQL server ids"))
                });
                assert_eq!(says(warm), (false, warm.or("NULL", "0").to_owned()));
            },
        ),
        lie(
            "a row is missing that the master changes",
            &["no errors", "applier runs", "position applied"],
            |w| {
                let (master, warm) = w.both();
                warm.force("SET sql_log_bin=0; DELETE FROM appdb.t WHERE id=2");
                let at = master.position();
                master.force(&format!(
                    "SET binlog_format=ROW; UPDATE appdb.t SET note='changed after {at}' WHERE id=2"
                ));
                until("the error", LIMIT, || shows(warm, "1032"));
            },
        ),
        lie("the applier waits for a lock", &["position applied"], |w| {
            let warm = &w.set.warm;
            w.session(warm, "LOCK TABLES appdb.t READ");
            w.row(508);
            // MySQL says that it has read all
            until("the applier's word", LIMIT, || {
                shows(warm, warm.or("metadata lock", "Replica has read all relay log"))
            });
        }),
        Lie {
            flaps: true,
            ..lie(
                "two slaves with one server id",
                &["own server id", "receiver runs", "no errors", "position applied"],
                |w| {
                    let (slave, warm) = (&w.set.slave, &w.set.warm);
                    // their master ends the connection of one for the other: at times each says that all is well
                    again(warm, &format!("SET GLOBAL server_id={}", slave.server_id));
                    until("the twin to say that all is well", LIMIT, || {
                        says(warm) == (true, "0".to_owned())
                    });
                },
            )
        },
    ]
}

/// Of what a slave is told.
fn options() -> Vec<Lie> {
    vec![
        lie("a delay, and nothing to do just now", &["no delay"], |w| {
            let warm = &w.set.warm;
            again(warm, &source(warm, None, "MASTER_DELAY=3600"));
        }),
        lie(
            "a filter: position and wait say reached, the row is not there",
            &["no filters"],
            |w| {
                let warm = &w.set.warm;
                again(
                    warm,
                    warm.or(
                        "SET GLOBAL replicate_wild_ignore_table='appdb.t'",
                        "CHANGE REPLICATION FILTER REPLICATE_WILD_IGNORE_TABLE=('appdb.t')",
                    ),
                );
                w.row(502);
            },
        ),
        lie("a schema that is renamed on its way", &["no filters"], |w| {
            let warm = &w.set.warm;
            warm.force("SET sql_log_bin=0; CREATE DATABASE elsewhere; CREATE TABLE elsewhere.t LIKE appdb.t");
            again(
                warm,
                warm.or(
                    "SET GLOBAL replicate_rewrite_db='appdb->elsewhere'",
                    "CHANGE REPLICATION FILTER REPLICATE_REWRITE_DB=((appdb, elsewhere))",
                ),
            );
            w.row(514);
            until("the row", LIMIT, || warm.sql("SELECT COUNT(*) FROM elsewhere.t") == "1");
        }),
        lie("a domain that is ignored", &["no filters"], |w| {
            let warm = &w.set.warm;
            again(warm, "CHANGE MASTER TO IGNORE_DOMAIN_IDS=(7)");
            w.set.master.sql("SET gtid_domain_id=7; INSERT INTO appdb.t VALUES (503, '')");
        })
        .not_on(Engines::Newer, "CHANGE REPLICATION SOURCE TO IGNORE_DOMAIN_IDS=(7)"),
        lie("the slave drops what its master marks: the row is not there", &["no filters"], |w| {
            drops_marked(w, "FILTER_ON_SLAVE", 515);
        })
        .not_on(Engines::Newer, "SET GLOBAL replicate_events_marked_for_skip='FILTER_ON_SLAVE'"),
        lie("the master keeps back what it marks: the row is not there", &["no filters"], |w| {
            drops_marked(w, "FILTER_ON_MASTER", 518);
        })
        .not_on(Engines::Newer, "SET GLOBAL replicate_events_marked_for_skip='FILTER_ON_MASTER'"),
        lie("an UNTIL that is far away", &["no UNTIL"], |w| {
            let (master, warm) = w.both();
            let until_then = match warm.engine {
                Engines::Host => "master_gtid_pos='0-1-99999999'".to_owned(),
                Engines::Newer => {
                    format!("SQL_AFTER_GTIDS='{}:1-99999999'", master.sql("SELECT @@server_uuid"))
                }
            };
            warm.sql(&format!("STOP REPLICA; START REPLICA UNTIL {until_then}"));
            until("replication", LIMIT, || running(warm));
        }),
        lie("no GTID", &["GTID in use"], |w| {
            let (master, warm) = w.both();
            let log = master.sql(master.or("SHOW MASTER STATUS", "SHOW BINARY LOG STATUS"));
            let mut at = log.split('\t');
            let (file, pos) = (at.next().unwrap(), at.next().unwrap());
            let none = warm.or("MASTER_USE_GTID=no", "MASTER_AUTO_POSITION=0");
            let place = format!("{none}, MASTER_LOG_FILE='{file}', MASTER_LOG_POS={pos}");
            again(warm, &source(warm, None, &place));
        }),
        lie("errors are skipped", &["no errors skipped"], |w| {
            let warm = &w.set.warm;
            w.restart_with(warm, warm.or("slave-skip-errors=1062", "replica-skip-errors=1062"));
            until("replication", LIMIT, || running(warm));
        }),
        lie(
            "what does not fit is passed over: the row is not there",
            &["no errors skipped"],
            |w| {
                let (master, warm) = w.both();
                again(
                    warm,
                    warm.or(
                        "SET GLOBAL slave_exec_mode='IDEMPOTENT'",
                        "SET GLOBAL replica_exec_mode='IDEMPOTENT'",
                    ),
                );
                warm.force("SET sql_log_bin=0; DELETE FROM appdb.t WHERE id=2");
                let at = master.position();
                master.force(&format!(
                "SET binlog_format=ROW; UPDATE appdb.t SET note='passed over after {at}' WHERE id=2"
            ));
            },
        ),
        lie("values that do not fit are cut", &["no errors skipped", "same schema"], |w| {
            let (master, warm) = w.both();
            let lossy = warm.or("slave_type_conversions", "replica_type_conversions");
            again(warm, &format!("SET GLOBAL {lossy}='ALL_LOSSY'"));
            warm.force("SET sql_log_bin=0; ALTER TABLE appdb.t MODIFY note VARCHAR(120)");
            master
                .force("SET binlog_format=ROW; INSERT INTO appdb.t VALUES (516, REPEAT('x', 150))");
            until("the cut row", LIMIT, || {
                warm.sql("SELECT LENGTH(note) FROM appdb.t WHERE id=516") == "120"
            });
        }),
        lie("the next transaction will be skipped", &["no errors skipped"], |w| {
            again(&w.set.warm, "SET GLOBAL sql_slave_skip_counter=1");
        })
        // its START forgets the number where GTIDs are used, and skips nothing
        .not_on(
            Engines::Newer,
            "STOP REPLICA; SET GLOBAL sql_replica_skip_counter=1; START REPLICA; \
             SELECT @@global.sql_replica_skip_counter",
        ),
        lie("the master's server id", &["own server id"], |w| {
            w.set.warm.sql(&format!("SET GLOBAL server_id={}", w.set.master.server_id));
        }),
    ]
}

/// A slave that is told so passes over what a session of the master has marked, and reaches the position all the same.
fn drops_marked(w: &World, how: &str, id: u32) {
    let (master, warm) = w.both();
    again(warm, &format!("SET GLOBAL replicate_events_marked_for_skip='{how}'"));
    master.sql(&format!("SET skip_replication=1; INSERT INTO appdb.t VALUES ({id}, '')"));
    // of what its master keeps back it gets no number either: the next one that arrives says where it stands
    w.row(id + 4);
    let position = master.position();
    until("the position", LIMIT, || warm.applied() == position);
    assert!(!there(warm, id));
}

/// Of where a slave gets its rows from, and what it has that nobody sent.
fn sources() -> Vec<Lie> {
    vec![
        lie(
            "a second channel, never started",
            &["one channel", "source is the master", "receiver runs", "applier runs"],
            |w| {
                let east = format!("MASTER_HOST='{}', MASTER_USER='repl'", w.set.slave.address);
                w.set.warm.sql(&source(&w.set.warm, Some("east"), &east));
            },
        )
        .on_mysql(&[
            "one channel",
            "source is the master",
            "receiver runs",
            "applier runs",
            "GTID in use",
        ]),
        lie("only a named channel: STOP SLAVE would stop nothing", &["one channel"], |w| {
            let (master, warm) = w.both();
            let gtid = warm.or("MASTER_USE_GTID=slave_pos", "MASTER_AUTO_POSITION=1");
            let east = format!(
                "MASTER_HOST='{}', MASTER_PORT=3306, MASTER_USER='repl', MASTER_PASSWORD='repl', {gtid}",
                master.address
            );
            let change = source(warm, Some("east"), &east);
            let start = of(warm, "START REPLICA", "east");
            warm.sql(&format!("STOP REPLICA; RESET REPLICA ALL; {change}; {start}"));
            until("the named channel", LIMIT, || shows(warm, "\tYes\tYes\t"));
        }),
        lie("an old position and no source", &["one channel"], |w| {
            w.set.warm.sql("STOP REPLICA; RESET REPLICA ALL");
        }),
        lie("a relay in between, with the right position", &["source is the master"], |w| {
            let (master, slave, warm) = (&w.set.master, &w.set.slave, &w.set.warm);
            warm.sql("STOP REPLICA");
            let position = master.position();
            until("the relay", LIMIT, || slave.applied() == position);
            follow(warm, &slave.address);
        }),
        lie("a slave of another master", &["source is the master", "position applied"], |w| {
            let (warm, other) = (&w.set.warm, &w.other);
            warm.sql("STOP REPLICA; RESET REPLICA ALL");
            match warm.engine {
                Engines::Host => {
                    warm.sql(&format!("SET GLOBAL gtid_slave_pos='{}'", other.position()))
                }
                // one that has sent nothing yet moves no position
                Engines::Newer => other.sql("RESET BINARY LOGS AND GTIDS"),
            };
            follow(warm, &other.address);
        })
        .on_mysql(&["source is the master"]),
        lie("a stray transaction", &["no errant transaction"], |w| {
            w.set.warm.force("INSERT INTO appdb.t VALUES (999, '')");
        })
        .on_mysql(&["no errant transaction", "position applied"]),
        lie("a stray transaction behind newer ones", &["no errant transaction"], |w| {
            let warm = &w.set.warm;
            warm.sql("STOP REPLICA");
            if warm.engine == Engines::Host {
                warm.sql("SET GLOBAL gtid_strict_mode=0");
            }
            warm.force("INSERT INTO appdb.t VALUES (998, '')");
            w.row(504);
            w.row(505);
            warm.sql("START REPLICA");
            until("replication", LIMIT, || running(warm));
            until("the rows", LIMIT, || there(warm, 505));
        })
        .on_mysql(&["no errant transaction", "position applied"]),
        lie("what is written on it goes into no log", &["no errant transaction"], |w| {
            let warm = &w.set.warm;
            w.restart_with(warm, "skip-log-bin");
            until("replication", LIMIT, || running(warm));
            warm.force("INSERT INTO appdb.t VALUES (997, '')");
        }),
        lie("its log lacks what it replicates", &["no errant transaction"], |w| {
            let warm = &w.set.warm;
            w.restart_with(warm, warm.or("skip-log-slave-updates", "skip-log-replica-updates"));
            until("replication", LIMIT, || running(warm));
        }),
        lie("a restored twin of the master as source", &["canary seen"], |w| {
            // its ids, its position to the last digit, and another row under the last number
            let (set, master, warm) = (&w.set, &w.set.master, &w.set.warm);
            let twin = set.scene.replica_of(master, "twin");
            let id = master.server_id;
            twin.sql(&format!("STOP REPLICA; RESET REPLICA ALL; SET GLOBAL server_id={id}"));
            set.dbsync(&["writes", "on", "Master DB"], 0);
            warm.sql("STOP REPLICA");
            set.dbsync(&["writes", "off", "Master DB"], 0);
            let ours = master.position();
            let row = "INSERT INTO appdb.t VALUES (777, 'twin')";
            match twin.engine {
                Engines::Host => twin.force(row),
                Engines::Newer => {
                    let last = ours.rsplit(['-', ':']).next().unwrap();
                    let uuid = master.sql("SELECT @@server_uuid");
                    twin.force(&format!(
                        "SET gtid_next='{uuid}:{last}'; {row}; SET gtid_next=AUTOMATIC"
                    ));
                }
            }
            assert!(ours.contains(&twin.position()), "the same number: {ours}");
            follow(warm, &twin.address);
            until("the twin's row", LIMIT, || there(warm, 777));
        }),
        lie("a table that forgets with a restart, on the slave only", &["same schema"], |w| {
            w.set.warm.force("SET sql_log_bin=0; ALTER TABLE appdb.t ENGINE=MEMORY");
            w.row(517);
            until("the row", LIMIT, || there(&w.set.warm, 517));
        }),
        lie("rows changed past the binary log", &["rows equal"], |w| {
            w.set.master.force("SET sql_log_bin=0; UPDATE appdb.t SET note='x' WHERE id=1");
            let ask_with = |args| ask(w, &[How { off: vec![], args }]).remove(0);
            assert_eq!(ask_with(SHORT), [""; 0], "no position shows it");
            assert_eq!(ask_with(&["--wait", "1s", "--checksum", "t"]), ["rows equal"]);
            let none = &["--wait", "1s", "--checksum", "appdb.nowhere"];
            assert_eq!(ask_with(none), ["rows equal"], "a table that is not there");
        })
        .asked(&["--wait", "1s", "--checksum", "all"]),
    ]
}

/// Of the master.
fn masters() -> Vec<Lie> {
    vec![
        lie("two servers are tagged as the master", &["one master"], |w| w.tag(true)),
        lie("the master was opened again and nobody has written yet", &["master frozen"], |w| {
            w.set.master.sql("SET GLOBAL read_only=0");
        }),
        lie("only the weaker lock: administrators write", &["master frozen"], |w| {
            w.set.master.sql("SET GLOBAL super_read_only=0");
        })
        .not_on(Engines::Host, "SET GLOBAL super_read_only=0"),
        lie("a long statement is still open on the master", &["master frozen"], |w| {
            let master = &w.set.master;
            if master.engine == Engines::Newer {
                master.sql("SET GLOBAL super_read_only=0");
            }
            w.session(master, "BEGIN; INSERT INTO appdb.t VALUES (506, '')");
            // it stops the end of that transaction, not its being there
            master.force("DO 0");
        }),
        lie("the master logs only a part", &["master logs all"], |w| {
            let (master, warm) = w.both();
            w.restart_with(master, "binlog-ignore-db=appdb");
            until("replication", LIMIT, || running(warm));
            w.row(512);
        }),
    ]
}

/// Of what happens meanwhile.
fn moments() -> Vec<Lie> {
    vec![
        lie("the network is frozen, without a reset", &["position applied"], |w| {
            w.set.warm.sql("STOP REPLICA");
            follow(&w.set.warm, &w.wire.address);
            w.wire.freeze();
            w.row(507);
            assert_eq!(says(&w.set.warm), (true, "0".to_owned()));
        }),
        lie("the master changed under the proof", &["master's position unchanged"], |_| {})
            .asked(&["--wait", "5s"])
            .by(|w, hows| {
                ask_and(w, hows, |w, _| {
                    let (master, warm) = w.both();
                    // it arrives, and cannot be applied before the proof's end: only the master has moved
                    w.session(warm, "LOCK TABLES appdb.t READ");
                    w.row(master.sql("SELECT MAX(id) + 1 FROM appdb.t").parse().unwrap());
                    w.wire.forward();
                })
            }),
        lie("the proof was stopped half way", &["readings fresh"], |w| {
            // where it is stopped just while it connects, the server waits for it
            w.set.warm.sql("SET GLOBAL connect_timeout=60");
        })
        .asked(&["--wait", "2s"])
        .by(|w, hows| {
            ask_and(w, hows, |w, child| {
                let pid = Pid::from_child(child);
                kill_process(pid, Signal::STOP).unwrap();
                let stopped = Instant::now();
                w.wire.forward();
                until("replication", LIMIT, || running(&w.set.warm));
                let enough = FRESH + Duration::from_secs(3);
                until("the readings to be old", LIMIT, || stopped.elapsed() > enough);
                kill_process(pid, Signal::CONT).unwrap();
            })
        }),
        lie(
            "the master is frozen under the proof: the slave says 0 seconds",
            &[
                "master's position unchanged",
                "source is the master",
                "own server id",
                "master logs all",
                "no errant transaction",
            ],
            |_| {},
        )
        .asked(&["--wait", "30s"])
        .by(ask_and_freeze),
        lie(
            "the master is frozen before the proof: the slave says 0 seconds",
            &[
                "master's position read",
                "source is the master",
                "own server id",
                "master frozen",
                "master logs all",
                "master's position unchanged",
                "position applied",
                "no errant transaction",
                "same schema",
                "canary seen",
            ],
            |w| {
                kill_process(pid(&w.set.master), Signal::STOP).unwrap();
                assert_eq!(says(&w.set.warm), (true, "0".to_owned()));
            },
        )
        .asked(&["--wait", "30s"]),
    ]
}

/// Of numbers that begin anew. These come last: the slave in between does not come back from them.
fn new_histories() -> Vec<Lie> {
    vec![
        lie(
            "numbers began anew: the wait says reached, the row is not there",
            &["position applied", "receiver runs", "no errors", "no errant transaction"],
            |w| {
                let (master, warm) = w.both();
                // it has a log of its own to be compared
                w.row(701);
                until("the row", LIMIT, || there(warm, 701));
                master.sql(master.or("RESET MASTER", "RESET BINARY LOGS AND GTIDS"));
                w.row(702);
                warm.sql("STOP REPLICA IO_THREAD; START REPLICA IO_THREAD");
                until("the error", LIMIT, || shows(warm, warm.or("\t1236\t", "\t13114\t")));
            },
        ),
        lie(
            "RESET MASTER: the empty position counts as reached everywhere",
            &["master's position read"],
            |w| {
                let (master, warm) = w.both();
                for db in [master, warm] {
                    db.sql(db.or("RESET MASTER", "RESET BINARY LOGS AND GTIDS"));
                }
            },
        ),
        lie(
            "a master without a binary log",
            &["master's position read", "receiver runs", "no errors", "master logs all"],
            |w| {
                let (master, warm) = w.both();
                w.restart_with(master, "skip-log-bin");
                warm.sql("STOP REPLICA; START REPLICA");
                until("the error", LIMIT, || shows(warm, warm.or("\t1236\t", "\t13114\t")));
            },
        ),
    ]
}
