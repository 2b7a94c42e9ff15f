//! How many members one address has, so that nobody fills the table alone.
//!
//! An address is what [`one_customer`] makes of it; the loopback is not counted, since who is here already could do worse.
//! The memory is fixed, whatever comes: addresses are spread by the secret [`Seed`] over so many places, two for each, and
//! have their share only when both say so. Who shares one place with a crowd has the other.
//!
//! Invariant: what is added for a member's door is taken off when that door is closed.

use core::{
    net::IpAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    super::allowance::one_customer,
    seed::{Seed, octets},
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
        self.of(ip).is_none_or(|places| places.iter().any(|count| count.load(Ordering::Relaxed) < MOST))
    }

    pub fn add(&self, ip: IpAddr) {
        self.of(ip).into_iter().flatten().for_each(|count| _ = count.fetch_add(1, Ordering::Relaxed));
    }

    pub fn take_off(&self, ip: IpAddr) {
        self.of(ip).into_iter().flatten().for_each(|count| _ = count.fetch_sub(1, Ordering::Relaxed));
    }

    /// Both places of an address that is counted.
    fn of(&self, ip: IpAddr) -> Option<[&AtomicU32; 2]> {
        let ip = ip.to_canonical();
        let hash = self.seed.place(&octets(one_customer(ip))) as usize;
        let places = [hash % PLACES, (hash >> 32) % PLACES];
        (!ip.is_loopback()).then(|| places.map(|place| &self.places[place]))
    }
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
