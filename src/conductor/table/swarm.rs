//! One swarm as the conductor sees it: who is in it, at which addresses, until when.

use core::{array, hint::black_box, net::SocketAddr};
use std::sync::Arc;

use super::{
    address::{Caller, Home},
    crowd::Crowd,
    member::{Basis, Door, Member, Second, Version, Who},
    roll::{Roll, shuffled},
    seed::Seed,
};
use crate::{
    announce::{Announce, Counts, Listed},
    time::Time,
};

/// Seeds that a leecher hears of at least, where there are more members than it wants to hear of. Most of what it needs
/// comes from other leechers, and a few seeds must not be everybody's first choice.
const FEW_SEEDS: usize = 4;
/// How many members are looked at for one that is listed, where many cannot be shown to the asker, and how many at least.
const LOOKS: usize = 8;
const LEAST_LOOKS: usize = 64;
/// Members that are fetched from memory at the same time: one by one, that would take most of an announce's time.
const BATCH: usize = 16;

/// A member that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Where it was.
    pub address: SocketAddr,
    /// Another member is at this address too.
    pub stays: bool,
}

/// What an announce changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where in the row it is, until the next change.
    pub place: usize,
    /// It was not in the swarm before.
    pub new: bool,
    /// Another member was seen at this very address, and is no more: its program was started again.
    pub replaced: bool,
    /// It was at another address of the same IP version before.
    pub moved: bool,
    /// It lacked something before and has all of it now.
    pub completed: bool,
}

pub struct Swarm {
    roll: Roll,
    downloaded: u32,
}

impl Swarm {
    /// Whoever is in it counts in this crowd.
    pub fn new(seed: Seed, crowd: Arc<Crowd>) -> Self {
        Self { roll: Roll::new(seed, crowd), downloaded: 0 }
    }

    pub fn members(&self) -> usize {
        self.roll.len()
    }

    pub fn counts(&self) -> Counts {
        Counts {
            complete: self.roll.seeds().len() as u32,
            incomplete: self.roll.leechers().len() as u32,
            downloaded: self.downloaded,
        }
    }

    /// Where in the row somebody is, until the next change.
    pub fn find(&self, who: &Who) -> Option<usize> {
        self.roll.find(who)
    }

    /// Takes in a member who is at the place `known`, or is not in yet, or what is new of it.
    pub fn arrive(
        &mut self,
        who: Who,
        known: Option<usize>,
        announce: &Announce,
        home: Home,
        expires: Time,
    ) -> Arrival {
        let Home { address, basis } = home;
        let version = Version::of(address.ip());
        let before = known.and_then(|place| self.roll.door(place, version));
        let moved = before.is_some_and(|before| before.address != address);
        let (basis, replaced) = match before.filter(|before| before.address == address).map(|before| before.basis) {
            _ if !basis.is_known_by_it() => (basis, false),
            // Its announces do not end what its link holds. Nobody else is known by the address of who stays.
            Some(Basis::Held) => (Basis::Held, false),
            Some(Basis::Seen) => (basis, false),
            Some(Basis::Beside | Basis::Claimed) | None => self.claim(address, basis, who),
        };
        let door = Door { address, basis, expires: Second::at_or_after(expires) };
        let known = if replaced { self.roll.find(&who) } else { known };
        let seed = announce.left == 0;
        let completed = seed && known.is_some_and(|place| !self.roll.is_seed(place));
        self.downloaded = self.downloaded.saturating_add(u32::from(completed));
        let place = match known {
            Some(place) => {
                let place = self.roll.count_among(seed, place);
                self.roll.open(place, door, announce.left);
                place
            }
            None => {
                let mut member = Member::new(who);
                member.open(door);
                member.left = announce.left;
                self.roll.add(member, seed)
            }
        };
        Arrival { place, new: known.is_none(), replaced, moved, completed }
    }

    /// Has somebody who was seen at this address known by it, in place of whoever was seen there before; beside one who
    /// keeps a link from there. Returns on which basis the address is the newcomer's, and whether it was the other's last.
    fn claim(&mut self, address: SocketAddr, basis: Basis, who: Who) -> (Basis, bool) {
        let version = Version::of(address.ip());
        let Some(place) = self.roll.at(address).filter(|place| self.roll.who(*place) != who) else {
            return (basis, false);
        };
        match self.roll.door(place, version).map(|door| door.basis) {
            Some(Basis::Held) => (Basis::Beside, false),
            _ => (basis, self.roll.close(place, version)),
        }
    }

    /// Where its only member is, if it has but one.
    pub fn lone(&self) -> Option<SocketAddr> {
        let place = (self.roll.len() == 1).then_some(0)?;
        Version::BOTH.into_iter().find_map(|version| self.roll.door(place, version)).map(|door| door.address)
    }

    /// Takes its only member out; returns where that was.
    pub fn take_lone(&mut self) -> Option<SocketAddr> {
        let address = self.lone();
        address.inspect(|_| _ = self.roll.remove(0))
    }

    /// Takes a member out, which says whether it has all of it, if it is in; of its addresses the one of the IP version of
    /// `at` is returned, if there is one, and whether it completed since it was heard last.
    pub fn leave(&mut self, who: &Who, at: SocketAddr, whole: bool) -> Option<(Departure, bool)> {
        let place = self.roll.find(who)?;
        let completed = whole && !self.roll.is_seed(place);
        self.downloaded = self.downloaded.saturating_add(u32::from(completed));
        let member = self.roll.remove(place);
        let door = member.door(Version::of(at.ip())).or_else(|| member.doors().next());
        let address = door.map_or(at, |door| door.address);
        Some((self.departure(address), completed))
    }

    fn departure(&self, address: SocketAddr) -> Departure {
        Departure { address, stays: self.roll.at(address).is_some() }
    }

    /// Whether somebody's time may be over.
    pub fn is_due(&self, now: Time) -> bool {
        self.roll.is_due(now)
    }

    /// Takes out who was not heard in time, from the end of the row on, and tells `gone` of each with its last address. It
    /// looks at `budget` members at most and takes those off the budget; `walked` is where it stopped, None before the
    /// first step and after the last.
    pub fn expire(
        &mut self,
        now: Time,
        walked: &mut Option<usize>,
        budget: &mut usize,
        mut gone: impl FnMut(Departure),
    ) {
        let from = walked.unwrap_or(usize::MAX).min(self.roll.len());
        if walked.is_none() {
            self.roll.begin_walk();
        }
        let to = from.saturating_sub(*budget);
        for place in (to..from).rev() {
            if let Some(door) = self.roll.expire(place, now) {
                gone(self.departure(door.address));
            }
        }
        *budget -= from - to;
        *walked = (to > 0).then_some(to);
        if to == 0 {
            self.roll.shrink();
        }
    }

    /// Gives up to `wanted` members to `list`, drawn at random, for an asker who is at `place` in the row: a seed has no
    /// use for other seeds, a leecher hears of everybody, and of [`FEW_SEEDS`] at least where not everybody fits. `list`
    /// says whether it took one.
    pub fn list(
        &self,
        announce: &Announce,
        place: usize,
        caller: &Caller,
        wanted: usize,
        dice: &mut fastrand::Rng,
        mut list: impl FnMut(Listed) -> bool,
    ) {
        let (all_seeds, leechers) = (self.roll.seeds(), self.roll.leechers());
        let wanted = wanted.min(self.members());
        let seeds = match announce.left {
            0 if announce.may_lack_its_info() => FEW_SEEDS.min(all_seeds.len()).min(wanted),
            0 => 0,
            _ => FEW_SEEDS.max(wanted.saturating_sub(leechers.len())).min(all_seeds.len()).min(wanted),
        };
        let mut draw = |row: &[Member], own: Option<usize>, most: usize| {
            let looks = shuffled(row.len(), dice).take(LOOKS * most + LEAST_LOOKS);
            let mut others = looks.filter(|place| Some(*place) != own);
            let mut left = most;
            while left > 0 {
                let batch: [Option<usize>; BATCH] = array::from_fn(|nth| if nth < left { others.next() } else { None });
                if batch[0].is_none() {
                    break;
                }
                let members = || batch.iter().flatten().map(|place| &row[*place]);
                members().for_each(|member| _ = black_box(member.who.id.0[0]));
                for member in members() {
                    let listed = |(address, claimed)| Listed { address, id: Some(member.who.id), claimed };
                    left -= usize::from(member.shown_to(caller).map(listed).is_some_and(&mut list));
                }
            }
        };
        draw(leechers, place.checked_sub(all_seeds.len()), wanted - seeds);
        draw(all_seeds, Some(place), seeds);
    }

    /// Where this asker can reach them, and how many bytes each of them lacks; the seeds first. An address that is claimed
    /// only is left out.
    pub fn holders(&self, asker: &Caller) -> impl Iterator<Item = (SocketAddr, u64)> {
        let members = self.roll.seeds().iter().chain(self.roll.leechers());
        members.filter_map(|member| {
            let (address, claimed) = member.shown_to(asker)?;
            (!claimed).then_some((address, member.left))
        })
    }
}
