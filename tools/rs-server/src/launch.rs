//! `launch` and `relaunch`: machines made, boots driven, until operational.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use rs_cli::{
    Changing, Context, Done, Exit, Journal, Select, Set, Step, Subject, Subjects, What, now,
};
use rs_contract::{Cloud, Error, Kind, Result};
use rs_drivers::levels::Book;
use rs_drivers::look::Look;
use rs_model::input::resolve;
use rs_model::retire::{EMPTY, World, not_anew};
use rs_model::{Array, Inputs, Level, Server, State, TemplateRef, Value};
use serde_json::{Map, Value as Json, json};

use crate::tend;

/// What to launch.
#[derive(clap::Args)]
pub struct Launch {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    set: Set,
    /// Also keep these values for later launches (Save and Launch)
    #[arg(long, requires = "set")]
    save: bool,
    #[command(flatten)]
    accept: Accept,
    /// How many operational instances an array shall have at least [default: its minimum]
    #[arg(long, value_name = "N")]
    to: Option<u32>,
    #[command(flatten)]
    changing: Changing,
}

/// What is accepted.
#[derive(clap::Args)]
struct Accept {
    /// A database whose machine is gone comes up empty although it is the master of its set, or was kept as a way back
    #[arg(long, value_name = "WHAT", value_parser = [EMPTY])]
    accept: Option<String>,
}

/// What to relaunch.
#[derive(clap::Args)]
pub struct Relaunch {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    accept: Accept,
    #[command(flatten)]
    changing: Changing,
}

/// The deployment and its servers, as the plan needs them.
struct Known<'a> {
    book: Book<'a>,
}

impl<'a> Known<'a> {
    fn read(cloud: &'a dyn Cloud, name: &str) -> Result<Known<'a>> {
        Ok(Known { book: Book::read(cloud, name)? })
    }

    /// What stands in the way of a launch, in words.
    fn in_the_way(
        &self,
        template: Option<&TemplateRef>,
        own: &Inputs,
        level: Level,
        launch: &Inputs,
    ) -> Result<Option<String>> {
        let Some(reference) = template else { return Ok(Some("it has no template".into())) };
        let template = self.book.template(reference)?;
        let found = resolve(Some(&template), &self.book.deployment.inputs, own, level, launch);
        let mut wrong = Vec::new();
        if !found.missing.is_empty() {
            wrong.push(format!("no value for {}", found.missing.join(", ")));
        }
        if !found.ambiguous.is_empty() {
            wrong.push(format!("scripts disagree about {}", found.ambiguous.join(", ")));
        }
        wrong.extend(found.outside.iter().map(ToString::to_string));
        // a boot or an end that stops for want of a secret would leave the server half way
        let scripts = template.boot.iter().chain(&template.decommission);
        let declared =
            scripts.filter_map(|s| template.script(&s.name)).flat_map(|s| s.inputs.keys());
        let mut secrets = BTreeSet::new();
        for resolved in declared.filter_map(|name| found.values.get(name)) {
            note_secrets(&resolved.value, &mut secrets);
        }
        for name in secrets {
            if let Err(e) = rs_drivers::credentials::credential(name) {
                wrong.push(match e.advice() {
                    Some(hint) => format!("{e} ({hint})"),
                    None => e.to_string(),
                });
            }
        }
        Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
    }

    /// Instances of an array: operational, coming, and stranded ones.
    fn instances(&self, array: &str) -> (u32, Vec<&Server>, Vec<&Server>) {
        let all = self.book.servers.iter().filter(|s| s.array.as_deref() == Some(array));
        let (mut operational, mut coming, mut stranded) = (0, Vec::new(), Vec::new());
        for server in all {
            match server.state {
                State::Operational => operational += 1,
                State::Pending | State::Booting => coming.push(server),
                _ => stranded.push(server),
            }
        }
        (operational, coming, stranded)
    }
}

/// Names of the secrets in a value.
fn note_secrets<'a>(value: &'a Value, names: &mut BTreeSet<&'a str>) {
    match value {
        Value::Cred(name) | Value::Key(name) => drop(names.insert(name)),
        Value::Array(items) => items.iter().for_each(|item| note_secrets(item, names)),
        _ => {}
    }
}

/// What a step does when it is needed.
#[derive(Clone)]
enum Todo {
    /// The server of that name.
    Server(String),
    /// Boots of that array's instances are finished, and so many new ones made.
    Array { name: String, finish: Vec<String>, make: u32 },
}

/// Makes the machines of all, then drives every boot. All machines come first, since boots may wait for the addresses
/// of one another. Of a database that has ended nothing is left: it is asked of it what is asked when it is made anew.
pub fn launch(launch: &Launch, cx: &Context) -> anyhow::Result<Exit> {
    let inputs = crate::inputs(&launch.set)?;
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, &launch.select, &launch.changing)?;
    if launch.to.is_some() && !subjects.is_empty() && subjects.arrays().next().is_none() {
        return Err(Error::new(Kind::Usage, "--to is for arrays, and none is among these")
            .hint("name an array, or leave --to out; nothing was launched")
            .into());
    }
    let known = Known::read(cloud, &deployment)?;
    let ended = |server: &Server| server.state == State::Terminated;
    let data =
        Data::look(cloud, world.state.as_ref(), &deployment, &subjects, &launch.accept, ended)?;
    let mut refused = Vec::new();
    let mut todo = BTreeMap::new();
    let mut steps = Vec::new();
    for (at, item) in subjects.items.iter().enumerate() {
        let planned = match &item.what {
            What::Server(server) => plan_server(server, &known, &inputs, item.record.planned())
                .and_then(|step| data.kept(cloud, &deployment, item).map(|()| step)),
            What::Array(array) => {
                plan_array(array, launch.to, &known, &inputs, item.record.planned(), cx)
            }
            // rs-clone deployment names it before its servers
            What::Deployment(_) if subjects.items.len() > 1 => continue,
            What::Deployment(_) => {
                Err(Error::new(Kind::Usage, format!("{} cannot be launched as such", item.title()))
                    .hint("name servers and arrays, or --all"))
            }
            What::Other => continue,
        };
        match planned {
            Ok((mut step, what)) => {
                step.at = at;
                if let Some(what) = what {
                    todo.insert(at, what);
                }
                steps.push(step);
            }
            Err(e) => refused.push(e),
        }
    }
    all_or_nothing(refused)?;
    let wanted = rs_contract::Launch { inputs, save: launch.save };
    let made: OnceLock<BTreeMap<usize, Made>> = OnceLock::new();
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let made = made.get_or_init(|| {
            let made = todo.iter();
            made.map(|(at, what)| (*at, make(cloud, &deployment, what, &wanted))).collect()
        });
        let (names, mut stopped) = made.get(&step.at).cloned().unwrap_or_default();
        let mut settled = Vec::new();
        // what was made is brought up as long as there is time, whatever became of the others
        for name in &names {
            let say = |text: &str| cx.say(text);
            if stopped.as_ref().is_some_and(|e| e.kind() == Kind::TimedOut) {
                break;
            }
            match cloud.settle(&deployment, name, cx.work(), &say) {
                Ok(server) => settled.push(server),
                Err(e) if stopped.is_some() => cx.warn(&e.to_string()),
                Err(e) => stopped = Some(e),
            }
        }
        if let Some(e) = stopped {
            return Err(if settled.is_empty() { e } else { partly(&e, &settled) });
        }
        let records: Vec<Json> = settled.iter().map(|s| shown(&deployment, s)).collect();
        Ok(match todo.get(&step.at) {
            Some(Todo::Array { .. }) => {
                Done::now(json!({ "launched": names })).nest("servers", records)
            }
            _ => Done::now(json!({
                "state": State::Operational.word(),
                "address": settled.first().and_then(|s| s.address),
            })),
        })
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// An instance as a record, nested under its array.
fn shown(deployment: &str, server: &Server) -> Json {
    let subject = Subject::server(deployment, server.clone());
    Json::Object(subject.record.body)
}

/// What has a machine now, and what stopped the making of more.
type Made = (Vec<String>, Option<Error>);

fn make(cloud: &dyn Cloud, deployment: &str, what: &Todo, launch: &rs_contract::Launch) -> Made {
    match what {
        Todo::Server(name) => match cloud.launch(deployment, name, launch) {
            Ok(server) => (vec![server.name], None),
            Err(e) => (Vec::new(), Some(e)),
        },
        Todo::Array { name, finish, make } => {
            let mut names = finish.clone();
            for _ in 0..*make {
                match cloud.launch_instance(deployment, name, launch) {
                    Ok(server) => names.push(server.name),
                    Err(e) => return (names, Some(e)),
                }
            }
            (names, None)
        }
    }
}

/// Why not all of an array came up, with those that did.
fn partly(e: &Error, settled: &[Server]) -> Error {
    let up: Vec<&str> = settled.iter().map(|server| server.name.as_str()).collect();
    let error = Error::new(Kind::Partial, format!("only {} came up: {e}", up.join(", ")));
    match e.advice() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Everything that was refused, at once; nothing has been done.
fn all_or_nothing(mut refused: Vec<Error>) -> Result<()> {
    match refused.len() {
        0 => Ok(()),
        1 => Err(refused.remove(0).untouched()),
        _ => {
            let first = refused.remove(0);
            let others: Vec<String> = refused.iter().map(ToString::to_string).collect();
            let what = format!("{first}; {}", others.join("; "));
            let error = Error::new(first.kind(), what).untouched();
            Err(match first.advice() {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

fn undo(deployment: &str, name: &str) -> String {
    let words = ["rs-cleanup", "plan", "--deployment", deployment, "--", name].map(str::to_owned);
    format!("{} > plan.json && rs-cleanup retire --plan plan.json", crate::typed(&words))
}

fn plan_server(
    server: &Server,
    known: &Known<'_>,
    inputs: &Inputs,
    planned: bool,
) -> Result<(Step, Option<Todo>)> {
    let name = &server.name;
    let before = json!({ "state": server.state.word() });
    if server.foreign {
        return Err(Error::new(
            Kind::Declined,
            format!("{name:?} was not launched by us: it cannot be launched"),
        )
        .hint("leave it out; start it where it lives"));
    }
    match server.state {
        State::Operational => {
            return Ok((Step { before, ..Step::default() }, None));
        }
        State::Inactive | State::Terminated if !planned => {
            let way =
                known.in_the_way(server.template.as_ref(), &server.next, Level::Server, inputs)?;
            if let Some(way) = way {
                return Err(cannot(name, &way));
            }
            known.book.isolated_server(server)?;
        }
        State::StrandedInBooting | State::StrandedInDecommissioning | State::Decommissioning => {
            return Err(Error::new(Kind::Declined, format!("{name:?} is {}", server.state.word()))
                .hint(format!("rs-server relaunch {name:?} ends it and makes it anew")));
        }
        _ => {}
    }
    let step = Step {
        needed: true,
        before,
        expect: json!({ "state": State::Operational.word() }),
        predict: Map::from_iter([("state".to_owned(), State::Operational.word().into())]),
        undo: Some(undo(&known.book.deployment.name, name)),
        ..Step::default()
    };
    Ok((step, Some(Todo::Server(name.clone()))))
}

fn cannot(name: &str, way: &str) -> Error {
    Error::new(Kind::Usage, format!("{name:?} cannot be launched: {way}"))
        .hint("rs-inputs set NAME=TYPE:VALUE there or on the deployment, and every secret where it is looked for; nothing was launched")
}

fn plan_array(
    array: &Array,
    to: Option<u32>,
    known: &Known<'_>,
    inputs: &Inputs,
    planned: bool,
    cx: &Context,
) -> Result<(Step, Option<Todo>)> {
    let name = &array.name;
    let to = to.unwrap_or(array.minimum);
    if to > array.maximum {
        return Err(Error::new(
            Kind::Usage,
            format!("array {name:?} has a maximum of {}, and {to} are wanted", array.maximum),
        )
        .hint("raise its maximum in the site file, then rs-server apply"));
    }
    let (operational, coming, stranded) = known.instances(name);
    if !stranded.is_empty() {
        let names: Vec<&str> = stranded.iter().map(|s| s.name.as_str()).collect();
        cx.warn(&format!("array {name:?} has instances that serve nobody: {}", names.join(", ")));
    }
    let before = json!({ "operational": operational });
    if operational >= to {
        return Ok((Step { before, ..Step::default() }, None));
    }
    let missing = to - operational;
    let finish: Vec<String> = coming
        .iter()
        .take(usize::try_from(missing).unwrap_or(usize::MAX))
        .map(|s| s.name.clone())
        .collect();
    let make = missing - u32::try_from(finish.len()).unwrap_or(missing);
    if make > 0 && !planned {
        let way = known.in_the_way(array.template.as_ref(), &array.next, Level::Array, inputs)?;
        if let Some(way) = way {
            return Err(cannot(name, &way));
        }
        known.book.isolated_array(array)?;
    }
    let step = Step {
        needed: true,
        before,
        expect: json!({ "operational": to }),
        predict: Map::from_iter([("operational".to_owned(), to.into())]),
        undo: Some(undo(&known.book.deployment.name, name)),
        ..Step::default()
    };
    Ok((step, Some(Todo::Array { name: name.clone(), finish, make })))
}

/// Ends the machines, then as `launch`. Nothing is ended when one of them is locked, holds what is in no other place, or
/// could not be launched again.
pub fn relaunch(relaunch: &Relaunch, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let (deployment, mut subjects) = cx.subjects(cloud, &relaunch.select, &relaunch.changing)?;
    let known = Known::read(cloud, &deployment)?;
    let mut refused = Vec::new();
    let mut steps = Vec::new();
    let all = |_: &Server| true;
    let data =
        Data::look(cloud, world.state.as_ref(), &deployment, &subjects, &relaunch.accept, all)?;
    for (at, item) in subjects.items.iter().enumerate() {
        if item.what == What::Other {
            continue;
        }
        let planned = plan_relaunch(item, &known)
            .and_then(|step| data.kept(cloud, &deployment, item).map(|()| step));
        match planned {
            Ok(step) => steps.push(Step { at, ..step }),
            Err(e) => refused.push(e),
        }
    }
    all_or_nothing(refused)?;
    let exit = work(cx, cloud, world.state.as_ref(), &deployment, &mut subjects, &steps)?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    cx.pass_on(&subjects, exit)
}

/// What the databases among the subjects hold, and what is owed of them.
struct Data {
    world: World,
    owed: BTreeSet<String>,
    ending: BTreeSet<String>,
    empty: bool,
}

impl Data {
    fn look(
        cloud: &dyn Cloud,
        state: &dyn rs_contract::State,
        deployment: &str,
        subjects: &Subjects,
        accept: &Accept,
        made_anew: impl Fn(&Server) -> bool,
    ) -> Result<Data> {
        let empty = accept.accept.is_some();
        let of = subjects.items.iter().filter(|item| !item.record.planned());
        let servers = of.filter_map(Subject::as_server).filter(|server| made_anew(server));
        let servers: Vec<&Server> =
            servers.filter(|server| server.set_or_fenced().is_some()).collect();
        let ending: BTreeSet<String> = servers.iter().map(|s| s.name.clone()).collect();
        if servers.is_empty() {
            return Ok(Data { world: World::default(), owed: BTreeSet::new(), ending, empty });
        }
        let debts = Journal::new(state).debts(deployment)?;
        // of one without a machine nothing can be asked
        let world = if servers.iter().any(|server| server.state.is_up()) {
            let look = Look::new(cloud, deployment)?;
            look.evidence(&|server| ending.contains(&server.name), &debts, &now())
        } else {
            World::default()
        };
        // a promotion of one server owes another
        let kept = |key: &str| {
            key.strip_prefix("held:").or(key.strip_prefix("fenced:")).map(str::to_owned)
        };
        let owed = debts.iter().filter_map(|debt| kept(&debt.key)).collect();
        Ok(Data { world, owed, ending, empty })
    }

    /// Declines for a database whose data would end with its machine.
    fn kept(&self, cloud: &dyn Cloud, deployment: &str, item: &Subject) -> Result<()> {
        let Some(server) = item.as_server().filter(|s| self.ending.contains(&s.name)) else {
            return Ok(());
        };
        let gone = !server.state.is_up() || tend::is_lost(cloud, server)?;
        let ending = self.ending.iter().map(String::as_str).collect();
        let owed = self.owed.contains(&server.name);
        let reasons = not_anew(server, &self.world, &ending, gone, owed, self.empty);
        if reasons.is_empty() {
            return Ok(());
        }
        let what = format!("{:?} is not made anew: {}", server.name, reasons.join("; "));
        let hint = match gone {
            true => "the data that it had: rs-snapshot list".to_owned(),
            false => format!(
                "its data would be lost; what may be accepted is accepted by its name where a machine ends: {}; then \
                 launch it",
                undo(deployment, &server.name)
            ),
        };
        Err(Error::new(Kind::Declined, what).hint(hint))
    }
}

fn work(
    cx: &Context,
    cloud: &dyn Cloud,
    state: &dyn rs_contract::State,
    deployment: &str,
    subjects: &mut Subjects,
    steps: &[Step],
) -> anyhow::Result<Exit> {
    let names: BTreeMap<usize, String> =
        subjects.items.iter().enumerate().map(|(at, item)| (at, item.name().to_owned())).collect();
    cx.each(state, deployment, subjects, steps, |step| {
        let name = names.get(&step.at).map(String::as_str).unwrap_or_default();
        let say = |text: &str| cx.say(text);
        cloud.terminate(deployment, name, cx.work(), &say)?;
        cloud.launch(deployment, name, &rs_contract::Launch::default())?;
        let server = cloud.settle(deployment, name, cx.work(), &say)?;
        Ok(Done::now(json!({
            "state": server.state.word(),
            "address": server.address,
            "instance": server.current.as_ref().map(|current| current.id.as_str()),
        })))
    })
}

fn plan_relaunch(item: &Subject, known: &Known<'_>) -> Result<Step> {
    let What::Server(server) = &item.what else {
        return Err(Error::new(Kind::Usage, format!("{} cannot be relaunched", item.title()))
            .hint("only servers are; an array's instances are ended, and others launched"));
    };
    let name = &server.name;
    let declined =
        |what: String, hint: &str| Err(Error::new(Kind::Declined, what).hint(hint.to_owned()));
    if server.locked {
        return declined(
            format!("{name:?} is locked"),
            &format!(
                "if it may go: {}",
                crate::typed(&crate::command(&known.book.deployment.name, &["unlock"], name))
            ),
        );
    }
    if server.foreign {
        return declined(
            format!("{name:?} was not launched by us: it cannot be relaunched"),
            "restart it where it lives",
        );
    }
    if let Some(array) = &server.array {
        return declined(
            format!("{name:?} is an instance of {array:?}: instances are not relaunched"),
            "rs-cleanup retire ends it, rs-server launch ARRAY --to N makes another",
        );
    }
    if !item.record.planned() {
        let none = Inputs::new();
        let way = known.in_the_way(server.template.as_ref(), &server.next, Level::Server, &none)?;
        if let Some(way) = way {
            return Err(cannot(name, &way));
        }
    }
    let current = server.current.as_ref();
    Ok(Step {
        needed: true,
        before: json!({
            "state": server.state.word(),
            "address": server.address,
            "instance": current.map(|current| current.id.as_str()),
        }),
        expect: json!({ "state": State::Operational.word() }),
        predict: Map::from_iter([("state".to_owned(), State::Operational.word().into())]),
        undo: None,
        ..Step::default()
    })
}
