//! rs-server as a black box.

use std::path::Path;
use std::time::Duration;

use rs_contract::{Mode, Place};
use rs_tests::{Ran, Scene, root, until};
use serde_json::Value as Json;

pub const ODD: &str = "a;b $(touch x) \"q\" 'r' -- --all";

/// A site of the small template in a scene of its own, applied.
pub fn site(name: &str, more: &str) -> Scene {
    let scene = Scene::new(name);
    let file = site_file(&scene, more);
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    scene
}

pub fn site_file(scene: &Scene, more: &str) -> String {
    let small = root().join("tests/fixtures/small/small.yaml");
    let text = format!(
        "Deployment: it's a \"site\"\n\
         Machines:\n  Local:\n    Root: {}\n    Addresses: {}.0/24\n    Path: /usr/bin:/bin\n    User: nobody\n\
         Templates:\n  - {}\n{more}",
        scene.text("machines"),
        scene.net,
        small.display(),
    );
    scene.file("site.yaml", &text)
}

const TWO: &str =
    "Servers:\n  - Name: One\n    Template: Small\n  - Name: Two\n    Template: Small\n";
const ARRAY: &str =
    "Arrays:\n  - Name: array-1\n    Template: Small\n    Minimum: 1\n    Maximum: 3\n";

#[track_caller]
pub fn did(record: &Json) -> Json {
    record["did"]
        .as_array()
        .and_then(|did| did.last())
        .cloned()
        .unwrap_or_else(|| panic!("{record}"))
}

fn changed(ran: &Ran) -> Vec<bool> {
    ran.records().iter().map(|record| did(record)["changed"].as_bool().unwrap()).collect()
}

fn keys(scene: &Scene, prefix: &str) -> Vec<String> {
    let place = Place { cloud: scene.cloud(), state: None, mode: Mode::DryRun, ..Place::default() };
    let entries = rs_drivers::state(&place).unwrap().list(prefix).unwrap();
    entries.into_iter().map(|entry| entry.key.rsplit('/').next().unwrap().to_owned()).collect()
}

/// All of a folder as one text: names, modes, contents.
fn folder(scene: &Scene) -> String {
    let all = r#"find . -path ./machines -prune -o -printf '%p %m %T@\n' -type f -exec sha256sum {} + | sort"#;
    scene.call("bash", "bash").args(["-c", all]).run().exits(0).stdout
}

#[test]
fn applying_twice_changes_nothing_and_what_is_printed_brings_nothing_new() {
    let scene = Scene::new("server-apply");
    let file = site_file(&scene, &format!("{TWO}{ARRAY}"));
    let before = folder(&scene);
    let dry = scene.tool("rs-server").args(["apply", &file, "--dry-run"]).run().exits(0);
    assert_eq!(folder(&scene), before, "a dry run made something");
    assert!(dry.records().iter().all(|record| record["planned"] == true), "{dry}");
    let first = scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    assert_eq!(changed(&first), [true; 4]);
    let again = scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    assert_eq!(changed(&again), [false; 4], "{again}");
    let names: Vec<Json> = again.records().iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["it's a \"site\"", "One", "Two", "array-1"], "the order of the file");

    let printed = scene.tool("rs-server").args(["list", "--as-file"]).run().exits(0).stdout;
    let file = scene.file("printed.yaml", &printed);
    let third = scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    assert!(changed(&third).iter().all(|changed| !changed), "{third}");
    let less = site_file(&scene, "Servers:\n  - Name: One\n    Template: Small\n");
    let less = scene.tool("rs-server").args(["apply", &less]).run().exits(0);
    less.says("\"Two\" is not in the file: kept").says("\"array-1\" is not in the file: kept");
    scene.tool("rs-server").args(["list", "Two"]).run().exits(0);
}

#[test]
fn a_site_file_with_a_wrong_key_is_refused_with_file_line_and_key() {
    let scene = Scene::new("server-apply-bad");
    let file = site_file(&scene, "Servers:\n  - Name: One\n    Tenplate: Small\n");
    let ran = scene.tool("rs-server").args(["apply", &file]).run().exits(2);
    ran.says("Tenplate").says("site.yaml").says("12");
    scene.tool("rs-server").args(["apply", "no-such-file"]).run().exits(2).says("no-such-file");
}

#[test]
fn list_finds_by_selectors_and_says_when_there_is_nothing() {
    let scene = site("server-list", &format!("{TWO}{ARRAY}"));
    let list = |args: &[&str]| scene.tool("rs-server").args(["list"].iter().chain(args)).run();
    assert_eq!(list(&["--all"]).exits(0).records().len(), 3);
    assert_eq!(list(&["--all", "--first"]).exits(0).record()["name"], "One");
    assert_eq!(list(&["--role", "array"]).exits(0).record()["name"], "array-1");
    assert_eq!(list(&["--state", "inactive"]).exits(0).records().len(), 2);
    assert!(list(&["--state", "operational"]).exits(4).stdout.is_empty());
    assert!(list(&["--state", "operational", "--allow-none"]).exits(0).stdout.is_empty());
    list(&["one"]).exits(4).says("\"One\"");
    list(&["--state", "asleep"]).exits(2).says("asleep");
    list(&["--role", "king"]).exits(2).says("king");
    list(&["--as", "new"]).exits(2).says("RS_UPGRADE");
    list(&["--all", "--deployment", "none"]).exits(4).says("none");
    // records on stdin come out as they are now, and strangers pass
    let line = "{\"schema\":\"acme.thing/1\",\"name\":\"x\"}\n{\"schema\":\"rs.server/1\",\"name\":\"Two\",\"state\":\"pending\",\"mine\":1}\n";
    let ran = scene
        .tool("rs-server")
        .args(["list", "--deployment", "it's a \"site\""])
        .stdin(line)
        .run()
        .exits(0);
    let records = ran.records();
    assert_eq!(records[0]["schema"], "acme.thing/1");
    assert_eq!((&records[1]["state"], &records[1]["mine"]), (&"inactive".into(), &1.into()));
}

#[test]
fn what_is_no_record_is_refused_and_nothing_is_done() {
    let scene = site("server-stdin", TWO);
    let launch = |stdin: &str| scene.tool("rs-server").args(["launch"]).stdin(stdin).run();
    launch("").exits(2).says("nothing came in");
    scene.tool("rs-server").args(["launch", "--allow-none"]).stdin("").run().exits(0);
    let good =
        "{\"schema\":\"rs.server/1\",\"name\":\"One\",\"deployment\":\"it's a \\\"site\\\"\"}\n";
    launch(&format!("{good}nonsense\n")).exits(2).says("line 2");
    launch(&good.replace("/1", "/9")).exits(2).says("rs.server/9");
    launch(&good.replace("One", "None")).exits(4).says("None");
    launch(&format!("{good}{good}")).exits(2).says("twice");
    let failed = good.replace('}', ",\"did\":[{\"tool\":\"x\",\"verb\":\"y\",\"error\":\"no\"}]}");
    launch(&failed).exits(2).says("failed");
    let all = scene.tool("rs-server").args(["list", "--all"]).run().exits(0);
    assert!(all.records().iter().all(|record| record["state"] == "inactive"), "{all}");
    assert_eq!(keys(&scene, "journal/").len(), 3, "only the apply of a deployment and two servers");
}

#[test]
fn launch_waits_until_operational_whatever_the_order_and_does_it_once() {
    // the first one waits for the address of the last one, and only one is worked on at once
    let scene = site(
        "server-launch",
        &format!(
            "Servers:\n  - Name: First\n    Template: Small\n    Inputs:\n      OTHER_ADDRESS: 'env:{}:PRIVATE_IP'\n  - Name: '{}'\n    Template: Small\n{ARRAY}",
            ODD.replace('\'', "''"),
            ODD.replace('\'', "''")
        ),
    );
    let before = folder(&scene);
    let launch = |more: &[&str]| {
        scene.tool("rs-server").args(["launch", "--all", "--to", "2"].iter().chain(more)).run()
    };
    let dry = launch(&["--dry-run"]).exits(0);
    assert_eq!(folder(&scene), before);
    for record in dry.records() {
        assert_eq!(record["planned"], true);
        assert!(record["state"] == "operational" || record["operational"] == 2, "{record}");
    }
    let ran = launch(&["--jobs", "1"]).exits(0);
    let by_name = ran.by_name();
    assert_eq!(by_name["First"]["state"], "operational");
    assert_eq!(by_name[ODD]["state"], "operational");
    assert_eq!(by_name["array-1"]["operational"], 2);
    assert_eq!(by_name["array-1"]["servers"].as_array().unwrap().len(), 2);
    assert_eq!(changed(&ran), [true; 3]);
    let first = &by_name["First"]["current"];
    let home = Path::new(first["home"].as_str().unwrap());
    let environment = std::fs::read_to_string(home.join("environment")).unwrap();
    let other = by_name[ODD]["address"].as_str().unwrap();
    assert!(environment.contains(&format!("OTHER_ADDRESS={other}\n")), "{environment}");
    let again = launch(&[]).exits(0);
    assert_eq!(changed(&again), [false; 5]);
    assert_eq!(scene.tool("rs-server").args(["list", "--all"]).run().exits(0).records().len(), 5);
    let above = scene.tool("rs-server").args(["launch", "array-1", "--to", "9"]).run().exits(2);
    above.says("maximum");
    // the odd name as an argument, behind --, through a verb that journals and owes
    let lock = scene.tool("rs-server").args(["lock", "--", ODD]).run().exits(0);
    let undo = did(&lock.record())["undo"].as_str().unwrap().to_owned();
    scene.call("bash", "bash").args(["-c", &undo]).run().exits(0);
    assert!(!scene.path("x").exists(), "a name was run as a command");
    let one = scene.tool("rs-server").args(["list", "--", ODD]).run().exits(0).record();
    assert_eq!(one["locked"], false);
}

#[test]
fn inputs_that_are_missing_are_named_all_at_once_and_nothing_is_launched() {
    let scene = Scene::new("server-missing");
    let script = "#!/bin/sh\n# ---\n# RightScript Name: needs\n# Inputs:\n#   NEED_A:\n#     Required: true\n#   NEED_B:\n#     Required: true\n# ...\n";
    scene.file("needs.sh", script);
    let template =
        scene.file("needs.yaml", "Name: Needs\nRightScripts:\n  Boot:\n    - needs.sh\n");
    let more = format!(
        "  - {template}\nServers:\n  - Name: Fine\n    Template: Small\n  - Name: One\n    Template: Needs\n  - Name: Two\n    Template: Needs\n    Inputs:\n      NEED_A: text:a\n"
    );
    let file = site_file(&scene, &more);
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    let ran = scene.tool("rs-server").args(["launch", "--all"]).run().exits(2);
    ran.says("\"One\" cannot be launched: no value for NEED_A, NEED_B")
        .says("\"Two\" cannot be launched: no value for NEED_B");
    let all = scene.tool("rs-server").args(["list", "--all"]).run().exits(0);
    assert!(all.records().iter().all(|record| record["state"] == "inactive"), "{all}");
    let args = ["launch", "One", "--set", "NEED_A=text:x", "--set", "NEED_B=text:y", "--save"];
    let ran = scene.tool("rs-server").args(args).run().exits(0).record();
    assert_eq!(ran["next"]["NEED_B"], "text:y");
    let bare = ["launch", "Two", "--set", "NEED_B=y"];
    scene.tool("rs-server").args(bare).run().exits(2).says("text:y");
    let twice = ["launch", "Two", "--set", "NEED_B=text:y", "--set", "NEED_B=text:z"];
    scene.tool("rs-server").args(twice).run().exits(2).says("twice");
    scene.tool("rs-server").args(["launch", "Two", "--save"]).run().exits(2).says("--set");
}

#[test]
fn a_boot_that_fails_is_named_and_a_stream_with_it_goes_no_farther() {
    let scene = site("server-strand", &format!("{TWO}    Inputs:\n      FAIL_AT_BOOT: text:yes\n"));
    let ran = scene.tool("rs-server").args(["launch", "--all"]).run().exits(8);
    let ran = ran.says("small serve").says("exit 1").says("told to fail");
    let by_name = ran.by_name();
    assert_eq!(by_name["One"]["state"], "operational");
    assert_eq!(by_name["Two"]["state"], "stranded-in-booting");
    assert!(did(&by_name["Two"])["error"].as_str().unwrap().contains("small serve"));
    let next = scene.tool("rs-server").args(["lock"]).stdin(ran.stdout.clone()).run().exits(2);
    assert!(next.says("\"Two\"").stdout.is_empty());
    scene.tool("rs-server").args(["launch", "Two"]).run().exits(5).says("relaunch");
    // alone, it is no partial success
    scene.tool("rs-server").args(["relaunch", "Two"]).run().exits(1).says("told to fail");
    let fixed = site_file(&scene, &format!("{TWO}    Inputs:\n      FAIL_AT_BOOT: text:no\n"));
    scene.tool("rs-server").args(["apply", &fixed]).run().exits(0);
    let ran = scene.tool("rs-server").args(["relaunch", "Two"]).run().exits(0).record();
    assert_eq!(ran["state"], "operational");
}

#[test]
fn a_launch_that_is_killed_is_finished_by_the_next_one() {
    let scene = Scene::new("server-kill");
    let gate = scene.path("gate");
    let script = format!(
        "#!/bin/bash\n# ---\n# RightScript Name: waits\n# Inputs: {{}}\n# ...\n\
         echo begin >>\"$HOME/seen\"\nuntil [ -e '{}' ]; do sleep 0.05; done\necho end >>\"$HOME/seen\"\n",
        gate.display()
    );
    scene.file("waits.sh", &script);
    let template =
        scene.file("waits.yaml", "Name: Waits\nRightScripts:\n  Boot:\n    - waits.sh\n");
    let file = site_file(
        &scene,
        &format!("  - {template}\nServers:\n  - Name: One\n    Template: Waits\n"),
    );
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    let list = || scene.tool("rs-server").args(["list", "One"]).run().exits(0).record();
    let seen = || {
        let home = list()["current"]["home"].as_str().unwrap_or("/none").to_owned();
        std::fs::read_to_string(Path::new(&home).join("seen")).unwrap_or_default()
    };
    let mut first = scene.tool("rs-server").args(["launch", "One"]).start();
    until("the boot script has begun", Duration::from_secs(20), || seen().contains("begin"));
    first.kill().unwrap();
    first.wait().unwrap();
    let before = list();
    assert_eq!(before["state"], "booting");
    // what else is done to the server well does not end the launch
    scene.tool("rs-server").args(["lock", "One"]).run().exits(0);
    scene.tool("rs-server").args(["unlock", "One"]).run().exits(0);
    scene.tool("rs-journal").args(["verify"]).run().exits(3).says("rs-server launch on server One");
    let audit = || scene.tool("rs-cleanup").args(["audit"]).run().exits(0);
    audit().says("rs-server launch on server One was cut off (try: the same command again");

    // out of time is said, and leaves it booting; the script of the killed launch may still be there, and is not joined
    let late = scene.tool("rs-server").args(["launch", "One", "--timeout", "1s"]).run().exits(6);
    late.says("waits").says("was not begun");
    assert_eq!(list()["state"], "booting");
    std::fs::write(&gate, "").unwrap();
    let done = scene.tool("rs-server").args(["launch", "One"]).run().exits(0).record();
    assert_eq!(done["state"], "operational");
    assert_eq!(done["current"]["id"], before["current"]["id"], "the same machine");
    scene.tool("rs-journal").args(["verify"]).run().exits(0);
    assert_eq!(audit().stderr, "", "settled for both");
    let seen = seen();
    let mut running = 0;
    for word in seen.lines() {
        running = if word == "begin" { running + 1 } else { running - 1 };
        assert!(running <= 1 || !seen.contains("end\nend"), "two at once: {seen}");
    }
    assert!(seen.ends_with("end\n"), "{seen}");
}

#[test]
fn an_interrupted_launch_says_what_is_left_and_how_to_go_on() {
    let scene = Scene::new("server-interrupt");
    let gate = scene.path("gate");
    let script = format!(
        "#!/bin/bash\n# ---\n# RightScript Name: waits\n# Inputs: {{}}\n# ...\n\
         echo begin >\"$HOME/seen\"\nuntil [ -e '{}' ]; do sleep 0.05; done\n",
        gate.display()
    );
    scene.file("waits.sh", &script);
    let template =
        scene.file("waits.yaml", "Name: Waits\nRightScripts:\n  Boot:\n    - waits.sh\n");
    let servers = "Servers:\n  - Name: One\n    Template: Waits\n";
    let file = site_file(&scene, &format!("  - {template}\n{servers}"));
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    let launch = scene.tool("rs-server").args(["launch", "One"]).start();
    until("the boot script has begun", Duration::from_secs(20), || {
        std::fs::read_dir(scene.path("machines")).is_ok_and(|machines| {
            machines.flatten().any(|machine| machine.path().join("seen").exists())
        })
    });
    let pid = launch.id().to_string();
    scene.call("kill", "kill").args(["-INT", &pid]).run().exits(0);
    let out = launch.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(out.stdout.is_empty(), "no record of what is not done");
    for part in ["launch on server One", "open", "again", "rs-cleanup"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    std::fs::write(&gate, "").unwrap();
    let done = scene.tool("rs-server").args(["launch", "One"]).run().exits(0).record();
    assert_eq!(done["state"], "operational");
}

#[test]
fn jobs_says_how_many_boots_at_once() {
    let scene = Scene::new("server-jobs");
    let script = format!(
        "#!/bin/bash\n# ---\n# RightScript Name: meets\n# Inputs: {{}}\n# ...\n\
         cd '{0}'\ntrap 'rm \"$RS_MACHINE\"' EXIT\ntrap 'exit 1' TERM\ntouch \"$RS_MACHINE\"\n\
         until [ -e met ] || [ \"$(ls | wc -l)\" -ge 2 ]; do sleep 0.05; done\ntouch met\n",
        scene.text("meeting")
    );
    std::fs::create_dir(scene.path("meeting")).unwrap();
    scene.hand_over(&scene.path("meeting"));
    scene.file("meets.sh", &script);
    let template =
        scene.file("meets.yaml", "Name: Meets\nRightScripts:\n  Boot:\n    - meets.sh\n");
    let file = site_file(&scene, &format!("  - {template}\n{}", TWO.replace("Small", "Meets")));
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    let alone = ["launch", "--all", "--jobs", "1", "--timeout", "1s"];
    scene.tool("rs-server").args(alone).run().exits(6).says("meets");
    let both = ["launch", "--all", "--jobs", "2", "--timeout", "30s"];
    scene.tool("rs-server").args(both).run().exits(0);
}

#[test]
fn a_lock_forbids_a_relaunch_and_is_owed() {
    let scene = site("server-lock", TWO);
    scene.tool("rs-server").args(["launch", "One"]).run().exits(0);
    let lock = |args: &[&str]| scene.tool("rs-server").args(args).run().exits(0);
    assert_eq!(changed(&lock(&["lock", "One"])), [true]);
    assert_eq!(keys(&scene, "debt/"), ["lock:One"]);
    assert_eq!(changed(&lock(&["lock", "One"])), [false]);
    let before = scene.tool("rs-server").args(["list", "One"]).run().exits(0).record();
    let refused = scene.tool("rs-server").args(["relaunch", "--all", "--role", "server"]).run();
    refused.exits(5).says("\"One\" is locked").says("unlock");
    let after = scene.tool("rs-server").args(["list", "One"]).run().exits(0).record();
    assert_eq!(before, after, "nothing was done");
    assert_eq!(changed(&lock(&["unlock", "One"])), [true]);
    assert_eq!(keys(&scene, "debt/"), Vec::<String>::new());
    let ran = lock(&["relaunch", "One"]).record();
    assert_ne!(ran["current"]["id"], before["current"]["id"]);
    assert_eq!(ran["state"], "operational");
    scene.tool("rs-server").args(["lock", "array-9"]).run().exits(4);
}

#[test]
fn a_part_replaces_another_one_and_needs_a_run() {
    let scene = site("server-mark", &format!("{TWO}{ARRAY}"));
    let mark = |args: &[&str]| scene.tool("rs-server").args(["mark"].iter().chain(args)).run();
    mark(&["old", "--all"]).exits(2).says("RS_UPGRADE");
    mark(&["best", "--all", "--upgrade", "u-1"]).exits(2).says("best");
    assert_eq!(changed(&mark(&["old", "--all", "--upgrade", "u-1"]).exits(0)), [true; 3]);
    assert_eq!(changed(&mark(&["old", "--all", "--upgrade", "u-1"]).exits(0)), [false; 3]);
    let ran = mark(&["warm", "One", "--upgrade", "u-1"]).exits(0).record();
    assert_eq!(ran["tags"], serde_json::json!(["rs_upgrade:u-1=warm"]));
    let other = mark(&["new", "One", "--upgrade", "u-2"]).exits(0).record();
    assert_eq!(other["tags"].as_array().unwrap().len(), 2, "another run has its own");
    let old =
        scene.tool("rs-server").args(["list", "--as", "old", "--upgrade", "u-1"]).run().exits(0);
    assert_eq!(old.records().len(), 2);
}

#[test]
fn a_disabled_array_is_owed_and_an_incomplete_one_is_not_enabled() {
    let scene = Scene::new("server-enable");
    let script = "#!/bin/sh\n# ---\n# RightScript Name: needs\n# Inputs:\n#   NEED_A:\n#     Required: true\n# ...\n";
    scene.file("needs.sh", script);
    let template =
        scene.file("needs.yaml", "Name: Needs\nRightScripts:\n  Boot:\n    - needs.sh\n");
    let more = format!(
        "  - {template}\n{TWO}{ARRAY}    Enabled: true\n  - Name: array-2\n    Template: Needs\n    Minimum: 1\n    Maximum: 1\n"
    );
    let file = site_file(&scene, &more);
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    let call = |args: &[&str]| scene.tool("rs-server").args(args).run();
    assert_eq!(changed(&call(&["disable", "array-1"]).exits(0)), [true]);
    assert_eq!(keys(&scene, "debt/"), ["array:array-1"]);
    assert_eq!(changed(&call(&["disable", "array-1"]).exits(0)), [false]);
    assert_eq!(changed(&call(&["disable", "array-2"]).exits(0)), [false]);
    assert_eq!(keys(&scene, "debt/"), ["array:array-1"], "what was off before is not owed");
    assert_eq!(changed(&call(&["enable", "array-1"]).exits(0)), [true]);
    assert_eq!(keys(&scene, "debt/"), Vec::<String>::new());
    call(&["enable", "array-2"]).exits(5).says("NEED_A");
    call(&["enable", "One"]).exits(2).says("arrays");
}

#[test]
fn tend_keeps_arrays_at_their_minimum_and_notes_what_is_lost_or_stuck() {
    let scene = site("server-tend", &format!("{TWO}{ARRAY}    Enabled: true\n"));
    let tend = |args: &[&str]| scene.tool("rs-server").args(["tend"].iter().chain(args)).run();
    let before = folder(&scene);
    assert_eq!(tend(&["--dry-run"]).exits(0).record()["planned"], true);
    assert_eq!(folder(&scene), before);
    let ran = tend(&[]).exits(0).record();
    assert_eq!((&ran["name"], &ran["operational"]), (&"array-1".into(), &1.into()));
    assert_eq!(keys(&scene, "heartbeat/"), ["server-tend"]);
    assert!(tend(&[]).exits(0).stdout.is_empty(), "nothing to do is nothing to say");
    scene.tool("rs-server").args(["launch", "One"]).run().exits(0);

    // the machines of both vanish
    let all = scene.tool("rs-server").args(["list", "--state", "operational"]).run().exits(0);
    for record in all.records() {
        std::fs::remove_dir_all(record["current"]["home"].as_str().unwrap()).unwrap();
    }
    let ran = tend(&[]).exits(0).says("the machine of \"One\" is gone");
    let by_name = ran.by_name();
    assert_eq!(by_name["One"]["state"], "terminated");
    assert_eq!(by_name["array-1"]["instances"], serde_json::json!(["array-1 #2"]));

    // a disabled array is left alone
    scene.tool("rs-server").args(["disable", "array-1"]).run().exits(0);
    let home = &scene.tool("rs-server").args(["list", "array-1 #2"]).run().exits(0).record();
    std::fs::remove_dir_all(home["current"]["home"].as_str().unwrap()).unwrap();
    tend(&[]).exits(0);
    let list = || scene.tool("rs-server").args(["list", "array-1"]).run().exits(0).record();
    assert_eq!(list()["instances"], serde_json::json!([]));

    // addresses for two: both come up, and nothing half is left of the third
    let narrow =
        std::fs::read_to_string(scene.path("site.yaml")).unwrap().replace(".0/24", ".0/30");
    let narrow = scene.file("narrow.yaml", &narrow);
    scene.tool("rs-server").args(["apply", &narrow]).run().exits(0);
    let launch = || scene.tool("rs-server").args(["launch", "array-1", "--to", "3"]).run();
    let two = launch().exits(8).says("came up").says("no address is free").says("Addresses");
    assert!(two.stderr.contains("array-1 #3, array-1 #4"), "{two}");
    assert_eq!(
        (&list()["operational"], list()["instances"].as_array().unwrap().len()),
        (&2.into(), 2)
    );
    launch().exits(5).says("no address is free");
    assert_eq!(list()["instances"], serde_json::json!(["array-1 #3", "array-1 #4"]));
}

#[test]
fn without_an_alert_system_there_is_nothing_to_silence() {
    let scene = site("server-quench", TWO);
    let ran = scene.tool("rs-server").args(["quench", "One", "--for", "5m"]).run().exits(0);
    assert_eq!(changed(&ran), [false]);
    ran.says("ALERTS_HOOK");
    assert_eq!(keys(&scene, "debt/"), Vec::<String>::new());
    let ran = scene.tool("rs-server").args(["unquench", "One"]).run().exits(0);
    assert_eq!(changed(&ran), [false]);
    scene.tool("rs-server").args(["quench", "One", "--for", "0"]).run().exits(2).says("`0`");
}

#[test]
fn a_silence_is_owed_and_ends_once() {
    let scene = Scene::new("server-hook");
    let hook = "#!/bin/bash\ncat >\"$0.heard\"\ncase $1 in\n  quench) touch \"$0.on\" ;;\n  unquench) rm -f \"$0.on\" ;;\n  quenched) [ -e \"$0.on\" ] || exit 3 ;;\nesac\n";
    let hook = scene.file("hook", hook);
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = site_file(&scene, &format!("{TWO}Inputs:\n  ALERTS_HOOK: text:{hook}\n"));
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    let call = |args: &[&str]| scene.tool("rs-server").args(args).run().exits(0);
    let dry = call(&["quench", "One", "--dry-run"]);
    assert_eq!(dry.record()["planned"], true);
    assert!(!Path::new(&format!("{hook}.on")).exists());
    let ran = call(&["quench", "One", "--for", "5m", "--reason", "it's $(x)"]);
    assert_eq!(changed(&ran), [true]);
    assert_eq!(keys(&scene, "debt/"), ["quenched:One"]);
    assert_eq!(changed(&call(&["quench", "One"])), [false]);
    let undo = did(&ran.record())["undo"].as_str().unwrap().to_owned();
    scene.call("bash", "bash").args(["-c", &undo]).run().exits(0);
    assert!(!Path::new(&format!("{hook}.on")).exists());
    assert_eq!(keys(&scene, "debt/"), Vec::<String>::new());
    assert_eq!(changed(&call(&["unquench", "One"])), [false]);
}

#[test]
fn what_a_dry_run_planned_the_next_dry_run_takes_as_given() {
    let scene = site("server-dry", TWO);
    let before = folder(&scene);
    let launched = scene.tool("rs-server").args(["launch", "One", "--dry-run"]).run().exits(0);
    let marked = scene
        .tool("rs-server")
        .args(["mark", "new", "--upgrade", "u-1", "--dry-run"])
        .stdin(launched.stdout)
        .run()
        .exits(0);
    let locked =
        scene.tool("rs-server").args(["lock", "--dry-run"]).stdin(marked.stdout).run().exits(0);
    let record = locked.record();
    assert_eq!((&record["state"], &record["locked"]), (&"operational".into(), &true.into()));
    assert_eq!(record["did"].as_array().unwrap().len(), 3);
    assert_eq!(folder(&scene), before);
}

#[test]
fn an_ordinary_user_needs_nobody_else() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::new("server-user");
    let file = site_file(&scene, TWO);
    scene.hand_over(&scene.dir);
    let tool = rs_tests::tools().join("rs-server").display().to_string();
    let as_user = |args: &[&str]| {
        let before = ["--reuid", "65534", "--regid", "65534", "--clear-groups", &tool];
        scene.call("setpriv", "as nobody: rs-server").args(before.iter().chain(args)).run()
    };
    as_user(&["apply", &file]).exits(0);
    assert_eq!(as_user(&["launch", "--all"]).exits(0).records().len(), 2);
    let ran = as_user(&["relaunch", "One"]).exits(0).record();
    assert_eq!(ran["state"], "operational");
}
