//! The answers to a batch of datagrams, which leave together: one call to the system for all of them costs less than one
//! for each.

use std::{io, io::IoSlice, mem, net::SocketAddr};

use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, addr::SocketAddrArg, sendmmsg};
use tokio::net::UdpSocket;

/// Answers that have not left yet, all of a socket that has one address.
#[derive(Default)]
pub struct Post {
    bytes: Vec<u8>,
    /// Whom each is for, and where it ends.
    letters: Vec<(SocketAddr, usize)>,
}

impl Post {
    pub fn add(&mut self, to: SocketAddr, answer: &[u8]) {
        self.bytes.extend_from_slice(answer);
        self.letters.push((to, self.bytes.len()));
    }

    /// Sends all, or loses them: who asked asks again (BEP 15).
    pub fn send(&mut self, socket: &UdpSocket) {
        let mut begin = 0;
        let slices: Vec<_> = (self.letters.iter())
            .map(|(_, end)| [IoSlice::new(&self.bytes[mem::replace(&mut begin, *end)..*end])])
            .collect();
        let addresses: Vec<SocketAddrAny> = self.letters.iter().map(|(to, _)| to.as_any()).collect();
        let mut nothing: Vec<_> = slices.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let each = addresses.iter().zip(&slices).zip(&mut nothing);
        let mut datagrams: Vec<_> =
            each.map(|((to, slice), nothing)| MMsgHdr::new_with_addr(to, slice, nothing)).collect();
        let mut gone = 0;
        while gone < datagrams.len() {
            gone += sendmmsg(socket, &mut datagrams[gone..], SendFlags::DONTWAIT).unwrap_or_else(|error| {
                log::debug!("{} is not answered: {}", self.letters[gone].0, io::Error::from(error));
                1
            });
        }
        self.bytes.clear();
        self.letters.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody whose address is none stands among them.
    #[tokio::test]
    async fn each_gets_its_own_and_who_cannot_be_sent_to_stops_nobody() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut post = Post::default();
        post.send(&socket);
        let askers: Vec<_> = (0..3).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for round in 0..2u8 {
            for (nth, asker) in (0..).zip(&askers) {
                post.add(asker.local_addr().unwrap(), &vec![round; nth]);
                post.add("[::1]:7".parse().unwrap(), b"of the other IP version");
            }
            post.send(&socket);
            for (nth, asker) in (0..).zip(&askers) {
                let mut answer = [9; 10];
                assert_eq!(asker.recv(&mut answer).unwrap(), nth);
                assert_eq!(answer[..nth], vec![round; nth]);
            }
        }
    }
}
