//! What both sides of one conversation said so far, and the rules that ours keeps.

use std::collections::{BTreeSet, HashMap};

use orchestra::{
    geometry::{BlockRange, Geometry},
    peer::session::MAX_REQUEST,
    wire::{
        bitfield::Bitfield,
        message::{Message, RawBlock},
    },
};

/// Requests of ours that may be without an answer: a full queue, those that were taken back, and a full queue that has
/// just been taken back.
const MOST_UNANSWERED: u32 = 500 + 4096 + 500;

#[derive(Default)]
pub struct Said {
    fast: bool,
    extended: bool,
    /// Our requests without an answer, and how often each was put.
    asked: HashMap<RawBlock, u32>,
    unanswered: u32,
    /// Their requests without an answer.
    theirs: HashMap<RawBlock, u32>,
    shown: BTreeSet<u32>,
    /// We said what we have.
    opened: bool,
}

impl Said {
    pub fn new(fast: bool, extended: bool) -> Self {
        Self { fast, extended, ..Self::default() }
    }

    pub fn they_said(&mut self, message: &Message) {
        match message {
            Message::Request(raw) => *self.theirs.entry(*raw).or_default() += 1,
            Message::Reject(raw) => drop(self.answered(*raw)),
            _ => {}
        }
    }

    /// They answered a request. Returns whether we had asked.
    pub fn answered(&mut self, raw: RawBlock) -> bool {
        let Some(count) = self.asked.get_mut(&raw) else {
            return false;
        };
        *count -= 1;
        self.unanswered -= 1;
        if *count == 0 {
            self.asked.remove(&raw);
        }
        true
    }

    pub fn has_asked(&self, raw: RawBlock) -> bool {
        self.asked.contains_key(&raw)
    }

    /// Whether every request has to be answered: without the fast extension a choke makes them void (BEP 6).
    pub fn owes_answers(&self) -> bool {
        self.fast
    }

    /// Our requests without an answer, in a fixed order.
    pub fn asked(&self) -> Vec<RawBlock> {
        let mut asked: Vec<_> = self.asked.keys().copied().collect();
        asked.sort_by_key(|raw| (raw.part, raw.begin, raw.len));
        asked
    }

    pub fn we_said(&mut self, message: &Message, have: &Bitfield, geometry: &Geometry) {
        match message {
            Message::Request(raw) => self.we_asked(*raw, geometry),
            Message::Cancel(raw) => assert!(geometry.range(raw.part, raw.begin, raw.len).is_some()),
            Message::Reject(raw) => {
                assert!(self.fast, "a refusal to who does not know them");
                self.we_answered(*raw);
            }
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => self.we_opened(message, have, geometry),
            Message::Have(part) => {
                let part = geometry.part(*part).expect("a part that there is");
                assert!(have.has(part), "we say that we have part {part:?}");
                assert!(self.shown.insert(part.get()), "we say twice that we have part {part:?}");
                self.opened = true;
            }
            Message::Extended { .. } => assert!(self.extended, "an extension to who knows none"),
            Message::KeepAlive | Message::Unchoke | Message::Interested | Message::NotInterested => {}
            Message::Choke | Message::Port(_) | Message::Suggest(_) | Message::AllowedFast(_) => {
                panic!("we never say {message:?}")
            }
            Message::Unknown { .. } => panic!("a message without a form"),
        }
    }

    fn we_asked(&mut self, raw: RawBlock, geometry: &Geometry) {
        assert!(geometry.range(raw.part, raw.begin, raw.len).is_some(), "we ask for what there is not: {raw:?}");
        assert!(raw.len <= MAX_REQUEST);
        *self.asked.entry(raw).or_default() += 1;
        self.unanswered += 1;
        assert!(!self.fast || self.unanswered <= MOST_UNANSWERED, "we wait for more answers than we can remember");
    }

    fn we_opened(&mut self, message: &Message, have: &Bitfield, geometry: &Geometry) {
        assert!(!self.opened, "what we have is said first, and once");
        self.opened = true;
        let bits = match message {
            Message::Bitfield(bytes) => Bitfield::from_bytes(bytes, geometry).expect("our own bitfield"),
            Message::HaveAll => Bitfield::all(geometry),
            _ => Bitfield::none(geometry),
        };
        assert!(self.fast || matches!(message, Message::Bitfield(_)), "BEP 6 to who does not know it");
        assert!(bits.ones(geometry).all(|part| have.has(part)), "we say that we have what we lack");
        self.shown.extend(bits.ones(geometry).map(|part| part.get()));
    }

    /// A block of ours is on its way.
    pub fn we_send(&mut self, block: BlockRange, have: &Bitfield) {
        assert!(have.has(block.part), "we send of a part that we lack");
        assert!(self.shown.contains(&block.part.get()), "we send of a part that we did not show");
        self.we_answered(RawBlock { part: block.part.get(), begin: block.begin, len: block.len });
    }

    fn we_answered(&mut self, raw: RawBlock) {
        let count = self.theirs.get_mut(&raw).filter(|count| **count > 0);
        *count.unwrap_or_else(|| panic!("a second answer, or one to nothing: {raw:?}")) -= 1;
    }
}
