use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rs_contract::{Balancer, PageSwitch};
use rs_drivers::http::{Answer, Probe};
use rs_drivers::settings::Settings;
use rs_model::{Instance, Level, Resolved, Server, State, Value};

use crate::{Haproxy, Scene, until};

/// An HAProxy of a scene as our drivers see it: a server with inputs and a channel.
pub struct Balanced {
    /// The process.
    pub haproxy: Haproxy,
    /// The server.
    pub server: Server,
    /// Its inputs.
    pub settings: Settings,
    /// Its configuration.
    pub config: PathBuf,
}

/// The secret of the bypass.
pub const BYPASS: &str = "open-sesame-7";

/// A configuration with one pool, the page's rule and both sockets; `MEMBERS` stands for the marked block.
pub const CONFIG: &str = "\
global
  stats socket {dir}/haproxy.sock mode 600 level admin expose-fd listeners
  stats socket ipv4@{address}:9999 level admin
  stats timeout 1h
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  default-server inter 200ms fall 2 rise 1
frontend site
  bind {address}:8080
  acl up str(maintenance),map({dir}/maintenance.map,off) -m str on
  acl bypass req.hdr(X-Maintenance-Bypass) -m str open-sesame-7
  http-request return status 503 content-type text/html file {dir}/maintenance.html hdr Retry-After 60 hdr Cache-Control no-store if up !bypass
  http-response set-header X-Member %s
  default_backend www
backend www
  option httpchk GET /health
  # rs-members begin www
  # rs-members end www
  option redispatch
";

impl Scene {
    /// Starts an HAProxy with this configuration and its page.
    pub fn balanced(&self, name: &str, config: &str) -> Balanced {
        let folder = name.replace(' ', "-");
        let page = self.file(&format!("{folder}/maintenance.html"), "<h1>back soon</h1>\n");
        let map = self.file(&format!("{folder}/maintenance.map"), "maintenance off\n");
        for path in [page, map] {
            self.hand_over(std::path::Path::new(&path));
        }
        let haproxy = self.haproxy(&folder, config);
        let dir = haproxy.dir.display().to_string();
        let mut server = Server {
            name: name.to_owned(),
            state: State::Operational,
            address: haproxy.address.parse().ok(),
            ..Server::default()
        };
        let inputs: BTreeMap<String, Resolved> = [
            ("LB_APPLISTENER_NAME", "www".to_owned()),
            ("LB_RUNTIME_SOCKET", "unix:haproxy.sock".into()),
            ("LB_MASTER_SOCKET", "unix:master.sock".into()),
            ("LB_CONFIG_FILE", "haproxy.cfg".into()),
            ("LB_PAGE_MAP", "maintenance.map".into()),
            ("LB_PAGE_FILE", "maintenance.html".into()),
            ("LB_BYPASS_SECRET", BYPASS.into()),
        ]
        .into_iter()
        .map(|(name, text)| {
            (name.to_owned(), Resolved { value: Value::Text(text), from: Level::Server })
        })
        .collect();
        server.current = Some(Instance {
            id: format!("i-{folder}"),
            address: haproxy.address.parse().unwrap(),
            home: Some(dir),
            launched_at: "2026-01-01T00:00:00Z".into(),
            template: None,
            inputs,
            scripts_done: vec![],
            stranded_at: None,
        });
        let settings = Settings::of_current("production", &server, std::slice::from_ref(&server));
        let config = haproxy.dir.join("haproxy.cfg");
        Balanced { haproxy, server, settings, config }
    }
}

impl Balanced {
    /// The driver.
    pub fn balancer(&self, scene: &Scene) -> Box<dyn Balancer> {
        let channel = scene.here(&self.haproxy.dir);
        rs_drivers::balancer(&self.server, &self.settings, Some(channel)).unwrap()
    }

    /// The driver of the page.
    pub fn page(&self, scene: &Scene) -> Box<dyn PageSwitch> {
        let channel = scene.here(&self.haproxy.dir);
        rs_drivers::page(&self.server, &self.settings, Some(channel)).unwrap()
    }

    /// Sets an input.
    pub fn set(&mut self, name: &str, text: &str) {
        let value = Resolved { value: Value::Text(text.into()), from: Level::Server };
        self.settings.values.insert(name.into(), value);
    }

    /// The file's text.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.config).unwrap()
    }

    /// A request of a client.
    pub fn get(&self, path: &str) -> Answer {
        Probe::new(format!("{}:8080", self.haproxy.address).parse().unwrap(), "", path)
            .send()
            .unwrap()
    }

    /// The process id of the worker that answers now, by another program's word.
    pub fn worker(&self) -> u32 {
        use std::io::{Read, Write};
        let mut stream =
            std::os::unix::net::UnixStream::connect(self.haproxy.dir.join("haproxy.sock")).unwrap();
        stream.write_all(b"show info\n").unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text.lines()
            .find_map(|line| line.strip_prefix("Pid: "))
            .and_then(|pid| pid.parse().ok())
            .unwrap_or(0)
    }

    /// Reloads it: a signal may be lost, so it is repeated until a new worker answers.
    pub fn reload(&self) {
        let before = self.worker();
        let mut sent = std::time::Instant::now();
        let pid = rustix::process::Pid::from_raw(self.haproxy.pid as i32).unwrap();
        let signal = || rustix::process::kill_process(pid, rustix::process::Signal::USR2).unwrap();
        signal();
        until("a new worker", Duration::from_secs(20), || {
            if sent.elapsed() > Duration::from_secs(2) {
                signal();
                sent = std::time::Instant::now();
            }
            let now = self.worker();
            now != 0 && now != before
        });
    }
}
