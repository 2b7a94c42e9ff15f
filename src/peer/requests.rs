//! What we asked of one member: whole parts, block by block, each asked once and answered once.

use std::{collections::VecDeque, ops::Range};

use crate::{
    geometry::{BLOCK, BlockRange, Geometry, PartIndex},
    time::Time,
    wire::message::RawBlock,
};

/// A part that this member is to give us.
#[derive(Debug)]
struct Fetch {
    part: PartIndex,
    /// Runs of 16 KiB blocks that were not asked for yet.
    unasked: VecDeque<Range<u32>>,
    /// Blocks asked for and not there yet.
    awaited: u32,
    /// When it is given up, having been asked back. What is on its way is taken until then.
    recalled: Option<Time>,
    /// Some of it will not come: it was not asked for any more, or was refused.
    short: bool,
}

impl Fetch {
    fn is_done(&self) -> bool {
        self.awaited == 0 && self.unasked.is_empty() && !self.short
    }
}

/// Answers to requests that we took back are remembered up to this many; a member that owes us more is told to go.
const MAX_TAKEN_BACK: usize = 4096;
/// And so many of them from one that may drop them in silence: more than are on their way at a time.
const MAX_SILENTLY_DROPPED: usize = 1024;

#[derive(Debug, Default)]
pub struct Requests {
    fetches: VecDeque<Fetch>,
    awaited: Vec<BlockRange>,
    /// Asked for, then cancelled: may still come, or be refused.
    taken_back: Vec<BlockRange>,
}

fn same(block: &BlockRange, raw: RawBlock) -> bool {
    (block.part.get(), block.begin, block.len) == (raw.part, raw.begin, raw.len)
}

fn take(blocks: &mut Vec<BlockRange>, raw: RawBlock) -> Option<BlockRange> {
    let at = blocks.iter().position(|b| same(b, raw))?;
    Some(blocks.remove(at))
}

impl Requests {
    /// Ask for these blocks of this part.
    pub fn add(&mut self, part: PartIndex, missing: &[Range<u32>]) {
        let unasked = missing.iter().filter(|r| !r.is_empty()).cloned().collect();
        self.fetches.push_back(Fetch { part, unasked, awaited: 0, recalled: None, short: false });
    }

    /// The next block to ask for, of at most `longest` bytes, while fewer than `queue` are awaited.
    pub fn next(&mut self, geometry: &Geometry, longest: u32, queue: usize) -> Option<BlockRange> {
        if self.awaited.len() >= queue {
            return None;
        }
        let fetch = self.fetches.iter_mut().find(|f| !f.unasked.is_empty())?;
        let run = fetch.unasked.front_mut()?;
        let blocks = (longest / BLOCK).clamp(1, run.end - run.start);
        let block = geometry.block_run(fetch.part, run.start..run.start + blocks);
        run.start += blocks;
        if run.start >= run.end {
            fetch.unasked.pop_front();
        }
        fetch.awaited += 1;
        self.awaited.push(block);
        Some(block)
    }

    /// A block's header came: the block if it is awaited.
    pub fn arrived(&mut self, raw: RawBlock) -> Option<BlockRange> {
        take(&mut self.awaited, raw)
    }

    /// A header or a refusal came for a block that we took back.
    pub fn settle_taken_back(&mut self, raw: RawBlock) -> bool {
        take(&mut self.taken_back, raw).is_some()
    }

    /// The payload of an arrived block is whole. Returns whether its part now is.
    pub fn landed(&mut self, part: PartIndex) -> bool {
        let Some(at) = self.fetches.iter().position(|f| f.part == part) else {
            return false;
        };
        self.fetches[at].awaited = self.fetches[at].awaited.saturating_sub(1);
        let done = self.fetches[at].is_done();
        if done {
            self.fetches.remove(at);
        }
        done
    }

    /// Asks a part back: nothing more of it is asked for. Returns the blocks of it that are awaited, until then at most.
    pub fn recall(&mut self, part: PartIndex, until: Time) -> Vec<BlockRange> {
        let Some(fetch) = self.fetches.iter_mut().find(|f| f.part == part) else {
            return Vec::new();
        };
        fetch.recalled = Some(until);
        fetch.short |= !fetch.unasked.is_empty();
        fetch.unasked.clear();
        self.awaited.iter().filter(|b| b.part == part).copied().collect()
    }

    /// A block of this part that was awaited is refused. False: nobody asked the part back.
    pub fn refused(&mut self, part: PartIndex) -> bool {
        let Some(fetch) = self.fetches.iter_mut().find(|f| f.part == part && f.recalled.is_some()) else {
            return false;
        };
        fetch.awaited = fetch.awaited.saturating_sub(1);
        fetch.short = true;
        true
    }

    /// A part that was asked back, and of which nothing more will come.
    pub fn recalled(&self) -> Option<PartIndex> {
        self.fetches.iter().find(|f| f.recalled.is_some() && f.awaited == 0).map(|f| f.part)
    }

    /// A part that was asked back and is to be given up by now.
    pub fn recalled_until(&self, now: Time) -> Option<PartIndex> {
        self.fetches.iter().find(|f| f.recalled.is_some_and(|until| until <= now)).map(|f| f.part)
    }

    /// When the first part that was asked back is to be given up.
    pub fn first_recall(&self) -> Option<Time> {
        self.fetches.iter().filter_map(|f| f.recalled).min()
    }

    /// Gives up a part. Returns the blocks of it that were awaited, or None when the part is not being fetched.
    pub fn release(&mut self, part: PartIndex) -> Option<Vec<BlockRange>> {
        let at = self.fetches.iter().position(|f| f.part == part)?;
        self.fetches.remove(at);
        let (given_up, kept) = self.awaited.drain(..).partition(|b| b.part == part);
        self.awaited = kept;
        self.taken_back.extend_from_slice(&given_up);
        Some(given_up)
    }

    /// Whether blocks may come: some are awaited, or were taken back and not refused.
    pub fn expects_blocks(&self) -> bool {
        !self.awaited.is_empty() || !self.taken_back.is_empty()
    }

    /// Every part that is being fetched.
    pub fn parts(&self) -> Vec<PartIndex> {
        self.fetches.iter().map(|f| f.part).collect()
    }

    /// Blocks were asked for and have not begun to come.
    pub fn are_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Answers to what was taken back are still to come.
    pub fn were_taken_back(&self) -> bool {
        !self.taken_back.is_empty()
    }

    /// Nothing is being fetched.
    pub fn is_idle(&self) -> bool {
        self.fetches.is_empty()
    }

    /// Answers to what was taken back until now are not waited for.
    pub fn forgive(&mut self) {
        self.taken_back.clear();
    }

    pub fn owes_too_much(&self) -> bool {
        self.taken_back.len() > MAX_TAKEN_BACK
    }

    /// Who does not know refusals drops what is taken back in silence: answers to the oldest are not waited for.
    pub fn forgive_oldest(&mut self) {
        let many = self.taken_back.len().saturating_sub(MAX_SILENTLY_DROPPED);
        self.taken_back.drain(..many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry::new(100_000, 65_536).unwrap()
    }

    fn raw(b: BlockRange) -> RawBlock {
        RawBlock { part: b.part.get(), begin: b.begin, len: b.len }
    }

    #[test]
    fn a_part_is_asked_for_in_blocks_and_done_with_the_last() {
        let g = geometry();
        let part = g.part(1).unwrap();
        let mut r = Requests::default();
        r.add(part, std::slice::from_ref(&(0..g.blocks(part))));
        let blocks: Vec<_> = std::iter::from_fn(|| r.next(&g, BLOCK, 100)).collect();
        assert_eq!(blocks.iter().map(|b| b.len).collect::<Vec<_>>(), [16384, 16384, 1696]);
        for (i, b) in blocks.iter().enumerate() {
            assert_eq!(r.arrived(raw(*b)), Some(*b));
            assert_eq!(r.arrived(raw(*b)), None, "answered once");
            assert_eq!(r.landed(part), i == 2);
        }
    }

    #[test]
    fn long_requests_stay_inside_what_is_missing() {
        let g = geometry();
        let part = g.part(0).unwrap();
        let mut r = Requests::default();
        r.add(part, &[0..1, 2..4]);
        let blocks: Vec<_> = std::iter::from_fn(|| r.next(&g, 1 << 20, 100)).map(|b| (b.begin, b.len)).collect();
        assert_eq!(blocks, [(0, 16384), (32768, 32768)]);
    }

    #[test]
    fn a_released_part_is_settled_later() {
        let g = geometry();
        let part = g.part(0).unwrap();
        let mut r = Requests::default();
        r.add(part, std::slice::from_ref(&(0..4)));
        let block = r.next(&g, BLOCK, 1).unwrap();
        assert_eq!(r.next(&g, BLOCK, 1), None, "the queue is full");
        assert_eq!(r.release(part), Some(vec![block]));
        assert_eq!(r.release(part), None);
        assert_eq!(r.arrived(raw(block)), None);
        assert!(r.settle_taken_back(raw(block)));
        assert!(!r.settle_taken_back(raw(block)));
    }

    #[test]
    fn of_a_part_that_is_asked_back_what_is_on_its_way_counts() {
        let g = geometry();
        let part = g.part(0).unwrap();
        let mut r = Requests::default();
        r.add(part, std::slice::from_ref(&(0..4)));
        let blocks: Vec<_> = std::iter::from_fn(|| r.next(&g, BLOCK, 2)).collect();
        assert_eq!(r.recall(part, Time::from_secs(1)), blocks);
        assert_eq!(r.next(&g, BLOCK, 9), None, "nothing more of it is asked for");
        assert_eq!((r.recalled(), r.first_recall()), (None, Some(Time::from_secs(1))));
        assert!(r.arrived(raw(blocks[0])).is_some() && !r.landed(part));
        assert!(r.arrived(raw(blocks[1])).is_some() && r.refused(part));
        assert_eq!(r.recalled(), Some(part));
        assert_eq!(r.release(part), Some(Vec::new()));
    }

    #[test]
    fn blocks_may_come_until_what_was_taken_back_is_settled() {
        let g = geometry();
        let part = g.part(1).unwrap();
        let mut r = Requests::default();
        assert!(!r.expects_blocks());
        r.add(part, std::slice::from_ref(&(0..1)));
        let block = r.next(&g, BLOCK, 1).unwrap();
        assert!(r.expects_blocks());
        r.release(part);
        assert!(r.expects_blocks() && r.settle_taken_back(raw(block)));
        assert!(!r.expects_blocks());
    }

    #[test]
    fn a_part_that_is_asked_back_may_come_whole() {
        let g = geometry();
        let part = g.part(1).unwrap();
        let mut r = Requests::default();
        r.add(part, std::slice::from_ref(&(0..g.blocks(part))));
        let blocks: Vec<_> = std::iter::from_fn(|| r.next(&g, 1 << 20, 9)).collect();
        r.recall(part, Time::ZERO);
        assert!(r.arrived(raw(blocks[0])).is_some() && r.landed(part));
        assert!(!r.refused(part), "nobody waits for it any more");
    }
}
