//! The whole file's SHA-1, which follows the parts on a thread of its own.
//!
//! It goes over the parts in order, as far as there is no gap: from memory where a part's bytes are still there, else
//! from the file (as a rule from the page cache). At most [`MAX_WAITING`] bytes wait for it in memory, and only bytes
//! that it will get to soon.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
};

use tokio::sync::mpsc;

use super::{DiskEvent, StorageError, disk::Disk, pool::Buffer};
use crate::{
    geometry::{Geometry, PartIndex},
    hashing::{Digest, Hasher},
    wire::bitfield::Bitfield,
};

/// In bytes.
const MAX_WAITING: usize = 8 << 20;
/// Read back in steps of this many bytes.
const STEP: usize = 1 << 20;

/// The near end: tells the thread which parts are on the disk.
pub struct Follower {
    landings: Sender<Landing>,
    place: Arc<Place>,
    geometry: Geometry,
}

type Landing = (PartIndex, Option<Buffer>);

#[derive(Default)]
struct Place {
    /// The part that is next.
    next: AtomicU32,
    /// Bytes handed over and not hashed.
    waiting: AtomicUsize,
}

/// What the thread works with.
pub struct Task {
    pub geometry: Geometry,
    pub expected: Digest,
    /// Parts that are known to be zeros: they are not read.
    pub zeros: Bitfield,
    pub disk: Arc<dyn Disk>,
    pub path: PathBuf,
    pub events: mpsc::UnboundedSender<DiskEvent>,
    /// Set before [`DiskEvent::Whole`] is told.
    pub whole: Arc<AtomicBool>,
}

impl Follower {
    /// Starts the thread; `on_disk` are the parts that are there already. It ends with its work, or when the follower
    /// is dropped.
    pub fn start(task: Task, on_disk: Bitfield) -> io::Result<Self> {
        let (landings, incoming) = channel();
        let place = Arc::new(Place::default());
        let geometry = task.geometry;
        let follow = Follow { task, incoming, place: place.clone(), landed: on_disk, waiting: BTreeMap::new() };
        thread::Builder::new().name("whole-hash".into()).spawn(move || follow.run())?;
        Ok(Self { landings, place, geometry })
    }

    /// This part is on the disk and right. Its bytes are passed on only if they will be hashed soon.
    pub fn landed(&self, part: PartIndex, bytes: Option<Buffer>) {
        let bytes = bytes.filter(|bytes| self.comes_soon(part, bytes.len()));
        if let Some(bytes) = &bytes {
            self.place.waiting.fetch_add(bytes.len(), Ordering::AcqRel);
        }
        // It is gone only if reading failed, which was told.
        let _ = self.landings.send((part, bytes));
    }

    fn comes_soon(&self, part: PartIndex, len: usize) -> bool {
        let next = self.place.next.load(Ordering::Acquire);
        let ahead = u64::from(part.get().saturating_sub(next));
        ahead * u64::from(self.geometry.part_size()) < MAX_WAITING as u64
            && self.place.waiting.load(Ordering::Acquire) + len <= MAX_WAITING
    }
}

/// The thread's own.
struct Follow {
    task: Task,
    incoming: Receiver<Landing>,
    place: Arc<Place>,
    landed: Bitfield,
    waiting: BTreeMap<PartIndex, Buffer>,
}

impl Follow {
    fn run(mut self) {
        let mut hasher = Hasher::new();
        let mut scratch = Vec::new();
        let geometry = self.task.geometry;
        for part in geometry.all_parts() {
            if !self.wait_for(part) {
                return;
            }
            if let Some(bytes) = self.waiting.remove(&part) {
                hasher.update(&bytes[..geometry.part_len(part) as usize]);
                self.place.waiting.fetch_sub(bytes.len(), Ordering::AcqRel);
            } else if self.task.zeros.has(part) {
                hasher.update_zeros(geometry.part_len(part).into());
            } else if let Err(source) = self.hash_from_disk(part, &mut hasher, &mut scratch) {
                let error = StorageError::io(&self.task.path, "read", source);
                self.tell(DiskEvent::Failed { part: Some(part), error });
                return;
            }
            self.place.next.store(part.get() + 1, Ordering::Release);
        }
        let digest = hasher.finish();
        if digest == self.task.expected {
            self.task.whole.store(true, Ordering::Release);
            self.tell(DiskEvent::Whole);
        } else {
            self.tell(DiskEvent::WholeWrong(digest));
        }
    }

    /// Returns false when nobody is interested any more.
    fn wait_for(&mut self, part: PartIndex) -> bool {
        loop {
            match self.incoming.try_recv() {
                Ok(landing) => self.take(landing),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) if self.landed.has(part) => return true,
                Err(TryRecvError::Empty) => match self.incoming.recv() {
                    Ok(landing) => self.take(landing),
                    Err(_) => return false,
                },
            }
        }
    }

    fn take(&mut self, (part, bytes): Landing) {
        self.landed.insert(part);
        if let Some(bytes) = bytes {
            self.waiting.insert(part, bytes);
        }
    }

    fn hash_from_disk(&self, part: PartIndex, hasher: &mut Hasher, scratch: &mut Vec<u8>) -> io::Result<()> {
        let range = self.task.geometry.part_range(part);
        scratch.resize(STEP.min(self.task.geometry.part_size() as usize), 0);
        let mut at = range.start;
        while at < range.end {
            let len = (scratch.len() as u64).min(range.end - at) as usize;
            self.task.disk.read_exact_at(&mut scratch[..len], at)?;
            hasher.update(&scratch[..len]);
            at += len as u64;
        }
        Ok(())
    }

    fn tell(&self, event: DiskEvent) {
        let _ = self.task.events.send(event);
    }
}
