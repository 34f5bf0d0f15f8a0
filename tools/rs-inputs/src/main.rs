//! rs-inputs: the values that scripts will see, and where each of them comes from.
//!
//! stdin   `rs.server/1`, `rs.array/1`   whose inputs; or name them by selectors
//! stdout  `show`: `rs.input/1`; `check`: `rs.check/1`; the changing verbs: the subjects, passed on
//!
//! Next is what the coming launch takes, current is what the running instance has; only next is durable.

mod change;
mod check;
mod plan;
mod promote;
mod show;

use std::process::ExitCode;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use rs_cli::{Changing, Common, Context, Exit, Owing, Select};
use rs_model::{Bad, Phase, Value};

/// Show, check and change the inputs of servers, arrays and the deployment.
#[derive(Parser)]
#[command(
    name = "rs-inputs",
    version,
    before_help = "\
Examples:
  rs-inputs show 'App Server-1' --next
  rs-server list --as new | rs-inputs check --phase boot
  rs-server list --as new | rs-inputs set --next --current APPLICATION=text:shop-2
  rs-inputs set --deployment-level ALERTS_HOOK=text:/usr/local/bin/alert
  rs-server list --as new | rs-inputs promote --promote APPLICATION --drop LB_HOSTNAME --also-affects-old
"
)]
struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Show(ShowArgs),
    Check(CheckArgs),
    Set(SetArgs),
    Unset(UnsetArgs),
    Copy(CopyArgs),
    Promote(PromoteArgs),
}

/// Every value with the level that it comes from; secrets as cred:NAME with a digest
#[derive(ClapArgs)]
#[command(before_help = "\
Examples:
  rs-inputs show 'App Server-1'                     what it runs with, and what a launch would see
  rs-inputs show --role app --next --input APPLICATION
  rs-inputs show --deployment-level
")]
struct ShowArgs {
    /// What the coming launch would see
    #[arg(long)]
    next: bool,
    /// What the running instance has
    #[arg(long)]
    current: bool,
    /// The deployment's own entries; needs no servers
    #[arg(long, conflicts_with_all = ["next", "current"])]
    deployment_level: bool,
    /// Only this input
    #[arg(long, value_name = "NAME", value_parser = input_name)]
    input: Vec<String>,
    #[command(flatten)]
    select: Select,
}

/// Whether a launch would go well: nothing missing, nothing ambiguous, nothing shared with production
#[derive(ClapArgs)]
#[command(before_help = "\
Examples:
  rs-inputs check --all                             every answer as a record; exit 3 when one is no
  rs-clone server 'App Server-1' --name 'App Server-%n' | rs-inputs check --phase boot --require | rs-server launch
")]
struct CheckArgs {
    /// Scripts whose required inputs must be there
    #[arg(long, value_delimiter = ',', default_value = "boot,decommission", value_name = "PHASE")]
    phase: Vec<PhaseArg>,
    /// Be a gate: pass the subjects on when all is well, nothing otherwise
    #[arg(long)]
    require: bool,
    /// Nothing on stdin is fine
    #[arg(long)]
    allow_none: bool,
    #[command(flatten)]
    select: Select,
}

/// When a script runs.
#[derive(Clone, Copy, ValueEnum)]
enum PhaseArg {
    Boot,
    Operational,
    Decommission,
}

impl From<PhaseArg> for Phase {
    fn from(phase: PhaseArg) -> Phase {
        match phase {
            PhaseArg::Boot => Phase::Boot,
            PhaseArg::Operational => Phase::Operational,
            PhaseArg::Decommission => Phase::Decommission,
        }
    }
}

/// Set values at the next instance (by default), the current one, or the deployment
#[derive(ClapArgs)]
#[command(before_help = "\
Examples:
  rs-inputs set --on 'App Server-3' LB_HOSTNAME=text:test1.mysite.com
  rs-server list --as new | rs-inputs set --next --current --temporary APPLICATION=text:shop-2
  rs-inputs set --deployment-level DBADMIN_PASSWORD=cred:DBADMIN_PASSWORD
")]
struct SetArgs {
    /// What to set, e.g. LB_HOSTNAME=text:www.mysite.com
    #[arg(value_name = "NAME=TYPE:VALUE", required = true, value_parser = rs_cli::name_value)]
    set: Vec<(String, Value)>,
    #[command(flatten)]
    at: At,
    /// Allow names that no script declares and nobody has yet
    #[arg(long)]
    create: bool,
    /// It is owed to remove it again (promote or unset settles that)
    #[arg(long, conflicts_with = "deployment_level")]
    temporary: bool,
    #[command(flatten)]
    on: On,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

/// Remove entries, so that the level below shows through
#[derive(ClapArgs)]
#[command(before_help = "\
Examples:
  rs-server list --as new | rs-inputs unset LB_HOSTNAME LB_APPLISTENER_NAME
  rs-inputs unset --deployment-level ALERTS_HOOK
")]
struct UnsetArgs {
    /// Inputs
    #[arg(value_name = "NAME", required = true, value_parser = input_name)]
    name: Vec<String>,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    on: On,
    #[command(flatten)]
    changing: Changing,
}

/// Copy what one level gives to another
#[derive(ClapArgs)]
#[command(before_help = "\
Examples:
  rs-server list --as new | rs-inputs copy --from next --to current LB_HOSTNAME LB_APPLISTENER_NAME
  rs-inputs copy --on 'App Server-1' --from deployment --to current SVN_APP_REPOSITORY
")]
struct CopyArgs {
    /// Where the value is read: what the deployment gives, what a launch would see, what the instance has
    #[arg(long, value_name = "LEVEL")]
    from: FromLevel,
    /// Where it is written
    #[arg(long, value_name = "LEVEL")]
    to: ToLevel,
    /// Inputs
    #[arg(value_name = "NAME", required = true, value_parser = input_name)]
    name: Vec<String>,
    #[command(flatten)]
    on: On,
    #[command(flatten)]
    changing: Changing,
}

/// Where a copy comes from.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FromLevel {
    Deployment,
    Next,
    Current,
}

/// Where a copy goes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ToLevel {
    Current,
    Next,
}

/// Make the new servers' release inputs the deployment's, and remove their overrides (step 36)
#[derive(ClapArgs)]
#[command(before_help = "\
Examples:
  rs-server list --as new | rs-inputs promote --promote SVN_APP_REPOSITORY,APPLICATION \\
    --drop LB_HOSTNAME,LB_APPLISTENER_NAME --also-affects-old --dry-run
  rs-inputs promote --undo --upgrade u-42
")]
struct PromoteArgs {
    /// Release inputs: written to the deployment
    #[arg(long, value_delimiter = ',', value_name = "NAMES", required_unless_present = "undo", value_parser = input_name)]
    promote: Vec<String>,
    /// Give the deployment back what promotions of this run replaced; needs no servers (rollback after step 36)
    #[arg(long, conflicts_with_all = ["promote", "drop", "keep", "also_affects", "also_affects_old"])]
    undo: bool,
    /// Isolation inputs: only dropped, the deployment holds the right value
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = input_name)]
    drop: Vec<String>,
    /// Overrides that stay
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = input_name)]
    keep: Vec<String>,
    /// A server or array outside that may be launched with the new values from now on
    #[arg(long, value_name = "SERVER")]
    also_affects: Vec<String>,
    /// The same for everything marked old in this run
    #[arg(long)]
    also_affects_old: bool,
    #[command(flatten)]
    on: On,
    #[command(flatten)]
    changing: Changing,
}

/// Which level a change is made at.
#[derive(ClapArgs, Clone, Copy)]
struct At {
    /// The next instance, i.e. the definition (default)
    #[arg(long)]
    next: bool,
    /// The running instance; gone with it
    #[arg(long)]
    current: bool,
    /// The deployment; needs no servers
    #[arg(long, conflicts_with_all = ["next", "current"])]
    deployment_level: bool,
}

impl At {
    fn next(self) -> bool {
        self.next || !self.current
    }

    /// Levels of servers and arrays, in words.
    fn levels(self) -> Vec<&'static str> {
        let all = [("next", self.next()), ("current", self.current)];
        let meant = |&(_, at): &(&str, bool)| at && !self.deployment_level;
        all.into_iter().filter(meant).map(|(level, _)| level).collect()
    }
}

/// Which servers and arrays, where the arguments are inputs.
#[derive(ClapArgs, Clone, Default)]
#[command(next_help_heading = "Which servers and arrays (else records on stdin)")]
struct On {
    /// Name of a server or array
    #[arg(long = "on", value_name = "SERVER")]
    names: Vec<String>,
    /// Role: lb, app, db, master, slave, reads, dns, worker (by tags), array
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Part in the run: old, new, warm, temp
    #[arg(long = "as", value_name = "PART")]
    part: Vec<String>,
    /// Balancers and applications of a pool, by tags
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Instances of an array
    #[arg(long, value_name = "ARRAY")]
    array: Option<String>,
    /// State, e.g. operational, inactive
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Tag, whole, or with a trailing * for a prefix
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// All servers and arrays of the deployment
    #[arg(long)]
    all: bool,
}

impl On {
    fn select(self) -> Select {
        Select {
            names: self.names,
            role: self.role,
            part: self.part,
            pool: self.pool,
            array: self.array,
            state: self.state,
            tag: self.tag,
            all: self.all,
            ..Select::default()
        }
    }
}

fn input_name(written: &str) -> Result<String, Bad> {
    rs_model::name::input_word(written)?;
    Ok(written.to_owned())
}

fn main() -> ExitCode {
    rs_cli::main("rs-inputs", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    match args.verb {
        Verb::Show(args) => show::run(cx, &world, &args),
        Verb::Check(args) => check::run(cx, &world, &args),
        Verb::Set(args) => change::set(cx, &world, args),
        Verb::Unset(args) => change::unset(cx, &world, args),
        Verb::Copy(args) => change::copy(cx, &world, args),
        Verb::Promote(args) => promote::run(cx, &world, args),
    }
}
