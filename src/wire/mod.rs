//! Bytes to messages among members, and back: BEP 3, 6, 9, 10, 11.
//!
//! It is not the conversation: whether a message makes sense at this moment is for [`crate::peer::session`] to say.
//! Its invariant: a length from outside is checked before anything is allocated for it, and no input panics.
//! What it costs an attacker: one message is at most 1 MiB, and whoever buffers it grows only with bytes that came.

pub mod bitfield;
pub mod compact;
pub mod copy_id;
pub mod decode;
pub mod encode;
pub mod extension;
pub mod handshake;
pub mod machine_id;
pub mod message;
pub mod utp;
