//! Servers as groups of processes of this machine: each on a loopback address of its own, with a folder of its own.
//!
//! What belongs to a server is found by the cookie `RS_MACHINE=ID` in its environment (and by a working directory
//! below its folder), so that nothing outlives it, whatever it did to its process group, session or parent.

mod beneath;
mod channel;
mod config;
mod files;
mod machines;
mod output;
mod processes;

use rs_contract::{Machines, Result};

/// Opens the machines that a site file's `Machines: {Local: …}` names.
pub fn open(config: &serde_json::Value) -> Result<Box<dyn Machines>> {
    Ok(Box::new(machines::Local::new(config::Config::read(config)?)))
}
