//! The journal and the debts in the state store: `journal/SEQ` and `debt/DEPLOYMENT/KEY`.

use std::time::{Duration, Instant};

use rs_contract::{Entry, Error, Expect, Kind, Result, State, Txn, same_epoch};
use rs_model::act::{Act, Debt, Outcome, Owner};
use rs_model::journal::alike;
use rs_model::reopen::SiteCheck;
use serde_json::{Value as Json, json};

/// Now, RFC 3339 UTC, to the millisecond.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}

/// Who acts: user, host, process, run.
pub fn owner(run: Option<&str>) -> Owner {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    Owner {
        user: user.unwrap_or_else(account),
        host: host(),
        pid: std::process::id(),
        run: run.map(str::to_owned),
    }
}

/// The account's name, where no variable says it (cron).
fn account() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}

/// This host's name.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The journal of a state store.
pub struct Journal<'a> {
    state: &'a dyn State,
    renews: bool,
}

impl<'a> Journal<'a> {
    /// Of that store.
    pub fn new(state: &'a dyn State) -> Self {
        Journal { state, renews: false }
    }

    /// With deadlines that were asked for just now: a debt that is open already gets the new one.
    #[must_use]
    pub fn renewing(self, renews: bool) -> Self {
        Journal { renews, ..self }
    }

    /// Every act, oldest first.
    pub fn acts(&self) -> Result<Vec<Act>> {
        self.state.list("journal/")?.into_iter().map(read).collect()
    }

    /// The acts without an outcome, oldest first.
    pub fn open_acts(&self) -> Result<Vec<Act>> {
        let mut found = Vec::new();
        for entry in self.state.list(OPEN)? {
            let seq = entry.key.strip_prefix(OPEN).unwrap_or_default();
            found.extend(self.state.get(&format!("journal/{seq}"))?.map(read).transpose()?);
        }
        Ok(found)
    }

    /// One act.
    pub fn act(&self, seq: u64) -> Result<Option<Act>> {
        self.state.get(&act_key(seq))?.map(read).transpose()
    }

    /// Every open debt of a deployment, oldest first.
    pub fn debts(&self, deployment: &str) -> Result<Vec<Debt>> {
        let mut debts = self
            .state
            .list(&debt_key(deployment, ""))?
            .into_iter()
            .map(read)
            .collect::<Result<Vec<Debt>>>()?;
        debts.sort_by(|a, b| a.since.cmp(&b.since));
        Ok(debts)
    }

    /// Every open debt of every deployment, oldest first.
    pub fn all_debts(&self) -> Result<Vec<Debt>> {
        let mut debts =
            self.state.list("debt/")?.into_iter().map(read).collect::<Result<Vec<Debt>>>()?;
        debts.sort_by(|a, b| a.since.cmp(&b.since));
        Ok(debts)
    }

    /// One debt.
    pub fn debt(&self, deployment: &str, key: &str) -> Result<Option<Debt>> {
        self.state.get(&debt_key(deployment, key))?.map(read).transpose()
    }

    /// Writes intents, and the debts that the acts will open, durably and all at once, before anything is done.
    ///
    /// `guard` says the epoch under which the acts begin, or why they may not; it is asked again whenever another
    /// tool was faster, and the intents are written only if the epoch is still that. A debt that is open already
    /// stays as it is: who opened it first owes it, and knows what was there before. Returns the keys of the debts
    /// that were opened here.
    pub fn begin(
        &self,
        acts: &mut [Act],
        opens: &[Debt],
        guard: &dyn Fn() -> Result<u64>,
    ) -> Result<Vec<String>> {
        self.again(|| {
            let epoch = guard()?;
            let last = self.state.get(LAST)?;
            let mut seq = last.as_ref().and_then(|entry| entry.value.as_u64()).unwrap_or(0);
            let mut txn = Txn::default();
            txn.expect.push(match last {
                Some(entry) => Expect::Version(entry.key, entry.version),
                None => Expect::Absent(LAST.into()),
            });
            for act in acts.iter_mut() {
                seq += 1;
                act.seq = seq;
                act.epoch = epoch;
                txn.expect.push(same_epoch(&act.deployment, epoch));
                txn.put.push((act_key(act.seq), write(act)?));
                if act.outcome == Outcome::Open {
                    txn.put.push((open_key(act.seq), json!(act.deployment)));
                }
            }
            txn.put.push((LAST.into(), seq.into()));
            let opened = self.open(&mut txn, opens)?;
            self.state.commit(&txn)?;
            Ok(opened)
        })
    }

    /// Opens and removes debts without an act: the world is so already. An act like one of `found` that was cut off
    /// gets its outcome. Writes only what is not so.
    pub fn adjust(
        &self,
        deployment: &str,
        found: &[Act],
        opens: &[Debt],
        settles: &[String],
        guard: &dyn Fn() -> Result<u64>,
    ) -> Result<()> {
        self.again(|| {
            let mut txn = Txn::default();
            self.open(&mut txn, opens)?;
            for mut cut in self.open_acts()? {
                if found.iter().any(|act| alike(&cut, act)) && alive(&cut) == Some(false) {
                    cut.outcome = Outcome::Failed;
                    cut.error = Some(rs_model::act::FOUND_DONE.into());
                    txn.put.push((act_key(cut.seq), write(&cut)?));
                    txn.delete.push(open_key(cut.seq));
                }
            }
            for key in settles {
                let key = debt_key(deployment, key);
                if let Some(entry) = self.state.get(&key)? {
                    txn.expect.push(Expect::Version(entry.key, entry.version));
                    txn.delete.push(key);
                }
            }
            if txn == Txn::default() {
                return Ok(());
            }
            txn.expect.push(same_epoch(deployment, guard()?));
            self.state.commit(&txn)
        })
    }

    /// Writes outcomes of acts, each with the debts that it settled, all at once. Not fenced by the epoch: what was done
    /// must be known whoever holds the deployment now.
    pub fn end(&self, ended: &[(Act, Vec<String>)]) -> Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        let mut txn = Txn::default();
        for (act, settles) in ended {
            txn.put.push((act_key(act.seq), write(act)?));
            txn.delete.push(open_key(act.seq));
            txn.delete.extend(settles.iter().map(|key| debt_key(&act.deployment, key)));
        }
        self.state.commit(&txn)
    }

    /// Removes a debt that the world shows to be settled.
    pub fn settle(&self, deployment: &str, key: &str) -> Result<()> {
        self.state.commit(&Txn { delete: vec![debt_key(deployment, key)], ..Txn::default() })
    }

    /// Leaves a heartbeat: that `name` (e.g. `journal-watch`) ran now, and for whom.
    pub fn beat(&self, name: &str) -> Result<()> {
        let beat = json!({ "at": now(), "owner": owner(None) });
        self.state.commit(&Txn { put: vec![(heartbeat_key(name), beat)], ..Txn::default() })
    }

    /// When `name` last left a heartbeat, RFC 3339 UTC; absent when it never did.
    pub fn last_beat(&self, name: &str) -> Result<Option<String>> {
        let entry = self.state.get(&heartbeat_key(name))?;
        Ok(entry.and_then(|entry| entry.value.get("at")?.as_str().map(str::to_owned)))
    }

    /// Keeps what a site check of a pool found: the newest one counts.
    pub fn keep_site_check(&self, deployment: &str, pool: &str, check: &SiteCheck) -> Result<()> {
        let put = vec![(site_check_key(deployment, pool), write(check)?)];
        self.state.commit(&Txn { put, ..Txn::default() })
    }

    /// What the newest site check of a pool found; absent when there was none.
    pub fn site_check(&self, deployment: &str, pool: &str) -> Result<Option<SiteCheck>> {
        self.state.get(&site_check_key(deployment, pool))?.map(read).transpose()
    }

    /// Adds the debts that are not open yet to a transaction; one that is keeps all but a deadline that is renewed.
    fn open(&self, txn: &mut Txn, opens: &[Debt]) -> Result<Vec<String>> {
        let mut opened = Vec::new();
        for debt in opens {
            let key = debt_key(&debt.deployment, &debt.key);
            if opened.contains(&debt.key) {
                continue;
            }
            let Some(entry) = self.state.get(&key)? else {
                txn.expect.push(Expect::Absent(key.clone()));
                txn.put.push((key, write(debt)?));
                opened.push(debt.key.clone());
                continue;
            };
            if self.renews {
                txn.expect.push(Expect::Version(key.clone(), entry.version));
                let (deadline, undo_on_deadline) = (debt.deadline.clone(), debt.undo_on_deadline);
                let there = Debt { deadline, undo_on_deadline, ..read(entry)? };
                txn.put.push((key, write(&there)?));
            }
        }
        Ok(opened)
    }

    /// Tries until no other tool was faster. A refusal by the guard ends it, since it is not the store's.
    fn again<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match work() {
                Err(e) if e.is_race() && Instant::now() < deadline => {}
                result => return result,
            }
        }
    }
}

/// The number of the newest act.
const LAST: &str = "journal-last";

/// How long a tool tries to write when others always are faster.
const PATIENCE: Duration = Duration::from_secs(30);

/// Before the number of each act without an outcome.
const OPEN: &str = "journal-open/";

/// Whether the process that began an act still runs; absent when it runs on another host.
pub fn alive(act: &Act) -> Option<bool> {
    if act.owner.host != host() {
        return None;
    }
    if act.owner.pid == std::process::id() {
        return Some(true);
    }
    // a number is used again by other processes: the name must fit too (the system cuts it at 15 bytes)
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", act.owner.pid)).unwrap_or_default();
    let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") "))
    else {
        return Some(false);
    };
    // one that has ended keeps its number until its parent asks, which may be never
    let ended = rest.starts_with(['Z', 'X']);
    Some(!ended && !name.is_empty() && act.tool.starts_with(name))
}

fn open_key(seq: u64) -> String {
    format!("{OPEN}{seq:012}")
}

fn heartbeat_key(name: &str) -> String {
    format!("heartbeat/{name}")
}

fn site_check_key(deployment: &str, pool: &str) -> String {
    format!("site-check/{}/{pool}", plain(deployment))
}

fn act_key(seq: u64) -> String {
    format!("journal/{seq:012}")
}

fn debt_key(deployment: &str, key: &str) -> String {
    format!("debt/{}/{key}", plain(deployment))
}

/// A deployment's name as one part of a key: it may hold slashes.
fn plain(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
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
