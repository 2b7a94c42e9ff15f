//! The door: connections that came and have not said yet who they are.
//!
//! It hears them out; whether to let them in is for the swarm to say.
//!
//! What it costs an attacker: one address may fill all the places with silent connections, and loses the oldest of them
//! to each that comes from elsewhere; so nobody is kept out who says at once who he is.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle};

use super::links::Arrival;
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

/// Hears whoever connects; who names this swarm arrives.
pub async fn welcome(ours: Handshake, listeners: &Listeners, arrivals: mpsc::Sender<Arrival>) {
    let mut strangers = Strangers::default();
    loop {
        let (stream, address) = match listeners.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(OUT_OF_BREATH).await;
                continue;
            }
        };
        let arrivals = arrivals.clone();
        let hearing = async move {
            let known = |hash: InfoHash| (hash == ours.info_hash).then_some(ours);
            match dial::accept(stream, address, known, ACCEPT_TIMEOUT).await {
                Ok(met) => drop(arrivals.send(Arrival::Met(Box::new(met))).await),
                Err(error) => log::debug!("{error}"),
            }
        };
        strangers.hear(address.ip().to_canonical(), hearing);
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
    fn the_oldest_of_the_largest_crowd_goes() {
        let goes = |last: &[u8]| oldest_of_most(last.iter().map(|n| IpAddr::from([10, 0, 0, *n])));
        assert_eq!(goes(&[1, 2, 3, 2]), 1);
        assert_eq!(goes(&[3, 1, 2, 1, 2, 2]), 2);
        assert_eq!(goes(&[5, 4, 3]), 0, "of equals the oldest");
    }
}
