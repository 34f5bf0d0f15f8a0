//! What a schema's fingerprint sees, and with it whether a statement of a migration was done before it was cut off.

use std::sync::Mutex;
use std::time::Duration;

use rs_contract::{Database, Kind, Work};
use rs_tests::{Engines, Scene, each_engine, until};

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
    for (token, alter) in [
        ("c-1", "ALTER TABLE t ADD CHECK (id > -2000)"),
        ("c-2", "ALTER TABLE t ADD CONSTRAINT named CHECK (id > -3000)"),
    ] {
        cut(token, &seen());
        db.sql(&format!("USE appdb; {alter}"));
        let made = checks();
        run(token, alter).unwrap();
        assert_eq!(checks(), made, "{alter}");
    }
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
}

fn begun(db: &dyn Database, token: &str) -> usize {
    let migrations = db.migrations().unwrap();
    migrations.iter().find(|one| one.token == token).map_or(0, |one| one.begun)
}
