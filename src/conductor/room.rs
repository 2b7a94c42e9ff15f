//! How many connections there may be at once, over all listeners; live links, which stay, have a room of their own.
//!
//! Faces the network. One source has an eighth of the places at most (half of those for live links: a whole class room may
//! be behind one address), also if it is a [customer](super::allowance::customers) with many addresses; who comes beyond
//! its share is let go at once. Where all places are taken, the oldest connection of the largest crowd that asks nothing is
//! closed for who comes next, so that eight sources keep nobody out either; where all connections are being answered, who
//! comes next waits in the system's queue. It remembers sources that have a connection alone.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::allowance::{Customer, customers, whole_customer};

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
    taken: Arc<Mutex<Taken>>,
    /// A connection has fallen silent since this was last heard.
    silence: Arc<Notify>,
}

/// Who has the places.
#[derive(Default)]
struct Taken {
    /// How many each source has.
    counts: HashMap<Customer, u32>,
    /// Those connections that ask nothing at present, the oldest first.
    silent: HashMap<Customer, BTreeSet<u64>>,
    /// What ends these connections.
    ends: HashMap<u64, CancellationToken>,
    next: u64,
}

/// A place for one connection, free again when this is dropped.
pub struct Place {
    source: IpAddr,
    nth: u64,
    end: CancellationToken,
    taken: Arc<Mutex<Taken>>,
    silence: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

/// A connection is being answered for as long as this is there.
pub struct Busy(Arc<Place>);

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
        Self {
            places: Arc::new(Semaphore::new(size as usize)),
            size,
            shares,
            taken: Arc::default(),
            silence: Arc::default(),
        }
    }

    /// A place for a connection from here, at once; `None` where this source has had its share, or nothing is free.
    pub fn enter(&self, source: IpAddr) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        self.seat(source, permit)
    }

    /// A place for a connection from here; `None` where this source has had its share. Where all are taken, one is made
    /// free as soon as a connection asks nothing. Several threads may wait for one each: a place that one of them saw free
    /// may be another's by the time that a connection comes.
    pub async fn enter_or_wait(&self, source: IpAddr) -> Option<Place> {
        if self.has_had_its_share(source, &lock(&self.taken)) {
            return None;
        }
        let place = self.places.clone().acquire_owned();
        tokio::pin!(place);
        let mut has_ended_one = self.places.available_permits() > 0;
        let permit = loop {
            has_ended_one = has_ended_one || lock(&self.taken).end_one();
            tokio::select! {
                biased;
                permit = &mut place => break permit.ok()?,
                () = self.silence.notified(), if !has_ended_one => {}
            }
        };
        self.seat(source, permit)
    }

    fn seat(&self, source: IpAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let source = source.to_canonical();
        let mut taken = lock(&self.taken);
        if self.has_had_its_share(source, &taken) {
            return None;
        }
        customers(source).for_each(|customer| *taken.counts.entry(customer).or_default() += 1);
        taken.next += 1;
        let (nth, end) = (taken.next, CancellationToken::new());
        Some(Place { source, nth, end, taken: self.taken.clone(), silence: self.silence.clone(), _permit: permit })
    }

    fn has_had_its_share(&self, source: IpAddr, taken: &Taken) -> bool {
        let share = self.size / self.shares;
        customers(source.to_canonical())
            .any(|customer| taken.counts.get(&customer).is_some_and(|count| *count >= share))
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

impl Taken {
    /// Ends the oldest of the largest crowd of connections that ask nothing; false: there is none.
    fn end_one(&mut self) -> bool {
        let oldest = |all: &BTreeSet<u64>| all.first().copied().unwrap_or(u64::MAX);
        let crowds = self.silent.iter().map(|(customer, all)| (all.len(), std::cmp::Reverse(oldest(all)), *customer));
        let Some((count, std::cmp::Reverse(nth), customer)) = crowds.max() else { return false };
        log::debug!("a connection is closed: {count} of its source ask nothing, and all places are taken");
        self.forget(customer, nth).inspect(CancellationToken::cancel).is_some()
    }

    /// Takes a connection from those that ask nothing.
    fn forget(&mut self, customer: Customer, nth: u64) -> Option<CancellationToken> {
        if let Some(all) = self.silent.get_mut(&customer) {
            all.remove(&nth);
            if all.is_empty() {
                self.silent.remove(&customer);
            }
        }
        self.ends.remove(&nth)
    }
}

impl Place {
    /// From now on nothing is asked over this connection: it may have to go.
    pub fn fall_silent(&self) {
        let mut taken = lock(&self.taken);
        taken.silent.entry(whole_customer(self.source)).or_default().insert(self.nth);
        taken.ends.insert(self.nth, self.end.clone());
        self.silence.notify_one();
    }

    /// Waits until this connection has to go.
    pub async fn is_needed(&self) {
        self.end.cancelled().await;
    }

    /// Something is asked over this connection: it may stay until that is answered.
    pub fn answers(self: Arc<Self>) -> Busy {
        lock(&self.taken).forget(whole_customer(self.source), self.nth);
        Busy(self)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fall_silent();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.forget(whole_customer(self.source), self.nth);
        for customer in customers(self.source) {
            if let Some(count) = taken.counts.get_mut(&customer) {
                *count -= 1;
                if *count == 0 {
                    taken.counts.remove(&customer);
                }
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
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
        assert!(lock(&room.taken).counts.is_empty());
        assert!(room.enter(ip("8.8.8.8")).is_some());
    }

    #[test]
    fn the_networks_of_one_ipv6_customer_have_one_share() {
        let room = Room::of(32, SHARES);
        let enter = |network: String| room.enter(ip(&network));
        let places: Vec<Place> = (0..100).filter_map(|n| enter(format!("2001:db8:0:{n:x}00::1"))).collect();
        assert_eq!(places.len(), 4);
        assert!(enter("2001:db8:1::1".to_owned()).is_some());
    }

    /// A connection that ends as soon as it is told that its place is needed.
    fn stay_silent(place: Place) {
        place.fall_silent();
        tokio::spawn(async move { place.is_needed().await });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn everybody_gets_a_place_however_many_threads_give_them_away() {
        let room = Room::of(64, SHARES);
        for n in 0..64 {
            stay_silent(room.enter([10, 0, 0, n % 8].into()).expect("a place"));
        }
        let of_a_thread = |thread: u8| {
            let room = room.clone();
            async move {
                for n in 0..200 {
                    let place = room.enter_or_wait([10, 1, thread, n].into()).await.expect("a place");
                    place.fall_silent();
                    let place = Arc::new(place);
                    let busy = place.clone().answers();
                    tokio::task::yield_now().await;
                    assert!(!place.end.is_cancelled(), "it is being answered");
                    drop(busy);
                }
            }
        };
        let threads: Vec<_> = (0..8).map(|thread| tokio::spawn(of_a_thread(thread))).collect();
        for thread in threads {
            thread.await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_of_the_next_that_falls_silent() {
        let room = Room::of(2, 1);
        let places: Vec<_> = (0..2).map(|n| Arc::new(room.enter([10, 0, 0, n].into()).expect("a place"))).collect();
        let answering: Vec<_> = places.iter().map(|place| place.clone().answers()).collect();
        for place in places {
            tokio::spawn(async move { place.is_needed().await });
        }
        let entering = tokio::spawn({
            let room = room.clone();
            async move { room.enter_or_wait([10, 0, 0, 9].into()).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!entering.is_finished(), "all are being answered");
        drop(answering);
        assert!(entering.await.unwrap());
    }

    #[test]
    fn the_oldest_of_the_largest_crowd_that_asks_nothing_goes() {
        let room = Room::of(6, 1);
        let enter = |last: u8| {
            let place = Arc::new(room.enter([10, 0, 0, last].into()).expect("a place"));
            place.fall_silent();
            place
        };
        let places: Vec<_> = [1, 2, 2, 3, 2, 3].into_iter().map(enter).collect();
        let answering = places[1].clone().answers();
        let gone = || (0..6).filter(|nth| places[*nth].end.is_cancelled()).collect::<BTreeSet<_>>();
        let mut all = BTreeSet::new();
        for goes in [2, 3, 0, 4, 5] {
            lock(&room.taken).end_one();
            all.insert(goes);
            assert_eq!(gone(), all, "of equal crowds the one with the oldest");
        }
        lock(&room.taken).end_one();
        assert_eq!(gone(), all, "who is answered stays");
        drop(answering);
        lock(&room.taken).end_one();
        assert_eq!(gone().len(), 6);
        drop(places);
        let taken = lock(&room.taken);
        assert!(taken.silent.is_empty() && taken.ends.is_empty() && taken.counts.is_empty());
    }
}
