//! Secrets of a site go to those whom they concern: every credential has a value of its own that is looked for, all
//! the time, in the arguments and the environment of every process, and at the end in all that was written.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rs_tests::{Engines, Ran};

use super::site::Site;

/// The credentials of the demo's site.
const CREDENTIALS: [&str; 7] = [
    "DBADMIN_PASSWORD",
    "DBREPLICATION_PASSWORD",
    "DBMIGRATION_PASSWORD",
    "DBAPPLICATION_PASSWORD",
    "DBHEARTBEAT_PASSWORD",
    "LB_BYPASS",
    "DNS_TSIG_KEY",
];

/// How long a process may be found whose script is gone already: it ends.
const ENDS: Duration = Duration::from_secs(2);

/// A site whose secrets are marked and watched.
pub struct Marked {
    /// The site.
    pub site: Site,
    mark: String,
    stop: Arc<AtomicBool>,
    watch: Option<JoinHandle<Seen>>,
}

/// What was seen of processes.
#[derive(Default)]
struct Seen {
    rounds: u64,
    /// Variables with a secret, of scripts that declare them: script and variable.
    rightly: BTreeSet<(String, String)>,
    /// Everything else.
    wrongly: BTreeSet<String>,
    /// Processes of scripts whose text is gone, since when.
    orphans: BTreeMap<(String, String), Instant>,
}

impl Marked {
    /// Makes the site; its secrets are watched from its first boot script on.
    pub fn up(name: &str) -> Marked {
        let site = Site::planned(Engines::Host, name, "");
        // letters and digits only, so that no quoting hides it; no two runs have the same
        let mark = format!("MARKED{:08x}", std::process::id());
        let folder = site.place.join("credentials");
        std::fs::create_dir_all(&site.place).unwrap();
        std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        for (n, name) in CREDENTIALS.iter().enumerate() {
            // 44 characters: base64 of 33 bytes, as a key for signed updates must be
            let value = format!("{mark}{n:x<30}");
            let mut open = std::fs::OpenOptions::new();
            let file = open.write(true).create_new(true).mode(0o600).open(folder.join(name));
            std::io::Write::write_all(&mut file.unwrap(), value.as_bytes()).unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, marker) = (stop.clone(), mark.clone());
        let watch = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::SeqCst) {
                let begun = Instant::now();
                seen.look(&marker);
                // four times what the look took: the watch is not to slow down what it watches
                std::thread::park_timeout((begun.elapsed() * 4).max(Duration::from_millis(10)));
            }
            seen
        });
        let marked = Marked { site, mark, stop, watch: Some(watch) };
        marked.site.raise();
        marked
    }

    /// Fails the test unless nobody saw a secret whom it does not concern; `ran` are the calls that were made.
    pub fn kept_their_secrets(mut self, ran: &[&Ran]) {
        let mut found = self.in_answers(ran);
        self.stop.store(true, Ordering::SeqCst);
        let seen = self.watch.take().unwrap().join().unwrap();
        found.extend(seen.wrongly);
        // a watch that sees nothing proves nothing
        for (script, variable) in [
            ("code update", "DBAPPLICATION_PASSWORD"),
            ("database install", "DBREPLICATION_PASSWORD"),
            ("balancer configure", "LB_BYPASS_SECRET"),
        ] {
            let one = (script.to_owned(), variable.to_owned());
            assert!(seen.rightly.contains(&one), "not seen: {one:?}; seen: {:?}", seen.rightly);
        }
        assert!(seen.rounds > 200, "{} rounds", seen.rounds);
        let mut holders = Vec::new();
        self.in_files(&self.site.place, &mut holders, &mut found);
        for name in ["master.info", "admin.cnf", "application.json", "bypass.list"] {
            assert!(
                holders.iter().any(|file| file.ends_with(name)),
                "{name} holds no secret, or was not looked at: {holders:#?}"
            );
        }
        assert!(found.is_empty(), "{found:#?}");
    }

    /// What the scripts said, the journal, the report, and an error about a secret that is wrong.
    fn in_answers(&self, ran: &[&Ran]) -> Vec<String> {
        let file = self.site.place.join("credentials/DBADMIN_PASSWORD");
        let right = std::fs::read(&file).unwrap();
        std::fs::write(&file, format!("{}wrong", self.mark)).unwrap();
        let wrong = self.site.tool("rs-dbsync").args(["status", "--role", "db", "--json"]).run();
        std::fs::write(&file, right).unwrap();
        assert_ne!(wrong.exit, 0, "{wrong}");
        let mut all: Vec<Ran> = ran.iter().map(|ran| (*ran).clone()).collect();
        all.push(wrong);
        for (tool, args) in [
            ("rs-journal", &["show", "--json"][..]),
            ("rs-journal", &["show"]),
            ("rs-journal", &["report"]),
            ("rs-journal", &["report", "--json"]),
            ("rs-inputs", &["show", "--role", "db", "--current", "--json"]),
            ("rs-cleanup", &["audit", "--json"]),
        ] {
            all.push(self.site.tool(tool).args(args).run());
        }
        all.iter()
            .filter(|ran| format!("{ran}").contains(&self.mark))
            .map(|ran| format!("what this said: {ran}"))
            .collect()
    }

    /// Files with a secret: their owner's alone, and no state, log or report.
    fn in_files(&self, folder: &Path, holders: &mut Vec<PathBuf>, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
            if about.is_dir() {
                let bits = about.permissions().mode() & 0o777;
                if path.join("mysql").is_dir() && bits != 0o700 {
                    found.push(format!("data folder {} has mode {bits:o}", path.display()));
                }
                self.in_files(&path, holders, found);
                continue;
            }
            let open = about.permissions().mode() & 0o077 != 0;
            let name = entry.file_name().to_string_lossy().into_owned();
            let told = path.components().any(|part| part.as_os_str() == "log")
                || ["state.db", ".log", ".out", "journal"].iter().any(|part| name.contains(part));
            // what is its owner's alone may hold one; the great files of a database are not read for it
            let wanted = open || told || about.len() < 1 << 20;
            if !about.is_file() || !wanted || !self.holds(&path) {
                continue;
            }
            if open || told {
                found.push(format!("{} (mode {:o})", path.display(), about.permissions().mode()));
            }
            holders.push(path);
        }
    }

    fn holds(&self, path: &Path) -> bool {
        std::fs::read(path).is_ok_and(|bytes| contains(&bytes, self.mark.as_bytes()))
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
    }
}

impl Seen {
    /// Looks at every process once.
    fn look(&mut self, mark: &str) {
        self.rounds += 1;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let argv =
                || String::from_utf8_lossy(&read("cmdline")).replace('\0', " ").trim().to_owned();
            if contains(&read("cmdline"), mark.as_bytes()) {
                self.wrongly.insert(format!("arguments: {}", argv()));
            }
            let environment = read("environ");
            if contains(&environment, mark.as_bytes()) {
                self.judge(&pid, &argv(), &String::from_utf8_lossy(&environment), mark);
            }
        }
    }

    /// A process that has a secret in its environment: its script must declare it.
    fn judge(&mut self, pid: &str, argv: &str, environment: &str, mark: &str) {
        let variables: Vec<(&str, &str)> =
            environment.split('\0').filter_map(|entry| entry.split_once('=')).collect();
        let attachments = variables.iter().find(|(name, _)| *name == "RS_ATTACH_DIR");
        let script = attachments
            .map(|(_, folder)| Path::new(folder).with_file_name("script"))
            .and_then(|file| std::fs::read_to_string(file).ok());
        for (name, _) in variables.iter().filter(|(_, value)| value.contains(mark)) {
            let Some(script) = &script else {
                let one = (pid.to_owned(), (*name).to_owned());
                let since = *self.orphans.entry(one).or_insert_with(Instant::now);
                if since.elapsed() > ENDS {
                    self.wrongly.insert(format!("{name} in the environment, no script: {argv}"));
                }
                continue;
            };
            let comment = |key: &str| format!("{key}:");
            let title = script
                .lines()
                .find_map(|line| line.strip_prefix("# RightScript Name: "))
                .unwrap_or("a script without a name");
            if script.lines().any(|line| line == format!("#   {}", comment(name))) {
                self.rightly.insert((title.to_owned(), (*name).to_owned()));
            } else {
                self.wrongly.insert(format!("{name} in the environment of {title:?}: {argv}"));
            }
        }
    }
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}

#[test]
fn an_upgrade_shows_its_secrets_to_nobody_whom_they_do_not_concern() {
    let marked = Marked::up("secrets");
    let ran = marked.site.run("scripts/upgrade.sh", &[]).exits(0);
    marked.kept_their_secrets(&[&ran]);
}
