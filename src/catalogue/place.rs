//! Where in a catalogue something is: paths of its HTTP interface, and what people type, in both directions.
//!
//! Pure. A path is hostile input: it is split before it is percent-decoded, so that no `%2F` makes a new segment, and
//! what is decoded has to be a safe name ([`Name`]), an info-hash or an owner.
//!
//! ```text
//! /compositions                        the list
//! /compositions/KEY                    one entry; KEY is NAME, HASH or OWNER/NAME
//! /compositions/KEY.orch               its manifest
//! /compositions/KEY.torrent            the torrent of the same swarm
//! /compositions/KEY/members            who has it
//! /coming                              what is being hashed, and will be an entry soon
//! ```
//!
//! A name that itself ends in `.orch` or `.torrent`, or is `members` behind an owner, is meant by a path with a `/` at its end.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{
    manifest::{Endpoint, EndpointError, Name, NameError},
    metainfo::InfoHash,
};

/// Where every path of a catalogue starts.
pub const ROOT: &str = "/compositions";
/// Where a conductor is told what is being hashed.
pub const COMING: &str = "/coming";
/// What the path of a manifest ends in.
const ORCH: &str = ".orch";
/// What the path of a torrent ends in.
const TORRENT: &str = ".torrent";
/// What the path of an entry's members ends in.
const MEMBERS: &str = "members";
/// The longest name of an owner, in bytes.
const MAX_OWNER: usize = 32;

/// RFC 3986: everything but the unreserved characters is escaped.
pub const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What names an entry. Forty hex digits are always an info-hash, never a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Hash(InfoHash),
    /// Several entries may have one name, each of another owner.
    Name(Name),
    Owned {
        owner: String,
        name: Name,
    },
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Entry(Key),
    Manifest(Key),
    Torrent(Key),
    Members(Key),
}

/// Why some text names nothing that a catalogue can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error("expected NAME, HASH or OWNER/NAME")]
    Form,
    #[error("the name is not UTF-8 text")]
    NotText,
    #[error("{0:?} is no owner: expected up to {MAX_OWNER} letters, digits, - and _")]
    Owner(String),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the conductor before the name: {0}")]
    Conductor(#[from] EndpointError),
}

/// Whether this can name an owner: letters, digits, `-` and `_`, so that it never looks like an address.
pub fn is_owner(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=MAX_OWNER).contains(&text.len()) && text.bytes().all(known)
}

impl Key {
    /// A hash, if it is one, else a name.
    fn new(text: &str) -> Result<Self, PlaceError> {
        match text.parse() {
            Ok(hash) => Ok(Self::Hash(hash)),
            Err(_) => Ok(Self::Name(Name::new(text)?)),
        }
    }

    /// The entry whose own name ends in `.torrent`, where this names what stands before that.
    pub fn with_torrent(&self) -> Option<Self> {
        let ended = |name: &Name| Name::new(&format!("{}{TORRENT}", name.as_str())).ok();
        match self {
            Self::Hash(_) => None,
            Self::Name(name) => ended(name).map(Self::Name),
            Self::Owned { owner, name } => ended(name).map(|name| Self::Owned { owner: owner.clone(), name }),
        }
    }

    fn owned(owner: &str, name: &str) -> Result<Self, PlaceError> {
        match is_owner(owner) {
            true => Ok(Self::Owned { owner: owner.to_owned(), name: Name::new(name)? }),
            false => Err(PlaceError::Owner(owner.chars().take(MAX_OWNER).collect())),
        }
    }

    /// Its segments, escaped.
    fn path(&self) -> String {
        let escaped = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
        match self {
            Self::Hash(hash) => format!("{ROOT}/{hash}"),
            Self::Name(name) => format!("{ROOT}/{}", escaped(name.as_str())),
            Self::Owned { owner, name } => format!("{ROOT}/{owner}/{}", escaped(name.as_str())),
        }
    }
}

/// As people write it, safe for a terminal.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => hash.fmt(f),
            Self::Name(name) => f.write_str(&name.shown()),
            Self::Owned { owner, name } => write!(f, "{owner}/{}", name.shown()),
        }
    }
}

impl Place {
    /// Reads the path of a request, as it came: still escaped.
    pub fn parse(path: &str) -> Result<Self, PlaceError> {
        let below = path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).ok_or(PlaceError::Form)?;
        let decoded = |segment| percent_decode_str(segment).decode_utf8().map_err(|_| PlaceError::NotText);
        let segments = below.split('/').map(decoded).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        match segments[..] {
            [key] => Ok(match (key.strip_suffix(ORCH), key.strip_suffix(TORRENT)) {
                (Some(key), _) => Self::Manifest(Key::new(key)?),
                (_, Some(key)) => Self::Torrent(Key::new(key)?),
                (None, None) => Self::Entry(Key::new(key)?),
            }),
            [key, ""] => Ok(Self::Entry(Key::new(key)?)),
            [key, MEMBERS] => Ok(Self::Members(Key::new(key)?)),
            [owner, name] => Ok(match (name.strip_suffix(ORCH), name.strip_suffix(TORRENT)) {
                (Some(name), _) => Self::Manifest(Key::owned(owner, name)?),
                (_, Some(name)) => Self::Torrent(Key::owned(owner, name)?),
                (None, None) => Self::Entry(Key::owned(owner, name)?),
            }),
            [owner, name, ""] => Ok(Self::Entry(Key::owned(owner, name)?)),
            [owner, name, MEMBERS] => Ok(Self::Members(Key::owned(owner, name)?)),
            _ => Err(PlaceError::Form),
        }
    }
}

/// The path, escaped: what [`Place::parse`] reads.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(key) => write!(f, "{}{ORCH}", key.path()),
            Self::Torrent(key) => write!(f, "{}{TORRENT}", key.path()),
            Self::Members(key) => write!(f, "{}/{MEMBERS}", key.path()),
            Self::Entry(key) => {
                let is_file = |name: &Name| [ORCH, TORRENT].iter().any(|end| name.as_str().ends_with(end));
                let misleads = match key {
                    Key::Hash(_) => false,
                    Key::Name(name) => is_file(name),
                    Key::Owned { name, .. } => is_file(name) || name.as_str() == MEMBERS,
                };
                write!(f, "{}{}", key.path(), if misleads { "/" } else { "" })
            }
        }
    }
}

/// What people type: `[HOST[:PORT]/][OWNER/]NAME`, `[HOST[:PORT]/]HASH`, `HOST[:PORT]/`, or an address of the catalogue
/// as a browser shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// Where to ask; None leaves that to the settings.
    pub conductor: Option<Endpoint>,
    /// None: the only one that is there.
    pub key: Option<Key>,
}

impl Typed {
    /// Reads it. A single word before the name is a host, unless the conductor is `known` already: then it is an owner.
    pub fn parse(text: &str, known: bool) -> Result<Self, PlaceError> {
        if let Some(url) = text.strip_prefix("http://") {
            return Self::of_url(url);
        }
        let segments: Vec<&str> = text.split('/').collect();
        let (conductor, key) = match segments[..] {
            [key] => (None, Some(Key::new(key)?)),
            [host, ""] => (Some(host.parse()?), None),
            [owner, name] if known && is_owner(owner) => (None, Some(Key::owned(owner, name)?)),
            [host, key] => (Some(host.parse()?), Some(Key::new(key)?)),
            [host, owner, name] => (Some(host.parse()?), Some(Key::owned(owner, name)?)),
            _ => return Err(PlaceError::Form),
        };
        Ok(Self { conductor, key })
    }

    /// What is behind `http://`: as a browser does it, without a port it is 80.
    fn of_url(url: &str) -> Result<Self, PlaceError> {
        let (host, path) = match url.split_once('/') {
            Some((host, path)) => (host, path.split(['?', '#']).next().unwrap_or_default()),
            None => (url, ""),
        };
        let mut conductor: Endpoint = host.parse()?;
        let has_port =
            host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) && !host.ends_with(']');
        if !has_port {
            conductor.port = 80;
        }
        let key = match path {
            "" => None,
            _ if format!("/{path}").trim_end_matches('/') == ROOT => None,
            path => match Place::parse(&format!("/{path}"))? {
                Place::Entry(key) | Place::Manifest(key) | Place::Torrent(key) | Place::Members(key) => Some(key),
            },
        };
        Ok(Self { conductor: Some(conductor), key })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "2953289a34e0cc2bf776decc3f8b86622d66b705";

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn owned(owner: &str, text: &str) -> Key {
        Key::Owned { owner: owner.to_owned(), name: name(text) }
    }

    #[test]
    fn every_path_has_one_meaning() {
        let x = || Key::Name(name("x"));
        let hash = || Key::Hash(HASH.parse().unwrap());
        for (path, place) in [
            ("x", Place::Entry(x())),
            ("x/", Place::Entry(x())),
            ("x.orch", Place::Manifest(x())),
            ("x.orch/", Place::Entry(Key::Name(name("x.orch")))),
            ("x.orch.orch", Place::Manifest(Key::Name(name("x.orch")))),
            ("x/members", Place::Members(x())),
            ("members", Place::Entry(Key::Name(name("members")))),
            ("members/members", Place::Members(Key::Name(name("members")))),
            ("a/x", Place::Entry(owned("a", "x"))),
            ("a/x.orch", Place::Manifest(owned("a", "x"))),
            ("a/members/", Place::Entry(owned("a", "members"))),
            ("a/x/members", Place::Members(owned("a", "x"))),
            ("été%20%3F%25", Place::Entry(Key::Name(name("été ?%")))),
            (HASH, Place::Entry(hash())),
            (&HASH.to_uppercase(), Place::Entry(hash())),
            (&format!("{HASH}.orch"), Place::Manifest(hash())),
            ("x.torrent", Place::Torrent(x())),
            ("x.torrent/", Place::Entry(Key::Name(name("x.torrent")))),
            ("x.torrent.orch", Place::Manifest(Key::Name(name("x.torrent")))),
            ("a/x.torrent", Place::Torrent(owned("a", "x"))),
            (&format!("{HASH}.torrent"), Place::Torrent(hash())),
        ] {
            assert_eq!(Place::parse(&format!("/compositions/{path}")), Ok(place), "{path}");
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        let long = "x".repeat(241);
        for path in ["", "/", ".", "..", ".orch", "a%2Fb", "%00", "%ff", "a/../b", "a/b/c", "a/b/c/d", "é/x", &long] {
            assert!(Place::parse(&format!("/compositions/{path}")).is_err(), "{path}");
        }
        assert!(Place::parse("/elsewhere/x").is_err() && Place::parse("/compositionsx").is_err());
    }

    #[test]
    fn people_name_a_conductor_or_an_owner() {
        let typed = |text: &str, known| {
            let typed = Typed::parse(text, known).map_err(|error| error.to_string())?;
            let key = typed.key.map_or_else(|| "the only one".to_owned(), |key| key.to_string());
            Ok::<_, String>((typed.conductor.map(|endpoint| endpoint.to_string()), key))
        };
        let some = |host: &str, key: &str| Ok((Some(host.to_owned()), key.to_owned()));
        let none = |key: &str| Ok((None, key.to_owned()));
        assert_eq!(typed("x.iso", false), none("x.iso"));
        assert_eq!(typed("head/x.iso", false), some("head:9999", "x.iso"));
        assert_eq!(typed("head/x.iso", true), none("head/x.iso"));
        assert_eq!(typed("10.0.0.1/x.iso", true), some("10.0.0.1:9999", "x.iso"));
        assert_eq!(typed("[::1]:7/x.iso", true), some("[::1]:7", "x.iso"));
        assert_eq!(typed("head:7/alice/x.iso", false), some("head:7", "alice/x.iso"));
        assert_eq!(typed(&format!("head/{HASH}"), false), some("head:9999", HASH));
        assert_eq!(typed("head/", false), some("head:9999", "the only one"));
        assert_eq!(typed("10.0.0.1:7/", true), some("10.0.0.1:7", "the only one"));
        for (url, conductor, key) in [
            ("http://head:9999/", "head:9999", "the only one"),
            ("http://head", "head:80", "the only one"),
            ("http://[::1]:7/compositions/", "[::1]:7", "the only one"),
            ("http://head:7/compositions/x%20y", "head:7", "x y"),
            ("http://head:7/compositions/a/x.iso.orch?x#y", "head:7", "a/x.iso"),
            (&format!("http://[::1]/compositions/{HASH}/members"), "[::1]:80", HASH),
        ] {
            assert_eq!(typed(url, true), some(conductor, key), "{url}");
        }
        for wrong in
            ["", "/", "a/b/c/d", "a b/x", "head/a.b/x", "http://head/x", "http:///compositions/x", "https://h/"]
        {
            assert!(typed(wrong, false).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "\\PC{1,40}(\\.orch|\\.torrent)?", owner in "[a-zA-Z0-9_-]{1,32}", hash: [u8; 20]) {
            let mut keys = vec![Key::Hash(InfoHash(hash))];
            if let Ok(name) = Name::new(&text) {
                keys.push(Key::Owned { owner, name: name.clone() });
                keys.push(Key::Name(name));
            }
            for key in keys {
                for place in [Place::Entry, Place::Manifest, Place::Torrent, Place::Members].map(|place| place(key.clone())) {
                    let path = place.to_string();
                    prop_assert!(path.bytes().all(|b| b.is_ascii_graphic()));
                    prop_assert_eq!(Place::parse(&path), Ok(place));
                }
            }
        }

        #[test]
        fn no_path_panics(rest in "\\PC{0,40}", near in "[a%/.0-9A-F]{0,20}(members|\\.orch)?/?", known: bool) {
            for text in [rest, near] {
                let _ = Place::parse(&text);
                let _ = Typed::parse(&text, known);
                if let Ok(Place::Entry(Key::Name(name))) = Place::parse(&format!("/compositions/{text}")) {
                    prop_assert!(!name.as_str().contains('/'));
                }
            }
        }
    }
}
