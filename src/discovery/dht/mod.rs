//! Members through the public DHT (BEP 5), where the user asks for it.
//!
//! One task a process is a [`node`] of the DHT for each IP version that it listens on, and looks for the members of all
//! its compositions. It uses the UDP port beside the TCP port of the members, so that one port is enough to open, and
//! refuses uTP there as [`crate::net::utp`] does without it. [`krpc`] is the format, [`table`], [`lookup`] and
//! [`announced`] are what a node knows, asks and keeps.
//!
//! Where to begin: with the nodes that answered last time (a note in the user's state folder, of at most [`NOTED`]
//! addresses a version), with those that members told us of, and with nodes that everybody knows. While nobody answers,
//! the first and the last are tried again, ever more slowly.
//!
//! What it costs an attacker: a packet in half a thousandth of a second is read, the rest is thrown away; what one may do
//! is bounded by [`node`]. Everybody who asks is told who shares what: that is what the DHT is.

pub mod announced;
pub mod krpc;
pub mod lookup;
pub mod node;
pub mod table;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, sync::mpsc, time::sleep_until};
use tokio_util::sync::CancellationToken;

use self::node::Node;
use super::{Discovered, Listener, lan::manners::Pace, resolve};
use crate::{
    manifest::{Endpoint, Host},
    metainfo::InfoHash,
    storage::{StorageError, note, own},
    time::Time,
    wire::utp,
};

/// Nodes that everybody knows: those of the clients that people use.
pub const WELL_KNOWN: [(&str, u16); 3] =
    [("dht.libtorrent.org", 25401), ("dht.transmissionbt.com", 6881), ("router.bittorrent.com", 6881)];
/// Packets heard: one each so often, and so many at once.
const HEARING: Pace = Pace::new(Time::from_micros(500), 2000);
/// While nobody answers, all are tried again after this time, twice that, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// When people are told that nobody answers.
const SILENCE: Duration = Duration::from_secs(30);
/// Addresses that are tried of one name.
const MOST_OF_A_NAME: usize = 8;
/// Those who answered are noted so long after the first did, and every so often.
const FIRST_NOTE: Duration = Duration::from_secs(5);
const NOTE: Duration = Duration::from_secs(600);
/// Nodes of one version that are noted.
const NOTED: usize = 50;
const FIRST_LINE: &str = "orchestra dht nodes 1";
/// What nobody wants any more is looked for in so long.
const TIDY: Duration = Duration::from_secs(1);

/// What it is to do.
#[derive(Debug)]
enum Wish {
    /// Look for the members of this until the token is cancelled.
    Share(InfoHash, Listener),
    /// There may be a node at this address.
    Greet(SocketAddr),
}

/// What is needed to start.
#[derive(Debug)]
pub struct Setup {
    /// One for each IP version.
    pub sockets: Vec<UdpSocket>,
    /// Where members reach us.
    pub port: u16,
    /// Where to begin; with none of them at [`WELL_KNOWN`].
    pub nodes: Vec<Endpoint>,
    /// The folder for the note; None: nothing is noted.
    pub state: Option<PathBuf>,
}

/// The process's part in the DHT.
#[derive(Clone, Debug)]
pub struct Dht {
    wishes: mpsc::UnboundedSender<Wish>,
}

impl Dht {
    /// Starts it, until `stop`. To be called inside a tokio runtime.
    pub fn start(setup: Setup, stop: CancellationToken) -> Self {
        let (wishes, wished) = mpsc::unbounded_channel();
        let (resolved, heard) = mpsc::channel(4);
        let mut service = Service::new(setup, resolved);
        tokio::spawn(async move {
            stop.run_until_cancelled(service.run(wished, heard)).await;
            service.note();
        });
        Self { wishes }
    }

    /// Announces this composition and looks for its members until `until`, or nobody listens to `found` any more.
    pub fn share(&self, info_hash: InfoHash, found: mpsc::Sender<Discovered>, until: CancellationToken) {
        // It has ended only if the process is about to.
        let _ = self.wishes.send(Wish::Share(info_hash, Listener { found, until }));
    }

    /// A member says that its node is there (BEP 5).
    pub fn greet(&self, address: SocketAddr) {
        let _ = self.wishes.send(Wish::Greet(address));
    }
}

/// A node and its socket.
#[derive(Debug)]
struct Post {
    socket: UdpSocket,
    node: Node,
    v6: bool,
}

#[derive(Debug)]
struct Service {
    posts: Vec<Post>,
    nodes: Vec<Endpoint>,
    note: Option<PathBuf>,
    /// Those that answered last time.
    noted: Vec<SocketAddr>,
    listening: BTreeMap<InfoHash, Listener>,
    start: Instant,
    hearing: Pace,
    /// Where addresses of nodes go that names led to.
    resolved: mpsc::Sender<Vec<SocketAddr>>,
    /// Nobody answers since then.
    alone_since: Option<Instant>,
    next_try: Instant,
    pause: Duration,
    told: bool,
    next_note: Option<Instant>,
}

impl Service {
    fn new(setup: Setup, resolved: mpsc::Sender<Vec<SocketAddr>>) -> Self {
        let Setup { sockets, port, nodes, state } = setup;
        let start = Instant::now();
        let post = |socket: UdpSocket| {
            let v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
            Post { socket, node: Node::new(port, fastrand::Rng::new(), Time::ZERO), v6 }
        };
        let note = state.map(|folder| folder.join("dht-nodes"));
        Self {
            posts: sockets.into_iter().map(post).collect(),
            nodes,
            noted: note.as_deref().map(read_note).unwrap_or_default(),
            note,
            listening: BTreeMap::new(),
            start,
            hearing: HEARING,
            resolved,
            alone_since: Some(start),
            next_try: start,
            pause: FIRST_PAUSE,
            told: false,
            next_note: None,
        }
    }

    async fn run(&mut self, mut wished: mpsc::UnboundedReceiver<Wish>, mut resolved: mpsc::Receiver<Vec<SocketAddr>>) {
        let mut packet = [0; krpc::LONGEST];
        let mut tidy = tokio::time::interval(TIDY);
        tidy.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.flush().await;
            tokio::select! {
                Some(wish) = wished.recv() => self.take(wish),
                Some(addresses) = resolved.recv() => addresses.into_iter().for_each(|a| self.greet(a)),
                (at, received) = receive(&self.posts, &mut packet) => match received {
                    Ok((count, from)) => self.hear(at, &packet[..count], from),
                    // An earlier packet reached nobody, mostly.
                    Err(error) => {
                        log::debug!("DHT: {error}");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
                () = sleep_until(self.deadline().into()) => {
                    let now = self.start.elapsed();
                    self.posts.iter_mut().for_each(|post| post.node.on_deadline(now));
                }
                _ = tidy.tick() => self.tidy(),
            }
        }
    }

    fn deadline(&self) -> Instant {
        let next = self.posts.iter().map(|post| post.node.deadline()).min();
        self.start + next.unwrap_or(Time::from_secs(3600))
    }

    fn take(&mut self, wish: Wish) {
        match wish {
            Wish::Share(info_hash, listener) => {
                let now = self.start.elapsed();
                // Who comes after another is looked for anew, to hear of the members too.
                let again = self.listening.insert(info_hash, listener).is_some();
                for Post { node, .. } in &mut self.posts {
                    if again {
                        node.forget(info_hash);
                    }
                    node.share(info_hash, now);
                }
            }
            Wish::Greet(address) => self.greet(address),
        }
    }

    fn greet(&mut self, address: SocketAddr) {
        let now = self.start.elapsed();
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let posts = self.posts.iter_mut().filter(|post| post.v6 == address.is_ipv6());
        posts.for_each(|post| post.node.greet(address, now));
    }

    fn hear(&mut self, at: usize, packet: &[u8], from: SocketAddr) {
        let now = self.start.elapsed();
        if !self.hearing.takes(now) {
            return;
        }
        let Post { socket, node, .. } = &mut self.posts[at];
        match utp::refusal(packet) {
            Some(refusal) => drop(socket.try_send_to(&refusal, from)),
            None => node.hear(packet, from, now),
        }
    }

    /// Sends what the nodes say, and passes on what they found.
    async fn flush(&mut self) {
        for post in &mut self.posts {
            while let Some((to, packet)) = post.node.next_packet() {
                // One that leads nowhere counts as not answered.
                if let Err(error) = post.socket.send_to(&packet, to).await {
                    log::debug!("DHT: nothing reaches {to}: {error}");
                }
            }
            while let Some((info_hash, members)) = post.node.next_found() {
                if let Some(listener) = self.listening.get(&info_hash).filter(|listener| !listener.is_gone()) {
                    log::debug!("DHT: {} members of {info_hash}", members.len());
                    // Who is too busy to hear it now hears it again in some minutes.
                    let _ = listener.found.try_send(Discovered::Hearsay(members));
                }
            }
        }
    }

    fn tidy(&mut self) {
        for (info_hash, _) in self.listening.extract_if(.., |_, listener| listener.is_gone()) {
            self.posts.iter_mut().for_each(|post| post.node.forget(info_hash));
        }
        let now = Instant::now();
        match (self.posts.iter().all(|post| post.node.is_alone()), self.alone_since) {
            (true, None) => (self.alone_since, self.next_try, self.pause) = (Some(now), now, FIRST_PAUSE),
            (true, Some(since)) => self.look_for_nodes(now, since),
            (false, Some(_)) => {
                log::info!("the DHT answers");
                (self.alone_since, self.told, self.next_note) = (None, false, Some(now + FIRST_NOTE));
            }
            (false, None) => {}
        }
        if self.next_note.is_some_and(|due| now >= due) {
            self.next_note = Some(now + NOTE);
            self.note();
        }
    }

    /// Tries all that may lead to a node, when it is time.
    fn look_for_nodes(&mut self, now: Instant, since: Instant) {
        if now >= self.next_try {
            self.next_try = now + self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            // Not all can be greeted at once: others each time.
            fastrand::shuffle(&mut self.noted);
            self.noted.clone().into_iter().for_each(|address| self.greet(address));
            tokio::spawn(look_up(self.nodes.clone(), self.resolved.clone()));
        }
        if now >= since + SILENCE && !self.told {
            // Whoever hears it first tells people.
            self.told = self.listening.values().any(|l| l.found.try_send(Discovered::NoNodes).is_ok());
        }
    }

    /// Writes down who answered, for the next start.
    fn note(&self) {
        let Some(place) = &self.note else { return };
        let known: Vec<_> = self.posts.iter().flat_map(|post| post.node.acquaintances(NOTED)).collect();
        if !known.is_empty()
            && let Err(error) = write_note(place, &known)
        {
            log::info!("the nodes of the DHT are not remembered: {error}");
        }
    }
}

/// The next packet at any of them.
async fn receive(posts: &[Post], packet: &mut [u8]) -> (usize, io::Result<(usize, SocketAddr)>) {
    std::future::poll_fn(|context| {
        let mut packet = tokio::io::ReadBuf::new(packet);
        for (at, post) in posts.iter().enumerate() {
            if let std::task::Poll::Ready(received) = post.socket.poll_recv_from(context, &mut packet) {
                return std::task::Poll::Ready((at, received.map(|from| (packet.filled().len(), from))));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Finds the addresses of these nodes, or of [`WELL_KNOWN`] ones.
async fn look_up(nodes: Vec<Endpoint>, found: mpsc::Sender<Vec<SocketAddr>>) {
    let mut nodes = nodes;
    if nodes.is_empty() {
        let known = WELL_KNOWN.iter();
        nodes = known.map(|(name, port)| Endpoint { host: Host::Name((*name).to_owned()), port: *port }).collect();
    }
    for node in nodes {
        match resolve::all_of(&node).await {
            Ok(addresses) => drop(found.send(addresses.into_iter().take(MOST_OF_A_NAME).collect()).await),
            Err(why) => log::info!("DHT: {why}"),
        }
    }
}

fn read_note(place: &Path) -> Vec<SocketAddr> {
    let text = note::read(place).unwrap_or_default();
    let mut lines = text.lines();
    match lines.next() {
        Some(FIRST_LINE) => lines.filter_map(|line| line.parse().ok()).take(2 * NOTED).collect(),
        _ => Vec::new(),
    }
}

fn write_note(place: &Path, known: &[SocketAddr]) -> Result<(), StorageError> {
    let body = known.iter().fold(format!("{FIRST_LINE}\n"), |body, address| body + &format!("{address}\n"));
    if let Some(folder) = place.parent() {
        own::make_folder(folder).map_err(|error| StorageError::io(folder, "make the folder", error))?;
    }
    note::write(place, &body)
}

#[cfg(test)]
mod tests;
