//! The parts of a composition that are nothing but zeros: they are known before anybody is asked, take no room where the
//! file system has holes, and are never fetched.
//!
//! A part of zeros is told by its SHA-1, which is that of as many zeros. So nothing has to be said of it in a manifest:
//! it works for every torrent, and there is nothing that an author could say wrongly. Zeros within other parts are found
//! when they are written ([`super::disk::write_sparse`]).

use std::ops::Range;

use crate::{
    geometry::{Geometry, PartIndex},
    hashing::{Digest, zeros},
    wire::bitfield::Bitfield,
};

/// Where a composition is zeros, in whole parts.
#[derive(Clone, Debug)]
pub(super) struct Zeros {
    parts: Bitfield,
    /// The same as bytes of the composition, in order, with something else between any two.
    runs: Vec<Range<u64>>,
}

impl Zeros {
    /// Those of these parts that are zeros, and in `only` where that is given. Hashes at most two parts of zeros.
    pub fn of(geometry: &Geometry, parts: &[Digest], only: Option<&Bitfield>) -> Self {
        let mut found = Self { parts: Bitfield::none(geometry), runs: Vec::new() };
        let (mut len, mut digest) = (0, None);
        for (part, is) in geometry.all_parts().zip(parts) {
            // Of two lengths at most: the last one may be shorter.
            if geometry.part_len(part) != len {
                len = geometry.part_len(part);
                digest = Some(zeros(len.into()));
            }
            if digest.as_ref() == Some(is) && only.is_none_or(|only| only.has(part)) {
                found.add(part, geometry);
            }
        }
        found
    }

    fn add(&mut self, part: PartIndex, geometry: &Geometry) {
        let range = geometry.part_range(part);
        self.parts.insert(part);
        match self.runs.last_mut() {
            Some(run) if run.end == range.start => run.end = range.end,
            _ => self.runs.push(range),
        }
    }

    /// These parts.
    pub fn parts(&self) -> &Bitfield {
        &self.parts
    }

    /// How many bytes of this range lie in them.
    pub fn bytes_in(&self, range: &Range<u64>) -> u64 {
        self.within(range).map(|run| run.end - run.start).sum()
    }

    /// What of this range is not known to be zeros, in order.
    pub fn others_in(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut others = Vec::new();
        let mut at = range.start;
        for run in self.within(range) {
            others.push(at..run.start);
            at = run.end;
        }
        others.push(at..range.end);
        others.retain(|other| !other.is_empty());
        others
    }

    /// The runs of zeros in this range, cut to it.
    fn within(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let (start, end) = (range.start, range.end);
        let first = self.runs.partition_point(|run| run.end <= start);
        let runs = self.runs[first..].iter().take_while(move |run| run.start < end);
        runs.map(move |run| run.start.max(start)..run.end.min(end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_of_zeros_are_found_and_nothing_else(
            parts in prop::collection::vec(any::<bool>(), 0..20), size in 1usize..9, cut in 0usize..9,
            range in (0u64..200, 0u64..200),
        ) {
            let mut bytes: Vec<u8> = parts.iter().flat_map(|zero| vec![u8::from(!zero); size]).collect();
            bytes.truncate(bytes.len().saturating_sub(cut % size));
            let geometry = Geometry::new(bytes.len() as u64, size as u64).unwrap();
            let digests: Vec<_> = bytes.chunks(size).map(Digest::of).collect();
            let zeros = Zeros::of(&geometry, &digests, None);
            for (part, zero) in geometry.all_parts().zip(&parts) {
                prop_assert_eq!(zeros.parts().has(part), *zero);
            }
            let range = range.0.min(bytes.len() as u64)..range.1.min(bytes.len() as u64);
            if range.start <= range.end {
                let there = &bytes[range.start as usize..range.end as usize];
                let zero = there.iter().filter(|byte| **byte == 0).count() as u64;
                prop_assert_eq!(zeros.bytes_in(&range), zero);
                let others = zeros.others_in(&range);
                prop_assert_eq!(others.iter().map(|other| other.end - other.start).sum::<u64>(), there.len() as u64 - zero);
                for other in others {
                    prop_assert!(bytes[other.start as usize..other.end as usize].iter().all(|byte| *byte == 1));
                }
            }
        }
    }
}
