//! The world as all families together show it, for whoever compares it with what was written down.

use crate::settings::Settings;
use rs_contract::{Balancer, Cloud, Database, Kind, PageSwitch, Result};
use rs_model::retire::World;
use rs_model::{Array, Server};

/// A deployment's servers and arrays, and the way to ask them.
pub struct Look<'a> {
    /// The control plane.
    pub cloud: &'a dyn Cloud,
    /// Its deployment.
    pub deployment: &'a str,
    /// Servers and instances, as the control plane lists them.
    pub servers: Vec<Server>,
    /// Arrays.
    pub arrays: Vec<Array>,
}

/// What a driver is opened with: a server's settings, and the way to it where there is one.
pub fn way(
    cloud: &dyn Cloud,
    deployment: &str,
    server: &Server,
    servers: &[Server],
) -> Result<(Settings, Option<Box<dyn rs_contract::Channel>>)> {
    // one that we did not launch is asked over the network
    let channel = if server.foreign { None } else { Some(cloud.channel(server)?) };
    Ok((Settings::among(cloud, deployment, server, servers)?, channel))
}

impl<'a> Look<'a> {
    /// Reads what the control plane knows; nobody else is asked yet.
    pub fn new(cloud: &'a dyn Cloud, deployment: &'a str) -> Result<Look<'a>> {
        let (servers, arrays) = (cloud.servers(deployment)?, cloud.arrays(deployment)?);
        Ok(Look { cloud, deployment, servers, arrays })
    }

    /// A server or instance by its name.
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    fn settings(&self, server: &Server) -> Result<Settings> {
        Settings::among(self.cloud, self.deployment, server, &self.servers)
    }

    fn channel(&self, server: &Server) -> Result<Option<Box<dyn rs_contract::Channel>>> {
        match self.cloud.channel(server) {
            Ok(channel) => Ok(Some(channel)),
            // one that we did not launch is asked over the network
            Err(e) if e.kind() == Kind::Declined => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A balancer's driver.
    pub fn balancer(&self, server: &Server) -> Result<Box<dyn Balancer>> {
        crate::balancer(server, &self.settings(server)?, self.channel(server)?)
    }

    /// A balancer's page.
    pub fn page(&self, server: &Server) -> Result<Box<dyn PageSwitch>> {
        crate::page(server, &self.settings(server)?, self.channel(server)?)
    }

    /// A database server's driver.
    pub fn database(&self, server: &Server) -> Result<Box<dyn Database>> {
        crate::database(server, &self.settings(server)?, self.channel(server)?, None)
    }

    /// A server's settings.
    pub fn settings_of(&self, server: &Server) -> Result<Settings> {
        self.settings(server)
    }

    /// Balancers that are up.
    pub fn balancers(&self) -> impl Iterator<Item = &Server> {
        self.servers
            .iter()
            .filter(|server| server.has_role("lb") && (server.state.is_up() || server.foreign))
    }

    /// The facts on which it is decided what may end; balancers in `ending` are not asked.
    pub fn facts(&self, ending: &dyn Fn(&Server) -> bool) -> World {
        let mut world = World {
            servers: self.servers.clone(),
            arrays: self.arrays.clone(),
            ..World::default()
        };
        for server in self.balancers().filter(|server| !ending(server)) {
            let members = self.balancer(server).and_then(|balancer| {
                let mut members = Vec::new();
                for pool in balancer.pools()? {
                    members.extend(balancer.members(&pool)?);
                }
                Ok(members)
            });
            match members {
                Ok(members) => world.members.extend(members),
                Err(e) => world.unanswered.push((server.name.clone(), e.to_string())),
            }
        }
        for member in &mut world.members {
            let server = self.servers.iter().find(|s| s.address == Some(member.address));
            member.server = server.map(|server| server.name.clone());
        }
        world
    }
}
