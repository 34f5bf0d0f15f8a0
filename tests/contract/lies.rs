//! Replication states that lie: the slave says Yes, Yes, 0, or a wait says "reached", and rows are missing. Each is made
//! on real servers of both engines and must be refused under its own name. With a tool in which conjuncts can be switched
//! off (`make mutants` names its folder in RS_MUTANTS) each is also seen by its conjunct alone, and seen to pass without it.

mod states;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::{Child, Command, Output};
use std::sync::Mutex;

use rs_model::replica::SYNC;
use rs_tests::{Engines, each_engine, root};
use serde_json::Value as Json;

use states::{Lie, lies};
use world::{How, World, mutant};

each_engine!(every_lying_state_is_refused_by_its_own_name);

/// The conjuncts that an answer refuses; none: it is in sync.
fn refused(out: &Output) -> Vec<String> {
    let (said, told) = (&out.stdout, String::from_utf8_lossy(&out.stderr));
    match out.status.code() {
        Some(0) => return Vec::new(),
        Some(3) => assert!(said.is_empty(), "a gate that says no prints nothing"),
        code => panic!("exit {code:?}: {told}"),
    }
    let error: Json = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let checks = error["found"][0]["checks"].as_array().unwrap();
    let bad: Vec<String> = checks
        .iter()
        .filter(|check| check["answer"] != "ok")
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(bad.iter().all(|name| error["what"].as_str().unwrap().contains(name)), "{told}");
    bad
}

fn ask(world: &World, hows: &[How]) -> Vec<Vec<String>> {
    let children: Vec<Child> = hows.iter().map(|how| world.start(how)).collect();
    children.into_iter().map(|child| refused(&child.wait_with_output().unwrap())).collect()
}

/// A row of docs/PROOFS.md.
struct Row {
    own: &'static str,
    what: &'static str,
    told: Told,
}

enum Told {
    /// By all of these; the own conjunct alone saw it, and without them it passed.
    Refused(BTreeSet<String>),
    /// The server has no such state: the statement for it, and what it says.
    Cannot(String),
}

/// What each engine's run has seen, with its version; both runs are of one process.
static SEEN: Mutex<BTreeMap<&str, (String, Vec<Row>)>> = Mutex::new(BTreeMap::new());

fn every_lying_state_is_refused_by_its_own_name(engines: Engines) {
    let world = World::new(engines);
    let only = std::env::var("RS_LIE").ok();
    let (mut seen, mut wrong) = (Vec::new(), Vec::new());
    for lie in lies() {
        let named = |only: &String| only.split(',').any(|part| lie.what.contains(part));
        if !only.as_ref().is_none_or(named) {
            continue;
        }
        let told = match lie.cannot {
            Some((none, statement)) if none == engines => Told::Cannot(cannot(&world, statement)),
            _ => Told::Refused(tell(&world, &lie, engines, &mut wrong)),
        };
        seen.push(Row { own: lie.own(), what: lie.what, told });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if only.is_some() {
        return;
    }
    for name in SYNC {
        let told = |row: &Row| row.own == name && matches!(row.told, Told::Refused(_));
        assert!(seen.iter().any(told), "no lying state has the name {name}");
    }
    if mutant().is_some() {
        let version = world.set.warm.sql("SELECT VERSION()");
        let mut all = SEEN.lock().unwrap();
        all.insert(engines.word(), (version, seen));
        if let [host, newer] = all.values().collect::<Vec<_>>()[..] {
            std::fs::write(root().join("docs/PROOFS.md"), table(&[host, newer])).unwrap();
        }
    }
}

/// Makes a state, asks, and compares.
fn tell(world: &World, lie: &Lie, engines: Engines, wrong: &mut Vec<String>) -> BTreeSet<String> {
    world.heal();
    world.set.dbsync(&["status", "Slave2 DB", "--proof"], 0);
    (lie.make)(world);
    let all = lie.refused(engines);
    let others = || SYNC.iter().copied().filter(|name| *name != lie.own()).collect();
    let wanted: Vec<(&str, Vec<&'static str>, &[&str])> = match mutant() {
        // what is installed knows no such switch
        None => vec![("asked to look away", SYNC.to_vec(), all)],
        Some(_) => vec![
            ("as it is", vec![], all),
            ("all others switched off", others(), &all[..1]),
            ("these switched off", all.to_vec(), &[]),
        ],
    };
    let hows: Vec<How> =
        wanted.iter().map(|(_, off, _)| How { off: off.clone(), args: lie.args }).collect();
    let answers = (lie.ask)(world, &hows);
    for ((how, _, wanted), found) in wanted.iter().zip(&answers) {
        let (found, wanted): (BTreeSet<&str>, BTreeSet<&str>) =
            (found.iter().map(String::as_str).collect(), wanted.iter().copied().collect());
        let flaps = lie.flaps && found.is_subset(&wanted) && found.contains(lie.own());
        if found != wanted && !flaps {
            wrong.push(format!("{} ({how}): {found:?} and not {wanted:?}", lie.what));
        }
    }
    answers[0].iter().cloned().collect()
}

/// A state that the engine does not have: what the server says of it.
fn cannot(world: &World, statement: &str) -> String {
    world.heal();
    let said = match world.set.warm.asked(statement) {
        Err(said) => said,
        Ok(said) => {
            assert_eq!(said.lines().last(), Some("0"), "{statement}");
            return format!("`{statement}` gives 0");
        }
    };
    let said = said.lines().find(|line| line.starts_with("ERROR")).unwrap();
    // the client's word for where it was is none of the server's
    let (number, words) = said.split_once(" at line 1: ").unwrap_or((said, ""));
    let words = words.split(" near ").next().unwrap_or_default();
    format!("`{statement}` is refused: {number}: {words}")
}

/// docs/PROOFS.md.
fn table(runs: &[&(String, Vec<Row>)]) -> String {
    let day = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().unwrap().stdout;
    // MariaDB's version names its engine, MySQL's does not
    let engine = |version: &str| if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
    let named = |version: &str| match engine(version) {
        "MySQL" => format!("MySQL {version}"),
        _ => version.to_owned(),
    };
    let versions: Vec<String> = runs.iter().map(|(version, _)| named(version)).collect();
    let mut text = format!(
        "# Proofs\n\nWritten by `make mutants` on {}, {}; do not edit it by hand.\n\n\
         `rs-dbsync status --proof` is a conjunction. Each row is a lying state made on real servers. It was\n\
         *refused* by the tool as it is installed, under the names of the second column; *alone*: refused by its own\n\
         conjunct with all others switched off; *passes*: taken for in sync, exit 0, once the conjuncts of the second\n\
         column are switched off. Switches are there in a build for this table only. What *cannot be* was asked of the\n\
         server too, which refused it.\n\n\
         | conjunct | refused as | lying state | engine | refused | alone | passes |\n|---|---|---|---|---|---|---|\n",
        String::from_utf8_lossy(&day).trim(),
        versions.join(" and "),
    );
    for name in SYNC {
        for at in 0..runs[0].1.len() {
            for (version, rows) in runs {
                let Row { own, what, told } = &rows[at];
                let engine = engine(version);
                match told {
                    _ if *own != name => Ok(()),
                    Told::Refused(all) => {
                        let all: Vec<&str> = all.iter().map(String::as_str).collect();
                        let all = all.join(", ");
                        writeln!(text, "| {own} | {all} | {what} | {engine} | seen | seen | seen |")
                    }
                    Told::Cannot(why) => {
                        writeln!(
                            text,
                            "| {own} | | {what} | {engine} | cannot be on {engine}: {why} | | |"
                        )
                    }
                }
                .unwrap();
            }
        }
    }
    text.push_str(
        "\n`no errors` never stands alone on real servers: what ends with an error runs no longer.\n",
    );
    text
}

#[test]
fn docs_proofs_has_a_row_for_each_lie_and_its_conjuncts() {
    let text = std::fs::read_to_string(root().join("docs/PROOFS.md")).unwrap();
    for (engines, engine) in [(Engines::Host, "MariaDB"), (Engines::Newer, "MySQL")] {
        for lie in lies() {
            let row = text
                .lines()
                .find(|line| line.contains(&format!("| {} | {engine} |", lie.what)))
                .unwrap_or_else(|| panic!("{} on {engine} is not in it: make mutants", lie.what));
            assert!(row.starts_with(&format!("| {} |", lie.own())), "{row}: make mutants");
            match lie.cannot {
                Some((none, _)) if none == engines => {
                    assert!(row.contains(&format!("cannot be on {engine}: ")), "{row}");
                }
                // of what comes and goes the run may have seen a part
                _ if lie.flaps => {}
                _ => assert!(
                    lie.refused(engines).iter().all(|name| row.contains(name)),
                    "{row}: make mutants"
                ),
            }
        }
    }
}
