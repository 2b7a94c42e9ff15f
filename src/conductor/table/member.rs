//! One member in a swarm, in 64 bytes: who it is, and at which addresses it listens until when.

use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{
    address::{Caller, shown},
    seed::{Seed, octets},
};
use crate::{announce::Announce, time::Time, wire::handshake::PeerId};

/// What makes a member the same at its next announce. Peer ids are known to the whole swarm, so the id alone would let
/// anybody speak for it; the key is known to the conductor alone. A member that sends none is known by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    pub id: PeerId,
    /// The key or the source address, folded with the seed: as hard to guess as the key's own 32 bits.
    proof: u32,
}

impl Who {
    pub fn new(announce: &Announce, caller: &Caller, seed: Seed) -> Self {
        let proof = match announce.key {
            Some(key) => seed.place(&key.to_be_bytes()),
            None => seed.place(&octets(caller.source)),
        };
        Self { id: announce.id, proof: proof as u32 }
    }

    /// Where an index has it.
    pub fn place(&self, seed: Seed) -> u64 {
        let mut bytes = [0; 24];
        bytes[..20].copy_from_slice(&self.id.0);
        bytes[20..].copy_from_slice(&self.proof.to_be_bytes());
        seed.place(&bytes)
    }
}

/// Whole seconds since the table was made, at or after a time. They last for 136 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Second(u32);

impl Second {
    /// After every other.
    pub const NEVER: Self = Self(u32::MAX);

    /// The first second that is not before this time.
    pub fn at_or_after(time: Time) -> Self {
        let begun = u64::from(time.subsec_nanos() > 0);
        Self(u32::try_from(time.as_secs().saturating_add(begun)).unwrap_or(u32::MAX))
    }

    /// Whether it is now, or was.
    pub fn has_come(self, now: Time) -> bool {
        u64::from(self.0) <= now.as_secs()
    }
}

/// Which of a member's two doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V4,
    V6,
}

impl Version {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// Where a member listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    pub address: SocketAddr,
    pub expires: Second,
}

/// A dual-stack member has a door in each IP version and counts once. A door that is not there has the expiry
/// [`Second::NEVER`], so that none costs a byte beyond its address. Each is in a cache line of its own: members are drawn
/// at random, and two lines for one would cost twice the time.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Member {
    pub who: Who,
    v4: [u8; 4],
    v6: [u8; 16],
    v4_port: u16,
    v6_port: u16,
    v4_expires: Second,
    v6_expires: Second,
    /// Bytes that it lacked when it was last heard.
    pub left: u64,
}

impl Member {
    /// Somebody without a door.
    pub fn new(who: Who) -> Self {
        Self {
            who,
            v4: [0; 4],
            v6: [0; 16],
            v4_port: 0,
            v6_port: 0,
            v4_expires: Second::NEVER,
            v6_expires: Second::NEVER,
            left: 0,
        }
    }

    pub fn door(&self, version: Version) -> Option<Door> {
        let (address, expires) = match version {
            Version::V4 => (SocketAddrV4::new(self.v4.into(), self.v4_port).into(), self.v4_expires),
            Version::V6 => (SocketAddrV6::new(self.v6.into(), self.v6_port, 0, 0).into(), self.v6_expires),
        };
        (expires != Second::NEVER).then_some(Door { address, expires })
    }

    pub fn doors(&self) -> impl Iterator<Item = Door> {
        Version::BOTH.into_iter().filter_map(|version| self.door(version))
    }

    /// Replaces the door in the version of this address.
    pub fn open(&mut self, door: Door) {
        let port = door.address.port();
        match door.address.ip() {
            IpAddr::V4(ip) => (self.v4, self.v4_port, self.v4_expires) = (ip.octets(), port, door.expires),
            IpAddr::V6(ip) => (self.v6, self.v6_port, self.v6_expires) = (ip.octets(), port, door.expires),
        }
    }

    pub fn close(&mut self, version: Version) {
        match version {
            Version::V4 => self.v4_expires = Second::NEVER,
            Version::V6 => self.v6_expires = Second::NEVER,
        }
    }

    /// When its next door expires.
    pub fn next_expiry(&self) -> Second {
        self.v4_expires.min(self.v6_expires)
    }

    /// One address, in the asker's IP version where there is one.
    pub fn shown_to(&self, asker: &Caller) -> Option<SocketAddr> {
        let own = Version::of(asker.source);
        let at = |version| self.door(version).and_then(|door| shown(door.address, asker));
        at(own).or_else(|| at(own.other()))
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn a_member_takes_one_cache_line() {
        assert_eq!((size_of::<Member>(), align_of::<Member>()), (64, 64));
    }

    #[test]
    fn a_second_is_never_before_its_time() {
        let second = Second::at_or_after(Duration::from_millis(1001));
        assert!(!second.has_come(Duration::from_millis(1999)));
        assert!(second.has_come(Duration::from_secs(2)));
        assert!(Second::at_or_after(Duration::from_secs(2)).has_come(Duration::from_secs(2)));
        assert_eq!(Second::at_or_after(Duration::MAX), Second::NEVER);
    }
}
