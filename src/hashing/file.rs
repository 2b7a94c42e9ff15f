//! The SHA-1s of a file, on all cores: of every part, and of the whole file in the same pass.
//!
//! Not here: what the digests are compared with, and whether the file changed meanwhile; the caller knows.
//! Memory is flat, whatever the sizes: at most 16 MiB of buffers, and 20 bytes for each part that is done
//! before its turn to be reported.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    ops::{ControlFlow, Range},
    os::unix::fs::FileExt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
};

use super::{Digest, Hasher, holes, zeros};
use crate::geometry::{Geometry, PartIndex};

/// Bytes of one read: large enough that system calls cost nothing, small enough that what the reader has just
/// brought in is still in the cache when the hashers come to it.
const CHUNK: usize = 512 << 10;
/// Buffers that go round between the reader and the two hashers.
const BUFFERS: usize = 16;
/// Threads for parts alone; more would only wait for the disk, and hurt one that turns.
const MAX_WORKERS: usize = 4;

/// What a composition is read from.
pub trait Source: Sync {
    /// Reads exactly this many bytes of the composition; [`io::ErrorKind::UnexpectedEof`] where it ends before.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// Whether all of this range is known to be zeros, without reading it; false where that cannot be told.
    fn is_hole(&self, _range: &Range<u64>) -> bool {
        false
    }

    /// All of it will be read, from end to end. A hint: nothing fails without.
    fn expect_sequential_reads(&self) {}
}

impl Source for File {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, into, offset)
    }

    fn expect_sequential_reads(&self) {
        // Without it the same bytes come, only more slowly from a disk.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::Sequential);
    }

    fn is_hole(&self, range: &Range<u64>) -> bool {
        holes::is_hole(self, range)
    }
}

/// Reads these bytes, or knows that they are zeros.
fn fill(file: &dyn Source, into: &mut [u8], offset: u64) -> io::Result<()> {
    match file.is_hole(&(offset..offset + into.len() as u64)) {
        true => {
            into.fill(0);
            Ok(())
        }
        false => file.read_exact_at(into, offset),
    }
}

/// Hashes the parts of `file` and tells `on_part` each one's digest, in order. With `whole`, the SHA-1 of the
/// whole file is computed in the same pass and returned; without, several parts are hashed at once, on all cores.
///
/// The first `geometry.size()` bytes are read, by positioned reads. `None` is returned without `whole`, and when
/// `on_part` breaks off.
///
/// # Errors
/// What reading gave; [`io::ErrorKind::UnexpectedEof`] when the file is shorter than the geometry says.
pub fn hash_file(
    file: &dyn Source,
    geometry: &Geometry,
    whole: bool,
    on_part: &mut dyn FnMut(PartIndex, Digest) -> ControlFlow<()>,
) -> io::Result<Option<Digest>> {
    file.expect_sequential_reads();
    if whole { parts_and_whole(file, geometry, on_part) } else { parts_only(file, geometry, on_part).map(|()| None) }
}

/// The SHA-1 of the whole is one chain that no second core can help with, so one core is its own, and the parts
/// are hashed as one stream too, beside it: that is as fast as the chain, and needs each byte read once.
fn parts_and_whole(
    file: &dyn Source,
    geometry: &Geometry,
    on_part: &mut dyn FnMut(PartIndex, Digest) -> ControlFlow<()>,
) -> io::Result<Option<Digest>> {
    let (to_whole, chunks_for_whole) = mpsc::sync_channel(BUFFERS);
    let (to_parts, chunks_for_parts) = mpsc::sync_channel(BUFFERS);
    let (used, free) = mpsc::channel();
    for _ in 0..BUFFERS {
        // The receiver is alive: it is in this very function.
        let _ = used.send(Vec::new());
    }
    thread::scope(|scope| {
        let size = geometry.size();
        spawn(scope, move || read(file, size, &free, &to_whole, &to_parts))?;
        let recycle = used.clone();
        let whole = spawn(scope, move || hash_whole(chunks_for_whole, &recycle))?;

        let mut cutter = Cutter::new(geometry, 0..geometry.parts());
        for chunk in chunks_for_parts {
            let chunk: Arc<Vec<u8>> = chunk?;
            let flow = cutter.update(&chunk, on_part);
            // Before a break too: the reader may be waiting for a buffer, and only then finds nobody listening.
            give_back(chunk, &used);
            if flow.is_break() {
                return Ok(None);
            }
        }
        match whole.join() {
            Ok(digest) => Ok(Some(digest)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<thread::ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().name("hashing".into()).spawn_scoped(scope, work)
}

/// Reads the file from end to end and gives each chunk to both hashers. Ends early when one of them is gone.
fn read(
    file: &dyn Source,
    size: u64,
    free: &Receiver<Vec<u8>>,
    to_whole: &SyncSender<Arc<Vec<u8>>>,
    to_parts: &SyncSender<io::Result<Arc<Vec<u8>>>>,
) {
    let mut offset = 0;
    while offset < size {
        let Ok(mut buffer) = free.recv() else { return };
        buffer.resize((size - offset).min(CHUNK as u64) as usize, 0);
        if let Err(error) = fill(file, &mut buffer, offset) {
            // Nobody listens only when the caller has broken off.
            let _ = to_parts.send(Err(error));
            return;
        }
        offset += buffer.len() as u64;
        let chunk = Arc::new(buffer);
        if to_whole.send(chunk.clone()).is_err() || to_parts.send(Ok(chunk)).is_err() {
            return;
        }
    }
}

fn hash_whole(chunks: Receiver<Arc<Vec<u8>>>, used: &Sender<Vec<u8>>) -> Digest {
    let mut hasher = Hasher::new();
    for chunk in chunks {
        hasher.update(&chunk);
        give_back(chunk, used);
    }
    hasher.finish()
}

/// Whoever is done with a chunk last returns its buffer to the reader.
fn give_back(chunk: Arc<Vec<u8>>, used: &Sender<Vec<u8>>) {
    if let Some(buffer) = Arc::into_inner(chunk) {
        // Without a reader there is nothing left to read.
        let _ = used.send(buffer);
    }
}

/// Cuts a run of bytes into parts and hashes each.
struct Cutter<'a> {
    geometry: &'a Geometry,
    parts: Range<u32>,
    /// The part in the making, with its bytes still to come.
    current: Option<(PartIndex, usize)>,
    hasher: Hasher,
}

impl<'a> Cutter<'a> {
    fn new(geometry: &'a Geometry, parts: Range<u32>) -> Self {
        Self { geometry, parts, current: None, hasher: Hasher::new() }
    }

    fn update(
        &mut self,
        mut bytes: &[u8],
        on_part: &mut dyn FnMut(PartIndex, Digest) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        while !bytes.is_empty() {
            let Some((part, missing)) = self.current.take().or_else(|| self.begin()) else {
                break;
            };
            let (now, later) = bytes.split_at(missing.min(bytes.len()));
            self.hasher.update(now);
            bytes = later;
            if now.len() < missing {
                self.current = Some((part, missing - now.len()));
            } else {
                on_part(part, std::mem::take(&mut self.hasher).finish())?;
            }
        }
        ControlFlow::Continue(())
    }

    fn begin(&mut self) -> Option<(PartIndex, usize)> {
        let part = self.geometry.part(self.parts.next()?)?;
        Some((part, self.geometry.part_len(part) as usize))
    }
}

/// What the workers share: the runs of parts still to be claimed, and whether anybody wants them.
struct Claims<'a> {
    file: &'a dyn Source,
    geometry: &'a Geometry,
    /// Parts of one run: one, or as many small ones as one read brings.
    run: u32,
    next: AtomicU32,
    stopped: AtomicBool,
    /// The SHA-1 of a whole part of zeros, once somebody needed it.
    of_zeros: OnceLock<Digest>,
}

type Run = (u32, io::Result<Vec<(PartIndex, Digest)>>);

fn parts_only(
    file: &dyn Source,
    geometry: &Geometry,
    on_part: &mut dyn FnMut(PartIndex, Digest) -> ControlFlow<()>,
) -> io::Result<()> {
    let run = (CHUNK as u32 / geometry.part_size()).max(1);
    let runs = geometry.parts().div_ceil(run);
    let claims = Claims {
        file,
        geometry,
        run,
        next: AtomicU32::new(0),
        stopped: AtomicBool::new(false),
        of_zeros: OnceLock::new(),
    };
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let workers = cores.min(MAX_WORKERS).min(runs as usize);
    thread::scope(|scope| {
        let (done, results) = mpsc::sync_channel(MAX_WORKERS);
        for _ in 0..workers {
            let (claims, done) = (&claims, done.clone());
            if let Err(error) = spawn(scope, move || claims.work(&done)) {
                claims.stop();
                return Err(error);
            }
        }
        drop(done);
        let outcome = report_in_order(results, on_part);
        claims.stop();
        outcome
    })
}

/// Tells `on_part` the runs in their order, however they come in.
fn report_in_order(
    results: Receiver<Run>,
    on_part: &mut dyn FnMut(PartIndex, Digest) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (run, digests) in results {
        early.insert(run, digests);
        while let Some(digests) = early.remove(&next) {
            for (part, digest) in digests? {
                if on_part(part, digest).is_break() {
                    return Ok(());
                }
            }
            next += 1;
        }
    }
    Ok(())
}

impl Claims<'_> {
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn work(&self, done: &SyncSender<Run>) {
        let mut buffer = Vec::new();
        let runs = self.geometry.parts().div_ceil(self.run);
        while !self.is_stopped() {
            let run = self.next.fetch_add(1, Ordering::Relaxed);
            if run >= runs || done.send((run, self.hash_run(run, &mut buffer))).is_err() {
                return;
            }
        }
    }

    /// The digests of one run of parts; fewer when the work was stopped, and then nobody reads them.
    fn hash_run(&self, run: u32, buffer: &mut Vec<u8>) -> io::Result<Vec<(PartIndex, Digest)>> {
        let first = run * self.run;
        let end = self.geometry.parts().min(first.saturating_add(self.run));
        let mut digests = Vec::with_capacity((end - first) as usize);
        let mut cutter = Cutter::new(self.geometry, first..end);
        let part_size = u64::from(self.geometry.part_size());
        let mut offset = u64::from(first) * part_size;
        let last = (u64::from(end) * part_size).min(self.geometry.size());
        // A disk image is holes for the most part: those cost a look each.
        if last - offset == u64::from(end - first) * part_size && self.file.is_hole(&(offset..last)) {
            let digest = *self.of_zeros.get_or_init(|| zeros(part_size));
            return Ok((first..end).filter_map(|part| Some((self.geometry.part(part)?, digest))).collect());
        }
        while offset < last && !self.is_stopped() {
            buffer.resize((last - offset).min(CHUNK as u64) as usize, 0);
            fill(self.file, buffer, offset)?;
            offset += buffer.len() as u64;
            let _ = cutter.update(buffer, &mut |part, digest| {
                digests.push((part, digest));
                ControlFlow::Continue(())
            });
        }
        Ok(digests)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut dice = fastrand::Rng::with_seed(len as u64);
        std::iter::repeat_with(|| dice.u8(..)).take(len).collect()
    }

    fn hash(file: &File, geometry: &Geometry, whole: bool) -> (Option<Digest>, Vec<Digest>) {
        let mut digests = Vec::new();
        let whole = hash_file(file, geometry, whole, &mut |part, digest| {
            assert_eq!(part.as_usize(), digests.len());
            digests.push(digest);
            ControlFlow::Continue(())
        });
        (whole.unwrap(), digests)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn both_ways_give_what_plain_hashing_gives(
            len in prop_oneof![0usize..5_000, 0usize..(5 * CHUNK)],
            parts in 1usize..300,
        ) {
            let bytes = noise(len);
            let file = file_of(&bytes);
            let geometry = Geometry::new(len as u64, len.div_ceil(parts).max(1) as u64).unwrap();
            let expected: Vec<_> = bytes.chunks(geometry.part_size() as usize).map(Digest::of).collect();
            prop_assert_eq!(hash(&file, &geometry, true), (Some(Digest::of(&bytes)), expected.clone()));
            prop_assert_eq!(hash(&file, &geometry, false), (None, expected));
        }
    }

    #[test]
    fn holes_are_hashed_as_the_zeros_that_they_are() {
        let len = 5 * CHUNK + 12_345;
        let mut bytes = vec![0; len];
        let file = tempfile::tempfile().unwrap();
        file.set_len(len as u64).unwrap();
        for (at, count) in [(2 * CHUNK + 70_000, 5_000), (len - 3, 3)] {
            bytes[at..at + count].fill(7);
            FileExt::write_all_at(&file, &bytes[at..at + count], at as u64).unwrap();
        }
        for part_size in [16 << 10, 300_000, CHUNK as u64, 2 << 20, 4 << 20] {
            let geometry = Geometry::new(len as u64, part_size).unwrap();
            let expected: Vec<_> = bytes.chunks(part_size as usize).map(Digest::of).collect();
            assert_eq!(hash(&file, &geometry, true), (Some(Digest::of(&bytes)), expected.clone()), "{part_size}");
            assert_eq!(hash(&file, &geometry, false), (None, expected), "{part_size}");
        }
        let longer = Geometry::new(len as u64 + (8 << 20), 1 << 20).unwrap();
        for whole in [true, false] {
            let outcome = hash_file(&file, &longer, whole, &mut |_, _| ControlFlow::Continue(()));
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "what is not there is no hole");
        }
    }

    #[test]
    fn parts_of_one_byte() {
        let geometry = Geometry::new(700_000, 1).unwrap();
        let file = file_of(&noise(700_000));
        assert_eq!(hash(&file, &geometry, true).1.len(), 700_000);
        assert_eq!(hash(&file, &geometry, false).1.len(), 700_000);
    }

    #[test]
    fn a_file_that_got_shorter_is_an_error() {
        let geometry = Geometry::new(3 << 20, 16 << 10).unwrap();
        let file = file_of(&noise((3 << 20) - 1));
        for whole in [true, false] {
            let outcome = hash_file(&file, &geometry, whole, &mut |_, _| ControlFlow::Continue(()));
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn breaking_off_ends_it() {
        let geometry = Geometry::new(20 << 20, 1 << 20).unwrap();
        let file = file_of(&noise(20 << 20));
        for whole in [true, false] {
            let mut seen = 0;
            let outcome = hash_file(&file, &geometry, whole, &mut |part, _| {
                seen += 1;
                if part.get() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!((outcome.unwrap(), seen), (None, 3));
        }
    }
}
