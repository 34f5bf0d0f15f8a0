//! rs-cleanup: what may end and what must be put back.
//!
//! stdout  `rs.plan/1`    plan
//!         `rs.debt/1`    audit: every temporary change that is owed, with what the world says of it
//!         subjects       retire: what ended, as it is now; archive, recreate: what was kept

mod archive;
mod audit;
mod plan;
mod retire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rs_cli::{Common, Context, Exit};

/// End old servers on evidence, and settle every temporary change
#[derive(Parser)]
#[command(
    version,
    before_help = "\
Examples:
  rs-cleanup audit --due window
  rs-cleanup plan --as old --upgrade u-42 >plan.json
  rs-cleanup retire --plan plan.json --dry-run
  rs-cleanup retire --plan plan.json --delete
"
)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Verb {
    /// What would end, and what forbids it; changes nothing
    #[command(before_help = "\
Examples:
  rs-cleanup plan --as old --as temp --upgrade u-42 >plan.json
  rs-cleanup plan 'App Server-1' 'App Server-2'
  rs-cleanup plan --as warm --include-warm --upgrade u-42 >plan.json
  rs-cleanup plan --deployment staging --whole >plan.json
")]
    Plan(plan::PlanArgs),
    /// Terminate what a plan names, if nothing forbids it; with --delete remove the definitions too
    #[command(before_help = "\
Examples:
  rs-cleanup retire --plan plan.json --dry-run
  rs-cleanup retire --plan plan.json --dns test1.mysite.com
  rs-cleanup retire --plan plan.json --delete
")]
    Retire(retire::RetireArgs),
    /// Temporary changes that are still owed (exit 3 while there is one), with the command that settles each
    #[command(before_help = "\
Examples:
  rs-cleanup audit
  rs-cleanup audit --due window
  rs-cleanup audit --settle
")]
    Audit(audit::AuditArgs),
    /// Definitions that ended, with their inputs
    #[command(before_help = "\
Examples:
  rs-cleanup archive
  rs-cleanup archive 'App Server-1'
")]
    Archive(archive::ArchiveArgs),
    /// Define again what is archived, as it was; nothing is launched
    #[command(before_help = "\
Examples:
  rs-cleanup recreate 'App Server-1' --dry-run
  rs-cleanup recreate 'App Server-1' array-1 | rs-server launch
")]
    Recreate(archive::RecreateArgs),
}

fn main() -> ExitCode {
    rs_cli::main("rs-cleanup", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Plan(args) => plan::run(cx, &args),
        Verb::Retire(args) => retire::run(cx, &args),
        Verb::Audit(args) => audit::run(cx, &args),
        Verb::Archive(args) => archive::list(cx, &args),
        Verb::Recreate(args) => archive::recreate(cx, &args),
    }
}
