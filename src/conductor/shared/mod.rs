//! Several conductors on one Redis (or Valkey): each answers from its own table, Redis carries what the others heard.
//!
//! An announce is never held up: it is noted in [`unsent`] and answered. [`link`] sends the notes a moment later as
//! [`sighting`]s to all conductors, which put them into their own tables as if they had been asked, and keeps them in
//! Redis for a quarter of an hour for those that start later. What members say over their live links goes the same way as
//! [`glimpse`]s, and is not kept. Without Redis each conductor goes on with what it hears
//! itself, and the link makes up for the time when it is back.
//!
//! Its invariant: Redis holds nothing that is not also known elsewhere, save the catalogue. Redis is trusted: who may write
//! there may name members as it pleases, so it belongs behind a password or in a network of its own.
//!
//! What it gives an attacker: for each member that it invents, 300 bytes in Redis in each of a few windows of time, up to
//! [`link`]'s limit of them, and an entry in the table of every conductor, which has limits of its own. Who leaves
//! without having been there is not passed on.

pub mod glimpse;
pub mod link;
pub mod place;
pub mod sighting;
pub mod unsent;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use glimpse::Glimpse;
pub use place::RedisPlace;
use sighting::Sighting;
use unsent::Unsent;

use super::table::Caller;
use crate::announce::Announce;

/// What this conductor heard and the others are to be told.
#[derive(Default)]
pub struct Outbox {
    unsent: Mutex<Unsent>,
    /// The last words of members whose live link ended.
    parted: Mutex<Vec<Glimpse>>,
}

/// Last words that wait to be told, at most: of who is beyond, the others hear no more, which says the same later.
const MOST_PARTED: usize = 10_000;

impl Outbox {
    /// Notes an announce that was taken, and answered with this interval; `cut_off`: it was the member's live link that
    /// ended. Never waits for the network.
    pub fn note(&self, announce: &Announce, caller: &Caller, interval: u32, cut_off: bool) {
        let sighting = Sighting { cut_off, ..Sighting::new(announce, caller, interval, since_1970()) };
        self.unsent().note(sighting);
    }

    /// Notes the last word of a member whose live link ended.
    pub fn note_parted(&self, glimpse: Glimpse) {
        let mut parted = self.parted();
        if parted.len() < MOST_PARTED {
            parted.push(glimpse);
        }
    }

    fn parted(&self) -> MutexGuard<'_, Vec<Glimpse>> {
        self.parted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where others reach members that announced from the loopback of a conductor listening here; None while it listens on
/// the loopback alone, and all of it is on one machine. `own` is this machine's address towards the others.
pub fn outside(listening: &[SocketAddr], own: Option<IpAddr>) -> Option<IpAddr> {
    let mut named = listening.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).peekable();
    match named.peek() {
        Some(_) => named.find(|ip| !ip.is_loopback()),
        None => own,
    }
}

/// Seconds since 1970 by this machine's clock.
fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_on_the_loopback_are_outside_where_the_conductor_is() {
        let at = |addresses: &[&str]| {
            let listening: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            outside(&listening, Some([10, 0, 0, 1].into())).map(|ip| ip.to_string())
        };
        assert_eq!(at(&["0.0.0.0:9", "[::]:9"]).as_deref(), Some("10.0.0.1"));
        assert_eq!(at(&["127.0.0.1:9", "192.168.0.1:9"]).as_deref(), Some("192.168.0.1"));
        assert_eq!(at(&["127.0.0.1:9"]), None);
    }
}
