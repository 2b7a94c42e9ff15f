//! What many tests begin with: a composition, its manifest, and a member that shares it.

use std::path::PathBuf;

use crate::support::{Ended, Place, Program, bytes, compose, fetch, member, port};

pub struct Stage {
    pub place: Place,
    pub manifest: PathBuf,
    pub data: Vec<u8>,
    /// Where the sharing member listens.
    pub peer: String,
    _seed: Program,
}

impl Stage {
    /// `x.bin` of `size` bytes, a different one for each `number`; nobody conducts.
    pub fn new(size: usize, part_size: &str, number: u64) -> Self {
        let place = Place::new();
        let data = bytes(size, number);
        let manifest = compose(&place, "x.bin", &data, &["0.0.0.0:0", part_size]);
        let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
        let peer = format!("127.0.0.1:{}", port(&mut seed));
        Self { place, manifest, data, peer, _seed: seed }
    }

    /// Fetches it into this folder, and waits for the end.
    pub fn fetch(&self, folder: &str) -> Ended {
        fetch(&self.place, &self.manifest, folder, &["--peer", &self.peer])
    }
}
