//! One composition on the disk, as everybody else sees it.

use std::{fs::File, io, ops::Range, path::PathBuf, sync::Arc};

use super::{Assembly, Check, StorageError};
use crate::{
    geometry::{Geometry, PartIndex},
    peer::PeerKey,
    wire::bitfield::Bitfield,
};

/// One composition on the disk. Clones are the same one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {}

/// A part whose bytes are right, on its way to the disk.
pub struct Verified {}

impl Verified {
    pub fn part(&self) -> PartIndex {
        todo!()
    }
}

/// What came of checking a part.
pub enum Verdict {
    /// Hand it to [`Store::commit`].
    Right(Verified),
    /// Its SHA-1 is wrong; its bytes are given up. `alone`: every byte came from this member.
    Wrong { alone: Option<PeerKey> },
    /// The disk failed it ([`super::DiskEvent::Failed`] says how); nobody is to blame.
    Lost,
}

impl Store {
    pub fn geometry(&self) -> &Geometry {
        todo!()
    }

    /// Where it is now: `NAME.part`, or `NAME` from [`Self::finish`] on.
    pub fn path(&self) -> PathBuf {
        todo!()
    }

    /// The parts on the disk that are right.
    pub fn have(&self) -> Bitfield {
        todo!()
    }

    /// The open file, for sendfile. Send only parts told as written or proven; 0 bytes sent means that somebody made
    /// the file shorter.
    pub fn file(&self) -> Arc<File> {
        todo!()
    }

    /// Reads exactly these bytes of the composition. Blocks if they are not in the page cache. As for [`Self::file`].
    pub fn read_at(&self, _offset: u64, _into: &mut [u8]) -> io::Result<()> {
        todo!()
    }

    /// Whether these bytes are in the page cache as far as a few probes show; false where the system cannot tell.
    pub fn is_warm(&self, _range: Range<u64>) -> bool {
        todo!()
    }

    /// Brings these bytes into the page cache. Blocks.
    pub fn warm(&self, _range: Range<u64>) -> io::Result<()> {
        todo!()
    }

    /// Starts to assemble a part, or goes on with what was parked of it. None: it is on the disk, or in other hands.
    pub fn begin(&self, _part: PartIndex) -> Option<Assembly> {
        todo!()
    }

    /// Puts away what came of a part, for whoever fetches it next.
    pub fn park(&self, _assembly: Assembly) {
        todo!()
    }

    pub fn take_parked(&self, _part: PartIndex) -> Option<Assembly> {
        todo!()
    }

    /// Hands the full chunk of a large part to the writer; waits while it has too much to do. May be dropped and
    /// called again.
    pub async fn spool(&self, _assembly: &mut Assembly) {
        todo!()
    }

    /// Compares a complete part's SHA-1.
    pub async fn verify(&self, _assembly: Assembly) -> Verdict {
        todo!()
    }

    /// Hands a right part to the writer; waits while it has too much to do. [`super::DiskEvent::Written`] or
    /// [`super::DiskEvent::Failed`] follows.
    pub async fn commit(&self, _verified: Verified) {
        todo!()
    }

    /// Starts to prove what was on the disk at the start.
    pub fn check(&self) -> Check {
        todo!()
    }

    /// Notes which parts are on the disk, after all that was handed over is written and synced. Blocks; never called
    /// on the runtime's own threads. Nothing to do for a file with its final name.
    pub fn save_state(&self) -> Result<(), StorageError> {
        todo!()
    }

    /// Gives the file its final name, after [`super::DiskEvent::Whole`]: sync, rename, remember. Blocks; never called
    /// on the runtime's own threads. Returns the final path; nothing to do for a file that has it.
    pub fn finish(&self) -> Result<PathBuf, StorageError> {
        todo!()
    }
}
