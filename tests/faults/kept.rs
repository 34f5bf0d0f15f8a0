//! The results, kept in a folder so that a run can go on where it was; and docs/FAULTS.md, made of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use rs_tests::{program, root};
use serde_json::{Value as Json, json};

use super::cell::Verdict;
use super::table::{KINDS, PARTS, ROWS};

/// Where the results are kept.
pub fn folder() -> PathBuf {
    let place = std::env::var_os("RS_FAULTS_KEPT").map(PathBuf::from);
    let place = place.unwrap_or_else(|| rs_tests::demo_dir().join("faults"));
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// What a cell came to, if it was run.
pub fn result(step: &str, kind: &str) -> Option<Json> {
    let text = std::fs::read_to_string(folder().join(format!("{step}-{kind}.json"))).ok()?;
    serde_json::from_str(&text).ok()
}

/// Keeps what a cell came to.
pub fn keep(step: &str, kind: &str, seed: u64, verdict: &Verdict, seconds: u64) {
    let (result, struck, why) = match verdict {
        Verdict::Ok(struck) => ("ok", struck.as_str(), ""),
        Verdict::Missed(why) => ("bad", "", why.as_str()),
        Verdict::Bad(struck, why) => ("bad", struck.as_str(), why.as_str()),
    };
    let kept = json!({
        "result": result, "struck": struck, "why": why, "seed": seed, "seconds": seconds,
        "date": output("date", &["-u", "+%F"]), "version": version(),
    });
    let path = folder().join(format!("{step}-{kind}.json"));
    std::fs::write(path, kept.to_string()).unwrap();
}

fn output(program: &str, args: &[&str]) -> String {
    let ran = std::process::Command::new(program).args(args).current_dir(root()).output();
    ran.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

fn version() -> String {
    output("git", &["rev-parse", "--short", "HEAD"])
}

/// Writes docs/FAULTS.md.
pub fn write_page() {
    let mut text = String::from(
        "# Faults\n\nWritten by `make faults` from the results that it keeps; not by hand. `make faults ONLY=23/a` runs one cell, \
         `ONLY=23`\na row, `ONLY=/rollback` a column, `AGAIN=yes` what is there already.\n\n\
         Each cell brings a small site back from a saved image, puts clients on it, lets `upgrade.sh` run into one fault, and \
         starts\n`upgrade.sh` or `rollback.sh` again. It is ok when the fault was seen to strike, the next start ended well, every \
         balancer\nanswers with the declared release, no acknowledged write is gone beyond the price that was said, nothing is owed \
         that\nshould not be (`rs-cleanup audit`), and the world is as the journal says (`rs-journal verify`).\n\n",
    );
    for (kind, what) in KINDS {
        let _ = writeln!(text, "- **{kind}**: {what}");
    }
    let ends: Vec<String> = PARTS
        .iter()
        .map(|part| format!("up to {} release {} answers", part.last, part.release))
        .collect();
    let _ = write!(
        text,
        "\nDeclared ends, by the step in which it struck: {}; after a rollback release 1.0 does.\n\n",
        ends.join(", ")
    );
    let heads: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let _ = writeln!(text, "| step | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    let (mut bad, mut struck) = (String::new(), String::new());
    let (mut dates, mut versions, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
    for row in &ROWS {
        let mut cells = Vec::new();
        for (kind, _) in KINDS {
            let found = result(row.step, kind);
            let word = found.as_ref().and_then(|kept| kept["result"].as_str());
            let word = word.unwrap_or("not run yet").to_owned();
            *count.entry(word.clone()).or_default() += 1;
            cells.push(word.clone());
            let Some(kept) = found else { continue };
            let of = |name: &str| kept[name].as_str().unwrap_or_default().to_owned();
            dates.push(of("date"));
            versions.push(of("version"));
            seeds.push(kept["seed"].to_string());
            if word == "bad" {
                let _ = writeln!(bad, "- {}/{kind}: {}: {}", row.step, of("struck"), of("why"));
            } else {
                let _ = writeln!(
                    struck,
                    "| {}/{kind} | {} | {} |",
                    row.step,
                    of("struck").replace('|', "/"),
                    kept["seconds"]
                );
            }
        }
        let _ = writeln!(text, "| {} | {} |", row.step, cells.join(" | "));
    }
    for list in [&mut dates, &mut versions, &mut seeds] {
        list.sort();
        list.dedup();
    }
    let counts: Vec<String> = count.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let engine = |name: &str, flag: &str| {
        output(&program(name).display().to_string(), &[flag])
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let _ = write!(
        text,
        "\n{}. Date: {}. Version: {}. Seed: {}.\nOn MariaDB {}; {}.\n",
        counts.join(", "),
        dates.join(", "),
        versions.join(", "),
        seeds.join(", "),
        engine("mariadbd", "--version").split_once("  Ver ").map_or("", |(_, rest)| rest),
        engine("haproxy", "-v"),
    );
    if !bad.is_empty() {
        let _ = write!(text, "\n## Bad\n\n{bad}");
    }
    if !struck.is_empty() {
        let _ =
            write!(text, "\n## What struck\n\n| cell | fault | seconds |\n|---|---|---|\n{struck}");
    }
    let page = std::env::var_os("RS_FAULTS_PAGE").map(PathBuf::from);
    std::fs::write(page.unwrap_or_else(|| root().join("docs/FAULTS.md")), text).unwrap();
}
