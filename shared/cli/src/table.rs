//! Records as a table, when a person looks.

use comfy_table::{ContentArrangement, Table, presets};
use rs_records::Record;
use serde_json::Value as Json;

/// Columns by schema; every other noun shows its plain fields.
const COLUMNS: &[(&str, &[&str])] = &[
    ("rs.server/1", &["name", "state", "address", "array", "template", "locked", "tags"]),
    ("rs.array/1", &["name", "enabled", "minimum", "maximum", "operational", "template", "tags"]),
    (
        "rs.member/1",
        &[
            "balancer", "pool", "id", "address", "port", "server", "admin", "status", "sessions",
            "saved",
        ],
    ),
    ("rs.page/1", &["balancer", "pool", "active", "saved"]),
    ("rs.check/1", &["answer", "name", "subject", "detail", "hint"]),
    ("rs.debt/1", &["key", "due", "since", "reason", "settle"]),
    ("rs.act/1", &["seq", "at", "outcome", "tool", "verb", "subject", "ms", "undo"]),
    (
        "rs.snapshot/1",
        &["id", "label", "server", "from_master", "perfect", "pinned", "bytes", "completed_at"],
    ),
    ("rs.input/1", &["server", "level", "name", "value", "from"]),
];

/// The records in tables, one table for each run of records of one noun.
pub fn render(records: &[Record]) -> String {
    let mut text = String::new();
    for group in records.chunk_by(|a, b| a.schema() == b.schema()) {
        let Some(first) = group.first() else { continue };
        let columns: Vec<String> =
            match COLUMNS.iter().find(|(schema, _)| *schema == first.schema()) {
                Some((_, columns)) => columns.iter().map(|c| (*c).to_owned()).collect(),
                None => plain(group),
            };
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(columns.iter().map(|c| c.to_uppercase()));
        for record in group {
            table.add_row(columns.iter().map(|column| cell(record.body.get(column))));
        }
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Every plain field of one of them: a record may lack what another has.
fn plain(group: &[Record]) -> Vec<String> {
    let mut columns = Vec::new();
    for (key, value) in group.iter().flat_map(|record| &record.body) {
        if key != "schema" && !value.is_object() && !value.is_array() && !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    columns
}

fn cell(value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        }
        Some(Json::Array(items)) => {
            items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(" ")
        }
        Some(Json::Object(map)) if map.contains_key("revision") && map.contains_key("name") => {
            format!("{}@{}", cell(map.get("name")), cell(map.get("revision")))
        }
        Some(other) => other.to_string(),
    }
}
