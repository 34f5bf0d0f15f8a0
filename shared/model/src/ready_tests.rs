use super::*;
use crate::silence::Privileged;

const WANTED: Wanted<'_> = Wanted {
    master: true,
    migrator: Some("migrator"),
    allowed: &[],
    long_seconds: 60,
    horizon_seconds: 3600,
    free_bytes: Some(10_000_000),
};

fn ready() -> (Survey, SilenceFacts) {
    let log = BinaryLog { kept_seconds: Some(3600), bytes_per_second: Some(1000.0) };
    let account = |name: &str, exempt: &str| Privileged {
        account: name.into(),
        because: "READ ONLY ADMIN".into(),
        exempt: exempt.into(),
    };
    (
        Survey { log: Some(log), ..Survey::default() },
        SilenceFacts {
            accounts: vec![account("migrator@%", "ours"), account("root@localhost", "system")],
            ..SilenceFacts::default()
        },
    )
}

fn refused(facts: &(Survey, SilenceFacts), wanted: &Wanted<'_>) -> Vec<(String, Answer)> {
    judge_database("m", &facts.0, &facts.1, wanted)
        .into_iter()
        .filter(|check| check.answer != Answer::Ok)
        .map(|check| {
            assert!(check.hint.is_some(), "{} says not what to do", check.name);
            (check.name, check.answer)
        })
        .collect()
}

#[test]
fn each_thing_that_is_not_so_is_refused_by_its_own_name() {
    assert_eq!(refused(&ready(), &WANTED), []);
    type Change = fn(&mut (Survey, SilenceFacts));
    let watcher = |sessions: &[u64]| Watcher {
        program: "orchestrator".into(),
        account: "orc".into(),
        sessions: sessions.into(),
    };
    let mut watched = ready();
    watched.0.watchers.push(watcher(&[7]));
    assert_eq!(refused(&watched, &WANTED), [("nobody watches read-only".to_owned(), Answer::No)]);
    watched.0.watchers = vec![watcher(&[])];
    assert_eq!(
        refused(&watched, &WANTED),
        [("nobody watches read-only".to_owned(), Answer::Unknown)]
    );
    let allowed = ["orc".to_owned()];
    assert_eq!(refused(&watched, &Wanted { allowed: &allowed, ..WANTED }), []);
    let another = ["app".to_owned()];
    assert_eq!(refused(&watched, &Wanted { allowed: &another, ..WANTED }).len(), 1);
    let ways: [(&str, Answer, Change); 9] = [
        ("no long statement", Answer::No, |f| {
            f.0.sessions.push(Session {
                command: "Query".into(),
                seconds: 61,
                ..Session::default()
            });
        }),
        ("no prepared XA transaction", Answer::No, |f| f.1.prepared_xa.push("x".into())),
        ("no incoming replication", Answer::No, |f| f.1.incoming_replication = true),
        ("no application account that writes in spite of read-only", Answer::No, |f| {
            f.1.accounts[0].account = "app@%".into();
            f.1.accounts[0].exempt.clear();
            f.1.accounts.push(Privileged {
                account: "migrator@%".into(),
                exempt: "ours".into(),
                ..Default::default()
            });
        }),
        ("migration account writes in spite of read-only", Answer::No, |f| {
            f.1.accounts.remove(0);
        }),
        ("migration account writes in spite of read-only", Answer::No, |f| {
            f.1.accounts[0].account = "migrator2@%".into();
        }),
        ("binary log is kept long enough", Answer::No, |f| {
            f.0.log = Some(BinaryLog { kept_seconds: Some(3599), bytes_per_second: Some(1.0) });
        }),
        ("space for the binary log", Answer::Unknown, |f| {
            f.0.log = Some(BinaryLog { kept_seconds: None, bytes_per_second: None });
        }),
        ("space for the binary log", Answer::No, |f| {
            f.0.log = Some(BinaryLog { kept_seconds: None, bytes_per_second: Some(9e9) });
        }),
    ];
    for (name, answer, change) in ways {
        let mut facts = ready();
        change(&mut facts);
        assert_eq!(refused(&facts, &WANTED), [(name.to_owned(), answer)]);
    }
    // exactly what grows in the time: 1000 bytes in each of 3600 seconds
    let space = |free_bytes| refused(&ready(), &Wanted { free_bytes, ..WANTED });
    let named = |answer| [("space for the binary log".to_owned(), answer)];
    assert_eq!(space(Some(3_600_000)), []);
    assert_eq!(space(Some(3_599_999)), named(Answer::No));
    assert_eq!(space(None), named(Answer::Unknown));
    let mut without = ready();
    without.0.log = None;
    assert_eq!(refused(&without, &WANTED).len(), 2, "no binary log: neither kept nor measured");
}

#[test]
fn an_event_on_a_master_is_named_and_on_a_slave_refused() {
    let mut facts = ready();
    (facts.0.events, facts.0.events_on) = (vec!["shop.purge".into()], true);
    let said = judge_database("m", &facts.0, &facts.1, &WANTED);
    let events = said.iter().find(|check| check.name == "events").unwrap();
    assert!(events.answer == Answer::Ok && events.detail.contains("shop.purge"), "{events:?}");
    let slave = Wanted { master: false, ..WANTED };
    assert_eq!(refused(&facts, &slave), [("events".to_owned(), Answer::No)]);
    facts.0.events_on = false;
    assert_eq!(refused(&facts, &slave), []);
    (facts.0.events, facts.0.events_on) = (vec![], true);
    assert_eq!(refused(&facts, &slave), [], "a scheduler that has nothing to do");
}

#[test]
fn idle_sessions_and_those_of_the_limit_are_no_long_statements() {
    for (command, seconds) in [("Sleep", 90_000), ("Daemon", 90_000), ("Query", 60)] {
        let mut facts = ready();
        facts.0.sessions.push(Session { command: command.into(), seconds, ..Session::default() });
        assert_eq!(refused(&facts, &WANTED), [], "{command}");
    }
}

#[test]
fn a_tie_without_redispatch_is_a_no_and_an_unread_file_unknown() {
    let tied = Sticky { cookie: Some("SRV insert".into()), ..Sticky::default() };
    assert_eq!(judge_sticky("www", Some(&tied)).answer, Answer::No);
    let free = Sticky { redispatch: true, ..tied };
    let check = judge_sticky("www", Some(&free));
    assert!(check.answer == Answer::Ok && check.detail.contains("will end: yes"), "{check:?}");
    let table = Sticky { table: Some("on src".into()), ..Sticky::default() };
    assert_eq!(judge_sticky("www", Some(&table)).answer, Answer::No);
    assert_eq!(judge_sticky("www", Some(&Sticky::default())).answer, Answer::Ok);
    assert_eq!(judge_sticky("www", None).answer, Answer::Unknown);
}

#[test]
fn a_rewritten_file_and_a_reload_are_two_answers() {
    let then = Configured { digest: Some("a".into()), pid: 7, old: vec![] };
    let answers = |now: &Configured| -> Vec<Answer> {
        judge_drift("lb", &then, now).iter().map(|check| check.answer).collect()
    };
    assert_eq!(answers(&then), [Answer::Ok, Answer::Ok]);
    let rewritten = Configured { digest: Some("b".into()), ..then.clone() };
    assert_eq!(answers(&rewritten), [Answer::No, Answer::Ok]);
    assert_eq!(answers(&Configured { pid: 8, ..then.clone() }), [Answer::Ok, Answer::Ok]);
    assert_eq!(answers(&Configured { old: vec![3], ..then.clone() }), [Answer::Ok, Answer::No]);
    assert_eq!(answers(&Configured { digest: None, ..then.clone() })[0], Answer::Unknown);
    let unread = Configured { digest: None, ..then.clone() };
    assert_eq!(judge_drift("lb", &unread, &then)[0].answer, Answer::Unknown);
}

#[test]
fn what_rewrites_configuration_is_named() {
    assert_eq!(judge_agents("lb", &[]).answer, Answer::Ok);
    let found = judge_agents("lb", &[Agent { program: "puppet".into(), seen: "cron".into() }]);
    assert!(found.answer == Answer::No && found.detail.contains("puppet (cron)"), "{found:?}");
}

#[test]
fn a_window_shorter_than_its_rehearsal_is_refused() {
    assert_eq!(judge_rehearsal("s", Some(60_000), Some(60)).answer, Answer::Ok);
    assert_eq!(judge_rehearsal("s", Some(60_001), Some(60)).answer, Answer::No);
    assert_eq!(judge_rehearsal("s", None, Some(60)).answer, Answer::Unknown);
}
