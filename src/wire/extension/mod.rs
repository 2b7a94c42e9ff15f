//! What travels in the envelope of BEP 10: its handshake, metadata (BEP 9), peer exchange (BEP 11), and questions among
//! neighbours.
//!
//! All are bencoded dictionaries. What we write is canonical; what we read may have its keys in any order, keys
//! that we do not know, and values of another type than they ought to have: such a value counts as not there.

pub mod handshake;
pub mod metadata;
pub mod pex;
pub mod search;

/// The number of the extension handshake in the envelope (BEP 10).
pub const HANDSHAKE: u8 = 0;
/// The number that we choose for the metadata messages that others send to us.
pub const OUR_METADATA: u8 = 2;
/// The number that we choose for the message with which our own members say that they have little to send (`oc_offer`).
/// It is empty.
pub const OUR_OFFER: u8 = 3;
/// The number that we choose for the peer exchange that others send to us.
pub const OUR_PEX: u8 = 1;
/// The number that we choose for the questions and answers of neighbours that others send to us (`oc_search`).
pub const OUR_SEARCH: u8 = 4;
