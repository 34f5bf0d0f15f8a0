//! One suite per trait, run against every driver.

mod act;
mod dns;
mod snapshots;
mod state;
