//! The listening sockets of one thread, and who comes through them.
//!
//! A connection is given as the system gives it: it may block, and nobody watches it yet. Most are answered and closed at
//! once, and to watch them would take two more calls to the system.

use std::{
    io,
    net::{IpAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use socket2::{SockAddr, SockRef, Socket};
use tokio::io::Interest;

use crate::conductor::table::Caller;

pub struct Doors(Vec<Door>);

struct Door {
    /// What listens is no stream. It is watched as one, since whatever comes through tokio's own listener is watched too.
    watched: tokio::net::TcpStream,
    bound: IpAddr,
}

impl Doors {
    /// Takes over sockets that listen and do not block.
    ///
    /// Must be called inside the tokio runtime that is to serve them.
    ///
    /// # Errors
    /// The runtime cannot watch them.
    pub fn open(sockets: Vec<TcpListener>) -> io::Result<Self> {
        let door = |socket: TcpListener| {
            let bound = socket.local_addr()?.ip();
            let watched = tokio::net::TcpStream::from_std(OwnedFd::from(socket).into())?;
            Ok(Door { watched, bound })
        };
        sockets.into_iter().map(door).collect::<io::Result<_>>().map(Self)
    }

    /// The next connection, and both of its ends.
    pub async fn accept(&self) -> io::Result<(TcpStream, Caller)> {
        std::future::poll_fn(|context| {
            self.0.iter().map(|door| door.poll_accept(context)).find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }
}

impl Door {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Caller)>> {
        loop {
            ready!(self.watched.poll_read_ready(context))?;
            let accept = || SockRef::from(&self.watched).accept();
            match self.watched.try_io(Interest::READABLE, accept) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => {
                    return Poll::Ready(accepted.and_then(|(socket, source)| self.with_caller(socket, &source)));
                }
            }
        }
    }

    fn with_caller(&self, socket: Socket, source: &SockAddr) -> io::Result<(TcpStream, Caller)> {
        let stream = TcpStream::from(socket);
        let source = source.as_socket().ok_or(io::ErrorKind::NotConnected)?.ip();
        let reached = if self.bound.is_unspecified() { stream.local_addr()?.ip() } else { self.bound };
        Ok((stream, Caller::new(source, reached)))
    }
}
