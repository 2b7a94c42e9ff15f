//! How the small conversations speak and listen: those about something else than parts ([`super::glance`],
//! [`super::inquiry`] and the links among neighbours).
//!
//! It knows no message from another. Why a conversation ended is a sentence about the other side, for the log.
//!
//! What it costs an attacker: [`Bounds`], which each conversation sets.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    geometry::BLOCK,
    wire::{
        decode::{Limits, decode},
        encode::encode,
        message::{Frame, Message},
    },
};

/// What we call ourselves.
pub const CLIENT: &str = concat!("Orchestra ", env!("CARGO_PKG_VERSION"));

/// Says this, to who takes it within this time.
///
/// # Errors
/// It does not, or the connection broke.
pub async fn say(stream: &mut (impl AsyncWrite + Unpin), messages: &[Message], limit: Duration) -> Result<(), String> {
    let mut out = Vec::new();
    messages.iter().for_each(|message| encode(message, &mut out));
    let written = timeout(limit, stream.write_all(&out)).await;
    written.map_err(|_| "it does not read what is said to it".to_owned())?.map_err(broken)
}

/// How much is listened to, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Read at once.
    pub read: usize,
    /// A message, its length included.
    pub message: usize,
    /// The whole conversation.
    pub all: usize,
}

/// What was heard and not yet understood.
#[derive(Debug)]
pub struct Ear {
    bounds: Bounds,
    buffer: Vec<u8>,
    /// So much of the buffer was understood.
    taken: usize,
    /// Bytes that came in all.
    heard: usize,
}

impl Ear {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, buffer: Vec::new(), taken: 0, heard: 0 }
    }

    /// Waits for more. Given up, it has lost nothing.
    ///
    /// # Errors
    /// There is no more: the other side left, or said too much, or the connection broke.
    pub async fn listen(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<(), String> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.reserve(self.bounds.read);
        match stream.read_buf(&mut self.buffer).await.map_err(broken)? {
            0 => return Err("it closed the connection".to_owned()),
            count => self.heard = self.heard.saturating_add(count),
        }
        match self.heard > self.bounds.all {
            true => Err("it says too much".to_owned()),
            false => Ok(()),
        }
    }

    /// The next message, if all of it came.
    ///
    /// # Errors
    /// It is too long, or none; or a block, which nobody asked for.
    pub fn message(&mut self) -> Result<Option<Message>, String> {
        let bytes = &self.buffer[self.taken..];
        let length = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        if length > self.bounds.message - size_of::<u32>() {
            return Err(format!("it says {length} bytes at once"));
        }
        match decode(bytes, &Limits { block: BLOCK }).map_err(|e| e.to_string())? {
            Some((Frame::Message(message), length)) => {
                self.taken += length;
                Ok(Some(message))
            }
            Some((Frame::Block(_), _)) => Err("it sends a block that nobody asked for".to_owned()),
            None => Ok(None),
        }
    }
}

fn broken(error: std::io::Error) -> String {
    format!("the connection broke: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { read: 7, message: 1000, all: 60 };

    #[tokio::test]
    async fn what_is_said_is_heard_however_it_is_cut() {
        let (mut here, mut there) = tokio::io::duplex(5);
        let said =
            [Message::KeepAlive, Message::Have(7), Message::Unchoke, Message::Bitfield(vec![1; 9]), Message::Choke];
        let says = async {
            say(&mut there, &said, Duration::from_secs(20)).await.unwrap();
            drop(there);
        };
        let hears = async {
            let (mut ear, mut heard) = (Ear::new(BOUNDS), Vec::new());
            loop {
                if let Err(why) = ear.listen(&mut here).await {
                    return (heard, why);
                }
                while let Some(message) = ear.message().unwrap() {
                    heard.push(message);
                }
            }
        };
        let (_, (heard, why)) = tokio::join!(says, hears);
        assert_eq!((&heard[..], why.as_str()), (&said[..], "it closed the connection"));
    }

    #[tokio::test]
    async fn who_says_too_much_or_does_not_listen_is_left() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let much = vec![Message::Unchoke; 13];
        let stuck = say(&mut there, &much, Duration::from_millis(1)).await;
        assert_eq!(stuck, Err("it does not read what is said to it".to_owned()));
        let mut ear = Ear::new(BOUNDS);
        let why = loop {
            if let Err(why) = ear.listen(&mut here).await {
                break why;
            }
        };
        assert_eq!(why, "it says too much");
    }

    #[test]
    fn what_is_too_long_or_a_block_ends_it_before_it_came() {
        let next = |buffer: &[u8]| Ear { buffer: buffer.to_vec(), ..Ear::new(BOUNDS) }.message();
        let head = |length: u32, id: u8| [&length.to_be_bytes()[..], &[id]].concat();
        assert!(next(&head(997, 20)).is_err() && next(&u32::MAX.to_be_bytes()).is_err());
        assert_eq!(next(&head(996, 20)), Ok(None));
        assert!(next(&[&head(9 + 4, 7)[..], &[0; 12]].concat()).is_err());
        assert_eq!(next(&[0; 4]), Ok(Some(Message::KeepAlive)));
        assert_eq!(next(&[0; 3]), Ok(None));
    }
}
