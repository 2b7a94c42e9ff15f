//! What time brings: whom to dial, who stalls, who gets another chance.

use super::{
    Effect, Swarm,
    neighbour::{LONGEST_PAUSE, Neighbour, Stall},
};
use crate::{
    peer::{Command, PeerKey},
    time::Time,
};

/// Nobody is called stalling sooner.
const PATIENCE: Time = Time::from_secs(2);
/// Nor before any bytes came at all, while nothing is known of how fast this swarm is.
const FIRST_PATIENCE: Time = Time::from_secs(4);
/// What is kept of the pace from one tick to the next: in the last moments little comes, and a round is no longer then.
const PACE_KEPT: f64 = 0.995;
/// However slow everything is, nobody's turn is awaited longer.
const LONGEST_TURN: Time = Time::from_secs(120);

impl Swarm {
    /// How long a member like us takes to send a part to each of its neighbours; None: nothing moves yet.
    pub(super) fn round(&self) -> Option<Time> {
        let bytes = self.neighbours.len() as f64 * f64::from(self.geometry().part_size());
        (self.pace > 0.0).then(|| Time::from_secs_f64((bytes / self.pace).min(LONGEST_TURN.as_secs_f64())))
    }

    pub(super) fn on_tick(&mut self, now: Time) {
        self.pace = (self.pace * PACE_KEPT).max(self.down.get(now)).max(self.up.get(now));
        self.dial(now);
        self.tell_of_others(now);
        self.see_off_guests(now);
        self.end_pauses(now);
        self.find_stalls(now);
        self.forgive_refusals(now);
        self.look_again(now);
        self.serve(now);
        self.assign_idle(now);
        self.wake_one(now);
        self.tend_mirrors(now);
    }

    /// Opens connections while there are addresses and fewer connections than we would like, whoever opened them.
    pub(super) fn dial(&mut self, now: Time) {
        let wanted = self.config.max_dialled.min(self.config.max_peers);
        for address in self.known.due(wanted, self.neighbours.len(), now, &mut self.dice) {
            self.effects.push_back(Effect::Dial(address));
        }
    }

    fn end_pauses(&mut self, now: Time) {
        let over = self.neighbours.iter().filter(|(_, n)| n.stall.is_some_and(|s| s.until <= now));
        let over: Vec<_> = over.map(|(k, _)| *k).collect();
        for key in over {
            self.recount(key, |n| n.stall = None);
            self.assign(key, now);
        }
    }

    /// No byte for max(2 s, 3 x its longest gap of late), and twice the time in which a member that serves all its
    /// neighbours in turn comes round to us: a shorter time takes honest queueing for stalling.
    fn find_stalls(&mut self, now: Time) {
        let turn = self.round().map_or(FIRST_PATIENCE, |round| (round * 2).min(LONGEST_TURN));
        let stalled = self.neighbours.iter().filter(|(_, n)| {
            let patience = PATIENCE.max(n.longest_gap * 3).max(turn);
            n.stall.is_none() && n.outstanding() > 0 && now > n.last_bytes + patience
        });
        let stalled: Vec<_> = stalled.map(|(k, _)| *k).collect();
        stalled.into_iter().for_each(|key| self.stall(key, now));
    }

    /// What a member refused a while ago it may give now.
    fn forgive_refusals(&mut self, now: Time) {
        let keys: Vec<_> = self.neighbours.iter().filter(|(_, n)| !n.refused.is_empty()).map(|(k, _)| *k).collect();
        for key in keys {
            let due = |n: &mut Neighbour| n.refused.pop_front_if(|(at, _)| *at <= now);
            while let Some((_, part)) = self.neighbours.get_mut(&key).and_then(due) {
                self.on_has(key, part, now);
            }
        }
    }

    /// While nobody gives anything, who stalled is worth another try: the one whose pause ends first.
    fn wake_one(&mut self, now: Time) {
        let busy = self.neighbours.values().any(|n| !n.fetches.is_empty()) || self.mirrors.are_busy();
        if busy || !self.checked || self.picker.is_satisfied() {
            return;
        }
        let mut resting: Vec<_> = (self.neighbours.iter())
            .filter(|(_, n)| !n.choked)
            .filter_map(|(key, n)| Some((n.stall?.until, *key)))
            .collect();
        resting.sort_unstable();
        for (_, key) in resting {
            self.recount(key, |n| n.stall = None);
            self.assign(key, now);
            if self.neighbours.get(&key).is_some_and(|n| !n.fetches.is_empty()) {
                return;
            }
        }
    }

    /// Nothing more is asked of it for a while, and what it was asked for is taken back.
    pub(super) fn stall(&mut self, key: PeerKey, now: Time) {
        let mut parts = Vec::new();
        self.recount(key, |n| {
            n.stall = Some(Stall { until: now + n.pause });
            n.pause = (n.pause * 2).min(LONGEST_PAUSE);
            n.is_quits();
            parts = n.fetches.iter().map(|f| f.part).collect();
        });
        parts.into_iter().for_each(|part| self.tell(key, Command::Release(part)));
    }
}
