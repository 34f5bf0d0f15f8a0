//! What a change does to one subject: entries of its levels before and after, and how they come back.

use std::collections::BTreeMap;

use rs_cli::{DebtSpec, Step};
use rs_contract::{Cloud, Result, Target};
use rs_model::{Due, Inputs, Level, Resolved, Value};
use serde_json::{Map, Value as Json, json};

/// Entries that are wanted at a level: `None` removes one.
pub(crate) type Changes = BTreeMap<String, Option<Value>>;

/// Values that are wanted in a current set, each with the level that it comes from: `None` removes one.
pub(crate) type CurrentChanges = BTreeMap<String, Option<(Value, Level)>>;

/// A change of one subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// Its deployment.
    pub deployment: String,
    /// Its name.
    pub name: String,
    /// Next entries of a server or an array, with where they hang.
    pub next: Option<(Target, Changes)>,
    /// Current values, with the level that they come from.
    pub current: Option<CurrentChanges>,
    /// What is there now.
    pub before: Levels,
}

/// Entries of a subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    /// Its own entries at the next instance.
    pub next: Inputs,
    /// Its current set.
    pub current: Option<BTreeMap<String, Resolved>>,
}

impl Work {
    /// Leaves out what is so already.
    pub fn trim(mut self) -> Work {
        if let Some((_, changes)) = &mut self.next {
            changes.retain(|name, value| self.before.next.get(name) != value.as_ref());
        }
        let current = self.before.current.clone().unwrap_or_default();
        if let Some(changes) = &mut self.current {
            changes.retain(|name, value| {
                let now = current.get(name).map(|r| (&r.value, r.from));
                now != value.as_ref().map(|(value, from)| (value, *from))
            });
        }
        self.next = self.next.filter(|(_, changes)| !changes.is_empty());
        self.current = self.current.filter(|changes| !changes.is_empty());
        self
    }

    /// Makes it so: next first, since it is what lasts.
    pub fn carry_out(&self, cloud: &dyn Cloud, deployment: &str) -> Result<()> {
        if let Some((target, changes)) = &self.next {
            cloud.set_inputs(deployment, target, changes)?;
        }
        if let Some(changes) = &self.current {
            cloud.set_current(deployment, &self.name, changes)?;
        }
        Ok(())
    }

    /// Only the names that change: before, and after.
    pub fn facts(&self) -> (Json, Json) {
        let (mut before, mut after) = (Map::new(), Map::new());
        if let Some((_, changes)) = &self.next {
            let was: Map<String, Json> = changes
                .keys()
                .map(|name| (name.clone(), json!(self.before.next.get(name))))
                .collect();
            before.insert("next".into(), was.into());
            after.insert("next".into(), json!(changes));
        }
        if let Some(changes) = &self.current {
            let current = self.before.current.clone().unwrap_or_default();
            let was: Map<String, Json> = changes
                .keys()
                .map(|name| (name.clone(), json!(current.get(name).map(|r| &r.value))))
                .collect();
            before.insert("current".into(), was.into());
            let now: Map<String, Json> = changes
                .iter()
                .map(|(name, value)| (name.clone(), json!(value.as_ref().map(|(v, _)| v))))
                .collect();
            after.insert("current".into(), now.into());
        }
        (before.into(), after.into())
    }

    /// The step of the two-phase act.
    pub fn step(&self, at: usize, record: &Map<String, Json>) -> Step {
        let needed = self.next.is_some() || self.current.is_some();
        let (before, expect) = self.facts();
        let mut predict = Map::new();
        if let Some((_, changes)) = &self.next {
            predict.insert("next".into(), json!(applied(&self.before.next, changes)));
        }
        if let Some(changes) = &self.current
            && let Some(mut current) = record.get("current").cloned()
        {
            let mut inputs = self.before.current.clone().unwrap_or_default();
            for (name, value) in changes {
                match value.clone() {
                    Some((value, from)) => inputs.insert(name.clone(), Resolved { value, from }),
                    None => inputs.remove(name),
                };
            }
            current["inputs"] = json!(inputs);
            predict.insert("current".into(), current);
        }
        let undo = self.undo();
        Step { at, needed, before, expect, predict, undo, ..Step::default() }
    }

    fn undo(&self) -> Option<String> {
        let (of, on) = (quote(&self.deployment), quote(&self.name));
        let mut lines = Vec::new();
        let mut back = |flag: &str, entries: Vec<(String, Option<Value>)>| {
            let (set, unset): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|(_, value)| value.is_some());
            if !set.is_empty() {
                let list = set.iter().filter_map(|(name, value)| {
                    value.as_ref().map(|value| quote(&format!("{name}={value}")))
                });
                let list: Vec<String> = list.collect();
                lines.push(format!(
                    "rs-inputs set --deployment {of} --on {on} {flag} {}",
                    list.join(" ")
                ));
            }
            if !unset.is_empty() {
                let list: Vec<String> = unset.into_iter().map(|(name, _)| name).collect();
                lines.push(format!(
                    "rs-inputs unset --deployment {of} --on {on} {flag} {}",
                    list.join(" ")
                ));
            }
        };
        if let Some((_, changes)) = &self.next {
            let was = |name: &String| (name.clone(), self.before.next.get(name).cloned());
            back("--next", changes.keys().map(was).collect());
        }
        if let Some(changes) = &self.current {
            let current = self.before.current.clone().unwrap_or_default();
            // without its entry the level below would show through: `ignore` is what it was to a script
            let was = |n: &String| {
                let value = current.get(n).map_or(Value::Ignore, |r| r.value.clone());
                (n.clone(), Some(value))
            };
            back("--current", changes.keys().map(was).collect());
        }
        (!lines.is_empty()).then(|| lines.join(" && "))
    }
}

/// Entries with changes made to them.
pub(crate) fn applied(inputs: &Inputs, changes: &Changes) -> Inputs {
    let mut found = inputs.clone();
    for (name, value) in changes {
        match value {
            Some(value) => found.insert(name.clone(), value.clone()),
            None => found.remove(name),
        };
    }
    found
}

/// The key of the debt that an override is until it is removed or promoted.
pub(crate) fn debt_key(subject: &str, name: &str) -> String {
    format!("input:{subject}/{name}")
}

/// The debt of a temporary override.
pub(crate) fn debt(
    deployment: &str,
    subject: &str,
    name: &str,
    before: Option<&Value>,
) -> DebtSpec {
    let command = |words: &[&str]| {
        let all = [&["rs-inputs"], words, &["--deployment", deployment]].concat();
        all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let set = before.map(|value| format!("{name}={value}"));
    DebtSpec {
        key: debt_key(subject, name),
        reason: format!("{name} of {subject} is set for the time of a run"),
        inverse: match &set {
            Some(set) => command(&["set", "--on", subject, "--next", set]),
            None => command(&["unset", "--on", subject, "--next", name]),
        },
        due: Due::After,
        deadline: None,
        before: json!(before),
    }
}

/// A word for a shell, as a person would write it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_people_and_shells() {
        assert_eq!(quote("App-1"), "App-1");
        assert_eq!(quote("it's $(x)"), r"'it'\''s $(x)'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn what_is_so_already_is_no_work_and_the_rest_says_how_it_comes_back() {
        let value = |text: &str| Value::Text(text.into());
        let work = Work {
            deployment: "it's d".into(),
            name: "App Server-1".into(),
            next: Some((
                Target::Next("App Server-1".into()),
                Changes::from([
                    ("A".into(), Some(value("1"))),
                    ("B".into(), Some(value("2"))),
                    ("C".into(), None),
                ]),
            )),
            before: Levels {
                next: Inputs::from([("A".into(), value("1")), ("C".into(), value("3"))]),
                current: None,
            },
            ..Work::default()
        };
        let step = work.trim().step(0, &Map::new());
        assert!(step.needed);
        assert_eq!(step.before, json!({"next": {"B": null, "C": "text:3"}}));
        assert_eq!(
            step.undo.unwrap(),
            r"rs-inputs set --deployment 'it'\''s d' --on 'App Server-1' --next C=text:3 && rs-inputs unset --deployment 'it'\''s d' --on 'App Server-1' --next B"
        );
        let idle = Work { name: "x".into(), ..Work::default() }.trim().step(0, &Map::new());
        assert!(!idle.needed && idle.undo.is_none());
    }
}
