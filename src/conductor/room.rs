//! How many connections there may be at once, over all listeners; live links, which stay, have a room of their own.
//!
//! Faces the network. One source has an eighth of the places at most, so that it takes eight to keep others out (half of
//! those for live links: a whole class room may be behind one address); who
//! comes beyond its share is let go at once. Where all places are taken, who comes next waits in the system's queue.
//! It remembers sources that have a connection alone.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::allowance::one_customer;

/// Connections at once, at most.
const MAX_CONNECTIONS: u64 = 4096;
/// File descriptors that the process asks for.
const MOST_FILES: u64 = 65_536;
/// File descriptors that are needed for other things.
const OTHER_FILES: u64 = 64;
/// So many sources together may take all places.
const SHARES: u32 = 8;
/// Live links at once, at most.
const MAX_LINKS: u64 = 16_384;
/// So many sources together may take all places for live links.
const LINK_SHARES: u32 = 2;

#[derive(Clone)]
pub struct Room {
    places: Arc<Semaphore>,
    size: u32,
    shares: u32,
    /// How many places each source has.
    taken: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// A place for one connection, free again when this is dropped.
pub struct Place {
    source: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, u32>>>,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    /// As large as makes sense and as the process may open files.
    pub fn new() -> Self {
        Self::of((free_files() / 2).clamp(16, MAX_CONNECTIONS) as u32, SHARES)
    }

    /// The room for live links: what [`Room::new`] leaves of the files.
    pub fn for_links() -> Self {
        let others = (free_files() / 2).min(MAX_CONNECTIONS);
        Self::of((free_files() - others).clamp(16, MAX_LINKS) as u32, LINK_SHARES)
    }

    /// So many places, which so many sources together may take.
    pub fn of(size: u32, shares: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(size as usize)), size, shares, taken: Arc::default() }
    }

    /// Waits until there is a free place.
    pub async fn has_place(&self) {
        let _ = self.places.acquire().await;
    }

    /// A place for a connection from here; None where this source has had its share, or nothing is free.
    pub fn enter(&self, source: IpAddr) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let source = one_customer(source.to_canonical());
        let mut taken = lock(&self.taken);
        let of_source = taken.entry(source).or_default();
        if *of_source >= self.size / self.shares {
            return None;
        }
        *of_source += 1;
        Some(Place { source, taken: self.taken.clone(), _permit: permit })
    }

    /// How many places there are, and how many of them are taken.
    pub fn places(&self) -> (usize, usize) {
        let size = self.size as usize;
        (size, size.saturating_sub(self.places.available_permits()))
    }

    /// Waits until nobody is in it.
    pub async fn emptied(&self) {
        let _ = self.places.acquire_many(self.size).await;
    }
}

/// File descriptors for connections. The process takes as many as the system lets it: the usual first limit is there for
/// programs that cannot count above 1024.
fn free_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum.map(|most| most.min(MOST_FILES)), maximum: limit.maximum };
    if limit.current.is_some_and(|now| raised.current.is_none_or(|most| now < most)) {
        // Then it stays as it is.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(MOST_FILES).saturating_sub(OTHER_FILES)
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(of_source) = taken.get_mut(&self.source) {
            *of_source -= 1;
            if *of_source == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

fn lock(taken: &Mutex<HashMap<IpAddr, u32>>) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_has_its_share_and_leaves_the_rest_to_others() {
        let room = Room::of(32, SHARES);
        let mut places: Vec<Place> = (0..100).filter_map(|_| room.enter(ip("8.8.8.8"))).collect();
        assert_eq!(places.len(), 4);
        assert!(room.enter(ip("::ffff:8.8.8.8")).is_none());
        places.extend((0..100).filter_map(|n: u16| room.enter(ip(&format!("2001:db8::{n:x}")))));
        assert_eq!(places.len(), 8);
        places.extend((0..100).filter_map(|n: u8| room.enter([10, 0, 0, n].into())));
        assert_eq!(places.len(), 32);
        drop(places);
        assert!(lock(&room.taken).is_empty());
        assert!(room.enter(ip("8.8.8.8")).is_some());
    }
}
