//! One composition on the disk, as everybody else sees it.

use std::{
    collections::{HashSet, VecDeque},
    io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Assembly, Check, Contents, DiskEvent, Selection, StorageError,
    assembly::Proven,
    check::{self, Source},
    disk::Disk,
    event,
    files::{Files, Slice},
    finish::{self, Home},
    pool::{Buffer, CHUNK, Pool},
    whole::Follower,
    writer::Job,
};
use crate::{
    geometry::{Geometry, PartIndex},
    peer::PeerKey,
    wire::bitfield::Bitfield,
};

/// Assemblies kept for whoever goes on with them; beyond it the oldest is given up.
const MAX_PARKED: usize = 64;
/// A tail up to this many bytes is hashed on the spot; longer ones would hold up other connections.
const SHORT_TAIL: usize = 1 << 20;

/// One composition on the disk. Clones are the same one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    pool: Pool,
    parked: Mutex<VecDeque<Assembly>>,
    home: Mutex<Home>,
    /// What [`Store::check`] has to look through.
    sources: Vec<Source>,
}

/// What the store's threads need too.
pub(super) struct Shared {
    pub contents: Contents,
    /// The name it was opened under, for messages.
    pub path: PathBuf,
    /// The name it will have in the end.
    pub final_path: PathBuf,
    pub files: Files,
    pub disk: Arc<dyn Disk>,
    pub events: mpsc::UnboundedSender<DiskEvent>,
    pub judge: Judge,
    /// The parts that are known to be zeros.
    pub zeros: Bitfield,
    pub whole: Arc<AtomicBool>,
    /// What is on the disk is still to be checked: nothing may be written.
    pub unchecked: AtomicBool,
    pub parts: Mutex<Parts>,
    /// Whether data was lost on its way to the disk.
    pub lost: Mutex<bool>,
}

/// What tells that everything is right.
pub(super) enum Judge {
    /// The parts, as soon as all that are wanted are on the disk: the whole's SHA-1 is not known, or not all of it wanted.
    Parts,
    /// The whole's SHA-1, which follows the parts.
    Follower(Follower),
    /// The check of what is under its final name.
    Check,
}

/// Where each part is. What is neither is missing.
pub(super) struct Parts {
    pub on_disk: Bitfield,
    in_hand: HashSet<PartIndex>,
    /// What came wrong from several, and not right since: it is put together from one alone, to know whom to blame.
    suspect: HashSet<PartIndex>,
    /// Those that are wanted, where not all are.
    only: Option<Bitfield>,
}

impl Parts {
    pub fn new(on_disk: Bitfield, only: Option<Bitfield>) -> Self {
        Self { on_disk, in_hand: HashSet::new(), suspect: HashSet::new(), only }
    }

    /// Whether all that are wanted are on the disk.
    pub fn are_all_in(&self) -> bool {
        self.on_disk.is_full() || self.only.as_ref().is_some_and(|only| self.on_disk.has_all_of(only))
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This part is on the disk and right. `bytes`: if they are still in memory.
    pub fn landed(&self, part: PartIndex, event: DiskEvent, bytes: Option<Buffer>) {
        let full = {
            let mut parts = self.lock();
            let wanted = parts.only.as_ref().is_none_or(|only| only.has(part));
            parts.on_disk.insert(part) && wanted && parts.are_all_in()
        };
        self.tell(event);
        match &self.judge {
            Judge::Follower(follower) => follower.landed(part, bytes),
            Judge::Parts if full => self.is_whole(),
            Judge::Parts | Judge::Check => {}
        }
    }

    /// Every part is in, and there is no more to verify.
    pub fn is_whole(&self) {
        self.whole.store(true, Ordering::Release);
        self.tell(DiskEvent::Whole);
    }

    /// Brings what was written to the disk itself. The system tells of a write-back that failed only once, to whoever
    /// asks first; so once it failed nothing counts as synced any more.
    pub fn sync(&self) -> io::Result<()> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if *lost {
            return Err(io::Error::other("data was lost on its way to the disk"));
        }
        let done = loop {
            match self.disk.sync() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        *lost = done.is_err();
        done
    }

    /// What is on the disk is not what was written: from now on nothing is noted of it.
    pub fn distrust(&self) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Nobody may listen any more: then nobody needs to know.
    pub fn tell(&self, event: DiskEvent) {
        let _ = self.events.send(event);
    }

    /// Tells that what is to be sent cannot be read, where that is the disk's fault: a file that was cut short is found
    /// when it is looked after.
    fn unreadable(&self, error: &io::Error) {
        if event::is_of_the_disk(error) {
            self.failed(None, "read", io::Error::new(error.kind(), error.to_string()));
        }
    }

    pub fn failed(&self, part: Option<PartIndex>, doing: &'static str, source: io::Error) {
        let error = match source.kind() {
            // Of a file that has its final name already, in a folder.
            io::ErrorKind::AlreadyExists => StorageError::Different { path: self.final_path.clone() },
            // Of a file that was there once: what is open is never looked up by its name again.
            io::ErrorKind::NotFound => StorageError::Moved { path: self.path.clone() },
            _ => StorageError::io(&self.path, doing, source),
        };
        self.tell(DiskEvent::Failed { part, error });
    }
}

/// The one right to put a part together.
pub(super) struct Hand {
    shared: Arc<Shared>,
    part: PartIndex,
}

impl Hand {
    fn take(shared: &Arc<Shared>, part: PartIndex) -> Option<Self> {
        if shared.unchecked.load(Ordering::Acquire) {
            return None;
        }
        let mut parts = shared.lock();
        (!parts.on_disk.has(part) && parts.in_hand.insert(part)).then(|| Self { shared: shared.clone(), part })
    }

    pub fn part(&self) -> PartIndex {
        self.part
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.shared.lock().in_hand.remove(&self.part);
    }
}

/// A part whose bytes are right, on its way to the disk.
pub struct Verified {
    pub(super) hand: Hand,
    pub(super) body: Proven,
}

impl Verified {
    pub fn part(&self) -> PartIndex {
        self.hand.part()
    }
}

/// What came of checking a part.
pub enum Verdict {
    /// Hand it to [`Store::commit`].
    Right(Verified),
    /// Its SHA-1 is wrong; its bytes are given up. `alone`: every byte came from this member.
    Wrong { alone: Option<PeerKey> },
    /// The disk failed it ([`DiskEvent::Failed`] says how); nobody is to blame.
    Lost,
}

impl Store {
    pub(super) fn new(
        shared: Arc<Shared>,
        jobs: mpsc::Sender<Job>,
        pool: Pool,
        home: Home,
        sources: Vec<Source>,
    ) -> Self {
        Self(Arc::new(Inner { shared, jobs, pool, parked: Mutex::default(), home: Mutex::new(home), sources }))
    }

    pub fn geometry(&self) -> &Geometry {
        &self.0.shared.contents.geometry
    }

    /// Where it is now: `NAME.part`, or `NAME` from [`Self::finish`] on.
    pub fn path(&self) -> PathBuf {
        self.home().path().to_owned()
    }

    /// Where it will be in the end: `NAME`.
    pub fn final_path(&self) -> PathBuf {
        self.0.shared.final_path.clone()
    }

    /// The files that are wanted, where not all are.
    pub fn only(&self) -> Option<&Selection> {
        self.0.shared.contents.only.as_ref()
    }

    /// The parts on the disk that are right.
    pub fn have(&self) -> Bitfield {
        self.0.shared.lock().on_disk.clone()
    }

    /// Where these bytes are on the disk, for sendfile. Send only parts told as written or proven; 0 bytes sent means
    /// that somebody made the file shorter. May open a file, for a folder.
    pub fn slice(&self, offset: u64) -> io::Result<Slice> {
        self.0.shared.files.slice(offset)
    }

    /// Reads exactly these bytes of the composition. Blocks if they are not in the page cache. As for [`Self::slice`],
    /// the caller asks only for parts told as written or proven. [`DiskEvent::Failed`] follows where the disk cannot
    /// read them.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.shared.disk.read_exact_at(into, offset).inspect_err(|error| self.0.shared.unreadable(error))
    }

    /// Whether these bytes are in the page cache, as far as a few probes show; false where the system cannot tell.
    pub fn is_warm(&self, range: Range<u64>) -> bool {
        self.0.shared.files.is_warm(range)
    }

    /// Brings these bytes into the page cache. Blocks. [`DiskEvent::Failed`] follows where the disk cannot read them.
    pub fn warm(&self, range: Range<u64>) -> io::Result<()> {
        self.0.shared.files.warm(range).inspect_err(|error| self.0.shared.unreadable(error))
    }

    /// Starts to put a part together, or goes on with what was parked of it. None: it is on the disk, or in other
    /// hands, or what is on the disk is still being checked.
    pub fn begin(&self, part: PartIndex) -> Option<Assembly> {
        if let Some(assembly) = self.take_parked(part) {
            return Some(assembly);
        }
        let hand = Hand::take(&self.0.shared, part)?;
        Some(Assembly::new(hand, self.geometry(), &self.0.pool))
    }

    /// Puts away what came of a part, for whoever fetches it next; nothing of one that came wrong from several.
    pub fn park(&self, assembly: Assembly) {
        let suspect = self.0.shared.lock().suspect.contains(&assembly.part());
        if suspect || assembly.is_empty() {
            return;
        }
        let mut parked = self.parked();
        let oldest = (parked.len() >= MAX_PARKED).then(|| parked.pop_front()).flatten();
        parked.push_back(assembly);
        drop(parked);
        drop(oldest);
    }

    /// What was put away of a part, if anything.
    pub fn take_parked(&self, part: PartIndex) -> Option<Assembly> {
        let mut parked = self.parked();
        let at = parked.iter().position(|a| a.part() == part)?;
        parked.remove(at)
    }

    /// Hands the chunk of a large part to the writer; waits while that has too much to do. May be dropped and called
    /// again.
    pub async fn spool(&self, assembly: &mut Assembly) {
        if !assembly.has_chunk() {
            return;
        }
        // The writer ends only with the store.
        let Ok(permit) = self.0.jobs.reserve().await else {
            return;
        };
        let part = assembly.part();
        if let Some(chunk) = assembly.take_chunk() {
            permit.send(Job::Chunk { part, chunk });
        }
    }

    /// Compares a complete part's SHA-1. Bytes that came out of order are hashed here; those of a large part are read
    /// back.
    pub async fn verify(&self, mut assembly: Assembly) -> Verdict {
        debug_assert!(assembly.is_complete());
        self.spool(&mut assembly).await;
        let tail = assembly.unhashed().len();
        let shared = self.0.shared.clone();
        if tail == 0 || (assembly.is_in_memory() && tail <= SHORT_TAIL) {
            return verdict(&shared, assembly);
        }
        if !assembly.is_in_memory() {
            self.written_so_far().await;
        }
        tokio::task::spawn_blocking(move || verdict(&shared, assembly)).await.unwrap_or(Verdict::Lost)
    }

    /// Hands a right part to the writer; waits while that has too much to do. [`DiskEvent::Written`] or
    /// [`DiskEvent::Failed`] follows.
    pub async fn commit(&self, verified: Verified) {
        // The writer ends only with the store.
        let _ = self.0.jobs.send(Job::Part(verified)).await;
    }

    /// Starts to prove what was on the disk at the start; [`DiskEvent::Checked`] ends it, or
    /// [`DiskEvent::Different`] or [`DiskEvent::Failed`].
    pub fn check(&self) -> Check {
        check::start(self.0.shared.clone(), self.0.sources.clone())
    }

    /// Notes which parts are on the disk, after all that was handed over is written and synced. Blocks; never called
    /// on the runtime's own threads. Nothing to do for a file with its final name.
    pub fn save_state(&self) -> Result<(), StorageError> {
        self.wait_until_written();
        finish::save_state(&self.0.shared, &self.home())
    }

    /// Gives the file its final name, after [`DiskEvent::Whole`]: sync, rename, remember. Blocks; never called on the
    /// runtime's own threads. Returns the final path. A file that has its name is only remembered.
    ///
    /// Uploads go on meanwhile and after, from the same open file.
    pub fn finish(&self) -> Result<PathBuf, StorageError> {
        self.wait_until_written();
        finish::finish(&self.0.shared, &mut self.home())
    }

    /// Whether what has its final name still is what was verified, and what is fetched still under its name. Blocks; it
    /// looks at every file of a folder that has its final name.
    ///
    /// # Errors
    /// [`StorageError::ChangedSince`], [`StorageError::Gone`] or [`StorageError::Moved`], or it cannot be looked at.
    pub fn look_after(&self) -> Result<(), StorageError> {
        finish::look_after(&self.0.shared, &self.home())
    }

    /// As [`Self::look_after`]; but what looks changed is hashed again, and when it is right after all, only its times were
    /// changed: then that is what it is compared with from now on. Nothing else waits meanwhile.
    pub fn look_closely(&self) -> Result<(), StorageError> {
        let seen = self.look_after();
        if !matches!(seen, Err(StorageError::ChangedSince { .. })) {
            return seen;
        }
        let (shared, path) = (&self.0.shared, &self.0.shared.final_path);
        let stamp = finish::stamp_under(path, shared)?;
        // Told apart, so that the lock is free while it is hashed.
        let same_size = self.home().had_size(stamp.size);
        if !same_size || !check::are_all_right(shared).map_err(|e| StorageError::io(path, "read", e))? {
            return seen;
        }
        log::info!("{}: its times were changed, and not its data", path.display());
        self.home().is_proven_anew(shared, stamp);
        self.look_after()
    }

    /// Bytes of memory that parts on their way take, at most [`super::pool::LIMIT`] but for very many connections.
    pub fn memory(&self) -> usize {
        self.0.pool.held()
    }

    /// Takes all the memory that whole parts may have, so that the next ones are spooled.
    #[cfg(test)]
    pub(super) fn take_all_memory(&self) -> Buffer {
        self.0.pool.part(super::pool::PARTS_LIMIT).unwrap()
    }

    async fn written_so_far(&self) {
        let (done, wait) = oneshot::channel();
        if self.0.jobs.send(Job::Tell(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    fn wait_until_written(&self) {
        let (done, wait) = oneshot::channel();
        if self.0.jobs.blocking_send(Job::Tell(done)).is_ok() {
            let _ = wait.blocking_recv();
        }
    }

    fn home(&self) -> MutexGuard<'_, Home> {
        self.0.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parked(&self) -> MutexGuard<'_, VecDeque<Assembly>> {
        self.0.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verdict(shared: &Shared, mut assembly: Assembly) -> Verdict {
    let part = assembly.part();
    if !assembly.is_in_memory()
        && let Err(error) = hash_from_disk(shared, &mut assembly)
    {
        shared.failed(Some(part), "read", error);
        return Verdict::Lost;
    }
    let right = assembly.digest() == shared.contents.parts[part.as_usize()];
    let alone = assembly.alone();
    let (hand, body) = assembly.into_proven();
    match body {
        Proven::Spooled(broken) if broken.is_set() => Verdict::Lost,
        body if right => {
            shared.lock().suspect.remove(&part);
            Verdict::Right(Verified { hand, body })
        }
        _ => {
            if alone.is_none() {
                shared.lock().suspect.insert(part);
            }
            Verdict::Wrong { alone }
        }
    }
}

fn hash_from_disk(shared: &Shared, assembly: &mut Assembly) -> io::Result<()> {
    let tail = assembly.unhashed();
    if tail.is_empty() {
        return Ok(());
    }
    let start = shared.contents.geometry.part_start(assembly.part());
    let mut scratch = vec![0; CHUNK.min(tail.len())];
    let mut at = tail.start;
    while at < tail.end {
        let len = scratch.len().min((tail.end - at) as usize);
        let bytes = &mut scratch[..len];
        shared.disk.read_exact_at(bytes, start + u64::from(at))?;
        assembly.hash_next(bytes);
        at += len as u32;
    }
    Ok(())
}
