//! Refuses uTP beside the TCP listeners, on the same addresses and port: see [`crate::wire::utp`].
//!
//! It is a courtesy: where the UDP port cannot be had, those who try uTP first find their way seconds later.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::{listen::ListenError, via::Via};
use crate::wire::utp;

/// Refuses on each of these addresses, until `stop`. To be called inside a tokio runtime.
pub fn refuse(addresses: &[SocketAddr], via: &Via, stop: &CancellationToken) {
    for &address in addresses {
        match bind(address, via) {
            Ok(socket) => {
                let stop = stop.clone();
                tokio::spawn(async move {
                    if let Some(error) = stop.run_until_cancelled(answer(socket)).await {
                        log::debug!("no answer to uTP at {address} any more: {error}");
                    }
                });
            }
            Err(error) => log::debug!("no answer to uTP at {address}: {error}"),
        }
    }
}

/// UDP sockets on these addresses, for what is more than a courtesy.
///
/// # Errors
/// One cannot be had.
pub fn sockets(addresses: &[SocketAddr], via: &Via) -> Result<Vec<UdpSocket>, ListenError> {
    let open =
        |&address: &SocketAddr| bind(address, via).map_err(|source| ListenError { address, over: " over UDP", source });
    addresses.iter().map(open).collect()
}

fn bind(address: SocketAddr, via: &Via) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    via.restrict(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Answers until the socket fails.
async fn answer(socket: UdpSocket) -> io::Error {
    let mut packet = [0; utp::HEADER];
    loop {
        // What is longer than the header is cut: nothing else of it matters.
        match socket.recv_from(&mut packet).await {
            Ok((count, from)) => {
                if let Some(refusal) = utp::refusal(&packet[..count]) {
                    // One that does not fit now is sent when they ask again.
                    let _ = socket.try_send_to(&refusal, from);
                }
            }
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::net::listen::Listeners;

    #[tokio::test]
    async fn a_connection_is_refused_beside_the_listener() {
        let listeners = Listeners::bind(Some(Ipv4Addr::LOCALHOST.into()), 0, 0).unwrap();
        let stop = CancellationToken::new();
        refuse(&listeners.addresses(), &Via::default(), &stop);
        let them = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut syn = [0; 40];
        (syn[0], syn[3], syn[17]) = (0x41, 7, 9);
        them.send_to(b"something else", listeners.addresses()[0]).await.unwrap();
        them.send_to(&syn, listeners.addresses()[0]).await.unwrap();
        let mut answer = [0; 100];
        let (count, from) = them.recv_from(&mut answer).await.unwrap();
        assert_eq!((count, from), (utp::HEADER, listeners.addresses()[0]));
        assert_eq!((answer[0], answer[3], answer[19]), (0x31, 7, 9));
    }
}
