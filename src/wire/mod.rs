//! Bytes to messages among members, and back: BEP 3, 6, 10.
pub mod bitfield;
pub mod handshake;
pub mod message;
