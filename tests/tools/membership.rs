//! rs-lbctl where somebody else changes the pool too, and where a balancer is dead.

use std::io::{Read, Write};
use std::process::Output;
use std::time::Duration;

use rs_tests::{Engines, each_engine, until};
use serde_json::Value as Json;

use super::pool::{NAMES, Site};

each_engine!(
    a_plan_is_carried_out_on_nothing_else_than_it_was_made_from,
    the_last_member_that_is_up_stays_though_others_are_told_to_be_ready,
    one_dead_balancer_of_three_leaves_the_others_alone_or_is_owed,
);

/// One command of HAProxy's runtime, by somebody else's hand.
fn told(home: &str, command: &str) -> String {
    let socket = format!("{home}/run/haproxy.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// `connect --only` of the second application, which answers only after `meddle` was called.
fn switch_while(site: &Site, meddle: impl FnOnce()) -> Output {
    site.apps[1].healthy(false);
    let asked = site.apps[1].asked();
    let args = ["connect", "--pool", "www", "--only", NAMES[1], "--answer-within", "60s"];
    let child = site.lbctl(&args).start();
    // by then it has read the pool and made its plan
    until("it to ask the application", Duration::from_secs(60), || site.apps[1].asked() > asked);
    meddle();
    site.apps[1].healthy(true);
    child.wait_with_output().unwrap()
}

fn a_plan_is_carried_out_on_nothing_else_than_it_was_made_from(engines: Engines) {
    let site = Site::on(engines, "planned-on", 2);
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0], NAMES[2]]).run().exits(0);
    let home = site.balancers().remove(1).1;
    let said = |out: &Output| String::from_utf8_lossy(&out.stderr).into_owned();

    let out = switch_while(&site, || {
        assert_eq!(told(&home, "set server www/App-Server-1 state maint").trim(), "");
    });
    assert_eq!(out.status.code(), Some(5), "{}", said(&out));
    for word in ["Load Balancer-2", "App Server-1", "was ready and is in maint"] {
        assert!(said(&out).contains(word), "{word} is not in {}", said(&out));
    }
    assert!(out.stdout.is_empty());
    let servers: Vec<String> = site.members().into_iter().map(|(_, server, _)| server).collect();
    assert!(!servers.contains(&NAMES[1].to_owned()), "nothing was connected: {servers:?}");
    assert_eq!(told(&home, "set server www/App-Server-1 state ready").trim(), "");

    let config = format!("{home}/etc/haproxy.cfg");
    let before = std::fs::read_to_string(&config).unwrap();
    let out = switch_while(&site, || {
        std::fs::write(&config, format!("{before}# by configuration management\n")).unwrap();
    });
    assert_eq!(out.status.code(), Some(5), "{}", said(&out));
    assert!(said(&out).contains("the configuration had the digest"), "{}", said(&out));
    assert!(!site.members().iter().any(|(_, server, _)| server == NAMES[1]));

    // health and requests come and go by themselves
    let out = switch_while(&site, || {
        site.get(&site.balancers()[0].0, "/");
    });
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let expected =
        [1, 2].map(|n| (format!("Load Balancer-{n}"), NAMES[1].to_owned(), "ready".to_owned()));
    assert_eq!(site.members(), expected);
}

fn the_last_member_that_is_up_stays_though_others_are_told_to_be_ready(engines: Engines) {
    let site = Site::on(engines, "last-up", 2);
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0], NAMES[1]]).run().exits(0);
    site.apps[0].healthy(false);
    until("the balancers to see it down", Duration::from_secs(30), || {
        let ran = site.lbctl(&["status", "--pool", "www"]).run().exits(0);
        let down = |r: &&Json| r["status"].as_str().is_some_and(|s| s.starts_with("DOWN"));
        ran.records().iter().filter(down).count() == 2
    });
    let before = site.members();
    for verb in ["drain", "disconnect"] {
        site.lbctl(&[verb, "--pool", "www", NAMES[1]]).run().exits(5).says("--allow-empty");
        assert_eq!(site.members(), before, "{verb}");
    }
    // the one that is down may go, and the last one when somebody says so
    let _ = site.lbctl(&["disconnect", "--pool", "www", NAMES[0]]).run().exits(0);
    let _ = site.lbctl(&["drain", "--pool", "www", NAMES[1], "--allow-empty"]).run().exits(0);
}

fn one_dead_balancer_of_three_leaves_the_others_alone_or_is_owed(engines: Engines) {
    let site = Site::on(engines, "three", 3);
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let script = |words: [&str; 2]| {
        let _ = site.scene.tool("rs-run").args(words).run().exits(0);
    };
    script(["balancer stop", "Load Balancer-3"]);
    let configs = || -> Vec<String> {
        let homes = site.balancers().into_iter().map(|(_, home)| home);
        homes
            .map(|home| std::fs::read_to_string(format!("{home}/etc/haproxy.cfg")).unwrap())
            .collect()
    };
    let before = configs();
    site.lbctl(&["connect", "--pool", "www", NAMES[2]])
        .run()
        .exits(7)
        .says("Load Balancer-3")
        .says("--offline");
    assert_eq!(configs(), before, "the living ones are as they were");
    assert!(site.debts().is_empty());

    let offline = |args: &[&str]| site.lbctl(args).args(["--offline", "Load Balancer-3"]);
    let only = ["connect", "--pool", "www", "--only", NAMES[2]];
    site.lbctl(&only).args(["--offline", "Load Balancer-1"]).run().exits(5).says("answers");
    site.lbctl(&only).args(["--offline", "nobody"]).run().exits(4).says("Load Balancer-2");
    let _ = offline(&only).run().exits(0);
    let key = "offline:www/Load Balancer-3/App Server-3";
    assert_eq!(site.debts(), [key]);
    // a second one who finds it so does not settle it, and it is told with what settles it
    let _ = offline(&only).run().exits(0);
    assert_eq!(site.debts(), [key]);
    let ran = site.scene.tool("rs-cleanup").args(["audit"]).run().exits(3);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("Load Balancer-3 was offline"), "{ran}");
    assert!(
        told.contains(
            "rs-lbctl connect --pool www --deployment production --only -- 'App Server-3'"
        ),
        "{ran}"
    );

    // it comes back with the old pool: owed, until what the debt says was done
    script(["balancer start", "Load Balancer-3"]);
    assert_eq!(site.debts(), [key]);
    let third = |members: &[(String, String, String)]| -> Vec<String> {
        let its = members.iter().filter(|(lb, _, _)| lb == "Load Balancer-3");
        its.map(|(_, server, _)| server.clone()).collect()
    };
    assert_eq!(third(&site.members()), [NAMES[0]]);
    let _ = site.lbctl(&["connect", "--pool", "www", "--only", "--", NAMES[2]]).run().exits(0);
    assert_eq!(third(&site.members()), [NAMES[2]]);
    assert!(site.debts().is_empty());

    // disconnect and drain owe it as well
    script(["balancer stop", "Load Balancer-3"]);
    let _ = offline(&["disconnect", "--pool", "www", NAMES[2], "--allow-empty"]).run().exits(0);
    assert_eq!(site.debts(), [key]);
    script(["balancer start", "Load Balancer-3"]);
    let _ = site.lbctl(&["disconnect", "--pool", "www", NAMES[2], "--allow-empty"]).run().exits(0);
    assert!(site.debts().is_empty() && site.members().is_empty());
}
