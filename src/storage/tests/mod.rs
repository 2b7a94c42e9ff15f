//! The store on real folders, and on disks that fail.

mod faults;
mod finishing;
mod folders;
mod notes;
mod opening;
mod others;
mod receiving;
mod sparse;
mod sweep;

use std::{fs, path::PathBuf, sync::Arc};

use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::{
    geometry::{BLOCK, BlockRange, Geometry, PartIndex},
    hashing::Digest,
    metainfo::InfoHash,
    peer::PeerKey,
};

const NAME: &str = "big.iso";
const PART: u32 = 2 * BLOCK + 1000;
const PEER: PeerKey = PeerKey(1);

/// A composition, and a folder for it.
struct Lab {
    bytes: Vec<u8>,
    contents: Contents,
    folder: TempDir,
}

impl Lab {
    /// Four parts, the last one shorter.
    fn new() -> Self {
        Self::of(3 * PART as usize + 5000, PART)
    }

    fn of(size: usize, part_size: u32) -> Self {
        let mut dice = fastrand::Rng::with_seed(size as u64);
        let mut bytes = vec![0; size];
        dice.fill(&mut bytes);
        Self::of_bytes(bytes, part_size)
    }

    fn of_bytes(bytes: Vec<u8>, part_size: u32) -> Self {
        let geometry = Geometry::new(bytes.len() as u64, part_size.into()).unwrap();
        let contents = Contents {
            name: NAME.into(),
            files: Vec::new(),
            executable: false,
            only: None,
            geometry,
            parts: bytes.chunks(part_size as usize).map(Digest::of).collect(),
            whole: Some(Digest::of(&bytes)),
            info_hash: InfoHash([7; 20]),
        };
        Self { bytes, contents, folder: tempfile::tempdir().unwrap() }
    }

    fn part(&self, number: u32) -> PartIndex {
        self.contents.geometry.part(number).unwrap()
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("{NAME}{suffix}"))
    }

    fn proofs(&self) -> Proofs {
        Proofs::in_folder(self.folder.path().join("proofs"))
    }

    fn try_open(&self, existing: Existing) -> Result<Opened, StorageError> {
        open(self.contents.clone(), self.folder.path(), &Wishes { existing, ..Wishes::default() }, Some(self.proofs()))
    }

    /// Believes no note.
    fn open_anew(&self) -> Opened {
        open(
            self.contents.clone(),
            self.folder.path(),
            &Wishes { notes: Notes::Ignored, ..Wishes::default() },
            Some(self.proofs()),
        )
        .unwrap()
    }

    fn open(&self) -> Opened {
        self.try_open(Existing::Share).unwrap()
    }

    fn error(&self) -> StorageError {
        self.try_open(Existing::Share).err().unwrap()
    }

    /// Fills what is missing of this assembly, in blocks, as if it all came from one member.
    async fn fill(&self, store: &Store, assembly: &mut Assembly, from: PeerKey) {
        for run in assembly.missing() {
            for block in run {
                let range = self.contents.geometry.block_run(assembly.part(), block..block + 1);
                self.deliver(store, assembly, range, 0).await;
                assembly.block_done(range, from);
            }
        }
    }

    /// These bytes of the part land, each changed by `fault`.
    async fn deliver(&self, store: &Store, assembly: &mut Assembly, range: BlockRange, fault: u8) {
        let start = self.contents.geometry.part_start(assembly.part()) as usize;
        let mut at = range.begin;
        while at < range.end() {
            if assembly.needs_flush(at) {
                store.spool(assembly).await;
            }
            let space = assembly.space(at, range.end() - at);
            let count = space.len();
            assert!(count > 0);
            for (to, from) in space.iter_mut().zip(&self.bytes[start + at as usize..]) {
                *to = from ^ fault;
            }
            assembly.filled(at, count as u32);
            at += count as u32;
        }
    }

    /// Fetches this part and waits until it is written.
    async fn fetch(&self, opened: &mut Opened, number: u32) {
        self.give(opened, number).await;
        let told = opened.events.recv().await;
        assert!(matches!(told, Some(DiskEvent::Written(written)) if written == self.part(number)), "{told:?}");
    }

    /// Fetches this part and leaves it to the writer.
    async fn give(&self, opened: &Opened, number: u32) {
        let part = self.part(number);
        let mut assembly = opened.store.begin(part).unwrap();
        self.fill(&opened.store, &mut assembly, PEER).await;
        assert!(assembly.is_complete());
        let Verdict::Right(verified) = opened.store.verify(assembly).await else { panic!("part {number} is wrong") };
        opened.store.commit(verified).await;
    }

    async fn fetch_all(&self, opened: &mut Opened) {
        for number in 0..self.contents.geometry.parts() {
            if !opened.store.have().has(self.part(number)) {
                self.fetch(opened, number).await;
            }
        }
        assert!(matches!(opened.events.recv().await, Some(DiskEvent::Whole)));
    }
}

/// The numbers of the parts that were proven before the check ended, in order, and how it ended.
async fn proven(events: &mut UnboundedReceiver<DiskEvent>) -> (Vec<u32>, DiskEvent) {
    let mut parts = Vec::new();
    loop {
        match events.recv().await.unwrap() {
            DiskEvent::Proven(part) => parts.push(part.get()),
            DiskEvent::Whole => {}
            end => {
                parts.sort_unstable();
                return (parts, end);
            }
        }
    }
}

async fn finish(store: &Store) -> Result<PathBuf, StorageError> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || store.finish()).await.unwrap()
}

async fn save(store: &Store) -> Result<(), StorageError> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || store.save_state()).await.unwrap()
}

/// Drops it and waits until its threads let go of the file, as they have when a process has ended.
async fn end(opened: Opened) {
    let Opened { store, mut events, .. } = opened;
    drop(store);
    while events.recv().await.is_some() {}
}

/// One run of blocks.
fn one(run: std::ops::Range<u32>) -> Vec<std::ops::Range<u32>> {
    std::iter::once(run).collect()
}
