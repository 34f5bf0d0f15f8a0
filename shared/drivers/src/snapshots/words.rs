//! Names of folders, facts in the output of scripts, positions as mariadb-backup writes them. Pure.

use std::collections::BTreeMap;

use rs_model::Position;
use rs_model::snapshot::Snapshot;
use sha2::{Digest, Sha256};

/// The longest part of a folder's name that a label or server may take.
const LONGEST: usize = 120;

/// Any text as a part of a path: letters, digits, `_`, `.` and `-` stay, the rest is written as `%XX`; no part begins
/// with a dot. What would be too long ends with a digest.
pub fn part(text: &str) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if plain && !(written.is_empty() && byte == b'.') {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    if written.len() > LONGEST {
        let digest: String =
            Sha256::digest(text.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect();
        written.truncate(LONGEST - 17);
        written.push('-');
        written.push_str(&digest);
    }
    written
}

/// The id of a snapshot that begins at `stamp` (`20261124T141503.271Z`): its label after a `-`, else its server after a
/// `_`, so that a label is found by the name alone.
pub fn id(stamp: &str, wanted: &Snapshot) -> String {
    match &wanted.label {
        Some(label) => format!("{stamp}-{}", part(label)),
        None => format!("{stamp}_{}", part(&wanted.server)),
    }
}

/// The work folder's name: of a label there is but one, so that it cannot be taken twice at once.
pub fn work_folder(id: &str, wanted: &Snapshot) -> String {
    match &wanted.label {
        Some(label) => format!(".label-{}.taking", part(label)),
        None => format!(".{id}.taking"),
    }
}

/// A value of an option file between quotes, with the escapes that MariaDB reads.
pub fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for c in text.chars() {
        match c {
            '\\' => written.push_str("\\\\"),
            '"' => written.push_str("\\\""),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            other => written.push(other),
        }
    }
    written.push('"');
    written
}

/// `fact:NAME:VALUE` lines of an output.
pub fn facts(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("fact:")?.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// The last lines of an output that say something, as one cause.
pub fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with("fact:") && !l.starts_with("phase:"))
        .collect();
    let from = lines.len().saturating_sub(3);
    lines[from..].join("; ")
}

/// The master's position that a backup stands for, and whether it was read from the master.
///
/// `gtid` is all that the copy holds; `binlog` is `FILE TAB OFFSET TAB GTID` of the server itself; `slave` the statements by which another slave of the
/// same master would continue. A slave's own file and offset mean nothing to its master.
pub fn position(facts: &BTreeMap<String, String>) -> (Position, bool) {
    let own = |facts: &BTreeMap<String, String>| {
        if let Some(gtid) = facts.get("gtid") {
            let gtid = Some(gtid.clone()).filter(|gtid| !gtid.is_empty());
            return Position { gtid, ..Position::default() };
        }
        let mut columns = facts.get("binlog").map(String::as_str).unwrap_or_default().split('\t');
        let mut next =
            || columns.next().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
        let (file, pos, gtid) = (next(), next(), next());
        Position { gtid: gtid.map(|g| g.replace(' ', "")), file, pos }
    };
    let between = |text: &str, before: &str, end: &[char]| {
        let rest = &text[text.find(before)? + before.len()..];
        let rest = rest.trim_start_matches([' ', '=', '\'', '"']);
        let value = rest.split(end).next()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    match facts.get("slave").filter(|text| !text.is_empty()) {
        Some(text) => {
            let gtid = between(text, "gtid_slave_pos", &['\'', '"', ';']);
            let file = between(text, "MASTER_LOG_FILE", &['\'', '"', ';']);
            let pos = between(text, "MASTER_LOG_POS", &[';', ',', ' ']);
            (Position { gtid, file, pos }, false)
        }
        None if facts.contains_key("replica") => {
            (Position { gtid: own(facts).gtid, ..Position::default() }, false)
        }
        None => (own(facts), true),
    }
}

/// Reads one line of `list.sh`; what is no such line is nothing.
pub fn listed(line: &str, lineage: &str, root: &str) -> Option<Snapshot> {
    let mut columns = line.strip_prefix("snapshot\t")?.splitn(3, '\t');
    let (state, folder, metadata) = (columns.next()?, columns.next()?, columns.next()?);
    let mut snapshot = serde_json::from_str::<Snapshot>(metadata).unwrap_or_else(|_| Snapshot {
        id: folder.trim_start_matches('.').trim_end_matches(".taking").to_owned(),
        ..Snapshot::default()
    });
    lineage.clone_into(&mut snapshot.lineage);
    snapshot.place = format!("{root}/{}/{folder}", part(lineage));
    snapshot.taking = state == "taking";
    if state == "there" && !metadata.is_empty() {
        folder.clone_into(&mut snapshot.id);
    } else {
        snapshot.perfect = false;
        snapshot.completed_at = None;
    }
    Some(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_part_of_a_path() {
        assert_eq!(part("mysite.com-prod_1"), "mysite.com-prod_1");
        assert_eq!(part("../etc"), "%2E.%2Fetc");
        assert_eq!(part("Slave DB; $(reboot)\n"), "Slave%20DB%3B%20%24%28reboot%29%0A");
        let (a, b) = (part(&"ä".repeat(200)), part(&format!("{}x", "ä".repeat(199))));
        assert!(a.len() <= LONGEST && a != b);
    }

    #[test]
    fn positions_are_read_from_a_master_and_from_a_slave() {
        let master = facts("x\nfact:binlog:bin.000001\t1398\t0-11-7 \n");
        let (position, from_master) = super::position(&master);
        assert_eq!(position.gtid.as_deref(), Some("0-11-7"));
        assert_eq!(
            (position.file.as_deref(), position.pos.as_deref()),
            (Some("bin.000001"), Some("1398"))
        );
        assert!(from_master);
        let slave = facts(
            "fact:binlog:bin.000001\t668\t0-11-9,0-12-1\nfact:slave:SET GLOBAL gtid_slave_pos = '0-11-9'; CHANGE MASTER TO master_use_gtid = slave_pos; \n",
        );
        let (position, from_master) = super::position(&slave);
        assert_eq!(position, Position { gtid: Some("0-11-9".into()), ..Position::default() });
        assert!(!from_master);
        let by_file =
            facts("fact:slave:CHANGE MASTER TO MASTER_LOG_FILE='bin.000007', MASTER_LOG_POS=42;\n");
        let (position, _) = super::position(&by_file);
        assert_eq!(
            (position.file.as_deref(), position.pos.as_deref()),
            (Some("bin.000007"), Some("42"))
        );
        assert_eq!(super::position(&facts("")), (Position::default(), true));
    }

    #[test]
    fn what_is_not_finished_is_never_perfect() {
        let metadata = r#"{"id":"x","lineage":"l","server":"s","from_master":true,"perfect":true,"completed_at":"2026-11-24T14:15:03Z","bytes":1,"position":{},"place":"p"}"#;
        for state in ["taking", "broken"] {
            let line = format!("snapshot\t{state}\t.x.taking\t{metadata}");
            let read = listed(&line, "l", "/b").unwrap();
            assert!(!read.perfect && read.completed_at.is_none(), "{state}");
            assert_eq!(read.taking, state == "taking");
        }
        let line = "snapshot\tthere\t20261124T141503Z-x\t";
        assert!(!listed(line, "l", "/b").unwrap().perfect);
        let line = format!("snapshot\tthere\t20261124T141503Z-x\t{metadata}");
        let read = listed(&line, "l", "/b").unwrap();
        assert!(read.perfect);
        assert_eq!(read.place, "/b/l/20261124T141503Z-x");
        assert!(listed("ls: cannot open", "l", "/b").is_none());
    }

    #[test]
    fn a_password_with_every_character_stays_what_it_is() {
        assert_eq!(quoted("p\"a'ss #\\x\n"), "\"p\\\"a'ss #\\\\x\\n\"");
    }
}
