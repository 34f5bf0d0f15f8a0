//! The two-phase act: intents durable first, then the acts, then the outcomes. The one place that does so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rs_contract::{Error, Hand, Kind, Locked, Result, State};
use rs_model::act::{Act, Debt, Did, Due, Outcome, Owner};
use serde_json::{Map, Value as Json};

use crate::journal::{Journal, now, owner};
use crate::{Context, Exit, Subjects};

/// A temporary change that a step opens.
#[derive(Clone, Debug, PartialEq)]
pub struct DebtSpec {
    /// `KIND:SUBJECT`, unique in the deployment, e.g. `held:Slave2 DB`.
    pub key: String,
    /// Why, for people.
    pub reason: String,
    /// The command that settles it: an argument list of one of our tools.
    pub inverse: Vec<String>,
    /// Until when.
    pub due: Due,
    /// When it alarms, RFC 3339 UTC.
    pub deadline: Option<String>,
    /// What `inverse` needs to restore exactly.
    pub before: Json,
}

/// What is to be done to one subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Index into [`Subjects::items`].
    pub at: usize,
    /// False: it is so already; no intent is written, nothing is done, `changed: false`. What it opens and settles
    /// is brought in step all the same.
    pub needed: bool,
    /// What is there before.
    pub before: Json,
    /// What will be there after, as far as it can be known: the `after` of a dry run.
    pub expect: Json,
    /// Fields that a dry run gives the subject's record, e.g. `{"state": "operational"}`.
    pub predict: Map<String, Json>,
    /// How a person undoes it.
    pub undo: Option<String>,
    /// Debts that it opens: with the intent, before the act. They stay when the act fails, unless its error is
    /// [`Error::untouched`].
    pub opens: Vec<DebtSpec>,
    /// Keys of debts that it settles.
    pub settles: Vec<String>,
}

/// What was done to one subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// False when it turned out to be so already.
    pub changed: bool,
    /// What is there now, read back.
    pub after: Json,
    /// Nested results, e.g. `("members", …)`.
    pub nest: Vec<(String, Json)>,
}

impl Done {
    /// Changed, and this is there now.
    pub fn now(after: impl Into<Json>) -> Done {
        Done { changed: true, after: after.into(), nest: Vec::new() }
    }

    /// With a nested result.
    #[must_use]
    pub fn nest(mut self, key: &str, value: impl serde::Serialize) -> Done {
        self.nest.push((key.to_owned(), serde_json::to_value(value).unwrap_or(Json::Null)));
        self
    }
}

impl Context {
    /// Acts on each subject by itself, `--jobs` at once. Some may fail (exit 8) while others are done.
    pub fn each(
        &self,
        state: &dyn State,
        deployment: &str,
        subjects: &mut Subjects,
        steps: &[Step],
        work: impl Fn(&Step) -> Result<Done> + Sync,
    ) -> anyhow::Result<Exit> {
        self.act(state, deployment, subjects, steps, |todo: &[&Step], finish: &Finish<'_>| {
            let next = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..usize::from(self.common.jobs).min(todo.len()) {
                    scope.spawn(|| {
                        loop {
                            let at = next.fetch_add(1, Ordering::Relaxed);
                            let Some(step) = todo.get(at) else { break };
                            let begun = Instant::now();
                            finish(vec![(at, begun, work(step))]);
                        }
                    });
                }
            });
        })
    }

    /// Acts on all subjects in one go: `work` returns one result per step that was needed, in order, or the error
    /// that all of them share (and has taken back what it did, where that is its direction).
    pub fn together(
        &self,
        state: &dyn State,
        deployment: &str,
        subjects: &mut Subjects,
        steps: &[Step],
        work: impl FnOnce(&[&Step]) -> Result<Vec<Done>>,
    ) -> anyhow::Result<Exit> {
        self.act(state, deployment, subjects, steps, |todo: &[&Step], finish: &Finish<'_>| {
            let begun = Instant::now();
            finish(match work(todo) {
                Ok(done) => done
                    .into_iter()
                    .take(todo.len())
                    .enumerate()
                    .map(|(at, done)| (at, begun, Ok(done)))
                    .collect(),
                Err(e) => (0..todo.len()).map(|at| (at, begun, Err(e.clone()))).collect(),
            });
        })
    }

    fn act(
        &self,
        state: &dyn State,
        deployment: &str,
        subjects: &mut Subjects,
        steps: &[Step],
        run: impl FnOnce(&[&Step], &Finish<'_>),
    ) -> anyhow::Result<Exit> {
        self.deadline_counts(steps)?;
        let (needed, idle): (Vec<usize>, Vec<usize>) =
            (0..steps.len()).partition(|at| steps.get(*at).is_some_and(|step| step.needed));
        let todo: Vec<&Step> = needed.iter().filter_map(|at| steps.get(*at)).collect();
        let idle: Vec<&Step> = idle.iter().filter_map(|at| steps.get(*at)).collect();
        let mut results: Vec<Ended> = todo.iter().map(|_| None).collect();
        let mut late = None;
        if !self.dry() {
            if !idle.is_empty() {
                self.owe(state, deployment, subjects, &idle)?;
            }
            if !todo.is_empty() {
                results = self.two_phases(state, deployment, subjects, &todo, run)?;
                late = self.taken_over(state, deployment).err();
            }
        }
        let mut results = results.into_iter();
        let mut errors = Vec::new();
        for step in steps {
            let (did, nest) = if !step.needed {
                (self.did(step, false, 0, step.before.clone()), Vec::new())
            } else if self.dry() {
                (Did { planned: true, ..self.did(step, true, 0, step.expect.clone()) }, Vec::new())
            } else {
                match results.next().flatten() {
                    Some((ms, Ok(done))) => {
                        (self.did(step, done.changed, ms, done.after), done.nest)
                    }
                    Some((ms, Err(e))) => {
                        let error = Some(e.to_string());
                        errors.push(e);
                        (Did { error, ..self.did(step, false, ms, Json::Null) }, Vec::new())
                    }
                    None => continue,
                }
            };
            let Some(item) = subjects.items.get_mut(step.at) else { continue };
            if did.planned {
                item.record.body.extend(step.predict.clone());
            }
            for (key, value) in nest {
                item.record.nest(&key, value);
            }
            item.record.did(&did);
        }
        if let Some(late) = late {
            self.warn(&late.to_string());
            if errors.is_empty() {
                return Err(late.into());
            }
        }
        match errors.len() {
            0 => Ok(Exit::Done),
            failed if failed == steps.len() => {
                let first = errors.remove(0);
                for error in errors.iter().filter(|error| error.what() != first.what()) {
                    self.warn(&error.to_string());
                }
                Err(first.into())
            }
            failed => {
                for error in &errors {
                    self.warn(&error.to_string());
                }
                self.warn(&format!("{failed} of {} failed; the records say which", steps.len()));
                Ok(Exit::Partial)
            }
        }
    }

    /// Intents and debts, durably; then the acts; then, as each of them ends, its outcome.
    fn two_phases(
        &self,
        state: &dyn State,
        deployment: &str,
        subjects: &Subjects,
        todo: &[&Step],
        run: impl FnOnce(&[&Step], &Finish<'_>),
    ) -> Result<Vec<Ended>> {
        self.limit.over();
        let journal = Journal::new(state).renewing(self.owing.deadline.is_some());
        let mut acts: Vec<Act> =
            todo.iter().map(|step| self.intent(deployment, subjects, step)).collect();
        let opens: Vec<Debt> =
            todo.iter().flat_map(|step| self.debts(deployment, subjects, step)).collect();
        let opened = journal.begin(&mut acts, &opens, &|| self.may_begin(state, deployment))?;
        self.under_way(&acts);
        let results = Mutex::new(acts.iter().map(|_| None).collect::<Vec<_>>());
        let finish = |ended: Vec<(usize, Instant, Result<Done>)>| {
            let mut outcomes = Vec::new();
            let mut found = Vec::new();
            for (at, begun, result) in ended {
                let (Some(step), Some(act)) = (todo.get(at), acts.get(at)) else { continue };
                let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                outcomes.push(outcome(step, act, ms, &result, &opened));
                found.push((at, ms, result));
            }
            let written = journal.end(&outcomes);
            for ((act, _), (at, ms, result)) in outcomes.iter().zip(found) {
                self.no_longer(act.seq);
                let result = match (result, &written) {
                    (Ok(_), Err(e)) => Err(Error::new(
                        e.kind(),
                        format!("{} is done, but that could not be written down", act.subject),
                    )
                    .because(e)
                    .hint("put that right, then the same command again: it finds it done")),
                    (result, _) => result,
                };
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(slot) = results.get_mut(at) {
                    *slot = Some((ms, result));
                }
            }
        };
        run(todo, &finish);
        // an act without a result was left out by the tool: that must not pass as done
        for at in 0..todo.len() {
            let missing = results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(at)
                .is_some_and(Option::is_none);
            if missing {
                let what = "the tool brought no result for it: it may be done or not";
                finish(vec![(at, Instant::now(), Err(Error::new(Kind::Failed, what)))]);
            }
        }
        Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is so already needs no act; still, what it owes is written down when nobody owes it yet, and a debt that
    /// it settles is settled.
    fn owe(
        &self,
        state: &dyn State,
        deployment: &str,
        subjects: &Subjects,
        idle: &[&Step],
    ) -> Result<()> {
        let opens: Vec<Debt> =
            idle.iter().flat_map(|step| self.debts(deployment, subjects, step)).collect();
        let settles: Vec<String> = idle.iter().flat_map(|step| step.settles.clone()).collect();
        let found: Vec<Act> =
            idle.iter().map(|step| self.intent(deployment, subjects, step)).collect();
        let guard = || self.may_begin(state, deployment);
        let journal = Journal::new(state).renewing(self.owing.deadline.is_some());
        journal.adjust(deployment, &found, &opens, &settles, &guard)
    }

    fn did(&self, step: &Step, changed: bool, ms: u64, after: Json) -> Did {
        Did {
            tool: self.tool.into(),
            verb: self.verb.clone(),
            changed,
            ms,
            before: step.before.clone(),
            after,
            undo: step.undo.clone().filter(|_| changed),
            planned: false,
            error: None,
        }
    }

    fn intent(&self, deployment: &str, subjects: &Subjects, step: &Step) -> Act {
        Act {
            seq: 0,
            at: now(),
            deployment: deployment.to_owned(),
            subject: subjects.items.get(step.at).map(crate::Subject::title).unwrap_or_default(),
            tool: self.tool.into(),
            verb: self.verb.clone(),
            about: self.about.get().cloned(),
            owner: owner(self.common.upgrade.as_deref()),
            epoch: 0,
            clock: self.is_clockwork(),
            outcome: Outcome::Open,
            before: step.before.clone(),
            after: Json::Null,
            ms: None,
            undo: step.undo.clone(),
            error: None,
        }
    }

    fn debts(&self, deployment: &str, subjects: &Subjects, step: &Step) -> Vec<Debt> {
        let subject =
            subjects.items.get(step.at).map(|item| item.name().to_owned()).unwrap_or_default();
        step.opens
            .iter()
            .map(|spec| Debt {
                key: spec.key.clone(),
                deployment: deployment.to_owned(),
                kind: spec.key.split(':').next().unwrap_or_default().to_owned(),
                subject: subject.clone(),
                owner: owner(self.common.upgrade.as_deref()),
                reason: spec.reason.clone(),
                since: now(),
                inverse: spec.inverse.clone(),
                due: spec.due,
                deadline: spec.deadline.clone().or_else(|| self.deadline()),
                undo_on_deadline: self.owing.undo_on_deadline,
                before: spec.before.clone(),
            })
            .collect()
    }

    /// A deadline of what nobody owes would be believed and never alarm.
    fn deadline_counts(&self, steps: &[Step]) -> Result<()> {
        let owes = steps.is_empty() || steps.iter().any(|step| !step.opens.is_empty());
        if owes || self.owing.deadline.is_none() {
            return Ok(());
        }
        if !steps.iter().any(|step| step.needed) {
            self.warn("--deadline has nothing to count for: nothing is changed by this, and no deadline with it");
            return Ok(());
        }
        Err(Error::new(Kind::Usage, "--deadline has nothing to count for: this owes nothing")
            .hint("leave it out, or say that the change is temporary: see --help; nothing has been done")
            .untouched())
    }

    /// When what this verb opens must be settled, as `--deadline` says.
    fn deadline(&self) -> Option<String> {
        let within = self.owing.deadline?;
        Some(format!("{:.3}", jiff::Timestamp::now().checked_add(within).ok()?))
    }

    /// Whether an act on the deployment may begin now, and under which epoch: an operator whose run was taken over
    /// starts no further act, and a hand that does not name the run that holds the lock is declined.
    pub fn may_begin(&self, state: &dyn State, deployment: &str) -> Result<u64> {
        let epoch = self.taken_over(state, deployment)?;
        if !self.is_clockwork()
            && let Some(holder) = state.holder(deployment)?
            && self.common.upgrade.as_deref() != Some(holder.run.as_str())
        {
            return Err(Error::new(
                Kind::Declined,
                format!(
                    "the run {:?} of {} holds {deployment:?} since {}",
                    holder.run, holder.who, holder.since
                ),
            )
            .hint(format!("wait for it, or say that it belongs to it: --upgrade {}", holder.run))
            .untouched());
        }
        Ok(epoch)
    }

    /// The epoch now; declined when we belong to a run that was taken over.
    fn taken_over(&self, state: &dyn State, deployment: &str) -> Result<u64> {
        self.hand().still(state, deployment)
    }

    /// Whose hand this is, with the lock that `rs-journal lock` took for it.
    pub fn hand(&self) -> Hand {
        let run = self.common.upgrade.clone().filter(|run| !run.is_empty());
        let Owner { user, host, .. } = owner(None);
        let locked = |variable: &str| std::env::var(variable).ok();
        let epoch = locked("RS_EPOCH").and_then(|epoch| epoch.parse().ok());
        let lock = epoch.map(|epoch| Locked {
            deployment: locked("RS_LOCKED"),
            store: locked("RS_LOCKED_IN"),
            epoch,
        });
        Hand { who: format!("{user}@{host}"), run, lock }
    }
}

/// What the journal keeps of an act that ended, and the debts that are settled by it.
fn outcome(
    step: &Step,
    act: &Act,
    ms: u64,
    result: &Result<Done>,
    opened: &[String],
) -> (Act, Vec<String>) {
    let mut act = Act { ms: Some(ms), ..act.clone() };
    let settles = match result {
        Ok(done) => {
            act.outcome = Outcome::Done;
            act.after = done.after.clone();
            step.settles.clone()
        }
        Err(e) => {
            act.outcome = Outcome::Failed;
            act.error = Some(e.to_string());
            // a failed act owes what it opened, unless it is known to have done nothing
            let own = step.opens.iter().map(|spec| spec.key.clone());
            own.filter(|key| e.is_untouched() && opened.contains(key)).collect()
        }
    };
    (act, settles)
}

/// How an act ended: milliseconds and result; absent while it did not.
type Ended = Option<(u64, Result<Done>)>;

/// Takes results of steps, each with its place among those needed and when it was begun, and writes their outcomes,
/// all at once.
type Finish<'a> = dyn Fn(Vec<(usize, Instant, Result<Done>)>) + Sync + 'a;
