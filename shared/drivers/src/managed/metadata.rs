//! RightScript metadata comments: how the block is found in a script, and what it says.
//!
//! The block is a run of comment lines (`#`, `//` or `--`) from one that holds just three dashes to one that holds
//! just three dots. It may stand anywhere; lines between that are no comments are skipped.

use rs_model::template::InputDecl;
use rs_model::{Value, name};

use super::yaml::{self, Fault, Faults, Fields, Node, NodeKind, Source};

/// What a metadata block says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metadata {
    /// RightScript Name.
    pub name: String,
    /// For people.
    pub description: String,
    /// The declared inputs in the order of the block.
    pub inputs: Vec<(String, InputDecl)>,
    /// Paths below `attachments/` in the script's folder, with the script's line of each.
    pub attachments: Vec<(String, usize)>,
}

/// The YAML of a script's blocks, and for each of its lines the line of the script. `None`: there is no block.
fn find(script: &str, file: &str) -> Result<Option<(String, Source)>, Fault> {
    let mut text = String::new();
    let mut source = Source::file(file);
    let mut open = None;
    let mut found = false;
    for (at, line) in script.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut hand_on = |line: &str| {
            text.push_str(line);
            text.push('\n');
            source.lines.push(at + 1);
        };
        if mark(line) == Some("---") {
            found = true;
            open = Some(at + 1);
            hand_on("---");
        } else if open.is_some() && mark(line) == Some("...") {
            open = None;
            hand_on("...");
        } else if open.is_some()
            && let Some(content) = content(line)
        {
            hand_on(content);
        }
    }
    if let Some(line) = open {
        return Err(Source::file(file).fault(
            line,
            "the metadata comment that begins here does not end",
            "close it with a comment line of three dots: # ...",
        ));
    }
    Ok(found.then_some((text, source)))
}

/// Blank as the format has it: ASCII only, no vertical tab.
fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}' | '\r' | '\n')
}

fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(blank);
    ["#", "//", "--"].iter().find_map(|marker| line.strip_prefix(marker))
}

/// What stands alone in a comment line.
fn mark(line: &str) -> Option<&str> {
    comment(line).map(|rest| rest.trim_matches(blank))
}

/// The rest of a comment line without at most one blank.
fn content(line: &str) -> Option<&str> {
    comment(line).map(|rest| rest.strip_prefix(blank).unwrap_or(rest))
}

/// Reads a script's metadata. Every fault of the block is named at once.
pub(crate) fn parse(script: &str, file: &str, faults: &mut Faults) -> Option<Metadata> {
    let none = |what: &str, faults: &mut Faults| {
        faults.add(
            &Source::file(file),
            1,
            what,
            "put a comment block into it: # ---, # RightScript Name: NAME, # Inputs: {}, # ...",
        );
        None
    };
    let (text, at) = match find(script, file) {
        Ok(Some(found)) => found,
        Ok(None) => return none("the script has no RightScript metadata comment", faults),
        Err(fault) => {
            faults.0.push(fault);
            return None;
        }
    };
    let node = match yaml::first_document(&text, &at) {
        Ok(Some(node)) => node,
        Ok(None) => return none("the metadata comment is empty", faults),
        Err(fault) => {
            faults.0.push(fault);
            return None;
        }
    };
    let before = faults.0.len();
    let found = block(&node, &at, faults);
    (faults.0.len() == before).then_some(found)
}

fn block(node: &Node, at: &Source, faults: &mut Faults) -> Metadata {
    const KEYS: &[&str] = &["RightScript Name", "Description", "Packages", "Inputs", "Attachments"];
    let what = "the metadata comment";
    let fields = Fields::of(node, at, what, KEYS, faults);
    let mut found = Metadata {
        name: fields.text("RightScript Name", faults).unwrap_or_default(),
        description: fields.text("Description", faults).unwrap_or_default(),
        ..Metadata::default()
    };
    // known, and without a meaning here: templates' scripts find their programs in the machine's PATH
    fields.text("Packages", faults);
    match name::object("script", &found.name) {
        Ok(()) => {}
        Err(_) if found.name.is_empty() => {
            faults.add(at, node.line, "\"RightScript Name\" is missing", "RightScript Name: NAME");
        }
        Err(bad) => faults.add(at, node.line, &bad.what, bad.hint),
    }
    match fields.node("Inputs") {
        Some(inputs) if !inputs.is_null() => {
            for (key, node) in fields.map("Inputs", faults) {
                if let Err(bad) = name::input(&key.text) {
                    faults.add(at, key.line, &bad.what, bad.hint);
                }
                found.inputs.push((key.text.clone(), input(&key.text, node, at, faults)));
            }
            if !matches!(inputs.kind, NodeKind::Map(_)) {
                fields.wants(inputs, "Inputs", "a map, `{}` for none", faults);
            }
        }
        there => {
            let line = there.map_or(node.line, |node| node.line);
            let hint = "write `Inputs: {}` (with a blank) when it has none";
            faults.add(at, line, "\"Inputs\" must be specified", hint);
        }
    }
    found.attachments = fields.texts("Attachments", faults);
    for (n, (path, line)) in found.attachments.iter().enumerate() {
        let last = last_part(path);
        if let Some((other, _)) = found.attachments[..n].iter().find(|(p, _)| last_part(p) == last)
        {
            let what = format!("the attachments {other:?} and {path:?} have the same last part");
            let hint = "rename one: at run time all of them stand in one folder";
            faults.add(at, *line, &what, hint);
        }
        if path.starts_with('/') || path.split('/').any(|part| part == "..") || last.is_empty() {
            let what = format!("the attachment {path:?} is no path below attachments/");
            faults.add(at, *line, &what, "write it relative to the folder attachments/");
        }
    }
    for (_, line) in &mut found.attachments {
        *line = at.line(*line);
    }
    found
}

/// The last part of a path, under which an attachment is found at run time.
pub(crate) fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn input(name: &str, node: &Node, at: &Source, faults: &mut Faults) -> InputDecl {
    const KEYS: &[&str] = &[
        "Category",
        "Description",
        "Input Type",
        "Required",
        "Advanced",
        "Default",
        "Default Value",
        "Possible Values",
    ];
    let what = format!("the input {name}");
    let fields = Fields::of(node, at, &what, KEYS, faults);
    let kind = fields.text("Input Type", faults).unwrap_or_else(|| "single".into());
    if !["single", "array"].contains(&kind.as_str()) {
        let line = fields.node("Input Type").map_or(node.line, |node| node.line);
        let what = format!("\"Input Type\" of {what} is {kind:?}");
        faults.add(at, line, &what, "write single or array");
    }
    fields.boolean("Advanced", faults);
    let default = ["Default", "Default Value"].map(|key| {
        fields
            .node(key)
            .filter(|node| !node.is_null())
            .and_then(|node| value(node, &format!("{key:?} of {what}"), at, faults))
    });
    let default = match default {
        [Some(_), Some(_)] => {
            let what = format!("{what} has both \"Default\" and \"Default Value\"");
            faults.add(at, node.line, &what, "write one of them");
            None
        }
        [one, other] => one.or(other),
    };
    let possible = fields
        .list("Possible Values", faults)
        .iter()
        .filter_map(|node| value(node, &format!("\"Possible Values\" of {what}"), at, faults))
        .collect();
    let decl = InputDecl {
        required: fields.boolean("Required", faults).unwrap_or(false),
        array: kind == "array",
        default,
        possible,
        description: fields.text("Description", faults).unwrap_or_default(),
        category: fields.text("Category", faults).unwrap_or_default(),
    };
    if let Some(default) = decl.default.as_ref().filter(|default| !decl.allows(default)) {
        let what = format!("the default {default} of {what} is none of its \"Possible Values\"");
        faults.add(at, node.line, &what, "write one of them, or put it there");
    }
    decl
}

/// A value in typed notation, as files hold it: `inherit` means nothing there and is refused.
pub(crate) fn value(node: &Node, what: &str, at: &Source, faults: &mut Faults) -> Option<Value> {
    let text = match node.text() {
        Some(text) if !node.is_null() => text,
        _ => {
            let hint = "write text:VALUE, blank, env:VAR, cred:NAME …, on one line or quoted";
            faults.add(at, node.line, &format!("{what} is {}", node.is()), hint);
            return None;
        }
    };
    match Value::parse(text) {
        Ok(Value::Inherit) => {
            let hint = "leave the line out where nothing is to be set";
            faults.add(at, node.line, &format!("{what} is `inherit`"), hint);
            None
        }
        Ok(value) => Some(value),
        Err(bad) => {
            faults.add(at, node.line, &format!("{what}: {}", bad.what), bad.hint);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(script: &str) -> Result<Metadata, String> {
        let mut faults = Faults::default();
        let found = parse(script, "s.sh", &mut faults);
        faults.check().map_err(|e| format!("{e} ({})", e.advice().unwrap_or_default()))?;
        Ok(found.unwrap())
    }

    #[test]
    fn the_block_is_found_wherever_it_stands_and_whatever_its_marker() {
        for script in [
            "#!/bin/bash\n# ---\n# RightScript Name: a b\n# Inputs: {}\n# ...\necho\n",
            "# ---\n# RightScript Name: a b\n# Inputs: {}\n# ...\n#!/bin/bash\n",
            "echo\n   // ---  \n//RightScript Name: a b\n//\tInputs: {}\n# ...\n",
            "-----\n-- RightScript Name: a b\n\necho skipped\n-- Inputs: {}\n--...\n",
            "# ---\r\n# RightScript Name: a b\r\n# Inputs: {}\r\n# ...\r\n",
            "# ---\n# RightScript Name: a b\n# Inputs: {}\n# ---\n# RightScript Name: two\n# ...\n",
        ] {
            assert_eq!(read(script).unwrap().name, "a b", "{script}");
        }
        for script in ["# ----\n# ...\n", "# ---x\n# ...\n", "echo\n", "\u{feff}# ---\n# ...\n"] {
            assert!(read(script).unwrap_err().contains("no RightScript metadata"), "{script}");
        }
    }

    #[test]
    fn an_open_block_is_refused_where_it_begins() {
        let whole = "# ---\n# RightScript Name: a\n# Inputs: {}\n# ...\n";
        let message = read(&format!("{whole}\n# ---\n")).unwrap_err();
        assert!(message.contains("s.sh:6:") && message.contains("# ..."), "{message}");
    }

    #[test]
    fn faults_carry_the_line_of_the_script_skipped_lines_counted() {
        let script = "#!/bin/sh\n\n# ---\n# RightScript Name: a\n\n\n# Inputs:\n#   A:\n#     Defualt: text:x\n#     Required: 'true'\n#   B:\n#     Default: www\n# ...\n";
        let message = read(script).unwrap_err();
        for part in ["s.sh:9:", "Defualt", "s.sh:10:", "\"Required\"", "s.sh:12:", "text:www"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }

    #[test]
    fn inputs_say_what_they_are() {
        let script = "# ---\n# RightScript Name: a\n# Description: |\n#   one\n#\n#   two\n# Packages: a b\n# Inputs:\n#   A:\n#     Category: X\n#     Input Type: array\n#     Required: yes\n#     Advanced: false\n#     Default: array:[\"text:a\"]\n#     Possible Values: [text:a, blank]\n#   B:\n#   C:\n#     Default Value: text:#FFF\n#   NO:\n#     Default: ~\n# Attachments: []\n# ...\n";
        let found = read(script).unwrap();
        assert_eq!(found.description, "one\n\ntwo\n");
        let (name, a) = &found.inputs[0];
        assert!(name == "A" && a.required && a.array && a.possible.len() == 2);
        assert_eq!(a.default.as_ref().unwrap().to_string(), r#"array:["text:a"]"#);
        assert_eq!(found.inputs[1].1, InputDecl::default());
        assert_eq!(found.inputs[2].1.default, Some(Value::Text("#FFF".into())));
        assert_eq!(found.inputs[3].0, "NO");
    }

    #[test]
    fn what_is_broken_is_refused_with_what_to_write() {
        for (body, part) in [
            ("# RightScript Name: a\n", "Inputs: {}"),
            ("# RightScript Name: a\n# Inputs:{}\n", "s.sh:"),
            ("# RightScript Name: a\n# Inputs: ~\n", "Inputs: {}"),
            ("# Inputs: {}\n", "RightScript Name"),
            ("# RightScript Name: ''\n# Inputs: {}\n", "RightScript Name"),
            ("# RightScript Name: a\n# Inputs: {}\n# Inputs: {}\n", "stands twice"),
            ("# RightScript Name: a\n# Inputs: {A: {Default: 'text:'}}\n", "blank"),
            ("# RightScript Name: a\n# Inputs: {A: {Default: inherit}}\n", "inherit"),
            ("# RightScript Name: a\n# Inputs: {A: {Input Type: Single}}\n", "single or array"),
            (
                "# RightScript Name: a\n# Inputs: {A: {Default: 'text:c', Possible Values: ['text:b']}}\n",
                "s.sh:3: the default text:c of the input A is none of its",
            ),
            ("# RightScript Name: a\n# Inputs: {A B: {}}\n", "A B"),
            ("# RightScript Name: a\n# Inputs: {}\n# Packages: [a]\n", "Packages"),
            ("# RightScript Name: a\n# Inputs: {}\n# Attachments: [1/a, 2/a]\n", "last part"),
            ("# RightScript Name: a\n# Inputs: {}\n# Attachments: [../a]\n", "attachments/"),
            ("# RightScript Name: a\n# Inputs:\n# \tA: {}\n", "s.sh:4"),
        ] {
            let message = read(&format!("# ---\n{body}# ...\n")).unwrap_err();
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }

    proptest! {
        #[test]
        fn no_script_makes_the_parser_panic(
            script in "(?s)(# ---\n)?((# |//|--|)(RightScript Name|Inputs|Default|  A|[:{}\\[\\]\\-.~&*' ]{1,3}|\\PC{0,8}){0,4}\n){0,8}(# \\.\\.\\.)?"
        ) {
            let _ = parse(&script, "s.sh", &mut Faults::default());
        }
    }
}
