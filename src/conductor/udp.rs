//! The UDP front: a tracker after BEP 15, tolerant of the options of BEP 41.
//!
//! It owns one socket and decides nothing. An answer leaves from the address that was asked, also on a machine with
//! several.
//!
//! Faces the network, where a source may be forged:
//! - No answer is longer than its question before a connection id has proven the source: a connect is answered with as
//!   many bytes, a bad id with fewer, and a datagram that is no question not at all.
//! - Nothing is kept for anybody before it has announced with a proven id.
//! - [`Allowances`](super::allowance::Allowances) bound the answers to one source, the proven and the unproven ones on
//!   their own: who sends connects in another's name uses up the other's connects alone.

mod post;

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, SystemTime},
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio_util::sync::CancellationToken;

use super::{Desk, connection_id::ConnectionIds, table::Caller};
use crate::{
    announce::{
        udp_answer::{ListWriter, MAX_ANSWER, write_connected, write_refused, write_scraped},
        udp_request::{Question, Request, Unread, read},
    },
    wire::utp,
};
use post::Post;

/// What may come at once: datagrams of one source that the system has joined. It is no power of two: the beginnings of all
/// buffers would have the same few places in the processor's caches.
const LONGEST: usize = 64 * 1024 + 192;
/// The pause when the system cannot give datagrams.
const PAUSE: Duration = Duration::from_millis(100);
/// Batches of datagrams in a row, a few milliseconds.
const BATCHES: u64 = 8;
/// Fits into the shortest question with a connection id that can be taken for one, a scrape of 36 bytes.
const BAD_ID: &str = "connection id expired";

/// Answers on this socket until it is told to stop.
pub async fn serve(socket: UdpSocket, desk: Arc<Desk>, ids: ConnectionIds, stop: CancellationToken) {
    match Front::new(socket, desk, ids) {
        Ok(front) => drop(stop.run_until_cancelled(front.answer_all()).await),
        Err(error) => log::error!("UDP is not served: {error}"),
    }
}

struct Front {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
    /// Where it is bound: the address that was asked, where the system does not say.
    bound: IpAddr,
    counter: Counter,
}

impl Front {
    fn new(socket: UdpSocket, desk: Arc<Desk>, ids: ConnectionIds) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        // It asks the system to tell of each datagram what a tracker has no use for.
        let _ = socket2::SockRef::from(&socket).set_recv_tos_v4(false);
        let bound = socket.local_addr()?.ip();
        Ok(Self { socket: tokio::net::UdpSocket::from_std(socket)?, state, bound, counter: Counter { desk, ids } })
    }

    async fn answer_all(&self) {
        let mut buffers = vec![0; LONGEST * BATCH_SIZE];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut answer = Vec::with_capacity(MAX_ANSWER);
        let mut post = Post::default();
        for batch in 1u64.. {
            match self.receive(&mut buffers, &mut metas).await {
                Ok(count) => {
                    let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                    for (buffer, meta) in buffers.chunks(LONGEST).zip(&metas[..count]) {
                        self.answer_joined(&buffer[..meta.len], meta, since_1970, &mut answer, &mut post);
                    }
                    post.send(&self.socket);
                    // A flood must not keep this thread from its other work.
                    if batch.is_multiple_of(BATCHES) {
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => {
                    log::warn!("cannot receive over UDP: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn receive(&self, buffers: &mut [u8], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let receive = || {
            let mut slices = buffers.chunks_mut(LONGEST).map(IoSliceMut::new);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            self.state.recv((&self.socket).into(), &mut slices, metas)
        };
        self.socket.async_io(Interest::READABLE, receive).await
    }

    /// Answers datagrams of one source that the system may have joined.
    fn answer_joined(
        &self,
        joined: &[u8],
        meta: &RecvMeta,
        since_1970: Duration,
        answer: &mut Vec<u8>,
        post: &mut Post,
    ) {
        let reached = meta.dst_ip.unwrap_or(self.bound);
        let caller = Caller::new(meta.addr.ip(), reached);
        for question in joined.chunks(meta.stride.max(1)) {
            answer.clear();
            self.counter.answer(question, &caller, since_1970, answer);
            if !answer.is_empty() && meta.addr.port() != 0 {
                match self.bound.is_unspecified() && !reached.is_unspecified() {
                    true => self.send(meta.addr, reached, answer),
                    // It has one address alone, and need not say which.
                    false => post.add(meta.addr, answer),
                }
            }
        }
    }

    /// Sends an answer from the address that was asked, or loses it: who asked asks again (BEP 15).
    fn send(&self, to: SocketAddr, from: IpAddr, contents: &[u8]) {
        let src_ip = Some(from);
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip };
        if let Err(error) = self.state.try_send((&self.socket).into(), &transmit) {
            log::debug!("{to} is not answered: {error}");
        }
    }
}

/// Where one datagram gets its answer.
struct Counter {
    desk: Arc<Desk>,
    ids: ConnectionIds,
}

impl Counter {
    /// Writes what is due to a question, if anything is.
    fn answer(&self, question: &[u8], caller: &Caller, since_1970: Duration, out: &mut Vec<u8>) {
        match read(question) {
            Ok(Question::Connect { transaction }) => {
                if self.desk.admits_unproven(caller.source) {
                    write_connected(out, transaction, self.ids.give(caller.source, since_1970));
                }
            }
            Ok(Question::Claim { connection, transaction, request }) => {
                if self.is_proven(connection, caller, since_1970) {
                    self.answer_proven(transaction, &request, caller, out);
                } else if self.desk.admits_unproven(caller.source) {
                    write_refused(out, transaction, BAD_ID);
                }
            }
            Err(Unread::Wrong { connection, transaction, error }) => {
                if !self.is_proven(connection, caller, since_1970) {
                    self.answer_utp(question, caller, out);
                } else if self.desk.admits(caller.source) {
                    write_refused(out, transaction, &error.to_string());
                }
            }
            Err(Unread::Foreign) => self.answer_utp(question, caller, out),
        }
    }

    fn is_proven(&self, connection: u64, caller: &Caller, since_1970: Duration) -> bool {
        self.ids.prove(caller.source, since_1970, connection)
    }

    fn answer_proven(&self, transaction: u32, request: &Request, caller: &Caller, out: &mut Vec<u8>) {
        if !self.desk.admits(caller.source) {
            return;
        }
        match request {
            Request::Announce(announce) => {
                let mut list = ListWriter::new(out, transaction, caller.source);
                let announce = self.desk.without_claims(announce.clone());
                let heard = self.desk.hear(&announce, caller, |listed| !listed.claimed && list.add(listed.address));
                self.desk.counted().announce(heard.is_ok());
                match heard {
                    Ok(word) => list.finish(word.interval, word.counts),
                    Err(refusal) => {
                        out.clear();
                        write_refused(out, transaction, &refusal.to_string());
                    }
                }
            }
            Request::Scrape(hashes) => {
                write_scraped(out, transaction, self.desk.counts(hashes).into_iter().map(|(_, counts)| counts));
            }
        }
    }

    /// Many clients try uTP first; said at once that nobody speaks it here, they come over TCP.
    fn answer_utp(&self, question: &[u8], caller: &Caller, out: &mut Vec<u8>) {
        if let Some(reset) = utp::refusal(question)
            && self.desk.admits_unproven(caller.source)
        {
            out.extend_from_slice(&reset);
        }
    }
}

#[cfg(test)]
mod tests;
