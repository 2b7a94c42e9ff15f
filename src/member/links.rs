//! Connections: the tasks that carry out what the swarm wants done with its neighbours.
//!
//! Nothing here decides whom to dial or to admit. The owner never waits for a neighbour: a command that does not fit
//! into its queue ends the conversation, since the task behind it does not keep up.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use tokio::sync::mpsc;

use super::{
    door::{Door, Open},
    station::Station,
};
use crate::{
    geometry::Geometry,
    metainfo::InfoHash,
    net::{limiter::Limiter, via::Via},
    peer::{
        Command, Event, Introduction, PeerKey,
        dial::{self, DIAL_TIMEOUT, DialError, Met},
        driver::{self, Link},
        session::{Session, Setup, Show},
    },
    storage::Store,
    wire::{copy_id::CopyId, handshake::Handshake, machine_id::MachineId},
};

/// Commands that wait for one neighbour.
const COMMANDS: usize = 4096;
/// Connections that came or were dialled and wait for the owner.
const ARRIVALS: usize = 256;
/// Batches of events that wait for the owner. Few: each may hold a bitfield of up to 128 KiB.
const EVENTS: usize = 128;

/// What every conversation of a swarm shares.
#[derive(Clone)]
pub struct Common {
    pub store: Store,
    pub geometry: Geometry,
    pub ours: Handshake,
    /// The raw info dictionary.
    pub info: Arc<[u8]>,
    pub name: String,
    pub copy: Option<CopyId>,
    pub machine: Option<MachineId>,
    /// The port on which others reach us.
    pub port: u16,
    /// What connections are dialled through.
    pub via: Via,
    pub start: Instant,
    pub upload: Limiter,
    pub download: Limiter,
}

/// What came of dialling or listening.
pub enum Arrival {
    Met(Box<Met>),
    DialFailed(SocketAddr, DialError),
}

/// The way from the door to one composition, and who is on it.
pub struct Visitors {
    pub arrivals_in: mpsc::Sender<Arrival>,
    pub arrivals: mpsc::Receiver<Arrival>,
    open: Open,
}

impl Visitors {
    /// Who names this composition's swarm; None: they go to somebody else in this process.
    pub fn of(station: &Station, info_hash: InfoHash) -> Option<Self> {
        Self::with(&station.door, station.ours(info_hash))
    }

    /// The same, introduced as `ours`.
    pub fn with(door: &Door, ours: Handshake) -> Option<Self> {
        let (arrivals_in, arrivals) = mpsc::channel(ARRIVALS);
        let open = door.open(ours, arrivals_in.clone())?;
        Some(Self { arrivals_in, arrivals, open })
    }
}

pub struct Links {
    common: Common,
    conversations: HashMap<PeerKey, Conversation>,
    introduced: HashMap<PeerKey, Met>,
    next_key: u32,
    arrivals: mpsc::Sender<Arrival>,
    events: mpsc::Sender<(PeerKey, Vec<Event>)>,
    open: Open,
}

struct Conversation {
    address: SocketAddr,
    /// None: it was told to end and has not said its last word yet.
    commands: Option<mpsc::Sender<Command>>,
}

/// What the owner listens to.
pub struct Heard {
    pub arrivals: mpsc::Receiver<Arrival>,
    pub events: mpsc::Receiver<(PeerKey, Vec<Event>)>,
}

impl Links {
    /// None yet.
    pub fn new(common: Common, visitors: Visitors) -> (Self, Heard) {
        let Visitors { arrivals_in, arrivals, open } = visitors;
        let (events_in, events) = mpsc::channel(EVENTS);
        let links = Self {
            common,
            conversations: HashMap::new(),
            introduced: HashMap::new(),
            next_key: 0,
            arrivals: arrivals_in,
            events: events_in,
            open,
        };
        (links, Heard { arrivals, events })
    }

    /// The way to the composition, for whoever comes after these connections.
    pub fn into_visitors(self, heard: Heard) -> Visitors {
        Visitors { arrivals_in: self.arrivals, arrivals: heard.arrivals, open: self.open }
    }

    pub fn dial(&self, address: SocketAddr) {
        dial(address, self.common.ours, self.common.via.clone(), self.arrivals.clone());
    }

    /// A key that no connection has, nor will have.
    pub fn another_key(&mut self) -> PeerKey {
        let key = PeerKey(self.next_key);
        self.next_key = self.next_key.wrapping_add(1);
        key
    }

    /// Keeps a connection until the swarm says whether to admit it.
    pub fn introduce(&mut self, met: Met) -> (PeerKey, Introduction) {
        let key = self.another_key();
        let introduction = met.introduction.clone();
        self.introduced.insert(key, met);
        (key, introduction)
    }

    pub fn refuse(&mut self, key: PeerKey) {
        self.introduced.remove(&key);
    }

    pub fn admit(&mut self, key: PeerKey, show: Show) {
        let Some(met) = self.introduced.remove(&key) else { return };
        let common = &self.common;
        let address = met.introduction.address;
        let setup = Setup {
            geometry: common.geometry,
            info: common.info.clone(),
            name: common.name.clone(),
            copy: common.copy,
            machine: common.machine,
            listen_port: common.port,
            remote: met.introduction,
            show,
        };
        let (sender, commands) = mpsc::channel(COMMANDS);
        if met.dht && common.ours.dht {
            let _ = sender.try_send(Command::Node(common.port));
        }
        self.conversations.insert(key, Conversation { address, commands: Some(sender) });
        tokio::spawn(driver::run(Link {
            key,
            stream: met.stream,
            session: Session::new(setup, common.start.elapsed()),
            store: common.store.clone(),
            commands,
            events: self.events.clone(),
            start: common.start,
            upload: common.upload.clone(),
            download: common.download.clone(),
        }));
    }

    pub fn tell(&mut self, key: PeerKey, command: Command) {
        let Some(conversation) = self.conversations.get_mut(&key) else { return };
        if conversation.commands.as_ref().is_some_and(|sender| sender.try_send(command).is_err()) {
            conversation.commands = None;
        }
    }

    /// Who is at the other end, until the last word.
    pub fn address(&self, key: PeerKey) -> Option<SocketAddr> {
        self.conversations.get(&key).map(|conversation| conversation.address)
    }

    /// The conversation said its last word.
    pub fn closed(&mut self, key: PeerKey) {
        self.conversations.remove(&key);
    }

    /// Ends every conversation: each puts away what it has, and then says its last word.
    pub fn close_all(&mut self) {
        self.conversations.values_mut().for_each(|conversation| conversation.commands = None);
        self.introduced.clear();
    }

    pub fn are_all_closed(&self) -> bool {
        self.conversations.is_empty()
    }
}

/// Tries to connect, and tells what came of it.
pub fn dial(address: SocketAddr, ours: Handshake, via: Via, arrivals: mpsc::Sender<Arrival>) {
    tokio::spawn(async move {
        let arrival = match dial::dial(address, &via, &ours, DIAL_TIMEOUT).await {
            Ok(met) => Arrival::Met(Box::new(met)),
            Err(error) => Arrival::DialFailed(address, error),
        };
        let _ = arrivals.send(arrival).await;
    });
}
