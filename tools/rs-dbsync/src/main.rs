//! rs-dbsync: replication, writes, migration, promotion.
//!
//! stdin   `rs.server/1`   the database servers, when none are named
//! stdout  asking verbs: `rs.replica/1`, `rs.writes/1`; changing verbs: the subjects, with what was done to them

mod attempt;
mod hold;
mod init;
mod migrate;
mod price;
mod promote;
mod proof;
mod rows;
mod sets;
mod settings;
mod status;
mod takeover;
mod watch;
mod writes;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rs_cli::{Changing, Common, Context, Exit, Select};

/// Replication, writes, migration, promotion.
#[derive(Parser)]
#[command(
    version,
    before_help = "Examples:
  rs-dbsync status --role slave
  rs-dbsync writes off --role master
  rs-dbsync status --as warm --proof
  rs-dbsync hold 'Slave2 DB'
  rs-dbsync migrate --role master --sql db/upgrade.sql --token u-42"
)]
struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// What each server is as a slave, and how far behind; --proof is a gate (asks only)
    #[command(before_help = "Examples:
  rs-dbsync status --role db
  rs-dbsync status --role slave --require replicating
  rs-dbsync status --as warm --proof --wait 30s
  rs-dbsync status --as warm --proof --checksum sample --checksum-limit 5s")]
    Status(status::Status),
    /// Switch writes off and on, and who could write
    #[command(
        before_help = "Examples:
  rs-dbsync writes off --role master --allow heartbeat
  rs-dbsync writes status --role master",
        subcommand_required = true,
        arg_required_else_help = false
    )]
    Writes {
        #[command(subcommand)]
        verb: Writes,
    },
    /// Make slaves of their set's master from a backup; those that replicate already stay as they are
    #[command(before_help = "Examples:
  rs-server list --as warm | rs-server launch | rs-dbsync init
  rs-dbsync init 'Slave2 DB' --snapshot pre-upgrade")]
    Init(init::Init),
    /// Hold slaves at the master's position, proven again, so that neither a restart nor a stray start thaws them
    #[command(before_help = "Examples:
  rs-dbsync hold --as warm
  rs-dbsync hold 'Slave2 DB' --wait 30s")]
    Hold(hold::Hold),
    /// End a hold: the slaves go on from the exact position
    #[command(before_help = "Examples:
  rs-dbsync resume --as warm
  rs-dbsync resume 'Slave2 DB' --override schema-unchanged")]
    Resume(hold::Resume),
    /// Settings of the servers that a run changes for a time
    #[command(
        before_help = "Examples:
  rs-dbsync settings change sync_relay_log --as warm
  rs-dbsync settings restore binlogs --role master",
        subcommand_required = true,
        arg_required_else_help = false
    )]
    Settings {
        #[command(subcommand)]
        verb: Settings,
    },
    /// Run a migration once, under a token beside the data, with the way back proven first
    #[command(before_help = "Examples:
  rs-dbsync migrate --role master --sql db/upgrade.sql --token u-42
  rs-dbsync migrate --as new --role app --first --script 'migrate' --token u-42")]
    Migrate(migrate::Migrate),
    /// What a promotion of a held slave, or of the master fenced for it, would lose (asks only)
    #[command(before_help = "Examples:
  rs-dbsync price --as warm
  rs-dbsync price 'Master DB'")]
    Price(price::Asked),
    /// Make a held slave the master, or the master that was fenced for it one again; every condition is checked by its
    /// name, and the old master is fenced and kept
    #[command(before_help = "Examples:
  rs-dbsync promote 'Slave2 DB' --dry-run
  rs-dbsync promote 'Slave2 DB' --lose-writes
  rs-dbsync promote 'Master DB' --accept-loss 137")]
    Promote(promote::Promote),
}

#[derive(Subcommand)]
enum Writes {
    /// End whoever could write and prove that nobody can
    #[command(before_help = "Examples:
  rs-dbsync writes off --role master --allow heartbeat")]
    Off(writes::Off),
    /// Put back what was before
    #[command(before_help = "Examples:
  rs-dbsync writes on --role master")]
    On(Subject),
    /// Note that users write from here on: what was written since the migration was our own tests'
    #[command(before_help = "Examples:
  rs-dbsync writes opened --role master")]
    Opened(Subject),
    /// Who could write now (asks only)
    #[command(before_help = "Examples:
  rs-dbsync writes status --role master")]
    Status(writes::Status),
}

#[derive(Subcommand)]
enum Settings {
    /// Change one; what it was is owed
    #[command(before_help = "Examples:
  rs-dbsync settings change sync_relay_log --as warm
  rs-dbsync settings change binlogs 'Master DB' --deadline 7d")]
    Change(settings::Change),
    /// Put back what was before it was changed
    #[command(before_help = "Examples:
  rs-dbsync settings restore binlogs --role master")]
    Restore(settings::Restore),
}

/// A verb that needs nothing but its subjects.
#[derive(clap::Args)]
struct Subject {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    changing: Changing,
}

fn main() -> ExitCode {
    #[cfg(feature = "mutants")]
    if let Ok(names) = std::env::var("RS_SWITCHED_OFF") {
        rs_model::conjunct::switch_off(names.split(',').map(str::to_owned).collect());
    }
    rs_cli::main("rs-dbsync", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Status(status) => status::run(&status, cx),
        Verb::Writes { verb: Writes::Off(off) } => writes::off(&off, cx),
        Verb::Writes { verb: Writes::On(subject) } => writes::on(&subject, cx),
        Verb::Writes { verb: Writes::Opened(subject) } => price::opened(&subject, cx),
        Verb::Writes { verb: Writes::Status(status) } => writes::status(&status, cx),
        Verb::Init(init) => init::run(&init, cx),
        Verb::Hold(hold) => hold::hold(&hold, cx),
        Verb::Resume(resume) => hold::resume(&resume, cx),
        Verb::Settings { verb: Settings::Change(change) } => settings::change(&change, cx),
        Verb::Settings { verb: Settings::Restore(restore) } => settings::restore(&restore, cx),
        Verb::Migrate(migrate) => migrate::run(&migrate, cx),
        Verb::Price(price) => price::run(&price, cx),
        Verb::Promote(promote) => promote::run(&promote, cx),
    }
}

/// A command of this tool on one server, for a debt: an argument list.
fn command(deployment: &str, verb: &[&str], name: &str) -> Vec<String> {
    let mut words = vec!["rs-dbsync".to_owned()];
    words.extend(verb.iter().map(|word| (*word).to_owned()));
    words.extend(["--deployment", deployment, "--", name].map(str::to_owned));
    words
}
