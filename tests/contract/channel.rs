//! The contract of `Channel`, and its driver `local`.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rs_contract::{Channel, Command, Endpoint, Kind, Machines, Work};
use rs_tests::{Scene, until};
use serde_json::json;

use super::lives;

fn command(words: &[&str]) -> Command {
    Command {
        argv: words.iter().map(|word| (*word).to_owned()).collect(),
        timeout: Duration::from_secs(20),
        ..Command::default()
    }
}

fn bash(text: &str) -> Command {
    command(&["bash", "-c", text])
}

/// What every driver must do.
fn suite(channel: &dyn Channel) {
    let run = |wanted: &Command| channel.run(wanted, &|_| {}).unwrap();

    // an argument list is not a shell line, and nothing of our environment gets there
    let odd = "a b;$(touch x) \"q\" 'r' *\n";
    assert_eq!(run(&command(&["printf", "%s", odd])).text, odd);
    let env =
        Command { env: BTreeMap::from([("ODD".into(), odd.into())]), ..command(&["env", "-0"]) };
    let seen = run(&env).text;
    let seen: BTreeMap<&str, &str> = seen.split('\0').filter_map(|e| e.split_once('=')).collect();
    assert_eq!(seen.get("ODD"), Some(&odd));
    assert_eq!(seen.get("HOME"), Some(&channel.home()));
    assert_eq!(seen.get("LANG"), Some(&"C.UTF-8"));
    let known = ["ODD", "HOME", "LANG", "PATH", "USER", "RS_MACHINE"];
    let more: Vec<&&str> = seen.keys().filter(|name| !known.contains(*name)).collect();
    assert!(more.is_empty(), "inherited: {more:?}");

    // where it runs
    assert_eq!(run(&command(&["pwd"])).text.trim(), channel.home());
    let elsewhere = Command { cwd: Some("/".into()), ..command(&["pwd"]) };
    assert_eq!(run(&elsewhere).text.trim(), "/");

    // how it ends
    assert_eq!(run(&bash("exit 7")).exit, 7);
    assert_eq!(run(&bash("kill -9 $$")).exit, 137);
    let missing = channel.run(&command(&["no-such-program"]), &|_| {}).unwrap_err();
    assert!(missing.to_string().contains("no-such-program"), "{missing}");
    channel.run(&Command::default(), &|_| {}).unwrap_err();

    // output is one stream in the order in which it came, line by line as it comes
    let lines = Mutex::new(Vec::new());
    let both = bash("echo a; echo b >&2; echo c >/dev/stderr; echo d >/dev/stdout; printf e");
    let said = channel
        .run(&both, &|line| lines.lock().unwrap().push((line.to_owned(), Instant::now())))
        .unwrap();
    assert_eq!(said.text, "a\nb\nc\nd\ne");
    let heard: Vec<String> =
        lines.into_inner().unwrap().into_iter().map(|(line, _)| line).collect();
    assert_eq!(heard, ["a", "b", "c", "d", "e"]);
    let (first, begun) = (Mutex::new(None), Instant::now());
    channel
        .run(&bash("echo now; sleep 1; echo then"), &|_| {
            first.lock().unwrap().get_or_insert(begun.elapsed());
        })
        .unwrap();
    assert!(first.lock().unwrap().unwrap() < Duration::from_millis(900), "a line comes at once");

    // what is fed comes in whole; a command that does not listen is no error
    let much: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect();
    let fed = Command { stdin: much.clone(), ..command(&["sha256sum"]) };
    let alone = Command { stdin: Vec::new(), ..command(&["sha256sum"]) };
    assert_ne!(run(&fed).text, run(&alone).text);
    let echoed = Command { stdin: much.clone(), ..command(&["cat"]) };
    assert_eq!(run(&echoed).text.as_bytes(), much);
    assert_eq!(run(&Command { stdin: much, ..command(&["true"]) }).exit, 0);

    // what is left behind lives on, does not hold the command up, and may go on talking
    let begun = Instant::now();
    let left = run(&bash("(while :; do echo talks; sleep 0.02; done) & echo $!"));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let pid = left.text.lines().find(|line| line.parse::<u32>().is_ok()).unwrap().to_owned();
    let log = || channel.get("log/output.log").unwrap_or_default().len();
    let before = log();
    until("the daemon goes on talking", Duration::from_secs(10), || log() > before + 200);
    assert!(lives(&pid), "a daemon died of a closed output");
    assert_eq!(run(&bash(&format!("kill {pid}"))).exit, 0);
    until("the daemon ends", Duration::from_secs(5), || !lives(&pid));

    // one that is out of time is ended with all that it began
    let begun = Instant::now();
    let slow = Command {
        timeout: Duration::from_millis(600),
        ..bash("trap '' TERM; sleep 300 & setsid sleep 301 & echo \"$!\" >slow; echo waits; wait")
    };
    let late = channel.run(&slow, &|_| {}).unwrap_err();
    assert_eq!(late.kind(), Kind::TimedOut);
    assert!(late.to_string().contains("waits"), "its last words are in the error: {late}");
    assert!(begun.elapsed() < Duration::from_secs(15));
    let child = String::from_utf8(channel.get("slow").unwrap()).unwrap();
    assert!(!lives(&child), "a grandchild lives on");

    files(channel);

    // where we connect
    let tcp = Endpoint::Tcp("127.0.0.1".into(), 1);
    assert_eq!(channel.reach(&tcp).unwrap(), tcp);
    let socket = Endpoint::Unix(format!("{}/run/x.sock", channel.home()));
    assert_eq!(channel.reach(&socket).unwrap(), socket);
    assert_eq!(channel.reach(&Endpoint::Unix("run/x.sock".into())).unwrap(), socket);
}

fn files(channel: &dyn Channel) {
    let missing = channel.get("etc/none").unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound, "{missing}");
    let bytes: Vec<u8> = (0..=255).collect();
    let name = "etc/a b;$(touch y) \"q\" 'r' -x\n.cfg";
    channel.put(name, &bytes, 0o640).unwrap();
    assert_eq!(channel.get(name).unwrap(), bytes);
    let whole = format!("{}/{name}", channel.home());
    assert_eq!(channel.get(&whole).unwrap(), bytes, "absolute and relative name the same");
    let mode = std::fs::metadata(&whole).unwrap();
    assert_eq!(mode.permissions().mode() & 0o7777, 0o640);
    let home = std::fs::metadata(channel.home()).unwrap();
    assert_eq!((mode.uid(), mode.gid()), (home.uid(), home.gid()), "it belongs to the server");

    // a writer that puts and a reader that gets meet no half file
    let (ones, twos) = (vec![b'1'; 400_000], vec![b'2'; 300_000]);
    channel.put("etc/swap", &ones, 0o644).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..20 {
                let content = if n % 2 == 0 { &twos } else { &ones };
                channel.put("etc/swap", content, 0o644).unwrap();
            }
        });
        while !writer.is_finished() {
            let seen = std::fs::read(format!("{}/etc/swap", channel.home())).unwrap();
            assert!(seen == ones || seen == twos, "half a file of {} bytes", seen.len());
        }
    });
    let left: Vec<String> = std::fs::read_dir(format!("{}/etc", channel.home()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left.len(), 2, "temporary files were left: {left:?}");

    channel.put("folder/x", b"x", 0o600).unwrap();
    let bad = channel.put("folder", b"x", 0o600).unwrap_err();
    assert_eq!(bad.kind(), Kind::Failed, "{bad}");
    assert_eq!(channel.get("folder/x").unwrap(), b"x");
    channel.remove(name).unwrap();
    channel.remove(name).unwrap();
    assert_eq!(channel.get(name).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn local_keeps_the_contract() {
    let scene = Scene::new("channel");
    let machines: Box<dyn Machines> = rs_drivers::machines(&json!({"Local": {
        "Root": scene.text("machines"),
        "Addresses": format!("{}.0/25", scene.net),
        "Path": "/usr/bin:/bin",
        "User": "nobody",
    }}))
    .unwrap();
    let machine = machines.make("i-channel", &[]).unwrap();
    let channel = machines.channel(&machine).unwrap();
    suite(channel.as_ref());

    // its own: an unprivileged user without other groups, and links of its making lead us nowhere
    if rustix::process::geteuid().is_root() {
        let who = channel.run(&bash("id -un; id -G"), &|_| {}).unwrap().text;
        assert_eq!(who, "nobody\n65534\n");
        channel.run(&bash("ln -s /etc etc-link"), &|_| {}).unwrap();
        channel.put("etc-link/rs-was-here", b"x", 0o644).unwrap_err();
        assert!(!Path::new("/etc/rs-was-here").exists());
        channel.get("/etc/shadow").unwrap_err();
    }

    // a flood is cut in the middle and does not fill the memory
    let flood =
        channel.run(&bash("echo first; yes | head -c 60000000; echo last"), &|_| {}).unwrap();
    assert!(flood.text.len() < 20_000_000, "{}", flood.text.len());
    let (begin, end) = (&flood.text[..20], &flood.text[flood.text.len() - 20..]);
    assert!(begin.starts_with("first\n") && end.ends_with("last\n"), "{begin:?} … {end:?}");
    machines.end(&machine, Work { timeout: Duration::from_secs(30) }).unwrap();
}
