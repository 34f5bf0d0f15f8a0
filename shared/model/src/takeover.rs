//! A held slave becomes the master: what must be so before, each condition by its name, none left out (rollback from
//! step 23 on). The guide's promotion asked for nothing and lost data in thirteen ways; each has its condition here. The
//! master that the promotion fenced is kept as it was, and is the way back from it: the same conditions, the same names.

use serde::{Deserialize, Serialize};

use crate::act::{Act, Outcome};
use crate::migration::Migration;
use crate::position::stray;
use crate::replica::{DATA_AS_HELD, HeldAt, Replica, judge_data, judge_held};
use crate::silence::Session;
use crate::snapshot::{ABANDONED_KEPT, Snapshot};
use crate::{Answer, Check, Position, Server};

/// Every condition of a promotion, by name, in the order in which they are asked.
pub const CONDITIONS: [&str; 18] = [
    "rollback point",
    "hold unbroken",
    "read-only since the hold",
    DATA_AS_HELD,
    "schema before the migration",
    "one candidate",
    "rollback pair",
    "page active",
    "master fenced",
    "application sessions gone",
    "price accepted",
    "hold time stated",
    ABANDONED_KEPT,
    "backups off",
    "DNS record ours",
    "other slaves declared",
    "application ready",
    "expected master",
];

/// What is known of the present master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Abandoned {
    /// Its machine is gone: what the control plane says of it.
    Dead(String),
    /// It answered.
    Answers {
        /// Who could still write, in words.
        loud: Vec<String>,
        /// Who hangs on it.
        attached: Attached,
    },
    /// It did not answer, which is no evidence that it is off: a slow master would live on beside the new one.
    Silent(String),
}

/// Who hangs on a database server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// Sessions of applications: of accounts that can change rows when writes are on.
    pub sessions: Vec<Session>,
    /// Slaves that read from it.
    pub followers: Vec<Follower>,
}

/// A slave as its source shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// Its server id; absent where it registered none.
    pub server_id: Option<u64>,
    /// Where it says that it is, or where it comes from.
    pub host: String,
}

/// A slave of the set as the records have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Name.
    pub name: String,
    /// Its address.
    pub address: Option<String>,
    /// Its server id, asked of itself; absent when it does not answer.
    pub server_id: Option<u64>,
    /// It is the one that is promoted, follows that one, or is marked as one to be rebuilt: by this act, or before.
    pub declared: bool,
}

impl Known {
    /// Whether the source means this one: by its own word, and only of one that does not answer by its address.
    fn is(&self, seen: &Follower) -> bool {
        match self.server_id {
            Some(id) => seen.server_id == Some(id),
            None => self.address.as_ref() == Some(&seen.host),
        }
    }
}

/// An application server that has to serve the promoted data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Name.
    pub name: String,
    /// The control plane has it as operational.
    pub operational: bool,
    /// Why its machine does not answer, or was not asked; absent: it answered.
    pub silent: Option<String>,
}

/// What a promotion rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakeoverFacts {
    /// The server that shall become the master.
    pub candidate: String,
    /// What was recorded when it was held.
    pub held: HeldAt,
    /// What it is now.
    pub now: Replica,
    /// How many canaries its data knows of now.
    pub canaries: u64,
    /// Fingerprint of its schema now.
    pub schema: String,
    /// Migrations that its own data knows as begun and not done.
    pub left_half: Vec<Migration>,
    /// The run's migration, when its own data knows it as done.
    pub migrated: Option<Migration>,
    /// An earlier promotion was cut off after it had become a master: what it was before counts.
    pub half: bool,
    /// Slaves of the set that are held.
    pub candidates: Vec<String>,
    /// Backups of the set's lineage; absent when no store can be read, with the reason.
    pub backups: Result<Vec<Snapshot>, String>,
    /// The master's position when writes were switched off, before the hold.
    pub frozen_at: Option<Position>,
    /// Balancers that serve a pool without the page, or could not be asked.
    pub open_pages: Vec<String>,
    /// The present master.
    pub master: Abandoned,
    /// Transactions that would be lost; absent when they cannot be counted.
    pub price: Option<u64>,
    /// The price in words.
    pub price_words: String,
    /// How many the operator gives up; absent: however many.
    pub accepted: Option<u64>,
    /// The time of the hold as the operator stated it.
    pub stated_time: Option<String>,
    /// How what the abandoned master holds is kept; or why it cannot be.
    pub kept: Result<String, String>,
    /// Servers whose backups are taken by the clock.
    pub scheduled: Vec<String>,
    /// Names of the master that are not ours, cannot be asked, or last too long in caches.
    pub names_wrong: Vec<String>,
    /// Names that will be moved.
    pub names: Vec<String>,
    /// The slaves of the set as the records have them, the candidate too.
    pub slaves: Vec<Known>,
    /// The release whose data the candidate has: `old`, or `new` when it is the migrated master.
    pub release: String,
    /// Application servers of that release, each asked.
    pub applications: Vec<Application>,
    /// How many application servers the deployment has, of whatever release.
    pub all_applications: usize,
    /// Who has to be the master.
    pub expected: String,
    /// Who says which server is the master: tags, names, replication.
    pub said: Vec<(String, String)>,
}

/// Judges a promotion: one check per condition, in the order of [`CONDITIONS`].
pub fn judge_takeover(facts: &TakeoverFacts) -> Vec<Check> {
    let (held, now) = (&facts.held, &facts.now);
    let went_on = "an earlier promotion of it was cut off; it goes on";
    let or = |list: &[String], none: &str| match list {
        [] => none.to_owned(),
        list => list.join("; "),
    };
    let broken: Vec<String> = judge_held(&facts.candidate, held, now)
        .into_iter()
        .filter(|check| check.answer != Answer::Ok)
        .map(|check| format!("{}: {}", check.name, check.detail))
        .collect();
    let unmoved = now.wrote_nothing(&held.own);
    // one that became a master before it was cut off may have written, and has lost nothing of what it had
    let wrote_since = !now.read_only && now.log_filters.is_empty() && has_all(&now.own, &held.own);
    let data = judge_data(&facts.candidate, held, now, facts.canaries);
    let (fenced, fence_detail) = match &facts.master {
        Abandoned::Dead(state) => (true, state.clone()),
        Abandoned::Answers { loud, .. } => (loud.is_empty(), or(loud, "nobody could write")),
        Abandoned::Silent(why) => (false, format!("no evidence that it is off: {why}")),
    };
    let (gone, sessions) = sessions_gone(&facts.master);
    let (declared, slaves) = slaves_declared(facts);
    let (ready, applications) = applications_ready(facts);
    // a master that was fenced in the middle of its migration comes back as it was, to go on with it
    let left_half: Vec<String> = facts
        .left_half
        .iter()
        .chain(&facts.migrated)
        .filter(|one| held.fenced_by.is_none() || one.running)
        .map(Migration::words)
        .collect();
    let pair = pair(facts);
    let running = facts.backups.as_ref().ok().and_then(|all| all.iter().find(|one| one.taking));
    let mut backups = facts.scheduled.clone();
    backups.extend(running.map(|one| format!("{} is being taken", one.id)));
    let against: Vec<String> = facts
        .said
        .iter()
        .filter(|(_, said)| *said != facts.expected)
        .map(|(who, said)| format!("{who} says {said:?}"))
        .collect();
    let asked: [(bool, String, &str); 18] = [
        (
            held.position.set().is_some(),
            match &held.fenced_by {
                Some(by) => {
                    format!("fenced for {by:?} since {} at {}", held.at, held.position.text())
                }
                None => format!("held since {} at {}", held.at, held.position.text()),
            },
            "only a slave that rs-dbsync held, or the master that a promotion fenced, is a way back",
        ),
        (
            facts.half || broken.is_empty(),
            if facts.half { went_on.into() } else { or(&broken, "as it was") },
            "a thawed slave is no way back: restore the backup",
        ),
        (
            if facts.half { unmoved || wrote_since } else { now.read_only && unmoved },
            format!(
                "read_only {}, its own binary log at `{}`, held at `{}`{}",
                now.read_only,
                now.own.text(),
                held.own.text(),
                now.untold().map(|untold| format!("; {untold}")).unwrap_or_default()
            ),
            "somebody wrote here since the hold: restore the backup",
        ),
        (
            data.answer == Answer::Ok,
            data.detail,
            "it is another server, or its data was made anew since: restore the backup",
        ),
        (
            facts.schema == held.schema_fingerprint && left_half.is_empty(),
            or(
                &left_half,
                &format!("fingerprint {}, held with {}", facts.schema, held.schema_fingerprint),
            ),
            "its schema is not the one that it was held or fenced with: restore the backup",
        ),
        (
            facts.candidates.len() == 1,
            format!("held: {}", or(&facts.candidates, "none")),
            "resume or retire the others first",
        ),
        (
            pair.is_ok(),
            pair.unwrap_or_else(|why| why),
            "rs-snapshot take --pin at the position of the hold (step 20)",
        ),
        (
            facts.open_pages.is_empty(),
            or(&facts.open_pages, "on every balancer"),
            "rs-maintenance start",
        ),
        (fenced, fence_detail, "rs-dbsync writes off on the master; or end its machine"),
        (
            gone,
            sessions,
            "stop the applications, or rs-dbsync writes off --sessions ends what they left; or end the master's machine",
        ),
        (
            match (facts.price, facts.accepted) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(price), Some(accepted)) => price <= accepted,
            },
            facts.price_words.clone(),
            "--accept-loss N, or --lose-writes however much it is",
        ),
        (
            facts
                .stated_time
                .as_ref()
                .is_none_or(|stated| !stated.is_empty() && held.at.starts_with(stated.as_str())),
            format!(
                "held since {}, stated {}",
                held.at,
                facts.stated_time.as_deref().unwrap_or("nothing")
            ),
            "--lose-after wants the time of the hold: everything since then is lost",
        ),
        (
            facts.kept.is_ok(),
            match &facts.kept {
                Ok(how) | Err(how) => how.clone(),
            },
            "the writes of the abandoned master would be in one place only",
        ),
        (
            backups.is_empty(),
            or(&backups, "none is scheduled, none is being taken"),
            "rs-snapshot schedule off --role db",
        ),
        (
            facts.names_wrong.is_empty(),
            or(&facts.names_wrong, &or(&facts.names, "no name is configured")),
            "the name points at no server of this deployment: whose is it?",
        ),
        (
            declared,
            slaves,
            "stop it, or give it the tag of its set: what follows the abandoned master has other data",
        ),
        (
            ready,
            applications,
            "rs-server mark and launch them first: the other release's code on this data is a second outage",
        ),
        (
            against.is_empty(),
            format!("expected {:?}: {}", facts.expected, or(&against, "all say so")),
            "tags, DNS and replication must agree on who is the master",
        ),
    ];
    CONDITIONS
        .iter()
        .zip(asked)
        .map(|(name, (good, detail, hint))| {
            let answer = if good { Answer::Ok } else { Answer::No };
            let check = Check::new(name, &facts.candidate, answer, detail);
            if good { check } else { check.hint(format!("{hint}; or --override '{name}'")) }
        })
        .collect()
}

/// Whether everything is there that was there then.
fn has_all(now: &Position, then: &Position) -> bool {
    match (now.set(), then.set()) {
        (Some(now), Some(then)) => now.covers(&then),
        (_, None) => then.text().is_empty(),
        (None, _) => false,
    }
}

/// Whether a promotion of a server was begun, by the journal, since it is a way back: since it was held, or since the
/// promotion of `fenced_by` fenced it.
pub fn promotion_begun(
    acts: &[Act],
    deployment: &str,
    server: &str,
    fenced_by: Option<&str>,
) -> bool {
    let is = |act: &Act, verb: &str, on: &str| {
        act.tool == "rs-dbsync"
            && act.verb == verb
            && act.deployment == deployment
            && act.subject.strip_prefix("server ") == Some(on)
    };
    let since = |act: &Act| match fenced_by {
        Some(by) => is(act, "promote", by) && act.outcome == Outcome::Done,
        None => is(act, "hold", server),
    };
    let behind = acts.iter().rev().take_while(|act| !since(act));
    behind.into_iter().any(|act| is(act, "promote", server))
}

/// Nobody of the applications is on the master any more.
fn sessions_gone(master: &Abandoned) -> (bool, String) {
    match master {
        Abandoned::Dead(state) => (true, state.clone()),
        Abandoned::Silent(why) => (false, format!("who is on it is not known: {why}")),
        Abandoned::Answers { attached, .. } => match attached.sessions.as_slice() {
            [] => (true, "none is there".into()),
            all => (false, all.iter().map(Session::words).collect::<Vec<_>>().join("; ")),
        },
    }
}

/// Each slave that the master shows is one that the records know, and that is marked as one to be rebuilt.
fn slaves_declared(facts: &TakeoverFacts) -> (bool, String) {
    let followers = match &facts.master {
        Abandoned::Dead(_) => [].as_slice(),
        Abandoned::Silent(why) => return (false, format!("who follows it is not known: {why}")),
        Abandoned::Answers { attached, .. } => &attached.followers,
    };
    let mut left: Vec<&Known> = facts.slaves.iter().collect();
    let mut wrong = Vec::new();
    for seen in followers {
        let id = seen.server_id.map_or("without a server id".to_owned(), |id| format!("{id}"));
        match left.iter().position(|known| known.is(seen)).map(|at| left.remove(at)) {
            Some(known) if known.declared => {}
            Some(known) => wrong.push(format!("{:?} follows it and is not marked", known.name)),
            None => wrong.push(format!(
                "a slave at {:?}, server id {id}, follows it and is none of the set",
                seen.host
            )),
        }
    }
    // one that just does not follow now would go on with the abandoned data when it is started
    wrong.extend(
        left.iter()
            .filter(|known| !known.declared)
            .map(|known| format!("{:?} is a slave of the set and is not marked", known.name)),
    );
    if !wrong.is_empty() {
        return (false, wrong.join("; "));
    }
    let rest = facts.slaves.iter().filter(|known| known.name != facts.candidate);
    let rest: Vec<&str> = rest.map(|known| known.name.as_str()).collect();
    (true, if rest.is_empty() { "there are none".into() } else { rest.join("; ") })
}

/// The application servers of the release that belongs to the data: each that shall serve it answers.
fn applications_ready(facts: &TakeoverFacts) -> (bool, String) {
    let (all, release) = (&facts.applications, &facts.release);
    if all.is_empty() {
        return match facts.all_applications {
            0 => (true, "the deployment has no application server".into()),
            n => {
                (false, format!("none of the {n} application servers is of the {release} release"))
            }
        };
    }
    let operational = || all.iter().filter(|one| one.operational);
    let silent: Vec<String> = operational()
        .filter_map(|one| Some(format!("{:?}: {}", one.name, one.silent.as_ref()?)))
        .collect();
    let ready = operational().count() - silent.len();
    let mut words = format!(
        "{ready} of {} application servers of the {release} release are operational and answer",
        all.len()
    );
    if !silent.is_empty() {
        words.push_str(&format!("; {}", silent.join("; ")));
    }
    (ready > 0 && silent.is_empty(), words)
}

/// The backup that is a pair with the held slave: complete, pinned, at the position of the hold; or between the freeze
/// and the hold, when only accounts that may write all the same (heartbeats) can have moved it.
fn pair(facts: &TakeoverFacts) -> Result<String, String> {
    let all = facts.backups.as_ref().map_err(Clone::clone)?;
    let held = facts.held.position.set();
    let frozen = facts.frozen_at.as_ref().and_then(Position::set);
    let fits = |one: &&Snapshot| {
        one.perfect && one.pinned && {
            let at = one.position.set();
            one.position.same(&facts.held.position)
                || match (&at, &held, &frozen) {
                    (Some(at), Some(held), Some(frozen)) => held.covers(at) && at.covers(frozen),
                    _ => false,
                }
        }
    };
    match all.iter().find(fits) {
        Some(one) => Ok(format!("{} stands for {}", one.id, one.position.text())),
        None => {
            Err(format!("no complete and pinned backup stands for {}", facts.held.position.text()))
        }
    }
}

/// Whether a backup's data lies on a master's own way: all that it holds went through that master. One that was read
/// from a master that was abandoned since does not, however new it is. Unread is no.
pub fn of_this_history(snapshot: &Snapshot, own_state: Option<&str>) -> bool {
    snapshot.position.set().is_some()
        && own_state
            .and_then(|state| stray(snapshot.position.text(), state))
            .is_some_and(|errant| errant.is_empty())
}

/// Addresses that are no server's of ours. That of a master whose machine ended is in no record any more: `former` is the
/// last one that is known of it.
pub fn strangers<'a>(
    addresses: &'a [String],
    servers: &[Server],
    former: Option<&str>,
) -> impl Iterator<Item = &'a String> {
    let ours = move |address: &str| {
        let of = |s: &Server| s.address.is_some_and(|at| at.to_string() == address);
        former == Some(address) || servers.iter().any(of)
    };
    addresses.iter().filter(move |address| !ours(address))
}

#[cfg(test)]
mod tests;
