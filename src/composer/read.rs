//! Reads a composition: opens it, hashes it, and sees to it that it was one and the same file from end to end. Or
//! reads a manifest in its stead.

use std::{
    fs::{self, File},
    io,
    ops::ControlFlow,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    ComposeError, Digests,
    walk::{Rules, Walk, walk},
};
use crate::{
    cli::input,
    geometry::Geometry,
    hashing::file::{Source, hash_file},
    manifest::{FileEntry, Manifest},
    metainfo::{Torrent, convert},
    storage::{Root, Stamp, There, Tree, Writers},
};

/// Longer than any step of a file system's clock that counts in nanoseconds.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// A file or a folder that is being composed.
#[derive(Debug)]
pub struct Reading {
    path: PathBuf,
    body: Body,
    stamp: Stamp,
}

#[derive(Debug)]
enum Body {
    File(File),
    Folder(Box<Folder>),
}

#[derive(Debug)]
struct Folder {
    walk: Walk,
    tree: Arc<Tree>,
    rules: Rules,
    /// The files as they were at the start.
    survey: Vec<Option<There>>,
}

impl Reading {
    /// Opens an ordinary file or a folder, which may be named by a link; what is neither is refused with the way out.
    pub fn open(path: &Path, rules: &Rules) -> Result<Self, ComposeError> {
        let failed = |error| ComposeError::Read { path: path.to_owned(), error };
        // Looked at first: opening a pipe would wait for somebody to write to it.
        let kind = fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(ComposeError::Special(path.to_owned()));
        }
        if kind.is_dir() {
            return Self::open_folder(path, rules);
        }
        let file = File::open(path).map_err(failed)?;
        thread::sleep(youth(Stamp::of(&file).map_err(failed)?.changed));
        Ok(Self { stamp: Stamp::of(&file).map_err(failed)?, path: path.to_owned(), body: Body::File(file) })
    }

    fn open_folder(path: &Path, rules: &Rules) -> Result<Self, ComposeError> {
        let failed = |error| ComposeError::Read { path: path.to_owned(), error };
        let walk = walk(path, rules)?;
        let tree = Tree::to_read(root(path, rules).map_err(failed)?, &walk.files);
        let survey = tree.survey().map_err(failed)?;
        let youngest = survey.iter().flatten().map(|there| there.stamp.changed).max();
        thread::sleep(youngest.map_or(Duration::ZERO, youth));
        let survey = tree.survey().map_err(failed)?;
        let stamp = tree.stamp_of(&survey).map_err(failed)?;
        let folder = Folder { walk, tree: Arc::new(tree), rules: rules.clone(), survey };
        Ok(Self { path: path.to_owned(), body: Body::Folder(Box::new(folder)), stamp })
    }

    /// Whether this path leads to the very file, or folder, that is read.
    pub fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| Stamp::from_metadata(&found).is_same_file(&self.stamp))
    }

    /// Whether what would be written at this path would lie in the folder that is read.
    pub fn holds(&self, path: &Path) -> bool {
        let above = path.ancestors().find_map(|above| match above == Path::new("") {
            true => Path::new(".").canonicalize().ok(),
            false => above.canonicalize().ok(),
        });
        let folder = self.path.canonicalize();
        self.is_folder() && above.zip(folder.ok()).is_some_and(|(above, folder)| above.starts_with(folder))
    }

    pub fn is_folder(&self) -> bool {
        matches!(self.body, Body::Folder(_))
    }

    /// The files of a folder, in order; none of a single file.
    pub fn files(&self) -> &[FileEntry] {
        match &self.body {
            Body::File(_) => &[],
            Body::Folder(folder) => &folder.walk.files,
        }
    }

    /// A file of it that a program has open for writing now, as far as can be seen.
    pub fn written(&self) -> Option<PathBuf> {
        let writers = Writers::now();
        match &self.body {
            Body::File(_) => writers.has(&self.stamp).then(|| self.path.clone()),
            Body::Folder(folder) => {
                let mut files = folder.walk.files.iter().zip(&folder.survey);
                let is_written =
                    |(_, there): &(_, &Option<There>)| there.is_some_and(|there| writers.has(&there.stamp));
                files.find(is_written).map(|(file, _)| self.path.join(file.path.as_str()))
            }
        }
    }

    /// Whether it is a single file, and a program.
    pub fn is_executable(&self) -> io::Result<bool> {
        match &self.body {
            Body::File(file) => Ok(file.metadata()?.permissions().mode() & 0o100 != 0),
            Body::Folder(_) => Ok(false),
        }
    }

    /// What of a folder is not in the composition, in lines for people.
    pub fn left_out(&self) -> Vec<String> {
        match &self.body {
            Body::File(_) => Vec::new(),
            Body::Folder(folder) => folder.walk.left_out(),
        }
    }

    /// What it was when it was opened; its size is that of the composition.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Begins to put its data on the disk, so that it is there when the hashing ends: what was verified may be
    /// remembered only then.
    pub fn sync(&self) -> io::Result<JoinHandle<io::Result<()>>> {
        let name = || thread::Builder::new().name("sync".into());
        match &self.body {
            Body::File(file) => {
                let file = file.try_clone()?;
                name().spawn(move || file.sync_data())
            }
            Body::Folder(folder) => {
                let tree = folder.tree.clone();
                name().spawn(move || tree.sync_all())
            }
        }
    }

    /// Hashes it all. `on_progress` is told the number of bytes after each part, and ends it by breaking off.
    ///
    /// # Errors
    /// If it cannot be read, or is not the same any more that it was when it was opened: not only the open file, also
    /// what the path leads to.
    pub fn hash(
        &self,
        geometry: &Geometry,
        on_progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Digests, ComposeError> {
        let mut parts = Vec::with_capacity(geometry.parts() as usize);
        let source: &dyn Source = match &self.body {
            Body::File(file) => file,
            Body::Folder(folder) => &*folder.tree,
        };
        let whole = hash_file(source, geometry, true, &mut |part, digest| {
            parts.push(digest);
            on_progress(geometry.part_range(part).end)
        });
        match whole {
            Ok(Some(whole)) => {
                self.is_unchanged()?;
                Ok(Digests { whole, parts })
            }
            Ok(None) => Err(ComposeError::Interrupted),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.changed()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn is_unchanged(&self) -> Result<(), ComposeError> {
        match &self.body {
            Body::File(file) => {
                let named = fs::metadata(&self.path).map_err(|_| self.changed())?;
                let now = Stamp::of(file).map_err(|error| self.failed(error))?;
                match now == self.stamp && Stamp::from_metadata(&named) == self.stamp {
                    true => Ok(()),
                    false => Err(self.changed()),
                }
            }
            Body::Folder(folder) => {
                let survey = folder.tree.survey().map_err(|error| self.failed(error))?;
                if let Some(at) = survey.iter().zip(&folder.survey).position(|(now, then)| now != then) {
                    return Err(ComposeError::Changed(self.path.join(folder.walk.files[at].path.as_str())));
                }
                match walk(&self.path, &folder.rules)? == folder.walk {
                    true => Ok(()),
                    false => Err(self.changed()),
                }
            }
        }
    }

    fn changed(&self) -> ComposeError {
        ComposeError::Changed(self.path.clone())
    }

    fn failed(&self, error: io::Error) -> ComposeError {
        ComposeError::Read { path: self.path.clone(), error }
    }
}

/// Opens a folder, which may be named by a link, to read what is in it.
pub(super) fn root(path: &Path, rules: &Rules) -> io::Result<Root> {
    let path = path.canonicalize()?;
    if rules.follow_links { Root::open_with_links(&path) } else { Root::open(&path) }
}

/// How long to wait until a further change of the file is sure to show in its stamp: many systems write the time of a
/// change in steps of some milliseconds, and two changes within one step look like one.
/// `changed`: nanoseconds since 1970.
fn youth(changed: i128) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.as_nanos() as i128 - changed;
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
        let reading = Reading::open(&path, &Rules::default()).unwrap();
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
    fn a_change_in_a_folder_is_seen() {
        type Change = fn(&Path);
        let changes: [(Change, &str); 5] = [
            (|folder| fs::write(folder.join("b/c"), "other").unwrap(), "b/c"),
            (|folder| fs::remove_file(folder.join("a")).unwrap(), "a"),
            (|folder| fs::rename(folder.join("b"), folder.join("x")).unwrap(), "b/c"),
            (|folder| fs::write(folder.join("new"), "").unwrap(), ""),
            (|_| {}, "nothing"),
        ];
        for (change, what) in changes {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("folder");
            fs::create_dir_all(folder.join("b")).unwrap();
            fs::write(folder.join("a"), [7; 20_000]).unwrap();
            fs::write(folder.join("b/c"), [8; 20_000]).unwrap();
            let reading = Reading::open(&folder, &Rules::default()).unwrap();
            let geometry = Geometry::new(40_000, 16 << 10).unwrap();
            let mut change = Some(|| change(&folder));
            let outcome = reading.hash(&geometry, &mut |bytes| {
                // When all is read.
                (bytes == 40_000).then(|| change.take()).flatten().iter_mut().for_each(|change| change());
                ControlFlow::Continue(())
            });
            match outcome {
                Ok(digests) => assert_eq!((what, digests.parts.len()), ("nothing", 3)),
                Err(ComposeError::Changed(path)) => assert_eq!(path, folder.join(what)),
                Err(error) => panic!("{what}: {error}"),
            }
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
    fn a_link_that_is_named_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        fs::write(folder.path().join("file"), b"x").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let reading = Reading::open(&link, &Rules::default()).unwrap();
        let there = fs::metadata(folder.path().join("file")).unwrap();
        assert_eq!(*reading.stamp(), Stamp::from_metadata(&there));
        let geometry = Geometry::new(1, 16 << 10).unwrap();
        let digests = reading.hash(&geometry, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(digests.whole, Digest::of(b"x"));
    }

    #[test]
    fn what_is_no_ordinary_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| Reading::open(path, &Rules::default()).unwrap_err();
        assert!(matches!(open(folder.path()), ComposeError::NoFiles(_)));
        assert!(matches!(open(Path::new("/dev/null")), ComposeError::Special(_)));
        let missing = folder.path().join("missing");
        assert!(matches!(open(&missing), ComposeError::Read { .. }));
    }
}
