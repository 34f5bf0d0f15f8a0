//! rs-cleanup as a black box, on real machines.

use std::collections::BTreeMap;
use std::time::Duration;

use rs_cli::{Journal, now};
use rs_contract::{Mode, Place, State};
use rs_model::act::{Act, Debt, Due, Outcome, Owner};
use rs_tests::{Ran, Scene, root, until};
use serde_json::{Value as Json, json};

/// Names that shells stumble over, with what they are in the run u-1.
const SERVERS: [(&str, &str); 3] =
    [("App \"1\"; $(reboot)", "old"), ("it's App 2", "old"), ("Warm DB", "warm")];

struct Site {
    scene: Scene,
}

impl Site {
    /// Three servers and an array of two, launched.
    fn new(name: &str) -> Site {
        let scene = Scene::new(name);
        let template = root().join("tests/fixtures/small/small.yaml").display().to_string();
        let mut servers = String::new();
        for (name, part) in SERVERS {
            servers.push_str(&format!(
                "  - Name: {}\n    Template: {template}\n    Tags: [\"rs_upgrade:u-1={part}\"]\n",
                json!(name)
            ));
        }
        let file = scene.file(
            "site.yaml",
            &format!(
                "Deployment: production\nMachines:\n  Local:\n    Root: {}\n    Addresses: {}.0/24\n    \
                 Path: /usr/local/bin:/usr/bin:/bin\n    User: nobody\nServers:\n{servers}Arrays:\n  - Name: array-1\n    \
                 Template: {template}\n    Tags: [\"rs_upgrade:u-1=old\"]\n    Minimum: 1\n    Maximum: 4\n    \
                 Enabled: false\n",
                scene.text("machines"),
                scene.net
            ),
        );
        let site = Site { scene };
        site.run("rs-server", &["apply", &file]).exits(0);
        site.run("rs-server", &["launch", SERVERS[0].0, SERVERS[1].0, SERVERS[2].0]).exits(0);
        site.run("rs-server", &["launch", "array-1", "--to", "2"]).exits(0);
        site
    }

    fn run(&self, tool: &str, args: &[&str]) -> Ran {
        self.scene.tool(tool).args(args).env("RS_UPGRADE", "u-1").run()
    }

    fn plan(&self, args: &[&str]) -> String {
        let ran = self.run("rs-cleanup", &[&["plan"], args].concat()).exits(0);
        self.scene.file("plan.json", &ran.stdout)
    }

    /// Writes an act of a process that has ended.
    fn forged(&self, pid: u32, [tool, verb]: [&str; 2], name: &str, outcome: Outcome) {
        let act = Act {
            seq: 0,
            at: now(),
            deployment: "production".into(),
            subject: format!("server {name}"),
            tool: tool.into(),
            verb: verb.into(),
            about: None,
            owner: Owner { host: rs_cli::host(), pid, ..Owner::default() },
            epoch: 0,
            clock: false,
            outcome,
            before: Json::Null,
            after: Json::Null,
            ms: None,
            undo: None,
            error: None,
        };
        Journal::new(self.state().as_ref()).begin(&mut [act], &[], &|| Ok(0)).unwrap();
    }

    fn retire(&self, plan: &str, args: &[&str]) -> Ran {
        self.run("rs-cleanup", &[&["retire", "--plan", plan], args].concat())
    }

    fn states(&self) -> BTreeMap<String, String> {
        let ran = self.run("rs-server", &["list", "--all", "--allow-none"]).exits(0);
        ran.records()
            .iter()
            .map(|record| {
                let state = record["state"].as_str().unwrap_or("array");
                (record["name"].as_str().unwrap().to_owned(), state.to_owned())
            })
            .collect()
    }

    fn state(&self) -> Box<dyn State> {
        let place =
            Place { cloud: self.scene.cloud(), state: None, mode: Mode::Real, ..Place::default() };
        rs_drivers::state(&place).unwrap()
    }

    /// Processes of the site's machines.
    fn processes(&self) -> usize {
        let mark = format!("HOME={}", self.scene.text("machines"));
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| {
                let env = std::fs::read(entry.path().join("environ")).unwrap_or_default();
                env.split(|byte| *byte == 0).any(|var| var.starts_with(mark.as_bytes()))
            })
            .count()
    }
}

impl Drop for Site {
    /// Ends what a failed test left running.
    fn drop(&mut self) {
        for (name, _) in SERVERS {
            let unlock = self.scene.tool("rs-server").args(["unlock", name, "--upgrade", "u-1"]);
            drop(unlock.run());
        }
        let plan = self.scene.tool("rs-cleanup").args(["plan", "--all", "--include-warm"]).run();
        let file = self.scene.file("last.json", &plan.stdout);
        drop(self.scene.tool("rs-cleanup").args(["retire", "--plan", &file]).run());
    }
}

#[test]
fn a_plan_is_followed_to_the_end_and_may_be_followed_again() {
    let site = Site::new("retire");
    assert!(site.processes() >= 5);
    site.run("rs-server", &["lock", "Warm DB"]).exits(0);
    site.run("rs-server", &["unlock", "Warm DB"]).exits(0);
    let plan = site.plan(&["--as", "old", "--as", "warm", "--include-warm"]);
    let planned: Json = serde_json::from_slice(&std::fs::read(&plan).unwrap()).unwrap();
    assert_eq!(planned["count"], 6);

    let before = std::fs::read(site.scene.path("site.db")).unwrap();
    let dry = site.retire(&plan, &["--dry-run", "--delete"]).exits(0);
    assert_eq!(dry.records().len(), 6);
    assert!(dry.records().iter().all(|record| record["planned"] == true), "{dry}");
    assert_eq!(std::fs::read(site.scene.path("site.db")).unwrap(), before);

    let done = site.retire(&plan, &[]).exits(0);
    let servers: Vec<Json> =
        done.records().into_iter().filter(|record| record["schema"] == "rs.server/1").collect();
    assert_eq!(servers.len(), 5);
    for server in &servers {
        assert_eq!(
            (&server["state"], &server["did"][0]["changed"]),
            (&json!("terminated"), &json!(true))
        );
    }
    until("no process is left", Duration::from_secs(10), || site.processes() == 0);
    let again = site.retire(&plan, &[]).exits(0);
    assert!(!again.stdout.contains("\"changed\":true"), "{again}");
    assert!(!site.states().contains_key("array-1 #1"), "an instance is gone with its machine");

    let gone = site.retire(&plan, &["--delete"]).exits(0);
    assert!(gone.stdout.contains("\"changed\":true"), "{gone}");
    assert_eq!(site.states(), BTreeMap::new());
    site.retire(&plan, &["--delete"]).exits(0);
    site.run("rs-cleanup", &["plan", "--as", "old"]).exits(4);
    let none = site.plan(&["--as", "old", "--allow-none"]);
    site.retire(&none, &[]).exits(0);

    // what is gone can be read, with what a launch had made of its inputs
    let archive =
        site.state().get(&format!("archive/production/{}", SERVERS[0].0)).unwrap().unwrap();
    assert_eq!(
        archive.value["server"]["current"]["inputs"]["GREETING"]["value"],
        "text:from the template"
    );
    assert!(archive.value["deployment_inputs"].is_object());
    assert!(site.state().get("archive/production/array-1").unwrap().is_some());
    site.run("rs-journal", &["verify"]).exits(0);
    site.run("rs-cleanup", &["audit"]).exits(0);
}

#[test]
fn what_was_deleted_is_defined_again_as_it_was() {
    let site = Site::new("recreate");
    let as_file = || site.run("rs-server", &["list", "--as-file"]).exits(0).stdout;
    let odd = SERVERS[0].0;
    let old = ["--role", "server", "--as", "old"];
    let _ = site
        .run("rs-inputs", &[&["set", "--next", "GREETING=text:of this one"], &old[..]].concat())
        .exits(0);
    let before = as_file();
    site.run("rs-cleanup", &["archive"]).exits(4).says("retire");
    site.run("rs-cleanup", &["recreate", odd]).exits(4).says("archive");
    let plan = site.plan(&["--as", "old", "--as", "warm", "--include-warm"]);
    site.retire(&plan, &["--delete"]).exits(0);
    assert_ne!(as_file(), before);
    let listed = site.run("rs-cleanup", &["archive"]).exits(0);
    let names = listed.by_name();
    assert_eq!(names.len(), 6, "three servers, an array and its two instances\n{listed}");
    assert!(names[odd]["archived_at"].is_string(), "{listed}");
    // one that is not archived is not passed over
    run_archive(&site, &[odd, "No Such"]);
    // the inputs of the deployment are another level: a difference is said, not undone
    site.run("rs-cleanup", &["recreate", "array-1 #1"]).exits(5).says("instance of");
    let twice = ["recreate", "array-1", SERVERS[0].0, "array-1"];
    site.run("rs-cleanup", &twice).exits(2).says("array array-1 is named twice");
    let all = ["recreate", SERVERS[0].0, SERVERS[1].0, SERVERS[2].0, "array-1"];
    let dry = site.run("rs-cleanup", &[&all[..], &["--dry-run"]].concat()).exits(0);
    assert!(dry.records().iter().all(|record| record["planned"] == true), "{dry}");
    assert_eq!(site.states(), BTreeMap::new(), "a dry run defines nothing");
    let done = site.run("rs-cleanup", &all).exits(0);
    assert!(done.records().iter().all(|record| record["did"][0]["changed"] == true), "{done}");
    assert_eq!(as_file(), before);
    let again = site.run("rs-cleanup", &all).exits(0);
    assert!(again.records().iter().all(|record| record["did"][0]["changed"] == false), "{again}");
    // it can be launched, with the inputs that it had
    site.run("rs-server", &["launch", odd]).exits(0);
    let list = site.run("rs-server", &["list", odd]).exits(0).record();
    assert_eq!(list["current"]["inputs"]["GREETING"]["value"], "text:of this one");
    what_is_named_by_address_goes_as_a_definition_only(&site);
    site.run("rs-journal", &["verify"]).exits(0);
}

fn what_is_named_by_address_goes_as_a_definition_only(site: &Site) {
    let apply = |last: u8| {
        let address = format!("{}.{last}", site.scene.net);
        let text =
            format!("Deployment: production\nServers:\n- {{Name: Theirs, Address: {address}}}\n");
        site.run("rs-server", &["apply", &site.scene.file("theirs.yaml", &text)])
    };
    let before = site.processes();
    let address =
        || site.run("rs-server", &["list", "Theirs"]).exits(0).record()["address"].clone();
    apply(200).exits(0);
    apply(201).exits(5).says("rs-cleanup retire --delete");
    site.run("rs-run", &["small say", "Theirs"]).exits(5).says("by hand");
    let plan = site.plan(&["Theirs"]);
    site.retire(&plan, &[]).exits(5).says("we did not launch it").says("--delete");
    site.run("rs-server", &["lock", "Theirs"]).exits(0);
    site.retire(&plan, &["--delete"]).exits(5).says("it is locked");
    site.run("rs-server", &["unlock", "Theirs"]).exits(0);
    site.retire(&plan, &["--delete", "--dry-run"]).exits(0);
    assert_eq!(address(), format!("{}.200", site.scene.net));
    let gone = site.retire(&plan, &["--delete"]).exits(0).record();
    assert_eq!(gone["did"][0]["after"], json!({"defined": false}), "{gone}");
    site.run("rs-server", &["list", "Theirs"]).exits(4);
    // so it moves, and what is kept of it is what was there last
    apply(201).exits(0);
    site.retire(&site.plan(&["Theirs"]), &["--delete"]).exits(0);
    site.run("rs-cleanup", &["recreate", "Theirs"]).exits(0);
    assert_eq!(address(), format!("{}.201", site.scene.net));
    assert_eq!(site.processes(), before, "nothing was begun or ended");
}

fn run_archive(site: &Site, names: &[&str]) {
    let ran = site.run("rs-cleanup", &[&["archive"], names].concat()).exits(4);
    assert!(ran.stdout.is_empty(), "{ran}");
    ran.says("\"No Such\"");
}

#[test]
fn what_must_not_end_forbids_each_by_name_and_nothing_is_done() {
    let site = Site::new("forbidden");
    site.run("rs-server", &["lock", SERVERS[0].0]).exits(0);
    site.run("rs-server", &["enable", "array-1"]).exits(0);
    let all = site.plan(&["--all"]);
    let before = (site.states(), std::fs::read(site.scene.path("site.db")).unwrap());
    let refused = site.retire(&all, &["--json"]).exits(5);
    for part in [
        "App \"1\"; $(reboot): it is locked",
        "Warm DB: it is the rollback copy",
        "array array-1: it is enabled",
        "array-1 #2: its array array-1 is enabled",
        "nothing has been done",
    ] {
        assert!(refused.stderr.contains(part), "{part}\n{refused}");
    }
    assert!(refused.stdout.is_empty(), "{refused}");
    assert_eq!((site.states(), std::fs::read(site.scene.path("site.db")).unwrap()), before);
    // what is allowed by itself is
    let one = site.plan(&[SERVERS[1].0]);
    site.retire(&one, &[]).exits(0);
    assert_eq!(site.states()[SERVERS[1].0], "terminated");
}

#[test]
fn a_plan_that_does_not_match_the_world_any_more_is_refused() {
    let site = Site::new("plan");
    let plan = site.plan(&[SERVERS[1].0]);
    site.retire(&plan, &["--max-age", "1ms"]).exits(5).says("old");
    let other = site.retire(&plan, &["--deployment", "staging"]).exits(2);
    assert!(other.stderr.contains("staging"), "{other}");
    let text = std::fs::read_to_string(&plan).unwrap();
    let edited = site.scene.file("edited.json", &text.replace("it's App 2", "Warm DB"));
    site.retire(&edited, &[]).exits(5).says("digest");
    let cut = site.scene.file("cut.json", &text[..text.len() / 2]);
    site.retire(&cut, &[]).exits(2).says("cut.json");
    let record = site.run("rs-server", &["list", SERVERS[1].0]).exits(0).stdout;
    let wrong = site.scene.file("wrong.json", &record);
    site.retire(&wrong, &[]).exits(2).says("rs.server/1");
    site.retire(&site.scene.text("missing.json"), &[]).exits(2).says("missing.json");
    site.run("rs-server", &["relaunch", SERVERS[1].0]).exits(0);
    site.retire(&plan, &[]).exits(5).says("launched again");
    // an instance that came since would lose its array
    let array = site.plan(&["array-1"]);
    site.run("rs-server", &["launch", "array-1", "--to", "3"]).exits(0);
    site.retire(&array, &[]).exits(5).says("array-1 #3 is not in it");
    assert_eq!(site.states().values().filter(|state| *state == "operational").count(), 6);
}

#[test]
fn retire_that_is_killed_is_named_and_ends_its_work_when_called_again() {
    let site = Site::new("retire-kill");
    let plan = site.plan(&["--as", "old"]);
    let call = site.scene.tool("rs-cleanup").args(["retire", "--plan", &plan, "--jobs", "1"]);
    let mut child = call.env("RS_UPGRADE", "u-1").start();
    let state = site.state();
    until("the acts are begun", Duration::from_secs(20), || {
        !Journal::new(state.as_ref()).open_acts().unwrap().is_empty()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = site.run("rs-journal", &["verify"]).exits(3);
    assert!(ran.stderr.contains("rs-cleanup retire on server"), "{ran}");
    site.run("rs-cleanup", &["audit"]).exits(0).says("was cut off");
    site.retire(&plan, &[]).exits(0);
    site.run("rs-journal", &["verify"]).exits(0);
    let ran = site.run("rs-cleanup", &["audit"]).exits(0);
    assert!(!ran.stderr.contains("cut off"), "{ran}");
    let left = site.states();
    assert_eq!(left.values().filter(|state| *state == "operational").count(), 1, "{left:?}");

    // cut off behind its work: what is gone is in no plan, and the next end closes it; what is there is not touched
    for name in ["Gone DB", "Warm DB"] {
        site.forged(child.id(), ["rs-cleanup", "retire"], name, Outcome::Open);
    }
    site.retire(&plan, &["--dry-run"]).exits(0);
    site.run("rs-journal", &["verify"]).exits(3).says("Gone DB");
    site.retire(&plan, &[]).exits(0);
    let ran = site.run("rs-journal", &["verify"]).exits(3);
    assert!(ran.stderr.contains("Warm DB") && !ran.stderr.contains("Gone DB"), "{ran}");
}

#[test]
fn what_was_cut_off_is_named_until_its_server_is_retired_and_gone() {
    let site = Site::new("retire-cut");
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let old = SERVERS[1].0;
    for (tool, verb) in [("rs-run", "run"), ("rs-inputs", "set")] {
        for name in [old, "Warm DB"] {
            site.forged(child.id(), [tool, verb], name, Outcome::Open);
        }
    }
    site.forged(child.id(), ["rs-run", "run"], "array-1 #1", Outcome::Open);
    // a journal that tells of an end is not enough: the server is there
    site.forged(child.id(), ["rs-cleanup", "retire"], "Warm DB", Outcome::Done);
    let named = |gone: &[(&str, &str)]| {
        let verify = site.run("rs-journal", &["verify"]).exits(3).stderr;
        let audit = site.run("rs-cleanup", &["audit"]).exits(0).stderr;
        for name in [old, "Warm DB", "array-1 #1"] {
            for what in ["rs-run run", "rs-inputs set"] {
                let cut = format!("{what} on server {name} was cut off");
                let no = format!("{what} on server {name}: begun by");
                let wanted =
                    !gone.contains(&(what, name)) && (name != "array-1 #1" || what == "rs-run run");
                assert_eq!(audit.contains(&cut), wanted, "{what} {name}\n{audit}");
                assert_eq!(verify.contains(&no), wanted, "{what} {name}\n{verify}");
            }
        }
    };
    named(&[]);
    let plan = site.plan(&["--as", "old"]);
    site.retire(&plan, &[]).exits(0);
    // its machine is gone; its definition is left, and half of a change may be too
    named(&[("rs-run run", old), ("rs-run run", "array-1 #1")]);
    site.run("rs-journal", &["verify", "--no-world"]).exits(3).says("rs-run run on server it's");
    let plan = site.plan(&[old]);
    site.retire(&plan, &["--delete"]).exits(0);
    named(&[("rs-run run", old), ("rs-run run", "array-1 #1"), ("rs-inputs set", old)]);
}

#[test]
fn audit_says_what_is_owed_and_believes_the_world() {
    let site = Site::new("audit");
    site.run("rs-cleanup", &["audit"]).exits(0);
    site.run("rs-server", &["lock", SERVERS[0].0]).exits(0);
    let ran = site.run("rs-cleanup", &["audit", "--json"]).exits(3);
    let debt = ran.record();
    assert_eq!((&debt["schema"], &debt["world"]), (&json!("rs.debt/1"), &json!("open")));
    // the command that settles it, pasted into a shell, does
    let line = ran.stderr.lines().find(|line| line.contains("lock:")).unwrap();
    let command = &line[line.rfind("rs-server unlock").unwrap()..];
    site.run("rs-cleanup", &["audit", "--due", "window"]).exits(0);
    site.run("rs-cleanup", &["audit", "--due", "tomorrow"])
        .exits(2)
        .says("window, after or retire");
    site.scene.call("bash", "bash").args(["-c", command]).env("RS_UPGRADE", "u-1").run().exits(0);
    site.run("rs-cleanup", &["audit"]).exits(0);

    // put right by hand, behind our back
    let open = |key: &str| Debt {
        key: key.into(),
        deployment: "production".into(),
        kind: String::new(),
        subject: String::new(),
        owner: Owner::default(),
        reason: "a test".into(),
        since: now(),
        inverse: vec!["rs-server".into(), "unlock".into()],
        due: Due::Window,
        deadline: None,
        undo_on_deadline: false,
        before: Json::Null,
    };
    let state = site.state();
    let journal = Journal::new(state.as_ref());
    let keys = ["lock:Warm DB", "lock:Gone", "held:Gone", "input:Warm DB/GREETING", "array:none"];
    let debts: Vec<Debt> = keys.iter().map(|key| open(key)).collect();
    journal.begin(&mut [], &debts, &|| Ok(0)).unwrap();
    let ran = site.run("rs-cleanup", &["audit"]).exits(0);
    assert!(ran.records().iter().all(|debt| debt["world"] == "settled"), "{ran}");
    assert_eq!(
        journal.debts("production").unwrap().len(),
        keys.len(),
        "an asking verb removes none"
    );
    site.run("rs-cleanup", &["audit", "--settle"]).exits(0);
    assert_eq!(journal.debts("production").unwrap(), []);
    // what cannot be looked at counts as open
    journal.begin(&mut [], &[open("page:www"), open("writes:shop")], &|| Ok(0)).unwrap();
    let ran = site.run("rs-cleanup", &["audit", "--settle"]).exits(3);
    assert!(ran.records().iter().all(|debt| debt["world"] == "unknown"), "{ran}");
}
