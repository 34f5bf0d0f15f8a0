//! `probe`: the outside observer. It knows the site as clients do, and trusts none of our tools.

mod client;
mod log;
mod rows;
mod summary;

use std::fs::File;
use std::io::{LineWriter, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rs_cli::{Context, Exit};
use rs_contract::{Cloud, Error, Kind, Result};
use rs_drivers::settings::Settings;
use rs_records::{REQUEST, Record, SUMMARY};
use serde_json::Value as Json;

use client::{Plan, Target};
use log::Request;

/// Flags of `probe`.
#[derive(clap::Args)]
pub struct Probe {
    /// A balancer, e.g. http://127.0.1.1:8080; repeated for each
    #[arg(long, value_name = "URL", conflicts_with = "pool")]
    url: Vec<String>,
    /// Every balancer of this pool, by tags
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Host name of the site [default: with --pool the input LB_HOSTNAME]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Requests per second, in all
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    rate: f64,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = rs_cli::duration)]
    time: Option<Duration>,
    /// End when this file is there
    #[arg(long, alias = "until-file", value_name = "PATH")]
    until: Option<PathBuf>,
    /// Path that is read
    #[arg(long, value_name = "PATH", default_value = "/")]
    read_path: String,
    /// Path that numbered rows are written to [with --pool: the input PROBE_WRITE_PATH]
    #[arg(long, value_name = "PATH")]
    write_path: Option<String>,
    /// Field that takes the number [default: with --pool the input PROBE_NUMBER_FIELD, else number]
    #[arg(long, value_name = "NAME")]
    number_field: Option<String>,
    /// Every so many-th request writes; 0: none
    #[arg(long, value_name = "N", default_value_t = 4)]
    write_every: u64,
    /// A request is given up after this
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "10s")]
    request_timeout: Duration,
    /// Log of all requests [default: stdout, before the summary]
    #[arg(long, value_name = "FILE", conflicts_with = "summarise")]
    log: Option<PathBuf>,
    /// Send nothing: sum up this log again
    #[arg(long, value_name = "LOG", conflicts_with_all = ["url", "time", "until"])]
    summarise: Option<PathBuf>,
    /// More errors than this are a no (exit 3)
    #[arg(long, value_name = "N")]
    most_errors: Option<u64>,
    #[command(flatten)]
    rows: Rows,
}

/// How the rows are read that the writes should have made.
#[derive(clap::Args)]
#[command(next_help_heading = "Rows in the database")]
pub struct Rows {
    /// Shell command that prints one number a line; the prefix of ours is in $PROBE_PREFIX
    #[arg(long, value_name = "CMD", conflicts_with_all = ["rows_query", "db"])]
    rows_command: Option<String>,
    /// SELECT of one column; {prefix} is the prefix of ours [default: with --pool the input PROBE_ROWS_QUERY]
    #[arg(long, value_name = "SQL")]
    rows_query: Option<String>,
    /// The database [default: with --pool the master, as its administrator]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "db_user")]
    db: Option<String>,
    /// Account
    #[arg(long, value_name = "NAME", requires = "db")]
    db_user: Option<String>,
    /// File with its password
    #[arg(long, value_name = "FILE", requires = "db")]
    db_password_file: Option<PathBuf>,
}

/// A deployment that targets and rows may come from.
struct Site {
    cloud: Box<dyn Cloud>,
    deployment: String,
    settings: Settings,
}

/// Probes, or sums a log up again.
pub fn run(probe: &Probe, cx: &Context) -> anyhow::Result<Exit> {
    let site = match &probe.pool {
        Some(pool) => {
            rs_model::name::pool(pool)?;
            let cloud = rs_drivers::world(&cx.place()?)?.cloud;
            let deployment = cx.deployment(cloud.as_ref())?;
            let settings = Settings::of_deployment(cloud.as_ref(), &deployment)?;
            Some(Site { cloud, deployment, settings })
        }
        None => None,
    };
    let log = match &probe.summarise {
        Some(file) => {
            let log = read_log(file)?;
            if log.is_empty() {
                let what = format!("{} holds no request", file.display());
                return Err(Error::new(Kind::Usage, what)
                    .because("where nothing was asked nothing failed, which proves nothing")
                    .hint("name the file that --log FILE wrote")
                    .into());
            }
            log
        }
        None => send(probe, site.as_ref(), cx)?,
    };
    let cloud = site.as_ref().map(|s| (s.cloud.as_ref(), s.deployment.as_str(), &s.settings));
    let numbers = match log::prefix(&log) {
        Some(prefix) => rows::read(&probe.rows, &prefix, cloud),
        None => Ok(None),
    };
    // what was seen is told also when the database cannot be read
    let (numbers, unread) = match numbers {
        Ok(numbers) => (numbers, None),
        Err(e) => (None, Some(e)),
    };
    let summary = summary::summarise(&log, numbers.as_deref());
    if unread.is_none() && summary.writes.sent > 0 && summary.writes.in_database.is_none() {
        cx.warn("nothing is known of lost writes: the rows were not read (--rows-command, --rows-query)");
    }
    cx.emit(&[Record::new(SUMMARY, serde_json::to_value(&summary)?)])?;
    if let Some(e) = unread {
        return Err(e.into());
    }
    let faults = summary.faults(probe.most_errors);
    if faults.is_empty() {
        return Ok(Exit::Done);
    }
    for fault in &faults {
        cx.warn(fault);
    }
    Ok(Exit::No)
}

fn send(probe: &Probe, site: Option<&Site>, cx: &Context) -> anyhow::Result<Vec<Request>> {
    if probe.time.is_none() && probe.until.is_none() {
        return Err(Error::new(Kind::Usage, "when it ends is not said")
            .hint("--for TIME, --until PATH, or both; a signal ends it too")
            .into());
    }
    if !(probe.rate > 0.0 && probe.rate <= 100_000.0) {
        return Err(Error::new(Kind::Usage, format!("--rate {} is no rate", probe.rate))
            .hint("requests per second, more than 0")
            .into());
    }
    let plan = plan(probe, site)?;
    rows::known(&probe.rows, site.map(|site| &site.settings))?;
    // whether TLS is used is decided by the URLs; the library wants to know how before
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut file = match &probe.log {
        Some(path) => Some(LineWriter::new(File::create(path).map_err(|e| {
            Error::new(Kind::Failed, format!("{} cannot be written", path.display())).because(e)
        })?)),
        None => None,
    };
    cx.ends_itself();
    let began = Instant::now();
    let ended = || {
        cx.asked_to_end()
            || probe.time.is_some_and(|time| began.elapsed() >= time)
            || probe.until.as_ref().is_some_and(|path| path.exists())
    };
    let (tell, told) = std::sync::mpsc::channel::<Request>();
    let tell = Mutex::new(tell);
    let mut log = Vec::new();
    let mut failed = None;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let sender = scope.spawn(|| {
            let heard = |request| {
                if let Ok(tell) = tell.lock() {
                    // the other end lives as long as this one
                    let _ = tell.send(request);
                }
            };
            let sent = client::run(&plan, &ended, heard);
            // the last sender must go, or the reader below waits for ever
            drop(tell);
            sent
        });
        for request in told {
            let record = Record::new(REQUEST, serde_json::to_value(&request).unwrap_or(Json::Null));
            let written = match &mut file {
                Some(file) => writeln!(file, "{}", record.line()).map_err(anyhow::Error::from),
                None => cx.emit(&[record]),
            };
            if let Err(e) = written {
                failed.get_or_insert(e);
            }
            log.push(request);
        }
        match sender.join() {
            Ok(sent) => sent,
            Err(_) => Err(Error::new(Kind::Failed, "the clients broke down").into()),
        }
    })?;
    if let Some(file) = &mut file {
        file.flush()?;
    }
    match failed {
        Some(e) => Err(e.context("the log could not be written")),
        None => Ok(log),
    }
}

fn plan(probe: &Probe, site: Option<&Site>) -> anyhow::Result<Plan> {
    let (targets, host) = match (&probe.pool, site) {
        (Some(pool), Some(site)) => balancers(pool, site)?,
        _ => (probe.url.iter().map(|url| named(url)).collect::<Result<Vec<_>>>()?, None),
    };
    if targets.is_empty() {
        return Err(Error::new(Kind::Usage, "no balancer is named")
            .hint("--url http://ADDRESS:PORT for each, or --pool POOL")
            .into());
    }
    let from = |flag: &Option<String>, input: &str| -> Result<Option<String>> {
        match (flag, site) {
            (Some(text), _) => Ok(Some(text.clone())),
            (None, Some(site)) => Ok(site.settings.get(input)?.filter(|text| !text.is_empty())),
            (None, None) => Ok(None),
        }
    };
    let write_path = from(&probe.write_path, "PROBE_WRITE_PATH")?;
    if write_path.is_none() && probe.write_every > 0 {
        return Err(Error::new(Kind::Usage, "where numbered rows are written is not said")
            .hint("--write-path, the input PROBE_WRITE_PATH, or --write-every 0 to read only")
            .into());
    }
    let mut bytes = [0_u8; 4];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Failed, "no random number is to be had").because(e))?;
    let nonce: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let plan = Plan {
        targets,
        host: probe.host.clone().or(host),
        rate: probe.rate,
        write_every: probe.write_every,
        read_path: probe.read_path.clone(),
        write_path: write_path.unwrap_or_else(|| "/".to_owned()),
        number_field: from(&probe.number_field, "PROBE_NUMBER_FIELD")?
            .unwrap_or_else(|| "number".to_owned()),
        prefix: format!("probe-{nonce}-"),
        timeout: probe.request_timeout,
    };
    for path in [&plan.read_path, &plan.write_path] {
        if !path.starts_with('/') {
            return Err(Error::new(Kind::Usage, format!("{path:?} is no path"))
                .hint("a path begins with a slash")
                .into());
        }
    }
    Ok(plan)
}

/// A balancer that is named by its URL.
fn named(url: &str) -> Result<Target> {
    let bad = || {
        Error::new(Kind::Usage, format!("{url:?} is no address of a balancer"))
            .hint("write http://ADDRESS:PORT, without a path")
    };
    let parsed: reqwest::Url = url.parse().map_err(|_| bad())?;
    let plain = parsed.path() == "/" && parsed.query().is_none() && parsed.username().is_empty();
    if !["http", "https"].contains(&parsed.scheme()) || !plain {
        return Err(bad());
    }
    let name = url.split("//").nth(1).unwrap_or(url).trim_end_matches('/').to_owned();
    Ok(Target { name, url: url.trim_end_matches('/').to_owned() })
}

/// The balancers of a pool, and the site's host name as they know it.
fn balancers(pool: &str, site: &Site) -> Result<(Vec<Target>, Option<String>)> {
    let servers = site.cloud.servers(&site.deployment)?;
    let (mut targets, mut host) = (Vec::new(), None);
    for server in servers.iter().filter(|server| server.balances(pool)) {
        if !server.foreign && !server.state.is_up() {
            continue;
        }
        let settings = Settings::among(site.cloud.as_ref(), &site.deployment, server, &servers)?;
        let address = match settings.get("LB_BIND_ADDRESS")?.filter(|text| !text.is_empty()) {
            Some(text) => text,
            None => settings.address()?.to_string(),
        };
        let address = if address.contains(':') { format!("[{address}]") } else { address };
        let port = settings.port("LB_BIND_PORT", 8080)?;
        targets.push(Target { name: server.name.clone(), url: format!("http://{address}:{port}") });
        host = host.or(settings.get("LB_HOSTNAME")?.filter(|text| !text.is_empty()));
    }
    if targets.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("no balancer of {pool:?} is up"))
            .hint("rs-server list --role lb shows what is there"));
    }
    Ok((targets, host))
}

fn read_log(path: &std::path::Path) -> anyhow::Result<Vec<Request>> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        let missing = e.kind() == std::io::ErrorKind::NotFound;
        let kind = if missing { Kind::NotFound } else { Kind::Failed };
        Error::new(kind, format!("{} cannot be read", path.display())).because(e)
    })?;
    let mut log = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format_args!("line {} of {}", at + 1, path.display());
        let record = Record::parse(line, place).map_err(|e| {
            Error::new(Kind::Usage, e.what).hint("rs-check probe --log FILE writes one")
        })?;
        if record.schema() != REQUEST {
            continue; // a summary that went to the same file
        }
        log.push(serde_json::from_value(Json::Object(record.body)).map_err(|e| {
            Error::new(Kind::Usage, format!("line {} of {} does not fit", at + 1, path.display()))
                .because(e)
        })?);
    }
    Ok(log)
}
