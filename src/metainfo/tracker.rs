//! The address of an HTTP tracker (BEP 3), as it stands in a `.torrent` or a magnet link: `http://HOST[:PORT]/PATH`.
//!
//! It comes from a stranger: what cannot be one line of an HTTP request as it stands is no address, and a stranger's
//! address presses no button on a machine nearby ([`Tracker::may_be_at`]).

use core::net::IpAddr;

use crate::{manifest::Endpoint, net::range::is_near};

/// The port of an HTTP address that names none.
const HTTP: u16 = 80;
/// The longest path that is taken, in bytes.
const MAX_PATH: usize = 1024;

/// A conductor, or the tracker of other programs in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    pub conductor: Endpoint,
    /// Where on it announces go: begins with `/`, and may have a query (a key of the user's, often).
    path: String,
}

impl Tracker {
    /// Where a conductor of ours takes announces.
    const PATH: &str = "/announce";

    /// None: it is not plain HTTP, or no other machine could use it.
    pub fn from_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case("http://") {
            return None;
        }
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let mut conductor: Endpoint = host.parse().ok()?;
        if !host.ends_with(&format!(":{}", conductor.port)) {
            conductor.port = HTTP;
        }
        (is_plain(&path) && conductor.tracker_url().is_some()).then_some(Self { conductor, path })
    }

    /// Whether announces go where a conductor of ours takes them: then its address says all.
    pub fn is_plain_conductor(&self) -> bool {
        self.path == Self::PATH
    }

    /// Whether announces may go to this address of its name. On this machine and on private networks only a path that
    /// begins with `/announce` is asked: a torrent from anywhere could else have a request made of its author's choice,
    /// where its author cannot get to.
    pub fn may_be_at(&self, ip: IpAddr) -> bool {
        self.path.starts_with(Self::PATH) || !is_near(ip)
    }

    /// What follows the host in the address of an announce with this query.
    pub fn path_with(&self, query: &str) -> String {
        let between = if self.path.contains('?') { '&' } else { '?' };
        format!("{}{between}{query}", self.path)
    }
}

/// Whether this goes into a request as it stands: nothing in it leads elsewhere than it says.
fn is_plain(path: &str) -> bool {
    let before_query = path.split('?').next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    path.len() <= MAX_PATH
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\')
        && !before_query.contains("/.")
}

impl From<Endpoint> for Tracker {
    fn from(conductor: Endpoint) -> Self {
        Self { conductor, path: Self::PATH.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_an_http_address_is_read() {
        for (url, conductor, asked) in [
            ("http://t.example:6969/announce", "t.example:6969", "/announce?q=1"),
            ("HTTP://t.example/announce", "t.example:80", "/announce?q=1"),
            ("http://t/a/announce.php?key=5", "t:80", "/a/announce.php?key=5&q=1"),
            ("http://[::1]:7", "[::1]:7", "/?q=1"),
            ("http://[::1]/x", "[::1]:80", "/x?q=1"),
            ("http://t?k=1", "t:80", "/?k=1&q=1"),
            ("http://10.0.0.1:80/announce", "10.0.0.1:80", "/announce?q=1"),
        ] {
            let tracker = Tracker::from_url(url).unwrap_or_else(|| panic!("{url}"));
            assert_eq!((tracker.conductor.to_string().as_str(), tracker.path_with("q=1").as_str()), (conductor, asked));
            assert_eq!(tracker.is_plain_conductor(), url.ends_with("/announce") && !url.contains("/a/"));
        }
        let ours: Endpoint = "host:9999".parse().unwrap();
        assert_eq!(Tracker::from_url("http://host:9999/announce"), Some(ours.into()));
    }

    #[test]
    fn what_cannot_be_asked_is_none() {
        for url in [
            "",
            "http",
            "http://",
            "http:///announce",
            "udp://t:1/announce",
            "https://t/announce",
            "http://:80/announce",
            "http://0.0.0.0:80/announce",
            "http://u:p@t/announce",
            "http://t:0/announce",
            "http://t/a b",
            "http://t/a\r\nX: y",
            "http://t/ä",
            "http://t/a#b",
            "http://t/announce/../x",
            "http://t/announce/%2E%2e/x",
            "http://t/announce\\..\\x",
        ] {
            assert_eq!(Tracker::from_url(url), None, "{url}");
        }
        assert_eq!(Tracker::from_url(&format!("http://t/{}", "x".repeat(MAX_PATH))), None);
    }

    #[test]
    fn what_is_near_is_asked_as_a_tracker_alone() {
        let at = |url: &str, ip: &str| Tracker::from_url(url).unwrap().may_be_at(ip.parse().unwrap());
        let near = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.1.1", "100.64.0.1", "::1", "fd00::1", "fe80::1"];
        let disguised = ["::ffff:10.0.0.1", "0.0.0.0", "::", "64:ff9b::a00:1", "2002:7f00:1::"];
        for ip in near.into_iter().chain(disguised) {
            assert!(!at("http://t/cgi-bin/reboot?now=", ip), "{ip}");
            assert!(at("http://t/announce", ip) && at("http://t/announce.php?key=1", ip), "{ip}");
        }
        for ip in ["9.9.9.9", "2620:fe::9", "64:ff9b::909:909"] {
            assert!(at("http://t/x", ip), "{ip}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}", near in "http://[\\[\\]:./?a-z0-9]{0,20}") {
            for url in [text, near] {
                if let Some(tracker) = Tracker::from_url(&url) {
                    prop_assert!(tracker.path_with("x").starts_with('/'));
                }
            }
        }
    }
}
