//! The local networks of this machine, and the sockets that speak and listen on all of them.
//!
//! The port is shared with every other program that looks for members (`SO_REUSEADDR` and, for those that know only that,
//! `SO_REUSEPORT`): what is sent to a group or to all reaches each of them. Networks come and go; [`Sockets::refresh`]
//! follows them.
//!
//! What it costs an attacker: the port is open to the world, but only who is on one of our networks is heard.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::{Context, Poll, ready},
};

use if_addrs::{IfAddr, Interface};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::{io::ReadBuf, net::UdpSocket};

use super::packet::{GROUPS, PORT};
use crate::net::{network, via::Via};

/// One address of this machine, and the network around it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Network {
    interface: String,
    index: u32,
    ip: IpAddr,
    /// Bits that all addresses of the network have in common.
    prefix: u8,
    /// The address that reaches all on it.
    broadcast: Option<Ipv4Addr>,
    /// It leads to one other machine, as a VPN does.
    tunnel: bool,
}

impl From<Interface> for Network {
    fn from(found: Interface) -> Self {
        let (ip, prefix, broadcast) = match found.addr {
            IfAddr::V4(v4) => (v4.ip.into(), v4.prefixlen, v4.broadcast),
            IfAddr::V6(v6) => (v6.ip.into(), v6.prefixlen, None),
        };
        Self { interface: found.name, index: found.index.unwrap_or(0), ip, prefix, broadcast, tunnel: found.is_p2p }
    }
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        network::Network { ip: self.ip, prefix: self.prefix }.contains(ip)
    }
}

/// Those that may be used. Not this machine by itself, unless it has no network or is all that is listened on; not a
/// tunnel, unless it is named.
fn usable(all: Vec<Network>, via: &Via) -> Vec<Network> {
    let inside = via.address.is_some_and(|ip| ip.is_loopback());
    let named = |n: &Network| match &via.interface {
        Some(name) => n.interface == *name,
        None => !n.tunnel,
    };
    let at = |n: &Network| via.address.is_none_or(|ip| n.ip == ip || (inside && n.contains(ip)));
    let (alone, networks): (Vec<_>, Vec<_>) =
        all.into_iter().filter(|n| named(n) && at(n)).partition(|n| n.ip.is_loopback());
    match networks.is_empty() {
        true => alone,
        false => networks,
    }
}

/// Which addresses are on a network that this machine is on.
pub struct Near(Vec<Network>);

impl Near {
    /// As it is now, through `via`.
    pub fn of(via: &Via) -> Self {
        let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            log::debug!("the network interfaces of this machine are not told: {error}");
            Vec::new()
        });
        Self(usable(found.into_iter().map(Network::from).collect(), via))
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip.to_canonical()))
    }
}

/// What speaks to all local networks and hears them.
pub struct Sockets {
    via: Via,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    networks: Vec<Network>,
}

impl Sockets {
    /// One socket an IP version; none for one that this machine does not have, or that `via` is not about. To be called
    /// inside a tokio runtime.
    pub fn open(via: Via) -> Self {
        let wanted = |v4: bool| via.address.is_none_or(|ip| ip.is_ipv4() == v4);
        let open = |any: IpAddr| {
            let bound = bind(SocketAddr::new(any, PORT), &via).or_else(|error| {
                log::warn!("announces on the local network are not heard: UDP port {PORT} cannot be had: {error}");
                bind(SocketAddr::new(any, 0), &via)
            });
            bound.inspect_err(|error| log::debug!("no announces on the local network from {any}: {error}")).ok()
        };
        let v4 = wanted(true).then(|| open(Ipv4Addr::UNSPECIFIED.into())).flatten();
        let v6 = wanted(false).then(|| open(Ipv6Addr::UNSPECIFIED.into())).flatten();
        Self { v4, v6, networks: Vec::new(), via }
    }

    /// Looks which networks there are now. True: there are new ones.
    pub fn refresh(&mut self) -> bool {
        let found = match if_addrs::get_if_addrs() {
            Ok(found) => usable(found.into_iter().map(Network::from).collect(), &self.via),
            Err(error) => {
                log::debug!("the network interfaces of this machine are not told: {error}");
                return false;
            }
        };
        let new: Vec<_> = found.iter().filter(|network| !self.networks.contains(network)).cloned().collect();
        self.networks = found;
        for network in &new {
            log::debug!("members are looked for on {} as {}", network.interface, network.ip);
            if let Err(error) = self.join(network) {
                // An address more on an interface that was joined before.
                let known = error.kind() == io::ErrorKind::AddrInUse;
                log::log!(if known { log::Level::Trace } else { log::Level::Debug }, "{}: {error}", network.interface);
            }
        }
        !new.is_empty()
    }

    fn join(&self, network: &Network) -> io::Result<()> {
        match (network.ip, &self.v4, &self.v6) {
            (IpAddr::V4(_), Some(socket), _) => {
                let interface = InterfaceIndexOrAddress::Index(network.index);
                SockRef::from(socket).join_multicast_v4_n(&GROUPS.0, &interface)
            }
            (IpAddr::V6(_), _, Some(socket)) => SockRef::from(socket).join_multicast_v6(&GROUPS.1, network.index),
            _ => Ok(()),
        }
    }

    /// Sends this, as it is for IPv4 and for IPv6, to all on every network.
    pub fn send(&self, v4: &[u8], v6: &[u8]) {
        let mut spoken: Vec<u32> = Vec::new();
        for network in &self.networks {
            let sent = match (network.ip, &self.v4, &self.v6) {
                (IpAddr::V4(ip), Some(socket), _) => to_all_v4(socket, ip, network.broadcast, v4),
                (IpAddr::V6(_), _, Some(socket)) if !spoken.contains(&network.index) => {
                    spoken.push(network.index);
                    to_all_v6(socket, network.index, v6)
                }
                _ => Ok(()),
            };
            if let Err(error) = sent {
                log::debug!("not announced on {} as {}: {error}", network.interface, network.ip);
            }
        }
    }

    /// The next packet that comes from one of our networks. It waits for ever where nothing can be heard.
    pub async fn receive(&self, packet: &mut [u8]) -> (usize, SocketAddr) {
        std::future::poll_fn(|context| {
            let v4 = self.poll(self.v4.as_ref(), packet, context);
            if v4.is_ready() { v4 } else { self.poll(self.v6.as_ref(), packet, context) }
        })
        .await
    }

    fn poll(
        &self,
        socket: Option<&UdpSocket>,
        packet: &mut [u8],
        context: &mut Context<'_>,
    ) -> Poll<(usize, SocketAddr)> {
        let Some(socket) = socket else { return Poll::Pending };
        loop {
            let mut buffer = ReadBuf::new(packet);
            match ready!(socket.poll_recv_from(context, &mut buffer)) {
                Ok(from) if self.is_near(from.ip()) => return Poll::Ready((buffer.filled().len(), from)),
                // An error is about a packet that was sent before.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn is_near(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }
}

fn bind(address: SocketAddr, via: &Via) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    via.restrict(&socket)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(1)?;
        socket.set_multicast_loop_v6(true)?;
    } else {
        socket.set_broadcast(true)?;
        socket.set_multicast_ttl_v4(1)?;
        socket.set_multicast_loop_v4(true)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// To the group, and to all besides: there are access points and switches that carry only one of the two.
fn to_all_v4(socket: &UdpSocket, from: Ipv4Addr, broadcast: Option<Ipv4Addr>, packet: &[u8]) -> io::Result<()> {
    // Not through tokio, which would not know yet that a new socket can be written to.
    let socket = SockRef::from(socket);
    socket.set_multicast_if_v4(&from)?;
    let send = |to: Ipv4Addr| socket.send_to(packet, &SocketAddr::from((to, PORT)).into()).map(drop);
    let group = send(GROUPS.0);
    broadcast.map_or(Ok(()), send).and(group)
}

fn to_all_v6(socket: &UdpSocket, index: u32, packet: &[u8]) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_multicast_if_v6(index)?;
    socket.send_to(packet, &SocketAddr::from((GROUPS.1, PORT)).into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(interface: &str, ip: &str, prefix: u8) -> Network {
        let (ip, tunnel) = (ip.parse().unwrap(), interface == "tun0");
        Network { interface: interface.to_owned(), index: 1, ip, prefix, broadcast: None, tunnel }
    }

    fn all() -> Vec<Network> {
        vec![
            network("lo", "127.0.0.1", 8),
            network("eth0", "10.0.0.5", 24),
            network("eth0", "fd00::5", 64),
            network("wlan0", "192.168.1.5", 24),
            network("tun0", "10.8.0.2", 32),
        ]
    }

    fn used(all: Vec<Network>, address: Option<&str>, interface: Option<&str>) -> Vec<String> {
        let via = Via { address: address.map(|ip| ip.parse().unwrap()), interface: interface.map(str::to_owned) };
        usable(all, &via).into_iter().map(|network| network.ip.to_string()).collect()
    }

    #[test]
    fn every_network_is_used_but_this_machine_and_tunnels() {
        assert_eq!(used(all(), None, None), ["10.0.0.5", "fd00::5", "192.168.1.5"]);
        assert_eq!(used(vec![network("lo", "127.0.0.1", 8)], None, None), ["127.0.0.1"]);
    }

    #[test]
    fn what_is_named_is_used_alone() {
        assert_eq!(used(all(), None, Some("eth0")), ["10.0.0.5", "fd00::5"]);
        assert_eq!(used(all(), None, Some("tun0")), ["10.8.0.2"]);
        assert_eq!(used(all(), Some("192.168.1.5"), None), ["192.168.1.5"]);
        assert_eq!(used(all(), Some("127.0.0.3"), None), ["127.0.0.1"]);
        assert!(used(all(), Some("10.0.0.6"), None).is_empty());
    }

    #[test]
    fn a_network_ends_where_its_prefix_says() {
        let contains = |n: Network, ip: &str| n.contains(ip.parse().unwrap());
        assert!(contains(network("e", "10.0.0.5", 24), "10.0.0.255"));
        assert!(!contains(network("e", "10.0.0.5", 24), "10.0.1.5"));
        assert!(contains(network("e", "10.0.0.5", 0), "192.0.2.1"));
        assert!(!contains(network("e", "10.0.0.5", 32), "10.0.0.4"));
        assert!(contains(network("e", "fe80::1", 64), "fe80::2"));
        assert!(!contains(network("e", "fe80::1", 64), "fd00::2"));
        assert!(!contains(network("e", "fe80::1", 64), "10.0.0.1"));
    }
}
