//! `retire`: the only verb that terminates (step 37) and deletes (step 38).
//!
//! Order: the plan is checked against the world; the names that only this run has in DNS go first, since a record must
//! not point at an address that somebody else gets; definitions are archived; machines end; definitions go.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rs_cli::{Changing, Context, Done, Exit, Journal, Step, Subject, Subjects, What, now};
use rs_contract::{Cloud, Dns, Error, Kind, State, Txn};
use rs_drivers::settings::Settings;
use rs_model::act::{Act, Outcome};
use rs_model::journal::Left;
use rs_model::retire::{self, Plan};
use rs_model::{Array, Debt, Server};
use rs_records::Record;
use serde_json::{Value as Json, json};

use crate::plan::digest;
use rs_drivers::look::Look;

/// Flags of `retire`.
#[derive(clap::Args)]
pub struct RetireArgs {
    /// The plan, as `rs-cleanup plan` wrote it
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Remove the definitions too; they are archived in the state store. Of a server that is named by address only
    /// the definition goes: nothing on its machine is touched
    #[arg(long)]
    delete: bool,
    /// Remove this name from DNS; it must point nowhere but to what ends
    #[arg(long, value_name = "HOST")]
    dns: Vec<String>,
    /// Refuse a plan that is older
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "1h")]
    max_age: Duration,
    #[command(flatten)]
    changing: Changing,
}

pub fn run(cx: &Context, args: &RetireArgs) -> Result<Exit> {
    let plan = read(&args.plan)?;
    if let Some(named) = &cx.common.deployment
        && *named != plan.deployment
    {
        return Err(Error::new(
            Kind::Usage,
            format!("the plan is for {:?}, and {named:?} is named", plan.deployment),
        )
        .hint("plan again for that deployment")
        .into());
    }
    let world = rs_drivers::world(&cx.place()?)?;
    let (cloud, state) = (world.cloud.as_ref(), world.state.as_ref());
    let deployment = plan.deployment.as_str();
    if plan.whole && !cloud.deployments()?.iter().any(|known| known.name == deployment) {
        cx.say(&format!("the deployment {deployment:?} is gone already"));
        return cx.pass_on(&Subjects::default(), Exit::Done);
    }
    let look = Look::new(cloud, deployment)?;
    let debts = Journal::new(state).debts(deployment)?;
    check(cx, args, &plan, &look, &debts)?;
    if !cx.dry() {
        close_cut_off(state, &look, &debts)?;
    }
    let mut exit = names_end(cx, args, &plan, &look, state, &debts)?;
    let mut subjects = subjects(&plan, &look);
    exit = worse(exit, machines_end(cx, &mut subjects, &plan, cloud, state, &debts)?);
    if args.delete && exit == Exit::Done {
        exit = worse(exit, definitions_end(cx, &mut subjects, &plan, cloud, state, &debts)?);
        if plan.whole && exit == Exit::Done {
            exit = deployment_ends(cx, &plan, cloud, state, &debts)?;
        }
    }
    cx.pass_on(&subjects, exit)
}

/// Ends that were cut off behind their work: what they were about is gone, so that no plan names it and nobody would do
/// them again.
fn close_cut_off(state: &dyn State, look: &Look<'_>, debts: &[Debt]) -> Result<()> {
    let journal = Journal::new(state);
    let mut done = Vec::new();
    for act in journal.open_acts()? {
        let ours = act.deployment == look.deployment
            && (act.tool.as_str(), act.verb.as_str()) == ("rs-cleanup", "retire")
            && rs_cli::alive(&act) == Some(false);
        let gone = ours && look.left(&act.subject) == Left::Nothing;
        if let Some((_, name)) = act.subject.clone().split_once(' ').filter(|_| gone) {
            let settled = settled_by(debts, name);
            let act = Act { outcome: Outcome::Done, after: json!({"defined": false}), ..act };
            done.push((act, settled));
        }
    }
    if !done.is_empty() {
        journal.end(&done)?;
    }
    Ok(())
}

fn worse(one: Exit, two: Exit) -> Exit {
    if one == Exit::Done { two } else { one }
}

fn read(path: &Path) -> Result<Plan> {
    let bad = |why: String| {
        Error::new(Kind::Usage, format!("{} is no plan", path.display()))
            .because(why)
            .hint("rs-cleanup plan … >FILE writes one; nothing has been done")
    };
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    let mut records = rs_records::parse_all(&text, None).map_err(|e| bad(e.what))?;
    match (records.pop(), records.is_empty()) {
        (Some(record), true) if record.is::<Plan>() => Ok(record.decode()?),
        (Some(record), true) => Err(bad(format!("it is a {}", record.schema())).into()),
        _ => Err(bad("it holds no single record".into()).into()),
    }
}

/// Everything that forbids, all at once, each by name.
fn check(
    cx: &Context,
    args: &RetireArgs,
    plan: &Plan,
    look: &Look<'_>,
    debts: &[Debt],
) -> Result<()> {
    let names: Vec<(String, String)> =
        plan.entries.iter().map(|entry| (entry.kind.clone(), entry.name.clone())).collect();
    let facts = look.evidence(&|server| retire::ends(server, &names), debts, &now());
    let now_there = retire::entries(&facts, &names, plan.run.as_deref(), plan.reach());
    let made: jiff::Timestamp = plan.created_at.parse().map_err(|e| {
        Error::new(Kind::Usage, format!("created_at of the plan is {:?}", plan.created_at))
            .because(e)
    })?;
    let age = jiff::Timestamp::now().as_millisecond().saturating_sub(made.as_millisecond());
    let most = i64::try_from(args.max_age.as_millis()).unwrap_or(i64::MAX);
    let digest = digest(&retire::canonical(&plan.entries));
    let mut reasons = retire::refusals(plan, &digest, age, most, &now_there);
    reasons.extend(retire::not_ours(&facts, &names, args.delete));
    if plan.whole {
        let all = look.cloud.deployments()?;
        let known = all.into_iter().find(|known| known.name == plan.deployment);
        let cloned_from = known.and_then(|known| known.cloned_from);
        reasons.extend(retire::not_whole(cloned_from.as_deref(), &facts, &names));
    }
    let Some(first) = reasons.first() else { return Ok(()) };
    for reason in &reasons {
        cx.warn(reason);
    }
    let what = match reasons.len() {
        1 => "the plan is not followed".to_owned(),
        many => format!("the plan is not followed, for {many} reasons"),
    };
    Err(Error::new(Kind::Declined, what)
        .because(first)
        .hint("put that right, then plan again; nothing has been done")
        .found(now_there.iter().map(|entry| json!(entry)).collect())
        .into())
}

/// What of the plan is still there, as subjects.
fn subjects(plan: &Plan, look: &Look<'_>) -> Subjects {
    let items = plan
        .entries
        .iter()
        .filter_map(|entry| {
            if entry.kind == "array" {
                let array = look.arrays.iter().find(|array| array.name == entry.name)?;
                Some(Subject::array(&plan.deployment, array.clone()))
            } else {
                let server = look.server(&entry.name)?;
                Some(Subject::server(&plan.deployment, server.clone()))
            }
        })
        .collect();
    Subjects { items }
}

/// Names in DNS that are the run's: those that were named, and the debts of kind `record` that the run opened.
fn names_end(
    cx: &Context,
    args: &RetireArgs,
    plan: &Plan,
    look: &Look<'_>,
    state: &dyn State,
    debts: &[Debt],
) -> Result<Exit> {
    let mut hosts = args.dns.clone();
    for debt in debts.iter().filter(|debt| debt.kind == "record" && debt.owner.run == plan.run) {
        let host = debt.key.trim_start_matches("record:").to_owned();
        if plan.run.is_some() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    if hosts.is_empty() {
        return Ok(Exit::Done);
    }
    for host in &hosts {
        rs_model::name::host(host)?;
    }
    let dns = rs_drivers::dns(&Settings::of_deployment(look.cloud, look.deployment)?)?;
    let mut subjects = Subjects::default();
    let mut steps = Vec::new();
    for host in &hosts {
        let (addresses, ttl) = dns.lookup(host)?;
        let ends = |address: &_| {
            let address = Some(IpAddr::from(*address));
            plan.entries.iter().any(|entry| entry.address == address)
        };
        // a name of the run that nobody named stays with what it points to
        if !args.dns.contains(host) && !addresses.is_empty() && !addresses.iter().any(ends) {
            continue;
        }
        for address in &addresses {
            if !ends(address) {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{host} points to {address}, which does not end with this plan"),
                )
                .hint(format!(
                    "rs-lbctl point {host} --remove, if it may go; nothing has been done"
                ))
                .into());
            }
        }
        let at = subjects.items.len();
        let record = Record::new(rs_records::NAME, json!({"name": host, "addresses": addresses}));
        subjects.items.push(Subject { record, what: What::Other });
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        steps.push(Step {
            at,
            needed: !addresses.is_empty(),
            before: json!({"addresses": addresses, "ttl_seconds": ttl}),
            expect: json!({"addresses": []}),
            undo: Some(format!("add the A record {host} {}", list.join(" "))),
            settles: vec![format!("record:{host}")],
            ..Step::default()
        });
    }
    let remove = |step: &Step| remove_name(dns.as_ref(), &hosts, step);
    cx.each(state, look.deployment, &mut subjects, &steps, remove)
}

fn remove_name(dns: &dyn Dns, hosts: &[String], step: &Step) -> rs_contract::Result<Done> {
    let host = hosts.get(step.at).map_or("", String::as_str);
    dns.set(host, &[], 60)?;
    let (left, _) = dns.lookup(host)?;
    if left.is_empty() {
        return Ok(Done::now(json!({"addresses": []})));
    }
    Err(Error::new(Kind::Failed, format!("{host} still points to {left:?}")))
}

/// Step 37: archives each definition and ends its machine.
fn machines_end(
    cx: &Context,
    subjects: &mut Subjects,
    plan: &Plan,
    cloud: &dyn Cloud,
    state: &dyn State,
    debts: &[Debt],
) -> Result<Exit> {
    let deployment = plan.deployment.as_str();
    let inputs = deployment_inputs(cloud, deployment)?;
    let servers: Vec<(usize, Server)> = subjects
        .items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| Some((at, item.as_server()?.clone())))
        .filter(|(_, server)| !server.foreign)
        .collect();
    let steps: Vec<Step> = servers
        .iter()
        .map(|(at, server)| Step {
            at: *at,
            needed: server.state.is_up(),
            before: json!({
                "state": server.state,
                "instance": server.current.as_ref().map(|current| &current.id),
            }),
            expect: json!({"state": "terminated"}),
            predict: state_word("terminated"),
            undo: Some(undo(deployment, server, &servers)),
            settles: settled_by(debts, &server.name),
            ..Step::default()
        })
        .collect();
    let terminate = |step: &Step| {
        let server = servers.iter().find(|(at, _)| *at == step.at).map(|(_, server)| server);
        let Some(server) = server else { return Ok(Done::default()) };
        archive(
            state,
            deployment,
            &server.name,
            json!({"server": server, "deployment_inputs": inputs}),
        )?;
        cloud.terminate(deployment, &server.name, cx.work(), &|line| cx.say(line))?;
        let left = cloud.servers(deployment)?.into_iter().find(|s| s.name == server.name);
        match left.map(|left| left.state) {
            Some(state) if state.is_up() => Err(Error::new(
                Kind::Failed,
                format!("server {:?} is still {}", server.name, state.word()),
            )
            .hint("the same command again goes on")),
            left => Ok(Done::now(json!({"state": left.unwrap_or(rs_model::State::Terminated)}))),
        }
    };
    let exit = cx.each(state, deployment, subjects, &steps, terminate)?;
    show_now(cx, cloud, deployment, subjects)?;
    Ok(exit)
}

/// Step 38: removes the definitions, arrays last. Only what has no machine.
fn definitions_end(
    cx: &Context,
    subjects: &mut Subjects,
    plan: &Plan,
    cloud: &dyn Cloud,
    state: &dyn State,
    debts: &[Debt],
) -> Result<Exit> {
    let deployment = plan.deployment.as_str();
    let inputs = deployment_inputs(cloud, deployment)?;
    let servers = if cx.dry() { Vec::new() } else { cloud.servers(deployment)? };
    let mut exit = Exit::Done;
    for kind in ["server", "array"] {
        let there: Vec<(usize, What)> = subjects
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| match &item.what {
                What::Server(_) => kind == "server",
                What::Array(_) => kind == "array",
                _ => false,
            })
            .map(|(at, item)| (at, item.what.clone()))
            .collect();
        let steps: Vec<Step> = there
            .iter()
            .map(|(at, what)| {
                let name = name_of(what);
                // an array's instance has no definition of its own: it went with its machine
                let gone = match what {
                    What::Server(server) => {
                        server.array.is_some()
                            || !cx.dry() && !servers.iter().any(|s| s.name == name)
                    }
                    _ => false,
                };
                Step {
                    at: *at,
                    needed: !gone,
                    before: json!({"defined": !gone}),
                    expect: json!({"defined": false}),
                    undo: Some(rs_cli::shell_words(
                        &["rs-cleanup", "recreate", "--deployment", deployment, "--", name]
                            .map(str::to_owned),
                    )),
                    settles: settled_by(debts, name),
                    ..Step::default()
                }
            })
            .collect();
        if steps.is_empty() {
            continue;
        }
        let delete = |step: &Step| {
            let Some((_, what)) = there.iter().find(|(at, _)| *at == step.at) else {
                return Ok(Done::default());
            };
            match what {
                What::Server(server) => {
                    keep(
                        state,
                        deployment,
                        &server.name,
                        json!({"server": server, "deployment_inputs": inputs}),
                    )?;
                    cloud.delete_server(deployment, &server.name)?;
                }
                What::Array(array) => {
                    refuse_orphans(cloud, deployment, array)?;
                    keep(
                        state,
                        deployment,
                        &array.name,
                        json!({"array": array, "deployment_inputs": inputs}),
                    )?;
                    cloud.delete_array(deployment, &array.name)?;
                }
                _ => {}
            }
            Ok(Done::now(json!({"defined": false})))
        };
        exit = worse(exit, cx.each(state, deployment, subjects, &steps, delete)?);
        if exit != Exit::Done {
            break;
        }
    }
    Ok(exit)
}

/// The deployment itself, archived, and whatever was still owed in it: there is nothing left to put back.
fn deployment_ends(
    cx: &Context,
    plan: &Plan,
    cloud: &dyn Cloud,
    state: &dyn State,
    debts: &[Debt],
) -> Result<Exit> {
    let name = plan.deployment.as_str();
    let Some(known) = cloud.deployments()?.into_iter().find(|known| known.name == name) else {
        return Ok(Exit::Done);
    };
    let key = archive_key(name, "");
    let mut subjects = Subjects {
        items: vec![Subject {
            record: Record::of(&known),
            what: What::Deployment(Box::new(known.clone())),
        }],
    };
    let step = Step {
        needed: true,
        before: json!({"defined": true}),
        expect: json!({"defined": false}),
        undo: Some(format!("the deployment is in the state store under {key}")),
        settles: debts.iter().map(|debt| debt.key.clone()).collect(),
        ..Step::default()
    };
    let exit = cx.each(state, name, &mut subjects, &[step], |_| {
        archive(state, name, "", json!({ "deployment": known }))?;
        cloud.delete_deployment(name)?;
        Ok(Done::now(json!({"defined": false})))
    })?;
    Ok(exit)
}

/// Instances that came since the plan was checked: their array is not taken from them.
fn refuse_orphans(cloud: &dyn Cloud, deployment: &str, array: &Array) -> rs_contract::Result<()> {
    let servers = cloud.servers(deployment)?;
    let left: Vec<String> = servers
        .into_iter()
        .filter(|server| server.array.as_ref() == Some(&array.name))
        .map(|server| server.name)
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Declined,
        format!("array {:?} still has instances: {}", array.name, left.join(", ")),
    )
    .hint("plan again, with the array: its instances come with it")
    .untouched())
}

fn name_of(what: &What) -> &str {
    match what {
        What::Server(server) => &server.name,
        What::Array(array) => &array.name,
        _ => "",
    }
}

fn state_word(word: &str) -> serde_json::Map<String, Json> {
    serde_json::Map::from_iter([("state".to_owned(), json!(word))])
}

/// How a machine comes back: a server is launched again, an array to the number that it had.
fn undo(deployment: &str, server: &Server, all: &[(usize, Server)]) -> String {
    let of = ["rs-server", "launch", "--deployment", deployment];
    let mut argv: Vec<String> = of.map(String::from).into();
    match &server.array {
        Some(array) => {
            let had = all.iter().filter(|(_, s)| s.array.as_ref() == Some(array)).count();
            argv.extend(["--to".into(), had.to_string(), "--".into(), array.clone()]);
        }
        None => argv.extend(["--".into(), server.name.clone()]),
    }
    rs_cli::shell_words(&argv)
}

fn settled_by(debts: &[Debt], name: &str) -> Vec<String> {
    debts.iter().filter(|debt| retire::ends_with(debt, name)).map(|debt| debt.key.clone()).collect()
}

fn deployment_inputs(cloud: &dyn Cloud, deployment: &str) -> rs_contract::Result<Json> {
    let all = cloud.deployments()?;
    Ok(json!(all.into_iter().find(|known| known.name == deployment).map(|known| known.inputs)))
}

/// The records as the world is now: a machine that is gone is gone, whether its definition is left or not.
fn show_now(
    cx: &Context,
    cloud: &dyn Cloud,
    deployment: &str,
    subjects: &mut Subjects,
) -> Result<()> {
    if cx.dry() {
        return Ok(());
    }
    cx.refresh(cloud, deployment, subjects)?;
    let left = cloud.servers(deployment)?;
    for item in &mut subjects.items {
        if let What::Server(server) = &mut item.what
            && !left.iter().any(|known| known.name == server.name)
        {
            server.state = rs_model::State::Terminated;
            server.current = None;
            server.address = None;
            item.record.refresh(&**server);
        }
    }
    Ok(())
}

/// Where a definition is archived: `archive/DEPLOYMENT/NAME`; a deployment itself has no name there.
pub fn archive_key(deployment: &str, name: &str) -> String {
    let plain = |text: &str| text.replace('%', "%25").replace('/', "%2F");
    format!("archive/{}/{}", plain(deployment), plain(name))
}

/// Keeps a definition with its inputs before its machine ends.
fn archive(
    state: &dyn State,
    deployment: &str,
    name: &str,
    mut what: Json,
) -> rs_contract::Result<()> {
    what["archived_at"] = json!(now());
    let put = vec![(archive_key(deployment, name), what)];
    state.commit(&Txn { put, ..Txn::default() })
}

/// Keeps a definition before it goes; the archive of its machine's end has more and stays, unless the definition was
/// changed since.
fn keep(state: &dyn State, deployment: &str, name: &str, what: Json) -> rs_contract::Result<()> {
    let definition = |of: &Json| {
        let of = if of["server"].is_null() { &of["array"] } else { &of["server"] };
        // where a server answers that we did not launch is part of its definition
        let address = if of["foreign"] == true { of["address"].clone() } else { Json::Null };
        (of["next"].clone(), of["template"].clone(), of["tags"].clone(), address)
    };
    match state.get(&archive_key(deployment, name))? {
        Some(entry) if definition(&entry.value) == definition(&what) => Ok(()),
        _ => archive(state, deployment, name, what),
    }
}
