//! What several say of the same compositions, as one list.
//!
//! Pure. A conductor counts the members that it knows, a member speaks for itself alone, and most members are known to a
//! conductor too: so the largest number that a conductor gives counts, or that of the members that were heard
//! themselves, where those are more.

use core::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    catalogue::{Composition, Holder, Past},
    metainfo::InfoHash,
};

/// Compositions of all lists together, at most: what is beyond is left out.
const MOST: usize = 50_000;

/// What one source says.
pub struct Said<S> {
    pub source: S,
    /// It speaks for itself alone.
    pub is_member: bool,
    pub compositions: Vec<Composition>,
}

/// A composition, and who spoke of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged<S> {
    pub composition: Composition,
    /// The first that spoke of it first; each with whether it is a member.
    pub sources: Vec<(S, bool)>,
}

/// One list of all, by name; of one name that which more have comes first.
pub fn merge<S: Clone>(all: impl IntoIterator<Item = Said<S>>) -> Vec<Merged<S>> {
    let mut found: HashMap<InfoHash, (Merged<S>, Counts)> = HashMap::new();
    for said in all {
        let mut named = HashSet::new();
        for composition in said.compositions {
            // It is one source, however often it says so.
            if !named.insert(composition.info_hash) {
                continue;
            }
            if found.len() >= MOST && !found.contains_key(&composition.info_hash) {
                continue;
            }
            let (members, complete) = (composition.members, composition.complete);
            let (merged, counts) = found
                .entry(composition.info_hash)
                .or_insert_with(|| (Merged { composition, sources: Vec::new() }, Counts::default()));
            counts.add(said.is_member, members, complete);
            merged.sources.push((said.source.clone(), said.is_member));
        }
    }
    let counted = |(mut merged, counts): (Merged<S>, Counts)| {
        (merged.composition.members, merged.composition.complete) = counts.all();
        merged
    };
    let mut all: Vec<Merged<S>> = found.into_values().map(counted).collect();
    all.sort_by(|a, b| {
        let order = |of: &Merged<S>| (Reverse(of.composition.members), of.composition.info_hash.0);
        a.composition.name.cmp(&b.composition.name).then_with(|| order(a).cmp(&order(b)))
    });
    all
}

/// Of several that may be meant the only one that somebody holds now: what is left of the others in a catalogue cannot be
/// had. All of them where nobody holds any, or several are held.
pub fn only_held<S>(mut all: Vec<Merged<S>>) -> Vec<Merged<S>> {
    let is_held = |one: &Merged<S>| one.composition.members > 0;
    if all.iter().filter(|one| is_held(one)).count() == 1 {
        all.retain(is_held);
    }
    all
}

/// How many have it, and have all of it: the most that a conductor knows, and those who spoke for themselves.
#[derive(Default)]
struct Counts {
    known: (u32, u32),
    own: (u32, u32),
}

impl Counts {
    fn add(&mut self, is_member: bool, members: u32, complete: u32) {
        match is_member {
            // Whatever it says: it is one.
            true => self.own = (self.own.0.saturating_add(1), self.own.1.saturating_add(complete.min(1))),
            false => self.known = (self.known.0.max(members), self.known.1.max(complete)),
        }
    }

    fn all(&self) -> (u32, u32) {
        (self.known.0.max(self.own.0), self.known.1.max(self.own.1))
    }
}

/// All holders, each once, as it was told of last: those that have most first.
pub fn holders(all: impl IntoIterator<Item = Holder>) -> Vec<Holder> {
    let found: BTreeMap<_, Holder> = all.into_iter().map(|holder| (holder.address, holder)).collect();
    let mut all: Vec<Holder> = found.into_values().collect();
    all.sort_by_key(|holder| (!holder.complete, Reverse(holder.percent)));
    all
}

/// All that is remembered, each member once: where several remember it, as the one that saw it get all of it.
pub fn past(all: impl IntoIterator<Item = Past>) -> Vec<Past> {
    let mut found: BTreeMap<_, Past> = BTreeMap::new();
    for one in all {
        let known = found.entry((one.name.clone(), one.address)).or_insert_with(|| one.clone());
        let here = known.here || one.here;
        if known.whole.is_none() || known.seconds.is_none() && one.seconds.is_some() {
            *known = one;
        }
        known.here = here;
    }
    let mut all: Vec<Past> = found.into_values().collect();
    all.sort_by_key(|past| Reverse(past.whole));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    fn composition(name: &str, hash: u8, members: u32, complete: u32) -> Composition {
        let (name, info_hash) = (name.to_owned(), InfoHash([hash; 20]));
        Composition { name, info_hash, members, complete, ..catalogue::tests::composition() }
    }

    fn said(source: &'static str, is_member: bool, compositions: &[(&str, u8, u32, u32)]) -> Said<&'static str> {
        let compositions = compositions.iter().map(|(name, hash, m, c)| composition(name, *hash, *m, *c)).collect();
        Said { source, is_member, compositions }
    }

    fn merged(all: Vec<Said<&'static str>>) -> Vec<(String, u32, u32, usize)> {
        let row = |one: Merged<&str>| {
            (one.composition.name, one.composition.members, one.composition.complete, one.sources.len())
        };
        merge(all).into_iter().map(row).collect()
    }

    fn row(name: &str, members: u32, complete: u32, sources: usize) -> (String, u32, u32, usize) {
        (name.to_owned(), members, complete, sources)
    }

    #[test]
    fn members_speak_for_themselves_and_conductors_for_many() {
        let all = vec![
            said("head", false, &[("a", 1, 3, 2), ("b", 2, 1, 1)]),
            said("tail", false, &[("a", 1, 1, 1)]),
            said("m1", true, &[("a", 1, 1, 1), ("b", 2, 1, 0)]),
            said("m2", true, &[("b", 2, 1, 1), ("c", 3, 900, 900)]),
        ];
        assert_eq!(merged(all), [row("a", 3, 2, 3), row("b", 2, 1, 3), row("c", 1, 1, 1)]);
    }

    #[test]
    fn who_repeats_itself_is_one_source() {
        let all = vec![said("m1", true, &[("a", 1, 1, 1), ("a", 1, 1, 1), ("a", 1, 1, 1)])];
        assert_eq!(merged(all), [row("a", 1, 1, 1)]);
    }

    #[test]
    fn one_name_may_mean_several() {
        let all = vec![
            said("m1", true, &[("x", 1, 1, 1)]),
            said("m2", true, &[("x", 2, 1, 1)]),
            said("m3", true, &[("x", 2, 1, 0)]),
        ];
        assert_eq!(merged(all), [row("x", 2, 1, 2), row("x", 1, 1, 1)]);
    }

    #[test]
    fn the_only_one_that_is_held_is_meant() {
        let left = |held: &[(u8, u32)]| -> Vec<u8> {
            let all: Vec<_> = held.iter().map(|(hash, members)| ("x", *hash, *members, *members)).collect();
            only_held(merge([said("head", false, &all)])).iter().map(|one| one.composition.info_hash.0[0]).collect()
        };
        assert_eq!(left(&[(1, 0), (2, 3)]), [2]);
        assert_eq!(left(&[(1, 1), (2, 3), (3, 0)]), [2, 1, 3], "two can be had");
        assert_eq!(left(&[(1, 0), (2, 0)]), [1, 2], "none can");
        assert_eq!(left(&[(1, 0)]), [1]);
    }

    #[test]
    fn each_holder_is_there_once() {
        let holder = |port, percent| Holder::new(([10, 0, 0, 1], port).into(), percent == Some(100), percent);
        let all =
            [(1, Some(40)), (2, None), (3, Some(100)), (1, Some(50))].map(|(port, percent)| holder(port, percent));
        let shown: Vec<_> = holders(all).into_iter().map(|one| (one.address.port(), one.percent)).collect();
        assert_eq!(shown, [(3, Some(100)), (1, Some(50)), (2, None)]);
    }
}
