//! The two-phase act of the tools, on a real state store.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rs_cli::{Common, Context, DebtSpec, Done, Exit, Journal, Step, Subject, Subjects};
use rs_contract::{Entry, Error, Holder, Kind, Lock, Mode, Place, Result, State, Txn};
use rs_model::Server;
use rs_model::act::{Act, Debt, Due, Outcome};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

struct Scene {
    folder: TempDir,
    state: Box<dyn State>,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let place =
            Place { cloud: url(&folder), state: None, mode: Mode::Real, ..Place::default() };
        Scene { state: rs_drivers::state(&place).unwrap(), folder }
    }

    fn url(&self) -> String {
        url(&self.folder)
    }

    fn journal(&self) -> Journal<'_> {
        Journal::new(self.state.as_ref())
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.journal().acts().unwrap().iter().map(|act| act.outcome).collect()
    }

    fn debts(&self) -> Vec<String> {
        self.journal().debts("a/b").unwrap().into_iter().map(|debt| debt.key).collect()
    }
}

fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("site.db").display())
}

fn context(dry: bool) -> Context {
    Context::new("rs-test", "turn", Common { jobs: 4, ..Common::default() }, dry)
}

fn subjects(names: &[&str]) -> Subjects {
    let named = |name: &&str| Server { name: (*name).into(), ..Server::default() };
    Subjects { items: names.iter().map(|name| Subject::server("a/b", named(name))).collect() }
}

fn step(at: usize, debt: Option<&str>) -> Step {
    let open = |key: &str| DebtSpec {
        key: key.into(),
        reason: "a test".into(),
        inverse: vec!["rs-test".into(), "turn".into(), "back".into()],
        due: Due::Window,
        deadline: None,
        before: json!({"was": at}),
    };
    Step { at, needed: true, opens: debt.map(open).into_iter().collect(), ..Step::default() }
}

fn did(subjects: &Subjects, at: usize) -> Json {
    subjects.items[at].record.body["did"][0].clone()
}

#[test]
fn intents_and_debts_are_on_disk_before_the_first_act_and_outcomes_after_each() {
    let scene = Scene::new();
    let mut subjects = subjects(&["one", "two"]);
    let steps = [step(0, Some("held:one")), step(1, None)];
    let exit = context(false)
        .each(scene.state.as_ref(), "a/b", &mut subjects, &steps, |step| {
            assert_eq!(scene.debts(), ["held:one"]);
            assert_eq!(scene.outcomes().len(), 2, "both intents, before either act");
            let mine = scene.journal().acts().unwrap().swap_remove(step.at);
            assert_eq!(mine.outcome, Outcome::Open);
            assert_eq!(mine.subject, format!("server {}", ["one", "two"][step.at]));
            Ok(Done::now("on"))
        })
        .unwrap();
    assert_eq!(exit, Exit::Done);
    assert_eq!(scene.outcomes(), [Outcome::Done, Outcome::Done]);
    assert_eq!(scene.debts(), ["held:one"]);
    assert_eq!(did(&subjects, 0)["changed"], true);

    // the act that settles it removes it with its outcome, not before
    let mut subjects = self::subjects(&["one"]);
    let steps = [Step { settles: vec!["held:one".into()], ..step(0, None) }];
    context(false)
        .each(scene.state.as_ref(), "a/b", &mut subjects, &steps, |_| {
            assert_eq!(scene.debts(), ["held:one"]);
            Ok(Done::now("off"))
        })
        .unwrap();
    assert_eq!(scene.debts(), [""; 0]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let scene = Scene::new();
    let mut subjects = subjects(&["one"]);
    let steps = [Step {
        predict: json!({"state": "operational"}).as_object().unwrap().clone(),
        ..step(0, Some("held:one"))
    }];
    context(true)
        .each(scene.state.as_ref(), "a/b", &mut subjects, &steps, |_| panic!("a dry run acted"))
        .unwrap();
    assert_eq!(scene.state.list("").unwrap(), vec![]);
    assert_eq!(did(&subjects, 0)["planned"], true);
    assert_eq!(subjects.items[0].record.body["state"], "operational");
}

#[test]
fn a_failed_act_owes_what_it_opened_unless_it_touched_nothing() {
    let scene = Scene::new();
    let mut subjects = subjects(&["one", "two", "three"]);
    let mut first = step(0, Some("writes:x"));
    first.opens[0].before = json!("the first");
    let steps = [first, step(1, Some("page:www")), step(2, Some("lock:three"))];
    let exit = context(false)
        .each(scene.state.as_ref(), "a/b", &mut subjects, &steps, |step| match step.at {
            0 => Err(Error::new(Kind::Unreachable, "went away half way")),
            1 => Err(Error::new(Kind::Declined, "not now").untouched()),
            _ => Ok(Done::now("locked")),
        })
        .unwrap();
    assert_eq!(exit, Exit::Partial);
    assert_eq!(scene.outcomes(), [Outcome::Failed, Outcome::Failed, Outcome::Done]);
    let mut debts = scene.debts();
    debts.sort();
    assert_eq!(debts, ["lock:three", "writes:x"]);
    assert_eq!(did(&subjects, 1)["error"], "not now");

    // the debt of the first stays its: a second act, even an untouched one, neither replaces nor removes it
    let mut subjects = self::subjects(&["one"]);
    let error = context(false)
        .together(scene.state.as_ref(), "a/b", &mut subjects, &[step(0, Some("writes:x"))], |_| {
            Err(Error::new(Kind::Declined, "no").untouched())
        })
        .unwrap_err();
    assert_eq!(error.downcast_ref::<Error>().unwrap().kind(), Kind::Declined);
    let debt = scene.journal().debt("a/b", "writes:x").unwrap().unwrap();
    assert_eq!(debt.before, json!("the first"));
    // and it is not the debt of a deployment whose name begins alike
    assert_eq!(scene.journal().debts("a").unwrap(), vec![]);
}

#[test]
fn what_is_so_already_is_owed_and_settled_too_without_an_act() {
    let scene = Scene::new();
    let turn = |needed: bool, open: Option<&str>, settle: Option<&str>| {
        let mut subjects = subjects(&["one"]);
        let settles = settle.map(String::from).into_iter().collect();
        let steps = [Step { needed, settles, ..step(0, open) }];
        context(false)
            .each(scene.state.as_ref(), "a/b", &mut subjects, &steps, |_| Ok(Done::now("x")))
            .unwrap();
        did(&subjects, 0)["changed"].clone()
    };
    assert_eq!(turn(false, Some("page:www"), None), false);
    assert_eq!((scene.debts(), scene.outcomes().len()), (vec!["page:www".to_owned()], 0));
    let before = scene.state.list("").unwrap();
    turn(false, Some("page:www"), None);
    assert_eq!(scene.state.list("").unwrap(), before, "a second call writes nothing");
    turn(false, None, Some("page:www"));
    assert_eq!(scene.debts(), [""; 0]);
}

#[test]
fn an_act_that_brings_no_result_counts_as_failed() {
    let scene = Scene::new();
    let mut subjects = subjects(&["one", "two"]);
    let exit = context(false)
        .together(
            scene.state.as_ref(),
            "a/b",
            &mut subjects,
            &[step(0, None), step(1, None)],
            |_| Ok(vec![Done::now("only one")]),
        )
        .unwrap();
    assert_eq!(exit, Exit::Partial);
    assert_eq!(scene.outcomes(), [Outcome::Done, Outcome::Failed]);
    assert!(did(&subjects, 1)["error"].is_string());
}

#[test]
fn tools_that_begin_at_once_get_numbers_of_their_own_and_one_debt() {
    let scene = Scene::new();
    let acted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for tool in 0..8 {
            let (scene, acted) = (&scene, &acted);
            scope.spawn(move || {
                for _ in 0..10 {
                    let mut subjects = subjects(&["one", "two"]);
                    let mut steps = [step(0, Some("page:www")), step(1, None)];
                    steps[0].opens[0].before = json!(tool);
                    context(false)
                        .each(scene.state.as_ref(), "a/b", &mut subjects, &steps, |_| {
                            acted.fetch_add(1, Ordering::Relaxed);
                            Ok(Done::now("x"))
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(acted.load(Ordering::Relaxed), 160);
    let seqs: Vec<u64> = scene.journal().acts().unwrap().iter().map(|act| act.seq).collect();
    assert_eq!(seqs, (1..=160).collect::<Vec<_>>());
    assert!(scene.outcomes().iter().all(|outcome| *outcome == Outcome::Done));
    assert_eq!(scene.debts(), ["page:www"]);
    assert_eq!(scene.state.list("debt/").unwrap()[0].version, 1, "opened once");
}

#[test]
fn nobody_acts_beside_a_run_that_holds_the_lock_unless_he_names_it() {
    let scene = Scene::new();
    let mut child = super::state::hold(&scene.url(), "a/b");
    let turn = |run: Option<&str>| {
        let mut cx = context(false);
        cx.common.upgrade = run.map(String::from);
        let mut subjects = subjects(&["one"]);
        cx.each(scene.state.as_ref(), "a/b", &mut subjects, &[step(0, None)], |_| {
            Ok(Done::now("x"))
        })
    };
    // one that has nothing to do but to note what is owed is declined too
    let owe = |run: Option<&str>| {
        let mut cx = context(false);
        cx.common.upgrade = run.map(String::from);
        let idle = Step { needed: false, ..step(0, Some("page:www")) };
        cx.each(scene.state.as_ref(), "a/b", &mut subjects(&["one"]), &[idle], |_| {
            Ok(Done::default())
        })
    };
    for stranger in [None, Some("u-8")] {
        for error in [turn(stranger).unwrap_err(), owe(stranger).unwrap_err()] {
            let error = error.downcast_ref::<Error>().unwrap();
            assert_eq!(error.kind(), Kind::Declined);
            assert!(error.what().contains("u-7") && error.what().contains("ada@here"), "{error}");
        }
    }
    assert_eq!((scene.outcomes(), scene.debts()), (vec![], vec![]));
    owe(Some("u-7")).unwrap();
    assert_eq!(scene.debts(), ["page:www"]);
    turn(Some("u-7")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    turn(None).unwrap();
    assert_eq!(scene.outcomes().len(), 2);
}

/// What an act of ours would be in the journal.
fn intent(subject: &str) -> Act {
    Act {
        seq: 0,
        at: rs_cli::now(),
        deployment: "a/b".into(),
        subject: subject.into(),
        tool: "rs-test".into(),
        verb: "turn".into(),
        about: None,
        owner: rs_cli::owner(None),
        epoch: 0,
        clock: false,
        outcome: Outcome::Open,
        before: Json::Null,
        after: Json::Null,
        ms: None,
        undo: None,
        error: None,
    }
}

fn owed(before: &str) -> Debt {
    Debt {
        key: "page:www".into(),
        deployment: "a/b".into(),
        kind: "page".into(),
        subject: "www".into(),
        owner: rs_cli::owner(None),
        reason: "a test".into(),
        since: rs_cli::now(),
        inverse: vec![],
        due: Due::Window,
        deadline: None,
        undo_on_deadline: false,
        before: json!(before),
    }
}

#[test]
fn what_changes_between_the_look_and_the_write_is_looked_at_again() {
    let scene = Scene::new();
    let journal = scene.journal();
    let raise = AtomicU64::new(0);
    // the run is taken over in the moment between its first check and its intent
    let guard = || {
        let epoch = scene.state.epoch("a/b")?;
        if raise.fetch_add(1, Ordering::Relaxed) == 0 {
            scene.state.raise_epoch("a/b")?;
        }
        Ok(epoch)
    };
    let mut acts = [intent("server one")];
    journal.begin(&mut acts, &[], &guard).unwrap();
    assert_eq!(acts[0].epoch, 1, "the intent is of the epoch that holds");
    assert_eq!(raise.swap(0, Ordering::Relaxed), 2, "it was checked again");
    journal.adjust("a/b", &[], &[owed("mine")], &[], &guard).unwrap();
    assert_eq!(raise.load(Ordering::Relaxed), 2, "here too");

    // somebody opens the same debt meanwhile: his has what was there before
    journal.settle("a/b", "page:www").unwrap();
    let first = AtomicU64::new(0);
    let guard = || {
        if first.fetch_add(1, Ordering::Relaxed) == 0 {
            journal
                .begin(&mut [intent("server two")], &[owed("his")], &|| scene.state.epoch("a/b"))?;
        }
        scene.state.epoch("a/b")
    };
    journal.adjust("a/b", &[], &[owed("mine")], &[], &guard).unwrap();
    assert_eq!(journal.debt("a/b", "page:www").unwrap().unwrap().before, "his");
}

#[test]
fn an_act_that_is_under_way_is_not_closed_by_who_finds_it_done() {
    let scene = Scene::new();
    let idle = Step { needed: false, ..step(0, None) };
    let mut ours = subjects(&["one"]);
    let turn = |subjects: &mut Subjects| {
        let work = |_: &Step| Ok(Done::default());
        context(false)
            .each(scene.state.as_ref(), "a/b", subjects, std::slice::from_ref(&idle), work)
            .unwrap();
    };
    scene.journal().begin(&mut [intent("server one")], &[], &|| Ok(0)).unwrap();
    turn(&mut ours);
    assert_eq!(scene.outcomes(), [Outcome::Open], "its process lives");
    let mut cut = intent("server one");
    // no process has that number
    cut.owner.pid = u32::MAX;
    scene.journal().begin(&mut [cut], &[], &|| Ok(0)).unwrap();
    turn(&mut ours);
    assert_eq!(scene.outcomes(), [Outcome::Open, Outcome::Failed]);
}

#[test]
fn an_operator_who_was_taken_over_in_an_act_writes_its_outcome_and_is_told() {
    let scene = Scene::new();
    let out = super::state::ran(&scene.url(), "late");
    assert!(out.contains("was taken over (its epoch 0, now 1)"), "{out}");
    assert_eq!(scene.outcomes(), [Outcome::Done], "what was done is known");
}

/// In a process whose environment says that it belongs to a run of epoch 0: the run is taken over while it acts.
pub fn late(state: &dyn State) -> String {
    let mut subjects = subjects(&["one"]);
    let ended = context(false).each(state, "a/b", &mut subjects, &[step(0, None)], |_| {
        state.raise_epoch("a/b")?;
        Ok(Done::now("x"))
    });
    ended.unwrap_err().to_string()
}

/// A store whose disk is full from some moment on.
struct Full<'a> {
    of: &'a dyn State,
    full: AtomicBool,
}

impl State for Full<'_> {
    fn place(&self) -> String {
        self.of.place()
    }
    fn is_there(&self) -> bool {
        self.of.is_there()
    }
    fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.of.get(key)
    }
    fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        self.of.list(prefix)
    }
    fn commit(&self, txn: &Txn) -> Result<()> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(Error::new(Kind::Failed, "the disk is full")),
            false => self.of.commit(txn),
        }
    }
    fn next(&self, counter: &str) -> Result<u64> {
        self.of.next(counter)
    }
    fn lock(&self, name: &str, holder: &Holder, wait: Duration) -> Result<Box<dyn Lock>> {
        self.of.lock(name, holder, wait)
    }
    fn holder(&self, name: &str) -> Result<Option<Holder>> {
        self.of.holder(name)
    }
    fn raise_epoch(&self, name: &str) -> Result<u64> {
        self.of.raise_epoch(name)
    }
    fn epoch(&self, name: &str) -> Result<u64> {
        self.of.epoch(name)
    }
}

#[test]
fn what_is_done_and_cannot_be_written_down_is_an_error_and_stays_open() {
    let scene = Scene::new();
    let full = Full { of: scene.state.as_ref(), full: AtomicBool::new(false) };
    let mut subjects = subjects(&["one"]);
    let ended = context(false).each(&full, "a/b", &mut subjects, &[step(0, None)], |_| {
        full.full.store(true, Ordering::Relaxed);
        Ok(Done::now("x"))
    });
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("is done, but that could not be written down"), "{error}");
    assert!(did(&subjects, 0)["error"].is_string());
    assert_eq!(scene.outcomes(), [Outcome::Open], "the next run looks at it");
}
