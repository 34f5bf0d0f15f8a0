//! All tests, one binary: contract suites, tools as black boxes, the whole upgrade.

mod contract;
mod setup;
mod tools;
mod upgrade;
