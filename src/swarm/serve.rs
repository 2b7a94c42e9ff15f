//! Who is served, and what a first seed shows.

use super::{
    Swarm,
    reveal::{Reveal, TAKE_TIME},
};
use crate::{
    choker::{self, Neighbours, Waiting},
    geometry::PartIndex,
    peer::{Command, PeerKey, session::Show},
    time::Time,
};

/// A leave is for one part, or for what goes out in this time where that is more, or for this many bytes.
const LEAVE_TIME: f64 = 0.005;
const LEAST_LEAVE: u32 = 64 << 10;
/// A first seed shows a connection so many parts ahead of what is sent, or so many bytes, or what it takes in so long.
const SHOWN_PARTS: usize = 2;
const SHOWN_BYTES: f64 = 512.0 * 1024.0;
const SHOWN_TIME: f64 = 0.25;
/// Who was given a part has it spread after so many times what it takes to send a part to each of its neighbours.
const SPREAD_ROUNDS: u32 = 3;
/// Who was shown parts has taken one after so many such times, unless it does not want them.
const TAKE_ROUNDS: u32 = 12;

impl Swarm {
    /// Gives leave to who is next, while few enough have it.
    pub(super) fn serve(&mut self, now: Time) {
        let bytes = ((self.up.get(now) * LEAVE_TIME) as u32).max(self.geometry().part_size()).max(LEAST_LEAVE);
        let at_once = choker::at_once(self.gives_away(now).is_some(), bytes);
        while self.neighbours.values().filter(|n| n.serving && !n.clogged).count() < at_once {
            let waiting = self.neighbours.iter().filter(|(_, n)| n.asks && !n.serving);
            let waiting =
                waiting.map(|(k, n)| Waiting { key: *k, parts: n.has.count(), served: n.served, last: n.overdrawn });
            let Some(key) = choker::next(waiting, self.around()) else {
                break;
            };
            self.edit(key, |n| {
                n.asks = false;
                n.serving = true;
                n.served = Some(now);
            });
            self.tell(key, Command::Serve { bytes });
        }
        self.offer(now);
    }

    fn around(&self) -> Neighbours {
        let incomplete = || self.neighbours.values().filter(|n| !n.is_complete());
        let parts: u64 = incomplete().map(|n| u64::from(n.has.count())).sum();
        Neighbours {
            mean_parts: parts as f64 / (incomplete().count().max(1)) as f64,
            parts: self.geometry().parts(),
            seeding: self.is_complete(),
        }
    }

    /// We are the first seed, and have not given everything yet.
    fn gives_away(&self, now: Time) -> Option<&Reveal> {
        self.reveal.as_ref().filter(|reveal| !reveal.is_over(now))
    }

    /// Whether parts are revealed one by one: we are the first seed, and there are members to spread them.
    fn is_revealing(&self, incomplete: usize, now: Time) -> bool {
        let Some(reveal) = self.gives_away(now) else {
            return false;
        };
        let another_seed = reveal.is_helped() && self.neighbours.values().any(|n| n.is_complete());
        incomplete > 1 && !another_seed
    }

    /// Neighbours that fetch and spread: not those that have it all, let lie what they are shown, or spread nothing.
    fn incomplete(&self) -> usize {
        let idle = |key: &PeerKey| self.reveal.as_ref().is_some_and(|r| r.is_idle(*key));
        self.neighbours.iter().filter(|(key, n)| !n.is_complete() && !n.overdrawn && !idle(key)).count()
    }

    /// What a new neighbour is told that we have.
    pub(super) fn first_show(&self, now: Time) -> Show {
        if self.is_revealing(self.incomplete() + 1, now) {
            return Show::Nothing;
        }
        match self.is_complete() {
            true => Show::Everything,
            false => Show::These(self.have.clone()),
        }
    }

    /// A neighbour has a part now.
    pub(super) fn seen(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        if let Some(reveal) = &mut self.reveal {
            reveal.seen(key, part, self.picker.holders(part), now);
            self.reveal_to(key, now);
        }
    }

    /// Shows more to everybody, or everything when there is no reason any more to hold back.
    pub(super) fn update_reveal(&mut self, now: Time) {
        if self.reveal.is_none() {
            return;
        }
        let blind: Vec<_> = self.neighbours.iter().filter(|(_, n)| !n.sees_all).map(|(k, _)| *k).collect();
        let revealing = self.is_revealing(self.incomplete(), now);
        for key in blind {
            if revealing {
                self.reveal_to(key, now);
            } else {
                self.edit(key, |n| n.sees_all = true);
                self.tell(key, Command::ShowAll);
            }
        }
    }

    /// Shows it the next parts. Where there are too few left to keep it busy, and the uplink would idle, it is shown
    /// everything: what other members have, or were shown, it need not wait for, however slow they are.
    fn reveal_to(&mut self, key: PeerKey, now: Time) {
        let part_size = f64::from(self.geometry().part_size());
        let Some(n) = self.neighbours.get(&key).filter(|n| !n.sees_all && !n.guest && !n.is_complete()) else {
            return;
        };
        let bytes = (n.up.get(now) * SHOWN_TIME).max(SHOWN_BYTES);
        let ahead = ((bytes / part_size) as usize).max(SHOWN_PARTS);
        let mut shown = Vec::new();
        let mut is_short = false;
        if let Some(reveal) = &mut self.reveal {
            let holders = |part| self.picker.holders(part);
            while let Some(part) = reveal.next(key, ahead, now, |p| n.has.has(p), holders) {
                shown.push(part);
            }
            is_short = reveal.has_too_few_for(key, ahead);
        }
        if !shown.is_empty() {
            self.tell(key, Command::Have(shown.into()));
        }
        if is_short && !self.serves_another(key) {
            self.edit(key, |n| n.sees_all = true);
            self.tell(key, Command::ShowAll);
        }
    }

    /// Whether the uplink has something else to do than to serve this neighbour. A connection that takes no more bytes for
    /// now gives it nothing to do.
    fn serves_another(&self, key: PeerKey) -> bool {
        self.neighbours.iter().any(|(other, n)| *other != key && !n.clogged && (n.asks || n.serving))
    }

    pub(super) fn look_again(&mut self, now: Time) {
        self.doubt_the_overdrawn(now);
        let round = self.round().unwrap_or(Time::ZERO);
        if let Some(reveal) = &mut self.reveal {
            reveal.take_back(now, (round * TAKE_ROUNDS).clamp(TAKE_TIME.0, TAKE_TIME.1));
            reveal.look_again(now, round * SPREAD_ROUNDS, |part| self.picker.holders(part));
            self.update_reveal(now);
        }
    }

    /// What those have who spread too little does not count as spread, until all was given.
    fn doubt_the_overdrawn(&mut self, now: Time) {
        let Some(reveal) = &mut self.reveal else {
            return;
        };
        let overdrawn = reveal.review(now);
        let changed = self.neighbours.iter().filter(|(key, n)| n.overdrawn != overdrawn.contains(key));
        let changed: Vec<_> = changed.map(|(key, _)| *key).collect();
        for key in &changed {
            self.recount(*key, |n| n.overdrawn = !n.overdrawn);
        }
        if let (Some(reveal), false) = (&mut self.reveal, changed.is_empty()) {
            reveal.look_at_all(|part| self.picker.holders(part));
        }
    }
}
