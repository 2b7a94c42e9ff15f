//! Peer exchange (BEP 11): members tell each other of members.
//!
//! What it costs an attacker: a list is cut at [`MOST`] entries; whether to believe any of it is the swarm's affair.

use core::net::{IpAddr, SocketAddr};

use crate::metainfo::bencode::{self, Dict, Value, write_bytes};

/// Entries read from one message, at most.
pub const MOST: usize = 200;

/// What is known of a member that somebody tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// It wants nothing.
    pub const UPLOAD_ONLY: Self = Self(0x02);
    /// It can be dialled: the sender did.
    pub const REACHABLE: Self = Self(0x10);
}

/// One message of BEP 11.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pex {
    pub added: Vec<(SocketAddr, Flags)>,
    pub dropped: Vec<SocketAddr>,
}

/// It is no message of BEP 11.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its peer exchange message is no bencoded dictionary")]
pub struct Malformed;

impl Pex {
    /// As the payload behind the extension's number. libtorrent drops a list without a byte of flags for each entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        for (key, v6) in [("added", false), ("added6", true)] {
            let added = self.added.iter().filter(|(a, _)| a.is_ipv6() == v6);
            let (mut addresses, mut flags) = (Vec::new(), Vec::new());
            for (address, flag) in added {
                write_address(address, &mut addresses);
                flags.push(flag.0);
            }
            write_bytes(&mut out, key.as_bytes());
            write_bytes(&mut out, &addresses);
            write_bytes(&mut out, format!("{key}.f").as_bytes());
            write_bytes(&mut out, &flags);
        }
        for (key, v6) in [("dropped", false), ("dropped6", true)] {
            let mut addresses = Vec::new();
            for address in self.dropped.iter().filter(|a| a.is_ipv6() == v6) {
                write_address(address, &mut addresses);
            }
            write_bytes(&mut out, key.as_bytes());
            write_bytes(&mut out, &addresses);
        }
        out.push(b'e');
        out
    }

    /// # Errors
    /// Only where the whole is no dictionary; entries that are cut short are left out.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let (value, _) = bencode::parse_prefix(payload).map_err(|_| Malformed)?;
        let dict = value.as_dict().ok_or(Malformed)?;
        let mut pex = Self::default();
        for (key, key_of_flags, v6) in [("added", "added.f", false), ("added6", "added6.f", true)] {
            let flags = bytes(&dict, key_of_flags).iter().copied();
            let flags = flags.chain(std::iter::repeat(0)).map(Flags);
            pex.added.extend(addresses(bytes(&dict, key), v6).zip(flags));
        }
        for (key, v6) in [("dropped", false), ("dropped6", true)] {
            pex.dropped.extend(addresses(bytes(&dict, key), v6));
        }
        pex.added.truncate(MOST);
        pex.dropped.truncate(MOST);
        Ok(pex)
    }
}

fn bytes<'a>(dict: &Dict<'a>, key: &str) -> &'a [u8] {
    dict.get(key).and_then(Value::as_bytes).unwrap_or_default()
}

fn write_address(address: &SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// The first [`MOST`] addresses of 6 or 18 bytes each.
fn addresses(bytes: &[u8], v6: bool) -> impl Iterator<Item = SocketAddr> {
    bytes
        .chunks_exact(if v6 { 18 } else { 6 })
        .filter_map(|entry| {
            let (ip, port) = entry.split_last_chunk::<2>()?;
            let ip = match <[u8; 4]>::try_from(ip) {
                Ok(octets) => IpAddr::from(octets),
                Err(_) => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
            };
            Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
        })
        .take(MOST)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
    }

    prop_compose! {
        fn any_pex()(
            mut added in vec((any_address(), any::<u8>().prop_map(Flags)), 0..20),
            mut dropped in vec(any_address(), 0..20),
        ) -> Pex {
            // Version 4 goes first on the wire.
            added.sort_by_key(|(address, _)| address.is_ipv6());
            dropped.sort_by_key(SocketAddr::is_ipv6);
            Pex { added, dropped }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(pex in any_pex()) {
            prop_assert_eq!(Pex::decode(&pex.encode()), Ok(pex));
        }

        #[test]
        fn broken_bytes_never_panic(pex in any_pex(), at: prop::sample::Index, byte: u8) {
            let mut bytes = pex.encode();
            for end in 0..bytes.len() {
                prop_assert_eq!(Pex::decode(&bytes[..end]), Err(Malformed));
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Pex::decode(&bytes);
        }
    }

    #[test]
    fn a_list_without_flags_and_one_cut_short_are_read() {
        let pex = Pex::decode(b"d5:added9:\x01\x02\x03\x04\x00\x05abc7:droppedi1ee").unwrap();
        let address = SocketAddr::from(([1, 2, 3, 4], 5));
        assert_eq!(pex.added, [(address, Flags(0))]);
        assert!(pex.dropped.is_empty());
    }

    #[test]
    fn long_lists_are_cut() {
        let added = vec![(SocketAddr::from(([1, 2, 3, 4], 5)), Flags(0)); 10 * MOST];
        let pex = Pex { added, dropped: Vec::new() };
        assert_eq!(Pex::decode(&pex.encode()).unwrap().added.len(), MOST);
    }
}
