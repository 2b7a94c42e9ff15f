//! The conductor: it keeps the live list of which members share which composition.
//!
//! [`table`], [`policy`], [`allowance`] and [`connection_id`] are pure and decide; [`http`] and [`udp`] carry their
//! answers on the threads of [`workers`], [`live`] pushes what changes to members, [`page`] shows it to people, [`report`]
//! tells who started it and programs what happens. No byte of a composition
//! passes through here, and who shares what is soft state: members that are still there are known again one interval
//! after a restart. The [`catalogue`] of compositions is kept. Several conductors may keep both in common: [`shared`].

pub mod allowance;
pub mod catalogue;
pub mod connection_id;
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
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    announce::{Announce, Answer, Counts, Event, Listed, Reply, live::Hello},
    catalogue::token::Owned,
    discovery::dns_sd::{Kind, Notice, Words},
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
    metainfo::InfoHash,
    net::{front::Front, listen::ListenError, own_address::own_address, service, via::Via},
    search::NEIGHBOURS,
    time::Time,
};
use allowance::Allowances;
use catalogue::{Catalogue, Gate, Keep, StoreError};
use connection_id::ConnectionIds;
use live::{Hub, Reach, reach};
use page::metrics::{self, Counted};
use report::{Happening, Reporter};
use room::Room;
use secret::SecretError;
use shared::{
    Outbox,
    glimpse::Glimpse,
    link::Link,
    sighting::{Sender, Sighting},
};
use table::{Caller, Change, Full, Seed, Table, What, Word};
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
    /// Where the catalogue is kept.
    pub store: Keep,
    /// Who may write to it; nobody named means anyone.
    pub tokens: Vec<Owned>,
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

/// Why an announce is not taken. The text goes back to the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this conductor takes only compositions of its catalogue: register it with composer --register")]
    NotRegistered,
    #[error(transparent)]
    Full(#[from] Full),
}

/// Runs until it is told to stop, and lets the service manager know. Returns early only if it cannot start.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), ConductorError> {
    let running = start(config, stop.clone()).await?;
    service::ready();
    let ending = async {
        stop.cancelled().await;
        service::stopping();
    };
    tokio::join!(running.work, ending);
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
    let fronts = listen(&config.listen, workers::count()).await?;
    let addresses: Vec<SocketAddr> = fronts.iter().flat_map(|front| front.addresses.clone()).collect();
    let (catalogue, warnings) = catalogue::open(&config, &addresses)?;
    let (reporter, written) = report::start(config.voice);
    let rate_limit = if config.no_rate_limit { None } else { Some(secret::fresh_seed()?) };
    let gate = Gate::new(names(&config.listen));
    let (doors, newcomers) = Reach::new();
    let outbox = matches!(config.store, Keep::Redis(_)).then(Arc::<Outbox>::default);
    let desk = Desk::new(reporter, secret::fresh_seed()?, rate_limit).with_catalogue(Arc::new(catalogue), gate);
    let desk = Arc::new(Desk { outbox: outbox.clone(), reach: doors, ..desk });
    let dialling = tokio::spawn(reach::dial(desk.clone(), newcomers));
    let ids = ConnectionIds::new(secret::kept()?);
    let room = Room::new();
    let work = Work { desk: desk.clone(), room: room.clone(), ids, stop: stop.clone() };
    workers::start(fronts, &work).map_err(ConductorError::Thread)?;
    let metrics = metrics::start(config.metrics, desk.clone(), stop.clone()).await?;
    desk.reporter.tell(Happening::Listening { reach: reach(&addresses), addresses: addresses.clone(), metrics });
    warnings.into_iter().for_each(|warning| desk.reporter.tell(Happening::Warning(warning)));
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
    let rest = async move {
        sweep_until(&stop, &desk).await;
        dialling.abort();
        if let Some(notice) = notice {
            notice.take_down().await;
        }
        if let Some(shared) = shared {
            let _ = tokio::time::timeout(LAST_ANSWERS, shared).await;
        }
        let _ = tokio::time::timeout(LAST_ANSWERS, room.emptied()).await;
        desk.reporter.tell(Happening::End);
        let _ = tokio::time::timeout(LAST_ANSWERS, written).await;
    };
    Ok(Running { addresses, work: rest })
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
    proven: Allowances,
    unproven: Allowances,
}

/// The table with what it is not allowed to have itself: a clock, dice, and somebody to tell.
pub struct Desk {
    table: Table,
    limits: Option<Limits>,
    start: Instant,
    reporter: Reporter,
    catalogue: Arc<Catalogue>,
    gate: Gate,
    hub: Hub,
    link_room: Room,
    reach: Reach,
    counted: Counted,
    /// What other conductors are to hear; None where there are none.
    outbox: Option<Arc<Outbox>>,
}

impl Desk {
    /// Both seeds have to be secrets; without one for the limits there are none.
    pub fn new(reporter: Reporter, table: Seed, limits: Option<Seed>) -> Self {
        let limits = limits.map(|seed| Limits { proven: Allowances::new(seed), unproven: Allowances::new(seed) });
        let (catalogue, gate) = (Arc::new(Catalogue::in_memory()), Gate::default());
        let (table, start, hub, link_room) = (Table::new(table), Instant::now(), Hub::default(), Room::for_links());
        // Nobody is dialled where nothing takes from the queue.
        let (reach, _) = Reach::new();
        let counted = Counted::default();
        let outbox = None;
        Self { table, limits, start, reporter, catalogue, gate, hub, link_room, reach, counted, outbox }
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

    /// Whether this source, which receives what is sent to it, may ask now.
    pub fn admits(&self, source: IpAddr) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.proven.admits(source, self.now()))
    }

    /// As [`Desk::admits`], for a source that may be forged.
    pub fn admits_unproven(&self, source: IpAddr) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.unproven.admits(source, self.now()))
    }

    /// An announce without the address that it names (`ip=`), which could be a victim's; unless the member's own live link
    /// names it too.
    pub fn without_claims(&self, announce: Announce) -> Announce {
        let ip = announce.ip.filter(|ip| announce.id.is_ours() && self.hub.is_named(&announce, *ip));
        Announce { ip, ..announce }
    }

    /// The answer with its list as neutral data; [`Desk::hear`] gives it entry by entry.
    pub fn announce(&self, announce: &Announce, caller: &Caller) -> Reply {
        let mut peers = Vec::with_capacity(policy::wanted(announce.numwant));
        let list = |listed| {
            peers.push(listed);
            true
        };
        let heard = self.hear(announce, caller, list);
        self.counted.announce(heard.is_ok());
        match heard {
            Ok(word) => Reply::Answer(Answer {
                interval: word.interval,
                min_interval: Some(word.interval),
                complete: Some(word.counts.complete),
                incomplete: Some(word.counts.incomplete),
                peers,
                external_ip: Some(caller.source),
                warning: None,
            }),
            Err(refusal) => Reply::Failure(refusal.to_string()),
        }
    }

    /// As [`Table::announce`], for the swarms that are conducted here.
    pub fn hear(
        &self,
        announce: &Announce,
        caller: &Caller,
        list: impl FnMut(Listed) -> bool,
    ) -> Result<Word, Refusal> {
        match self.catalogue.admits(&announce.info_hash) {
            true => self.take(announce, caller, list, What::Left).map_err(Refusal::from),
            false => Err(Refusal::NotRegistered),
        }
    }

    /// As [`Desk::hear`] of a member that stops, where it did not say so itself.
    pub fn cut_off(&self, announce: &Announce, caller: &Caller) {
        // Nobody is refused who leaves.
        let _ = self.take(announce, caller, |_| false, What::Gone);
    }

    /// `leave`: why it is no more, if it leaves.
    fn take(
        &self,
        announce: &Announce,
        caller: &Caller,
        list: impl FnMut(Listed) -> bool,
        leave: What,
    ) -> Result<Word, Full> {
        let mut changed = false;
        let tell = |change: Change| {
            changed = true;
            self.tell(change.because(leave));
        };
        let word = self.table.announce(announce, caller, self.now(), &mut fastrand::Rng::new(), tell, list)?;
        self.pass_on(announce, caller, word, changed, leave);
        Ok(word)
    }

    /// Everybody who is to know; under the lock of the swarm.
    fn tell(&self, change: Change) {
        if change.info_hash != NEIGHBOURS {
            self.reach.hear(&change);
        }
        self.tell_of_elsewhere(change);
    }

    /// As [`Desk::tell`], of what another conductor heard: that one dials newcomers. Who looks for neighbours comes and
    /// goes unnoticed.
    fn tell_of_elsewhere(&self, change: Change) {
        if change.info_hash == NEIGHBOURS {
            return;
        }
        self.counted.hear(change.what);
        self.hub.tell(&change);
        self.reporter.tell(Happening::Change(change));
    }

    /// Who shares what.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What happened since the start, in numbers.
    pub fn counted(&self) -> &Counted {
        &self.counted
    }

    /// All live links.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// How many live links there may be.
    pub fn link_room(&self) -> &Room {
        &self.link_room
    }

    /// Who could not be reached.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Where this member was dialled in vain, if it was.
    pub fn closed_at(&self, announce: &Announce, caller: &Caller) -> Option<SocketAddr> {
        let home = table::home(announce, caller);
        self.reach.is_closed(&announce.info_hash, home).then_some(home)
    }

    /// Lets other conductors know, save of a member that leaves and was not there.
    fn pass_on(&self, announce: &Announce, caller: &Caller, word: Word, changed: bool, leave: What) {
        if let Some(outbox) = &self.outbox
            && (changed || announce.event != Some(Event::Stopped))
        {
            outbox.note(announce, caller, word.interval, leave == What::Gone);
        }
    }

    /// Takes in what another conductor heard, that long ago. What is over by now, and what finds no room, is left out.
    pub fn hear_of(&self, sighting: &Sighting, ago: Duration) {
        let Sighting { announce, interval, .. } = sighting;
        let over = ago >= policy::lifetime(&announce.id, *interval) && announce.event.is_none();
        if !over && self.catalogue.admits(&announce.info_hash) {
            let then = self.now().saturating_sub(ago);
            let leave = if sighting.cut_off { What::Gone } else { What::Left };
            let tell = |change: Change| self.tell_of_elsewhere(change.because(leave));
            let heard =
                self.table.announce(announce, &sighting.caller(), then, &mut fastrand::Rng::new(), tell, |_| false);
            if let Err(full) = heard {
                log::debug!("{}: another conductor's member: {full}", announce.info_hash);
            }
        }
    }

    /// What another conductor heard of a member over its live link.
    pub fn see(&self, glimpse: Glimpse) {
        if self.catalogue.admits(&glimpse.info_hash) {
            self.hub.see(glimpse, self.now());
        }
    }

    /// Lets other conductors know that a member's live link ended.
    pub fn tell_parted(&self, hello: &Hello, caller: &Caller) {
        if let Some(outbox) = &self.outbox {
            let home = table::home(&hello.announce(None, None), caller);
            let Hello { info_hash, peer_id, key, name, .. } = hello.clone();
            outbox.note_parted(Glimpse { info_hash, peer_id, key, home, name, progress: None });
        }
    }

    pub fn counts(&self, hashes: &[InfoHash]) -> Vec<(InfoHash, Counts)> {
        let counts = hashes.iter().map(|hash| (*hash, self.table.counts(hash)));
        counts.collect()
    }

    /// One swarm in numbers.
    pub fn counts_of(&self, info_hash: &InfoHash) -> Counts {
        self.table.counts(info_hash)
    }

    /// Up to `most` members of a swarm where this asker can reach them, and how many bytes each lacks; seeds first.
    pub fn holders(&self, info_hash: &InfoHash, asker: &Caller, most: usize) -> Vec<(SocketAddr, u64)> {
        self.table.holders(info_hash, asker, most)
    }

    fn sweep(&self) {
        self.table.sweep(self.now(), |change| self.tell(change));
        self.hub.forget_old(self.now());
    }

    fn now(&self) -> Time {
        self.start.elapsed()
    }
}
