//! How long a property is tried: a second each, or `RS_FUZZ_SECONDS`.

use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Tries `check` on values of `from` until the time is over; fails with the smallest value that it finds.
pub fn fuzz<S: Strategy>(from: S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let asked = std::env::var("RS_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let limit = Duration::from_secs_f64(asked.unwrap_or(1.0));
    let begun = Instant::now();
    loop {
        let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
        if let Err(e) = TestRunner::new(config).run(&from, &check) {
            panic!("{e}");
        }
        if begun.elapsed() >= limit {
            return;
        }
    }
}
