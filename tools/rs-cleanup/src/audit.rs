//! `audit`: what is owed, and what the world says of it.

use anyhow::Result;
use rs_cli::{Context, Exit, Journal, alive, settling, shell_words};
use rs_drivers::look::Look;
use rs_drivers::owed::{Seen, see, settled_by};
use rs_model::act::{Act, Debt, Due};
use rs_model::journal::{Left, cut_off, unended};
use rs_records::Record;

/// Flags of `audit`.
#[derive(clap::Args)]
pub struct AuditArgs {
    /// Only what is due by then: window (step 33), after (step 36), retire (steps 37, 38)
    #[arg(long, value_name = "WHEN", value_parser = due)]
    due: Option<Due>,
    /// Remove the debts that the world shows to be settled
    #[arg(long)]
    settle: bool,
}

fn due(written: &str) -> std::result::Result<Due, rs_model::Bad> {
    serde_json::from_value(written.into()).map_err(|_| {
        rs_model::Bad::new(
            format!("{written:?} is no time of the upgrade"),
            "write window, after or retire",
        )
    })
}

pub fn run(cx: &Context, args: &AuditArgs) -> Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let deployment = cx.deployment(world.cloud.as_ref())?;
    let journal = Journal::new(world.state.as_ref());
    let mut debts = journal.debts(&deployment)?;
    // what was abandoned must not take writes at any time
    let later = |debt: &Debt| args.due.is_some_and(|due| debt.due > due);
    debts.retain(|debt| !later(debt) || debt.kind == "fenced");
    let mut records = Vec::new();
    let mut open = 0;
    if !debts.is_empty() {
        let look = Look::new(world.cloud.as_ref(), &deployment)?;
        let acts = journal.acts()?;
        for debt in &debts {
            let run = debt.owner.run.as_deref();
            let part = run.and_then(|run| look.part(&debt.subject, run));
            let mut settle = settling(debt, part, look.stand_in(debt), &acts);
            let seen = see(&look, world.state.as_ref(), debt)
                .unwrap_or_else(|e| Seen::Unknown(format!("it could not be looked at: {e}")));
            match &seen {
                Seen::Broken(_, verb) => settle = shell_words(&settled_by(verb, debt)),
                Seen::First(_, verb) if !later(debt) => {
                    settle = format!("{} && {settle}", shell_words(&settled_by(verb, debt)));
                }
                Seen::Unknown(text) if later(debt) => {
                    cx.warn(&format!("{}: {text}", debt.key));
                    continue;
                }
                _ if later(debt) => continue,
                _ => {}
            }
            let (word, text) = match &seen {
                Seen::Open(text) | Seen::Broken(text, _) | Seen::First(text, _) => ("open", text),
                Seen::Settled(text) => ("settled", text),
                Seen::Unknown(text) => ("unknown", text),
            };
            let mut record = Record::of(debt);
            record.nest("world", word);
            record.nest("seen", text);
            record.nest("settle", &settle);
            records.push(record);
            if matches!(seen, Seen::Settled(_)) {
                if args.settle {
                    journal.settle(&deployment, &debt.key)?;
                    cx.say(&format!("{}: {text}; no longer owed", debt.key));
                } else {
                    cx.say(&format!("{}: {text}; --settle removes it", debt.key));
                }
                continue;
            }
            open += 1;
            let by = debt.owner.run.as_deref().unwrap_or(&debt.owner.user);
            cx.warn(&format!(
                "{} since {} by {by} ({}; {text}): {settle}",
                debt.key, debt.since, debt.reason,
            ));
        }
    }
    if journal.open_acts()?.iter().any(|act| act.deployment == deployment) {
        let acts = journal.acts()?;
        let look = Look::new(world.cloud.as_ref(), &deployment)?;
        let left = |act: &Act| match act.deployment == deployment {
            true => look.left(&act.subject),
            false => Left::All,
        };
        let cut = unended(&acts, &alive, &left);
        let cut = cut.into_iter().filter(|(_, alive)| *alive == Some(false));
        for (act, _) in cut.filter(|(act, _)| act.deployment == deployment) {
            cx.warn(&cut_off(act));
        }
    }
    cx.emit(&records)?;
    if open == 0 {
        return Ok(Exit::Done);
    }
    cx.warn(&format!("{open} owed in {deployment:?} (try: the commands above, each settles one)"));
    Ok(Exit::No)
}
