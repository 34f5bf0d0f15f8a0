//! The whole upgrade, and the way back, end to end under client load.

use std::time::Duration;

use super::secrets::Marked;
use super::site::Site;
use crate::tools::reopen::balancer_at;

/// Releases that answer on every balancer for the site's host, each several times.
pub fn releases(site: &Site) -> Vec<String> {
    let balancers =
        site.tool("rs-server").args(["list", "--role", "lb", "--pool", "www"]).run().exits(0);
    let mut seen = Vec::new();
    for balancer in balancers.records() {
        for _ in 0..4 {
            let url = format!("http://{}:8080/version", balancer["address"].as_str().unwrap());
            let ran = site
                .scene
                .call("curl", "curl")
                .args(["-si", "--max-time", "5", &url])
                .run()
                .exits(0);
            let release = ran.stdout.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("x-release:")
                    .map(|rest| rest.trim().to_owned())
            });
            seen.push(release.unwrap_or_else(|| format!("none: {ran}")));
        }
    }
    seen.sort();
    seen.dedup();
    seen
}

/// The lines of the README's bash blocks: what a newcomer types on the demo's site.
fn readme_lines() -> Vec<String> {
    let text = std::fs::read_to_string(rs_tests::root().join("README.md")).unwrap();
    let lines: Vec<String> = text
        .split("```bash\n")
        .skip(1)
        .flat_map(|block| block.split("```").next().unwrap_or_default().lines())
        .map(str::to_owned)
        .collect();
    assert!(lines.len() >= 6, "{lines:?}");
    // the pipe at its beginning, as far as it changes nothing
    let pipe = text.lines().find_map(|line| line.strip_prefix("    rs-server list")).unwrap();
    let dry = format!("rs-server list{pipe}").replace(" set ", " set --dry-run ");
    assert!(dry.contains("| rs-run '") && dry.contains("--dry-run"), "{dry}");
    lines.into_iter().chain([dry.replace("| rs-run", "| rs-run --dry-run")]).collect()
}

#[test]
fn the_upgrade_under_load_loses_nothing_and_leaves_the_new_release() {
    upgrade_under_load(&Site::up("whole", ""));
}

pub fn upgrade_under_load(site: &Site) {
    assert_eq!(releases(site), ["1.0"]);
    let observer = site.observe();
    let ran = site.run("scripts/upgrade.sh", &[]).exits(0);
    let summary = observer.summary();
    assert_eq!(summary["writes"]["lost"], 0, "{summary}\n{ran}");
    assert_eq!(summary["writes"]["untold"], 0, "{summary}\n{ran}");
    assert_eq!(summary["classes"]["error"].as_u64().unwrap_or(0), 0, "{summary}\n{ran}");
    assert!(
        summary["classes"]["page"].as_u64().unwrap_or(0) > 0,
        "the page was never seen\n{summary}"
    );
    assert_eq!(releases(site), ["2.0"]);
    // what was made for the upgrade, and what was before it, is gone; what must stay runs
    let left = site.tool("rs-server").args(["list", "--all"]).run().exits(0).by_name();
    for gone in ["App Server-1", "App Server-2", "array-1", "Slave2 DB", "Load Balancer-3"] {
        assert!(!left.contains_key(gone), "{gone} is still there: {:?}", left.keys());
    }
    for there in ["App Server-3", "App Server-4", "array-2 #1", "Master DB", "Slave DB"] {
        assert_eq!(left[there]["state"], "operational", "{there}");
    }
    // instances of the array ran neither workers nor jobs before, and do not now
    for (server, state) in [("array-2 #1", "masked"), ("App Server-3", "up")] {
        let ran = site.tool("rs-run").args(["service status", server, "--json"]).run().exits(0);
        assert!(ran.stdout.contains(&format!("worker-orders {state}")), "{server}\n{ran}");
    }
    let _ = site.tool("rs-cleanup").args(["audit", "--due", "after"]).run().exits(0);
    let _ = site.tool("rs-journal").args(["verify"]).run().exits(0);
    for line in readme_lines() {
        let line = format!(
            "eval \"$('{demo}' env)\"; {line}",
            demo = rs_tests::root().join("scripts/demo/demo.sh").display()
        );
        let call = site
            .dressed(site.scene.call("bash", "bash"))
            .without("RS_CLOUD")
            .without("RS_CREDENTIALS");
        let ran = call.args(["-o", "pipefail", "-c", &line]).run();
        assert_eq!(ran.exit, 0, "the README's `{line}`\n{ran}");
        assert!(
            !ran.stdout.trim().is_empty() || line.contains("audit"),
            "`{line}` says nothing\n{ran}"
        );
    }
    // a part that is done already is the end of that start, not its beginning
    let part = site.run("scripts/upgrade.sh", &["--until", "3"]).exits(0);
    assert!(part.stderr.contains("up to 03"), "{part}");
    // a second start finds nothing to do
    let again = site.run("scripts/upgrade.sh", &[]).exits(0);
    assert!(!again.stderr.contains("changed "), "{again}");
    // the old servers are gone: there is no way back, which is said, and nothing is touched
    let back = site.run("scripts/rollback.sh", &[]).exits(5);
    let back = back.says("no way back any more").says("what remains");
    assert_eq!(releases(site), ["2.0"], "{back}");
}

#[test]
fn before_the_migration_going_back_is_free() {
    let site = Site::up("back-free", "");
    let observer = site.observe();
    let _ = site.run("scripts/upgrade.sh", &["--until", "3"]).exits(0);
    let again = site.run("scripts/upgrade.sh", &["--until", "3"]).exits(0);
    assert!(!again.stderr.contains("  04  back from here"), "it ran past what was wanted\n{again}");
    // a warm slave that is only defined is no slave that is not as it should be
    let _ = site.run("scripts/upgrade.sh", &["--until", "5"]).exits(0);
    let _ = site.run("scripts/upgrade.sh", &["--only", "4"]).exits(0);
    let _ = site.run("scripts/upgrade.sh", &["--until", "22"]).exits(0);
    let back = site.run("scripts/rollback.sh", &[]).exits(0);
    let summary = observer.summary();
    assert_eq!(summary["writes"]["lost"], 0, "{summary}\n{back}");
    assert_eq!(summary["classes"]["error"].as_u64().unwrap_or(0), 0, "{summary}\n{back}");
    assert_eq!(releases(&site), ["1.0"]);
    back_again(&site);
    // what the way back undid is done again, and nothing before it
    let ran = site.run("scripts/upgrade.sh", &[]).exits(0);
    let begun = |step: &str| ran.stderr.contains(&format!("  {step}  back from here"));
    assert!(!begun("14") && begun("15"), "{ran}");
    assert_eq!(releases(&site), ["2.0"]);
    // a label names one backup: the second way forth took another one
    let owed = site.tool("rs-cleanup").args(["audit", "--json"]).run().records();
    let pinned =
        |label: &str| owed.iter().any(|debt| debt["key"] == format!("pin:production/{label}"));
    assert!(pinned("pre-upgrade-u-1-2") && !pinned("pre-upgrade-u-1"), "{owed:?}");
    let _ = site.tool("rs-cleanup").args(["audit", "--due", "after"]).run().exits(0);
}

/// What the way back leaves for a person is done by the very lines that it said, and what the audit names besides: none
/// declines, nothing is owed then, and the old release still serves.
fn what_is_left_is_settled_by_what_was_named(site: &Site, back: &rs_tests::Ran) {
    let typed = |line: &str| {
        let ran = site.bash(&format!("export RS_UPGRADE=u-1; {line}"));
        assert_eq!(ran.exit, 0, "`{line}`\n{ran}");
    };
    let audit = || site.tool("rs-cleanup").args(["audit", "--json"]).run();
    let array = audit().records().into_iter().find(|debt| debt["key"] == "array:array-2");
    let settle = array.unwrap()["settle"].as_str().unwrap().to_owned();
    assert!(settle.starts_with("rs-cleanup plan"), "the new array on again? {settle}");
    typed(&settle);
    let left = back.stderr.split("Left for you:").nth(1).unwrap_or_else(|| panic!("{back}"));
    let lines: Vec<&str> = left.lines().filter(|line| line.starts_with("    rs-")).collect();
    assert!(lines.len() >= 3, "{back}");
    lines.iter().for_each(|line| typed(line));
    for debt in audit().records().iter().filter(|debt| debt["world"] != "settled") {
        typed(debt["settle"].as_str().unwrap());
    }
    let owed = audit().exits(0);
    assert!(owed.records().iter().all(|debt| debt["world"] == "settled"), "{owed}");
    assert_eq!(releases(site), ["1.0"]);
    let there = site.tool("rs-server").args(["list", "--all"]).run().exits(0).by_name();
    for gone in ["array-2", "Load Balancer-3", "App Server-3"] {
        assert!(!there.contains_key(gone), "{gone} is still there: {:?}", there.keys());
    }
    let replicating = ["status", "--role", "slave", "--require", "replicating"];
    let slaves = site.tool("rs-dbsync").args(replicating).run().exits(0);
    assert_eq!(slaves.records().len(), 2, "{slaves}");
}

/// Who is back already is told so, and nothing is done.
fn back_again(site: &Site) {
    let acts = || site.tool("rs-journal").args(["show"]).run().exits(0).records().len();
    let before = acts();
    let again = site.run("scripts/rollback.sh", &[]).exits(0);
    assert_eq!(acts(), before, "{again}");
    let _ = again.says("Nothing was changed");
}

#[test]
fn after_the_page_is_down_the_warm_slave_brings_the_old_release_and_data_back() {
    let marked = Marked::up("back-warm");
    let site = &marked.site;
    let page = |verb: &[&str]| {
        let _ = site.tool("rs-maintenance").args(verb).args(["--pool", "www"]).run().exits(0);
    };
    // a page that somebody lifts before step 31 is no page that step 31 takes down
    let tested = site.run("scripts/upgrade.sh", &["--until", "30"]).exits(0);
    let list = site.tool("rs-server").args(["list", "Load Balancer-1"]).run().exits(0).record();
    let home = list["current"]["home"].as_str().unwrap();
    let map = format!("{home}/etc/maintenance.map");
    balancer_at(home, &format!("set map {map} maintenance off"));
    std::fs::write(&map, "maintenance off\n").unwrap();
    let _ = site
        .run("scripts/upgrade.sh", &["--until", "31"])
        .exits(5)
        .says("the page is not up, and step 31 did not take it down");
    page(&["start"]);
    let up = site.run("scripts/upgrade.sh", &["--until", "31"]).exits(0);
    let up = up.says("  30  back from here");
    assert_eq!(releases(site), ["2.0"]);
    // what stops all that users are on belongs behind the page
    for step in ["12", "26"] {
        let ran = site.run("scripts/upgrade.sh", &["--only", step]).exits(5);
        let _ =
            ran.says(&format!("step {step} stops every new application, and users are on them"));
    }
    assert_eq!(releases(site), ["2.0"]);
    // a page that somebody put up behind step 31 is tested and taken down by the next start, each time
    for _ in 0..2 {
        page(&["start"]);
        let ran = site.run("scripts/upgrade.sh", &["--until", "31"]).exits(0);
        let ran = ran.says("the page is up again behind step 31").says("  30  back from here");
        let _ = ran.says("  31  back from here");
        page(&["status", "--require", "off"]);
    }
    let ran = site.run("scripts/upgrade.sh", &["--until", "31"]).exits(0);
    assert!(!ran.stderr.contains("back from here"), "{ran}");
    // what it would do is shown to its end, and nothing is done
    let dry = site.run("scripts/rollback.sh", &["--dry-run"]).exits(0);
    for says in ["the warm slave becomes the master", "page off", "Nothing was changed"] {
        assert!(dry.stdout.contains(says), "{says}\n{dry}");
    }
    assert_eq!(releases(site), ["2.0"]);
    let back = site.run("scripts/rollback.sh", &[]).exits(0);
    assert_eq!(releases(site), ["1.0"]);
    let dry = site.run("scripts/rollback.sh", &["--undo", "--dry-run"]).exits(0);
    for says in ["the migrated master becomes the master", "Nothing was changed"] {
        assert!(dry.stdout.contains(says), "{says}\n{dry}");
    }
    back_again(site);
    assert_eq!(releases(site), ["1.0"]);
    let servers =
        site.tool("rs-server").args(["list", "--role", "master"]).run().exits(0).by_name();
    assert!(
        servers.contains_key("Slave2 DB"),
        "the warm slave is the master now: {:?}",
        servers.keys()
    );
    what_is_left_is_settled_by_what_was_named(site, &back);
    marked.kept_their_secrets(&[&tested, &up, &back]);
}

#[test]
fn an_upgrade_that_was_killed_goes_on_where_it_was() {
    use rs_tests::until;
    let site = Site::up("killed", "");
    super::named::wrong_names_are_told_before_anything_is_made(&site);
    for step in ["06", "13", "19"] {
        let conf = site.place.join("upgrade.conf").display().to_string();
        let mut child = site
            .call("scripts/upgrade.sh")
            .args(["--conf", &conf, "--yes", "--until", "22"])
            .start();
        until(&format!("step {step} to begin"), Duration::from_secs(200), || {
            let marks =
                site.tool("rs-journal").args(["show", "--subject", "step *", "--json"]).run();
            let before = format!("step {:02}", step.parse::<u32>().unwrap() - 1);
            let before = if step == "19" { "step 18".to_owned() } else { before };
            marks.stdout.contains(&format!("\"{before}\"")) || child.try_wait().unwrap().is_some()
        });
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::KILL,
        );
        let _ = child.wait();
    }
    let _ = site.run("scripts/upgrade.sh", &["--until", "31"]).exits(0);
    assert_eq!(releases(&site), ["2.0"]);
}
