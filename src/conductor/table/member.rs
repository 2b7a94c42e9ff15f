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

/// Whole seconds since the table was made, at or after a time, in [`Second::BITS`] bits. They last for 34 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Second(u32);

impl Second {
    const BITS: u32 = 30;
    /// After every other.
    pub const NEVER: Self = Self((1 << Self::BITS) - 1);

    /// The first second that is not before this time.
    pub fn at_or_after(time: Time) -> Self {
        let begun = u64::from(time.subsec_nanos() > 0);
        Self(
            u32::try_from(time.as_secs().saturating_add(begun))
                .map_or(Self::NEVER.0, |second| second.min(Self::NEVER.0)),
        )
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

/// Why an address is taken for a member's. What was seen is not displaced by what was only named: of several members at
/// one address all stand until their time is over, unless the earlier one was seen to announce and the later one was too,
/// which is a program that was started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The member's announce came from there.
    Seen,
    /// The member keeps a live link that comes from there.
    Held,
    /// The member named it and is on that network too, as far as is known; or it came from there, where another member
    /// keeps a live link from the same address.
    Beside,
    /// The member named it, on a network on which it was not seen.
    Claimed,
}

impl Basis {
    const ALL: [Self; 4] = [Self::Seen, Self::Held, Self::Beside, Self::Claimed];

    /// Whether a member that has an address on this basis is found by it. One at most is, of all that are there.
    pub fn is_known_by_it(self) -> bool {
        matches!(self, Self::Seen | Self::Held)
    }
}

/// Where a member listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    pub address: SocketAddr,
    pub basis: Basis,
    pub expires: Second,
}

/// When a door expires, and the basis of its address in the two highest bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Until(u32);

impl Until {
    /// Of a door that is not there.
    const NEVER: Self = Self(Second::NEVER.0);

    fn new(door: &Door) -> Self {
        Self(door.expires.0 | (door.basis as u32) << Second::BITS)
    }

    fn second(self) -> Second {
        Second(self.0 & Second::NEVER.0)
    }

    fn basis(self) -> Basis {
        Basis::ALL[(self.0 >> Second::BITS) as usize]
    }
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
    v4_until: Until,
    v6_until: Until,
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
            v4_until: Until::NEVER,
            v6_until: Until::NEVER,
            left: 0,
        }
    }

    pub fn door(&self, version: Version) -> Option<Door> {
        let (address, until) = match version {
            Version::V4 => (SocketAddrV4::new(self.v4.into(), self.v4_port).into(), self.v4_until),
            Version::V6 => (SocketAddrV6::new(self.v6.into(), self.v6_port, 0, 0).into(), self.v6_until),
        };
        let expires = until.second();
        (expires != Second::NEVER).then_some(Door { address, basis: until.basis(), expires })
    }

    pub fn doors(&self) -> impl Iterator<Item = Door> {
        Version::BOTH.into_iter().filter_map(|version| self.door(version))
    }

    /// Replaces the door in the version of this address.
    pub fn open(&mut self, door: Door) {
        let port = door.address.port();
        match door.address.ip() {
            IpAddr::V4(ip) => (self.v4, self.v4_port, self.v4_until) = (ip.octets(), port, Until::new(&door)),
            IpAddr::V6(ip) => (self.v6, self.v6_port, self.v6_until) = (ip.octets(), port, Until::new(&door)),
        }
    }

    pub fn close(&mut self, version: Version) {
        match version {
            Version::V4 => self.v4_until = Until::NEVER,
            Version::V6 => self.v6_until = Until::NEVER,
        }
    }

    /// When its next door expires.
    pub fn next_expiry(&self) -> Second {
        self.v4_until.second().min(self.v6_until.second())
    }

    /// One address, in the asker's IP version where there is one, and whether it is claimed only.
    pub fn shown_to(&self, asker: &Caller) -> Option<(SocketAddr, bool)> {
        let own = Version::of(asker.source);
        let at = |version| {
            let door = self.door(version)?;
            Some((shown(door.address, asker)?, door.basis == Basis::Claimed))
        };
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
        assert_eq!(Second::at_or_after(Duration::from_secs(1 << 31)), Second::NEVER);
    }

    #[test]
    fn a_door_is_kept_as_it_was_opened() {
        let here = "10.0.0.1".parse().unwrap();
        let query = b"info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7";
        let announce = crate::announce::http_request::read_announce(query).unwrap();
        let mut member = Member::new(Who::new(&announce, &Caller::new(here, here), Seed(1, 2)));
        for (address, version) in [("10.0.0.1:7", Version::V4), ("[fd00::1]:7", Version::V6)] {
            for basis in Basis::ALL {
                for seconds in [0, 7, (1 << 30) - 2] {
                    let expires = Second::at_or_after(Duration::from_secs(seconds));
                    let door = Door { address: address.parse().unwrap(), basis, expires };
                    member.open(door);
                    assert_eq!(member.door(version), Some(door));
                }
            }
            member.close(version);
            assert_eq!((member.door(version), member.next_expiry()), (None, Second::NEVER));
        }
    }
}
