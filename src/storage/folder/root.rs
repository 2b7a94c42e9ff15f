//! A folder that no path leads out of: every name below it is looked up one by one, and never through a link.
//!
//! A [`FilePath`] has no `..` in it, and what may be a link on the disk is refused where it is met: so whoever writes a
//! manifest, or puts links into the folder beforehand, reaches nothing outside it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{
    manifest::FilePath,
    storage::{Stamp, own},
};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The mode of a folder that nobody else is to write into, and of one like any other.
const PRIVATE: Mode = Mode::from_raw_mode(0o755);
const USUAL: Mode = Mode::from_raw_mode(0o777);

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    /// To read and write.
    Change,
    /// To read and write, and made when missing, with the folders on the way.
    Make,
}

/// An open folder.
#[derive(Debug)]
pub struct Root {
    file: File,
    /// Links below it are followed, to read: whoever asked for that vouches for what they lead to, and nothing is written
    /// through one.
    follows: bool,
}

/// A file as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    pub stamp: Stamp,
    /// Bytes of the disk that are set aside for it.
    pub room: u64,
    pub executable: bool,
    /// It is this user's, and nobody else may write it.
    pub alone: bool,
}

impl Root {
    /// Opens a folder that is there; not through a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
        Ok(Self { file, follows: false })
    }

    /// The same, to read what links below it lead to as well.
    pub fn open_with_links(path: &Path) -> io::Result<Self> {
        Self::open(path).map(|root| Self { follows: true, ..root })
    }

    /// Opens another folder as this one was opened, or this one anew.
    pub fn open_alike(&self, path: &Path) -> io::Result<Self> {
        Self::open(path).map(|root| Self { follows: self.follows, ..root })
    }

    /// The folder itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The plain file at this path, looked at; None if nothing is there.
    pub fn look(&self, path: &FilePath) -> io::Result<Option<There>> {
        let (folder, name) = match self.folder_of(path, None) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let flags = if self.follows { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        match rustix::fs::statat(folder.as_fd(), name, flags) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Ok(Some(there(&stat))),
            Ok(_) => Err(no_plain_file(path)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the plain file at this path.
    pub fn open_file(&self, path: &FilePath, access: Access) -> io::Result<File> {
        let (folder, name) = self.folder_of(path, (access == Access::Make).then_some(PRIVATE))?;
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Change => OFlags::RDWR,
            Access::Make => OFlags::RDWR | OFlags::CREATE,
        };
        let kind = if self.follows && access == Access::Read { FILE.difference(OFlags::NOFOLLOW) } else { FILE };
        let opened = rustix::fs::openat(folder.as_fd(), name, flags | kind, Mode::from_raw_mode(0o644));
        let file: File = match opened {
            Ok(opened) => opened.into(),
            Err(Errno::LOOP | Errno::ISDIR) => return Err(no_plain_file(path)),
            Err(error) => return Err(error.into()),
        };
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(no_plain_file(path)),
        }
    }

    /// Gives others these rights on the file at this path, and on the folders on the way.
    pub fn share(&self, path: &FilePath, rights: u32) -> io::Result<()> {
        let mut folder = Folder::Root(self.file.as_fd());
        for name in path.components() {
            share(folder.as_fd(), rights)?;
            match below(folder.as_fd(), name, false) {
                Ok(below) => folder = Folder::Below(below),
                Err(_) => {
                    let file = rustix::fs::openat(folder.as_fd(), name, OFlags::RDONLY | FILE, Mode::empty())?;
                    share(file.as_fd(), rights)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the right to write from everybody but the owner: of the folder itself, and of these files in it.
    pub fn keep<'a>(&self, paths: impl Iterator<Item = &'a FilePath>) -> io::Result<()> {
        own::keep(&self.file)?;
        for path in paths {
            own::keep(&self.open_file(path, Access::Read)?)?;
        }
        Ok(())
    }

    /// Makes the file at this path a program, for those who may read it.
    pub fn make_executable(&self, path: &FilePath) -> io::Result<()> {
        let (folder, name) = self.folder_of(path, None)?;
        let file = rustix::fs::openat(folder.as_fd(), name, OFlags::RDONLY | FILE, Mode::empty())?;
        let mode = Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        let readers = Mode::from_raw_mode((mode.bits() & 0o444) >> 2);
        Ok(rustix::fs::fchmod(&file, mode | readers)?)
    }

    /// Moves the file at this path to the same path below another folder, where nothing is: an error of the kind
    /// `AlreadyExists` if something is. The folders on the way are made.
    pub fn move_to_new(&self, path: &FilePath, other: &Root) -> io::Result<()> {
        let (from, name) = self.folder_of(path, None)?;
        let (to, _) = other.folder_of(path, Some(USUAL))?;
        #[cfg(target_os = "linux")]
        match rustix::fs::renameat_with(from.as_fd(), name, to.as_fd(), name, rustix::fs::RenameFlags::NOREPLACE) {
            // Not every file system knows how.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            done => return Ok(done?),
        }
        match rustix::fs::statat(to.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(rustix::fs::renameat(from.as_fd(), name, to.as_fd(), name)?),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The same in place of the file that is there, whose permissions it takes.
    pub fn move_over(&self, path: &FilePath, other: &Root) -> io::Result<()> {
        let (from, name) = self.folder_of(path, None)?;
        let (to, _) = other.folder_of(path, Some(USUAL))?;
        let old = rustix::fs::statat(to.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        let new = rustix::fs::openat(from.as_fd(), name, OFlags::RDONLY | FILE, Mode::empty())?;
        if let Err(error) = rustix::fs::fchmod(&new, Mode::from_raw_mode(old.st_mode)) {
            log::warn!("{}: its permissions are not kept: {error}", path.shown());
        }
        Ok(rustix::fs::renameat(from.as_fd(), name, to.as_fd(), name)?)
    }

    /// Brings the folder of this file, with the names in it, to the disk itself.
    pub fn sync_folder_of(&self, path: &FilePath) -> io::Result<()> {
        let (folder, _) = self.folder_of(path, None)?;
        Ok(rustix::fs::fsync(folder.as_fd())?)
    }

    /// Removes the folders on the way to this file as far as they are empty.
    pub fn remove_empty_folders(&self, path: &FilePath) {
        let names: Vec<_> = path.components().collect();
        for depth in (1..names.len()).rev() {
            let removed = FilePath::join(names[..depth].iter().copied()).map(|folder| {
                let (above, name) = self.folder_of(&folder, None)?;
                Ok::<_, io::Error>(rustix::fs::unlinkat(above.as_fd(), name, AtFlags::REMOVEDIR)?)
            });
            if !matches!(removed, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The folder that a file lies in, and its name there. `make`: folders that are missing are made, with this mode.
    fn folder_of<'a>(&self, path: &'a FilePath, make: Option<Mode>) -> io::Result<(Folder<'_>, &'a str)> {
        let follows = self.follows && make.is_none();
        let mut folder = Folder::Root(self.file.as_fd());
        let mut names = path.components();
        // Never empty: that is what a path is.
        let mut name = names.next().unwrap_or_default();
        for next in names {
            let below = match (below(folder.as_fd(), name, follows), make) {
                (Err(Errno::NOENT), Some(mode)) => {
                    match rustix::fs::mkdirat(folder.as_fd(), name, mode) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    below(folder.as_fd(), name, follows)
                }
                (opened, _) => opened,
            };
            folder = Folder::Below(below.map_err(|error| match error {
                Errno::LOOP | Errno::NOTDIR => io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("{name:?} on the way to it is a link or a file, and no folder"),
                ),
                error => error.into(),
            })?);
            name = next;
        }
        Ok((folder, name))
    }
}

/// A folder on the way to a file.
enum Folder<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(folder) => *folder,
            Self::Below(folder) => folder.as_fd(),
        }
    }
}

fn below(folder: BorrowedFd<'_>, name: &str, follows: bool) -> rustix::io::Result<OwnedFd> {
    let flags = if follows { FOLDER.difference(OFlags::NOFOLLOW) } else { FOLDER };
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn share(file: BorrowedFd<'_>, rights: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    let more = mode | Mode::from_raw_mode(rights);
    if more != mode {
        rustix::fs::fchmod(file, more)?;
    }
    Ok(())
}

fn no_plain_file(path: &FilePath) -> io::Error {
    let what = format!("{:?} is a link, a folder or a device, and no plain file", path.as_str());
    io::Error::new(io::ErrorKind::NotADirectory, what)
}

/// The fields are not of one type on every system.
#[allow(clippy::unnecessary_cast)]
fn there(stat: &Stat) -> There {
    let nanoseconds = |s: i128, ns: i128| s * 1_000_000_000 + ns;
    There {
        stamp: Stamp {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: nanoseconds(stat.st_mtime as i128, stat.st_mtime_nsec as i128),
            changed: nanoseconds(stat.st_ctime as i128, stat.st_ctime_nsec as i128),
        },
        room: stat.st_blocks as u64 * 512,
        executable: stat.st_mode & 0o100 != 0,
        alone: own::is_ours_alone_by(stat.st_uid, stat.st_mode as u32),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn path(text: &str) -> FilePath {
        text.parse().unwrap()
    }

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inside")).unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        let root = Root::open(&folder.path().join("inside")).unwrap();
        (folder, root)
    }

    #[test]
    fn files_and_folders_are_made_below_it() {
        let (folder, root) = root();
        assert_eq!(root.look(&path("a/b/c")).unwrap(), None);
        root.open_file(&path("a/b/c"), Access::Make).unwrap().set_len(7).unwrap();
        assert_eq!(root.look(&path("a/b/c")).unwrap().unwrap().stamp.size, 7);
        let found = std::fs::metadata(folder.path().join("inside/a/b/c")).unwrap();
        assert_eq!(root.look(&path("a/b/c")).unwrap().unwrap().stamp, Stamp::from_metadata(&found));
        assert!(root.open_file(&path("a/b"), Access::Read).is_err());
        assert!(root.open_file(&path("a/b/c/d"), Access::Make).is_err());
    }

    #[test]
    fn nothing_is_reached_through_a_link() {
        let (folder, root) = root();
        let inside = folder.path().join("inside");
        symlink("..", inside.join("up")).unwrap();
        symlink("../secret", inside.join("file")).unwrap();
        symlink("../new", inside.join("dangling")).unwrap();
        for lead in ["up/secret", "up/new", "file", "dangling"] {
            for access in [Access::Read, Access::Change, Access::Make] {
                assert!(root.open_file(&path(lead), access).is_err(), "{lead}");
            }
            assert!(root.look(&path(lead)).is_err(), "{lead}");
            assert!(root.make_executable(&path(lead)).is_err(), "{lead}");
        }
        assert!(!folder.path().join("new").exists());
        assert!(Root::open(&inside.join("up")).is_err());
        // A link in the way of a move is something that is there.
        root.open_file(&path("x"), Access::Make).unwrap();
        let other = tempfile::tempdir().unwrap();
        symlink(folder.path(), other.path().join("x")).unwrap();
        let moved = root.move_to_new(&path("x"), &Root::open(other.path()).unwrap());
        assert_eq!(moved.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn links_are_read_through_and_never_written_through_where_that_is_asked() {
        let (folder, root) = root();
        let inside = folder.path().join("inside");
        symlink("..", inside.join("up")).unwrap();
        symlink("../secret", inside.join("file")).unwrap();
        symlink("/dev/null", inside.join("device")).unwrap();
        drop(root);
        let root = Root::open_with_links(&inside).unwrap();
        for lead in ["up/secret", "file"] {
            assert_eq!(root.look(&path(lead)).unwrap().unwrap().stamp.size, 6);
            assert!(root.open_file(&path(lead), Access::Read).is_ok());
        }
        assert!(root.open_file(&path("file"), Access::Change).is_err());
        assert!(root.open_file(&path("up/new"), Access::Make).is_err());
        assert!(root.open_file(&path("device"), Access::Read).is_err() && root.look(&path("device")).is_err());
    }

    #[test]
    fn a_file_moves_with_its_folders() {
        let (folder, root) = root();
        root.open_file(&path("a/b"), Access::Make).unwrap();
        root.make_executable(&path("a/b")).unwrap();
        let other = Root::open(folder.path()).unwrap();
        root.move_to_new(&path("a/b"), &other).unwrap();
        root.remove_empty_folders(&path("a/b"));
        assert!(!folder.path().join("inside/a").exists());
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("a/b") & 0o111, (mode("a/b") & 0o444) >> 2);
        root.open_file(&path("a/b"), Access::Make).unwrap();
        assert!(root.move_to_new(&path("a/b"), &other).is_err());
        root.move_over(&path("a/b"), &other).unwrap();
        assert_ne!(mode("a/b") & 0o111, 0, "it stays a program");
    }
}
