//! Settings that a run changes for a time.

use rs_contract::{Error, Kind, Result, Setting};

use super::Mysql;

/// The variable, what a run makes of it, and the name of its lines in the option file. Both engines call them so.
fn of(setting: Setting) -> (&'static str, &'static str, &'static str) {
    match setting {
        Setting::KeptBinlogs => ("binlog_expire_logs_seconds", "0", "rs-binlogs"),
        Setting::SyncedRelayLog => ("sync_relay_log", "1", "rs-relay-log"),
    }
}

pub fn changed(setting: Setting) -> String {
    of(setting).1.to_owned()
}

pub fn read(db: &Mysql, setting: Setting) -> Result<String> {
    db.link.open()?.must(&format!("SELECT @@global.{}", of(setting).0))
}

pub fn change(db: &Mysql, setting: Setting, back: Option<&str>) -> Result<bool> {
    let (variable, changed, kept) = of(setting);
    let value: u64 = back.unwrap_or(changed).parse().map_err(|_| {
        Error::new(Kind::Failed, format!("{variable} was {back:?}, which is no number"))
    })?;
    let lasts = match back {
        Some(_) => db.remove_options(kept).map(|()| true)?,
        None => db.put_options(kept, &format!("{variable} = {value}\n"))?,
    };
    let mut session = db.link.open()?;
    session.run(&format!("SET GLOBAL {variable} = {value}"))?;
    let now = session.must(&format!("SELECT @@global.{variable}"))?;
    if now == value.to_string() {
        return Ok(lasts);
    }
    Err(Error::new(Kind::Failed, format!("{}: {variable} is {now}, not {value}", db.link.place())))
}
