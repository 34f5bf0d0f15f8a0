//! Objects in the state store: read, and changed by compare-and-set.

use std::net::IpAddr;
use std::time::Duration;

use rs_contract::{Entry, Error, Expect, Kind, Result, Txn};
use rs_model::{Array, Deployment, Server};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::Managed;
use super::keys::{self, Stored};

/// How often a change is tried again when somebody else was faster.
const TRIES: u32 = 200;

/// An object as it was read.
pub struct Read<T> {
    /// The version that a change names.
    pub version: u64,
    /// The object.
    pub stored: Stored<T>,
}

impl Managed {
    pub(super) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Read<T>>> {
        let Some(entry) = self.state.get(key)? else { return Ok(None) };
        Ok(Some(Read { version: entry.version, stored: decode(entry)? }))
    }

    /// Everything under a prefix, in the order of creation.
    pub(super) fn all<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<Stored<T>>> {
        let mut found =
            self.state.list(prefix)?.into_iter().map(decode).collect::<Result<Vec<Stored<T>>>>()?;
        found.sort_by_key(|stored| stored.order);
        Ok(found)
    }

    /// Changes an object: `edit` says whether there is anything to write, and may add to the transaction. It is
    /// called again with what is there when somebody else was faster.
    pub(super) fn change<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        absent: impl Fn() -> Error,
        mut edit: impl FnMut(&mut Stored<T>, &mut Txn) -> Result<bool>,
    ) -> Result<T> {
        self.again(|| {
            let mut read = self.read::<T>(key)?.ok_or_else(&absent)?;
            let mut txn = Txn::default();
            if edit(&mut read.stored, &mut txn)? {
                txn.expect.push(Expect::Version(key.to_owned(), read.version));
                txn.put.push((key.to_owned(), encode(&read.stored)?));
                self.state.commit(&txn)?;
            }
            Ok(read.stored.is)
        })
    }

    /// Tries until nobody else was faster.
    pub(super) fn again<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            match work() {
                Err(e) if e.is_race() && tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(u64::from(tries % 16)));
                }
                result => return result,
            }
        }
    }

    /// Makes an object that is not there; false when it is there already.
    pub(super) fn make<T: Serialize>(&self, key: &str, is: &T, mut txn: Txn) -> Result<bool> {
        let stored = Stored { order: self.state.next(keys::ORDER)?, made: 0, is };
        txn.expect.push(Expect::Absent(key.to_owned()));
        txn.put.push((key.to_owned(), encode(&stored)?));
        match self.state.commit(&txn) {
            Ok(()) => Ok(true),
            Err(e) if e.is_race() && self.state.get(key)?.is_some() => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub(super) fn find_deployment(&self, name: &str) -> Result<Deployment> {
        if let Some(read) = self.read::<Deployment>(&keys::deployment(name))? {
            return Ok(read.stored.is);
        }
        let assumed = self.assumed().iter().find(|assumed| assumed.name == name).cloned();
        assumed.ok_or_else(|| self.no_deployment(name))
    }

    pub(super) fn find_server(&self, deployment: &str, name: &str) -> Result<Server> {
        let read = self.read::<Server>(&keys::server(deployment, name))?;
        read.map(|read| read.stored.is).ok_or_else(|| self.no_server(deployment, name))
    }

    pub(super) fn find_array(&self, deployment: &str, name: &str) -> Result<Array> {
        let read = self.read::<Array>(&keys::array(deployment, name))?;
        read.map(|read| read.stored.is).ok_or_else(|| self.no_array(deployment, name))
    }

    /// Addresses that a new machine may not get: those that were given, and those of servers that are named by
    /// address, whether or not anything answers there now. A member is known by its address.
    pub(super) fn used_addresses(&self) -> Result<Vec<IpAddr>> {
        let given = self.state.list(keys::ADDRESSES)?;
        let mut used: Vec<IpAddr> = given
            .iter()
            .filter_map(|entry| entry.key.strip_prefix(keys::ADDRESSES)?.parse().ok())
            .collect();
        let servers = self.all::<Server>(keys::SERVERS)?.into_iter().map(|stored| stored.is);
        used.extend(servers.filter(|server| server.foreign).filter_map(|server| server.address));
        Ok(used)
    }

    pub(super) fn change_server(
        &self,
        deployment: &str,
        name: &str,
        edit: impl FnMut(&mut Stored<Server>, &mut Txn) -> Result<bool>,
    ) -> Result<Server> {
        let key = keys::server(deployment, name);
        self.change(&key, || self.no_server(deployment, name), edit)
    }

    pub(super) fn change_array(
        &self,
        deployment: &str,
        name: &str,
        edit: impl FnMut(&mut Stored<Array>, &mut Txn) -> Result<bool>,
    ) -> Result<Array> {
        let key = keys::array(deployment, name);
        self.change(&key, || self.no_array(deployment, name), edit)
    }

    pub(super) fn no_deployment(&self, name: &str) -> Error {
        Error::new(Kind::NotFound, format!("no deployment is called {name:?} in {}", self.word()))
            .hint("rs-server apply FILE makes one")
    }

    pub(super) fn no_server(&self, deployment: &str, name: &str) -> Error {
        Error::new(Kind::NotFound, format!("no server of {deployment:?} is called {name:?}"))
            .hint("rs-server list --all shows the names")
    }

    pub(super) fn no_array(&self, deployment: &str, name: &str) -> Error {
        Error::new(Kind::NotFound, format!("no array of {deployment:?} is called {name:?}"))
            .hint("rs-server list --all shows the names")
    }
}

/// As it is stored.
pub fn encode(value: &impl Serialize) -> Result<Json> {
    serde_json::to_value(value)
        .map_err(|e| Error::new(Kind::Failed, "an object cannot be written").because(e))
}

/// As it was stored.
pub fn decode<T: DeserializeOwned>(entry: Entry) -> Result<T> {
    serde_json::from_value(entry.value).map_err(|e| {
        Error::new(Kind::Failed, format!("the entry {} cannot be read", entry.key))
            .because(e)
            .hint("it was written by another version, or by hand")
    })
}
