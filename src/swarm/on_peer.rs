//! What follows from what a neighbour says.

use super::{
    Swarm,
    known_peers::{at_port, plain},
    neighbour::{FIRST_PAUSE, Neighbour},
};
use crate::{
    geometry::PartIndex,
    peer::{Closed, Command, Event, Hello, Introduction, PeerKey, liveness::Silence},
    picker::PartState,
    time::Time,
    wire::bitfield::Bitfield,
};

/// A member that refuses this often what it says it has is left alone for a while.
const MAX_REFUSALS: u32 = 16;
/// What it refused it is not asked for again sooner. It may have had its reasons, and be the only one that has it.
const REFUSED_TIME: Time = Time::from_secs(10);

/// A member may send so many bytes more of what was taken back from it than of what was not; then it is left alone for a
/// while. More than a link holds that is slow to learn of it.
const MAX_LATE: u64 = 2 << 20;

impl Swarm {
    pub(super) fn on_peer(&mut self, key: PeerKey, event: Event, now: Time) {
        if !self.neighbours.contains_key(&key) {
            return;
        }
        match event {
            Event::Hello(hello) => self.on_hello(key, hello, now),
            Event::Exchange(exchange) => self.on_exchange(key, &exchange, now),
            Event::HasAll => self.on_has_these(key, &Bitfield::all(&self.geometry()), now),
            Event::HasNone => self.on_has_these(key, &Bitfield::none(&self.geometry()), now),
            Event::HasThese(bits) => self.on_has_these(key, &bits, now),
            Event::Has(part) => self.on_has(key, part, now),
            Event::Choked(choked) => self.on_choked(key, choked, now),
            Event::Interested(interested) => self.edit(key, |n| n.interested = interested),
            Event::Received { part, bytes } => self.on_received(key, part, bytes, now),
            Event::Late(bytes) => self.on_late(key, bytes, now),
            Event::Right(part) => self.on_right(key, part, now),
            Event::Wrong { part, alone } => self.on_wrong(key, part, alone, now),
            Event::Released { part, refused } => self.on_released(key, part, refused, now),
            Event::Asks => {
                self.edit(key, |n| n.asks = true);
                self.serve(now);
            }
            Event::Served => {
                self.edit(key, |n| n.serving = false);
                self.serve(now);
            }
            Event::Uploaded(bytes) => {
                self.uploaded += u64::from(bytes);
                self.up.add(bytes, now);
                self.edit(key, |n| n.up.add(bytes, now));
            }
            Event::Clogged(clogged) => {
                self.edit(key, |n| n.clogged = clogged);
                self.serve(now);
            }
            Event::Silent(silence) => self.on_silence(key, silence, now),
            Event::Offer => self.on_offer(key, now),
            // For whoever runs our own node.
            Event::Node(_) => {}
            Event::Wants(part) => {
                if let Some(reveal) = &mut self.reveal {
                    reveal.wanted(key, part, now);
                }
            }
            Event::Sent(part) => {
                if let Some(reveal) = &mut self.reveal {
                    reveal.sent(key, part, self.picker.holders(part), now);
                }
                self.update_reveal(now);
            }
            Event::Closed(why) => self.on_closed(key, &why, now),
        }
    }

    pub(super) fn edit(&mut self, key: PeerKey, change: impl FnOnce(&mut Neighbour)) {
        if let Some(neighbour) = self.neighbours.get_mut(&key) {
            change(neighbour);
        }
    }

    /// What was asked of a peer that should have said something is asked of others.
    fn on_silence(&mut self, key: PeerKey, silence: Silence, now: Time) {
        self.edit(key, |n| n.silence = silence);
        match silence {
            Silence::Overdue => self.stall(key, now),
            Silence::Over => self.assign(key, now),
            Silence::Idle | Silence::Owing => {}
        }
    }

    fn on_hello(&mut self, key: PeerKey, hello: Hello, now: Time) {
        let Some(neighbour) = self.neighbours.get_mut(&key) else {
            return;
        };
        self.roster += 1;
        let at = neighbour.introduction.address;
        let known = neighbour.hello.get_or_insert_with(|| Hello { port: None, ..hello.clone() });
        known.exchange = hello.exchange;
        // A later one says only what changed. Nobody moves to another port: one who says so again and again would fill
        // the list of those who are known.
        if let (None, Some(port)) = (known.port, hello.port) {
            known.port = Some(port);
            if !neighbour.introduction.dialled {
                self.known.connected(at_port(at, port), key, now);
            }
        }
        self.count_whole(key);
    }

    /// Its parts enter the rarity counts, or leave them, as `counts` says that they should.
    pub(super) fn recount(&mut self, key: PeerKey, change: impl FnOnce(&mut Neighbour)) {
        let none = Bitfield::none(&self.geometry());
        let Some(n) = self.neighbours.get_mut(&key) else {
            return;
        };
        let before = if n.counts() { n.has.clone() } else { none.clone() };
        change(n);
        let after = if n.counts() { &n.has } else { &none };
        self.picker.lost_all(&before.without(after));
        self.picker.gained_all(&after.without(&before));
    }

    /// It says what it has, for the first time or again. Nobody loses parts: one that says less than before keeps what it
    /// said, and each part costs work once for each neighbour, however often it is said.
    fn on_has_these(&mut self, key: PeerKey, bits: &Bitfield, now: Time) {
        let Some(n) = self.neighbours.get_mut(&key) else {
            return;
        };
        let new = bits.without(&n.has);
        let counted = n.counts();
        n.has.add_all(&new);
        match (counted, n.counts()) {
            (true, true) => self.picker.gained_all(&new),
            // It became complete: its earlier parts were counted.
            (true, false) => self.picker.lost_all(&n.has.without(&new)),
            (false, _) => {}
        }
        self.after_has(key, now);
        self.update_interest_in(key, &new);
        self.assign(key, now);
    }

    pub(super) fn on_has(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        let Some(n) = self.neighbours.get_mut(&key) else {
            return;
        };
        let was_complete = n.is_complete();
        if was_complete || !n.has.insert(part) {
            return;
        }
        if n.is_complete() {
            // All but the new one were counted.
            n.has.remove(part);
            self.recount(key, |n| {
                n.has.insert(part);
            });
            self.after_has(key, now);
        } else if n.counts() {
            self.picker.gained(part);
        }
        self.seen(key, part, now);
        match self.picker.state(part) {
            PartState::Present | PartState::Unwanted => {}
            PartState::Missing => {
                self.be_interested(key);
                self.assign(key, now);
            }
            PartState::Fetching(_) | PartState::Moving(..) | PartState::Writing => self.be_interested(key),
        }
    }

    /// Counts the machine of a member that has everything, once the member has said who it is.
    pub(super) fn count_whole(&mut self, key: PeerKey) {
        let said_who = |n: &&Neighbour| n.hello.is_some() || !n.introduction.extended;
        if let Some(n) = self.neighbours.get(&key).filter(|n| n.is_complete()).filter(said_who) {
            self.copies.see(n.sighting());
        }
    }

    fn after_has(&mut self, key: PeerKey, now: Time) {
        self.count_whole(key);
        self.part_if_both_complete(key);
        self.update_reveal(now);
    }

    /// Stock clients end a conversation in which there is nothing to gain; our own stay, to hear who has it all.
    pub(super) fn part_if_both_complete(&mut self, key: PeerKey) {
        let useless = self.neighbours.get(&key).is_some_and(|n| n.is_complete() && n.hello.is_some() && !n.is_ours());
        if useless && self.is_complete() {
            self.tell(key, Command::Close("both have everything"));
        }
    }

    pub(super) fn update_interest(&mut self, key: PeerKey) {
        if let Some(n) = self.neighbours.get(&key).filter(|n| !n.told_interest) {
            let has = n.has.clone();
            self.update_interest_in(key, &has);
        }
    }

    /// The same where only these of its parts may be of interest.
    fn update_interest_in(&mut self, key: PeerKey, parts: &Bitfield) {
        let told = self.neighbours.get(&key).is_none_or(|n| n.told_interest);
        if told || !self.checked || self.picker.is_satisfied() {
            return;
        }
        let idle = |part| matches!(self.picker.state(part), PartState::Present | PartState::Unwanted);
        if parts.ones(&self.geometry()).any(|part| !idle(part)) {
            self.be_interested(key);
        }
    }

    /// It has something that is wanted.
    fn be_interested(&mut self, key: PeerKey) {
        if !self.checked || self.picker.is_satisfied() {
            return;
        }
        if let Some(n) = self.neighbours.get_mut(&key).filter(|n| !n.told_interest) {
            n.told_interest = true;
            self.tell(key, Command::Interest(true));
        }
    }

    fn on_choked(&mut self, key: PeerKey, choked: bool, now: Time) {
        self.edit(key, |n| n.choked = choked);
        if !choked {
            self.assign(key, now);
        }
    }

    fn on_received(&mut self, key: PeerKey, part: PartIndex, bytes: u32, now: Time) {
        self.fetched += u64::from(bytes);
        self.down.add(bytes, now);
        let Some(n) = self.neighbours.get_mut(&key) else {
            return;
        };
        n.received(part, bytes, now);
        if n.stall.is_some() {
            self.recount(key, |n| n.stall = None);
        }
        self.assign(key, now);
    }

    /// What was asked for and taken back came all the same: it counts for nothing, or whoever answers late, on purpose or
    /// not, would look as if it gave what it is asked for now.
    fn on_late(&mut self, key: PeerKey, bytes: u32, now: Time) {
        self.fetched += u64::from(bytes);
        self.edit(key, |n| n.late += u64::from(bytes));
        let wastes = self.neighbours.get(&key).is_some_and(|n| n.stall.is_none() && n.late > n.useful + MAX_LATE);
        if wastes {
            self.edit(key, |n| n.late = n.useful);
            self.stall(key, now);
        }
    }

    fn on_right(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        self.edit(key, |n| {
            n.forget(part);
            n.refusals = 0;
            n.pause = FIRST_PAUSE;
        });
        let state = self.picker.state(part);
        self.suspect.remove(&part);
        if state != PartState::Present {
            self.picker.set(part, PartState::Writing);
        }
        self.assign(key, now);
        if let PartState::Moving(_, thief) = state {
            self.assign(thief, now);
        }
    }

    fn on_wrong(&mut self, key: PeerKey, part: PartIndex, alone: bool, now: Time) {
        self.wrong_parts += 1;
        self.edit(key, |n| {
            n.forget(part);
        });
        if self.picker.state(part).is_asked_of(key) {
            self.picker.set(part, PartState::Missing);
        }
        if alone {
            if let Some(n) = self.neighbours.get(&key) {
                let (ip, id) = (n.introduction.address.ip().to_canonical(), n.introduction.id);
                self.known.ban(ip, id, now);
            }
            self.close(key, "it sent a wrong part", now);
        } else {
            self.suspect.insert(part);
        }
        self.assign_idle(now);
    }

    fn on_released(&mut self, key: PeerKey, part: PartIndex, refused: bool, now: Time) {
        self.edit(key, |n| {
            n.forget(part);
        });
        if refused {
            self.recount(key, |n| {
                if n.has.remove(part) {
                    n.gains_nothing = false;
                    n.refused.push_back((now + REFUSED_TIME, part));
                }
            });
            let refusals = self.neighbours.get_mut(&key).map_or(0, |n| {
                n.refusals += 1;
                n.refusals
            });
            if refusals >= MAX_REFUSALS {
                self.stall(key, now);
            }
        }
        self.freed(key, part, now);
    }

    /// `key` does not fetch this part any more: it goes to who was to take it over, or is missing again.
    pub(super) fn freed(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        match self.picker.state(part) {
            PartState::Fetching(by) if by == key => {
                self.picker.set(part, PartState::Missing);
                self.picker.is_begun(part);
            }
            PartState::Moving(from, thief) if from == key => {
                self.picker.set(part, PartState::Missing);
                let takes = self.neighbours.get(&thief).is_some_and(|n| n.may_be_asked() && n.has.has(part));
                if takes {
                    self.fetch(thief, part, now);
                } else {
                    self.picker.is_begun(part);
                }
            }
            _ => {}
        }
        self.assign_idle(now);
    }

    /// Ends a conversation: for us it is over now, whatever else it says.
    pub(super) fn close(&mut self, key: PeerKey, why: &'static str, now: Time) {
        self.tell(key, Command::Close(why));
        self.on_closed(key, &Closed::ByUs(why), now);
    }

    /// A peer that closes a second connection is met at its first one: its second address leads there.
    fn leave_second_address(&mut self, gone: &Introduction, now: Time) {
        let first = self.neighbours.iter().find(|(_, n)| n.introduction.id == gone.id).map(|(key, _)| *key);
        if let Some(first) = first.filter(|_| gone.dialled) {
            self.known.connected(gone.address, first, now);
        }
    }

    fn on_closed(&mut self, key: PeerKey, why: &Closed, now: Time) {
        if let Some(n) = self.neighbours.get(&key).filter(|n| n.is_complete()) {
            // It may never have said who it is.
            self.copies.see(n.sighting());
        }
        let nothing = Bitfield::none(&self.geometry());
        self.recount(key, |n| n.has = nothing);
        let Some(gone) = self.neighbours.remove(&key) else {
            return;
        };
        self.roster += 1;
        let seen = gone.introduction.dialled.then_some(gone.introduction.address);
        match why {
            Closed::ByUs(_) | Closed::Fault(_) => self.known.expelled(key, seen, now),
            Closed::ByThem | Closed::Broken(_) => self.known.closed(key, Time::from_secs(1), now),
        }
        if gone.introduction.dialled {
            self.known.add(plain(gone.introduction.address), now);
        }
        if *why == Closed::ByThem {
            self.leave_second_address(&gone.introduction, now);
        }
        if let Some(reveal) = &mut self.reveal {
            reveal.left(key, gone.introduction.id, |part| self.picker.holders(part));
        }
        for fetch in gone.fetches {
            self.freed(key, fetch.part, now);
        }
        self.update_reveal(now);
        self.serve(now);
        self.dial(now);
    }
}
