//! One cell: a step, a fault, and what must be there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rs_tests::until;

use super::small::Small;
use super::strike::{self, Strike, wait};
use super::table::{PARTLY, PARTS, ROWS, Row, SAVED, dice, part_of, saved_for};
use crate::upgrade::site::Observer;
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

/// Saves every site that is needed to come to a label, by running what comes before without a fault under clients; and
/// what is owed there, so that a fault can be seen to have left no more and no less.
fn ready(small: &mut Small, until: &'static str) {
    if !small.has(0) {
        small.save(0);
    }
    let labels =
        SAVED.iter().map(|saved| saved.until).skip(1).chain([PARTS[PARTS.len() - 1].until]);
    for (before, label) in labels.enumerate() {
        if small.owed_at(label).is_none() {
            small.restore(before);
            let log = small.site.scene.path(&format!("until-{label}.log"));
            let observer = small.site.observe_at("25");
            let (mut child, _) = small.start("upgrade.sh", &["--until", label], &log);
            let exit = wait(&mut child, &log);
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert_eq!(exit, Ok(0), "the upgrade without a fault, up to {label}:\n{said}");
            let summary = observer.summary();
            assert_eq!(summary["writes"]["lost"], 0, "{summary}\n{said}");
            let owed = owed(small);
            small.owes(label, owed);
            if before + 1 < SAVED.len() {
                small.save(before + 1);
            }
        }
        if label == until {
            return;
        }
    }
}

/// Keys of what is owed now, as the world shows it.
fn owed(small: &Small) -> BTreeSet<String> {
    let ran = small.tool("rs-cleanup", &["audit", "--json"]);
    let open = ran.records().into_iter().filter(|debt| debt["world"] != "settled");
    let keys = open.map(|debt| debt["key"].as_str().unwrap_or_default().to_owned());
    // an instance that was ended has another in its place, with a number of its own: they are counted, not named
    let mut counts = BTreeMap::<String, u32>::new();
    let key = |key: String| match key.rsplit_once(" #") {
        Some((of, _)) => {
            let count = counts.entry(of.to_owned()).or_default();
            *count += 1;
            format!("{of}, instance {count}")
        }
        None => key,
    };
    keys.map(key).collect()
}

/// What is said in a cell, with the time since it began.
struct Log {
    path: PathBuf,
    begun: Instant,
}

impl Log {
    fn new(small: &Small, name: &str) -> Log {
        let path = small.site.scene.path(&format!("{name}.log"));
        let _ = std::fs::remove_file(&path);
        Log { path, begun: Instant::now() }
    }

    fn note(&self, text: &str) {
        let mut file = std::fs::File::options().create(true).append(true).open(&self.path).unwrap();
        writeln!(file, "=== {:.1} s: {text}", self.begun.elapsed().as_secs_f64()).unwrap();
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Copies it to where the results are.
    fn keep(&self) {
        let _ =
            std::fs::copy(&self.path, super::kept::folder().join(self.path.file_name().unwrap()));
    }

    /// Starts a script that nothing strikes and follows it to its end.
    fn start(&self, small: &Small, script: &str, args: &[&str]) -> Result<i32, String> {
        self.note(&format!("{script} {args:?}"));
        let (mut child, _) = small.start(script, args, &self.path);
        wait(&mut child, &self.path)
    }
}

/// A script that was begun and did not end well is not begun again: a person decides.
const DECIDE: &str = "was begun and has failed or was cut off";

/// Where a run that was struck has to come to.
struct End {
    /// The saved site from which it came.
    place: usize,
    /// The last label.
    until: &'static str,
    /// The release that answers there.
    release: &'static str,
    /// Whether it is the way back that ended.
    back: bool,
}

/// Whether it came there: what is otherwise.
fn judge(small: &Small, observer: Observer<'_>, log: &Log, end: &End) -> Result<(), String> {
    log.note("the declared end");
    observer.served_again()?;
    let summary = observer.summary();
    log.note(&summary.to_string());
    let release = if end.back { "1.0" } else { end.release };
    let mut faults = Vec::new();
    let answer = releases(&small.site);
    if answer != [release] {
        faults.push(format!("{answer:?} answers instead of {release}"));
    }
    let price = if end.back { price(&log.said()) } else { 0 };
    match summary["writes"]["lost"].as_u64() {
        Some(lost) if lost > price => {
            faults.push(format!("{lost} acknowledged writes lost, the price was {price}"));
        }
        Some(_) => {}
        None => faults.push("the rows of the database were not read".into()),
    }
    // what was written before this cell began
    let (had, has) = (small.orders_of(end.place), small.orders());
    if has + price < had {
        faults.push(format!("{has} orders of {had} are left, the price was {price}"));
    }
    if summary["writes"]["acknowledged"] == 0 {
        faults.push("no client was served".into());
    }
    let wanted = small.owed_at(end.until).unwrap_or_default();
    let found = owed(small);
    if !end.back && found != wanted {
        let differ: Vec<&String> = found.symmetric_difference(&wanted).collect();
        faults.push(format!("owed otherwise than without a fault: {differ:?}"));
    }
    let audit = ["audit", "--due", "window"].as_slice();
    let asked = [("rs-journal", ["verify"].as_slice()), ("rs-cleanup", audit)];
    for (tool, args) in asked.iter().take(if end.back { 2 } else { 1 }) {
        let mut ran = small.tool(tool, args);
        // what a clock began is no fault: it is waited for
        let waited = Instant::now();
        while ran.exit != 0 && ran.stderr.contains("under way") && waited.elapsed() < LATE {
            ran = small.tool(tool, args);
        }
        if ran.exit != 0 && !(end.back && only_cut_off(&ran.stderr)) {
            log.note(&ran.to_string());
            let last = ran.stderr.trim().lines().last().unwrap_or_default().to_owned();
            faults.push(format!("{tool} {}: exit {}: {last}", args.join(" "), ran.exit));
        }
    }
    log.note("looked at");
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

fn once(small: &mut Small, row: &'static Row, kind: &str, seed: u64) -> Verdict {
    let part = part_of(row.step);
    ready(small, part.until);
    let place = saved_for(row.step);
    let log = Log::new(small, &format!("{}-{kind}", row.step));
    small.restore(place);
    let small = &*small;
    log.note("the site is there");
    let observer = small.site.observe_at("25");
    log.note("clients are served");
    let until = ["--until", part.until];
    let strike = Strike::arm(small, row, kind, seed);
    // 24 is done by 25; by itself it is a repair by hand, behind the page
    let args: &[&str] = if row.step == "24" { &["--only", "24"] } else { &until };
    let (mut child, mark) = small.start("upgrade.sh", args, &log.path);
    let struck = match strike.follow(&mut child, &mark) {
        Ok((exit, struck)) => {
            log.note(&format!("exit {exit}; {struck}"));
            struck
        }
        Err(why) => {
            log.note(&why);
            log.keep();
            return Verdict::Missed(why);
        }
    };
    small.disarm();
    match strike.back_again() {
        Ok(Some(who)) => log.note(&who),
        Ok(None) => {}
        Err(why) => {
            log.keep();
            return Verdict::Bad(struck, why);
        }
    }
    let mut back = false;
    let exit = if kind == "rollback" {
        match log.start(small, "rollback.sh", &[]) {
            Ok(5) if matches!(row.step, "37" | "38") => {
                log.note("rollback says that it can no longer be");
                log.start(small, "upgrade.sh", &until)
            }
            other => {
                back = true;
                other
            }
        }
    } else {
        // another operator, or the same one again; a repair by hand that was cut off is done again, then the run goes on
        let over: &[&str] = if kind == "d" { &["--take-over"] } else { &[] };
        let repaired = match row.step {
            "24" => log.start(small, "upgrade.sh", &[over, args].concat()),
            _ => Ok(0),
        };
        let on = match repaired {
            Ok(0) => log.start(small, "upgrade.sh", &[over, &until].concat()),
            other => other,
        };
        match on {
            Ok(5) if log.said().contains(DECIDE) => {
                back = true;
                log.start(small, "rollback.sh", &[])
            }
            other => other,
        }
    };
    // whoever was frozen was ended by whoever took over
    let _ = child.try_wait();
    let end = End { place, until: part.until, release: part.release, back };
    let came = match exit {
        Ok(0) => judge(small, observer, &log, &end),
        Ok(code) => Err(format!("the next start ended with exit {code}")),
        Err(why) => Err(why),
    };
    match came {
        Ok(()) => Verdict::Ok(struck),
        Err(why) => {
            log.keep();
            Verdict::Bad(struck, why)
        }
    }
}

/// Steps in the order in which upgrade.sh comes to them, up to which label it runs for each, and how each can be struck;
/// of those that run beside others the longest first.
const ORDER: [(&str, &str, &[&str]); 38] = {
    const ANY: &[&str] = &["a", "b", "d"];
    // the run goes on, and the migration with it: a script that was begun and cut off is a person's decision
    const ALONE: &[&str] = &["a", "b"];
    [
        ("01", "01", ANY),
        ("02", "02", ANY),
        ("03", "03", ANY),
        ("04", "04", ANY),
        ("05", "05", ANY),
        ("06", "06", ANY),
        ("07", "07", ANY),
        ("09", "09", ANY),
        ("08", "08", ANY),
        ("10", "10", ANY),
        ("11", "11", ANY),
        ("12", "12", ANY),
        ("13", "13", ANY),
        ("14", "14", ANY),
        ("15", "15", ANY),
        ("16", "16", ANY),
        ("17", "17", ANY),
        ("27", "27", ANY),
        ("18", "18", ANY),
        ("19", "19", ANY), // its writes; its processes are ended beside the migration
        ("21", "21", ANY),
        ("22", "22", ANY),
        // done by 25; by itself it is a repair by hand, behind the page
        ("24", "", ANY),
        ("23", "23", &["call"]),
        ("25", "25", ALONE),
        ("20", "23", ANY),
        ("26", "26", ANY),
        ("28", "28", ANY),
        ("30", "30", ANY),
        ("31", "31", ANY),
        ("33", "33", ANY),
        ("32", "33", ANY),
        ("29", "29w", ANY),
        ("34", "34", ANY),
        ("35", "35", ANY),
        ("36", "36", ANY),
        ("37", "37", ANY),
        ("38", "38", ANY),
    ]
};

/// One upgrade under clients that is started anew after each step was struck; kinds in turn.
pub fn gauntlet(small: &Small, seed: u64) {
    let log = small.site.scene.path("struck.log");
    let observer = small.site.observe_at("25");
    let begun = Instant::now();
    let (mut told, mut missed, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (step, until, kinds)) in ORDER.iter().enumerate() {
        let kind = kinds[(usize::try_from(seed).unwrap() + at) % kinds.len()];
        let row = PARTLY.iter().find(|row| row.step == *step).unwrap_or_else(|| row_of(step));
        let strike = Strike::arm(small, row, kind, seed).surely();
        let part = if until.is_empty() { ["--only", *step] } else { ["--until", *until] };
        let (mut child, mark) = small.start("upgrade.sh", &["--take-over", part[0], part[1]], &log);
        let second = begun.elapsed().as_secs();
        match strike.follow(&mut child, &mark) {
            Ok((exit, struck)) => told.push(format!("{second} s: {step}: exit {exit}: {struck}")),
            Err(why) => missed.push(format!("{second} s: {step}: {why}")),
        }
        frozen.push(child);
        if until.is_empty() {
            // whoever was cut off in a repair by hand does it again
            let (mut child, _) =
                small.start("upgrade.sh", &["--take-over", part[0], part[1]], &log);
            let exit = wait(&mut child, &log);
            told.push(format!("{step} again: {exit:?}"));
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
    assert!(missed.is_empty(), "{}", story());
    // whoever was frozen was ended by whoever took over
    for mut child in frozen {
        until("every earlier start to have ended", LATE, || child.try_wait().unwrap().is_some());
    }
    let summary = observer.summary();
    assert_eq!(summary["writes"]["lost"], 0, "{summary}\n{}", story());
    assert!(summary["writes"]["acknowledged"].as_u64() > Some(0), "{summary}\n{}", story());
    assert_eq!(releases(&small.site), ["2.0"], "{}", story());
    let _ = small.tool("rs-cleanup", &["audit", "--due", "after"]).exits(0);
    let _ = small.tool("rs-journal", &["verify"]).exits(0);
    if std::env::var_os("RS_FAULTS_TELL").is_some() {
        super::tell(&story());
    }
}

/// One whole upgrade that is killed once, or one of its tools; half of them in the window.
pub fn at_random(small: &mut Small, seed: u64, number: u64) -> Result<String, String> {
    let last = &PARTS[PARTS.len() - 1];
    ready(small, last.until);
    let roll = |what: &str, most: u64| dice(seed, &format!("random {number} {what}")) % most;
    let in_window = number.is_multiple_of(2);
    let place = saved_for(if in_window { "17" } else { "01" });
    let log = Log::new(small, &format!("random-{number}"));
    small.restore(place);
    let small = &*small;
    let observer = small.site.observe_at("25");
    let (mut child, mark) = small.start("upgrade.sh", &[], &log.path);
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
    let _ = wait(&mut child, &log.path);
    let what = format!("{whom} killed after {} ms", after.as_millis());
    log.note(&what);
    let mut back = false;
    let exit = match log.start(small, "upgrade.sh", &["--take-over"]) {
        Ok(5) if log.said().contains(DECIDE) => {
            back = true;
            log.start(small, "rollback.sh", &[])
        }
        other => other,
    };
    let end = End { place, until: last.until, release: last.release, back };
    let came = match exit {
        Ok(0) => judge(small, observer, &log, &end),
        other => Err(format!("the next start: {other:?}")),
    };
    match came {
        Ok(()) => Ok(what + if back { ", and gone back" } else { "" }),
        Err(why) => {
            log.keep();
            Err(format!("{what}: {why}"))
        }
    }
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
