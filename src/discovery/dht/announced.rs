//! Who told this node that they share something, for those who ask (BEP 5), and the tokens that prove that who announces
//! also receives at its address.
//!
//! What it costs an attacker: nothing is kept for a token; of announces [`MOST`] are kept for [`LASTS`], [`MOST_EACH`] of
//! one swarm and [`MOST_PORTS`] of them at one address. When all is full, nobody new is taken.

use core::{
    hash::Hasher,
    net::{IpAddr, SocketAddr},
};
use std::collections::BTreeMap;

use siphasher::sip::SipHasher24;

use crate::{metainfo::InfoHash, time::Time};

/// So long an announce counts; who is still there repeats it before.
const LASTS: Time = Time::from_secs(35 * 60);
const MOST: usize = 10_000;
const MOST_EACH: usize = 200;
const MOST_PORTS: usize = 8;
/// Members that are told at once: what fits into a packet beside the rest.
const TOLD: usize = 30;
/// A token is good in its slot and in the next.
const SLOT: Time = Time::from_secs(300);

#[derive(Debug)]
pub struct Announced {
    swarms: BTreeMap<InfoHash, Vec<(SocketAddr, Time)>>,
    count: usize,
    key: [u8; 16],
}

impl Announced {
    /// Nobody yet. The key has to be a secret.
    pub fn new(key: [u8; 16]) -> Self {
        Self { swarms: BTreeMap::new(), count: 0, key }
    }

    /// What an announce from this address has to show.
    pub fn token(&self, ip: IpAddr, now: Time) -> Vec<u8> {
        self.token_of(ip, now.as_secs() / SLOT.as_secs())
    }

    /// Whether it was given to this address lately.
    pub fn proves(&self, token: &[u8], ip: IpAddr, now: Time) -> bool {
        let slot = now.as_secs() / SLOT.as_secs();
        [slot, slot.wrapping_sub(1)].iter().any(|slot| token == self.token_of(ip, *slot))
    }

    fn token_of(&self, ip: IpAddr, slot: u64) -> Vec<u8> {
        let mut hash = SipHasher24::new_with_key(&self.key);
        match ip {
            IpAddr::V4(ip) => hash.write(&ip.octets()),
            IpAddr::V6(ip) => hash.write(&ip.octets()),
        }
        hash.write(&slot.to_be_bytes());
        hash.finish().to_be_bytes().to_vec()
    }

    /// It shares this.
    pub fn add(&mut self, info_hash: InfoHash, member: SocketAddr, now: Time) {
        if self.count >= MOST {
            self.forget_old(now);
        }
        let full = self.count >= MOST;
        let swarm = self.swarms.entry(info_hash).or_default();
        if let Some(known) = swarm.iter_mut().find(|(known, _)| *known == member) {
            known.1 = now;
            return;
        }
        let neighbours = swarm.iter().filter(|(known, _)| known.ip() == member.ip()).count();
        if !full && neighbours < MOST_PORTS && swarm.len() < MOST_EACH {
            swarm.push((member, now));
            self.count += 1;
        }
        if swarm.is_empty() {
            self.swarms.remove(&info_hash);
        }
    }

    /// Some of those that share this.
    pub fn some_of(&self, info_hash: InfoHash, now: Time, dice: &mut fastrand::Rng) -> Vec<SocketAddr> {
        let swarm = self.swarms.get(&info_hash).into_iter().flatten();
        let mut members: Vec<_> = swarm.filter(|(_, at)| now < *at + LASTS).map(|(member, _)| *member).collect();
        dice.shuffle(&mut members);
        members.truncate(TOLD);
        members
    }

    /// To be called now and then.
    pub fn forget_old(&mut self, now: Time) {
        self.swarms.retain(|_, swarm| {
            swarm.retain(|(_, at)| now < *at + LASTS);
            !swarm.is_empty()
        });
        self.count = self.swarms.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWARM: InfoHash = InfoHash([1; 20]);

    fn member(n: u16) -> SocketAddr {
        let [high, low] = n.to_be_bytes();
        SocketAddr::from(([10, 0, high, low], 9998))
    }

    #[test]
    fn who_announces_is_told_to_others_until_it_is_old() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut announced = Announced::new([7; 16]);
        (0..100).for_each(|n| announced.add(SWARM, member(n), Time::ZERO));
        announced.add(SWARM, member(0), LASTS / 2);
        let some = announced.some_of(SWARM, Time::ZERO, &mut dice);
        assert_eq!(some.len(), TOLD);
        assert_ne!(some, announced.some_of(SWARM, Time::ZERO, &mut dice), "others each time");
        assert_eq!(announced.some_of(SWARM, LASTS, &mut dice), [member(0)]);
        assert!(announced.some_of(InfoHash([2; 20]), Time::ZERO, &mut dice).is_empty());
        announced.forget_old(LASTS * 2);
        assert!(announced.swarms.is_empty() && announced.count == 0);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let mut announced = Announced::new([7; 16]);
        for port in 1..=100 {
            announced.add(SWARM, SocketAddr::new(member(1).ip(), port), Time::ZERO);
        }
        assert_eq!(announced.count, MOST_PORTS);
        (0..1000).for_each(|n| announced.add(SWARM, member(n), Time::ZERO));
        assert_eq!(announced.count, MOST_EACH);
        for n in 0..20_000u32 {
            let mut hash = [2; 20];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            announced.add(InfoHash(hash), member(n as u16), Time::ZERO);
        }
        assert_eq!(announced.count, MOST);
        assert_eq!(announced.swarms.values().map(Vec::len).sum::<usize>(), MOST);
        announced.add(InfoHash([9; 20]), member(1), LASTS);
        assert_eq!(announced.count, 1, "what is old makes room");
    }

    #[test]
    fn a_token_is_for_one_address_and_some_minutes() {
        let announced = Announced::new([7; 16]);
        let (here, there) = (member(1).ip(), member(2).ip());
        let token = announced.token(here, SLOT);
        assert!(announced.proves(&token, here, SLOT) && announced.proves(&token, here, SLOT * 2));
        assert!(!announced.proves(&token, there, SLOT) && !announced.proves(&token, here, SLOT * 3));
        assert!(!Announced::new([8; 16]).proves(&token, here, SLOT) && !announced.proves(&[], here, SLOT));
    }
}
