//! What is being hashed where it is shared, and will be an entry soon: who asks for it is told so, and waits.
//!
//! Pure, and soft state: whoever hashes says so again and again. What strangers can make it keep: [`MOST`] names, of which
//! one source has [`MAX_OF_ONE`]; where all are taken, the source with the most names loses one to a source with fewer. A
//! name belongs to the source that said it first, for as long as that goes on saying it.

use core::{net::IpAddr, time::Duration};
use std::collections::BTreeMap;

use crate::{
    catalogue::Coming,
    conductor::allowance::{Customer, whole_customer},
    manifest::Name,
    time::Time,
};

/// Names at the same time, at most.
pub const MOST: usize = 400;
/// Names of one source at the same time, at most: a member says no more.
pub const MAX_OF_ONE: usize = 100;
/// Not heard of for so long, it is forgotten.
const LIFETIME: Duration = Duration::from_secs(12);

/// By name.
#[derive(Debug, Default)]
pub struct Soon(BTreeMap<Name, Said>);

#[derive(Debug)]
struct Said {
    coming: Coming,
    by: Customer,
    until: Time,
}

impl Soon {
    /// Takes in what `source` hashes; what has no safe name, is another's or has no room, is passed over.
    pub fn hear(&mut self, source: IpAddr, coming: Vec<Coming>, now: Time) {
        self.0.retain(|_, said| said.until > now);
        let by = whole_customer(source.to_canonical());
        for one in coming {
            let Ok(name) = Name::new(&one.name) else { continue };
            let takes = match self.0.get(&name) {
                Some(said) => said.by == by,
                None => self.has_room(by),
            };
            if takes {
                self.0.insert(name, Said { coming: one, by, until: now + LIFETIME });
            }
        }
    }

    /// Whether there is room for one more of this source; another's name may go for it.
    fn has_room(&mut self, by: Customer) -> bool {
        let mut counts: BTreeMap<Customer, usize> = BTreeMap::new();
        self.0.values().for_each(|said| *counts.entry(said.by).or_default() += 1);
        let own = counts.get(&by).copied().unwrap_or(0);
        if own >= MAX_OF_ONE || self.0.len() < MOST {
            return own < MAX_OF_ONE;
        }
        let largest = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own + 1);
        let goes = largest.and_then(|(largest, _)| self.0.iter().find(|(_, said)| said.by == largest));
        let Some(goes) = goes.map(|(name, _)| name.clone()) else { return false };
        self.0.remove(&goes).is_some()
    }

    pub fn get(&self, name: &Name, now: Time) -> Option<&Coming> {
        self.0.get(name).filter(|said| said.until > now).map(|said| &said.coming)
    }

    /// It is an entry now.
    pub fn remove(&mut self, name: &Name) {
        self.0.remove(name);
    }

    pub fn list(&self, now: Time) -> Vec<Coming> {
        self.0.values().filter(|said| said.until > now).map(|said| said.coming.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coming(name: &str) -> Coming {
        Coming { name: name.to_owned(), size: 100, done: 45 }
    }

    const ONE: [u8; 4] = [10, 0, 0, 1];

    /// This many names, all unlike those of other sources.
    fn names(source: u8, many: usize) -> Vec<Coming> {
        (0..many).map(|n| coming(&format!("{source}-{n}"))).collect()
    }

    #[test]
    fn it_is_known_while_it_is_said() {
        let (mut soon, name) = (Soon::default(), Name::new("x").unwrap());
        soon.hear(ONE.into(), vec![coming("x"), coming("../y")], Time::ZERO);
        assert_eq!(soon.list(Time::from_secs(11)).len(), 1);
        assert_eq!(soon.get(&name, Time::from_secs(1)).unwrap().to_string(), "x is still being hashed (45%)");
        assert_eq!(soon.get(&name, Time::from_secs(12)), None);
        soon.hear(ONE.into(), vec![coming("x")], Time::from_secs(11));
        assert!(soon.get(&name, Time::from_secs(12)).is_some());
        soon.remove(&name);
        assert!(soon.list(Time::ZERO).is_empty());
    }

    #[test]
    fn one_source_leaves_room_to_others() {
        let mut soon = Soon::default();
        let of = |soon: &Soon, source: u8| {
            let start = format!("{source}-");
            soon.list(Time::ZERO).iter().filter(|coming| coming.name.starts_with(&start)).count()
        };
        soon.hear(ONE.into(), names(1, MOST + 5), Time::ZERO);
        assert_eq!(soon.list(Time::ZERO).len(), MAX_OF_ONE);
        for source in 2..=4 {
            soon.hear([10, 0, 0, source].into(), names(source, MOST), Time::ZERO);
        }
        assert_eq!(soon.list(Time::ZERO).len(), MOST);
        soon.hear([10, 0, 0, 5].into(), names(5, MOST), Time::ZERO);
        assert_eq!([1, 2, 3, 4, 5].map(|source| of(&soon, source)), [80; 5], "all have as much");
        soon.hear(ONE.into(), vec![coming("late")], Time::from_secs(20));
        assert_eq!(soon.list(Time::from_secs(20)), [coming("late")]);
    }

    #[test]
    fn a_name_is_changed_by_its_source_alone() {
        let (mut soon, name) = (Soon::default(), Name::new("x").unwrap());
        let done = |soon: &Soon| soon.get(&name, Time::ZERO).map(|coming| coming.done);
        soon.hear(ONE.into(), vec![coming("x")], Time::ZERO);
        soon.hear([10, 0, 0, 2].into(), vec![Coming { done: 99, ..coming("x") }], Time::ZERO);
        assert_eq!(done(&soon), Some(45));
        soon.hear(ONE.into(), vec![Coming { done: 99, ..coming("x") }], Time::ZERO);
        assert_eq!(done(&soon), Some(99));
    }
}
