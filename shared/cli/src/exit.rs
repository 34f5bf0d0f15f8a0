use std::process::ExitCode;

use rs_contract::Kind;

/// How a tool ended: one table for all tools. An unknown code must be treated as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or already so.
    Done,
    /// 1: failed.
    Failed,
    /// 2: wrong usage or bad input; nothing was touched.
    Usage,
    /// 3: the answer is no.
    No,
    /// 4: not found.
    NotFound,
    /// 5: declined for safety.
    Declined,
    /// 6: waited in vain.
    TimedOut,
    /// 7: unreachable; may be tried again.
    Unreachable,
    /// 8: partly done; the records say which.
    Partial,
    /// 130: interrupted; the message says what state is left.
    Interrupted,
    /// 141: the reader of our records went away.
    ReaderGone,
}

/// The table as every `--help` ends with it.
pub const EXIT_CODES: &str = "\
Exit codes:
  0 done, or already so      5 declined for safety
  1 failed                   6 waited in vain
  2 usage or bad input       7 unreachable, may be tried again
  3 the answer is no         8 partly done: the records say which
  4 not found                130 interrupted   141 the reader went away";

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::No => 3,
            Exit::NotFound => 4,
            Exit::Declined => 5,
            Exit::TimedOut => 6,
            Exit::Unreachable => 7,
            Exit::Partial => 8,
            Exit::Interrupted => 130,
            Exit::ReaderGone => 141,
        }
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Exit {
        match kind {
            Kind::Failed => Exit::Failed,
            Kind::Usage => Exit::Usage,
            Kind::No => Exit::No,
            Kind::NotFound => Exit::NotFound,
            Kind::Declined => Exit::Declined,
            Kind::TimedOut => Exit::TimedOut,
            Kind::Unreachable => Exit::Unreachable,
            Kind::Partial => Exit::Partial,
            Kind::Interrupted => Exit::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
