//! An announce that one conductor answered, as it tells the others: bytes to data and back.
//!
//! Pure. Every sighting has the same length, and a batch of them starts with who sends it. What is read was written by
//! another conductor, perhaps of another version: what does not fit is refused whole.

use core::net::{IpAddr, Ipv6Addr};

use crate::{
    announce::{Announce, Event},
    conductor::table::Caller,
    metainfo::InfoHash,
    wire::handshake::PeerId,
};

/// Bytes of one sighting.
pub const LENGTH: usize = 103;

const HAS_KEY: u8 = 1;
const HAS_IP: u8 = 2;
const IS_GONE: u8 = 4;
/// Conductors that do not know it take the member for one that said that it leaves.
const CUT_OFF: u8 = 8;

/// One run of a conductor, to know its own words by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender(pub u64);

/// A member in a swarm, as one conductor heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// As it came; its event is `stopped` or none.
    pub announce: Announce,
    /// Where it came from.
    pub source: IpAddr,
    /// Seconds until its next announce, as it was told.
    pub interval: u32,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The member did not say itself that it is gone: its live link broke.
    pub cut_off: bool,
}

/// Of two sightings with the same identity the later one says all: one member, in one swarm, over one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    info_hash: InfoHash,
    id: PeerId,
    /// Its key, or else where it is.
    proof: Result<u32, IpAddr>,
    v6: bool,
}

impl Identity {
    /// A name for it, the same in every conductor.
    pub fn name(&self) -> Vec<u8> {
        let proof = match self.proof {
            Ok(key) => key.to_be_bytes().to_vec(),
            Err(source) => mapped(source).to_vec(),
        };
        [&self.info_hash.0[..], &self.id.0, &proof, &[u8::from(self.v6)]].concat()
    }
}

impl Sighting {
    pub fn new(announce: &Announce, caller: &Caller, interval: u32, at: u64) -> Self {
        let event = announce.event.filter(|event| *event == Event::Stopped);
        let mut announce = Announce { event, numwant: Some(0), compact: true, ..announce.clone() };
        (announce.uploaded, announce.no_peer_id) = (0, true);
        Self { announce, source: caller.source, interval, at, cut_off: false }
    }

    pub fn identity(&self) -> Identity {
        let Announce { info_hash, id, key, .. } = self.announce;
        Identity { info_hash, id, proof: key.ok_or(self.source), v6: self.source.is_ipv6() }
    }

    /// As other machines reach a member that came from the loopback: at this address of the conductor's.
    pub fn seen_from_outside(mut self, outside: Option<IpAddr>) -> Self {
        if let Some(outside) = outside
            && self.source.is_loopback()
        {
            self.source = outside;
        }
        self
    }

    /// Both ends of the question, as far as they matter to another conductor.
    pub fn caller(&self) -> Caller {
        Caller::new(self.source, self.source)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let Announce { info_hash, id, key, ip, port, left, downloaded, event, .. } = &self.announce;
        let flag = |is: bool, flag| if is { flag } else { 0 };
        out.extend_from_slice(&info_hash.0);
        out.extend_from_slice(&id.0);
        let gone = *event == Some(Event::Stopped);
        let of_leaving = flag(gone, IS_GONE) | flag(self.cut_off, CUT_OFF);
        out.push(flag(key.is_some(), HAS_KEY) | flag(ip.is_some(), HAS_IP) | of_leaving);
        out.extend_from_slice(&key.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&mapped(self.source));
        out.extend_from_slice(&mapped(ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into())));
        out.extend_from_slice(&port.to_be_bytes());
        out.extend_from_slice(&left.to_be_bytes());
        // Only whether it is zero counts: see `may_lack_its_info`.
        out.extend_from_slice(&u32::try_from(*downloaded).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&self.interval.to_be_bytes());
        out.extend_from_slice(&self.at.to_be_bytes());
    }

    fn read(bytes: &[u8; LENGTH]) -> Option<Self> {
        let mut rest = &bytes[..];
        let info_hash = InfoHash(take(&mut rest)?);
        let id = PeerId(take(&mut rest)?);
        let [flags] = take(&mut rest)?;
        let key = u32::from_be_bytes(take(&mut rest)?);
        let source = plain(take(&mut rest)?);
        let ip = plain(take(&mut rest)?);
        let port = u16::from_be_bytes(take(&mut rest)?);
        let left = u64::from_be_bytes(take(&mut rest)?);
        let downloaded = u32::from_be_bytes(take(&mut rest)?).into();
        let interval = u32::from_be_bytes(take(&mut rest)?);
        let at = u64::from_be_bytes(take(&mut rest)?);
        let announce = Announce {
            info_hash,
            id,
            port,
            ip: (flags & HAS_IP != 0).then_some(ip),
            uploaded: 0,
            downloaded,
            left,
            event: (flags & IS_GONE != 0).then_some(Event::Stopped),
            numwant: Some(0),
            compact: true,
            no_peer_id: true,
            key: (flags & HAS_KEY != 0).then_some(key),
        };
        Some(Self { announce, source, interval, at, cut_off: flags & CUT_OFF != 0 })
    }
}

/// A batch: the sender, then sightings.
pub fn write(sender: Sender, sightings: &[Sighting]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + sightings.len() * LENGTH);
    out.extend_from_slice(&sender.0.to_be_bytes());
    sightings.iter().for_each(|sighting| sighting.write(&mut out));
    out
}

/// Reads a batch; None where it is not one of this version.
pub fn read(mut bytes: &[u8]) -> Option<(Sender, Vec<Sighting>)> {
    let sender = Sender(u64::from_be_bytes(take(&mut bytes)?));
    let (sightings, rest) = bytes.as_chunks::<LENGTH>();
    if !rest.is_empty() {
        return None;
    }
    let sightings: Option<Vec<Sighting>> = sightings.iter().map(Sighting::read).collect();
    Some((sender, sightings?))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn plain(bytes: [u8; 16]) -> IpAddr {
    IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sighting() -> impl Strategy<Value = Sighting> {
        let ip = || any::<IpAddr>().prop_map(|ip| ip.to_canonical());
        let who = (any::<[u8; 20]>(), any::<[u8; 20]>(), any::<Option<u32>>(), any::<u16>(), prop::option::of(ip()));
        let ended = (any::<bool>(), any::<bool>());
        (who, any::<u64>(), any::<u32>(), ended, ip(), any::<u32>(), any::<u64>()).prop_map(
            |((hash, id, key, port, ip), left, downloaded, (gone, cut_off), source, interval, at)| Sighting {
                announce: Announce {
                    info_hash: InfoHash(hash),
                    id: PeerId(id),
                    port,
                    ip,
                    uploaded: 0,
                    downloaded: downloaded.into(),
                    left,
                    event: gone.then_some(Event::Stopped),
                    numwant: Some(0),
                    compact: true,
                    no_peer_id: true,
                    key,
                },
                source,
                interval,
                at,
                cut_off,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sightings in prop::collection::vec(sighting(), 0..5), sender in any::<u64>()) {
            let bytes = write(Sender(sender), &sightings);
            prop_assert_eq!(bytes.len(), 8 + sightings.len() * LENGTH);
            prop_assert_eq!(read(&bytes), Some((Sender(sender), sightings)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(read(&bytes).is_some(), bytes.len() >= 8 && (bytes.len() - 8).is_multiple_of(LENGTH));
        }

        #[test]
        fn from_outside_only_the_loopback_moves(sighting in sighting(), outside in any::<IpAddr>()) {
            let seen = sighting.clone().seen_from_outside(Some(outside));
            let source = if sighting.source.is_loopback() { outside } else { sighting.source };
            prop_assert_eq!(seen.source, source);
            prop_assert_eq!(sighting.clone().seen_from_outside(None), sighting);
        }
    }
}
