//! The contract of `Machines`, and its driver `local`.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use rs_contract::{Command, Kind, Machine, Machines, Work};
use rs_tests::Scene;
use serde_json::json;

use super::lives;

const SOON: Work = Work { timeout: Duration::from_secs(30) };

fn local(scene: &Scene, range: &str) -> Box<dyn Machines> {
    let config = json!({"Local": {
        "Root": scene.text("machines"),
        "Addresses": range,
        "Path": "/usr/bin:/bin",
        "User": "nobody",
    }});
    rs_drivers::machines(&config).unwrap()
}

fn start(machines: &dyn Machines, machine: &Machine, text: &str) -> String {
    let command = Command {
        argv: ["/bin/bash", "-c", text].map(str::to_owned).to_vec(),
        timeout: Duration::from_secs(20),
        ..Command::default()
    };
    machines.channel(machine).unwrap().run(&command, &|_| {}).unwrap().text
}

/// What every driver must do.
fn suite(machines: &dyn Machines) {
    let one = machines.make("i-one", &[]).unwrap();
    assert_eq!(machines.make("i-one", &[]).unwrap(), one, "a repeated call returns the same");
    let two = machines.make("i-two", &[]).unwrap();
    assert_ne!(one.address, two.address);
    assert_ne!(one.home, two.home);
    assert!(machines.alive(&one).unwrap());

    // nothing outlives its machine, whatever it did; and nothing of another one is touched
    let pids: Vec<String> = [
        "sleep 300 & echo $!",
        "setsid sleep 300 >/dev/null 2>&1 & echo $!",
        "(cd / && exec setsid sleep 300) >/dev/null 2>&1 & echo $!",
        "(trap '' TERM; while :; do sleep 0.05; done) >/dev/null 2>&1 & echo $!",
        // without its cookie: found by where it works
        "env -i /bin/sleep 300 >/dev/null 2>&1 & echo $!",
        // somebody who starts again what ends
        "(while :; do sleep 300; done) >/dev/null 2>&1 & echo $!",
    ]
    .iter()
    .map(|text| start(machines, &one, text))
    .collect();
    let other = start(machines, &two, "sleep 300 >/dev/null 2>&1 & echo $!");
    assert!(pids.iter().all(|pid| lives(pid)), "daemons that a command leaves behind live on");
    machines.end(&one, SOON).unwrap();
    assert!(pids.iter().all(|pid| !lives(pid)), "no process is left: {pids:?}");
    assert!(lives(&other), "another machine's process was ended");
    assert!(!machines.alive(&one).unwrap());
    assert!(!Path::new(&one.home).exists());
    assert_eq!(machines.channel(&one).err().unwrap().kind(), Kind::NotFound);
    machines.end(&one, SOON).unwrap();
    assert!(machines.alive(&two).unwrap());
    machines.end(&two, SOON).unwrap();
    assert!(!lives(&other));
}

#[test]
fn local_keeps_the_contract() {
    let scene = Scene::new("machines");
    suite(local(&scene, &format!("{}.0/25", scene.net)).as_ref());
}

#[test]
fn an_address_is_given_once_and_only_when_nobody_listens_on_it() {
    let scene = Scene::new("machines-addresses");
    let machines = local(&scene, &format!("{}.8/29", scene.net));
    let address = |last: u8| -> IpAddr { format!("{}.{last}", scene.net).parse().unwrap() };
    let _listener = TcpListener::bind((address(10), 0)).unwrap();
    let udp = std::net::UdpSocket::bind((address(11), 0)).unwrap();
    let used = [address(9)];
    let made: BTreeSet<IpAddr> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..3)
            .map(|n| {
                let (machines, used) = (&machines, &used);
                scope.spawn(move || machines.make(&format!("i-addr-{n}"), used).unwrap().address)
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    assert_eq!(made, [address(12), address(13), address(14)].into());
    let full = machines.make("i-addr-more", &used).unwrap_err();
    assert_eq!(full.kind(), Kind::Declined);

    // one that was given back comes last, since somebody may still know it
    drop(udp);
    let first = machines.make("i-addr-0", &used).unwrap();
    machines.end(&first, SOON).unwrap();
    let next = machines.make("i-addr-next", &used).unwrap();
    assert_eq!(next.address, address(11));
}

#[test]
fn what_a_kill_left_half_made_is_finished() {
    let scene = Scene::new("machines-kill");
    let machines = local(&scene, &format!("{}.0/25", scene.net));
    let made = machines.make("i-kill-half", &[]).unwrap();
    std::fs::remove_dir_all(&made.home).unwrap();
    assert!(!machines.alive(&made).unwrap());
    assert_eq!(machines.make("i-kill-half", &[]).unwrap(), made);
    assert!(machines.alive(&made).unwrap());
    // the folder went, the entry did not
    std::fs::remove_dir_all(&made.home).unwrap();
    machines.end(&made, SOON).unwrap();
    let again = machines.make("i-kill-half", &[]).unwrap();
    assert_ne!(again.address, made.address, "the entry was removed too");
}

#[test]
fn a_root_that_the_servers_user_cannot_reach_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::new("machines-closed");
    let closed = scene.path("machines");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let machines = local(&scene, &format!("{}.0/25", scene.net));
    let bad = machines.make("i-closed-one", &[]).unwrap_err();
    assert_eq!(bad.kind(), Kind::Declined);
    assert!(bad.what().contains(&closed.display().to_string()), "{bad}");
    assert!(bad.advice().unwrap().contains("chmod"), "{bad}");
}
