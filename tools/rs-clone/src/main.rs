//! rs-clone: definitions in the likeness of others.
//!
//! stdin   `rs.server/1`, `rs.array/1`   the originals; or name them
//! stdout  `rs.server/1`, `rs.array/1`, `rs.deployment/1`   the clones: defined, not launched
//!
//! Cloning twice makes one clone: `--to N` is how many there are afterwards.

mod deployment;
mod member;

use std::process::ExitCode;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use rs_cli::{Changing, Common, Context, Exit, Select, Set};
use rs_model::likeness::Pattern;
use rs_model::{Bad, TemplateRef, Value};

/// Define servers, arrays and deployments in the likeness of existing ones.
#[derive(Parser)]
#[command(
    name = "rs-clone",
    version,
    before_help = "\
Examples:
  rs-clone server 'Slave DB' --name 'Slave2 DB' --as warm
  rs-server list --as new --first | rs-clone server --name 'App Server-%n' --to 2 --with-original
  rs-clone array array-1 --name array-2 --as new --set APPLICATION=text:shop-2
  rs-clone deployment production --name staging --addresses 127.9.0.0/24 --root /srv/staging
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
    /// Define servers in the likeness of others: template, inputs and tags as theirs, not launched, not locked
    #[command(before_help = "\
Examples:
  rs-clone server 'Load Balancer-1' --name 'Load Balancer-3' --as temp \\
    --set LB_HOSTNAME=text:test1.mysite.com --set LB_APPLISTENER_NAME=text:test1
  rs-server list --as new --first | rs-clone server --name 'App Server-%n' --to 3 --with-original --dry-run
")]
    Server(MemberArgs),
    /// Define arrays in the likeness of others: disabled, without instances
    #[command(before_help = "\
Examples:
  rs-clone array array-1 --name array-2 --as new --set APPLICATION=text:shop-2
  rs-server list --role array | rs-clone array --name '%s (new)' --dry-run
")]
    Array(MemberArgs),
    /// Define a whole deployment in the likeness of another; refused while anything that tells them apart is the same
    #[command(before_help = "\
Examples:
  rs-clone deployment production --name staging --root /srv/staging --addresses 127.9.0.0/24 \\
    --set LB_HOSTNAME=text:staging.mysite.com --set DB_LINEAGE_NAME=text:staging --dry-run
")]
    Deployment(DeploymentArgs),
}

/// Arguments of `server` and `array`.
#[derive(ClapArgs)]
struct MemberArgs {
    /// What each clone is called: %n is the next free number, %s the original's name
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    name: Pattern,
    /// How many clones of each original there are afterwards
    #[arg(long, value_name = "N", default_value_t = 1)]
    to: u32,
    /// The original counts too, and is passed on before its clones
    #[arg(long)]
    with_original: bool,
    /// What the clones are in the run: old, new, warm, temp
    #[arg(long = "as", value_name = "PART")]
    part: Option<Part>,
    /// Another template, NAME or NAME@REV
    #[arg(long, value_name = "NAME[@REV]", value_parser = TemplateRef::parse)]
    template: Option<TemplateRef>,
    /// Whose inputs: of the definition, or of the running instance
    #[arg(long, value_name = "LEVEL", default_value = "next")]
    from: From,
    /// A tag that the clones have besides
    #[arg(long, value_name = "TAG", value_parser = tag)]
    tag: Vec<String>,
    /// A tag that the clones have not
    #[arg(long, value_name = "TAG")]
    drop_tag: Vec<String>,
    /// Allow --set of names that no script declares and the original has not
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    set: Set,
    #[command(flatten)]
    originals: Originals,
    #[command(flatten)]
    changing: Changing,
}

/// Which originals; `--as` and `--tag` speak of the clones here.
#[derive(ClapArgs, Clone, Default)]
#[command(next_help_heading = "Which originals (else records on stdin)")]
struct Originals {
    /// Names
    #[arg(value_name = "ORIGINAL")]
    names: Vec<String>,
    /// Role: lb, app, db, master, slave, reads, dns, worker (by tags), array
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Balancers and applications of a pool, by tags
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Only the first of what was found
    #[arg(long)]
    first: bool,
}

impl Originals {
    fn select(self) -> Select {
        Select {
            names: self.names,
            role: self.role,
            pool: self.pool,
            first: self.first,
            ..Select::default()
        }
    }
}

/// A part in a run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Old,
    New,
    Warm,
    Temp,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Old => "old",
            Part::New => "new",
            Part::Warm => "warm",
            Part::Temp => "temp",
        }
    }
}

/// Whose inputs a clone takes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Next,
    Current,
}

/// Arguments of `deployment`.
#[derive(ClapArgs)]
struct DeploymentArgs {
    /// The original
    #[arg(value_name = "ORIGINAL")]
    original: String,
    /// What the clone is called; %s is the original's name
    #[arg(long, value_name = "NAME")]
    name: String,
    /// An entry of one server or array of the clone
    #[arg(long, value_name = "SERVER/NAME=TYPE:VALUE", value_parser = on_server)]
    set_on: Vec<(String, String, Value)>,
    /// Leave a server or array out
    #[arg(long, value_name = "SERVER")]
    without: Vec<String>,
    /// Folder of the clone's machines
    #[arg(long, value_name = "FOLDER")]
    root: Option<String>,
    /// Addresses of the clone's machines, e.g. 127.9.0.0/24
    #[arg(long, value_name = "ADDRESSES")]
    addresses: Option<String>,
    #[command(flatten)]
    set: Set,
    #[command(flatten)]
    changing: Changing,
}

/// A tag as the tools read them.
fn tag(written: &str) -> Result<String, Bad> {
    rs_model::name::tag(written).map(|()| written.to_owned())
}

/// Reads `SERVER/NAME=TYPE:VALUE`; a server's name may hold slashes, an input's may not.
fn on_server(written: &str) -> Result<(String, String, Value), Bad> {
    let bad = || {
        Bad::new(
            format!("`{written}` names no server's input"),
            "write SERVER/NAME=TYPE:VALUE, e.g. 'Master DB/DB_SERVER_ID=text:7'",
        )
    };
    // the value may hold slashes too: the name ends at the first `=` that follows SERVER/NAME
    for (at, _) in written.match_indices('=') {
        let Some((server, name)) = written[..at].rsplit_once('/') else { continue };
        if !server.is_empty() && rs_model::name::input(name).is_ok() {
            return Ok((server.to_owned(), name.to_owned(), Value::parse(&written[at + 1..])?));
        }
    }
    Err(bad())
}

fn main() -> ExitCode {
    rs_cli::main("rs-clone", |args: &Args| &args.common, run)
}

fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    match args.verb {
        Verb::Server(args) => member::servers(cx, &world, args),
        Verb::Array(args) => member::arrays(cx, &world, args),
        Verb::Deployment(args) => deployment::run(cx, &world, args),
    }
}

/// A word for a shell, as a person would write it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_input_is_found_in_any_name() {
        for (written, server, value) in [
            ("Master DB/DB_SERVER_ID=text:7", "Master DB", "text:7"),
            ("a/b/X=text:c/d=e", "a/b", "text:c/d=e"),
            ("a=b/X=text:1", "a=b", "text:1"),
        ] {
            let found = on_server(written).unwrap();
            assert_eq!((found.0.as_str(), found.2.to_string().as_str()), (server, value));
        }
        for bad in ["X=text:1", "a/X", "/X=text:1", "a/X=1", "a/b c=text:1"] {
            on_server(bad).unwrap_err();
        }
    }
}
