//! Files below a server's home, read and written by us for the server's user without a process for each.
//!
//! The kernel keeps every look-up below the home (openat2(2) with RESOLVE_BENEATH): a link that the server planted
//! leads nowhere outside. Only plain files that belong to the user are read, so that a hard link gives nothing away.
//! Whatever is not of that kind is left to [`super::files`]' other way, which goes as the user.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fchmod, fchown, fstat, fsync, open, openat,
    openat2, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::config::User;

/// What came of it: done, a failure that is final, or not for this way.
pub enum Tried<T> {
    /// Done.
    Done(T),
    /// It failed, and the other way would fail too.
    Failed(std::io::Error),
    /// Not of the kind that is safe here: go as the user.
    Otherwise,
}

/// The folder that nothing leads out of, and whose files they are.
pub struct Beneath<'a> {
    /// Absolute.
    pub home: &'a Path,
    /// Owner of the files.
    pub user: &'a User,
}

impl Beneath<'_> {
    /// Reads a plain file of the user.
    pub fn get(&self, path: &Path) -> Tried<Vec<u8>> {
        let Some(below) = self.below(path) else { return Tried::Otherwise };
        // O_NONBLOCK: a pipe must not hold us up before we have seen that it is one
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match self.home().and_then(|home| beneath(&home, &below, flags)) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Tried::Failed(Errno::NOENT.into()),
            Err(_) => return Tried::Otherwise,
        };
        match fstat(&file) {
            Ok(stat)
                if FileType::from_raw_mode(stat.st_mode).is_file()
                    && stat.st_uid == self.user.uid => {}
            _ => return Tried::Otherwise,
        }
        let mut content = Vec::new();
        match std::fs::File::from(file).read_to_end(&mut content) {
            Ok(_) => Tried::Done(content),
            Err(e) => Tried::Failed(e),
        }
    }

    /// Writes a new file beside the old one, flushes it, and renames it into its place.
    pub fn put(&self, path: &Path, content: &[u8], mode: u32) -> Tried<()> {
        let Some(below) = self.below(path) else { return Tried::Otherwise };
        let (Some(name), Some(folder)) = (below.file_name(), below.parent()) else {
            return Tried::Otherwise;
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(folder) = self.home().and_then(|home| beneath(&home, folder, flags)) else {
            return Tried::Otherwise;
        };
        let is_folder = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode).is_dir();
        if statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_folder) {
            return Tried::Otherwise;
        }
        let mut random = [0_u8; 8];
        if getrandom::fill(&mut random).is_err() {
            return Tried::Otherwise;
        }
        let fresh: String = std::iter::once(".rs-".to_owned())
            .chain(random.iter().map(|byte| format!("{byte:02x}")))
            .collect();
        match self.write(&folder, &fresh, content, mode) {
            Ok(()) => {}
            Err(e) => {
                let _ = unlinkat(&folder, &fresh, AtFlags::empty());
                return Tried::Failed(e);
            }
        }
        match renameat(&folder, &fresh, &folder, name).and_then(|()| fsync(&folder)) {
            Ok(()) => Tried::Done(()),
            Err(e) => {
                let _ = unlinkat(&folder, &fresh, AtFlags::empty());
                Tried::Failed(e.into())
            }
        }
    }

    fn write(
        &self,
        folder: &OwnedFd,
        fresh: &str,
        content: &[u8],
        mode: u32,
    ) -> std::io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(folder, fresh, flags, Mode::RUSR | Mode::WUSR)?;
        fchown(&file, Some(Uid::from_raw(self.user.uid)), Some(Gid::from_raw(self.user.gid)))?;
        fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        let mut file = std::fs::File::from(file);
        file.write_all(content)?;
        file.sync_all()
    }

    fn home(&self) -> Result<OwnedFd, Errno> {
        open(self.home, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    /// The path as seen from the home; absent when it is not written as one below it.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(self.home).ok()?;
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        (plain && !below.as_os_str().is_empty()).then(|| below.to_owned())
    }
}

fn beneath(home: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(home.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}
