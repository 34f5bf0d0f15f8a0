//! One suite per trait, run against every driver.

mod dns;
mod state;
