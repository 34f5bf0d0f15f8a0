//! What every tool promises. A new tool is found by its folder and is tested here without being named.

use rs_tests::{Scene, root};

/// The tools, by their folders.
fn all() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("tools"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 11, "{names:?}");
    names
}

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
fn help_into_a_pipe_whose_reader_went_away_is_exit_141() {
    for tool in all() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = std::process::Command::new(rs_tests::tools().join(&tool))
            .arg("--help")
            .stdin(std::process::Stdio::null())
            .stdout(writer)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(141), "{tool}: {said}");
        assert!(said.is_empty(), "{tool}: {said}");
    }
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
    }
}

#[test]
fn an_unknown_cloud_is_named_with_the_known_ones() {
    let scene = Scene::new("unknown-cloud");
    let ran = scene.tool("rs-server").args(["list", "--all", "--cloud", "gcp:eu"]).run().exits(2);
    ran.says("gcp").says("sqlite");
}
