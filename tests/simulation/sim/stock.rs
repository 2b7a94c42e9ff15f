//! Another client, approximately: what most BitTorrent programs have in common, none of them exactly.
//!
//! Requests of 16 KiB, three seconds of its rate ahead; plain rarest first, an end game that asks twice; eight members
//! unchoked, chosen again every 10 s by what they give (a seed: at random), one of them by chance. It checks parts in
//! no time, asks nobody twice to be faster, bans nobody, and knows the fast extension but not BEP 10.

use core::net::SocketAddr;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use orchestra::{
    geometry::{BLOCK, Geometry, PartIndex},
    peer::{Introduction, PeerKey},
    time::Time,
    wire::{
        bitfield::Bitfield,
        handshake::PeerId,
        message::{Message, RawBlock},
    },
};

use super::actor::{Actor, Ask, Chunk, Tally, Timer, address};

const SLOTS: usize = 8;
const RECHOKE: Duration = Duration::from_secs(10);
/// Requests in flight on a connection: at least, and seconds of its rate.
const AHEAD_LEAST: usize = 4;
const AHEAD_MOST: usize = 250;

struct Conn {
    id: PeerId,
    has: Bitfield,
    chokes_us: bool,
    choked: bool,
    interested: bool,
    interests: bool,
    /// What we asked it for, and what it asked us for.
    asked: Vec<RawBlock>,
    waiting: VecDeque<RawBlock>,
    /// Bytes from it since the last rechoke, and blocks in this second and in the two before.
    gave: u64,
    lately: [usize; 3],
    out: VecDeque<Message>,
}

/// What is known of a block of a part on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Free,
    Asked,
    Here,
}

/// The other client.
pub struct Stock {
    geometry: Geometry,
    id: PeerId,
    max_peers: usize,
    max_dialled: usize,
    dialled: BTreeSet<SocketAddr>,
    conns: BTreeMap<PeerKey, Conn>,
    have: Bitfield,
    copies: Vec<u32>,
    under_way: BTreeMap<PartIndex, Vec<Block>>,
    next_rechoke: Time,
    next_second: Time,
    asks: VecDeque<Ask>,
    dice: fastrand::Rng,
    unwanted: u64,
}

impl Stock {
    pub fn new(geometry: Geometry, id: PeerId, max_peers: usize, max_dialled: usize, seed: u64) -> Self {
        Self {
            geometry,
            id,
            max_peers,
            max_dialled,
            dialled: BTreeSet::new(),
            conns: BTreeMap::new(),
            have: Bitfield::none(&geometry),
            copies: vec![0; geometry.parts() as usize],
            under_way: BTreeMap::new(),
            next_rechoke: RECHOKE,
            next_second: Time::ZERO,
            asks: VecDeque::new(),
            dice: fastrand::Rng::with_seed(seed),
            unwanted: 0,
        }
    }

    fn say(&mut self, key: PeerKey, message: Message) {
        if let Some(conn) = self.conns.get_mut(&key) {
            conn.out.push_back(message);
            self.asks.push_back(Ask::Ready(key));
        }
    }

    fn learn(&mut self, key: PeerKey, parts: Vec<PartIndex>) {
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        let mut wanted = false;
        for part in parts {
            if conn.has.insert(part) {
                self.copies[part.as_usize()] += 1;
                wanted |= !self.have.has(part);
            }
        }
        if wanted && !conn.interests {
            conn.interests = true;
            self.say(key, Message::Interested);
        }
        if wanted {
            self.ask(key);
        }
    }

    /// Asks for as many blocks as should be in flight.
    fn ask(&mut self, key: PeerKey) {
        while let Some(conn) = self.conns.get(&key) {
            let ahead = (AHEAD_LEAST + conn.lately.iter().sum::<usize>()).min(AHEAD_MOST);
            if conn.chokes_us || conn.asked.len() >= ahead {
                return;
            }
            let Some(block) = self.pick(key) else {
                return;
            };
            if let Some(conn) = self.conns.get_mut(&key) {
                conn.asked.push(block);
            }
            self.say(key, Message::Request(block));
        }
    }

    /// A part begun before a new one, the rarest of those, and in the end what others were asked for.
    fn pick(&mut self, key: PeerKey) -> Option<RawBlock> {
        let conn = self.conns.get(&key)?;
        let begun = self.under_way.iter().filter(|(part, _)| conn.has.has(**part));
        for (&part, blocks) in begun {
            if let Some(i) = blocks.iter().position(|&b| b == Block::Free) {
                return Some(self.mark(part, i));
            }
        }
        let mut best: Option<(u32, PartIndex)> = None;
        let mut equals = 0;
        for part in self.geometry.all_parts() {
            if !conn.has.has(part) || self.have.has(part) || self.under_way.contains_key(&part) {
                continue;
            }
            let copies = self.copies[part.as_usize()];
            equals = match best {
                Some((least, _)) if least < copies => continue,
                Some((least, _)) if least == copies => equals + 1,
                _ => 1,
            };
            if self.dice.u32(0..equals) == 0 {
                best = Some((copies, part));
            }
        }
        if let Some((_, part)) = best {
            let blocks = self.geometry.blocks(part) as usize;
            self.under_way.insert(part, vec![Block::Free; blocks]);
            return Some(self.mark(part, 0));
        }
        self.pick_again(key)
    }

    fn mark(&mut self, part: PartIndex, block: usize) -> RawBlock {
        if let Some(blocks) = self.under_way.get_mut(&part) {
            blocks[block] = Block::Asked;
        }
        self.raw(part, block)
    }

    fn raw(&self, part: PartIndex, block: usize) -> RawBlock {
        let first = block as u32;
        let range = self.geometry.block_run(part, first..first + 1);
        RawBlock { part: part.get(), begin: range.begin, len: range.len }
    }

    /// The end game: everything is asked for somewhere, so ask here too.
    fn pick_again(&self, key: PeerKey) -> Option<RawBlock> {
        let missing = self.geometry.parts() - self.have.count();
        if missing as usize > self.under_way.len() {
            return None;
        }
        let conn = self.conns.get(&key)?;
        let parts = self.under_way.iter().filter(|(part, _)| conn.has.has(**part));
        let blocks = parts.flat_map(|(&part, blocks)| {
            let open = blocks.iter().enumerate().filter(|(_, b)| **b != Block::Here);
            open.map(move |(i, _)| self.raw(part, i))
        });
        blocks.into_iter().find(|block| !conn.asked.contains(block))
    }

    /// The requests there will not be answered.
    fn give_up(&mut self, blocks: Vec<RawBlock>) {
        for block in blocks {
            let elsewhere = self.conns.values().any(|c| c.asked.contains(&block));
            let part = self.geometry.part(block.part);
            let state = part.and_then(|p| self.under_way.get_mut(&p)?.get_mut((block.begin / BLOCK) as usize));
            if let Some(state) = state.filter(|s| **s == Block::Asked && !elsewhere) {
                *state = Block::Free;
            }
        }
    }

    fn on_block(&mut self, key: PeerKey, block: RawBlock) {
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        conn.asked.retain(|b| *b != block);
        conn.gave += u64::from(block.len);
        conn.lately[0] += 1;
        let part = self.geometry.part(block.part);
        let here = part.and_then(|p| self.under_way.get_mut(&p));
        let state = here.and_then(|blocks| blocks.get_mut((block.begin / BLOCK) as usize));
        match (part, state.filter(|s| **s != Block::Here)) {
            (Some(part), Some(state)) => {
                *state = Block::Here;
                self.cancel_elsewhere(block);
                if self.under_way.get(&part).is_some_and(|b| b.iter().all(|b| *b == Block::Here)) {
                    self.part_came(part);
                }
            }
            _ => self.unwanted += u64::from(block.len),
        }
        self.ask(key);
    }

    fn cancel_elsewhere(&mut self, block: RawBlock) {
        let others = self.conns.iter().filter(|(_, c)| c.asked.contains(&block));
        for key in others.map(|(&key, _)| key).collect::<Vec<_>>() {
            self.say(key, Message::Cancel(block));
        }
    }

    fn part_came(&mut self, part: PartIndex) {
        self.under_way.remove(&part);
        self.have.insert(part);
        for key in self.conns.keys().copied().collect::<Vec<_>>() {
            self.say(key, Message::Have(part.get()));
        }
        if self.have.is_full() {
            self.asks.push_back(Ask::Complete);
        }
    }

    fn choke(&mut self, key: PeerKey, choke: bool) {
        let Some(conn) = self.conns.get_mut(&key).filter(|c| c.choked != choke) else {
            return;
        };
        conn.choked = choke;
        let rejected = std::mem::take(&mut conn.waiting);
        self.say(key, if choke { Message::Choke } else { Message::Unchoke });
        for block in rejected {
            self.say(key, Message::Reject(block));
        }
    }

    fn rechoke(&mut self) {
        let seed = self.have.is_full();
        let dice = &mut self.dice;
        let wish = self.conns.iter().filter(|(_, c)| c.interested);
        let mut wish: Vec<_> = wish.map(|(&key, c)| (if seed { 0 } else { c.gave }, dice.u32(..), key)).collect();
        wish.sort_unstable();
        wish.reverse();
        if wish.len() > SLOTS {
            let lucky = dice.usize(SLOTS - 1..wish.len());
            wish.swap(SLOTS - 1, lucky);
        }
        for (place, (_, _, key)) in wish.into_iter().enumerate() {
            self.choke(key, place >= SLOTS);
        }
        for conn in self.conns.values_mut() {
            conn.gave = 0;
        }
    }

    fn on_interested(&mut self, key: PeerKey) {
        let open = self.conns.values().filter(|c| !c.choked && c.interested).count();
        if let Some(conn) = self.conns.get_mut(&key) {
            conn.interested = true;
        }
        if open < SLOTS {
            self.choke(key, false);
        }
    }

    fn on_request(&mut self, key: PeerKey, block: RawBlock) {
        let mine = self.geometry.part(block.part).is_some_and(|p| self.have.has(p));
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        if conn.choked || !mine || block.len > BLOCK {
            self.say(key, Message::Reject(block));
        } else {
            conn.waiting.push_back(block);
            self.asks.push_back(Ask::Ready(key));
        }
    }
}

impl Actor for Stock {
    fn introduction(&self) -> Introduction {
        Introduction { id: self.id, address: address(0), dialled: false, fast: true, extended: false }
    }

    fn on_endpoints(&mut self, addresses: Vec<SocketAddr>, _now: Time) {
        for address in addresses {
            let room = self.dialled.len() < self.max_dialled && self.conns.len() < self.max_peers;
            if room && self.dialled.insert(address) {
                self.asks.push_back(Ask::Dial(address));
            }
        }
    }

    fn on_dial_failed(&mut self, address: SocketAddr, _now: Time) {
        self.dialled.remove(&address);
    }

    fn on_introduced(&mut self, key: PeerKey, who: Introduction, _now: Time) {
        let known = self.conns.values().any(|c| c.id == who.id);
        if known || self.conns.len() >= self.max_peers {
            return self.asks.push_back(Ask::Close(key));
        }
        let first = Message::Bitfield(self.have.to_bytes());
        let conn = Conn {
            id: who.id,
            has: Bitfield::none(&self.geometry),
            chokes_us: true,
            choked: true,
            interested: false,
            interests: false,
            asked: Vec::new(),
            waiting: VecDeque::new(),
            gave: 0,
            lately: [0; 3],
            out: [first].into(),
        };
        self.conns.insert(key, conn);
        self.asks.extend([Ask::Admit(key), Ask::Ready(key)]);
    }

    fn on_message(&mut self, key: PeerKey, message: Message, _now: Time) {
        match message {
            Message::Choke | Message::Unchoke => {
                if let Some(conn) = self.conns.get_mut(&key) {
                    conn.chokes_us = message == Message::Choke;
                }
                self.ask(key);
            }
            Message::Interested => self.on_interested(key),
            Message::NotInterested => {
                if let Some(conn) = self.conns.get_mut(&key) {
                    conn.interested = false;
                }
                self.choke(key, true);
            }
            Message::Have(part) => self.learn(key, self.geometry.part(part).into_iter().collect()),
            Message::HaveAll => self.learn(key, self.geometry.all_parts().collect()),
            Message::Bitfield(bytes) => {
                if let Some(bits) = Bitfield::from_bytes(&bytes, &self.geometry) {
                    self.learn(key, bits.ones(&self.geometry).collect());
                }
            }
            Message::Request(block) => self.on_request(key, block),
            Message::Cancel(block) => {
                let conn = self.conns.get_mut(&key);
                let place = conn.and_then(|c| {
                    let place = c.waiting.iter().position(|b| *b == block)?;
                    c.waiting.remove(place)
                });
                if place.is_some() {
                    self.say(key, Message::Reject(block));
                }
            }
            Message::Reject(block) => {
                if let Some(conn) = self.conns.get_mut(&key) {
                    conn.asked.retain(|b| *b != block);
                }
                self.give_up(vec![block]);
            }
            Message::KeepAlive
            | Message::HaveNone
            | Message::Port(_)
            | Message::Suggest(_)
            | Message::AllowedFast(_)
            | Message::Extended { .. }
            | Message::Unknown { .. } => {}
        }
    }

    fn on_chunk(&mut self, key: PeerKey, chunk: Chunk, _now: Time) {
        if chunk.is_last() {
            self.on_block(key, chunk.block);
        }
    }

    fn on_sent(&mut self, _key: PeerKey, _block: RawBlock, _now: Time) {}

    fn on_clogged(&mut self, _key: PeerKey, _clogged: bool, _now: Time) {}

    fn on_closed(&mut self, key: PeerKey, _now: Time) {
        if let Some(conn) = self.conns.remove(&key) {
            for part in conn.has.ones(&self.geometry) {
                self.copies[part.as_usize()] -= 1;
            }
            self.give_up(conn.asked);
        }
    }

    fn on_tick(&mut self, now: Time) {
        if now >= self.next_rechoke {
            self.next_rechoke = now + RECHOKE;
            self.rechoke();
        }
        if now >= self.next_second {
            self.next_second = now + Duration::from_secs(1);
            for conn in self.conns.values_mut() {
                conn.lately = [0, conn.lately[0], conn.lately[1]];
            }
            for key in self.conns.keys().copied().collect::<Vec<_>>() {
                self.ask(key);
            }
        }
    }

    fn on_timer(&mut self, _timer: Timer, _now: Time) {}

    fn next_message(&mut self, key: PeerKey) -> Option<Message> {
        self.conns.get_mut(&key)?.out.pop_front()
    }

    fn next_block(&mut self, key: PeerKey) -> Option<RawBlock> {
        self.conns.get_mut(&key)?.waiting.pop_front()
    }

    fn has_block(&self, key: PeerKey) -> bool {
        self.conns.get(&key).is_some_and(|c| !c.waiting.is_empty())
    }

    fn next_ask(&mut self, _now: Time) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn tally(&self) -> Tally {
        Tally { unwanted: self.unwanted, ..Tally::default() }
    }
}
