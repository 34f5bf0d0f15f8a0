//! What stands before each step: the window, the site's own hooks, and what its configuration is. The steps that are run
//! here have nothing to do, so that it is only the gates that are seen.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rs_tests::{Call, Ran, Scene};
use serde_json::Value as Json;

const SETTINGS: &str = "DEPLOYMENT=shop\nUPGRADE=u-1\nPOOL=www\nTEST_POOL=test1\nTEST_HOST=test1.mysite.com\n\
    TEST_LB_LIKE=Load Balancer-1\nTEST_LB=Load Balancer-3\nAPP_LIKE=App Server-1\nAPP_NAME=App Server-%n\n\
    WARM=Slave DB => Slave2 DB\nRELEASE=APPLICATION=text:shop 2.0\nMIGRATION_SCRIPT=migrate\nWORKER_START=\n";

struct Run {
    scene: Scene,
}

impl Run {
    fn new(name: &str) -> Run {
        let scene = Scene::new(name);
        for deployment in ["shop", "staging"] {
            let file = scene.file("site.yml", &format!("Deployment: {deployment}\n"));
            let _ = scene.tool("rs-server").args(["apply", &file]).run().exits(0);
        }
        Run { scene }
    }

    fn upgrade(&self, settings: &str, args: &[&str]) -> Ran {
        let conf = self.scene.file("upgrade.conf", &format!("{SETTINGS}{settings}"));
        let call: Call = self.scene.script("scripts/upgrade.sh");
        call.args(["--conf", &conf, "--yes"]).args(args).run()
    }

    /// The file of a step, run by itself.
    fn alone(&self, settings: &str, step: &str) -> Ran {
        let conf = self.scene.file("upgrade.conf", &format!("{SETTINGS}{settings}"));
        self.scene.script(&super::scripts::step_file(step)).env("RS_UPGRADE_CONF", &conf).run()
    }

    fn mark(&self, deployment: &str, run: &str, what: &str, ms: u64) {
        let ms = ms.to_string();
        let args = ["mark", what, "--took-ms", &ms, "--deployment", deployment, "--upgrade", run];
        let _ = self.scene.tool("rs-journal").args(args).run().exits(0);
    }

    fn marks(&self) -> Vec<String> {
        let args = ["show", "--deployment", "shop", "--subject", "step *", "--json"];
        let ran = self.scene.tool("rs-journal").args(args).run().exits(0);
        ran.records().iter().map(|act| act["subject"].as_str().unwrap().to_owned()).collect()
    }

    /// An executable in the folder of hooks.
    fn hook(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        std::fs::create_dir_all(self.scene.path("hooks")).unwrap();
        let file = self.scene.path(&format!("hooks/{name}"));
        std::fs::write(&file, format!("#!/bin/bash\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        file
    }

    /// What the hooks were told, in order.
    fn told(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(self.scene.path("told")).unwrap_or_default();
        let _ = std::fs::remove_file(self.scene.path("told"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn words(facts: &[Json]) -> Vec<String> {
    let mut all: Vec<String> = facts
        .iter()
        .map(|f| ["when", "kind", "step"].map(|key| f[key].as_str().unwrap()).join(" "))
        .collect();
    all.sort();
    all
}

#[test]
fn hooks_may_say_no_before_a_step_and_are_told_after_it() {
    let run = Run::new("gates-hooks");
    let folder = format!("HOOKS={}\n", run.scene.text("hooks"));
    let told = run.scene.text("told");
    run.hook("10-tell", &format!("cat >>'{told}'"), 0o755);
    run.hook("15-not-executable", "exit 9", 0o644);
    let veto = run.hook(
        "20-veto",
        "facts=$(cat)\n[[ $facts != *'\"when\":\"before\"'*'\"step\":\"03\"'* ]] || { echo 'the freeze is on' >&2; exit 3; }",
        0o755,
    );
    std::os::unix::fs::symlink(&veto, run.scene.path("hooks/30-link")).unwrap();
    let ran = run.upgrade(&folder, &["--from", "2", "--until", "3"]).exits(5);
    let ran = ran.says("20-veto").says("the freeze is on").says("step 03");
    assert_eq!(run.marks(), ["step 02"], "{ran}");
    assert!(ran.stderr.contains("  02  back from here: free"), "{ran}");
    let facts = run.told();
    assert_eq!(words(&facts), ["after step 02", "before step 02", "before step 03"]);
    for (key, value) in [
        ("schema", Json::from("rs.gate/1")),
        ("deployment", "shop".into()),
        ("run", "u-1".into()),
        ("way_back", "free".into()),
        ("price", Json::Null),
        ("title", "a staging deployment went through this upgrade".into()),
    ] {
        assert_eq!(facts[0][key], value, "{facts:?}");
    }
    assert_eq!(facts[0]["window"]["limit_ms"], 600_000);
    let after = facts.iter().find(|f| f["when"] == "after").unwrap();
    assert_eq!(after["exit"], 0);

    // what a hook says afterwards changes nothing, and is said
    std::fs::remove_file(&veto).unwrap();
    run.hook("20-sulks", "[[ $(cat) != *'\"when\":\"after\"'* ]] || exit 4", 0o755);
    let ran = run.upgrade(&folder, &["--from", "3", "--until", "3"]).exits(0);
    assert!(ran.stderr.contains("20-sulks, told of step 03, ended with 4"), "{ran}");
    assert_eq!(words(&run.told()), ["after step 03", "before step 03"]);

    // one that does not end is a no
    run.hook("20-sulks", "exec tail -f /dev/null", 0o755);
    let limit = format!("{folder}HOOK_LIMIT=500ms\n");
    let ran = run.upgrade(&limit, &["--only", "3"]).exits(5);
    let _ = ran.says("20-sulks").says("within 500ms");

    // whoever may write to one would act as us
    std::fs::set_permissions(run.scene.path("hooks/20-sulks"), PermissionsExt::from_mode(0o757))
        .unwrap();
    let _ = run.upgrade(&limit, &["--only", "3"]).exits(5).says("writable by others");
    std::fs::remove_file(run.scene.path("hooks/20-sulks")).unwrap();
    std::fs::set_permissions(run.scene.path("hooks"), PermissionsExt::from_mode(0o777)).unwrap();
    let _ = run.upgrade(&folder, &["--only", "3"]).exits(5).says("writable by others");
    let _ = run.upgrade("HOOKS=/nowhere\n", &["--only", "3"]).exits(2).says("/nowhere");
    let _ = run.upgrade("HOOK_LIMIT=soon\n", &["--only", "3"]).exits(2).says("soon");
}

#[test]
fn hooks_are_asked_before_a_decision_too() {
    let run = Run::new("gates-decision");
    let veto = "[[ $(cat) != *'\"kind\":\"decision\"'* ]] || { echo 'ask the lawyers'; exit 1; }";
    run.hook("lawyers", veto, 0o755);
    let folder = format!("HOOKS={}\n", run.scene.text("hooks"));
    let ran = run.upgrade(&folder, &["--from", "3", "--until", "4"]).exits(5);
    let ran = ran.says("ask the lawyers").says("before decision");
    assert_eq!(run.marks(), ["step 03"], "{ran}");
}

#[test]
fn a_step_that_cannot_end_inside_the_window_is_not_begun() {
    let run = Run::new("gates-window");
    // step 26 has nothing to do here, and stands between the page and the point of no return
    let only = |settings: &str, args: &[&str]| {
        let mut all = vec!["--from", "26", "--until", "26"];
        all.extend(args);
        run.upgrade(settings, &all)
    };
    let ran = only("", &[]).exits(5);
    let ran = ran.says("is not known").says("UNREHEARSED=go");
    assert!(run.marks().is_empty(), "{ran}");
    let ran = only("UNREHEARSED=go\n", &[]).exits(0);
    assert!(ran.stderr.contains("was not rehearsed and is not counted"), "{ran}");
    let _ = only("UNREHEARSED=perhaps\n", &[]).exits(2);

    // what an older rehearsal took does not count, and another deployment's neither
    run.mark("staging", "u-1-rehearsal-1", "step 26", 1);
    run.mark("shop", "u-1-rehearsal-9", "step 26", 1);
    run.mark("staging", "u-1-rehearsal-2", "step 26", 40_000);
    let ran = only("STAGING=staging\n", &[]).exits(5);
    let _ = ran.says("what coming back takes was not rehearsed");
    let _ = only("STAGING=staging\nBACK_TIME=30s\nWINDOW=71s\n", &[]).exits(0);
    run.mark("staging", "u-1-rehearsal-2", "way back", 30_000);
    let with = |window: &str| format!("STAGING=staging\nWINDOW={window}\n");
    let _ = only(&with("70s"), &[]).exits(0);
    let ran = only(&with("60s"), &[]).exits(5);
    let _ = ran.says("10 s too long").says("--window");
    let _ = only(&with("60s"), &["--window", "71s"]).exits(0);
    let _ = only(&with("60s"), &["--window", "soon"]).exits(2);
    // what is written down counts before what was rehearsed
    let _ = only(&format!("{}BACK_TIME=20s\n", with("60s")), &[]).exits(0);

    // the page is up for a second already
    run.mark("shop", "u-1", "step 18", 1000);
    let _ = only(&with("70s"), &[]).exits(5).says("too long");
    // who does that step again does not begin the window again
    run.mark("shop", "u-1", "step 18", 1);
    let _ = only(&with("70s"), &[]).exits(5).says("too long");
    // and after somebody went back it is not
    run.mark("shop", "u-1", "step back", 0);
    let _ = only(&with("70s"), &[]).exits(0);
    // unless that was given up
    run.mark("shop", "u-1", "step forth", 0);
    let _ = only(&with("70s"), &[]).exits(5);
    // before the page it is not asked
    let _ = run.upgrade(&with("1s"), &["--only", "3"]).exits(0);
}

#[test]
fn a_step_that_only_does_before_its_turn_is_done_again_by_the_run() {
    let run = Run::new("gates-turn");
    run.mark("shop", "u-1", "step 01", 1);
    let ran = run.upgrade("", &["--only", "3"]).exits(0).says("done before its turn");
    assert_eq!(run.marks(), ["step 01"], "{ran}");
    // a whole run begins where it stands, and has the step once more
    let ran = run.upgrade("", &["--until", "3"]).exits(0);
    assert_eq!(run.marks(), ["step 01", "step 02", "step 03"], "{ran}");
    // in its turn it counts
    run.mark("shop", "u-2", "step 01", 1);
    run.mark("shop", "u-2", "step 02", 1);
    let two = |args: &[&str]| {
        let conf = run.scene.file("two.conf", &SETTINGS.replace("u-1", "u-2"));
        run.scene.script("scripts/upgrade.sh").args(["--conf", &conf, "--yes"]).args(args).run()
    };
    let _ = two(&["--only", "3"]).exits(0);
    let ran = two(&["--until", "3"]).exits(0);
    assert!(!ran.stderr.contains("  03  "), "it was done in its turn\n{ran}");
}

#[test]
fn a_step_that_belongs_into_the_dark_is_not_begun_by_itself() {
    let run = Run::new("gates-dark");
    // whether the page is on is asked: this deployment has no pool
    for step in ["19", "19p", "22", "23", "24", "25", "25i", "29", "29f", "29a", "writes_on"] {
        let ran = run.upgrade("UNREHEARSED=go\n", &["--only", step]).exits(4);
        let ran = ran.says("whether the page is on is not known");
        let _ = ran.says(&format!("step {step} belongs behind it"));
    }
    // nor is its file, run by itself
    for step in ["19", "22", "23", "24", "25", "29"] {
        let ran = run.alone("UNREHEARSED=go\n", step).exits(4);
        let _ = ran.says("is not known").says(&format!("step {step} belongs behind it"));
    }
    // of the migration the journal tells
    let no = |step: &str, settings: &str, says: &str| {
        let settings = format!("UNREHEARSED=go\n{settings}");
        let _ = run.upgrade(&settings, &["--only", step]).exits(5).says(says);
        if step.parse::<u8>().is_ok() {
            let settings = format!("{settings}RESTART_APP=yes\n");
            let _ = run.alone(&settings, step).exits(5).says(says);
        }
    };
    no("32", "", "has not done step 23");
    no("26", "", "has not migrated yet");
    no("20", "", "step 22 of u-1 is not done");
    no("20", "SNAPSHOT=before\n", "step 19 of u-1 is not done");
    assert!(run.marks().is_empty());
    // behind step 31 the site is the new release's, and nobody asks for the page
    run.mark("shop", "u-1", "step 31", 1);
    no("29", "", "has not migrated yet");
    no("29w", "", "has not migrated yet");
}

#[test]
fn the_way_back_is_not_ended_before_the_site_is_open_and_settled() {
    let run = Run::new("gates-last");
    let no = |args: &[&str], missing: &str| {
        let ran = run.upgrade("", args).exits(5).says("ends the way back");
        let _ = ran.says(&format!("step {missing} of u-1 is not done"));
    };
    for args in [["--from", "37"], ["--only", "37"], ["--only", "38"]] {
        no(&args, "31");
    }
    for step in ["37", "38"] {
        let ran = run.alone("", step).exits(5).says("ends the way back");
        let _ = ran.says("step 31 of u-1 is not done");
    }
    run.mark("shop", "u-1", "step 31", 1);
    no(&["--only", "37"], "36");
    run.mark("shop", "u-1", "step 36", 1);
    // what somebody came back from counts no more, unless that was given up
    run.mark("shop", "u-1", "step back", 1);
    no(&["--from", "37"], "31");
    run.mark("shop", "u-1", "step forth", 1);
    // this deployment has no pool, so nobody knows what users see
    let says = "whether the page is off is not known";
    let ran = run.upgrade("", &["--only", "37"]).exits(4);
    let _ = ran.says(says).says("rs-maintenance status");
    let _ = run.alone("", "37").exits(4).says(says);
    // hooks are asked and told, as of any step
    let hooks = format!("HOOKS={}\n", run.scene.text("hooks"));
    run.hook("10-tell", &format!("cat >>'{}'", run.scene.text("told")), 0o755);
    let _ = run.alone(&hooks, "03").exits(0).says("back from here");
    assert_eq!(words(&run.told()), ["after step 03", "before step 03"]);
    run.hook("20-veto", "exit 3", 0o755);
    let _ = run.alone(&hooks, "03").exits(5).says("20-veto says no before step 03");
}

#[test]
fn a_run_of_another_name_is_neither_begun_beside_an_unfinished_one_nor_taken_back() {
    let run = Run::new("gates-names");
    let other = |script: &str, args: &[&str]| {
        let conf = run.scene.file("two.conf", &SETTINGS.replace("u-1", "u-2"));
        run.scene.script(script).args(["--conf", &conf, "--yes"]).args(args).run()
    };
    // it comes to its next question: this deployment has no pool
    let begins = || {
        let ran = other("scripts/upgrade.sh", &["--only", "3", "--dry-run"]).exits(4);
        let _ = ran.says("the pool 'www' cannot be asked");
    };
    // nothing was made up to step 3
    run.mark("shop", "u-1", "step 03", 1);
    begins();
    for newest in ["step 04", "step 36", "step back", "undo", "step forth"] {
        run.mark("shop", "u-1", newest, 1);
        for args in [&["--until", "3"][..], &["--only", "3", "--dry-run"]] {
            let ran = other("scripts/upgrade.sh", args).exits(5).says("u-1").says("not finished");
            let _ = ran.says(newest).says("UPGRADE=u-1");
        }
        for args in [&[][..], &["--undo"], &["--dry-run"]] {
            let ran = other("scripts/rollback.sh", args).exits(4).says("u-2").says("nothing");
            let _ = ran.says("the journal has u-1");
        }
        assert!(run.marks().iter().all(|mark| mark.starts_with("step")), "{:?}", run.marks());
    }
    // what is over stands in nobody's way, nor does another deployment's run
    run.mark("staging", "u-3", "step 20", 1);
    for newest in ["step 38", "way back", "ended"] {
        run.mark("shop", "u-1", "step 20", 1);
        run.mark("shop", "u-1", newest, 1);
        begins();
    }
}

#[test]
fn a_script_finds_its_library_however_it_is_called_and_without_it_nothing_runs() {
    let run = Run::new("gates-linked");
    let conf = run.scene.file("upgrade.conf", &format!("{SETTINGS}SNAPSHOT=no\n"));
    for name in ["upgrade.sh", "rollback.sh"] {
        let script = rs_tests::root().join("scripts").join(name);
        let link = run.scene.path(&format!("linked-{name}"));
        std::os::unix::fs::symlink(&script, &link).unwrap();
        let here = format!("cd '{}' && bash {name}", script.parent().unwrap().display());
        for how in [link.display().to_string(), here] {
            let call = format!("{how} --conf '{conf}' --plan");
            let ran = run.scene.call("bash", "bash").args(["-c", &call]).run();
            let _ = ran.exits(2).says("SNAPSHOT is 'no'");
        }
        let lonely = run.scene.text(&format!("lonely-{name}"));
        std::fs::copy(&script, &lonely).unwrap();
        let call = format!("'{lonely}' --conf '{conf}' --yes");
        let ran = run.scene.call("bash", "bash").args(["-c", &call]).run().exits(1);
        assert_eq!(ran.stderr.lines().count(), 1, "nothing ran behind it\n{ran}");
    }
}

#[test]
fn a_step_s_file_finds_its_library_through_a_link_and_from_its_own_folder() {
    let run = Run::new("gates-linked-step");
    let conf = run.scene.file("upgrade.conf", &format!("{SETTINGS}SNAPSHOT=no\n"));
    let script = rs_tests::root().join(super::scripts::step_file("30"));
    let link = run.scene.path("linked");
    std::os::unix::fs::symlink(&script, &link).unwrap();
    let name = script.file_name().unwrap().display();
    let here = format!("cd '{}' && bash {name}", script.parent().unwrap().display());
    for how in [link.display().to_string(), here] {
        let call = run.scene.call("bash", "bash").args(["-c", &how]);
        let _ = call.env("RS_UPGRADE_CONF", &conf).run().exits(2).says("SNAPSHOT is 'no'");
    }
}

#[test]
fn the_command_that_a_script_names_may_be_typed_as_it_stands_from_anywhere() {
    let run = Run::new("gates-quoted");
    let _ = run.scene.file("it's mine.conf", SETTINGS);
    let upgrade = rs_tests::root().join("scripts/upgrade.sh");
    let line = format!(
        "cd '{}' && '{}' --conf \"it's mine.conf\" --yes --only 37",
        run.scene.dir.display(),
        upgrade.canonicalize().unwrap().display()
    );
    let ran = run.scene.call("bash", "bash").args(["-c", &line]).run().exits(5);
    let named = |word: &str| {
        let line = ran.stderr.lines().find_map(|line| line.trim_start().strip_prefix(word));
        line.unwrap_or_else(|| panic!("{word}\n{ran}")).trim().to_owned()
    };
    for word in ["go on:", "go back:"] {
        let line = format!("cd / && {} --plan", named(word));
        let _ = run.scene.call("bash", "bash").args(["-c", &line]).run().exits(0);
    }
}
