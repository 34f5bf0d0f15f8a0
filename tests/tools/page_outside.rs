//! rs-maintenance: what counts is what clients see, at every address, family and scheme, through every process.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rs_tests::Scene;

use super::pool::{NAMES, Site};

/// A site with one member, whose first balancer's configuration can be changed.
struct One {
    site: Site,
    address: String,
    config: String,
}

impl One {
    fn new(name: &str) -> One {
        let site = Site::new(name);
        let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
        let (address, home) = site.balancers().remove(0);
        One { site, address, config: format!("{home}/etc/haproxy.cfg") }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.config).unwrap()
    }

    /// Another configuration, read by the process.
    fn serve(&self, text: &str) {
        std::fs::write(&self.config, text).unwrap();
        let reload = ["balancer reload", "Load Balancer-1"];
        let _ = self.site.scene.tool("rs-run").args(reload).run().exits(0);
    }

    fn set(&self, input: &str) {
        let args = ["set", "--current", "--create", input, "--role", "lb"];
        let _ = self.site.scene.tool("rs-inputs").args(args).run().exits(0);
    }

    /// The page is refused for this reason, and nobody sees it.
    fn refused(&self, why: &str) {
        self.site.page(&["start"]).run().exits(5).says(why);
        assert!(self.site.debts().is_empty(), "nothing is owed");
        for (address, _) in self.site.balancers() {
            assert_eq!(self.site.get(&address, "/").0, 200);
        }
    }
}

fn openssl(args: &[&str]) {
    let out = Command::new("openssl").args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// A certificate for `host` of an authority that nobody knows: the file for HAProxy, and the authority's.
fn certificate(scene: &Scene, host: &str) -> (String, String) {
    let ext = scene.file("ext", &format!("subjectAltName=DNS:{host}\n"));
    let at = |name: &str| scene.text(name);
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
    let x509 = ["req", "-x509", "-days", "2", "-subj", "/CN=test authority", "-out", &ca];
    openssl(&[&x509[..], &key, &["-keyout", &ca_key]].concat());
    let (csr, own_key, own) = (at("own.csr"), at("own.key"), at("own.pem"));
    let subject = format!("/CN={host}");
    openssl(&[&["req", "-subj", &subject, "-out", &csr, "-keyout", &own_key][..], &key].concat());
    openssl(&[
        "x509",
        "-req",
        "-in",
        &csr,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-set_serial",
        "7",
        "-days",
        "2",
        "-extfile",
        &ext,
        "-out",
        &own,
    ]);
    let both = [std::fs::read(&own).unwrap(), std::fs::read(&own_key).unwrap()].concat();
    let both = scene.file("both.pem", &String::from_utf8(both).unwrap());
    std::fs::set_permissions(&both, PermissionsExt::from_mode(0o644)).unwrap();
    (both, ca)
}

#[test]
fn the_page_is_proven_over_tls_and_on_the_other_family_too() {
    let one = One::new("page-tls");
    let good = one.text();
    let (both, ca) = certificate(&one.site.scene, "www.mysite.com");
    let port = one.site.scene.own_port();
    let bind = format!("  bind [::1]:{port} ssl crt {both}\n  maxconn 2000\n");
    let with_tls = good.replace("  maxconn 2000\n", &bind);
    assert_ne!(with_tls, good);
    one.serve(&with_tls);
    // an authority that nobody believes: what is there cannot be seen
    one.refused(&format!("https://[::1]:{port}/"));
    one.set(&format!("LB_PROBE_CA=text:{ca}"));
    let records = one.site.page(&["start"]).run().exits(0).records();
    let seen = records[0]["page"]["seen"].as_array().unwrap();
    let urls: Vec<&str> = seen.iter().filter_map(|s| s["url"].as_str()).collect();
    assert_eq!(urls, [format!("http://{}:8080/", one.address), format!("https://[::1]:{port}/")]);
    assert!(seen.iter().all(|s| s["status"] == 503 && s["problem"].is_null()), "{seen:?}");
    let _ = one.site.page(&["stop"]).run().exits(0);
    // the map is right, and the rule spares TLS
    one.serve(&with_tls.replace("if page_up ", "if page_up !{ ssl_fc } "));
    one.refused(&format!("https://[::1]:{port}/ is not the page"));
    // every address of the other family: nobody can ask that without being told how
    let any = with_tls.replace(&format!("[::1]:{port}"), &format!(":::{port}"));
    one.serve(&any);
    one.refused("LB_PROBE_URL");
    one.set(&format!("LB_PROBE_URL=text:https://[::1]:{port}"));
    // both balancers are asked there now, and the first of them answers
    let _ = one.site.page(&["start"]).run().exits(0);
    let _ = one.site.page(&["stop"]).run().exits(0);
}

#[test]
fn a_rule_that_spares_a_path_a_method_or_any_bypass_is_no_page() {
    let one = One::new("page-spares");
    let good = one.text();
    for (rule, why) in [
        ("if page_up { path / } ", "a path that nobody knows"),
        ("if page_up !{ req.hdr(X-Maintenance-Bypass) -m found } ", "with a wrong bypass"),
        ("if page_up !METH_POST ", "POST: answers 200"),
    ] {
        one.serve(&good.replace("if page_up ", rule));
        one.refused(why);
    }
    // every other request
    let counted = "  http-request set-var(proc.n) int(0) unless { var(proc.n) -m found }\n  \
                   http-request set-var(proc.n) var(proc.n),add(1)\n  http-request return status 503";
    let uneven = good.replacen("  http-request return status 503", counted, 1);
    one.serve(&uneven.replace("if page_up ", "if page_up { var(proc.n),mod(2) eq 0 } "));
    one.refused("not every request gets the same");
    // what must be spared and is not
    for (rest, why) in
        [("!bypass", "the status page is hidden"), ("!status", "the bypass is hidden")]
    {
        one.serve(&good.replace("if page_up !bypass !status", &format!("if page_up {rest}")));
        one.refused(why);
    }
    one.serve(&good);
    let _ = one.site.page(&["start"]).run().exits(0);
    let _ = one.site.page(&["status", "--require", "on"]).run().exits(0);
    let _ = one.site.page(&["stop"]).run().exits(0);
}

#[test]
fn another_process_that_shares_the_address_is_seen() {
    let one = One::new("page-shared");
    // started by hand, forgotten, known to no master: it answers every other connection
    let scene = &one.site.scene;
    let stray = scene.file(
        "stray.cfg",
        &format!(
            "defaults\n  mode http\n  timeout connect 1s\n  timeout client 9s\n  timeout server 9s\nfrontend stray\n  bind {}:8080\n  default_backend b\nbackend b\n  server a {}:8000\n",
            one.address, one.site.apps[0].address
        ),
    );
    let haproxy = rs_tests::program("haproxy");
    scene.serve(&haproxy, &["-f", &stray]);
    rs_tests::until("the stray to answer", std::time::Duration::from_secs(10), || {
        let probe = rs_drivers::http::Probe::new(
            format!("{}:8080", one.address).parse().unwrap(),
            "www.mysite.com",
            "/",
        );
        probe.send().is_ok_and(|answer| answer.header("x-balancer").is_none())
    });
    one.site.page(&["start"]).run().exits(5).says("is not the page");
    assert!(one.site.debts().is_empty(), "nothing is owed");
}
