//! What one member can say to another, decoded: BEP 3, the fast extension (BEP 6) and the envelope of BEP 10.
//!
//! Numbers here are as they came from the other side; the session turns them into a [`crate::geometry::PartIndex`]
//! or a [`crate::geometry::BlockRange`] before it believes them.

/// Three numbers that name a block on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawBlock {
    pub part: u32,
    pub begin: u32,
    pub len: u32,
}

/// Every message but `piece`, whose payload never becomes a message: see [`Frame`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    /// The payload; its length and spare bits are checked against the geometry by the session.
    Bitfield(Vec<u8>),
    Request(RawBlock),
    Cancel(RawBlock),
    /// The port of a DHT node (BEP 5).
    Port(u16),
    Suggest(u32),
    HaveAll,
    HaveNone,
    Reject(RawBlock),
    AllowedFast(u32),
    /// BEP 10: the extension's number as the receiver chose it (0 is the handshake) and its payload.
    Extended {
        id: u8,
        payload: Vec<u8>,
    },
    /// A message number that no BEP of ours names; it is skipped.
    Unknown {
        id: u8,
    },
}

/// What a decoder finds at the start of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Message(Message),
    /// The 13 bytes that come before a block. The `len` bytes of payload that follow are the caller's to read.
    Block(RawBlock),
}

/// The number of each message on the wire.
pub(super) mod id {
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const NOT_INTERESTED: u8 = 3;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    /// `piece` in BEP 3.
    pub const BLOCK: u8 = 7;
    pub const CANCEL: u8 = 8;
    pub const PORT: u8 = 9;
    pub const SUGGEST: u8 = 13;
    pub const HAVE_ALL: u8 = 14;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT: u8 = 16;
    pub const ALLOWED_FAST: u8 = 17;
    pub const EXTENDED: u8 = 20;
}
