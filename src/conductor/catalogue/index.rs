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

/// How much some entries take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    entries: usize,
    /// Length of their manifests in bytes.
    length: u64,
}

impl Load {
    /// With this entry too.
    pub fn with(self, entry: &Entry) -> Self {
        Self { entries: self.entries + 1, length: self.length + entry.length }
    }
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

    pub fn count(&self) -> usize {
        self.entries.len()
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

    /// Whether this entry fits in beside `more` that is not here yet, once `replaced` is out, if that is there.
    pub fn has_room(&self, entry: &Entry, replaced: &InfoHash, more: Load) -> bool {
        let (entries, kept) = match self.entries.get(replaced) {
            Some(old) => (self.entries.len() - 1, self.kept - old.length),
            None => (self.entries.len(), self.kept),
        };
        entries + more.entries < MAX_ENTRIES && kept + more.length + entry.length <= MAX_KEPT
    }

    pub fn find(&self, key: &Key) -> Found {
        let mut all: Vec<Entry> = match key {
            Key::Hash(hash) => self.entries.get(hash).into_iter().cloned().collect(),
            Key::Owned { owner, name } => self.held(Some(owner), name).cloned().collect(),
            Key::Name(name) => self.named(name).cloned().collect(),
        };
        match all.len() {
            0 | 1 => all.pop().map_or(Found::None, Found::One),
            _ => Found::Several(all),
        }
    }

    /// What this owner holds under this name.
    pub fn held(&self, owner: Option<&str>, name: &Name) -> impl Iterator<Item = &Entry> {
        self.named(name).filter(move |entry| entry.owner.as_deref() == owner)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(hash: u8, name: u8, owner: Option<u8>, length: u64) -> Entry {
        Entry {
            info_hash: InfoHash([hash; 20]),
            name: Name::new(&name.to_string()).unwrap(),
            size: 1,
            part_size: 1,
            parts: 1,
            owner: owner.map(|owner| owner.to_string()),
            registered: 0,
            length,
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_put_in(
            steps in prop::collection::vec((0u8..8, 0u8..4, prop::option::of(0u8..3), 0u64..9, any::<bool>()), 0..60),
        ) {
            let (mut index, mut map) = (Index::default(), HashMap::new());
            for (hash, name, owner, length, put) in steps {
                let entry = entry(hash, name, owner, length);
                if put {
                    index.insert(entry.clone());
                    map.insert(entry.info_hash, entry);
                } else {
                    prop_assert_eq!(index.remove(&entry.info_hash), map.remove(&entry.info_hash));
                }
                prop_assert_eq!(index.kept, map.values().map(|entry| entry.length).sum::<u64>());
                let list = index.list();
                prop_assert_eq!(list.len(), map.len());
                prop_assert!(list.is_sorted_by_key(|entry| entry.name.clone()));
                prop_assert!(list.iter().all(|entry| map.get(&entry.info_hash) == Some(entry)));
            }
            for name in 0..4 {
                let name = Name::new(&name.to_string()).unwrap();
                let found = match index.find(&Key::Name(name.clone())) {
                    Found::None => 0,
                    Found::One(_) => 1,
                    Found::Several(all) => all.len(),
                };
                prop_assert_eq!(found, map.values().filter(|entry| entry.name == name).count());
            }
        }
    }
}
