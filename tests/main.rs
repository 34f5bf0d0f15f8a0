//! All tests, one binary: contract suites, tools as black boxes, the whole upgrade.

mod contract;
mod tools;
mod upgrade;
