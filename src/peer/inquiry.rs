//! A conversation about the info dictionary alone, before anything else is known of a composition (BEP 9, 10). One task
//! a connection.
//!
//! It is not the conversation about parts ([`super::driver`]), which begins on a connection of its own once the dictionary
//! is there: what is said here of parts means nothing yet. It decides nothing: see [`super::gather`].
//!
//! What it costs an attacker: what [`BOUNDS`] says in memory and read, and [`OFFER`] without an offer.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Introduction, PeerKey,
    gather::PATIENCE,
    socket,
    talk::{self, Bounds, CLIENT, Ear},
};
use crate::wire::{
    extension::{self, handshake::ExtensionHandshake, metadata::Metadata},
    message::Message,
};

/// Stock clients leave whom they do not hear for as little as 10 s (rqbit).
const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// Who has the dictionary says so within this time; who does not yet is asked again later.
const OFFER: Duration = Duration::from_secs(10);
/// The longest dictionary and what clients say beside it is far less.
const BOUNDS: Bounds = Bounds { read: 64 * 1024, message: 1 << 20, all: 32 << 20 };

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
    if let Err(error) = socket::prepare(&inquiry.stream) {
        log::debug!("{error}");
    }
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
        let mut ear = Ear::new(BOUNDS);
        let mut said = Instant::now();
        let offer_by = Instant::now() + OFFER;
        loop {
            let wake = if theirs.is_none() { offer_by.min(said + KEEP_ALIVE) } else { said + KEEP_ALIVE };
            tokio::select! {
                heard = ear.listen(&mut self.stream) => {
                    heard?;
                    while let Some(message) = ear.message()? {
                        // Of parts nothing can be said before the dictionary is there; all else is for others.
                        let Message::Extended { id, payload } = message else { continue };
                        self.on_extended(id, &payload, &mut theirs).await?;
                    }
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
            client: Some(CLIENT.to_owned()),
            your_ip: Some(self.remote.address.ip()),
            name: Some(self.name.clone()),
            ..Default::default()
        };
        let mut messages = vec![Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() }];
        messages.extend(self.remote.fast.then_some(Message::HaveNone));
        self.say(&messages).await
    }

    async fn say(&mut self, messages: &[Message]) -> Result<(), String> {
        talk::say(&mut self.stream, messages, PATIENCE).await
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
