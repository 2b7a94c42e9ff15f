//! What the disk would hold: the parts on their way in, and whose hands each is in (as `storage::Store` has it).

use std::ops::Range;

use orchestra::{
    geometry::{BLOCK, BlockRange, Geometry, PartIndex},
    peer::{Event, PeerKey},
    wire::bitfield::Bitfield,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    Nobody,
    Parked,
    Held(PeerKey),
    Judged(PeerKey),
    /// Right, and not written yet.
    Right,
    Present,
}

struct Part {
    hand: Hand,
    /// Who sent each block, and whether it is wrong.
    blocks: Vec<Option<(PeerKey, bool)>>,
}

pub struct Disk {
    geometry: Geometry,
    parts: Vec<Part>,
}

impl Disk {
    pub fn new(geometry: Geometry, have: &Bitfield) -> Self {
        let part = |part| Part {
            hand: if have.has(part) { Hand::Present } else { Hand::Nobody },
            blocks: vec![None; geometry.blocks(part) as usize],
        };
        Self { geometry, parts: geometry.all_parts().map(part).collect() }
    }

    fn part(&mut self, part: PartIndex) -> &mut Part {
        &mut self.parts[part.as_usize()]
    }

    /// A part is to be fetched: the blocks that are missing.
    pub fn take_up(&mut self, part: PartIndex, key: PeerKey) -> Vec<Range<u32>> {
        let found = self.part(part);
        if found.hand != Hand::Parked {
            return std::iter::once(0..found.blocks.len() as u32).collect();
        }
        found.hand = Hand::Held(key);
        let missing = found.blocks.iter().zip(0..).filter(|(block, _)| block.is_none());
        missing.map(|(_, i)| i..i + 1).collect()
    }

    /// A block of this part comes. False: it is in other hands, or done.
    pub fn land(&mut self, part: PartIndex, key: PeerKey) -> bool {
        let found = self.part(part);
        match found.hand {
            Hand::Nobody | Hand::Parked => found.hand = Hand::Held(key),
            Hand::Held(by) => return by == key,
            Hand::Judged(_) | Hand::Right | Hand::Present => return false,
        }
        true
    }

    /// So much of this block came.
    pub fn came(&mut self, block: BlockRange, count: u32, key: PeerKey, wrong: bool) {
        let len = self.geometry.part_len(block.part);
        let end = block.begin + count;
        assert!(count <= block.len && end <= len, "bytes beyond their part");
        assert_eq!(block.begin % BLOCK, 0);
        let blocks = if end == len { len.div_ceil(BLOCK) } else { end / BLOCK };
        let found = self.part(block.part);
        assert_eq!(found.hand, Hand::Held(key), "bytes for a part in other hands");
        let first = (block.begin / BLOCK) as usize;
        if first < blocks as usize {
            found.blocks[first..blocks as usize].fill(Some((key, wrong)));
        }
    }

    /// It is not fetched by this one any more: what came is kept.
    pub fn park(&mut self, part: PartIndex, key: PeerKey) {
        let found = self.part(part);
        if found.hand == Hand::Held(key) {
            let empty = found.blocks.iter().all(Option::is_none);
            found.hand = if empty { Hand::Nobody } else { Hand::Parked };
        }
    }

    pub fn park_all(&mut self, key: PeerKey) {
        self.geometry.all_parts().for_each(|part| self.park(part, key));
    }

    /// The part is whole.
    pub fn hand_in(&mut self, part: PartIndex, key: PeerKey) {
        let found = self.part(part);
        assert_eq!(found.hand, Hand::Held(key));
        assert!(found.blocks.iter().all(Option::is_some), "called whole with blocks missing");
        found.hand = Hand::Judged(key);
    }

    pub fn judge(&mut self, part: PartIndex, key: PeerKey) -> Event {
        let found = self.part(part);
        assert_eq!(found.hand, Hand::Judged(key));
        let is_wrong = found.blocks.iter().flatten().any(|(_, wrong)| *wrong);
        let alone = found.blocks.iter().flatten().all(|(by, _)| *by == key);
        found.hand = if is_wrong { Hand::Nobody } else { Hand::Right };
        if is_wrong {
            found.blocks.fill(None);
            Event::Wrong { part, alone }
        } else {
            Event::Right(part)
        }
    }

    /// One of the parts that are right is written now.
    pub fn write(&mut self) -> Option<PartIndex> {
        let part = self.geometry.all_parts().find(|part| self.parts[part.as_usize()].hand == Hand::Right)?;
        self.part(part).hand = Hand::Present;
        Some(part)
    }

    /// A part turns out to be there, while what is on the disk is being checked.
    pub fn find(&mut self) -> Option<PartIndex> {
        let part = self.geometry.all_parts().find(|part| self.parts[part.as_usize()].hand == Hand::Nobody)?;
        self.part(part).hand = Hand::Present;
        Some(part)
    }

    pub fn is_present(&self, part: PartIndex) -> bool {
        self.parts[part.as_usize()].hand == Hand::Present
    }
}
