//! `rfc2136`: signed dynamic updates and look-ups at the authoritative server.
//!
//! Inputs: `DNS_SERVER` (address:port of the zone's primary), `DNS_ZONE`, `DNS_TSIG_NAME`, `DNS_TSIG_KEY` (base64,
//! hmac-sha256). The key needs the right to change A records of the zone. Look-ups are not signed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use base64::Engine;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, RecordType, TSigner};
use rs_contract::{Dns, Error, Kind, Result, Secret};

use super::transport;
use super::words::{self, Found};
use crate::settings::Settings;

/// How far the clocks may be apart, seconds (RFC 8945 recommends 300).
const FUDGE_SECONDS: u16 = 300;
/// How long the server may take to show what it accepted.
const SHOWN: Duration = Duration::from_secs(5);

/// A zone at its primary server.
pub struct Rfc2136 {
    server: SocketAddr,
    zone: Name,
    key_name: String,
    key: Option<Secret>,
}

impl Rfc2136 {
    /// Of these inputs. Without a key only look-ups work.
    pub fn open(settings: &Settings) -> Result<Self> {
        let written = settings.need("DNS_SERVER")?;
        let key_name = settings.or("DNS_TSIG_NAME", "")?;
        Ok(Rfc2136 {
            server: server(&written)?,
            zone: words::name(&settings.need("DNS_ZONE")?)?,
            key: match settings.values.contains_key("DNS_TSIG_KEY") {
                true => Some(settings.secret("DNS_TSIG_KEY")?),
                false => None,
            },
            key_name,
        })
    }

    fn signer(&self) -> Result<TSigner> {
        let missing = |what: &str| {
            Error::new(Kind::Usage, format!("{} is needed to change {}", what, self.zone)).hint(
                "rs-inputs set it at the deployment: DNS_TSIG_NAME=text:…, DNS_TSIG_KEY=cred:…",
            )
        };
        let key = self.key.as_ref().ok_or_else(|| missing("DNS_TSIG_KEY"))?;
        if self.key_name.is_empty() {
            return Err(missing("DNS_TSIG_NAME"));
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(key.expose().trim()).map_err(
            |_| {
                Error::new(Kind::Usage, "DNS_TSIG_KEY is not base64")
                    .hint("it is what `tsig-keygen` prints as secret")
            },
        )?;
        let mut name = Name::from_ascii(&self.key_name).map_err(|e| {
            Error::new(Kind::Usage, format!("DNS_TSIG_NAME {:?} is no key name", self.key_name))
                .because(e)
        })?;
        name.set_fqdn(true);
        TSigner::new(bytes, TsigAlgorithm::HmacSha256, name.to_lowercase(), FUDGE_SECONDS)
            .map_err(|e| Error::new(Kind::Failed, "the TSIG key cannot be used").because(e))
    }

    fn unreachable(&self, e: &std::io::Error) -> Error {
        Error::new(Kind::Unreachable, format!("{} did not answer", self.place()))
            .because(e)
            .hint("is the name server running, and is DNS_SERVER right?")
    }

    fn ask(&self, name: &Name, what: RecordType) -> Result<Found> {
        let question = words::question(id()?, name, what).to_vec().map_err(|e| unreadable(&e))?;
        let answer = transport::udp(self.server, &question).map_err(|e| self.unreachable(&e))?;
        let mut message = Message::from_vec(&answer).map_err(|e| unreadable(&e))?;
        if message.metadata.truncation {
            let answer =
                transport::tcp(self.server, &question).map_err(|e| self.unreachable(&e))?;
            message = Message::from_vec(&answer).map_err(|e| unreadable(&e))?;
        }
        words::read(&self.place(), name, &message)
    }

    fn update(&self, name: &Name, before: &[Ipv4Addr], after: &[Ipv4Addr], ttl: u32) -> Result<()> {
        let message = words::replace(id()?, &self.zone, name, before, after, ttl);
        let read = self.signed(message)?;
        words::accepted(&self.place(), &self.zone, name, &self.key_name, &read)
    }

    /// Sends a message that our key signs; an answer that accepts our key must be signed by it too.
    fn signed(&self, mut message: Message) -> Result<Message> {
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        let (tsig, verifier) =
            self.signer()?.sign_message(&message, now).map_err(|e| unreadable(&e))?;
        message.set_signature(tsig);
        let bytes = message.to_vec().map_err(|e| unreadable(&e))?;
        let answer = transport::tcp(self.server, &bytes).map_err(|e| self.unreachable(&e))?;
        let read = Message::from_vec(&answer).map_err(|e| unreadable(&e))?;
        if let Some(mut verifier) = verifier
            && words::accepts(&read)
        {
            verifier.verify(&answer).map_err(|e| {
                Error::new(
                    Kind::Failed,
                    format!("the answer of {} is not signed by our key", self.place()),
                )
                .because(e)
                .hint("somebody else may answer at that address")
            })?;
        }
        Ok(read)
    }
}

impl Dns for Rfc2136 {
    fn place(&self) -> String {
        format!("DNS server {}", self.server)
    }

    fn lookup(&self, name: &str) -> Result<(Vec<Ipv4Addr>, Option<u32>)> {
        let name = words::name(name)?;
        let found = self.ask(&name, RecordType::A)?;
        match found.alias {
            Some(target) => Err(is_alias(&name, &target)),
            None => Ok((found.addresses, found.ttl_seconds)),
        }
    }

    fn has_aaaa(&self, name: &str) -> Result<bool> {
        Ok(self.ask(&words::name(name)?, RecordType::AAAA)?.any)
    }

    fn try_key(&self) -> Result<String> {
        let (message, name) = words::futile(id()?, &self.zone)?;
        let read = self.signed(message)?;
        if words::is_futile(&read) {
            return Ok(format!("{} accepts {:?}", self.place(), self.key_name));
        }
        words::accepted(&self.place(), &self.zone, &name, &self.key_name, &read)?;
        Err(Error::new(Kind::Failed, format!("{} took what it had to refuse", self.place()))
            .hint("it does not look at the prerequisites of an update: RFC 2136 section 3.2"))
    }

    fn set(&self, name: &str, addresses: &[Ipv4Addr], ttl_seconds: u32) -> Result<()> {
        let name = words::name(name)?;
        if !self.zone.zone_of(&name) {
            return Err(Error::new(Kind::Usage, format!("{name} does not lie in {}", self.zone))
                .hint("give a name of DNS_ZONE, or set DNS_ZONE"));
        }
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let shows = |found: &Found| {
            found.addresses == wanted
                && (wanted.is_empty() || found.ttl_seconds == Some(ttl_seconds))
        };
        let before = self.ask(&name, RecordType::A)?;
        if let Some(target) = &before.alias {
            return Err(is_alias(&name, target));
        }
        if shows(&before) {
            return Ok(());
        }
        match self.update(&name, &before.addresses, &wanted, ttl_seconds) {
            // the answer may have been lost after the update was made
            Err(e)
                if e.kind() == Kind::Unreachable
                    && !self.ask(&name, RecordType::A).is_ok_and(|f| shows(&f)) =>
            {
                return Err(e);
            }
            Err(e) if e.kind() != Kind::Unreachable => return Err(e),
            _ => {}
        }
        let until = Instant::now() + crate::patience(SHOWN);
        loop {
            let found = self.ask(&name, RecordType::A)?;
            if shows(&found) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Error::new(
                    Kind::TimedOut,
                    format!("{} accepted the update of {name} and does not show it", self.place()),
                )
                .because(format!("it answers {:?}", found.addresses))
                .hint("DNS_SERVER must be the zone's primary, no secondary behind it"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn is_alias(name: &Name, target: &str) -> Error {
    Error::new(Kind::Declined, format!("{name} is an alias of {target}"))
        .hint("name the target itself, or remove the alias first")
}

fn unreadable(e: &impl std::fmt::Display) -> Error {
    Error::new(Kind::Failed, "a DNS message cannot be written or read").because(e)
}

fn id() -> Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Failed, "no random number is to be had").because(e))?;
    Ok(u16::from_be_bytes(bytes))
}

/// Reads `ADDRESS[:PORT]` or `HOST[:PORT]`; 53 when no port is given.
fn server(written: &str) -> Result<SocketAddr> {
    let bad = || {
        Error::new(Kind::Usage, format!("DNS_SERVER {written:?} is no server"))
            .hint("write ADDRESS:PORT, e.g. 10.0.0.2:53")
    };
    if let Ok(address) = written.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(address) = written.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 53));
    }
    let (host, port) = match written.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
        None => (written, 53),
    };
    rs_model::name::host(host).map_err(|_| bad())?;
    (host, port).to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(|| {
        Error::new(Kind::Unreachable, format!("DNS_SERVER {written:?} does not resolve"))
            .hint("write its address")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_or_without_a_port() {
        for (written, read) in [
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("127.0.0.1", "127.0.0.1:53"),
            ("[::1]:54", "[::1]:54"),
            ("::1", "[::1]:53"),
        ] {
            assert_eq!(server(written).unwrap().to_string(), read);
        }
        for bad in ["", "a b", "127.0.0.1:x", "$(x):53"] {
            assert_eq!(server(bad).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }
}
