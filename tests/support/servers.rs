use std::path::PathBuf;
use std::time::Duration;

use crate::scene::{Scene, program, unprivileged, until};

/// A MariaDB server of a scene; root without a password over its socket.
pub struct MariaDb {
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

impl MariaDb {
    /// Runs statements as root and returns what the client prints: rows, tab-separated, without headings.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        let out = std::process::Command::new(program("mariadb"))
            .args(["--no-defaults", "-uroot", "-N", "-B", "-S"])
            .arg(&self.socket)
            .args(["-e", sql])
            .output()
            .unwrap();
        assert!(out.status.success(), "{sql}\n{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Whether it answers.
    pub fn answers(&self) -> bool {
        std::process::Command::new(program("mariadb"))
            .args(["--no-defaults", "-uroot", "-N", "-B", "-S"])
            .arg(&self.socket)
            .args(["-e", "SELECT 1"])
            .output()
            .is_ok_and(|out| out.status.success())
    }
}

impl Scene {
    /// A fresh MariaDB with binary log, GTID and the accounts `admin`, `repl`, `app`, `migrator` (password = name).
    pub fn mariadb(&self, name: &str) -> MariaDb {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        self.hand_over(&dir);
        let address = self.address();
        let server_id = address.rsplit('.').next().and_then(|n| n.parse().ok()).unwrap_or(1) + 100;
        let db = MariaDb {
            address,
            port: 3306,
            socket: dir.join("db.sock"),
            dir: dir.clone(),
            server_id,
        };
        let basedir = program("mariadbd").canonicalize().unwrap();
        let basedir = basedir
            .ancestors()
            .find(|up| up.join("share/mysql").is_dir() || up.join("share/mariadb").is_dir());
        let basedir = basedir.map_or_else(|| "/usr".to_owned(), |up| up.display().to_string());
        let config = format!(
            "[mysqld]\nbasedir={basedir}\nplugin-dir={plugins}\ndatadir={d}/data\ntmpdir={d}\nsocket={d}/db.sock\npid-file={d}/db.pid\n\
             log-error={d}/db.err\nbind-address={a}\nport=3306\nserver-id={server_id}\nlog-bin=bin\nrelay-log=relay\n\
             log-slave-updates=1\ngtid-strict-mode=1\nskip-name-resolve=1\ninnodb-buffer-pool-size=32M\n\
             innodb-log-file-size=16M\nreport-host={a}\n",
            d = dir.display(),
            a = db.address,
            plugins = plugins(&basedir),
        );
        let file = self.file(&format!("{name}/my.cnf"), &config);
        let out = unprivileged(&program("mariadb-install-db"))
            .args([
                &format!("--defaults-file={file}"),
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--force",
            ])
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "mariadb-install-db: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        self.start_mariadb(&db);
        for (user, grants) in [
            ("admin", "ALL PRIVILEGES"),
            ("repl", "REPLICATION SLAVE"),
            ("app", "SELECT, INSERT, UPDATE, DELETE"),
            ("migrator", "ALL PRIVILEGES"),
        ] {
            db.sql(&format!(
                "SET sql_log_bin=0; CREATE USER {user}@'127.%' IDENTIFIED BY '{user}'; \
                 GRANT {grants} ON *.* TO {user}@'127.%' WITH GRANT OPTION"
            ));
            self.credential(user, user);
        }
        db
    }

    /// Starts a MariaDB that was made before, and waits until it answers.
    pub fn start_mariadb(&self, db: &MariaDb) {
        let file = db.dir.join("my.cnf").display().to_string();
        self.serve(&program("mariadbd"), &[&format!("--defaults-file={file}")]);
        until(&format!("{} to answer", db.dir.display()), Duration::from_secs(60), || db.answers());
    }

    /// A slave of `master` with all its data; both threads run.
    pub fn replica_of(&self, master: &MariaDb, name: &str) -> MariaDb {
        let db = self.mariadb(name);
        db.sql("RESET MASTER");
        let position = master.sql("SELECT @@gtid_binlog_pos");
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
            let file = self.path(&format!("{name}.sql"));
            std::fs::write(&file, dump.stdout).unwrap();
            db.sql(&format!("SET sql_log_bin=0;\nSOURCE {}", file.display()));
        }
        db.sql(&format!(
            "SET GLOBAL gtid_slave_pos='{position}'; CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT=3306, \
             MASTER_USER='repl', MASTER_PASSWORD='repl', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; \
             SET GLOBAL read_only=1; START SLAVE",
            master.address
        ));
        until("the replica to run", Duration::from_secs(30), || {
            let status = db.sql("SHOW SLAVE STATUS");
            status.contains("Slave has read all relay log")
        });
        db
    }
}

fn databases(db: &MariaDb) -> Vec<String> {
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
        let pid = self.serve(&program("haproxy"), &["-W", "-S", &master, "-f", &file]);
        let socket = dir.join("haproxy.sock");
        until("haproxy's socket", Duration::from_secs(20), || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        Haproxy { address, dir, pid }
    }
}
