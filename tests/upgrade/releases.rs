//! The two releases of the demo cannot live with each other's schema: else there would be nothing to upgrade.

use std::time::Duration;

use rs_tests::until;

use super::site::Site;

/// The status with which a server's own application answers.
fn status(site: &Site, server: &str, args: &[&str], path: &str) -> String {
    let address = site.tool("rs-server").args(["list", server]).run().exits(0).record();
    let url = format!("http://{}:8000{path}", address["address"].as_str().unwrap());
    let mut all = vec!["-s", "-o", "/dev/null", "--max-time", "10", "-w", "%{http_code}"];
    all.extend(args);
    all.push(&url);
    site.scene.call("curl", "curl").args(all).run().stdout
}

/// Starts the application of a server and waits until it listens; it must neither be healthy nor take an order.
fn cannot_serve(site: &Site, server: &str) {
    let _ = site.tool("rs-run").args(["app start", server]).run();
    until("the application to listen", Duration::from_secs(30), || {
        status(site, server, &[], "/version") == "200"
    });
    assert_eq!(
        status(site, server, &[], "/health"),
        "503",
        "{server} is healthy on the wrong schema"
    );
    let order = ["-d", "number=wrong-schema-1", "-d", "customer=A B", "-d", "amount=5"];
    let answer = status(site, server, &order, "/orders");
    assert!(answer.starts_with('5'), "{server} took an order on the wrong schema: {answer}");
    let _ = site.tool("rs-run").args(["app stop", server, "--stay"]).run().exits(0);
}

/// Somebody else on the port of a stopped application is not taken for it.
fn nobody_answers_in_its_place(site: &Site, server: &str) {
    let record = site.tool("rs-server").args(["list", server]).run().exits(0).record();
    let port = format!("{}:8000", record["address"].as_str().unwrap());
    let foreigner = std::net::TcpListener::bind(port).unwrap();
    let start = || site.tool("rs-run").args(["app start", server]).run();
    let _ = start().exits(1).says("somebody else answers in its place");
    drop(foreigner);
    let _ = start().exits(0);
    let _ = site.tool("rs-run").args(["app stop", server, "--stay"]).run().exits(0);
}

#[test]
fn neither_release_can_live_with_the_schema_of_the_other() {
    let site = Site::up("releases", "");
    let _ = site.run("scripts/upgrade.sh", &["--until", "12"]).exits(0);
    cannot_serve(&site, "App Server-3");
    nobody_answers_in_its_place(&site, "App Server-3");
    let _ = site.run("scripts/upgrade.sh", &["--until", "31"]).exits(0);
    cannot_serve(&site, "App Server-1");
    assert_eq!(status(&site, "App Server-3", &[], "/health"), "200");
}
