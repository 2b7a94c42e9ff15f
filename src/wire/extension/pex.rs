//! Peer exchange (BEP 11): members tell each other of members.
//!
//! What it costs an attacker: a list is cut at [`MOST`] entries; whether to believe any of it is the swarm's affair.

use core::net::SocketAddr;

/// Entries read from one message, at most.
pub const MOST: usize = 200;

/// What is known of a member that somebody tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// It wants nothing.
    pub const UPLOAD_ONLY: Self = Self(0x02);
    /// It can be dialled: the sender did.
    pub const REACHABLE: Self = Self(0x10);
}

/// One message of BEP 11.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pex {
    pub added: Vec<(SocketAddr, Flags)>,
    pub dropped: Vec<SocketAddr>,
}

/// It is no message of BEP 11.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its peer exchange message is no bencoded dictionary")]
pub struct Malformed;

impl Pex {
    /// As the payload behind the extension's number.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// # Errors
    /// Only where the whole is no dictionary; entries that are cut short are left out.
    pub fn decode(_payload: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }
}
