//! A member written by hand: a raw socket, the library's own messages, and bytes that no library writes.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use orchestra::{
    metainfo::InfoHash,
    wire::{
        decode::{Limits, decode},
        encode::{encode, encode_block_header},
        extension::metadata::Metadata,
        handshake::{self, Handshake, PeerId},
        message::{Frame, Message, RawBlock},
    },
};
use socket2::{Domain, Socket, Type};

use crate::support::PATIENCE;

/// Where it comes from: another address than the honest ones have.
pub const FOE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// The address of somebody else.
pub const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 67);
/// The number under which it wants metadata (BEP 9).
const METADATA: u8 = 7;

pub struct Foe {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// What it is told.
#[derive(Debug)]
pub enum Heard {
    Message(Message),
    Block(RawBlock, Vec<u8>),
}

/// An id that nobody else has.
pub fn id(n: u64) -> PeerId {
    let mut id = *b"-XX0000-000000000000";
    id[12..].copy_from_slice(&n.to_be_bytes());
    PeerId(id)
}

pub fn bytes_of(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| encode(message, &mut bytes));
    bytes
}

impl Foe {
    /// Connects, and says nothing.
    pub fn connect(from: Ipv4Addr, port: u16) -> io::Result<Self> {
        Self::connect_at(from, (Ipv4Addr::LOCALHOST, port))
    }

    fn connect_at(from: Ipv4Addr, to: (Ipv4Addr, u16)) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&SocketAddr::from(to).into())?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Connects and says who it is, with the fast extension or without; None: it was closed before the answer.
    pub fn greet(from: Ipv4Addr, port: u16, info_hash: InfoHash, id: PeerId, fast: bool) -> Option<Self> {
        Self::greet_at(from, (Ipv4Addr::LOCALHOST, port), info_hash, id, fast)
    }

    pub fn greet_at(from: Ipv4Addr, to: (Ipv4Addr, u16), info_hash: InfoHash, id: PeerId, fast: bool) -> Option<Self> {
        let mut foe = Self::connect_at(from, to).expect("a connection");
        let ours = Handshake { info_hash, id, extended: true, fast, dht: false };
        foe.send(&ours.encode()).ok()?;
        let mut theirs = [0; handshake::LENGTH];
        foe.stream.read_exact(&mut theirs).ok()?;
        Some(foe)
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says these; what is closed hears nothing.
    pub fn say(&mut self, messages: &[Message]) {
        let _ = self.send(&bytes_of(messages));
    }

    pub fn give(&mut self, block: RawBlock, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode_block_header(&block, &mut bytes);
        bytes.extend_from_slice(payload);
        let _ = self.send(&bytes);
    }

    /// What it is told next; None: the connection is closed.
    pub fn hear(&mut self) -> Option<Heard> {
        let limits = Limits { block: 1 << 20 };
        loop {
            match decode(&self.unread, &limits).expect("an honest message") {
                Some((Frame::Message(message), taken)) => {
                    self.unread.drain(..taken);
                    return Some(Heard::Message(message));
                }
                Some((Frame::Block(block), taken)) if self.unread.len() >= taken + block.len as usize => {
                    let payload = self.unread.drain(..taken + block.len as usize).skip(taken).collect();
                    return Some(Heard::Block(block, payload));
                }
                _ => {}
            }
            let mut more = [0; 65_536];
            match self.stream.read(&mut more) {
                Ok(0) => return None,
                Ok(count) => self.unread.extend_from_slice(&more[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("neither a word nor an end came"),
                Err(_) => return None,
            }
        }
    }

    /// The first thing it is told that `wanted` takes something from; None: closed before.
    pub fn until<T>(&mut self, mut wanted: impl FnMut(Heard) -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = wanted(self.hear()?) {
                return Some(found);
            }
        }
    }

    pub fn request(&mut self) -> Option<RawBlock> {
        self.until(|heard| match heard {
            Heard::Message(Message::Request(block)) => Some(block),
            _ => None,
        })
    }

    pub fn is_closed(&mut self) -> bool {
        self.until(|_| None::<()>).is_none()
    }

    /// Whether the conversation goes on: it asks for metadata and is answered.
    pub fn is_heard(&mut self) -> bool {
        self.metadata(0).is_some()
    }

    /// What it is told when it asks for this piece of the metadata; None: it is closed.
    pub fn metadata(&mut self, piece: u32) -> Option<Metadata> {
        let hello = format!("d1:md11:ut_metadatai{METADATA}eee").into_bytes();
        let ask = Metadata::Request { piece }.encode();
        self.say(&[Message::Extended { id: 0, payload: hello }, Message::Extended { id: 2, payload: ask }]);
        self.until(|heard| match heard {
            Heard::Message(Message::Extended { id: METADATA, payload }) => Metadata::decode(&payload).ok(),
            _ => None,
        })
    }

    /// Says the same for ever, until it is closed or forgotten, and lets what it is told pass.
    pub fn storm(self, bytes: Vec<u8>, pause: Duration) -> Storm {
        let over = Arc::new(AtomicBool::new(false));
        let (mut from, mut to) = (self.stream.try_clone().expect("a socket"), self.stream);
        let (told, told_over) = (over.clone(), over.clone());
        let hearing = thread::spawn(move || {
            let mut sink = vec![0; 65_536];
            while from.read(&mut sink).is_ok_and(|count| count > 0) {}
            told.store(true, Ordering::Relaxed);
        });
        let stream = to.try_clone().expect("a socket");
        let saying = thread::spawn(move || {
            let mut said = 0;
            while !told_over.load(Ordering::Relaxed) && to.write_all(&bytes).is_ok() {
                said += bytes.len() as u64;
                thread::sleep(pause);
            }
            said
        });
        Storm { stream, over, hearing: Some(hearing), saying: Some(saying) }
    }
}

/// A foe that talks without end.
pub struct Storm {
    stream: TcpStream,
    over: Arc<AtomicBool>,
    hearing: Option<JoinHandle<()>>,
    saying: Option<JoinHandle<u64>>,
}

impl Storm {
    /// Waits until it is closed; how many bytes it took.
    pub fn closed(mut self) -> u64 {
        self.hearing.take().map(JoinHandle::join).expect("once").expect("no panic");
        self.saying.take().map(JoinHandle::join).expect("once").expect("no panic")
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
