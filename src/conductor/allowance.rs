//! How much one source may ask, so that no single one takes the conductor from the others.
//!
//! Every source has an allowance that fills with time. A public address has little; a private one has plenty, since a
//! machine with many compositions announces each of them; the loopback is not limited in what it asks. An IPv6 source is
//! its /64, and a public one the /56 and /48 around it too, of which one customer may have all: see [`customers`].
//!
//! The memory is fixed, whatever comes: sources are spread by a secret [`Seed`] over so many places, two for each, and
//! are refused only when both are used up. Who shares one place with a source that asks too much has the other.

use core::{
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::table::{Seed, is_private, octets};
use crate::{net::range::is_near, time::Time};

/// Places for allowances: half a megabyte.
const PLACES: usize = 1 << 16;

/// How much may be asked in a time.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// One question more in this time.
    pub each: Duration,
    /// Questions at once after a silence.
    pub burst: u32,
}

impl Allowance {
    /// For as many as `factor` sources together.
    fn of_all(self, factor: u32) -> Self {
        Self { each: self.each / factor, burst: self.burst * factor }
    }
}

/// 20 a second.
const PUBLIC: Allowance = Allowance { each: Duration::from_millis(50), burst: 100 };
/// 2,000 a second.
const PRIVATE: Allowance = Allowance { each: Duration::from_micros(500), burst: 10_000 };

/// When an allowance will be full again, in microseconds.
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

impl Meter {
    /// Whether something may be asked now; if so, that is taken from the allowance.
    pub fn admits(&self, allowance: Allowance, now: Time) -> bool {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (now, each) = (micros(now), micros(allowance.each));
        let full_at = |before: u64| before.max(now).saturating_add(each);
        let latest = now.saturating_add(each * u64::from(allowance.burst));
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            Some(full_at(before)).filter(|full_at| *full_at <= latest)
        });
        taken.is_ok()
    }
}

/// The allowances of all sources.
pub struct Allowances {
    seed: Seed,
    places: Vec<Meter>,
}

impl Allowances {
    /// Of sources that never asked.
    pub fn new(seed: Seed) -> Self {
        Self { seed, places: (0..PLACES).map(|_| Meter::default()).collect() }
    }

    /// Whether this source may ask now; if so, that is taken from its allowance.
    pub fn admits(&self, source: IpAddr, now: Time) -> bool {
        let source = source.to_canonical();
        source.is_loopback() || self.admits_to(if is_private(source) { PRIVATE } else { PUBLIC }, source, now)
    }

    /// As [`Allowances::admits`], for a source that may be forged: it uses up no allowance but its own.
    pub fn admits_unproven(&self, source: IpAddr, now: Time) -> bool {
        let source = source.to_canonical();
        let allowance = if is_private(source) { PRIVATE } else { PUBLIC };
        source.is_loopback() || self.take(allowance, customers(source).take(1), now)
    }

    /// As [`Allowances::admits`], with the same allowance for every source.
    pub fn admits_to(&self, allowance: Allowance, source: IpAddr, now: Time) -> bool {
        self.take(allowance, customers(source.to_canonical()), now)
    }

    fn take(&self, allowance: Allowance, mut from: impl Iterator<Item = Customer>, now: Time) -> bool {
        from.all(|customer| {
            let allowance = allowance.of_all(customer.factor.pow(2));
            let hash = self.seed.place(&customer.octets());
            let place = |hash: u64| &self.places[hash as usize % PLACES];
            // Both are asked, so that two places do not make two allowances.
            place(hash >> 32).admits(allowance, now) | place(hash).admits(allowance, now)
        })
    }
}

/// Addresses that one customer of a provider may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Customer {
    network: IpAddr,
    prefix: u8,
    /// How many sources it may stand for, at most, in what it keeps; in what it asks it is the square of that.
    pub factor: u32,
}

impl Customer {
    fn of(ip: Ipv6Addr, prefix: u8, factor: u32) -> Self {
        let rest = 128 - u32::from(prefix);
        Self { network: Ipv6Addr::from(u128::from(ip) >> rest << rest).into(), prefix, factor }
    }

    /// Unlike those of every other customer.
    pub fn octets(&self) -> [u8; 17] {
        let mut all = [self.prefix; 17];
        all[..16].copy_from_slice(&octets(self.network));
        all
    }
}

/// As which customers an address counts, the smallest first. A provider gives one customer a /64, a /56 or a /48 of IPv6,
/// and nobody outside can tell which: each of these has a bound of its own, the larger ones the larger bound. A network
/// that is private is a site's own.
pub fn customers(ip: IpAddr) -> impl Iterator<Item = Customer> {
    let (first, around) = match ip {
        IpAddr::V4(_) => (Customer { network: ip, prefix: 128, factor: 1 }, None),
        IpAddr::V6(v6) if is_near(ip) => (Customer::of(v6, 64, 1), None),
        IpAddr::V6(v6) => (Customer::of(v6, 64, 1), Some([Customer::of(v6, 56, 2), Customer::of(v6, 48, 4)])),
    };
    core::iter::once(first).chain(around.into_iter().flatten())
}

/// The least addresses that one customer of a provider has.
pub fn one_customer(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Customer::of(ip, 64, 1).network,
    }
}

/// The most addresses that one customer of a provider may have.
pub fn whole_customer(ip: IpAddr) -> Customer {
    customers(ip).last().unwrap_or(Customer { network: ip, prefix: 128, factor: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of so many questions at once are admitted.
    fn admitted(allowances: &Allowances, source: &str, asked: usize, now: Time) -> usize {
        (0..asked).filter(|_| allowances.admits(ip(source), now)).count()
    }

    #[test]
    fn a_public_source_has_a_hundred_at_once_and_twenty_a_second() {
        let allowances = Allowances::new(Seed(1, 2));
        let start = Time::from_secs(5);
        assert_eq!(admitted(&allowances, "8.8.8.8", 1000, start), 100);
        assert_eq!(admitted(&allowances, "8.8.8.8", 1000, start + Duration::from_secs(1)), 20);
        assert_eq!(admitted(&allowances, "8.8.8.8", 1000, start + Duration::from_secs(100)), 100);
        assert_eq!(admitted(&allowances, "8.8.4.4", 1000, start), 100);
    }

    #[test]
    fn a_private_source_has_plenty_and_the_loopback_all() {
        let allowances = Allowances::new(Seed(1, 2));
        for private in ["10.0.0.1", "fd00::1", "::ffff:192.168.0.1"] {
            assert_eq!(admitted(&allowances, private, 20_000, Time::ZERO), 10_000, "{private}");
        }
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(admitted(&allowances, here, 20_000, Time::ZERO), 20_000, "{here}");
        }
    }

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let allowances = Allowances::new(Seed(1, 2));
        assert_eq!(admitted(&allowances, "2001:db8::1", 1000, Time::ZERO), 100);
        assert_eq!(admitted(&allowances, "2001:db8::2", 1000, Time::ZERO), 0);
        assert_eq!(admitted(&allowances, "2001:db8:0:1::1", 1000, Time::ZERO), 100);
    }

    #[test]
    fn the_networks_of_one_ipv6_customer_have_a_bound_together() {
        let all = |networks: &[&str]| {
            let allowances = Allowances::new(Seed(1, 2));
            networks.iter().map(|network| admitted(&allowances, network, 1000, Time::ZERO)).sum::<usize>()
        };
        let of_56: Vec<String> = (0..256).map(|n| format!("2001:db8:0:{n:x}::1")).collect();
        let of_48: Vec<String> = (0..256).map(|n| format!("2001:db8:0:{n:x}00::1")).collect();
        let of_all: Vec<String> = (0..30).map(|n| format!("2001:db8:{n:x}::1")).collect();
        let private: Vec<String> = (0..3).map(|n| format!("fd00:0:0:{n:x}::1")).collect();
        let sum = |networks: &[String]| all(&networks.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!([sum(&of_56), sum(&of_48), sum(&of_all), sum(&private)], [400, 1600, 3000, 3000]);
    }

    #[test]
    fn who_forges_its_source_leaves_the_networks_around_it_alone() {
        let allowances = Allowances::new(Seed(1, 2));
        for n in 0..100 {
            let source = ip(&format!("2001:db8:0:{n:x}::1"));
            let admitted = (0..200).filter(|_| allowances.admits_unproven(source, Time::ZERO)).count();
            assert_eq!(admitted, 100);
        }
    }

    #[test]
    fn a_hundred_floods_shut_out_nobody_else() {
        let allowances = Allowances::new(Seed(3, 4));
        for n in 0..100 {
            admitted(&allowances, &format!("9.9.9.{n}"), 1000, Time::ZERO);
        }
        let shut_out =
            (0..10_000).filter(|n| !allowances.admits(ip(&format!("7.7.{}.{}", n / 250, n % 250)), Time::ZERO));
        assert!(shut_out.count() <= 2);
    }
}
