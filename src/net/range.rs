//! From how far away an address can be reached, which says who may be told of it and who may be believed.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// From how far away an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Range {
    /// On the same machine alone.
    Machine,
    /// In the same network, or one nearby.
    Site,
    World,
}

/// How far that is for this address.
pub fn range(ip: IpAddr) -> Range {
    match ip.to_canonical() {
        // What is sent to no address arrives here.
        ip if ip.is_loopback() || ip.is_unspecified() => Range::Machine,
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // 100.64.0.0/10, between a provider and its customers (RFC 6598); some overlay networks use it too.
            let shared = a == 100 && b & 0xc0 == 64;
            match a {
                0 => Range::Machine,
                _ if ip.is_private() || ip.is_link_local() || shared => Range::Site,
                _ => Range::World,
            }
        }
        IpAddr::V6(ip) => match within(ip) {
            Some(inner) => range(inner.into()),
            None if ip.is_unique_local() || ip.is_unicast_link_local() => Range::Site,
            None => Range::World,
        },
    }
}

/// The IPv4 address that packets to this one are sent to by translators (NAT64, RFC 6052) and tunnels (6to4, RFC 3056).
fn within(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, [b, c, d, e, f]) {
        (0x64, [0xff9b, 0, 0, 0, 0]) => Some(join(g, h)),
        (0x2002, _) => Some(join(b, c)),
        _ => None,
    }
}

/// Whether it is on this machine or at this site: no stranger of the internet.
pub fn is_near(ip: IpAddr) -> bool {
    range(ip) != Range::World
}

/// Whether two addresses may belong to one network, as far as that can be told: those of a site do not if they are of different
/// blocks of private addresses, such as a container's and its neighbour's.
pub fn are_beside(one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) if range(a.into()) == Range::Site && range(b.into()) == Range::Site => {
            a.octets()[0] == b.octets()[0]
        }
        _ => true,
    }
}

/// Whether the address means the same to us and to who is at `ip`, and may lead there: nobody far away can tell of a
/// machine inside our network, and none is of use to him. A link-local IPv6 address means nothing without the interface.
pub fn concerns(address: &SocketAddr, ip: IpAddr) -> bool {
    let local = matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local());
    !local && range(address.ip()) >= range(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_private_addresses_are_apart() {
        let beside = |a: &str, b: &str| are_beside(a.parse().unwrap(), b.parse().unwrap());
        assert!(beside("10.0.0.1", "10.9.9.9") && beside("8.8.8.8", "10.0.0.1") && beside("fd00::1", "10.0.0.1"));
        assert!(!beside("172.17.0.1", "10.0.0.1") && !beside("::ffff:192.168.0.1", "10.0.0.1"));
    }

    #[test]
    fn an_address_concerns_those_that_it_can_lead_to() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let (private, public, here) = (address("10.0.0.1:5"), address("8.8.8.8:5"), address("127.0.0.1:5"));
        let (ula, link) = (address("[fd00::1]:5"), address("[fe80::1]:5"));
        for (told, with, concerned) in [
            (private, public, false),
            (private, private, true),
            (public, private, true),
            (here, private, false),
            (here, here, true),
            (private, here, true),
            (ula, private, true),
            (ula, public, false),
            (link, link, false),
        ] {
            assert_eq!(concerns(&told, with.ip()), concerned, "{told} and {with}");
        }
        for told in
            ["[2002:a00:1::1]:5", "[64:ff9b::10.0.0.1]:5", "[2002:7f00:1::]:5", "0.0.0.0:5", "[::]:5", "0.1.2.3:5"]
        {
            assert!(!concerns(&address(told), public.ip()), "nobody far away knows what is near: {told}");
        }
        assert!(concerns(&address("[64:ff9b::9.9.9.9]:5"), public.ip()));
    }
}
