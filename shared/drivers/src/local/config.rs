//! What the site file says of machines on this host, and which user servers run as.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use rs_contract::{Error, Kind, Result};
use serde::Deserialize;
use serde_json::Value as Json;

/// `PATH` of scripts when the site file names none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// As written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "Root")]
    root: PathBuf,
    #[serde(rename = "Addresses")]
    addresses: String,
    #[serde(rename = "Path", default)]
    path: Option<String>,
    #[serde(rename = "User", default)]
    user: Option<String>,
}

/// A user that servers run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of its primary group.
    pub gid: u32,
}

/// Where servers live, what addresses they get, and as whom they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Holds one folder per server.
    pub root: PathBuf,
    /// First address that a server may get.
    pub first: u32,
    /// Last one.
    pub last: u32,
    /// `PATH` of scripts.
    pub path: String,
    /// The other user that commands run as; absent when it is our own.
    pub user: Option<User>,
    /// Name of the user that commands run as.
    pub user_name: String,
}

impl Config {
    /// Reads the site file's part. Somebody who is not root runs servers as himself, whatever `User` says.
    pub fn read(written: &Json) -> Result<Config> {
        let written: Written = serde_json::from_value(written.clone()).map_err(|e| {
            Error::new(Kind::Usage, "Machines: Local is not as it should be").because(e).hint(
                r#"write Local: {Root: /var/lib/rs/site, Addresses: 127.91.3.0/24, Path: /usr/bin:/bin, User: nobody}"#,
            )
        })?;
        if !written.root.is_absolute() {
            return Err(Error::new(
                Kind::Usage,
                format!("Root {} of Machines: Local is no absolute path", written.root.display()),
            )
            .of_key("Root")
            .hint("write e.g. Root: /var/lib/rs/site"));
        }
        let (first, last) = range(&written.addresses)?;
        let own = rustix::process::getuid().as_raw();
        let user = match &written.user {
            Some(name) if own == 0 => Some(look_up(name)?).filter(|user| user.uid != 0),
            _ => None,
        };
        let user_name = match &user {
            Some(user) => user.name.clone(),
            None => name_of(own),
        };
        Ok(Config {
            root: written.root,
            first,
            last,
            path: written.path.unwrap_or_else(|| PATH.to_owned()),
            user,
            user_name,
        })
    }
}

/// First and last address of a range such as `127.91.3.0/24`, without its first and last number.
fn range(written: &str) -> Result<(u32, u32)> {
    let bad = || {
        Error::new(
            Kind::Usage,
            format!("Addresses {written:?} of Machines: Local is no range of loopback addresses"),
        )
        .of_key("Addresses")
        .hint("write e.g. Addresses: 127.91.3.0/24 (in 127.0.0.0/8, /9 to /30)")
    };
    let (base, bits) = written.split_once('/').ok_or_else(bad)?;
    let base: Ipv4Addr = base.parse().map_err(|_| bad())?;
    let bits: u32 = bits.parse().map_err(|_| bad())?;
    if !base.is_loopback() || !(9..=30).contains(&bits) {
        return Err(bad());
    }
    let size = 1u32 << (32 - bits);
    let network = u32::from(base) & !(size - 1);
    Ok((network + 1, network + size - 2))
}

fn look_up(name: &str) -> Result<User> {
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = match in_passwd(&known, |fields| fields.first() == Some(&name)) {
        Some(user) => Some(user),
        // users of a directory service are not in the file
        None => std::process::Command::new("getent")
            .args(["passwd", "--", name])
            .output()
            .ok()
            .and_then(|out| in_passwd(&String::from_utf8_lossy(&out.stdout), |_| true)),
    };
    known.ok_or_else(|| {
        Error::new(Kind::Usage, format!("User {name:?} of Machines: Local is not known here"))
            .of_key("User")
            .hint("name a user of this machine, e.g. nobody")
    })
}

fn name_of(uid: u32) -> String {
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = uid.to_string();
    in_passwd(&known, |fields| fields.get(2) == Some(&uid.as_str())).map_or(uid, |user| user.name)
}

fn in_passwd(text: &str, wanted: impl Fn(&[&str]) -> bool) -> Option<User> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        if fields.len() < 4 || !wanted(&fields) {
            return None;
        }
        Some(User {
            name: fields[0].to_owned(),
            uid: fields[2].parse().ok()?,
            gid: fields[3].parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_range_leaves_out_its_ends_and_stays_on_loopback() {
        let (first, last) = range("127.93.4.0/24").unwrap();
        assert_eq!(Ipv4Addr::from(first).to_string(), "127.93.4.1");
        assert_eq!(Ipv4Addr::from(last).to_string(), "127.93.4.254");
        for bad in ["127.0.0.0/8", "10.0.0.0/24", "127.0.0.1", "127.0.0.0/31", "x/24"] {
            range(bad).unwrap_err();
        }
    }

    #[test]
    fn a_wrong_key_and_a_relative_root_are_refused() {
        let bad = Config::read(&json!({"Root": "/x", "Addresses": "127.9.9.0/24", "Rot": 1}))
            .unwrap_err();
        assert!(bad.to_string().contains("Rot"), "{bad}");
        Config::read(&json!({"Root": "x", "Addresses": "127.9.9.0/24"})).unwrap_err();
        Config::read(&json!({"Root": "/x", "Addresses": "127.9.9.0/24"})).unwrap();
    }
}
