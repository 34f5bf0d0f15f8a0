//! A promotion is done when every application server sees the moved name, each through the name server that it asks.

use std::net::Ipv4Addr;
use std::time::Duration;

use rs_drivers::settings::Settings;
use rs_model::Value;
use rs_tests::{Named, Scene, until};

use super::dbsync::{NO_BACKUPS, did, set_with};

const NAME: &str = "master-db.mysite.com";

fn dns(named: &Named) -> Box<dyn rs_contract::Dns> {
    let values = [
        ("DNS_SERVER", named.server.to_string()),
        ("DNS_ZONE", "mysite.com".to_owned()),
        ("DNS_TSIG_NAME", "updater".to_owned()),
        ("DNS_TSIG_KEY", named.key.clone()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::Text(text)));
    rs_drivers::dns(&Settings::given("production", None, values)).unwrap()
}

#[test]
fn a_promotion_waits_until_every_application_server_sees_the_moved_name() {
    let scene = Scene::new("promoted");
    let (first, second) = (scene.named("dns"), scene.knot("secondary"));
    scene.credential("DNS_TSIG_KEY", &first.key);
    std::fs::create_dir_all(scene.path("servers")).unwrap();
    let user = if rustix::process::geteuid().is_root() { "\n    User: nobody" } else { "" };
    let inputs = format!(
        "  DB_HOST_NAME: text:{NAME}\n  DNS_SERVER: text:{}\n  DNS_ZONE: text:mysite.com\n  \
         DNS_TSIG_NAME: text:updater\n  DNS_TSIG_KEY: cred:DNS_TSIG_KEY\n\
         Machines:\n  Local:\n    Root: '{}'\n    Addresses: {}.128/25\n    Path: '{}'{user}\n",
        first.server,
        scene.text("servers"),
        scene.net,
        scene.search_path()
    );
    let set = set_with(scene, &inputs);
    let scene = &set.scene;
    scene.file("boot.sh", "#!/bin/bash\n# ---\n# RightScript Name: boot\n# Inputs: {}\n# ...\n");
    scene.file("app.yml", "Name: App\nInputs: {}\nRightScripts:\n  Boot: [boot.sh]\n");
    let site = std::fs::read_to_string(scene.path("site.yaml")).unwrap();
    let app = |name: &str, more: &str| {
        format!(
            "  - Name: {name}\n    Template: '{}'\n    Tags: ['application:active_www=true']\n{more}",
            scene.text("app.yml")
        )
    };
    let elsewhere = format!("    Inputs:\n      DNS_SERVER: text:{}\n", second.server);
    let site = format!("{site}{}{}", app("App 1", ""), app("App 2", &elsewhere));
    let file = scene.file("more.yaml", &site);
    scene.tool("rs-server").args(["apply", &file]).run().exits(0);
    scene.tool("rs-server").args(["launch", "App 1", "App 2"]).run().exits(0);
    let old: Ipv4Addr = set.master.address.parse().unwrap();
    let new: Ipv4Addr = set.warm.address.parse().unwrap();
    for server in [&first, &second] {
        dns(server).set(NAME, &[old], 60).unwrap();
    }
    set.dbsync(&["writes", "off", "Master DB"], 0);
    set.dbsync(&["hold", "Slave2 DB"], 0);

    // the other name server knows nothing of it yet: the promotion is done, and says who does not see it
    let promote: Vec<&str> =
        ["promote", "Slave2 DB", "--limit", "2s"].into_iter().chain(NO_BACKUPS).collect();
    let ran = set.dbsync(&promote, 6);
    ran.says(&format!("\"App 2\" still sees {NAME} at {old}"));
    assert_eq!(first.dig(NAME), [new.to_string()]);
    assert_eq!(set.warm.sql("SELECT @@read_only; SHOW SLAVE STATUS"), "0");

    // it waits while the other comes round, and names everybody who sees it
    let promote: Vec<&str> =
        ["promote", "Slave2 DB", "--limit", "60s"].into_iter().chain(NO_BACKUPS).collect();
    let child = scene.tool("rs-dbsync").args(&promote).env("RS_UPGRADE", "u-1").start();
    let other = dns(&second);
    until("the wait to be begun", Duration::from_secs(30), || {
        let open = scene.tool("rs-journal").args(["show", "--open", "--json"]).run();
        open.stdout.contains("promote")
    });
    other.set(NAME, &[new], 60).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let record: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let seen = &record["did"].as_array().unwrap().last().unwrap()["after"]["seen_by"];
    assert_eq!(seen, &serde_json::json!(["App 1", "App 2"]), "{record}");
    let again = set.dbsync(&promote, 0);
    assert_eq!(did(&again)["changed"], false);
}
