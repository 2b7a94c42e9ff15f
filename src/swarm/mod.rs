//! A swarm as one member sees it, as a state machine: what was heard and the time in, effects out.
//!
//! One task owns it; it knows no sockets, files, clock or randomness of its own (its dice are seeded by the caller).

use core::net::SocketAddr;

use crate::{
    geometry::{Geometry, PartIndex},
    peer::{Command, Event, Introduction, PeerKey, session::Show},
    time::Time,
    wire::{bitfield::Bitfield, handshake::PeerId},
};

pub struct Config {
    pub geometry: Geometry,
    pub id: PeerId,
    /// What is on the disk and verified at the start.
    pub have: Bitfield,
    /// Whether anything may be fetched yet: false while what is on the disk is still being checked.
    pub checked: bool,
    /// Connections at most, in all.
    pub max_peers: usize,
    /// Connections that we open ourselves, at most.
    pub max_dialled: usize,
    /// Seed of its dice.
    pub seed: u64,
}

/// What a swarm hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Addresses of members, from the conductor, the command line or other members.
    Endpoints(Vec<SocketAddr>),
    /// Somebody's 68 bytes came; answered with [`Effect::Admit`] or [`Effect::Refuse`].
    Introduced(PeerKey, Introduction),
    /// An address of [`Effect::Dial`] did not lead to an introduction.
    DialFailed(SocketAddr),
    Peer(PeerKey, Event),
    /// This part is verified and on the disk.
    Have(PartIndex),
    /// What was on the disk is all known now: fetch the rest.
    Checked,
}

/// What a swarm wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Dial(SocketAddr),
    Admit(PeerKey, Show),
    Refuse(PeerKey, &'static str),
    Tell(PeerKey, Command),
    /// Every part is on the disk and verified.
    Complete,
}

/// The swarm in numbers, for people and programs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub parts: u32,
    pub parts_done: u32,
    pub bytes: u64,
    pub bytes_done: u64,
    /// Payload bytes that came from members, duplicates and wrong ones included.
    pub fetched: u64,
    /// Payload bytes sent to members.
    pub uploaded: u64,
    /// Bytes a second, over the last seconds.
    pub rate_down: f64,
    pub rate_up: f64,
    /// Members connected, we not counted, and how many of them have everything.
    pub members: usize,
    pub complete_members: usize,
    /// Wrong parts that came.
    pub wrong_parts: u64,
}

pub struct Swarm {}

impl Swarm {
    pub fn new(_config: Config, _now: Time) -> Self {
        todo!()
    }

    pub fn handle(&mut self, _input: Input, _now: Time) {
        todo!()
    }

    /// To be called about every 100 ms.
    pub fn tick(&mut self, _now: Time) {
        todo!()
    }

    pub fn next_effect(&mut self) -> Option<Effect> {
        todo!()
    }

    pub fn snapshot(&self, _now: Time) -> Snapshot {
        todo!()
    }
}
