//! The order in which those are asked that say on the local network that they can be: every host has its turn.
//!
//! Pure. What it costs an attacker: names cost nothing, so that a host which says that it is two hundred is asked as often
//! as any other, a few of its names at a time, and each address once whatever it is called. At most [`MAX_KNOWN`] names are
//! remembered, [`MAX_OF_HOST`] of one host, with [`MAX_PLACES`] addresses each. What these bounds cut off is counted, so that
//! it can be said.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::discovery::dns_sd::Kind;

/// Names that are remembered.
const MAX_KNOWN: usize = 2048;
/// Names of one host that are remembered.
const MAX_OF_HOST: usize = 64;
/// Names of one host that are asked at the same time.
const MAX_AT_HOST: usize = 4;
/// Addresses of one name that are tried, and that are remembered.
const MAX_TRIED: usize = 3;
const MAX_PLACES: usize = 16;

/// Tells one that can be asked from the others; a stranger's text.
pub type Name = (Kind, String);

#[derive(Debug, Default)]
pub struct Turns {
    known: HashMap<Name, Known>,
    hosts: HashMap<IpAddr, Host>,
    /// Hosts of which names wait, each once, in the order of their turns.
    order: VecDeque<IpAddr>,
    /// Addresses that were asked.
    asked: HashSet<SocketAddr>,
    /// Hosts of which not all names are remembered.
    crowded: BTreeSet<IpAddr>,
    is_full: bool,
}

/// One that says that it can be asked.
#[derive(Debug)]
struct Known {
    host: IpAddr,
    /// Where, as it says; over the other IP version it may say so later.
    places: Vec<SocketAddr>,
    /// How many of them were tried.
    tried: usize,
    waits: bool,
    is_asked: bool,
    has_answered: bool,
}

#[derive(Debug, Default)]
struct Host {
    names: usize,
    waiting: VecDeque<Name>,
    /// How many of its names are being asked.
    at_once: usize,
}

impl Turns {
    /// One says that it can be asked at these addresses, the likeliest first.
    pub fn note(&mut self, name: Name, addresses: &[SocketAddr]) {
        if !self.known.contains_key(&name) && !self.remember(&name, addresses) {
            return;
        }
        if let Some(known) = self.known.get_mut(&name) {
            for address in addresses {
                if known.places.len() < MAX_PLACES && !known.places.contains(address) {
                    known.places.push(*address);
                }
            }
        }
        self.wait(name);
    }

    /// Whether there was room for it.
    fn remember(&mut self, name: &Name, addresses: &[SocketAddr]) -> bool {
        let Some(host) = addresses.first().map(|address| address.ip()) else {
            return false;
        };
        if self.known.len() >= MAX_KNOWN {
            self.is_full = true;
            return false;
        }
        let names = &mut self.hosts.entry(host).or_default().names;
        if *names >= MAX_OF_HOST {
            self.crowded.insert(host);
            return false;
        }
        *names += 1;
        let known = Known { host, places: Vec::new(), tried: 0, waits: false, is_asked: false, has_answered: false };
        self.known.insert(name.clone(), known);
        true
    }

    fn wait(&mut self, name: Name) {
        let Some(known) = self.known.get_mut(&name).filter(|known| known.may_be_asked()) else {
            return;
        };
        known.waits = true;
        let host = known.host;
        let waiting = &mut self.hosts.entry(host).or_default().waiting;
        if waiting.is_empty() {
            self.order.push_back(host);
        }
        waiting.push_back(name);
    }

    /// The next one to ask, and where. It is asked until [`Self::ended`].
    pub fn next(&mut self) -> Option<(Name, SocketAddr)> {
        for _ in 0..self.order.len() {
            let at = self.order.pop_front()?;
            let Some(host) = self.hosts.get_mut(&at) else { continue };
            let next = if host.at_once < MAX_AT_HOST { host.next(&mut self.known, &mut self.asked) } else { None };
            if !host.waiting.is_empty() {
                self.order.push_back(at);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// It answered, or nobody was there.
    pub fn ended(&mut self, name: Name, is_there: bool) {
        let Some(known) = self.known.get_mut(&name) else { return };
        (known.is_asked, known.has_answered) = (false, is_there);
        if let Some(host) = self.hosts.get_mut(&known.host) {
            host.at_once = host.at_once.saturating_sub(1);
        }
        self.wait(name);
    }

    /// Every address at which it said that it is.
    pub fn places(&mut self, name: &Name) -> Vec<SocketAddr> {
        self.known.get_mut(name).map(|known| std::mem::take(&mut known.places)).unwrap_or_default()
    }

    /// Whom the bounds left out, for people.
    pub fn left_out(&self) -> Vec<String> {
        let crowded = self.crowded.iter().map(|host| {
            format!("{host} names more than {MAX_OF_HOST} members or conductors: the rest of them was not asked")
        });
        let full = self.is_full.then(|| {
            format!("more than {MAX_KNOWN} members and conductors say that they can be asked: the rest was not")
        });
        let waiting = self.known.values().filter(|known| known.waits && known.tried == 0).count();
        let late = (waiting > 0).then(|| {
            format!(
                "{waiting} more that say they can be asked had no turn in time; name one with --conductor HOST:PORT"
            )
        });
        crowded.chain(full).chain(late).collect()
    }
}

impl Host {
    fn next(
        &mut self,
        known: &mut HashMap<Name, Known>,
        asked: &mut HashSet<SocketAddr>,
    ) -> Option<(Name, SocketAddr)> {
        while let Some(name) = self.waiting.pop_front() {
            let Some(one) = known.get_mut(&name) else { continue };
            one.waits = false;
            while one.tried < MAX_TRIED
                && let Some(address) = one.places.get(one.tried).copied()
            {
                one.tried += 1;
                if asked.insert(address) {
                    one.is_asked = true;
                    self.at_once += 1;
                    return Some((name, address));
                }
            }
        }
        None
    }
}

impl Known {
    fn may_be_asked(&self) -> bool {
        !self.waits && !self.is_asked && !self.has_answered && self.tried < MAX_TRIED.min(self.places.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], port))
    }

    fn name(text: &str) -> Name {
        (Kind::Member, text.to_owned())
    }

    fn asked(turns: &mut Turns) -> Vec<SocketAddr> {
        std::iter::from_fn(|| turns.next()).map(|(_, address)| address).collect()
    }

    #[test]
    fn one_address_is_tried_after_the_other_until_somebody_is_there() {
        let mut turns = Turns::default();
        turns.note(name("a"), &[address(1, 1), address(1, 1)]);
        assert_eq!(asked(&mut turns), [address(1, 1)]);
        turns.note(name("a"), &[address(1, 2)]);
        assert_eq!(asked(&mut turns), [], "it is being asked");
        turns.ended(name("a"), false);
        assert_eq!(asked(&mut turns), [address(1, 2)]);
        turns.ended(name("a"), true);
        turns.note(name("a"), &[address(1, 3)]);
        assert_eq!(asked(&mut turns), [], "it has answered");
        assert_eq!(turns.places(&name("a")), [address(1, 1), address(1, 2), address(1, 3)]);
    }

    #[test]
    fn no_more_than_a_few_addresses_of_one_are_tried_or_remembered() {
        let mut turns = Turns::default();
        turns.note(name("a"), &(1..100).map(|port| address(1, port)).collect::<Vec<_>>());
        for port in 1..=3 {
            assert_eq!(asked(&mut turns), [address(1, port)]);
            turns.ended(name("a"), false);
        }
        assert_eq!(asked(&mut turns), []);
        assert_eq!(turns.places(&name("a")).len(), MAX_PLACES);
        assert!(turns.left_out().is_empty());
    }

    #[test]
    fn a_host_with_two_hundred_names_makes_nobody_else_invisible() {
        let mut turns = Turns::default();
        for n in 0..200 {
            turns.note(name(&format!("liar {n}")), &[address(66, 1000 + n)]);
        }
        for host in (1..=90).filter(|host| *host != 66) {
            turns.note(name(&format!("honest {host}")), &[address(host, 9998)]);
        }
        // Ninety hosts have a turn each before one has a second.
        let first: Vec<_> = (0..90).filter_map(|_| turns.next()).collect();
        let hosts: BTreeSet<IpAddr> = first.iter().map(|(_, address)| address.ip()).collect();
        assert_eq!(hosts.len(), 90);
        assert_eq!(asked(&mut turns).len(), 3, "a few of one host at a time");
        let said = turns.left_out();
        assert!(said[0].starts_with("10.0.0.66 names more than 64"), "{said:?}");
        assert!(said[1].starts_with("60 more"), "{said:?}");
    }

    #[test]
    fn an_address_is_asked_once_whatever_it_is_called() {
        let mut turns = Turns::default();
        for n in 0..50 {
            turns.note(name(&format!("liar {n}")), &[address(1, 9998)]);
        }
        assert_eq!(asked(&mut turns), [address(1, 9998)]);
    }

    #[test]
    fn names_without_end_fill_no_memory() {
        let mut turns = Turns::default();
        for n in 0..20_000u32 {
            let ip = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            turns.note(name(&n.to_string()), &[SocketAddr::new(ip, 1)]);
        }
        assert_eq!((turns.known.len(), turns.hosts.len()), (MAX_KNOWN, MAX_KNOWN));
        assert!(turns.left_out()[0].contains("more than 2048"));
    }
}
