//! What several balancers or databases answered to an asking verb: who does not answer hides none of the others.

use std::time::Instant;

use rs_contract::Error;
use rs_model::Server;
use rs_model::act::Did;
use rs_records::Record;

use crate::{Balancers, Context, Exit, Subject};

/// One that did not answer.
pub(crate) struct Silent {
    /// The server, with why, as a changing verb leaves one on which it failed.
    record: Record,
    error: Error,
}

impl Silent {
    /// Asked since `begun`.
    pub(crate) fn new(
        cx: &Context,
        deployment: &str,
        server: &Server,
        begun: Instant,
        error: Error,
    ) -> Silent {
        let mut record = Subject::server(deployment, server.clone()).record;
        record.did(&Did {
            tool: cx.tool.into(),
            verb: cx.verb.clone(),
            changed: false,
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            before: serde_json::Value::Null,
            after: serde_json::Value::Null,
            undo: None,
            planned: false,
            error: Some(error.to_string()),
        });
        Silent { record, error }
    }

    fn words(&self) -> String {
        let hint = self.error.advice().map(|hint| format!(" (try: {hint})")).unwrap_or_default();
        format!("{}: {}{hint}", self.record.name(), self.error)
    }
}

/// What the balancers of one or several pools, or the databases of one or several sets, answered.
pub struct Answers {
    /// Who was asked, in words: `balancers`.
    whom: &'static str,
    records: Vec<Record>,
    answered: usize,
    silent: Vec<Silent>,
}

impl Answers {
    /// None so far. `whom`: who is asked, in words.
    pub fn of(whom: &'static str) -> Answers {
        Answers { whom, records: Vec::new(), answered: 0, silent: Vec::new() }
    }

    /// Takes what a pool's balancers answered, as records, and those that did not answer.
    pub fn add<L>(&mut self, pool: Balancers<L>, records: impl IntoIterator<Item = Record>) {
        self.records.extend(records);
        self.answered += pool.lbs.len();
        pool.silent.into_iter().for_each(|silent| self.hush(silent));
    }

    /// Takes what one answered.
    pub fn answered(&mut self, record: Record) {
        self.records.push(record);
        self.answered += 1;
    }

    /// Takes one that did not answer, asked since `begun`.
    pub fn silent(
        &mut self,
        cx: &Context,
        deployment: &str,
        server: &Server,
        begun: Instant,
        error: Error,
    ) {
        self.hush(Silent::new(cx, deployment, server, begun, error));
    }

    /// One that was asked several times (of several pools, as the master of several slaves) is told once.
    fn hush(&mut self, silent: Silent) {
        if self.silent.iter().all(|other| other.record.name() != silent.record.name()) {
            self.silent.push(silent);
        }
    }

    /// Whether every one answered, and has nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.silent.is_empty()
    }

    /// A gate's no, with what was found; who did not answer is named.
    pub fn refuse(self, cx: &Context, no: Error) -> Error {
        self.silent.iter().for_each(|silent| cx.warn(&silent.words()));
        no.found(self.into_records().into_iter().map(|record| record.body.into()).collect())
    }

    /// Ends the verb with the records. Where some did not answer their own say so (exit 8), and a `gate` has no yes;
    /// where none did, the first says why.
    pub fn end(mut self, cx: &Context, gate: bool) -> anyhow::Result<Exit> {
        let (silent, all) = (self.silent.len(), self.silent.len() + self.answered);
        if silent > 0 && (gate || self.answered == 0) {
            let first = self.silent.remove(0);
            self.records.push(first.record);
            return Err(self.refuse(cx, first.error).into());
        }
        self.silent.iter().for_each(|silent| cx.warn(&silent.words()));
        let whom = self.whom;
        cx.emit(&self.into_records())?;
        if silent == 0 {
            return Ok(Exit::Done);
        }
        cx.warn(&format!("{silent} of {all} {whom} did not answer; the records say which"));
        Ok(Exit::Partial)
    }

    fn into_records(self) -> Vec<Record> {
        self.records.into_iter().chain(self.silent.into_iter().map(|s| s.record)).collect()
    }
}
