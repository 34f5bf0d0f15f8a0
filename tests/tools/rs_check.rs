//! The gates of rs-check as black boxes, on a balancer that our own template launches.

use std::os::unix::fs::PermissionsExt;

use rs_tests::{App, Call, Scene, root};
use serde_json::Value as Json;

pub struct Site {
    pub scene: Scene,
    pub apps: Vec<App>,
}

impl Site {
    /// A balancer of the pool `www` with two applications connected, and a hook for alerts.
    pub fn new(name: &str) -> Site {
        let scene = Scene::new(name);
        scene.credential("LB_BYPASS", "open-sesame-7");
        let hook = scene.file(
            "hook",
            &format!(
                "#!/bin/sh\nread -r line\ncase $1 in\nfiring) cat '{d}/fires' 2>/dev/null; exit 0 ;;\nquenched) [ -e '{d}/quiet' ] || exit 3 ;;\n*) exit 1 ;;\nesac\n",
                d = scene.dir.display()
            ),
        );
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        let names = ["App Server-1", "App $(touch owned)"];
        let apps: Vec<App> = names.iter().map(|name| scene.app(name)).collect();
        let servers: String = names
            .iter()
            .zip(&apps)
            .map(|(name, app)| format!("  - Name: '{name}'\n    Address: {}\n", app.address))
            .collect();
        let template = root().join("scripts/templates/load-balancer.yml").canonicalize().unwrap();
        let user = if rustix::process::geteuid().is_root() { "    User: nobody\n" } else { "" };
        let text = format!(
            "Deployment: production\nMachines:\n  Local:\n    Root: machines\n    Addresses: {net}.128/25\n    Path: {path}\n{user}\
             Inputs:\n  LB_APPLISTENER_NAME: text:www\n  LB_HOSTNAME: text:www.mysite.com\n  LB_BYPASS_SECRET: cred:LB_BYPASS\n  HEALTH_CHECK_URI: text:/health\n\
             \x20 ALERTS_HOOK: text:{hook}\nTemplates:\n  - {t}\nServers:\n  - Name: Load Balancer-1\n    Template: {t}\n    Tags: [\"load_balancer:active_www=true\"]\n{servers}",
            net = scene.net,
            path = scene.search_path(),
            t = template.display(),
        );
        let file = scene.file("site.yml", &text);
        let _ = scene.tool("rs-server").args(["apply", &file]).run().exits(0);
        let _ = scene.tool("rs-server").args(["launch", "--role", "lb"]).run().exits(0);
        let connect = ["connect", "--pool", "www", names[0], names[1]];
        let _ = scene.tool("rs-lbctl").args(connect).run().exits(0);
        Site { scene, apps }
    }

    fn balancer(&self) -> Json {
        self.scene.tool("rs-server").args(["list", "Load Balancer-1"]).run().exits(0).record()
    }

    /// The balancer's folder.
    pub fn home(&self) -> String {
        self.balancer()["current"]["home"].as_str().unwrap().to_owned()
    }

    /// The balancer's address.
    pub fn address(&self) -> String {
        self.balancer()["address"].as_str().unwrap().to_owned()
    }

    fn check(&self, args: &[&str]) -> Call {
        self.scene.tool("rs-check").args(args)
    }
}

/// The checks that a refused gate puts into its error.
pub fn found(stderr: &str) -> Vec<Json> {
    let last: Json = serde_json::from_str(stderr.trim_end().lines().last().unwrap()).unwrap();
    assert_eq!(last["exit"], 3);
    last["found"].as_array().unwrap().clone()
}

#[test]
fn the_site_is_asked_through_each_balancer_and_on_each_member() {
    let site = Site::new("check-site");
    for app in &site.apps {
        app.release("1.0");
    }
    let all = ["site", "--pool", "www", "--each-member", "--expect-release", "1.0"];
    let ran = site.check(&all).run().exits(0);
    let records = ran.records();
    assert_eq!(records.len(), 3, "one balancer, two members\n{ran}");
    assert!(records.iter().all(|r| r["answer"] == "ok" && r["schema"] == "rs.check/1"), "{ran}");

    // one member of another release: its name is said, and stdout stays empty
    site.apps[1].release("2.0");
    let ran = site.check(&all).args(["--json"]).run().exits(3);
    assert!(ran.stdout.is_empty(), "{ran}");
    let no: Vec<Json> = found(&ran.stderr).into_iter().filter(|c| c["answer"] == "no").collect();
    assert!(
        no.iter().any(|c| c["subject"].as_str().unwrap().contains("App $(touch owned)")),
        "{ran}"
    );

    site.check(&["site", "--pool", "www", "--expect", "no such text"])
        .run()
        .exits(3)
        .says("without");
    // behind the page
    let _ = site.scene.tool("rs-maintenance").args(["start", "--pool", "www"]).run().exits(0);
    site.check(&["site", "--pool", "www"]).run().exits(3).says("maintenance page").says("--bypass");
    let _ = site.check(&["site", "--pool", "www", "--bypass"]).run().exits(0);
    // what is not well yet is waited for, and no longer than told
    let short = site.check(&["site", "--pool", "www", "--wait", "300ms"]).run().exits(3);
    let _ = short.says("maintenance page");
    let waits = site.check(&["site", "--pool", "www", "--wait", "60s"]).start();
    let _ = site.scene.tool("rs-maintenance").args(["stop", "--pool", "www"]).run().exits(0);
    let waited = waits.wait_with_output().unwrap();
    assert!(waited.status.success(), "{waited:?}");

    let address = format!("http://{}:{}/", site.apps[0].address, site.apps[0].port);
    let _ = site.check(&["site", "--url", &address]).run().exits(0);
    let gone = format!("http://{}:9/", site.scene.address());
    site.check(&["site", "--url", &gone]).run().exits(3);
    site.check(&["site", "--url", &gone, "--mode", "process"]).run().exits(3).says("refused");
    site.check(&["site"]).run().exits(2);
    site.check(&["site", "--pool", "nobody"]).run().exits(4);
    site.check(&["site", "--pool", "www;x"]).run().exits(2);
}

#[test]
fn alerts_that_fire_silence_and_no_hook_are_three_answers() {
    let site = Site::new("check-alerts");
    let call = || site.check(&["alerts", "Load Balancer-1"]);
    let _ = call().run().exits(0);
    site.scene.file("fires", "disk full\n");
    call().run().exits(3).says("disk full");
    std::fs::remove_file(site.scene.path("fires")).unwrap();
    site.scene.file("quiet", "");
    call().run().exits(3).says("silenced");
    let _ = call().args(["--allow-quenched"]).run().exits(0);
    let unset = ["unset", "--deployment-level", "ALERTS_HOOK"];
    let _ = site.scene.tool("rs-inputs").args(unset).run().exits(0);
    call().run().exits(3).says("unknown").says("ALERTS_HOOK");
}

#[test]
fn preflight_names_each_thing_that_is_missing() {
    let site = Site::new("check-preflight");
    let ran = site.check(&["preflight", "--json"]).run().exits(3);
    let checks = found(&ran.stderr);
    let answer = |name: &str| -> Vec<String> {
        let those = checks.iter().filter(|c| c["name"] == name);
        those.map(|c| c["answer"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(answer("space for the state"), ["ok"], "{ran}");
    assert_eq!(answer("credential"), ["ok"], "{ran}");
    assert_eq!(answer("changes survive a reload"), ["ok"], "{ran}");
    assert_eq!(answer("one process serves"), ["ok"], "{ran}");
    assert_eq!(answer("DNS answers"), ["unknown"], "there is none: not known is not ok\n{ran}");
    assert_eq!(answer("clock runs"), ["no"], "{ran}");

    let _ = site.scene.tool("rs-journal").args(["watch", "--once"]).run().exits(0);
    let accepted = ["preflight", "--accept", "DNS answers"];
    let _ = site.check(&accepted).run().exits(0);
    std::fs::remove_file(site.scene.path("credentials/LB_BYPASS")).unwrap();
    site.check(&accepted).run().exits(3).says("LB_BYPASS");
}
