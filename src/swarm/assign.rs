//! Which part is asked of whom, and what is taken from a slow one.

use super::{Swarm, neighbour::Fetch};
use crate::{
    geometry::PartIndex,
    peer::{Command, PeerKey},
    picker::{Among, PartState},
    time::Time,
};

/// Outstanding with one member: what it sends in this time, and at least one part or [`LEAST_OUTSTANDING`].
const AHEAD: f64 = 0.25;
/// With a complete member, while others are there to get it from: what it gives to us alone should be little.
const AHEAD_OF_SEED: f64 = 0.05;
/// With a client that is not ours: it may answer at its own pace, Transmission twice a second. With less outstanding than it
/// sends between two of its answers, it looks slow, and would be asked for ever less.
const AHEAD_OF_STRANGER: f64 = 2.0;
const LEAST_OUTSTANDING: u64 = 32 << 10;
/// More is never asked of one member at a time.
const MOST_OUTSTANDING: u64 = 64 << 20;
/// Nor more parts, however small: each is a command in a queue that has to take others too.
const MOST_PARTS: usize = 512;
/// With less than this outstanding in all, a complete member may be asked for anything.
const HUNGRY: u64 = 64 << 10;
/// A pending part is taken from who would need this many times as long as the one who could have it instead.
const STEAL: f64 = 2.0;
const STEAL_MARGIN: f64 = 0.010;
/// A part that has not begun to come after this many times what it should take is not counted on.
const OVERDUE: f64 = 4.0;

/// Seconds until a part comes that should take `due`, after having `waited` for the first byte of it. One who is served
/// in turn gets it soon after a long wait, so the longest wait is the worst reason to steal; well beyond that
/// something is wrong.
fn time_to_come(due: f64, waited: f64) -> f64 {
    if waited > OVERDUE * due { waited } else { (due - waited).max(0.0) }
}

impl Swarm {
    /// Asks this neighbour for parts until enough is outstanding with it.
    pub(super) fn assign(&mut self, key: PeerKey, now: Time) {
        if !self.checked || self.picker.is_satisfied() {
            return;
        }
        loop {
            let Some(n) = self.neighbours.get(&key).filter(|n| n.may_be_asked()) else {
                return;
            };
            let ahead = match n.is_complete() && self.neighbours.values().any(|n| n.counts()) {
                _ if !n.is_ours() => AHEAD_OF_STRANGER,
                true => AHEAD_OF_SEED,
                false => AHEAD,
            };
            let by_rate = (n.rate.get() * ahead) as u64;
            let part_size = u64::from(self.config.geometry.part_size());
            let target = by_rate.min(MOST_OUTSTANDING).max(part_size).max(LEAST_OUTSTANDING);
            if n.outstanding() >= target || n.fetches.len() >= MOST_PARTS {
                return;
            }
            match self.pick_for(key) {
                Some(part) => self.fetch(key, part, now),
                None => break,
            }
        }
        self.steal(key, now);
    }

    /// Neighbours that nothing is asked of get another chance: a part has become free.
    pub(super) fn assign_idle(&mut self, now: Time) {
        let idle: Vec<_> = self.neighbours.iter().filter(|(_, n)| n.fetches.is_empty()).map(|(k, _)| *k).collect();
        idle.into_iter().for_each(|key| self.assign(key, now));
    }

    fn pick_for(&mut self, key: PeerKey) -> Option<PartIndex> {
        let spread = self.neighbours.values().any(|n| n.counts());
        let outstanding = || self.neighbours.values().map(|n| n.outstanding()).sum::<u64>();
        let n = self.neighbours.get(&key)?;
        let among = if n.is_complete() && spread && outstanding() >= HUNGRY { Among::OnlyThere } else { Among::All };
        self.picker.pick(&n.has, among, !spread)
    }

    pub(super) fn fetch(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        let left = self.geometry().part_len(part);
        let Some(n) = self.neighbours.get_mut(&key) else {
            return;
        };
        if n.outstanding() == 0 {
            // Who has lost a part for giving none of it still owes: or its stall would never be seen.
            if !n.lost_one {
                n.last_bytes = now;
            }
            n.rate.start(now);
        }
        let offered = std::mem::take(&mut n.offers);
        n.fetches.push(Fetch { part, left, began: None, offered });
        self.picker.set(part, PartState::Fetching(key));
        self.tell(key, Command::Fetch(part));
    }

    /// In place of an end game: an empty connection takes over the pending part that would be ready last.
    pub(super) fn steal(&mut self, thief: PeerKey, now: Time) {
        let Some(own) = self.neighbours.get(&thief).filter(|n| n.may_be_asked() && n.fetches.is_empty() && !n.lost_one)
        else {
            return;
        };
        let mean = self.mean_rate();
        let own_rate = if own.rate.get() > 0.0 { own.rate.get() } else { mean };
        if own_rate == 0.0 || self.is_moving_to(thief) {
            return;
        }
        let mut worst: Option<(f64, PeerKey, Fetch)> = None;
        for (key, n) in self.neighbours.iter().filter(|(k, _)| **k != thief) {
            let rate = if n.rate.get() > 0.0 { n.rate.get() } else { mean };
            let mut ahead = 0.0;
            for fetch in &n.fetches {
                ahead += f64::from(fetch.left);
                let waited = now.saturating_sub(n.last_bytes).as_secs_f64();
                let time = match fetch.began {
                    Some(began) => self.time_left(fetch, now.saturating_sub(began).as_secs_f64()),
                    None => time_to_come(ahead / rate, waited),
                };
                let taken = fetch.left > 0
                    && own.has.has(fetch.part)
                    && self.picker.state(fetch.part) == PartState::Fetching(*key)
                    && !self.suspect.contains(&fetch.part);
                if taken && worst.is_none_or(|(t, ..)| time > t) {
                    worst = Some((time, *key, *fetch));
                }
            }
        }
        let Some((time, victim, fetch)) = worst else {
            return;
        };
        if time > STEAL * (f64::from(fetch.left) / own_rate + STEAL_MARGIN) {
            self.picker.set(fetch.part, PartState::Moving(victim, thief));
            self.edit(victim, |n| n.lost_one |= fetch.began.is_none());
            self.tell(victim, Command::Recall(fetch.part));
        }
    }

    /// Seconds until a part is whole of which some came in the last `seconds`.
    fn time_left(&self, fetch: &Fetch, seconds: f64) -> f64 {
        let came = self.geometry().part_len(fetch.part) - fetch.left;
        seconds * f64::from(fetch.left) / f64::from(came.max(1))
    }

    pub(super) fn is_moving_to(&self, thief: PeerKey) -> bool {
        let moving = |f: &Fetch| matches!(self.picker.state(f.part), PartState::Moving(_, to) if to == thief);
        self.neighbours.values().any(|n| n.fetches.iter().any(moving))
    }

    pub(super) fn mean_rate(&self) -> f64 {
        let rates = || self.neighbours.values().map(|n| n.rate.get()).filter(|r| *r > 0.0);
        let count = rates().count();
        if count == 0 { 0.0 } else { rates().sum::<f64>() / count as f64 }
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use crate::{
        geometry::Geometry,
        peer::{Command, Event, Hello, Introduction, PeerKey},
        swarm::{Config, Effect, Input, Swarm},
        time::Time,
        wire::{bitfield::Bitfield, handshake::PeerId},
    };

    const KEY: PeerKey = PeerKey(1);

    /// A swarm with one neighbour, a complete one that is not ours and serves us.
    fn beside_a_stranger() -> Swarm {
        let geometry = Geometry::new(64 << 20, 16 << 10).unwrap();
        let have = Bitfield::none(&geometry);
        let id = PeerId([9; 20]);
        let mut swarm =
            Swarm::new(Config { geometry, id, copy: None, have, checked: true, max_peers: 9, max_dialled: 9, seed: 1 });
        let address = SocketAddr::from(([10, 0, 0, 1], 51413));
        let introduction = Introduction { id: PeerId([1; 20]), address, dialled: true, fast: true, extended: true };
        swarm.handle(Input::Introduced(KEY, introduction), Time::ZERO);
        for event in [Event::Hello(Hello::default()), Event::HasAll, Event::Choked(false)] {
            swarm.handle(Input::Peer(KEY, event), Time::ZERO);
        }
        swarm
    }

    #[test]
    fn who_answers_twice_a_second_is_asked_for_more_each_time() {
        let mut swarm = beside_a_stranger();
        let mut answered = 0;
        for pulse in 1..=6 {
            let now = Time::from_millis(500) * pulse;
            let asked = std::iter::from_fn(|| swarm.next_effect()).filter_map(|effect| match effect {
                Effect::Tell(KEY, Command::Fetch(part)) => Some(part),
                _ => None,
            });
            let asked: Vec<_> = asked.collect();
            answered = asked.len();
            for part in asked {
                swarm.handle(Input::Peer(KEY, Event::Received(16 << 10)), now);
                swarm.handle(Input::Peer(KEY, Event::Right(part)), now);
            }
        }
        assert!(answered > 200, "in the third second it is asked for {answered} parts a pulse");
    }
}
