//! One suite per trait, run against every driver.

mod state;
