//! One request as the log keeps it: `rs.request/1`.

use serde::{Deserialize, Serialize};

/// What a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// An answer of the site: status 2xx or 3xx.
    Ok,
    /// The maintenance page: 503 with Retry-After.
    Page,
    /// Anything else, no answer included.
    Error,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Counts from 1, in the order of the schedule.
    pub seq: u64,
    /// When it was sent, RFC 3339 UTC.
    pub sent: String,
    /// When it was due, microseconds after the probe began, monotonic.
    pub due_us: u64,
    /// When it was sent, likewise; never before it was due.
    pub sent_us: u64,
    /// When its answer was complete, or given up, likewise.
    pub answered_us: u64,
    /// Which balancer it was sent to.
    pub balancer: String,
    /// What came back.
    pub class: Class,
    /// HTTP status; absent when no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Who answered, as header `X-Member` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Which release answered, as header `X-Release` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The number that it wrote; absent for a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Why there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Sorts an answer into its class.
pub fn class(status: u16, retry_after: bool) -> Class {
    match status {
        200..=399 => Class::Ok,
        503 if retry_after => Class::Page,
        _ => Class::Error,
    }
}

/// The number of the write `seq`.
pub fn number(prefix: &str, seq: u64) -> String {
    format!("{prefix}{seq}")
}

/// The prefix that all numbers of a log share; absent when nothing was written.
pub fn prefix(log: &[Request]) -> Option<String> {
    let number = log.iter().find_map(|request| request.number.as_deref())?;
    number.rfind('-').map(|at| number[..=at].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_503_with_retry_after_is_the_page() {
        assert_eq!(class(200, false), Class::Ok);
        assert_eq!(class(302, true), Class::Ok);
        assert_eq!(class(503, true), Class::Page);
        for status in [503, 500, 404, 502, 100] {
            assert_eq!(class(status, false), Class::Error, "{status}");
        }
        assert_eq!(class(502, true), Class::Error);
    }
}
