//! `point`: the A records of a name.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;
use rs_cli::{
    Changing, Context, DebtSpec, Done, Exit, Journal, Owing, Step, Subject, Subjects, What,
};
use rs_contract::{Error, Kind, Result, World};
use rs_drivers::settings::Settings;
use rs_model::act::Due;
use rs_model::lint;
use rs_records::Record;
use serde_json::json;

#[derive(Args)]
pub struct Point {
    /// Host name, e.g. test1.mysite.com
    #[arg(value_name = "HOST")]
    host: String,
    /// A server that it points at; repeat it for several
    #[arg(long, value_name = "SERVER", required_unless_present_any = ["remove", "address"])]
    at: Vec<String>,
    /// An address that it points at; repeat it for several
    #[arg(long, value_name = "ADDRESS", conflicts_with = "at")]
    address: Vec<Ipv4Addr>,
    /// Remove its A records
    #[arg(long, conflicts_with_all = ["at", "address", "temp"])]
    remove: bool,
    /// With --remove: also where running servers have it in an input (DB_HOST_NAME, LB_HOSTNAME and such)
    #[arg(long, requires = "remove")]
    allow_used: bool,
    /// For this upgrade only: owed until the old servers are retired
    #[arg(long)]
    temp: bool,
    /// Time to live, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    ttl: u32,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

pub fn run(cx: &Context, args: &Point) -> anyhow::Result<Exit> {
    rs_model::name::host(&args.host)?;
    let host = args.host.trim_end_matches('.').to_ascii_lowercase();
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let deployment = cx.deployment(cloud)?;
    let (mut subjects, addresses) = subjects(cx, cloud, &deployment, args)?;
    let dns = rs_drivers::dns(&Settings::of_deployment(cloud, &deployment)?)?;
    if !args.remove && dns.has_aaaa(&host)? {
        return Err(Error::new(Kind::Declined, format!("{host} has AAAA records too"))
            .because("clients would go on to where those point")
            .hint("remove them at the DNS provider first")
            .into());
    }
    let (before, ttl) = dns.lookup(&host)?;
    let mut wanted = addresses;
    wanted.sort_unstable();
    wanted.dedup();
    // a place that knows no time to live has none that could differ
    let same = before == wanted && (wanted.is_empty() || ttl.is_none_or(|ttl| ttl == args.ttl));
    if args.remove && !args.allow_used && !same {
        unused(&world, &deployment, &host)?;
    }
    let back = ["rs-lbctl", "point", &host, "--deployment", &deployment];
    let mut back: Vec<String> = back.map(str::to_owned).into();
    if before.is_empty() {
        back.push("--remove".into());
    }
    for address in &before {
        back.extend(["--address".to_owned(), address.to_string()]);
    }
    cx.about(&host);
    let was = json!({"name": host, "type": "A", "addresses": before, "ttl_seconds": ttl});
    let will = json!({
        "name": host, "type": "A", "addresses": wanted,
        "ttl_seconds": (!wanted.is_empty()).then_some(args.ttl),
    });
    let steps: Vec<Step> = (0..subjects.items.len())
        .map(|at| Step {
            at,
            needed: !same,
            before: was.clone(),
            expect: will.clone(),
            undo: Some(rs_cli::shell_words(&back)),
            opens: if args.temp && at == 0 {
                vec![DebtSpec {
                    key: format!("record:{host}"),
                    reason: format!("{host} points at a temporary place"),
                    inverse: back.clone(),
                    due: Due::Retire,
                    deadline: None,
                    before: was.clone(),
                }]
            } else {
                Vec::new()
            },
            settles: if args.temp { Vec::new() } else { vec![format!("record:{host}")] },
            ..Step::default()
        })
        .collect();
    let exit = cx.together(world.state.as_ref(), &deployment, &mut subjects, &steps, |todo| {
        dns.set(&host, &wanted, args.ttl)?;
        let (now, ttl) = dns.lookup(&host)?;
        if now != wanted {
            return Err(Error::new(
                Kind::Failed,
                format!("{host} points elsewhere than it was told, according to {}", dns.place()),
            )
            .because(format!("wanted {wanted:?}, found {now:?}"))
            .hint("something else writes that record too"));
        }
        let record = json!({
            "name": host, "type": "A", "before": before, "after": now, "ttl_seconds": ttl,
        });
        Ok(todo.iter().map(|_| Done::now(will.clone()).nest("record", &record)).collect())
    })?;
    if same {
        for item in &mut subjects.items {
            item.record.nest("record", json!({
                "name": host, "type": "A", "before": before, "after": before, "ttl_seconds": ttl,
            }));
        }
    }
    cx.pass_on(&subjects, exit)
}

/// Declines to take a name away that running servers go by, unless it was pointed for the time of an upgrade only.
fn unused(world: &World, deployment: &str, host: &str) -> Result<()> {
    let debts = Journal::new(world.state.as_ref()).debts(deployment)?;
    if debts.iter().any(|debt| debt.key == format!("record:{host}")) {
        return Ok(());
    }
    let cloud = world.cloud.as_ref();
    let servers = cloud.servers(deployment)?;
    let mut users = Vec::new();
    for server in servers.iter().filter(|server| server.state.is_up() || server.foreign) {
        let settings = Settings::among(cloud, deployment, server, &servers)?;
        for input in lint::named_as(&settings.values, host) {
            users.push(format!("{input} of {:?}", server.name));
        }
    }
    if users.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Declined, format!("running servers go by {host}"))
        .because(users.join(", "))
        .hint("point it at where they should go, or --allow-used removes it all the same")
        .untouched())
}

/// What is passed on: the servers, or the deployment when only addresses are at stake.
fn subjects(
    cx: &Context,
    cloud: &dyn rs_contract::Cloud,
    deployment: &str,
    args: &Point,
) -> Result<(Subjects, Vec<Ipv4Addr>)> {
    if args.at.is_empty() {
        let of = cloud.deployments()?.into_iter().find(|of| of.name == deployment);
        let of = of.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("no deployment is called {deployment:?}"))
        })?;
        let subject = Subject { record: Record::of(&of), what: What::Deployment(Box::new(of)) };
        return Ok((Subjects { items: vec![subject] }, args.address.clone()));
    }
    let servers = cloud.servers(deployment)?;
    let mut items = Vec::new();
    let mut addresses = Vec::new();
    for name in &args.at {
        let server = servers.iter().find(|server| server.name == *name).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("no server of {deployment:?} is called {name:?}"))
                .hint("rs-server list shows the names")
        })?;
        match server.address {
            Some(IpAddr::V4(address)) => addresses.push(address),
            Some(address) => {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{name:?} has the address {address}, and only A records are written"),
                )
                .hint("write its AAAA record at the DNS provider"));
            }
            None if cx.dry() => {}
            None => {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{name:?} is {} and has no address", server.state.word()),
                )
                .hint(format!("rs-server launch '{name}' first")));
            }
        }
        items.push(Subject::server(deployment, server.clone()));
    }
    Ok((Subjects { items }, addresses))
}
