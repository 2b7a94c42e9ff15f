//! The entries of a catalogue, found by hash, name and owner.
//!
//! Pure. Invariant: each entry of `entries` is once in `names` under its name, and nothing else is; the sum of the
//! manifests' lengths is `kept`.

use std::collections::{BTreeMap, HashMap};

use super::{Entry, MAX_ENTRIES, MAX_KEPT};
use crate::{catalogue::Key, manifest::Name, metainfo::InfoHash};

#[derive(Default)]
pub struct Index {
    entries: HashMap<InfoHash, Entry>,
    names: BTreeMap<Name, Vec<InfoHash>>,
    kept: u64,
}

/// What a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    None,
    One(Entry),
    Several(Vec<Entry>),
}

impl Index {
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut index = Self::default();
        entries.into_iter().for_each(|entry| index.insert(entry));
        index
    }

    pub fn get(&self, info_hash: &InfoHash) -> Option<&Entry> {
        self.entries.get(info_hash)
    }

    /// In place of what has the same hash.
    pub fn insert(&mut self, entry: Entry) {
        self.remove(&entry.info_hash);
        self.kept += entry.length;
        self.names.entry(entry.name.clone()).or_default().push(entry.info_hash);
        self.entries.insert(entry.info_hash, entry);
    }

    pub fn remove(&mut self, info_hash: &InfoHash) -> Option<Entry> {
        let entry = self.entries.remove(info_hash)?;
        self.kept -= entry.length;
        if let Some(hashes) = self.names.get_mut(&entry.name) {
            hashes.retain(|hash| hash != info_hash);
            if hashes.is_empty() {
                self.names.remove(&entry.name);
            }
        }
        Some(entry)
    }

    /// Whether this entry fits in once `replaced` is out, if that is there.
    pub fn has_room(&self, entry: &Entry, replaced: &InfoHash) -> bool {
        let (entries, kept) = match self.entries.get(replaced) {
            Some(old) => (self.entries.len() - 1, self.kept - old.length),
            None => (self.entries.len(), self.kept),
        };
        entries < MAX_ENTRIES && kept + entry.length <= MAX_KEPT
    }

    pub fn find(&self, key: &Key) -> Found {
        let one = |entry: Option<&Entry>| entry.cloned().map_or(Found::None, Found::One);
        match key {
            Key::Hash(hash) => one(self.entries.get(hash)),
            Key::Owned { owner, name } => one(self.held(Some(owner), name)),
            Key::Name(name) => {
                let mut all: Vec<Entry> = self.named(name).cloned().collect();
                match all.len() {
                    0 | 1 => all.pop().map_or(Found::None, Found::One),
                    _ => Found::Several(all),
                }
            }
        }
    }

    /// What this owner holds under this name.
    pub fn held(&self, owner: Option<&str>, name: &Name) -> Option<&Entry> {
        self.named(name).find(|entry| entry.owner.as_deref() == owner)
    }

    /// Sorted by name, then by age, the oldest first.
    pub fn list(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::with_capacity(self.entries.len());
        for name in self.names.keys() {
            let start = all.len();
            all.extend(self.named(name).cloned());
            all[start..].sort_by_key(|entry| (entry.registered, entry.info_hash));
        }
        all
    }

    fn named(&self, name: &Name) -> impl Iterator<Item = &Entry> {
        let hashes = self.names.get(name).into_iter().flatten();
        hashes.filter_map(|hash| self.entries.get(hash))
    }
}
