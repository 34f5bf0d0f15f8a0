//! ServerTemplates and RightScripts, as far as a launch needs to know them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Bad, Inputs, Value};

/// A template by name and revision, written `NAME@REV` (`NAME` alone: the newest).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TemplateRef {
    /// The template's name.
    pub name: String,
    /// The revision, from 1; absent for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

impl TemplateRef {
    /// Reads `NAME` or `NAME@REV`; a name may hold `@` when no number follows the last one.
    pub fn parse(written: &str) -> Result<Self, Bad> {
        let (name, revision) = match written.rsplit_once('@') {
            Some((name, rev)) if !rev.is_empty() && rev.chars().all(|c| c.is_ascii_digit()) => {
                let rev = rev.parse().ok().filter(|r| *r > 0);
                let rev = rev.ok_or_else(|| {
                    Bad::new(format!("`{written}` has no such revision"), "revisions begin at 1")
                })?;
                (name, Some(rev))
            }
            _ => (written, None),
        };
        crate::name::object("template", name)?;
        Ok(TemplateRef { name: name.to_owned(), revision })
    }
}

impl fmt::Display for TemplateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision {
            Some(revision) => write!(f, "{}@{revision}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// When a script of a template runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// In order, when the server boots; a failure strands it in booting.
    Boot,
    /// When somebody asks for it.
    Operational,
    /// In order, before the server ends.
    Decommission,
}

/// What a script's metadata says of one input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDecl {
    /// A launch without a value is refused (boot and decommission scripts), or the run is (operational ones).
    #[serde(default)]
    pub required: bool,
    /// `Input Type: array`.
    #[serde(default)]
    pub array: bool,
    /// Value when no level above the script has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What the value may be; empty: anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub possible: Vec<Value>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// For people: the heading under which it is shown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub category: String,
}

/// A RightScript: its text with what the metadata comment says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// RightScript Name: the key by which scripts are told apart.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The declared inputs.
    #[serde(default)]
    pub inputs: BTreeMap<String, InputDecl>,
    /// The program, metadata block included.
    pub source: String,
    /// Files beside it: last path part, content in base64.
    #[serde(default)]
    pub attachments: BTreeMap<String, String>,
}

/// A script of the template in one of its sequences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptRef {
    /// RightScript Name.
    pub name: String,
    /// Absent when the file names a script that could not be found; blocks a launch unless operational.
    pub found: bool,
}

/// A ServerTemplate, complete with its scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Unique in the account.
    pub name: String,
    /// From 1, counted up whenever its content changed.
    pub revision: u32,
    /// SHA-256 of its content, hexadecimal: equal content is never a new revision.
    pub digest: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The template's own input values.
    #[serde(default)]
    pub inputs: Inputs,
    /// Boot scripts in the order in which they run.
    #[serde(default)]
    pub boot: Vec<ScriptRef>,
    /// Operational scripts.
    #[serde(default)]
    pub operational: Vec<ScriptRef>,
    /// Decommission scripts in the order in which they run.
    #[serde(default)]
    pub decommission: Vec<ScriptRef>,
    /// Every script that was found, once each, in order of first use.
    #[serde(default)]
    pub scripts: Vec<Script>,
    /// Alert clauses by name, as written.
    #[serde(default)]
    pub alerts: BTreeMap<String, String>,
}

impl Template {
    /// The script of that RightScript Name.
    pub fn script(&self, name: &str) -> Option<&Script> {
        self.scripts.iter().find(|script| script.name == name)
    }

    /// The sequence of one phase.
    pub fn sequence(&self, phase: Phase) -> &[ScriptRef] {
        match phase {
            Phase::Boot => &self.boot,
            Phase::Operational => &self.operational,
            Phase::Decommission => &self.decommission,
        }
    }

    /// Scripts whose required inputs block a launch: boot and decommission.
    pub fn blocking(&self) -> impl Iterator<Item = &Script> {
        self.boot.iter().chain(&self.decommission).filter_map(|r| self.script(&r.name))
    }

    /// Itself as a reference with its revision.
    pub fn reference(&self) -> TemplateRef {
        TemplateRef { name: self.name.clone(), revision: Some(self.revision) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_number_from_one_behind_the_last_at() {
        for (written, name, revision) in [
            ("App", "App", None),
            ("App@3", "App", Some(3)),
            ("ops@site App@12", "ops@site App", Some(12)),
            ("ops@site", "ops@site", None),
            ("App@", "App@", None),
        ] {
            let read = TemplateRef::parse(written).unwrap();
            assert_eq!((read.name.as_str(), read.revision), (name, revision), "{written}");
            assert_eq!(read.to_string(), written);
        }
        for bad in ["App@0", "App@99999999999", "", "@3", "a\nb@1"] {
            TemplateRef::parse(bad).unwrap_err();
        }
    }
}
