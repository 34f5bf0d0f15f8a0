//! Permission bits of files on a server.

use std::time::Duration;

use rs_contract::{Channel, Command, Result};

/// Those of a file that is to be replaced, which keeps them; of one that is not there, for its owner only.
pub fn of(channel: &dyn Channel, path: &str) -> Result<u32> {
    let command = Command {
        argv: ["stat", "-c", "%a", "--", path].map(str::to_owned).to_vec(),
        timeout: Duration::from_secs(10),
        ..Command::default()
    };
    let said = channel.run(&command, &|_| ())?;
    Ok(u32::from_str_radix(said.text.trim(), 8).unwrap_or(0o600))
}
