//! What a server says of itself before a window: who watches it, what runs long, how its binary log is kept.

use rs_contract::{Error, Kind, Result};
use rs_model::ready::{BinaryLog, Survey, Watcher};

use super::conn::column;
use super::{Mysql, writes};

/// Failover managers and proxies that act when `read_only` changes, by how their accounts are called: as they are
/// delivered, or as their manuals name them. What begins so counts.
const WATCHERS: &[(&str, &[&str])] = &[
    ("ProxySQL", &["proxysql", "monitor"]),
    ("MaxScale", &["maxscale", "mxs"]),
    ("orchestrator", &["orchestrator", "orc_", "orc-", "topology"]),
    ("replication-manager", &["replication-manager", "replication_manager", "repman"]),
    ("MHA", &["mha"]),
    ("MySQL Router", &["mysql_router", "mysqlrouter"]),
    ("InnoDB Cluster", &["mysql_innodb_cluster"]),
];

fn watcher(user: &str) -> Option<&'static str> {
    let user = user.to_ascii_lowercase();
    let of = |names: &&[&str]| names.iter().any(|name| user.starts_with(name));
    WATCHERS.iter().find(|(_, names)| of(names)).map(|(program, _)| *program)
}

pub fn survey(db: &Mysql) -> Result<Survey> {
    let dialect = db.dialect()?;
    let mut session = db.link.open()?;
    let mut sessions = writes::sessions(db, &mut session, dialect, &[], &[])?;
    sessions.retain(|session| session.exempt.is_empty());
    let mut watchers: Vec<Watcher> = Vec::new();
    let mut users = Vec::new();
    let rows = session.rows("SELECT DISTINCT User AS account_user FROM mysql.user")?;
    for row in &rows {
        let user = column(row, "account_user")?.unwrap_or_default();
        users.push(user.to_owned());
        if let Some(program) = watcher(user) {
            let of = sessions.iter().filter(|session| session.user == user);
            watchers.push(Watcher {
                program: program.to_owned(),
                account: user.to_owned(),
                sessions: of.map(|session| session.id).collect(),
            });
        }
    }
    let events = session
        .rows(
            "SELECT CONCAT(EVENT_SCHEMA, '.', EVENT_NAME) AS event FROM information_schema.events \
             WHERE STATUS = 'ENABLED' ORDER BY 1",
        )?
        .iter()
        .map(|row| Ok(column(row, "event")?.unwrap_or_default().to_owned()))
        .collect::<Result<Vec<_>>>()?;
    let events_on = session.value("SELECT @@global.event_scheduler")?.as_deref() == Some("ON");
    let log = if session.must("SELECT @@global.log_bin")? == "1" {
        let kept = session.must("SELECT @@global.binlog_expire_logs_seconds")?;
        let kept: u64 = kept.parse().map_err(|_| {
            Error::new(Kind::Failed, format!("{}: binary log kept {kept:?}", db.link.place()))
        })?;
        Some(BinaryLog {
            kept_seconds: Some(kept).filter(|seconds| *seconds > 0),
            bytes_per_second: session.value(dialect.log_growth)?.and_then(|text| text.parse().ok()),
        })
    } else {
        None
    };
    Ok(Survey { sessions, users, watchers, events, events_on, log })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_failover_managers_are_known_by_name() {
        for (user, program) in [
            ("monitor", Some("ProxySQL")),
            ("orc_client_user", Some("orchestrator")),
            ("MaxScale_mon", Some("MaxScale")),
            ("mysql_innodb_cluster_1001", Some("InnoDB Cluster")),
            ("app", None),
            ("", None),
            ("xmonitor", None),
        ] {
            assert_eq!(watcher(user), program, "{user}");
        }
    }
}
