//! What the other conductors have not been told yet: of each member the last word alone.
//!
//! Pure. It holds at most [`MOST`] members, 20 MiB, however long Redis is away. Who comes beyond that is not told to the
//! others, save by its next announce once there is room.

use std::collections::{HashMap, hash_map::Entry};

use super::sighting::{Identity, Sighting};

/// Members that wait to be told, at most.
pub const MOST: usize = 100_000;

#[derive(Default)]
pub struct Unsent {
    latest: HashMap<Identity, Sighting>,
}

impl Unsent {
    /// Notes one in place of what the same member said before.
    pub fn note(&mut self, sighting: Sighting) {
        let room = self.latest.len() < MOST;
        match self.latest.entry(sighting.identity()) {
            Entry::Occupied(mut there) => _ = there.insert(sighting),
            Entry::Vacant(place) if room => _ = place.insert(sighting),
            Entry::Vacant(_) => {}
        }
    }

    /// All that waits; nothing does afterwards.
    pub fn take(&mut self) -> Vec<Sighting> {
        std::mem::take(&mut self.latest).into_values().collect()
    }

    /// Puts back what could not be sent, save where a later word has come.
    pub fn put_back(&mut self, sightings: &[Sighting]) {
        for sighting in sightings {
            if !self.latest.contains_key(&sighting.identity()) {
                self.note(sighting.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{announce::http_request::read_announce, conductor::table::Caller};

    fn sighting(port: u16, left: u64) -> Sighting {
        let query =
            format!("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port={port}&key={port:x}&left={left}");
        let here = [10, 0, 0, 1].into();
        Sighting::new(&read_announce(query.as_bytes()).unwrap(), &Caller::new(here, here), 5, 7)
    }

    #[test]
    fn the_last_word_of_each_counts() {
        let mut unsent = Unsent::default();
        [sighting(1, 9), sighting(2, 9), sighting(1, 8)].into_iter().for_each(|sighting| unsent.note(sighting));
        let mut taken = unsent.take();
        taken.sort_by_key(|sighting| sighting.announce.port);
        assert_eq!(taken, [sighting(1, 8), sighting(2, 9)]);
        unsent.note(sighting(1, 7));
        unsent.put_back(&taken);
        let mut taken = unsent.take();
        taken.sort_by_key(|sighting| sighting.announce.port);
        assert_eq!(taken, [sighting(1, 7), sighting(2, 9)]);
        assert!(unsent.take().is_empty());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut unsent = Unsent::default();
        let mut one = sighting(1, 9);
        for key in 0..MOST as u32 + 10 {
            one.announce.key = Some(key);
            unsent.note(one.clone());
        }
        one.announce = sighting(1, 3).announce;
        unsent.note(one);
        let taken = unsent.take();
        assert_eq!(taken.len(), MOST);
        assert!(taken.iter().any(|sighting| sighting.announce.left == 3));
    }
}
