use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rs_contract::{Channel, Command, Endpoint, Error, Kind, Output, Progress, Result};

use crate::scene::{Scene, unprivileged};

/// A way to a server of a scene that no cloud knows: its commands run here, as the user who runs the servers.
pub struct Shell {
    home: PathBuf,
    text: String,
    path: String,
}

impl Scene {
    /// A channel whose home is the folder `name`.
    pub fn shell(&self, name: &str) -> Box<Shell> {
        let home = self.path(name);
        std::fs::create_dir_all(&home).unwrap();
        self.hand_over(&home);
        Box::new(Shell { text: home.display().to_string(), home, path: self.search_path() })
    }
}

impl Shell {
    /// Puts folders before its PATH.
    pub fn search_first(mut self: Box<Self>, folder: &Path) -> Box<Self> {
        self.path = format!("{}:{}", folder.display(), self.path);
        self
    }
}

impl Channel for Shell {
    fn place(&self) -> String {
        format!("the folder {}", self.text)
    }

    fn home(&self) -> &str {
        &self.text
    }

    fn run(&self, wanted: &Command, line: Progress<'_>) -> Result<Output> {
        let failed = |e: std::io::Error| Error::new(Kind::Failed, "it cannot be run").because(e);
        let begun = Instant::now();
        let (mut reader, writer) = std::io::pipe().map_err(failed)?;
        let mut command = unprivileged(Path::new(&wanted.argv[0]));
        command
            .args(&wanted.argv[1..])
            .env_clear()
            .envs(&wanted.env)
            .env("PATH", &self.path)
            .env("HOME", &self.home)
            .current_dir(&self.home)
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer);
        let mut child = command.spawn().map_err(failed)?;
        drop(command);
        let feed = child.stdin.take().map(|mut to| {
            let bytes = wanted.stdin.clone();
            std::thread::spawn(move || drop(to.write_all(&bytes)))
        });
        let read = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = std::io::Read::read_to_end(&mut reader, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break status;
            }
            if begun.elapsed() > wanted.timeout {
                let pid = rustix::process::Pid::from_child(&child);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                let _ = child.wait();
                return Err(Error::new(Kind::TimedOut, "a command took too long"));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        if let Some(feed) = feed {
            let _ = feed.join();
        }
        let text = read.join().unwrap_or_default();
        text.lines().for_each(line);
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        let exit = status.code().or(signal.map(|n| 128 + n)).unwrap_or(-1);
        Ok(Output { exit, text, ms: 0 })
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        std::fs::read(self.home.join(path)).map_err(|e| {
            let missing = e.kind() == std::io::ErrorKind::NotFound;
            Error::new(if missing { Kind::NotFound } else { Kind::Failed }, path).because(e)
        })
    }

    fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let (to, new) = (self.home.join(path), self.home.join(format!("{path}.new")));
        std::fs::write(&new, content)
            .and_then(|()| std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)))
            .and_then(|()| std::fs::rename(&new, &to))
            .map_err(|e| Error::new(Kind::Failed, path).because(e))
    }

    fn remove(&self, path: &str) -> Result<()> {
        match std::fs::remove_file(self.home.join(path)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(Kind::Failed, path).because(e))
            }
            _ => Ok(()),
        }
    }

    fn reach(&self, endpoint: &Endpoint) -> Result<Endpoint> {
        Ok(endpoint.clone())
    }
}
