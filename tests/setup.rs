//! The set-up and the checks of the rooms: that they say what is wrong, and that they find it.

use std::process::Command;
use std::time::{Duration, Instant};

use rs_tests::{Scene, root};

/// Twice costs nothing: it must not stand in the way of people who type `make test` all day.
#[test]
fn what_is_there_is_not_fetched_again() {
    let scene = Scene::new("setup-twice");
    scene
        .script("scripts/setup.sh")
        .args(["servers"])
        .limit(Duration::from_secs(300))
        .run()
        .exits(0);
    // With an apt that fails: the second run must not call it.
    let bin = scene.file("bin/apt-get", "#!/bin/sh\necho called >>\"$0.log\"\nexit 100\n");
    executable(&bin);
    let path = format!("{}:{}", scene.text("bin"), scene.search_path());
    let begun = Instant::now();
    scene.script("scripts/setup.sh").args(["servers"]).env("PATH", &path).run().exits(0);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(!scene.path("bin/apt-get.log").exists(), "apt was called");
}

/// Where the newer engines cannot be fetched their tests are counted as ignored, and CI fails.
#[test]
fn newer_engines_that_cannot_be_fetched_are_told_in_one_line_and_fail_ci() {
    let scene = Scene::new("setup-newer");
    // short: sockets of servers lie below it
    let folder = std::env::temp_dir().join(format!("rs-newer-{}", std::process::id()));
    let setup = |engines: Option<&str>| {
        let call = scene
            .script("scripts/setup.sh")
            .args(["newer"])
            .env("RS_DEMO_DIR", folder.display().to_string())
            .env("ENGINES_MIRROR", "http://127.0.0.1:9");
        match engines {
            Some(word) => call.env("RS_ENGINES", word).run(),
            None => call.run(),
        }
    };
    let ran = setup(None).exits(0).says("their tests will be ignored");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    assert_eq!(setup(Some("none")).exits(0).stderr, "");
    let ran = setup(Some("required")).exits(7).says("mysql-server-core");
    assert!(!ran.stderr.contains("tests will be ignored"), "{ran}");
    setup(Some("sometimes")).exits(2);
    std::fs::remove_dir_all(&folder).unwrap();
    // and that is how CI asks
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let (before, after) = ci.split_once("export RS_ENGINES=required").unwrap();
    assert!(!before.contains("make test") && after.contains("make test"), "{ci}");
}

#[test]
fn wrong_words_and_folders_are_usage_errors() {
    let scene = Scene::new("setup-usage");
    let setup = || scene.script("scripts/setup.sh");
    let ran = setup().args(["serverz"]).run().exits(2);
    assert!(ran.stderr.contains("serverz"), "{}", ran.stderr);
    setup().args(["engines", "oracle"]).run().exits(2);
    setup().args(["build", "more"]).run().exits(2);
    setup().run().exits(2);
    for folder in ["/tmp/with blank", "/tmp/$(reboot)", "/tmp/a;b"] {
        let ran = setup().args(["place"]).env("RS_DEMO_DIR", folder).run().exits(2);
        assert!(ran.stderr.contains("servers cannot take"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

/// Who says where the demo is to be gets it there; else it may be in memory.
#[test]
fn a_folder_in_memory_is_offered_where_none_is_asked_for() {
    let scene = Scene::new("setup-memory");
    let setup = || scene.script("scripts/setup.sh");
    let given = setup().args(["memory"]).env("RS_DEMO_DIR", "/var/tmp/given").run().exits(0);
    assert_eq!(given.stdout, "/var/tmp/given\n");
    let place = setup().args(["place"]).without("RS_DEMO_DIR").run().exits(0).stdout;
    let memory = setup().args(["memory"]).without("RS_DEMO_DIR").run().exits(0).stdout;
    assert!(memory == place || memory.starts_with("/dev/shm/rs-demo-"), "{memory}");
}

/// A checkout where servers cannot live gets another folder, the same one each time.
#[test]
fn a_checkout_that_is_too_deep_has_its_demo_elsewhere() {
    let scene = Scene::new("setup-deep");
    let checkout = scene.text(&"deep/".repeat(12));
    std::fs::create_dir_all(format!("{checkout}/scripts")).unwrap();
    std::fs::copy(root().join("scripts/setup.sh"), format!("{checkout}/scripts/setup.sh")).unwrap();
    let place = || {
        let call = scene.call(&format!("{checkout}/scripts/setup.sh"), "setup.sh");
        call.without("RS_DEMO_DIR").args(["place"]).run().exits(0).stdout
    };
    let first = place();
    assert!(first.starts_with("/var/tmp/rs-demo-"), "{first}");
    assert_eq!(first, place());
    std::fs::remove_dir(first.trim_end()).unwrap();
}

/// Every rule of the rooms finds its breach. One tree per rule, with nothing else in it.
#[test]
fn each_breach_of_a_room_is_found() {
    let breaches = [
        ("junk", "", "the top level holds rooms only"),
        (
            "shared/cli/Cargo.toml",
            "[dependencies]\nrs-drivers.workspace = true\n",
            "may not use rs-drivers",
        ),
        (
            "shared/cli/Cargo.toml",
            "[dependencies]\nserde = \"1.0\"\n",
            "versions stand in the workspace",
        ),
        ("shared/new/Cargo.toml", "[package]\n", "a new room"),
        ("shared/model/src/a.rs", "fn a() { std::fs::read(\"x\"); }\n", "the model does no I/O"),
        ("shared/model/src/a.rs", "fn a() { SystemTime::now(); }\n", "the model does no I/O"),
        (
            "shared/drivers/src/hook/a.rs",
            "fn a() { println!(\"x\"); }\n",
            "libraries print nothing",
        ),
        (
            "shared/drivers/src/hook/a.rs",
            "fn a() { \"SHOW SLAVE STATUS\"; }\n",
            "only shared/drivers/src/mysql",
        ),
        (
            "tools/rs-one/src/a.rs",
            "fn a() { \"set server a/b\"; }\n",
            "only shared/drivers/src/haproxy",
        ),
        (
            "shared/drivers/src/hook/a.rs",
            "fn a() { crate::mysql::x(); }\n",
            "does not use another's",
        ),
        ("scripts/steps/18-a.sh", "rs-run 'Master DB'\n", "the demo is known in scripts/demo only"),
        ("scripts/steps/18-a.sh", "mariadb -e x\n", "a step uses our tools only"),
        ("Makefile", "x:\n\trs-one\n", "found by the glob and named nowhere"),
        ("tools/rs-one/src/a.rs", &"fn a() {}\n".repeat(701), "more than 700 lines"),
    ];
    let scene = Scene::new("rooms");
    for (number, (file, content, expected)) in breaches.iter().enumerate() {
        let ran = tree(&scene, &format!("tree-{number}"), Some((file, content))).exits(1);
        assert!(
            ran.stderr.contains(expected) && ran.stderr.contains(file),
            "{expected}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains("check.sh: 1 faults"), "{}", ran.stderr);
    }
    tree(&scene, "whole", None).exits(0);
}

/// Runs the check over a small tree of all rooms, with one file put into it.
fn tree(scene: &Scene, name: &str, put: Option<(&str, &str)>) -> rs_tests::Ran {
    let words = "// SHOW SLAVE STATUS, in a comment\n#[cfg(test)]\nmod tests { fn a() { println!(\"x\"); } }\n";
    scene.file(&format!("{name}/shared/model/src/lib.rs"), words);
    for room in [
        "shared/model",
        "shared/drivers/src/hook",
        "shared/drivers/src/mysql",
        "tools/rs-one",
        "tests",
    ] {
        scene.file(&format!("{name}/{room}/Cargo.toml"), "");
    }
    for file in ["scripts/steps/01-a.sh", ".ci/run", "Makefile", "Cargo.toml"] {
        scene.file(&format!("{name}/{file}"), "# the Master DB of rs-two\n");
    }
    for room in ["records", "contract"] {
        scene.file(&format!("{name}/shared/{room}/src/lib.rs"), "");
    }
    // the demo's names are read from it
    for folder in ["docs", "scripts/templates"] {
        scene.file(&format!("{name}/{folder}/.keep"), "");
    }
    let copy = [("scripts/demo", "scripts"), ("docs/SITE.md", "docs")];
    for (from, to) in copy {
        let from = root().join(from).display().to_string();
        scene
            .call("cp", "cp")
            .args(["-r", &from, &scene.text(&format!("{name}/{to}"))])
            .run()
            .exits(0);
    }
    if let Some((file, content)) = put {
        scene.file(&format!("{name}/{file}"), content);
    }
    let check = scene.text(&format!("{name}/scripts/check.sh"));
    std::fs::copy(root().join("scripts/check.sh"), &check).unwrap();
    let made = Command::new("git").args(["init", "-q", &scene.text(name)]).status().unwrap();
    assert!(made.success());
    scene.call(&check, "check.sh").args(["rooms"]).run()
}

fn executable(path: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
