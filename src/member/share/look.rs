//! One thing to share, a file or a folder, as it is on the disk now.

use std::{fs, io, path::Path};

use crate::{
    composer::{self, ComposeError},
    storage::Stamp,
};

/// What it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The same stamp means that nothing in it was touched.
    pub stamp: Stamp,
    /// When anything in it was touched last, in nanoseconds since 1970; 0 of a folder without files.
    pub changed: i128,
}

impl Look {
    /// Of a folder: there is no file in it.
    pub fn is_empty_folder(&self) -> bool {
        self.changed == 0
    }

    /// Looks at an ordinary file, or through a folder. Blocks.
    ///
    /// # Errors
    /// It is not there, or neither, or holds what no manifest can; the kind says whether it is gone.
    pub fn at(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_dir() {
            let stamp = Stamp::from_metadata(&meta);
            return Ok(Self { stamp, changed: stamp.changed });
        }
        let looked = composer::look_through(path).map_err(|error| match error {
            ComposeError::Read { error, .. } => error,
            other => io::Error::other(other),
        });
        looked.map(|(stamp, changed)| Self { stamp, changed })
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
        let first = Look::at(&at("f")).unwrap();
        assert_eq!((first.stamp.size, Look::at(&at("f")).unwrap()), (3, first));
        fs::write(at("f/b"), "").unwrap();
        let second = Look::at(&at("f")).unwrap();
        assert!(second.stamp != first.stamp && second.changed >= first.changed);
        fs::rename(at("f/b"), at("f/c")).unwrap();
        assert_ne!(Look::at(&at("f")).unwrap().stamp, second.stamp);
        assert_eq!(Look::at(&at("g")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
