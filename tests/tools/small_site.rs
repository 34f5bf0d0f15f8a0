//! A small site for the tests of tools that look at definitions and inputs: servers that boot at once.

use rs_cli::Journal;
use rs_model::Debt;
use rs_model::act::{Act, Outcome, Owner};
use rs_tests::{Call, Ran, Scene};

/// A name with everything that a careless script trips over.
pub const ODD: &str = r#"it's; $(touch pwned) "x""#;

/// Writes template and site file, applies them, and returns the scene.
pub fn site(name: &str) -> Scene {
    let scene = Scene::new(name);
    write(&scene);
    rs(&scene, "rs-server", &["apply", "site.yml"]).exits(0);
    scene
}

/// Writes template and site file.
pub fn write(scene: &Scene) {
    scene.file(
        "web.yml",
        "Name: Web\nInputs: {GREETING: text:hello}\nRightScripts:\n  Boot: [boot.sh]\n",
    );
    scene.file(
        "boot.sh",
        "#!/bin/bash\n# ---\n# RightScript Name: boot\n# Inputs:\n#   RELEASE: {Required: true}\n\
         #   LB_HOSTNAME: {Required: true}\n#   LB_APPLISTENER_NAME: {Required: true}\n\
         #   GREETING: {}\n#   AT_BOOT: {Default: 'text:true'}\n#   PASSWORD: {}\n#   PEER: {}\n# ...\n",
    );
    let (root, net) = (scene.text("run"), &scene.net);
    scene.file(
        "site.yml",
        &format!(
            r#"Deployment: shop
Machines:
  Local: {{Root: "{root}", Addresses: "{net}.0/25", Path: /usr/bin:/bin, User: nobody}}
Inputs:
  RELEASE: text:one
  LB_HOSTNAME: text:shop.example
  LB_APPLISTENER_NAME: text:shop
  PASSWORD: cred:PASSWORD
Templates: [web.yml]
Servers:
  - Name: balancer
    Template: Web
    Tags: ["load_balancer:active_shop=true"]
  - Name: web 1
    Template: Web
    Tags: ["application:active_shop=true"]
  - Name: web 2
    Template: web.yml
    Tags: ["application:active_shop=true"]
  - Name: 'it''s; $(touch pwned) "x"'
    Template: Web@1
    Inputs: {{PASSWORD: cred:SAME, PEER: "env:web 1:PRIVATE_IP"}}
  - Name: elsewhere
    Address: 192.0.2.7
Arrays:
  - Name: pack
    Template: Web
    Minimum: 1
    Maximum: 2
    Inputs: {{GREETING: text:pack}}
    Tags: ["application:active_shop=true"]
"#
        ),
    );
    scene.credential("PASSWORD", "s3cret\n");
    scene.credential("SAME", "s3cret");
}

/// A call in the run `u-1`.
pub fn call(scene: &Scene, tool: &str, args: &[&str]) -> Call {
    scene.tool(tool).args(args.iter().copied()).env("RS_UPGRADE", "u-1")
}

/// Runs a tool in the run `u-1`.
pub fn rs(scene: &Scene, tool: &str, args: &[&str]) -> Ran {
    call(scene, tool, args).run()
}

/// Runs a tool on what another one wrote.
pub fn piped(scene: &Scene, from: &Ran, tool: &str, args: &[&str]) -> Ran {
    call(scene, tool, args).stdin(from.stdout.clone()).run()
}

/// The isolation that a clone of a balancer or an application needs.
pub const ISOLATED: [&str; 4] =
    ["--set", "LB_HOSTNAME=text:test.example", "--set", "LB_APPLISTENER_NAME=text:test"];

/// The debts of the deployment, as the state store has them.
pub fn debts(scene: &Scene) -> Vec<Debt> {
    let place = rs_contract::Place { cloud: scene.cloud(), ..Default::default() };
    let world = rs_drivers::world(&place).unwrap();
    Journal::new(world.state.as_ref()).debts("shop").unwrap()
}

/// Everything that a list shows, to see that nothing has changed.
pub fn all(scene: &Scene) -> String {
    let list = rs(scene, "rs-server", &["list", "--all"]).exits(0).stdout;
    list + &rs(scene, "rs-inputs", &["show", "--deployment-level"]).exits(0).stdout
}

/// Writes the newest act once more, as one that was cut off: its process is gone.
fn cut_again(scene: &Scene) -> Act {
    let place = rs_contract::Place { cloud: scene.cloud(), ..Default::default() };
    let world = rs_drivers::world(&place).unwrap();
    let journal = Journal::new(world.state.as_ref());
    let last = journal.acts().unwrap().pop().unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let owner = Owner { pid: child.id(), ..last.owner.clone() };
    let mut cut = [Act { outcome: Outcome::Open, ms: None, owner, ..last }];
    let epoch = world.state.epoch(&cut[0].deployment).unwrap();
    journal.begin(&mut cut, &[], &|| Ok(epoch)).unwrap();
    let [cut] = cut;
    cut
}

/// The newest act, as if it was cut off, is named after `other`, which is about another thing, and no more after `again`.
pub fn settled_only_by(scene: &Scene, other: &[&str], again: &[&str]) {
    let act = cut_again(scene);
    let about = act.about.as_ref().unwrap();
    let cut = format!("{} {} {about:?} on {}", act.tool, act.verb, act.subject);
    let rs = |line: &[&str]| {
        call(scene, line[0], &line[1..]).env("RS_DEPLOYMENT", &act.deployment).run()
    };
    let verify = ["rs-journal", "verify", "--no-world"];
    let audit = || rs(&["rs-cleanup", "audit"]);
    rs(other).exits(0);
    rs(&verify).exits(3).says(&cut);
    assert!(audit().stderr.contains(&cut), "{cut}\n{}", audit());
    rs(again).exits(0);
    rs(&verify).exits(0);
    assert!(!audit().stderr.contains("cut off"), "{cut}\n{}", audit());
}
