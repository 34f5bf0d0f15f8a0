//! ServerTemplate files in right_st's YAML, with their scripts and the metadata comments in them.
//!
//! Strict: what is not understood is refused with file, line, key and what to write instead, all of it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use rs_contract::{Error, Kind, Result};
use rs_model::possible::outside;
use rs_model::{Script, ScriptRef, Template, name};
use sha2::{Digest, Sha256};

use super::metadata;
use super::yaml::{self, Faults, Fields, Node, NodeKind, Source};
use super::{alerts, images};

/// The largest script or attachment that is read, bytes.
const LARGEST: u64 = 64 * 1024 * 1024;
/// The largest file in which a script is looked for by its name, bytes.
const LARGEST_SOUGHT: u64 = 1024 * 1024;

/// A template as its file says it, and what a person should hear about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Its revision is 0: the control plane gives it one when it is filed.
    pub template: Template,
    /// Sentences: scripts that were not found, inputs that no script declares.
    pub notes: Vec<String>,
}

/// Loads a template file with its scripts.
///
/// - `script_path`: folders in which scripts are looked for by RightScript Name, after the template's own.
///
/// Scripts given by name that are nowhere are marked ([`ScriptRef::found`]) and named in one note; everything else
/// that is wrong is one [`Kind::Usage`] with file, line and key of each.
pub fn load(file: &Path, script_path: &[PathBuf]) -> Result<Loaded> {
    let bytes = read(file, LARGEST).map_err(|e| {
        Error::new(Kind::Usage, format!("the template file {} cannot be read", file.display()))
            .because(e)
            .hint("name a ServerTemplate file in YAML")
    })?;
    let at = Source::file(file.display().to_string());
    let text = yaml::decode(&bytes, &at)?;
    let node = yaml::first_document(&text, &at)?
        .ok_or_else(|| at.fault(1, "is empty", "write a ServerTemplate: Name, RightScripts …"))?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut reading = Reading {
        at: &at,
        folder,
        script_path,
        faults: Faults::default(),
        paths: BTreeMap::new(),
        scripts: Vec::new(),
        index: None,
        absent: BTreeSet::new(),
    };
    let mut template = reading.template(&node);
    let Reading { faults, scripts, absent, .. } = reading;
    faults.check()?;
    template.scripts = scripts.into_iter().map(|(script, _)| script).collect();
    template.digest = digest(&template);
    Ok(Loaded { notes: notes(&template, &absent), template })
}

/// SHA-256 over a template's content, hexadecimal. Revision and digest are no content.
pub fn digest(template: &Template) -> String {
    let content = Template { revision: 0, digest: String::new(), ..template.clone() };
    // serde_json writes maps sorted (BTreeMap), so that equal content gives equal bytes
    let bytes = serde_json::to_vec(&content).unwrap_or_default();
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn notes(template: &Template, absent: &BTreeSet<String>) -> Vec<String> {
    let mut notes = Vec::new();
    if !absent.is_empty() {
        let names: Vec<String> = absent.iter().map(|name| format!("{name:?}")).collect();
        notes.push(format!(
            "template {:?}: not found: the scripts {} (name their folders with --script-path; missing boot and \
             decommission scripts block a launch)",
            template.name,
            names.join(", ")
        ));
    }
    let declared = |name: &String| template.scripts.iter().any(|s| s.inputs.contains_key(name));
    let unknown: Vec<&str> =
        template.inputs.keys().filter(|name| !declared(name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        notes.push(format!(
            "template {:?}: no script declares the inputs {} (kept)",
            template.name,
            unknown.join(", ")
        ));
    }
    notes
}

fn read(file: &Path, largest: u64) -> std::io::Result<Vec<u8>> {
    let about = std::fs::metadata(file)?;
    if !about.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    if about.len() > largest {
        return Err(std::io::Error::other(format!("it is larger than {largest} bytes")));
    }
    std::fs::read(file)
}

/// A path without `.` and `..`, so that one file has one name.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::Normal(_))) =>
            {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

struct Reading<'a> {
    at: &'a Source,
    folder: PathBuf,
    script_path: &'a [PathBuf],
    faults: Faults,
    /// Files read already: the script's name, or nothing when it was broken.
    paths: BTreeMap<PathBuf, Option<String>>,
    scripts: Vec<(Script, PathBuf)>,
    /// Files by RightScript Name, made when the first name is looked up.
    index: Option<BTreeMap<String, Vec<PathBuf>>>,
    absent: BTreeSet<String>,
}

impl Reading<'_> {
    fn template(&mut self, node: &Node) -> Template {
        const KEYS: &[&str] =
            &["Name", "Description", "Inputs", "RightScripts", "MultiCloudImages", "Alerts"];
        let at = self.at;
        let fields = Fields::of(node, at, "the template", KEYS, &mut self.faults);
        let mut template = Template {
            name: fields.text("Name", &mut self.faults).unwrap_or_default(),
            description: fields.text("Description", &mut self.faults).unwrap_or_default(),
            ..Template::default()
        };
        if let Err(bad) = name::object("template", &template.name) {
            let line = fields.node("Name").map_or(node.line, |node| node.line);
            let what = if template.name.is_empty() { "\"Name\" is missing" } else { &bad.what };
            self.faults.add(at, line, what, bad.hint.clone());
        }
        for (key, node) in fields.map("Inputs", &mut self.faults) {
            if let Err(bad) = name::input(&key.text) {
                self.faults.add(at, key.line, &bad.what, bad.hint);
            }
            let what = format!("the input {}", key.text);
            if let Some(value) = metadata::value(node, &what, at, &mut self.faults) {
                template.inputs.insert(key.text.clone(), value);
            }
        }
        let sequences = fields.map("RightScripts", &mut self.faults);
        for (key, _) in sequences {
            if !["Boot", "Operational", "Decommission"].contains(&key.text.as_str()) {
                let what = format!("{:?} is not a valid sequence name", key.text);
                let hint = "write Boot, Operational or Decommission";
                self.faults.add(at, key.line, &what, hint);
            }
        }
        for (name, sequence) in [
            ("Boot", &mut template.boot),
            ("Operational", &mut template.operational),
            ("Decommission", &mut template.decommission),
        ] {
            let Some((_, node)) = sequences.iter().find(|(key, _)| key.text == name) else {
                continue;
            };
            match &node.kind {
                _ if node.is_null() => {}
                NodeKind::List(items) => {
                    for item in items {
                        if let Some(found) = self.entry(item) {
                            sequence.push(found);
                        }
                    }
                }
                _ => fields.wants(
                    node,
                    "RightScripts",
                    &format!("a list under {name}"),
                    &mut self.faults,
                ),
            }
        }
        let scripts = self.scripts.iter().map(|(script, _)| script);
        for found in outside(scripts, |name| template.inputs.get(name)) {
            let key =
                fields.map("Inputs", &mut self.faults).iter().find(|(k, _)| k.text == found.input);
            let line = key.map_or(node.line, |(key, _)| key.line);
            self.faults.add(at, line, &found.to_string(), "write one of them");
        }
        images::check(fields.list("MultiCloudImages", &mut self.faults), at, &mut self.faults);
        let list = fields.list("Alerts", &mut self.faults);
        template.alerts = alerts::read(list, at, &self.folder, &mut self.faults);
        template
    }

    fn entry(&mut self, item: &Node) -> Option<ScriptRef> {
        let at = self.at;
        match &item.kind {
            NodeKind::Scalar { text, .. } if !item.is_null() && !text.is_empty() => {
                // an absolute path is joined below the folder too, as right_st does
                let path = plain(&self.folder.join(text.trim_start_matches('/')));
                let name = self.script(&path, Some(item.line))?;
                Some(ScriptRef { name, found: true })
            }
            NodeKind::Map(map) => {
                // the one place without strictness: other keys are ignored in silence
                let field = |key: &str| map.iter().find(|(k, _)| k.text == key).map(|(_, n)| n);
                let name = field("Name").and_then(Node::text).unwrap_or_default();
                if let Err(bad) = name::object("script", name) {
                    let what = if name.is_empty() { "a script has no \"Name\"" } else { &bad.what };
                    self.faults.add(
                        at,
                        item.line,
                        what,
                        "write a path, or a map with Name and Revision",
                    );
                    return None;
                }
                if let Some(node) = field("Revision") {
                    images::revision(node, at, &mut self.faults);
                }
                Some(self.named(name, item.line))
            }
            _ => {
                let what = format!("a script of a sequence is {}", item.is());
                self.faults.add(
                    at,
                    item.line,
                    &what,
                    "write a path, or a map with Name and Revision",
                );
                None
            }
        }
    }

    /// A script by its RightScript Name: one that was read already, else looked for in the folders.
    fn named(&mut self, name: &str, line: usize) -> ScriptRef {
        let wanted = ScriptRef { name: name.to_owned(), found: true };
        if self.scripts.iter().any(|(script, _)| script.name == name) {
            return wanted;
        }
        let folders: Vec<PathBuf> =
            std::iter::once(self.folder.clone()).chain(self.script_path.iter().cloned()).collect();
        let paths = self
            .index
            .get_or_insert_with(|| index(&folders))
            .get(name)
            .cloned()
            .unwrap_or_default();
        match paths.first() {
            None => {
                self.absent.insert(name.to_owned());
                ScriptRef { found: false, ..wanted }
            }
            Some(path) => {
                self.script(path, Some(line));
                wanted
            }
        }
    }

    /// Reads a script file once; its RightScript Name.
    fn script(&mut self, path: &Path, line: Option<usize>) -> Option<String> {
        if let Some(known) = self.paths.get(path) {
            return known.clone();
        }
        let name = self.read_script(path, line.unwrap_or(1));
        self.paths.insert(path.to_owned(), name.clone());
        name
    }

    fn read_script(&mut self, path: &Path, line: usize) -> Option<String> {
        let shown = path.display().to_string();
        let bytes = match read(path, LARGEST) {
            Ok(bytes) => bytes,
            Err(e) => {
                let what = format!("the script {shown} cannot be read: {e}");
                let hint = "write its path relative to the template file";
                self.faults.add(self.at, line, &what, hint);
                return None;
            }
        };
        let Ok(source) = String::from_utf8(bytes) else {
            let what = format!("the script {shown} is no UTF-8 text");
            self.faults.add(self.at, line, &what, "call the program from a script");
            return None;
        };
        if source.contains('\0') {
            let what = format!("the script {shown} holds a NUL character");
            self.faults.add(self.at, line, &what, "call the program from a script");
            return None;
        }
        let found = metadata::parse(&source, &shown, &mut self.faults)?;
        if let Some((_, other)) = self.scripts.iter().find(|(script, _)| script.name == found.name)
        {
            let what =
                format!("two scripts are called {:?}: {} and {shown}", found.name, other.display());
            self.faults.add(self.at, line, &what, "give each its own RightScript Name");
            return None;
        }
        let mut script = Script {
            name: found.name.clone(),
            description: found.description,
            inputs: found.inputs.into_iter().collect(),
            source,
            attachments: BTreeMap::new(),
        };
        let folder = path.parent().unwrap_or(Path::new("")).join("attachments");
        for (attachment, line) in found.attachments {
            let file = folder.join(&attachment);
            match read(&file, LARGEST) {
                Ok(bytes) => {
                    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                    script.attachments.insert(metadata::last_part(&attachment).to_owned(), text);
                }
                Err(e) => {
                    let what = format!("the attachment {} cannot be read: {e}", file.display());
                    let hint = "paths are relative to the folder attachments/ beside the script";
                    self.faults.add(&Source::file(&*shown), line, &what, hint);
                }
            }
        }
        self.scripts.push((script, path.to_owned()));
        Some(found.name)
    }
}

/// Files by RightScript Name. Files that are no scripts, or broken ones, are not seen.
fn index(folders: &[PathBuf]) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let Ok(bytes) = read(&file, LARGEST_SOUGHT) else { continue };
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if let Some(about) = metadata::parse(&text, "", &mut Faults::default()) {
                found.entry(about.name).or_default().push(plain(&file));
            }
        }
    }
    found
}

#[cfg(test)]
#[path = "templates_tests.rs"]
mod tests;
