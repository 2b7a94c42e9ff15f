//! One live link, from its first hello to its end.
//!
//! Faces the network. A link that says nothing holds its place for [`HELLO`], one without a strand until the next ping; a
//! message is at most [`MAX_SAID`] bytes, and what its source says beyond its allowance waits: nothing more is read
//! meanwhile. Its buffers are small: a link costs about 20 KiB, and each of its strands, [`MAX_STRANDS`] at most, about 3.
//! Who does not take what is sent for [`SILENCE`] is gone. Of who has all of a composition, which may be many, a member is
//! told a piece at a time, as the link takes it and as [`Desk::admits_piece`] lets it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt, stream::SelectAll};
use tokio::{
    net::TcpStream,
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
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
};

/// How long a member has to say who it is.
const HELLO: Duration = Duration::from_secs(5);
/// Messages between two pings, at most.
const MOST_SAID: u32 = 10_000;
/// How long somebody waits who wants more than its allowance, before it is looked at again.
const ADMISSION_INTERVAL: Duration = Duration::from_millis(50);
/// What the system keeps of what is sent and was not taken, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// Strands that are looked after in one go: half a millisecond.
const STRANDS_AT_ONCE: usize = 256;
/// News that are told at once.
const BATCH: usize = 256;

type Socket = WebSocketStream<TcpStream>;

/// What came of a wait.
enum Heard {
    Said(Said),
    /// What was said waited, and may be looked at again.
    Again,
    /// Copies may be told.
    Copies,
    News(Ticket, Option<News>),
    Ping,
    /// Anything that shows that the other end is there.
    Alive,
    End,
}

/// Talks over a connection that became a WebSocket, of which these bytes were read already.
pub async fn run(stream: TcpStream, read: Vec<u8>, desk: Arc<Desk>, caller: Caller, stop: CancellationToken) {
    // A link that takes nothing must not cost the system megabytes. Where it cannot be set it stays as it is.
    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    let config = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(256 << 10)
        .max_message_size(Some(MAX_SAID))
        .max_frame_size(Some(MAX_SAID));
    let mut socket = WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
    let Ok(Some(hello)) = timeout(HELLO, first(&mut socket)).await else { return };
    let caller = Caller { linked: true, ..caller };
    let (strands, queues, untold) = (HashMap::new(), SelectAll::new(), VecDeque::new());
    let mut link = Link {
        socket,
        desk,
        caller,
        strands,
        queues,
        waiting: None,
        again: Instant::now(),
        untold,
        tell: Instant::now(),
    };
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
    /// What was said beyond the allowance of its source.
    waiting: Option<Said>,
    /// When it is looked at again.
    again: Instant,
    /// The strands with copies to tell of.
    untold: VecDeque<InfoHash>,
    /// When the next of them may be told.
    tell: Instant,
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
                message = self.socket.next(), if said < MOST_SAID && self.waiting.is_none() => match message {
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
                () = sleep_until(self.again), if self.waiting.is_some() => Heard::Again,
                () = sleep_until(self.tell), if !self.untold.is_empty() => Heard::Copies,
                // It cannot be heard while it waits.
                () = sleep_until(last_heard + SILENCE), if self.waiting.is_none() => Heard::End,
            };
            if matches!(heard, Heard::Said(_) | Heard::Alive | Heard::Again) {
                last_heard = Instant::now();
            }
            said += u32::from(matches!(heard, Heard::Said(_) | Heard::Alive));
            let goes_on = match heard {
                Heard::Said(message) => self.on_said(message).await,
                Heard::Again => match self.waiting.take() {
                    Some(message) => self.on_said(message).await,
                    None => true,
                },
                Heard::Copies => self.tell_copies().await,
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
        // A hello costs as much as an announce, over however many links a source says it.
        let is_admitted = match message {
            Said::Hello(_) => self.desk.admits_hello(self.caller.source),
            Said::Progress { .. } | Said::Leave { .. } | Said::Other => self.desk.admits_word(self.caller.source),
        };
        if !is_admitted {
            (self.waiting, self.again) = (Some(message), Instant::now() + ADMISSION_INTERVAL);
            return true;
        }
        match message {
            Said::Hello(hello) => self.begin(hello).await,
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
        self.tell_all(info_hash, told).await && {
            self.has_untold(info_hash);
            true
        }
    }

    /// Its time in the table goes on for as long as its link does.
    async fn on_ping(&mut self) -> bool {
        let all: Vec<InfoHash> = self.strands.keys().copied().collect();
        for some in all.chunks(STRANDS_AT_ONCE) {
            for info_hash in some {
                let strand = self.strands.get(info_hash);
                let is_taken = strand.is_none_or(|strand| strand.announce(None, &self.desk, &self.caller));
                if !is_taken && !self.drop_strand(*info_hash).await {
                    return false;
                }
            }
            // There may be thousands, and others are answered on this thread.
            yield_now().await;
        }
        let is_needed = !self.strands.is_empty() || self.waiting.is_some();
        is_needed && self.send(Message::Ping(Default::default())).await
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
            self.has_untold(info_hash);
        }
        true
    }

    /// There may be copies that this strand's member was not told of.
    fn has_untold(&mut self, info_hash: InfoHash) {
        if let Some(strand) = self.strands.get_mut(&info_hash)
            && !std::mem::replace(&mut strand.waits, true)
        {
            self.untold.push_back(info_hash);
        }
    }

    /// Tells some copies of the strand whose turn it is.
    async fn tell_copies(&mut self) -> bool {
        let Some(info_hash) = self.untold.pop_front() else { return true };
        let Some(strand) = self.strands.get_mut(&info_hash) else { return true };
        strand.waits = false;
        let (members, last) = strand.copies(&self.desk);
        if !members.is_empty() && !self.desk.admits_piece(self.caller.source) {
            self.tell = Instant::now() + ADMISSION_INTERVAL;
            self.has_untold(info_hash);
            return true;
        }
        if strand.has_told(last) {
            self.has_untold(info_hash);
        }
        members.is_empty() || self.tell(info_hash, Told::Whole { members }).await
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
        let mut strands = self.strands.drain();
        loop {
            let some: Vec<Strand> = strands.by_ref().take(STRANDS_AT_ONCE).map(|(_, strand)| strand).collect();
            if some.is_empty() {
                break;
            }
            some.into_iter().for_each(|strand| strand.end(left, &self.desk, &self.caller));
            yield_now().await;
        }
        drop(strands);
        let _ = timeout(Duration::from_millis(200), self.socket.close(None)).await;
    }
}
