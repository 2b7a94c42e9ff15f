//! Who shares what: the swarms, in memory.
//!
//! Pure: the time, the dice and the seed are passed in. It is soft state, which a crash loses and one interval of
//! announces rebuilds. All fronts ask this one table.
//!
//! The swarms are spread over shards with a lock each, so that fronts on all cores ask at the same time; a lock is held
//! for one announce (a microsecond, with a list of 50 a few) or one slice of a [`Table::sweep`]. Which shard, and
//! which place within it, is for a secret [`Seed`] to say, since info-hashes, ids and addresses are chosen by
//! strangers.
//!
//! What it gives an attacker: an entry of about 90 bytes for each announce under a new peer id, 0.6 KiB where it is in a
//! swarm of its own; up to [`MAX_MEMBERS`], [`MAX_SWARMS`], [`MAX_IN_SWARM`] and, for one address, [`MAX_AT_ADDRESS`]. Then
//! new members are refused until others expire, while those in the table go on.

mod address;
mod crowd;
mod member;
mod roll;
mod seed;
mod swarm;
mod sweep;

use core::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use address::{Caller, home, is_private, shown};
use crowd::Crowd;
pub use crowd::MOST as MAX_AT_ADDRESS;
use member::Who;
pub use seed::{Seed, octets};
use swarm::Swarm;

use super::policy;
use crate::{
    announce::{Announce, Counts, Event, Listed},
    metainfo::InfoHash,
    time::Time,
    wire::handshake::PeerId,
};

/// Members in all swarms together, at most: 200 MiB.
pub const MAX_MEMBERS: usize = 2_000_000;
/// Swarms, at most: 150 MiB if there is one member in each.
pub const MAX_SWARMS: usize = 250_000;
/// Members in one swarm, at most. A row that grows is copied, which takes longer the longer it is: 10 ms at this length.
pub const MAX_IN_SWARM: usize = 125_000;
/// Locks over the whole table: so many that of a thousand announces one at most meets the lock that a thread holds which the
/// system has taken from its core.
const SHARDS: usize = 1024;

/// Somebody joined or left a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub info_hash: InfoHash,
    /// Where it is seen from here; [`Change::shown_to`] says where others dial it.
    pub address: SocketAddr,
    pub what: What,
    /// Members in this swarm afterwards.
    pub members: usize,
    /// The member's own word that brought it; None where the member said nothing: it fell silent, or another took its
    /// address.
    pub word_of: Option<Origin>,
}

/// The member behind a change, as it announced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub id: PeerId,
    /// The address that the announce came from.
    pub source: IpAddr,
    /// Bytes that the member lacks.
    pub left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Joined,
    /// It was listed already, and is reached at this address now.
    Moved,
    /// It lacked something and has all of it now.
    Completed,
    /// It said so.
    Left,
    /// Its live link broke.
    Gone,
    /// It was not heard in time.
    Silent,
    /// Another member announced the same address: the program there was started again.
    Replaced,
}

impl Change {
    /// Where this asker can dial the member; None where it cannot.
    pub fn shown_to(&self, asker: &Caller) -> Option<SocketAddr> {
        address::shown(self.address, asker)
    }

    /// The same, with this for the reason where the member has left.
    pub fn because(self, leave: What) -> Self {
        let what = if self.what == What::Left { leave } else { self.what };
        Self { what, ..self }
    }
}

/// What the table says to an announce, beside the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Seconds until the next announce.
    pub interval: u32,
    pub counts: Counts,
}

/// Why a new member was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("this conductor is full, try again later")]
    Table,
    #[error("this swarm is full, try again later")]
    Swarm,
    #[error("too many members at your address, try again once some have left")]
    Address,
}

type Shard = HashMap<InfoHash, Swarm, Seed>;

pub struct Table {
    seed: Seed,
    shards: Vec<Mutex<Shard>>,
    crowd: Arc<Crowd>,
    members: AtomicUsize,
    swarms: AtomicUsize,
}

impl Table {
    /// An empty table. The seed has to be a secret: see [`Seed`].
    pub fn new(seed: Seed) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::with_hasher(seed)));
        let crowd = Arc::new(Crowd::new(seed));
        Self { seed, shards: shards.collect(), crowd, members: AtomicUsize::new(0), swarms: AtomicUsize::new(0) }
    }

    /// Members in all swarms together; one who is in two swarms counts twice.
    pub fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// Swarms with at least one member.
    pub fn swarms(&self) -> usize {
        self.swarms.load(Ordering::Relaxed)
    }

    /// Takes an announce in and answers it. What it changed goes to `tell`, whom to list to `list`, which says whether it
    /// took that one; both are called under the swarm's lock, so that changes are told in their true order.
    pub fn announce(
        &self,
        announce: &Announce,
        caller: &Caller,
        now: Time,
        dice: &mut fastrand::Rng,
        mut tell: impl FnMut(Change),
        list: impl FnMut(Listed) -> bool,
    ) -> Result<Word, Full> {
        let who = Who::new(announce, caller, self.seed);
        let mut shard = self.shard(&announce.info_hash);
        if announce.event == Some(Event::Stopped) {
            return Ok(self.leave(&mut shard, &who, announce, caller, tell));
        }
        let ip = address::home(announce, caller).ip();
        let shard = &mut *shard;
        let swarm = match shard.get_mut(&announce.info_hash) {
            Some(swarm) => swarm,
            None => {
                self.has_room(0, ip)?;
                self.swarms.fetch_add(1, Ordering::Relaxed);
                shard.entry(announce.info_hash).or_insert_with(|| Swarm::new(self.seed, self.crowd.clone()))
            }
        };
        let before = swarm.members();
        let known = swarm.find(&who);
        if known.is_none() && before > 0 {
            self.has_room(before, ip)?;
        }
        let interval = policy::interval(&announce.info_hash, before + usize::from(known.is_none()), self.members());
        let lifetime = policy::lifetime(&announce.id, interval);
        let arrival = swarm.arrive(who, known, announce, caller, now.saturating_add(lifetime));
        let members = swarm.members();
        if members != before {
            self.members.fetch_add(members, Ordering::Relaxed);
            self.members.fetch_sub(before, Ordering::Relaxed);
        }
        let mut told = |what, members| tell(change(announce, caller, what, members));
        if arrival.replaced {
            told(What::Replaced, members - usize::from(arrival.new));
        }
        if arrival.new {
            told(What::Joined, members);
        }
        if arrival.moved {
            told(What::Moved, members);
        }
        if arrival.completed {
            told(What::Completed, members);
        }
        swarm.list(announce, arrival.place, caller, policy::wanted(announce.numwant), dice, list);
        Ok(Word { interval, counts: swarm.counts() })
    }

    /// Whether a swarm with this many members may take one more, at this address.
    fn has_room(&self, in_swarm: usize, ip: IpAddr) -> Result<(), Full> {
        if !self.crowd.has_room(ip) {
            return Err(Full::Address);
        }
        let table = self.members() < MAX_MEMBERS && (in_swarm > 0 || self.swarms() < MAX_SWARMS);
        match (table, in_swarm < MAX_IN_SWARM) {
            (true, true) => Ok(()),
            (false, _) => Err(Full::Table),
            (true, false) => Err(Full::Swarm),
        }
    }

    fn leave(
        &self,
        shard: &mut Shard,
        who: &Who,
        announce: &Announce,
        caller: &Caller,
        mut tell: impl FnMut(Change),
    ) -> Word {
        let mut counts = Counts::default();
        let mut members = 0;
        if let Some(swarm) = shard.get_mut(&announce.info_hash) {
            let (left, completed) = swarm.leave(who, announce.left == 0);
            counts = swarm.counts();
            members = swarm.members();
            if left {
                self.members.fetch_sub(1, Ordering::Relaxed);
                if completed {
                    tell(change(announce, caller, What::Completed, members + 1));
                }
                tell(change(announce, caller, What::Left, members));
            }
            if members == 0 {
                self.forget(shard, &announce.info_hash);
            }
        }
        Word { interval: policy::interval(&announce.info_hash, members, self.members()), counts }
    }

    /// Takes out a swarm that nobody is in.
    fn forget(&self, shard: &mut Shard, info_hash: &InfoHash) {
        if shard.remove(info_hash).is_some() {
            self.swarms.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A swarm in numbers; zeros where nobody is.
    pub fn counts(&self, info_hash: &InfoHash) -> Counts {
        self.shard(info_hash).get(info_hash).map_or_else(Counts::default, Swarm::counts)
    }

    /// Up to `most` members of a swarm where this asker can reach them, and how many bytes each lacks; seeds first.
    pub fn holders(&self, info_hash: &InfoHash, asker: &Caller, most: usize) -> Vec<(SocketAddr, u64)> {
        let shard = self.shard(info_hash);
        shard.get(info_hash).into_iter().flat_map(|swarm| swarm.holders(asker)).take(most).collect()
    }

    fn shard(&self, info_hash: &InfoHash) -> MutexGuard<'_, Shard> {
        // The low bits place it within the shard.
        let nth = (self.seed.place(&info_hash.0) >> 32) as usize % self.shards.len();
        lock(&self.shards[nth])
    }
}

/// A panic under the lock is a bug of one announce; the others go on.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn change(announce: &Announce, caller: &Caller, what: What, members: usize) -> Change {
    let origin = Origin { id: announce.id, source: caller.source, left: announce.left };
    // Who was replaced is not the one who announces.
    let word_of = (what != What::Replaced).then_some(origin);
    Change { info_hash: announce.info_hash, address: address::home(announce, caller), what, members, word_of }
}

#[cfg(test)]
mod tests;
