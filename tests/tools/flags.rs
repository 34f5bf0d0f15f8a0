//! What `--timeout`, `--jobs`, `--dry-run` and `--json` do, on every verb that has them.

use std::fs::File;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rs_tests::{MariaDb, Scene, root};
use serde_json::Value as Json;

use super::rs_server::site;
use super::verbs::all_verbs;

const TWO: &str =
    "Servers:\n  - Name: One\n    Template: Small\n  - Name: Two\n    Template: Small\n";

/// A site of two servers, with the files that verbs want.
fn small(name: &str) -> Scene {
    let scene = site(name, TWO);
    scene.file("up.sql", "SELECT 1;\n");
    let plan = scene.tool("rs-cleanup").args(["plan", "One"]).run().exits(0);
    scene.file("plan.json", &plan.stdout);
    scene
}

#[test]
fn timeout_ends_every_verb_that_waits_in_vain() {
    let scene = small("flag-timeout");
    // whoever holds SQLite's lock bytes keeps every reader waiting
    let file = File::options().read(true).write(true).open(scene.path("site.db")).unwrap();
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    for verb in all_verbs() {
        let begun = Instant::now();
        let args = verb.on("One", &["--timeout", "200ms", "--json"]);
        let ran = scene.tool(&verb.tool).args(&args).env("RS_UPGRADE", "u-1").run().exits(6);
        assert!(ran.stderr.contains("--timeout"), "{ran}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}\n{ran}", begun.elapsed());
    }
}

#[test]
fn json_makes_records_of_a_terminal_s_table_and_of_errors() {
    let scene = small("flag-json");
    let mut tables = 0;
    for verb in all_verbs() {
        let wrong = verb.on("One", &["--cloud", "gcp:eu", "--json"]);
        let ran = scene.tool(&verb.tool).args(&wrong).env("RS_UPGRADE", "u-1").run().exits(2);
        let error: Json = serde_json::from_str(ran.stderr.trim_end().lines().last().unwrap())
            .unwrap_or_else(|e| panic!("{e}\n{ran}"));
        assert_eq!((&error["schema"], &error["exit"]), (&"rs.error/1".into(), &2.into()), "{ran}");
        assert_eq!(error["tool"], verb.tool.as_str(), "{ran}");
        let words = verb.words.join(" ");
        assert!(words.is_empty() || error["verb"] == words.as_str(), "{ran}");
        assert!(error["what"].as_str().unwrap().contains("gcp"), "{ran}");
        assert!(error["hint"].as_str().unwrap().contains("sqlite"), "{ran}");
        assert!(ran.stdout.is_empty(), "{ran}");

        let careful = verb.careful();
        let plain = verb.on("One", &careful);
        let plain = [vec![verb.tool.clone()], plain].concat();
        let json = verb.on("One", &[&careful[..], &["--json"]].concat());
        let json = [vec![verb.tool.clone()], json].concat();
        let (plain, json) = (terminal(&scene, &plain), terminal(&scene, &json));
        let is_record =
            |line: &&str| serde_json::from_str::<Json>(line).is_ok_and(|j| j["schema"].is_string());
        assert!(json.lines().all(|line| is_record(&line)), "{verb}: {json}");
        if !json.is_empty() {
            assert!(
                !plain.is_empty() && !plain.lines().any(|line| is_record(&line)),
                "{verb}: {plain}"
            );
            tables += 1;
        }
    }
    assert!(tables >= 15, "only {tables} verbs showed a table");
}

/// What a command writes to stdout when that is a terminal.
fn terminal(scene: &Scene, words: &[String]) -> String {
    let line = format!("{} 2>/dev/null", rs_cli::shell_words(words));
    let ran = scene
        .call("script", "script")
        .args(["-q", "-c", &line, "/dev/null"])
        .env("RS_UPGRADE", "u-1")
        .env("SHELL", "/bin/sh")
        .run();
    ran.stdout.replace('\r', "").replace("^D\u{8}\u{8}", "")
}

/// A balancer of ours with two applications behind it, a database, and servers of a small template: one launched.
pub fn mixed(name: &str) -> (Scene, MariaDb, Vec<rs_tests::App>) {
    let scene = Scene::new(name);
    scene.credential("LB_BYPASS", "open-sesame-7");
    let db = scene.mariadb("m");
    db.sql("CREATE DATABASE appdb; CREATE TABLE appdb.t (id INT PRIMARY KEY); INSERT INTO appdb.t VALUES (1), (2)");
    let apps: Vec<_> = ["App 1", "App 2", "App 3"].map(|name| scene.app(name)).into();
    scene.file("say.sh", "#!/bin/sh\n# ---\n# RightScript Name: small say\n# Inputs:\n#   GREETING: {Required: true}\n# ...\necho \"$GREETING\" >>\"$HOME/said\"\n");
    scene.file(
        "small.yml",
        "Name: Small\nInputs: {GREETING: text:hello}\nRightScripts: {Boot: [say.sh], Operational: [say.sh]}\n",
    );
    let hook = scene.file(
        "hook",
        &format!(
            "#!/bin/sh\nread -r line\ncase $1 in\nquenched) [ -e '{d}/quiet' ] || exit 3 ;;\nquench) touch '{d}/quiet' ;;\nunquench) rm -f '{d}/quiet' ;;\nesac\n",
            d = scene.dir.display()
        ),
    );
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let hosts = scene.file("hosts", "127.0.0.1 localhost\n");
    let text = format!(
        "Deployment: production\nMachines:\n  Local: {{Root: machines, Addresses: {net}.128/25, Path: '{path}:/usr/sbin:/sbin', User: nobody}}\n\
         Inputs:\n  LB_APPLISTENER_NAME: text:www\n  LB_HOSTNAME: text:www.mysite.com\n  LB_BYPASS_SECRET: cred:LB_BYPASS\n  HEALTH_CHECK_URI: text:/health\n\
         \x20 DB_SCHEMA_NAME: text:appdb\n  DBADMIN_USER: text:admin\n  DBADMIN_PASSWORD: cred:admin\n  DBREPLICATION_USER: text:repl\n  DBREPLICATION_PASSWORD: cred:repl\n\
         \x20 DBMIGRATION_USER: text:migrator\n  DBMIGRATION_PASSWORD: cred:migrator\n  ALERTS_HOOK: text:{hook}\n  DNS_DRIVER: text:hosts\n  DNS_HOSTS_FILE: text:{hosts}\n\
         Templates: [{t}, small.yml]\nServers:\n  - {{Name: LB, Template: {t}, Tags: ['load_balancer:active_www=true']}}\n\
         \x20 - {{Name: App 1, Address: {a}}}\n  - {{Name: App 2, Address: {b}}}\n  - {{Name: App 3, Address: {c}}}\n\
         \x20 - {{Name: One, Template: Small}}\n  - {{Name: Two, Template: Small}}\n\
         \x20 - {{Name: M, Address: {m}, Tags: ['database:master_active=shop']}}\n\
         Arrays:\n  - {{Name: array-1, Template: Small, Minimum: 1, Maximum: 2}}\n  - {{Name: array-2, Template: Small, Minimum: 1, Maximum: 2}}\n",
        net = scene.net,
        path = scene.search_path(),
        t = root().join("scripts/templates/load-balancer.yml").canonicalize().unwrap().display(),
        a = apps[0].address,
        b = apps[1].address,
        c = apps[2].address,
        m = db.address,
    );
    scene.file("site.yaml", &text);
    let rs = |tool: &str, args: &[&str]| scene.tool(tool).args(args).run().exits(0);
    rs("rs-server", &["apply", "site.yaml"]);
    rs("rs-server", &["launch", "LB", "One"]);
    rs("rs-lbctl", &["connect", "--pool", "www", "App 1", "App 2"]);
    rs("rs-server", &["lock", "Two"]);
    rs("rs-server", &["enable", "array-2"]);
    rs("rs-inputs", &["set", "--on", "One", "GREETING=text:y"]);
    rs("rs-server", &["quench", "Two", "--for", "1h", "--reason", "a test"]);
    scene.file("up.sql", "CREATE TABLE appdb.u (id INT PRIMARY KEY);\n");
    scene.file("plan.json", &rs("rs-cleanup", &["plan", "One"]).stdout);
    // a site file that would change something
    scene.file("site.yaml", &text.replace("Inputs:\n", "Inputs:\n  NEW: text:x\n"));
    (scene, db, apps)
}

/// The whole world as it can be seen from outside our tools, and our state as bytes.
fn facts(scene: &Scene, db: &MariaDb) -> String {
    let files = "find . -path ./m -prune -o -type f ! -name '*.log' -exec sha256sum {} + | sort -k 2; \
                 find . -path ./m -prune -o -printf '%p %m %U\\n' | sort; cat hosts; \
                 find /tmp -maxdepth 1 -name '.rs-*' -printf '%p\\n'";
    let files = scene.call("bash", "bash").args(["-c", files]).run().exits(0).stdout;
    let sql = "SELECT @@read_only, @@gtid_binlog_pos; SHOW DATABASES; SHOW TABLES IN appdb; CHECKSUM TABLE appdb.t; \
               SELECT User, Host, Priv FROM mysql.global_priv ORDER BY 1, 2; SHOW SLAVE STATUS";
    let lb = scene.tool("rs-lbctl").args(["status", "--pool", "www"]).run().exits(0);
    let members: Vec<String> = lb
        .records()
        .iter()
        .map(|m| format!("{} {} {} {}", m["server"], m["address"], m["admin"], m["saved"]))
        .collect();
    let page = scene.tool("rs-maintenance").args(["status", "--pool", "www"]).run().exits(0);
    format!("{files}\n{}\n{members:?}\n{}", db.sql(sql), page.record()["active"])
}

#[test]
fn a_dry_run_of_any_verb_leaves_world_and_state_byte_equal() {
    let (scene, db, _apps) = mixed("flag-dry");
    let before = facts(&scene, &db);
    let mut plans = Vec::new();
    let mut quiet = Vec::new();
    for verb in all_verbs().iter().filter(|verb| verb.has("--dry-run")) {
        let mut planned = false;
        for subject in ["One", "Two", "App 2", "App 3", "M", "LB", "array-1", "array-2"] {
            let args = verb.on(subject, &["--dry-run"]);
            let ran = scene.tool(&verb.tool).args(&args).env("RS_UPGRADE", "u-1").run();
            assert!(!ran.stderr.contains("error in the tool"), "it wanted to write\n{ran}");
            if ran.exit == 0 {
                for record in ran.records() {
                    let last = record["did"].as_array().and_then(|did| did.last());
                    let changed = last.is_some_and(|did| did["changed"] == true);
                    assert!(!changed || record["planned"] == true, "done, not planned\n{ran}");
                    planned |= changed;
                    // there may be several deployments when it is needed
                    let undo = last.and_then(|did| did["undo"].as_str()).unwrap_or_default();
                    for part in undo.split(" && ").filter(|part| part.starts_with("rs-")) {
                        let named = part.contains("--deployment ") || part.contains(" --plan ");
                        assert!(named, "{part}\n{ran}");
                    }
                }
            }
            let takes = verb.takes_names() || verb.has("--on");
            if !takes {
                break;
            }
        }
        if planned {
            plans.push(verb.to_string())
        } else {
            quiet.push(verb.to_string())
        }
        let now = facts(&scene, &db);
        assert!(now == before, "{verb} changed something:\n{}", difference(&before, &now));
    }
    assert!(plans.len() >= 18, "only these would do anything here: {plans:?}\nnot: {quiet:?}");
}

fn difference(before: &str, now: &str) -> String {
    let gone = before.lines().filter(|l| !now.contains(l)).map(|l| format!("- {l}\n"));
    let new = now.lines().filter(|l| !before.contains(l)).map(|l| format!("+ {l}\n"));
    gone.chain(new).collect()
}

#[test]
fn jobs_is_how_many_subjects_at_once_for_whoever_reaches_several() {
    let scene = Scene::new("flag-jobs");
    // a script that ends well only when another one runs beside it
    let meet = "#!/bin/sh\n# ---\n# RightScript Name: meet\n# Inputs:\n#   PLACE: {Required: true}\n# ...\n\
                me=$(mktemp \"$PLACE/me.XXXXXX\")\nfor _ in $(seq \"${PATIENCE:-40}\"); do\n  \
                [ \"$(find \"$PLACE\" -name 'me.*' | wc -l)\" -lt 2 ] || { sleep 0.3; rm -f \"$me\"; exit 0; }\n  sleep 0.05\ndone\nrm -f \"$me\"\nexit 9\n";
    scene.file("meet.sh", meet);
    scene.file(
        "meet.yml",
        "Name: Meet\nRightScripts: {Boot: [meet.sh], Operational: [meet.sh], Decommission: []}\n",
    );
    let place = scene.path("place");
    std::fs::create_dir_all(&place).unwrap();
    scene.hand_over(&place);
    let text = format!(
        "Deployment: d\nMachines:\n  Local: {{Root: machines, Addresses: {}.0/24, Path: /usr/bin:/bin, User: nobody}}\n\
         Inputs: {{PLACE: 'text:{}'}}\nTemplates: [meet.yml]\nServers:\n- {{Name: A, Template: Meet}}\n- {{Name: B, Template: Meet}}\n",
        scene.net,
        place.display()
    );
    scene.file("site.yml", &text);
    let rs = |tool: &str, args: &[&str]| scene.tool(tool).args(args).run();
    let _ = rs("rs-server", &["apply", "site.yml"]).exits(0);
    let alone = rs("rs-server", &["launch", "A", "B", "--jobs", "1"]);
    assert_ne!(alone.exit, 0, "one after the other they cannot meet\n{alone}");
    let _ = rs("rs-server", &["relaunch", "A", "B", "--jobs", "2"]).exits(0);
    let _ = rs("rs-run", &["meet", "A", "B", "--jobs", "2"]).exits(0);
    let alone = rs("rs-run", &["meet", "A", "B", "--jobs", "1"]);
    assert_ne!(alone.exit, 0, "{alone}");
    let _ = rs("rs-server", &["list", "--all", "--jobs", "0"]).exits(2);
}

/// Listeners that see how many calls are there at once: each call waits for a second one, then all hang up.
struct Doors {
    places: Vec<String>,
    most: Arc<AtomicUsize>,
}

impl Doors {
    fn new(scene: &Scene, count: usize, port: u16) -> Doors {
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let places = (0..count)
            .map(|_| {
                let address = scene.address();
                let listener = TcpListener::bind((address.as_str(), port)).unwrap();
                let (inside, most) = (inside.clone(), most.clone());
                std::thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let (inside, most) = (inside.clone(), most.clone());
                        std::thread::spawn(move || {
                            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            let begun = Instant::now();
                            while most.load(Ordering::SeqCst) < 2
                                && begun.elapsed() < Duration::from_millis(300)
                            {
                                std::thread::park_timeout(Duration::from_millis(5));
                            }
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(stream);
                        });
                    }
                });
                address
            })
            .collect();
        Doors { places, most }
    }
}

#[test]
fn jobs_1_is_one_after_the_other_on_every_verb_and_more_is_side_by_side() {
    let scene = Scene::new("flag-doors");
    scene.credential("pw", "x");
    let (lbs, dbs) = (Doors::new(&scene, 3, 9999), Doors::new(&scene, 3, 3306));
    let mut text = "Deployment: d\nInputs: {LB_APPLISTENER_NAME: 'text:www', LB_BYPASS_SECRET: 'cred:pw', LB_HOSTNAME: 'text:www.mysite.com', \
                    DBADMIN_USER: 'text:a', DBADMIN_PASSWORD: 'cred:pw', DBREPLICATION_USER: 'text:r', DBREPLICATION_PASSWORD: 'cred:pw', \
                    DBMIGRATION_USER: 'text:m', DBMIGRATION_PASSWORD: 'cred:pw', DB_SCHEMA_NAME: 'text:s'}\nServers:\n"
        .to_owned();
    for (n, at) in lbs.places.iter().enumerate() {
        text.push_str(&format!(
            "  - {{Name: LB {n}, Address: {at}, Tags: ['load_balancer:active_www=true'], Inputs: {{LB_RUNTIME_SOCKET: 'text:tcp:{at}:9999'}}}}\n"
        ));
    }
    for (n, at) in dbs.places.iter().enumerate() {
        let role = if n == 0 { "master" } else { "slave" };
        text.push_str(&format!(
            "  - {{Name: DB {n}, Address: {at}, Tags: ['database:{role}_active=set']}}\n"
        ));
    }
    text.push_str(&format!("  - {{Name: One, Address: {}}}\n", scene.address()));
    scene.file("site.yaml", &text);
    scene.file("up.sql", "SELECT 1;\n");
    let _ = scene.tool("rs-server").args(["apply", "site.yaml"]).run().exits(0);
    let mut beside = Vec::new();
    for verb in all_verbs().iter().filter(|verb| verb.words != ["probe"]) {
        let subjects: &[&str] = match verb.tool.as_str() {
            "rs-dbsync" => &["DB 0", "DB 1", "DB 2"],
            _ => &["One"],
        };
        for (jobs, most) in [("1", 1), ("4", 4)] {
            for doors in [&lbs, &dbs] {
                doors.most.store(0, Ordering::SeqCst);
            }
            let flags = [&verb.careful()[..], &["--jobs", jobs, "--timeout", "20s"]].concat();
            let mut args = verb.on(subjects[0], &flags);
            if verb.takes_names() {
                args.extend(subjects.iter().skip(1).map(|name| (*name).to_owned()));
            }
            let ran = scene.tool(&verb.tool).args(&args).env("RS_UPGRADE", "u-1").run();
            for doors in [&lbs, &dbs] {
                let seen = doors.most.load(Ordering::SeqCst);
                assert!(seen <= most, "{seen} at once\n{ran}");
                if seen > 1 && !beside.contains(&verb.to_string()) {
                    beside.push(verb.to_string());
                }
            }
        }
    }
    for verb in
        ["rs-lbctl status", "rs-lbctl connect", "rs-maintenance status", "rs-maintenance start"]
    {
        assert!(beside.iter().any(|known| known == verb), "{verb} goes one by one: {beside:?}");
    }
    assert!(beside.iter().any(|verb| verb.starts_with("rs-dbsync")), "{beside:?}");
}
