//! Which of the addresses that a conductor tells are dialled.
//!
//! What it costs an attacker: a conductor, and whoever names addresses to one, may be anybody. An address inside a private
//! network is dialled only if the conductor is in such a network itself or this machine is on the network of that address;
//! one that its member only named, on a network where it was not seen, only in the latter case. So nobody far away has a
//! member dial its own loopback or its neighbours' machines, save those that are on one network with it.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::Instant;

use crate::net::{
    network::Networks,
    own_address::own_networks,
    range::{Range, concerns, range},
};

/// How long it is remembered which networks this machine is on.
const NETWORKS_LIFETIME: Duration = Duration::from_secs(10);

/// Knows the networks of this machine.
#[derive(Debug, Default)]
pub struct Dialable {
    networks: Option<(Networks, Instant)>,
}

impl Dialable {
    /// Leaves those of the addresses that may be dialled, told by a conductor at `conductor`; of `named` their members say
    /// so alone.
    pub fn of(&mut self, mut told: Vec<SocketAddr>, named: &[SocketAddr], conductor: IpAddr) -> Vec<SocketAddr> {
        let canonical = |address: &SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let named: HashSet<SocketAddr> = named.iter().map(canonical).collect();
        told.iter_mut().for_each(|address| *address = canonical(address));
        told.retain(|address| {
            let seen = !named.contains(address) && concerns(address, conductor);
            seen || self.is_on_my_network(address.ip(), conductor)
        });
        told
    }

    fn is_on_my_network(&mut self, ip: IpAddr, conductor: IpAddr) -> bool {
        match range(ip) {
            // Only a conductor on this machine can mean it.
            Range::Machine => range(conductor) == Range::Machine,
            Range::Site | Range::World => self.networks().contains(ip),
        }
    }

    fn networks(&mut self) -> &Networks {
        let now = Instant::now();
        if self.networks.as_ref().is_none_or(|(_, since)| now.duration_since(*since) >= NETWORKS_LIFETIME) {
            self.networks = None;
        }
        &self.networks.get_or_insert_with(|| (own_networks(), now)).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::network::Network;

    fn dialled(told: &[&str], named: &[&str], conductor: &str) -> Vec<String> {
        let on = |ip: &str, prefix| Network { ip: ip.parse().unwrap(), prefix };
        let networks = Networks::new(vec![on("127.0.0.1", 8), on("192.168.7.5", 24)]);
        let mut dialable = Dialable { networks: Some((networks, Instant::now())) };
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let left = dialable.of(all(told), &all(named), conductor.parse().unwrap());
        left.iter().map(ToString::to_string).collect()
    }

    const TOLD: [&str; 5] = ["127.0.0.1:6379", "10.0.0.1:22", "192.168.7.9:22", "8.8.8.8:7", "[fe80::1]:7"];

    #[test]
    fn a_conductor_far_away_leads_into_no_network_but_ours() {
        assert_eq!(dialled(&TOLD, &[], "9.9.9.9"), ["192.168.7.9:22", "8.8.8.8:7"]);
        assert_eq!(dialled(&TOLD, &[], "10.1.1.1"), ["10.0.0.1:22", "192.168.7.9:22", "8.8.8.8:7"]);
        assert_eq!(dialled(&TOLD, &[], "127.0.0.1"), TOLD[..4]);
    }

    #[test]
    fn what_is_only_named_is_dialled_on_our_own_networks() {
        assert_eq!(dialled(&TOLD, &TOLD, "10.1.1.1"), ["192.168.7.9:22"]);
        assert_eq!(dialled(&["127.0.0.9:7"], &["127.0.0.9:7"], "127.0.0.1"), ["127.0.0.9:7"]);
        assert_eq!(dialled(&["[::ffff:10.0.0.1]:7"], &[], "9.9.9.9"), [""; 0]);
    }
}
