//! `--checksum`: rows compared on both sides, at the frozen position, within a budget.

use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Result};
use rs_model::conjunct::{Rows, TableSum};

use crate::sets::Open;

/// Whether rows are compared, and how long that may take.
#[derive(Clone, Debug, clap::Args)]
pub struct Checksum {
    /// Compare rows too: these tables (`SCHEMA.TABLE` or `TABLE`, with commas), `all`, or a `sample` of them, as many
    /// as the time suffices for
    #[arg(long, value_name = "TABLES|all|sample")]
    checksum: Option<String>,
    /// How long --checksum may take
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "60s")]
    checksum_limit: Duration,
}

impl Checksum {
    /// Whether it was asked for.
    pub fn asked(&self) -> bool {
        self.checksum.is_some()
    }

    /// How long it may take; nothing when it was not asked for.
    pub fn limit(&self) -> Duration {
        if self.asked() { self.checksum_limit } else { Duration::ZERO }
    }

    /// Compares.
    pub fn compare(&self, master: &Open, slave: &Open) -> Result<Rows> {
        let begun = Instant::now();
        let what = self.checksum.as_deref().unwrap_or_default();
        let (sample, mut tables) = match what {
            "all" | "sample" => {
                let mut tables = master.db.tables()?;
                for table in slave.db.tables()? {
                    if !tables.contains(&table) {
                        tables.push(table);
                    }
                }
                (what == "sample", tables)
            }
            named => (false, named_tables(named, slave)?),
        };
        if sample {
            shuffle(&mut tables)?;
        }
        let mut rows = Rows { sample, ..Rows::default() };
        for (schema, table) in tables {
            let full = format!("{schema}.{table}");
            let left = self.checksum_limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                rows.left_out.push(full);
                continue;
            }
            let ask = |open: &Open| open.db.checksum(&schema, &table, left);
            // both at once: the window is dark meanwhile
            let (on_master, on_slave) = std::thread::scope(|scope| {
                let other = scope.spawn(|| ask(slave));
                let mine = ask(master);
                let other = other.join().unwrap_or_else(|_| {
                    Err(Error::new(Kind::Failed, "comparing rows broke off")
                        .hint("this is a fault of the tool"))
                });
                (mine, other)
            });
            match (on_master, on_slave) {
                (Ok(master), Ok(slave)) => {
                    rows.compared.push(TableSum { table: full, master, slave });
                }
                (Err(e), _) | (_, Err(e)) if e.kind() == Kind::TimedOut => rows.left_out.push(full),
                (Err(e), _) | (_, Err(e)) => return Err(e),
            }
        }
        Ok(rows)
    }
}

fn named_tables(named: &str, slave: &Open) -> Result<Vec<(String, String)>> {
    let mut tables = Vec::new();
    for one in named.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        tables.push(match one.split_once('.') {
            Some((schema, table)) => (schema.to_owned(), table.to_owned()),
            None => (slave.settings.need("DB_SCHEMA_NAME")?, one.to_owned()),
        });
    }
    if tables.is_empty() {
        return Err(Error::new(Kind::Usage, "--checksum names no table")
            .hint("--checksum all, --checksum sample, or --checksum orders,users"));
    }
    Ok(tables)
}

/// Another order each time: what the time does not suffice for today is compared tomorrow.
fn shuffle(tables: &mut Vec<(String, String)>) -> Result<()> {
    let mut keyed = Vec::new();
    for table in tables.drain(..) {
        keyed.push((crate::proof::nonce()?, table));
    }
    keyed.sort();
    tables.extend(keyed.into_iter().map(|(_, table)| table));
    Ok(())
}
