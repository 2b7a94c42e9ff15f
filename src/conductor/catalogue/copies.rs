//! Copies of manifests in memory, as far as they fit: they are given out, and given back, while the store that holds
//! the originals is away.
//!
//! Pure. Invariant: `length` is the sum of the lengths of the copies, and at most [`MAX_COPIED`].

use std::collections::HashMap;

use super::Entry;
use crate::metainfo::InfoHash;

/// Total length of the copies, in bytes, at most.
pub const MAX_COPIED: u64 = 64 << 20;

#[derive(Default)]
pub struct Copies {
    by_hash: HashMap<InfoHash, (Entry, Vec<u8>)>,
    length: u64,
}

impl Copies {
    pub fn get(&self, info_hash: &InfoHash) -> Option<&[u8]> {
        self.by_hash.get(info_hash).map(|(_, text)| text.as_slice())
    }

    /// Whether a copy of exactly this entry's manifest is here.
    pub fn has(&self, entry: &Entry) -> bool {
        self.by_hash.get(&entry.info_hash).is_some_and(|(copied, _)| copied == entry)
    }

    /// How many bytes more fit.
    pub fn room(&self) -> u64 {
        MAX_COPIED - self.length
    }

    /// Copies a manifest in place of an older one of the same hash; it is not copied where there is no room.
    pub fn insert(&mut self, entry: Entry, text: Vec<u8>) {
        self.remove(&entry.info_hash);
        let length = text.len() as u64;
        if self.length.saturating_add(length) <= MAX_COPIED {
            self.length += length;
            self.by_hash.insert(entry.info_hash, (entry, text));
        }
    }

    pub fn remove(&mut self, info_hash: &InfoHash) {
        if let Some((_, text)) = self.by_hash.remove(info_hash) {
            self.length -= text.len() as u64;
        }
    }

    /// Drops the copies of what is not in this list.
    pub fn keep_only(&mut self, entries: &[Entry]) {
        let there: HashMap<&InfoHash, &Entry> = entries.iter().map(|entry| (&entry.info_hash, entry)).collect();
        self.by_hash.retain(|hash, (copied, _)| there.get(hash).is_some_and(|entry| *entry == copied));
        self.length = self.by_hash.values().map(|(_, text)| text.len() as u64).sum();
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        self.by_hash.values().map(|(entry, text)| (entry, text.as_slice()))
    }

    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Name;

    fn entry(hash: u8, registered: u64) -> Entry {
        Entry {
            info_hash: InfoHash([hash; 20]),
            name: Name::new("x").unwrap(),
            size: 1,
            part_size: 1,
            parts: 1,
            owner: None,
            registered,
            length: 3,
        }
    }

    #[test]
    fn what_is_copied_is_counted() {
        let mut copies = Copies::default();
        copies.insert(entry(1, 0), b"one".to_vec());
        copies.insert(entry(2, 0), b"two".to_vec());
        copies.insert(entry(1, 5), b"uno".to_vec());
        assert_eq!((copies.len(), copies.length), (2, 6));
        assert!(copies.has(&entry(1, 5)) && !copies.has(&entry(1, 0)));
        copies.keep_only(&[entry(1, 5), entry(2, 9), entry(3, 0)]);
        assert_eq!((copies.len(), copies.length), (1, 3), "the second is another one now");
        assert_eq!(copies.get(&InfoHash([1; 20])), Some(&b"uno"[..]));
        copies.insert(entry(4, 0), vec![0; MAX_COPIED as usize]);
        assert_eq!(copies.get(&InfoHash([4; 20])), None, "there is no room");
        copies.remove(&InfoHash([1; 20]));
        assert!(copies.is_empty() && copies.length == 0);
    }
}
