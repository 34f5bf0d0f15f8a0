//! `plan`: what would end. Refuses nothing; each entry carries what forbids it.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use anyhow::Result;
use rs_cli::{Changing, Context, Exit, Journal, Select, Subject, Subjects, What, now};
use rs_contract::{Cloud, Error, Kind};
use rs_model::retire::{self, Plan, Reach};
use rs_records::Record;
use sha2::{Digest, Sha256};

use rs_drivers::look::Look;

/// Flags of `plan`.
#[derive(clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    select: Select,
    /// Rollback copies (part warm) may end too
    #[arg(long)]
    include_warm: bool,
    /// All of a deployment that is a clone (a staging one): its masters too, and with --delete the deployment itself
    #[arg(long)]
    whole: bool,
    /// This does not forbid an end, as the operator has seen to it; repeat it for several
    #[arg(long, value_name = "WHAT", value_parser = retire::EVIDENCE)]
    accept: Vec<String>,
    /// Nothing fits: an empty plan, exit 0
    #[arg(long)]
    allow_none: bool,
}

pub fn run(cx: &Context, args: &PlanArgs) -> Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let (deployment, subjects) = if args.whole {
        if args.select.given() {
            return Err(Error::new(Kind::Usage, "--whole is everything, and something is named")
                .hint("name nothing besides")
                .into());
        }
        whole(cx, world.cloud.as_ref())?
    } else {
        let changing = Changing { allow_none: args.allow_none, ..Changing::default() };
        cx.subjects(world.cloud.as_ref(), &args.select, &changing)?
    };
    let mut names = Vec::new();
    for item in &subjects.items {
        match &item.what {
            What::Server(server) => names.push(("server".to_owned(), server.name.clone())),
            What::Array(array) => names.push(("array".to_owned(), array.name.clone())),
            _ => {}
        }
    }
    let look = Look::new(world.cloud.as_ref(), &deployment)?;
    let debts = Journal::new(world.state.as_ref()).debts(&deployment)?;
    let facts = look.evidence(&|server| retire::ends(server, &names), &debts, &now());
    let run = cx.common.upgrade.clone();
    let include_warm = args.include_warm || args.whole;
    let accepted: BTreeSet<String> = args.accept.iter().cloned().collect();
    let reach = Reach { warm: include_warm, whole: args.whole, accepted: accepted.clone() };
    let entries = retire::entries(&facts, &names, run.as_deref(), reach);
    let plan = Plan {
        deployment,
        run,
        created_at: now(),
        count: entries.len(),
        digest: digest(&retire::canonical(&entries)),
        include_warm,
        whole: args.whole,
        accepted,
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

/// Everything of a clone.
fn whole(cx: &Context, cloud: &dyn Cloud) -> Result<(String, Subjects)> {
    let deployment = cx.deployment(cloud)?;
    clone_only(cloud, &deployment)?;
    let mut all = Subjects::default();
    let servers = cloud.servers(&deployment)?;
    all.items.extend(servers.into_iter().map(|s| Subject::server(&deployment, s)));
    let arrays = cloud.arrays(&deployment)?;
    all.items.extend(arrays.into_iter().map(|a| Subject::array(&deployment, a)));
    Ok((deployment, all))
}

/// Declines for a deployment that was not cloned from another: production never ends as a whole.
fn clone_only(cloud: &dyn Cloud, name: &str) -> Result<()> {
    let all = cloud.deployments()?;
    let known = all.iter().find(|known| known.name == name);
    if known.is_some_and(|known| known.cloned_from.is_some()) {
        return Ok(());
    }
    let what = format!("the deployment {name:?} is no clone");
    Err(Error::new(Kind::Declined, what)
        .hint("only a clone may end as a whole; name what shall end of this one")
        .into())
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
