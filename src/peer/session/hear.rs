//! What a conversation hears, blocks aside ([`Session::on_block`]): each message is checked, and becomes an event or an
//! answer.
//!
//! What it costs an attacker: a message that changes nothing uses up patience ([`super::Patience`]), and everything else
//! is bounded by what it is about.

use super::{Fault, Session, Shown, fault};
use crate::{
    geometry::{Geometry, PartIndex},
    peer::Event,
    time::Time,
    wire::{
        bitfield::Bitfield,
        message::{Message, RawBlock},
    },
};

impl Session {
    /// # Errors
    /// The other side broke the protocol.
    pub fn on_message(&mut self, message: Message, now: Time) -> Result<(), Fault> {
        self.hear(now);
        if changes_little(&message) {
            self.bear(now)?;
        }
        match message {
            Message::KeepAlive => {}
            Message::Choke => self.on_choke(),
            Message::Unchoke => {
                self.choked = false;
                self.events.push_back(Event::Choked(false));
            }
            Message::Interested => self.events.push_back(Event::Interested(true)),
            Message::NotInterested => self.events.push_back(Event::Interested(false)),
            Message::Have(part) => self.on_have(part, now)?,
            Message::Bitfield(bytes) => {
                let bits = Bitfield::from_bytes(&bytes, &self.geometry)
                    .ok_or_else(|| fault("its bitfield has the wrong length or spare bits set"))?;
                self.on_what_it_has(Event::HasThese(bits))?;
            }
            Message::HaveAll => self.on_what_it_has(Event::HasAll)?,
            Message::HaveNone => self.on_what_it_has(Event::HasNone)?,
            Message::Request(raw) => self.on_request(raw, now)?,
            Message::Cancel(raw) => self.on_cancel(raw),
            Message::Reject(raw) => self.on_reject(raw, now)?,
            Message::Extended { id, payload } if self.remote.extended => self.on_extended(id, &payload, now)?,
            // It did not say that it knows extensions: an answer could be one more message that it does not know.
            Message::Extended { .. } => {}
            Message::Port(port) => self.events.push_back(Event::Node(port)),
            // We unchoke everybody, so nobody needs the parts that choked members may have.
            Message::Suggest(_) | Message::AllowedFast(_) => {}
            Message::Unknown { .. } => {}
        }
        self.pump(now);
        match self.requests.owes_too_much() {
            true => Err(fault("it answers no requests")),
            false => Ok(()),
        }
    }

    /// A message came that changes nothing, or little.
    fn bear(&mut self, now: Time) -> Result<(), Fault> {
        match self.patience.bears_another(now) {
            true => Ok(()),
            false => Err(fault("it floods us with messages that change nothing")),
        }
    }

    fn on_have(&mut self, part: u32, now: Time) -> Result<(), Fault> {
        let part = self.part(part)?;
        self.said_what_it_has = true;
        match self.haves_left.checked_sub(1) {
            Some(left) => self.haves_left = left,
            None => self.bear(now)?,
        }
        self.events.push_back(Event::Has(part));
        Ok(())
    }

    /// Each costs a look at every part, so that they are counted: see [`statements`].
    fn on_what_it_has(&mut self, event: Event) -> Result<(), Fault> {
        if std::mem::replace(&mut self.said_what_it_has, true) && event == Event::HasNone {
            return Err(fault("it takes back what it has"));
        }
        let left = self.statements_left.checked_sub(1).ok_or_else(|| fault("it says once more what it has"))?;
        self.bitfield_waits |= matches!(event, Event::HasThese(_));
        self.statements_left = if event == Event::HasAll { left.min(1) } else { left };
        self.events.push_back(event);
        Ok(())
    }

    fn part(&self, index: u32) -> Result<PartIndex, Fault> {
        self.geometry.part(index).ok_or_else(|| Fault(format!("it speaks of part {index}, and there is none")))
    }

    /// What was asked is free for others at once; blocks under way may still come and are thrown away then.
    fn on_choke(&mut self) {
        self.choked = true;
        self.events.push_back(Event::Choked(true));
        if !self.remote.fast {
            // It drops what it was asked for in silence (BEP 6 came to mend that): earlier debts are void.
            self.requests.forgive();
        }
        for part in self.requests.parts() {
            self.give_up(part, false);
        }
    }

    fn on_request(&mut self, raw: RawBlock, now: Time) -> Result<(), Fault> {
        let block = self.geometry.range(raw.part, raw.begin, raw.len);
        let block = block.ok_or_else(|| Fault(format!("it asks for bytes that do not exist: {raw:?}")))?;
        let shown = match &self.shown {
            Shown::All => true,
            Shown::These(bits) => bits.has(block.part),
        };
        let served = shown && block.len <= self.max_request && self.uploads.request(block);
        if served && self.last_wanted.replace(block.part) != Some(block.part) {
            self.events.push_back(Event::Wants(block.part));
        }
        if served {
            return Ok(());
        }
        self.bear(now)?;
        if self.remote.fast {
            self.messages.push_back(Message::Reject(raw));
        } else if block.len > self.max_request {
            return Err(fault("it asks for longer blocks than was agreed on"));
        }
        Ok(())
    }

    fn on_cancel(&mut self, raw: RawBlock) {
        let block = self.geometry.range(raw.part, raw.begin, raw.len);
        if block.is_some_and(|b| self.uploads.cancel(b)) && self.remote.fast {
            self.messages.push_back(Message::Reject(raw));
        }
    }

    fn on_reject(&mut self, raw: RawBlock, now: Time) -> Result<(), Fault> {
        if self.requests.settle_taken_back(raw) {
            return Ok(());
        }
        match self.requests.arrived(raw) {
            Some(block) if self.requests.refused(block.part) => {}
            Some(block) => self.give_up(block.part, true),
            None => self.bear(now)?,
        }
        Ok(())
    }
}

/// How often a member may say all that it has. BEP 6: once, and first. aria2 says a bitfield, or that it has everything,
/// wherever that is shorter than to say `have` of each part that is new, and may say it twice at first.
pub(super) fn statements(geometry: &Geometry) -> u32 {
    let (bitfield, have) = (5 + geometry.parts().div_ceil(8), 9);
    2 + geometry.parts() / (bitfield / have).max(1)
}

/// What an honest member says now and then. The rest is bounded by what it is about: a part that it has, a block.
fn changes_little(message: &Message) -> bool {
    match message {
        Message::KeepAlive
        | Message::Choke
        | Message::Unchoke
        | Message::Interested
        | Message::NotInterested
        | Message::Cancel(_)
        | Message::Port(_)
        | Message::Suggest(_)
        | Message::AllowedFast(_)
        | Message::Extended { .. }
        | Message::Unknown { .. } => true,
        Message::Have(_)
        | Message::Bitfield(_)
        | Message::HaveAll
        | Message::HaveNone
        | Message::Request(_)
        | Message::Reject(_) => false,
    }
}
