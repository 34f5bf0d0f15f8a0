//! `site`: does the site answer, through every balancer and on every member.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rs_cli::{Context, Exit, Journal};
use rs_contract::{Cloud, Error, Kind, Result};
use rs_drivers::http::{Answer as Got, Probe, probes};
use rs_drivers::settings::Settings;
use rs_model::member::Admin;
use rs_model::reopen::SiteCheck;
use rs_model::{Answer, Check, Server};
use serde_json::json;

use crate::gate;

/// Flags of `site`.
#[derive(clap::Args)]
pub struct Site {
    /// Through every balancer of this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Also this address, as clients write it, e.g. http://www.mysite.com/
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// With the secret header that goes through the maintenance page
    #[arg(long)]
    bypass: bool,
    /// Also every member that gets traffic, directly
    #[arg(long)]
    each_member: bool,
    /// Path that is asked for
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// The answer must hold this text
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,
    /// The release that must answer: header X-Release, else what VERSION_URI (/version) says
    #[arg(long, value_name = "RELEASE")]
    expect_release: Option<String>,
    /// How long it may take until all is well: a balancer that saw a member restart trusts it from its next check on
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration)]
    wait: Option<Duration>,
    /// http: an answer is wanted; process: that something listens is enough
    #[arg(long, value_enum, default_value_t = Mode::Http)]
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Http,
    Process,
}

/// Where a release says which one it is, unless VERSION_URI says otherwise.
const VERSION: &str = "/version";
const CONNECT: Duration = Duration::from_secs(3);
/// Between two rounds of `--wait`.
const AGAIN: Duration = Duration::from_millis(100);

/// Asks.
pub fn run(site: &Site, cx: &Context) -> anyhow::Result<Exit> {
    if site.pool.is_none() && site.url.is_empty() {
        return Err(Error::new(Kind::Usage, "nothing to ask is named")
            .hint("--pool POOL, --url URL, or both")
            .into());
    }
    let (mut deployment, mut world) = (String::new(), None);
    if let Some(pool) = &site.pool {
        rs_model::name::pool(pool)?;
        let world = world.insert(rs_drivers::world(&cx.place()?)?);
        deployment = cx.deployment(world.cloud.as_ref())?;
    }
    let wait = site.wait.unwrap_or_default().min(cx.common.timeout);
    let begun = Instant::now();
    let (at, checks) = loop {
        let (at, mut checks) = (rs_cli::now(), Vec::new());
        if let (Some(pool), Some(world)) = (&site.pool, &world) {
            checks.extend(through_pool(site, world.cloud.as_ref(), &deployment, pool)?);
        }
        for url in &site.url {
            checks.extend(public(site, url)?);
        }
        if checks.iter().all(|check| check.answer == Answer::Ok) || begun.elapsed() >= wait {
            break (at, checks);
        }
        std::thread::sleep(AGAIN);
    };
    // that something listens says nothing of the site: rs-maintenance stop asks for more
    if let (Some(pool), Some(world), Mode::Http) = (&site.pool, &world, site.mode) {
        let bad = checks.iter().filter(|check| check.answer != Answer::Ok);
        let no = bad.map(|c| format!("{} of {}: {}", c.name, c.subject, c.detail)).collect();
        let kept = Journal::new(world.state.as_ref()).keep_site_check(
            &deployment,
            pool,
            &SiteCheck { at, no },
        );
        if let Err(e) = kept {
            cx.warn(&format!("this check was not kept, and rs-maintenance stop misses it: {e}"));
        }
    }
    gate::answer(cx, &deployment, "rs-check site", &checks)
}

/// The balancers of a pool that are up.
pub fn balancers<'a>(servers: &'a [Server], pool: &str) -> Vec<&'a Server> {
    servers.iter().filter(|s| s.balances(pool) && (s.foreign || s.state.is_up())).collect()
}

fn through_pool(
    site: &Site,
    cloud: &dyn Cloud,
    deployment: &str,
    pool: &str,
) -> Result<Vec<Check>> {
    let servers = cloud.servers(deployment)?;
    let found = balancers(&servers, pool);
    if found.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("no balancer of {pool:?} is up"))
            .hint("rs-server list --role lb shows what is there"));
    }
    let mut checks = Vec::new();
    // each member once, with the balancers that send traffic to it
    let mut members: BTreeMap<(IpAddr, u16), Vec<String>> = BTreeMap::new();
    let mut host = String::new();
    for server in found {
        let settings = Settings::among(cloud, deployment, server, &servers)?;
        host = settings.or("LB_HOSTNAME", "")?;
        let channel = || if server.foreign { None } else { cloud.channel(server).ok() };
        let page = rs_drivers::page(server, &settings, channel())?;
        match probes(page.as_ref(), &settings, pool, &site.path) {
            Ok(found) => {
                for mut probe in found {
                    if site.bypass {
                        probe = probe.bypass(&settings)?;
                    }
                    let version = settings.or("VERSION_URI", VERSION)?;
                    let subject = format!("{pool} through {}", server.name);
                    checks.push(ask(site, &subject, &probe, &version));
                }
            }
            Err(e) => checks.push(gate::tried("site answers", &server.name, Err(e))),
        }
        if site.each_member {
            match rs_drivers::balancer(server, &settings, channel())?.members(pool) {
                Ok(found) => {
                    for member in found.iter().filter(|member| member.admin == Admin::Ready) {
                        let known = members.entry((member.address, member.port)).or_default();
                        known.push(server.name.clone());
                    }
                }
                Err(e) => checks.push(gate::tried("members are known", &server.name, Err(e))),
            }
        }
    }
    if site.each_member && members.is_empty() {
        checks.push(
            Check::new("members are there", pool, Answer::No, "no member gets traffic")
                .hint(format!("rs-lbctl status --pool {pool} shows the members")),
        );
    }
    for ((address, port), balancers) in members {
        let of = servers.iter().find(|server| server.address == Some(address));
        let name = of.map_or_else(|| address.to_string(), |server| server.name.clone());
        let version = match of {
            Some(of) => {
                Settings::among(cloud, deployment, of, &servers)?.or("VERSION_URI", VERSION)?
            }
            None => VERSION.to_owned(),
        };
        let probe = Probe::new(SocketAddr::new(address, port), &host, &site.path);
        let subject = format!("{name} directly (member on {})", balancers.join(", "));
        checks.push(ask(site, &subject, &probe, &version));
    }
    Ok(checks)
}

/// An address as the public writes it: every address that its name has is asked.
fn public(site: &Site, written: &str) -> Result<Vec<Check>> {
    let bad = || {
        Error::new(Kind::Usage, format!("{written:?} is no URL"))
            .hint("write http://HOST[:PORT]/PATH or https://…")
    };
    let url: reqwest::Url = written.parse().map_err(|_| bad())?;
    let tls = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(bad()),
    };
    let host = url.host_str().ok_or_else(bad)?.to_owned();
    let port = url.port_or_known_default().ok_or_else(bad)?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let addresses: Vec<SocketAddr> = match (host.trim_matches(['[', ']']), port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(e) => {
            let check = Check::new("name resolves", written, Answer::No, e.to_string());
            return Ok(vec![check.hint("rs-lbctl point sets the name")]);
        }
    };
    let ask = |address: &SocketAddr| {
        let mut probe = Probe::new(*address, &host, &path);
        probe.tls = tls;
        ask(site, &format!("{written} at {address}"), &probe, VERSION)
    };
    Ok(addresses.iter().map(ask).collect())
}

fn ask(site: &Site, subject: &str, probe: &Probe, version: &str) -> Check {
    if site.mode == Mode::Process {
        return match TcpStream::connect_timeout(&probe.address, CONNECT) {
            Ok(_) => {
                let detail = format!("something listens at {}", probe.address);
                Check::new("process listens", subject, Answer::Ok, detail)
            }
            Err(e) => Check::new(
                "process listens",
                subject,
                Answer::No,
                format!("{}: {e}", probe.address),
            ),
        };
    }
    let got = match probe.send() {
        Ok(got) => got,
        Err(e) => {
            let detail = e.to_string();
            return Check::new("site answers", subject, Answer::No, detail)
                .hint("look at the balancer and its members: rs-lbctl status")
                .facts(json!({ "url": probe.url() }));
        }
    };
    let mut release = got.header("x-release").map(str::to_owned);
    if release.is_none() && site.expect_release.is_some() {
        let version = Probe { path: version.to_owned(), ..probe.clone() };
        release = version.send().ok().and_then(|got| got.release());
    }
    let (answer, detail, hint) = judge(site, &got, release.as_deref());
    let check = Check::new("site answers", subject, answer, detail).facts(json!({
        "url": probe.url(), "status": got.status, "ms": got.ms, "release": release,
        "member": got.header("x-member"),
    }));
    match hint {
        Some(hint) => check.hint(hint),
        None => check,
    }
}

fn judge(site: &Site, got: &Got, release: Option<&str>) -> (Answer, String, Option<&'static str>) {
    let status = got.status;
    if status == 503 && got.header("retry-after").is_some() {
        let hint = "ask with --bypass while the page is up";
        return (Answer::No, "the maintenance page answers".into(), Some(hint));
    }
    if !(200..400).contains(&status) {
        let hint =
            "rs-lbctl status shows whether a member is up; then look at the application's log";
        return (Answer::No, format!("status {status}"), Some(hint));
    }
    if let Some(text) = &site.expect
        && !String::from_utf8_lossy(&got.body).contains(text.as_str())
    {
        return (Answer::No, format!("status {status}, without {text:?}"), None);
    }
    match (&site.expect_release, release) {
        (Some(wanted), Some(release)) if wanted != release => {
            let detail = format!("release {release} answers, {wanted} should");
            (Answer::No, detail, Some("rs-lbctl status shows which members get traffic"))
        }
        (Some(_), None) => {
            let detail = format!("status {status}; which release answered is not said");
            (
                Answer::Unknown,
                detail,
                Some("the application names it: header X-Release, or at VERSION_URI (/version)"),
            )
        }
        _ => {
            let of = release.map(|release| format!(", release {release}")).unwrap_or_default();
            (Answer::Ok, format!("status {status} in {} ms{of}", got.ms), None)
        }
    }
}
