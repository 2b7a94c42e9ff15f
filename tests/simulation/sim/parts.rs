//! The parts that a host has some bytes of: what the real driver keeps in memory or in `NAME.part`.

use std::{collections::BTreeMap, ops::Range};

use orchestra::{
    geometry::{BLOCK, BlockRange, Geometry, PartIndex},
    peer::PeerKey,
};

/// A part on its way.
struct Got {
    blocks: Vec<bool>,
    wrong: bool,
    from: Vec<PeerKey>,
}

/// All parts on their way to one host, whoever they come from.
#[derive(Default)]
pub struct Parts {
    parts: BTreeMap<PartIndex, Got>,
}

impl Parts {
    /// The runs of blocks that are still missing.
    pub fn missing(&self, geometry: &Geometry, part: PartIndex) -> Vec<Range<u32>> {
        let blocks = geometry.blocks(part);
        let Some(got) = self.parts.get(&part) else {
            return std::iter::once(0..blocks).collect();
        };
        let mut runs: Vec<Range<u32>> = Vec::new();
        for block in (0..blocks).filter(|&b| !got.blocks[b as usize]) {
            match runs.last_mut().filter(|run| run.end == block) {
                Some(run) => run.end += 1,
                None => runs.push(block..block + 1),
            }
        }
        runs
    }

    /// `fresh` bytes of this block came, after which `done` bytes of it are there in all.
    pub fn fill(&mut self, geometry: &Geometry, block: BlockRange, done: u32, from: PeerKey, wrong: bool) {
        let blocks = geometry.blocks(block.part) as usize;
        let got = self.parts.entry(block.part).or_insert_with(|| Got {
            blocks: vec![false; blocks],
            wrong: false,
            from: Vec::new(),
        });
        got.wrong |= wrong;
        if !got.from.contains(&from) {
            got.from.push(from);
        }
        let first = block.begin / BLOCK;
        let end = block.begin + done;
        let whole = if end == geometry.part_len(block.part) { end.div_ceil(BLOCK) } else { end / BLOCK };
        for b in first..whole {
            got.blocks[b as usize] = true;
        }
    }

    /// Checks a part and forgets it: whether its bytes are right, and whether they all came from this member.
    pub fn check(&mut self, part: PartIndex, key: PeerKey) -> (bool, bool) {
        match self.parts.remove(&part) {
            Some(got) => (!got.wrong, got.from == [key]),
            None => (false, false),
        }
    }
}
