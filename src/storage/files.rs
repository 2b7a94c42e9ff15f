//! What a composition lies in, for those who need more of it than its bytes: one file, or the files of a folder.

use std::{
    fs::File,
    io,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use super::{Stamp, disk::Disk, folder::Tree, os};
use crate::{
    geometry::{Geometry, PartIndex},
    hashing::{Digest, file::hash_file, holes::is_hole},
};

/// The open file, or the folder. Clones are the same one.
#[derive(Clone)]
pub enum Files {
    One(Arc<File>),
    Folder(Arc<Tree>),
}

/// Some bytes of a composition that follow each other on the disk too.
pub enum Slice {
    /// `len` bytes of this file, from `at` on; it may be shorter.
    File { file: Arc<File>, at: u64, len: u64 },
    /// They are on no disk: `len` zeroes between the files of a foreign torrent.
    Zeroes { len: u64 },
}

impl Files {
    /// As the disk that parts are written to.
    pub fn disk(&self) -> Arc<dyn Disk> {
        match self {
            Self::One(file) => file.clone(),
            Self::Folder(tree) => tree.clone(),
        }
    }

    pub fn stamp(&self) -> io::Result<Stamp> {
        match self {
            Self::One(file) => Stamp::of(file),
            Self::Folder(tree) => tree.stamp(),
        }
    }

    /// What holds the byte at this offset of the composition, and so many after it.
    pub fn slice(&self, offset: u64) -> io::Result<Slice> {
        match self {
            Self::One(file) => Ok(Slice::File { file: file.clone(), at: offset, len: u64::MAX - offset }),
            Self::Folder(tree) => tree.slice(offset),
        }
    }

    /// Whether no byte of this range was ever written; false where the file system cannot tell.
    pub fn is_hole(&self, range: &Range<u64>) -> bool {
        match self {
            Self::One(file) => is_hole(file, range),
            Self::Folder(tree) => tree.is_hole(range),
        }
    }

    /// Makes these bytes zeros; false where they have their final name, and are only read.
    pub fn clear(&self, range: &Range<u64>) -> io::Result<bool> {
        let named = match self {
            Self::One(_) => false,
            Self::Folder(tree) => tree.has_named_in(range),
        };
        if !named {
            self.disk().clear(range.clone())?;
        }
        Ok(!named)
    }

    /// Whether these bytes are in the page cache, as far as a few probes show.
    pub fn is_warm(&self, range: Range<u64>) -> bool {
        match self {
            Self::One(file) => os::is_warm(file, range),
            Self::Folder(tree) => tree.is_warm(range),
        }
    }

    /// Brings these bytes into the page cache. Blocks.
    pub fn warm(&self, range: Range<u64>) -> io::Result<()> {
        match self {
            Self::One(file) => os::warm(file, range),
            Self::Folder(tree) => tree.warm(range),
        }
    }

    /// As [`hash_file`].
    pub fn hash(
        &self,
        geometry: &Geometry,
        whole: bool,
        on_part: &mut dyn FnMut(PartIndex, Digest) -> ControlFlow<()>,
    ) -> io::Result<Option<Digest>> {
        match self {
            Self::One(file) => hash_file(&**file, geometry, whole, on_part),
            Self::Folder(tree) => hash_file(&**tree, geometry, whole, on_part),
        }
    }
}
