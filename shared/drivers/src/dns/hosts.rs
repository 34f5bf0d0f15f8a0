//! `hosts`: a file in the format of /etc/hosts, named by `DNS_HOSTS_FILE`.
//!
//! We own the lines between two marker comments and write them only; every other line stays as it is. A name that
//! stands outside of them is somebody else's, and is declined. There is no time to live.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rs_contract::{Dns, Error, Kind, Result};

use crate::settings::Settings;

const BEGIN: &str =
    "# rs-hosts begin (written by rs-lbctl; lines between these marks are replaced)";
const END: &str = "# rs-hosts end";

/// A hosts file on this machine.
pub struct Hosts {
    path: PathBuf,
}

impl Hosts {
    /// Of these inputs.
    pub fn open(settings: &Settings) -> Result<Self> {
        Ok(Hosts { path: settings.path_of(&settings.need("DNS_HOSTS_FILE")?).into() })
    }

    fn failed(&self, doing: &str, e: &std::io::Error) -> Error {
        let kind = match e.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Failed,
        };
        Error::new(kind, format!("{} cannot be {doing}", self.place()))
            .because(e)
            .hint("DNS_HOSTS_FILE must be a file that this user may write, in a folder likewise")
    }

    fn text(&self) -> Result<String> {
        std::fs::read_to_string(&self.path).map_err(|e| self.failed("read", &e))
    }
}

impl Dns for Hosts {
    fn place(&self) -> String {
        format!("hosts file {}", self.path.display())
    }

    fn lookup(&self, name: &str) -> Result<(Vec<Ipv4Addr>, Option<u32>)> {
        rs_model::name::host(name)?;
        let mut found: Vec<Ipv4Addr> = addresses(&self.text()?, name)
            .filter_map(|(address, _)| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok((found, None))
    }

    fn has_aaaa(&self, name: &str) -> Result<bool> {
        rs_model::name::host(name)?;
        Ok(addresses(&self.text()?, name).any(|(address, _)| address.is_ipv6()))
    }

    fn try_key(&self) -> Result<String> {
        let folder = self.path.parent().unwrap_or(std::path::Path::new("/"));
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)
            .map(|()| format!("{} can be replaced", self.path.display()))
            .map_err(|e| self.failed("replaced", &e.into()))
    }

    fn set(&self, name: &str, addresses: &[Ipv4Addr], _ttl_seconds: u32) -> Result<()> {
        rs_model::name::host(name)?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        // two tools at once would lose a line; the lock is on the folder, since the file itself is replaced
        let lock = File::open(folder).map_err(|e| self.failed("locked", &e))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| self.failed("locked", &e.into()))?;
        let before = self.text()?;
        let after = replaced(&before, name, addresses).map_err(|line| {
            Error::new(Kind::Declined, format!("{name} stands in line {line} of {}", self.place()))
                .because("that line is not ours")
                .hint("remove the name from it, then try again")
        })?;
        if after == before {
            return Ok(());
        }
        let like = std::fs::metadata(&self.path).map_err(|e| self.failed("read", &e))?;
        let mut file =
            tempfile::NamedTempFile::new_in(folder).map_err(|e| self.failed("written", &e))?;
        file.write_all(after.as_bytes())
            .and_then(|()| file.as_file().set_permissions(like.permissions()))
            .and_then(|()| {
                // as root: the owner stays who it was
                let (own, ours) = (like.uid(), rustix::process::getuid().as_raw());
                match own == ours {
                    true => Ok(()),
                    false => std::os::unix::fs::fchown(file.as_file(), Some(own), Some(like.gid())),
                }
            })
            .and_then(|()| file.as_file().sync_all())
            .map_err(|e| self.failed("written", &e))?;
        file.persist(&self.path).map_err(|e| self.failed("replaced", &e.error))?;
        lock.sync_all().map_err(|e| self.failed("flushed", &e))?;
        Ok(())
    }
}

/// Addresses of a name with their line numbers from 1.
fn addresses<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (IpAddr, usize)> + 'a {
    text.lines().enumerate().filter_map(move |(at, line)| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| same(word, name)).then_some((address, at + 1))
    })
}

fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.'))
}

/// The text with these addresses of `name` in our block; the line number of a line that is not ours as the error.
fn replaced(text: &str, name: &str, addresses: &[Ipv4Addr]) -> std::result::Result<String, usize> {
    let (mut outside, mut ours, mut inside, mut at_block) = (Vec::new(), Vec::new(), false, None);
    for (at, line) in text.lines().enumerate() {
        match line {
            _ if line.starts_with("# rs-hosts begin") => {
                inside = true;
                at_block.get_or_insert(outside.len());
            }
            END => inside = false,
            _ if inside => ours.push(line.to_owned()),
            _ => {
                let words = line.split('#').next().unwrap_or_default();
                let mut words = words.split_whitespace();
                let v4 = words.next().is_some_and(|word| word.parse::<Ipv4Addr>().is_ok());
                if v4 && words.any(|word| same(word, name)) {
                    return Err(at + 1);
                }
                outside.push(line.to_owned());
            }
        }
    }
    ours.retain(|line| !line.split_whitespace().skip(1).any(|word| same(word, name)));
    let mut wanted = addresses.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    ours.extend(wanted.iter().map(|a| format!("{a}\t{}", name.trim_end_matches('.'))));
    ours.sort();
    let mut lines = outside;
    if !ours.is_empty() {
        ours.insert(0, BEGIN.to_owned());
        ours.push(END.to_owned());
        let at = at_block.unwrap_or(lines.len());
        lines.splice(at..at, ours);
    }
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    #[test]
    fn only_our_block_is_written_and_an_empty_one_goes() {
        let before = "127.0.0.1\tlocalhost\n# mine\n";
        let one = replaced(before, "test1.mysite.com", &[B, A]).unwrap();
        assert!(one.starts_with(before), "{one}");
        assert_eq!(addresses(&one, "TEST1.mysite.com.").count(), 2);
        assert_eq!(replaced(&one, "test1.mysite.com", &[A, B]).unwrap(), one, "twice is once");
        let two = replaced(&one, "www.mysite.com", &[A]).unwrap();
        assert_eq!(addresses(&two, "test1.mysite.com").count(), 2);
        let gone = replaced(&two, "test1.mysite.com", &[]).unwrap();
        assert_eq!(replaced(&gone, "www.mysite.com", &[]).unwrap(), before);
    }

    #[test]
    fn a_line_that_is_not_ours_is_named() {
        assert_eq!(replaced("# x\n127.0.0.9 a www.mysite.com\n", "www.mysite.com", &[A]), Err(2));
        replaced("# 127.0.0.9 www.mysite.com\n", "www.mysite.com", &[A]).unwrap();
    }
}
