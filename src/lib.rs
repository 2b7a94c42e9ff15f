//! Orchestra.

pub mod choker;
pub mod cli;
pub mod geometry;
pub mod hashing;
pub mod manifest;
pub mod metainfo;
pub mod peer;
pub mod picker;
pub mod swarm;
pub mod time;
pub mod ui;
pub mod wire;
