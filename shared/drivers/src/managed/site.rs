//! Site files: a deployment as a person writes it, in the style of ServerTemplate files. docs/SITE.md has every key.
//!
//! `parse` reads, `plan` compares with the world, `carry_out` does one step of the plan, `print` writes the file
//! that brings nothing new. A site file creates and changes; it deletes nothing, and names what it lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rs_contract::{Error, Kind, Result};
use rs_model::{Array, Deployment, Inputs, Server, TemplateRef, Value, name};
use serde_json::{Map, Value as Json};

use super::templates::{self, Loaded};
use super::yaml::{self, Faults, Fields, Key, Node, NodeKind, Source};

pub use super::site_plan::{Act, Lack, Plan, Planned, apply, carry_out, plan};
pub use super::site_print::print;

/// Field of a deployment (in its `later`) that says where its servers are launched, as the file has it:
/// `{"Local": {"Root": …, "Addresses": …, "Path": …, "User": …}}`, scalars as text.
pub const MACHINES: &str = "machines";
/// Field of a deployment (in its `later`) with its description.
pub const DESCRIPTION: &str = "description";

/// A site file, read and checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// Name, inputs, and what stands under [`MACHINES`] and [`DESCRIPTION`]. An input may be [`Value::Inherit`]:
    /// it is then removed.
    pub deployment: Deployment,
    /// The template files that it names, loaded with their scripts, each once.
    pub templates: Vec<Loaded>,
    /// Its servers in the order of the file.
    pub servers: Vec<SiteServer>,
    /// Its arrays in the order of the file.
    pub arrays: Vec<SiteArray>,
    /// The file, and the line of each `Template` in it: which there are only the world says.
    pub(super) source: Source,
    pub(super) template_lines: Vec<(TemplateRef, usize)>,
    /// The line of each input, by whose it is (nobody's name: the deployment's) and its own name.
    pub(super) input_lines: BTreeMap<(String, String), usize>,
}

/// A server of a site file. A template without revision means the newest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteServer {
    /// Name, template or address, inputs, tags.
    pub server: Server,
    /// Absent: left as it is.
    pub locked: Option<bool>,
}

/// An array of a site file. Absent numbers are left as they are (a new array: 0, 1, disabled).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteArray {
    /// Name, template, inputs, tags.
    pub array: Array,
    /// Kept at its minimum.
    pub enabled: Option<bool>,
    /// Fewest operational instances.
    pub minimum: Option<u32>,
    /// Most instances.
    pub maximum: Option<u32>,
}

impl Site {
    /// What a person should hear about it: scripts that were not found, inputs that no script declares.
    pub fn notes(&self) -> Vec<String> {
        self.templates.iter().flat_map(|loaded| loaded.notes.clone()).collect()
    }
}

/// Reads a site file and the template files that it names (paths relative to the file).
///
/// - `script_path`: further folders in which templates' scripts are looked for by name.
///
/// Everything that is wrong is one [`Kind::Usage`] with file, line and key of each.
pub fn parse(file: &Path, script_path: &[PathBuf]) -> Result<Site> {
    let bytes = std::fs::read(file).map_err(|e| {
        Error::new(Kind::Usage, format!("the site file {} cannot be read", file.display()))
            .because(e)
            .hint("name a deployment's file; rs-server list --as-file prints one")
    })?;
    let at = Source::file(file.display().to_string());
    let text = yaml::decode(&bytes, &at)?;
    let node = yaml::only_document(&text, &at)?
        .ok_or_else(|| at.fault(1, "is empty", "write at least: Deployment: NAME"))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut faults = Faults::default();
    let mut reading = Reading {
        at: &at,
        folder,
        script_path,
        files: BTreeMap::new(),
        broken: Vec::new(),
        template_lines: Vec::new(),
        input_lines: BTreeMap::new(),
    };
    let mut site = reading.site(&node, &mut faults);
    site.template_lines = std::mem::take(&mut reading.template_lines);
    site.input_lines = std::mem::take(&mut reading.input_lines);
    site.source = at.clone();
    if faults.0.is_empty()
        && let Some(error) = reading.broken.into_iter().next()
    {
        return Err(error);
    }
    faults.check()?;
    Ok(site)
}

struct Reading<'a> {
    at: &'a Source,
    folder: &'a Path,
    script_path: &'a [PathBuf],
    /// Template files that were read, by path, with the name of each; `None`: broken.
    files: BTreeMap<PathBuf, Option<String>>,
    broken: Vec<Error>,
    template_lines: Vec<(TemplateRef, usize)>,
    input_lines: BTreeMap<(String, String), usize>,
}

impl Reading<'_> {
    fn site(&mut self, node: &Node, faults: &mut Faults) -> Site {
        const KEYS: &[&str] =
            &["Deployment", "Description", "Inputs", "Machines", "Templates", "Servers", "Arrays"];
        let at = self.at;
        let fields = Fields::of(node, at, "the site", KEYS, faults);
        let mut site = Site::default();
        site.deployment.name = fields.text("Deployment", faults).unwrap_or_default();
        let line = fields.node("Deployment").map_or(node.line, |node| node.line);
        if site.deployment.name.is_empty() {
            faults.add(at, line, "\"Deployment\" is missing", "write Deployment: NAME");
        } else if let Err(bad) = name::object("deployment", &site.deployment.name) {
            faults.add(at, line, &bad.what, bad.hint);
        }
        if let Some(text) = fields.text("Description", faults) {
            site.deployment.later.insert(DESCRIPTION.into(), text.into());
        }
        if let Some(machines) = self.machines(fields.node("Machines"), faults) {
            site.deployment.later.insert(MACHINES.into(), machines);
        }
        site.deployment.inputs = self.inputs("", &fields, faults);
        for (path, line) in fields.texts("Templates", faults) {
            self.file(&path, line, &mut site.templates, faults);
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for node in fields.list("Servers", faults) {
            let server = self.server(node, &mut site.templates, faults);
            self.unique(&server.server.name, node.line, &mut names, faults);
            site.servers.push(server);
        }
        for node in fields.list("Arrays", faults) {
            let array = self.array(node, &mut site.templates, faults);
            self.unique(&array.array.name, node.line, &mut names, faults);
            site.arrays.push(array);
        }
        site
    }

    fn unique(
        &self,
        name: &str,
        line: usize,
        names: &mut BTreeMap<String, usize>,
        faults: &mut Faults,
    ) {
        if let Some(first) = names.insert(name.to_owned(), line)
            && !name.is_empty()
        {
            let what = format!("two are called {name:?} (the first at {})", self.at.place(first));
            faults.add(self.at, line, &what, "servers and arrays need names of their own");
        }
    }

    fn machines(&self, node: Option<&Node>, faults: &mut Faults) -> Option<Json> {
        let node = node.filter(|node| !node.is_null())?;
        let kinds: Vec<&str> = crate::MACHINES.iter().map(|(kind, _)| *kind).collect();
        let entry = match &node.kind {
            NodeKind::Map(map) if map.len() == 1 => map.first(),
            _ => None,
        };
        let Some((kind, body)) = entry else {
            let hint = format!("write one of {} with its keys below it", kinds.join(", "));
            faults.add(self.at, node.line, &format!("\"Machines\" is {}", node.is()), hint);
            return None;
        };
        if !kinds.contains(&kind.text.as_str()) {
            let what = format!("\"Machines\" has no kind {:?}", kind.text);
            faults.add(self.at, kind.line, &what, format!("known: {}", kinds.join(", ")));
            return None;
        }
        // what each value may be is the driver's; which keys there are is checked here, where the line is known
        const LOCAL: &[&str] = &["Root", "Addresses", "Path", "User"];
        let what = format!("Machines {}", kind.text);
        let fields = Fields::of(body, self.at, &what, LOCAL, faults);
        let mut found = Map::new();
        for key in LOCAL {
            let Some(node) = fields.node(key).filter(|node| !node.is_null()) else { continue };
            let value = match &node.kind {
                NodeKind::Scalar { text, .. } if *key == "Root" => self.absolute(text).into(),
                NodeKind::Scalar { text, .. } => Json::from(text.clone()),
                _ => {
                    fields.wants(node, key, "a text", faults);
                    continue;
                }
            };
            found.insert((*key).to_owned(), value);
        }
        // each key by itself: one that is wrong or missing hides no other
        let mut probe = found.clone();
        let fits = [("Root", "/"), ("Addresses", "127.0.0.0/24")];
        for (key, fit) in fits {
            if !found.contains_key(key) {
                let what = format!("{key:?} of {what} is missing");
                faults.add(self.at, kind.line, &what, format!("write {key}: under {}", kind.text));
                probe.insert(key.to_owned(), fit.into());
            }
        }
        let open = crate::MACHINES.iter().find(|(known, _)| *known == kind.text);
        while let Some(Err(e)) = open.map(|(_, open)| open(&Json::from(probe.clone()))) {
            let node = e.key().and_then(|key| fields.node(key));
            let line = node.map_or(kind.line, |node| node.line);
            faults.add(self.at, line, e.what(), e.advice().unwrap_or_default());
            let Some(key) = e.key().filter(|key| probe.contains_key(*key)) else { break };
            match fits.iter().find(|(known, _)| *known == key) {
                Some((_, fit)) => probe.insert(key.to_owned(), (*fit).into()),
                None => probe.remove(key),
            };
        }
        Some(Json::from(Map::from_iter([(kind.text.clone(), Json::from(found))])))
    }

    /// A path of the file as an absolute one: the control plane has no folder of its own.
    fn absolute(&self, path: &str) -> String {
        let path = self.folder.join(path);
        std::path::absolute(&path).unwrap_or(path).display().to_string()
    }

    fn inputs(&mut self, of: &str, fields: &Fields<'_>, faults: &mut Faults) -> Inputs {
        let mut found = Inputs::new();
        for (key, node) in fields.map("Inputs", faults) {
            // what must not get a value may lose the one that it has
            let removes = node.text() == Some("inherit");
            let checked = if removes { name::input_word } else { name::input }(&key.text);
            if let Err(bad) = checked {
                faults.add(self.at, key.line, &bad.what, bad.hint);
                continue;
            }
            if let Some(value) = self.value(key, node, faults) {
                self.input_lines.insert((of.to_owned(), key.text.clone()), key.line);
                found.insert(key.text.clone(), value);
            }
        }
        found
    }

    fn value(&self, key: &Key, node: &Node, faults: &mut Faults) -> Option<Value> {
        if node.text() == Some("inherit") {
            return Some(Value::Inherit);
        }
        super::metadata::value(node, &format!("the input {}", key.text), self.at, faults)
    }

    /// What servers and arrays have in common.
    fn member(
        &mut self,
        kind: &str,
        fields: &Fields<'_>,
        line: usize,
        loaded: &mut Vec<Loaded>,
        faults: &mut Faults,
    ) -> (String, Option<TemplateRef>, Inputs, BTreeSet<String>) {
        let called = fields.text("Name", faults).unwrap_or_default();
        if called.is_empty() {
            faults.add(self.at, line, &format!("the {kind} has no \"Name\""), "write Name: NAME");
        } else if let Err(bad) = name::object(kind, &called) {
            faults.add(self.at, line, &bad.what, bad.hint);
        }
        let template = fields.text("Template", faults).and_then(|written| {
            let line = fields.node("Template").map_or(line, |node| node.line);
            let found = self.reference(&written, line, loaded, faults);
            self.template_lines.extend(found.clone().map(|found| (found, line)));
            found
        });
        let mut tags = BTreeSet::new();
        for (tag, line) in fields.texts("Tags", faults) {
            if let Err(bad) = name::tag(&tag) {
                faults.add(self.at, line, &format!("\"Tags\": {}", bad.what), bad.hint);
            }
            if !tags.insert(tag.clone()) {
                faults.add(
                    self.at,
                    line,
                    &format!("the tag {tag:?} stands twice"),
                    "write it once",
                );
            }
        }
        if let Some(set) = rs_model::server::both_roles(&tags) {
            let line = fields.node("Tags").map_or(line, |node| node.line);
            let what = format!(
                "{called:?} has both database:master_active={set} and database:slave_active={set}"
            );
            faults.add(self.at, line, &what, "a server is master or slave of a set: write one");
        }
        let inputs = self.inputs(&called, fields, faults);
        (called, template, inputs, tags)
    }

    fn server(&mut self, node: &Node, loaded: &mut Vec<Loaded>, faults: &mut Faults) -> SiteServer {
        const KEYS: &[&str] = &["Name", "Template", "Address", "Inputs", "Tags", "Locked"];
        let fields = Fields::of(node, self.at, "the server", KEYS, faults);
        let (name, template, next, tags) =
            self.member("server", &fields, node.line, loaded, faults);
        let address = fields.text("Address", faults).and_then(|text| {
            let found = text.parse::<IpAddr>();
            if found.is_err() {
                let line = fields.node("Address").map_or(node.line, |node| node.line);
                let what = format!("\"Address\" of {name:?} is {text:?}");
                faults.add(self.at, line, &what, "write an IP address, e.g. 10.0.0.7");
            }
            found.ok()
        });
        if fields.node("Template").is_some() == fields.node("Address").is_some() {
            let what = format!("the server {name:?} needs either \"Template\" or \"Address\"");
            let hint = "Template for one that is launched, Address for one that runs already";
            faults.add(self.at, node.line, &what, hint);
        }
        let foreign = address.is_some();
        let server = Server { name, template, next, tags, address, foreign, ..Server::default() };
        SiteServer { server, locked: fields.boolean("Locked", faults) }
    }

    fn array(&mut self, node: &Node, loaded: &mut Vec<Loaded>, faults: &mut Faults) -> SiteArray {
        const KEYS: &[&str] =
            &["Name", "Template", "Minimum", "Maximum", "Enabled", "Inputs", "Tags"];
        let fields = Fields::of(node, self.at, "the array", KEYS, faults);
        let (name, template, next, tags) = self.member("array", &fields, node.line, loaded, faults);
        if fields.node("Template").is_none() {
            let what = format!("the array {name:?} has no \"Template\"");
            faults.add(self.at, node.line, &what, "write Template: NAME or PATH");
        }
        let minimum = fields.number("Minimum", faults);
        let maximum = fields.number("Maximum", faults);
        if let (Some(minimum), Some(maximum)) = (minimum, maximum)
            && minimum > maximum
        {
            let what = format!("\"Minimum\" of {name:?} is {minimum}, \"Maximum\" is {maximum}");
            faults.add(self.at, node.line, &what, "the minimum is at most the maximum");
        }
        let array = Array { name, template, next, tags, ..Array::default() };
        SiteArray { array, enabled: fields.boolean("Enabled", faults), minimum, maximum }
    }

    /// `NAME`, `NAME@REV`, `PATH` or `PATH@REV`: a path ends in `.yml` or `.yaml`.
    fn reference(
        &mut self,
        written: &str,
        line: usize,
        loaded: &mut Vec<Loaded>,
        faults: &mut Faults,
    ) -> Option<TemplateRef> {
        let found = match TemplateRef::parse(written) {
            Ok(found) => found,
            Err(bad) => {
                faults.add(self.at, line, &bad.what, bad.hint);
                return None;
            }
        };
        let lower = found.name.to_lowercase();
        if lower.ends_with(".yml") || lower.ends_with(".yaml") {
            let name = self.file(&found.name, line, loaded, faults)?;
            return Some(TemplateRef { name, revision: found.revision });
        }
        Some(found)
    }

    /// Loads a template file once; its template's name.
    fn file(
        &mut self,
        path: &str,
        line: usize,
        loaded: &mut Vec<Loaded>,
        faults: &mut Faults,
    ) -> Option<String> {
        let file = self.folder.join(path);
        let one = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
        if let Some(known) = self.files.get(&one) {
            return known.clone();
        }
        let found = match templates::load(&file, self.script_path) {
            Ok(found) => found,
            Err(e) => {
                self.files.insert(one, None);
                if !file.is_file() {
                    let what = format!("the template file {} is not there", file.display());
                    let hint = "write its path relative to the site file";
                    faults.add(self.at, line, &what, hint);
                } else {
                    self.broken.push(e);
                }
                return None;
            }
        };
        let name = found.template.name.clone();
        if loaded.iter().any(|there| there.template.name == name) {
            let what = format!("two template files are called {name:?}");
            faults.add(self.at, line, &what, "give each template its own Name");
        }
        self.files.insert(one, Some(name.clone()));
        loaded.push(found);
        Some(name)
    }
}
