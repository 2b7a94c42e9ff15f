//! The link with one neighbour: the conversation on a connection that named the neighbours in place of a composition. One
//! task a connection.
//!
//! It decides nothing: what is heard goes to the service, and what that says is sent. What is to be said waits in a short
//! queue; where that is full it is lost, so a neighbour that does not keep up costs itself its answers and nobody memory.
//!
//! What it costs an attacker: one message of [`MOST_FRAME`] bytes in memory, [`MESSAGES`] read of it, and [`GREETING`]
//! without a greeting. Who says more than that is read no faster.

use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{
    discovery::lan::manners::Pace,
    geometry::BLOCK,
    peer::{Introduction, PeerKey},
    time::Time,
    wire::{
        decode::{Limits, decode},
        encode::encode,
        extension::{
            self,
            handshake::ExtensionHandshake,
            pex::Exchange,
            search::{MOST_BYTES, Talk},
        },
        message::{Frame, Message},
    },
};

/// What we call ourselves.
pub const CLIENT: &str = concat!("Orchestra ", env!("CARGO_PKG_VERSION"));
/// What waits to be said to one neighbour.
pub const SAYS: usize = 64;
/// The greeting comes within this time.
const GREETING: Duration = Duration::from_secs(10);
/// Who says nothing for so long is gone; so often we say that we are there.
const SILENCE: Duration = Duration::from_secs(150);
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Who takes nothing for so long is gone.
const STUCK: Duration = Duration::from_secs(30);
/// Messages of any kind that are read, each of at most so many bytes.
const MESSAGES: Pace = Pace::new(Time::from_millis(5), 400);
const MOST_FRAME: usize = MOST_BYTES + 64;
/// Bytes read at once.
const READ: usize = 4096;

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
        let mut out = Vec::new();
        encode(&Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() }, &mut out);
        loop {
            let written = timeout(STUCK, self.writer.write_all(&out)).await;
            written.map_err(|_| "it does not read what is said to it".to_owned())?.map_err(broken)?;
            out.clear();
            match timeout(KEEP_ALIVE, self.says.recv()).await {
                Ok(Some(say)) => self.put(&say, &mut out),
                Ok(None) => {
                    let _ = self.writer.shutdown().await;
                    return Err("this member ends it".to_owned());
                }
                Err(_) => encode(&Message::KeepAlive, &mut out),
            }
        }
    }

    fn put(&self, say: &Say, out: &mut Vec<u8>) {
        let (wanted, payload) = match say {
            Say::Talk(talk) => (&self.wanted.search, talk.encode()),
            Say::Exchange(exchange) => (&self.wanted.exchange, exchange.encode()),
        };
        match wanted.load(Ordering::Relaxed) {
            0 => {}
            id => encode(&Message::Extended { id, payload }, out),
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
        let mut buffer = Vec::new();
        loop {
            let patience = if self.greeted { SILENCE } else { GREETING.saturating_sub(start.elapsed()) };
            buffer.reserve(READ);
            let read = timeout(patience, self.reader.read_buf(&mut buffer)).await;
            if read.map_err(|_| "it says nothing".to_owned())?.map_err(broken)? == 0 {
                return Err("it closed the connection".to_owned());
            }
            let mut taken = 0;
            while let Some((message, length)) = next(&buffer[taken..])? {
                taken += length;
                while !pace.takes(start.elapsed()) {
                    sleep(pace.ready().saturating_sub(start.elapsed())).await;
                }
                self.hear(message).await?;
            }
            buffer.drain(..taken);
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

/// The message that these bytes start with, if all of it is there, and its length.
fn next(bytes: &[u8]) -> Result<Option<(Message, usize)>, String> {
    let length = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    if length > MOST_FRAME {
        return Err(format!("it says {length} bytes at once"));
    }
    match decode(bytes, &Limits { block: BLOCK }).map_err(|e| e.to_string())? {
        Some((Frame::Message(message), length)) => Ok(Some((message, length))),
        Some((Frame::Block(_), _)) => Err("it sends a block: there are none among neighbours".to_owned()),
        None => Ok(None),
    }
}

fn broken(error: io::Error) -> String {
    format!("the connection broke: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_a_block_ends_it_before_it_came() {
        let head = |length: u32, id: u8| [&length.to_be_bytes()[..], &[id]].concat();
        assert!(next(&head(MOST_FRAME as u32 + 1, 20)).is_err() && next(&u32::MAX.to_be_bytes()).is_err());
        assert_eq!(next(&head(MOST_FRAME as u32, 20)), Ok(None));
        assert!(next(&[&head(9 + 4, 7)[..], &[0; 12]].concat()).is_err());
        assert_eq!(next(&[0; 4]), Ok(Some((Message::KeepAlive, 4))));
        assert_eq!(next(&[0; 3]), Ok(None));
    }
}
