//! rs-run as a black box.

use std::path::Path;
use std::time::Duration;

use rs_contract::{Place, State};
use rs_tests::{Scene, until};
use serde_json::Value as Json;

use super::rs_server::{ODD, did, site};

const SITE: &str = "it's a \"site\"";
const THREE: &str = "Servers:\n  - Name: One\n    Template: Small\n  - Name: Two\n    Template: Small\n  - Name: Idle\n    Template: Small\n";

fn up(name: &str) -> Scene {
    let scene = site(name, THREE);
    scene.tool("rs-server").args(["launch", "One", "Two"]).run().exits(0);
    scene
}

fn home(scene: &Scene, server: &str) -> std::path::PathBuf {
    let record = scene.tool("rs-server").args(["list", "--", server]).run().exits(0).record();
    record["current"]["home"].as_str().unwrap().into()
}

#[test]
fn a_script_runs_with_its_values_and_its_output_is_in_the_record() {
    let scene = up("run-say");
    scene.credential("PW", "hunter22\n");
    let args = [
        "small say",
        "One",
        "Two",
        "--set",
        "TEXT=text:a $(touch x) 'b'",
        "--set",
        "PASSWORD=cred:PW",
        "--stay",
        "--follow",
    ];
    let ran = scene.tool("rs-run").args(args).run().exits(0);
    for record in ran.records() {
        let run = &record["run"];
        assert_eq!((&run["exit"], &run["script"]), (&0.into(), &"small say".into()));
        assert_eq!(run["tail"], "a $(touch x) 'b'\nstay: true\npassword: (cred:PW)");
        assert_eq!(run["values"]["TEXT"]["from"], "run");
        assert_eq!(run["values"]["GREETING"]["from"], "template");
        assert_eq!(did(&record)["changed"], true);
    }
    assert!(!format!("{ran}").contains("hunter22"), "a secret came out");
    ran.says("One: a $(touch x) 'b'").says("Two: stay: true");
    assert!(!scene.path("x").exists());
    let quiet = ["small say", "One", "--set", "TEXT=text:a"];
    let quiet = scene.tool("rs-run").args(quiet).run().exits(0);
    assert!(quiet.stderr.is_empty(), "{quiet}");
    // a credential that is not there, and one that others may read, are named without having run anything
    let args = ["small say", "One", "--set", "TEXT=text:never", "--set", "PASSWORD=cred:NONE"];
    scene.tool("rs-run").args(args).run().exits(4).says("NONE");
    let said = std::fs::read_to_string(home(&scene, "One").join("said")).unwrap();
    assert!(!said.contains("never"), "{said}");
}

#[test]
fn what_cannot_be_run_everywhere_is_run_nowhere() {
    let scene = up("run-refuse");
    let run = |args: &[&str]| scene.tool("rs-run").args(args).run();
    run(&["small sai", "One"]).exits(2).says("\"small say\"").says("\"small fail\"");
    run(&["small say", "One"]).exits(2).says("TEXT");
    run(&["small fail", "One", "--set", "EXIT=0"]).exits(2).says("text:0");
    run(&["small say", "One", "Idle", "--set", "TEXT=text:no"])
        .exits(5)
        .says("\"Idle\" is inactive");
    run(&["small say", "Nobody", "--set", "TEXT=text:no"]).exits(4).says("Nobody");
    run(&["small say"]).exits(2).says("nothing came in");
    assert!(!home(&scene, "One").join("said").exists(), "something was run");
    scene.tool("rs-run").args(["small say", "--allow-none"]).stdin("").run().exits(0);
}

#[test]
fn some_failures_are_partial_and_all_are_failure() {
    let scene = up("run-fail");
    let file = scene.text("values");
    std::fs::write(&file, "").unwrap();
    let all = scene.tool("rs-run").args(["small fail", "One", "Two"]).run().exits(1);
    assert!(all.says("exit 3").stdout.is_empty());
    // One has another value of its own
    let pass = ["small fail", "One", "--set", "EXIT=text:0", "--once", "k"];
    scene.tool("rs-run").args(pass).run().exits(0);
    let some = ["small fail", "One", "Two", "--once", "k"];
    let ran = scene.tool("rs-run").args(some).run().exits(8).says("\"Two\"");
    let by_name = ran.by_name();
    assert_eq!(did(&by_name["One"])["changed"], false);
    assert!(did(&by_name["Two"])["error"].as_str().unwrap().contains("exit 3"));
    assert_eq!(by_name["Two"]["run"]["tail"], "about to fail");
    assert_eq!(by_name["Two"]["run"]["exit"], 3);
}

#[test]
fn once_is_once_for_a_machine_and_only_after_success() {
    let scene = up("run-once");
    let say = |key: &str, more: &[&str]| {
        let args = ["small say", "One", "--set", "TEXT=text:x", "--once", key];
        scene.tool("rs-run").args(args.iter().chain(more)).run()
    };
    let said = || std::fs::read_to_string(home(&scene, "One").join("said")).unwrap_or_default();
    assert_eq!(did(&say("u-1/a b", &["--dry-run"]).exits(0).record())["planned"], true);
    assert_eq!(said(), "");
    assert_eq!(did(&say("u-1/a b", &[]).exits(0).record())["changed"], true);
    assert_eq!(did(&say("u-1/a b", &[]).exits(0).record())["changed"], false);
    assert_eq!(said(), "x\n");
    assert_eq!(did(&say("u-1/b", &[]).exits(0).record())["changed"], true);
    let other = ["small fail", "One", "--once", "u-1/b"];
    scene.tool("rs-run").args(other).run().exits(2).says("small say");
    let failing = ["small fail", "One", "--once", "u-1/c"];
    scene.tool("rs-run").args(failing).run().exits(1);
    scene.tool("rs-run").args(failing).run().exits(1);
    scene.tool("rs-server").args(["relaunch", "One"]).run().exits(0);
    assert_eq!(did(&say("u-1/b", &[]).exits(0).record())["changed"], true, "another machine");
}

#[test]
fn rolling_goes_one_by_one_and_stops_at_the_first_failure() {
    let scene = up("run-rolling");
    let ran =
        scene.tool("rs-run").args(["small fail", "One", "Two", "--rolling", "1"]).run().exits(1);
    let ran = ran.says("\"small fail\" on").says("not run on");
    assert_eq!(ran.stderr.matches("exit 3").count(), 1, "{ran}");
    scene.tool("rs-run").args(["small fail", "One", "--rolling", "0"]).run().exits(2);
}

#[test]
fn a_script_that_is_out_of_time_is_ended_and_the_next_one_runs() {
    let scene = up("run-timeout");
    let ran = scene.tool("rs-run").args(["small linger", "One", "--timeout", "1s"]).run().exits(6);
    ran.says("small linger").says("--timeout");
    scene.tool("rs-run").args(["small fail", "One", "--set", "EXIT=text:0"]).run().exits(0);
}

#[test]
fn a_run_that_is_killed_never_has_a_second_script_beside_it() {
    let scene = up("run-kill");
    let home = home(&scene, "One");
    let seen = || std::fs::read_to_string(home.join("lingering")).unwrap_or_default();
    let mut first = scene.tool("rs-run").args(["small linger", "One"]).start();
    until("it has begun", Duration::from_secs(20), || seen().contains("begin"));
    first.kill().unwrap();
    first.wait().unwrap();
    // whoever comes next waits for what is left of it
    let blocked = ["small say", "One", "--set", "TEXT=text:x", "--timeout", "1s"];
    scene.tool("rs-run").args(blocked).run().exits(6);
    assert!(!home.join("said").exists());
    // and is told at once that it does; of a run that is taken over meanwhile nothing is begun
    let late =
        ["lock", "--upgrade", "u-1", "--", "rs-run", "small say", "One", "--set", "TEXT=text:late"];
    let mut late = scene.tool("rs-journal").args(late).start_into(&scene.path("late"));
    let said =
        |text: &str| std::fs::read_to_string(scene.path("late")).unwrap_or_default().contains(text);
    until("it waits", Duration::from_secs(20), || said("an earlier script that still runs there"));
    store(&scene).raise_epoch(SITE).unwrap();
    std::fs::write(home.join("enough"), "").unwrap();
    assert_eq!(late.wait().unwrap().code(), Some(5));
    assert!(said("taken over") && !home.join("said").exists());
    scene.tool("rs-run").args(&blocked[..4]).run().exits(0);
    assert_eq!(seen().lines().count(), 2, "{}", seen());
}

/// The store of the site. What raises an epoch in it does what a take-over on another host does: nothing is ended here.
fn store(scene: &Scene) -> Box<dyn State> {
    rs_drivers::state(&Place { cloud: scene.cloud(), ..Place::default() }).unwrap()
}

#[test]
fn who_waits_for_a_script_knows_whose_it_is_and_begins_none_once_he_was_taken_over() {
    let scene = up("run-busy");
    let home = home(&scene, "One");
    let log = |name: &str| std::fs::read_to_string(scene.path(name)).unwrap_or_default();
    scene.call("mkfifo", "mkfifo").args(["go"]).run().exits(0);
    let run = "rs-run 'small linger' One >/dev/null & echo $! >first; read <go
        rs-run 'small say' One --set TEXT=text:late >out 2>late; code=$?; wait; exit $code";
    let lock = ["lock", "--upgrade", "u-1", "--", "bash", "-c", run];
    let mut frozen = scene.tool("rs-journal").args(lock).start();
    until("a script runs", Duration::from_secs(20), || home.join("lingering").exists());
    std::fs::write(scene.path("go"), "\n").unwrap();
    let told = |name: &str| {
        let whose = format!("process {} of ", log("first").trim());
        until("it is told for whom it waits", Duration::from_secs(5), || {
            log(name).contains(&whose)
        });
        let end = format!("kill -KILL {} on {}", log("first").trim(), rs_cli::host());
        for part in ["\"One\" is busy", "(run \"u-1\")", &end] {
            assert!(log(name).contains(part), "{part}\n{}", log(name));
        }
    };
    told("late");
    store(&scene).raise_epoch(SITE).unwrap();
    let ours = ["small say", "One", "--set", "TEXT=text:ours"];
    let mut ours = scene.tool("rs-run").args(ours).start_into(&scene.path("ours"));
    told("ours");
    std::fs::write(home.join("enough"), "").unwrap();
    assert!(ours.wait().unwrap().success(), "{}", log("ours"));
    assert_eq!(frozen.wait().unwrap().code(), Some(5), "{}", log("late"));
    assert!(log("late").contains("taken over") && log("out").is_empty(), "{}", log("late"));
    assert_eq!(std::fs::read_to_string(home.join("said")).unwrap(), "ours\n");
}

#[test]
fn an_array_stands_for_its_operational_instances() {
    let scene = site(
        "run-array",
        &format!(
            "Servers:\n  - Name: '{}'\n    Template: Small\nArrays:\n  - Name: array-1\n    Template: Small\n    Minimum: 1\n    Maximum: 3\n",
            ODD.replace('\'', "''")
        ),
    );
    scene.tool("rs-server").args(["launch", "--all", "--to", "2"]).run().exits(0);
    let args = ["small say", "array-1", "--set", "TEXT=text:x"];
    let record = scene.tool("rs-run").args(args).run().exits(0).record();
    let runs: Vec<&Json> = record["runs"].as_array().unwrap().iter().collect();
    assert_eq!(runs.len(), 2);
    // named twice, by itself and by its array, it runs once
    let args = ["small say", "--all", "--set", "TEXT=text:y"];
    scene.tool("rs-run").args(args).run().exits(0);
    for server in ["array-1 #1", "array-1 #2"] {
        let said = std::fs::read_to_string(home(&scene, server).join("said")).unwrap();
        assert_eq!(said, "x\ny\n");
    }
    assert!(!Path::new(&scene.text("x")).exists());
    let args = ["small say", "--set", "TEXT=text:z", "--", ODD];
    scene.tool("rs-run").args(args).run().exits(0);
}
