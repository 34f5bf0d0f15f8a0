//! Rows compared: what no position shows is seen by a checksum only (rows changed outside the binary log).

use std::time::Duration;

use rs_contract::{Error, Kind, Result};

use super::Mysql;
use super::conn::{Fault, column};
use super::dialect::{literal, name};

pub fn tables(db: &Mysql) -> Result<Vec<(String, String)>> {
    db.link
        .open()?
        .rows(&format!(
            "SELECT TABLE_SCHEMA AS in_schema, TABLE_NAME AS name FROM information_schema.tables \
             WHERE TABLE_TYPE IN ({}) AND TABLE_SCHEMA NOT IN \
             ('mysql', 'information_schema', 'performance_schema', 'sys', 'rs_tools') ORDER BY 1, 2",
            db.dialect()?.stored
        ))?
        .iter()
        .map(|row| {
            let text = |name: &str| Ok::<_, Error>(column(row, name)?.unwrap_or_default().to_owned());
            Ok((text("in_schema")?, text("name")?))
        })
        .collect()
}

/// Bytes of a table with its indexes. The hint is for MySQL, which else answers what it knew a day ago.
pub fn bytes(db: &Mysql, schema: &str, table: &str) -> Result<Option<u64>> {
    let rows = db.link.open()?.rows(&format!(
        "SELECT /*+ SET_VAR(information_schema_stats_expiry = 0) */ \
         COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) AS bytes \
         FROM information_schema.tables WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        literal(schema),
        literal(table)
    ))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let bytes = column(row, "bytes")?.and_then(|text| text.parse().ok());
    bytes.map(Some).ok_or_else(|| {
        Error::new(Kind::Failed, format!("{schema}.{table} has no size on {}", db.link.place()))
    })
}

pub fn checksum(db: &Mysql, schema: &str, table: &str, limit: Duration) -> Result<Option<String>> {
    let mut session = db.link.open_for(limit)?;
    let id = session.id();
    match session.ask(&format!("CHECKSUM TABLE {}.{}", name(schema), name(table))) {
        Ok(rows) => match rows.as_slice() {
            [row] => Ok(column(row, "Checksum")?.map(str::to_owned)),
            rows => Err(Error::new(
                Kind::Failed,
                format!("{} gives {} rows for one checksum", db.link.place(), rows.len()),
            )),
        },
        Err(fault) => {
            if matches!(fault, Fault::Late(_)) {
                // the statement goes on without its client; one that has just ended is no error
                let _ = db.link.open()?.attempt(&format!("KILL {id}"));
            }
            Err(db.link.error(fault, "CHECKSUM TABLE"))
        }
    }
}
