//! Contract of the family `Snapshots`, on real databases: what is listed as perfect can be restored, a label is taken
//! once, what broke is never taken for whole, and nobody restores under a database that runs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rs_contract::{Channel, Kind, Snapshots, Work};
use rs_drivers::settings::Settings;
use rs_model::server::Instance;
use rs_model::snapshot::Snapshot;
use rs_model::{Server, Value};
use rs_tests::{Db, Engines, Scene, Shell, each_engine, program, until};

use super::Over;

const WORK: Work = Work { timeout: Duration::from_secs(60) };
const LINEAGE: &str = "mysite prod/1";

fn settings(scene: &Scene, db: &Db, driver: &str) -> Settings {
    let server = Server {
        name: "Master DB".into(),
        address: Some(db.address.parse().unwrap()),
        current: Some(Instance {
            id: "i-1".into(),
            address: db.address.parse().unwrap(),
            home: Some(db.dir.display().to_string()),
            launched_at: "2026-11-24T14:15:03Z".into(),
            template: None,
            inputs: Default::default(),
            scripts_done: Vec::new(),
            stranded_at: None,
        }),
        ..Server::default()
    };
    let socket = db.socket.display().to_string();
    let values = [
        ("BACKUP_DRIVER", driver),
        ("BACKUP_DIR", &scene.text("backups")),
        ("DB_CONNECT", "socket"),
        ("DB_SOCKET", &socket),
        ("DB_OPTION_FILE", "my.cnf"),
        ("DBADMIN_USER", "keeper"),
        ("DBADMIN_PASSWORD", PASSWORD),
    ]
    .map(|(name, text)| (name.to_owned(), Value::Text(text.to_owned())));
    Settings::given("production", Some(&server), values)
}

/// A password with everything that an option file could trip over.
const PASSWORD: &str = "p\"a'ss #\\x;";

fn keeper(db: &Db) {
    let quoted = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    let grants = db.or(
        "GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICA MONITOR ON *.* TO keeper@localhost",
        "GRANT BACKUP_ADMIN ON *.* TO keeper@localhost; \
         GRANT SELECT ON performance_schema.* TO keeper@localhost",
    );
    let way = db.or("", "SET GLOBAL super_read_only=0;");
    db.sql(&format!(
        "{way} SET sql_log_bin=0; CREATE USER keeper@localhost IDENTIFIED BY '{quoted}'; {grants}"
    ));
}

/// The driver that copies a running server of the engine.
fn running(engines: Engines) -> &'static str {
    match engines {
        Engines::Host => "mariabackup",
        Engines::Newer => "mysqlclone",
    }
}

each_engine!(
    a_copy_of_a_running_server_keeps_the_contract,
    a_slave_s_backup_names_its_master_s_position,
);

fn store(scene: &Scene, db: &Db, driver: &str, shell: Box<Shell>) -> Box<dyn Snapshots> {
    let folder = scene.path("backups");
    std::fs::create_dir_all(&folder).unwrap();
    scene.hand_over(&folder);
    rs_drivers::snapshots(&settings(scene, db, driver), Some(shell as Box<dyn Channel>)).unwrap()
}

fn wanted(label: Option<&str>) -> Snapshot {
    Snapshot {
        lineage: LINEAGE.into(),
        label: label.map(str::to_owned),
        server: "Master DB".into(),
        ..Snapshot::default()
    }
}

fn quiet(_: &str) {}

fn stop(db: &Db) {
    db.sql("SHUTDOWN");
    until("the database to stop", Duration::from_secs(60), || {
        !db.dir.join("db.pid").exists() && !db.answers()
    });
}

/// What every driver must do. `rest` and `wake` bring the database into the state in which the driver reads it, and
/// back.
fn suite(scene: &Scene, db: &Db, store: &dyn Snapshots, rest: &dyn Fn(&Db), wake: &dyn Fn(&Db)) {
    assert!(store.list(LINEAGE).unwrap().is_empty());
    db.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2)");
    let position = db.position();
    rest(db);
    let first = store.take(&wanted(Some("pre; $(upgrade) 'x'")), WORK, &quiet).unwrap();
    assert!(first.perfect && first.completed_at.is_some() && first.from_master && first.bytes > 0);
    assert_eq!(first.position.gtid.as_deref(), Some(&*position));
    assert!(Path::new(&first.place).join("data/ibdata1").is_file(), "{}", first.place);
    let mode = std::fs::metadata(&first.place).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "a backup holds everything: nobody else may read it");
    // a label is taken once
    let again = store.take(&wanted(Some("pre; $(upgrade) 'x'")), WORK, &quiet).unwrap();
    assert_eq!(again.id, first.id);
    let second = store.take(&wanted(None), WORK, &quiet).unwrap();
    let names = |store: &dyn Snapshots| -> Vec<String> {
        store.list(LINEAGE).unwrap().into_iter().map(|s| s.id).collect()
    };
    assert_eq!(names(store).len(), 2);
    wake(db);

    let seen = store.prove(&first, WORK, &quiet).unwrap();
    assert!(seen.contains("tables"), "{seen}");
    store.note_proven(LINEAGE, &first.id, "2026-11-24T14:15:03Z").unwrap();
    store.pin(LINEAGE, &first.id, true).unwrap();
    let noted = store.list(LINEAGE).unwrap().into_iter().find(|s| s.id == first.id).unwrap();
    assert!(noted.pinned && noted.perfect);
    assert_eq!(noted.proven_at.as_deref(), Some("2026-11-24T14:15:03Z"));
    assert_eq!(store.remove(LINEAGE, &first.id).unwrap_err().kind(), Kind::Declined);
    store.remove(LINEAGE, &second.id).unwrap();
    store.remove(LINEAGE, &second.id).unwrap();
    assert_eq!(names(store), std::slice::from_ref(&first.id));

    // nobody restores under a database that runs
    db.sql("INSERT INTO shop.t VALUES (3)");
    assert_eq!(store.restore(&first, WORK, &quiet).unwrap_err().kind(), Kind::Declined);
    assert_eq!(db.sql("SELECT COUNT(*) FROM shop.t"), "3");
    stop(db);
    let at = store.restore(&first, WORK, &quiet).unwrap();
    assert_eq!(at.gtid.as_deref(), Some(&*position));
    scene.start_mariadb(db);
    assert_eq!(db.sql("SELECT COUNT(*) FROM shop.t"), "2");
    let nobody = Snapshot { id: "20000101T000000Z-x".into(), ..first.clone() };
    assert_eq!(store.restore(&nobody, WORK, &quiet).unwrap_err().kind(), Kind::NotFound);
}

fn a_copy_of_a_running_server_keeps_the_contract(engines: Engines) {
    let scene = Scene::on(engines, "snapshots-running");
    let db = scene.database("db");
    keeper(&db);
    let store = store(&scene, &db, running(engines), scene.shell("db"));
    suite(&scene, &db, &*store, &|_| {}, &|_| {});
    let text = std::process::Command::new("grep")
        .args(["-rlF", PASSWORD])
        .arg(scene.path("backups"))
        .output()
        .unwrap();
    assert!(text.stdout.is_empty(), "the password is in the backup");
}

#[test]
fn filesystem_keeps_the_contract() {
    let scene = Scene::new("snapshots-filesystem");
    let db = scene.mariadb("db");
    let store = store(&scene, &db, "filesystem", scene.shell("db"));
    let error = store.take(&wanted(None), WORK, &quiet).unwrap_err();
    assert_eq!(error.kind(), Kind::Declined, "it runs: {error}");
    suite(&scene, &db, &*store, &stop, &|db| scene.start_mariadb(db));
}

#[test]
fn a_copy_of_a_killed_server_is_declined() {
    let scene = Scene::new("snapshots-killed");
    let db = scene.mariadb("db");
    let store = store(&scene, &db, "filesystem", scene.shell("db"));
    db.sql("CREATE DATABASE shop");
    let pid = std::fs::read_to_string(db.dir.join("db.pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("it to be gone", Duration::from_secs(10), || !db.answers());
    let error = store.take(&wanted(None), WORK, &quiet).unwrap_err();
    assert_eq!(error.kind(), Kind::Declined, "{error}");
    assert!(store.list(LINEAGE).unwrap().is_empty());
}

fn a_slave_s_backup_names_its_master_s_position(engines: Engines) {
    let scene = Scene::on(engines, "snapshots-slave");
    let master = scene.database("master");
    let slave = scene.replica_of(&master, "db");
    keeper(&slave);
    master.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT)");
    let position = master.position();
    until("the slave to apply it", Duration::from_secs(20), || slave.applied() == position);
    // held: stopped, and its source cannot be reached
    slave.sql("STOP REPLICA");
    slave.sql(slave.or(
        "CHANGE MASTER TO MASTER_HOST='held.invalid'",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='held.invalid'",
    ));
    let store = store(&scene, &slave, running(engines), scene.shell("db"));
    let taken = store.take(&wanted(Some("held")), WORK, &quiet).unwrap();
    assert!(!taken.from_master);
    assert_eq!(taken.position.gtid.as_deref(), Some(&*position));
    assert_eq!(taken.position.file, None, "its own file means nothing to its master");
}

#[test]
fn what_broke_is_named_and_never_whole() {
    let scene = Scene::new("snapshots-broken");
    let db = scene.mariadb("db");
    keeper(&db);
    // a disk that fills up in the middle of the copy: the program writes half of it and fails as the real one does
    let programs = scene.path("programs");
    std::fs::create_dir_all(&programs).unwrap();
    scene.file(
        "programs/mariadb-backup",
        "#!/bin/sh\nfor a; do case $a in --target-dir=*) mkdir -p \"${a#*=}\"; echo half >\"${a#*=}/ibdata1\";; esac; done\n\
         echo 'write error: No space left on device' >&2\nexit 1\n",
    );
    let script = programs.join("mariadb-backup");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let broken = store(&scene, &db, "mariabackup", scene.shell("db").search_first(&programs));
    let error = broken.take(&wanted(Some("x")), WORK, &quiet).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed, "{error}");
    assert!(error.advice().is_some_and(|hint| hint.contains("free space")), "{error:?}");
    assert!(broken.list(LINEAGE).unwrap().is_empty(), "what broke was removed");

    // killed half way: what is left is named, with its label, and is not perfect
    scene.file("programs/mariadb-backup", "#!/bin/sh\nkill -9 $PPID\n");
    broken.take(&wanted(Some("x")), WORK, &quiet).unwrap_err();
    let left = broken.list(LINEAGE).unwrap();
    assert_eq!(left.len(), 1);
    assert!(!left[0].perfect && !left[0].taking && left[0].completed_at.is_none());
    assert_eq!(left[0].label.as_deref(), Some("x"));
    assert_eq!(broken.restore(&left[0], WORK, &quiet).unwrap_err().kind(), Kind::Declined);

    // the same label again: the rest is cleared away and the backup is taken
    let whole = store(&scene, &db, "mariabackup", scene.shell("db"));
    let taken = whole.take(&wanted(Some("x")), WORK, &quiet).unwrap();
    assert!(taken.perfect);
    let all = whole.list(LINEAGE).unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
}

#[test]
fn one_that_is_being_taken_says_so_and_is_not_taken_twice() {
    let scene = Scene::new("snapshots-taking");
    let db = scene.mariadb("db");
    keeper(&db);
    let programs = scene.path("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let real = program("mariadb-backup");
    scene.file(
        "programs/mariadb-backup",
        &format!(
            "#!/bin/sh\nuntil [ -e '{}' ]; do sleep 0.02; done\nexec '{}' \"$@\"\n",
            scene.text("go"),
            real.display()
        ),
    );
    let script = programs.join("mariadb-backup");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let slow = store(&scene, &db, "mariabackup", scene.shell("db").search_first(&programs));
    let other = store(&scene, &db, "mariabackup", scene.shell("db"));
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| slow.take(&wanted(Some("x")), WORK, &quiet));
        until("it to be under way", Duration::from_secs(60), || {
            other.list(LINEAGE).unwrap().iter().any(|s| s.taking && !s.perfect)
        });
        let id = other.list(LINEAGE).unwrap()[0].id.clone();
        assert_eq!(
            other.take(&wanted(Some("x")), WORK, &quiet).unwrap_err().kind(),
            Kind::Declined
        );
        assert_eq!(other.remove(LINEAGE, &id).unwrap_err().kind(), Kind::Declined);
        std::fs::write(scene.path("go"), "").unwrap();
        assert!(taking.join().unwrap().unwrap().perfect);
    });
    assert_eq!(other.list(LINEAGE).unwrap().len(), 1);
}

/// Who takes one has no lock for a moment between the copy's end and its way to its place; the disk may be slow then.
#[test]
fn one_that_waits_for_the_disk_is_being_taken_and_not_broken() {
    let scene = Scene::new("snapshots-flush");
    let db = scene.mariadb("db");
    keeper(&db);
    let programs = scene.path("programs");
    std::fs::create_dir_all(&programs).unwrap();
    // flock and sync say that they were called, and wait
    let real = |name: &str| program(name).display().to_string();
    for (name, condition) in [("sync", "true"), ("flock", "[ $# = 1 ]")] {
        let (called, go) =
            (scene.text(&format!("{name}-called")), scene.text(&format!("{name}-go")));
        let text = format!(
            "#!/bin/sh\nif {condition}; then\n  : >'{called}'\n  until [ -e '{go}' ]; do sleep 0.02; done\nfi\n\
             exec '{}' \"$@\"\n",
            real(name)
        );
        let script = scene.file(&format!("programs/{name}"), &text);
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    scene.hand_over(&scene.dir);
    let slow = store(&scene, &db, "mariabackup", scene.shell("db").search_first(&programs));
    let other = store(&scene, &db, "mariabackup", scene.shell("db"));
    let alone = |when: &str| {
        let all = other.list(LINEAGE).unwrap();
        assert!(matches!(&*all, [one] if one.taking && !one.perfect), "{when}: {all:?}");
        let again = other.take(&wanted(Some("x")), WORK, &quiet).unwrap_err();
        assert_eq!(again.kind(), Kind::Declined, "{when}: {again}");
    };
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| slow.take(&wanted(Some("x")), WORK, &quiet));
        for (name, when) in [("flock", "the copy has ended"), ("sync", "it waits for the disk")] {
            until(when, Duration::from_secs(60), || scene.path(&format!("{name}-called")).exists());
            alone(when);
            std::fs::write(scene.path(&format!("{name}-go")), "").unwrap();
        }
        assert!(taking.join().unwrap().unwrap().perfect);
    });
    let all = other.list(LINEAGE).unwrap();
    assert!(matches!(&*all, [one] if one.perfect), "{all:?}");
    let there: Vec<_> = std::fs::read_dir(&all[0].place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!there.iter().any(|name| name == "lock" || name == "ended"), "{there:?}");
}

/// Whoever was killed between the copy and its way to its place is gone after ten seconds.
#[test]
fn one_whose_owner_is_gone_between_copy_and_place_broke() {
    let scene = Scene::new("snapshots-gone");
    let db = scene.mariadb("db");
    let store = store(&scene, &db, "mariabackup", scene.shell("db"));
    let folder = scene.path("backups/mysite%20prod%2F1/.x.taking");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("metadata.json"), "{\"id\":\"20261129T000000.000Z-x\"}").unwrap();
    std::fs::write(folder.join("lock"), "").unwrap();
    let ended = std::fs::File::create(folder.join("ended")).unwrap();
    scene.hand_over(&folder);
    let taking = || store.list(LINEAGE).unwrap().iter().map(|s| s.taking).collect::<Vec<_>>();
    assert_eq!(taking(), [true]);
    ended.set_modified(std::time::SystemTime::now() - Duration::from_secs(20)).unwrap();
    assert_eq!(taking(), [false]);
}

#[test]
fn whoever_looks_is_in_the_way_of_nobody_who_takes() {
    let scene = Scene::new("snapshots-looked-at");
    let db = scene.mariadb("db");
    let programs = scene.path("programs");
    std::fs::create_dir_all(&programs).unwrap();
    scene.file("programs/mariadb-backup", "#!/bin/sh\necho 'it broke' >&2\nexit 9\n");
    let script = programs.join("mariadb-backup");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let taker = store(&scene, &db, "mariabackup", scene.shell("db").search_first(&programs));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let looker = store(&scene, &db, "mariabackup", scene.shell("db"));
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    looker.list(LINEAGE).unwrap();
                }
            });
        }
        let _end = Over(&over);
        for _ in 0..60 {
            let error = taker.take(&wanted(Some("x")), WORK, &quiet).unwrap_err();
            assert_eq!(error.kind(), Kind::Failed, "{error:?}");
        }
    });
}

#[test]
fn a_wrong_password_is_told_without_the_secret() {
    let scene = Scene::new("snapshots-password");
    let db = scene.mariadb("db");
    let store = store(&scene, &db, "mariabackup", scene.shell("db"));
    let error = store.take(&wanted(None), WORK, &quiet).unwrap_err();
    assert!(error.advice().is_some_and(|hint| hint.contains("DBADMIN_PASSWORD")), "{error:?}");
    assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
    assert!(store.list(LINEAGE).unwrap().is_empty());
}
