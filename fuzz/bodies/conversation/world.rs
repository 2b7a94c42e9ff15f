//! A swarm with its conversations and its disk, and what can happen to them.

use core::net::SocketAddr;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use orchestra::{
    geometry::{BLOCK, Geometry, PartIndex},
    peer::{
        Closed, Command, Event, Introduction, PeerKey,
        session::{Session, Setup, Show},
    },
    swarm::{Config, Effect, Input, MOST_GUESTS, Swarm},
    time::Time,
    wire::{
        bitfield::Bitfield,
        handshake::PeerId,
        message::{Message, RawBlock},
    },
};

use super::{conn::Conn, disk::Disk, said::Said, source::Source};

/// Size and part size: small and odd, one byte a part, more blocks than a queue holds, many parts, none.
const GEOMETRIES: [(u64, u64); 8] = [
    (3 * 16_384 + 7, 16_384),
    (9, 1),
    (100_000, 40_000),
    (8 << 20, 4 << 20),
    (300 * 16_384, 16_384),
    (0, 16_384),
    (5, 16_384),
    (9 << 20, 9 << 20),
];
const MAX_PEERS: usize = 3;
const MAX_DIALLED: usize = 2;
/// Swarm and sessions have said all that follows from one thing after so many rounds.
const MOST_ROUNDS: usize = 1000;

pub struct World {
    geometry: Geometry,
    info: Arc<[u8]>,
    swarm: Swarm,
    disk: Disk,
    checked: bool,
    now: Time,
    conns: BTreeMap<PeerKey, Conn>,
    next_key: u32,
    introduced: BTreeMap<PeerKey, (Introduction, bool)>,
    /// Whom the swarm asked for each part that it waits for.
    given: BTreeMap<PartIndex, PeerKey>,
    dialled: Vec<SocketAddr>,
    /// What conversations told the swarm and it did not hear yet.
    mail: BTreeMap<PeerKey, VecDeque<Event>>,
    /// Commands and events get through when the bytes say so, not at once.
    slow: bool,
}

impl World {
    pub fn new(source: &mut Source) -> Self {
        let (size, part_size) = source.one_of(&GEOMETRIES);
        let geometry = Geometry::new(size, part_size).expect("a sound geometry");
        let have = match source.below(4) {
            0 | 1 => Bitfield::none(&geometry),
            2 => Bitfield::all(&geometry),
            _ => {
                let mut some = Bitfield::none(&geometry);
                for part in geometry.all_parts().step_by(2) {
                    some.insert(part);
                }
                some
            }
        };
        let checked = source.below(4) != 3;
        let config = Config {
            geometry,
            id: PeerId([0x80; 20]),
            copy: None,
            have: have.clone(),
            checked,
            max_peers: MAX_PEERS,
            max_dialled: MAX_DIALLED,
            seed: source.byte().into(),
        };
        Self {
            geometry,
            info: vec![1; 40_000].into(),
            disk: Disk::new(geometry, &have),
            swarm: Swarm::new(config),
            checked,
            now: Time::ZERO,
            conns: BTreeMap::new(),
            next_key: 0,
            introduced: BTreeMap::new(),
            given: BTreeMap::new(),
            dialled: Vec::new(),
            mail: BTreeMap::new(),
            slow: source.below(3) == 2,
        }
    }

    /// The next thing that happens.
    pub fn step(&mut self, source: &mut Source) {
        match source.below(16) {
            0 => self.join(source),
            1 => self.advance(Time::from_millis(u64::from(source.byte()) * source.one_of(&[1, 100, 2000]))),
            2 => self.on_disk(source),
            3 => self.address(source),
            4 => self.deliver(source),
            what => self.converse(what, source),
        }
    }

    fn join(&mut self, source: &mut Source) {
        let key = PeerKey(self.next_key);
        self.next_key += 1;
        let id = source.byte();
        let dialled = if source.flag() { self.dialled.pop() } else { None };
        let prompt = source.below(4) != 3;
        let introduction = Introduction {
            id: PeerId([id; 20]),
            address: dialled.unwrap_or(SocketAddr::from(([10, 0, 0, id % 4], 50_000))),
            dialled: dialled.is_some(),
            fast: source.flag(),
            extended: source.flag(),
        };
        self.introduced.insert(key, (introduction.clone(), prompt));
        self.swarm.handle(Input::Introduced(key, introduction), self.now);
    }

    fn advance(&mut self, by: Time) {
        self.now += by;
        self.swarm.tick(self.now);
        let due: Vec<_> =
            self.conns.iter().filter(|(_, c)| c.session.deadline() <= self.now).map(|(k, _)| *k).collect();
        for key in due {
            self.with(key, |conn, _, now| conn.session.on_deadline(now));
        }
    }

    fn on_disk(&mut self, source: &mut Source) {
        match source.below(3) {
            0 | 1 if self.checked => {
                if let Some(part) = self.disk.write() {
                    self.swarm.handle(Input::Have(part), self.now);
                }
            }
            0 => {
                if let Some(part) = self.disk.find() {
                    self.swarm.handle(Input::Have(part), self.now);
                }
            }
            _ => {
                self.checked = true;
                self.swarm.handle(Input::Checked, self.now);
            }
        }
    }

    fn address(&mut self, source: &mut Source) {
        if source.flag() {
            if let Some(address) = self.dialled.pop() {
                self.swarm.handle(Input::DialFailed(address), self.now);
            }
            return;
        }
        let count = source.below(5);
        let address = |_| SocketAddr::from(([10, 0, 1, source.byte() % 8], source.byte().into()));
        let addresses = (0..count).map(address).collect();
        self.swarm.handle(Input::Endpoints(addresses), self.now);
    }

    /// One command or one event of somebody gets through.
    fn deliver(&mut self, source: &mut Source) {
        let keys: Vec<_> = self.conns.keys().chain(self.mail.keys()).copied().collect();
        let Some(&key) = keys.get(source.below(keys.len())) else {
            return;
        };
        if source.flag() {
            self.hear_event(key)
        } else {
            self.hear_command(key)
        };
    }

    fn converse(&mut self, what: usize, source: &mut Source) {
        let keys: Vec<_> = self.conns.keys().copied().collect();
        let Some(&key) = keys.get(source.below(keys.len())) else {
            return;
        };
        let have = self.swarm.have().clone();
        let read = |world: &mut Self, more: u32, hear: &mut dyn FnMut(&mut Conn)| {
            world.with(key, |conn, disk, now| {
                hear(conn);
                conn.read(more, &have, disk, now).map_err(|fault| Closed::Fault(fault.0))
            });
        };
        match what {
            5 => {
                let count = usize::from(source.byte());
                read(self, 0, &mut |conn| conn.hear(source.bytes(count)));
            }
            6 | 7 => read(self, 0, &mut |conn| conn.hear_message(&source.message())),
            8 => read(self, 0, &mut |conn| open(conn, source)),
            9 | 10 => {
                let (more, wrong) = (source.one_of(&[u32::MAX, 0, 1, BLOCK, BLOCK + 1]), source.below(8) == 7);
                read(self, more, &mut |conn| {
                    if let Some(raw) = pick(&conn.said.asked(), source) {
                        conn.hear_block(&raw, wrong);
                    }
                });
            }
            11 => self.answer_all(key),
            12 => read(self, 0, &mut |conn| {
                if let Some(raw) = pick(&conn.said.asked(), source) {
                    conn.hear_message(&Message::Reject(raw));
                }
            }),
            13 => self.with(key, |conn, _, now| {
                conn.say(usize::from(source.byte()) * 64, source.below(8), &have, now);
                conn.send(source.below(8), now);
                if source.below(4) == 3 {
                    conn.session.on_clogged(source.flag());
                }
                Ok(())
            }),
            14 => {
                self.with(key, |conn, disk, _| {
                    conn.judge(disk);
                    Ok(())
                });
                read(self, u32::from(source.byte()) * 1000, &mut |_| {});
            }
            _ => self.with(key, |_, _, _| match source.below(3) {
                0 => Err(Closed::ByThem),
                1 => Err(Closed::Broken("reset".to_owned())),
                _ => Ok(()),
            }),
        }
    }

    /// It gives all that it was asked for, in order, and the disk looks at once at what is whole.
    fn answer_all(&mut self, key: PeerKey) {
        let have = self.swarm.have().clone();
        let asked = self.conns.get(&key).map(|conn| conn.said.asked());
        for raw in asked.into_iter().flatten() {
            self.with(key, |conn, disk, now| {
                conn.hear_block(&raw, false);
                let outcome = conn.read(u32::MAX, &have, disk, now).map_err(|fault| Closed::Fault(fault.0));
                conn.judge(disk);
                outcome
            });
        }
    }

    /// Does this to one conversation, and ends it where that says so.
    fn with(&mut self, key: PeerKey, act: impl FnOnce(&mut Conn, &mut Disk, Time) -> Result<(), Closed>) {
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        let outcome = act(conn, &mut self.disk, self.now);
        let mut events = conn.report(&mut self.disk);
        if let Err(why) = outcome {
            events.extend(conn.finish(&mut self.disk));
            events.push(Event::Closed(why));
            self.conns.remove(&key);
        }
        if !events.is_empty() {
            self.mail.entry(key).or_default().extend(events);
        }
    }

    fn hear_event(&mut self, key: PeerKey) -> bool {
        let Some(event) = self.mail.get_mut(&key).and_then(VecDeque::pop_front) else {
            return false;
        };
        if self.mail[&key].is_empty() {
            self.mail.remove(&key);
        }
        match &event {
            Event::Right(part) | Event::Wrong { part, .. } | Event::Released { part, .. }
                if self.given.get(part) == Some(&key) =>
            {
                self.given.remove(part);
            }
            Event::Closed(_) => self.given.retain(|_, by| *by != key),
            _ => {}
        }
        self.swarm.handle(Input::Peer(key, event), self.now);
        self.carry_out();
        true
    }

    fn hear_command(&mut self, key: PeerKey) -> bool {
        let Some(command) = self.conns.get_mut(&key).and_then(|conn| conn.commands.pop_front()) else {
            return false;
        };
        self.with(key, |conn, disk, now| match command {
            Command::Close(why) => Err(Closed::ByUs(why)),
            command => {
                conn.obey(command, disk, now);
                Ok(())
            }
        });
        true
    }

    /// What the swarm wants done.
    fn carry_out(&mut self) {
        while let Some(effect) = self.swarm.next_effect() {
            match effect {
                Effect::Dial(address) => {
                    assert!(!self.dialled.contains(&address), "dialled twice at once: {address}");
                    self.dialled.push(address);
                }
                Effect::Admit(key, show) => self.admit(key, show),
                Effect::Refuse(key, _) => assert!(self.introduced.remove(&key).is_some(), "it was answered already"),
                Effect::Tell(key, command) => self.tell(key, command),
                Effect::Mirror(..) | Effect::MirrorFailed(..) => unreachable!("there are no mirrors"),
                Effect::Complete => assert!(self.swarm.have().is_full()),
            }
        }
    }

    fn admit(&mut self, key: PeerKey, show: Show) {
        let (remote, prompt) = self.introduced.remove(&key).expect("it was introduced, and not answered yet");
        let said = Said::new(remote.fast, remote.extended);
        let setup = Setup {
            geometry: self.geometry,
            info: self.info.clone(),
            name: "ours".to_owned(),
            copy: None,
            machine: None,
            listen_port: 9998,
            remote,
            show,
        };
        let session = Session::new(setup, self.now);
        self.conns.insert(key, Conn::new(key, session, said, prompt, self.geometry));
    }

    fn tell(&mut self, key: PeerKey, command: Command) {
        match &command {
            Command::Fetch(part) => {
                assert!(self.checked, "fetched before it is known what is there");
                assert!(!self.swarm.have().has(*part) && !self.disk.is_present(*part), "{part:?} is there");
                let other = self.given.insert(*part, key);
                assert_eq!(other, None, "{part:?} is asked of two");
            }
            Command::Close(_) => self.given.retain(|_, by| *by != key),
            _ => {}
        }
        if let Some(conn) = self.conns.get_mut(&key) {
            conn.commands.push_back(command);
        }
    }

    /// All that follows from what happened: at once, or (where things are slow) what needs no other side.
    pub fn settle(&mut self) {
        for _ in 0..MOST_ROUNDS {
            self.carry_out();
            let mut busy = false;
            let keys: Vec<_> = self.conns.keys().copied().collect();
            for key in keys {
                while !self.slow && self.hear_command(key) {
                    busy = true;
                }
                let have = self.swarm.have().clone();
                self.with(key, |conn, _, now| {
                    if conn.prompt {
                        conn.say(usize::MAX, 0, &have, now);
                    }
                    Ok(())
                });
            }
            let keys: Vec<_> = self.mail.keys().copied().collect();
            for key in keys {
                while !self.slow && self.hear_event(key) {
                    busy = true;
                }
            }
            if !busy {
                return self.check();
            }
        }
        panic!("swarm and sessions never come to rest");
    }

    fn check(&self) {
        assert!(self.introduced.is_empty(), "somebody waits for an answer");
        assert!(self.dialled.len() <= MAX_DIALLED);
        let have = self.swarm.have();
        assert!(have.ones(&self.geometry).all(|part| self.disk.is_present(part)));
        let snapshot = self.swarm.snapshot(self.now);
        assert_eq!(snapshot.parts_done, have.count());
        assert!(snapshot.bytes_done <= snapshot.bytes);
        assert!(snapshot.rate_down.is_finite() && snapshot.rate_up.is_finite());
        assert!(snapshot.members <= MAX_PEERS + MOST_GUESTS);
        if !self.slow {
            assert_eq!(snapshot.members, self.conns.len());
        }
    }

    /// Everybody leaves; then nothing is asked of anybody, and whatever happened, one honest seed is enough.
    pub fn end(&mut self) {
        self.slow = false;
        self.settle();
        let keys: Vec<_> = self.conns.keys().copied().collect();
        for key in keys {
            self.with(key, |_, _, _| Err(Closed::ByThem));
        }
        self.settle();
        assert!(self.given.is_empty() && self.conns.is_empty(), "somebody is still waited for");
        self.write_all();
        if !self.checked {
            self.checked = true;
            self.swarm.handle(Input::Checked, self.now);
        }
        self.fetch_the_rest();
        assert!(self.swarm.have().is_full(), "{:?} with an honest seed", self.swarm.have());
    }

    fn write_all(&mut self) {
        while let Some(part) = self.disk.write() {
            self.swarm.handle(Input::Have(part), self.now);
        }
    }

    fn fetch_the_rest(&mut self) {
        let key = PeerKey(self.next_key);
        let address = SocketAddr::from(([10, 9, 9, 9], 9998));
        let honest =
            Introduction { id: PeerId(*b"-XX0000-an-honest-1-"), address, dialled: false, fast: true, extended: true };
        self.introduced.insert(key, (honest.clone(), true));
        self.swarm.handle(Input::Introduced(key, honest), self.now);
        self.settle();
        let have = self.swarm.have().clone();
        self.with(key, |conn, disk, now| {
            conn.hear_message(&Message::HaveAll);
            conn.hear_message(&Message::Unchoke);
            conn.read(0, &have, disk, now).map_err(|fault| Closed::Fault(fault.0))
        });
        for _ in 0..self.geometry.parts() + 10 {
            self.settle();
            if self.swarm.have().is_full() {
                break;
            }
            self.answer_all(key);
            self.write_all();
            self.advance(Time::from_millis(100));
        }
    }
}

fn pick(asked: &[RawBlock], source: &mut Source) -> Option<RawBlock> {
    asked.get(source.below(asked.len())).copied()
}

/// What a seed says first.
fn open(conn: &mut Conn, source: &mut Source) {
    if source.flag() {
        let hello = orchestra::wire::extension::handshake::ExtensionHandshake {
            max_request: Some(source.one_of(&[BLOCK, 1 << 17, 1 << 20])),
            ..Default::default()
        };
        conn.hear_message(&Message::Extended { id: 0, payload: hello.encode() });
    }
    conn.hear_message(&Message::HaveAll);
    conn.hear_message(&Message::Unchoke);
    conn.hear_message(&Message::Interested);
}
