//! One suite per trait, run against every driver.

mod act;
mod balancer;
mod dns;
mod page;
mod snapshots;
mod state;
