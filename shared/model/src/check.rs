//! Answers of gates: yes, no, and unknown, which is not yes.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// As it should be.
    Ok,
    /// Not as it should be.
    No,
    /// Could not be found out: never taken for ok.
    Unknown,
}

/// One question that a gate asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was asked, e.g. `member answers` or `backup age`.
    pub name: String,
    /// Of what, e.g. `App Server-3 through Load Balancer-1`.
    pub subject: String,
    /// The answer.
    pub answer: Answer,
    /// Why, for people; what was seen.
    pub detail: String,
    /// What to do about a no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The facts that the answer rests on.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub facts: Json,
}

impl Check {
    /// A check with its answer.
    pub fn new(name: &str, subject: &str, answer: Answer, detail: impl Into<String>) -> Self {
        Check {
            name: name.to_owned(),
            subject: subject.to_owned(),
            answer,
            detail: detail.into(),
            hint: None,
            facts: Json::Null,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the facts that it rests on.
    #[must_use]
    pub fn facts(mut self, facts: Json) -> Self {
        self.facts = facts;
        self
    }
}

/// Whether there is room: bytes that are free against bytes that are needed.
pub fn enough(name: &str, subject: &str, free: u64, needed: u64) -> Check {
    let answer = if free >= needed { Answer::Ok } else { Answer::No };
    let detail = format!("{} MiB free, {} MiB needed", free >> 20, needed.div_ceil(1 << 20));
    let check = Check::new(name, subject, answer, detail)
        .facts(json!({ "free_bytes": free, "needed_bytes": needed }));
    match answer {
        Answer::Ok => check,
        _ => check.hint("free space there before the window"),
    }
}
