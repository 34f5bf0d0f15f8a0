use std::time::Duration;

use clap::Args;
use rs_model::{Bad, Value};

/// Flags that every tool has.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Everywhere")]
pub struct Common {
    /// Control plane, e.g. sqlite:/var/lib/rs/site.db
    #[arg(long, env = "RS_CLOUD", value_name = "URL", global = true)]
    pub cloud: Option<String>,
    /// State store for journal, debts and lock [default: the managed cloud's own]
    #[arg(long, env = "RS_STATE", value_name = "URL", global = true)]
    pub store: Option<String>,
    /// Deployment; needed when there are several
    #[arg(long, env = "RS_DEPLOYMENT", value_name = "NAME", global = true)]
    pub deployment: Option<String>,
    /// The run that this belongs to, e.g. u-42
    #[arg(long, env = "RS_UPGRADE", value_name = "RUN", value_parser = run, global = true)]
    pub upgrade: Option<String>,
    /// Records instead of a table, and errors as rs.error/1 too
    #[arg(long, global = true)]
    pub json: bool,
    /// Give up after this, e.g. 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m", global = true)]
    pub timeout: Duration,
    /// How many subjects at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000), global = true)]
    pub jobs: u16,
    /// No progress on stderr
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The name of a run; said where it is wrong, also when it comes by the environment.
fn run(written: &str) -> Result<String, Bad> {
    let said = |bad: Bad| Bad::new(format!("{} (--upgrade, RS_UPGRADE)", bad.what), bad.hint);
    rs_model::name::run(written).map(|()| written.to_owned()).map_err(said)
}

/// Flags of every verb that changes something.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Changing verbs")]
pub struct Changing {
    /// Say what would be done, as records with "planned": true; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Nothing on stdin is fine: done, nothing changed
    #[arg(long)]
    pub allow_none: bool,
}

/// Flags of every verb that opens a debt by what it does.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What it owes")]
pub struct Owing {
    /// From then on rs-journal watch alarms, until it is put back, e.g. 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub deadline: Option<Duration>,
    /// Then rs-journal watch also puts it back, unless a run holds the deployment or a migration was begun
    #[arg(long, requires = "deadline")]
    pub undo_on_deadline: bool,
}

/// Which servers and arrays. Without any of these they are read as records from stdin.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which servers and arrays (else records on stdin)")]
pub struct Select {
    /// Names of servers or arrays
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Role: lb, app, db, master, slave, reads, dns, worker (by tags), or server, array
    #[arg(long, value_name = "ROLE")]
    pub role: Vec<String>,
    /// Part in the run: old, new, warm, temp, or none for what has no part
    #[arg(long = "as", value_name = "PART")]
    pub part: Vec<String>,
    /// Not what has this part in the run
    #[arg(long = "not-as", value_name = "PART")]
    pub not_part: Vec<String>,
    /// Balancers and applications of a pool, by tags
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Instances of an array
    #[arg(long, value_name = "ARRAY")]
    pub array: Option<String>,
    /// State, e.g. operational, inactive, stranded-in-booting
    #[arg(long, value_name = "STATE")]
    pub state: Vec<String>,
    /// Tag, whole, or with a trailing * for a prefix
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// All servers and arrays of the deployment
    #[arg(long)]
    pub all: bool,
    /// Only the first of what was found
    #[arg(long)]
    pub first: bool,
}

impl Select {
    /// Whether any selector was given, so that stdin is not touched.
    pub fn given(&self) -> bool {
        !self.names.is_empty()
            || !self.role.is_empty()
            || !self.part.is_empty()
            || !self.not_part.is_empty()
            || self.pool.is_some()
            || self.array.is_some()
            || !self.state.is_empty()
            || !self.tag.is_empty()
            || self.all
    }
}

/// `--set NAME=TYPE:VALUE`, repeated.
#[derive(Args, Clone, Debug, Default)]
pub struct Set {
    /// Input, e.g. LB_HOSTNAME=text:test1.mysite.com
    #[arg(long, value_name = "NAME=TYPE:VALUE", value_parser = name_value)]
    pub set: Vec<(String, Value)>,
}

/// Reads `NAME=TYPE:VALUE`.
pub fn name_value(written: &str) -> Result<(String, Value), Bad> {
    let (name, value) = written.split_once('=').ok_or_else(|| {
        Bad::new(
            format!("`{written}` has no `=`"),
            "write NAME=TYPE:VALUE, e.g. LB_HOSTNAME=text:www",
        )
    })?;
    rs_model::name::input(name)?;
    Ok((name.to_owned(), Value::parse(value)?))
}

/// Reads `90`, `90s`, `1500ms`, `10m`, `2h`; positive.
pub fn duration(written: &str) -> Result<Duration, Bad> {
    let bad = || {
        Bad::new(
            format!("`{written}` is no time"),
            "write 90s, 1500ms, 10m or 2h; it must be positive",
        )
    };
    let at = written.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(written.len());
    let (number, unit) = written.split_at(at);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return Err(bad()),
    };
    // less than a nanosecond would be no time at all
    let time = if seconds < 1e9 { Duration::try_from_secs_f64(seconds).ok() } else { None };
    time.filter(|time| !time.is_zero()).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_positive_and_have_units() {
        assert_eq!(duration("90").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("1.5m").unwrap(), Duration::from_secs(90));
        duration("999999999").unwrap();
        for bad in ["", "0", "-1", "1y", "m", "1e99h", "1000000000", "0.0000000001"] {
            duration(bad).unwrap_err();
        }
    }

    #[test]
    fn a_run_s_name_is_checked_and_said_where_it_comes_from() {
        assert_eq!(run("u-42").unwrap(), "u-42");
        assert!(run("u 42").unwrap_err().what.contains("RS_UPGRADE"));
    }

    #[test]
    fn a_setting_names_its_type() {
        assert_eq!(name_value("A=text:b=c").unwrap(), ("A".into(), Value::Text("b=c".into())));
        name_value("A").unwrap_err();
        name_value("A=b").unwrap_err();
        name_value("A B=text:b").unwrap_err();
    }
}
