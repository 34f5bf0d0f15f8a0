//! A world that says no: wrong secrets, sockets that are not there, a full disk under the backups. Each is said with
//! where and what to try, no secret is shown, and nothing is left half done.

use rs_tests::{Ran, Scene};

use super::bad_input::tmpfs;
use super::rs_server::site;
use super::rs_snapshot::{launched, sql};

/// A wrong secret that must be nowhere to be seen.
const WRONG: &str = "d3JvbmctYXMtY2FuLWJlIQ==";

#[test]
fn a_wrong_secret_is_said_with_where_and_whose_and_changes_nothing() {
    let scene = Scene::new("bad-secret");
    let db = scene.mariadb("m");
    let dns = scene.named("dns");
    let text = format!(
        "Deployment: production\nInputs:\n  DBADMIN_USER: text:admin\n  DBADMIN_PASSWORD: cred:admin\n  DB_SCHEMA_NAME: text:appdb\n\
         \x20 DBMIGRATION_USER: text:migrator\n  DBMIGRATION_PASSWORD: cred:migrator\n  DBREPLICATION_USER: text:repl\n  DBREPLICATION_PASSWORD: cred:repl\n\
         \x20 DNS_SERVER: text:{}\n  DNS_ZONE: text:mysite.com\n  DNS_TSIG_NAME: text:updater\n  DNS_TSIG_KEY: cred:tsig\n\
         Servers:\n  - {{Name: M, Address: {}, Tags: ['database:master_active=shop']}}\n",
        dns.server, db.address
    );
    scene.file("site.yml", &text);
    scene.file("up.sql", "CREATE TABLE appdb.new (id INT PRIMARY KEY);\n");
    let rs = |tool: &str, args: &[&str]| {
        let ran = scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run();
        assert!(!format!("{ran}").contains(WRONG), "a secret is shown\n{ran}");
        ran
    };
    let _ = rs("rs-server", &["apply", "site.yml"]).exits(0);
    db.sql("CREATE DATABASE appdb");
    scene.credential("admin", WRONG);
    scene.credential("tsig", WRONG);
    let verbs: [&[&str]; 5] = [
        &["status", "M"],
        &["writes", "status", "M"],
        &["writes", "off", "M"],
        &["writes", "on", "M"],
        &["migrate", "M", "--sql", "up.sql", "--token", "t"],
    ];
    for args in verbs {
        let ran = rs("rs-dbsync", args).exits(1).says("refuses the account \"admin\"");
        let ran = ran.says(&format!("{}:3306", db.address)).says("(try: ");
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    let host = "test1.mysite.com";
    let ran = rs("rs-lbctl", &["point", host, "--at", "M"]).exits(1);
    let _ = ran.says("\"updater\"").says(&dns.server.to_string()).says("DNS_TSIG_KEY");
    assert!(dns.dig(host).is_empty());
    assert_eq!(db.sql("SELECT @@read_only; SHOW TABLES IN appdb"), "0");
    // no act is open, and nothing is owed
    let _ = rs("rs-journal", &["verify"]).exits(0);
    let _ = rs("rs-cleanup", &["audit"]).exits(0);
    // a credential that is not there, or that others may read, is named with its file
    let file = scene.path("credentials/admin");
    let shown = file.display().to_string();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let _ = rs("rs-dbsync", &["status", "M"]).exits(5).says(&shown).says("chmod 600");
    std::fs::remove_file(&file).unwrap();
    let _ = rs("rs-dbsync", &["status", "M"]).exits(4).says(&shown).says("0600");
    std::fs::create_dir(&file).unwrap();
    let _ = rs("rs-dbsync", &["status", "M"]).exits(1).says(&shown).says("no file");
    let nowhere = scene.tool("rs-dbsync").args(["status", "M"]).without("RS_CREDENTIALS").run();
    let _ = nowhere.exits(2).says("\"admin\"").says("RS_CREDENTIALS");
    // and with the right ones all of it goes
    std::fs::remove_dir(&file).unwrap();
    scene.credential("admin", "admin");
    scene.credential("tsig", &dns.key);
    let _ = rs("rs-dbsync", &["status", "M"]).exits(0);
    let _ = rs("rs-lbctl", &["point", host, "--at", "M"]).exits(0);
    assert_eq!(dns.dig(host).join(" "), db.address);
}

#[test]
fn a_server_is_not_begun_whose_secret_cannot_be_had() {
    let scene = super::small_site::site("bad-no-secret");
    let rs = |tool: &str, args: &[&str]| super::small_site::rs(&scene, tool, args);
    let _ = rs("rs-server", &["launch", "web 1"]).exits(0);
    let state = || rs("rs-server", &["list", "web 1", "web 2"]).exits(0).stdout;
    let before = state();
    let file = scene.path("credentials/PASSWORD");
    std::fs::rename(&file, scene.path("away")).unwrap();
    for args in [["launch", "web 2"], ["relaunch", "web 1"]] {
        let ran = rs("rs-server", &args).exits(2).says("\"PASSWORD\" cannot be read");
        let _ = ran.says(&file.display().to_string()).says("nothing was launched");
    }
    assert_eq!(state(), before, "something was begun or ended");
    std::fs::rename(scene.path("away"), &file).unwrap();
    let _ = rs("rs-server", &["relaunch", "web 1"]).exits(0);
}

#[test]
fn a_socket_that_is_not_there_is_7_with_its_path() {
    let scene = site(
        "bad-socket",
        "Inputs:\n  LB_APPLISTENER_NAME: text:www\n  LB_BYPASS_SECRET: cred:pw\n  DBADMIN_USER: text:a\n  DBADMIN_PASSWORD: cred:pw\n  DB_CONNECT: text:socket\n\
         Servers:\n  - {Name: L, Template: Small, Tags: ['load_balancer:active_www=true']}\n\
         \x20 - {Name: D, Template: Small, Tags: ['database:master_active=shop']}\n",
    );
    scene.credential("pw", "x");
    let _ = scene.tool("rs-server").args(["launch", "--all"]).run().exits(0);
    for (tool, args, socket) in [
        ("rs-lbctl", &["status", "--pool", "www"][..], "run/haproxy.sock"),
        ("rs-maintenance", &["status", "--pool", "www"], "run/haproxy.sock"),
        ("rs-dbsync", &["status", "D"], "run/mysqld.sock"),
    ] {
        let ran: Ran = scene.tool(tool).args(args).run().exits(7);
        let _ = ran.says(socket).says(&scene.text("machines")).says("(try: ");
    }
}

#[test]
fn a_full_disk_under_the_backups_is_said_and_leaves_no_half_of_one() {
    let scene = launched("bad-full-backup");
    let place = scene.path("backups");
    let Some(_mounted) = tmpfs(&scene, &place, "size=2m,uid=65534,gid=65534,mode=755") else {
        return;
    };
    let rs = |args: &[&str]| scene.tool("rs-snapshot").args(args).run();
    let left = || {
        let all = ["-c", "cd backups && find . -type f ! -name '.*' | sort"];
        scene.call("sh", "sh").args(all).run().exits(0).stdout
    };
    let before = left();
    let full = rs(&["take", "Master DB", "--label", "first"]).exits(1);
    assert!(full.stderr.contains("No space left") || full.stderr.contains("full"), "{full}");
    let _ = full.says(&place.display().to_string()).says("(try: ");
    assert_eq!(left(), before, "half a backup is left");
    let _ = rs(&["list", "Master DB"]).exits(4);
    let _ = rs(&["list", "Master DB", "--require", "age<2h"]).exits(3);
    let more = format!("mount -o remount,size=900m '{}'", place.display());
    let _ = scene.call("sh", "sh").args(["-c", &more]).run().exits(0);
    // and with room it goes, whatever things are called
    let odd = "$(touch owned); 'x' \"y\" `touch owned`";
    let table = format!("`{}`", odd.replace('`', "``"));
    sql(
        &scene,
        &format!("CREATE DATABASE {table}; CREATE TABLE {table}.{table} (id INT PRIMARY KEY)"),
    );
    let lineage = format!("DB_LINEAGE_NAME=text:{odd}");
    for level in ["--next", "--current"] {
        let set = ["set", "--on", "Master DB", level, &lineage];
        let _ = scene.tool("rs-inputs").args(set).run().exits(0);
    }
    let taken = rs(&["take", "Master DB", "--label", odd]).exits(0);
    assert_eq!(taken.record()["snapshot"]["label"], odd, "{taken}");
    assert_eq!(taken.record()["snapshot"]["lineage"], odd, "{taken}");
    for verb in ["pin", "unpin", "prove"] {
        let _ = rs(&[verb, "Master DB", "--label", odd]).exits(0);
    }
    let found = scene.call("find", "find").args([".", "-name", "owned*"]).run().exits(0);
    assert!(found.stdout.is_empty(), "a name was run\n{found}");
}
