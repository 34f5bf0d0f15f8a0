//! Clones: what they are called, which of them are there already, and what they have of their original.

use std::collections::BTreeSet;

use crate::{Bad, Inputs, Server, TemplateRef};

/// What a clone has that its original has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Likeness {
    /// Entries at its own level.
    pub set: Inputs,
    /// Another template.
    pub template: Option<TemplateRef>,
    /// More tags.
    pub tags: BTreeSet<String>,
    /// Tags that it has not.
    pub drop_tags: BTreeSet<String>,
    /// What it is in a run: `(RUN, PART)`.
    pub part: Option<(String, String)>,
}

impl Likeness {
    /// The tags of a clone. Marks of runs are not copied, and nobody becomes a second master by being copied.
    pub fn tags_of(&self, original: &BTreeSet<String>) -> BTreeSet<String> {
        let mut tags: BTreeSet<String> = original
            .iter()
            .filter(|tag| !tag.starts_with("rs_upgrade:") && !tag.starts_with("isolation:"))
            .filter(|tag| !tag.starts_with("database:master_active="))
            .filter(|tag| !self.drop_tags.contains(*tag))
            .cloned()
            .collect();
        tags.extend(self.tags.iter().cloned());
        if let Some((run, part)) = &self.part {
            tags.insert(format!("rs_upgrade:{run}={part}"));
        }
        tags
    }

    /// The entries of a clone: those of the original, and what is set.
    pub fn inputs_of(&self, original: &Inputs) -> Inputs {
        let mut inputs = original.clone();
        inputs.extend(self.set.clone());
        inputs.retain(|_, value| *value != crate::Value::Inherit);
        inputs
    }

    /// A server in the likeness of another: a definition, not launched, not locked.
    pub fn server(&self, original: &Server, overrides: &Inputs, name: &str) -> Server {
        Server {
            name: name.to_owned(),
            template: self.template.clone().or_else(|| original.template.clone()),
            tags: self.tags_of(&original.tags),
            next: self.inputs_of(overrides),
            cloned_from: Some(original.name.clone()),
            ..Server::default()
        }
    }
}

/// The tags of a server in a clone of its whole deployment: nothing of a run, and pools and database sets by their
/// new names.
///
/// - `renamed`: pool or lineage of the source, and of the clone.
pub fn retag(tags: &BTreeSet<String>, renamed: &[(String, String)]) -> BTreeSet<String> {
    let lasting =
        tags.iter().filter(|tag| !tag.starts_with("rs_upgrade:") && !tag.starts_with("isolation:"));
    lasting
        .map(|tag| {
            for (old, new) in renamed {
                for role in ["load_balancer", "application"] {
                    if *tag == format!("{role}:active_{old}=true") {
                        return format!("{role}:active_{new}=true");
                    }
                }
                for role in ["database:master_active", "database:slave_active"] {
                    if *tag == format!("{role}={old}") {
                        return format!("{role}={new}");
                    }
                }
            }
            tag.clone()
        })
        .collect()
}

/// The name pattern of clones: `%n` is a number, `%s` the original's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern; `%n` stands in it at most once.
    pub fn parse(written: &str) -> Result<Pattern, Bad> {
        if written.matches("%n").count() > 1 {
            return Err(Bad::new(
                format!("the name {written:?} holds %n twice"),
                "write it once, e.g. 'App Server-%n'",
            ));
        }
        crate::name::object("clone", &written.replace("%n", "1").replace("%s", "x"))?;
        Ok(Pattern(written.to_owned()))
    }

    /// Whether it makes more than one name.
    pub fn counts(&self) -> bool {
        self.0.contains("%n")
    }

    /// Whether it makes another name for each original.
    pub fn tells_apart(&self) -> bool {
        self.0.contains("%s") || self.counts()
    }

    /// The name with that number. `%n` is replaced first, so that an original's name may hold it.
    pub fn name(&self, original: &str, number: u32) -> String {
        let mut out = String::new();
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find('%') {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            match after.get(..2) {
                Some("%n") => out.push_str(&number.to_string()),
                Some("%s") => out.push_str(original),
                _ => {
                    out.push('%');
                    rest = &after[1..];
                    continue;
                }
            }
            rest = &after[2..];
        }
        out.push_str(rest);
        out
    }

    /// The number in a name that it made.
    pub fn number(&self, original: &str, name: &str) -> Option<u32> {
        if !self.counts() {
            return (self.name(original, 1) == name).then_some(1);
        }
        let at = self.0.find("%n")?;
        let head = Pattern(self.0[..at].to_owned()).name(original, 0);
        let tail = Pattern(self.0[at + 2..].to_owned()).name(original, 0);
        let middle = name.strip_prefix(head.as_str())?.strip_suffix(tail.as_str())?;
        let number: u32 = middle.parse().ok()?;
        (number.to_string() == middle).then_some(number)
    }
}

/// Names of the clones so that `to` of them exist: those that are there first, then the next free numbers.
///
/// - `clones`: names of what says it is a clone of that original.
/// - `taken`: every name in the deployment.
pub fn names(
    pattern: &Pattern,
    original: &str,
    to: u32,
    clones: &BTreeSet<String>,
    taken: &BTreeSet<String>,
) -> Result<Vec<String>, Bad> {
    if !pattern.counts() {
        if to > 1 {
            return Err(Bad::new(
                format!("{to} clones would have one name"),
                "put %n into --name, e.g. 'App Server-%n'",
            ));
        }
        return Ok(if to == 0 { Vec::new() } else { vec![pattern.name(original, 1)] });
    }
    let mut found: Vec<(u32, String)> = clones
        .iter()
        .filter_map(|name| Some((pattern.number(original, name)?, name.clone())))
        .collect();
    found.sort();
    let mut names: Vec<String> = found.into_iter().map(|(_, name)| name).collect();
    let mut number = 0;
    while names.len() < to as usize {
        number += 1;
        let name = pattern.name(original, number);
        if !taken.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn to_n_means_that_n_exist_afterwards() {
        let pattern = Pattern::parse("App Server-%n").unwrap();
        let mut taken = set(&["App Server-1", "App Server-2"]);
        let first = names(&pattern, "App Server-1", 1, &set(&[]), &taken).unwrap();
        assert_eq!(first, ["App Server-3"]);
        taken.insert("App Server-3".into());
        let clones = set(&["App Server-3"]);
        assert_eq!(names(&pattern, "App Server-1", 1, &clones, &taken).unwrap(), first);
        let two = names(&pattern, "App Server-1", 2, &clones, &taken).unwrap();
        assert_eq!(two, ["App Server-3", "App Server-4"]);
    }

    #[test]
    fn patterns_name_and_read_back() {
        let pattern = Pattern::parse("%s (copy %n)").unwrap();
        assert_eq!(pattern.name("a%n", 7), "a%n (copy 7)");
        assert_eq!(pattern.number("a%n", "a%n (copy 7)"), Some(7));
        assert_eq!(pattern.number("a%n", "a%n (copy 07)"), None);
        Pattern::parse("%n%n").unwrap_err();
        Pattern::parse("").unwrap_err();
        names(&Pattern::parse("x").unwrap(), "a", 2, &set(&[]), &set(&[])).unwrap_err();
    }

    #[test]
    fn pools_and_database_sets_are_renamed_in_tags() {
        let tags = set(&[
            "load_balancer:active_www=true",
            "database:master_active=shop",
            "application:active_www=true",
            "database:slave_active=shop",
            "database:slave_active=crm",
            "a",
            "rs_upgrade:u=old",
            "isolation:shares=X",
        ]);
        let renamed = [("www".into(), "stage".into()), ("shop".into(), "shop2".into())];
        let wanted = set(&[
            "load_balancer:active_stage=true",
            "database:master_active=shop2",
            "application:active_stage=true",
            "database:slave_active=shop2",
            "database:slave_active=crm",
            "a",
        ]);
        assert_eq!(retag(&tags, &renamed), wanted);
    }

    #[test]
    fn a_clone_is_no_second_master_and_belongs_to_no_other_run() {
        let like = Likeness {
            drop_tags: set(&["database:reads=true"]),
            part: Some(("u-2".into(), "warm".into())),
            ..Likeness::default()
        };
        let tags = set(&[
            "database:master_active=shop",
            "database:slave_active=x",
            "database:reads=true",
            "rs_upgrade:u-1=new",
            "isolation:shares=LB_HOSTNAME",
        ]);
        assert_eq!(like.tags_of(&tags), set(&["database:slave_active=x", "rs_upgrade:u-2=warm"]));
    }

    #[test]
    fn a_clone_is_a_definition_with_the_original_s_entries_and_its_own() {
        let value = |text: &str| crate::Value::parse(text).unwrap();
        let inputs = |pairs: &[(&str, &str)]| -> Inputs {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
        };
        let like =
            Likeness { set: inputs(&[("B", "text:own"), ("C", "inherit")]), ..Likeness::default() };
        let original = Server {
            name: "App 1".into(),
            locked: true,
            state: crate::State::Operational,
            template: crate::TemplateRef::parse("App@3").ok(),
            ..Server::default()
        };
        let entries = inputs(&[("A", "text:a"), ("B", "text:b"), ("C", "text:c")]);
        let clone = like.server(&original, &entries, "App 3");
        let wanted = Server {
            name: "App 3".into(),
            template: original.template.clone(),
            next: inputs(&[("A", "text:a"), ("B", "text:own")]),
            cloned_from: Some("App 1".into()),
            ..Server::default()
        };
        assert_eq!(clone, wanted);
    }
}
