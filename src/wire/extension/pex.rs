//! Peer exchange (BEP 11): which members the sender has met since it last said so, and which it has lost.
//!
//! What is written names each address once, with one byte of flags for each in `added.f`: libtorrent throws away a list
//! whose flags are fewer or more. What is read may lack flags, or have too few: those not there count as none.
//!
//! What it costs an attacker: of a message at most [`MOST_READ`] addresses of each list are read.

use core::net::SocketAddr;

use crate::{
    metainfo::bencode::{self, Dict, Value, write_bytes},
    wire::compact,
};

/// Addresses in each list that one message may have (BEP 11; a sender's first message may have more).
pub const MOST: usize = 50;
/// Addresses of each list and IP version that are read.
const MOST_READ: usize = 100;

/// It has everything, or at least wants nothing.
pub const SEED: u8 = 0x02;
/// Somebody connected to it there: it can be reached.
pub const REACHABLE: u8 = 0x10;

/// A member that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Where it listens.
    pub address: SocketAddr,
    /// [`SEED`], [`REACHABLE`] and what others have besides.
    pub flags: u8,
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    pub added: Vec<Added>,
    pub dropped: Vec<SocketAddr>,
}

/// It is no bencoded dictionary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its peer exchange is no bencoded dictionary")]
pub struct Malformed;

impl Exchange {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }

    /// As the payload behind the extension's number. Lists of an IP version without addresses are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        for (key, v4) in [("added", true), ("added6", false)] {
            let these = || self.added.iter().filter(move |added| added.address.is_ipv4() == v4);
            list(key, these().map(|added| added.address), &mut out);
            let flags: Vec<u8> = these().map(|added| added.flags).collect();
            if !flags.is_empty() {
                write_bytes(&mut out, format!("{key}.f").as_bytes());
                write_bytes(&mut out, &flags);
            }
        }
        for (key, v4) in [("dropped", true), ("dropped6", false)] {
            list(key, self.dropped.iter().copied().filter(|address| address.is_ipv4() == v4), &mut out);
        }
        out.push(b'e');
        out
    }

    /// # Errors
    /// Only where the whole is no dictionary; a list of a foreign type counts as empty, and so does the rest of one
    /// that ends in the middle of an address.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let (value, _) = bencode::parse_prefix(payload).map_err(|_| Malformed)?;
        let dict = value.as_dict().ok_or(Malformed)?;
        let mut exchange = Self::default();
        for (key, v4) in [("added", true), ("added6", false)] {
            let flags = bytes(&dict, &format!("{key}.f"));
            let flags = flags.iter().copied().chain(core::iter::repeat(0));
            let addresses = addresses(bytes(&dict, key), v4);
            exchange.added.extend(addresses.zip(flags).map(|(address, flags)| Added { address, flags }));
        }
        for (key, v4) in [("dropped", true), ("dropped6", false)] {
            exchange.dropped.extend(addresses(bytes(&dict, key), v4));
        }
        Ok(exchange)
    }
}

fn list(key: &str, addresses: impl Iterator<Item = SocketAddr>, out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    for address in addresses {
        compact::write(address, &mut bytes);
    }
    if !bytes.is_empty() {
        write_bytes(out, key.as_bytes());
        write_bytes(out, &bytes);
    }
}

fn bytes<'a>(dict: &Dict<'a>, key: &str) -> &'a [u8] {
    dict.get(key).and_then(Value::as_bytes).unwrap_or_default()
}

fn addresses(bytes: &[u8], v4: bool) -> impl Iterator<Item = SocketAddr> {
    bytes.chunks_exact(if v4 { 6 } else { 18 }).take(MOST_READ).filter_map(compact::read)
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    fn any_exchange() -> impl Strategy<Value = Exchange> {
        let added = any_address().prop_flat_map(|address| any::<u8>().prop_map(move |flags| Added { address, flags }));
        (vec(added, 0..MOST), vec(any_address(), 0..MOST)).prop_map(|(mut added, mut dropped)| {
            // As it is read: IPv4 first.
            added.sort_by_key(|added| added.address.is_ipv6());
            dropped.sort_by_key(SocketAddr::is_ipv6);
            Exchange { added, dropped }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(exchange in any_exchange()) {
            prop_assert_eq!(Exchange::decode(&exchange.encode()), Ok(exchange));
        }

        #[test]
        fn broken_bytes_never_panic(exchange in any_exchange(), at: prop::sample::Index, byte: u8) {
            let mut bytes = exchange.encode();
            for end in 0..bytes.len() {
                prop_assert_eq!(Exchange::decode(&bytes[..end]), Err(Malformed));
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Exchange::decode(&bytes);
        }
    }

    #[test]
    fn every_address_has_its_flags() {
        let added = |text: &str, flags| Added { address: text.parse().unwrap(), flags };
        let exchange = Exchange {
            added: vec![added("1.2.3.4:258", SEED), added("[::1]:1", REACHABLE)],
            dropped: vec!["5.6.7.8:9".parse().unwrap()],
        };
        let expected = b"d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x026:added618:\
            \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x018:added6.f1:\x107:dropped6:\x05\x06\x07\x08\0\x09e";
        assert_eq!(exchange.encode(), expected);
        assert_eq!(Exchange::default().encode(), b"de");
    }

    #[test]
    fn what_is_odd_counts_as_not_there() {
        let no_flags = Exchange::decode(b"d5:added6:\x01\x02\x03\x04\0\x05e").unwrap();
        assert_eq!(no_flags.added, [Added { address: "1.2.3.4:5".parse().unwrap(), flags: 0 }]);
        let odd = Exchange::decode(b"d5:addedi5e6:added63:abc7:dropped7:\x01\x02\x03\x04\0\x05xe").unwrap();
        assert_eq!(odd, Exchange { added: vec![], dropped: vec!["1.2.3.4:5".parse().unwrap()] });
        assert_eq!(Exchange::decode(b"le"), Err(Malformed));
    }

    #[test]
    fn a_long_list_is_cut() {
        let address = SocketAddr::from(([1, 2, 3, 4], 5));
        let exchange = Exchange { added: vec![Added { address, flags: 0 }; 1000], dropped: vec![address; 1000] };
        let read = Exchange::decode(&exchange.encode()).unwrap();
        assert_eq!((read.added.len(), read.dropped.len()), (MOST_READ, MOST_READ));
    }
}
