//! HAProxy.
use crate::settings::Settings;
use rs_contract::{Balancer, Channel, Error, Kind, PageSwitch, Result};
use rs_model::Server;
pub fn balancer(
    _s: &Server,
    _t: &Settings,
    _c: Option<Box<dyn Channel>>,
) -> Result<Box<dyn Balancer>> {
    Err(Error::new(Kind::Failed, "this driver is not there yet"))
}
pub fn page(
    _s: &Server,
    _t: &Settings,
    _c: Option<Box<dyn Channel>>,
) -> Result<Box<dyn PageSwitch>> {
    Err(Error::new(Kind::Failed, "this driver is not there yet"))
}
