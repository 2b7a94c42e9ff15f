//! Under which addresses other machines reach this one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use if_addrs::IfAddr;

use super::network::{Network, Networks};

/// The address from which this machine would speak to the outside, IPv4 first; None without a network.
///
/// The system's routing table answers: a UDP socket is connected to a documentation address (RFC 5737, RFC 3849), which
/// sends nothing.
fn own_address() -> Option<IpAddr> {
    let v4 = Ipv4Addr::new(192, 0, 2, 1).into();
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into();
    [v4, v6].into_iter().find_map(|far| own_address_towards(SocketAddr::new(far, 9)))
}

/// The address of this machine that others most likely reach; also where it has no way out of its own network.
pub fn likeliest_address() -> Option<IpAddr> {
    own_addresses().into_iter().next()
}

/// All addresses of this machine that others may reach, the likeliest first: that of [`own_address`], then IPv4 before
/// IPv6, and bridges to containers and virtual machines on this machine last.
pub fn own_addresses() -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        log::warn!("the addresses of this machine are not known: {error}");
        Vec::new()
    });
    let found = found.into_iter().map(|interface| (interface.name.clone(), interface.ip()));
    ordered(own_address(), found.collect())
}

fn ordered(first: Option<IpAddr>, mut found: Vec<(String, IpAddr)>) -> Vec<IpAddr> {
    found.retain(|(_, ip)| is_reachable(*ip));
    found.sort_by_key(|(name, ip)| (is_bridge(name), ip.is_ipv6()));
    let mut all: Vec<IpAddr> = first.into_iter().collect();
    for (_, ip) in found {
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    all
}

fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        // A link-local one is of no use without its interface.
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    }
}

/// As Docker, libvirt and their like call theirs.
fn is_bridge(name: &str) -> bool {
    ["docker", "br-", "veth", "virbr", "lxc", "cni"].iter().any(|start| name.starts_with(start))
}

/// The networks that this machine is on now, tunnels and its own loopback among them.
pub fn own_networks() -> Networks {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        log::debug!("the networks of this machine are not known: {error}");
        Vec::new()
    });
    let network = |addr: IfAddr| match addr {
        IfAddr::V4(v4) => Network { ip: v4.ip.into(), prefix: v4.prefixlen },
        IfAddr::V6(v6) => Network { ip: v6.ip.into(), prefix: v6.prefixlen },
    };
    Networks::new(found.into_iter().map(|interface| network(interface.addr)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_address_is_first_and_bridges_are_last() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let found = [
            ("lo", "127.0.0.1"),
            ("docker0", "172.17.0.1"),
            ("eth0", "fe80::1"),
            ("eth1", "2001:db8::1"),
            ("eth0", "10.0.0.1"),
            ("eth2", "10.0.1.1"),
        ];
        let found = found.map(|(name, text)| (name.to_owned(), ip(text))).to_vec();
        let expected = ["10.0.1.1", "10.0.0.1", "2001:db8::1", "172.17.0.1"].map(ip);
        assert_eq!(ordered(Some(ip("10.0.1.1")), found), expected);
        assert!(ordered(None, Vec::new()).is_empty());
    }
}
