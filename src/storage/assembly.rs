//! A part on its way in: where its bytes go, which of them are there, who sent them, and its SHA-1 so far.

use std::ops::Range;

use crate::{
    geometry::{BlockRange, PartIndex},
    peer::PeerKey,
};

/// A part on its way in. Dropping it gives up what came of it.
pub struct Assembly {}

impl Assembly {
    pub fn part(&self) -> PartIndex {
        todo!()
    }

    /// Whether [`super::Store::spool`] must be called before [`Self::space`] at this offset gives any room. Never for a
    /// part that is assembled in memory.
    pub fn needs_flush(&self, _offset: u32) -> bool {
        todo!()
    }

    /// Where the next bytes of the part go: at most `len`, and fewer where a chunk ends. Empty exactly if
    /// [`Self::needs_flush`] (or `len` is 0). Bytes that are written here and not told with [`Self::filled`] do not count.
    pub fn space(&mut self, _offset: u32, _len: u32) -> &mut [u8] {
        todo!()
    }

    /// `count` bytes landed in the space at this offset. Hashes them if they are next in order.
    pub fn filled(&mut self, _offset: u32, _count: u32) {
        todo!()
    }

    /// The bytes of this range came from this member. Only blocks of 16 KiB that lie in it whole count, so that what
    /// came of a broken large block can be told as it is.
    pub fn block_done(&mut self, _range: BlockRange, _from: PeerKey) {
        todo!()
    }

    /// The blocks of 16 KiB that are not there yet, by number.
    pub fn missing(&self) -> Vec<Range<u32>> {
        todo!()
    }

    pub fn is_complete(&self) -> bool {
        todo!()
    }
}
