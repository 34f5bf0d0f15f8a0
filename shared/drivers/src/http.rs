//! Our own requests: what a client of the site would see at one address. One connection a request, no redirect
//! followed, no proxy, nothing tried again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rs_contract::{Error, Kind, PageSwitch, Result, Secret};
use ureq::config::Config;
use ureq::http::{HeaderName, HeaderValue, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::settings::Settings;

/// More of a body than this is not read.
const BODY: u64 = 256 * 1024;

/// One request to be made.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where to connect, whatever the host name says.
    pub address: SocketAddr,
    /// TLS, with `host` as the name that the certificate must have.
    pub tls: bool,
    /// Certificates of further authorities to believe, PEM.
    pub authorities: Option<Vec<u8>>,
    /// `Host`; empty: the address.
    pub host: String,
    /// Path and query, e.g. `/health`.
    pub path: String,
    /// A POST with an empty body instead of a GET.
    pub post: bool,
    /// Further headers. Their values may be secret.
    pub headers: Vec<(String, Secret)>,
    /// For the whole of it.
    pub timeout: Duration,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// At most 256 KiB of the body.
    pub body: Vec<u8>,
    /// Milliseconds until all of it was there.
    pub ms: u64,
}

impl Answer {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The release that a `/version` says: the whole text, or `release` or `version` of a JSON object.
    pub fn release(&self) -> Option<String> {
        if self.status != 200 {
            return None;
        }
        let text = String::from_utf8_lossy(&self.body).trim().to_owned();
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text)
            && let Some(object) = value.as_object()
        {
            let found = object.get("release").or(object.get("version"))?;
            return Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned));
        }
        Some(text).filter(|text| !text.is_empty())
    }
}

impl Probe {
    /// A plain GET that takes at most five seconds.
    pub fn new(address: SocketAddr, host: &str, path: &str) -> Probe {
        Probe {
            address,
            tls: false,
            authorities: None,
            host: host.to_owned(),
            path: path.to_owned(),
            post: false,
            headers: Vec::new(),
            timeout: crate::patience(Duration::from_secs(5)),
        }
    }

    /// Through the page: with the secret header that a balancer's inputs name
    /// (`LB_BYPASS_HEADER`, by default `X-Maintenance-Bypass`, with `LB_BYPASS_SECRET`).
    pub fn bypass(mut self, balancer: &Settings) -> Result<Probe> {
        let header = balancer.or("LB_BYPASS_HEADER", "X-Maintenance-Bypass")?;
        self.headers.push((header, balancer.secret("LB_BYPASS_SECRET")?));
        Ok(self)
    }

    /// As people write it, e.g. `http://127.0.1.1:8080/health`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, self.path)
    }

    /// Makes the request. Any status is an answer; no answer is [`Kind::Unreachable`].
    pub fn send(&self) -> Result<Answer> {
        let bad = |what: String| {
            Error::new(Kind::Usage, what)
                .hint("a path begins with `/`; a host is like www.mysite.com")
        };
        if !self.path.starts_with('/') {
            return Err(bad(format!("{:?} is no path to ask for", self.path)));
        }
        let host = if self.host.is_empty() {
            match self.address {
                SocketAddr::V4(v4) => v4.ip().to_string(),
                SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
            }
        } else {
            self.host.clone()
        };
        let scheme = if self.tls { "https" } else { "http" };
        let url = format!("{scheme}://{host}:{}{}", self.address.port(), self.path);
        let uri: Uri = url.parse().map_err(|_| bad(format!("{url:?} is no address to ask")))?;
        let header = |name: &str, value: &str| {
            HeaderValue::from_str(value)
                .map_err(|_| bad(format!("the value of the header {name} is no header's value")))
        };
        let agent = self.agent()?;
        let begun = Instant::now();
        let mut headers = vec![(HeaderName::from_static("host"), header("host", &host)?)];
        for (name, value) in &self.headers {
            let known: HeaderName =
                name.parse().map_err(|_| bad(format!("{name:?} is no header's name")))?;
            let mut value = header(name, value.expose())?;
            value.set_sensitive(true);
            headers.push((known, value));
        }
        let response = if self.post {
            let request = headers.into_iter().fold(agent.post(uri), |r, (n, v)| r.header(n, v));
            request.send_empty()
        } else {
            let request = headers.into_iter().fold(agent.get(uri), |r, (n, v)| r.header(n, v));
            request.call()
        };
        let mut response = response.map_err(|e| self.no_answer(&e))?;
        let body =
            response.body_mut().with_config().limit(BODY).read_to_vec().or_else(|e| match e {
                ureq::Error::BodyExceedsLimit(_) => Ok(Vec::new()),
                e => Err(self.no_answer(&e)),
            })?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response
                .headers()
                .iter()
                .map(|(name, value)| {
                    (
                        name.as_str().to_owned(),
                        String::from_utf8_lossy(value.as_bytes()).into_owned(),
                    )
                })
                .collect(),
            body,
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn agent(&self) -> Result<ureq::Agent> {
        let mut tls = TlsConfig::builder();
        if let Some(pem) = &self.authorities {
            let found: Vec<Certificate<'static>> = ureq::tls::parse_pem(pem)
                .filter_map(|item| match item {
                    Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if found.is_empty() {
                return Err(Error::new(Kind::Usage, "the file of authorities has no certificate")
                    .hint("PEM is expected: -----BEGIN CERTIFICATE-----"));
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&found));
        }
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(self.timeout))
            .user_agent(concat!("rs-tools/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Ok(ureq::Agent::with_parts(config, DefaultConnector::default(), Here(self.address)))
    }

    fn no_answer(&self, e: &ureq::Error) -> Error {
        let distrusted = match e {
            ureq::Error::Io(e) => e.kind() == std::io::ErrorKind::InvalidData,
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
            _ => false,
        };
        if self.tls && distrusted {
            return Error::new(Kind::Failed, format!("{} is not believed", self.url()))
                .because(e)
                .hint("LB_PROBE_CA names the authorities to believe, LB_HOSTNAME the name in the certificate");
        }
        Error::new(Kind::Unreachable, format!("{} does not answer", self.url()))
            .because(e)
            .hint("does the process run there, and is it the right address and port?")
    }
}

/// A request to each address where a balancer answers clients of the pool, besides those of `LB_PROBE_URL`; with the
/// authorities of `LB_PROBE_CA`.
pub fn probes(
    page: &dyn PageSwitch,
    settings: &Settings,
    pool: &str,
    path: &str,
) -> Result<Vec<Probe>> {
    let host = settings.or("LB_HOSTNAME", "")?;
    let authorities = match settings.get("LB_PROBE_CA")?.filter(|path| !path.is_empty()) {
        Some(path) => Some(std::fs::read(&path).map_err(|e| {
            Error::new(Kind::Usage, format!("LB_PROBE_CA of {} is {path:?}", settings.subject))
                .because(e)
                .hint("a file of this machine with certificates, PEM")
        })?),
        None => None,
    };
    let mut found: Vec<Probe> = page
        .listens(pool)?
        .into_iter()
        .map(|listen| {
            let mut probe = Probe::new((listen.address, listen.port).into(), &host, path);
            probe.tls = listen.tls;
            probe
        })
        .collect();
    let urls = settings.or("LB_PROBE_URL", "")?;
    for url in urls.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        let probe = written(settings, url, &host, path)?;
        if !found.iter().any(|known| known.address == probe.address) {
            found.push(probe);
        }
    }
    for probe in &mut found {
        probe.authorities.clone_from(&authorities);
    }
    Ok(found)
}

fn written(settings: &Settings, url: &str, host: &str, path: &str) -> Result<Probe> {
    let bad = || {
        Error::new(Kind::Usage, format!("LB_PROBE_URL of {} is {url:?}", settings.subject))
            .hint("write http://127.0.0.1:8080 or https://[::1]:8443, several with commas")
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let place = rest.split('/').next().unwrap_or_default();
    let address: SocketAddr = place.parse().map_err(|_| bad())?;
    let mut probe = Probe::new(address, host, path);
    probe.tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(bad()),
    };
    Ok(probe)
}

/// Whatever the name is, it is here.
#[derive(Debug)]
struct Here(SocketAddr);

impl Resolver for Here {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        found.push(self.0);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Serves one canned answer and returns what was asked.
    fn once(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.95.0.200:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut buffer = [0; 1024];
            while !asked.ends_with(b"\r\n\r\n") {
                let n = stream.read(&mut buffer).unwrap();
                asked.extend_from_slice(&buffer[..n]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        (address, thread)
    }

    #[test]
    fn a_redirect_is_an_answer_and_the_host_is_the_site_s() {
        let (address, thread) = once(
            "HTTP/1.1 302 Found\r\nLocation: http://127.95.0.201:1/\r\nContent-Length: 0\r\n\r\n",
        );
        let mut probe = Probe::new(address, "www.mysite.com", "/a?b=c");
        probe.headers.push(("X-Secret".into(), Secret::new("s3")));
        let answer = probe.send().unwrap();
        assert_eq!(answer.status, 302);
        let asked = thread.join().unwrap().to_lowercase();
        assert!(asked.starts_with("get /a?b=c http/1.1\r\n"), "{asked}");
        assert_eq!(asked.matches("host: www.mysite.com\r\n").count(), 1, "{asked}");
        assert!(asked.contains("x-secret: s3"), "{asked}");
    }

    #[test]
    fn a_503_is_an_answer_with_its_headers() {
        let (address, _thread) = once(
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nhi",
        );
        let answer = Probe::new(address, "", "/").send().unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("60")));
        assert_eq!(answer.body, b"hi");
    }

    #[test]
    fn nobody_there_is_unreachable_and_a_bad_path_is_usage() {
        let probe = Probe::new("127.95.0.202:1".parse().unwrap(), "", "/");
        assert_eq!(probe.send().unwrap_err().kind(), Kind::Unreachable);
        let probe = Probe::new("127.95.0.202:1".parse().unwrap(), "", "x\r\ny: z");
        assert_eq!(probe.send().unwrap_err().kind(), Kind::Usage);
        let probe = Probe::new("127.95.0.202:1".parse().unwrap(), "a\r\nb: c", "/");
        assert_eq!(probe.send().unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_release_is_text_or_json() {
        let of = |body: &str| {
            Answer { status: 200, headers: vec![], body: body.into(), ms: 0 }.release()
        };
        assert_eq!(of("2.0\n").as_deref(), Some("2.0"));
        assert_eq!(of(r#"{"release":"2.0","revision":"r7"}"#).as_deref(), Some("2.0"));
        assert_eq!(of(r#"{"revision":"r7"}"#), None);
        assert_eq!(of(""), None);
    }
}
