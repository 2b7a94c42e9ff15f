//! Proving what was on the disk at the start: every part's SHA-1, on all cores, each part told as soon as it is proven.

use std::{
    fs::File,
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
};

use super::{DiskEvent, disk::Disk, os, store::Shared};
use crate::{
    geometry::PartIndex,
    hashing::{Digest, Hasher},
};

/// Read in steps of this many bytes.
const STEP: u64 = 1 << 20;
/// More readers than this gain nothing, and hurt a turning disk.
const MAX_THREADS: usize = 4;

/// Where parts may be found.
#[derive(Clone)]
pub(super) enum Source {
    /// A file with its final name: every part must be right.
    Final,
    /// `NAME.part`: what is right counts, and what was never written is not read.
    Partial,
    /// Another file, whose right parts are taken over.
    Other(Arc<File>),
}

/// A check that runs; dropping it stops it.
pub struct Check {
    state: Arc<State>,
    total: u64,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    done: AtomicU64,
}

impl Check {
    /// Bytes checked so far, and in all.
    pub fn progress(&self) -> (u64, u64) {
        (self.state.done.load(Ordering::Relaxed), self.total)
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
    }
}

pub(super) fn start(shared: Arc<Shared>, sources: Vec<Source>) -> Check {
    let state = Arc::new(State::default());
    let total = shared.contents.geometry.size() * sources.len() as u64;
    let work = Work { shared: shared.clone(), state: state.clone() };
    let started = thread::Builder::new().name("check".into()).spawn(move || work.run(&sources));
    if let Err(error) = started {
        shared.failed(None, "start to check it", error);
    }
    Check { state, total }
}

struct Work {
    shared: Arc<Shared>,
    state: Arc<State>,
}

/// Why a check ended early.
enum Stop {
    Asked,
    Different(PartIndex),
    Failed(PartIndex, &'static str, io::Error),
}

impl Work {
    fn run(&self, sources: &[Source]) {
        for source in sources {
            if let Err(stop) = self.look_through(source) {
                match stop {
                    Stop::Asked => {}
                    Stop::Different(part) => self.shared.tell(DiskEvent::Different(part)),
                    Stop::Failed(part, doing, error) => self.shared.failed(Some(part), doing, error),
                }
                return;
            }
        }
        self.shared.unchecked.store(false, Ordering::Release);
        self.shared.tell(DiskEvent::Checked);
    }

    fn look_through(&self, source: &Source) -> Result<(), Stop> {
        let next = AtomicU32::new(0);
        let over = AtomicBool::new(false);
        let threads = thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
        thread::scope(|scope| {
            let workers: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.take_parts(source, &next, &over))).collect();
            let own = self.take_parts(source, &next, &over);
            workers
                .into_iter()
                .map(|w| w.join().unwrap_or(Err(Stop::Asked)))
                .chain([own])
                // What went wrong counts more than that somebody stopped for it.
                .fold(Ok(()), |so_far, one| match (&so_far, &one) {
                    (Ok(()), _) | (Err(Stop::Asked), Err(_)) => one,
                    _ => so_far,
                })
        })
    }

    fn take_parts(&self, source: &Source, next: &AtomicU32, over: &AtomicBool) -> Result<(), Stop> {
        let geometry = &self.shared.contents.geometry;
        let mut scratch = vec![0; STEP.min(u64::from(geometry.part_size())) as usize];
        while let Some(part) = geometry.part(next.fetch_add(1, Ordering::Relaxed)) {
            if over.load(Ordering::Relaxed) {
                return Err(Stop::Asked);
            }
            self.prove(source, part, &mut scratch).inspect_err(|_| over.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn prove(&self, source: &Source, part: PartIndex, scratch: &mut [u8]) -> Result<(), Stop> {
        let shared = &*self.shared;
        let range = shared.contents.geometry.part_range(part);
        let known = shared.lock().on_disk.has(part);
        let never_written = || matches!(source, Source::Partial) && os::is_hole(&shared.file, &range);
        if known || never_written() {
            self.count(range.end - range.start);
            return Ok(());
        }
        let digest = match source {
            Source::Final | Source::Partial => self.hash(&*shared.disk, range, part, scratch, None),
            Source::Other(file) => self.hash(&**file, range, part, scratch, Some(&*shared.disk)),
        }?;
        if digest == Some(shared.contents.parts[part.as_usize()]) {
            shared.landed(part, DiskEvent::Proven(part), None);
            Ok(())
        } else if matches!(source, Source::Final) {
            Err(Stop::Different(part))
        } else {
            Ok(())
        }
    }

    /// The SHA-1 of these bytes, which are written to `copy` on the way; None where the file is too short.
    fn hash(
        &self,
        disk: &dyn Disk,
        range: Range<u64>,
        part: PartIndex,
        scratch: &mut [u8],
        copy: Option<&dyn Disk>,
    ) -> Result<Option<Digest>, Stop> {
        let mut hasher = Hasher::new();
        let mut at = range.start;
        while at < range.end {
            if self.state.stop.load(Ordering::Relaxed) {
                return Err(Stop::Asked);
            }
            let len = (scratch.len() as u64).min(range.end - at) as usize;
            let bytes = &mut scratch[..len];
            match disk.read_exact_at(bytes, at) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    self.count(range.end - at);
                    return Ok(None);
                }
                Err(e) => return Err(Stop::Failed(part, "read", e)),
            }
            hasher.update(bytes);
            if let Some(copy) = copy {
                copy.write_all_at(bytes, at).map_err(|e| Stop::Failed(part, "write", e))?;
            }
            at += len as u64;
            self.count(len as u64);
        }
        Ok(Some(hasher.finish()))
    }

    fn count(&self, bytes: u64) {
        self.state.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
