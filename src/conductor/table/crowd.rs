//! How many members one address has, so that nobody fills the table alone.
//!
//! An address counts as each of its [`customers`]; the loopback is not counted, since who is here already could do worse.
//! The memory is fixed, whatever comes: addresses are spread by the secret [`Seed`] over so many places, two for each, and
//! have their share only when both say so. Who shares one place with a crowd has the other.
//!
//! Invariant: what is added for a member's door is taken off when that door is closed.

use core::{
    net::IpAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    super::allowance::{Customer, customers},
    seed::Seed,
};

/// Doors at one address, in all swarms together, at most: a hundredth of what the table holds.
pub const MOST: u32 = 20_000;
/// Places: a quarter of a megabyte.
const PLACES: usize = 1 << 16;

pub struct Crowd {
    seed: Seed,
    places: Vec<AtomicU32>,
}

impl Crowd {
    /// Nobody.
    pub fn new(seed: Seed) -> Self {
        Self { seed, places: (0..PLACES).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Whether this address may have one more member.
    pub fn has_room(&self, ip: IpAddr) -> bool {
        self.of(ip).all(|(customer, places)| count(places) < MOST * customer.factor)
    }

    /// How many doors there are at this address, or at all addresses of the largest customer that it may belong to.
    pub fn count(&self, ip: IpAddr) -> u32 {
        self.of(ip).map(|(_, places)| count(places)).max().unwrap_or(0)
    }

    pub fn add(&self, ip: IpAddr) {
        self.of(ip).flat_map(|(_, places)| places).for_each(|count| _ = count.fetch_add(1, Ordering::Relaxed));
    }

    pub fn take_off(&self, ip: IpAddr) {
        self.of(ip).flat_map(|(_, places)| places).for_each(|count| _ = count.fetch_sub(1, Ordering::Relaxed));
    }

    /// Both places of each customer that an address counts as, if it is counted.
    fn of(&self, ip: IpAddr) -> impl Iterator<Item = (Customer, [&AtomicU32; 2])> {
        let ip = ip.to_canonical();
        let counted = (!ip.is_loopback()).then(|| customers(ip));
        counted.into_iter().flatten().map(|customer| {
            let hash = self.seed.place(&customer.octets()) as usize;
            (customer, [hash % PLACES, (hash >> 32) % PLACES].map(|place| &self.places[place]))
        })
    }
}

/// What is counted in both places, and something else in one of them, perhaps.
fn count(places: [&AtomicU32; 2]) -> u32 {
    places[0].load(Ordering::Relaxed).min(places[1].load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let crowd = Crowd::new(Seed(1, 2));
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for n in 0..MOST {
            assert!(crowd.has_room(ip("2001:db8::1")));
            crowd.add(ip(&format!("2001:db8::{:x}", n % 9)));
            crowd.add(ip("127.0.0.1"));
        }
        assert!(!crowd.has_room(ip("2001:db8::1")) && !crowd.has_room(ip("2001:db8::f:1")));
        assert!(crowd.has_room(ip("127.0.0.1")) && crowd.has_room(ip("2001:db8:0:1::1")));
        crowd.take_off(ip("2001:db8::3"));
        assert!(crowd.has_room(ip("2001:db8::1")));
    }
}
