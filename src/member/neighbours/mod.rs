//! The neighbours of this member: keeps links with a few other members, whatever they share, and carries questions and
//! answers over them ([`crate::search`]).
//!
//! One task a process, the [`service`], each link in a task of its own ([`link`]). It answers from the repertoire. Where
//! neighbours come from: the conductors in use and the local network, both asked for [`NEIGHBOURS`] as if that were a
//! composition; those that were reached before; what neighbours tell of theirs; and `--neighbour`. [`asker`] is the same
//! for somebody who has a question and nothing else.

pub mod asker;
mod link;
mod service;

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{acquaintances::Acquaintances, links::Visitors, lookout::look_up, station::Station};
use crate::{
    discovery::{
        Discovered,
        conductor::{self, Http, Identity, Stats},
        lan::Lan,
    },
    manifest::Endpoint,
    metainfo::Tracker,
    search::{NEIGHBOURS, circle::Circle, relay::Relay},
};
use service::{Role, Service};

/// Conductors at most: manifests of strangers may name any number.
const MAX_CONDUCTORS: usize = 32;

/// The way to the neighbours, for who learns of a conductor where more may be.
#[derive(Clone)]
pub struct Neighbours(mpsc::UnboundedSender<Endpoint>);

impl Neighbours {
    /// Nobody is asked for yet: that begins when what is given is [`start`]ed.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Endpoint>) {
        let (conductors, told) = mpsc::unbounded_channel();
        (Self(conductors), told)
    }

    /// These conductors are in use.
    pub fn may_be_at(&self, conductors: impl Iterator<Item = Endpoint>) {
        // Nobody hears it where no neighbours are wanted.
        conductors.filter(|conductor| !conductor.is_unknown()).for_each(|conductor| drop(self.0.send(conductor)));
    }
}

/// Looks for neighbours until the station stops. To be called inside a tokio runtime.
pub fn start(station: &Station, told: mpsc::UnboundedReceiver<Endpoint>) {
    let settings = &station.settings;
    station.neighbours.may_be_at(settings.conductors.iter().cloned());
    let relay = Relay::new(station.reached.port);
    let role = Role::Member { relay, repertoire: station.repertoire.clone() };
    let circle = Circle::new(station.id, settings.links);
    // A process has one station, and so nobody else who does this.
    let Some(service) = Service::new(station, circle, role) else { return };
    let mut sources = Sources::new(station, told);
    sources.look_near(station.lan.as_ref());
    sources.name(&settings.neighbours);
    sources.acquaintances = Some(Acquaintances::of(NEIGHBOURS));
    tokio::spawn(service.run(sources, station.stop.clone()));
}

/// Where addresses of neighbours come from.
struct Sources {
    identity: Identity,
    http: Http,
    /// Conductors that are in use, to be asked.
    told: mpsc::UnboundedReceiver<Endpoint>,
    /// Those that are asked, or were, and what ends it.
    asked: BTreeMap<String, CancellationToken>,
    found: mpsc::Sender<Discovered>,
    discovered: mpsc::Receiver<Discovered>,
    /// Those that a person named.
    names: mpsc::Sender<Discovered>,
    named: mpsc::Receiver<Discovered>,
    /// Those of earlier runs; None: not looked up.
    acquaintances: Option<Acquaintances>,
    /// That something is left keeps a conductor telling of others.
    stats: watch::Sender<Stats>,
    ended: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Sources {
    /// None yet but the conductors that are told of.
    fn new(station: &Station, told: mpsc::UnboundedReceiver<Endpoint>) -> Self {
        let (found, discovered) = mpsc::channel(64);
        let (names, named) = mpsc::channel(64);
        let (stats, _) = watch::channel(Stats { left: 1, ..Stats::default() });
        Self {
            identity: station.identity(NEIGHBOURS, None),
            http: station.http.clone(),
            told,
            asked: BTreeMap::new(),
            found,
            discovered,
            names,
            named,
            acquaintances: None,
            stats,
            ended: station.stop.child_token(),
            tasks: Vec::new(),
        }
    }

    /// On the local network, where that is looked at.
    fn look_near(&self, lan: Option<&Lan>) {
        if let Some(lan) = lan {
            lan.share(NEIGHBOURS, self.found.clone(), self.ended.clone());
        }
    }

    fn name(&self, neighbours: &[Endpoint]) {
        if !neighbours.is_empty() {
            let (neighbours, names, ended) = (neighbours.to_vec(), self.names.clone(), self.ended.clone());
            tokio::spawn(look_up("--neighbour", neighbours, names, ended));
        }
    }

    /// Asks this conductor, if it is not asked already. That it does not answer is nobody's concern.
    fn ask(&mut self, conductor: Endpoint) {
        let name = conductor.to_string();
        if self.asked.len() < MAX_CONDUCTORS && !self.asked.contains_key(&name) {
            let (identity, http) = (self.identity.clone(), self.http.clone());
            let (stats, found) = (self.stats.subscribe(), self.found.clone());
            let (tracker, ended) = (Tracker::from(conductor), self.ended.child_token());
            self.asked.insert(name, ended.clone());
            // There is no live link beside it.
            let (_, link) = watch::channel(None);
            self.tasks.push(conductor::start(tracker, identity, http, stats, link, found, ended));
        }
    }

    /// This conductor conducts no neighbours: it is left alone.
    fn refused(&self, conductor: &Endpoint) {
        if let Some(asking) = self.asked.get(&conductor.to_string()) {
            log::info!("conductor {conductor} knows nobody who looks for neighbours");
            asking.cancel();
        }
    }

    /// Those of earlier runs.
    async fn recall(&self) -> Vec<SocketAddr> {
        match &self.acquaintances {
            Some(acquaintances) => acquaintances.recall().await,
            None => Vec::new(),
        }
    }

    /// Takes leave of the conductors.
    async fn leave(self) {
        self.ended.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// The door to the neighbours.
fn visitors(station: &Station) -> Option<Visitors> {
    Visitors::with(&station.door, station.ours(NEIGHBOURS))
}
