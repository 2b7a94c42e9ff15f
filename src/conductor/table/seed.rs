//! The secret that places what strangers send in tables, so that nobody can choose what collides.

use core::{
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
};

use siphasher::sip::SipHasher13;

/// Two numbers that nobody outside knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64, pub u64);

impl Seed {
    /// A number that only who knows the seed can foresee.
    pub fn place(self, what: &[u8]) -> u64 {
        self.build_hasher().hash(what)
    }

    /// The same of an address.
    pub fn place_of(self, address: SocketAddr) -> u64 {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&octets(address.ip()));
        bytes[16..].copy_from_slice(&address.port().to_be_bytes());
        self.place(&bytes)
    }
}

impl BuildHasher for Seed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// An IP address of either version, each unlike every other.
pub fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}
