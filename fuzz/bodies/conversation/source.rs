//! The choices that the bytes make.

use orchestra::{
    geometry::BLOCK,
    metainfo::bencode::write_bytes,
    wire::{
        extension::{self, handshake::ExtensionHandshake, metadata::Metadata},
        message::{Message, RawBlock},
    },
};

/// Bytes that are used up one after the other. Behind the last one every choice is the first.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A message in its right form; what it says need not make sense.
    pub fn message(&mut self) -> Message {
        match self.below(18) {
            0 => Message::Choke,
            1 => Message::Unchoke,
            2 => Message::Interested,
            3 => Message::NotInterested,
            4 => Message::Have(self.byte().into()),
            5 => {
                let count = self.below(40);
                Message::Bitfield(vec![self.byte(); count])
            }
            6 => Message::Request(self.block()),
            7 => Message::Cancel(self.block()),
            8 => Message::Port(self.byte().into()),
            9 => Message::Suggest(self.byte().into()),
            10 => Message::HaveAll,
            11 => Message::HaveNone,
            12 => Message::Reject(self.block()),
            13 => Message::AllowedFast(self.byte().into()),
            14 => Message::Extended { id: extension::HANDSHAKE, payload: self.hello() },
            15 => {
                let payload = Metadata::Request { piece: self.byte().into() }.encode();
                Message::Extended { id: extension::OUR_METADATA, payload }
            }
            16 => {
                let (id, count) = (self.byte(), self.below(20));
                Message::Extended { id, payload: self.bytes(count).to_vec() }
            }
            _ => Message::KeepAlive,
        }
    }

    fn block(&mut self) -> RawBlock {
        let part = self.one_of(&[0, 0, 1, 2, 3, 255, u32::MAX]);
        let begin = u32::from(self.byte()) * self.one_of(&[BLOCK, 1, u32::MAX >> 8]);
        let len = self.one_of(&[BLOCK, 1, 4 * BLOCK, 1 << 20, (1 << 20) + 1, 0, u32::MAX, BLOCK - 1]);
        RawBlock { part, begin, len }
    }

    fn hello(&mut self) -> Vec<u8> {
        if self.below(8) == 7 {
            let mut odd = Vec::new();
            write_bytes(&mut odd, b"no dictionary");
            return odd;
        }
        let hello = ExtensionHandshake {
            ut_metadata: self.one_of(&[None, Some(0), Some(3)]),
            port: self.one_of(&[None, Some(1), Some(u16::from(self.0.len() as u8) + 1000)]),
            reqq: self.one_of(&[None, Some(0), Some(1), Some(u32::MAX)]),
            max_request: self.one_of(&[None, Some(0), Some(BLOCK), Some(1 << 17), Some(u32::MAX)]),
            upload_only: self.flag(),
            name: self.one_of(&[None, Some("a name")]).map(str::to_owned),
            ..Default::default()
        };
        hello.encode()
    }
}
