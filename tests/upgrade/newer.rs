//! The whole upgrade and the way back on MySQL 9 and HAProxy 3.

use std::collections::BTreeSet;

use rs_tests::Engines;

use super::site::Site;
use super::whole::{releases, upgrade_under_load};

fn orders(site: &Site, server: &str) -> BTreeSet<String> {
    site.sql(server, "SELECT number FROM shop.orders WHERE number NOT LIKE 'past-%'")
        .lines()
        .map(str::to_owned)
        .collect()
}

fn is_newer(site: &Site) {
    let version = site.sql("Master DB", "SELECT VERSION()");
    assert!(version.starts_with("9."), "the database is {version}");
    let says = site.scene.call("haproxy", "haproxy").args(["-v"]).run().exits(0).stdout;
    assert!(says.contains("version 3."), "{says}");
}

#[test]
#[cfg_attr(rs_no_engines, ignore = "run scripts/setup.sh engines mysql haproxy3")]
fn the_upgrade_under_load_loses_nothing_and_leaves_the_new_release() {
    let site = Site::up_on(Engines::Newer, "whole-newer", "");
    is_newer(&site);
    upgrade_under_load(&site);
}

#[test]
#[cfg_attr(rs_no_engines, ignore = "run scripts/setup.sh engines mysql haproxy3")]
fn after_the_page_is_down_the_warm_slave_brings_the_old_release_back_at_the_price_that_was_said() {
    let site = Site::up_on(Engines::Newer, "back-newer", "");
    is_newer(&site);
    // workers would write in their own time; what clients write is to be counted
    let conf = site.place.join("upgrade.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, format!("{text}WORKER_START=\n")).unwrap();
    let observer = site.observe();
    // from before the migration it is free, and the run begins again
    let _ = site.run("scripts/upgrade.sh", &["--until", "22"]).exits(0);
    let back = site.run("scripts/rollback.sh", &["--accept-loss", "0"]).exits(0);
    assert!(back.stderr.contains("going back is free"), "{back}");
    assert_eq!(releases(&site), ["1.0"], "{back}");
    let _ = site.tool("rs-cleanup").args(["audit", "--due", "window"]).run().exits(0);
    let _ = site.run("scripts/upgrade.sh", &["--until", "31"]).exits(0);
    assert_eq!(releases(&site), ["2.0"]);
    let back = site.run("scripts/rollback.sh", &[]).exits(0);
    let summary = observer.summary();
    assert_eq!(releases(&site), ["1.0"]);

    let (old, new) = (orders(&site, "Slave2 DB"), orders(&site, "Master DB"));
    let gone: BTreeSet<&String> = new.difference(&old).collect();
    let lost = summary["writes"]["lost"].as_u64().unwrap();
    assert!(lost > 0, "nobody wrote on the new release: there was nothing to lose\n{summary}");
    let clients = gone.iter().filter(|number| number.starts_with("probe-")).count() as u64;
    assert_eq!(clients, lost, "what clients were told and is gone\n{summary}\n{back}");
    assert_eq!(summary["classes"]["error"].as_u64().unwrap_or(0), 0, "{summary}\n{back}");
    // a transaction each: an order, a report; heartbeats are told apart. Nothing else was written since the migration
    let reports =
        |server| site.sql(server, "SELECT COUNT(*) FROM shop.reports").parse::<u64>().unwrap();
    let reports = reports("Master DB") - reports("Slave2 DB");
    let said = back.stderr.lines().find(|line| line.contains("nobody writes; the price: "));
    let said = said.unwrap_or_else(|| panic!("{back}"));
    let number = |words: Vec<&str>| words.iter().find_map(|word| word.parse::<u64>().ok());
    let users = said.split(" transaction").next().unwrap_or_default();
    let users = number(users.rsplit(' ').collect()).unwrap_or_else(|| panic!("{said}"));
    let tests = said.split("our tests: ").nth(1).unwrap_or("0");
    let tests = number(tests.split(|c: char| !c.is_ascii_digit()).collect()).unwrap_or_default();
    assert!(!said.contains("at most") && said.contains("heartbeats: "), "{said}");
    assert_eq!(users + tests, gone.len() as u64 + reports, "{said}\n{back}");
    assert!(users >= lost, "{said}");
    // and forth again: the migrated master was fenced with all that it had
    let undone = site.run("scripts/rollback.sh", &["--undo"]).exits(0);
    assert_eq!(releases(&site), ["2.0"], "{undone}");
    assert_eq!(orders(&site, "Master DB"), new, "{undone}");
    let _ = site.tool("rs-cleanup").args(["audit", "--due", "window"]).run().exits(0);
}
