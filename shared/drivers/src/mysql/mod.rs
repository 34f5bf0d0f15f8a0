//! MariaDB and MySQL: `dialect` has the words, `conn` the connections, the others the doing.

mod attached;
mod binlog;
mod conn;
mod definitions;
mod dialect;
mod facts;
#[cfg(test)]
mod fuzz_tests;
mod lowered;
mod migrate;
mod migrations;
mod options;
mod replication;
mod rows;
mod settings;
mod storage;
mod survey;
mod writes;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use conn::{Link, Tls};
pub use dialect::Cell;
use dialect::Dialect;
use rs_contract::{
    Channel, Database, Endpoint, Error, Kind, MigrationEvent, Progress, Result, Secret, Setting,
    SilenceFacts, SourceSpec, Work, WritesState,
};
use rs_model::migration::Migration;
use rs_model::price::Written;
use rs_model::ready::Survey;
use rs_model::replica::{Identity, Replica};
use rs_model::takeover::Attached;
use rs_model::{Position, Server};

use crate::settings::Settings;

/// Every cell of the dialect that a server of this version (`SELECT VERSION()`) speaks, by name: for whoever tries them
/// on real servers.
pub fn cells(version: &str) -> Result<Vec<(&'static str, Cell)>> {
    Ok(dialect::choose(version)?.cells())
}

/// One database server.
struct Mysql {
    link: Link,
    channel: Option<Box<dyn Channel>>,
    options: options::Place,
    /// Users of accounts that are the tools' own.
    accounts: Vec<String>,
    known: OnceLock<(String, &'static Dialect)>,
}

/// Opens the database of a server: over TCP at its address and `DB_PORT`, or over `DB_SOCKET` where
/// `DB_CONNECT=socket` says so.
pub fn database(
    server: &Server,
    settings: &Settings,
    channel: Option<Box<dyn Channel>>,
    account: Option<(String, Secret)>,
) -> Result<Box<dyn Database>> {
    let endpoint = match settings.or("DB_CONNECT", "tcp")?.as_str() {
        "tcp" => Endpoint::Tcp(settings.address()?.to_string(), settings.port("DB_PORT", 3306)?),
        "socket" => Endpoint::Unix(settings.path_of(&settings.or("DB_SOCKET", "run/mysqld.sock")?)),
        other => {
            return Err(Error::new(
                Kind::Usage,
                format!("DB_CONNECT of {} is {other:?}", settings.subject),
            )
            .hint("tcp or socket"));
        }
    };
    let endpoint = match &channel {
        Some(channel) => channel.reach(&endpoint)?,
        None => endpoint,
    };
    let authority = settings.get("DB_TLS_CA")?.filter(|path| !path.is_empty()).map(Into::into);
    let tls = match settings.or("DB_TLS", "off")?.as_str() {
        "off" => None,
        "required" => Some(Tls { authority, verify_name: false }),
        "verify" => Some(Tls { authority, verify_name: true }),
        other => {
            return Err(Error::new(
                Kind::Usage,
                format!("DB_TLS of {} is {other:?}", settings.subject),
            )
            .hint("off, required (the chain is verified) or verify (the name too)"));
        }
    };
    let path = |name: &str| -> Result<Option<String>> {
        let given = settings.get(name)?.filter(|path| !path.is_empty());
        Ok(given.map(|path| settings.path_of(&path)))
    };
    let options = match (path("DB_OPTION_DIR")?, path("DB_OPTION_FILE")?) {
        (Some(folder), _) => options::Place::Folder(folder),
        (None, Some(file)) => options::Place::File(file),
        (None, None) => options::Place::Nowhere,
    };
    let admin = settings.or("DBADMIN_USER", "root")?;
    let mut accounts = vec![admin.clone()];
    accounts.extend(settings.get("DBMIGRATION_USER")?.filter(|user| !user.is_empty()));
    let (user, password) = match account {
        Some(account) => account,
        None => (admin, settings.secret("DBADMIN_PASSWORD")?),
    };
    let mut link = Link::new(endpoint, user, password, tls);
    link.name(&server.name);
    Ok(Box::new(Mysql { link, channel, options, accounts, known: OnceLock::new() }))
}

impl Mysql {
    /// The engine, asked of the server itself.
    fn known(&self) -> Result<&(String, &'static Dialect)> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        let version = self.link.open()?.must("SELECT VERSION()")?;
        let dialect = dialect::choose(&version)?;
        Ok(self.known.get_or_init(|| (version, dialect)))
    }

    fn dialect(&self) -> Result<&'static Dialect> {
        Ok(self.known()?.1)
    }

    fn version(&self) -> Result<&str> {
        Ok(&self.known()?.0)
    }

    fn own_accounts(&self) -> Vec<&str> {
        self.accounts.iter().map(String::as_str).collect()
    }

    fn has_options(&self, name: &str) -> Result<Option<bool>> {
        self.options.has(self.channel.as_deref(), name)
    }

    fn put_options(&self, name: &str, lines: &str) -> Result<bool> {
        self.options.put(self.channel.as_deref(), name, lines)
    }

    fn remove_options(&self, name: &str) -> Result<()> {
        self.options.remove(self.channel.as_deref(), name)
    }
}

impl Database for Mysql {
    fn place(&self) -> String {
        self.link.place().to_owned()
    }

    fn answer_within(&mut self, limit: Duration) {
        self.link.answer_within(limit);
    }

    fn identity(&self) -> Result<Identity> {
        let dialect = self.dialect()?;
        facts::identity(&mut self.link.open()?, dialect, self.version()?)
    }

    fn position(&self) -> Result<Position> {
        let dialect = self.dialect()?;
        facts::position(&mut self.link.open()?, dialect)
    }

    fn replica(&self) -> Result<Replica> {
        let dialect = self.dialect()?;
        facts::replica(&mut self.link.open()?, dialect, self.version()?)
    }

    fn wait_applied(&self, position: &Position, limit: Duration) -> Result<bool> {
        facts::wait_applied(self, position, limit)
    }

    fn write_canary(&self, nonce: &str) -> Result<()> {
        replication::write_canary(self, nonce)
    }

    fn read_canary(&self) -> Result<Option<String>> {
        replication::read_canary(self)
    }

    fn canaries(&self) -> Result<u64> {
        replication::canaries(self)
    }

    fn written(&self, from: &Position, to: &Position, limit: Duration) -> Result<Written> {
        binlog::written(self, from, to, limit)
    }

    fn silence(&self, allowed: &[String]) -> Result<SilenceFacts> {
        writes::silence(self, allowed)
    }

    fn attached(&self, allowed: &[String]) -> Result<Attached> {
        attached::attached(self, allowed)
    }

    fn survey(&self) -> Result<Survey> {
        survey::survey(self)
    }

    fn writes_off(&self, allowed: &[String], limit: Duration) -> Result<WritesState> {
        writes::writes_off(self, allowed, limit)
    }

    fn writes_on(&self, before: &WritesState) -> Result<()> {
        writes::writes_on(self, before)
    }

    fn unsupported(&self) -> Result<Vec<String>> {
        let dialect = self.dialect()?;
        Ok(dialect
            .cells()
            .into_iter()
            .filter_map(|(name, cell)| match cell {
                Cell::Is(_) => None,
                Cell::Unsupported { why, .. } => {
                    Some(format!("{} has no {name}: {why}", dialect.engine))
                }
            })
            .collect())
    }

    fn lowers(&self) -> Result<bool> {
        Ok(self.dialect()?.lower.get().is_some())
    }

    fn lowered(
        &self,
        allowed: &[String],
        work: &mut dyn FnMut() -> Result<()>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<()> {
        lowered::lowered(self, allowed, work, progress)
    }

    fn writes(&self) -> Result<WritesState> {
        writes::writes(self)
    }

    fn follow(&self, source: &SourceSpec, position: &Position) -> Result<()> {
        replication::follow(self, source, position)
    }

    fn hold(&self, limit: Duration) -> Result<Position> {
        replication::hold(self, limit)
    }

    fn resume(&self, source: &SourceSpec) -> Result<()> {
        replication::resume(self, source)
    }

    fn setting(&self, setting: Setting) -> Result<String> {
        settings::read(self, setting)
    }

    fn changed_setting(&self, setting: Setting) -> String {
        settings::changed(setting)
    }

    fn change_setting(&self, setting: Setting, back: Option<&str>) -> Result<bool> {
        settings::change(self, setting, back)
    }

    fn promote(&self) -> Result<Position> {
        replication::promote(self)
    }

    fn schema_fingerprint(&self, schema: &str) -> Result<String> {
        definitions::fingerprint(&mut self.link.open()?, self.dialect()?, schema)
    }

    fn schema_parts(&self, schema: &str) -> Result<BTreeMap<String, String>> {
        Ok(definitions::read(&mut self.link.open()?, self.dialect()?, schema)?.1)
    }

    fn migrations(&self) -> Result<Vec<Migration>> {
        migrations::list(self)
    }

    fn migrate(
        &self,
        token: &str,
        schema: &str,
        statements: &[String],
        work: Work,
        event: &(dyn Fn(&MigrationEvent) + Sync),
    ) -> Result<()> {
        migrate::migrate(self, token, schema, statements, work, event)
    }

    fn script(
        &self,
        token: &str,
        schema: &str,
        work: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<()> {
        migrations::script(self, token, schema, work)
    }

    fn largest_table_bytes(&self, schema: &str) -> Result<u64> {
        let bytes = self.link.open()?.value(&format!(
            "SELECT MAX(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.tables WHERE TABLE_SCHEMA = {}",
            dialect::literal(schema)
        ))?;
        Ok(bytes.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    fn table_bytes(&self, schema: &str, table: &str) -> Result<Option<u64>> {
        rows::bytes(self, schema, table)
    }

    fn kill_sessions(&self, allowed: &[String], progress: Progress<'_>) -> Result<u64> {
        let ended = writes::kill_sessions(self, allowed, Duration::from_secs(30))?;
        progress(&format!("{}: sessions ended: {ended}", self.link.place()));
        Ok(ended)
    }

    fn tables(&self) -> Result<Vec<(String, String)>> {
        rows::tables(self)
    }

    fn checksum(&self, schema: &str, table: &str, limit: Duration) -> Result<Option<String>> {
        rows::checksum(self, schema, table, limit)
    }

    fn scalar(&self, sql: &str) -> Result<Option<String>> {
        self.link.open()?.value(sql)
    }
}
