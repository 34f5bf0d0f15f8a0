//! The contract of `Cloud`, and its driver `managed`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rs_contract::{
    Cloud, Error, Kind, Launch, Mode, Place, Progress, Retag, RunRequest, Target, Work,
};
use rs_model::{Array, Deployment, Inputs, Level, Server, State, Template, TemplateRef, Value};
use rs_tests::{Scene, root, until};
use serde_json::json;

use super::lives;

const WORK: Work = Work { timeout: Duration::from_secs(60) };
const QUIET: Progress<'_> = &|_| {};
const D: &str = "it's \"p\"/d; $(x)";
const ODD: &str = "a;b $(touch x) \"q\" 'r'/s";

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn inputs(pairs: &[(&str, Value)]) -> Inputs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn small() -> Template {
    let file = root().join("tests/fixtures/small/small.yaml");
    rs_drivers::templates::load(&file, &[]).unwrap().template
}

fn server(name: &str) -> Server {
    Server {
        name: name.into(),
        template: Some(TemplateRef { name: "Small".into(), revision: None }),
        ..Server::default()
    }
}

fn request(script: &str) -> RunRequest {
    RunRequest { script: script.into(), timeout: Duration::from_secs(30), ..RunRequest::default() }
}

fn found(cloud: &dyn Cloud, name: &str) -> Server {
    cloud.servers(D).unwrap().into_iter().find(|s| s.name == name).unwrap()
}

fn up(cloud: &dyn Cloud, name: &str) -> Server {
    cloud.launch(D, name, &Launch::default()).unwrap();
    cloud.settle(D, name, WORK, QUIET).unwrap()
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, kind: Kind, parts: &[&str]) {
    let Err(error) = result else { panic!("it was done") };
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} in {error}");
    }
}

/// What every driver must do, on a control plane that holds nothing yet.
fn suite(cloud: &dyn Cloud, machines: serde_json::Value) {
    let nothing = cloud.deployments().unwrap();
    assert_eq!(nothing, vec![]);
    refused(cloud.servers(D), Kind::NotFound, &["it's"]);

    let mut deployment = Deployment { name: D.into(), ..Deployment::default() };
    deployment.later.insert(rs_drivers::site::MACHINES.into(), machines);
    deployment.inputs = inputs(&[("SHARED", text("one"))]);
    cloud.put_deployment(&deployment).unwrap();
    assert_eq!(cloud.put_deployment(&deployment).unwrap(), deployment);
    assert_eq!(cloud.servers(D).unwrap(), vec![]);
    assert_eq!(cloud.arrays(D).unwrap(), vec![]);

    templates(cloud);
    definitions(cloud);
    life(cloud);
    values(cloud);
    runs(cloud);
    failures(cloud);
    arrays(cloud);

    for server in cloud.servers(D).unwrap() {
        cloud.terminate(D, &server.name, WORK, QUIET).unwrap();
    }
    refused(cloud.delete_deployment(D), Kind::Declined, &["servers"]);
    for server in cloud.servers(D).unwrap() {
        cloud.delete_server(D, &server.name).unwrap();
    }
    for array in cloud.arrays(D).unwrap() {
        cloud.delete_array(D, &array.name).unwrap();
    }
    cloud.delete_deployment(D).unwrap();
    refused(cloud.delete_deployment(D), Kind::NotFound, &[]);
    assert_eq!(cloud.deployments().unwrap(), vec![]);
}

fn templates(cloud: &dyn Cloud) {
    refused(
        cloud.template(&TemplateRef { name: "Small".into(), revision: None }),
        Kind::NotFound,
        &["Small"],
    );
    let first = cloud.put_template(&small()).unwrap();
    assert_eq!(first.revision, Some(1));
    assert_eq!(cloud.put_template(&small()).unwrap(), first, "equal content is no new revision");
    let mut changed = small();
    changed.description.push_str(" changed");
    changed.digest = rs_drivers::templates::digest(&changed);
    assert_eq!(cloud.put_template(&changed).unwrap().revision, Some(2));
    let newest = cloud.template(&TemplateRef { name: "Small".into(), revision: None }).unwrap();
    assert_eq!((newest.revision, newest.description), (2, changed.description));
    assert_eq!(cloud.template(&first).unwrap().description, small().description);
    assert_eq!(cloud.templates().unwrap().len(), 1);
    let none = TemplateRef { name: "Small".into(), revision: Some(3) };
    refused(cloud.template(&none), Kind::NotFound, &["revision 3"]);
}

fn definitions(cloud: &dyn Cloud) {
    for name in ["zulu", ODD, "alpha"] {
        cloud.create_server(D, &server(name)).unwrap();
    }
    let names: Vec<String> = cloud.servers(D).unwrap().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["zulu", ODD, "alpha"], "the order of creation");
    cloud.create_server(D, &server("zulu")).unwrap();
    let unlike = Server { next: inputs(&[("A", text("b"))]), ..server("zulu") };
    refused(cloud.create_server(D, &unlike), Kind::Declined, &["zulu", "inputs"]);
    for bad in ["", " a", "a\nb"] {
        refused(cloud.create_server(D, &server(bad)), Kind::Usage, &[]);
    }
    let lost =
        Server { template: Some(TemplateRef { name: "No".into(), revision: None }), ..server("x") };
    refused(cloud.create_server(D, &lost), Kind::NotFound, &["No"]);
    refused(cloud.create_server("none", &server("x")), Kind::NotFound, &["none"]);
    let array = Array { name: "zulu".into(), maximum: 1, ..Array::default() };
    refused(cloud.create_array(D, &array), Kind::Declined, &["zulu"]);

    // tags and locks
    let target = Target::Next("alpha".into());
    let tags =
        |tags: &[&str]| -> BTreeSet<String> { tags.iter().map(|t| (*t).to_owned()).collect() };
    cloud.set_tags(D, &target, &tags(&["a:b=c", "d"]), &tags(&[])).unwrap();
    cloud.set_tags(D, &target, &tags(&["e"]), &tags(&["d", "never"])).unwrap();
    assert_eq!(found(cloud, "alpha").tags, tags(&["a:b=c", "e"]));
    let retag = |server: &str, add: &[&str], remove: &[&str]| Retag {
        server: server.into(),
        add: tags(add),
        remove: tags(remove),
    };
    let both = [retag("alpha", &["f"], &["e"]), retag("alpha", &["g"], &[])];
    cloud.retag(D, &both).unwrap();
    cloud.retag(D, &both).unwrap();
    assert_eq!(found(cloud, "alpha").tags, tags(&["a:b=c", "f", "g"]));
    // all of them or none
    let half = [retag("alpha", &["h"], &[]), retag("nobody", &["h"], &[])];
    refused(cloud.retag(D, &half), Kind::NotFound, &["nobody"]);
    assert_eq!(found(cloud, "alpha").tags, tags(&["a:b=c", "f", "g"]));
    cloud.set_lock(D, "alpha", true).unwrap();
    cloud.set_lock(D, "alpha", true).unwrap();
    refused(cloud.delete_server(D, "alpha"), Kind::Declined, &["locked"]);
    cloud.set_lock(D, "alpha", false).unwrap();
    cloud.delete_server(D, "alpha").unwrap();
    for result in [
        cloud.delete_server(D, "alpha"),
        cloud.set_lock(D, "alpha", true),
        cloud.set_inputs(D, &target, &BTreeMap::new()),
        cloud.set_tags(D, &target, &tags(&[]), &tags(&[])),
        cloud.launch(D, "alpha", &Launch::default()).map(|_| ()),
        cloud.settle(D, "alpha", WORK, QUIET).map(|_| ()),
        cloud.terminate(D, "alpha", WORK, QUIET),
        cloud.run(D, "alpha", &request("small say"), QUIET).map(|_| ()),
    ] {
        refused(result, Kind::NotFound, &["alpha"]);
    }

    // somebody else's server: named, and nothing more
    let foreign = Server {
        name: "theirs".into(),
        foreign: true,
        address: Some("127.0.0.9".parse().unwrap()),
        ..Server::default()
    };
    cloud.create_server(D, &foreign).unwrap();
    let foreign = found(cloud, "theirs");
    assert_eq!(foreign.address, Some("127.0.0.9".parse().unwrap()));
    refused(cloud.channel(&foreign).map(|_| ()), Kind::Declined, &["theirs"]);
    refused(cloud.launch(D, "theirs", &Launch::default()), Kind::Declined, &["theirs"]);
    refused(cloud.terminate(D, "theirs", WORK, QUIET), Kind::Declined, &["theirs"]);
    cloud.delete_server(D, "theirs").unwrap();
}

fn life(cloud: &dyn Cloud) {
    refused(cloud.run(D, "zulu", &request("small say"), QUIET), Kind::Declined, &["inactive"]);
    cloud.terminate(D, "zulu", WORK, QUIET).unwrap();
    let launched = cloud.launch(D, "zulu", &Launch::default()).unwrap();
    assert!(launched.state.is_up() && launched.address.is_some(), "{launched:?}");
    let settled = cloud.settle(D, "zulu", WORK, QUIET).unwrap();
    assert_eq!(settled.state, State::Operational);
    let current = settled.current.clone().unwrap();
    assert_eq!(current.scripts_done, ["small note", "small serve"]);
    assert_eq!(current.template.as_ref().unwrap().revision, Some(2), "the newest, by number");
    assert_eq!(Some(current.address), settled.address);
    assert_eq!(cloud.launch(D, "zulu", &Launch::default()).unwrap(), settled, "up stays as it is");
    assert_eq!(cloud.settle(D, "zulu", WORK, QUIET).unwrap(), settled);

    // what a script gets, and exactly that
    let channel = cloud.channel(&settled).unwrap();
    let get = |path: &str| String::from_utf8(channel.get(path).unwrap()).unwrap();
    assert_eq!(get("hello.txt"), "hello from an attachment\n");
    let seen = get("environment");
    let seen: BTreeMap<&str, &str> = seen.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(seen.get("GREETING"), Some(&"from the template"));
    assert_eq!(seen.get("SHARED"), Some(&"one"));
    assert_eq!(seen.get("RS_MACHINE"), Some(&current.id.as_str()));
    assert!(!seen.contains_key("LEAVE_NOTE"), "ignored is not there");
    for name in seen.keys().filter(|name| name.starts_with("RS_")) {
        assert!(["RS_MACHINE", "RS_ATTACH_DIR"].contains(name), "{name}");
    }
    let pid = get("pid");
    assert!(lives(&pid), "what a boot script leaves behind lives on");

    // locked: scripts run, nothing ends it
    cloud.set_lock(D, "zulu", true).unwrap();
    refused(cloud.terminate(D, "zulu", WORK, QUIET), Kind::Declined, &["locked"]);
    refused(cloud.delete_server(D, "zulu"), Kind::Declined, &["locked"]);
    let say = RunRequest { inputs: inputs(&[("TEXT", text("x"))]), ..request("small say") };
    assert_eq!(cloud.run(D, "zulu", &say, QUIET).unwrap().exit, 0);
    cloud.set_lock(D, "zulu", false).unwrap();
    refused(cloud.delete_server(D, "zulu"), Kind::Declined, &["operational"]);

    // the decommission scripts run, with the reason; then nothing is left
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    let note = folder.path().join("note");
    let set = BTreeMap::from([("LEAVE_NOTE".to_owned(), Some(text(&note.display().to_string())))]);
    cloud.set_inputs(D, &Target::Current("zulu".into()), &set).unwrap();
    cloud.terminate(D, "zulu", WORK, QUIET).unwrap();
    assert_eq!(std::fs::read_to_string(note).unwrap(), "terminate\n");
    let gone = found(cloud, "zulu");
    assert_eq!((gone.state, gone.address, &gone.current), (State::Terminated, None, &None));
    assert!(!std::path::Path::new(&current.home.clone().unwrap()).exists());
    assert!(!lives(&pid));
    cloud.terminate(D, "zulu", WORK, QUIET).unwrap();
    refused(cloud.channel(&gone).map(|_| ()), Kind::Declined, &["zulu"]);
    let again = up(cloud, "zulu");
    assert_ne!(again.current.unwrap().id, current.id, "a new machine");
}

fn values(cloud: &dyn Cloud) {
    let next = Target::Next(ODD.into());
    let set = |pairs: &[(&str, Option<Value>)]| -> BTreeMap<String, Option<Value>> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect()
    };
    let other = Value::Env { server: Some("zulu".into()), var: "PRIVATE_IP".into() };
    cloud
        .set_inputs(
            D,
            &next,
            &set(&[("GREETING", Some(text("next"))), ("OTHER_ADDRESS", Some(other)), ("X", None)]),
        )
        .unwrap();
    let launch = Launch { inputs: inputs(&[("SHARED", text("launch"))]), save: false };
    cloud.launch(D, ODD, &launch).unwrap();
    let server = cloud.settle(D, ODD, WORK, QUIET).unwrap();
    let current = server.current.clone().unwrap().inputs;
    assert_eq!(
        (&current["GREETING"].value, current["GREETING"].from),
        (&text("next"), Level::Server)
    );
    assert_eq!(
        (&current["SHARED"].value, current["SHARED"].from),
        (&text("launch"), Level::Launch)
    );
    assert_eq!(current["EXIT"].from, Level::Script);
    assert!(!server.next.contains_key("SHARED"), "a plain launch saves nothing");
    let seen = cloud.channel(&server).unwrap().get("environment").unwrap();
    let zulu = found(cloud, "zulu").address.unwrap();
    assert!(String::from_utf8(seen).unwrap().contains(&format!("OTHER_ADDRESS={zulu}\n")));

    // frozen: what changes above reaches nobody who runs
    cloud.set_inputs(D, &Target::Deployment, &set(&[("SHARED", Some(text("two")))])).unwrap();
    cloud.set_inputs(D, &next, &set(&[("GREETING", Some(Value::Inherit))])).unwrap();
    let server = found(cloud, ODD);
    assert_eq!(server.current.clone().unwrap().inputs, current);
    assert!(!server.next.contains_key("GREETING"));

    // current: set with its level, removed, and only while it runs
    let change = BTreeMap::from([
        ("GREETING".to_owned(), Some((text("copied"), Level::Deployment))),
        ("EXIT".to_owned(), None),
    ]);
    cloud.set_current(D, ODD, &change).unwrap();
    let now = found(cloud, ODD).current.unwrap().inputs;
    assert_eq!(now["GREETING"].from, Level::Deployment);
    assert!(!now.contains_key("EXIT"));
    cloud.terminate(D, ODD, WORK, QUIET).unwrap();
    refused(cloud.set_current(D, ODD, &change), Kind::Declined, &["current"]);
    refused(cloud.set_inputs(D, &next, &set(&[("A B", Some(text("x")))])), Kind::Usage, &["A B"]);

    // save and launch
    let launch = Launch { inputs: inputs(&[("KEPT", text("yes"))]), save: true };
    cloud.launch(D, ODD, &launch).unwrap();
    assert_eq!(found(cloud, ODD).next["KEPT"], text("yes"));
    cloud.settle(D, ODD, WORK, QUIET).unwrap();
}

fn runs(cloud: &dyn Cloud) {
    let lines = std::sync::Mutex::new(Vec::new());
    let say = RunRequest {
        inputs: inputs(&[("TEXT", text("a \"b\" $(c)")), ("PASSWORD", Value::Cred("PW".into()))]),
        stay: true,
        follow: true,
        ..request("small say")
    };
    let result =
        cloud.run(D, ODD, &say, &|line| lines.lock().unwrap().push(line.to_owned())).unwrap();
    assert_eq!(result.exit, 0);
    assert_eq!(result.tail, "a \"b\" $(c)\nstay: true\npassword: (cred:PW)");
    assert_eq!(lines.into_inner().unwrap().join("\n"), result.tail);
    assert_eq!(cloud.output(&result.id).unwrap(), result.tail + "\n");
    assert_eq!(result.values["TEXT"].from, Level::Run);
    assert_eq!(result.values["PASSWORD"].value, Value::Cred("PW".into()));
    assert!(!found(cloud, ODD).current.unwrap().inputs.contains_key("TEXT"), "never stored");

    let failing = cloud.run(D, ODD, &request("small fail"), QUIET).unwrap();
    assert_eq!(failing.exit, 3, "the script's own default");
    let failing = RunRequest { inputs: inputs(&[("EXIT", text("9"))]), ..request("small fail") };
    let failing = cloud.run(D, ODD, &failing, QUIET).unwrap();
    assert_eq!((failing.exit, failing.tail.as_str()), (9, "about to fail"), "a result, no error");
    refused(cloud.run(D, ODD, &request("small say"), QUIET), Kind::Usage, &["TEXT", "small say"]);
    let unknown = cloud.run(D, ODD, &request("none"), QUIET).unwrap_err();
    assert_eq!(unknown.kind(), Kind::Usage);
    assert!(unknown.advice().unwrap().contains("small linger"), "{:?}", unknown.advice());
    refused(cloud.output("run-999999"), Kind::NotFound, &["run-999999"]);

    // one at a time on a server, side by side on two
    let channel = cloud.channel(&found(cloud, ODD)).unwrap();
    let read = || String::from_utf8(channel.get("lingering").unwrap_or_default()).unwrap();
    std::thread::scope(|scope| {
        let both =
            [0, 1].map(|_| scope.spawn(|| cloud.run(D, ODD, &request("small linger"), QUIET)));
        until("one has begun", Duration::from_secs(20), || read().contains("begin"));
        let on_zulu = RunRequest { inputs: inputs(&[("TEXT", text("z"))]), ..request("small say") };
        cloud.run(D, "zulu", &on_zulu, QUIET).unwrap();
        assert_eq!(read().lines().count(), 1, "the second one waits");
        channel.put("enough", b"", 0o644).unwrap();
        for run in both {
            assert_eq!(run.join().unwrap().unwrap().exit, 0);
        }
    });
    let words: Vec<String> = read().lines().map(|l| l.split(' ').next().unwrap().into()).collect();
    assert_eq!(words, ["begin", "end", "begin", "end"]);

    // out of time
    channel.remove("enough").unwrap();
    let short = RunRequest { timeout: Duration::from_millis(500), ..request("small linger") };
    refused(cloud.run(D, ODD, &short, QUIET), Kind::TimedOut, &["small linger"]);
    let after = RunRequest { inputs: inputs(&[("TEXT", text("z"))]), ..request("small say") };
    assert_eq!(cloud.run(D, ODD, &after, QUIET).unwrap().exit, 0, "the next one is not held up");
}

fn failures(cloud: &dyn Cloud) {
    // missing inputs, all at once, and nothing is launched
    let mut strict = small();
    strict.name = "Strict".into();
    strict.inputs.clear();
    for name in ["NEEDED_ONE", "NEEDED_TWO"] {
        let decl = rs_model::InputDecl { required: true, ..rs_model::InputDecl::default() };
        strict.scripts[0].inputs.insert(name.into(), decl);
    }
    strict.digest = rs_drivers::templates::digest(&strict);
    cloud.put_template(&strict).unwrap();
    let reference = Some(TemplateRef { name: "Strict".into(), revision: None });
    cloud.create_server(D, &Server { template: reference.clone(), ..server("strict") }).unwrap();
    refused(
        cloud.launch(D, "strict", &Launch::default()),
        Kind::Usage,
        &["GREETING", "NEEDED_ONE", "NEEDED_TWO"],
    );
    assert_eq!(found(cloud, "strict").state, State::Inactive);

    // a boot script that fails strands it; it runs no scripts, and ends without any
    let set = BTreeMap::from([("FAIL_AT_BOOT".to_owned(), Some(text("yes")))]);
    cloud.create_server(D, &server("stranded")).unwrap();
    cloud.set_inputs(D, &Target::Next("stranded".into()), &set).unwrap();
    cloud.launch(D, "stranded", &Launch::default()).unwrap();
    let failed = cloud.settle(D, "stranded", WORK, QUIET);
    refused(failed, Kind::Failed, &["small serve", "exit 1", "told to fail"]);
    let stranded = found(cloud, "stranded");
    assert_eq!(stranded.state, State::StrandedInBooting);
    let current = stranded.current.unwrap();
    assert_eq!(current.scripts_done, ["small note"]);
    assert!(current.stranded_at.unwrap().starts_with("small serve (run-"));
    refused(cloud.settle(D, "stranded", WORK, QUIET), Kind::Failed, &["small serve"]);
    refused(cloud.run(D, "stranded", &request("small fail"), QUIET), Kind::Declined, &["stranded"]);
    cloud.set_lock(D, "stranded", true).unwrap();
    refused(cloud.terminate(D, "stranded", WORK, QUIET), Kind::Declined, &["locked"]);
    assert_eq!(found(cloud, "stranded").state, State::StrandedInBooting);
    cloud.set_lock(D, "stranded", false).unwrap();
    cloud.terminate(D, "stranded", WORK, QUIET).unwrap();

    // a decommission script that fails strands it; the second call ends it all the same
    let set = BTreeMap::from([
        ("FAIL_AT_BOOT".to_owned(), None),
        ("FAIL_AT_END".to_owned(), Some(text("yes"))),
    ]);
    cloud.set_inputs(D, &Target::Next("stranded".into()), &set).unwrap();
    up(cloud, "stranded");
    let failed = cloud.terminate(D, "stranded", WORK, QUIET);
    refused(failed, Kind::Failed, &["small leave", "exit 7", "will not go"]);
    assert_eq!(found(cloud, "stranded").state, State::StrandedInDecommissioning);
    cloud.terminate(D, "stranded", WORK, QUIET).unwrap();
    assert_eq!(found(cloud, "stranded").state, State::Terminated);
}

fn arrays(cloud: &dyn Cloud) {
    let array = Array {
        name: "array-1".into(),
        minimum: 1,
        maximum: 2,
        template: Some(TemplateRef { name: "Small".into(), revision: None }),
        tags: BTreeSet::from(["worker:active=true".to_owned()]),
        next: inputs(&[("GREETING", text("array"))]),
        ..Array::default()
    };
    cloud.create_array(D, &array).unwrap();
    cloud.create_array(D, &array).unwrap();
    let unlike = Array { maximum: 9, ..array.clone() };
    refused(cloud.create_array(D, &unlike), Kind::Declined, &["bounds"]);
    refused(cloud.create_server(D, &server("array-1")), Kind::Declined, &["array"]);
    refused(cloud.set_array(D, "array-1", true, 3, 2), Kind::Usage, &["minimum"]);
    cloud.set_array(D, "array-1", true, 1, 2).unwrap();

    let first = cloud.launch_instance(D, "array-1", &Launch::default()).unwrap();
    // what somebody calls so, and an address that somebody named, are left alone
    let named = Array { name: "array-1 #3".into(), maximum: 1, ..Array::default() };
    cloud.create_array(D, &named).unwrap();
    let IpAddr::V4(given) = first.address.unwrap() else { panic!("{first:?}") };
    let next = IpAddr::V4(Ipv4Addr::from(u32::from(given) + 1));
    let theirs = Server { foreign: true, address: Some(next), ..server("theirs") };
    cloud.create_server(D, &Server { template: None, ..theirs }).unwrap();
    let second = cloud.launch_instance(D, "array-1", &Launch::default()).unwrap();
    assert_ne!(second.address, Some(next), "a server that is named by address has it");
    cloud.delete_server(D, "theirs").unwrap();
    assert_eq!((first.name.as_str(), second.name.as_str()), ("array-1 #1", "array-1 #2"));
    let more = cloud.launch_instance(D, "array-1", &Launch::default());
    refused(more, Kind::Declined, &["maximum"]);
    let first = cloud.settle(D, &first.name, WORK, QUIET).unwrap();
    assert_eq!(first.array.as_deref(), Some("array-1"));
    assert!(first.tags.contains("worker:active=true"), "tags are copied at the launch");
    let current = first.current.unwrap();
    assert_eq!(current.inputs["GREETING"].from, Level::Array);
    let now = &cloud.arrays(D).unwrap()[0];
    assert_eq!(now.instances, ["array-1 #1", "array-1 #2"]);
    assert_eq!((now.operational, now.enabled), (1, true));
    refused(cloud.delete_array(D, "array-1"), Kind::Declined, &["array-1 #1"]);

    // an instance is gone with its machine, and its name is not given again
    cloud.terminate(D, "array-1 #1", WORK, QUIET).unwrap();
    refused(cloud.terminate(D, "array-1 #1", WORK, QUIET), Kind::NotFound, &[]);
    let third = cloud.launch_instance(D, "array-1", &Launch::default()).unwrap();
    assert_eq!(third.name, "array-1 #4", "an array is called array-1 #3");
    refused(cloud.launch_instance(D, "none", &Launch::default()), Kind::NotFound, &["none"]);
    let target = Target::Array("array-1".into());
    cloud.set_inputs(D, &target, &BTreeMap::from([("A".to_owned(), Some(text("b")))])).unwrap();
    assert_eq!(cloud.arrays(D).unwrap()[0].next["A"], text("b"));
}

fn open(scene: &Scene, mode: Mode) -> Box<dyn Cloud> {
    open_at(&scene.cloud(), mode)
}

fn open_at(url: &str, mode: Mode) -> Box<dyn Cloud> {
    rs_drivers::world(&Place { cloud: url.into(), state: None, mode, ..Place::default() })
        .unwrap()
        .cloud
}

fn machines(scene: &Scene) -> serde_json::Value {
    json!({"Local": {
        "Root": scene.text("machines"),
        "Addresses": format!("{}.0/24", scene.net),
        "Path": "/usr/bin:/bin",
        "User": "nobody",
    }})
}

/// Credentials are looked up in the environment, which a test may not change in the process of the others: the suite
/// runs as a process of its own.
#[test]
fn managed_keeps_the_contract() {
    const INSIDE: &str = "TESTS_CLOUD_SUITE";
    let scene = Scene::new("cloud");
    if std::env::var_os(INSIDE).is_none() {
        scene.credential("PW", "hunter22\n");
        let this = std::env::current_exe().unwrap().display().to_string();
        scene
            .call(&this, "the suite")
            .args(["contract::cloud::managed_keeps_the_contract", "--exact", "--nocapture"])
            .env(INSIDE, "1")
            .run()
            .exits(0);
        return;
    }
    let cloud = open(&scene, Mode::Real);
    suite(cloud.as_ref(), machines(&scene));
    let stored = std::fs::read(scene.path("site.db")).unwrap();
    let secret = b"hunter22";
    assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret), "a secret was stored");
}

#[test]
fn a_dry_run_reads_and_writes_nothing() {
    let scene = Scene::new("cloud-dry");
    open(&scene, Mode::Real)
        .put_deployment(&Deployment { name: D.into(), ..Deployment::default() })
        .unwrap();
    let before = std::fs::read(scene.path("site.db")).unwrap();
    let dry = open(&scene, Mode::DryRun);
    assert_eq!(dry.deployments().unwrap().len(), 1);
    dry.put_deployment(&Deployment {
        name: D.into(),
        inputs: inputs(&[("A", text("b"))]),
        ..Deployment::default()
    })
    .unwrap_err();
    assert_eq!(std::fs::read(scene.path("site.db")).unwrap(), before);
}

#[test]
fn two_at_once_lose_no_write() {
    let scene = Scene::new("cloud-race");
    let cloud = open(&scene, Mode::Real);
    cloud.put_deployment(&Deployment { name: D.into(), ..Deployment::default() }).unwrap();
    cloud.put_template(&small()).unwrap();
    cloud.create_server(D, &server("one")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let url = scene.cloud();
            scope.spawn(move || {
                let cloud = open_at(&url, Mode::Real);
                for n in 0..10 {
                    let tag = BTreeSet::from([format!("t{thread}-{n}")]);
                    let target = Target::Next("one".into());
                    cloud.set_tags(D, &target, &tag, &BTreeSet::new()).unwrap();
                    cloud.create_server(D, &server(&format!("s{thread}-{n}"))).unwrap();
                    cloud.create_server(D, &server("same")).unwrap();
                }
            });
        }
    });
    assert_eq!(found(cloud.as_ref(), "one").tags.len(), 80);
    assert_eq!(cloud.servers(D).unwrap().len(), 82);
}

#[test]
fn ten_times_the_servers_take_about_ten_times_as_long_to_list() {
    let scene = Scene::new("cloud-many");
    let cloud = open(&scene, Mode::Real);
    cloud.put_deployment(&Deployment { name: D.into(), ..Deployment::default() }).unwrap();
    cloud.put_template(&small()).unwrap();
    let array = Array { name: "a".into(), maximum: 1, ..Array::default() };
    cloud.create_array(D, &array).unwrap();
    let measure = |upto: usize| {
        for n in cloud.servers(D).unwrap().len()..upto {
            cloud.create_server(D, &server(&format!("s{n}"))).unwrap();
        }
        let best = (0..5).map(|_| {
            let begun = Instant::now();
            assert_eq!(cloud.servers(D).unwrap().len(), upto);
            assert_eq!(cloud.arrays(D).unwrap().len(), 1);
            begun.elapsed()
        });
        best.min().unwrap()
    };
    let few = measure(100).max(Duration::from_micros(500));
    let many = measure(1000);
    assert!(many < few * 40, "100 in {few:?}, 1000 in {many:?}");
}
