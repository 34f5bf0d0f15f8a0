//! Calls as a tired operator makes them: each says what is wrong, on what, and what to write instead.

use rs_tests::{Ran, Scene};

use super::small_site::{self, all, piped, rs};
use super::verbs::all_verbs;

#[test]
fn every_verb_names_the_wrong_flag_and_the_missing_argument_and_where_to_read_on() {
    let scene = Scene::new("usage-verbs");
    let mut needy = 0;
    for verb in all_verbs() {
        let call = [vec![verb.tool.clone()], verb.words.clone()].concat().join(" ");
        let run = |more: &[&str]| {
            let args = verb.words.iter().map(String::as_str).chain(more.iter().copied());
            let ran = scene.tool(&verb.tool).args(args).run().exits(2);
            // what the parser says to programmers is nothing for a person at night
            for noise in ["tip:", "For more information", "error:", "panicked", "\n\n"] {
                assert!(!ran.stderr.contains(noise), "{noise}\n{ran}");
            }
            ran.says(&format!("{call} --help"))
        };
        run(&["--jbos", "2"]).says("--jbos").says("did you mean --jobs");
        run(&["--timeout", "soon"]).says("soon").says("write 90s");
        run(&["--jobs", "many"]).says("many").says("--jobs");
        run(&["--deployment"]).says("--deployment").says("needs a value");
        let usage = verb.help.lines().find_map(|l| l.strip_prefix("Usage: ")).unwrap();
        let wanted: Vec<&str> = usage.split_whitespace().filter(|w| w.starts_with('<')).collect();
        if let Some(first) = wanted.first() {
            needy += 1;
            run(&[]).says("needs").says(first.trim_end_matches("..."));
        }
    }
    assert!(needy >= 15, "only {needy} verbs need anything");
}

#[test]
fn a_name_that_is_nearly_one_is_offered_and_a_torn_one_is_put_together() {
    let scene = small_site::site("usage-names");
    let asked = |args: &[&str]| rs(&scene, "rs-server", args);
    asked(&["list", "wbe 1"]).exits(4).says("did you mean \"web 1\"");
    asked(&["list", "WEB-1"]).exits(4).says("did you mean \"web 1\"");
    asked(&["list", "web", "1"]).exits(4).says("quote a name with blanks: \"web 1\"");
    asked(&["list", "balancer", "web", "2"]).exits(4).says("quote a name with blanks: \"web 2\"");
    asked(&["list", "nobody at all"]).exits(4).says("rs-server list --all");
    asked(&["list", "--all", "--deployment", "shp"]).exits(4).says("did you mean \"shop\"");
    asked(&["list", "--array", "pcak"]).exits(4).says("pack");
    rs(&scene, "rs-inputs", &["set", "--on", "web 1", "GRETING=text:x"])
        .exits(2)
        .says("did you mean \"GREETING\"");
    rs(&scene, "rs-inputs", &["unset", "--on", "web 1", "GRETING", "--dry-run"])
        .exits(0)
        .says("GRETING of \"web 1\" is not there");
    let nowhere = format!("sqlite:{}", scene.text("nope/site.db"));
    asked(&["list", "--all", "--cloud", &nowhere]).exits(4).says(&nowhere).says("RS_CLOUD");
    asked(&["launch", "web 1", "--to", "3"]).exits(2).says("--to is for arrays");
}

#[test]
fn an_input_that_the_script_does_not_declare_is_not_given_to_it() {
    let scene =
        super::rs_server::site("usage-undeclared", "Servers:\n  - {Name: One, Template: Small}\n");
    let _ = rs(&scene, "rs-server", &["launch", "One"]).exits(0);
    let before = scene.tool("rs-journal").args(["show"]).run().exits(0).stdout;
    let run = |set: &str| rs(&scene, "rs-run", &["small say", "One", "--set", set]);
    run("TXET=text:x").exits(2).says("TXET").says("did you mean \"TEXT\"").says("nothing was run");
    run("WHATEVER=text:x").exits(2).says("its inputs: ");
    assert_eq!(scene.tool("rs-journal").args(["show"]).run().exits(0).stdout, before);
    let _ = run("TEXT=text:x").exits(0);
}

/// A whole deployment as a dry run of its clone says it.
fn planned(scene: &Scene) -> Ran {
    let root = scene.text("staging");
    let net = format!("{}.128/25", scene.net);
    let args = ["deployment", "shop", "--name", "staging", "--root", &root, "--addresses", &net];
    let sets = ["LB_HOSTNAME=text:test.example", "LB_APPLISTENER_NAME=text:test"];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let without = ["--without", "elsewhere", "--without", small_site::ODD, "--dry-run"];
    let args: Vec<&str> = args.into_iter().chain(sets).chain(without).collect();
    rs(scene, "rs-clone", &args).exits(0)
}

#[test]
fn what_a_dry_run_made_the_next_dry_run_goes_on_with_and_nobody_else() {
    let scene = small_site::site("usage-planned");
    let before = all(&scene);
    let bytes = std::fs::read(scene.path("site.db")).unwrap();
    let clone = planned(&scene);
    let launch = piped(&scene, &clone, "rs-server", &["launch", "--dry-run"]).exits(0);
    for name in ["balancer", "web 1", "web 2"] {
        let record = &launch.by_name()[name];
        assert_eq!(record["state"], "operational", "{launch}");
        assert_eq!(record["deployment"], "staging", "{launch}");
    }
    // further on, and without the deployment's own record
    let servers: String = launch
        .stdout
        .lines()
        .filter(|l| l.contains("rs.server/1"))
        .map(|l| format!("{l}\n"))
        .collect();
    let servers = Ran { stdout: servers, ..launch.clone() };
    let run = piped(&scene, &servers, "rs-run", &["boot", "--dry-run"]).exits(0);
    assert_eq!(run.records().len(), 3, "{run}");
    let _ = piped(&scene, &servers, "rs-server", &["mark", "new", "--dry-run"]).exits(0);
    // asking verbs say what is planned
    assert_eq!(piped(&scene, &clone, "rs-server", &["list"]).exits(0).records().len(), 5);
    let shown = piped(&scene, &clone, "rs-inputs", &["show"]).exits(0);
    let host =
        |r: &serde_json::Value| r["name"] == "LB_HOSTNAME" && r["value"] == "text:test.example";
    assert!(shown.records().iter().any(host), "{shown}");
    // nobody acts on a plan
    for (tool, args) in [
        ("rs-server", &["launch"][..]),
        ("rs-server", &["lock"]),
        ("rs-inputs", &["set", "GREETING=text:x"]),
        ("rs-run", &["boot"]),
        ("rs-lbctl", &["connect", "--pool", "test"]),
        ("rs-clone", &["server", "--name", "%s-2"]),
    ] {
        let ran = piped(&scene, &servers, tool, args).exits(2);
        ran.says("comes from a dry run").says("--dry-run here too");
    }
    // nor on one about what is there
    let lock = rs(&scene, "rs-server", &["lock", "web 1", "--dry-run"]).exits(0);
    piped(&scene, &lock, "rs-server", &["mark", "new"])
        .exits(2)
        .says("\"web 1\" comes from a dry run");
    assert_eq!(all(&scene), before);
    assert_eq!(std::fs::read(scene.path("site.db")).unwrap(), bytes, "a dry run wrote");
}
