//! A composition in BitTorrent's written forms: info dictionary, `.torrent`, magnet link (BEP 3, 9, 12, 19).
//!
//! What a composition is belongs to [`crate::manifest`]; here is only how BitTorrent writes it. The info-hash is always
//! taken over the bytes as they were received, never over a re-encoding of them.

pub mod bencode;
pub mod convert;
pub mod info;
pub mod magnet;
pub mod torrent;
pub mod tracker;

pub use info::{Info, InfoHash};
pub use magnet::Magnet;
pub use torrent::Torrent;
pub use tracker::Tracker;
