//! Reads a composition: opens it, hashes it, and sees to it that it was one and the same file from end to end. Or
//! reads a manifest in its stead.

use std::{
    fs::{self, File},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{ComposeError, Digests};
use crate::{
    cli::input,
    geometry::Geometry,
    hashing::file::hash_file,
    manifest::Manifest,
    metainfo::{Torrent, convert},
    storage::Stamp,
};

/// Longer than any step of a file system's clock that counts in nanoseconds.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// A file that is being composed.
#[derive(Debug)]
pub struct Reading {
    path: PathBuf,
    file: File,
    stamp: Stamp,
}

impl Reading {
    /// Opens an ordinary file; what is none is refused with the way out.
    pub fn open(path: &Path) -> Result<Self, ComposeError> {
        let failed = |error| ComposeError::Read { path: path.to_owned(), error };
        // Looked at first: opening a pipe would wait for somebody to write to it.
        let kind = fs::metadata(path).map_err(failed)?.file_type();
        if kind.is_dir() {
            return Err(ComposeError::Folder(path.to_owned()));
        }
        if !kind.is_file() {
            return Err(ComposeError::Special(path.to_owned()));
        }
        if fs::symlink_metadata(path).map_err(failed)?.is_symlink() {
            let file = path.canonicalize().map_err(failed)?;
            return Err(ComposeError::Link { link: path.to_owned(), file });
        }
        let file = File::open(path).map_err(failed)?;
        let young = youth(&Stamp::of(&file).map_err(failed)?);
        thread::sleep(young);
        Ok(Self { stamp: Stamp::of(&file).map_err(failed)?, path: path.to_owned(), file })
    }

    /// Whether this path leads to the very file that is read.
    pub fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| Stamp::from_metadata(&found).is_same_file(&self.stamp))
    }

    /// What the file was when it was opened.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Begins to put the file's data on the disk, so that it is there when the hashing ends: what was verified may be
    /// remembered only then.
    pub fn sync(&self) -> io::Result<JoinHandle<io::Result<()>>> {
        let file = self.file.try_clone()?;
        thread::Builder::new().name("sync".into()).spawn(move || file.sync_data())
    }

    /// Hashes it all. `on_progress` is told the number of bytes after each part, and ends it by breaking off.
    ///
    /// # Errors
    /// If it cannot be read, or is not the file any more that it was when it was opened: not only the open file, also
    /// what the path leads to.
    pub fn hash(
        &self,
        geometry: &Geometry,
        on_progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Digests, ComposeError> {
        let mut parts = Vec::with_capacity(geometry.parts() as usize);
        let whole = hash_file(&self.file, geometry, true, &mut |part, digest| {
            parts.push(digest);
            on_progress(geometry.part_range(part).end)
        });
        let whole = match whole {
            Ok(Some(whole)) => whole,
            Ok(None) => return Err(ComposeError::Interrupted),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(self.changed()),
            Err(error) => return Err(self.failed(error)),
        };
        let named = fs::metadata(&self.path).map_err(|_| self.changed())?;
        let now = Stamp::of(&self.file).map_err(|error| self.failed(error))?;
        if now != self.stamp || Stamp::from_metadata(&named) != self.stamp {
            return Err(self.changed());
        }
        Ok(Digests { whole, parts })
    }

    fn changed(&self) -> ComposeError {
        ComposeError::Changed(self.path.clone())
    }

    fn failed(&self, error: io::Error) -> ComposeError {
        ComposeError::Read { path: self.path.clone(), error }
    }
}

/// How long to wait until a further change of the file is sure to show in its stamp: many systems write the time of a
/// change in steps of some milliseconds, and two changes within one step look like one.
fn youth(stamp: &Stamp) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.as_nanos() as i128 - stamp.changed;
    match u64::try_from(age) {
        Ok(age) => CLOCK_STEP.saturating_sub(Duration::from_nanos(age)),
        // Changed in the future: no waiting helps.
        Err(_) => Duration::ZERO,
    }
}

/// Reads the manifest at this path; a `.torrent`, by its name, becomes one.
pub fn manifest(path: &Path) -> Result<Manifest, ComposeError> {
    let bytes = input::read(path)?;
    let is_torrent = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("torrent"));
    if !is_torrent {
        return Manifest::parse(&bytes).map_err(|error| ComposeError::Manifest { path: path.to_owned(), error });
    }
    let torrent = Torrent::parse(&bytes).map_err(|error| ComposeError::Torrent { path: path.to_owned(), error })?;
    Ok(convert::to_manifest(&torrent)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::Digest;

    fn composition(folder: &Path, bytes: &[u8]) -> (PathBuf, Reading, Geometry) {
        let path = folder.join("composition");
        fs::write(&path, bytes).unwrap();
        let reading = Reading::open(&path).unwrap();
        let geometry = Geometry::new(bytes.len() as u64, 16 << 10).unwrap();
        (path, reading, geometry)
    }

    #[test]
    fn every_part_and_the_whole_are_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let (_, reading, geometry) = composition(folder.path(), &[7; 20_000]);
        let mut told = Vec::new();
        let digests = reading.hash(&geometry, &mut |bytes| {
            told.push(bytes);
            ControlFlow::Continue(())
        });
        let digests = digests.unwrap();
        assert_eq!(told, [16_384, 20_000]);
        assert_eq!(digests.whole, Digest::of(&[7; 20_000]));
        assert_eq!(digests.parts[1], Digest::of(&[7; 20_000 - 16_384]));
    }

    #[test]
    fn a_change_while_it_is_read_is_seen() {
        type Change = fn(&Path);
        let changes: [Change; 4] = [
            |path| fs::write(path, b"shorter").unwrap(),
            |path| fs::write(path, [8; 20_001]).unwrap(),
            |path| fs::remove_file(path).unwrap(),
            |path| {
                // Another file under the same name.
                let new = path.with_extension("new");
                fs::write(&new, [7; 20_000]).unwrap();
                fs::rename(new, path).unwrap();
            },
        ];
        for change in changes {
            let folder = tempfile::tempdir().unwrap();
            let (path, reading, geometry) = composition(folder.path(), &[7; 20_000]);
            let mut change = Some(|| change(&path));
            let outcome = reading.hash(&geometry, &mut |_| {
                change.take().iter_mut().for_each(|change| change());
                ControlFlow::Continue(())
            });
            assert!(matches!(outcome, Err(ComposeError::Changed(_))));
        }
    }

    #[test]
    fn breaking_off_is_an_interruption() {
        let folder = tempfile::tempdir().unwrap();
        let (_, reading, geometry) = composition(folder.path(), &[7; 20_000]);
        let outcome = reading.hash(&geometry, &mut |_| ControlFlow::Break(()));
        assert!(matches!(outcome, Err(ComposeError::Interrupted)));
    }

    #[test]
    fn what_is_no_ordinary_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| Reading::open(path).unwrap_err();
        assert!(matches!(open(folder.path()), ComposeError::Folder(_)));
        assert!(matches!(open(Path::new("/dev/null")), ComposeError::Special(_)));
        let link = folder.path().join("link");
        fs::write(folder.path().join("file"), b"x").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert!(matches!(open(&link), ComposeError::Link { .. }));
        let missing = folder.path().join("missing");
        assert!(matches!(open(&missing), ComposeError::Read { .. }));
    }
}
