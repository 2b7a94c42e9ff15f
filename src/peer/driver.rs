//! Carries one conversation: the only code that owns a peer's socket. One task a connection.
//!
//! It moves bytes between the socket, the [`Session`] and the [`Store`], and events and commands between the session and
//! the owner of the swarm; it decides nothing. Nothing in it waits for the owner's commands to be read or for a disk:
//! while a part is verified, or the writer is behind, the other direction and the commands go on.
//!
//! Invariant: a part that [`Event::Released`] or [`Event::Closed`] sets free is put away before the owner hears of it;
//! a part told as [`Event::Right`] is handed to the writer, whatever becomes of the connection.
//!
//! What it costs an attacker: a connection holds 64 KiB to read into, up to 1 MiB while a message of that length comes,
//! and 256 KiB to write from; reading rests while the other side does not take what it asked for.

use std::time::Instant;

use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
    sync::mpsc,
    time::{Sleep, sleep_until},
};

use super::{
    Closed, Command, Event, PeerKey,
    receive::{Judged, Receiver},
    session::{Fault, MAX_REQUEST, Session},
    socket,
    transmit::Transmitter,
};
use crate::{
    net::limiter::Limiter,
    storage::Store,
    time::Time,
    wire::decode::{DecodeError, Limits},
};

/// What a conversation is made of.
pub struct Link {
    pub key: PeerKey,
    pub stream: TcpStream,
    pub session: Session,
    pub store: Store,
    /// What the owner of the swarm says. When it is closed, so is the conversation.
    pub commands: mpsc::Receiver<Command>,
    /// What the owner hears: one batch a wake-up, the last ends with [`Event::Closed`].
    pub events: mpsc::Sender<(PeerKey, Vec<Event>)>,
    /// When time was zero.
    pub start: Instant,
    pub upload: Limiter,
    pub download: Limiter,
}

/// What both directions work with.
pub(super) struct Talk {
    pub key: PeerKey,
    pub stream: TcpStream,
    pub session: Session,
    pub store: Store,
    start: Instant,
}

impl Talk {
    pub fn now(&self) -> Time {
        self.start.elapsed()
    }
}

/// Why one direction stopped for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It had its share; there is more to do.
    More,
    /// The socket has nothing, or takes nothing.
    Socket,
    /// There is nothing to say; or nothing more is read until what was said is taken.
    Nothing,
    /// The disk has to do something first.
    Disk,
    /// The limit is used up until then.
    Until(Time),
}

/// Carries this conversation to its end.
pub async fn run(link: Link) {
    let mut driver = Driver::new(link);
    let closed = match driver.converse().await {
        Err(closed) => closed,
        Ok(never) => match never {},
    };
    driver.end(closed).await;
}

struct Driver {
    talk: Talk,
    receiver: Receiver,
    transmitter: Transmitter,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<(PeerKey, Vec<Event>)>,
    /// Since when bytes may wait in the socket because something else keeps us from reading.
    unread_since: Option<Time>,
}

/// What a wait ended with.
enum Woken {
    Ready,
    Told(Option<Command>),
    Judged(Judged),
}

impl Driver {
    fn new(link: Link) -> Self {
        Self {
            receiver: Receiver::new(Limits { block: MAX_REQUEST }, link.download),
            transmitter: Transmitter::new(link.upload),
            talk: Talk {
                key: link.key,
                stream: link.stream,
                session: link.session,
                store: link.store,
                start: link.start,
            },
            commands: link.commands,
            events: link.events,
            unread_since: None,
        }
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, Closed> {
        socket::prepare(&self.talk.stream).map_err(|e| Closed::Broken(e.to_string()))?;
        let mut alarm = Box::pin(sleep_until(Instant::now().into()));
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command)?;
            }
            self.note_unread();
            let came = self.receiver.turn(&mut self.talk)?;
            // After reading: a program that stood still judges nobody by what lay unread meanwhile.
            self.on_time()?;
            if matches!(came, Turn::Disk | Turn::Nothing | Turn::Until(_)) {
                self.unread_since = Some(self.talk.now());
            }
            let went = self.transmitter.turn(&mut self.talk)?;
            self.report(None).await;
            let heard = came == Turn::Nothing && self.talk.session.takes_input();
            if came == Turn::More || went == Turn::More || heard {
                tokio::task::yield_now().await;
                continue;
            }
            match self.wait(came, went, alarm.as_mut()).await? {
                Woken::Ready => {}
                Woken::Told(Some(command)) => self.obey(command)?,
                Woken::Told(None) => return Err(Closed::ByUs("this member leaves")),
                Woken::Judged(judged) => self.receiver.on_verdict(judged, &mut self.talk),
            }
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), Closed> {
        match command {
            Command::Fetch(part) => self.receiver.fetch(part, &mut self.talk),
            Command::Close(why) => return Err(Closed::ByUs(why)),
            command => self.talk.session.command(command, self.talk.now()),
        }
        Ok(())
    }

    /// Time in which this side did not read counts for nobody's silence.
    fn note_unread(&mut self) {
        if let Some(since) = self.unread_since.take() {
            let now = self.talk.now();
            self.talk.session.on_unread(now.saturating_sub(since), now);
        }
    }

    fn on_time(&mut self) -> Result<(), Closed> {
        let now = self.talk.now();
        if now >= self.talk.session.deadline() {
            self.talk.session.on_deadline(now)?;
        }
        if self.transmitter.deadline().is_some_and(|at| now >= at) {
            self.transmitter.on_deadline(&mut self.talk, now)?;
        }
        Ok(())
    }

    /// Tells the owner what happened. Parts that are free again are put away first.
    async fn report(&mut self, last: Option<Closed>) {
        let mut batch = Vec::new();
        while let Some(event) = self.talk.session.next_event() {
            if let Event::Released { part, .. } = event {
                self.receiver.put_away(part, &self.talk);
            }
            batch.push(event);
        }
        batch.extend(last.map(Event::Closed));
        if !batch.is_empty() {
            // Without an owner there is nobody to tell, and its end of the commands is closed too.
            let _ = self.events.send((self.talk.key, batch)).await;
        }
    }

    async fn wait(&mut self, came: Turn, went: Turn, mut alarm: std::pin::Pin<&mut Sleep>) -> Result<Woken, Closed> {
        let wake = self.next_deadline(came, went);
        let wake = (self.talk.start + wake).into();
        // Deadlines mostly move away; an alarm that comes early costs less than to set it anew each time.
        if wake < alarm.deadline() || alarm.is_elapsed() {
            alarm.as_mut().reset(wake);
        }
        let interest = match (came == Turn::Socket, went == Turn::Socket) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let stream = &self.talk.stream;
        let ready = stream.ready(interest.unwrap_or(Interest::READABLE));
        Ok(tokio::select! {
            ready = ready, if interest.is_some() => {
                ready.map_err(|e| Closed::Broken(e.to_string()))?;
                Woken::Ready
            }
            command = self.commands.recv() => Woken::Told(command),
            judged = self.receiver.disk_done(&self.talk.store), if came == Turn::Disk => {
                judged.map_or(Woken::Ready, Woken::Judged)
            }
            () = self.transmitter.warmed(), if went == Turn::Disk => Woken::Ready,
            () = alarm => Woken::Ready,
        })
    }

    fn next_deadline(&self, came: Turn, went: Turn) -> Time {
        let limits = [came, went].into_iter().filter_map(|turn| match turn {
            Turn::Until(time) => Some(time),
            Turn::More | Turn::Socket | Turn::Nothing | Turn::Disk => None,
        });
        limits.chain(self.transmitter.deadline()).fold(self.talk.session.deadline(), Time::min)
    }

    /// Says what there is still to say, as far as the socket takes it at once, and puts everything away.
    async fn end(&mut self, closed: Closed) {
        if matches!(closed, Closed::ByUs(_)) && self.transmitter.turn(&mut self.talk).is_ok() {
            let _ = self.talk.stream.shutdown().await;
        }
        self.receiver.finish(&mut self.talk).await;
        self.report(Some(closed)).await;
    }
}

impl From<Fault> for Closed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault.0)
    }
}

impl From<DecodeError> for Closed {
    fn from(error: DecodeError) -> Self {
        Self::Fault(error.to_string())
    }
}

#[cfg(test)]
mod tests;
