//! The 68 bytes that open every conversation (BEP 3), one form for both directions.
//!
//! What it costs an attacker: who does not say the first twenty bytes is known by the first wrong one, so that a
//! dialler that tries encryption first (Transmission, aria2) is let go at once and comes back in plain.

use crate::metainfo::InfoHash;

/// Who somebody says they are: 20 bytes, ours start with `-OC` (BEP 20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// What the ids of this version of the member start with.
    pub const OURS: [u8; 8] = *b"-OC0100-";

    /// An id for one run of a program: the same to everybody, since clients know by it that they meet twice.
    pub fn fresh(dice: &mut fastrand::Rng) -> Self {
        let mut id = [0; 20];
        dice.fill(&mut id);
        id[..8].copy_from_slice(&Self::OURS);
        Self(id)
    }

    /// Whether it says it is one of our own members, of whatever version.
    pub fn is_ours(&self) -> bool {
        self.0.starts_with(b"-OC")
    }
}

/// Length of a handshake in bytes.
pub const LENGTH: usize = 68;
/// So many bytes of a handshake name the swarm.
pub const UP_TO_INFO_HASH: usize = 48;

const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";

/// The first 68 bytes in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    pub info_hash: InfoHash,
    pub id: PeerId,
    /// It knows the extension protocol (BEP 10).
    pub extended: bool,
    /// It knows the fast extension (BEP 6).
    pub fast: bool,
    /// It runs a DHT node (BEP 5).
    pub dht: bool,
}

/// It does not speak the BitTorrent protocol (or tries to encrypt): close at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not speak the plain BitTorrent protocol")]
pub struct NotPlain;

impl Handshake {
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..20].copy_from_slice(&PROTOCOL);
        bytes[25] = if self.extended { 0x10 } else { 0 };
        bytes[27] = if self.fast { 0x04 } else { 0 } | u8::from(self.dht);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.id.0);
        bytes
    }

    /// From the first 68 bytes of `bytes`; None: need more.
    ///
    /// # Errors
    /// What is there of the first twenty bytes is not how BEP 3 starts; told at the first wrong byte.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, NotPlain> {
        let Some(info_hash) = info_hash(bytes)? else {
            return Ok(None);
        };
        let Some(id) = bytes.get(UP_TO_INFO_HASH..).and_then(|b| b.first_chunk()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            info_hash,
            id: PeerId(*id),
            extended: bytes[25] & 0x10 != 0,
            fast: bytes[27] & 0x04 != 0,
            dht: bytes[27] & 0x01 != 0,
        }))
    }
}

/// The swarm that a handshake names, known before the id behind it came; None: need more.
///
/// # Errors
/// As [`Handshake::decode`].
pub fn info_hash(bytes: &[u8]) -> Result<Option<InfoHash>, NotPlain> {
    if bytes.iter().zip(PROTOCOL).any(|(&is, ought)| is != ought) {
        return Err(NotPlain);
    }
    Ok(bytes.get(28..).and_then(|b| b.first_chunk()).map(|hash| InfoHash(*hash)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_handshake()(
            hash: [u8; 20], id: [u8; 20], extended: bool, fast: bool, dht: bool,
        ) -> Handshake {
            Handshake { info_hash: InfoHash(hash), id: PeerId(id), extended, fast, dht }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(handshake in any_handshake(), behind: Vec<u8>) {
            let mut bytes = handshake.encode().to_vec();
            for end in 0..LENGTH {
                prop_assert_eq!(Handshake::decode(&bytes[..end]), Ok(None));
                let named = info_hash(&bytes[..end]);
                let known = (end >= UP_TO_INFO_HASH).then_some(handshake.info_hash);
                prop_assert_eq!(named, Ok(known));
            }
            bytes.extend(behind);
            prop_assert_eq!(Handshake::decode(&bytes), Ok(Some(handshake)));
        }

        #[test]
        fn another_protocol_is_known_by_its_first_wrong_byte(at in 0..20usize, flip in 1..=255u8) {
            let mut bytes = PROTOCOL;
            bytes[at] ^= flip;
            prop_assert_eq!(Handshake::decode(&bytes[..=at]), Err(NotPlain));
            prop_assert_eq!(Handshake::decode(&bytes[..at]), Ok(None));
        }
    }

    #[test]
    fn ids_of_one_program_are_ours_and_differ() {
        let mut dice = fastrand::Rng::with_seed(1);
        let (a, b) = (PeerId::fresh(&mut dice), PeerId::fresh(&mut dice));
        assert!(a.is_ours() && b.is_ours() && a != b);
        assert!(!PeerId(*b"-TR4060-abcdefghijkl").is_ours());
    }
}
