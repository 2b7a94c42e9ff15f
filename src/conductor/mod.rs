//! The conductor: it keeps the live list of which members share which composition.
//!
//! [`table`], [`policy`], [`allowance`] and [`connection_id`] are pure and decide, and the [`desk`] asks them; [`http`] and
//! [`udp`] carry its answers on the threads of [`workers`], [`live`] pushes what changes to members, [`page`] shows it to
//! people, [`report`] tells who started it and programs what happens, [`history`] remembers who got what. No byte of a composition passes through here, and
//! who shares what is soft state: members that are still there are known again one interval after a restart. The
//! [`catalogue`] of compositions is kept, and [`backup`] copies it. Several conductors may keep both in common: [`shared`].

pub mod allowance;
pub mod backup;
pub mod catalogue;
pub mod connection_id;
pub mod desk;
pub mod history;
pub mod http;
pub mod live;
pub mod page;
pub mod policy;
pub mod report;
pub mod room;
pub mod secret;
pub mod shared;
pub mod table;
pub mod udp;
pub mod workers;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{Token, token::Owned},
    discovery::dns_sd::{Kind, Notice, Words},
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
    net::{
        front::Front,
        listen::ListenError,
        own_address::{likeliest_address, own_networks},
        service,
        via::Via,
    },
};
use catalogue::{Gate, Keep, StoreError};
use connection_id::ConnectionIds;
use history::History;
use live::{Reach, reach};
use report::{Happening, Known};
use secret::SecretError;
use shared::{Outbox, link::Link, sighting::Sender};
use table::Change;
use workers::Work;

pub use desk::{Desk, Refusal};

/// How often members that fell silent are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How often this machine's networks are looked up, in sweeps.
const NETWORKS_INTERVAL: u64 = 10;
/// How long answers that are under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What a conductor is told.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where to listen; nothing means port 9999 on every address.
    pub listen: Vec<Endpoint>,
    /// Where the catalogue is kept.
    pub store: Keep,
    /// Who may write to it; nobody named means anyone.
    pub tokens: Vec<Owned>,
    /// The secret of the program that this conductor is part of: it alone may write then, whatever `tokens` holds.
    pub own_writer: Option<Token>,
    /// Only swarms of the catalogue are conducted.
    pub only_registered: bool,
    pub voice: Voice,
    /// Answers everybody however much they ask, for load tests.
    pub no_rate_limit: bool,
    /// Where `/metrics` is served to whoever asks, besides.
    pub metrics: Option<SocketAddr>,
    /// Whether the local network is told that a conductor is here.
    pub lan: bool,
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
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("cannot listen on {host}: {source}; give an address of this machine")]
    Resolve { host: String, source: io::Error },
}

/// The tokens that count from now on, or why they could not be read again.
pub type Reload = Result<Vec<Owned>, String>;

/// Runs until it is told to stop, and lets the service manager know. Returns early only if it cannot start.
pub async fn run(
    config: Config,
    stop: CancellationToken,
    mut reloads: mpsc::Receiver<Reload>,
) -> Result<(), ConductorError> {
    let Running { desk, work, .. } = start(config, stop.clone()).await?;
    service::ready();
    let ending = async {
        stop.cancelled().await;
        service::stopping();
    };
    let reloading = async {
        while let Some(Some(reload)) = stop.run_until_cancelled(reloads.recv()).await {
            take_tokens(&desk, reload);
        }
    };
    tokio::join!(work, ending, reloading);
    Ok(())
}

fn take_tokens(desk: &Desk, reload: Reload) {
    match reload {
        Ok(tokens) => {
            log::info!("{} tokens are known from now on", tokens.len());
            desk.catalogue().set_tokens(tokens);
        }
        Err(why) => desk.reporter().tell(Happening::Warning(format!("the tokens stay as they were: {why}"))),
    }
}

/// A conductor that listens.
pub struct Running<W> {
    pub addresses: Vec<SocketAddr>,
    desk: Arc<Desk>,
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
    let fronts = listen(&config.listen, workers::count()).await?;
    let addresses: Vec<SocketAddr> = fronts.iter().flat_map(|front| front.addresses.clone()).collect();
    let (catalogue, warnings) = catalogue::open(&config, &addresses)?;
    let rate_limit = if config.no_rate_limit { None } else { Some(secret::fresh_seed()?) };
    let gate = Gate::new(names(&config.listen));
    let (doors, newcomers) = Reach::new();
    let (catalogue, history) = (Arc::new(catalogue), Arc::<History>::default());
    let known = {
        let (catalogue, history) = (catalogue.clone(), history.clone());
        move |change: &Change| Known::of(change, &history, &catalogue)
    };
    let (reporter, written) = report::start_with(config.voice, known);
    let outbox = matches!(config.store, Keep::Redis(_)).then(Arc::<Outbox>::default);
    let desk = Desk::new(reporter, secret::fresh_seed()?, rate_limit)
        .with_catalogue(catalogue, gate)
        .with_history(history)
        .with_ways_out(doors, outbox.clone());
    desk.table().set_networks(own_networks());
    let desk = Arc::new(desk);
    let dialling = tokio::spawn(reach::dial(desk.clone(), newcomers));
    let ids = ConnectionIds::new(secret::kept()?);
    let room = desk.room().clone();
    let work = Work { desk: desk.clone(), room: room.clone(), ids, stop: stop.clone() };
    workers::start(fronts, &work).map_err(ConductorError::Thread)?;
    let metrics = http::numbers::start(config.metrics, desk.clone(), stop.clone()).await?;
    desk.reporter().tell(Happening::Listening { reach: reach(&addresses), addresses: addresses.clone(), metrics });
    warnings.into_iter().for_each(|warning| desk.reporter().tell(Happening::Warning(warning)));
    let notice = words(&addresses).filter(|_| config.lan).map(|words| {
        let desk = desk.clone();
        Notice::put_up(words, move || desk.catalogue().count(), &stop)
    });
    let shared = match (config.store, outbox) {
        (Keep::Redis(place), Some(outbox)) => {
            let (desk, sender, listening) = (desk.clone(), Sender(secret::fresh_seed()?.0), addresses.clone());
            Some(tokio::spawn(Link { desk, outbox, place, sender, listening }.keep(stop.clone())))
        }
        _ => None,
    };
    let conducting = desk.clone();
    let rest = async move {
        let desk = conducting;
        sweep_until(&stop, &desk).await;
        dialling.abort();
        if let Some(notice) = notice {
            notice.take_down().await;
        }
        if let Some(shared) = shared {
            let _ = tokio::time::timeout(LAST_ANSWERS, shared).await;
        }
        let _ = tokio::time::timeout(LAST_ANSWERS, room.emptied()).await;
        desk.reporter().tell(Happening::End);
        let _ = tokio::time::timeout(LAST_ANSWERS, written).await;
    };
    Ok(Running { addresses, desk, work: rest })
}

async fn listen(wanted: &[Endpoint], threads: usize) -> Result<Vec<Front>, ConductorError> {
    if wanted.is_empty() {
        return Ok(vec![Front::bind(None, CONDUCTOR_PORT, threads)?]);
    }
    let mut all = Vec::new();
    for endpoint in wanted {
        match &endpoint.host {
            Host::ThisMachine => all.push(Front::bind(None, endpoint.port, threads)?),
            Host::Ip(ip) => all.push(Front::bind(Some(*ip), endpoint.port, threads)?),
            Host::Name(name) => {
                let failed = |source| ConductorError::Resolve { host: name.clone(), source };
                let found = tokio::net::lookup_host((name.as_str(), endpoint.port)).await;
                for address in found.map_err(failed)? {
                    all.push(Front::bind(Some(address.ip()), address.port(), threads)?);
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

/// What the local network is told of a conductor that listens here; nothing, where this machine alone can ask it.
fn words(addresses: &[SocketAddr]) -> Option<Words> {
    let reachable: Vec<_> = addresses.iter().filter(|address| !address.ip().is_loopback()).collect();
    let port = reachable.first()?.port();
    // One that is unspecified means all of its IP version, and nothing both.
    let address = if let [only] = reachable[..] { Some(only.ip()) } else { None };
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(Words { kind: Kind::Conductor, name, port, via: Via::address(address) })
}

/// Where others most likely reach a conductor that listens here.
fn reach(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let first = addresses.first()?;
    let ip = match first.ip() {
        ip if !ip.is_unspecified() => ip,
        ip => likeliest_address().unwrap_or(match ip {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        }),
    };
    Some(SocketAddr::new(ip, first.port()))
}

async fn sweep_until(stop: &CancellationToken, desk: &Desk) {
    let mut clock = tokio::time::interval(SWEEP);
    for nth in 1u64.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = clock.tick() => desk.sweep(),
        }
        if nth.is_multiple_of(NETWORKS_INTERVAL) {
            desk.table().set_networks(own_networks());
        }
    }
}
