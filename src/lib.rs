//! Orchestra.

pub mod announce;
pub mod conductor;
pub mod discovery;
pub mod geometry;
pub mod hashing;
pub mod metainfo;
pub mod net;
pub mod peer;
pub mod swarm;
pub mod time;
pub mod wire;
