//! The info dictionary that a magnet link names by its hash alone, gathered in pieces of 16 KiB from several members
//! (BEP 9), as a state machine: what members say and the time in, steps out.
//!
//! It is not the conversation: see [`super::inquiry`].
//!
//! Invariant: what it gives has the info-hash. Who alone sent a wrong dictionary is blamed; where several did, nobody is,
//! and the next attempt takes every piece from one member, one member after the other. So a single honest member is
//! enough, whoever else is there.
//!
//! What it costs an attacker: memory for at most [`MAX_COPIES`] dictionaries of [`MAX_SIZE`], for bytes that really came. A
//! member that does not answer is let go after [`PATIENCE`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::PeerKey;
use crate::{metainfo::InfoHash, time::Time, wire::extension::metadata};

/// The longest info dictionary that is asked for, in bytes.
pub const MAX_SIZE: u32 = 8 << 20;
/// Members may disagree on its length: so many lengths are believed at the same time.
pub const MAX_COPIES: usize = 4;
/// Pieces asked of one member at the same time; libtorrent is content with as few.
const IN_FLIGHT: usize = 2;
/// A piece comes within this time: over a slow link two of them may take long.
pub const PATIENCE: Time = Time::from_secs(20);
/// A member that is asked alone has this long for the whole, where others wait.
const PATIENCE_ALONE: Time = Time::from_secs(60);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this member for this piece.
    Ask(PeerKey, u32),
    /// Let it go. `blame`: it lied.
    Drop { key: PeerKey, blame: bool, why: &'static str },
    /// This is the info dictionary; there is nothing more to do.
    Whole(Arc<[u8]>),
}

pub struct Gather {
    hash: InfoHash,
    copies: BTreeMap<u32, Copy>,
    members: BTreeMap<PeerKey, Member>,
    steps: VecDeque<Step>,
    most: usize,
}

/// A member that offered the dictionary.
struct Member {
    /// Length of the dictionary, as it says.
    size: u32,
    asked: Vec<(u32, Time)>,
}

/// The dictionary of one length, in the making.
struct Copy {
    pieces: Vec<Option<(PeerKey, Vec<u8>)>>,
    /// Something that came from several was wrong: now all of it comes from this one, since then.
    alone: Option<(PeerKey, Time)>,
}

impl Copy {
    fn new(size: u32) -> Self {
        Self { pieces: vec![None; size.div_ceil(metadata::PIECE) as usize], alone: None }
    }

    fn takes_from(&self, key: PeerKey) -> bool {
        self.alone.is_none_or(|(only, _)| only == key)
    }

    fn forget(&mut self) {
        self.pieces.fill(None);
    }
}

impl Gather {
    pub fn new(hash: InfoHash) -> Self {
        Self { hash, copies: BTreeMap::new(), members: BTreeMap::new(), steps: VecDeque::new(), most: 0 }
    }

    /// What to do next; to be called until there is nothing.
    pub fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// How many members are being asked.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// The most pieces that were ever there. Only a new one counts as progress: liars could else go on for ever.
    pub fn most_pieces(&self) -> usize {
        self.most
    }

    /// It has the dictionary, and says that it is this long, in bytes.
    pub fn on_offer(&mut self, key: PeerKey, size: u32, now: Time) {
        let known = self.members.get(&key).map(|member| member.size);
        if known == Some(size) {
            return;
        }
        if known.is_some() {
            return self.drop(key, true, "it says two lengths of one manifest", now);
        }
        if size == 0 || size > MAX_SIZE {
            return self.drop(
                key,
                false,
                "the manifest that it offers has no length that is taken (8 MiB at most)",
                now,
            );
        }
        if !self.copies.contains_key(&size) && self.copies.len() == MAX_COPIES {
            return self.drop(key, false, "others say too many other lengths of the manifest", now);
        }
        self.copies.entry(size).or_insert_with(|| Copy::new(size));
        self.members.insert(key, Member { size, asked: Vec::new() });
        self.ask(size, now);
    }

    /// A piece came, as long as that piece of a dictionary of `total` bytes is.
    pub fn on_data(&mut self, key: PeerKey, piece: u32, total: u32, bytes: Vec<u8>, now: Time) {
        let Some(size) = self.answered(key, piece) else {
            return self.drop(key, true, "it sends what nobody asked for", now);
        };
        if total != size {
            return self.drop(key, true, "it says two lengths of one manifest", now);
        }
        let Some(copy) = self.copies.get_mut(&size) else { return };
        if copy.takes_from(key)
            && let Some(place @ None) = copy.pieces.get_mut(piece as usize)
        {
            *place = Some((key, bytes));
            let there = copy.pieces.iter().flatten().count();
            self.most = self.most.max(there);
            if there == copy.pieces.len() {
                self.judge(size, now);
            }
        }
        self.ask(size, now);
    }

    /// It does not give this piece.
    pub fn on_reject(&mut self, key: PeerKey, piece: u32, now: Time) {
        if self.answered(key, piece).is_some() {
            self.drop(key, false, "it does not give the manifest", now);
        }
    }

    /// The conversation is over.
    pub fn on_closed(&mut self, key: PeerKey, now: Time) {
        let Some(Member { size, .. }) = self.members.remove(&key) else { return };
        if self.members.values().all(|member| member.size != size) {
            self.copies.remove(&size);
        } else if self.copies.get(&size).and_then(|copy| copy.alone).is_some_and(|(only, _)| only == key) {
            self.ask_one_alone(size, now);
        }
        self.ask(size, now);
    }

    /// To be called now and then: lets go who does not answer.
    pub fn tick(&mut self, now: Time) {
        let late = |member: &Member| member.asked.iter().any(|(_, since)| now >= *since + PATIENCE);
        let late: Vec<_> = self.members.iter().filter(|(_, member)| late(member)).map(|(key, _)| *key).collect();
        for key in late {
            self.drop(key, false, "it does not answer", now);
        }
        let slow: Vec<_> = (self.copies.iter())
            .filter_map(|(size, copy)| copy.alone.map(|(key, since)| (*size, key, since)))
            .filter(|(size, _, since)| now >= *since + PATIENCE_ALONE && self.of(*size).count() > 1)
            .collect();
        for (_, key, _) in slow {
            self.drop(key, false, "it is slow", now);
        }
    }

    fn of(&self, size: u32) -> impl Iterator<Item = PeerKey> + '_ {
        self.members.iter().filter(move |(_, member)| member.size == size).map(|(key, _)| *key)
    }

    /// Strikes the request off; gives the length that the member said, if it was asked.
    fn answered(&mut self, key: PeerKey, piece: u32) -> Option<u32> {
        let member = self.members.get_mut(&key)?;
        let at = member.asked.iter().position(|(asked, _)| *asked == piece)?;
        member.asked.remove(at);
        Some(member.size)
    }

    fn drop(&mut self, key: PeerKey, blame: bool, why: &'static str, now: Time) {
        self.steps.push_back(Step::Drop { key, blame, why });
        self.on_closed(key, now);
    }

    /// Every piece of this length is there.
    fn judge(&mut self, size: u32, now: Time) {
        let Some(copy) = self.copies.get_mut(&size) else { return };
        let bytes: Vec<u8> = copy.pieces.iter().flatten().flat_map(|(_, bytes)| bytes).copied().collect();
        if InfoHash::of(&bytes) == self.hash {
            self.steps.push_back(Step::Whole(bytes.into()));
            // Nothing is asked any more, and nobody blamed.
            self.members.clear();
            self.copies.clear();
            return;
        }
        let mut from: Vec<PeerKey> = copy.pieces.iter().flatten().map(|(key, _)| *key).collect();
        from.sort_unstable();
        from.dedup();
        copy.forget();
        match from[..] {
            [liar] => self.drop(liar, true, "the manifest that it gave is not the one of the link", now),
            _ => self.ask_one_alone(size, now),
        }
    }

    /// What came is forgotten, and all of it taken from one.
    fn ask_one_alone(&mut self, size: u32, now: Time) {
        let next = self.of(size).next();
        if let Some(copy) = self.copies.get_mut(&size) {
            copy.forget();
            copy.alone = next.map(|key| (key, now));
        }
    }

    /// Asks everybody of this length for what is missing: what few were asked for first, and towards the end the same of
    /// several, so that a slow member holds nothing up.
    fn ask(&mut self, size: u32, now: Time) {
        let Some(copy) = self.copies.get(&size) else { return };
        let missing: Vec<u32> = (0..).zip(&copy.pieces).filter(|(_, there)| there.is_none()).map(|(n, _)| n).collect();
        let mut asked: BTreeMap<u32, usize> = missing.iter().map(|piece| (*piece, 0)).collect();
        for (piece, _) in self.members.values().filter(|m| m.size == size).flat_map(|m| &m.asked) {
            asked.entry(*piece).and_modify(|count| *count += 1);
        }
        for (key, member) in self.members.iter_mut().filter(|(key, m)| m.size == size && copy.takes_from(**key)) {
            while member.asked.len() < IN_FLIGHT {
                let free = asked.iter_mut().filter(|(piece, _)| member.asked.iter().all(|(had, _)| had != *piece));
                let Some((piece, count)) = free.min_by_key(|(piece, count)| (**count, **piece)) else { break };
                *count += 1;
                member.asked.push((*piece, now));
                self.steps.push_back(Step::Ask(*key, *piece));
            }
        }
    }
}

#[cfg(test)]
mod tests;
