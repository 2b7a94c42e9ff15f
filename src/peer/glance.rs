//! A glance at what another member has: it is dialled, says who it is and what it has, and is left again.
//!
//! Nothing is asked of it and nothing given, and it is told no port to come back to, so that nobody remembers the visit.
//! A first seed may hide parts from whom it does not know yet ([`crate::swarm`]): what it shows is no proof of what it
//! lacks.
//!
//! What it costs who is told a hostile address: one connection for at most the time allowed, what [`BOUNDS`] says
//! in memory and read.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    dial::{self, DialError, Met},
    talk::{self, Bounds, CLIENT, Ear},
};
use crate::{
    geometry::Geometry,
    net::via::Via,
    wire::{
        bitfield::Bitfield,
        extension::{self, handshake::ExtensionHandshake},
        handshake::Handshake,
        message::Message,
    },
};

/// After it said what it has, `have` messages are waited for so long: some clients hold parts back and name them one by
/// one.
const MORE: Duration = Duration::from_millis(150);
/// Who knows no fast extension says nothing when it has nothing (BEP 3): after so long that is what it means.
const NOTHING: Duration = Duration::from_millis(1500);
/// A bitfield and a `have` for each part of the largest composition are less.
const BOUNDS: Bounds = Bounds { read: 16 * 1024, message: 1 << 20, all: 12 << 20 };

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

    /// Says who we are and that we have nothing, and listens until it has said all, or it is late.
    async fn talk(&mut self, met: Met, geometry: &Geometry, until: Instant) -> Result<(), String> {
        let Met { mut stream, introduction, .. } = met;
        let hello = ExtensionHandshake { client: Some(CLIENT.to_owned()), ..Default::default() };
        let hello = Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() };
        let hello = [introduction.extended.then_some(hello), self.fast.then_some(Message::HaveNone)];
        let hello: Vec<_> = hello.into_iter().flatten().collect();
        talk::say(&mut stream, &hello, until.saturating_duration_since(Instant::now())).await?;
        let (mut ear, mut enough) = (Ear::new(BOUNDS), None);
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
            let Ok(heard) = timeout_at(wait, ear.listen(&mut stream)).await else { return Ok(()) };
            heard?;
            while let Some(message) = ear.message()? {
                self.on_message(message, geometry)?;
            }
        }
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
                let hello = ExtensionHandshake::decode(&payload).map_err(|e| e.to_string())?;
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        metainfo::InfoHash,
        wire::{encode::encode, handshake::PeerId},
    };

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
