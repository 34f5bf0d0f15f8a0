//! `show`: one `rs.input/1` for each input of each level.

use rs_cli::{Changing, Context, Exit, What};
use rs_contract::{Error, Kind, World};
use rs_drivers::credentials;
use rs_drivers::levels::Book;
use rs_model::{Level, Resolved, Value};
use rs_records::{INPUT, Record};
use serde_json::{Value as Json, json};

use crate::ShowArgs;

/// Emits the inputs.
pub(crate) fn run(cx: &Context, world: &World, args: &ShowArgs) -> anyhow::Result<Exit> {
    let cloud = world.cloud.as_ref();
    let mut out = Vec::new();
    let shown = |name: &String| args.input.is_empty() || args.input.contains(name);
    if args.deployment_level {
        let deployment = cx.deployment(cloud)?;
        let book = Book::read(cloud, &deployment)?;
        for (name, value) in book.deployment.inputs.iter().filter(|(name, _)| shown(name)) {
            let resolved = Resolved { value: value.clone(), from: Level::Deployment };
            out.push(record(&deployment, json!({}), "deployment", name, &resolved));
        }
        return found(cx, args, &out);
    }
    let (deployment, subjects) = cx.subjects(cloud, &args.select, &Changing::default())?;
    let book = Book::read(cloud, &deployment)?;
    let both = args.next == args.current;
    for item in &subjects.items {
        let (party, whose) = match &item.what {
            What::Server(server) => (book.server(server)?, json!({ "server": server.name })),
            What::Array(array) => {
                (book.array(array)?, json!({ "server": array.name, "kind": "array" }))
            }
            _ => {
                out.push(item.record.clone());
                continue;
            }
        };
        let current = party.current.as_ref().filter(|_| args.current || both);
        for (name, resolved) in current.into_iter().flatten().filter(|(name, _)| shown(name)) {
            out.push(record(&deployment, whose.clone(), "current", name, resolved));
        }
        if args.next || both {
            for (name, resolved) in book.resolve(&party).values.iter().filter(|(n, _)| shown(n)) {
                out.push(record(&deployment, whose.clone(), "next", name, resolved));
            }
        }
    }
    found(cx, args, &out)
}

/// Emits; an input that was asked for and that nobody has is not found.
fn found(cx: &Context, args: &ShowArgs, out: &[Record]) -> anyhow::Result<Exit> {
    let there = |name: &String| out.iter().any(|record| record.name() == name);
    if let Some(name) = args.input.iter().find(|name| !there(name)) {
        return Err(Error::new(Kind::NotFound, format!("nobody there has a value for {name}"))
            .hint("rs-inputs show without --input lists the names")
            .into());
    }
    cx.emit(out)?;
    Ok(Exit::Done)
}

fn record(deployment: &str, whose: Json, level: &str, name: &str, resolved: &Resolved) -> Record {
    let mut body = whose;
    body["deployment"] = deployment.into();
    body["level"] = level.into();
    body["name"] = name.into();
    body["value"] = json!(resolved.value);
    body["from"] = json!(resolved.from);
    if let Some(digest) = digest(&resolved.value) {
        body["digest"] = digest.into();
    }
    Record::new(INPUT, body)
}

/// A digest of the secrets in a value, so that equality can be seen; nothing when one of them cannot be read.
fn digest(value: &Value) -> Option<String> {
    match value {
        Value::Cred(name) | Value::Key(name) => credentials::digest(name).ok(),
        Value::Array(items) if value.is_secret() => {
            let parts: Option<Vec<String>> =
                items.iter().filter(|item| item.is_secret()).map(digest).collect();
            parts.map(|parts| parts.join(","))
        }
        _ => None,
    }
}
