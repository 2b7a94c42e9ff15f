//! A conversation about the info dictionary alone, before anything else is known of a composition (BEP 9, 10). One task
//! a connection.
//!
//! It is not the conversation about parts ([`super::driver`]), which begins on a connection of its own once the dictionary
//! is there: what is said here of parts means nothing yet. It decides nothing: see [`super::gather`].
//!
//! What it costs an attacker: one message of at most 1 MiB in memory, 32 MiB read in all, and [`OFFER`] without an offer.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{Introduction, PeerKey, gather::PATIENCE};
use crate::{
    geometry::BLOCK,
    wire::{
        decode::{Limits, decode},
        encode::encode,
        extension::{self, handshake::ExtensionHandshake, metadata::Metadata},
        message::{Frame, Message},
    },
};

/// Stock clients leave whom they do not hear for as little as 10 s (rqbit).
const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// Who has the dictionary says so within this time; who does not yet is asked again later.
const OFFER: Duration = Duration::from_secs(10);
/// Bytes that are read in all; the longest dictionary and what clients say beside it is far less.
const MAX_READ: usize = 32 << 20;
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// What an inquiry is made of.
pub struct Inquiry {
    pub key: PeerKey,
    pub stream: TcpStream,
    pub remote: Introduction,
    /// The port on which others reach us.
    pub port: u16,
    /// How people see this member.
    pub name: String,
    /// The pieces to ask for. When it is closed, so is the connection.
    pub asks: mpsc::Receiver<u32>,
    /// What came of it; the last is [`Answer::Closed`].
    pub answers: mpsc::Sender<(PeerKey, Answer)>,
}

/// What the other side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It listens there.
    Listens(SocketAddr),
    /// It has the info dictionary, of so many bytes.
    Offers(u32),
    Data {
        piece: u32,
        total: u32,
        bytes: Vec<u8>,
    },
    /// It does not give this piece.
    Rejects(u32),
    Closed(String),
}

/// Asks until the asks end, or the other side does.
pub async fn run(mut inquiry: Inquiry) {
    let why = match inquiry.talk().await {
        Ok(()) => "this member has what it wanted".to_owned(),
        Err(why) => why,
    };
    // What waits to be read is not wanted any more.
    let _ = inquiry.stream.shutdown().await;
    let _ = inquiry.answers.send((inquiry.key, Answer::Closed(why))).await;
}

impl Inquiry {
    async fn talk(&mut self) -> Result<(), String> {
        self.introduce().await?;
        let mut theirs = None;
        let mut buffer = Vec::new();
        let mut read = 0;
        let mut said = Instant::now();
        let offer_by = Instant::now() + OFFER;
        loop {
            let wake = if theirs.is_none() { offer_by.min(said + KEEP_ALIVE) } else { said + KEEP_ALIVE };
            buffer.reserve(READ);
            tokio::select! {
                count = self.stream.read_buf(&mut buffer) => {
                    match count.map_err(broken)? {
                        0 => return Err("it closed the connection".to_owned()),
                        count => read += count,
                    }
                    if read > MAX_READ {
                        return Err("it says too much".to_owned());
                    }
                    self.hear(&mut buffer, &mut theirs).await?;
                }
                piece = self.asks.recv() => {
                    let Some(piece) = piece else { return Ok(()) };
                    // Who offered it said under which number it is asked.
                    let Some(id) = theirs else { continue };
                    let payload = Metadata::Request { piece }.encode();
                    self.say(&[Message::Extended { id, payload }]).await?;
                    said = Instant::now();
                }
                () = sleep_until(wake) => {
                    if theirs.is_none() && Instant::now() >= offer_by {
                        return Err("it has no manifest to give".to_owned());
                    }
                    self.say(&[Message::KeepAlive]).await?;
                    said = Instant::now();
                }
            }
        }
    }

    /// Says that we have nothing yet, and want the dictionary.
    async fn introduce(&mut self) -> Result<(), String> {
        if !self.remote.extended {
            return Err("it knows no extensions, and so has no manifest to give".to_owned());
        }
        let hello = ExtensionHandshake {
            ut_metadata: Some(extension::OUR_METADATA),
            port: Some(self.port),
            client: Some(concat!("Orchestra ", env!("CARGO_PKG_VERSION")).to_owned()),
            your_ip: Some(self.remote.address.ip()),
            name: Some(self.name.clone()),
            ..Default::default()
        };
        let mut messages = vec![Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() }];
        messages.extend(self.remote.fast.then_some(Message::HaveNone));
        self.say(&messages).await
    }

    async fn say(&mut self, messages: &[Message]) -> Result<(), String> {
        let mut out = Vec::new();
        messages.iter().for_each(|message| encode(message, &mut out));
        let written = timeout(PATIENCE, self.stream.write_all(&out)).await;
        written.map_err(|_| "it does not read what is said to it".to_owned())?.map_err(broken)
    }

    /// Takes what is whole out of the buffer.
    async fn hear(&mut self, buffer: &mut Vec<u8>, theirs: &mut Option<u8>) -> Result<(), String> {
        let mut taken = 0;
        while let Some((frame, length)) =
            decode(&buffer[taken..], &Limits { block: BLOCK }).map_err(|e| e.to_string())?
        {
            taken += length;
            match frame {
                Frame::Block(_) => return Err("it sends a block that nobody asked for".to_owned()),
                Frame::Message(Message::Extended { id, payload }) => self.on_extended(id, &payload, theirs).await?,
                // Of parts nothing can be said before the dictionary is there; all else is for others.
                Frame::Message(_) => {}
            }
        }
        buffer.drain(..taken);
        Ok(())
    }

    async fn on_extended(&mut self, id: u8, payload: &[u8], theirs: &mut Option<u8>) -> Result<(), String> {
        match id {
            extension::HANDSHAKE => {
                let hello = ExtensionHandshake::decode(payload).map_err(|e| e.to_string())?;
                if let Some(port) = hello.port.filter(|_| !self.remote.dialled) {
                    let mut address = self.remote.address;
                    address.set_port(port);
                    self.tell(Answer::Listens(address)).await;
                }
                if let (Some(id @ 1..), Some(size)) = (hello.ut_metadata, hello.metadata_size) {
                    *theirs = Some(id);
                    self.tell(Answer::Offers(size)).await;
                }
            }
            extension::OUR_METADATA => match Metadata::decode(payload).map_err(|e| e.to_string())? {
                Metadata::Data { piece, total, bytes } => self.tell(Answer::Data { piece, total, bytes }).await,
                Metadata::Reject { piece } => self.tell(Answer::Rejects(piece)).await,
                // Nobody asks who offered nothing; and BEP 9 wants unknown types ignored.
                Metadata::Request { .. } | Metadata::Unknown => {}
            },
            _ => {}
        }
        Ok(())
    }

    async fn tell(&self, answer: Answer) {
        // Without anybody to hear it the asks end too.
        let _ = self.answers.send((self.key, answer)).await;
    }
}

fn broken(error: io::Error) -> String {
    format!("the connection broke: {error}")
}
