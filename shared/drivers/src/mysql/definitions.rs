//! What a schema is made of: its fingerprint, and the same by the name of what is defined.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rs_contract::Result;
use sha2::{Digest, Sha256};

use super::conn::Session;
use super::dialect::{Dialect, fill, literal};

/// What a definition consists of, with the dialect's own two; row order is fixed, and what changes by itself is left out:
/// of events whether they are on, when they ran, and those that end by themselves.
const DEFINITIONS: [&str; 9] = [
    "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, ROW_FORMAT, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT \
     FROM information_schema.tables WHERE TABLE_SCHEMA = {schema} ORDER BY 1",
    "SELECT TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_DEFAULT, IS_NULLABLE, COLUMN_TYPE, \
     CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, COLUMN_COMMENT, GENERATION_EXPRESSION \
     FROM information_schema.columns WHERE TABLE_SCHEMA = {schema} ORDER BY 1, 2",
    "SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION, k.COLUMN_NAME, k.REFERENCED_TABLE_NAME, \
     k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE FROM information_schema.key_column_usage k \
     LEFT JOIN information_schema.referential_constraints r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA \
     AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME \
     WHERE k.TABLE_SCHEMA = {schema} ORDER BY 1, 2, 3",
    "SELECT TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_TIMING, ACTION_ORDER, ACTION_STATEMENT, \
     DEFINER, SQL_MODE FROM information_schema.triggers WHERE TRIGGER_SCHEMA = {schema} ORDER BY 1, 2",
    "SELECT ROUTINE_TYPE, ROUTINE_NAME, DTD_IDENTIFIER, ROUTINE_DEFINITION, DEFINER, SECURITY_TYPE, SQL_MODE, \
     SQL_DATA_ACCESS, IS_DETERMINISTIC, ROUTINE_COMMENT FROM information_schema.routines \
     WHERE ROUTINE_SCHEMA = {schema} ORDER BY 1, 2",
    "SELECT ROUTINE_TYPE, SPECIFIC_NAME, ORDINAL_POSITION, PARAMETER_MODE, PARAMETER_NAME, DTD_IDENTIFIER \
     FROM information_schema.parameters WHERE SPECIFIC_SCHEMA = {schema} ORDER BY 1, 2, 3",
    "SELECT TABLE_NAME, VIEW_DEFINITION, DEFINER, SECURITY_TYPE, CHECK_OPTION FROM information_schema.views \
     WHERE TABLE_SCHEMA = {schema} ORDER BY 1",
    "SELECT TABLE_NAME, PARTITION_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, PARTITION_DESCRIPTION \
     FROM information_schema.partitions WHERE TABLE_SCHEMA = {schema} AND PARTITION_NAME IS NOT NULL \
     ORDER BY 1, 2",
    "SELECT EVENT_NAME, DEFINER, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, STARTS, ENDS, TIME_ZONE, \
     SQL_MODE, ON_COMPLETION, EVENT_COMMENT, EVENT_DEFINITION FROM information_schema.events \
     WHERE EVENT_SCHEMA = {schema} \
     AND (ON_COMPLETION = 'PRESERVE' OR EVENT_TYPE = 'RECURRING' AND ENDS IS NULL) ORDER BY 1",
];

/// Both in one reading: the fingerprint, and the text of each by its name.
pub fn read(
    session: &mut Session,
    dialect: &Dialect,
    schema: &str,
) -> Result<(String, BTreeMap<String, String>)> {
    let mut hash = Sha256::new();
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    for question in DEFINITIONS.into_iter().chain([dialect.indexes, dialect.checks]) {
        for row in session.rows(&fill(question, &[("schema", &literal(schema))]))? {
            let named =
                ["TABLE_NAME", "TRIGGER_NAME", "ROUTINE_NAME", "SPECIFIC_NAME", "EVENT_NAME"];
            let name = named.iter().find_map(|name| row.get(*name)?.clone()).unwrap_or_default();
            // a text cannot refuse what is written to it
            let _ = writeln!(parts.entry(name).or_default(), "{row:?}");
            for (column, value) in row {
                // NULL and an empty text are two things
                let value = value.map_or("-".to_owned(), |text| format!("={}:{text}", text.len()));
                hash.update(format!("{column}{value};"));
            }
            hash.update("\n");
        }
        hash.update("\u{c}");
    }
    Ok((hex(hash), parts))
}

pub fn fingerprint(session: &mut Session, dialect: &Dialect, schema: &str) -> Result<String> {
    Ok(read(session, dialect, schema)?.0)
}

/// A digest of what each of these names is now, in small letters; of one that is not there an empty text.
pub fn of_names<'a>(
    parts: &BTreeMap<String, String>,
    names: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, String> {
    let one = |name: &'a String| {
        let same = parts.iter().filter(|(part, _)| part.to_lowercase() == *name);
        let text: String = same.map(|(part, text)| format!("{part}\n{text}")).collect();
        let is = if text.is_empty() { text } else { digest(&text) };
        (name.clone(), is)
    };
    names.map(one).collect()
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn digest(text: &str) -> String {
    hex(Sha256::new_with_prefix(text))
}
