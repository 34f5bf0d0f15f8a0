//! Possible values: what a script's metadata lists for an input, and a text that is none of it.
//!
//! Only texts are judged: what `env:` and `cred:` lead to is known when a script runs, and `blank` and `ignore` say that
//! there is to be nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::{InputDecl, Inputs, Resolved, Script, Value};

impl InputDecl {
    /// Whether the metadata lets the input have this value.
    pub fn allows(&self, value: &Value) -> bool {
        !matches!(value, Value::Text(_))
            || self.possible.is_empty()
            || self.possible.contains(value)
    }
}

/// A text that a script does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The input.
    pub input: String,
    /// What it is.
    pub value: Value,
    /// The script that declares it.
    pub script: String,
    /// What it may be.
    pub possible: Vec<Value>,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let possible: Vec<String> = self.possible.iter().map(Value::to_string).collect();
        let possible = possible.join(", ");
        write!(f, "{} is {}, and {:?} takes {possible}", self.input, self.value, self.script)
    }
}

/// The values that one of the scripts does not take, each input once, sorted.
pub fn outside<'s, 'v>(
    scripts: impl IntoIterator<Item = &'s Script>,
    value: impl Fn(&str) -> Option<&'v Value>,
) -> Vec<Outside> {
    let mut found: BTreeMap<&str, Outside> = BTreeMap::new();
    for script in scripts {
        for (input, decl) in &script.inputs {
            let Some(value) = value(input).filter(|value| !decl.allows(value)) else { continue };
            found.entry(input).or_insert_with(|| Outside {
                input: input.clone(),
                value: value.clone(),
                script: script.name.clone(),
                possible: decl.possible.clone(),
            });
        }
    }
    found.into_values().collect()
}

/// Why a script cannot run with the current values of its server and those of the run, all of it at once: required
/// inputs without a value, and texts that it does not take.
pub fn unfit(
    script: &Script,
    current: &BTreeMap<String, Resolved>,
    run: &Inputs,
) -> Option<String> {
    let value = |name: &str| match run.get(name) {
        Some(Value::Inherit) | None => current.get(name).map(|resolved| &resolved.value),
        given => given,
    };
    let missing: Vec<&str> = script
        .inputs
        .iter()
        .filter(|(name, decl)| {
            decl.required && value(name).is_none_or(|value| *value == Value::Ignore)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    let mut wrong = Vec::new();
    if !missing.is_empty() {
        wrong.push(format!("needs inputs that have no value: {}", missing.join(", ")));
    }
    wrong.extend(outside([script], value).iter().map(Outside::to_string));
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn value(written: &str) -> Value {
        Value::parse(written).unwrap()
    }

    /// A script whose input `A` is required, and may be `text:on`, `text:off` or `blank`.
    fn script(name: &str) -> Script {
        let possible = ["text:on", "text:off", "blank"].map(value).to_vec();
        let a = InputDecl { required: true, possible, ..InputDecl::default() };
        let free = InputDecl { required: true, ..InputDecl::default() };
        Script {
            name: name.into(),
            inputs: [("A".to_owned(), a), ("FREE".to_owned(), free)].into(),
            ..Script::default()
        }
    }

    #[test]
    fn a_text_that_is_not_listed_is_outside_and_nothing_else_is() {
        let decl = &script("boot").inputs["A"];
        for (written, fits) in [
            ("text:on", true),
            ("text:off", true),
            ("text:On", false),
            ("text:on ", false),
            ("text:maybe", false),
            ("blank", true),
            ("ignore", true),
            ("env:PRIVATE_IP", true),
            ("cred:A", true),
            ("key:A", true),
            (r#"array:["text:maybe"]"#, true),
        ] {
            assert_eq!(decl.allows(&value(written)), fits, "{written}");
        }
        assert!(InputDecl::default().allows(&value("text:anything")));
    }

    #[test]
    fn an_input_is_named_once_with_what_it_may_be() {
        let wrong = value("text:maybe");
        let scripts = [script("boot"), script("again")];
        let found = outside(&scripts, |name| (name != "OTHER").then_some(&wrong));
        assert_eq!(found.len(), 1, "{found:?}");
        let said = "A is text:maybe, and \"boot\" takes text:on, text:off, blank";
        assert_eq!(found[0].to_string(), said);
        assert!(outside(&scripts, |_| None).is_empty());
    }

    #[test]
    fn a_run_is_refused_for_all_that_is_missing_and_all_that_does_not_fit_at_once() {
        let script = script("update");
        let current = |a: &str| -> BTreeMap<String, Resolved> {
            [("A".to_owned(), Resolved { value: value(a), from: Level::Current })].into()
        };
        let run = |pairs: &[(&str, &str)]| -> Inputs {
            pairs.iter().map(|(name, v)| ((*name).to_owned(), value(v))).collect()
        };
        let free = ("FREE", "text:x");
        assert_eq!(unfit(&script, &current("text:on"), &run(&[free])), None);
        let both = unfit(&script, &current("text:maybe"), &Inputs::new()).unwrap();
        assert_eq!(
            both,
            "needs inputs that have no value: FREE; A is text:maybe, and \"update\" takes text:on, text:off, blank"
        );
        // what the run gives counts, `inherit` is none, and `ignore` is no value
        assert_eq!(unfit(&script, &current("text:maybe"), &run(&[free, ("A", "text:off")])), None);
        let given = unfit(&script, &current("text:on"), &run(&[free, ("A", "text:no")])).unwrap();
        assert!(given.starts_with("A is text:no,"), "{given}");
        assert_eq!(unfit(&script, &current("text:on"), &run(&[free, ("A", "inherit")])), None);
        let none = unfit(&script, &current("text:on"), &run(&[free, ("A", "ignore")])).unwrap();
        assert_eq!(none, "needs inputs that have no value: A");
    }
}
