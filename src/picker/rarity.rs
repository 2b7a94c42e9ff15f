//! Parts in the order of how few members have them; ties in random order.
//!
//! Parts that nobody needs to pick are not in the order, but their count is kept. Every change is O(1), or O(highest
//! count) when a part enters or leaves. The shape is that of libtorrent's piece picker: one array cut into ranges.

use crate::geometry::{Geometry, PartIndex};

const OUT: u32 = u32::MAX;

#[derive(Debug)]
pub struct Rarity {
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
