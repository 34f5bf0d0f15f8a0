//! Whether users may come back: what must be so before the page goes down (step 31), each condition by its name.
//!
//! What does not apply hinders nothing: where nothing was migrated there is no copy to wait for and no check to be newer
//! than it.

use serde::{Deserialize, Serialize};

use crate::act::Outcome;
use crate::migration::SchemaState;
use crate::{Answer, Check};

/// Every condition, by name, in the order in which they are asked.
pub const CONDITIONS: [&str; 7] = [
    "writes-on",
    "schema-whole",
    "site-check",
    "reads-caught-up",
    "unknown-members",
    "members-up",
    "backup-finished",
];

/// What `rs-check site` last found of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCheck {
    /// When it was begun, RFC 3339 UTC.
    pub at: String,
    /// What was not ok, in words.
    #[serde(default)]
    pub no: Vec<String>,
}

/// A database set as its master shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// The set.
    pub set: String,
    /// Whether writes are off, and what the schema is with the migrations that leave it half in words; or why it could
    /// not be asked.
    pub seen: Result<(bool, SchemaState, Vec<String>), String>,
}

/// A slave that serves reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The server.
    pub server: String,
    /// Whether the name for reads leads to it; one that it does not lead to serves nobody.
    pub serves: bool,
    /// What it lacks of what its master had a moment ago; or why that could not be found out.
    pub lacks: Result<Vec<String>, String>,
}

/// The copy that is the way back after a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The held slave.
    pub server: String,
    /// The newest backup that stands for it: of itself, begun since it is held; or of its master, begun since then and
    /// before the migration. How it ended, and in words; absent: none was ever begun.
    pub backup: Option<(Outcome, String)>,
}

/// What the answer rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReopenFacts {
    /// The pool.
    pub pool: String,
    /// Debts that say that writes are off.
    pub writes_owed: Vec<String>,
    /// The database sets.
    pub masters: Vec<Master>,
    /// Migrations that run now, as the journal knows.
    pub migrating: Vec<String>,
    /// When the schema was last changed, by a migration or a promotion: its end, RFC 3339 UTC. Absent: never.
    pub changed_at: Option<String>,
    /// What the last site check of the pool found.
    pub site_check: Option<SiteCheck>,
    /// What is not ok in the checks that the operator brought.
    pub brought: Vec<String>,
    /// Slaves that serve reads.
    pub readers: Vec<Reader>,
    /// Members that nobody knows, or that could not be read.
    pub strangers: Vec<String>,
    /// Balancers through which no application that is well was reached.
    pub unreached: Vec<String>,
    /// Held slaves of sets that were migrated since.
    pub copies: Vec<Copy>,
}

/// Judges it: one check per condition, in the order of [`CONDITIONS`]. What could not be found out is unknown.
pub fn judge_reopen(facts: &ReopenFacts) -> Vec<Check> {
    let mut unseen = Vec::new();
    let mut writes: Vec<String> = facts.writes_owed.clone();
    let mut half: Vec<String> = facts.migrating.clone();
    for master in &facts.masters {
        match &master.seen {
            Ok((off, state, words)) => {
                if *off && writes.is_empty() {
                    writes.push(format!("the master of {} takes no writes", master.set));
                }
                if *state == SchemaState::Half {
                    half.push(format!(
                        "the schema of {} is half: {}",
                        master.set,
                        words.join("; ")
                    ));
                }
            }
            Err(why) => unseen.push(format!("the master of {} was not asked: {why}", master.set)),
        }
    }
    let mut lacks = Vec::new();
    let mut unread = Vec::new();
    for reader in facts.readers.iter().filter(|reader| reader.serves) {
        match &reader.lacks {
            Ok(what) => {
                lacks.extend(what.iter().map(|what| format!("{}: {what}", reader.server)));
            }
            Err(why) => unread.push(format!("{}: {why}", reader.server)),
        }
    }
    let unfinished = facts.copies.iter().filter_map(|copy| match &copy.backup {
        Some((Outcome::Done, _)) => None,
        Some((_, words)) => Some(format!("{}: {words}", copy.server)),
        None => Some(format!("{}: no backup of it was begun since it is held", copy.server)),
    });
    let none = Vec::new();
    let asked: [(Vec<String>, &Vec<String>, &str); 7] = [
        (writes, &none, "rs-dbsync writes on --role master"),
        (half, &unseen, "the same rs-dbsync migrate goes on; or scripts/rollback.sh"),
        (site_check(facts), &none, "rs-check site --pool POOL --bypass --each-member"),
        (lacks, &unread, "rs-dbsync status --role slave shows how far they are; wait for them"),
        (
            facts.strangers.clone(),
            &none,
            "rs-lbctl connect --only makes the pool exactly the right ones",
        ),
        (facts.unreached.clone(), &none, "rs-lbctl status --pool POOL"),
        (unfinished.collect(), &none, "wait for it, or rs-snapshot take it (again)"),
    ];
    CONDITIONS
        .iter()
        .zip(asked)
        .map(|(name, (no, unknown, hint))| {
            let (answer, detail) = match (no.as_slice(), unknown.as_slice()) {
                ([], []) => (Answer::Ok, "so".to_owned()),
                ([], unknown) => (Answer::Unknown, unknown.join("; ")),
                (no, _) => (Answer::No, no.join("; ")),
            };
            let check = Check::new(name, &facts.pool, answer, detail);
            if answer == Answer::Ok { check } else { check.hint(hint.replace("POOL", &facts.pool)) }
        })
        .collect()
}

/// A site check is wanted of what was changed: the last one must be newer, and all ok. Where nothing was changed, one that
/// was made and said no counts all the same only as far as the operator brought it.
fn site_check(facts: &ReopenFacts) -> Vec<String> {
    let mut no = facts.brought.clone();
    let Some(changed) = &facts.changed_at else { return no };
    match &facts.site_check {
        None => {
            no.push(format!("nobody has checked the site since the schema changed at {changed}"))
        }
        Some(check) if check.at <= *changed => no.push(format!(
            "the last site check is of {}, and the schema changed at {changed}",
            check.at
        )),
        Some(check) => no.extend(check.no.iter().map(|why| format!("at {}: {why}", check.at))),
    }
    no
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ReopenFacts {
        ReopenFacts {
            pool: "www".into(),
            masters: vec![Master {
                set: "shop".into(),
                seen: Ok((false, SchemaState::New, vec![])),
            }],
            changed_at: Some("2026-11-24T14:02:11.000Z".into()),
            site_check: Some(SiteCheck { at: "2026-11-24T14:02:12.000Z".into(), no: vec![] }),
            readers: vec![Reader { server: "Slave DB".into(), serves: true, lacks: Ok(vec![]) }],
            copies: vec![Copy {
                server: "Slave2 DB".into(),
                backup: Some((Outcome::Done, "done".into())),
            }],
            ..ReopenFacts::default()
        }
    }

    fn refused(facts: &ReopenFacts) -> Vec<String> {
        let checks = judge_reopen(facts);
        assert!(checks.iter().map(|check| check.name.as_str()).eq(CONDITIONS));
        checks.into_iter().filter(|c| c.answer != Answer::Ok).map(|c| c.name).collect()
    }

    #[test]
    fn each_way_to_let_users_in_too_early_is_refused_by_its_own_name() {
        assert_eq!(refused(&good()), Vec::<String>::new());
        type Change = fn(&mut ReopenFacts);
        let half = |seen| vec![Master { set: "shop".into(), seen }];
        let ways: [(&str, Change); 16] = [
            ("writes-on", |f| f.writes_owed.push("writes:shop".into())),
            ("writes-on", |f| f.masters[0].seen = Ok((true, SchemaState::New, vec![]))),
            ("schema-whole", |f| f.masters[0].seen = Ok((false, SchemaState::Half, vec![]))),
            ("schema-whole", |f| f.masters[0].seen = Err("no answer".into())),
            ("schema-whole", |f| f.migrating.push("act 7".into())),
            ("site-check", |f| f.site_check = None),
            ("site-check", |f| {
                f.site_check.as_mut().unwrap().at = "2026-11-24T14:02:11.000Z".into()
            }),
            ("site-check", |f| f.site_check.as_mut().unwrap().no.push("503".into())),
            ("site-check", |f| f.brought.push("release: old".into())),
            ("reads-caught-up", |f| f.readers[0].lacks = Ok(vec!["7 transactions".into()])),
            ("reads-caught-up", |f| f.readers[0].lacks = Err("no answer".into())),
            ("unknown-members", |f| f.strangers.push("10.0.0.9:80".into())),
            ("members-up", |f| f.unreached.push("LB-1: 503".into())),
            ("backup-finished", |f| f.copies[0].backup = Some((Outcome::Open, "runs".into()))),
            ("backup-finished", |f| f.copies[0].backup = Some((Outcome::Failed, "full".into()))),
            ("backup-finished", |f| f.copies[0].backup = None),
        ];
        for (name, change) in ways {
            let mut facts = good();
            change(&mut facts);
            assert_eq!(refused(&facts), [name]);
        }
        let mut facts = ReopenFacts { masters: half(Err("gone".into())), ..good() };
        assert_eq!(judge_reopen(&facts)[1].answer, Answer::Unknown);
        facts.migrating.push("act 7".into());
        assert_eq!(judge_reopen(&facts)[1].answer, Answer::No, "what is known to be wrong counts");
    }

    #[test]
    fn what_does_not_apply_hinders_nothing() {
        assert_eq!(refused(&ReopenFacts::default()), Vec::<String>::new());
        let mut facts = good();
        // nothing was migrated: no check is wanted, and no copy is one to come back to
        facts.masters[0].seen = Ok((false, SchemaState::Old, vec![]));
        (facts.changed_at, facts.site_check) = (None, None);
        facts.copies.clear();
        // the name for reads leads elsewhere
        facts.readers[0] =
            Reader { server: "Slave DB".into(), serves: false, lacks: Err("stopped".into()) };
        assert_eq!(refused(&facts), Vec::<String>::new());
        facts.brought.push("release: old".into());
        assert_eq!(
            refused(&facts),
            ["site-check"],
            "what the operator brought counts all the same"
        );
    }
}
