//! Alerts by a command: the input `ALERTS_HOOK` of a deployment, program and arguments parted by blanks.
//!
//! It runs on this machine with one more argument, the verb, and gets one JSON object on stdin: `deployment`,
//! `server`, `address`, and for `quench` also `until` (RFC 3339 UTC) and `reason`.
//!
//! | verb | exit 0 | exit 3 |
//! |---|---|---|
//! | `quench`, `unquench` | done, or already so | - |
//! | `quenched` | it is silenced | it is not |
//! | `firing` | each line of stdout is an alert; none: nothing fires | - |
//!
//! Any other exit status is an error; what the command wrote to stderr is its reason.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rs_contract::{Alerts, Error, Kind, Result};
use rs_model::Server;
use serde_json::{Value as Json, json};

use crate::settings::Settings;

/// A hook that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(30);

/// The alerts of a deployment; none when it names no hook.
pub fn open(settings: &Settings) -> Result<Option<Box<dyn Alerts>>> {
    let written = settings.or("ALERTS_HOOK", "")?;
    let words: Vec<String> = written.split_whitespace().map(str::to_owned).collect();
    Ok((!words.is_empty()).then(|| Box::new(Hook { words }) as Box<dyn Alerts>))
}

struct Hook {
    words: Vec<String>,
}

/// How a call of the hook ended.
struct Said {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Hook {
    fn failed(&self, verb: &str, server: &Server, why: impl std::fmt::Display) -> Error {
        Error::new(
            Kind::Failed,
            format!("{} could not say or do {verb:?} of {:?}", self.place(), server.name),
        )
        .because(why)
        .hint("call it by hand with the verb, and {\"server\": …} on its stdin")
    }

    fn call(&self, verb: &str, deployment: &str, server: &Server, more: Json) -> Result<Said> {
        let mut input = json!({
            "deployment": deployment, "server": server.name, "address": server.address,
        });
        if let (Json::Object(into), Json::Object(more)) = (&mut input, more) {
            into.extend(more);
        }
        let fail = |e: std::io::Error| self.failed(verb, server, e);
        let program = self.words.first().map(String::as_str).unwrap_or_default();
        let mut child = Command::new(program)
            .args(self.words.iter().skip(1))
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let text = format!("{input}\n");
        if let Some(mut to) = child.stdin.take() {
            // a hook need not read what it gets
            let _ = to.write_all(text.as_bytes());
        }
        let out = read_all(child.stdout.take());
        let err = read_all(child.stderr.take());
        let until = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(fail)? {
                break status;
            }
            if Instant::now() >= until {
                let _ = child.kill();
                let _ = child.wait();
                return Err(self
                    .failed(verb, server, "it took longer than 30 s")
                    .as_kind(Kind::TimedOut));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ok(Said {
            exit: status.code().unwrap_or(-1),
            stdout: out.join().unwrap_or_default(),
            stderr: err.join().unwrap_or_default(),
        })
    }

    fn done(&self, verb: &str, deployment: &str, server: &Server, more: Json) -> Result<Said> {
        let said = self.call(verb, deployment, server, more)?;
        match said.exit {
            0 => Ok(said),
            exit => Err(self.failed(verb, server, reason(exit, &said.stderr))),
        }
    }
}

fn reason(exit: i32, stderr: &str) -> String {
    match stderr.trim().lines().last() {
        Some(line) => format!("exit {exit}: {line}"),
        None => format!("exit {exit}"),
    }
}

fn read_all(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            // more than a megabyte is no list of alerts
            let _ = from.take(1 << 20).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Alerts for Hook {
    fn place(&self) -> String {
        format!("alerts by {}", self.words.first().map(String::as_str).unwrap_or_default())
    }

    fn quench(&self, deployment: &str, server: &Server, until: &str, reason: &str) -> Result<()> {
        let more = json!({ "until": until, "reason": reason });
        self.done("quench", deployment, server, more).map(drop)
    }

    fn unquench(&self, deployment: &str, server: &Server) -> Result<()> {
        self.done("unquench", deployment, server, Json::Null).map(drop)
    }

    fn firing(&self, deployment: &str, server: &Server) -> Result<Vec<String>> {
        let said = self.done("firing", deployment, server, Json::Null)?;
        let lines = said.stdout.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(lines.map(str::to_owned).collect())
    }

    fn quenched(&self, deployment: &str, server: &Server) -> Result<bool> {
        let said = self.call("quenched", deployment, server, Json::Null)?;
        match said.exit {
            0 => Ok(true),
            3 => Ok(false),
            exit => Err(self.failed("quenched", server, reason(exit, &said.stderr))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rs_model::Value;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_hook_is_told_the_server_and_its_word_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (hook, flag) = (dir.path().join("hook"), dir.path().join("quiet"));
        let text = format!(
            "#!/bin/sh\nread -r line\ncase $line in *'\"server\":\"App; $(x)\"'*) ;; *) exit 9 ;; esac\ncase $2 in\nquench) touch {f} ;;\nunquench) rm {f} ;;\n\
             quenched) [ -e {f} ] || exit 3 ;;\nfiring) printf 'disk full\\n\\nslow\\n' ;;\nesac\n",
            f = flag.display()
        );
        std::fs::write(&hook, text).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        let value = Value::Text(format!("{} arg", hook.display()));
        let settings = Settings::given("d", None, [("ALERTS_HOOK".to_owned(), value)]);
        let alerts = open(&settings).unwrap().unwrap();
        let server = Server { name: "App; $(x)".into(), ..Server::default() };
        assert!(!alerts.quenched("d", &server).unwrap());
        alerts.quench("d", &server, "2026-11-24T15:00:00Z", "upgrade").unwrap();
        assert!(alerts.quenched("d", &server).unwrap());
        alerts.unquench("d", &server).unwrap();
        let error = alerts.unquench("d", &server).unwrap_err();
        assert!(error.cause().unwrap_or_default().contains("exit 1"), "{error}");
        assert_eq!(alerts.firing("d", &server).unwrap(), ["disk full", "slow"]);
        assert!(open(&Settings::given("d", None, [])).unwrap().is_none());
    }
}
