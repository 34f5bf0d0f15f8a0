//! `verify`: whether the world is as the journal says. What is not was changed by hand, past every tool.

use std::collections::BTreeMap;

use rs_cli::{Context, Journal, shell_words};
use rs_contract::{Result, World};
use rs_drivers::look::Look;
use rs_drivers::owed::{Seen, see, settled_by};
use rs_drivers::settings::Settings;
use rs_model::act::{Act, Debt, Outcome};
use rs_model::check::{Answer, Check};
use rs_model::claims::{Claim, Says, claims, entry};
use rs_model::journal::Left;

/// One check for each thing that is not as the newest act on it left it, or not to be seen.
///
/// - `acts`: all of them, of every run: an act of another run may be the newest on a thing.
/// - `wanted`: whether a claim is asked for.
pub fn compare(
    cx: &Context,
    world: &World,
    acts: &[Act],
    wanted: &dyn Fn(&Act) -> bool,
) -> Result<Vec<Check>> {
    let cloud = world.cloud.as_ref();
    let mut checks = Vec::new();
    let meant = cx.deployments(cloud)?;
    for deployment in cloud.deployments()?.into_iter().filter(|d| meant.contains(&d.name)) {
        let look = Look::new(cloud, &deployment.name)?;
        for claim in claims(acts) {
            if claim.act.deployment != deployment.name || !wanted(&claim.act) {
                continue;
            }
            let now = match claim.says {
                Says::Level(ref name, ref value) => {
                    Ok(entry(&deployment.inputs, name, value.as_ref()).err())
                }
                _ => differs(&look, world, &claim),
            };
            checks.extend(check(&claim, now));
        }
        checks.extend(owed(&look, world)?);
    }
    if checks.is_empty() {
        checks.push(Check::new(
            "the world is as the journal says",
            "world",
            Answer::Ok,
            "all of it",
        ));
    }
    Ok(checks)
}

/// What the control plane has of the subject of an act without an outcome.
pub fn left(world: &World, acts: &[Act]) -> Result<impl Fn(&Act) -> Left> {
    let open = || acts.iter().filter(|act| act.outcome == Outcome::Open);
    let known = world.cloud.deployments()?;
    let mut found = BTreeMap::new();
    for deployment in known.iter().map(|d| &d.name) {
        if open().any(|act| act.deployment == *deployment) {
            let look = Look::new(world.cloud.as_ref(), deployment)?;
            let its = open().filter(|act| act.deployment == *deployment);
            found.extend(its.map(|act| (act.seq, look.left(&act.subject))));
        }
    }
    // of a deployment that is gone nothing is left
    Ok(move |act: &Act| found.get(&act.seq).copied().unwrap_or(Left::Nothing))
}

/// A debt that the world shows to be settled was settled past the tools; and what one was to keep is kept no more.
fn owed(look: &Look<'_>, world: &World) -> Result<Vec<Check>> {
    let now = rs_cli::now();
    let debts = Journal::new(world.state.as_ref()).debts(look.deployment)?;
    // one whose time is up may have ended by itself, and so has what a machine owed that is gone
    let lasting = debts.iter().filter(|debt| {
        debt.deadline.as_ref().is_none_or(|at| *at > now)
            && look.server(&debt.subject).is_none_or(|s| s.state.is_up() || s.foreign)
    });
    let otherwise = |debt: &Debt, text: String, hint: String| {
        let name = "the world is as the journal says";
        Some(Check::new(name, &debt.key, Answer::No, format!("owed; {text}")).hint(hint))
    };
    Ok(lasting
        .filter_map(|debt| match see(look, world.state.as_ref(), debt) {
            Ok(Seen::Settled(text)) => {
                otherwise(debt, text, "rs-cleanup audit --settle, when that is meant".into())
            }
            Ok(Seen::Broken(text, verb)) => {
                otherwise(debt, text, shell_words(&settled_by(verb, debt)))
            }
            _ => None,
        })
        .collect())
}

fn check(claim: &Claim, now: Result<Option<String>>) -> Option<Check> {
    let act = &claim.act;
    let left =
        format!("act {} ({} {} at {}) left it otherwise", act.seq, act.tool, act.verb, act.at);
    let title = |answer, detail| {
        Check::new("the world is as the journal says", &act.subject, answer, detail)
            .hint("find out who changed it; the same command again brings it back")
    };
    match now {
        Ok(None) => None,
        Ok(Some(now)) => Some(title(Answer::No, format!("{now}; {left}"))),
        Err(e) => Some(title(Answer::Unknown, format!("it could not be looked at: {e}"))),
    }
}

/// What is there instead of what a claim says; absent when it is as it says.
fn differs(look: &Look<'_>, world: &World, claim: &Claim) -> Result<Option<String>> {
    let name = &claim.name;
    let gone = || Ok(Some(format!("{name} is not there")));
    let server = look.server(name);
    let array = look.arrays.iter().find(|array| array.name == *name);
    let unless = |so: bool, now: String| Ok((!so).then_some(now));
    match &claim.says {
        Says::Up => match server {
            None => gone(),
            Some(server) => {
                unless(server.state.is_up(), format!("{name} is {}", server.state.word()))
            }
        },
        Says::Locked(on) => match server {
            None => gone(),
            Some(server) => unless(
                server.locked == *on,
                format!("{name} is {}locked", if *on { "not " } else { "" }),
            ),
        },
        Says::Enabled(on) => match array {
            None => gone(),
            Some(array) => unless(
                array.enabled == *on,
                format!("{name} is {}", if *on { "disabled" } else { "enabled" }),
            ),
        },
        Says::Tag(tag) => {
            let tags = server.map(|s| &s.tags).or_else(|| array.map(|a| &a.tags));
            match tags {
                None => gone(),
                Some(tags) => unless(tags.contains(tag), format!("{name} has no tag {tag}")),
            }
        }
        Says::Next(input, value) => {
            match server.map(|s| &s.next).or_else(|| array.map(|a| &a.next)) {
                None => gone(),
                Some(next) => Ok(entry(next, input, value.as_ref()).err()),
            }
        }
        Says::Level(..) => Ok(None),
        Says::Page(pool, on) => {
            let Some(server) = server.filter(|s| s.state.is_up() || s.foreign) else {
                return Ok(None);
            };
            let (active, saved) = look.page(server)?.active(pool)?;
            let is = active == *on && saved.is_none_or(|saved| saved == *on);
            unless(is, format!("the page of {pool} is {}", if active { "up" } else { "down" }))
        }
        Says::WritesOff(off) => {
            let Some(server) = server.filter(|s| s.state.is_up() || s.foreign) else {
                return Ok(None);
            };
            let now = look.database(server)?.writes()?.off;
            unless(now == *off, format!("writes are {}", if now { "off" } else { "on" }))
        }
        Says::Held(held) => {
            let Some(server) = server.filter(|s| s.state.is_up() || s.foreign) else {
                return Ok(None);
            };
            let now = look.database(server)?.replica()?.is_held();
            unless(now == *held, format!("it is {}held", if now { "" } else { "not " }))
        }
        Says::Members(pool, left) => {
            let Some(address) = server.and_then(|server| server.address) else { return Ok(None) };
            let mut wrong = Vec::new();
            for lb in look.balancers().filter(|lb| lb.balances(pool)) {
                let members = look.balancer(lb)?.members(pool)?;
                let is: Vec<_> =
                    members.iter().filter(|m| m.address == address && m.is_there()).collect();
                let was: Vec<_> = left.iter().filter(|m| m.balancer == lb.name).collect();
                let so = is.len() == was.len()
                    && was
                        .iter()
                        .all(|m| is.iter().any(|i| i.port == m.port && i.admin == m.admin));
                if !so {
                    let now = match is.first() {
                        None => "no member".to_owned(),
                        Some(member) => format!("{:?}", member.admin).to_lowercase(),
                    };
                    wrong.push(format!("{now} of {pool} on {}", lb.name));
                }
            }
            unless(wrong.is_empty(), wrong.join(", "))
        }
        Says::Record(host, left) => {
            let dns = rs_drivers::dns(&Settings::of_deployment(look.cloud, look.deployment)?)?;
            let (mut now, _) = dns.lookup(host)?;
            let mut left = left.clone();
            now.sort_unstable();
            left.sort_unstable();
            unless(now == left, format!("{host} points to {now:?}"))
        }
        Says::Pinned(id) => {
            let Some(server) = server else { return Ok(None) };
            let Some((set, _)) = server.database_set() else { return Ok(None) };
            let store = rs_drivers::snapshots(&look.settings_of(server)?, None)?;
            let all = store.list(&look.lineage(server, set)?)?;
            match all.iter().find(|snapshot| snapshot.id == *id) {
                None => Ok(Some(format!("there is no snapshot {id}"))),
                Some(snapshot) => unless(snapshot.pinned, format!("snapshot {id} is not pinned")),
            }
        }
        Says::Backups(on) => {
            let key = format!("schedule/{}/{name}", look.deployment);
            let now = world.state.get(&key)?.is_some_and(|entry| entry.value["enabled"] == true);
            unless(now == *on, format!("backups of {name} are {}", if now { "on" } else { "off" }))
        }
    }
}
