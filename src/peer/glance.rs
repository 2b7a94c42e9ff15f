//! A glance at what another member has: it is dialled, says who it is and what it has, and is left again.
//!
//! Nothing is asked of it and nothing given, and it is told no port to come back to, so that nobody remembers the visit.
//! A first seed may hide parts from whom it does not know yet ([`crate::swarm`]): what it shows is no proof of what it
//! lacks.
//!
//! What it costs who is told a hostile address: one connection for at most the time allowed, one message of at most 1 MiB
//! in memory, and [`MAX_READ`] bytes read.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::dial::{self, DialError, Met};
use crate::{
    geometry::{BLOCK, Geometry},
    net::via::Via,
    wire::{
        bitfield::Bitfield,
        decode::{Limits, decode},
        encode::encode,
        extension::{self, handshake::ExtensionHandshake},
        handshake::Handshake,
        message::{Frame, Message},
    },
};

/// After it said what it has, `have` messages are waited for so long: some clients hold parts back and name them one by
/// one.
const MORE: Duration = Duration::from_millis(150);
/// Who knows no fast extension says nothing when it has nothing (BEP 3): after so long that is what it means.
const NOTHING: Duration = Duration::from_millis(1500);
/// Bytes read at most: a bitfield and a `have` for each part of the largest composition are less.
const MAX_READ: usize = 12 << 20;
/// Bytes read at once.
const READ: usize = 16 * 1024;

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Name and version of its program, as it says. Not safe for a terminal.
    pub client: Option<String>,
    /// How people see it, if it is one of our own members. Not safe for a terminal.
    pub name: Option<String>,
    /// The parts that it showed.
    pub has: Bitfield,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub enum GlanceError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{address} did not say what it has within {} s", .after.as_secs_f64())]
    Silent { address: SocketAddr, after: Duration },
    #[error("{address} left before it said what it has: {why}")]
    Left { address: SocketAddr, why: String },
}

/// Looks at what the member at this address has of a composition of this geometry, within `limit`.
///
/// # Errors
/// It cannot be reached, does not share this composition, or does not say what it has.
pub async fn glance(
    address: SocketAddr,
    via: &Via,
    ours: &Handshake,
    geometry: &Geometry,
    limit: Duration,
) -> Result<Seen, GlanceError> {
    let until = Instant::now() + limit;
    let met = dial::dial(address, via, ours, limit).await?;
    let mut look = Look::new(&met, geometry);
    match look.talk(met, geometry, until).await {
        Ok(()) => look.seen().ok_or(GlanceError::Silent { address, after: limit }),
        // Who is full tells us what it has, and closes.
        Err(why) => look.seen().ok_or(GlanceError::Left { address, why }),
    }
}

/// What was heard so far.
struct Look {
    fast: bool,
    /// Its extension handshake came, or will not.
    introduced: bool,
    /// It said what it has.
    said: bool,
    seen: Seen,
}

impl Look {
    fn new(met: &Met, geometry: &Geometry) -> Self {
        let seen = Seen { client: None, name: None, has: Bitfield::none(geometry) };
        Self { fast: met.introduction.fast, introduced: !met.introduction.extended, said: false, seen }
    }

    fn seen(self) -> Option<Seen> {
        (self.said || !self.fast && self.introduced).then_some(self.seen)
    }

    /// Until it has said all, or it is late.
    async fn talk(&mut self, met: Met, geometry: &Geometry, until: Instant) -> Result<(), String> {
        let Met { mut stream, introduction, .. } = met;
        introduce(&mut stream, introduction.extended, self.fast, until).await?;
        let (mut buffer, mut read, mut enough) = (Vec::new(), 0, None);
        loop {
            // Counted from when it was said: whose copy grows has always more to say.
            let wait = match (self.introduced, self.said) {
                (true, true) => *enough.get_or_insert(Instant::now() + MORE),
                (true, false) if !self.fast => *enough.get_or_insert(Instant::now() + NOTHING),
                _ => until,
            };
            let wait = wait.min(until);
            if Instant::now() >= wait {
                return Ok(());
            }
            buffer.reserve(READ);
            let Ok(count) = timeout_at(wait, stream.read_buf(&mut buffer)).await else { return Ok(()) };
            match count.map_err(broken)? {
                0 => return Err("it closed the connection".to_owned()),
                count => read += count,
            }
            if read > MAX_READ {
                return Err("it says too much".to_owned());
            }
            self.hear(&mut buffer, geometry)?;
        }
    }

    /// Takes what is whole out of the buffer.
    fn hear(&mut self, buffer: &mut Vec<u8>, geometry: &Geometry) -> Result<(), String> {
        let mut taken = 0;
        while let Some((frame, length)) = decode(&buffer[taken..], &Limits { block: BLOCK }).map_err(said)? {
            taken += length;
            match frame {
                Frame::Message(message) => self.on_message(message, geometry)?,
                Frame::Block(_) => return Err("it sends a block that nobody asked for".to_owned()),
            }
        }
        buffer.drain(..taken);
        Ok(())
    }

    fn on_message(&mut self, message: Message, geometry: &Geometry) -> Result<(), String> {
        match message {
            Message::HaveAll => self.shows(Bitfield::all(geometry)),
            Message::HaveNone => self.shows(Bitfield::none(geometry)),
            Message::Bitfield(bytes) => {
                let has = Bitfield::from_bytes(&bytes, geometry);
                self.shows(has.ok_or("its bitfield is that of another composition")?);
            }
            Message::Have(part) => {
                let part = geometry.part(part).ok_or("it speaks of a part that there is not")?;
                self.said = true;
                self.seen.has.insert(part);
            }
            Message::Extended { id: extension::HANDSHAKE, payload } => {
                let hello = ExtensionHandshake::decode(&payload).map_err(said)?;
                self.introduced = true;
                (self.seen.client, self.seen.name) = (hello.client, hello.name);
            }
            // About blocks, of which this conversation is not, or for extensions that we did not name.
            Message::KeepAlive
            | Message::Choke
            | Message::Unchoke
            | Message::Interested
            | Message::NotInterested
            | Message::Request(_)
            | Message::Cancel(_)
            | Message::Port(_)
            | Message::Suggest(_)
            | Message::Reject(_)
            | Message::AllowedFast(_)
            | Message::Extended { .. }
            | Message::Unknown { .. } => {}
        }
        Ok(())
    }

    fn shows(&mut self, has: Bitfield) {
        self.said = true;
        self.seen.has = has;
    }
}

/// Says who we are, and that we have nothing.
async fn introduce(stream: &mut TcpStream, extended: bool, fast: bool, until: Instant) -> Result<(), String> {
    let client = Some(concat!("Orchestra ", env!("CARGO_PKG_VERSION")).to_owned());
    let hello = ExtensionHandshake { client, ..Default::default() };
    let hello = Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() };
    let mut out = Vec::new();
    let messages = [extended.then_some(hello), fast.then_some(Message::HaveNone)];
    messages.iter().flatten().for_each(|message| encode(message, &mut out));
    let written = timeout_at(until, stream.write_all(&out)).await;
    written.map_err(|_| "it does not read what is said to it".to_owned())?.map_err(broken)
}

fn broken(error: io::Error) -> String {
    format!("the connection broke: {error}")
}

fn said(error: impl std::error::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{metainfo::InfoHash, wire::handshake::PeerId};

    const LIMIT: Duration = Duration::from_secs(20);

    fn handshake(id: u8, fast: bool) -> Handshake {
        Handshake { info_hash: InfoHash([1; 20]), id: PeerId([id; 20]), extended: true, fast, dht: false }
    }

    /// What is seen of a member of ten parts that says this, and then waits or leaves.
    async fn seen(says: &[Message], fast: bool, leaves: bool, limit: Duration) -> Result<Seen, GlanceError> {
        let geometry = Geometry::new(10, 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let there = async {
            let (stream, from) = listener.accept().await.unwrap();
            let mut met = dial::accept(stream, from, |_| Some(handshake(6, fast)), LIMIT).await.unwrap();
            let mut out = Vec::new();
            says.iter().for_each(|message| encode(message, &mut out));
            met.stream.write_all(&out).await.unwrap();
            if leaves {
                met.stream.shutdown().await.unwrap();
            }
            // Until the other side leaves.
            let mut rest = Vec::new();
            let _ = met.stream.read_to_end(&mut rest).await;
        };
        let via = Via::default();
        let ours = handshake(5, true);
        tokio::join!(glance(address, &via, &ours, &geometry, limit), there).0
    }

    fn hello() -> Message {
        let named = |text: &str| Some(text.to_owned());
        let hello = ExtensionHandshake { client: named("Other 1"), name: named("ws-05"), ..Default::default() };
        Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() }
    }

    #[tokio::test]
    async fn who_it_is_and_what_it_has_is_seen() {
        let says = [hello(), Message::Bitfield(vec![0b1010_0000, 0]), Message::Unchoke, Message::Have(9)];
        let seen = seen(&says, true, false, LIMIT).await.unwrap();
        assert_eq!((seen.client.as_deref(), seen.name.as_deref()), (Some("Other 1"), Some("ws-05")));
        assert_eq!(seen.has.to_bytes(), [0b1010_0000, 0b0100_0000]);
    }

    #[tokio::test]
    async fn who_is_full_and_leaves_was_seen_as_well() {
        let says = [hello(), Message::HaveAll];
        assert!(seen(&says, true, true, LIMIT).await.unwrap().has.is_full());
        assert!(matches!(seen(&says[..1], true, true, LIMIT).await, Err(GlanceError::Left { .. })));
    }

    #[tokio::test]
    async fn without_the_fast_extension_silence_means_nothing() {
        assert!(seen(&[hello()], false, false, LIMIT).await.unwrap().has.is_empty());
        let silent = seen(&[hello()], true, false, Duration::from_millis(300)).await;
        assert!(matches!(silent, Err(GlanceError::Silent { .. })), "{silent:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_meant_is_not_believed() {
        for bad in [Message::Bitfield(vec![0xff, 0xff]), Message::Have(10)] {
            assert!(seen(&[hello(), bad], true, false, LIMIT).await.is_err());
        }
    }
}
