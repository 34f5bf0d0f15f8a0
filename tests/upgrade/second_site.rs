//! A second site, whose people wrote their own file, templates, releases and migrations: three balancers, two database
//! sets, git, names in a hosts file, no array, no workers, no DNS server. Nothing of it is the demo's.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rs_tests::{Call, Ran, Scene, root, until};

const BALANCERS: [&str; 3] = ["Edge 1", "Edge 2", "Edge 3"];
const SETS: [(&str, &str, &str); 2] = [
    ("stock", "goods", "SELECT price_cents FROM goods.items WHERE id = 1"),
    ("ledger", "till_ledger", "SELECT price_cents FROM till_ledger.sales WHERE ref = 'old-1'"),
];

struct Kiosk {
    scene: Scene,
}

impl Kiosk {
    /// The fixtures, where they say that they are: their paths, range and user become those of this scene.
    fn up(name: &str) -> Kiosk {
        let scene = Scene::new(name);
        let place = scene.dir.display().to_string();
        let here = root().join("tests/fixtures/second").canonicalize().unwrap();
        let user = if rustix::process::geteuid().is_root() { "    User: nobody\n" } else { "" };
        copy(&here, &scene.dir, &|text| {
            text.replace("/srv/kiosk", &place)
                .replace(
                    "../../../scripts",
                    &root().join("scripts").canonicalize().unwrap().display().to_string(),
                )
                .replace("127.77.7.0/24", &format!("{}.0/24", scene.net))
                .replace("/usr/local/bin:/usr/bin:/bin", &scene.search_path())
                .replace("    User: nobody\n", user)
        });
        for secret in
            ["STAFF_WORD", "KIOSK_ADMIN", "KIOSK_COPY", "KIOSK_CHANGE", "KIOSK_TILL", "KIOSK_PULSE"]
        {
            scene.credential(secret, &format!("{}-of-the-kiosk", secret.to_lowercase()));
        }
        let _ = scene.file("hosts", "127.0.0.1 localhost\n");
        std::fs::create_dir_all(scene.path("backups")).unwrap();
        scene.hand_over(&scene.path("backups"));
        let kiosk = Kiosk { scene };
        kiosk.repository();
        let _ = kiosk.tool("rs-server").args(["apply", "site.yml"]).run().exits(0);
        kiosk.bash(
            "rs-server launch 'Stock A' 'Ledger A' 'Edge 1' 'Edge 2' 'Edge 3'
             rs-lbctl point stock.db.shop.example --at 'Stock A'
             rs-lbctl point ledger.db.shop.example --at 'Ledger A'
             rs-snapshot take --role master --label first --once
             rs-server launch 'Stock B' 'Ledger B' 'Till 1' 'Till 2' >launched
             rs-server list --role slave | rs-dbsync init
             rs-lbctl point kiosk.shop.example --at 'Edge 1' --at 'Edge 2' --at 'Edge 3'
             rs-server list --role app | rs-lbctl connect --pool kiosk
             rs-snapshot schedule on --role db
             rs-journal watch --once",
        );
        kiosk
    }

    /// Both releases in one git repository, as tags.
    fn repository(&self) {
        self.bash(
            "git init -q -b main code.git && cd code.git
             git config user.name Kiosk && git config user.email kiosk@shop.example
             for release in 1 2; do
               cp ../app/$release/* . && git add -A && git commit -q -m \"release $release\" && git tag v$release
             done",
        );
    }

    fn call(&self, call: Call) -> Call {
        call.env("RS_DEPLOYMENT", "Kiosk Nord").env("RS_UPGRADE", "kiosk-2")
    }

    fn tool(&self, name: &str) -> Call {
        self.call(self.scene.tool(name))
    }

    /// Lines as a person types them in the site's environment; the first that fails ends them.
    fn bash(&self, lines: &str) {
        let call = self.scene.call("bash", "bash").limit(Duration::from_secs(180));
        let _ = self.call(call).args(["-euo", "pipefail", "-c", lines]).run().exits(0);
    }

    fn script(&self, name: &str, args: &[&str]) -> Ran {
        let call = self.scene.script(name).limit(Duration::from_secs(300));
        let all = ["--conf", "upgrade.conf", "--yes"].iter().chain(args);
        self.call(call).args(all).run()
    }

    /// Starts clients through all balancers.
    fn observe(&self) -> Child {
        let (stop, log) = (self.scene.text("probe.stop"), self.scene.path("probe.log"));
        let flags = ["probe", "--pool", "kiosk", "--rate", "40", "--until", &stop, "--log"];
        let mut child = self.tool("rs-check").args(flags).args([log.display().to_string()]).start();
        until("the clients' first answers", Duration::from_secs(30), || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the clients ended: {ended:?}");
            std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() > 20)
        });
        child
    }

    /// What each balancer's members say that they are, several times each.
    fn releases(&self) -> Vec<String> {
        let servers = self.tool("rs-server").args(["list", "--all"]).run().exits(0).by_name();
        let mut seen = Vec::new();
        for balancer in BALANCERS {
            let address = servers[balancer]["address"].as_str().unwrap();
            let url = format!("http://{address}:9180/release");
            for _ in 0..4 {
                let args = ["-sf", "--max-time", "5", &url];
                let ran = self.scene.call("curl", "curl").args(args).run().exits(0);
                seen.push(format!("{balancer}: {}", ran.stdout.trim()));
            }
        }
        seen.dedup();
        seen
    }

    /// Names of the masters, in the order of the sets.
    fn masters(&self) -> Vec<String> {
        let list = self.tool("rs-server").args(["list", "--role", "master"]).run().exits(0);
        let of = |set: &str| {
            let tag = serde_json::json!(format!("database:master_active={set}"));
            let found = list.records();
            let master = found.iter().find(|r| r["tags"].as_array().unwrap().contains(&tag));
            master.unwrap()["name"].as_str().unwrap().to_owned()
        };
        SETS.iter().map(|(set, ..)| of(set)).collect()
    }

    /// Asks the master of each set for a column that only the new schema has.
    fn migrated(&self) -> Vec<bool> {
        let homes = self.tool("rs-server").args(["list", "--role", "master"]).run().exits(0);
        let homes = homes.by_name();
        let of = |(at, (_, _, query)): (usize, &(&str, &str, &str))| {
            let server = &homes[&self.masters()[at]];
            let port = if at == 0 { "9306" } else { "9307" };
            let args = ["-h", server["address"].as_str().unwrap(), "-P", port, "-u", "till"];
            let client = self.scene.call("mariadb", "mariadb");
            client
                .args(args)
                .args(["--skip-ssl", "-N", "-e", query])
                .env("MYSQL_PWD", "kiosk_till-of-the-kiosk")
                .run()
                .exit
                == 0
        };
        SETS.iter().enumerate().map(of).collect()
    }

    #[track_caller]
    fn nothing_lost(&self, summary: &serde_json::Value, ran: &Ran) {
        for (what, of) in [("lost", "writes"), ("untold", "writes"), ("error", "classes")] {
            assert_eq!(summary[of][what].as_u64().unwrap_or(0), 0, "{what}: {summary}\n{ran}");
        }
        assert!(summary["writes"]["acknowledged"].as_u64().unwrap_or(0) > 50, "{summary}");
        assert!(summary["classes"]["page"].as_u64().unwrap_or(0) > 0, "no page\n{summary}");
    }
}

impl Drop for Kiosk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let report = self.tool("rs-journal").args(["show", "--last", "15"]).run();
            let _ = std::io::Write::write_all(&mut std::io::stderr(), report.stdout.as_bytes());
        }
    }
}

/// Copies a folder, its texts changed on the way, readable for the servers' user.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target, change);
        } else {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            std::fs::write(&target, change(&text)).unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o111 | 0o644;
            std::fs::set_permissions(&target, PermissionsExt::from_mode(mode)).unwrap();
        }
    }
}

fn each(release: &str) -> Vec<String> {
    BALANCERS.iter().map(|balancer| format!("{balancer}: {release}")).collect()
}

#[test]
fn a_second_site_of_two_sets_and_three_balancers_goes_to_its_new_release_and_loses_nothing() {
    let kiosk = Kiosk::up("second");
    assert_eq!(kiosk.releases(), each("1"));
    assert_eq!(kiosk.migrated(), [false, false]);
    let clients = kiosk.observe();
    // its tills do not start on the old schema: those that were earlier than the migration are started behind it
    let ran = kiosk.script("scripts/upgrade.sh", &[]).exits(0);
    let summary = super::site::summary(clients, &kiosk.scene.path("probe.stop"));
    kiosk.nothing_lost(&summary, &ran);
    assert_eq!(kiosk.releases(), each("2"));
    assert_eq!(kiosk.migrated(), [true, true]);
    assert_eq!(kiosk.masters(), ["Stock A", "Ledger A"]);
    let left = kiosk.tool("rs-server").args(["list", "--all"]).run().exits(0).by_name();
    let mut names: Vec<&str> = left.keys().map(String::as_str).collect();
    names.sort_unstable();
    let wanted = [
        "Edge 1", "Edge 2", "Edge 3", "Ledger A", "Ledger B", "Stock A", "Stock B", "Till 3",
        "Till 4",
    ];
    assert_eq!(names, wanted);
    let replicating = ["status", "--role", "slave", "--require", "replicating"];
    let slaves = kiosk.tool("rs-dbsync").args(replicating).run().exits(0);
    assert_eq!(slaves.records().len(), 2, "{slaves}");
    let audit = kiosk.tool("rs-cleanup").args(["audit", "--due", "after"]).run().exits(0);
    assert!(!audit.stdout.contains("\"due\":\"window\""), "{audit}");
    let _ = kiosk.tool("rs-journal").args(["verify"]).run().exits(0);
}

#[test]
fn both_sets_of_the_second_site_come_back_after_the_migration() {
    let kiosk = Kiosk::up("second-back");
    let _ = kiosk.script("scripts/upgrade.sh", &["--until", "31"]).exits(0);
    assert_eq!(kiosk.releases(), each("2"));
    assert_eq!(kiosk.migrated(), [true, true]);
    let back = kiosk.script("scripts/rollback.sh", &[]).exits(0);
    assert_eq!(kiosk.releases(), each("1"), "{back}");
    assert_eq!(kiosk.masters(), ["Stock warm", "Ledger warm"]);
    assert_eq!(kiosk.migrated(), [false, false]);
    // each set's name leads to its own master
    let hosts = std::fs::read_to_string(kiosk.scene.path("hosts")).unwrap();
    let servers = kiosk.tool("rs-server").args(["list", "--role", "master"]).run().exits(0);
    for (name, host) in
        [("Stock warm", "stock.db.shop.example"), ("Ledger warm", "ledger.db.shop.example")]
    {
        let address = servers.by_name()[name]["address"].as_str().unwrap().to_owned();
        let there = hosts.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.first() == Some(&address.as_str()) && words.contains(&host)
        });
        assert!(there, "{host} is not {address}: {hosts}");
    }
}

#[test]
fn a_step_of_the_second_site_that_does_nothing_or_something_else_is_found_out_by_its_name() {
    let kiosk = Kiosk::up("second-emptied");
    super::emptied::each_step_is_missed(&kiosk.scene, false, &|script, args| {
        kiosk.script(script, args)
    });
}
