//! What a member said over its live link, as one conductor tells the others: JSON and back.
//!
//! Pure. Where it is listed is told by [`sighting`](super::sighting)s; this is what people see of it: its name, how far
//! it is, and that it is gone.

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::sighting::Sender;
use crate::{
    announce::live::{MAX_NAME, Progress, hex_text},
    metainfo::InfoHash,
    wire::{
        copy_id::{self, CopyId},
        handshake::PeerId,
    },
};

/// One member with a live link to another conductor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Glimpse {
    #[serde(with = "hex_text")]
    pub info_hash: InfoHash,
    #[serde(with = "hex_text")]
    pub peer_id: PeerId,
    pub key: u32,
    /// Where it is seen.
    pub home: SocketAddr,
    pub name: String,
    /// Which copy it holds; older members and conductors do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "copy_id::hex_or_none")]
    pub copy: Option<CopyId>,
    /// None: its link ended.
    pub progress: Option<Progress>,
    /// When it got all of it, if its conductor saw that; older conductors do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub got: Option<Got>,
}

/// When a member was first heard of, and when it got all of it, in milliseconds before this is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Got {
    pub began_ago: u64,
    pub whole_ago: u64,
}

#[derive(Serialize, Deserialize)]
struct Batch {
    sender: u64,
    glimpses: Vec<Glimpse>,
}

impl Glimpse {
    /// As other machines reach a member on the conductor's own: at this address of the conductor's.
    pub fn seen_from_outside(mut self, outside: Option<IpAddr>) -> Self {
        if let Some(outside) = outside
            && self.home.ip().is_loopback()
        {
            self.home.set_ip(outside);
        }
        self
    }
}

pub fn write(sender: Sender, glimpses: &[Glimpse]) -> Vec<u8> {
    serde_json::to_vec(&Batch { sender: sender.0, glimpses: glimpses.to_vec() }).unwrap_or_default()
}

/// Reads a batch; None where it is none. What is longer than anybody needs is cut off.
pub fn read(bytes: &[u8]) -> Option<(Sender, Vec<Glimpse>)> {
    let Batch { sender, glimpses } = serde_json::from_slice(bytes).ok()?;
    let cut = |glimpse: Glimpse| Glimpse {
        name: glimpse.name.chars().take(MAX_NAME).collect(),
        progress: glimpse.progress.map(Progress::cut),
        ..glimpse
    };
    Some((Sender(sender), glimpses.into_iter().map(cut).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glimpse() -> Glimpse {
        Glimpse {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            key: 3,
            home: "127.0.0.1:9998".parse().unwrap(),
            name: "node".into(),
            copy: Some(CopyId([4; 8])),
            progress: Some(Progress { left: 9, map: "0f".into(), ..Progress::default() }),
            got: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let got = Some(Got { began_ago: 12_000, whole_ago: 1000 });
        let glimpses = [glimpse(), Glimpse { progress: None, got, ..glimpse() }, Glimpse { copy: None, ..glimpse() }];
        assert_eq!(read(&write(Sender(7), &glimpses)), Some((Sender(7), glimpses.to_vec())));
        for bytes in [&b""[..], b"{}", b"\xff", b"{\"sender\":1,\"glimpses\":[{}]}"] {
            assert!(read(bytes).is_none());
        }
        let long = Glimpse { name: "x".repeat(1000), ..glimpse() };
        assert_eq!(read(&write(Sender(7), &[long])).unwrap().1[0].name.len(), MAX_NAME);
    }

    #[test]
    fn a_copy_that_is_none_is_not_there() {
        let written = String::from_utf8(write(Sender(7), &[glimpse()])).unwrap();
        assert!(written.contains(r#""copy":"0404040404040404""#), "{written}");
        for wrong in [r#""04""#, "4", "null"] {
            let other = written.replace(r#""0404040404040404""#, wrong);
            assert_eq!(read(other.as_bytes()).unwrap().1, [Glimpse { copy: None, ..glimpse() }]);
        }
    }

    #[test]
    fn from_outside_only_the_loopback_moves() {
        let outside = Some([10, 0, 0, 1].into());
        assert_eq!(glimpse().seen_from_outside(outside).home, "10.0.0.1:9998".parse().unwrap());
        assert_eq!(glimpse().seen_from_outside(None), glimpse());
        let there = Glimpse { home: "10.0.0.9:1".parse().unwrap(), ..glimpse() };
        assert_eq!(there.clone().seen_from_outside(outside), there);
    }
}
