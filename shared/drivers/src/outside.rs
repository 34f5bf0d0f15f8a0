//! The page as clients see it: our own requests, on new connections, again and again, with and without a path that
//! nobody knows.
//!
//! One answer proves little. Two processes that listen on one address share its connections; a rule may spare a path, a
//! method or any value of the bypass header. So the address is asked several times, and where everything is the page,
//! also in the ways that a broken rule would let through.

use std::hash::{BuildHasher, RandomState};

use rs_contract::{PageSwitch, Result, Secret};
use rs_model::member::{Page, PageSeen};

use crate::http::{Probe, probes};
use crate::settings::Settings;

/// New connections to one address: of two processes that share it, one stays unseen once in 128 times.
const TIMES: usize = 8;

/// A balancer's page, as told and as seen: what a client sees at each address where it answers.
pub fn page(
    driver: &dyn PageSwitch,
    settings: &Settings,
    balancer: &str,
    pool: &str,
) -> Result<Page> {
    let (active, saved) = driver.active(pool)?;
    let path = settings.or("LB_PROBE_PATH", "/")?;
    let bypass = settings.or("LB_BYPASS_HEADER", "X-Maintenance-Bypass")?;
    let content = driver.content(pool)?;
    let seen = probes(driver, settings, pool, &path)?;
    let seen = seen.iter().map(|probe| look(probe, content.as_deref(), &bypass)).collect();
    Ok(Page { balancer: balancer.to_owned(), pool: pool.to_owned(), active, saved, seen })
}

/// What clients see of the maintenance page at one address. No answer is an answer here.
///
/// `page`: what the page must look like, when that is known. `bypass`: the header whose right value passes the page.
pub fn look(probe: &Probe, page: Option<&[u8]>, bypass: &str) -> PageSeen {
    let first = once(probe, page);
    if first.status.is_none() {
        return first;
    }
    let mut others = Vec::new();
    for _ in 1..TIMES {
        others.push((once(probe, page), String::new()));
    }
    if first.is_page() && others.iter().all(|(seen, _)| seen.is_page()) {
        let nonce = format!("rs-{:016x}", RandomState::new().hash_one(0));
        let mut odd = Probe { path: format!("/{nonce}"), ..probe.clone() };
        odd.headers.push((bypass.to_owned(), Secret::new(nonce)));
        others.push((once(&odd, page), "a path that nobody knows, with a wrong bypass: ".into()));
        odd.headers.pop();
        odd.post = true;
        others.push((once(&odd, page), "POST: ".into()));
    }
    let Some((other, how)) = others.into_iter().find(|(seen, _)| unlike(seen, &first)) else {
        return first;
    };
    // of the two, the page is what is told: where it should be down it is still there for some
    let (shown, hidden) = if first.is_shown() { (first, other) } else { (other, first) };
    let why = match (&hidden.problem, hidden.status) {
        (Some(why), _) => why.clone(),
        (None, Some(status)) => format!("answers {status}"),
        (None, None) => "no answer".into(),
    };
    PageSeen { problem: Some(format!("not every request gets the same: {how}{why}")), ..shown }
}

fn unlike(one: &PageSeen, other: &PageSeen) -> bool {
    one.is_page() != other.is_page()
        || one.is_shown() != other.is_shown()
        || one.status.is_none() != other.status.is_none()
}

fn once(probe: &Probe, page: Option<&[u8]>) -> PageSeen {
    let mut seen = PageSeen {
        url: probe.url(),
        status: None,
        retry_after_seconds: None,
        no_store: false,
        problem: None,
    };
    match probe.send() {
        Ok(answer) => {
            seen.status = Some(answer.status);
            seen.retry_after_seconds =
                answer.header("retry-after").and_then(|text| text.trim().parse().ok());
            seen.no_store =
                answer.header("cache-control").is_some_and(|text| text.contains("no-store"));
            if answer.status == 503 && answer.body.is_empty() {
                seen.problem = Some("the page has no body".into());
            } else if seen.is_shown() && page.is_some_and(|page| page != answer.body) {
                seen.problem = Some("it shows another page than its file has".into());
            }
        }
        Err(e) => seen.problem = Some(e.to_string()),
    }
    seen
}
