//! One live link, from its first hello to its end.
//!
//! Faces the network. A link that says nothing holds its place for [`HELLO`], one without a strand until the next ping; a
//! message is at most [`MAX_SAID`] bytes, and of more than [`MOST_SAID`] of them between two pings the rest waits. Its
//! buffers are small: a link costs about 20 KiB, and each of its strands, [`MAX_STRANDS`] at most, about 3. Who does not
//! take what is sent for [`SILENCE`] is gone.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt, stream::SelectAll};
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    hub::{News, Ticket},
    strand::{Queue, Strand, tell},
};
use crate::{
    announce::live::{Hello, MAX_SAID, MAX_STRANDS, PING, SILENCE, Said, Told, Word},
    conductor::{Desk, table::Caller},
    metainfo::InfoHash,
    net::range::is_near,
};

/// How long a member has to say who it is.
const HELLO: Duration = Duration::from_secs(5);
/// Messages between two pings, at most.
const MOST_SAID: u32 = 10_000;
/// How long the hello of somebody waits who says too many.
const ADMISSION: Duration = Duration::from_secs(2);
/// News that are told at once.
const BATCH: usize = 256;

type Socket = WebSocketStream<TcpStream>;

/// What came of a wait.
enum Heard {
    Said(Said),
    News(Ticket, Option<News>),
    Ping,
    /// Anything that shows that the other end is there.
    Alive,
    End,
}

/// Talks over a connection that became a WebSocket, of which these bytes were read already.
pub async fn run(stream: TcpStream, read: Vec<u8>, desk: Arc<Desk>, caller: Caller, stop: CancellationToken) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(256 << 10)
        .max_message_size(Some(MAX_SAID))
        .max_frame_size(Some(MAX_SAID));
    let mut socket = WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
    let Ok(Some(hello)) = timeout(HELLO, first(&mut socket)).await else { return };
    let mut link = Link { socket, desk, caller, strands: HashMap::new(), queues: SelectAll::new() };
    // The upgrade paid for the first.
    let left = link.begin(hello).await && link.talk(&stop).await;
    link.end(left).await;
}

/// The hello, if that is what it begins with.
async fn first(socket: &mut Socket) -> Option<Hello> {
    match serde_json::from_str(socket.next().await?.ok()?.to_text().ok()?) {
        Ok(Said::Hello(hello)) => Some(hello),
        _ => None,
    }
}

struct Link {
    socket: Socket,
    desk: Arc<Desk>,
    caller: Caller,
    strands: HashMap<InfoHash, Strand>,
    queues: SelectAll<Queue>,
}

impl Link {
    /// Until the link ends; whether the member took its leave.
    async fn talk(&mut self, stop: &CancellationToken) -> bool {
        // Hellos that wait are read before a link without strands is ended.
        let mut ping = interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last_heard, mut said) = (Instant::now(), 0);
        loop {
            let heard = tokio::select! {
                () = stop.cancelled() => Heard::End,
                message = self.socket.next(), if said < MOST_SAID => match message {
                    Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                        Ok(message) => Heard::Said(message),
                        Err(_) => Heard::End,
                    },
                    Some(Ok(Message::Close(_))) => return true,
                    Some(Ok(_)) => Heard::Alive,
                    Some(Err(_)) | None => Heard::End,
                },
                Some((ticket, news)) = self.queues.next(), if !self.queues.is_empty() => Heard::News(ticket, news),
                _ = ping.tick() => Heard::Ping,
                () = sleep_until(last_heard + SILENCE) => Heard::End,
            };
            if matches!(heard, Heard::Said(_) | Heard::Alive) {
                (last_heard, said) = (Instant::now(), said + 1);
            }
            let goes_on = match heard {
                Heard::Said(message) => self.on_said(message).await,
                Heard::Alive => true,
                Heard::News(ticket, news) => self.on_news(ticket, news).await,
                Heard::Ping => {
                    said = 0;
                    self.on_ping().await
                }
                Heard::End => false,
            };
            if !goes_on {
                return false;
            }
        }
    }

    /// False: the link is to end, as in all that follows.
    async fn on_said(&mut self, message: Said) -> bool {
        match message {
            Said::Hello(hello) => {
                self.await_admission().await;
                self.begin(hello).await
            }
            Said::Progress { info_hash, progress } => {
                let Some(strand) = self.strands.get_mut(&info_hash) else { return true };
                strand.on_progress(progress, &self.desk, &self.caller) || self.drop_strand(info_hash).await
            }
            Said::Leave { info_hash } => {
                self.end_strand(&info_hash, true);
                true
            }
            Said::Other => true,
        }
    }

    /// A hello costs who comes from far away as much as an announce. Nothing else is read meanwhile.
    async fn await_admission(&self) {
        let until = Instant::now() + ADMISSION;
        while !is_near(self.caller.source) && !self.desk.admits(self.caller.source) && Instant::now() < until {
            sleep(ADMISSION / 20).await;
        }
    }

    async fn begin(&mut self, hello: Hello) -> bool {
        let info_hash = hello.info_hash;
        // It ends after the new one has begun: so nobody hears that the member left.
        let old = self.strands.remove(&info_hash);
        let told = if self.strands.len() < MAX_STRANDS {
            let (begun, told) = Strand::begin(hello, &self.desk, &self.caller);
            if let Some((strand, queue)) = begun {
                self.strands.insert(info_hash, strand);
                self.queues.push(queue);
            }
            told
        } else {
            vec![Told::Refused { why: format!("a link carries {MAX_STRANDS} compositions") }]
        };
        if let Some(old) = old {
            old.end(false, &self.desk, &self.caller);
        }
        self.tell_all(info_hash, told).await
    }

    /// Its time in the table goes on for as long as its link does.
    async fn on_ping(&mut self) -> bool {
        let is_taken = |strand: &Strand| strand.announce(None, &self.desk, &self.caller);
        let refused: Vec<_> = self.strands.iter().filter(|(_, s)| !is_taken(s)).map(|(hash, _)| *hash).collect();
        for info_hash in refused {
            if !self.drop_strand(info_hash).await {
                return false;
            }
        }
        !self.strands.is_empty() && self.send(Message::Ping(Default::default())).await
    }

    /// Tells this, and what else waits to be told.
    async fn on_news(&mut self, ticket: Ticket, news: Option<News>) -> bool {
        let mut waiting: BTreeMap<InfoHash, Vec<News>> = BTreeMap::new();
        let mut next = Some((ticket, news));
        let mut count = 0;
        while let Some((ticket, news)) = next {
            let info_hash = ticket.info_hash();
            // What is left of an earlier strand is nobody's news.
            if self.strands.get(&info_hash).is_some_and(|strand| strand.ticket == ticket) {
                match news {
                    Some(news) => waiting.entry(info_hash).or_default().push(news),
                    None => {
                        waiting.remove(&info_hash);
                        if !self.drop_strand(info_hash).await {
                            return false;
                        }
                    }
                }
            }
            count += 1;
            next = if count < BATCH { self.queues.next().now_or_never().flatten() } else { None };
        }
        for (info_hash, news) in waiting {
            if !self.tell_all(info_hash, tell(news)).await {
                return false;
            }
        }
        true
    }

    /// Ends a strand that its member still wants.
    async fn drop_strand(&mut self, info_hash: InfoHash) -> bool {
        self.end_strand(&info_hash, false);
        self.tell(info_hash, Told::Ended).await
    }

    fn end_strand(&mut self, info_hash: &InfoHash, left: bool) {
        if let Some(strand) = self.strands.remove(info_hash) {
            strand.end(left, &self.desk, &self.caller);
        }
    }

    async fn tell_all(&mut self, info_hash: InfoHash, all: Vec<Told>) -> bool {
        for told in all {
            if !self.tell(info_hash, told).await {
                return false;
            }
        }
        true
    }

    async fn tell(&mut self, info_hash: InfoHash, told: Told) -> bool {
        match serde_json::to_string(&Word { told, info_hash }) {
            Ok(text) => self.send(Message::text(text)).await,
            Err(_) => false,
        }
    }

    async fn send(&mut self, message: Message) -> bool {
        matches!(timeout(SILENCE, self.socket.send(message)).await, Ok(Ok(())))
    }

    /// Ends all strands. `left`: the member said that it leaves.
    async fn end(mut self, left: bool) {
        for (_, strand) in self.strands.drain() {
            strand.end(left, &self.desk, &self.caller);
        }
        let _ = timeout(Duration::from_millis(200), self.socket.close(None)).await;
    }
}
