//! `rs-check preflight` and `drift`: each question with its yes, its no and its not known, on real servers and files.

use std::io::{Read, Write};
use std::time::Duration;

use rs_drivers::settings::Settings;
use rs_model::Value;
use rs_tests::{Engines, Ran, Scene, program, until};
use serde_json::Value as Json;

use super::dbsync::{Set, set_on, sql};
use super::rs_check::{Site, found};
use super::rs_snapshot::launched;

/// What a gate answered to one question about one subject, with its words.
fn answers(ran: &Ran, name: &str, subject: &str) -> Vec<(String, String)> {
    let checks: Vec<Json> = if ran.exit == 0 { ran.records() } else { found(&ran.stderr) };
    let text = |check: &Json, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    checks
        .iter()
        .filter(|check| check["name"] == name && text(check, "subject").contains(subject))
        .map(|check| {
            let (answer, detail) = (text(check, "answer"), text(check, "detail"));
            assert!(answer == "ok" || check["hint"].is_string(), "no hint: {check}");
            (answer, detail)
        })
        .collect()
}

#[track_caller]
fn is(ran: &Ran, name: &str, subject: &str, answer: &str) -> String {
    let found = answers(ran, name, subject);
    assert!(!found.is_empty(), "{name} of {subject} was not asked\n{ran}");
    for (given, detail) in &found {
        assert_eq!(given, answer, "{name} of {subject}: {detail}\n{ran}");
    }
    found[0].1.clone()
}

fn preflight(scene: &Scene, args: &[&str]) -> Ran {
    scene.tool("rs-check").args(["preflight", "--json"]).args(args).run()
}

rs_tests::each_engine!(databases_say_who_watches_who_could_write_and_what_is_in_the_way);

fn databases_say_who_watches_who_could_write_and_what_is_in_the_way(engines: Engines) {
    let Set { scene, master, slave, .. } = &set_on(engines, "preflight-db");
    let ask = |args: &[&str]| preflight(scene, args);
    let ran = ask(&[]);
    assert_eq!(ran.exit, 3);
    for asked in [
        "nobody watches read-only",
        "no long statement",
        "no prepared XA transaction",
        "no incoming replication",
        "no application account that writes in spite of read-only",
        "migration account writes in spite of read-only",
        "binary log is kept long enough",
        "migration account",
        "replication account",
        "events",
        "clock",
    ] {
        is(&ran, asked, "Master DB", "ok");
    }
    is(&ran, "slave replicates", "Slave", "ok");
    // where no channel leads, the disk is not known, and what nobody named is not known either
    is(&ran, "space for the binary log", "Master DB", "unknown");
    is(&ran, "nothing rewrites configuration", "Master DB", "unknown");
    is(&ran, "backup is young", "Master DB", "no");

    // an account of a proxy's monitor is suspicious, a session of it is a no
    master.sql("CREATE USER monitor@'127.%' IDENTIFIED BY 'monitor'");
    let said = is(&ask(&[]), "nobody watches read-only", "Master DB", "unknown");
    assert!(said.contains("ProxySQL"), "{said}");
    let client = master.session_as("monitor", "DO 0");
    until("the monitor to be connected", Duration::from_secs(20), || {
        answers(&ask(&[]), "nobody watches read-only", "Master DB")[0].0 == "no"
    });
    is(&ask(&["--allow", "monitor"]), "nobody watches read-only", "Master DB", "ok");
    client.end();

    master.sql(master.or(
        "GRANT READ ONLY ADMIN ON *.* TO app@'127.%'; REVOKE READ ONLY ADMIN ON *.* FROM migrator@'127.%'",
        "GRANT CONNECTION_ADMIN ON *.* TO app@'127.%'; \
         REVOKE SUPER, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.* FROM migrator@'127.%'",
    ));
    let ran = ask(&[]);
    let writers = "no application account that writes in spite of read-only";
    assert!(is(&ran, writers, "Master DB", "no").contains("app@127.%"), "{ran}");
    is(&ran, "migration account writes in spite of read-only", "Master DB", "no");
    is(&ask(&["--allow", "app"]), writers, "Master DB", "ok");

    // prepared, and then its session ended: only the server still knows it
    drop(master.sql(
        "XA START 'x1'; INSERT INTO appdb.t VALUES (900, 'xa'); XA END 'x1'; XA PREPARE 'x1'",
    ));
    assert!(is(&ask(&[]), "no prepared XA transaction", "Master DB", "no").contains("x1"));
    master.sql("XA ROLLBACK 'x1'");
    is(&ask(&[]), "no prepared XA transaction", "Master DB", "ok");

    let slow = master.session_as("app", "DO 0");
    until("the statement to be long", Duration::from_secs(20), || {
        answers(&ask(&["--long", "1s"]), "no long statement", "Master DB")[0].0 == "no"
    });
    is(&ask(&[]), "no long statement", "Master DB", "ok");
    slow.end();

    let event = "SET GLOBAL event_scheduler = ON; SET sql_log_bin = 0; CREATE EVENT appdb.purge ON SCHEDULE EVERY 1 DAY DO DELETE FROM appdb.t WHERE id < 0";
    master.sql(event);
    slave.force(event);
    let ran = ask(&[]);
    assert!(is(&ran, "events", "Master DB", "ok").contains("appdb.purge"), "{ran}");
    assert!(is(&ran, "events", "Slave DB", "no").contains("appdb.purge"), "{ran}");

    master.sql("SET GLOBAL binlog_expire_logs_seconds = 7200");
    is(&ask(&["--horizon", "2h"]), "binary log is kept long enough", "Master DB", "ok");
    let ran = ask(&["--horizon", "2h", "--window", "1m"]);
    is(&ran, "binary log is kept long enough", "Master DB", "no");

    master.sql(master.or(
        "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=9, MASTER_USER='x'",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=9, SOURCE_USER='x'",
    ));
    is(&ask(&[]), "no incoming replication", "Master DB", "no");
    slave.sql("STOP REPLICA SQL_THREAD");
    is(&ask(&[]), "slave replicates", "Slave DB", "no");
    let options = slave.dir.join("my.cnf");
    let with_log = std::fs::read_to_string(&options).unwrap();
    std::fs::write(&options, format!("{with_log}skip-log-bin\n")).unwrap();
    scene.shut_down(slave);
    scene.start_database(slave);
    assert!(is(&ask(&[]), "slave replicates", "Slave DB", "no").contains("log_bin=OFF"));

    scene.credential("repl", "another");
    let ran = ask(&[]);
    is(&ran, "replication account", "Master DB", "unknown");
    is(&ran, "migration account", "Master DB", "ok");
    scene.credential("migrator", "another");
    is(&ask(&[]), "migration account", "Master DB", "no");
}

#[test]
fn a_window_that_was_rehearsed_longer_or_not_at_all_is_not_ok() {
    let scene = super::small_site::site("preflight-rehearsal");
    scene.file("staging.yml", "Deployment: staging\n");
    let _ = scene.tool("rs-server").args(["apply", "staging.yml"]).run().exits(0);
    let asked = "rehearsal fits the window";
    let ask = |window: &str| {
        let place = ["--deployment", "shop", "--rehearsal", "staging", "--window", window];
        preflight(&scene, &place)
    };
    is(&ask("10m"), asked, "staging", "unknown");
    // nor is a window ok that was rehearsed nowhere
    is(&preflight(&scene, &["--deployment", "shop", "--window", "10m"]), asked, "", "unknown");
    let mark = |what: &str, ms: &str| {
        let args = ["mark", what, "--took-ms", ms, "--deployment", "staging", "--upgrade", "r-1"];
        let _ = scene.tool("rs-journal").args(args).run().exits(0);
    };
    for (step, ms) in [("step 02", "999000"), ("step 18", "20000"), ("step 23", "40000")] {
        mark(step, ms);
    }
    is(&ask("10m"), asked, "staging", "unknown");
    mark("step 31", "1000");
    is(&ask("61s"), asked, "staging", "ok");
    is(&ask("60s"), asked, "staging", "no");
    mark("window as clients saw it", "30000");
    is(&ask("31s"), asked, "staging", "ok");
    is(&ask("29s"), asked, "staging", "no");
}

#[test]
fn backups_are_proven_and_there_is_room_for_them_and_for_the_binary_log() {
    let scene = launched("preflight-backup");
    let ran = preflight(&scene, &[]);
    is(&ran, "backup is young", "Master DB", "no");
    is(&ran, "backup is proven", "Master DB", "no");
    backups_are_proven_and_there_is_room(&scene);
}

/// Of `Master DB`, with channels: no backup of it was proven so far.
pub fn backups_are_proven_and_there_is_room(scene: &Scene) {
    let ask = |args: &[&str]| preflight(scene, args);
    let ran = ask(&[]);
    is(&ran, "space for the binary log", "Master DB", "ok");
    is(&ran, "space for the migration", "Master DB", "ok");
    is(&ran, "replication account", "Master DB", "ok");
    let snapshot = |args: &[&str]| scene.tool("rs-snapshot").args(args).run().exits(0);
    snapshot(&["take", "Master DB", "--label", "one"]);
    let ran = ask(&[]);
    is(&ran, "backup is young", "Master DB", "ok");
    is(&ran, "backup is proven", "Master DB", "no");
    snapshot(&["prove", "Master DB", "--label", "one"]);
    let ran = ask(&[]);
    is(&ran, "backup is proven", "Master DB", "ok");
    is(&ran, "space for backups", "Master DB", "ok");
    is(&ask(&["--proven-age", "1ms"]), "backup is proven", "Master DB", "no");
    // 64 MiB in its first hour: nobody has room for thirty years of that
    let rows = "INSERT INTO test.big WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16) \
                SELECT REPEAT('x', 4194304) FROM n";
    sql(
        scene,
        "Master DB",
        &format!("CREATE DATABASE IF NOT EXISTS test; CREATE TABLE test.big (b LONGBLOB); {rows}"),
    );
    is(&ask(&["--horizon", "11000d"]), "space for the binary log", "Master DB", "no");
}

#[test]
fn a_balancer_is_asked_for_ties_drift_and_old_processes() {
    let site = Site::new("preflight-lb");
    let ask = |args: &[&str]| preflight(&site.scene, args);
    let drift =
        |args: &[&str]| site.scene.tool("rs-check").args(["drift", "--json"]).args(args).run();
    let ran = ask(&[]);
    assert!(is(&ran, "users can change members", "Load Balancer-1", "ok").contains("no"), "{ran}");
    is(&ran, "outside probe", "Load Balancer-1", "ok");
    is(&ran, "nothing rewrites configuration", "Load Balancer-1", "ok");

    // nothing is recorded while something is not well
    let ran = ask(&["--record"]).exits(3).says("says no: of ");
    assert!(!ran.stderr.contains(" 0 are"), "nothing is told of none\n{ran}");
    for (gate, known) in [
        (ask(&["--accept", "DNS"]), "DNS answers"),
        (drift(&["--accept", "DNS answers"]), "no old process serves"),
    ] {
        gate.exits(2).says("no question is called").says(known);
    }
    drift(&[]).exits(4).says("--record");
    let _ = drift(&["--allow-none"]).exits(0);
    let _ = site.scene.tool("rs-journal").args(["watch", "--once"]).run().exits(0);
    let _ = ask(&["--record", "--accept", "DNS answers"]).exits(0);
    let _ = drift(&[]).exits(0);

    // our own members are no drift
    let leave = ["disconnect", "--pool", "www", "App Server-1"];
    let _ = site.scene.tool("rs-lbctl").args(leave).run().exits(0);
    let _ = drift(&[]).exits(0);

    // somebody renders the file anew: a cookie, and no way around a member that is gone
    let file = format!("{}/etc/haproxy.cfg", site.home());
    let before = std::fs::read_to_string(&file).unwrap();
    let tied = before.replace("  option redispatch\n", "  cookie SRV insert indirect nocache\n");
    let free = tied.replace("  cookie", "  option redispatch\n  cookie");
    assert_ne!(before, tied);
    std::fs::write(&file, &tied).unwrap();
    let ran = drift(&[]).exits(3);
    is(&ran, "configuration is as recorded", "Load Balancer-1", "no");
    is(&ran, "no old process serves", "Load Balancer-1", "ok");
    let _ = drift(&["--accept", "configuration is as recorded"]).exits(0);
    assert!(is(&ask(&[]), "users can change members", "Load Balancer-1", "no").contains("SRV"));
    std::fs::write(&file, free).unwrap();
    let said = is(&ask(&[]), "users can change members", "Load Balancer-1", "ok");
    assert!(said.contains("will end: yes"), "{said}");
    let _ = drift(&["--record"]).exits(0);
    std::fs::write(&file, &before).unwrap();
    let _ = drift(&["--record"]).exits(0);

    // a client stays on the process from before a reload
    let address = site.address();
    let mut client = std::net::TcpStream::connect(format!("{address}:8080")).unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: www.mysite.com\r\n\r\n").unwrap();
    until("the request to wait", Duration::from_secs(20), || {
        site.apps.iter().any(|a| a.slow() > 0)
    });
    let reload = ["balancer reload", "Load Balancer-1"];
    let _ = site.scene.tool("rs-run").args(reload).run();
    until("the old process to be seen", Duration::from_secs(20), || drift(&[]).exit == 3);
    let ran = drift(&[]).exits(3);
    is(&ran, "no old process serves", "Load Balancer-1", "no");
    is(&ran, "configuration is as recorded", "Load Balancer-1", "ok");
    is(&ask(&[]), "one process serves", "Load Balancer-1", "no");
    site.apps.iter().for_each(rs_tests::App::let_go);
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    drop(client);
    until("the old process to end", Duration::from_secs(40), || drift(&[]).exit == 0);
}

#[test]
fn configuration_management_that_strikes_in_the_window_is_named_before_the_page_goes_off() {
    let site = Site::new("preflight-strikes");
    let scene = &site.scene;
    let conf = scene.file(
        "upgrade.conf",
        "DEPLOYMENT=production\nUPGRADE=u-1\nPOOL=www\nTEST_POOL=test1\nTEST_HOST=test1.mysite.com\n\
         TEST_LB_LIKE=Load Balancer-1\nTEST_LB=Load Balancer-3\nAPP_LIKE=App Server-1\nAPP_NAME=App Server-%n\n\
         WARM=Slave DB => Slave2 DB\nRELEASE=APPLICATION=text:shop 2.0\nMIGRATION_SCRIPT=migrate\n\
         UNREHEARSED=go\n",
    );
    let step = |file: &str| {
        scene.script(&format!("scripts/steps/{file}")).env("RS_UPGRADE_CONF", &conf).run()
    };
    let page = |is: &str| {
        let args = ["status", "--pool", "www", "--require", is];
        let _ = scene.tool("rs-maintenance").args(args).run().exits(0);
    };
    let file = format!("{}/etc/haproxy.cfg", site.home());
    let before = std::fs::read_to_string(&file).unwrap();
    let _ = scene.tool("rs-check").args(["drift", "--record"]).run().exits(0);

    // before the page
    let rendered = before.replace("option redispatch", "no option redispatch");
    assert_ne!(before, rendered);
    std::fs::write(&file, &rendered).unwrap();
    let ran = step("18-maintenance.sh").exits(3);
    let _ = ran.says("Load Balancer-1").says("somebody rewrote it since");
    page("off");
    std::fs::write(&file, &before).unwrap();
    a_wrong_name_is_no_step_that_cannot_be_tried_yet(scene);
    let decided = a_start_behind_the_hold(scene, &conf);
    let _ = decided().says("the page is not up, and the migration is next");
    let _ = step("18-maintenance.sh").exits(0);
    page("on");
    let _ = decided().says("decision wanted: migrate");

    // in the dark
    let ours = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, ours.replace("option redispatch", "no option redispatch")).unwrap();
    let ran = step("31-page-off.sh").exits(3);
    let _ = ran.says("Load Balancer-1").says("somebody rewrote it since");
    page("on");
    let ran = step("25-connect-new.sh").exits(3);
    let _ = ran.says("somebody rewrote it since");

    // a script that the new servers' template has not is told by step 17, not by the one that runs it
    let mark = ["mark", "new", "Load Balancer-1", "--upgrade", "u-1"];
    let _ = scene.tool("rs-server").args(mark).run().exits(0);
    let ran = step("17-begin.sh").exits(4).says("CODE_UPDATE names what is not there");
    let _ = ran.says("has no script \"code update\"").says("its scripts: ");
}

/// The next start of a run whose first one came as far as the hold: it is at the decision to migrate.
fn a_start_behind_the_hold(scene: &Scene, conf: &str) -> impl Fn() -> Ran {
    let marks = "for step in 01 02 03 04 05 06 07 09 08 {10..19} 27 29f 21 22; do\n\
                 rs-journal mark \"step $step\" --upgrade u-1 || exit; done";
    let _ = scene.call("bash", "bash").args(["-c", marks]).run().exits(0);
    move || scene.script("scripts/upgrade.sh").args(["--conf", conf]).run().exits(5)
}

/// Settings that name a script of the applications' template.
const SCRIPTS: [&str; 6] =
    ["CODE_UPDATE", "APP_STOP", "APP_START", "APP_RESTART", "WORKER_START", "MIGRATION_SCRIPT"];

/// Under `--dry-run` much ends with a no that is none; that a name of the settings is wrong is said all the same.
fn a_wrong_name_is_no_step_that_cannot_be_tried_yet(scene: &Scene) {
    // one server that has every role that the settings ask for
    let tag = "\"load_balancer:active_www=true\"";
    let roles = format!("{tag}, \"application:active_www=false\", \"database:slave_active=none\"");
    let file = std::fs::read_to_string(scene.path("site.yml")).unwrap().replace(tag, &roles);
    let file = scene.file("roles.yml", &file);
    let _ = scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    let dry = |wrong: &str| {
        let names = ["APP_LIKE", "TEST_LB_LIKE", "WARM"].map(|name| {
            let is = if name == wrong { "Nobody" } else { "Load Balancer-1" };
            format!("{name}={is}{}\n", if name == "WARM" { " => Slave2 DB" } else { "" })
        });
        let array = if wrong == "OLD_ARRAY" { "OLD_ARRAY=Nobody\nNEW_ARRAY=array-2\n" } else { "" };
        let pool = if wrong == "POOL" { "nowhere" } else { "www" };
        let scripts = SCRIPTS.map(|name| {
            let is = if name == wrong { "balancer stat" } else { "balancer start" };
            format!(
                "{name}={}{is}\n",
                if name == "MIGRATION_SCRIPT" { "production => " } else { "" }
            )
        });
        let settings = format!(
            "DEPLOYMENT=production\nUPGRADE=u-1\nPOOL={pool}\nTEST_POOL=test1\nTEST_HOST=test1.mysite.com\n\
             TEST_LB=Load Balancer-3\nAPP_NAME=App Server-%n\nRELEASE=HEALTH_CHECK_URI=text:/health\n\
             WAIT_AT_BOOT=\nRESTART_APP=yes\n{array}{}{}",
            names.concat(),
            scripts.concat()
        );
        let conf = scene.file("dry.conf", &settings);
        scene.script("scripts/upgrade.sh").args(["--dry-run", "--only", "3", "--conf", &conf]).run()
    };
    let _ = dry("nothing").exits(0);
    for wrong in ["APP_LIKE", "TEST_LB_LIKE", "WARM", "OLD_ARRAY", "POOL"] {
        let name = if wrong == "POOL" { "nowhere" } else { "Nobody" };
        let _ = dry(wrong).exits(4).says(name).says(wrong);
    }
    for wrong in SCRIPTS {
        let ran = dry(wrong).exits(4).says(&format!("{wrong} names what is not there"));
        let _ = ran.says("has no script \"balancer stat\"").says("did you mean \"balancer start\"");
    }
}

#[test]
fn agents_on_a_machine_are_named_until_they_are_paused() {
    let site = Site::new("preflight-agent");
    let asked = "nothing rewrites configuration";
    let name = format!("our-agent-{}", std::process::id());
    let agent = site.scene.path(&name);
    std::fs::copy("/bin/sleep", &agent).unwrap();
    let flag = ["--agent", name.as_str()];
    is(&preflight(&site.scene, &flag), asked, "Load Balancer-1", "ok");
    let pid = site.scene.serve(&agent, &["600"]);
    until("the agent to run", Duration::from_secs(20), || {
        answers(&preflight(&site.scene, &flag), asked, "Load Balancer-1")[0].0 == "no"
    });
    let said = is(&preflight(&site.scene, &flag), asked, "Load Balancer-1", "no");
    assert_eq!(said, format!("{name} (process {pid})"));
    let allowed = ["--agent", name.as_str(), "--allow-agent", name.as_str()];
    is(&preflight(&site.scene, &allowed), asked, "Load Balancer-1", "ok");
}

#[test]
fn the_outside_probe_knows_redirects_and_certificates() {
    let site = Site::new("preflight-tls");
    let scene = &site.scene;
    let probe = |answer: &str, subject: &str, url: &str| {
        let url = format!("LB_PROBE_URL=text:{url}");
        let args = ["set", "--create", "--role", "lb", "--current", &url];
        let _ = scene.tool("rs-inputs").args(args).run().exits(0);
        let ran = preflight(scene, &[]);
        is(&ran, "outside probe", subject, answer);
        ran
    };
    // nobody listens there
    let address = scene.address();
    probe("unknown", &address, &format!("http://{address}:8080"));

    // a site with TLS from an authority of its own, good for some days
    let dir = scene.dir.display().to_string();
    let script = format!(
        "cd '{dir}' && openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=ours -keyout ca.key -out ca.pem && \
         for days in 3 60; do openssl req -newkey rsa:2048 -nodes -subj /CN=www -keyout $days.key -out $days.csr && \
         printf 'subjectAltName=DNS:www.mysite.com' >san && openssl x509 -req -in $days.csr -CA ca.pem -CAkey ca.key \
         -CAcreateserial -days $days -extfile san -out $days.pem; done; chmod 644 *.key"
    );
    let _ = scene.call("bash", "bash").args(["-c", &script]).run().exits(0);
    let serve = |days: &str| {
        let address = scene.address();
        let (at, cert, key) = (
            format!("{address}:8443"),
            scene.text(&format!("{days}.pem")),
            scene.text(&format!("{days}.key")),
        );
        let args = ["s_server", "-accept", &at, "-cert", &cert, "-key", &key, "-www", "-quiet"];
        scene.serve(&program("openssl"), &args);
        until("openssl to listen", Duration::from_secs(20), || {
            std::net::TcpStream::connect(&at).is_ok()
        });
        address
    };
    let (short, long) = (serve("3"), serve("60"));
    // its authority is not believed
    let ran = probe("no", &short, &format!("https://{short}:8443"));
    is(&ran, "certificate", &short, "no");
    let authority = format!("LB_PROBE_CA=text:{}", scene.text("ca.pem"));
    let args = ["set", "--create", "--role", "lb", "--current", &authority];
    let _ = scene.tool("rs-inputs").args(args).run().exits(0);
    let ran = probe("ok", &short, &format!("https://{short}:8443"));
    is(&ran, "certificate", &short, "no");
    let ran = probe("ok", &long, &format!("https://{long}:8443"));
    is(&ran, "certificate", &long, "ok");

    // a redirect is not the page
    let to = scene.address();
    let listener = std::net::TcpListener::bind(format!("{to}:8080")).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(
                b"HTTP/1.1 301 Moved\r\nLocation: https://www.mysite.com/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    probe("no", &to, &format!("http://{to}:8080"));
}

#[test]
fn names_that_live_long_have_a_second_family_or_a_wrong_key_are_refused() {
    let site = Site::new("preflight-dns");
    let scene = &site.scene;
    let knot = scene.knot("dns");
    scene.credential("TSIG", &knot.key);
    let server = format!("DNS_SERVER=text:{}", knot.server);
    let inputs = [
        server.as_str(),
        "DNS_ZONE=text:mysite.com",
        "DNS_TSIG_NAME=text:updater",
        "DNS_TSIG_KEY=cred:TSIG",
    ];
    let set = |level: &[&str], inputs: &[&str]| {
        let _ = scene.tool("rs-inputs").args(["set"]).args(level).args(inputs).run().exits(0);
    };
    set(&["--create", "--deployment-level"], &inputs);
    let dns = rs_drivers::dns(&Settings::given(
        "production",
        None,
        [
            ("DNS_SERVER", knot.server.to_string()),
            ("DNS_ZONE", "mysite.com".into()),
            ("DNS_TSIG_NAME", "updater".into()),
            ("DNS_TSIG_KEY", knot.key.clone()),
        ]
        .map(|(name, text)| (name.to_owned(), Value::Text(text))),
    ))
    .unwrap();
    let ask = || preflight(scene, &[]);
    let ran = ask();
    assert!(is(&ran, "name", "www.mysite.com", "no").contains("no address"), "{ran}");
    is(&ran, "DNS key", "", "ok");
    let here = [std::net::Ipv4Addr::new(127, 0, 0, 11)];
    dns.set("www.mysite.com", &here, 60).unwrap();
    is(&ask(), "name", "www.mysite.com", "ok");
    dns.set("www.mysite.com", &here, 61).unwrap();
    assert!(is(&ask(), "name", "www.mysite.com", "no").contains("61 s"));
    // the other family would still lead to the old place
    dns.set("six.mysite.com", &here, 60).unwrap();
    set(&["--create", "--role", "lb", "--current"], &["LB_HOSTNAME=text:six.mysite.com"]);
    assert!(is(&ask(), "name", "six.mysite.com", "no").contains("AAAA"));
    scene.credential("TSIG", &knot.stranger);
    is(&ask(), "DNS key", "", "no");
    assert_eq!(knot.dig("six.mysite.com"), ["127.0.0.11"], "nothing was changed");
}

#[test]
fn an_instance_that_still_boots_is_not_settled() {
    let scene = Scene::new("preflight-boot");
    scene.file("slow.yml", "Name: Slow\nRightScripts:\n  Boot: [slow.sh]\n");
    scene.file(
        "slow.sh",
        "#!/bin/bash\n# ---\n# RightScript Name: slow\n# Inputs: {}\n# ...\nuntil [ -e \"$HOME/enough\" ]; do sleep 0.05; done\n",
    );
    scene.file(
        "site.yml",
        &format!(
            "Deployment: shop\nMachines:\n  Local: {{Root: machines, Addresses: {}.0/25, Path: /usr/bin:/bin, User: nobody}}\n\
             Templates: [slow.yml]\nArrays:\n  - Name: pack\n    Template: Slow\n    Minimum: 1\n    Maximum: 2\n    Enabled: false\n",
            scene.net
        ),
    );
    let _ = scene.tool("rs-server").args(["apply", "site.yml"]).run().exits(0);
    let mut launch = scene.tool("rs-server").args(["launch", "pack", "--to", "1"]).start();
    until("the instance to boot", Duration::from_secs(20), || {
        let ran = scene.tool("rs-server").args(["list", "--all"]).run();
        ran.records().iter().any(|r| r["state"] == "booting")
    });
    is(&preflight(&scene, &[]), "settled", "pack #1", "no");
    let list = scene.tool("rs-server").args(["list", "pack #1"]).run().exits(0).record();
    let home = list["current"]["home"].as_str().unwrap().to_owned();
    std::fs::write(format!("{home}/enough"), "").unwrap();
    assert!(launch.wait().unwrap().success());
    is(&preflight(&scene, &[]), "settled", "pack #1", "ok");
}
