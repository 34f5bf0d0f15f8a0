//! Whatever comes in, nothing panics, and what is written reads back: a second for each property, or `RS_FUZZ_SECONDS`.

#[path = "../shared/drivers/src/fuzz_tests.rs"]
mod trying;

use std::collections::BTreeMap;

use proptest::prelude::*;
use rs_cli::{duration, name_value, shell_words};
use rs_drivers::site;
use rs_model::position::{GtidSet, Gtids, stray};
use rs_model::{Array, Debt, Deployment, Member, Page, Server, Value};
use rs_records::{Record, parse_all};
use serde_json::{Map, Value as Json, json};
use trying::fuzz;

/// Any JSON, not deep.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        "\\PC{0,12}|[\\x00-\\x1f\"\\\\]{0,4}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map("\\PC{0,8}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// A field's name that a record of ours may have, or another.
fn field() -> impl Strategy<Value = String> {
    const OURS: [&str; 24] = [
        "name",
        "deployment",
        "state",
        "tags",
        "current",
        "next",
        "inputs",
        "address",
        "template",
        "locked",
        "array",
        "did",
        "planned",
        "members",
        "seq",
        "at",
        "outcome",
        "owner",
        "key",
        "due",
        "before",
        "after",
        "minimum",
        "ms",
    ];
    prop_oneof![4 => proptest::sample::select(&OURS[..]).prop_map(str::to_owned), 1 => "[a-z_]{1,10}"]
}

#[test]
fn a_record_is_its_own_line_and_no_line_panics() {
    const SCHEMAS: [&str; 7] = [
        "rs.server/1",
        "rs.array/1",
        "rs.act/1",
        "rs.debt/1",
        "rs.member/1",
        "rs.page/1",
        "acme.thing/7",
    ];
    let body = proptest::collection::btree_map(field(), any_json(), 0..7);
    fuzz((proptest::sample::select(&SCHEMAS[..]), body), |(schema, body)| {
        let body: Map<String, Json> = body.into_iter().collect();
        let record = Record::new(schema, Json::Object(body));
        let line = record.line();
        prop_assert!(!line.contains('\n'), "{line}");
        let read =
            Record::parse(&line, "line 1").map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(read.line(), line);
        let _ = (read.failed(), read.planned(), read.name().len());
        decode::<Server>(&read)?;
        decode::<Array>(&read)?;
        decode::<Deployment>(&read)?;
        decode::<Member>(&read)?;
        decode::<Page>(&read)?;
        decode::<Debt>(&read)
    });
    fuzz("(?s)([\\[\\]{}:,\"a-z0-9.\\\\/ \n-]|\\PC){0,60}", |text| {
        let _ = parse_all(&text, None);
        let _ = parse_all(&format!("{{\"schema\":\"rs.server/1\",\"name\":{text}}}"), None);
        Ok(())
    });
}

/// What decodes is the same again once it was written.
fn decode<N: rs_records::Noun + PartialEq + std::fmt::Debug>(
    record: &Record,
) -> Result<(), TestCaseError> {
    let Some(noun) = record.is::<N>().then(|| record.decode::<N>().ok()).flatten() else {
        return Ok(());
    };
    let again = Record::parse(&Record::of(&noun).line(), "line 1")
        .and_then(|record| record.decode::<N>())
        .map_err(|e| TestCaseError::fail(format!("{e}: {noun:?}")))?;
    prop_assert_eq!(again, noun);
    Ok(())
}

#[test]
fn an_input_value_is_read_as_it_is_written() {
    let single = "(text|blank|ignore|inherit|env|cred|key|array|)(:|)(:|\\PC{0,10}|[\\x00-\\x1f]|[A-Z_]{1,6}){0,3}";
    let array = proptest::collection::vec(single, 0..4)
        .prop_map(|items| format!("array:{}", serde_json::to_string(&items).unwrap()));
    fuzz(prop_oneof![single.prop_map(|s| s), array, "(?s)array:.{0,12}".prop_map(|s| s)], |text| {
        let Ok(value) = Value::parse(&text) else { return Ok(()) };
        let written = value.to_string();
        let read = Value::parse(&written).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(read, value);
        if !text.starts_with("array:") {
            prop_assert_eq!(written, text, "something of it was dropped");
        }
        Ok(())
    });
    fuzz("[A-Za-z0-9_= -]{0,8}=?(text:)?\\PC{0,10}", |text| {
        let _ = name_value(&text);
        Ok(())
    });
}

#[test]
fn a_time_is_positive_or_refused() {
    fuzz("([0-9]{0,22}|0{0,2}\\.0{0,13}[0-9]{0,3})(ms|s|m|h|d|e|x|)|\\PC{0,6}", |text| {
        if let Ok(time) = duration(&text) {
            prop_assert!(!time.is_zero(), "{text} is no time at all");
        }
        Ok(())
    });
}

/// A server's number, whether it has a tag, and its intervals.
type Source = (u8, bool, Vec<(u64, u64)>);

/// Sets of MySQL as it writes them, intervals in any order.
fn sources() -> impl Strategy<Value = Vec<Source>> {
    let number = prop_oneof![1_u64..40, (u64::MAX - 3)..=u64::MAX];
    let interval = (number.clone(), number).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let source = (0_u8..3, any::<bool>(), proptest::collection::vec(interval, 1..5));
    proptest::collection::vec(source, 1..4)
}

fn written(sources: &[Source]) -> String {
    let one = |(uuid, tag, intervals): &Source| {
        let intervals: Vec<String> = intervals
            .iter()
            .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") })
            .collect();
        let tag = if *tag { ":blue" } else { "" };
        format!("3e11fa47-71ca-11e1-9e33-c80aa942956{uuid}{tag}:{}", intervals.join(":"))
    };
    sources.iter().map(one).collect::<Vec<_>>().join(",\n")
}

#[test]
fn positions_are_sets_whatever_their_order() {
    fuzz((sources(), sources()), |(one, two)| {
        let read = |from: &[_]| {
            GtidSet::parse(&written(from)).map_err(|e| TestCaseError::fail(e.to_string()))
        };
        let (a, b) = (read(&one)?, read(&two)?);
        let turned: Vec<_> = one
            .iter()
            .rev()
            .map(|(uuid, tag, intervals)| (*uuid, *tag, intervals.iter().rev().copied().collect()))
            .collect();
        prop_assert_eq!(&read(&turned)?, &a);
        prop_assert!(a.covers(&a) && a.beyond(&a) == Some(0));
        let both = read(&[one, two].concat())?;
        prop_assert!(both.covers(&a) && both.covers(&b));
        prop_assert_eq!(a.beyond(&b) == Some(0), b.covers(&a));
        Ok(())
    });
    let domains = || {
        let number = prop_oneof![0_u64..40, (u64::MAX - 3)..=u64::MAX];
        proptest::collection::btree_map(0_u32..4, (1_u32..4, number), 0..4)
    };
    fuzz((domains(), domains()), |(one, two)| {
        let text = |of: &BTreeMap<u32, (u32, u64)>, turned: bool| {
            let mut parts: Vec<String> =
                of.iter().map(|(d, (s, n))| format!("{d}-{s}-{n}")).collect();
            if turned {
                parts.reverse();
            }
            parts.join(",")
        };
        let read = |of: &_, turned| {
            Gtids::parse(&text(of, turned)).map_err(|e| TestCaseError::fail(e.to_string()))
        };
        let (a, b) = (read(&one, false)?, read(&two, false)?);
        prop_assert_eq!(&a.0, &one);
        prop_assert_eq!(&read(&one, true)?, &a);
        prop_assert!(a.covers(&a) && a.beyond(&a) == 0);
        prop_assert!(!b.covers(&a) || a.beyond(&b) == 0);
        let _ = stray(&text(&one, false), &text(&two, true));
        Ok(())
    });
    fuzz("([0-9a-f:,\\- \n]|3e11fa47-71ca-11e1-9e33-c80aa9429562|\\PC){0,50}", |text| {
        if let Ok(set) = GtidSet::parse(&text) {
            prop_assert!(set.covers(&set) && set.beyond(&set) == Some(0));
        }
        let _ = (Gtids::parse(&text), stray(&text, "0-1-7"), stray("0-1-7", &text));
        Ok(())
    });
}

#[test]
fn a_shell_reads_back_the_words() {
    let word = "[^\\x00]{0,8}|[ '\"$`\\\\!*?~;&|<>(){}#\n\t-]{0,6}";
    fuzz(proptest::collection::vec(word, 1..6), |words| {
        let mut argv = vec!["printf".to_owned(), "%s\\0".to_owned()];
        argv.extend(words.clone());
        let ran =
            std::process::Command::new("bash").arg("-c").arg(shell_words(&argv)).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let wanted: String = words.iter().map(|word| format!("{word}\0")).collect();
        prop_assert_eq!(said, wanted);
        Ok(())
    });
}

/// A name of a server, as far as one may be called.
fn name() -> impl Strategy<Value = String> {
    "[^\\p{C}]{1,12}|[-:#&*!|>'\"%@`{}\\[\\], a]{1,8}"
        .prop_filter("a name", |name| rs_model::name::object("server", name).is_ok())
}

fn inputs() -> impl Strategy<Value = BTreeMap<String, String>> {
    let value = prop_oneof![
        "text:(?s)[^\\x00]{1,12}".prop_map(|s| s),
        Just("blank".to_owned()),
        Just("ignore".to_owned()),
        "cred:[A-Z]{1,5}".prop_map(|s| s),
        "env:[a-z: ]{1,6}:[A-Z_]{1,5}".prop_map(|s| s),
        proptest::collection::vec("text:[^\\x00]{1,5}", 0..3)
            .prop_map(|items| format!("array:{}", serde_json::to_string(&items).unwrap())),
    ];
    let value = value.prop_filter("a value", |text| Value::parse(text).is_ok());
    proptest::collection::btree_map("[A-Z][A-Z0-9_]{0,6}", value, 0..4)
        .prop_filter("not ours", |map| map.keys().all(|key| !key.starts_with("RS_")))
}

#[test]
fn a_site_file_that_was_printed_changes_nothing() {
    let server = (
        name(),
        inputs(),
        proptest::collection::btree_set("[a-z_]{1,5}:[a-z]{1,5}=[^\\p{C} ]{1,8}", 0..3),
    );
    let whole = (
        name(),
        name(),
        inputs(),
        proptest::collection::vec(server, 0..4),
        proptest::option::of(0_u32..4),
    );
    fuzz(whole, |(deployment, description, top, servers, array)| {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = std::collections::BTreeSet::from(["the array".to_owned()]);
        let servers: Vec<Json> = servers
            .into_iter()
            .enumerate()
            .filter(|(_, (name, ..))| seen.insert(name.clone()))
            .map(|(at, (name, inputs, tags))| {
                json!({"Name": name, "Address": format!("192.0.2.{}", at + 1), "Inputs": inputs, "Tags": tags})
            })
            .collect();
        let arrays: Vec<Json> = array
            .map(|most| json!({"Name": "the array", "Minimum": 0, "Maximum": most + 1, "Template": "t.yml"}))
            .into_iter()
            .collect();
        std::fs::write(folder.path().join("t.yml"), "Name: T\nInputs: {}\nRightScripts: {}\n")
            .unwrap();
        // JSON is YAML
        let file = folder.path().join("site.yml");
        let text = json!({
            "Deployment": deployment, "Description": description, "Inputs": top, "Servers": servers, "Arrays": arrays,
        });
        std::fs::write(&file, text.to_string()).unwrap();
        let fail = |what: &str, e: &dyn std::fmt::Display| {
            TestCaseError::fail(format!("{what}: {e}\n{text}"))
        };
        // a tag or a name may be refused; what is taken must come back
        let Ok(site) = site::parse(&file, &[]) else { return Ok(()) };
        let cloud = format!("sqlite:{}", folder.path().join("state.db").display());
        let place = rs_contract::Place { cloud, ..Default::default() };
        let world = rs_drivers::world(&place).map_err(|e| fail("no world", &e))?;
        let cloud = world.cloud.as_ref();
        site::apply(cloud, &site, false).map_err(|e| fail("not applied", &e))?;
        let printed =
            site::print(cloud, &site.deployment.name).map_err(|e| fail("not printed", &e))?;
        std::fs::write(&file, &printed).unwrap();
        let again = site::parse(&file, &[]).map_err(|e| fail(&printed, &e))?;
        let plan = site::plan(cloud, &again).map_err(|e| fail(&printed, &e))?;
        prop_assert!(!plan.changes() && plan.lacks.is_empty(), "{printed}\n{text}");
        Ok(())
    });
}

#[test]
fn no_site_file_or_template_panics() {
    let word = "(Deployment|Description|Inputs|Machines|Local|Root|Addresses|Servers|Arrays|Templates|Template|Name|Tags|Address|\
        Minimum|Maximum|Enabled|Locked|RightScripts|Boot|Operational|Default|Required|text:|array:|[:{}\\[\\]\\-.~&*'\"|>!%@`#, \n]{1,4}|\\PC{0,4}|[0-9]{1,3})";
    fuzz(format!("(?s){word}{{0,24}}").as_str(), |text| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.yml");
        std::fs::write(&file, &text).unwrap();
        let _ = site::parse(&file, &[]);
        let _ = rs_drivers::templates::load(&file, &[]);
        std::fs::write(&file, format!("Deployment: a\nTemplates: [x.yml]\n{text}")).unwrap();
        let _ = site::parse(&file, &[]);
        std::fs::write(
            &file,
            format!(
                "Name: a\nInputs: {{}}\nRightScripts:\n  Boot: [x.yml]\n# ---\n# {text}\n# ...\n"
            ),
        )
        .unwrap();
        let _ = rs_drivers::templates::load(&file, &[]);
        Ok(())
    });
}
