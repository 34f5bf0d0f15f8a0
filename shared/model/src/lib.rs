//! The nouns and rules of a deployment: what a server, an input, a position *is*, and what follows from it.
//!
//! Pure: no I/O, no clock, no environment (clippy.toml beside this folder refuses them). Facts come in as
//! arguments, answers go out as values, so that every rule is tested without a server.

pub mod act;
pub mod attempt;
pub mod borrowed;
pub mod check;
pub mod claims;
pub mod conjunct;
pub mod input;
pub mod journal;
pub mod likeness;
pub mod lint;
pub mod member;
pub mod migration;
pub mod name;
pub mod pool;
pub mod position;
pub mod possible;
pub mod price;
pub mod promote;
pub mod ready;
pub mod reopen;
pub mod replica;
pub mod retire;
pub mod server;
pub mod silence;
pub mod snapshot;
pub mod sql;
pub mod storage;
pub mod takeover;
pub mod template;
pub mod touched;
pub mod verb;
pub mod whole;

pub use act::{Act, Debt, Did, Due, Outcome, Owner};
pub use check::{Answer, Check};
pub use input::{Inputs, Level, Resolved, Value};
pub use member::{Admin, Member, Page};
pub use position::Position;
pub use server::{Array, Deployment, Instance, Server, State};
pub use template::{InputDecl, Phase, Script, ScriptRef, Template, TemplateRef};

/// Text that breaks a rule of the model: what is wrong and what to write instead. Becomes exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// What is wrong, with the value in question.
    pub what: String,
    /// What to write instead.
    pub hint: String,
}

impl Bad {
    /// A broken rule and its cure.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Bad { what: what.into(), hint: hint.into() }
    }
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.what, self.hint)
    }
}

impl std::error::Error for Bad {}
