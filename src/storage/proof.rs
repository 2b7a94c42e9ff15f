//! What was once verified is remembered in the user's state folder: of each complete file that it is a composition, and
//! of each composition the SHA-1 of its whole.
//!
//! Nothing counts that is not this user's alone ([`own`]). A note on a file counts only while the file's [`Stamp`] is the one in it, and it is written after the data was
//! synced, so that after a crash a note never speaks of data that did not reach the disk. A note on a composition
//! counts for good, as parts with these SHA-1s make one whole (as far as SHA-1 can tell): who found all of them in a file
//! that was moved, linked or touched need not hash it a second time from end to end, which only one core could do.

use std::{
    env,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{Stamp, StorageError, note, own};
use crate::{
    hashing::{Digest, Hasher},
    metainfo::InfoHash,
};

/// What the programs remember for this user: `$XDG_STATE_HOME/orchestra`, else `~/.local/state/orchestra`; None where
/// neither is known.
pub fn state_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("orchestra"))
}

/// The notes of one user.
#[derive(Clone, Debug)]
pub struct Proofs {
    folder: PathBuf,
}

impl Proofs {
    /// In `proofs` below the [`state_folder`]; None where there is none.
    pub fn of_this_user() -> Option<Self> {
        Some(Self::in_folder(state_folder()?.join("proofs")))
    }

    /// In this folder, made when missing.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Notes that the file, or folder, at `path` was verified to be this composition, with its `whole` if that was
    /// hashed, when its stamp was `stamp`. The caller took the stamp before it hashed, found it unchanged after, and
    /// synced the data.
    pub fn remember(
        &self,
        path: &Path,
        info_hash: InfoHash,
        stamp: &Stamp,
        whole: Option<Digest>,
    ) -> Result<(), StorageError> {
        own::make_folder(&self.folder).map_err(|e| StorageError::io(&self.folder, "make the folder", e))?;
        if let Some(whole) = whole.filter(|whole| !self.make_whole(info_hash, *whole)) {
            note::write(&self.place_of_whole(info_hash), &body_of_whole(info_hash, whole))?;
        }
        let place = self.place(path, info_hash).map_err(|e| StorageError::io(path, "find it", e))?;
        note::write(&place, &body(info_hash, stamp))
    }

    /// Whether notes say that what is at `path`, a file or a folder of this stamp, is this composition, and that its
    /// whole has this SHA-1, if one is given.
    pub fn holds(&self, path: &Path, stamp: &Stamp, info_hash: InfoHash, whole: Option<Digest>) -> bool {
        let Ok(place) = self.place(path, info_hash) else { return false };
        let parts = note::read(&place).is_some_and(|text| text == body(info_hash, stamp));
        parts && whole.is_none_or(|whole| self.make_whole(info_hash, whole))
    }

    /// Whether a note says that the parts of this composition make a whole of this SHA-1.
    pub fn make_whole(&self, info_hash: InfoHash, whole: Digest) -> bool {
        note::read(&self.place_of_whole(info_hash)).is_some_and(|text| text == body_of_whole(info_hash, whole))
    }

    fn place_of_whole(&self, info_hash: InfoHash) -> PathBuf {
        self.folder.join(format!("{info_hash}.whole"))
    }

    /// Where the note on this file as this composition is, under whatever name the file is reached.
    fn place(&self, path: &Path, info_hash: InfoHash) -> std::io::Result<PathBuf> {
        let mut key = Hasher::new();
        key.update(&info_hash.0);
        key.update(path.canonicalize()?.as_os_str().as_bytes());
        Ok(self.folder.join(key.finish().to_string()))
    }
}

fn body(info_hash: InfoHash, stamp: &Stamp) -> String {
    format!("orchestra proof 1\ninfo-hash {}\nstamp {stamp}\n", hex::encode(info_hash.0))
}

fn body_of_whole(info_hash: InfoHash, whole: Digest) -> String {
    format!("orchestra whole 1\ninfo-hash {}\nwhole {whole}\n", hex::encode(info_hash.0))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    const THIS: InfoHash = InfoHash([1; 20]);

    fn stamp(file: &File) -> Stamp {
        Stamp::of(file).unwrap()
    }

    #[test]
    fn a_proof_holds_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let proofs = Proofs::in_folder(dir.path().join("state/proofs"));
        let path = dir.path().join("file");
        fs::write(&path, "data").unwrap();
        let file = File::open(&path).unwrap();
        assert!(!proofs.holds(&path, &stamp(&file), THIS, None));
        proofs.remember(&path, THIS, &Stamp::of(&file).unwrap(), None).unwrap();
        assert!(proofs.holds(&path, &stamp(&file), THIS, None));
        assert!(!proofs.holds(&path, &stamp(&file), InfoHash([2; 20]), None));
        fs::write(&path, "date").unwrap();
        assert!(!proofs.holds(&path, &stamp(&file), THIS, None));
    }

    #[test]
    fn a_whole_is_of_one_composition() {
        let dir = tempfile::tempdir().unwrap();
        let proofs = Proofs::in_folder(dir.path());
        let path = dir.path().join("file");
        fs::write(&path, "data").unwrap();
        let stamp = stamp(&File::open(&path).unwrap());
        let (right, wrong) = (Digest([3; 20]), Digest([4; 20]));
        proofs.remember(&path, THIS, &stamp, None).unwrap();
        assert!(!proofs.make_whole(THIS, right));
        proofs.remember(&path, THIS, &stamp, Some(right)).unwrap();
        assert!(proofs.make_whole(THIS, right) && proofs.holds(&path, &stamp, THIS, Some(right)));
        assert!(!proofs.make_whole(THIS, wrong) && !proofs.holds(&path, &stamp, THIS, Some(wrong)));
        assert!(!proofs.make_whole(InfoHash([2; 20]), right));
    }

    #[test]
    fn a_proof_is_for_one_place() {
        let dir = tempfile::tempdir().unwrap();
        let proofs = Proofs::in_folder(dir.path());
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::write(&one, "data").unwrap();
        fs::write(&other, "data").unwrap();
        let file = File::open(&one).unwrap();
        proofs.remember(&one, THIS, &Stamp::of(&file).unwrap(), None).unwrap();
        assert!(!proofs.holds(&other, &stamp(&File::open(&other).unwrap()), THIS, None));
        assert!(proofs.holds(&dir.path().join("./one"), &stamp(&file), THIS, None));
    }
}
