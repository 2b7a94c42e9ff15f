//! Sizes and positions: the only place that mints a [`PartIndex`] or a [`BlockRange`].
//!
//! A composition is `size` bytes cut into parts of `part_size` (the last may be shorter), and a part is cut into
//! blocks of 16 KiB, the unit that every BitTorrent client asks for (BEP 3). A number from outside becomes a
//! [`PartIndex`] or a [`BlockRange`] here, once, and is trusted from then on.

use std::ops::Range;

/// The block of BEP 3: stock clients serve no longer request than this.
pub const BLOCK: u32 = 16 * 1024;
/// The largest part size that a manifest may name.
pub const MAX_PART_SIZE: u32 = 128 * 1024 * 1024;
/// The largest number of parts that a manifest may name.
pub const MAX_PARTS: u32 = 1 << 20;

/// A part that exists in the geometry that minted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartIndex(u32);

impl PartIndex {
    pub fn get(self) -> u32 {
        self.0
    }

    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// Some bytes inside one part: what a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockRange {
    pub part: PartIndex,
    /// Offset inside the part, in bytes.
    pub begin: u32,
    /// Length in bytes, never 0.
    pub len: u32,
}

impl BlockRange {
    pub fn end(&self) -> u32 {
        self.begin + self.len
    }
}

/// How a composition is cut into parts and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    size: u64,
    part_size: u32,
    parts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    #[error("a part size of {0} bytes is outside 1 byte to 128 MiB")]
    PartSize(u64),
    #[error("{size} bytes in parts of {part_size} would be more than 1,048,576 parts: take larger parts")]
    TooManyParts { size: u64, part_size: u32 },
}

impl Geometry {
    /// Any part size from 1 byte to 128 MiB, and at most 2^20 parts.
    pub fn new(size: u64, part_size: u64) -> Result<Self, GeometryError> {
        if part_size == 0 || part_size > u64::from(MAX_PART_SIZE) {
            return Err(GeometryError::PartSize(part_size));
        }
        let parts = size.div_ceil(part_size);
        let part_size = part_size as u32;
        if parts > u64::from(MAX_PARTS) {
            return Err(GeometryError::TooManyParts { size, part_size });
        }
        Ok(Self { size, part_size, parts: parts as u32 })
    }

    /// The part size that composer takes when it is told none: size/2048 rounded to a power of two within
    /// 16 KiB to 16 MiB, doubled while there are more than 131,072 parts.
    pub fn default_part_size(size: u64) -> u32 {
        let wanted = size / 2048;
        let below = 1u64 << wanted.max(1).ilog2();
        let nearest = if wanted - below.min(wanted) > below / 2 { below * 2 } else { below };
        let mut part = nearest.clamp(u64::from(BLOCK), 16 << 20);
        while size.div_ceil(part) > 131_072 && part < u64::from(MAX_PART_SIZE) {
            part *= 2;
        }
        part as u32
    }

    /// Size of the composition in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size of every part but the last, in bytes.
    pub fn part_size(&self) -> u32 {
        self.part_size
    }

    /// Number of parts; 0 for an empty composition.
    pub fn parts(&self) -> u32 {
        self.parts
    }

    /// The part of that number, if there is one.
    pub fn part(&self, index: u32) -> Option<PartIndex> {
        (index < self.parts).then_some(PartIndex(index))
    }

    pub fn all_parts(&self) -> impl DoubleEndedIterator<Item = PartIndex> + ExactSizeIterator + use<> {
        (0..self.parts).map(PartIndex)
    }

    /// Length of this part in bytes.
    pub fn part_len(&self, part: PartIndex) -> u32 {
        let start = self.part_start(part);
        (self.size - start).min(u64::from(self.part_size)) as u32
    }

    /// Where this part starts in the composition.
    pub fn part_start(&self, part: PartIndex) -> u64 {
        u64::from(part.0) * u64::from(self.part_size)
    }

    /// The bytes of the composition that this part covers.
    pub fn part_range(&self, part: PartIndex) -> Range<u64> {
        let start = self.part_start(part);
        start..start + u64::from(self.part_len(part))
    }

    /// Number of 16 KiB blocks in this part; the last may be shorter.
    pub fn blocks(&self, part: PartIndex) -> u32 {
        self.part_len(part).div_ceil(BLOCK)
    }

    /// A range named from outside, if it lies inside one part and is not empty.
    pub fn range(&self, part: u32, begin: u32, len: u32) -> Option<BlockRange> {
        let part = self.part(part)?;
        let end = begin.checked_add(len)?;
        (len > 0 && end <= self.part_len(part)).then_some(BlockRange { part, begin, len })
    }

    /// The blocks `blocks` of this part as one range; clipped to the part's length.
    pub fn block_run(&self, part: PartIndex, blocks: Range<u32>) -> BlockRange {
        let begin = blocks.start * BLOCK;
        let end = (u64::from(blocks.end) * u64::from(BLOCK)).min(u64::from(self.part_len(part))) as u32;
        BlockRange { part, begin, len: end - begin }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_and_blocks_cover_everything_once(size in 0..5_000_000u64, part_size in 1..200_000u64) {
            let Ok(g) = Geometry::new(size, part_size) else {
                return Ok(());
            };
            let mut at = 0;
            for part in g.all_parts().take(200) {
                prop_assert_eq!(g.part_range(part).start, at);
                let mut begin = 0;
                for i in 0..g.blocks(part) {
                    let block = g.block_run(part, i..i + 1);
                    prop_assert_eq!(block.begin, begin);
                    prop_assert_eq!(g.range(part.get(), block.begin, block.len), Some(block));
                    begin = block.end();
                }
                prop_assert_eq!(begin, g.part_len(part));
                at = g.part_range(part).end;
            }
            prop_assert!(g.parts() > 200 || at == size);
        }

        #[test]
        fn no_numbers_panic(size: u64, part_size: u64, part: u32, begin: u32, len: u32) {
            if let Ok(g) = Geometry::new(size, part_size % (1 << 28)) {
                let range = g.range(part % g.parts().max(1), begin, len);
                prop_assert!(range.is_none_or(|range| range.end() <= g.part_len(range.part)));
            }
            Geometry::default_part_size(size);
        }
    }

    #[test]
    fn the_last_part_may_be_shorter() {
        let g = Geometry::new(142_044, 16_384).unwrap();
        assert_eq!(g.parts(), 9);
        let last = g.part(8).unwrap();
        assert_eq!(g.part_len(last), 142_044 - 8 * 16_384);
        assert_eq!(g.part(9), None);
        assert_eq!(g.part_range(last), 131_072..142_044);
    }

    #[test]
    fn an_empty_composition_has_no_parts() {
        let g = Geometry::new(0, 16_384).unwrap();
        assert_eq!((g.parts(), g.size()), (0, 0));
    }

    #[test]
    fn the_default_part_size_follows_the_size() {
        assert_eq!(Geometry::default_part_size(0), 16 << 10);
        assert_eq!(Geometry::default_part_size(1 << 20), 16 << 10);
        assert_eq!(Geometry::default_part_size(1 << 30), 512 << 10);
        assert_eq!(Geometry::default_part_size(4 << 30), 2 << 20);
        assert_eq!(Geometry::default_part_size(100 << 30), 16 << 20);
        assert_eq!(Geometry::default_part_size(8 << 40), 64 << 20);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(Geometry::new(1, 0).is_err());
        assert!(Geometry::new(u64::MAX, 128 << 20).is_err());
        assert!(Geometry::new(1, (128 << 20) + 1).is_err());
    }

    #[test]
    fn ranges_from_outside_stay_inside_a_part() {
        let g = Geometry::new(100_000, 65_536).unwrap();
        assert!(g.range(0, 0, 65_536).is_some());
        assert!(g.range(0, 1, 65_536).is_none());
        assert!(g.range(1, u32::MAX, 2).is_none());
        assert!(g.range(1, 0, 0).is_none());
        assert!(g.range(2, 0, 1).is_none());
        let last = g.part(1).unwrap();
        assert_eq!(g.block_run(last, 2..3).len, 100_000 - 65_536 - 32_768);
    }
}
