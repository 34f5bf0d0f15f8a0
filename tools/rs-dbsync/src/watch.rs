//! The slaves of a set while they apply a migration: what each does, and where it stands at the end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rs_cli::Context;
use rs_contract::Result;
use rs_model::migration::{ROOM, judge_room};
use rs_model::{Check, Position, sql};
use serde_json::{Value as Json, json};

use crate::sets::{Open, Site, refuse};

/// Between two looks at a slave.
const LOOK: Duration = Duration::from_millis(500);
/// A slave that does the same is told of again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// The slaves of a set that apply what its master does: all that are up, but those that are held.
pub fn slaves(site: &Site<'_>, master: &Open) -> Result<Vec<Open>> {
    let mut found = Vec::new();
    for server in site.servers.iter().filter(|s| s.state.is_up() || s.foreign) {
        if server.database_set() == Some((master.set.as_str(), false))
            && site.held(&server.name)?.is_none()
        {
            found.push(site.open(server)?);
        }
    }
    Ok(found)
}

/// Room on the master and on every slave that applies it, for the largest table that the statements may copy; of a script,
/// for the largest there is.
pub fn room(
    site: &Site<'_>,
    master: &Open,
    slaves: &[Open],
    schema: &str,
    statements: Option<&[String]>,
) -> Result<()> {
    let mut tables = Vec::new();
    let mut any = statements.is_none();
    for statement in statements.unwrap_or_default() {
        // what stands in a comment for some versions only is not looked into
        any |= statement.contains("/*!") || statement.contains("/*M!");
        if let Some((of, table)) = sql::copies(statement) {
            tables.push((of.unwrap_or_else(|| schema.to_owned()), table));
        }
    }
    tables.sort_unstable();
    tables.dedup();
    if tables.is_empty() && !any {
        return Ok(());
    }
    let needed = |open: &Open| -> Result<u64> {
        let mut most = if any { open.db.largest_table_bytes(schema)? } else { 0 };
        for (schema, table) in &tables {
            // one that an earlier statement makes is not there yet
            most = most.max(open.db.table_bytes(schema, table)?.unwrap_or(0));
        }
        Ok(most)
    };
    let free = |open: &Open| -> Result<u64> {
        let folder = open.settings.path_of(&open.settings.or("DB_DATA_DIR", "data")?);
        rs_drivers::space::free(site.cloud().channel(&open.server)?.as_ref(), &folder)
    };
    let checks: Vec<Check> = std::iter::once(master)
        .chain(slaves)
        .map(|open| {
            let table = needed(open).map_err(|e| e.to_string());
            let check = judge_room(&open.server.name, free(open).map_err(|e| e.to_string()), table);
            match check.hint.clone() {
                Some(hint) => check.hint(format!("{hint}; or --override '{ROOM}'")),
                None => check,
            }
        })
        .collect();
    refuse(rs_contract::Kind::Declined, "the migration may not begin", &checks)
}

/// How a slave stands: in words, and whether it stopped with an error.
fn stand(open: &Open, at: Option<&Position>) -> (String, bool) {
    let replica = match open.db.replica() {
        Ok(replica) => replica,
        Err(e) => return (format!("does not say how far it is: {e}"), true),
    };
    let stopped =
        replica.channels.iter().find(|c| c.sql_running != "Yes" || !c.last_error.is_empty());
    if let Some(channel) = stopped {
        let why = match channel.last_error.as_str() {
            "" => format!("its applier says {}", channel.sql_running),
            error => error.to_owned(),
        };
        return (format!("does not apply it: {why}"), true);
    }
    let behind = match (at.and_then(Position::set), replica.applied.set()) {
        (Some(master), Some(applied)) => master.beyond(&applied),
        _ => None,
    };
    match behind {
        Some(0) => ("has applied all of it".to_owned(), false),
        Some(behind) => (format!("applies it: {behind} transactions behind"), false),
        None => ("does not say how far it is".to_owned(), true),
    }
}

/// Does the work, and beside it tells what the slaves do.
pub fn beside<T>(
    cx: &Context,
    master: &Open,
    slaves: &[Open],
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for open in slaves {
            let over = &over;
            scope.spawn(move || {
                let mut told = (String::new(), Instant::now());
                let mut looked: Option<Instant> = None;
                while !over.load(Ordering::Acquire) {
                    std::thread::park_timeout(Duration::from_millis(20));
                    if looked.is_some_and(|at| at.elapsed() < LOOK) {
                        continue;
                    }
                    looked = Some(Instant::now());
                    let at = master.db.position().ok();
                    let (words, wrong) = stand(open, at.as_ref());
                    if words == told.0 && told.1.elapsed() < AGAIN {
                        continue;
                    }
                    if wrong {
                        cx.warn(&format!("{}: {words}", open.server.name));
                    } else if words.starts_with("applies") {
                        cx.say(&format!("{}: {words}", open.server.name));
                    }
                    told = (words, Instant::now());
                }
            });
        }
        let end = Over(&over);
        let done = work();
        drop(end);
        done
    })
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Where each slave stands at the end: in the record, and named when it serves reads and lags, or has stopped.
pub fn at_end(cx: &Context, slaves: &[Open], position: &Position) -> Json {
    let told = Mutex::new(Vec::new());
    let stands = cx.side_by_side(slaves, |open| {
        let (words, wrong) = stand(open, Some(position));
        let reads = open.server.has_role("reads");
        if wrong || reads && words.starts_with("applies") {
            let also = if reads { "serves reads and " } else { "" };
            if let Ok(mut told) = told.lock() {
                told.push(format!("{} {also}{words}", open.server.name));
            }
        }
        json!({ "server": open.server.name, "reads": reads, "stands": words, "stopped": wrong })
    });
    for line in told.into_inner().unwrap_or_default() {
        cx.warn(&line);
    }
    Json::Array(stands)
}
