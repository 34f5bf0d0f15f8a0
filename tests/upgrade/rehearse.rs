//! The rehearsal: the whole upgrade on a clone, beside a production that does not notice.

use std::collections::BTreeSet;
use std::time::Duration;

use rs_tests::Ran;

use super::site::Site;

const CLONE: &str = "production-rehearsal";

fn rehearse(site: &Site, args: &[&str]) -> Ran {
    let conf = site.place.join("upgrade.conf").display().to_string();
    let mut all = vec!["--conf", conf.as_str()];
    all.extend(args);
    site.call("scripts/rehearse.sh").args(all).limit(Duration::from_secs(400)).run()
}

/// What of production a rehearsal must leave: machines, inputs, tags, members, and that nobody acted but its clock.
fn production(site: &Site) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (tool, args) in [
        ("rs-server", vec!["list", "--all"]),
        ("rs-lbctl", vec!["status", "--pool", "www"]),
        ("rs-journal", vec!["show"]),
    ] {
        let args = args.into_iter().chain(["--deployment", "production"]);
        for mut record in site.tool(tool).args(args).run().exits(0).records() {
            if record["clock"] == true {
                continue;
            }
            if let Some(fields) = record.as_object_mut() {
                // these move while clients are served
                for moving in ["sessions", "last_check", "status"] {
                    fields.remove(moving);
                }
            }
            found.insert(record.to_string());
        }
    }
    found
}

fn unchanged(site: &Site, before: &BTreeSet<String>) {
    let now = production(site);
    let differs: Vec<_> = now.symmetric_difference(before).collect();
    assert!(differs.is_empty(), "production is not as it was: {differs:#?}");
}

/// Ids of production's backups.
fn backups(site: &Site) -> BTreeSet<String> {
    let args = ["list", "--role", "master", "--deployment", "production"];
    let records = site.tool("rs-snapshot").args(args).run().exits(0).records();
    records.iter().filter(|r| r["perfect"] == true).map(|r| r["id"].to_string()).collect()
}

#[test]
fn a_rehearsal_runs_all_steps_on_a_clone_with_productions_data_and_production_does_not_notice() {
    let site = Site::up("rehearse", "");
    let tool = |name: &str| site.tool(name).env("RS_DEPLOYMENT", CLONE);
    let (before, kept) = (production(&site), backups(&site));
    let observer = site.observe();
    // staging is wanted by step 2, and there was none
    let step = |name: &str| {
        let conf = site.place.join("wanted.conf");
        let text = std::fs::read_to_string(site.place.join("upgrade.conf")).unwrap();
        std::fs::write(&conf, text.replace("STAGING=", &format!("STAGING={CLONE}"))).unwrap();
        site.call(name).env("RS_UPGRADE_CONF", conf.display().to_string()).run()
    };
    let _ = step("scripts/steps/02-staging.sh").exits(3).says("step 38");

    let ran = rehearse(&site, &[]).exits(0);
    let summary = observer.summary();
    assert_eq!(summary["classes"]["error"].as_u64().unwrap_or(0), 0, "{summary}\n{ran}");
    assert_eq!(summary["classes"]["page"].as_u64().unwrap_or(0), 0, "{summary}\n{ran}");
    assert_eq!(summary["writes"]["lost"], 0, "{summary}");
    unchanged(&site, &before);

    // every step with its time, and the window
    let report =
        tool("rs-journal").args(["report", "--run", "u-1-rehearsal-1", "--json"]).run().exits(0);
    let steps = report.record()["steps"].as_array().unwrap().clone();
    for number in (1..=38).filter(|n| *n != 24) {
        let label = format!("step {number:02}");
        let there = steps.iter().any(|step| {
            step["step"].as_str().unwrap().trim_end_matches(char::is_alphabetic) == label
                && step["ms"].as_u64().is_some_and(|ms| ms > 0)
        });
        assert!(there, "{label} has no time\n{report}");
    }
    for text in ["step          ms", "window: ", "as clients saw it", "way back: "] {
        assert!(ran.stdout.contains(text), "the report does not say {text:?}\n{ran}");
    }
    // on the new release, with the data of production
    let left = tool("rs-server").args(["list", "--all"]).run().exits(0).by_name();
    assert!(left.contains_key("App Server-3") && !left.contains_key("App Server-1"));
    let rows = |deployment: &str| {
        let master = site
            .tool("rs-server")
            .args(["list", "--role", "master", "--deployment", deployment])
            .run()
            .exits(0)
            .record();
        let home = master["current"]["home"].as_str().unwrap().to_owned();
        let query = "SELECT COUNT(*) FROM shop.orders WHERE number NOT LIKE 'p-%'";
        let ran = site
            .scene
            .call("mariadb", "mariadb")
            .args([format!("--defaults-file={home}/etc/admin.cnf"), "-NBe".into(), query.into()])
            .run()
            .exits(0);
        ran.stdout.trim().parse::<u64>().unwrap()
    };
    assert!(rows(CLONE) >= 200_000);
    // again: nothing is left to do; step 2 takes it
    let again = rehearse(&site, &[]).exits(0);
    assert!(!again.stderr.contains("changed "), "{again}");
    let _ = step("scripts/steps/02-staging.sh").exits(0);

    // down: declined without somebody who decides, then gone, with its times kept
    let _ = rehearse(&site, &["--down"]).exits(5);
    let _ = rehearse(&site, &["--down", "--yes"]).exits(0);
    let _ = tool("rs-server").args(["list", "--all"]).run().exits(4);
    let told = rehearse(&site, &["--report"]).exits(0);
    assert!(told.stdout.contains("window: "), "{told}");
    let _ = step("scripts/steps/02-staging.sh").exits(0);
    unchanged(&site, &before);
    assert!(backups(&site).is_superset(&kept), "backups of production are gone");
    let _ = site.tool("rs-cleanup").args(["audit"]).run().exits(0);
    // with no BACK_TIME the window counts the way back as it was rehearsed: nothing is begun that has no room for it
    let args = ["show", "--run", "u-1-rehearsal-1", "--subject", "way back"];
    let took = tool("rs-journal").args(args).run().exits(0).record()["ms"].as_u64().unwrap();
    let took =
        if took < 10_000 { format!("{took} ms") } else { format!("{} s", (took + 500) / 1000) };
    let conf = site.place.join("wanted.conf").display().to_string();
    let args = ["--conf", &conf, "--yes", "--only", "18", "--window", "1s"];
    let refused = site.call("scripts/upgrade.sh").args(args).run().exits(5);
    let refused = refused.says("step 18 cannot end inside the window of 1s");
    let _ = refused.says(&format!("coming back takes {took}"));
    // production itself never ends as a whole
    let ran = site.tool("rs-cleanup").args(["plan", "--whole"]).run().exits(5);
    let _ = ran.says("no clone");
}
