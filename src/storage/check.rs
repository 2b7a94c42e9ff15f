//! Proving what was on the disk at the start: every part's SHA-1, on all cores, each part told as soon as it is proven.
//!
//! A file with its final name goes through [`crate::hashing::file::hash_file`]: with the whole file's SHA-1 in the same pass,
//! unless it is known that right parts make a right whole.
//! A `NAME.part` is full of holes and a file to repair has to be copied: these go part by part.

use std::{
    io,
    ops::{ControlFlow, Range},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
};

use super::{
    Contents, DiskEvent,
    disk::{Disk, write_sparse},
    files::Files,
    store::Shared,
};
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
    /// A file with its final name: every part must be right, and the whole have this SHA-1, if that is to be verified.
    /// `thorough`: all wrong ones are found.
    Final { right_size: bool, thorough: bool, whole: Option<Digest> },
    /// `NAME.part`: what is right counts, and what was never written is not read.
    Partial,
    /// Another file, whose right parts are taken over.
    Other(Arc<dyn Disk>),
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

/// Whether every part of what has its final name is right; what is too short is not.
pub(super) fn are_all_right(shared: &Shared) -> io::Result<bool> {
    let Shared { contents, files, .. } = shared;
    let mut right = true;
    let mut on_part = |part: PartIndex, digest| {
        right &= digest == contents.parts[part.as_usize()];
        if right { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    match files.hash(&contents.geometry, false, &mut on_part) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        done => done.map(|_| right),
    }
}

/// What the threads that look through a file share.
struct Turn {
    /// The next part to look at.
    next: AtomicU32,
    /// Why they stop early.
    over: OnceLock<Stop>,
}

struct Work {
    shared: Arc<Shared>,
    state: Arc<State>,
}

/// Why a check ended early.
enum Stop {
    Asked,
    Different(Vec<PartIndex>),
    Failed(Option<PartIndex>, &'static str, io::Error),
}

impl Work {
    fn run(&self, sources: &[Source]) {
        for source in sources {
            let done = match source {
                Source::Final { right_size: true, thorough, whole } => self.look_at_all(*thorough, *whole),
                Source::Final { right_size: false, .. } => {
                    self.look_through(source).and_then(|()| Err(Stop::Different(self.missing())))
                }
                Source::Partial | Source::Other(_) => self.look_through(source),
            };
            match done {
                Ok(()) => {}
                Err(Stop::Asked) => return,
                Err(Stop::Different(parts)) => return self.shared.tell(DiskEvent::Different(parts)),
                Err(Stop::Failed(part, doing, error)) => {
                    return self.shared.failed(part, doing, error);
                }
            }
        }
        if let Some(part) = self.spoilt() {
            return self.shared.tell(DiskEvent::Different(vec![part]));
        }
        self.shared.unchecked.store(false, Ordering::Release);
        self.shared.tell(DiskEvent::Checked);
    }

    /// The parts that are not on the disk, as far as is known.
    fn missing(&self) -> Vec<PartIndex> {
        let on_disk = self.shared.lock().on_disk.clone();
        self.shared.contents.geometry.all_parts().filter(|part| !on_disk.has(*part)).collect()
    }

    /// A part that is wrong and could not be put right: its files have their final names already.
    fn spoilt(&self) -> Option<PartIndex> {
        let Shared { files: Files::Folder(tree), contents: Contents { geometry, .. }, .. } = &*self.shared else {
            return None;
        };
        let parts = self.shared.lock();
        let wrong = |part: &PartIndex| !parts.on_disk.has(*part) && tree.is_named_in(&geometry.part_range(*part));
        geometry.all_parts().find(wrong)
    }

    /// A file with its final name, of the right size.
    fn look_at_all(&self, thorough: bool, whole: Option<Digest>) -> Result<(), Stop> {
        let Shared { contents, files, .. } = &*self.shared;
        let mut stop = Ok(());
        let mut wrong = Vec::new();
        let mut on_part = |part: PartIndex, digest| {
            if self.state.stop.load(Ordering::Relaxed) {
                stop = Err(Stop::Asked);
            } else if digest != contents.parts[part.as_usize()] && !thorough {
                stop = Err(Stop::Different(vec![part]));
            } else {
                self.count(u64::from(contents.geometry.part_len(part)));
                match digest == contents.parts[part.as_usize()] {
                    true => self.shared.landed(part, DiskEvent::Proven(part), None),
                    false => wrong.push(part),
                }
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(())
        };
        let found =
            files.hash(&contents.geometry, whole.is_some(), &mut on_part).map_err(|e| Stop::Failed(None, "read", e))?;
        stop?;
        if !wrong.is_empty() {
            return Err(Stop::Different(wrong));
        }
        match found {
            Some(digest) if whole != found => self.shared.tell(DiskEvent::WholeWrong(digest)),
            _ => self.shared.is_whole(),
        }
        Ok(())
    }

    /// A file that may have some of the parts.
    fn look_through(&self, source: &Source) -> Result<(), Stop> {
        let turn = Turn { next: AtomicU32::new(0), over: OnceLock::new() };
        let threads = thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| self.take_parts(source, &turn));
            }
            self.take_parts(source, &turn);
        });
        turn.over.into_inner().map_or(Ok(()), Err)
    }

    fn take_parts(&self, source: &Source, turn: &Turn) {
        let geometry = &self.shared.contents.geometry;
        let mut scratch = vec![0; STEP.min(u64::from(geometry.part_size())) as usize];
        while let Some(part) = geometry.part(turn.next.fetch_add(1, Ordering::Relaxed)) {
            if turn.over.get().is_some() {
                return;
            }
            if let Err(stop) = self.prove(source, part, &mut scratch) {
                // One reason is enough.
                let _ = turn.over.set(stop);
            }
        }
    }

    fn prove(&self, source: &Source, part: PartIndex, scratch: &mut [u8]) -> Result<(), Stop> {
        let shared = &*self.shared;
        let range = shared.contents.geometry.part_range(part);
        let known = shared.lock().on_disk.has(part);
        let never_written = || matches!(source, Source::Partial) && shared.files.is_hole(&range);
        let only = shared.contents.only.as_ref().filter(|_| matches!(source, Source::Other(_)));
        let unwanted = only.is_some_and(|only| !only.parts().has(part));
        if known || unwanted || never_written() {
            self.count(range.end - range.start);
            return Ok(());
        }
        let digest = match source {
            Source::Final { .. } | Source::Partial => self.hash(&*shared.disk, range, part, scratch, None),
            Source::Other(old) => self.hash(&**old, range, part, scratch, Some(&*shared.disk)),
        }?;
        if digest == Some(shared.contents.parts[part.as_usize()]) {
            shared.landed(part, DiskEvent::Proven(part), None);
        }
        Ok(())
    }

    /// The SHA-1 of these bytes, which are written to `copy` on the way; None where the file is too short, or its disk
    /// is damaged: others have the part, and writing it anew may mend the disk.
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
                Err(error) => {
                    log::warn!("{}: part {} cannot be read: {error}", self.shared.path.display(), part.get() + 1);
                    self.count(range.end - at);
                    return Ok(None);
                }
            }
            hasher.update(bytes);
            if let Some(copy) = copy {
                write_sparse(copy, bytes, at).map_err(|e| Stop::Failed(Some(part), "write", e))?;
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
