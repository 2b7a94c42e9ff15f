//! When to announce on the local network, and whom to believe: what was heard and the time in, packets to send out.
//!
//! A composition is announced when it is first shared, twice more within seconds (packets get lost), and then every
//! minute or so. Who hears a newcomer dials it, so that the first packet is enough for both to meet; it is answered too,
//! for a newcomer whom nobody can dial. Of many that could answer only a few do: each waits for a random moment, and is
//! silent if enough others were heard by then.
//!
//! What it costs an attacker: one who floods the network with announces makes us send one packet a second and
//! composition, of [`Pace`]'s at most, and remember [`MOST_HEARD`] addresses, [`MOST_PORTS`] of them at one address. That
//! anything listens there is for the dialler to find out.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use super::packet::Announce;
use crate::{metainfo::InfoHash, time::Time};

/// When the second and third packet follow the one before.
const AGAIN: [Time; 2] = [Time::from_millis(700), Time::from_secs(2)];
/// From then on; the standard allows one a minute and network.
const EVERY: Time = Time::from_secs(60);
/// Each waits up to this much longer, so that they do not all speak at once.
const JITTER: Time = Time::from_secs(15);
/// A newcomer is answered within this time.
const ANSWER: Time = Time::from_millis(500);
/// Nothing is announced sooner after it was.
const PAUSE: Time = Time::from_secs(1);
/// So many others heard meanwhile are answer enough.
const ENOUGH: u32 = 5;
/// An address that was not heard for so long is a newcomer again.
const FORGET: Time = Time::from_secs(600);
/// Addresses remembered, all compositions together, and ports at one address for one composition.
const MOST_HEARD: usize = 2000;
const MOST_PORTS: usize = 32;

/// So many at once, and then one each so often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    gap: Time,
    burst: u32,
    /// When all that was let through would have been, one a gap.
    spent: Time,
}

impl Pace {
    pub const fn new(gap: Time, burst: u32) -> Self {
        Self { gap, burst, spent: Time::ZERO }
    }

    /// When the next one may be.
    pub fn ready(&self) -> Time {
        (self.spent + self.gap).saturating_sub(self.gap * self.burst)
    }

    /// One more, if it may be.
    pub fn takes(&mut self, now: Time) -> bool {
        let may = now >= self.ready();
        if may {
            self.spent = self.spent.max(now) + self.gap;
        }
        may
    }
}

/// A composition that is announced.
#[derive(Debug)]
struct Shared {
    /// When it is announced next.
    next: Time,
    /// Packets sent, up to those of the beginning.
    sent: usize,
    last: Option<Time>,
    /// Others that were heard since `next` became the answer to a newcomer.
    heard: u32,
    /// `next` is an answer; without it that would be then.
    regular: Option<Time>,
}

/// Who announced what from where; one that starts anew has another cookie.
#[derive(Debug)]
struct Heard {
    cookie: Option<String>,
    last: Time,
}

#[derive(Debug)]
pub struct Manners {
    shared: BTreeMap<InfoHash, Shared>,
    heard: BTreeMap<(InfoHash, IpAddr, u16), Heard>,
    sending: Pace,
    cookie: String,
    dice: fastrand::Rng,
}

impl Manners {
    /// `cookie`: what our own packets say, as text.
    pub fn new(cookie: String, dice: fastrand::Rng) -> Self {
        let sending = Pace::new(Time::from_millis(50), 20);
        Self { shared: BTreeMap::new(), heard: BTreeMap::new(), sending, cookie, dice }
    }

    /// Announces this composition from now on.
    pub fn share(&mut self, hash: InfoHash, now: Time) {
        self.shared.entry(hash).or_insert(Shared { next: now, sent: 0, last: None, heard: 0, regular: None });
    }

    /// Is silent about it from now on.
    pub fn forget(&mut self, hash: InfoHash) {
        self.shared.remove(&hash);
        self.heard.retain(|(of, ..), _| *of != hash);
    }

    /// There are networks that know nothing of us yet.
    pub fn networks_changed(&mut self, now: Time) {
        for shared in self.shared.values_mut() {
            *shared = Shared { next: now, sent: 0, heard: 0, regular: None, last: shared.last };
        }
    }

    /// What was announced from `ip`: which of our compositions are at which address there. Our own packets say nothing.
    pub fn hear(&mut self, announce: &Announce, from: SocketAddr, now: Time) -> Vec<(InfoHash, SocketAddr)> {
        if announce.cookie.as_ref() == Some(&self.cookie) {
            return Vec::new();
        }
        let mut address = from;
        address.set_port(announce.port);
        let ours = announce.info_hashes.iter().filter(|hash| self.shared.contains_key(hash)).copied();
        let ours: Vec<_> = ours.collect();
        ours.into_iter().filter(|hash| self.note(*hash, address, announce, now)).map(|hash| (hash, address)).collect()
    }

    /// Notes that somebody shares this too, and answers a newcomer. False: there are too many to note.
    fn note(&mut self, hash: InfoHash, address: SocketAddr, announce: &Announce, now: Time) -> bool {
        let Some(shared) = self.shared.get_mut(&hash) else { return false };
        shared.heard = shared.heard.saturating_add(1);
        let place = (hash, address.ip(), address.port());
        let known = self.heard.get(&place).is_some_and(|h| h.cookie == announce.cookie && now < h.last + FORGET);
        if !known {
            let here = self.heard.range((hash, address.ip(), 0)..=(hash, address.ip(), u16::MAX)).count();
            if self.heard.len() >= MOST_HEARD {
                self.heard.retain(|_, h| now < h.last + FORGET);
            }
            let there = self.heard.contains_key(&place);
            if !there && (self.heard.len() >= MOST_HEARD || here >= MOST_PORTS) {
                return false;
            }
            let earliest = shared.last.map_or(now, |last| last + PAUSE).max(now);
            let answer = earliest + ANSWER.mul_f64(self.dice.f64());
            // What is due sooner is answer enough.
            if shared.regular.is_none() && answer < shared.next {
                shared.regular = Some(shared.next);
                shared.next = answer;
                shared.heard = 0;
            }
        }
        self.heard.insert(place, Heard { cookie: announce.cookie.clone(), last: now });
        true
    }

    /// The next composition to announce now.
    pub fn due(&mut self, now: Time) -> Option<InfoHash> {
        loop {
            let (&hash, shared) = self.shared.iter_mut().filter(|(_, s)| s.next <= now).min_by_key(|(_, s)| s.next)?;
            if let Some(regular) = shared.regular.take()
                && shared.heard >= ENOUGH
            {
                shared.next = regular;
                continue;
            }
            if !self.sending.takes(now) {
                return None;
            }
            let wait = AGAIN.get(shared.sent).copied().unwrap_or(EVERY + JITTER.mul_f64(self.dice.f64()));
            *shared = Shared { next: now + wait, sent: shared.sent + 1, last: Some(now), heard: 0, regular: None };
            return Some(hash);
        }
    }

    /// When [`Self::due`] wants to be asked next.
    pub fn deadline(&self) -> Option<Time> {
        let next = self.shared.values().map(|shared| shared.next).min()?;
        Some(next.max(self.sending.ready()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn manners() -> Manners {
        let mut manners = Manners::new("77".to_owned(), fastrand::Rng::with_seed(1));
        manners.share(HASH, Time::ZERO);
        manners
    }

    fn announce(cookie: &str) -> Announce {
        Announce { port: 9998, info_hashes: vec![HASH], cookie: Some(cookie.to_owned()) }
    }

    fn at(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 6771))
    }

    /// When it announces, up to `until`.
    fn times(manners: &mut Manners, until: Time) -> Vec<Time> {
        let mut times = Vec::new();
        while let Some(at) = manners.deadline().filter(|at| *at <= until) {
            times.extend(manners.due(at).map(|_| at));
        }
        times
    }

    #[test]
    fn three_packets_at_first_and_then_one_a_minute() {
        let times = times(&mut manners(), Time::from_secs(600));
        let [first, second, third, rest @ ..] = times.as_slice() else { panic!("{times:?}") };
        assert_eq!([*first, *second, *third], [Time::ZERO, Time::from_millis(700), Time::from_millis(2700)]);
        assert!((7..=10).contains(&rest.len()), "{times:?}");
        assert!(rest.windows(2).all(|pair| pair[1] - pair[0] >= Time::from_secs(60)));
    }

    #[test]
    fn a_newcomer_is_told_on_and_answered_once() {
        let mut manners = manners();
        times(&mut manners, Time::from_secs(5));
        let now = Time::from_secs(10);
        let told = manners.hear(&announce("5"), at(2), now);
        assert_eq!(told, [(HASH, SocketAddr::from(([10, 0, 0, 2], 9998)))]);
        let answers = times(&mut manners, Time::from_secs(15));
        assert_eq!(answers.len(), 1);
        assert!(answers[0] >= now && answers[0] <= now + ANSWER);
        assert_eq!(manners.hear(&announce("5"), at(2), Time::from_secs(20)).len(), 1);
        assert!(times(&mut manners, Time::from_secs(25)).is_empty(), "it is known");
        manners.hear(&announce("6"), at(2), Time::from_secs(30));
        assert_eq!(times(&mut manners, Time::from_secs(35)).len(), 1, "it started anew");
    }

    #[test]
    fn our_own_packets_and_those_about_other_compositions_say_nothing() {
        let mut manners = manners();
        times(&mut manners, Time::from_secs(5));
        assert!(manners.hear(&announce("77"), at(1), Time::from_secs(10)).is_empty());
        let other = Announce { info_hashes: vec![InfoHash([9; 20])], ..announce("5") };
        assert!(manners.hear(&other, at(2), Time::from_secs(10)).is_empty());
        assert!(times(&mut manners, Time::from_secs(20)).is_empty());
    }

    #[test]
    fn of_many_only_a_few_answer() {
        let mut all: Vec<Manners> = (0..100)
            .map(|n| {
                let mut manners = Manners::new(n.to_string(), fastrand::Rng::with_seed(n));
                manners.share(HASH, Time::ZERO);
                times(&mut manners, Time::from_secs(5));
                manners
            })
            .collect();
        let now = Time::from_secs(10);
        all.iter_mut().for_each(|m| drop(m.hear(&announce("new"), at(200), now)));
        let mut said = 0;
        for ms in 0..2000 {
            let now = now + Time::from_millis(ms);
            let speak: Vec<usize> = (0..all.len()).filter(|n| all[*n].due(now).is_some()).collect();
            said += speak.len();
            for who in speak {
                let packet = announce(&who.to_string());
                all.iter_mut().for_each(|m| drop(m.hear(&packet, at(who as u8), now)));
            }
        }
        assert!((1..=20).contains(&said), "{said} answers");
    }

    #[test]
    fn a_flood_is_answered_once_a_second_and_fills_no_memory() {
        let mut manners = manners();
        times(&mut manners, Time::from_secs(5));
        let mut sent = 0;
        let mut told = std::collections::BTreeSet::new();
        for n in 0..100_000u32 {
            let now = Time::from_secs(10) + Time::from_micros(u64::from(n) * 100);
            let from = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6771));
            told.extend(manners.hear(&Announce { port: n as u16 | 1, ..announce(&n.to_string()) }, from, now));
            sent += times(&mut manners, now).len();
        }
        assert!(sent <= 11, "{sent} packets in ten seconds");
        assert!(told.len() <= MOST_HEARD && manners.heard.len() <= MOST_HEARD);
        let one_host = (0..1000).map(|port| Announce { port: port + 1, ..announce("9") });
        let mut fresh = self::manners();
        let told: usize = one_host.map(|a| fresh.hear(&a, at(7), Time::from_secs(1)).len()).sum();
        assert_eq!(told, MOST_PORTS);
    }

    #[test]
    fn many_compositions_do_not_all_speak_at_once() {
        let mut manners = manners();
        (0..1000u32).for_each(|n| {
            let mut hash = [2; 20];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            manners.share(InfoHash(hash), Time::ZERO);
        });
        let sent = times(&mut manners, Time::from_secs(10)).len();
        assert!((200..=221).contains(&sent), "{sent} packets in ten seconds");
    }

    #[test]
    fn a_new_network_hears_of_us_at_once() {
        let mut manners = manners();
        times(&mut manners, Time::from_secs(5));
        manners.networks_changed(Time::from_secs(9));
        assert_eq!(times(&mut manners, Time::from_secs(15)).len(), 3);
    }
}
