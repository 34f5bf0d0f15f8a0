use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Error, Kind, Result};

/// A stored value with the version that a compare-and-set names.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Path-like key, e.g. `deployment/production/server/App Server-1`.
    pub key: String,
    /// Counts up with each write of this key, from 1, and goes on counting when the key was removed in between: a
    /// version never names two values.
    pub version: u64,
    /// The value.
    pub value: Json,
}

/// What a transaction expects of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// It is not there.
    Absent(String),
    /// It is there in exactly this version.
    Version(String, u64),
}

/// All of it or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn {
    /// Checked first.
    pub expect: Vec<Expect>,
    /// Written.
    pub put: Vec<(String, Json)>,
    /// Removed; absent is fine.
    pub delete: Vec<String>,
}

/// Who holds the run lock of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The run, e.g. `u-42`.
    pub run: String,
    /// `user@host`.
    pub who: String,
    /// Process id.
    pub pid: u32,
    /// When that process began, as its own system counts: a number is used again by other processes. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// RFC 3339 UTC.
    pub since: String,
    /// Counts up each time that the lock is taken, and with each take-over.
    #[serde(default)]
    pub epoch: u64,
}

/// A run lock that is held: gone when dropped, or when its process ends. Children of the process do not have it.
pub trait Lock: Send {
    /// The epoch that every act checks first and last.
    fn epoch(&self) -> u64;
    /// Lets a program that is executed in our place (the same process) go on holding the lock; the descriptor that
    /// it must leave open.
    fn keep_over_exec(&self) -> Result<i32>;
}

/// The state store: journal, debts, run lock and epoch for every cloud, and the managed cloud's own objects.
///
/// Contract: a `commit` is durable when it returns and atomic under kill -9; two tools at once never lose a write
/// (a failed expectation is [`crate::Kind::Declined`] and [`crate::Error::is_race`]: the caller reads again); keys are listed in byte order;
/// values are what was put. Cut so that etcd fits: keys, versions, one transaction.
pub trait State: Send + Sync {
    /// The place in words, for messages.
    fn place(&self) -> String;
    /// Whether there is a store at all; asks nothing of what is in it, and makes nothing.
    fn is_there(&self) -> bool;
    /// One key.
    fn get(&self, key: &str) -> Result<Option<Entry>>;
    /// Every key that begins with `prefix`, in byte order.
    fn list(&self, prefix: &str) -> Result<Vec<Entry>>;
    /// All or nothing.
    fn commit(&self, txn: &Txn) -> Result<()>;
    /// The next number of a counter, from 1, durable.
    fn next(&self, counter: &str) -> Result<u64>;
    /// Takes the run lock `name` and raises its epoch, waiting at most `wait`; who holds it is in the error
    /// ([`crate::Kind::Declined`]). `holder.epoch` is filled in.
    fn lock(&self, name: &str, holder: &Holder, wait: Duration) -> Result<Box<dyn Lock>>;
    /// Who holds it now, if anybody else does (or this process by [`State::lock`]).
    fn holder(&self, name: &str) -> Result<Option<Holder>>;
    /// Raises the epoch of `name` and returns it: whoever acted under the old one starts no further act, and the lock is
    /// his no more, though he cannot be asked to give it back. The epoch is
    /// the version of the key [`epoch_key`], so that a transaction can expect it ([`same_epoch`]).
    fn raise_epoch(&self, name: &str) -> Result<u64>;
    /// The epoch now (0 before the first lock).
    fn epoch(&self, name: &str) -> Result<u64>;
}

/// Whose hand acts: named to whoever waits for it, and fenced by the run lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hand {
    /// `user@host`.
    pub who: String,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// The lock under which it acts, when somebody took one for it.
    pub lock: Option<Locked>,
}

/// A run lock as whoever acts under it knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locked {
    /// The deployment that is locked. Absent: any.
    pub deployment: Option<String>,
    /// The store that it is locked in. Absent: any.
    pub store: Option<String>,
    /// Its epoch then.
    pub epoch: u64,
}

impl Hand {
    /// The epoch that its lock had, when that is a lock of this deployment in this store.
    pub fn epoch(&self, state: &dyn State, deployment: &str) -> Option<u64> {
        let lock = self.lock.as_ref()?;
        let other = |named: &Option<String>, is: &str| named.as_ref().is_some_and(|it| it != is);
        let elsewhere = other(&lock.deployment, deployment) || other(&lock.store, &state.place());
        (!elsewhere).then_some(lock.epoch)
    }

    /// The epoch now; declined when it belongs to a run that was taken over.
    pub fn still(&self, state: &dyn State, deployment: &str) -> Result<u64> {
        let now = state.epoch(deployment)?;
        match self.epoch(state, deployment) {
            Some(ours) if ours != now => Err(Error::new(
                Kind::Declined,
                format!("this run of {deployment:?} was taken over (its epoch {ours}, now {now})"),
            )
            .hint("stop here and look at rs-journal show: the deployment is another operator's now")
            .untouched()),
            _ => Ok(now),
        }
    }
}

/// The key whose version is the epoch of `name`; only [`State::raise_epoch`] writes it, and nobody removes it.
pub fn epoch_key(name: &str) -> String {
    format!("epoch/{name}")
}

/// The expectation that the epoch of `name` is still `epoch`.
pub fn same_epoch(name: &str, epoch: u64) -> Expect {
    match epoch {
        0 => Expect::Absent(epoch_key(name)),
        epoch => Expect::Version(epoch_key(name), epoch),
    }
}
