//! The mirrors of one composition: the tasks that carry out what the swarm wants of them.
//!
//! Nothing here decides when to ask one. Dropped, it ends every request.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{Arc, OnceLock},
};

use tokio::sync::{mpsc, watch};

use super::{links::Common, load::Composition};
use crate::{
    geometry::PartIndex,
    manifest::shown,
    mirror::{
        Event, Failure, Order,
        address::{MAX_MIRRORS, Mirror},
        client::Client,
        errand::{self, Errand},
        layout::Layout,
        stream::Stream,
    },
    peer::PeerKey,
};

/// A manifest from a stranger may name any number; more are not even read.
const MOST_READ: usize = 100;
/// Batches of events that wait for the owner.
const EVENTS: usize = 256;

/// The mirrors that a composition names: those that can be asked, each once, and what to tell people of the others.
pub fn of(composition: &Composition) -> (Vec<Mirror>, Option<String>) {
    let (mut usable, mut others, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for text in composition.mirrors.iter().take(MOST_READ).filter(|text| seen.insert(text.as_str())) {
        match Mirror::parse(text, !composition.files.is_empty()) {
            Ok(mirror) if usable.len() < MAX_MIRRORS => usable.push(mirror),
            Ok(mirror) => log::info!("mirror {mirror} is not used: {MAX_MIRRORS} are enough"),
            Err(error) => others.push(format!("mirror {} is not used: {error}", shown(text))),
        }
    }
    let more = match others.len() {
        0 | 1 => String::new(),
        count => format!(" (and so are {} more)", count - 1),
    };
    (usable, others.into_iter().next().map(|first| first + &more))
}

pub struct Mirrors {
    all: HashMap<PeerKey, Known>,
    layout: Arc<Layout>,
    common: Common,
    /// Made when one is first asked, for all compositions of the process: it reads the certificates of the system.
    client: Arc<OnceLock<Client>>,
    events_in: mpsc::Sender<(PeerKey, Vec<Event>)>,
    events: mpsc::Receiver<(PeerKey, Vec<Event>)>,
}

/// One mirror.
struct Known {
    mirror: Mirror,
    /// The requests that run: their parts, and where to cut them.
    requests: Vec<(Range<u32>, watch::Sender<u32>)>,
    /// People know that it fails.
    told: bool,
}

impl Mirrors {
    /// These, under keys that no connection has.
    pub fn new(
        all: impl IntoIterator<Item = (PeerKey, Mirror)>,
        layout: Layout,
        common: Common,
        client: Arc<OnceLock<Client>>,
    ) -> Self {
        let known = |mirror| Known { mirror, requests: Vec::new(), told: false };
        let (events_in, events) = mpsc::channel(EVENTS);
        let all = all.into_iter().map(|(key, mirror)| (key, known(mirror))).collect();
        Self { all, layout: Arc::new(layout), common, client, events_in, events }
    }

    /// Whether there never was one to ask.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What they tell.
    pub async fn hear(&mut self) -> Option<(PeerKey, Vec<Event>)> {
        self.events.recv().await
    }

    /// Carries out what the swarm wants.
    pub fn order(&mut self, key: PeerKey, order: Order) {
        match order {
            Order::Fetch { first, count } => self.fetch(key, first, count),
            Order::Cut(part) => {
                let requests = self.all.get(&key).map(|known| &known.requests);
                for (_, end) in requests.into_iter().flatten().filter(|(parts, _)| parts.contains(&part.get())) {
                    end.send_modify(|end| *end = part.get().min(*end));
                }
            }
        }
    }

    fn fetch(&mut self, key: PeerKey, first: PartIndex, count: u32) {
        let Some(known) = self.all.get_mut(&key) else { return };
        let client = match self.client.get().cloned().map_or_else(|| Client::new(&self.common.via), Ok) {
            Ok(client) => self.client.get_or_init(|| client).clone(),
            Err(error) => return self.cannot(key, first, count, error.to_string()),
        };
        let parts = first.get()..first.get() + count;
        let (end, cut) = watch::channel(parts.end);
        known.requests.push((parts.clone(), end));
        tokio::spawn(errand::run(Errand {
            key,
            parts,
            stream: Stream::new(known.mirror.clone(), self.layout.clone(), client),
            store: self.common.store.clone(),
            limiter: self.common.download.clone(),
            start: self.common.start,
            cut,
            events: self.events_in.clone(),
        }));
    }

    /// Nothing can be asked on this machine.
    fn cannot(&self, key: PeerKey, first: PartIndex, count: u32, why: String) {
        let geometry = self.common.geometry;
        let parts = (first.get()..first.get() + count).filter_map(|number| geometry.part(number));
        let over = Event::Over { first, failure: Some(Failure::Never(why)) };
        let events = parts.map(Event::Released).chain([over]).collect();
        let events_in = self.events_in.clone();
        tokio::spawn(async move { events_in.send((key, events)).await });
    }

    /// The request that began with this part is over.
    pub fn over(&mut self, key: PeerKey, first: PartIndex) {
        if let Some(known) = self.all.get_mut(&key) {
            known.requests.retain(|(parts, _)| parts.start != first.get());
        }
    }

    /// It gave something that is right: when it fails again, that is news.
    pub fn works(&mut self, key: PeerKey) {
        if let Some(known) = self.all.get_mut(&key) {
            known.told = false;
        }
    }

    /// Whether that it fails is news.
    pub fn is_news(&mut self, key: PeerKey) -> bool {
        self.all.get_mut(&key).is_some_and(|known| !std::mem::replace(&mut known.told, true))
    }

    /// A mirror as people know it, safe for a terminal.
    pub fn name(&self, key: PeerKey) -> String {
        self.all.get(&key).map(|known| format!("mirror {}", known.mirror)).unwrap_or_default()
    }
}
