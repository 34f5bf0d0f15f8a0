use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;

/// A call of a tool or script, being put together.
#[must_use = "call .run()"]
pub struct Call {
    pub(crate) command: Command,
    pub(crate) shown: String,
    pub(crate) stdin: Option<String>,
    pub(crate) limit: Duration,
    pub(crate) gone: bool,
}

impl Call {
    /// Adds arguments.
    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Call {
        for arg in args {
            self.shown.push_str(&format!(" {:?}", arg.as_ref()));
            self.command.arg(arg.as_ref());
        }
        self
    }

    /// Feeds stdin; without it stdin is /dev/null.
    pub fn stdin(mut self, text: impl Into<String>) -> Call {
        self.stdin = Some(text.into());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Call {
        self.command.env(name, value.as_ref());
        self
    }

    /// Unsets a variable.
    pub fn without(mut self, name: &str) -> Call {
        self.command.env_remove(name);
        self
    }

    /// Its stdout is a pipe that nobody reads any more.
    pub fn reader_gone(mut self) -> Call {
        self.gone = true;
        self
    }

    /// Fails the test when it takes longer [default: 120 s].
    pub fn limit(mut self, limit: Duration) -> Call {
        self.limit = limit;
        self
    }

    /// Starts it and returns the child: for what has to be killed half way.
    pub fn start(mut self) -> Child {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().unwrap_or_else(|e| panic!("{}: {e}", self.shown))
    }

    /// Starts it in a process group of its own, with what it says in a file: for what is let go on by itself.
    pub fn start_into(mut self, log: &std::path::Path) -> Child {
        use std::os::unix::process::CommandExt;
        let file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        self.command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        self.command.spawn().unwrap_or_else(|e| panic!("{}: {e}", self.shown))
    }

    /// Runs it to its end.
    #[must_use = "look at the exit code: .exits(0)"]
    pub fn run(mut self) -> Ran {
        self.command
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.gone {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            self.command.stdout(writer);
        }
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{}: {e}", self.shown));
        let feed = child.stdin.take().zip(self.stdin.take()).map(|(mut to, text)| {
            // a tool may end before it has read everything: that is its right
            std::thread::spawn(move || drop(to.write_all(text.as_bytes())))
        });
        let read = |from: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut from) = from {
                    let _ = from.read_to_end(&mut bytes);
                }
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let out = read(child.stdout.take().map(|s| Box::new(s) as _));
        let err = read(child.stderr.take().map(|s| Box::new(s) as _));
        let begun = std::time::Instant::now();
        let mut late = false;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() > self.limit && !late => {
                    late = true;
                    let _ = child.kill();
                }
                Ok(None) => std::thread::park_timeout(Duration::from_millis(2)),
                Err(e) => panic!("{}: {e}", self.shown),
            }
        };
        if let Some(feed) = feed {
            let _ = feed.join();
        }
        let ran = Ran {
            shown: self.shown,
            exit: std::os::unix::process::ExitStatusExt::signal(&status)
                .map_or_else(|| status.code().unwrap_or(-1), |signal| 128 + signal),
            stdout: out.join().unwrap_or_default(),
            stderr: err.join().unwrap_or_default(),
        };
        assert!(!late, "it took longer than {:?}\n{ran}", self.limit);
        ran
    }
}

/// What a call said and how it ended.
#[derive(Clone)]
pub struct Ran {
    /// The command line.
    pub shown: String,
    /// Exit status; 128 + N for a signal.
    pub exit: i32,
    /// stdout.
    pub stdout: String,
    /// stderr.
    pub stderr: String,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "--- {}\n--- exit {}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.shown, self.exit, self.stdout, self.stderr
        )
    }
}

impl Ran {
    /// Fails the test unless it ended with `code`, and tells the whole story.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.exit, code, "\n{self}");
        if code != 0 {
            assert!(!self.stderr.trim().is_empty(), "a failure says nothing\n{self}");
        }
        self
    }

    /// Fails the test unless stderr holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.stderr.contains(text), "stderr does not say {text:?}\n{self}");
        self
    }

    /// Every record on stdout; every line must be one.
    #[track_caller]
    pub fn records(&self) -> Vec<Json> {
        self.stdout
            .lines()
            .map(|line| {
                let value: Json = serde_json::from_str(line)
                    .unwrap_or_else(|e| panic!("no record: {e}: {line}\n{self}"));
                assert!(value["schema"].is_string(), "a record without schema: {line}\n{self}");
                value
            })
            .collect()
    }

    /// The one record on stdout.
    #[track_caller]
    pub fn record(&self) -> Json {
        let mut records = self.records();
        assert_eq!(records.len(), 1, "one record is expected\n{self}");
        records.remove(0)
    }

    /// Records by name.
    #[track_caller]
    pub fn by_name(&self) -> BTreeMap<String, Json> {
        self.records()
            .into_iter()
            .map(|r| (r["name"].as_str().unwrap_or_default().to_owned(), r))
            .collect()
    }
}
