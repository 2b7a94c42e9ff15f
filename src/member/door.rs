//! The door: connections that came and have not said yet who they are.
//!
//! One door for all compositions of the process: each connection goes to the one whose info-hash it names, and who names
//! none of them learns nothing. It hears them out; whether to let them in is for the swarm to say. Who speaks HTTP is
//! shown the [`Billboard`], where there is one.
//!
//! What it costs an attacker: one address may fill all the places with silent connections, and loses the oldest of them
//! to each that comes from elsewhere; so nobody is kept out who says at once who he is.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{billboard::Billboard, links::Arrival};
use crate::{
    metainfo::InfoHash,
    net::listen::Listeners,
    peer::dial::{self, ACCEPT_TIMEOUT},
    wire::handshake::Handshake,
};

/// Connections that are being introduced at the same time, dialled ones not counted.
const STRANGERS: usize = 64;
/// A pause after a connection could not be accepted: out of file descriptors, mostly, and others must close first.
const OUT_OF_BREATH: Duration = Duration::from_millis(200);

/// Which compositions are behind the door, and where their visitors go. Clones are the same one.
#[derive(Clone, Default)]
pub struct Door(Arc<Mutex<HashMap<InfoHash, Room>>>);

/// Where the visitors of one composition go.
#[derive(Clone)]
struct Room {
    ours: Handshake,
    arrivals: mpsc::Sender<Arrival>,
}

/// The door is open to a composition's visitors until this is dropped.
pub struct Open {
    door: Door,
    info_hash: InfoHash,
}

impl Door {
    /// Lets in who names the swarm of `ours`; None: somebody else in this process does so already.
    pub fn open(&self, ours: Handshake, arrivals: mpsc::Sender<Arrival>) -> Option<Open> {
        match self.lock().entry(ours.info_hash) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                place.insert(Room { ours, arrivals });
                Some(Open { door: self.clone(), info_hash: ours.info_hash })
            }
        }
    }

    /// Hears whoever connects, for as long as it is polled.
    pub async fn welcome(self, listeners: Listeners, billboard: Option<Arc<Billboard>>) {
        let mut strangers = Strangers::default();
        loop {
            match listeners.accept().await {
                Ok((stream, address)) => {
                    let hearing = self.clone().hear(stream, address, billboard.clone());
                    strangers.hear(address.ip().to_canonical(), hearing);
                }
                Err(error) => {
                    log::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(OUT_OF_BREATH).await;
                }
            }
        }
    }

    async fn hear(self, stream: TcpStream, address: SocketAddr, billboard: Option<Arc<Billboard>>) {
        let since = Instant::now();
        if let Some(billboard) = billboard {
            let mut first = [0];
            match timeout(ACCEPT_TIMEOUT, stream.peek(&mut first)).await {
                // No longer a stranger: the billboard has places of its own.
                Ok(Ok(_)) if first == *b"G" => {
                    tokio::spawn(async move { billboard.show(stream, address).await });
                    return;
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
        let known = |hash: InfoHash| self.room(hash).map(|room| room.ours);
        match dial::accept(stream, address, known, ACCEPT_TIMEOUT.saturating_sub(since.elapsed())).await {
            Ok(met) => self.show_in(met).await,
            Err(error) => log::debug!("{error}"),
        }
    }

    async fn show_in(&self, met: dial::Met) {
        // It may have gone meanwhile; then so does the visitor.
        if let Some(room) = self.room(met.info_hash) {
            let _ = room.arrivals.send(Arrival::Met(Box::new(met))).await;
        }
    }

    fn room(&self, hash: InfoHash) -> Option<Room> {
        self.lock().get(&hash).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InfoHash, Room>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.door.lock().remove(&self.info_hash);
    }
}

/// Those that are being heard, the oldest first.
#[derive(Default)]
struct Strangers(Vec<(IpAddr, JoinHandle<()>)>);

impl Strangers {
    fn hear(&mut self, ip: IpAddr, hearing: impl Future<Output = ()> + Send + 'static) {
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() >= STRANGERS {
            let (from, task) = self.0.remove(oldest_of_most(self.0.iter().map(|(ip, _)| *ip)));
            log::debug!("a connection from {from} is closed: too many say nothing");
            task.abort();
        }
        self.0.push((ip, tokio::spawn(hearing)));
    }
}

/// Where the first of the address stands that is there most often.
fn oldest_of_most(ips: impl Iterator<Item = IpAddr>) -> usize {
    let mut found: HashMap<IpAddr, (usize, usize)> = HashMap::new();
    for (at, ip) in ips.enumerate() {
        found.entry(ip).or_insert((0, at)).0 += 1;
    }
    let most = found.values().max_by_key(|(count, at)| (*count, std::cmp::Reverse(*at)));
    most.map_or(0, |(_, at)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composition_has_one_room() {
        let door = Door::default();
        let ours = |n| Handshake {
            info_hash: InfoHash([n; 20]),
            id: crate::wire::handshake::PeerId([1; 20]),
            extended: true,
            fast: true,
            dht: false,
        };
        let (arrivals, _heard) = mpsc::channel(1);
        let one = door.open(ours(1), arrivals.clone());
        let other = door.open(ours(2), arrivals.clone());
        assert!(one.is_some() && other.is_some() && door.open(ours(1), arrivals.clone()).is_none());
        drop(one);
        assert!(door.room(InfoHash([1; 20])).is_none() && door.room(InfoHash([2; 20])).is_some());
        assert!(door.open(ours(1), arrivals).is_some());
    }

    #[test]
    fn the_oldest_of_the_largest_crowd_goes() {
        let goes = |last: &[u8]| oldest_of_most(last.iter().map(|n| IpAddr::from([10, 0, 0, *n])));
        assert_eq!(goes(&[1, 2, 3, 2]), 1);
        assert_eq!(goes(&[3, 1, 2, 1, 2, 2]), 2);
        assert_eq!(goes(&[5, 4, 3]), 0, "of equals the oldest");
    }
}
