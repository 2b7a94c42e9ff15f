//! One composition of a member on its live link, from its hello to its end: what it says in the table and to the hub, and
//! what the member is told.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    copies::Nth,
    hub::{self, News, Ticket},
};
use crate::{
    announce::{
        Event, Listed,
        live::{Copy, Hello, Progress, Told},
    },
    conductor::{Desk, table::Caller},
};
use futures_util::Stream;

/// Copies in one message: with the longest names it is no longer than a message may be.
const COPIES: usize = 64;

pub struct Strand {
    hello: Hello,
    pub ticket: Ticket,
    /// The last copy that its member was told of.
    told: Nth,
    /// It waits for its turn to tell more copies.
    pub waits: bool,
}

/// What is to be told over one strand, and at last that it has ended.
pub struct Queue {
    ticket: Ticket,
    news: Option<hub::Queue>,
}

impl Stream for Queue {
    /// None: the hub wants the strand to end.
    type Item = (Ticket, Option<News>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(news) = &mut self.news else { return Poll::Ready(None) };
        let next = ready!(news.poll(context));
        if next.is_none() {
            self.news = None;
        }
        Poll::Ready(Some((self.ticket, next)))
    }
}

impl Strand {
    /// Puts the member into the table; and what it is to be told: who is there, or why it is not taken.
    pub fn begin(hello: Hello, desk: &Desk, caller: &Caller) -> (Option<(Self, Queue)>, Vec<Told>) {
        let hello = hello.cut();
        desk.greet(&hello, caller);
        let announce = hello.announce(Some(Event::Started), None);
        let home = desk.table().home(&announce, caller).address;
        let (ticket, news) = desk.hub().enter(&hello, caller, home);
        let strand = Self { hello, ticket, told: 0, waits: false };
        let (mut members, mut named) = (Vec::new(), Vec::new());
        let list = |listed: Listed| {
            members.push(listed.address);
            if listed.claimed {
                named.push(listed.address);
            }
            true
        };
        if let Err(refusal) = desk.hear(&announce, caller, list) {
            strand.end(false, desk, caller);
            return (None, vec![Told::Refused { why: refusal.to_string() }]);
        }
        desk.hub().take_in(ticket);
        let closed = desk.closed_at(&announce, caller);
        let mut told: Vec<Told> = closed.map(|address| Told::Reach { address, open: false }).into_iter().collect();
        told.push(Told::Members { members, named });
        (Some((strand, Queue { ticket, news: Some(news) })), told)
    }

    /// The next copies that its member was not told of, and the last of them.
    pub fn copies(&self, desk: &Desk) -> (Vec<Copy>, Nth) {
        desk.hub().copies_after(self.ticket, self.told, COPIES)
    }

    /// Its member is told of the copies up to this one; whether any was new.
    pub fn has_told(&mut self, last: Nth) -> bool {
        std::mem::replace(&mut self.told, last) != last
    }

    /// Takes in how far the member is; false: it is not taken any more.
    pub fn on_progress(&mut self, progress: Progress, desk: &Desk, caller: &Caller) -> bool {
        let progress = progress.cut();
        let completed = self.hello.progress.left > 0 && progress.left == 0;
        self.hello.progress = progress.clone();
        desk.hub().report(self.ticket, progress);
        !completed || self.announce(Some(Event::Completed), desk, caller)
    }

    /// Says in the table what is known of the member; false: it is not taken any more.
    pub fn announce(&self, event: Option<Event>, desk: &Desk, caller: &Caller) -> bool {
        desk.hear(&self.hello.announce(event, Some(0)), caller, |_| false).is_ok()
    }

    /// Takes the member out of the table, unless it has another strand. `left`: it said that it leaves.
    pub fn end(self, left: bool, desk: &Desk, caller: &Caller) {
        if desk.hub().leave(self.ticket) {
            desk.tell_parted(&self.hello, caller);
            let announce = self.hello.announce(Some(Event::Stopped), Some(0));
            match left {
                true => _ = desk.hear(&announce, caller, |_| false),
                false => desk.cut_off(&announce, caller),
            }
        }
    }
}

/// News of one strand as messages.
pub fn tell(news: Vec<News>) -> Vec<Told> {
    let (mut joined, mut named, mut left) = (Vec::new(), Vec::new(), Vec::new());
    let mut told = Vec::new();
    let drop_from = |all: &mut Vec<_>, address| all.retain(|other| *other != address);
    for news in news {
        match news {
            News::Joined { address, named: is_named } => {
                drop_from(&mut left, address);
                drop_from(&mut named, address);
                joined.push(address);
                if is_named {
                    named.push(address);
                }
            }
            News::Left(address) => {
                drop_from(&mut joined, address);
                drop_from(&mut named, address);
                left.push(address);
            }
            // The link asks for them in its turn.
            News::Whole => {}
            News::Reach { address, open } => told.push(Told::Reach { address, open }),
        }
    }
    if !(joined.is_empty() && left.is_empty()) {
        told.push(Told::Changes { joined, named, left });
    }
    told
}
