//! The way out: what the session says, and the blocks that it has leave to send, to the socket.
//!
//! Messages go first, all that wait in one write. A block of 64 KiB or more goes from the page cache to the socket by
//! sendfile, behind its header; shorter ones are read into the same buffer as their headers and leave many at a time.
//! What is not in the page cache is brought there first on another thread, so that this one never waits for a disk.
//!
//! Invariant: a block that was begun is sent to its end before anything else is said.

use std::{collections::VecDeque, io, ops::Range};

use tokio::task::JoinHandle;

use super::{
    Closed,
    driver::{Talk, Turn},
    socket,
};
use crate::{
    geometry::BlockRange,
    net::limiter::Limiter,
    storage::{Slice, Store},
    time::Time,
    wire::{
        encode::{encode, encode_block_header},
        message::RawBlock,
    },
};

/// Bytes sent at most before somebody else has a turn.
const TURN: usize = 1 << 20;
/// Blocks this long are not copied. Elsewhere than on Linux all are.
const BULK: u32 = if cfg!(target_os = "linux") { 64 * 1024 } else { u32::MAX };
/// The buffer takes no further message or short block beyond this.
const BATCH: usize = 256 * 1024;
/// So much is looked ahead in the page cache.
const AHEAD: u64 = 256 * 1024;
/// A socket that takes nothing for this long while a block waits is clogged.
const CLOGGED_AFTER: Time = Time::from_millis(20);
/// A peer that takes nothing of what it is sent for this long is left, whatever it says. Long, since a low download limit
/// over many connections, or a slow disk, lets a peer read that seldom.
const UNTAKEN_TIMEOUT: Time = Time::from_secs(300);

pub struct Transmitter {
    limiter: Limiter,
    out: Vec<u8>,
    /// So many bytes of `out` went to the socket.
    gone: usize,
    /// So many bytes in front of `out` are messages: no limit holds them up.
    free: usize,
    /// The short blocks in `out`, and where in it each ends.
    short: VecDeque<(usize, BlockRange)>,
    /// The long block whose header is the last of `out`, and how much of it went.
    bulk: Option<(BlockRange, u32)>,
    /// The session gave it, and nothing of it was written yet.
    next: Option<BlockRange>,
    /// Bytes of the composition that are in the page cache.
    warm: Range<u64>,
    warming: Option<JoinHandle<()>>,
    stuck_since: Option<Time>,
    clogged: bool,
    /// Since when the socket has taken nothing.
    untaken_since: Option<Time>,
    /// Blocks were sent on this connection.
    serves: bool,
}

impl Transmitter {
    pub fn new(limiter: Limiter) -> Self {
        Self {
            limiter,
            out: Vec::new(),
            gone: 0,
            free: 0,
            short: VecDeque::new(),
            bulk: None,
            next: None,
            warm: 0..0,
            warming: None,
            stuck_since: None,
            clogged: false,
            untaken_since: None,
            serves: false,
        }
    }

    /// Sends what the socket takes.
    pub fn turn(&mut self, talk: &mut Talk) -> Result<Turn, Closed> {
        let mut sent = 0;
        loop {
            let now = talk.now();
            if self.is_empty() {
                self.compose(talk)?;
            }
            if self.is_empty() {
                return Ok(match self.warming {
                    Some(_) => Turn::Disk,
                    None => Turn::Nothing,
                });
            }
            if sent >= TURN {
                return Ok(Turn::More);
            }
            match self.write(talk, now)? {
                Ok(count) => sent += count,
                Err(turn) => return Ok(turn),
            }
        }
    }

    /// When the socket counts as clogged, or the peer as gone, unless something is taken before.
    pub fn deadline(&self) -> Option<Time> {
        let untaken = self.untaken_since.map(|since| since + UNTAKEN_TIMEOUT);
        self.clogs_at().into_iter().chain(untaken).min()
    }

    fn clogs_at(&self) -> Option<Time> {
        let since = self.stuck_since.filter(|_| !self.clogged);
        since.map(|since| since + CLOGGED_AFTER)
    }

    /// To be called when [`Transmitter::deadline`] has come.
    ///
    /// # Errors
    /// The other side takes nothing of what it is sent.
    pub fn on_deadline(&mut self, talk: &mut Talk, now: Time) -> Result<(), Closed> {
        if self.untaken_since.is_some_and(|since| now >= since + UNTAKEN_TIMEOUT) {
            return Err(Closed::Broken("it takes nothing of what it is sent".to_owned()));
        }
        if self.clogs_at().is_some_and(|at| now >= at) {
            self.clogged = true;
            talk.session.on_clogged(true);
        }
        Ok(())
    }

    /// Waits until what is sent next is in the page cache. May be dropped and called again.
    pub async fn warmed(&mut self) {
        if let Some(warming) = &mut self.warming {
            // A failure to read shows again, and with its error, when the bytes are sent.
            let _ = warming.await;
            self.warming = None;
        }
    }

    fn is_empty(&self) -> bool {
        self.gone == self.out.len() && self.bulk.is_none()
    }

    /// All messages that wait, and behind them one long block's header or some short blocks.
    fn compose(&mut self, talk: &mut Talk) -> Result<(), Closed> {
        self.out.clear();
        self.gone = 0;
        while self.out.len() < BATCH
            && let Some(message) = talk.session.next_message()
        {
            encode(&message, &mut self.out);
        }
        self.free = self.out.len();
        while self.bulk.is_none() && self.out.len() < BATCH {
            self.next = self.next.or_else(|| talk.session.next_block());
            let Some(block) = self.next else {
                break;
            };
            // A limit holds up short blocks, and everything before a long one's header is free of it.
            let apart = block.len >= BULK && !self.short.is_empty();
            if apart || !self.is_warm(block, &talk.store) {
                break;
            }
            self.append(block, &talk.store)?;
            self.next = None;
            if !std::mem::replace(&mut self.serves, true) {
                socket::bear_slow_reading(&talk.stream);
            }
        }
        if self.out.is_empty() {
            // Who is idle holds no memory.
            self.out = Vec::new();
        }
        Ok(())
    }

    fn append(&mut self, block: BlockRange, store: &Store) -> Result<(), Closed> {
        let raw = RawBlock { part: block.part.get(), begin: block.begin, len: block.len };
        encode_block_header(&raw, &mut self.out);
        if block.len >= BULK {
            self.bulk = Some((block, 0));
            return Ok(());
        }
        let start = self.out.len();
        self.out.resize(start + block.len as usize, 0);
        store.read_at(offset(&block, store), &mut self.out[start..]).map_err(|error| unreadable(store, &error))?;
        self.short.push_back((self.out.len(), block));
        Ok(())
    }

    /// Whether the block can be read without waiting for the disk; if not, sees to it.
    fn is_warm(&mut self, block: BlockRange, store: &Store) -> bool {
        if self.warming.is_some() {
            return false;
        }
        let start = offset(&block, store);
        let end = start + u64::from(block.len);
        if self.warm.start <= start && end <= self.warm.end {
            return true;
        }
        self.warm = start..end.max((start + AHEAD).min(store.geometry().size()));
        let warm = store.is_warm(self.warm.clone());
        if !warm {
            let (store, range) = (store.clone(), self.warm.clone());
            self.warming = Some(tokio::task::spawn_blocking(move || {
                let _ = store.warm(range);
            }));
        }
        warm
    }

    /// One write to the socket; without an error in it, how many bytes it took.
    fn write(&mut self, talk: &mut Talk, now: Time) -> Result<Result<usize, Turn>, Closed> {
        let bulk = self.bulk.filter(|_| self.gone == self.out.len());
        let (free, limited) = match bulk {
            Some((block, gone)) => (0, (block.len - gone) as usize),
            None => {
                let free = match self.bulk {
                    Some(_) => self.out.len(),
                    None => self.free,
                };
                let free = free.saturating_sub(self.gone);
                (free, self.out.len() - self.gone - free)
            }
        };
        let granted = match limited {
            0 => 0,
            _ => self.limiter.take(now, limited.min(TURN) as u32) as usize,
        };
        if free + granted == 0 {
            return Ok(Err(Turn::Until(self.limiter.when_next(now))));
        }
        let result = match bulk {
            Some((block, gone)) => {
                let at = offset(&block, &talk.store) + u64::from(gone);
                send_file(talk, at, granted)
            }
            None => {
                let bytes = &self.out[self.gone..][..free + granted];
                socket::send(&talk.stream, bytes, self.bulk.is_some())
            }
        };
        let count = match &result {
            Ok(count) => *count,
            Err(_) => 0,
        };
        let unused = granted - count.saturating_sub(free);
        self.limiter.give_back(unused as u32);
        match result {
            Ok(0) => Err(Closed::Broken(format!("{} became shorter while it was shared", talk.store.path().display()))),
            Ok(count) => {
                self.on_written(count, bulk.is_some(), talk, now);
                Ok(Ok(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.untaken_since.get_or_insert(now);
                if self.bulk.is_some() || !self.short.is_empty() {
                    self.stuck_since.get_or_insert(now);
                }
                Ok(Err(Turn::Socket))
            }
            Err(error) => {
                if let Some((block, gone)) = bulk {
                    tell_if_unreadable(&talk.store, &block, gone);
                }
                Err(Closed::Broken(error.to_string()))
            }
        }
    }

    fn on_written(&mut self, count: usize, bulk: bool, talk: &mut Talk, now: Time) {
        self.stuck_since = None;
        self.untaken_since = None;
        if std::mem::take(&mut self.clogged) {
            talk.session.on_clogged(false);
        }
        talk.session.on_said(now);
        if !bulk {
            self.gone += count;
        } else if let Some((block, gone)) = &mut self.bulk {
            *gone += count as u32;
            if *gone == block.len {
                talk.session.on_sent(*block, now);
                self.bulk = None;
            }
        }
        while let Some(&(end, block)) = self.short.front()
            && end <= self.gone
        {
            self.short.pop_front();
            talk.session.on_sent(block, now);
        }
    }
}

fn offset(block: &BlockRange, store: &Store) -> u64 {
    store.geometry().part_start(block.part) + u64::from(block.begin)
}

/// Sending from the file failed, and the error does not say on which side. So what was to be sent is read once more, off
/// the runtime: the store tells that it cannot be.
fn tell_if_unreadable(store: &Store, block: &BlockRange, gone: u32) {
    let start = offset(block, store);
    let (store, range) = (store.clone(), start + u64::from(gone)..start + u64::from(block.len));
    tokio::task::spawn_blocking(move || store.warm(range));
}

fn unreadable(store: &Store, error: &io::Error) -> Closed {
    Closed::Broken(format!("{}: cannot read: {error}", store.path().display()))
}

/// At most so many zeroes are sent at once.
#[cfg(target_os = "linux")]
const ZEROES: &[u8] = &[0; 16 << 10];

#[cfg(target_os = "linux")]
fn send_file(talk: &Talk, offset: u64, len: usize) -> io::Result<usize> {
    match talk.store.slice(offset)? {
        Slice::File { file, at, len: there } => {
            let len = there.min(len as u64) as usize;
            socket::send_file(&talk.stream, &file, at, len)
        }
        Slice::Zeroes { len: there } => {
            let len = there.min(len.min(ZEROES.len()) as u64) as usize;
            socket::send(&talk.stream, &ZEROES[..len], false)
        }
    }
}

/// No block is long enough for it: see [`BULK`].
#[cfg(not(target_os = "linux"))]
fn send_file(_: &Talk, _: u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
