//! Where a conductor or a member is, as a person writes it: `HOST:PORT`.
//!
//! Only the form is judged here; nothing is resolved.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{fmt, str::FromStr};

/// The port of a conductor that is named without one.
pub const CONDUCTOR_PORT: u16 = 9999;

/// A host and a port. Written `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (this machine); without a port it is
/// [`CONDUCTOR_PORT`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub host: Host,
    pub port: u16,
}

/// The part of an [`Endpoint`] before the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// The machine that reads this, by whichever of its addresses others can reach: written as nothing before the `:`.
    ThisMachine,
    Ip(IpAddr),
    /// A name to be resolved.
    Name(String),
}

/// Why some text is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("expected HOST:PORT, found nothing")]
    Empty,
    #[error("expected HOST:PORT without {}:// before it", .0.escape_debug())]
    Url(String),
    #[error("{0:?} is no port: expected a number from 0 to 65535")]
    Port(String),
    #[error("{0:?} is no IPv6 address: expected [IPV6]:PORT")]
    Ipv6(String),
    #[error("{0:?} is no host: expected a host name, an IPv4 address or an IPv6 address in brackets")]
    Host(String),
}

impl Endpoint {
    /// `0.0.0.0:0`, the written form of "not known yet".
    pub const UNKNOWN: Self = Self { host: Host::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port: 0 };

    /// Whether this leads nowhere: `0.0.0.0:0`, and whatever else nobody can dial (port 0, an unspecified address).
    pub fn is_unknown(&self) -> bool {
        self.port == 0 || matches!(self.host, Host::Ip(ip) if ip.is_unspecified())
    }

    /// The address to announce to if this is a conductor (BEP 3); None where no other machine could use it.
    pub fn tracker_url(&self) -> Option<String> {
        (!self.is_unknown() && self.host != Host::ThisMachine).then(|| format!("http://{self}/announce"))
    }
}

impl Host {
    /// Whether this means another machine on each machine that reads it.
    pub fn is_this_machine(&self) -> bool {
        match self {
            Self::ThisMachine => true,
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// As a resolver takes it: without brackets; empty for this machine.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThisMachine => Ok(()),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(EndpointError::Url(start(scheme)));
        }
        let (host, port) = split(text)?;
        Ok(Self { host, port: port.map_or(Ok(CONDUCTOR_PORT), parse_port)? })
    }
}

/// So much of a wrong text as a message needs.
fn start(text: &str) -> String {
    text.chars().take(60).collect()
}

fn split(text: &str) -> Result<(Host, Option<&str>), EndpointError> {
    if let Some(inner) = text.strip_prefix('[') {
        let broken = || EndpointError::Ipv6(start(text));
        let (ip, rest) = inner.split_once(']').ok_or_else(broken)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| broken())?;
        let port = match rest {
            "" => None,
            _ => Some(rest.strip_prefix(':').ok_or_else(broken)?),
        };
        return Ok((Host::Ip(ip.into()), port));
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Ok((Host::Ip(ip.into()), None));
    }
    match text.split_once(':') {
        Some(("", port)) => Ok((Host::ThisMachine, Some(port))),
        Some((_, port)) if port.contains(':') => Err(EndpointError::Ipv6(start(text))),
        Some((host, port)) => Ok((parse_host(host)?, Some(port))),
        None => Ok((parse_host(text)?, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    Some(text)
        .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| EndpointError::Port(start(text)))
}

fn parse_host(text: &str) -> Result<Host, EndpointError> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    if is_host_name(text) {
        return Ok(Host::Name(text.to_owned()));
    }
    Err(EndpointError::Host(start(text)))
}

/// RFC 1123, with the underscores that some networks have. A last label of digits alone would be taken for a broken
/// IPv4 address by some resolvers and for a sound one by others.
fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        text.parse()
    }

    #[test]
    fn every_written_form_is_read() {
        for (text, shown) in [
            ("192.168.1.1:9999", "192.168.1.1:9999"),
            ("192.168.1.1", "192.168.1.1:9999"),
            ("head-node_1.example.org:80", "head-node_1.example.org:80"),
            ("head.", "head.:9999"),
            ("[2001:DB8::1]:7", "[2001:db8::1]:7"),
            ("[::1]", "[::1]:9999"),
            ("::1", "[::1]:9999"),
            (":9999", ":9999"),
            ("0.0.0.0:0", "0.0.0.0:0"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(parse(":7").unwrap().host, Host::ThisMachine);
        assert_eq!(parse("0.0.0.0:0").unwrap(), Endpoint::UNKNOWN);
    }

    #[test]
    fn what_leads_nowhere_is_unknown() {
        for text in ["0.0.0.0:0", "[::]:0", "host:0", "0.0.0.0:9999"] {
            assert!(parse(text).unwrap().is_unknown(), "{text}");
        }
        assert!(!parse(":9999").unwrap().is_unknown());
        assert_eq!(parse(":9999").unwrap().tracker_url(), None);
        let url = parse("[::1]").unwrap().tracker_url();
        assert_eq!(url.as_deref(), Some("http://[::1]:9999/announce"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ":",
            "host:",
            "host:65536",
            "host:+1",
            "host: 1",
            "a b:1",
            "-a:1",
            "a..b:1",
            "300.1.2.3:1",
            "1.2.3",
            "9999",
            "64K:",
            "[::1",
            "[::1]9",
            "[x]:1",
            "::1:x",
            "1:2:3",
            "http://host:9999",
            "hôte:1",
            "a/b:1",
            "a@b:1",
            "a\u{1b}:1",
            ".",
            "[fe80::1%eth0]:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"a".repeat(64)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ip: IpAddr, port: u16, name in "[a-z][a-z0-9]{0,9}(\\.[a-z]{1,5}){0,3}") {
            for host in [Host::Ip(ip), Host::Name(name.clone()), Host::ThisMachine] {
                let endpoint = Endpoint { host, port };
                prop_assert_eq!(parse(&endpoint.to_string()), Ok(endpoint));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}", near in "[\\[\\]:.0-9a-f%]{0,20}") {
            for text in [text, near] {
                if let Ok(endpoint) = parse(&text) {
                    prop_assert_eq!(parse(&endpoint.to_string()), Ok(endpoint));
                }
            }
        }
    }
}
