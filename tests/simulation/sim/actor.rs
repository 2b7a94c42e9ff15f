//! What runs on a host, as the network sees it: it is told of what arrives and is asked for what to send.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use orchestra::{
    geometry::PartIndex,
    peer::{Introduction, PeerKey},
    time::Time,
    wire::message::{Message, RawBlock},
};

/// Number of a host.
pub type HostId = u32;

/// One side of a connection. The two sides of connection `n` are `2n` (who dialled) and `2n + 1`.
pub type End = u32;

/// The name of a connection for both of its hosts.
pub fn key(end: End) -> PeerKey {
    PeerKey(end / 2)
}

/// The other side.
pub fn other(end: End) -> End {
    end ^ 1
}

/// Where a host listens.
pub fn address(host: HostId) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + host + 1);
    SocketAddr::new(IpAddr::V4(ip), 9998)
}

/// Whose address that is.
pub fn host_at(address: SocketAddr) -> Option<HostId> {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(u32::from(Ipv4Addr::new(10, 0, 0, 1))),
        IpAddr::V6(_) => None,
    }
}

/// What an actor asks to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The part that came last on this connection is checked.
    Checked(PeerKey, PartIndex),
    /// The part is on the disk.
    Written(PartIndex),
    /// The conversation tells the swarm what happened.
    Report(PeerKey),
}

/// What an actor wants of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Dial(SocketAddr),
    /// The conversation begins.
    Admit(PeerKey),
    /// The conversation ends, or does not begin.
    Close(PeerKey),
    /// There may be something to send there.
    Ready(PeerKey),
    Wake(Time, Timer),
    /// Everything is there.
    Complete,
}

/// Some bytes of a block, as they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub block: RawBlock,
    /// Offset inside the block, in bytes.
    pub offset: u32,
    pub len: u32,
    /// The bytes are not the composition's.
    pub wrong: bool,
}

impl Chunk {
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }

    pub fn is_last(&self) -> bool {
        self.offset + self.len == self.block.len
    }
}

/// What runs on a host.
pub trait Actor {
    /// What it says of itself in its 68 bytes; address and direction are filled in by the network.
    fn introduction(&self) -> Introduction;
    fn on_endpoints(&mut self, addresses: Vec<SocketAddr>, now: Time);
    fn on_dial_failed(&mut self, address: SocketAddr, now: Time);
    fn on_introduced(&mut self, key: PeerKey, who: Introduction, now: Time);
    fn on_message(&mut self, key: PeerKey, message: Message, now: Time);
    fn on_chunk(&mut self, key: PeerKey, chunk: Chunk, now: Time);
    fn on_sent(&mut self, key: PeerKey, block: RawBlock, now: Time);
    fn on_clogged(&mut self, key: PeerKey, clogged: bool, now: Time);
    fn on_closed(&mut self, key: PeerKey, now: Time);
    fn on_tick(&mut self, now: Time);
    fn on_timer(&mut self, timer: Timer, now: Time);
    /// The next message to send there.
    fn next_message(&mut self, key: PeerKey) -> Option<Message>;
    /// The next block to send there; it is on its way from here on.
    fn next_block(&mut self, key: PeerKey) -> Option<RawBlock>;
    fn has_block(&self, key: PeerKey) -> bool;
    /// What it wants of the network, one after the other; asked after every call from above.
    fn next_ask(&mut self, now: Time) -> Option<Ask>;
    /// What it counted.
    fn tally(&self) -> Tally;
    /// What should not be, if it finds anything.
    fn complaint(&mut self, _now: Time) -> Option<String> {
        None
    }
}

/// What an actor counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Payload bytes that came and were of no use.
    pub unwanted: u64,
    /// Parts that came and were wrong.
    pub wrong_parts: u64,
    /// Requests that a liar rejected or left without an answer.
    pub lies: u64,
    /// Blocks of junk in answer to what was taken back, blocks that came after ever longer waits, chokes.
    pub junk: u64,
    pub drips: u64,
    pub chokes: u64,
    /// Parts that were whole when they were to be fetched.
    pub found_whole: u64,
}
