//! The faults matrix: every step struck in every way, and the way on or back after it.
//!
//! `make faults` runs all of it and writes docs/FAULTS.md, `make faults-random` kills whole upgrades at random. What runs
//! always is one upgrade in which every step is struck once.

mod cell;
mod kept;
mod small;
mod strike;
mod table;

use std::io::Write as _;

use cell::Verdict;
use small::Small;
use table::{KINDS, ROWS};

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn seed() -> u64 {
    setting("SEED")
        .map_or(1, |text| text.parse().unwrap_or_else(|e| panic!("SEED is {text:?}: {e}")))
}

fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The cells that `ONLY=STEP/KIND,…` names (either may be missing), in the order in which it names them.
fn named(only: &str) -> Vec<Cell> {
    let mut cells = Vec::new();
    for one in only.split(',') {
        let (wanted, how) = one.split_once('/').unwrap_or((one, ""));
        let fits = |(step, kind): &Cell| {
            (wanted.is_empty() || wanted == *step) && (how.is_empty() || how == *kind)
        };
        for cell in all().filter(fits) {
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
    }
    cells
}

/// Runs cells, one after the other; what went wrong.
fn run(cells: &[Cell]) -> Vec<String> {
    // nothing is left to run: the page says what there is
    if cells.is_empty() {
        kept::write_page();
        return Vec::new();
    }
    let mut small = Small::up("faults");
    let mut wrong = Vec::new();
    for (step, kind) in cells {
        let (verdict, took) = cell::run(&mut small, step, kind, seed());
        let seconds = took.as_secs();
        tell(&format!("{step}/{kind} {seconds} s {verdict:?}"));
        kept::keep(step, kind, seed(), &verdict, seconds);
        kept::write_page();
        if !matches!(verdict, Verdict::Ok(_)) {
            wrong.push(format!("{step}/{kind}: {verdict:?}"));
        }
    }
    wrong
}

/// A step, and a kind of fault.
type Cell = (&'static str, &'static str);

/// In the order in which the saved sites are needed.
fn all() -> impl Iterator<Item = Cell> {
    ROWS.iter().flat_map(|row| KINDS.iter().map(|(kind, _)| (row.step, *kind)))
}

#[test]
fn every_fault_in_every_step_ends_where_it_is_declared_to() {
    if setting("RS_FAULTS").as_deref() != Some("matrix") {
        return tell("the matrix is run by `make faults`; a part of it is beside");
    }
    let again = setting("AGAIN").is_some();
    let undone = |(step, kind): &Cell| {
        again || kept::result(step, kind).is_none_or(|kept| kept["result"] != "ok")
    };
    let cells = setting("ONLY").map_or_else(|| all().filter(undone).collect(), |only| named(&only));
    let wrong = run(&cells);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn upgrades_that_are_killed_at_random_reach_their_end() {
    if setting("RS_FAULTS").as_deref() != Some("random") {
        return tell("random kills are run by `make faults-random`");
    }
    let count: u64 = setting("N").map_or(10, |text| text.parse().expect("N is a number"));
    let mut small = Small::up("random");
    let mut wrong = Vec::new();
    for number in 0..count {
        let said = cell::at_random(&mut small, seed(), number);
        tell(&format!("{number}: {said:?}"));
        wrong.extend(said.err().map(|why| format!("{number}: {why}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_upgrade_in_which_every_step_is_struck_once_loses_nothing_and_ends() {
    let small = Small::up("struck");
    cell::gauntlet(&small, seed());
}
