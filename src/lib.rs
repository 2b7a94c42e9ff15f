//! Orchestra.

pub mod choker;
pub mod geometry;
pub mod hashing;
pub mod manifest;
pub mod metainfo;
pub mod net;
pub mod peer;
pub mod picker;
pub mod storage;
pub mod swarm;
pub mod time;
pub mod wire;
