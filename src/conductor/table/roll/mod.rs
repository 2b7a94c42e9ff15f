//! The members of one swarm in a row, found by who they are and by where they listen.
//!
//! Look-up, insertion and removal take constant time, and some members can be drawn at random without a look at the
//! rest. Beside a member's 64 bytes the row and its two indexes take about 30.
//!
//! Invariants: the seeds stand first; every member is in `by_who`, every door with a port that its member is known by
//! ([`Basis::is_known_by_it`](super::member::Basis::is_known_by_it)) is in `by_address`, and nothing else is; no two of
//! these have one address. A hole is filled from the end of the seeds and then from the end of the row, so that a walk from the end
//! to the start meets everybody who was there when it began, whatever is removed on the way.

use core::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashTable;

use super::{
    crowd::Crowd,
    member::{Door, Member, Second, Version, Who},
    seed::Seed,
};
use crate::time::Time;

/// Members in a row that are drawn together.
const RUN: usize = 4;
/// Rows that are no longer than this are never made shorter.
const SMALL: usize = 64;

/// A place in the row, and one of the two doors there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot(u32);

impl Spot {
    fn new(place: usize, version: Version) -> Self {
        Self((place as u32) << 1 | version as u32)
    }

    fn place(self) -> usize {
        (self.0 >> 1) as usize
    }

    fn version(self) -> Version {
        Version::BOTH[(self.0 & 1) as usize]
    }

    /// Where `by_address` has it: by the address of the door that it stands for.
    fn hash(self, row: &[Member], seed: Seed) -> u64 {
        row[self.place()].door(self.version()).map_or(0, |door| seed.place_of(door.address))
    }
}

pub struct Roll {
    seed: Seed,
    /// How many doors there are at each address, in all rolls.
    crowd: Arc<Crowd>,
    row: Vec<Member>,
    seeds: usize,
    by_who: HashTable<u32>,
    by_address: HashTable<Spot>,
    /// No door expires before this, save those that a walk of [`Roll::expire`] under way has yet to meet.
    next_expiry: Second,
}

impl Roll {
    pub fn new(seed: Seed, crowd: Arc<Crowd>) -> Self {
        Self {
            seed,
            crowd,
            row: Vec::new(),
            seeds: 0,
            by_who: HashTable::new(),
            by_address: HashTable::new(),
            next_expiry: Second::NEVER,
        }
    }

    pub fn len(&self) -> usize {
        self.row.len()
    }

    pub fn seeds(&self) -> &[Member] {
        &self.row[..self.seeds]
    }

    pub fn leechers(&self) -> &[Member] {
        &self.row[self.seeds..]
    }

    pub fn is_seed(&self, place: usize) -> bool {
        place < self.seeds
    }

    pub fn who(&self, place: usize) -> Who {
        self.row[place].who
    }

    /// Where the member at this place listens over one IP version.
    pub fn door(&self, place: usize, version: Version) -> Option<Door> {
        self.row[place].door(version)
    }

    pub fn find(&self, who: &Who) -> Option<usize> {
        let place = self.by_who.find(who.place(self.seed), |place| self.row[*place as usize].who == *who)?;
        Some(*place as usize)
    }

    /// The place of the member that is known by this address.
    pub fn at(&self, address: SocketAddr) -> Option<usize> {
        let is_it = |spot: &Spot| self.row[spot.place()].door(spot.version()).is_some_and(|d| d.address == address);
        self.by_address.find(self.seed.place_of(address), is_it).map(|spot| spot.place())
    }

    /// Takes in somebody who is not there; returns the place. Others' places change.
    pub fn add(&mut self, member: Member, seed: bool) -> usize {
        if self.row.len() == self.row.capacity() {
            // Doubling would leave a third of the memory unused.
            self.row.reserve_exact((self.row.len() / 4).max(2));
        }
        let mut place = self.row.len();
        self.row.push(member);
        if seed {
            self.shift(self.seeds, place);
            place = self.seeds;
            self.seeds += 1;
        }
        self.next_expiry = self.next_expiry.min(member.next_expiry());
        let Self { seed, row, by_who, .. } = self;
        by_who.insert_unique(member.who.place(*seed), place as u32, |other| row[*other as usize].who.place(*seed));
        for version in Version::BOTH {
            self.enter_door(place, version);
        }
        place
    }

    /// Takes somebody out. Places change.
    pub fn remove(&mut self, place: usize) -> Member {
        let member = self.row[place];
        for version in Version::BOTH {
            self.strike_door(place, version);
        }
        let entry = self.by_who.find_entry(member.who.place(self.seed), |other| *other == place as u32);
        if let Ok(entry) = entry {
            entry.remove();
        }
        let mut hole = place;
        if place < self.seeds {
            self.seeds -= 1;
            self.shift(self.seeds, hole);
            hole = self.seeds;
        }
        self.shift(self.row.len() - 1, hole);
        self.row.pop();
        member
    }

    /// Has the member there stand among the seeds, or among the others; returns its place, which another had.
    pub fn count_among(&mut self, seeds: bool, place: usize) -> usize {
        let border = match (self.is_seed(place), seeds) {
            (false, true) => {
                self.seeds += 1;
                self.seeds - 1
            }
            (true, false) => {
                self.seeds -= 1;
                self.seeds
            }
            (true, true) | (false, false) => return place,
        };
        self.swap(place, border);
        border
    }

    /// Gives the member there, which lacks so many bytes now, a door in place of what it had in this version.
    pub fn open(&mut self, place: usize, door: Door, left: u64) {
        self.row[place].left = left;
        let version = Version::of(door.address.ip());
        self.next_expiry = self.next_expiry.min(door.expires);
        let is_the_same = |old: Door| old.address == door.address && old.basis == door.basis;
        if self.row[place].door(version).is_some_and(is_the_same) {
            return self.row[place].open(door);
        }
        self.strike_door(place, version);
        self.row[place].open(door);
        self.enter_door(place, version);
    }

    /// Takes a door from the member there; takes the member out, and says so, if that was its last.
    pub fn close(&mut self, place: usize, version: Version) -> bool {
        self.strike_door(place, version);
        self.row[place].close(version);
        let last = self.row[place].doors().next().is_none();
        if last {
            self.remove(place);
        }
        last
    }

    /// Whether somebody's time may be over.
    pub fn is_due(&self, now: Time) -> bool {
        self.next_expiry.has_come(now)
    }

    /// To be called before a walk from the last place to the first with [`Roll::expire`] at each.
    pub fn begin_walk(&mut self) {
        self.next_expiry = Second::NEVER;
    }

    /// Closes the doors there whose time is over; if none is left the member is out, and its last door is returned.
    pub fn expire(&mut self, place: usize, now: Time) -> Option<Door> {
        let member = self.row[place];
        let mut last = None;
        if member.next_expiry().has_come(now) {
            for version in Version::BOTH {
                let due = member.door(version).filter(|door| door.expires.has_come(now));
                if let Some(due) = due
                    && self.close(place, version)
                {
                    last = Some(due);
                }
            }
        }
        if last.is_none() {
            self.next_expiry = self.next_expiry.min(self.row[place].next_expiry());
        }
        last
    }

    /// Gives memory back where most of it is unused.
    pub fn shrink(&mut self) {
        let most = (2 * self.row.len()).max(SMALL);
        if self.row.capacity() > 2 * most {
            let Self { seed, row, by_who, by_address, .. } = self;
            row.shrink_to(most);
            by_who.shrink_to(most, |place| row[*place as usize].who.place(*seed));
            by_address.shrink_to(most, |spot| spot.hash(row, *seed));
        }
    }

    /// Moves who stands at `from` into the hole at `to`, and the hole to `from`.
    fn shift(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        let member = self.row[from];
        let hash = member.who.place(self.seed);
        if let Some(place) = self.by_who.find_mut(hash, |place| *place == from as u32) {
            *place = to as u32;
        }
        for version in Version::BOTH {
            let Some(door) = member.door(version) else { continue };
            let hash = self.seed.place_of(door.address);
            if let Some(spot) = self.by_address.find_mut(hash, |spot| *spot == Spot::new(from, version)) {
                *spot = Spot::new(to, version);
            }
        }
        self.row.swap(from, to);
        // It may have come to a place that a walk under way has passed.
        self.next_expiry = self.next_expiry.min(member.next_expiry());
    }

    /// Lets who stands at two places change them.
    fn swap(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        let Self { seed, row, by_who, by_address, next_expiry, .. } = self;
        let places = [one, other];
        let hashes = places.map(|place| row[place].who.place(*seed));
        let found = by_who.get_disjoint_mut(hashes, |nth, place| *place as usize == places[nth]);
        found.into_iter().zip([other, one]).for_each(|(found, to)| _ = found.map(|place| *place = to as u32));
        for version in Version::BOTH {
            let spots = places.map(|place| Spot::new(place, version));
            let hashes = spots.map(|spot| spot.hash(row, *seed));
            let found = by_address.get_disjoint_mut(hashes, |nth, spot| *spot == spots[nth]);
            found.into_iter().zip([spots[1], spots[0]]).for_each(|(found, to)| _ = found.map(|spot| *spot = to));
        }
        row.swap(one, other);
        // One of them may have come to a place that a walk under way has passed.
        *next_expiry = places.iter().fold(*next_expiry, |first, place| first.min(row[*place].next_expiry()));
    }

    fn enter_door(&mut self, place: usize, version: Version) {
        let Self { seed, row, by_address, crowd, .. } = self;
        let door = row[place].door(version);
        door.iter().for_each(|door| crowd.add(door.address.ip()));
        if let Some(door) = door.filter(|door| door.basis.is_known_by_it() && door.address.port() != 0) {
            let hash = seed.place_of(door.address);
            by_address.insert_unique(hash, Spot::new(place, version), |spot| spot.hash(row, *seed));
        }
    }

    fn strike_door(&mut self, place: usize, version: Version) {
        let Some(door) = self.row[place].door(version) else { return };
        self.crowd.take_off(door.address.ip());
        if !door.basis.is_known_by_it() {
            return;
        }
        let hash = self.seed.place_of(door.address);
        if let Ok(entry) = self.by_address.find_entry(hash, |spot| *spot == Spot::new(place, version)) {
            entry.remove();
        }
    }
}

/// Every number below this once, in random runs of [`RUN`]. Taking k of them costs k, and what is at the places of a run is
/// fetched from memory in one go.
pub fn shuffled(len: usize, dice: &mut fastrand::Rng) -> impl Iterator<Item = usize> + use<> {
    let first = if len == 0 { 0 } else { dice.usize(..len) };
    let run = move |nth: usize| nth * RUN..len.min((nth + 1) * RUN);
    steps(len.div_ceil(RUN), dice)
        .flat_map(run)
        .map(move |place| if first + place < len { first + place } else { first + place - len })
}

/// Every number below this once, from a random one on in random steps.
fn steps(len: usize, dice: &mut fastrand::Rng) -> impl Iterator<Item = usize> + use<> {
    let (mut at, step) = match len {
        0 => (0, 0),
        _ => (dice.usize(..len), coprime_below(len, dice)),
    };
    (0..len).map(move |_| {
        at += step;
        if at >= len {
            at -= len;
        }
        at
    })
}

/// Steps of a number that has no divisor in common with the length visit every place before any twice.
fn coprime_below(len: usize, dice: &mut fastrand::Rng) -> usize {
    let mut step = dice.usize(1..=len);
    while common_divisor(step, len) != 1 {
        step = step % len + 1;
    }
    step
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests;
