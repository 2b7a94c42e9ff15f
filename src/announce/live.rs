//! The live link: what a member and its conductor say to each other over the WebSocket at [`PATH`], as JSON objects.
//!
//! One link carries all compositions of a member, a *strand* for each: every message names its info-hash. A strand begins
//! with a hello and ends with a leave, or with the link.
//!
//! Pure. One form for both ends. Each message has a `type`; a reader ignores those that it does not know and keys that it
//! does not know, so that both ends may be of different versions. The README shows them.
//!
//! Faces the network. A message is at most [`MAX_SAID`] bytes from a member and [`MAX_TOLD`] from a conductor; a text in it
//! comes from a stranger and is passed through [`crate::manifest::shown`] before a person sees it.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Announce, Event};
use crate::{
    metainfo::InfoHash,
    wire::{
        copy_id::{self, CopyId, Holder},
        handshake::PeerId,
    },
};

/// Where a conductor takes live links.
pub const PATH: &str = "/live";
/// The version of all messages.
pub const VERSION: u32 = 1;
/// The longest message of a member, in bytes.
pub const MAX_SAID: usize = 8 << 10;
/// The longest message of a conductor, in bytes.
pub const MAX_TOLD: usize = 64 << 10;
/// How often the conductor pings.
pub const PING: Duration = Duration::from_secs(3);
/// Nothing heard for so long: the other end is gone.
pub const SILENCE: Duration = Duration::from_secs(10);
/// How often a member says how far it is, at most.
pub const REPORT: Duration = Duration::from_secs(1);
/// Stretches in a [`Progress::map`], at most.
pub const MAX_MAP: usize = 96;
/// Characters of a name that count.
pub const MAX_NAME: usize = 64;
/// Addresses of its own that a member may name.
pub const MAX_NEAR: usize = 8;
/// Strands of one link, at most.
pub const MAX_STRANDS: usize = 16_384;

/// What a member says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Said {
    /// A strand's first.
    Hello(Hello),
    /// How far it is now.
    Progress {
        #[serde(with = "hex_text")]
        info_hash: InfoHash,
        #[serde(flatten)]
        progress: Progress,
    },
    /// It shares this no more: the strand ends, as all do with the link.
    Leave {
        #[serde(with = "hex_text")]
        info_hash: InfoHash,
    },
    /// What a later version says.
    #[serde(other)]
    Other,
}

/// Who a member is. It announces the same over HTTP, and is one member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub v: u32,
    #[serde(with = "hex_text")]
    pub info_hash: InfoHash,
    #[serde(with = "hex_text")]
    pub peer_id: PeerId,
    /// As in its announces (BEP 7).
    pub key: u32,
    /// Where it listens.
    pub port: u16,
    /// The address at which others reach it, where it knows better than the conductor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Its own addresses, for members behind the same router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<IpAddr>,
    /// How people see it.
    pub name: String,
    /// Which copy it holds, whole or not; older members do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "copy_id::hex_or_none")]
    pub copy: Option<CopyId>,
    #[serde(flatten)]
    pub progress: Progress,
}

/// How far a member is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes sent since its start.
    pub uploaded: u64,
    /// Bytes received since its start.
    pub downloaded: u64,
    /// Bytes that it lacks.
    pub left: u64,
    /// Bytes a second.
    #[serde(default)]
    pub rate_up: u64,
    /// Bytes a second.
    #[serde(default)]
    pub rate_down: u64,
    /// Which parts it has: [`map`].
    #[serde(default)]
    pub map: String,
}

/// What a conductor tells, and of which composition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    #[serde(flatten)]
    pub told: Told,
    #[serde(with = "hex_text")]
    pub info_hash: InfoHash,
}

/// What a conductor tells of one composition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Told {
    /// The answer to the hello: who is there.
    Members {
        members: Vec<SocketAddr>,
        /// Those among them that their members only named, on a network on which the conductor did not see them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        named: Vec<SocketAddr>,
    },
    /// Who joined and who left since.
    Changes {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joined: Vec<SocketAddr>,
        /// As in [`Told::Members`], among those who joined.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        named: Vec<SocketAddr>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<SocketAddr>,
    },
    /// These have all of it, or had it when they left.
    Whole { members: Vec<Copy> },
    /// Whether the conductor could connect to this member, at this address.
    Reach { address: SocketAddr, open: bool },
    /// Why this member is not taken; the strand ends.
    Refused { why: String },
    /// The strand ends: it did not keep up, another link of the member took its place, or it is not taken any more.
    Ended,
    /// What a later version tells.
    #[serde(other)]
    Other,
}

/// A member that has all of a composition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    #[serde(with = "hex_text")]
    pub peer_id: PeerId,
    pub name: String,
    /// The same however often its member is started anew.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "copy_id::hex_or_none")]
    pub copy: Option<CopyId>,
}

impl Copy {
    /// What it is counted under.
    pub fn holder(&self) -> Holder {
        Holder::of(self.copy, self.peer_id)
    }

    /// With as much of its name as counts.
    pub fn cut(mut self) -> Self {
        self.name = cut_name(&self.name);
        self
    }
}

impl Hello {
    /// The announce that says the same.
    pub fn announce(&self, event: Option<Event>, numwant: Option<u32>) -> Announce {
        Announce {
            info_hash: self.info_hash,
            id: self.peer_id,
            port: self.port,
            ip: self.ip,
            uploaded: self.progress.uploaded,
            downloaded: self.progress.downloaded,
            left: self.progress.left,
            event,
            numwant,
            compact: true,
            no_peer_id: true,
            key: Some(self.key),
        }
    }

    /// With what is longer than anybody needs cut off.
    pub fn cut(mut self) -> Self {
        self.name = cut_name(&self.name);
        self.near.truncate(MAX_NEAR);
        self.progress = self.progress.cut();
        self
    }
}

fn cut_name(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

impl Progress {
    /// With a map that is one, or none.
    pub fn cut(mut self) -> Self {
        if self.map.len() > MAX_MAP || !self.map.bytes().all(|b| b.is_ascii_hexdigit()) {
            self.map.clear();
        }
        self
    }
}

/// Which of so many parts are there, in up to [`MAX_MAP`] stretches of equal length: a hex digit each, `0` none of
/// them, `f` all of them, between them how many in fourteenths.
pub fn map(parts: u32, is_there: impl Fn(u32) -> bool) -> String {
    let stretches = (MAX_MAP as u64).min(parts.into());
    let start = |nth: u64| (u64::from(parts) * nth / stretches.max(1)) as u32;
    (0..stretches).map(|nth| digit(start(nth)..start(nth + 1), &is_there)).collect()
}

fn digit(stretch: core::ops::Range<u32>, is_there: &impl Fn(u32) -> bool) -> char {
    let all = stretch.len();
    let there = stretch.filter(|part| is_there(*part)).count();
    let step = match there {
        0 => 0,
        _ if there == all => 15,
        _ => 1 + there * 14 / all,
    };
    char::from_digit(step as u32, 16).unwrap_or('0')
}

/// Twenty bytes as forty hex digits.
pub(crate) mod hex_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::{metainfo::InfoHash, wire::handshake::PeerId};

    pub trait Twenty {
        fn bytes(&self) -> [u8; 20];
        fn of(bytes: [u8; 20]) -> Self;
    }

    impl Twenty for InfoHash {
        fn bytes(&self) -> [u8; 20] {
            self.0
        }

        fn of(bytes: [u8; 20]) -> Self {
            Self(bytes)
        }
    }

    impl Twenty for PeerId {
        fn bytes(&self) -> [u8; 20] {
            self.0
        }

        fn of(bytes: [u8; 20]) -> Self {
            Self(bytes)
        }
    }

    pub fn serialize<S: Serializer>(twenty: &impl Twenty, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(twenty.bytes()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: Twenty>(from: D) -> Result<T, D::Error> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(String::deserialize(from)?, &mut bytes).map_err(D::Error::custom)?;
        Ok(T::of(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Hello {
        Hello {
            v: VERSION,
            info_hash: InfoHash([0xab; 20]),
            peer_id: PeerId([0x2d; 20]),
            key: 7,
            port: 9998,
            ip: None,
            near: vec!["10.0.0.5".parse().unwrap()],
            name: "node1".to_owned(),
            copy: None,
            progress: Progress { left: 5, map: "f80".to_owned(), ..Progress::default() },
        }
    }

    #[test]
    fn a_message_is_one_flat_object_with_its_type() {
        let text = serde_json::to_string(&Said::Hello(hello())).unwrap();
        let (hash, id) = ("ab".repeat(20), "2d".repeat(20));
        assert_eq!(
            text,
            format!(
                r#"{{"type":"hello","v":1,"info_hash":"{hash}","peer_id":"{id}","key":7,"port":9998,"near":["10.0.0.5"],"name":"node1","uploaded":0,"downloaded":0,"left":5,"rate_up":0,"rate_down":0,"map":"f80"}}"#
            )
        );
        assert_eq!(serde_json::from_str::<Said>(&text).unwrap(), Said::Hello(hello()));
        let told = Told::Changes { joined: vec!["[::1]:7".parse().unwrap()], named: Vec::new(), left: Vec::new() };
        let word = Word { told, info_hash: InfoHash([0xab; 20]) };
        let text = format!(r#"{{"type":"changes","joined":["[::1]:7"],"info_hash":"{hash}"}}"#);
        assert_eq!(serde_json::to_string(&word).unwrap(), text);
        assert_eq!(serde_json::from_str::<Word>(&text).unwrap(), word);
        let said = Said::Progress { info_hash: InfoHash([0xab; 20]), progress: hello().progress };
        let text = serde_json::to_string(&said).unwrap();
        assert!(text.starts_with(&format!(r#"{{"type":"progress","info_hash":"{hash}","uploaded":0"#)), "{text}");
        assert_eq!(serde_json::from_str::<Said>(&text).unwrap(), said);
    }

    #[test]
    fn a_copy_is_named_in_hex_or_not_at_all() {
        let copy = Some(CopyId([0xcd; 8]));
        let text = serde_json::to_string(&Said::Hello(Hello { copy, ..hello() })).unwrap();
        assert!(text.contains(r#""name":"node1","copy":"cdcdcdcdcdcdcdcd","uploaded":0"#), "{text}");
        let read = |text: &str| match serde_json::from_str::<Said>(text).unwrap() {
            Said::Hello(hello) => hello.copy,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&text), copy);
        for wrong in [r#""cd""#, r#""cdcdcdcdcdcdcdcg""#, "7", "null", "[]", r#"{"a":[1e9]}"#] {
            assert_eq!(read(&text.replace(r#""cdcdcdcdcdcdcdcd""#, wrong)), None, "{wrong}");
        }
        let hash = "ab".repeat(20);
        let whole = |copy| {
            let members = vec![Copy { peer_id: PeerId([0xab; 20]), name: "vm".to_owned(), copy }];
            Word { told: Told::Whole { members }, info_hash: InfoHash([0xab; 20]) }
        };
        for (key, copy) in [(r#","copy":"cdcdcdcdcdcdcdcd""#, copy), ("", None)] {
            let text = format!(
                r#"{{"type":"whole","members":[{{"peer_id":"{hash}","name":"vm"{key}}}],"info_hash":"{hash}"}}"#
            );
            assert_eq!(serde_json::to_string(&whole(copy)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Word>(&text).unwrap(), whole(copy));
        }
    }

    #[test]
    fn what_a_later_version_says_is_borne() {
        let told = |text: &str| serde_json::from_str::<Word>(text).unwrap().told;
        let hash = "ab".repeat(20);
        assert_eq!(told(&format!(r#"{{"type":"song","bars":[1],"info_hash":"{hash}"}}"#)), Told::Other);
        let text = format!(r#"{{"type":"reach","address":"10.0.0.1:7","open":true,"after":3,"info_hash":"{hash}"}}"#);
        assert_eq!(told(&text), Told::Reach { address: "10.0.0.1:7".parse().unwrap(), open: true });
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let long = Hello { name: "é".repeat(100), near: vec![IpAddr::from([1; 4]); 20], ..hello() };
        let cut = long.cut();
        assert_eq!((cut.name.chars().count(), cut.near.len()), (MAX_NAME, MAX_NEAR));
        let copy = Copy { peer_id: PeerId([1; 20]), name: "é".repeat(100), copy: None };
        assert_eq!(copy.cut().name, cut.name);
        let wrong = |map: &str| Progress { map: map.to_owned(), ..Progress::default() }.cut().map;
        assert_eq!((wrong("<b>"), wrong(&"f".repeat(97)), wrong("0f")), (String::new(), String::new(), "0f".into()));
    }

    #[test]
    fn only_a_stretch_that_is_whole_is_f_and_only_an_empty_one_0() {
        assert_eq!(map(3, |part| part != 1), "f0f");
        assert_eq!(map(0, |_| true), "");
        assert_eq!(map(96_000, |part| part != 0 && part < 2001), "ef1".to_owned() + &"0".repeat(93));
    }

    proptest! {
        #[test]
        fn hostile_text_is_refused_or_read(text in "\\PC{0,200}") {
            let _ = serde_json::from_str::<Said>(&text);
            let _ = serde_json::from_str::<Word>(&text);
        }

        #[test]
        fn whatever_stands_for_a_copy_is_an_id_or_none(text in "[0-9a-f]{14,18}|\\PC{0,20}", copy: Option<[u8; 8]>) {
            let said = Said::Hello(Hello { copy: copy.map(CopyId), ..hello() });
            let written = serde_json::to_string(&said).unwrap();
            prop_assert_eq!(serde_json::from_str::<Said>(&written).unwrap(), said);
            let named = |copy: &str| serde_json::json!({ "peer_id": "ab".repeat(20), "name": "vm", "copy": copy });
            let read: Copy = serde_json::from_value(named(&text)).unwrap();
            prop_assert_eq!(read.copy, CopyId::from_hex(&text));
        }

        #[test]
        fn a_map_has_a_digit_for_each_stretch(parts in 0u32..5000, step in 1u32..50) {
            let drawn = map(parts, |part| part % step == 0);
            prop_assert_eq!(drawn.len(), (parts as usize).min(MAX_MAP));
        }
    }
}
