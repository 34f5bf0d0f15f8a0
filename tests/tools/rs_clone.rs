//! `rs-clone`: as many clones as were asked for, and none that reaches production by mistake.

use serde_json::json;

use super::small_site::{ISOLATED, ODD, all, piped, rs, site};

#[test]
fn to_n_makes_n_and_the_second_call_none() {
    let scene = site("clone-n");
    let args = |to| vec!["server", "web 1", "--name", "web %n", "--to", to, "--as", "new"];
    let clone = |to| rs(&scene, "rs-clone", &[&args(to)[..], &ISOLATED].concat());
    let before = all(&scene);
    let dry =
        rs(&scene, "rs-clone", &[&args("2")[..], &ISOLATED, &["--dry-run"]].concat()).exits(0);
    assert_eq!(dry.by_name().into_keys().collect::<Vec<_>>(), ["web 3", "web 4"], "{dry}");
    let launch =
        piped(&scene, &dry, "rs-inputs", &["check", "--require", "--phase", "boot"]).exits(0);
    let launch = piped(&scene, &launch, "rs-server", &["launch", "--dry-run"]).exits(0);
    assert!(
        launch.records().iter().all(|r| r["state"] == "operational" && r["planned"] == true),
        "{launch}"
    );
    assert_eq!(all(&scene), before, "a dry run makes nothing");
    for (to, changed) in [("1", vec![true]), ("1", vec![false]), ("2", vec![false, true])] {
        let ran = clone(to).exits(0);
        let got: Vec<bool> =
            ran.records().iter().map(|r| r["did"][0]["changed"].as_bool().unwrap()).collect();
        assert_eq!(got, changed, "{ran}");
        let third = &ran.by_name()["web 3"];
        assert_eq!(third["cloned_from"], "web 1", "{ran}");
        assert_eq!(third["state"], "inactive", "{ran}");
        assert_eq!(third["next"]["LB_HOSTNAME"], "text:test.example", "{ran}");
        assert!(third["tags"].as_array().unwrap().contains(&json!("rs_upgrade:u-1=new")), "{ran}");
    }
    // the original counts too, and goes first
    let list = rs(&scene, "rs-server", &["list", "web 3"]).exits(0);
    let args = ["server", "--name", "web %n", "--to", "2", "--as", "new", "--with-original"];
    let ran = piped(&scene, &list, "rs-clone", &args).exits(0);
    let names: Vec<_> = ran.records().iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["web 3", "web 5"], "{ran}");
}

#[test]
fn a_clone_that_still_shares_with_production_does_not_launch() {
    let scene = site("clone-isolated");
    let args = ["server", "web 1", "--name", "bare", "--as", "new"];
    let bare = rs(&scene, "rs-clone", &args).exits(0).says("LB_HOSTNAME");
    piped(&scene, &bare, "rs-inputs", &["check", "--require"]).exits(3).says("LB_APPLISTENER_NAME");
    piped(&scene, &bare, "rs-server", &["launch"]).exits(5).says("LB_HOSTNAME");
    let half = ["set", "--on", "bare", "LB_HOSTNAME=text:test.example"];
    rs(&scene, "rs-inputs", &half).exits(0);
    rs(&scene, "rs-server", &["launch", "bare"]).exits(5).says("LB_APPLISTENER_NAME");
    rs(&scene, "rs-inputs", &["set", "--on", "bare", "LB_APPLISTENER_NAME=text:test"]).exits(0);
    rs(&scene, "rs-server", &["launch", "bare"]).exits(0);
    // a clone of the isolated clone shares with its original, which is no production
    let args = ["server", "bare", "--name", "second", "--as", "new"];
    let second = rs(&scene, "rs-clone", &args).exits(0);
    piped(&scene, &second, "rs-server", &["launch"]).exits(0);
    let pack =
        rs(&scene, "rs-clone", &["array", "pack", "--name", "pack 2", "--as", "new"]).exits(0);
    piped(&scene, &pack, "rs-server", &["launch", "--to", "1"]).exits(5).says("pack 2");
    // said on purpose, and said right
    let slip = ["server", "web 1", "--name", "meant", "--tag", "isolation.shares=LB_HOSTNAME"];
    let slip = rs(&scene, "rs-clone", &slip).exits(2);
    let _ = slip.says("isolation.shares=LB_HOSTNAME").says("application:active_www=true");
    let shares = ["LB_HOSTNAME", "LB_APPLISTENER_NAME"].map(|n| format!("isolation:shares={n}"));
    let args = [
        "server", "web 1", "--name", "meant", "--as", "new", "--tag", &shares[0], "--tag",
        &shares[1],
    ];
    let meant = rs(&scene, "rs-clone", &args).exits(0);
    piped(&scene, &meant, "rs-server", &["launch"]).exits(0);
}

#[test]
fn arrays_are_cloned_disabled_and_without_marks_of_other_runs() {
    let scene = site("clone-array");
    rs(&scene, "rs-server", &["enable", "pack"]).exits(0);
    rs(&scene, "rs-server", &["mark", "old", "pack"]).exits(0);
    let args = [
        &["array", "pack", "--name", "pack 2", "--drop-tag", "application:active_shop=true"][..],
        &ISOLATED,
    ]
    .concat();
    for changed in [true, false] {
        let ran = rs(&scene, "rs-clone", &args).exits(0);
        let array = ran.record();
        assert_eq!(array["did"][0]["changed"], changed, "{ran}");
        assert_eq!((&array["enabled"], &array["minimum"]), (&json!(false), &json!(1)), "{ran}");
        assert_eq!(array["tags"], json!([]), "{ran}");
    }
    let other = ["array", "pack", "--name", "pack 2", "--set", "LB_HOSTNAME=text:another"];
    rs(&scene, "rs-clone", &other).exits(5).says("another LB_HOSTNAME");
}

#[test]
fn the_inputs_of_the_running_instance_can_be_taken() {
    let scene = site("clone-current");
    rs(&scene, "rs-server", &["launch", "web 1"]).exits(0);
    rs(&scene, "rs-inputs", &["set", "--on", "web 1", "--current", "RELEASE=text:two"]).exits(0);
    let next = rs(&scene, "rs-clone", &["server", "web 1", "--name", "a"]).exits(0).says("RELEASE");
    assert_eq!(next.record()["next"], json!({}), "{next}");
    let args = ["server", "web 1", "--name", "b", "--from", "current"];
    let current = rs(&scene, "rs-clone", &args).exits(0);
    assert_eq!(current.record()["next"], json!({"RELEASE": "text:two"}), "{current}");
    let args = ["server", "web 2", "--name", "c", "--from", "current"];
    rs(&scene, "rs-clone", &args).exits(5).says("no current instance");
}

#[test]
fn wrong_input_is_refused_before_anything_is_made() {
    let scene = site("clone-wrong");
    rs(&scene, "rs-server", &["launch", "pack", "--to", "1"]).exits(0);
    let before = all(&scene);
    for (args, exit, part) in [
        (&["server", "web 1", "--name", "web 2"][..], 5, "no clone of it"),
        (&["server", "web 1", "--name", "pack"], 5, "array"),
        (&["array", "pack", "--name", "web 1"], 5, "server"),
        (&["server", "web 1", "--name", "a\nb"], 2, "control"),
        (&["server", "web 1", "--name", ""], 2, "empty"),
        (&["server", "web 1", "--name", "x", "--to", "2"], 2, "%n"),
        (&["server", "web 1", "--name", "x %n", "--to", "0"], 2, "--to 0"),
        (&["server", "web 1", "web 2", "--name", "x"], 2, "%s"),
        (&["server", "web 9", "--name", "x"], 4, "web 9"),
        (&["server", "pack", "--name", "x"], 2, "rs-clone array"),
        (&["server", "pack #1", "--name", "x"], 2, "instance"),
        (&["server", "elsewhere", "--name", "x"], 5, "elsewhere"),
        (&["server", "web 1", "--name", "x", "--set", "UNKNOWN=text:x"], 2, "--create"),
        (&["server", "web 1", "--name", "x", "--set", "RELEASE=two"], 2, "text:two"),
        (&["server", "web 1", "--name", "x", "--template", "Nobody"], 4, "Nobody"),
        (&["server", "web 1", "--name", "x", "--template", "Web@9"], 4, "9"),
        (&["server", "web 1", "--name", "x", "--as", "younger"], 2, "younger"),
        (&["deployment", "shop", "--name", "shop"], 2, "original's name"),
        (&["deployment", "nobody", "--name", "x"], 4, "nobody"),
    ] {
        let ran = rs(&scene, "rs-clone", args).exits(exit).says(part);
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    assert_eq!(all(&scene), before);
    let ran = rs(&scene, "rs-clone", &["server", ODD, "--name", "%s (2)"]).exits(0);
    assert_eq!(ran.record()["name"], format!("{ODD} (2)"), "{ran}");
    assert!(!scene.path("pwned").exists());
}

#[test]
fn a_deployment_is_cloned_only_when_nothing_tells_it_for_the_original() {
    let scene = site("clone-deployment");
    rs(&scene, "rs-server", &["launch", "web 1"]).exits(0);
    let short = ["deployment", "shop", "--name", "stage"];
    let refused = rs(&scene, "rs-clone", &short).exits(5);
    for part in ["LB_HOSTNAME", "LB_APPLISTENER_NAME", "Root", "Addresses", "elsewhere"] {
        assert!(refused.stderr.contains(part), "{part}\n{refused}");
    }
    let near = ["--root", "stage", "--addresses", &format!("{}.64/26", scene.net)];
    rs(&scene, "rs-clone", &[&short[..], &near].concat()).exits(5).says("Addresses");
    let (root, addresses) = (scene.text("stage"), format!("{}.128/25", scene.net));
    let whole = [
        &short[..],
        &["--root", "stage", "--addresses", &addresses, "--without", "elsewhere"],
        &["--set", "LB_HOSTNAME=text:stage.example", "--set", "LB_APPLISTENER_NAME=text:stage"],
    ]
    .concat();
    let dry = rs(&scene, "rs-clone", &[&whole[..], &["--dry-run"]].concat()).exits(0);
    assert!(dry.records().iter().all(|r| r["planned"] == true), "{dry}");
    for changed in [true, false] {
        let ran = rs(&scene, "rs-clone", &whole).exits(0);
        assert!(ran.records().iter().all(|r| r["did"][0]["changed"] == changed), "{ran}");
        let web = &ran.by_name()["web 1"];
        assert_eq!((&web["deployment"], &web["state"]), (&json!("stage"), &json!("inactive")));
        assert_eq!(web["tags"], json!(["application:active_stage=true"]), "{ran}");
        assert_eq!(ran.by_name()["stage"]["machines"]["Local"]["Root"], json!(root), "{ran}");
    }
    let launched = rs(&scene, "rs-server", &["launch", "web 1", "--deployment", "stage"]).exits(0);
    let address = launched.record()["address"].as_str().unwrap().to_owned();
    assert!(address.rsplit('.').next().unwrap().parse::<u8>().unwrap() >= 128, "{launched}");
    // a value that holds the address of the original's server
    let ours =
        rs(&scene, "rs-server", &["list", "web 1", "--deployment", "shop"]).exits(0).record();
    let peer = format!("PEER=text:http://{}:80/", ours["address"].as_str().unwrap());
    let set = ["set", "--deployment-level", &peer, "--deployment", "shop"];
    rs(&scene, "rs-inputs", &set).exits(0);
    let mut third = whole.clone();
    third[3] = "third";
    rs(&scene, "rs-clone", &third).exits(5).says("PEER");
}

#[test]
fn what_is_made_for_the_upgrade_only_is_owed_until_it_is_gone() {
    let scene = site("clone-temp");
    let args = ["server", "balancer", "--name", "third", "--as", "temp"];
    rs(&scene, "rs-clone", &[&args[..], &ISOLATED].concat()).exits(0);
    let audit = rs(&scene, "rs-cleanup", &["audit"]).exits(3).says("rs-cleanup plan");
    assert_eq!(
        (&audit.record()["key"], &audit.record()["world"]),
        (&"temp:third".into(), &"open".into())
    );
    rs(&scene, "rs-server", &["mark", "new", "third"]).exits(0);
    assert_eq!(rs(&scene, "rs-cleanup", &["audit"]).exits(0).record()["world"], "settled");
    rs(&scene, "rs-server", &["mark", "temp", "third"]).exits(0);
    let plan = rs(&scene, "rs-cleanup", &["plan", "third"]).exits(0);
    let plan = scene.file("plan", &plan.stdout);
    rs(&scene, "rs-cleanup", &["retire", "--plan", &plan, "--delete"]).exits(0);
    assert!(rs(&scene, "rs-cleanup", &["audit"]).exits(0).stdout.is_empty());
}
