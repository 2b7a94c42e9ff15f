//! The program `member`: fetches a composition from other members, verifies it, and shares it.
//!
//! [`run`] is the list of what it starts. One [`station`] has what all compositions share: the port, the limits, the
//! screen. Each composition then has a task of its own, which [`begin`]s it (where only a magnet link is known, [`asking`]
//! comes first); the [`owner`] holds the swarm's state and carries its effects out:
//! connections are in [`links`] and come through one [`door`], the disk is in `storage`, conductors are in `discovery`.
//! What it decides by itself is only when to end ([`until`]) and what to tell people.

mod advertised;
pub mod ask;
mod asking;
mod begin;
mod contact;
mod door;
mod links;
mod load;
mod lookout;
mod news;
mod on_complete;
mod owner;
mod report;
pub mod share;
mod station;
mod teller;
mod until;

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::AskError,
    cli::{Exit, member::Settings},
    conductor::ConductorError,
    discovery::conductor::HttpError,
    metainfo::InfoHash,
    storage::StorageError,
    ui::{Report, Screen, keys::Keys},
};
use begin::Beginning;
use load::{Composition, Named};
use share::memory::MemoryError;
use station::{Pending, Station};
use teller::Teller;

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
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Conductor(#[from] ConductorError),
    #[error(transparent)]
    Catalogue(#[from] AskError),
    #[error("{path}: {error}: name a file or a folder that is there")]
    NotThere { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Advertise(#[from] advertised::NotFound),
    #[error(transparent)]
    Ask(#[from] ask::AskingFailed),
    #[error("{name}: named twice ({info_hash}): it is fetched and shared once")]
    Twice { name: String, info_hash: InfoHash },
    /// It ended before it knew what to fetch, and everything is told.
    #[error("it ended early")]
    Ended(Exit),
}

impl StartError {
    fn exit(&self) -> Exit {
        match self {
            Self::Load(error) => error.exit(),
            Self::Storage(error) => report::exit_of(error),
            Self::Memory(_)
            | Self::Conductor(_)
            | Self::NotThere { .. }
            | Self::Listen(_)
            | Self::Advertise(_)
            | Self::Http(_) => Exit::Other,
            Self::Ask(error) => error.exit(),
            Self::Catalogue(error) => error.exit(),
            Self::Twice { .. } => Exit::Usage,
            Self::Ended(exit) => *exit,
        }
    }

    /// Says it, unless that was done; gives the exit code.
    fn told(&self, screen: &Screen) -> Exit {
        if !matches!(self, Self::Ended(_)) {
            let text = self.to_string();
            log::error!("{text}");
            screen.event(&Report::Error { name: None, code: self.exit(), text });
        }
        self.exit()
    }
}

/// Fetches and shares what the settings name, until it is to end. To be called inside a tokio runtime.
pub async fn run(settings: Settings, stop: CancellationToken) -> Exit {
    let start = Instant::now();
    let screen = Arc::new(Screen::new(settings.screen, &settings.log_dir, SystemTime::now));
    let stop = stop.child_token();
    let mut ends = Vec::new();
    let mut all = Vec::new();
    for loaded in load(&settings, &stop).await {
        match loaded {
            Ok(named) => all.push(named),
            Err(error) => ends.push(error.told(&screen)),
        }
    }
    if !all.is_empty() {
        match Station::open(settings, start, screen.clone(), stop, false).await {
            Ok(station) => ends.extend(run_all(all, station).await),
            Err(error) => ends.push(error.told(&screen)),
        }
    }
    Exit::worst(ends)
}

/// What is named, each with what came of reading it.
async fn load(settings: &Settings, stop: &CancellationToken) -> Vec<Result<Named, StartError>> {
    if let Some(get) = &settings.get {
        let shown = settings.compositions.iter().collect();
        let got = ask::get(get, !settings.screen.json, stop).await.map_err(StartError::from);
        return vec![got.and_then(|manifest| Ok(Named::Composition(Composition::of_manifest(manifest, shown)?)))];
    }
    let mut all = Vec::new();
    for named in settings.compositions.clone() {
        all.push(blocking(move || load::load(named)).await.map_err(StartError::from));
    }
    all
}

/// Each composition with a task of its own, to the end of the last.
async fn run_all(all: Vec<Named>, station: Station) -> Vec<Exit> {
    let station = Arc::new(station);
    let _keys = leave_on_q(&station.stop);
    let (pending, mut running) = (Pending::new(), JoinSet::new());
    for (slot, named) in all.into_iter().enumerate() {
        let screen = Teller::new(station.screen.clone(), slot);
        running.spawn(Beginning { station: station.clone(), screen }.run(named, pending.again()));
    }
    drop(pending);
    running.join_all().await
}

/// Reads keys until what is given is dropped.
fn leave_on_q(stop: &CancellationToken) -> Option<Keys> {
    let (keys, mut pressed) = Keys::start()?;
    let stop = stop.clone();
    tokio::spawn(async move {
        if pressed.recv().await.is_some() {
            stop.cancel();
        }
    });
    Some(keys)
}

/// Runs what blocks on a thread of its own; a panic there is one here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
