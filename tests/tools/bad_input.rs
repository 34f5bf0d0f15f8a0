//! Bad input on every verb that takes it: what is wrong is named with what to try, by one table of exit codes, and
//! nothing is done.

use std::io::Write;
use std::time::Duration;

use rs_tests::{Ran, Scene, until};
use serde_json::{Value as Json, json};

use super::rs_server::{did, site};
use super::verbs::{Verb, all_verbs};

const SITE: &str = "\
Servers:
  - Name: One
    Template: Small
  - Name: Two
    Template: Small
  - Name: Foreign
    Address: 192.0.2.7
Arrays:
  - Name: array-1
    Template: Small
    Minimum: 1
    Maximum: 2
";

fn small(name: &str) -> Scene {
    let scene = site(name, SITE);
    scene.file("up.sql", "SELECT 1;\n");
    let plan = scene.tool("rs-cleanup").args(["plan", "One"]).run().exits(0);
    scene.file("plan.json", &plan.stdout);
    scene
}

/// Everything that is kept of the world, as bytes.
fn world(scene: &Scene) -> String {
    let all = "find . -type f ! -name '*.db-journal' -exec sha256sum {} + | sort -k 2; find . -type d | sort";
    scene.call("bash", "bash").args(["-c", all]).run().exits(0).stdout
}

fn with_run(scene: &Scene, verb: &Verb, args: &[String], stdin: &str) -> Ran {
    scene.tool(&verb.tool).args(args).env("RS_UPGRADE", "u-1").stdin(stdin).run()
}

/// Verbs that read their subjects from stdin when none are named.
fn reading() -> impl Iterator<Item = &'static Verb> {
    // what is archived is no subject: it is gone
    let archived = |verb: &&Verb| verb.words == ["archive"] || verb.words == ["recreate"];
    all_verbs()
        .iter()
        .filter(|verb| verb.takes_names() || verb.has("--on"))
        .filter(move |verb| !archived(verb))
}

#[test]
fn what_is_not_there_is_named_and_nothing_is_done() {
    let scene = small("bad-unknown");
    let before = world(&scene);
    for verb in reading() {
        // alike names are offered, nothing is guessed
        let ran = with_run(&scene, verb, &verb.on("one", &[]), "").exits(4);
        assert!(ran.stderr.contains("\"one\"") && ran.stderr.contains("\"One\""), "{ran}");
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    // a watch leaves its heartbeat whatever it watches
    for verb in all_verbs().iter().filter(|verb| verb.words != ["watch"]) {
        let ran = with_run(
            &scene,
            verb,
            &verb.on("One", &[&verb.careful()[..], &["--deployment", "none"]].concat()),
            "",
        );
        // what makes a deployment, and what only reads the journal, needs none
        let fine = [0, 2, 3].contains(&ran.exit) && !verb.takes_names();
        assert!(ran.exit == 4 || fine, "{ran}");
    }
    let mut wrong = Vec::new();
    assert_eq!(world(&scene), before, "something was done");
    // an input of the deployment makes no database of it
    let lineage = ["set", "--deployment-level", "--create", "DB_LINEAGE_NAME=text:shop"];
    let _ = scene.tool("rs-inputs").args(lineage).run().exits(0);
    let before = world(&scene);
    let no_database = "server \"One\" belongs to no database set";
    for (tool, args, code, parts) in [
        ("rs-server", &["list", "--array", "array-9"][..], 4, "array-9"),
        ("rs-server", &["list", "--pool", "w w"], 2, "w w"),
        ("rs-server", &["launch", "array-9"], 4, "array-9"),
        ("rs-lbctl", &["status", "--pool", "nope"], 4, "nope"),
        ("rs-lbctl", &["connect", "--pool", "nope", "One"], 4, "nope"),
        ("rs-maintenance", &["start", "--pool", "nope"], 4, "nope"),
        ("rs-check", &["site", "--pool", "nope"], 4, "nope"),
        ("rs-inputs", &["set", "--on", "One", "NEW=text:x"], 2, "--create"),
        ("rs-clone", &["server", "One", "--name", "x", "--template", "Nope"], 4, "Nope"),
        ("rs-clone", &["deployment", "none", "--name", "x"], 4, "none"),
        ("rs-dbsync", &["status", "array-1"], 2, "array array-1 is no database server"),
        ("rs-dbsync", &["status", "One"], 2, no_database),
        ("rs-snapshot", &["take", "array-1"], 2, "array array-1 is no database server"),
        ("rs-snapshot", &["take", "One", "--label", "x", "--pin"], 2, no_database),
        ("rs-snapshot", &["prove", "One"], 2, no_database),
        ("rs-snapshot", &["list", "One"], 2, no_database),
        ("rs-snapshot", &["restore", "One", "--newest"], 2, no_database),
        ("rs-snapshot", &["pin", "One", "--newest"], 2, no_database),
        ("rs-snapshot", &["prune", "One"], 2, no_database),
        ("rs-snapshot", &["schedule", "on", "One"], 2, no_database),
        ("rs-snapshot", &["schedule", "status", "One"], 2, no_database),
        ("rs-cleanup", &["retire", "--plan", "nope.json"], 2, "nope.json"),
        ("rs-journal", &["close", "999", "--because", "x"], 4, "999"),
        ("rs-server", &["apply", "nope.yaml"], 2, "nope.yaml"),
    ] {
        let ran = scene.tool(tool).args(args).run();
        if ran.exit != code || !ran.stderr.contains(parts) || !ran.stdout.is_empty() {
            wrong.push(format!("want {code} {parts}\n{ran}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(world(&scene), before, "something was done");
}

#[test]
fn a_run_that_is_no_name_is_refused_by_every_verb_and_the_field_is_named() {
    let scene = small("bad-run");
    let before = world(&scene);
    for verb in all_verbs() {
        let args = verb.on("One", &verb.careful());
        for name in [" ", "a b", "it's", "say \"x\"", "u\n1", "$(touch owned)", "-u"] {
            let call = scene.tool(&verb.tool).args(&args).env("RS_UPGRADE", name).stdin("");
            let ran = call.run().exits(2);
            assert!(ran.stderr.contains("--upgrade") && ran.stderr.contains("RS_UPGRADE"), "{ran}");
            assert!(ran.stdout.is_empty(), "{ran}");
        }
        // a variable that is empty is not set, a flag that is empty is a name that is none
        let empty = verb.on("One", &[&verb.careful()[..], &["--upgrade="]].concat());
        scene.tool(&verb.tool).args(&empty).stdin("").run().exits(2).says("--upgrade");
        let flag = verb.on("One", &[&verb.careful()[..], &["--upgrade=a b"]].concat());
        scene.tool(&verb.tool).args(&flag).run().exits(2).says("\"a b\" is no run name");
    }
    assert_eq!(world(&scene), before, "something was done");
    let list = scene.tool("rs-server").args(["list", "One"]);
    let list = list.env("RS_UPGRADE", "").env("RS_DEPLOYMENT", "").env("RS_STATE", "");
    let _ = list.env("RS_CREDENTIALS", "").run().exits(0);
    let mark = scene.tool("rs-server").args(["mark", "old", "One"]).env("RS_UPGRADE", "");
    mark.run().exits(2).says("no run is named");
}

#[test]
fn of_several_pools_one_is_named_before_any_is_darkened() {
    let tags = "    Tags: ['load_balancer:active_www=true', 'load_balancer:active_shop=true']\n";
    let site_of_two = SITE.replace("Address: 192.0.2.7\n", &format!("Address: 192.0.2.7\n{tags}"));
    let scene = site("bad-pools", &site_of_two);
    let before = world(&scene);
    for verb in ["start", "stop"] {
        let ran = scene.tool("rs-maintenance").args([verb]).run().exits(2);
        let ran = ran.says("there are several pools").says("shop, www");
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    assert_eq!(world(&scene), before, "something was done");
}

#[test]
fn an_unknown_driver_is_named_with_those_that_are_known() {
    let one = "Name: One\n";
    let database = format!("{one}    Tags: ['database:master_active=shop']\n");
    let other = "Address: 192.0.2.7\n";
    let tags = "['database:master_active=other', 'load_balancer:active_www=true']";
    let foreign = format!("{other}    Tags: {tags}\n");
    let file = SITE.replace(one, &database).replace(other, &foreign);
    let scene = site("bad-driver", &file);
    let set = |value: &str| {
        let args = ["set", "--deployment-level", "--create", value];
        let _ = scene.tool("rs-inputs").args(args).run().exits(0);
    };
    set("DNS_DRIVER=text:zonefile");
    let point = ["point", "test1.mysite.com", "--at", "Foreign"];
    scene.tool("rs-lbctl").args(point).run().exits(2).says("zonefile").says("rfc2136, hosts");
    let list = ["list", "One"];
    scene.tool("rs-snapshot").args(list).run().exits(2).says("DB_LINEAGE_NAME");
    set("DB_LINEAGE_NAME=text:shop");
    set("BACKUP_DRIVER=text:tape");
    scene.tool("rs-snapshot").args(list).run().exits(2).says("tape").says("mariabackup");
    // each family has its table, and says what is in it
    set("DB_DRIVER=text:oracle");
    scene.tool("rs-dbsync").args(["status", "Foreign"]).run().exits(2).says("oracle").says("mysql");
    set("LB_DRIVER=text:nginx");
    let status = ["status", "--pool", "www"];
    scene.tool("rs-lbctl").args(status).run().exits(2).says("nginx").says("haproxy");
    scene.tool("rs-maintenance").args(status).run().exits(2).says("nginx").says("haproxy");
    for url in ["gcp:eu", "sqlite", "sqlite:", "", "/tmp"] {
        let ran = scene.tool("rs-server").args(["list", "--all", "--cloud", url]).run().exits(2);
        ran.says("sqlite");
    }
    let ran = scene.tool("rs-journal").args(["show", "--store", "etcd:x"]).run().exits(2);
    ran.says("etcd").says("sqlite");
}

#[test]
fn a_bad_stream_is_refused_as_a_whole() {
    let scene = small("bad-stream");
    let list = scene.tool("rs-server").args(["list", "One", "Two"]).run().exits(0);
    let lines: Vec<&str> = list.stdout.lines().collect();
    let mut failed: Json = serde_json::from_str(lines[1]).unwrap();
    failed["did"] =
        json!([{ "tool": "rs-x", "verb": "y", "changed": false, "ms": 1, "error": "it burns" }]);
    let good = lines[0];
    let streams = [
        ("".to_owned(), "nothing came in"),
        ("\n\n".into(), "nothing came in"),
        (format!("{good}\n\nnot json\n"), "line 3"),
        (format!("{good}\n{{\"schema\":\"rs.server/2\",\"name\":\"Two\"}}\n"), "line 2"),
        (format!("{good}\n[1]\n"), "line 2"),
        (format!("{good}\n{{\"name\":\"Two\"}}\n"), "schema"),
        (format!("{good}\n{failed}\n"), "it burns"),
        (format!("{good}\n{good}\n"), "twice"),
        (
            format!(
                "{good}\n{{\"schema\":\"rs.server/1\",\"name\":\"$(touch owned)\",\"deployment\":\"it's a \\\"site\\\"\"}}\n"
            ),
            "touch owned",
        ),
    ];
    let before = world(&scene);
    for verb in reading() {
        for (stream, part) in &streams {
            let ran = with_run(&scene, verb, &verb.call(), stream);
            let code = if *part == "touch owned" { 4 } else { 2 };
            assert!(
                ran.exit == code && ran.stderr.contains(part),
                "want {code} {part:?}\n{stream}\n{ran}"
            );
            assert!(ran.stdout.is_empty(), "{ran}");
        }
        let again = if verb.takes_names() { vec!["One"] } else { vec!["--on", "One"] };
        let named = [verb.on("One", &[]), again.into_iter().map(String::from).collect()].concat();
        let ran = with_run(&scene, verb, &named, "").exits(2);
        assert!(ran.stderr.contains("server One is named twice"), "{ran}");
        // what is no text is in no string of ours
        let words = [vec![verb.tool.clone()], verb.call()].concat();
        let lines = "{ printf '%s\\n\\n' \"$0\"; printf '\\377\\n'; } | \"$@\"";
        let args = [vec!["-c".to_owned(), lines.to_owned(), good.to_owned()], words].concat();
        let call = scene.call("bash", "bash").args(args).env("RS_UPGRADE", "u-1");
        let _ = call.run().exits(2).says("line 3 of stdin is no text").says("(try: ");
        if verb.has("--allow-none") {
            let args = [verb.call(), vec!["--allow-none".into()]].concat();
            let ran = with_run(&scene, verb, &args, "");
            // the pool is looked for all the same
            assert!(ran.exit == 0 || ran.stderr.contains("balances the pool"), "{ran}");
            assert!(!ran.stdout.contains("rs.server/1"), "{ran}");
        }
    }
    assert_eq!(world(&scene), before, "something was done");
}

#[test]
fn every_missing_input_is_named_at_once() {
    let scene = Scene::new("bad-missing");
    scene.file(
        "needy.yml",
        "Name: Needy\nRightScripts: {Boot: [needy.sh], Operational: [needy.sh]}\n",
    );
    scene.file(
        "needy.sh",
        "#!/bin/sh\n# ---\n# RightScript Name: needy\n# Inputs:\n#   FIRST: {Required: true}\n#   SECOND: {Required: true}\n# ...\n",
    );
    let text = format!(
        "Deployment: d\nMachines:\n  Local: {{Root: machines, Addresses: {}.0/24, Path: /usr/bin:/bin, User: nobody}}\n\
         Templates: [needy.yml]\nServers:\n- {{Name: A, Template: Needy}}\n- {{Name: B, Template: Needy}}\n",
        scene.net
    );
    scene.file("site.yml", &text);
    let _ = scene.tool("rs-server").args(["apply", "site.yml"]).run().exits(0);
    let check = scene.tool("rs-inputs").args(["check", "--all"]).run().exits(3);
    assert!(check.stdout.contains("FIRST") && check.stdout.contains("SECOND"), "{check}");
    let launch = scene.tool("rs-server").args(["launch", "A", "B"]).run();
    assert!([2, 5].contains(&launch.exit), "{launch}");
    for part in ["FIRST", "SECOND", "\"A\"", "\"B\""] {
        assert!(launch.stderr.contains(part), "{part}\n{launch}");
    }
    assert!(!scene.path("machines").exists(), "something was launched");
}

/// What a careless program runs, ends at, or takes for a flag.
fn nasty(scene: &Scene) -> Vec<String> {
    let canary = scene.text("owned");
    ["a b", "it's", "say \"x\"", "--all", "-rf", "*", "../../up", "a/b", "%n", "a\\", "ü"]
        .into_iter()
        .map(str::to_owned)
        .chain([
            format!("x; touch {canary};"),
            format!("$(touch {canary})"),
            format!("`touch {canary}`"),
            format!("' ; touch {canary} #"),
            format!("\" ; touch {canary} #"),
            format!("| touch {canary}"),
            format!("a\ntouch {canary}\n"),
            "a' OR '1'='1".into(),
            "a'; DROP DATABASE appdb; --".into(),
        ])
        .collect()
}

#[test]
fn no_name_is_ever_run_by_anybody() {
    let scene = Scene::new("bad-names");
    let names = nasty(&scene);
    let good: Vec<&String> = names.iter().filter(|name| !name.contains('\n')).collect();
    let small = rs_tests::root().join("tests/fixtures/small/small.yaml");
    let hook = scene.file("hook", "#!/bin/sh\ncat >/dev/null\n[ \"$1\" != quenched ] || exit 3\n");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let quoted = |name: &str| serde_json::to_string(name).unwrap();
    // deployment, servers, arrays, values: all of it data
    let servers: String = good
        .iter()
        .map(|name| {
            format!(
                "  - {{Name: {n}, Template: Small, Inputs: {{GREETING: {v}}}}}\n",
                n = quoted(name),
                v = quoted(&format!("text:{name}"))
            )
        })
        .collect();
    let text = format!(
        "Deployment: {d}\nMachines:\n  Local: {{Root: machines, Addresses: {}.0/24, Path: /usr/bin:/bin, User: nobody}}\n\
         Inputs: {{ALERTS_HOOK: 'text:{hook}'}}\nTemplates: [{t}]\nServers:\n{servers}Arrays:\n  - {{Name: {a}, Template: Small, Minimum: 1, Maximum: 1}}\n",
        scene.net,
        d = quoted(good[good.len() - 4]),
        t = small.display(),
        a = quoted(&format!("array {}", good[12])),
    );
    scene.file("site.yml", &text);
    let rs = |tool: &str, args: &[&str]| {
        let ran = scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run();
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        assert!(!scene.path("owned").exists(), "a name was run\n{ran}");
        ran
    };
    let _ = rs("rs-server", &["apply", "site.yml"]).exits(0);
    let printed = rs("rs-server", &["list", "--as-file"]).exits(0).stdout;
    scene.file("again.yml", &printed);
    let again = rs("rs-server", &["apply", "again.yml"]).exits(0);
    assert!(again.records().iter().all(|r| did(r)["changed"] == false), "{again}");
    let _ = rs("rs-server", &["launch", "--role", "server"]).exits(0);
    let _ = rs("rs-server", &["quench", "--role", "server", "--for", "1h", "--reason", good[11]])
        .exits(0);
    let ran = rs(
        "rs-run",
        &["small say", "--role", "server", "--set", &format!("TEXT=text:{}", good[12])],
    )
    .exits(0);
    assert_eq!(ran.records().len(), good.len(), "{ran}");
    for (name, record) in ran.by_name() {
        assert_eq!(
            record["run"]["tail"].as_str().unwrap().lines().next(),
            Some(good[12].as_str()),
            "{name}"
        );
        let home = record["current"]["home"].as_str().unwrap();
        assert!(home.starts_with(&scene.text("machines")), "{home}");
        let env = std::fs::read_to_string(format!("{home}/environment")).unwrap();
        assert!(env.contains(&format!("GREETING={name}\n")), "{env}");
    }
    let undo = rs("rs-cleanup", &["audit"]);
    // the command that settles a debt names the subject so that a shell reads exactly it
    let debts = undo.records();
    assert_eq!(debts.len(), good.len(), "{undo}");
    for debt in &debts {
        let words: Vec<String> = serde_json::from_value(debt["inverse"].clone()).unwrap();
        let line = rs_cli::shell_words(&words);
        let ran =
            scene.call("sh", "sh").args(["-c", &line]).env("RS_UPGRADE", "u-1").run().exits(0);
        assert!(!scene.path("owned").exists(), "{ran}");
    }
    let _ = rs("rs-cleanup", &["audit"]).exits(0);
    let text = rs("rs-journal", &["report"]).exits(0);
    assert!(!text.stdout.is_empty());
    for name in &good {
        let _ = rs("rs-server", &["list", "--", name]).exits(0);
        let _ = rs("rs-inputs", &["show", "--", name]).exits(0);
        // one is on an unclonable pattern: %n is a number there
        let clone = format!("clone of {}", name.replace('%', "%%"));
        let ran = rs("rs-clone", &["server", "--name", &clone, "--dry-run", "--", name]);
        assert!([0, 2].contains(&ran.exit), "{ran}");
        let ran = rs("rs-run", &[name, "--role", "server"]);
        assert_eq!(ran.exit, 2, "a script\n{ran}");
    }
    let _ = rs("rs-server", &["relaunch", "--role", "server"]).exits(0);
    for name in &names {
        // by grammar, because they become part of a tag, a configuration, an environment, DNS
        let refused = |tool: &str, args: &[&str]| {
            let ran = rs(tool, args);
            assert!([2, 4].contains(&ran.exit), "{ran}");
            assert!(ran.stdout.is_empty(), "{ran}");
        };
        let pool = format!("--pool={name}");
        refused("rs-lbctl", &["status", &pool]);
        refused("rs-lbctl", &["connect", &pool, "--", good[0]]);
        refused("rs-maintenance", &["start", &pool]);
        refused("rs-check", &["site", &pool]);
        refused("rs-lbctl", &["point", "--at", good[0], "--", name]);
        refused(
            "rs-inputs",
            &["set", "--on", good[0], "--create", "--", &format!("{name}=text:x")],
        );
        refused("rs-inputs", &["unset", "--on", good[0], "--", name]);
        let run = format!("--upgrade={name}");
        refused("rs-server", &["list", "--all", "--as", "new", &run]);
        refused("rs-server", &["mark", "old", &run, "--", good[0]]);
        // a credential's name must stay inside its folder
        let secret = format!("PASSWORD=cred:{name}");
        let ran =
            rs("rs-run", &["small say", "--set", "TEXT=text:x", "--set", &secret, "--", good[0]]);
        assert!([2, 4].contains(&ran.exit), "{ran}");
    }
    // a newline is in no name at all
    let broken = text_with_newline(&scene);
    let ran = rs("rs-server", &["apply", &broken]).exits(2);
    assert!(ran.stderr.contains("control"), "{ran}");
}

fn text_with_newline(scene: &Scene) -> String {
    scene.file(
        "newline.yml",
        "Deployment: d\nServers:\n  - {Name: \"a\\ntouch owned\", Address: 127.0.0.1}\n",
    )
}

#[test]
fn who_does_not_answer_is_7_with_what_where_and_what_to_try() {
    let scene = Scene::new("bad-unreachable");
    let dead = scene.address();
    scene.credential("pw", "x");
    let text = format!(
        "Deployment: d\nInputs:\n  LB_APPLISTENER_NAME: text:www\n  LB_RUNTIME_SOCKET: text:tcp:{dead}:9999\n  LB_BYPASS_SECRET: cred:pw\n  DBADMIN_USER: text:a\n  DBADMIN_PASSWORD: cred:pw\n  \
         DNS_SERVER: text:{dead}:53\n  DNS_ZONE: text:mysite.com\n  DNS_TSIG_NAME: text:k\n  DNS_TSIG_KEY: cred:pw\n\
         Servers:\n- {{Name: LB, Address: {dead}, Tags: ['load_balancer:active_www=true']}}\n\
         - {{Name: M, Address: {dead}, Tags: ['database:master_active=shop']}}\n- {{Name: App, Address: {dead}}}\n"
    );
    scene.file("site.yml", &text);
    scene.credential("pw", "c2VjcmV0");
    let _ = scene.tool("rs-server").args(["apply", "site.yml"]).run().exits(0);
    let before = std::fs::read(scene.path("site.db")).unwrap();
    for (tool, args) in [
        ("rs-dbsync", &["status", "M"][..]),
        ("rs-dbsync", &["writes", "status", "M"]),
        ("rs-dbsync", &["writes", "off", "M", "--dry-run"]),
        ("rs-lbctl", &["status", "--pool", "www"]),
        ("rs-lbctl", &["connect", "--pool", "www", "App", "--dry-run"]),
        ("rs-maintenance", &["status", "--pool", "www"]),
        ("rs-lbctl", &["point", "www.mysite.com", "--at", "LB", "--timeout", "3s"]),
    ] {
        let ran = scene.tool(tool).args(args).args(["--json"]).run().exits(7);
        let last = ran.stderr.trim_end().lines().last().unwrap();
        let error: Json = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}\n{ran}"));
        assert_eq!((&error["schema"], &error["exit"]), (&"rs.error/1".into(), &7.into()), "{ran}");
        assert!(ran.stderr.contains(&dead), "it does not say where\n{ran}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.len() > 5), "what to try\n{ran}");
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    let acts = scene.tool("rs-journal").args(["verify"]).run();
    assert!([0, 3].contains(&acts.exit), "{acts}");
    assert!(!before.is_empty());
}

#[test]
fn a_full_disk_under_the_state_is_said_and_leaves_it_as_it_was() {
    let scene = small("bad-full");
    let disk = scene.path("disk");
    std::fs::create_dir_all(&disk).unwrap();
    let shown = disk.display().to_string();
    let Some(_mounted) = tmpfs(&scene, &disk, "size=256k") else { return };
    std::fs::copy(scene.path("site.db"), disk.join("site.db")).unwrap();
    let cloud = format!("sqlite:{shown}/site.db");
    let tool =
        |tool: &str, args: &[&str]| scene.tool(tool).args(args).env("RS_CLOUD", &cloud).run();
    let _ = tool("rs-server", &["lock", "One"]).exits(0);
    // fill it up to the last byte
    let filled = format!("head -c 1M /dev/zero >'{shown}/filler'");
    let _ = scene.call("sh", "sh").args(["-c", &filled]).run();
    let list = tool("rs-server", &["list", "--all"]).exits(0).stdout;
    let mut full = None;
    for _ in 0..200 {
        let ran = tool("rs-server", &["mark", "old", "Two", "--upgrade", &"u".repeat(60)]);
        if ran.exit != 0 {
            full = Some(ran);
            break;
        }
        let _ = tool("rs-journal", &["mark", &"x".repeat(3000)]);
        let _ = tool("rs-server", &["mark", "new", "Two", "--upgrade", &"u".repeat(60)]);
    }
    let full = full.unwrap_or_else(|| panic!("the disk was never full"));
    assert_eq!(full.exit, 1, "{full}");
    assert!(full.stderr.contains("disk is full") && full.stderr.contains(&shown), "{full}");
    let now = tool("rs-server", &["list", "--all"]).exits(0).stdout;
    assert_eq!(now.lines().count(), list.lines().count());
    // another program finds it whole, and the journal can be read
    let check = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone())";
    let file = format!("{shown}/site.db");
    let asked = scene.call("python3", "python3").args(["-c", check, &file]).run().exits(0);
    assert_eq!(asked.stdout.trim(), "ok");
    let acts = tool("rs-journal", &["verify"]);
    assert!([0, 3].contains(&acts.exit), "{acts}");
    std::fs::remove_file(disk.join("filler")).unwrap();
    let _ = tool("rs-server", &["mark", "old", "Two", "--upgrade", &"u".repeat(60)]).exits(0);
}

/// Mounts a small file system; nothing where that is not allowed.
pub fn tmpfs(scene: &Scene, place: &std::path::Path, options: &str) -> Option<Unmount> {
    let shown = place.display().to_string();
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: only root can mount ({shown})");
        return None;
    }
    let mount = ["-t", "tmpfs", "-o", options, "tmpfs", &shown];
    let mounted = scene.call("mount", "mount").args(mount).run();
    if mounted.exit != 0 {
        let _ = writeln!(std::io::stderr(), "skipped: nobody can mount here: {mounted}");
        return None;
    }
    Some(Unmount(shown))
}

/// Unmounts it at the end.
pub struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[test]
fn an_interrupt_says_what_is_left_and_the_same_command_goes_on() {
    let scene = small("bad-interrupt");
    let _ = scene.tool("rs-server").args(["launch", "One"]).run().exits(0);
    let home = scene.tool("rs-server").args(["list", "One"]).run().exits(0).record();
    let home = std::path::PathBuf::from(home["current"]["home"].as_str().unwrap());
    let child = scene.tool("rs-run").args(["small linger", "One", "--json"]).start();
    until("the script to be under way", Duration::from_secs(20), || {
        home.join("lingering").exists()
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130));
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    let error: Json = serde_json::from_str(stderr.trim_end().lines().last().unwrap()).unwrap();
    assert_eq!(error["exit"], 130, "{stderr}");
    let what = error["what"].as_str().unwrap();
    assert!(what.contains("in the middle of run on server One"), "{stderr}");
    assert!(error["hint"].as_str().unwrap().contains("same command again"), "{stderr}");
    scene.tool("rs-journal").args(["verify"]).run().exits(3).says("One");
    std::fs::write(home.join("enough"), "").unwrap();
    // another script that ends well there is no repetition
    scene.tool("rs-run").args(["small say", "One", "--set", "TEXT=text:x"]).run().exits(0);
    let cut = "rs-run run \"small linger\" on server One";
    scene.tool("rs-journal").args(["verify"]).run().exits(3).says(cut);
    scene.tool("rs-cleanup").args(["audit"]).run().exits(0).says(cut);
    let again = scene.tool("rs-run").args(["small linger", "One"]).run().exits(0);
    assert_eq!(did(&again.record())["changed"], true);
    scene.tool("rs-journal").args(["verify"]).run().exits(0);
    let audit = scene.tool("rs-cleanup").args(["audit"]).run().exits(0);
    assert!(!audit.stderr.contains("cut off"), "{audit}");
}

#[test]
fn a_plan_that_is_none_is_named_with_its_line_and_not_taken_for_stdin() {
    let scene = site("bad-plan", "Servers: []\n");
    let plan = scene.file("bad.json", "\nnonsense\n");
    let ran = scene.tool("rs-cleanup").args(["retire", "--plan", &plan]).run().exits(2);
    let ran = ran.says("bad.json is no plan").says("line 2 is not JSON");
    assert!(!ran.stderr.contains("stdin"), "{ran}");
}
