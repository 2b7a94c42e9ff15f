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
