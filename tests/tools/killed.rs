//! Verbs that are killed at their system calls: the world is as before or what is left is named, and the same command
//! again ends it.

use rs_tests::{Call, Ran, Scene, tools};

use super::pool::{NAMES, Site};
use super::rs_snapshot::launched;

/// What changes the world, the state store, or what somebody is told.
const CALLS: &str = "write,pwrite64,rename,renameat,renameat2,fsync,fdatasync,ftruncate,unlink,sendto,sendmsg,connect";

/// A changing verb, how it is undone, and what shows whether it was done.
struct Verb<'a> {
    tool: &'a str,
    args: &'a [&'a str],
    undo: &'a [&'a str],
    look: &'a [&'a [&'a str]],
}

fn call(scene: &Scene, line: &[&str]) -> Call {
    scene.tool(line[0]).args(&line[1..]).env("RS_UPGRADE", "u-1")
}

/// The line under strace, killed at the `at`th of its calls in any of its threads.
fn killed(scene: &Scene, line: &[&str], at: u32) -> Ran {
    let inject = format!("inject={CALLS}:signal=KILL:when={at}");
    let trace = format!("trace={CALLS}");
    let program = tools().join(line[0]).display().to_string();
    scene
        .call("strace", "strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, &program])
        .args(&line[1..])
        .env("RS_UPGRADE", "u-1")
        .run()
}

/// Whether a process may be traced here.
fn can_trace() -> bool {
    let there = std::process::Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = there.is_ok_and(|out| out.status.success());
    if !can {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "skipped: strace is not there, or may trace nothing");
    }
    can
}

/// What of the world the verb changes; times and what moves by itself are left out.
fn world(scene: &Scene, verb: &Verb<'_>) -> String {
    let look = |line: &&[&str]| {
        let ran = call(scene, line).run();
        let words: Vec<String> = ran
            .stdout
            .lines()
            .map(|line| {
                let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
                if let Some(fields) = record.as_object_mut() {
                    for moving in [
                        "position",
                        "own",
                        "own_state",
                        "asked_at",
                        "answered_at",
                        "sessions",
                        "last_check",
                        "status",
                        "probes",
                        "since",
                    ] {
                        fields.remove(moving);
                    }
                }
                record.to_string()
            })
            .collect();
        format!("{} {}", ran.exit, words.join("\n"))
    };
    verb.look.iter().map(look).collect::<Vec<_>>().join("\n")
}

/// Kills the verb at one call after another: at each with `RS_EVERY_CALL`, else at every seventh.
fn at_every_call(scene: &Scene, verb: &Verb<'_>) {
    let mut line = vec![verb.tool];
    line.extend(verb.args);
    let mut back = vec![verb.tool];
    back.extend(verb.undo);
    let before = world(scene, verb);
    let _ = call(scene, &line).run().exits(0);
    let after = world(scene, verb);
    assert_ne!(before, after, "{line:?} changes nothing that is looked at");
    let _ = call(scene, &back).run().exits(0);
    assert_eq!(world(scene, verb), before, "{back:?} does not bring it back");
    let every = if std::env::var_os("RS_EVERY_CALL").is_some() { 1 } else { 7 };
    let (mut at, mut cuts, mut named) = (1, 0, 0);
    loop {
        let ran = killed(scene, &line, at);
        if ran.exit == 0 {
            break;
        }
        assert_eq!(ran.exit, 137, "call {at}\n{ran}");
        cuts += 1;
        let found = world(scene, verb);
        let audit = call(scene, &["rs-cleanup", "audit"]).run();
        let told = audit.exit == 3 || audit.stderr.contains("was cut off");
        assert!(
            found == before || told,
            "call {at} of {line:?}: changed and not named\n{found}\n{audit}"
        );
        named += u32::from(told);
        let again = call(scene, &line).run();
        assert_eq!(again.exit, 0, "the second run after call {at} of {line:?}\n{again}");
        assert_eq!(world(scene, verb), after, "the second run after call {at} of {line:?}");
        let _ = call(scene, &["rs-journal", "verify"]).run().exits(0);
        let audit = call(scene, &["rs-cleanup", "audit"]).run();
        assert!(!audit.stderr.contains("cut off"), "settled after call {at} of {line:?}\n{audit}");
        let _ = call(scene, &back).run().exits(0);
        assert_eq!(world(scene, verb), before, "the way back after call {at} of {line:?}");
        at += every;
    }
    assert!(cuts > 3 && named > 0, "{line:?}: {cuts} cuts, {named} of them named");
    let _ = call(scene, &back).run().exits(0);
    let audit = call(scene, &["rs-cleanup", "audit"]).run();
    assert_eq!(audit.exit, 0, "{line:?} leaves debts\n{audit}");
}

#[test]
fn a_verb_killed_at_any_system_call_is_named_and_ended_by_the_next() {
    if !can_trace() {
        return;
    }
    let scene = launched("killed-calls");
    let _ = call(&scene, &["rs-snapshot", "schedule", "on", "Master DB"]).run().exits(0);
    let _ = call(&scene, &["rs-server", "mark", "temp", "Master DB"]).run().exits(0);
    let server: &[&str] = &["rs-server", "list", "Master DB"];
    for verb in [
        Verb {
            tool: "rs-server",
            args: &["lock", "Master DB"],
            undo: &["unlock", "Master DB"],
            look: &[server],
        },
        Verb {
            tool: "rs-server",
            args: &["mark", "old", "Master DB"],
            undo: &["mark", "temp", "Master DB"],
            look: &[server],
        },
        Verb {
            tool: "rs-snapshot",
            args: &["schedule", "off", "Master DB"],
            undo: &["schedule", "on", "Master DB"],
            look: &[&["rs-snapshot", "schedule", "status", "Master DB"]],
        },
        Verb {
            tool: "rs-dbsync",
            args: &["writes", "off", "Master DB"],
            undo: &["writes", "on", "Master DB"],
            look: &[&["rs-dbsync", "status", "Master DB"]],
        },
    ] {
        at_every_call(&scene, &verb);
    }
}

#[test]
fn a_page_start_killed_at_any_system_call_is_named_and_ended_by_the_next() {
    if !can_trace() {
        return;
    }
    let site = Site::new("killed-page");
    let _ = site.lbctl(&["connect", "--pool", "www", NAMES[0]]).run().exits(0);
    at_every_call(
        &site.scene,
        &Verb {
            tool: "rs-maintenance",
            args: &["start", "--pool", "www"],
            undo: &["stop", "--pool", "www"],
            look: &[&["rs-maintenance", "status", "--pool", "www"]],
        },
    );
}
