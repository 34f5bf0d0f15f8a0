//! `plan`: what would end. Refuses nothing; each entry carries what forbids it.

use std::io::IsTerminal;

use anyhow::Result;
use rs_cli::{Changing, Context, Exit, Select, What, now};
use rs_model::retire::{self, Plan};
use rs_records::Record;
use sha2::{Digest, Sha256};

use crate::world::Look;

/// Flags of `plan`.
#[derive(clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    select: Select,
    /// Rollback copies (part warm) may end too
    #[arg(long)]
    include_warm: bool,
    /// Nothing fits: an empty plan, exit 0
    #[arg(long)]
    allow_none: bool,
}

pub fn run(cx: &Context, args: &PlanArgs) -> Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let changing = Changing { allow_none: args.allow_none, ..Changing::default() };
    let (deployment, subjects) = cx.subjects(world.cloud.as_ref(), &args.select, &changing)?;
    let mut names = Vec::new();
    for item in &subjects.items {
        match &item.what {
            What::Server(server) => names.push(("server".to_owned(), server.name.clone())),
            What::Array(array) => names.push(("array".to_owned(), array.name.clone())),
            _ => {}
        }
    }
    let look = Look::new(world.cloud.as_ref(), &deployment)?;
    let facts = look.facts(&|server| names.iter().any(|(_, name)| *name == server.name));
    let run = cx.common.upgrade.clone();
    let entries = retire::entries(&facts, &names, run.as_deref(), args.include_warm);
    let plan = Plan {
        deployment,
        run,
        created_at: now(),
        count: entries.len(),
        digest: digest(&retire::canonical(&entries)),
        include_warm: args.include_warm,
        entries,
    };
    if cx.common.json || !std::io::stdout().is_terminal() {
        cx.emit(&[Record::of(&plan)])?;
    } else {
        cx.print(&text(&plan))?;
    }
    let forbidden = plan.entries.iter().filter(|entry| !entry.forbidden.is_empty()).count();
    if forbidden > 0 {
        cx.warn(&format!("{forbidden} of {} may not end now; the plan says why", plan.count));
    }
    Ok(Exit::Done)
}

/// SHA-256, hexadecimal.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(plan: &Plan) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{} would end in {:?}\n", plan.count, plan.deployment);
    for entry in &plan.entries {
        let part = entry.part.as_deref().unwrap_or("-");
        let _ =
            writeln!(text, "  {:<6} {:<28} {:<5} {}", entry.kind, entry.name, part, entry.state);
        for why in &entry.forbidden {
            let _ = writeln!(text, "         not now: {why}");
        }
    }
    text
}
