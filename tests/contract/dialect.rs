//! The table of what the engines call things, cell by cell on real servers: each value is run, and each `unsupported`
//! is asked of the server, which must refuse it.

use std::time::Duration;

use rs_drivers::Cell;
use rs_tests::{Db, Engines, Scene, each_engine, program, until};

const LIMIT: Duration = Duration::from_secs(30);

each_engine!(every_cell_of_the_dialect_holds_on_the_real_server);

/// The one row of an answer by its headings.
fn row(db: &Db, sql: &str) -> Vec<(String, String)> {
    let said = db.asked(sql).unwrap_or_else(|e| panic!("{sql}\n{e}"));
    let mut lines = said.lines().map(|line| line.split('\t').map(str::to_owned));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return Vec::new() };
    names.zip(values).collect()
}

fn value(db: &Db, sql: &str) -> String {
    let row = row(db, sql);
    assert_eq!(row.len(), 1, "{sql}: {row:?}");
    row[0].1.clone()
}

/// Rows with these headings, one of which holds the text.
#[track_caller]
fn shows(db: &Db, sql: &str, headings: &str, text: &str) {
    let said = db.asked(sql).unwrap_or_else(|e| panic!("{sql}\n{e}"));
    let found = said.lines().next().unwrap_or_default().replace('\t', " ");
    assert!(headings.split(' ').all(|name| found.split(' ').any(|f| f == name)), "{sql}\n{said}");
    assert!(said.contains(text), "{sql}\n{said}");
}

/// Starts the server again with lines at the end of its option file.
fn again_with(scene: &Scene, db: &Db, lines: &str) {
    let pid = db.dir.join("db.pid");
    db.sql("SHUTDOWN");
    until("the server to be gone", LIMIT, || !pid.exists());
    let file = db.dir.join("my.cnf");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{config}[mysqld]\n{lines}")).unwrap();
    scene.start_database(db);
    std::fs::write(&file, config).unwrap();
}

struct Pair<'a> {
    scene: &'a Scene,
    master: &'a Db,
    slave: &'a Db,
    cells: Vec<(&'static str, Cell)>,
}

impl Pair<'_> {
    fn cell(&self, name: &str) -> &'static str {
        let found = self.cells.iter().find(|(known, _)| *known == name);
        found.and_then(|(_, cell)| cell.get()).unwrap_or_else(|| panic!("no {name}"))
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{position}", &format!("'{}'", self.master.position()))
            .replace("{seconds}", "20")
            .replace("{host}", &format!("'{}'", self.master.address))
            .replace("{port}", "3306")
            .replace("{user}", "'repl'")
            .replace("{password}", "'repl'")
    }

    /// A column of the slave's only channel, under the name that the table has for it.
    fn channel(&self, column: &str) -> String {
        let row = row(self.slave, self.cell("channels"));
        let found = row.iter().find(|(name, _)| name == column);
        found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("no {column}: {row:?}"))
    }

    fn runs(&self, io: &str, sql: &str) {
        let db = self.slave;
        let (one, two) = (
            db.or("Slave_IO_Running", "Replica_IO_Running"),
            db.or("Slave_SQL_Running", "Replica_SQL_Running"),
        );
        until("the threads", LIMIT, || self.channel(one) == io && self.channel(two) == sql);
    }

    fn unsupported(&self, name: &str, refused: &str, why: &str) {
        assert!(!why.is_empty(), "{name}");
        for db in [self.master, self.slave] {
            let said = match db.asked(refused) {
                Err(said) => said,
                Ok(said) => panic!("{name} is not refused: {said}"),
            };
            assert!(said.contains("ERROR 1064") || said.contains("ERROR 1193"), "{name}: {said}");
        }
    }

    fn holds(&self, name: &str, text: &str) {
        let (m, s) = (self.master, self.slave);
        match name {
            "uuid" => assert!(!value(m, text).is_empty()),
            "skips" => {
                assert_eq!(value(s, text), "OFF");
                let lax = s.or("slave_exec_mode", "replica_exec_mode");
                s.sql(&format!("SET GLOBAL {lax}='IDEMPOTENT'"));
                assert_eq!(value(s, text), format!("{lax}=IDEMPOTENT"));
                s.sql(&format!("SET GLOBAL {lax}='STRICT'"));
                let lossy = s.or("slave_type_conversions", "replica_type_conversions");
                s.sql(&format!("SET GLOBAL {lossy}='ALL_LOSSY'"));
                assert_eq!(value(s, text), format!("{lossy}=ALL_LOSSY"));
                s.sql(&format!("SET GLOBAL {lossy}=''"));
            }
            "marked" => assert_eq!(value(s, text), "REPLICATE"),
            "own_position" | "own_state" => assert_eq!(value(m, text), m.position()),
            "logs_applied" => assert_eq!(value(s, text), "1"),
            "applied" => assert_eq!(value(s, text), m.position()),
            "log_status" => shows(m, text, "File Position", "bin.0"),
            "wait" => assert_eq!(value(s, &self.filled(text)), self.cell("wait_applied")),
            "wait_applied" => assert_eq!(text, "0"),
            "channels" => {
                assert!(row(m, text).is_empty());
                assert_eq!(s.asked(text).unwrap().lines().count(), 2);
            }
            "columns" => drop(self.channel(text)),
            "gtid_values" => {
                let now = self.channel(s.or("Using_Gtid", "Auto_Position"));
                let all = self.cells.iter().filter(|(name, _)| *name == "gtid_values");
                assert!(all.filter_map(|(_, cell)| cell.get()).any(|value| value == now), "{now}");
            }
            "read_only" => assert_eq!((value(m, text), value(s, text)), ("0".into(), "1".into())),
            "set_read_only" | "clear_read_only" => {
                m.sql(text);
                let wanted = if name == "set_read_only" { "1" } else { "0" };
                assert_eq!(value(m, self.cell("read_only")), wanted);
            }
            "lower" => {
                m.sql(self.cell("set_read_only"));
                m.sql(text);
                assert_eq!(m.sql("SELECT @@read_only"), "1");
            }
            "is_lowered" => {
                assert_eq!((value(m, text), value(s, text)), ("1".into(), "0".into()));
                m.sql(self.cell("clear_read_only"));
                assert_eq!(value(m, text), "0");
            }
            "short_lock_wait" => {
                assert_eq!(m.sql(&format!("{text}; SELECT @@lock_wait_timeout")), "1");
            }
            "read_only_options" | "held_options" | "slave_options" => {
                s.sql("SET GLOBAL read_only = 0");
                again_with(self.scene, s, text);
                assert_eq!(value(s, self.cell("read_only")), "1", "{text}");
                if name == "held_options" {
                    self.runs("No", "No");
                    s.sql(self.cell("start"));
                }
                self.runs("Yes", "Yes");
            }
            "master_options" => {
                again_with(self.scene, s, &format!("{}{text}", self.cell("slave_options")));
                assert_eq!(s.sql("SELECT @@read_only"), "0");
                s.sql(self.cell("set_read_only"));
                self.runs("Yes", "Yes");
            }
            "may_write" => shows(m, text, "account_user account_host because", "root"),
            "lent" => shows(m, text, "account_user account_host definer routine", "appdb.sly"),
            "roles" => shows(m, text, "account_user account_host role", "app"),
            "lock_holders.load" | "lock_holders.unload" => drop(m.sql(text)),
            "lock_holders.ask" => {
                let locked = m.sql(&format!("BEGIN; SELECT id FROM appdb.t LIMIT 1; {text}"));
                assert!(locked.contains("appdb.t"), "{locked}");
            }
            "stop_receiver" => {
                s.sql(text);
                self.runs("No", "Yes");
            }
            "stop" => {
                s.sql(text);
                self.runs("No", "No");
            }
            "start" => {
                s.sql(text);
                self.runs("Yes", "Yes");
            }
            "change_host" => {
                s.sql(self.cell("stop"));
                s.sql(&text.replace("{host}", "'held.invalid'"));
                assert_eq!(self.channel(s.or("Master_Host", "Source_Host")), "held.invalid");
            }
            "forget" => {
                s.sql(text);
                assert!(row(s, self.cell("channels")).is_empty());
            }
            "set_applied" => {
                s.sql(s.or("RESET MASTER", "RESET BINARY LOGS AND GTIDS"));
                s.sql(&self.filled(text));
                assert_eq!(s.applied(), m.position());
            }
            "change_source" => {
                s.sql(&self.filled(text));
                if s.engine == Engines::Newer {
                    // MySQL's own is 10, and then the receiver is dead
                    assert_eq!(self.channel("Source_Retry_Count"), "100000");
                }
                s.sql(self.cell("start"));
                self.runs("Yes", "Yes");
                m.sql("INSERT INTO appdb.t VALUES (0, 'after')");
                until("the row", LIMIT, || s.sql("SELECT note FROM appdb.t WHERE id=0") == "after");
            }
            "foreign_events" => {
                m.sql("CREATE EVENT appdb.tick ON SCHEDULE EVERY 1 DAY DO SET @x = 1");
                until("the event", LIMIT, || s.asked(text).unwrap().contains("tick"));
                shows(s, text, "event_schema event_name", "appdb");
                assert!(row(m, text).is_empty());
            }
            "followers" => {
                let said = m.asked(text).unwrap().to_lowercase();
                let headings: Vec<&str> = said.lines().next().unwrap().split('\t').collect();
                assert!(["server_id", "host"].iter().all(|name| headings.contains(name)), "{said}");
                assert!(said.contains(&s.address) && !said.contains(&m.address), "{said}");
                assert!(row(s, text).is_empty());
            }
            "progress" => self.progresses(text),
            "indexes" => {
                shows(m, &text.replace("{schema}", "'appdb'"), "TABLE_NAME INDEX_NAME", "PRIMARY")
            }
            "checks" => {
                shows(m, &text.replace("{schema}", "'appdb'"), "TABLE_NAME CHECK_CLAUSE", "few")
            }
            "log_growth" => assert!(value(m, text).parse::<f64>().unwrap() > 0.0),
            "server_threads" => {
                m.sql("SET GLOBAL event_scheduler = ON");
                let known = "SELECT USER FROM information_schema.processlist UNION SELECT User FROM mysql.user";
                until(text, LIMIT, || {
                    [m, s].iter().any(|db| db.sql(known).lines().any(|user| user == text))
                });
            }
            _ => panic!("the cell {name} is not tried here"),
        }
    }

    fn progresses(&self, text: &str) {
        let m = self.master;
        let alter = "ALTER TABLE appdb.t ADD COLUMN more INT, ALGORITHM=COPY";
        let mut child = self
            .scene
            .call(&program("mariadb").display().to_string(), "alter")
            .args(["--no-defaults", "-uroot", "-S", &m.socket.display().to_string(), "-e", alter])
            .start();
        let list =
            "SELECT ID FROM information_schema.processlist WHERE INFO LIKE 'ALTER TABLE appdb.t%'";
        until("some progress", LIMIT, || {
            let id = m.sql(list);
            assert!(child.try_wait().unwrap().is_none(), "it ended, and no progress was seen");
            let row = if id.is_empty() { Vec::new() } else { row(m, &text.replace("{id}", &id)) };
            row.iter().any(|(name, value)| {
                name == "percent" && value.parse::<f64>().is_ok_and(|p| p > 0.0)
            })
        });
        assert!(child.wait().unwrap().success());
    }
}

fn every_cell_of_the_dialect_holds_on_the_real_server(engines: Engines) {
    let scene = Scene::on(engines, "dialect");
    let master = scene.database("m");
    master.sql(&format!(
        "CREATE DATABASE appdb; USE appdb; \
         CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(200), CONSTRAINT few CHECK (id > -9)) ENGINE=InnoDB; \
         INSERT INTO t SELECT seq, REPEAT('y', 150) FROM {}; \
         CREATE PROCEDURE sly() INSERT INTO t VALUES (-1, ''); \
         CREATE ROLE some; GRANT some TO app@'127.%'; GRANT EXECUTE ON PROCEDURE sly TO app@'127.%'",
        master.numbers(1, 200_000)
    ));
    let slave = scene.replica_of(&master, "s");
    let cells = rs_drivers::cells(&master.sql("SELECT VERSION()")).unwrap();
    assert!(cells.len() > 60, "{}", cells.len());
    let pair = Pair { scene: &scene, master: &master, slave: &slave, cells };
    for (name, cell) in &pair.cells {
        match cell {
            Cell::Is(text) => pair.holds(name, text),
            Cell::Unsupported { refused, why } => pair.unsupported(name, refused, why),
        }
    }
}
