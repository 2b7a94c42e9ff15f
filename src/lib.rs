//! Orchestra.

pub mod announce;
pub mod choker;
pub mod cli;
pub mod conductor;
pub mod discovery;
pub mod geometry;
pub mod hashing;
pub mod manifest;
pub mod metainfo;
pub mod net;
pub mod peer;
pub mod picker;
pub mod swarm;
pub mod time;
pub mod wire;
