//! Paths on which only small messages arrive: one whose MTU is smaller than its ends believe, where the messages that say
//! so are dropped. A connection opens there, and no block ever comes.
//!
//! Pure. One such connection may have another cause; two with the same address, and none on which a block came, are worth a
//! hint. What is remembered of an address is a number, of [`MAX_ADDRESSES`] of them at most.

use core::net::IpAddr;
use std::collections::{HashMap, hash_map::Entry};

use crate::peer::{Closed, Event, PeerKey, liveness::Silence};

/// Addresses that are remembered; of further ones nothing is.
const MAX_ADDRESSES: usize = 256;
/// Connections with one address on which only small messages came, before that is said.
const ENOUGH: u32 = 2;

#[derive(Default)]
pub struct Narrow {
    talks: HashMap<PeerKey, Talk>,
    /// How many connections broke so, of addresses that never gave a block.
    broken: HashMap<IpAddr, u32>,
}

/// What came in a conversation so far.
#[derive(Clone, Copy, Default)]
struct Talk {
    /// It said that it serves us, which is a small message.
    serves: bool,
    /// It gave something of a block.
    gives: bool,
    /// It is silent though something is outstanding.
    owes: bool,
}

impl Narrow {
    /// Something happened in a conversation with this address. True where a hint is due: only small messages ever came
    /// from there.
    pub fn hear(&mut self, key: PeerKey, event: &Event, address: impl FnOnce() -> Option<IpAddr>) -> bool {
        match event {
            Event::Choked(false) => self.talks.entry(key).or_default().serves = true,
            Event::Silent(silence) => self.talks.entry(key).or_default().owes = *silence >= Silence::Owing,
            Event::Received { .. } | Event::Late(_) => {
                let gave = std::mem::replace(&mut self.talks.entry(key).or_default().gives, true);
                if let Some(address) = (!gave).then(address).flatten() {
                    self.broken.remove(&address);
                }
            }
            Event::Closed(why) => {
                let talk = self.talks.remove(&key).unwrap_or_default();
                let is_such = talk.serves && talk.owes && !talk.gives;
                if is_such && matches!(why, Closed::Broken(_) | Closed::ByThem) {
                    return address().is_some_and(|address| self.count(address) >= ENOUGH);
                }
            }
            _ => {}
        }
        false
    }

    fn count(&mut self, address: IpAddr) -> u32 {
        let has_room = self.broken.len() < MAX_ADDRESSES;
        match self.broken.entry(address) {
            Entry::Vacant(_) if !has_room => 0,
            entry => {
                let count = entry.or_default();
                *count = count.saturating_add(1);
                *count
            }
        }
    }
}

/// What is told of such a path to `who`, safe for a terminal.
pub fn hint(who: &str) -> String {
    format!(
        "{who} answers, but nothing large arrives from it: perhaps the path's MTU is too small for its packets (a VPN?); \
         try a smaller MTU at both ends (ip link set dev NAME mtu 1280), or let ICMP through the firewalls between"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: Event = Event::Silent(Silence::Over);

    fn broken() -> Event {
        Event::Closed(Closed::Broken("nothing was heard for too long".to_owned()))
    }

    fn silent() -> [Event; 2] {
        [Event::Silent(Silence::Owing), Event::Silent(Silence::Overdue)]
    }

    /// Whether a hint is due at the end of one more conversation with this address, in which these events came.
    fn ends(narrow: &mut Narrow, key: u32, last: u8, events: impl IntoIterator<Item = Event>) -> bool {
        let address = || Some(IpAddr::from([10, 0, 0, last]));
        events.into_iter().any(|event| narrow.hear(PeerKey(key), &event, address))
    }

    fn black_hole(narrow: &mut Narrow, key: u32, last: u8) -> bool {
        ends(narrow, key, last, [vec![OTHER, Event::Choked(false)], silent().to_vec(), vec![broken()]].concat())
    }

    #[test]
    fn two_connections_without_a_block_are_worth_a_hint() {
        let mut narrow = Narrow::default();
        assert!(!black_hole(&mut narrow, 1, 1) && !black_hole(&mut narrow, 2, 2), "each may have another cause");
        assert!(black_hole(&mut narrow, 3, 1) && black_hole(&mut narrow, 4, 2));
        assert!(narrow.talks.is_empty());
    }

    #[test]
    fn where_a_block_came_the_path_is_wide_enough() {
        let mut narrow = Narrow::default();
        assert!(!black_hole(&mut narrow, 1, 1));
        let fine = [vec![Event::Choked(false), Event::Late(16_384)], silent().to_vec(), vec![broken()]].concat();
        assert!(!ends(&mut narrow, 2, 1, fine));
        assert!(!black_hole(&mut narrow, 3, 1), "counted anew");
    }

    #[test]
    fn what_ends_otherwise_says_nothing_of_the_path() {
        let mut narrow = Narrow::default();
        for key in 0..9 {
            let serves = Event::Choked(false);
            for events in [
                vec![broken()],
                vec![serves.clone(), broken()],
                [silent().to_vec(), vec![broken()]].concat(),
                [vec![serves.clone()], silent().to_vec(), vec![OTHER, broken()]].concat(),
                [vec![serves.clone()], silent().to_vec(), vec![Event::Closed(Closed::ByUs("it is over"))]].concat(),
                vec![serves, Event::Silent(Silence::Idle), broken()],
            ] {
                assert!(!ends(&mut narrow, key, 1, events));
            }
        }
    }

    #[test]
    fn of_many_addresses_no_more_is_remembered() {
        let mut narrow = Narrow::default();
        for n in 0..1000u32 {
            let [_, _, high, low] = n.to_be_bytes();
            narrow.talks.insert(PeerKey(n), Talk { serves: true, gives: false, owes: true });
            assert!(!narrow.hear(PeerKey(n), &broken(), || Some(IpAddr::from([10, 1, high, low]))));
        }
        assert_eq!(narrow.broken.len(), MAX_ADDRESSES);
    }
}
