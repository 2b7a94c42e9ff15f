//! Parts that the peers have not been told of yet. Where parts come fast they are told many at a time, since each telling
//! wakes the task of each connection; one that comes after a pause is told at once.

use std::sync::Arc;

use crate::{geometry::PartIndex, time::Time};

/// The peers are not told of new parts more often than this.
const HAVE_INTERVAL: Time = Time::from_millis(10);
/// Unless so many wait.
const MAX_UNTOLD: usize = 256;

#[derive(Default)]
pub(super) struct Fresh {
    parts: Vec<PartIndex>,
    /// When the peers were told last.
    told: Option<Time>,
}

impl Fresh {
    pub fn add(&mut self, part: PartIndex) {
        self.parts.push(part);
    }

    /// Parts to tell the peers of now, if any.
    pub fn due(&mut self, now: Time) -> Option<Arc<[PartIndex]>> {
        let is_early = self.told.is_some_and(|told| now < told + HAVE_INTERVAL);
        if is_early && self.parts.len() < MAX_UNTOLD {
            return None;
        }
        self.all(now)
    }

    /// The same, however short ago the peers were told.
    pub fn all(&mut self, now: Time) -> Option<Arc<[PartIndex]>> {
        if self.parts.is_empty() {
            return None;
        }
        self.told = Some(now);
        Some(self.parts.drain(..).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;

    fn told(fresh: &mut Fresh, ms: u64) -> Vec<u32> {
        let parts = fresh.due(Time::from_millis(ms));
        parts.iter().flat_map(|parts| parts.iter().map(|part| part.get())).collect()
    }

    #[test]
    fn a_part_after_a_pause_is_told_at_once_and_those_that_follow_fast_together() {
        let geometry = Geometry::new(1 << 20, 1024).unwrap();
        let part = |n| geometry.part(n).unwrap();
        let mut fresh = Fresh::default();
        fresh.add(part(7));
        assert_eq!(told(&mut fresh, 3), [7]);
        fresh.add(part(8));
        assert!(told(&mut fresh, 4).is_empty());
        fresh.add(part(2));
        assert!(told(&mut fresh, 12).is_empty());
        assert_eq!(told(&mut fresh, 13), [8, 2]);
        assert!(told(&mut fresh, 99).is_empty());
        fresh.add(part(9));
        assert_eq!(told(&mut fresh, 99), [9]);
        (0..MAX_UNTOLD as u32).for_each(|n| fresh.add(part(n)));
        assert_eq!(told(&mut fresh, 99).len(), MAX_UNTOLD, "no list grows for long");
    }
}
