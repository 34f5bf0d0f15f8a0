use std::net::SocketAddr;
use std::time::Duration;

use crate::scene::{Scene, program, until};

const KEY: &str = "c2VjcmV0IG9mIHRoZSB1cGRhdGVyIQ==";
const STRANGER: &str = "c2VjcmV0IG9mIHRoZSBzdHJhbmdlcg==";

/// An address, an alias, a name of the other family, and a wildcard.
const ZONE: &str = "$TTL 60\n@ IN SOA ns.mysite.com. admin.mysite.com. 1 60 60 600 60\n@ IN NS ns.mysite.com.\n\
     ns IN A 127.0.0.1\nalias IN CNAME ns\nsix IN AAAA ::1\n*.wild IN A 127.0.0.9\n";

/// A DNS server of a scene (BIND or Knot), primary of the zone `mysite.com`.
///
/// It knows two keys: `updater` may change the zone, `stranger` may not.
pub struct Named {
    /// Where it answers, by UDP and TCP.
    pub server: SocketAddr,
    /// Secret of `updater`, base64.
    pub key: String,
    /// Secret of `stranger`, base64.
    pub stranger: String,
}

impl Named {
    /// A records as `dig` sees them, sorted: another program's word beside ours.
    pub fn dig(&self, name: &str) -> Vec<String> {
        let out = std::process::Command::new(program("dig"))
            .args(["+short", "+norecurse", "+time=2", &format!("@{}", self.server.ip()), "-p"])
            .args([&self.server.port().to_string(), name, "A"])
            .output()
            .unwrap();
        let mut lines: Vec<String> =
            String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl Scene {
    /// Starts a BIND.
    pub fn named(&self, name: &str) -> Named {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        self.hand_over(&dir);
        // BIND listens only on addresses that an interface shows, and the loopback's shows but one: so the port
        // is the scene's own, as its range is
        let address = "127.0.0.1";
        let port = self.own_port();
        let (key, stranger) = (KEY, STRANGER);
        let config = format!(
            r#"options {{ directory "{d}"; listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }};
  pid-file "{d}/named.pid"; session-keyfile "{d}/session.key"; recursion no; dnssec-validation no; }};
controls {{ }};
key "updater" {{ algorithm hmac-sha256; secret "{key}"; }};
key "stranger" {{ algorithm hmac-sha256; secret "{stranger}"; }};
zone "mysite.com" {{ type primary; file "mysite.com.zone"; update-policy {{ grant updater zonesub ANY; }}; }};
"#,
            d = dir.display(),
        );
        let file = self.file(&format!("{name}/named.conf"), &config);
        let zone = self.file(&format!("{name}/mysite.com.zone"), ZONE);
        self.hand_over(std::path::Path::new(&zone));
        self.serve(&program("named"), &["-g", "-n", "1", "-c", &file]);
        let named = Named {
            server: format!("{address}:{port}").parse().unwrap(),
            key: key.to_owned(),
            stranger: stranger.to_owned(),
        };
        until("named to answer", Duration::from_secs(30), || {
            named.dig("ns.mysite.com") == ["127.0.0.1"]
        });
        named
    }

    /// Starts a Knot, on an address of the scene's own.
    pub fn knot(&self, name: &str) -> Named {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        self.hand_over(&dir);
        let address = self.address();
        let config = format!(
            r#"server:
    rundir: "{d}"
    listen: [ {address}@5353 ]
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
control:
    listen: "{d}/knot.sock"
database:
    storage: "{d}"
    journal-db-max-size: 16M
    kasp-db-max-size: 8M
    timer-db-max-size: 8M
    catalog-db-max-size: 8M
key:
  - id: updater
    algorithm: hmac-sha256
    secret: {KEY}
  - id: stranger
    algorithm: hmac-sha256
    secret: {STRANGER}
acl:
  - id: signed
    key: updater
    action: update
zone:
  - domain: mysite.com
    file: "{d}/mysite.com.zone"
    acl: signed
"#,
            d = dir.display(),
        );
        let file = self.file(&format!("{name}/knot.conf"), &config);
        let zone = self.file(&format!("{name}/mysite.com.zone"), ZONE);
        self.hand_over(std::path::Path::new(&zone));
        self.serve(&program("knotd"), &["-c", &file]);
        let knot = Named {
            server: format!("{address}:5353").parse().unwrap(),
            key: KEY.to_owned(),
            stranger: STRANGER.to_owned(),
        };
        until("knot to answer", Duration::from_secs(30), || {
            knot.dig("ns.mysite.com") == ["127.0.0.1"]
        });
        knot
    }
}
