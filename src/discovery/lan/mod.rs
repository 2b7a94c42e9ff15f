//! Members on the local network: each says there what it shares (BEP 14), and hears the others.
//!
//! One task a process speaks for all of its compositions ([`Lan::share`]), over IPv4 and IPv6, on every network that the
//! machine has at the time. Whom it hears of is for the swarm of that composition to dial. [`packet`] is the format,
//! [`manners`] says when to speak and whom to believe, [`networks`] owns the sockets.
//!
//! What it costs an attacker on the same network: a packet in a thousandth of a second is read, the rest is thrown away;
//! what is believed of it is bounded by [`manners`]. Who shares what is told to everybody there: `--no-lan` tells nobody.

pub mod manners;
mod networks;
pub mod packet;

pub use networks::Near;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    manners::{Manners, Pace},
    networks::Sockets,
};
use super::{Discovered, Listener};
use crate::{metainfo::InfoHash, net::via::Via, time::Time};

/// How often the networks of this machine are looked for.
const REFRESH: Duration = Duration::from_secs(5);
/// Packets heard: one each so often, and so many at once.
const HEARING: Pace = Pace::new(Time::from_millis(1), 1000);

/// Who wants to hear of the members of a composition.
type Share = (InfoHash, Listener);

/// The one that speaks for this process on the local network.
#[derive(Clone, Debug)]
pub struct Lan {
    shares: mpsc::UnboundedSender<Share>,
}

impl Lan {
    /// Starts it: members listen on `port`, through `via`. It ends with `stop`. To be called inside a tokio runtime.
    pub fn start(port: u16, via: Via, stop: CancellationToken) -> Self {
        let (shares, asked) = mpsc::unbounded_channel();
        let mut dice = fastrand::Rng::new();
        // Eight digits, the first not 0: see `packet::write`.
        let cookie = dice.u32(10_000_000..100_000_000);
        let manners = Manners::new(cookie.to_string(), dice);
        let sockets = Sockets::open(via);
        let service = Service { port, cookie, manners, sockets, listening: BTreeMap::new(), start: Instant::now() };
        tokio::spawn(async move { stop.run_until_cancelled(service.run(asked)).await });
        Self { shares }
    }

    /// Announces this composition until `until`, or nobody listens to `found` any more; there goes who else has it.
    pub fn share(&self, info_hash: InfoHash, found: mpsc::Sender<Discovered>, until: CancellationToken) {
        // It has ended only if the process is about to.
        let _ = self.shares.send((info_hash, Listener { found, until }));
    }
}

struct Service {
    port: u16,
    cookie: u32,
    manners: Manners,
    sockets: Sockets,
    listening: BTreeMap<InfoHash, Listener>,
    start: Instant,
}

impl Service {
    async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Share>) {
        let mut hearing = HEARING;
        let mut bytes = [0; packet::LONGEST];
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.sockets.refresh();
        loop {
            // Without anything to share there is nothing to wake up for.
            let wake = self.start + self.manners.deadline().unwrap_or(Time::from_secs(3600));
            tokio::select! {
                Some((info_hash, listener)) = asked.recv() => {
                    if self.listening.insert(info_hash, listener).is_some() {
                        self.manners.forget(info_hash);
                    }
                    self.manners.share(info_hash, self.start.elapsed());
                }
                (count, from) = self.sockets.receive(&mut bytes) => {
                    if hearing.takes(self.start.elapsed()) {
                        self.hear(&bytes[..count], from);
                    }
                }
                () = sleep_until(wake.into()) => self.announce(),
                _ = refresh.tick() => self.refresh(),
            }
        }
    }

    fn hear(&mut self, bytes: &[u8], from: SocketAddr) {
        let Some(announce) = packet::read(bytes) else { return };
        for (info_hash, address) in self.manners.hear(&announce, from, self.start.elapsed()) {
            log::debug!("{address} on the local network shares {info_hash}");
            if let Some(listener) = self.listening.get(&info_hash).filter(|listener| !listener.is_gone()) {
                // Who is too busy to hear it now hears it again in a minute.
                let _ = listener.found.try_send(Discovered::Found(vec![address]));
            }
        }
    }

    fn announce(&mut self) {
        self.forget_gone();
        while let Some(info_hash) = self.manners.due(self.start.elapsed()) {
            let packet = |v6| packet::write(info_hash, self.port, self.cookie, v6);
            self.sockets.send(&packet(false), &packet(true));
        }
    }

    fn forget_gone(&mut self) {
        for (info_hash, _) in self.listening.extract_if(.., |_, listener| listener.is_gone()) {
            self.manners.forget(info_hash);
        }
    }

    fn refresh(&mut self) {
        self.forget_gone();
        if self.sockets.refresh() {
            self.manners.networks_changed(self.start.elapsed());
        }
    }
}
