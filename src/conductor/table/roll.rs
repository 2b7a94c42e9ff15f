//! A map whose entries also stand in a row, so that some of them can be drawn at random without looking at the rest.

use std::{collections::HashMap, hash::Hash};

/// Look-up, insertion and removal take constant time; removal moves the last entry into the gap.
pub struct Roll<K, V> {
    row: Vec<(K, V)>,
    place: HashMap<K, usize>,
}

impl<K, V> Default for Roll<K, V> {
    fn default() -> Self {
        Self { row: Vec::new(), place: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash, V> Roll<K, V> {
    pub fn len(&self) -> usize {
        self.row.len()
    }

    pub fn contains(&self, key: &K) -> bool {
        self.place.contains_key(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = *self.place.get(key)?;
        self.row.get_mut(place).map(|(_, value)| value)
    }

    /// Replaces what the key had.
    pub fn insert(&mut self, key: K, value: V) {
        match self.get_mut(&key) {
            Some(old) => *old = value,
            None => {
                self.place.insert(key, self.row.len());
                self.row.push((key, value));
            }
        }
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place.remove(key)?;
        let (_, value) = self.row.swap_remove(place);
        if let Some((moved, _)) = self.row.get(place) {
            self.place.insert(*moved, place);
        }
        Some(value)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.row.iter().map(|(_, value)| value)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.row.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// Every entry once, from a random one on in random steps. Taking k of them costs k.
    pub fn shuffled(&self, dice: &mut fastrand::Rng) -> impl Iterator<Item = &(K, V)> {
        let len = self.row.len();
        let (mut at, step) = match len {
            0 => (0, 0),
            _ => (dice.usize(..len), coprime_below(len, dice)),
        };
        (0..len).map(move |_| {
            at = (at + step) % len;
            &self.row[at]
        })
    }
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
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in prop::collection::vec((0u8..20, any::<bool>(), any::<u32>()), 0..200)) {
            let (mut roll, mut map) = (Roll::default(), HashMap::new());
            for (key, put, value) in steps {
                if put {
                    roll.insert(key, value);
                    map.insert(key, value);
                } else {
                    prop_assert_eq!(roll.remove(&key), map.remove(&key));
                }
                prop_assert_eq!(roll.len(), map.len());
            }
            let held: HashMap<u8, u32> = roll.iter_mut().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(held, map);
        }

        #[test]
        fn shuffled_shows_each_entry_once(len in 0u32..300, seed: u64) {
            let mut roll = Roll::default();
            (0..len).for_each(|key| roll.insert(key, ()));
            let mut dice = fastrand::Rng::with_seed(seed);
            let seen: Vec<u32> = roll.shuffled(&mut dice).map(|(key, ())| *key).collect();
            prop_assert_eq!(seen.len(), len as usize);
            prop_assert_eq!(seen.into_iter().collect::<HashSet<_>>().len(), len as usize);
        }
    }

    #[test]
    fn every_entry_comes_first_about_as_often() {
        let mut roll = Roll::default();
        (0..10).for_each(|key: usize| roll.insert(key, ()));
        let mut dice = fastrand::Rng::with_seed(1);
        let mut first = [0; 10];
        for _ in 0..10_000 {
            if let Some((key, ())) = roll.shuffled(&mut dice).next() {
                first[*key] += 1;
            }
        }
        assert!(first.iter().all(|&n| (800..1200).contains(&n)), "{first:?}");
    }
}
