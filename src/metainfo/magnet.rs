//! Magnet links (BEP 9): the name of a swarm, and where to start looking for it.
//!
//! A link comes from a page or a chat, so it is hostile: it is at most [`MAX_LINK`] bytes long, and what is not sound and
//! not needed is passed over.

use std::{fmt, str::FromStr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::InfoHash;
use crate::manifest::Endpoint;

/// The longest link that is read, in bytes.
pub const MAX_LINK: usize = 64 << 10;

/// RFC 3986: everything but the unreserved characters is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a magnet link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    pub hash: InfoHash,
    /// A name to show until the info dictionary is there (`dn`). Pass it through [`crate::manifest::shown`].
    pub name: Option<String>,
    /// Size of the composition in bytes (`xl`), as the link's author says.
    pub size: Option<u64>,
    /// Addresses of trackers (`tr`).
    pub trackers: Vec<String>,
    /// Members known by address (`x.pe`).
    pub peers: Vec<Endpoint>,
    /// HTTP sources of the same bytes (`ws`, BEP 19).
    pub mirrors: Vec<String>,
}

/// Why some text is no link that can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MagnetError {
    #[error("this is no magnet link: it does not start with magnet:?")]
    Scheme,
    #[error("the magnet link is longer than 64 KiB")]
    TooLong,
    #[error("the magnet link has no info-hash: expected xt=urn:btih: and 40 hex or 32 base32 digits")]
    NoHash,
    #[error("the magnet link names a version 2 torrent only (urn:btmh): ask for one with urn:btih")]
    OnlyV2,
}

impl Magnet {
    /// A link to this swarm and nothing else.
    pub fn new(hash: InfoHash) -> Self {
        Self { hash, name: None, size: None, trackers: Vec::new(), peers: Vec::new(), mirrors: Vec::new() }
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(link: &str) -> Result<Self, MagnetError> {
        if link.len() > MAX_LINK {
            return Err(MagnetError::TooLong);
        }
        let (scheme, query) = link.split_at_checked(8).ok_or(MagnetError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("magnet:?") {
            return Err(MagnetError::Scheme);
        }
        let mut hash = Err(MagnetError::NoHash);
        // The hash may come last; nothing is returned unless it does.
        let mut magnet = Self::new(InfoHash([0; 20]));
        for (key, value) in query.split('&').filter_map(|field| field.split_once('=')) {
            match key_without_number(key) {
                "xt" if hash.is_err() => hash = topic(&decode(value), hash),
                "dn" if magnet.name.is_none() => magnet.name = Some(decode(&value.replace('+', " "))),
                "xl" => magnet.size = magnet.size.or(decode(value).parse().ok()),
                "tr" => magnet.trackers.push(decode(value)),
                "ws" => magnet.mirrors.push(decode(value)),
                "x.pe" => magnet.peers.extend(decode(value).parse::<Endpoint>()),
                _ => {}
            }
        }
        magnet.hash = hash?;
        Ok(magnet)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |text| utf8_percent_encode(text, ESCAPED);
        write!(f, "magnet:?xt=urn:btih:{}", self.hash)?;
        if let Some(name) = &self.name {
            write!(f, "&dn={}", escaped(name))?;
        }
        if let Some(size) = self.size {
            write!(f, "&xl={size}")?;
        }
        for tracker in &self.trackers {
            write!(f, "&tr={}", escaped(tracker))?;
        }
        for mirror in &self.mirrors {
            write!(f, "&ws={}", escaped(mirror))?;
        }
        for peer in &self.peers {
            write!(f, "&x.pe={peer}")?;
        }
        Ok(())
    }
}

/// Several values of one key may be numbered: `tr.1`.
fn key_without_number(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((key, number)) if number.bytes().all(|b| b.is_ascii_digit()) => key,
        _ => key,
    }
}

fn decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

/// The info-hash of an exact topic, or what to say in its absence.
fn topic(urn: &str, so_far: Result<InfoHash, MagnetError>) -> Result<InfoHash, MagnetError> {
    let lower = urn.to_ascii_lowercase();
    if lower.starts_with("urn:btmh:") {
        return Err(MagnetError::OnlyV2);
    }
    let Some(text) = lower.strip_prefix("urn:btih:") else {
        return so_far;
    };
    let hash = text.parse().ok().or_else(|| base32(text));
    hash.ok_or(MagnetError::NoHash)
}

/// 32 lower-case digits of RFC 4648, as old links have them.
fn base32(text: &str) -> Option<InfoHash> {
    let text: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut hash = [0; 20];
    for (digits, bytes) in text.chunks(8).zip(hash.chunks_mut(5)) {
        let mut bits = 0u64;
        for digit in digits {
            let value = match digit {
                b'a'..=b'z' => digit - b'a',
                b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        bytes.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(InfoHash(hash))
}

/// Whether this text is meant to be a magnet link.
pub fn is_magnet(text: &str) -> bool {
    text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:"))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*, sample::Index};

    use super::*;

    const HEX: &str = "c9e15763f722f23e98a29decdfae341b98d53056";

    fn parse(link: &str) -> Result<Magnet, MagnetError> {
        link.parse()
    }

    #[test]
    fn links_of_other_programs_are_read() {
        let link = format!(
            "MAGNET:?dn=a+b%20c&xt=urn:ed2k:1&xt.1=URN:BTIH:{}&tr=http%3A%2F%2Ft%2Fannounce&tr.2=udp://u&xl=7\
             &x.pe=10.0.0.1:5&x.pe=[::1]:6&x.pe=,&so=1&ws=x&nothing",
            HEX.to_uppercase()
        );
        let magnet = parse(&link).unwrap();
        assert_eq!(magnet.hash.to_string(), HEX);
        assert_eq!(magnet.name.as_deref(), Some("a b c"));
        assert_eq!(magnet.trackers, ["http://t/announce", "udp://u"]);
        assert_eq!((magnet.size, magnet.peers.len()), (Some(7), 2));
        assert_eq!(magnet.mirrors, ["x"]);
        let base32 = parse("magnet:?xt=urn:btih:ZHQVOY7XELZD5GFCTXWN7LRUDOMNKMCW");
        assert_eq!(base32, parse(&format!("magnet:?xt=urn:btih:{HEX}")));
        let hybrid = format!("magnet:?xt=urn:btmh:1220ff&xt=urn:btih:{HEX}");
        assert!(parse(&hybrid).is_ok());
    }

    #[test]
    fn a_link_without_a_hash_is_refused() {
        for (link, error) in [
            ("", MagnetError::Scheme),
            ("http://x", MagnetError::Scheme),
            ("magnet:?dn=x", MagnetError::NoHash),
            ("magnet:?xt=urn:btih:xyz", MagnetError::NoHash),
            ("magnet:?xt=urn:btih:ZHQVOY7XELZD5GFCTXWN7LRUDOMNKMC1", MagnetError::NoHash),
            ("magnet:?xt=urn:btmh:1220ff&xt=urn:x", MagnetError::OnlyV2),
        ] {
            assert_eq!(parse(link), Err(error), "{link}");
        }
        let long = format!("magnet:?xt=urn:btih:{HEX}&dn={}", "x".repeat(MAX_LINK));
        assert_eq!(parse(&long), Err(MagnetError::TooLong));
    }

    fn magnets() -> impl Strategy<Value = Magnet> {
        let peers = vec("[a-z]{1,9}:[1-9][0-9]{0,3}", 0..3);
        let urls = || vec("\\PC{1,20}", 0..3);
        (any::<[u8; 20]>(), option::of("\\PC{1,20}"), any::<Option<u64>>(), urls(), peers, urls()).prop_map(
            |(hash, name, size, trackers, peers, mirrors)| Magnet {
                hash: InfoHash(hash),
                name,
                size,
                trackers,
                peers: peers.iter().map(|p| p.parse().unwrap()).collect(),
                mirrors,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(magnet in magnets()) {
            prop_assert_eq!(parse(&magnet.to_string()), Ok(magnet));
        }

        #[test]
        fn broken_text_never_panics(magnet in magnets(), at in any::<Index>(), with: char) {
            let mut link: Vec<char> = magnet.to_string().chars().collect();
            let at = at.index(link.len());
            let _ = parse(&link[..at].iter().collect::<String>());
            link[at] = with;
            let _ = parse(&link.iter().collect::<String>());
        }
    }
}
