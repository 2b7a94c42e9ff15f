//! A newcomer that fetches from a fast seed and a slow member, in virtual time.

use super::tests::{A, B, of_parts};
use crate::{
    geometry::PartIndex,
    peer::{Command, Event, PeerKey},
    swarm::{Effect, Input, Swarm},
    time::Time,
};

const PARTS: u32 = 1000;

/// Bytes that a neighbour of [`Race`] sends.
struct Sender {
    asked: Vec<(PartIndex, u32)>,
    /// Parts that were recalled, and when each is given up unless it was sent by then.
    recalled: Vec<(PartIndex, Time)>,
    bytes_per_ms: u32,
    /// Milliseconds after which it sends nothing more.
    ends_after: u128,
    /// Bytes that it sends at once before that.
    burst: u32,
}

/// A newcomer between A, a seed that gives 128 KiB a millisecond and offers itself when it has nothing to do, and B, which
/// has a tenth. B answers no recall.
struct Race {
    swarm: Swarm,
    senders: [(PeerKey, Sender); 2],
}

impl Race {
    fn new(burst: u32, bytes_of_b_per_ms: u32, b_ends_after: u128) -> Self {
        let parts: Vec<_> = (0..PARTS).collect();
        let tenth: Vec<_> = (0..PARTS).step_by(10).collect();
        let swarm = of_parts(PARTS, 1 << 15, &parts, &tenth);
        let sender = |burst, bytes_per_ms, ends_after| {
            let (asked, recalled) = (Vec::new(), Vec::new());
            Sender { asked, recalled, bytes_per_ms, ends_after, burst }
        };
        let b = sender(burst, bytes_of_b_per_ms, b_ends_after);
        Self { swarm, senders: [(A, sender(0, 128 << 10, u128::MAX)), (B, b)] }
    }

    fn obey(&mut self, now: Time) {
        while let Some(effect) = self.swarm.next_effect() {
            let Effect::Tell(key, command) = effect else { continue };
            let Some((_, sender)) = self.senders.iter_mut().find(|(of, _)| *of == key) else { continue };
            match command {
                Command::Fetch(part) => sender.asked.push((part, 1 << 15)),
                Command::Recall(part, patience) => sender.recalled.push((part, now + patience)),
                Command::Release(part) => sender.recalled.push((part, now)),
                _ => {}
            }
        }
    }

    /// One millisecond.
    fn step(&mut self, now: Time) {
        let mut events = Vec::new();
        for (key, sender) in &mut self.senders {
            let sends = if now.as_millis() < sender.ends_after { sender.bytes_per_ms } else { 0 };
            let mut left = sends + std::mem::take(&mut sender.burst);
            while left > 0 && !sender.asked.is_empty() {
                let (part, missing) = sender.asked[0];
                let bytes = missing.min(left);
                left -= bytes;
                sender.asked[0].1 -= bytes;
                events.push((*key, Event::Received { part, bytes }));
                if bytes == missing {
                    sender.asked.remove(0);
                    sender.recalled.retain(|(recalled, _)| *recalled != part);
                    events.push((*key, Event::Right(part)));
                }
            }
            let due: Vec<_> = sender.recalled.extract_if(.., |(_, until)| *until <= now).collect();
            for (part, _) in due {
                sender.asked.retain(|(asked, _)| *asked != part);
                events.push((*key, Event::Released { part, refused: false }));
            }
            if *key == A && sender.asked.is_empty() && now.as_millis() % 100 == 50 {
                events.push((*key, Event::Offer));
            }
        }
        for (key, event) in events {
            let right = match &event {
                Event::Right(part) => Some(*part),
                _ => None,
            };
            self.swarm.handle(Input::Peer(key, event), now);
            if let Some(part) = right {
                self.swarm.handle(Input::Have(part), now);
            }
            self.obey(now);
        }
    }

    /// Milliseconds until everything is there.
    fn run(mut self) -> u64 {
        self.obey(Time::ZERO);
        for ms in 1..60_000 {
            let now = Time::from_millis(ms);
            self.step(now);
            if ms % 100 == 0 {
                self.swarm.tick(now);
                self.obey(now);
            }
            if self.swarm.is_complete() {
                return ms;
            }
        }
        panic!("never whole");
    }
}

/// A slow neighbour costs little, whatever it gives: A alone takes 250 ms.
#[test]
fn one_slow_member_does_not_hold_up_a_newcomer_beside_a_seed() {
    for burst in [0, 1 << 10, 1 << 13, 1 << 15, 1 << 17, 1 << 20] {
        for bytes_per_ms in [0, 1, 20, 100, 1_000, 10_000] {
            let took = Race::new(burst, bytes_per_ms, u128::MAX).run();
            assert!(took <= 280, "{burst} bytes at once, then {bytes_per_ms} a millisecond: {took} ms");
        }
    }
}

#[test]
fn nor_does_one_that_falls_silent() {
    for bytes_per_ms in [10_000, 40_000, 100_000] {
        for end in [5, 10, 20, 30] {
            let took = Race::new(0, bytes_per_ms, end).run();
            assert!(took <= 280, "{bytes_per_ms} bytes a millisecond for {end} ms, then none: {took} ms");
        }
    }
}
