//! The program `member`: fetches a composition from other members, verifies it, and shares it.
//!
//! [`run`] is the list of what it starts. One task, the [`owner`], holds the swarm's state and carries its effects out:
//! connections are in [`links`] and [`door`], the disk is in `storage`, conductors are in `discovery`. What it decides by itself
//! is only when to end ([`until`]) and what to tell people.

mod advertised;
mod door;
mod links;
mod load;
mod on_complete;
mod owner;
mod report;
mod until;

use std::{
    net::SocketAddr,
    num::NonZeroU64,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        Exit,
        member::{DEFAULT_PORT, Settings},
    },
    discovery::{
        Discovered,
        conductor::{self, Identity},
    },
    manifest::{Endpoint, Host, Manifest, endpoint::CONDUCTOR_PORT},
    net::{limiter::Limiter, listen::Listeners, utp, via::Via},
    storage::{self, Contents, Existing, Found, Notes, Opened, Proofs, StorageError},
    swarm::{Config, Swarm},
    ui::{Report, Screen, keys::Keys},
    wire::handshake::{Handshake, PeerId},
};

/// Ports tried after the first one above the conductor's, where the default one is taken.
const MORE_PORTS: u16 = 100;
/// Connections at most, and up to how many of them more are dialled.
const MAX_PEERS: usize = 60;
const MAX_DIALLED: usize = 30;
/// How often names given with `--peer` are resolved.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

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
    #[error("{0}")]
    Usage(&'static str),
}

impl StartError {
    fn exit(&self) -> Exit {
        match self {
            Self::Load(error) => error.exit(),
            Self::Storage(error) => report::exit_of(error),
            Self::Listen(_) | Self::Advertise(_) => Exit::Other,
            Self::Usage(_) => Exit::Usage,
        }
    }
}

/// Fetches and shares what the settings name, until it is to end. To be called inside a tokio runtime.
pub async fn run(settings: Settings, stop: CancellationToken) -> Exit {
    let start = Instant::now();
    let screen = Screen::new(settings.screen, &settings.log_dir, SystemTime::now);
    match begin(&settings, start, &screen, &stop).await {
        Ok(owner) => owner.run(&screen, &stop).await,
        Err(error) => {
            let text = error.to_string();
            log::error!("{text}");
            screen.event(&Report::Error { name: None, code: error.exit(), text });
            error.exit()
        }
    }
}

async fn begin<'a>(
    settings: &'a Settings,
    start: Instant,
    screen: &Screen,
    stop: &CancellationToken,
) -> Result<owner::Owner<'a>, StartError> {
    let manifest = Arc::new(load_manifest(settings).await?);
    let listeners = listen(settings)?;
    let port = listeners.port();
    let reached = advertised::reached(settings.advertise.as_ref(), port).await?;
    let Opened { store, found, have, events: disk } = open(settings, &manifest).await?;
    let size = manifest.geometry.size();
    log::info!("{}: {} bytes, {}; port {port}", manifest.name.shown(), size, manifest.info_hash());
    screen.event(&Report::Start {
        name: manifest.name.shown().into_owned(),
        path: store.path(),
        size,
        parts: manifest.geometry.parts(),
        part_size: manifest.geometry.part_size(),
        info_hash: manifest.info_hash().to_string(),
        port,
    });

    let mut dice = fastrand::Rng::new();
    let ours = Handshake {
        info_hash: manifest.info_hash(),
        id: PeerId::fresh(&mut dice),
        extended: true,
        fast: true,
        dht: false,
    };
    let via = Via { address: settings.listen.filter(|ip| !ip.is_unspecified()), interface: settings.interface.clone() };
    let limiter = |rate: Option<u64>| Limiter::new(rate.and_then(NonZeroU64::new), start.elapsed());
    let common = links::Common {
        store: store.clone(),
        geometry: manifest.geometry,
        ours,
        info: manifest.info_bytes().into(),
        name: settings.name.clone(),
        port: reached.port,
        via: via.clone(),
        start,
        upload: limiter(settings.upload),
        download: limiter(settings.download),
    };
    let ended = stop.child_token();
    utp::refuse(&listeners.addresses(), &via, &ended);
    let (links, heard) = links::Links::start(common, listeners, ended.clone());
    let swarm = Swarm::new(Config {
        geometry: manifest.geometry,
        id: ours.id,
        have,
        checked: found == Found::Ready,
        max_peers: MAX_PEERS,
        max_dialled: MAX_DIALLED,
        seed: dice.u64(..),
    });

    let (found_in, discovered) = mpsc::channel(64);
    let (stats, told) = watch::channel(owner::stats_of(&swarm, start.elapsed()));
    let identity = Identity { info_hash: ours.info_hash, id: ours.id, port: reached.port, ip: reached.ip, via };
    let mut sources = Vec::new();
    let conductors = conductors(settings, &manifest);
    for endpoint in conductors.iter().cloned() {
        let (identity, told, found) = (identity.clone(), told.clone(), found_in.clone());
        sources.push(conductor::start(endpoint, identity, told, found, ended.clone()));
    }
    tokio::spawn(resolve(settings.peers.clone(), found_in, ended.clone()));

    Ok(owner::Owner::new(owner::Parts {
        settings,
        manifest,
        swarm,
        store,
        found,
        disk,
        links,
        heard,
        discovered,
        conductors,
        stats,
        sources,
        keys: Keys::start(),
        start,
        ended,
    }))
}

async fn load_manifest(settings: &Settings) -> Result<Manifest, StartError> {
    let [path] = settings.compositions.as_slice() else {
        return Err(StartError::Usage("one composition at a time: start a member for each manifest"));
    };
    let path = PathBuf::from(path);
    Ok(blocking(move || load::manifest(path)).await?)
}

async fn open(settings: &Settings, manifest: &Manifest) -> Result<Opened, StartError> {
    let contents = Contents {
        name: manifest.name.as_str().to_owned(),
        geometry: manifest.geometry,
        parts: manifest.parts.clone(),
        whole: manifest.whole,
        info_hash: manifest.info_hash(),
    };
    let folder = settings.output.clone();
    let existing = if settings.repair { Existing::Repair } else { Existing::Share };
    let notes = if settings.check { Notes::Ignored } else { Notes::Believed };
    let proofs = Proofs::of_this_user();
    Ok(blocking(move || storage::open(contents, &folder, existing, notes, proofs)).await?)
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

/// The conductors of the manifest and of the command line, each once.
fn conductors(settings: &Settings, manifest: &Manifest) -> Vec<Endpoint> {
    let mut all: Vec<Endpoint> = Vec::new();
    for endpoint in manifest.conductors().chain(settings.conductors.iter().cloned()) {
        if !all.contains(&endpoint) {
            all.push(endpoint);
        }
    }
    all
}

/// Finds the addresses behind `--peer`, again and again: a name may lead elsewhere later.
async fn resolve(peers: Vec<Endpoint>, found: mpsc::Sender<Discovered>, stop: CancellationToken) {
    while !peers.is_empty() {
        for peer in &peers {
            let addresses: Vec<SocketAddr> = match &peer.host {
                Host::Ip(ip) => vec![SocketAddr::new(*ip, peer.port)],
                Host::ThisMachine => vec![SocketAddr::from(([127, 0, 0, 1], peer.port))],
                Host::Name(name) => match tokio::net::lookup_host((name.as_str(), peer.port)).await {
                    Ok(addresses) => addresses.collect(),
                    Err(error) => {
                        log::warn!("--peer {peer}: {name} is not found: {error}");
                        Vec::new()
                    }
                },
            };
            let _ = found.send(Discovered::Found(addresses)).await;
        }
        let again = tokio::time::sleep(RESOLVE_AGAIN);
        if stop.run_until_cancelled(again).await.is_none() {
            return;
        }
    }
}
