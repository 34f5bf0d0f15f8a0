//! Transport: connections, and answers as columns by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, SslOpts, Value};
use rs_contract::{Endpoint, Error, Kind, Result, Secret};

/// How long we wait for a connection, and for an answer that is not told to take longer.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an ordinary question may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a connection is tried again when the server has none left: a site under load gives some back each moment.
const FULL: Duration = Duration::from_secs(20);
/// Between two such tries.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// TLS as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificate authority.
    pub authority: Option<PathBuf>,
    /// The name in the certificate counts too. Servers that make their own certificate have none in it.
    pub verify_name: bool,
}

/// Everything that a connection needs.
#[derive(Clone)]
pub struct Link {
    endpoint: Endpoint,
    user: String,
    password: Secret,
    tls: Option<Tls>,
    place: String,
    answer: Duration,
}

/// What stands before a statement that waits on the server: whoever finds it there later can tell whether the process
/// that asked still lives. A server does not notice that the client of a waiting statement is gone.
const WAITER: &str = "/* rs_tools waiter ";

/// By this lock a session is told to be ours.
const MARK: &str = "DO GET_LOCK(CONCAT('rs_tools.', CONNECTION_ID()), 0)";

/// Whether a session is just about to mark itself.
pub fn is_mark(statement: &str) -> bool {
    statement == MARK
}

/// The statement with the mark of this very process: host, process id, and when the process began.
pub fn waiting(sql: &str) -> String {
    let pid = std::process::id();
    format!("{WAITER}{} {pid} {} */ {sql}", host(), began(pid).unwrap_or_default())
}

/// Whether the statement is a waiter of a process of this machine that is gone. Of another machine nothing is known:
/// its waiters end by their own time-outs.
pub fn is_left_behind(statement: &str) -> bool {
    let Some(rest) = statement.trim_start().strip_prefix(WAITER) else { return false };
    let mut words = rest.split_whitespace();
    let (Some(of), Some(pid), Some(start)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    of == host() && pid.parse().is_ok_and(|pid| began(pid).as_deref() != Some(start))
}

fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect()
}

/// When a process began, in ticks since the boot; absent when there is none.
fn began(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the second field is a name that may hold anything; the start is the 22nd
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // one that has ended and was not waited for asks nothing any more
    if fields.first() == Some(&"Z") { None } else { fields.get(19).map(|s| (*s).to_owned()) }
}

/// One row: column name (as the server spells it) to text; NULL is `None`.
pub type Row = BTreeMap<String, Option<String>>;

/// One connection.
pub struct Session {
    conn: Conn,
    link: Link,
}

/// An error of the server, kept apart so that callers can tell one number from another.
#[derive(Debug)]
pub enum Fault {
    /// The server answered with an error.
    Server(u16, String),
    /// The connection is gone or was never there.
    Lost(String),
    /// Waited in vain for the answer.
    Late(String),
}

impl Link {
    /// To that endpoint as that account.
    pub fn new(endpoint: Endpoint, user: String, password: Secret, tls: Option<Tls>) -> Link {
        let place = format!("database at {endpoint}");
        Link { endpoint, user, password, tls, place, answer: crate::patience(ANSWER) }
    }

    /// An ordinary answer that takes longer than that counts as none.
    pub fn answer_within(&mut self, limit: Duration) {
        self.answer = crate::patience(ANSWER).min(limit);
    }

    /// With the name of its server, for messages.
    pub fn name(&mut self, server: &str) {
        self.place = format!("database of {server:?} at {}", self.endpoint);
    }

    /// In words.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A fresh connection for ordinary questions. It marks itself as ours: whoever asks who could write must be able
    /// to tell our own sessions from those of anybody else who has the same account.
    pub fn open(&self) -> Result<Session> {
        self.open_for(self.answer)
    }

    /// A fresh connection whose answers may take that long.
    pub fn open_for(&self, answer: Duration) -> Result<Session> {
        let mut session = self.plain(answer)?;
        // MySQL cuts what GROUP_CONCAT gives after 1024 bytes, with no more than a warning
        session.run(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES', SESSION group_concat_max_len = 67108864",
        )?;
        Ok(session)
    }

    /// A connection with the server's own settings, for statements that are not ours.
    pub fn plain(&self, answer: Duration) -> Result<Session> {
        let mut opts = OptsBuilder::new()
            .user(Some(self.user.as_str()))
            .pass(Some(self.password.expose()))
            // over TCP we stay on TCP: the socket would make us another account
            .prefer_socket(false)
            .tcp_connect_timeout(Some(CONNECT.min(self.answer)))
            .read_timeout(Some(answer))
            .write_timeout(Some(self.answer))
            .stmt_cache_size(0)
            // the server has its own limit; asked for it, a session would do so before it bears our mark
            .max_allowed_packet(Some(1 << 30))
            .tcp_keepalive_time_ms(Some(30_000));
        opts = match &self.endpoint {
            Endpoint::Unix(path) => opts.socket(Some(path.as_str())),
            Endpoint::Tcp(host, port) => opts.ip_or_hostname(Some(host.as_str())).tcp_port(*port),
        };
        if let (Some(tls), Endpoint::Tcp(..)) = (&self.tls, &self.endpoint) {
            opts = opts.ssl_opts(Some(
                SslOpts::default()
                    .with_root_cert_path(tls.authority.clone())
                    .with_danger_skip_domain_validation(!tls.verify_name),
            ));
        }
        let (opts, begun) = (Opts::from(opts), Instant::now());
        let conn = loop {
            match Conn::new(opts.clone()).map_err(|e| fault(&e)) {
                Ok(conn) => break conn,
                Err(Fault::Server(1040, _)) if begun.elapsed() < crate::patience(FULL) => {
                    std::thread::sleep(TRY_AGAIN);
                }
                Err(fault) => return Err(self.error(fault, "connecting")),
            }
        };
        let mut session = Session { conn, link: self.clone() };
        session.run(MARK)?;
        Ok(session)
    }

    /// The fault in words.
    pub fn error(&self, fault: Fault, doing: &str) -> Error {
        match fault {
            Fault::Lost(why) => {
                Error::new(Kind::Unreachable, format!("{} does not answer ({doing})", self.place))
                    .because(why)
                    .hint("is it running, and is its address and port right? try again")
            }
            Fault::Late(why) => Error::new(
                Kind::TimedOut,
                format!("{} did not answer in time ({doing})", self.place),
            )
            .because(why)
            .hint("is it frozen or overloaded? look at its machine; then again"),
            Fault::Server(1040, why) => Error::new(
                Kind::TimedOut,
                format!("{} had no connection left for {:?}", self.place, crate::patience(FULL)),
            )
            .because(why)
            .hint(
                "end sessions of the application, or raise max_connections; an account with SUPER or CONNECTION_ADMIN has one \
                 connection in reserve, and MariaDB's extra_port has its own (the input DB_PORT)",
            ),
            Fault::Server(1045 | 1698, why) => Error::new(
                Kind::Failed,
                format!("{} refuses the account {:?}", self.place, self.user),
            )
            .because(why)
            .hint("look at the input with its password and at the account's host pattern"),
            Fault::Server(1044 | 1142 | 1143 | 1227 | 1370, why) => Error::new(
                Kind::Failed,
                format!(
                    "the account {:?} on {} lacks a privilege ({doing})",
                    self.user, self.place
                ),
            )
            .because(why)
            .hint("grant it; docs/SITE says what each account needs"),
            Fault::Server(number, why) => {
                Error::new(Kind::Failed, format!("{} answers with an error ({doing})", self.place))
                    .because(format!("{number} {why}"))
            }
        }
    }
}

fn fault(error: &mysql::Error) -> Fault {
    let io = match error {
        mysql::Error::IoError(e) => Some(e),
        mysql::Error::CodecError(e) => {
            std::error::Error::source(e).and_then(|source| source.downcast_ref::<std::io::Error>())
        }
        _ => None,
    };
    let late = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
    if let Some(e) = io.filter(|e| late.contains(&e.kind())) {
        return Fault::Late(e.to_string());
    }
    match error {
        mysql::Error::MySqlError(e) => Fault::Server(e.code, e.message.clone()),
        mysql::Error::IoError(e) => Fault::Lost(e.to_string()),
        mysql::Error::DriverError(e) => Fault::Lost(e.to_string()),
        mysql::Error::TlsError(e) => Fault::Lost(format!("TLS: {e}")),
        other => Fault::Lost(other.to_string()),
    }
}

impl Session {
    /// Its number on the server.
    pub fn id(&self) -> u32 {
        self.conn.connection_id()
    }

    /// Runs a statement; its rows are not looked at.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        self.attempt(sql).map_err(|fault| self.link.error(fault, &doing(sql)))
    }

    /// Runs a statement and leaves the fault to the caller.
    pub fn attempt(&mut self, sql: &str) -> std::result::Result<(), Fault> {
        self.conn.query_drop(sql).map_err(|e| fault(&e))
    }

    /// Every row of the answer.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.ask(sql).map_err(|fault| self.link.error(fault, &doing(sql)))
    }

    /// Every row, and leaves the fault to the caller.
    pub fn ask(&mut self, sql: &str) -> std::result::Result<Vec<Row>, Fault> {
        let mut found = Vec::new();
        let answer = self.conn.query_iter(sql).map_err(|e| fault(&e))?;
        for row in answer {
            let row = row.map_err(|e| fault(&e))?;
            let names: Vec<String> =
                row.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
            found.push(names.into_iter().zip(row.unwrap().into_iter().map(text)).collect());
        }
        Ok(found)
    }

    /// The one value of the one row; no row and NULL are `None`. Two rows are an error: nothing is guessed.
    pub fn value(&mut self, sql: &str) -> Result<Option<String>> {
        let mut rows = self.rows(sql)?;
        if rows.len() > 1 || rows.first().is_some_and(|row| row.len() != 1) {
            return Err(Error::new(
                Kind::Failed,
                format!("{} gives more than one value ({})", self.link.place, doing(sql)),
            ));
        }
        Ok(rows.pop().and_then(|row| row.into_values().next()).flatten())
    }

    /// The one value, which must be there.
    pub fn must(&mut self, sql: &str) -> Result<String> {
        self.value(sql)?.ok_or_else(|| {
            Error::new(Kind::Failed, format!("{} gives no value ({})", self.link.place, doing(sql)))
        })
    }
}

/// A column that must be there. NULL is `None`; a column that the server does not have is an error: it could hide
/// what we ask for.
pub fn column<'a>(row: &'a Row, name: &str) -> Result<Option<&'a str>> {
    row.get(name).map(Option::as_deref).ok_or_else(|| {
        Error::new(Kind::Failed, format!("the server's answer has no column {name:?}"))
            .hint("this version of the engine is not known to us")
    })
}

/// What a statement does, for messages: its first words, never a value of it.
fn doing(sql: &str) -> String {
    let words: Vec<&str> = sql.split_whitespace().take(3).collect();
    words.join(" ")
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_no_value_of_a_statement() {
        assert_eq!(doing("CHANGE MASTER TO MASTER_PASSWORD = 'secret'"), "CHANGE MASTER TO");
    }

    #[test]
    fn a_waiter_is_left_behind_when_its_process_is_gone() {
        assert!(!is_left_behind(&waiting("SELECT 1")));
        let own = waiting("SELECT 1");
        let pid = std::process::id().to_string();
        // the number was given to another process since
        let start = began(std::process::id()).unwrap();
        assert!(is_left_behind(&own.replace(&format!(" {start} "), " 1 ")));
        assert!(is_left_behind(&own.replace(&format!(" {pid} "), " 4194305 ")));
        assert!(!is_left_behind(&own.replace(&host(), "another-host")));
        assert!(!is_left_behind("SELECT '/* rs_tools waiter h 1 1 */'"));
    }

    #[test]
    fn a_missing_column_is_an_error_and_null_is_not() {
        let row = Row::from([("A".to_owned(), None)]);
        assert_eq!(column(&row, "A").unwrap(), None);
        column(&row, "B").unwrap_err();
    }
}
