//! The managed cloud's words in the state store: keys, and what stands under them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Counts everything that is made, so that the order of creation is kept.
pub const ORDER: &str = "cloud/order";
/// Counts runs of scripts.
pub const RUNS: &str = "cloud/run";
/// Prefix of every deployment.
pub const DEPLOYMENTS: &str = "cloud/deployment/";
/// Prefix of every template's newest revision.
pub const HEADS: &str = "cloud/template-head/";
/// Prefix of every address that is taken.
pub const ADDRESSES: &str = "cloud/address/";

/// Prefix of every server of every deployment.
pub const SERVERS: &str = "cloud/server/";

/// An object as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored<T> {
    /// When it was made, counted with everything else.
    pub order: u64,
    /// Instances made so far (arrays).
    #[serde(default)]
    pub made: u64,
    /// Itself.
    pub is: T,
}

/// Which machine an instance has, and who made it: kept apart, so that a changed site file moves no running machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineRow {
    /// The site file's `Machines` as it was at the launch.
    pub machines: serde_json::Value,
    /// The deployment.
    pub deployment: String,
    /// The server.
    pub server: String,
}

/// A name as one part of a key: a slash in it must not look like the next part.
pub fn part(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

/// A deployment.
pub fn deployment(name: &str) -> String {
    format!("{DEPLOYMENTS}{}", part(name))
}

/// Every server of a deployment.
pub fn servers(deployment: &str) -> String {
    format!("{SERVERS}{}/", part(deployment))
}

/// A server.
pub fn server(deployment: &str, name: &str) -> String {
    servers(deployment) + &part(name)
}

/// Every array of a deployment.
pub fn arrays(deployment: &str) -> String {
    format!("cloud/array/{}/", part(deployment))
}

/// An array.
pub fn array(deployment: &str, name: &str) -> String {
    arrays(deployment) + &part(name)
}

/// The newest revision of a template.
pub fn head(template: &str) -> String {
    format!("{HEADS}{}", part(template))
}

/// One revision of a template.
pub fn template(name: &str, revision: u32) -> String {
    format!("cloud/template/{}/{revision:010}", part(name))
}

/// The machine of an instance.
pub fn machine(id: &str) -> String {
    format!("cloud/machine/{}", part(id))
}

/// An address that is taken.
pub fn address(address: IpAddr) -> String {
    format!("{ADDRESSES}{address}")
}

/// A run of a script.
pub fn run(id: &str) -> String {
    format!("cloud/run/{}", part(id))
}

/// Its output.
pub fn output(id: &str) -> String {
    format!("cloud/output/{}", part(id))
}

/// The lock under which scripts of one server run.
pub fn scripts_lock(deployment: &str, server: &str) -> String {
    format!("scripts/{}/{}", part(deployment), part(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_reaches_into_the_keys_of_another() {
        assert!(!server("a/b", "c").starts_with(&servers("a")));
        assert_ne!(server("a", "b%2Fc"), server("a", "b/c"));
        assert_ne!(server("a/b", "c"), server("a", "b/c"));
    }
}
