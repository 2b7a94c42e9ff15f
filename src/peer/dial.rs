//! How a conversation begins: a connection and 68 bytes each way (BEP 3), dialled or accepted.
//!
//! It is not the conversation: whom to dial and whom to let in is for the swarm to say. Exactly 68 bytes are read,
//! however they trickle in, so that what follows is left for the driver.
//!
//! What it costs an attacker: an accepted connection that says nothing is held for [`ACCEPT_TIMEOUT`]; one that starts
//! with another protocol, or names a swarm that is not ours, is closed at once and learns nothing.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    metainfo::InfoHash,
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

/// Connects to `address` (from the local address `from`, where that matters) and introduces us as `ours` says.
///
/// # Errors
/// Every way in which that may fail, within `limit` (usually [`DIAL_TIMEOUT`]).
pub async fn dial(
    address: SocketAddr,
    from: Option<IpAddr>,
    ours: &Handshake,
    limit: Duration,
) -> Result<Met, DialError> {
    let talk = async {
        let mut stream = connect(address, from).await.map_err(|error| DialError::Connect { address, error })?;
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

async fn connect(address: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from.filter(|from| from.is_ipv4() == address.is_ipv4()) {
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
        introduction: Introduction { id: theirs.id, address, dialled, fast: theirs.fast, extended: theirs.extended },
    })
}
