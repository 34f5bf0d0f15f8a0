//! The two-phase act: intents durable first, then the acts, then the outcomes. The one place that does so.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rs_contract::{Error, Kind, Result, State};
use rs_model::act::{Act, Debt, Did, Due, Outcome};
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
    /// False: it is so already; no intent is written, nothing is done, `changed: false`.
    pub needed: bool,
    /// What is there before.
    pub before: Json,
    /// What will be there after, as far as it can be known: the `after` of a dry run.
    pub expect: Json,
    /// Fields that a dry run gives the subject's record, e.g. `{"state": "operational"}`.
    pub predict: Map<String, Json>,
    /// How a person undoes it.
    pub undo: Option<String>,
    /// Debts that it opens.
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
                        while let Some(step) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                            finish(step, work(step));
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
            match work(todo) {
                Ok(done) => {
                    for (step, done) in todo.iter().zip(done) {
                        finish(step, Ok(done));
                    }
                }
                Err(e) => {
                    for step in todo {
                        let copy = Error::new(e.kind(), e.what()).found(e.records().to_vec());
                        let copy = match e.cause() {
                            Some(cause) => copy.because(cause),
                            None => copy,
                        };
                        finish(
                            step,
                            Err(match e.advice() {
                                Some(hint) => copy.hint(hint),
                                None => copy,
                            }),
                        );
                    }
                }
            }
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
        let todo: Vec<&Step> = steps.iter().filter(|step| step.needed).collect();
        let mut did: Vec<Option<(Did, Vec<(String, Json)>)>> = steps.iter().map(|_| None).collect();
        for (slot, step) in did.iter_mut().zip(steps).filter(|(_, step)| !step.needed) {
            *slot = Some((self.did(step, false, 0, step.before.clone()), Vec::new()));
        }
        let journal = Journal::new(state);
        let mut errors = Vec::new();
        if self.dry() {
            for (slot, step) in did.iter_mut().zip(steps).filter(|(_, step)| step.needed) {
                let mut planned = self.did(step, true, 0, step.expect.clone());
                planned.planned = true;
                *slot = Some((planned, Vec::new()));
                if let Some(item) = subjects.items.get_mut(step.at) {
                    item.record.body.extend(step.predict.clone());
                }
            }
        } else if !todo.is_empty() {
            let epoch = self.check_epoch(state, deployment)?;
            let mut acts: Vec<Act> =
                todo.iter().map(|step| self.intent(deployment, subjects, step, epoch)).collect();
            let opens: Vec<Debt> =
                todo.iter().flat_map(|step| self.debts(deployment, subjects, step)).collect();
            journal.begin(&mut acts, &opens)?;
            self.under_way(&acts);
            let begun = Instant::now();
            let results = Mutex::new(Vec::new());
            let finish = |step: &Step, result: Result<Done>| {
                let Some(at) = todo.iter().position(|known| std::ptr::eq(*known, step)) else {
                    return;
                };
                let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let mut act = acts[at].clone();
                act.ms = Some(ms);
                let mut settles = Vec::new();
                match &result {
                    Ok(done) => {
                        act.outcome = Outcome::Done;
                        act.after = done.after.clone();
                        settles.clone_from(&step.settles);
                    }
                    Err(e) => {
                        act.outcome = Outcome::Failed;
                        act.error = Some(e.to_string());
                    }
                }
                let written = journal.end(&act, &settles);
                self.no_longer(act.seq);
                let result = match (result, written) {
                    (Ok(_), Err(e)) => Err(Error::new(
                        e.kind(),
                        "it was done, but the outcome could not be written",
                    )
                    .because(e)),
                    (result, _) => result,
                };
                if let Ok(mut results) = results.lock() {
                    results.push((at, ms, result));
                }
            };
            run(&todo, &finish);
            let mut results = results.into_inner().unwrap_or_default();
            results.sort_by_key(|(at, _, _)| *at);
            for (at, ms, result) in results {
                let step = todo[at];
                let Some(place) = steps.iter().position(|known| std::ptr::eq(known, step)) else {
                    continue;
                };
                did[place] = Some(match result {
                    Ok(done) => (self.did(step, done.changed, ms, done.after), done.nest),
                    Err(e) => {
                        let mut failed = self.did(step, false, ms, Json::Null);
                        failed.error = Some(e.to_string());
                        errors.push(e);
                        (failed, Vec::new())
                    }
                });
            }
            self.check_epoch(state, deployment)?;
        }
        let many = steps.len();
        for (step, slot) in steps.iter().zip(did) {
            let (Some((did, nest)), Some(item)) = (slot, subjects.items.get_mut(step.at)) else {
                continue;
            };
            for (key, value) in nest {
                item.record.nest(&key, value);
            }
            item.record.did(&did);
        }
        match errors.len() {
            0 => Ok(Exit::Done),
            failed if failed == many => Err(errors.swap_remove(0).into()),
            failed => {
                for error in &errors {
                    self.warn(&error.to_string());
                }
                self.warn(&format!("{failed} of {many} failed; the records say which"));
                Ok(Exit::Partial)
            }
        }
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

    fn intent(&self, deployment: &str, subjects: &Subjects, step: &Step, epoch: u64) -> Act {
        Act {
            seq: 0,
            at: now(),
            deployment: deployment.to_owned(),
            subject: subjects.items.get(step.at).map(crate::Subject::title).unwrap_or_default(),
            tool: self.tool.into(),
            verb: self.verb.clone(),
            owner: owner(self.common.upgrade.as_deref()),
            epoch,
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
                deadline: spec.deadline.clone(),
                before: spec.before.clone(),
            })
            .collect()
    }

    /// The epoch of the run lock: an operator whose run was taken over starts no further act, and a hand that does
    /// not name the run that holds the lock is declined.
    fn check_epoch(&self, state: &dyn State, deployment: &str) -> Result<u64> {
        let epoch = state.epoch(deployment)?;
        if let Some(ours) = std::env::var("RS_EPOCH").ok().and_then(|text| text.parse::<u64>().ok())
            && ours != epoch
        {
            return Err(Error::new(
                Kind::Declined,
                format!("this run was taken over (its epoch {ours}, now {epoch})"),
            )
            .hint("look at `rs-journal show` and leave the deployment to the other operator"));
        }
        if let Some(holder) = state.holder(deployment)?
            && self.common.upgrade.as_deref() != Some(holder.run.as_str())
        {
            return Err(Error::new(
                Kind::Declined,
                format!(
                    "the run {:?} of {} holds {deployment:?} since {}",
                    holder.run, holder.who, holder.since
                ),
            )
            .hint(format!("wait for it, or say that it belongs to it: --upgrade {}", holder.run)));
        }
        Ok(epoch)
    }
}

/// Takes the result of one step and writes its outcome.
type Finish<'a> = dyn Fn(&Step, Result<Done>) + Sync + 'a;
