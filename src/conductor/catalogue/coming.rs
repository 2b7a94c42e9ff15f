//! What is being hashed where it is shared, and will be an entry soon: who asks for it is told so, and waits.
//!
//! Pure, and soft state: whoever hashes says so again and again. What strangers can make it keep: [`MOST`] names.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::{catalogue::Coming, manifest::Name, time::Time};

/// Names at the same time, at most.
pub const MOST: usize = 200;
/// Not heard of for so long, it is forgotten.
const LIFETIME: Duration = Duration::from_secs(12);

/// By name.
#[derive(Debug, Default)]
pub struct Soon(BTreeMap<Name, (Coming, Time)>);

impl Soon {
    /// Takes in what somebody hashes; what has no safe name, or no room, is passed over.
    pub fn hear(&mut self, coming: Vec<Coming>, now: Time) {
        self.0.retain(|_, (_, until)| *until > now);
        for one in coming {
            let Ok(name) = Name::new(&one.name) else { continue };
            if self.0.len() < MOST || self.0.contains_key(&name) {
                self.0.insert(name, (one, now + LIFETIME));
            }
        }
    }

    pub fn get(&self, name: &Name, now: Time) -> Option<&Coming> {
        self.0.get(name).filter(|(_, until)| *until > now).map(|(coming, _)| coming)
    }

    /// It is an entry now.
    pub fn remove(&mut self, name: &Name) {
        self.0.remove(name);
    }

    pub fn list(&self, now: Time) -> Vec<Coming> {
        self.0.values().filter(|(_, until)| *until > now).map(|(coming, _)| coming.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coming(name: &str) -> Coming {
        Coming { name: name.to_owned(), size: 100, done: 45 }
    }

    #[test]
    fn it_is_known_while_it_is_said() {
        let (mut soon, name) = (Soon::default(), Name::new("x").unwrap());
        soon.hear(vec![coming("x"), coming("../y")], Time::ZERO);
        assert_eq!(soon.list(Time::from_secs(11)).len(), 1);
        assert_eq!(soon.get(&name, Time::from_secs(1)).unwrap().to_string(), "x is still being hashed (45%)");
        assert_eq!(soon.get(&name, Time::from_secs(12)), None);
        soon.hear(vec![coming("x")], Time::from_secs(11));
        assert!(soon.get(&name, Time::from_secs(12)).is_some());
        soon.remove(&name);
        assert!(soon.list(Time::ZERO).is_empty());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut soon = Soon::default();
        soon.hear((0..MOST + 5).map(|n| coming(&n.to_string())).collect(), Time::ZERO);
        assert_eq!(soon.list(Time::ZERO).len(), MOST);
        soon.hear(vec![coming("late")], Time::from_secs(20));
        assert_eq!(soon.list(Time::from_secs(20)), [coming("late")]);
    }
}
