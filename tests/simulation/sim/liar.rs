//! A host that says that it has everything and gives nothing: it rejects what it is asked for, or is silent.

use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};

use orchestra::{
    peer::{Introduction, PeerKey},
    time::Time,
    wire::{
        handshake::PeerId,
        message::{Message, RawBlock},
    },
};

use super::actor::{Actor, Ask, Chunk, Tally, Timer, address};

/// How many members it dials.
const DIALS: usize = 15;

/// The liar.
pub struct Liar {
    id: PeerId,
    /// Answers a request with a reject; else not at all.
    rejects: bool,
    dialled: usize,
    out: BTreeMap<PeerKey, VecDeque<Message>>,
    asks: VecDeque<Ask>,
    lies: u64,
}

impl Liar {
    pub fn new(id: PeerId, rejects: bool) -> Self {
        Self { id, rejects, dialled: 0, out: BTreeMap::new(), asks: VecDeque::new(), lies: 0 }
    }
}

impl Actor for Liar {
    fn introduction(&self) -> Introduction {
        Introduction { id: self.id, address: address(0), dialled: false, fast: true, extended: false }
    }

    fn on_endpoints(&mut self, addresses: Vec<SocketAddr>, _now: Time) {
        let more = DIALS.saturating_sub(self.dialled);
        let dials = addresses.into_iter().take(more).map(Ask::Dial);
        self.asks.extend(dials);
        self.dialled = self.asks.len().max(self.dialled);
    }

    fn on_dial_failed(&mut self, _address: SocketAddr, _now: Time) {}

    fn on_introduced(&mut self, key: PeerKey, _who: Introduction, _now: Time) {
        self.out.insert(key, [Message::HaveAll, Message::Unchoke].into());
        self.asks.extend([Ask::Admit(key), Ask::Ready(key)]);
    }

    fn on_message(&mut self, key: PeerKey, message: Message, _now: Time) {
        let Message::Request(block) = message else {
            return;
        };
        self.lies += 1;
        if let (true, Some(out)) = (self.rejects, self.out.get_mut(&key)) {
            out.push_back(Message::Reject(block));
            self.asks.push_back(Ask::Ready(key));
        }
    }

    fn on_chunk(&mut self, _key: PeerKey, _chunk: Chunk, _now: Time) {}

    fn on_sent(&mut self, _key: PeerKey, _block: RawBlock, _now: Time) {}

    fn on_clogged(&mut self, _key: PeerKey, _clogged: bool, _now: Time) {}

    fn on_closed(&mut self, key: PeerKey, _now: Time) {
        self.out.remove(&key);
    }

    fn on_tick(&mut self, _now: Time) {}

    fn on_timer(&mut self, _timer: Timer, _now: Time) {}

    fn next_message(&mut self, key: PeerKey) -> Option<Message> {
        self.out.get_mut(&key)?.pop_front()
    }

    fn next_block(&mut self, _key: PeerKey) -> Option<RawBlock> {
        None
    }

    fn has_block(&self, _key: PeerKey) -> bool {
        false
    }

    fn next_ask(&mut self, _now: Time) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn tally(&self) -> Tally {
        Tally { lies: self.lies, ..Tally::default() }
    }
}
