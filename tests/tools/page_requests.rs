//! rs-maintenance start: what becomes of requests in flight, and a page that somebody reloads under.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rs_drivers::http::Probe;
use rs_tests::{Engines, each_engine, until};

use super::pool::{NAMES, Site};

each_engine!(
    long_requests_and_websockets_are_waited_for_or_ended_as_told_and_counted,
    a_websocket_in_an_old_worker_is_ended_too,
    a_page_survives_configuration_management_or_is_a_no,
    the_bypass_reaches_the_new_application_and_says_which_it_reaches,
);

/// A websocket through a balancer, as far as that goes: an upgraded connection that stays open.
fn websocket(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(format!("{address}:8080")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = "GET /socket HTTP/1.1\r\nHost: www.mysite.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(" 101 "), "{line}");
    stream
}

/// Whether the other side has closed it.
fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn slow(address: &str) -> u16 {
    let mut probe = Probe::new(format!("{address}:8080").parse().unwrap(), "", "/slow");
    probe.timeout = Duration::from_secs(60);
    // 502, or of later versions no answer at all
    probe.send().map_or(502, |answer| answer.status)
}

fn long_requests_and_websockets_are_waited_for_or_ended_as_told_and_counted(engines: Engines) {
    let site = Site::on(engines, "in-flight", 2);
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let [one, two] = [0, 1].map(|n| site.balancers()[n].0.clone());
    std::thread::scope(|scope| {
        let long = scope.spawn(|| slow(&one));
        let socket = websocket(&two);
        until("both to be there", Duration::from_secs(20), || site.apps[0].slow() == 2);
        // told nothing, it leaves them alone and says nothing of them
        let ran = site.page(&["start"]).run().exits(0);
        assert!(ran.records().iter().all(|r| r["drain"].is_null()), "{ran}");
        assert_eq!(site.apps[0].slow(), 2);
        // waited for in vain: the page stays up, and is owed
        site.page(&["start", "--wait", "300ms"]).run().exits(6).says("2 requests").says("--kill");
        assert_eq!((site.get(&one, "/").0, site.get(&two, "/").0), (503, 503));
        assert_eq!(site.debts(), ["page:www"]);
        let ran = site.page(&["start", "--wait", "100ms", "--kill"]).run().exits(0);
        for record in ran.records() {
            assert_eq!(record["drain"]["killed"], 2, "{ran}");
            assert_eq!(record["drain"]["finished"], 0, "{ran}");
            assert!(record["drain"]["longest_ms"].as_u64().is_some_and(|ms| ms >= 100), "{ran}");
        }
        assert_eq!(long.join().unwrap(), 502);
        assert!(is_closed(socket), "the websocket was ended");
        site.apps[0].let_go();
    });
    let _ = site.page(&["stop"]).run().exits(0);

    site.apps[0].hold_again();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| slow(&one));
        until("the request", Duration::from_secs(20), || site.apps[0].slow() == 1);
        let start = site.page(&["start", "--wait", "60s"]).start();
        // by its files: a request of ours might be in flight too
        until("the page", Duration::from_secs(20), || {
            site.balancers().iter().all(|(_, home)| {
                std::fs::read_to_string(format!("{home}/etc/maintenance.map")).unwrap()
                    == "maintenance on\n"
            })
        });
        site.apps[0].let_go();
        let out = start.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let record: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(record["drain"]["finished"], 1, "{record}");
        assert_eq!(record["drain"]["killed"], 0, "{record}");
        assert_eq!(long.join().unwrap(), 200);
    });
}

fn a_websocket_in_an_old_worker_is_ended_too(engines: Engines) {
    let site = Site::on(engines, "old-socket", 2);
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let address = site.balancers()[0].0.clone();
    let socket = websocket(&address);
    until("the websocket", Duration::from_secs(20), || site.apps[0].slow() == 1);
    let _ = site.scene.tool("rs-run").args(["balancer reload", "Load Balancer-1"]).run().exits(0);
    let members = site.lbctl(&["status", "--pool", "www"]).run().exits(0);
    assert!(members.stdout.contains("in the old worker"), "{members}");
    site.page(&["start", "--wait", "100ms"]).run().exits(6).says("1 requests");
    let ran = site.page(&["start", "--kill"]).run().exits(0);
    assert_eq!(ran.records()[0]["drain"]["killed"], 1, "{ran}");
    assert!(is_closed(socket), "the websocket was ended");
}

fn a_page_survives_configuration_management_or_is_a_no(engines: Engines) {
    let site = Site::on(engines, "rewritten", 2);
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let (address, home) = site.balancers().remove(0);
    let script = |name: &str| {
        let _ = site.scene.tool("rs-run").args([name, "Load Balancer-1"]).run().exits(0);
    };
    let _ = site.page(&["start"]).run().exits(0);
    // it writes what it always writes, and reloads: page and members are as they were
    script("balancer configure");
    script("balancer reload");
    assert_eq!(site.get(&address, "/").0, 503);
    let _ = site.page(&["status", "--require", "on"]).run().exits(0);
    let _ = site.page(&["start"]).run().exits(0);
    assert_eq!(site.members().len(), 2);

    // it writes a configuration of its own: the map is right, and what clients see is not the page
    let config = format!("{home}/etc/haproxy.cfg");
    let good = std::fs::read_to_string(&config).unwrap();
    let rule = good.lines().find(|line| line.contains("http-request return status 503")).unwrap();
    for text in [
        good.replace(rule, "  # no page here"),
        good.replace(rule, &rule.replace("if page_up", "if page_up !{ path_beg / }")),
    ] {
        std::fs::write(&config, text).unwrap();
        script("balancer reload");
        assert_eq!(site.get(&address, "/").0, 200, "users are let in");
        let map = std::fs::read_to_string(format!("{home}/etc/maintenance.map")).unwrap();
        assert_eq!(map, "maintenance on\n");
        site.page(&["status", "--require", "on"])
            .run()
            .exits(3)
            .says("Load Balancer-1")
            .says("is not the page: answers 200");
    }
    std::fs::write(&config, good).unwrap();
    script("balancer reload");
    let _ = site.page(&["status", "--require", "on"]).run().exits(0);
    let _ = site.page(&["stop"]).run().exits(0);
}

fn the_bypass_reaches_the_new_application_and_says_which_it_reaches(engines: Engines) {
    let site = Site::on(engines, "bypass-new", 2);
    site.apps[1].release("2.0");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    let _ = site.page(&["start"]).run().exits(0);
    let through = |release: &str| {
        let args = ["site", "--pool", "www", "--bypass", "--expect-release", release];
        site.scene.tool("rs-check").args(args).run()
    };
    through("2.0").exits(3).says("release 1.0 answers, 2.0 should");
    let _ = site.lbctl(&["connect", "--pool", "www", "--only", NAMES[1]]).run().exits(0);
    let _ = through("2.0").exits(0);
    through("1.0").exits(3).says("release 2.0 answers");
    // one balancer that sends the bypass elsewhere is named
    let home = site.balancers().remove(1).1;
    let old = format!("{}:{}", site.apps[0].address, site.apps[0].port);
    let config = format!("{home}/etc/haproxy.cfg");
    let good = std::fs::read_to_string(&config).unwrap();
    let elsewhere = good.replace(
        "  default_backend www",
        "  use_backend elsewhere if { req.hdr(X-Seen) -m found }\n  default_backend elsewhere",
    ) + &format!("\nbackend elsewhere\n  server old {old}\n");
    std::fs::write(&config, elsewhere).unwrap();
    let _ = site.scene.tool("rs-run").args(["balancer reload", "Load Balancer-2"]).run().exits(0);
    through("2.0").exits(3).says("Load Balancer-2").says("release 1.0 answers");
    for (address, _) in site.balancers() {
        assert_eq!(site.get(&address, "/haproxy-health").0, 200, "the health page");
        assert_eq!(site.get(&address, "/haproxy-status").0, 200, "the status page");
        assert_eq!(site.get(&address, "/").0, 503);
    }
}
