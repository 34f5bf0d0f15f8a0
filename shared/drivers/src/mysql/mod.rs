//! MariaDB and MySQL.
use crate::settings::Settings;
use rs_contract::{Channel, Database, Error, Kind, Result, Secret};
use rs_model::Server;
pub fn database(
    _s: &Server,
    _t: &Settings,
    _c: Option<Box<dyn Channel>>,
    _a: Option<(String, Secret)>,
) -> Result<Box<dyn Database>> {
    Err(Error::new(Kind::Failed, "this driver is not there yet"))
}
