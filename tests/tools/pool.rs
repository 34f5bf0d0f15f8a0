//! rs-lbctl and rs-maintenance as black boxes, on balancers that our own templates launch.

use std::time::Duration;

use rs_drivers::http::Probe;
use rs_tests::{App, Call, Engines, Scene, root, until};
use serde_json::Value as Json;

/// Two launched balancers of the pool `www`, and applications that run already.
pub(super) struct Site {
    pub scene: Scene,
    pub apps: Vec<App>,
}

pub(super) const NAMES: [&str; 3] = ["App Server-1", "App $(touch owned);\"2\"", "App Server-3"];

impl Site {
    pub fn new(name: &str) -> Site {
        Site::on(Engines::Host, name, 2)
    }

    /// With that many balancers, on that HAProxy.
    pub fn on(engines: Engines, name: &str, balancers: usize) -> Site {
        let scene = Scene::on(engines, name);
        scene.credential("LB_BYPASS", "open-sesame-7");
        let apps: Vec<App> = NAMES.iter().map(|name| scene.app(name)).collect();
        let servers: String = NAMES
            .iter()
            .zip(&apps)
            .map(|(name, app)| {
                format!(
                    "  - Name: '{name}'\n    Address: {}\n    Tags: [\"rs_upgrade:u-1=new\"]\n",
                    app.address
                )
            })
            .collect();
        let lbs: String = (1..=balancers)
            .map(|n| {
                format!(
                    "  - Name: Load Balancer-{n}\n    Template: {{t}}\n    \
                     Tags: [\"load_balancer:active_www=true\"]\n"
                )
            })
            .collect();
        let template = root().join("scripts/templates/load-balancer.yml").canonicalize().unwrap();
        let path = scene.search_path();
        let text = format!(
            "Deployment: production\nMachines:\n  Local:\n    Root: machines\n    Addresses: {net}.128/25\n    Path: {path}:/usr/sbin:/sbin\n    User: nobody\n\
             Inputs:\n  LB_APPLISTENER_NAME: text:www\n  LB_HOSTNAME: text:www.mysite.com\n  LB_BYPASS_SECRET: cred:LB_BYPASS\n  HEALTH_CHECK_URI: text:/health\n\
             Templates:\n  - {t}\nServers:\n{lbs}{servers}",
            net = scene.net,
            t = template.display(),
            lbs = lbs.replace("{t}", &template.display().to_string()),
        );
        let file = scene.file("site.yml", &text);
        let _ = scene.tool("rs-server").args(["apply", &file]).run().exits(0);
        let _ = scene.tool("rs-server").args(["launch", "--role", "lb"]).run().exits(0);
        Site { scene, apps }
    }

    pub fn lbctl(&self, args: &[&str]) -> Call {
        self.scene.tool("rs-lbctl").args(args)
    }

    pub fn page(&self, args: &[&str]) -> Call {
        self.scene.tool("rs-maintenance").args(args)
    }

    pub fn balancers(&self) -> Vec<(String, String)> {
        let list = self.scene.tool("rs-server").args(["list", "--role", "lb"]).run().exits(0);
        let text = |record: &Json, key: &str| record[key].as_str().unwrap_or_default().to_owned();
        list.records().iter().map(|r| (text(r, "address"), text(&r["current"], "home"))).collect()
    }

    /// What a client gets at a balancer.
    pub fn get(&self, address: &str, path: &str) -> (u16, String) {
        let probe = Probe::new(format!("{address}:8080").parse().unwrap(), "www.mysite.com", path);
        let answer = probe.send().unwrap();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }

    pub fn members(&self) -> Vec<(String, String, String)> {
        let ran = self.lbctl(&["status", "--pool", "www", "--allow-none"]).run().exits(0);
        let text = |record: &Json, key: &str| record[key].as_str().unwrap_or("?").to_owned();
        let mut found: Vec<_> = ran
            .records()
            .iter()
            .map(|r| (text(r, "balancer"), text(r, "server"), text(r, "admin")))
            .collect();
        found.sort();
        found
    }

    pub fn debts(&self) -> Vec<String> {
        let ran = self.scene.tool("rs-cleanup").args(["audit", "--json"]).run();
        let key = |r: &Json| r["key"].as_str().unwrap_or_default().to_owned();
        ran.records().iter().map(key).collect()
    }
}

#[test]
fn a_pool_is_connected_switched_and_emptied_on_every_balancer_at_once() {
    let site = Site::new("pool");
    assert!(site.members().is_empty());
    site.lbctl(&["status", "--pool", "www"]).run().exits(4).says("no member");
    let planned =
        site.lbctl(&["connect", "--pool", "www", NAMES[0], "--dry-run"]).run().exits(0).record();
    assert_eq!(planned["planned"], true);
    assert!(site.members().is_empty(), "a dry run changes nothing");

    let ran = site.lbctl(&["connect", "--pool", "www", NAMES[0], NAMES[1]]).run().exits(0);
    let records = ran.records();
    assert_eq!(records.len(), 2, "{ran}");
    for record in &records {
        assert_eq!(record["schema"], "rs.server/1");
        assert_eq!(record["members"].as_array().map(Vec::len), Some(2), "{ran}");
        assert_eq!(record["did"][0]["changed"], true, "{ran}");
        assert!(record["tags"].to_string().contains("application:active_www=true"), "{ran}");
    }
    assert_eq!(site.members().len(), 4);
    assert!(!site.scene.path("owned").exists());
    let again = site.lbctl(&["connect", "--pool", "www", NAMES[0], NAMES[1]]).run().exits(0);
    assert!(again.records().iter().all(|r| r["did"][0]["changed"] == false), "{again}");
    assert!(again.records().iter().all(|r| r["members"].as_array().map(Vec::len) == Some(2)));
    let _ = site.lbctl(&["status", "--pool", "www", "--require", "up=2"]).run().exits(0);
    site.lbctl(&["status", "--pool", "www", "--require", "up=3"])
        .run()
        .exits(3)
        .says("2 of at least 3");

    // standby, then exactly the new ones
    let _ = site.lbctl(&["connect", "--pool", "www", "--standby", NAMES[2]]).run().exits(0);
    assert_eq!(site.debts(), ["standby:www/App Server-3"]);
    for (address, _) in site.balancers() {
        for _ in 0..6 {
            assert_ne!(site.get(&address, "/").1, NAMES[2], "standby gets nothing");
        }
    }
    site.apps[2].release("2.0");
    site.lbctl(&["connect", "--pool", "www", "--only", NAMES[2], "--expect-release", "3.0"])
        .run()
        .exits(5)
        .says("it says \"2.0\"");
    assert_eq!(site.members().len(), 6, "nothing was changed");
    let list = site.scene.tool("rs-server").args(["list", NAMES[2]]).run().exits(0);
    let only = site
        .lbctl(&["connect", "--pool", "www", "--only", "--expect-release", "2.0"])
        .stdin(list.stdout)
        .run()
        .exits(0);
    assert_eq!(only.records().len(), 1);
    let expected =
        [1, 2].map(|n| (format!("Load Balancer-{n}"), NAMES[2].to_owned(), "ready".to_owned()));
    assert_eq!(site.members(), expected);
    assert!(site.debts().is_empty());
    // also of those that are members already
    for (release, exit) in [("9.9", 5), ("2.0", 0)] {
        let args = ["connect", "--pool", "www", "--only", NAMES[2], "--answer-within", "100ms"];
        let ran = site.lbctl(&args).args(["--expect-release", release]).run().exits(exit);
        if exit == 5 {
            let ran = ran.says(NAMES[2]).says("it says \"2.0\"");
            assert!(ran.stdout.is_empty(), "{ran}");
        }
        assert_eq!(site.members(), expected);
    }
    for (address, _) in site.balancers() {
        assert_eq!(site.get(&address, "/"), (200, NAMES[2].to_owned()));
    }
    // it outlasts a reload, which the tools never do themselves
    for (_, home) in site.balancers() {
        let text = std::fs::read_to_string(format!("{home}/etc/haproxy.cfg")).unwrap();
        assert_eq!(text.matches("\n  server ").count(), 1, "{text}");
    }

    // clients come through it: it ends as little as what is in its pool
    let cleanup = |args: &[&str]| site.scene.tool("rs-cleanup").args(args).run();
    let plan = cleanup(&["plan", "--role", "lb"]).exits(0);
    let file = site.scene.file("plan.json", &plan.stdout);
    let refused = cleanup(&["retire", "--plan", &file]).exits(5);
    refused.says("server Load Balancer-2: it balances the pool \"www\": 1 members are ready there");
    site.lbctl(&["disconnect", "--pool", "www", NAMES[2]]).run().exits(5).says("--allow-empty");
    assert_eq!(site.members(), expected);
    let _ = site.lbctl(&["disconnect", "--pool", "www", NAMES[2], "--allow-empty"]).run().exits(0);
    assert!(site.members().is_empty());
    let twice = site.lbctl(&["disconnect", "--pool", "www", NAMES[2]]).run().exits(0).record();
    assert_eq!(twice["did"][0]["changed"], false);
    an_array_says_what_its_instances_are(&site);
    a_balancer_that_does_not_say_what_it_carries_ends_by_name_only(&site);
}

fn a_balancer_that_does_not_say_what_it_carries_ends_by_name_only(site: &Site) {
    let (_, home) = site.balancers().remove(1);
    for socket in ["haproxy.sock", "master.sock"] {
        let path = std::path::Path::new(&home).join("run").join(socket);
        if path.exists() {
            std::fs::rename(&path, path.with_extension("away")).unwrap();
        }
    }
    let cleanup = |args: &[&str]| site.scene.tool("rs-cleanup").args(args).run();
    let accept = ["--accept", "balances", "--accept", "sessions"];
    let plan = |more: &[&str]| {
        let ran = cleanup(&[&["plan", "Load Balancer-2"], &accept[..], more].concat()).exits(0);
        (ran.record()["entries"][0]["forbidden"].clone(), site.scene.file("plan.json", &ran.stdout))
    };
    let (forbidden, file) = plan(&[]);
    let why = "it could not be asked what it carries, and its machine runs: ";
    assert!(forbidden.to_string().contains(why), "{forbidden}");
    cleanup(&["retire", "--plan", &file]).exits(5).says(why).says("--accept unanswered");
    // its process is gone, and its sockets are not: that is no silence
    for socket in ["haproxy.sock", "master.sock"] {
        let path = std::path::Path::new(&home).join("run").join(socket);
        if path.with_extension("away").exists() {
            std::fs::rename(path.with_extension("away"), &path).unwrap();
        }
    }
    let pids = std::fs::read_to_string(format!("{home}/svc/haproxy/pid")).unwrap();
    let group = format!("-{}", pids.split_whitespace().next().unwrap());
    let signal = |which: &str| {
        let _ = site.scene.call("kill", "kill").args([which, "--", &group]).run().exits(0);
    };
    signal("-STOP");
    assert!(
        plan(&["--timeout", "20s"]).0.to_string().contains(why),
        "a frozen one may carry something"
    );
    signal("-KILL");
    until("a balancer that is gone to carry nothing", Duration::from_secs(30), || {
        plan(&[]).0 == serde_json::json!([])
    });
    for socket in ["haproxy.sock", "master.sock"] {
        let _ = std::fs::remove_file(std::path::Path::new(&home).join("run").join(socket));
    }
    let (forbidden, file) = plan(&["--accept", "unanswered"]);
    assert_eq!(forbidden, serde_json::json!([]));
    let _ = cleanup(&["retire", "--plan", &file]).exits(0);
    // its machine is ended: it carries nothing
    assert_eq!(plan(&[]).0, serde_json::json!([]));
}

/// What an array launches later is in the pool by its tags, as those are that it has.
fn an_array_says_what_its_instances_are(site: &Site) {
    site.scene.file("say.sh", "# ---\n# RightScript Name: say\n# Inputs: {}\n# ...\n");
    site.scene.file("small.yml", "Name: Small\nRightScripts: {Boot: [say.sh]}\n");
    let more = site.scene.file(
        "more.yml",
        "Deployment: production\nTemplates: [small.yml]\nArrays:\n  \
         - {Name: pack, Template: Small, Minimum: 0, Maximum: 3}\n",
    );
    let rs = |args: &[&str]| site.scene.tool("rs-server").args(args).run().exits(0);
    rs(&["apply", &more]);
    rs(&["launch", "pack", "--to", "2"]);
    let tags = |name: &str| rs(&["list", "--all"]).by_name()[name]["tags"].to_string();
    let is = "application:active_www=true";
    let connect = |args: &[&str]| {
        let call = site.lbctl(&["connect", "--pool", "www", "--no-probe"]).args(args);
        call.run().exits(0).records().remove(0)
    };
    let pack = ["pack #1", "pack #2"];
    site.lbctl(&["connect", "--pool", "www", "--standby", pack[0]]).run().exits(0);
    connect(&[pack[0], "--dry-run"]);
    assert!(!tags("pack").contains(is), "nothing of it gets traffic: {}", tags("pack"));
    connect(&[pack[0], NAMES[0]]);
    assert!(tags("pack").contains(is), "{}", tags("pack"));
    connect(&[pack[1]]);
    rs(&["launch", "pack", "--to", "3"]);
    let listed = rs(&["list", "--role", "app", "--pool", "www", "--array", "pack"]).records();
    assert_eq!(listed.len(), 3, "what it launched since is one too: {listed:?}");
    // as long as one of them is in it
    let _ = site.lbctl(&["disconnect", "--pool", "www", pack[1]]).run().exits(0);
    assert!(tags("pack").contains(is) && !tags(pack[1]).contains(is));
    connect(&["--only", NAMES[0], "--dry-run"]);
    assert!(tags("pack").contains(is), "a dry run changes nothing");
    connect(&["--only", NAMES[0]]);
    for name in ["pack", pack[0], "pack #3"] {
        assert!(tags(name).contains("application:active_www=false"), "{name}: {}", tags(name));
        assert!(!tags(name).contains(is), "{name}: {}", tags(name));
    }
    let before = rs(&["list", "--all"]).stdout;
    assert_eq!(connect(&["--only", NAMES[0]])["did"][0]["changed"], false);
    assert_eq!(rs(&["list", "--all"]).stdout, before);
    connect(&["--only", pack[0], pack[1]]);
    assert!(tags("pack").contains(is), "and back");
    let out = ["disconnect", "--pool", "www", "--allow-empty", pack[0], pack[1]];
    let _ = site.lbctl(&out).run().exits(0);
    assert!(!tags("pack").contains(is), "{}", tags("pack"));
}

#[test]
fn a_dead_application_and_a_dead_balancer_leave_every_balancer_as_it_was() {
    let site = Site::new("all-or-none");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let before = site.members();
    site.apps[1].healthy(false);
    site.lbctl(&["connect", "--pool", "www", NAMES[1], NAMES[2], "--wait", "1s"])
        .run()
        .exits(5)
        .says("answers 500")
        .says("nothing was changed");
    assert_eq!(site.members(), before);
    site.lbctl(&["status", "--pool", "nope"]).run().exits(4).says("nope");
    site.lbctl(&["connect", NAMES[0]]).run().exits(2).says("--pool");
    site.lbctl(&["connect", "--pool", "a;b", NAMES[0]]).run().exits(2).says("pool name");
    site.lbctl(&["connect", "--pool", "www", "Load Balancer-1"])
        .run()
        .exits(2)
        .says("no application");
    site.lbctl(&["connect", "--pool", "www", "nobody"]).run().exits(4).says("nobody");
    site.lbctl(&["connect", "--pool", "www"]).stdin("").run().exits(2).says("nothing came in");
    site.lbctl(&["connect", "--pool", "www"]).stdin("{}\nx").run().exits(2).says("line 1");
    site.lbctl(&["status", "--require", "down"]).run().exits(2).says("up=4");

    // a second balancer whose file would not do: seen before any of them is changed
    let (_, home) = site.balancers().remove(1);
    let config = format!("{home}/etc/haproxy.cfg");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, good.replace("balance roundrobin", "balance nonsense")).unwrap();
    site.lbctl(&["connect", "--pool", "www", NAMES[2]])
        .run()
        .exits(5)
        .says("does not take its new configuration")
        .says("balance only supports");
    assert_eq!(site.members(), before);
    // one that refuses only when it is told: the first is taken back
    let refused = "balance roundrobin\n  default-server socks4 127.0.0.1:9\n";
    std::fs::write(&config, good.replace("balance roundrobin\n", refused)).unwrap();
    let ran = site.lbctl(&["connect", "--pool", "www", NAMES[2]]).run();
    ran.says("taken back").says("socks4");
    assert_eq!(site.members(), before);
    std::fs::write(&config, &good).unwrap();
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[2]]).run().exits(0);
    // no markers: declined, or owed
    let marked = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, marked.replace("# rs-members end www", "# gone")).unwrap();
    site.lbctl(&["disconnect", "--pool", "www", NAMES[2]]).run().exits(5).says("--runtime-only");
    std::fs::write(&config, marked).unwrap();
}

#[test]
fn a_drain_has_a_receipt_and_cuts_off_only_when_told() {
    let site = Site::new("drain");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0], NAMES[1]]).run().exits(0);
    let (address, _) = site.balancers().remove(0);
    std::thread::scope(|scope| {
        let ask = || {
            let mut probe = Probe::new(format!("{address}:8080").parse().unwrap(), "", "/slow");
            probe.timeout = Duration::from_secs(60);
            // 502, or of later versions no answer at all
            probe.send().map_or(502, |answer| answer.status)
        };
        let slow: Vec<_> = (0..2).map(|_| scope.spawn(ask)).collect();
        until("a slow request on each", Duration::from_secs(20), || {
            site.apps[0].slow() == 1 && site.apps[1].slow() == 1
        });
        site.lbctl(&["drain", "--pool", "www", NAMES[0], "--wait", "300ms"])
            .run()
            .exits(6)
            .says("still has 1 requests");
        let drain = site.lbctl(&["drain", "--pool", "www", NAMES[0], "--wait", "100ms", "--kill"]);
        let record = drain.run().exits(0).record();
        assert_eq!(record["drain"]["killed"], 1, "{record}");
        let drain = site
            .lbctl(&["drain", "--pool", "www", NAMES[1], "--wait", "20s", "--allow-empty"])
            .start();
        until("the drain", Duration::from_secs(10), || {
            site.members().iter().any(|(_, server, admin)| server == NAMES[1] && admin == "drain")
        });
        site.apps[1].let_go();
        let out = drain.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let record: Json = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(record["drain"]["finished"], 1, "{record}");
        assert_eq!(record["drain"]["killed"], 0, "{record}");
        assert!(record["drain"]["longest_ms"].as_u64().is_some_and(|ms| ms > 0), "{record}");
        let mut answers: Vec<u16> = slow.into_iter().map(|thread| thread.join().unwrap()).collect();
        answers.sort_unstable();
        assert_eq!(answers, [200, 502]);
    });
}

#[test]
fn the_page_is_up_on_all_or_none_seen_from_outside_and_taken_down_forward() {
    let site = Site::new("maintenance");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let off = site.page(&["status"]).run().exits(0).records();
    assert_eq!(off.len(), 2);
    assert!(off.iter().all(|p| p["active"] == false && p["saved"] == false));
    let _ = site.page(&["status", "--require", "off"]).run().exits(0);
    site.page(&["status", "--require", "on", "--json"]).run().exits(3).says("\"found\"");
    let dry = site.page(&["start", "--dry-run"]).run().exits(0);
    assert!(dry.records().iter().all(|r| r["planned"] == true), "{dry}");
    assert!(site.debts().is_empty());

    let ran = site.page(&["start", "--pool", "www"]).run().exits(0);
    for record in ran.records() {
        assert_eq!(record["page"]["active"], true, "{ran}");
        assert_eq!(record["page"]["seen"][0]["status"], 503, "{ran}");
    }
    assert_eq!(site.debts(), ["page:www"]);
    for (address, home) in site.balancers() {
        assert_eq!(site.get(&address, "/").0, 503);
        let map = std::fs::read_to_string(format!("{home}/etc/maintenance.map")).unwrap();
        assert_eq!(map, "maintenance on\n");
    }
    let again = site.page(&["start", "--pool", "www"]).run().exits(0);
    assert!(again.records().iter().all(|r| r["did"][0]["changed"] == false), "{again}");
    let _ = site.page(&["status", "--require", "on"]).run().exits(0);
    // the last member may go while the page is up
    let _ = site.lbctl(&["disconnect", "--pool", "www", NAMES[0]]).run().exits(0);
    site.page(&["stop"]).run().exits(5).says("members-up").says("503");
    site.page(&["stop", "--override", "no-such"]).run().exits(2).says("no-such");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let no =
        r#"{"schema":"rs.check/1","name":"release","subject":"x","answer":"no","detail":"old"}"#;
    let file = site.scene.file("check.json", no);
    site.page(&["stop", "--after", &file]).run().exits(5).says("site-check");
    let _ = site.page(&["stop"]).run().exits(0);
    assert!(site.debts().is_empty());
    for (address, _) in site.balancers() {
        assert_eq!(site.get(&address, "/").0, 200);
    }
    let twice = site.page(&["stop"]).run().exits(0);
    assert!(twice.records().iter().all(|r| r["did"][0]["changed"] == false), "{twice}");
    site.page(&["start", "--pool", "nope"]).run().exits(4).says("nope");
}

#[test]
fn a_page_that_one_balancer_cannot_show_is_up_on_none() {
    let site = Site::new("page-none");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let (_, home) = site.balancers().remove(1);
    let config = format!("{home}/etc/haproxy.cfg");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, good.replace("hdr Cache-Control no-store ", "")).unwrap();
    site.page(&["start"]).run().exits(5).says("Cache-Control");
    std::fs::write(&config, &good).unwrap();
    // the rule stands in the file and is not what runs: only a look from outside tells
    let path = home.clone();
    let broken = good.replace(" if page_up ", " if page_up !{ path_beg / } ");
    assert_ne!(broken, good);
    std::fs::write(&config, &broken).unwrap();
    let _ = site.scene.tool("rs-run").args(["balancer reload", "Load Balancer-2"]).run().exits(0);
    std::fs::write(&config, &good).unwrap();
    site.page(&["start"]).run().exits(5).says("down again on every balancer").says("answers 200");
    assert!(site.debts().is_empty(), "nothing is owed");
    for (address, _) in site.balancers() {
        assert_eq!(site.get(&address, "/").0, 200, "{path}");
    }
}

#[test]
fn a_name_in_a_hosts_file_has_no_time_to_live_that_could_differ() {
    let scene = Scene::new("point-hosts");
    let hosts = scene.file("hosts", "127.0.0.1 localhost\n");
    let site = scene.file(
        "site.yml",
        &format!(
            "Deployment: production\nInputs:\n  DNS_DRIVER: text:hosts\n  DNS_HOSTS_FILE: text:{hosts}\n  DNS_ZONE: text:mysite.com\nServers:\n  - Name: LB\n    Address: 127.0.7.1\n"
        ),
    );
    let _ = scene.tool("rs-server").args(["apply", &site]).run().exits(0);
    let changed = |more: &[&str]| {
        let call = scene.tool("rs-lbctl").args(["point", "www.mysite.com", "--at", "LB"]);
        call.args(more).run().exits(0).record()["did"][0]["changed"].as_bool().unwrap()
    };
    assert!(changed(&[]));
    assert!(!changed(&[]), "the second time");
    assert!(!changed(&["--dry-run", "--ttl", "5"]));
}

#[test]
fn a_name_points_where_it_is_told_and_a_temporary_one_is_owed() {
    let scene = Scene::new("point");
    let named = scene.named("named");
    scene.credential("DNS_TSIG_KEY", &named.key);
    let site = scene.file(
        "site.yml",
        &format!(
            "Deployment: production\nInputs:\n  LB_HOSTNAME: text:www.mysite.com\n  DNS_SERVER: text:{}\n  DNS_ZONE: text:mysite.com\n  DNS_TSIG_NAME: text:updater\n  DNS_TSIG_KEY: cred:DNS_TSIG_KEY\nServers:\n  - Name: Load Balancer-1\n    Address: 127.0.7.1\n  - Name: Load Balancer-2\n    Address: 127.0.7.2\n",
            named.server
        ),
    );
    let _ = scene.tool("rs-server").args(["apply", &site]).run().exits(0);
    let point =
        |args: &[&str]| scene.tool("rs-lbctl").args(["point", "test1.mysite.com"]).args(args);
    let dry = point(&["--at", "Load Balancer-1", "--dry-run"]).run().exits(0).record();
    assert_eq!(dry["planned"], true);
    assert!(named.dig("test1.mysite.com").is_empty());
    let ran = point(&["--at", "Load Balancer-1", "--temp"]).run().exits(0);
    let record = ran.record();
    assert_eq!(record["name"], "Load Balancer-1", "{ran}");
    assert_eq!(record["record"]["after"][0], "127.0.7.1", "{ran}");
    let undo = "rs-lbctl point test1.mysite.com --deployment production --remove";
    assert_eq!(record["did"][0]["undo"], undo);
    assert_eq!(named.dig("test1.mysite.com"), ["127.0.7.1"]);
    let again = point(&["--at", "Load Balancer-1", "--temp"]).run().exits(0).record();
    assert_eq!(again["did"][0]["changed"], false);
    let debts = || {
        let ran = scene.tool("rs-cleanup").args(["audit", "--json"]).run();
        ran.records().iter().map(|r| r["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(debts(), ["record:test1.mysite.com"]);
    let both = point(&["--at", "Load Balancer-1", "--at", "Load Balancer-2"]).run().exits(0);
    assert_eq!(both.records().len(), 2, "{both}");
    assert_eq!(named.dig("test1.mysite.com"), ["127.0.7.1", "127.0.7.2"]);
    let undo = both.records()[0]["did"][0]["undo"].as_str().unwrap().to_owned();
    assert_eq!(undo, "rs-lbctl point test1.mysite.com --deployment production --address 127.0.7.1");
    let _ = point(&["--remove"]).run().exits(0);
    assert!(named.dig("test1.mysite.com").is_empty());
    assert!(debts().is_empty());
    assert_eq!(point(&["--remove"]).run().exits(0).record()["did"][0]["changed"], false);
    point(&["--at", "nobody"]).run().exits(4).says("nobody");
    point(&[]).run().exits(2).says("--at");
    for bad in ["a b", "x;y", "a\nquit", "$(reboot)", "-x.mysite.com"] {
        let ran = scene.tool("rs-lbctl").args(["point", "--remove", "--", bad]).run().exits(2);
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    // a name that running servers go by is not taken away, unless it was for an upgrade only
    let www =
        |args: &[&str]| scene.tool("rs-lbctl").args(["point", "www.mysite.com"]).args(args).run();
    let at = ["--at", "Load Balancer-1"];
    for remove in [&["--remove"][..], &["--remove", "--dry-run"]] {
        let _ = www(&at).exits(0);
        let ran = www(remove).exits(5).says("--allow-used");
        let ran =
            ran.says("LB_HOSTNAME of \"Load Balancer-1\", LB_HOSTNAME of \"Load Balancer-2\"");
        assert_eq!(named.dig("www.mysite.com"), ["127.0.7.1"], "{ran}");
    }
    let _ = www(&["--remove", "--allow-used"]).exits(0);
    assert!(named.dig("www.mysite.com").is_empty());
    assert_eq!(www(&["--remove"]).exits(0).record()["did"][0]["changed"], false);
    let _ = www(&[&at[..], &["--temp"]].concat()).exits(0);
    let _ = www(&["--remove"]).exits(0);
    assert!(named.dig("www.mysite.com").is_empty());
    let six = ["point", "six.mysite.com", "--at", "Load Balancer-1"];
    scene.tool("rs-lbctl").args(six).run().exits(5).says("AAAA");
    // a frozen server is named before the time is over, which may be less than we would wait
    let send = |signal: &str| {
        let call = scene.call("bash", "bash").env("DIR", scene.text("named"));
        let _ = call.args(["-c", "pkill \"-$1\" -f \"$DIR\"", "bash", signal]).run().exits(0);
    };
    send("STOP");
    let ran = www(&[&at[..], &["--timeout", "4s"]].concat()).exits(7).says("did not answer");
    let ran = ran.says("no answer within 1s");
    assert!(!ran.stderr.contains("gave up"), "{ran}");
    send("CONT");
}

#[test]
fn a_dead_balancer_keeps_a_pool_as_it_is_and_does_not_keep_the_other_closed() {
    let site = Site::new("dead-balancer");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let _ = site.page(&["start"]).run().exits(0);
    let balancers = site.balancers();
    let first = std::fs::read_to_string(format!("{}/etc/haproxy.cfg", balancers[0].1)).unwrap();
    let _ = site.scene.tool("rs-run").args(["balancer stop", "Load Balancer-2"]).run().exits(0);
    site.lbctl(&["connect", "--pool", "www", NAMES[1]]).run().exits(7).says("Load Balancer-2");
    let after = std::fs::read_to_string(format!("{}/etc/haproxy.cfg", balancers[0].1)).unwrap();
    assert_eq!(after, first, "the living one is as it was");
    site.page(&["start"]).run().exits(7).says("Load Balancer-2");
    assert_eq!(site.get(&balancers[0].0, "/").0, 503);
    the_dead_one_hides_none(&site, &balancers[0].1);
    let ran = site.page(&["stop"]).run().exits(8).says("Load Balancer-2");
    assert!(ran.records()[1]["did"][0]["error"].is_string(), "{ran}");
    assert_eq!(site.get(&balancers[0].0, "/").0, 200, "it goes forward");
    assert_eq!(site.debts(), ["page:www"], "still owed");
    let _ = site.scene.tool("rs-run").args(["balancer start", "Load Balancer-2"]).run().exits(0);
    assert_eq!(site.get(&balancers[1].0, "/").0, 200, "its file was switched, and it has read it");
    let _ = site.page(&["stop"]).run().exits(0);
    assert!(site.debts().is_empty());
    a_frozen_one_is_named_before_the_time_is_over(&site, &balancers[1].1);
}

/// The home is that of Load Balancer-2.
fn a_frozen_one_is_named_before_the_time_is_over(site: &Site, home: &str) {
    let send = |signal: &str| {
        let all = "pkill \"-$1\" -f \"$CONFIG\"";
        let call = site.scene.call("bash", "bash").env("CONFIG", format!("{home}/etc/haproxy.cfg"));
        let _ = call.args(["-c", all, "bash", signal]).run().exits(0);
    };
    send("STOP");
    for call in [site.page(&["status"]), site.lbctl(&["status", "--pool", "www"])] {
        let ran = call.args(["--timeout", "4s"]).run().exits(8);
        let ran = ran.says("1 of 2 balancers did not answer").says("Load Balancer-2: ");
        assert_eq!(ran.records()[0]["balancer"], "Load Balancer-1", "{ran}");
    }
    let drain = site.lbctl(&["drain", "--pool", "www", NAMES[0], "--timeout", "4s"]);
    drain.run().exits(7).says("Load Balancer-2").says("did not answer within 1000 ms");
    let check = ["site", "--pool", "www", "--timeout", "4s"];
    let ran = site.scene.tool("rs-check").args(check).run().exits(3).says("Load Balancer-2");
    assert!(!ran.stderr.contains("gave up"), "{ran}");
    send("CONT");
}

/// Load Balancer-2 is dead, the page is up on the other, whose home this is.
fn the_dead_one_hides_none(site: &Site, home: &str) {
    for (ran, schema) in [
        (site.page(&["status"]).run(), "rs.page/1"),
        (site.lbctl(&["status", "--pool", "www"]).run(), "rs.member/1"),
    ] {
        let ran = ran.exits(8).says("1 of 2 balancers did not answer").says("Load Balancer-2: ");
        let records = ran.records();
        assert_eq!(records.len(), 2, "{ran}");
        assert_eq!(
            (&records[0]["schema"], &records[0]["balancer"]),
            (&schema.into(), &"Load Balancer-1".into())
        );
        assert_eq!(
            (&records[1]["schema"], &records[1]["name"]),
            (&"rs.server/1".into(), &"Load Balancer-2".into())
        );
        assert!(records[1]["did"][0]["error"].is_string(), "{ran}");
        // a stream with it goes no farther
        let lock = site.scene.tool("rs-server").args(["lock"]).stdin(ran.stdout).run();
        lock.exits(2).says("comes in as failed");
    }
    // what nobody knows is no yes, and a no is a no: what was found goes with the error
    let gates: [(Call, i32); 5] = [
        (site.page(&["status", "--require", "on", "--json"]), 7),
        (site.page(&["status", "--require", "off", "--json"]), 3),
        (site.lbctl(&["status", "--require", "up", "--json"]), 7),
        (site.lbctl(&["status", "--require", "up=1", "--allow-none", "--json"]), 7),
        (site.lbctl(&["status", "--require", "up=2", "--json"]), 3),
    ];
    for (gate, exit) in gates {
        let ran = gate.run().exits(exit).says("Load Balancer-2");
        assert!(ran.stdout.is_empty(), "{ran}");
        let error: Json = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(error["found"][0]["balancer"], "Load Balancer-1", "{ran}");
        assert_eq!(error["found"][1]["name"], "Load Balancer-2", "{ran}");
    }
    // none answers
    let socket = format!("{home}/run/haproxy.sock");
    std::fs::rename(&socket, format!("{socket}.away")).unwrap();
    for call in
        [site.page(&["status"]), site.lbctl(&["status"]), site.lbctl(&["status", "--allow-none"])]
    {
        let ran = call.run().exits(7).says("Load Balancer-1").says("Load Balancer-2");
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    std::fs::rename(format!("{socket}.away"), &socket).unwrap();
}

#[test]
fn a_call_that_is_killed_anywhere_is_finished_by_the_next() {
    let site = Site::new("killed");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    for after_ms in [3, 10, 20, 40, 60, 90] {
        let mut child = site.lbctl(&["connect", "--pool", "www", "--only", NAMES[1]]).start();
        // the moment is the point: each round strikes elsewhere
        std::thread::park_timeout(Duration::from_millis(after_ms));
        let _ = child.kill();
        let _ = child.wait();
        let _ = site.lbctl(&["connect", "--pool", "www", "--only", NAMES[1]]).run().exits(0);
        let expected =
            [1, 2].map(|n| (format!("Load Balancer-{n}"), NAMES[1].to_owned(), "ready".to_owned()));
        assert_eq!(site.members(), expected);
        let _ = site.lbctl(&["status", "--pool", "www", "--require", "up=1"]).run().exits(0);
        let _ = site.lbctl(&["connect", "--pool", "www", "--only", NAMES[0]]).run().exits(0);
    }
    for (_, home) in site.balancers() {
        assert!(!std::path::Path::new(&format!("{home}/etc/haproxy.cfg.rs-new")).exists());
    }
}
