//! The info dictionary in pieces of 16 KiB (BEP 9), for whoever came by a magnet link.

/// Every piece but the last has this many bytes.
pub const PIECE: u32 = 16 * 1024;

/// One message of BEP 9. (Its `piece` is one of the dictionary's pieces, no part of the composition.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    Request {
        piece: u32,
    },
    /// `total` is the length of the whole dictionary in bytes.
    Data {
        piece: u32,
        total: u32,
        bytes: Vec<u8>,
    },
    Reject {
        piece: u32,
    },
    /// A message type that BEP 9 does not name: to be ignored.
    Unknown,
}

/// It is no message of BEP 9.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its metadata message does not follow BEP 9")]
pub struct Malformed;

impl Metadata {
    /// As the payload behind the extension's number. [`Metadata::Unknown`] is never sent and gives nothing.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// # Errors
    /// No dictionary, no message type or piece, or data of another length than that piece of `total` has.
    pub fn decode(_payload: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }
}
