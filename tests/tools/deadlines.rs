//! What happens when a temporary change is past its deadline: an alarm, and the way back where it was asked for.

use rs_cli::{Journal, now, owner};
use rs_model::act::{Act, Outcome};
use rs_tests::{Ran, Scene};

use super::small_site::{debts, rs, site};

/// The array enabled, then disabled until a moment that has passed.
fn late(scene: &Scene, flags: &[&str]) {
    rs(scene, "rs-server", &["enable", "pack"]).exits(0);
    let disable = ["disable", "pack", "--deadline", "1ms"];
    rs(scene, "rs-server", &[&disable[..], flags].concat()).exits(0);
    assert_eq!(debts(scene).len(), 1);
}

fn watch(scene: &Scene, flags: &[&str]) -> Ran {
    rs(scene, "rs-journal", &[&["watch", "--once"][..], flags].concat())
}

fn enabled(scene: &Scene) -> bool {
    let array = rs(scene, "rs-server", &["list", "pack", "--json"]).exits(0).record();
    array["enabled"].as_bool().unwrap()
}

#[test]
fn what_was_opened_for_that_is_put_back_at_its_deadline() {
    let scene = site("deadline");
    late(&scene, &[]);
    let alarm = watch(&scene, &[]).exits(3).says("--undo-on-deadline").says("rs-server enable");
    assert_eq!((&alarm.record()["undone"], enabled(&scene)), (&false.into(), false));
    rs(&scene, "rs-server", &["enable", "pack"]).exits(0);
    watch(&scene, &[]).exits(0);

    late(&scene, &["--undo-on-deadline"]);
    let alarm = watch(&scene, &[]).exits(3).says("is put back");
    assert_eq!((&alarm.record()["undone"], enabled(&scene)), (&true.into(), true));
    assert!(debts(&scene).is_empty());
    watch(&scene, &[]).exits(0);

    rs(&scene, "rs-server", &["disable", "pack", "--undo-on-deadline"]).exits(2).says("--deadline");

    // a later one counts from now on; one of what nobody owes is refused
    let set = |flags: &[&str]| {
        let args = ["set", "--on", "web 1", "RELEASE=text:two"];
        rs(&scene, "rs-inputs", &[&args[..], flags].concat())
    };
    set(&["--deadline", "1h"]).exits(2).says("--deadline").says("temporary");
    assert!(debts(&scene).is_empty(), "nothing was done");
    set(&["--temporary", "--deadline", "1ms", "--undo-on-deadline"]).exits(0);
    let first = debts(&scene).remove(0);
    set(&["--temporary", "--deadline", "1h"]).exits(0);
    let second = debts(&scene).remove(0);
    assert!(second.deadline > first.deadline, "{second:?}");
    assert_eq!((second.undo_on_deadline, &second.since), (false, &first.since), "{second:?}");
    assert_eq!(second.before, first.before, "what was there before is still known");
    set(&["--temporary"]).exits(0);
    assert_eq!(debts(&scene), [second]);
    watch(&scene, &[]).exits(0);
}

#[test]
fn a_clock_puts_nothing_back_during_a_run_or_a_migration() {
    let scene = site("deadline held");
    late(&scene, &["--undo-on-deadline"]);
    let lock = ["lock", "--upgrade", "u-9", "--deployment", "shop", "--"];
    let script = "rs-journal watch --once; code=$?; rs-server list pack >&2; exit $code";
    rs(&scene, "rs-journal", &[&lock[..], &["bash", "-c", script]].concat())
        .exits(3)
        .says("\"u-9\" holds the deployment");
    assert!(!enabled(&scene));

    let place = rs_contract::Place { cloud: scene.cloud(), ..Default::default() };
    let state = rs_drivers::state(&place).unwrap();
    let begun = Act {
        seq: 0,
        at: now(),
        deployment: "shop".into(),
        subject: "server M".into(),
        tool: "rs-dbsync".into(),
        verb: "migrate".into(),
        about: None,
        owner: owner(None),
        epoch: 0,
        clock: false,
        outcome: Outcome::Failed,
        before: serde_json::Value::Null,
        after: serde_json::Value::Null,
        ms: Some(1),
        undo: None,
        error: None,
    };
    Journal::new(state.as_ref()).begin(&mut [begun], &[], &|| state.epoch("shop")).unwrap();
    watch(&scene, &[]).exits(3).says("a migration was begun");
    assert!(!enabled(&scene));
}

#[test]
fn an_alarm_goes_out_by_the_machines_mail() {
    let scene = site("deadline mail");
    late(&scene, &[]);
    let got = scene.text("got");
    let program =
        scene.file("bin/sendmail", &format!("#!/bin/sh\necho \"$@\" >'{got}'\ncat >>'{got}'\n"));
    scene.call("chmod", "chmod").args(["755", &program]).run().exits(0);
    let path = format!("{}:{}", scene.text("bin"), std::env::var("PATH").unwrap());
    let mail = |to: &str| {
        let args = ["watch", "--once", &format!("--mail={to}")];
        super::small_site::call(&scene, "rs-journal", &args).env("PATH", &path).run()
    };
    mail("ops@example.com").exits(3);
    let letter = std::fs::read_to_string(scene.path("got")).unwrap();
    assert!(letter.starts_with("-i -- ops@example.com\nTo: ops@example.com\nSubject:"), "{letter}");
    assert!(letter.contains("array:pack"), "{letter}");
    mail("-oQ/tmp").exits(2).says("no address");
}
