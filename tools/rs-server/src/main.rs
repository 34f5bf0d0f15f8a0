//! rs-server: servers and arrays, and their life.
//!
//! stdin   `rs.server/1`, `rs.array/1`   the subjects, when none are named
//! stdout  the same, as they are now, with what was done to them

mod apply;
mod launch;
mod list;
mod marks;
mod quench;
mod tend;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rs_cli::{Changing, Common, Context, Exit, Select, Set};

/// Servers and arrays, and their life.
#[derive(Parser)]
#[command(
    version,
    before_help = "Examples:
  rs-server list --role app --state operational
  rs-server apply site.yaml --dry-run
  rs-server list --as new | rs-server launch
  rs-server launch array-1 --to 2"
)]
struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// What is there (asks only)
    #[command(before_help = "Examples:
  rs-server list --all
  rs-server list --role app --as old --state operational --first
  rs-server list --as-file > site.yaml")]
    List(list::List),
    /// Create or change a deployment from a site file; what the file lacks is named, never deleted
    #[command(before_help = "Examples:
  rs-server apply site.yaml --dry-run
  rs-server apply site.yaml")]
    Apply(apply::Apply),
    /// Say what a server or array is in a run: old, new, warm or temp
    #[command(before_help = "Examples:
  rs-server mark old --role app --upgrade u-42
  rs-server list --array array-1 | rs-server mark old")]
    Mark(marks::Mark),
    /// Launch servers, and arrays to a number; wait until they are operational
    #[command(before_help = "Examples:
  rs-server launch 'App Server-3'
  rs-server launch array-2 --to 2 --timeout 20m
  rs-server launch 'App Server-3' --set LB_HOSTNAME=text:test1.mysite.com --save")]
    Launch(launch::Launch),
    /// End servers and launch them anew from what is set at next
    #[command(before_help = "Examples:
  rs-server relaunch 'App Server-3'")]
    Relaunch(launch::Relaunch),
    /// Forbid to end, relaunch or delete servers; scripts still run on them
    #[command(before_help = "Examples:
  rs-server lock --role db")]
    Lock(Subject),
    /// Allow to end, relaunch and delete servers again
    #[command(before_help = "Examples:
  rs-server unlock 'Master DB'")]
    Unlock(Subject),
    /// Keep arrays at their minimum again
    #[command(before_help = "Examples:
  rs-server enable array-2")]
    Enable(Subject),
    /// Keep arrays as they are; no instance is touched
    #[command(before_help = "Examples:
  rs-server disable array-1 --due window")]
    Disable(marks::Disable),
    /// Silence the alerts of servers for a time
    #[command(before_help = "Examples:
  rs-server quench --role app --for 2h --reason 'upgrade u-42'")]
    Quench(quench::Quench),
    /// Hear the alerts of servers again
    #[command(before_help = "Examples:
  rs-server unquench --role app")]
    Unquench(Subject),
    /// One pass, for cron: enabled arrays to their minimum, lost machines noted, stuck boots named
    #[command(before_help = "Examples:
  rs-server tend --deployment production --quiet")]
    Tend(tend::Tend),
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
    rs_cli::main("rs-server", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::List(list) => list::run(&list, cx),
        Verb::Apply(apply) => apply::run(&apply, cx),
        Verb::Mark(mark) => marks::mark(&mark, cx),
        Verb::Launch(launch) => launch::launch(&launch, cx),
        Verb::Relaunch(relaunch) => launch::relaunch(&relaunch, cx),
        Verb::Lock(subject) => marks::lock(&subject, true, cx),
        Verb::Unlock(subject) => marks::lock(&subject, false, cx),
        Verb::Enable(subject) => marks::enable(&subject, cx),
        Verb::Disable(disable) => marks::disable(&disable, cx),
        Verb::Quench(quench) => quench::quench(&quench, cx),
        Verb::Unquench(subject) => quench::unquench(&subject, cx),
        Verb::Tend(tend) => tend::run(&tend, cx),
    }
}

/// Values for a launch; one name twice is refused.
fn inputs(set: &Set) -> rs_contract::Result<rs_model::Inputs> {
    let mut found = rs_model::Inputs::new();
    for (name, value) in &set.set {
        if found.insert(name.clone(), value.clone()).is_some() {
            return Err(rs_contract::Error::new(
                rs_contract::Kind::Usage,
                format!("--set gives {name} twice"),
            )
            .hint("each input once"));
        }
    }
    Ok(found)
}

/// A command of this tool on one subject, for a debt: an argument list.
fn command(deployment: &str, verb: &[&str], name: &str) -> Vec<String> {
    let mut words = vec!["rs-server".to_owned()];
    words.extend(verb.iter().map(|word| (*word).to_owned()));
    words.extend(["--deployment", deployment, "--", name].map(str::to_owned));
    words
}

/// An argument list as a person types it.
fn typed(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=".contains(c))
    };
    let quoted = words.iter().map(|word| {
        if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
