//! The link with one neighbour: the conversation on a connection that named the neighbours in place of a composition. One
//! task a connection.
//!
//! It decides nothing: what is heard goes to the service, and what that says is sent. What is to be said waits in a short
//! queue; where that is full it is lost, so a neighbour that does not keep up costs itself its answers and nobody memory.
//!
//! What it costs an attacker: one message of [`BOUNDS`]' length in memory, [`MESSAGES`] read of it, and [`GREETING`]
//! without a greeting. Who says more than that is read no faster.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{
    discovery::lan::manners::Pace,
    peer::{
        Introduction, PeerKey,
        talk::{self, Bounds, CLIENT, Ear},
    },
    time::Time,
    wire::{
        extension::{
            self,
            handshake::ExtensionHandshake,
            pex::Exchange,
            search::{MOST_BYTES, Talk},
        },
        message::Message,
    },
};

/// What waits to be said to one neighbour.
pub const SAYS: usize = 64;
/// The greeting comes within this time.
const GREETING: Duration = Duration::from_secs(10);
/// Who says nothing for so long is gone; so often we say that we are there.
const SILENCE: Duration = Duration::from_secs(150);
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Who takes nothing for so long is gone.
const STUCK: Duration = Duration::from_secs(30);
/// Messages of any kind that are read, each of at most so many bytes, for as long as there is a link.
const MESSAGES: Pace = Pace::new(Time::from_millis(5), 400);
const BOUNDS: Bounds = Bounds { read: 4096, message: MOST_BYTES + 68, all: usize::MAX };

/// What a link is made of.
pub struct Link {
    pub key: PeerKey,
    pub stream: TcpStream,
    pub remote: Introduction,
    /// The port on which others reach us; None: we only ask.
    pub port: Option<u16>,
    /// How people see this member.
    pub name: String,
    /// What to say. When it is closed, and all was said, so is the connection.
    pub says: mpsc::Receiver<Say>,
    /// What comes of it; the last is [`Heard::Closed`].
    pub heard: mpsc::Sender<(PeerKey, Heard)>,
}

#[derive(Debug)]
pub enum Say {
    Talk(Talk),
    Exchange(Exchange),
}

#[derive(Debug)]
pub enum Heard {
    /// It is a neighbour, and listens on this port; None: it only asks.
    Greeting {
        port: Option<u16>,
    },
    Talk(Talk),
    Exchange(Exchange),
    Closed(String),
}

/// The numbers under which the other side wants our messages; 0: it wants none.
#[derive(Default)]
struct Wanted {
    search: AtomicU8,
    exchange: AtomicU8,
}

/// Talks until one of both sides ends it.
pub async fn run(link: Link) {
    let Link { key, stream, remote, port, name, says, heard } = link;
    let (reader, writer) = stream.into_split();
    let wanted = Wanted::default();
    let hello = ExtensionHandshake {
        search: Some(extension::OUR_SEARCH),
        ut_pex: Some(extension::OUR_PEX),
        port,
        client: Some(CLIENT.to_owned()),
        your_ip: Some(remote.address.ip()),
        name: Some(name),
        ..Default::default()
    };
    let hears = Hears { key, reader, heard: &heard, wanted: &wanted, greeted: false };
    let says = Says { writer, says, wanted: &wanted };
    let why = match remote.extended {
        true => match tokio::try_join!(hears.run(), says.run(hello)) {
            Err(why) => why,
            Ok((never, _)) => match never {},
        },
        false => "it knows no extensions, and so is no neighbour".to_owned(),
    };
    let _ = heard.send((key, Heard::Closed(why))).await;
}

struct Says<'a> {
    writer: OwnedWriteHalf,
    says: mpsc::Receiver<Say>,
    wanted: &'a Wanted,
}

impl Says<'_> {
    async fn run(mut self, hello: ExtensionHandshake) -> Result<Infallible, String> {
        let mut next = Some(Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() });
        loop {
            talk::say(&mut self.writer, next.as_slice(), STUCK).await?;
            next = match timeout(KEEP_ALIVE, self.says.recv()).await {
                Ok(Some(say)) => self.message(&say),
                Ok(None) => {
                    let _ = self.writer.shutdown().await;
                    return Err("this member ends it".to_owned());
                }
                Err(_) => Some(Message::KeepAlive),
            };
        }
    }

    /// None: it does not want that.
    fn message(&self, say: &Say) -> Option<Message> {
        let (wanted, payload) = match say {
            Say::Talk(talk) => (&self.wanted.search, talk.encode()),
            Say::Exchange(exchange) => (&self.wanted.exchange, exchange.encode()),
        };
        match wanted.load(Ordering::Relaxed) {
            0 => None,
            id => Some(Message::Extended { id, payload }),
        }
    }
}

struct Hears<'a> {
    key: PeerKey,
    reader: OwnedReadHalf,
    heard: &'a mpsc::Sender<(PeerKey, Heard)>,
    wanted: &'a Wanted,
    greeted: bool,
}

impl Hears<'_> {
    async fn run(mut self) -> Result<Infallible, String> {
        let (start, mut pace) = (Instant::now(), MESSAGES);
        let mut ear = Ear::new(BOUNDS);
        loop {
            let patience = if self.greeted { SILENCE } else { GREETING.saturating_sub(start.elapsed()) };
            let heard = timeout(patience, ear.listen(&mut self.reader)).await;
            heard.map_err(|_| "it says nothing".to_owned())??;
            while let Some(message) = ear.message()? {
                while !pace.takes(start.elapsed()) {
                    sleep(pace.ready().saturating_sub(start.elapsed())).await;
                }
                self.hear(message).await?;
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), String> {
        let Message::Extended { id, payload } = message else { return Ok(()) };
        let heard = match id {
            extension::HANDSHAKE => {
                let hello = ExtensionHandshake::decode(&payload).map_err(|e| e.to_string())?;
                let Some(search) = hello.search.filter(|id| *id != 0) else {
                    return Err("it is no neighbour".to_owned());
                };
                self.wanted.search.store(search, Ordering::Relaxed);
                self.wanted.exchange.store(hello.ut_pex.unwrap_or(0), Ordering::Relaxed);
                if std::mem::replace(&mut self.greeted, true) {
                    return Ok(());
                }
                Heard::Greeting { port: hello.port }
            }
            _ if !self.greeted => return Err("it does not greet".to_owned()),
            extension::OUR_SEARCH => Heard::Talk(Talk::decode(&payload).map_err(|e| e.to_string())?),
            extension::OUR_PEX => Heard::Exchange(Exchange::decode(&payload).map_err(|e| e.to_string())?),
            _ => return Ok(()),
        };
        // Without anybody to hear it there is nothing more to say either.
        let _ = self.heard.send((self.key, heard)).await;
        Ok(())
    }
}
