//! `apply`: a deployment from a site file.

use std::path::PathBuf;

use rs_cli::{Context, Done, Exit, Step, Subject, Subjects, What};
use rs_contract::Cloud;
use rs_drivers::site::{self, Plan, Planned, Site};
use rs_model::Deployment;
use rs_records::Record;
use serde_json::{Value as Json, json};

/// What to apply.
#[derive(clap::Args)]
pub struct Apply {
    /// Site file (docs/SITE.md has every key)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder in which scripts that templates name are looked for; repeated
    #[arg(long, value_name = "FOLDER")]
    script_path: Vec<PathBuf>,
    /// Say what would be done, as records with "planned": true; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Creates and changes, in the order of the file; emits the deployment, its servers and its arrays.
pub fn run(apply: &Apply, cx: &Context) -> anyhow::Result<Exit> {
    let site = site::parse(&apply.file, &apply.script_path)?;
    for note in site.notes() {
        cx.say(&note);
    }
    let world = rs_drivers::founded(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    let plan = site::plan(cloud, &site)?;
    for lack in &plan.lacks {
        cx.say(&lack.to_string());
    }
    let deployment = site.deployment.name.clone();
    let (mut subjects, groups) = group(cloud, &site, &plan)?;
    let steps: Vec<Step> =
        groups.iter().enumerate().map(|(at, group)| step(at, group, &subjects)).collect();
    let exit = cx.together(world.state.as_ref(), &deployment, &mut subjects, &steps, |todo| {
        todo.iter()
            .map(|step| {
                for planned in &groups[step.at] {
                    if !planned.what.is_empty() {
                        cx.say(&format!(
                            "{} {:?}: {}",
                            planned.kind,
                            planned.name,
                            planned.what.join(", ")
                        ));
                    }
                    site::carry_out(cloud, &deployment, planned)?;
                }
                Ok(Done::now(step.expect.clone()))
            })
            .collect()
    })?;
    cx.refresh(cloud, &deployment, &mut subjects)?;
    if !cx.dry()
        && let Some(now) = cloud.deployments()?.into_iter().find(|d| d.name == deployment)
        && let Some(item) = subjects.items.first_mut()
    {
        item.record.refresh(&now);
    }
    cx.pass_on(&subjects, exit)
}

/// One subject for the deployment with its templates, then one for each server and array; with what is to be done.
fn group<'a>(
    cloud: &dyn Cloud,
    site: &Site,
    plan: &'a Plan,
) -> anyhow::Result<(Subjects, Vec<Vec<&'a Planned>>)> {
    let name = &site.deployment.name;
    let there = cloud.deployments()?.into_iter().find(|d| d.name == *name);
    let (servers, arrays) = match &there {
        Some(_) => (cloud.servers(name)?, cloud.arrays(name)?),
        None => Default::default(),
    };
    let mut subjects = Subjects::default();
    let mut groups: Vec<Vec<&Planned>> = vec![Vec::new()];
    let shown: Deployment = there.unwrap_or_else(|| site.deployment.clone());
    subjects
        .items
        .push(Subject { record: Record::of(&shown), what: What::Deployment(Box::new(shown)) });
    for planned in &plan.steps {
        let subject = match planned.kind {
            "server" => {
                let now = servers.iter().find(|s| s.name == planned.name).cloned();
                let wanted = site.servers.iter().find(|s| s.server.name == planned.name);
                now.or_else(|| wanted.map(|s| s.server.clone())).map(|s| Subject::server(name, s))
            }
            "array" => {
                let now = arrays.iter().find(|a| a.name == planned.name).cloned();
                let wanted = site.arrays.iter().find(|a| a.array.name == planned.name);
                now.or_else(|| wanted.map(|a| a.array.clone())).map(|a| Subject::array(name, a))
            }
            _ => None,
        };
        match subject {
            Some(subject) => {
                subjects.items.push(subject);
                groups.push(vec![planned]);
            }
            None => groups[0].push(planned),
        }
    }
    Ok((subjects, groups))
}

fn step(at: usize, group: &[&Planned], subjects: &Subjects) -> Step {
    let needed = group.iter().any(|planned| !planned.acts.is_empty());
    let changed = |pick: fn(&Planned) -> &Json| match group {
        [one] => pick(one).clone(),
        many => many
            .iter()
            .filter(|planned| !planned.acts.is_empty())
            .map(|planned| (format!("{} {}", planned.kind, planned.name), pick(planned).clone()))
            .collect(),
    };
    let mut step = Step { at, needed, ..Step::default() };
    if needed {
        step.before = changed(|planned| &planned.before);
        step.expect = changed(|planned| &planned.after);
    } else if let Some(item) = subjects.items.get(at) {
        step.before = json!({ "name": item.name() });
    }
    step
}
