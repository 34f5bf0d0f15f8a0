//! Every kind of temporary change, opened on a real site: the audit names who owes it and the command that settles it, and
//! that very command, run as it stands, settles it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rs_contract::{Mode, Place, Txn};
use rs_tests::{Ran, Scene, root, until};
use serde_json::Value as Json;

use super::dbsync::sql;
use super::reopen::{balancer, site};
use super::small_site::settled_only_by;

const LIMIT: Duration = Duration::from_secs(60);

/// The site, and what owes something.
struct Owing {
    scene: Scene,
    _app: rs_tests::App,
    _second: rs_tests::App,
}

impl Owing {
    fn new(name: &str) -> Owing {
        let (scene, app) = site(name);
        let named = scene.named("dns");
        scene.credential("DNS_TSIG_KEY", &named.key);
        let second = scene.app("App 2");
        let hook = "#!/bin/bash\ncase $1 in\n  quench) touch \"$0.on\" ;;\n  unquench) rm -f \"$0.on\" ;;\n  \
                    quenched) [ -e \"$0.on\" ] || exit 3 ;;\nesac\n";
        let hook = scene.file("hook", hook);
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        let small = root().join("tests/fixtures/small/small.yaml").display().to_string();
        let text = std::fs::read_to_string(scene.path("site.yaml")).unwrap();
        let text = text.replacen(
            "Inputs:\n",
            &format!(
                "Inputs:\n  ALERTS_HOOK: text:{hook}\n  DNS_SERVER: text:{}\n  DNS_ZONE: text:mysite.com\n  \
                 DNS_TSIG_NAME: text:updater\n  DNS_TSIG_KEY: cred:DNS_TSIG_KEY\n",
                named.server
            ),
            1,
        );
        let text = format!(
            "{text}  - Name: App 2\n    Address: {}\nArrays:\n  - Name: array-1\n    Template: '{small}'\n    \
             Minimum: 1\n    Maximum: 2\n    Enabled: true\n",
            second.address
        );
        let file = scene.file("site.yaml", &text);
        scene.tool("rs-server").args(["apply", &file]).run().exits(0);
        // there is another deployment: a command that does not name its own would be in doubt
        let machines: String = text
            .lines()
            .skip_while(|line| *line != "Machines:")
            .take_while(|line| *line != "Inputs:")
            .map(|line| format!("{line}\n"))
            .collect();
        let other = format!(
            "Deployment: other\n{}Servers:\n  - Name: Nobody\n    Address: 127.0.0.1\n",
            machines.replace("/servers'", "/others'")
        );
        let other = scene.file("other.yaml", &other);
        std::fs::create_dir_all(scene.path("others")).unwrap();
        scene.tool("rs-server").args(["apply", &other]).run().exits(0);
        Owing { scene, _app: app, _second: second }
    }

    fn run(&self, tool: &str, args: &[&str], code: i32) -> Ran {
        let call = self.scene.tool(tool).args(args).env("RS_UPGRADE", "u-1");
        call.env("RS_DEPLOYMENT", "production").run().exits(code)
    }

    fn audit(&self) -> (Vec<Json>, Ran) {
        let audit = ["audit", "--deployment", "production", "--json"];
        let ran = self.scene.tool("rs-cleanup").args(audit).run();
        (ran.records(), ran)
    }

    fn keys(&self) -> Vec<String> {
        let keys = self.audit().0;
        let mut keys: Vec<String> =
            keys.iter().map(|debt| debt["key"].as_str().unwrap().to_owned()).collect();
        keys.sort();
        keys
    }

    /// The debt is open and whole; its command, as it stands, settles it. Returns what the command wrote.
    fn settle(&self, key: &str) -> Ran {
        let (debts, audit) = self.audit();
        let debt = debts
            .iter()
            .find(|debt| debt["key"] == key)
            .unwrap_or_else(|| panic!("{key} is not owed\n{audit}"));
        assert_eq!(debt["world"], "open", "{debt}");
        assert_eq!(audit.exit, 3, "{audit}");
        assert_eq!(debt["owner"]["run"], "u-1", "{debt}");
        for field in ["user", "host"] {
            assert!(debt["owner"][field].as_str().is_some_and(|text| !text.is_empty()), "{debt}");
        }
        assert!(debt["owner"]["pid"].as_u64().is_some_and(|pid| pid > 0), "{debt}");
        for field in ["reason", "since", "due", "kind", "subject"] {
            assert!(debt[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {debt}");
        }
        let inverse: Vec<String> = debt["inverse"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect();
        audit.says(&rs_cli::shell_words(&inverse));
        let (tool, args) = inverse.split_first().unwrap();
        let ran = self.scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run().exits(0);
        if !key.starts_with("temp:") {
            assert!(!self.keys().contains(&key.to_owned()), "{key} is owed still\n{ran}");
        }
        ran
    }
}

#[test]
fn every_kind_of_debt_is_named_and_settled_by_its_own_command() {
    let owing = Owing::new("debts");
    let run = |tool: &str, args: &[&str]| owing.run(tool, args, 0);
    let state =
        Place { cloud: owing.scene.cloud(), state: None, mode: Mode::Real, ..Place::default() };
    let state = rs_drivers::state(&state).unwrap();
    assert_eq!(owing.keys(), [""; 0]);

    run("rs-maintenance", &["start", "--deadline", "2h"]);
    let (debts, _) = owing.audit();
    assert!(debts[0]["deadline"].is_string(), "{debts:?}");
    owing.settle("page:www");
    // lifted by hand, at run time and in the file: not open, though nobody has told us
    run("rs-maintenance", &["start"]);
    let list = run("rs-server", &["list", "Load Balancer-1"]).record();
    let map = format!("{}/etc/maintenance.map", list["current"]["home"].as_str().unwrap());
    balancer(&owing.scene, &format!("set map {map} maintenance off"));
    std::fs::write(&map, "maintenance off\n").unwrap();
    let (debts, audit) = owing.audit();
    assert_eq!((&debts[0]["world"], audit.exit), (&Json::from("settled"), 0), "{audit}");
    run("rs-cleanup", &["audit", "--settle"]);

    sql(
        &owing.scene,
        "Master DB",
        "SET GLOBAL event_scheduler=ON, GLOBAL binlog_expire_logs_seconds=864000",
    );
    run("rs-dbsync", &["writes", "off", "Master DB"]);
    assert_eq!(owing.keys(), ["events:shop", "writes:shop"]);
    owing.settle("events:shop");
    assert_eq!(owing.keys(), [""; 0], "one command settles both");
    run("rs-dbsync", &["writes", "off", "Master DB"]);
    run("rs-dbsync", &["settings", "change", "sync_relay_log", "Slave2 DB"]);
    run("rs-dbsync", &["hold", "Slave2 DB"]);
    let held =
        ["binlogs:Master DB", "events:shop", "held:Slave2 DB", "lock:Slave2 DB", "writes:shop"];
    assert_eq!(owing.keys(), held, "a hold needs the relay log no more");
    assert_eq!(sql(&owing.scene, "Slave2 DB", "SELECT @@sync_relay_log"), "10000");
    assert_eq!(sql(&owing.scene, "Master DB", "SELECT @@binlog_expire_logs_seconds"), "0");
    owing.settle("held:Slave2 DB");
    owing.settle("writes:shop");
    assert_eq!(owing.keys(), [""; 0]);
    assert_eq!(sql(&owing.scene, "Master DB", "SELECT @@binlog_expire_logs_seconds"), "864000");

    for (open, key) in [
        (&["rs-dbsync", "settings", "change", "binlogs", "Master DB"][..], "binlogs:Master DB"),
        (
            &["rs-dbsync", "settings", "change", "sync_relay_log", "Slave DB"],
            "sync_relay_log:Slave DB",
        ),
        (&["rs-server", "lock", "Slave DB"], "lock:Slave DB"),
        (&["rs-server", "quench", "Slave DB"], "quenched:Slave DB"),
        (&["rs-server", "disable", "array-1"], "array:array-1"),
        (
            &[
                "rs-inputs",
                "set",
                "--on",
                "Load Balancer-1",
                "--next",
                "--temporary",
                "LB_HOSTNAME=text:x.mysite.com",
            ],
            "input:Load Balancer-1/LB_HOSTNAME",
        ),
        (
            &["rs-lbctl", "point", "test1.mysite.com", "--at", "Load Balancer-1", "--temp"],
            "record:test1.mysite.com",
        ),
        (&["rs-lbctl", "connect", "--pool", "www", "--standby", "App 2"], "standby:www/App 2"),
        (&["rs-snapshot", "take", "Slave DB", "--label", "kept", "--pin"], "pin:shop/kept"),
        (&["rs-snapshot", "schedule", "off", "Master DB"], "backups:Master DB"),
    ] {
        if key.starts_with("backups") {
            run("rs-snapshot", &["schedule", "on", "Master DB"]);
        }
        let (tool, args) = open.split_first().unwrap();
        run(tool, args);
        owing.settle(key);
        assert_eq!(owing.keys(), [""; 0], "{key}");
    }
    let settings = |verb, which| ["rs-dbsync", "settings", verb, which, "Slave DB"];
    run("rs-dbsync", &settings("change", "sync_relay_log")[1..]);
    let back = settings("restore", "sync_relay_log");
    settled_only_by(&owing.scene, &settings("change", "binlogs"), &back);
    // a balancer whose file has no place for members keeps them until its next reload
    let config = map.replace("maintenance.map", "haproxy.cfg");
    let good = std::fs::read_to_string(&config).unwrap();
    let unmarked: Vec<&str> = good.lines().filter(|line| !line.contains("rs-members")).collect();
    assert_ne!(unmarked.len(), good.lines().count(), "{good}");
    std::fs::write(&config, unmarked.join("\n") + "\n").unwrap();
    run("rs-lbctl", &["connect", "--pool", "www", "--runtime-only", "App 2"]);
    std::fs::write(&config, &good).unwrap();
    owing.settle("runtime-only:App 2");

    // a schedule that somebody removed is as much off as one that is switched off
    run("rs-snapshot", &["schedule", "off", "Master DB"]);
    let delete = vec!["schedule/production/Master DB".to_owned()];
    state.commit(&Txn { delete, ..Txn::default() }).unwrap();
    owing.settle("backups:Master DB");

    // what was made for the upgrade only: destroying takes a plan, and the command writes it
    let isolated =
        ["--set", "LB_HOSTNAME=text:test1.mysite.com", "--set", "LB_APPLISTENER_NAME=text:test1"];
    run(
        "rs-clone",
        &[&["server", "Load Balancer-1", "--name", "LB 3", "--as", "temp"], &isolated[..]].concat(),
    );
    let plan = owing.settle("temp:LB 3");
    let plan = owing.scene.file("plan.json", &plan.stdout);
    run("rs-cleanup", &["retire", "--plan", &plan, "--delete"]);
    assert_eq!(owing.keys(), [""; 0]);

    // an abandoned master and the slaves that followed it
    run("rs-maintenance", &["start"]);
    run("rs-dbsync", &["writes", "off", "Master DB"]);
    run("rs-dbsync", &["hold", "Slave2 DB"]);
    run("rs-server", &["mark", "old", "--role", "app"]);
    run("rs-dbsync", &["writes", "off", "Master DB", "--sessions"]);
    let overridden = ["rollback pair", "backups off", "abandoned data kept"];
    let promote = overridden.iter().flat_map(|name| ["--override", name]);
    let promote: Vec<&str> = ["promote", "Slave2 DB"].into_iter().chain(promote).collect();
    the_page_is_believed_to_clients_only(
        &owing,
        &map.replace("maintenance.map", "haproxy.cfg"),
        &promote,
    );
    run("rs-dbsync", &promote);
    let keys = owing.keys();
    for kind in ["fenced:Master DB", "rebuild:Slave DB", "page:www", "binlogs:Master DB"] {
        assert!(keys.contains(&kind.to_owned()), "{kind}: {keys:?}");
    }
    // what it holds is in no backup: the audit names that first, and nothing ends the only copy before
    let rebuild = ["init", "--rebuild", "Master DB"];
    let ran = owing.run("rs-dbsync", &rebuild, 5);
    let _ = ran.says("abandoned data kept").says("rs-snapshot take --pin -- \"Master DB\"");
    let settle = || -> String {
        let (debts, audit) = owing.audit();
        let debt = debts.iter().find(|debt| debt["key"] == "fenced:Master DB").unwrap();
        let reason = debt["reason"].as_str().unwrap();
        assert!(reason.contains("no backup of its data was read"), "{reason}");
        let line = debt["settle"].as_str().unwrap().to_owned();
        let _ = audit.says(&line);
        line
    };
    let line = settle();
    let (first, then) = line.split_once(" && ").unwrap_or_else(|| panic!("{line}"));
    assert!(first.starts_with("rs-snapshot take --pin ") && then.contains("--rebuild"), "{line}");
    let _ = owing.scene.call("bash", "bash").args(["-c", first]).run().exits(0);
    assert!(!settle().contains("rs-snapshot"), "it is kept: {}", settle());
    owing.settle("binlogs:Master DB");
    owing.settle("rebuild:Slave DB");
    until("replication", LIMIT, || sql(&owing.scene, "Slave DB", "SELECT @@read_only") == "1");
    let locked = || run("rs-server", &["list", "Master DB"]).record()["locked"].clone();
    assert_eq!(locked(), true);
    owing.settle("fenced:Master DB");
    assert_eq!(locked(), false, "as it was before the run");
    run("rs-check", &["site", "--pool", "www", "--bypass"]);
    owing.settle("page:www");
    let keys = owing.keys();
    assert!(
        !keys.iter().any(|key| key.starts_with("fenced") || key.starts_with("rebuild")),
        "{keys:?}"
    );
    a_pin_outlives_the_server_that_it_was_taken_from(&owing);
}

/// The map says that the page is up, and no rule reads it any more.
fn the_page_is_believed_to_clients_only(owing: &Owing, config: &str, promote: &[&str]) {
    let serve = |text: &str| {
        std::fs::write(config, text).unwrap();
        let _ = owing.run("rs-run", &["balancer reload", "Load Balancer-1"], 0);
    };
    let good = std::fs::read_to_string(config).unwrap();
    let rule = |line: &&str| !line.contains("http-request return status 503");
    let none: Vec<&str> = good.lines().filter(rule).collect();
    assert_ne!(none.len(), good.lines().count());
    serve(&format!("{}\n", none.join("\n")));
    let ran = owing.run("rs-dbsync", promote, 5);
    let _ = ran.says("the promotion may not be: page active").says("Load Balancer-1");
    serve(&good);
}

/// The command that settles it names a server that is there.
fn a_pin_outlives_the_server_that_it_was_taken_from(owing: &Owing) {
    let run = |tool: &str, args: &[&str]| owing.run(tool, args, 0);
    run("rs-snapshot", &["take", "Slave DB", "--label", "it's kept", "--pin"]);
    let key = "pin:shop/it's kept";
    let settle = || -> String {
        let debts = owing.audit().0;
        let debt = debts.iter().find(|debt| debt["key"] == key).unwrap();
        debt["settle"].as_str().unwrap().to_owned()
    };
    assert!(settle().ends_with("-- 'Slave DB'"), "{}", settle());
    // whom others are sent to by an input does not end
    let told = format!("SVN_APP_REPOSITORY=text:svn://{}/shop", {
        let slave = run("rs-server", &["list", "Slave DB"]).record();
        slave["address"].as_str().unwrap().to_owned()
    });
    let balancer = ["--current", "--on", "Load Balancer-1"];
    run("rs-inputs", &[&["set", "--create", &told][..], &balancer].concat());
    let plan = run("rs-cleanup", &["plan", "--", "Slave DB"]);
    let why = plan.record()["entries"][0]["forbidden"].to_string();
    assert!(why.contains("SVN_APP_REPOSITORY of Load Balancer-1 names its address"), "{why}");
    let plan = owing.scene.file("plan.json", &plan.stdout);
    owing.run("rs-cleanup", &["retire", "--plan", &plan, "--delete"], 5).says("names its address");
    run("rs-inputs", &[&["unset", "SVN_APP_REPOSITORY"][..], &balancer].concat());
    let plan = run("rs-cleanup", &["plan", "--", "Slave DB"]);
    let plan = owing.scene.file("plan.json", &plan.stdout);
    run("rs-cleanup", &["retire", "--plan", &plan, "--delete"]);
    let line = settle();
    assert!(line.ends_with("-- 'Slave2 DB'"), "the master of the set now: {line}");
    owing.run("rs-cleanup", &["audit"], 3).says(&line);
    let ran = owing.scene.call("bash", "bash").args(["-c", &line]).run().exits(0);
    assert!(!owing.keys().contains(&key.to_owned()), "{ran}");
}
