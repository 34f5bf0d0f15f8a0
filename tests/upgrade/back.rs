//! The way back, from one step after the other: what the price said is what was lost, and all is as it was before.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rs_tests::until;

use super::interrupted::{At, kill_all, log};
use super::site::Site;
use super::whole::releases;

/// Backup schedules, the array, the deployment's inputs and who is silenced: what a way back has to put back.
fn standing(site: &Site) -> BTreeSet<String> {
    let records = |tool: &str, args: &[&str]| site.tool(tool).args(args).run().exits(0).records();
    let mut found = BTreeSet::new();
    for record in
        records("rs-snapshot", &["schedule", "status", "--role", "db", "--not-as", "warm"])
    {
        found.insert(format!("backups {} {}", record["name"], record["enabled"]));
    }
    for record in records("rs-server", &["list", "array-1"]) {
        found.insert(format!("array {} {}", record["name"], record["enabled"]));
    }
    for record in records("rs-inputs", &["show", "--deployment-level"]) {
        found.insert(format!("input {} {}", record["name"], record["value"]));
    }
    for record in records("rs-server", &["list", "--role", "app", "--as", "old", "--allow-none"]) {
        found.insert(format!("application {} {}", record["name"], record["state"]));
    }
    found
}

/// Orders of a user, through the balancers; each is a transaction.
fn order(site: &Site, numbers: &[&str]) {
    let lb = site.tool("rs-server").args(["list", "Load Balancer-1"]).run().exits(0).record();
    let url = format!("http://{}:8080/orders", lb["address"].as_str().unwrap());
    for number in numbers {
        let body = format!("{{\"number\":\"{number}\"}}");
        let head = "Content-Type: application/json";
        let args = ["-sf", "--max-time", "10", "-X", "POST", "-H", head, "-d", &body, &url];
        let _ = site.scene.call("curl", "curl").args(args).run().exits(0);
    }
}

fn orders(site: &Site, server: &str) -> String {
    site.sql(
        server,
        "SELECT GROUP_CONCAT(number ORDER BY number) FROM shop.orders WHERE number LIKE 'user-%'",
    )
}

/// A schema that somebody changes by hand behind the hold is seen: the held copy would replay it, and is promoted instead.
fn migrated_past_the_tools(site: &Site) {
    let alter = |what: &str| site.sql("Master DB", &format!("ALTER TABLE shop.orders {what}"));
    let _ = alter("ADD COLUMN by_hand INT");
    let dry = site.run("scripts/rollback.sh", &["--dry-run"]).exits(0);
    assert!(dry.stdout.contains("it counts as migrated"), "{dry}");
    assert!(dry.stdout.contains("the warm slave becomes the master"), "{dry}");
    let _ = alter("DROP COLUMN by_hand");
}

/// The command that settles a debt, as `audit` names it.
fn settle(site: &Site, key: &str) -> String {
    let owed = site.tool("rs-cleanup").args(["audit", "--json"]).run().records();
    let debt = owed.iter().find(|debt| debt["key"] == key).unwrap_or_else(|| panic!("{owed:?}"));
    debt["settle"].as_str().unwrap().to_owned()
}

/// Nothing that is named turns an array on over the schema of the other release.
fn the_array_is_retired_and_not_enabled(site: &Site, array: &str) {
    let plan = settle(site, &format!("array:{array}"));
    assert!(plan.starts_with("rs-cleanup plan ") && plan.contains("retire --plan"), "{plan}");
    let temp = settle(site, "temp:Load Balancer-3");
    assert!(temp.ends_with("rs-cleanup retire --plan plan --delete"), "{temp}");
}

fn audited(site: &Site) {
    let _ = site.tool("rs-cleanup").args(["audit", "--due", "window"]).run().exits(0);
    let _ = site.tool("rs-journal").args(["verify"]).run().exits(0);
}

#[test]
fn coming_back_before_and_in_the_dark_costs_no_user_anything_and_leaves_all_as_before() {
    let site = Site::up("back-early", "");
    // nothing was done yet, and nobody is marked as old
    let _ = site.run("scripts/upgrade.sh", &["--until", "3"]).exits(0);
    let back = site.run("scripts/rollback.sh", &[]).exits(0);
    assert!(back.stderr.contains("going back is free"), "{back}");
    let _ = site.run("scripts/upgrade.sh", &["--until", "4"]).exits(0);
    let before = standing(&site);
    order(&site, &["user-1"]);
    let steps = ["14", "16", "18", "19", "22"];
    for (step, number) in steps.iter().zip(["user-2", "user-3", "user-4", "user-5", "user-6"]) {
        let ran = site.run("scripts/upgrade.sh", &["--until", step]).exits(0);
        assert!(ran.stderr.contains("back from here: free"), "{step}: {ran}");
        if *step == "22" {
            migrated_past_the_tools(&site);
        }
        let back = site.run("scripts/rollback.sh", &["--accept-loss", "0"]).exits(0);
        assert!(back.stderr.contains("going back is free"), "{step}: {back}");
        assert_eq!(releases(&site), ["1.0"], "{step}: {back}");
        let now = standing(&site);
        let differs: Vec<_> = now.symmetric_difference(&before).collect();
        assert!(differs.is_empty(), "from {step}: {differs:#?}\n{back}");
        audited(&site);
        order(&site, &[number]);
    }
    let mine = "user-1,user-2,user-3,user-4,user-5,user-6";
    cut_off_in_the_migration_and_taken_back(&site, mine);
    // once more, this time through the migration: only that is lost
    let _ = site.run("scripts/upgrade.sh", &["--until", "26", "--again"]).exits(0);
    assert!(log(&site).contains("once it has begun: the migration"));
    assert_eq!(orders(&site, "Master DB"), mine);
    let back = site.run("scripts/rollback.sh", &["--accept-loss", "0"]).exits(0);
    assert!(back.stderr.contains("nothing but the migration would be lost"), "{back}");
    assert_eq!(releases(&site), ["1.0"], "{back}");
    assert_eq!(orders(&site, "Slave2 DB"), mine, "{back}");
    order(&site, &["user-7"]);
    audited(&site);

    // taken back: where it stood, the page up; and back once more, to what the old release had then
    let mark = |wanted| {
        let args = ["status", "--pool", "www", "--require", wanted];
        let _ = site.tool("rs-maintenance").args(args).run().exits(0);
    };
    taken_back_only_when_it_can_come_to_its_end(&site);
    mark("off");
    // the old release's workers and jobs have written too
    let undone = site.run("scripts/rollback.sh", &["--undo", "--accept-loss", "any"]).exits(0);
    assert!(undone.stderr.contains("of users since"), "{undone}");
    mark("on");
    assert_eq!(orders(&site, "Master DB"), mine, "{undone}");
    let back = site.run("scripts/rollback.sh", &["--accept-loss", "0"]).exits(0);
    mark("off");
    assert_eq!(releases(&site), ["1.0"], "{back}");
    assert_eq!(orders(&site, "Slave2 DB"), format!("{mine},user-7"), "{back}");
    audited(&site);
}

/// A new server that does not answer, and a fenced master that somebody changed: both are named before anything is touched.
fn taken_back_only_when_it_can_come_to_its_end(site: &Site) {
    let new = ["list", "--as", "new", "--role", "server", "--state", "operational"];
    let new = site.tool("rs-server").args(new).run().exits(0).records();
    let home = new[0]["current"]["home"].as_str().unwrap().to_owned();
    let away = format!("{home}.away");
    let acts = || site.tool("rs-journal").args(["show", "--json"]).run().exits(0).records().len();
    let before = acts();
    let odd = ["--undo", "--accept-loss", "any", "--override", "nonsense"];
    let _ =
        site.run("scripts/rollback.sh", &odd).exits(2).says("no condition is called \"nonsense\"");
    std::fs::rename(&home, &away).unwrap();
    let alter = |what: &str| {
        site.sql("Master DB", &format!("SET sql_log_bin=0; ALTER TABLE shop.orders {what}"))
    };
    let _ = alter("ADD COLUMN by_hand INT");
    let refused = site.run("scripts/rollback.sh", &["--undo", "--accept-loss", "any"]).exits(5);
    let _ = alter("DROP COLUMN by_hand");
    std::fs::rename(&away, &home).unwrap();
    refused
        .says("not begun, for the promotion of the migrated master;the new processes")
        .says("schema before the migration, application ready")
        .says("nothing was changed");
    assert_eq!(acts(), before, "it began an act");
    assert_eq!(releases(site), ["1.0"]);
}

/// A slave of the master that the records do not know: said before the page is up, and nobody is kept in the dark for it.
fn gone_back_only_when_it_can_come_to_its_end(site: &Site) {
    let acts = || site.tool("rs-journal").args(["show", "--json"]).run().exits(0).records().len();
    let before = acts();
    let id = site.sql("Slave DB", "SELECT @@global.server_id");
    let _ = site.sql("Slave DB", "SET GLOBAL server_id = 4711");
    let declined = site.run("scripts/rollback.sh", &["--accept-loss", "any"]);
    let _ = site.sql("Slave DB", &format!("SET GLOBAL server_id = {id}"));
    let declined = declined
        .exits(5)
        .says("not begun, for the promotion of the warm slave; nothing was changed")
        .says("the promotion may not be: other slaves declared");
    assert_eq!(acts(), before, "it began an act: {declined}");
    assert_eq!(releases(site), ["2.0"], "{declined}");
}

/// The run is killed in the middle of its migration, comes back, and takes that back: the master is half then, as it was, and
/// either release is a way on.
fn cut_off_in_the_migration_and_taken_back(site: &Site, orders_then: &str) {
    let schema = || {
        let status = ["status", "--role", "db", "--json"];
        let records = site.tool("rs-dbsync").args(status).run().exits(0).by_name();
        records["Master DB"]["schema_state"].as_str().unwrap_or_default().to_owned()
    };
    let conf = site.place.join("upgrade.conf").display().to_string();
    let args = ["--conf", &conf, "--yes", "--until", "26"];
    let mut run = site.call("scripts/upgrade.sh").args(args).start();
    until("the migration to be half", Duration::from_secs(300), || {
        assert!(run.try_wait().unwrap().is_none(), "it ended: {}", log(site));
        At::Migration.reached(site) && schema() == "half"
    });
    kill_all(site);
    run.wait().unwrap();
    assert_eq!(schema(), "half");

    let back = site.run("scripts/rollback.sh", &["--accept-loss", "any"]).exits(0);
    assert_eq!(releases(site), ["1.0"], "{back}");
    assert_eq!(orders(site, "Slave2 DB"), orders_then, "{back}");
    let _ = site.tool("rs-cleanup").args(["audit", "--due", "window"]).run().exits(0);
    let undone = site.run("scripts/rollback.sh", &["--undo", "--accept-loss", "any"]).exits(0);
    let undone = undone.says("its migration is half").says("upgrade.sh, with --again");
    assert_eq!(schema(), "half", "{undone}");
    let page = ["status", "--pool", "www", "--require", "on"];
    let _ = site.tool("rs-maintenance").args(page).run().exits(0);
    // nobody runs it again unasked
    let _ = site.run("scripts/upgrade.sh", &["--until", "26"]).exits(5).says("--again");
    // whoever may write meanwhile does, and is none of those for whom the way back is kept
    let _ = site.sql("Master DB", "UPDATE heartbeat.beat SET beats = beats + 1");
}

#[test]
fn what_the_price_said_is_what_was_lost_and_more_than_accepted_is_declined() {
    let site = Site::up("back-price", "");
    // workers write too; here only those that a user sent count
    let conf = site.place.join("upgrade.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, format!("{text}WORKER_START=\n")).unwrap();
    let _ = site.run("scripts/upgrade.sh", &["--until", "4"]).exits(0);
    let before = standing(&site);
    order(&site, &["user-1"]);
    // the inputs of the deployment are the new ones, the old servers are still there
    let _ = site.run("scripts/upgrade.sh", &["--until", "31"]).exits(0);
    order(&site, &["user-2", "user-3", "user-4"]);
    let ran = site.run("scripts/upgrade.sh", &["--until", "36"]).exits(0);
    let upgraded = standing(&site);
    assert!(ran.stderr.contains("3 transactions of users since"), "{ran}");
    the_array_is_retired_and_not_enabled(&site, "array-1");
    gone_back_only_when_it_can_come_to_its_end(&site);

    // a way back that was cut off before its promotion: forward is no way on from there
    let mark = |what: &str| site.tool("rs-journal").args(["mark", what]).run().exits(0);
    let _ = mark("step back");
    let _ = site
        .run("scripts/upgrade.sh", &[])
        .exits(5)
        .says("was cut off")
        .says("rollback.sh goes on");
    given_up(&site);
    let now = standing(&site);
    let differs: Vec<_> = now.symmetric_difference(&upgraded).collect();
    assert!(differs.is_empty(), "{differs:#?}");

    // declined: all is as it was found, and one can go on in either direction; what somebody asked of the site meanwhile
    // is no verdict on it
    // one that was cut off in a promotion that fenced nobody has paid nothing, and left a page and a silence that are its own
    let _ = mark("step back");
    dark_and_silent(&site);
    new_ones_stop(&site);
    promotion_is_cut_off(&site, "Slave2 DB");
    let other = ["site", "--pool", "www", "--each-member", "--expect-release", "1.0"];
    let _ = site.tool("rs-check").args(other).run().exits(3);
    let declined = site.run("scripts/rollback.sh", &["--accept-loss", "2"]).exits(5);
    let declined = declined.says("3 transactions of users would be lost, 2 accepted");
    assert_eq!(releases(&site), ["2.0"], "{declined}");
    order(&site, &["user-5"]);
    let args = ["writes", "status", "--role", "master"];
    assert_eq!(site.tool("rs-dbsync").args(args).run().exits(0).record()["off"], false);
    let on = site.run("scripts/upgrade.sh", &["--until", "36"]).exits(0);
    assert!(!on.stderr.contains("back from here"), "no step was to be done again: {on}");

    turned_round_when_the_old_release_does_not_come_up(&site);
    let back = site.run("scripts/rollback.sh", &["--accept-loss", "4"]).exits(0);
    assert!(back.stderr.contains("4 transactions of users since"), "{back}");
    assert_eq!(releases(&site), ["1.0"], "{back}");
    assert_eq!(orders(&site, "Slave2 DB"), "user-1", "what the price said is what was lost");
    // the other side is kept, with all that users wrote
    assert_eq!(orders(&site, "Master DB"), "user-1,user-2,user-3,user-4,user-5");
    order(&site, &["user-6"]);
    let kept = |all: BTreeSet<String>| -> BTreeSet<String> {
        all.into_iter().filter(|line| !line.starts_with("backups")).collect()
    };
    let (was, now) = (kept(before), kept(standing(&site)));
    let differs: Vec<_> = now.symmetric_difference(&was).collect();
    assert!(differs.is_empty(), "{differs:#?}\n{back}");
    audited(&site);

    the_array_is_retired_and_not_enabled(&site, "array-2");
    // nothing goes on from there by mistake; what users wrote since is the price of taking it back
    let _ = site.run("scripts/upgrade.sh", &[]).exits(5).says("rollback.sh --undo takes that back");
    let declined = site.run("scripts/rollback.sh", &["--undo", "--accept-loss", "0"]).exits(5);
    let declined = declined.says("1 transaction of users would be lost, 0 accepted");
    assert_eq!(releases(&site), ["1.0"], "{declined}");
    let undone = site.run("scripts/rollback.sh", &["--undo", "--accept-loss", "1"]).exits(0);
    assert!(undone.stderr.contains("1 transaction of users since"), "{undone}");
    turned_round_when_the_new_release_does_not_come_up(&site);
    assert_eq!(releases(&site), ["2.0"], "{undone}");
    assert_eq!(orders(&site, "Master DB"), "user-1,user-2,user-3,user-4,user-5", "{undone}");
    assert_eq!(orders(&site, "Slave2 DB"), "user-1,user-6", "the other side is kept\n{undone}");
    let now = standing(&site);
    let differs: Vec<_> = now.symmetric_difference(&upgraded).collect();
    assert!(differs.is_empty(), "{differs:#?}\n{undone}");
    page_was_up_while_the_master_changed(&site);
    audited(&site);
    order(&site, &["user-7"]);
    // the run goes on to its end, and then there is nothing to go to any more
    let _ = site.run("scripts/upgrade.sh", &[]).exits(0);
    assert_eq!(orders(&site, "Master DB"), "user-1,user-2,user-3,user-4,user-5,user-7");
    let _ = site.run("scripts/rollback.sh", &["--undo"]).exits(5).says("was not rolled back");
}

fn dark_and_silent(site: &Site) {
    let maintenance = ["start", "--pool", "www"];
    let _ = site.tool("rs-maintenance").args(maintenance).run().exits(0);
    let _ = site.tool("rs-dbsync").args(["writes", "off", "--role", "master"]).run().exits(0);
}

fn new_ones_stop(site: &Site) {
    let stop = ["app stop", "--stay", "--as", "new", "--role", "server"];
    let _ = site.tool("rs-run").args(stop).run().exits(0);
}

/// Behind the fence and before anything else: the backup of what is abandoned fails.
fn promotion_is_cut_off(site: &Site, candidate: &str) {
    let allow = |mode| {
        for lineage in std::fs::read_dir(site.place.join("backups")).unwrap() {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(lineage.unwrap().path(), mode).unwrap();
        }
    };
    allow(0o500);
    let promote = [
        ["promote", candidate, "--lose-writes", "--override", "backups off"],
        ["--override", "application sessions gone", "--override", "application ready", "--json"],
    ];
    let cut = site.tool("rs-dbsync").args(promote.concat()).run();
    allow(0o700);
    assert_eq!(cut.exit, 1, "{cut}");
}

/// A way back that was cut off before it promoted anything is given up: the new release serves again, and nothing is lost.
fn given_up(site: &Site) {
    dark_and_silent(site);
    new_ones_stop(site);
    let mine = orders(site, "Master DB");
    let forth = site.run("scripts/rollback.sh", &["--undo"]).exits(0);
    let forth = forth.says("promoted nothing yet: the migrated master stays the master");
    assert_eq!(releases(site), ["2.0"], "{forth}");
    assert_eq!(orders(site, "Master DB"), mine, "{forth}");
    let page = ["status", "--pool", "www", "--require", "off"];
    let _ = site.tool("rs-maintenance").args(page).run().exits(0);
    let writes = ["writes", "status", "--role", "master"];
    assert_eq!(site.tool("rs-dbsync").args(writes).run().exits(0).record()["off"], false);
    let _ =
        site.tool("rs-dbsync").args(["status", "--as", "warm", "--require", "held"]).run().exits(0);
    audited(site);
}

/// Somebody else on the port of an application: it cannot start.
fn in_the_place_of(site: &Site, server: &str) -> TcpListener {
    let record = site.tool("rs-server").args(["list", server]).run().exits(0).record();
    let place = format!("{}:8000", record["address"].as_str().unwrap());
    // the one that is stopped may still be ending
    let mut taken = None;
    until("the port to be free", Duration::from_secs(30), || {
        taken = TcpListener::bind(&place).ok();
        taken.is_some()
    });
    taken.unwrap()
}

/// The slave is the master already, and the way back cannot end: the migrated master is still the way forth.
fn turned_round_when_the_old_release_does_not_come_up(site: &Site) {
    let taken = in_the_place_of(site, "App Server-1");
    let stuck = site.run("scripts/rollback.sh", &["--accept-loss", "any"]).exits(8);
    let stuck = stuck.says("stopped at: old processes start").says("forth again:");
    let _ = site.run("scripts/upgrade.sh", &[]).exits(5).says("rollback.sh --undo takes that back");
    let forth = site.run("scripts/rollback.sh", &["--undo", "--accept-loss", "0"]).exits(0);
    assert_eq!(releases(site), ["2.0"], "{stuck}\n{forth}");
    let mine = orders(site, "Master DB");
    assert_eq!(mine, "user-1,user-2,user-3,user-4,user-5", "{stuck}\n{forth}");
    audited(site);
    drop(taken);
}

/// And the other way round, from a state in which the run stands forth.
fn turned_round_when_the_new_release_does_not_come_up(site: &Site) {
    let _ = site.run("scripts/rollback.sh", &["--accept-loss", "any"]).exits(0);
    // that it is taken back is cut off before its promotion: the warm slave is the master still, and serves again
    let _ = site.tool("rs-journal").args(["mark", "undo"]).run().exits(0);
    dark_and_silent(site);
    promotion_is_cut_off(site, "Master DB");
    let back = site.run("scripts/rollback.sh", &["--accept-loss", "any"]).exits(0);
    assert_eq!(releases(site), ["1.0"], "{back}");
    audited(site);
    let taken = in_the_place_of(site, "App Server-3");
    let stuck = site.run("scripts/rollback.sh", &["--undo", "--accept-loss", "any"]).exits(1);
    let stuck = stuck.says("step 29f again").says("back again:");
    let back = site.run("scripts/rollback.sh", &["--accept-loss", "any"]).exits(0);
    assert_eq!(releases(site), ["1.0"], "{stuck}\n{back}");
    audited(site);
    drop(taken);
    let forth = site.run("scripts/rollback.sh", &["--undo", "--accept-loss", "any"]).exits(0);
    assert_eq!(releases(site), ["2.0"], "{forth}");
}

/// The newest promotion lies between a page that came up and one that went down, both done.
fn page_was_up_while_the_master_changed(site: &Site) {
    let acts = site.tool("rs-journal").args(["show", "--run", "u-1"]).run().exits(0).records();
    let newest = |tool: &str, verb: &str| {
        let is = |act: &&serde_json::Value| act["tool"] == tool && act["verb"] == verb;
        let act = acts.iter().rev().find(is).unwrap_or_else(|| panic!("no {tool} {verb}"));
        assert_eq!(act["outcome"], "done", "{act}");
        act["seq"].as_u64().unwrap()
    };
    let (up, down) = (newest("rs-maintenance", "start"), newest("rs-maintenance", "stop"));
    let promoted = newest("rs-dbsync", "promote");
    assert!(up < promoted && promoted < down, "{up} {promoted} {down}");
}
