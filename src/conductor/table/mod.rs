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
//! members that are alone in a swarm and whose source has the most give way to those of smaller sources; where nobody can,
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
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

pub use address::{Caller, Home, is_private, shown};
use crowd::Crowd;
pub use crowd::MOST as MAX_AT_ADDRESS;
pub use member::Basis;
use member::Who;
pub use seed::{Seed, octets};
use swarm::{Departure, Swarm};

use super::policy;
use crate::{
    announce::{Announce, Counts, Event, Listed},
    metainfo::InfoHash,
    net::network::Networks,
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
/// Swarms of one member that are looked at for one to give way.
const LOOKS: usize = 64;

/// Somebody joined or left a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub info_hash: InfoHash,
    /// Where it is seen from here; [`Change::shown_to`] says where others dial it.
    pub address: SocketAddr,
    /// The member came to this address, and it is claimed only: see [`Basis::Claimed`].
    pub claimed: bool,
    /// The member came to this address, and this conductor may dial it to see whether it can be reached. It may not where
    /// the member is not known to be on that network; nor where it came from the loopback, which a proxy does for anybody.
    pub dial: bool,
    /// The member is gone from this address, and another one is there still.
    pub stays: bool,
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
    /// Another member announced from the same address: the program there was started again.
    Replaced,
    /// The table was full, and it was alone in its swarm and of the largest source.
    Crowded,
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
    /// Those that this machine is on.
    networks: RwLock<Arc<Networks>>,
    members: AtomicUsize,
    swarms: AtomicUsize,
    max_members: usize,
    max_swarms: usize,
}

impl Table {
    /// An empty table. The seed has to be a secret: see [`Seed`].
    pub fn new(seed: Seed) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::with_hasher(seed)));
        let crowd = Arc::new(Crowd::new(seed));
        let (networks, members, swarms) = (RwLock::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let (max_members, max_swarms) = (MAX_MEMBERS, MAX_SWARMS);
        Self { seed, shards: shards.collect(), crowd, networks, members, swarms, max_members, max_swarms }
    }

    /// Tells which networks this machine is on now.
    pub fn set_networks(&self, networks: Networks) {
        *self.networks.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(networks);
    }

    /// Where a member that announces is taken to listen.
    pub fn home(&self, announce: &Announce, caller: &Caller) -> Home {
        Home::of(announce, caller, || self.networks.read().unwrap_or_else(PoisonError::into_inner).clone())
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
        let home = self.home(announce, caller);
        let ip = home.address.ip();
        let is_new = |shard: &Shard| shard.get(&announce.info_hash).is_none_or(|swarm| swarm.find(&who).is_none());
        if self.is_full() && is_new(&shard) && self.crowd.has_room(ip) {
            drop(shard);
            self.make_room(ip, dice, &mut tell);
            shard = self.shard(&announce.info_hash);
        }
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
        let arrival = swarm.arrive(who, known, announce, home, now.saturating_add(lifetime));
        let members = swarm.members();
        if members != before {
            self.members.fetch_add(members, Ordering::Relaxed);
            self.members.fetch_sub(before, Ordering::Relaxed);
        }
        let (address, claimed) = (home.address, home.basis == Basis::Claimed);
        let dial = !claimed && !caller.source.is_loopback();
        let info_hash = announce.info_hash;
        let origin = Origin { id: announce.id, source: caller.source, left: announce.left };
        let mut told = |what, members| {
            // Who was replaced is not the one who announces.
            let word_of = (what != What::Replaced).then_some(origin);
            tell(Change { info_hash, address, claimed, dial, stays: false, what, members, word_of });
        };
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
        let table = self.members() < self.max_members && (in_swarm > 0 || self.swarms() < self.max_swarms);
        match (table, in_swarm < MAX_IN_SWARM) {
            (true, true) => Ok(()),
            (false, _) => Err(Full::Table),
            (true, false) => Err(Full::Swarm),
        }
    }

    fn is_full(&self) -> bool {
        self.members() >= self.max_members || self.swarms() >= self.max_swarms
    }

    /// Takes out a member that is alone in its swarm, if its source has more members than the newcomer's: of [`LOOKS`] that
    /// are drawn at random the one whose source has the most. Who fills the table is met with the first look, mostly.
    fn make_room(&self, newcomer: IpAddr, dice: &mut fastrand::Rng, tell: &mut impl FnMut(Change)) {
        let mut shard = lock(&self.shards[dice.usize(..self.shards.len())]);
        let first = dice.usize(..shard.len().max(1));
        let swarms = shard.iter().skip(first).chain(shard.iter().take(first));
        let lone = swarms.filter_map(|(hash, swarm)| Some((self.crowd.count(swarm.lone()?.ip()), *hash))).take(LOOKS);
        let Some((count, info_hash)) = lone.max_by_key(|(count, _)| *count) else { return };
        if count > self.crowd.count(newcomer)
            && let Some(address) = shard.get_mut(&info_hash).and_then(Swarm::take_lone)
        {
            self.members.fetch_sub(1, Ordering::Relaxed);
            self.forget(&mut shard, &info_hash);
            let what = What::Crowded;
            let (claimed, dial, stays, word_of) = (false, false, false, None);
            tell(Change { info_hash, address, claimed, dial, stays, what, members: 0, word_of });
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
            let at = SocketAddr::new(caller.source, announce.port);
            let left = swarm.leave(who, at, announce.left == 0);
            counts = swarm.counts();
            members = swarm.members();
            if let Some((Departure { address, stays }, completed)) = left {
                self.members.fetch_sub(1, Ordering::Relaxed);
                let info_hash = announce.info_hash;
                let origin = Origin { id: announce.id, source: caller.source, left: announce.left };
                let (claimed, dial, word_of) = (false, false, Some(origin));
                if completed {
                    let (what, members) = (What::Completed, members + 1);
                    tell(Change { info_hash, address, claimed, dial, stays: false, what, members, word_of });
                }
                tell(Change { info_hash, address, claimed, dial, stays, what: What::Left, members, word_of });
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

#[cfg(test)]
mod tests;
