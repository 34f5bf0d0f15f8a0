//! Backups.
use crate::settings::Settings;
use rs_contract::{Channel, Error, Kind, Result, Snapshots};
pub fn mariabackup(_t: &Settings, _c: Option<Box<dyn Channel>>) -> Result<Box<dyn Snapshots>> {
    Err(Error::new(Kind::Failed, "this driver is not there yet"))
}
pub fn filesystem(_t: &Settings, _c: Option<Box<dyn Channel>>) -> Result<Box<dyn Snapshots>> {
    Err(Error::new(Kind::Failed, "this driver is not there yet"))
}
