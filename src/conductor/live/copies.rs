//! Who has all of a composition, or had: what live links are told of, and keep being told when the member has left.
//!
//! Pure. Copies are numbered in the order in which they came, or came under a new name, so that a link asks for those after
//! the last that it told, a few at a time.
//!
//! What it costs an attacker: a copy is what a member says, and takes about 300 bytes (some 550 with the longest name). One
//! source is remembered with [`MAX_OF_SOURCE`] of them, a swarm with [`MAX_OF_SWARM`], and all swarms with
//! [`MAX_COPIES`]. Beyond that the oldest of the largest source goes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use crate::{
    announce::live::Copy,
    conductor::allowance::{Customer, whole_customer},
    metainfo::InfoHash,
    wire::copy_id::Holder,
};

/// Copies in all swarms together, at most.
pub const MAX_COPIES: usize = 200_000;
/// Copies of one swarm, at most.
pub const MAX_OF_SWARM: usize = 10_000;
/// Copies of one source in all swarms, at most: as many as the table has members at one address.
pub const MAX_OF_SOURCE: usize = 20_000;

/// The place of a copy in the order in which they came; zero is before every other.
pub type Nth = u64;

#[derive(Debug, Default)]
pub struct Copies {
    swarms: HashMap<InfoHash, Known>,
    /// Those of each source, the oldest first.
    sources: HashMap<Customer, BTreeMap<Nth, InfoHash>>,
    /// The sources by how many copies they have.
    ranks: BTreeSet<(usize, Customer)>,
    count: usize,
    last: Nth,
}

/// The copies of one swarm.
#[derive(Debug, Default)]
struct Known {
    copies: BTreeMap<Nth, (Copy, Customer)>,
    by_holder: BTreeMap<Holder, Nth>,
    /// Those of each source, the oldest first.
    sources: HashMap<Customer, BTreeSet<Nth>>,
}

impl Copies {
    /// Takes in what a member at `source` says; whether that is news: a copy, or a new name for one.
    pub fn add(&mut self, info_hash: InfoHash, copy: Copy, source: IpAddr) -> bool {
        let source = whole_customer(source.to_canonical());
        let holder = copy.holder();
        if let Some(known) = self.swarms.get_mut(&info_hash)
            && let Some(nth) = known.by_holder.get(&holder).copied()
        {
            match known.copies.get_mut(&nth) {
                // The latest life of its member.
                Some((known, _)) if known.name == copy.name => {
                    *known = copy;
                    return false;
                }
                _ => self.remove(info_hash, nth),
            }
        }
        self.make_room(info_hash, source);
        self.last += 1;
        let nth = self.last;
        let known = self.swarms.entry(info_hash).or_default();
        known.by_holder.insert(holder, nth);
        known.sources.entry(source).or_default().insert(nth);
        known.copies.insert(nth, (copy, source));
        let of_source = self.sources.entry(source).or_default();
        self.ranks.remove(&(of_source.len(), source));
        of_source.insert(nth, info_hash);
        self.ranks.insert((of_source.len(), source));
        self.count += 1;
        true
    }

    /// Up to `most` copies of a swarm after this one, save its own holder's, and the last that was looked at.
    pub fn after(&self, info_hash: &InfoHash, nth: Nth, own: &Holder, most: usize) -> (Vec<Copy>, Nth) {
        let (mut copies, mut last) = (Vec::new(), nth);
        let known = self.swarms.get(info_hash).into_iter().flat_map(|known| known.copies.range(nth + 1..));
        for (nth, (copy, _)) in known.take(most) {
            last = *nth;
            if copy.holder() != *own {
                copies.push(copy.clone());
            }
        }
        (copies, last)
    }

    /// Forgets a swarm.
    pub fn forget(&mut self, info_hash: &InfoHash) {
        while let Some(nth) = self.swarms.get(info_hash).and_then(|known| known.copies.keys().next().copied()) {
            self.remove(*info_hash, nth);
        }
    }

    /// Has the oldest of the largest sources go, where there is no room for one more.
    fn make_room(&mut self, info_hash: InfoHash, source: Customer) {
        if self.sources.get(&source).is_some_and(|all| all.len() >= MAX_OF_SOURCE) {
            self.remove_oldest_of(source);
        }
        if let Some(known) = self.swarms.get(&info_hash).filter(|known| known.copies.len() >= MAX_OF_SWARM)
            && let Some(oldest) =
                known.sources.values().max_by_key(|all| all.len()).and_then(|all| all.first().copied())
        {
            self.remove(info_hash, oldest);
        }
        if self.count >= MAX_COPIES
            && let Some((_, largest)) = self.ranks.last().copied()
        {
            self.remove_oldest_of(largest);
        }
    }

    fn remove_oldest_of(&mut self, source: Customer) {
        let oldest = self.sources.get(&source).and_then(|all| all.first_key_value());
        if let Some((nth, info_hash)) = oldest.map(|(nth, info_hash)| (*nth, *info_hash)) {
            self.remove(info_hash, nth);
        }
    }

    fn remove(&mut self, info_hash: InfoHash, nth: Nth) {
        let Some(known) = self.swarms.get_mut(&info_hash) else { return };
        let Some((copy, source)) = known.copies.remove(&nth) else { return };
        known.by_holder.remove(&copy.holder());
        if let Some(all) = known.sources.get_mut(&source) {
            all.remove(&nth);
            if all.is_empty() {
                known.sources.remove(&source);
            }
        }
        if known.copies.is_empty() {
            self.swarms.remove(&info_hash);
        }
        if let Some(all) = self.sources.get_mut(&source) {
            self.ranks.remove(&(all.len(), source));
            all.remove(&nth);
            match all.len() {
                0 => _ = self.sources.remove(&source),
                count => _ = self.ranks.insert((count, source)),
            }
        }
        self.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{copy_id::CopyId, handshake::PeerId};

    fn hash(n: u32) -> InfoHash {
        let mut hash = InfoHash([0; 20]);
        hash.0[..4].copy_from_slice(&n.to_be_bytes());
        hash
    }

    fn copy(n: u32, name: &str) -> Copy {
        Copy { peer_id: PeerId(hash(n).0), name: name.to_owned(), copy: None }
    }

    fn source(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn other() -> Holder {
        copy(u32::MAX, "").holder()
    }

    fn is_in_order(copies: &Copies) {
        assert_eq!(copies.count, copies.swarms.values().map(|known| known.copies.len()).sum::<usize>());
        assert_eq!(copies.count, copies.sources.values().map(BTreeMap::len).sum::<usize>());
        assert_eq!(copies.ranks.len(), copies.sources.len());
        for known in copies.swarms.values() {
            assert_eq!(known.copies.len(), known.by_holder.len());
            assert_eq!(known.copies.len(), known.sources.values().map(BTreeSet::len).sum::<usize>());
        }
    }

    #[test]
    fn each_is_told_once_in_pieces_and_again_under_a_new_name() {
        let mut copies = Copies::default();
        (0..5).for_each(|n| assert!(copies.add(hash(1), copy(n, "a"), source(1))));
        let (told, last) = copies.after(&hash(1), 0, &copy(1, "a").holder(), 3);
        assert_eq!(told, [copy(0, "a"), copy(2, "a")], "its own is left out");
        assert!(!copies.add(hash(1), copy(4, "a"), source(1)) && copies.add(hash(1), copy(0, "b"), source(1)));
        let (told, last) = copies.after(&hash(1), last, &other(), 9);
        assert_eq!(told, [copy(3, "a"), copy(4, "a"), copy(0, "b")]);
        assert_eq!(copies.after(&hash(1), last, &other(), 9), (Vec::new(), last));
        let named = Copy { copy: Some(CopyId([1; 8])), ..copy(6, "a") };
        assert!(copies.add(hash(1), named.clone(), source(1)));
        assert!(!copies.add(hash(1), Copy { peer_id: PeerId([9; 20]), ..named }, source(1)), "another life");
        is_in_order(&copies);
        copies.forget(&hash(1));
        assert!(copies.count == 0 && copies.sources.is_empty() && copies.ranks.is_empty());
    }

    #[test]
    fn a_source_has_its_share_and_the_largest_makes_room_for_others() {
        let mut copies = Copies::default();
        copies.add(hash(1), copy(1_000_000, "honest"), source(1));
        let has_honest = |copies: &Copies| copies.after(&hash(1), 0, &other(), 1).0 == [copy(1_000_000, "honest")];
        (0..2 * MAX_OF_SWARM as u32).for_each(|n| assert!(copies.add(hash(1), copy(n, "x"), source(2))));
        assert_eq!((copies.count, has_honest(&copies)), (MAX_OF_SWARM, true));
        for n in 2..14u8 {
            for nth in 0..=MAX_OF_SOURCE as u32 {
                copies.add(hash(nth), copy(u32::from(n), "x"), source(n));
            }
        }
        is_in_order(&copies);
        assert_eq!((copies.count, has_honest(&copies)), (MAX_COPIES, true));
        let most = copies.ranks.last().map(|(count, _)| *count);
        assert!(most.is_some_and(|most| most <= MAX_OF_SOURCE), "{most:?}");
    }
}
