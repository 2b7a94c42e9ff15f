//! TCP listeners on IPv4 and IPv6.
//!
//! One socket a version (the IPv6 one takes IPv6 alone), so that a source address never comes in the `::ffff:` form and
//! a machine without IPv6 works the same. A port that somebody else listens on is refused, never shared: the address
//! may be reused (`SO_REUSEADDR`, against the minute that a closed connection lingers), the port may not
//! (`SO_REUSEPORT`).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::Poll,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::via::Via;

/// How many connections may wait to be accepted.
pub(super) const BACKLOG: i32 = 1024;
/// How often another free port is asked for when the one that IPv4 got is taken in IPv6.
pub(super) const FREE_PORT_TRIES: usize = 16;

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{over}: {}", advice(.source))]
pub struct ListenError {
    pub address: SocketAddr,
    /// What makes it another than the usual socket, such as " over UDP".
    pub over: &'static str,
    pub source: io::Error,
}

impl ListenError {
    /// Whether another program has the port.
    pub fn taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    /// What is wrong, without what could not be done because of it.
    pub fn why(&self) -> String {
        advice(&self.source)
    }
}

fn advice(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => "another program has this port; end it or choose another port".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have this address; choose one that it has".into(),
        io::ErrorKind::PermissionDenied => "not allowed for this user; choose a port above 1023".into(),
        _ => source.to_string(),
    }
}

/// One or two listening sockets with the same port.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<TcpListener>,
}

impl Listeners {
    /// Listens on this address, or on every address of both IP versions. Where a port is taken, each of the next
    /// `fallbacks` ports is tried. Port 0 is any free port.
    ///
    /// Must be called inside a tokio runtime. A machine without IPv6 (or without IPv4) gets the other alone.
    pub fn bind(address: Option<IpAddr>, port: u16, fallbacks: u16) -> Result<Self, ListenError> {
        Self::bind_via(&Via::address(address), port, fallbacks)
    }

    /// As [`Listeners::bind`], through one network interface alone where `via` names one.
    pub fn bind_via(via: &Via, port: u16, fallbacks: u16) -> Result<Self, ListenError> {
        let last = port.saturating_add(if port == 0 { 0 } else { fallbacks });
        let mut candidate = port;
        loop {
            let bound = match via.address {
                Some(ip) => one(SocketAddr::new(ip, candidate), via).map(|socket| vec![socket]),
                None => in_both_versions(candidate, |address| one(address, via), |socket| socket.local_addr().ok()),
            };
            match bound {
                Err(error) if error.taken() && candidate < last => candidate += 1,
                other => return other.map(|sockets| Self { sockets }),
            }
        }
    }

    /// The port, chosen by the system where 0 was asked for.
    pub fn port(&self) -> u16 {
        self.addresses().first().map_or(0, SocketAddr::port)
    }

    /// Where it listens, IPv4 first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// The next connection on any of them.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|context| {
            self.sockets.iter().map(|socket| socket.poll_accept(context)).find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }
}

/// What `open` opens at this port of every IPv4 address and of every IPv6 address, as far as the machine has these
/// versions; `place` says where that is. Port 0 is any port that is free in both.
pub(super) fn in_both_versions<T>(
    port: u16,
    open: impl Fn(SocketAddr) -> Result<T, ListenError>,
    place: impl Fn(&T) -> Option<SocketAddr>,
) -> Result<Vec<T>, ListenError> {
    let tries = if port == 0 { FREE_PORT_TRIES } else { 1 };
    let mut result = in_both_once(port, &open, &place);
    for _ in 1..tries {
        match &result {
            Err(error) if error.taken() => result = in_both_once(port, &open, &place),
            _ => break,
        }
    }
    result
}

fn in_both_once<T>(
    port: u16,
    open: impl Fn(SocketAddr) -> Result<T, ListenError>,
    place: impl Fn(&T) -> Option<SocketAddr>,
) -> Result<Vec<T>, ListenError> {
    let v4 = open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    if v4.as_ref().is_err_and(|error| !absent(&error.source)) {
        return v4.map(|socket| vec![socket]);
    }
    let port = v4.as_ref().ok().and_then(place).map_or(port, |address| address.port());
    let v6 = open(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok(vec![v4, v6]),
        (Ok(only), Err(error)) if absent(&error.source) => Ok(vec![only]),
        (Err(_), Ok(only)) => Ok(vec![only]),
        (_, Err(error)) => Err(error),
    }
}

/// The machine does not have this IP version at all.
fn absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn one(address: SocketAddr, via: &Via) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError { address, over: "", source };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(failed)?;
    open(&socket, address, via).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    TcpListener::from_std(socket.into()).map_err(failed)
}

/// Binds a TCP socket that is going to listen.
pub(super) fn open(socket: &Socket, address: SocketAddr, via: &Via) -> io::Result<()> {
    // Elsewhere the option means that two programs may share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    via.restrict(socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_taken_port_is_refused_or_stepped_over() {
        let first = Listeners::bind(Some(HERE), 0, 0).unwrap();
        let port = first.port();
        let error = Listeners::bind(Some(HERE), port, 0).unwrap_err();
        assert!(error.taken());
        assert!(error.to_string().contains("another program"), "{error}");
        assert!(Listeners::bind(None, port, 0).unwrap_err().taken());
        if let Ok(second) = Listeners::bind(Some(HERE), port, 100) {
            assert!(second.port() > port);
        }
    }

    #[tokio::test]
    async fn every_socket_has_the_same_port_and_accepts() {
        let listeners = Listeners::bind(None, 0, 0).unwrap();
        assert_ne!(listeners.port(), 0);
        for address in listeners.addresses() {
            assert_eq!(address.port(), listeners.port());
            let here: IpAddr = match address {
                SocketAddr::V4(_) => HERE,
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            let dialled = TcpStream::connect(SocketAddr::new(here, address.port()));
            let (dialled, accepted) = tokio::join!(dialled, listeners.accept());
            assert_eq!(dialled.unwrap().local_addr().unwrap(), accepted.unwrap().1);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_ours_is_said_plainly() {
        let far = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = Listeners::bind(Some(far), 0, 0).unwrap_err();
        assert!(error.to_string().contains("does not have"), "{error}");
    }
}
