use std::path::{Path, PathBuf};

use rs_model::Value;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/templates")).join(name)
}

#[test]
fn a_published_style_template_loads_with_its_scripts_images_and_alerts() {
    let found = load(&fixture("linux-base/linux_base.yml"), &[]).unwrap();
    let t = &found.template;
    assert_eq!(t.name, "Linux Base (agent 10) v10.6");
    let names = |list: &[ScriptRef]| list.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        names(&t.boot),
        ["RL10 Linux Wait For EIP", "RL10 Linux Setup Hostname", "RL10 Linux Enable Monitoring"]
    );
    assert!(t.boot[2].found, "by its name, in the template's folder");
    assert!(!t.operational[1].found);
    let host = t.script("RL10 Linux Setup Hostname").unwrap();
    assert_eq!(host.attachments["hostname.conf"], "cHJlZmVyPXNob3J0Cg==");
    assert!(host.inputs["MONITORING_METHOD"].required);
    assert_eq!(host.inputs["COLOUR"].default, Some(Value::Text("#FFF".into())));
    assert!(host.source.starts_with("#!/usr/bin/sudo") && host.source.contains("# ---"));
    assert_eq!(t.alerts.len(), 3);
    assert!(t.alerts["rs low space in root partition"].ends_with("Then escalate default"));
    assert_eq!(t.inputs["NOT_DECLARED_ANYWHERE"], Value::Blank);
    let notes = found.notes.join("\n");
    assert!(notes.contains("\"RL10 Linux Upgrade\""), "{notes}");
    assert!(notes.contains("NOT_DECLARED_ANYWHERE") && !notes.contains("MANAGED_LOGIN"), "{notes}");
}

#[test]
fn other_styles_load_too() {
    let windows = load(&fixture("windows/windows.yml"), &[]).unwrap().template;
    assert!(windows.scripts[0].inputs["SYS_WINDOWS_TZINFO"].required);
    let web = load(&fixture("web/web.yaml"), &[]).unwrap();
    assert_eq!(web.template.operational[1].name, "DB: connect");
    assert!(web.template.operational[1].found, "read already under its path");
    let db = web.template.script("DB: connect").unwrap();
    assert!(db.inputs["DB_PASSWORD"].required && !db.inputs["RAILS_ENV"].required);
    assert_eq!(db.inputs["NO"].default.as_ref().unwrap().to_string(), "env:Master DB:PRIVATE_IP");
}

#[test]
fn equal_content_has_an_equal_digest_and_any_change_another() {
    let one = load(&fixture("windows/windows.yml"), &[]).unwrap().template;
    let same = Template { revision: 7, ..one.clone() };
    assert_eq!(digest(&same), one.digest);
    let mut other = one.clone();
    other.scripts[0].source.push('\n');
    assert_ne!(digest(&other), one.digest);
}

#[test]
fn scripts_by_name_are_found_on_the_script_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.yml");
    std::fs::write(
        &file,
        "Name: t\nRightScripts: {Boot: [{Name: 'DB: connect', Revision: 3}, {Name: x}]}\n",
    )
    .unwrap();
    let without = load(&file, &[]).unwrap();
    assert_eq!(without.notes.len(), 1);
    assert!(
        without.notes[0].contains("\"DB: connect\", \"x\""),
        "all at once: {:?}",
        without.notes
    );
    let with = load(&file, &[fixture("web/rightscripts")]).unwrap();
    assert!(with.template.boot[0].found && !with.template.boot[1].found);
}

/// Files of one folder, the first of them the template, and a part of the message that it brings.
#[track_caller]
fn refused(files: &[(&str, &str)], parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let error = load(&folder.path().join(files[0].0), &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    let message = format!("{error} ({})", error.advice().unwrap());
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
}

#[test]
fn broken_templates_are_refused_with_file_line_and_what_to_write() {
    const GOOD: &str = "# ---\n# RightScript Name: a\n# Inputs: {}\n# ...\n";
    refused(
        &[("t.yml", "Name: t\nInput: {}\nAlert: []\n")],
        &["t.yml:2", "\"Input\"", "t.yml:3", "did you mean \"Inputs\"", "\"Alerts\""],
    );
    refused(&[("t.yml", "name: t\n")], &["t.yml:1", "did you mean \"Name\""]);
    refused(&[("t.yml", "")], &["t.yml:1", "empty"]);
    refused(&[("t.yml", "Name: t\n  x: 1\n")], &["t.yml:2", "no YAML"]);
    refused(
        &[("t.yml", "Name: t\nInputs:\n  A: www\n  B:\n")],
        &["t.yml:3", "text:www", "t.yml:4"],
    );
    refused(
        &[("t.yml", "Name: t\nRightScripts: {Start: []}\n")],
        &["not a valid sequence", "Boot"],
    );
    refused(
        &[("t.yml", "Name: t\nRightScripts:\n  Boot:\n  - a.sh\n")],
        &["t.yml:4", "a.sh", "relative"],
    );
    refused(&[("t.yml", "Name: t\nRightScripts: {Boot: [[a]]}\n")], &["a list", "Revision"]);
    refused(&[("t.yml", "Name: t\nRightScripts: {Boot: [{Revision: 1}]}\n")], &["no \"Name\""]);
    refused(
        &[("t.yml", "Name: t\nRightScripts: {Boot: [{Name: a, Revision: old}]}\n")],
        &["latest"],
    );
    refused(&[("t.yml", "Name: t\nMultiCloudImages: [{Names: a}]\n")], &["\"Names\"", "nowhere"]);
    refused(&[("t.yml", "Name: t\nAlerts: [{Name: a, Clause: If x}]\n")], &["ten", "If METRIC"]);
    refused(&[("t.yml", "Name: t\nAlerts: [no.yml]\n")], &["no.yml"]);
    let list = "Name: t\nRightScripts:\n  Boot: [a.sh, b.sh]\n";
    refused(
        &[("t.yml", list), ("a.sh", GOOD), ("b.sh", GOOD)],
        &["a.sh", "b.sh", "own RightScript Name"],
    );
    refused(
        &[("t.yml", list), ("a.sh", GOOD), ("b.sh", "echo\n")],
        &["b.sh:1", "no RightScript metadata"],
    );
    let attached =
        "#!/bin/sh\n# ---\n# RightScript Name: a\n# Inputs: {}\n# Attachments:\n#  - f/x\n# ...\n";
    let one = "Name: t\nRightScripts:\n  Boot: [a.sh]\n";
    refused(&[("t.yml", one), ("a.sh", attached)], &["a.sh:6", "attachments/f/x"]);
    refused(
        &[("t.yml", one), ("a.sh", "# ---\n# RightScript Name: a\n# Inputs:{}\n# ...\n")],
        &["a.sh:"],
    );
}

proptest::proptest! {
    #[test]
    fn no_template_makes_the_reader_panic(
        text in "(?s)(Name|RightScripts|Inputs|Alerts|MultiCloudImages|  Boot|- |[:{}\\[\\]\\-.~&*' \n]{1,4}|\\PC{0,6}){0,14}"
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.yml");
        std::fs::write(&file, text).unwrap();
        let _ = load(&file, &[]);
        let _ = super::super::site::parse(&file, &[]);
    }
}
