//! Who hangs on a server: sessions of applications, and slaves that read from it.

use std::collections::BTreeSet;
use std::time::Instant;

use rs_contract::{Error, Result, Session as Seen};
use rs_model::takeover::{Attached, Follower};

use super::Mysql;
use super::conn::{Row, Session, column};
use super::dialect::Dialect;
use super::writes::{LOOK, SETTLE, sessions};

/// Privileges with which nobody changes a row: an account that has no others is a reader's, an agent's for example.
const READERS: [&str; 11] = [
    "USAGE",
    "SELECT",
    "PROCESS",
    "SHOW DATABASES",
    "SHOW VIEW",
    "RELOAD",
    "LOCK TABLES",
    "REPLICATION CLIENT",
    "BINLOG MONITOR",
    "SLAVE MONITOR",
    "REPLICA MONITOR",
];

pub fn attached(db: &Mysql, allowed: &[String]) -> Result<Attached> {
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    let readers = readers(&mut session, dialect)?;
    let begun = Instant::now();
    // a client that has ended is on the list for a moment longer, and so is a slave that has gone
    loop {
        let all = sessions(db, &mut session, dialect, &[], allowed)?;
        let dumps: Vec<&Seen> =
            all.iter().filter(|s| s.command.starts_with("Binlog Dump")).collect();
        let followers = followers(&session.rows(dialect.followers)?, &dumps)?;
        let left: Vec<Seen> = all
            .iter()
            // those of its own machine are agents: they end with it
            .filter(|s| s.exempt.is_empty() && s.host != "localhost" && !readers.contains(&s.user))
            .cloned()
            .collect();
        let settled = left.is_empty() && followers.iter().all(|f| f.server_id.is_some());
        if settled || begun.elapsed() >= SETTLE {
            return Ok(Attached { sessions: left, followers });
        }
        std::thread::sleep(LOOK);
    }
}

/// Users all of whose accounts can only read, and that hold no role; one whose grants nobody sees is none.
fn readers(session: &mut Session, dialect: &Dialect) -> Result<BTreeSet<String>> {
    let (mut readers, mut others) = (BTreeSet::new(), BTreeSet::new());
    for row in session.rows(
        "SELECT GRANTEE AS grantee, PRIVILEGE_TYPE AS privilege FROM information_schema.user_privileges \
         UNION SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.schema_privileges \
         UNION SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.table_privileges \
         UNION SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.column_privileges",
    )? {
        let grantee = column(&row, "grantee")?.unwrap_or_default();
        let user = grantee.rsplit_once("'@'").map_or(grantee, |(user, _)| user);
        let user = user.strip_prefix('\'').unwrap_or(user).to_owned();
        let privilege = column(&row, "privilege")?.unwrap_or_default();
        if READERS.contains(&privilege) { readers.insert(user) } else { others.insert(user) };
    }
    for row in session.rows(dialect.roles)? {
        others.insert(column(&row, "account_user")?.unwrap_or_default().to_owned());
    }
    // who may call what writes with another's rights
    for row in session.rows(dialect.lent)? {
        others.insert(column(&row, "account_user")?.unwrap_or_default().to_owned());
    }
    Ok(readers.into_iter().filter(|user| !others.contains(user)).collect())
}

/// The slaves that registered themselves, and as many nameless ones as read the binary log beside them.
fn followers(registered: &[Row], dumps: &[&Seen]) -> Result<Vec<Follower>> {
    let mut followers = Vec::new();
    for row in registered {
        followers.push(Follower {
            server_id: cell(row, "server_id")?.parse().ok(),
            host: cell(row, "host")?,
        });
    }
    let nameless = dumps.len().saturating_sub(followers.len());
    let from =
        |seen: &&Seen| seen.host.rsplit_once(':').map_or(&*seen.host, |(host, _)| host).to_owned();
    followers.extend(
        dumps
            .iter()
            .rev()
            .take(nameless)
            .map(|seen| Follower { server_id: None, host: from(seen) }),
    );
    Ok(followers)
}

/// A column whose name engines write in different cases.
fn cell(row: &Row, name: &str) -> Result<String> {
    let found = row.keys().find(|known| known.eq_ignore_ascii_case(name));
    let name = found.map_or(name, String::as_str);
    Ok::<_, Error>(column(row, name)?.unwrap_or_default().to_owned())
}
