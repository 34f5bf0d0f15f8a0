//! A records.
use crate::settings::Settings;
use rs_contract::{Dns, Error, Kind, Result};
pub fn rfc2136(_t: &Settings) -> Result<Box<dyn Dns>> {
    Err(Error::new(Kind::Failed, "this driver is not there yet"))
}
pub fn hosts(_t: &Settings) -> Result<Box<dyn Dns>> {
    Err(Error::new(Kind::Failed, "this driver is not there yet"))
}
