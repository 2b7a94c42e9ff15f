//! The few system calls on a peer's socket that tokio does not have, each one attempt that never waits.
//!
//! `WouldBlock` comes back as an error, and tells tokio to wait for the socket before the next attempt.

use std::io::{self, IoSliceMut};

use rustix::net::SendFlags;
use tokio::{io::Interest, net::TcpStream};

/// Unsent bytes that the kernel takes in before the socket counts as full. A short queue lets cancels and small messages
/// overtake what is not sent yet; the window of a fast link is not touched by it.
const NOT_SENT: u32 = 256 * 1024;

/// Sets what every conversation's socket has: no delay, since batching is ours, and a short unsent queue. The kernel's
/// buffers are left to grow by themselves: to set their size would end that.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT)?;
    Ok(())
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
