//! What a file or a folder is, as a manifest, without writing one: for a member that shares it.

use std::{io, ops::ControlFlow, path::Path};

use super::{
    ComposeError, Rules, plan,
    read::{self, Reading},
    walk::walk,
};
use crate::{
    geometry::Geometry,
    manifest::{Endpoint, Manifest},
    storage::{Stamp, Tree},
};

/// What a file or a folder is.
#[derive(Debug)]
pub struct Description {
    pub manifest: Manifest,
    /// Of the file, or the folder, of which this is true.
    pub stamp: Stamp,
    /// What of a folder is not in it, in lines for people.
    pub left_out: Vec<String>,
}

/// The manifest of this file or folder, cut as `geometry` says or by default, with no conductor named. Its data is on the
/// disk by then, so that it may be remembered. Blocks.
///
/// `on_progress` is told the number of bytes after each part, and ends it by breaking off.
///
/// # Errors
/// It is neither, cannot be read, changed meanwhile, or has a name that no manifest can hold.
pub fn describe(
    path: &Path,
    geometry: Option<Geometry>,
    rules: &Rules,
    on_progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Description, ComposeError> {
    let reading = Reading::open(path, rules)?;
    let stamp = *reading.stamp();
    let name = plan::name(path)?;
    let geometry = match geometry {
        Some(geometry) if geometry.size() == stamp.size => geometry,
        _ => plan::geometry(None, stamp.size)?,
    };
    let failed = |error| ComposeError::Read { path: path.to_owned(), error };
    let synced = reading.sync().map_err(failed)?;
    let digests = reading.hash(&geometry, on_progress)?;
    let panicked = |_| io::Error::other("a thread of this program panicked");
    synced.join().map_err(panicked).flatten().map_err(failed)?;
    let lines = plan::lines(&name, reading.files(), reading.is_executable().map_err(failed)?)?;
    let manifest = Manifest::new(Endpoint::UNKNOWN, name, Some(digests.whole), geometry, digests.parts, lines)?;
    Ok(Description { manifest, stamp, left_out: reading.left_out() })
}

/// A folder as a composition of all its files.
#[derive(Clone, Debug)]
pub struct Looked {
    pub stamp: Stamp,
    /// The stamp of each file.
    pub files: Vec<Stamp>,
}

/// Looks through a folder, and finds no file where there is none. Blocks.
///
/// # Errors
/// It cannot be looked through, or holds what no manifest can.
pub fn look_through(folder: &Path, rules: &Rules) -> Result<Looked, ComposeError> {
    let failed = |error| ComposeError::Read { path: folder.to_owned(), error };
    let files = match walk(folder, rules) {
        Ok(walk) => walk.files,
        Err(ComposeError::NoFiles(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let tree = Tree::to_read(read::root(folder, rules).map_err(failed)?, &files);
    let survey = tree.survey().map_err(failed)?;
    let stamp = tree.stamp_of(&survey).map_err(failed)?;
    Ok(Looked { stamp, files: survey.into_iter().flatten().map(|there| there.stamp).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_described_as_it_is_or_as_it_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let mut heard = 0;
        let Description { manifest, stamp, .. } = describe(&path, None, &Rules::default(), &mut |bytes| {
            heard = bytes;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!((manifest.geometry.parts(), stamp.size, heard), (7, 100_000, 100_000));
        let geometry = Geometry::new(100_000, 32 << 10).unwrap();
        let other =
            describe(&path, Some(geometry), &Rules::default(), &mut |_| ControlFlow::Continue(())).unwrap().manifest;
        assert_eq!((other.geometry.parts(), other.whole), (4, manifest.whole));
        let stopped = describe(&path, None, &Rules::default(), &mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(ComposeError::Interrupted)));
    }

    #[test]
    fn a_folder_is_described_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::create_dir_all(path.join("deep")).unwrap();
        std::fs::write(path.join("deep/a"), "one").unwrap();
        std::fs::write(path.join("b"), "three").unwrap();
        std::os::unix::fs::symlink("b", path.join("link")).unwrap();
        let Description { manifest, stamp, left_out } =
            describe(&path, None, &Rules::default(), &mut |_| ControlFlow::Continue(())).unwrap();
        let files: Vec<_> = manifest.files().map(|file| file.path.as_str().to_owned()).collect();
        assert_eq!((files, manifest.geometry.size()), (vec!["b".to_owned(), "deep/a".to_owned()], 8));
        let look = || look_through(&path, &Rules::default()).unwrap();
        assert_eq!((look().stamp, look().files.len(), left_out.len()), (stamp, 2, 1));
        std::fs::rename(path.join("deep"), path.join("down")).unwrap();
        assert_ne!(look().stamp, stamp);
    }
}
