//! One thing to share, a file or a folder, as it is on the disk now.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use crate::{
    composer::{self, ComposeError, Looked, Rules},
    storage::{Stamp, Writers},
};

/// What it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The same stamp means that nothing in it was touched.
    pub stamp: Stamp,
    /// When anything in it was touched last, in nanoseconds since 1970; 0 of a folder without files.
    pub changed: i128,
    /// A program has it, or a file in it, open for writing.
    pub is_written: bool,
    /// Whether all programs that might were seen.
    pub is_known: bool,
}

/// What is looked at, and how.
#[derive(Clone, Debug, Default)]
pub struct Glass {
    pub rules: Rules,
    pub writers: Writers,
}

impl Look {
    /// Of a folder: there is no file in it.
    pub fn is_empty_folder(&self) -> bool {
        self.changed == 0
    }

    /// Looks at an ordinary file, or through a folder; a link leads to either. Blocks.
    ///
    /// # Errors
    /// It is not there, or neither, or holds what no manifest can; the kind says whether it is gone.
    pub fn at(path: &Path, glass: &Glass) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        let is_known = glass.writers.knows_of(meta.uid());
        if !meta.is_dir() {
            let stamp = Stamp::from_metadata(&meta);
            let is_written = glass.writers.has(&stamp);
            return Ok(Self { stamp, changed: stamp.changed, is_written, is_known });
        }
        let looked = composer::look_through(path, &glass.rules).map_err(|error| match error {
            ComposeError::Read { error, .. } => error,
            other => io::Error::other(other),
        });
        let Looked { stamp, files } = looked?;
        let changed = files.iter().map(|file| file.changed).max().unwrap_or_default();
        let is_written = files.iter().any(|file| glass.writers.has(file));
        Ok(Self { stamp, changed, is_written, is_known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_another_stamp_when_anything_in_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("f/deep")).unwrap();
        fs::write(at("f/deep/a"), "one").unwrap();
        let first = Look::at(&at("f"), &Glass::default()).unwrap();
        assert_eq!((first.stamp.size, Look::at(&at("f"), &Glass::default()).unwrap()), (3, first));
        fs::write(at("f/b"), "").unwrap();
        let second = Look::at(&at("f"), &Glass::default()).unwrap();
        assert!(second.stamp != first.stamp && second.changed >= first.changed);
        fs::rename(at("f/b"), at("f/c")).unwrap();
        assert_ne!(Look::at(&at("f"), &Glass::default()).unwrap().stamp, second.stamp);
        assert_eq!(Look::at(&at("g"), &Glass::default()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
