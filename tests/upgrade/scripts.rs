//! What the scripts promise without any server.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use rs_tests::{Scene, root};

const SETTINGS: &str = "DEPLOYMENT=production\nUPGRADE=u-1\nPOOL=www\nTEST_POOL=test1\nTEST_HOST=test1.mysite.com\n\
    TEST_LB_LIKE=Load Balancer-1\nTEST_LB=Load Balancer-3\nAPP_LIKE=App Server-1\nAPP_NAME=App Server-%n\n\
    WARM=Slave DB => Slave2 DB\nOLD_ARRAY=array-1\nNEW_ARRAY=array-2\nRELEASE=APPLICATION=text:shop 2.0\n\
    MIGRATION_SCRIPT=migrate\n";

fn step_files() -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("scripts/steps"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// The file of a step, below the root.
pub fn step_file(number: &str) -> String {
    let names =
        step_files().into_iter().map(|file| file.file_name().unwrap().display().to_string());
    let name = names.into_iter().find(|name| name.starts_with(number)).unwrap();
    format!("scripts/steps/{name}")
}

#[test]
fn there_is_one_file_for_each_of_the_38_steps_with_a_complete_head() {
    let files = step_files();
    assert_eq!(files.len(), 38);
    for (at, file) in files.iter().enumerate() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with(&format!("{:02}-", at + 1)), "{name}");
        let text = std::fs::read_to_string(file).unwrap();
        for word in ["needs", "leaves", "proves", "undo"] {
            assert!(text.contains(&format!("\n#   {word} ")), "{name} does not say `{word}`");
        }
        assert!(
            text.contains(&format!("step_{:02}() {{", at + 1)),
            "{name} has no function of its own"
        );
        // by which it also runs alone
        let last = format!(
            "[[ ${{BASH_SOURCE[0]}} != \"$0\" ]] || {{ here=$(readlink -f -- \"$0\") && . \"${{here%/*}}/../lib.sh\" && \
             run_step {:02} \"$@\"; }}",
            at + 1
        );
        assert_eq!(text.lines().last(), Some(last.as_str()), "{name}");
    }
}

#[test]
fn every_function_of_a_step_has_a_proof_that_changes_nothing() {
    let function = |line: &str| line.strip_suffix("() {").map(str::to_owned);
    for file in step_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let functions: Vec<String> = text.lines().filter_map(function).collect();
        for step in functions.iter().filter_map(|name| name.strip_prefix("step_")) {
            let proof = format!("proof_{step}");
            assert!(functions.contains(&proof), "{} has no {proof}", file.display());
        }
        // a call of a tool in a proof asks, or it is a dry run
        let proofs = text.split("\nproof_").skip(1).map(|rest| rest.split("\n}").next().unwrap());
        let calls = proofs.flat_map(|body| body.split(['\n', '|', ';'])).map(str::trim);
        for call in calls.filter(|call| call.starts_with("rs-")) {
            let asks = ["rs-server list ", "rs-dbsync status ", "rs-maintenance status "];
            let harmless =
                asks.iter().any(|ask| call.starts_with(ask)) || call.contains("--dry-run");
            assert!(harmless, "{}: a proof may not change anything: {call}", file.display());
        }
    }
}

#[test]
fn the_plan_shows_every_step_once_in_the_order_in_which_they_run_and_calls_nothing() {
    let scene = Scene::new("plan");
    let conf = scene.file("upgrade.conf", SETTINGS);
    let ran = scene.script("scripts/upgrade.sh").args(["--plan", "--conf", &conf]).run().exits(0);
    // what was asked for is on stdout: it can be kept in a file, or read in a pager
    let shown: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|line| {
            line.get(..4).is_some_and(|head| head.trim().len() >= 2 && !head.starts_with("    "))
        })
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for step in 1..=38 {
        let label = format!("{step:02}");
        let there = shown.iter().any(|l| l.trim_end_matches(char::is_alphabetic) == label);
        // 24 is done by 25, in one act
        assert!(there || step == 24, "step {label} is not in the plan\n{ran}");
    }
    let place = |label: &str| {
        shown.iter().position(|l| *l == label).unwrap_or_else(|| panic!("{label}\n{ran}"))
    };
    assert!(place("27") < place("18"), "an enabled array launches old code in the dark");
    assert!(place("18") < place("19") && place("19") < place("22") && place("22") < place("23"));
    assert!(place("20") < place("23") && place("30") < place("31"));
    assert!(!scene.path("site.db").exists(), "--plan touched the state");
    assert!(
        ran.stdout.contains("'APPLICATION=text:shop 2.0'"),
        "a value with a blank is one word\n{ran}"
    );
}

/// [`SETTINGS`] with this line in place of the one of its name, or behind them.
fn with(line: &str) -> String {
    let name = &line[..=line.find('=').unwrap()];
    let others = SETTINGS.lines().filter(|other| !other.starts_with(name));
    others.chain([line]).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn settings_are_data_and_a_wrong_line_is_named() {
    let scene = Scene::new("settings");
    let plan = |settings: &str| {
        let conf = scene.file("bad.conf", settings);
        scene.script("scripts/upgrade.sh").args(["--plan", "--conf", &conf]).run()
    };
    for (line, says) in [("NO_SUCH=1\n", "NO_SUCH"), ("echo hello\n", "no setting")] {
        let _ = plan(&format!("{SETTINGS}{line}")).exits(2).says(says).says("bad.conf:15:");
    }
    // which of the two counts nobody should have to guess; a list has as many lines as it likes
    let _ =
        plan(&format!("{SETTINGS}POOL=www\n")).exits(2).says("bad.conf:15: POOL").says("line 3");
    let _ = plan(&format!("{SETTINGS}OLD_ARRAY=\n")).exits(2).says("bad.conf:15:").says("line 11");
    let _ = plan(&format!("{SETTINGS}RELEASE=CODE=text:1\nRELEASE=MORE=blank\n")).exits(0);
    let _ = plan("DEPLOYMENT=production\n").exits(2).says("UPGRADE").says("WARM").says("RELEASE");
    // nothing in a value is executed
    let evil = format!("$(touch {0})`touch {0}`;touch {0}", scene.text("evil"));
    let _ = plan(&with(&format!("CODE_UPDATE={evil}"))).exits(0);
    let _ = plan(&with(&format!("POOL={evil}"))).exits(2);
    assert!(!scene.path("evil").exists());
    let example = root().join("scripts/upgrade.conf.example");
    let _ = plan(&std::fs::read_to_string(example).unwrap()).exits(0);
}

#[test]
fn the_plan_refuses_what_the_run_would_refuse_as_wrong_usage() {
    let scene = Scene::new("values");
    for line in [
        "SNAPSHOT=sometimes",
        "UNREHEARSED=perhaps",
        "PAGE_KILL=maybe",
        "WORKERS_IN_ARRAYS=No",
        "ALERTS=off",
        "RESTART_APP=true",
        "WINDOW=soon",
        "WINDOW=0",
        "WINDOW=1.5m",
        "BACK_TIME=2 m",
        "HOOK_LIMIT=-1",
        "HOOKS=/nowhere",
        "PAGE_WAIT=5y",
        "BACKUP_MAX_AGE=90",
        "NEW_APPS=0",
        "NEW_APPS=two",
        "NEW_ARRAY_MIN=-1",
        "POOL=w w",
        "TEST_POOL=-x",
        "TEST_HOST=test 1",
        "TEST_HOST=a..b",
        "DEPLOYMENT=shop\r",
        "TEST_LB= Load Balancer-3",
        "OLD_ARRAY=array-1 ",
        "NEW_ARRAY=",
        "APP_NAME=App %n %n",
        "APP_NAME=App Server",
        "WARM=Slave DB",
        "WARM=Slave DB =>  Slave2 DB",
        "RELEASE=APPLICATION=2.0",
        "RELEASE=2.0",
        "ISOLATION=LB_HOSTNAME=text:",
        "WAIT_AT_BOOT=START",
        "KEEP=A,B",
        "TEST_POOL=www",
        "NEW_ARRAY=array-1",
        "TEST_LB=Load Balancer-1",
        "STAGING=production",
        "WARM=Slave DB => Slave DB",
    ] {
        let name = &line[..line.find('=').unwrap()];
        let says = if line == "NEW_ARRAY=" { "no NEW_ARRAY" } else { &format!(": {name}") };
        let conf = scene.file("bad.conf", &with(line));
        let call = || scene.script("scripts/upgrade.sh").args(["--yes", "--conf", &conf]);
        let _ = call().args(["--plan"]).run().exits(2).says(says).says("(try: ");
        if ["NEW_APPS=0", "WINDOW=soon"].contains(&line) {
            let _ = call().run().exits(2).says(says);
        }
    }
    let good = with("OLD_ARRAY=") + "WINDOW=08m\nHOOK_LIMIT=1500ms\nBACK_TIME=\nWAIT_AT_BOOT=\n";
    let conf = scene.file("good.conf", &good);
    let _ = scene.script("scripts/upgrade.sh").args(["--plan", "--conf", &conf]).run().exits(0);
    let plan = ["--plan", "--window", "soon", "--conf", &conf];
    let _ = scene.script("scripts/upgrade.sh").args(plan).run().exits(2).says("--window is 'soon'");
    assert!(!scene.path("site.db").exists(), "a tool was called");
    assert!(!scene.path("upgrade-u-1.log").exists(), "the run was begun");
}

#[test]
fn a_run_without_a_proper_name_is_refused_before_anything_is_written() {
    let scene = Scene::new("run-names");
    let conf = scene.file("upgrade.conf", &SETTINGS.replace("UPGRADE=u-1\n", ""));
    let owned = scene.text("owned");
    let evil = format!("$(touch {owned})");
    let long = "u".repeat(65);
    for script in ["scripts/upgrade.sh", "scripts/rollback.sh", "scripts/rehearse.sh"] {
        let run =
            |call: rs_tests::Call| call.args(["--conf", &conf]).run().exits(2).says("UPGRADE");
        for name in [" ", "a b", "it's", "\"u\"", "u\n1", "u;1", "-u", "é", &long, &evil] {
            run(scene.script(script).env("RS_UPGRADE", name)).says("no name of a run");
            let line = format!("{}UPGRADE={name}\n", std::fs::read_to_string(&conf).unwrap());
            let bad = scene.file("bad.conf", &line);
            let _ = scene.script(script).args(["--conf", &bad]).run().exits(2);
        }
        run(scene.script(script).env("RS_UPGRADE", "")).says("missing");
    }
    assert!(!scene.path("owned").exists(), "a name was run");
    let made = std::fs::read_dir(&scene.dir).unwrap().count();
    assert_eq!(made, 3, "only what the test wrote: two settings and a folder of credentials");
}

#[test]
fn the_demo_prints_all_that_the_readme_s_lines_need() {
    let scene = Scene::new("demo-env");
    let env = scene.script("scripts/demo/demo.sh").args(["env"]).env("RS_DEMO_SITE", "none").run();
    let env = env.exits(0).stdout;
    for name in
        ["RS_CLOUD", "RS_CREDENTIALS", "RS_DEPLOYMENT", "RS_UPGRADE", "RS_UPGRADE_CONF", "PATH"]
    {
        assert!(env.contains(&format!("export {name}=")), "{name} is not among\n{env}");
    }
}

/// Starts `scripts/demo/range.py`, whose stdin stays open, and reads the range that it holds; nothing when it holds none.
fn holder(asked: Option<&str>) -> (Child, Option<String>) {
    let mut command = Command::new(rs_tests::program("python3"));
    let command = command.arg(root().join("scripts/demo/range.py")).args(asked);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let range = line.strip_suffix('\n').map(str::to_owned);
    (child, range)
}

#[test]
fn demo_sites_that_are_made_at_once_get_a_range_each_and_a_killed_one_keeps_none() {
    let starts: Vec<_> = (0..6).map(|_| std::thread::spawn(|| holder(None))).collect();
    let mut holders: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    let ranges: BTreeSet<String> =
        holders.iter().map(|(_, range)| range.clone().unwrap_or_default()).collect();
    assert_eq!(ranges.len(), holders.len(), "two have the same: {holders:?}");
    assert!(ranges.iter().all(|range| range.starts_with("127.91.")), "{ranges:?}");

    let (mut first, range) = holders.remove(0);
    let range = range.unwrap();
    let again = || {
        let (mut child, range) = holder(Some(&range));
        drop(child.stdin.take());
        (child.wait().unwrap().code(), range)
    };
    assert_eq!(again(), (Some(1), None), "{range} is held");
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(again(), (Some(0), Some(range.clone())), "a killed one holds nothing");
    // a site that is up holds it by its servers
    let server = TcpListener::bind(range.replace(".0/24", ".7:3306")).unwrap();
    assert_eq!(again(), (Some(1), None), "somebody listens in {range}");
    drop(server);
    let server = UdpSocket::bind(range.replace(".0/24", ".1:5300")).unwrap();
    assert_eq!(again(), (Some(1), None), "somebody listens in {range}");
    drop(server);
    assert_eq!(again(), (Some(0), Some(range.clone())));
    for (mut child, _) in holders {
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "its stdin has ended");
    }
}

#[test]
fn unknown_options_and_steps_are_usage_errors() {
    let scene = Scene::new("options");
    let conf = scene.file("upgrade.conf", SETTINGS);
    for args in [
        vec!["--no-such"],
        vec!["--only", "99"],
        vec!["--from"],
        vec!["--from", "x;y"],
        vec!["--from", "30", "--until", "18"],
        vec!["--only", "3", "--until", "2"],
        vec!["--until", "19p"],
        vec!["--until", "29a"],
        vec!["--until", "29f"],
        vec!["--until", "19q"],
    ] {
        let mut args = args;
        args.extend(["--conf", &conf]);
        let ran = scene.script("scripts/upgrade.sh").args(&args).run();
        assert_eq!(ran.exit, 2, "{args:?}\n{ran}");
    }
    // a part of a step is named, or it is said which ones there are
    let until = |label: &str| {
        let args = ["--conf", conf.as_str(), "--plan", "--until", label];
        scene.script("scripts/upgrade.sh").args(args).run()
    };
    for label in ["25i", "29w", "writes_on", "9", "24"] {
        let _ = until(label).exits(0);
    }
    // the plan of a part is of that part, and nothing that is made anew each time stands in it
    let plan = |args: &[&str]| {
        let call = scene.script("scripts/upgrade.sh").args(["--plan", "--conf", conf.as_str()]);
        call.args(args).run().exits(0).stdout
    };
    let only = plan(&["--only", "37"]);
    assert!(only.starts_with("  37  terminate"), "{only}");
    assert!(only.contains("rs-cleanup retire --plan PLAN\n"), "{only}");
    assert!(only.lines().skip(1).all(|line| line.starts_with("      rs-")), "{only}");
    let part = plan(&["--from", "4", "--until", "6"]);
    let heads: Vec<&str> = part.lines().filter(|line| !line.starts_with("     ")).collect();
    assert_eq!(heads.len(), 3, "{part}");
    assert!(heads[0].starts_with("  04  ") && heads[2].starts_with("  06  "), "{part}");
    // two things at once, and one of them would be done
    for modes in [["--plan", "--status"], ["--dry-run", "--plan"], ["--status", "--abort"]] {
        let ran = scene.script("scripts/upgrade.sh").args(modes).args(["--conf", &conf]).run();
        let _ = ran.exits(2).says(&modes.join(" and ")).says("go together");
    }
    // what is read more than once is a file
    let call = format!("{}/scripts/upgrade.sh --plan --conf <(cat '{conf}')", root().display());
    let ran = scene.call("bash", "bash").args(["-c", &call]).run();
    let _ = ran.exits(2).says("no regular file");
    let step = scene.script(&step_file("30")).args(["--dry-run"]).run().exits(2);
    let _ = step.says("a step takes no arguments; --dry-run was given");
    let _ = until("19p").exits(2).says("beside step 23").says("25i, 29w and writes_on");
    let _ = until("9x").exits(2).says("19p 25i 29f 29a 29w writes_on");
    let _ = scene.script("scripts/rollback.sh").args(["--no-such"]).run().exits(2);
}

#[test]
fn the_golden_guide_is_made_from_the_heads_of_the_steps() {
    let scene = Scene::new("guide");
    let made = scene.script("scripts/guide.sh").run().exits(0).stdout;
    let path = root().join("docs/GUIDE.md");
    if std::env::var("RS_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), made, "run `make golden`");
}
