//! What the page and the rosters show, gathered from the table, the catalogue, the live links and the history as plain data.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    announce::{Counts, live::MAX_MAP},
    catalogue::{Holder, Key, Past, percent},
    conductor::{
        Desk,
        catalogue::Entry,
        live::hub::Seen,
        table::{Caller, shown},
    },
    metainfo::InfoHash,
    search::NEIGHBOURS,
};

/// Members that are shown of one composition, at most; and those that are remembered.
pub const MOST: usize = 1000;
/// Members that are looked at, so that the slowest of them are shown.
const MAX_LOOKED_AT: usize = 10_000;

/// All orchestras.
pub struct Index {
    /// Sorted by name.
    pub orchestras: Vec<Orchestra>,
    /// Members in all swarms: whoever is in two swarms counts twice.
    pub memberships: usize,
    /// Machines with a live link.
    pub machines: usize,
    /// Memberships without a live link: other programs.
    pub others: usize,
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
    /// Members that got all of it within the last day.
    pub had_whole: u64,
}

/// One composition with its members.
pub struct Composition {
    pub orchestra: Orchestra,
    /// The slowest first.
    pub members: Vec<Member>,
    /// Those that got all of it, the slowest first, then those that left without it.
    pub past: Vec<Past>,
    /// How many of the members have each stretch of parts, on the average, in fifteenths.
    pub map: Vec<u8>,
    /// Its key in the catalogue, the shortest that means it alone.
    pub key: Key,
}

/// A member that is there.
pub struct Member {
    pub holder: Holder,
    /// Bytes a second that it sends.
    pub rate_up: u64,
    /// The conductor could not connect to it.
    pub is_closed: bool,
}

/// What the catalogue holds, and where `with_unlisted` what else has live links.
pub fn index(desk: &Desk, with_unlisted: bool) -> Index {
    let mut crowd = People::default();
    let mut orchestras: Vec<_> =
        desk.catalogue().list().into_iter().map(|entry| of_entry(desk, entry, &mut crowd)).collect();
    let listed: BTreeSet<[u8; 20]> = orchestras.iter().map(|orchestra| orchestra.hash.0).collect();
    let others = desk.hub().swarms().into_iter().filter(|hash| !listed.contains(&hash.0) && *hash != NEIGHBOURS);
    let mut others: Vec<_> = others.map(|hash| orchestra(desk, hash, None, &mut crowd)).collect();
    others.sort_by_key(|orchestra| orchestra.hash);
    orchestras.extend(others.into_iter().filter(|_| with_unlisted));
    desk.history().read(|book| {
        for orchestra in &mut orchestras {
            orchestra.had_whole = book.completions_of(&orchestra.hash);
        }
    });
    let there = orchestras.iter().filter(|orchestra| orchestra.members() > 0).count();
    let memberships = memberships(desk);
    Index {
        memberships,
        machines: crowd.machines.len(),
        others: memberships.saturating_sub(crowd.linked),
        unlisted: desk.table().swarms().saturating_sub(there + usize::from(neighbours(desk) > 0)),
        orchestras,
        is_choice: false,
    }
}

/// The candidates among which a name does not decide.
pub fn several(desk: &Desk, candidates: Vec<Entry>) -> Index {
    let mut crowd = People::default();
    let orchestras = candidates.into_iter().map(|entry| of_entry(desk, entry, &mut crowd)).collect();
    let (memberships, machines) = (memberships(desk), crowd.machines.len());
    Index { orchestras, memberships, machines, others: 0, unlisted: 0, is_choice: true }
}

/// Whoever has a live link.
#[derive(Default)]
struct People {
    machines: HashSet<IpAddr>,
    linked: usize,
}

/// Members in all swarms; those that look for neighbours are members of other swarms.
fn memberships(desk: &Desk) -> usize {
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
    with_members(desk, of_entry(desk, entry, &mut People::default()), key, asker)
}

/// None: nobody shares it.
pub fn unregistered(desk: &Desk, hash: InfoHash, asker: &Caller) -> Option<Composition> {
    let orchestra = orchestra(desk, hash, None, &mut People::default());
    (orchestra.members() > 0).then(|| with_members(desk, orchestra, Key::Hash(hash), asker))
}

fn of_entry(desk: &Desk, entry: Entry, crowd: &mut People) -> Orchestra {
    orchestra(desk, entry.info_hash, Some(entry), crowd)
}

fn orchestra(desk: &Desk, hash: InfoHash, entry: Option<Entry>, crowd: &mut People) -> Orchestra {
    let (rate, linked) = desk.hub().rate(&hash, &mut crowd.machines);
    crowd.linked += linked;
    Orchestra { hash, entry, counts: desk.counts_of(&hash), rate, had_whole: 0 }
}

fn with_members(desk: &Desk, mut orchestra: Orchestra, key: Key, asker: &Caller) -> Composition {
    let hash = orchestra.hash;
    let size = orchestra.entry.as_ref().map(|entry| entry.size);
    let (members, map) = members(desk, &hash, size, asker);
    let past = past(desk, &hash, size, asker, &members);
    orchestra.had_whole = desk.history().read(|book| book.completions_of(&hash));
    Composition { orchestra, members, past, map, key }
}

/// Who is there, the slowest first, and the parts that they have together. `size`: in bytes, where it is known.
fn members(desk: &Desk, hash: &InfoHash, size: Option<u64>, asker: &Caller) -> (Vec<Member>, Vec<u8>) {
    let linked = desk.hub().seen(hash);
    let map = mean(linked.iter().map(|seen| seen.progress.map.as_str()));
    let at = |seen: Seen| Some((shown(seen.home, asker)?, seen));
    let mut linked: HashMap<SocketAddr, Seen> = linked.into_iter().filter_map(at).collect();
    let member = |(address, left)| member(desk, hash, size, address, left, linked.remove(&address));
    let mut members: Vec<Member> = desk.holders(hash, asker, MAX_LOOKED_AT).into_iter().map(member).collect();
    members.sort_by_cached_key(|member| member.holder.slowness());
    members.truncate(MOST);
    (members, map)
}

fn member(
    desk: &Desk,
    hash: &InfoHash,
    size: Option<u64>,
    address: SocketAddr,
    left: u64,
    seen: Option<Seen>,
) -> Member {
    let home = seen.as_ref().map_or(address, |seen| seen.home);
    let left = seen.as_ref().map_or(left, |seen| seen.progress.left);
    // A member that does not know yet what it fetches has no map, and what it says that it lacks means nothing.
    let by_map = seen.as_ref().map(|seen| filled(&seen.progress.map));
    let percent = match (left, size, by_map) {
        (0, _, _) => Some(100),
        (_, _, Some(None)) => None,
        (left, Some(size), _) => percent(size, left),
        (_, None, by_map) => by_map.flatten(),
    };
    let rate = seen.as_ref().map(|seen| seen.progress.rate_down);
    let eta = rate.and_then(|rate| left.checked_div(rate)).filter(|_| left > 0 && percent.is_some());
    let rate_up = seen.as_ref().map_or(0, |seen| seen.progress.rate_up);
    let is_closed = desk.reach().is_closed(hash, home);
    let name = seen.map(|seen| seen.name).filter(|name| !name.is_empty());
    Member { holder: Holder { name, rate, eta, ..Holder::new(address, left == 0, percent) }, rate_up, is_closed }
}

/// Whom the conductor remembers, and this asker may hear of: those that got all of it, the slowest first; then those that
/// are not there any more.
fn past(desk: &Desk, hash: &InfoHash, size: Option<u64>, asker: &Caller, members: &[Member]) -> Vec<Past> {
    let there: HashSet<SocketAddr> = members.iter().map(|member| member.holder.address).collect();
    let mut all: Vec<Past> = desk.history().read(|book| {
        let told = |record: &crate::conductor::history::Record| {
            let address = shown(record.address, asker)?;
            let here = there.contains(&address);
            let whole = record.whole.map(|at| desk.time_of_day(at));
            let seconds = record.took().map(|took: Duration| took.as_millis() as f64 / 1000.0);
            let percent = match (record.whole, record.left, size) {
                (Some(_), _, _) | (None, 0, _) => Some(100),
                (None, left, Some(size)) => percent(size, left),
                (None, _, None) => None,
            };
            let past = Past { name: record.name.clone(), address, whole, seconds, percent, here };
            (whole.is_some() || !here).then_some(past)
        };
        book.of(hash).filter_map(told).collect()
    });
    all.sort_by(|a, b| {
        let took = |past: &Past| past.seconds.unwrap_or(0.0);
        a.whole.is_none().cmp(&b.whole.is_none()).then(took(b).total_cmp(&took(a))).then(a.address.cmp(&b.address))
    });
    all.truncate(MOST);
    all
}

/// What `/compositions/KEY/members` tells this asker of one entry.
pub struct Rosters {
    /// Those that have all of it first.
    pub holders: Vec<Holder>,
    pub past: Vec<Past>,
    pub had_whole: u64,
}

pub fn rosters(desk: &Desk, hash: &InfoHash, size: u64, asker: &Caller) -> Rosters {
    let (members, _) = members(desk, hash, Some(size), asker);
    let past = past(desk, hash, Some(size), asker, &members);
    let mut holders: Vec<Holder> = members.into_iter().map(|member| member.holder).collect();
    holders.sort_by_key(|holder| !holder.complete);
    Rosters { holders, past, had_whole: desk.history().read(|book| book.completions_of(hash)) }
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

    /// What a filter looks for, in lower case: its name, or its info-hash.
    pub fn searched(&self) -> String {
        match &self.entry {
            Some(entry) => entry.name.as_str().to_lowercase(),
            None => self.hash.to_string(),
        }
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
