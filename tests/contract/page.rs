//! The suite of `PageSwitch`, on a real HAProxy, of the machine's version and a newer one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rs_contract::{Change, Kind};
use rs_drivers::http::Probe;
use rs_model::member::Admin;
use rs_tests::{Balanced, CONFIG, Engines, Scene, each_engine};

each_engine!(
    the_page_is_seen_goes_away_and_lets_the_bypass_through,
    the_page_survives_a_reload_in_both_directions,
    an_old_worker_shows_the_page_too,
    prepare_declines_what_would_not_be_seen_and_changes_nothing_that_is,
    a_page_that_no_process_has_read_is_not_taken_for_the_page,
    a_map_that_no_rule_uses_is_not_found,
    a_map_without_the_key_gets_it_once,
);

fn with_member(scene: &Scene, config: &str) -> Balanced {
    let app = scene.app("app");
    let lb = scene.balanced("Load Balancer-1", config);
    let change = Change::Present {
        address: app.address.parse().unwrap(),
        port: app.port,
        id: "a".into(),
        admin: Admin::Ready,
    };
    lb.balancer(scene).apply("www", &[change]).unwrap();
    lb
}

fn the_page_is_seen_goes_away_and_lets_the_bypass_through(engines: Engines) {
    let scene = Scene::on(engines, "page");
    let lb = with_member(&scene, CONFIG);
    let page = lb.page(&scene);
    page.prepare("www", None).unwrap();
    assert_eq!(page.active("www").unwrap(), (false, Some(false)));
    for _ in 0..2 {
        page.set("www", true).unwrap();
        assert_eq!(page.active("www").unwrap(), (true, Some(true)));
    }
    let listens = page.listens("www").unwrap();
    assert_eq!(listens.len(), 1);
    let at = (listens[0].address, listens[0].port).into();
    let answer = Probe::new(at, "www.mysite.com", "/").send().unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let through = Probe::new(at, "", "/").bypass(&lb.settings).unwrap().send().unwrap();
    assert_eq!((through.status, through.body.as_slice()), (200, b"app".as_slice()));
    page.set("www", false).unwrap();
    assert_eq!(page.active("www").unwrap(), (false, Some(false)));
    assert_eq!(lb.get("/").status, 200);
}

fn the_page_survives_a_reload_in_both_directions(engines: Engines) {
    let scene = Scene::on(engines, "page-reload");
    let lb = with_member(&scene, CONFIG);
    let page = lb.page(&scene);
    page.set("www", true).unwrap();
    lb.reload();
    assert_eq!(page.active("www").unwrap(), (true, Some(true)));
    assert_eq!(lb.get("/").status, 503);
    page.set("www", false).unwrap();
    lb.reload();
    assert_eq!(page.active("www").unwrap(), (false, Some(false)));
    assert_eq!(lb.get("/").status, 200);
}

fn an_old_worker_shows_the_page_too(engines: Engines) {
    let scene = Scene::on(engines, "page-old-worker");
    let lb = with_member(&scene, CONFIG);
    let page = lb.page(&scene);
    // connected before the reload and silent: the old worker will serve it
    let mut early = TcpStream::connect(format!("{}:8080", lb.haproxy.address)).unwrap();
    early.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    rs_tests::until("the connection to be taken", Duration::from_secs(10), || connections(&lb) > 0);
    lb.reload();
    assert_eq!(page.processes("www").unwrap().len(), 2);
    page.set("www", true).unwrap();
    assert!(page.processes("www").unwrap().iter().all(|(_, on)| *on));
    early.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    early.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
}

fn connections(lb: &Balanced) -> u32 {
    let mut stream =
        std::os::unix::net::UnixStream::connect(lb.haproxy.dir.join("haproxy.sock")).unwrap();
    stream.write_all(b"show stat site 1 -1\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let row = text.lines().nth(1).unwrap_or_default();
    row.split(',').nth(4).and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn prepare_declines_what_would_not_be_seen_and_changes_nothing_that_is(engines: Engines) {
    let scene = Scene::on(engines, "page-prepare");
    let lb = with_member(&scene, CONFIG);
    let page = lb.page(&scene);
    assert_eq!(page.prepare("www", Some(&[b'x'; 15_001])).unwrap_err().kind(), Kind::Usage);
    assert_eq!(page.prepare("www", Some(b"")).unwrap_err().kind(), Kind::Usage);
    assert_eq!(page.prepare("nope", None).unwrap_err().kind(), Kind::NotFound);
    page.prepare("www", Some(b"<h1>back soon</h1>\n")).unwrap();
    let text = lb.text();
    let secret = |text: &str| text.replace("hdr Retry-After 60 ", "");
    std::fs::write(&lb.config, secret(&text)).unwrap();
    let e = page.prepare("www", None).unwrap_err();
    assert_eq!(e.kind(), Kind::Declined);
    assert!(e.to_string().contains("Retry-After"), "{e}");
    let second = text.replace(
        "backend www\n",
        "frontend tls\n  bind :8443\n  default_backend www\nbackend www\n",
    );
    std::fs::write(&lb.config, second).unwrap();
    let e = page.prepare("www", None).unwrap_err();
    assert!(e.to_string().contains("\"tls\""), "a frontend without the rule is named: {e}");
    assert_eq!(lb.get("/").status, 200);
}

fn a_page_that_no_process_has_read_is_not_taken_for_the_page(engines: Engines) {
    let scene = Scene::on(engines, "page-newer");
    let lb = with_member(&scene, CONFIG);
    let page = lb.page(&scene);
    let file = lb.haproxy.dir.join("maintenance.html");
    // as if it had been written long after the start
    let later = std::time::SystemTime::now() + Duration::from_secs(60);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let e = page.prepare("www", None).unwrap_err();
    assert_eq!(e.kind(), Kind::Declined);
    assert!(e.to_string().contains("newer than the process"), "{e}");
}

fn a_map_that_no_rule_uses_is_not_found(engines: Engines) {
    let scene = Scene::on(engines, "page-map");
    let mut lb = with_member(&scene, CONFIG);
    lb.set("LB_PAGE_MAP", "other.map");
    let e = lb.page(&scene).prepare("www", None).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound, "{e}");
    assert!(e.advice().is_some_and(|hint| hint.contains("LB_PAGE_MAP")), "{e}");
}

fn a_map_without_the_key_gets_it_once(engines: Engines) {
    let scene = Scene::on(engines, "page-key");
    let lb = with_member(&scene, CONFIG);
    let map = lb.haproxy.dir.join("maintenance.map");
    std::fs::write(&map, "# none\n").unwrap();
    lb.reload();
    let page = lb.page(&scene);
    for on in [true, true, false] {
        page.set("www", on).unwrap();
        assert_eq!(page.active("www").unwrap(), (on, Some(on)));
    }
    assert_eq!(std::fs::read_to_string(&map).unwrap(), "# none\nmaintenance off\n");
}
