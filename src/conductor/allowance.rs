//! How much one source may ask, so that no single one takes the conductor from the others.
//!
//! Every source has an allowance that fills with time. A public address has little; a private one has plenty, since a
//! machine with many compositions announces each of them; the loopback is not limited. An IPv6 source is its /64, which
//! one customer has all of.
//!
//! The memory is fixed, whatever comes: sources are spread by a secret [`Seed`] over so many places, two for each, and
//! are refused only when both are used up. Who shares one place with a source that asks too much has the other.

use core::{
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::table::{Seed, is_private, octets};
use crate::time::Time;

/// Places for allowances: half a megabyte.
const PLACES: usize = 1 << 16;

/// What a kind of source may ask.
struct Allowance {
    /// One question more in this time.
    each: Duration,
    /// Questions at once after a silence.
    burst: u32,
}

/// 20 a second.
const PUBLIC: Allowance = Allowance { each: Duration::from_millis(50), burst: 100 };
/// 2,000 a second.
const PRIVATE: Allowance = Allowance { each: Duration::from_micros(500), burst: 10_000 };

pub struct Allowances {
    seed: Seed,
    /// When the allowance of the sources there will be full again, in microseconds.
    places: Vec<AtomicU64>,
}

impl Allowances {
    /// Of sources that never asked.
    pub fn new(seed: Seed) -> Self {
        Self { seed, places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether this source may ask now; if so, that is taken from its allowance.
    pub fn admits(&self, source: IpAddr, now: Time) -> bool {
        let source = source.to_canonical();
        if source.is_loopback() {
            return true;
        }
        let allowance = if is_private(source) { PRIVATE } else { PUBLIC };
        let hash = self.seed.place(&octets(one_customer(source)));
        // Both are asked, so that two places do not make two allowances.
        self.take((hash >> 32) as usize, &allowance, now) | self.take(hash as usize, &allowance, now)
    }

    fn take(&self, place: usize, allowance: &Allowance, now: Time) -> bool {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (now, each) = (micros(now), micros(allowance.each));
        let full_at = |before: u64| before.max(now).saturating_add(each);
        let latest = now.saturating_add(each * u64::from(allowance.burst));
        let taken = self.places[place % PLACES].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            Some(full_at(before)).filter(|full_at| *full_at <= latest)
        });
        taken.is_ok()
    }
}

/// The addresses that one customer of a provider has.
pub fn one_customer(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
    }
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
