//! What one member asked of us, and the leave that it has to get it.
//!
//! The swarm decides who is served when (`choker`); here is the queue of one conversation. A request is answered
//! exactly once: with its block, or (fast extension) with a refusal.

use std::collections::{HashMap, VecDeque};

use crate::geometry::{BlockRange, Geometry, PartIndex};

/// Requests that we hold for one member at most; we say so in the extension handshake (`reqq`).
pub const MAX_QUEUE: usize = 2000;
/// Parts sent in part that are remembered of one member. Whoever asks for a byte of each of a million parts fills no memory.
const MAX_PROGRESS: usize = 4096;

#[derive(Debug, Default)]
pub struct Uploads {
    queue: VecDeque<BlockRange>,
    /// Bytes that may still be sent on the present leave.
    leave: u32,
    /// There is a leave, or blocks of it are still on their way.
    serving: bool,
    /// Blocks that were handed out and are not sent yet.
    unsent: u32,
    asked: bool,
    /// Bytes of parts that were sent in part.
    progress: HashMap<PartIndex, u32>,
}

impl Uploads {
    /// False: the queue is full.
    pub fn request(&mut self, block: BlockRange) -> bool {
        let room = self.queue.len() < MAX_QUEUE;
        if room {
            self.queue.push_back(block);
        }
        room
    }

    /// Whether that request was still waiting.
    pub fn cancel(&mut self, block: BlockRange) -> bool {
        let at = self.queue.iter().position(|b| *b == block);
        at.is_some_and(|at| self.queue.remove(at).is_some())
    }

    pub fn allow(&mut self, bytes: u32) {
        self.leave = bytes;
        self.serving = true;
        self.asked = false;
    }

    pub fn has_block(&self) -> bool {
        self.leave > 0 && !self.queue.is_empty()
    }

    pub fn next_block(&mut self) -> Option<BlockRange> {
        if self.leave == 0 {
            return None;
        }
        let block = self.queue.pop_front()?;
        self.leave = self.leave.saturating_sub(block.len);
        self.unsent += 1;
        Some(block)
    }

    /// The other side waits for blocks.
    pub fn is_awaited(&self) -> bool {
        !self.queue.is_empty() || self.unsent > 0
    }

    /// The block is sent. Returns whether all bytes of its part now are.
    pub fn sent(&mut self, block: BlockRange, geometry: &Geometry) -> bool {
        self.unsent = self.unsent.saturating_sub(1);
        if self.progress.len() >= MAX_PROGRESS && !self.progress.contains_key(&block.part) {
            return block.len >= geometry.part_len(block.part);
        }
        let sent = self.progress.entry(block.part).or_default();
        *sent += block.len;
        let whole = *sent >= geometry.part_len(block.part);
        if whole {
            self.progress.remove(&block.part);
        }
        whole
    }

    /// Whether the leave has just ended: used up, or nothing left to send on it.
    pub fn ended(&mut self) -> bool {
        let over = self.serving && self.unsent == 0 && (self.leave == 0 || self.queue.is_empty());
        if over {
            self.serving = false;
            self.leave = 0;
        }
        over
    }

    /// Whether it is time to ask for leave: once for each leave.
    pub fn asks(&mut self) -> bool {
        let asks = !self.asked && !self.serving && !self.queue.is_empty();
        self.asked |= asks;
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_without_leave_and_leave_ends() {
        let g = Geometry::new(65_536, 32_768).unwrap();
        let (a, b) = (g.range(0, 0, 16_384).unwrap(), g.range(0, 16_384, 16_384).unwrap());
        let mut u = Uploads::default();
        assert!(u.request(a) && u.request(b));
        assert!(u.asks() && !u.asks());
        assert_eq!(u.next_block(), None);
        u.allow(1);
        assert_eq!(u.next_block(), Some(a), "at least one block goes");
        assert_eq!(u.next_block(), None);
        assert!(!u.ended(), "the block is still on its way");
        assert!(!u.sent(a, &g));
        assert!(u.ended());
        assert!(u.asks());
        u.allow(100_000);
        assert_eq!(u.next_block(), Some(b));
        assert!(u.sent(b, &g), "the part is whole");
        assert!(u.ended());
        assert!(!u.asks(), "nothing left to ask for");
    }

    #[test]
    fn a_byte_of_each_of_many_parts_fills_no_memory() {
        let g = Geometry::new(20_000, 2).unwrap();
        let mut u = Uploads::default();
        for part in 0..10_000 {
            assert!(!u.sent(g.range(part, 0, 1).unwrap(), &g));
        }
        assert_eq!(u.progress.len(), MAX_PROGRESS);
        assert!(u.sent(g.range(9_999, 0, 2).unwrap(), &g), "a part in one block is whole");
        assert!(u.sent(g.range(7, 1, 1).unwrap(), &g), "one that is remembered goes on");
    }

    #[test]
    fn a_cancelled_request_is_not_served() {
        let g = Geometry::new(65_536, 32_768).unwrap();
        let a = g.range(1, 0, 16_384).unwrap();
        let mut u = Uploads::default();
        u.request(a);
        assert!(u.cancel(a) && !u.cancel(a));
        u.allow(1);
        assert_eq!(u.next_block(), None);
        assert!(u.ended());
    }
}
