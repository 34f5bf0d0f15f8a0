use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rs_contract::{Channel, Command, Endpoint, Error, Kind, Output, Progress, Result};

use crate::Scene;

/// The way to a folder of this machine: what a driver needs of a server, without a control plane.
pub struct Here {
    home: String,
    path: String,
}

impl Scene {
    /// A channel whose home is that folder of the scene.
    pub fn here(&self, folder: &Path) -> Box<dyn Channel> {
        let bin = |name: &str| self.program(name).parent().unwrap().display().to_string();
        let path = format!("{}:/usr/bin:/bin", bin("haproxy"));
        Box::new(Here { home: folder.display().to_string(), path })
    }
}

impl Here {
    fn absolute(&self, path: &str) -> PathBuf {
        Path::new(&self.home).join(path)
    }

    fn failed(&self, what: &str, e: &std::io::Error) -> Error {
        let kind =
            if e.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        Error::new(kind, format!("{what} of {}", self.home)).because(e)
    }
}

impl Channel for Here {
    fn place(&self) -> String {
        format!("the folder {}", self.home)
    }

    fn home(&self) -> &str {
        &self.home
    }

    fn run(&self, command: &Command, line: Progress<'_>) -> Result<Output> {
        let begun = Instant::now();
        let out = std::process::Command::new(&command.argv[0])
            .args(&command.argv[1..])
            .env_clear()
            .env("PATH", &self.path)
            .envs(&command.env)
            .envs(command.secrets.iter().map(|(name, secret)| (name, secret.expose())))
            .current_dir(&self.home)
            .output()
            .map_err(|e| self.failed(&command.argv[0], &e))?;
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().for_each(line);
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Output { exit: out.status.code().unwrap_or(-1), text, ms })
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        std::fs::read(self.absolute(path)).map_err(|e| self.failed(path, &e))
    }

    fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let to = self.absolute(path);
        let new = to.with_extension("rs-put");
        std::fs::write(&new, content)
            .and_then(|()| std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)))
            .and_then(|()| std::fs::rename(&new, &to))
            .map_err(|e| self.failed(path, &e))
    }

    fn remove(&self, path: &str) -> Result<()> {
        match std::fs::remove_file(self.absolute(path)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(self.failed(path, &e)),
            _ => Ok(()),
        }
    }

    fn reach(&self, endpoint: &Endpoint) -> Result<Endpoint> {
        Ok(endpoint.clone())
    }
}
