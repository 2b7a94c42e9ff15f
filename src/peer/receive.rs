//! The way in: bytes of the socket to messages for the session, and to parts in the making.
//!
//! A block's payload is read straight to where its part is assembled, together with what follows it into the scratch
//! buffer, in one system call and without a copy. Reading rests while the disk has to catch up, while the limit on
//! what may come is used up, and while the other side lets pile up what we say to it.
//!
//! Invariant: a payload lands only where the session said that it was asked for.

use std::{collections::VecDeque, io, pin::Pin};

use super::{
    Closed, Command, Event,
    driver::{Talk, Turn},
    scratch::{self, Scratch},
    session::Landing,
    socket,
};
use crate::{
    geometry::{BlockRange, PartIndex},
    net::limiter::Limiter,
    storage::{Assembly, Store, Verdict},
    time::Time,
    wire::{
        decode::{Limits, decode},
        message::Frame,
    },
};

/// Bytes taken in at most before somebody else has a turn.
const TURN: usize = 1 << 20;
/// Bytes of a payload read at once: they are hashed next, and should still be in the processor's cache.
const READ: u32 = 256 * 1024;
/// Behind the payload of a block this long only the next header is read along: more would have to be copied.
const LARGE: u32 = 64 * 1024;
const BESIDE_LARGE: usize = 1024;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the disk is asked to do before anything more is read.
enum Disk {
    Verify(PartIndex, Later<Verdict>),
    Commit(Later<()>),
}

/// The block whose payload is coming.
struct Payload {
    /// None: it is thrown away.
    into: Option<BlockRange>,
    len: u32,
    done: u32,
}

impl Payload {
    fn left(&self) -> u32 {
        self.len - self.done
    }
}

/// A part, and what the disk found of it.
pub struct Judged(PartIndex, Verdict);

pub struct Receiver {
    limits: Limits,
    limiter: Limiter,
    scratch: Scratch,
    payload: Option<Payload>,
    /// The parts that are being fetched and of which something came.
    parts: Vec<Assembly>,
    /// Parts of which nothing was missing any more when they were to be fetched: to be verified.
    whole: VecDeque<Assembly>,
    disk: Option<Disk>,
}

impl Receiver {
    pub fn new(limits: Limits, limiter: Limiter) -> Self {
        Self {
            limits,
            limiter,
            scratch: Scratch::default(),
            payload: None,
            parts: Vec::new(),
            whole: VecDeque::new(),
            disk: None,
        }
    }

    /// Takes in what the socket has.
    pub fn turn(&mut self, talk: &mut Talk) -> Result<Turn, Closed> {
        let mut taken = 0;
        loop {
            let now = talk.now();
            self.digest(talk, now)?;
            if self.waits_for_disk() {
                return Ok(Turn::Disk);
            }
            if !talk.session.takes_input() {
                return Ok(Turn::Nothing);
            }
            if taken >= TURN {
                return Ok(Turn::More);
            }
            match self.read(talk, now)? {
                Ok(count) => taken += count,
                Err(turn) => return Ok(turn),
            }
        }
    }

    /// A part is to be fetched: what came of it earlier is taken up, and the session told what is missing. That may be
    /// nothing: the last bytes of a part can come just after it was released and just before it is put away.
    pub fn fetch(&mut self, part: PartIndex, talk: &mut Talk) {
        let parked = talk.store.take_parked(part);
        let missing = match &parked {
            Some(assembly) => assembly.missing(),
            None => std::iter::once(0..talk.store.geometry().blocks(part)).collect(),
        };
        let now = talk.now();
        let is_whole = talk.session.fetch(part, &missing, now).is_some();
        match parked {
            Some(assembly) if is_whole => self.whole.push_back(assembly),
            Some(assembly) => self.parts.push(assembly),
            None => {}
        }
    }

    /// A part is not fetched here any more: what came of it is kept for others.
    pub fn put_away(&mut self, part: PartIndex, talk: &Talk) {
        if let Some(payload) = &mut self.payload
            && let Some(block) = payload.into.take_if(|block| block.part == part)
            && let Some(came) = talk.store.geometry().range(part.get(), block.begin, payload.done)
            && let Some(assembly) = find(&mut self.parts, part)
        {
            assembly.block_done(came, talk.key);
        }
        if let Some(at) = self.parts.iter().position(|a| a.part() == part) {
            talk.store.park(self.parts.swap_remove(at));
        }
    }

    /// The conversation is over: what is with the disk gets done, all else is put away.
    pub async fn finish(&mut self, talk: &mut Talk) {
        self.verify_next(talk);
        while self.disk.is_some() {
            if let Some(judged) = self.disk_done(&talk.store).await {
                self.on_verdict(judged, talk);
            }
            self.verify_next(talk);
        }
        while let Some(assembly) = self.parts.first() {
            self.put_away(assembly.part(), talk);
        }
    }

    /// Waits until the disk did what [`Turn::Disk`] stands for. May be dropped and called again. What it says of a part
    /// goes to [`Receiver::on_verdict`].
    pub async fn disk_done(&mut self, store: &Store) -> Option<Judged> {
        match &mut self.disk {
            Some(Disk::Verify(part, verdict)) => {
                let judged = Judged(*part, verdict.await);
                self.disk = None;
                Some(judged)
            }
            Some(Disk::Commit(handed_over)) => {
                handed_over.await;
                self.disk = None;
                None
            }
            None => {
                if let Some(block) = self.payload.as_ref().and_then(|payload| payload.into)
                    && let Some(assembly) = find(&mut self.parts, block.part)
                {
                    store.spool(assembly).await;
                }
                None
            }
        }
    }

    pub fn on_verdict(&mut self, Judged(part, verdict): Judged, talk: &mut Talk) {
        let event = match verdict {
            Verdict::Right(verified) => {
                let store = talk.store.clone();
                let commit = async move { store.commit(verified).await };
                self.disk = Some(Disk::Commit(Box::pin(commit)));
                Event::Right(part)
            }
            Verdict::Wrong { alone } => Event::Wrong { part, alone: alone == Some(talk.key) },
            // The store tells of the failure; the part is nobody's.
            Verdict::Lost => Event::Released { part, refused: false },
        };
        talk.session.on_verdict(event);
    }

    /// Makes what it can of the bytes that are there.
    fn digest(&mut self, talk: &mut Talk, now: Time) -> Result<(), Closed> {
        self.verify_next(talk);
        let mut more = true;
        while more && talk.session.takes_input() && !self.waits_for_disk() {
            more = match self.payload {
                Some(_) => self.absorb(talk, now),
                None => self.frame(talk, now)?,
            };
        }
        Ok(())
    }

    fn frame(&mut self, talk: &mut Talk, now: Time) -> Result<bool, Closed> {
        let Some((frame, taken)) = decode(self.scratch.filled(), &self.limits)? else {
            return Ok(false);
        };
        self.scratch.consume(taken);
        match frame {
            Frame::Message(message) => talk.session.on_message(message, now)?,
            Frame::Block(raw) => {
                let into = match talk.session.on_block(raw, now)? {
                    Landing::Wanted(block) => self.land(block, talk),
                    Landing::Unwanted => None,
                };
                self.payload = Some(Payload { into, len: raw.len, done: 0 });
            }
        }
        Ok(true)
    }

    /// Takes memory for a part when its first block comes, not when it is asked for.
    fn land(&mut self, block: BlockRange, talk: &mut Talk) -> Option<BlockRange> {
        if find(&mut self.parts, block.part).is_none() {
            let Some(assembly) = talk.store.begin(block.part) else {
                talk.session.command(Command::Release(block.part), talk.now());
                return None;
            };
            self.parts.push(assembly);
        }
        Some(block)
    }

    /// Payload that came along with something else is copied to its place.
    fn absorb(&mut self, talk: &mut Talk, now: Time) -> bool {
        let Some(payload) = &self.payload else {
            return false;
        };
        let here = self.scratch.filled();
        let mut count = here.len().min(payload.left() as usize);
        if let Some(block) = payload.into
            && let Some(assembly) = find(&mut self.parts, block.part)
        {
            let at = block.begin + payload.done;
            let space = assembly.space(at, count as u32);
            count = space.len();
            space.copy_from_slice(&here[..count]);
            assembly.filled(at, count as u32);
        }
        if count == 0 {
            // A wake-up of our own is nothing that the other side did.
            return false;
        }
        self.scratch.consume(count);
        self.came(count as u32, talk, now);
        true
    }

    /// One read from the socket; without an error in it, how many bytes came.
    fn read(&mut self, talk: &mut Talk, now: Time) -> Result<Result<usize, Turn>, Closed> {
        let mut place: &mut [u8] = &mut [];
        let mut beside = scratch::USUAL;
        let mut landing = None;
        if let Some(payload) = &self.payload
            && let Some(block) = payload.into
            && let Some(assembly) = self.parts.iter_mut().find(|a| a.part() == block.part)
        {
            let at = block.begin + payload.done;
            landing = Some((block.part, at));
            place = assembly.space(at, payload.left().min(READ));
            beside = match payload.left() as usize > place.len() {
                true => 0,
                false if payload.len >= LARGE => BESIDE_LARGE,
                false => scratch::USUAL,
            };
        }
        let spare = self.scratch.space();
        let beside = beside.min(spare.len());

        // Only payload is limited: whoever fetches from us is heard, however much this process fetches itself.
        let limiter = (self.payload.is_some() || talk.session.expects_blocks()).then_some(&self.limiter);
        let wanted = (place.len() + beside) as u32;
        let granted = limiter.map_or(wanted, |limiter| limiter.take(now, wanted));
        if granted == 0 {
            // Where nothing waits to be read, it is the other side that is silent, not the limit that holds it up.
            return Ok(Err(match socket::has_input(&talk.stream) {
                true => Turn::Until(self.limiter.when_next(now)),
                false => Turn::Socket,
            }));
        }
        let straight = place.len().min(granted as usize);
        let beside = granted as usize - straight;
        let count = match socket::read(&talk.stream, &mut place[..straight], &mut spare[..beside]) {
            Ok(0) => return Err(Closed::ByThem),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(limiter) = limiter {
                    limiter.give_back(granted);
                }
                return Ok(Err(Turn::Socket));
            }
            Err(error) => return Err(Closed::Broken(error.to_string())),
        };
        if let Some(limiter) = limiter {
            limiter.give_back(granted - count as u32);
        }

        let straight = count.min(straight);
        self.scratch.fill(count - straight);
        if let Some((part, at)) = landing
            && let Some(assembly) = find(&mut self.parts, part)
        {
            assembly.filled(at, straight as u32);
            self.came(straight as u32, talk, now);
        }
        Ok(Ok(count))
    }

    /// So many bytes of the payload are where they belong.
    fn came(&mut self, count: u32, talk: &mut Talk, now: Time) {
        talk.session.on_bytes(count, now);
        let Some(payload) = &mut self.payload else {
            return;
        };
        payload.done += count;
        if payload.left() > 0 {
            return;
        }
        let block = payload.into;
        self.payload = None;
        if let Some(block) = block
            && let Some(assembly) = find(&mut self.parts, block.part)
        {
            assembly.block_done(block, talk.key);
        }
        if let Some(part) = talk.session.on_block_end(now)
            && let Some(at) = self.parts.iter().position(|a| a.part() == part)
        {
            let assembly = self.parts.swap_remove(at);
            self.verify(assembly, talk);
        }
    }

    fn verify(&mut self, assembly: Assembly, talk: &Talk) {
        let (part, store) = (assembly.part(), talk.store.clone());
        let verdict = async move { store.verify(assembly).await };
        self.disk = Some(Disk::Verify(part, Box::pin(verdict)));
    }

    /// One after the other, when the disk has nothing else to do for this conversation.
    fn verify_next(&mut self, talk: &Talk) {
        if self.disk.is_none()
            && let Some(assembly) = self.whole.pop_front()
        {
            self.verify(assembly, talk);
        }
    }

    fn waits_for_disk(&self) -> bool {
        self.disk.is_some() || self.flush_due()
    }

    /// The part that the payload belongs to has no room before [`Store::spool`].
    fn flush_due(&self) -> bool {
        self.payload.as_ref().is_some_and(|payload| {
            let block = payload.into;
            block.is_some_and(|block| {
                let part = self.parts.iter().find(|a| a.part() == block.part);
                part.is_some_and(|a| a.needs_flush(block.begin + payload.done))
            })
        })
    }
}

fn find(parts: &mut [Assembly], part: PartIndex) -> Option<&mut Assembly> {
    parts.iter_mut().find(|assembly| assembly.part() == part)
}
