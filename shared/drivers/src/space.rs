//! Room on a server's disk.

use std::time::Duration;

use rs_contract::{Channel, Command, Error, Kind, Result};

/// Free bytes where a folder lies.
pub fn free(channel: &dyn Channel, folder: &str) -> Result<u64> {
    let argv = ["df", "--output=avail", "--block-size=1", "--", folder];
    let command = Command {
        argv: argv.map(str::to_owned).to_vec(),
        timeout: Duration::from_secs(10),
        ..Command::default()
    };
    let output = channel.run(&command, &|_| {})?;
    let free = output.text.lines().last().and_then(|line| line.trim().parse().ok());
    free.filter(|_| output.exit == 0).ok_or_else(|| {
        Error::new(Kind::Failed, format!("free space of {folder} on {}", channel.place()))
            .because(output.text.trim())
            .hint("look there by hand: df")
    })
}
