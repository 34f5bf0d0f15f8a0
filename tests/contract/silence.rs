//! Silence, on real servers of both engines: every way to write although writes are off is found and named, what was before
//! comes back exactly, and what a killed tool of ours left is ended.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rs_model::silence::judge_silence;
use rs_model::{Answer, Check};
use rs_tests::{Db, Engines, Scene, each_engine, program, until};

use super::Over;
use super::database::open;

const LIMIT: Duration = Duration::from_secs(20);

each_engine!(
    a_prepared_xa_is_named_and_left_alone_and_a_second_master_is_named,
    rights_that_a_procedure_or_everybody_lends_are_found_and_their_sessions_ended,
    on_restores_what_was_there_and_no_more,
    waiters_that_a_killed_tool_left_are_found_and_ended_and_those_of_living_ones_stay,
    our_own_sessions_that_come_and_go_are_never_taken_for_somebodys,
    a_server_without_a_connection_left_is_tried_again_and_a_commit_that_waits_for_a_slave_is_named,
);

fn filled(scene: &Scene) -> Db {
    let db = scene.database("m");
    db.sql("CREATE DATABASE appdb; CREATE TABLE appdb.t (id INT PRIMARY KEY) ENGINE=InnoDB");
    db
}

/// A client of the application that runs `sql` and stays as long as that takes.
fn client(scene: &Scene, db: &Db, user: &str, sql: &str) -> std::process::Child {
    scene
        .call(&program("mariadb").display().to_string(), user)
        .args(["--no-defaults", "--comments", "-h", &db.address, "-u", user])
        .args([&format!("-p{user}"), "-e", sql])
        .start()
}

fn refused(db: &Db, allowed: &[String]) -> Vec<Check> {
    let facts = open(db, "admin").silence(allowed).unwrap();
    let mut checks = judge_silence("m", &facts);
    checks.retain(|check| check.answer != Answer::Ok);
    checks
}

fn a_prepared_xa_is_named_and_left_alone_and_a_second_master_is_named(engines: Engines) {
    let scene = Scene::on(engines, "quiet-xa");
    let db = filled(&scene);
    let m = open(&db, "admin");
    db.sql("XA START 'order-7'; INSERT INTO appdb.t VALUES (7); XA END 'order-7'; XA PREPARE 'order-7'");
    db.sql(db.or(
        "CHANGE MASTER 'east' TO MASTER_HOST='192.0.2.7', MASTER_USER='repl'",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='192.0.2.7', SOURCE_USER='repl' FOR CHANNEL 'east'",
    ));
    m.writes_off(&[], LIMIT).unwrap();
    let checks = refused(&db, &[]);
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["no prepared XA transaction", "no incoming replication"]);
    assert!(checks[0].detail.contains("order-7"), "{checks:?}");
    assert!(checks[1].detail.contains("192.0.2.7:3306 (\"east\")"), "{checks:?}");
    // it is its owner's: still there, and its owner can settle it
    assert!(db.sql("XA RECOVER").contains("order-7"));
    db.sql(db.or(
        "XA COMMIT 'order-7'; RESET SLAVE 'east' ALL",
        "XA COMMIT 'order-7'; RESET REPLICA ALL FOR CHANNEL 'east'",
    ));
    assert_eq!(refused(&db, &[]), []);
}

fn rights_that_a_procedure_or_everybody_lends_are_found_and_their_sessions_ended(engines: Engines) {
    let scene = Scene::on(engines, "quiet-lent");
    let db = filled(&scene);
    let m = open(&db, "admin");
    db.sql(
        "CREATE PROCEDURE appdb.sly() INSERT INTO appdb.t SELECT COALESCE(MAX(id), 0) + 1 FROM appdb.t; \
         CREATE PROCEDURE appdb.plain() SQL SECURITY INVOKER INSERT INTO appdb.t VALUES (99); \
         GRANT EXECUTE ON PROCEDURE appdb.sly TO app@'127.%'; \
         CREATE USER reader@'127.%' IDENTIFIED BY 'reader'; GRANT EXECUTE ON PROCEDURE appdb.plain TO reader@'127.%'",
    );
    let mut clients = [
        client(&scene, &db, "app", "DO SLEEP(600)"),
        client(&scene, &db, "reader", "DO SLEEP(600)"),
    ];
    let sleeping =
        "SELECT GROUP_CONCAT(user) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'";
    until("both sessions", LIMIT, || db.sql(sleeping).contains(','));
    let before = m.writes_off(&[], LIMIT).unwrap();
    assert_eq!(db.sql(sleeping), "reader", "who may write through the procedure was ended");
    // it is no idle fear: this is what it does under read_only, on MySQL while that is lowered for a migration
    db.sql(db.or("DO 0", "SET GLOBAL super_read_only = 0"));
    assert!(client(&scene, &db, "app", "CALL appdb.sly()").wait().unwrap().success());
    assert_eq!(db.sql("SELECT COUNT(*) FROM appdb.t"), "1");
    assert!(!client(&scene, &db, "reader", "CALL appdb.plain()").wait().unwrap().success());
    db.sql(db.or("DO 0", "SET GLOBAL super_read_only = 1"));
    let checks = refused(&db, &[]);
    assert_eq!(checks[0].name, "no account that could write");
    assert!(checks[0].detail.contains("app@127.% (procedure appdb.sly runs as root@localhost)"));
    assert_eq!(refused(&db, &["app".into()]), []);

    db.sql(db.or(
        "DROP PROCEDURE appdb.sly",
        "SET GLOBAL super_read_only = 0; DROP PROCEDURE appdb.sly; SET GLOBAL super_read_only = 1",
    ));
    assert_eq!(refused(&db, &[]), []);
    lent_in_other_ways(&scene, &db);
    assert_eq!(refused(&db, &[]), []);
    // what everybody may, the reader may
    m.writes_on(&before).unwrap();
    db.sql(db.or(
        "GRANT READ ONLY ADMIN ON *.* TO PUBLIC",
        "CREATE ROLE everybody; GRANT CONNECTION_ADMIN ON *.* TO everybody; \
         SET GLOBAL mandatory_roles='`everybody`@`%`'; SET GLOBAL super_read_only = 1",
    ));
    db.sql("SET GLOBAL read_only = 1; SET GLOBAL event_scheduler = OFF");
    let names: Vec<String> = refused(&db, &[]).into_iter().map(|check| check.name).collect();
    assert_eq!(names, ["no session that could write", "no account that could write"]);
    m.writes_off(&[], LIMIT).unwrap();
    assert_eq!(db.sql(sleeping), "NULL");
    for client in &mut clients {
        let _ = client.wait();
    }
}

/// Accounts with nothing but EXECUTE write through a procedure of a package, in the schema `mysql`, of a role, and through
/// one that calls another. What a function writes, the server judges by who calls it.
fn lent_in_other_ways(scene: &Scene, db: &Db) {
    const ROW: &str = "INSERT INTO appdb.t SELECT COALESCE(MAX(id), 0) + 1 FROM appdb.t";
    let mut ways = vec![
        ("hosted", "CALL mysql.sly()", "procedure mysql.sly runs as root@localhost".to_owned()),
        ("roled", "CALL appdb.roled()", {
            format!("procedure appdb.roled runs as wrole{}", db.or("", "@%"))
        }),
        ("mid", "CALL mysql.sly()", "procedure mysql.sly runs as root@localhost".to_owned()),
        ("chained", "CALL appdb.chain()", "procedure appdb.chain runs as mid@127.%".to_owned()),
    ];
    if db.engine == Engines::Host {
        let packed = "package body appdb.p runs as root@localhost".to_owned();
        ways.push(("packed", "CALL appdb.p.sly()", packed));
    }
    let all: Vec<&str> = ways.iter().map(|(user, ..)| *user).chain(["counting"]).collect();
    let users: String = all
        .iter()
        .map(|user| format!("CREATE USER {user}@'127.%' IDENTIFIED BY '{user}'; "))
        .collect();
    let may = db.or("READ ONLY ADMIN", "CONNECTION_ADMIN");
    db.force(&format!(
        "{users} SET GLOBAL log_bin_trust_function_creators=1; \
         CREATE PROCEDURE mysql.sly() {ROW}; GRANT EXECUTE ON PROCEDURE mysql.sly TO hosted@'127.%', mid@'127.%'; \
         CREATE ROLE wrole; GRANT {may} ON *.* TO wrole; GRANT ALL ON appdb.* TO wrole; \
         CREATE DEFINER=wrole PROCEDURE appdb.roled() {ROW}; GRANT EXECUTE ON PROCEDURE appdb.roled TO roled@'127.%'; \
         CREATE DEFINER=mid@'127.%' PROCEDURE appdb.chain() CALL mysql.sly(); \
         GRANT EXECUTE ON PROCEDURE appdb.chain TO chained@'127.%', mid@'127.%';\n\
         DELIMITER //\n\
         CREATE FUNCTION appdb.f() RETURNS INT MODIFIES SQL DATA BEGIN {ROW}; RETURN 1; END//\n\
         DELIMITER ;\n\
         GRANT EXECUTE ON FUNCTION appdb.f TO counting@'127.%'"
    ));
    if db.engine == Engines::Host {
        db.sql(&format!(
            "SET sql_mode=ORACLE;\n\
             DELIMITER //\n\
             CREATE PACKAGE appdb.p SQL SECURITY INVOKER AS PROCEDURE sly; END//\n\
             CREATE PACKAGE BODY appdb.p AS PROCEDURE sly AS BEGIN {ROW}; END; END//\n\
             GRANT EXECUTE ON PACKAGE BODY appdb.p TO packed@'127.%'//"
        ));
    }
    let rows = || db.sql("SELECT COUNT(*) FROM appdb.t").parse::<usize>().unwrap();
    let before = rows();
    db.sql(db.or("DO 0", "SET GLOBAL super_read_only = 0"));
    for (user, call, _) in &ways {
        assert!(client(scene, db, user, call).wait().unwrap().success(), "{user}: {call}");
    }
    assert!(!client(scene, db, "counting", "DO appdb.f()").wait().unwrap().success());
    db.sql(db.or("DO 0", "SET GLOBAL super_read_only = 1"));
    assert_eq!(rows(), before + ways.len(), "each wrote under read_only");

    let checks = refused(db, &[]);
    assert_eq!(checks.len(), 1, "{checks:?}");
    for (user, _, because) in &ways {
        let named = format!("{user}@127.% ({because})");
        assert!(checks[0].detail.contains(&named), "{named}: {}", checks[0].detail);
    }
    assert!(!checks[0].detail.contains("counting"), "{}", checks[0].detail);
    db.force(&format!(
        "DROP USER {}; DROP ROLE wrole; DROP PROCEDURE mysql.sly; DROP PROCEDURE appdb.roled; {} \
         DROP PROCEDURE appdb.chain; DROP FUNCTION appdb.f",
        all.iter().map(|user| format!("{user}@'127.%'")).collect::<Vec<_>>().join(", "),
        db.or("SET sql_mode=ORACLE; DROP PACKAGE appdb.p; SET sql_mode=DEFAULT;", "DO 0;"),
    ));
}

fn on_restores_what_was_there_and_no_more(engines: Engines) {
    let scene = Scene::on(engines, "quiet-exact");
    let db = filled(&scene);
    let m = open(&db, "admin");
    let now = || {
        db.sql(db.or(
            "SELECT @@read_only, 0, @@event_scheduler",
            "SELECT @@read_only, @@super_read_only, @@event_scheduler",
        ))
    };
    let locks: &[(&str, &str)] = match engines {
        Engines::Host => &[("SET GLOBAL read_only=0", "0\t0"), ("SET GLOBAL read_only=1", "1\t0")],
        Engines::Newer => &[
            ("SET GLOBAL read_only=0", "0\t0"),
            ("SET GLOBAL super_read_only=0; SET GLOBAL read_only=1", "1\t0"),
            ("SET GLOBAL super_read_only=1", "1\t1"),
        ],
    };
    for (lock, shown) in locks {
        for events in ["ON", "OFF"] {
            db.sql(&format!("{lock}; SET GLOBAL event_scheduler={events}"));
            let before = m.writes_off(&[], LIMIT).unwrap();
            assert_eq!(now(), db.or("1\t0\tOFF", "1\t1\tOFF"));
            m.writes_on(&before).unwrap();
            assert_eq!(now(), format!("{shown}\t{events}"));
        }
    }
}

fn waiters_that_a_killed_tool_left_are_found_and_ended_and_those_of_living_ones_stay(
    engines: Engines,
) {
    let scene = Scene::on(engines, "quiet-waiter");
    let db = filled(&scene);
    let m = open(&db, "admin");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let own = std::process::id();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
    let future = match engines {
        Engines::Host => "0-1-99999999".to_owned(),
        Engines::Newer => format!("{}:1-99999999", db.sql("SELECT @@server_uuid")),
    };
    let waits = db.or("MASTER_GTID_WAIT", "WAIT_FOR_EXECUTED_GTID_SET");
    let wait = |pid: u32, host: &str| {
        let sql =
            format!("/* rs_tools waiter {host} {pid} {start} */ SELECT {waits}('{future}', 600)");
        client(&scene, &db, "admin", &sql)
    };
    let mut clients = [wait(4_194_305, &host), wait(own, &host), wait(4_194_305, "elsewhere")];
    let left = "SELECT GROUP_CONCAT(SUBSTRING_INDEX(SUBSTRING_INDEX(INFO, ' ', 5), ' ', -2) ORDER BY 1) \
                FROM information_schema.processlist WHERE INFO LIKE '/* rs%waiter%'";
    until("the waiters", LIMIT, || db.sql(left).matches(',').count() == 2);
    let loud = m.silence(&[]).unwrap();
    assert!(
        loud.sessions.iter().any(|s| s.statement.contains("4194305") && s.exempt.is_empty()),
        "{:?}",
        loud.sessions
    );
    let begun = Instant::now();
    let position = rs_model::Position { gtid: Some(future.clone()), ..Default::default() };
    assert!(!m.wait_applied(&position, Duration::from_millis(200)).unwrap());
    assert!(begun.elapsed() < Duration::from_secs(10));
    until("the dead one's waiter to go", LIMIT, || {
        let now = db.sql(left);
        !now.contains(&format!("{host} 4194305")) && now.contains(&format!("{host} {own}"))
    });
    assert!(db.sql(left).contains("elsewhere 4194305"), "of another machine nothing is known");
    for client in &mut clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

fn a_server_without_a_connection_left_is_tried_again_and_a_commit_that_waits_for_a_slave_is_named(
    engines: Engines,
) {
    let scene = Scene::on(engines, "quiet-full");
    let db = filled(&scene);
    let m = open(&db, "admin");
    m.write_canary("first").unwrap();
    // all but the one in reserve, and that one is ours: it sees whether somebody was sent away
    db.sql("SET GLOBAL max_connections=10");
    let mut inside = std::process::Command::new(program("mariadb"))
        // an admin may have ended a session before we do
        .args(["--no-defaults", "--force", "-uroot", "-N", "-B", "-n", "-S"])
        .arg(&db.socket)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) =
        (inside.stdin.take().unwrap(), std::io::BufReader::new(inside.stdout.take().unwrap()));
    let mut ask = |sql: &str| {
        writeln!(to, "{sql};").unwrap();
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        line.trim_end().rsplit('\t').next().unwrap().to_owned()
    };
    let used = "SELECT COUNT(*) FROM information_schema.processlist WHERE USER IN ('root', 'app')";
    let sleeper = || client(&scene, &db, "app", "DO SLEEP(600)");
    let mut sleepers: Vec<_> = (0..10).map(|_| sleeper()).collect();
    until("all connections to be used", LIMIT, || {
        // one may have been sent away while a session of ours was just ending
        let away = sleepers.iter_mut().filter_map(|one| one.try_wait().unwrap().map(|_| one));
        away.for_each(|one| *one = sleeper());
        ask(used).parse::<u32>().unwrap() >= 10
    });
    let errors = "SHOW GLOBAL STATUS LIKE 'Connection_errors_max_connections'";
    let before: u64 = ask(errors).parse().unwrap();
    std::thread::scope(|scope| {
        let admins: Vec<_> = (0..3).map(|_| scope.spawn(|| m.writes_off(&[], LIMIT))).collect();
        until("one to be sent away", LIMIT, || ask(errors).parse::<u64>().unwrap() > before);
        let kill = "SELECT GROUP_CONCAT(ID) FROM information_schema.processlist WHERE USER = 'app'";
        for id in ask(kill).split(',') {
            ask(&format!("KILL {id}; SELECT 1"));
        }
        for admin in admins {
            admin.join().unwrap().unwrap();
        }
    });
    drop(to);
    inside.wait().unwrap();
    for mut sleeper in sleepers {
        let _ = sleeper.kill(); // one that came in late sleeps on
        let _ = sleeper.wait();
    }
    // a master that waits for a slave which is not there
    db.force(db.or(
        "SET GLOBAL rpl_semi_sync_master_timeout=60000; SET GLOBAL rpl_semi_sync_master_enabled=1",
        "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'; SET GLOBAL rpl_semi_sync_source_timeout=60000; \
         SET GLOBAL rpl_semi_sync_source_enabled=1",
    ));
    db.sql(db.or("SET GLOBAL read_only=0", "SET GLOBAL super_read_only=0; SET GLOBAL read_only=0"));
    let waits = m.write_canary("second").unwrap_err();
    assert_eq!(waits.kind(), rs_contract::Kind::TimedOut, "{waits}");
    assert!(waits.what().contains("semi-synchronous acknowledgement"), "{waits}");
    assert!(waits.cause().unwrap().to_lowercase().contains("semi-sync"), "{waits}");
    assert!(waits.advice().unwrap().contains("rpl_semi_sync"), "{waits}");
    db.sql(db.or(
        "SET GLOBAL rpl_semi_sync_master_enabled=0",
        "SET GLOBAL rpl_semi_sync_source_enabled=0",
    ));
}

fn our_own_sessions_that_come_and_go_are_never_taken_for_somebodys(engines: Engines) {
    let scene = Scene::on(engines, "quiet-own");
    let db = filled(&scene);
    let m = open(&db, "admin");
    m.writes_off(&[], LIMIT).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    open(&db, "admin").position().unwrap();
                }
            });
        }
        let _end = Over(&over);
        for _ in 0..100 {
            let now = m.silence(&[]).unwrap();
            assert!(now.sessions.iter().all(|s| s.exempt == "ours"), "{:?}", now.sessions);
        }
    });
    // somebody else with the same account is none of us, idle or not
    let mut idle = std::process::Command::new(program("mariadb"))
        .args(["--no-defaults", "-h", &db.address, "-uadmin", "-padmin"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    until("the idle one to be named", LIMIT, || {
        m.silence(&[]).unwrap().sessions.iter().any(|s| s.exempt.is_empty())
    });
    m.writes_off(&[], LIMIT).unwrap();
    assert_eq!(refused(&db, &[]), []);
    drop(idle.stdin.take());
    let _ = idle.wait();
}
