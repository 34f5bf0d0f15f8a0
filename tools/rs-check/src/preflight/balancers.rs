//! Balancers, and what the outside sees of them.

use std::time::Duration;

use rs_contract::{Error, Kind, PageSwitch, Result};
use rs_drivers::http::{Probe, probes};
use rs_drivers::settings::Settings;
use rs_drivers::{agents, certificate};
use rs_model::ready;
use rs_model::{Answer, Check, Server};

use super::{Preflight, Site};
use crate::gate;

/// A certificate must be good for longer than this: nobody renews one in the days after an upgrade.
const CERTIFICATE: Duration = Duration::from_secs(7 * 86_400);

impl Site<'_> {
    /// Each pool of each balancer: reachable, no worker left from an earlier reload, what we change survives one, users
    /// can change members, and the outside probe is understood.
    pub fn balancers(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for server in self.servers.iter().filter(|s| s.has_role("lb") && self.up(s)) {
            let opened = self.settings(server).and_then(|settings| {
                let balancer = rs_drivers::balancer(server, &settings, self.channel(server))?;
                let page = rs_drivers::page(server, &settings, self.channel(server))?;
                Ok((balancer.pools()?, balancer, page, settings))
            });
            let (pools, balancer, page, settings) = match opened {
                Ok(opened) => opened,
                Err(e) => {
                    checks.push(gate::tried("balancer answers", &server.name, Err(e)));
                    continue;
                }
            };
            for pool in pools {
                let subject = format!("{pool} on {}", server.name);
                let members = balancer.members(&pool).map(|m| format!("{} members", m.len()));
                checks.push(gate::tried("balancer answers", &subject, members));
                let saved = balancer.can_save(&pool).map(|()| "the markers are there".to_owned());
                checks.push(gate::tried("changes survive a reload", &subject, saved));
                let alone = page.processes(&pool).and_then(|processes| match processes.len() {
                    1 => Ok(processes[0].0.clone()),
                    many => Err(Error::new(Kind::No, format!("{many} processes serve"))
                        .hint("old workers keep their clients: end them before the window")),
                });
                checks.push(gate::tried("one process serves", &subject, alone));
                checks.push(match balancer.sticky(&pool) {
                    Ok(sticky) => ready::judge_sticky(&subject, sticky.as_ref()),
                    Err(e) => gate::tried("users can change members", &subject, Err(e)),
                });
                checks.extend(outside(&subject, &settings, page.as_ref(), &pool));
            }
        }
        checks
    }

    /// What rewrites configuration on the machines, or starts again what was stopped.
    pub fn agents(&self, preflight: &Preflight) -> Vec<Check> {
        let asked = "nothing rewrites configuration";
        let configured = |s: &&Server| !s.foreign || s.has_role("lb") || s.has_role("db");
        let up = self.servers.iter().filter(|s| self.up(s)).filter(configured);
        up.map(|server| {
            let Some(channel) = self.channel(server) else {
                return Check::new(asked, &server.name, Answer::Unknown, "no channel reaches it")
                    .hint(format!("look there by hand, then --accept '{asked}'"));
            };
            match agents::found(channel.as_ref(), &preflight.agent) {
                Ok(mut found) => {
                    found.retain(|agent| !preflight.allow_agent.contains(&agent.program));
                    ready::judge_agents(&server.name, &found)
                }
                Err(e) => {
                    Check { answer: Answer::Unknown, ..gate::tried(asked, &server.name, Err(e)) }
                }
            }
        })
        .collect()
    }
}

/// What a client gets at every address, family and scheme: the page is proven there, so a redirect or a certificate
/// that is not believed must be known before.
fn outside(subject: &str, settings: &Settings, page: &dyn PageSwitch, pool: &str) -> Vec<Check> {
    let found =
        settings.or("LB_PROBE_PATH", "/").and_then(|path| probes(page, settings, pool, &path));
    let probes = match found {
        Ok(probes) if probes.is_empty() => {
            let none = Error::new(Kind::No, "it has no address to look at")
                .hint("LB_PROBE_URL says where clients are answered");
            return vec![gate::tried("outside probe", subject, Err(none))];
        }
        Ok(probes) => probes,
        Err(e) => return vec![gate::tried("outside probe", subject, Err(e))],
    };
    let mut checks = Vec::new();
    for probe in probes {
        let subject = format!("{subject} at {}", probe.url());
        checks.push(gate::tried("outside probe", &subject, seen(&probe)));
        if probe.tls {
            let valid = certificate::valid_in(&probe, CERTIFICATE)
                .map(|()| format!("good for {} days and more", CERTIFICATE.as_secs() / 86_400))
                .map_err(|e| match e.advice() {
                    Some(_) => e,
                    None => e.hint(
                        "renew it before the window, and see that LB_PROBE_CA is its authority",
                    ),
                });
            checks.push(gate::tried("certificate", &subject, valid));
        }
    }
    checks
}

fn seen(probe: &Probe) -> Result<String> {
    let answer = probe.send()?;
    if (300..400).contains(&answer.status) {
        let to = answer.header("location").unwrap_or("nowhere");
        return Err(Error::new(Kind::No, format!("{} leads to {to:?}", answer.status)).hint(
            "a redirect is not the page: the page's rule must stand before it, or LB_PROBE_PATH be one that is answered",
        ));
    }
    Ok(format!("status {} in {} ms", answer.status, answer.ms))
}
