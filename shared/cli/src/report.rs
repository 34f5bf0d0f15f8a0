//! Errors for people and, with `--json`, for programs.

use std::io::Write;

use rs_contract::{Error, Kind};
use serde_json::json;

use crate::Exit;

/// Prints an error and returns its exit code. The last line says what, why, and what to try.
pub fn error(tool: &str, verb: &str, json: bool, error: &anyhow::Error) -> Exit {
    let ours = error.downcast_ref::<Error>();
    let (kind, what, why, hint) = match ours {
        Some(e) => (
            e.kind(),
            e.what().to_owned(),
            e.cause().map(str::to_owned),
            e.advice().map(str::to_owned),
        ),
        None => match error.downcast_ref::<rs_model::Bad>() {
            Some(bad) => (Kind::Usage, bad.what.clone(), None, Some(bad.hint.clone())),
            None => (Kind::Failed, format!("{error:#}"), None, None),
        },
    };
    let mut line = format!("{tool}: {what}");
    if let Some(why) = &why {
        line.push_str(&format!(": {why}"));
    }
    if let Some(hint) = &hint {
        line.push_str(&format!(" (try: {hint})"));
    }
    let exit = Exit::from(kind);
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}", line.replace('\n', " "));
    if json {
        let mut record = json!({
            "schema": rs_records::ERROR, "tool": tool, "verb": verb, "exit": exit.code(), "what": what,
        });
        if let Some(record) = record.as_object_mut() {
            for (key, value) in [("because", why), ("hint", hint)] {
                if let Some(value) = value {
                    record.insert(key.into(), value.into());
                }
            }
            let found = ours.map_or(&[][..], Error::records);
            if !found.is_empty() {
                record.insert("found".into(), found.into());
            }
        }
        let _ = writeln!(err, "{record}");
    }
    exit
}
