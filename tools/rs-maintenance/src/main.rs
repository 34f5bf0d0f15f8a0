//! rs-maintenance: the maintenance page, on all balancers of a pool or on none, proven from outside.
//!
//! stdout  `rs.page/1` of status; `rs.server/1` of start and stop: the balancers with `"page":{…}`

mod balancers;
mod reopen;
mod start;
mod status;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rs_cli::{Common, Context, Exit};

/// The maintenance page, on all balancers or none
#[derive(Parser)]
#[command(
    version,
    before_help = "\
Examples:
  rs-maintenance status --pool www
  rs-maintenance start --pool www
  rs-maintenance stop --pool www --after check.json
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
    /// What each balancer was told, and what a client sees there; with --require a gate
    #[command(before_help = "\
Examples:
  rs-maintenance status
  rs-maintenance status --pool www --require on
  rs-maintenance status --json | jq '.seen[]'
")]
    Status(status::Status),
    /// Show the page, on every balancer of the pool or on none
    #[command(before_help = "\
Examples:
  rs-maintenance start --pool www
  rs-maintenance start --pool www --wait 10s --kill
  rs-maintenance start --pool www --dry-run
  rs-maintenance start --pool www --page maintenance.html
")]
    Start(start::Start),
    /// Take the page away, on as many balancers as can be reached: users come back here
    #[command(before_help = "\
Examples:
  rs-maintenance stop --pool www
  rs-maintenance stop --pool www --after check.json
  rs-maintenance stop --pool www --override unknown-members
")]
    Stop(stop::Stop),
}

fn main() -> ExitCode {
    rs_cli::main("rs-maintenance", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Status(args) => status::run(cx, &args),
        Verb::Start(args) => start::run(cx, &args),
        Verb::Stop(args) => stop::run(cx, &args),
    }
}

/// A command of this tool on one pool, for a debt or an undo: an argument list.
fn command(verb: &str, deployment: &str, pool: &str) -> Vec<String> {
    ["rs-maintenance", verb, "--pool", pool, "--deployment", deployment].map(str::to_owned).into()
}
