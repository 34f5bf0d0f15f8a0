//! What `--timeout`, `--jobs`, `--dry-run` and `--json` do, on every verb that has them.

use std::fs::File;
use std::time::{Duration, Instant};

use rs_tests::Scene;
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
