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

    /// All entries, if somebody else changed them since they were last read; None where nobody did, or can.
    fn reload(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        Ok(None)
    }

    /// The text of an entry's manifest; None where there is no such entry.
    fn manifest(&mut self, info_hash: &InfoHash) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps an entry, in place of what has the same hash; takes out `instead_of` in the same breath.
    fn put(&mut self, entry: &Entry, manifest: &[u8], instead_of: Option<InfoHash>) -> Result<(), StoreError>;

    /// Takes an entry out, if it is there.
    fn remove(&mut self, info_hash: &InfoHash) -> Result<(), StoreError>;
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
    Sqlite { path: PathBuf, error: rusqlite::Error },
    #[error("{place} does not answer ({error}): see to it that it runs and is reached from here, then try again")]
    Redis { place: RedisPlace, error: RedisError },
    #[error("{place}: another conductor changed the catalogue at the same moment: try again")]
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

    fn put(&mut self, entry: &Entry, manifest: &[u8], instead_of: Option<InfoHash>) -> Result<(), StoreError> {
        if let Some(old) = instead_of {
            self.entries.remove(&old);
        }
        self.entries.insert(entry.info_hash, (entry.clone(), manifest.to_owned()));
        Ok(())
    }

    fn remove(&mut self, info_hash: &InfoHash) -> Result<(), StoreError> {
        self.entries.remove(info_hash);
        Ok(())
    }
}
