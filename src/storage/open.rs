//! What is on the disk at the start, and what to make of it.

use std::{fs::File, path::Path, sync::Arc};

use tokio::sync::mpsc;

use super::{DiskEvent, Proofs, StorageError, Store, disk::Disk};
use crate::{geometry::Geometry, hashing::Digest, metainfo::InfoHash, wire::bitfield::Bitfield};

/// What a composition should be.
#[derive(Clone)]
pub struct Contents {
    /// The file's name: one safe path component.
    pub name: String,
    pub geometry: Geometry,
    /// SHA-1 of each part.
    pub parts: Arc<[Digest]>,
    /// SHA-1 of the whole file, if it is known.
    pub whole: Option<Digest>,
    pub info_hash: InfoHash,
}

/// What to do about a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Share it; if it is not the composition, say so and leave it.
    Share,
    /// Take its good parts into `NAME.part`, fetch the rest, and put the result in its place.
    Repair,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// `NAME`, remembered as whole and verified. Nothing is left to do but to share it.
    Whole,
    /// `NAME`, of the right size. [`Store::check`] tells whether it is the composition; no part may be fetched.
    Unproven,
    /// Some of it is on the disk and not proven: [`Store::check`] first, the rest may be fetched after
    /// [`DiskEvent::Checked`].
    Unchecked,
    /// What is on the disk is known; the rest may be fetched.
    Ready,
}

pub struct Opened {
    pub store: Store,
    pub found: Found,
    /// The parts known to be on the disk and right.
    pub have: Bitfield,
    pub events: mpsc::UnboundedReceiver<DiskEvent>,
}

/// Opens the composition in this folder, or makes room for it.
///
/// Blocks: it reads and makes files. The folder is made when missing.
pub fn open(
    contents: Contents,
    folder: &Path,
    existing: Existing,
    proofs: Option<Proofs>,
) -> Result<Opened, StorageError> {
    open_on(contents, folder, existing, proofs, |file| file)
}

/// As [`open`], with this disk in place of the file: for tests with a disk that fails.
pub fn open_on(
    contents: Contents,
    folder: &Path,
    existing: Existing,
    proofs: Option<Proofs>,
    disk: impl FnOnce(Arc<File>) -> Arc<dyn Disk>,
) -> Result<Opened, StorageError> {
    let _ = (contents, folder, existing, proofs, disk);
    todo!()
}
