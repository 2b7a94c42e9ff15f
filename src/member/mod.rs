//! The program `member`: fetches a composition from other members, verifies it, and shares it.
//!
//! [`run`] is the list of what it starts. Where only a magnet link is known, [`asking`] comes first. Then one task, the
//! [`owner`], holds the swarm's state and carries its effects out:
//! connections are in [`links`] and [`door`], the disk is in `storage`, conductors are in `discovery`. What it decides by itself
//! is only when to end ([`until`]) and what to tell people.

mod acquaintances;
mod advertised;
pub mod ask;
mod asking;
mod contact;
mod door;
mod links;
mod load;
mod lookout;
mod on_complete;
mod owner;
mod report;
mod until;

use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        Exit,
        member::{DEFAULT_PORT, Settings},
    },
    discovery::{
        conductor::{Identity, Stats},
        lan::Lan,
    },
    manifest::{Endpoint, FilePath, endpoint::CONDUCTOR_PORT},
    metainfo::{InfoHash, Magnet},
    net::{limiter::Limiter, listen::Listeners, utp, via::Via},
    storage::{self, Contents, Existing, Found, Infos, Notes, Opened, Proofs, Selection, StorageError, Wishes},
    swarm::{Config, Swarm},
    ui::{
        Report, Screen,
        keys::{Keys, Quit},
    },
    wire::handshake::{Handshake, PeerId},
};
use acquaintances::Acquaintances;
use advertised::Reached;
use load::{Composition, Named, Trackers};
use lookout::Lookout;

/// Ports tried after the first one above the conductor's, where the default one is taken.
const MORE_PORTS: u16 = 100;
/// Connections at most, and up to how many of them more are dialled.
const MAX_PEERS: usize = 60;
const MAX_DIALLED: usize = 30;

/// Why a member could not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Load(#[from] load::LoadError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Listen(#[from] crate::net::listen::ListenError),
    #[error(transparent)]
    Advertise(#[from] advertised::NotFound),
    #[error(transparent)]
    Ask(#[from] ask::AskingFailed),
    #[error("{0}")]
    Usage(&'static str),
    #[error("{name}: --only means no file of it: member show lists them")]
    NothingSelected { name: String },
    /// It ended before it knew what to fetch, and everything is told.
    #[error("it ended early")]
    Ended(Exit),
}

impl StartError {
    fn exit(&self) -> Exit {
        match self {
            Self::Load(error) => error.exit(),
            Self::Storage(error) => report::exit_of(error),
            Self::Listen(_) | Self::Advertise(_) => Exit::Other,
            Self::Ask(error) => error.exit(),
            Self::Usage(_) | Self::NothingSelected { .. } => Exit::Usage,
            Self::Ended(exit) => *exit,
        }
    }
}

/// Fetches and shares what the settings name, until it is to end. To be called inside a tokio runtime.
pub async fn run(settings: Settings, stop: CancellationToken) -> Exit {
    let start = Instant::now();
    let screen = Screen::new(settings.screen, &settings.log_dir, SystemTime::now);
    let mut lookout = Lookout::new(stop.child_token());
    let beginning = Beginning { settings: &settings, start, screen: &screen, stop: &stop };
    match beginning.begin(&mut lookout).await {
        Ok(parts) => owner::Owner::new(parts, lookout).run(&screen, &stop).await,
        Err(error) => {
            if !matches!(error, StartError::Ended(_)) {
                let text = error.to_string();
                log::error!("{text}");
                screen.event(&Report::Error { name: None, code: error.exit(), text });
            }
            lookout.leave().await;
            error.exit()
        }
    }
}

/// What a member has before it knows its composition.
#[derive(Clone, Copy)]
struct Beginning<'a> {
    settings: &'a Settings,
    start: Instant,
    screen: &'a Screen,
    stop: &'a CancellationToken,
}

/// Who this member is, and how others reach it.
struct Presence {
    id: PeerId,
    /// What its announces have in common.
    key: u32,
    listeners: Listeners,
    reached: Reached,
    /// None: nobody is looked for on the local network.
    lan: Option<Lan>,
    keys: Option<(Keys, mpsc::Receiver<Quit>)>,
    dice: fastrand::Rng,
}

impl<'a> Beginning<'a> {
    async fn begin(self, lookout: &mut Lookout) -> Result<owner::Parts<'a>, StartError> {
        let named = self.load().await?;
        let listeners = listen(self.settings)?;
        utp::refuse(&listeners.addresses(), &self.via(), lookout.ended());
        let reached = advertised::reached(self.settings.advertise.as_ref(), listeners.port()).await?;
        let start_lan = || Lan::start(listeners.port(), self.via(), lookout.ended().clone());
        let lan = self.settings.lan.then(start_lan);
        let mut dice = fastrand::Rng::new();
        let (id, key) = (PeerId::fresh(&mut dice), dice.u32(..));
        let mut presence = Presence { id, key, listeners, reached, lan, keys: Keys::start(), dice };
        match named {
            Named::Composition(composition) => {
                let opened = open(self.settings, &composition).await?;
                let acquaintances = Acquaintances::of(composition.info_hash);
                lookout.known = acquaintances.recall().await;
                let identity = self.identity(&presence, composition.info_hash);
                if let Some(lan) = &presence.lan {
                    lookout.look_near(lan, composition.info_hash);
                }
                let (trackers, left) = (composition.trackers.clone(), left(&opened));
                let parts = self.share(composition, opened, presence, acquaintances, lookout);
                self.look_for(&trackers, &[], &identity, left, lookout);
                Ok(parts)
            }
            Named::Magnet(magnet) => {
                let acquaintances = Acquaintances::of(magnet.hash);
                lookout.known = acquaintances.recall().await;
                let composition = self.resolve(&magnet, &mut presence, lookout).await?;
                let opened = open(self.settings, &composition).await?;
                lookout.tell(left(&opened));
                Ok(self.share(composition, opened, presence, acquaintances, lookout))
            }
        }
    }

    async fn load(self) -> Result<Named, StartError> {
        if let Some(get) = &self.settings.get {
            let manifest = ask::get(get, !self.settings.screen.json, self.stop).await?;
            let shown = self.settings.compositions.iter().collect();
            return Ok(Named::Composition(Composition::of_manifest(manifest, shown)?));
        }
        let [named] = self.settings.compositions.as_slice() else {
            return Err(StartError::Usage("one composition at a time: start a member for each manifest"));
        };
        let named = named.clone();
        Ok(blocking(move || load::load(named)).await?)
    }

    /// Whom the conductors hear of.
    fn identity(self, we: &Presence, info_hash: InfoHash) -> Identity {
        let Presence { id, key, reached, .. } = we;
        Identity { info_hash, id: *id, key: *key, port: reached.port, ip: reached.ip, via: self.via() }
    }

    /// Starts to look for members: at these trackers and addresses, and where the settings say.
    fn look_for(
        self,
        trackers: &Trackers,
        peers: &[Endpoint],
        identity: &Identity,
        stats: Stats,
        lookout: &mut Lookout,
    ) {
        let peers = [&self.settings.peers, peers].concat();
        lookout.start(trackers, &self.settings.conductors, peers, identity, stats, self.screen);
    }

    /// The composition that a magnet link names: remembered, or asked of other members.
    async fn resolve(
        self,
        magnet: &Magnet,
        we: &mut Presence,
        lookout: &mut Lookout,
    ) -> Result<Composition, StartError> {
        let trackers = Trackers::of(&magnet.trackers);
        // What is left is not known; less than all of it would be a lie, and nothing would make this a seed.
        let stats = Stats { left: magnet.size.unwrap_or(1).max(1), ..Stats::default() };
        self.look_for(&trackers, &magnet.peers, &self.identity(we, magnet.hash), stats, lookout);
        if let Some(lan) = &we.lan {
            lookout.look_near(lan, magnet.hash);
        }
        let name = asking::name_of(magnet);
        let hash = magnet.hash;
        let infos = Infos::of_this_user();
        let remembered = match infos.clone() {
            Some(infos) => blocking(move || infos.get(hash)).await,
            None => None,
        };
        if let Some(info) = remembered {
            log::info!("{name}: its info dictionary is remembered");
            return Ok(Composition::of_info(info.into(), trackers, &name)?);
        }
        let setup = asking::Setup {
            settings: self.settings,
            name: name.clone(),
            // Not the id of the member: who is slow to see these connections end would take the next one for a second
            // to the same member, and refuse it (aria2 does).
            ours: ours(magnet.hash, PeerId::fresh(&mut we.dice)),
            listeners: &we.listeners,
            port: we.reached.port,
            via: self.via(),
            start: self.start,
            dice: we.dice.fork(),
        };
        let asked = asking::ask(setup, lookout, &mut we.keys, self.screen, self.stop).await;
        let info = asked.map_err(StartError::Ended)?;
        let composition = Composition::of_info(info.clone(), trackers, &name)?;
        if let Some(infos) = infos
            && let Err(error) = blocking(move || infos.remember(&info)).await
        {
            log::warn!("the info dictionary is asked for again next time: {error}");
        }
        Ok(composition)
    }

    fn via(self) -> Via {
        let Settings { listen, interface, .. } = self.settings;
        Via { address: listen.filter(|ip| !ip.is_unspecified()), interface: interface.clone() }
    }

    /// Starts to connect, with all that is known now.
    fn share(
        self,
        composition: Composition,
        opened: Opened,
        we: Presence,
        acquaintances: Acquaintances,
        lookout: &Lookout,
    ) -> owner::Parts<'a> {
        let Self { settings, start, screen, .. } = self;
        let Opened { store, found, have, events: disk } = opened;
        let Presence { id, listeners, reached, keys, mut dice, .. } = we;
        let Composition { manifest, files, info, info_hash, .. } = composition;
        let (size, port) = (manifest.geometry.size(), listeners.port());
        log::info!("{}: {size} bytes, {info_hash}; port {port}", manifest.name.shown());
        screen.event(&Report::Start {
            name: manifest.name.shown().into_owned(),
            path: store.path(),
            size,
            parts: manifest.geometry.parts(),
            part_size: manifest.geometry.part_size(),
            info_hash: info_hash.to_string(),
            port,
        });
        let limiter = |rate: Option<u64>| Limiter::new(rate.and_then(NonZeroU64::new), start.elapsed());
        let common = links::Common {
            store: store.clone(),
            geometry: manifest.geometry,
            ours: ours(info_hash, id),
            info,
            name: settings.name.clone(),
            port: reached.port,
            via: self.via(),
            start,
            upload: limiter(settings.upload),
            download: limiter(settings.download),
        };
        let (links, heard) = links::Links::start(common, listeners, lookout.ended().clone());
        let mut swarm = Swarm::new(Config {
            geometry: manifest.geometry,
            id,
            have,
            checked: found == Found::Ready,
            max_peers: MAX_PEERS,
            max_dialled: MAX_DIALLED,
            seed: dice.u64(..),
        });
        if let Some(only) = store.only() {
            swarm.want_only(only.parts());
            let files = files.iter().filter(|file| !file.padding).count();
            let (name, wanted) = (manifest.name.shown().into_owned(), only.count());
            screen.event(&Report::Selected { name, wanted, files, size: only.size() });
        }
        let manifest = Arc::new(manifest);
        owner::Parts { settings, manifest, swarm, store, found, disk, links, heard, acquaintances, keys, start }
    }
}

/// Our 68 bytes.
fn ours(info_hash: InfoHash, id: PeerId) -> Handshake {
    Handshake { info_hash, id, extended: true, fast: true, dht: false }
}

/// What the conductors are told first of what is on the disk.
fn left(opened: &Opened) -> Stats {
    let geometry = opened.store.geometry();
    let there: u64 = opened.have.ones(geometry).map(|part| u64::from(geometry.part_len(part))).sum();
    Stats { left: geometry.size() - there, ..Stats::default() }
}

async fn open(settings: &Settings, composition: &Composition) -> Result<Opened, StartError> {
    let manifest = &composition.manifest;
    let only = select(settings, composition)?;
    let contents = Contents {
        name: manifest.name.as_str().to_owned(),
        files: composition.files.clone(),
        only,
        geometry: manifest.geometry,
        parts: manifest.parts.clone(),
        whole: manifest.whole,
        info_hash: composition.info_hash,
    };
    let folder = settings.output.clone();
    let wishes = Wishes {
        existing: if settings.repair { Existing::Repair } else { Existing::Share },
        notes: if settings.check { Notes::Ignored } else { Notes::Believed },
        old: settings.from.clone(),
    };
    let proofs = Proofs::of_this_user();
    Ok(blocking(move || storage::open(contents, &folder, &wishes, proofs)).await?)
}

/// The files that `--only` means; None: all.
fn select(settings: &Settings, composition: &Composition) -> Result<Option<Selection>, StartError> {
    let Composition { manifest, files, .. } = composition;
    if settings.only.is_empty() {
        return Ok(None);
    }
    let means = |path: &FilePath| settings.only.iter().any(|glob| glob.means(path));
    let selection = Selection::new(files, &manifest.geometry, means);
    match selection.count() {
        0 => Err(StartError::NothingSelected { name: manifest.name.shown().into_owned() }),
        _ => Ok(Some(selection)),
    }
}

/// Runs what blocks on a thread of its own; a panic there is one here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn listen(settings: &Settings) -> Result<Listeners, StartError> {
    let via = Via { address: settings.listen, interface: settings.interface.clone() };
    Ok(match settings.port {
        Some(port) => Listeners::bind_via(&via, port, 0)?,
        None => match Listeners::bind_via(&via, DEFAULT_PORT, 0) {
            // Not the port between: a conductor that is started here later needs it.
            Err(error) if error.taken() => Listeners::bind_via(&via, CONDUCTOR_PORT + 1, MORE_PORTS)?,
            bound => bound?,
        },
    })
}
