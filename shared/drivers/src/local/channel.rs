//! Commands on a server of this host.
//!
//! Output is read from a pipe until the command itself has ended; by then all that it said is in the pipe. What it
//! left behind keeps a pipe that somebody reads: a small process takes it over, so that a daemon never dies of it.

use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rs_contract::{Channel, Command, Endpoint, Error, Kind, Output, Progress, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::config::{Config, User};
use super::files::Files;
use super::output::Heard;
use super::processes;

/// How long a command that is out of time may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// The way to one server.
pub struct Shell {
    id: String,
    home: PathBuf,
    text: String,
    path: String,
    user: Option<User>,
    user_name: String,
}

impl Shell {
    /// To the server `id` whose folder is `home`.
    pub fn new(config: &Config, id: &str, home: PathBuf) -> Shell {
        Shell {
            id: id.to_owned(),
            text: home.to_string_lossy().into_owned(),
            home,
            path: config.path.clone(),
            user: config.user.clone(),
            user_name: config.user_name.clone(),
        }
    }

    fn absolute(&self, path: &str) -> PathBuf {
        self.home.join(path)
    }

    /// A command as the server's user, with the cookie and what every process of a server has.
    fn command(&self, argv: &[String]) -> Result<std::process::Command> {
        let program =
            argv.first().ok_or_else(|| Error::new(Kind::Usage, "a command without a program"))?;
        let mut command = std::process::Command::new(program);
        command.args(&argv[1..]).env_clear().env("PATH", &self.path).env("HOME", &self.text);
        command.env("USER", &self.user_name).env("LANG", "C.UTF-8");
        if let Some(user) = &self.user {
            // the standard library also clears the supplementary groups when it changes the user
            command.uid(user.uid).gid(user.gid);
        }
        command.process_group(0);
        Ok(command)
    }

    fn spawn(&self, wanted: &Command) -> Result<(Child, PipeReader)> {
        let (reader, writer) = std::io::pipe().map_err(|e| self.failed("no pipe", e))?;
        if let Some(user) = &self.user {
            // scripts that write to /dev/stderr open the pipe again, which only its owner may
            let (uid, gid) =
                (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
            let _ = rustix::fs::fchown(&writer, Some(uid), Some(gid));
        }
        let again = writer.try_clone().map_err(|e| self.failed("no pipe", e))?;
        let mut command = self.command(&wanted.argv)?;
        let cwd = wanted.cwd.as_deref().map_or(self.home.clone(), |cwd| self.absolute(cwd));
        command
            .envs(&wanted.env)
            .envs(wanted.secrets.iter().map(|(name, secret)| (name, secret.expose())))
            .env("RS_MACHINE", &self.id)
            .current_dir(&cwd)
            .stdin(if wanted.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(writer)
            .stderr(again);
        let child = command.spawn().map_err(|e| {
            let program = wanted.argv.first().map_or("", String::as_str);
            let kind = match e.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Failed,
            };
            Error::new(kind, format!("{program:?} cannot be started on {}", self.place()))
                .because(e)
                .hint(format!("its PATH is {}", self.path))
        })?;
        Ok((child, reader))
    }

    fn failed(&self, what: &str, why: impl std::fmt::Display) -> Error {
        Error::new(Kind::Failed, format!("{}: {what}", self.place())).because(why)
    }

    /// Reads on for what was left behind, for as long as that lives.
    fn hand_over(&self, reader: PipeReader) {
        let text = "mkdir -p log && exec cat >>log/output.log".to_owned();
        let Ok(mut command) = self.command(&["/bin/sh".into(), "-c".into(), text]) else { return };
        let _ = blocking(&reader, true);
        let _ = command
            .env("RS_MACHINE", &self.id)
            .current_dir(&self.home)
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
}

impl Channel for Shell {
    fn place(&self) -> String {
        format!("the server in {}", self.text)
    }

    fn home(&self) -> &str {
        &self.text
    }

    fn run(&self, wanted: &Command, line: Progress<'_>) -> Result<Output> {
        let begun = Instant::now();
        let (mut child, reader) = self.spawn(wanted)?;
        let mut heard = Heard::default();
        let heard_all = listen(&mut child, &reader, wanted, begun, &mut heard, line);
        match heard_all {
            Ok(Ending::Ended(at_end)) => {
                let status = child.wait().map_err(|e| self.failed("a command was lost", e))?;
                heard.flush(line);
                if !at_end {
                    self.hand_over(reader);
                }
                let exit = status.code().or(status.signal().map(|n| 128 + n)).unwrap_or(-1);
                Ok(Output { exit, text: heard.text(), ms: millis(begun) })
            }
            Ok(Ending::OutOfTime) => {
                end_tree(&mut child);
                let _ = drain(&reader, &mut heard, line);
                heard.flush(line);
                let program = wanted.argv.first().map_or("", String::as_str);
                let error = Error::new(
                    Kind::TimedOut,
                    format!(
                        "{program:?} on {} did not end within {:.1} s, and was ended",
                        self.place(),
                        wanted.timeout.as_secs_f64()
                    ),
                )
                .hint("a longer --timeout, or look at what it waits for");
                let words = heard.last_words();
                Err(if words.is_empty() {
                    error
                } else {
                    error.because(format!("it said last: {words}"))
                })
            }
            Err(e) => {
                end_tree(&mut child);
                Err(self.failed("a command cannot be listened to", e))
            }
        }
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        let place = self.place();
        Files { user: self.user.as_ref(), home: Path::new(self.home()), place: &place }
            .get(&self.absolute(path))
    }

    fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let place = self.place();
        Files { user: self.user.as_ref(), home: Path::new(self.home()), place: &place }.put(
            &self.absolute(path),
            content,
            mode,
        )
    }

    fn remove(&self, path: &str) -> Result<()> {
        let place = self.place();
        Files { user: self.user.as_ref(), home: Path::new(self.home()), place: &place }
            .remove(&self.absolute(path))
    }

    fn reach(&self, endpoint: &Endpoint) -> Result<Endpoint> {
        Ok(match endpoint {
            Endpoint::Unix(path) if !Path::new(path).is_absolute() => {
                Endpoint::Unix(self.absolute(path).to_string_lossy().into_owned())
            }
            other => other.clone(),
        })
    }
}

enum Ending {
    /// By itself; whether nobody holds its output any more.
    Ended(bool),
    /// Not within its time.
    OutOfTime,
}

/// Feeds and hears a command until it has ended or its time is over.
fn listen(
    child: &mut Child,
    reader: &PipeReader,
    wanted: &Command,
    begun: Instant,
    heard: &mut Heard,
    line: Progress<'_>,
) -> std::io::Result<Ending> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended: OwnedFd = match pid {
        Some(pid) => pidfd_open(pid, PidfdFlags::empty())?,
        None => return Err(std::io::Error::other("the command has no process")),
    };
    blocking(reader, false)?;
    let mut stdin = child.stdin.take();
    if let Some(stdin) = &stdin {
        blocking(stdin, false)?;
    }
    let mut to_feed = wanted.stdin.as_slice();
    let mut closed = false;
    loop {
        let left = wanted.timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(Ending::OutOfTime);
        }
        let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
        if !closed {
            fds.push(PollFd::new(reader, PollFlags::IN));
        }
        if let Some(stdin) = &stdin {
            fds.push(PollFd::new(stdin, PollFlags::OUT));
        }
        let wait = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let over = !fds[0].revents().is_empty();
        feed(&mut stdin, &mut to_feed);
        if !closed {
            closed = drain(reader, heard, line)?;
        }
        if over {
            // what it said before it ended is in the pipe now, at the latest
            return Ok(Ending::Ended(closed || drain(reader, heard, line)?));
        }
    }
}

fn feed(stdin: &mut Option<ChildStdin>, left: &mut &[u8]) {
    while let Some(pipe) = stdin {
        match pipe.write(left) {
            Ok(written) if written < left.len() => *left = &left[written..],
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            // all of it, or a command that does not want to hear more
            _ => *stdin = None,
        }
    }
}

/// Takes what is in the pipe now; true at its end. Bounded, so that a flood cannot outlast the time limit.
fn drain(mut reader: &PipeReader, heard: &mut Heard, line: Progress<'_>) -> std::io::Result<bool> {
    let mut bytes = [0; 65_536];
    for _ in 0..64 {
        match reader.read(&mut bytes) {
            Ok(0) => return Ok(true),
            Ok(count) => heard.take(&bytes[..count], line),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

fn blocking(fd: impl std::os::fd::AsFd, yes: bool) -> std::io::Result<()> {
    let mut flags = fcntl_getfl(&fd)?;
    flags.set(OFlags::NONBLOCK, !yes);
    Ok(fcntl_setfl(&fd, flags)?)
}

/// Ends a command with everything that it began.
fn end_tree(child: &mut Child) {
    let Ok(root) = i32::try_from(child.id()) else { return };
    let begun = Instant::now();
    let mut known = std::collections::BTreeSet::new();
    loop {
        known.extend(processes::tree(root));
        let alive: Vec<i32> =
            processes::all().iter().map(|p| p.pid).filter(|pid| known.contains(pid)).collect();
        let gone = child.try_wait().is_ok_and(|status| status.is_some());
        if (alive.is_empty() && gone) || begun.elapsed() > 3 * GRACE {
            return;
        }
        let signal = if begun.elapsed() < GRACE { Signal::TERM } else { Signal::KILL };
        for pid in alive {
            processes::signal(pid, signal);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
