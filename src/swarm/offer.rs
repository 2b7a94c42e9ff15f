//! An uplink that nobody asks: who has little to send says so, and is given parts that were asked of others.
//!
//! A part is asked of one member as soon as there is one who has it, and then waits in that member's queue, however
//! many others have it by the time its turn comes. With equal links the queues soon differ in length: some stand idle
//! while others have more to send than they can, and what is lost so can never be caught up. In a simulation of 200
//! members that was some 8 % of the whole time, and the offers won a third of it back.
//!
//! What an offer costs: a message of six bytes now and then, to few. What a liar gains: one part at a time, which the next
//! who offers itself takes over when it is late.

use super::{
    Swarm,
    neighbour::{Fetch, Neighbour},
};
use crate::{
    geometry::PartIndex,
    peer::{Command, PeerKey},
    picker::PartState,
    time::Time,
};

/// Offers are made while no more members than this are served or wait to be: they take a while to be answered.
const FEW_ASK: usize = 20;
/// Members that are told so at a time; not all of them have a use for it.
const OFFERS: usize = 8;
/// The same one is not told again sooner.
const OFFER_AGAIN: Time = Time::from_millis(100);
/// Who offered itself for a part keeps it for this share of the time that the part should take; then it is late.
const KEEPS: f64 = 0.15;

/// It has a use for offers, unless it has all that we have.
fn may_be_told(n: &Neighbour, now: Time) -> bool {
    let idle = !n.asks && !n.serving && n.offered.is_none_or(|at| now >= at + OFFER_AGAIN);
    idle && n.is_ours() && n.sees_all && !n.is_complete() && !n.gains_nothing
}

impl Swarm {
    /// With hardly anybody to serve, says so to a few who lack something that we have.
    pub(super) fn offer(&mut self, now: Time) {
        let asking = self.neighbours.values().filter(|n| n.asks || (n.serving && !n.clogged)).count();
        if asking > FEW_ASK {
            return;
        }
        let have = self.have.clone();
        let mut takers = Vec::new();
        for (key, n) in self.neighbours.iter_mut().filter(|(_, n)| may_be_told(n, now)) {
            match have.exceeds(&n.has) {
                true => takers.push((n.served, *key)),
                false => n.gains_nothing = true,
            }
        }
        // Those that were served least recently gain most.
        takers.sort_unstable();
        for (_, key) in takers.into_iter().take(OFFERS) {
            self.edit(key, |n| n.offered = Some(now));
            self.tell(key, Command::Offer);
        }
    }

    /// It can serve us at once: it gets something new to send, or what we wait for elsewhere and will wait longest.
    pub(super) fn on_offer(&mut self, key: PeerKey, now: Time) {
        self.edit(key, |n| n.offers = true);
        self.assign(key, now);
        self.edit(key, |n| n.offers &= n.fetches.is_empty());
        let free = self.neighbours.get(&key).filter(|n| n.may_be_asked() && n.fetches.is_empty());
        let Some(free) = free.filter(|_| self.moving_to(key) == 0) else {
            return;
        };
        if let Some((victim, part)) = self.waits_longest(free, key, now) {
            let patience = self.patience_for(free, part);
            self.moves(part, victim, key);
            self.tell(victim, Command::Recall(part, patience));
        }
    }

    /// Of the parts that this member has and that have not begun to come from another, the one that will take longest,
    /// and who was asked for it.
    fn waits_longest(&self, free: &Neighbour, key: PeerKey, now: Time) -> Option<(PeerKey, PartIndex)> {
        let mean = self.mean_rate();
        let mut longest: Option<(f64, PeerKey, PartIndex)> = None;
        for (other, n) in self.neighbours.iter().filter(|(other, _)| **other != key) {
            let waited = now.saturating_sub(n.last_bytes).as_secs_f64();
            let mut ahead = 0.0;
            for fetch in &n.fetches {
                ahead += f64::from(fetch.left);
                let rate = n.rate.get();
                let time = ahead / rate.max(1.0) - waited;
                let late = waited > KEEPS * ahead / if rate > 0.0 { rate } else { mean.max(1.0) };
                if self.is_movable(fetch, *other, free, late, now) && longest.is_none_or(|(most, ..)| time > most) {
                    longest = Some((time, *other, fetch.part));
                }
            }
        }
        longest.map(|(_, other, part)| (other, part))
    }

    fn is_movable(&self, fetch: &Fetch, from: PeerKey, to: &Neighbour, late: bool, now: Time) -> bool {
        let waits = fetch.began.is_none() && (!fetch.offered || late) && now >= fetch.kept_until;
        waits
            && to.has.has(fetch.part)
            && self.picker.state(fetch.part) == PartState::Fetching(from)
            && !self.suspect.contains(&fetch.part)
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::{
        geometry::Geometry,
        peer::{Event, Hello, Introduction, session::MAX_REQUEST},
        swarm::{Config, Effect, Input, assign::MAX_RECALL},
        wire::{bitfield::Bitfield, handshake::PeerId},
    };

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);

    fn geometry() -> Geometry {
        Geometry::new(4 << 16, 1 << 16).unwrap()
    }

    fn part(index: u32) -> PartIndex {
        geometry().part(index).unwrap()
    }

    /// A swarm that has this, and two neighbours of our own kind that have these.
    fn swarm(ours: &[u32], theirs: &[u32]) -> Swarm {
        let bits = |parts: &[u32]| {
            let mut bits = Bitfield::none(&geometry());
            for index in parts {
                bits.insert(part(*index));
            }
            bits
        };
        let (id, have) = (PeerId([9; 20]), bits(ours));
        let config =
            Config { geometry: geometry(), id, copy: None, have, checked: true, max_peers: 9, max_dialled: 9, seed: 1 };
        let mut swarm = Swarm::new(config);
        for key in [A, B] {
            let n = key.0 as u8;
            let address = SocketAddr::from(([10, 0, 0, n], 9998));
            let id = PeerId([n; 20]);
            let introduction = Introduction { id, address, dialled: true, fast: true, extended: true };
            swarm.handle(Input::Introduced(key, introduction), Time::ZERO);
            let hello = Hello { max_request: Some(MAX_REQUEST), ..Hello::default() };
            swarm.handle(Input::Peer(key, Event::Hello(hello)), Time::ZERO);
            swarm.handle(Input::Peer(key, Event::Choked(false)), Time::ZERO);
            swarm.handle(Input::Peer(key, Event::HasThese(bits(theirs))), Time::ZERO);
        }
        swarm
    }

    fn told(swarm: &mut Swarm) -> Vec<(PeerKey, Command)> {
        let effects = std::iter::from_fn(|| swarm.next_effect());
        effects.filter_map(|e| if let Effect::Tell(key, command) = e { Some((key, command)) } else { None }).collect()
    }

    #[test]
    fn who_lacks_something_is_told_that_nobody_asks_us_now_and_then() {
        let mut swarm = swarm(&[0, 1], &[0]);
        let offers = |swarm: &mut Swarm, ms| {
            swarm.tick(Time::from_millis(ms));
            told(swarm).into_iter().filter(|(_, command)| *command == Command::Offer).count()
        };
        assert_eq!(offers(&mut swarm, 1000), 2);
        assert_eq!(offers(&mut swarm, 1050), 0);
        assert_eq!(offers(&mut swarm, 1100), 2);
        swarm.handle(Input::Peer(A, Event::Has(part(1))), Time::ZERO);
        assert_eq!(offers(&mut swarm, 1200), 1, "we have nothing for the first any more");
    }

    #[test]
    fn who_offers_gets_what_waits_elsewhere_and_keeps_it() {
        let mut swarm = swarm(&[], &[3]);
        assert!(told(&mut swarm).contains(&(A, Command::Fetch(part(3)))));
        swarm.handle(Input::Peer(B, Event::Offer), Time::from_secs(1));
        assert_eq!(told(&mut swarm), [(A, Command::Recall(part(3), MAX_RECALL))]);
        swarm.handle(Input::Peer(A, Event::Released { part: part(3), refused: false }), Time::from_secs(1));
        assert_eq!(told(&mut swarm), [(B, Command::Fetch(part(3)))]);
        swarm.handle(Input::Peer(A, Event::Offer), Time::from_secs(1));
        assert_eq!(told(&mut swarm), []);
    }

    #[test]
    fn who_offers_and_does_not_give_loses_the_part_to_the_next_who_offers() {
        let mut swarm = swarm(&[], &[3]);
        swarm.handle(Input::Peer(A, Event::Received { part: part(3), bytes: 1000 }), Time::from_millis(10));
        swarm.handle(Input::Peer(A, Event::Right(part(3))), Time::from_millis(10));
        told(&mut swarm);
        swarm.handle(Input::Peer(A, Event::Has(part(2))), Time::from_secs(1));
        swarm.handle(Input::Peer(B, Event::Has(part(2))), Time::from_secs(1));
        told(&mut swarm);
        swarm.handle(Input::Peer(B, Event::Offer), Time::from_secs(1));
        swarm.handle(Input::Peer(A, Event::Released { part: part(2), refused: false }), Time::from_secs(1));
        assert_eq!(told(&mut swarm), [(A, Command::Recall(part(2), MAX_RECALL)), (B, Command::Fetch(part(2)))]);
        swarm.handle(Input::Peer(A, Event::Offer), Time::from_secs(60));
        assert_eq!(told(&mut swarm), [(B, Command::Release(part(2)))], "after so long no answer is waited for");
    }

    #[test]
    fn what_has_begun_to_come_stays_where_it_is() {
        let mut swarm = swarm(&[], &[3]);
        swarm.handle(Input::Peer(A, Event::Received { part: part(3), bytes: 1000 }), Time::from_secs(1));
        told(&mut swarm);
        swarm.handle(Input::Peer(B, Event::Offer), Time::from_secs(1));
        assert_eq!(told(&mut swarm), []);
    }
}
