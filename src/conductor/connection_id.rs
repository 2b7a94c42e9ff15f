//! The connection ids of the UDP front (BEP 15): a proof that who sends from an address also receives there.
//!
//! An id is a keyed hash (SipHash-2-4) of the address and the time, so that nothing is kept for it. It is valid in its
//! slot of two minutes and in the next. It does not depend on the ports, since some clients (libtorrent) use one id for
//! every conductor at an address; nor on when the conductor was started, if the key is kept.
//!
//! Faces the network: to forge an id for an address that one does not receive at, one has to guess 64 bits.

use core::{hash::Hasher, net::IpAddr, time::Duration};

use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;

/// How long an id is given out.
const SLOT: Duration = Duration::from_secs(120);

/// Makes ids and knows them again.
#[derive(Clone)]
pub struct ConnectionIds {
    key: [u8; 16],
}

impl ConnectionIds {
    /// The key has to be a secret.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The id for this address. `now` is the time since 1970, which goes on when a conductor is started again.
    pub fn give(&self, address: IpAddr, now: Duration) -> u64 {
        self.of_slot(address, slot(now))
    }

    /// Whether this id was given to this address lately.
    pub fn prove(&self, address: IpAddr, now: Duration, id: u64) -> bool {
        let slot = slot(now);
        let this = id.ct_eq(&self.of_slot(address, slot));
        (this | id.ct_eq(&self.of_slot(address, slot.wrapping_sub(1)))).into()
    }

    fn of_slot(&self, address: IpAddr, slot: u64) -> u64 {
        let mut hash = SipHasher24::new_with_key(&self.key);
        match address.to_canonical() {
            IpAddr::V4(ip) => hash.write(&ip.octets()),
            IpAddr::V6(ip) => hash.write(&ip.octets()),
        }
        hash.write(&slot.to_be_bytes());
        hash.finish()
    }
}

fn slot(now: Duration) -> u64 {
    now.as_secs() / SLOT.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn ids() -> ConnectionIds {
        ConnectionIds::new([7; 16])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_is_valid_for_two_minutes_at_least_and_four_at_most() {
        let here = ip("10.0.0.1");
        for given in [NOW, NOW + Duration::from_secs(119)] {
            let id = ids().give(here, given);
            assert!(ids().prove(here, given + Duration::from_secs(120), id));
            assert!(!ids().prove(here, given + Duration::from_secs(240), id));
        }
    }

    #[test]
    fn an_id_is_for_one_address_and_one_key() {
        let id = ids().give(ip("10.0.0.1"), NOW);
        assert!(ids().prove(ip("::ffff:10.0.0.1"), NOW, id));
        assert!(!ids().prove(ip("10.0.0.2"), NOW, id));
        assert!(!ids().prove(ip("10.0.0.1"), NOW, id ^ 1));
        assert!(!ConnectionIds::new([8; 16]).prove(ip("10.0.0.1"), NOW, id));
    }

    #[test]
    fn an_id_of_a_time_to_come_is_none() {
        let id = ids().give(ip("::1"), NOW + Duration::from_secs(120));
        assert!(!ids().prove(ip("::1"), NOW, id));
    }
}
