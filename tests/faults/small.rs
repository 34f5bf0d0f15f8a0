//! The demo's site with few orders, saved as a whole and brought back: all of it stopped, copied, started again.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rs_tests::{Call, Engines, Ran, processes_of, root, tools, until};
use rustix::process::{Pid, Signal, kill_process};

use super::table::SAVED;
use crate::upgrade::site::Site;

/// The environment with which the init of a server was started, by the server's folder.
type Inits = Vec<(PathBuf, Vec<(String, String)>)>;

/// A small site, with its saved states.
pub struct Small {
    /// The site.
    pub site: Site,
    /// Where faults are armed.
    pub fault: PathBuf,
    scripts: PathBuf,
    inits: BTreeMap<usize, Inits>,
    orders: BTreeMap<usize, u64>,
    owed: BTreeMap<&'static str, BTreeSet<String>>,
    homes: std::cell::RefCell<BTreeMap<String, PathBuf>>,
    clock: std::cell::RefCell<Option<Child>>,
    starts: std::cell::Cell<u32>,
    started: std::cell::RefCell<Vec<Child>>,
}

fn signal(pid: i32, what: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, what);
    }
}

fn environment(pid: i32) -> Vec<(String, String)> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let text = String::from_utf8_lossy(entry).into_owned();
            text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn shell(script: &str, args: &[&Path]) {
    let done = Command::new("bash").args(["-euc", script, "bash"]).args(args).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Whoever strikes must be there in time, also on a busy machine: this thread goes first, where that is allowed. What it
/// starts does not.
fn go_first() {
    let Ok(me) = std::fs::read_link("/proc/thread-self") else { return };
    let thread = me.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let _ =
        Command::new("chrt").args(["--fifo", "--reset-on-fork", "--pid", "1", &thread]).output();
}

impl Small {
    /// Makes the site, with what strikes it in place, and saves it.
    pub fn up(name: &str) -> Small {
        go_first();
        let mut site = Site::planned(Engines::Host, name, "");
        site.orders = "2000";
        let fault = site.scene.path("fault");
        shell(
            "mkdir -p \"$1\"/tools \"$1\"/servers && chmod 1777 \"$1\"
                 for tool in \"$3\"/rs-*; do
                   [[ $tool == *.* ]] || install -m 755 \"$2/tool.sh\" \"$1/tools/${tool##*/}\"
                 done
                 install -m 755 \"$2/script.sh\" \"$1/servers/bash\"",
            &[&fault, &root().join("tests/faults"), &tools()],
        );
        // a rehearsal that went well, noted before there is any deployment that could be meant instead
        std::fs::create_dir_all(&site.place).unwrap();
        for step in ["step 18", "step 23", "step 31", "step 38"] {
            let _ = site
                .tool("rs-journal")
                .args(["mark", step, "--took-ms", "900", "--deployment", "staging"])
                .env("RS_UPGRADE", "u-1-rehearsal-1")
                .run()
                .exits(0);
        }
        let machine = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let engines = rs_tests::demo_dir().join("engines/bin");
        site.options =
            format!("--path {}:{}:{machine}", fault.join("servers").display(), engines.display());
        site.raise();
        let scripts = site.scene.path("scripts");
        // the steps say to what they call which step they are; nothing else of the scripts is changed
        shell(
            "cp -a \"$1/scripts\" \"$2\"
             for file in \"$2\"/steps/[0-9]*; do
               number=${file##*/}
               sed -i \"s/^step_[0-9a-z_]*() {\\$/&\\n  export FAULT_STEP=${number%%-*}/\" \"$file\"
               grep -q FAULT_STEP \"$file\"
             done",
            &[root(), &scripts],
        );
        let small = Small {
            site,
            fault,
            scripts,
            inits: BTreeMap::new(),
            orders: BTreeMap::new(),
            owed: BTreeMap::new(),
            homes: std::cell::RefCell::default(),
            clock: std::cell::RefCell::default(),
            starts: std::cell::Cell::new(0),
            started: std::cell::RefCell::default(),
        };
        small.settings();
        // what is due is taken now, and not at the beginning of each cell
        let _ = small.tool("rs-snapshot", &["take", "--if-due", "--role", "db"]).exits(0);
        small
    }

    /// Every step has something to do: it asks for the rehearsal, and applications want a restart.
    fn settings(&self) {
        let conf = self.site.place.join("upgrade.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        let text = text.replace("STAGING=\n", "STAGING=staging\n");
        let text = text + "RESTART_APP=yes\n";
        std::fs::write(&conf, text).unwrap();
    }

    /// The time for which a site lay saved behind the page is not to be counted as time of its window.
    fn window_again(&self) {
        let conf = self.site.place.join("upgrade.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        let longer = text.replace("\nWINDOW=10m\n", "\nWINDOW=24h\n");
        assert!(longer.contains("\nWINDOW=24h\n"), "the window of the demo is another: {text}");
        std::fs::write(&conf, longer).unwrap();
    }

    fn image(&self, number: usize) -> PathBuf {
        self.site.scene.path(&format!("images/{number}"))
    }

    /// Whether this one of `SAVED` was saved.
    pub fn has(&self, number: usize) -> bool {
        self.inits.contains_key(&number)
    }

    /// How many orders the database of a saved site has.
    pub fn orders_of(&self, number: usize) -> u64 {
        self.orders[&number]
    }

    /// How many orders the master has now.
    pub fn orders(&self) -> u64 {
        let master = self.tool("rs-server", &["list", "--role", "master"]).exits(0).record();
        let name = master["name"].as_str().unwrap();
        self.site.sql(name, "SELECT COUNT(*) FROM shop.orders").parse().unwrap()
    }

    /// What is owed where upgrade.sh ran up to a label with nothing struck, once it did.
    pub fn owed_at(&self, until: &str) -> Option<BTreeSet<String>> {
        self.owed.get(until).cloned()
    }

    /// Notes it.
    pub fn owes(&mut self, until: &'static str, keys: BTreeSet<String>) {
        let _ = self.owed.insert(until, keys);
    }

    /// Stops everything in order, copies it, and leaves it stopped.
    pub fn save(&mut self, number: usize) {
        self.stop_clock();
        let _ = self.orders.insert(number, self.orders());
        let mut inits = Inits::new();
        let servers = std::fs::read_dir(self.site.place.join("servers")).unwrap();
        for home in servers.flatten().map(|entry| entry.path()) {
            let Ok(text) = std::fs::read_to_string(home.join("run/init.pid")) else { continue };
            let pid: i32 = text.split(' ').next().unwrap().parse().unwrap();
            inits.push((home, environment(pid)));
            signal(pid, Signal::TERM);
        }
        assert!(!inits.is_empty(), "no server has an init");
        until("all services to end", Duration::from_secs(90), || {
            inits.iter().all(|(home, _)| !home.join("run/init.pid").exists())
        });
        self.end_all();
        let image = self.image(number);
        shell(
            "rm -rf \"$2\" && mkdir -p \"${2%/*}\" && cp -a --sparse=always --reflink=auto \"$1\" \"$2\"",
            &[&self.site.place, &image],
        );
        let _ = self.inits.insert(number, inits);
    }

    /// Ends what is there, brings a saved state back and waits until it serves.
    pub fn restore(&self, number: usize) {
        self.stop_clock();
        self.end_all();
        self.disarm();
        self.homes.borrow_mut().clear();
        shell(
            "rm -rf \"$2\" && cp -a --sparse=always --reflink=auto \"$1\" \"$2\"",
            &[&self.image(number), &self.site.place],
        );
        if SAVED[number].dark {
            self.window_again();
        }
        for (home, env) in &self.inits[&number] {
            let log = std::fs::File::options().append(true).open(home.join("log/init.log"));
            let log = log.unwrap();
            let mut init = rs_tests::unprivileged(&rs_tests::program("python3"));
            let init = init
                .args(["-I", "-S"])
                .arg(home.join("bin/svc.py"))
                .arg("init")
                .env_clear()
                .envs(env.iter().map(|(name, value)| (name, value)))
                .current_dir(home)
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            self.started.borrow_mut().push(init);
        }
        let log = self.site.scene.path("clock.log");
        let clock = self.site.call("scripts/demo/demo.sh").args(["clock"]).start_into(&log);
        *self.clock.borrow_mut() = Some(clock);
        let bypass: &[&str] = if SAVED[number].dark { &["--bypass"] } else { &[] };
        for (tool, args) in [
            ("rs-dbsync", vec!["status", "Slave DB", "--require", "replicating"]),
            ("rs-check", [&["site", "--pool", "www", "--each-member"], bypass].concat()),
        ] {
            until(&format!("{tool} {args:?} to say yes"), Duration::from_secs(90), || {
                self.site.tool(tool).args(&args).run().exit == 0
            });
        }
    }

    fn stop_clock(&self) {
        if let Some(mut clock) = self.clock.borrow_mut().take() {
            if let Some(group) = Pid::from_raw(clock.id().cast_signed()) {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            let _ = clock.wait();
        }
    }

    /// Kills every process of the site and of whoever works on it.
    fn end_all(&self) {
        until("every process to be gone", Duration::from_secs(30), || {
            let left = processes_of(&self.site.place);
            left.iter().for_each(|pid| signal(*pid, Signal::KILL));
            left.is_empty()
        });
        for mut init in self.started.borrow_mut().drain(..) {
            let _ = init.wait();
        }
    }

    /// Nothing is to be struck any more.
    pub fn disarm(&self) {
        for path in std::fs::read_dir(&self.fault).unwrap().flatten().map(|entry| entry.path()) {
            if !path.ends_with("tools") && !path.ends_with("servers") {
                let _ = std::fs::remove_file(&path);
                let _ = std::fs::remove_dir_all(&path);
            }
        }
    }

    /// Starts upgrade.sh or rollback.sh; what it says goes into `log`, its processes carry the mark that is returned.
    pub fn start(&self, script: &str, args: &[&str], log: &Path) -> (Child, String) {
        let number = self.starts.get() + 1;
        self.starts.set(number);
        let mark = format!("FAULT_RUN={}-{number}", std::process::id());
        let conf = self.site.place.join("upgrade.conf").display().to_string();
        let path = self.scripts.join(script).display().to_string();
        let call = self.site.dressed(self.site.scene.call(&path, script));
        let search =
            format!("{}:{}", self.fault.join("tools").display(), self.site.scene.search_path());
        let call = call
            .args(["--conf", &conf, "--yes"])
            .args(args)
            .env("PATH", search)
            .env("FAULT_TOOLS", tools().display().to_string())
            .env("FAULT_RUN", mark.trim_start_matches("FAULT_RUN="));
        (call.start_into(log), mark)
    }

    /// The processes of a start.
    pub fn tree(&self, mark: &str) -> Vec<i32> {
        let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
        all.flatten()
            .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
            .filter(|pid| {
                std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| {
                    env.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
                })
            })
            .collect()
    }

    /// The folder of a server, once it has one.
    pub fn home(&self, server: &str) -> Option<PathBuf> {
        if let Some(home) = self.homes.borrow().get(server) {
            return Some(home.clone());
        }
        let ran = self.tool("rs-server", &["list", server, "--json"]);
        let record: serde_json::Value = serde_json::from_str(ran.stdout.trim()).ok()?;
        let home = PathBuf::from(record["current"]["home"].as_str()?);
        self.homes.borrow_mut().insert(server.to_owned(), home.clone());
        Some(home)
    }

    /// Runs a tool on the site.
    pub fn tool(&self, name: &str, args: &[&str]) -> Ran {
        self.call(name, args).run()
    }

    /// A call of a tool on the site.
    pub fn call(&self, name: &str, args: &[&str]) -> Call {
        self.site.tool(name).args(args)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.stop_clock();
    }
}
