//! Under which address a member is shown to whom.
//!
//! The source address of a member's own connection is believed, with the announced port. An address that a member names
//! could be a victim's: it counts only over its live link (an announce's `ip=` is taken out before, see
//! [`without_claims`](super::super::Desk::without_claims)), and only where both it and the source are private, so that
//! no packet leaves for the public network because of it. Even then it takes the address from nobody who was seen there,
//! and the conductor dials it only where it knows that the member is on that network: see [`Basis`].

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::member::Basis;
use crate::{
    announce::Announce,
    net::{
        network::Networks,
        range::{Range, range},
    },
};

/// Somebody who asks: both ends of the connection that the question came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Where it came from, IPv4 never in the `::ffff:` form.
    pub source: IpAddr,
    /// The address of this machine that it reached.
    pub reached: IpAddr,
    /// It keeps a live link, over which the question came.
    pub linked: bool,
}

impl Caller {
    /// Makes `::ffff:` forms plain.
    pub fn new(source: IpAddr, reached: IpAddr) -> Self {
        Self { source: source.to_canonical(), reached: reached.to_canonical(), linked: false }
    }
}

/// Where a member is taken to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    pub address: SocketAddr,
    pub basis: Basis,
}

impl Home {
    /// Where a member that announces was seen, or where it says, if that is believed. `networks` gives those that this
    /// machine is on; it is called only if the member names another address.
    pub fn of<N: core::ops::Deref<Target = Networks>>(
        announce: &Announce,
        caller: &Caller,
        networks: impl FnOnce() -> N,
    ) -> Self {
        let named = announce.ip.map(|ip| ip.to_canonical()).filter(|ip| *ip != caller.source);
        match named.filter(|ip| is_believed(*ip, caller.source)) {
            None => {
                let basis = if caller.linked { Basis::Held } else { Basis::Seen };
                Self { address: SocketAddr::new(caller.source, announce.port), basis }
            }
            Some(named) => {
                let basis =
                    if is_on_its_network(named, caller.source, &networks()) { Basis::Beside } else { Basis::Claimed };
                Self { address: SocketAddr::new(named, announce.port), basis }
            }
        }
    }
}

/// Whether this conductor knows that a machine seen at `seen` is on the network of the named address too: both are on one
/// that the conductor is on, or the machine is and names one of the conductor's own addresses, as a container does.
fn is_on_its_network(named: IpAddr, seen: IpAddr, networks: &Networks) -> bool {
    networks.join(named, seen) || networks.is_own(named) && networks.contains(seen)
}

/// Only a machine that is here can mean itself by a loopback address.
fn is_believed(named: IpAddr, seen: IpAddr) -> bool {
    let here = named.is_loopback() && seen.is_loopback();
    here || is_private(named) && !is_link_local_v6(named) && (is_private(seen) || seen.is_loopback())
}

/// The address at which this asker can dial a member that was seen at `member`; None where it cannot.
///
/// - A member on the conductor's own machine (loopback) is shown to others at the address at which they reached the
///   conductor.
/// - A private address is shown to loopback and private askers alone.
/// - Never shown: port 0, addresses that name no single machine, and IPv6 link-local ones, which mean nothing without
///   the interface.
pub fn shown(member: SocketAddr, asker: &Caller) -> Option<SocketAddr> {
    let ip = member.ip();
    if member.port() == 0 || ip.is_unspecified() || ip.is_multicast() || is_link_local_v6(ip) {
        return None;
    }
    let near = asker.source.is_loopback();
    if ip.is_loopback() && !near {
        return Some(SocketAddr::new(asker.reached, member.port()));
    }
    (near || !is_private(ip) || is_private(asker.source)).then_some(member)
}

/// Whether this address means something inside a private network alone.
pub fn is_private(ip: IpAddr) -> bool {
    range(ip) == Range::Site
}

fn is_link_local_v6(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if Ipv6Addr::is_unicast_link_local(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::network::Network;

    fn seen(member: &str, source: &str, reached: &str) -> Option<String> {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let asker = Caller::new(ip(source), ip(reached));
        shown(member.parse().unwrap(), &asker).map(|address| address.to_string())
    }

    #[test]
    fn loopback_becomes_the_address_that_the_asker_reached() {
        let lan = ("192.168.0.7", "192.168.0.1");
        let seed = seen("127.0.0.1:7", lan.0, lan.1);
        assert_eq!(seed.as_deref(), Some("192.168.0.1:7"));
        let seed = seen("[::1]:7", "2001:db8::7", "2001:db8::1");
        assert_eq!(seed.as_deref(), Some("[2001:db8::1]:7"));
        let seed = seen("127.0.0.2:7", "127.0.0.3", "127.0.0.1");
        assert_eq!(seed.as_deref(), Some("127.0.0.2:7"));
        let seed = seen("127.0.0.2:7", "::ffff:127.0.0.3", "::ffff:127.0.0.1");
        assert_eq!(seed.as_deref(), Some("127.0.0.2:7"));
    }

    #[test]
    fn private_stays_among_private() {
        for private in ["10.0.0.1:7", "172.16.0.1:7", "100.64.0.1:7", "[fd00::1]:7"] {
            assert_eq!(seen(private, "192.168.0.7", "192.168.0.1").as_deref(), Some(private));
            assert_eq!(seen(private, "127.0.0.1", "127.0.0.1").as_deref(), Some(private));
            assert_eq!(seen(private, "8.8.8.8", "9.9.9.9"), None);
        }
        assert!(seen("8.8.8.8:7", "192.168.0.7", "192.168.0.1").is_some());
        assert!(seen("8.8.8.8:7", "9.9.9.9", "1.1.1.1").is_some());
    }

    #[test]
    fn a_named_address_is_believed_among_private_ones_alone() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let on = |text: &str, prefix| Network { ip: ip(text), prefix };
        let networks = Networks::new(vec![on("127.0.0.1", 8), on("10.0.0.9", 24), on("172.17.0.1", 16)]);
        for (seen, named, home, basis) in [
            ("10.0.0.1", "10.0.0.7", "10.0.0.7", Basis::Beside),
            ("172.17.0.2", "10.0.0.9", "10.0.0.9", Basis::Beside),
            ("127.0.0.1", "127.0.0.2", "127.0.0.2", Basis::Beside),
            ("127.0.0.1", "10.0.0.9", "10.0.0.9", Basis::Beside),
            ("172.17.0.2", "10.0.0.7", "10.0.0.7", Basis::Claimed),
            ("127.0.0.1", "10.0.0.1", "10.0.0.1", Basis::Claimed),
            ("10.0.0.1", "192.168.0.1", "192.168.0.1", Basis::Claimed),
            ("10.1.0.1", "10.1.0.2", "10.1.0.2", Basis::Claimed),
            ("10.1.0.1", "10.0.0.9", "10.0.0.9", Basis::Claimed),
            ("169.254.0.1", "::ffff:10.0.0.1", "10.0.0.1", Basis::Claimed),
            ("10.0.0.1", "fd00::1", "fd00::1", Basis::Claimed),
            ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1", Basis::Seen),
            ("10.0.0.1", "8.8.8.8", "10.0.0.1", Basis::Seen),
            ("8.8.8.8", "10.0.0.1", "8.8.8.8", Basis::Seen),
            ("8.8.8.8", "9.9.9.9", "8.8.8.8", Basis::Seen),
            ("10.0.0.1", "127.0.0.1", "10.0.0.1", Basis::Seen),
            ("fd00::1", "fe80::1", "fd00::1", Basis::Seen),
            ("10.0.0.1", "0.0.0.0", "10.0.0.1", Basis::Seen),
            ("10.0.0.1", "224.0.0.1", "10.0.0.1", Basis::Seen),
        ] {
            let announce = Announce { ip: Some(ip(named)), ..announce() };
            let caller = Caller::new(ip(seen), ip("10.0.0.9"));
            let expected = Home { address: SocketAddr::new(ip(home), 7), basis };
            assert_eq!(Home::of(&announce, &caller, || &networks), expected, "{named} seen at {seen}");
        }
    }

    fn announce() -> Announce {
        let query = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7";
        crate::announce::http_request::read_announce(query.as_bytes()).unwrap()
    }

    #[test]
    fn what_nobody_can_dial_is_not_shown() {
        for member in ["10.0.0.1:0", "0.0.0.0:7", "224.0.0.1:7", "[fe80::1]:7"] {
            assert_eq!(seen(member, "127.0.0.1", "127.0.0.1"), None, "{member}");
        }
    }
}
