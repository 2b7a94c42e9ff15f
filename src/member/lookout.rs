//! Where addresses of members come from: every conductor, every `--peer`, the local network and the DHT, from the start
//! to the end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{contact::Contact, load::Trackers, news::News, teller::Teller};
use crate::{
    announce::live::{Copy, Progress},
    discovery::{
        Discovered,
        conductor::{self, Http, Identity, Stats},
        dht::Dht,
        lan::Lan,
        live, resolve,
    },
    manifest::{Endpoint, shown},
    metainfo::{InfoHash, Tracker},
    swarm::{Input, Whole},
    ui::Report,
};

/// Nobody answers in the DHT.
const NO_NODES: &str = "no node of the DHT answers: trying again; is UDP let through, and --dht-bootstrap right?";
/// How often names given with `--peer` are resolved.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);
/// Conductors at most: a manifest or torrent from a stranger may name any number.
const MAX_CONDUCTORS: usize = 32;

/// All sources, and whom they led to.
pub struct Lookout {
    pub contact: Contact,
    /// Addresses that were heard of before there was a swarm to tell them to.
    pub known: Vec<SocketAddr>,
    /// What else was heard by then.
    pub later: Vec<Input>,
    stats: watch::Sender<Stats>,
    progress: watch::Sender<Progress>,
    /// Whether people were told that we cannot be reached.
    told_closed: bool,
    found: mpsc::Sender<Discovered>,
    discovered: mpsc::Receiver<Discovered>,
    sources: Vec<JoinHandle<()>>,
    /// What people heard of the conductors, from any composition.
    news: Arc<News>,
    http: Http,
    links: live::Links,
    /// Ends the search beyond the conductors.
    beyond: CancellationToken,
    ended: CancellationToken,
}

impl Lookout {
    /// With no source yet. They end with `ended`.
    pub fn new(ended: CancellationToken, news: Arc<News>, http: Http, links: live::Links) -> Self {
        let (found, discovered) = mpsc::channel(64);
        let (stats, _) = watch::channel(Stats::default());
        let (progress, _) = watch::channel(Progress::default());
        Self {
            contact: Contact::new(0),
            known: Vec::new(),
            later: Vec::new(),
            stats,
            progress,
            told_closed: false,
            found,
            discovered,
            sources: Vec::new(),
            news,
            http,
            links,
            beyond: ended.child_token(),
            ended,
        }
    }

    /// Starts every source: these trackers and conductors, each once, and these members. `stats`: what is told first.
    pub fn start(
        &mut self,
        trackers: &Trackers,
        conductors: &[Endpoint],
        peers: Vec<Endpoint>,
        identity: &Identity,
        stats: Stats,
        screen: &Teller,
    ) {
        self.stats.send_replace(stats);
        let Stats { uploaded, downloaded, left } = stats;
        self.progress.send_replace(Progress { uploaded, downloaded, left, ..Progress::default() });
        if let Some(text) = trackers.warning() {
            warn(text, screen);
        }
        let mut all: Vec<Tracker> = Vec::new();
        for tracker in trackers.asked.iter().cloned().chain(conductors.iter().cloned().map(Tracker::from)) {
            if !all.contains(&tracker) && all.len() < MAX_CONDUCTORS {
                all.push(tracker);
            }
        }
        self.contact = Contact::new(all.len());
        for tracker in all {
            let (told, found) = (self.stats.subscribe(), self.found.clone());
            let (up, link) = watch::channel(None);
            if tracker.is_plain_conductor() {
                let (progress, found) = (self.progress.subscribe(), self.found.clone());
                let first = Some(progress.borrow().clone());
                let (tracker, identity) = (tracker.clone(), identity.clone());
                let strand = live::Strand { identity, progress, first, up, found, stop: self.ended.clone() };
                self.sources.push(self.links.keep(tracker, strand));
            }
            self.sources.push(conductor::start(
                tracker,
                identity.clone(),
                self.http.clone(),
                told,
                link,
                found,
                self.ended.clone(),
            ));
        }
        if !peers.is_empty() {
            tokio::spawn(look_up("--peer", peers, self.found.clone(), self.ended.clone()));
        }
    }

    /// Looks for members of this composition on the local network too, and lets them find us.
    pub fn look_near(&self, lan: &Lan, info_hash: InfoHash) {
        lan.share(info_hash, self.found.clone(), self.beyond.clone());
    }

    /// The same in the DHT.
    pub fn look_far(&self, dht: &Dht, info_hash: InfoHash) {
        dht.share(info_hash, self.found.clone(), self.beyond.clone());
    }

    /// Ends both: the author wants members to come through the conductors alone (BEP 27).
    pub fn keep_to_conductors(&self) {
        self.beyond.cancel();
    }

    /// How far we are, for the conductors.
    pub fn tell(&self, stats: Stats) {
        self.stats.send_if_modified(|old| std::mem::replace(old, stats) != stats);
    }

    /// How far we are in more detail, for the live links.
    pub fn report(&self, progress: Progress) {
        self.progress.send_if_modified(|old| {
            let changed = *old != progress;
            *old = progress;
            changed
        });
    }

    /// The next thing that a source learnt.
    pub async fn hear(&mut self) -> Option<Discovered> {
        self.discovered.recv().await
    }

    /// Tells people what they should know of this, and gives what the swarm should.
    pub fn take(&mut self, found: Discovered, screen: &Teller) -> Option<Input> {
        self.contact.hear(&found);
        let is_new = self.news.is_new(&found);
        match found {
            Discovered::Found(addresses) => return Some(Input::Endpoints(addresses)),
            Discovered::Hearsay(addresses) => return Some(Input::Hearsay(addresses)),
            Discovered::Left(addresses) => return Some(Input::Left(addresses)),
            Discovered::NoNodes => warn(NO_NODES.to_owned(), screen),
            Discovered::Whole(members) => {
                let whole = |told: Copy| Whole { id: told.peer_id, name: Some(told.name), copy: told.copy };
                return Some(Input::Whole(members.into_iter().map(whole).collect()));
            }
            Discovered::Reachable { conductor, address, open: true } => {
                log::info!("conductor {conductor} reaches this member at {address}");
            }
            Discovered::Reachable { conductor, address, open: false } => self.tell_closed(&conductor, address, screen),
            _ if !is_new => {}
            Discovered::Reached { conductor } => log::info!("conductor {conductor} answers"),
            Discovered::Unreachable { conductor, why } => warn(
                format!("conductor {conductor} does not answer ({why}): trying again; members that are known go on"),
                screen,
            ),
            Discovered::Refused { conductor, why } => {
                warn(format!("conductor {conductor} refuses: {}", shown(&why)), screen);
            }
        }
        None
    }

    /// Once: another conductor most likely sees the same.
    fn tell_closed(&mut self, conductor: &Endpoint, address: SocketAddr, screen: &Teller) {
        if !std::mem::replace(&mut self.told_closed, true) {
            let port = address.port();
            warn(
                format!(
                    "conductor {conductor} cannot reach this member at {address}: open TCP port {port} in the firewall, \
                     or forward it and give --advertise; until then only connections that this member opens itself are used"
                ),
                screen,
            );
        }
    }

    /// Takes leave of the conductors.
    pub async fn leave(&mut self) {
        self.ended.cancel();
        for source in std::mem::take(&mut self.sources) {
            let _ = source.await;
        }
    }

    /// Ends all that was started with this member.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

fn warn(text: String, screen: &Teller) {
    log::warn!("{text}");
    screen.event(&Report::Warning { name: None, text });
}

/// Finds the addresses that this option names, again and again: a name may lead elsewhere later.
pub(super) async fn look_up(
    option: &'static str,
    peers: Vec<Endpoint>,
    found: mpsc::Sender<Discovered>,
    stop: CancellationToken,
) {
    loop {
        for peer in &peers {
            match resolve::all_of(peer).await {
                Ok(addresses) => drop(found.send(Discovered::Found(addresses)).await),
                Err(why) => log::warn!("{option} {peer}: {why}"),
            }
        }
        let again = tokio::time::sleep(RESOLVE_AGAIN);
        if stop.run_until_cancelled(again).await.is_none() {
            return;
        }
    }
}
