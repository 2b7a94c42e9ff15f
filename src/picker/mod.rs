//! Which part from whom.
//!
//! A part is in exactly one state. What is wanted is picked
//! 1. where some of it came already: a part begun is finished first;
//! 2. rarest first among the incomplete members, ties in random order: what few have must be spread soon;
//! 3. in order where only complete members are known: there is nothing to spread, and a file that grows from its
//!    start can be hashed as it grows.
//!
//! A complete member is asked only for what no incomplete one has, so that the first seed gives each part away once
//! before it repeats any (`Among::OnlyThere`); the exception is the caller's.

mod rarity;

use rarity::Rarity;

use crate::{
    geometry::{Geometry, PartIndex},
    peer::PeerKey,
    wire::bitfield::Bitfield,
};

/// What is going on with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartState {
    /// Nobody gives it to us.
    Missing,
    /// It is missing, and nobody is asked for it.
    Unwanted,
    /// This member was asked for it.
    Fetching(PeerKey),
    /// The first was asked for it; it is being taken back for the second.
    Moving(PeerKey, PeerKey),
    /// It is right, and on its way to the disk.
    Writing,
    /// It is on the disk.
    Present,
}

impl PartState {
    /// Whether this member was asked for it and has not given it back.
    pub fn is_asked_of(self, key: PeerKey) -> bool {
        matches!(self, Self::Fetching(by) | Self::Moving(by, _) if by == key)
    }
}

/// Which parts of a member come into question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// All that it has.
    All,
    /// Only those that no incomplete member has, and those that were begun.
    OnlyThere,
    /// Only those that no incomplete member has, begun or not.
    Unheld,
}

#[derive(Debug)]
pub struct Picker {
    geometry: Geometry,
    states: Vec<PartState>,
    rarity: Rarity,
    /// Missing parts of which some bytes came already.
    begun: Vec<PartIndex>,
    /// No part below this one is missing.
    first_missing: u32,
    present: u32,
    unwanted: u32,
}

impl Picker {
    /// Everything that is not in `have` is missing.
    pub fn new(geometry: Geometry, have: &Bitfield, seed: u64) -> Self {
        let mut picker = Self {
            geometry,
            states: vec![PartState::Missing; geometry.parts() as usize],
            rarity: Rarity::new(&geometry, seed),
            begun: Vec::new(),
            first_missing: 0,
            present: 0,
            unwanted: 0,
        };
        for part in geometry.all_parts() {
            if have.has(part) {
                picker.states[part.as_usize()] = PartState::Present;
                picker.present += 1;
            } else {
                picker.rarity.enter(part);
            }
        }
        picker
    }

    /// Of what is missing, only these parts are wanted.
    pub fn want_only(&mut self, wanted: &Bitfield) {
        let missing = |part: &PartIndex| self.states[part.as_usize()] == PartState::Missing && !wanted.has(*part);
        let unwanted: Vec<_> = self.geometry.all_parts().filter(missing).collect();
        unwanted.into_iter().for_each(|part| self.set(part, PartState::Unwanted));
    }

    pub fn state(&self, part: PartIndex) -> PartState {
        self.states[part.as_usize()]
    }

    pub fn is_complete(&self) -> bool {
        self.present == self.geometry.parts()
    }

    /// Number of missing parts that nobody was asked for.
    pub fn unasked(&self) -> usize {
        self.rarity.order().len()
    }

    /// Whether all that is wanted is there.
    pub fn is_satisfied(&self) -> bool {
        self.present + self.unwanted == self.geometry.parts()
    }

    /// How many incomplete members have this part.
    pub fn holders(&self, part: PartIndex) -> u16 {
        self.rarity.count(part)
    }

    /// Whether a part is missing that no incomplete member has.
    pub fn lacks_holders(&self) -> bool {
        !self.rarity.rarest(0).is_empty()
    }

    /// An incomplete member has it.
    pub fn gained(&mut self, part: PartIndex) {
        self.rarity.gained(part);
    }

    /// An incomplete member has it no more, or became complete, or left, or stalls.
    pub fn lost(&mut self, part: PartIndex) {
        self.rarity.lost(part);
    }

    /// An incomplete member has these.
    pub fn gained_all(&mut self, parts: &Bitfield) {
        self.rarity.gained_all(parts);
    }

    /// An incomplete member has these no more, or became complete, or left, or stalls.
    pub fn lost_all(&mut self, parts: &Bitfield) {
        self.rarity.lost_all(parts);
    }

    /// Some bytes of this missing part came already.
    pub fn is_begun(&mut self, part: PartIndex) {
        if !self.begun.contains(&part) {
            self.begun.push(part);
        }
    }

    pub fn set(&mut self, part: PartIndex, state: PartState) {
        let old = std::mem::replace(&mut self.states[part.as_usize()], state);
        match (old == PartState::Missing, state == PartState::Missing) {
            (true, false) => {
                self.rarity.leave(part);
                self.begun.retain(|p| *p != part);
            }
            (false, true) => {
                self.rarity.enter(part);
                self.first_missing = self.first_missing.min(part.get());
            }
            _ => {}
        }
        self.present += u32::from(state == PartState::Present);
        self.present -= u32::from(old == PartState::Present);
        self.unwanted += u32::from(state == PartState::Unwanted);
        self.unwanted -= u32::from(old == PartState::Unwanted);
    }

    /// The next part to ask of a member that has `theirs`.
    pub fn pick(&mut self, theirs: &Bitfield, among: Among, in_order: bool) -> Option<PartIndex> {
        let fits = |part: &PartIndex| theirs.has(*part);
        let goes_on = |part: &PartIndex| fits(part) && (among != Among::Unheld || self.holders(*part) == 0);
        if let Some(part) = self.begun.iter().copied().find(goes_on) {
            return Some(part);
        }
        if in_order {
            return self.lowest(theirs);
        }
        match among {
            Among::All => self.rarity.order().iter().copied().find(fits),
            Among::OnlyThere | Among::Unheld => self.rarity.rarest(0).iter().copied().find(fits),
        }
    }

    fn lowest(&mut self, theirs: &Bitfield) -> Option<PartIndex> {
        let missing = |p: &PartIndex| self.states[p.as_usize()] == PartState::Missing;
        let parts = || (self.first_missing..self.geometry.parts()).filter_map(|n| self.geometry.part(n));
        let first = parts().find(missing)?;
        let found = parts().skip((first.get() - self.first_missing) as usize).find(|p| missing(p) && theirs.has(*p));
        self.first_missing = first.get();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of who has what: one digit a part.
    fn picker(holders: &str, have: &str) -> (Geometry, Picker) {
        let g = Geometry::new(holders.len() as u64, 1).unwrap();
        let mut p = Picker::new(g, &bits(&g, have), 7);
        for (part, digit) in g.all_parts().zip(holders.chars()) {
            (0..digit.to_digit(10).unwrap()).for_each(|_| p.gained(part));
        }
        (g, p)
    }

    fn bits(g: &Geometry, picture: &str) -> Bitfield {
        let mut bits = Bitfield::none(g);
        for (part, _) in g.all_parts().zip(picture.chars()).filter(|(_, c)| *c == '*') {
            bits.insert(part);
        }
        bits
    }

    fn pick(g: &Geometry, p: &mut Picker, theirs: &str, among: Among, in_order: bool) -> Option<u32> {
        let part = p.pick(&bits(g, theirs), among, in_order)?;
        p.set(part, PartState::Fetching(PeerKey(1)));
        Some(part.get())
    }

    #[test]
    fn what_is_not_wanted_is_not_picked() {
        let (g, mut p) = picker("1000", "   *");
        p.want_only(&bits(&g, " *  "));
        assert!(!p.is_satisfied());
        for in_order in [false, true] {
            assert_eq!(p.pick(&bits(&g, "* * "), Among::All, in_order), None);
        }
        assert_eq!(pick(&g, &mut p, "****", Among::All, false), Some(1));
        p.set(g.part(1).unwrap(), PartState::Present);
        assert!(p.is_satisfied() && !p.is_complete());
        // It may turn out to be on the disk all the same.
        p.set(g.part(0).unwrap(), PartState::Present);
        p.set(g.part(2).unwrap(), PartState::Present);
        assert!(p.is_satisfied() && p.is_complete());
    }

    #[test]
    fn the_rarest_comes_first_and_nothing_twice() {
        let (g, mut p) = picker("3121", "   *");
        assert_eq!(pick(&g, &mut p, "****", Among::All, false), Some(1));
        assert_eq!(pick(&g, &mut p, "* * ", Among::All, false), Some(2));
        assert_eq!(pick(&g, &mut p, " *  ", Among::All, false), None);
        assert_eq!(pick(&g, &mut p, "****", Among::All, false), Some(0));
        assert_eq!(pick(&g, &mut p, "****", Among::All, false), None);
    }

    #[test]
    fn a_seed_is_asked_only_for_what_nobody_else_has() {
        let (g, mut p) = picker("2010", "    ");
        let first = pick(&g, &mut p, "****", Among::OnlyThere, false);
        let second = pick(&g, &mut p, "****", Among::OnlyThere, false);
        assert_eq!([first, second].iter().flatten().sum::<u32>(), 1 + 3);
        assert_eq!(pick(&g, &mut p, "****", Among::OnlyThere, false), None);
        assert_eq!(pick(&g, &mut p, "****", Among::All, false), Some(2));
    }

    #[test]
    fn in_order_where_there_is_nothing_to_spread() {
        let (g, mut p) = picker("0000", "*   ");
        assert_eq!(pick(&g, &mut p, "****", Among::All, true), Some(1));
        assert_eq!(pick(&g, &mut p, "****", Among::All, true), Some(2));
        p.set(g.part(1).unwrap(), PartState::Missing);
        assert_eq!(pick(&g, &mut p, "****", Among::All, true), Some(1));
        assert_eq!(pick(&g, &mut p, "****", Among::All, true), Some(3));
        assert_eq!(pick(&g, &mut p, "****", Among::All, true), None);
    }

    #[test]
    fn what_was_begun_is_finished_first() {
        let (g, mut p) = picker("0009", "    ");
        let part = g.part(3).unwrap();
        p.set(part, PartState::Fetching(PeerKey(1)));
        p.set(part, PartState::Missing);
        p.is_begun(part);
        assert_ne!(p.pick(&bits(&g, "****"), Among::Unheld, false), Some(part), "others have it");
        assert_eq!(pick(&g, &mut p, "****", Among::OnlyThere, false), Some(3));
    }

    #[test]
    fn complete_when_all_is_present() {
        let (g, mut p) = picker("00", "* ");
        assert!(!p.is_complete());
        p.set(g.part(1).unwrap(), PartState::Writing);
        assert!(!p.is_complete());
        p.set(g.part(1).unwrap(), PartState::Present);
        assert!(p.is_complete());
    }
}
