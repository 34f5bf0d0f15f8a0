//! What a schema's fingerprint sees, and with it whether a statement of a migration was done before it was cut off.

use std::sync::Mutex;
use std::time::Duration;

use rs_contract::{Database, Kind, Work};
use rs_tests::{Db, Engines, Scene, each_engine, until};

use super::database::open;

const LIMIT: Duration = Duration::from_secs(30);

each_engine!(each_definition_is_seen_on_master_and_slave_and_none_is_made_twice);

fn each_definition_is_seen_on_master_and_slave_and_none_is_made_twice(engines: Engines) {
    let scene = Scene::on(engines, "db-definitions");
    let db = scene.database("m");
    let slave = scene.replica_of(&db, "s");
    db.sql(
        "CREATE DATABASE appdb; USE appdb; GRANT ALL ON appdb.* TO app@'127.%'; \
         CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(200), KEY by_note (note)) ENGINE=InnoDB; \
         CREATE TABLE log (at INT) ENGINE=MyISAM; CREATE VIEW v AS SELECT id FROM t WHERE id > 1; \
         CREATE PROCEDURE p(a INT) SELECT a; CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SET @x = 1; \
         CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
    );
    let (m, s) = (open(&db, "admin"), open(&slave, "admin"));
    let seen = || m.schema_fingerprint("appdb").unwrap();
    let mut known = seen();
    for change in [
        "ALTER TABLE t ADD CHECK (id > -1000)",
        "ALTER TABLE t ADD CONSTRAINT few CHECK (id < 100000)",
        db.or(
            "ALTER TABLE t ALTER INDEX by_note IGNORED",
            "ALTER TABLE t ALTER INDEX by_note INVISIBLE",
        ),
        db.or("ALTER TABLE t ADD COLUMN z INT INVISIBLE", "ALTER TABLE t ADD INDEX f ((id + 1))"),
        "CREATE OR REPLACE SQL SECURITY INVOKER VIEW v AS SELECT id FROM t WHERE id > 1",
        "CREATE OR REPLACE SQL SECURITY INVOKER VIEW v AS SELECT id FROM t WHERE id > 1 WITH CHECK OPTION",
        "CREATE OR REPLACE DEFINER=app@'127.%' SQL SECURITY INVOKER VIEW v AS SELECT id FROM t WHERE id > 1 \
         WITH CHECK OPTION",
        "DROP PROCEDURE p; CREATE PROCEDURE p(a BIGINT) SELECT a",
        "ALTER PROCEDURE p SQL SECURITY INVOKER",
        "ALTER EVENT e ON SCHEDULE EVERY 2 DAY",
        "ALTER EVENT e DO SET @x = 2",
        "DROP TRIGGER g; CREATE DEFINER=app@'127.%' TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
    ] {
        db.sql(&format!("USE appdb; {change}"));
        let now = seen();
        assert_ne!(now, known, "{change}");
        known = now;
    }
    // on a slave events are off: it is the same schema; so it is with other rows, and with what comes and goes
    db.sql("USE appdb; INSERT INTO t (id) VALUES (7); ALTER EVENT e DISABLE; ANALYZE TABLE t");
    assert_eq!(seen(), known);
    let position = db.position();
    until("the slave", LIMIT, || slave.applied() == position);
    assert_eq!(s.schema_fingerprint("appdb").unwrap(), known);

    m.write_canary("x").unwrap();
    let migrator = open(&db, "migrator");
    let run = |token: &str, text: &str| {
        let statements = rs_model::sql::split(text).unwrap();
        migrator.migrate(token, "appdb", &statements, Work { timeout: LIMIT }, &|_| {})
    };
    // a kill between the statement and its note
    let cut = |token: &str, before: &str| {
        run(token, "SET @x = 1").unwrap();
        db.sql(&format!(
            "DELETE FROM rs_tools.migration WHERE token = '{token}'; DELETE FROM rs_tools.migration_step \
             WHERE token = '{token}'; INSERT INTO rs_tools.migration_step (token, number, digest, schema_before, \
             session, done) VALUES ('{token}', 1, REPEAT('0', 64), '{before}', 1, 0)"
        ));
    };
    let checks = || {
        db.sql("SELECT COUNT(*) FROM information_schema.check_constraints WHERE CONSTRAINT_SCHEMA='appdb'")
    };
    // the same of one that was done, or was not
    let noted = |token: &str| {
        db.sql(&format!("UPDATE rs_tools.migration_step SET done = 0 WHERE token = '{token}'"));
    };
    for (token, alter) in [
        ("c-1", "ALTER TABLE t ADD CHECK (id > -2000)"),
        ("c-2", "ALTER TABLE t ADD CONSTRAINT named CHECK (id > -3000)"),
    ] {
        run(token, alter).unwrap();
        noted(token);
        // beside it somebody else changes what it does not
        db.sql(&format!("CREATE TABLE appdb.`before {token}` LIKE appdb.t"));
        let made = checks();
        run(token, alter).unwrap();
        assert_eq!(checks(), made, "{alter}");
    }
    // not done, and another table came: it is not taken for done
    run("c-14", "ALTER TABLE t ADD COLUMN e2 INT").unwrap();
    noted("c-14");
    db.sql("ALTER TABLE appdb.t DROP COLUMN e2; CREATE TABLE appdb.reports_before LIKE appdb.t");
    run("c-14", "ALTER TABLE t ADD COLUMN e2 INT").unwrap();
    assert_eq!(db.sql("SELECT COUNT(e2) FROM appdb.t"), "0");
    // of two names one is another: nobody can tell
    let rename = "RENAME TABLE reports_before TO reports";
    run("c-15", rename).unwrap();
    noted("c-15");
    db.sql("CREATE TABLE appdb.reports_before LIKE appdb.reports");
    let unclear = run("c-15", rename).unwrap_err();
    assert_eq!(unclear.kind(), Kind::Declined);
    assert!(unclear.to_string().contains("whether it was done cannot be told"), "{unclear}");
    db.sql("DROP TABLE appdb.reports");
    run("c-15", rename).unwrap();
    db.sql("DROP TABLE appdb.reports");
    // what a version before this one noted has no names
    cut("c-16", &seen());
    db.sql("CREATE TABLE appdb.other (a INT)");
    assert_eq!(run("c-16", "CREATE TABLE made (a INT)").unwrap_err().kind(), Kind::Declined);
    db.sql("DROP TABLE appdb.other");
    run("c-16", "CREATE TABLE made (a INT)").unwrap();
    // what the schema does not show: nothing is claimed, and it stays noted as begun
    cut("c-3", &seen());
    let failed = run("c-3", "CREATE TABLE t (id INT)").unwrap_err();
    assert_eq!(failed.kind(), Kind::Failed);
    let failed = failed.advice().unwrap_or_default();
    assert!(
        failed.contains("begun before and cut off") && !failed.contains("changed nothing"),
        "{failed}"
    );
    assert_eq!(begun(migrator.as_ref(), "c-3"), 1);
    let failed = run("c-4", "CREATE TABLE t (id INT)").unwrap_err();
    assert!(failed.advice().unwrap_or_default().contains("it changed nothing"), "{failed}");
    assert_eq!(begun(migrator.as_ref(), "c-4"), 0);

    // one that failed, and the schema is another one: it never counts as done, and is run again where that is put back
    db.sql("CREATE TABLE appdb.u (a INT)");
    let reader = Mutex::new(Some(db.session_as("app", "BEGIN; SELECT * FROM appdb.u")));
    let drop = rs_model::sql::split("DROP TABLE u").unwrap();
    let failed = migrator
        .migrate("c-12", "appdb", &drop, Work { timeout: LIMIT }, &|_| {
            if let Some(reader) = reader.lock().unwrap().take() {
                reader.end();
                db.sql("RENAME TABLE appdb.u TO appdb.moved");
            }
        })
        .unwrap_err();
    assert_eq!(failed.kind(), Kind::Failed);
    assert!(failed.advice().unwrap_or_default().contains("in part, and that is noted"), "{failed}");
    for _ in 0..2 {
        let half = run("c-12", "DROP TABLE u").unwrap_err();
        assert_eq!(half.kind(), Kind::Declined);
        let words = "statement 1 of 1 failed in an earlier run and changed \"appdb\" in part: DROP";
        assert!(half.to_string().contains(words), "{half}");
        assert_eq!(begun(migrator.as_ref(), "c-12"), 1);
    }
    db.sql("RENAME TABLE appdb.moved TO appdb.u");
    run("c-12", "DROP TABLE u").unwrap();
    assert_eq!(db.sql("SELECT COUNT(*) FROM information_schema.tables WHERE TABLE_NAME='u'"), "0");

    // names in quotes, by the server's own mode, would not be seen as names
    let mode = db.sql("SELECT @@GLOBAL.sql_mode");
    db.sql("SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',ANSI_QUOTES')");
    let refused = run("c-13", "INSERT INTO \"log\" VALUES (1)").unwrap_err();
    assert_eq!(refused.kind(), Kind::Declined);
    assert!(refused.to_string().contains("sql_mode reads quotes in another way"), "{refused}");
    db.sql(&format!("SET GLOBAL sql_mode = '{mode}'"));

    // rows whose engine knows no transactions would be changed twice: nothing is begun
    for (text, words) in [
        (
            "INSERT INTO v VALUES (9)",
            "rows of appdb.v, which is a view, and by that perhaps rows of appdb.log",
        ),
        (
            "UPDATE t SET note='a'",
            "rows of appdb.t, which has triggers, and by that perhaps rows of appdb.log",
        ),
    ] {
        let refused = run("c-5", text).unwrap_err();
        assert_eq!(refused.kind(), Kind::Declined);
        assert!(refused.to_string().contains(words), "{refused}");
    }
    db.sql("DROP TRIGGER appdb.g");
    let refused =
        run("c-5", "UPDATE t SET note='a'; INSERT INTO log SELECT id FROM t").unwrap_err();
    assert_eq!(refused.kind(), Kind::Declined);
    assert!(
        refused.to_string().contains("statement 2 of 2 changes rows of appdb.log"),
        "{refused}"
    );
    assert_eq!(db.sql("SELECT COUNT(*) FROM appdb.t WHERE note='a'"), "0");
    // a table of versions is a table
    if engines == Engines::Host {
        db.sql("CREATE TABLE appdb.kept (a INT) ENGINE=Aria WITH SYSTEM VERSIONING");
        let refused = run("c-17", "UPDATE kept SET a = a + 1").unwrap_err();
        assert!(refused.to_string().contains("changes rows of appdb.kept"), "{refused}");
        assert!(m.tables().unwrap().contains(&("appdb".into(), "kept".into())));
        db.sql("DROP TABLE appdb.kept");
    }
    run("c-6", "UPDATE t SET note=(SELECT COUNT(*) FROM log)").unwrap();
    // nor is it when the migration itself makes such a table, by its word or by the engine that is the default
    for (token, text) in [
        ("c-7", "CREATE TABLE n (a INT) ENGINE=MyISAM; INSERT INTO n VALUES (1)"),
        ("c-8", "SET default_storage_engine=MyISAM; CREATE TABLE n (a INT); DELETE FROM n"),
        ("c-9", "ALTER TABLE t ENGINE=MyISAM; UPDATE t SET note='a'"),
    ] {
        let refused = run(token, text).unwrap_err();
        assert_eq!(refused.kind(), Kind::Declined, "{text}: {refused}");
        assert_eq!(begun(migrator.as_ref(), token), 0, "{text}");
    }
    assert_eq!(db.sql("SELECT COUNT(*) FROM information_schema.tables WHERE TABLE_NAME='n'"), "0");
    run("c-10", "ALTER TABLE log ENGINE=InnoDB; INSERT INTO log SELECT id FROM t").unwrap();
    // what is done is not asked again
    let text =
        "INSERT INTO log VALUES (8); ALTER TABLE log ENGINE=MyISAM; ALTER TABLE later ADD b INT";
    run("c-11", text).unwrap_err();
    db.sql("CREATE TABLE appdb.later (a INT)");
    run("c-11", text).unwrap();
    assert_eq!(db.sql("SELECT COUNT(*) FROM appdb.log WHERE at=8"), "1");
    what_leads_to_a_table_without_transactions_is_followed(&db, &run);
    // of a cut-off RENAME of several tables the schema shows whether it was done
    db.sql(
        "CREATE TABLE appdb.a (id INT) ENGINE=InnoDB; CREATE TABLE appdb.b (id INT) ENGINE=InnoDB",
    );
    let rename = "RENAME TABLE a TO a2, b TO b2";
    let names = "SELECT GROUP_CONCAT(TABLE_NAME ORDER BY 1) FROM information_schema.tables \
                 WHERE TABLE_SCHEMA='appdb' AND TABLE_NAME IN ('a', 'b', 'a2', 'b2')";
    run("c-20", rename).unwrap();
    noted("c-20");
    run("c-20", rename).unwrap();
    assert_eq!(db.sql(names), "a2,b2");
    cut("c-21", &seen());
    run("c-21", "RENAME TABLE a2 TO a, b2 TO b").unwrap();
    assert_eq!(db.sql(names), "a,b");
    a_server_killed_in_a_rename_of_many_tables_has_renamed_all_or_none(&scene, &db);
}

/// A table of another schema, by a trigger and by its own name; and by a stored function, wherever that is called.
fn what_leads_to_a_table_without_transactions_is_followed(
    db: &Db,
    run: &dyn Fn(&str, &str) -> rs_contract::Result<()>,
) {
    db.sql(
        "ALTER TABLE appdb.log ENGINE=InnoDB; CREATE DATABASE far; CREATE TABLE far.marks (a INT) ENGINE=MyISAM; \
         CREATE TABLE far.rest (a INT) ENGINE=MyISAM",
    );
    run("f-0", "UPDATE t SET note='b'").unwrap();
    db.sql(
        "CREATE TRIGGER appdb.h AFTER UPDATE ON appdb.t FOR EACH ROW INSERT INTO far.marks VALUES (1);\n\
         DELIMITER //\nCREATE FUNCTION far.mark() RETURNS INT DETERMINISTIC MODIFIES SQL DATA \
         BEGIN DELETE FROM far.marks; RETURN 1; END//\n\
         CREATE FUNCTION far.plain(a INT) RETURNS INT DETERMINISTIC BEGIN RETURN a + 1; END//",
    );
    for (text, words) in [
        ("UPDATE t SET note='c'", "which has triggers, and by that perhaps rows of far.marks"),
        ("INSERT INTO far.rest VALUES (1)", "changes rows of far.rest, whose engine knows no"),
        ("INSERT INTO log VALUES (far.mark())", "calls mark, which is a stored function, and"),
        ("SET @a = far.mark()", "and changes by that perhaps rows of far.marks"),
    ] {
        let refused = run("f-1", text).unwrap_err();
        assert_eq!(refused.kind(), Kind::Declined, "{text}: {refused}");
        assert!(refused.to_string().contains(words), "{refused}");
    }
    run("f-2", "INSERT INTO log VALUES (far.plain(76))").unwrap();
    db.sql("DROP TRIGGER appdb.h");
    run("f-3", "UPDATE t SET note='c'").unwrap();
    assert_eq!(
        db.sql("SELECT COUNT(*) FROM appdb.log WHERE at=77; SELECT COUNT(*) FROM far.marks"),
        "1\n0"
    );
    db.sql("DROP DATABASE far");
}

/// kill -9 once the first of them has its new name: the next run finds all of them renamed, or none, and ends with all.
fn a_server_killed_in_a_rename_of_many_tables_has_renamed_all_or_none(scene: &Scene, db: &Db) {
    const MANY: usize = 60;
    let make = |at: usize| {
        format!(
            "CREATE TABLE appdb.r{at} (id INT) ENGINE=InnoDB; INSERT INTO appdb.r{at} VALUES ({at})"
        )
    };
    db.sql(&(0..MANY).map(make).collect::<Vec<_>>().join("; "));
    let pairs: Vec<String> = (0..MANY).map(|at| format!("r{at} TO n{at}")).collect();
    let rename = vec![format!("RENAME TABLE {}", pairs.join(", "))];
    let migrator = open(db, "migrator");
    let run = || migrator.migrate("c-22", "appdb", &rename, Work { timeout: LIMIT }, &|_| {});
    let renamed = db.dir.join("data/appdb/n0.ibd");
    let pid = std::fs::read_to_string(db.dir.join("db.pid")).unwrap();
    std::thread::scope(|scope| {
        let cut = scope.spawn(run);
        let begun = std::time::Instant::now();
        while !renamed.exists() {
            assert!(begun.elapsed() < LIMIT && !cut.is_finished(), "it does not rename");
            std::thread::yield_now();
        }
        scene.kill(pid.trim().parse().unwrap());
        // it may have been through already
        let _ = cut.join().unwrap();
    });
    scene.start_database(db);
    let count = |letter: &str| {
        db.sql(&format!(
            "SELECT COUNT(*) FROM information_schema.tables WHERE TABLE_SCHEMA='appdb' AND TABLE_NAME REGEXP '^{letter}[0-9]+$'"
        ))
    };
    let found = (count("r"), count("n"));
    let (all, none) = ((MANY.to_string(), "0".to_owned()), ("0".to_owned(), MANY.to_string()));
    assert!(found == all || found == none, "{found:?}");
    run().unwrap();
    assert_eq!((count("r"), count("n")), none);
    for at in [0, MANY - 1] {
        assert_eq!(db.sql(&format!("SELECT id FROM appdb.n{at}")), at.to_string());
    }
    run().unwrap();
}

fn begun(db: &dyn Database, token: &str) -> usize {
    let migrations = db.migrations().unwrap();
    migrations.iter().find(|one| one.token == token).map_or(0, |one| one.begun)
}
