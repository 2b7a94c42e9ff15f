//! Conversations over real sockets. Here is the owner's end of one, as a test plays it.

mod by_hand;
mod ours;

use std::{net::SocketAddr, path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc::UnboundedReceiver,
};

use super::*;
use crate::{
    geometry::{BLOCK, Geometry, PartIndex},
    hashing::Digest,
    metainfo::InfoHash,
    peer::{
        Introduction,
        session::{Setup, Show},
    },
    storage::{self, Contents, DiskEvent, Found, Wishes},
    wire::{
        decode::decode,
        encode::{encode, encode_block_header},
        handshake::PeerId,
        message::{Frame, Message, RawBlock},
    },
};

fn composition(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(size as u64).fill(&mut bytes);
    bytes
}

fn contents(bytes: &[u8], part_size: usize) -> Contents {
    Contents {
        name: "composition".into(),
        files: Vec::new(),
        executable: false,
        only: None,
        geometry: Geometry::new(bytes.len() as u64, part_size as u64).unwrap(),
        parts: bytes.chunks(part_size).map(Digest::of).collect(),
        whole: Some(Digest::of(bytes)),
        info_hash: InfoHash([7; 20]),
    }
}

async fn opened(contents: Contents, folder: &Path) -> (Store, UnboundedReceiver<DiskEvent>) {
    let mut opened = storage::open(contents, folder, &Wishes::default(), None).unwrap();
    if opened.found == Found::Unproven {
        let _check = opened.store.check();
        while !matches!(opened.events.recv().await, Some(DiskEvent::Whole)) {}
    }
    (opened.store, opened.events)
}

/// The owner's end of a conversation.
struct Owner {
    store: Store,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<(PeerKey, Vec<Event>)>,
    heard: std::collections::VecDeque<Event>,
}

impl Owner {
    fn start(stream: TcpStream, store: Store, show: Show, extended: bool, limiter: Limiter) -> Self {
        let (link, owner) = Self::of(stream, store, show, extended, limiter);
        tokio::spawn(run(link));
        owner
    }

    /// A conversation that does not run yet.
    fn of(stream: TcpStream, store: Store, show: Show, extended: bool, limiter: Limiter) -> (Link, Self) {
        let (commands, their_commands) = mpsc::channel(64);
        let (their_events, events) = mpsc::channel(4);
        let remote = Introduction {
            id: PeerId([1; 20]),
            address: stream.peer_addr().unwrap(),
            dialled: true,
            fast: true,
            extended,
        };
        let setup = Setup {
            geometry: *store.geometry(),
            info: Arc::default(),
            name: String::new(),
            copy: None,
            machine: None,
            listen_port: 1,
            remote,
            show,
        };
        let link = Link {
            key: PeerKey(1),
            stream,
            session: Session::new(setup, Time::ZERO),
            store: store.clone(),
            commands: their_commands,
            events: their_events,
            start: Instant::now(),
            upload: limiter.clone(),
            download: limiter,
        };
        (link, Self { store, commands, events, heard: Default::default() })
    }

    async fn tell(&self, command: Command) {
        self.commands.send(command).await.unwrap();
    }

    async fn fetch(&self, part: u32) {
        let part = self.store.geometry().part(part).unwrap();
        self.tell(Command::Fetch(part)).await;
    }

    async fn next(&mut self) -> Event {
        while self.heard.is_empty() {
            let (key, batch) = self.events.recv().await.expect("the last event is Closed");
            assert_eq!(key, PeerKey(1));
            self.heard.extend(batch);
        }
        self.heard.pop_front().unwrap()
    }

    /// The next event for which `wanted` gives something.
    async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.next().await) {
                return found;
            }
        }
    }

    async fn until_event(&mut self, event: &Event) {
        self.until(|e| (e == event).then_some(())).await;
    }

    async fn closed(&mut self) -> Closed {
        self.until(|event| match event {
            Event::Closed(closed) => Some(closed.clone()),
            _ => None,
        })
        .await
    }

    /// Serves whatever is asked for, until the end.
    async fn serve(mut self) -> Closed {
        loop {
            match self.next().await {
                Event::Asks => self.tell(Command::Serve { bytes: 1 << 20 }).await,
                Event::Closed(closed) => return closed,
                _ => {}
            }
        }
    }

    /// Fetches every part, two at a time.
    async fn fetch_all(&mut self) {
        self.until_event(&Event::Choked(false)).await;
        let mut parts = self.store.geometry().all_parts();
        let mut left = parts.len();
        for part in parts.by_ref().take(2) {
            self.tell(Command::Fetch(part)).await;
        }
        while left > 0 {
            match self.next().await {
                Event::Right(_) => {
                    left -= 1;
                    if let Some(part) = parts.next() {
                        self.tell(Command::Fetch(part)).await;
                    }
                }
                event => {
                    assert!(matches!(event, Event::Received { .. } | Event::Hello(_) | Event::HasAll), "{event:?}")
                }
            }
        }
    }
}

async fn two_sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}
