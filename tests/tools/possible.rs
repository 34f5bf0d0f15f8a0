//! `Possible Values` of a script's metadata: a text that is none of them is refused wherever it comes in.

use rs_tests::Scene;

use super::small_site::rs;

/// A site with the deployment's inputs, and those of the server A (`B` has none of its own, and the deployment's `FIRST`).
fn write(scene: &Scene, template: &str, deployment: &str, server: &str) {
    scene.file(
        "choosy.yml",
        &format!("Name: Choosy\nInputs: {{{template}}}\nRightScripts: {{Boot: [boot.sh], Operational: [later.sh]}}\n"),
    );
    let script = |name: &str, inputs: &str| {
        let text =
            format!("#!/bin/sh\n# ---\n# RightScript Name: {name}\n# Inputs:\n{inputs}# ...\n");
        scene.file(&format!("{name}.sh"), &text);
    };
    let may = "Possible Values: ['text:on', 'text:off']";
    script("boot", &format!("#   FIRST: {{Required: true, {may}}}\n#   SECOND: {{{may}}}\n"));
    script(
        "later",
        &format!("#   SECOND: {{{may}}}\n#   THIRD: {{{may}}}\n#   FOURTH: {{Required: true}}\n"),
    );
    scene.file(
        "site.yml",
        &format!(
            "Deployment: d\nMachines:\n  Local: {{Root: machines, Addresses: {}.0/24, Path: /usr/bin:/bin, User: nobody}}\n\
             Templates: [choosy.yml]\nInputs:\n  {deployment}\nServers:\n- Name: A\n  Template: Choosy\n  Inputs:\n    {server}\n\
             - {{Name: B, Template: Choosy}}\n",
            scene.net
        ),
    );
}

#[test]
fn a_text_that_no_script_takes_is_refused_wherever_it_comes_in() {
    let scene = Scene::new("possible");
    let on = |tool: &str, args: &[&str]| rs(&scene, tool, args);
    let takes = "\"boot\" takes text:on, text:off";
    // in files, with the line: of a server, of the deployment where nothing stands over it, of the template
    for (template, deployment, server, place) in [
        ("", "FIRST: text:on", "SECOND: text:maybe", "site.yml:11: SECOND is text:maybe"),
        ("", "FIRST: text:On", "FIRST: text:off", "site.yml:6: FIRST is text:On"),
        ("FIRST: 'text:no'", "SECOND: blank", "FIRST: text:on", "choosy.yml:2: FIRST is text:no"),
    ] {
        write(&scene, template, deployment, server);
        let ran = on("rs-server", &["apply", "site.yml"]).exits(2).says(place).says(takes);
        assert!(ran.stdout.is_empty(), "{ran}");
        let _ = on("rs-server", &["list", "--all"]).exits(4);
    }
    // what is no text is not judged, and what stands over a value hides it
    write(&scene, "SECOND: env:PRIVATE_IP", "FIRST: text:on", "THIRD: blank");
    let _ = on("rs-server", &["apply", "site.yml"]).exits(0);

    // by hand, on whom it would reach
    let set = |args: &[&str]| on("rs-inputs", &[&["set"], args].concat());
    let _ = set(&["--on", "A", "FIRST=text:maybe"])
        .exits(2)
        .says("\"A\": FIRST is text:maybe, and")
        .says(takes);
    let both = set(&["--deployment-level", "FIRST=text:maybe"]).exits(2);
    let _ = both.says("\"A\": FIRST is text:maybe").says("\"B\": FIRST is text:maybe");
    for good in ["FIRST=text:off", "FIRST=blank", "FIRST=cred:NONE", "FIRST=text:on"] {
        let _ = set(&["--on", "A", good]).exits(0);
    }
    let hidden = set(&["--deployment-level", "FIRST=text:maybe"]).exits(2);
    assert!(!hidden.stderr.contains("\"A\""), "A has its own\n{hidden}");

    // a launch names it with all others
    let launch = ["launch", "A", "B", "--set", "FIRST=text:maybe", "--set", "SECOND=text:perhaps"];
    let ran = on("rs-server", &launch);
    assert!([2, 5].contains(&ran.exit), "{ran}");
    for part in ["\"A\"", "\"B\"", "FIRST is text:maybe", "SECOND is text:perhaps"] {
        assert!(ran.stderr.contains(part), "{part}\n{ran}");
    }
    assert!(!scene.path("machines").exists(), "something was launched");
    let _ = on("rs-server", &["launch", "A"]).exits(0);

    // and so does a run
    let wrong = ["later", "A", "--set", "SECOND=text:no", "--set", "THIRD=text:never"];
    let ran = on("rs-run", &wrong).exits(2).says("needs inputs that have no value: FOURTH");
    let _ =
        ran.says("SECOND is text:no").says("THIRD is text:never").says("\"later\" takes text:on");
    let right = ["later", "A", "--set", "FOURTH=text:any", "--set", "THIRD=text:off"];
    let _ = on("rs-run", &right).exits(0);

    // a script that takes less than before: what is there already is a no, and stops a launch
    let text = std::fs::read_to_string(scene.path("boot.sh")).unwrap();
    scene.file("boot.sh", &text.replace("['text:on', 'text:off']", "['text:up']"));
    let _ = on("rs-server", &["apply", "site.yml"]).exits(2).says("site.yml:6: FIRST is text:on");
    scene.file("boot.sh", &text);
}
