//! `migrate`: once, under a token beside the data, with the pair proven first.

use std::time::Duration;

use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Select, Step, shell_words as words};
use rs_contract::{Error, Kind, MigrationEvent, Result, RunRequest, RunResult, Work};
use rs_model::borrowed::borrows;
use rs_model::migration::{Migration, ROOM, Stage};
use rs_model::{Due, sql};
use serde_json::json;

use crate::sets::{Open, Site, lowered_key, refuse};
use crate::writes::of;
use crate::{attempt, command, proof, watch};

/// What to run.
#[derive(clap::Args)]
pub struct Migrate {
    #[command(flatten)]
    select: Select,
    /// SQL files, in order; the subjects are masters
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "script", required_unless_present = "script")]
    sql: Vec<std::path::PathBuf>,
    /// Script of the subject's template, e.g. on one new application server
    #[arg(long, value_name = "NAME")]
    script: Option<String>,
    /// What makes it happen once [default: the run's name]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Schema that is changed [default: the input DB_SCHEMA_NAME]
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// Database set of --script, when there are several
    #[arg(long, value_name = "SET")]
    set: Option<String>,
    /// End the statement that runs, and give up, after this
    #[arg(long, value_name = "TIME", value_parser = rs_cli::duration, default_value = "6h")]
    time_limit: Duration,
    /// Go without a way back but a backup: held slaves are not asked whether they are a pair with the master. For a
    /// migration that mends forward, after users were let in, and for a set that has no held slave
    #[arg(long)]
    no_rollback_copy: bool,
    /// Go on although this is not so, or not known; of the master's position only after an earlier attempt, for what was
    /// put right by hand
    #[arg(long = "override", value_name = "CONDITION", value_parser = [ROOM, proof::UNMOVED])]
    overrides: Vec<String>,
    /// Run a script again that was begun and did not end well
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    changing: Changing,
}

/// Proves, then migrates.
pub fn run(migrate: &Migrate, cx: &Context) -> anyhow::Result<Exit> {
    let token = match (&migrate.token, &cx.common.upgrade) {
        (Some(token), _) | (None, Some(token)) => token.clone(),
        (None, None) => {
            return Err(Error::new(Kind::Usage, "the migration has no token")
                .hint("--token NAME, or --upgrade: it is what makes it happen once")
                .into());
        }
    };
    let statements = read(&migrate.sql)?;
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) =
        cx.subjects(world.cloud.as_ref(), &migrate.select, &migrate.changing)?;
    let site = Site::new(&world, &deployment)?;
    if let Some(script) = &migrate.script {
        return by_script(migrate, cx, &site, &token, script, &mut subjects);
    }
    let opened = site.open_all(&subjects)?;
    let (mut steps, mut watched) = (Vec::new(), Vec::new());
    for (at, open) in &opened {
        if !open.is_master {
            return Err(Error::new(
                Kind::Usage,
                format!("{:?} is not the master of {:?}", open.server.name, open.set),
            )
            .hint("--role master names the masters; replication brings it to the slaves")
            .into());
        }
        seen(&statements, &schema(migrate, open)?)?;
        let state = open.db.migration_state(&token)?;
        let done = state == Some((statements.len(), statements.len()));
        let slaves = watch::slaves(&site, open)?;
        if !done {
            prove(migrate, &site, &open.set, &token, state.is_some())?;
            if !migrate.overrides(ROOM) {
                watch::room(&site, open, &slaves, &schema(migrate, open)?, Some(&statements))?;
            }
        }
        steps.push(step(&site, open, (*at, &token), done, state)?);
        watched.push((*at, slaves));
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let open = of(&opened, step)?;
        let schema = schema(migrate, open)?;
        let account = (
            open.settings.need("DBMIGRATION_USER")?,
            open.settings.secret("DBMIGRATION_PASSWORD")?,
        );
        let db = site.database(&open.server, &open.settings, Some(account))?;
        let before = open.db.schema_fingerprint(&schema)?;
        let say = |event: &MigrationEvent| {
            let left = event.left_ms.map(|ms| format!(", about {} s left", ms.div_ceil(1000)));
            let percent = event.percent.map(|p| format!(", {p:.0} %{}", left.unwrap_or_default()));
            let percent = percent.unwrap_or_default();
            cx.say(&format!(
                "{}: statement {} of {}, {} s{percent}: {}",
                open.server.name,
                event.statement,
                event.of,
                event.ms / 1000,
                event.text
            ));
        };
        let work = Work { timeout: migrate.time_limit };
        let none = Vec::new();
        let slaves = watched.iter().find(|(at, _)| *at == step.at).map_or(&none, |(_, all)| all);
        attempt::noted(&site, open, &token, || {
            watch::beside(cx, open, slaves, || {
                open.db.lowered(
                    &[],
                    &mut || db.migrate(&token, &schema, &statements, work, &say),
                    &|line| cx.say(line),
                )
            })
        })?;
        let after = open.db.schema_fingerprint(&schema)?;
        Ok(Done::now(json!({
            "token": token, "done": statements.len(), "of": statements.len(), "set": open.set,
            "schema": schema, "schema_before": before, "schema_after": after,
            "position": open.db.position()?, "canaries": open.db.canaries()?,
            "slaves": watch::at_end(cx, slaves, &open.db.position()?),
        })))
    })?;
    cx.pass_on(&subjects, exit)
}

fn by_script(
    migrate: &Migrate,
    cx: &Context,
    site: &Site<'_>,
    token: &str,
    script: &str,
    subjects: &mut rs_cli::Subjects,
) -> anyhow::Result<Exit> {
    if subjects.servers().count() != 1 {
        return Err(Error::new(
            Kind::Usage,
            format!("a migration runs on one server, {} were named", subjects.servers().count()),
        )
        .hint("--first, or one name")
        .into());
    }
    let mut sets: Vec<&str> =
        site.servers.iter().filter_map(|s| s.database_set().map(|(set, _)| set)).collect();
    sets.sort_unstable();
    sets.dedup();
    let set = match (&migrate.set, sets.as_slice()) {
        (Some(set), _) => set.clone(),
        (None, [set]) => (*set).to_owned(),
        (None, _) => {
            return Err(Error::new(
                Kind::Usage,
                format!("the deployment has the database sets {}", sets.join(", ")),
            )
            .hint("say which one the script changes: --set")
            .into());
        }
    };
    let master = site.open(site.master(&set)?)?;
    let schema = schema(migrate, &master)?;
    let known = master.db.migrations()?.into_iter().find(|one| one.token == token);
    let stage = known.as_ref().map_or(Stage::NotBegun, Migration::stage);
    let done = stage == Stage::Done;
    let refused = match stage {
        Stage::Running => Some(("is running", "wait for it; the same command then finds it done")),
        Stage::Failed if !migrate.again => Some((
            "was begun and has failed or was cut off",
            "look at what it left; --again runs it again, rs-dbsync promote goes back",
        )),
        _ => None,
    };
    if let Some((how, hint)) = refused {
        return Err(Error::new(
            Kind::Declined,
            format!("the script {script:?} {how} under {token:?}"),
        )
        .hint(hint)
        .untouched()
        .into());
    }
    let state = known.map(|known| (known.done, known.statements));
    let slaves = watch::slaves(site, &master)?;
    if !done {
        prove(migrate, site, &set, token, state.is_some())?;
        if !migrate.overrides(ROOM) {
            watch::room(site, &master, &slaves, &schema, None)?;
        }
    }
    let at = subjects.items.iter().position(|item| item.as_server().is_some()).unwrap_or_default();
    let server = subjects.items[at].name().to_owned();
    let steps = [step(site, &master, (at, token), done, state)?];
    let exit = cx.each(site.state(), &site.deployment, subjects, &steps, |_| {
        let before = master.db.schema_fingerprint(&schema)?;
        let request = RunRequest {
            script: script.to_owned(),
            timeout: migrate.time_limit,
            follow: true,
            ..RunRequest::default()
        };
        let mut result = RunResult::default();
        let mut work = || {
            if done {
                return Ok(());
            }
            master.db.script(token, &schema, &mut || {
                result =
                    site.cloud().run(&site.deployment, &server, &request, &|line| cx.say(line))?;
                Ok(result.exit == 0)
            })
        };
        // the script's sessions bear no mark of ours: they are told by the account that may migrate
        let allowed: Vec<String> = master
            .settings
            .get("DBMIGRATION_USER")?
            .into_iter()
            .filter(|user| !user.is_empty())
            .collect();
        attempt::noted(site, &master, token, || {
            watch::beside(cx, &master, &slaves, || {
                master.db.lowered(&allowed, &mut work, &|line| cx.say(line))
            })
        })?;
        if result.exit != 0 {
            return Err(Error::new(
                Kind::Failed,
                format!("{script:?} on {server:?} ended with {} (run {})", result.exit, result.id),
            )
            .because(result.tail.lines().last().unwrap_or("it said nothing"))
            .hint(
                "look at what it left; migrate --again runs it again, rs-dbsync promote goes back",
            ));
        }
        let after = master.db.schema_fingerprint(&schema)?;
        Ok(Done::now(json!({
            "token": token, "done": 1, "of": 1, "set": set, "schema": schema,
            "schema_before": before, "schema_after": after, "position": master.db.position()?,
            "canaries": master.db.canaries()?,
            "slaves": watch::at_end(cx, &slaves, &master.db.position()?),
        }))
        .nest("run", &result))
    })?;
    cx.pass_on(subjects, exit)
}

/// Where the engine's lock stops the migration too, it is lowered for the run: owed until it is raised.
fn step(
    site: &Site<'_>,
    open: &Open,
    (at, token): (usize, &str),
    done: bool,
    state: Option<(usize, usize)>,
) -> Result<Step> {
    let key = lowered_key(&open.set);
    let lowers = open.db.lowers()?;
    let inverse = command(&site.deployment, &["writes", "off"], &open.server.name);
    let debt = DebtSpec {
        key: key.clone(),
        reason: format!("a migration writes to {:?} while others may not", open.server.name),
        inverse,
        due: Due::Window,
        deadline: None,
        before: json!(null),
    };
    let owed = site.debt(&key)?.is_some();
    // done, and killed before it was raised again
    let left = owed && open.db.writes()?.lowered;
    let needed = !done || left;
    Ok(Step {
        at,
        needed,
        before: json!({ "set": open.set, "token": token, "done": state.map(|(done, _)| done) }),
        expect: json!({ "token": token }),
        undo: Some(words(&["scripts/rollback.sh".to_owned()])),
        opens: if lowers && needed { vec![debt] } else { Vec::new() },
        settles: if lowers || owed { vec![key] } else { Vec::new() },
        ..Step::default()
    })
}

fn schema(migrate: &Migrate, open: &Open) -> Result<String> {
    match &migrate.schema {
        Some(schema) => Ok(schema.clone()),
        None => open.settings.need("DB_SCHEMA_NAME"),
    }
}

impl Migrate {
    fn overrides(&self, condition: &str) -> bool {
        self.overrides.iter().any(|one| one == condition)
    }
}

fn prove(migrate: &Migrate, site: &Site<'_>, set: &str, token: &str, begun: bool) -> Result<()> {
    let mut checks = if migrate.no_rollback_copy {
        proof::silence(site, &site.open(site.master(set)?)?)?.1
    } else {
        proof::pair(site, set, token, begun)?
    };
    // of a first attempt there is nothing to put right: that the master has more is --no-rollback-copy
    checks
        .retain(|check| !(begun && check.name == proof::UNMOVED && migrate.overrides(&check.name)));
    refuse(Kind::Declined, "the migration may not begin", &checks)
}

/// Whether a definition was done is seen in the schema of the migration only.
fn seen(statements: &[String], schema: &str) -> Result<()> {
    let other = statements.iter().enumerate().find_map(|(at, statement)| {
        sql::elsewhere(statement, schema).map(|other| (at + 1, other, statement))
    });
    let Some((at, other, statement)) = other else { return Ok(()) };
    Err(Error::new(
        Kind::Usage,
        format!(
            "statement {at} of {} changes the schema {other:?}, not {schema:?}: nobody would see whether it was done: {}",
            statements.len(),
            statement.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect::<String>()
        ),
    )
    .hint("a migration of its own with --schema and another --token, or --script")
    .untouched())
}

fn read(files: &[std::path::PathBuf]) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|e| {
            let kind = match e.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Usage,
            };
            Error::new(kind, format!("{} cannot be read", file.display())).because(e)
        })?;
        let found = sql::split(&text).map_err(|bad| {
            Error::new(Kind::Usage, format!("{}: {}", file.display(), bad.what)).hint(bad.hint)
        })?;
        if found.is_empty() {
            return Err(Error::new(Kind::Usage, format!("{} holds no statement", file.display())));
        }
        let before = statements.len();
        statements.extend(found);
        if let Some((at, what)) = borrows(&statements) {
            let statement = statements.get(at).map_or("", String::as_str);
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "{}: statement {} takes {what} from an earlier one, which a start after a kill skips: {}",
                    file.display(),
                    at + 1 - before,
                    statement.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect::<String>()
                ),
            )
            .hint("write the value in, or SET it to what stands there; or run it by --script")
            .untouched());
        }
    }
    Ok(statements)
}
