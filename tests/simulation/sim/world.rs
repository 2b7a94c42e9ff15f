//! The hosts, and the loop that lets one event happen after the other.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use orchestra::{
    time::Time,
    wire::message::{Message, RawBlock},
};

use super::{
    actor::{Actor, Ask, Chunk, End, HostId, address, other},
    queue::{Event, Nanos, Queue},
};

/// How often a swarm's tick is called, and how often the conductor is asked.
const TICK: Nanos = 100_000_000;
const ANNOUNCE: Nanos = 5_000_000_000;
/// Addresses that the conductor gives at most.
const ADDRESSES: usize = 50;

/// What is wrong with a host's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Takes requests and sends nothing more after so many bytes.
    Stalls {
        after: u64,
    },
    /// What it sends is not what it was asked for.
    Corrupts,
}

/// What the network does to all alike.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// One way, in nanoseconds.
    pub delay: Nanos,
    /// Bytes of one block that an uplink sends before it turns to another connection.
    pub quantum: u32,
    /// Bytes in flight on a connection and not yet taken by the receiver, at most.
    pub window: u32,
}

/// One machine.
pub struct Host {
    pub actor: Box<dyn Actor>,
    pub fault: Fault,
    /// Bytes a second.
    pub up: u64,
    pub down: u64,
    pub running: bool,
    /// It does nothing until then.
    pub stopped_until: Nanos,
    /// It leaves so long after it is whole.
    pub leaves_after: Option<Nanos>,
    pub whole_at: Option<Nanos>,
    /// Payload bytes that left, and those of them that were wrong.
    pub sent: u64,
    pub sent_wrong: u64,
    /// It had blocks to send and, being a staller, did not.
    pub withheld: u64,
    pub received: u64,
    pub(super) ends: BTreeSet<End>,
    pub(super) uplink_free: Nanos,
    pub(super) downlink_free: Nanos,
    pub(super) sending: Option<(End, Chunk)>,
    /// Connections that have blocks to send and room for them.
    pub(super) turns: VecDeque<End>,
}

impl Host {
    pub fn leaving_after(self, whole: Option<Nanos>) -> Self {
        Self { leaves_after: whole, ..self }
    }

    pub fn new(actor: Box<dyn Actor>, fault: Fault, up: u64, down: u64) -> Self {
        Self {
            actor,
            fault,
            up,
            down,
            running: false,
            stopped_until: 0,
            leaves_after: None,
            whole_at: None,
            sent: 0,
            sent_wrong: 0,
            withheld: 0,
            received: 0,
            ends: BTreeSet::new(),
            uplink_free: 0,
            downlink_free: 0,
            sending: None,
            turns: VecDeque::new(),
        }
    }
}

/// What is on the wire.
pub(super) enum Packet {
    Message(Message),
    Chunk(Chunk),
}

/// One side of a connection.
pub(super) struct EndState {
    pub host: HostId,
    /// Its host talks there (or sent its own 68 bytes and waits for the others').
    pub open: bool,
    /// The block being sent and how much of it left.
    pub block: Option<(RawBlock, u32)>,
    pub in_turn: bool,
    pub in_flight: u32,
    pub blocked_since: Option<Nanos>,
    pub clogged: bool,
    pub wire: VecDeque<Packet>,
    /// When the last of it arrives.
    pub arrives: Nanos,
}

/// Everything.
pub struct World {
    pub network: Network,
    pub hosts: Vec<Host>,
    pub now: Nanos,
    /// Messages that arrived, blocks not counted.
    pub messages: u64,
    /// Hosts that left before they were whole.
    pub left: u64,
    /// Events that a stopped host was late for.
    pub stopped: u64,
    /// The first thing that should not be.
    pub complaint: Option<String>,
    pub(super) ends: Vec<EndState>,
    pub(super) queue: Queue,
    dice: fastrand::Rng,
    /// From then on the conductor answers nobody, and who starts knows one other.
    conductor_dies: Option<Nanos>,
    /// Whom the conductor knows.
    known: Vec<HostId>,
    /// Hosts that must be whole for the run to end, and those of them that are not yet.
    counted: Vec<HostId>,
    awaited: BTreeSet<HostId>,
}

/// What a pure module is told the time is.
pub(super) fn time(now: Nanos) -> Time {
    Duration::from_nanos(now)
}

impl World {
    pub fn new(network: Network, conductor_dies: Option<Nanos>, seed: u64) -> Self {
        Self {
            network,
            hosts: Vec::new(),
            now: 0,
            messages: 0,
            left: 0,
            stopped: 0,
            complaint: None,
            ends: Vec::new(),
            queue: Queue::default(),
            dice: fastrand::Rng::with_seed(seed),
            conductor_dies,
            known: Vec::new(),
            counted: Vec::new(),
            awaited: BTreeSet::new(),
        }
    }

    /// Adds a host that starts then. If it `counts`, the run goes on until it is whole.
    pub fn add(&mut self, host: Host, starts: Nanos, leaves: Option<Nanos>, counts: bool) {
        let id = self.hosts.len() as HostId;
        self.hosts.push(host);
        self.queue.push(starts, Event::Start(id));
        if let Some(at) = leaves {
            self.queue.push(at, Event::Leave(id));
        }
        if counts {
            self.counted.push(id);
            self.awaited.insert(id);
        }
    }

    /// The hosts that must be whole for the run to end.
    pub fn counted(&self) -> Vec<&Host> {
        self.counted.iter().map(|&h| &self.hosts[h as usize]).collect()
    }

    /// Lets events happen until all that are awaited are whole, or until then, or until something is wrong.
    pub fn run(&mut self, until: Nanos) {
        while !self.awaited.is_empty() && self.complaint.is_none() {
            let Some((at, event)) = self.queue.pop() else {
                return;
            };
            if at > until {
                return;
            }
            self.now = at;
            match self.stopped_until(event) {
                Some(until) => {
                    self.stopped += 1;
                    self.queue.push(until, event);
                }
                None => self.happen(event),
            }
        }
    }

    /// The host that this happens to is stopped until then.
    fn stopped_until(&self, event: Event) -> Option<Nanos> {
        let host = match event {
            Event::Tick(host) | Event::Announce(host) | Event::UplinkDone(host) | Event::Timer(host, _) => host,
            Event::Introduce(end) | Event::Closed(end) | Event::ClogCheck(end, _) => self.host_of(end),
            Event::Deliver(end, _) => self.host_of(other(end)),
            Event::Start(_) | Event::Leave(_) | Event::Stop(..) | Event::DialFailed(..) => return None,
        };
        Some(self.hosts[host as usize].stopped_until).filter(|until| *until > self.now)
    }

    /// From then on this host does nothing for so long.
    pub fn stop(&mut self, host: HostId, at: Nanos, time: Nanos) {
        self.queue.push(at, Event::Stop(host, at + time));
    }

    /// Those that must be whole for the run to end, and are not.
    pub fn awaited(&self) -> impl Iterator<Item = HostId> {
        self.awaited.iter().copied()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(host) => self.start(host),
            Event::Tick(host) => self.tick(host),
            Event::Announce(host) => self.announce(host),
            Event::Stop(host, until) => self.hosts[host as usize].stopped_until = until,
            Event::Leave(host) => self.leave(host),
            Event::Introduce(end) => self.introduce(end),
            Event::DialFailed(host, to) => self.tell(host, |a, now| a.on_dial_failed(address(to), now)),
            Event::Deliver(end, count) => self.deliver(end, count),
            Event::Closed(end) => self.closed(end),
            Event::UplinkDone(host) => self.uplink_done(host),
            Event::ClogCheck(end, since) => self.clog_check(end, since),
            Event::Timer(host, timer) => self.tell(host, |a, now| a.on_timer(timer, now)),
        }
    }

    /// Tells a host's actor something, and does what it asks then. A host that left hears nothing.
    pub(super) fn tell(&mut self, host: HostId, what: impl FnOnce(&mut dyn Actor, Time)) {
        let now = time(self.now);
        let h = &mut self.hosts[host as usize];
        if h.running {
            what(h.actor.as_mut(), now);
            self.settle(host);
        }
    }

    /// Does what a host's actor asks.
    pub(super) fn settle(&mut self, host: HostId) {
        let now = time(self.now);
        while let Some(ask) = self.hosts[host as usize].actor.next_ask(now) {
            match ask {
                Ask::Dial(to) => self.dial(host, to),
                Ask::Admit(key) => self.admit(host, key),
                Ask::Close(key) => self.close(host, key),
                Ask::Ready(key) => self.ready(host, key),
                Ask::Wake(after, timer) => {
                    let at = self.now + after.as_nanos() as Nanos;
                    self.queue.push(at, Event::Timer(host, timer));
                }
                Ask::Complete => {
                    let h = &mut self.hosts[host as usize];
                    h.whole_at.get_or_insert(self.now);
                    if let Some(after) = h.leaves_after {
                        self.queue.push(self.now + after, Event::Leave(host));
                    }
                    self.awaited.remove(&host);
                }
            }
        }
    }

    fn start(&mut self, host: HostId) {
        self.hosts[host as usize].running = true;
        match self.conductor_dies.is_some_and(|at| self.now >= at) {
            true => self.tell_of_others(host, 1),
            false => self.announce(host),
        }
        self.known.push(host);
        self.tick(host);
    }

    fn tick(&mut self, host: HostId) {
        if self.hosts[host as usize].running {
            self.queue.push(self.now + TICK, Event::Tick(host));
            self.tell(host, |a, now| a.on_tick(now));
            let complaint = self.hosts[host as usize].actor.complaint(time(self.now));
            self.complaint = complaint.map(|what| format!("host {host} after {:.1} s: {what}", self.now as f64 / 1e9));
        }
    }

    fn announce(&mut self, host: HostId) {
        if !self.hosts[host as usize].running {
            return;
        }
        if self.conductor_dies.is_none_or(|at| self.now < at) {
            self.queue.push(self.now + ANNOUNCE, Event::Announce(host));
            self.tell_of_others(host, ADDRESSES);
        }
    }

    /// Somebody tells this host where so many others are.
    fn tell_of_others(&mut self, host: HostId, count: usize) {
        let mut others = self.known.clone();
        others.retain(|&o| o != host);
        let addresses = self.dice.choose_multiple(others, count).into_iter().map(address).collect();
        self.tell(host, |a, now| a.on_endpoints(addresses, now));
    }

    fn leave(&mut self, host: HostId) {
        self.known.retain(|&h| h != host);
        let h = &mut self.hosts[host as usize];
        h.running = false;
        self.left += u64::from(h.whole_at.is_none());
        for end in h.ends.clone() {
            self.hang_up(end);
        }
    }
}
