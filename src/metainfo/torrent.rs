//! `.torrent` files (BEP 3), with several trackers (BEP 12) and HTTP sources (BEP 19).
//!
//! The info dictionary is kept in the bytes that were read: the swarm is named after them. A file of ours also carries
//! the SHA-1 of the whole composition, as root key `sha1` outside the info dictionary, where it does not change the
//! info-hash. Hostile input: longer than [`MAX_BYTES`] is refused unread, and lists are cut at [`MAX_LIST`].

use std::{fmt, sync::Arc};

use super::{
    Info, InfoHash,
    bencode::{self, BencodeError, Dict, Value, write_bytes, write_int},
    info::InfoError,
};
use crate::hashing::Digest;

/// The longest `.torrent` that is read, in bytes.
pub const MAX_BYTES: usize = 256 << 20;
/// How many trackers or HTTP sources are read; the rest is left out.
pub const MAX_LIST: usize = 100;

/// What a `.torrent` says.
#[derive(Clone, PartialEq, Eq)]
pub struct Torrent {
    /// Addresses of trackers in tiers, the first tier to be tried first (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// HTTP sources of the same bytes (BEP 19).
    pub mirrors: Vec<String>,
    /// SHA-1 of the whole composition, as its author says; the info-hash does not cover it.
    pub whole: Option<Digest>,
    pub comment: Option<String>,
    /// Seconds since 1970.
    pub created: Option<u64>,
    /// The program that wrote it.
    pub created_by: Option<String>,
    info: Info,
    raw: Arc<[u8]>,
}

/// Why a `.torrent` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TorrentError {
    #[error("the torrent is longer than 256 MiB: no composition needs that")]
    TooLong,
    #[error("this is no torrent file: {0}")]
    Bencode(#[from] BencodeError),
    #[error("this is no torrent file: it has no info dictionary")]
    NoInfo,
    #[error(transparent)]
    Info(#[from] InfoError),
}

impl Torrent {
    /// A torrent of this raw info dictionary and nothing else.
    pub fn new(raw: impl Into<Arc<[u8]>>) -> Result<Self, InfoError> {
        let raw = raw.into();
        Ok(Self {
            trackers: Vec::new(),
            mirrors: Vec::new(),
            whole: None,
            comment: None,
            created: None,
            created_by: None,
            info: Info::parse(&raw)?,
            raw,
        })
    }

    /// Reads a `.torrent`. What is not needed and not sound is passed over.
    pub fn parse(bytes: &[u8]) -> Result<Self, TorrentError> {
        if bytes.len() > MAX_BYTES {
            return Err(TorrentError::TooLong);
        }
        let root = bencode::parse(bytes)?;
        let root = root.as_dict().ok_or(TorrentError::NoInfo)?;
        let raw = root.get("info").ok_or(TorrentError::NoInfo)?.raw();
        let sha1 = root.get("sha1").and_then(Value::as_bytes);
        Ok(Self {
            trackers: trackers(&root),
            mirrors: strings(root.get("url-list")),
            whole: sha1.and_then(|sha1| sha1.try_into().ok()).map(Digest),
            comment: text(&root, "comment"),
            created: root.get("creation date").and_then(Value::as_u64),
            created_by: text(&root, "created by"),
            ..Self::new(raw)?
        })
    }

    /// The `.torrent`: always the same bytes for the same torrent.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len() + 1024);
        out.push(b'd');
        if let Some(first) = self.trackers.iter().flatten().next() {
            write_text(&mut out, "announce", Some(first));
        }
        if self.trackers.iter().flatten().count() > 1 {
            write_bytes(&mut out, b"announce-list");
            out.push(b'l');
            self.trackers.iter().for_each(|t| write_list(&mut out, t));
            out.push(b'e');
        }
        write_text(&mut out, "comment", self.comment.as_deref());
        write_text(&mut out, "created by", self.created_by.as_deref());
        if let Some(created) = self.created {
            write_bytes(&mut out, b"creation date");
            write_int(&mut out, created);
        }
        write_bytes(&mut out, b"info");
        out.extend_from_slice(&self.raw);
        if let Some(whole) = &self.whole {
            write_bytes(&mut out, b"sha1");
            write_bytes(&mut out, &whole.0);
        }
        if !self.mirrors.is_empty() {
            write_bytes(&mut out, b"url-list");
            write_list(&mut out, &self.mirrors);
        }
        out.push(b'e');
        out
    }

    /// What the info dictionary says.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The bytes of the info dictionary, as they were read.
    pub fn info_bytes(&self) -> &Arc<[u8]> {
        &self.raw
    }

    /// The name of the swarm.
    pub fn info_hash(&self) -> InfoHash {
        InfoHash::of(&self.raw)
    }
}

impl fmt::Debug for Torrent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Torrent({}, {:?})", self.info_hash(), self.info.name)
    }
}

/// `announce-list` where it names any, else `announce`.
fn trackers(root: &Dict<'_>) -> Vec<Vec<String>> {
    let tiers = root.get("announce-list").and_then(Value::as_list);
    let mut room = MAX_LIST;
    let mut trackers: Vec<_> = tiers
        .into_iter()
        .flatten()
        .take(MAX_LIST)
        .map(|tier| {
            let mut tier = strings(Some(tier));
            tier.truncate(room);
            room -= tier.len();
            tier
        })
        .filter(|tier| !tier.is_empty())
        .collect();
    if trackers.is_empty() {
        trackers.extend(text(root, "announce").map(|url| vec![url]));
    }
    trackers
}

/// A list of strings, or one string in its place.
fn strings(value: Option<Value<'_>>) -> Vec<String> {
    let Some(value) = value else {
        return Vec::new();
    };
    let one = value.as_str().into_iter();
    let many = value.as_list().into_iter().flatten().take(MAX_LIST);
    one.chain(many.filter_map(Value::as_str)).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// Text of other programs is not always UTF-8; none of it is worth refusing a torrent for.
fn text(root: &Dict<'_>, key: &str) -> Option<String> {
    let bytes = root.get(key)?.as_bytes()?;
    Some(String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty())
}

fn write_text(out: &mut Vec<u8>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        write_bytes(out, key.as_bytes());
        write_bytes(out, text.as_bytes());
    }
}

fn write_list(out: &mut Vec<u8>, texts: &[String]) {
    out.push(b'l');
    texts.iter().for_each(|t| write_bytes(out, t.as_bytes()));
    out.push(b'e');
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*, sample::Index};

    use super::*;

    const INFO: &str = "d6:lengthi3e4:name1:x12:piece lengthi2e6:pieces40:aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbe";

    fn torrents() -> impl Strategy<Value = Torrent> {
        let urls = || vec("[a-z:/]{1,9}", 1..3);
        let text = || option::of("\\PC{1,9}");
        let number = option::of(any::<u64>());
        let whole = option::of(any::<[u8; 20]>());
        (vec(urls(), 0..3), urls(), whole, text(), number, text()).prop_map(
            |(trackers, mirrors, whole, comment, created, created_by)| Torrent {
                trackers,
                mirrors,
                whole: whole.map(Digest),
                comment,
                created,
                created_by,
                ..Torrent::new(INFO.as_bytes()).unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(torrent in torrents()) {
            let bytes = torrent.render();
            let read = Torrent::parse(&bytes).unwrap();
            prop_assert_eq!(read.render(), bytes);
            prop_assert!(read == torrent);
        }

        #[test]
        fn broken_bytes_never_panic(torrent in torrents(), at in any::<Index>(), byte: u8) {
            let mut bytes = torrent.render();
            let at = at.index(bytes.len());
            prop_assert!(Torrent::parse(&bytes[..at]).is_err());
            bytes[at] = byte;
            let _ = Torrent::parse(&bytes);
        }
    }

    #[test]
    fn a_foreign_torrent_is_read_and_its_info_kept_to_the_byte() {
        let info = INFO.replace("d6:", "d7:privatei1e6:");
        let text = format!(
            "d8:announce3:a:a13:announce-listll3:u:1eli7eel3:u:23:u:3ee4:info{info}5:nodesle8:url-list3:h:h4:sha13:bade"
        );
        let torrent = Torrent::parse(text.as_bytes()).unwrap();
        assert_eq!(torrent.trackers, [vec!["u:1"], vec!["u:2", "u:3"]]);
        assert_eq!(torrent.mirrors, ["h:h"]);
        assert_eq!(torrent.whole, None);
        assert_eq!(&torrent.info_bytes()[..], info.as_bytes());
        assert_eq!(torrent.info_hash(), InfoHash::of(info.as_bytes()));
    }

    #[test]
    fn lists_have_an_end() {
        let tier = format!("l{}e", "1:u".repeat(90));
        let text = format!("d13:announce-listl{tier}{tier}{tier}e4:info{INFO}e");
        let torrent = Torrent::parse(text.as_bytes()).unwrap();
        assert_eq!(torrent.trackers.iter().flatten().count(), MAX_LIST);
    }

    #[test]
    fn what_is_no_torrent_is_said_to_be_none() {
        for bytes in [&b"PK\x03\x04"[..], b"", b"i1e", b"de", b"d4:infoi1ee", b"d4:infodee"] {
            assert!(Torrent::parse(bytes).is_err());
        }
    }
}
