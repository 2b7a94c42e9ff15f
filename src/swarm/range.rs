//! From how far away an address can be reached, which says who may be told of it and who may be believed.

use core::net::{IpAddr, SocketAddr};

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
        ip if ip.is_loopback() => Range::Machine,
        IpAddr::V4(ip) => {
            // 100.64.0.0/10, between a provider and its customers (RFC 6598); some overlay networks use it too.
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            let near = ip.is_private() || ip.is_link_local() || shared;
            if near { Range::Site } else { Range::World }
        }
        IpAddr::V6(ip) => {
            let near = ip.is_unique_local() || ip.is_unicast_link_local();
            if near { Range::Site } else { Range::World }
        }
    }
}

/// Whether it is on this machine or at this site: no stranger of the internet.
pub fn is_near(ip: IpAddr) -> bool {
    range(ip) != Range::World
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
    }
}
