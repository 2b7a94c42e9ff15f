//! Under which address other machines most likely reach this one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address from which this machine would speak to the outside, IPv4 first; None without a network.
///
/// The system's routing table answers: a UDP socket is connected to a documentation address (RFC 5737, RFC 3849), which
/// sends nothing.
pub fn own_address() -> Option<IpAddr> {
    let v4 = Ipv4Addr::new(192, 0, 2, 1).into();
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into();
    [v4, v6].into_iter().find_map(|far| own_address_towards(SocketAddr::new(far, 9)))
}

/// The address from which this machine would speak to that one; None where that is this machine, or out of reach.
pub fn own_address_towards(far: SocketAddr) -> Option<IpAddr> {
    let any = match far.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(far).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified() && !own.is_loopback()).then_some(own)
}
