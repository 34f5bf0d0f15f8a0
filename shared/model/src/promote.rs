//! Step 36: the new servers' inputs become the deployment's, and their own overrides go.
//!
//! Two classes of names: *release* inputs are written to the deployment, *isolation* inputs are only dropped, because
//! the deployment holds the right value already. Afterwards every member's next instance resolves to what it runs
//! with, and has no override left but those that are kept on purpose.

use std::collections::{BTreeMap, BTreeSet};

use crate::input::{Resolution, resolve};
use crate::{Inputs, Level, Resolved, Template, Value};

/// A server or array with what its inputs come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// An array: it has no current set of its own.
    pub array: bool,
    /// An instance of an array: the array's entries are its next.
    pub instance: bool,
    /// What a launch takes.
    pub template: Option<Template>,
    /// Entries of its next instance (of its array's, for an instance).
    pub next: Inputs,
    /// Entries of the production original that it was cloned from: an override that this has too is nothing of the
    /// release, and stays.
    pub original: Inputs,
    /// What it runs with; absent for arrays and for what is not launched.
    pub current: Option<BTreeMap<String, Resolved>>,
    /// Operational; for an array: all of its instances are.
    pub operational: bool,
}

impl Party {
    /// What a launch would see under these inputs of the deployment.
    pub fn resolve(&self, deployment: &Inputs) -> Resolution {
        self.resolve_without(deployment, &BTreeSet::new())
    }

    fn resolve_without(&self, deployment: &Inputs, gone: &BTreeSet<String>) -> Resolution {
        let mut next = self.next.clone();
        next.retain(|name, _| !gone.contains(name));
        let level = if self.array || self.instance { Level::Array } else { Level::Server };
        resolve(self.template.as_ref(), deployment, &next, level, &Inputs::new())
    }

    /// Its overrides that a promotion removes.
    fn goes(&self, wish: &Wish) -> BTreeSet<String> {
        let stated = |name: &String| wish.promote.contains(name) || wish.drop.contains(name);
        self.next
            .iter()
            .filter(|(name, value)| stated(name) || self.original.get(*name) != Some(*value))
            .map(|(name, _)| name.clone())
            .filter(|name| !wish.keep.contains(name))
            .collect()
    }

    /// Whether one of its scripts declares the input, so that a change of it matters to a launch.
    pub fn declares(&self, name: &str) -> bool {
        self.template.as_ref().is_some_and(|template| {
            template.scripts.iter().any(|script| script.inputs.contains_key(name))
        })
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Release inputs.
    pub promote: BTreeSet<String>,
    /// Isolation inputs.
    pub drop: BTreeSet<String>,
    /// Overrides that stay, because the member needs its own.
    pub keep: BTreeSet<String>,
    /// Servers and arrays outside that may resolve to something else afterwards.
    pub also_affects: BTreeSet<String>,
}

/// What marks the temporary balancers: a promoted value that leads to one would send the whole deployment there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Temporary {
    /// Their names, for `env:NAME:VAR`.
    pub servers: BTreeSet<String>,
    /// Their pools: a value that is one.
    pub pools: BTreeSet<String>,
    /// Their host names and addresses: a value that holds one.
    pub hosts: BTreeSet<String>,
}

impl Temporary {
    /// Whether the value leads to a temporary balancer; what it names.
    pub fn reached_by<'a>(&'a self, value: &'a Value) -> Option<&'a str> {
        match value {
            Value::Text(text) => self
                .pools
                .iter()
                .find(|pool| *pool == text)
                .or_else(|| self.hosts.iter().find(|host| text.contains(host.as_str())))
                .map(String::as_str),
            Value::Env { server: Some(server), .. } if self.servers.contains(server) => {
                Some(server)
            }
            Value::Array(items) => items.iter().find_map(|item| self.reached_by(item)),
            _ => None,
        }
    }
}

/// What step 36 does: first the deployment, then the removals, so that at no moment a next resolves to an old value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promotion {
    /// Values to write at the deployment (only those that differ).
    pub deployment: Inputs,
    /// Overrides to remove, by server or array.
    pub removals: BTreeMap<String, BTreeSet<String>>,
    /// Members outside that will resolve to something else, with the names.
    pub affected: BTreeMap<String, BTreeSet<String>>,
}

impl Promotion {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.deployment.is_empty() && self.removals.is_empty()
    }
}

/// Plans step 36, or says all that stands in its way.
///
/// - `set`: the new servers and the new array (its instances are servers).
/// - `others`: every other server and array of the deployment.
pub fn plan_promote(
    deployment: &Inputs,
    set: &[Party],
    others: &[Party],
    temporary: &Temporary,
    wish: &Wish,
) -> Result<Promotion, Vec<String>> {
    let mut refused = Vec::new();
    for name in wish.promote.intersection(&wish.drop) {
        refused.push(format!("{name} is both promoted and dropped"));
    }
    for party in set.iter().filter(|party| !party.operational) {
        refused.push(format!("{:?} is not operational", party.name));
    }
    let overridden: BTreeSet<String> = set.iter().flat_map(|party| party.goes(wish)).collect();
    let mut promotion = Promotion::default();
    for name in overridden.union(&wish.promote) {
        let Some(value) = agreed(deployment, set, name, &mut refused) else { continue };
        if wish.promote.contains(name) {
            if let Some(reached) = value.as_ref().and_then(|v| temporary.reached_by(v)) {
                refused.push(format!(
                    "{name} would become {}, which leads to the temporary balancer ({reached})",
                    shown(value.as_ref())
                ));
            }
            match value {
                None => refused.push(format!("{name} has no value on the new servers")),
                Some(value) if deployment.get(name) == Some(&value) => {}
                Some(value) => {
                    promotion.deployment.insert(name.clone(), value);
                }
            }
        } else if let Some(party) = set.iter().find(|party| {
            let gone = BTreeSet::from([name.clone()]);
            let without = party.resolve_without(deployment, &gone);
            without.values.get(name).map(|r| &r.value) != value.as_ref()
        }) {
            let gone = BTreeSet::from([name.clone()]);
            let without = party.resolve_without(deployment, &gone);
            let falls = shown(without.values.get(name).map(|r| &r.value));
            refused.push(if wish.drop.contains(name) {
                format!(
                    "{name} cannot be dropped yet: {:?} runs with {} and would fall back to {falls}",
                    party.name,
                    shown(value.as_ref())
                )
            } else {
                format!(
                    "{name} is overridden ({}, else {falls}) and its class is not stated: promote, drop or keep it",
                    shown(value.as_ref())
                )
            });
        }
    }
    for party in set.iter().filter(|party| !party.instance) {
        let gone = party.goes(wish);
        if !gone.is_empty() {
            promotion.removals.insert(party.name.clone(), gone);
        }
    }
    let mut after = deployment.clone();
    after.extend(promotion.deployment.clone());
    let mut unnamed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for party in others {
        let (old, new) = (party.resolve(deployment), party.resolve(&after));
        let names: BTreeSet<String> = promotion
            .deployment
            .keys()
            .filter(|name| party.declares(name) && old.values.get(*name) != new.values.get(*name))
            .cloned()
            .collect();
        if names.is_empty() {
            continue;
        }
        if !wish.also_affects.contains(&party.name) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            unnamed.entry(names.join(", ")).or_default().push(format!("{:?}", party.name));
        }
        promotion.affected.insert(party.name.clone(), names);
    }
    for (inputs, parties) in unnamed {
        refused.push(format!(
            "not new, and launched with another {inputs} from then on: {} (say that they are also affected)",
            parties.join(", ")
        ));
    }
    if refused.is_empty() {
        refused = broken(&after, set, wish);
    }
    refused.dedup();
    if refused.is_empty() { Ok(promotion) } else { Err(refused) }
}

/// The value that all of the set run with (`Some(None)`: none of them has one); `None`: they disagree.
fn agreed(
    deployment: &Inputs,
    set: &[Party],
    name: &str,
    refused: &mut Vec<String>,
) -> Option<Option<Value>> {
    let mut found: Option<(&str, Option<Value>)> = None;
    for party in set {
        let value = match &party.current {
            Some(current) => current.get(name).map(|r| r.value.clone()),
            None => party.resolve(deployment).values.get(name).map(|r| r.value.clone()),
        };
        match &found {
            None => found = Some((&party.name, value)),
            Some((_, there)) if *there == value => {}
            Some((other, there)) => {
                refused.push(format!(
                    "{name} is {} on {other:?} and {} on {:?}",
                    shown(there.as_ref()),
                    shown(value.as_ref()),
                    party.name
                ));
                return None;
            }
        }
    }
    found.map(|(_, value)| value)
}

/// Where the invariant would not hold: a member whose next resolves to something else than it runs with.
fn broken(after: &Inputs, set: &[Party], wish: &Wish) -> Vec<String> {
    let mut found = Vec::new();
    for party in set {
        let Some(current) = &party.current else { continue };
        let next = party.resolve_without(after, &party.goes(wish)).values;
        let names: BTreeSet<&String> = current.keys().chain(next.keys()).collect();
        for name in names {
            let (now, then) =
                (current.get(name).map(|r| &r.value), next.get(name).map(|r| &r.value));
            if now != then {
                found.push(format!(
                    "{:?} runs with {name} {} and would be launched with {}",
                    party.name,
                    shown(now),
                    shown(then)
                ));
            }
        }
    }
    found
}

/// Whether every member's next resolves to what it runs with: what must hold after step 36. What does not is named.
pub fn verify(deployment: &Inputs, set: &[Party], wish: &Wish) -> Vec<String> {
    broken(deployment, set, wish)
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "no value".into(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::{InputDecl, Script};

    fn inputs(pairs: &[(&str, &str)]) -> Inputs {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), Value::parse(v).unwrap())).collect()
    }

    fn template() -> Template {
        let declared = ["R", "A", "H", "L"].map(|n| (n.to_owned(), InputDecl::default()));
        let script = Script { inputs: BTreeMap::from(declared), ..Script::default() };
        Template { scripts: vec![script], ..Template::default() }
    }

    fn running(name: &str, next: &[(&str, &str)], current: &[(&str, &str)]) -> Party {
        let current = inputs(current)
            .into_iter()
            .map(|(n, value)| (n, Resolved { value, from: Level::Server }))
            .collect();
        Party {
            name: name.into(),
            template: Some(template()),
            next: inputs(next),
            current: Some(current),
            operational: true,
            ..Party::default()
        }
    }

    const OLD: &[(&str, &str)] =
        &[("R", "text:r1"), ("A", "text:a1"), ("H", "text:www"), ("L", "text:www")];
    const NEW: &[(&str, &str)] =
        &[("R", "text:r2"), ("A", "text:a2"), ("H", "text:www"), ("L", "text:www")];
    const RELEASE: &[(&str, &str)] = &[("R", "text:r2"), ("A", "text:a2")];

    fn wish(also: &[&str]) -> Wish {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Wish {
            promote: set(&["R", "A"]),
            drop: set(&["H", "L"]),
            also_affects: set(also),
            keep: BTreeSet::new(),
        }
    }

    fn temporary() -> Temporary {
        Temporary {
            servers: BTreeSet::from(["LB-3".to_owned()]),
            pools: BTreeSet::from(["test1".to_owned()]),
            hosts: BTreeSet::from(["test1.mysite.com".to_owned()]),
        }
    }

    #[test]
    fn the_worked_example_ends_with_the_release_at_the_deployment_and_no_override() {
        let set = [
            running("App-3", RELEASE, NEW),
            running("App-4", RELEASE, NEW),
            Party { array: true, current: None, ..running("array-2", RELEASE, &[]) },
        ];
        let others = [running("App-1", &[], OLD)];
        let deployment = inputs(OLD);
        let plan =
            plan_promote(&deployment, &set, &others, &temporary(), &wish(&["App-1"])).unwrap();
        assert_eq!(plan.deployment, inputs(RELEASE));
        assert_eq!(plan.removals.keys().collect::<Vec<_>>(), ["App-3", "App-4", "array-2"]);
        assert_eq!(plan.affected["App-1"].len(), 2);
        let after = inputs(NEW);
        let clean = [running("App-3", &[], NEW), running("App-4", &[], NEW)];
        assert_eq!(verify(&after, &clean, &wish(&[])), Vec::<String>::new());
        let again = plan_promote(&after, &clean, &others, &temporary(), &wish(&[])).unwrap();
        assert!(again.is_empty(), "{again:?}");
    }

    #[track_caller]
    fn refuses(set: &[Party], others: &[Party], wish: &Wish, part: &str) {
        let all = plan_promote(&inputs(OLD), set, others, &temporary(), wish).unwrap_err();
        assert!(all.iter().any(|why| why.contains(part)), "{part} is not in {all:?}");
    }

    #[test]
    fn what_would_hurt_is_refused() {
        let good = running("App-3", RELEASE, NEW);
        let old = running("App-1", &[], OLD);
        let with = |name: &str, value: &str| {
            let mut party = good.clone();
            let value = Value::parse(value).unwrap();
            party.next.insert(name.into(), value.clone());
            let resolved = Resolved { value, from: Level::Server };
            party.current.as_mut().unwrap().insert(name.into(), resolved);
            party
        };
        refuses(&[with("A", "text:test1")], &[], &wish(&[]), "temporary balancer");
        refuses(&[with("A", "text:http://test1.mysite.com/")], &[], &wish(&[]), "temporary");
        refuses(&[with("A", "env:LB-3:PRIVATE_IP")], &[], &wish(&[]), "temporary balancer");
        let list = r#"array:["text:a","text:test1"]"#;
        refuses(&[with("A", list)], &[], &wish(&[]), "temporary balancer");
        let like = with("A", "text:test12");
        plan_promote(&inputs(OLD), &[like], &[], &temporary(), &wish(&[])).unwrap();
        let mut both = wish(&[]);
        both.drop.insert("A".into());
        refuses(std::slice::from_ref(&good), &[], &both, "both promoted and dropped");
        let mut more = wish(&[]);
        more.promote.insert("Z".into());
        refuses(std::slice::from_ref(&good), &[], &more, "Z has no value");
        refuses(&[good.clone(), with("A", "text:a3")], &[], &wish(&[]), "text:a3 on \"App-3\"");
        refuses(&[with("X", "text:own")], &[], &wish(&[]), "class is not stated");
        refuses(&[with("H", "text:test2")], &[], &wish(&[]), "cannot be dropped yet");
        let down = Party { operational: false, ..good.clone() };
        refuses(&[down], &[], &wish(&[]), "not operational");
        refuses(std::slice::from_ref(&good), &[old], &wish(&[]), "from then on: \"App-1\"");
        let mut behind = good.clone();
        behind.current.as_mut().unwrap().get_mut("L").unwrap().value = Value::Text("x".into());
        refuses(&[behind], &[], &wish(&[]), "runs with L text:x");
        // what only one of the two has is drift as well: run with and not launched with, and the other way round
        let mut only = good.clone();
        let x = Resolved { value: Value::Text("x".into()), from: Level::Launch };
        only.current.as_mut().unwrap().insert("X".into(), x);
        refuses(&[only], &[], &wish(&[]), "runs with X text:x and would be launched with no value");
        let mut only = good.clone();
        only.current.as_mut().unwrap().remove("L");
        refuses(&[only], &[], &wish(&[]), "runs with L no value");
        // promoted is what it runs with, not what its next says
        let mut ahead = good.clone();
        ahead.next.insert("R".into(), Value::Text("r3".into()));
        let plan = plan_promote(&inputs(OLD), &[ahead], &[], &temporary(), &wish(&[])).unwrap();
        assert_eq!(plan.deployment, inputs(RELEASE));
        let mut own = with("X", "text:own");
        own.original = inputs(&[("X", "text:own")]);
        let plan = plan_promote(&inputs(OLD), &[own], &[], &temporary(), &wish(&[])).unwrap();
        assert!(
            !plan.removals["App-3"].contains("X"),
            "its original has it too: nothing of the release"
        );
        // what is stated goes, though the original has it too
        let mut stated = with("H", "text:www");
        stated.original = inputs(&[("H", "text:www")]);
        let plan = plan_promote(&inputs(OLD), &[stated], &[], &temporary(), &wish(&[])).unwrap();
        assert!(plan.removals["App-3"].contains("H"));
        let kept = Wish { keep: BTreeSet::from(["X".to_owned()]), ..wish(&[]) };
        plan_promote(&inputs(OLD), &[with("X", "text:own")], &[], &temporary(), &kept).unwrap();
    }

    #[test]
    fn what_a_promotion_is_nothing_to_is_neither_asked_nor_changed() {
        let set = [
            running("App-3", RELEASE, NEW),
            Party { instance: true, ..running("array-2 #1", RELEASE, NEW) },
        ];
        let others = [
            // no script of its asks for them; its own override is what it is launched with
            Party { template: None, ..running("DB", &[], OLD) },
            running("App-1", &[("R", "text:r1"), ("A", "text:a1")], OLD),
        ];
        let plan = plan_promote(&inputs(OLD), &set, &others, &temporary(), &wish(&[])).unwrap();
        assert_eq!(plan.removals.keys().collect::<Vec<_>>(), ["App-3"], "an instance has no next");
        assert!(plan.affected.is_empty() && !plan.is_empty());
        let left = Promotion { deployment: Inputs::new(), ..plan };
        assert!(!left.is_empty(), "overrides that are left to remove");
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            (0..3_u8).prop_map(|n| Value::Text(format!("v{n}"))),
            Just(Value::Blank),
            Just(Value::Ignore),
            Just(Value::Cred("C".into())),
        ]
    }

    fn some_inputs() -> impl Strategy<Value = Inputs> {
        proptest::collection::btree_map("[RAHL]", value(), 0..4)
    }

    proptest! {
        /// Whatever the world: either it is refused, or afterwards every next resolves to current without overrides,
        /// at every moment of the way no next resolves to a value that is neither, and a second plan is empty.
        #[test]
        fn after_a_promotion_every_next_resolves_to_current(
            deployment in some_inputs(),
            nexts in proptest::collection::vec(some_inputs(), 1..4),
            drift in proptest::collection::btree_map("[RAHL]", value(), 0..2),
        ) {
            let mut set: Vec<Party> = nexts.into_iter().enumerate().map(|(n, next)| {
                let mut party = running(&format!("s{n}"), &[], &[]);
                party.next = next;
                party.current = Some(party.resolve(&deployment).values);
                party
            }).collect();
            for (name, value) in drift {
                let resolved = Resolved { value, from: Level::Launch };
                set[0].current.get_or_insert_default().insert(name, resolved);
            }
            let Ok(plan) = plan_promote(&deployment, &set, &[], &Temporary::default(), &wish(&[]))
            else { return Ok(()) };
            let mut after = deployment.clone();
            after.extend(plan.deployment.clone());
            // killed between the two: what is left is the removals
            let resumed = plan_promote(&after, &set, &[], &Temporary::default(), &wish(&[]));
            let rest = Promotion { deployment: Inputs::new(), ..plan.clone() };
            prop_assert_eq!(resumed, Ok(rest));
            for party in &mut set {
                let between = party.resolve(&after).values;
                let before = party.resolve(&deployment).values;
                for (name, now) in &between {
                    let current = party.current.as_ref().unwrap().get(name).map(|r| &r.value);
                    let was = before.get(name).map(|r| &r.value);
                    prop_assert!(Some(&now.value) == current || Some(&now.value) == was);
                }
                let gone = plan.removals.get(&party.name).cloned().unwrap_or_default();
                party.next.retain(|name, _| !gone.contains(name));
                prop_assert!(party.next.is_empty());
            }
            prop_assert_eq!(verify(&after, &set, &wish(&[])), Vec::<String>::new());
            let again = plan_promote(&after, &set, &[], &Temporary::default(), &wish(&[]));
            prop_assert!(again.as_ref().is_ok_and(Promotion::is_empty), "{:?}", again);
        }
    }
}
