//! One conversation, driven as `peer::driver` drives it, with bytes that are counted and not kept.

use std::collections::VecDeque;

use orchestra::{
    geometry::{BlockRange, Geometry, PartIndex},
    peer::{
        Command, Event, PeerKey,
        session::{Fault, Landing, MAX_REQUEST, Session},
    },
    time::Time,
    wire::{
        bitfield::Bitfield,
        decode::{Limits, decode},
        encode::{encode, encode_block_header},
        message::{Frame, Message, RawBlock},
    },
};

use super::{disk::Disk, said::Said};

const LIMITS: Limits = Limits { block: MAX_REQUEST };
/// What waits to be read, at most.
const MOST_WAITING: usize = 1 << 16;

struct Payload {
    /// None: it is thrown away.
    into: Option<BlockRange>,
    len: u32,
    done: u32,
    wrong: bool,
}

pub struct Conn {
    pub key: PeerKey,
    pub session: Session,
    pub said: Said,
    /// It takes at once what we say: only then is it known what we asked for.
    pub prompt: bool,
    /// What the swarm told it and it did not hear yet.
    pub commands: VecDeque<Command>,
    geometry: Geometry,
    inbox: Vec<u8>,
    payload: Option<Payload>,
    /// The bytes of the next block will be wrong.
    next_is_wrong: bool,
    checking: Option<PartIndex>,
    /// Parts of which nothing was missing when they were to be fetched: to be checked.
    whole: VecDeque<PartIndex>,
    unsent: VecDeque<BlockRange>,
}

impl Conn {
    pub fn new(key: PeerKey, session: Session, said: Said, prompt: bool, geometry: Geometry) -> Self {
        Self {
            key,
            session,
            said,
            prompt,
            commands: VecDeque::new(),
            geometry,
            inbox: Vec::new(),
            payload: None,
            next_is_wrong: false,
            checking: None,
            whole: VecDeque::new(),
            unsent: VecDeque::new(),
        }
    }

    /// They say this; it is heard with [`Conn::read`].
    pub fn hear(&mut self, bytes: &[u8]) {
        if self.inbox.len() < MOST_WAITING {
            self.inbox.extend_from_slice(bytes);
        }
    }

    pub fn hear_message(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        self.hear(&bytes);
    }

    /// They begin to answer this request, if they are not in the middle of another block.
    pub fn hear_block(&mut self, raw: &RawBlock, wrong: bool) {
        if self.inbox.is_empty() && self.payload.is_none() {
            let mut bytes = Vec::new();
            encode_block_header(raw, &mut bytes);
            self.next_is_wrong = wrong;
            self.hear(&bytes);
        }
    }

    /// Takes in what came, and up to `more` bytes of a payload.
    pub fn read(&mut self, more: u32, have: &Bitfield, disk: &mut Disk, now: Time) -> Result<(), Fault> {
        let mut more = more;
        while self.checking.is_none() && self.session.takes_input() {
            if self.prompt {
                self.say(usize::MAX, 0, have, now);
            }
            if let Some(payload) = &self.payload {
                let left = payload.len - payload.done;
                let here = (self.inbox.len() as u32).min(left);
                let count = if here > 0 { here } else { more.min(left) };
                if count == 0 {
                    return Ok(());
                }
                self.inbox.drain(..here as usize);
                more -= if here > 0 { 0 } else { count };
                self.came(count, disk, now);
                continue;
            }
            let decoded = decode(&self.inbox, &LIMITS).map_err(|error| Fault(error.to_string()))?;
            let Some((frame, taken)) = decoded else {
                return Ok(());
            };
            self.inbox.drain(..taken);
            self.frame(frame, disk, now)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame, disk: &mut Disk, now: Time) -> Result<(), Fault> {
        let raw = match frame {
            Frame::Message(message) => {
                self.said.they_said(&message);
                return self.session.on_message(message, now);
            }
            Frame::Block(raw) => raw,
        };
        let was_asked = self.said.has_asked(raw);
        let landing = self.session.on_block(raw, now);
        if self.prompt {
            assert!(was_asked || landing.is_err(), "a block that nobody asked for is taken");
            let must_take = was_asked && self.said.owes_answers();
            assert!(!must_take || landing.is_ok(), "a block that was asked for is not taken: {landing:?}");
        }
        self.said.answered(raw);
        let into = match landing? {
            Landing::Wanted(block) if disk.land(block.part, self.key) => Some(block),
            Landing::Wanted(block) => {
                self.session.command(Command::Release(block.part), now);
                None
            }
            Landing::Unwanted => None,
        };
        if let Some(block) = into {
            assert_eq!((block.part.get(), block.begin, block.len), (raw.part, raw.begin, raw.len));
        }
        self.payload = Some(Payload { into, len: raw.len, done: 0, wrong: self.next_is_wrong });
        Ok(())
    }

    fn came(&mut self, count: u32, disk: &mut Disk, now: Time) {
        self.session.on_bytes(count, now);
        let Some(payload) = &mut self.payload else {
            return;
        };
        payload.done += count;
        if payload.done < payload.len {
            return;
        }
        if let Some(block) = payload.into {
            disk.came(block, payload.done, self.key, payload.wrong);
        }
        let was_wanted = payload.into.is_some();
        self.payload = None;
        if let Some(part) = self.session.on_block_end(now) {
            assert!(was_wanted, "whole by a block that was thrown away");
            disk.hand_in(part, self.key);
            self.checking = Some(part);
        }
    }

    /// The disk has found out whether the part that is whole is right.
    pub fn judge(&mut self, disk: &mut Disk) {
        if let Some(part) = self.checking.take() {
            self.session.on_verdict(disk.judge(part, self.key));
        }
        self.check_next(disk);
    }

    fn check_next(&mut self, disk: &mut Disk) {
        if self.checking.is_none()
            && let Some(part) = self.whole.pop_front()
        {
            disk.hand_in(part, self.key);
            self.checking = Some(part);
        }
    }

    /// What happened, for the swarm. Parts that are free again are put away first.
    pub fn report(&mut self, disk: &mut Disk) -> Vec<Event> {
        let events: Vec<_> = std::iter::from_fn(|| self.session.next_event()).collect();
        for event in &events {
            if let Event::Released { part, .. } = event {
                self.put_away(*part, disk);
            }
        }
        events
    }

    fn put_away(&mut self, part: PartIndex, disk: &mut Disk) {
        if let Some(payload) = &mut self.payload
            && let Some(block) = payload.into.take_if(|block| block.part == part)
        {
            disk.came(block, payload.done, self.key, payload.wrong);
        }
        disk.park(part, self.key);
    }

    /// The conversation is over: its last words.
    pub fn finish(&mut self, disk: &mut Disk) -> Vec<Event> {
        while self.checking.is_some() {
            self.judge(disk);
        }
        let last = self.report(disk);
        let part = self.payload.as_ref().and_then(|payload| payload.into).map(|block| block.part);
        if let Some(part) = part {
            self.put_away(part, disk);
        }
        disk.park_all(self.key);
        last
    }

    pub fn obey(&mut self, command: Command, disk: &mut Disk, now: Time) {
        match command {
            Command::Fetch(part) => {
                let missing = disk.take_up(part, self.key);
                self.whole.extend(self.session.fetch(part, &missing, now));
                self.check_next(disk);
            }
            command => self.session.command(command, now),
        }
    }

    /// The socket takes so many messages (one at least), and so many blocks when there are no more messages.
    pub fn say(&mut self, messages: usize, blocks: usize, have: &Bitfield, now: Time) {
        let mut room = messages;
        while let Some(message) = self.session.next_message() {
            self.said.we_said(&message, have, &self.geometry);
            self.session.on_said(now);
            room = room.saturating_sub(1);
            if room == 0 {
                return;
            }
        }
        for _ in 0..blocks {
            let had_one = self.session.has_block();
            let block = self.session.next_block();
            assert_eq!(had_one, block.is_some());
            let Some(block) = block else {
                break;
            };
            self.said.we_send(block, have);
            self.unsent.push_back(block);
        }
    }

    /// So many blocks are on their way to the last byte.
    pub fn send(&mut self, count: usize, now: Time) {
        for block in self.unsent.drain(..count.min(self.unsent.len())) {
            self.session.on_sent(block, now);
        }
    }
}
