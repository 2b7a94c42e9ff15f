//! Parts in the order of how few members have them; ties in random order.
//!
//! Parts that nobody needs to pick are not in the order, but their count is kept. Every change is O(1), or O(highest
//! count) when a part enters or leaves. The shape is that of libtorrent's piece picker: one array cut into ranges. Many
//! changes at once are made by sorting that array anew: a pass over it costs less than jumps all over it.

use crate::{
    geometry::{Geometry, PartIndex},
    wire::bitfield::Bitfield,
};

const OUT: u32 = u32::MAX;
/// Fewer changes at once than this are made one by one.
const MIN_SORTED: usize = 1 << 16;
/// Parts side by side that a sort takes in one go.
const BLOCK: usize = 64;
/// So are fewer than this fraction of the order.
const SORTED_SHARE: usize = 16;

#[derive(Debug)]
pub struct Rarity {
    geometry: Geometry,
    /// The parts, rarest first.
    order: Vec<PartIndex>,
    /// Where each part stands in `order`, or [`OUT`].
    place: Vec<u32>,
    /// How many incomplete members have each part.
    count: Vec<u16>,
    /// `ends[n]`: where the parts with count `n` end in `order`.
    ends: Vec<u32>,
    dice: fastrand::Rng,
}

impl Rarity {
    /// No part is in the order, nobody has any.
    pub fn new(geometry: &Geometry, seed: u64) -> Self {
        let parts = geometry.parts() as usize;
        Self {
            geometry: *geometry,
            order: Vec::new(),
            place: vec![OUT; parts],
            count: vec![0; parts],
            ends: vec![0],
            dice: fastrand::Rng::with_seed(seed),
        }
    }

    /// How many incomplete members have this part.
    pub fn count(&self, part: PartIndex) -> u16 {
        self.count[part.as_usize()]
    }

    /// The parts that are to be picked, rarest first.
    pub fn order(&self) -> &[PartIndex] {
        &self.order
    }

    /// Those of them that at most `most` members have.
    pub fn rarest(&self, most: u16) -> &[PartIndex] {
        let end = self.ends.get(usize::from(most)).map_or(self.order.len(), |e| *e as usize);
        &self.order[..end]
    }

    fn swap(&mut self, a: u32, b: u32) {
        self.order.swap(a as usize, b as usize);
        self.place[self.order[a as usize].as_usize()] = a;
        self.place[self.order[b as usize].as_usize()] = b;
    }

    fn ensure_range(&mut self, count: u16) {
        while self.ends.len() <= usize::from(count) {
            self.ends.push(self.order.len() as u32);
        }
    }

    /// Puts the part at a random place among its equals.
    fn shuffle(&mut self, part: PartIndex) {
        let count = usize::from(self.count(part));
        let start = if count == 0 { 0 } else { self.ends[count - 1] };
        let other = self.dice.u32(start..self.ends[count]);
        self.swap(self.place[part.as_usize()], other);
    }

    /// One more member has it.
    pub fn gained(&mut self, part: PartIndex) {
        let old = self.count(part);
        self.count[part.as_usize()] = old.saturating_add(1);
        let place = self.place[part.as_usize()];
        if place == OUT || old == u16::MAX {
            return;
        }
        self.ensure_range(old + 1);
        self.ends[usize::from(old)] -= 1;
        let last = self.ends[usize::from(old)];
        self.swap(place, last);
        self.shuffle(part);
    }

    /// One member less has it.
    pub fn lost(&mut self, part: PartIndex) {
        let old = self.count(part);
        self.count[part.as_usize()] = old.saturating_sub(1);
        let place = self.place[part.as_usize()];
        if place == OUT || old == 0 {
            return;
        }
        let first = self.ends[usize::from(old) - 1];
        self.swap(place, first);
        self.ends[usize::from(old) - 1] += 1;
        self.shuffle(part);
    }

    /// One more member has each of these parts.
    pub fn gained_all(&mut self, parts: &Bitfield) {
        let geometry = self.geometry;
        if !self.is_worth_sorting(parts) {
            return parts.ones(&geometry).for_each(|part| self.gained(part));
        }
        for part in parts.ones(&geometry) {
            let count = &mut self.count[part.as_usize()];
            *count = count.saturating_add(1);
        }
        self.sort();
    }

    /// One member less has each of these parts.
    pub fn lost_all(&mut self, parts: &Bitfield) {
        let geometry = self.geometry;
        if !self.is_worth_sorting(parts) {
            return parts.ones(&geometry).for_each(|part| self.lost(part));
        }
        for part in parts.ones(&geometry) {
            let count = &mut self.count[part.as_usize()];
            *count = count.saturating_sub(1);
        }
        self.sort();
    }

    fn is_worth_sorting(&self, parts: &Bitfield) -> bool {
        let changes = parts.count() as usize;
        changes >= MIN_SORTED && changes >= self.order.len() / SORTED_SHARE
    }

    /// Counting sort of `order` by `count`. Equals are in random order by blocks of neighbouring parts, so that the arrays
    /// are read nearly from start to end.
    fn sort(&mut self) {
        let mut ends = vec![0u32; self.ends.len()];
        for (count, _) in self.count.iter().zip(&self.place).filter(|(_, place)| **place != OUT) {
            let count = usize::from(*count);
            if count >= ends.len() {
                ends.resize(count + 1, 0);
            }
            ends[count] += 1;
        }
        let mut next = Vec::with_capacity(ends.len());
        let mut sum = 0;
        for end in &mut ends {
            next.push(sum);
            sum += *end;
            *end = sum;
        }
        self.ends = ends;
        let mut blocks: Vec<u32> = (0..self.count.len().div_ceil(BLOCK) as u32).collect();
        self.dice.shuffle(&mut blocks);
        for block in blocks {
            let mask = self.dice.u32(..BLOCK as u32);
            for n in 0..BLOCK as u32 {
                let Some(part) = self.geometry.part(block * BLOCK as u32 + (n ^ mask)) else {
                    continue;
                };
                let place = &mut self.place[part.as_usize()];
                if *place == OUT {
                    continue;
                }
                let end = &mut next[usize::from(self.count[part.as_usize()])];
                self.order[*end as usize] = part;
                *place = *end;
                *end += 1;
            }
        }
    }

    /// From now on the part is to be picked.
    pub fn enter(&mut self, part: PartIndex) {
        if self.place[part.as_usize()] != OUT {
            return;
        }
        let count = self.count(part);
        self.ensure_range(count);
        self.order.push(part);
        let mut place = self.order.len() as u32 - 1;
        self.place[part.as_usize()] = place;
        for n in (usize::from(count) + 1..self.ends.len()).rev() {
            let first = self.ends[n - 1];
            self.swap(place, first);
            place = first;
            self.ends[n] += 1;
        }
        self.ends[usize::from(count)] += 1;
        self.shuffle(part);
    }

    /// The part is not to be picked any more (or for now).
    pub fn leave(&mut self, part: PartIndex) {
        let mut place = self.place[part.as_usize()];
        if place == OUT {
            return;
        }
        for n in usize::from(self.count(part))..self.ends.len() {
            self.ends[n] -= 1;
            let last = self.ends[n];
            self.swap(place, last);
            place = last;
        }
        self.order.pop();
        self.place[part.as_usize()] = OUT;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(r: &Rarity) {
        let counts: Vec<u16> = r.order.iter().map(|p| r.count(*p)).collect();
        assert!(counts.is_sorted(), "{counts:?}");
        for (i, part) in r.order.iter().enumerate() {
            assert_eq!(r.place[part.as_usize()], i as u32);
        }
        for (n, end) in r.ends.iter().enumerate() {
            assert_eq!(*end as usize, counts.iter().filter(|c| usize::from(**c) <= n).count());
        }
    }

    proptest! {
        #[test]
        fn the_order_is_always_that_of_the_counts(moves in prop::collection::vec((0u32..12, 0u8..4), 0..300)) {
            let g = Geometry::new(12, 1).unwrap();
            let mut r = Rarity::new(&g, 1);
            for (part, action) in moves {
                let part = g.part(part).unwrap();
                match action {
                    0 => r.gained(part),
                    1 => r.lost(part),
                    2 => r.enter(part),
                    _ => r.leave(part),
                }
                check(&r);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]
        #[test]
        fn many_changes_at_once_are_the_same_as_one_by_one(seed: u64, moves in prop::collection::vec((0.0f64..1.0, any::<bool>()), 1..6)) {
            let g = Geometry::new(3 * MIN_SORTED as u64 + 7, 1).unwrap();
            let (mut one_by_one, mut at_once) = (Rarity::new(&g, 1), Rarity::new(&g, 1));
            let mut dice = fastrand::Rng::with_seed(seed);
            for part in g.all_parts().filter(|_| dice.f64() < 0.9) {
                one_by_one.enter(part);
                at_once.enter(part);
            }
            for (share, up) in moves {
                let mut parts = Bitfield::none(&g);
                g.all_parts().filter(|_| dice.f64() < share).for_each(|part| {
                    parts.insert(part);
                });
                if up {
                    parts.ones(&g).for_each(|part| one_by_one.gained(part));
                    at_once.gained_all(&parts);
                } else {
                    parts.ones(&g).for_each(|part| one_by_one.lost(part));
                    at_once.lost_all(&parts);
                }
                check(&at_once);
                prop_assert_eq!(&one_by_one.count, &at_once.count);
                prop_assert_eq!(&one_by_one.ends, &at_once.ends);
            }
        }
    }

    #[test]
    fn ties_are_random() {
        let g = Geometry::new(100, 1).unwrap();
        let orders: Vec<_> = (0..2)
            .map(|seed| {
                let mut r = Rarity::new(&g, seed);
                g.all_parts().for_each(|p| r.enter(p));
                r.order().to_vec()
            })
            .collect();
        assert_ne!(orders[0], orders[1]);
    }
}
