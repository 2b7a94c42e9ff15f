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
        for part in geometry.all_parts() {
            bits.insert(part);
        }
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
