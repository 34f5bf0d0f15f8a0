//! One cell: a step, a fault, and what must be there in the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::small::Small;
use super::strike::{self, Strike, wait};
use super::table::{PARTS, ROWS, Row, dice, part_of};
use crate::upgrade::whole::releases;

/// How long what a clock began may take.
const LATE: Duration = Duration::from_secs(40);

/// How a cell ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The fault struck, and the declared end was reached.
    Ok(String),
    /// The fault did not strike: the cell does not count.
    Missed(String),
    /// The fault struck, and something else came of it.
    Bad(String, String),
}

/// The row of a step.
pub fn row_of(step: &str) -> &'static Row {
    ROWS.iter().find(|row| row.step == step).unwrap_or_else(|| panic!("there is no step {step}"))
}

/// The same cell with other moments, until the fault strikes.
pub fn run(small: &mut Small, step: &str, kind: &str, seed: u64) -> (Verdict, Duration) {
    let begun = Instant::now();
    let mut last = Verdict::Missed("not tried".into());
    for attempt in 0..4 {
        last = once(small, row_of(step), kind, seed + attempt * 7919);
        if !matches!(last, Verdict::Missed(_)) {
            break;
        }
    }
    (last, begun.elapsed())
}

/// Saves the beginning of every part that is needed, by running what comes before without a fault; and what is owed at
/// the end of the part, so that a fault can be seen to have left no more and no less.
fn ready(small: &mut Small, part: usize) {
    if !small.has(0) {
        small.save(0);
    }
    for (needed, one) in PARTS.iter().enumerate().take(part + 1) {
        if small.owed_after(needed).is_some() {
            continue;
        }
        small.restore(needed);
        let until = one.until;
        let log = small.site.scene.path(&format!("part-{until}.log"));
        let (mut child, _) = small.start("upgrade.sh", &["--until", until], &log);
        let exit = wait(&mut child, &log);
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert_eq!(exit, Ok(0), "the upgrade without a fault, up to {until}:\n{said}");
        let owed = owed(small);
        small.owes(needed, owed);
        if needed + 1 < PARTS.len() {
            small.save(needed + 1);
        }
    }
}

/// Keys of what is owed now, as the world shows it.
fn owed(small: &Small) -> BTreeSet<String> {
    let ran = small.tool("rs-cleanup", &["audit", "--json"]);
    let open = ran.records().into_iter().filter(|debt| debt["world"] != "settled");
    open.map(|debt| debt["key"].as_str().unwrap_or_default().to_owned()).collect()
}

fn once(small: &mut Small, row: &'static Row, kind: &str, seed: u64) -> Verdict {
    let part = part_of(row.step);
    let begun = Instant::now();
    ready(small, part);
    small.restore(part);
    let small = &*small;
    let log = small.site.scene.path(&format!("{}-{kind}.log", row.step));
    let _ = std::fs::remove_file(&log);
    let note = |text: &str| {
        use std::io::Write;
        let mut file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        writeln!(file, "=== {:.1} s: {text}", begun.elapsed().as_secs_f64()).unwrap();
    };
    note("the site is there");
    let keep_log = || {
        let kept = super::kept::folder().join(format!("{}-{kind}.log", row.step));
        let _ = std::fs::copy(&log, kept);
    };
    let observer = small.site.observe_at("25");
    let end = &PARTS[part];
    let until = ["--until", end.until];
    if row.step == "24" {
        // 24 is done by 25; by itself it is a repair by hand, behind the page
        let (mut child, _) = small.start("upgrade.sh", &["--until", "23"], &log);
        if wait(&mut child, &log) != Ok(0) {
            return Verdict::Missed("the upgrade did not come to it".into());
        }
    }
    note("clients are served");
    let strike = Strike::arm(small, row, kind, seed);
    let args: &[&str] = if row.step == "24" { &["--only", "24"] } else { &until };
    let (mut child, mark) = small.start("upgrade.sh", args, &log);
    let struck = match strike.follow(&mut child, &mark) {
        Ok((exit, struck)) => {
            note(&format!("exit {exit}; {struck}"));
            struck
        }
        Err(why) => {
            note(&why);
            keep_log();
            return Verdict::Missed(why);
        }
    };
    small.disarm();
    let told = |why: String| {
        keep_log();
        Verdict::Bad(struck.clone(), why)
    };
    // another operator, or the same one again
    let again = |script: &str, args: &[&str]| {
        note(&format!("{script} {args:?}"));
        let (mut child, _) = small.start(script, args, &log);
        wait(&mut child, &log)
    };
    let mut back = false;
    let exit = if kind == "rollback" {
        match again("rollback.sh", &[]) {
            Ok(5) if matches!(row.step, "37" | "38") => {
                note("rollback says that it can no longer be");
                again("upgrade.sh", &until)
            }
            other => {
                back = true;
                other
            }
        }
    } else {
        let args: &[&str] = if kind == "d" { &["--take-over", until[0], until[1]] } else { &until };
        match again("upgrade.sh", args) {
            // a script that was begun and did not end well is not begun again: a person decides, here for going back
            Ok(5) if row.step == "23" => {
                back = true;
                again("rollback.sh", &[])
            }
            other => other,
        }
    };
    match exit {
        Ok(0) => {}
        Ok(code) => return told(format!("the next start ended with exit {code}")),
        Err(why) => return told(why),
    }
    note("the declared end");
    let summary = observer.summary();
    note(&summary.to_string());
    let release = if back { "1.0" } else { end.release };
    let mut faults = Vec::new();
    let answer = releases(&small.site);
    if answer != [release] {
        faults.push(format!("{answer:?} answers instead of {release}"));
    }
    let price = if back { price(&std::fs::read_to_string(&log).unwrap_or_default()) } else { 0 };
    match summary["writes"]["lost"].as_u64() {
        Some(lost) if lost > price => {
            faults.push(format!("{lost} acknowledged writes lost, the price was {price}"));
        }
        Some(_) => {}
        None => faults.push("the rows of the database were not read".into()),
    }
    if summary["writes"]["acknowledged"] == 0 {
        faults.push("no client was served".into());
    }
    let wanted = small.owed_after(part).unwrap_or_default();
    let found = owed(small);
    if !back && found != wanted {
        let differ: Vec<&String> = found.symmetric_difference(&wanted).collect();
        faults.push(format!("owed otherwise than without a fault: {differ:?}"));
    }
    let audit = ["audit", "--due", "window"].as_slice();
    let asked = [("rs-journal", ["verify"].as_slice()), ("rs-cleanup", audit)];
    for (tool, args) in asked.iter().take(if back { 2 } else { 1 }) {
        let mut ran = small.tool(tool, args);
        // what a clock began is no fault: it is waited for
        let waited = Instant::now();
        while ran.exit != 0 && ran.stderr.contains("under way") && waited.elapsed() < LATE {
            ran = small.tool(tool, args);
        }
        if ran.exit != 0 && !(back && only_cut_off(&ran.stderr)) {
            note(&ran.to_string());
            let last = ran.stderr.trim().lines().last().unwrap_or_default().to_owned();
            faults.push(format!("{tool} {}: exit {}: {last}", args.join(" "), ran.exit));
        }
    }
    note("looked at");
    if faults.is_empty() { Verdict::Ok(struck) } else { told(faults.join("; ")) }
}

/// Steps in the order in which upgrade.sh comes to them, and the label up to which it runs for each; of those that run
/// beside others the longest first.
const ORDER: [(&str, &str); 37] = [
    ("01", "01"),
    ("02", "02"),
    ("03", "03"),
    ("04", "04"),
    ("05", "05"),
    ("06", "06"),
    ("07", "07"),
    ("09", "09"),
    ("08", "08"),
    ("10", "10"),
    ("11", "11"),
    ("12", "12"),
    ("13", "13"),
    ("14", "14"),
    ("15", "15"),
    ("16", "16"),
    ("17", "17"),
    ("27", "27"),
    ("18", "18"),
    ("19", "19"),
    ("21", "21"),
    ("22", "22"),
    ("23", "23"),
    ("20", "23"),
    ("25", "23"),
    ("26", "26"),
    ("28", "28"),
    ("30", "30"),
    ("31", "31"),
    ("32", "33"),
    ("33", "33"),
    ("29", "29w"),
    ("34", "34"),
    ("35", "35"),
    ("36", "36"),
    ("37", "37"),
    ("38", "38"),
];

/// One upgrade under clients that is started anew after each step was struck; kinds in turn.
pub fn gauntlet(small: &Small, seed: u64) {
    let log = small.site.scene.path("struck.log");
    let observer = small.site.observe_at("25");
    let (mut told, mut missed) = (Vec::new(), Vec::new());
    for (at, (step, until)) in ORDER.iter().enumerate() {
        let turn = usize::try_from(seed % 3).unwrap() + at;
        // a script that was begun and cut off is a person's decision: step 23 is met by its call only
        let kind = if *step == "23" { "call" } else { ["a", "b", "d"][turn % 3] };
        let strike = Strike::arm(small, row_of(step), kind, seed);
        let args = ["--take-over", "--until", until];
        let (mut child, mark) = small.start("upgrade.sh", &args, &log);
        match strike.follow(&mut child, &mark) {
            Ok((exit, struck)) => told.push(format!("{step}: exit {exit}: {struck}")),
            Err(why) => missed.push(format!("{step}: {why}")),
        }
    }
    small.disarm();
    let (mut child, _) = small.start("upgrade.sh", &["--take-over"], &log);
    let exit = wait(&mut child, &log);
    let story = || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        format!("{}\nmissed: {missed:?}\n{said}", told.join("\n"))
    };
    assert_eq!(exit, Ok(0), "{}", story());
    assert!(missed.len() < 6, "{}", story());
    let summary = observer.summary();
    assert_eq!(summary["writes"]["lost"], 0, "{summary}\n{}", story());
    assert!(summary["writes"]["acknowledged"].as_u64() > Some(0), "{summary}\n{}", story());
    assert_eq!(releases(&small.site), ["2.0"], "{}", story());
    let _ = small.tool("rs-cleanup", &["audit", "--due", "after"]).exits(0);
    let _ = small.tool("rs-journal", &["verify"]).exits(0);
}

/// One whole upgrade that is killed once, or one of its tools; half of them in the window.
pub fn at_random(small: &mut Small, seed: u64, number: u64) -> Result<String, String> {
    let last = PARTS.len() - 1;
    ready(small, last);
    let roll = |what: &str, most: u64| dice(seed, &format!("random {number} {what}")) % most;
    let in_window = number.is_multiple_of(2);
    small.restore(if in_window { 3 } else { 0 });
    let small = &*small;
    let log = small.site.scene.path(&format!("random-{number}.log"));
    let observer = small.site.observe_at("25");
    let (mut child, mark) = small.start("upgrade.sh", &[], &log);
    let after = Duration::from_millis(roll("when", if in_window { 12_000 } else { 45_000 }));
    let begun = Instant::now();
    while begun.elapsed() < after && child.try_wait().unwrap().is_none() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let tree = small.tree(&mark);
    let whom = if roll("whom", 2) == 0 || tree.is_empty() {
        strike::everybody(small, &mark, rustix::process::Signal::KILL);
        "the run".to_owned()
    } else {
        let at = usize::try_from(roll("which", u64::try_from(tree.len()).unwrap())).unwrap();
        let name = std::fs::read_to_string(format!("/proc/{}/comm", tree[at]));
        let _ = strike::send(tree[at], rustix::process::Signal::KILL);
        name.unwrap_or_default().trim().to_owned()
    };
    let _ = wait(&mut child, &log);
    let what = format!("{whom} killed after {} ms", after.as_millis());
    let (mut child, _) = small.start("upgrade.sh", &["--take-over"], &log);
    let exit = wait(&mut child, &log);
    let failed = |why: String| {
        let _ = std::fs::copy(&log, super::kept::folder().join(format!("random-{number}.log")));
        Err(format!("{what}: {why}"))
    };
    if exit != Ok(0) {
        return failed(format!("the next start: {exit:?}"));
    }
    let summary = observer.summary();
    if summary["writes"]["lost"] != 0 || releases(&small.site) != ["2.0"] {
        return failed(format!("not where it should be: {summary}"));
    }
    let (found, wanted) = (owed(small), small.owed_after(last).unwrap_or_default());
    if found != wanted {
        return failed(format!("owed {found:?} instead of {wanted:?}"));
    }
    Ok(what)
}

/// Whether all that `verify` names are acts that the fault cut off: who goes back does not do them again, and must be
/// told of them.
fn only_cut_off(said: &str) -> bool {
    let mut named = said.lines().filter(|line| line.starts_with("rs-journal: act "));
    named.clone().count() > 0 && named.all(|line| line.contains(", cut off "))
}

/// What rollback.sh said last that it costs, in transactions.
fn price(said: &str) -> u64 {
    let told = said.lines().rev().find_map(|line| line.split(" the price: ").nth(1));
    let number = |text: &str| {
        let digits = text.rsplit(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    };
    let counts: Vec<&str> = told.unwrap_or_default().split(" transaction").collect();
    let before = counts.split_last().map_or(&[][..], |(_, before)| before);
    before.iter().filter_map(|text| number(text)).sum()
}
