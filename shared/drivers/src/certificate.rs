//! Whether a certificate that is believed today will still be believed when a window ends.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rs_contract::{Error, Kind, Result};
use rustls::client::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, RootCertStore};

use crate::http::Probe;

/// A clock that is ahead.
#[derive(Debug)]
struct Ahead(Duration);

impl TimeProvider for Ahead {
    fn current_time(&self) -> Option<UnixTime> {
        let now = u64::try_from(jiff::Timestamp::now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now) + self.0))
    }
}

/// Makes the handshake of a probe as if it were that much later. Nothing is asked for.
pub fn valid_in(probe: &Probe, ahead: Duration) -> Result<()> {
    let place = format!("the certificate at {}", probe.address);
    let failed = |e: &dyn std::fmt::Display| {
        Error::new(Kind::Failed, format!("{place} is not believed")).because(e)
    };
    let mut roots = RootCertStore::empty();
    match &probe.authorities {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| failed(&e))?;
                roots.add(certificate).map_err(|e| failed(&e))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let host = match probe.host.as_str() {
        "" => probe.address.ip().to_string(),
        host => host.to_owned(),
    };
    let name = ServerName::try_from(host).map_err(|e| failed(&e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(Ahead(ahead)))
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(|e| failed(&e))?;
    let unreachable = |e: std::io::Error| {
        Error::new(Kind::Unreachable, format!("{} does not answer", probe.url())).because(e)
    };
    let mut stream =
        TcpStream::connect_timeout(&probe.address, probe.timeout).map_err(unreachable)?;
    stream
        .set_read_timeout(Some(probe.timeout))
        .and_then(|()| stream.set_write_timeout(Some(probe.timeout)))
        .map_err(unreachable)?;
    while tls.is_handshaking() {
        if let Err(e) = tls.complete_io(&mut stream) {
            return match e.kind() {
                std::io::ErrorKind::InvalidData => Err(failed(&e)),
                _ => Err(unreachable(e)),
            };
        }
    }
    Ok(())
}
