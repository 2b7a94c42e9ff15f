//! Info dictionaries that magnet links led to, remembered in the user's state folder: the same link then goes on with
//! nobody else there, also for a file that is whole.
//!
//! Each is in a file named by its info-hash, and counts only if its bytes have that hash: nothing in here is believed.
//! At most [`MOST`] are kept, those that were written last.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{StorageError, note, os, own, proof::state_folder};
use crate::metainfo::InfoHash;

/// How many are kept.
const MOST: usize = 64;
/// Longer ones are neither written nor read, in bytes.
const MAX_SIZE: usize = 8 << 20;

/// The info dictionaries of one user.
#[derive(Clone, Debug)]
pub struct Infos {
    folder: PathBuf,
}

impl Infos {
    /// In `$XDG_STATE_HOME/orchestra/infos`, else `~/.local/state/orchestra/infos`; None where neither is known.
    pub fn of_this_user() -> Option<Self> {
        Some(Self::in_folder(state_folder()?.join("infos")))
    }

    /// In this folder, made when missing.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The dictionary of this swarm, if it is remembered.
    pub fn get(&self, hash: InfoHash) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = os::open_existing(&self.place(hash), false).ok()?;
        file.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes).ok()?;
        (InfoHash::of(&bytes) == hash).then_some(bytes)
    }

    /// Remembers this dictionary. What is too long to be asked of members is not.
    pub fn remember(&self, bytes: &[u8]) -> Result<(), StorageError> {
        if bytes.len() > MAX_SIZE {
            return Ok(());
        }
        own::make_folder(&self.folder).map_err(|e| StorageError::io(&self.folder, "make the folder", e))?;
        let place = self.place(InfoHash::of(bytes));
        write(&place, bytes).map_err(|e| StorageError::io(&place, "write it", e))?;
        note::forget_old(&self.folder, MOST, Duration::MAX, SystemTime::now())
    }

    fn place(&self, hash: InfoHash) -> PathBuf {
        self.folder.join(hash.to_string())
    }
}

/// Under a name of its own first, so that nobody reads half of it.
fn write(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = note::beside(place, &format!(".{}", std::process::id()));
    // What another process of this number left.
    let _ = fs::remove_file(&new);
    let written =
        os::create_private(&new).and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(&new, place));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_was_remembered_is_there_and_nothing_else_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let infos = Infos::in_folder(dir.path().join("state/infos"));
        let hash = InfoHash::of(b"info");
        assert_eq!(infos.get(hash), None);
        infos.remember(b"info").unwrap();
        assert_eq!(infos.get(hash).as_deref(), Some(&b"info"[..]));
        fs::write(infos.place(hash), "onfi").unwrap();
        assert_eq!(infos.get(hash), None);
        infos.remember(b"info").unwrap();
        assert_eq!(infos.get(hash).as_deref(), Some(&b"info"[..]));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let infos = Infos::in_folder(dir.path());
        infos.remember(b"old").unwrap();
        let old = File::options().write(true).open(infos.place(InfoHash::of(b"old"))).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        (0..MOST as u32).for_each(|n| infos.remember(&n.to_be_bytes()).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MOST);
        assert_eq!(infos.get(InfoHash::of(b"old")), None);
    }
}
