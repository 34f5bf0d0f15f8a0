//! The upgrade is cut off: by kill, by Ctrl-C, by a lost terminal, by a second operator. It always says what is left, and
//! goes on.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rs_tests::{Call, until};
use rustix::process::{Pid, Signal, kill_process};

use super::site::Site;

const LONG: Duration = Duration::from_secs(300);

/// `upgrade.sh` with the site's settings, which asks.
fn upgrade(site: &Site, args: &[&str]) -> Call {
    let conf = site.place.join("upgrade.conf").display().to_string();
    site.call("scripts/upgrade.sh").args(["--conf", &conf, "--window", "6h"]).args(args).limit(LONG)
}

/// What was said in the run so far.
pub fn log(site: &Site) -> String {
    std::fs::read_to_string(site.place.join("upgrade-u-1.log")).unwrap_or_default()
}

/// Everything that the operator runs on his machine for this site: scripts and tools, not what runs on the servers.
fn operator(site: &Site) -> Vec<Pid> {
    let marks =
        ["RS_UPGRADE=u-1".to_owned(), format!("RS_CLOUD=sqlite:{}/state.db", site.place.display())];
    let has = |pid: &i32| {
        let env = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let dead = status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'));
        // the client's observer is a tool too, and none of his
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let observes = words.contains("rs-check\0probe\0");
        !dead
            && !observes
            && marks.iter().all(|m| env.split(|b| *b == 0).any(|var| var == m.as_bytes()))
    };
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(has).filter_map(Pid::from_raw).collect()
}

/// kill -9, all at once.
pub fn kill_all(site: &Site) {
    until("the operator's processes to be gone", Duration::from_secs(30), || {
        let all = operator(site);
        for pid in &all {
            let _ = kill_process(*pid, Signal::KILL);
        }
        all.is_empty()
    });
}

/// When the run is cut off.
pub enum At {
    /// This step is marked as done; the next ones begin.
    Done(&'static str),
    /// The migration is under way.
    Migration,
}

impl At {
    /// Whether it is there now.
    pub fn reached(&self, site: &Site) -> bool {
        let show: &[&str] = match self {
            At::Done(_) => &["show", "--subject", "step *"],
            At::Migration => &["show", "--open"],
        };
        let acts = site.tool("rs-journal").args(show).run().exits(0).records();
        acts.iter().any(|act| match self {
            At::Done(step) => act["subject"] == *step,
            At::Migration => act["tool"] == "rs-dbsync" && act["verb"] == "migrate",
        })
    }
}

#[test]
fn an_upgrade_that_is_killed_or_interrupted_anywhere_goes_on_and_loses_nothing() {
    let site = Site::up("cut-off", "");
    let observer = site.observe();
    let cuts = [
        (At::Done("step 05"), true),
        (At::Done("step 17"), true),
        (At::Done("step 18"), false), // 19
        (At::Migration, false),       // 23
        (At::Migration, true),
        (At::Done("step 23"), false), // 25, 29: they run beside it
        (At::Done("step 25"), true),
        (At::Done("step 30"), false), // 31
        (At::Done("step 31"), false), // 33
        (At::Done("step 34"), true),
    ];
    for (at, ctrl_c) in cuts {
        let args = match again(&site) {
            true => vec!["--yes", "--again"],
            false => vec!["--yes"],
        };
        let mut terminal = upgrade(&site, &args).on_terminal();
        until("the place where it is cut off", LONG, || {
            // what an earlier start left going may have got there; it is this one that is cut off, in a step
            let there = at.reached(&site) && terminal.said().contains("back from here");
            let gone = operator(&site).is_empty() && terminal.has_ended();
            assert!(there || !gone, "it ended\n{}", terminal.said());
            there
        });
        if !ctrl_c {
            kill_all(&site);
            terminal.gone();
            continue;
        }
        terminal.types("\x03");
        let (exit, said) = terminal.ended(Duration::from_secs(60));
        assert_eq!(exit, 130, "{said}");
        for word in
            ["The run u-1 stands ", "what is left:", "go on:", "go back:", "upgrade-u-1.log"]
        {
            assert!(said.contains(word), "it does not say {word:?}\n{said}");
        }
        let left: Vec<String> = operator(&site)
            .iter()
            .map(|pid| {
                std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))
                    .unwrap_or_default()
            })
            .collect();
        assert!(left.is_empty(), "something goes on: {left:?}\n{said}");
    }
    let ran = upgrade(&site, &["--yes"]).run().exits(0);
    let summary = observer.summary();
    assert_eq!(summary["writes"]["lost"], 0, "{summary}\n{ran}");
    assert_eq!(summary["writes"]["untold"], 0, "{summary}\n{ran}");
    assert_eq!(super::whole::releases(&site), ["2.0"]);
    let _ = site.tool("rs-cleanup").args(["audit", "--due", "after"]).run().exits(0);
}

/// A migration by script that was cut off is not run again unasked; asked, it goes on.
fn again(site: &Site) -> bool {
    // cut off before it was begun, it is as if nobody had called it: what the database says counts
    let status = site.tool("rs-dbsync").args(["status", "--role", "master"]).run().exits(0);
    if At::Done("step 23").reached(site) || status.record()["schema_state"] != "half" {
        return false;
    }
    let ran = upgrade(site, &["--yes"]).run().exits(5);
    let _ = ran.says("upgrade.sh --again").says("rollback.sh goes back");
    until("what was cut off to end on its server", LONG, || {
        let writes = site.tool("rs-dbsync").args(["writes", "status", "--role", "master"]).run();
        writes.exits(0).record()["silent"] == true
    });
    true
}

#[test]
fn it_asks_on_a_terminal_declines_without_one_and_survives_its_loss() {
    let site = Site::up("asked", "");
    // without a terminal nothing is guessed
    let ran = upgrade(&site, &[]).run().exits(5);
    let _ = ran.says("decision wanted: staging is good?").says("(try: --yes").says("go back:");
    // somebody says no, then somebody says yes
    let mut terminal = upgrade(&site, &["--until", "05"]).on_terminal();
    terminal.shows("staging is good? [yes/no]", LONG);
    terminal.types("no\n");
    let (exit, said) = terminal.ended(LONG);
    assert_eq!(exit, 5, "{said}");
    assert!(said.contains("stopped at the decision: staging is good"), "{said}");
    let mut terminal = upgrade(&site, &["--until", "05"]).on_terminal();
    terminal.shows("staging is good? [yes/no]", LONG);
    // Ctrl-C instead of an answer, then the answer
    terminal.types("\x03");
    let (exit, said) = terminal.ended(LONG);
    assert_eq!(exit, 130, "{said}");
    let mut terminal = upgrade(&site, &["--until", "05"]).on_terminal();
    terminal.shows("staging is good? [yes/no]", LONG);
    terminal.types("yes\n");
    let (exit, said) = terminal.ended(LONG);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("up to 05"), "{said}");

    // a second operator beside the first
    let mut terminal = upgrade(&site, &["--yes", "--until", "17"]).on_terminal();
    until("the first to be at step 6", LONG, || {
        !operator(&site).is_empty() && At::Done("step 05").reached(&site)
    });
    terminal.shows("is kept in", LONG);
    let second = upgrade(&site, &["--yes"]).run().exits(5);
    let user = site.scene.call("id", "id").args(["-un"]).run().exits(0).stdout;
    let second = second.says(&format!("of {}@", user.trim())).says("holds the lock since 20");
    let _ = second.says("it has done step ").says("(try: ");
    // who wants to go back, and has not said that he means it, ends nobody's run
    let conf = site.place.join("upgrade.conf").display().to_string();
    let back = site.call("scripts/rollback.sh").args(["--conf", &conf]).limit(LONG).run().exits(5);
    let _ = back.says("holds the lock since 20").says("rollback.sh --yes");
    let (exit, said) = terminal.ended(LONG);
    assert_eq!(exit, 0, "the first was disturbed\n{said}");

    // a part once more changes nothing
    let part = upgrade(&site, &["--yes", "--from", "15", "--until", "16"]).run().exits(0);
    for step in ["15", "16"] {
        let ended = |line: &&str| line.trim().starts_with(step) && line.contains(" ms  ");
        let line = part.stderr.lines().find(ended).unwrap_or_else(|| panic!("no {step}\n{part}"));
        assert!(line.contains("as it was"), "{part}");
    }

    // the terminal is lost in the window: it goes on to its end
    let terminal = upgrade(&site, &["--yes", "--until", "28"]).on_terminal();
    until("the page to be up", LONG, || At::Done("step 18").reached(&site));
    terminal.gone();
    until("the run to end", LONG, || operator(&site).is_empty());
    let kept = log(&site);
    assert!(kept.contains("has done its steps up to 28"), "{kept}");
    let mode = site.place.join("upgrade-u-1.log").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");

    // small repairs with the page up
    let _ = site
        .tool("rs-maintenance")
        .args(["status", "--pool", "www", "--require", "on"])
        .run()
        .exits(0);
    let _ = upgrade(&site, &["--yes", "--only", "12"]).run().exits(0);
    let _ = upgrade(&site, &["--yes", "--only", "26"]).run().exits(0);
    let _ = site
        .tool("rs-maintenance")
        .args(["status", "--pool", "www", "--require", "on"])
        .run()
        .exits(0);
    let _ = upgrade(&site, &["--yes", "--until", "33"]).run().exits(0);
    assert_eq!(super::whole::releases(&site), ["2.0"]);
}
