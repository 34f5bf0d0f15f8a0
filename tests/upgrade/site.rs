//! The demo's site as a test has it: its own name, range and folder, gone with the test.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rs_tests::{Call, Engines, Ran, Scene, until};

/// A site that `scripts/demo/demo.sh` made.
pub struct Site {
    /// The scene whose addresses it has.
    pub scene: Scene,
    name: String,
    /// Options of scripts/demo/site.sh.
    pub options: String,
    /// Orders of the past.
    pub orders: &'static str,
    /// Its folder.
    pub place: PathBuf,
}

impl Site {
    /// Makes it. `options` go to scripts/demo/site.sh, e.g. `--pool shop --lb-port 9080`.
    pub fn up(name: &str, options: &str) -> Site {
        Site::up_on(Engines::Host, name, options)
    }

    /// The same, of those engines.
    pub fn up_on(engines: Engines, name: &str, options: &str) -> Site {
        let site = Site::planned(engines, name, options);
        site.raise();
        site
    }

    /// Its name, range and folder, before anything of it is made.
    pub fn planned(engines: Engines, name: &str, options: &str) -> Site {
        let scene = Scene::on(engines, name);
        let name = scene.dir.file_name().unwrap().to_string_lossy().into_owned();
        let place = rs_tests::demo_dir().join(&name);
        Site { scene, name, options: options.to_owned(), orders: "200000", place }
    }

    /// Makes what is planned.
    pub fn raise(&self) {
        let _ = self
            .call("scripts/demo/demo.sh")
            .args(["up"])
            .limit(Duration::from_secs(300))
            .run()
            .exits(0);
    }

    /// A call of a script of the project in the site's environment.
    pub fn call(&self, script: &str) -> Call {
        self.dressed(self.scene.script(script))
    }

    /// A call of any program in the site's environment.
    pub fn dressed(&self, call: Call) -> Call {
        call.env("RS_DEMO_SITE", &self.name)
            .env("RS_DEMO_ORDERS", self.orders)
            .env("RS_DEMO_ADDRESSES", format!("{}.0/24", self.scene.net))
            .env("RS_DEMO_OPTIONS", &self.options)
            .env("RS_DEMO_ENGINES", self.scene.engines.word())
            .env("RS_CLOUD", format!("sqlite:{}/state.db", self.place.display()))
            .env("RS_CREDENTIALS", self.place.join("credentials").display().to_string())
    }

    /// A call of a tool in the site's environment.
    pub fn tool(&self, name: &str) -> Call {
        self.scene
            .tool(name)
            .env("RS_CLOUD", format!("sqlite:{}/state.db", self.place.display()))
            .env("RS_CREDENTIALS", self.place.join("credentials").display().to_string())
            .env("RS_UPGRADE", "u-1")
    }

    /// A line as a person types it in the site's environment.
    pub fn bash(&self, line: &str) -> Ran {
        self.scene
            .call("bash", "bash")
            .args(["-o", "pipefail", "-c", line])
            .env("RS_CLOUD", format!("sqlite:{}/state.db", self.place.display()))
            .env("RS_CREDENTIALS", self.place.join("credentials").display().to_string())
            .run()
    }

    /// What a server's own database answers, by its administrator.
    pub fn sql(&self, server: &str, query: &str) -> String {
        let found = self.tool("rs-server").args(["list", server]).run().exits(0).record();
        let home = found["current"]["home"].as_str().unwrap().to_owned();
        let call = self.scene.call(&format!("{home}/bin/sql"), "sql").env("HOME", &home);
        call.args(["-e", query]).run().exits(0).stdout.trim().to_owned()
    }

    /// `upgrade.sh` or `rollback.sh` with the site's settings.
    pub fn run(&self, script: &str, args: &[&str]) -> Ran {
        let conf = self.place.join("upgrade.conf").display().to_string();
        let mut all = vec!["--conf", &conf, "--yes"];
        all.extend(args);
        self.call(script).args(all).limit(Duration::from_secs(900)).run()
    }

    /// Starts the outside observer.
    pub fn observe(&self) -> Observer<'_> {
        self.observe_at("60")
    }

    /// Starts it with so many requests a second.
    pub fn observe_at(&self, rate: &str) -> Observer<'_> {
        let stop = self.place.join("probe.stop");
        let log = self.place.join("probe.log");
        let _ = std::fs::remove_file(&stop);
        let _ = std::fs::remove_file(&log);
        let child = self
            .tool("rs-check")
            .args(["probe", "--pool", "www", "--rate", rate, "--until"])
            .args([stop.display().to_string(), "--log".into(), log.display().to_string()])
            .start();
        let observer = Observer { site: self, child: Some(child) };
        until("the observer's first answers", Duration::from_secs(30), || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() > 20)
        });
        observer
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // what happened is easier seen with the journal; the processes must go all the same
            let report = self.tool("rs-journal").args(["show", "--last", "30"]).run();
            let _ = std::io::Write::write_all(&mut std::io::stderr(), report.stdout.as_bytes());
        }
        let _ = self.call("scripts/demo/demo.sh").args(["down"]).run();
    }
}

/// The outside observer of a site, running.
pub struct Observer<'a> {
    site: &'a Site,
    child: Option<Child>,
}

impl Observer<'_> {
    /// Waits until it was answered by the site, and not by the page, some more times.
    pub fn served_again(&self) -> Result<(), String> {
        let log = self.site.place.join("probe.log");
        let served = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().filter(|line| line.contains("\"class\":\"ok\"")).count()
        };
        let (before, begun) = (served(), Instant::now());
        while served() < before + 12 {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err("clients are not served at the declared end".into());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends it and returns its summary.
    pub fn summary(mut self) -> serde_json::Value {
        summary(self.child.take().unwrap(), &self.site.place.join("probe.stop"))
    }
}

/// Ends `rs-check probe` by the file that it waits for, and returns its summary.
pub fn summary(probe: Child, stop: &Path) -> serde_json::Value {
    std::fs::write(stop, "").unwrap();
    let out = probe.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|record| record["schema"] == "rs.summary/1")
        .unwrap_or_else(|| panic!("no summary\n{text}\n{}", String::from_utf8_lossy(&out.stderr)))
}

impl Drop for Observer<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
