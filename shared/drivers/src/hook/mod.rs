//! Alerts by a command.
use crate::settings::Settings;
use rs_contract::{Alerts, Error, Kind, Result};
pub fn open(_t: &Settings) -> Result<Option<Box<dyn Alerts>>> {
    Err(Error::new(Kind::Failed, "this driver is not there yet"))
}
