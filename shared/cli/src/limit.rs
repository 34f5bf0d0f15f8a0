//! The time limit of a whole call (`--timeout`).
//!
//! Work on subjects keeps its own limit, because only the driver knows how to take back what was begun. Everything
//! before the first act (reading the world, asking servers, judging) is ended here: nothing is left half done by it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a call stands to its limit.
pub(crate) struct Limit {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The limit counts from then.
    Since(Instant),
    /// Waits for the command before it in the pipe: that one has a limit of its own.
    Reading,
    /// Acts have begun, results are being written, or the verb takes its own time.
    Over,
}

impl Default for Limit {
    fn default() -> Limit {
        Limit { phase: Mutex::new(Phase::Since(Instant::now())), changed: Condvar::new() }
    }
}

impl Limit {
    /// Stops the clock while stdin is read, and starts it anew after that.
    pub(crate) fn reading<T>(&self, read: impl FnOnce() -> T) -> T {
        self.turn(Phase::Reading);
        let got = read();
        self.turn(Phase::Since(Instant::now()));
        got
    }

    /// From here on the limit is the business of whoever works.
    pub(crate) fn over(&self) {
        self.turn(Phase::Over);
    }

    fn turn(&self, to: Phase) {
        let mut phase = self.lock();
        if !matches!(*phase, Phase::Over) {
            *phase = to;
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the limit no longer counts; calls `give_up` when it is reached first. While that runs nobody
    /// gets past [`Limit::over`], so no act begins.
    pub(crate) fn watch(&self, limit: Duration, give_up: impl FnOnce()) {
        let mut phase = self.lock();
        loop {
            phase = match *phase {
                Phase::Over => return,
                Phase::Reading => self.changed.wait(phase).unwrap_or_else(PoisonError::into_inner),
                Phase::Since(begun) => match limit.checked_sub(begun.elapsed()) {
                    Some(left) if !left.is_zero() => {
                        let waited = self.changed.wait_timeout(phase, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                    _ => {
                        give_up();
                        return;
                    }
                },
            };
        }
    }
}

/// Does something with each item, at most `jobs` at once; the results in the items' order.
pub fn side_by_side<T: Sync, R: Send>(
    jobs: u16,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done = Mutex::new(items.iter().map(|_| None).collect::<Vec<Option<R>>>());
    std::thread::scope(|scope| {
        for _ in 0..usize::from(jobs.max(1)).min(items.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = work(item);
                    if let Some(slot) =
                        done.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at)
                    {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    // a panic in a worker has ended the scope with a panic already: every slot is filled
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_only_before_the_first_act_and_not_while_stdin_is_read() {
        let short = Duration::from_millis(1);
        let gave_up = |limit: &Limit| {
            let mut given_up = false;
            limit.watch(short, || given_up = true);
            given_up
        };
        let limit = Limit::default();
        assert!(gave_up(&limit), "nothing has begun");
        limit.over();
        assert!(!gave_up(&limit), "an act has begun");
        limit.reading(|| ());
        assert!(!gave_up(&limit), "what is read after that brings the limit not back");
        let limit = Limit::default();
        std::thread::scope(|scope| {
            let watching = limit.reading(|| {
                let watching = scope.spawn(|| gave_up(&limit));
                std::thread::park_timeout(Duration::from_millis(20));
                assert!(!watching.is_finished(), "the pipe is not ours to limit");
                watching
            });
            assert!(watching.join().unwrap(), "it counts again when all was read");
        });
    }

    #[test]
    fn results_keep_the_order_and_no_more_than_jobs_work_at_once() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..50).collect();
        let got = side_by_side(3, &items, |item| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            item * 2
        });
        assert_eq!(got, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert!(side_by_side(3, &[] as &[u8], |_| 0).is_empty());
    }
}
