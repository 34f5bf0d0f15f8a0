//! `settings`: what a run changes on the servers for a time, each a debt with the value that was before.

use clap::ValueEnum;
use rs_cli::{Changing, Context, DebtSpec, Done, Exit, Owing, Select, Step, shell_words as words};
use rs_contract::{Error, Kind, Result, Setting};
use rs_model::Due;
use serde_json::json;

use crate::sets::{Open, Site};
use crate::writes::of;

/// Which setting; its name is the kind of the debt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Binary logs are kept, however old: a held slave and the price of a promotion need them
    Binlogs,
    /// A slave's relay log is on the disk at once: a hold does not wait for it
    #[value(name = "sync_relay_log")]
    SyncRelayLog,
}

impl Which {
    fn kind(self) -> &'static str {
        match self {
            Which::Binlogs => "binlogs",
            Which::SyncRelayLog => "sync_relay_log",
        }
    }

    fn setting(self) -> Setting {
        match self {
            Which::Binlogs => Setting::KeptBinlogs,
            Which::SyncRelayLog => Setting::SyncedRelayLog,
        }
    }

    /// Key of the debt.
    pub fn key(self, server: &str) -> String {
        format!("{}:{server}", self.kind())
    }

    /// What changing it owes; absent when it is so by itself.
    pub fn debt(self, site: &Site<'_>, open: &Open) -> Result<Option<DebtSpec>> {
        let (setting, name) = (self.setting(), &open.server.name);
        let value = open.db.setting(setting)?;
        if value == open.db.changed_setting(setting) {
            return Ok(None);
        }
        let (reason, due) = match self {
            Which::Binlogs => {
                (format!("the binary logs of {name:?} are kept for a held slave"), Due::Retire)
            }
            Which::SyncRelayLog => {
                (format!("the relay log of {name:?} is synced at once"), Due::Window)
            }
        };
        let inverse =
            ["rs-dbsync", "settings", "restore", self.kind(), "--deployment", &site.deployment];
        let mut inverse: Vec<String> = inverse.map(str::to_owned).into();
        inverse.extend(["--".to_owned(), name.clone()]);
        let before = json!({ "value": value });
        Ok(Some(DebtSpec { key: self.key(name), reason, inverse, due, deadline: None, before }))
    }

    /// Changes it.
    pub fn change(self, cx: &Context, open: &Open) -> Result<()> {
        if !open.db.change_setting(self.setting(), None)? {
            cx.warn(&format!(
                "{}: its option file cannot be reached: a restart of the server ends {}",
                open.server.name,
                self.kind()
            ));
        }
        Ok(())
    }

    /// Puts back what the debt says; without one nothing is done. Whether there was one.
    pub fn put_back(self, site: &Site<'_>, open: &Open) -> Result<bool> {
        let Some(debt) = site.debt(&self.key(&open.server.name))? else { return Ok(false) };
        let value = debt.before["value"].as_str().ok_or_else(|| {
            Error::new(Kind::Failed, format!("the debt {:?} names no value", debt.key))
                .hint("rs-cleanup audit shows it")
        })?;
        open.db.change_setting(self.setting(), Some(value))?;
        Ok(true)
    }
}

/// Which setting of which servers.
#[derive(clap::Args)]
pub struct Change {
    /// Which
    #[arg(value_enum, value_name = "WHICH")]
    which: Which,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    owing: Owing,
}

/// Which setting of which servers.
#[derive(clap::Args)]
pub struct Restore {
    /// Which
    #[arg(value_enum, value_name = "WHICH")]
    which: Which,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    changing: Changing,
}

/// Changes it for a time.
pub fn change(change: &Change, cx: &Context) -> anyhow::Result<Exit> {
    let which = change.which;
    let plan = |site: &Site<'_>, open: &Open| {
        let debt = which.debt(site, open)?;
        Ok(Step {
            needed: debt.is_some(),
            expect: json!({ "value": open.db.changed_setting(which.setting()) }),
            undo: debt.as_ref().map(|debt| words(&debt.inverse)),
            opens: debt.into_iter().collect(),
            ..Step::default()
        })
    };
    each(which, &change.select, &change.changing, cx, plan, |_, open| which.change(cx, open))
}

/// Puts back what was before.
pub fn restore(restore: &Restore, cx: &Context) -> anyhow::Result<Exit> {
    let which = restore.which;
    let plan = |site: &Site<'_>, open: &Open| {
        let key = which.key(&open.server.name);
        let debt = site.debt(&key)?;
        Ok(Step {
            needed: debt.is_some(),
            expect: json!({ "value": debt.as_ref().map(|debt| &debt.before["value"]) }),
            settles: vec![key],
            ..Step::default()
        })
    };
    each(which, &restore.select, &restore.changing, cx, plan, |site, open| {
        which.put_back(site, open).map(drop)
    })
}

/// One step for each server, with the value before and the one that is read back.
fn each(
    which: Which,
    select: &Select,
    changing: &Changing,
    cx: &Context,
    plan: impl Fn(&Site<'_>, &Open) -> Result<Step>,
    act: impl Fn(&Site<'_>, &Open) -> Result<()> + Sync,
) -> anyhow::Result<Exit> {
    cx.about(which.kind());
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, mut subjects) = cx.subjects(world.cloud.as_ref(), select, changing)?;
    let site = Site::new(&world, &deployment)?;
    let opened = site.open_all(&subjects)?;
    let value = |open: &Open| Ok::<_, Error>(json!({ "value": open.db.setting(which.setting())? }));
    let mut steps = Vec::new();
    for (at, open) in &opened {
        steps.push(Step { at: *at, before: value(open)?, ..plan(&site, open)? });
    }
    let exit = cx.each(world.state.as_ref(), &deployment, &mut subjects, &steps, |step| {
        let open = of(&opened, step)?;
        act(&site, open)?;
        Ok(Done::now(value(open)?))
    })?;
    cx.pass_on(&subjects, exit)
}
