//! Puts what is shared into the catalogues of the conductors, and takes out what is not shared any more.
//!
//! One task a conductor, one question after the other. While a conductor does not answer, it is asked again; once it
//! answers again, it is told everything anew, since it may have forgotten. A name that somebody else's composition has is
//! left to them while anybody shares that.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use crate::{
    catalogue::{AskError, Client, Coming, IfTaken, Key, Token},
    manifest::{Endpoint, Manifest, Name},
    member::{blocking, load::Composition},
    metainfo::InfoHash,
    storage::Stamp,
    ui::{Report, Screen},
};

/// While a conductor does not answer it is asked again after this time.
const AGAIN: Duration = Duration::from_secs(5);

/// How often it is looked whether a conductor still has what it was told.
const LOOK: Duration = Duration::from_secs(30);

/// Something to tell the catalogues.
#[derive(Clone, Debug)]
pub enum Job {
    /// These are being hashed; the sender goes when they were told, or could not be.
    Expect(Vec<Coming>, mpsc::Sender<Infallible>),
    Put(Put),
    Remove(InfoHash),
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
            let desk = Desk { client, memory, screen, jobs, kept: HashMap::new(), told: HashSet::new() };
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
}

impl Desk {
    async fn work(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match tokio::time::timeout(LOOK, self.jobs.recv()).await {
                    Ok(Some(job)) => enqueue(&mut waiting, job),
                    Ok(None) => return,
                    Err(_) if self.has_forgotten().await => waiting.extend(self.anew()),
                    Err(_) => {}
                }
            }
            while let Ok(job) = self.jobs.try_recv() {
                enqueue(&mut waiting, job);
            }
            let Some(job) = waiting.front() else { continue };
            let done = match job.clone() {
                Job::Expect(coming, _told) => {
                    // It is said again: what comes of it this time does not matter.
                    if let Err(error) = self.client.announce(&coming).await {
                        log::debug!("{error}");
                    }
                    Ok(())
                }
                Job::Put(put) => self.put(put).await,
                Job::Remove(hash) => self.remove(hash).await,
            };
            match done {
                Ok(()) => drop(waiting.pop_front()),
                Err(AskError::Unreachable { .. }) => {
                    tokio::time::sleep(AGAIN).await;
                    waiting.extend(self.anew());
                }
                Err(error) => {
                    let name = match waiting.pop_front() {
                        Some(Job::Put(put)) => Some(put.name.shown().into_owned()),
                        Some(Job::Remove(_) | Job::Expect(..)) | None => None,
                    };
                    self.warn(name, format!("it is shared, and not in the catalogue: {error}"));
                }
            }
        }
    }

    /// What it was told before, to be told again.
    fn anew(&mut self) -> Vec<Job> {
        self.kept.drain().map(|(_, put)| Job::Put(put)).collect()
    }

    async fn put(&mut self, put: Put) -> Result<(), AskError> {
        let (memory, path, stamp) = (self.memory.clone(), put.path.clone(), put.stamp);
        let recalled = blocking(move || memory.recall(&path, &stamp)).await;
        let manifest = match recalled {
            Ok(Some(known)) if known.manifest.info_hash() == put.info_hash => known.manifest,
            // It changed meanwhile; or its swarm is that of a torrent which no manifest maps to.
            Ok(_) => return Ok(()),
            Err(error) => {
                log::warn!("{error}");
                return Ok(());
            }
        };
        let name = put.name.shown().into_owned();
        let is_alone = self.register(&manifest, &put).await?;
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
        Ok(())
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
            if let Err(error) = self.client.remove(&Key::Hash(found.info_hash)).await {
                log::info!("{error}");
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
    async fn has_forgotten(&self) -> bool {
        let Some(hash) = self.kept.keys().next() else { return false };
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
