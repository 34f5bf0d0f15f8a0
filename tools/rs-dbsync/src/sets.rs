//! Database sets: a master and its slaves, found by tags, asked themselves.

use std::time::Duration;

use rs_cli::{Journal, Subjects};
use rs_contract::{Cloud, Database, Error, Kind, Result, Secret, SourceSpec, State, World};
use rs_drivers::settings::Settings;
use rs_model::act::{Act, Debt, Outcome};
use rs_model::replica::HeldAt;
use rs_model::takeover::promotion_begun;
use rs_model::{Answer, Check, Server};
use rs_records::Record;
use serde_json::json;

/// The deployment as its databases see it.
pub struct Site<'a> {
    /// Control plane and state.
    pub world: &'a World,
    /// Deployment.
    pub deployment: String,
    /// Every server of it.
    pub servers: Vec<Server>,
    /// An ordinary answer of a database may take so long; absent: as long as is usual.
    pub answer: Option<Duration>,
}

/// A database server that is open.
pub struct Open {
    /// It.
    pub server: Server,
    /// Its set.
    pub set: String,
    /// Whether its tags call it the master.
    pub is_master: bool,
    /// Its inputs.
    pub settings: Settings,
    /// The database.
    pub db: Box<dyn Database>,
}

impl<'a> Site<'a> {
    /// Reads the servers.
    pub fn new(world: &'a World, deployment: &str) -> Result<Site<'a>> {
        let servers = world.cloud.servers(deployment)?;
        Ok(Site { world, deployment: deployment.to_owned(), servers, answer: None })
    }

    /// The control plane.
    pub fn cloud(&self) -> &dyn Cloud {
        self.world.cloud.as_ref()
    }

    /// The state store.
    pub fn state(&self) -> &dyn State {
        self.world.state.as_ref()
    }

    /// Opens the database of a server, which must belong to a set.
    pub fn open(&self, server: &Server) -> Result<Open> {
        let (set, is_master) = server.in_set()?;
        let settings = Settings::among(self.cloud(), &self.deployment, server, &self.servers)?;
        let db = self.database(server, &settings, None)?;
        Ok(Open { server: server.clone(), set: set.to_owned(), is_master, settings, db })
    }

    /// The database of a server as another account.
    pub fn database(
        &self,
        server: &Server,
        settings: &Settings,
        account: Option<(String, Secret)>,
    ) -> Result<Box<dyn Database>> {
        let channel = if server.foreign { None } else { Some(self.cloud().channel(server)?) };
        let mut database = rs_drivers::database(server, settings, channel, account)?;
        if let Some(answer) = self.answer {
            database.answer_within(answer);
        }
        Ok(database)
    }

    /// Every server of the set that its tags call a master.
    pub fn masters(&self, set: &str) -> Vec<&Server> {
        self.servers.iter().filter(|s| s.database_set() == Some((set, true))).collect()
    }

    /// The set's one master.
    pub fn master(&self, set: &str) -> Result<&Server> {
        match self.masters(set).as_slice() {
            [master] => Ok(master),
            [] => Err(Error::new(Kind::Declined, format!("one master: the set {set:?} has none"))
                .hint(format!("one server needs the tag database:master_active={set}"))
                .untouched()),
            several => {
                let names: Vec<String> = several.iter().map(|s| format!("{:?}", s.name)).collect();
                Err(Error::new(
                    Kind::Declined,
                    format!("one master: the set {set:?} has several: {}", names.join(", ")),
                )
                .hint(format!("take the tag database:master_active={set} from all but one"))
                .untouched())
            }
        }
    }

    /// How a slave reaches its master.
    pub fn source(&self, slave: &Open) -> Result<SourceSpec> {
        let master = self.master(&slave.set)?;
        let of = Settings::among(self.cloud(), &self.deployment, master, &self.servers)?;
        Ok(SourceSpec {
            host: of.address()?.to_string(),
            port: of.port("DB_PORT", 3306)?,
            user: slave.settings.need("DBREPLICATION_USER")?,
            password: slave.settings.secret("DBREPLICATION_PASSWORD")?,
        })
    }

    /// An open debt.
    pub fn debt(&self, key: &str) -> Result<Option<Debt>> {
        Journal::new(self.state()).debt(&self.deployment, key)
    }

    /// What is recorded of a held slave.
    pub fn held(&self, slave: &str) -> Result<Option<HeldAt>> {
        let Some(debt) = self.debt(&held_key(slave))? else { return Ok(None) };
        serde_json::from_value(debt.before).map(Some).map_err(|e| {
            Error::new(Kind::Failed, format!("the debt {:?} cannot be read", debt.key)).because(e)
        })
    }

    /// What is recorded of a server that is a way back: a held slave, or the master that the newest promotion of its
    /// set fenced.
    pub fn kept(&self, open: &Open) -> Result<Option<HeldAt>> {
        if let Some(held) = self.held(&open.server.name)? {
            return Ok(Some(held));
        }
        let acts = Journal::new(self.state()).acts()?;
        let newest = acts.iter().rev().find(|act| self.is_promotion(act, &open.set));
        let Some(act) = newest.filter(|act| act.after["old_master"] == json!(open.server.name))
        else {
            return Ok(None);
        };
        // a master that could not be asked when it was fenced is none: nobody knows what it had then
        let Ok(mut held) = serde_json::from_value::<HeldAt>(act.after["fenced"].clone()) else {
            return Ok(None);
        };
        held.fenced_by = act.subject.strip_prefix("server ").map(str::to_owned);
        // its own promotion takes the tag away before it comes to its end, and has to be gone on with
        let by = held.fenced_by.as_deref();
        let kept = by.is_some()
            && (open.server.tags.contains(&fenced_tag(&open.set))
                || promotion_begun(&acts, &self.deployment, &open.server.name, by));
        Ok(kept.then_some(held))
    }

    /// Whether an act of the journal is a promotion in the set that came to its end.
    pub fn is_promotion(&self, act: &Act, set: &str) -> bool {
        act.tool == "rs-dbsync"
            && act.verb == "promote"
            && act.deployment == self.deployment
            && act.outcome == Outcome::Done
            && act.after["set"] == json!(set)
    }

    /// Every slave of the set that is recorded as held.
    pub fn held_in(&self, set: &str) -> Result<Vec<(&Server, HeldAt)>> {
        let mut found = Vec::new();
        for server in
            self.servers.iter().filter(|s| s.database_set().is_some_and(|(of, _)| of == set))
        {
            if let Some(held) = self.held(&server.name)? {
                found.push((server, held));
            }
        }
        Ok(found)
    }

    /// The master of the set that the newest promotion fenced, while it is kept.
    pub fn fenced_in(&self, set: &str) -> Result<Vec<(&Server, HeldAt)>> {
        let mut found = Vec::new();
        for server in self.servers.iter().filter(|s| s.tags.contains(&fenced_tag(set))) {
            if let Some(kept) = self.kept(&self.open(server)?)? {
                found.push((server, kept));
            }
        }
        Ok(found)
    }

    /// The accounts that may write while writes are off, as `writes off` was told, and the nonce it wrote.
    pub fn frozen(&self, set: &str) -> Result<(Vec<String>, Option<String>)> {
        let Some(debt) = self.debt(&writes_key(set))? else { return Ok((Vec::new(), None)) };
        let allowed = debt.before["allowed"].as_array().cloned().unwrap_or_default();
        Ok((
            allowed.iter().filter_map(|user| user.as_str().map(str::to_owned)).collect(),
            debt.before["nonce"].as_str().map(str::to_owned),
        ))
    }

    /// Opens every server among the subjects; what is no server is refused by name.
    pub fn open_all(&self, subjects: &Subjects) -> Result<Vec<(usize, Open)>> {
        subjects.databases()?.into_iter().map(|(at, server)| Ok((at, self.open(server)?))).collect()
    }

    /// The same for a verb that asks: one without a machine is no database yet, or any more, and keeps nobody from asking
    /// the others.
    pub fn ask_all(&self, subjects: &Subjects) -> Result<Vec<Asked>> {
        let ask = |(_, server): (usize, &Server)| {
            Ok(match server.no_machine() {
                Some(why) => {
                    let (set, is_master) = server.in_set()?;
                    let set = set.to_owned();
                    Asked::Nobody(Box::new(Nobody { server: server.clone(), set, is_master, why }))
                }
                None => Asked::Open(Box::new(self.open(server)?)),
            })
        };
        subjects.databases()?.into_iter().map(ask).collect()
    }
}

/// A server that a verb asks.
pub enum Asked {
    /// It can be asked.
    Open(Box<Open>),
    /// It has no machine.
    Nobody(Box<Nobody>),
}

/// A server of a set that has no machine.
pub struct Nobody {
    /// It.
    pub server: Server,
    /// Its set.
    pub set: String,
    /// Whether its tags call it the master.
    pub is_master: bool,
    /// In words.
    pub why: String,
}

impl Nobody {
    /// What a record of a database says of it: no more than what its tags and its state say.
    pub fn record(&self, schema: &str, deployment: &str) -> Record {
        Record::new(
            schema,
            json!({
                "name": self.server.name,
                "deployment": deployment,
                "set": self.set,
                "role": role(self.is_master),
                "state": self.server.state,
            }),
        )
    }

    /// A gate's answer: of what cannot be asked nothing is proven.
    pub fn check(&self) -> Check {
        Check::new("machine", &self.server.name, Answer::Unknown, &self.why)
            .hint("rs-server launch, or ask without it")
    }
}

/// Whether a server did not tell, where others may: it is dead or frozen, or does not let us ask.
pub fn is_silence(error: &Error) -> bool {
    [Kind::Unreachable, Kind::TimedOut, Kind::Failed].contains(&error.kind())
}

/// What the tags call a server of a set.
pub fn role(is_master: bool) -> &'static str {
    if is_master { "master" } else { "slave" }
}

/// Key of the debt that writes are off.
pub fn writes_key(set: &str) -> String {
    format!("writes:{set}")
}

/// Key of the debt that a set's events are off with its writes.
pub fn events_key(set: &str) -> String {
    format!("events:{set}")
}

/// Key of the debt that a set's lock is lowered for a migration.
pub fn lowered_key(set: &str) -> String {
    format!("lowered:{set}")
}

/// Key of the debt that a slave is held.
pub fn held_key(slave: &str) -> String {
    format!("held:{slave}")
}

/// Key of the debt that a former master is fenced and kept.
pub fn fenced_key(master: &str) -> String {
    format!("fenced:{master}")
}

/// The tag of a master that a promotion fenced.
pub fn fenced_tag(set: &str) -> String {
    format!("database:fenced={set}")
}

/// Key of the debt that a slave follows a master that was abandoned.
pub fn rebuild_key(slave: &str) -> String {
    format!("rebuild:{slave}")
}

/// The same no under the same name: of an asking verb, and (as `Declined`) inside a changing one.
pub fn refuse(kind: Kind, what: &str, checks: &[Check]) -> Result<()> {
    let bad: Vec<&Check> = checks.iter().filter(|check| check.answer != Answer::Ok).collect();
    let Some(first) = bad.first() else { return Ok(()) };
    let names: Vec<&str> = bad.iter().map(|check| check.name.as_str()).collect();
    let error = Error::new(kind, format!("{what}: {}", names.join(", ")))
        .because(format!("{}: {} of {:?}", first.name, first.detail, first.subject))
        .found(bad.iter().map(|check| json!(check)).collect());
    let error = if kind == Kind::Declined { error.untouched() } else { error };
    Err(match &first.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error.hint("put that right, then ask again"),
    })
}
