//! What of each step can be struck.

/// What a step talks to.
#[derive(Clone, Copy, Debug)]
pub enum Partner {
    /// A service of a server.
    Service(&'static str, &'static str),
    /// Only the state store.
    Store,
}

/// What can be struck in a step.
#[derive(Debug)]
pub struct Row {
    /// Its number.
    pub step: &'static str,
    /// Calls, as they begin.
    pub calls: &'static [&'static str],
    /// Scripts that it runs on servers. Without one the call itself fails.
    pub scripts: &'static [&'static str],
    /// Whom it talks to, beginning with one of its calls.
    pub partner: (&'static str, Partner),
}

const fn row(
    step: &'static str,
    calls: &'static [&'static str],
    scripts: &'static [&'static str],
    partner: (&'static str, Partner),
) -> Row {
    Row { step, calls, scripts, partner }
}

use Partner::{Service, Store};

/// All 38, in the guide's order.
pub const ROWS: [Row; 38] = [
    row("01", &["rs-snapshot prove"], &[], ("rs-snapshot prove", Service("Slave DB", "database"))),
    row("02", &["rs-journal verify"], &[], ("rs-journal verify", Store)),
    row("03", &["rs-journal report"], &[], ("rs-journal report", Store)),
    row("04", &["rs-server mark"], &[], ("rs-dbsync status", Service("Slave DB", "database"))),
    row("05", &["rs-clone server"], &[], ("rs-clone server", Store)),
    row(
        "06",
        &["rs-server launch", "rs-dbsync init", "rs-snapshot schedule off"],
        &["database install", "database start"],
        ("rs-dbsync init", Service("Master DB", "database")),
    ),
    row("07", &["rs-clone server"], &[], ("rs-clone server", Store)),
    row("08", &["rs-lbctl point"], &[], ("rs-lbctl point", Service("DNS Server", "dns"))),
    row(
        "09",
        &["rs-server launch"],
        &["balancer configure", "balancer start"],
        ("rs-server launch", Service("Load Balancer-3", "haproxy")),
    ),
    row("10", &["rs-clone server"], &[], ("rs-clone server", Store)),
    row(
        "11",
        &["rs-server launch", "rs-lbctl connect"],
        &["code update", "app boot"],
        ("rs-server launch", Service("Repository", "svnserve")),
    ),
    row(
        "12",
        &["rs-run app stop", "rs-inputs set", "rs-run code update"],
        &["app stop", "code update"],
        ("rs-run code update", Service("Repository", "svnserve")),
    ),
    row(
        "13",
        &["rs-clone server", "rs-server launch", "rs-server lock"],
        &["code update", "app boot"],
        ("rs-server launch", Service("Repository", "svnserve")),
    ),
    row(
        "14",
        &["rs-clone array", "rs-server launch"],
        &["code update", "app boot"],
        ("rs-server launch", Service("Repository", "svnserve")),
    ),
    row(
        "15",
        &["rs-snapshot schedule off"],
        &[],
        ("rs-snapshot schedule off", Service("Master DB", "database")),
    ),
    row(
        "16",
        &["rs-lbctl connect"],
        &[],
        ("rs-lbctl connect", Service("Load Balancer-1", "haproxy")),
    ),
    row(
        "17",
        &["rs-check preflight"],
        &[],
        ("rs-check preflight", Service("Slave DB", "database")),
    ),
    row(
        "18",
        &["rs-maintenance start"],
        &[],
        ("rs-maintenance start", Service("Load Balancer-2", "haproxy")),
    ),
    row(
        "19",
        &["rs-dbsync writes off", "rs-run app stop"],
        &["app stop"],
        ("rs-dbsync writes off", Service("Master DB", "database")),
    ),
    row("20", &["rs-snapshot take"], &[], ("rs-snapshot take", Service("Slave2 DB", "database"))),
    row("21", &["rs-dbsync status"], &[], ("rs-dbsync status", Service("Slave2 DB", "database"))),
    row(
        "22",
        &["rs-dbsync hold", "rs-server lock"],
        &[],
        ("rs-dbsync hold", Service("Slave2 DB", "database")),
    ),
    row(
        "23",
        &["rs-dbsync migrate"],
        &["migrate"],
        ("rs-dbsync migrate", Service("Master DB", "database")),
    ),
    row(
        "24",
        &["rs-lbctl disconnect"],
        &[],
        ("rs-lbctl disconnect", Service("Load Balancer-1", "haproxy")),
    ),
    row(
        "25",
        &["rs-lbctl connect", "rs-inputs unset", "rs-inputs copy"],
        &[],
        ("rs-lbctl connect", Service("Load Balancer-2", "haproxy")),
    ),
    row(
        "26",
        &["rs-run app restart"],
        &["app restart"],
        ("rs-run app restart", Service("App Server-3", "app")),
    ),
    row("27", &["rs-server disable", "rs-server quench"], &[], ("rs-server disable", Store)),
    row("28", &["rs-server enable"], &[], ("rs-server enable", Store)),
    row(
        "29",
        &["rs-run app start", "rs-dbsync writes on", "rs-run worker start"],
        &["app start", "worker start"],
        ("rs-dbsync writes on", Service("Master DB", "database")),
    ),
    row("30", &["rs-check site"], &[], ("rs-check site", Service("Load Balancer-2", "haproxy"))),
    row(
        "31",
        &["rs-maintenance stop"],
        &[],
        ("rs-maintenance stop", Service("Load Balancer-1", "haproxy")),
    ),
    row("32", &["rs-snapshot take"], &[], ("rs-snapshot take", Service("Master DB", "database"))),
    row(
        "33",
        &["rs-cleanup audit"],
        &[],
        ("rs-cleanup audit", Service("Load Balancer-1", "haproxy")),
    ),
    row(
        "34",
        &["rs-snapshot schedule on"],
        &[],
        ("rs-snapshot schedule on", Service("Master DB", "database")),
    ),
    row("35", &["rs-server unquench"], &[], ("rs-check alerts", Service("App Server-3", "app"))),
    row("36", &["rs-inputs promote"], &[], ("rs-inputs promote", Store)),
    row(
        "37",
        &["rs-lbctl point", "rs-cleanup retire"],
        &["shut down", "app stop"],
        ("rs-lbctl point", Service("DNS Server", "dns")),
    ),
    row("38", &["rs-cleanup retire"], &[], ("rs-cleanup retire", Store)),
];

/// Of steps that upgrade.sh runs in several parts the part that one upgrade with all of them is struck in.
pub const PARTLY: [Row; 3] = [
    row(
        "19",
        &["rs-dbsync writes off"],
        &[],
        ("rs-dbsync writes off", Service("Master DB", "database")),
    ),
    row(
        "25",
        &["rs-lbctl connect"],
        &[],
        ("rs-lbctl connect", Service("Load Balancer-2", "haproxy")),
    ),
    row(
        "29",
        &["rs-run worker start"],
        &["worker start"],
        ("rs-dbsync writes on", Service("Master DB", "database")),
    ),
];

/// Whether a call only asks: it has no act in the journal.
pub fn asks(call: &str) -> bool {
    ["rs-check", "rs-journal", "rs-cleanup audit", "rs-dbsync status"]
        .iter()
        .any(|asking| call.starts_with(asking))
}

/// The kinds of faults, as `ONLY=STEP/KIND` names them.
pub const KINDS: [(&str, &str); 5] = [
    ("a", "the step's tool killed with -9"),
    ("b", "its script fails"),
    ("c", "whom it talks to goes away or freezes; the next start is when it is there again"),
    ("d", "the operator's run dies, another goes on"),
    ("rollback", "the run dies, and rollback begins"),
];

/// Parts of the upgrade: cells go on to the end of their part. Its last step, the last label that upgrade.sh runs, and
/// the release that is declared to answer then.
pub const PARTS: [Part; 5] = [
    Part { last: "06", until: "06", release: "1.0" },
    Part { last: "11", until: "11", release: "1.0" },
    Part { last: "16", until: "16", release: "1.0" },
    Part { last: "33", until: "25i", release: "2.0" },
    Part { last: "38", until: "38", release: "2.0" },
];

/// One part.
#[derive(Debug)]
pub struct Part {
    /// Its last step.
    pub last: &'static str,
    /// Its last label.
    pub until: &'static str,
    /// The release that answers at its end.
    pub release: &'static str,
}

/// The part of a step.
pub fn part_of(step: &str) -> &'static Part {
    PARTS.iter().find(|part| step <= part.last).unwrap_or(&PARTS[PARTS.len() - 1])
}

/// Where cells begin: sites that are saved, each by running on from the one before.
pub const SAVED: [Saved; 12] = [
    Saved { until: "", steps: "01 02 03 04", dark: false },
    Saved { until: "04", steps: "05 06", dark: false },
    Saved { until: "06", steps: "07 08 09", dark: false },
    Saved { until: "08", steps: "10 11", dark: false },
    Saved { until: "11", steps: "12 13 14", dark: false },
    Saved { until: "14", steps: "15 16", dark: false },
    Saved { until: "16", steps: "17 18 19 21 22 27", dark: false },
    Saved { until: "22", steps: "20 23 24 25 29", dark: true },
    Saved { until: "23", steps: "26 28 30", dark: true },
    Saved { until: "30", steps: "31 32 33", dark: true },
    Saved { until: "25i", steps: "34 35 36", dark: false },
    Saved { until: "36", steps: "37 38", dark: false },
];

/// A site that is saved.
#[derive(Debug)]
pub struct Saved {
    /// The label up to which upgrade.sh ran.
    pub until: &'static str,
    /// The steps whose cells begin here.
    pub steps: &'static str,
    /// Whether users see the page.
    pub dark: bool,
}

/// Where the cells of a step begin.
pub fn saved_for(step: &str) -> usize {
    let found = SAVED.iter().position(|saved| saved.steps.split(' ').any(|one| one == step));
    found.unwrap_or_else(|| panic!("no cell of step {step} begins anywhere"))
}

/// A number that depends on the seed and on what it is for, and on nothing else.
pub fn dice(seed: u64, what: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in what.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 32)
}
