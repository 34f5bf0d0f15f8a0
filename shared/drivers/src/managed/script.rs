//! How a script is started, what is kept of its output, and what of it nobody may see: pure.

use std::collections::VecDeque;

use rs_contract::Secret;

/// Bytes of output that are kept of one run.
const KEEP: usize = 1 << 20;
/// Lines of output in a record, and their bytes at most.
const TAIL: (usize, usize) = (20, 4000);

/// Prepares a script's working folder and becomes the script. `$1` is the folder, the rest the command. What a
/// killed run left there is cleared away: nobody else runs a script here now.
pub const START: &str = r#"umask 022
for left in "$HOME"/tmp/run-*; do [ "$left" = "$1" ] || rm -rf -- "$left"; done
mkdir -p -- "$1/work" "$1/attachments" && cd -- "$1/work" || exit 126
unset OLDPWD
shift
exec "$@""#;

/// The same for a script that wants sudo: as root it is run as it is, else with exactly the variables named in `$2`.
/// Stock sudo would drop every input in silence.
pub const START_SUDO: &str = r#"umask 022
for left in "$HOME"/tmp/run-*; do [ "$left" = "$1" ] || rm -rf -- "$left"; done
mkdir -p -- "$1/work" "$1/attachments" && cd -- "$1/work" || exit 126
keep=$2
unset OLDPWD
shift 2
[ "$(id -u)" != 0 ] || exec "$@"
exec sudo -n --preserve-env="$keep" -- "$@""#;

/// How a script's first line wants it to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// By this program and its arguments, the script's path last.
    By(Vec<String>),
    /// By sudo, which is to run this.
    Sudo(Vec<String>),
}

/// Reads the interpreter line. Without one on the first line a script is run by bash with exit-on-error.
pub fn start(source: &str) -> Start {
    let first = source.lines().next().unwrap_or_default();
    let Some(line) = first.strip_prefix("#!").map(str::trim).filter(|line| !line.is_empty()) else {
        return Start::By(vec!["/bin/bash".into(), "-e".into()]);
    };
    let (program, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if program.rsplit('/').next() == Some("sudo") {
        let words = rest.split_ascii_whitespace();
        // what only says how to keep the environment, which is done anyway
        let words = words.skip_while(|word| {
            matches!(*word, "-E" | "-n" | "-H" | "--" | "--non-interactive" | "--set-home")
                || word.starts_with("--preserve-env")
        });
        let words: Vec<String> = words.map(str::to_owned).collect();
        return match words.as_slice() {
            [] => Start::Sudo(vec!["/bin/bash".into(), "-e".into()]),
            _ => Start::Sudo(words),
        };
    }
    // as the system does it: everything behind the program is one argument
    let mut argv = vec![program.to_owned()];
    if !rest.trim().is_empty() {
        argv.push(rest.trim().to_owned());
    }
    Start::By(argv)
}

/// Secrets that a run knows, to be taken out of what it says.
#[derive(Default)]
pub struct Mask {
    words: Vec<(Secret, String)>,
}

impl Mask {
    /// One more secret; `shown` stands in its place. Very short ones are left: they would hit everywhere.
    pub fn add(&mut self, secret: &Secret, shown: &str) {
        for line in secret.expose().lines().map(str::trim).filter(|line| line.len() >= 4) {
            self.words.push((Secret::new(line), format!("({shown})")));
        }
        // a secret that holds another one goes first
        self.words.sort_by_key(|(word, _)| std::cmp::Reverse(word.expose().len()));
    }

    /// The line without secrets.
    pub fn line(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (word, shown) in &self.words {
            if line.contains(word.expose()) {
                line = line.replace(word.expose(), shown);
            }
        }
        line
    }
}

/// What is kept of a run's output: its beginning and its end.
#[derive(Default)]
pub struct Kept {
    head: String,
    tail: VecDeque<String>,
    tail_bytes: usize,
    dropped: usize,
}

impl Kept {
    /// One more line.
    pub fn line(&mut self, line: &str) {
        if self.tail.is_empty() && self.head.len() + line.len() < KEEP / 2 {
            self.head.push_str(line);
            self.head.push('\n');
            return;
        }
        let mut line = line.to_owned();
        if line.len() > KEEP / 4 {
            let mut end = KEEP / 4;
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            self.dropped += line.len() - end;
            line.truncate(end);
        }
        self.tail_bytes += line.len() + 1;
        self.tail.push_back(line);
        while self.tail_bytes > KEEP / 2 {
            let Some(gone) = self.tail.pop_front() else { break };
            self.tail_bytes -= gone.len() + 1;
            self.dropped += gone.len() + 1;
        }
    }

    /// All that is kept.
    pub fn text(&self) -> String {
        let mut text = self.head.clone();
        if self.dropped > 0 {
            text.push_str(&format!("… {} bytes left out …\n", self.dropped));
        }
        for line in &self.tail {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Its last lines.
    pub fn last(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL.0);
        let mut tail = lines.get(from..).unwrap_or_default().join("\n");
        if tail.len() > TAIL.1 {
            let mut cut = tail.len() - TAIL.1;
            while !tail.is_char_boundary(cut) {
                cut += 1;
            }
            tail.drain(..cut);
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(words: &[&str]) -> Start {
        Start::By(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_script_without_an_interpreter_line_stops_at_the_first_error() {
        assert_eq!(start("echo a\n"), by(&["/bin/bash", "-e"]));
        assert_eq!(start("# ---\n# Inputs: {}\n# ...\n#!/bin/sh\n"), by(&["/bin/bash", "-e"]));
        assert_eq!(start(""), by(&["/bin/bash", "-e"]));
    }

    #[test]
    fn an_interpreter_line_is_read_as_the_system_does() {
        assert_eq!(start("#!/bin/sh\n"), by(&["/bin/sh"]));
        assert_eq!(
            start("#! /usr/bin/env -S python3 -u\r\n"),
            by(&["/usr/bin/env", "-S python3 -u"])
        );
    }

    #[test]
    fn sudo_is_ours_to_run() {
        let sudo = |words: &[&str]| Start::Sudo(words.iter().map(|w| (*w).to_owned()).collect());
        assert_eq!(start("#!/usr/bin/sudo /bin/bash -e\n"), sudo(&["/bin/bash", "-e"]));
        assert_eq!(start("#! /usr/bin/sudo -E bash"), sudo(&["bash"]));
        assert_eq!(start("#!/usr/bin/sudo"), sudo(&["/bin/bash", "-e"]));
    }

    #[test]
    fn secrets_do_not_come_out() {
        let mut mask = Mask::default();
        mask.add(&Secret::new("hunter2"), "cred:A");
        mask.add(&Secret::new("hunter2hunter2"), "cred:B");
        assert_eq!(mask.line("+ x=hunter2hunter2 y=hunter2"), "+ x=(cred:B) y=(cred:A)");
    }

    #[test]
    fn a_flood_keeps_its_beginning_and_its_end() {
        let mut kept = Kept::default();
        kept.line("first");
        for n in 0..100_000 {
            kept.line(&format!("{n:020}"));
        }
        kept.line("last");
        let text = kept.text();
        assert!(text.len() <= KEEP + 100, "{}", text.len());
        assert!(
            text.starts_with("first\n") && text.ends_with("\nlast\n") && text.contains("left out")
        );
        assert_eq!(kept.last().lines().count(), 20);
    }
}
