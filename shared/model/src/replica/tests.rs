use super::*;
use crate::conjunct::{Schemas, TableSum};
use crate::silence::SilenceFacts;

fn at(gtid: &str) -> Position {
    Position { gtid: Some(gtid.into()), ..Position::default() }
}

fn in_sync() -> SyncFacts {
    let fields = [
        "masters",
        "master",
        "silence",
        "position",
        "position_after",
        "master_schema",
        "slave_schema",
        "canary",
        "canary_seen",
        "slave",
        "waited",
        "rows",
    ];
    SyncFacts {
        readings: fields
            .iter()
            .zip(0..)
            .map(|(field, after_ms)| {
                ((*field).to_owned(), Reading { after_ms, ..Reading::default() })
            })
            .collect(),
        fresh_ms: 1000,
        rows: Some(Rows {
            compared: vec![TableSum {
                table: "appdb.t".into(),
                master: Some("7".into()),
                slave: Some("7".into()),
            }],
            ..Rows::default()
        }),
        masters: vec!["Master DB".into()],
        twins: vec![],
        master: Replica {
            identity: Identity { server_id: 11, ..Identity::default() },
            own: at("0-11-42"),
            own_state: Some("0-11-42".into()),
            ..Replica::default()
        },
        silence: SilenceFacts { read_only: true, ..SilenceFacts::default() },
        position: at("0-11-42,7-11-3"),
        position_after: at("7-11-3,0-11-42"),
        canary: Some("n".into()),
        canary_seen: Some("n".into()),
        slave: Replica {
            identity: Identity { server_id: 12, ..Identity::default() },
            channels: vec![Channel {
                source_host: "127.0.0.1".into(),
                source_port: 3306,
                source_server_id: 11,
                io_running: "Yes".into(),
                sql_running: "Yes".into(),
                uses_gtid: true,
                seconds_behind: Some(0),
                ..Channel::default()
            }],
            applied: at("7-11-3,0-11-42"),
            own: at("0-11-42"),
            own_state: Some("0-11-42".into()),
            read_only: true,
            skips_errors: "OFF".into(),
            ..Replica::default()
        },
        waited: true,
        schema: Schemas {
            name: "appdb".into(),
            master: "f".into(),
            slave: "f".into(),
            differ: vec![],
        },
    }
}

fn refused(facts: &SyncFacts) -> Vec<String> {
    let mut names: Vec<String> = judge_sync("Slave DB", facts)
        .into_iter()
        .filter(|check| check.answer != Answer::Ok)
        .map(|check| check.name)
        .collect();
    names.dedup();
    names
}

#[test]
fn each_conjunct_is_refused_by_its_own_name() {
    assert_eq!(refused(&in_sync()), Vec::<String>::new());
    type Change = fn(&mut SyncFacts);
    let lies: Vec<(&str, Change)> = vec![
        ("one master", |f| f.masters.push("Master DB 2".into())),
        ("one master", |f| f.masters.clear()),
        ("own server id", |f| f.twins.push("Slave DB".into())),
        ("one channel", |f| f.slave.channels.clear()),
        ("one channel", |f| f.slave.channels.push(f.slave.channels[0].clone())),
        ("one channel", |f| f.slave.channels[0].name = "east".into()),
        ("source is the master", |f| f.slave.channels[0].source_server_id = 13),
        ("source is the master", |f| f.slave.channels[0].source_host = HELD_HOST.into()),
        ("receiver runs", |f| f.slave.channels[0].io_running = "Connecting".into()),
        ("applier runs", |f| f.slave.channels[0].sql_running = "No".into()),
        ("no errors", |f| f.slave.channels[0].last_error = "1032 no row".into()),
        ("no filters", |f| f.slave.channels[0].filters.push("Replicate_Do_DB=a".into())),
        ("no delay", |f| f.slave.channels[0].delay_seconds = 1),
        ("no UNTIL", |f| f.slave.channels[0].until = Some("Gtid".into())),
        ("GTID in use", |f| f.slave.channels[0].uses_gtid = false),
        ("no errors skipped", |f| f.slave.skips_errors = "1062".into()),
        ("own server id", |f| f.slave.identity.server_id = 11),
        ("own server id", |f| f.slave.identity.server_id = 0),
        ("source is the master", |f| {
            (f.master.identity.server_id, f.slave.channels[0].source_server_id) = (0, 0);
        }),
        ("master frozen", |f| f.silence.read_only = false),
        ("master frozen", |f| f.silence.incoming_replication = true),
        ("master logs all", |f| f.master.log_filters.push("Binlog_Ignore_DB=appdb".into())),
        ("master's position unchanged", |f| f.position_after = at("0-11-43,7-11-3")),
        ("master's position unchanged", |f| f.position_after = at("")),
        ("position applied", |f| f.waited = false),
        ("position applied", |f| f.slave.applied = at("0-11-41,7-11-3")),
        ("position applied", |f| f.slave.applied = at("0-11-43,7-11-3")),
        ("position applied", |f| f.slave.applied = at("")),
        ("no errant transaction", |f| f.slave.own_state = Some("0-11-42,0-12-40".into())),
        ("no errant transaction", |f| f.slave.own_state = Some("0-11-43".into())),
        ("no errant transaction", |f| f.slave.own_state = None),
        ("no errant transaction", |f| f.master.own_state = None),
        ("no errant transaction", |f| {
            f.slave.own_state = Some(String::new());
            f.slave.log_filters.push("log_bin=OFF".into());
        }),
        ("same schema", |f| f.schema.slave = "g".into()),
        ("same schema", |f| f.schema = Schemas::default()),
        ("canary seen", |f| f.canary_seen = None),
        ("canary seen", |f| f.canary_seen = Some("older".into())),
        ("canary seen", |f| f.canary = None),
        ("canary seen", |f| (f.canary, f.canary_seen) = (None, None)),
        ("readings fresh", |f| f.fresh_ms = 3),
        ("rows equal", |f| f.rows = Some(Rows::default())),
        ("master's position read", |f| {
            for position in [&mut f.position, &mut f.position_after] {
                *position = at("");
            }
        }),
    ];
    for (name, change) in &lies {
        let mut facts = in_sync();
        change(&mut facts);
        assert_eq!(refused(&facts), [*name]);
    }
    for name in SYNC {
        assert!(lies.iter().any(|(told, _)| *told == name), "{name} is refused by no lie");
    }
    let asked: Vec<String> =
        judge_sync("s", &in_sync()).into_iter().map(|check| check.name).collect();
    assert_eq!(asked, SYNC);
}

#[test]
fn each_conjunct_says_what_was_asked_of_whom_and_when_and_unread_is_unknown() {
    for check in judge_sync("s", &in_sync()) {
        assert!(!check.facts["answered"].is_null() || check.name == "no UNTIL", "{}", check.name);
        let asked = check.facts["asked"].as_array().map_or(0, Vec::len);
        assert!(asked > 0 || check.name == "readings fresh", "{}", check.name);
    }
    let of_a_channel: Vec<&str> = SYNC[2..10].to_vec();
    let of_the_slave = [
        &["one channel"][..],
        &of_a_channel,
        &["no errors skipped", "own server id", "position applied", "no errant transaction"],
    ]
    .concat();
    let of_the_master =
        ["source is the master", "own server id", "master logs all", "no errant transaction"];
    let rests: [(&str, &[&str]); 12] = [
        ("masters", &["one master"]),
        ("master", &of_the_master),
        ("silence", &["master frozen"]),
        (
            "position",
            &["master's position read", "master's position unchanged", "position applied"],
        ),
        ("position_after", &["master's position unchanged"]),
        ("canary", &["canary seen"]),
        ("canary_seen", &["canary seen"]),
        ("slave", &of_the_slave),
        ("waited", &["position applied"]),
        ("master_schema", &["same schema"]),
        ("slave_schema", &["same schema"]),
        ("rows", &["rows equal"]),
    ];
    assert!(in_sync().readings.keys().all(|field| rests.iter().any(|(one, _)| one == field)));
    for (field, names) in rests {
        let mut facts = in_sync();
        facts.readings.get_mut(field).unwrap().unread = Some("two rows".into());
        assert_eq!(refused(&facts), names, "{field} was not read");
        facts.readings.remove(field);
        assert_eq!(refused(&facts), names, "{field} was never asked");
    }
}

#[test]
fn readings_are_fresh_up_to_the_limit_and_none_are_not() {
    let facts = SyncFacts { fresh_ms: 11, ..in_sync() };
    assert_eq!(refused(&facts), Vec::<String>::new(), "11 ms from the first to the last");
    let none = SyncFacts { readings: BTreeMap::new(), ..in_sync() };
    assert!(refused(&none).contains(&"readings fresh".to_owned()));
}

#[test]
fn a_slave_that_does_not_replicate_as_it_should_is_no_good_one() {
    let refused = |slave: &Replica, master: &Identity| -> Vec<String> {
        let checks = judge_replicating("Slave DB", slave, master).into_iter();
        checks.filter(|check| check.answer != Answer::Ok).map(|check| check.name).collect()
    };
    let SyncFacts { slave, master, .. } = in_sync();
    assert_eq!(refused(&slave, &master.identity), Vec::<String>::new());
    type Change = fn(&mut Replica, &mut Identity);
    let ways: [(&str, Change); 10] = [
        ("one channel", |s, _| s.channels.clear()),
        ("one channel", |s, _| s.channels[0].name = "east".into()),
        ("no errors skipped", |s, _| s.skips_errors = "slave_exec_mode=IDEMPOTENT".into()),
        ("one channel", |s, _| s.channels.push(s.channels[0].clone())),
        ("source is the master", |s, _| s.channels[0].source_server_id = 13),
        ("source is the master", |s, _| s.channels[0].source_host = HELD_HOST.into()),
        ("source is the master", |s, m| {
            (m.server_id, s.channels[0].source_server_id) = (0, 0);
        }),
        ("applier runs", |s, _| s.channels[0].sql_running = "No".into()),
        ("own server id", |s, _| s.identity.server_id = 0),
        ("own server id", |s, m| s.identity.server_id = m.server_id),
    ];
    for (name, change) in ways {
        let (mut slave, mut master) = (slave.clone(), master.identity.clone());
        change(&mut slave, &mut master);
        assert_eq!(refused(&slave, &master), [name]);
    }
}

#[test]
fn one_held_channel_makes_a_held_slave_and_no_channel_makes_none() {
    assert!(!Replica::default().is_held() && !in_sync().slave.is_held());
    let mut slave = in_sync().slave;
    slave.channels.push(Channel { source_host: HELD_HOST.into(), ..Channel::default() });
    assert!(slave.is_held());
}

#[test]
fn nothing_read_is_not_in_sync() {
    assert!(refused(&SyncFacts::default()).len() >= 6);
}

#[test]
fn a_hold_that_moved_is_no_hold() {
    let held = HeldAt { position: at("0-11-42"), own: at("0-11-42"), ..HeldAt::default() };
    let mut slave = in_sync().slave;
    slave.applied = at("0-11-42");
    slave.channels[0].source_host = HELD_HOST.into();
    let refused = |slave: &Replica| -> Vec<String> {
        judge_held("Slave2 DB", &held, slave)
            .into_iter()
            .filter(|check| check.answer != Answer::Ok)
            .map(|check| check.name)
            .collect()
    };
    assert_eq!(refused(&slave), Vec::<String>::new());
    type Change = fn(&mut Replica);
    let thaws: [(&str, Change); 8] = [
        ("held", |s| s.channels[0].source_host = "127.0.0.1".into()),
        ("held", |s| {
            s.channels.push(Channel { source_host: "127.0.0.1".into(), ..Channel::default() });
        }),
        ("held", |s| s.channels.clear()),
        ("applied position unmoved", |s| s.applied = at("0-11-43")),
        ("own binary log unmoved", |s| s.own = at("0-12-43")),
        ("own binary log unmoved", |s| s.own = Position::default()),
        ("own binary log unmoved", |s| s.own = at("rubbish")),
        ("held read-only", |s| s.read_only = false),
    ];
    for (name, change) in thaws {
        let mut thawed = slave.clone();
        change(&mut thawed);
        assert_eq!(refused(&thawed), [name]);
    }
}

#[test]
fn a_held_slave_that_writes_no_binary_log_of_its_own_has_none_later_either() {
    let unmoved = |then: &str, now: &str| {
        let held = HeldAt { own: at(then), ..HeldAt::default() };
        let checks = judge_held("s", &held, &Replica { own: at(now), ..Replica::default() });
        checks.iter().find(|c| c.name == "own binary log unmoved").unwrap().answer == Answer::Ok
    };
    assert!(unmoved("", "") && unmoved("0-1-2,1-1-1", "1-1-1,0-1-2"));
    assert!(!unmoved("", "0-12-1") && !unmoved("0-12-1", ""));
    assert!(!unmoved("rubbish", "rubbish"), "what cannot be read did not stay");
}

#[test]
fn a_held_slave_follows_again_only_into_the_schema_that_it_was_held_with() {
    let held = HeldAt {
        schema: "shop".into(),
        schema_fingerprint: "f00".into(),
        at: "2026-01-01T00:00:00Z".into(),
        ..HeldAt::default()
    };
    let ask = |now: Result<&str, &str>| {
        let now = now.map(str::to_owned).map_err(str::to_owned);
        judge_resume("Slave2 DB", "Master DB", Some((&held, now)), &[])
    };
    assert_eq!(ask(Ok("f00")).answer, Answer::Ok);
    let moved = ask(Ok("f01"));
    assert_eq!(moved.answer, Answer::No);
    for word in ["\"Master DB\"", "\"shop\"", "f01", "f00", "2026-01-01T00:00:00Z"] {
        assert!(moved.detail.contains(word), "{word}: {}", moved.detail);
    }
    assert!(moved.hint.unwrap().contains("--override schema-unchanged"));
    // a master that does not answer, or answers nothing, has not said that it is unchanged
    assert_eq!(ask(Ok("")).answer, Answer::No);
    let dead = ask(Err("connection refused"));
    assert_eq!(dead.answer, Answer::Unknown);
    assert!(dead.detail.contains("connection refused") && dead.detail.contains("f00"));
    assert_eq!(judge_resume("Slave2 DB", "Master DB", None, &[]).answer, Answer::Unknown);
    // rows leave no mark in a fingerprint
    let data =
        Migration { token: "u-7".into(), statements: 1, begun: 1, done: 1, ..Migration::default() };
    let same = Some((&held, Ok("f00".to_owned())));
    let moved = judge_resume("Slave2 DB", "Master DB", same, &[&data]);
    assert_eq!(moved.answer, Answer::No);
    assert!(moved.detail.contains("\"u-7\"") && moved.detail.contains("done"), "{}", moved.detail);
}

#[test]
fn a_fenced_master_that_follows_anybody_or_was_written_is_no_way_back() {
    let held = HeldAt {
        position: at("0-10-42"),
        own: at("0-10-42"),
        fenced_by: Some("Slave2 DB".into()),
        ..HeldAt::default()
    };
    let refused = |master: &Replica| -> Vec<String> {
        judge_held("Master DB", &held, master)
            .into_iter()
            .filter(|check| check.answer != Answer::Ok)
            .map(|check| check.name)
            .collect()
    };
    let mut master = Replica { own: at("0-10-42"), read_only: true, ..Replica::default() };
    assert_eq!(refused(&master), Vec::<String>::new());
    master.own = at("0-10-43");
    assert_eq!(refused(&master), ["own binary log unmoved"]);
    master.read_only = false;
    assert_eq!(refused(&master), ["own binary log unmoved", "held read-only"]);
    master.channels = in_sync().slave.channels;
    assert_eq!(refused(&master), ["fenced", "own binary log unmoved", "held read-only"]);
}

#[test]
fn a_schema_that_differs_names_what_differs_and_engines_that_do() {
    let mut facts = in_sync();
    let detail = |facts: &SyncFacts| {
        let checks = judge_sync("Slave2 DB", facts);
        checks.into_iter().find(|check| check.name == "same schema").unwrap().detail
    };
    facts.schema.slave = "g".into();
    assert_eq!(detail(&facts), "schema \"appdb\": g, the master's f");
    facts.schema.differ = vec!["orders".into(), "users".into()];
    assert_eq!(detail(&facts), "schema \"appdb\" differs in orders, users");
    facts.slave.identity.version = "11.8.3-MariaDB".into();
    assert!(detail(&facts).contains("users; the master is , the slave 11.8.3-MariaDB"));
}

#[test]
fn a_twin_is_named() {
    let mut facts = in_sync();
    facts.twins.push("Slave DB".into());
    let checks = judge_sync("Slave2 DB", &facts);
    let own = checks.iter().find(|check| check.name == "own server id").unwrap();
    assert!(own.detail.ends_with(", Slave DB has the slave's"), "{}", own.detail);
}
