//! Connections: dialling, the 68 bytes, and the end.

use core::net::SocketAddr;
use std::collections::VecDeque;

use orchestra::peer::{Introduction, PeerKey};

use super::{
    actor::{End, HostId, address, host_at, key, other},
    queue::Event,
    world::{EndState, World},
};

impl EndState {
    fn new(host: HostId) -> Self {
        Self {
            host,
            open: true,
            block: None,
            in_turn: false,
            in_flight: 0,
            blocked_since: None,
            clogged: false,
            wire: VecDeque::new(),
            arrives: 0,
        }
    }
}

impl World {
    /// SYN, SYN-ACK, 68 bytes, 68 bytes: the other side knows after three ways, the dialler after four.
    pub(super) fn dial(&mut self, host: HostId, to: SocketAddr) {
        let delay = self.network.delay;
        let Some(to) = host_at(to).filter(|&t| (t as usize) < self.hosts.len() && t != host) else {
            return self.queue.push(self.now + delay, Event::DialFailed(host, host));
        };
        let end = self.ends.len() as End;
        self.ends.push(EndState::new(host));
        self.ends.push(EndState::new(to));
        self.hosts[host as usize].ends.insert(end);
        self.queue.push(self.now + 3 * delay, Event::Introduce(other(end)));
        self.queue.push(self.now + 4 * delay, Event::Introduce(end));
    }

    /// The 68 bytes of the other side reach this end. The dialler is waiting for them; the other side may not be there,
    /// and may have refused.
    pub(super) fn introduce(&mut self, end: End) {
        let dialled = end.is_multiple_of(2);
        let (host, from) = (self.host_of(end), self.host_of(other(end)));
        if !dialled {
            if !self.hosts[host as usize].running || !self.ends[other(end) as usize].open {
                self.ends[end as usize].open = false;
                return;
            }
            self.hosts[host as usize].ends.insert(end);
        } else if !self.ends[end as usize].open {
            return;
        } else if !self.ends[other(end) as usize].open {
            self.ends[end as usize].open = false;
            self.hosts[host as usize].ends.remove(&end);
            return self.tell(host, |a, now| a.on_dial_failed(address(from), now));
        }
        let mut seen_as = address(from);
        if !dialled {
            seen_as.set_port(40_000 + (end % 20_000) as u16);
        }
        let who = Introduction { address: seen_as, dialled, ..self.hosts[from as usize].actor.introduction() };
        self.tell(host, |a, now| a.on_introduced(key(end), who, now));
    }

    pub(super) fn host_of(&self, end: End) -> HostId {
        self.ends[end as usize].host
    }

    /// Which side of this connection is that host's.
    pub(super) fn end_of(&self, host: HostId, key: PeerKey) -> End {
        let end = key.0 * 2;
        end + u32::from(self.host_of(end) != host)
    }

    pub(super) fn admit(&mut self, host: HostId, key: PeerKey) {
        let end = self.end_of(host, key);
        self.ready_end(end);
    }

    /// The host ends (or refuses) the conversation.
    pub(super) fn close(&mut self, host: HostId, key: PeerKey) {
        let end = self.end_of(host, key);
        self.hang_up(end);
    }

    /// This end is gone; the other learns of it once all that was sent before has arrived.
    pub(super) fn hang_up(&mut self, end: End) {
        let delay = self.network.delay;
        let state = &mut self.ends[end as usize];
        if !state.open {
            return;
        }
        state.open = false;
        state.block = None;
        let at = state.arrives.max(self.now + delay);
        let host = state.host;
        self.hosts[host as usize].ends.remove(&end);
        self.queue.push(at, Event::Closed(other(end)));
    }

    pub(super) fn closed(&mut self, end: End) {
        let state = &mut self.ends[end as usize];
        if !state.open {
            return;
        }
        state.open = false;
        state.block = None;
        let host = state.host;
        self.hosts[host as usize].ends.remove(&end);
        self.tell(host, |a, now| a.on_closed(key(end), now));
    }
}
