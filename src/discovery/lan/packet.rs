//! One packet of local service discovery (BEP 14): "at the address that this comes from, and this port, somebody shares
//! this composition".
//!
//! What is written has the form that libtorrent, Transmission, aria2 and rqbit all read: they differ in how exact they
//! are about case, blanks and the order of lines. What is read may have any of these, and several info-hashes.
//!
//! What it costs an attacker: [`LONGEST`] bytes are read at most, in one pass.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::metainfo::InfoHash;

/// Where all listen, and the port of both groups.
pub const PORT: u16 = 6771;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
/// The multicast groups, IPv4 and IPv6.
pub const GROUPS: (Ipv4Addr, Ipv6Addr) = (GROUP_V4, GROUP_V6);

/// The longest packet that is read, in bytes.
pub const LONGEST: usize = 1400;
/// The longest cookie that is believed to be one, in bytes.
const LONGEST_COOKIE: usize = 64;

/// What the first line begins with; a version follows.
const SEARCH: &str = "BT-SEARCH * HTTP/1.";

/// What one packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The TCP port on which the sender listens.
    pub port: u16,
    /// What it shares; never empty.
    pub info_hashes: Vec<InfoHash>,
    /// Tells the sender from others at its address, and itself from others.
    pub cookie: Option<String>,
}

/// The packet for one composition, to be sent to the group of this IP version. `cookie` is to have eight decimal digits
/// at most: rqbit reads them as a decimal number, libtorrent as a hexadecimal one.
pub fn write(info_hash: InfoHash, port: u16, cookie: u32, v6: bool) -> Vec<u8> {
    // rqbit takes the host for an address and a port, and nothing else.
    let host = SocketAddr::new(if v6 { IpAddr::V6(GROUP_V6) } else { IpAddr::V4(GROUP_V4) }, PORT);
    format!("{SEARCH}1\r\nHost: {host}\r\nPort: {port}\r\nInfohash: {info_hash}\r\ncookie: {cookie}\r\n\r\n\r\n")
        .into_bytes()
}

/// What a packet says; None: it is none, or lacks a port or an info-hash.
pub fn read(packet: &[u8]) -> Option<Announce> {
    let text = core::str::from_utf8(packet.get(..packet.len().min(LONGEST))?).ok()?;
    let mut lines = text.lines();
    lines.next()?.strip_prefix(SEARCH)?;
    let mut announce = Announce { port: 0, info_hashes: Vec::new(), cookie: None };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("port") {
            announce.port = value.parse().ok()?;
        } else if name.eq_ignore_ascii_case("infohash") {
            announce.info_hashes.extend(value.parse::<InfoHash>());
        } else if name.eq_ignore_ascii_case("cookie") && value.len() <= LONGEST_COOKIE {
            announce.cookie = Some(value.to_owned());
        }
    }
    (announce.port != 0 && !announce.info_hashes.is_empty()).then_some(announce)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const HASH: InfoHash = InfoHash([0xab; 20]);

    fn announce(port: u16, cookie: Option<&str>) -> Option<Announce> {
        Some(Announce { port, info_hashes: vec![HASH], cookie: cookie.map(str::to_owned) })
    }

    #[test]
    fn a_packet_has_the_form_that_everybody_reads() {
        let v4 = "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 9998\r\nInfohash: \
            abababababababababababababababababababab\r\ncookie: 12345678\r\n\r\n\r\n";
        assert_eq!(String::from_utf8(write(HASH, 9998, 12_345_678, false)).unwrap(), v4);
        let v6 = String::from_utf8(write(HASH, 9998, 1, true)).unwrap();
        assert!(v6.contains("Host: [ff15::efc0:988f]:6771\r\n"), "{v6}");
    }

    #[test]
    fn others_write_it_in_their_own_way() {
        let hex = HASH.to_string().to_uppercase();
        let aria2 =
            format!("BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {hex}\r\n\r\n\r\n");
        assert_eq!(read(aria2.as_bytes()), announce(6881, None));
        let loose = format!("BT-SEARCH * HTTP/1.0\ninfohash:{hex}\ncookie: ab1 \nPORT:  1 \n");
        assert_eq!(read(loose.as_bytes()), announce(1, Some("ab1")));
        let two = format!("BT-SEARCH * HTTP/1.1\r\nPort: 5\r\nInfohash: {HASH}\r\nInfohash: {}\r\n", InfoHash([1; 20]));
        assert_eq!(read(two.as_bytes()).unwrap().info_hashes, [HASH, InfoHash([1; 20])]);
    }

    #[test]
    fn what_lacks_something_says_nothing() {
        for text in [
            format!("BT-SEARCH * HTTP/1.1\r\nInfohash: {HASH}\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: {HASH}\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\nInfohash: {HASH}\r\n"),
            format!("M-SEARCH * HTTP/1.1\r\nPort: 5\r\nInfohash: {HASH}\r\n"),
            "BT-SEARCH * HTTP/1.1\r\nPort: 5\r\nInfohash: abc\r\n".to_owned(),
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(hash: [u8; 20], port in 1u16.., cookie in 0..100_000_000u32, v6: bool) {
            let packet = write(InfoHash(hash), port, cookie, v6);
            let cookie = Some(cookie.to_string());
            prop_assert_eq!(read(&packet), Some(Announce { port, info_hashes: vec![InfoHash(hash)], cookie }));
        }

        #[test]
        fn broken_packets_never_panic(at: prop::sample::Index, byte: u8, end: prop::sample::Index, tail in vec(any::<u8>(), 0..2000)) {
            let mut packet = write(HASH, 9998, 5, false);
            let at = at.index(packet.len());
            packet[at] = byte;
            packet.truncate(end.index(packet.len()));
            let _ = read(&packet);
            packet.extend(tail);
            let _ = read(&packet);
        }
    }
}
