//! The program `member`: fetches a composition from other members, verifies it, and shares it.
//!
//! [`run`] is the list of what it starts. One [`station`] has what all compositions share: the port, the limits, the
//! screen. Each composition then has a task of its own, which [`begin`]s it (where only a magnet link is known, [`asking`]
//! comes first); the [`owner`] holds the swarm's state and carries its effects out:
//! connections are in [`links`] and come through one [`door`] (beside it the [`billboard`], for who asks what is shared), the
//! disk is in `storage`, conductors are in `discovery`.
//! What it decides by itself is only when to end ([`until`]) and what to tell people. Beside all compositions it has
//! [`neighbours`], who are asked for others ([`search`]).

mod acquaintances;
mod advertised;
pub mod ask;
mod asking;
mod begin;
mod billboard;
mod contact;
mod door;
pub mod history;
mod hosts;
mod ledger;
mod links;
mod load;
mod lookout;
mod machine;
pub mod menu;
mod mirrors;
mod narrow;
mod neighbours;
mod news;
mod on_complete;
mod owner;
mod repertoire;
mod report;
pub mod search;
pub mod share;
mod station;
mod teller;
mod until;
pub mod verify;

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{StreamExt, stream};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{AskError, Key},
    cli::{Exit, ask::Get, member::Settings},
    conductor::ConductorError,
    discovery::conductor::HttpError,
    manifest::shown,
    metainfo::{InfoHash, Magnet},
    storage::StorageError,
    swarm::Snapshot,
    ui::{End, Phase, Report, Screen, View, keys::Keys, to_stderr},
};
use ask::{AskingFailed, Person};
use begin::Beginning;
use load::Named;
use share::memory::MemoryError;
use station::{Pending, Station};
use teller::Teller;

/// Names that are asked for at the same time.
const AT_ONCE: usize = 8;
/// Time between two questions for what is not there yet: at first, and at last.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_LATER: Duration = Duration::from_secs(5);
/// Nobody is asked more often, however little time is left.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

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
    #[error(
        "{}: {} has the same name and would be written there too: fetch one of them to another folder with -o",
        .path.display(), .others.join(", ")
    )]
    Namesake { path: PathBuf, others: Box<[String]> },
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
            Self::Memory(_)
            | Self::Conductor(_)
            | Self::NotThere { .. }
            | Self::Namesake { .. }
            | Self::Listen(_)
            | Self::Advertise(_)
            | Self::Http(_) => Exit::Other,
            Self::Ask(error) => error.exit(),
            Self::Catalogue(error) => error.exit(),
            Self::Twice { .. } | Self::NothingSelected { .. } => Exit::Usage,
            Self::Ended(exit) => *exit,
        }
    }

    /// Says it, unless that was done; gives the exit code. `name`: what people call what was to begin then.
    fn told(&self, name: Option<String>, start: Instant, screen: &Screen) -> Exit {
        let code = self.exit();
        if !matches!(self, Self::Ended(_)) {
            let text = self.to_string();
            log::error!("{text}");
            screen.event(&Report::Error { name: None, code, text: text.clone() });
            screen.event(&Report::End(End::failed(name, code, text, start.elapsed())));
        }
        code
    }
}

/// Fetches and shares what the settings name, until it is to end. To be called inside a tokio runtime.
pub async fn run(settings: Settings, stop: CancellationToken) -> Exit {
    let start = Instant::now();
    let screen = Arc::new(Screen::new(settings.screen, &settings.log_dir, SystemTime::now));
    let stop = stop.child_token();
    // Before anybody is asked: an interface that is not there would look as if nobody answered.
    if !settings.gets.is_empty()
        && let Err(error) = station::listen(&settings)
    {
        return error.told(None, start, &screen);
    }
    let mut ends = Vec::new();
    let mut all = Vec::new();
    for (typed, loaded) in load(&settings, &stop).await {
        match loaded {
            Ok(named) => all.push(named),
            Err(error) => ends.push(error.told(Some(typed), start, &screen)),
        }
    }
    if !all.is_empty() {
        match Station::open(settings, start, screen.clone(), stop, false).await {
            Ok(station) => ends.extend(run_all(all, station).await),
            Err(error) => ends.push(error.told(None, start, &screen)),
        }
    }
    Exit::worst(ends)
}

/// What came of something that was named.
enum Loaded {
    Named(Named),
    /// It is not there yet, and may come: why.
    Awaited(Get, AskingFailed),
}

/// What is named, as it was typed, each with what came of reading it.
async fn load(settings: &Settings, stop: &CancellationToken) -> Vec<(String, Result<Loaded, StartError>)> {
    let person = (!settings.screen.json).then(Person::default);
    let person = person.as_ref();
    let (meant, mut all) = meant(settings, stop).await;
    let gets = meant.iter().map(async |get| (name_of(get), loaded(get, settings.timeout, person, stop).await));
    all.extend(stream::iter(gets).buffered(AT_ONCE).collect::<Vec<_>>().await);
    for named in settings.compositions.clone() {
        let typed = shown(&named.to_string_lossy()).into_owned();
        let loaded = blocking(move || load::load(named)).await;
        all.push((typed, loaded.map(Loaded::Named).map_err(StartError::from)));
    }
    load::introduce(all.iter_mut().filter_map(|(typed, loaded)| match loaded {
        Ok(Loaded::Named(Named::Composition(composition))) => Some((composition, typed.clone())),
        Ok(Loaded::Named(Named::Magnet(_)) | Loaded::Awaited(..)) | Err(_) => None,
    }));
    all
}

/// What is to be got by its name, with `--all` everything that is shared where it is asked for; and what failed.
async fn meant(settings: &Settings, stop: &CancellationToken) -> (Vec<Get>, Vec<(String, Result<Loaded, StartError>)>) {
    if !settings.all {
        return (settings.gets.clone(), Vec::new());
    }
    let (mut meant, mut failed) = (Vec::new(), Vec::new());
    for get in &settings.gets {
        match all_of(get, settings, stop).await {
            Ok(all) => meant.extend(all),
            Err(error) => failed.push((name_of(get), Err(error.into()))),
        }
    }
    (meant, failed)
}

/// All that is shared where `get` is asked: asked for again while nobody answers, or nothing is shared there yet, for as long
/// as `--timeout` says.
async fn all_of(get: &Get, settings: &Settings, stop: &CancellationToken) -> Result<Vec<Get>, AskingFailed> {
    let (start, mut pause, mut is_told) = (Instant::now(), ASK_AGAIN, settings.screen.quiet);
    loop {
        let asked = stop.run_until_cancelled(ask::all_of(get)).await.unwrap_or(Err(AskingFailed::Interrupted));
        let Err(why) = &asked else { return asked };
        let left = settings.timeout.map_or(pause, |timeout| timeout.saturating_sub(start.elapsed()).min(pause));
        let Some(awaited) = why.awaited().filter(|_| !left.is_zero()) else { return asked };
        if !std::mem::replace(&mut is_told, true) {
            to_stderr(&format!("{why}; waiting for {awaited}"));
        }
        if stop.run_until_cancelled(sleep(left.max(LEAST_PAUSE))).await.is_none() {
            return Err(AskingFailed::Interrupted);
        }
        pause = (pause * 2).min(ASK_AGAIN_LATER);
    }
}

/// What people call what is asked for.
fn name_of(get: &Get) -> String {
    get.typed.key.as_ref().map_or_else(|| "the composition".to_owned(), ToString::to_string)
}

/// What came of asking for a composition by its name.
async fn loaded(
    get: &Get,
    timeout: Option<Duration>,
    person: Option<&Person>,
    stop: &CancellationToken,
) -> Result<Loaded, StartError> {
    match got(get, person, stop).await {
        Err(StartError::Ask(error)) if error.is_coming() => Ok(Loaded::Awaited(get.clone(), error)),
        Err(StartError::Ask(error))
            if let Some(Key::Hash(hash)) = get.typed.key
                && error.is_not_there() =>
        {
            log::info!("{error}; members are asked for its manifest");
            Ok(Loaded::Named(Named::Magnet(Magnet::new(hash))))
        }
        Err(StartError::Ask(error)) if error.awaited().is_some() && timeout != Some(Duration::ZERO) => {
            Ok(Loaded::Awaited(get.clone(), error))
        }
        got => got.map(Loaded::Named),
    }
}

/// What a catalogue gives. `person`: who is asked which of several is meant.
async fn got(get: &Get, person: Option<&Person>, stop: &CancellationToken) -> Result<Named, StartError> {
    Ok(ask::get(get, person, stop).await?)
}

/// Each composition with a task of its own, to the end of the last.
async fn run_all(all: Vec<Loaded>, station: Station) -> Vec<Exit> {
    let station = Arc::new(station);
    let _keys = leave_on_q(&station.stop);
    let (pending, mut running) = (Pending::new(), JoinSet::new());
    for (slot, loaded) in all.into_iter().enumerate() {
        let screen = Teller::new(station.screen.clone(), slot);
        let (begins, pending) = (Beginning { station: station.clone(), screen }, pending.again());
        match loaded {
            Loaded::Named(named) => drop(running.spawn(begins.run(named, pending))),
            Loaded::Awaited(get, why) => drop(running.spawn(begin_later(get, why, begins, pending))),
        }
    }
    drop(pending);
    let ends = running.join_all().await;
    station.leave().await;
    ends
}

/// Waits until it is there, then fetches and shares it.
async fn begin_later(get: Get, why: AskingFailed, begins: Beginning, pending: Pending) -> Exit {
    let Station { start, screen, .. } = &*begins.station;
    if !why.is_coming() {
        screen.event(&Report::Warning { name: Some(name_of(&get)), text: why.to_string() });
    }
    match come(&get, why, &begins).await {
        Ok(named) => begins.run(named, pending).await,
        Err(error) => {
            begins.screen.finish(0);
            error.told(Some(name_of(&get)), *start, screen)
        }
    }
}

/// The composition, once somebody shares it: asked for again and again, for as long as `--timeout` says. `why` it is not
/// there yet.
async fn come(get: &Get, mut why: AskingFailed, begins: &Beginning) -> Result<Named, StartError> {
    let Station { start, stop, settings, .. } = &*begins.station;
    let mut pause = ASK_AGAIN;
    loop {
        let Some(awaited) = why.awaited() else { return Err(why.into()) };
        // What is being hashed comes in any case.
        if settings.timeout.is_some_and(|timeout| start.elapsed() >= timeout && !why.is_coming()) {
            return Err(why.into());
        }
        begins.screen.update(&View {
            name: name_of(get),
            phase: Phase::Waiting(awaited),
            swarm: Snapshot::default(),
            eta: None,
            elapsed: start.elapsed(),
        });
        let left = settings.timeout.map_or(pause, |timeout| timeout.saturating_sub(start.elapsed()).min(pause));
        if stop.run_until_cancelled(sleep(left.max(LEAST_PAUSE))).await.is_none() {
            return Err(AskingFailed::Interrupted.into());
        }
        pause = if why.is_coming() { ASK_AGAIN } else { (pause * 2).min(ASK_AGAIN_LATER) };
        match got(get, None, stop).await {
            Err(StartError::Ask(error)) => {
                log::info!("{error}");
                why = error;
            }
            got => return got,
        }
    }
}

/// Reads keys until what is given is dropped.
fn leave_on_q(stop: &CancellationToken) -> Option<Keys> {
    let (keys, mut pressed) = Keys::quit()?;
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
