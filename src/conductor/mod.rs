//! The conductor: it keeps the live list of which members share which composition.
//!
//! [`table`] and [`policy`] are pure and decide; [`http`] carries their answers, [`report`] tells people and programs
//! what happens. No byte of a composition passes through here, and all state is soft: members that are still there are
//! known again one interval after a restart.

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
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
    metainfo::InfoHash,
    net::{
        listen::{ListenError, Listeners},
        own_address::own_address,
    },
};
use report::{Happening, Reporter};
use table::{Caller, Table};

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
}

#[derive(Debug, thiserror::Error)]
pub enum ConductorError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot listen on {host}: {source}; give an address of this machine")]
    Resolve { host: String, source: io::Error },
}

/// Runs until it is told to stop. Returns early only if it cannot listen.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), ConductorError> {
    let listeners = listen(&config.listen).await?;
    let addresses: Vec<SocketAddr> = listeners.iter().flat_map(Listeners::addresses).collect();
    let (reporter, written) = report::start(config.json);
    reporter.tell(Happening::Listening { reach: reach(&addresses), addresses });
    let desk = Arc::new(Desk::new(reporter));
    let room = http::Room::new();
    for listeners in listeners {
        let serve = http::serve(listeners, desk.clone(), room.clone(), stop.clone());
        tokio::spawn(serve);
    }
    sweep_until(&stop, &desk).await;
    let _ = tokio::time::timeout(LAST_ANSWERS, room.emptied()).await;
    desk.reporter.tell(Happening::End);
    let _ = tokio::time::timeout(LAST_ANSWERS, written).await;
    Ok(())
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
}

impl Desk {
    pub fn new(reporter: Reporter) -> Self {
        Self { table: Mutex::default(), start: Instant::now(), reporter }
    }

    pub fn announce(&self, announce: &Announce, caller: &Caller) -> Reply {
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
