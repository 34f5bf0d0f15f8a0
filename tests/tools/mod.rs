//! Every tool as a black box: one file per tool, and one for what all of them promise.

mod bad_input;
mod bad_names;
mod bad_world;
mod behind;
mod cleanup;
pub mod dbsync;
mod deadlines;
mod every_tool;
mod flags;
mod hold;
mod journal;
mod page_outside;
mod pool;
mod preflight;
mod reopen;
mod rs_check;
mod rs_check_probe;
mod rs_clone;
mod rs_inputs;
mod rs_run;
mod rs_server;
mod rs_snapshot;
mod site_file;
mod small_site;
mod templates;
mod verbs;
mod wrong_usage;
