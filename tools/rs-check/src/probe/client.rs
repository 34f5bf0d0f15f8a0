//! The clients: requests at a fixed rate, whatever the answers do.
//!
//! Open loop: a request is sent when it is due, also while others wait for their answers; whoever is slow takes up a
//! thread, and the next request gets another one. Nothing is tried again: a redirect is an answer, and a connection
//! that breaks is an error.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::blocking::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::log::{Class, Request, class, number};

/// More threads than this do not wait for answers at once; a request that finds none free is an error.
const MOST_WAITING: usize = 1024;
/// More of a body is not read.
const BODY: u64 = 1 << 20;

/// One balancer.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name, or its address.
    pub name: String,
    /// `http://ADDRESS:PORT`.
    pub url: String,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to; in turn.
    pub targets: Vec<Target>,
    /// `Host`; absent: the address.
    pub host: Option<String>,
    /// Requests per second in all.
    pub rate: f64,
    /// Every so many-th request of each balancer writes; 0: none.
    pub write_every: u64,
    /// Path that is read.
    pub read_path: String,
    /// Path that is written to.
    pub write_path: String,
    /// Field of the written object that takes the number.
    pub number_field: String,
    /// What all numbers begin with.
    pub prefix: String,
    /// A request is given up after this.
    pub timeout: Duration,
}

struct Job {
    seq: u64,
    due: Duration,
}

/// Sends requests until `ended` says so, and hands each to `heard` when its answer is there.
pub fn run(plan: &Plan, ended: &dyn Fn() -> bool, heard: impl Fn(Request) + Sync) -> Result<()> {
    let mut clients = Vec::new();
    for _ in &plan.targets {
        clients.push(client(plan)?);
    }
    let (send, receive) = channel::<Job>();
    let receive = Arc::new(Mutex::new(receive));
    let idle = AtomicUsize::new(0);
    let began = Instant::now();
    let outcome = |job: Job| {
        let at = usize::try_from((job.seq - 1) % plan.targets.len() as u64).unwrap_or(0);
        heard(one(plan, &plan.targets[at], &clients[at], &job, began));
    };
    std::thread::scope(|scope| {
        let mut threads = 0;
        let mut seq = 0_u64;
        while !ended() {
            let due = Duration::from_secs_f64(to_float(seq) / plan.rate);
            if !sleep_until(began + due, ended) {
                break;
            }
            seq += 1;
            // an idle thread that is promised to a job is no longer idle
            let free = idle
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1))
                .is_ok();
            if !free && threads < MOST_WAITING {
                threads += 1;
                let (receive, idle, outcome) = (receive.clone(), &idle, &outcome);
                scope.spawn(move || work(&receive, idle, outcome));
            }
            if !free && threads >= MOST_WAITING {
                heard(refused(plan, seq, due, began));
                continue;
            }
            if send.send(Job { seq, due }).is_err() {
                break;
            }
        }
        drop(send);
    });
    Ok(())
}

fn work(receive: &Mutex<Receiver<Job>>, idle: &AtomicUsize, outcome: &impl Fn(Job)) {
    loop {
        let job = match receive.lock() {
            Ok(receive) => receive.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        outcome(job);
        idle.fetch_add(1, Ordering::SeqCst);
    }
}

/// False when it was told to end meanwhile.
fn sleep_until(due: Instant, ended: &dyn Fn() -> bool) -> bool {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        if ended() {
            return false;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a probe never sends 2^53 requests")]
fn to_float(seq: u64) -> f64 {
    seq as f64
}

fn client(plan: &Plan) -> Result<Client> {
    let mut headers = HeaderMap::new();
    if let Some(host) = &plan.host {
        headers.insert(
            HeaderName::from_static("host"),
            HeaderValue::from_str(host).context("--host is no host name")?,
        );
    }
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(plan.timeout)
        // shorter than a server keeps a connection, so that none is used that is about to be closed
        .pool_idle_timeout(Duration::from_secs(1))
        .pool_max_idle_per_host(MOST_WAITING)
        .default_headers(headers)
        .user_agent(concat!("rs-check/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("the HTTP client cannot be made")
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn blank(plan: &Plan, target: &Target, seq: u64, due: Duration, began: Instant) -> Request {
    let round = (seq - 1) / plan.targets.len() as u64;
    let writes = plan.write_every > 0 && round % plan.write_every == plan.write_every - 1;
    Request {
        seq,
        sent: rs_cli::now(),
        due_us: u64::try_from(due.as_micros()).unwrap_or(u64::MAX),
        sent_us: micros(began),
        answered_us: 0,
        balancer: target.name.clone(),
        class: Class::Error,
        status: None,
        member: None,
        release: None,
        number: writes.then(|| number(&plan.prefix, seq)),
        error: None,
    }
}

fn refused(plan: &Plan, seq: u64, due: Duration, began: Instant) -> Request {
    let at = usize::try_from((seq - 1) % plan.targets.len() as u64).unwrap_or(0);
    let mut request = blank(plan, &plan.targets[at], seq, due, began);
    request.answered_us = request.sent_us;
    // it was never sent, so nothing was written
    request.number = None;
    request.error = Some(format!("not sent: {MOST_WAITING} requests wait for their answers"));
    request
}

fn one(plan: &Plan, target: &Target, client: &Client, job: &Job, began: Instant) -> Request {
    let mut request = blank(plan, target, job.seq, job.due, began);
    let built = match &request.number {
        Some(number) => client
            .post(format!("{}{}", target.url, plan.write_path))
            .header("content-type", "application/json")
            .body(json!({ plan.number_field.as_str(): number }).to_string()),
        None => client.get(format!("{}{}", target.url, plan.read_path)),
    };
    let answer = built.send().map(|mut answer| {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        // the answer counts when all of it is there; what is longer than a page should be is left unread
        let mut body = std::io::Read::take(&mut answer, BODY);
        let copied = std::io::copy(&mut body, &mut std::io::sink());
        (status, headers, copied)
    });
    request.answered_us = micros(began);
    match answer {
        Ok((status, headers, copied)) => {
            let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
            request.status = Some(status);
            request.member = text("x-member");
            request.release = text("x-release");
            request.class = class(status, headers.contains_key("retry-after"));
            if let Err(e) = copied {
                request.class = Class::Error;
                request.error = Some(format!("the answer broke off: {e}"));
            }
        }
        Err(e) => request.error = Some(reason(&e)),
    }
    request
}

/// The innermost cause, without addresses and ports of ours, so that alike errors count together.
fn reason(e: &reqwest::Error) -> String {
    if e.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = e;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
