//! All tests, one binary: contract suites, tools as black boxes, the whole upgrade.

#![expect(clippy::unwrap_used, reason = "what cannot be had here fails the test, as it should")]

mod contract;
mod faults;
mod fuzz;
mod golden;
mod setup;
mod tools;
mod upgrade;
