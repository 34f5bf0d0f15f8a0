//! What a log of requests says, and what the database says to it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::log::{Class, Request};

/// At most so many examples are named; all of them are counted.
const EXAMPLES: usize = 20;

/// Requests by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classes {
    /// Answers of the site.
    pub ok: u64,
    /// Maintenance pages.
    pub page: u64,
    /// Everything else.
    pub error: u64,
}

/// From the first page to the last one, as clients saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// When the first request was sent that got the page, RFC 3339 UTC.
    pub first: String,
    /// Milliseconds from then until the last page had come.
    pub ms: f64,
    /// Answers of the site within it: the page was not everywhere, or not all the time.
    pub ok_within: u64,
}

/// What one balancer did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Balancer {
    /// Its name or address.
    pub balancer: String,
    /// Requests by class.
    pub classes: Classes,
    /// The window on it; absent when it showed no page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// Milliseconds from when a request was due until its answer was complete, for answers of the site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// Ninety-nine in a hundred.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// Writes, as clients were told and as the database has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Writes {
    /// Sent.
    pub sent: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// In the database; absent: it was not read, and nothing is known of losses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_database: Option<u64>,
    /// How many were acknowledged and are not in the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Some of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_numbers: Vec<String>,
    /// How many are in the database although nobody was told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<u64>,
    /// Some of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold_numbers: Vec<String>,
}

/// The summary: `rs.summary/1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// When the first request was sent, RFC 3339 UTC.
    pub from: String,
    /// Milliseconds until the last answer.
    pub ms: f64,
    /// Requests.
    pub requests: u64,
    /// By class.
    pub classes: Classes,
    /// The window on all balancers: from the first page anywhere to the last one anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// By balancer.
    pub balancers: Vec<Balancer>,
    /// How long answers of the site took.
    pub latency_ms: Latency,
    /// Answers of the site by release.
    pub releases: BTreeMap<String, u64>,
    /// Errors by what they were: status or reason.
    pub errors: BTreeMap<String, u64>,
    /// The most that a request was sent after it was due: what our own schedule was late, milliseconds.
    pub late_ms: f64,
    /// Writes.
    pub writes: Writes,
}

impl Summary {
    /// What is wrong, as sentences; nothing: nothing is.
    pub fn faults(&self, most_errors: Option<u64>) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(lost @ 1..) = self.writes.lost {
            faults.push(format!("{lost} acknowledged writes are not in the database"));
        }
        if let Some(untold @ 1..) = self.writes.untold {
            faults.push(format!("{untold} writes are in the database that nobody was told of"));
        }
        if most_errors.is_some_and(|most| self.classes.error > most) {
            faults.push(format!("{} requests got neither answer nor page", self.classes.error));
        }
        faults
    }
}

/// Sums a log up. `rows` are the numbers with our prefix that the database has; absent: it was not read.
pub fn summarise(log: &[Request], rows: Option<&[String]>) -> Summary {
    let mut ordered: Vec<&Request> = log.iter().collect();
    ordered.sort_by_key(|request| (request.sent_us, request.seq));
    let mut by_balancer: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    let (mut releases, mut errors) = (BTreeMap::new(), BTreeMap::new());
    let mut took = Vec::new();
    for request in &ordered {
        by_balancer.entry(&request.balancer).or_default().push(request);
        match request.class {
            Class::Ok => {
                took.push(request.answered_us.saturating_sub(request.due_us));
                if let Some(release) = &request.release {
                    *releases.entry(release.clone()).or_insert(0) += 1;
                }
            }
            Class::Page => {}
            Class::Error => {
                let what = match (&request.error, request.status) {
                    (Some(error), _) => error.clone(),
                    (None, Some(status)) => format!("status {status}"),
                    (None, None) => "no answer".to_owned(),
                };
                *errors.entry(what).or_insert(0) += 1;
            }
        }
    }
    let began = ordered.iter().map(|request| request.sent_us).min().unwrap_or(0);
    let ended = ordered.iter().map(|request| request.answered_us).max().unwrap_or(0);
    let late = ordered.iter().map(|r| r.sent_us.saturating_sub(r.due_us)).max().unwrap_or(0);
    Summary {
        from: ordered.first().map(|request| request.sent.clone()).unwrap_or_default(),
        ms: ms(ended.saturating_sub(began)),
        requests: ordered.len() as u64,
        classes: classes(&ordered),
        window: window(&ordered),
        balancers: by_balancer
            .iter()
            .map(|(name, own)| Balancer {
                balancer: (*name).to_owned(),
                classes: classes(own),
                window: window(own),
            })
            .collect(),
        latency_ms: latency(&mut took),
        releases,
        errors,
        late_ms: ms(late),
        writes: writes(&ordered, rows),
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a day fit a double exactly")]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn classes(log: &[&Request]) -> Classes {
    let count = |class| log.iter().filter(|request| request.class == class).count() as u64;
    Classes { ok: count(Class::Ok), page: count(Class::Page), error: count(Class::Error) }
}

/// `log` is in the order of sending.
fn window(log: &[&Request]) -> Option<Window> {
    let pages = || log.iter().filter(|request| request.class == Class::Page);
    let first = pages().next()?;
    let last = pages().map(|request| request.answered_us).max()?;
    let within = |r: &&&Request| r.sent_us > first.sent_us && r.answered_us < last;
    Some(Window {
        first: first.sent.clone(),
        ms: ms(last.saturating_sub(first.sent_us)),
        ok_within: log.iter().filter(|r| r.class == Class::Ok).filter(within).count() as u64,
    })
}

fn latency(took: &mut [u64]) -> Latency {
    took.sort_unstable();
    // nearest rank: the smallest value that so many percent do not exceed
    let at = |percent: usize| {
        let rank = (took.len() * percent).div_ceil(100).max(1);
        took.get(rank - 1).copied().map_or(0.0, ms)
    };
    Latency { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
}

fn writes(log: &[&Request], rows: Option<&[String]>) -> Writes {
    let numbered = log.iter().filter_map(|r| r.number.as_deref().map(|number| (number, r.class)));
    let (mut sent, mut told) = (0, BTreeSet::new());
    for (number, class) in numbered {
        sent += 1;
        if class == Class::Ok {
            told.insert(number);
        }
    }
    let mut found = Writes { sent, acknowledged: told.len() as u64, ..Writes::default() };
    let Some(rows) = rows else { return found };
    let there: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    let lost: Vec<&str> = told.difference(&there).copied().collect();
    let untold: Vec<&str> = there.difference(&told).copied().collect();
    let some = |all: &[&str]| all.iter().take(EXAMPLES).map(|n| (*n).to_owned()).collect();
    found.in_database = Some(there.len() as u64);
    found.lost = Some(lost.len() as u64);
    found.lost_numbers = some(&lost);
    found.untold = Some(untold.len() as u64);
    found.untold_numbers = some(&untold);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(seq: u64, balancer: &str, class: Class, number: Option<&str>) -> Request {
        Request {
            seq,
            sent: format!("t{seq}"),
            due_us: seq * 10_000,
            sent_us: seq * 10_000 + 500,
            answered_us: seq * 10_000 + 2_500,
            balancer: balancer.into(),
            class,
            status: None,
            member: None,
            release: Some(if seq < 5 { "1.0" } else { "2.0" }.into()),
            number: number.map(str::to_owned),
            error: None,
        }
    }

    fn log() -> Vec<Request> {
        vec![
            request(1, "a", Class::Ok, Some("p-1")),
            request(2, "b", Class::Ok, None),
            request(3, "a", Class::Page, Some("p-3")),
            request(4, "b", Class::Page, None),
            request(5, "b", Class::Page, None),
            request(6, "b", Class::Ok, Some("p-6")),
            request(7, "a", Class::Page, None),
            request(8, "a", Class::Error, Some("p-8")),
            request(9, "a", Class::Ok, Some("p-9")),
        ]
    }

    #[test]
    fn the_window_is_from_the_first_page_to_the_last_on_each_balancer_and_in_all() {
        let mut log = log();
        log.reverse(); // the order of answers is not the order of sending
        let summary = summarise(&log, None);
        let all = summary.window.unwrap();
        assert_eq!((all.first.as_str(), all.ms, all.ok_within), ("t3", 42.0, 1));
        let b = summary.balancers[1].window.clone().unwrap();
        assert_eq!((b.first.as_str(), b.ms, b.ok_within), ("t4", 12.0, 0));
        assert_eq!(summary.classes, Classes { ok: 4, page: 4, error: 1 });
        assert_eq!(summary.latency_ms.p50, 2.5);
        assert_eq!(summary.late_ms, 0.5);
        assert_eq!(summary.releases["1.0"], 2);
        assert!(summarise(&log[..1], None).window.is_none());
    }

    #[test]
    fn an_acknowledged_write_that_is_gone_and_one_that_nobody_was_told_of_are_named() {
        let rows = |numbers: &[&str]| numbers.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let good = summarise(&log(), Some(&rows(&["p-1", "p-6", "p-9"])));
        assert!(good.faults(Some(1)).is_empty(), "{:?}", good.faults(Some(1)));
        assert_eq!((good.writes.sent, good.writes.acknowledged), (5, 3));
        assert_eq!(good.faults(Some(0)).len(), 1);
        let bad = summarise(&log(), Some(&rows(&["p-1", "p-9", "p-8"])));
        assert_eq!(bad.writes.lost_numbers, ["p-6"]);
        assert_eq!(bad.writes.untold_numbers, ["p-8"]);
        assert_eq!(bad.faults(None).len(), 2);
        // what was not read is not zero
        let unread = summarise(&log(), None);
        assert_eq!((unread.writes.lost, unread.writes.in_database), (None, None));
    }
}
