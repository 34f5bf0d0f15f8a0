//! rs-lbctl: members of a pool on every balancer of it, and the names that point at balancers.
//!
//! stdin   `rs.server/1`   application servers; arrays and other records pass through
//! stdout  `rs.server/1`   the same with `"members":[…]`; `rs.member/1` of status
//!
//! What a balancer says at run time is the truth; a member is known by its address and port, never by its name there.

mod balancers;
mod connect;
mod disconnect;
mod point;
mod probe;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rs_cli::{Common, Context, Exit};

/// Members of pools, and the names that point at balancers
#[derive(Parser)]
#[command(
    version,
    before_help = "\
Examples:
  rs-lbctl status --pool www
  rs-server list --as new | rs-lbctl connect --pool www --only
  rs-lbctl drain --pool www 'App Server-1' --wait 30s
  rs-lbctl point test1.mysite.com --at 'Load Balancer-3' --temp
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
    /// Every member on every balancer; with --require a gate
    #[command(before_help = "\
Examples:
  rs-lbctl status
  rs-lbctl status --pool www --require up=4
  rs-lbctl status --json | jq 'select(.server == null)'
")]
    Status(status::Status),
    /// Put servers into a pool, on every balancer of it or on none
    #[command(before_help = "\
Examples:
  rs-lbctl connect --pool www 'App Server-3'
  rs-server list --as new | rs-lbctl connect --pool www --standby
  rs-server list --as new | rs-lbctl connect --pool www --only --expect-release 2.0
", mut_arg("pool", |arg| arg.help("The pool that they come into")))]
    Connect(connect::Connect),
    /// Take servers out of a pool, on every balancer of it; one that is out is fine
    #[command(before_help = "\
Examples:
  rs-lbctl disconnect --pool www 'App Server-1'
  rs-server list --as old | rs-lbctl disconnect --pool www --wait 1m --kill
", mut_arg("pool", |arg| arg.help("The pool that they leave")))]
    Disconnect(disconnect::Disconnect),
    /// Give servers nothing new and wait until what they have has ended
    #[command(before_help = "\
Examples:
  rs-lbctl drain --pool www 'App Server-1' --wait 5m
  rs-lbctl drain --pool www --role app --as old --wait 30s --kill
", mut_arg("pool", |arg| arg.help("The pool in which they get nothing new")))]
    Drain(disconnect::Drain),
    /// Let a name point at servers (A records), and wait until the authoritative server says so
    #[command(before_help = "\
Examples:
  rs-lbctl point test1.mysite.com --at 'Load Balancer-3' --temp
  rs-lbctl point www.mysite.com --at 'Load Balancer-1' --at 'Load Balancer-2'
  rs-lbctl point test1.mysite.com --remove
")]
    Point(point::Point),
}

fn main() -> ExitCode {
    rs_cli::main("rs-lbctl", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Status(args) => status::run(cx, &args),
        Verb::Connect(args) => connect::run(cx, args),
        Verb::Disconnect(args) => disconnect::disconnect(cx, args),
        Verb::Drain(args) => disconnect::drain(cx, args),
        Verb::Point(args) => point::run(cx, &args),
    }
}
