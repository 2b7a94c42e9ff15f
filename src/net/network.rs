//! The networks that a machine is on, as data: which addresses share one.
//!
//! Pure: [`own_networks`](super::own_address::own_networks) asks the system.

use core::net::IpAddr;

/// One address of a machine, and how many of its first bits all addresses of its network have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub ip: IpAddr,
    pub prefix: u8,
}

impl Network {
    /// Whether this address is on the network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(here), IpAddr::V4(there)) => {
                let apart = u32::from(here) ^ u32::from(there);
                apart.checked_shr(32 - u32::from(self.prefix.min(32))).unwrap_or(0) == 0
            }
            (IpAddr::V6(here), IpAddr::V6(there)) => {
                let apart = u128::from(here) ^ u128::from(there);
                apart.checked_shr(128 - u32::from(self.prefix.min(128))).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// All networks of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether the machine is on the network of this address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }

    /// Whether one of the networks has both addresses.
    pub fn join(&self, one: IpAddr, other: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(one) && network.contains(other))
    }

    /// Whether this is an address of the machine itself.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.ip == ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_share_a_network_up_to_its_prefix() {
        let network = |here: &str, prefix| Network { ip: ip(here), prefix };
        let networks = Networks::new(vec![network("10.0.1.5", 24), network("fd00::5", 64), network("10.9.0.1", 32)]);
        assert!(networks.join(ip("10.0.1.5"), ip("10.0.1.200")) && networks.join(ip("fd00::1"), ip("fd00::2")));
        assert!(!networks.join(ip("10.0.1.5"), ip("10.0.2.5")) && !networks.join(ip("10.0.1.5"), ip("fd00::5")));
        assert!(networks.contains(ip("10.9.0.1")) && !networks.contains(ip("10.9.0.2")));
        assert!(networks.is_own(ip("10.0.1.5")) && !networks.is_own(ip("10.0.1.6")));
        assert!(Networks::new(vec![network("10.0.0.1", 0)]).join(ip("1.2.3.4"), ip("8.8.8.8")));
    }
}
