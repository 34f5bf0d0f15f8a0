//! The templates that come with the project: every one loads, and each script can be found and declares what it reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rs_drivers::templates::{Loaded, load};

/// What a script may read without declaring it: the conventions of a managed server.
const GIVEN: &[&str] =
    &["HOME", "PATH", "PWD", "RS_ATTACH_DIR", "RS_MACHINE", "RS_REBOOT", "RS_STAY", "USER"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/templates")
}

fn all() -> Vec<Loaded> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yml"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| load(file, &[]).unwrap_or_else(|e| panic!("{}: {e:?}", file.display())))
        .collect()
}

#[test]
fn every_template_loads_without_a_remark() {
    let loaded = all();
    assert!(loaded.len() >= 6, "{} templates", loaded.len());
    let names: BTreeSet<&str> = loaded.iter().map(|l| l.template.name.as_str()).collect();
    assert_eq!(names.len(), loaded.len(), "names are unique: {names:?}");
    for one in &loaded {
        assert!(one.notes.is_empty(), "{}: {:?}", one.template.name, one.notes);
    }
}

/// Capital names that a script uses as `$NAME`, `${NAME…}`, or by Python's `inputs["NAME"]`, `environ["NAME"]`.
fn used(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let body = source.lines().filter(|line| !line.trim_start().starts_with('#'));
    for line in body {
        for start in ["$", "${", "inputs[\"", "environ[\"", "inputs.get(\""] {
            for (at, _) in line.match_indices(start) {
                let name: String = line[at + start.len()..]
                    .chars()
                    .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
                    .collect();
                if at > 0 && line.as_bytes()[at - 1] == b'\\' {
                    continue; // for another shell
                }
                if name.len() > 1 {
                    found.insert(name);
                }
            }
        }
    }
    found
}

#[test]
fn scripts_read_only_what_they_declare() {
    for one in all() {
        for script in &one.template.scripts {
            let name = &script.name;
            for variable in used(&script.source) {
                assert!(
                    script.inputs.contains_key(&variable)
                        || GIVEN.contains(&variable.as_str())
                        || variable.starts_with("BASH_"),
                    "script {name:?} reads {variable}, which it does not declare"
                );
            }
        }
    }
}

#[test]
fn secrets_have_no_default() {
    for one in all() {
        for script in &one.template.scripts {
            for (input, declared) in &script.inputs {
                let secret = input.contains("PASSWORD")
                    || input.contains("SECRET")
                    || input.ends_with("_KEY");
                let default = declared.default.as_ref().map(ToString::to_string);
                assert!(
                    !secret || default.as_deref().is_none_or(|text| text == "blank"),
                    "{:?}: {input} has the default {default:?}",
                    script.name
                );
            }
        }
    }
}

/// A second site has other pools, zones, ports and schemas: no template may know those of the demo.
#[test]
fn templates_do_not_know_the_demo() {
    let mut open = vec![folder()];
    while let Some(place) = open.pop() {
        for entry in std::fs::read_dir(&place).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a text");
            for word in [
                "www",
                "mysite",
                "shop",
                "production",
                "customer",
                "127.91",
                "App Server-",
                "Load Balancer-",
            ] {
                assert!(!text.contains(word), "{} says {word:?}", path.display());
            }
        }
    }
}
