//! How a first seed gives each part away once before it repeats any (ungated super-seeding).
//!
//! While no other member is complete and some parts were never sent, the seed shows itself empty and reveals to each
//! connection a few parts from a shuffled list, each part to one connection only; the next is shown once one is fully
//! *sent*. (Waiting until a part is seen elsewhere, as BEP 16 does, is what makes super-seeding slow.)
//! Once nothing is left to show, a connection sees everything as soon as no other one waits to be served.
//! A part whose holder left or spreads nothing is given again; one that has but one holder a while after it was sent, when
//! nothing else is left. Who gets parts and spreads none has its credit stopped (see [`ledger`]).
//!
//! What it costs an attacker: who does not take what it was shown holds it back from others for [`TAKE_TIME`], and is
//! then left out until it takes something; near the end, when nothing else is left to show, for [`LAST_TIME`], or until
//! the uplink would idle. Who takes parts and hides them gets few.

mod ledger;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ledger::Ledger;

use crate::{geometry::PartIndex, peer::PeerKey, time::Time, wire::handshake::PeerId};

/// A part that is not spread by then (or by as long as it takes here) is given to another.
const SPREAD_TIME: Time = Time::from_secs(2);
/// Members that were shown the last parts are waited for so long before everybody is.
const REST_TIME: Time = Time::from_millis(300);
/// With nothing else left to show, what a member was shown and did not ask for in this time is shown to another.
const LAST_TIME: Time = Time::from_millis(1000);
/// What a member that sees everything asked for is left to it for so long.
const WANTED_TIME: Time = Time::from_secs(10);
/// What a member was shown is given to another when it took nothing for so long (or for as long as taking turns takes
/// here, at most the second).
pub(super) const TAKE_TIME: (Time, Time) = (Time::from_secs(5), Time::from_secs(30));
/// So many parts that we gave to nobody show that there is another seed.
const HELPED: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Gift {
    to: PeerKey,
    shown: Time,
    /// It was sent to somebody.
    sent: bool,
    /// This one asked for it.
    asked: bool,
    /// It was sent to this one, and at most one member has it, as far as we know.
    lonely: bool,
}

impl Gift {
    fn new(to: PeerKey, shown: Time) -> Self {
        Self { to, shown, sent: false, asked: false, lonely: false }
    }
}

#[derive(Debug, Default)]
pub(super) struct Reveal {
    /// Parts that were never sent and that nobody is shown, taken from the end.
    fresh: Vec<PartIndex>,
    gifts: BTreeMap<PartIndex, Gift>,
    ledger: Ledger,
    /// Parts that were sent, oldest first: to look at once more.
    spreading: VecDeque<(Time, PartIndex)>,
    /// Parts that were sent to somebody who will not spread them.
    lost: Vec<PartIndex>,
    /// Parts that were sent and not spread so far.
    again: VecDeque<PartIndex>,
    /// Parts that were asked for unbidden, oldest first: not ours to give to others for a while.
    wanted: VecDeque<(Time, PartIndex)>,
    /// How often a member had a part that we gave to nobody.
    from_elsewhere: u32,
    sent_once: u32,
    /// When a part was last sent to whom it was given.
    last_sent: Time,
    parts: u32,
}

impl Reveal {
    pub fn new(parts: impl ExactSizeIterator<Item = PartIndex>, dice: &mut fastrand::Rng) -> Self {
        let mut fresh: Vec<_> = parts.collect();
        dice.shuffle(&mut fresh);
        Self { parts: fresh.len() as u32, fresh, ..Self::default() }
    }

    /// Every part was sent and none need be sent again; or nearly every one, and nobody takes the rest.
    pub fn is_over(&self, now: Time) -> bool {
        let nearly = u64::from(self.sent_once) * 100 >= u64::from(self.parts) * 98;
        let nothing_left = self.sent_once == self.parts && self.lost.is_empty() && self.again.is_empty();
        nothing_left || (nearly && now >= self.last_sent + REST_TIME)
    }

    /// Somebody else gives parts away too. That a member says it has everything proves nothing.
    pub fn is_helped(&self) -> bool {
        self.from_elsewhere >= HELPED
    }

    pub fn joined(&mut self, key: PeerKey, id: PeerId) {
        self.ledger.joined(key, id);
    }

    /// It lets lie what it is shown: nothing depends on it.
    pub fn is_idle(&self, key: PeerKey) -> bool {
        self.ledger.is_idle(key)
    }

    /// Once in a while: who spreads too little of what it was given? What was shown to those is for others, and what they
    /// have nobody else need ever get from them. Nobody does any more when all was given.
    pub fn review(&mut self, now: Time) -> BTreeSet<PeerKey> {
        if self.is_over(now) {
            return BTreeSet::new();
        }
        let closed = self.ledger.review();
        closed.iter().for_each(|key| self.recall(*key));
        closed
    }

    /// It asked for a part. If that was not shown to it, it sees everything, and the part need not be given to another.
    pub fn wanted(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        match self.gifts.get_mut(&part) {
            Some(gift) => gift.asked |= gift.to == key,
            None => {
                self.gifts.insert(part, Gift::new(key, now));
                self.wanted.push_back((now, part));
            }
        }
    }

    /// A part was sent to somebody, whether we chose it or not. `holders` members have it so far.
    pub fn sent(&mut self, key: PeerKey, part: PartIndex, holders: u16, now: Time) {
        self.ledger.settle(key, part);
        self.ledger.took(key, now);
        let gift = self.gifts.entry(part).or_insert(Gift::new(key, now));
        self.sent_once += u32::from(!std::mem::replace(&mut gift.sent, true));
        if gift.to != key {
            return;
        }
        if holders <= 1 && !std::mem::replace(&mut gift.lonely, true) {
            self.ledger.owes(key, 1);
        }
        self.last_sent = now;
        self.spreading.push_back((now, part));
    }

    /// `key` has this part now, and with it `holders` members have.
    pub fn seen(&mut self, key: PeerKey, part: PartIndex, holders: u16, now: Time) {
        let Some(gift) = self.gifts.get_mut(&part) else {
            self.from_elsewhere += 1;
            return;
        };
        if holders > 1 && std::mem::take(&mut gift.lonely) {
            self.ledger.owes(gift.to, -1);
        }
        // It got the part elsewhere: it will never ask us for it.
        if gift.to == key && self.ledger.is_shown(key, part) {
            self.sent(key, part, holders, now);
        }
    }

    /// Its connection is over. `holders` tells how many members have a part.
    pub fn left(&mut self, key: PeerKey, id: PeerId, holders: impl Fn(PartIndex) -> u16) {
        self.recall(key);
        self.ledger.left(key, id);
        let lost = |part: &PartIndex, gift: &Gift| gift.to == key && gift.sent && holders(*part) == 0;
        let lost = self.gifts.iter().filter(|(p, g)| lost(p, g)).map(|(p, _)| *p);
        self.lost.extend(lost);
    }

    /// What this one was shown and not sent is for others.
    fn recall(&mut self, key: PeerKey) {
        for part in self.ledger.recall(key) {
            match self.gifts.get(&part) {
                Some(gift) if gift.sent => self.lost.push(part),
                _ => {
                    self.gifts.remove(&part);
                    self.fresh.push(part);
                }
            }
        }
    }

    /// Once in a while: who took nothing in this time of what it was shown? That is for others then.
    pub fn take_back(&mut self, now: Time, patience: Time) {
        for key in self.ledger.find_idle(now, patience) {
            self.recall(key);
        }
    }

    /// Once in a while: which parts that were sent are not spread? `patience`: what spreading takes here, if that is
    /// more than [`SPREAD_TIME`].
    pub fn look_again(&mut self, now: Time, patience: Time, holders: impl Fn(PartIndex) -> u16) {
        while let Some((_, part)) = self.wanted.pop_front_if(|(asked, _)| now >= *asked + WANTED_TIME) {
            if self.gifts.get(&part).is_some_and(|g| !g.sent) {
                self.gifts.remove(&part);
                self.fresh.push(part);
            }
        }
        while let Some((_, part)) = self.spreading.pop_front_if(|(sent, _)| now >= *sent + patience.max(SPREAD_TIME)) {
            if holders(part) <= 1 {
                match self.gifts.get(&part).is_some_and(|gift| self.ledger.is_proven(gift.to)) {
                    true => self.again.push_back(part),
                    false => self.lost.push(part),
                }
            }
        }
    }

    /// Some of the holders do not count any more: which parts were spread among them only?
    pub fn look_at_all(&mut self, holders: impl Fn(PartIndex) -> u16) {
        let known = self.spreading.iter().map(|(_, part)| part).chain(&self.lost).copied();
        let known: BTreeSet<_> = known.collect();
        let lost = |part: &PartIndex, gift: &Gift| {
            gift.sent && !self.ledger.is_proven(gift.to) && !known.contains(part) && self.is_stranded(*part, &holders)
        };
        let lost: Vec<_> = self.gifts.iter().filter(|(p, g)| lost(p, g)).map(|(p, _)| *p).collect();
        self.again.retain(|part| !lost.contains(part));
        self.lost.extend(lost);
    }

    /// It has one holder at most, and nobody is shown it.
    fn is_stranded(&self, part: PartIndex, holders: impl Fn(PartIndex) -> u16) -> bool {
        holders(part) <= 1 && self.gifts.get(&part).is_none_or(|gift| !self.ledger.is_shown(gift.to, part))
    }

    /// The next part to show to this connection, while fewer than `ahead` that it sees are unsent.
    pub fn next(
        &mut self,
        key: PeerKey,
        ahead: usize,
        now: Time,
        theirs: impl Fn(PartIndex) -> bool,
        holders: impl Fn(PartIndex) -> u16,
    ) -> Option<PartIndex> {
        let shown = self.ledger.open(key).filter(|shown| *shown < ahead)?;
        let part = self
            .next_lost(key, &theirs, &holders)
            .or_else(|| self.next_fresh(&holders))
            .or_else(|| if shown == 0 { self.next_last(key, now, &theirs) } else { None })
            .or_else(|| self.next_again(key, &theirs, &holders))?;
        let gift = self.gifts.entry(part).or_insert(Gift::new(key, now));
        self.ledger.settle(gift.to, part);
        *gift = Gift { sent: gift.sent, ..Gift::new(key, now) };
        self.ledger.show(key, part, now);
        Some(part)
    }

    /// Whether this connection could do with more than it is shown, and every part was given away or is on offer.
    pub fn has_too_few_for(&self, key: PeerKey, ahead: usize) -> bool {
        self.fresh.is_empty() && self.ledger.open(key).is_some_and(|shown| shown < ahead)
    }

    fn next_fresh(&mut self, holders: impl Fn(PartIndex) -> u16) -> Option<PartIndex> {
        while let Some(part) = self.fresh.pop() {
            if self.gifts.contains_key(&part) {
                continue;
            }
            if holders(part) == 0 {
                return Some(part);
            }
            // Somebody brought it along.
            self.sent_once += 1;
        }
        None
    }

    /// One that who was given it will not spread, for who spreads what it gets.
    fn next_lost(
        &mut self,
        key: PeerKey,
        theirs: impl Fn(PartIndex) -> bool,
        holders: impl Fn(PartIndex) -> u16,
    ) -> Option<PartIndex> {
        if !self.ledger.is_proven(key) {
            return None;
        }
        let lost = std::mem::take(&mut self.lost);
        self.lost = lost.into_iter().filter(|part| self.is_stranded(*part, &holders)).collect();
        let at = self.lost.iter().position(|part| self.suits(key, *part, &theirs))?;
        Some(self.lost.swap_remove(at))
    }

    /// It lacks this part, and was not given it before.
    fn suits(&self, key: PeerKey, part: PartIndex, theirs: impl Fn(PartIndex) -> bool) -> bool {
        !theirs(part) && self.gifts.get(&part).is_none_or(|gift| gift.to != key)
    }

    /// One that another was shown and does not ask for.
    fn next_last(&self, key: PeerKey, now: Time, theirs: impl Fn(PartIndex) -> bool) -> Option<PartIndex> {
        let waits = |part: &PartIndex| {
            let gift = self.gifts.get(part).filter(|gift| gift.to != key && !gift.asked && !theirs(*part));
            gift.is_some_and(|gift| now >= gift.shown + LAST_TIME)
        };
        self.ledger.all_shown().find(waits)
    }

    /// One that is not spread yet, though who has it does as the others do: soon enough when there is nothing else.
    fn next_again(
        &mut self,
        key: PeerKey,
        theirs: impl Fn(PartIndex) -> bool,
        holders: impl Fn(PartIndex) -> u16,
    ) -> Option<PartIndex> {
        if self.ledger.is_anything_shown() {
            return None;
        }
        self.again.retain(|part| holders(*part) <= 1);
        let at = self.again.iter().position(|part| self.suits(key, *part, &theirs))?;
        self.again.remove(at)
    }
}

#[cfg(test)]
mod tests;
