//! What a member asks a conductor, and what it hears back, whatever carries it (BEP 3, 7, 15, 23, 24, 48).
//!
//! The types here are neutral; [`http_request`] and [`http_answer`] turn them into the bytes of the HTTP form and back,
//! [`udp_request`] and [`udp_answer`] into datagrams. Members and conductors use the same code, so that each reads what
//! the other writes. Nothing here decides anything: who is listed is up to `conductor::table`.

pub mod http_answer;
pub mod http_request;
pub mod live;
pub mod udp_answer;
pub mod udp_request;

use core::net::{IpAddr, SocketAddr};

use crate::{metainfo::InfoHash, wire::handshake::PeerId};

/// How the reason begins for which a conductor refuses a source that asks more than its share: what was asked may be asked
/// again later.
pub const ASKED_TOO_OFTEN: &str = "too many questions";

/// What happened to a member since its last announce (BEP 3). None of them is the regular announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Started,
    Completed,
    Stopped,
}

/// One member's word about one swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    pub info_hash: InfoHash,
    pub id: PeerId,
    /// The TCP port on which the member listens; 0: it does not.
    pub port: u16,
    /// Where it says that it is reached, beside the address that it came from; few conductors believe it (BEP 3).
    pub ip: Option<IpAddr>,
    /// Bytes since it started.
    pub uploaded: u64,
    /// Bytes since it started.
    pub downloaded: u64,
    /// Bytes that it still lacks; 0 makes it a seed.
    pub left: u64,
    pub event: Option<Event>,
    /// How many members it wants to hear of; None leaves that to the conductor.
    pub numwant: Option<u32>,
    /// Wants the short form of the list (BEP 23), which has no peer ids.
    pub compact: bool,
    /// Wants no peer ids in the long form either.
    pub no_peer_id: bool,
    /// Tells this member from others that claim its peer id; only the conductor sees it.
    pub key: Option<u32>,
}

impl Announce {
    /// Whether this seed may be none: aria2 says that nothing is left while a magnet link is all that it has, and needs
    /// a seed to know better. Our own members never do.
    pub fn may_lack_its_info(&self) -> bool {
        self.left == 0 && self.downloaded == 0 && !self.id.is_ours()
    }
}

/// A member as the conductor lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub address: SocketAddr,
    /// Not in the short form.
    pub id: Option<PeerId>,
    /// The member only says that it is there, on a network on which the conductor did not see it. Such a one is told over
    /// live links alone, where it can be said.
    pub claimed: bool,
}

/// What the conductor says to an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Answer(Answer),
    /// `failure reason`: it did not take the announce, and why, for people.
    Failure(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Seconds until the next announce.
    pub interval: u32,
    /// Seconds that must pass at least before another announce.
    pub min_interval: Option<u32>,
    /// Members that have everything.
    pub complete: Option<u32>,
    /// Members that still lack something.
    pub incomplete: Option<u32>,
    pub peers: Vec<Listed>,
    /// The asker's address as the conductor sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// Something for people, beside a valid answer.
    pub warning: Option<String>,
}

/// A swarm in numbers (BEP 48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Members that have everything.
    pub complete: u32,
    /// Members that still lack something.
    pub incomplete: u32,
    /// How many members became complete here since the conductor started.
    pub downloaded: u32,
}
