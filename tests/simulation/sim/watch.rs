//! What every member of ours must always see: it gets on while somebody has what it lacks.
//!
//! It looks at what goes over the wire, not at what swarm and session believe.

use std::{collections::BTreeSet, time::Duration};

use orchestra::{
    geometry::{Geometry, PartIndex},
    time::Time,
    wire::{
        bitfield::Bitfield,
        handshake::PeerId,
        message::{Message, RawBlock},
    },
};

/// While somebody who does not choke us offers what is missing, something is asked for within this time. (A request counts
/// that waits for a block of our own to be sent, but not a part that the swarm believes to be on its way.)
const ASKED_WITHIN: Duration = Duration::from_millis(1000);
/// While an honest seed offers what is missing, some of it comes within this time, whoever else promised it.
const COMES_WITHIN: Duration = Duration::from_secs(30);
/// Who looks so seldom was stopped itself.
const LOOKS: Duration = Duration::from_millis(300);

/// What was said on one connection.
pub struct Seen {
    geometry: Geometry,
    has: Bitfield,
    chokes: bool,
    /// Requests without an answer that were not taken back.
    asked: BTreeSet<(u32, u32, u32)>,
    /// Those that were taken back and are not answered yet. A refusal answers these first.
    taken_back: Vec<(u32, u32, u32)>,
    /// A request waits to be sent: a block of our own goes before, which takes long on a slow uplink.
    waits: bool,
    /// Something was asked for since this was looked at.
    has_asked: bool,
}

fn block(raw: &RawBlock) -> (u32, u32, u32) {
    (raw.part, raw.begin, raw.len)
}

impl Seen {
    pub fn new(geometry: &Geometry) -> Self {
        Self {
            geometry: *geometry,
            has: Bitfield::none(geometry),
            chokes: true,
            asked: BTreeSet::new(),
            taken_back: Vec::new(),
            waits: false,
            has_asked: false,
        }
    }

    pub fn heard(&mut self, message: &Message) {
        match message {
            Message::HaveAll => self.has = Bitfield::all(&self.geometry),
            Message::HaveNone => self.has = Bitfield::none(&self.geometry),
            Message::Bitfield(bytes) => {
                self.has = Bitfield::from_bytes(bytes, &self.geometry).expect("a sound bitfield");
            }
            Message::Have(part) => {
                self.has.insert(self.geometry.part(*part).expect("a part that there is"));
            }
            Message::Choke => {
                self.chokes = true;
                self.waits = false;
                self.asked.clear();
            }
            Message::Unchoke => self.chokes = false,
            Message::Reject(raw) if self.settles(raw) => {}
            Message::Reject(raw) if self.asked.remove(&block(raw)) => {
                // It does not offer that after all.
                self.has.remove(self.geometry.part(raw.part).expect("a part that we asked for"));
            }
            _ => {}
        }
    }

    pub fn said(&mut self, message: &Message) {
        match message {
            Message::Request(raw) => {
                self.asked.insert(block(raw));
                self.has_asked = true;
                self.waits = false;
            }
            Message::Cancel(raw) if self.asked.remove(&block(raw)) => self.taken_back.push(block(raw)),
            _ => {}
        }
    }

    /// A block begins to come.
    pub fn answered(&mut self, raw: RawBlock) {
        if !self.asked.remove(&block(&raw)) {
            self.settles(&raw);
        }
    }

    fn settles(&mut self, raw: &RawBlock) -> bool {
        let at = self.taken_back.iter().position(|taken_back| *taken_back == block(raw));
        at.map(|at| self.taken_back.swap_remove(at)).is_some()
    }

    /// Something is asked of it, or was since the last look.
    pub fn is_asked(&mut self) -> bool {
        std::mem::take(&mut self.has_asked) || self.waits || !self.asked.is_empty()
    }

    /// It is to be asked for something, or is not after all.
    pub fn will_be_asked(&mut self, will: bool) {
        self.waits = will && !self.chokes;
    }

    /// It does not choke us and has a part for which this is true.
    pub fn offers_any(&self, geometry: &Geometry, lacking: impl Fn(PartIndex) -> bool) -> bool {
        !self.chokes && self.has.ones(geometry).any(lacking)
    }
}

/// The watch over one member.
pub struct Watch {
    /// The seed that is honest and always there.
    pub seed: PeerId,
    idle_since: Option<Time>,
    seed_since: Option<Time>,
    /// When bytes last came that were of use.
    gained: Time,
    looked: Time,
}

impl Watch {
    pub fn new(seed: PeerId) -> Self {
        Self { seed, idle_since: None, seed_since: None, gained: Time::ZERO, looked: Time::ZERO }
    }

    pub fn gained(&mut self, now: Time) {
        self.gained = now;
    }

    /// `offered`: somebody offers what is missing; `asked`: something is asked for, or on its way; `seed`: the honest seed
    /// offers what is missing. Returns what should not be.
    pub fn look(&mut self, offered: bool, asked: bool, seed: bool, whole: bool, now: Time) -> Option<String> {
        if whole || now > self.looked + LOOKS {
            (self.idle_since, self.seed_since) = (None, None);
        }
        self.looked = now;
        let since = |start: &mut Option<Time>, holds: bool| {
            *start = if holds && !whole { start.or(Some(now)) } else { None };
            *start
        };
        let idle = since(&mut self.idle_since, offered && !asked);
        if idle.is_some_and(|since| now > since + ASKED_WITHIN) {
            return Some("what is missing is offered, and nothing is asked for".to_owned());
        }
        let seed = since(&mut self.seed_since, seed);
        if seed.is_some_and(|since| now > since.max(self.gained) + COMES_WITHIN) {
            return Some("an honest seed offers what is missing, and nothing comes".to_owned());
        }
        None
    }
}
