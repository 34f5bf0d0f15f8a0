//! `rs-inputs`: values, where they come from, and how they change.

use rs_tests::Scene;
use serde_json::Value as Json;

use super::small_site::{ISOLATED, ODD, all, debts, piped, rs, settled_only_by, site};

#[test]
fn every_value_says_where_it_comes_from_and_secrets_show_a_digest_only() {
    let scene = site("inputs-show");
    let ran = rs(&scene, "rs-inputs", &["show", "web 1", ODD]).exits(0);
    let of = |server: &str, name: &str| -> Json {
        let fits = |r: &Json| r["server"] == server && r["name"] == name;
        ran.records().into_iter().find(fits).unwrap_or_else(|| panic!("{server} {name}\n{ran}"))
    };
    for (name, value, from) in [
        ("GREETING", "text:hello", "template"),
        ("RELEASE", "text:one", "deployment"),
        ("AT_BOOT", "text:true", "script"),
    ] {
        assert_eq!(
            (&of("web 1", name)["value"], &of("web 1", name)["from"]),
            (&value.into(), &from.into())
        );
        assert_eq!(of("web 1", name)["level"], "next", "nothing is launched\n{ran}");
    }
    assert_eq!(of(ODD, "PASSWORD")["value"], "cred:SAME");
    assert_eq!(
        of(ODD, "PASSWORD")["digest"],
        of("web 1", "PASSWORD")["digest"],
        "equal secrets\n{ran}"
    );
    assert!(
        !ran.stdout.contains("s3cret") && of("web 1", "PASSWORD")["digest"].is_string(),
        "{ran}"
    );
    let blind = super::small_site::call(&scene, "rs-inputs", &["show", "web 1"]);
    let blind = blind.env("RS_CREDENTIALS", "/nowhere").run().exits(0);
    assert!(!blind.stdout.contains("digest") && blind.stdout.contains("cred:PASSWORD"), "{blind}");
    rs(&scene, "rs-inputs", &["show", "--all", "--input", "NOBODY"]).exits(4).says("NOBODY");
    rs(&scene, "rs-inputs", &["show", "web 3"]).exits(4).says("web 3");
    let launched = rs(&scene, "rs-server", &["launch", "web 1"]).exits(0);
    let ran = piped(&scene, &launched, "rs-inputs", &["show", "--current", "--input", "RELEASE"])
        .exits(0);
    assert_eq!(ran.record()["level"], "current", "{ran}");
}

#[test]
fn set_and_unset_change_once_and_a_dry_run_changes_nothing() {
    let scene = site("inputs-set");
    let before = all(&scene);
    let dry = rs(&scene, "rs-inputs", &["set", "--on", "web 1", "RELEASE=text:two", "--dry-run"])
        .exits(0);
    assert_eq!(
        (&dry.record()["planned"], &dry.record()["next"]["RELEASE"]),
        (&true.into(), &"text:two".into())
    );
    assert_eq!(all(&scene), before, "a dry run leaves the world as it is");
    let value = r#"RELEASE=text:it's; $(touch pwned) "x""#;
    for changed in [true, false] {
        let ran = rs(&scene, "rs-inputs", &["set", "--on", "web 1", value]).exits(0);
        assert_eq!(ran.record()["did"][0]["changed"], changed, "{ran}");
        assert_eq!(ran.record()["next"]["RELEASE"], value[8..], "{ran}");
    }
    for changed in [true, false] {
        let ran = rs(&scene, "rs-inputs", &["unset", "--on", "web 1", "RELEASE"]).exits(0);
        assert_eq!(ran.record()["did"][0]["changed"], changed, "{ran}");
    }
    for changed in [true, false] {
        let args = ["set", "--deployment-level", "RELEASE=text:two"];
        let ran = rs(&scene, "rs-inputs", &args).exits(0);
        assert_eq!(ran.record()["did"][0]["changed"], changed, "{ran}");
        assert_eq!(ran.record()["schema"], "rs.deployment/1");
        // there may be several deployments when it is needed
        let undo = ran.record()["did"][0]["undo"].as_str().unwrap_or_default().to_owned();
        assert_eq!(undo.contains(" --deployment "), changed, "{ran}");
    }
    let undo = rs(&scene, "rs-inputs", &["set", "--on", ODD, "GREETING=text:you"]).exits(0);
    let undo = undo.record()["did"][0]["undo"].as_str().unwrap().to_owned();
    let ran = scene.call("bash", "bash").args(["-c", &undo]).run().exits(0);
    assert_eq!(
        ran.record()["next"]["GREETING"],
        Json::Null,
        "the undo is a command that runs\n{ran}"
    );
    assert!(!scene.path("pwned").exists());
}

#[test]
fn wrong_input_is_refused_before_anything_is_done() {
    let scene = site("inputs-wrong");
    let before = all(&scene);
    for (args, exit, part) in [
        (&["set", "--on", "web 1", "RELEASE=two"][..], 2, "text:two"),
        (&["set", "--on", "web 1", "RELEASE"], 2, "NAME=TYPE:VALUE"),
        (&["set", "--on", "web 1", "A B=text:x"], 2, "A B"),
        (&["set", "--on", "web 1", "--create", "LD_PRELOAD=text:x"], 2, "the process's own"),
        (&["set", "--on", "web 1", "UNKNOWN=text:x"], 2, "--create"),
        (&["set", "--deployment-level", "UNKNOWN=text:x"], 2, "--create"),
        (&["set", "--on", "web 1", "RELEASE=text:a", "RELEASE=text:b"], 2, "twice"),
        (&["set", "--on", "web 1", "--current", "RELEASE=text:a"], 5, "no current instance"),
        (&["set", "--on", "web 1", "--on", "web 9", "RELEASE=text:a"], 4, "web 9"),
        (&["set", "RELEASE=text:a"], 2, "nothing came in"),
        (&["copy", "--on", "web 1", "--from", "next", "--to", "current", "UNKNOWN"], 2, "UNKNOWN"),
        (&["copy", "--on", "web 1", "--from", "next", "--to", "next", "RELEASE"], 2, "same level"),
        (&["unset", "--on", "web 1", "$(touch pwned)"], 2, "pwned"),
        (
            &["promote", "--on", "web 1", "--promote", "RELEASE", "--also-affects", "web 9"],
            4,
            "web 9",
        ),
    ] {
        let ran = rs(&scene, "rs-inputs", args).exits(exit).says(part);
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    for (stdin, part) in [
        ("{\"schema\":\"rs.server/1\",\"deployment\":\"shop\",\"name\":\"web 1\"}\nx\n", "line 2"),
        ("{\"schema\":\"rs.server/2\",\"name\":\"web 1\"}\n", "rs.server/1"),
        (
            "{\"schema\":\"rs.server/1\",\"deployment\":\"shop\",\"name\":\"web 1\",\"did\":[{\"error\":\"no\"}]}\n",
            "failed",
        ),
    ] {
        let call = scene.tool("rs-inputs").args(["set", "RELEASE=text:a"]).stdin(stdin);
        call.run().exits(2).says(part);
    }
    assert_eq!(all(&scene), before);
    let none = scene.tool("rs-inputs").args(["set", "RELEASE=text:a", "--allow-none"]).stdin("");
    assert!(none.run().exits(0).stdout.is_empty());
    rs(&scene, "rs-inputs", &["set", "--on", "web 1", "--create", "UNKNOWN=text:x"]).exits(0);
}

#[test]
fn a_check_names_everything_that_is_missing_and_a_gate_passes_subjects_on() {
    let scene = site("inputs-check");
    rs(&scene, "rs-inputs", &["check", "web 1"]).exits(0);
    let list = rs(&scene, "rs-server", &["list", "web 1", "pack"]).exits(0);
    let passed =
        piped(&scene, &list, "rs-inputs", &["check", "--require", "--phase", "boot"]).exits(0);
    assert_eq!(passed.stdout, list.stdout, "subjects go on as they came");
    rs(&scene, "rs-inputs", &["unset", "--deployment-level", "RELEASE", "LB_HOSTNAME"]).exits(0);
    let ran = rs(&scene, "rs-inputs", &["check", "web 1"]).exits(3);
    let missing = ran.records().into_iter().find(|r| r["name"] == "required inputs").unwrap();
    assert_eq!(missing["answer"], "no", "{ran}");
    assert_eq!(missing["facts"]["missing"], serde_json::json!(["LB_HOSTNAME", "RELEASE"]), "{ran}");
    let gate = rs(&scene, "rs-inputs", &["check", "web 1", "--require", "--json"]).exits(3);
    assert!(gate.stdout.is_empty(), "{gate}");
    let error: Json = serde_json::from_str(gate.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(error["found"][0]["schema"], "rs.check/1", "{gate}");
    rs(&scene, "rs-inputs", &["check", "web 1", "--phase", "decommission"]).exits(0);
    rs(&scene, "rs-inputs", &["check", "web 1", "--phase", "never"]).exits(2);
    // env: of a server that is not launched, or not there
    rs(&scene, "rs-inputs", &["set", "--deployment-level", "RELEASE=text:1", "LB_HOSTNAME=text:x"])
        .exits(0);
    rs(&scene, "rs-inputs", &["check", ODD]).exits(3).says("not launched");
    rs(&scene, "rs-server", &["launch", "web 1"]).exits(0);
    rs(&scene, "rs-inputs", &["check", ODD]).exits(0);
    rs(&scene, "rs-inputs", &["set", "--on", "web 2", "PEER=env:nobody:PRIVATE_IP"]).exits(0);
    rs(&scene, "rs-inputs", &["check", "web 2"]).exits(3).says("\"nobody\"");
    rs(&scene, "rs-inputs", &["set", "--on", "web 2", "PEER=env:PRIVATE_1P"]).exits(0);
    rs(&scene, "rs-inputs", &["check", "web 2"]).exits(3).says("PRIVATE_1P");
}

#[test]
fn an_override_during_a_run_is_a_debt_until_it_is_gone() {
    let scene = site("inputs-debt");
    rs(&scene, "rs-server", &["launch", "web 1"]).exits(0);
    for _ in 0..2 {
        let args =
            ["set", "--on", "web 1", "--next", "--current", "--temporary", "RELEASE=text:two"];
        rs(&scene, "rs-inputs", &args).exits(0);
    }
    let owed = debts(&scene);
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0].key, "input:web 1/RELEASE");
    let inverse: Vec<&str> = owed[0].inverse.iter().skip(1).map(String::as_str).collect();
    let ran = rs(&scene, "rs-inputs", &inverse).exits(0);
    assert_eq!(ran.record()["next"], serde_json::json!({}), "{ran}");
    assert!(debts(&scene).is_empty(), "the inverse settles it");
    // current keeps what it has until it is copied
    assert_eq!(ran.record()["current"]["inputs"]["RELEASE"]["value"], "text:two", "{ran}");
    let copy = ["copy", "--on", "web 1", "--from", "next", "--to", "current", "RELEASE"];
    for changed in [true, false] {
        let ran = rs(&scene, "rs-inputs", &copy).exits(0);
        let now = &ran.record()["current"]["inputs"]["RELEASE"];
        assert_eq!(
            (&now["value"], &now["from"]),
            (&"text:one".into(), &"deployment".into()),
            "{ran}"
        );
        assert_eq!(ran.record()["did"][0]["changed"], changed, "{ran}");
    }
    what_is_unset_at_current_shows_the_level_below(&scene);
    // one that is cut off is repeated by one of the same input at the same level, whatever the value
    let set = |args: &[&'static str]| [&["rs-inputs", "set", "--on", "web 1"][..], args].concat();
    for (cut, other) in [
        (set(&["GREETING=text:a"]), set(&["RELEASE=text:a"])),
        (set(&["GREETING=text:b"]), set(&["--current", "GREETING=text:b"])),
    ] {
        rs(&scene, cut[0], &cut[1..]).exits(0);
        settled_only_by(&scene, &other, &set(&["GREETING=text:c"]));
    }
    rs(&scene, "rs-inputs", &["set", "--deployment-level", "RELEASE=text:a"]).exits(0);
    let level = |name| ["rs-inputs", "unset", "--deployment-level", name];
    settled_only_by(&scene, &level("LB_HOSTNAME"), &level("RELEASE"));
}

/// `web 1` is launched and runs with the deployment's release.
fn what_is_unset_at_current_shows_the_level_below(scene: &Scene) {
    let on = |args: &[&str]| {
        let at = [&args[..1], &["--on", "web 1", "--current"], &args[1..]].concat();
        rs(scene, "rs-inputs", &at)
    };
    let now = |name: &str| -> (Json, Json) {
        let found = rs(scene, "rs-server", &["list", "web 1"]).exits(0).record();
        let value = &found["current"]["inputs"][name];
        (value["value"].clone(), value["from"].clone())
    };
    let so = |value: &str, from: &str| -> (Json, Json) { (value.into(), from.into()) };
    let undo = |record: &Json| {
        let line = record["did"][0]["undo"].as_str().unwrap();
        scene.call("bash", "bash").args(["-c", line]).run().exits(0);
    };
    for (name, value, from) in [
        ("RELEASE", "text:one", "deployment"),
        ("GREETING", "text:hello", "template"),
        ("AT_BOOT", "text:true", "script"),
    ] {
        on(&["set", &format!("{name}=text:own")]).exits(0);
        on(&["unset", name, "--dry-run"]).exits(0);
        assert_eq!(now(name), so("text:own", "current"));
        let record = on(&["unset", name]).exits(0).record();
        assert_eq!(now(name), so(value, from), "{record}");
        assert_eq!(record["did"][0]["after"]["current"][name], value, "{record}");
        assert_eq!(on(&["unset", name]).exits(0).record()["did"][0]["changed"], false);
        undo(&record);
        assert_eq!(now(name), so("text:own", "current"), "{record}");
        on(&["unset", name]).exits(0);
    }
    // nothing below: an optional one is gone, a required one stays
    let record = on(&["set", "PEER=text:x"]).exits(0).record();
    on(&["unset", "PEER"]).exits(0);
    assert_eq!(now("PEER"), (Json::Null, Json::Null));
    on(&["set", "PEER=text:x"]).exits(0);
    undo(&record);
    assert_eq!(now("PEER").0, "ignore", "no script saw one");
    on(&["unset", "PEER"]).exits(0);
    let level = |verb: &str, args: &[&str]| {
        rs(scene, "rs-inputs", &[&[verb, "--deployment-level"], args].concat()).exits(0);
    };
    level("unset", &["RELEASE", "LB_HOSTNAME"]);
    let ran = on(&["unset", "RELEASE", "LB_HOSTNAME", "GREETING"]).exits(5);
    let ran = ran.says("LB_HOSTNAME, RELEASE of \"web 1\"");
    assert!(ran.stdout.is_empty(), "{ran}");
    assert_eq!(now("RELEASE"), so("text:one", "deployment"));
    level("set", &["RELEASE=text:one", "LB_HOSTNAME=text:shop.example"]);
}

#[test]
fn a_promotion_makes_the_release_the_deployment_s_and_refuses_what_would_hurt() {
    let scene = site("inputs-promote");
    rs(&scene, "rs-server", &["launch", "web 1", "balancer"]).exits(0);
    let clone = |args: &[&str]| rs(&scene, "rs-clone", &[args, &ISOLATED[..]].concat()).exits(0);
    let new = clone(&["server", "web 1", "--name", "new %n", "--to", "2", "--as", "new"]);
    let temp = clone(&["server", "balancer", "--name", "test", "--as", "temp"]);
    piped(&scene, &temp, "rs-server", &["launch"]).exits(0);
    let up = piped(&scene, &new, "rs-server", &["launch"]).exits(0);
    let release = ["set", "--next", "--current", "--temporary", "RELEASE=text:two"];
    piped(&scene, &up, "rs-inputs", &release).exits(0);
    let pack =
        clone(&["array", "pack", "--name", "pack 2", "--as", "new", "--set", "RELEASE=text:two"]);
    piped(&scene, &pack, "rs-server", &["launch", "--to", "1"]).exits(0);
    let before = all(&scene);
    let promote = |more: &[&str]| {
        let list = rs(&scene, "rs-server", &["list", "--as", "new"]).exits(0);
        let fixed =
            ["promote", "--promote", "RELEASE", "--drop", "LB_HOSTNAME,LB_APPLISTENER_NAME"];
        piped(&scene, &list, "rs-inputs", &[&fixed[..], more].concat())
    };
    promote(&[]).exits(5).says("cannot be dropped yet");
    assert_eq!(all(&scene), before, "declined: nothing has been done");
    let names = ["LB_HOSTNAME", "LB_APPLISTENER_NAME"];
    let list = rs(&scene, "rs-server", &["list", "--as", "new"]).exits(0);
    let unset = piped(&scene, &list, "rs-inputs", &[&["unset"][..], &names].concat()).exits(0);
    let copy = ["copy", "--from", "next", "--to", "current"];
    piped(&scene, &unset, "rs-inputs", &[&copy[..], &names].concat()).exits(0);
    promote(&[]).exits(5).says("\"web 1\"").says("also affected");
    let others = ["web 1", "web 2", "balancer", "test", ODD, "pack"];
    let also: Vec<&str> = others.iter().flat_map(|name| ["--also-affects", name]).collect();
    let on = |more: &[&str]| rs(&scene, "rs-inputs", more).exits(0);
    on(&["set", "--on", "new 1", "--current", "RELEASE=text:three"]);
    promote(&also).exits(5).says("text:three");
    on(&["set", "--on", "new 1", "--on", "new 2", "--on", "pack 2", "--next", "RELEASE=text:test"]);
    on(&[
        "set",
        "--on",
        "new 1",
        "--on",
        "new 2",
        "--on",
        "pack 2 #1",
        "--current",
        "RELEASE=text:test",
    ]);
    promote(&also).exits(5).says("temporary balancer");
    on(&["set", "--on", "new 1", "--on", "new 2", "--on", "pack 2", "--next", "RELEASE=text:two"]);
    on(&[
        "set",
        "--on",
        "new 1",
        "--on",
        "new 2",
        "--on",
        "pack 2 #1",
        "--current",
        "RELEASE=text:two",
    ]);
    let dry = promote(&[&also[..], &["--dry-run"]].concat()).exits(0);
    assert!(dry.records().iter().any(|r| r["planned"] == true), "{dry}");
    assert!(on(&["show", "--deployment-level", "--input", "RELEASE"]).stdout.contains("text:one"));
    let done = promote(&also).exits(0);
    for record in done.records() {
        // what the array's original has too is nothing of the release
        let left = if record["name"] == "pack 2" { "text:pack".into() } else { Json::Null };
        assert_eq!(record["next"]["GREETING"], left, "{done}");
        assert_eq!(record["next"]["RELEASE"], Json::Null, "no override is left\n{done}");
    }
    assert!(on(&["show", "--deployment-level", "--input", "RELEASE"]).stdout.contains("text:two"));
    let owed = debts(&scene);
    assert!(owed.iter().all(|debt| debt.kind != "input"), "the overrides were debts: {owed:?}");
    let again = promote(&also).exits(0);
    assert!(again.records().iter().all(|r| r["did"][0]["changed"] == false), "{again}");
    for changed in [true, false] {
        let back = on(&["promote", "--undo"]);
        assert_eq!(back.record()["did"][0]["changed"], changed, "{back}");
        assert_eq!(back.record()["inputs"]["RELEASE"], "text:one", "{back}");
    }
}
