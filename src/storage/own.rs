//! Files and folders that belong to this user, and that nobody else may write.
//!
//! What a program remembers is believed only there: in a folder that several users share (`/tmp`, a project's) anybody
//! may plant a file and a note on it. Each check is made on what was opened, so that nothing can be swapped between the
//! look and the use.
//!
//! Root may write everything, and what the device beneath gives is believed.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::process::geteuid;

use super::os;

/// The rights of others than the owner to write, in a file's mode.
pub const WRITE_BY_OTHERS: u32 = 0o022;

/// The number of the user that this process acts for.
pub fn user() -> u32 {
    geteuid().as_raw()
}

/// Whether this belongs to the user.
pub fn is_ours(meta: &Metadata) -> bool {
    meta.uid() == user()
}

/// Whether this belongs to the user, and nobody else may write it. An access list counts: it shows in the mode.
pub fn is_ours_alone(meta: &Metadata) -> bool {
    is_ours_alone_by(meta.uid(), meta.mode())
}

/// The same, of an owner and a mode.
pub fn is_ours_alone_by(owner: u32, mode: u32) -> bool {
    owner == user() && mode & WRITE_BY_OTHERS == 0
}

/// Opens a plain file that is ours alone, to read. Never through a link.
///
/// # Errors
/// `PermissionDenied` if it is somebody else's, or others may write it.
pub fn open(path: &Path) -> io::Result<File> {
    let file = os::open_existing(path, false)?;
    let meta = file.metadata()?;
    match meta.is_file() && is_ours_alone(&meta) {
        true => Ok(file),
        false => Err(not_ours()),
    }
}

/// Makes a folder where it is missing, with those above it, for this user alone. From one that is there the others lose
/// the right to write.
///
/// # Errors
/// Also if it belongs to somebody else.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let flags = rustix::fs::OFlags::DIRECTORY;
    let folder = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    match is_ours(&folder.metadata()?) {
        true => keep(&folder),
        false => Err(not_ours()),
    }
}

/// Takes the right to write from everybody but the owner.
pub fn keep(file: &File) -> io::Result<()> {
    let mode = file.metadata()?.mode();
    match mode & WRITE_BY_OTHERS {
        0 => Ok(()),
        _ => file.set_permissions(Permissions::from_mode(mode & 0o7777 & !WRITE_BY_OTHERS)),
    }
}

/// The rights to write that others have on what is made here without further thought: what the umask, or the folder's
/// access list, leaves. `scratch`: a name beside it that may be used. 0 where it cannot be told.
pub fn usual_rights(scratch: &Path) -> u32 {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o666).open(scratch);
    let mode = made.and_then(|file| file.metadata()).map(|meta| meta.mode());
    match mode {
        Ok(mode) => {
            // It was made here, just now.
            let _ = fs::remove_file(scratch);
            mode & WRITE_BY_OTHERS
        }
        Err(_) => 0,
    }
}

/// Gives others these rights too.
pub fn share(file: &File, rights: u32) -> io::Result<()> {
    let mode = file.metadata()?.mode() & 0o7777;
    match mode | rights {
        same if same == mode => Ok(()),
        more => file.set_permissions(Permissions::from_mode(more)),
    }
}

fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user, or others may write it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_write_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note");
        fs::write(&path, "x").unwrap();
        for (mode, ours) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(open(&path).is_ok(), ours, "{mode:o}");
        }
        keep(&File::open(&path).unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(open(&path).is_ok() && open(&link).is_err());
    }

    #[test]
    fn a_folder_is_made_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let path = dir.path().join("a/b");
        make_folder(&path).unwrap();
        assert_eq!((mode(&path), mode(&dir.path().join("a"))), (0o700, 0o700));
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        make_folder(&path).unwrap();
        assert_eq!(mode(&path), 0o755);
    }

    #[test]
    fn rights_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("x")).unwrap();
        file.set_permissions(Permissions::from_mode(0o644)).unwrap();
        share(&file, 0o020).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o664);
        usual_rights(&dir.path().join("scratch"));
        assert!(!dir.path().join("scratch").exists());
    }
}
