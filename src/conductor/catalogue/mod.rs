//! The conductor's catalogue: which compositions it knows, by info-hash, kept across restarts.
//!
//! The [`index`] is what every question is answered from; the [`store`] holds the same and the manifests, and is asked
//! only for those. A change goes to the store first: what is in the index is kept. [`writers`] knows who may change
//! what, [`gate`] which requests are answered at all, [`api`] speaks HTTP. Members are none of its business: they are
//! soft state in the table.
//!
//! Its limits are what strangers can make it keep where no token is set: [`MAX_ENTRIES`] compositions, [`MAX_KEPT`]
//! bytes of manifests.

pub mod api;
pub mod coming;
pub mod gate;
pub mod index;
pub mod redis;
pub mod sqlite;
pub mod store;
pub mod writers;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

use coming::Soon;
pub use gate::Gate;
use index::{Found, Index};
use redis::RedisStore;
use sqlite::Sqlite;
pub use store::{Store, StoreError};
pub use writers::{Writer, Writers};

use super::{Config, shared::RedisPlace};
use crate::{
    catalogue::{Coming, IfTaken, Key, MAX_MANIFEST},
    manifest::{Manifest, ManifestError, Name},
    metainfo::InfoHash,
};

/// Compositions in a catalogue, at most.
pub const MAX_ENTRIES: usize = 10_000;
/// Bytes of manifests in a catalogue, at most.
pub const MAX_KEPT: u64 = 512 << 20;

/// What is known of one composition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub info_hash: InfoHash,
    pub name: Name,
    /// In bytes.
    pub size: u64,
    /// In bytes.
    pub part_size: u32,
    pub parts: u32,
    /// Whose token registered it; None where there were no tokens.
    pub owner: Option<String>,
    /// In seconds since 1970.
    pub registered: u64,
    /// Length of its manifest in bytes.
    pub length: u64,
}

/// Where a catalogue is to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// In a SQLite file of this user's data folder.
    #[default]
    Here,
    /// Nowhere: it ends with the process.
    Memory,
    /// In this SQLite file, made when missing.
    Sqlite(PathBuf),
    /// In this Redis, in common with other conductors, as the members are.
    Redis(RedisPlace),
}

/// What became of a manifest that was to be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    New,
    /// It took another entry's place.
    Replaced,
    /// Exactly this was there already.
    Unchanged,
}

/// Why a catalogue did not do what it was asked for; the text is for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("this is no manifest of a composition: {0}")]
    Manifest(#[from] ManifestError),
    #[error("the manifest is {0} bytes long, and a catalogue takes {MAX_MANIFEST}: compose it with larger parts")]
    TooLong(usize),
    #[error(
        "this composition is closed: its manifest holds a secret and is not kept here; hand it to its members yourself"
    )]
    Closed,
    #[error("the manifest in the body is {there}, not {named}")]
    Other { there: String, named: String },
    #[error("{0} is registered already with another conductor or comment; --replace takes its place")]
    There(String),
    #[error("another {name} is registered already ({hash}): --replace takes its place, or give yours another name")]
    Taken { name: String, hash: InfoHash },
    #[error("{name} was registered by {owner}: only that token or the administrator's may change it")]
    NotYours { name: String, owner: String },
    #[error("{0} is not in this catalogue; GET /compositions lists what is")]
    Unknown(String),
    #[error("{0}")]
    Coming(Coming),
    #[error("{name} may mean {} compositions: ask for one by its info-hash, or as OWNER/NAME", .candidates.len())]
    Several { name: String, candidates: Vec<Entry> },
    #[error("the catalogue is full: ask its administrator to remove what nobody needs")]
    Full,
    #[error("the catalogue could not be read or written: {0}")]
    Store(#[from] StoreError),
}

/// Opens the catalogue that a conductor is told to keep, and says what its people should know of it. Blocks.
///
/// Members come first: where the user's data folder cannot be used, or another conductor uses it, a conductor that was
/// not told where to keep its catalogue keeps it in memory.
///
/// # Errors
/// The catalogue is where it should be and cannot be used.
pub fn open(config: &Config, addresses: &[SocketAddr]) -> Result<(Catalogue, Vec<String>), StoreError> {
    let mut warnings = Vec::new();
    let store: Box<dyn Store> = match &config.store {
        Keep::Memory => Box::<store::Memory>::default(),
        Keep::Sqlite(path) => Box::new(Sqlite::open(path)?),
        Keep::Redis(place) => Box::new(RedisStore::new(place.clone())),
        Keep::Here => match in_data_folder()? {
            Ok(store) => Box::new(store),
            Err(why) => {
                warnings.push(format!("the catalogue is kept in memory and ends with this conductor: {why}"));
                Box::<store::Memory>::default()
            }
        },
    };
    let writers = match &config.own_writer {
        Some(secret) => Writers::own(secret.clone()),
        None => Writers::new(config.tokens.clone()),
    };
    let anyone_writes = writers.is_anyone();
    let catalogue = Catalogue::open(store, writers, config.only_registered)?;
    if anyone_writes && addresses.iter().any(|address| !address.ip().is_loopback()) {
        warnings
            .push("no token is set: whoever reaches this conductor may register compositions (--token-file)".into());
    }
    Ok((catalogue, warnings))
}

/// The catalogue of this user, or why there can be none just now.
fn in_data_folder() -> Result<Result<Sqlite, String>, StoreError> {
    let Some(path) = sqlite::default_path() else {
        return Ok(Err("neither HOME nor XDG_DATA_HOME is set; --store sqlite:PATH keeps it".into()));
    };
    match Sqlite::open(&path) {
        Ok(store) => Ok(Ok(store)),
        Err(error @ (StoreError::InUse { .. } | StoreError::Folder { .. })) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// The catalogue of one conductor.
pub struct Catalogue {
    store: Mutex<Box<dyn Store>>,
    index: RwLock<Index>,
    writers: Writers,
    /// Whether a swarm needs an entry here to be conducted.
    only_registered: bool,
    /// What will be an entry soon.
    soon: Mutex<Soon>,
    start: Instant,
}

impl Catalogue {
    /// The catalogue that this store holds. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(mut store: Box<dyn Store>, writers: Writers, only_registered: bool) -> Result<Self, StoreError> {
        let index = Index::new(store.load()?);
        Ok(Self {
            store: Mutex::new(store),
            index: RwLock::new(index),
            writers,
            only_registered,
            soon: Mutex::default(),
            start: Instant::now(),
        })
    }

    /// An empty one that forgets everything at its end, and that anyone may write to.
    pub fn in_memory() -> Self {
        Self {
            store: Mutex::new(Box::new(store::Memory::default())),
            index: RwLock::default(),
            writers: Writers::default(),
            only_registered: false,
            soon: Mutex::default(),
            start: Instant::now(),
        }
    }

    pub fn writers(&self) -> &Writers {
        &self.writers
    }

    /// Whether this swarm is conducted here.
    pub fn admits(&self, info_hash: &InfoHash) -> bool {
        !self.only_registered || self.index().get(info_hash).is_some()
    }

    /// All entries, sorted by name, then by age, the oldest first.
    pub fn list(&self) -> Vec<Entry> {
        self.index().list()
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.index().count()
    }

    /// The one entry that the key names.
    pub fn find(&self, key: &Key) -> Result<Entry, CatalogueError> {
        match self.index().find(key) {
            Found::One(entry) => Ok(entry),
            Found::None => Err(match self.coming(key) {
                Some(coming) => CatalogueError::Coming(coming),
                None => CatalogueError::Unknown(key.to_string()),
            }),
            Found::Several(candidates) => Err(CatalogueError::Several { name: key.to_string(), candidates }),
        }
    }

    /// Takes in what somebody hashes.
    pub fn expect(&self, coming: Vec<Coming>) {
        self.soon().hear(coming, self.start.elapsed());
    }

    /// What will be an entry soon.
    pub fn expected(&self) -> Vec<Coming> {
        self.soon().list(self.start.elapsed())
    }

    fn coming(&self, key: &Key) -> Option<Coming> {
        match key {
            Key::Name(name) | Key::Owned { name, .. } => self.soon().get(name, self.start.elapsed()).cloned(),
            Key::Hash(_) => None,
        }
    }

    /// The text of an entry's manifest; None where it was removed meanwhile. Blocks.
    pub fn manifest(&self, info_hash: &InfoHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.store().manifest(info_hash)
    }

    /// Takes in what other conductors changed, where they share this catalogue. Blocks.
    ///
    /// # Errors
    /// The store cannot be read; the index stays as it is.
    pub fn refresh(&self) -> Result<(), StoreError> {
        self.follow(&mut **self.store())
    }

    /// As [`Catalogue::refresh`], by who has the store.
    fn follow(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        if let Some(entries) = store.reload()? {
            *self.index.write().unwrap_or_else(PoisonError::into_inner) = Index::new(entries);
        }
        Ok(())
    }

    /// Takes a manifest in under the writer's name. `named` is what the request called it. Blocks.
    ///
    /// An owner holds each name once, unless it is said that both are to stand; the same composition with other optional
    /// lines is replaced if that is asked for.
    pub fn register(
        &self,
        writer: &Writer,
        named: &Key,
        bytes: &[u8],
        if_taken: IfTaken,
        now: u64,
    ) -> Result<(Entry, Outcome), CatalogueError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(CatalogueError::TooLong(bytes.len()));
        }
        let manifest = Manifest::parse(bytes)?;
        if manifest.is_closed() {
            return Err(CatalogueError::Closed);
        }
        let text = manifest.render().into_bytes();
        let mut entry = Entry {
            info_hash: manifest.info_hash(),
            name: manifest.name.clone(),
            size: manifest.geometry.size(),
            part_size: manifest.geometry.part_size(),
            parts: manifest.geometry.parts(),
            owner: writer.owner().map(str::to_owned),
            registered: now,
            length: text.len() as u64,
        };
        check_name(&entry, named)?;
        // Held until the index is changed too: one change at a time.
        let mut store = self.store();
        self.follow(&mut **store)?;
        let old = self.index().get(&entry.info_hash).cloned();
        if let Some(old) = old {
            if store.manifest(&old.info_hash)?.as_ref() == Some(&text) {
                return Ok((old, Outcome::Unchanged));
            }
            writer.check(&old)?;
            if if_taken != IfTaken::Replace {
                return Err(CatalogueError::There(old.name.shown().into_owned()));
            }
            entry.owner = old.owner;
            self.keep(&mut **store, entry, &text, None)
        } else {
            let index = self.index();
            let taken = index.held(entry.owner.as_deref(), &entry.name).min_by_key(|entry| entry.registered);
            let taken = taken.map(|entry| entry.info_hash);
            drop(index);
            let instead_of = match (taken, if_taken) {
                (Some(hash), IfTaken::Refuse) => {
                    return Err(CatalogueError::Taken { name: entry.name.shown().into_owned(), hash });
                }
                (_, IfTaken::Beside) | (None, _) => None,
                (taken, IfTaken::Replace) => taken,
            };
            self.keep(&mut **store, entry, &text, instead_of)
        }
    }

    /// Writes an entry, in place of another one where there is one, to the store and then to the index.
    fn keep(
        &self,
        store: &mut dyn Store,
        entry: Entry,
        text: &[u8],
        instead_of: Option<InfoHash>,
    ) -> Result<(Entry, Outcome), CatalogueError> {
        let replaced = instead_of.unwrap_or(entry.info_hash);
        if !self.index().has_room(&entry, &replaced) {
            return Err(CatalogueError::Full);
        }
        store.put(&entry, text, instead_of)?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let outcome = match index.remove(&replaced) {
            Some(_) => Outcome::Replaced,
            None => Outcome::New,
        };
        index.insert(entry.clone());
        self.soon().remove(&entry.name);
        Ok((entry, outcome))
    }

    /// Takes out what the key names. Blocks.
    pub fn remove(&self, writer: &Writer, key: &Key) -> Result<Entry, CatalogueError> {
        let mut store = self.store();
        self.follow(&mut **store)?;
        let entry = self.find(key)?;
        writer.check(&entry)?;
        store.remove(&entry.info_hash)?;
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(&entry.info_hash);
        Ok(entry)
    }

    // A panic in one request is a bug of that one; nothing is left half done in either.
    fn store(&self) -> MutexGuard<'_, Box<dyn Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn soon(&self) -> MutexGuard<'_, Soon> {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the request named what its body holds.
fn check_name(entry: &Entry, named: &Key) -> Result<(), CatalogueError> {
    let fits = match named {
        Key::Hash(hash) => *hash == entry.info_hash,
        Key::Name(name) => *name == entry.name,
        Key::Owned { owner, name } => Some(owner) == entry.owner.as_ref() && *name == entry.name,
    };
    match fits {
        true => Ok(()),
        false => Err(CatalogueError::Other {
            there: format!("{} ({})", entry.name.shown(), entry.info_hash),
            named: named.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests;
