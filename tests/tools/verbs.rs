//! Every verb of every tool, found by asking `--help`: a new one is in without being named.

use std::process::Command;
use std::sync::OnceLock;

use rs_tests::{root, tools};

/// A verb with what its help says.
#[derive(Clone, Debug)]
pub struct Verb {
    /// e.g. `rs-dbsync`.
    pub tool: String,
    /// e.g. `["writes", "off"]`; nothing for a tool without verbs.
    pub words: Vec<String>,
    /// Its `--help`.
    pub help: String,
}

impl Verb {
    /// Whether its help lists the flag.
    pub fn has(&self, flag: &str) -> bool {
        let is = |word: &str| word.trim_end_matches(',') == flag;
        self.help.lines().any(|l| l.trim_start().starts_with('-') && l.split_whitespace().any(is))
    }

    /// Verb and whatever the usage line wants, each with a value that parses.
    pub fn call(&self) -> Vec<String> {
        let usage = self.help.lines().find_map(|l| l.strip_prefix("Usage: ")).unwrap();
        let mut args = self.words.clone();
        let mut trailing = Vec::new();
        let mut rest = usage.split_whitespace().skip(1 + self.words.len()).peekable();
        while let Some(word) = rest.next() {
            if word == "--" {
                trailing.push("--".to_owned());
            } else if let Some(name) = word.strip_prefix('<') {
                trailing.push(self.sample("", name));
            } else if word.starts_with("--") {
                args.push(word.to_owned());
                let value = rest.next().and_then(|w| w.strip_prefix('<')).unwrap();
                args.push(self.sample(word, value));
            }
        }
        // wanted at run time, not by the parser
        for (flag, value) in [
            ("--pool", "www"),
            ("--label", "a"),
            ("--at", "One"),
            ("--for", "1h"),
            ("--sql", "up.sql"),
            ("--promote", "GREETING"),
        ] {
            // a selector of the same name would only narrow the subjects
            let selector =
                flag == "--pool" && self.help.contains("Balancers and applications of a pool");
            if self.has(flag) && !selector && !args.iter().any(|arg| arg == flag) {
                args.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        args.extend(trailing);
        args
    }

    /// Flags with which it changes nothing and comes to an end, where it has them.
    pub fn careful(&self) -> Vec<&'static str> {
        let once = self.tool == "rs-journal" && self.has("--once");
        let dry = self.has("--dry-run").then_some("--dry-run");
        dry.into_iter().chain(once.then_some("--once")).collect()
    }

    /// The call with these flags, on this subject where it takes any.
    pub fn on(&self, subject: &str, flags: &[&str]) -> Vec<String> {
        let mut args = self.call();
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        args.splice(self.words.len()..self.words.len(), flags);
        if self.has("--on") {
            args.extend(["--on".to_owned(), subject.to_owned()]);
        }
        if self.takes_names() {
            args.extend(["--".to_owned(), subject.to_owned()]);
        }
        args
    }

    /// Whether its usage line ends with names of subjects, which may be left out.
    pub fn takes_names(&self) -> bool {
        let usage = self.help.lines().find_map(|l| l.strip_prefix("Usage: ")).unwrap_or_default();
        usage.ends_with("[NAME]...") || usage.ends_with("[ORIGINAL]...")
    }

    fn sample(&self, flag: &str, name: &str) -> String {
        let name = name.trim_end_matches("...").trim_end_matches('>');
        match name {
            "NAME=TYPE:VALUE" => "GREETING=text:x",
            "LEVEL" if flag == "--from" => "next",
            "LEVEL" => "current",
            "HOST" => "test1.mysite.com",
            "PART" => "old",
            "WHICH" => "binlogs",
            "TIME" => "1h",
            "N" | "ACT" | "MS" => "1",
            "NAME" | "NAMES" if self.tool == "rs-inputs" => "GREETING",
            "PATTERN" => "clone %n",
            "CMD" => "true",
            "ORIGINAL" => "One",
            "FILE" if self.words == ["retire"] => "plan.json",
            "FILE" => "site.yaml",
            "SCRIPT" => "small say",
            _ => "x",
        }
        .to_owned()
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.tool, self.words.join(" "))
    }
}

/// The tools, by their folders.
pub fn all_tools() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("tools"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 11, "{names:?}");
    names
}

/// Every verb of every tool, at the lowest level.
pub fn all_verbs() -> &'static [Verb] {
    static ALL: OnceLock<Vec<Verb>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut found = Vec::new();
        for tool in all_tools() {
            below(&tool, &[], &mut found);
        }
        assert!(found.len() >= 50, "{found:?}");
        found
    })
}

fn below(tool: &str, words: &[String], found: &mut Vec<Verb>) {
    let out = Command::new(tools().join(tool)).args(words).arg("--help").output().unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    let names: Vec<String> = help
        .split("Commands:\n")
        .nth(1)
        .into_iter()
        .flat_map(str::lines)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        found.push(Verb { tool: tool.to_owned(), words: words.to_vec(), help });
    }
    for name in names {
        below(tool, &[words, &[name]].concat(), found);
    }
}
