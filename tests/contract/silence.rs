//! Silence, on real MariaDB servers: every way to write although writes are off is found and named, what was before
//! comes back exactly, and what a killed tool of ours left is ended.

use std::time::{Duration, Instant};

use rs_model::silence::judge_silence;
use rs_model::{Answer, Check};
use rs_tests::{MariaDb, Scene, program, until};

use super::database::open;

const LIMIT: Duration = Duration::from_secs(20);

fn filled(scene: &Scene) -> MariaDb {
    let db = scene.mariadb("m");
    db.sql("CREATE DATABASE appdb; CREATE TABLE appdb.t (id INT PRIMARY KEY) ENGINE=InnoDB");
    db
}

/// A client of the application that runs `sql` and stays as long as that takes.
fn client(scene: &Scene, db: &MariaDb, user: &str, sql: &str) -> std::process::Child {
    scene
        .call(&program("mariadb").display().to_string(), user)
        .args(["--no-defaults", "--comments", "-h", &db.address, "-u", user])
        .args([&format!("-p{user}"), "-e", sql])
        .start()
}

fn refused(db: &MariaDb, allowed: &[String]) -> Vec<Check> {
    let facts = open(db, "admin").silence(allowed).unwrap();
    let mut checks = judge_silence("m", &facts);
    checks.retain(|check| check.answer != Answer::Ok);
    checks
}

#[test]
fn a_prepared_xa_is_named_and_left_alone_and_a_second_master_is_named() {
    let scene = Scene::new("quiet-xa");
    let db = filled(&scene);
    let m = open(&db, "admin");
    db.sql("XA START 'order-7'; INSERT INTO appdb.t VALUES (7); XA END 'order-7'; XA PREPARE 'order-7'");
    db.sql("CHANGE MASTER 'east' TO MASTER_HOST='192.0.2.7', MASTER_USER='repl'");
    m.writes_off(&[], LIMIT).unwrap();
    let checks = refused(&db, &[]);
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["no prepared XA transaction", "no incoming replication"]);
    assert!(checks[0].detail.contains("order-7"), "{checks:?}");
    assert!(checks[1].detail.contains("192.0.2.7:3306 (\"east\")"), "{checks:?}");
    // it is its owner's: still there, and its owner can settle it
    assert!(db.sql("XA RECOVER").contains("order-7"));
    db.sql("XA COMMIT 'order-7'; RESET SLAVE 'east' ALL");
    assert_eq!(refused(&db, &[]), []);
}

#[test]
fn rights_that_a_procedure_or_everybody_lends_are_found_and_their_sessions_ended() {
    let scene = Scene::new("quiet-lent");
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
    m.writes_off(&[], LIMIT).unwrap();
    assert_eq!(db.sql(sleeping), "reader", "who may write through the procedure was ended");
    // it is no idle fear: this is what it does under read_only
    assert!(client(&scene, &db, "app", "CALL appdb.sly()").wait().unwrap().success());
    assert_eq!(db.sql("SELECT COUNT(*) FROM appdb.t"), "1");
    assert!(!client(&scene, &db, "reader", "CALL appdb.plain()").wait().unwrap().success());
    let checks = refused(&db, &[]);
    assert_eq!(checks[0].name, "no account that could write");
    assert!(checks[0].detail.contains("app@127.% (procedure appdb.sly runs as root@localhost)"));
    assert_eq!(refused(&db, &["app".into()]), []);

    db.sql("DROP PROCEDURE appdb.sly");
    assert_eq!(refused(&db, &[]), []);
    // what everybody may, the reader may
    db.sql("GRANT READ ONLY ADMIN ON *.* TO PUBLIC");
    let names: Vec<String> = refused(&db, &[]).into_iter().map(|check| check.name).collect();
    assert_eq!(names, ["no session that could write", "no account that could write"]);
    m.writes_off(&[], LIMIT).unwrap();
    assert_eq!(db.sql(sleeping), "NULL");
    for client in &mut clients {
        let _ = client.wait();
    }
}

#[test]
fn on_restores_what_was_there_and_no_more() {
    let scene = Scene::new("quiet-exact");
    let db = filled(&scene);
    let m = open(&db, "admin");
    let now = || db.sql("SELECT @@read_only, @@event_scheduler");
    for (settings, shown) in [
        ("SET GLOBAL read_only=0; SET GLOBAL event_scheduler=ON", "0\tON"),
        ("SET GLOBAL read_only=0; SET GLOBAL event_scheduler=OFF", "0\tOFF"),
        ("SET GLOBAL read_only=1; SET GLOBAL event_scheduler=ON", "1\tON"),
        ("SET GLOBAL read_only=1; SET GLOBAL event_scheduler=OFF", "1\tOFF"),
    ] {
        db.sql(settings);
        let before = m.writes().unwrap();
        m.writes_off(&[], LIMIT).unwrap();
        assert_eq!(now(), "1\tOFF");
        m.writes_on(&before).unwrap();
        assert_eq!(now(), shown);
    }
}

#[test]
fn waiters_that_a_killed_tool_left_are_found_and_ended_and_those_of_living_ones_stay() {
    let scene = Scene::new("quiet-waiter");
    let db = filled(&scene);
    let m = open(&db, "admin");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let own = std::process::id();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
    let wait = |pid: u32, host: &str| {
        let sql = format!(
            "/* rs_tools waiter {host} {pid} {start} */ SELECT MASTER_GTID_WAIT('0-1-99999999', 600)"
        );
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
    let position = rs_model::Position { gtid: Some("0-1-99999999".into()), ..Default::default() };
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
