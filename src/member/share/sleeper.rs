//! One shared composition: asleep while nobody wants it, awake while somebody does.
//!
//! Asleep it is announced and listened for, and takes neither an open file nor its manifest. A visitor wakes it, and so
//! does a conductor that names somebody: it names no seeds to a seed, so that one fetches. What it costs an attacker: who
//! names an info-hash wakes its composition for seconds; at most [`AWAKE`] are awake, and visitors of others are sent away.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    look::{Glass, Look},
    memory::Memory,
    standing::Standing,
};
use crate::{
    cli::Exit,
    composer::Rules,
    discovery::conductor::{Identity, Stats},
    member::{
        begin, blocking,
        links::{Arrival, Visitors},
        load::{Composition, Trackers},
        lookout::Lookout,
        owner::{Asleep, Owner, Parts},
        repertoire::Performed,
        station::Station,
        teller::Teller,
    },
    metainfo::InfoHash,
    storage::{Contents, Found, Opened, Proofs, Stamp, Wishes},
    swarm::{Copies, Input},
    ui::Report,
    wire::copy_id::CopyId,
};

/// Compositions that are awake at the same time, at most: each holds an open file and two threads.
pub const AWAKE: usize = 128;

/// What is known of a composition that sleeps.
pub struct Sleeper {
    pub station: Arc<Station>,
    pub teller: Teller,
    pub path: PathBuf,
    pub stamp: Stamp,
    pub info_hash: InfoHash,
    pub trackers: Trackers,
    pub memory: Arc<Memory>,
    /// The local network is told of it too.
    pub is_told_near: bool,
    /// So is the DHT.
    pub is_told_far: bool,
    /// A place for each that is awake.
    pub awake: Arc<Semaphore>,
    /// Withdraws it.
    pub stop: CancellationToken,
    /// None: nobody is told of it who does not ask for it.
    pub performed: Option<Performed>,
    /// How it is looked at.
    pub rules: Rules,
    /// Told how far it is.
    pub standing: Arc<Standing>,
}

/// What it remembers of those who had it, from one time that it is awake to the next.
struct Count {
    copy: Option<CopyId>,
    uploaded: u64,
    copies: Copies,
}

/// Why it is shared no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was told to end.
    Left,
    /// It failed, and people were told why.
    Failed(Exit),
    /// The file is not what it was.
    Changed,
    /// Another file of this process is the same composition.
    Twice,
}

impl Sleeper {
    /// Shares it until it is withdrawn.
    pub async fn run(self) -> Gone {
        let Some(mut visitors) = Visitors::of(&self.station, self.info_hash) else {
            return Gone::Twice;
        };
        let _listed = self.performed.clone().map(|performed| self.station.repertoire.list(performed));
        let mut lookout = self.station.lookout(&self.stop);
        let settings = &self.station.settings;
        let identity = self.identity().await;
        let (peers, stats) = (settings.peers.clone(), Stats::default());
        lookout.start(&self.trackers, &settings.conductors, peers, &identity, stats, &self.teller);
        if let Some(lan) = self.station.lan.as_ref().filter(|_| self.is_told_near) {
            lookout.look_near(lan, self.info_hash);
        }
        if let Some(dht) = self.station.dht.as_ref().filter(|_| self.is_told_far) {
            lookout.look_far(dht, self.info_hash);
        }
        let copies = begin::copies(&self.station, self.info_hash, identity.copy);
        let mut count = Count { copy: identity.copy, uploaded: 0, copies };
        while self.sleep(&mut lookout, &mut visitors, &mut count.copies).await {
            let Some(Ok(_place)) = self.stop.run_until_cancelled(self.awake.acquire()).await else { break };
            // In a box of its own: it is large, and most sleep.
            log::info!("{}: wakes", self.path.display());
            let waking = Box::pin(self.wake(lookout, visitors, count));
            match waking.await {
                Ok(asleep) => {
                    let (uploaded, copies) = (asleep.uploaded, asleep.copies);
                    (lookout, visitors) = (asleep.lookout, asleep.visitors);
                    count = Count { copy: identity.copy, uploaded, copies };
                    log::info!("{}: sleeps", self.path.display());
                }
                Err(gone) => return gone,
            }
        }
        lookout.leave().await;
        Gone::Left
    }

    /// Whom others hear of, with the copy that is shared.
    async fn identity(&self) -> Identity {
        let (machine, folder, info_hash) = (self.station.machine.clone(), self.folder(), self.info_hash);
        let copy = blocking(move || machine.copy_in(&folder, info_hash)).await;
        self.station.identity(info_hash, Some(copy))
    }

    fn folder(&self) -> PathBuf {
        self.path.parent().map(PathBuf::from).unwrap_or_default()
    }

    /// Until somebody wants it; false: it is withdrawn.
    async fn sleep(&self, lookout: &mut Lookout, visitors: &mut Visitors, copies: &mut Copies) -> bool {
        let counts = self.station.settings.until.all.is_some();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                Some(arrival) = visitors.arrivals.recv() => {
                    // Nobody is dialled in its sleep; what comes of earlier dialling is too late.
                    let Arrival::Met(met) = arrival else { continue };
                    if self.awake.available_permits() > 0 {
                        return visitors.arrivals_in.try_send(Arrival::Met(met)).is_ok();
                    }
                    log::info!("{}: a visitor is sent away: too many are awake", self.path.display());
                }
                Some(found) = lookout.hear() => {
                    match lookout.take(found, &self.teller) {
                        Some(Input::Endpoints(addresses)) => lookout.known = addresses,
                        Some(Input::Whole(members)) if counts => members.into_iter().for_each(|who| copies.claim(who)),
                        Some(Input::Left(gone)) => lookout.known.retain(|address| !gone.contains(address)),
                        _ => {}
                    }
                    if !lookout.known.is_empty() {
                        return true;
                    }
                }
            }
        }
    }

    /// Serves it until nobody wants it any more.
    async fn wake(&self, mut lookout: Lookout, visitors: Visitors, count: Count) -> Result<Asleep, Gone> {
        let opened = match self.open().await {
            Ok(opened) => opened,
            Err(gone) => {
                lookout.leave().await;
                return Err(gone);
            }
        };
        let (composition, opened) = opened;
        let Count { copy, uploaded, copies } = count;
        let mut parts: Parts = begin::parts(&self.station, composition, Vec::new(), opened, copy, visitors, None);
        (parts.stop, parts.uploaded) = (self.stop.clone(), uploaded);
        parts.standing = Some(self.standing.clone());
        parts.swarm.go_on_counting(copies);
        Owner::new(parts, lookout).serve(&self.teller).await.map_err(|exit| match exit {
            Exit::Done | Exit::CopiesMissing => Gone::Left,
            exit => Gone::Failed(exit),
        })
    }

    async fn open(&self) -> Result<(Composition, Opened), Gone> {
        let (memory, path, stamp, hash) = (self.memory.clone(), self.path.clone(), self.stamp, self.info_hash);
        let glass = Glass { rules: self.rules.clone(), ..Glass::default() };
        let recalled = blocking(move || recall(&memory, &path, &stamp, hash, &glass)).await;
        let composition = recalled.ok_or(Gone::Changed)?;
        let mut folder = self.folder();
        let (pool, follow_links) = (self.station.pool.clone(), self.rules.follow_links);
        let wishes = Wishes { pool, follow_links, ..Wishes::default() };
        // The whole was verified with the parts when it was described; a row says nothing that would last longer.
        let mut contents = Contents { whole: None, ..begin::contents(&composition, None) };
        // What a person names may be a link, and what it leads to may be named differently.
        let (contents, folder) = blocking(move || {
            begin::follow(&mut contents, &mut folder);
            (contents, folder)
        })
        .await;
        match begin::open(contents, folder, wishes).await {
            Ok(opened) if matches!(opened.found, Found::Whole | Found::Unproven) => Ok((composition, opened)),
            Ok(_) => Err(Gone::Changed),
            Err(error) if error.is_of_the_disk() => {
                let name = Some(composition.manifest.name.shown().into_owned());
                self.teller.event(&Report::Error { name, code: Exit::Disk, text: error.to_string() });
                Err(Gone::Failed(Exit::Disk))
            }
            Err(error) => {
                log::warn!("{error}");
                Err(Gone::Changed)
            }
        }
    }
}

/// What this file is, if it still is what it was.
fn recall(memory: &Memory, path: &Path, stamp: &Stamp, hash: InfoHash, glass: &Glass) -> Option<Composition> {
    if Look::at(path, glass).ok()?.stamp != *stamp {
        return None;
    }
    let recalled = memory.recall(path, stamp).unwrap_or_else(|error| {
        log::error!("{}: {error}", path.display());
        None
    });
    let composition = recalled.filter(|composition| composition.info_hash == hash)?;
    // The proof in the form in which the storage reads it; without one it would hash the file.
    if let Some(proofs) = Proofs::of_this_user()
        && let Err(error) = proofs.remember(&begin::real_path(path), hash, stamp, None)
    {
        log::warn!("{error}");
    }
    Some(composition)
}
