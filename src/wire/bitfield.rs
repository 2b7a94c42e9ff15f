//! A set of parts, in the bit order of BEP 3: the first part is the highest bit of the first byte.

use crate::geometry::{Geometry, PartIndex};

/// Which parts somebody has. Spare bits are always 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    /// Part `i` is bit `63 - i % 64` of word `i / 64`.
    words: Vec<u64>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// None of the parts of this geometry.
    pub fn none(geometry: &Geometry) -> Self {
        Self::empty(geometry.parts())
    }

    /// All parts of this geometry.
    pub fn all(geometry: &Geometry) -> Self {
        let mut bits = Self::none(geometry);
        bits.words.fill(u64::MAX);
        let spare = bits.words.len() as u32 * 64 - bits.len;
        if let Some(last) = bits.words.last_mut() {
            *last &= u64::MAX << spare;
        }
        bits.ones = bits.len;
        bits
    }

    fn empty(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len, ones: 0 }
    }

    /// From the payload of a bitfield message; None unless it has the exact length and its spare bits are 0.
    pub fn from_bytes(bytes: &[u8], geometry: &Geometry) -> Option<Self> {
        let len = geometry.parts();
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        let mut bits = Self::empty(len);
        for (i, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            bits.words[i] = u64::from_be_bytes(word);
        }
        let spare = bits.words.len() as u32 * 64 - len;
        if spare > 0 && bits.words.last().is_some_and(|w| w & ((1u64 << spare) - 1) != 0) {
            return None;
        }
        bits.ones = bits.words.iter().map(|w| w.count_ones()).sum();
        Some(bits)
    }

    /// As the payload of a bitfield message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_be_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8) as usize);
        bytes
    }

    fn place(part: PartIndex) -> (usize, u64) {
        (part.as_usize() / 64, 1 << (63 - part.get() % 64))
    }

    pub fn has(&self, part: PartIndex) -> bool {
        let (word, bit) = Self::place(part);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// Whether every part of the other set, of the same geometry, is in this one.
    pub fn has_all_of(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(ours, theirs)| theirs & !ours == 0)
    }

    /// Returns whether the part is new here.
    pub fn insert(&mut self, part: PartIndex) -> bool {
        debug_assert!(part.get() < self.len);
        let (word, bit) = Self::place(part);
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.ones += u32::from(fresh);
        fresh
    }

    /// Returns whether the part was there.
    pub fn remove(&mut self, part: PartIndex) -> bool {
        let (word, bit) = Self::place(part);
        let there = self.words[word] & bit != 0;
        self.words[word] &= !bit;
        self.ones -= u32::from(there);
        there
    }

    /// The parts in it that are not in the other set, of the same geometry.
    pub fn without(&self, other: &Self) -> Self {
        let words: Vec<u64> = self.words.iter().zip(&other.words).map(|(ours, theirs)| ours & !theirs).collect();
        let ones = words.iter().map(|word| word.count_ones()).sum();
        Self { words, len: self.len, ones }
    }

    /// Adds every part of the other set, of the same geometry.
    pub fn add_all(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(ours, theirs)| *ours |= theirs);
        self.ones = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// Whether something is in it that `other` lacks.
    pub fn exceeds(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(ours, theirs)| ours & !theirs != 0)
    }

    /// How many parts it could hold.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// How many parts are in it.
    pub fn count(&self) -> u32 {
        self.ones
    }

    pub fn is_empty(&self) -> bool {
        self.ones == 0
    }

    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// The parts that are in it, in order.
    pub fn ones<'a>(&'a self, geometry: &'a Geometry) -> impl Iterator<Item = PartIndex> + 'a {
        self.words.iter().enumerate().flat_map(move |(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let lead = rest.leading_zeros();
                    rest &= !(1 << (63 - lead));
                    i as u32 * 64 + lead
                })
            })
            .filter_map(|n| geometry.part(n))
        })
    }
}

impl std::fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bitfield({} of {})", self.ones, self.len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    fn geometry(parts: usize) -> Geometry {
        Geometry::new(parts as u64, 1).unwrap()
    }

    fn filled(there: &[bool], geometry: &Geometry) -> Bitfield {
        let mut bits = Bitfield::none(geometry);
        for (part, _) in geometry.all_parts().zip(there).filter(|(_, there)| **there) {
            bits.insert(part);
        }
        bits
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(there in vec(any::<bool>(), 0..300)) {
            let g = geometry(there.len());
            let bits = filled(&there, &g);
            let read = Bitfield::from_bytes(&bits.to_bytes(), &g).unwrap();
            prop_assert_eq!(&read, &bits);
            prop_assert!(g.all_parts().zip(&there).all(|(part, there)| read.has(part) == *there));
            let ones: Vec<_> = g.all_parts().zip(&there).filter(|(_, there)| **there).map(|(part, _)| part).collect();
            prop_assert_eq!(read.count() as usize, ones.len());
            prop_assert_eq!(read.ones(&g).collect::<Vec<_>>(), ones);
            prop_assert_eq!(read.is_full(), there.iter().all(|there| *there));
        }

        #[test]
        fn another_length_and_spare_bits_are_refused(there in vec(any::<bool>(), 1..300), cut in any::<Index>()) {
            let g = geometry(there.len());
            let mut bytes = filled(&there, &g).to_bytes();
            prop_assert_eq!(Bitfield::from_bytes(&bytes[..cut.index(bytes.len())], &g), None);
            bytes.push(0);
            prop_assert_eq!(Bitfield::from_bytes(&bytes, &g), None);
            bytes.pop();
            for spare in there.len()..8 * bytes.len() {
                bytes[spare / 8] |= 0x80 >> (spare % 8);
                prop_assert_eq!(Bitfield::from_bytes(&bytes, &g), None);
                bytes[spare / 8] &= !(0x80 >> (spare % 8));
            }
        }

        #[test]
        fn a_changed_byte_is_another_set_or_refused(there in vec(any::<bool>(), 1..300), at in any::<Index>(), flip in 1..=255u8) {
            let g = geometry(there.len());
            let bits = filled(&there, &g);
            let mut bytes = bits.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Some(read) = Bitfield::from_bytes(&bytes, &g) {
                prop_assert_ne!(&read, &bits);
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_part_is_counted_once() {
        let g = geometry(65);
        let (first, last) = (g.part(0).unwrap(), g.part(64).unwrap());
        let mut bits = Bitfield::none(&g);
        assert!(bits.insert(first) && !bits.insert(first) && bits.insert(last));
        assert_eq!(bits.count(), 2);
        assert!(bits.remove(last) && !bits.remove(last));
        assert_eq!(bits.to_bytes(), [0x80, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
