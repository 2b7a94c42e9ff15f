//! A part on its way in: where its bytes go, which of them are there, who sent them, and its SHA-1 so far.
//!
//! A part of up to [`MAX_IN_MEMORY`] is put together in memory if there is room. Any other is a spool: its bytes go
//! through a chunk to their place in the file, and are hashed on the way if they come in order.
//!
//! Invariant: the SHA-1 covers the first `hashed` bytes as they are now. Only whole blocks are hashed, and room given
//! out below `hashed` starts the hash again, so that no order of calls can make it speak of other bytes.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    pool::{Buffer, CHUNK, Pool},
    store::Hand,
};
use crate::{
    geometry::{BLOCK, BlockRange, Geometry, PartIndex},
    hashing::{Digest, Hasher},
    peer::PeerKey,
};

/// Parts up to this many bytes are put together in memory.
pub const MAX_IN_MEMORY: u32 = 8 << 20;

/// A part on its way in. Dropping it gives up what came of it.
pub struct Assembly {
    hand: Hand,
    len: u32,
    body: Body,
    /// Which blocks are there.
    received: Vec<bool>,
    /// How many are not.
    left: usize,
    from: Vec<PeerKey>,
    hasher: Hasher,
    hashed: u32,
    /// The bytes that came last, one after the other, of blocks that may not be marked as received yet.
    run: Range<u32>,
}

enum Body {
    Memory(Buffer),
    Spool(Spool),
}

struct Spool {
    pool: Pool,
    chunk: Option<Chunk>,
    /// Set when a chunk could not be written.
    broken: Broken,
}

/// Whether writing a spool failed, shared with the chunks on their way.
#[derive(Clone, Default)]
pub(super) struct Broken(Arc<AtomicBool>);

impl Broken {
    /// Returns whether it is news.
    pub fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Some bytes of a spooled part, one after the other.
pub(super) struct Chunk {
    bytes: Buffer,
    /// Offset in the part.
    pub start: u32,
    filled: u32,
    pub broken: Broken,
}

impl Chunk {
    fn end(&self) -> u32 {
        self.start + self.filled
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled as usize]
    }
}

/// What is left of an assembly once its bytes are known to be right.
pub(super) enum Proven {
    Memory(Buffer),
    Spooled(Broken),
}

impl Assembly {
    pub(super) fn new(hand: Hand, geometry: &Geometry, pool: &Pool) -> Self {
        let len = geometry.part_len(hand.part());
        // Buffers of one size, so that they can be used again.
        let buffer =
            (geometry.part_size() <= MAX_IN_MEMORY).then(|| pool.part(geometry.part_size() as usize)).flatten();
        let body = match buffer {
            Some(buffer) => Body::Memory(buffer),
            None => Body::Spool(Spool { pool: pool.clone(), chunk: None, broken: Broken::default() }),
        };
        let blocks = geometry.blocks(hand.part()) as usize;
        Self {
            hand,
            len,
            body,
            received: vec![false; blocks],
            left: blocks,
            from: Vec::new(),
            hasher: Hasher::new(),
            hashed: 0,
            run: 0..0,
        }
    }

    pub fn part(&self) -> PartIndex {
        self.hand.part()
    }

    /// Whether [`super::Store::spool`] must be called before [`Self::space`] at this offset gives any room. Never for a
    /// part that is put together in memory.
    pub fn needs_flush(&self, offset: u32) -> bool {
        match &self.body {
            Body::Memory(_) => false,
            Body::Spool(spool) => spool
                .chunk
                .as_ref()
                .is_some_and(|chunk| chunk.end() != offset || chunk.filled as usize == chunk.bytes.len()),
        }
    }

    /// Where the next bytes of the part go: at most `len`, and fewer where a chunk or the part ends. Empty if
    /// [`Self::needs_flush`]. What is written here and not told with [`Self::filled`] does not count.
    pub fn space(&mut self, offset: u32, len: u32) -> &mut [u8] {
        if self.needs_flush(offset) {
            return &mut [];
        }
        if offset < self.hashed {
            self.hasher = Hasher::new();
            self.hashed = 0;
        }
        let len = len.min(self.len.saturating_sub(offset)) as usize;
        match &mut self.body {
            Body::Memory(buffer) => &mut buffer[offset as usize..][..len],
            Body::Spool(spool) => {
                let chunk = spool.chunk.get_or_insert_with(|| Chunk {
                    bytes: spool.pool.chunk(),
                    start: offset,
                    filled: 0,
                    broken: spool.broken.clone(),
                });
                let room = &mut chunk.bytes[chunk.filled as usize..];
                let len = len.min(room.len());
                &mut room[..len]
            }
        }
    }

    /// `count` bytes landed in the space at this offset. Hashes them if they are next in order.
    pub fn filled(&mut self, offset: u32, count: u32) {
        if let Body::Spool(Spool { chunk: Some(chunk), .. }) = &mut self.body {
            debug_assert_eq!(chunk.end(), offset);
            chunk.filled += count;
        }
        if offset == self.run.end {
            self.run.end += count;
        } else {
            self.run = offset..offset + count;
        }
        // Enough to catch up with what came early, not so much that the connection waits for it.
        self.hash_in_order(self.hashed.saturating_add(count + CHUNK as u32));
    }

    /// The bytes of this range came from this member. Only blocks of 16 KiB that lie in it whole count, so that what
    /// came of a broken large block can be told as it is.
    pub fn block_done(&mut self, range: BlockRange, from: PeerKey) {
        let first = range.begin.div_ceil(BLOCK) as usize;
        let end = if range.end() >= self.len { self.received.len() } else { (range.end() / BLOCK) as usize };
        if first >= end {
            return;
        }
        for there in &mut self.received[first..end] {
            self.left -= usize::from(!*there);
            *there = true;
        }
        if !self.from.contains(&from) {
            self.from.push(from);
        }
    }

    /// The blocks of 16 KiB that are not there yet, by number.
    pub fn missing(&self) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for (i, _) in self.received.iter().enumerate().filter(|(_, there)| !**there) {
            let i = i as u32;
            match runs.last_mut() {
                Some(run) if run.end == i => run.end += 1,
                _ => runs.push(i..i + 1),
            }
        }
        runs
    }

    pub fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// Nothing of it is there that would be worth keeping.
    pub(super) fn is_empty(&self) -> bool {
        self.left == self.received.len()
    }

    /// The one member that all of it came from, if it was one.
    pub(super) fn alone(&self) -> Option<PeerKey> {
        match self.from[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Bytes of the part that the hash does not cover yet.
    pub(super) fn unhashed(&self) -> Range<u32> {
        self.hashed..self.len
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.body, Body::Memory(_))
    }

    pub(super) fn has_chunk(&self) -> bool {
        matches!(&self.body, Body::Spool(Spool { chunk: Some(_), .. }))
    }

    pub(super) fn take_chunk(&mut self) -> Option<Chunk> {
        match &mut self.body {
            Body::Memory(_) => None,
            Body::Spool(spool) => spool.chunk.take(),
        }
    }

    /// The next bytes of a spooled part, read back from the file.
    pub(super) fn hash_next(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.hashed += bytes.len() as u32;
    }

    /// The SHA-1 of all of a part in memory; of a spooled one, as far as [`Self::hash_next`] went.
    pub(super) fn digest(&mut self) -> Digest {
        if let Body::Memory(buffer) = &self.body {
            self.hasher.update(&buffer[self.hashed as usize..self.len as usize]);
            self.hashed = self.len;
        }
        self.hasher.clone().finish()
    }

    pub(super) fn into_proven(self) -> (Hand, Proven) {
        let proven = match self.body {
            Body::Memory(buffer) => Proven::Memory(buffer),
            Body::Spool(spool) => Proven::Spooled(spool.broken),
        };
        (self.hand, proven)
    }

    fn hash_in_order(&mut self, limit: u32) {
        let (bytes, start, limit) = match &self.body {
            Body::Memory(buffer) => (&buffer[..], 0, limit),
            Body::Spool(Spool { chunk: Some(chunk), .. }) if chunk.start <= self.hashed => {
                (&chunk.bytes[..], chunk.start, chunk.end())
            }
            Body::Spool(_) => return,
        };
        let end = self.in_order_until(limit.min(self.len));
        if end > self.hashed {
            self.hasher.update(&bytes[(self.hashed - start) as usize..(end - start) as usize]);
            self.hashed = end;
        }
    }

    /// Up to where whole blocks are there without a gap, `limit` at most.
    fn in_order_until(&self, limit: u32) -> u32 {
        let mut end = self.hashed;
        while end < limit {
            let next = (end + BLOCK).min(self.len);
            let came = self.run.start <= end && next <= self.run.end;
            if next > limit || !(came || self.received[(end / BLOCK) as usize]) {
                break;
            }
            end = next;
        }
        end
    }
}
