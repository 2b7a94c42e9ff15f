//! A host that says that it has everything and gives it in an odd way.

use core::net::SocketAddr;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use orchestra::{
    geometry::Geometry,
    peer::{Introduction, PeerKey},
    time::Time,
    wire::{
        bitfield::Bitfield,
        handshake::PeerId,
        message::{Message, RawBlock},
    },
};

use super::actor::{Actor, Ask, Chunk, Tally, Timer, address};

/// What is odd about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Answers what it is asked for only once that is taken back. (What it sends then is junk, if its host corrupts.)
    AnswersLate,
    /// Gives a block now and then, after ever longer waits.
    Drips,
    /// Chokes and unchokes by lot, and rejects what it was asked for when it chokes.
    Chokes,
    /// The same without the fast extension: what it was asked for is forgotten.
    ChokesInSilence,
    /// Rejects every second request.
    RejectsSome,
}

/// How many members it dials.
const DIALS: usize = 15;
const FIRST_WAIT: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Conn {
    out: VecDeque<Message>,
    asked: VecDeque<RawBlock>,
    blocks: VecDeque<RawBlock>,
    choked: bool,
}

/// The odd one.
pub struct Odd {
    geometry: Geometry,
    id: PeerId,
    what: Oddity,
    dialled: usize,
    conns: BTreeMap<PeerKey, Conn>,
    asks: VecDeque<Ask>,
    dice: fastrand::Rng,
    wait: Duration,
    next_drip: Time,
    tally: Tally,
}

impl Odd {
    pub fn new(geometry: Geometry, id: PeerId, what: Oddity, seed: u64) -> Self {
        Self {
            geometry,
            id,
            what,
            dialled: 0,
            conns: BTreeMap::new(),
            asks: VecDeque::new(),
            dice: fastrand::Rng::with_seed(seed),
            wait: FIRST_WAIT,
            next_drip: Time::ZERO,
            tally: Tally::default(),
        }
    }

    fn on_request(&mut self, key: PeerKey, block: RawBlock) {
        let rejects = self.what == Oddity::RejectsSome && self.dice.bool();
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        if conn.choked {
            if self.what == Oddity::Chokes {
                conn.out.push_back(Message::Reject(block));
                self.asks.push_back(Ask::Ready(key));
            }
            return;
        }
        match self.what {
            Oddity::AnswersLate | Oddity::Drips => conn.asked.push_back(block),
            Oddity::RejectsSome if rejects => {
                self.tally.lies += 1;
                conn.out.push_back(Message::Reject(block));
            }
            Oddity::Chokes | Oddity::ChokesInSilence | Oddity::RejectsSome => conn.blocks.push_back(block),
        }
        self.asks.push_back(Ask::Ready(key));
    }

    fn on_cancel(&mut self, key: PeerKey, block: RawBlock) {
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        let at = |blocks: &VecDeque<RawBlock>| blocks.iter().position(|asked| *asked == block);
        if self.what == Oddity::AnswersLate {
            if let Some(at) = at(&conn.asked) {
                conn.asked.remove(at);
                conn.blocks.push_back(block);
                self.tally.junk += 1;
            }
        } else if let Some(at) = at(&conn.asked) {
            conn.asked.remove(at);
            conn.out.push_back(Message::Reject(block));
        } else if let Some(at) = at(&conn.blocks) {
            conn.blocks.remove(at);
            if self.what != Oddity::ChokesInSilence {
                conn.out.push_back(Message::Reject(block));
            }
        }
        self.asks.push_back(Ask::Ready(key));
    }

    fn drip(&mut self, now: Time) {
        if now < self.next_drip {
            return;
        }
        for (key, conn) in &mut self.conns {
            if let Some(block) = conn.asked.pop_front() {
                conn.blocks.push_back(block);
                self.tally.drips += 1;
                self.asks.push_back(Ask::Ready(*key));
            }
        }
        self.wait = self.wait.mul_f64(1.5);
        self.next_drip = now + self.wait;
    }

    fn choke_some(&mut self) {
        for (key, conn) in &mut self.conns {
            if self.dice.u32(..20) > 0 {
                continue;
            }
            conn.choked = !conn.choked;
            if !conn.choked {
                conn.out.push_back(Message::Unchoke);
            } else {
                self.tally.chokes += 1;
                conn.out.push_back(Message::Choke);
                let dropped = std::mem::take(&mut conn.blocks);
                if self.what == Oddity::Chokes {
                    conn.out.extend(dropped.into_iter().map(Message::Reject));
                }
            }
            self.asks.push_back(Ask::Ready(*key));
        }
    }
}

impl Actor for Odd {
    fn introduction(&self) -> Introduction {
        let fast = self.what != Oddity::ChokesInSilence;
        Introduction { id: self.id, address: address(0), dialled: false, fast, extended: false }
    }

    fn on_endpoints(&mut self, addresses: Vec<SocketAddr>, _now: Time) {
        let more = DIALS.saturating_sub(self.dialled);
        self.dialled += addresses.len().min(more);
        self.asks.extend(addresses.into_iter().take(more).map(Ask::Dial));
    }

    fn on_dial_failed(&mut self, _address: SocketAddr, _now: Time) {}

    fn on_introduced(&mut self, key: PeerKey, _who: Introduction, _now: Time) {
        let all = match self.what {
            Oddity::ChokesInSilence => Message::Bitfield(Bitfield::all(&self.geometry).to_bytes()),
            _ => Message::HaveAll,
        };
        self.conns.insert(key, Conn { out: [all, Message::Unchoke].into(), ..Conn::default() });
        self.asks.extend([Ask::Admit(key), Ask::Ready(key)]);
    }

    fn on_message(&mut self, key: PeerKey, message: Message, _now: Time) {
        match message {
            Message::Request(block) => self.on_request(key, block),
            Message::Cancel(block) => self.on_cancel(key, block),
            _ => {}
        }
    }

    fn on_chunk(&mut self, _key: PeerKey, _chunk: Chunk, _now: Time) {}

    fn on_sent(&mut self, _key: PeerKey, _block: RawBlock, _now: Time) {}

    fn on_clogged(&mut self, _key: PeerKey, _clogged: bool, _now: Time) {}

    fn on_closed(&mut self, key: PeerKey, _now: Time) {
        self.conns.remove(&key);
    }

    fn on_tick(&mut self, now: Time) {
        match self.what {
            Oddity::Drips => self.drip(now),
            Oddity::Chokes | Oddity::ChokesInSilence => self.choke_some(),
            Oddity::AnswersLate | Oddity::RejectsSome => {}
        }
    }

    fn on_timer(&mut self, _timer: Timer, _now: Time) {}

    fn next_message(&mut self, key: PeerKey) -> Option<Message> {
        self.conns.get_mut(&key)?.out.pop_front()
    }

    fn next_block(&mut self, key: PeerKey) -> Option<RawBlock> {
        self.conns.get_mut(&key)?.blocks.pop_front()
    }

    fn has_block(&self, key: PeerKey) -> bool {
        self.conns.get(&key).is_some_and(|conn| !conn.blocks.is_empty())
    }

    fn next_ask(&mut self, _now: Time) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}
