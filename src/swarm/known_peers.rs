//! Addresses of members: which to dial, when to try again, whom to leave alone.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::collections::BTreeMap;

use crate::{peer::PeerKey, time::Time, wire::handshake::PeerId};

/// More addresses than this are not remembered: a liar cannot fill the memory.
const MAX_KNOWN: usize = 2000;
/// Of these so many at most that members told us of and that were not reached: in all, by one member, at one IP address.
const MOST_HEARSAY: usize = 800;
const MOST_OF_ONE: usize = 100;
const MOST_AT_ONE: usize = 16;
/// So many of them are dialled at the same time: the rest of the places is for addresses from better sources.
const MOST_HEARSAY_DIALS: usize = 15;
/// Stands for all strangers together, where the one who told of an address is named; and how many they may tell of.
pub(crate) const STRANGERS: PeerKey = PeerKey(u32::MAX);
const MOST_OF_STRANGERS: usize = 400;
/// With so many connections nobody is dialled on hearsay: it is enough for parts to travel fast, and where everybody
/// knows everybody each would for ever push another out of its place.
const ENOUGH: usize = 16;
/// What was only heard of and failed so often that the wait is longer is forgotten.
const HEARSAY_WAIT: Time = Time::from_secs(4);
const FIRST_WAIT: Time = Time::from_secs(1);
const LONGEST_WAIT: Time = Time::from_secs(60);
/// How long a member that sent a wrong part is left alone.
const BAN: Time = Time::from_secs(600);
/// With so many wrongdoers at one address within [`BAN`], newcomers from there have to wait: an id costs nothing.
const MANY_BANS: usize = 3;
/// How long after the last of these wrongdoers. Short, since honest members may share the address: a class room, the
/// containers of one host. Each further wrongdoer doubles it.
const FIRST_SHUT: Time = Time::from_secs(2);
const MAX_SHUT: Time = Time::from_secs(32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contact {
    Idle,
    Dialling,
    Connected(PeerKey),
    /// It is ourselves.
    Own,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    contact: Contact,
    /// The neighbour that told us of it, while nobody else did and nobody was reached there.
    hearsay: Option<PeerKey>,
    /// When a member was last reached there by dialling.
    reached: Option<Time>,
    not_before: Time,
    wait: Time,
}

#[derive(Debug, Default)]
pub(crate) struct KnownPeers {
    known: BTreeMap<SocketAddr, Known>,
    banned: Vec<(IpAddr, PeerId, Time)>,
}

/// Whether an address can be somebody's at all.
fn is_plausible(address: &SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

impl KnownPeers {
    pub fn add(&mut self, address: SocketAddr, now: Time) {
        let address = plain(address);
        if let Some(known) = self.known.get_mut(&address) {
            known.hearsay = None;
        } else if is_plausible(&address) {
            self.insert(address, None, now);
        }
    }

    /// The neighbour `key` says that members listen there. Each address is dialled, if there is nothing better to dial;
    /// who tells of many that nobody listens at is soon not believed any more.
    pub fn hear(&mut self, addresses: impl Iterator<Item = SocketAddr>, key: PeerKey, now: Time) {
        let hearsay = self.known.values().filter_map(|known| known.hearsay);
        let (mut all, mut its) = hearsay.fold((0, 0), |(all, its), by| (all + 1, its + usize::from(by == key)));
        let most = if key == STRANGERS { MOST_OF_STRANGERS } else { MOST_OF_ONE };
        for address in addresses.map(plain) {
            if all >= MOST_HEARSAY || its >= most {
                return;
            }
            let at = |port| at_port(address, port);
            let full = self.known.range(at(0)..=at(u16::MAX)).count() >= MOST_AT_ONE;
            if !full && is_plausible(&address) && !self.known.contains_key(&address) {
                self.insert(address, Some(key), now);
                (all, its) = (all + 1, its + 1);
            }
        }
    }

    fn insert(&mut self, address: SocketAddr, hearsay: Option<PeerKey>, now: Time) {
        if self.known.len() < MAX_KNOWN || self.forget_one() {
            let known = Known { contact: Contact::Idle, hearsay, reached: None, not_before: now, wait: FIRST_WAIT };
            self.known.insert(address, known);
        }
    }

    /// Makes room: what was only heard of goes first, then the address that failed most often. False: there is neither.
    fn forget_one(&mut self) -> bool {
        let idle = self.known.iter().filter(|(_, k)| k.contact == Contact::Idle);
        let poor = idle.filter(|(_, k)| k.hearsay.is_some() || k.wait > FIRST_WAIT);
        let worst = poor.max_by_key(|(_, k)| (k.hearsay.is_some(), k.wait)).map(|(address, _)| *address);
        worst.is_some_and(|address| self.known.remove(&address).is_some())
    }

    /// Addresses that are due to be dialled, so that there are `wanted` connections; `there` are open. Those that were
    /// only heard of come last.
    pub fn due(&mut self, wanted: usize, there: usize, now: Time, dice: &mut fastrand::Rng) -> Vec<SocketAddr> {
        let taken = there + self.dialling();
        let room = wanted.saturating_sub(taken);
        if room == 0 {
            return Vec::new();
        }
        let due = |k: &Known| k.contact == Contact::Idle && k.not_before <= now;
        let due = self.known.iter().filter(|(_, k)| due(k));
        let (mut heard, mut all): (Vec<_>, Vec<_>) = due.map(|(a, k)| (*a, k)).partition(|(_, k)| k.hearsay.is_some());
        let tried = |k: &&Known| k.contact == Contact::Dialling && k.hearsay.is_some();
        dice.shuffle(&mut heard);
        dice.shuffle(&mut all);
        let under_way = self.known.values().filter(tried).count();
        heard.truncate(MOST_HEARSAY_DIALS.saturating_sub(under_way).min(ENOUGH.saturating_sub(taken + all.len())));
        let all: Vec<_> = all.into_iter().chain(heard).take(room).map(|(address, _)| address).collect();
        for address in &all {
            self.set(*address, Contact::Dialling);
        }
        all
    }

    fn set(&mut self, address: SocketAddr, contact: Contact) {
        if let Some(known) = self.known.get_mut(&plain(address)) {
            known.contact = contact;
        }
    }

    fn dialling(&self) -> usize {
        self.known.values().filter(|k| k.contact == Contact::Dialling).count()
    }

    /// This address leads to a member that we are connected to.
    pub fn connected(&mut self, address: SocketAddr, key: PeerKey, now: Time) {
        self.add(address, now);
        self.set(address, Contact::Connected(key));
        if let Some(known) = self.known.get_mut(&plain(address)) {
            known.wait = FIRST_WAIT;
            known.hearsay = None;
        }
    }

    /// We dialled it, and a member is there.
    pub fn dialled(&mut self, address: SocketAddr, now: Time) {
        if let Some(known) = self.known.get_mut(&plain(address)) {
            known.reached = Some(now);
        }
    }

    /// Where members were reached by dialling, and when last.
    pub fn reached(&self) -> Vec<(SocketAddr, Time)> {
        self.known.iter().filter_map(|(address, known)| Some((*address, known.reached?))).collect()
    }

    pub fn own(&mut self, address: SocketAddr) {
        self.set(address, Contact::Own);
    }

    /// Dialling it came to nothing: later again. Not if it led to ourselves or to who is connected.
    pub fn failed(&mut self, address: SocketAddr, now: Time) {
        if let Some(known) = self.known.get_mut(&plain(address)).filter(|k| k.contact == Contact::Dialling) {
            known.contact = Contact::Idle;
            known.not_before = now + known.wait;
            known.wait = (known.wait * 2).min(LONGEST_WAIT);
            if known.hearsay.is_some() && known.wait > HEARSAY_WAIT {
                self.known.remove(&plain(address));
            }
        }
    }

    /// Who listened there is gone, as we are told: not dialled, unless it is heard of again. Who is connected knows better.
    pub fn left(&mut self, address: SocketAddr) {
        let address = plain(address);
        if self.known.get(&address).is_some_and(|k| k.contact == Contact::Idle) {
            self.known.remove(&address);
        }
    }

    /// The connection is over; all addresses that led to it are free.
    pub fn closed(&mut self, key: PeerKey, pause: Time, now: Time) {
        self.free(key, now, |_| pause);
    }

    /// The same where it broke a rule. The address that was `seen`, because we dialled it, is left alone for [`BAN`]; what it
    /// only said of itself may be the address of somebody honest.
    pub fn expelled(&mut self, key: PeerKey, seen: Option<SocketAddr>, now: Time) {
        let seen = seen.map(plain);
        self.free(key, now, |address| if Some(address) == seen { BAN } else { FIRST_WAIT });
    }

    fn free(&mut self, key: PeerKey, now: Time, pause: impl Fn(SocketAddr) -> Time) {
        for (address, known) in self.known.iter_mut().filter(|(_, k)| k.contact == Contact::Connected(key)) {
            known.contact = Contact::Idle;
            let pause = pause(*address);
            known.not_before = now + pause.max(known.wait);
            known.wait = (known.wait * 2).min(LONGEST_WAIT);
        }
    }

    /// All that were heard of.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.known.keys().copied().collect()
    }

    pub fn ban(&mut self, ip: IpAddr, id: PeerId, now: Time) {
        self.banned.retain(|(_, _, until)| *until > now);
        if self.banned.len() < MAX_KNOWN {
            self.banned.push((ip, id, now + BAN));
        }
    }

    /// Whether it sent a wrong part.
    pub fn is_banned(&self, ip: IpAddr, id: PeerId, now: Time) -> bool {
        self.banned.iter().any(|b| b.0 == ip && b.1 == id && b.2 > now)
    }

    /// Whether newcomers from this address have to wait, because [`MANY_BANS`] that came from there sent wrong parts.
    pub fn is_shut(&self, ip: IpAddr, now: Time) -> bool {
        let here = || self.banned.iter().filter(|b| b.0 == ip && b.2 > now);
        let Some(further) = here().count().checked_sub(MANY_BANS) else {
            return false;
        };
        let shut = (0..further).fold(FIRST_SHUT, |shut, _| (shut * 2).min(MAX_SHUT));
        here().map(|b| b.2).max().is_some_and(|until| now + BAN < until + shut)
    }
}

/// `::ffff:a.b.c.d` is `a.b.c.d`. A link-local address keeps the interface that it is behind.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
        }
        _ => SocketAddr::new(address.ip().to_canonical(), address.port()),
    }
}

/// Another port at this address.
pub(crate) fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    plain(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_fails_is_tried_later_and_later() {
        let mut known = KnownPeers::default();
        let mut dice = fastrand::Rng::with_seed(1);
        let a = address("10.0.0.1:9998");
        known.add(a, Time::ZERO);
        assert_eq!(known.due(5, 0, Time::ZERO, &mut dice), [a]);
        assert!(known.due(5, 0, Time::ZERO, &mut dice).is_empty(), "it is being dialled");
        known.failed(a, Time::ZERO);
        assert!(known.due(5, 0, Time::from_millis(900), &mut dice).is_empty());
        assert_eq!(known.due(5, 0, Time::from_secs(1), &mut dice), [a]);
        known.failed(a, Time::from_secs(1));
        assert!(known.due(5, 0, Time::from_secs(2), &mut dice).is_empty());
        assert_eq!(known.due(5, 0, Time::from_secs(3), &mut dice), [a]);
    }

    #[test]
    fn an_address_that_led_to_who_is_connected_or_to_ourselves_is_left_alone() {
        let mut known = KnownPeers::default();
        let mut dice = fastrand::Rng::with_seed(1);
        for (place, end) in [("10.0.0.1:9998", Some(PeerKey(1))), ("10.0.0.2:9998", None)] {
            let place = address(place);
            known.add(place, Time::ZERO);
            assert_eq!(known.due(5, 0, Time::ZERO, &mut dice), [place]);
            match end {
                Some(key) => known.connected(place, key, Time::ZERO),
                None => known.own(place),
            }
            known.failed(place, Time::ZERO);
            assert!(known.due(5, 0, Time::from_secs(1000), &mut dice).is_empty());
        }
    }

    #[test]
    fn impossible_addresses_are_not_remembered() {
        let mut known = KnownPeers::default();
        let mut dice = fastrand::Rng::with_seed(1);
        for text in ["10.0.0.1:0", "0.0.0.0:80", "239.1.1.1:80", "[ff02::1]:80"] {
            known.add(address(text), Time::ZERO);
        }
        assert!(known.due(9, 0, Time::ZERO, &mut dice).is_empty());
        known.add(address("[::ffff:10.0.0.1]:80"), Time::ZERO);
        assert_eq!(known.due(9, 0, Time::ZERO, &mut dice), [address("10.0.0.1:80")]);
    }

    #[test]
    fn a_list_full_of_lies_makes_room_for_others() {
        let mut known = KnownPeers::default();
        let mut dice = fastrand::Rng::with_seed(1);
        for n in 0..MAX_KNOWN as u32 {
            known.add(SocketAddr::new(IpAddr::from((n + 1).to_be_bytes()), 9998), Time::ZERO);
        }
        let other = address("10.0.0.1:9998");
        known.add(other, Time::ZERO);
        assert!(!known.known.contains_key(&other), "nobody failed yet");
        for lie in known.due(2, 0, Time::ZERO, &mut dice) {
            known.failed(lie, Time::ZERO);
        }
        known.add(other, Time::ZERO);
        assert!(known.known.contains_key(&other));
        assert_eq!(known.known.len(), MAX_KNOWN);
    }

    #[test]
    fn many_wrongdoers_shut_their_address() {
        let mut known = KnownPeers::default();
        let ip = address("10.0.0.1:1").ip();
        for id in 0..3 {
            assert!(!known.is_shut(ip, Time::ZERO));
            known.ban(ip, PeerId([id; 20]), Time::ZERO);
        }
        assert!(!known.is_banned(ip, PeerId([9; 20]), Time::ZERO), "it did nothing");
        assert!(!known.is_shut(address("10.0.0.2:1").ip(), Time::ZERO));
        // Each wrongdoer doubles the wait, up to half a minute.
        let mut now = Time::ZERO;
        for (id, wait) in [(3, 2), (4, 4), (5, 8), (6, 16), (7, 32), (8, 32)] {
            let wait = Time::from_secs(wait);
            assert!(known.is_shut(ip, now + wait - Time::from_millis(1)) && !known.is_shut(ip, now + wait));
            now += wait;
            known.ban(ip, PeerId([id; 20]), now);
        }
        assert!(!known.is_shut(ip, now + BAN), "all is forgotten");
    }

    #[test]
    fn what_a_wrongdoer_says_of_its_address_harms_nobody_there() {
        let mut known = KnownPeers::default();
        let mut dice = fastrand::Rng::with_seed(1);
        let (dialled, named) = (address("10.0.0.1:5000"), address("10.0.0.1:9998"));
        known.connected(dialled, PeerKey(1), Time::ZERO);
        known.connected(named, PeerKey(1), Time::ZERO);
        known.expelled(PeerKey(1), Some(dialled), Time::ZERO);
        assert_eq!(known.due(9, 0, Time::from_secs(1), &mut dice), [named]);
        assert_eq!(known.due(9, 0, BAN, &mut dice), [dialled]);
    }

    #[test]
    fn a_ban_ends() {
        let mut known = KnownPeers::default();
        let (ip, id) = (address("10.0.0.1:1").ip(), PeerId([1; 20]));
        known.ban(ip, id, Time::ZERO);
        assert!(known.is_banned(ip, id, Time::from_secs(599)));
        assert!(!known.is_banned(ip, PeerId([2; 20]), Time::ZERO));
        assert!(!known.is_banned(ip, id, Time::from_secs(600)));
    }
}
