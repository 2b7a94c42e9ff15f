//! One conversation as a state machine: messages and the time in; messages, events and the next deadline out.
//!
//! It owns no socket, no clock and no block's bytes. Whoever drives it
//! - hands it every decoded message ([`Session::on_message`]) and the header of every block ([`Session::on_block`]),
//!   then reads that block's payload to where [`Landing`] says, telling of bytes as they come ([`Session::on_bytes`])
//!   and of the end ([`Session::on_block_end`]);
//! - writes what [`Session::next_message`] and, when there is none, [`Session::next_block`] give;
//! - carries [`Session::next_event`] to the swarm and the swarm's commands back;
//! - calls [`Session::on_deadline`] when [`Session::deadline`] has come.

mod extensions;
mod hear;

use std::{collections::VecDeque, ops::Range, sync::Arc};

use extensions::First;

use crate::{
    geometry::{BLOCK, BlockRange, Geometry, PartIndex},
    peer::{
        Closed, Command, Event, Hello, Introduction,
        liveness::{BUSY_KEEP_ALIVE, Duty, Liveness, MAX_PROMISE, Silence},
        patience::Patience,
        rates::BusyRate,
        requests::Requests,
        uploads,
    },
    time::Time,
    wire::{
        bitfield::Bitfield,
        copy_id::CopyId,
        machine_id::MachineId,
        message::{Message, RawBlock},
    },
};

/// Blocks of this size are asked for between our own members, at most.
pub const MAX_REQUEST: u32 = 1 << 20;
/// Requests that we put to a member that says nothing of its queue, and to one that boasts.
const QUEUE: (usize, usize) = (250, 500);
/// A request takes about this long to answer at the present rate, so that what is said between blocks is not held up.
const REQUEST_TIME: f64 = 0.010;
/// While no rate is known.
const FIRST_REQUEST: u32 = 4 * BLOCK;
/// Pieces of metadata that wait to be sent at most; more are refused.
const MAX_METADATA_QUEUE: usize = 64;
/// Messages that wait to be sent; beyond that nothing more is read from this member.
const MAX_BACKLOG: usize = 4 * uploads::MAX_QUEUE;
/// Events that wait to be told at most: nothing more is read before they are.
const MAX_EVENTS: usize = 256;

/// What a new conversation says that we have.
#[derive(Clone, Debug, PartialEq)]
pub enum Show {
    Nothing,
    Everything,
    These(Arc<Bitfield>),
}

pub struct Setup {
    pub geometry: Geometry,
    /// The raw info dictionary, to serve to who came by a magnet link (BEP 9); empty when there is none to give.
    pub info: Arc<[u8]>,
    /// How people see this member.
    pub name: String,
    /// Which copy it holds, if others are to know.
    pub copy: Option<CopyId>,
    /// The machine that this member runs on, if others are to know.
    pub machine: Option<MachineId>,
    pub listen_port: u16,
    pub remote: Introduction,
    pub show: Show,
}

/// It broke the protocol: close the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// Where the payload of a block goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    Wanted(BlockRange),
    /// Asked for once and not wanted any more: read it and throw it away.
    Unwanted,
}

/// A block whose payload is coming.
#[derive(Clone, Copy)]
struct Arriving {
    part: PartIndex,
    wanted: bool,
}

pub struct Session {
    geometry: Geometry,
    info: Arc<[u8]>,
    remote: Introduction,
    /// Parts that it was told of: no other is served.
    shown: Shown,
    their_metadata: Option<u8>,
    their_offer: Option<u8>,
    their_pex: Option<u8>,
    their_queue: usize,
    /// Longest request in either direction.
    max_request: u32,
    choked: bool,
    /// It said what it has.
    said_what_it_has: bool,
    /// How often it may still say so at once, with a bitfield or the like.
    statements_left: u32,
    /// A bitfield of its waits to be told: nothing more is read before it is, so that no more than one takes up memory.
    bitfield_waits: bool,
    /// How often it may still say `have` before that is called a flood.
    haves_left: u32,
    patience: Patience,
    /// With being told of other members.
    hearsay: Patience,
    requests: Requests,
    arriving: Option<Arriving>,
    uploads: uploads::Uploads,
    /// The part that it asked for last.
    last_wanted: Option<PartIndex>,
    rate: BusyRate,
    /// Bytes that came of each part since the swarm was last told, the last of them being that which is coming.
    received: Vec<(PartIndex, u32)>,
    /// Bytes that came meanwhile and that nobody waits for any more.
    late: u32,
    uploaded: u32,
    messages: VecDeque<Message>,
    metadata_waiting: usize,
    events: VecDeque<Event>,
    liveness: Liveness,
    /// It keeps alive often while requests are outstanding, as it said.
    prompt: bool,
    /// A block of its is coming, wanted or not.
    in_block: bool,
}

enum Shown {
    All,
    These(Bitfield),
}

impl Session {
    /// Says at once all that opens a conversation: extension handshake, what we have, unchoke.
    pub fn new(setup: Setup, now: Time) -> Self {
        let Setup { geometry, info, name, copy, machine, listen_port, remote, show } = setup;
        let mut session = Self {
            shown: Shown::These(Bitfield::none(&geometry)),
            haves_left: geometry.parts(),
            geometry,
            info,
            their_metadata: None,
            their_offer: None,
            their_pex: None,
            their_queue: QUEUE.0,
            max_request: BLOCK,
            choked: true,
            said_what_it_has: false,
            statements_left: hear::statements(&geometry),
            bitfield_waits: false,
            patience: Patience::with_idle_talk(),
            hearsay: Patience::with_hearsay(),
            requests: Requests::default(),
            arriving: None,
            uploads: uploads::Uploads::default(),
            last_wanted: None,
            rate: BusyRate::default(),
            received: Vec::new(),
            late: 0,
            uploaded: 0,
            messages: VecDeque::new(),
            metadata_waiting: 0,
            events: VecDeque::new(),
            liveness: Liveness::new(now),
            prompt: false,
            in_block: false,
            remote,
        };
        if session.remote.extended {
            let complete = show == Show::Everything;
            session.say_hello(Some(First { port: listen_port, name, copy, machine }), complete);
        } else {
            session.events.push_back(Event::Hello(Hello::default()));
        }
        session.say_what_we_have(show);
        session.messages.push_back(Message::Unchoke);
        session
    }

    /// BEP 6: exactly one of these, before any `have`; without the fast extension nothing means none.
    fn say_what_we_have(&mut self, show: Show) {
        let bits = match &show {
            Show::Nothing => Bitfield::none(&self.geometry),
            Show::Everything => Bitfield::all(&self.geometry),
            Show::These(bits) => (**bits).clone(),
        };
        match (self.remote.fast, bits.is_empty()) {
            (true, true) => self.messages.push_back(Message::HaveNone),
            (true, false) if bits.is_full() => self.messages.push_back(Message::HaveAll),
            (false, true) => {}
            _ => self.messages.push_back(Message::Bitfield(bits.to_bytes())),
        }
        self.shown = if bits.is_full() { Shown::All } else { Shown::These(bits) };
    }

    /// The 13 bytes before a block came.
    ///
    /// # Errors
    /// Nobody asked for it.
    pub fn on_block(&mut self, header: RawBlock, now: Time) -> Result<Landing, Fault> {
        self.hear(now);
        self.liveness.hear_answer();
        self.in_block = true;
        let landing = match self.requests.arrived(header) {
            Some(block) => Landing::Wanted(block),
            None if self.requests.settle_taken_back(header) => Landing::Unwanted,
            None => {
                return Err(Fault(format!("it sends a block that nobody asked for: {header:?}")));
            }
        };
        self.arriving = match landing {
            Landing::Wanted(block) => Some(Arriving { part: block.part, wanted: true }),
            Landing::Unwanted => None,
        };
        self.note_duty(now);
        Ok(landing)
    }

    /// So many bytes of the payload came. They count for the part that they were asked for, and for nothing if that was
    /// taken back: whoever answers late must not look as if it gave what it is asked for now. None at all is nothing that
    /// the other side did.
    pub fn on_bytes(&mut self, count: u32, now: Time) {
        if count == 0 {
            return;
        }
        self.hear(now);
        let Some(arriving) = self.arriving.filter(|arriving| arriving.wanted) else {
            self.late += count;
            return;
        };
        self.rate.add(count, now);
        match self.received.last_mut() {
            Some((part, bytes)) if *part == arriving.part => *bytes += count,
            _ => self.received.push((arriving.part, count)),
        }
    }

    /// The payload is whole. Returns the part if that was the last of it: check it, then call [`Self::on_verdict`].
    pub fn on_block_end(&mut self, now: Time) -> Option<PartIndex> {
        self.in_block = false;
        let arriving = self.arriving.take().filter(|a| a.wanted);
        let whole = arriving.map(|a| a.part).filter(|part| self.requests.landed(*part));
        self.pump(now);
        whole
    }

    /// What came of checking a part: `Event::Right` or `Event::Wrong`.
    pub fn on_verdict(&mut self, verdict: Event) {
        self.events.push_back(verdict);
    }

    /// [`Command::Fetch`]: `missing` are the 16 KiB blocks of the part that are not there yet. Returns the part if none is,
    /// so that nothing is asked for: check it, then call [`Self::on_verdict`].
    #[must_use]
    pub fn fetch(&mut self, part: PartIndex, missing: &[Range<u32>], now: Time) -> Option<PartIndex> {
        if missing.iter().all(Range::is_empty) {
            return Some(part);
        }
        if self.choked {
            self.events.push_back(Event::Released { part, refused: false });
            return None;
        }
        if self.requests.is_idle() {
            self.rate.start(now);
        }
        self.requests.add(part, missing);
        self.pump(now);
        None
    }

    /// Any command but `Fetch` and `Close`, which are the driver's.
    pub fn command(&mut self, command: Command, now: Time) {
        match command {
            Command::Release(part) => self.give_up(part, false),
            Command::Recall(part, patience) => self.recall(part, now + patience),
            Command::Have(parts) => parts.iter().for_each(|part| self.show(*part)),
            Command::ShowAll => self.geometry.all_parts().for_each(|part| self.show(part)),
            Command::Interest(true) => self.messages.push_back(Message::Interested),
            Command::Interest(false) => self.messages.push_back(Message::NotInterested),
            Command::Serve { bytes } => self.uploads.allow(bytes),
            Command::Offer => self.say_offer(),
            Command::Node(port) => self.messages.push_back(Message::Port(port)),
            Command::Exchange(exchange) => self.say_exchange(&exchange),
            Command::Complete if self.remote.extended => self.say_hello(None, true),
            Command::Complete | Command::Fetch(_) | Command::Close(_) => {}
        }
        self.pump(now);
    }

    fn show(&mut self, part: PartIndex) {
        let fresh = match &mut self.shown {
            Shown::All => false,
            Shown::These(bits) => bits.insert(part),
        };
        if fresh {
            self.messages.push_back(Message::Have(part.get()));
        }
    }

    /// Blocks that the other side has sent by now come, and the rest is refused; only our own members answer a cancel so.
    /// At `until` what neither came nor was refused is given up.
    fn recall(&mut self, part: PartIndex, until: Time) {
        if !self.is_ours() || !self.remote.fast {
            return self.give_up(part, false);
        }
        for b in self.requests.recall(part, until) {
            self.messages.push_back(Message::Cancel(RawBlock { part: b.part.get(), begin: b.begin, len: b.len }));
        }
    }

    /// The block of it that is arriving is not waited for: the driver keeps what came.
    fn give_up(&mut self, part: PartIndex, refused: bool) {
        let Some(awaited) = self.requests.release(part) else {
            return;
        };
        if let Some(arriving) = self.arriving.as_mut().filter(|a| a.part == part) {
            arriving.wanted = false;
        }
        if !self.remote.fast {
            self.requests.forgive_oldest();
        }
        for b in awaited {
            if !self.choked {
                self.messages.push_back(Message::Cancel(RawBlock { part: b.part.get(), begin: b.begin, len: b.len }));
            }
        }
        self.events.push_back(Event::Released { part, refused });
    }

    /// Everything that follows from a change: requests that fit, the end of a leave, the wish for one.
    fn pump(&mut self, now: Time) {
        while !self.choked {
            let longest = self.request_length();
            let Some(b) = self.requests.next(&self.geometry, longest, self.their_queue) else {
                break;
            };
            self.messages.push_back(Message::Request(RawBlock { part: b.part.get(), begin: b.begin, len: b.len }));
        }
        while let Some(part) = self.requests.recalled() {
            self.give_up(part, false);
        }
        if self.uploads.ended() {
            self.events.push_back(Event::Served);
        }
        if self.uploads.asks() {
            self.events.push_back(Event::Asks);
        }
        self.note_duty(now);
    }

    /// The other side said something.
    fn hear(&mut self, now: Time) {
        if self.liveness.hear(now) {
            self.events.push_back(Event::Silent(Silence::Over));
        }
    }

    fn note_duty(&mut self, now: Time) {
        let duty = Duty {
            ours: self.is_ours(),
            prompt: self.prompt,
            // Without the fast extension nothing answers a cancel.
            owes: self.requests.are_awaited() || (self.remote.fast && self.requests.were_taken_back()),
            waits: self.uploads.is_awaited(),
            in_block: self.in_block,
        };
        self.liveness.judge_by(duty, now);
    }

    /// Nothing was read from the socket for this long, though bytes may have been there.
    pub fn on_unread(&mut self, unread: Time, now: Time) {
        self.liveness.skip(unread, now);
    }

    /// What [`REQUEST_TIME`] brings, as a power of two between a block and what was agreed on.
    fn request_length(&self) -> u32 {
        let rate = self.rate.get();
        let wanted = if rate > 0.0 { (rate * REQUEST_TIME) as u32 } else { FIRST_REQUEST };
        (1 << wanted.max(BLOCK).ilog2()).clamp(BLOCK, self.max_request)
    }

    /// The next message to send.
    pub fn next_message(&mut self) -> Option<Message> {
        let message = self.messages.pop_front();
        if message.is_none() {
            self.metadata_waiting = 0;
        }
        message
    }

    /// The next block that there is leave to send. It counts as sent from here on: a cancel comes too late for it.
    pub fn next_block(&mut self) -> Option<BlockRange> {
        self.uploads.next_block()
    }

    /// Whether [`Self::next_block`] would give one.
    pub fn has_block(&self) -> bool {
        self.uploads.has_block()
    }

    /// The last byte of this block went to the socket.
    pub fn on_sent(&mut self, block: BlockRange, now: Time) {
        self.liveness.say(now);
        self.uploaded += block.len;
        if self.uploads.sent(block, &self.geometry) {
            self.events.push_back(Event::Sent(block.part));
        }
        self.pump(now);
    }

    /// Some bytes went to the socket: no keep-alive is due.
    pub fn on_said(&mut self, now: Time) {
        self.liveness.say(now);
    }

    /// The socket takes no more for now, or again does.
    pub fn on_clogged(&mut self, clogged: bool) {
        self.events.push_back(Event::Clogged(clogged));
    }

    /// Whether the driver may read on. False while more waits to be said than a member that reads would let pile up, or
    /// more to be told than fits in one batch.
    pub fn takes_input(&self) -> bool {
        let waiting = self.events.len() + self.received.len();
        self.messages.len() < MAX_BACKLOG && waiting < MAX_EVENTS && !self.bitfield_waits
    }

    /// The next thing the swarm should know. The event `Released` means that the driver puts the part's bytes away
    /// before it passes the event on.
    pub fn next_event(&mut self) -> Option<Event> {
        if let Some((part, bytes)) = self.received.pop() {
            return Some(Event::Received { part, bytes });
        }
        if self.late > 0 {
            return Some(Event::Late(std::mem::take(&mut self.late)));
        }
        if self.uploaded > 0 {
            return Some(Event::Uploaded(std::mem::take(&mut self.uploaded)));
        }
        let event = self.events.pop_front();
        if let Some(Event::HasThese(_)) = event {
            self.bitfield_waits = false;
        }
        event
    }

    fn is_ours(&self) -> bool {
        self.max_request > BLOCK
    }

    /// Whether the other side may send blocks that were requested.
    pub fn expects_blocks(&self) -> bool {
        self.requests.expects_blocks()
    }

    /// When [`Self::on_deadline`] wants to be called.
    pub fn deadline(&self) -> Time {
        let next = self.liveness.deadline();
        self.requests.first_recall().map_or(next, |until| next.min(until))
    }

    /// Keep-alives, and the end of a conversation in which nothing is said.
    ///
    /// # Errors
    /// It never answered what was asked; or nothing was heard for too long, which is nobody's fault: a line that is cut
    /// looks the same, and may be mended.
    pub fn on_deadline(&mut self, now: Time) -> Result<(), Closed> {
        if self.liveness.is_over(now) {
            return Err(Closed::Broken("nothing was heard for too long".to_owned()));
        }
        if let Some(silence) = self.liveness.news(now) {
            self.events.push_back(Event::Silent(silence));
        }
        while let Some(part) = self.requests.recalled_until(now) {
            self.give_up(part, false);
        }
        self.note_duty(now);
        if self.requests.owes_too_much() {
            return Err(Closed::Fault("it answers no requests".to_owned()));
        }
        if self.liveness.keep_alive_due(now) {
            self.liveness.say(now);
            self.messages.push_back(Message::KeepAlive);
        }
        Ok(())
    }
}

fn fault(why: &str) -> Fault {
    Fault(why.to_owned())
}

#[cfg(test)]
mod tests;
