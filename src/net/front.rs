//! One port for TCP and UDP, with sockets for several threads.
//!
//! The first sockets are bound as if they were the only ones, so that a port that another program has is refused, never
//! shared by accident. Only then do they let others share it (`SO_REUSEPORT`), which the system grants to programs of
//! the same user alone; it spreads what comes over all of them. Where it cannot, one thread has it all.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    listen::{BACKLOG, FREE_PORT_TRIES, ListenError, in_both_versions, open},
    via::Via,
};

/// What the system keeps of datagrams that have come and were not read, in bytes; it may grant less.
const UDP_BUFFER: usize = 4 << 20;

/// Sockets of one thread.
#[derive(Debug, Default)]
pub struct Share {
    pub tcp: Vec<TcpListener>,
    pub udp: Vec<UdpSocket>,
}

/// A port, over TCP and UDP.
#[derive(Debug)]
pub struct Front {
    /// Where it is, IPv4 first.
    pub addresses: Vec<SocketAddr>,
    /// One for each thread, at least one.
    pub shares: Vec<Share>,
}

impl Front {
    /// Takes a port of this address, or of every address in both IP versions, for up to so many threads. Port 0 is any
    /// free port.
    ///
    /// # Errors
    /// The port is taken, or the address is not this machine's.
    pub fn bind(address: Option<IpAddr>, port: u16, threads: usize) -> Result<Self, ListenError> {
        let pairs = match address {
            Some(ip) => vec![at_one(SocketAddr::new(ip, port))?],
            None => in_both_versions(port, first, |pair| Some(pair.address))?,
        };
        let addresses: Vec<_> = pairs.iter().map(|pair| pair.address).collect();
        let mut shares = vec![share(pairs)];
        while shares.len() < threads {
            let more: Result<Vec<Pair>, ListenError> = addresses.iter().map(|address| further(*address)).collect();
            match more {
                Ok(pairs) => shares.push(share(pairs)),
                Err(error) => {
                    log::debug!("{} threads share the port, not {threads}: {error}", shares.len());
                    break;
                }
            }
        }
        Ok(Self { addresses, shares })
    }
}

/// Two sockets with one address.
struct Pair {
    address: SocketAddr,
    tcp: Socket,
    udp: Socket,
}

fn share(pairs: Vec<Pair>) -> Share {
    let (tcp, udp) = pairs.into_iter().map(|pair| (TcpListener::from(pair.tcp), UdpSocket::from(pair.udp))).unzip();
    Share { tcp, udp }
}

/// As [`first`]; with port 0, one that is free for both.
fn at_one(address: SocketAddr) -> Result<Pair, ListenError> {
    let mut result = first(address);
    for _ in 1..if address.port() == 0 { FREE_PORT_TRIES } else { 1 } {
        match &result {
            Err(error) if error.taken() => result = first(address),
            _ => break,
        }
    }
    result
}

/// The first pair at an address, which nobody else may have.
fn first(address: SocketAddr) -> Result<Pair, ListenError> {
    let pair = pair(address, false)?;
    let failed = |source| ListenError { address, over: "", source };
    // From here on further pairs may join. A system that refuses has one.
    let _ = let_others_share(&pair.tcp).and_then(|()| let_others_share(&pair.udp));
    pair.tcp.listen(BACKLOG).map_err(failed)?;
    Ok(pair)
}

/// One more pair at the address of the first.
fn further(address: SocketAddr) -> Result<Pair, ListenError> {
    let pair = pair(address, true)?;
    pair.tcp.listen(BACKLOG).map_err(|source| ListenError { address, over: "", source })?;
    Ok(pair)
}

fn pair(address: SocketAddr, shared: bool) -> Result<Pair, ListenError> {
    let failed = |source| ListenError { address, over: "", source };
    let tcp = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(failed)?;
    if shared {
        let_others_share(&tcp).map_err(failed)?;
    }
    open(&tcp, address, &Via::default()).map_err(failed)?;
    let address = tcp.local_addr().ok().and_then(|bound| bound.as_socket()).unwrap_or(address);
    let failed = |source| ListenError { address, over: " over UDP", source };
    let udp = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
    if shared {
        let_others_share(&udp).map_err(failed)?;
    }
    open_udp(&udp, address).map_err(failed)?;
    Ok(Pair { address, tcp, udp })
}

fn open_udp(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // What it does not grant is not worth ending for.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    socket.bind(&address.into())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn let_others_share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Elsewhere the option does not spread what comes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn let_others_share(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn threads_share_a_port_that_nobody_else_gets() {
        let front = Front::bind(Some(HERE), 0, 3).unwrap();
        let port = front.addresses[0].port();
        #[cfg(target_os = "linux")]
        assert_eq!(front.shares.len(), 3);
        for socket in front.shares.iter().flat_map(|share| &share.udp) {
            assert_eq!(socket.local_addr().unwrap(), front.addresses[0]);
        }
        let error = Front::bind(Some(HERE), port, 3).unwrap_err();
        assert!(error.taken(), "{error}");
        assert!(Front::bind(None, port, 1).unwrap_err().taken());
        assert!(UdpSocket::bind(front.addresses[0]).is_err());
    }

    #[test]
    fn a_port_that_is_taken_over_udp_alone_is_said() {
        let other = UdpSocket::bind((HERE, 0)).unwrap();
        let error = Front::bind(Some(HERE), other.local_addr().unwrap().port(), 2).unwrap_err();
        assert!(error.taken() && error.to_string().contains("over UDP: another program"), "{error}");
    }

    #[test]
    fn both_versions_have_the_same_port() {
        let front = Front::bind(None, 0, 2).unwrap();
        for share in &front.shares {
            let tcp = share.tcp.iter().map(|socket| socket.local_addr().unwrap());
            let udp = share.udp.iter().map(|socket| socket.local_addr().unwrap());
            assert_eq!(tcp.collect::<Vec<_>>(), front.addresses);
            assert_eq!(udp.collect::<Vec<_>>(), front.addresses);
        }
        assert!(front.addresses.iter().all(|address| address.port() == front.addresses[0].port()));
    }

    #[test]
    fn what_comes_is_spread_over_the_threads() {
        let front = Front::bind(Some(HERE), 0, 2).unwrap();
        let senders: Vec<_> = (0..64).map(|_| UdpSocket::bind((HERE, 0)).unwrap()).collect();
        for sender in &senders {
            sender.send_to(b"x", front.addresses[0]).unwrap();
        }
        let mut byte = [0; 1];
        let counts = front.shares.iter().map(|share| std::iter::from_fn(|| share.udp[0].recv(&mut byte).ok()).count());
        let counts: Vec<usize> = counts.collect();
        assert_eq!(counts.iter().sum::<usize>(), 64);
        assert!(front.shares.len() == 1 || counts.iter().all(|count| *count > 0), "{counts:?}");
    }
}
