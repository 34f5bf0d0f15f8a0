//! Inputs: typed values, the levels that they come from, and which one wins.
//!
//! Script default < ServerTemplate < deployment < server or array *next* < launch. A launch freezes the result into
//! *current*; from then on a script sees current plus the values of that run only. Unset, empty and ignored are
//! three things: no entry, [`Value::Blank`], [`Value::Ignore`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::possible::{Outside, outside};
use crate::{Bad, Script, Template};

/// The inputs of one level, by name.
pub type Inputs = BTreeMap<String, Value>;

/// A typed value as RightScale's Inputs 2.0 notation writes it, e.g. `text:www` or `cred:DB_PASSWORD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `text:ANY`: literal text, never empty.
    Text(String),
    /// `blank`: the variable is there, and empty.
    Blank,
    /// `ignore`: no variable, and nothing is inherited.
    Ignore,
    /// `inherit`: no value at this level. Never stored: setting it removes the entry.
    Inherit,
    /// `env:VAR` or `env:Server Name:VAR`: from the metadata of this server or another one.
    Env {
        /// The other server's name; absent for the server itself.
        server: Option<String>,
        /// The metadata variable, e.g. `PRIVATE_IP`.
        var: String,
    },
    /// `cred:NAME`: a secret, looked up when a script runs and never stored.
    Cred(String),
    /// `key:NAME`: a private key, looked up like a credential.
    Key(String),
    /// `array:["text:a","cred:B"]`: reaches a script as one comma-joined text.
    Array(Vec<Value>),
}

impl Value {
    /// Reads the typed notation. A bare value is refused, and the message shows `text:…`.
    pub fn parse(written: &str) -> Result<Value, Bad> {
        let kinds = "text:V, blank, ignore, inherit, env:VAR, env:SERVER:VAR, cred:NAME, key:NAME or array:[…]";
        let untyped = || {
            Bad::new(
                format!("`{written}` has no type"),
                format!("write text:{written}, or one of {kinds}"),
            )
        };
        let (kind, rest) = match written.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (written, None),
        };
        let named = |rest: Option<&str>| match rest {
            Some(name) if !name.trim().is_empty() => Ok(name.to_owned()),
            _ => Err(Bad::new(format!("`{written}` names nothing"), format!("write {kind}:NAME"))),
        };
        Ok(match kind {
            "text" => match rest {
                Some("") => {
                    return Err(Bad::new(
                        "`text:` holds no text",
                        "write `blank` for an empty value, `ignore` for none",
                    ));
                }
                Some(text) if text.contains('\0') => {
                    return Err(Bad::new(
                        "the text holds a NUL character",
                        "an environment variable cannot carry it",
                    ));
                }
                Some(text) => Value::Text(text.to_owned()),
                None => return Err(untyped()),
            },
            "blank" | "ignore" | "inherit" if rest.is_some() => {
                return Err(Bad::new(
                    format!("`{written}` says more than `{kind}`"),
                    format!("write `{kind}` alone, or text:V for the text"),
                ));
            }
            "blank" => Value::Blank,
            "ignore" => Value::Ignore,
            "inherit" => Value::Inherit,
            "env" => {
                let rest = named(rest)?;
                // a server's name may hold colons, a variable's may not
                match rest.rsplit_once(':') {
                    Some((server, var)) if !server.is_empty() && !var.is_empty() => {
                        Value::Env { server: Some(server.to_owned()), var: var.to_owned() }
                    }
                    Some(_) => {
                        return Err(Bad::new(
                            format!("`{written}` is incomplete"),
                            "write env:VAR or env:Server Name:VAR",
                        ));
                    }
                    None => Value::Env { server: None, var: rest },
                }
            }
            "cred" => Value::Cred(named(rest)?),
            "key" => Value::Key(named(rest)?),
            "array" => {
                let rest = rest.ok_or_else(untyped)?;
                let items: Vec<String> = serde_json::from_str(rest).map_err(|e| {
                    Bad::new(
                        format!("`{written}` is no list: {e}"),
                        r#"write array:["text:a","text:b"]"#,
                    )
                })?;
                let items =
                    items.iter().map(|item| Value::parse(item)).collect::<Result<Vec<_>, _>>()?;
                if items
                    .iter()
                    .any(|item| matches!(item, Value::Array(_) | Value::Inherit | Value::Ignore))
                {
                    return Err(Bad::new(
                        format!("`{written}` holds something that is no single value"),
                        "lists hold text, blank, env, cred and key",
                    ));
                }
                Value::Array(items)
            }
            _ => return Err(untyped()),
        })
    }

    /// Whether it leads to a secret, so that only a digest of it may be shown.
    pub fn is_secret(&self) -> bool {
        match self {
            Value::Cred(_) | Value::Key(_) => true,
            Value::Array(items) => items.iter().any(Value::is_secret),
            _ => false,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "text:{text}"),
            Value::Blank => f.write_str("blank"),
            Value::Ignore => f.write_str("ignore"),
            Value::Inherit => f.write_str("inherit"),
            Value::Env { server: Some(server), var } => write!(f, "env:{server}:{var}"),
            Value::Env { server: None, var } => write!(f, "env:{var}"),
            Value::Cred(name) => write!(f, "cred:{name}"),
            Value::Key(name) => write!(f, "key:{name}"),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                write!(f, "array:{}", serde_json::Value::from(items))
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = String::deserialize(from)?;
        Value::parse(&written).map_err(serde::de::Error::custom)
    }
}

/// Where a value comes from, lowest rank first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Default in the script's metadata.
    Script,
    /// `Inputs` of the ServerTemplate.
    Template,
    /// The deployment.
    Deployment,
    /// The server's next instance.
    Server,
    /// The array's next instance; the same rank as a server's.
    Array,
    /// Given with a launch, for that instance only.
    Launch,
    /// Frozen when the instance was launched, or set on it since.
    Current,
    /// Given with one run of a script, never stored.
    Run,
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The value, in typed notation.
    pub value: Value,
    /// The level that it comes from.
    pub from: Level,
}

/// What a launch would see, and what stands in its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Every input that has a value (or is ignored), by name.
    pub values: BTreeMap<String, Resolved>,
    /// Required by a boot or decommission script and without a value: they block a launch, all named at once.
    pub missing: Vec<String>,
    /// Two scripts of the template disagree about the default and no higher level decides.
    pub ambiguous: Vec<String>,
    /// Texts that a boot or decommission script does not take: they block a launch as well.
    pub outside: Vec<Outside>,
}

/// Evaluates the levels from the script's default up to the launch, as RightScale does once, at launch.
///
/// - `template`: the ServerTemplate with its scripts; `None` for a server that has none.
/// - `deployment`, `own` (next of the server or array, named by `own_level`), `launch`: their entries.
///
/// Source: RightScale, "Inheritance of Inputs"; ambiguity blocks a launch until a higher level decides.
pub fn resolve(
    template: Option<&Template>,
    deployment: &Inputs,
    own: &Inputs,
    own_level: Level,
    launch: &Inputs,
) -> Resolution {
    let mut found = Resolution::default();
    let mut ambiguous = Vec::new();
    if let Some(template) = template {
        for script in template.scripts.iter() {
            for (name, decl) in &script.inputs {
                let Some(default) = &decl.default else { continue };
                match found.values.get(name) {
                    Some(there) if there.value != *default => ambiguous.push(name.clone()),
                    Some(_) => {}
                    None => {
                        found.values.insert(
                            name.clone(),
                            Resolved { value: default.clone(), from: Level::Script },
                        );
                    }
                }
            }
        }
    }
    let none = Inputs::new();
    let levels = [
        (template.map_or(&none, |t| &t.inputs), Level::Template),
        (deployment, Level::Deployment),
        (own, own_level),
        (launch, Level::Launch),
    ];
    for (inputs, from) in levels {
        for (name, value) in inputs {
            if *value != Value::Inherit {
                found.values.insert(name.clone(), Resolved { value: value.clone(), from });
            }
        }
    }
    found.ambiguous = ambiguous
        .into_iter()
        .filter(|name| found.values.get(name).is_some_and(|r| r.from == Level::Script))
        .collect();
    found.ambiguous.sort();
    found.ambiguous.dedup();
    if let Some(template) = template {
        for script in template.blocking() {
            for (name, decl) in &script.inputs {
                let there = found.values.get(name).is_some_and(|r| r.value != Value::Ignore);
                if decl.required && !there {
                    found.missing.push(name.clone());
                }
            }
        }
    }
    found.missing.sort();
    found.missing.dedup();
    found.outside = template.map_or(Vec::new(), |template| {
        outside(template.blocking(), |name| found.values.get(name).map(|r| &r.value))
    });
    found
}

/// What one run of a script sees: the current set of its server, over it the values of this run, and of the secrets
/// among them only those that the script's own metadata declares or that were given with this run.
pub fn for_script(
    script: &Script,
    current: &BTreeMap<String, Resolved>,
    run: &Inputs,
) -> BTreeMap<String, Resolved> {
    let mut seen: BTreeMap<String, Resolved> = current
        .iter()
        .filter(|(name, resolved)| !resolved.value.is_secret() || script.inputs.contains_key(*name))
        .map(|(name, resolved)| (name.clone(), resolved.clone()))
        .collect();
    for (name, value) in run.iter().filter(|(_, value)| **value != Value::Inherit) {
        seen.insert(name.clone(), Resolved { value: value.clone(), from: Level::Run });
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_sees_the_secrets_that_it_declares_or_is_given_and_no_others() {
        let script = Script {
            inputs: [("OWN".to_owned(), crate::template::InputDecl::default())].into(),
            ..Script::default()
        };
        let value = |written: &str| Value::parse(written).unwrap();
        let current: BTreeMap<String, Resolved> = [
            ("OWN", "cred:A"),
            ("FOREIGN", "cred:B"),
            ("KEY", "key:ops"),
            ("LIST", r#"array:["text:a","cred:B"]"#),
            ("PLAIN", "text:x"),
            ("GIVEN", "cred:C"),
        ]
        .map(|(name, text)| {
            (name.to_owned(), Resolved { value: value(text), from: Level::Current })
        })
        .into();
        let run = Inputs::from([
            ("GIVEN".to_owned(), value("cred:D")),
            ("FOREIGN".to_owned(), Value::Inherit),
        ]);
        let seen = for_script(&script, &current, &run);
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["GIVEN", "OWN", "PLAIN"]);
        assert_eq!(seen["GIVEN"], Resolved { value: value("cred:D"), from: Level::Run });
    }

    #[test]
    fn the_typed_notation_round_trips() {
        for written in [
            "text:http://x:1/ ",
            "text::info",
            "blank",
            "ignore",
            "inherit",
            "env:PRIVATE_IP",
            "env:Master: DB:PRIVATE_IP",
            "cred:DB PASSWORD",
            "key:ops",
            r#"array:["text:a","cred:B"]"#,
            "array:[]",
        ] {
            assert_eq!(Value::parse(written).unwrap().to_string(), written);
        }
    }

    #[test]
    fn a_bare_value_is_refused_and_the_message_shows_how_to_write_it() {
        let bad = Value::parse("www").unwrap_err();
        assert!(bad.hint.contains("text:www"), "{bad}");
        for written in [
            "text:",
            "text:a\0b",
            "",
            "cred:",
            "cred: ",
            "env::X",
            "env:LB:",
            "blank:x",
            "ignore:",
            "array:a,b",
            "word:rest",
            r#"array:["a"]"#,
            r#"array:["array:[]"]"#,
            r#"array:["inherit"]"#,
            r#"array:["ignore"]"#,
        ] {
            Value::parse(written).unwrap_err();
        }
        // a server's name may hold colons, a variable's may not
        let env = Value::Env { server: Some("Master: DB".into()), var: "PRIVATE_IP".into() };
        assert_eq!(Value::parse("env:Master: DB:PRIVATE_IP").unwrap(), env);
    }

    #[test]
    fn the_higher_level_wins_and_every_value_says_where_it_comes_from() {
        let inputs = |pairs: &[(&str, &str)]| -> Inputs {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), Value::parse(v).unwrap())).collect()
        };
        let found = resolve(
            None,
            &inputs(&[
                ("A", "text:deployment"),
                ("B", "text:deployment"),
                ("C", "text:deployment"),
            ]),
            &inputs(&[("A", "text:server"), ("B", "inherit"), ("C", "ignore")]),
            Level::Server,
            &inputs(&[("A", "text:launch")]),
        );
        assert_eq!(
            found.values["A"],
            Resolved { value: Value::Text("launch".into()), from: Level::Launch }
        );
        assert_eq!(found.values["B"].from, Level::Deployment);
        assert_eq!(found.values["C"].value, Value::Ignore);
    }

    fn inputs(pairs: &[(&str, &str)]) -> Inputs {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), Value::parse(v).unwrap())).collect()
    }

    /// A script that declares these inputs: name, default (none: `-`), whether it is required.
    fn script(name: &str, inputs: &[(&str, &str, bool)]) -> Script {
        let declared = inputs.iter().map(|(n, default, required)| {
            let default = (*default != "-").then(|| Value::parse(default).unwrap());
            let decl =
                crate::template::InputDecl { default, required: *required, ..Default::default() };
            ((*n).to_owned(), decl)
        });
        Script { name: name.into(), inputs: declared.collect(), ..Script::default() }
    }

    fn template(scripts: Vec<Script>, own: &[(&str, &str)]) -> Template {
        let refer = |name: &str| crate::template::ScriptRef { name: name.into(), found: true };
        let phase = |letter: char| {
            let of = scripts.iter().filter(|script| script.name.starts_with(letter));
            of.map(|script| refer(&script.name)).collect::<Vec<_>>()
        };
        Template {
            inputs: inputs(own),
            boot: phase('b'),
            operational: phase('o'),
            decommission: phase('d'),
            scripts,
            ..Template::default()
        }
    }

    #[test]
    fn each_level_wins_over_all_below_it() {
        let levels = ["S", "T", "D", "N", "L"];
        let of = |at: usize| -> Inputs {
            let from_here = levels[at..].iter();
            from_here.map(|name| ((*name).to_owned(), Value::Text(format!("{at}")))).collect()
        };
        let defaults = levels.map(|name| (name, "text:0", false));
        let mut template = template(vec![script("b", &defaults)], &[]);
        template.inputs = of(1);
        let found = resolve(Some(&template), &of(2), &of(3), Level::Array, &of(4));
        let from: Vec<(Value, Level)> =
            levels.map(|name| (found.values[name].value.clone(), found.values[name].from)).into();
        let wanted =
            [Level::Script, Level::Template, Level::Deployment, Level::Array, Level::Launch];
        for (at, level) in wanted.into_iter().enumerate() {
            assert_eq!(from[at], (Value::Text(at.to_string()), level));
        }
    }

    #[test]
    fn scripts_that_disagree_are_named_until_a_level_above_decides() {
        let scripts =
            || vec![script("b1", &[("A", "text:1", true)]), script("b2", &[("A", "text:2", true)])];
        let none = Inputs::new();
        let ask = |template: &Template, own: &Inputs| {
            resolve(Some(template), &none, own, Level::Server, &none)
        };
        let both = template(scripts(), &[]);
        let found = ask(&both, &none);
        assert_eq!(found.ambiguous, ["A"]);
        assert_eq!(found.values["A"].value, Value::Text("1".into()), "the first one's");
        assert!(ask(&both, &inputs(&[("A", "text:3")])).ambiguous.is_empty());
        assert!(ask(&template(scripts(), &[("A", "text:3")]), &none).ambiguous.is_empty());
        let same =
            vec![script("b1", &[("A", "text:1", true)]), script("b2", &[("A", "text:1", true)])];
        assert!(ask(&template(same, &[]), &none).ambiguous.is_empty());
    }

    #[test]
    fn what_boot_and_decommission_require_blocks_a_launch_and_is_named_at_once() {
        let template = template(
            vec![
                script("b", &[("A", "-", true), ("B", "-", false), ("C", "text:c", true)]),
                script("d", &[("D", "-", true), ("A", "-", true)]),
                script("o", &[("O", "-", true)]),
            ],
            &[],
        );
        let none = Inputs::new();
        let missing = |own: &[(&str, &str)]| {
            resolve(Some(&template), &none, &inputs(own), Level::Server, &none).missing
        };
        assert_eq!(missing(&[]), ["A", "D"]);
        assert_eq!(missing(&[("A", "text:a"), ("D", "ignore")]), ["D"], "ignored is no value");
        assert_eq!(missing(&[("A", "blank"), ("D", "cred:X")]), [""; 0], "an empty one is");
    }
}
