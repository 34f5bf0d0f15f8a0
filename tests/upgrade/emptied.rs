//! A step that does nothing, or something else, is found out by its name.
//!
//! The upgrade runs on a copy of the scripts. Each step's function in turn is replaced: by nothing at all, then by a call
//! that harms nothing. Both must end the run and name the step; then the real one goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rs_tests::{Ran, Scene, root};

/// What runs side by side is emptied together, and started by `--until` the last word.
const BESIDE: [(&[&str], &str); 3] = [
    (&["29f", "21", "22", "20", "19p", "29a", "25", "23"], "23"),
    (&["26", "28"], "26"),
    (&["31", "32"], "31"),
];

/// Parts of a step that leave it looking done: the label, the line, and what stands in its place. Of one step those come
/// first that the others would do for good.
const PARTS: [(&str, &str, &str); 5] = [
    ("18", "  rs-check drift --allow-none >/dev/null\n", ""),
    ("18", "  page_on\n", "  rs-maintenance start --pool \"$POOL\"\n"),
    ("31", "  rs-dbsync writes opened --role master --allow-none >/dev/null\n", ""),
    ("31", "  rs-check drift --allow-none >/dev/null &\n", "  : &\n"),
    ("37", "  rs-server list --role master | rs-dbsync settings restore binlogs\n", ""),
];

/// Scripts whose steps can be emptied.
struct Copy {
    steps: PathBuf,
    whole: BTreeMap<String, String>,
}

impl Copy {
    fn of(scene: &Scene) -> Copy {
        let from = root().join("scripts").canonicalize().unwrap().display().to_string();
        let to = scene.text("copied");
        let _ = scene.call("cp", "cp").args(["-r", &from, &to]).run().exits(0);
        let steps = scene.path("copied/steps");
        let read = |entry: std::fs::DirEntry| {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().to_string_lossy().into_owned(), text)
        };
        let whole = std::fs::read_dir(&steps).unwrap().flatten().map(read).collect();
        Copy { steps, whole }
    }

    fn upgrade(&self) -> String {
        self.steps.with_file_name("upgrade.sh").display().to_string()
    }

    /// Every step is as it was written, but for these: `body` stands for all that they do.
    fn empty(&self, labels: &BTreeSet<String>, body: &str) {
        for (file, text) in &self.whole {
            let mut text = text.clone();
            for label in labels.iter().filter(|label| file.starts_with(&number(label))) {
                text.push_str(&format!("step_{}() {{ {body}; }}\n", function(label)));
            }
            std::fs::write(self.steps.join(file), text).unwrap();
        }
    }

    /// One line of a step is another one, the rest is as it was left.
    fn cut(&self, label: &str, line: &str, instead: &str) {
        let mut files = self.whole.iter().filter(|(file, _)| file.starts_with(&number(label)));
        let (file, text) = files.next().unwrap();
        assert!(text.contains(line), "{file} has no line {line}");
        std::fs::write(self.steps.join(file), text.replacen(line, instead, 1)).unwrap();
    }
}

/// The number of the file that has the label's function.
fn number(label: &str) -> String {
    match label {
        "writes_on" => "29".to_owned(),
        _ => label.trim_end_matches(char::is_alphabetic).to_owned(),
    }
}

fn function(label: &str) -> &str {
    match label {
        "19" => "19_writes",
        "19p" => "19_processes",
        "25" => "25_members",
        "25i" => "25_inputs",
        "29f" => "29_first",
        "29a" => "29_app",
        "29w" => "29_workers",
        other => other,
    }
}

/// The label that a failed run names.
#[track_caller]
fn named(ran: &Ran) -> String {
    assert_ne!(ran.exit, 0, "emptied, and nobody noticed\n{ran}");
    assert!(!ran.stderr.contains("leaves it: {"), "a record in the place of words\n{ran}");
    let at = ran.stderr.rfind("upgrade.sh: step ").unwrap_or_else(|| panic!("no step\n{ran}"));
    ran.stderr[at..].split_whitespace().nth(2).unwrap().to_owned()
}

/// Goes through the whole upgrade, each step emptied first. `run` calls a script with the site's settings.
/// Where masters throw old binary logs away (`throws`), step 37 has to let them do so again.
pub fn each_step_is_missed(scene: &Scene, throws: bool, run: &dyn Fn(&str, &[&str]) -> Ran) {
    let wanted: Vec<_> = PARTS.iter().filter(|(of, ..)| throws || *of != "37").collect();
    let copy = Copy::of(scene);
    let upgrade = copy.upgrade();
    let (mut seen, mut parts) = (BTreeSet::new(), 0);
    for (labels, until) in groups(&run(&upgrade, &["--plan"]).exits(0)) {
        if until == "23" {
            // 24 is done by 25; by itself it is a small repair
            copy.empty(&["24".to_owned()].into(), "rs-server list --all");
            let ran = run(&upgrade, &["--window", "6h", "--only", "24"]);
            assert_eq!(named(&ran), "24", "{ran}");
            let _ = seen.insert("24".to_owned());
        }
        let mut emptied: BTreeSet<String> = labels.iter().cloned().collect();
        copy.empty(&emptied, ":");
        let ran = run(&upgrade, &["--window", "6h", "--until", &until]);
        assert!(emptied.contains(&named(&ran)), "{emptied:?}\n{ran}");
        while !emptied.is_empty() {
            copy.empty(&emptied, "rs-server list --all");
            let ran = run(&upgrade, &["--window", "6h", "--until", &until]);
            let label = named(&ran);
            assert!(emptied.remove(&label), "{label} is whole\n{ran}");
            let _ = ran.says("what failed is its proof");
            let _ = seen.insert(number(&label));
            for (_, line, instead) in wanted.iter().filter(|(of, ..)| *of == label) {
                copy.empty(&emptied, "rs-server list --all");
                copy.cut(&label, line, instead);
                let ran = run(&upgrade, &["--window", "6h", "--until", &until]);
                assert_eq!(named(&ran), label, "without {line}\n{ran}");
                let _ = ran.says("what failed is its proof");
                parts += 1;
            }
        }
    }
    copy.empty(&BTreeSet::new(), "");
    let _ = run(&upgrade, &[]).exits(0);
    let all: BTreeSet<String> = (1..=38).map(|step| format!("{step:02}")).collect();
    assert_eq!(seen, all);
    assert_eq!(parts, wanted.len());
}

/// The labels of the plan as they are emptied together, each with what the run is started until.
fn groups(plan: &Ran) -> Vec<(Vec<String>, String)> {
    let label = |line: &str| {
        let word = line.split_whitespace().next()?;
        let known = word == "writes_on" || word.starts_with(|c: char| c.is_ascii_digit());
        (known && !line.starts_with("     ")).then(|| word.to_owned())
    };
    let labels: Vec<String> = plan.stdout.lines().filter_map(label).collect();
    assert!(labels.len() > 40, "{labels:?}\n{plan}");
    let mut groups: Vec<(Vec<String>, String)> = Vec::new();
    for label in labels {
        let beside = BESIDE.iter().find(|(together, _)| together.contains(&label.as_str()));
        let until = beside.map_or(label.as_str(), |(_, until)| until).to_owned();
        match groups.iter_mut().find(|(_, of)| *of == until) {
            Some((together, _)) => together.push(label),
            None => groups.push((vec![label], until)),
        }
    }
    groups
}

#[test]
fn a_step_that_does_nothing_or_something_else_is_found_out_by_its_name() {
    let site = super::site::Site::up("emptied", "");
    let _ = site.sql("Master DB", "SET GLOBAL binlog_expire_logs_seconds=864000");
    each_step_is_missed(&site.scene, true, &|script, args| site.run(script, args));
}
