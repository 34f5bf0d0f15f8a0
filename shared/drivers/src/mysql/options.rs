//! What must last over a restart of the server: lines in its own option file, between two markers, or a file of our
//! own in a folder that it includes.

use rs_contract::{Channel, Kind, Result};

/// Where the server reads options, as far as we reach it.
pub enum Place {
    /// `DB_OPTION_DIR`: a folder that the option file includes.
    Folder(String),
    /// `DB_OPTION_FILE`: the option file itself.
    File(String),
    /// Neither is known.
    Nowhere,
}

impl Place {
    fn path(&self, name: &str) -> Option<String> {
        match self {
            Place::Folder(folder) => Some(format!("{}/{name}.cnf", folder.trim_end_matches('/'))),
            Place::File(file) => Some(file.clone()),
            Place::Nowhere => None,
        }
    }

    /// Whether the lines are there; absent when no file can be reached.
    pub fn has(&self, channel: Option<&dyn Channel>, name: &str) -> Result<Option<bool>> {
        let (Some(channel), Some(path)) = (channel, self.path(name)) else { return Ok(None) };
        match (channel.get(&path), self) {
            (Ok(content), Place::File(_)) => Ok(Some(text(&content).contains(&begin(name)))),
            (Ok(_), _) => Ok(Some(true)),
            (Err(e), Place::File(_)) if e.kind() == Kind::NotFound => Ok(None),
            (Err(e), _) if e.kind() == Kind::NotFound => Ok(Some(false)),
            (Err(e), _) => Err(e),
        }
    }

    /// Puts the lines; whether a file could be reached.
    pub fn put(&self, channel: Option<&dyn Channel>, name: &str, lines: &str) -> Result<bool> {
        let (Some(channel), Some(path)) = (channel, self.path(name)) else { return Ok(false) };
        let old = match (channel.get(&path), self) {
            (Ok(content), Place::File(_)) => text(&content),
            (Err(e), Place::File(_)) if e.kind() == Kind::NotFound => return Ok(false),
            (Err(e), Place::File(_)) => return Err(e),
            _ => String::new(),
        };
        let new = with(&old, name, Some(lines));
        if new != old {
            channel.put(&path, new.as_bytes(), crate::bits::of(channel, &path)?)?;
        }
        Ok(true)
    }

    /// Takes the lines away; absent is fine.
    pub fn remove(&self, channel: Option<&dyn Channel>, name: &str) -> Result<()> {
        let (Some(channel), Some(path)) = (channel, self.path(name)) else { return Ok(()) };
        if let Place::Folder(_) = self {
            return channel.remove(&path);
        }
        match channel.get(&path) {
            Ok(content) => {
                let old = text(&content);
                let new = with(&old, name, None);
                if new == old {
                    return Ok(());
                }
                channel.put(&path, new.as_bytes(), crate::bits::of(channel, &path)?)
            }
            Err(e) if e.kind() == Kind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(content).into_owned()
}

fn begin(name: &str) -> String {
    format!("# {name} begin: by rs-dbsync")
}

/// The file with the block put at its end (the last line of an option counts), or without it.
fn with(old: &str, name: &str, lines: Option<&str>) -> String {
    let (begin, end) = (begin(name), format!("# {name} end"));
    let mut new = String::new();
    let mut inside = false;
    for line in old.lines() {
        if line == begin {
            inside = true;
        }
        if !inside {
            new.push_str(line);
            new.push('\n');
        }
        if line == end {
            inside = false;
        }
    }
    if let Some(lines) = lines {
        new.push_str(&format!("{begin}\n[mysqld]\n{lines}{end}\n"));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_last_once_and_goes_without_a_trace() {
        let file = "!include base.cnf\n\n[mysqld]\nread-only=1\n";
        let one = with(file, "rs-writes", Some("read_only = 1\n"));
        assert!(one.starts_with(file));
        assert!(one.ends_with("begin: by rs-dbsync\n[mysqld]\nread_only = 1\n# rs-writes end\n"));
        assert_eq!(with(&one, "rs-writes", Some("read_only = 1\n")), one);
        let two = with(&one, "rs-hold", Some("skip-slave-start\n"));
        assert_eq!(with(&with(&two, "rs-writes", None), "rs-hold", None), file);
        assert_eq!(with(file, "rs-hold", None), file);
    }
}
