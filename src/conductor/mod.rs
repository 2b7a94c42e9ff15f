//! The conductor: it keeps the live list of which members share which composition.
//!
//! [`table`] and [`policy`] are pure and decide; [`http`] carries their answers, [`report`] tells people and programs
//! what happens. No byte of a composition passes through here, and who shares what is soft state: members that are still
//! there are known again one interval after a restart. The [`catalogue`] of compositions is kept.

pub mod catalogue;
pub mod http;
pub mod policy;
pub mod report;
pub mod table;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    announce::{Announce, Counts, Reply},
    catalogue::token::Owned,
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
    metainfo::InfoHash,
    net::{
        listen::{ListenError, Listeners},
        own_address::own_address,
    },
};
use catalogue::{Catalogue, Gate, Keep, StoreError};
use report::{Happening, Reporter};
use table::{Caller, Table};

/// How often members that fell silent are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long answers that are under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What an announce hears with `--allow registered`.
const NOT_REGISTERED: &str =
    "this conductor takes only compositions of its catalogue: register it with composer --register";

/// What a conductor is told.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where to listen; nothing means port 9999 on every address.
    pub listen: Vec<Endpoint>,
    /// Where the catalogue is kept.
    pub store: Keep,
    /// Who may write to it; nobody named means anyone.
    pub tokens: Vec<Owned>,
    /// Only swarms of the catalogue are conducted.
    pub only_registered: bool,
    pub voice: Voice,
}

/// What is said on stdout; the log says more either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Voice {
    /// Text for people.
    #[default]
    People,
    /// One JSON object a line.
    Json,
    /// Nothing: it is part of another program.
    Silent,
}

#[derive(Debug, thiserror::Error)]
pub enum ConductorError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen on {host}: {source}; give an address of this machine")]
    Resolve { host: String, source: io::Error },
}

/// Runs until it is told to stop. Returns early only if it cannot listen.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), ConductorError> {
    start(config, stop).await?.work.await;
    Ok(())
}

/// A conductor that listens.
pub struct Running<W> {
    pub addresses: Vec<SocketAddr>,
    /// Has to be polled, and ends with the conductor.
    pub work: W,
}

/// Starts to listen, and gives the rest of its work.
///
/// # Errors
/// It cannot listen, or its catalogue cannot be used.
pub async fn start(
    config: Config,
    stop: CancellationToken,
) -> Result<Running<impl Future<Output = ()> + Send + use<>>, ConductorError> {
    let listeners = listen(&config.listen).await?;
    let addresses: Vec<SocketAddr> = listeners.iter().flat_map(Listeners::addresses).collect();
    let (catalogue, warnings) = catalogue::open(&config, &addresses)?;
    let (reporter, written) = report::start(config.voice);
    reporter.tell(Happening::Listening { reach: reach(&addresses), addresses: addresses.clone() });
    warnings.into_iter().for_each(|warning| reporter.tell(Happening::Warning(warning)));
    let gate = Gate::new(names(&config.listen));
    let desk = Arc::new(Desk::new(reporter).with_catalogue(Arc::new(catalogue), gate));
    let room = http::Room::new();
    for listeners in listeners {
        let serve = http::serve(listeners, desk.clone(), room.clone(), stop.clone());
        tokio::spawn(serve);
    }
    let work = async move {
        sweep_until(&stop, &desk).await;
        let _ = tokio::time::timeout(LAST_ANSWERS, room.emptied()).await;
        desk.reporter.tell(Happening::End);
        let _ = tokio::time::timeout(LAST_ANSWERS, written).await;
    };
    Ok(Running { addresses, work })
}

async fn listen(wanted: &[Endpoint]) -> Result<Vec<Listeners>, ConductorError> {
    if wanted.is_empty() {
        return Ok(vec![Listeners::bind(None, CONDUCTOR_PORT, 0)?]);
    }
    let mut all = Vec::new();
    for endpoint in wanted {
        match &endpoint.host {
            Host::ThisMachine => all.push(Listeners::bind(None, endpoint.port, 0)?),
            Host::Ip(ip) => all.push(Listeners::bind(Some(*ip), endpoint.port, 0)?),
            Host::Name(name) => {
                let failed = |source| ConductorError::Resolve { host: name.clone(), source };
                let found = tokio::net::lookup_host((name.as_str(), endpoint.port)).await;
                for address in found.map_err(failed)? {
                    all.push(Listeners::bind(Some(address.ip()), address.port(), 0)?);
                }
            }
        }
    }
    Ok(all)
}

/// The names that this conductor goes by: this machine's, and those that it was told to listen on.
fn names(listen: &[Endpoint]) -> Vec<String> {
    let told = listen.iter().filter_map(|endpoint| match &endpoint.host {
        Host::Name(name) => Some(name.clone()),
        Host::Ip(_) | Host::ThisMachine => None,
    });
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    told.chain([own]).collect()
}

/// Where others most likely reach a conductor that listens here.
fn reach(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let first = addresses.first()?;
    let ip = match first.ip() {
        ip if !ip.is_unspecified() => ip,
        ip => own_address().unwrap_or(match ip {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        }),
    };
    Some(SocketAddr::new(ip, first.port()))
}

async fn sweep_until(stop: &CancellationToken, desk: &Desk) {
    let mut clock = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = clock.tick() => desk.sweep(),
        }
    }
}

/// The table with what it is not allowed to have itself: a lock, a clock, dice, and somebody to tell.
pub struct Desk {
    table: Mutex<Table>,
    start: Instant,
    reporter: Reporter,
    catalogue: Arc<Catalogue>,
    gate: Gate,
}

impl Desk {
    pub fn new(reporter: Reporter) -> Self {
        let (catalogue, gate) = (Arc::new(Catalogue::in_memory()), Gate::default());
        Self { table: Mutex::default(), start: Instant::now(), reporter, catalogue, gate }
    }

    /// With this catalogue instead of an empty one.
    pub fn with_catalogue(self, catalogue: Arc<Catalogue>, gate: Gate) -> Self {
        Self { catalogue, gate, ..self }
    }

    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Which requests to the catalogue are answered.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub fn announce(&self, announce: &Announce, caller: &Caller) -> Reply {
        if !self.catalogue.admits(&announce.info_hash) {
            return Reply::Failure(NOT_REGISTERED.to_owned());
        }
        let (mut dice, mut changes) = (fastrand::Rng::new(), Vec::new());
        let now = self.start.elapsed();
        let mut table = self.table();
        let reply = table.announce(announce, caller, now, &mut dice, &mut changes);
        // Told under the lock, so that the order is the true one.
        for change in changes {
            self.reporter.tell(Happening::Change(change));
        }
        reply
    }

    pub fn counts(&self, hashes: &[InfoHash]) -> Vec<(InfoHash, Counts)> {
        let table = self.table();
        let counts = hashes.iter().map(|hash| (*hash, table.counts(hash)));
        counts.collect()
    }

    /// One swarm in numbers.
    pub fn counts_of(&self, info_hash: &InfoHash) -> Counts {
        self.table().counts(info_hash)
    }

    /// Up to `most` members of a swarm where this asker can reach them, and how many bytes each lacks; seeds first.
    pub fn holders(&self, info_hash: &InfoHash, asker: &Caller, most: usize) -> Vec<(SocketAddr, u64)> {
        self.table().holders(info_hash, asker, most)
    }

    fn sweep(&self) {
        let mut table = self.table();
        for change in table.sweep(self.start.elapsed()) {
            self.reporter.tell(Happening::Change(change));
        }
    }

    /// A panic while the table was locked is a bug of one announce; the others go on.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
