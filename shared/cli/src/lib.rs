//! What every main shares: arguments, exit codes, errors, pipes, selectors, progress, and the two-phase act.
//!
//! Only this crate prints and exits. A tool's main is one call:
//!
//! ```ignore
//! fn main() -> ExitCode { rs_cli::main("rs-lbctl", |args: Args| args.common.clone(), run) }
//! fn run(args: Args, cx: &Context) -> anyhow::Result<Exit> { … }
//! ```

mod act;
mod answers;
mod args;
mod balancers;
mod context;
mod exit;
mod journal;
mod limit;
mod report;
mod select;
mod shell;
mod table;
mod usage;

pub use act::{DebtSpec, Done, Step};
pub use answers::Answers;
pub use args::{Changing, Common, Owing, Select, Set, duration, name_value};
pub use balancers::{Balancers, Meant, Patience, settle};
pub use context::{Context, main};
pub use exit::Exit;
pub use journal::{Journal, alive, host, now, owner};
pub use limit::side_by_side;
pub use select::{Subject, Subjects, What};
pub use shell::{settling, words as shell_words};
