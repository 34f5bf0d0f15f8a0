use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use clap::Parser;
use rs_contract::{Cloud, Error, Kind, Mode, Place, Result, Work};
use rs_model::act::Act;
use rs_records::Record;

use crate::exit::EXIT_CODES;
use crate::limit::{self, Limit};
use crate::select::{self, What};
use crate::{Changing, Common, Exit, Owing, Select, Subjects, report, table, usage};

/// What a tool knows of its call.
pub struct Context {
    /// e.g. `rs-lbctl`.
    pub tool: &'static str,
    /// e.g. `connect`, or `writes off`; `run` for `rs-run`, which has no verbs.
    pub verb: String,
    /// Flags that every tool has.
    pub common: Common,
    /// Whether the verb was called with `--dry-run`.
    dry: bool,
    /// Deadline of the debts that the verb opens.
    pub(crate) owing: Owing,
    /// Whether the verb knows `--dry-run`.
    changes: bool,
    /// Whether the verb knows `--allow-none`.
    takes_none: bool,
    /// What of its subjects it is about, where that is one thing of several.
    pub(crate) about: OnceLock<String>,
    /// Acts begun and not ended: named when a signal comes.
    open: Arc<Mutex<Vec<Act>>>,
    /// Called by a clock: goes on during a run, which switches it off where it would harm.
    clockwork: AtomicBool,
    /// What a tool that ends by itself looks at.
    ending: Arc<Ending>,
    /// What `--timeout` counts.
    pub(crate) limit: Arc<Limit>,
}

/// What to try where a control plane holds nothing: it may be a typing error in its name.
const NOTHING_THERE: &str =
    "look at RS_CLOUD and --cloud: nothing is there; rs-server apply FILE makes a deployment";

/// How signals reach a tool that ends by itself.
#[derive(Default)]
struct Ending {
    /// The tool asked for it.
    itself: AtomicBool,
    /// A signal came.
    asked: AtomicBool,
}

/// The whole of a tool's main: parses, runs, prints errors, returns the exit code.
///
/// `common` finds the flags that every tool has; `run` is the tool.
pub fn main<A: Parser>(
    tool: &'static str,
    common: fn(&A) -> &Common,
    run: fn(A, &Context) -> anyhow::Result<Exit>,
) -> ExitCode {
    let command = dress(A::command()).mut_args(unset_where_empty);
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    if let Some(what) = generate(&command) {
        return what;
    }
    let (asked, known) = (asked_verb(&command), command.clone());
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(e) if !e.use_stderr() => {
            return write(e.render().to_string().as_bytes()).into();
        }
        Err(e) => {
            let error = usage::error(&known, &asked, &e);
            return report::error(tool, &asked, wants_json, &error.into()).into();
        }
    };
    let mut verb = String::new();
    let mut level = &matches;
    while let Some((name, below)) = level.subcommand() {
        if !verb.is_empty() {
            verb.push(' ');
        }
        verb.push_str(name);
        level = below;
    }
    if verb.is_empty() {
        // a tool without verbs: its own name says what it does
        verb.push_str(tool.strip_prefix("rs-").unwrap_or(tool));
    }
    let dry = level.try_get_one::<bool>("dry_run").ok().flatten().copied().unwrap_or(false)
        || matches.try_get_one::<bool>("dry_run").ok().flatten().copied().unwrap_or(false);
    // flags that only some verbs have: what is not defined there is not given
    let owing = Owing {
        deadline: level.try_get_one("deadline").ok().flatten().copied(),
        undo_on_deadline: level
            .try_get_one("undo_on_deadline")
            .ok()
            .flatten()
            .copied()
            .unwrap_or_default(),
    };
    let args = match A::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(e) => return report::error(tool, &verb, wants_json, &anyhow::anyhow!("{e}")).into(),
    };
    let mut cx = Context::new(tool, &verb, common(&args).clone(), dry);
    cx.owing = owing;
    let has = |flag: &str| level.try_get_one::<bool>(flag).is_ok_and(|found| found.is_some());
    (cx.changes, cx.takes_none) = (has("dry_run"), has("allow_none"));
    cx.watch_signals();
    cx.watch_time();
    match run(args, &cx) {
        Ok(exit) => exit.into(),
        Err(e) if e.downcast_ref::<ReaderGone>().is_some() => Exit::ReaderGone.into(),
        Err(e) => report::error(tool, &cx.verb, cx.common.json, &e).into(),
    }
}

/// The verb that was meant, also where the rest of the call is wrong: for the error.
fn asked_verb(command: &clap::Command) -> String {
    let (mut level, mut words) = (command, Vec::new());
    for arg in std::env::args().skip(1) {
        match level.get_subcommands().find(|below| below.get_name() == arg) {
            Some(below) => {
                level = below;
                words.push(arg);
            }
            None if arg.starts_with('-') => {}
            None => break,
        }
    }
    words.join(" ")
}

/// A variable that is empty counts as one that is not set.
fn unset_where_empty(arg: clap::Arg) -> clap::Arg {
    let empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    if arg.get_env().is_some_and(empty) { arg.env(clap::builder::Resettable::Reset) } else { arg }
}

/// Help in our order on every level: what it does, examples, usage, flags, exit codes last.
fn dress(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let mut command = command
        .help_template(
            "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}",
        )
        .after_help(EXIT_CODES)
        .after_long_help(EXIT_CODES)
        .infer_subcommands(false);
    for name in names {
        command = command.mut_subcommand(name, dress);
    }
    command
}

/// `--generate man|bash|zsh|fish`, alone: man pages and completions from the same source as the help. `man` is followed by
/// the words of a verb for the page of that verb; `verbs` names them all, a line each.
fn generate(command: &clap::Command) -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some("--generate") {
        return None;
    }
    let name = command.get_name().to_owned();
    let mut command = command.clone();
    let mut text = Vec::new();
    let shell = match args.next().as_deref() {
        Some("verbs") => return Some(write(verbs(&command, "").as_bytes()).into()),
        Some("man") => {
            command = helpless(command);
            command.build();
            for word in args {
                command = match command.find_subcommand(&word) {
                    Some(verb) => verb.clone(),
                    None => {
                        let error = Error::new(Kind::Usage, format!("{name} has no verb {word:?}"))
                            .hint(format!("{name} --generate verbs"));
                        return Some(report::error("rs", "", false, &error.into()).into());
                    }
                };
            }
            let done = clap_mangen::Man::new(command).render(&mut text);
            return Some(if done.is_ok() { write(&text) } else { Exit::Failed }.into());
        }
        Some("bash") => clap_complete::Shell::Bash,
        Some("zsh") => clap_complete::Shell::Zsh,
        Some("fish") => clap_complete::Shell::Fish,
        _ => {
            let error = Error::new(Kind::Usage, "--generate wants man, verbs, bash, zsh or fish")
                .hint(format!("{name} --generate man"));
            return Some(report::error("rs", "", false, &error.into()).into());
        }
    };
    clap_complete::generate(shell, &mut command, name.clone(), &mut text);
    // for bash it names a verb's case after the tool with its `-` replaced otherwise than where it looks for that case
    let text = String::from_utf8_lossy(&text)
        .replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
    Some(write(text.as_bytes()).into())
}

/// Without the verb `help` on any level: it has no page.
fn helpless(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true).mut_subcommands(helpless)
}

/// The verbs below a command, a line each, e.g. `writes off`; one that has verbs of its own stands before them.
fn verbs(command: &clap::Command, before: &str) -> String {
    command
        .get_subcommands()
        .map(|verb| {
            let words = format!("{before}{}", verb.get_name());
            format!("{words}\n{}", verbs(verb, &format!("{words} ")))
        })
        .collect()
}

/// Writes what is no record to stdout, all of it: a write error must not get lost in a buffer.
fn write(text: &[u8]) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Exit::ReaderGone,
        Err(_) => Exit::Failed,
    }
}

/// The reader of our records went away: they are lost, which is no success.
#[derive(Debug)]
struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader went away")
    }
}

impl std::error::Error for ReaderGone {}

impl Context {
    /// The call of a verb.
    pub fn new(tool: &'static str, verb: &str, common: Common, dry: bool) -> Context {
        Context {
            tool,
            verb: verb.to_owned(),
            common,
            dry,
            owing: Owing::default(),
            changes: true,
            takes_none: true,
            about: OnceLock::new(),
            open: Arc::default(),
            clockwork: AtomicBool::new(false),
            ending: Arc::default(),
            limit: Arc::default(),
        }
    }

    /// Whether this is a dry run.
    pub fn dry(&self) -> bool {
        self.dry
    }

    /// Whether the verb is one that changes something.
    pub(crate) fn changes(&self) -> bool {
        self.changes
    }

    /// Whether `--allow-none` may be given.
    pub(crate) fn takes_allow_none(&self) -> bool {
        self.takes_none
    }

    /// Says what of its subjects the verb is about: the script, the pool, the label, the inputs. The same verb about
    /// another one is no repetition of it.
    pub fn about(&self, what: &str) {
        let _ = self.about.set(what.to_owned());
    }

    /// Says that a clock calls this verb (backups that are due, the minimum of arrays): it goes on while a run holds
    /// the deployment. A run switches such work off by name where it would harm (steps 15 and 27).
    pub fn by_the_clock(&self) {
        self.clockwork.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_clockwork(&self) -> bool {
        self.clockwork.load(Ordering::Relaxed)
    }

    /// Where the world is.
    pub fn place(&self) -> Result<Place> {
        let cloud = self.common.cloud.clone().filter(|url| !url.is_empty()).ok_or_else(|| {
            Error::new(Kind::Usage, "no control plane is named")
                .hint("set RS_CLOUD or --cloud, e.g. sqlite:/var/lib/rs/site.db")
        })?;
        let mode = if self.dry { Mode::DryRun } else { Mode::Real };
        let state = self.common.store.clone().filter(|url| !url.is_empty());
        Ok(Place { cloud, state, mode, timeout: Some(self.common.timeout), hand: self.hand() })
    }

    /// The deployments that are meant: the one that is named, or all. Not found where there is none.
    pub fn deployments(&self, cloud: &dyn Cloud) -> Result<Vec<String>> {
        let all: Vec<String> = cloud.deployments()?.into_iter().map(|d| d.name).collect();
        match &self.common.deployment {
            Some(name) if all.contains(name) => Ok(vec![name.clone()]),
            Some(name) => Err(Error::new(
                Kind::NotFound,
                format!("no deployment is called {name:?} in {}", cloud.place()),
            )
            .hint(if all.is_empty() {
                NOTHING_THERE.into()
            } else {
                let near = rs_model::name::did_you_mean(name, all.iter().map(String::as_str));
                near.unwrap_or_else(|| format!("there are {}", quoted(&all)))
            })),
            None if all.is_empty() => Err(Error::new(
                Kind::NotFound,
                format!("there is no deployment in {}", cloud.place()),
            )
            .hint(NOTHING_THERE)),
            None => Ok(all),
        }
    }

    /// The deployment: the one that is named, or the only one there is.
    pub fn deployment(&self, cloud: &dyn Cloud) -> Result<String> {
        let meant = self.deployments(cloud)?;
        match meant.as_slice() {
            [one] => Ok(one.clone()),
            several => Err(Error::new(Kind::Usage, "there are several deployments")
                .hint(format!("set RS_DEPLOYMENT or --deployment to one of {}", quoted(several)))),
        }
    }

    /// The run; needed by what speaks of old and new.
    pub fn run_name(&self) -> Result<&str> {
        self.common.upgrade.as_deref().ok_or_else(|| {
            Error::new(Kind::Usage, "no run is named")
                .hint("set RS_UPGRADE or --upgrade, e.g. u-42")
        })
    }

    /// The time limit as the drivers take it.
    pub fn work(&self) -> Work {
        Work { timeout: self.common.timeout }
    }

    /// The subjects: what the selectors name, else the records on stdin.
    pub fn subjects(
        &self,
        cloud: &dyn Cloud,
        select: &Select,
        changing: &Changing,
    ) -> Result<(String, Subjects)> {
        if !select.part.is_empty() || !select.not_part.is_empty() {
            self.run_name()?;
        }
        if select.given() {
            let deployment = self.deployment(cloud)?;
            return match select::find(cloud, &deployment, self.common.upgrade.as_deref(), select) {
                Err(e)
                    if e.kind() == Kind::NotFound
                        && changing.allow_none
                        && select.names.is_empty() =>
                {
                    Ok((deployment, Subjects::default()))
                }
                found => Ok((deployment, found?)),
            };
        }
        let subjects = select::from_stdin(
            self,
            cloud,
            self.common.deployment.as_deref(),
            changing.allow_none,
        )?;
        let mut names: Vec<&str> = subjects
            .items
            .iter()
            .filter(|item| item.what != What::Other)
            .filter_map(|item| item.record.body.get("deployment").and_then(|d| d.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > 1 {
            return Err(Error::new(
                Kind::Usage,
                format!("the records are of several deployments: {}", names.join(", ")),
            )
            .hint("one deployment in a call"));
        }
        let deployment = match names.first() {
            Some(name) => (*name).to_owned(),
            None => self.deployment(cloud)?,
        };
        Ok((deployment, subjects))
    }

    /// Brings the records up to what the world is now; what a dry run planned stays as planned.
    pub fn refresh(
        &self,
        cloud: &dyn Cloud,
        deployment: &str,
        subjects: &mut Subjects,
    ) -> Result<()> {
        if self.dry {
            return Ok(());
        }
        let servers = cloud.servers(deployment)?;
        let arrays = cloud.arrays(deployment)?;
        for item in &mut subjects.items {
            match &mut item.what {
                What::Server(server) => {
                    if let Some(now) = servers.iter().find(|s| s.name == server.name) {
                        item.record.refresh(now);
                        **server = now.clone();
                    }
                }
                What::Array(array) => {
                    if let Some(now) = arrays.iter().find(|a| a.name == array.name) {
                        item.record.refresh(now);
                        **array = now.clone();
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends a changing verb: subjects out, in order, once.
    pub fn pass_on(&self, subjects: &Subjects, exit: Exit) -> anyhow::Result<Exit> {
        self.emit(&subjects.items.iter().map(|item| item.record.clone()).collect::<Vec<_>>())?;
        Ok(exit)
    }

    /// Writes records: lines, or a table when a person looks and did not ask for `--json`.
    pub fn emit(&self, records: &[Record]) -> anyhow::Result<()> {
        self.limit.over();
        let mut out = std::io::stdout().lock();
        let text = if self.common.json || !out.is_terminal() {
            records.iter().map(|record| record.line() + "\n").collect::<String>()
        } else {
            table::render(records)
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(anyhow::Error::new(ReaderGone))
            }
            Err(e) => Err(Error::new(Kind::Failed, "the records cannot be written to stdout")
                .because(e)
                .into()),
        }
    }

    /// Writes text that is no record (a site file, a report).
    pub fn print(&self, text: &str) -> anyhow::Result<()> {
        self.limit.over();
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(anyhow::Error::new(ReaderGone))
            }
            Err(e) => Err(Error::new(Kind::Failed, "the text cannot be written to stdout")
                .because(e)
                .into()),
        }
    }

    /// Tells a person what is going on; `--quiet` silences it.
    pub fn say(&self, text: &str) {
        if !self.common.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{}: {text}", self.tool);
        }
    }

    /// Tells a person what must not be missed.
    pub fn warn(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}: {text}", self.tool);
    }

    /// From here on the first SIGINT or SIGTERM does not end this process: it asks it to end, and the tool looks at
    /// [`Context::asked_to_end`]. A second one ends it as usual. For what measures and must tell what it saw.
    pub fn ends_itself(&self) {
        self.limit.over();
        self.ending.itself.store(true, Ordering::SeqCst);
    }

    /// Says that this verb has a limit of its own (a wait for a lock, a watch): `--timeout` no longer ends it.
    pub fn takes_its_time(&self) {
        self.limit.over();
    }

    /// Does something with each item, at most `--jobs` at once; the results in the items' order.
    pub fn side_by_side<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        limit::side_by_side(self.common.jobs, items, work)
    }

    /// Whether a signal asked to end.
    pub fn asked_to_end(&self) -> bool {
        self.ending.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn under_way(&self, acts: &[Act]) {
        if let Ok(mut open) = self.open.lock() {
            open.extend_from_slice(acts);
        }
    }

    pub(crate) fn no_longer(&self, seq: u64) {
        if let Ok(mut open) = self.open.lock() {
            open.retain(|act| act.seq != seq);
        }
    }

    /// Ends a call that reaches `--timeout` before its first act.
    fn watch_time(&self) {
        let (limit, tool, verb, json) =
            (self.limit.clone(), self.tool, self.verb.clone(), self.common.json);
        let timeout = self.common.timeout;
        std::thread::spawn(move || {
            limit.watch(timeout, || {
                let error = Error::new(
                    Kind::TimedOut,
                    format!(
                        "gave up after {timeout:?} (--timeout): an answer was waited for in vain"
                    ),
                )
                .hint("no change was begun; look who does not answer, or give a longer --timeout");
                let exit = report::error(tool, &verb, json, &error.into());
                std::process::exit(i32::from(exit.code()));
            });
        });
    }

    /// A signal ends the tool at once (crash-only: the intents are on disk); the message says what state is left.
    fn watch_signals(&self) {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        // a hang-up that was ignored when we were started stays ignored, as nohup(1) wants it: the window survives
        // the loss of the terminal
        let wanted = [SIGINT, SIGTERM, SIGHUP]
            .into_iter()
            .filter(|signal| *signal != SIGHUP || !ignored(*signal));
        let Ok(mut signals) = signal_hook::iterator::Signals::new(wanted) else { return };
        let (open, tool, verb, json) =
            (self.open.clone(), self.tool, self.verb.clone(), self.common.json);
        let ending = self.ending.clone();
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if ending.itself.load(Ordering::SeqCst)
                    && !ending.asked.swap(true, Ordering::SeqCst)
                {
                    continue;
                }
                let open = open.lock().map(|open| open.clone()).unwrap_or_default();
                let what = if open.is_empty() {
                    "interrupted; no change was under way".to_owned()
                } else {
                    let list: Vec<String> = open
                        .iter()
                        .map(|act| {
                            format!("{} on {} (act {}, open)", act.verb, act.subject, act.seq)
                        })
                        .collect();
                    format!("interrupted in the middle of {}", list.join(", "))
                };
                let undo = open.iter().find_map(|act| act.undo.clone());
                let hint = match (open.is_empty(), undo) {
                    (true, _) => "run it again".to_owned(),
                    (false, Some(undo)) => {
                        format!("the same command again to go on, or to go back: {undo}")
                    }
                    (false, None) => {
                        "the same command again to go on; rs-cleanup audit says what is really so"
                            .to_owned()
                    }
                };
                let error = Error::new(Kind::Interrupted, what).hint(hint);
                let exit = report::error(tool, &verb, json, &error.into());
                std::process::exit(i32::from(exit.code()));
            }
        });
    }
}

/// Names for a hint.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// Whether a signal was ignored when this process was started (`SigIgn` in /proc/self/status).
fn ignored(signal: i32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
