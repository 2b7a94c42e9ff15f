//! What the disk tells, and what can go wrong with it.

use std::{io, path::PathBuf};

use rustix::io::Errno;

use crate::{geometry::PartIndex, hashing::Digest, manifest::shown};

/// What the disk tells the owner of a swarm.
#[derive(Debug)]
pub enum DiskEvent {
    /// A part that was handed over with [`super::Store::commit`] is written: it may be shared.
    Written(PartIndex),
    /// A part that was on the disk at the start is right: it may be shared.
    Proven(PartIndex),
    /// These parts of what was there already are not the composition's: other data is on the disk. As a rule it is the
    /// first that was found, and all where notes are ignored; none if what is there is longer.
    Different(Vec<PartIndex>),
    /// What was on the disk at the start is all known now.
    Checked,
    /// Every part is in, and the whole file's SHA-1 is right (or not known, or known to follow from the parts: then they
    /// have to do). Of a file under its final name this comes right before [`DiskEvent::Checked`]; of one whose last
    /// part was there already, on either side of it.
    Whole,
    /// Every part is in and right, and yet the whole file's SHA-1 is this one: the manifest contradicts itself.
    WholeWrong(Digest),
    /// The disk failed: writing this part, or (without a part) reading, or bringing data to the disk.
    Failed { part: Option<PartIndex>, error: StorageError },
}

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Exit code 5.
    #[error("{path}: {missing} bytes more are needed on this disk: make room, or choose another folder with -o")]
    Full { path: PathBuf, missing: u64 },
    /// Exit code 5.
    #[error("{path}: the disk is full: make room and start again; what is there is kept")]
    NoRoom { path: PathBuf },
    /// Exit code 6.
    #[error(
        "{path}: other data is there already and is left as it is: fetch to another folder with -o, or take over its good parts with --repair"
    )]
    Different { path: PathBuf },
    /// Exit code 6: a `NAME.part` that is not of this composition.
    #[error(
        "{path}: this is not a part of the same file and is left as it is: move it away, fetch to another folder with -o, or take over its good parts with --repair"
    )]
    Foreign { path: PathBuf },
    /// Exit code 6: somebody wrote to it after it was opened.
    #[error("{path}: it was changed while it was being checked: start again")]
    Changed { path: PathBuf },
    /// Exit code 6: somebody cut it short, or took data from it, while it was being fetched.
    #[error(
        "{path}: somebody else wrote to it while it was being fetched: start again, and what is wrong is fetched anew"
    )]
    Disturbed { path: PathBuf },
    /// Exit code 6: somebody wrote to it while it was shared.
    #[error("{path}: it was changed while it was shared, and nobody is given any more of it: start again to check it")]
    ChangedSince { path: PathBuf },
    /// Somebody moved or removed what was shared; who has it open can read it still.
    #[error("{path}: it is not there any more: it was moved or removed while it was shared")]
    Gone { path: PathBuf },
    /// Exit code 6: it appeared while we fetched.
    #[error(
        "{path}: something of this name appeared meanwhile and is left as it is: what was fetched stays in {part}; move one of them away and start again"
    )]
    Appeared { path: PathBuf, part: PathBuf },
    /// Exit code 5: exFAT and the like do not take every name.
    #[error("{path}: this disk does not take the name {} ({source}): fetch to another disk with -o", shown(.name))]
    NameRefused { path: PathBuf, name: String, source: io::Error },
    /// Exit code 5: as a rule they differ in case alone.
    #[error("{path}: this disk takes {} and {} for one name, and can hold only one of them: fetch to another disk with -o", shown(.one), shown(.other))]
    OneName { path: PathBuf, one: String, other: String },
    #[error("{path}: {what}, not a plain file: move it away, or fetch to another folder with -o")]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("{path}: {what}, and the composition is a folder: move it away, or fetch to another folder with -o")]
    NotAFolder { path: PathBuf, what: &'static str },
    /// What `--from` names.
    #[error(
        "{path}: {what}: --from takes an older version of the composition, a file for a file, a folder for a folder"
    )]
    NotOlder { path: PathBuf, what: &'static str },
    #[error("{path}: another member is fetching this file: wait for it, or fetch to another folder with -o")]
    Busy { path: PathBuf },
    /// Exit code 5: `NAME.part` is not under its name any more, or a file in it is gone.
    #[error(
        "{path}: it is not there any more: it was removed, moved or replaced, or its disk was unmounted, while it was being fetched; nothing more is written: start again when its folder is back"
    )]
    Moved { path: PathBuf },
    /// [`super::Store::finish`] before the whole file was verified.
    #[error("{path}: it is not whole and verified yet")]
    NotWhole { path: PathBuf },
    #[error("{path}: cannot {doing}: {source}")]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
}

impl StorageError {
    /// The disk is full, cannot be written or read, or is gone: exit code 5.
    pub fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Full { .. }
            | Self::NoRoom { .. }
            | Self::Moved { .. }
            | Self::NameRefused { .. }
            | Self::OneName { .. } => true,
            Self::Io { source, .. } => is_of_the_disk(source),
            _ => false,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, doing: &'static str, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom { path },
            _ => Self::Io { path, doing, source },
        }
    }
}

/// Whether an error comes from the disk, and not from what is asked of it (a name that is not there, a folder in place of
/// a file) or from the process (too many open files).
pub(super) fn is_of_the_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidInput, IsADirectory, NotADirectory, NotFound, OutOfMemory, UnexpectedEof, WouldBlock,
    };
    let asked = [AlreadyExists, InvalidInput, IsADirectory, NotADirectory, NotFound, UnexpectedEof];
    let process = [OutOfMemory, WouldBlock];
    let kind = error.kind();
    !asked.contains(&kind) && !process.contains(&kind) && !is_too_many_files(error)
}

/// Looks below words that were put before an error too.
fn is_too_many_files(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(number) => [Errno::MFILE, Errno::NFILE].contains(&Errno::from_raw_os_error(number)),
        None => {
            let below = error.get_ref().and_then(|below| below.source()).and_then(|below| below.downcast_ref());
            below.is_some_and(is_too_many_files)
        }
    }
}

/// Whether an error says that a disk is broken or gone, whatever is asked of it.
pub(super) fn is_broken(error: &io::Error) -> bool {
    const BROKEN: [Errno; 7] =
        [Errno::IO, Errno::NXIO, Errno::NODEV, Errno::STALE, Errno::NOTCONN, Errno::SHUTDOWN, Errno::UCLEAN];
    error.raw_os_error().is_some_and(|number| BROKEN.contains(&Errno::from_raw_os_error(number)))
}
