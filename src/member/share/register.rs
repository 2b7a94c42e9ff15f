//! Puts what is shared into the catalogues of the conductors, and takes out what is not shared any more.
//!
//! One task a conductor, one question after the other. While a conductor does not answer, it is asked again; once it
//! answers again, it is told everything anew, since it may have forgotten. A conductor that is too busy, or whose store
//! fails, is asked again later and later: only a refusal that will not pass is final. A name that somebody else's composition has is
//! left to them while anybody shares that.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use crate::{
    catalogue::{AskError, Client, Coming, IfTaken, Key, Token, backoff::Backoff},
    discovery::lan::manners::Pace,
    manifest::{Endpoint, Host, Manifest, Name},
    member::{blocking, load::Composition},
    metainfo::InfoHash,
    net::range::is_near,
    storage::Stamp,
    ui::{Report, Screen},
};

/// While a conductor does not answer it is asked again after this time.
const AGAIN: Duration = Duration::from_secs(5);

/// Manifests that are read at once, to be put into a catalogue in one request.
const MAX_AT_ONCE: usize = 64;

/// How often it is looked whether a conductor still has what it was told.
const LOOK: Duration = Duration::from_secs(30);

/// Questions to a conductor on the internet that are asked at once, and the time that each further one waits for: it knows
/// this member by a public address, whose allowance other questions need too. What comes meanwhile goes into one request.
const FIRST_QUESTIONS: u32 = 16;
const QUESTION_INTERVAL: Duration = Duration::from_millis(500);

/// Something to tell the catalogues.
#[derive(Clone, Debug)]
pub enum Job {
    /// These are being hashed; the sender goes when they were told, or could not be.
    Expect(Vec<Coming>, mpsc::Sender<Infallible>),
    Put(Put),
    Remove(InfoHash),
    /// The sender goes when all that was told before is done.
    Flush(mpsc::Sender<Infallible>),
}

#[derive(Clone, Debug)]
pub struct Put {
    path: PathBuf,
    stamp: Stamp,
    info_hash: InfoHash,
    name: Name,
}

impl Job {
    pub fn put(path: &Path, stamp: &Stamp, is: &Composition) -> Self {
        let (info_hash, name) = (is.info_hash, is.manifest.name.clone());
        Self::Put(Put { path: path.to_owned(), stamp: *stamp, info_hash, name })
    }
}

/// The way to the tasks: each conductor has its own copy of what there is to do, so that one that does not answer holds
/// nobody up.
pub struct Registrar(Vec<mpsc::UnboundedSender<Job>>);

impl Registrar {
    /// Starts them; they end with `stop`. Without a conductor nothing is registered.
    pub fn start(
        conductors: &[Endpoint],
        token: Option<Token>,
        memory: &Arc<Memory>,
        screen: &Arc<Screen>,
        stop: &CancellationToken,
    ) -> Result<Self, AskError> {
        let mut desks = Vec::new();
        for conductor in conductors {
            let client = Client::new(conductor.clone(), token.clone())?;
            let (tell, jobs) = mpsc::unbounded_channel();
            let (memory, screen) = (memory.clone(), screen.clone());
            let (kept, told, is_busy) = (HashMap::new(), HashSet::new(), false);
            let (start, questions) = (Instant::now(), pace_toward(conductor));
            let mut desk = Desk { client, memory, screen, jobs, kept, told, next_look: 0, is_busy, start, questions };
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(desk.work()).await });
            desks.push(tell);
        }
        Ok(Self(desks))
    }

    pub fn tell(&self, job: &Job) {
        for desk in &self.0 {
            // It is gone only at the end.
            let _ = desk.send(job.clone());
        }
    }

    /// A channel that closes when every conductor took or refused all that it was told so far.
    pub fn flushed(&self) -> mpsc::Receiver<Infallible> {
        let (flushing, flushed) = mpsc::channel(1);
        self.tell(&Job::Flush(flushing));
        flushed
    }
}

/// What one conductor is told.
struct Desk {
    client: Client,
    memory: Arc<Memory>,
    screen: Arc<Screen>,
    jobs: mpsc::UnboundedReceiver<Job>,
    /// What it keeps for us.
    kept: HashMap<InfoHash, Put>,
    /// What people heard already.
    told: HashSet<String>,
    /// Which of those kept is looked for next.
    next_look: usize,
    /// People were told that it is too busy.
    is_busy: bool,
    /// When it began, and how fast it asks since then.
    start: Instant,
    questions: Pace,
}

/// How fast this conductor is asked. A name may lead anywhere.
fn pace_toward(conductor: &Endpoint) -> Pace {
    let gap = match &conductor.host {
        Host::Ip(ip) if is_near(*ip) => Duration::ZERO,
        Host::ThisMachine => Duration::ZERO,
        Host::Ip(_) | Host::Name(_) => QUESTION_INTERVAL,
    };
    Pace::new(gap, FIRST_QUESTIONS)
}

impl Desk {
    async fn work(&mut self) {
        let (mut waiting, mut backoff, mut dice) = (VecDeque::new(), Backoff::default(), fastrand::Rng::new());
        loop {
            if waiting.is_empty() {
                match tokio::time::timeout(LOOK, self.jobs.recv()).await {
                    Ok(Some(job)) => enqueue(&mut waiting, job),
                    Ok(None) => return,
                    Err(_) if self.has_forgotten().await => waiting.extend(self.anew()),
                    Err(_) => {}
                }
            }
            if !matches!(waiting.front(), Some(Job::Flush(_)) | None) {
                tokio::time::sleep_until(self.start + self.questions.ready()).await;
                self.questions.takes(self.start.elapsed());
            }
            while let Ok(job) = self.jobs.try_recv() {
                enqueue(&mut waiting, job);
            }
            let Some(job) = waiting.front() else { continue };
            let are_many = waiting.iter().take_while(|job| matches!(job, Job::Put(_))).nth(1).is_some();
            let done = match job.clone() {
                Job::Put(_) if are_many => match self.put_some(&mut waiting).await {
                    Ok(()) => {
                        backoff.reset();
                        self.is_busy = false;
                        continue;
                    }
                    failed => failed,
                },
                Job::Expect(coming, _told) => {
                    // It is said again: what comes of it this time does not matter.
                    if let Err(error) = self.client.announce(&coming).await {
                        log::debug!("{error}");
                    }
                    Ok(())
                }
                Job::Put(put) => self.put(put).await,
                Job::Remove(hash) => self.remove(hash).await,
                Job::Flush(_flushing) => Ok(()),
            };
            if !done.as_ref().is_err_and(AskError::passes) {
                backoff.reset();
                self.is_busy = false;
            }
            match done {
                Ok(()) => drop(waiting.pop_front()),
                Err(AskError::Unreachable { .. }) => {
                    tokio::time::sleep(AGAIN).await;
                    waiting.extend(self.anew());
                }
                Err(error) if error.passes() => {
                    self.tell_busy(&error);
                    tokio::time::sleep(backoff.next(error.after(), &mut dice)).await;
                }
                Err(error) => {
                    let name = match waiting.pop_front() {
                        Some(Job::Put(put)) => Some(put.name.shown().into_owned()),
                        Some(Job::Remove(_) | Job::Expect(..) | Job::Flush(_)) | None => None,
                    };
                    self.warn(name, format!("it is shared, and not in the catalogue: {error}"));
                }
            }
        }
    }

    /// Says once that a conductor refuses for now.
    fn tell_busy(&mut self, error: &AskError) {
        log::info!("{error}: it is asked again");
        if !std::mem::replace(&mut self.is_busy, true) {
            self.warn(None, format!("{error}; what is shared is put into its catalogue once it takes it"));
        }
    }

    /// What it was told before, to be told again.
    fn anew(&mut self) -> Vec<Job> {
        self.kept.drain().map(|(_, put)| Job::Put(put)).collect()
    }

    /// Puts the first of what waits into the catalogue, many in one request. What is done is taken out; where it fails, the
    /// first that waits is the one that did.
    async fn put_some(&mut self, waiting: &mut VecDeque<Job>) -> Result<(), AskError> {
        let puts = waiting.iter().map_while(|job| if let Job::Put(put) = job { Some(put.clone()) } else { None });
        let puts: Vec<Put> = puts.take(MAX_AT_ONCE).collect();
        let mut manifests = Vec::new();
        for put in &puts {
            let Some(manifest) = self.manifest(put).await else { break };
            manifests.push(manifest);
        }
        if manifests.is_empty() {
            // There is nothing to say of the first.
            waiting.pop_front();
            return Ok(());
        }
        let results = self.client.register_some(&manifests, IfTaken::Refuse).await?;
        for (put, result) in puts.into_iter().zip(results) {
            match result {
                Ok(_) => self.keep(put, true),
                Err(error) if error.passes() => return Err(error),
                // Its name is taken, perhaps: that is looked into.
                Err(_) => self.put(put).await?,
            }
            waiting.pop_front();
        }
        Ok(())
    }

    /// The manifest of what is to be put; None: it changed meanwhile, or its swarm is that of a torrent which no manifest
    /// maps to.
    async fn manifest(&self, put: &Put) -> Option<Manifest> {
        let (memory, path, stamp) = (self.memory.clone(), put.path.clone(), put.stamp);
        let recalled = blocking(move || memory.recall(&path, &stamp)).await;
        let known = recalled.unwrap_or_else(|error| {
            log::warn!("{error}");
            None
        });
        known.map(|known| known.manifest).filter(|manifest| manifest.info_hash() == put.info_hash)
    }

    async fn put(&mut self, put: Put) -> Result<(), AskError> {
        let Some(manifest) = self.manifest(&put).await else { return Ok(()) };
        let is_alone = self.register(&manifest, &put).await?;
        self.keep(put, is_alone);
        Ok(())
    }

    /// It is in the catalogue. `is_alone`: nobody shares something else under its name.
    fn keep(&mut self, put: Put, is_alone: bool) {
        let name = put.name.shown().into_owned();
        log::info!("{name}: registered at {}", self.client.conductor());
        if !is_alone {
            let text = format!(
                "others share something else under this name at conductor {}: who asks for the name is asked which is \
                 meant; the info-hash of this one is {}",
                self.client.conductor(),
                put.info_hash
            );
            self.warn(Some(name), text);
        }
        self.kept.retain(|_, old| old.path != put.path);
        self.kept.insert(put.info_hash, put);
    }

    /// In place of what nobody shares any more, or we ourselves did before. Gives false where others share something else
    /// under this name.
    async fn register(&self, manifest: &Manifest, put: &Put) -> Result<bool, AskError> {
        let refused = match self.client.register(manifest, IfTaken::Refuse).await {
            Ok(_) => return Ok(true),
            Err(error @ AskError::Refused { .. }) => error,
            Err(error) => return Err(error),
        };
        let there = match self.client.find(&Key::Name(put.name.clone())).await {
            Ok(there) => vec![there.composition],
            Err(AskError::Several { candidates, .. }) => candidates,
            Err(AskError::Unknown { .. }) => return Err(refused),
            Err(error) => return Err(error),
        };
        // The same with other lines besides: whoever composed it knew better.
        if there.iter().any(|found| found.info_hash == put.info_hash) {
            return Ok(true);
        }
        let was_ours = |hash: &InfoHash| self.kept.get(hash).is_some_and(|old| old.path == put.path);
        let (over, alive): (Vec<_>, Vec<_>) =
            there.into_iter().partition(|found| found.members == 0 || was_ours(&found.info_hash));
        if over.len() == 1 && alive.is_empty() {
            // It is never without one of them.
            return self.client.register(manifest, IfTaken::Replace).await.map(|_| true);
        }
        for found in over {
            match self.client.remove(&Key::Hash(found.info_hash)).await {
                Err(error) if error.passes() => return Err(error),
                Err(error) => log::info!("{error}"),
                Ok(_) => {}
            }
        }
        self.client.register(manifest, IfTaken::Beside).await.map(|_| alive.is_empty())
    }

    async fn remove(&mut self, hash: InfoHash) -> Result<(), AskError> {
        if self.kept.remove(&hash).is_none() {
            return Ok(());
        }
        let key = Key::Hash(hash);
        let removed = match self.client.find(&key).await {
            Ok(there) if there.composition.members > 0 => Ok(()),
            Ok(_) => self.client.remove(&key).await.map(drop),
            Err(error) => Err(error),
        };
        match removed {
            Err(AskError::Unknown { .. }) => Ok(()),
            removed => removed,
        }
    }

    /// Whether it has forgotten what it kept: it was started again, with an empty catalogue.
    async fn has_forgotten(&mut self) -> bool {
        // Another one each time: it may have lost some and not all.
        self.next_look = (self.next_look + 1) % self.kept.len().max(1);
        let Some(hash) = self.kept.keys().nth(self.next_look) else { return false };
        matches!(self.client.find(&Key::Hash(*hash)).await, Err(AskError::Unknown { .. }))
    }

    fn warn(&mut self, name: Option<String>, text: String) {
        log::warn!("{name:?}: {text}");
        if self.told.insert(text.clone()) {
            self.screen.event(&Report::Warning { name, text });
        }
    }
}

/// What was being hashed when last told is of no use any more, once it is told anew.
fn enqueue(waiting: &mut VecDeque<Job>, job: Job) {
    if matches!(job, Job::Expect(..)) {
        waiting.retain(|old| !matches!(old, Job::Expect(..)));
    }
    waiting.push_back(job);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conductor_on_the_internet_is_asked_at_an_interval() {
        let asked_last = |conductor: &str| {
            let mut pace = pace_toward(&conductor.parse().unwrap());
            (0..40).fold(Duration::ZERO, |now, _| {
                let now = now.max(pace.ready());
                assert!(pace.takes(now));
                now
            })
        };
        assert_eq!(["10.0.0.1:9999", "127.0.0.1:9999"].map(asked_last), [Duration::ZERO; 2]);
        let exact = QUESTION_INTERVAL * (40 - FIRST_QUESTIONS);
        assert_eq!(["8.8.8.8:9999", "c.example:9999"].map(asked_last), [exact; 2]);
    }

    #[test]
    fn only_the_last_word_about_what_is_hashed_waits() {
        let (told, _) = mpsc::channel(1);
        let coming = |done| Job::Expect(vec![Coming { name: "a".to_owned(), size: 9, done }], told.clone());
        let mut waiting = VecDeque::new();
        for job in [coming(1), Job::Remove(InfoHash([1; 20])), coming(2), Job::Remove(InfoHash([2; 20])), coming(3)] {
            enqueue(&mut waiting, job);
        }
        let kinds: Vec<_> =
            waiting.iter().map(|job| if let Job::Expect(coming, _) = job { coming[0].done } else { 0 }).collect();
        assert_eq!(kinds, [0, 0, 3]);
    }
}
