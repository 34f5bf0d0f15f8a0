//! A records: by dynamic update at the authoritative server, or in a hosts file.

mod hosts;
mod rfc2136;
mod transport;
mod words;

use rs_contract::{Dns, Result};

use crate::settings::Settings;

/// `rfc2136`: dynamic updates, signed (BIND, Knot, PowerDNS …).
pub fn rfc2136(settings: &Settings) -> Result<Box<dyn Dns>> {
    Ok(Box::new(rfc2136::Rfc2136::open(settings)?))
}

/// `hosts`: a file in the format of /etc/hosts.
pub fn hosts(settings: &Settings) -> Result<Box<dyn Dns>> {
    Ok(Box::new(hosts::Hosts::open(settings)?))
}
