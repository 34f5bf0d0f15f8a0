//! The folder of backups: scripts that run on the server (or here), and what they say.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rs_contract::{Channel, Command, Error, Kind, Output, Progress, Result, Work};
use rs_model::snapshot::Snapshot;

use super::words;

const LIST: &str = include_str!("sh/list.sh");
const NOTE: &str = include_str!("sh/note.sh");
const REMOVE: &str = include_str!("sh/remove.sh");
const FINISH: &str = include_str!("sh/finish.sh");

/// Time for what only looks and renames.
const SHORT: Work = Work { timeout: Duration::from_secs(60) };

/// A store of backups.
pub struct Store {
    /// `BACKUP_DIR`, absolute.
    pub root: String,
    channel: Option<Box<dyn Channel>>,
}

/// How a snapshot is taken.
pub struct Taking {
    /// The script, begun by `begin.sh`.
    pub script: &'static str,
    /// Its arguments after those of `begin.sh`; the data folder first.
    pub args: Vec<String>,
    /// Its stdin.
    pub stdin: Vec<u8>,
    /// In words.
    pub what: &'static str,
}

impl Store {
    /// The store in `root`.
    pub fn new(root: String, channel: Option<Box<dyn Channel>>) -> Self {
        Store { root: root.trim_end_matches('/').to_owned(), channel }
    }

    /// The channel, for what cannot be done without.
    pub fn channel(&self, when: &str) -> Result<&dyn Channel> {
        self.channel.as_deref().ok_or_else(|| {
            Error::new(Kind::Declined, format!("a channel to the server is needed when {when}"))
                .hint("this server was launched by somebody else: take its backups where it was")
        })
    }

    /// The folder of a snapshot.
    pub fn folder(&self, snapshot: &Snapshot) -> String {
        snapshot.place.clone()
    }

    fn lineage(&self, lineage: &str) -> String {
        format!("{}/{}", self.root, words::part(lineage))
    }

    /// Runs a script; a non-zero exit is an error that says why.
    pub fn run(
        &self,
        what: &str,
        script: &str,
        args: &[&str],
        stdin: &[u8],
        work: Work,
        progress: Progress<'_>,
    ) -> Result<Output> {
        let heard = |line: &str| {
            if let Some(phase) = line.strip_prefix("phase: ") {
                progress(phase);
            }
        };
        let mut argv = vec!["/bin/sh", "-c", script, "rs-snapshot"];
        argv.extend_from_slice(args);
        let output = match &self.channel {
            Some(channel) => channel.run(
                &Command {
                    argv: argv.into_iter().map(str::to_owned).collect(),
                    stdin: stdin.to_vec(),
                    timeout: work.timeout,
                    ..Command::default()
                },
                &heard,
            )?,
            None => here(&argv, stdin, work.timeout)
                .map_err(|e| Error::new(Kind::Failed, format!("{what} failed")).because(e))?,
        };
        if output.exit == 0 { Ok(output) } else { Err(self.failed(what, &output)) }
    }

    fn failed(&self, what: &str, output: &Output) -> Error {
        let text = &output.text;
        let (kind, hint) = match output.exit {
            74 => (Kind::NotFound, "rs-snapshot list shows what is there"),
            75 => (Kind::Declined, "it is being taken just now: wait until it is complete"),
            76 => (Kind::Declined, "the label is there already"),
            77 => (Kind::Declined, "stop the database first"),
            78 => (Kind::Declined, "start the database and stop it cleanly, then try again"),
            _ if text.contains("No space left") || text.contains("errno: 28") => {
                (Kind::Failed, "free space there (rs-snapshot prune), then try again")
            }
            _ if text.contains("Access denied") => (
                Kind::Failed,
                "DBADMIN_USER and DBADMIN_PASSWORD must be right, with RELOAD and PROCESS",
            ),
            _ if text.contains("Failed to connect") => (
                Kind::Unreachable,
                "is the database running, and are DB_CONNECT, DB_SOCKET, DB_PORT right?",
            ),
            127 => (Kind::Failed, "install it on the server, or put it on the server's PATH"),
            _ if text.contains("Permission denied") => {
                (Kind::Failed, "BACKUP_DIR must be writable for the server's user")
            }
            _ => (Kind::Failed, "the whole output is on the server's side: try the command again"),
        };
        let cause = match words::last_words(text) {
            words if words.is_empty() => format!("exit {}", output.exit),
            words => words,
        };
        Error::new(kind, format!("{what} failed in {}", self.root)).because(cause).hint(hint)
    }

    /// Every snapshot of a lineage, oldest first.
    pub fn list(&self, lineage: &str) -> Result<Vec<Snapshot>> {
        let folder = self.lineage(lineage);
        let output = self.run("listing backups", LIST, &[&folder], &[], SHORT, &|_| {})?;
        let mut found: Vec<Snapshot> = output
            .text
            .lines()
            .filter_map(|line| words::listed(line, lineage, &self.root))
            .collect();
        // one that came to its place while the folder was read is told twice: as it is now
        found.sort_by(|a, b| (&a.id, !a.perfect).cmp(&(&b.id, !b.perfect)));
        found.dedup_by(|later, first| later.id == first.id);
        Ok(found)
    }

    /// A snapshot that is complete.
    pub fn whole(&self, lineage: &str, id: &str) -> Result<Snapshot> {
        let there =
            self.list(lineage)?.into_iter().find(|there| there.id == id).ok_or_else(|| {
                Error::new(Kind::NotFound, format!("no backup of {lineage:?} is called {id:?}"))
                    .hint("rs-snapshot list shows what is there")
            })?;
        if !there.perfect {
            return Err(Error::new(Kind::Declined, format!("the backup {id:?} is not complete"))
                .because(format!("its folder is {}", there.place))
                .hint("take another; rs-snapshot prune removes what broke"));
        }
        Ok(there)
    }

    /// Writes a snapshot's metadata.
    pub fn note(&self, snapshot: &Snapshot) -> Result<()> {
        let what = format!("writing the metadata of {:?}", snapshot.id);
        let bytes = encoded(snapshot)?;
        self.run(&what, NOTE, &[&snapshot.place], bytes.as_bytes(), SHORT, &|_| {}).map(drop)
    }

    /// Removes a snapshot, complete or broken.
    pub fn remove(&self, snapshot: &Snapshot) -> Result<()> {
        let what = format!("removing {:?}", snapshot.id);
        let work = Work { timeout: Duration::from_secs(600) };
        self.run(&what, REMOVE, &[&snapshot.place], &[], work, &|_| {}).map(drop)
    }

    /// Takes a snapshot. One with the label that is there already is returned as it is.
    pub fn take(
        &self,
        subject: &str,
        wanted: &Snapshot,
        taking: &Taking,
        work: Work,
        progress: Progress<'_>,
    ) -> Result<Snapshot> {
        let begun = Instant::now();
        let labelled = || -> Result<Option<Snapshot>> {
            let Some(label) = &wanted.label else { return Ok(None) };
            let same = |there: &Snapshot| there.perfect && there.label.as_ref() == Some(label);
            Ok(self.list(&wanted.lineage)?.into_iter().find(same))
        };
        if let Some(there) = labelled()? {
            return Ok(there);
        }
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
        let mut snapshot = Snapshot {
            id: words::id(&stamp, wanted),
            perfect: false,
            completed_at: None,
            proven_at: None,
            ..wanted.clone()
        };
        let lineage = self.lineage(&wanted.lineage);
        let folder = words::work_folder(&snapshot.id, wanted);
        let (working, place) =
            (format!("{lineage}/{folder}"), format!("{lineage}/{}", snapshot.id));
        place.clone_into(&mut snapshot.place);
        let label = wanted.label.as_deref().map(words::part).unwrap_or_default();
        let what = format!("{} of {subject}", taking.what);
        let metadata = encoded(&snapshot)?;
        let mut args = vec![&*lineage, &*folder, &*label, &*metadata];
        args.extend(taking.args.iter().map(String::as_str));
        let output = match self.run(&what, taking.script, &args, &taking.stdin, work, progress) {
            Ok(output) => output,
            // somebody was faster: his is as good as ours
            Err(e) if e.kind() == Kind::Declined => return labelled()?.ok_or(e),
            Err(e) => return Err(e),
        };
        let facts = words::facts(&output.text);
        (snapshot.position, snapshot.from_master) = words::position(&facts);
        snapshot.bytes = facts.get("bytes").and_then(|text| text.parse().ok()).unwrap_or(0);
        snapshot.engine = facts.get("engine").cloned();
        snapshot.perfect = true;
        snapshot.completed_at = Some(format!("{:.3}", jiff::Timestamp::now()));
        let left =
            Work { timeout: work.timeout.saturating_sub(begun.elapsed()).max(SHORT.timeout) };
        let bytes = encoded(&snapshot)?;
        progress("flush");
        self.run(&what, FINISH, &[&working, &place], bytes.as_bytes(), left, progress)?;
        Ok(snapshot)
    }
}

fn encoded(snapshot: &Snapshot) -> Result<String> {
    serde_json::to_string(snapshot)
        .map_err(|e| Error::new(Kind::Failed, "a backup's metadata cannot be written").because(e))
}

/// Runs a short command on this machine; `timeout` ends it, so that nothing waits for ever.
fn here(argv: &[&str], stdin: &[u8], limit: Duration) -> std::io::Result<Output> {
    let begun = Instant::now();
    let mut child = std::process::Command::new("timeout")
        .arg(limit.as_secs().max(1).to_string())
        .args(argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut to) = child.stdin.take() {
        // a script that ends early says why by its exit status
        let _ = to.write_all(stdin);
    }
    let out = child.wait_with_output()?;
    let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&out.stderr));
    Ok(Output {
        exit: out.status.code().unwrap_or(-1),
        text,
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}
