//! What every gate here does with its answers.

use rs_cli::{Context, Exit};
use rs_contract::{Error, Kind};
use rs_model::{Answer, Check};
use rs_records::Record;
use serde_json::Value as Json;

/// All ok: the checks on stdout, exit 0. Otherwise exit 3, and the checks are in the error; unknown is not ok.
pub fn answer(
    cx: &Context,
    deployment: &str,
    gate: &str,
    checks: &[Check],
) -> anyhow::Result<Exit> {
    let records: Vec<Record> = checks
        .iter()
        .map(|check| {
            let mut record = Record::of(check);
            record.nest("deployment", deployment);
            record
        })
        .collect();
    let bad: Vec<&Check> = checks.iter().filter(|check| check.answer != Answer::Ok).collect();
    if bad.is_empty() && !checks.is_empty() {
        cx.emit(&records)?;
        return Ok(Exit::Done);
    }
    if checks.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("there was nothing to ask for {gate}"))
            .hint("rs-server list --all shows what is there")
            .into());
    }
    for check in &bad {
        let word = if check.answer == Answer::No { "no" } else { "unknown" };
        let hint = check.hint.as_deref().map(|hint| format!(" (try: {hint})")).unwrap_or_default();
        cx.warn(&format!("{word}: {}, {}: {}{hint}", check.name, check.subject, check.detail));
    }
    let unknown = bad.iter().filter(|check| check.answer == Answer::Unknown).count();
    let mut counted = Vec::new();
    for (count, word) in [(bad.len() - unknown, "no"), (unknown, "unknown, which is not ok")] {
        if count > 0 {
            counted.push(format!("{count} {} {word}", if count == 1 { "is" } else { "are" }));
        }
    }
    Err(Error::new(
        Kind::No,
        format!("{gate} says no: of {} answers {}", checks.len(), counted.join(", ")),
    )
    .hint("the lines above say what and what to do; nothing was changed")
    .found(records.into_iter().map(|record| Json::Object(record.body)).collect())
    .into())
}

/// Answers that do not count, by the name of their question (one of `known`): shown as accepted.
pub fn accept(checks: &mut [Check], names: &[String], known: &[&str]) {
    let listed = |check: &Check| known.contains(&check.name.as_str());
    debug_assert!(checks.iter().all(listed), "a question is not listed in the model: {checks:?}");
    for check in checks.iter_mut().filter(|check| check.answer != Answer::Ok) {
        if names.contains(&check.name) {
            check.detail = format!("accepted by --accept: {}", check.detail);
            check.answer = Answer::Ok;
        }
    }
}

/// The answer to something that was tried: what it says is ok, an error is unknown when nothing answered, else no.
pub fn tried(name: &str, subject: &str, result: rs_contract::Result<String>) -> Check {
    match result {
        Ok(detail) => Check::new(name, subject, Answer::Ok, detail),
        Err(e) => {
            let lost = matches!(e.kind(), Kind::Unreachable | Kind::TimedOut | Kind::Declined);
            let answer = if lost { Answer::Unknown } else { Answer::No };
            let check = Check::new(name, subject, answer, e.to_string());
            match e.advice() {
                Some(hint) => check.hint(hint),
                None => check,
            }
        }
    }
}
