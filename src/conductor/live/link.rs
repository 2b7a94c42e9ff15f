//! One live link, from its hello to its end.
//!
//! Faces the network. A link that says nothing holds its place for [`HELLO`]; a message is at most
//! [`MAX_SAID`] bytes, and more than [`MOST_SAID`] of them between two pings end it. Its buffers are small: a link costs
//! about 20 KiB. Who does not take what is sent for [`SILENCE`] is gone.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::mpsc::Receiver,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::sync::CancellationToken;

use super::hub::{News, Ticket};
use crate::{
    announce::{
        Event, Listed,
        live::{Copy, Hello, MAX_SAID, PING, Progress, SILENCE, Said, Told},
    },
    conductor::{Desk, table::Caller},
};

/// How long a member has to say who it is.
const HELLO: Duration = Duration::from_secs(5);
/// Messages between two pings, at most.
const MOST_SAID: u32 = 100;
/// News that are told at once.
const BATCH: usize = 256;
/// Copies in one message: with the longest names it is no longer than a message may be.
const COPIES: usize = 64;

type Socket = WebSocketStream<TcpStream>;

/// What came of a wait.
enum Heard {
    Said(Said),
    News(usize),
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
    let hello = hello.cut();
    let (ticket, news, copies) = desk.hub().enter(&hello, &caller);
    let mut link = Link { socket, desk, caller, hello, ticket };
    let left = match link.begin(&copies).await {
        true => link.talk(news, &stop).await,
        false => false,
    };
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
    hello: Hello,
    ticket: Ticket,
}

impl Link {
    /// Puts the member into the table and tells it who is there; false: it is not taken, or gone already.
    async fn begin(&mut self, copies: &[Copy]) -> bool {
        let mut members = Vec::new();
        let list = |listed: Listed| {
            members.push(listed.address);
            true
        };
        let announce = self.hello.announce(Some(Event::Started), None);
        if let Err(refusal) = self.desk.hear(&announce, &self.caller, list) {
            self.tell(&Told::Refused { why: refusal.to_string() }).await;
            return false;
        }
        if let Some(address) = self.desk.closed_at(&announce, &self.caller)
            && !self.tell(&Told::Reach { address, open: false }).await
        {
            return false;
        }
        self.tell(&Told::Members { members }).await && self.tell_copies(copies).await
    }

    /// Until the link ends; whether the member took its leave.
    async fn talk(&mut self, mut news: Receiver<News>, stop: &CancellationToken) -> bool {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last_heard, mut said) = (Instant::now(), 0);
        let mut batch = Vec::new();
        loop {
            let heard = tokio::select! {
                () = stop.cancelled() => Heard::End,
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                        Ok(message) => Heard::Said(message),
                        Err(_) => Heard::End,
                    },
                    Some(Ok(Message::Close(_))) => return true,
                    Some(Ok(_)) => Heard::Alive,
                    Some(Err(_)) | None => Heard::End,
                },
                count = news.recv_many(&mut batch, BATCH) => Heard::News(count),
                _ = ping.tick() => Heard::Ping,
                () = sleep_until(last_heard + SILENCE) => Heard::End,
            };
            let goes_on = match heard {
                Heard::Said(message) => {
                    (last_heard, said) = (Instant::now(), said + 1);
                    self.on_said(message) && said <= MOST_SAID
                }
                Heard::Alive => {
                    (last_heard, said) = (Instant::now(), said + 1);
                    said <= MOST_SAID
                }
                Heard::News(0) | Heard::End => false,
                Heard::News(_) => self.tell_news(std::mem::take(&mut batch)).await,
                Heard::Ping => {
                    said = 0;
                    // Its time in the table goes on for as long as its link does.
                    self.announce(None) && self.send(Message::Ping(Default::default())).await
                }
            };
            if !goes_on {
                return false;
            }
        }
    }

    fn on_said(&mut self, message: Said) -> bool {
        match message {
            Said::Progress(progress) => self.on_progress(progress.cut()),
            Said::Hello(_) | Said::Other => true,
        }
    }

    fn on_progress(&mut self, progress: Progress) -> bool {
        let completed = self.hello.progress.left > 0 && progress.left == 0;
        self.hello.progress = progress.clone();
        self.desk.hub().report(self.ticket, progress);
        !completed || self.announce(Some(Event::Completed))
    }

    /// Says in the table what is known of the member; false: it is not taken any more.
    fn announce(&self, event: Option<Event>) -> bool {
        self.desk.hear(&self.hello.announce(event, Some(0)), &self.caller, |_| false).is_ok()
    }

    async fn tell_news(&mut self, batch: Vec<News>) -> bool {
        let (mut joined, mut left, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let mut goes_on = true;
        for news in batch {
            match news {
                News::Joined(address) => {
                    left.retain(|other| *other != address);
                    joined.push(address);
                }
                News::Left(address) => {
                    joined.retain(|other| *other != address);
                    left.push(address);
                }
                News::Whole(copy) => whole.push(copy),
                News::Reach { address, open } => goes_on &= self.tell(&Told::Reach { address, open }).await,
            }
        }
        if !(joined.is_empty() && left.is_empty()) {
            goes_on &= self.tell(&Told::Changes { joined, left }).await;
        }
        goes_on && self.tell_copies(&whole).await
    }

    async fn tell_copies(&mut self, copies: &[Copy]) -> bool {
        for some in copies.chunks(COPIES) {
            if !self.tell(&Told::Whole { members: some.to_vec() }).await {
                return false;
            }
        }
        true
    }

    async fn tell(&mut self, told: &Told) -> bool {
        match serde_json::to_string(told) {
            Ok(text) => self.send(Message::text(text)).await,
            Err(_) => false,
        }
    }

    async fn send(&mut self, message: Message) -> bool {
        matches!(timeout(SILENCE, self.socket.send(message)).await, Ok(Ok(())))
    }

    /// Takes the member out of the table, unless it has another link. `left`: it said that it leaves.
    async fn end(mut self, left: bool) {
        if self.desk.hub().leave(self.ticket) {
            self.desk.tell_parted(&self.hello, &self.caller);
            let announce = self.hello.announce(Some(Event::Stopped), Some(0));
            match left {
                true => _ = self.desk.hear(&announce, &self.caller, |_| false),
                false => self.desk.cut_off(&announce, &self.caller),
            }
        }
        let _ = timeout(Duration::from_millis(200), self.socket.close(None)).await;
    }
}
