//! Our own request to a member: what a balancer says of it before its first check proves nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, Result};
use rs_drivers::http::Probe;
use rs_drivers::settings::Settings;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(25);

/// Asks a member for its health once.
pub fn healthy(settings: &Settings, place: (IpAddr, u16)) -> Result<()> {
    let path = settings.or("HEALTH_CHECK_URI", "/health")?;
    let answer = ask(settings, place, &path)?;
    if (200..400).contains(&answer.status) {
        return Ok(());
    }
    Err(Error::new(
        Kind::No,
        format!("http://{}:{}{path} answers {}", place.0, place.1, answer.status),
    )
    .hint("look at the application there; HEALTH_CHECK_URI says what is asked"))
}

/// Asks a member for its release once.
pub fn has_release(settings: &Settings, place: (IpAddr, u16), wanted: &str) -> Result<()> {
    let path = settings.or("VERSION_URI", "/version")?;
    let answer = ask(settings, place, &path)?;
    match answer.release() {
        Some(release) if release == wanted => Ok(()),
        found => Err(Error::new(
            Kind::No,
            format!("http://{}:{}{path} is not release {wanted:?}", place.0, place.1),
        )
        .because(match found {
            Some(release) => format!("it says {release:?}"),
            None => format!("it answers {} and names none", answer.status),
        })
        .hint(
            "run the code update there and restart the application; VERSION_URI says what is asked",
        )),
    }
}

fn ask(settings: &Settings, place: (IpAddr, u16), path: &str) -> Result<rs_drivers::http::Answer> {
    let host = settings.or("LB_HOSTNAME", "")?;
    Probe::new(SocketAddr::new(place.0, place.1), &host, path).send()
}

/// Both, tried again until `limit` is over: an application that was started a moment ago may still warm up.
pub fn serves(
    settings: &Settings,
    place: (IpAddr, u16),
    release: Option<&str>,
    limit: Duration,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let result = healthy(settings, place).and_then(|()| match release {
            Some(release) => has_release(settings, place, release),
            None => Ok(()),
        });
        match result {
            Err(_) if begun.elapsed() < limit => std::thread::sleep(AGAIN),
            result => return result,
        }
    }
}
