//! Databases and their backups.

use std::time::{Duration, Instant};

use rs_contract::{Database, Error, Kind, Result};
use rs_drivers::settings::Settings;
use rs_model::check::enough;
use rs_model::migration::judge_room;
use rs_model::ready::{self, Wanted};
use rs_model::snapshot::{Schedule, Snapshot};
use rs_model::{Answer, Check, Server};

use super::{Preflight, Site, age};
use crate::gate;

/// How far a database's clock may be from ours, seconds.
const SKEW_SECONDS: f64 = 2.0;
/// Accounts that others use: where they may come from is not where we are.
const ELSEWHERE: [(&str, &str); 2] =
    [("replication account", "DBREPLICATION"), ("application account", "DBAPPLICATION")];

impl Site<'_> {
    fn open(&self, server: &Server, settings: &Settings) -> Result<Box<dyn Database>> {
        rs_drivers::database(server, settings, self.channel(server), None)
    }

    /// Everything that is asked of one database server.
    pub fn database(&self, server: &Server, preflight: &Preflight) -> Vec<Check> {
        let name = &server.name;
        let opened = self.settings(server).and_then(|settings| {
            let database = self.open(server, &settings)?;
            let version = database.identity()?.version;
            Ok((settings, database, version))
        });
        let (settings, database, version) = match opened {
            Ok(opened) => opened,
            Err(e) => return vec![gate::tried("database answers", name, Err(e))],
        };
        let mut checks = vec![gate::tried("database answers", name, Ok(version))];
        if settings.values.contains_key("DBMIGRATION_USER") {
            let found = self.log_in(server, &settings, "DBMIGRATION");
            checks.push(gate::tried("migration account", name, found));
        }
        for (asked, input) in ELSEWHERE {
            if !settings.values.contains_key(&format!("{input}_USER")) || !server.has_role("master")
            {
                continue;
            }
            let mut check = gate::tried(asked, name, self.log_in(server, &settings, input));
            if check.answer == Answer::No {
                // refused here may be welcome there
                check.answer = Answer::Unknown;
                check.hint = Some(format!(
                    "try {input}_USER from where it is used, then --accept '{asked}'"
                ));
            }
            checks.push(check);
        }
        if server.has_role("slave") {
            checks.push(gate::tried("slave replicates", name, replicates(database.as_ref())));
        }
        checks.push(gate::tried("clock", name, skew(database.as_ref())));
        checks.extend(self.survey(server, &settings, database.as_ref(), preflight));
        if let Ok(Some(schema)) = settings.get("DB_SCHEMA_NAME")
            && !schema.is_empty()
        {
            checks.push(self.room(server, &settings, database.as_ref(), &schema));
        }
        checks
    }

    /// Whether an account gets in; nothing is changed.
    fn log_in(&self, server: &Server, settings: &Settings, input: &str) -> Result<String> {
        let user = settings.need(&format!("{input}_USER"))?;
        let account = Some((user.clone(), settings.secret(&format!("{input}_PASSWORD"))?));
        rs_drivers::database(server, settings, self.channel(server), account)?
            .scalar("SELECT 1")?;
        Ok(format!("{user:?} can log in"))
    }

    fn survey(
        &self,
        server: &Server,
        settings: &Settings,
        db: &dyn Database,
        preflight: &Preflight,
    ) -> Vec<Check> {
        let name = &server.name;
        let asked = db.survey().and_then(|survey| Ok((survey, db.silence(&preflight.allow)?)));
        let (survey, silence) = match asked {
            Ok(asked) => asked,
            Err(e) => return vec![gate::tried("database tells of itself", name, Err(e))],
        };
        let migrator = settings.get("DBMIGRATION_USER").ok().flatten().filter(|u| !u.is_empty());
        let horizon = preflight.window.unwrap_or_default() + preflight.horizon;
        let data = settings.or("DB_DATA_DIR", "data").map(|folder| settings.path_of(&folder));
        let wanted = Wanted {
            master: server.has_role("master"),
            migrator: migrator.as_deref(),
            allowed: &preflight.allow,
            long_seconds: preflight.long.as_secs(),
            horizon_seconds: horizon.as_secs(),
            free_bytes: data.and_then(|folder| self.free(server, &folder)).ok(),
        };
        ready::judge_database(name, &survey, &silence, &wanted)
    }

    /// A change of a table may copy it: there must be room for the largest one and half of it again.
    fn room(&self, server: &Server, settings: &Settings, db: &dyn Database, schema: &str) -> Check {
        let free = settings
            .or("DB_DATA_DIR", "data")
            .and_then(|folder| self.free(server, &settings.path_of(&folder)));
        let largest = db.largest_table_bytes(schema);
        judge_room(
            &server.name,
            free.map_err(|e| e.to_string()),
            largest.map_err(|e| e.to_string()),
        )
    }

    /// The backups of a database server: young, proven, room for more, none in the window.
    pub fn backups(&self, server: &Server, preflight: &Preflight) -> Vec<Check> {
        let name = &server.name;
        let opened = self.settings(server).and_then(|settings| {
            let lineage = settings.need("DB_LINEAGE_NAME")?;
            let folder = settings.path_of(&settings.need("BACKUP_DIR")?);
            let all = rs_drivers::snapshots(&settings, self.channel(server))?.list(&lineage)?;
            Ok((all, folder))
        });
        let (all, folder) = match opened {
            Ok(opened) => opened,
            Err(e) => return vec![gate::tried("backup is young", name, Err(e))],
        };
        let newest = all.iter().rev().find(|one| one.perfect);
        let age = newest.and_then(|one| age(one.completed_at.as_deref()?));
        let most = seconds(preflight.backup_age);
        let young = match (newest, age) {
            (Some(one), Some(age)) if age < most => Ok(format!("{:?} is {age} s old", one.id)),
            (Some(one), age) => Err(Error::new(Kind::No, format!("{:?} is {age:?} s old", one.id))
                .hint("rs-snapshot take")),
            (None, _) => {
                Err(Error::new(Kind::No, "there is no complete backup").hint("rs-snapshot take"))
            }
        };
        let mut checks = vec![gate::tried("backup is young", name, young)];
        checks.push(gate::tried("backup is proven", name, proven(&all, preflight.proven_age)));
        let largest = all.iter().map(|one: &Snapshot| one.bytes).max().unwrap_or(0);
        checks.push(match self.free(server, &folder) {
            Ok(free) => enough("space for backups", name, free, largest.saturating_mul(2)),
            Err(e) => {
                Check { answer: Answer::Unknown, ..gate::tried("space for backups", name, Err(e)) }
            }
        });
        if let Some(window) = preflight.window {
            checks.push(gate::tried(
                "no backup in the window",
                name,
                self.clear(name, age, window),
            ));
        }
        checks
    }

    fn clear(&self, server: &str, age: Option<i64>, window: Duration) -> Result<String> {
        let entry = self.state().get(&format!("schedule/{}/{server}", self.deployment))?;
        match entry.and_then(|entry| serde_json::from_value::<Schedule>(entry.value).ok()) {
            Some(schedule) if schedule.enabled => {
                let every = i64::try_from(schedule.every_minutes).unwrap_or(0) * 60;
                let due = every - age.unwrap_or(every);
                if due > seconds(window) {
                    return Ok(format!("the next one is due in {due} s"));
                }
                Err(Error::new(Kind::No, format!("a backup is due in {} s", due.max(0)))
                    .hint("rs-snapshot schedule off --role db (step 15)"))
            }
            _ => Ok("no backup is taken by the clock".to_owned()),
        }
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Some backup was restored lately, and its database answered.
fn proven(all: &[Snapshot], most: Duration) -> Result<String> {
    let last = all.iter().filter_map(|one| Some((one, age(one.proven_at.as_deref()?)?)));
    match last.min_by_key(|(_, age)| *age) {
        Some((one, age)) if age < seconds(most) => {
            Ok(format!("{:?} was restored {age} s ago, and answered", one.id))
        }
        Some((one, age)) => {
            Err(Error::new(Kind::No, format!("{:?}, {age} s ago, was the last", one.id))
                .hint("rs-snapshot prove --role slave --first (step 1)"))
        }
        None => Err(Error::new(Kind::No, "no backup was ever restored")
            .hint("rs-snapshot prove --role slave --first (step 1)")),
    }
}

fn replicates(database: &dyn Database) -> Result<String> {
    let replica = database.replica()?;
    if let Some(untold) = replica.untold() {
        return Err(Error::new(Kind::No, untold)
            .hint("log-bin and log-slave-updates in its option file: it could be no master"));
    }
    if replica.is_held() {
        return Ok("held".into());
    }
    let [channel] = replica.channels.as_slice() else {
        return Err(Error::new(Kind::No, format!("{} channels", replica.channels.len()))
            .hint("rs-dbsync status shows it; rs-dbsync init makes it a slave"));
    };
    if channel.io_running == "Yes" && channel.sql_running == "Yes" && channel.last_error.is_empty()
    {
        return Ok(format!("from {}:{}", channel.source_host, channel.source_port));
    }
    Err(Error::new(
        Kind::No,
        format!("receiver {}, applier {}", channel.io_running, channel.sql_running),
    )
    .because(&channel.last_error)
    .hint("rs-dbsync status shows it"))
}

fn skew(database: &dyn Database) -> Result<String> {
    let begun = Instant::now();
    let text = database.scalar("SELECT UNIX_TIMESTAMP(NOW(6))")?;
    let here = jiff::Timestamp::now().as_duration().as_secs_f64();
    let there: f64 = text
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new(Kind::Failed, "the database did not say what time it is"))?;
    let (apart, took) = (here - there, begun.elapsed().as_secs_f64());
    if apart.abs() <= SKEW_SECONDS + took {
        return Ok(format!("{apart:.3} s apart"));
    }
    Err(Error::new(Kind::No, format!("its clock is {apart:.1} s behind ours"))
        .hint("set the clocks right: reports and deadlines depend on them"))
}
