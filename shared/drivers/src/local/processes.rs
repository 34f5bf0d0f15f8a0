//! Which processes of this host belong to a server.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// One process, as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its process group's.
    pub group: i32,
    /// Its session's.
    pub session: i32,
    /// Whether it sits at a terminal.
    pub terminal: bool,
}

/// Every living process. One that ends while we look is left out; a zombie is none.
pub fn all() -> Vec<Process> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    folder
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| {
            parse_stat(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
        })
        .collect()
}

/// Reads `/proc/PID/stat`; the program's name in it may hold blanks and parentheses.
fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let mut number = || fields.next()?.parse().ok();
    Some(Process {
        pid,
        parent: number()?,
        group: number()?,
        session: number()?,
        terminal: number()? != 0,
    })
}

/// The processes of the server `id`: those that carry its cookie, and those that work below its folder (a daemon may
/// overwrite its environment). A person's shell that stands in the folder is spared, and so are we and our parents.
pub fn of_machine(id: &str, home: &Path) -> Vec<i32> {
    let cookie = format!("RS_MACHINE={id}");
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    let everybody = all();
    let ours = ancestors(&everybody);
    everybody
        .iter()
        .filter(|process| !ours.contains(&process.pid))
        .filter(|process| {
            has_cookie(process.pid, &cookie)
                || (!process.terminal
                    && std::fs::read_link(format!("/proc/{}/cwd", process.pid))
                        .is_ok_and(|cwd| cwd.starts_with(&home)))
        })
        .map(|process| process.pid)
        .collect()
}

fn has_cookie(pid: i32, cookie: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
        environ.split(|byte| *byte == 0).any(|entry| entry == cookie.as_bytes())
    })
}

/// We ourselves and all above us.
fn ancestors(everybody: &[Process]) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or(0);
    while pid > 0 && found.insert(pid) {
        pid = everybody.iter().find(|process| process.pid == pid).map_or(0, |p| p.parent);
    }
    found
}

/// A command's whole tree: its children and theirs, and whoever shares a process group or session with one of them
/// and was begun by it.
pub fn tree(root: i32) -> Vec<i32> {
    let everybody = all();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        for process in &everybody {
            if found.contains(&process.parent)
                || found.contains(&process.group)
                || found.contains(&process.session)
            {
                found.insert(process.pid);
            }
        }
        if found.len() == before {
            break;
        }
    }
    everybody.iter().map(|process| process.pid).filter(|pid| found.contains(pid)).collect()
}

/// Sends a signal; a process that is gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// What a process calls itself, for messages.
pub fn title(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} ({pid})", name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let process = parse_stat(7, "7 (a ) b) S 1 5 4 34816 7 4194560 1").unwrap();
        assert_eq!(process, Process { pid: 7, parent: 1, group: 5, session: 4, terminal: true });
        assert_eq!(parse_stat(7, "7 (gone) Z 1 5 4 0 -1 4194560 1"), None);
    }

    #[test]
    fn we_and_our_parents_are_never_found() {
        let here = std::env::current_dir().unwrap();
        let found = of_machine("i-none", &here);
        assert!(!found.contains(&i32::try_from(std::process::id()).unwrap()));
    }
}
