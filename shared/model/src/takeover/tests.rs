use super::*;
use crate::replica::{Channel, HELD_HOST, Identity, KnownBy};

fn at(gtid: &str) -> Position {
    Position { gtid: Some(gtid.into()), ..Position::default() }
}

fn server() -> Identity {
    Identity { server_id: 3, uuid: Some("u3".into()), version: "10.11.6".into() }
}

fn good() -> TakeoverFacts {
    let held = HeldAt {
        position: at("0-1-40"),
        own: at("0-1-40"),
        schema: "shop".into(),
        schema_fingerprint: "f".into(),
        source_host: "127.0.0.1".into(),
        source_port: 3306,
        at: "2026-11-24T14:02:11.000Z".into(),
        fenced_by: None,
        known_by: Some(KnownBy { server: server(), canaries: 7 }),
    };
    let channel = Channel { source_host: HELD_HOST.into(), uses_gtid: true, ..Channel::default() };
    let now = Replica {
        identity: server(),
        channels: vec![Channel { io_running: "No".into(), sql_running: "No".into(), ..channel }],
        applied: at("0-1-40"),
        own: at("0-1-40"),
        own_state: Some("0-1-40".into()),
        read_only: true,
        ..Replica::default()
    };
    TakeoverFacts {
        candidate: "Slave2 DB".into(),
        held,
        now,
        canaries: 7,
        schema: "f".into(),
        left_half: vec![],
        migrated: None,
        half: false,
        candidates: vec!["Slave2 DB".into()],
        backups: Ok(vec![backup("0-1-40")]),
        frozen_at: Some(at("0-1-38")),
        open_pages: vec![],
        master: Abandoned::Answers {
            loud: vec![],
            attached: Attached {
                sessions: vec![],
                followers: vec![follower(2, "127.0.0.2"), follower(3, "127.0.0.3")],
            },
        },
        price: Some(3),
        price_words: "3 transactions".into(),
        accepted: Some(3),
        stated_time: None,
        kept: Ok("a backup is read first".into()),
        scheduled: vec![],
        names_wrong: vec![],
        names: vec![],
        slaves: vec![
            known("Slave2 DB", "127.0.0.3", Some(3)),
            known("Slave DB", "127.0.0.2", Some(2)),
        ],
        release: "old".into(),
        applications: vec![application("App 1"), application("App 2")],
        all_applications: 4,
        expected: "Master DB".into(),
        said: vec![("the tags".into(), "Master DB".into())],
    }
}

fn backup(gtid: &str) -> Snapshot {
    Snapshot { perfect: true, pinned: true, position: at(gtid), ..Snapshot::default() }
}

fn follower(server_id: u64, host: &str) -> Follower {
    Follower { server_id: Some(server_id), host: host.into() }
}

fn known(name: &str, address: &str, server_id: Option<u64>) -> Known {
    Known { name: name.into(), address: Some(address.into()), server_id, declared: true }
}

fn application(name: &str) -> Application {
    Application { name: name.into(), operational: true, silent: None }
}

fn attached(facts: &mut TakeoverFacts) -> &mut Attached {
    match &mut facts.master {
        Abandoned::Answers { attached, .. } => attached,
        _ => panic!("it answers"),
    }
}

fn cut_off(running: bool) -> Migration {
    Migration { token: "u-1".into(), statements: 2, begun: 1, running, ..Migration::default() }
}

fn refused(facts: &TakeoverFacts) -> Vec<String> {
    let checks = judge_takeover(facts);
    assert!(checks.iter().map(|check| check.name.as_str()).eq(CONDITIONS));
    let bad = checks.into_iter().filter(|check| check.answer != Answer::Ok);
    bad.map(|check| check.name).collect()
}

#[test]
fn each_way_to_lose_data_is_refused_by_its_own_name() {
    assert_eq!(refused(&good()), Vec::<String>::new());
    type Change = fn(&mut TakeoverFacts);
    let ways: [(&[&str], Change); 47] = [
        (&["hold unbroken"], |f| f.now.channels[0].source_host = "127.0.0.1".into()),
        (&["hold unbroken"], |f| f.now.applied = at("0-1-41")),
        (&["hold unbroken", "read-only since the hold"], |f| f.now.read_only = false),
        (&["hold unbroken", "read-only since the hold"], |f| f.now.own = at("0-2-41")),
        (&["hold unbroken", "read-only since the hold"], |f| {
            (f.held.own, f.now.own) = (at(""), at(""));
            f.now.log_filters.push("log_bin=OFF".into());
        }),
        (&["hold unbroken", "read-only since the hold"], |f| {
            (f.held.own, f.now.own) = (at("rubbish"), at("rubbish"));
        }),
        (&["data as held"], |f| f.held.known_by = None),
        (&["data as held"], |f| f.canaries = 6),
        (&["data as held"], |f| {
            (f.canaries, f.held.known_by) = (0, Some(KnownBy { server: server(), canaries: 0 }));
        }),
        (&["data as held"], |f| f.now.identity.uuid = Some("u9".into())),
        (&["data as held"], |f| f.now.identity.server_id = 9),
        (&["hold unbroken", "data as held"], |f| f.now.applied = at("0-1-39")),
        (&["hold unbroken", "data as held"], |f| f.now.applied = at("")),
        (&["schema before the migration"], |f| f.schema = "g".into()),
        (&["schema before the migration"], |f| f.left_half.push(cut_off(false))),
        (&["schema before the migration"], |f| f.migrated = Some(Migration::default())),
        (&["one candidate"], |f| f.candidates.push("Slave3 DB".into())),
        (&["one candidate"], |f| f.candidates.clear()),
        (&["rollback pair"], |f| f.backups = Err("no store".into())),
        (&["rollback pair"], |f| f.backups = Ok(vec![backup("0-1-37")])),
        (&["rollback pair"], |f| f.backups = Ok(vec![backup("0-1-41")])),
        (&["rollback pair"], |f| {
            f.backups = Ok(vec![Snapshot { pinned: false, ..backup("0-1-40") }])
        }),
        (&["rollback pair"], |f| {
            f.backups = Ok(vec![Snapshot { perfect: false, ..backup("0-1-40") }])
        }),
        (&["rollback pair"], |f| {
            (f.frozen_at, f.backups) = (None, Ok(vec![backup("0-1-39")]));
        }),
        (&["page active"], |f| f.open_pages.push("LB-1 serves www".into())),
        (&["master fenced"], |f| {
            let Abandoned::Answers { loud, .. } = &mut f.master else { return };
            loud.push("app writes".into());
        }),
        (&["master fenced", "application sessions gone", "other slaves declared"], |f| {
            f.master = Abandoned::Silent("timed out".into());
        }),
        (&["application sessions gone"], |f| attached(f).sessions.push(Session::default())),
        (&["price accepted"], |f| f.accepted = Some(2)),
        (&["price accepted"], |f| f.price = None),
        (&["hold time stated"], |f| f.stated_time = Some("2026-11-24T15".into())),
        (&["hold time stated"], |f| f.stated_time = Some("14:02:11".into())),
        (&["hold time stated"], |f| f.stated_time = Some(String::new())),
        (&["abandoned data kept"], |f| f.kept = Err("no room".into())),
        (&["backups off"], |f| f.scheduled.push("Master DB".into())),
        (&["backups off"], |f| {
            let taking = Snapshot { taking: true, ..Snapshot::default() };
            f.backups = Ok(vec![backup("0-1-40"), taking]);
        }),
        (&["DNS record ours"], |f| f.names_wrong.push("db is 192.0.2.1".into())),
        (&["other slaves declared"], |f| attached(f).followers.push(follower(9, "127.0.0.9"))),
        (&["other slaves declared"], |f| attached(f).followers.push(follower(2, "127.0.0.2"))),
        (&["other slaves declared"], |f| attached(f).followers[0].server_id = None),
        (&["other slaves declared"], |f| f.slaves[1].declared = false),
        (&["other slaves declared"], |f| {
            f.slaves[1].declared = false;
            attached(f).followers.remove(0);
        }),
        (&["other slaves declared"], |f| drop(f.slaves.remove(1))),
        (&["application ready"], |f| f.applications.clear()),
        (&["application ready"], |f| {
            f.applications.iter_mut().for_each(|one| one.operational = false);
        }),
        (&["application ready"], |f| f.applications[1].silent = Some("gone".into())),
        (&["expected master"], |f| f.said.push(("replication".into(), "Slave DB".into()))),
    ];
    for (names, change) in ways {
        let mut facts = good();
        change(&mut facts);
        assert_eq!(refused(&facts), names);
    }
    let mut facts = good();
    facts.held.position = Position::default();
    facts.now.applied = Position::default();
    assert!(refused(&facts).contains(&"rollback point".to_owned()));
}

#[test]
fn a_promotion_that_was_cut_off_goes_on_only_with_the_data_that_it_began_with() {
    let mut facts = good();
    (facts.half, facts.now.read_only) = (true, false);
    facts.now.channels.clear();
    (facts.now.applied, facts.now.own) = (at("0-1-40"), at("0-3-44"));
    facts.now.identity.version = "10.11.7".into();
    assert_eq!(refused(&facts), Vec::<String>::new(), "it may have written since");
    facts.now.applied = at("");
    assert_eq!(refused(&facts), ["data as held"]);
    // of a fenced master its own binary log counts
    facts.held.fenced_by = Some("Slave2 DB".into());
    assert_eq!(refused(&facts), Vec::<String>::new());
    facts.now.own = at("0-1-4");
    assert_eq!(refused(&facts), ["read-only since the hold", "data as held"]);
    // our own hands make it writable last: one that is read-only has written nothing
    let mut facts = good();
    facts.half = true;
    facts.now.channels.clear();
    assert_eq!(refused(&facts), Vec::<String>::new());
    facts.now.own = at("0-3-44");
    assert_eq!(refused(&facts), ["read-only since the hold"]);
    facts.now.read_only = false;
    facts.now.log_filters.push("log_bin=OFF".into());
    assert_eq!(refused(&facts), ["read-only since the hold"]);
}

#[test]
fn only_the_journal_knows_a_promotion_that_was_begun() {
    let act = |verb: &str, server: &str, outcome: &str| -> Act {
        serde_json::from_value(serde_json::json!({
            "seq": 1, "at": "", "deployment": "site", "subject": format!("server {server}"),
            "tool": "rs-dbsync", "verb": verb, "outcome": outcome,
            "owner": {"user": "u", "host": "h", "pid": 1}
        }))
        .unwrap()
    };
    let begun = |acts: &[Act]| promotion_begun(acts, "site", "S", None);
    let (hold, cut) = (act("hold", "S", "done"), act("promote", "S", "open"));
    assert!(!begun(&[]) && !begun(std::slice::from_ref(&hold)));
    for outcome in ["open", "failed"] {
        assert!(begun(&[hold.clone(), act("promote", "S", outcome)]));
    }
    assert!(!begun(&[cut.clone(), hold.clone()]), "of an earlier hold");
    assert!(!begun(&[hold.clone(), act("promote", "T", "open")]), "of another");
    assert!(!begun(&[hold.clone(), act("resume", "S", "open")]));
    assert!(!promotion_begun(&[hold, cut], "elsewhere", "S", None));
    // a fenced master counts from what fenced it
    let begun = |acts: &[Act]| promotion_begun(acts, "site", "M", Some("S"));
    let (fence, back) = (act("promote", "S", "done"), act("promote", "M", "failed"));
    assert!(begun(&[fence.clone(), back.clone()]));
    assert!(!begun(&[back.clone(), fence.clone()]));
    assert!(begun(&[fence, back, act("promote", "S", "failed")]));
}

#[test]
fn a_dead_master_is_fenced_and_heartbeats_part_no_pair() {
    let mut facts = good();
    facts.master = Abandoned::Dead("terminated".into());
    facts.backups = Ok(vec![backup("0-1-39")]);
    facts.accepted = None;
    facts.price = None;
    facts.stated_time = Some("2026-11-24T14:02".into());
    (facts.applications, facts.all_applications) = (vec![], 0);
    assert_eq!(refused(&facts), Vec::<String>::new());
    facts.half = true;
    facts.now.channels.clear();
    facts.now.read_only = false;
    assert_eq!(refused(&facts), Vec::<String>::new(), "what was cut off goes on");
}

#[test]
fn a_slave_that_does_not_answer_is_known_by_its_address_and_an_ended_application_is_not_needed() {
    let mut facts = good();
    facts.slaves[1].server_id = None;
    assert_eq!(refused(&facts), Vec::<String>::new());
    facts.slaves[1].address = Some("127.0.0.9".into());
    assert_eq!(refused(&facts), ["other slaves declared"]);
    facts.slaves[1].address = None;
    attached(&mut facts).followers[0].server_id = None;
    assert_eq!(refused(&facts), ["other slaves declared"], "two unknowns are not the same");
    let mut facts = good();
    facts.applications[1].operational = false;
    facts.applications[1].silent = Some("it has no machine".into());
    assert_eq!(refused(&facts), Vec::<String>::new());
}

#[test]
fn a_fenced_master_is_judged_like_a_held_slave_and_follows_nobody() {
    let mut facts = good();
    facts.held.fenced_by = Some("Slave2 DB".into());
    assert_eq!(refused(&facts), ["hold unbroken"], "it follows somebody");
    facts.now.channels.clear();
    assert_eq!(refused(&facts), Vec::<String>::new());
    facts.now.own = at("0-1-41");
    assert_eq!(refused(&facts), ["hold unbroken", "read-only since the hold"]);
    facts.now.own = at("0-1-40");
    facts.left_half.push(cut_off(false));
    assert_eq!(refused(&facts), Vec::<String>::new(), "it was half when it was fenced");
    facts.migrated = Some(Migration::default());
    assert_eq!(refused(&facts), Vec::<String>::new(), "it was migrated when it was fenced");
    facts.left_half.push(cut_off(true));
    assert_eq!(refused(&facts), ["schema before the migration"], "somebody migrates it now");
    facts.left_half.pop();
    facts.schema = "g".into();
    assert_eq!(refused(&facts), ["schema before the migration"]);
}

#[test]
fn a_backup_of_an_abandoned_master_is_of_another_history() {
    let state = Some("0-1-40,0-2-55");
    assert!(of_this_history(&backup("0-1-40"), state));
    assert!(of_this_history(&backup("0-2-55"), state));
    assert!(!of_this_history(&backup("0-1-41"), state), "read after the hold");
    assert!(!of_this_history(&backup("0-2-56"), state));
    assert!(!of_this_history(&backup(""), state));
    assert!(!of_this_history(&backup("0-1-40"), None));
    let sets = Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-40");
    assert!(of_this_history(&backup("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-39"), sets));
    assert!(!of_this_history(&backup("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-41"), sets));
}

#[test]
fn the_last_address_of_a_master_whose_machine_ended_is_ours() {
    let at = |address: &str| Server { address: address.parse().ok(), ..Server::default() };
    let found = ["192.0.2.1", "192.0.2.2", "192.0.2.9"].map(str::to_owned);
    let (servers, former) = ([at("192.0.2.2"), at("")], Some("192.0.2.1"));
    assert_eq!(strangers(&found, &servers, former).collect::<Vec<_>>(), ["192.0.2.9"]);
    let alive: Vec<_> = strangers(&found, &servers, None).collect();
    assert_eq!(alive, ["192.0.2.1", "192.0.2.9"]);
}
