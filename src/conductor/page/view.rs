//! What the page shows, gathered from the table, the catalogue and the live links as plain data.

use core::net::SocketAddr;
use std::collections::{BTreeSet, HashMap};

use crate::{
    announce::{Counts, live::MAX_MAP},
    catalogue::{Key, percent},
    conductor::{
        Desk,
        catalogue::Entry,
        live::hub::Seen,
        table::{Caller, shown},
    },
    metainfo::InfoHash,
    search::NEIGHBOURS,
};

/// Members that are shown of one composition, at most.
pub const MOST: usize = 1000;

/// All orchestras.
pub struct Index {
    pub orchestras: Vec<Orchestra>,
    /// Members in all swarms.
    pub members: usize,
    /// Swarms that are not listed.
    pub unlisted: usize,
    /// It lists those among which a name does not decide.
    pub is_choice: bool,
}

/// One composition and how its swarm stands.
pub struct Orchestra {
    pub hash: InfoHash,
    /// What the catalogue says; None: it is not in it.
    pub entry: Option<Entry>,
    pub counts: Counts,
    /// Bytes a second that its members receive together, as those with a live link say.
    pub rate: u64,
}

/// One composition with its members.
pub struct Composition {
    pub orchestra: Orchestra,
    pub members: Vec<Member>,
    /// How many of the members have each stretch of parts, on the average, in fifteenths.
    pub map: Vec<u8>,
    /// Its key in the catalogue, the shortest that means it alone.
    pub key: Key,
}

pub struct Member {
    /// None: it has no live link, and says none.
    pub name: Option<String>,
    pub address: SocketAddr,
    pub percent: Option<u8>,
    pub rate_up: u64,
    pub rate_down: u64,
    /// The conductor could not connect to it.
    pub is_closed: bool,
}

/// What the catalogue holds, and where `with_unlisted` what else has live links.
pub fn index(desk: &Desk, with_unlisted: bool) -> Index {
    let mut orchestras: Vec<_> = desk.catalogue().list().into_iter().map(|entry| of_entry(desk, entry)).collect();
    if with_unlisted {
        let listed: BTreeSet<[u8; 20]> = orchestras.iter().map(|orchestra| orchestra.hash.0).collect();
        let others = desk.hub().swarms().into_iter().filter(|hash| !listed.contains(&hash.0));
        let mut others: Vec<_> = others.map(|hash| orchestra(desk, hash, None)).collect();
        others.sort_by_key(|orchestra| orchestra.hash);
        orchestras.extend(others);
    }
    let there = orchestras.iter().filter(|orchestra| orchestra.members() > 0).count();
    Index {
        members: members(desk),
        unlisted: desk.table().swarms().saturating_sub(there + usize::from(neighbours(desk) > 0)),
        orchestras,
        is_choice: false,
    }
}

/// The candidates among which a name does not decide.
pub fn several(desk: &Desk, candidates: Vec<Entry>) -> Index {
    let orchestras = candidates.into_iter().map(|entry| of_entry(desk, entry)).collect();
    Index { orchestras, members: members(desk), unlisted: 0, is_choice: true }
}

/// Members in all swarms; those that look for neighbours are members of other swarms.
fn members(desk: &Desk) -> usize {
    desk.table().members().saturating_sub(neighbours(desk))
}

fn neighbours(desk: &Desk) -> usize {
    let Counts { complete, incomplete, .. } = desk.counts_of(&NEIGHBOURS);
    complete.saturating_add(incomplete) as usize
}

pub fn registered(desk: &Desk, entry: Entry, asker: &Caller) -> Composition {
    let named = Key::Name(entry.name.clone());
    let key = match desk.catalogue().find(&named) {
        Ok(found) if found.info_hash == entry.info_hash => named,
        _ => Key::Hash(entry.info_hash),
    };
    with_members(desk, of_entry(desk, entry), key, asker)
}

/// None: nobody shares it.
pub fn unregistered(desk: &Desk, hash: InfoHash, asker: &Caller) -> Option<Composition> {
    let orchestra = orchestra(desk, hash, None);
    (orchestra.members() > 0).then(|| with_members(desk, orchestra, Key::Hash(hash), asker))
}

fn of_entry(desk: &Desk, entry: Entry) -> Orchestra {
    orchestra(desk, entry.info_hash, Some(entry))
}

fn orchestra(desk: &Desk, hash: InfoHash, entry: Option<Entry>) -> Orchestra {
    Orchestra { hash, entry, counts: desk.counts_of(&hash), rate: desk.hub().rate(&hash) }
}

fn with_members(desk: &Desk, orchestra: Orchestra, key: Key, asker: &Caller) -> Composition {
    let hash = orchestra.hash;
    let size = orchestra.entry.as_ref().map(|entry| entry.size);
    let linked = desk.hub().seen(&hash);
    let map = mean(linked.iter().map(|seen| seen.progress.map.as_str()));
    let at = |seen: Seen| Some((shown(seen.home, asker)?, seen));
    let mut linked: HashMap<SocketAddr, Seen> = linked.into_iter().filter_map(at).collect();
    let member = |(address, left): (SocketAddr, u64)| {
        let seen = linked.remove(&address);
        let home = seen.as_ref().map_or(address, |seen| seen.home);
        let left = seen.as_ref().map_or(left, |seen| seen.progress.left);
        // Who does not know yet what it fetches has no map, and what it says that it lacks means nothing.
        let by_map = seen.as_ref().map(|seen| filled(&seen.progress.map));
        let percent = match (left, size, by_map) {
            (0, _, _) => Some(100),
            (_, _, Some(None)) => None,
            (left, Some(size), _) => percent(size, left),
            (_, None, by_map) => by_map.flatten(),
        };
        let (rate_up, rate_down) =
            seen.as_ref().map_or((0, 0), |seen| (seen.progress.rate_up, seen.progress.rate_down));
        let is_closed = desk.reach().is_closed(&hash, home);
        Member { name: seen.map(|seen| seen.name), address, percent, rate_up, rate_down, is_closed }
    };
    let members = desk.holders(&hash, asker, MOST).into_iter().map(member).collect();
    Composition { orchestra, members, map, key }
}

fn digits(map: &str) -> impl Iterator<Item = u64> {
    map.chars().filter_map(|c| c.to_digit(16)).map(u64::from)
}

/// The mean of the maps that are as long as the longest.
fn mean<'a>(maps: impl Iterator<Item = &'a str> + Clone) -> Vec<u8> {
    let length = maps.clone().map(str::len).max().unwrap_or(0).min(MAX_MAP);
    let (mut sums, mut count) = (vec![0; length], 0);
    for map in maps.filter(|map| map.len() == length) {
        count += 1;
        sums.iter_mut().zip(digits(map)).for_each(|(sum, digit)| *sum += digit);
    }
    sums.into_iter().map(|sum: u64| (sum / count.max(1)) as u8).collect()
}

/// How much of a map is filled, in percent; less than 100, since what is whole lacks nothing.
fn filled(map: &str) -> Option<u8> {
    let all = map.len() as u64 * 15;
    (all > 0).then(|| (digits(map).sum::<u64>() * 100 / all).min(99) as u8)
}

impl Orchestra {
    pub fn members(&self) -> u32 {
        self.counts.complete.saturating_add(self.counts.incomplete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_all_is_the_mean_of_those_of_the_same_length() {
        assert_eq!(mean(["ff00", "0ff0", "f"].into_iter()), [7, 15, 7, 0]);
        assert_eq!(mean([""].into_iter()), Vec::<u8>::new());
        assert_eq!((filled("f0"), filled(""), filled("fff")), (Some(50), None, Some(99)));
    }
}
