//! Files that programs have open for writing: they may be half of what they will be.
//!
//! Linux says so under `/proc`, of the processes of this user, and of all to root. Other systems are not asked: there, and
//! of files that others own, a file has to rest instead.

use std::collections::HashSet;

use super::Stamp;

/// All files that were open for writing when it was looked, as far as this user may see.
#[derive(Clone, Debug, Default)]
pub struct Writers {
    /// Device and inode of each.
    open: HashSet<(u64, u64)>,
    /// User whose processes were seen; `None`: nobody's.
    seen: Option<u32>,
}

impl Writers {
    /// Looks now. Blocks for some milliseconds.
    pub fn now() -> Self {
        #[cfg(target_os = "linux")]
        return linux::writers(std::path::Path::new("/proc"));
        #[cfg(not(target_os = "linux"))]
        Self::default()
    }

    /// Whether a program has this file open for writing.
    pub fn has(&self, file: &Stamp) -> bool {
        self.open.contains(&(file.device, file.inode))
    }

    /// Whether all programs that write to a file of this user were seen, as a rule.
    pub fn knows_of(&self, owner: u32) -> bool {
        self.seen.is_some_and(|user| user == 0 || user == owner)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs::{self, DirEntry},
        io,
        os::unix::fs::MetadataExt,
        path::Path,
    };

    use super::Writers;

    /// The bits of `flags` in `fdinfo` that say how a file is open: 0 is to read.
    const ACCESS: u32 = 0o3;

    pub fn writers(proc: &Path) -> Writers {
        let user = rustix::process::geteuid().as_raw();
        let Ok(processes) = fs::read_dir(proc) else { return Writers::default() };
        let mut writers = Writers { seen: Some(user), ..Writers::default() };
        let is_process = |entry: &DirEntry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        for process in processes.flatten().filter(is_process) {
            // It may be another user's, or gone.
            let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
            for file in open.flatten() {
                if let Ok(Some(place)) = written(&process.path(), &file) {
                    writers.open.insert(place);
                }
            }
        }
        writers
    }

    /// Device and inode of an ordinary file that is open for writing here.
    fn written(process: &Path, file: &DirEntry) -> io::Result<Option<(u64, u64)>> {
        let meta = fs::metadata(file.path())?;
        if !meta.is_file() {
            return Ok(None);
        }
        let info = fs::read_to_string(process.join("fdinfo").join(file.file_name()))?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
        Ok((flags & ACCESS != 0).then(|| (meta.dev(), meta.ino())))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, metadata},
        path::Path,
    };

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_is_seen_while_it_is_open_for_writing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("x"), folder.path().join("y"));
        let file = File::create(&path).unwrap();
        std::fs::write(&other, "y").unwrap();
        let _read = File::open(&other).unwrap();
        let stamp = |path: &Path| Stamp::from_metadata(&metadata(path).unwrap());
        let writers = Writers::now();
        assert!(writers.has(&stamp(&path)) && !writers.has(&stamp(&other)));
        drop(file);
        assert!(!Writers::now().has(&stamp(&path)));
        let user = rustix::process::geteuid().as_raw();
        assert!(writers.knows_of(user));
        assert_eq!(writers.knows_of(user + 1), user == 0);
    }
}
