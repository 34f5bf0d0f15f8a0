//! Members of a pool and the maintenance page, as one balancer has them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a balancer was told to do with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// Gets traffic when healthy.
    Ready,
    /// Finishes what it has, gets nothing new.
    Drain,
    /// Present, but gets nothing: standby.
    Maint,
}

/// One server of one pool on one balancer. Known by address and port, never by its name there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The balancer's name.
    pub balancer: String,
    /// The pool.
    pub pool: String,
    /// The name that the balancer uses.
    pub id: String,
    /// Where requests go.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// The server of the deployment that has this address; absent when it is nobody we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What the balancer was told.
    pub admin: Admin,
    /// What the balancer says of its health, e.g. `UP`, `UP 1/3`, `DOWN`, `MAINT`, `no check`.
    pub status: String,
    /// The last check's result, e.g. `L7OK`, `INI`; `UP` before any check proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check: Option<String>,
    /// Requests in flight to it now.
    pub sessions: u64,
    /// Its weight.
    pub weight: u32,
    /// Whether what survives a reload says the same: absent when that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<bool>,
}

/// The receipt of a drain: what became of the requests in flight, websockets among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Those that ended by themselves.
    pub finished: u64,
    /// Those that we ended: their clients got an error.
    pub killed: u64,
    /// How long the last of them took, in milliseconds from when nothing new came.
    pub longest_ms: u64,
}

/// The maintenance page on one balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The balancer's name.
    pub balancer: String,
    /// The pool whose site it covers.
    pub pool: String,
    /// Whether the runtime shows it, in every process of the balancer.
    pub active: bool,
    /// Whether a reload would bring the same; absent when that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<bool>,
    /// What an own request from outside got, per address and scheme.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<PageSeen>,
}

/// One request from outside, to see whether the page is really up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageSeen {
    /// What was asked, e.g. `http://127.0.1.1:8080/`.
    pub url: String,
    /// HTTP status; absent when nothing answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `Retry-After`, in seconds: tells the page from a mere outage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Whether `Cache-Control: no-store` was there.
    pub no_store: bool,
    /// Why it is no page, or why nothing answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Page {
    /// What is wrong with it where it should be up.
    pub fn not_on(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.active {
            found.push(format!("{} does not show the page in every process", self.balancer));
        }
        if self.saved == Some(false) {
            found.push(format!("{} would lose the page with a reload", self.balancer));
        }
        for seen in self.seen.iter().filter(|seen| !seen.is_page()) {
            found.push(format!("{}: {}", self.balancer, seen.no_page()));
        }
        if self.seen.is_empty() {
            found.push(format!("{} has no address to look at", self.balancer));
        }
        found
    }

    /// Where it is still up though it should be down.
    ///
    /// - `processes`: each of the balancer in words, and whether it shows the page.
    pub fn still_on(&self, processes: &[(String, bool)]) -> Vec<String> {
        let mut found = Vec::new();
        for (process, _) in processes.iter().filter(|(_, on)| *on) {
            found.push(format!("{process} shows the page"));
        }
        if self.saved == Some(true) {
            found.push(format!("{} would bring the page back with a reload", self.balancer));
        }
        for seen in self.seen.iter().filter(|seen| seen.is_shown()) {
            found.push(format!("{}: {} still shows the page", self.balancer, seen.url));
        }
        found
    }

    /// Where clients see neither it nor the site.
    pub fn not_open(&self) -> Vec<String> {
        self.seen
            .iter()
            .filter(|seen| !seen.is_shown() && seen.status.is_none_or(|status| status >= 500))
            .map(|seen| format!("{}: {}", self.balancer, seen.no_site()))
            .collect()
    }
}

impl PageSeen {
    /// Whether the answer is our page: 503 with Retry-After and no-store.
    pub fn is_page(&self) -> bool {
        self.is_shown() && self.no_store && self.problem.is_none()
    }

    /// Whether it is the page for those who wait, though it may not be as it should: no mere outage.
    pub fn is_shown(&self) -> bool {
        self.status == Some(503) && self.retry_after_seconds.is_some()
    }

    fn no_page(&self) -> String {
        let why = match (&self.problem, self.status) {
            (Some(problem), _) => problem.clone(),
            (None, Some(503)) if self.retry_after_seconds.is_none() => {
                "503 without Retry-After: an outage, not the page".into()
            }
            (None, Some(503)) => "503 without Cache-Control: no-store".into(),
            (None, Some(status)) => format!("answers {status}"),
            (None, None) => "no answer".into(),
        };
        format!("{} is not the page: {why}", self.url)
    }

    fn no_site(&self) -> String {
        match (&self.problem, self.status) {
            (Some(problem), _) => format!("{}: {problem}", self.url),
            (None, status) => format!("{} answers {}", self.url, status.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: u16, retry: Option<u64>, no_store: bool) -> PageSeen {
        PageSeen {
            url: "http://127.0.1.1:8080/".into(),
            status: Some(status),
            retry_after_seconds: retry,
            no_store,
            problem: None,
        }
    }

    fn page(active: bool, saved: Option<bool>, seen: Vec<PageSeen>) -> Page {
        Page { balancer: "lb".into(), pool: "www".into(), active, saved, seen }
    }

    #[test]
    fn a_mere_outage_is_no_page() {
        let good = seen(503, Some(60), true);
        let spoilt = PageSeen { problem: Some("the page has no body".into()), ..good.clone() };
        assert!(page(true, Some(true), vec![seen(503, Some(60), true)]).not_on().is_empty());
        for (page, word) in [
            (page(true, Some(true), vec![seen(503, None, true)]), "outage"),
            (page(true, Some(true), vec![seen(503, Some(60), false)]), "no-store"),
            (page(true, Some(true), vec![seen(200, Some(60), true)]), "answers 200"),
            (page(true, Some(false), vec![seen(503, Some(60), true)]), "reload"),
            (page(false, Some(true), vec![seen(503, Some(60), true)]), "every process"),
            (page(true, Some(true), vec![]), "no address"),
            (page(true, Some(true), vec![spoilt]), "no body"),
            (page(true, Some(true), vec![PageSeen { status: None, ..good.clone() }]), "no answer"),
            (page(true, Some(true), vec![good, seen(502, None, false)]), "answers 502"),
        ] {
            let found = page.not_on();
            assert!(found.iter().any(|why| why.contains(word)), "{word}: {found:?}");
        }
    }

    #[test]
    fn a_site_that_answers_500_is_not_open() {
        let of = |status, retry| page(false, Some(false), vec![seen(status, retry, false)]);
        for status in [200, 302, 404] {
            assert!(of(status, None).not_open().is_empty(), "the site's own word");
            assert!(of(status, None).still_on(&[]).is_empty());
        }
        assert!(of(503, Some(60)).still_on(&[])[0].contains("still shows"));
        assert!(of(503, Some(60)).not_open().is_empty());
        let silent = PageSeen { status: None, ..seen(0, None, false) };
        assert_eq!(page(false, None, vec![silent]).not_open().len(), 1, "no answer is no site");
        assert!(of(500, None).not_open()[0].contains("answers 500"));
        assert!(of(503, None).not_open()[0].contains("answers 503"));
        let old = [("the old worker 7".to_owned(), true)];
        assert!(of(200, None).still_on(&old)[0].contains("old worker"));
        let new = [("the worker 8".to_owned(), false)];
        assert!(of(200, None).still_on(&new).is_empty());
        assert!(page(false, Some(true), vec![]).still_on(&[])[0].contains("reload"));
    }
}
