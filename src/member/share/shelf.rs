//! What is shared now, and what is to be: compares what is on the disk with what is shared, has new and changed files
//! hashed one after the other, and withdraws those that are gone.
//!
//! A file, or a folder, is taken up once it has rested: see [`super::rest`].

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    describe::{DescribeError, Described, How, describe},
    look::Look,
    memory::Memory,
    register::{Job, Registrar},
    rest::{QUIET, Restless, Wait},
    scan::Found,
    sleeper::{AWAKE, Gone, Sleeper},
    standing::{Standing, Standings},
};
use crate::{
    catalogue::Coming,
    cli::{Exit, units},
    composer::{ComposeError, Rules},
    manifest::shown,
    member::{
        repertoire::Performed,
        station::Station,
        teller::{Sum, Teller},
    },
    metainfo::{InfoHash, info::is_private},
    storage::Stamp,
    ui::{Report, report::Begun},
};

/// The local network is told of so many files: it asks for no more than that of anybody's patience.
const NEAR: usize = 64;
/// Files are told of one by one unless so many more wait.
const FEW: usize = 20;

/// The catalogues are told of so many that are to be hashed.
const MOST_COMING: usize = 100;

pub struct Shelf {
    station: Arc<Station>,
    memory: Arc<Memory>,
    registrar: Registrar,
    sum: Arc<Sum>,
    awake: Arc<Semaphore>,
    /// What is shared, by where it is.
    shared: HashMap<PathBuf, Shared>,
    /// What could not be shared, and when it was what it was: not tried again until it changes.
    failed: HashMap<PathBuf, Stamp>,
    /// Files that changed after they were taken up.
    restless: Restless,
    /// How folders are looked at.
    rules: Rules,
    /// Files and folders that were passed over at the last look.
    passed: usize,
    queue: VecDeque<(PathBuf, Stamp)>,
    hashing: Option<Hashing>,
    sleepers: JoinSet<(PathBuf, InfoHash, Gone)>,
    /// What is gone from the disk, and still taking leave.
    withdrawn: HashSet<InfoHash>,
    /// What people heard of already.
    told: HashSet<String>,
    next_slot: usize,
    /// People hear of each file that comes.
    pub tells_each: bool,
    hashed: Hashed,
    /// How far all that is shared is towards the end.
    pub standings: Standings,
    /// Something was found that was not quiet yet.
    is_unquiet: bool,
    /// Exit code of the worst that failed while it was shared.
    failure: Option<Exit>,
}

struct Shared {
    stamp: Stamp,
    info_hash: InfoHash,
    name: String,
    size: u64,
    /// Neither a conductor nor the local network hears of it.
    is_untold: bool,
    stop: CancellationToken,
}

struct Hashing {
    path: PathBuf,
    stamp: Stamp,
    task: JoinHandle<Result<Described, DescribeError>>,
    done: Arc<AtomicU64>,
}

/// How far the hashing is, in bytes; of all since nothing was left to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hashed {
    pub done: u64,
    pub total: u64,
}

impl Shelf {
    pub fn new(station: Arc<Station>, memory: Arc<Memory>, registrar: Registrar, sum: Arc<Sum>, rules: Rules) -> Self {
        Self {
            station,
            memory,
            registrar,
            sum,
            awake: Arc::new(Semaphore::new(AWAKE)),
            shared: HashMap::new(),
            failed: HashMap::new(),
            restless: Restless::default(),
            rules,
            passed: 0,
            queue: VecDeque::new(),
            hashing: None,
            sleepers: JoinSet::new(),
            withdrawn: HashSet::new(),
            told: HashSet::new(),
            next_slot: 0,
            tells_each: false,
            hashed: Hashed::default(),
            standings: Standings::default(),
            is_unquiet: false,
            failure: None,
        }
    }

    /// Files that are shared, and their bytes.
    pub fn count(&self) -> (usize, u64) {
        (self.shared.len(), self.shared.values().map(|shared| shared.size).sum())
    }

    /// The name of what is shared or about to be, where that is one thing.
    pub fn only_name(&self) -> Option<String> {
        if self.shared.len() + self.waiting() != 1 {
            return None;
        }
        let soon = self.hashing.iter().map(|one| &one.path).chain(self.queue.iter().map(|(path, _)| path));
        let soon = soon.filter_map(|path| path.file_name()).map(|name| shown(&name.to_string_lossy()).into_owned());
        self.shared.values().map(|shared| shared.name.clone()).chain(soon).next()
    }

    /// What nobody hears of, by name.
    pub fn untold(&self) -> Vec<(&str, InfoHash)> {
        let untold = self.shared.values().filter(|shared| shared.is_untold);
        let mut all: Vec<_> = untold.map(|shared| (shared.name.as_str(), shared.info_hash)).collect();
        all.sort_unstable_by_key(|(name, hash)| (*name, hash.0));
        all
    }

    /// What people see of it all: its only name, or how many files.
    pub fn title(&self) -> String {
        self.only_name().unwrap_or_else(|| format!("{} files", self.shared.len()))
    }

    /// Files that are there and cannot be shared.
    pub fn cannot(&self) -> usize {
        self.failed.len() + self.passed
    }

    /// Files that are to be hashed.
    pub fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.hashing.is_some())
    }

    /// Whether everything that was found is shared (or cannot be).
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.hashing.is_none()
    }

    /// Whether nothing is known that will be shared soon.
    pub fn is_at_rest(&self) -> bool {
        self.is_settled() && !self.is_unquiet
    }

    /// A channel that closes when the conductors took or refused all that is shared by now.
    pub fn registered(&self) -> mpsc::Receiver<Infallible> {
        self.registrar.flushed()
    }

    /// Exit code of the worst that failed while it was shared.
    pub fn failure(&self) -> Option<Exit> {
        self.failure
    }

    /// The file that is being hashed, and the bytes of all that are to be, done and in all.
    pub fn progress(&self) -> Option<(&PathBuf, Hashed)> {
        let hashing = self.hashing.as_ref()?;
        let done = self.hashed.done + hashing.done.load(Ordering::Relaxed);
        Some((&hashing.path, Hashed { done, ..self.hashed }))
    }

    /// Tells the catalogues what is being hashed, and is to be: who asks for it there waits. The channel closes when they
    /// were told.
    pub fn tell_coming(&self) -> mpsc::Receiver<Infallible> {
        let (telling, told) = mpsc::channel(1);
        let hashing = self.hashing.iter().map(|one| (&one.path, one.stamp.size, one.done.load(Ordering::Relaxed)));
        let waiting = self.queue.iter().map(|(path, stamp)| (path, stamp.size, 0));
        let coming: Vec<Coming> = hashing.chain(waiting).take(MOST_COMING).filter_map(coming).collect();
        self.station.repertoire.expect(coming.clone());
        if !coming.is_empty() {
            self.registrar.tell(&Job::Expect(coming, telling));
        }
        told
    }

    /// Takes in what is on the disk now. Says when to look again, where something was not quiet yet. `quiet`: whatever is
    /// there is to be taken up now.
    pub fn compare(&mut self, found: Found, quiet: bool) -> Option<Duration> {
        self.passed = found.passed.len();
        for passed in &found.passed {
            self.warn(None, passed.to_string());
        }
        let there: HashMap<PathBuf, Look> = found.all.into_iter().collect();
        let gone: Vec<PathBuf> = self.shared.keys().filter(|path| !there.contains_key(*path)).cloned().collect();
        gone.iter().for_each(|path| self.withdraw(path));
        self.failed.retain(|path, _| there.contains_key(path));
        self.queue.retain(|(path, stamp)| there.get(path).is_some_and(|look| look.stamp == *stamp));
        let mut again = None;
        let queued: HashSet<&PathBuf> = self.queue.iter().map(|(path, _)| path).collect();
        let is_new = |(path, look): &(PathBuf, Look)| !queued.contains(path) && !self.knows(path, &look.stamp);
        let mut new: Vec<(PathBuf, Look)> = there.into_iter().filter(is_new).collect();
        new.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, look) in new {
            if self.shared.contains_key(&path) {
                self.replace(&path);
            }
            let stamp = look.stamp;
            match self.left_of_rest(&path, &look, quiet) {
                Some(left) => again = again.max(Some(left)),
                None => {
                    self.hashed.total += stamp.size;
                    self.queue.push_back((path, stamp));
                }
            }
        }
        self.is_unquiet = again.is_some();
        self.start_next();
        again
    }

    /// How long it still has to rest before it is taken up; None: it has rested. `first`: it was there at the start.
    fn left_of_rest(&mut self, path: &Path, look: &Look, first: bool) -> Option<Duration> {
        match self.restless.wait(path, look, first) {
            Wait::Rested => None,
            Wait::For(left) => Some(left),
            Wait::Writer => {
                self.warn(None, format!("{}: not shared yet: a program has it open for writing", path.display()));
                Some(QUIET)
            }
        }
    }

    /// Whether there is nothing to do about it, the queue not counted.
    fn knows(&self, path: &PathBuf, stamp: &Stamp) -> bool {
        self.shared.get(path).is_some_and(|shared| shared.stamp == *stamp)
            || self.failed.get(path) == Some(stamp)
            || self.hashing.as_ref().is_some_and(|hashing| hashing.path == *path && hashing.stamp == *stamp)
    }

    fn start_next(&mut self) {
        if self.hashing.is_some() {
            return;
        }
        let Some((path, stamp)) = self.queue.pop_front() else {
            self.hashed = Hashed::default();
            return;
        };
        let (memory, done) = (self.memory.clone(), Arc::new(AtomicU64::new(0)));
        let stop = self.station.stop.clone();
        let how = How { believed: !self.station.settings.check, rules: self.rules.clone() };
        let (place, counted) = (path.clone(), done.clone());
        let task = tokio::task::spawn_blocking(move || {
            describe(&place, &stamp, &memory, &how, &mut |bytes| {
                counted.store(bytes, Ordering::Relaxed);
                match stop.is_cancelled() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })
        });
        self.hashing = Some(Hashing { path, stamp, task, done });
    }

    /// The next thing that happens to what is shared; true: the disk should be looked at again.
    pub async fn next(&mut self) -> bool {
        tokio::select! {
            described = described(&mut self.hashing) => self.on_described(described),
            Some(ended) = self.sleepers.join_next() => match ended {
                Ok((path, info_hash, gone)) => self.on_gone(&path, info_hash, gone),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            },
        }
    }

    fn on_described(&mut self, described: Result<Described, DescribeError>) -> bool {
        let Some(hashing) = self.hashing.take() else { return false };
        self.hashed.done += hashing.stamp.size;
        let mut again = false;
        match described {
            Ok(described) => self.put(described),
            Err(DescribeError::Compose(ComposeError::Interrupted)) => {}
            // Somebody writes to it: once that is over.
            Err(DescribeError::Compose(ComposeError::Changed(_))) => again = true,
            Err(error) => {
                self.failed.insert(hashing.path, hashing.stamp);
                self.warn(None, error.to_string());
            }
        }
        self.start_next();
        again
    }

    fn put(&mut self, described: Described) {
        let Described { path, stamp, composition, warnings } = described;
        let (name, info_hash) = (composition.manifest.name.shown().into_owned(), composition.info_hash);
        let geometry = composition.manifest.geometry;
        for text in warnings {
            self.warn(Some(name.clone()), text);
        }
        let (size, stop) = (geometry.size(), self.station.stop.child_token());
        self.station.screen.event(&Report::Shared(Begun {
            name: name.clone(),
            path: path.clone(),
            size,
            parts: geometry.parts(),
            part_size: geometry.part_size(),
            info_hash: info_hash.to_string(),
            port: self.station.port,
        }));
        log::info!("{name}: shared, {size} bytes, {info_hash}");
        let settings = &self.station.settings;
        let is_untold = settings.conductors.is_empty() && !settings.lan && composition.trackers.asked.is_empty();
        if self.tells_each && self.queue.len() < FEW {
            let hash = if is_untold { format!("; its info-hash is {info_hash}") } else { String::new() };
            self.station.screen.say(&format!("{name}: {} shared{hash}", units::size(size)));
        }
        let (memory, place) = (self.memory.clone(), path.clone());
        let manifest = Arc::new(move || match memory.recall(&place, &stamp) {
            Ok(recalled) => recalled.map(|composition| Arc::new(composition.manifest)),
            Err(error) => {
                log::warn!("{}: {error}", place.display());
                None
            }
        });
        let private = is_private(&composition.info);
        let performed = (!private).then(|| Performed::new(info_hash, &composition.manifest, 0, manifest));
        let (until, this, now) = (&settings.until, &self.station.this, self.station.start.elapsed());
        let standing = self.standings.of(info_hash, || Standing::new(name.clone(), size, now, until, this));
        let sleeper = Sleeper {
            station: self.station.clone(),
            teller: Teller::of_many(self.station.screen.clone(), self.next_slot, self.sum.clone()),
            path: path.clone(),
            stamp,
            info_hash,
            trackers: composition.trackers.clone(),
            memory: self.memory.clone(),
            is_told_near: self.shared.len() < NEAR && !private,
            is_told_far: !private,
            awake: self.awake.clone(),
            stop: stop.clone(),
            performed,
            rules: self.rules.clone(),
            standing,
        };
        self.next_slot += 1;
        self.registrar.tell(&Job::put(&path, &stamp, &composition));
        let place = path.clone();
        self.sleepers.spawn(async move { (place, info_hash, sleeper.run().await) });
        self.shared.insert(path, Shared { stamp, info_hash, name, size, is_untold, stop });
    }

    fn on_gone(&mut self, path: &PathBuf, info_hash: InfoHash, gone: Gone) -> bool {
        // Told only now that our leave was taken: who still shares it then is somebody else.
        if self.withdrawn.remove(&info_hash) {
            self.registrar.tell(&Job::Remove(info_hash));
        }
        if self.station.stop.is_cancelled() {
            return false;
        }
        if let Gone::Failed(exit) = gone {
            self.on_failed(path, info_hash, exit);
            return false;
        }
        if gone == Gone::Twice {
            if self.shared.get(path).is_some_and(|shared| shared.info_hash == info_hash) {
                self.warn(None, format!("{}: the same as another file that is shared", path.display()));
            }
            return false;
        }
        // Its equals found no place beside it: who still is there is taken up anew.
        let before = self.shared.len();
        self.shared.retain(|_, shared| {
            let is_equal = shared.info_hash == info_hash;
            if is_equal {
                shared.stop.cancel();
            }
            !is_equal
        });
        self.shared.len() < before
    }

    /// It could not be read while it was shared: it is offered no more, and tried again only once it changed.
    fn on_failed(&mut self, path: &PathBuf, info_hash: InfoHash, exit: Exit) {
        self.failure = Exit::worst(self.failure.into_iter().chain([exit])).into();
        self.standings.forget(&info_hash);
        if let Some(shared) = self.shared.remove(path) {
            self.failed.insert(path.clone(), shared.stamp);
            self.registrar.tell(&Job::Remove(info_hash));
        }
    }

    /// It is not there any more.
    fn withdraw(&mut self, path: &PathBuf) {
        let Some(shared) = self.shared.remove(path) else { return };
        shared.stop.cancel();
        let Shared { name, info_hash, .. } = shared;
        self.standings.forget(&info_hash);
        log::info!("{name}: withdrawn");
        self.station.screen.say(&format!("{name}: withdrawn: it is gone"));
        self.station.screen.event(&Report::Withdrawn { name, path: path.clone(), info_hash: info_hash.to_string() });
        self.withdrawn.insert(info_hash);
        let (memory, path) = (self.memory.clone(), path.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = memory.forget(&path) {
                log::warn!("{error}");
            }
        });
    }

    /// It is another one now: the old one is not shared while the new one is hashed.
    fn replace(&mut self, path: &PathBuf) {
        let Some(shared) = self.shared.remove(path) else { return };
        shared.stop.cancel();
        self.restless.changed(path);
        self.standings.forget(&shared.info_hash);
        self.station.screen.say(&format!("{}: changed: shared again once it is hashed", shared.name));
    }

    /// Once, however often it is found.
    fn warn(&mut self, name: Option<String>, text: String) {
        if self.told.insert(text.clone()) {
            log::warn!("{text}");
            self.station.screen.event(&Report::Warning { name, text });
        }
    }

    /// Waits until all took leave.
    pub async fn leave(&mut self) {
        while self.sleepers.join_next().await.is_some() {}
    }
}

fn coming((path, size, done): (&PathBuf, u64, u64)) -> Option<Coming> {
    Some(Coming { name: path.file_name()?.to_str()?.to_owned(), size, done })
}

async fn described(hashing: &mut Option<Hashing>) -> Result<Described, DescribeError> {
    match hashing {
        Some(hashing) => match (&mut hashing.task).await {
            Ok(described) => described,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
        None => std::future::pending().await,
    }
}
