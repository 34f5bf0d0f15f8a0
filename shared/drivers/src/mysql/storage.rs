//! Before a migration: whether a statement changes rows of a table whose engine knows no transactions, and by which way.

use std::collections::BTreeMap;

use rs_contract::{Error, Kind, Result};
use rs_model::storage::{Reached, Storage, repeats, writing};

use super::conn::{Session, column};
use super::dialect::{Dialect, fill, name};
use super::migrate::cut;

/// Schemas of the server, and our own.
const SYSTEM: &str = "('information_schema', 'mysql', 'performance_schema', 'sys', 'rs_tools')";

/// Rows and their note are one transaction: a table whose engine knows none would be changed twice after a kill. The first
/// `done` statements are done.
pub fn transactional(
    session: &mut Session,
    dialect: &Dialect,
    schema: &str,
    (statements, done): (&[String], usize),
) -> Result<()> {
    let storage = storage(session, dialect, schema)?;
    let Some(repeat) = repeats(statements, done, &storage) else { return Ok(()) };
    let statement = statements.get(repeat.statement - 1).map_or("", String::as_str);
    let of = repeat.schema.as_deref();
    let table = &repeat.table;
    Err(Error::new(
        Kind::Declined,
        format!(
            "statement {} of {} {} of {}.{table}, whose engine knows no transactions: it would be done twice when it \
             is cut off: {}",
            repeat.statement,
            statements.len(),
            repeat.how(schema),
            of.unwrap_or(schema),
            cut(statement)
        ),
    )
    .hint(format!(
        "ALTER TABLE {}{} ENGINE=InnoDB before, or run it by --script",
        of.map(|of| format!("{}.", name(of))).unwrap_or_default(),
        name(table)
    ))
    .untouched())
}

fn storage(session: &mut Session, dialect: &Dialect, schema: &str) -> Result<Storage> {
    let tables = &fill(
        "SELECT t.TABLE_SCHEMA AS owner, t.TABLE_NAME AS name, e.TRANSACTIONS AS text \
         FROM information_schema.tables t JOIN information_schema.engines e ON e.ENGINE = t.ENGINE \
         WHERE t.TABLE_SCHEMA NOT IN {system} AND t.TABLE_TYPE IN ({stored})",
        &[("stored", dialect.stored), ("system", SYSTEM)],
    );
    let views = "SELECT TABLE_SCHEMA AS owner, TABLE_NAME AS name, VIEW_DEFINITION AS text \
                 FROM information_schema.views WHERE TABLE_SCHEMA NOT IN {system}";
    let triggers = "SELECT EVENT_OBJECT_SCHEMA AS owner, EVENT_OBJECT_TABLE AS name, ACTION_STATEMENT AS text \
                    FROM information_schema.triggers WHERE EVENT_OBJECT_SCHEMA NOT IN {system}";
    let routines = "SELECT ROUTINE_TYPE AS owner, ROUTINE_NAME AS name, ROUTINE_DEFINITION AS text \
                    FROM information_schema.routines WHERE ROUTINE_SCHEMA NOT IN {system}";
    let engines =
        "SELECT '' AS owner, ENGINE AS name, TRANSACTIONS AS text FROM information_schema.engines";
    let mut storage = Storage {
        engines: named(session, engines)?
            .into_iter()
            .map(|(_, name, text)| (name, text.as_deref() == Some("YES")))
            .collect(),
        default: session.must("SELECT @@default_storage_engine")?,
        ..Storage::default()
    };
    let (mut texts, mut bare) = (Vec::new(), Vec::new());
    for (owner, name, text) in named(session, tables)? {
        let is = text.as_deref() == Some("YES");
        if owner == schema {
            storage.tables.insert(name, is);
        } else if !is {
            bare.push((owner, name));
        }
    }
    for (question, what) in [(views, "is a view"), (triggers, "has triggers")] {
        for (owner, name, text) in named(session, question)? {
            texts.push(text);
            if owner == schema {
                storage.detours.insert(name, what.to_owned());
            } else {
                storage.other_detours.insert((owner, name), what.to_owned());
            }
        }
    }
    let mut functions = BTreeMap::new();
    for (kind, name, text) in named(session, routines)? {
        texts.push(text.clone());
        if kind == "FUNCTION" {
            // of two of that name in two schemas, both
            let known = functions.remove(&name);
            let text = known.map_or(text.clone(), |one: Option<String>| Some(one? + " " + &text?));
            functions.insert(name, text);
        }
    }
    storage.functions = writing(&functions);
    let reached = |(owner, name): (String, String)| {
        let by = Reached::by(&texts, &name);
        ((owner, name), by)
    };
    storage.others = bare.into_iter().map(reached).collect();
    Ok(storage)
}

/// What a question names: whose it is, its name, and its text; absent where that is not to be read.
fn named(session: &mut Session, question: &str) -> Result<Vec<(String, String, Option<String>)>> {
    let rows = session.rows(&fill(question, &[("system", SYSTEM)]))?;
    let one = |row| -> Result<_> {
        let text = |name: &str| Ok::<_, Error>(column(row, name)?.map(str::to_owned));
        let must = |name: &str| Ok::<_, Error>(text(name)?.unwrap_or_default());
        Ok((must("owner")?, must("name")?, text("text")?.filter(|text| !text.is_empty())))
    };
    rows.iter().map(one).collect()
}
