//! The few system calls on a peer's socket that tokio does not have, each one attempt that never waits.
//!
//! `WouldBlock` comes back as an error, and tells tokio to wait for the socket before the next attempt.

use std::{
    io::{self, IoSliceMut},
    time::Duration,
};

use rustix::net::{RecvFlags, SendFlags};
use socket2::{SockRef, TcpKeepalive};
use tokio::{io::Interest, net::TcpStream};

/// Unsent bytes that the kernel takes in before the socket counts as full. A short queue lets cancels and small messages
/// overtake what is not sent yet; the window of a fast link is not touched by it.
const NOT_SENT: u32 = 256 * 1024;

/// The kernel asks an idle peer's kernel whether it is there after this time, and so often, so many times.
const PROBE_IDLE: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(3);
const PROBES: u32 = 3;
/// The kernel gives up a connection on which nothing was acknowledged for this long.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(15);

/// Sets what every conversation's socket has: no delay, since batching is ours, and a short unsent queue. The kernel's
/// buffers are left to grow by themselves: to set their size would end that.
///
/// A path that is dead is noticed within 20 s, whatever the peer promised to say: the kernels answer each other however
/// busy the programs are.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_IDLE).with_interval(PROBE_INTERVAL);
    socket.set_tcp_keepalive(&probes.with_retries(PROBES))?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))?;
        socket.set_tcp_notsent_lowat(NOT_SENT)?;
    }
    Ok(())
}

/// Blocks go to this peer from now on. It may be slow to take them: Linux ends a connection too whose peer has no room for
/// more within `TCP_USER_TIMEOUT`, though it says so all the time, and a download limit or a slow disk brings that about.
pub fn bear_slow_reading(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(None) {
        log::debug!("cannot set TCP_USER_TIMEOUT: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Whether bytes wait to be read, or an end.
pub fn has_input(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let seen =
        again(|| stream.try_io(Interest::READABLE, || Ok(rustix::net::recv(stream, &mut byte, RecvFlags::PEEK)?.0)));
    !seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Reads into both, the first first. 0: the other side closed.
pub fn read(stream: &TcpStream, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
    let mut into = [IoSliceMut::new(first), IoSliceMut::new(second)];
    again(|| stream.try_io(Interest::READABLE, || Ok(rustix::io::readv(stream, &mut into)?)))
}

/// Sends some of these bytes; `more`: what follows at once may go into the same packet.
pub fn send(stream: &TcpStream, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = match more {
        #[cfg(target_os = "linux")]
        true => SendFlags::MORE,
        _ => SendFlags::empty(),
    };
    again(|| stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, bytes, flags)?)))
}

/// Sends some bytes of the file without copying them. 0: the file ends there.
#[cfg(target_os = "linux")]
pub fn send_file(stream: &TcpStream, file: &std::fs::File, offset: u64, len: usize) -> io::Result<usize> {
    again(|| {
        stream.try_io(Interest::WRITABLE, || {
            let mut offset = offset;
            Ok(rustix::fs::sendfile(stream, file, Some(&mut offset), len)?)
        })
    })
}

/// A signal is no reason to stop.
fn again(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
