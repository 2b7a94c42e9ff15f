//! Orchestra.

pub mod choker;
pub mod geometry;
pub mod hashing;
pub mod manifest;
pub mod metainfo;
pub mod peer;
pub mod picker;
pub mod swarm;
pub mod time;
pub mod wire;
