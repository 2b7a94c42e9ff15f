//! Where a catalogue is kept, whatever that is.
//!
//! A [`Store`] decides nothing: it keeps what it is given, and what it has confirmed survives a crash as far as its
//! kind can. Everything in it blocks.

use std::{collections::HashMap, io, path::PathBuf};

use redis::RedisError;

use super::Entry;
use crate::{conductor::shared::RedisPlace, metainfo::InfoHash};

/// A place for entries and their manifests.
pub trait Store: Send {
    /// All entries.
    fn load(&mut self) -> Result<Vec<Entry>, StoreError>;

    /// What others changed since the entries were last read.
    fn changes(&mut self) -> Result<Changes, StoreError> {
        Ok(Changes::None)
    }

    /// The text of an entry's manifest; None where there is no such entry.
    fn manifest(&mut self, info_hash: &InfoHash) -> Result<Option<Vec<u8>>, StoreError>;

    /// Whether it takes changes now.
    fn probe(&mut self) -> Result<(), StoreError>;

    /// Keeps all of these or, where that fails, none of them.
    fn put(&mut self, puts: &[Put<'_>]) -> Result<(), StoreError>;

    /// Takes an entry out, if it is there.
    fn remove(&mut self, info_hash: &InfoHash) -> Result<(), StoreError>;
}

/// An entry to be kept in place of what has the same hash.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    pub entry: &'a Entry,
    pub manifest: &'a [u8],
    /// Another entry, to be removed in the same change.
    pub instead_of: Option<InfoHash>,
}

/// What others changed in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    None,
    /// These are new or different, and those are removed.
    Some {
        kept: Vec<Entry>,
        removed: Vec<InfoHash>,
    },
    /// All entries, where it is not known what changed.
    All(Vec<Entry>),
}

/// Why a store did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot make the folder {}: {error}; give another place with --store sqlite:PATH", .path.display())]
    Folder { path: PathBuf, error: io::Error },
    #[error(
        "{} is in use by another conductor: give this one --store memory or --store sqlite:PATH with another path",
        .path.display()
    )]
    InUse { path: PathBuf },
    #[error("{} is no catalogue of a conductor: give another place with --store sqlite:PATH", .path.display())]
    Strange { path: PathBuf },
    #[error("{} was written by a later version of conductor: use that one, or another place with --store", .path.display())]
    Later { path: PathBuf },
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{} was moved, removed or replaced: what is registered now is lost at the end; start the conductor again", .path.display())]
    Moved { path: PathBuf },
    #[error("{}: {error}", .path.display())]
    Sqlite { path: PathBuf, error: rusqlite::Error },
    #[error("{place} does not answer ({error}): see to it that it runs and is reached from here, then try again")]
    Redis { place: RedisPlace, error: RedisError },
    #[error("{place}: other conductors changed the catalogue at the same moment, again and again: try again")]
    Raced { place: RedisPlace },
}

/// Forgets everything at the end of the process.
#[derive(Default)]
pub struct Memory {
    entries: HashMap<InfoHash, (Entry, Vec<u8>)>,
}

impl Store for Memory {
    fn load(&mut self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.entries.values().map(|(entry, _)| entry.clone()).collect())
    }

    fn manifest(&mut self, info_hash: &InfoHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.entries.get(info_hash).map(|(_, manifest)| manifest.clone()))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn put(&mut self, puts: &[Put<'_>]) -> Result<(), StoreError> {
        for Put { entry, manifest, instead_of } in puts {
            if let Some(old) = instead_of {
                self.entries.remove(old);
            }
            self.entries.insert(entry.info_hash, ((*entry).clone(), manifest.to_vec()));
        }
        Ok(())
    }

    fn remove(&mut self, info_hash: &InfoHash) -> Result<(), StoreError> {
        self.entries.remove(info_hash);
        Ok(())
    }
}
