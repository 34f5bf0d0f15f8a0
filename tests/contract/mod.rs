//! One suite per trait, run against every driver.

mod act;
mod balancer;
mod channel;
mod cloud;
mod database;
mod definitions;
mod dialect;
mod dns;
mod lies;
mod machines;
mod page;
mod silence;
mod snapshots;
mod state;

/// Whether a process lives: one that has ended and was not yet waited for does not.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Says that it is over, also when the test fails.
pub struct Over<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
