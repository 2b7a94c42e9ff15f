//! One swarm as the conductor sees it: who is in it, at which addresses, until when.
//!
//! Invariants: a member is either among the seeds or among the leechers, has at least one door, and every door with a
//! port is in `by_address` under its member, and nothing else is.

use core::net::SocketAddr;
use std::collections::HashMap;

use super::{
    address::{Caller, home, shown},
    roll::Roll,
};
use crate::{
    announce::{Announce, Counts, Listed},
    time::Time,
    wire::handshake::PeerId,
};

/// Seeds that a leecher hears of at least, where there are more members than it wants to hear of. Most of what it needs
/// comes from other leechers, and a few seeds must not be everybody's first choice.
const FEW_SEEDS: usize = 4;

/// What makes a member the same at its next announce. Peer ids are known to the whole swarm, so the id alone would let
/// anybody speak for it; the key is known to the conductor alone. A member that sends none is known by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Who {
    id: PeerId,
    proof: Proof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Proof {
    Key(u32),
    From(core::net::IpAddr),
}

impl Who {
    fn new(announce: &Announce, caller: &Caller) -> Self {
        Self { id: announce.id, proof: announce.key.map_or(Proof::From(caller.source), Proof::Key) }
    }
}

/// Where a member listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Door {
    address: SocketAddr,
    expires: Time,
}

/// A dual-stack member has a door in each IP version and counts once.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    v4: Option<Door>,
    v6: Option<Door>,
    /// Bytes that it lacked when it was last heard.
    left: u64,
}

impl Member {
    fn door(&mut self, address: SocketAddr) -> &mut Option<Door> {
        match address {
            SocketAddr::V4(_) => &mut self.v4,
            SocketAddr::V6(_) => &mut self.v6,
        }
    }

    fn doors(&self) -> impl Iterator<Item = Door> {
        self.v4.into_iter().chain(self.v6)
    }

    /// One address, in the asker's IP version where there is one.
    fn shown_to(&self, asker: &Caller) -> Option<SocketAddr> {
        let doors = match asker.source.is_ipv4() {
            true => [self.v4, self.v6],
            false => [self.v6, self.v4],
        };
        let mut doors = doors.into_iter().flatten();
        doors.find_map(|door| shown(door.address, asker))
    }
}

/// What an announce changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// It was not in the swarm before.
    pub new: bool,
    /// Another member was at this very address, and is no more: its program was started again.
    pub replaced: bool,
}

#[derive(Default)]
pub struct Swarm {
    seeds: Roll<Who, Member>,
    leechers: Roll<Who, Member>,
    by_address: HashMap<SocketAddr, Who>,
    downloaded: u32,
    /// No door expires before this.
    next_expiry: Time,
}

impl Swarm {
    pub fn members(&self) -> usize {
        self.seeds.len() + self.leechers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members() == 0
    }

    pub fn counts(&self) -> Counts {
        Counts {
            complete: self.seeds.len() as u32,
            incomplete: self.leechers.len() as u32,
            downloaded: self.downloaded,
        }
    }

    /// Whether this announce comes from somebody who is in the swarm.
    pub fn knows(&self, announce: &Announce, caller: &Caller) -> bool {
        let who = Who::new(announce, caller);
        self.seeds.contains(&who) || self.leechers.contains(&who)
    }

    /// Takes a member in, or what is new of it.
    pub fn arrive(&mut self, announce: &Announce, caller: &Caller, expires: Time) -> Arrival {
        let who = Who::new(announce, caller);
        let address = home(announce, caller);
        let replaced = self.vacate(address, who);
        let was_leecher = self.leechers.contains(&who);
        let known = self.seeds.remove(&who).or_else(|| self.leechers.remove(&who));
        let mut member = known.unwrap_or_default();
        member.left = announce.left;
        if let Some(old) = member.door(address).replace(Door { address, expires }) {
            self.by_address.remove(&old.address);
        }
        if announce.port != 0 {
            self.by_address.insert(address, who);
        }
        self.next_expiry = self.next_expiry.min(expires);
        if announce.left == 0 {
            self.downloaded += u32::from(was_leecher);
            self.seeds.insert(who, member);
        } else {
            self.leechers.insert(who, member);
        }
        Arrival { new: known.is_none(), replaced }
    }

    /// Takes the address from whoever else had it; returns whether that was its last.
    fn vacate(&mut self, address: SocketAddr, who: Who) -> bool {
        let Some(other) = self.by_address.get(&address).copied() else {
            return false;
        };
        if other == who {
            return false;
        }
        self.by_address.remove(&address);
        let roll = match self.seeds.contains(&other) {
            true => &mut self.seeds,
            false => &mut self.leechers,
        };
        let Some(member) = roll.get_mut(&other) else {
            return false;
        };
        *member.door(address) = None;
        member.doors().next().is_none() && roll.remove(&other).is_some()
    }

    /// Takes a member out; returns whether it was in.
    pub fn leave(&mut self, announce: &Announce, caller: &Caller) -> bool {
        let who = Who::new(announce, caller);
        let member = self.seeds.remove(&who).or_else(|| self.leechers.remove(&who));
        for door in member.iter().flat_map(Member::doors) {
            self.by_address.remove(&door.address);
        }
        member.is_some()
    }

    /// Takes out who was not heard in time; returns the last address of each. Costs nothing while nobody can be due.
    pub fn expire(&mut self, now: Time) -> Vec<SocketAddr> {
        if now < self.next_expiry {
            return Vec::new();
        }
        self.next_expiry = Time::MAX;
        let mut gone = Vec::new();
        for roll in [&mut self.seeds, &mut self.leechers] {
            let mut empty = Vec::new();
            for (who, member) in roll.iter_mut() {
                let mut last = None;
                for door in [&mut member.v4, &mut member.v6] {
                    if let Some(due) = door.take_if(|door| door.expires <= now) {
                        self.by_address.remove(&due.address);
                        last = Some(due.address);
                    }
                }
                let next = member.doors().map(|door| door.expires).min();
                match (next, last) {
                    (Some(next), _) => self.next_expiry = self.next_expiry.min(next),
                    (None, last) => empty.push((*who, last)),
                }
            }
            for (who, last) in empty {
                roll.remove(&who);
                gone.extend(last);
            }
        }
        gone
    }

    /// Up to `wanted` members for this asker, drawn at random: a seed has no use for other seeds, a leecher hears of
    /// everybody, and of [`FEW_SEEDS`] at least where not everybody fits.
    pub fn list(&self, announce: &Announce, caller: &Caller, wanted: usize, dice: &mut fastrand::Rng) -> Vec<Listed> {
        let who = Who::new(announce, caller);
        let wanted = wanted.min(self.members());
        let seeds = match announce.left {
            0 if announce.may_lack_its_info() => FEW_SEEDS.min(self.seeds.len()).min(wanted),
            0 => 0,
            _ => FEW_SEEDS.max(wanted.saturating_sub(self.leechers.len())).min(self.seeds.len()).min(wanted),
        };
        let mut list = Vec::with_capacity(wanted);
        let mut draw = |roll: &Roll<Who, Member>, most: usize| {
            let listed = roll.shuffled(dice).filter(|(other, _)| *other != who).filter_map(|(other, member)| {
                let id = Some(other.id);
                let address = member.shown_to(caller)?;
                Some(Listed { address, id })
            });
            list.extend(listed.take(most));
        };
        draw(&self.leechers, wanted - seeds);
        draw(&self.seeds, seeds);
        list
    }

    /// Where this asker can reach them, and how many bytes each of them lacks; the seeds first.
    pub fn holders(&self, asker: &Caller) -> impl Iterator<Item = (SocketAddr, u64)> {
        let members = self.seeds.values().chain(self.leechers.values());
        members.filter_map(|member| Some((member.shown_to(asker)?, member.left)))
    }
}
