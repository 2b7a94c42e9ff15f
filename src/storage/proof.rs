//! What was once verified is remembered in the user's state folder: of each complete file that it is a composition, and
//! of each composition the SHA-1 of its whole.
//!
//! Nothing counts that is not this user's alone ([`own`]). A note on a file counts only while the file's [`Stamp`] is the one in it, and it is written after the data was
//! synced, so that after a crash a note never speaks of data that did not reach the disk. A note on a composition
//! counts for good, as parts with these SHA-1s make one whole (as far as SHA-1 can tell): who found all of them in a file
//! that was moved, linked or touched need not hash it a second time from end to end, which only one core could do.
//!
//! Once a day the folder is tidied: [`MAX_PROOFS`] notes stay at most, and none that is older than [`MAX_PROOF_AGE`]. What is
//! forgotten so is hashed again.

use std::{
    env, fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{Stamp, StorageError, note, own};
use crate::{
    hashing::{Digest, Hasher},
    metainfo::InfoHash,
};

/// Notes that are kept, at most: about 200 bytes each.
const MAX_PROOFS: usize = 50_000;
/// Age after which a note is forgotten.
const MAX_PROOF_AGE: Duration = Duration::from_secs(400 * 86_400);
/// Time between two times that the folder is tidied.
const TIDY_INTERVAL: Duration = Duration::from_secs(86_400);
/// Ending of the file beside the folder whose modification time says when that was last done.
const TIDIED: &str = "tidied";

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
        note::write(&place, &body(info_hash, stamp))?;
        self.tidy(SystemTime::now());
        Ok(())
    }

    /// Forgets old notes, unless that was done within the last day.
    fn tidy(&self, now: SystemTime) {
        let tidied = self.folder.with_extension(TIDIED);
        let last = fs::metadata(&tidied).and_then(|meta| meta.modified());
        if last.is_ok_and(|last| now.duration_since(last).is_ok_and(|since| since < TIDY_INTERVAL)) {
            return;
        }
        let done =
            note::write(&tidied, "").and_then(|()| note::forget_old(&self.folder, MAX_PROOFS, MAX_PROOF_AGE, now));
        if let Err(error) = done {
            log::info!("{}: old notes are not forgotten: {error}", self.folder.display());
        }
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
    fn old_notes_are_forgotten_once_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let proofs = Proofs::in_folder(dir.path().join("proofs"));
        let file = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, name).unwrap();
            (path.clone(), stamp(&File::open(&path).unwrap()))
        };
        let ((old, of_old), (new, of_new)) = (file("old"), file("new"));
        let remember = |path: &Path, stamp: &Stamp| proofs.remember(path, THIS, stamp, None).unwrap();
        let holds = || [proofs.holds(&old, &of_old, THIS, None), proofs.holds(&new, &of_new, THIS, None)];
        remember(&old, &of_old);
        let write_time =
            |path: PathBuf, time| File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        write_time(proofs.place(&old, THIS).unwrap(), SystemTime::now() - MAX_PROOF_AGE);
        remember(&new, &of_new);
        assert_eq!(holds(), [true, true], "it was tidied with the first note");
        write_time(proofs.folder.with_extension(TIDIED), SystemTime::now() - TIDY_INTERVAL);
        remember(&new, &of_new);
        assert_eq!(holds(), [false, true]);
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
