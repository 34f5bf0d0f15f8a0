//! The suite of `Balancer`, on a real HAProxy, of the machine's version and a newer one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rs_contract::{Change, Kind};
use rs_drivers::http::Probe;
use rs_model::member::{Admin, Member};
use rs_tests::{App, CONFIG, Engines, Scene, each_engine, until};

each_engine!(
    members_come_serve_stand_by_and_go_and_a_second_call_changes_nothing,
    what_is_prepared_is_refused_early_changes_nothing_and_need_not_be_looked_at_again,
    members_and_standby_survive_a_reload,
    what_an_old_worker_still_serves_is_named_and_counted,
    a_member_goes_after_its_last_request_and_is_cut_off_only_when_told,
    a_request_in_an_old_worker_is_cut_off_too,
    names_that_attack_stay_names,
    a_configuration_that_haproxy_refuses_stops_everything_before_anything_changed,
    without_markers_or_channel_it_says_that_it_cannot_save,
    lines_written_by_hand_are_members_and_one_outside_the_markers_is_not_ours_to_remove,
    a_line_that_only_the_file_has_is_told_and_goes_with_the_next_change,
    a_dead_and_a_frozen_balancer_are_unreachable_within_seconds,
);

fn present(app: &App, id: &str, admin: Admin) -> Change {
    Change::Present { address: app.address.parse().unwrap(), port: app.port, id: id.into(), admin }
}

fn absent(app: &App) -> Change {
    Change::Absent { address: app.address.parse().unwrap(), port: app.port }
}

fn of<'a>(members: &'a [Member], app: &App) -> Option<&'a Member> {
    let address: IpAddr = app.address.parse().unwrap();
    members.iter().find(|m| (m.address, m.port) == (address, app.port))
}

fn members_come_serve_stand_by_and_go_and_a_second_call_changes_nothing(engines: Engines) {
    let scene = Scene::on(engines, "members");
    let (one, two) = (scene.app("one"), scene.app("two"));
    let lb = scene.balanced("Load Balancer-1", CONFIG);
    let driver = lb.balancer(&scene);
    assert_eq!(driver.pools().unwrap(), ["www"]);
    assert!(driver.members("www").unwrap().is_empty());
    assert_eq!(lb.get("/").status, 503);

    let wishes =
        [present(&one, "App Server-1", Admin::Ready), present(&two, "App Server-2", Admin::Maint)];
    let members = driver.apply("www", &wishes).unwrap();
    assert_eq!(members.len(), 2);
    let first = of(&members, &one).unwrap();
    assert_eq!(
        (first.id.as_str(), first.admin, first.saved),
        ("App-Server-1", Admin::Ready, Some(true))
    );
    assert_eq!(of(&members, &two).unwrap().admin, Admin::Maint);
    until("the first to be checked", Duration::from_secs(10), || {
        let members = driver.members("www").unwrap();
        of(&members, &one).unwrap().last_check.as_deref() == Some("L7OK")
    });
    for _ in 0..6 {
        assert_eq!(lb.get("/").body, b"one", "a member in maint gets nothing");
    }
    let (text, changed) = (lb.text(), std::fs::metadata(&lb.config).unwrap().modified().unwrap());
    assert!(text.contains("server App-Server-2 ") && text.contains(" disabled\n"), "{text}");
    driver.apply("www", &wishes).unwrap();
    assert_eq!(std::fs::metadata(&lb.config).unwrap().modified().unwrap(), changed);

    let swap = [absent(&one), present(&two, "another name", Admin::Ready)];
    let members = driver.apply("www", &swap).unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(of(&members, &two).unwrap().id, "App-Server-2", "known by address, not by name");
    assert_eq!(lb.get("/").body, b"two");
    assert!(!lb.text().contains("App-Server-1"), "{}", lb.text());
    driver.apply("www", &swap).unwrap();
    assert!(!lb.config.with_extension("cfg.rs-new").exists(), "nothing is left beside the file");
}

fn what_is_prepared_is_refused_early_changes_nothing_and_need_not_be_looked_at_again(
    engines: Engines,
) {
    let scene = Scene::on(engines, "prepare");
    let (one, two) = (scene.app("one"), scene.app("two"));
    let lb = scene.balanced("lb", CONFIG);
    let driver = lb.balancer(&scene);
    driver.apply("www", &[present(&one, "a", Admin::Ready)]).unwrap();
    let before = (driver.members("www").unwrap().len(), lb.text());
    let swap = [absent(&one), present(&two, "b", Admin::Ready)];
    driver.prepare("www", &swap).unwrap();
    driver.prepare("www", &swap).unwrap();
    assert_eq!((driver.members("www").unwrap().len(), lb.text()), before);
    assert!(!lb.config.with_extension("cfg.rs-new").exists(), "nothing is left beside the file");

    // what somebody wrote meanwhile is looked at
    let good = lb.text();
    std::fs::write(&lb.config, good.replace("option redispatch", "balance nonsense")).unwrap();
    for result in [driver.prepare("www", &swap), driver.apply("www", &swap).map(|_| ())] {
        let e = result.unwrap_err();
        assert_eq!(e.kind(), Kind::Declined, "{e}");
    }
    std::fs::write(&lb.config, &good).unwrap();
    let mode = std::fs::metadata(&lb.config).unwrap().permissions();
    let members = driver.apply("www", &swap).unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(std::fs::metadata(&lb.config).unwrap().permissions(), mode);
    assert!(lb.text().contains("server b ") && !lb.text().contains("server a "));
    assert_eq!(driver.prepare("nope", &swap).unwrap_err().kind(), Kind::NotFound);
}

fn members_and_standby_survive_a_reload(engines: Engines) {
    let scene = Scene::on(engines, "survive");
    let (one, two) = (scene.app("one"), scene.app("two"));
    let lb = scene.balanced("lb", CONFIG);
    let driver = lb.balancer(&scene);
    let wishes = [present(&one, "a", Admin::Ready), present(&two, "b", Admin::Maint)];
    driver.apply("www", &wishes).unwrap();
    lb.reload();
    let members = driver.members("www").unwrap();
    let states: Vec<_> = members.iter().map(|m| (m.id.as_str(), m.admin, m.saved)).collect();
    assert_eq!(states, [("a", Admin::Ready, Some(true)), ("b", Admin::Maint, Some(true))]);
    driver.apply("www", &[present(&two, "b", Admin::Ready), absent(&one)]).unwrap();
    lb.reload();
    let members = driver.members("www").unwrap();
    let states: Vec<_> = members.iter().map(|m| (m.id.as_str(), m.admin)).collect();
    assert_eq!(states, [("b", Admin::Ready)]);
    assert_eq!(lb.get("/").body, b"two");
}

fn what_an_old_worker_still_serves_is_named_and_counted(engines: Engines) {
    let scene = Scene::on(engines, "old-worker");
    let (one, two) = (scene.app("one"), scene.app("two"));
    let lb = scene.balanced("lb", CONFIG);
    let driver = lb.balancer(&scene);
    driver.apply("www", &[present(&one, "a", Admin::Ready)]).unwrap();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| lb.get("/slow"));
        until("the slow request", Duration::from_secs(10), || one.slow() == 1);
        lb.reload();
        let members = driver.members("www").unwrap();
        let member = of(&members, &one).unwrap();
        assert_eq!(member.sessions, 1);
        assert!(member.status.contains("old worker"), "{}", member.status);
        let members =
            driver.apply("www", &[absent(&one), present(&two, "b", Admin::Ready)]).unwrap();
        let left = of(&members, &one).unwrap();
        assert!(left.status.contains("only in the old worker"), "{}", left.status);
        assert_eq!(left.sessions, 1);
        one.let_go();
        assert_eq!(slow.join().unwrap().status, 200);
    });
    until("the old worker to end", Duration::from_secs(20), || {
        of(&driver.members("www").unwrap(), &one).is_none()
    });
}

fn a_member_goes_after_its_last_request_and_is_cut_off_only_when_told(engines: Engines) {
    let scene = Scene::on(engines, "last-request");
    let (one, two) = (scene.app("one"), scene.app("two"));
    let lb = scene.balanced("lb", CONFIG);
    let driver = lb.balancer(&scene);
    let both = [present(&one, "a", Admin::Ready), present(&two, "b", Admin::Maint)];
    driver.apply("www", &both).unwrap();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| lb.get("/slow"));
        until("the slow request", Duration::from_secs(10), || one.slow() == 1);
        let (other, change) =
            (lb.balancer(&scene), [absent(&one), present(&two, "b", Admin::Ready)]);
        let gone = scope.spawn(move || other.apply("www", &change));
        until("the switch", Duration::from_secs(10), || lb.get("/").body == b"two");
        assert!(!gone.is_finished(), "it waits for the last request");
        one.let_go();
        assert_eq!(gone.join().unwrap().unwrap().len(), 1);
        assert_eq!(slow.join().unwrap().status, 200);

        // the client of a request that is cut off gets 502, or of later versions no answer at all
        let slow = scope.spawn(|| {
            let address = format!("{}:8080", lb.haproxy.address).parse().unwrap();
            Probe::new(address, "", "/slow").send().map_or(502, |answer| answer.status)
        });
        until("the second slow request", Duration::from_secs(10), || two.slow() == 1);
        let address = two.address.parse().unwrap();
        assert_eq!(driver.kill_sessions("www", address, two.port).unwrap(), 1);
        assert_eq!(slow.join().unwrap(), 502);
        assert_eq!(driver.kill_sessions("www", address, two.port).unwrap(), 0);
    });
}

fn a_request_in_an_old_worker_is_cut_off_too(engines: Engines) {
    let scene = Scene::on(engines, "old-cut");
    let one = scene.app("one");
    let lb = scene.balanced("lb", CONFIG);
    let driver = lb.balancer(&scene);
    driver.apply("www", &[present(&one, "a", Admin::Ready)]).unwrap();
    std::thread::scope(|scope| {
        let slow = || {
            let address = format!("{}:8080", lb.haproxy.address).parse().unwrap();
            Probe::new(address, "", "/slow").send().map_or(502, |answer| answer.status)
        };
        let first = scope.spawn(slow);
        until("the slow request", Duration::from_secs(10), || one.slow() == 1);
        lb.reload();
        let second = scope.spawn(slow);
        until("one in the new worker too", Duration::from_secs(10), || one.slow() == 2);
        let address = one.address.parse().unwrap();
        assert_eq!(driver.kill_sessions("www", address, one.port).unwrap(), 2);
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (502, 502));
    });
}

fn names_that_attack_stay_names(engines: Engines) {
    let scene = Scene::on(engines, "attack");
    let lb = scene.balanced("lb", CONFIG);
    let driver = lb.balancer(&scene);
    let names = [
        "x;disable frontend site",
        "x\nshutdown sessions server www/a",
        "$(touch /tmp/owned)",
        "it's \"this\"",
        "a # rs-members end www",
        "Ünï cödé",
        "--",
    ];
    let apps: Vec<App> = names.iter().map(|name| scene.app(name)).collect();
    let wishes: Vec<Change> =
        apps.iter().zip(names).map(|(app, name)| present(app, name, Admin::Ready)).collect();
    let members = driver.apply("www", &wishes).unwrap();
    assert_eq!(members.len(), names.len());
    assert_eq!(lb.get("/").status, 200, "the frontend is as it was");
    lb.reload();
    assert_eq!(driver.members("www").unwrap().len(), names.len());
    let e = driver.members("www;disable frontend site").unwrap_err();
    assert_eq!(e.kind(), Kind::Usage);
    assert_eq!(driver.members("nope").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(driver.apply("nope", &[]).unwrap_err().kind(), Kind::NotFound);
}

fn a_configuration_that_haproxy_refuses_stops_everything_before_anything_changed(engines: Engines) {
    let scene = Scene::on(engines, "refused");
    let one = scene.app("one");
    let lb = scene.balanced("lb", CONFIG);
    let broken = lb.text().replace("option redispatch", "option no-such-option");
    std::fs::write(&lb.config, &broken).unwrap();
    let driver = lb.balancer(&scene);
    let e = driver.apply("www", &[present(&one, "a", Admin::Ready)]).unwrap_err();
    assert_eq!(e.kind(), Kind::Declined);
    assert!(e.to_string().contains("no-such-option"), "{e}");
    assert_eq!(lb.text(), broken);
    assert!(driver.members("www").unwrap().is_empty(), "the runtime is as it was");
}

fn without_markers_or_channel_it_says_that_it_cannot_save(engines: Engines) {
    let scene = Scene::on(engines, "no-markers");
    let (one, two) = (scene.app("one"), scene.app("two"));
    let lb = scene.balanced("lb", &CONFIG.replace("# rs-members begin www", "# nothing"));
    let driver = lb.balancer(&scene);
    let e = driver.can_save("www").unwrap_err();
    assert_eq!(e.kind(), Kind::Declined);
    assert!(e.to_string().contains("once") || e.to_string().contains("rs-members"), "{e}");
    let before = lb.text();
    let members = driver.apply("www", &[present(&one, "a", Admin::Ready)]).unwrap();
    assert_eq!(of(&members, &one).unwrap().saved, Some(false));
    assert_eq!(lb.text(), before);

    let mut foreign = scene.balanced("foreign lb", CONFIG);
    foreign.server.foreign = true;
    let e = rs_drivers::balancer(&foreign.server, &foreign.settings, None).map(|_| ());
    assert!(e.is_ok(), "a folder of its own is known here");
    foreign.set("LB_RUNTIME_SOCKET", &format!("tcp:{}:9999", foreign.haproxy.address));
    let driver = rs_drivers::balancer(&foreign.server, &foreign.settings, None).unwrap();
    assert_eq!(driver.can_save("www").unwrap_err().kind(), Kind::Declined);
    let members = driver.apply("www", &[present(&two, "b", Admin::Ready)]).unwrap();
    assert_eq!(of(&members, &two).unwrap().saved, None);
    assert_eq!(foreign.get("/").body, b"two");
}

fn lines_written_by_hand_are_members_and_one_outside_the_markers_is_not_ours_to_remove(
    engines: Engines,
) {
    let scene = Scene::on(engines, "by-hand");
    let (one, two) = (scene.app("one"), scene.app("two"));
    let config = CONFIG.replace(
        "  option redispatch",
        &format!("  option redispatch\n  server fixed {}:8000 check", one.address),
    );
    let lb = scene.balanced("lb", &config);
    let driver = lb.balancer(&scene);
    let members = driver.members("www").unwrap();
    assert_eq!(of(&members, &one).unwrap().saved, Some(true));
    let e = driver.apply("www", &[absent(&one)]).unwrap_err();
    assert_eq!(e.kind(), Kind::Declined);
    assert!(e.to_string().contains("outside"), "{e}");
    driver.apply("www", &[present(&two, "b", Admin::Ready)]).unwrap();
    let begin = lb.text().find("rs-members begin").unwrap();
    let end = lb.text().find("rs-members end").unwrap();
    let block = lb.text()[begin..end].to_owned();
    assert!(block.contains("server b ") && !block.contains("fixed"), "{block}");
}

fn a_line_that_only_the_file_has_is_told_and_goes_with_the_next_change(engines: Engines) {
    let scene = Scene::on(engines, "file-only");
    let (one, two) = (scene.app("one"), scene.app("two"));
    let lb = scene.balanced("lb", CONFIG);
    let driver = lb.balancer(&scene);
    let text = lb
        .text()
        .replace("begin www\n", &format!("begin www\n  server ghost {}:8000 check\n", one.address));
    std::fs::write(&lb.config, text).unwrap();
    let members = driver.members("www").unwrap();
    assert_eq!(of(&members, &one).unwrap().saved, Some(false));
    let members = driver.apply("www", &[present(&two, "b", Admin::Ready)]).unwrap();
    assert!(of(&members, &one).is_none());
    assert!(!lb.text().contains("ghost"));
}

fn a_dead_and_a_frozen_balancer_are_unreachable_within_seconds(engines: Engines) {
    let scene = Scene::on(engines, "frozen");
    let lb = scene.balanced("lb", CONFIG);
    let driver = lb.balancer(&scene);
    let pid = lb.worker();
    let worker = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(worker, rustix::process::Signal::STOP).unwrap();
    until("every thread to stand", Duration::from_secs(10), || {
        std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    });
    let begun = Instant::now();
    let e = driver.members("www").unwrap_err();
    rustix::process::kill_process(worker, rustix::process::Signal::CONT).unwrap();
    assert_eq!(e.kind(), Kind::Unreachable, "{e}");
    assert!(begun.elapsed() < Duration::from_secs(15));
    driver.members("www").unwrap();
    let master = rustix::process::Pid::from_raw(lb.haproxy.pid as i32).unwrap();
    rustix::process::kill_process(master, rustix::process::Signal::TERM).unwrap();
    until("it to be gone", Duration::from_secs(20), || driver.members("www").is_err());
    let e = driver.members("www").unwrap_err();
    assert_eq!(e.kind(), Kind::Unreachable, "{e}");
    assert!(e.advice().is_some_and(|hint| hint.contains("LB_RUNTIME_SOCKET")), "{e}");
}
