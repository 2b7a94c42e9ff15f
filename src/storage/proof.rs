//! What was once verified is remembered: a note in the user's state folder for each complete file.
//!
//! A note counts only while the file's [`Stamp`] is the one in it. It is written after the data was synced.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{Stamp, StorageError};
use crate::metainfo::InfoHash;

/// The notes of one user.
#[derive(Clone, Debug)]
pub struct Proofs {
    folder: PathBuf,
}

impl Proofs {
    /// In `$XDG_STATE_HOME/orchestra/proofs`, else `~/.local/state/orchestra/proofs`; None where neither is known.
    pub fn of_this_user() -> Option<Self> {
        todo!()
    }

    /// In this folder, made when missing.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Notes that the file at `path` was verified to be this composition when its stamp was `stamp`. The caller took
    /// the stamp before it hashed and found it unchanged after, and synced the data.
    pub fn remember(
        &self,
        path: &Path,
        info_hash: InfoHash,
        stamp: &Stamp,
    ) -> Result<(), StorageError> {
        let _ = (path, info_hash, stamp, &self.folder);
        todo!()
    }

    /// Whether a note says that this open file, found at `path`, is this composition.
    pub fn holds(&self, path: &Path, file: &File, info_hash: InfoHash) -> bool {
        let _ = (path, file, info_hash);
        todo!()
    }
}
