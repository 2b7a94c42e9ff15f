//! The entries of a catalogue, found by hash, name and owner.
//!
//! Pure. Invariant: each entry of `entries` is once in `names` under its name, and nothing else is; the sum of the
//! manifests' lengths is `kept`; `of_owners` has what each owner holds.

use std::collections::{BTreeMap, HashMap};

use super::{Entry, MAX_ENTRIES, MAX_KEPT, writers::Share};
use crate::{catalogue::Key, manifest::Name, metainfo::InfoHash};

/// What one owner other than the administrator may hold, and what all of those together: so no token fills the catalogue
/// for the others, and none of them does for the administrator.
const SHARE_OF_ONE: Load = Load { entries: MAX_ENTRIES / 2, length: MAX_KEPT / 2 };
const SHARE_OF_OWNERS: Load = Load { entries: MAX_ENTRIES / 10 * 9, length: MAX_KEPT / 10 * 9 };
const ALL: Load = Load { entries: MAX_ENTRIES, length: MAX_KEPT };

#[derive(Default)]
pub struct Index {
    entries: HashMap<InfoHash, Entry>,
    names: BTreeMap<Name, Vec<InfoHash>>,
    kept: u64,
    of_owners: HashMap<Option<String>, Load>,
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

    /// Without this entry, which is part of it.
    fn without(self, entry: &Entry) -> Self {
        Self { entries: self.entries.saturating_sub(1), length: self.length.saturating_sub(entry.length) }
    }

    fn and(self, more: Self) -> Self {
        Self { entries: self.entries + more.entries, length: self.length + more.length }
    }

    /// Whether it is within this bound, wherever it is more than there was `before`.
    fn is_within(self, most: Self, before: Self) -> bool {
        let is_within = |now, before, most| now <= before || now <= most;
        is_within(self.entries as u64, before.entries as u64, most.entries as u64)
            && is_within(self.length, before.length, most.length)
    }
}

/// Why there is no room for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The catalogue is full, but for what is kept for the administrator.
    Room,
    /// Its owner holds as much as one owner may.
    Share,
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
        let of_owner = self.of_owners.entry(entry.owner.clone()).or_default();
        *of_owner = of_owner.with(&entry);
        self.names.entry(entry.name.clone()).or_default().push(entry.info_hash);
        self.entries.insert(entry.info_hash, entry);
    }

    pub fn remove(&mut self, info_hash: &InfoHash) -> Option<Entry> {
        let entry = self.entries.remove(info_hash)?;
        self.kept -= entry.length;
        if let Some(of_owner) = self.of_owners.get_mut(&entry.owner) {
            *of_owner = of_owner.without(&entry);
            if of_owner.entries == 0 {
                self.of_owners.remove(&entry.owner);
            }
        }
        if let Some(hashes) = self.names.get_mut(&entry.name) {
            hashes.retain(|hash| hash != info_hash);
            if hashes.is_empty() {
                self.names.remove(&entry.name);
            }
        }
        Some(entry)
    }

    /// What an entry lacks to fit in beside `more` that is not here yet, once `replaced` is out, if that is there.
    /// `share`: of what its writer may fill. Who holds more than that already may replace what is held.
    pub fn lacks(&self, entry: &Entry, replaced: &InfoHash, more: Load, share: Share) -> Option<Lack> {
        let old = self.entries.get(replaced);
        let with = |load: Load, old: Option<&Entry>| old.map_or(load, |old| load.without(old)).and(more).with(entry);
        let all = Load { entries: self.entries.len(), length: self.kept };
        let of_owner = self.of_owners.get(&entry.owner).copied().unwrap_or_default();
        let of_owner_then = with(of_owner, old.filter(|old| old.owner == entry.owner));
        let is_full = |most| !with(all, old).is_within(most, all);
        match share {
            Share::OfOne if !of_owner_then.is_within(SHARE_OF_ONE, of_owner) => Some(Lack::Share),
            Share::OfOne if is_full(SHARE_OF_OWNERS) => Some(Lack::Room),
            Share::All if is_full(ALL) => Some(Lack::Room),
            Share::OfOne | Share::All => None,
        }
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
                for owner in [None, Some(0), Some(1), Some(2)].map(|owner: Option<u8>| owner.map(|owner| owner.to_string())) {
                    let held = map.values().filter(|entry| entry.owner == owner);
                    let held = held.fold(Load::default(), |load, entry| load.with(entry));
                    prop_assert_eq!(index.of_owners.get(&owner).copied().unwrap_or_default(), held);
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
