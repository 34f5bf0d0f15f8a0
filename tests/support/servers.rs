use std::path::PathBuf;
use std::time::Duration;

use crate::mysql::mysql_options;
use crate::scene::{Engines, Scene, program, unprivileged, until};

/// A database server of a scene, MariaDB or MySQL; root without a password over its socket.
#[derive(Clone)]
pub struct Db {
    /// What it is: the machine's own is MariaDB, the newer one MySQL.
    pub engine: Engines,
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its socket.
    pub socket: PathBuf,
    /// Its folder.
    pub dir: PathBuf,
    /// `@@server_id`.
    pub server_id: u32,
}

impl Db {
    /// Runs statements as root and returns what the client prints: rows, tab-separated, without headings.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        let out = self.client(sql).output().unwrap();
        assert!(out.status.success(), "{sql}\n{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// The answer with its headings, or what the server says against it.
    pub fn asked(&self, sql: &str) -> Result<String, String> {
        let out = self.client(sql).arg("--column-names").output().unwrap();
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).trim_end_matches('\n').to_owned())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }

    /// Whether it answers.
    pub fn answers(&self) -> bool {
        self.client("SELECT 1").output().is_ok_and(|out| out.status.success())
    }

    /// A change by root though writes are off: it stays as it is.
    #[track_caller]
    pub fn force(&self, sql: &str) {
        self.sql(&match self.engine {
            Engines::Host => sql.to_owned(),
            Engines::Newer => {
                format!("SET GLOBAL super_read_only=0; {sql}; SET GLOBAL super_read_only=1")
            }
        });
    }

    /// MariaDB's client speaks to both.
    pub(crate) fn client(&self, sql: &str) -> std::process::Command {
        let mut client = std::process::Command::new(program("mariadb"));
        client.args(["--no-defaults", "-uroot", "-N", "-B", "-e", sql, "-S"]).arg(&self.socket);
        client
    }

    /// One of two texts: what differs between the engines.
    pub fn or<'a>(&self, mariadb: &'a str, mysql: &'a str) -> &'a str {
        match self.engine {
            Engines::Host => mariadb,
            Engines::Newer => mysql,
        }
    }

    /// Position of its own binary log.
    pub fn position(&self) -> String {
        self.sql(self.or("SELECT @@gtid_binlog_pos", "SELECT @@gtid_executed"))
    }

    /// Position applied as a slave.
    pub fn applied(&self) -> String {
        self.sql(self.or("SELECT @@gtid_slave_pos", "SELECT @@gtid_executed"))
    }

    /// A table with the numbers of a range in its column `seq`.
    pub fn numbers(&self, from: u32, to: u32) -> String {
        match self.engine {
            Engines::Host => format!("seq_{from}_to_{to}"),
            Engines::Newer => format!(
                "(WITH RECURSIVE r (seq) AS (SELECT {from} UNION ALL SELECT seq + 1 FROM r \
                 WHERE seq < {to}) SELECT seq FROM r) AS numbers"
            ),
        }
    }

    /// Makes it a slave of `source` and starts it; `more` are further options of the statement.
    pub fn follow(&self, source: &Db, more: &str) {
        let at = format!("'{}'", source.address);
        self.sql(&match self.engine {
            Engines::Host => format!(
                "CHANGE MASTER TO MASTER_HOST={at}, MASTER_PORT=3306, MASTER_USER='repl', \
                 MASTER_PASSWORD='repl', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1{more}; START SLAVE"
            ),
            Engines::Newer => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST={at}, SOURCE_PORT=3306, SOURCE_USER='repl', \
                 SOURCE_PASSWORD='repl', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1{more}; START REPLICA"
            ),
        });
    }
}

/// Accounts of every database of a scene; the password is the name.
const ACCOUNTS: [(&str, &str); 4] = [
    ("admin", "ALL PRIVILEGES"),
    ("repl", "REPLICATION SLAVE"),
    ("app", "SELECT, INSERT, UPDATE, DELETE"),
    ("migrator", "ALL PRIVILEGES"),
];

impl Scene {
    /// [`Scene::database`], in tests that know the machine's own engine only.
    pub fn mariadb(&self, name: &str) -> Db {
        self.database(name)
    }

    /// A fresh database with binary log, GTID and the accounts `admin`, `repl`, `app`, `migrator` (password = name).
    pub fn database(&self, name: &str) -> Db {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        self.hand_over(&dir);
        let address = self.address();
        let server_id = address.rsplit('.').next().and_then(|n| n.parse().ok()).unwrap_or(1) + 100;
        let db = Db {
            engine: self.engines,
            address,
            port: 3306,
            socket: dir.join("db.sock"),
            dir: dir.clone(),
            server_id,
        };
        let common = format!(
            "[mysqld]\ndatadir={d}/data\ntmpdir={d}\nsocket={d}/db.sock\npid-file={d}/db.pid\n\
             log-error={d}/db.err\nbind-address={a}\nport=3306\nserver-id={server_id}\nlog-bin=bin\nrelay-log=relay\n\
             skip-name-resolve=1\nreport-host={a}\n",
            d = dir.display(),
            a = db.address,
        );
        let more = match self.engines {
            Engines::Host => mariadb_options(),
            Engines::Newer => mysql_options(),
        };
        std::fs::write(db.dir.join("my.cnf"), format!("{common}{more}")).unwrap();
        self.begin(&db);
        db
    }

    /// Takes a database's data away and gives it an empty one, with the same options and accounts; [`Scene::with_old_data`]
    /// puts the old one back.
    pub fn made_anew(&self, db: &Db) {
        self.stop_database(db);
        std::fs::rename(db.dir.join("data"), db.dir.join("data.kept")).unwrap();
        self.begin(db);
    }

    /// What [`Scene::made_anew`] took away is its data again.
    pub fn with_old_data(&self, db: &Db) {
        self.stop_database(db);
        std::fs::remove_dir_all(db.dir.join("data")).unwrap();
        std::fs::rename(db.dir.join("data.kept"), db.dir.join("data")).unwrap();
        self.start_database(db);
    }

    /// Ends it as a crash does.
    pub fn stop_database(&self, db: &Db) {
        self.kill(process_of(db));
    }

    /// Ends it in order: one that comes again without its binary log must have left nothing half in it.
    pub fn shut_down(&self, db: &Db) {
        self.end(process_of(db));
    }

    /// An empty data directory, and the accounts.
    fn begin(&self, db: &Db) {
        match self.engines {
            Engines::Host => install_mariadb(db),
            Engines::Newer => self.install_mysql(db),
        }
        self.start_database(db);
        for (user, grants) in ACCOUNTS {
            db.sql(&format!(
                "SET sql_log_bin=0; CREATE USER {user}@'127.%' IDENTIFIED BY '{user}'; \
                 GRANT {grants} ON *.* TO {user}@'127.%' WITH GRANT OPTION"
            ));
            self.credential(user, user);
        }
    }

    /// [`Scene::start_database`], in tests that know the machine's own engine only.
    pub fn start_mariadb(&self, db: &Db) {
        self.start_database(db);
    }

    /// Starts a database that was made before, and waits until it answers.
    pub fn start_database(&self, db: &Db) {
        let file = db.dir.join("my.cnf").display().to_string();
        let daemon = self.program(db.or("mariadbd", "mysqld"));
        self.serve(&daemon, &[&format!("--defaults-file={file}")]);
        until(&format!("{} to answer", db.dir.display()), Duration::from_secs(60), || db.answers());
    }

    /// A slave of `master` with all its data; both threads run.
    pub fn replica_of(&self, master: &Db, name: &str) -> Db {
        let db = self.database(name);
        match db.engine {
            Engines::Host => self.load(master, &db),
            // a master of a scene still has its whole binary log
            Engines::Newer => {
                db.sql("SET GLOBAL super_read_only=1");
            }
        }
        db.follow(master, "");
        let wanted = master.position();
        until("the replica to run", Duration::from_secs(30), || {
            let status = db.sql("SHOW REPLICA STATUS");
            status.contains(db.or("Slave has read all", "Replica has read all"))
                && db.applied() == wanted
        });
        db
    }

    /// Gives a MariaDB the data of another, and the position that it stands at.
    fn load(&self, master: &Db, db: &Db) {
        db.sql("RESET MASTER");
        let position = master.position();
        let dump = std::process::Command::new(program("mariadb-dump"))
            .args([
                "--no-defaults",
                "-uroot",
                "--single-transaction",
                "--gtid",
                "--master-data=2",
                "-S",
            ])
            .arg(&master.socket)
            .args(databases(master))
            .output()
            .unwrap();
        if !databases(master).is_empty() {
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            let file = db.dir.with_extension("sql");
            std::fs::write(&file, dump.stdout).unwrap();
            db.sql(&format!("SET sql_log_bin=0;\nSOURCE {}", file.display()));
        }
        db.sql(&format!("SET GLOBAL gtid_slave_pos='{position}'; SET GLOBAL read_only=1"));
    }
}

fn mariadb_options() -> String {
    let basedir = program("mariadbd").canonicalize().unwrap();
    let basedir = basedir
        .ancestors()
        .find(|up| up.join("share/mysql").is_dir() || up.join("share/mariadb").is_dir());
    let basedir = basedir.map_or_else(|| "/usr".to_owned(), |up| up.display().to_string());
    format!(
        "basedir={basedir}\nplugin-dir={plugins}\nlog-slave-updates=1\ngtid-strict-mode=1\n\
         innodb-buffer-pool-size=32M\ninnodb-log-file-size=16M\n",
        plugins = plugins(&basedir),
    )
}

fn install_mariadb(db: &Db) {
    let out = unprivileged(&program("mariadb-install-db"))
        .args([
            &format!("--defaults-file={}", db.dir.join("my.cnf").display()),
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--force",
        ])
        .current_dir(&db.dir)
        .output()
        .unwrap();
    assert!(out.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&out.stderr));
}

fn databases(db: &Db) -> Vec<String> {
    let own = ["information_schema", "mysql", "performance_schema", "sys"];
    let names: Vec<String> = db
        .sql("SHOW DATABASES")
        .lines()
        .map(str::to_owned)
        .filter(|n| !own.contains(&n.as_str()))
        .collect();
    if names.is_empty() {
        names
    } else {
        std::iter::once("--databases".to_owned()).chain(names).collect()
    }
}

fn plugins(basedir: &str) -> String {
    let mut folders =
        vec![format!("{basedir}/lib/mysql/plugin"), format!("{basedir}/lib/mariadb/plugin")];
    if let Ok(dirs) = std::fs::read_dir(format!("{basedir}/lib")) {
        for dir in dirs.flatten() {
            folders.push(format!("{}/mariadb/plugin", dir.path().display()));
        }
    }
    folders.into_iter().find(|dir| std::path::Path::new(dir).is_dir()).unwrap_or_default()
}

/// An HAProxy of a scene, in master-worker mode.
pub struct Haproxy {
    /// Its address.
    pub address: String,
    /// Its folder with haproxy.cfg.
    pub dir: PathBuf,
    /// Process id of the master.
    pub pid: u32,
}

impl Scene {
    /// Starts an HAProxy with this configuration; `{dir}` and `{address}` in it are its folder and address.
    pub fn haproxy(&self, name: &str, config: &str) -> Haproxy {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        self.hand_over(&dir);
        let address = self.address();
        let text =
            config.replace("{dir}", &dir.display().to_string()).replace("{address}", &address);
        let file = self.file(&format!("{name}/haproxy.cfg"), &text);
        self.hand_over(std::path::Path::new(&file));
        let master = dir.join("master.sock").display().to_string();
        let pid = self.serve(&self.program("haproxy"), &["-W", "-S", &master, "-f", &file]);
        let socket = dir.join("haproxy.sock");
        until("haproxy's socket", Duration::from_secs(20), || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        Haproxy { address, dir, pid }
    }
}

fn process_of(db: &Db) -> u32 {
    std::fs::read_to_string(db.dir.join("db.pid")).unwrap().trim().parse().unwrap()
}
