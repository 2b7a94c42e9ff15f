//! One request of the swarm to a mirror: some parts that follow each other, got and put together.
//!
//! It decides nothing. Bytes go through the same assembly and the same limit as a member's; what was begun by others is
//! gone on with, and what is broken off is put away for them.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use super::{Event, Failure, stream::Stream};
use crate::{
    geometry::{BlockRange, PartIndex},
    net::limiter::Limiter,
    peer::PeerKey,
    storage::{Assembly, Store, Verdict},
};

/// Bytes that came are told after so many, or so long.
const TELL_BYTES: u32 = 256 << 10;
const TELL_AFTER: Duration = Duration::from_millis(100);

/// What an errand is made of.
pub struct Errand {
    /// The name of the mirror among all that bytes come from.
    pub key: PeerKey,
    /// The numbers of the parts.
    pub parts: Range<u32>,
    pub stream: Stream,
    pub store: Store,
    pub limiter: Limiter,
    /// When time was zero.
    pub start: Instant,
    /// The number of the part before which it ends, if that is lower than the last; with the sender gone, at once.
    pub cut: watch::Receiver<u32>,
    /// What the owner hears, in batches; the last ends with [`Event::Over`].
    pub events: mpsc::Sender<(PeerKey, Vec<Event>)>,
}

/// Why it ends before its last part.
enum Stop {
    Cut,
    Failed(Failure),
}

/// Runs it to its end.
pub async fn run(errand: Errand) {
    let Errand { key, parts, stream, store, limiter, start, cut, events } = errand;
    let geometry = *store.geometry();
    let mut runner = Runner { key, stream, store, limiter, start, cut, events, received: 0, told: start.elapsed() };
    let mut rest = parts.clone().filter_map(|number| geometry.part(number));
    let mut failure = None;
    let first = geometry.part(parts.start);
    let mut unfinished = None;
    for part in rest.by_ref() {
        if let Err(stop) = runner.part(part, parts.end).await {
            unfinished = Some(part);
            if let Stop::Failed(why) = stop {
                failure = Some(why);
            }
            break;
        }
    }
    let released = unfinished.into_iter().chain(rest).map(Event::Released);
    let over = first.map(|first| Event::Over { first, failure });
    runner.tell(released.chain(over).collect()).await;
}

struct Runner {
    key: PeerKey,
    stream: Stream,
    store: Store,
    limiter: Limiter,
    start: Instant,
    cut: watch::Receiver<u32>,
    events: mpsc::Sender<(PeerKey, Vec<Event>)>,
    /// Bytes that came and were not told yet, and when some were told last.
    received: u32,
    told: Duration,
}

impl Runner {
    /// Gets one part; those up to the one numbered `end` follow.
    async fn part(&mut self, part: PartIndex, end: u32) -> Result<(), Stop> {
        // In other hands: they may do something else with it yet.
        let Some(mut assembly) = self.store.begin(part) else { return Err(Stop::Cut) };
        for blocks in assembly.missing() {
            let range = self.store.geometry().block_run(part, blocks);
            let mut done = 0;
            let filled = self.fill(&mut assembly, range, end, &mut done).await;
            if let Some(came) = self.store.geometry().range(part.get(), range.begin, done) {
                assembly.block_done(came, self.key);
            }
            if let Err(stop) = filled {
                self.store.park(assembly);
                return Err(stop);
            }
        }
        let event = match self.store.verify(assembly).await {
            Verdict::Right(verified) => {
                self.store.commit(verified).await;
                Event::Right(part)
            }
            Verdict::Wrong { alone } => Event::Wrong { part, alone: alone == Some(self.key) },
            // The store tells of the failure.
            Verdict::Lost => Event::Released(part),
        };
        self.tell(vec![event]).await;
        Ok(())
    }

    /// Gets these bytes of a part; `done` says how many of them came, whatever becomes of the rest.
    async fn fill(&mut self, assembly: &mut Assembly, range: BlockRange, end: u32, done: &mut u32) -> Result<(), Stop> {
        let start = self.store.geometry().part_start(range.part);
        while *done < range.len {
            let at = range.begin + *done;
            let wanted = start + u64::from(at)..start + u64::from(range.end());
            // What lies behind a gap in the part is there already, and is not asked for.
            let until = match range.end() == self.store.geometry().part_len(range.part) {
                true => self.end(end).max(wanted.end),
                false => wanted.end,
            };
            let mut bytes = self.read(range.part, &wanted, until).await?;
            while !bytes.is_empty() {
                let granted = bytes.split_to(self.granted(bytes.len() as u32).await);
                self.put(assembly, range.begin + *done, &granted).await;
                *done += granted.len() as u32;
                self.received += granted.len() as u32;
                if self.received >= TELL_BYTES || self.start.elapsed() >= self.told + TELL_AFTER {
                    self.tell(Vec::new()).await;
                }
            }
        }
        Ok(())
    }

    /// Where in the composition the errand ends, as far as is known now.
    fn end(&self, end: u32) -> u64 {
        let geometry = self.store.geometry();
        let end = end.min(*self.cut.borrow());
        geometry.part(end).map_or(geometry.size(), |part| geometry.part_start(part))
    }

    /// The next bytes of this part, unless it is to be left.
    async fn read(&mut self, part: PartIndex, wanted: &Range<u64>, until: u64) -> Result<Bytes, Stop> {
        loop {
            if *self.cut.borrow_and_update() <= part.get() {
                return Err(Stop::Cut);
            }
            tokio::select! {
                biased;
                changed = self.cut.changed() => changed.map_err(|_| Stop::Cut)?,
                bytes = self.stream.read(wanted.start, wanted.end, until) => return bytes.map_err(Stop::Failed),
            }
        }
    }

    async fn put(&self, assembly: &mut Assembly, mut at: u32, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if assembly.needs_flush(at) {
                self.store.spool(assembly).await;
            }
            let space = assembly.space(at, bytes.len() as u32);
            let count = space.len();
            space.copy_from_slice(&bytes[..count]);
            assembly.filled(at, count as u32);
            bytes = &bytes[count..];
            at += count as u32;
        }
    }

    /// How many of so many bytes may have come by now; waits until there is one.
    async fn granted(&self, bytes: u32) -> usize {
        loop {
            let now = self.start.elapsed();
            match self.limiter.take(now, bytes) {
                0 => sleep_until((self.start + self.limiter.when_next(now)).into()).await,
                granted => return granted as usize,
            }
        }
    }

    /// Tells what came, and this.
    async fn tell(&mut self, mut events: Vec<Event>) {
        if self.received > 0 {
            events.insert(0, Event::Received(std::mem::take(&mut self.received)));
        }
        self.told = self.start.elapsed();
        if !events.is_empty() {
            // Without an owner there is nobody to tell.
            let _ = self.events.send((self.key, events)).await;
        }
    }
}
