//! How many connections there may be at once, over all listeners.
//!
//! Faces the network. One source has an eighth of the places at most, so that it takes eight to keep others out; who
//! comes beyond its share is let go at once. Where all places are taken, who comes next waits in the system's queue.
//! It remembers sources that have a connection alone.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::allowance::one_customer;

/// Connections at once, at most.
const MAX_CONNECTIONS: u64 = 4096;
/// File descriptors that are needed for other things.
const OTHER_FILES: u64 = 64;
/// So many sources together may take all places.
const SHARES: u32 = 8;

#[derive(Clone)]
pub struct Room {
    places: Arc<Semaphore>,
    size: u32,
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
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::of(files.saturating_sub(OTHER_FILES).clamp(16, MAX_CONNECTIONS) as u32)
    }

    fn of(size: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(size as usize)), size, taken: Arc::default() }
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
        if *of_source >= self.size / SHARES {
            return None;
        }
        *of_source += 1;
        Some(Place { source, taken: self.taken.clone(), _permit: permit })
    }

    /// Waits until nobody is in it.
    pub async fn emptied(&self) {
        let _ = self.places.acquire_many(self.size).await;
    }
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
        let room = Room::of(32);
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
