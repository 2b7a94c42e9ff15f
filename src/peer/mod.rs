//! A conversation with one other member.
//!
//! [`session`] is the state machine; `driver` is the only code that owns the socket. What the session tells the swarm
//! is an [`Event`], what the swarm tells the session a [`Command`]; both are small, and neither carries a block's bytes.

pub mod dial;
pub mod driver;
pub mod gather;
pub mod glance;
pub mod inquiry;
pub mod liveness;
mod patience;
pub mod rates;
mod receive;
mod requests;
mod scratch;
pub mod session;
mod socket;
pub mod talk;
mod transmit;
mod uploads;

use crate::{
    geometry::PartIndex,
    peer::liveness::Silence,
    time::Time,
    wire::{bitfield::Bitfield, copy_id::CopyId, extension::pex::Exchange, handshake::PeerId, machine_id::MachineId},
};

/// Names one connection in this process; never used again after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(pub u32);

/// What a conversation tells the swarm.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The other side's extension handshake (BEP 10) came.
    Hello(Hello),
    /// Whom it has met and lost, as it says (BEP 11).
    Exchange(Exchange),
    /// It has these parts, and none else.
    HasAll,
    HasNone,
    HasThese(Bitfield),
    /// It has this part too.
    Has(PartIndex),
    /// Whether it serves us.
    Choked(bool),
    /// Whether it wants anything from us.
    Interested(bool),
    /// Payload bytes that came since the last such event, of blocks of this part that were asked for and not taken back.
    Received {
        part: PartIndex,
        bytes: u32,
    },
    /// Payload bytes that came since the last such event, of blocks that were taken back before: they are of no use.
    Late(u32),
    /// A whole part came from it, and was checked: its bytes are right (and on their way to the disk).
    Right(PartIndex),
    /// A whole part came and is wrong. `alone`: every byte of it came from this member.
    Wrong {
        part: PartIndex,
        alone: bool,
    },
    /// The part asked for with [`Command::Fetch`] is free again: released as told, or refused by the other side.
    /// What came of it is kept for the one who fetches it next.
    Released {
        part: PartIndex,
        refused: bool,
    },
    /// It waits for blocks of ours and has no leave to get any: see [`Command::Serve`].
    Asks,
    /// The leave to serve is used up, or there is nothing left to serve.
    Served,
    /// Payload bytes that were sent since the last such event.
    Uploaded(u32),
    /// Its connection takes no more bytes for now (or again does).
    Clogged(bool),
    /// It has said nothing for a while; or it is heard again.
    Silent(Silence),
    /// It has little to send, and parts that we lack.
    Offer,
    /// It runs a node of the DHT at this UDP port (BEP 5).
    Node(u16),
    /// It asked for blocks of this part.
    Wants(PartIndex),
    /// Every byte of this part was sent to it.
    Sent(PartIndex),
    /// The conversation is over; parts asked of it are free again.
    Closed(Closed),
}

impl Event {
    /// What counts of it in a private composition: nobody is told of others there, nor believed (BEP 27).
    pub fn in_private(self) -> Self {
        match self {
            Self::Hello(hello) => Self::Hello(Hello { exchange: false, ..hello }),
            Self::Exchange(_) => Self::Exchange(Exchange::default()),
            event => event,
        }
    }
}

/// What the other side said of itself in its extension handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Name and version of its program, as it says.
    pub client: String,
    /// How people see it, if it is one of our own members. Not safe for a terminal.
    pub name: Option<String>,
    /// Which copy it holds, if it is one of our own members.
    pub copy: Option<CopyId>,
    /// The machine that it runs on, as it says, if it is one of our own members.
    pub machine: Option<MachineId>,
    /// The port it listens on.
    pub port: Option<u16>,
    /// One of our own members: it agreed on requests of this many bytes.
    pub max_request: Option<u32>,
    /// It wants to be told whom we have met (BEP 11).
    pub exchange: bool,
}

/// Why a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    #[error("it closed the connection")]
    ByThem,
    #[error("we closed it: {0}")]
    ByUs(&'static str),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("it broke the protocol: {0}")]
    Fault(String),
}

/// What the swarm tells a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Get this part, all of it that is still missing.
    Fetch(PartIndex),
    /// Stop getting this part; answered with [`Event::Released`] (or with the part, if it was complete by then).
    Release(PartIndex),
    /// The same, but what is on its way already is taken for this time: the answer may come later, or be the whole part.
    Recall(PartIndex, Time),
    /// Tell it that we have these parts.
    Have(std::sync::Arc<[PartIndex]>),
    /// Tell it of every part that we have: we have all.
    ShowAll,
    /// Tell it whether we want anything it has.
    Interest(bool),
    /// Leave to send this many bytes of the blocks it waits for (at least one block).
    Serve {
        bytes: u32,
    },
    /// Tell it that we have little to send, if it is one of our own members.
    Offer,
    /// Tell it whom we have met and lost (BEP 11), if it wants to know.
    Exchange(Exchange),
    /// Tell it that we run a node of the DHT at this UDP port; for those whose handshake says that they know of it.
    Node(u16),
    /// We have everything now.
    Complete,
    Close(&'static str),
}

/// What a member that just said its 68 bytes is, before the conversation starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    pub id: PeerId,
    pub address: core::net::SocketAddr,
    /// We dialled it (its address is one that others can dial too).
    pub dialled: bool,
    /// It knows the fast extension (BEP 6).
    pub fast: bool,
    /// It knows the extension protocol (BEP 10).
    pub extended: bool,
}
