//! The catalogue of compositions, in the words that a conductor and those who ask it share: JSON over HTTP.
//!
//! One code for both ends: what is said is here, under which path in [`place`], who may write in [`token`]; [`client`]
//! asks, [`batch`] is how many are registered at once, and [`answer`] is how an answer looks. A member answers what can be read too, of what it shares itself
//! ([`crate::member`]). Not here: how a conductor keeps its catalogue ([`crate::conductor::catalogue`]).
//!
//! The JSON is a contract (README): keys are only ever added. Every text in it may come from a stranger: pass it
//! through [`crate::manifest::shown`] before a person sees it.

pub mod answer;
pub mod backoff;
pub mod batch;
pub mod client;
pub mod place;
pub mod register;
pub mod token;

use core::{cmp::Reverse, fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::metainfo::InfoHash;

pub use client::{AskError, Client, Remedy};
pub use place::{Key, Place};
pub use token::Token;

/// The version of all answers.
pub const VERSION: u32 = 1;

/// The longest manifest that a catalogue takes, in bytes: 200,000 parts of a single file fit.
pub const MAX_MANIFEST: usize = 8 << 20;

/// One composition in the catalogue, and how its swarm stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composition {
    pub name: String,
    #[serde(with = "text")]
    pub info_hash: InfoHash,
    /// In bytes.
    pub size: u64,
    /// In bytes.
    pub part_size: u32,
    pub parts: u32,
    /// Whose token registered it; None where the conductor had no tokens.
    pub owner: Option<String>,
    /// When it was registered, in seconds since 1970; RFC 3339 when written.
    #[serde(with = "rfc3339")]
    pub registered: u64,
    /// Members that the conductor knows now, complete or not.
    pub members: u32,
    /// Those of them that have all of it.
    pub complete: u32,
}

impl Composition {
    /// Whether the key means it.
    pub fn is_meant_by(&self, key: &Key) -> bool {
        match key {
            Key::Hash(hash) => self.info_hash == *hash,
            Key::Name(name) => self.name == name.as_str(),
            Key::Owned { owner, name } => self.owner.as_ref() == Some(owner) && self.name == name.as_str(),
        }
    }
}

/// What becomes of an entry where its owner holds another of its name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfTaken {
    /// It is refused.
    Refuse,
    /// It takes the other's place, the oldest one's where there are several.
    Replace,
    /// Both stand: the name means several.
    Beside,
}

impl IfTaken {
    /// Behind the path of a `PUT`.
    pub fn query(self) -> &'static str {
        match self {
            Self::Refuse => "",
            Self::Replace => "?replace",
            Self::Beside => "?beside",
        }
    }

    pub fn of_query(query: &str) -> Self {
        let says = |wanted| query.split('&').any(|word| word == wanted);
        match (says("replace"), says("beside")) {
            (true, _) => Self::Replace,
            (false, true) => Self::Beside,
            (false, false) => Self::Refuse,
        }
    }
}

/// What `GET /compositions` answers, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub v: u32,
    pub compositions: Vec<Composition>,
    /// What is being hashed where it is shared, and will be an entry soon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coming: Vec<Coming>,
    /// With `?q=`, `?sort=` or `?page=`: how many there are on all pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The member that answers for itself; None where it is a conductor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// A file that is being hashed: it will be an entry of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Bytes hashed so far.
    pub done: u64,
}

/// For people, safe for a terminal.
impl fmt::Display for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = percent(self.size, self.size.saturating_sub(self.done)).unwrap_or(0);
        write!(f, "{} is still being hashed ({percent}%)", crate::manifest::shown(&self.name))
    }
}

/// What `GET /compositions/KEY`, `PUT` and `DELETE` answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub v: u32,
    #[serde(flatten)]
    pub composition: Composition,
    /// The member that answers for itself; None where it is a conductor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// What `GET /compositions/KEY/members` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    pub v: u32,
    #[serde(flatten)]
    pub composition: Composition,
    /// Those that the asker can reach, the complete ones first; not all of them in a very large swarm.
    pub holders: Vec<Holder>,
    /// Members that got all of it within the last day, also those that left since. Older conductors do not say it.
    #[serde(default)]
    pub had_whole: u64,
    /// Those of them that the asker may hear of, and members that left without all of it, or that came with it: the latest
    /// first, not all of them in a very large swarm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Past>,
    /// The member that answers for itself; None where it is a conductor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// A member as its conductor remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Its name, if it has said one.
    #[serde(default)]
    pub name: Option<String>,
    pub address: SocketAddr,
    /// When it got all of it, in seconds since 1970; None: it did not while the conductor looked on.
    #[serde(default, with = "rfc3339_or_none")]
    pub whole: Option<u64>,
    /// Seconds that it took; None where the conductor did not see it begin.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// How much it had when it was last heard, rounded down.
    #[serde(default)]
    pub percent: Option<u8>,
    /// It is there now.
    pub here: bool,
}

/// A member of one composition's swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub address: SocketAddr,
    pub complete: bool,
    /// How much of the composition it has, rounded down; None where it does not say.
    pub percent: Option<u8>,
    /// Its name, as it says over its live link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Bytes a second that it receives, as it says there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Seconds until it has all of it, at this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<u64>,
}

impl Holder {
    /// A member of which nothing else is known.
    pub fn new(address: SocketAddr, complete: bool, percent: Option<u8>) -> Self {
        Self { address, complete, percent, name: None, rate: None, eta: None }
    }

    /// Order in which people want to see members: the slowest first, those that have all of it last.
    pub fn slowness(&self) -> impl Ord + use<> {
        // Nothing coming is slower than any rate; a member that says no rate is judged by what it has.
        let wait = self.rate.map(|_| self.eta.unwrap_or(u64::MAX));
        (self.complete, Reverse(wait), self.percent, self.address)
    }
}

/// What is answered with any status from 300 on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub v: u32,
    /// For people.
    pub error: String,
    /// With status 300: all that the name may mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Composition>,
    /// The member that answers for itself; None where it is a conductor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// How much a member has of so many bytes, in percent rounded down, when it says that it lacks `left`; None where it
/// cannot be meant so (clients that do not know yet say a number larger than any file).
pub fn percent(size: u64, left: u64) -> Option<u8> {
    match (size, left) {
        (_, 0) => Some(100),
        (size, left) if left > size => None,
        (size, left) => u8::try_from(u128::from(size - left) * 100 / u128::from(size)).ok(),
    }
}

/// An info-hash as its hex digits.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::metainfo::InfoHash;

    pub fn serialize<S: Serializer>(hash: &InfoHash, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(hash)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<InfoHash, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Seconds since 1970 as RFC 3339.
mod rfc3339 {
    use std::time::{Duration, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serializer, de::Error, ser};

    /// The end of the year 9999, the last that RFC 3339 can write.
    const LAST: u64 = 253_402_300_799;

    pub fn serialize<S: Serializer>(seconds: &u64, to: S) -> Result<S::Ok, S::Error> {
        match *seconds {
            seconds @ ..=LAST => {
                to.collect_str(&humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)))
            }
            _ => Err(ser::Error::custom("a time after the year 9999")),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let time = humantime::parse_rfc3339(&String::deserialize(from)?).map_err(D::Error::custom)?;
        time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).map_err(D::Error::custom)
    }
}

/// The same, or null.
mod rfc3339_or_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Time(#[serde(with = "super::rfc3339")] u64);

    pub fn serialize<S: Serializer>(seconds: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        seconds.map(Time).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<Time>::deserialize(from)?.map(|Time(seconds)| seconds))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn composition() -> Composition {
        Composition {
            name: "vm.qcow2".to_owned(),
            info_hash: InfoHash([0xab; 20]),
            size: 314_572_800,
            part_size: 131_072,
            parts: 2400,
            owner: None,
            registered: 1_786_000_000,
            members: 3,
            complete: 1,
        }
    }

    #[test]
    fn the_json_is_that_of_the_readme() {
        let entry = Entry { v: VERSION, composition: composition(), member: None };
        let text = serde_json::to_string(&entry).unwrap();
        let hash = "ab".repeat(20);
        assert_eq!(
            text,
            format!(
                "{{\"v\":1,\"name\":\"vm.qcow2\",\"info_hash\":\"{hash}\",\"size\":314572800,\"part_size\":131072,\
                 \"parts\":2400,\"owner\":null,\"registered\":\"2026-08-06T07:06:40Z\",\"members\":3,\"complete\":1}}"
            )
        );
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }

    #[test]
    fn a_later_version_is_read_too() {
        let text = serde_json::to_string(&composition()).unwrap().replace("\"members\"", "\"news\":[1],\"members\"");
        assert_eq!(serde_json::from_str::<Composition>(&text).unwrap(), composition());
    }

    #[test]
    fn who_is_remembered_is_told_and_older_conductors_are_understood() {
        let (address, name) = ("10.0.0.5:9998".parse().unwrap(), Some("pc-2".to_owned()));
        let mut past =
            Past { name, address, whole: Some(1_786_000_000), seconds: Some(11.5), percent: Some(100), here: false };
        let text = serde_json::to_string(&past).unwrap();
        assert_eq!(
            text,
            r#"{"name":"pc-2","address":"10.0.0.5:9998","whole":"2026-08-06T07:06:40Z","seconds":11.5,"percent":100,"here":false}"#
        );
        assert_eq!(serde_json::from_str::<Past>(&text).unwrap(), past);
        past.whole = None;
        assert_eq!(serde_json::from_str::<Past>(&serde_json::to_string(&past).unwrap()).unwrap(), past);
        let holder = r#"{"address":"10.0.0.5:9998","complete":false,"percent":37}"#;
        let read: Holder = serde_json::from_str(holder).unwrap();
        assert_eq!(
            (&read, serde_json::to_string(&read).unwrap().as_str()),
            (&Holder::new(address, false, Some(37)), holder)
        );
    }

    #[test]
    fn the_slowest_come_first() {
        let holder = |port: u16, rate, eta, percent: u8| {
            let address = SocketAddr::from(([10, 0, 0, 1], port));
            Holder { rate, eta, ..Holder::new(address, percent == 100, Some(percent)) }
        };
        let mut all = [
            holder(1, Some(9), None, 100),
            holder(2, Some(9), Some(10), 50),
            holder(3, None, None, 20),
            holder(4, Some(0), None, 90),
            holder(5, Some(1), Some(99), 60),
        ];
        all.sort_by_key(Holder::slowness);
        assert_eq!(all.map(|holder| holder.address.port()), [4, 5, 2, 3, 1]);
    }

    #[test]
    fn percent_are_rounded_down_and_nonsense_is_unknown() {
        assert_eq!(percent(1000, 1), Some(99));
        assert_eq!(percent(1000, 1000), Some(0));
        assert_eq!(percent(0, 0), Some(100));
        assert_eq!(percent(u64::MAX, u64::MAX / 2), Some(50));
        assert_eq!(percent(1000, u64::MAX), None);
    }
}
