//! Whether newcomers can be reached: each is dialled once, and let go as soon as it accepts.
//!
//! Only the address that others are given is dialled, where the newcomer was seen there or is on that network too
//! ([`Change::dial`]): nobody learns here what answers in a network that it cannot reach itself, or on the loopback of this
//! machine. What it costs an attacker: a join has one connection opened to where it came from, [`AT_ONCE`] at a
//! time and 250 a second, so that a flood of joins takes a hundredth of a core for this; who comes while [`WAITING`]
//! wait is not judged. What came of it is remembered of [`MOST_KNOWN`] members, in place
//! of others where there are more: those are taken for open.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc},
    time::timeout,
};

use crate::{
    conductor::{
        Desk,
        table::{Change, What},
    },
    metainfo::InfoHash,
};

/// How long a newcomer has to accept.
const PATIENCE: Duration = Duration::from_secs(3);
/// Newcomers that are dialled at the same time.
const AT_ONCE: usize = 64;
/// The rest for each that was dialled, before the next are.
const REST_FOR_EACH: Duration = Duration::from_millis(4);
/// Newcomers that may wait for it.
const WAITING: usize = 1024;
/// Members that are dialled, or remembered as out of reach, at most: 10 MiB.
const MOST_KNOWN: usize = 100_000;

type Newcomer = (InfoHash, SocketAddr);

/// Who could not be reached.
pub struct Reach {
    newcomers: mpsc::Sender<Newcomer>,
    /// Who is dialled, or was in vain: whether it was. Who leaves meanwhile is not here when that ends.
    closed: Mutex<HashMap<Newcomer, bool>>,
}

impl Reach {
    /// With the queue that [`dial`] is to take from.
    pub fn new() -> (Self, mpsc::Receiver<Newcomer>) {
        let (newcomers, queue) = mpsc::channel(WAITING);
        (Self { newcomers, closed: Mutex::default() }, queue)
    }

    /// Takes in a change of the table.
    pub fn hear(&self, change: &Change) {
        let newcomer = (change.info_hash, change.address);
        match change.what {
            What::Joined | What::Moved if change.dial => self.expect(newcomer),
            What::Left | What::Gone | What::Silent | What::Replaced | What::Crowded if !change.stays => {
                self.lock().remove(&newcomer);
            }
            _ => {}
        }
    }

    /// Has it dialled, if there is room; what was known of this address was about somebody else.
    fn expect(&self, newcomer: Newcomer) {
        let mut closed = self.lock();
        closed.remove(&newcomer);
        if self.newcomers.try_send(newcomer).is_err() {
            return;
        }
        // Who has moved, or left from another address, is not told here: such entries may fill it.
        if closed.len() >= MOST_KNOWN
            && let Some(any) = closed.keys().next().copied()
        {
            closed.remove(&any);
        }
        closed.insert(newcomer, false);
    }

    /// Takes in what came of dialling it.
    fn dialled(&self, newcomer: &Newcomer, open: bool) {
        let mut closed = self.lock();
        match closed.get_mut(newcomer) {
            Some(_) if open => _ = closed.remove(newcomer),
            Some(closed) => *closed = true,
            None => {}
        }
    }

    /// Whether it was dialled and did not accept.
    pub fn is_closed(&self, info_hash: &InfoHash, home: SocketAddr) -> bool {
        self.lock().get(&(*info_hash, home)) == Some(&true)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Newcomer, bool>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dials newcomers, and tells the hub what came of it.
pub async fn dial(desk: Arc<Desk>, mut queue: mpsc::Receiver<Newcomer>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut newcomers = Vec::with_capacity(AT_ONCE);
    loop {
        let count = queue.recv_many(&mut newcomers, AT_ONCE).await as u32;
        if count == 0 {
            return;
        }
        for newcomer in newcomers.drain(..) {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let desk = desk.clone();
            tokio::spawn(async move {
                dial_one(&desk, newcomer).await;
                drop(place);
            });
        }
        tokio::time::sleep(count * REST_FOR_EACH).await;
    }
}

async fn dial_one(desk: &Desk, (info_hash, home): Newcomer) {
    let open = matches!(timeout(PATIENCE, TcpStream::connect(home)).await, Ok(Ok(_)));
    if !open {
        log::info!("{home} cannot be reached from here");
    }
    desk.reach().dialled(&(info_hash, home), open);
    desk.hub().reached(&info_hash, home, open);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn at(n: u32) -> SocketAddr {
        (core::net::Ipv4Addr::from(n), 7000).into()
    }

    fn hears(reach: &Reach, n: u32, what: What) {
        let (address, claimed, dial, stays) = (at(n), false, true, false);
        reach.hear(&Change { info_hash: HASH, address, claimed, dial, stays, what, members: 1, word_of: None });
    }

    #[test]
    fn who_may_not_be_dialled_is_not() {
        let (reach, mut queue) = Reach::new();
        let change = |n, dial, stays, what| Change {
            info_hash: HASH,
            address: at(n),
            claimed: false,
            dial,
            stays,
            what,
            members: 1,
            word_of: None,
        };
        reach.hear(&change(1, false, false, What::Joined));
        reach.hear(&change(1, false, false, What::Moved));
        assert!(queue.try_recv().is_err() && reach.lock().is_empty());
        hears(&reach, 2, What::Joined);
        reach.dialled(&(HASH, at(2)), false);
        reach.hear(&change(2, false, true, What::Left));
        assert!(reach.is_closed(&HASH, at(2)), "another member is still there");
    }

    #[test]
    fn who_leaves_while_it_is_dialled_is_forgotten() {
        let (reach, _queue) = Reach::new();
        hears(&reach, 1, What::Joined);
        assert!(!reach.is_closed(&HASH, at(1)), "nothing is known yet");
        reach.dialled(&(HASH, at(1)), false);
        assert!(reach.is_closed(&HASH, at(1)));
        hears(&reach, 2, What::Joined);
        hears(&reach, 2, What::Left);
        reach.dialled(&(HASH, at(2)), false);
        assert!(!reach.is_closed(&HASH, at(2)));
        assert_eq!(reach.lock().len(), 1);
    }

    #[test]
    fn who_accepts_later_is_open() {
        let (reach, _queue) = Reach::new();
        for (what, open) in [(What::Joined, false), (What::Moved, true)] {
            hears(&reach, 1, what);
            reach.dialled(&(HASH, at(1)), open);
        }
        assert!(!reach.is_closed(&HASH, at(1)) && reach.lock().is_empty());
    }

    #[test]
    fn stale_entries_leave_room_for_newcomers() {
        let (reach, mut queue) = Reach::new();
        for n in 0..=MOST_KNOWN as u32 {
            hears(&reach, n, What::Joined);
            reach.dialled(&(HASH, at(n)), false);
            queue.try_recv().unwrap();
        }
        assert!(reach.is_closed(&HASH, at(MOST_KNOWN as u32)));
        assert_eq!(reach.lock().len(), MOST_KNOWN);
    }
}
