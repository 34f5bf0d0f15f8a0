//! Files below a server's home, read and written by us for the server's user without a process for each.
//!
//! The kernel keeps every look-up below the home (openat2(2) with RESOLVE_BENEATH): a link that the server planted
//! leads nowhere outside. Only plain files that belong to the user are read, so that a hard link gives nothing away.
//! Whatever is not of that kind is left to [`super::files`]' other way, which goes as the user.

use std::ffi::OsStr;
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
        let Some((folder, name)) = self.folder(&below) else { return Tried::Otherwise };
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

    /// Removes a plain file or a link; absent is fine.
    pub fn remove(&self, path: &Path) -> Tried<()> {
        let Some(below) = self.below(path) else { return Tried::Otherwise };
        let Some((folder, name)) = self.folder(&below) else { return Tried::Otherwise };
        match unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Tried::Done(()),
            Err(_) => Tried::Otherwise,
        }
    }

    /// The folder of a file, open, when it is the user's own and he may write in it; with the file's name.
    fn folder<'a>(&self, below: &'a Path) -> Option<(OwnedFd, &'a OsStr)> {
        let (name, folder) = (below.file_name()?, below.parent()?);
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = self.home().and_then(|home| beneath(&home, folder, flags)).ok()?;
        let stat = fstat(&folder).ok()?;
        (stat.st_uid == self.user.uid && stat.st_mode & 0o300 == 0o300).then_some((folder, name))
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
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(home.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    /// A folder of ours, and we as its user.
    fn place() -> (tempfile::TempDir, User) {
        let folder = tempfile::tempdir().unwrap();
        let meta = fs::metadata(folder.path()).unwrap();
        (folder, User { name: "we".into(), uid: meta.uid(), gid: meta.gid() })
    }

    fn text(tried: Tried<Vec<u8>>) -> Option<String> {
        match tried {
            Tried::Done(content) => Some(String::from_utf8(content).unwrap()),
            _ => None,
        }
    }

    fn done<T>(tried: &Tried<T>) -> bool {
        matches!(tried, Tried::Done(_))
    }

    #[test]
    fn what_is_written_is_read_and_removed_and_nothing_else_is_left() {
        let (folder, user) = place();
        let home = folder.path();
        let files = Beneath { home, user: &user };
        fs::create_dir(home.join("etc")).unwrap();
        let file = home.join("etc/x");
        for content in ["one", "", "three\n"] {
            assert!(done(&files.put(&file, content.as_bytes(), 0o640)));
            assert_eq!(text(files.get(&file)).unwrap(), content);
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(done(&files.remove(&file)));
        assert!(done(&files.remove(&file)));
        assert!(
            matches!(files.get(&file), Tried::Failed(e) if e.kind() == std::io::ErrorKind::NotFound)
        );
        assert_eq!(fs::read_dir(home.join("etc")).unwrap().count(), 0);
    }

    #[test]
    fn links_lead_about_in_the_folder_and_never_out_of_it() {
        let (folder, user) = place();
        let (outside, _) = place();
        let home = folder.path();
        let files = Beneath { home, user: &user };
        let secret = outside.path().join("secret");
        fs::write(&secret, "s").unwrap();
        fs::create_dir(home.join("real")).unwrap();
        fs::write(home.join("real/x"), "x").unwrap();
        symlink("real", home.join("inside")).unwrap();
        assert_eq!(text(files.get(&home.join("inside/x"))).unwrap(), "x");
        assert!(done(&files.put(&home.join("inside/y"), b"y", 0o600)));
        assert_eq!(fs::read(home.join("real/y")).unwrap(), b"y");

        let up = format!("../{}", outside.path().file_name().unwrap().to_string_lossy());
        symlink(outside.path(), home.join("absolute")).unwrap();
        symlink(&up, home.join("up")).unwrap();
        symlink(format!("/proc/{}/root", std::process::id()), home.join("magic")).unwrap();
        symlink(&secret, home.join("file")).unwrap();
        let magic = home.join("magic").join(outside.path().strip_prefix("/").unwrap());
        for way in [home.join("absolute"), home.join("up"), home.join(&up), magic] {
            assert!(matches!(files.get(&way.join("secret")), Tried::Otherwise));
            assert!(matches!(files.put(&way.join("secret"), b"x", 0o644), Tried::Otherwise));
            assert!(matches!(files.remove(&way.join("secret")), Tried::Otherwise));
        }
        assert!(matches!(files.get(&home.join("file")), Tried::Otherwise));
        // a link in the file's own place is replaced, not followed
        assert!(done(&files.put(&home.join("file"), b"new", 0o644)));
        assert!(home.join("file").symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read(&secret).unwrap(), b"s");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_of_the_user_is_left_to_the_other_way() {
        let (folder, user) = place();
        let home = folder.path();
        let files = Beneath { home, user: &user };
        fs::write(home.join("x"), "x").unwrap();
        fs::create_dir(home.join("d")).unwrap();
        let pipe = home.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        let left = |tried: Tried<()>| matches!(tried, Tried::Otherwise);
        let got = |tried: Tried<Vec<u8>>| matches!(tried, Tried::Otherwise);
        // a pipe would keep a reader for ever
        assert!(got(files.get(&pipe)) && got(files.get(&home.join("d"))));
        assert!(got(files.get(Path::new("/etc/passwd"))));
        assert!(
            left(files.put(&home.join("d"), b"", 0o600)) && left(files.remove(&home.join("d")))
        );
        assert!(left(files.put(&home.join("none/x"), b"", 0o600)));
        let other = User { uid: user.uid.wrapping_add(1), ..user.clone() };
        let others = Beneath { home, user: &other };
        assert!(got(others.get(&home.join("x"))) && left(others.remove(&home.join("x"))));
        assert!(left(others.put(&home.join("x"), b"", 0o600)));
        fs::set_permissions(home.join("d"), PermissionsExt::from_mode(0o500)).unwrap();
        assert!(left(files.put(&home.join("d/x"), b"", 0o600)));
        assert_eq!(fs::read_dir(home).unwrap().count(), 3);
    }
}
