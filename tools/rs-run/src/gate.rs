//! `--rolling N`: at most so many at once, and no further one after a failure.

use std::sync::{Condvar, Mutex, PoisonError};

use rs_contract::{Error, Kind, Result};

/// Lets work through.
pub struct Gate {
    most: Option<u16>,
    now: Mutex<Now>,
    change: Condvar,
}

#[derive(Default)]
struct Now {
    inside: u16,
    failed: Option<String>,
}

impl Gate {
    /// At most `most` at once; without it everything passes, failures or not.
    pub fn new(most: Option<u16>) -> Gate {
        Gate { most, now: Mutex::default(), change: Condvar::new() }
    }

    /// Does the work for `name` when it may.
    pub fn pass<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(most) = self.most else { return work() };
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        while now.inside >= most && now.failed.is_none() {
            now = self.change.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failed) = &now.failed {
            return Err(Error::new(
                Kind::Failed,
                format!("not run on {name:?}, since it failed on {failed:?} before"),
            )
            .hint("put the cause right, then the same command again")
            .untouched());
        }
        now.inside += 1;
        drop(now);
        let result = work();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.inside -= 1;
        if result.is_err() && now.failed.is_none() {
            now.failed = Some(name.to_owned());
        }
        self.change.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU16, Ordering};

    #[test]
    fn no_more_than_so_many_are_inside() {
        let gate = Gate::new(Some(2));
        let (inside, most) = (AtomicU16::new(0), AtomicU16::new(0));
        std::thread::scope(|scope| {
            for n in 0..16 {
                let (gate, inside, most) = (&gate, &inside, &most);
                scope.spawn(move || {
                    gate.pass(&n.to_string(), || {
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[test]
    fn nothing_is_begun_after_a_failure() {
        let gate = Gate::new(Some(1));
        gate.pass("a", || Ok(())).unwrap();
        gate.pass("b", || -> Result<()> { Err(Error::new(Kind::Failed, "no")) }).unwrap_err();
        let bad = gate.pass("c", || -> Result<()> { panic!("it was begun") }).unwrap_err();
        assert!(bad.to_string().contains("\"b\""), "{bad}");
    }
}
