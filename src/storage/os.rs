//! What the operating system gives beyond the standard library. Everything that is Linux alone is in here, each with a
//! plain way for other systems.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::{fs, io::Errno};

/// Distance of the probes of [`is_warm`]: the window by which Linux reads ahead.
const PROBE: u64 = 128 << 10;

/// Makes a file that was not there, to read and write; others may read it, where the umask lets them. Never through a
/// link.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(path)
}

/// The same, and nobody else may read it.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file that is there. Never through a link, and never waiting for the other end of a pipe.
pub fn open_existing(path: &Path, to_write: bool) -> io::Result<File> {
    let flags = fs::OFlags::NOFOLLOW | fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).write(to_write).custom_flags(flags.bits() as i32).open(path)
}

/// Takes the lock of a file being fetched, until it is closed; false if somebody else has it.
pub fn lock(file: &File) -> io::Result<bool> {
    match fs::flock(file, fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Bytes free for us in this folder; None where the file system does not say.
pub fn free_space(folder: &Path) -> Option<u64> {
    let stat = fs::statvfs(folder).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Gives the file this length, with the room for these ranges of it set aside where that is done without writing them.
pub fn make_room(file: &File, len: u64, data: &[Range<u64>]) -> io::Result<()> {
    file.set_len(len)?;
    if !data.is_empty() && sets_aside_quickly(file) {
        for range in data {
            match fs::fallocate(file, fs::FallocateFlags::empty(), range.start, range.end - range.start) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// ext2 to 4, XFS, Btrfs and F2FS note what is set aside; tmpfs, for one, fills it with zeroes.
#[cfg(target_os = "linux")]
fn sets_aside_quickly(file: &File) -> bool {
    const KNOWN: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];
    is_one_of(file, &KNOWN)
}

#[cfg(not(target_os = "linux"))]
fn sets_aside_quickly(_file: &File) -> bool {
    false
}

/// Whether what is never written takes no room in this folder; false where that is not known.
#[cfg(target_os = "linux")]
pub fn has_holes(folder: &Path) -> bool {
    // The same, tmpfs, overlayfs, ZFS, bcachefs, and NFS, whose servers are the same as a rule.
    const KNOWN: [u64; 9] =
        [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1, 0xCA45_1A4E, 0x6969];
    File::open(folder).is_ok_and(|folder| is_one_of(&folder, &KNOWN))
}

/// APFS has them; elsewhere nobody knows.
#[cfg(not(target_os = "linux"))]
pub fn has_holes(_folder: &Path) -> bool {
    cfg!(target_os = "macos")
}

#[cfg(target_os = "linux")]
fn is_one_of(file: &File, known: &[u64]) -> bool {
    fs::fstatfs(file).is_ok_and(|stat| known.contains(&(stat.f_type as u64 & 0xFFFF_FFFF)))
}

/// Makes this range of the file zeros that take no room. Says whether it did: not every file system can.
pub fn make_hole(file: &File, range: &Range<u64>) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        let flags = fs::FallocateFlags::PUNCH_HOLE | fs::FallocateFlags::KEEP_SIZE;
        match fs::fallocate(file, flags, range.start, range.end - range.start) {
            Ok(()) => return Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let _ = (file, range);
    Ok(false)
}

/// Gives a file a name that nothing has: an error of the kind `AlreadyExists` if something does.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match fs::renameat_with(fs::CWD, from, fs::CWD, to, fs::RenameFlags::NOREPLACE) {
        // Not every file system knows how.
        Err(Errno::INVAL | Errno::NOSYS) => {}
        done => return Ok(done?),
    }
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
        Err(_) if std::fs::symlink_metadata(to).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(from, to),
    }
}

/// Swaps two names; false where the file system cannot.
pub fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    match fs::renameat_with(fs::CWD, one, fs::CWD, other, fs::RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        Ok(()) => return Ok(true),
        Err(e) => return Err(e.into()),
    }
    let _ = (one, other);
    Ok(false)
}

/// Whether probes find this range in the page cache; false where the system cannot tell.
#[cfg(target_os = "linux")]
pub fn is_warm(file: &File, range: Range<u64>) -> bool {
    use rustix::io::{IoSliceMut, ReadWriteFlags, preadv2};
    let Some(last) = range.end.checked_sub(1) else {
        return true;
    };
    (range.start..range.end).step_by(PROBE as usize).chain([last]).all(|at| {
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT).is_ok()
    })
}

#[cfg(not(target_os = "linux"))]
pub fn is_warm(_file: &File, _range: Range<u64>) -> bool {
    false
}

/// Reads this range, so that it is in the page cache.
pub fn warm(file: &File, range: Range<u64>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let len = std::num::NonZeroU64::new(range.end - range.start);
        // Advice: reading works without.
        let _ = fs::fadvise(file, range.start, len, fs::Advice::WillNeed);
    }
    let mut scratch = vec![0; PROBE as usize];
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(PROBE) as usize;
        match file.read_at(&mut scratch[..len], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => at += n as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_made_of_data() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 1 << 20], 0).unwrap();
        let range = 128 << 10..256 << 10;
        if make_hole(&file, &range).unwrap() {
            let mut there = vec![1; 1 << 20];
            file.read_exact_at(&mut there, 0).unwrap();
            let zeros = range.start as usize..range.end as usize;
            assert!(there.iter().enumerate().all(|(at, byte)| *byte == if zeros.contains(&at) { 0 } else { 7 }));
        }
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
    }

    #[test]
    fn a_name_that_is_taken_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "a").unwrap();
        std::fs::write(&b, "b").unwrap();
        let error = rename_to_new(&a, &b).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&b).unwrap(), b"b");
        std::fs::remove_file(&b).unwrap();
        rename_to_new(&a, &b).unwrap();
        assert_eq!(std::fs::read(&b).unwrap(), b"a");
    }

    #[test]
    fn what_was_just_read_is_warm() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![7; 600_000], 0).unwrap();
        warm(&file, 0..600_000).unwrap();
        assert!(is_warm(&file, 100..600_000) || cfg!(not(target_os = "linux")));
        assert!(warm(&file, 0..600_001).is_err());
    }

    #[test]
    fn the_second_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let one = create_new(&dir.path().join("f")).unwrap();
        let other = open_existing(&dir.path().join("f"), true).unwrap();
        assert!(lock(&one).unwrap());
        assert!(!lock(&other).unwrap());
    }
}
