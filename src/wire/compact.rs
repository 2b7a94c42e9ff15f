//! An address in compact form: 4 or 16 bytes of IP and 2 of port (BEP 23, BEP 7), as trackers, the DHT and members list
//! each other.

use core::net::{IpAddr, SocketAddr};

/// None where it has not 6 or 18 bytes. It may lead nowhere.
pub fn read(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// None too where nobody can be; of an IPv4 address inside of an IPv6 one, the first.
pub fn read_usable(bytes: &[u8]) -> Option<SocketAddr> {
    let address = read(bytes)?;
    let ip = address.ip().to_canonical();
    let usable = address.port() > 0 && !ip.is_unspecified() && !ip.is_multicast();
    usable.then_some(SocketAddr::new(ip, address.port()))
}

pub fn write(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_that_nobody_can_have_is_none() {
        for bytes in [&[0; 6][..], &[10, 0, 0, 1, 0, 0], &[0, 0, 0, 0, 0, 9], &[239, 1, 1, 1, 0, 9], &[1; 7], &[1], &[]]
        {
            assert_eq!(read_usable(bytes), None, "{bytes:?}");
        }
        let mapped = |ip: [u8; 4]| [&[0; 10][..], &[0xff; 2], &ip, &[0, 1]].concat();
        assert_eq!(read_usable(&mapped([10, 0, 0, 1])), Some(SocketAddr::from(([10, 0, 0, 1], 1))));
        assert_eq!(read_usable(&mapped([0, 0, 0, 0])), None);
        assert_eq!(read_usable(&mapped([239, 0, 0, 1])), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ip: IpAddr, port: u16) {
            let mut bytes = Vec::new();
            write(SocketAddr::new(ip, port), &mut bytes);
            prop_assert_eq!(read(&bytes), Some(SocketAddr::new(ip, port)));
            for end in 0..bytes.len() {
                prop_assert!(end == 6 || read(&bytes[..end]).is_none());
            }
        }
    }
}
