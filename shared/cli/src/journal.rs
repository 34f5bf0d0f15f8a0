//! The journal and the debts in the state store: `journal/SEQ` and `debt/DEPLOYMENT/KEY`.

use rs_contract::{Entry, Error, Expect, Kind, Result, State, Txn};
use rs_model::act::{Act, Debt, Owner};
use serde_json::Value as Json;

/// Now, RFC 3339 UTC, to the millisecond.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}

/// Who acts: user, host, process, run.
pub fn owner(run: Option<&str>) -> Owner {
    let user = std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .or_else(|_| std::env::var("LOGNAME"));
    Owner {
        user: user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw())),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        run: run.map(str::to_owned),
    }
}

/// The journal of a state store.
pub struct Journal<'a> {
    state: &'a dyn State,
}

impl<'a> Journal<'a> {
    /// Of that store.
    pub fn new(state: &'a dyn State) -> Self {
        Journal { state }
    }

    /// Every act, oldest first.
    pub fn acts(&self) -> Result<Vec<Act>> {
        self.state.list("journal/")?.into_iter().map(read).collect()
    }

    /// Every open debt of a deployment, oldest first.
    pub fn debts(&self, deployment: &str) -> Result<Vec<Debt>> {
        let mut debts = self
            .state
            .list(&format!("debt/{deployment}/"))?
            .into_iter()
            .map(read)
            .collect::<Result<Vec<Debt>>>()?;
        debts.sort_by(|a, b| a.since.cmp(&b.since));
        Ok(debts)
    }

    /// One debt.
    pub fn debt(&self, deployment: &str, key: &str) -> Result<Option<Debt>> {
        self.state.get(&debt_key(deployment, key))?.map(read).transpose()
    }

    /// Writes intents, and the debts that the acts will open, durably and all at once, before anything is done.
    /// A debt that is open already stays as it is: who opened it first owes it.
    pub fn begin(&self, acts: &mut [Act], opens: &[Debt]) -> Result<()> {
        for act in acts.iter_mut() {
            act.seq = self.state.next("journal")?;
        }
        let mut txn = Txn::default();
        for act in acts.iter() {
            txn.expect.push(Expect::Absent(act_key(act.seq)));
            txn.put.push((act_key(act.seq), write(act)?));
        }
        for debt in opens {
            let key = debt_key(&debt.deployment, &debt.key);
            if self.state.get(&key)?.is_none() {
                txn.put.push((key, write(debt)?));
            }
        }
        self.state.commit(&txn)
    }

    /// Writes the outcome of an act, and removes the debts that it settled, all at once.
    pub fn end(&self, act: &Act, settles: &[String]) -> Result<()> {
        let mut txn = Txn { put: vec![(act_key(act.seq), write(act)?)], ..Txn::default() };
        txn.delete.extend(settles.iter().map(|key| debt_key(&act.deployment, key)));
        self.state.commit(&txn)
    }

    /// Removes a debt that the world shows to be settled.
    pub fn settle(&self, deployment: &str, key: &str) -> Result<()> {
        self.state.commit(&Txn { delete: vec![debt_key(deployment, key)], ..Txn::default() })
    }
}

fn act_key(seq: u64) -> String {
    format!("journal/{seq:012}")
}

fn debt_key(deployment: &str, key: &str) -> String {
    format!("debt/{deployment}/{key}")
}

fn write(value: &impl serde::Serialize) -> Result<Json> {
    serde_json::to_value(value)
        .map_err(|e| Error::new(Kind::Failed, "a journal entry cannot be written").because(e))
}

fn read<T: serde::de::DeserializeOwned>(entry: Entry) -> Result<T> {
    serde_json::from_value(entry.value).map_err(|e| {
        Error::new(Kind::Failed, format!("the entry {} cannot be read", entry.key)).because(e)
    })
}
