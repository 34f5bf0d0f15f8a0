//! Every tool as a black box: one file per tool, and one for what all of them promise.

mod dbsync;
mod every_tool;
mod journal;
mod rs_check_probe;
mod pool;
mod templates;
