//! The contract of `State`, and its driver `sqlite`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rs_contract::{Expect, Holder, Kind, Mode, Place, State, Txn};
use serde_json::{Value as Json, json};

fn open(url: &str, mode: Mode) -> Box<dyn State> {
    rs_drivers::state(&Place { cloud: url.into(), state: None, mode, ..Place::default() }).unwrap()
}

fn put(key: &str, value: Json) -> Txn {
    Txn { put: vec![(key.into(), value)], ..Txn::default() }
}

/// What every store must do. `open` opens the same, empty at first, store again.
fn suite(open: &(dyn Fn() -> Box<dyn State> + Sync)) {
    let (one, two) = (open(), open());
    assert_eq!(one.get("a").unwrap(), None);
    assert_eq!(one.list("").unwrap(), vec![]);

    // values are what was put, versions count each write of a key
    let odd = json!({"text": "blank ' \" \n \u{1F600}", "big": u64::MAX, "none": null, "list": [1, -2, 0.5]});
    one.commit(&put("a", odd.clone())).unwrap();
    let entry = two.get("a").unwrap().unwrap();
    assert_eq!((entry.version, &entry.value), (1, &odd));
    one.commit(&put("a", Json::Null)).unwrap();
    let entry = two.get("a").unwrap().unwrap();
    assert_eq!((entry.version, entry.value), (2, Json::Null), "null is a value");

    // a removed key is not there, and its next version names no earlier value
    one.commit(&Txn { delete: vec!["a".into(), "never".into()], ..Txn::default() }).unwrap();
    assert_eq!(two.get("a").unwrap(), None);
    assert_eq!(two.list("").unwrap(), vec![]);
    one.commit(&Txn { expect: vec![Expect::Absent("a".into())], ..put("a", json!(3)) }).unwrap();
    assert!(two.get("a").unwrap().unwrap().version > 2);

    // expectations: all or nothing
    let version = two.get("a").unwrap().unwrap().version;
    for expect in [
        Expect::Absent("a".into()),
        Expect::Version("a".into(), version - 1),
        Expect::Version("b".into(), 1),
    ] {
        let mut txn = put("a", json!("lost"));
        txn.put.push(("b".into(), json!("lost")));
        txn.expect = vec![Expect::Version("a".into(), version), expect];
        let error = one.commit(&txn).unwrap_err();
        assert!(error.kind() == Kind::Declined && error.is_race(), "{error:?}");
    }
    assert_eq!(two.get("a").unwrap().unwrap().value, json!(3));
    assert_eq!(two.get("b").unwrap(), None);
    let expect = vec![Expect::Version("a".into(), version), Expect::Absent("b".into())];
    one.commit(&Txn { expect, ..put("b", json!(1)) }).unwrap();

    // keys in byte order, exactly those with the prefix, whatever they hold
    let mut names: Vec<String> =
        ["x/a", "x/a b", "x/a'b", "x/B", "x/%", "x/_", "x/ü", "x/a/", "x0", "x", "w/z"]
            .map(String::from)
            .into();
    for name in &names {
        one.commit(&put(name, json!(name))).unwrap();
    }
    names.sort_unstable();
    let listed = |prefix: &str| -> Vec<String> {
        two.list(prefix).unwrap().into_iter().map(|entry| entry.key).collect()
    };
    for prefix in ["x/", "x/a", "x/%", "x/_", "x/ü", "x", "w", "y"] {
        let wanted: Vec<String> =
            names.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
        assert_eq!(listed(prefix), wanted, "{prefix}");
    }

    // counters and epochs
    assert_eq!((one.next("c").unwrap(), two.next("c").unwrap(), one.next("d").unwrap()), (1, 2, 1));
    assert_eq!(two.epoch("p").unwrap(), 0);
    assert_eq!(one.raise_epoch("p").unwrap(), 1);
    assert_eq!(two.epoch("p").unwrap(), 1);
    // an act that was prepared under an older epoch is not begun
    let txn = Txn { expect: vec![rs_contract::same_epoch("p", 1)], ..put("act", json!(1)) };
    one.commit(&txn).unwrap();
    one.raise_epoch("p").unwrap();
    assert_eq!(two.commit(&txn).unwrap_err().kind(), Kind::Declined);
    one.commit(&Txn { expect: vec![rs_contract::same_epoch("q", 0)], ..txn }).unwrap();

    // the run lock
    let name = "it's \"p\"; $(x)/..";
    let holder = |run: &str| Holder {
        run: run.into(),
        who: "ada@here".into(),
        pid: std::process::id(),
        since: "2026-11-24T14:00:00.000Z".into(),
        ..Holder::default()
    };
    assert_eq!(one.holder(name).unwrap(), None);
    let lock = one.lock(name, &holder("u-1"), Duration::ZERO).unwrap();
    assert_eq!(lock.epoch(), two.epoch(name).unwrap());
    let seen = two.holder(name).unwrap().unwrap();
    assert_eq!(seen, Holder { epoch: lock.epoch(), ..holder("u-1") });
    let refused = two.lock(name, &holder("u-2"), Duration::from_millis(120)).err().unwrap();
    assert_eq!(refused.kind(), Kind::Declined);
    for part in ["u-1", "ada@here", "2026-11-24", &std::process::id().to_string()] {
        assert!(refused.what().contains(part), "{part} in {refused}");
    }
    let other = two.lock("another", &holder("u-2"), Duration::ZERO).unwrap();
    let before = lock.epoch();
    drop((lock, other));
    assert_eq!(two.holder(name).unwrap(), None);
    let again = two.lock(name, &holder("u-2"), Duration::ZERO).unwrap();
    assert_eq!(again.epoch(), before + 1, "a process that outlived the first holder is told apart");
    drop(again);

    // a wait ends as soon as the lock is free
    let lock = one.lock(name, &holder("u-1"), Duration::ZERO).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope
            .spawn(|| two.lock(name, &holder("u-2"), Duration::from_secs(20)).unwrap().epoch());
        drop(lock);
        waiting.join().unwrap();
    });

    // eight at once lose nothing
    let (lost, won) = (AtomicU64::new(0), AtomicU64::new(0));
    one.commit(&put("sum", json!(0))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let state = open();
                for _ in 0..25 {
                    state.next("many").unwrap();
                    while !add_one(state.as_ref(), "sum") {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                    won.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(won.load(Ordering::Relaxed), 200);
    assert_eq!(one.get("sum").unwrap().unwrap().value, json!(200), "{lost:?} tries were declined");
    assert_eq!(one.next("many").unwrap(), 201);
}

/// Adds one to a value; false when somebody else was faster.
fn add_one(state: &dyn State, key: &str) -> bool {
    let entry = state.get(key).unwrap().unwrap();
    let txn = Txn {
        expect: vec![Expect::Version(key.into(), entry.version)],
        ..put(key, json!(entry.value.as_u64().unwrap() + 1))
    };
    match state.commit(&txn) {
        Ok(()) => true,
        Err(e) if e.kind() == Kind::Declined => false,
        Err(e) => panic!("{e}"),
    }
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("a site.db").display())
}

#[test]
fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    suite(&|| open(&url(folder.path()), Mode::Real));
}

/// Another process that holds the run lock for the run `u-7` of `ada@here`.
pub fn hold(url: &str, name: &str) -> Child {
    let mut child = spawn(url, "hold", name);
    wait_for(&mut child, "held");
    child
}

fn process(url: &str, what: &str) -> Child {
    spawn(url, what, "")
}

/// Another process of this test binary that does `what` on the store.
fn spawn(url: &str, what: &str, lock: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "contract::state::in_a_process_of_its_own",
            "--exact",
            "--include-ignored",
            "--nocapture",
        ])
        .env("RS_TEST_STORE", url)
        .env("RS_TEST_WHAT", what)
        .env("RS_TEST_LOCK", lock)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a process of a run of epoch 0 said.
pub fn ran(url: &str, what: &str) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["contract::state::in_a_process_of_its_own", "--exact", "--include-ignored"])
        .args(["--nocapture"])
        .env("RS_TEST_STORE", url)
        .env("RS_TEST_WHAT", what)
        .env("RS_EPOCH", "0")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    String::from_utf8_lossy(&child.stdout).into_owned()
}

/// Reads what the process says until the line comes.
fn wait_for(child: &mut Child, line: &str) {
    let mut out = BufReader::new(child.stdout.as_mut().unwrap());
    let mut text = String::new();
    loop {
        text.clear();
        assert_ne!(out.read_line(&mut text).unwrap(), 0, "the process ended without {line:?}");
        if text.trim_end().ends_with(line) {
            return;
        }
    }
}

#[test]
#[ignore = "a part of other tests: they run it as a process"]
fn in_a_process_of_its_own() {
    let state = open(&std::env::var("RS_TEST_STORE").unwrap(), Mode::Real);
    match std::env::var("RS_TEST_WHAT").unwrap().as_str() {
        "add" => {
            for _ in 0..50 {
                while !add_one(state.as_ref(), "sum") {}
                state.next("many").unwrap();
            }
        }
        "write" => {
            println!("ready");
            for round in state.next("round").unwrap().. {
                let mut txn = Txn::default();
                for part in 0..20 {
                    txn.put.push((format!("part/{part}"), json!([round, "x".repeat(500)])));
                }
                txn.put.push(("acknowledged".into(), json!(round)));
                state.commit(&txn).unwrap();
                println!("round {round}");
            }
        }
        "late" => println!("{}", super::act::late(state.as_ref())),
        "hold" => {
            let holder = Holder {
                run: "u-7".into(),
                who: "ada@here".into(),
                pid: std::process::id(),
                ..Holder::default()
            };
            let name = std::env::var("RS_TEST_LOCK").unwrap();
            let lock = state.lock(&name, &holder, Duration::ZERO).unwrap();
            let mut child = Command::new("cat").stdout(Stdio::null()).spawn().unwrap();
            println!("held");
            child.wait().unwrap();
            drop(lock);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn eight_processes_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let state = open(&url, Mode::Real);
    state.commit(&put("sum", json!(0))).unwrap();
    let children: Vec<Child> = (0..8).map(|_| process(&url, "add")).collect();
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
    assert_eq!(state.get("sum").unwrap().unwrap().value, json!(400));
    assert_eq!(state.next("many").unwrap(), 401);
}

#[test]
fn a_writer_that_is_killed_leaves_all_of_a_transaction_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    for kill in 0..25_u64 {
        let mut child = process(&url, "write");
        wait_for(&mut child, "ready");
        // from the first moment to somewhere in the middle of later commits
        let until = Instant::now() + Duration::from_micros(kill * 700);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        let out = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&out.stdout)
            .lines()
            .filter_map(|line| line.strip_prefix("round ")?.parse::<u64>().ok())
            .next_back();
        // the dry look first: it must see the same without repairing anything
        for mode in [Mode::DryRun, Mode::Real] {
            let before = bytes(folder.path());
            let state = open(&url, mode);
            let parts = state.list("part/").unwrap();
            let rounds: Vec<&Json> = parts.iter().map(|entry| &entry.value[0]).collect();
            assert!(rounds.windows(2).all(|pair| pair[0] == pair[1]), "torn: {rounds:?}");
            let kept = state.get("acknowledged").unwrap().map(|entry| entry.value);
            assert_eq!(kept.as_ref(), rounds.first().copied());
            if let Some(told) = told {
                assert!(kept.unwrap().as_u64().unwrap() >= told, "an acknowledged write is gone");
            }
            if mode == Mode::DryRun {
                assert_eq!(bytes(folder.path()), before);
            }
        }
    }
}

#[test]
fn a_lock_dies_with_its_process_and_its_children_do_not_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let state = open(&url, Mode::Real);
    let mut child = hold(&url, "p");
    let holder = state.holder("p").unwrap().unwrap();
    assert_eq!((holder.run.as_str(), holder.pid), ("u-7", child.id()));
    assert_eq!(open(&url, Mode::DryRun).holder("p").unwrap().unwrap(), holder);
    let mine = Holder { run: "u-8".into(), pid: std::process::id(), ..Holder::default() };
    let refused = state.lock("p", &mine, Duration::ZERO).err().unwrap();
    assert!(refused.what().contains("u-7"), "{refused}");
    let grandchild = children_of(child.id());
    assert_eq!(grandchild.len(), 1);
    let open = child.stdin.take(); // the child's child lives as long as this
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state.holder("p").unwrap(), None);
    let lock = state.lock("p", &mine, Duration::ZERO).unwrap();
    assert_eq!(lock.epoch(), holder.epoch + 1);
    for pid in grandchild {
        let there = Path::new("/proc").join(pid.to_string()).exists();
        assert!(there, "the child had to outlive it");
    }
    drop(open);
}

#[test]
fn a_raised_epoch_passes_over_a_holder_that_nobody_can_end_and_one_of_two_takers_has_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let state = open(&url, Mode::Real);
    let mut frozen = hold(&url, "p");
    let mine = |run: &str| Holder {
        run: run.into(),
        who: "eve@there".into(),
        pid: std::process::id(),
        ..Holder::default()
    };
    for round in 8..11 {
        // two at once: each passes over who held it when he looked, and one of them gets it
        let takers = [mine(&format!("u-{round}")), mine("u-late")];
        let got: Vec<_> = std::thread::scope(|scope| {
            let each = |mine: &Holder| {
                let (url, mine) = (url.clone(), mine.clone());
                scope.spawn(move || {
                    let state = open(&url, Mode::Real);
                    state.raise_epoch("p").unwrap();
                    state.lock("p", &mine, Duration::ZERO).ok()
                })
            };
            let both: Vec<_> = takers.iter().map(each).collect();
            both.into_iter().filter_map(|one| one.join().unwrap()).collect()
        });
        let epoch = state.epoch("p").unwrap();
        let valid: Vec<_> = got.iter().filter(|lock| lock.epoch() == epoch).collect();
        assert_eq!(valid.len(), 1, "of {}", got.len());
        drop(got);
        // who starts without a take-over asks for the lock that counts
        let after = state.lock("p", &mine("u-after"), Duration::ZERO).unwrap();
        assert_eq!(state.holder("p").unwrap().unwrap().run, "u-after");
        let late = open(&url, Mode::Real).lock("p", &mine("u-too-late"), Duration::ZERO).err();
        assert!(late.unwrap().what().contains("u-after"));
        drop(after);
        assert_eq!(state.holder("p").unwrap(), None, "the frozen one holds nothing that counts");
    }
    frozen.kill().unwrap();
    frozen.wait().unwrap();
}

/// Children of every thread of a process (a test runs in a thread of its own).
fn children_of(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let text = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap();
        found.extend(text.split_whitespace().map(|word| word.parse::<u32>().unwrap()));
    }
    found
}

/// Every file of a folder, with its content.
fn bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read(&path).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_dry_run_changes_no_byte_and_sees_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let dry = open(&url, Mode::DryRun);
    assert_eq!(dry.get("a").unwrap(), None);
    assert_eq!(dry.list("").unwrap(), vec![]);
    assert_eq!((dry.epoch("p").unwrap(), dry.holder("p").unwrap()), (0, None));
    assert_eq!(bytes(folder.path()), vec![], "a missing file stays missing");

    let state = open(&url, Mode::Real);
    state.commit(&put("a", json!(1))).unwrap();
    drop(state.lock("p", &Holder::default(), Duration::ZERO).unwrap());
    let before = bytes(folder.path());
    assert_eq!(dry.get("a").unwrap().unwrap().value, json!(1));
    assert_eq!(dry.epoch("p").unwrap(), 1);
    dry.commit(&put("a", json!(2))).unwrap_err();
    dry.next("c").unwrap_err();
    dry.raise_epoch("p").unwrap_err();
    dry.lock("p", &Holder::default(), Duration::ZERO).err().unwrap();
    assert_eq!(bytes(folder.path()), before);
}

#[test]
fn what_is_no_store_of_ours_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is no database, and it is long enough to be read as one\n".repeat(99),
    )
    .unwrap();
    let before = bytes(folder.path());
    let state = open(&format!("sqlite:{}", text.display()), Mode::Real);
    for error in [state.get("a").unwrap_err(), state.commit(&put("a", json!(1))).unwrap_err()] {
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.what().contains("text.db") && error.advice().is_some(), "{error}");
    }
    assert_eq!(bytes(folder.path()), before);

    for (url, part) in [
        (format!("sqlite:{}", folder.path().display()), "folder"),
        ("sqlite:".into(), "names no file"),
        ("sqlight:x".into(), "sqlight"),
    ] {
        let place = Place { cloud: url, ..Place::default() };
        let error = rs_drivers::state(&place).err().unwrap();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.what().contains(part), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let place = folder.path().join("file/below/site.db");
    let below_a_file = format!("sqlite:{}", place.display());
    let error = open(&below_a_file, Mode::Found).commit(&put("a", json!(1))).unwrap_err();
    assert!(error.what().contains("file/below"), "{error}");
    // one that can be made is made by what makes a site, by its first write only; anything else finds it missing
    let url = format!("sqlite:{}", folder.path().join("new/er/site.db").display());
    for missing in [&below_a_file, &url] {
        let error = open(missing, Mode::Real).commit(&put("a", json!(1))).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        assert!(error.what().contains(missing) && !open(missing, Mode::Real).is_there(), "{error}");
    }
    assert!(!folder.path().join("new").exists());
    let state = open(&url, Mode::Found);
    assert_eq!(state.list("").unwrap(), vec![]);
    assert!(!folder.path().join("new").exists());
    state.commit(&put("a", json!(1))).unwrap();
    assert!(state.is_there());
    assert_eq!(open(&url, Mode::Real).get("a").unwrap().unwrap().version, 1);
}
