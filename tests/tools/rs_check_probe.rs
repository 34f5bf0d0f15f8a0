//! `rs-check probe`: what it says of losses, of the window, and of itself.

use std::time::Duration;

use rs_tests::{Engines, Mood, Scene, Site, until};
use serde_json::Value as Json;

const WAIT: Duration = Duration::from_secs(30);

/// Probes for as long as `during` takes, and returns the log's path.
fn probe(scene: &Scene, sites: &[&Site], more: &[&str], during: impl FnOnce()) -> String {
    let (stop, log) = (scene.text("stop"), scene.text("probe.log"));
    let mut args = vec![
        "probe",
        "--write-path",
        "/rows",
        "--rate",
        "200",
        "--write-every",
        "2",
        "--until",
        &stop,
        "--log",
        &log,
    ];
    let urls: Vec<String> = sites.iter().map(|site| format!("http://{}", site.address)).collect();
    for url in &urls {
        args.extend(["--url", url]);
    }
    args.extend(more);
    let mut child = scene.tool("rs-check").args(args).start();
    during();
    std::fs::write(&stop, "").unwrap();
    child.wait().unwrap();
    log
}

fn wait_for(site: &Site, more: u64) {
    let from = site.requests();
    until("requests to come", WAIT, || site.requests() >= from + more);
}

fn log_of(path: &str) -> Vec<Json> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_acknowledged_row_that_is_lost_is_reported_with_its_number() {
    let scene = Scene::new("probe-lost");
    let site = scene.site("1.0");
    let log = probe(&scene, &[&site], &[], || wait_for(&site, 40));
    let rows = site.rows_command();
    let whole = scene
        .tool("rs-check")
        .args(["probe", "--summarise", &log, "--rows-command", &rows, "--most-errors", "0"])
        .run()
        .exits(0)
        .record();
    assert_eq!(whole["schema"], "rs.summary/1");
    assert_eq!(whole["writes"]["lost"], 0, "{whole}");
    assert_eq!(whole["writes"]["untold"], 0);
    assert!(whole["writes"]["acknowledged"].as_u64().unwrap() >= 10);
    assert_eq!(whole["writes"]["acknowledged"], whole["writes"]["in_database"]);

    let lost = site.lose_one();
    let rows = site.rows_command();
    let ran = scene
        .tool("rs-check")
        .args(["probe", "--summarise", &log, "--rows-command", &rows])
        .run()
        .exits(3)
        .says("1 acknowledged");
    let summary = ran.record();
    assert_eq!(summary["writes"]["lost"], 1);
    assert_eq!(summary["writes"]["lost_numbers"][0], lost.as_str());
    // rows of another probe are not ours
    site.invent("probe-00000000-1");
    let rows = site.rows_command();
    let other = scene
        .tool("rs-check")
        .args(["probe", "--summarise", &log, "--rows-command", &rows])
        .run()
        .exits(3)
        .record();
    assert_eq!(other["writes"]["untold"], 0, "{other}");
}

#[test]
fn a_row_that_nobody_was_told_of_is_reported_and_no_write_is_sent_twice() {
    let scene = Scene::new("probe-untold");
    let site = scene.site("1.0");
    let log = probe(&scene, &[&site], &[], || {
        wait_for(&site, 20);
        site.mood(Mood::Mute);
        wait_for(&site, 6);
        site.mood(Mood::Well);
        wait_for(&site, 20);
    });
    let sent = log_of(&log).len() as u64;
    assert_eq!(site.requests(), sent, "each request reaches the site exactly once");
    let rows = site.rows_command();
    let ran = scene
        .tool("rs-check")
        .args(["probe", "--summarise", &log, "--rows-command", &rows])
        .run()
        .exits(3)
        .says("nobody was told of");
    let summary = ran.record();
    assert!(summary["writes"]["untold"].as_u64().unwrap() >= 1, "{summary}");
    assert_eq!(summary["writes"]["lost"], 0, "{summary}");
    assert!(summary["classes"]["error"].as_u64().unwrap() >= 6, "{summary}");
}

#[test]
fn the_window_is_measured_per_balancer_and_in_all() {
    let scene = Scene::new("probe-window");
    let (one, two) = (scene.site("1.0"), scene.site("1.0"));
    let log = probe(&scene, &[&one, &two], &["--host", "www.mysite.com"], || {
        wait_for(&one, 10);
        one.mood(Mood::Page);
        wait_for(&two, 10);
        two.mood(Mood::Page);
        wait_for(&one, 20);
        one.mood(Mood::Well);
        two.mood(Mood::Well);
        wait_for(&two, 10);
    });
    let summary =
        scene.tool("rs-check").args(["probe", "--summarise", &log]).run().exits(0).record();
    let nothing = ["probe", "--summarise", "/dev/null", "--most-errors", "0"];
    scene.tool("rs-check").args(nothing).run().exits(2).says("holds no request");
    let all = summary["window"]["ms"].as_f64().unwrap();
    let first = summary["balancers"][0]["window"]["ms"].as_f64().unwrap();
    let second = summary["balancers"][1]["window"]["ms"].as_f64().unwrap();
    assert!(all >= first && first > second && second > 0.0, "{summary}");
    assert!(summary["window"]["ok_within"].as_u64().unwrap() > 0, "the page was not everywhere");
    assert_eq!(summary["classes"]["error"], 0, "{summary}");
    // the database was not read: nothing is claimed of it
    assert!(summary["writes"]["lost"].is_null() && summary["writes"]["in_database"].is_null());
    // the summary stands on the log alone
    let pages: Vec<Json> = log_of(&log).into_iter().filter(|r| r["class"] == "page").collect();
    let sent = pages.iter().map(|r| r["sent_us"].as_u64().unwrap()).min().unwrap();
    let last = pages.iter().map(|r| r["answered_us"].as_u64().unwrap()).max().unwrap();
    assert!((all - (last - sent) as f64 / 1000.0).abs() < 0.001, "{summary}");
}

#[test]
fn slow_answers_do_not_slow_the_schedule() {
    let scene = Scene::new("probe-open-loop");
    let site = scene.site("1.0");
    site.mood(Mood::Slow);
    let url = format!("http://{}", site.address);
    let log = scene.text("probe.log");
    let summary = scene
        .tool("rs-check")
        .args([
            "probe",
            "--write-path",
            "/rows",
            "--url",
            &url,
            "--rate",
            "100",
            "--for",
            "2s",
            "--log",
            &log,
        ])
        .run()
        .exits(0)
        .record();
    // one after the other there would be four of them
    assert!(summary["requests"].as_u64().unwrap() >= 150, "{summary}");
    assert!(summary["latency_ms"]["p50"].as_f64().unwrap() >= 500.0, "{summary}");
}

#[test]
fn a_signal_ends_it_with_its_summary() {
    let scene = Scene::new("probe-signal");
    let site = scene.site("2.0");
    let url = format!("http://{}", site.address);
    let mut child = scene
        .tool("rs-check")
        .args(["probe", "--write-path", "/rows", "--url", &url, "--for", "10m"])
        .start();
    wait_for(&site, 20);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, requests) = lines.split_last().unwrap();
    assert_eq!(summary["schema"], "rs.summary/1");
    assert_eq!(summary["requests"].as_u64().unwrap(), requests.len() as u64);
    assert_eq!(summary["releases"]["2.0"], summary["requests"]);
    assert!(requests.iter().all(|r| r["schema"] == "rs.request/1" && r["member"] == "www/a1"));
}

#[test]
fn a_site_that_is_not_there_is_errors_and_bad_input_is_refused() {
    let scene = Scene::new("probe-bad");
    let url = format!("http://{}:8080", scene.address());
    let call = |args: &[&str]| {
        let all = ["probe", "--write-path", "/rows"].iter().chain(args);
        scene.tool("rs-check").args(all).run()
    };
    let nowhere = ["probe", "--url", &url, "--for", "1s"];
    let _ = scene.tool("rs-check").args(nowhere).run().exits(2).says("--write-path");
    let gone = call(&["--url", &url, "--for", "300ms", "--most-errors", "0"]).exits(3);
    let last: Json = serde_json::from_str(gone.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["classes"]["ok"], 0, "{last}");
    assert!(last["classes"]["error"].as_u64().unwrap() > 0);
    call(&["--url", &url]).exits(2).says("--for");
    call(&["--for", "1s"]).exits(2).says("--url");
    call(&["--url", "ftp://x", "--for", "1s"]).exits(2);
    call(&["--url", "http://x/$(reboot)", "--for", "1s"]).exits(2);
    call(&["--url", &url, "--for", "1s", "--rate", "0"]).exits(2);
    call(&["--summarise", &scene.text("none")]).exits(4);
    let broken = scene.file("broken.log", "{\"schema\":\"rs.request/1\"}\nnope\n");
    call(&["--summarise", &broken]).exits(2).says(&format!("line 1 of {broken}"));
    let text = scene.file("text.log", "nope\n");
    let ran = call(&["--summarise", &text]).exits(2).says(&format!("line 1 of {text} is not JSON"));
    assert!(!ran.stderr.contains("stdin"), "{ran}");
    let forged = scene.file(
        "forged.log",
        r#"{"schema":"rs.request/1","seq":1,"sent":"x","due_us":1,"sent_us":1,"answered_us":2,"balancer":"b","class":"ok","number":"'; DROP TABLE x; -1"}"#,
    );
    call(&["--summarise", &forged, "--rows-command", "true"]).exits(2).says("prefix");
}

rs_tests::each_engine!(rows_are_read_from_the_database_itself_all_of_them_and_only_ours);

fn rows_are_read_from_the_database_itself_all_of_them_and_only_ours(engines: Engines) {
    let scene = Scene::on(engines, "probe-rows");
    let site = scene.site("1.0");
    let log = probe(&scene, &[&site], &[], || wait_for(&site, 20));
    let requests = log_of(&log);
    let acknowledged: Vec<&str> = requests
        .iter()
        .filter(|r| r["class"] == "ok")
        .filter_map(|r| r["number"].as_str())
        .collect();
    let prefix = acknowledged[0].rsplit_once('-').unwrap().0.to_owned() + "-";
    let db = scene.database("db");
    db.sql("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, number VARCHAR(64))");
    // more rows than are fetched at once, of others and of ours
    db.sql(&format!(
        "USE shop; INSERT INTO orders (number) SELECT CONCAT('other-', seq) FROM {}",
        db.numbers(1, 3000)
    ));
    db.sql(&format!(
        "USE shop; INSERT INTO orders (number) SELECT CONCAT('{prefix}x', seq) FROM {}",
        db.numbers(1, 11_000)
    ));
    for number in &acknowledged[1..] {
        db.sql(&format!("INSERT INTO shop.orders (number) VALUES ('{number}')"));
    }
    let (place, password) = (format!("{}:3306", db.address), scene.file("password", "admin\n"));
    let query = "SELECT number FROM shop.orders WHERE number LIKE '{prefix}%'";
    let base =
        ["probe", "--summarise", &log, "--rows-query", query, "--db", &place, "--db-user", "admin"];
    let call = |file: &str| {
        let args = base.iter().copied().chain(["--db-password-file", file]);
        scene.tool("rs-check").args(args).run()
    };
    let summary = call(&password).exits(3).record();
    assert_eq!(summary["writes"]["lost"], 1, "{summary}");
    assert_eq!(summary["writes"]["lost_numbers"][0], acknowledged[0]);
    assert_eq!(summary["writes"]["untold"], 11_000, "{summary}");
    db.sql(&format!("DELETE FROM shop.orders WHERE number LIKE '{prefix}x%'"));
    db.sql(&format!("INSERT INTO shop.orders (number) VALUES ('{}')", acknowledged[0]));
    let summary = call(&password).exits(0).record();
    assert_eq!(summary["writes"]["in_database"], acknowledged.len(), "{summary}");
    let wrong = call(&scene.file("wrong", "no\n"));
    assert_ne!(wrong.exit, 0, "a database that was not read is no good news\n{wrong}");
    assert!(
        wrong.record()["writes"]["in_database"].is_null(),
        "what was seen is told all the same"
    );
}
