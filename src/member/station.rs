//! What all compositions of one member share: its port and who it is there, its limits, its memory, its screen, and when to
//! leave.
//!
//! One [`Station`] a process. It knows no composition; each has a task of its own and comes to it for these.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU64,
    sync::{Arc, OnceLock, Weak, atomic::AtomicBool},
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use super::{
    StartError,
    advertised::{self, Reached},
    billboard::Billboard,
    blocking,
    door::Door,
    hosts::Hosts,
    lookout::Lookout,
    machine::Machine,
    neighbours::{self, Neighbours},
    news::News,
    repertoire::Repertoire,
};
use crate::{
    cli::member::{DEFAULT_PORT, Origin, Settings, UntilAll},
    discovery::{
        conductor::{Http, Identity},
        dht::{self, Dht},
        dns_sd::{Kind, Notice, Words},
        lan::Lan,
        live::Links,
    },
    manifest::{Endpoint, endpoint::CONDUCTOR_PORT},
    metainfo::InfoHash,
    mirror::client::Client,
    net::{limiter::Limiter, listen::Listeners, own_address::own_addresses, utp, via::Via},
    storage::{pool::Pool, state_folder},
    swarm,
    time::Time,
    ui::Screen,
    wire::{
        copy_id::CopyId,
        handshake::{Handshake, PeerId},
    },
};

/// Ports tried after the first one above the conductor's, where the default one is taken.
const MORE_PORTS: u16 = 100;

/// Clones are the same one.
#[derive(Clone)]
pub struct Station {
    pub settings: Settings,
    /// When time was zero.
    pub start: Instant,
    /// When what it is used for began.
    pub began: Time,
    pub screen: Arc<Screen>,
    /// Ends everything: a signal, or q.
    pub stop: CancellationToken,
    pub id: PeerId,
    /// What the announces have in common.
    key: u32,
    /// The port on which it listens.
    pub port: u16,
    pub reached: Reached,
    pub door: Door,
    pub upload: Limiter,
    pub download: Limiter,
    /// Memory for parts on their way.
    pub pool: Pool,
    /// What asks mirrors, once one was asked.
    pub mirrors: Arc<OnceLock<Client>>,
    pub news: Arc<News>,
    /// Whether people were told of a path on which nothing large arrives: once is enough.
    pub told_narrow: Arc<AtomicBool>,
    pub repertoire: Repertoire,
    pub neighbours: Neighbours,
    pub http: Http,
    /// The live links to its conductors.
    pub links: Links,
    /// None: nobody is looked for on the local network.
    pub lan: Option<Lan>,
    /// None: the DHT is neither asked nor told.
    pub dht: Option<Dht>,
    /// None: nobody there is told that this member can be asked.
    notice: Option<Arc<Notice>>,
    pub machine: Arc<Machine>,
    /// Where the hosts are that are waited for.
    pub hosts: Hosts,
    /// This machine as others see it: its member's name, and its addresses when the member was started.
    pub this: swarm::Machine,
}

impl Station {
    /// Listens, and lets visitors in until it is told to stop. `many`: compositions are to be counted in thousands.
    ///
    /// # Errors
    /// The port cannot be had, or the advertised name has no address.
    pub async fn open(
        settings: Settings,
        start: Instant,
        screen: Arc<Screen>,
        stop: CancellationToken,
        many: bool,
    ) -> Result<Self, StartError> {
        let listeners = listen(&settings)?;
        let port = listeners.port();
        let reached = advertised::reached(settings.advertise.as_ref(), port).await?;
        let dht = beside(&listeners, &settings, reached.port, &stop)?;
        let (door, ended) = (Door::default(), stop.clone());
        let repertoire = Repertoire::default();
        let billboard = Billboard::new(repertoire.clone(), settings.name.clone(), via(&settings));
        let welcome = door.clone().welcome(listeners, settings.lan.then(|| Arc::new(billboard)));
        tokio::spawn(async move { ended.run_until_cancelled(welcome).await });
        let limiter = |rate: Option<u64>| Limiter::new(rate.and_then(NonZeroU64::new), start.elapsed());
        let (upload, download) = (limiter(settings.upload), limiter(settings.download));
        let mut dice = fastrand::Rng::new();
        let (id, key) = (PeerId::fresh(&mut dice), dice.u32(..));
        let lan = settings.lan.then(|| Lan::start(port, via(&settings), stop.clone()));
        let (news, http) = (Arc::default(), Http::new(&via(&settings), many)?);
        let (pool, mirrors) = (Pool::default(), Arc::default());
        let (neighbours, told) = Neighbours::new();
        let at = Via { address: settings.listen, interface: settings.interface.clone() };
        let words = Words { kind: Kind::Member, name: settings.name.clone(), port, via: at };
        let shared = repertoire.clone();
        let notice = settings.lan.then(|| Arc::new(Notice::put_up(words, move || shared.len(), &stop)));
        let (named, name) = (settings.machine.clone(), settings.name.clone());
        let hosts = match &settings.until.all {
            Some(UntilAll::Named(hosts)) => Hosts::look_up(hosts, stop.clone()),
            Some(UntilAll::Members(_)) | None => Hosts::default(),
        };
        let station = Self {
            settings,
            hosts,
            start,
            began: Time::ZERO,
            screen,
            stop,
            id,
            key,
            port,
            reached,
            door,
            upload,
            download,
            pool,
            mirrors,
            news,
            told_narrow: Arc::default(),
            repertoire,
            neighbours,
            http,
            links: Links::default(),
            lan,
            dht,
            notice,
            machine: Arc::new(blocking(move || Machine::this(named.as_deref())).await),
            this: swarm::Machine { name, addresses: blocking(addresses).await },
        };
        if station.settings.search {
            neighbours::start(&station, told);
        }
        Ok(station)
    }

    /// The same station for something that may end before the rest, and that asks these conductors.
    pub fn another(&self, conductors: Vec<Endpoint>, conductors_from: Origin) -> Self {
        let settings = Settings { conductors, conductors_from, ..self.settings.clone() };
        Self { settings, stop: self.stop.child_token(), began: self.start.elapsed(), ..self.clone() }
    }

    /// Says that this member can be asked no more.
    pub async fn leave(&self) {
        if let Some(notice) = &self.notice {
            notice.take_down().await;
        }
    }

    pub fn via(&self) -> Via {
        via(&self.settings)
    }

    /// For a composition that ends with `stop`: with no source of members yet.
    pub fn lookout(&self, stop: &CancellationToken) -> Lookout {
        Lookout::new(stop.child_token(), self.news.clone(), self.http.clone(), self.links.clone())
    }

    /// Our 68 bytes.
    pub fn ours(&self, info_hash: InfoHash) -> Handshake {
        Handshake { info_hash, id: self.id, extended: true, fast: true, dht: self.dht.is_some() }
    }

    /// The member at this address runs a node of the DHT at this port.
    pub fn greet(&self, member: Option<SocketAddr>, port: u16) {
        if let (Some(dht), Some(address)) = (&self.dht, member) {
            dht.greet(SocketAddr::new(address.ip(), port));
        }
    }

    /// Whom the conductors hear of.
    pub fn identity(&self, info_hash: InfoHash, copy: Option<CopyId>) -> Identity {
        let Reached { port, ip } = self.reached;
        let (name, via) = (self.settings.name.clone(), self.via());
        Identity { info_hash, id: self.id, key: self.key, name, copy, port, ip, via }
    }
}

/// All addresses of this machine, those that only it reaches among them. Blocks.
fn addresses() -> Vec<IpAddr> {
    let alone = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    own_addresses().into_iter().chain(alone).collect()
}

/// What is done at the UDP port beside the listeners: the DHT, where it is asked for; uTP is refused in any case.
fn beside(
    listeners: &Listeners,
    settings: &Settings,
    port: u16,
    stop: &CancellationToken,
) -> Result<Option<Dht>, StartError> {
    let (addresses, via) = (listeners.addresses(), via(settings));
    let Some(wanted) = &settings.dht else {
        utp::refuse(&addresses, &via, stop);
        return Ok(None);
    };
    let sockets = utp::sockets(&addresses, &via)?;
    let setup = dht::Setup { sockets, port, nodes: wanted.nodes.clone(), state: state_folder() };
    Ok(Some(Dht::start(setup, stop.clone())))
}

/// What connections are dialled through, as the settings say.
pub fn via(settings: &Settings) -> Via {
    let Settings { listen, interface, .. } = settings;
    Via { address: listen.filter(|ip| !ip.is_unspecified()), interface: interface.clone() }
}

/// Listens where [`Station::open`] would.
///
/// # Errors
/// The port, the address or the interface cannot be had.
pub fn listen(settings: &Settings) -> Result<Listeners, StartError> {
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

/// How many compositions have not met yet what ends them: those that have go on sharing until nobody is left.
#[derive(Clone, Default)]
pub struct Unmet(Weak<()>);

/// Kept by a composition for as long as it has not met what ends it.
pub struct Pending(Arc<()>);

impl Pending {
    pub fn new() -> Self {
        Self(Arc::new(()))
    }

    /// For another composition of the same process.
    pub fn again(&self) -> Self {
        Self(self.0.clone())
    }

    pub fn all(&self) -> Unmet {
        Unmet(Arc::downgrade(&self.0))
    }
}

impl Unmet {
    pub fn is_empty(&self) -> bool {
        self.0.strong_count() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_to_meet_it() {
        let one = Pending::new();
        let (other, unmet) = (one.again(), one.all());
        drop(one);
        assert!(!unmet.is_empty());
        drop(other);
        assert!(unmet.is_empty());
    }
}
