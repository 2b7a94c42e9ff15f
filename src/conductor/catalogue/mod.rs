//! The conductor's catalogue: which compositions it knows, by info-hash, kept across restarts.
//!
//! The [`index`] is what every question is answered from; the [`store`] holds the same and the manifests, and is asked
//! only for those. A change goes to the store first: what is in the index is kept. [`writers`] knows who may change
//! what, [`register`] takes manifests in, [`gate`] decides which requests are answered at all, [`api`] speaks HTTP. Members are none of its business: they are
//! soft state in the table.
//!
//! Its limits are what strangers can make it keep where no token is set: [`MAX_ENTRIES`] compositions, [`MAX_KEPT`]
//! bytes of manifests.

pub mod api;
pub mod api_error;
pub mod coming;
pub mod copies;
pub mod gate;
pub mod index;
mod listing;
pub mod redis;
pub mod register;
pub mod sqlite;
pub mod store;
pub mod uploads;
pub mod writers;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use coming::Soon;
pub use gate::Gate;
use index::{Found, Index};
use redis::RedisStore;
use sqlite::Sqlite;
use store::Changes;
pub use store::{Store, StoreError};
pub use writers::{TokenRefused, Writer, Writers};

use super::{Config, shared::RedisPlace};
use crate::{
    catalogue::{Coming, Key, MAX_MANIFEST, token::Owned},
    manifest::{ManifestError, Name},
    metainfo::InfoHash,
};

/// Compositions in a catalogue, at most.
pub const MAX_ENTRIES: usize = 10_000;
/// Bytes of manifests in a catalogue, at most.
pub const MAX_KEPT: u64 = 512 << 20;

/// How often a change is made anew that other conductors came before, at most: with the pauses that takes some two
/// seconds.
const MAX_RACES: u32 = 24;
/// The longest pause before a change is made anew: twice as long each time, from the shortest to the longest. The pause
/// itself is random, so that conductors do not meet again and again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(256);
/// The store is tried at most this often to see whether it is ready, however many ask.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

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
    #[error(
        "the manifest is longer than the {MAX_MANIFEST} bytes that a catalogue takes: compose it with larger parts"
    )]
    TooLong,
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
    #[error("{0} holds as much of this catalogue as one token may: half of it; remove what nobody needs")]
    Share(String),
    #[error("the catalogue could not be read or written: {0}")]
    Store(Arc<StoreError>),
}

impl From<StoreError> for CatalogueError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
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
    writers: RwLock<Writers>,
    /// Whether a swarm needs an entry here to be conducted.
    only_registered: bool,
    /// What will be an entry soon.
    soon: Mutex<Soon>,
    start: Instant,
    troubles: Troubles,
    /// When the store was tried last, and what came of it.
    probed: Mutex<Option<(Instant, Readiness)>>,
    /// Counts changes of the index and of what is expected.
    generation: AtomicU64,
}

/// Whether a store takes changes, and why not.
pub type Readiness = Result<(), Arc<StoreError>>;

/// What went wrong with the store since the start, in numbers.
#[derive(Debug, Default)]
pub struct Troubles {
    /// Questions to the store that failed.
    pub failed: AtomicU64,
    /// Changes that were made anew since another conductor came before.
    pub raced: AtomicU64,
}

impl Catalogue {
    /// The catalogue that this store holds. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(mut store: Box<dyn Store>, writers: Writers, only_registered: bool) -> Result<Self, StoreError> {
        let index = Index::new(store.load()?);
        Ok(Self { index: RwLock::new(index), ..Self::over(store, writers, only_registered) })
    }

    /// An empty one that forgets everything at its end, and that anyone may write to.
    pub fn in_memory() -> Self {
        Self::over(Box::<store::Memory>::default(), Writers::default(), false)
    }

    fn over(store: Box<dyn Store>, writers: Writers, only_registered: bool) -> Self {
        Self {
            store: Mutex::new(store),
            index: RwLock::default(),
            writers: RwLock::new(writers),
            only_registered,
            soon: Mutex::default(),
            start: Instant::now(),
            troubles: Troubles::default(),
            probed: Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }

    /// Whose token this is.
    pub fn admit(&self, token: Option<&[u8]>) -> Result<Writer, TokenRefused> {
        self.writers.read().unwrap_or_else(PoisonError::into_inner).admit(token)
    }

    /// Other tokens count from now on.
    pub fn set_tokens(&self, tokens: Vec<Owned>) {
        *self.writers.write().unwrap_or_else(PoisonError::into_inner) = Writers::new(tokens);
    }

    pub fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Whether the store takes changes, as it was when it was last tried. Blocks.
    ///
    /// # Errors
    /// It does not.
    pub fn ready(&self) -> Readiness {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, result)) = &*probed
            && when.elapsed() < PROBE_INTERVAL
        {
            return result.clone();
        }
        let result = self.counted(self.store().probe()).map_err(Arc::new);
        *probed = Some((Instant::now(), result.clone()));
        result
    }

    /// Counts what failed.
    fn counted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) | Err(StoreError::Raced { .. }) => {}
            Err(_) => _ = self.troubles.failed.fetch_add(1, Ordering::Relaxed),
        }
        result
    }

    /// Whether this swarm is conducted here.
    pub fn admits(&self, info_hash: &InfoHash) -> bool {
        !self.only_registered || self.index().get(info_hash).is_some()
    }

    /// All entries, sorted by name, then by age, the oldest first.
    pub fn list(&self) -> Vec<Entry> {
        self.index().list()
    }

    /// A number that is another after each change of what [`Catalogue::list`] and [`Catalogue::expected`] say.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn has_changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
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

    /// Takes in what `source` hashes.
    pub fn expect(&self, source: IpAddr, coming: Vec<Coming>) {
        self.soon().hear(source, coming, self.start.elapsed());
        self.has_changed();
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
        self.counted(self.store().manifest(info_hash))
    }

    /// Takes in what other conductors changed, where they share this catalogue. Blocks.
    ///
    /// # Errors
    /// The store cannot be read; the index stays as it is.
    pub fn refresh(&self) -> Result<(), StoreError> {
        self.counted(self.follow(&mut **self.store()))
    }

    /// As [`Catalogue::refresh`], by the holder of the store.
    fn follow(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        let changes = store.changes()?;
        match changes {
            Changes::None => {}
            Changes::All(entries) => *self.index_mut() = Index::new(entries),
            Changes::Some { kept, removed } => {
                let mut index = self.index_mut();
                removed.iter().for_each(|hash| drop(index.remove(hash)));
                kept.into_iter().for_each(|entry| index.insert(entry));
            }
        }
        Ok(())
    }

    /// Removes the entry that the key names. Blocks.
    pub fn remove(&self, writer: &Writer, key: &Key) -> Result<Entry, CatalogueError> {
        let mut store = self.store();
        self.again_if_raced(|| {
            self.follow(&mut **store)?;
            let entry = match self.find(key).and_then(|entry| writer.check(&entry).map(|()| entry)) {
                Ok(entry) => entry,
                Err(error) => return Ok(Err(error)),
            };
            store.remove(&entry.info_hash)?;
            self.index_mut().remove(&entry.info_hash);
            Ok(Ok(entry))
        })?
    }

    /// Makes a change, and makes it anew where other conductors came before it. Blocks.
    fn again_if_raced<T>(&self, mut change: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut longest = SHORTEST_PAUSE;
        for _ in 0..MAX_RACES {
            match change() {
                Err(StoreError::Raced { .. }) => self.troubles.raced.fetch_add(1, Ordering::Relaxed),
                done => return self.counted(done),
            };
            std::thread::sleep(longest.mul_f64(fastrand::f64()));
            longest = (longest * 2).min(LONGEST_PAUSE);
        }
        self.counted(change())
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

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        let index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever reads the new number reads the new index.
        self.has_changed();
        index
    }
}

#[cfg(test)]
mod tests;
