//! A host that runs our own member: a real [`Swarm`] and real [`Session`]s, driven as `peer::driver` does it.

use core::net::SocketAddr;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use orchestra::{
    geometry::{Geometry, PartIndex},
    peer::{
        Closed, Command, Event, Introduction, PeerKey,
        session::{Fault, Landing, Session, Setup, Show},
    },
    swarm::{Config, Effect, Input, Swarm},
    time::Time,
    wire::{
        handshake::PeerId,
        message::{Message, RawBlock},
    },
};

use super::{
    actor::{Actor, Ask, Chunk, Tally, Timer, address},
    parts::Parts,
    watch::{Seen, Watch},
};

/// Bytes that are checked in a second, and what it takes until a part is written.
const HASHING: f64 = 1e9;
const WRITING: Duration = Duration::from_micros(200);

struct Conn {
    session: Session,
    /// Where the block that is arriving goes.
    landing: Landing,
    /// Parts that came whole and are being checked.
    checking: Vec<PartIndex>,
    /// Its events were not yet handed to the swarm.
    touched: bool,
    remote: PeerId,
    seen: Seen,
}

/// Our own member.
pub struct Member {
    geometry: Geometry,
    id: PeerId,
    swarm: Swarm,
    conns: BTreeMap<PeerKey, Conn>,
    introduced: BTreeMap<PeerKey, Introduction>,
    parts: Parts,
    /// Parts that are right and on their way to the disk.
    written: BTreeSet<PartIndex>,
    touched: Vec<PeerKey>,
    asks: VecDeque<Ask>,
    tally: Tally,
    /// Conversations report after up to so many microseconds; what arrives meanwhile they take as it comes.
    lag: Option<u64>,
    dice: fastrand::Rng,
    watch: Option<Watch>,
}

impl Member {
    pub fn new(config: Config) -> Self {
        Self {
            geometry: config.geometry,
            id: config.id,
            dice: fastrand::Rng::with_seed(config.seed),
            swarm: Swarm::new(config),
            lag: None,
            watch: None,
            conns: BTreeMap::new(),
            introduced: BTreeMap::new(),
            parts: Parts::default(),
            written: BTreeSet::new(),
            touched: Vec::new(),
            asks: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// The same, whose conversations report after up to so many microseconds.
    pub fn with_lag(self, micros: u64) -> Self {
        Self { lag: Some(micros), ..self }
    }

    /// The same, watched.
    pub fn watched(self, watch: Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// The conversation, which will have something to say.
    fn touch(&mut self, key: PeerKey) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(&key)?;
        if !conn.touched {
            conn.touched = true;
            self.touched.push(key);
        }
        Some(conn)
    }

    fn on_fault(&mut self, key: PeerKey, outcome: Result<(), Fault>, now: Time) {
        if let Err(Fault(what)) = outcome {
            self.end(key, Closed::Fault(what), now);
        }
    }

    /// The conversation is over, by whatever side. What it brought whole is checked first.
    fn end(&mut self, key: PeerKey, why: Closed, now: Time) {
        let checking = self.conns.get_mut(&key).map(|c| std::mem::take(&mut c.checking));
        for part in checking.unwrap_or_default() {
            self.judge(key, part);
        }
        self.flush(key, now);
        if self.conns.remove(&key).is_some() {
            self.asks.push_back(Ask::Close(key));
            self.swarm.handle(Input::Peer(key, Event::Closed(why)), now);
        }
    }

    /// Hands the swarm what the conversation has to say.
    fn flush(&mut self, key: PeerKey, now: Time) {
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        conn.touched = false;
        while let Some(event) = conn.session.next_event() {
            if let (Event::Released { part, .. }, Landing::Wanted(block)) = (&event, conn.landing)
                && block.part == *part
            {
                conn.landing = Landing::Unwanted;
            }
            if let Event::Released { .. } = event {
                conn.seen.will_be_asked(false);
            }
            self.swarm.handle(Input::Peer(key, event), now);
        }
    }

    fn carry_out(&mut self, effect: Effect, now: Time) {
        match effect {
            Effect::Dial(to) => self.asks.push_back(Ask::Dial(to)),
            Effect::Admit(key, show) => self.admit(key, show, now),
            Effect::Refuse(key, _) => {
                self.introduced.remove(&key);
                self.asks.push_back(Ask::Close(key));
            }
            Effect::Tell(key, Command::Close(why)) => self.end(key, Closed::ByUs(why), now),
            Effect::Tell(key, Command::Fetch(part)) => {
                let missing = self.parts.missing(&self.geometry, part);
                let Some(conn) = self.touch(key) else {
                    return;
                };
                conn.seen.will_be_asked(!missing.is_empty());
                if let Some(whole) = conn.session.fetch(part, &missing, now) {
                    self.tally.found_whole += 1;
                    self.check_soon(key, whole);
                }
            }
            Effect::Tell(key, command) => {
                if let Some(conn) = self.touch(key) {
                    conn.session.command(command, now);
                }
            }
            Effect::Mirror(..) | Effect::MirrorFailed(..) => unreachable!("there are no mirrors"),
            Effect::Complete => self.asks.push_back(Ask::Complete),
        }
    }

    fn admit(&mut self, key: PeerKey, show: Show, now: Time) {
        let Some(remote) = self.introduced.remove(&key) else {
            return;
        };
        let id = remote.id;
        let setup = Setup {
            name: String::new(),
            copy: None,
            machine: None,
            geometry: self.geometry,
            info: Arc::default(),
            listen_port: self.introduction().address.port(),
            remote,
            show,
        };
        let conn = Conn {
            remote: id,
            seen: Seen::new(&self.geometry),
            session: Session::new(setup, now),
            landing: Landing::Unwanted,
            checking: Vec::new(),
            touched: false,
        };
        self.conns.insert(key, conn);
        self.touch(key);
        self.asks.push_back(Ask::Admit(key));
    }

    fn block_came(&mut self, key: PeerKey, now: Time) {
        let Some(conn) = self.touch(key) else {
            return;
        };
        conn.landing = Landing::Unwanted;
        if let Some(part) = conn.session.on_block_end(now) {
            self.check_soon(key, part);
        }
    }

    fn check_soon(&mut self, key: PeerKey, part: PartIndex) {
        if let Some(conn) = self.conns.get_mut(&key) {
            conn.checking.push(part);
            let len = self.geometry.part_len(part);
            let after = Duration::from_secs_f64(f64::from(len) / HASHING);
            self.asks.push_back(Ask::Wake(after, Timer::Checked(key, part)));
        }
    }

    fn checked(&mut self, key: PeerKey, part: PartIndex) {
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        if let Some(at) = conn.checking.iter().position(|p| *p == part) {
            conn.checking.remove(at);
            self.judge(key, part);
        }
    }

    fn judge(&mut self, key: PeerKey, part: PartIndex) {
        let (right, alone) = self.parts.check(part, key);
        let verdict = if right {
            self.written.insert(part);
            self.asks.push_back(Ask::Wake(WRITING, Timer::Written(part)));
            Event::Right(part)
        } else {
            self.tally.wrong_parts += 1;
            Event::Wrong { part, alone }
        };
        if let Some(conn) = self.touch(key) {
            conn.session.on_verdict(verdict);
        }
    }
}

impl Actor for Member {
    fn introduction(&self) -> Introduction {
        Introduction { id: self.id, address: address(0), dialled: false, fast: true, extended: true }
    }

    fn on_endpoints(&mut self, addresses: Vec<SocketAddr>, now: Time) {
        self.swarm.handle(Input::Endpoints(addresses), now);
    }

    fn on_dial_failed(&mut self, address: SocketAddr, now: Time) {
        self.swarm.handle(Input::DialFailed(address), now);
    }

    fn on_introduced(&mut self, key: PeerKey, who: Introduction, now: Time) {
        self.introduced.insert(key, who.clone());
        self.swarm.handle(Input::Introduced(key, who), now);
    }

    fn on_message(&mut self, key: PeerKey, message: Message, now: Time) {
        if let Some(conn) = self.touch(key) {
            conn.seen.heard(&message);
            let outcome = conn.session.on_message(message, now);
            self.on_fault(key, outcome, now);
        }
    }

    fn on_chunk(&mut self, key: PeerKey, chunk: Chunk, now: Time) {
        let Some(conn) = self.touch(key) else {
            return;
        };
        if chunk.is_first() {
            match conn.session.on_block(chunk.block, now) {
                Ok(landing) => {
                    conn.landing = landing;
                    conn.seen.answered(chunk.block);
                }
                Err(fault) => return self.on_fault(key, Err(fault), now),
            }
        }
        conn.session.on_bytes(chunk.len, now);
        match conn.landing {
            Landing::Wanted(block) => {
                if let Some(watch) = self.watch.as_mut().filter(|_| !chunk.wrong) {
                    watch.gained(now);
                }
                let done = chunk.offset + chunk.len;
                self.parts.fill(&self.geometry, block, done, key, chunk.wrong);
            }
            Landing::Unwanted => self.tally.unwanted += u64::from(chunk.len),
        }
        if chunk.is_last() {
            self.block_came(key, now);
        }
    }

    fn on_sent(&mut self, key: PeerKey, block: RawBlock, now: Time) {
        let range = self.geometry.range(block.part, block.begin, block.len);
        if let (Some(conn), Some(range)) = (self.touch(key), range) {
            conn.session.on_sent(range, now);
        }
    }

    fn on_clogged(&mut self, key: PeerKey, clogged: bool, _now: Time) {
        if let Some(conn) = self.touch(key) {
            conn.session.on_clogged(clogged);
        }
    }

    fn on_closed(&mut self, key: PeerKey, now: Time) {
        self.introduced.remove(&key);
        self.end(key, Closed::ByThem, now);
    }

    fn on_tick(&mut self, now: Time) {
        self.swarm.tick(now);
        let due = self.conns.iter().filter(|(_, c)| c.session.deadline() <= now);
        for key in due.map(|(&key, _)| key).collect::<Vec<_>>() {
            if let Some(conn) = self.touch(key)
                && let Err(closed) = conn.session.on_deadline(now)
            {
                self.end(key, closed, now);
            }
        }
    }

    fn on_timer(&mut self, timer: Timer, now: Time) {
        match timer {
            Timer::Checked(key, part) => self.checked(key, part),
            Timer::Written(part) => {
                self.written.remove(&part);
                self.swarm.handle(Input::Have(part), now);
            }
            Timer::Report(key) => {
                self.flush(key, now);
                self.asks.push_back(Ask::Ready(key));
            }
        }
    }

    fn next_message(&mut self, key: PeerKey) -> Option<Message> {
        let conn = self.conns.get_mut(&key)?;
        let message = conn.session.next_message()?;
        conn.seen.said(&message);
        Some(message)
    }

    fn next_block(&mut self, key: PeerKey) -> Option<RawBlock> {
        let block = self.touch(key)?.session.next_block()?;
        Some(RawBlock { part: block.part.get(), begin: block.begin, len: block.len })
    }

    fn has_block(&self, key: PeerKey) -> bool {
        self.conns.get(&key).is_some_and(|c| c.session.has_block())
    }

    /// Sessions speak to the swarm and the swarm to the sessions until both are silent; only then is anything sent.
    fn next_ask(&mut self, now: Time) -> Option<Ask> {
        loop {
            if let Some(effect) = self.swarm.next_effect() {
                self.carry_out(effect, now);
            } else if let Some(key) = self.touched.pop() {
                if let Some(lag) = self.lag {
                    let after = Duration::from_micros(self.dice.u64(..lag));
                    self.asks.push_back(Ask::Wake(after, Timer::Report(key)));
                    continue;
                }
                self.flush(key, now);
                self.asks.push_back(Ask::Ready(key));
            } else {
                return self.asks.pop_front();
            }
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn complaint(&mut self, now: Time) -> Option<String> {
        let watch = self.watch.as_mut()?;
        let (have, geometry) = (self.swarm.have(), &self.geometry);
        let checked = self.conns.values().flat_map(|conn| conn.checking.iter().copied());
        let settled: BTreeSet<PartIndex> = checked.chain(self.written.iter().copied()).collect();
        let lacking = |seen: &Seen| seen.offers_any(geometry, |part| !have.has(part) && !settled.contains(&part));
        let offered = self.conns.values().any(|conn| lacking(&conn.seen));
        let arriving = |conn: &Conn| matches!(conn.landing, Landing::Wanted(_));
        let mut asked = !settled.is_empty() || self.conns.values().any(arriving);
        self.conns.values_mut().for_each(|conn| asked |= conn.seen.is_asked());
        let seed = self.conns.values().any(|conn| conn.remote == watch.seed && lacking(&conn.seen));
        watch.look(offered, asked, seed, have.is_full(), now)
    }
}
