//! rs-snapshot: backups of database servers, and their schedule.
//!
//! stdin   `rs.server/1`     the database servers, when none are named
//! stdout  `rs.server/1`     the same, with what was done to them; `list` emits `rs.snapshot/1`, `schedule status`
//!                           `rs.schedule/1`
//!
//! The backups of a database set lie together under its lineage (input `DB_LINEAGE_NAME`); a label names one of them.

mod keep;
mod list;
mod restore;
mod schedule;
mod stores;
mod take;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rs_cli::{Common, Context, Exit};

/// Backups of database servers, and their schedule.
#[derive(Parser)]
#[command(
    version,
    before_help = "Examples:
  rs-snapshot list --role master
  rs-snapshot take 'Master DB' --label pre-upgrade --pin
  rs-snapshot schedule off --role db"
)]
struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// The backups of these servers' lineages (asks only; with --require a gate)
    #[command(before_help = "Examples:
  rs-snapshot list --role master
  rs-snapshot list --role master --require 'age<2h,perfect'")]
    List(list::List),
    /// Take a backup of each server and wait until it is complete
    #[command(before_help = "Examples:
  rs-snapshot take 'Master DB' --label pre-upgrade --pin
  rs-snapshot take --as warm --label pre-upgrade-u-42 --pin
  rs-snapshot take --if-due --role db        (for cron)")]
    Take(take::Take),
    /// Restore a backup into a scratch folder on each server, start a database there, and check every table
    #[command(before_help = "Examples:
  rs-snapshot prove --role slave --first
  rs-snapshot prove 'Slave DB' --label pre-upgrade")]
    Prove(restore::Prove),
    /// Put a backup's data in the place of a server's, whose database is stopped
    #[command(before_help = "Examples:
  rs-snapshot restore 'Slave3 DB' --label post-upgrade
  rs-snapshot restore 'Slave3 DB' --newest
  rs-snapshot restore --role master --newest --lineage production --deployment staging")]
    Restore(restore::Restore),
    /// Remove old backups that nobody pinned, and what broke
    #[command(before_help = "Examples:
  rs-snapshot prune --role master --keep 10 --dry-run
  rs-snapshot prune --role db")]
    Prune(keep::Prune),
    /// Keep a backup for ever, whatever prune is told
    #[command(before_help = "Examples:
  rs-snapshot pin 'Master DB' --label pre-upgrade")]
    Pin(keep::Pin),
    /// Let prune remove a backup again
    #[command(before_help = "Examples:
  rs-snapshot unpin 'Master DB' --label pre-upgrade")]
    Unpin(keep::Pin),
    /// Backups by the clock: on, off, status
    #[command(before_help = "Examples:
  rs-snapshot schedule off --role db
  rs-snapshot schedule on 'Master DB' 'Slave DB'
  rs-snapshot schedule status --role db")]
    Schedule(schedule::Schedules),
}

fn main() -> ExitCode {
    rs_cli::main("rs-snapshot", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::List(list) => list::run(&list, cx),
        Verb::Take(take) => take::run(&take, cx),
        Verb::Prove(prove) => restore::prove(&prove, cx),
        Verb::Restore(restore) => restore::restore(&restore, cx),
        Verb::Prune(prune) => keep::prune(&prune, cx),
        Verb::Pin(pin) => keep::pin(&pin, true, cx),
        Verb::Unpin(pin) => keep::pin(&pin, false, cx),
        Verb::Schedule(schedules) => schedule::run(&schedules, cx),
    }
}
