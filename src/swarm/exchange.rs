//! Whom a neighbour is told of, and whom we believe in when it tells us (BEP 11).
//!
//! Told are those that we are connected to, at the address where they listen: never one that was only heard of. Our own
//! members hear of a change within [`SOON`], so that a member known to one is known to all within seconds; others once a
//! minute, as they want it.
//!
//! What it costs an attacker: what it tells goes behind addresses from better sources, and is bounded in
//! [`super::known_peers`]; it cannot make us dial an address inside our network that it could not have met.

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Effect, Swarm,
    known_peers::{at_port, plain},
    neighbour::Neighbour,
};
use crate::{
    net::range::concerns,
    peer::{Command, PeerKey},
    time::Time,
    wire::extension::pex::{Added, Exchange, MOST, REACHABLE, SEED},
};

/// One of our own members hears no sooner again.
const SOON: Time = Time::from_secs(2);
/// Nor does anybody else; libtorrent leaves who says more than six a minute.
const MINUTE: Time = Time::from_secs(60);
/// Others hear first after this time: by then there is something to say.
const FIRST: Time = Time::from_secs(5);

/// So long stays who has no place: until it was told of others.
const VISIT: Time = Time::from_secs(2);

/// What a neighbour was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    addresses: BTreeSet<SocketAddr>,
    /// The roster that it knows all of.
    roster: Option<u64>,
    /// It hears no more before this.
    next: Option<Time>,
}

/// Where it listens, as far as we know.
fn listens_at(n: &Neighbour) -> Option<SocketAddr> {
    let address = n.introduction.address;
    match n.introduction.dialled {
        true => Some(plain(address)),
        false => Some(at_port(address, n.hello.as_ref()?.port?)),
    }
}

impl Swarm {
    /// Tells each neighbour that wants to know of those that it does not know of yet, when it is time.
    pub(super) fn tell_of_others(&mut self, now: Time) {
        let due = |n: &Neighbour| n.told.roster != Some(self.roster) && n.hello.as_ref().is_some_and(|h| h.exchange);
        if !self.neighbours.values().any(due) {
            return;
        }
        let roster: BTreeMap<SocketAddr, u8> = self.neighbours.values().filter_map(listed).collect();
        for (key, n) in &mut self.neighbours {
            let wants = n.told.roster != Some(self.roster) && n.hello.as_ref().is_some_and(|h| h.exchange);
            let first = n.since + if n.is_ours() { Time::ZERO } else { FIRST };
            if !wants || now < n.told.next.unwrap_or(first) {
                continue;
            }
            let exchange = news(n, &roster);
            if exchange.added.len() < MOST && exchange.dropped.len() < MOST {
                n.told.roster = Some(self.roster);
            }
            if !exchange.is_empty() {
                n.told.next = Some(now + if n.is_ours() { SOON } else { MINUTE });
                self.effects.push_back(Effect::Tell(*key, Command::Exchange(exchange)));
            }
        }
    }

    /// Guests leave once they were told of others, or do not want to be; or they stay, if a place is free by now.
    pub(super) fn see_off_guests(&mut self, now: Time) {
        let guests = self.neighbours.iter().filter(|(_, n)| n.guest);
        let guests: Vec<_> = guests.map(|(key, n)| (*key, n.since + VISIT)).collect();
        let seats = self.neighbours.len() - guests.len();
        let free = self.config.max_peers.saturating_sub(seats);
        for (place, (key, until)) in guests.into_iter().enumerate() {
            if place < free {
                self.edit(key, |n| n.guest = false);
            } else if now >= until {
                self.close(key, "there is no place, and it was told of others", now);
            }
        }
    }

    /// It tells us of others. Those that it has lost may be there all the same.
    pub(super) fn on_exchange(&mut self, key: PeerKey, exchange: &Exchange, now: Time) {
        let Some(n) = self.neighbours.get(&key) else { return };
        let ip = n.introduction.address.ip();
        let addresses = exchange.added.iter().map(|added| added.address).filter(|address| concerns(address, ip));
        self.known.hear(addresses, key, now);
        self.dial(now);
    }
}

/// How others are told of this neighbour.
fn listed(n: &Neighbour) -> Option<(SocketAddr, u8)> {
    let seed = if n.is_complete() { SEED } else { 0 };
    let reachable = if n.introduction.dialled { REACHABLE } else { 0 };
    Some((listens_at(n)?, seed | reachable))
}

/// What this neighbour was not told yet of the roster; from here on it was.
fn news(n: &mut Neighbour, roster: &BTreeMap<SocketAddr, u8>) -> Exchange {
    let (ip, own) = (n.introduction.address.ip(), listens_at(n));
    let told = &mut n.told.addresses;
    let new = roster.iter().filter(|(a, _)| !told.contains(a) && Some(**a) != own && concerns(a, ip));
    let added: Vec<_> = new.take(MOST).map(|(address, flags)| Added { address: *address, flags: *flags }).collect();
    let dropped: Vec<_> = told.iter().filter(|a| !roster.contains_key(a)).take(MOST).copied().collect();
    told.retain(|address| !dropped.contains(address));
    told.extend(added.iter().map(|added| added.address));
    Exchange { added, dropped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geometry::Geometry,
        peer::{Closed, Event, Hello, Introduction},
        swarm::{Config, Input},
        wire::{bitfield::Bitfield, handshake::PeerId},
    };

    fn swarm() -> Swarm {
        let geometry = Geometry::new(100, 1).unwrap();
        let have = Bitfield::none(&geometry);
        Swarm::new(Config {
            geometry,
            id: PeerId([9; 20]),
            copy: None,
            have,
            checked: true,
            max_peers: 99,
            max_dialled: 99,
            seed: 1,
        })
    }

    fn address(host: u32, port: u16) -> SocketAddr {
        SocketAddr::from(((0x0a00_0000 + host).to_be_bytes(), port))
    }

    /// One that came from there and listens on port 9998.
    fn joins(swarm: &mut Swarm, key: u32, ours: bool, now: Time) {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&key.to_be_bytes());
        let (id, address) = (PeerId(id), address(key, 40_000));
        let introduction = Introduction { id, address, dialled: false, fast: true, extended: true };
        swarm.handle(Input::Introduced(PeerKey(key), introduction), now);
        let max_request = ours.then_some(1 << 20);
        let hello = Hello { port: Some(9998), exchange: true, max_request, ..Hello::default() };
        swarm.handle(Input::Peer(PeerKey(key), Event::Hello(hello)), now);
    }

    fn told(swarm: &mut Swarm) -> Vec<(u32, Exchange)> {
        let effects = std::iter::from_fn(|| swarm.next_effect());
        effects
            .filter_map(|effect| match effect {
                Effect::Tell(key, Command::Exchange(exchange)) => Some((key.0, exchange)),
                _ => None,
            })
            .collect()
    }

    fn dials(swarm: &mut Swarm) -> Vec<SocketAddr> {
        let effects = std::iter::from_fn(|| swarm.next_effect());
        effects
            .filter_map(|effect| match effect {
                Effect::Dial(address) => Some(address),
                _ => None,
            })
            .collect()
    }

    fn added(addresses: impl IntoIterator<Item = SocketAddr>) -> Exchange {
        let added = addresses.into_iter().map(|address| Added { address, flags: 0 }).collect();
        Exchange { added, dropped: Vec::new() }
    }

    #[test]
    fn our_own_hear_of_each_other_at_once_and_of_changes_soon() {
        let mut swarm = swarm();
        joins(&mut swarm, 1, true, Time::ZERO);
        swarm.tick(Time::ZERO);
        assert!(told(&mut swarm).is_empty(), "there is nobody to tell of");
        joins(&mut swarm, 2, true, Time::ZERO);
        swarm.tick(Time::from_millis(100));
        assert_eq!(told(&mut swarm), [(1, added([address(2, 9998)])), (2, added([address(1, 9998)]))]);
        joins(&mut swarm, 3, true, Time::from_secs(1));
        swarm.tick(Time::from_secs(1));
        assert_eq!(told(&mut swarm), [(3, added([address(1, 9998), address(2, 9998)]))]);
        swarm.tick(Time::from_millis(2100));
        assert_eq!(told(&mut swarm).len(), 2);
        swarm.handle(Input::Peer(PeerKey(3), Event::Closed(Closed::ByThem)), Time::from_secs(5));
        swarm.tick(Time::from_secs(5));
        let gone = Exchange { added: Vec::new(), dropped: vec![address(3, 9998)] };
        assert_eq!(told(&mut swarm), [(1, gone.clone()), (2, gone)]);
        (6..100).for_each(|second| swarm.tick(Time::from_secs(second)));
        assert!(told(&mut swarm).is_empty(), "nothing is news");
    }

    #[test]
    fn others_hear_once_a_minute_and_of_fifty() {
        let mut swarm = swarm();
        joins(&mut swarm, 1, false, Time::ZERO);
        (2..92).for_each(|key| joins(&mut swarm, key, false, Time::ZERO));
        let mut times = Vec::new();
        for second in 0..130 {
            swarm.tick(Time::from_secs(second));
            let mine = told(&mut swarm).into_iter().filter(|(key, _)| *key == 1);
            times.extend(mine.map(|(_, exchange)| (second, exchange.added.len())));
        }
        assert_eq!(times, [(5, 50), (65, 40)], "90 others, 1 not counted");
    }

    #[test]
    fn who_has_no_place_is_told_of_others_before_it_goes() {
        let mut swarm = swarm();
        swarm.config.max_peers = 3;
        (1..=3).for_each(|key| joins(&mut swarm, key, true, Time::ZERO));
        // Who draws a place pushes out another that was told by then; of the many that come, some do not.
        let mut guests = Vec::new();
        for key in 4..40 {
            joins(&mut swarm, key, true, Time::ZERO);
            let guest = swarm.neighbours.get(&PeerKey(key)).is_some_and(|n| n.guest);
            guests.extend(guest.then_some(key));
        }
        assert_eq!((guests.len(), swarm.neighbours.len()), (4, 7), "{guests:?}");
        swarm.tick(Time::from_millis(100));
        let told = told(&mut swarm);
        assert!(
            guests.iter().all(|guest| told.iter().any(|(key, exchange)| key == guest && exchange.added.len() >= 3))
        );
        swarm.tick(Time::from_secs(2));
        assert_eq!(swarm.neighbours.len(), 3);
        assert!(swarm.neighbours.values().all(|n| !n.guest));
    }

    #[test]
    fn who_did_not_ask_is_told_nothing() {
        let mut swarm = swarm();
        joins(&mut swarm, 1, true, Time::ZERO);
        joins(&mut swarm, 2, true, Time::ZERO);
        let hello = Hello { exchange: false, ..Hello::default() };
        swarm.handle(Input::Peer(PeerKey(1), Event::Hello(hello)), Time::ZERO);
        swarm.tick(Time::from_secs(1));
        assert_eq!(told(&mut swarm), [(2, added([address(1, 9998)]))]);
    }

    #[test]
    fn who_is_told_of_is_dialled_and_not_told_on() {
        let mut swarm = swarm();
        joins(&mut swarm, 1, true, Time::ZERO);
        joins(&mut swarm, 2, true, Time::ZERO);
        told(&mut swarm);
        let exchange = added([address(7, 9998), address(8, 0), address(2, 9998)]);
        swarm.handle(Input::Peer(PeerKey(1), Event::Exchange(exchange)), Time::from_secs(1));
        assert_eq!(dials(&mut swarm), [address(7, 9998)]);
        swarm.tick(Time::from_secs(9));
        let told: Vec<_> = told(&mut swarm).into_iter().flat_map(|(_, exchange)| exchange.added).collect();
        assert!(told.iter().all(|added| added.address != address(7, 9998)));
    }

    #[test]
    fn a_flood_of_lies_is_bounded_and_better_addresses_go_first() {
        let mut swarm = swarm();
        (1..=10).for_each(|key| joins(&mut swarm, key, true, Time::ZERO));
        dials(&mut swarm);
        let mut at_once = 0;
        for key in 1..=10 {
            for batch in 0..20 {
                let lies = (0..50).map(|n| address(100_000 * key + 50 * batch + n, 9998));
                swarm.handle(Input::Peer(PeerKey(key), Event::Exchange(added(lies))), Time::from_secs(1));
                at_once += dials(&mut swarm).len();
            }
        }
        assert_eq!(at_once, 6, "with what there is, that makes sixteen");
        let known = swarm.known.addresses().len();
        assert_eq!(known, 10 + 800);
        swarm.handle(Input::Endpoints(vec![address(77_777, 9998)]), Time::from_secs(1));
        assert_eq!(dials(&mut swarm), [address(77_777, 9998)]);
    }

    #[test]
    fn one_ip_address_is_dialled_at_few_ports() {
        let mut swarm = swarm();
        joins(&mut swarm, 1, true, Time::ZERO);
        let ports = added((1..=100).map(|port| address(5, port)));
        swarm.handle(Input::Peer(PeerKey(1), Event::Exchange(ports)), Time::ZERO);
        let mut dialled = BTreeSet::new();
        for second in 0..100 {
            swarm.tick(Time::from_secs(second));
            for to in dials(&mut swarm) {
                dialled.insert(to);
                swarm.handle(Input::DialFailed(to), Time::from_secs(second));
            }
        }
        assert_eq!(dialled.len(), 16);
        assert_eq!(swarm.known.addresses().len(), 1, "what leads to nobody is forgotten");
    }
}
