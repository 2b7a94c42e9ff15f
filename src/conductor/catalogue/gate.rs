//! Which requests to the catalogue are answered: against web pages that a person's browser carries into the network.
//!
//! A page elsewhere can make a browser send requests here. Its `Origin` is then another one: such writes are refused
//! (answers carry no CORS headers, so it reads nothing). A page whose own name is made to lead here (DNS rebinding) is
//! let in by the browser, but names itself in `Host`: only names that no stranger can own are answered. Those are
//! addresses, names without a dot, names of the local network, this machine's own, and those that it listens on.
//! Who sends a header that starts with `Sec-` is no page (browsers allow no script to set one): our own programs do.
//!
//! Pure. Announces do not pass here: trackers are asked under any name, and their answers say nothing of names.

use crate::manifest::{Endpoint, Host};

/// The header by which our own programs say that they are no web page.
pub const NO_PAGE: &str = "sec-orchestra";

/// Endings of names that only the local network gives (RFC 6762, RFC 8375, and what home routers use).
const LOCAL: [&str; 6] = [".local", ".lan", ".home.arpa", ".internal", ".localdomain", ".localhost"];

/// Knows under which names this conductor is asked.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    names: Vec<String>,
}

/// What a request says of where it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    pub host: Option<&'a str>,
    pub origin: Option<&'a str>,
    /// It carries [`NO_PAGE`].
    pub is_no_page: bool,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    #[error("this conductor does not know itself as {0:?}: ask it by its address, or start it with --listen {0}:PORT")]
    Host(String),
    #[error("the request names no host: send a Host header")]
    NoHost,
    #[error("a page of another origin may not write here")]
    Origin,
}

impl Gate {
    /// `names`: this machine's own, and those that it was told to listen on.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Whether such a request may read.
    pub fn may_read(&self, said: Said<'_>) -> Result<(), GateError> {
        let host = said.host.ok_or(GateError::NoHost)?;
        match said.is_no_page || asked(host).is_some_and(|endpoint| self.is_ours(&endpoint.host)) {
            true => Ok(()),
            false => Err(GateError::Host(host.chars().filter(|c| c.is_ascii_graphic()).take(100).collect())),
        }
    }

    /// Whether such a request may write.
    pub fn may_write(&self, said: Said<'_>) -> Result<(), GateError> {
        self.may_read(said)?;
        match (said.origin, said.host) {
            (Some(origin), Some(host)) if origin != format!("http://{host}") => Err(GateError::Origin),
            _ => Ok(()),
        }
    }

    fn is_ours(&self, host: &Host) -> bool {
        let Host::Name(name) = host else { return true };
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        !name.contains('.') || LOCAL.iter().any(|end| name.ends_with(end)) || self.names.iter().any(|own| own == name)
    }
}

/// Where a request was sent, by its `Host` header: port 80 where it names none.
pub fn asked(host: &str) -> Option<Endpoint> {
    let mut endpoint: Endpoint = host.parse().ok()?;
    let named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    // An IPv6 address without brackets is no Host header.
    let is_bare_v6 = matches!(endpoint.host, Host::Ip(ip) if ip.is_ipv6()) && !host.starts_with('[');
    if is_bare_v6 || endpoint.host == Host::ThisMachine {
        return None;
    }
    if !named || host.ends_with(']') {
        endpoint.port = 80;
    }
    Some(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(host: &'static str) -> Said<'static> {
        Said { host: Some(host), ..Said::default() }
    }

    #[test]
    fn only_names_that_no_stranger_can_own_are_answered() {
        let gate = Gate::new(["Node1.example.org".to_owned()]);
        for host in [
            "10.0.0.1:9999",
            "[::1]:9999",
            "[2001:db8::1]",
            "localhost:9999",
            "head",
            "head.local:9999",
            "node1.EXAMPLE.org:9999",
            "node1.example.org.:9999",
            "head.home.arpa:1",
        ] {
            assert_eq!(gate.may_read(said(host)), Ok(()), "{host}");
        }
        for host in
            ["evil.example:9999", "node1.example.org.evil.example", "a b", "", ":9999", "local.evil.com", "x:y:z"]
        {
            assert!(gate.may_read(said(host)).is_err(), "{host}");
        }
        assert_eq!(gate.may_read(Said::default()), Err(GateError::NoHost));
        let ours = Said { is_no_page: true, ..said("tracker.example.org:9999") };
        assert_eq!(gate.may_read(ours), Ok(()));
    }

    #[test]
    fn a_page_elsewhere_does_not_write() {
        let gate = Gate::default();
        let from = |origin| gate.may_write(Said { origin, ..said("10.0.0.1:9999") });
        assert_eq!(from(None), Ok(()));
        assert_eq!(from(Some("http://10.0.0.1:9999")), Ok(()));
        for origin in ["http://evil.example", "null", "https://10.0.0.1:9999", "http://10.0.0.1"] {
            assert_eq!(from(Some(origin)), Err(GateError::Origin), "{origin}");
        }
    }

    #[test]
    fn where_it_was_asked_has_the_port_of_the_header() {
        let asked = |host| asked(host).map(|endpoint| endpoint.to_string());
        for (host, shown) in [
            ("head", "head:80"),
            ("head:9999", "head:9999"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("[::1]", "[::1]:80"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(asked(host).as_deref(), Some(shown));
        }
        assert_eq!(asked("::1"), None);
        assert_eq!(asked(":9"), None);
    }
}
