//! The options about the network, the same for everything that a member does.

use std::net::IpAddr;

use super::{
    super::{options::flag, units::parse_rate},
    DEFAULT_PORT,
};
use crate::manifest::{Endpoint, Host};

/// What was told of the network.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// Listen on this address of this machine
    ///
    /// Default: all addresses, IPv4 and IPv6.
    #[arg(long, value_name = "ADDR", env = "ORCHESTRA_LISTEN", hide_env_values = true)]
    pub listen: Option<IpAddr>,

    /// Listen, connect and announce only through this network interface
    ///
    /// Linux only. Names are looked up as the system does it. Default: any.
    #[arg(long, value_name = "NAME", env = "ORCHESTRA_INTERFACE", hide_env_values = true)]
    pub interface: Option<String>,

    /// Listen on this port
    ///
    /// Default: 9998, or the next free one; said at the start. 0 takes any free port.
    #[arg(long, value_name = "N", env = "ORCHESTRA_PORT", hide_env_values = true)]
    pub port: Option<u16>,

    /// Ask this conductor too (repeatable)
    ///
    /// Besides those that the manifest names. Without a port it is 9999.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[arg(env = "ORCHESTRA_CONDUCTOR", hide_env_values = true)]
    pub conductor: Vec<Endpoint>,

    /// Connect to this member (repeatable)
    ///
    /// For members whose address is known; no conductor is needed then. Without a port it is 9998.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = member_endpoint)]
    #[arg(env = "ORCHESTRA_PEER", hide_env_values = true)]
    pub peer: Vec<Endpoint>,

    /// Tell others that this member is reached here
    ///
    /// For a member behind a forwarded port: members and conductors are told this port. The address goes to the
    /// conductors; ours believes it only where both it and the address that it sees are private, and tells it only
    /// to members with a live link where it does not see this member on that network. :PORT tells the port alone.
    /// Default: the port listened on, at the address that the conductor sees.
    #[arg(long, value_name = "HOST:PORT", value_parser = advertised)]
    #[arg(env = "ORCHESTRA_ADVERTISE", hide_env_values = true)]
    pub advertise: Option<Endpoint>,

    /// Send at most so much: 10M is 10 MiB/s, 100Mbit also works
    ///
    /// Default: no limit.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    #[arg(env = "ORCHESTRA_UPLOAD", hide_env_values = true)]
    pub upload: Option<u64>,

    /// Receive at most so much
    ///
    /// Default: no limit.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    #[arg(env = "ORCHESTRA_DOWNLOAD", hide_env_values = true)]
    pub download: Option<u64>,

    /// Call this member so
    ///
    /// It is what people see and what --until-all @HOSTS compares. Default: the host name.
    #[arg(long, value_name = "NAME", env = "ORCHESTRA_NAME", hide_env_values = true, value_parser = member_name)]
    pub name: Option<String>,

    /// Count as this machine for --until-all
    ///
    /// For machines that cannot be told apart, such as containers of one image on one network: each needs another name
    /// here. Default: told by machine id, host name, network cards and network.
    #[arg(long, value_name = "NAME", env = "ORCHESTRA_MACHINE", hide_env_values = true, value_parser = member_name)]
    pub machine: Option<String>,

    /// Do not look for members on the local network, nor tell it what is shared
    ///
    /// Members are then found through conductors, --peer and other members alone. Default: everybody on every network of
    /// this machine is told what is shared (BEP 14, UDP port 6771), and may ask for the list and the manifests (DNS-SD, UDP
    /// port 5353, then the member's own port); --interface and --listen say where.
    #[arg(long, env = "ORCHESTRA_NO_LAN", hide_env_values = true, value_parser = flag())]
    pub no_lan: bool,

    /// Look for members in the public DHT, and tell it what is shared
    ///
    /// For a magnet link without a tracker, mostly. Everybody in the world can then find out that this address shares it:
    /// the DHT is public. It uses UDP at the port listened on; open that in the firewall to be found. Private torrents
    /// stay out of it. Default: nobody there is asked or told.
    #[arg(long, env = "ORCHESTRA_DHT", hide_env_values = true, value_parser = flag())]
    pub dht: bool,

    /// Begin with this node of the DHT (repeatable)
    ///
    /// It counts together with --dht alone. Without a port it is 6881. Default: those who answered last time, and nodes that everybody knows.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = node_endpoint)]
    #[arg(env = "ORCHESTRA_DHT_BOOTSTRAP", hide_env_values = true)]
    pub dht_bootstrap: Vec<Endpoint>,

    /// Keep a link with this member, to be searched through (repeatable)
    ///
    /// For members that share something else, and are not found by themselves. Without a port it is 9998.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = member_endpoint)]
    #[arg(env = "ORCHESTRA_NEIGHBOUR", hide_env_values = true)]
    pub neighbour: Vec<Endpoint>,

    /// Look for so many neighbours, up to 32
    ///
    /// 0: only those of --neighbour, and who comes. Default: 6.
    #[arg(long, value_name = "N", env = "ORCHESTRA_LINKS", hide_env_values = true)]
    pub links: Option<usize>,

    /// Keep no links with neighbours, and answer no searches
    ///
    /// It goes before --neighbour and --links. Default: neighbours are told the names, sizes and info-hashes of what is shared here when a search means them.
    #[arg(long, env = "ORCHESTRA_NO_SEARCH", hide_env_values = true, value_parser = flag())]
    pub no_search: bool,
}

/// A member's address; without a port it is [`DEFAULT_PORT`].
pub fn member_endpoint(text: &str) -> Result<Endpoint, String> {
    endpoint(text, DEFAULT_PORT)
}

/// A node of the DHT; without a port it is the one that most have.
fn node_endpoint(text: &str) -> Result<Endpoint, String> {
    endpoint(text, 6881)
}

fn endpoint(text: &str, port: u16) -> Result<Endpoint, String> {
    let endpoint: Endpoint = text.parse().map_err(|error| format!("{error}"))?;
    let with_port = format!("{text}:{port}").parse::<Endpoint>();
    let bare_ip = text.parse::<IpAddr>().map(|ip| Endpoint { host: Host::Ip(ip), port });
    Ok(bare_ip.ok().or(with_port.ok()).unwrap_or(endpoint))
}

/// As [`member_endpoint`], if others can dial it.
fn advertised(text: &str) -> Result<Endpoint, String> {
    let endpoint = member_endpoint(text)?;
    match endpoint.is_unknown() {
        true => Err("expected an address and a port that others can reach".into()),
        false => Ok(endpoint),
    }
}

/// A name that people can read and other members can show.
pub fn member_name(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("a name has at least one letter"),
        _ if text.len() > 64 => Err("a name has at most 64 bytes"),
        _ if text.chars().any(char::is_control) => Err("a name has no control characters"),
        _ => Ok(text.to_owned()),
    }
}
