//! The circle of a member: with whom it keeps links, whom it lets in, and whom it tells of whom.
//!
//! Pure: what is heard of and the time in, addresses to dial and news to tell out. It keeps so many links as it is told to
//! by dialling, and takes in [`MOST`]; who finds no place is told of others and leaves. Those that were named by a person
//! are dialled whatever else there is. With public addresses there are links only where a conductor or a person names
//! somebody there: names of files are not told to whoever scans the internet.
//!
//! What it costs an attacker: [`MOST_AT_ONE`] places at one address, of [`MOST`] and [`MOST_ASKERS`]; addresses that it
//! tells of are bounded by [`crate::swarm`]'s rules for hearsay, and dialled only while links are lacking.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    net::range::{concerns, is_near},
    peer::{Introduction, PeerKey},
    swarm::{KnownPeers, at_port, plain},
    time::Time,
    wire::{
        extension::pex::{Added, Exchange, REACHABLE},
        handshake::PeerId,
    },
};

/// Links that are kept at most, and those with who only asks.
pub const MOST: usize = 32;
pub const MOST_ASKERS: usize = 16;
/// Links with one address, the loopback not counted.
const MOST_AT_ONE: usize = 8;
/// Others that one message tells of.
const TOLD_AT_ONCE: usize = 8;
/// One link is told of others no sooner again.
const TELL_AGAIN: Time = Time::from_secs(20);
/// Public addresses that are remembered as told of by conductors and people.
const MOST_VOUCHED: usize = 2000;
/// Who left, or was left, is not dialled for so long.
const PAUSE: Time = Time::from_secs(5);

/// Who is at the other end of a link.
#[derive(Debug)]
struct Link {
    introduction: Introduction,
    /// Its greeting came.
    greeted: bool,
    /// Where it listens.
    listens: Option<SocketAddr>,
    told: BTreeSet<SocketAddr>,
    tell: Time,
}

/// Whether a newcomer may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Welcome,
    /// This link with the same one goes.
    InPlaceOf(PeerKey),
    Refused,
}

/// What becomes of a link once it is known who that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Neighbour,
    Asker,
    /// There is no place: it is told this, and goes.
    None(Exchange),
}

#[derive(Debug)]
pub struct Circle {
    id: PeerId,
    /// How many links are looked for.
    wanted: usize,
    known: KnownPeers,
    /// Those that a person named.
    named: KnownPeers,
    links: BTreeMap<PeerKey, Link>,
    /// Public addresses that links are kept with.
    vouched: BTreeSet<IpAddr>,
}

impl Circle {
    /// Of the member of this id; so many links are looked for.
    pub fn new(id: PeerId, wanted: usize) -> Self {
        let (known, named) = (KnownPeers::default(), KnownPeers::default());
        Self { id, wanted: wanted.min(MOST), known, named, links: BTreeMap::new(), vouched: BTreeSet::new() }
    }

    /// Somebody may be there.
    pub fn found(&mut self, address: SocketAddr, now: Time) {
        self.vouch(address.ip());
        self.known.add(address, now);
    }

    /// A person says that somebody is there.
    pub fn named(&mut self, address: SocketAddr, now: Time) {
        self.vouch(address.ip());
        self.named.add(address, now);
    }

    fn vouch(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        if !is_near(ip) && self.vouched.len() < MOST_VOUCHED {
            self.vouched.insert(ip);
        }
    }

    fn may_be_at(&self, ip: IpAddr) -> bool {
        is_near(ip) || self.vouched.contains(&ip.to_canonical())
    }

    /// Addresses that are to be dialled now.
    pub fn due(&mut self, now: Time, dice: &mut fastrand::Rng) -> Vec<SocketAddr> {
        let mut due = self.named.due(usize::MAX, 0, now, dice);
        due.extend(self.known.due(
            self.wanted,
            self.links.values().filter(|link| !link.only_asks()).count(),
            now,
            dice,
        ));
        due.sort();
        due.dedup();
        due
    }

    pub fn failed(&mut self, address: SocketAddr, now: Time) {
        self.known.failed(address, now);
        self.named.failed(address, now);
    }

    /// We are there ourselves.
    pub fn own(&mut self, address: SocketAddr) {
        self.known.own(address);
        self.named.own(address);
    }

    /// Somebody came or was dialled, as `key`.
    pub fn met(&mut self, key: PeerKey, introduction: Introduction, now: Time) -> Admission {
        let address = introduction.address;
        let twin = self.links.iter().find(|(_, link)| link.introduction.id == introduction.id);
        let admission = match twin {
            // Of two that dial each other the connection of the greater id stays: both say so.
            Some((key, twin)) => match twin.introduction.dialled != introduction.dialled
                && introduction.dialled == (self.id > introduction.id)
            {
                true => Admission::InPlaceOf(*key),
                false => Admission::Refused,
            },
            None if introduction.dialled || self.has_room(address.ip()) => Admission::Welcome,
            None => Admission::Refused,
        };
        if introduction.dialled {
            match (admission, twin.map(|(key, _)| *key)) {
                // Whoever listens there is who we are linked with.
                (Admission::Refused, Some(twin)) => self.leads_to(address, twin, now),
                _ => self.leads_to(address, key, now),
            }
            self.known.dialled(address, now);
        }
        if admission != Admission::Refused {
            let listens = introduction.dialled.then(|| plain(address));
            let link = Link { introduction, greeted: false, listens, told: BTreeSet::new(), tell: now };
            self.links.insert(key, link);
        }
        admission
    }

    fn leads_to(&mut self, address: SocketAddr, key: PeerKey, now: Time) {
        self.known.connected(address, key, now);
        if self.named.addresses().contains(&plain(address)) {
            self.named.connected(address, key, now);
        }
    }

    fn has_room(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let here = self.links.values().filter(|link| link.introduction.address.ip().to_canonical() == ip).count();
        self.may_be_at(ip) && self.links.len() < MOST + MOST_ASKERS && (ip.is_loopback() || here < MOST_AT_ONE)
    }

    /// It greets, and listens on this port; None: it only asks.
    pub fn greeted(&mut self, key: PeerKey, port: Option<u16>, now: Time) -> Option<Place> {
        let link = self.links.get_mut(&key).filter(|link| !link.greeted)?;
        link.greeted = true;
        let (dialled, address) = (link.introduction.dialled, link.introduction.address);
        match port {
            None => link.listens = None,
            Some(port) if !dialled => link.listens = Some(at_port(address, port)),
            Some(_) => {}
        }
        if let Some(listens) = link.listens {
            self.leads_to(listens, key, now);
        }
        let (askers, neighbours) = (self.askers(), self.count());
        Some(match port {
            Some(_) if dialled || neighbours <= MOST => Place::Neighbour,
            None if dialled || askers <= MOST_ASKERS => Place::Asker,
            _ => Place::None(self.others(key)),
        })
    }

    /// How many neighbours there are.
    pub fn count(&self) -> usize {
        self.links.values().filter(|link| link.greeted && !link.only_asks()).count()
    }

    fn askers(&self) -> usize {
        self.links.values().filter(|link| link.greeted && link.only_asks()).count()
    }

    /// A neighbour tells of others.
    pub fn heard_of(&mut self, key: PeerKey, exchange: &Exchange, now: Time) {
        let Some(link) = self.links.get(&key) else { return };
        let ip = link.introduction.address.ip();
        let addresses = exchange.added.iter().map(|added| added.address);
        let fit = addresses.filter(|address| concerns(address, ip) && self.may_be_at(address.ip()));
        let fit: Vec<_> = fit.collect();
        self.known.hear(fit.into_iter(), key, now);
    }

    /// What neighbours are to be told of others now.
    pub fn news(&mut self, now: Time) -> Vec<(PeerKey, Exchange)> {
        let due = |link: &Link| link.greeted && !link.only_asks() && link.tell <= now;
        let due: Vec<PeerKey> = self.links.iter().filter(|(_, link)| due(link)).map(|(key, _)| *key).collect();
        let mut news = Vec::new();
        for key in due {
            let exchange = self.others(key);
            let Some(link) = self.links.get_mut(&key).filter(|_| !exchange.is_empty()) else { continue };
            link.tell = now + TELL_AGAIN;
            link.told.extend(exchange.added.iter().map(|added| added.address));
            news.push((key, exchange));
        }
        news
    }

    /// A few neighbours that this one was not told of yet, and could reach.
    fn others(&self, key: PeerKey) -> Exchange {
        let Some(to) = self.links.get(&key) else { return Exchange::default() };
        let others = self.links.iter().filter(|(other, link)| **other != key && link.greeted);
        let others = others.filter_map(|(_, link)| Some((link.listens?, link.introduction.dialled)));
        let ip = to.introduction.address.ip();
        let fit = others.filter(|(address, _)| !to.told.contains(address) && concerns(address, ip));
        let added = fit.map(|(address, dialled)| Added { address, flags: if dialled { REACHABLE } else { 0 } });
        Exchange { added: added.take(TOLD_AT_ONCE).collect(), dropped: Vec::new() }
    }

    pub fn closed(&mut self, key: PeerKey, now: Time) {
        let Some(link) = self.links.remove(&key) else { return };
        self.known.closed(key, PAUSE, now);
        self.named.closed(key, PAUSE, now);
        if link.only_asks() {
            // It has what it wanted, and does not come back.
            self.known.left(link.introduction.address);
        }
    }

    /// Where neighbours were reached, and when last.
    pub fn reached(&self) -> Vec<(SocketAddr, Time)> {
        self.known.reached()
    }
}

impl Link {
    fn only_asks(&self) -> bool {
        self.greeted && self.listens.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(wanted: usize) -> Circle {
        Circle::new(PeerId([5; 20]), wanted)
    }

    fn introduction(id: u8, dialled: bool) -> Introduction {
        let address = SocketAddr::from(([10, 0, 0, id], if dialled { 9998 } else { 40_000 }));
        Introduction { id: PeerId([id; 20]), address, dialled, fast: true, extended: true }
    }

    fn comes(circle: &mut Circle, id: u8, key: u32) -> Option<Place> {
        match circle.met(PeerKey(key), introduction(id, false), Time::ZERO) {
            Admission::Welcome => circle.greeted(PeerKey(key), Some(9998), Time::ZERO),
            _ => None,
        }
    }

    #[test]
    fn it_dials_until_there_are_enough_and_the_named_always() {
        let (mut circle, mut dice) = (circle(2), fastrand::Rng::with_seed(1));
        let address = |id| introduction(id, true).address;
        (1..=9).for_each(|id| circle.found(address(id), Time::ZERO));
        circle.named(address(20), Time::ZERO);
        let due = circle.due(Time::ZERO, &mut dice);
        assert_eq!((due.len(), due.contains(&address(20))), (3, true));
        for (key, address) in due.into_iter().enumerate() {
            let id = address.ip().to_string().rsplit('.').next().unwrap().parse().unwrap();
            let key = PeerKey(key as u32);
            assert_eq!(circle.met(key, introduction(id, true), Time::ZERO), Admission::Welcome);
            assert_eq!(circle.greeted(key, Some(9998), Time::ZERO), Some(Place::Neighbour));
        }
        assert!(circle.due(Time::from_secs(9), &mut dice).is_empty());
        (0..3).for_each(|key| circle.closed(PeerKey(key), Time::from_secs(9)));
        assert_eq!(circle.due(Time::from_secs(99), &mut dice).len(), 3);
    }

    #[test]
    fn of_two_that_dial_each_other_one_connection_stays() {
        for (other, first_dialled, stays) in [(9, true, 2), (9, false, 1), (1, true, 1), (1, false, 2)] {
            let mut circle = circle(2);
            assert_eq!(circle.met(PeerKey(1), introduction(other, first_dialled), Time::ZERO), Admission::Welcome);
            let second = circle.met(PeerKey(2), introduction(other, !first_dialled), Time::ZERO);
            let expected = if stays == 2 { Admission::InPlaceOf(PeerKey(1)) } else { Admission::Refused };
            assert_eq!(second, expected, "{other} {first_dialled}");
            let third = circle.met(PeerKey(3), introduction(other, stays == 1 && first_dialled), Time::ZERO);
            assert_ne!(third, Admission::Welcome);
        }
    }

    #[test]
    fn who_finds_no_place_is_told_of_others() {
        let mut circle = circle(2);
        for id in 1..=MOST as u8 {
            assert_eq!(comes(&mut circle, id + 10, id.into()), Some(Place::Neighbour));
        }
        let Some(Place::None(told)) = comes(&mut circle, 200, 200) else { panic!("there was a place") };
        assert_eq!((told.added.len(), told.added[0].address.port()), (TOLD_AT_ONCE, 9998));
        assert_eq!(circle.met(PeerKey(201), introduction(201, false), Time::ZERO), Admission::Welcome);
        assert_eq!(circle.greeted(PeerKey(201), None, Time::ZERO), Some(Place::Asker));
    }

    #[test]
    fn strangers_of_the_internet_are_not_let_in() {
        let mut circle = circle(2);
        let address = "8.8.8.8:9998".parse().unwrap();
        let stranger = Introduction { address, ..introduction(9, false) };
        assert_eq!(circle.met(PeerKey(1), stranger.clone(), Time::ZERO), Admission::Refused);
        comes(&mut circle, 11, 2);
        let told = Exchange { added: vec![Added { address, flags: 0 }], dropped: vec![] };
        circle.heard_of(PeerKey(2), &told, Time::ZERO);
        assert!(circle.due(Time::ZERO, &mut fastrand::Rng::with_seed(1)).is_empty());
        circle.found(address, Time::ZERO);
        assert_eq!(circle.met(PeerKey(1), stranger, Time::ZERO), Admission::Welcome);
    }

    #[test]
    fn one_address_has_a_few_places() {
        let mut circle = circle(2);
        let from_one = |id: u8| Introduction { id: PeerId([id; 20]), ..introduction(1, false) };
        let taken =
            (10..60).filter(|id| circle.met(PeerKey((*id).into()), from_one(*id), Time::ZERO) == Admission::Welcome);
        assert_eq!(taken.count(), MOST_AT_ONE);
    }

    #[test]
    fn neighbours_are_told_of_each_other_once() {
        let mut circle = circle(2);
        comes(&mut circle, 11, 1);
        comes(&mut circle, 12, 2);
        circle.met(PeerKey(3), introduction(13, false), Time::ZERO);
        circle.greeted(PeerKey(3), None, Time::ZERO);
        let told: Vec<(PeerKey, Vec<SocketAddr>)> = circle
            .news(Time::ZERO)
            .into_iter()
            .map(|(key, exchange)| (key, exchange.added.iter().map(|added| added.address).collect()))
            .collect();
        let at = |id| vec![SocketAddr::from(([10, 0, 0, id], 9998))];
        assert_eq!(told, [(PeerKey(1), at(12)), (PeerKey(2), at(11))]);
        assert!(circle.news(Time::from_secs(60)).is_empty());
        comes(&mut circle, 14, 4);
        assert_eq!(circle.news(Time::from_secs(61)).len(), 3);
    }
}
