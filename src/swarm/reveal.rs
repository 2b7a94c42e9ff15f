//! How a first seed gives each part away once before it repeats any (ungated super-seeding).
//!
//! While no other member is complete and some parts were never sent, the seed shows itself empty and reveals to each
//! connection a few parts from a shuffled list, each part to one connection only; the next is shown once one is fully
//! *sent*. (Waiting until a part is seen elsewhere, as BEP 16 does, is what makes super-seeding slow.)
//! Who gets parts and spreads none has its credit stopped. A part that still has at most one holder 2 s after it was
//! sent, or whose holder left, is given again.
//!
//! What it costs an attacker: who does not take what it was shown holds it back from others for [`TAKE_TIME`], and is
//! then left out until it takes something.

use std::collections::{BTreeMap, VecDeque};

use crate::{geometry::PartIndex, peer::PeerKey, time::Time};

/// A part that is not spread by then (or by as long as it takes here) is given to another.
const SPREAD_TIME: Time = Time::from_secs(2);
/// Members that were shown the last parts are waited for so long before everybody is.
const REST_TIME: Time = Time::from_millis(300);
/// What a member that sees everything asked for is left to it for so long.
const WANTED_TIME: Time = Time::from_secs(10);
/// What a member was shown is given to another when it took nothing for so long (or for as long as taking turns takes
/// here, at most the second).
pub(super) const TAKE_TIME: (Time, Time) = (Time::from_secs(5), Time::from_secs(30));
/// Nothing new for who holds more parts alone than this, plus twice the median.
const CREDIT: u32 = 4;
/// So many parts that we gave to nobody show that there is another seed.
const HELPED: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Gift {
    to: PeerKey,
    sent: bool,
    /// At most one member has it, as far as we know.
    lonely: bool,
}

/// What one connection was given.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    unsent: u32,
    lonely: u32,
    /// When it last took something, or was shown something again.
    since: Time,
    /// It let lie what it was shown, and took nothing since.
    idle: bool,
}

#[derive(Debug, Default)]
pub(super) struct Reveal {
    /// Parts that were never given, taken from the end.
    fresh: Vec<PartIndex>,
    gifts: BTreeMap<PartIndex, Gift>,
    accounts: BTreeMap<PeerKey, Account>,
    /// Parts that were sent, oldest first: to look at once more.
    spreading: VecDeque<(Time, PartIndex)>,
    again: VecDeque<PartIndex>,
    /// Parts that were asked for unbidden, oldest first: not ours to give to others for a while.
    wanted: VecDeque<(Time, PartIndex)>,
    /// How often a member had a part that we gave to nobody.
    from_elsewhere: u32,
    sent_once: u32,
    /// When a part was last sent for the first time.
    last_first: Time,
    parts: u32,
}

impl Reveal {
    pub fn new(parts: impl ExactSizeIterator<Item = PartIndex>, dice: &mut fastrand::Rng) -> Self {
        let mut fresh: Vec<_> = parts.collect();
        dice.shuffle(&mut fresh);
        Self { parts: fresh.len() as u32, fresh, ..Self::default() }
    }

    /// Every part was sent; or nearly every one, and those who were shown the rest do not ask for it.
    pub fn is_over(&self, now: Time) -> bool {
        let nearly = u64::from(self.sent_once) * 100 >= u64::from(self.parts) * 98;
        self.sent_once == self.parts || (nearly && now >= self.last_first + REST_TIME)
    }

    /// Somebody else gives parts away too. That a member says it has everything proves nothing.
    pub fn is_helped(&self) -> bool {
        self.from_elsewhere >= HELPED
    }

    pub fn joined(&mut self, key: PeerKey) {
        self.accounts.insert(key, Account::default());
    }

    /// It lets lie what it is shown: nothing depends on it.
    pub fn is_idle(&self, key: PeerKey) -> bool {
        self.accounts.get(&key).is_some_and(|account| account.idle)
    }

    /// Somebody who sees everything asked for a part: it need not be given to another.
    pub fn wanted(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        if let std::collections::btree_map::Entry::Vacant(place) = self.gifts.entry(part) {
            place.insert(Gift { to: key, sent: false, lonely: false });
            self.wanted.push_back((now, part));
        }
    }

    /// A part was sent to somebody, whether we chose it or not.
    pub fn sent(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        if let Some(account) = self.accounts.get_mut(&key) {
            account.idle = false;
            account.since = now;
        }
        let gift = self.gifts.entry(part).or_insert(Gift { to: key, sent: false, lonely: false });
        if gift.to != key {
            return;
        }
        if !gift.sent {
            gift.sent = true;
            self.sent_once += 1;
            self.last_first = now;
            if let Some(account) = self.accounts.get_mut(&key) {
                account.unsent = account.unsent.saturating_sub(1);
            }
        }
        self.spreading.push_back((now, part));
    }

    /// `key` has this part now, and with it `holders` members have.
    pub fn seen(&mut self, key: PeerKey, part: PartIndex, holders: u16, now: Time) {
        let Some(gift) = self.gifts.get_mut(&part) else {
            self.from_elsewhere += 1;
            return;
        };
        if holders > 1
            && std::mem::take(&mut gift.lonely)
            && let Some(account) = self.accounts.get_mut(&gift.to)
        {
            account.lonely = account.lonely.saturating_sub(1);
        }
        // It got the part elsewhere: it will never ask us for it.
        if gift.to == key && !gift.sent {
            self.sent(key, part, now);
        }
    }

    /// Its connection is over. `holders` tells how many members have a part.
    pub fn left(&mut self, key: PeerKey, holders: impl Fn(PartIndex) -> u16) {
        self.accounts.remove(&key);
        let lost = |part: &PartIndex, gift: &Gift| gift.to == key && holders(*part) == 0;
        let back: Vec<_> = self.gifts.iter().filter(|(p, g)| lost(p, g)).map(|(p, _)| *p).collect();
        self.again.extend(back);
    }

    /// Once in a while: who took nothing in this time of what it was shown? That is for others then.
    pub fn take_back(&mut self, now: Time, patience: Time) {
        let idle = |a: &Account| a.unsent > 0 && !a.idle && now >= a.since + patience;
        let idle: Vec<_> = self.accounts.iter().filter(|(_, a)| idle(a)).map(|(key, _)| *key).collect();
        for key in idle {
            let back = self.gifts.iter().filter(|(_, gift)| gift.to == key && !gift.sent);
            let back: Vec<_> = back.map(|(part, gift)| (*part, *gift)).collect();
            for (part, gift) in back {
                self.gifts.remove(&part);
                self.revoke(&gift);
                self.fresh.push(part);
            }
            if let Some(account) = self.accounts.get_mut(&key) {
                account.idle = true;
            }
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
                self.again.push_back(part);
            }
        }
    }

    fn has_credit(&self, key: PeerKey) -> bool {
        let mut lonely: Vec<u32> = self.accounts.values().filter(|a| !a.idle).map(|a| a.lonely).collect();
        lonely.sort_unstable();
        let median = lonely.get(lonely.len().saturating_sub(1) / 2).copied().unwrap_or(0);
        self.accounts.get(&key).is_some_and(|a| a.lonely <= CREDIT + 2 * median)
    }

    /// The next part to show to this connection, while fewer than `ahead` that it sees are unsent.
    pub fn next(
        &mut self,
        key: PeerKey,
        ahead: u32,
        now: Time,
        theirs: impl Fn(PartIndex) -> bool,
        holders: impl Fn(PartIndex) -> u16,
    ) -> Option<PartIndex> {
        let room = self.accounts.get(&key).is_some_and(|a| a.unsent < ahead && !a.idle);
        if !room || !self.has_credit(key) {
            return None;
        }
        let part = self.next_fresh(&holders).or_else(|| self.next_again(key, &theirs, &holders))?;
        if let Some(old) = self.gifts.get(&part).copied() {
            self.revoke(&old);
        }
        let sent = self.gifts.get(&part).is_some_and(|g| g.sent);
        self.gifts.insert(part, Gift { to: key, sent, lonely: true });
        let account = self.accounts.entry(key).or_default();
        account.lonely += 1;
        if account.unsent == 0 {
            account.since = now;
        }
        account.unsent += u32::from(!sent);
        Some(part)
    }

    fn revoke(&mut self, old: &Gift) {
        if let Some(account) = self.accounts.get_mut(&old.to) {
            account.lonely -= u32::from(old.lonely).min(account.lonely);
            account.unsent -= u32::from(!old.sent).min(account.unsent);
        }
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

    fn next_again(
        &mut self,
        key: PeerKey,
        theirs: impl Fn(PartIndex) -> bool,
        holders: impl Fn(PartIndex) -> u16,
    ) -> Option<PartIndex> {
        self.again.retain(|part| holders(*part) <= 1);
        let fits = |p: &PartIndex| !theirs(*p) && self.gifts.get(p).is_none_or(|g| g.to != key);
        let at = self.again.iter().position(fits)?;
        self.again.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);

    fn reveal(parts: u64) -> Reveal {
        let g = Geometry::new(parts, 1).unwrap();
        let mut reveal = Reveal::new(g.all_parts(), &mut fastrand::Rng::with_seed(3));
        reveal.joined(A);
        reveal.joined(B);
        reveal
    }

    fn next(r: &mut Reveal, key: PeerKey) -> Option<PartIndex> {
        r.next(key, 2, Time::ZERO, |_| false, |_| 0)
    }

    #[test]
    fn each_part_goes_to_one_connection_and_the_next_when_one_is_sent() {
        let mut r = reveal(10);
        let shown = [next(&mut r, A), next(&mut r, A), next(&mut r, B), next(&mut r, B)].map(Option::unwrap);
        assert!((0..4).all(|i| !shown[..i].contains(&shown[i])));
        assert_eq!(next(&mut r, A), None);
        r.sent(A, shown[0], Time::ZERO);
        assert!(next(&mut r, A).is_some_and(|p| !shown.contains(&p)));
    }

    #[test]
    fn who_spreads_nothing_gets_nothing_new() {
        let mut r = reveal(40);
        for _ in 0..20 {
            let Some(part) = next(&mut r, A) else { break };
            r.sent(A, part, Time::ZERO);
        }
        assert_eq!(r.accounts[&A].lonely, CREDIT + 1);
        let part = *r.gifts.keys().next().unwrap();
        r.seen(B, part, 2, Time::ZERO);
        assert!(next(&mut r, A).is_some());
    }

    #[test]
    fn what_is_not_spread_is_given_again_to_another() {
        let mut r = reveal(1);
        let part = next(&mut r, A).unwrap();
        r.sent(A, part, Time::ZERO);
        assert!(r.is_over(Time::ZERO));
        r.look_again(Time::from_secs(1), Time::ZERO, |_| 1);
        assert_eq!(next(&mut r, B), None);
        r.look_again(Time::from_secs(2), Time::ZERO, |_| 1);
        assert_eq!(next(&mut r, A), None, "it had it already");
        assert_eq!(next(&mut r, B), Some(part));
    }

    #[test]
    fn who_takes_nothing_holds_nothing_back() {
        let mut r = reveal(4);
        let shown = [next(&mut r, A), next(&mut r, A), next(&mut r, B), next(&mut r, B)].map(Option::unwrap);
        r.sent(B, shown[2], Time::from_secs(1));
        r.take_back(Time::from_secs(4), TAKE_TIME.0);
        assert!(!r.is_idle(A), "it still has time");
        r.take_back(Time::from_secs(5), TAKE_TIME.0);
        assert!(r.is_idle(A));
        assert_eq!(next(&mut r, A), None, "nothing new");
        r.sent(B, shown[3], Time::from_secs(5));
        let left = [next(&mut r, B), next(&mut r, B)].map(Option::unwrap);
        assert!(left.iter().all(|part| shown[..2].contains(part)));
        r.sent(A, shown[0], Time::from_secs(6));
        assert!(!r.is_idle(A), "it takes after all");
    }

    #[test]
    fn what_left_with_its_only_holder_is_given_again() {
        let mut r = reveal(2);
        let part = next(&mut r, A).unwrap();
        let other = next(&mut r, B).unwrap();
        r.sent(B, other, Time::ZERO);
        r.left(A, |p| u16::from(p == other));
        assert_eq!(next(&mut r, B), Some(part));
    }

    #[test]
    fn what_somebody_asked_for_unbidden_is_left_to_it_for_a_while() {
        let mut r = reveal(2);
        let g = Geometry::new(2, 1).unwrap();
        let wanted = g.part(0).unwrap();
        r.wanted(PeerKey(9), wanted, Time::ZERO);
        assert_eq!(next(&mut r, A), g.part(1));
        assert_eq!(next(&mut r, B), None);
        r.look_again(Time::from_secs(10), Time::ZERO, |_| 0);
        assert_eq!(next(&mut r, B), Some(wanted));
    }

    #[test]
    fn it_is_over_when_all_was_sent_or_nobody_takes_the_rest() {
        let mut r = reveal(50);
        let g = Geometry::new(50, 1).unwrap();
        for part in g.all_parts().take(49) {
            r.sent(PeerKey(9), part, Time::from_secs(1));
        }
        assert!(!r.is_over(Time::from_millis(1200)));
        assert!(r.is_over(Time::from_millis(1300)));
        r.sent(PeerKey(9), g.part(49).unwrap(), Time::from_secs(1));
        assert!(r.is_over(Time::from_secs(1)));
    }
}
