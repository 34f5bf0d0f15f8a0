use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ran::Call;
use crate::scene::until;

/// A command on a terminal of its own, with somebody at its keyboard.
pub struct Terminal {
    script: Child,
    said: Arc<Mutex<String>>,
}

impl Call {
    /// Starts it on a terminal: what it says to people and asks them is seen there.
    pub fn on_terminal(self) -> Terminal {
        let quoted =
            |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"));
        let words: Vec<String> = std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(quoted)
            .collect();
        let mut script = Command::new("script");
        script.args(["-qefc", &words.join(" "), "/dev/null"]);
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        if let Some(folder) = self.command.get_current_dir() {
            script.current_dir(folder);
        }
        script.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().unwrap_or_else(|e| panic!("script {}: {e}", self.shown));
        let (said, mut from) = (Arc::new(Mutex::new(String::new())), script.stdout.take().unwrap());
        let heard = said.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Terminal { script, said }
    }
}

impl Terminal {
    /// What was shown so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this was shown.
    #[track_caller]
    pub fn shows(&mut self, text: &str, limit: Duration) {
        until(&format!("{text:?} on the terminal"), limit, || {
            let shown = self.said().contains(text);
            let ended = self.has_ended();
            assert!(shown || !ended, "it ended without {text:?}\n{}", self.said());
            shown
        });
    }

    /// Whether the command has ended.
    pub fn has_ended(&mut self) -> bool {
        self.script.try_wait().unwrap().is_some()
    }

    /// Somebody types; `\x03` is Ctrl-C.
    pub fn types(&mut self, text: &str) {
        let keyboard = self.script.stdin.as_mut().unwrap();
        keyboard.write_all(text.as_bytes()).and_then(|()| keyboard.flush()).unwrap();
    }

    /// Waits for the end: the exit status, and all that was shown.
    #[track_caller]
    pub fn ended(mut self, limit: Duration) -> (i32, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.script.try_wait().unwrap() {
                return (status.code().unwrap_or(-1), self.said());
            }
            let late = begun.elapsed() > limit;
            assert!(!late, "it has not ended in {limit:?}\n{}\n{}", self.said(), self.going());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// What still runs of it, and what each waits for in the kernel.
    fn going(&self) -> String {
        let mut tree = vec![self.script.id().to_string()];
        let mut told = String::new();
        while let Some(pid) = tree.pop() {
            let of = |file: &str| {
                std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
            };
            let _ = writeln!(
                told,
                "{} {} {}",
                of("stat"),
                of("wchan"),
                of("cmdline").replace('\0', " ")
            );
            tree.extend(of(&format!("task/{pid}/children")).split_whitespace().map(str::to_owned));
        }
        told
    }

    /// The window is closed, the connection is lost: the terminal is gone.
    pub fn gone(mut self) {
        self.script.kill().unwrap();
        let _ = self.script.wait();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
