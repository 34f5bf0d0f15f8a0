//! Contract of the family `Database`, on real servers of both engines: facts, waits, writes, hold, migration, promotion.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rs_contract::{Database, Error, Kind, Secret, SourceSpec, Work};
use rs_drivers::settings::Settings;
use rs_model::replica::HELD_HOST;
use rs_model::{Position, Server, Value};
use rs_tests::{Db, Engines, Scene, each_engine, until};

const LIMIT: Duration = Duration::from_secs(20);

each_engine!(
    facts_and_waits_are_exact,
    who_does_not_answer_is_unreachable_and_a_wrong_password_names_the_account,
    writes_off_ends_who_could_write_and_on_restores,
    behind_a_lock_that_may_stay_writes_off_gives_up_names_it_and_leaves_all_as_it_was,
    a_held_slave_stays_held_over_a_kill_and_a_stray_start_and_resumes_exactly,
    a_blank_copy_follows_from_its_position_and_one_with_a_history_is_refused,
    a_promoted_slave_has_no_source_takes_writes_and_runs_its_events,
    a_migration_runs_once_under_read_only_and_goes_on_after_a_failure,
    a_lock_that_stops_the_migration_too_is_lowered_for_it_and_raised_in_every_exit,
    a_migration_cut_off_in_an_alter_is_settled_by_looking,
    a_migration_names_who_holds_its_lock_and_keeps_its_time_limit,
    tls_is_used_when_asked_and_its_chain_is_verified,
);

pub fn open(db: &Db, user: &str) -> Box<dyn Database> {
    open_with(db, user, user, &[])
}

fn open_with(db: &Db, user: &str, password: &str, more: &[(&str, &str)]) -> Box<dyn Database> {
    let server = Server {
        name: "A 'DB'".into(),
        address: Some(db.address.parse().unwrap()),
        ..Server::default()
    };
    let port = db.port.to_string();
    let values =
        [("DB_PORT", port.as_str()), ("DBADMIN_USER", user), ("DBADMIN_PASSWORD", password)]
            .into_iter()
            .chain([("DBMIGRATION_USER", "migrator")])
            .chain(more.iter().copied())
            .map(|(name, text)| (name.to_owned(), Value::Text(text.into())));
    let settings = Settings::given("production", Some(&server), values);
    rs_drivers::database(&server, &settings, None, None).unwrap()
}

pub fn source(db: &Db) -> SourceSpec {
    SourceSpec {
        host: db.address.clone(),
        port: db.port,
        user: "repl".into(),
        password: Secret::new("repl"),
    }
}

/// Rows with these numbers.
fn fill(db: &Db, from: u32, to: u32) {
    let numbers = db.numbers(from, to);
    db.sql(&format!("USE appdb; INSERT INTO t SELECT seq, REPEAT('y', 150) FROM {numbers}"));
}

fn filled(scene: &Scene, name: &str) -> Db {
    let db = scene.database(name);
    db.sql(
        "CREATE DATABASE appdb; GRANT ALL ON appdb.* TO app@'127.%'; \
            CREATE TABLE appdb.t (id INT PRIMARY KEY, note VARCHAR(200)) ENGINE=InnoDB",
    );
    fill(&db, 1, 2000);
    db
}

fn kill(scene: &Scene, db: &Db) {
    let pid = std::fs::read_to_string(db.dir.join("db.pid")).unwrap();
    scene.kill(pid.trim().parse().unwrap());
}

fn facts_and_waits_are_exact(engines: Engines) {
    let scene = Scene::on(engines, "db-facts");
    let master = filled(&scene, "m");
    let slave = scene.replica_of(&master, "s");
    let (m, s) = (open(&master, "admin"), open(&slave, "admin"));
    assert_eq!(m.identity().unwrap().server_id, u64::from(master.server_id));
    assert!(m.place().contains("A 'DB'") && m.replica().unwrap().channels.is_empty());

    m.write_canary("one").unwrap();
    m.write_canary("two").unwrap();
    let position = m.position().unwrap();
    assert!(s.wait_applied(&position, LIMIT).unwrap());
    assert_eq!(s.read_canary().unwrap().as_deref(), Some("two"));
    let now = s.replica().unwrap();
    assert!(now.applied.same(&position) && now.read_only);
    assert_eq!(now.channels[0].source_server_id, u64::from(master.server_id));
    assert!(now.channels[0].uses_gtid);

    // the future is not applied, and the wait keeps its limit
    let future = match engines {
        Engines::Host => "0-1-99999999".to_owned(),
        Engines::Newer => format!("{}:1-99999999", master.sql("SELECT @@server_uuid")),
    };
    let future = Position { gtid: Some(future), ..Position::default() };
    let begun = Instant::now();
    assert!(!s.wait_applied(&future, Duration::from_millis(300)).unwrap());
    assert!(begun.elapsed() < Duration::from_secs(3));
    // an empty position counts as reached on every engine: refused before asking
    for empty in [None, Some(""), Some(" , ")] {
        let position = Position { gtid: empty.map(str::to_owned), ..Position::default() };
        assert_eq!(s.wait_applied(&position, LIMIT).unwrap_err().kind(), Kind::Declined);
    }
    // a canary on a slave would be an errant transaction
    assert_eq!(s.write_canary("three").unwrap_err().kind(), Kind::Declined);
    assert_eq!(open(&filled(&scene, "other"), "admin").read_canary().unwrap(), None);
}

fn who_does_not_answer_is_unreachable_and_a_wrong_password_names_the_account(engines: Engines) {
    let scene = Scene::on(engines, "db-errors");
    let db = scene.database("m");
    let wrong = open_with(&db, "admin", "secret-7f", &[]).position().unwrap_err();
    assert_eq!(wrong.kind(), Kind::Failed);
    assert!(wrong.to_string().contains("admin") && !format!("{wrong:?}").contains("secret-7f"));
    let tls = open_with(&db, "admin", "admin", &[("DB_TLS", "required")]).position().unwrap_err();
    assert_eq!(
        tls.kind(),
        Kind::Unreachable,
        "a server without TLS must not be talked to in clear"
    );
    // the application's account lacks what the question needs
    let poor = open(&db, "app").silence(&[]).unwrap_err();
    assert_eq!(poor.kind(), Kind::Failed);
    assert!(poor.to_string().contains("app") && poor.to_string().contains("privilege"), "{poor}");
    kill(&scene, &db);
    let begun = Instant::now();
    let gone = open(&db, "admin").position().unwrap_err();
    assert_eq!(gone.kind(), Kind::Unreachable);
    assert!(begun.elapsed() < LIMIT);
}

fn writes_off_ends_who_could_write_and_on_restores(engines: Engines) {
    let scene = Scene::on(engines, "db-writes");
    let db = filled(&scene, "m");
    db.sql("SET GLOBAL event_scheduler=ON; CREATE TABLE appdb.ticks (n INT) ENGINE=InnoDB; \
            CREATE EVENT appdb.tick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO appdb.ticks VALUES (1); \
            CREATE USER boss@'127.%' IDENTIFIED BY 'boss'; GRANT ALL ON *.* TO boss@'127.%'; \
            CREATE USER beat@'127.%' IDENTIFIED BY 'beat'; GRANT ALL ON *.* TO beat@'127.%'; \
            CREATE ROLE chief; \
            CREATE USER sly@'127.%' IDENTIFIED BY 'sly'; GRANT chief TO sly@'127.%'");
    let privilege = db.or("READ_ONLY ADMIN", "SYSTEM_VARIABLES_ADMIN");
    db.sql(&format!("GRANT {privilege} ON *.* TO chief"));
    let m = open(&db, "admin");
    let session = |user: &str, sql: &str| {
        scene
            .call(&rs_tests::program("mariadb").display().to_string(), user)
            .args(["--no-defaults", "-h", &db.address, "-u", user, &format!("-p{user}"), "-e", sql])
            .start()
    };
    // a lock that is held, a transaction that is open, idle sessions that may write
    let mut children = vec![
        session("app", "LOCK TABLES appdb.t WRITE; DO SLEEP(600)"),
        session("boss", "DO SLEEP(600)"),
        session("sly", "DO SLEEP(600)"),
        session("beat", "DO SLEEP(600)"),
        session("app", "BEGIN; INSERT INTO appdb.ticks VALUES (7); DO SLEEP(600)"),
    ];
    until("the sessions to be there", LIMIT, || {
        db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'")
            == "5"
    });
    let loud = m.silence(&["beat".into()]).unwrap();
    let names: Vec<&str> = loud.sessions.iter().map(|s| s.user.as_str()).collect();
    assert!(
        names.contains(&"boss") && names.contains(&"sly") && !names.contains(&"app"),
        "{names:?}"
    );
    assert!(loud.events_on && loud.open_transactions == 1 && !loud.read_only);

    let before = m.writes_off(&["beat".into()], LIMIT).unwrap();
    assert_eq!(before.events_before.as_deref(), Some("ON"));
    let silent = m.silence(&["beat".into()]).unwrap();
    assert!(silent.read_only && !silent.events_on && silent.open_transactions == 0);
    assert!(silent.sessions.iter().all(|s| !s.exempt.is_empty()), "{:?}", silent.sessions);
    let exempt = |account: &str| {
        silent.accounts.iter().find(|a| a.account == account).map(|a| a.exempt.as_str())
    };
    assert_eq!(exempt("boss@127.%"), Some(""));
    assert_eq!(exempt("sly@127.%"), Some(""));
    assert_eq!(exempt("beat@127.%"), Some("allowed"));
    assert_eq!(exempt("admin@127.%"), Some("ours"));
    assert_eq!(exempt("root@localhost"), Some("system"));
    assert_eq!(exempt("app@127.%"), None);
    // the allowed one is still there, the others are not
    assert_eq!(
        db.sql("SELECT GROUP_CONCAT(user) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'"),
        "beat"
    );
    let ticks = db.sql("SELECT COUNT(*), MAX(n) FROM appdb.ticks");
    assert!(!ticks.ends_with("\t7"), "the open transaction was rolled back: {ticks}");
    // twice is once
    m.writes_off(&["beat".into()], LIMIT).unwrap();

    m.writes_on(&before).unwrap();
    let after = m.writes().unwrap();
    assert!(!after.off);
    assert_eq!(after.events_before.as_deref(), Some("ON"));
    // with nobody holding a lock it is not the lock that ends who has a transaction open
    children.push(session("app", "BEGIN; INSERT INTO appdb.ticks VALUES (8); DO SLEEP(600)"));
    until("it to be open", LIMIT, || {
        // InnoDB shows an old picture to whoever asks more often than every 100 ms
        std::thread::park_timeout(Duration::from_millis(150));
        m.silence(&["beat".into()]).unwrap().open_transactions == 1
    });
    let begun = Instant::now();
    m.writes_off(&["beat".into()], LIMIT).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    m.writes_on(&before).unwrap();
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn behind_a_lock_that_may_stay_writes_off_gives_up_names_it_and_leaves_all_as_it_was(
    engines: Engines,
) {
    let scene = Scene::on(engines, "db-blocked");
    let db = filled(&scene, "m");
    let m = open(&db, "admin");
    let mut holder = scene
        .call(&rs_tests::program("mariadb").display().to_string(), "holder")
        .args(["--no-defaults", "-h", &db.address, "-uapp", "-papp", "-e"])
        .args(["LOCK TABLES appdb.t WRITE; DO SLEEP(600)"])
        .start();
    until("the lock", LIMIT, || {
        db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'")
            == "1"
    });
    let begun = Instant::now();
    let error = m.writes_off(&["app".into()], Duration::from_secs(2)).unwrap_err();
    assert_eq!(error.kind(), Kind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(error.to_string().contains("app@") && error.to_string().contains("appdb.t"), "{error}");
    assert!(!m.writes().unwrap().off, "nothing half");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

fn a_held_slave_stays_held_over_a_kill_and_a_stray_start_and_resumes_exactly(engines: Engines) {
    let scene = Scene::on(engines, "db-hold");
    let master = filled(&scene, "m");
    let slave = scene.replica_of(&master, "s");
    let (m, s) = (open(&master, "admin"), open(&slave, "admin"));
    m.write_canary("before").unwrap();
    let position = m.position().unwrap();
    assert!(s.wait_applied(&position, LIMIT).unwrap());
    let held = s.hold(LIMIT).unwrap();
    assert!(held.same(&position));
    assert!(s.hold(LIMIT).unwrap().same(&position), "twice is once");
    let now = s.replica().unwrap();
    assert!(now.is_held() && now.read_only && now.channels[0].uses_gtid);

    m.write_canary("after").unwrap();
    slave.sql("START REPLICA");
    until("the stray start to try", LIMIT, || {
        s.replica().unwrap().channels[0].last_error.contains(HELD_HOST)
    });
    assert_eq!(s.read_canary().unwrap().as_deref(), Some("before"));
    kill(&scene, &slave);
    scene.start_database(&slave);
    until("the restarted slave to try", LIMIT, || {
        s.replica().unwrap().channels[0].last_error.contains(HELD_HOST)
    });
    let now = s.replica().unwrap();
    assert!(now.applied.same(&position) && now.is_held());
    assert_eq!(s.read_canary().unwrap().as_deref(), Some("before"));

    s.resume(&source(&master)).unwrap();
    s.resume(&source(&master)).unwrap();
    assert!(s.wait_applied(&m.position().unwrap(), LIMIT).unwrap());
    assert_eq!(s.read_canary().unwrap().as_deref(), Some("after"));
}

fn a_blank_copy_follows_from_its_position_and_one_with_a_history_is_refused(engines: Engines) {
    let scene = Scene::on(engines, "db-follow");
    let master = filled(&scene, "m");
    let slave = scene.replica_of(&master, "s");
    let (m, s) = (open(&master, "admin"), open(&slave, "admin"));
    let position = m.position().unwrap();
    s.follow(&source(&master), &position).unwrap();
    // as after a restore: data, no source, no binary log
    slave.sql(slave.or(
        "STOP SLAVE; RESET SLAVE ALL; RESET MASTER; SET GLOBAL gtid_slave_pos=''",
        "STOP REPLICA; RESET REPLICA ALL; RESET BINARY LOGS AND GTIDS",
    ));
    m.write_canary("later").unwrap();
    s.follow(&source(&master), &position).unwrap();
    assert!(s.wait_applied(&m.position().unwrap(), LIMIT).unwrap());
    assert_eq!(s.read_canary().unwrap().as_deref(), Some("later"));

    let stranger = filled(&scene, "x");
    let refused = open(&stranger, "admin").follow(&source(&master), &position).unwrap_err();
    assert_eq!(refused.kind(), Kind::Declined);
    let nowhere = scene.database("y");
    let refused = open(&nowhere, "admin").follow(&source(&master), &Position::default());
    assert_eq!(refused.unwrap_err().kind(), Kind::Declined);
    assert!(open(&nowhere, "admin").replica().unwrap().channels.is_empty());
}

fn a_promoted_slave_has_no_source_takes_writes_and_runs_its_events(engines: Engines) {
    let scene = Scene::on(engines, "db-promote");
    let master = filled(&scene, "m");
    let slave = scene.replica_of(&master, "s");
    master
        .sql("CREATE EVENT appdb.`a``b` ON SCHEDULE EVERY 1 DAY DO DELETE FROM appdb.t WHERE id<0");
    let (m, s) = (open(&master, "admin"), open(&slave, "admin"));
    assert!(s.wait_applied(&m.position().unwrap(), LIMIT).unwrap());
    s.hold(LIMIT).unwrap();
    s.promote().unwrap();
    s.promote().unwrap();
    let now = s.replica().unwrap();
    assert!(now.channels.is_empty() && !now.read_only);
    assert_eq!(
        slave.sql("SELECT STATUS FROM information_schema.events WHERE EVENT_SCHEMA='appdb'"),
        "ENABLED"
    );
    s.write_canary("mine").unwrap();
    let mine = match engines {
        Engines::Host => format!("-{}-", slave.server_id),
        Engines::Newer => slave.sql("SELECT @@server_uuid"),
    };
    assert!(s.position().unwrap().text().contains(&mine), "{:?}", s.position());
}

fn statements(text: &str) -> Vec<String> {
    rs_model::sql::split(text).unwrap()
}

fn a_migration_runs_once_under_read_only_and_goes_on_after_a_failure(engines: Engines) {
    let scene = Scene::on(engines, "db-migrate");
    let db = filled(&scene, "m");
    let (m, migrator) = (open(&db, "admin"), open(&db, "migrator"));
    m.write_canary("x").unwrap();
    m.writes_off(&[], LIMIT).unwrap();
    let before = m.schema_fingerprint("appdb").unwrap();
    let run = |token: &str, sql: &[String]| {
        let work = Work { timeout: LIMIT };
        m.lowered(&[], &mut || migrator.migrate(token, "appdb", sql, work, &|_| {}), &|_| {})
    };
    let good = statements(
        "SET @step = 5; ALTER TABLE t RENAME COLUMN note TO remark;\nUPDATE t SET remark = CONCAT(@step, '; x') WHERE id = 1;\
         ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 3",
    );
    assert_eq!(migrator.migration_state("u-1").unwrap(), None);
    run("u-1", &good).unwrap();
    assert_eq!(migrator.migration_state("u-1").unwrap(), Some((4, 4)));
    assert_ne!(m.schema_fingerprint("appdb").unwrap(), before);
    // twice is once: RENAME would fail
    run("u-1", &good).unwrap();
    assert_eq!(db.sql("SELECT remark FROM appdb.t WHERE id=1"), "5; x");
    let other = run("u-1", &good[..1]).unwrap_err();
    assert_eq!(other.kind(), Kind::Declined);

    let bad = statements(
        "ALTER TABLE t ADD COLUMN k INT; UPDATE t SET k=id; ALTER TABLE t DROP COLUMN nope; ALTER TABLE t ADD COLUMN z INT",
    );
    let failed = run("u-2", &bad).unwrap_err();
    assert!(failed.to_string().contains("statement 3 of 4"), "{failed}");
    assert_eq!(migrator.migration_state("u-2").unwrap(), Some((2, 4)));
    db.force("ALTER TABLE appdb.t ADD COLUMN nope INT");
    run("u-2", &bad).unwrap();
    assert_eq!(db.sql("SELECT k, z FROM appdb.t WHERE id=7"), "7\tNULL");
}

fn a_lock_that_stops_the_migration_too_is_lowered_for_it_and_raised_in_every_exit(
    engines: Engines,
) {
    let scene = Scene::on(engines, "db-lowered");
    let db = filled(&scene, "m");
    db.sql("CREATE USER boss@'127.%' IDENTIFIED BY 'boss'; GRANT ALL ON *.* TO boss@'127.%'");
    let m = open(&db, "admin");
    m.write_canary("x").unwrap();
    let calls = AtomicU32::new(0);
    let nothing = &mut || {
        calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    assert_eq!(m.lowers().unwrap(), engines == Engines::Newer);
    m.lowered(&[], nothing, &|_| {}).unwrap();
    m.writes_off(&[], LIMIT).unwrap();
    m.lowered(&[], nothing, &|_| {}).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    if engines == Engines::Host {
        return;
    }
    let state = || {
        let writes = m.writes().unwrap();
        (writes.off, writes.lowered)
    };
    let boss = || {
        scene
            .call(&rs_tests::program("mariadb").display().to_string(), "boss")
            .args(["--no-defaults", "-h", &db.address, "-uboss", "-pboss", "-e", "DO SLEEP(600)"])
            .start()
    };
    let mut early = boss();
    until("the session", LIMIT, || {
        m.silence(&[]).unwrap().sessions.iter().any(|s| s.user == "boss")
    });
    let told = Mutex::new(Vec::new());
    let late = Mutex::new(None);
    m.lowered(
        &[],
        &mut || {
            assert_eq!(state(), (false, true));
            let poor = open(&db, "app").scalar("INSERT INTO appdb.t VALUES (0, '')").unwrap_err();
            assert!(poor.to_string().contains("1290"), "{poor}");
            assert!(!early.wait().unwrap().success(), "it was ended before");
            let mut later = boss();
            until("it to be ended", LIMIT, || later.try_wait().unwrap().is_some());
            *late.lock().unwrap() = later.wait().ok();
            Ok(())
        },
        &|line| told.lock().unwrap().push(line.to_owned()),
    )
    .unwrap();
    assert!(!late.lock().unwrap().unwrap().success());
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|line| line.contains("boss@127.")), "{told:?}");
    assert_eq!(state(), (true, false));

    // a script has an account and no mark of ours: it is let work for longer than a look takes
    let script = || {
        scene
            .call(&rs_tests::program("mariadb").display().to_string(), "script")
            .args(["--no-defaults", "-h", &db.address, "-umigrator", "-pmigrator", "-e"])
            .args(["DO SLEEP(0.5); INSERT INTO appdb.t VALUES (0, 'script')"])
            .run()
            .exit
    };
    let mut exit = None;
    let mut work = || {
        exit = Some(script());
        Ok(())
    };
    m.lowered(&["migrator".into()], &mut work, &|_| {}).unwrap();
    assert_eq!(exit, Some(0));
    assert_eq!(db.sql("SELECT note FROM appdb.t WHERE id=0"), "script");

    let failed = m.lowered(&[], &mut || Err(Error::new(Kind::Failed, "it broke")), &|_| {});
    assert!(failed.unwrap_err().to_string().contains("it broke"));
    assert_eq!(state(), (true, false));
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        m.lowered(&[], &mut || panic!("on purpose"), &|_| {})
    }));
    panicked.unwrap_err();
    assert_eq!(state(), (true, false));
    // as a kill leaves it: the next run raises it, and so does writes off
    for raise in [true, false] {
        db.sql("SET GLOBAL super_read_only = 0");
        assert_eq!(state(), (false, true));
        if raise {
            m.lowered(&[], &mut || Ok(()), &|_| {}).unwrap();
        } else {
            m.writes_off(&[], LIMIT).unwrap();
        }
        assert_eq!(state(), (true, false));
    }
}

fn a_migration_cut_off_in_an_alter_is_settled_by_looking(engines: Engines) {
    let scene = Scene::on(engines, "db-cut");
    let db = filled(&scene, "m");
    fill(&db, 3000, 200000);
    let (m, migrator) = (open(&db, "admin"), open(&db, "migrator"));
    m.write_canary("x").unwrap();
    let alter = "ALTER TABLE t ADD COLUMN k INT, ALGORITHM=COPY";
    let sql = statements(&format!("{alter}; UPDATE t SET k=1 WHERE id=1"));
    let work = Work { timeout: Duration::from_secs(60) };

    // the server dies in the middle: the table is whole, the statement not done, the next run does it
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| migrator.migrate("u-3", "appdb", &sql, work, &|_| {}));
        until("the ALTER to run", LIMIT, || {
            db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE INFO LIKE 'ALTER TABLE t ADD%'") == "1"
        });
        kill(&scene, &db);
        running.join().unwrap()
    });
    assert_eq!(outcome.unwrap_err().kind(), Kind::Unreachable);
    scene.start_database(&db);
    let (done, of) = migrator.migration_state("u-3").unwrap().unwrap();
    assert_eq!((done, of), (0, 2));
    migrator.migrate("u-3", "appdb", &sql, work, &|_| {}).unwrap();
    assert_eq!(db.sql("SELECT COUNT(*) FROM appdb.t WHERE k=1"), "1");

    // the client dies and its statement goes on: the next run waits for it and neither repeats nor skips
    let second = statements(
        "ALTER TABLE t DROP COLUMN k, ALGORITHM=COPY; ALTER TABLE t ADD COLUMN last INT",
    );
    migrator.migrate("u-4", "appdb", &second, work, &|_| {}).unwrap();
    db.sql(
        "ALTER TABLE appdb.t DROP COLUMN last, ADD COLUMN k INT; \
         DELETE FROM rs_tools.migration_step WHERE token='u-4' AND number=2; \
         UPDATE rs_tools.migration_step SET done=0 WHERE token='u-4'",
    );
    let mut orphan = scene
        .call(&rs_tests::program("mariadb").display().to_string(), "orphan")
        .args([
            "--no-defaults",
            "-h",
            &db.address,
            "-umigrator",
            "-pmigrator",
            "appdb",
            "-e",
            &second[0],
        ])
        .start();
    until("the orphan to run", LIMIT, || {
        db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE INFO LIKE 'ALTER TABLE t DROP%'") == "1"
    });
    migrator.migrate("u-4", "appdb", &second, work, &|_| {}).unwrap();
    assert!(orphan.wait().unwrap().success());
    assert_eq!(migrator.migration_state("u-4").unwrap(), Some((2, 2)));
}

fn a_migration_names_who_holds_its_lock_and_keeps_its_time_limit(engines: Engines) {
    let scene = Scene::on(engines, "db-late");
    let db = filled(&scene, "m");
    open(&db, "admin").write_canary("x").unwrap();
    let migrator = open(&db, "migrator");
    let mut reader = scene
        .call(&rs_tests::program("mariadb").display().to_string(), "reader")
        .args(["--no-defaults", "-h", &db.address, "-uapp", "-papp", "-e"])
        .args(["BEGIN; SELECT * FROM appdb.t LIMIT 1; DO SLEEP(600)"])
        .start();
    until("the reader's transaction", LIMIT, || {
        db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE INFO='DO SLEEP(600)'")
            == "1"
    });
    let told = Mutex::new(Vec::new());
    let sql = statements("ALTER TABLE t ADD COLUMN k INT");
    let work = Work { timeout: Duration::from_secs(3) };
    let late = migrator
        .migrate("u-5", "appdb", &sql, work, &|event| told.lock().unwrap().push(event.clone()))
        .unwrap_err();
    assert_eq!(late.kind(), Kind::TimedOut);
    assert!(late.to_string().contains("app@127."), "{late}");
    assert!(told.lock().unwrap().iter().any(|e| e.text.contains("waits for a lock")));
    reader.kill().unwrap();
    reader.wait().unwrap();
    fill(&db, 3000, 400000);
    // a statement that takes longer than it may is ended, and the table is whole
    let long = statements("ALTER TABLE t ADD COLUMN k INT, ALGORITHM=COPY");
    let late = migrator.migrate(
        "u-6",
        "appdb",
        &long,
        Work { timeout: Duration::from_millis(700) },
        &|_| {},
    );
    assert_eq!(late.unwrap_err().kind(), Kind::TimedOut);
    migrator
        .migrate("u-6", "appdb", &long, Work { timeout: Duration::from_secs(60) }, &|_| {})
        .unwrap();
    assert_eq!(db.sql("SELECT COUNT(k) FROM appdb.t"), "0");
}

fn tls_is_used_when_asked_and_its_chain_is_verified(engines: Engines) {
    let scene = Scene::on(engines, "db-tls");
    let db = scene.database("m");
    let shell = |line: &str| {
        scene.call("bash", "bash").args(["-euc", line]).run().exits(0);
    };
    let dir = db.dir.display().to_string();
    for authority in ["ca", "other"] {
        shell(&format!(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} \
             -keyout '{dir}/{authority}.key' -out '{dir}/{authority}.pem' 2>&1"
        ));
    }
    shell(&format!(
        "cd '{dir}'; openssl req -newkey rsa:2048 -nodes -subj /CN=db -keyout server.key -out server.csr 2>&1; \
         printf 'subjectAltName=IP:{}\n' >san; \
         openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san \
         -out server.pem 2>&1; chmod 644 server.key; \
         printf 'ssl-cert={dir}/server.pem\nssl-key={dir}/server.key\nssl-ca={dir}/ca.pem\n' >>my.cnf",
        db.address
    ));
    kill(&scene, &db);
    scene.start_database(&db);
    db.sql("ALTER USER admin@'127.%' REQUIRE SSL");
    let with = |tls: &str, authority: &str| {
        let authority = format!("{dir}/{authority}.pem");
        open_with(&db, "admin", "admin", &[("DB_TLS", tls), ("DB_TLS_CA", &authority)]).position()
    };
    with("required", "ca").unwrap();
    with("verify", "ca").unwrap();
    assert_eq!(with("required", "other").unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(with("off", "ca").unwrap_err().kind(), Kind::Failed, "the account wants TLS");
}
