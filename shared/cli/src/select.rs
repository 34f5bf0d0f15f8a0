//! Subjects: from names and selectors, or from records on stdin.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Read};

use rs_contract::{Cloud, Error, Kind, Result};
use rs_model::server::ROLES;
use rs_model::{Array, Deployment, Server, State};
use rs_records::Record;

use crate::{Context, Select};

/// What a subject is.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A server.
    Server(Box<Server>),
    /// An array.
    Array(Box<Array>),
    /// A deployment.
    Deployment(Box<Deployment>),
    /// Not ours to act on: passes through.
    Other,
}

/// One line that comes in and goes out again.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The record, as it came.
    pub record: Record,
    /// What it is.
    pub what: What,
}

impl Subject {
    /// A server as a subject.
    pub fn server(deployment: &str, server: Server) -> Subject {
        let mut record = Record::of(&server);
        record.nest("deployment", deployment);
        Subject { record, what: What::Server(Box::new(server)) }
    }

    /// An array as a subject.
    pub fn array(deployment: &str, array: Array) -> Subject {
        let mut record = Record::of(&array);
        record.nest("deployment", deployment);
        Subject { record, what: What::Array(Box::new(array)) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.record.name()
    }

    /// As the journal and messages call it, e.g. `server App Server-3`.
    pub fn title(&self) -> String {
        let kind = match &self.what {
            What::Server(_) => "server",
            What::Array(_) => "array",
            What::Deployment(_) => "deployment",
            What::Other => "record",
        };
        format!("{kind} {}", self.name())
    }

    /// The server, if it is one.
    pub fn as_server(&self) -> Option<&Server> {
        match &self.what {
            What::Server(server) => Some(server),
            _ => None,
        }
    }

    /// The array, if it is one.
    pub fn as_array(&self) -> Option<&Array> {
        match &self.what {
            What::Array(array) => Some(array),
            _ => None,
        }
    }
}

/// The subjects of a call, in order, with the records that pass through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subjects {
    /// In the order in which they came or were found.
    pub items: Vec<Subject>,
}

impl Subjects {
    /// The servers, in order.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.items.iter().filter_map(Subject::as_server)
    }

    /// The arrays, in order.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.items.iter().filter_map(Subject::as_array)
    }

    /// The database servers, each with its place among the subjects. What is none is refused by name, and with it all.
    pub fn databases(&self) -> Result<Vec<(usize, &Server)>> {
        let mut found = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            match &item.what {
                What::Server(server) => {
                    server.in_set()?;
                    found.push((at, server.as_ref()));
                }
                What::Other => {}
                _ => {
                    return Err(Error::new(
                        Kind::Usage,
                        format!("{} is no database server", item.title()),
                    )
                    .hint("name database servers, or --role master, --role slave"));
                }
            }
        }
        Ok(found)
    }

    /// Refuses one that is there twice: it would be acted on twice, and side by side.
    pub fn once(&self, how: &str) -> Result<()> {
        let mut seen = BTreeSet::new();
        let subjects = self.items.iter().filter(|item| item.what != What::Other);
        match subjects.map(Subject::title).find(|title| !seen.insert(title.clone())) {
            None => Ok(()),
            Some(title) => Err(Error::new(Kind::Usage, format!("{title} {how} twice"))
                .hint("each subject once; nothing has been done")),
        }
    }

    /// Whether nothing here can be acted on.
    pub fn is_empty(&self) -> bool {
        self.items.iter().all(|item| item.what == What::Other)
    }
}

/// Finds what the selectors name. Nothing found is [`Kind::NotFound`].
pub fn find(
    cloud: &dyn Cloud,
    deployment: &str,
    run: Option<&str>,
    select: &Select,
) -> Result<Subjects> {
    check(select)?;
    let servers = cloud.servers(deployment)?;
    let arrays = cloud.arrays(deployment)?;
    if let Some(array) = &select.array
        && !arrays.iter().any(|known| known.name == *array)
    {
        let names: Vec<String> = arrays.iter().map(|a| format!("{:?}", a.name)).collect();
        return Err(Error::new(
            Kind::NotFound,
            format!("no array of {deployment:?} is called {array:?}"),
        )
        .hint(if names.is_empty() {
            "it has no arrays".into()
        } else {
            format!("its arrays: {}", names.join(", "))
        }));
    }
    let mut items = Vec::new();
    for (at, name) in select.names.iter().enumerate() {
        let server = servers
            .iter()
            .filter(|s| s.name == *name)
            .map(|s| Subject::server(deployment, s.clone()));
        let array = arrays
            .iter()
            .filter(|a| a.name == *name)
            .map(|a| Subject::array(deployment, a.clone()));
        let mut found: Vec<Subject> = server.chain(array).collect();
        match found.len() {
            1 => items.append(&mut found),
            0 => {
                let error = not_there(name, deployment, &servers, &arrays);
                return Err(match torn(&select.names, at, &servers, &arrays) {
                    Some(whole) => error.hint(format!("quote a name with blanks: {whole:?}")),
                    None => error,
                });
            }
            _ => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{name:?} is both a server and an array of {deployment:?}"),
                )
                .hint("use --role array or --array to say which"));
            }
        }
    }
    if select.names.is_empty() {
        items.extend(servers.into_iter().map(|s| Subject::server(deployment, s)));
        items.extend(arrays.into_iter().map(|a| Subject::array(deployment, a)));
    }
    items.retain(|item| fits(item, run, select));
    if select.first {
        items.truncate(1);
    }
    if items.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            format!("nothing in {deployment:?} fits the selection"),
        )
        .hint("rs-server list --all shows what is there"));
    }
    let subjects = Subjects { items };
    subjects.once("is named")?;
    Ok(subjects)
}

fn check(select: &Select) -> Result<()> {
    if let Some(pool) = &select.pool {
        rs_model::name::pool(pool)?;
    }
    for role in &select.role {
        if !["server", "array"].contains(&role.as_str()) && !ROLES.contains(&role.as_str()) {
            return Err(Error::new(Kind::Usage, format!("no role is called {role:?}"))
                .hint(format!("roles: {}, server, array", ROLES.join(", "))));
        }
    }
    for part in select.part.iter().chain(&select.not_part) {
        if !["old", "new", "warm", "temp", "none"].contains(&part.as_str()) {
            return Err(Error::new(Kind::Usage, format!("no part is called {part:?}"))
                .hint("parts: old, new, warm, temp, none"));
        }
    }
    for state in &select.state {
        if serde_json::from_value::<State>(state.as_str().into()).is_err() {
            return Err(Error::new(Kind::Usage, format!("no state is called {state:?}"))
                .hint("e.g. operational, inactive, booting, stranded-in-booting"));
        }
    }
    Ok(())
}

fn fits(item: &Subject, run: Option<&str>, select: &Select) -> bool {
    let tags = match &item.what {
        What::Server(server) => &server.tags,
        What::Array(array) => &array.tags,
        _ => return false,
    };
    let part = run.and_then(|run| match &item.what {
        What::Server(server) => server.part(run),
        What::Array(array) => array.part(run),
        _ => None,
    });
    let part = part.unwrap_or("none");
    let has_tag = |wanted: &String| match wanted.strip_suffix('*') {
        Some(prefix) => tags.iter().any(|tag| tag.starts_with(prefix)),
        None => tags.contains(wanted),
    };
    let server = item.as_server();
    (select.role.is_empty()
        || select.role.iter().any(|role| match server {
            Some(server) => role == "server" || server.has_role(role),
            None => role == "array",
        }))
        && (select.part.is_empty() || select.part.iter().any(|wanted| wanted == part))
        && !select.not_part.iter().any(|wanted| wanted == part)
        && select.pool.as_ref().is_none_or(|pool| {
            server.is_some()
                && tags.iter().any(|tag| tag.ends_with(&format!(":active_{pool}=true")))
        })
        && select
            .array
            .as_ref()
            .is_none_or(|array| server.is_some_and(|s| s.array.as_ref() == Some(array)))
        && (select.state.is_empty()
            || server.is_some_and(|s| select.state.iter().any(|wanted| wanted == s.state.word())))
        && select.tag.iter().all(has_tag)
}

fn not_there(name: &str, deployment: &str, servers: &[Server], arrays: &[Array]) -> Error {
    let known = || servers.iter().map(|s| s.name.as_str()).chain(arrays.iter().map(|a| &*a.name));
    let hint = rs_model::name::did_you_mean(name, known());
    Error::new(Kind::NotFound, format!("no server or array of {deployment:?} is called {name:?}"))
        .hint(hint.unwrap_or_else(|| "rs-server list --all shows the names".into()))
}

/// A name with blanks that a shell took apart: the words together are one that is there.
fn torn(names: &[String], at: usize, servers: &[Server], arrays: &[Array]) -> Option<String> {
    let known = || servers.iter().map(|s| &s.name).chain(arrays.iter().map(|a| &a.name));
    (0..=at)
        .flat_map(|from| (from + 2..=names.len()).map(move |to| (from, to)))
        .filter(|(_, to)| *to > at)
        .filter_map(|(from, to)| names.get(from..to))
        .map(|words| words.join(" "))
        .find(|joined| known().any(|name| name == joined))
}

/// Takes deployments as there that a dry run upstream made.
fn assume(cloud: &dyn Cloud, records: &[Record]) -> Result<()> {
    let planned = || records.iter().filter(|record| record.planned());
    let of = |record: &Record| Some(record.body.get("deployment")?.as_str()?.to_owned());
    let mut assumed: Vec<Deployment> = planned()
        .filter(|record| record.is::<Deployment>())
        .map(|record| Ok(record.decode()?))
        .collect::<Result<_>>()?;
    // a filter in the pipe may have left the deployment's own record out
    for name in planned().filter_map(of) {
        if !assumed.iter().any(|known| known.name == name) {
            assumed.push(Deployment { name, ..Deployment::default() });
        }
    }
    if !assumed.is_empty() {
        cloud.assume(&assumed);
    }
    Ok(())
}

/// Reads the subjects from stdin, all of it, and resolves them against the world: what is planned by a dry run
/// upstream is taken as given, everything else as it is now.
pub fn from_stdin(
    cx: &Context,
    cloud: &dyn Cloud,
    deployment: Option<&str>,
    allow_none: bool,
) -> Result<Subjects> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Error::new(Kind::Usage, "neither names, nor selectors, nor records on stdin")
            .hint(format!("{} {} --help shows examples", cx.tool, cx.verb)));
    }
    let mut bytes = Vec::new();
    cx.limit
        .reading(|| stdin.read_to_end(&mut bytes))
        .map_err(|e| Error::new(Kind::Usage, "stdin cannot be read").because(e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::new(Kind::Usage, format!("line {line} of stdin is no text: it is not UTF-8"))
            .hint("records, as our tools write them: docs/RECORDS.md")
    })?;
    let records = rs_records::parse_all(&text, Some("stdin"))?;
    if records.is_empty() && !allow_none {
        let none = if cx.takes_allow_none() { "; --allow-none if nothing is fine" } else { "" };
        return Err(Error::new(
            Kind::Usage,
            "nothing came in: nothing is named, and the command before it found nothing or failed",
        )
        .hint(format!("name what is meant, or look at the message of that command{none}")));
    }
    for record in &records {
        if let Some(why) = record.failed() {
            return Err(Error::new(
                Kind::Usage,
                format!("{:?} comes in as failed: {why}", record.name()),
            )
            .hint("put that right first, or leave it out of the stream; nothing has been done"));
        }
    }
    if cx.changes()
        && !cx.dry()
        && let Some(record) = records.iter().find(|record| record.planned())
    {
        return Err(Error::new(
            Kind::Usage,
            format!(
                "{:?} comes from a dry run: its record says what is planned, not what is",
                record.name()
            ),
        )
        .hint("--dry-run here too, or the command before without it; nothing has been done"));
    }
    assume(cloud, &records)?;
    let mut items = Vec::new();
    let mut known: Option<(String, Vec<Server>, Vec<Array>)> = None;
    for record in records {
        let of = record
            .body
            .get("deployment")
            .and_then(|d| d.as_str())
            .or(deployment)
            .map(str::to_owned);
        let what = if record.is::<Server>() || record.is::<Array>() {
            let of = of.ok_or_else(|| {
                Error::new(Kind::Usage, format!("{:?} says no deployment", record.name()))
                    .hint("give --deployment")
            })?;
            if known.as_ref().is_none_or(|(name, _, _)| *name != of) {
                known = Some((of.clone(), cloud.servers(&of)?, cloud.arrays(&of)?));
            }
            let (_, servers, arrays) =
                known.as_ref().ok_or_else(|| Error::new(Kind::Failed, "no deployment"))?;
            if record.is::<Server>() {
                let now = servers.iter().find(|s| s.name == record.name()).cloned();
                match now {
                    Some(now) if !record.planned() => What::Server(Box::new(now)),
                    _ if record.planned() => What::Server(Box::new(record.decode()?)),
                    _ => return Err(not_there(record.name(), &of, servers, arrays)),
                }
            } else {
                let now = arrays.iter().find(|a| a.name == record.name()).cloned();
                match now {
                    Some(now) if !record.planned() => What::Array(Box::new(now)),
                    _ if record.planned() => What::Array(Box::new(record.decode()?)),
                    _ => return Err(not_there(record.name(), &of, servers, arrays)),
                }
            }
        } else if record.is::<Deployment>() {
            What::Deployment(Box::new(record.decode()?))
        } else {
            What::Other
        };
        items.push(Subject { record, what });
    }
    let subjects = Subjects { items };
    subjects.once("comes in")?;
    Ok(subjects)
}
