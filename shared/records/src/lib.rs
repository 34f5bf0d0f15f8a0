//! The JSON on the pipes: one object a line, each naming its schema. README.md beside this folder is the promise.
//!
//! Unknown fields stay, unknown nouns pass through, an unknown major of one of our nouns is refused.

use std::fmt::Display;

use rs_model::Bad;
use rs_model::act::{Act, Debt, Did};
use rs_model::check::Check;
use rs_model::journal::Report;
use rs_model::member::{Member, Page};
use rs_model::replica::Replica;
use rs_model::retire::Plan;
use rs_model::server::{Array, Deployment, Server};
use rs_model::snapshot::Snapshot;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};

/// A thing that has a schema of its own: `rs.NOUN/MAJOR`.
///
/// New optional fields keep the number; anything else takes the next one.
pub trait Noun: Serialize + DeserializeOwned {
    /// e.g. `rs.server/1`.
    const SCHEMA: &'static str;
}

macro_rules! nouns {
    ($($noun:ty => $schema:literal),* $(,)?) => {
        $(impl Noun for $noun { const SCHEMA: &'static str = $schema; })*
        /// Every schema that this version writes and reads.
        pub const SCHEMAS: &[&str] = &[$($schema,)* ERROR, INPUT, REPLICA_STATUS, REQUEST, SUMMARY, OUTPUT, NAME, SCHEDULE, WRITES, PRICE];
    };
}

/// Schema of an error on stderr.
pub const ERROR: &str = "rs.error/1";
/// Schema of one input with its source.
pub const INPUT: &str = "rs.input/1";
/// Schema of what `rs-dbsync status` emits: the facts with the answers of the proof.
pub const REPLICA_STATUS: &str = "rs.replica/1";
/// Schema of one request of `rs-check probe`.
pub const REQUEST: &str = "rs.request/1";
/// Schema of the kept output of a run of a script.
pub const OUTPUT: &str = "rs.output/1";
/// Schema of the summary of `rs-check probe`.
pub const SUMMARY: &str = "rs.summary/1";
/// Schema of a name in DNS.
pub const NAME: &str = "rs.name/1";
/// Schema of what `rs-snapshot schedule status` emits.
pub const SCHEDULE: &str = "rs.schedule/1";
/// Schema of what `rs-dbsync price` emits.
pub const PRICE: &str = "rs.price/1";
/// Schema of what `rs-dbsync writes status` emits.
pub const WRITES: &str = "rs.writes/1";

nouns! {
    Server => "rs.server/1",
    Array => "rs.array/1",
    Deployment => "rs.deployment/1",
    Member => "rs.member/1",
    Page => "rs.page/1",
    Snapshot => "rs.snapshot/1",
    Check => "rs.check/1",
    Act => "rs.act/1",
    Debt => "rs.debt/1",
    Plan => "rs.plan/1",
    Report => "rs.report/1",
}

/// A record: a JSON object whose `schema` says what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The object, `schema` included.
    pub body: Map<String, Json>,
}

impl Record {
    /// A record of a noun.
    pub fn of<N: Noun>(noun: &N) -> Record {
        let mut body = match serde_json::to_value(noun) {
            Ok(Json::Object(body)) => body,
            Ok(other) => Map::from_iter([("value".to_owned(), other)]),
            Err(e) => Map::from_iter([("unwritable".to_owned(), json!(e.to_string()))]),
        };
        body.insert("schema".into(), json!(N::SCHEMA));
        Record { body }
    }

    /// A record of a schema without a Rust type of its own.
    pub fn new(schema: &str, value: Json) -> Record {
        let mut body = match value {
            Json::Object(body) => body,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        body.insert("schema".into(), json!(schema));
        Record { body }
    }

    /// A replica with its name.
    pub fn replica(name: &str, replica: &Replica, more: Json) -> Record {
        let mut value = json!({ "name": name });
        for part in [serde_json::to_value(replica).unwrap_or_default(), more] {
            if let (Json::Object(into), Json::Object(part)) = (&mut value, part) {
                into.extend(part);
            }
        }
        Record::new(REPLICA_STATUS, value)
    }

    /// Reads one line. `place` says in the error where it stands, e.g. `line 3 of stdin`.
    pub fn parse(text: &str, place: impl Display) -> Result<Record, Bad> {
        let hint =
            "records are JSON objects, one a line, as our tools write them; nothing has been done";
        let value: Json = serde_json::from_str(text)
            .map_err(|e| Bad::new(format!("{place} is not JSON: {e}"), hint))?;
        let Json::Object(body) = value else {
            return Err(Bad::new(format!("{place} is no JSON object"), hint));
        };
        let Some(schema) = body.get("schema").and_then(Json::as_str) else {
            return Err(Bad::new(format!("{place} has no `schema`"), hint));
        };
        if let Some((noun, major)) = schema.split_once('/') {
            let ours = SCHEMAS.iter().find(|s| s.split_once('/').is_some_and(|(n, _)| n == noun));
            if let Some(ours) = ours.filter(|ours| **ours != schema) {
                return Err(Bad::new(
                    format!("{place} is `{noun}/{major}`, and this version reads {ours}"),
                    "use tools of one version in a pipe; nothing has been done",
                ));
            }
        }
        Ok(Record { body })
    }

    /// Its schema, e.g. `rs.server/1`.
    pub fn schema(&self) -> &str {
        self.body.get("schema").and_then(Json::as_str).unwrap_or("")
    }

    /// Whether it is of that noun.
    pub fn is<N: Noun>(&self) -> bool {
        self.schema() == N::SCHEMA
    }

    /// Its `name`, or an empty text.
    pub fn name(&self) -> &str {
        self.body.get("name").and_then(Json::as_str).unwrap_or("")
    }

    /// The noun in it; the field that does not fit is named.
    pub fn decode<N: Noun>(&self) -> Result<N, Bad> {
        serde_json::from_value(Json::Object(self.body.clone())).map_err(|e| {
            Bad::new(
                format!("a {} record ({:?}) does not fit: {e}", N::SCHEMA, self.name()),
                "see docs/RECORDS.md",
            )
        })
    }

    /// Overwrites the noun's own fields with what it is now; everything else stays.
    pub fn refresh<N: Noun>(&mut self, now: &N) {
        let fresh = Record::of(now);
        // an optional field that is gone must not survive from before
        for gone in ["address", "current", "array", "template", "cloned_from", "foreign"] {
            if !fresh.body.contains_key(gone) {
                self.body.remove(gone);
            }
        }
        self.body.extend(fresh.body);
    }

    /// Puts a nested result, e.g. `members` or `run`.
    pub fn nest(&mut self, key: &str, value: impl Serialize) {
        self.body.insert(key.to_owned(), serde_json::to_value(value).unwrap_or(Json::Null));
    }

    /// Adds to `did`.
    pub fn did(&mut self, did: &Did) {
        let entry = serde_json::to_value(did).unwrap_or(Json::Null);
        match self.body.get_mut("did") {
            Some(Json::Array(list)) => list.push(entry),
            _ => {
                self.body.insert("did".into(), json!([entry]));
            }
        }
        if did.planned {
            self.body.insert("planned".into(), json!(true));
        }
    }

    /// Whether an earlier tool failed on it: its last `did` holds an error.
    pub fn failed(&self) -> Option<String> {
        let last = self.body.get("did")?.as_array()?.last()?;
        last.get("error")?.as_str().map(str::to_owned)
    }

    /// Whether an earlier dry run made it: it may not be there in the world.
    pub fn planned(&self) -> bool {
        self.body.get("planned").and_then(Json::as_bool).unwrap_or(false)
    }

    /// Itself as one line of JSON, `schema` first.
    pub fn line(&self) -> String {
        let mut text = format!("{{\"schema\":{}", json!(self.schema()));
        for (key, value) in &self.body {
            if key != "schema" {
                text.push(',');
                text.push_str(&json!(key).to_string());
                text.push(':');
                text.push_str(&value.to_string());
            }
        }
        text.push('}');
        text
    }
}

/// Reads a whole stream; blank lines are skipped. Nothing is believed before all of it was read. `source` says in an error
/// what it is, e.g. `stdin`; absent: who asked says it.
pub fn parse_all(text: &str, source: Option<&str>) -> Result<Vec<Record>, Bad> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(at, line)| match source {
            Some(source) => Record::parse(line, format_args!("line {} of {source}", at + 1)),
            None => Record::parse(line, format_args!("line {}", at + 1)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_stay_and_unknown_nouns_pass() {
        let line = r#"{"schema":"rs.server/1","name":"App Server-1","of_tomorrow":{"x":1}}"#;
        let mut record = Record::parse(line, "line 1").unwrap();
        let server: Server = record.decode().unwrap();
        assert_eq!(server.later["of_tomorrow"]["x"], 1);
        record.refresh(&server);
        assert_eq!(record.body["of_tomorrow"]["x"], 1);
        Record::parse(r#"{"schema":"acme.thing/9"}"#, "line 1").unwrap();
        Record::parse(r#"{"schema":"rs.tomorrow/3"}"#, "line 1").unwrap();
    }

    #[test]
    fn a_number_passes_with_its_last_digit() {
        for number in ["31.245270191439438", "7.2057594037927933e16", "0.1", "-2.5e-7"] {
            let line = format!("{{\"n\":{number},\"schema\":\"acme.thing/1\"}}");
            let record = Record::parse(&line, "line 1").unwrap();
            let exact: f64 = number.parse().unwrap();
            assert_eq!(record.body["n"].as_f64().map(f64::to_bits), Some(exact.to_bits()));
            assert_eq!(serde_json::to_value(exact).unwrap(), record.body["n"]);
            let again = Record::parse(&record.line(), "line 1").unwrap();
            assert_eq!(again.line(), record.line(), "through a second tool");
        }
    }

    #[test]
    fn what_is_no_record_is_refused_with_its_line() {
        for (text, line) in [
            ("{}\n", 1),
            ("{\"schema\":\"a.b/1\"}\n\nnope\n", 3),
            ("{\"schema\":\"rs.server/2\"}", 1),
        ] {
            let bad = parse_all(text, Some("stdin")).unwrap_err();
            assert!(bad.what.contains(&format!("line {line} ")), "{bad}");
        }
    }

    #[test]
    fn a_failed_subject_says_so() {
        let mut record = Record::of(&Server { name: "a".into(), ..Server::default() });
        assert_eq!(record.failed(), None);
        record.did(&Did {
            tool: "t".into(),
            verb: "v".into(),
            changed: false,
            ms: 1,
            before: Json::Null,
            after: Json::Null,
            undo: None,
            planned: false,
            error: Some("no".into()),
        });
        assert_eq!(record.failed().as_deref(), Some("no"));
        assert!(record.line().starts_with(r#"{"schema":"rs.server/1","#));
    }
}
