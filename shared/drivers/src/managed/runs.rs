//! One run of one script on one server.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use rs_contract::{
    Channel, Command, Error, Holder, Kind, Lock, Output, Progress, Result, RunRequest, RunResult,
    Secret, Txn,
};
use rs_model::input::for_script;
use rs_model::possible::unfit;
use rs_model::{Inputs, Phase, Resolved, Script, Server, State, Template, Value};
use serde::{Deserialize, Serialize};

use super::objects::encode;
use super::script::{self, Kept, Mask, Start};
use super::{Managed, keys};
use crate::settings::Settings;

const FLOCK: &str = "/usr/bin/flock";

/// For what takes no time.
const SHORT: Duration = Duration::from_secs(60);

/// What of an environment is secret.
type Secrets = BTreeMap<String, Secret>;

/// A run as it is kept.
#[derive(Serialize, Deserialize)]
struct Row {
    deployment: String,
    server: String,
    instance: String,
    phase: Phase,
    /// RFC 3339 UTC.
    began_at: String,
    /// Absent while it runs, and when whoever ran it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<RunResult>,
}

/// What is to be run.
pub struct Job<'a> {
    /// Deployment.
    pub deployment: &'a str,
    /// Server with its current instance.
    pub server: &'a Server,
    /// The script.
    pub script: &'a Script,
    /// As part of what.
    pub phase: Phase,
    /// Values of this run only.
    pub inputs: &'a Inputs,
    /// Variables of ours.
    pub marks: &'a [(&'a str, String)],
    /// When it is ended.
    pub timeout: Duration,
    /// Whether each line of its output is told.
    pub follow: bool,
}

impl Managed {
    /// Scripts of one server run one at a time; whoever holds this may run one. Who must wait says at once for whom, and
    /// whoever was taken over meanwhile does not get it.
    pub(super) fn scripts_alone(
        &self,
        deployment: &str,
        server: &str,
        wait: Duration,
        say: Progress<'_>,
    ) -> Result<Box<dyn Lock>> {
        let holder = Holder {
            run: self.hand.run.clone().unwrap_or_default(),
            who: self.hand.who.clone(),
            pid: std::process::id(),
            since: jiff::Timestamp::now().to_string(),
            ..Holder::default()
        };
        let name = keys::scripts_lock(deployment, server);
        let begun = Instant::now();
        let (lock, other) = match self.state.lock(&name, &holder, Duration::ZERO) {
            Err(e) if e.kind() == Kind::Declined => {
                let other = self.state.holder(&name)?;
                if let Some(other) = &other {
                    say(&waits_for(server, other));
                }
                let left = wait.saturating_sub(begun.elapsed());
                (self.state.lock(&name, &holder, left), other)
            }
            got => (got, None),
        };
        let lock = lock.map_err(|e| {
            if e.kind() != Kind::Declined {
                return e;
            }
            let other = self.state.holder(&name).ok().flatten().or(other);
            let who = other.as_ref().map_or_else(|| "another process".to_owned(), called);
            Error::new(
                Kind::TimedOut,
                format!(
                    "{server:?} was busy with a script of {who} for {:.1} s",
                    wait.as_secs_f64()
                ),
            )
            .hint("scripts of one server run one at a time: wait for it, or end it there; or a longer --timeout")
        })?;
        self.still_ours(deployment)?;
        Ok(lock)
    }

    /// Declined when the run that drives us was taken over.
    fn still_ours(&self, deployment: &str) -> Result<()> {
        let state = self.run_locks.as_ref().unwrap_or(&self.state);
        self.hand.still(state.as_ref(), deployment).map(|_| ())
    }

    /// Runs a script that somebody asked for.
    pub(super) fn run_on_demand(
        &self,
        deployment: &str,
        name: &str,
        request: &RunRequest,
        line: Progress<'_>,
    ) -> Result<RunResult> {
        let begun = Instant::now();
        let server = self.find_server(deployment, name)?;
        let template = self.ready_for(&server)?;
        wanted(&template, request, &server)?;
        let lock = self.scripts_alone(deployment, name, request.timeout, line)?;
        // it may have been ended, or its inputs changed, while we waited
        let server = self.find_server(deployment, name)?;
        let template = self.ready_for(&server)?;
        let script = wanted(&template, request, &server)?;
        let marks = if request.stay { vec![("RS_STAY", "true".to_owned())] } else { Vec::new() };
        let result = self.run_script(
            &Job {
                deployment,
                server: &server,
                script,
                phase: Phase::Operational,
                inputs: &request.inputs,
                marks: &marks,
                timeout: request.timeout.saturating_sub(begun.elapsed()),
                follow: request.follow,
            },
            line,
        );
        drop(lock);
        result
    }

    /// The template of a server that runs scripts now.
    fn ready_for(&self, server: &Server) -> Result<Template> {
        let name = &server.name;
        let declined = |what: String, hint: &str| Err(Error::new(Kind::Declined, what).hint(hint));
        if server.foreign {
            return declined(
                format!("{name:?} was not launched by us: no script reaches it"),
                "run it there by hand",
            );
        }
        let Some(current) = server.current.as_ref().filter(|_| server.state.is_up()) else {
            return declined(
                format!("{name:?} is {}: it runs no scripts", server.state.word()),
                "rs-server launch it first",
            );
        };
        if server.state != State::Operational {
            return declined(
                format!("{name:?} is {}: it runs no scripts", server.state.word()),
                "rs-server launch finishes a boot; rs-server relaunch makes a stranded one anew",
            );
        }
        match &current.template {
            Some(template) => self.find_template(template),
            None => declined(format!("{name:?} has no template, hence no scripts"), "give it one"),
        }
    }

    /// Runs a script under the lock that the caller holds, and keeps what it said.
    pub(super) fn run_script(&self, job: &Job<'_>, line: Progress<'_>) -> Result<RunResult> {
        let Some(current) = &job.server.current else {
            return Err(Error::new(
                Kind::Declined,
                format!("{:?} has no machine", job.server.name),
            ));
        };
        let channel = self.reach(job.server)?;
        let begun = Instant::now();
        let values = for_script(job.script, &current.inputs, job.inputs);
        let (env, secrets, mask) = self.environment(job, &values)?;
        let id = format!("run-{}", self.state.next(keys::RUNS)?);
        let folder = format!("{}/tmp/{id}", channel.home());
        let run = |argv: &[&str], timeout| {
            let argv = argv.iter().map(|word| (*word).to_owned()).collect();
            channel.run(&Command { argv, timeout, ..Command::default() }, &|_| {})
        };
        // a machine that was ended in the meantime has no folder to clear
        let clear = || run(&["rm", "-rf", "--", &folder], SHORT);
        let ready = furnish(channel.as_ref(), &folder, job.script)
            .and_then(|()| earlier_ended(job, &earlier(&folder), &run, line))
            .and_then(|()| self.still_ours(job.deployment));
        if let Err(e) = ready {
            let _ = clear();
            return Err(e);
        }
        let mut row = Row {
            deployment: job.deployment.to_owned(),
            server: job.server.name.clone(),
            instance: current.id.clone(),
            phase: job.phase,
            began_at: jiff::Timestamp::now().to_string(),
            result: None,
        };
        self.state.commit(&Txn { put: vec![(keys::run(&id), encode(&row)?)], ..Txn::default() })?;
        let kept = Mutex::new(Kept::default());
        let each = |text: &str| {
            let text = mask.line(text);
            kept.lock().unwrap_or_else(PoisonError::into_inner).line(&text);
            if job.follow {
                line(&text);
            }
        };
        let timeout = job.timeout.saturating_sub(begun.elapsed());
        let begun = Instant::now();
        let ended = channel.run(&command(job, &folder, env, secrets, timeout), &each);
        let _ = clear();
        let kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        let result = RunResult {
            id: id.clone(),
            script: job.script.name.clone(),
            exit: ended.as_ref().map_or(124, |output| output.exit),
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            tail: kept.last(),
            values,
        };
        row.result = Some(result.clone());
        self.state.commit(&Txn {
            put: vec![(keys::run(&id), encode(&row)?), (keys::output(&id), kept.text().into())],
            ..Txn::default()
        })?;
        match ended {
            Ok(_) => Ok(result),
            Err(e) if e.kind() == Kind::TimedOut => Err(Error::new(
                Kind::TimedOut,
                format!(
                    "script {:?} on {:?} ({id}) did not end within {:.1} s, and was ended",
                    job.script.name,
                    job.server.name,
                    job.timeout.as_secs_f64()
                ),
            )
            .because(match result.tail.as_str() {
                "" => "it said nothing".to_owned(),
                tail => format!("it said last: {}", one_line(tail)),
            })
            .hint("a longer --timeout, or look at what it waits for")),
            Err(e) => Err(e),
        }
    }

    /// The environment of a script, what of it is secret, and that to be kept out of its output.
    fn environment(
        &self,
        job: &Job<'_>,
        values: &BTreeMap<String, Resolved>,
    ) -> Result<(BTreeMap<String, String>, Secrets, Mask)> {
        let mut server = job.server.clone();
        if let Some(current) = &mut server.current {
            current.inputs.clone_from(values);
        }
        // the others are only read when one of them is named
        let all = if others(values).next().is_some() {
            self.all_servers(job.deployment)?
        } else {
            vec![server.clone()]
        };
        let settings = Settings::among(self, job.deployment, &server, &all)?;
        let (env, secrets) = settings.environment()?;
        let mut mask = Mask::default();
        for (name, secret) in &secrets {
            match values.get(name).map(|resolved| &resolved.value) {
                Some(Value::Array(_)) => {
                    for part in secret.expose().split(',') {
                        mask.add(&Secret::new(part), &format!("part of {name}"));
                    }
                }
                value => mask.add(secret, &value.map_or_else(String::new, Value::to_string)),
            }
        }
        Ok((env, secrets, mask))
    }

    pub(super) fn find_output(&self, run: &str) -> Result<String> {
        if let Some(entry) = self.state.get(&keys::output(run))? {
            return Ok(entry.value.as_str().unwrap_or_default().to_owned());
        }
        let error = Error::new(Kind::NotFound, format!("there is no output of {run:?}"));
        Err(match self.state.get(&keys::run(run))? {
            Some(_) => error.hint("it is running, or whoever ran it was killed"),
            None => error.hint("rs-run and the records name runs, e.g. run-42"),
        })
    }
}

/// The script that is asked for, with all that it needs.
fn wanted<'a>(template: &'a Template, request: &RunRequest, server: &Server) -> Result<&'a Script> {
    let script = template.script(&request.script).ok_or_else(|| {
        let known: Vec<String> =
            template.scripts.iter().map(|script| format!("{:?}", script.name)).collect();
        Error::new(
            Kind::Usage,
            format!(
                "template {} of {:?} has no script {:?}",
                template.reference(),
                server.name,
                request.script
            ),
        )
        .hint(format!("its scripts: {}", known.join(", ")))
    })?;
    let none = BTreeMap::new();
    let current = server.current.as_ref().map_or(&none, |current| &current.inputs);
    let Some(why) = unfit(script, current, &request.inputs) else { return Ok(script) };
    Err(Error::new(Kind::Usage, format!("{:?} on {:?} {why}", script.name, server.name))
        .hint("give them with --set NAME=TYPE:VALUE, or set them on the server"))
}

/// The other servers whose metadata the values want.
pub fn others(values: &BTreeMap<String, Resolved>) -> impl Iterator<Item = (&str, &str)> {
    fn single(value: &Value) -> Vec<(&str, &str)> {
        match value {
            Value::Env { server: Some(server), var } => vec![(server, var)],
            Value::Array(items) => items.iter().flat_map(single).collect(),
            _ => Vec::new(),
        }
    }
    values.values().flat_map(|resolved| single(&resolved.value))
}

/// Puts the script and its attachments into the run's folder.
fn furnish(channel: &dyn Channel, folder: &str, script: &Script) -> Result<()> {
    channel.put(&format!("{folder}/script"), script.source.as_bytes(), 0o700)?;
    for (name, content) in &script.attachments {
        let content = base64::engine::general_purpose::STANDARD.decode(content).map_err(|e| {
            Error::new(
                Kind::Failed,
                format!("attachment {name:?} of {:?} cannot be unpacked", script.name),
            )
            .because(e)
        })?;
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(Error::new(
                Kind::Usage,
                format!("attachment {name:?} of {:?} has no usable name", script.name),
            ));
        }
        channel.put(&format!("{folder}/attachments/{name}"), &content, 0o700)?;
    }
    Ok(())
}

/// The lock on the server itself that a script holds for as long as it runs, whoever began it.
fn earlier(folder: &str) -> String {
    format!("{}/.scripts", folder.rsplit_once('/').map_or(folder, |(above, _)| above))
}

/// Waits for a script that outlived whoever began it, and says that it does.
fn earlier_ended(
    job: &Job<'_>,
    lock: &str,
    run: &dyn Fn(&[&str], Duration) -> Result<Output>,
    say: Progress<'_>,
) -> Result<()> {
    if run(&[FLOCK, "--close", "--nonblock", lock, "true"], SHORT)?.exit == 0 {
        return Ok(());
    }
    let (script, server) = (&job.script.name, &job.server.name);
    say(&format!(
        "{script:?} on {server:?} waits for an earlier script that still runs there, whose caller is gone; if it hangs, \
         end it there: this then goes on"
    ));
    match run(&[FLOCK, "--close", lock, "true"], job.timeout) {
        Err(e) if e.kind() == Kind::TimedOut => Err(Error::new(
            Kind::TimedOut,
            format!(
                "script {script:?} on {server:?} was not begun within {:.1} s: an earlier script still runs there, whose \
                 caller is gone",
                job.timeout.as_secs_f64()
            ),
        )
        .hint("wait for it with a longer --timeout, or end it on the server")),
        done => done.map(|_| ()),
    }
}

/// Whose script it is.
fn called(other: &Holder) -> String {
    let run = match other.run.as_str() {
        "" => String::new(),
        run => format!(" (run {run:?})"),
    };
    format!("process {} of {}{run}", other.pid, other.who)
}

fn waits_for(server: &str, other: &Holder) -> String {
    let host = other.who.rsplit_once('@').map_or("its host", |(_, host)| host);
    format!(
        "{server:?} is busy with a script of {} since {}: waits for it; if that process hangs or was taken over, end it \
         there (kill -KILL {} on {host}): this then goes on",
        called(other),
        other.since,
        other.pid
    )
}

/// The script as a command. It waits on the server itself for a script that outlived whoever began it: the lock is
/// held by a process that lives exactly as long as the script, and not by what the script leaves behind.
fn command(
    job: &Job<'_>,
    folder: &str,
    inputs: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret>,
    timeout: Duration,
) -> Command {
    let mut env = inputs;
    env.insert("RS_ATTACH_DIR".into(), format!("{folder}/attachments"));
    for (name, value) in job.marks {
        env.insert((*name).to_owned(), value.clone());
    }
    let mut argv: Vec<String> =
        [FLOCK, "--close", &earlier(folder), "/bin/sh", "-c"].map(str::to_owned).to_vec();
    match script::start(&job.script.source) {
        Start::By(by) => {
            argv.extend([script::START.into(), "sh".into(), folder.to_owned()]);
            argv.extend(by);
        }
        Start::Sudo(by) => {
            let mut keep: Vec<&str> =
                env.keys().chain(secrets.keys()).map(String::as_str).collect();
            keep.extend(["RS_MACHINE", "HOME"]);
            argv.extend([
                script::START_SUDO.into(),
                "sh".into(),
                folder.to_owned(),
                keep.join(","),
            ]);
            argv.extend(by);
        }
    }
    argv.push(format!("{folder}/script"));
    Command { argv, env, secrets, timeout, ..Command::default() }
}

/// For an error, which is one line.
pub fn one_line(tail: &str) -> String {
    let lines: Vec<&str> =
        tail.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
