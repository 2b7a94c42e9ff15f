//! Whether newcomers can be reached: each is dialled once, and let go as soon as it accepts.
//!
//! Only the address that others are given is dialled, which is the newcomer's own or one that is believed
//! (`table/address.rs`). What it costs an attacker: a join has one connection opened to where it came from, [`AT_ONCE`] at a
//! time; who comes while [`WAITING`] wait is not judged.

use std::{
    collections::HashSet,
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
/// Newcomers that may wait for it.
const WAITING: usize = 1024;
/// Members that are remembered as out of reach.
const MAX_CLOSED: usize = 100_000;

type Newcomer = (InfoHash, SocketAddr);

/// Who could not be reached.
pub struct Reach {
    newcomers: mpsc::Sender<Newcomer>,
    closed: Mutex<HashSet<Newcomer>>,
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
            What::Joined | What::Moved => _ = self.newcomers.try_send(newcomer),
            What::Left | What::Gone | What::Silent | What::Replaced => _ = self.lock().remove(&newcomer),
            What::Completed => {}
        }
    }

    /// Whether it was dialled and did not accept.
    pub fn is_closed(&self, info_hash: &InfoHash, home: SocketAddr) -> bool {
        self.lock().contains(&(*info_hash, home))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Newcomer>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dials newcomers, and tells the hub what came of it.
pub async fn dial(desk: Arc<Desk>, mut queue: mpsc::Receiver<Newcomer>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some((info_hash, home)) = queue.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let desk = desk.clone();
        tokio::spawn(async move {
            let open = matches!(timeout(PATIENCE, TcpStream::connect(home)).await, Ok(Ok(_)));
            let reach = desk.reach();
            if !open {
                log::info!("{home} cannot be reached from here");
                let mut closed = reach.lock();
                if closed.len() < MAX_CLOSED {
                    closed.insert((info_hash, home));
                }
            }
            desk.hub().reached(&info_hash, home, open);
            drop(place);
        });
    }
}
