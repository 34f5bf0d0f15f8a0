//! Contract of the family `Dns`: `set` returns after the authoritative server shows it, twice is once, an empty list
//! removes the name, and what does not answer is unreachable.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use rs_contract::{Dns, Kind, Result};
use rs_drivers::settings::Settings;
use rs_model::Value;
use rs_tests::{Named, Scene};

const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

fn open(values: &[(&str, &str)]) -> Result<Box<dyn Dns>> {
    let values =
        values.iter().map(|(name, text)| ((*name).to_owned(), Value::Text((*text).into())));
    rs_drivers::dns(&Settings::given("production", None, values))
}

fn bind(named: &Named, key_name: &str, key: &str) -> Box<dyn Dns> {
    open(&[
        ("DNS_SERVER", &named.server.to_string()),
        ("DNS_ZONE", "mysite.com"),
        ("DNS_TSIG_NAME", key_name),
        ("DNS_TSIG_KEY", key),
    ])
    .unwrap()
}

/// What every driver must do.
fn suite(dns: &dyn Dns, has_ttl: bool) {
    let name = "test1.mysite.com";
    dns.try_key().unwrap();
    assert_eq!(dns.lookup(name).unwrap(), (Vec::new(), None), "not there yet");
    dns.set(name, &[B, A, A], 60).unwrap();
    assert_eq!(dns.lookup(name).unwrap(), (vec![A, B], has_ttl.then_some(60)));
    assert_eq!(dns.lookup("TEST1.mysite.com.").unwrap().0, [A, B]);
    dns.set(name, &[A, B], 60).unwrap();
    dns.set(name, &[B], 30).unwrap();
    assert_eq!(dns.lookup(name).unwrap(), (vec![B], has_ttl.then_some(30)));
    dns.set("other.mysite.com", &[A], 60).unwrap();
    dns.set(name, &[], 60).unwrap();
    dns.set(name, &[], 60).unwrap();
    assert_eq!(dns.lookup(name).unwrap(), (Vec::new(), None));
    assert_eq!(dns.lookup("other.mysite.com").unwrap().0, [A], "its neighbour stays");
    assert!(!dns.has_aaaa("other.mysite.com").unwrap());
    assert!(dns.has_aaaa("six.mysite.com").unwrap());
    for bad in ["", "a b.mysite.com", "$(reboot).mysite.com", "a\n.mysite.com"] {
        assert_eq!(dns.lookup(bad).unwrap_err().kind(), Kind::Usage, "{bad:?}");
        assert_eq!(dns.set(bad, &[A], 60).unwrap_err().kind(), Kind::Usage, "{bad:?}");
    }
}

#[test]
fn rfc2136_keeps_the_contract_on_a_real_bind() {
    let scene = Scene::new("dns-bind");
    let named = scene.named("dns");
    let dns = bind(&named, "updater", &named.key);
    suite(&*dns, true);
    // another program agrees
    assert_eq!(named.dig("other.mysite.com"), ["127.0.0.11"]);
    assert!(named.dig("test1.mysite.com").is_empty());
}

#[test]
fn rfc2136_keeps_the_contract_on_a_real_knot() {
    let scene = Scene::new("dns-knot");
    let knot = scene.knot("dns");
    suite(&*bind(&knot, "updater", &knot.key), true);
    assert_eq!(knot.dig("other.mysite.com"), ["127.0.0.11"]);
    let wildcard = bind(&knot, "updater", &knot.key).set("x.wild.mysite.com", &[A], 60);
    assert_eq!(wildcard.unwrap_err().kind(), Kind::Declined);
    for (key_name, key) in [
        ("updater", knot.stranger.as_str()),
        ("nobody", knot.key.as_str()),
        ("stranger", knot.stranger.as_str()),
    ] {
        let error = bind(&knot, key_name, key).set("a.mysite.com", &[A], 60).unwrap_err();
        assert_eq!(error.kind(), Kind::Failed, "{key_name}: {error}");
        let error = bind(&knot, key_name, key).try_key().unwrap_err();
        assert_eq!(error.kind(), Kind::Failed, "tried without a change, {key_name}: {error}");
    }
    assert!(knot.dig("a.mysite.com").is_empty());
}

#[test]
fn hosts_keeps_the_contract_and_other_lines_stay() {
    let scene = Scene::new("dns-hosts");
    let before = "127.0.0.1 localhost\n::1 six.mysite.com\n127.0.0.9 www.mysite.com # theirs\n";
    let file = scene.file("hosts", before);
    let dns = open(&[("DNS_DRIVER", "hosts"), ("DNS_HOSTS_FILE", &file)]).unwrap();
    suite(&*dns, false);
    assert_eq!(dns.set("www.mysite.com", &[A], 60).unwrap_err().kind(), Kind::Declined);
    dns.set("other.mysite.com", &[], 60).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let gone = open(&[("DNS_DRIVER", "hosts"), ("DNS_HOSTS_FILE", &scene.text("none"))]).unwrap();
    assert_eq!(gone.lookup("a.mysite.com").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn two_tools_at_once_lose_no_line_of_a_hosts_file() {
    let scene = Scene::new("dns-hosts-race");
    let file = scene.file("hosts", "");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let file = &file;
            scope.spawn(move || {
                let dns = open(&[("DNS_DRIVER", "hosts"), ("DNS_HOSTS_FILE", file)]).unwrap();
                for n in 0..20 {
                    dns.set(&format!("h{n}.w{worker}.mysite.com"), &[A], 60).unwrap();
                }
            });
        }
    });
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("127.0.0.11")).count(), 80);
}

#[test]
fn a_wrong_key_is_named_and_nothing_is_changed() {
    let scene = Scene::new("dns-key");
    let named = scene.named("dns");
    for (key_name, key, says) in [
        ("updater", named.stranger.as_str(), "DNS_TSIG_KEY"),
        ("nobody", named.key.as_str(), "DNS_TSIG_NAME"),
        ("stranger", named.stranger.as_str(), "update-policy"),
    ] {
        let error = bind(&named, key_name, key).set("a.mysite.com", &[A], 60).unwrap_err();
        assert_eq!(error.kind(), Kind::Failed, "{error}");
        assert!(error.advice().is_some_and(|hint| hint.contains(says)), "{key_name}: {error:?}");
        assert!(!format!("{error:?}").contains(key), "the secret is shown");
    }
    for (key_name, key) in [("", named.key.as_str()), ("updater", "no base64!")] {
        let error = bind(&named, key_name, key).set("a.mysite.com", &[A], 60).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
    assert!(named.dig("a.mysite.com").is_empty());
}

#[test]
fn an_alias_a_wildcard_and_a_foreign_zone_are_refused() {
    let scene = Scene::new("dns-refused");
    let named = scene.named("dns");
    let dns = bind(&named, "updater", &named.key);
    let error = dns.set("alias.mysite.com", &[A], 60).unwrap_err();
    assert!(error.kind() == Kind::Declined && error.what().contains("is an alias of"), "{error}");
    assert_eq!(dns.lookup("alias.mysite.com").unwrap_err().kind(), Kind::Declined);
    assert_eq!(dns.set("x.wild.mysite.com", &[A], 60).unwrap_err().kind(), Kind::Declined);
    assert_eq!(dns.set("www.example.org", &[A], 60).unwrap_err().kind(), Kind::Usage);
    let error = dns.lookup("www.example.org").unwrap_err();
    assert!(error.advice().is_some_and(|hint| hint.contains("authoritative")), "{error:?}");
    let elsewhere = open(&[
        ("DNS_SERVER", &named.server.to_string()),
        ("DNS_ZONE", "example.org"),
        ("DNS_TSIG_NAME", "updater"),
        ("DNS_TSIG_KEY", &named.key),
    ])
    .unwrap();
    elsewhere.set("www.example.org", &[A], 60).unwrap_err();
}

/// A yes in all but the signature: somebody else answers at that address.
#[test]
fn an_answer_that_our_key_did_not_sign_is_not_believed() {
    let scene = Scene::new("dns-unsigned");
    let listener = TcpListener::bind(format!("{}:5355", scene.address())).unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let liar = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut asked).unwrap();
        // an answer to the update of that number: NXDOMAIN, which the question must get
        let answer = [0, 12, asked[0], asked[1], 0xa8, 3, 0, 0, 0, 0, 0, 0, 0, 0];
        stream.write_all(&answer).unwrap();
    });
    let dns = open(&[
        ("DNS_SERVER", &server),
        ("DNS_ZONE", "mysite.com"),
        ("DNS_TSIG_NAME", "updater"),
        ("DNS_TSIG_KEY", "c2VjcmV0"),
    ])
    .unwrap();
    let error = dns.try_key().unwrap_err();
    assert!(error.what().contains("is not signed by our key"), "{error}");
    liar.join().unwrap();
}

#[test]
fn a_server_that_does_not_answer_is_unreachable_in_finite_time() {
    let scene = Scene::new("dns-gone");
    let address = scene.address();
    // bound and mute: datagrams vanish
    let _mute = std::net::UdpSocket::bind(format!("{address}:5354")).unwrap();
    for port in [5353, 5354] {
        let dns = open(&[
            ("DNS_SERVER", &format!("{address}:{port}")),
            ("DNS_ZONE", "mysite.com"),
            ("DNS_TSIG_NAME", "updater"),
            ("DNS_TSIG_KEY", "c2VjcmV0"),
        ])
        .unwrap();
        let begun = Instant::now();
        let error = dns.lookup("a.mysite.com").unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
        assert!(error.what().contains(&format!("{address}:{port}")), "{error}");
        assert_eq!(dns.set("a.mysite.com", &[A], 60).unwrap_err().kind(), Kind::Unreachable);
        assert!(begun.elapsed().as_secs() < 20);
    }
}
