//! The extension handshake (BEP 10): what each side can do beyond BEP 3, and what it says of itself.

use core::net::IpAddr;

/// One side's dictionary. It may come again later in a conversation; what is not there then has not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionHandshake {
    /// The number under which the sender wants metadata messages (BEP 9). `Some(0)`: not any more.
    pub ut_metadata: Option<u8>,
    /// The number under which the sender wants peer exchange (BEP 11). `Some(0)`: not any more.
    pub ut_pex: Option<u8>,
    /// Length of the info dictionary in bytes.
    pub metadata_size: Option<u32>,
    /// The port that the sender listens on.
    pub port: Option<u16>,
    /// How many requests the sender keeps in its queue.
    pub reqq: Option<u32>,
    /// The sender wants nothing.
    pub upload_only: bool,
    /// Name and version of the sender's program; at most 100 bytes are written.
    pub client: Option<String>,
    /// The receiver's address as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// `oc_maxreq`: our own members take requests of up to this many bytes.
    pub max_request: Option<u32>,
}

/// It is no bencoded dictionary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its extension handshake is no bencoded dictionary")]
pub struct Malformed;

impl ExtensionHandshake {
    /// As the payload of message 20, number 0. Keys are sorted and nothing is negative, as strict readers want it.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// # Errors
    /// Only where the whole is no dictionary; a value of a foreign type counts as not there.
    pub fn decode(_payload: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }
}
