use std::fmt;

use serde_json::Value as Json;

/// Result of everything that may meet the world.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in the few ways a caller can act on. Each maps to one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything without a better name (1).
    Failed,
    /// Wrong usage or bad input; nothing was touched (2).
    Usage,
    /// The answer is no (3, asking verbs).
    No,
    /// It is not there (4).
    NotFound,
    /// Declined for safety (5, changing verbs).
    Declined,
    /// Waited in vain (6).
    TimedOut,
    /// Did not answer; may be tried again (7).
    Unreachable,
    /// Partly done; the records say which (8).
    Partial,
    /// Interrupted by a signal (130).
    Interrupted,
}

/// An error that a person can act on: what failed on what, why, and what to try.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    what: String,
    hint: Option<String>,
    because: Option<String>,
    found: Vec<Json>,
    untouched: bool,
    race: bool,
    key: Option<&'static str>,
}

impl Error {
    /// What failed, on what. One sentence without a full stop.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error {
            kind,
            what: what.into(),
            hint: None,
            because: None,
            found: Vec::new(),
            untouched: false,
            race: false,
            key: None,
        }
    }

    /// With what to try next: best a command.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With why, as the system or the vendor said it. Never a secret.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.because = Some(cause.to_string());
        self
    }

    /// With the records that it is about: a gate's refused ones, for `rs.error/1`'s `found`.
    #[must_use]
    pub fn found(mut self, found: Vec<Json>) -> Self {
        self.found = found;
        self
    }

    /// With the promise that the world is exactly as it was before the act: whatever the act would have owed is not
    /// owed. Only for who knows: nothing was begun yet, or all of it was taken back and read back.
    #[must_use]
    pub fn untouched(mut self) -> Self {
        self.untouched = true;
        self
    }

    /// Whether the world is known to be as it was before the act.
    pub fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// With the note that another tool was faster: a state store says it of an expectation that failed.
    #[must_use]
    pub fn race(mut self) -> Self {
        self.race = true;
        self
    }

    /// Whether another tool was faster: read again and try again.
    pub fn is_race(&self) -> bool {
        self.race
    }

    /// With the key of a site file whose value it is about: who read the file knows its line.
    #[must_use]
    pub fn of_key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    /// The key of a site file whose value it is about.
    pub fn key(&self) -> Option<&str> {
        self.key
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same of another kind, e.g. a no that is a refusal inside a changing verb.
    #[must_use]
    pub fn as_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The sentence.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Why.
    pub fn cause(&self) -> Option<&str> {
        self.because.as_deref()
    }

    /// What to try.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The records that it is about.
    pub fn records(&self) -> &[Json] {
        &self.found
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.because {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {}

impl From<rs_model::Bad> for Error {
    fn from(bad: rs_model::Bad) -> Self {
        Error::new(Kind::Usage, bad.what).hint(bad.hint)
    }
}
