//! rs-check: gates (exit 0, or 3 "the answer is no"), and the outside observer.
//!
//! stdin   `rs.server/1`     for `alerts`, when no servers are named
//! stdout  `rs.check/1`      each question with its answer: ok, no, unknown (which is not ok)
//!         `rs.request/1`, `rs.summary/1`   of `probe`

mod alerts;
mod drift;
mod gate;
mod preflight;
mod probe;
mod site;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rs_cli::{Common, Context, Exit};

/// Gates, and the outside observer.
#[derive(Parser)]
#[command(
    version,
    before_help = "Examples:
  rs-check preflight
  rs-check site --pool www --each-member --expect-release 2.0
  rs-check probe --url http://127.0.1.1:8080 --write-path /sales --rate 100 --for 60s --log probe.log"
)]
struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Does the site answer: through every balancer, on every member, of the right release
    #[command(before_help = "Examples:
  rs-check site --pool www
  rs-check site --pool www --bypass --each-member --expect-release 2.0
  rs-check site --url http://www.mysite.com/ --expect Welcome")]
    Site(site::Site),
    /// Does any alert fire, and is any server silenced
    #[command(before_help = "Examples:
  rs-check alerts --as new
  rs-check alerts --all")]
    Alerts(alerts::OfServers),
    /// Is everything there that a window needs
    #[command(before_help = "Examples:
  rs-check preflight --window 10m
  rs-check preflight --window 10m --horizon 24h --allow heartbeat --record
  rs-check preflight --accept 'space for backups'")]
    Preflight(preflight::Preflight),
    /// Is the balancers' configuration still as preflight recorded it, and does no old process serve
    #[command(before_help = "Examples:
  rs-check drift
  rs-check drift --record")]
    Drift(drift::Drift),
    /// Watch the site as clients do: read and write at a fixed rate, and say what was lost
    #[command(before_help = "Examples:
  rs-check probe --pool www --rate 100 --until /tmp/stop --log probe.log
  rs-check probe --url http://127.0.1.1:8080 --host www.mysite.com --write-path /sales --for 60s --log probe.log \\
    --rows-command 'mariadb DATABASE -NBe \"SELECT number FROM sales\"'
  rs-check probe --summarise probe.log")]
    Probe(probe::Probe),
}

fn main() -> ExitCode {
    rs_cli::main("rs-check", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Site(site) => site::run(&site, cx),
        Verb::Alerts(alerts) => alerts::run(&alerts, cx),
        Verb::Preflight(preflight) => preflight::run(&preflight, cx),
        Verb::Drift(drift) => drift::run(&drift, cx),
        Verb::Probe(probe) => probe::run(&probe, cx),
    }
}
