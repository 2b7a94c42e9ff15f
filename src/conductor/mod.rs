//! The conductor: it keeps the live list of which members share which composition.
//!
//! [`table`], [`policy`], [`gate`] and [`connection_id`] are pure and decide; [`http`] and [`udp`] carry their answers
//! on the threads of [`workers`], [`report`] tells people and programs what happens. No byte of a composition passes through here, and all state is soft: members that are still there are
//! known again one interval after a restart.

pub mod connection_id;
pub mod gate;
pub mod http;
pub mod policy;
pub mod report;
pub mod secret;
pub mod table;
pub mod udp;
pub mod workers;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    announce::{Announce, Answer, Counts, Listed, Reply},
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
    metainfo::InfoHash,
    net::{front::Front, listen::ListenError, own_address::own_address},
    time::Time,
};
use connection_id::ConnectionIds;
use gate::Gate;
use report::{Happening, Reporter};
use secret::SecretError;
use table::{Caller, Full, Seed, Table, Word};
use workers::Work;

/// How often members that fell silent are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long answers that are under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What a conductor is told.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where to listen; nothing means port 9999 on every address.
    pub listen: Vec<Endpoint>,
    /// One JSON object a line on stdout, instead of text for people.
    pub json: bool,
    /// Answers everybody however much they ask, for load tests.
    pub no_rate_limit: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ConductorError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("cannot listen on {host}: {source}; give an address of this machine")]
    Resolve { host: String, source: io::Error },
}

/// Runs until it is told to stop. Returns early only if it cannot start.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), ConductorError> {
    let fronts = listen(&config.listen, workers::count()).await?;
    let addresses: Vec<SocketAddr> = fronts.iter().flat_map(|front| front.addresses.clone()).collect();
    let (reporter, written) = report::start(config.json);
    let rate_limit = if config.no_rate_limit { None } else { Some(secret::fresh_seed()?) };
    let desk = Arc::new(Desk::new(reporter, secret::fresh_seed()?, rate_limit));
    let ids = ConnectionIds::new(secret::kept()?);
    let room = http::Room::new();
    let work = Work { desk: desk.clone(), room: room.clone(), ids, stop: stop.clone() };
    workers::start(fronts, &work).map_err(ConductorError::Thread)?;
    desk.reporter.tell(Happening::Listening { reach: reach(&addresses), addresses });
    sweep_until(&stop, &desk).await;
    let _ = tokio::time::timeout(LAST_ANSWERS, room.emptied()).await;
    desk.reporter.tell(Happening::End);
    let _ = tokio::time::timeout(LAST_ANSWERS, written).await;
    Ok(())
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

/// What one source may ask.
struct Limits {
    proven: Gate,
    unproven: Gate,
}

/// The table with what it is not allowed to have itself: a clock, dice, and somebody to tell.
pub struct Desk {
    table: Table,
    limits: Option<Limits>,
    start: Instant,
    reporter: Reporter,
}

impl Desk {
    /// Both seeds have to be secrets; without one for the limits there are none.
    pub fn new(reporter: Reporter, table: Seed, limits: Option<Seed>) -> Self {
        let limits = limits.map(|seed| Limits { proven: Gate::new(seed), unproven: Gate::new(seed) });
        Self { table: Table::new(table), limits, start: Instant::now(), reporter }
    }

    /// Whether this source, which receives what is sent to it, may ask now.
    pub fn admits(&self, source: IpAddr) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.proven.admits(source, self.now()))
    }

    /// As [`Desk::admits`], for a source that may be forged.
    pub fn admits_unproven(&self, source: IpAddr) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.unproven.admits(source, self.now()))
    }

    /// The answer with its list as neutral data; [`Desk::hear`] gives it entry by entry.
    pub fn announce(&self, announce: &Announce, caller: &Caller) -> Reply {
        let mut peers = Vec::new();
        let list = |listed| {
            peers.push(listed);
            true
        };
        match self.hear(announce, caller, list) {
            Ok(word) => Reply::Answer(Answer {
                interval: word.interval,
                min_interval: Some(word.interval),
                complete: Some(word.counts.complete),
                incomplete: Some(word.counts.incomplete),
                peers,
                external_ip: Some(caller.source),
                warning: None,
            }),
            Err(full) => Reply::Failure(full.to_string()),
        }
    }

    /// As [`Table::announce`].
    pub fn hear(&self, announce: &Announce, caller: &Caller, list: impl FnMut(Listed) -> bool) -> Result<Word, Full> {
        let tell = |change| self.reporter.tell(Happening::Change(change));
        self.table.announce(announce, caller, self.now(), &mut fastrand::Rng::new(), tell, list)
    }

    pub fn counts(&self, hashes: &[InfoHash]) -> Vec<(InfoHash, Counts)> {
        let counts = hashes.iter().map(|hash| (*hash, self.table.counts(hash)));
        counts.collect()
    }

    fn sweep(&self) {
        self.table.sweep(self.now(), |change| self.reporter.tell(Happening::Change(change)));
    }

    fn now(&self) -> Time {
        self.start.elapsed()
    }
}
