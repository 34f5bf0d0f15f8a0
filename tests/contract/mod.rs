//! One suite per trait, run against every driver.

mod act;
mod balancer;
mod database;
mod dns;
mod page;
mod snapshots;
mod state;
