//! What happens next: events in the order of their time, and of their making where the time is the same.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::actor::{End, HostId, Timer};

/// Virtual time in nanoseconds since the start.
pub type Nanos = u64;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Start(HostId),
    Tick(HostId),
    /// The conductor is asked again.
    Announce(HostId),
    /// The host does nothing until then (SIGSTOP, and SIGCONT).
    Stop(HostId, Nanos),
    /// The host vanishes, and its connections close.
    Leave(HostId),
    /// The other side's 68 bytes reach this end.
    Introduce(End),
    DialFailed(HostId, HostId),
    /// So many messages or chunks sent by this end arrive at the other.
    Deliver(End, u32),
    /// The other side's close reaches this end.
    Closed(End),
    /// The uplink finished a quantum.
    UplinkDone(HostId),
    /// Still blocked since then? Then it is clogged.
    ClogCheck(End, Nanos),
    Timer(HostId, Timer),
}

/// The events to come.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    made: u64,
}

impl Queue {
    pub fn push(&mut self, at: Nanos, event: Event) {
        self.heap.push(Reverse((at, self.made, event)));
        self.made += 1;
    }

    pub fn pop(&mut self) -> Option<(Nanos, Event)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}
