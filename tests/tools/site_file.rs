//! The site file through `rs-server apply` and `list --as-file`.

use rs_tests::Scene;

use super::small_site::{ODD, all, rs, site, write};

#[test]
fn a_site_applied_twice_changes_nothing_and_its_print_changes_nothing_either() {
    let scene = Scene::new("site-twice");
    write(&scene);
    let dry = rs(&scene, "rs-server", &["apply", "site.yml", "--dry-run"]).exits(0);
    assert!(dry.records().iter().all(|r| r["planned"] == true), "{dry}");
    rs(&scene, "rs-server", &["list", "--all"]).exits(4);
    let first = rs(&scene, "rs-server", &["apply", "site.yml"]).exits(0);
    assert!(first.by_name().contains_key(ODD), "{first}");
    let before = all(&scene);
    let printed = rs(&scene, "rs-server", &["list", "--as-file"]).exits(0).stdout;
    scene.file("printed.yml", &printed);
    for file in ["site.yml", "printed.yml"] {
        let again = rs(&scene, "rs-server", &["apply", file]).exits(0);
        for record in again.records() {
            assert_eq!(record["did"][0]["changed"], false, "{again}");
        }
    }
    assert_eq!(all(&scene), before);
    assert_eq!(rs(&scene, "rs-server", &["list", "--as-file"]).exits(0).stdout, printed);
}

#[test]
fn a_site_file_changes_what_it_says_and_keeps_and_names_what_it_lacks() {
    let scene = site("site-change");
    scene.file(
        "less.yml",
        "Deployment: shop\nInputs: {RELEASE: text:two, PASSWORD: inherit}\nServers:\n  - Name: web 1\n    \
         Template: Web\n    Inputs: {GREETING: text:you}\n    Tags: ['extra:tag=yes']\n    Locked: yes\n",
    );
    let ran = rs(&scene, "rs-server", &["apply", "less.yml"]).exits(0).says("web 2").says("pack");
    let web = &ran.by_name()["web 1"];
    assert_eq!(web["next"]["GREETING"], "text:you", "{ran}");
    assert_eq!((&web["locked"], web["tags"].as_array().unwrap().len()), (&true.into(), 2), "{ran}");
    let shop = &ran.by_name()["shop"];
    assert_eq!(shop["inputs"]["RELEASE"], "text:two", "{ran}");
    assert_eq!(shop["inputs"]["LB_HOSTNAME"], "text:shop.example", "kept\n{ran}");
    assert!(shop["inputs"]["PASSWORD"].is_null(), "`inherit` removes\n{ran}");
    assert!(all(&scene).contains("web 2"), "nothing is deleted");
    // another template is a new revision, which definitions without a revision follow
    scene.file("web.yml", "Name: Web\nRightScripts: {Boot: [boot.sh]}\n");
    let ran = rs(&scene, "rs-server", &["apply", "site.yml"]).exits(0);
    assert_eq!(ran.by_name()["web 2"]["template"]["revision"], 2, "{ran}");
    assert_eq!(ran.by_name()[ODD]["template"]["revision"], 1, "{ran}");
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_key_and_nothing_is_done() {
    let scene = Scene::new("site-wrong");
    write(&scene);
    for (text, parts) in [
        ("Deployment: x\nServer: []\n", ["bad.yml:2", "\"Server\""]),
        ("Servers: []\n", ["bad.yml:1", "\"Deployment\""]),
        (
            "Deployment: x\nMachines:\n  Local:\n    Root: machines\n    Addresses: 10.0.0.0/24\n",
            ["bad.yml:5", "Addresses \"10.0.0.0/24\""],
        ),
        ("Deployment: x\nServers:\n- Name: a\n", ["bad.yml:3", "\"Address\""]),
        ("Deployment: x\nServers:\n- Name: a\n  Address: here\n", ["bad.yml:4", "IP address"]),
        (
            "Deployment: x\nServers:\n- {Name: a, Template: Web}\n- {Name: a, Template: Web}\n",
            ["bad.yml:4", "bad.yml:3"],
        ),
        ("Deployment: x\nServers:\n- {Name: a, Template: none.yml}\n", ["bad.yml:3", "none.yml"]),
        ("Deployment: x\nInputs:\n  A: www\n", ["bad.yml:3", "text:www"]),
        ("Deployment: x\nInputs:\n  A B: text:www\n", ["bad.yml:3", "A B"]),
        ("Deployment: x\nInputs: {PATH: inherit}\nInput: {}\n", ["bad.yml:3", "\"Input\""]),
        (
            "Deployment: x\nInputs:\n  A: text:b\n  PATH: text:/x\n  LD_PRELOAD: text:x\n",
            ["bad.yml:4: the input PATH", "bad.yml:5: the input LD_PRELOAD"],
        ),
        ("Deployment: \"a\\nb\"\n", ["bad.yml:1", "control"]),
        ("Deployment: x\nMachines: {Moon: {}}\n", ["bad.yml:2", "Local"]),
        ("Deployment: x\nMachines:\n  Local:\n    root: a\n", ["bad.yml:4", "Root"]),
        (
            "Deployment: x\nArrays:\n- {Name: a, Template: Web, Minimum: 3, Maximum: 2}\n",
            ["bad.yml:3", "Minimum"],
        ),
        (
            "Deployment: x\nArrays:\n- {Name: a, Template: Web, Enabled: 'yes'}\n",
            ["bad.yml:3", "Enabled"],
        ),
        ("Deployment: [\n", ["bad.yml", "no YAML"]),
        (
            "Deployment: x\nMachines:\n  Local: {}\n",
            ["bad.yml:3: \"Root\"", "bad.yml:3: \"Addresses\""],
        ),
        (
            "Deployment: x\nMachines:\n  Local:\n    Addresses: 127.0.0.0/31\n    User: no one\n",
            ["bad.yml:3: \"Root\"", "bad.yml:4: Addresses"],
        ),
        ("Deployment: x\n---\nDeployment: y\n", ["bad.yml:3", "second document"]),
        (
            "Deployment: x\nServers:\n- Name: a\n  Address: 127.0.0.1\n  \
             Tags: ['database:master_active=s', 'database:slave_active=s']\n",
            ["bad.yml:5", "database:slave_active=s"],
        ),
        (
            "Deployment: x\nServers:\n- Name: a\n  Address: 127.0.0.1\n  Tags: ['a:b=c', nocolon]\n",
            ["bad.yml:5: \"Tags\": the tag \"nocolon\"", "namespace:predicate=value"],
        ),
        (
            "Deployment: x\nArrays:\n- Name: a\n  Template: Web\n  Tags:\n  - application.active_www=true\n",
            [
                "bad.yml:6: \"Tags\": the tag \"application.active_www=true\"",
                "application:active_www=true",
            ],
        ),
    ] {
        scene.file("bad.yml", text);
        let ran = rs(&scene, "rs-server", &["apply", "bad.yml"]).exits(2);
        assert!(parts.iter().all(|part| ran.stderr.contains(part)), "{parts:?}\n{text}\n{ran}");
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    rs(&scene, "rs-server", &["apply", "none.yml"]).exits(2).says("none.yml");
    // a broken template is one of the site's faults, in its own file
    scene.file("web.yml", "Name: Web\nRightScript: {}\n");
    rs(&scene, "rs-server", &["apply", "site.yml"]).exits(2).says("web.yml:2").says("RightScripts");
    scene.file("web.yml", "Name: Web\nInputs:\n  RS_X: text:x\n  Y: y\n");
    let ran = rs(&scene, "rs-server", &["apply", "site.yml"]).exits(2);
    assert!(ran.stderr.contains("web.yml:3: the input RS_X"), "{ran}");
    assert!(ran.stderr.contains("web.yml:4"), "{ran}");
    // which templates there are the world says: still with file, line and key, and all at once
    write(&scene);
    scene.file(
        "bad.yml",
        "Deployment: x\nServers:\n- {Name: a, Template: Nobody}\n- Name: b\n  Template: web.yml@99\n\
         Arrays:\n- {Name: c, Template: Web@x}\n",
    );
    let ran = rs(&scene, "rs-server", &["apply", "bad.yml"]).exits(2);
    for part in [
        "bad.yml:3: \"Template\": no template is called Nobody",
        "bad.yml:5: \"Template\": there is no Web@99: the newest revision is 1",
        "bad.yml:7: \"Template\": no template is called Web@x",
    ] {
        assert!(ran.stderr.contains(part), "{part}\n{ran}");
    }
    rs(&scene, "rs-server", &["list", "--all"]).exits(4);
}

#[test]
fn a_wrong_key_is_named_however_deep_it_stands_with_the_right_one() {
    let scene = Scene::new("site-deep");
    write(&scene);
    let site = "Deployment: x\nTemplates: [web.yml]\n";
    let script = |inputs: &str| {
        format!("#!/bin/sh\n# ---\n# RightScript Name: boot\n# Inputs:\n{inputs}# ...\n")
    };
    for (file, text, parts) in [
        ("site.yml", "Deployment: x\nServer: []\n".to_owned(), ["site.yml:2", "\"Servers\""]),
        (
            "site.yml",
            "Deployment: x\nMachines:\n  Local:\n    Rot: /x\n".into(),
            ["site.yml:4", "\"Root\""],
        ),
        (
            "site.yml",
            "Deployment: x\nServers:\n  - Name: a\n    Adress: 10.0.0.1\n".into(),
            ["site.yml:4", "\"Address\""],
        ),
        (
            "site.yml",
            "Deployment: x\nArrays:\n  - Name: a\n    Template: web.yml\n    Maximun: 2\n".into(),
            ["site.yml:5", "\"Maximum\""],
        ),
        ("web.yml", "Name: Web\nRightScript: {}\n".into(), ["web.yml:2", "\"RightScripts\""]),
        ("web.yml", "Name: Web\nRightScripts:\n  Bot: []\n".into(), ["web.yml:3", "Boot"]),
        (
            "web.yml",
            "Name: Web\nMultiCloudImages:\n  - Name: x\n    Settings:\n      - Cluod: y\n".into(),
            ["web.yml:5", "\"Cloud\""],
        ),
        (
            "web.yml",
            "Name: Web\nAlerts:\n  - Name: x\n    Cluase: y\n".into(),
            ["web.yml:4", "\"Clause\""],
        ),
        ("boot.sh", script("#   A: {Requird: true}\n"), ["boot.sh:5", "\"Required\""]),
        ("boot.sh", script("#   A:\n#     Defualt: text:x\n"), ["boot.sh:6", "\"Default\""]),
    ] {
        write(&scene);
        scene.file("site.yml", site);
        scene.file(file, &text);
        let ran = rs(&scene, "rs-server", &["apply", "site.yml"]).exits(2);
        assert!(parts.iter().all(|part| ran.stderr.contains(part)), "{parts:?}\n{text}\n{ran}");
        assert!(
            ran.stderr.contains("no key")
                || ran.stderr.contains("no valid")
                || ran.stderr.contains("not a valid"),
            "{ran}"
        );
        rs(&scene, "rs-server", &["list", "--all"]).exits(4);
    }
    // of a file that is none of ours nobody wants every line
    let lines: String = (0..500).map(|n| format!("line{n}: x\n")).collect();
    scene.file("site.yml", &lines);
    let ran = rs(&scene, "rs-server", &["apply", "site.yml"]).exits(2).says("more");
    assert!(ran.stderr.len() < 4000, "{ran}");
}

#[test]
fn two_things_of_one_name_are_refused_with_both_places() {
    let scene = Scene::new("site-twice-named");
    write(&scene);
    scene.file("other.yml", "Name: Web\nRightScripts: {Boot: [boot.sh]}\n");
    let again = std::fs::read_to_string(scene.path("boot.sh")).unwrap();
    scene.file("again.sh", &again);
    scene.file("both.yml", "Name: Both\nRightScripts:\n  Boot: [boot.sh, again.sh]\n");
    scene.file(
        "alerts.yml",
        "Name: Al\nAlerts:\n- {Name: a, Clause: If a.b > 1 for 1 minutes Then escalate x}\n- {Name: A, Clause: If a.b > 1 for 1 minutes Then escalate x}\n",
    );
    for (text, parts) in [
        ("Templates: [web.yml, other.yml]\n", ["bad.yml:2", "\"Web\""]),
        ("Templates: [both.yml]\n", ["both.yml:3", "again.sh"]),
        ("Templates: [alerts.yml]\n", ["alerts.yml:4", "two alerts"]),
        (
            "Servers:\n- {Name: a, Template: web.yml}\nArrays:\n- {Name: a, Template: web.yml}\n",
            ["bad.yml:5", "bad.yml:3"],
        ),
        ("Inputs:\n  A: text:b\n  A: text:c\n", ["bad.yml:4", "bad.yml:3"]),
        ("Servers: []\nServers: []\n", ["bad.yml:3", "bad.yml:2"]),
        (
            "Servers:\n- {Name: a, Template: web.yml, Tags: ['x:y=z', 'x:y=z']}\n",
            ["bad.yml:3", "stands twice"],
        ),
    ] {
        scene.file("bad.yml", &format!("Deployment: x\n{text}"));
        let ran = rs(&scene, "rs-server", &["apply", "bad.yml"]).exits(2);
        assert!(parts.iter().all(|part| ran.stderr.contains(part)), "{parts:?}\n{text}\n{ran}");
        rs(&scene, "rs-server", &["list", "--all"]).exits(4);
    }
    // by hand too: what is there under another likeness is not taken for it
    let _ = rs(&scene, "rs-server", &["apply", "site.yml"]).exits(0);
    let clone = |name: &str| rs(&scene, "rs-clone", &["server", "web 1", "--name", name]);
    let _ = clone("web 2").exits(5).says("\"web 2\" is there");
    let _ = clone("pack");
    let twice = rs(&scene, "rs-server", &["list", "--all"]).exits(0).records();
    let mut names: Vec<&str> = twice.iter().filter_map(|r| r["name"].as_str()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "two are called the same");
}
