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

impl PageSeen {
    /// Whether the answer is our page: 503 with Retry-After and no-store.
    pub fn is_page(&self) -> bool {
        self.status == Some(503)
            && self.retry_after_seconds.is_some()
            && self.no_store
            && self.problem.is_none()
    }
}
