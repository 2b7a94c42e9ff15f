//! Who shares what: the swarms, in memory.
//!
//! Pure: the time and the dice are passed in. It is soft state, which a crash loses and one interval of announces
//! rebuilds. An announce costs constant time beyond the members that it lists (2 microseconds, 16 with a list of 50 from
//! a swarm of 200,000), so one lock around the whole table serves more announces than the sockets bring.
//!
//! What it gives an attacker: an entry of 0.5 KiB (1.4 KiB in a swarm of its own) for each announce under a new peer id,
//! up to [`MAX_MEMBERS`]; then new members are refused until others expire, while those in the table go on.

mod address;
mod roll;
mod swarm;

use core::net::SocketAddr;
use std::collections::HashMap;

pub use address::Caller;
use swarm::Swarm;

use super::policy;
use crate::{
    announce::{Announce, Answer, Counts, Event, Reply},
    metainfo::InfoHash,
    time::Time,
};

/// Members in all swarms together, at most: 340 MiB if each has a swarm of its own.
pub const MAX_MEMBERS: usize = 250_000;

/// Somebody joined or left a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub info_hash: InfoHash,
    pub address: SocketAddr,
    pub what: What,
    /// Members in this swarm afterwards.
    pub members: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Joined,
    /// It said so.
    Left,
    /// It was not heard in time.
    Silent,
    /// Another member announced the same address: the program there was started again.
    Replaced,
}

#[derive(Default)]
pub struct Table {
    swarms: HashMap<InfoHash, Swarm>,
    members: usize,
}

impl Table {
    /// Members in all swarms together; one who is in two swarms counts twice.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Takes an announce in and answers it. What it changed is appended to `changes`.
    pub fn announce(
        &mut self,
        announce: &Announce,
        caller: &Caller,
        now: Time,
        dice: &mut fastrand::Rng,
        changes: &mut Vec<Change>,
    ) -> Reply {
        if announce.event == Some(Event::Stopped) {
            return self.leave(announce, caller, changes);
        }
        let known = self.swarms.get(&announce.info_hash).is_some_and(|swarm| swarm.knows(announce, caller));
        if !known && self.members >= MAX_MEMBERS {
            return Reply::Failure("this conductor is full, try again later".into());
        }
        let swarm = self.swarms.entry(announce.info_hash).or_default();
        let before = swarm.members();
        let interval = policy::interval(before + usize::from(!known), self.members);
        let lifetime = policy::lifetime(&announce.id, interval);
        let arrival = swarm.arrive(announce, caller, now.saturating_add(lifetime));
        let members = swarm.members();
        self.members = self.members - before + members;
        let change = |what, members| Change {
            info_hash: announce.info_hash,
            address: address::home(announce, caller),
            what,
            members,
        };
        if arrival.replaced {
            changes.push(change(What::Replaced, members - usize::from(arrival.new)));
        }
        if arrival.new {
            changes.push(change(What::Joined, members));
        }
        let list = swarm.list(announce, caller, policy::wanted(announce.numwant), dice);
        Reply::Answer(Answer { peers: list, ..answer(interval, swarm.counts(), caller) })
    }

    fn leave(&mut self, announce: &Announce, caller: &Caller, changes: &mut Vec<Change>) -> Reply {
        let mut counts = Counts::default();
        let mut members = 0;
        if let Some(swarm) = self.swarms.get_mut(&announce.info_hash) {
            let left = swarm.leave(announce, caller);
            counts = swarm.counts();
            members = swarm.members();
            if left {
                self.members -= 1;
                changes.push(Change {
                    info_hash: announce.info_hash,
                    address: address::home(announce, caller),
                    what: What::Left,
                    members,
                });
            }
        }
        if members == 0 {
            self.swarms.remove(&announce.info_hash);
        }
        Reply::Answer(answer(policy::interval(members, self.members), counts, caller))
    }

    /// A swarm in numbers; zeros where nobody is.
    pub fn counts(&self, info_hash: &InfoHash) -> Counts {
        self.swarms.get(info_hash).map_or_else(Counts::default, Swarm::counts)
    }

    /// Up to `most` members of a swarm where this asker can reach them, and how many bytes each lacks; seeds first.
    pub fn holders(&self, info_hash: &InfoHash, asker: &Caller, most: usize) -> Vec<(SocketAddr, u64)> {
        self.swarms.get(info_hash).into_iter().flat_map(|swarm| swarm.holders(asker)).take(most).collect()
    }

    /// Takes out who was not heard in time; to be called about once a second. A swarm where nobody can be due costs one
    /// comparison.
    pub fn sweep(&mut self, now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        for (info_hash, swarm) in &mut self.swarms {
            let gone = swarm.expire(now);
            self.members -= gone.len();
            let mut members = swarm.members() + gone.len();
            for address in gone {
                members -= 1;
                changes.push(Change { info_hash: *info_hash, address, what: What::Silent, members });
            }
        }
        self.swarms.retain(|_, swarm| !swarm.is_empty());
        changes
    }
}

fn answer(interval: u32, counts: Counts, caller: &Caller) -> Answer {
    Answer {
        interval,
        min_interval: Some(interval),
        complete: Some(counts.complete),
        incomplete: Some(counts.incomplete),
        peers: Vec::new(),
        external_ip: Some(caller.source),
        warning: None,
    }
}

#[cfg(test)]
mod tests;
