//! One conversation as a state machine: messages and the time in; messages, events and the next deadline out.
//!
//! It owns no socket, no clock and no block's bytes. Whoever drives it
//! - hands it every decoded message ([`Session::on_message`]) and the header of every block ([`Session::on_block`]),
//!   then reads that block's payload to where [`Landing`] says, telling of bytes as they come ([`Session::on_bytes`])
//!   and of the end ([`Session::on_block_end`]);
//! - writes what [`Session::next_message`] and, when there is none, [`Session::next_block`] give;
//! - carries [`Session::next_event`] to the swarm and the swarm's commands back;
//! - calls [`Session::on_deadline`] when [`Session::deadline`] has come.

use std::{ops::Range, sync::Arc};

use crate::{
    geometry::{BlockRange, Geometry, PartIndex},
    peer::{Command, Event, Introduction},
    time::Time,
    wire::{
        bitfield::Bitfield,
        message::{Message, RawBlock},
    },
};

/// Blocks of this size are asked for between our own members, at most.
pub const MAX_REQUEST: u32 = 1 << 20;

/// What a new conversation says that we have.
#[derive(Clone, Debug, PartialEq)]
pub enum Show {
    Nothing,
    Everything,
    These(Arc<Bitfield>),
}

pub struct Setup {
    pub geometry: Geometry,
    /// The raw info dictionary, to serve to who came by a magnet link (BEP 9); empty when there is none to give.
    pub info: Arc<[u8]>,
    pub listen_port: u16,
    pub remote: Introduction,
    pub show: Show,
}

/// It broke the protocol: close the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// Where the payload of a block goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    Wanted(BlockRange),
    /// Asked for once and not wanted any more: read it and throw it away.
    Unwanted,
}

pub struct Session {}

impl Session {
    pub fn new(_setup: Setup, _now: Time) -> Self {
        todo!()
    }

    pub fn on_message(&mut self, _message: Message, _now: Time) -> Result<(), Fault> {
        todo!()
    }

    /// The 13 bytes before a block came.
    pub fn on_block(&mut self, _header: RawBlock, _now: Time) -> Result<Landing, Fault> {
        todo!()
    }

    /// So many bytes of the payload came.
    pub fn on_bytes(&mut self, _count: u32, _now: Time) {
        todo!()
    }

    /// The payload is whole. Returns the part if that was the last of it: check it, then call [`Self::on_verdict`].
    pub fn on_block_end(&mut self, _now: Time) -> Option<PartIndex> {
        todo!()
    }

    /// What came of checking a part: Event::Right or Event::Wrong.
    pub fn on_verdict(&mut self, _verdict: Event) {
        todo!()
    }

    /// [`Command::Fetch`]: `missing` are the 16 KiB blocks of the part that are not there yet.
    pub fn fetch(&mut self, _part: PartIndex, _missing: &[Range<u32>], _now: Time) {
        todo!()
    }

    /// Any command but `Fetch` and `Close`, which are the driver's.
    pub fn command(&mut self, _command: Command, _now: Time) {
        todo!()
    }

    /// The next message to send.
    pub fn next_message(&mut self) -> Option<Message> {
        todo!()
    }

    /// The next block that there is leave to send. It counts as sent from here on: a cancel comes too late for it.
    pub fn next_block(&mut self) -> Option<BlockRange> {
        todo!()
    }

    /// Whether [`Self::next_block`] would give one.
    pub fn has_block(&self) -> bool {
        todo!()
    }

    /// The last byte of this block went to the socket.
    pub fn on_sent(&mut self, _block: BlockRange, _now: Time) {
        todo!()
    }

    /// The socket takes no more for now, or again does.
    pub fn on_clogged(&mut self, _clogged: bool) {
        todo!()
    }

    /// The next thing the swarm should know. The event `Released` means that the driver puts the part's bytes away
    /// ([`crate::storage::Store::park`]) before it passes the event on.
    pub fn next_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// When [`Self::on_deadline`] wants to be called.
    pub fn deadline(&self) -> Time {
        todo!()
    }

    /// Keep-alives, and the end of a conversation in which nothing is said.
    pub fn on_deadline(&mut self, _now: Time) -> Result<(), Fault> {
        todo!()
    }
}
