//! What tools need to know of a server: its inputs, evaluated, with `env:` and `cred:` looked up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rs_contract::{Channel, Cloud, Endpoint, Error, Kind, Result, Secret};
use rs_model::input::{Level, Resolved, Value, resolve};
use rs_model::{Deployment, Inputs, Server};

/// The effective inputs of one server (or of a deployment) with what is needed to look them up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For messages: `server App Server-1`.
    pub subject: String,
    /// Deployment.
    pub deployment: String,
    /// Effective inputs: current of a launched server, else what a launch would see.
    pub values: BTreeMap<String, Resolved>,
    /// The server's name and address, when it is one's.
    server: Option<(String, Option<IpAddr>, Option<String>)>,
    /// Metadata of every server of the deployment, for `env:Server Name:VAR`.
    servers: BTreeMap<String, BTreeMap<String, String>>,
}

/// The metadata variables of a server, for `env:`.
pub fn metadata(deployment: &str, server: &Server) -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([
        ("SERVER_NAME".to_owned(), server.name.clone()),
        ("DEPLOYMENT_NAME".to_owned(), deployment.to_owned()),
    ]);
    if let Some(address) = server.address {
        found.insert("PRIVATE_IP".into(), address.to_string());
        found.insert("PUBLIC_IP".into(), address.to_string());
    }
    if let Some(current) = &server.current {
        found.insert("INSTANCE_ID".into(), current.id.clone());
    }
    found
}

impl Settings {
    /// Of a server.
    pub fn of(cloud: &dyn Cloud, deployment: &str, server: &Server) -> Result<Settings> {
        Settings::among(cloud, deployment, server, &cloud.servers(deployment)?)
    }

    /// Of a server, when the deployment's servers are known already.
    pub fn among(
        cloud: &dyn Cloud,
        deployment: &str,
        server: &Server,
        all: &[Server],
    ) -> Result<Settings> {
        let mut found = Settings::of_current(deployment, server, all);
        found.values = match &server.current {
            Some(_) => return Ok(found),
            None => {
                let template = match &server.template {
                    Some(reference) => Some(cloud.template(reference)?),
                    None => None,
                };
                let of = find(cloud, deployment)?;
                resolve(template.as_ref(), &of.inputs, &server.next, Level::Server, &Inputs::new())
                    .values
            }
        };
        Ok(found)
    }

    /// Of a launched server's current set, as it was frozen.
    pub fn of_current(deployment: &str, server: &Server, all: &[Server]) -> Settings {
        Settings {
            subject: format!("server {:?}", server.name),
            deployment: deployment.to_owned(),
            values: server.current.as_ref().map(|c| c.inputs.clone()).unwrap_or_default(),
            server: Some((
                server.name.clone(),
                server.address,
                server.current.as_ref().and_then(|current| current.home.clone()),
            )),
            servers: all.iter().map(|s| (s.name.clone(), metadata(deployment, s))).collect(),
        }
    }

    /// Of a deployment's own inputs.
    pub fn of_deployment(cloud: &dyn Cloud, deployment: &str) -> Result<Settings> {
        let of = find(cloud, deployment)?;
        let all = cloud.servers(deployment)?;
        Ok(Settings {
            subject: format!("deployment {deployment:?}"),
            deployment: deployment.to_owned(),
            values: of
                .inputs
                .into_iter()
                .map(|(name, value)| (name, Resolved { value, from: Level::Deployment }))
                .collect(),
            server: None,
            servers: all.iter().map(|s| (s.name.clone(), metadata(deployment, s))).collect(),
        })
    }

    /// Of values that are given, for a server or for none: what is tried without a control plane.
    pub fn given(
        deployment: &str,
        server: Option<&Server>,
        values: impl IntoIterator<Item = (String, Value)>,
    ) -> Settings {
        let level = if server.is_some() { Level::Server } else { Level::Deployment };
        Settings {
            subject: match server {
                Some(server) => format!("server {:?}", server.name),
                None => format!("deployment {deployment:?}"),
            },
            deployment: deployment.to_owned(),
            values: values
                .into_iter()
                .map(|(name, value)| (name, Resolved { value, from: level }))
                .collect(),
            server: server.map(|server| {
                let home = server.current.as_ref().and_then(|current| current.home.clone());
                (server.name.clone(), server.address, home)
            }),
            servers: server
                .iter()
                .map(|server| (server.name.clone(), metadata(deployment, server)))
                .collect(),
        }
    }

    /// The text of an input; absent when unset, ignored; empty when blank. A credential is refused: see
    /// [`Settings::secret`].
    pub fn get(&self, name: &str) -> Result<Option<String>> {
        let Some(resolved) = self.values.get(name) else { return Ok(None) };
        if resolved.value.is_secret() {
            return Err(Error::new(
                Kind::Usage,
                format!("{name} of {} is a credential", self.subject),
            )
            .hint("this input is shown and compared: write it as text:…"));
        }
        self.expand(name, &resolved.value)
    }

    /// The text of an input, or `default` when it has none.
    pub fn or(&self, name: &str, default: &str) -> Result<String> {
        Ok(self.get(name)?.filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned()))
    }

    /// The text of an input that must be there.
    pub fn need(&self, name: &str) -> Result<String> {
        self.get(name)?.filter(|text| !text.is_empty()).ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} has no input {name}", self.subject))
                .hint(format!("rs-inputs set {name}=text:… on it, then try again"))
        })
    }

    /// A number between 1 and `most`.
    pub fn number(&self, name: &str, default: u64, most: u64) -> Result<u64> {
        let Some(text) = self.get(name)?.filter(|text| !text.is_empty()) else {
            return Ok(default);
        };
        match text.trim().parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(Error::new(Kind::Usage, format!("{name} of {} is {text:?}", self.subject))
                .hint(format!("a whole number from 1 to {most} is expected"))),
        }
    }

    /// A secret: an input of type `cred:` or `key:` (a `text:` is taken too, since some sites have it so).
    pub fn secret(&self, name: &str) -> Result<Secret> {
        let resolved = self.values.get(name).ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} has no input {name}", self.subject))
                .hint(format!("rs-inputs set {name}=cred:NAME on it, then try again"))
        })?;
        self.expand_secret(name, &resolved.value)
    }

    /// A port to connect to on the server itself.
    pub fn port(&self, name: &str, default: u16) -> Result<u16> {
        Ok(u16::try_from(self.number(name, u64::from(default), 65_535)?).unwrap_or(default))
    }

    /// `unix:PATH` (relative to the server's home) or `tcp:HOST:PORT`, as *we* connect to it.
    pub fn endpoint(
        &self,
        name: &str,
        default: &str,
        channel: Option<&dyn Channel>,
    ) -> Result<Endpoint> {
        let written = self.or(name, default)?;
        let bad = || {
            Error::new(Kind::Usage, format!("{name} of {} is {written:?}", self.subject))
                .hint("write unix:run/haproxy.sock or tcp:127.0.0.1:9999")
        };
        let endpoint = if let Some(path) = written.strip_prefix("unix:") {
            Endpoint::Unix(self.path_of(path))
        } else if let Some(rest) = written.strip_prefix("tcp:") {
            let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
            Endpoint::Tcp(
                host.trim_matches(['[', ']']).to_owned(),
                port.parse().map_err(|_| bad())?,
            )
        } else {
            return Err(bad());
        };
        match channel {
            Some(channel) => channel.reach(&endpoint),
            None => Ok(endpoint),
        }
    }

    /// An absolute path on the server: relative ones begin at its home.
    pub fn path_of(&self, path: &str) -> String {
        match self.server.as_ref().and_then(|(_, _, home)| home.as_deref()) {
            Some(home) if !path.starts_with('/') => format!("{home}/{path}"),
            _ => path.to_owned(),
        }
    }

    /// The server's address.
    pub fn address(&self) -> Result<IpAddr> {
        self.server.as_ref().and_then(|(_, address, _)| *address).ok_or_else(|| {
            Error::new(Kind::Declined, format!("{} has no address", self.subject))
                .hint("launch it first")
        })
    }

    /// The environment of a script: every input that has a value, and apart the secrets among them.
    pub fn environment(&self) -> Result<(BTreeMap<String, String>, BTreeMap<String, Secret>)> {
        let (mut plain, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for (name, resolved) in &self.values {
            if resolved.value.is_secret() {
                secrets.insert(name.clone(), self.expand_secret(name, &resolved.value)?);
            } else if let Some(text) = self.expand(name, &resolved.value)? {
                plain.insert(name.clone(), text);
            }
        }
        Ok((plain, secrets))
    }

    fn expand(&self, name: &str, value: &Value) -> Result<Option<String>> {
        Ok(match value {
            Value::Text(text) => Some(text.clone()),
            Value::Blank => Some(String::new()),
            Value::Ignore | Value::Inherit => None,
            Value::Env { server, var } => Some(self.metadata_of(name, server.as_deref(), var)?),
            Value::Cred(_) | Value::Key(_) => {
                Some(self.expand_secret(name, value)?.expose().to_owned())
            }
            Value::Array(items) => {
                let items =
                    items.iter().map(|item| self.expand(name, item)).collect::<Result<Vec<_>>>()?;
                Some(items.into_iter().flatten().collect::<Vec<_>>().join(","))
            }
        })
    }

    fn expand_secret(&self, name: &str, value: &Value) -> Result<Secret> {
        match value {
            Value::Cred(credential) | Value::Key(credential) => {
                crate::credentials::credential(credential)
            }
            other => Ok(Secret::new(self.expand(name, other)?.unwrap_or_default())),
        }
    }

    fn metadata_of(&self, name: &str, server: Option<&str>, var: &str) -> Result<String> {
        let whose = match (server, &self.server) {
            (Some(other), _) => other,
            (None, Some((own, _, _))) => own.as_str(),
            (None, None) => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{name} is env:{var}, and a deployment has no metadata"),
                )
                .hint("name the server: env:Server Name:VAR"));
            }
        };
        let known = self.servers.get(whose).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!(
                    "{name} of {} names the server {whose:?}, which is not there",
                    self.subject
                ),
            )
            .hint("rs-server list shows the names")
        })?;
        known.get(var).cloned().ok_or_else(|| {
            Error::new(
                Kind::Declined,
                format!("{name} of {} wants {var} of {whose:?}, which has none yet", self.subject),
            )
            .hint(format!(
                "launch {whose:?} first; known: {}",
                known.keys().cloned().collect::<Vec<_>>().join(", ")
            ))
        })
    }
}

fn find(cloud: &dyn Cloud, deployment: &str) -> Result<Deployment> {
    cloud.deployments()?.into_iter().find(|d| d.name == deployment).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!("no deployment is called {deployment:?} in {}", cloud.place()),
        )
        .hint("rs-server apply FILE makes one")
    })
}
