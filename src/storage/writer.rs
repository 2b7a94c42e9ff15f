//! The thread that writes, and the one that brings what was written to the disk itself.
//!
//! One writer, so that things are written in the order in which they were handed over: a chunk that was given up never
//! lands on what came after it, and what is waited for is written when its turn has come. The queue is bounded, and
//! whoever fills it waits: that is how a slow disk slows the network down.
//!
//! Every [`SYNC_EVERY`] bytes the second thread syncs, so that the sync before the final name is short.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    DiskEvent, Verified,
    assembly::{Chunk, Proven},
    disk::write_sparse,
    pool::Buffer,
    store::Shared,
};
use crate::geometry::PartIndex;

/// Things handed over and not begun; their bytes count in the pool as well.
const QUEUE: usize = 16;
/// In bytes.
const SYNC_EVERY: u64 = 32 << 20;

/// Something for the writer to do.
pub enum Job {
    /// Write it, or if it is written already (a spool), tell so.
    Part(Verified),
    Chunk {
        part: PartIndex,
        chunk: Chunk,
    },
    /// Tell when all before it is done.
    Tell(oneshot::Sender<()>),
}

/// Starts the threads; they end when nobody can hand anything over any more.
pub fn start(shared: Arc<Shared>) -> io::Result<mpsc::Sender<Job>> {
    let (jobs, mut queue) = mpsc::channel(QUEUE);
    let sync = start_syncing(shared.clone())?;
    thread::Builder::new().name("disk-writer".into()).spawn(move || {
        let mut writer = Writer { shared, sync, unsynced: 0 };
        while let Some(job) = queue.blocking_recv() {
            writer.work(job);
        }
    })?;
    Ok(jobs)
}

fn start_syncing(shared: Arc<Shared>) -> io::Result<SyncSender<()>> {
    let (wanted, wants) = sync_channel(1);
    thread::Builder::new().name("disk-sync".into()).spawn(move || {
        for () in wants {
            if let Err(error) = shared.sync() {
                shared.failed(None, "bring data to the disk", error);
            }
        }
    })?;
    Ok(wanted)
}

struct Writer {
    shared: Arc<Shared>,
    sync: SyncSender<()>,
    unsynced: u64,
}

impl Writer {
    fn work(&mut self, job: Job) {
        match job {
            Job::Part(Verified { hand, body: Proven::Memory(buffer) }) => {
                self.write_part(hand.part(), buffer);
            }
            Job::Part(Verified { hand, body: Proven::Spooled(broken) }) => {
                if !broken.is_set() {
                    let part = hand.part();
                    self.shared.landed(part, DiskEvent::Written(part), None);
                }
            }
            Job::Chunk { part, chunk } => self.write_chunk(part, &chunk),
            Job::Tell(done) => {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }

    fn write_part(&mut self, part: PartIndex, buffer: Buffer) {
        let geometry = &self.shared.contents.geometry;
        let (start, len) = (geometry.part_start(part), geometry.part_len(part));
        let bytes = &buffer[..len as usize];
        match write_sparse(&*self.shared.disk, bytes, start) {
            Ok(()) => {
                self.wrote(u64::from(len));
                self.shared.landed(part, DiskEvent::Written(part), Some(buffer));
            }
            Err(error) => self.shared.failed(Some(part), "write", error),
        }
    }

    fn write_chunk(&mut self, part: PartIndex, chunk: &Chunk) {
        if chunk.broken.is_set() {
            return;
        }
        let start = self.shared.contents.geometry.part_start(part) + u64::from(chunk.start);
        match write_sparse(&*self.shared.disk, chunk.bytes(), start) {
            Ok(()) => self.wrote(chunk.bytes().len() as u64),
            Err(error) => {
                if chunk.broken.set() {
                    self.shared.failed(Some(part), "write", error);
                }
            }
        }
    }

    fn wrote(&mut self, bytes: u64) {
        self.unsynced += bytes;
        // While a sync runs another may wait; more would be no use.
        if self.unsynced >= SYNC_EVERY && self.sync.try_send(()).is_ok() {
            self.unsynced = 0;
        }
    }
}
