//! How a conversation begins: a connection and 68 bytes each way (BEP 3), dialled or accepted.
//!
//! It is not the conversation: whom to dial and whom to let in is for the swarm to say. Exactly 68 bytes are read,
//! however they trickle in, so that what follows is left for the driver.
//!
//! What it costs an attacker: an accepted connection that says nothing is held for [`ACCEPT_TIMEOUT`]; one that starts
//! with another protocol, or names a swarm that is not ours, is closed at once and learns nothing.

use std::{net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    metainfo::InfoHash,
    net::via::Via,
    peer::Introduction,
    wire::handshake::{self, Handshake, NotPlain},
};

/// A dialled address connects and says its 68 bytes within this time.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Somebody who connected says its 68 bytes within this time.
pub const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Two members that said their 68 bytes to each other.
#[derive(Debug)]
pub struct Met {
    pub stream: TcpStream,
    /// The swarm that both named.
    pub info_hash: InfoHash,
    /// The other runs a node of the DHT (BEP 5).
    pub dht: bool,
    pub introduction: Introduction,
}

/// Why it came to no conversation.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{address} cannot be reached: {error}")]
    Connect { address: SocketAddr, error: std::io::Error },
    #[error("the connection with {address} broke before it said who it is: {error}")]
    Broken { address: SocketAddr, error: std::io::Error },
    #[error("{address} did not say who it is within {} seconds", .after.as_secs())]
    Silent { address: SocketAddr, after: Duration },
    #[error("{address} does not speak the plain BitTorrent protocol")]
    NotPlain { address: SocketAddr },
    #[error("{address} does not share this composition")]
    OtherSwarm { address: SocketAddr },
    #[error("{address} is this member itself")]
    Ourselves { address: SocketAddr },
}

/// Connects to `address` through `via` and introduces us as `ours` says.
///
/// # Errors
/// Every way in which that may fail, within `limit` (usually [`DIAL_TIMEOUT`]).
pub async fn dial(address: SocketAddr, via: &Via, ours: &Handshake, limit: Duration) -> Result<Met, DialError> {
    let talk = async {
        let mut stream = connect(address, via).await.map_err(|error| DialError::Connect { address, error })?;
        greet(&mut stream, address, ours).await?;
        let mut bytes = [0; handshake::LENGTH];
        read_up_to(&mut stream, address, &mut bytes, 0, handshake::LENGTH).await?;
        let theirs = decode(&bytes, address)?;
        if theirs.info_hash != ours.info_hash {
            return Err(DialError::OtherSwarm { address });
        }
        meet(stream, address, &theirs, ours, true)
    };
    within(limit, address, talk).await
}

/// Hears who connected from `address`, and answers as `ours_for` says for the swarm that it names; None: not shared.
///
/// # Errors
/// Every way in which that may fail, within `limit` (usually [`ACCEPT_TIMEOUT`]).
pub async fn accept(
    mut stream: TcpStream,
    address: SocketAddr,
    ours_for: impl FnOnce(InfoHash) -> Option<Handshake>,
    limit: Duration,
) -> Result<Met, DialError> {
    let talk = async {
        let mut bytes = [0; handshake::LENGTH];
        let named = handshake::UP_TO_INFO_HASH;
        read_up_to(&mut stream, address, &mut bytes, 0, named).await?;
        let ours = handshake::info_hash(&bytes[..named])
            .map_err(|NotPlain| DialError::NotPlain { address })?
            .and_then(ours_for)
            .ok_or(DialError::OtherSwarm { address })?;
        greet(&mut stream, address, &ours).await?;
        read_up_to(&mut stream, address, &mut bytes, named, handshake::LENGTH).await?;
        let theirs = decode(&bytes, address)?;
        meet(stream, address, &theirs, &ours, false)
    };
    within(limit, address, talk).await
}

async fn within<T>(
    limit: Duration,
    address: SocketAddr,
    talk: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    let silent = |_| DialError::Silent { address, after: limit };
    timeout(limit, talk).await.map_err(silent)?
}

/// Opens a connection to `address` through `via`; without a time limit of its own.
///
/// # Errors
/// What the system says.
pub async fn connect(address: SocketAddr, via: &Via) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    via.restrict(&SockRef::from(&socket))?;
    if let Some(from) = via.address.filter(|from| from.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(address).await
}

/// Our 68 bytes in one write: rqbit fails on a handshake that comes in two.
async fn greet(stream: &mut TcpStream, address: SocketAddr, ours: &Handshake) -> Result<(), DialError> {
    let broken = |error| DialError::Broken { address, error };
    stream.set_nodelay(true).map_err(broken)?;
    stream.write_all(&ours.encode()).await.map_err(broken)
}

/// Fills `bytes[from..to]`, and stops at the first byte that shows another protocol.
async fn read_up_to(
    stream: &mut TcpStream,
    address: SocketAddr,
    bytes: &mut [u8; handshake::LENGTH],
    from: usize,
    to: usize,
) -> Result<(), DialError> {
    let broken = |error| DialError::Broken { address, error };
    let mut filled = from;
    while filled < to {
        let read = stream.read(&mut bytes[filled..to]).await.map_err(broken)?;
        if read == 0 {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        filled += read;
        handshake::info_hash(&bytes[..filled]).map_err(|NotPlain| DialError::NotPlain { address })?;
    }
    Ok(())
}

fn decode(bytes: &[u8], address: SocketAddr) -> Result<Handshake, DialError> {
    match Handshake::decode(bytes) {
        Ok(Some(theirs)) => Ok(theirs),
        Ok(None) | Err(NotPlain) => Err(DialError::NotPlain { address }),
    }
}

fn meet(
    stream: TcpStream,
    address: SocketAddr,
    theirs: &Handshake,
    ours: &Handshake,
    dialled: bool,
) -> Result<Met, DialError> {
    if theirs.id == ours.id {
        return Err(DialError::Ourselves { address });
    }
    Ok(Met {
        stream,
        info_hash: theirs.info_hash,
        dht: theirs.dht,
        introduction: Introduction { id: theirs.id, address, dialled, fast: theirs.fast, extended: theirs.extended },
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::handshake::PeerId;

    fn handshake(swarm: u8, id: u8) -> Handshake {
        Handshake { info_hash: InfoHash([swarm; 20]), id: PeerId([id; 20]), extended: true, fast: true, dht: false }
    }

    /// Dials as the one and accepts as the other, who shares only swarm 1.
    async fn meet(dials: Handshake, accepts: Handshake) -> (Result<Met, DialError>, Result<Met, DialError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = async {
            let (stream, from) = listener.accept().await.unwrap();
            let ours = |hash| (hash == InfoHash([1; 20])).then_some(accepts);
            accept(stream, from, ours, ACCEPT_TIMEOUT).await
        };
        let via = Via::default();
        tokio::join!(dial(address, &via, &dials, DIAL_TIMEOUT), accepting)
    }

    #[tokio::test]
    async fn both_learn_who_the_other_is() {
        let (dialled, accepted) = meet(handshake(1, 5), handshake(1, 6)).await;
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!(dialled.introduction.id, PeerId([6; 20]));
        assert_eq!(accepted.introduction.id, PeerId([5; 20]));
        assert!(dialled.introduction.dialled && !accepted.introduction.dialled);
        assert!(accepted.introduction.fast && accepted.introduction.extended);
        assert_eq!(accepted.introduction.address, dialled.stream.local_addr().unwrap());
        assert_eq!(accepted.info_hash, InfoHash([1; 20]));
    }

    #[tokio::test]
    async fn who_shares_something_else_learns_nothing() {
        let (dialled, accepted) = meet(handshake(2, 5), handshake(2, 6)).await;
        assert!(matches!(dialled, Err(DialError::Broken { .. })), "{dialled:?}");
        assert!(matches!(accepted, Err(DialError::OtherSwarm { .. })));
    }

    #[tokio::test]
    async fn a_member_knows_itself() {
        let (_, accepted) = meet(handshake(1, 5), handshake(1, 5)).await;
        assert!(matches!(accepted, Err(DialError::Ourselves { .. })));
    }

    /// What comes of these bytes, trickling in one by one. The rest of the connection is given back unread.
    async fn hears(bytes: &[u8], limit: Duration) -> (Result<Met, DialError>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        there.set_nodelay(true).unwrap();
        let (here, from) = listener.accept().await.unwrap();
        let trickle = async {
            for byte in bytes {
                if there.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            there
        };
        let accepting = accept(here, from, |_| Some(handshake(1, 6)), limit);
        tokio::join!(accepting, trickle)
    }

    #[tokio::test]
    async fn what_follows_the_handshake_is_left_for_the_driver() {
        let mut bytes = handshake(1, 5).encode().to_vec();
        bytes.extend(b"and more");
        let (met, mut there) = hears(&bytes, ACCEPT_TIMEOUT).await;
        let mut rest = [0; 8];
        met.unwrap().stream.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"and more");
        let mut answer = [0; handshake::LENGTH];
        there.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, handshake(1, 6).encode());
    }

    #[tokio::test]
    async fn who_tries_encryption_first_is_let_go_at_once() {
        let (met, _there) = hears(&[0x51; 96], ACCEPT_TIMEOUT).await;
        assert!(matches!(met, Err(DialError::NotPlain { .. })));
    }

    #[tokio::test]
    async fn who_says_nothing_is_let_go() {
        let (met, _there) = hears(&handshake(1, 5).encode()[..67], Duration::ZERO).await;
        assert!(matches!(met, Err(DialError::Silent { .. })));
    }
}
