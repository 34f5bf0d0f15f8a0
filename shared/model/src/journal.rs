//! What the journal tells: which acts are wanted, whether each came to an end, and the report of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::act::{Act, Outcome};
use crate::check::{Answer, Check};
use crate::verb::To;

/// Which acts are wanted; what is absent does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this deployment.
    pub deployment: Option<String>,
    /// Of this run; with `*` for any text.
    pub run: Option<String>,
    /// Of this subject: whole (`server App Server-3`), only its name (`App Server-3`), or with `*` for any text.
    pub subject: Option<String>,
    /// Only acts without an outcome.
    pub open: bool,
    /// The newest so many.
    pub last: Option<usize>,
}

impl Wanted {
    /// Whether an act is of the deployment and of the run that are wanted.
    pub fn of_run(&self, act: &Act) -> bool {
        self.deployment.as_ref().is_none_or(|name| act.deployment == *name)
            && self
                .run
                .as_ref()
                .is_none_or(|pattern| act.owner.run.as_ref().is_some_and(|run| like(run, pattern)))
    }
}

/// The wanted acts, in order.
pub fn select(acts: Vec<Act>, wanted: &Wanted) -> Vec<Act> {
    let mut found: Vec<Act> = acts
        .into_iter()
        .filter(|act| {
            wanted.of_run(act)
                && wanted.subject.as_ref().is_none_or(|pattern| is_of(&act.subject, pattern))
                && (!wanted.open || act.outcome == Outcome::Open)
        })
        .collect();
    if let Some(last) = wanted.last {
        found.drain(..found.len().saturating_sub(last));
    }
    found
}

fn is_of(subject: &str, pattern: &str) -> bool {
    let name = subject.split_once(' ').map_or(subject, |(_, name)| name);
    like(subject, pattern) || like(name, pattern)
}

/// Whether a text fits a pattern in which `*` stands for any text.
fn like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Where a run stands, as far as it matters to what may be started: on which schema, for which release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nothing was migrated.
    Before,
    /// A migration was begun.
    Over,
    /// It came back to the old release, or is on its way there.
    Back,
}

/// Where a run stands. A step that is done after a way back, or that it was given up or is taken back, says that it is back
/// no more.
pub fn stands(acts: &[Act], deployment: &str, run: &str) -> Stands {
    let of = |act: &&Act| act.deployment == deployment && act.owner.run.as_deref() == Some(run);
    let noted = |act: &&Act| {
        let stands = act.subject.starts_with("step ")
            || ["way back", "undo"].contains(&act.subject.as_str());
        stands && (act.tool.as_str(), act.verb.as_str()) == MARK
    };
    let newest = acts.iter().rev().filter(of).find(noted);
    if newest.is_some_and(|act| ["way back", "step back"].contains(&act.subject.as_str())) {
        return Stands::Back;
    }
    let migrates = |act: &Act| (act.tool.as_str(), act.verb.as_str()) == ("rs-dbsync", "migrate");
    if acts.iter().filter(of).any(migrates) { Stands::Over } else { Stands::Before }
}

/// What the window took in the newest rehearsal of a deployment, milliseconds: as clients saw it, else the steps from
/// page to page (18 to 31). Absent: none came so far.
pub fn rehearsed_ms(acts: &[Act], deployment: &str) -> Option<u64> {
    let of = |act: &&Act| act.deployment == deployment && act.tool == "rs-journal";
    let run = &acts.iter().rev().find(of)?.owner.run;
    let marks = || acts.iter().filter(of).filter(|act| act.owner.run == *run);
    let seen = marks().rfind(|act| act.subject == "window as clients saw it");
    if let Some(seen) = seen {
        return seen.ms;
    }
    if !marks().any(|act| act.subject == "step 31") {
        return None;
    }
    let dark = marks().filter(|act| {
        let number = act.subject.strip_prefix("step ").and_then(|label| label.get(..2));
        number.and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| (18..=31).contains(&n))
    });
    Some(dark.filter_map(|act| act.ms).sum())
}

/// Whether one of two acts, well ended, leaves nothing of the other half done: the same verb of a tool on the same
/// subject (and of it the same script, pool, label, inputs or setting), or the one that brings the opposite about. Each looks at the world
/// before it acts.
pub fn alike(one: &Act, other: &Act) -> bool {
    let opposite = || crate::verb::of(one).and_then(|verb| verb.opposite);
    (&one.deployment, &one.tool, &one.subject, &one.about)
        == (&other.deployment, &other.tool, &other.subject, &other.about)
        && (one.verb == other.verb || opposite() == Some(other.verb.as_str()))
}

/// What the control plane still has of the subject of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All of it, or nobody asked.
    All,
    /// Its definition, without a machine.
    Definition,
    /// Nothing.
    Nothing,
}

/// Whether the retirement of an act's subject leaves nothing of the act: what it did to a machine ended with that, what it
/// did to a definition ends with the definition. A retirement declines while the subject is in use, and what is owed
/// because of it are debts of their own. That the journal has one is not enough: `left` is what the world says now.
fn ended(act: &Act, later: &Act, left: Left) -> bool {
    let retired = (later.tool.as_str(), later.verb.as_str()) == ("rs-cleanup", "retire")
        && (&act.deployment, &act.subject) == (&later.deployment, &later.subject);
    let of_machine = crate::verb::of(act).is_some_and(|verb| verb.to == To::Machine);
    retired && (left == Left::Nothing || left == Left::Definition && of_machine)
}

/// The acts without an outcome that no later act settles: one that is [`alike`] and was done, or the retirement of their
/// subject, when the world shows that it is gone.
///
/// Each with whether its process still runs, as `alive` says it (absent: that cannot be seen from here). One that runs
/// is settled by none.
///
/// - `acts`: all of them: an act of another run may settle one of this.
/// - `left`: what the world has of an act's subject.
pub fn unended<'a>(
    acts: &'a [Act],
    alive: &dyn Fn(&Act) -> Option<bool>,
    left: &dyn Fn(&Act) -> Left,
) -> Vec<(&'a Act, Option<bool>)> {
    let open = acts.iter().enumerate().filter(|(_, act)| act.outcome == Outcome::Open);
    open.map(|(at, act)| (at, act, alive(act)))
        .filter(|(at, act, life)| {
            let settles = |later: &Act| {
                later.outcome == Outcome::Done
                    && (alike(act, later) || ended(act, later, left(act)))
            };
            *life == Some(true) || !acts[at + 1..].iter().any(settles)
        })
        .map(|(_, act, life)| (act, life))
        .collect()
}

/// An act in words.
fn title(act: &Act) -> String {
    let about = act.about.as_ref().map(|about| format!(" {about:?}")).unwrap_or_default();
    format!("act {}: {} {}{about} on {}", act.seq, act.tool, act.verb, act.subject)
}

/// What settles an act that was cut off.
fn settled_how(act: &Act) -> String {
    let back = act.undo.as_ref().map(|undo| format!("; back: {undo}")).unwrap_or_default();
    format!(
        "the same command again: it looks at the world and goes on{back}; or, when you have seen to it: rs-journal \
         close {} --because TEXT",
        act.seq
    )
}

/// What a person is told of an act that was cut off: which, and what settles it.
pub fn cut_off(act: &Act) -> String {
    format!("{} was cut off (try: {})", title(act), settled_how(act))
}

/// Whether every intent has an outcome: one check per act that has none, all of them named, or a single ok.
///
/// An open act whose process is gone was cut off: a no, unless a later one settles it ([`unended`]). One whose process
/// runs, or of which that cannot be known (another host), is unknown, which is not ok either.
///
/// - `acts`: all of them.
/// - `wanted`: which are asked about.
/// - `alive`: whether the act's process still runs; absent when that cannot be seen from here.
/// - `left`: what the world has of an act's subject.
pub fn verify(
    acts: &[Act],
    wanted: &dyn Fn(&Act) -> bool,
    alive: &dyn Fn(&Act) -> Option<bool>,
    left: &dyn Fn(&Act) -> Left,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for (act, life) in unended(acts, alive, left).into_iter().filter(|(act, _)| wanted(act)) {
        let owner = &act.owner;
        let who = format!("{}@{} (process {}) at {}", owner.user, owner.host, owner.pid, act.at);
        let (answer, detail, hint) = match life {
            Some(false) => (Answer::No, format!("begun by {who}, cut off"), settled_how(act)),
            Some(true) => (
                Answer::Unknown,
                format!("under way by {who}"),
                format!("wait for process {}", owner.pid),
            ),
            None => (
                Answer::Unknown,
                format!("begun by {who}, on another host"),
                format!("look there, on {}", owner.host),
            ),
        };
        checks.push(Check::new("act has an outcome", &title(act), answer, detail).hint(hint));
    }
    if checks.is_empty() {
        let detail = format!("{} acts", acts.iter().filter(|act| wanted(act)).count());
        checks.push(Check::new("every act has an outcome", "journal", Answer::Ok, detail));
    }
    checks
}

/// Whether something was marked as done: a run that came to an end marks its last step.
pub fn marked(acts: &[Act], what: &str) -> Check {
    let is_mark = |act: &&Act| (act.tool.as_str(), act.verb.as_str()) == MARK;
    let newest = acts.iter().filter(is_mark).rfind(|act| act.subject == what);
    match newest {
        Some(act) => {
            let run = act.owner.run.as_deref().unwrap_or("by hand");
            Check::new("it is marked", what, Answer::Ok, format!("by {run} at {}", act.at))
        }
        None => Check::new("it is marked", what, Answer::No, "no act marks it")
            .hint("the run has not come so far: rs-journal report shows its steps"),
    }
}

/// Acts of one tool and verb together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The tool.
    pub tool: String,
    /// The verb.
    pub verb: String,
    /// How many acts.
    pub acts: usize,
    /// Of these, failed.
    pub failed: usize,
    /// Of these, without an outcome.
    pub open: usize,
    /// Milliseconds, summed; acts that ran side by side count each for itself.
    pub ms: u64,
}

/// A step of the guide as the run marked it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// e.g. `step 18`.
    pub step: String,
    /// When it ended, RFC 3339 UTC.
    pub at: String,
    /// Milliseconds from its begin to its end.
    pub ms: u64,
}

/// How one act is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// The act.
    pub seq: u64,
    /// What it was done to.
    pub subject: String,
    /// What a person does.
    pub undo: String,
}

/// What a run did (`rs.report/1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Deployment.
    pub deployment: String,
    /// The run; absent for acts by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// First intent, RFC 3339 UTC.
    pub began: String,
    /// Last intent, RFC 3339 UTC.
    pub last: String,
    /// How many acts, marks left out.
    pub acts: usize,
    /// Of these, failed.
    pub failed: usize,
    /// Of these, without an outcome.
    pub open: usize,
    /// Milliseconds of all acts, summed.
    pub ms: u64,
    /// By tool and verb, in the order of their first act.
    pub tally: Vec<Tally>,
    /// Steps, in the order in which they ended; one that ran again counts its last run.
    pub steps: Vec<Marked>,
    /// Everything that can be undone, newest first: the order in which to undo.
    pub undo: Vec<Undo>,
}

/// The tool and verb of a mark (`rs-journal mark`): a note, not a change.
pub const MARK: (&str, &str) = ("rs-journal", "mark");

/// One report for each deployment and run, in the order of their first acts.
pub fn report(acts: &[Act]) -> Vec<Report> {
    let mut order: Vec<(String, Option<String>)> = Vec::new();
    let mut reports: BTreeMap<(String, Option<String>), Report> = BTreeMap::new();
    for act in acts {
        let key = (act.deployment.clone(), act.owner.run.clone());
        let report = reports.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            Report {
                deployment: act.deployment.clone(),
                run: act.owner.run.clone(),
                began: act.at.clone(),
                ..Report::default()
            }
        });
        report.last.clone_from(&act.at);
        let ms = act.ms.unwrap_or(0);
        if (act.tool.as_str(), act.verb.as_str()) == MARK {
            report.steps.retain(|step| step.step != act.subject);
            report.steps.push(Marked { step: act.subject.clone(), at: act.at.clone(), ms });
            continue;
        }
        let at = report.tally.iter().position(|t| t.tool == act.tool && t.verb == act.verb);
        let at = at.unwrap_or_else(|| {
            report.tally.push(Tally {
                tool: act.tool.clone(),
                verb: act.verb.clone(),
                ..Tally::default()
            });
            report.tally.len() - 1
        });
        let (failed, open) = (
            usize::from(act.outcome == Outcome::Failed),
            usize::from(act.outcome == Outcome::Open),
        );
        if let Some(tally) = report.tally.get_mut(at) {
            tally.acts += 1;
            tally.failed += failed;
            tally.open += open;
            tally.ms += ms;
        }
        report.acts += 1;
        report.failed += failed;
        report.open += open;
        report.ms += ms;
        if let Some(undo) = act.undo.clone().filter(|_| act.outcome != Outcome::Failed) {
            report.undo.insert(0, Undo { seq: act.seq, subject: act.subject.clone(), undo });
        }
    }
    order.into_iter().filter_map(|key| reports.remove(&key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Owner;

    fn act(seq: u64, subject: &str, verb: &str, outcome: Outcome) -> Act {
        Act {
            seq,
            at: format!("2026-11-24T14:00:{seq:02}.000Z"),
            deployment: "production".into(),
            subject: subject.into(),
            tool: "rs-lbctl".into(),
            verb: verb.into(),
            about: None,
            owner: Owner { run: Some("u-1".into()), ..Owner::default() },
            epoch: 1,
            clock: false,
            outcome,
            before: serde_json::Value::Null,
            after: serde_json::Value::Null,
            ms: Some(seq),
            undo: Some(format!("undo {seq}")),
            error: None,
        }
    }

    #[test]
    fn a_pattern_fits_the_whole_subject_or_its_name() {
        for (subject, pattern, fits) in [
            ("server App Server-1", "App Server-1", true),
            ("server App Server-1", "server App Server-1", true),
            ("server App Server-1", "server *", true),
            ("server App Server-1", "*Server-?", false),
            ("server App Server-1", "App*1", true),
            ("server App Server-1", "App*", true),
            ("server App Server-1", "App", false),
            ("step 18", "step *", true),
            ("step 18", "*", true),
            ("step 18", "s*1*8", true),
            ("step 18", "*19*", false),
            ("aXbXc", "a*b*b*c", false),
            ("aba", "aba*aba", false),
        ] {
            assert_eq!(is_of(subject, pattern), fits, "{subject} {pattern}");
        }
    }

    #[test]
    fn an_act_that_was_cut_off_is_a_no_until_the_tool_has_been_there_again() {
        let cut = act(1, "server a", "connect", Outcome::Open);
        let ask = |acts: &[Act], life: Option<bool>| -> Vec<Answer> {
            let checks = verify(acts, &|act| act.seq == 1, &|_| life, &|_| Left::All);
            checks.iter().map(|check| check.answer).collect()
        };
        assert_eq!(ask(&[], None), [Answer::Ok]);
        assert_eq!(ask(std::slice::from_ref(&cut), Some(false)), [Answer::No]);
        assert_eq!(ask(std::slice::from_ref(&cut), Some(true)), [Answer::Unknown]);
        assert_eq!(ask(std::slice::from_ref(&cut), None), [Answer::Unknown]);
        let again = |verb| act(2, "server a", verb, Outcome::Done);
        for (verb, answer) in [
            ("connect", Answer::Ok),
            ("disconnect", Answer::Ok),
            // another thing of the same server
            ("drain", Answer::No),
            ("unlock", Answer::No),
        ] {
            assert_eq!(ask(&[cut.clone(), again(verb)], Some(false)), [answer], "{verb}");
            assert_eq!(ask(&[cut.clone(), again(verb)], Some(true)), [Answer::Unknown], "{verb}");
        }
        assert_eq!(ask(&[cut.clone(), again("connect")], None), [Answer::Ok]);
        assert_eq!(ask(&[again("connect"), cut.clone()], Some(false)), [Answer::No], "earlier");
        for other in [
            act(2, "server b", "connect", Outcome::Done),
            act(2, "server a", "connect", Outcome::Failed),
            act(2, "server a", "connect", Outcome::Open),
            Act { tool: "rs-server".into(), ..again("connect") },
            Act { about: Some("www".into()), ..again("connect") },
            Act { deployment: "staging".into(), ..again("connect") },
        ] {
            assert_eq!(ask(&[cut.clone(), other.clone()], Some(false)), [Answer::No], "{other:?}");
        }
        // by whomever
        let by_hand = Act { owner: Owner::default(), ..again("connect") };
        assert_eq!(ask(&[cut.clone(), by_hand], Some(false)), [Answer::Ok]);
        assert!(
            cut_off(&cut).contains("back: undo 1") && cut_off(&cut).contains("close 1 --because")
        );
    }

    #[test]
    fn what_was_cut_off_is_settled_both_ways_by_its_opposite() {
        for verb in crate::verb::all() {
            let Some(opposite) = verb.opposite else { continue };
            let (tool, a, b) = (verb.tool, verb.verb, opposite);
            let of = |verb| Act { tool: tool.into(), ..act(1, "server a", verb, Outcome::Open) };
            assert!(alike(&of(a), &of(b)) && alike(&of(b), &of(a)), "{tool} {a}");
            assert!(!alike(&of(a), &Act { tool: "rs-run".into(), ..of(b) }), "{tool} {a}");
            let about = |verb, what: &str| Act { about: Some(what.into()), ..of(verb) };
            assert!(alike(&about(a, "X"), &about(b, "X")), "{tool} {a}");
            assert!(!alike(&about(a, "X"), &about(b, "Y")), "{tool} {a}: of another thing");
        }
    }

    #[test]
    fn what_was_cut_off_is_settled_by_the_retirement_of_what_the_world_has_no_more() {
        let of = |seq, tool: &str, verb, outcome| Act {
            tool: tool.into(),
            ..act(seq, "server a", verb, outcome)
        };
        let retired = of(2, "rs-cleanup", "retire", Outcome::Done);
        let named = |acts: &[Act], life: bool, left: Left| {
            unended(acts, &|_| Some(life), &|_| left).iter().any(|(act, _)| act.seq == 1)
        };
        // what each kind of act is named under: all is there, only the definition is, nothing is
        for (tool, verb, wanted) in [
            ("rs-run", "run", [true, false, false]),
            ("rs-lbctl", "connect", [true, false, false]),
            ("rs-dbsync", "migrate", [true, false, false]),
            ("rs-server", "launch", [true, false, false]),
            ("rs-server", "mark", [true, true, false]),
            ("rs-inputs", "set", [true, true, false]),
            ("rs-clone", "server", [true, true, false]),
        ] {
            let cut = of(1, tool, verb, Outcome::Open);
            let all = [Left::All, Left::Definition, Left::Nothing];
            let found = all.map(|left| named(&[cut.clone(), retired.clone()], false, left));
            assert_eq!(found, wanted, "{tool} {verb}");
            // never by the world alone, and not while it runs
            let mut others = vec![
                Act { outcome: Outcome::Open, ..retired.clone() },
                Act { outcome: Outcome::Failed, ..retired.clone() },
                Act { subject: "server b".into(), ..retired.clone() },
                Act { subject: "array a".into(), ..retired.clone() },
                Act { deployment: "staging".into(), ..retired.clone() },
            ];
            others.push(Act { verb: "recreate".into(), ..retired.clone() });
            for other in others {
                assert!(named(&[cut.clone(), other.clone()], false, Left::Nothing), "{other:?}");
            }
            assert!(named(&[retired.clone(), cut.clone()], false, Left::Nothing), "earlier");
            assert!(named(&[cut, retired.clone()], true, Left::Nothing), "it runs");
        }
    }

    #[test]
    fn a_mark_is_found_by_its_whole_name_and_a_run_by_a_pattern() {
        let mut mark = act(4, "step 38", "mark", Outcome::Done);
        mark.tool = "rs-journal".into();
        let acts = [act(1, "step 37", "connect", Outcome::Done), mark];
        assert_eq!(marked(&acts, "step 38").answer, Answer::Ok);
        assert_eq!(marked(&acts, "step 3").answer, Answer::No);
        assert_eq!(marked(&acts, "step 37").answer, Answer::No, "an act is no mark");
        for (run, found) in [("u-1", 2), ("u-*", 2), ("u-10", 0), ("u-", 0)] {
            let wanted = Wanted { run: Some(run.into()), ..Wanted::default() };
            assert_eq!(select(acts.to_vec(), &wanted).len(), found, "{run}");
        }
    }

    #[test]
    fn where_a_run_stands_is_what_it_noted_last_and_whether_it_migrated() {
        use Stands::{Back, Before, Over};
        let noted = |marks: &[&str]| -> Vec<Act> {
            let note = |(seq, what): (u64, &&str)| match *what {
                "migrate" => {
                    Act { tool: "rs-dbsync".into(), ..act(seq, "server a", what, Outcome::Open) }
                }
                _ => Act { tool: "rs-journal".into(), ..act(seq, what, "mark", Outcome::Done) },
            };
            (1..).zip(marks).map(note).collect()
        };
        for (marks, stand) in [
            (&[][..], Before),
            (&["step 22"], Before),
            (&["step 22", "migrate"], Over),
            (&["step 22", "migrate", "step 31"], Over),
            (&["migrate", "step 31", "step back"], Back),
            (&["migrate", "step 31", "step back", "way back"], Back),
            (&["migrate", "step back", "way back", "we stay here"], Back),
            (&["migrate", "step back", "step forth"], Over),
            (&["migrate", "way back", "undo"], Over),
            (&["migrate", "way back", "undo", "step forth"], Over),
            (&["step 22", "step back", "way back"], Back),
            (&["step 22", "step back", "way back", "step 15"], Before),
        ] {
            let acts = noted(marks);
            let deployment = act(1, "", "", Outcome::Done).deployment;
            assert_eq!(stands(&acts, &deployment, "u-1"), stand, "{marks:?}");
            assert_eq!(stands(&acts, &deployment, "u-2"), Before, "of another run");
            assert_eq!(stands(&acts, "other", "u-1"), Before, "of another deployment");
        }
    }

    #[test]
    fn a_report_counts_and_lists_undo_newest_first() {
        let mut mark = act(4, "step 18", "mark", Outcome::Done);
        mark.tool = "rs-journal".into();
        mark.undo = None;
        let mut by_hand = act(5, "server c", "drain", Outcome::Open);
        by_hand.owner.run = None;
        let acts = [
            act(1, "server a", "connect", Outcome::Done),
            act(2, "server b", "connect", Outcome::Failed),
            act(3, "server a", "drain", Outcome::Done),
            mark,
            by_hand,
        ];
        let reports = report(&acts);
        assert_eq!(reports.len(), 2);
        let run = &reports[0];
        assert_eq!((run.acts, run.failed, run.open, run.ms), (3, 1, 0, 6));
        assert_eq!(run.tally[0].acts, 2);
        assert_eq!(run.undo.iter().map(|u| u.seq).collect::<Vec<_>>(), [3, 1]);
        assert_eq!((run.steps[0].step.as_str(), run.steps[0].ms), ("step 18", 4));
        assert_eq!((reports[1].run.as_ref(), reports[1].open), (None, 1));
    }

    #[test]
    fn the_wanted_acts_are_the_newest_of_those_that_fit() {
        let acts: Vec<Act> =
            (1..=5).map(|n| act(n, "server a", "connect", Outcome::Done)).collect();
        let wanted = Wanted { last: Some(2), run: Some("u-1".into()), ..Wanted::default() };
        let seqs: Vec<u64> = select(acts.clone(), &wanted).iter().map(|act| act.seq).collect();
        assert_eq!(seqs, [4, 5]);
        let none = Wanted { open: true, ..Wanted::default() };
        assert_eq!(select(acts, &none), []);
    }

    #[test]
    fn acts_of_another_deployment_or_subject_are_not_wanted() {
        let mut other = act(3, "server a", "connect", Outcome::Done);
        other.deployment = "staging".into();
        let acts = vec![
            act(1, "server a", "connect", Outcome::Done),
            act(2, "server b", "connect", Outcome::Done),
            other,
        ];
        let seqs = |wanted: Wanted| -> Vec<u64> {
            select(acts.clone(), &wanted).iter().map(|act| act.seq).collect()
        };
        assert_eq!(
            seqs(Wanted { deployment: Some("production".into()), ..Wanted::default() }),
            [1, 2]
        );
        assert_eq!(seqs(Wanted { subject: Some("a".into()), ..Wanted::default() }), [1, 3]);
    }

    #[test]
    fn verbs_are_opposite_in_their_own_tool_only() {
        let of = |tool: &str, verb: &str| Act {
            tool: tool.into(),
            ..act(1, "server a", verb, Outcome::Open)
        };
        assert!(!alike(&of("rs-lbctl", "lock"), &of("rs-lbctl", "unlock")));
        assert!(alike(&of("rs-server", "lock"), &of("rs-server", "unlock")));
    }

    #[test]
    fn a_rehearsal_took_what_its_newest_run_marked_from_page_to_page() {
        let marks = |run: &str, all: &[(&str, u64)]| -> Vec<Act> {
            let mark = |(subject, ms): &(&str, u64)| Act {
                tool: "rs-journal".into(),
                ms: Some(*ms),
                owner: Owner { run: Some(run.into()), ..Owner::default() },
                ..act(1, subject, "mark", Outcome::Done)
            };
            all.iter().map(mark).collect()
        };
        let dark = [
            ("step 17", 1),
            ("step 18", 10),
            ("step 23-db", 200),
            ("step 31", 3000),
            ("step 32", 1),
            ("way back", 1),
        ];
        let all = marks("u-1", &dark);
        assert_eq!(rehearsed_ms(&all, "production"), Some(3210));
        assert_eq!(rehearsed_ms(&all, "staging"), None, "another deployment was not rehearsed");
        assert_eq!(rehearsed_ms(&all[..3], "production"), None, "it did not come to its end");
        // a later run counts alone; what clients saw counts before the steps, the newest of it
        let later = [all.clone(), marks("u-2", &[("step 18", 7), ("step 31", 5)])].concat();
        assert_eq!(rehearsed_ms(&later, "production"), Some(12));
        let begun = [all.clone(), marks("u-2", &[("step 18", 7)])].concat();
        assert_eq!(rehearsed_ms(&begun, "production"), None);
        let seen = [("window as clients saw it", 900), ("window as clients saw it", 800)];
        let seen = [all, marks("u-1", &seen)].concat();
        assert_eq!(rehearsed_ms(&seen, "production"), Some(800));
    }
}
