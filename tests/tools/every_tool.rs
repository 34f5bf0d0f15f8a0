//! What every tool promises. A new tool is found by its folder and is tested here without being named.

use std::collections::BTreeSet;

use rs_tests::{Scene, root};

use super::rs_server::site;
use super::verbs::{Verb, all_tools as all, all_verbs};

/// The verbs of a tool as its help lists them.
fn verbs(scene: &Scene, tool: &str) -> Vec<String> {
    let help = scene.tool(tool).args(["--help"]).run().exits(0).stdout;
    let Some(commands) = help.split("Commands:\n").nth(1) else { return Vec::new() };
    commands
        .lines()
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn help_has_examples_first_and_exit_codes_last_on_every_level() {
    let scene = Scene::new("help");
    for tool in all() {
        let mut levels = vec![vec!["--help".to_owned()]];
        levels.extend(verbs(&scene, &tool).into_iter().map(|verb| vec![verb, "--help".to_owned()]));
        for level in levels {
            let ran = scene.tool(&tool).args(&level).run().exits(0);
            let examples =
                ran.stdout.find("Examples:").unwrap_or_else(|| panic!("no examples\n{ran}"));
            let usage = ran.stdout.find("Usage:").unwrap_or_else(|| panic!("no usage\n{ran}"));
            let codes =
                ran.stdout.find("Exit codes:").unwrap_or_else(|| panic!("no exit codes\n{ran}"));
            assert!(examples < usage && usage < codes, "order of the help\n{ran}");
            assert!(
                ran.stdout.trim_end().ends_with("the reader went away"),
                "codes come last\n{ran}"
            );
            assert!(ran.stderr.is_empty(), "{ran}");
        }
    }
}

#[test]
fn every_verb_that_changes_says_what_the_journal_has_to_know() {
    let name = |verb: &Verb| match verb.words.is_empty() {
        true => verb.tool.replace("rs-", ""),
        false => verb.words.join(" "),
    };
    let there: BTreeSet<(String, String)> = all_verbs()
        .iter()
        .filter(|verb| verb.has("--dry-run"))
        .map(|verb| (verb.tool.clone(), name(verb)))
        .collect();
    let said: BTreeSet<(String, String)> =
        rs_model::verb::all().map(|verb| (verb.tool.to_owned(), verb.verb.to_owned())).collect();
    let missing: Vec<_> = there.difference(&said).collect();
    assert!(
        missing.is_empty(),
        "shared/model/src/verb.rs does not say what is left by {missing:?}, on what, and which verb is the opposite"
    );
    let gone: Vec<_> = said.difference(&there).collect();
    assert!(gone.is_empty(), "shared/model/src/verb.rs names what no tool has: {gone:?}");
    // a dry run of the scripts must find the verb, or it would be none
    let lib = std::fs::read_to_string(root().join("scripts/lib.sh")).unwrap();
    let (_, rest) = lib.split_once("[[ ${2:-} =~ ^(").unwrap();
    let known: Vec<&str> = rest.split_once(")$").unwrap().0.split('|').collect();
    for (tool, verb) in &there {
        let second = verb.split_once(' ').map(|(_, second)| second);
        assert!(
            second.is_none_or(|second| known.contains(&second)),
            "{tool} {verb}: call in scripts/lib.sh does not know such verbs of two words"
        );
    }
}

#[test]
fn version_is_the_workspace_s() {
    let scene = Scene::new("version");
    for tool in all() {
        let ran = scene.tool(&tool).args(["--version"]).run().exits(0);
        assert_eq!(ran.stdout.trim(), format!("{tool} {}", env!("CARGO_PKG_VERSION")), "{ran}");
    }
}

#[test]
fn an_unknown_flag_or_verb_is_exit_2_with_nothing_on_stdout() {
    let scene = Scene::new("usage");
    for tool in all() {
        let mut calls = vec![vec!["--no-such-flag".to_owned()]];
        if !verbs(&scene, &tool).is_empty() {
            calls.push(vec!["no-such-verb".to_owned()]);
            calls.push(Vec::new());
        }
        for verb in verbs(&scene, &tool) {
            calls.push(vec![verb, "--no-such-flag".to_owned()]);
        }
        for call in calls {
            let ran = scene.tool(&tool).args(&call).run().exits(2);
            assert!(ran.stdout.is_empty(), "records only on stdout\n{ran}");
            let json = scene
                .tool(&tool)
                .args(call.iter().map(String::as_str).chain(["--json"]))
                .run()
                .exits(2);
            let last = json.stderr.trim_end().lines().last().unwrap_or_default().to_owned();
            let error: serde_json::Value =
                serde_json::from_str(&last).unwrap_or_else(|e| panic!("{e}\n{json}"));
            assert_eq!(error["schema"], "rs.error/1", "{json}");
            assert_eq!(error["exit"], 2, "{json}");
        }
    }
}

#[test]
fn a_reader_that_went_away_is_141_and_never_a_panic() {
    let scene = site("reader-gone", "Servers:\n  - Name: One\n    Template: Small\n");
    for tool in all() {
        for args in
            [&["--help"][..], &["--version"], &["--generate", "man"], &["--generate", "zsh"]]
        {
            let ran = scene.tool(&tool).args(args).reader_gone().run();
            assert_eq!(ran.exit, 141, "{ran}");
            assert!(ran.stderr.is_empty(), "{ran}");
        }
    }
    // what was done is done and written down, and still the records are lost
    let ran = scene.tool("rs-server").args(["lock", "One"]).reader_gone().run();
    assert_eq!(ran.exit, 141, "{ran}");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    let one = scene.tool("rs-server").args(["list", "One"]).run().exits(0).record();
    assert_eq!(one["locked"], true);
    let acts = scene.tool("rs-journal").args(["show"]).run().exits(0);
    assert!(acts.records().iter().any(|a| a["verb"] == "lock" && a["outcome"] == "done"), "{acts}");
    for (tool, args) in [
        ("rs-inputs", ["show", "One"]),
        ("rs-server", ["list", "--as-file"]),
        ("rs-server", ["list", "--all"]),
    ] {
        assert_eq!(scene.tool(tool).args(args).reader_gone().run().exit, 141);
    }
    // the same as a shell sees it; the reader says when it is gone
    let line = r#"mkfifo gate
{ read -r _ <gate; rs-server unlock One; } | { exec <&-; echo gone >gate; }
echo "${PIPESTATUS[0]}""#;
    let ran = scene.call("bash", "bash").args(["-c", line]).run().exits(0);
    assert_eq!(ran.stdout.trim(), "141", "{ran}");
    // a closed stdout (`>&-`) is opened as /dev/null by Rust's runtime before we are asked: as there, nobody wants
    // the records, and what counts is what was done
    let ran = scene.call("bash", "bash").args(["-c", "rs-server lock One >&-; echo $?"]).run();
    assert_eq!(ran.stdout.trim(), "0", "{ran}");
}

#[test]
fn only_records_are_on_stdout_of_any_verb() {
    let scene = site("only-records", "Servers:\n  - Name: One\n    Template: Small\n");
    scene.file("up.sql", "SELECT 1;\n");
    let plan = scene.tool("rs-cleanup").args(["plan", "One"]).run().exits(0);
    scene.file("plan.json", &plan.stdout);
    let mut spoke = 0;
    for verb in all_verbs() {
        // a report is text for people also in a pipe
        let args = verb.on("One", &[&verb.careful()[..], &["--json"]].concat());
        let ran = scene.tool(&verb.tool).args(&args).env("RS_UPGRADE", "u-1").run();
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        spoke += usize::from(!ran.records().is_empty());
        assert!(ran.exit == 0 || !ran.stderr.is_empty(), "a failure says nothing\n{ran}");
    }
    assert!(spoke >= 15, "only {spoke} verbs said anything");
}

#[test]
fn man_page_and_completions_come_from_the_same_source() {
    let scene = Scene::new("generate");
    for tool in all() {
        for (what, mark) in
            [("man", ".TH"), ("bash", "complete"), ("zsh", "#compdef"), ("fish", "complete -c")]
        {
            let ran = scene.tool(&tool).args(["--generate", what]).run().exits(0);
            assert!(ran.stdout.contains(mark) && ran.stdout.contains(&tool), "{ran}");
        }
        scene.tool(&tool).args(["--generate", "perl"]).run().exits(2);
        scene.tool(&tool).args(["--generate", "man", "perl"]).run().exits(2).says("no verb");
    }
    // a page and a completion of each verb, with all of its flags
    for verb in all_verbs() {
        let flags: Vec<&str> = verb
            .help
            .lines()
            .filter(|line| line.trim_start().starts_with('-'))
            .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")))
            .collect();
        assert!(flags.len() > 5, "{verb}: {flags:?}");
        let words: Vec<&str> = verb.words.iter().map(String::as_str).collect();
        let page = [&["--generate", "man"][..], &words].concat();
        let page = scene.tool(&verb.tool).args(page).run().exits(0).stdout.replace('\\', "");
        let name = [&[verb.tool.as_str()], &words[..]].concat().join("-");
        assert!(page.contains(&format!(".TH {name} 1")), "{verb}: {page}");
        // every page that another one names is there, the tool's own page among the others
        let of_tool = scene.tool(&verb.tool).args(["--generate", "man"]).run().exits(0).stdout;
        assert!(words.is_empty() || !of_tool.replace('\\', "").contains("-help(1)"), "{of_tool}");
        let script = "source <(\"$1\" --generate bash); COMP_WORDS=(\"$@\" --); COMP_CWORD=$#; \
                      \"_${1//-/__}\" \"$1\" -- \"${@: -1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let call = [&["-c", script, "bash", verb.tool.as_str()][..], &words].concat();
        let complete = scene.call("bash", "bash").args(call).run().exits(0).stdout;
        for flag in flags {
            assert!(page.contains(flag), "{verb} {flag}: {page}");
            assert!(complete.lines().any(|word| word == flag), "{verb} {flag}: {complete}");
        }
        let named = scene.tool(&verb.tool).args(["--generate", "verbs"]).run().exits(0).stdout;
        assert!(words.is_empty() || named.lines().any(|line| line == words.join(" ")), "{named}");
    }
}

#[test]
fn an_unknown_cloud_is_named_with_the_known_ones() {
    let scene = Scene::new("unknown-cloud");
    let ran = scene.tool("rs-server").args(["list", "--all", "--cloud", "gcp:eu"]).run().exits(2);
    ran.says("gcp").says("sqlite");
}
