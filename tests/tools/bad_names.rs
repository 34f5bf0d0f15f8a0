//! Names that a careless program runs, in every place where a person can put one: they are data, everywhere.

use rs_tests::{Ran, Scene};
use serde_json::Value as Json;

/// What must not be run; a file called `owned` would show it. None holds a slash: they are file names too.
const ODD: [&str; 8] = [
    "a b",
    "it's",
    "say \"x\"",
    "x; touch owned;",
    "$(touch owned)",
    "`touch owned`",
    "' ; touch owned #",
    "-rf | touch owned",
];

fn quoted(name: &str) -> String {
    serde_json::to_string(name).unwrap()
}

/// Runs a tool; afterwards nothing was run by its arguments.
fn rs(scene: &Scene, tool: &str, args: &[&str]) -> Ran {
    let ran = scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run();
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    let found = scene.call("find", "find").args([".", "-name", "owned*"]).run().exits(0);
    assert!(found.stdout.is_empty(), "a name was run: {}\n{ran}", found.stdout);
    ran
}

#[test]
fn templates_scripts_attachments_tags_files_marks_and_keys_are_data() {
    let scene = Scene::new("bad-names-more");
    let (mut templates, mut servers) = (String::new(), String::new());
    for (n, name) in ODD.iter().enumerate() {
        let script = format!(
            "#!/bin/sh\n# ---\n# RightScript Name: {n}\n# Inputs: {{}}\n# Attachments: [{n}]\n# ...\n[ -f \"$RS_ATTACH_DIR/\"{shell} ] && echo done\n",
            n = quoted(name),
            shell = rs_cli::shell_words(&[(*name).to_owned()]),
        );
        scene.file(&format!("t/{name}.sh"), &script);
        scene.file(&format!("t/attachments/{name}"), "x");
        let file = quoted(&format!("{name}.sh"));
        let text = format!(
            "Name: {}\nRightScripts: {{Boot: [{file}], Operational: [{file}]}}\n",
            quoted(name)
        );
        scene.file(&format!("t/{name}.yml"), &text);
        templates.push_str(&format!("  - {}\n", quoted(&format!("t/{name}.yml"))));
        servers.push_str(&format!(
            "  - {{Name: S{n}, Template: {t}, Tags: [{tag}]}}\n",
            t = quoted(name),
            tag = quoted(&format!("odd:name={name}"))
        ));
    }
    let text = format!(
        "Deployment: d\nMachines:\n  Local: {{Root: machines, Addresses: {}.0/24, Path: /usr/bin:/bin, User: nobody}}\n\
         Templates:\n{templates}Servers:\n{servers}",
        scene.net
    );
    let file = format!("{}.yml", ODD[4]);
    scene.file(&file, &text);
    let _ = rs(&scene, "rs-server", &["apply", &file]).exits(0);
    let _ = rs(&scene, "rs-server", &["launch", "--all"]).exits(0);
    for (n, name) in ODD.iter().enumerate() {
        let server = format!("S{n}");
        let tag = format!("--tag=odd:name={name}");
        let found = rs(&scene, "rs-server", &["list", &tag]).exits(0).records();
        assert!(found.len() == 1 && found[0]["name"] == *server, "{name}: {found:?}");
        let once = format!("--once={name}");
        for changed in [true, false] {
            let ran = rs(&scene, "rs-run", &[&once, "--", name, &server]).exits(0);
            assert_eq!(ran.record()["did"][0]["changed"], changed, "{ran}");
            if changed {
                assert_eq!(ran.record()["run"]["tail"].as_str().unwrap().trim(), "done", "{ran}");
            }
        }
        let like = format!("--template={name}@1");
        let clone = format!("--name={name}, cloned from %s");
        let made = rs(&scene, "rs-clone", &["server", &like, &clone, &server]).exits(0);
        assert_eq!(made.record()["template"]["name"], *name, "{made}");
        let note = rs(&scene, "rs-journal", &["mark", "--", name]).exits(0);
        assert!(note.stdout.is_empty() || note.stdout.contains(&quoted(name)), "{note}");
        // what is no name at all there is refused
        for args in [
            &["output", "--", name][..],
            &["close", "--because", name, "--", name],
            &["show", &format!("--run={name}")],
        ] {
            let ran = rs(&scene, "rs-journal", args);
            assert!([0, 2, 4].contains(&ran.exit), "{ran}");
        }
        let plan = rs(&scene, "rs-cleanup", &["plan", &server]).exits(0).stdout;
        let file = scene.file(&format!("{name}.json"), &plan);
        let _ = rs(&scene, "rs-cleanup", &["retire", &format!("--plan={file}")]).exits(0);
    }
    let audit: Json = rs(&scene, "rs-journal", &["report", "--json"]).exits(0).record();
    assert!(audit.is_object());
    // a command of a hook is one program with arguments, never a line for a shell
    let hook = rs(
        &scene,
        "rs-inputs",
        &["set", "--deployment-level", "--create", "ALERTS_HOOK=text:true; touch owned"],
    );
    let _ = hook.exits(0);
    let ran = rs(&scene, "rs-server", &["quench", "S0, cloned", "--for", "1h", "--reason", "x"]);
    assert_ne!(ran.exit, 0, "{ran}");
}

#[test]
fn schemas_tables_accounts_tokens_and_migration_files_are_data() {
    let scene = Scene::new("bad-names-sql");
    let db = scene.mariadb("m");
    let name = "a`b'; DROP DATABASE keep; -- $(touch owned)";
    let sql = format!("`{}`", name.replace('`', "``"));
    db.sql(&format!(
        "CREATE DATABASE keep; CREATE DATABASE {sql}; CREATE TABLE {sql}.{sql} (id INT PRIMARY KEY)"
    ));
    let text = format!(
        "Deployment: production\nInputs:\n  DBADMIN_USER: text:admin\n  DBADMIN_PASSWORD: cred:admin\n  DB_SCHEMA_NAME: {}\n\
         \x20 DBMIGRATION_USER: text:migrator\n  DBMIGRATION_PASSWORD: cred:migrator\n  DBREPLICATION_USER: text:repl\n  DBREPLICATION_PASSWORD: cred:repl\n\
         Servers:\n  - {{Name: M, Address: {}, Tags: [{}]}}\n",
        quoted(&format!("text:{name}")),
        db.address,
        quoted(&format!("database:master_active={name}")),
    );
    scene.file("site.yml", &text);
    let _ = rs(&scene, "rs-server", &["apply", "site.yml"]).exits(0);
    let asked = rs(&scene, "rs-dbsync", &["status", "M"]).exits(0);
    assert!(asked.stdout.contains("rs.replica/1"), "{asked}");
    let _ = rs(&scene, "rs-dbsync", &["writes", "off", "M"]);
    let _ = rs(&scene, "rs-dbsync", &["writes", "on", "M"]);
    scene.file(&format!("{}.sql", ODD[4]), "SELECT 1;\n");
    let file = format!("--sql={}.sql", ODD[4]);
    for token in ODD.iter().chain([&name]) {
        let token = format!("--token={token}");
        let ran = rs(&scene, "rs-dbsync", &["migrate", &file, &token, "--dry-run", "M"]);
        assert!([0, 2, 5].contains(&ran.exit), "{ran}");
    }
    // an account with such a name is no statement either
    let user = quoted(&format!("DBADMIN_USER=text:{name}"));
    let user: String = serde_json::from_str(&user).unwrap();
    let _ = rs(&scene, "rs-inputs", &["set", "--deployment-level", &user]).exits(0);
    let _ = rs(&scene, "rs-dbsync", &["status", "M"]).exits(1);
    let left = db.sql("SHOW DATABASES");
    assert!(left.lines().any(|line| line == "keep") && left.contains("a`b'"), "{left}");
}
