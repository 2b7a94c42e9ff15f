//! Bytes on their way: an uplink that sends one quantum at a time, a downlink that takes what comes in its order, and
//! a window on each connection, so that a slow receiver clogs only its own.
//!
//! Messages go ahead of the blocks of other connections, never into the middle of a block of their own.

use orchestra::{peer::PeerKey, wire::message::Message};

use super::{
    actor::{Chunk, End, HostId, key, other},
    queue::{Event, Nanos},
    world::{Fault, Packet, World},
};

/// A connection that takes nothing for so long is clogged.
const CLOGGED_AFTER: Nanos = 20_000_000;
/// Bytes before the payload of a block.
const BLOCK_HEADER: u32 = 13;

fn duration(bytes: u32, rate: u64) -> Nanos {
    u64::from(bytes) * 1_000_000_000 / rate
}

/// Bytes of a message on the wire.
fn wire_len(message: &Message) -> u32 {
    match message {
        Message::KeepAlive => 4,
        Message::Choke
        | Message::Unchoke
        | Message::Interested
        | Message::NotInterested
        | Message::HaveAll
        | Message::HaveNone
        | Message::Unknown { .. } => 5,
        Message::Have(_) | Message::Suggest(_) | Message::AllowedFast(_) => 9,
        Message::Port(_) => 7,
        Message::Request(_) | Message::Cancel(_) | Message::Reject(_) => 17,
        Message::Bitfield(bytes) => 5 + bytes.len() as u32,
        Message::Extended { payload, .. } => 6 + payload.len() as u32,
    }
}

impl World {
    pub(super) fn ready(&mut self, host: HostId, key: PeerKey) {
        let end = self.end_of(host, key);
        self.ready_end(end);
    }

    /// Sends the messages that wait there, and gives its blocks a turn.
    pub(super) fn ready_end(&mut self, end: End) {
        if self.ends[end as usize].open {
            self.send_messages(end);
            self.take_turn(end);
        }
    }

    fn send_messages(&mut self, end: End) {
        let state = &mut self.ends[end as usize];
        if state.block.is_some() {
            return;
        }
        let host = &mut self.hosts[state.host as usize];
        let (mut count, mut bytes) = (0, 0);
        while let Some(message) = host.actor.next_message(key(end)) {
            bytes += wire_len(&message);
            count += 1;
            state.wire.push_back(Packet::Message(message));
        }
        if count == 0 {
            return;
        }
        host.uplink_free = host.uplink_free.max(self.now) + duration(bytes, host.up);
        let leaves = host.uplink_free;
        let receiver = self.host_of(other(end));
        let queued = self.hosts[receiver as usize].downlink_free;
        let state = &mut self.ends[end as usize];
        state.arrives = (leaves + self.network.delay).max(queued).max(state.arrives);
        self.queue.push(state.arrives, Event::Deliver(end, count));
    }

    fn take_turn(&mut self, end: End) {
        let state = &mut self.ends[end as usize];
        let host = &mut self.hosts[state.host as usize];
        if state.in_turn || state.blocked_since.is_some() {
            return;
        }
        if state.block.is_none() && !host.actor.has_block(key(end)) {
            return;
        }
        if matches!(host.fault, Fault::Stalls { after } if host.sent >= after) {
            host.withheld += 1;
            return;
        }
        state.in_turn = true;
        host.turns.push_back(end);
        let host = state.host;
        self.send_quantum(host);
    }

    /// Sends the next quantum, if the uplink is free and somebody has one to send.
    fn send_quantum(&mut self, host: HostId) {
        while self.hosts[host as usize].sending.is_none() {
            let Some(end) = self.hosts[host as usize].turns.pop_front() else {
                return;
            };
            let state = &mut self.ends[end as usize];
            state.in_turn = false;
            if !state.open {
                continue;
            }
            if state.in_flight + self.network.quantum > self.network.window {
                state.blocked_since = Some(self.now);
                let check = Event::ClogCheck(end, self.now);
                self.queue.push(self.now + CLOGGED_AFTER, check);
                continue;
            }
            let h = &mut self.hosts[host as usize];
            let next = || h.actor.next_block(key(end)).map(|block| (block, 0));
            let Some((block, offset)) = state.block.or_else(next) else {
                continue;
            };
            let len = (block.len - offset).min(self.network.quantum);
            let wrong = h.fault == Fault::Corrupts;
            let header = if offset == 0 { BLOCK_HEADER } else { 0 };
            state.block = Some((block, offset));
            state.in_flight += len;
            h.uplink_free = h.uplink_free.max(self.now) + duration(len + header, h.up);
            let chunk = Chunk { block, offset, len, wrong };
            h.sending = Some((end, chunk));
            self.queue.push(h.uplink_free, Event::UplinkDone(host));
            self.settle(host);
        }
    }

    pub(super) fn uplink_done(&mut self, host: HostId) {
        let Some((end, chunk)) = self.hosts[host as usize].sending.take() else {
            return;
        };
        if self.ends[end as usize].open {
            self.put_on_wire(host, end, chunk);
            if chunk.is_last() {
                self.ends[end as usize].block = None;
                self.tell(host, |a, now| a.on_sent(key(end), chunk.block, now));
            } else {
                self.ends[end as usize].block = Some((chunk.block, chunk.offset + chunk.len));
            }
            self.ready_end(end);
        }
        self.send_quantum(host);
    }

    /// The downlink receives while the sender sends, unless it is busy with what came before.
    fn put_on_wire(&mut self, host: HostId, end: End, chunk: Chunk) {
        let receiver = self.host_of(other(end));
        let arrives = self.now + self.network.delay;
        let sender = &mut self.hosts[host as usize];
        sender.sent += u64::from(chunk.len);
        sender.sent_wrong += u64::from(chunk.len) * u64::from(chunk.wrong);
        let began = arrives - duration(chunk.len, sender.up);
        let receiver = &mut self.hosts[receiver as usize];
        let free = receiver.downlink_free.max(began) + duration(chunk.len, receiver.down);
        receiver.downlink_free = free.max(arrives);
        let state = &mut self.ends[end as usize];
        state.arrives = receiver.downlink_free.max(state.arrives);
        state.wire.push_back(Packet::Chunk(chunk));
        self.queue.push(state.arrives, Event::Deliver(end, 1));
    }

    pub(super) fn deliver(&mut self, end: End, count: u32) {
        for _ in 0..count {
            let Some(packet) = self.ends[end as usize].wire.pop_front() else {
                return;
            };
            if let Packet::Chunk(chunk) = &packet {
                self.make_room(end, chunk.len);
            }
            if self.ends[other(end) as usize].open {
                self.take(end, packet);
            }
        }
    }

    fn take(&mut self, end: End, packet: Packet) {
        let receiver = self.host_of(other(end));
        match packet {
            Packet::Message(message) => {
                self.messages += 1;
                self.tell(receiver, |a, now| a.on_message(key(end), message, now));
            }
            Packet::Chunk(chunk) => {
                self.hosts[receiver as usize].received += u64::from(chunk.len);
                self.tell(receiver, |a, now| a.on_chunk(key(end), chunk, now));
            }
        }
    }

    /// The receiver took so much: a sender that waited goes on.
    fn make_room(&mut self, end: End, len: u32) {
        let state = &mut self.ends[end as usize];
        state.in_flight -= len;
        if state.blocked_since.take().is_none() || !state.open {
            return;
        }
        let host = state.host;
        if std::mem::take(&mut state.clogged) {
            self.tell(host, |a, now| a.on_clogged(key(end), false, now));
        }
        self.take_turn(end);
    }

    pub(super) fn clog_check(&mut self, end: End, since: Nanos) {
        let state = &mut self.ends[end as usize];
        if state.open && state.blocked_since == Some(since) && !state.clogged {
            state.clogged = true;
            let host = state.host;
            self.tell(host, |a, now| a.on_clogged(key(end), true, now));
        }
    }
}
