//! Records that must be read for ever: one sample of each noun with every field, in tests/golden.
//!
//! `RS_GOLDEN=write` writes them anew from what this version makes of them: read the difference before you commit it. A
//! record of an older version stays as another file (`rs.server-1.older.json`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use rs_model::journal::Report;
use rs_model::member::{Member, Page};
use rs_model::price::Price;
use rs_model::replica::Replica;
use rs_model::retire::Plan;
use rs_model::server::{Array, Deployment, Server};
use rs_model::silence::SilenceFacts;
use rs_model::snapshot::Snapshot;
use rs_model::{Act, Check, Debt};
use rs_records::{Noun, Record};
use rs_tests::root;
use serde_json::{Map, Value as Json};

fn samples() -> BTreeMap<PathBuf, Record> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let text: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let record = Record::parse(&text.to_string(), "line 1")
            .unwrap_or_else(|e| panic!("{} is no record: {e}", path.display()));
        found.insert(path, record);
    }
    found
}

/// What this version makes of a sample: read as its noun, and written again over the record.
fn again(record: &Record) -> Record {
    fn of<N: Noun>(record: &Record) -> Record {
        let noun: N = record.decode().unwrap_or_else(|e| panic!("{}: {e}", N::SCHEMA));
        let mut again = record.clone();
        again.body.extend(Record::of(&noun).body);
        again
    }
    match record.schema() {
        Server::SCHEMA => of::<Server>(record),
        Array::SCHEMA => of::<Array>(record),
        Deployment::SCHEMA => of::<Deployment>(record),
        Member::SCHEMA => of::<Member>(record),
        Page::SCHEMA => of::<Page>(record),
        Snapshot::SCHEMA => of::<Snapshot>(record),
        Check::SCHEMA => of::<Check>(record),
        Act::SCHEMA => of::<Act>(record),
        Debt::SCHEMA => of::<Debt>(record),
        Plan::SCHEMA => of::<Plan>(record),
        Report::SCHEMA => of::<Report>(record),
        rs_records::REPLICA_STATUS => {
            let body = Json::Object(record.body.clone());
            let replica: Replica = serde_json::from_value(body).unwrap();
            let mut again = record.clone();
            again.body.extend(Record::replica(record.name(), &replica, Json::Null).body);
            again
        }
        rs_records::WRITES => {
            let body = Json::Object(record.body.clone());
            let facts: SilenceFacts = serde_json::from_value(body).unwrap();
            let mut again = record.clone();
            again
                .body
                .extend(Record::new(rs_records::WRITES, serde_json::to_value(facts).unwrap()).body);
            again
        }
        rs_records::PRICE => {
            let price: Price = serde_json::from_value(Json::Object(record.body.clone())).unwrap();
            let mut again = record.clone();
            again
                .body
                .extend(Record::new(rs_records::PRICE, serde_json::to_value(price).unwrap()).body);
            again
        }
        _ => record.clone(),
    }
}

#[test]
fn every_sample_is_read_and_loses_nothing() {
    let write = std::env::var("RS_GOLDEN").is_ok_and(|value| value == "write");
    for (path, sample) in samples() {
        let now = again(&sample);
        if write {
            let text = serde_json::to_string_pretty(&now.body).unwrap();
            std::fs::write(&path, text + "\n").unwrap();
            continue;
        }
        assert_eq!(
            Json::Object(now.body),
            Json::Object(sample.body),
            "{}: it is read or written otherwise now (RS_GOLDEN=write shows how)",
            path.display()
        );
    }
}

#[test]
fn every_noun_has_a_sample() {
    let there: Vec<String> = samples().values().map(|record| record.schema().to_owned()).collect();
    for schema in rs_records::SCHEMAS {
        assert!(there.iter().any(|known| known == schema), "tests/golden has no {schema}");
    }
}

/// The first column of the first table in each `## rs.NOUN/MAJOR` of docs/RECORDS.md.
fn documented() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/RECORDS.md")).unwrap();
    let mut found = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let Some(name) = section.lines().next().filter(|name| name.starts_with("rs.")) else {
            continue;
        };
        let table = section.lines().skip_while(|line| !line.starts_with("| field")).skip(2);
        let fields = table
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.split('`').nth(1).unwrap().to_owned())
            .collect();
        found.insert(name.to_owned(), fields);
    }
    found
}

#[test]
fn the_documented_fields_are_those_of_the_samples() {
    let documented = documented();
    // what any record may carry besides, and what a text of the section names
    let besides =
        ["schema", "deployment", "name", "did", "world", "seen", "settle", "checks", "of_tomorrow"];
    for (path, sample) in samples() {
        let fields = documented
            .get(sample.schema())
            .unwrap_or_else(|| panic!("docs/RECORDS.md has no section {}", sample.schema()));
        let body: &Map<String, Json> = &sample.body;
        for field in body.keys().filter(|field| !besides.contains(&field.as_str())) {
            assert!(fields.contains(field), "{} of {} is not documented", field, sample.schema());
        }
        for field in fields {
            assert!(body.contains_key(field), "{field} is not in {}", path.display());
        }
    }
}
