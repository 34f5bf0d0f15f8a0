//! rs-journal as a black box. The deployment's name holds what shells and keys could stumble over.

use std::process::Child;
use std::time::Duration;

use rs_cli::{Journal, now};
use rs_contract::{Mode, Place, State};
use rs_model::act::{Act, Debt, Due, Outcome, Owner};
use rs_tests::{Call, Scene, until};
use serde_json::{Value as Json, json};

const DEPLOYMENT: &str = "it's \"prod\"/$(x); eu";

fn tool(scene: &Scene) -> Call {
    scene.tool("rs-journal").env("RS_DEPLOYMENT", DEPLOYMENT)
}

fn store(scene: &Scene) -> Box<dyn State> {
    let place = Place { cloud: scene.cloud(), state: None, mode: Mode::Real, ..Place::default() };
    rs_drivers::state(&place).unwrap()
}

/// A scene with the deployment, in which nothing was done yet.
fn deployed(name: &str) -> Scene {
    let scene = Scene::new(name);
    scene.file("site.yml", &format!("Deployment: {DEPLOYMENT:?}\n"));
    scene.tool("rs-server").args(["apply", "site.yml"]).run().exits(0);
    scene
}

fn act(subject: &str, verb: &str, run: &str) -> Act {
    Act {
        seq: 0,
        at: now(),
        deployment: DEPLOYMENT.into(),
        subject: subject.into(),
        tool: "rs-lbctl".into(),
        verb: verb.into(),
        about: None,
        owner: Owner {
            user: "ada".into(),
            host: rs_cli::host(),
            pid: gone(),
            run: Some(run.into()),
        },
        epoch: 0,
        clock: false,
        outcome: Outcome::Open,
        before: Json::Null,
        after: Json::Null,
        ms: None,
        undo: Some("rs-lbctl disconnect 'App Server-1'".into()),
        error: None,
    }
}

/// The number of a process that has ended.
fn gone() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

fn begin(scene: &Scene, acts: &mut [Act]) {
    Journal::new(store(scene).as_ref()).begin(acts, &[], &|| Ok(0)).unwrap();
}

/// Holds the lock for `u-1` with a shell that does `script`, as soon as it has said `ready`.
fn hold(scene: &Scene, script: &str) -> Child {
    let script = format!("echo ready >'{}'; {script}", scene.text("ready"));
    let child = tool(scene).args(["lock", "--upgrade", "u-1", "--", "bash", "-c", &script]).start();
    until("the lock is held", Duration::from_secs(20), || scene.path("ready").exists());
    child
}

#[test]
fn a_start_after_the_first_holds_the_lock_too() {
    let scene = Scene::new("lock-again");
    // from now on the lock's file is there, so that a start looks into it before it takes the lock
    tool(&scene).args(["lock", "--upgrade", "u-1", "--", "true"]).run().exits(0);
    let mut child = hold(&scene, "exec cat <'/dev/zero' >/dev/null");
    let second = tool(&scene).args(["lock", "--upgrade", "u-1", "--", "true"]).run().exits(5);
    second.says(&format!("process {}", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_second_run_is_declined_and_told_who_holds_the_lock() {
    let scene = Scene::new("lock");
    let mut child = hold(&scene, "exec cat <'/dev/zero' >/dev/null");
    let second = tool(&scene).args(["lock", "--upgrade", "u-2", "--", "true"]).run().exits(5);
    second.says("\"u-1\"").says(&format!("process {}", child.id())).says("--take-over");
    tool(&scene).args(["mark", "by hand"]).run().exits(5).says("--upgrade u-1");
    tool(&scene).args(["mark", "ours", "--upgrade", "u-1"]).run().exits(0);
    // another deployment of the same store is another lock
    let other = scene.tool("rs-journal").env("RS_DEPLOYMENT", "staging");
    other.args(["lock", "--upgrade", "u-2", "--", "true"]).run().exits(0);
    child.kill().unwrap();
    child.wait().unwrap();
    tool(&scene).args(["lock", "--upgrade", "u-2", "--", "true"]).run().exits(0);
}

#[test]
fn a_lock_ends_with_its_command_whatever_that_leaves_behind() {
    let scene = Scene::new("lock-end");
    let pids = scene.text("pid");
    let left = format!("sleep 60 >&- 2>&- & echo $! >'{pids}'; echo ended >&2; exit 3");
    tool(&scene).args(["lock", "--upgrade", "u-1", "--", "bash", "-c", &left]).run().exits(3);
    let pid = std::fs::read_to_string(&pids).unwrap();
    assert!(std::path::Path::new("/proc").join(pid.trim()).exists(), "it had to stay");
    tool(&scene).args(["lock", "--upgrade", "u-2", "--", "true"]).run().exits(0);
    scene.call("bash", "bash").args(["-c", "kill \"$(cat pid)\""]).run().exits(0);
}

#[test]
fn the_command_knows_its_run_and_a_lock_inside_it_is_the_same_lock() {
    let scene = Scene::new("lock-env");
    let script = "echo \"$RS_UPGRADE|$RS_EPOCH|$RS_LOCKED|$RS_DEPLOYMENT|$RS_CLOUD\"
        [ -e /proc/self/fd/$RS_LOCK_FD ] || exit 9
        rs-journal mark one >/dev/null || exit 8
        exec rs-journal lock -- rs-journal lock -- rs-journal mark two";
    let ran = tool(&scene).args(["lock", "--upgrade", "u-1", "--", "bash", "-c", script]).run();
    let ran = ran.exits(0);
    let first = ran.stdout.lines().next().unwrap();
    assert_eq!(first, format!("u-1|1|{DEPLOYMENT}|{DEPLOYMENT}|{}", scene.cloud()));
    let shown = tool(&scene).args(["show", "--run", "u-1", "--subject", "t*"]).run().exits(0);
    assert_eq!(shown.record()["subject"], "two");
    let missing = ["lock", "--upgrade", "u-1", "--", "no-such-program-here"];
    tool(&scene).args(missing).run().exits(4).says("no-such-program-here");
    tool(&scene).args(["lock", "--", "true"]).run().exits(2).says("RS_UPGRADE");
}

#[test]
fn a_take_over_ends_the_frozen_operator_s_processes_and_his_late_tools_begin_nothing() {
    let scene = Scene::new("take-over");
    let me = scene.text("worker");
    // a tool of the run that was frozen together with its shell
    let mut child = hold(
        &scene,
        &format!(
            "bash -c 'echo $$ >\"{me}\"; kill -STOP $$; exit 0' & kill -STOP $$; wait; exit 7"
        ),
    );
    until("the worker is there", Duration::from_secs(20), || scene.path("worker").exists());
    let worker = std::fs::read_to_string(&me).unwrap();
    let over = ["lock", "--upgrade", "u-2", "--take-over", "--", "bash", "-c", "echo $RS_EPOCH"];
    let ran = tool(&scene).args(over).run().exits(0).says("u-1");
    assert_eq!(ran.stdout.trim(), "3", "raised by the take-over, and by the lock");
    assert!(!child.wait().unwrap().success());
    let worker = std::path::Path::new("/proc").join(worker.trim()).join("cmdline");
    until("the worker is ended", Duration::from_secs(20), || {
        std::fs::read(&worker).unwrap_or_default().is_empty()
    });
    // who survives all the same (on another host) is fenced by the epoch
    let late = || tool(&scene).env("RS_LOCKED", DEPLOYMENT).env("RS_EPOCH", "1");
    late().args(["mark", "late", "--upgrade", "u-1"]).run().exits(5).says("taken over");
    late().args(["mark", "late", "--upgrade", "u-1", "--deployment", "staging"]).run().exits(0);
    let elsewhere = late().env("RS_LOCKED_IN", "sqlite:/another.db");
    elsewhere.args(["mark", "other run", "--upgrade", "u-2"]).run().exits(0);
    let shown = tool(&scene).args(["show"]).run().exits(0).record();
    assert_eq!(shown["subject"], "other run");
}

#[test]
fn a_take_over_ends_no_process_that_only_has_the_number_of_the_holder() {
    let scene = Scene::new("take-number");
    // it holds the lock and bears no mark of its run, so that only the lock's record leads to it
    let bare =
        "exec env -i PATH=\"$PATH\" bash -c 'echo ready >bare; exec cat </dev/zero >/dev/null'";
    let lock = |rewrite: bool| {
        let _ = std::fs::remove_file(scene.path("bare"));
        let mut child = hold(&scene, &format!("cd '{}'; {bare}", scene.text("")));
        until("the holder is bare", Duration::from_secs(20), || scene.path("bare").exists());
        let stored = std::fs::read_dir(scene.path("")).unwrap().flatten().map(|e| e.path());
        let of_ours = |path: &std::path::PathBuf| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.contains(&format!("\"pid\":{},", child.id())) && text.contains("\"began\"")
        };
        let file = stored.filter(|path| path.is_file()).find(of_ours).unwrap();
        if rewrite {
            // the number was another process' when the lock was taken
            let mut record: Json =
                serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            record["began"] = json!("1");
            std::fs::write(&file, format!("{record}\n")).unwrap();
        }
        let over = ["lock", "--upgrade", "u-2", "--take-over", "--", "true"];
        tool(&scene).args(over).run().says("taking");
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        ended
    };
    assert!(!lock(true), "an innocent process was ended");
    assert!(lock(false), "the holder goes on");
}

#[test]
fn a_take_over_gets_the_lock_of_a_frozen_operator_on_another_host() {
    let scene = Scene::new("take-far");
    // a host of its own, whose name is not ours: nobody here may end its processes
    let script =
        "echo far-away >/proc/sys/kernel/hostname || exit 77
         exec rs-journal lock --upgrade u-1 -- bash -c 'echo $$ >ready; kill -STOP $$; rs-journal mark late; exit $?'";
    let unshare = scene.call("unshare", "unshare").env("RS_DEPLOYMENT", DEPLOYMENT);
    let mut child = unshare.args(["-ru", "bash", "-c", script]).start();
    let ended = |child: &mut Child| child.try_wait().unwrap().is_some();
    until("the lock is held", Duration::from_secs(20), || {
        std::fs::read_to_string(scene.path("ready")).is_ok_and(|pid| pid.ends_with('\n'))
            || ended(&mut child)
    });
    if ended(&mut child) {
        println!("skipped: this machine lets us have no name of our own");
        return;
    }
    let second = tool(&scene).args(["lock", "--upgrade", "u-2", "--", "true"]).run().exits(5);
    second.says("@far-away").says("--take-over");
    let over = ["lock", "--upgrade", "u-2", "--take-over", "--", "rs-journal", "mark", "ours"];
    tool(&scene).args(over).run().exits(0).says("@far-away");
    // it sleeps on with its lock, which is asked for no more
    assert!(!ended(&mut child));
    tool(&scene).args(["lock", "--upgrade", "u-3", "--", "true"]).run().exits(0);
    let pid = std::fs::read_to_string(scene.path("ready")).unwrap();
    scene.call("bash", "bash").args(["-c", &format!("kill -CONT {}", pid.trim())]).run().exits(0);
    let woken = child.wait_with_output().unwrap();
    assert_eq!(woken.status.code(), Some(5), "{}", String::from_utf8_lossy(&woken.stderr));
    assert!(String::from_utf8_lossy(&woken.stderr).contains("taken over"));
    let shown = tool(&scene).args(["show"]).run().exits(0).record();
    assert_eq!(shown["subject"], "ours");
}

#[test]
fn a_take_over_also_ends_an_operator_who_was_frozen_while_he_wrote_to_the_store() {
    let scene = Scene::new("take-writing");
    let me = scene.text("worker");
    let store = scene.text("site.db");
    // a tool of the run that has begun to write and was frozen with the store's lock
    let writes = format!(
        "import os, signal, sqlite3
db = sqlite3.connect('{store}', isolation_level=None)
db.execute('BEGIN EXCLUSIVE')
open('{me}', 'w').close()
os.kill(os.getpid(), signal.SIGSTOP)"
    );
    let mut child = hold(&scene, &format!("python3 -c \"{writes}\"; exit 7"));
    until("the worker has the store", Duration::from_secs(20), || scene.path("worker").exists());
    let over = ["lock", "--upgrade", "u-1", "--take-over", "--", "true"];
    let begun = std::time::Instant::now();
    tool(&scene).args(over).run().exits(0).says("taking");
    assert!(begun.elapsed() < Duration::from_secs(15), "it waited for a frozen process");
    assert!(!child.wait().unwrap().success());
}

#[test]
fn an_act_that_was_cut_off_is_a_no_until_somebody_sees_to_it() {
    let scene = deployed("verify");
    tool(&scene).args(["verify"]).run().exits(0);
    begin(&scene, &mut [act("server App Server-1", "connect", "u-1")]);
    let ran = tool(&scene).args(["verify", "--json"]).run().exits(3);
    assert!(ran.stdout.is_empty(), "a gate's no prints nothing\n{ran}");
    for part in ["act 2", "connect", "App Server-1", "ada@", "rs-journal close 2"] {
        assert!(ran.stderr.contains(part), "{part}\n{ran}");
    }
    let error: Json = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&error["exit"], &error["found"][0]["answer"]), (&json!(3), &json!("no")));
    begin(
        &scene,
        &mut [Act { outcome: Outcome::Done, ..act("server App Server-2", "connect", "u-2") }],
    );
    tool(&scene).args(["verify", "--no-world", "--run", "u-2"]).run().exits(0);
    // of a run that never was nothing is open: that is no yes
    for verb in ["verify", "report"] {
        let ran = tool(&scene).args([verb, "--run", "u-3"]).run().exits(4).says("\"u-3\"");
        assert!(ran.stdout.is_empty() && ran.stderr.contains("u-1"), "{ran}");
    }
    tool(&scene)
        .args(["verify", "--no-world", "--run", "u-3", "--marked", "step 38"])
        .run()
        .exits(3);

    let before = std::fs::read(scene.path("site.db")).unwrap();
    let close = ["close", "2", "--because", "looked"];
    let dry = tool(&scene).args(close).args(["--dry-run"]).run().exits(0).record();
    assert_eq!(dry["planned"], true);
    assert_eq!(std::fs::read(scene.path("site.db")).unwrap(), before);
    let closed = tool(&scene).args(close).run().exits(0).record();
    assert_eq!(closed["outcome"], "failed");
    tool(&scene).args(["verify"]).run().exits(0);
    tool(&scene).args(["close", "4", "--because", "x"]).run().exits(4);
}

#[test]
fn an_act_that_is_under_way_is_unknown_and_keeps_the_lock_from_others() {
    let scene = deployed("under-way");
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let mut one = act("server App Server-1", "connect", "u-1");
    (one.tool, one.owner.pid) = ("sleep".into(), child.id());
    begin(&scene, &mut [one]);
    tool(&scene).args(["verify"]).run().exits(3).says("under way");
    tool(&scene).args(["close", "2", "--because", "x"]).run().exits(5).says("under way");
    let lock = ["lock", "--upgrade", "u-2", "--", "true"];
    tool(&scene).args(lock).run().exits(5).says("App Server-1");
    child.kill().unwrap();
    child.wait().unwrap();
    tool(&scene).args(lock).run().exits(0);
    tool(&scene).args(["verify"]).run().exits(3).says("cut off");
}

#[test]
fn show_and_report_tell_who_did_what_and_how_it_is_undone() {
    let scene = Scene::new("report");
    let mut acts = [
        act("server App Server-1", "connect", "u-1"),
        act("server App Server-2", "connect", "u-1"),
        act("server App Server-1", "drain", "u-2"),
    ];
    begin(&scene, &mut acts);
    let state = store(&scene);
    for (at, outcome) in [Outcome::Done, Outcome::Failed, Outcome::Done].into_iter().enumerate() {
        let ms = Some(100 * (at as u64 + 1));
        let done = Act { outcome, ms, ..acts[at].clone() };
        Journal::new(state.as_ref()).end(&[(done, Vec::new())]).unwrap();
    }
    tool(&scene).args(["mark", "step 18", "--took-ms", "412", "--upgrade", "u-1"]).run().exits(0);
    let seqs = |args: &[&str]| -> Vec<u64> {
        let ran = tool(&scene).args(["show"]).args(args).run().exits(0);
        ran.records().iter().map(|record| record["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(&[]), [1, 2, 3, 4]);
    assert_eq!(seqs(&["--run", "u-1"]), [1, 2, 4]);
    assert_eq!(seqs(&["--subject", "App Server-1"]), [1, 3]);
    assert_eq!(seqs(&["--last", "2"]), [3, 4]);
    assert_eq!(seqs(&["--open"]), [0_u64; 0]);
    assert_eq!(seqs(&["--run", "u-*", "--last", "1"]), [4]);
    assert_eq!(seqs(&["--run", "u-2", "--subject", "step *"]), [0_u64; 0]);
    // a run that did nothing is not found, whatever else is asked of it; who may ask before it began says so
    for (run, said) in [("u-11", "did you mean \"u-1\""), ("x-*", "its runs: u-1, u-2")] {
        for rest in [&[][..], &["--open"], &["--subject", "step *"]] {
            let asked = || tool(&scene).args(["show", "--run", run]).args(rest);
            let ran = asked().run().exits(4).says(run).says(said);
            assert_eq!(ran.stdout, "", "{ran}");
            assert_eq!(asked().args(["--allow-none"]).run().exits(0).stdout, "");
        }
    }
    let other = ["show", "--deployment", "it's \"prod\""];
    tool(&scene).args(other).run().exits(4).says("it's \\\"prod");
    let report = tool(&scene).args(["report", "--run", "u-1", "--json"]).run().exits(0).record();
    assert_eq!(report["schema"], "rs.report/1");
    assert_eq!(
        (&report["acts"], &report["failed"], &report["ms"]),
        (&json!(2), &json!(1), &json!(300))
    );
    assert_eq!(report["steps"][0], json!({"step": "step 18", "ms": 412, "at": report["last"]}));
    assert_eq!(report["undo"].as_array().unwrap().len(), 1, "a failed act has nothing to undo");
    let text = tool(&scene).args(["report"]).run().exits(0).stdout;
    for part in ["u-1 of", "u-2 of", "step 18", "412", "rs-lbctl connect", "rs-lbctl disconnect"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn what_does_not_exist_is_not_found_and_nothing_is_made() {
    const VERBS: [&[&str]; 4] = [&["show"], &["verify"], &["report"], &["watch", "--every", "1s"]];
    let scene = Scene::new("journal-nowhere");
    let cloud = format!("sqlite:{}", scene.text("no such folder/site.db"));
    for args in VERBS {
        // with a deployment named and without
        for call in [tool(&scene), tool(&scene).without("RS_DEPLOYMENT")] {
            let ran = call.args(args).env("RS_CLOUD", &cloud).run().exits(4);
            ran.says("no such folder/site.db").says("try: look at RS_CLOUD");
            assert!(!scene.path("no such folder").exists(), "{args:?} made it");
        }
    }
    // nothing was done yet in one that is there: all is well; a slip in its name is none
    let scene = deployed("journal-slip");
    let before = std::fs::read(scene.path("site.db")).unwrap();
    for args in VERBS {
        let slip = ["--deployment", "it's \"prod\"/$(x); e"];
        tool(&scene).args(args).args(slip).run().exits(4).says("did you mean");
    }
    for args in &VERBS[..3] {
        tool(&scene).args(*args).run().exits(0);
    }
    // a state store that is not there owes nothing and knows no lock: that is no answer, whoever asks or changes
    scene.file("empty.db", "");
    for place in ["typo.db", "no such folder/typo.db", "empty.db"] {
        let elsewhere = format!("sqlite:{}", scene.text(place));
        let asking = VERBS.iter().map(|args| ("rs-journal", *args));
        let others: [(&str, &[&str]); 6] = [
            ("rs-cleanup", &["audit"]),
            ("rs-journal", &["watch", "--once"]),
            ("rs-journal", &["mark", "step 1"]),
            ("rs-journal", &["lock", "--upgrade", "u-1", "--", "true"]),
            ("rs-server", &["lock", "One"]),
            ("rs-inputs", &["set", "--deployment-level", "--create", "A=text:b"]),
        ];
        for (name, args) in asking.chain(others) {
            let call = scene.tool(name).env("RS_DEPLOYMENT", DEPLOYMENT).args(args);
            let ran = call.env("RS_STATE", &elsewhere).run().exits(4);
            ran.says("there is no state store").says(&elsewhere).says("look at RS_STATE");
        }
    }
    assert_eq!(std::fs::read(scene.path("site.db")).unwrap(), before);
    assert!(!scene.path("typo.db").exists() && !scene.path("no such folder").exists());
    assert_eq!(std::fs::read(scene.path("empty.db")).unwrap(), b"");
    // the control plane's own is made by the first note of a run, but no folder for it
    let cloud = format!("sqlite:{}", scene.text("no such folder/site.db"));
    for args in [&["mark", "step 1"][..], &["lock", "--upgrade", "u-1", "--", "true"]] {
        let ran = tool(&scene).args(args).env("RS_CLOUD", &cloud).run().exits(4);
        ran.says("no such folder/site.db").says("rs-server apply");
        assert!(!scene.path("no such folder").exists(), "{args:?} made it");
    }
    // what makes the site makes both
    let both = format!("sqlite:{}", scene.text("no such folder/state.db"));
    let apply = |dry: &[&str]| {
        let call = scene.tool("rs-server").args(["apply", "site.yml"]).args(dry);
        let _ = call.env("RS_CLOUD", &cloud).env("RS_STATE", &both).run().exits(0);
    };
    apply(&["--dry-run"]);
    assert!(!scene.path("no such folder").exists(), "a dry run made it");
    apply(&[]);
    let there = tool(&scene).env("RS_CLOUD", &cloud).env("RS_STATE", &both);
    there.args(["show"]).run().exits(0);
    // nothing is marked in one that never was: a gate's no
    let gate = ["verify", "--no-world", "--deployment", "never was", "--marked", "step 38"];
    tool(&scene).args(gate).run().exits(3).says("step 38");
    // what is written of one that has ended can be read, but no world compared with it
    begin(&scene, &mut [Act { deployment: "ended".into(), ..act("step 1", "mark", "u-1") }]);
    tool(&scene).args(["show", "--deployment", "ended"]).run().exits(0);
    tool(&scene).args(["verify", "--deployment", "ended", "--no-world"]).run().exits(3);
    tool(&scene).args(["verify", "--deployment", "ended"]).run().exits(4).says("ended");
}

#[test]
fn watch_alarms_about_a_passed_deadline_and_leaves_a_heartbeat() {
    let scene = Scene::new("watch");
    let debt = |key: &str, deadline: Option<&str>| Debt {
        key: key.into(),
        deployment: DEPLOYMENT.into(),
        kind: "page".into(),
        subject: "www".into(),
        owner: Owner::default(),
        reason: "a test".into(),
        since: now(),
        inverse: ["rs-maintenance", "stop", "--pool", "it's"].map(String::from).into(),
        due: Due::Window,
        deadline: deadline.map(String::from),
        undo_on_deadline: false,
        before: Json::Null,
    };
    let state = store(&scene);
    let journal = Journal::new(state.as_ref());
    let guard = || Ok(0);
    journal.begin(&mut [], &[debt("page:later", Some("2999-01-01T00:00:00Z"))], &guard).unwrap();
    journal.begin(&mut [], &[debt("page:never", None)], &guard).unwrap();
    assert_eq!(journal.last_beat("journal-watch").unwrap(), None);
    let got = scene.text("got");
    let hook = scene.file("hook", &format!("#!/bin/sh\nexec cat >'{got}'\n"));
    scene.call("chmod", "chmod").args(["755", &hook]).run().exits(0);
    let watch = || tool(&scene).without("RS_DEPLOYMENT").args(["watch", "--once", "--hook", &hook]);
    assert!(watch().run().exits(0).stdout.is_empty());
    assert!(!scene.path("got").exists());
    let beat = journal.last_beat("journal-watch").unwrap().unwrap();
    assert!(beat.starts_with("20") && beat.ends_with('Z'), "{beat}");

    journal.begin(&mut [], &[debt("page:www", Some("2020-01-01T00:00:00Z"))], &guard).unwrap();
    let ran = watch().run().exits(3).says("rs-maintenance stop --pool 'it'\\''s'");
    assert_eq!(ran.record()["key"], "page:www");
    assert_eq!(std::fs::read_to_string(&got).unwrap(), ran.stdout);
    scene.file("hook", "#!/bin/sh\nexit 4\n");
    watch().run().exits(1).says("hook");
}

#[test]
fn a_full_disk_is_named_and_leaves_all_of_an_act_or_nothing() {
    let scene = Scene::new("full");
    scene.file("small/.keep", "");
    // a small disk of our own, in a mount namespace that goes with the shell
    let script = r#"
        mount -t tmpfs -o size=96k none small || exit 77
        export RS_CLOUD=sqlite:small/site.db
        while rs-journal mark 'step 1' >/dev/null 2>said; do :; done
        cat said >&2
        rs-journal verify --no-world || exit 78
        before=$(rs-journal show | wc -l)
        rs-journal mark more >/dev/null 2>&1 && exit 79
        [ "$(rs-journal show | wc -l)" = "$before" ] || exit 80
        mount -o remount,size=1m small
        rs-journal mark 'after' --json
    "#;
    let unshare = scene.call("unshare", "unshare").env("RS_DEPLOYMENT", DEPLOYMENT);
    let ran = unshare.args(["-rm", "bash", "-c", script]).run();
    if ran.exit == 77 || ran.stderr.contains("unshare failed") {
        println!("skipped: this machine lets us mount nothing");
        return;
    }
    let ran = ran.exits(0).says("the disk is full").says("small/site.db").says("try:");
    assert_eq!(ran.records().last().unwrap()["subject"], "after");
}

#[test]
fn who_ended_and_was_not_asked_after_by_his_parent_is_no_more() {
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let mut of = Act { tool: "sleep".into(), ..act("server a", "lock", "u-1") };
    of.owner.pid = child.id();
    let stat = format!("/proc/{}/stat", child.id());
    let is = |word: &str| std::fs::read_to_string(&stat).unwrap().contains(word);
    until("the program", Duration::from_secs(20), || is("(sleep) "));
    assert_eq!(rs_cli::alive(&of), Some(true));
    child.kill().unwrap();
    until("its end", Duration::from_secs(20), || is(") Z "));
    assert_eq!(rs_cli::alive(&of), Some(false));
    child.wait().unwrap();
}
