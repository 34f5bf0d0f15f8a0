//! The verbs that change something, each with what the journal has to know of it. A tool's verb that is missing here fails
//! the test `every_verb_that_changes_says_what_the_journal_has_to_know`.

use crate::act::Act;

/// What a done act says is so from now on: `crate::claims` reads it out of the act, and `rs-journal verify` compares it with
/// the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Nothing that the world could be asked for.
    Nothing,
    /// A server that runs.
    Up,
    /// A lock, or none.
    Locked,
    /// An array that is kept at its minimum, or not.
    Enabled,
    /// A tag of a run.
    Tag,
    /// Inputs.
    Inputs,
    /// The page, or none.
    Page,
    /// Writes off, or on.
    Writes,
    /// A held slave, or one that is not.
    Held,
    /// Members of a pool.
    Members,
    /// A name that points.
    Record,
    /// A pinned snapshot, or one that is not.
    Pinned,
    /// Backups by the clock, or none.
    Backups,
}

/// What an act was done to: with that its traces end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A machine.
    Machine,
    /// A definition.
    Definition,
}

/// A verb that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// e.g. `rs-dbsync`.
    pub tool: &'static str,
    /// As the journal has it, e.g. `writes off`; of a tool without verbs its own name, `run`.
    pub verb: &'static str,
    /// The verb that brings the same thing into the other state: when that is done, nothing is left half done.
    pub opposite: Option<&'static str>,
    /// What it leaves.
    pub leaves: Leaves,
    /// What it is done to.
    pub to: To,
}

const fn verb(tool: &'static str, verb: &'static str, to: To, leaves: Leaves) -> Verb {
    Verb { tool, verb, opposite: None, leaves, to }
}

const fn pair(
    tool: &'static str,
    [one, other]: [&'static str; 2],
    to: To,
    leaves: Leaves,
) -> [Verb; 2] {
    [
        Verb { opposite: Some(other), ..verb(tool, one, to, leaves) },
        Verb { opposite: Some(one), ..verb(tool, other, to, leaves) },
    ]
}

/// All of them that have an opposite.
const PAIRS: [[Verb; 2]; 12] = [
    pair("rs-server", ["lock", "unlock"], To::Definition, Leaves::Locked),
    pair("rs-server", ["enable", "disable"], To::Definition, Leaves::Enabled),
    pair("rs-server", ["quench", "unquench"], To::Definition, Leaves::Nothing),
    pair("rs-server", ["launch", "relaunch"], To::Machine, Leaves::Up),
    pair("rs-inputs", ["set", "unset"], To::Definition, Leaves::Inputs),
    pair("rs-lbctl", ["connect", "disconnect"], To::Machine, Leaves::Members),
    pair("rs-maintenance", ["start", "stop"], To::Machine, Leaves::Page),
    pair("rs-dbsync", ["writes off", "writes on"], To::Machine, Leaves::Writes),
    pair("rs-dbsync", ["hold", "resume"], To::Machine, Leaves::Held),
    pair("rs-dbsync", ["settings change", "settings restore"], To::Machine, Leaves::Nothing),
    pair("rs-snapshot", ["pin", "unpin"], To::Machine, Leaves::Pinned),
    pair("rs-snapshot", ["schedule on", "schedule off"], To::Machine, Leaves::Backups),
];

/// All others.
const SINGLE: [Verb; 23] = [
    verb("rs-server", "apply", To::Definition, Leaves::Nothing),
    verb("rs-server", "mark", To::Definition, Leaves::Tag),
    verb("rs-server", "tend", To::Definition, Leaves::Nothing),
    verb("rs-clone", "server", To::Definition, Leaves::Nothing),
    verb("rs-clone", "array", To::Definition, Leaves::Nothing),
    verb("rs-clone", "deployment", To::Definition, Leaves::Nothing),
    verb("rs-inputs", "copy", To::Definition, Leaves::Inputs),
    verb("rs-inputs", "promote", To::Definition, Leaves::Inputs),
    verb("rs-run", "run", To::Machine, Leaves::Nothing),
    verb("rs-lbctl", "drain", To::Machine, Leaves::Nothing),
    verb("rs-lbctl", "point", To::Machine, Leaves::Record),
    verb("rs-dbsync", "writes opened", To::Machine, Leaves::Nothing),
    verb("rs-dbsync", "init", To::Machine, Leaves::Nothing),
    verb("rs-dbsync", "migrate", To::Machine, Leaves::Nothing),
    verb("rs-dbsync", "promote", To::Machine, Leaves::Nothing),
    verb("rs-snapshot", "take", To::Machine, Leaves::Nothing),
    verb("rs-snapshot", "prove", To::Machine, Leaves::Nothing),
    verb("rs-snapshot", "restore", To::Machine, Leaves::Nothing),
    verb("rs-snapshot", "prune", To::Machine, Leaves::Nothing),
    verb("rs-cleanup", "retire", To::Definition, Leaves::Nothing),
    verb("rs-cleanup", "recreate", To::Definition, Leaves::Nothing),
    verb("rs-journal", "mark", To::Definition, Leaves::Nothing),
    verb("rs-journal", "close", To::Definition, Leaves::Nothing),
];

/// Every verb that changes something.
pub fn all() -> impl Iterator<Item = &'static Verb> {
    PAIRS.iter().flatten().chain(&SINGLE)
}

/// The verb of an act; absent: no tool of today has it.
pub fn of(act: &Act) -> Option<&'static Verb> {
    all().find(|verb| verb.tool == act.tool && verb.verb == act.verb)
}
