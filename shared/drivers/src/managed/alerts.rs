//! Alerts of a template: their clauses are checked, and kept as written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::yaml::{self, Faults, Fields, Node, NodeKind, Source};

/// The alerts of a list, files that it names included; each file is read once.
pub(crate) fn read(
    items: &[Node],
    at: &Source,
    folder: &Path,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    collect(items, at, folder, &mut seen, &mut found, faults);
    found
}

fn collect(
    items: &[Node],
    at: &Source,
    folder: &Path,
    seen: &mut BTreeSet<PathBuf>,
    found: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) {
    for item in items {
        if let NodeKind::Scalar { text, .. } = &item.kind
            && !text.is_empty()
        {
            // relative to the template's folder, also when another alert file names it
            let path = folder.join(text.trim_start_matches('/'));
            if seen.insert(path.clone()) {
                file(&path, at, item.line, folder, seen, found, faults);
            }
            continue;
        }
        let fields = Fields::of(item, at, "the alert", &["Name", "Description", "Clause"], faults);
        fields.text("Description", faults);
        let name = fields.text("Name", faults).unwrap_or_default().trim().to_owned();
        let clause = fields.text("Clause", faults).unwrap_or_default();
        if name.is_empty() {
            faults.add(at, item.line, "an alert has no \"Name\"", "write Name and Clause");
            continue;
        }
        if found.keys().any(|there: &String| there.eq_ignore_ascii_case(&name)) {
            let what = format!("two alerts are called {name:?}");
            faults.add(at, item.line, &what, "give each its own name");
        }
        let line = fields.node("Clause").map_or(item.line, |node| node.line);
        match check(clause.trim_end_matches('\n')) {
            Ok(()) => {
                found.insert(name, clause.trim_end_matches('\n').to_owned());
            }
            Err(why) => faults.add(at, line, &format!("the clause of {name:?}: {why}"), FORM),
        }
    }
}

const FORM: &str = "If METRIC.VALUETYPE OPERATOR THRESHOLD for MINUTES minutes Then escalate|grow|shrink TARGET, \
                    with single blanks";

fn file(
    path: &Path,
    from: &Source,
    line: usize,
    folder: &Path,
    seen: &mut BTreeSet<PathBuf>,
    found: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) {
    let at = Source::file(path.display().to_string());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) => {
            let what = format!("the alert file {} cannot be read: {e}", path.display());
            return faults.add(from, line, &what, "write its path relative to the template file");
        }
    };
    let node = yaml::decode(&bytes, &at).and_then(|text| yaml::first_document(&text, &at));
    match node {
        Ok(Some(node)) => {
            let fields = Fields::of(&node, &at, "the alert file", &["Alerts"], faults);
            let items = fields.list("Alerts", faults);
            if items.is_empty() {
                faults.add(&at, node.line, "the alert file holds no alert", "write Alerts: [...]");
            }
            collect(items, &at, folder, seen, found, faults);
        }
        Ok(None) => faults.add(&at, 1, "the alert file is empty", "write Alerts: [...]"),
        Err(fault) => faults.0.push(fault),
    }
}

/// Checks a clause; what is wrong with it.
fn check(clause: &str) -> Result<(), String> {
    let words: Vec<&str> = clause.splitn(10, ' ').collect();
    let [r#if, metric, operator, threshold, r#for, minutes, unit, then, action, target] = words[..]
    else {
        return Err(format!("{} words instead of ten", words.len()));
    };
    let is = |word: &str, wanted: &str| {
        if word.eq_ignore_ascii_case(wanted) {
            Ok(())
        } else {
            Err(format!("{word:?} stands where {wanted:?} is expected"))
        }
    };
    is(r#if, "If")?;
    match metric.rsplit_once('.') {
        Some((metric, kind)) if !metric.is_empty() && !kind.is_empty() => {}
        _ => return Err(format!("{metric:?} is no METRIC.VALUETYPE")),
    }
    if ![">", ">=", "<", "<=", "==", "!="].contains(&operator) {
        return Err(format!("{operator:?} is none of > >= < <= == !="));
    }
    if threshold.is_empty() {
        return Err("the threshold is empty".into());
    }
    is(r#for, "for")?;
    if !minutes.parse::<u32>().is_ok_and(|n| n > 0) {
        return Err(format!("{minutes:?} is no whole number of minutes from 1"));
    }
    is(unit.trim_matches(','), "minutes")?;
    is(then, "Then")?;
    if !["escalate", "grow", "shrink"].iter().any(|known| action.eq_ignore_ascii_case(known)) {
        return Err(format!("{action:?} is none of escalate, grow, shrink"));
    }
    if target.trim().is_empty() {
        return Err("the target is empty".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_have_ten_words() {
        for good in [
            "If cpu-0/cpu-idle.value < 15 for 3 minutes Then escalate critical",
            "If RS/server.state == stranded for 5 minutes Then escalate my escalation",
            "if a.b/c.value >= 'NaN' FOR 1 minutes, then GROW array-1",
        ] {
            check(good).unwrap();
        }
        for bad in [
            "",
            "If  cpu.value < 15 for 3 minutes Then escalate x",
            "If cpu < 15 for 3 minutes Then escalate x",
            "If cpu.value =< 15 for 3 minutes Then escalate x",
            "If cpu.value < 15 for 0 minutes Then escalate x",
            "If cpu.value < 15 for 3 minute Then escalate x",
            "If cpu.value < 15 for 3 minutes Then mail x",
            "If cpu.value < 15 for 3 minutes Then escalate",
        ] {
            check(bad).unwrap_err();
        }
    }
}
