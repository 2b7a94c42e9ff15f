//! All live links, by swarm: what each member last said, and what it is still to hear. A link here is a strand of one: of
//! one composition.
//!
//! It is called under the table's locks and never asks the table itself. A link takes news from a bounded queue: who does not
//! keep up misses joins and leaves, which the next announce brings. Of copies the queue only says that there are more:
//! the link asks for them a few at a time, as its member takes them, and so misses none.
//!
//! What it costs an attacker: [`room`](crate::conductor::room) bounds the links, the table's room for one address
//! their strands, [`copies`](super::copies) what is remembered when they left. A join costs a word to each link of its
//! swarm, up to [`AUDIENCE`]; who is not told then hears of it with its next announce. Words that wait for links that do not
//! take them are bounded over all, by [`MAX_WAITING`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use super::copies::{Copies, Nth};
use crate::{
    announce::{
        Announce,
        live::{Copy, Hello, Progress},
    },
    conductor::{
        shared::glimpse::Glimpse,
        table::{Caller, Change, What, is_private, shown},
    },
    metainfo::InfoHash,
    time::Time,
    wire::{
        copy_id::{CopyId, Holder},
        handshake::PeerId,
    },
};

/// News that may wait for one link.
const QUEUE: usize = 512;
/// News that may wait for one link, where much waits for all of them.
const QUEUE_UNDER_LOAD: usize = 32;
/// News that may wait for all links together: 20 MiB.
const MAX_WAITING: usize = 500_000;
/// Addresses beside it that a newcomer hears of, at most.
const BESIDE: usize = 128;
/// Links of one swarm that hear of one change, at most.
const AUDIENCE: usize = 4096;
/// Another conductor says again within this time that a member has a link to it.
const ELSEWHERE: Time = Time::from_secs(45);
/// Members of one swarm with links to other conductors, at most.
const MAX_ELSEWHERE: usize = 10_000;

/// What a link is to tell its member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Joined {
        address: SocketAddr,
        /// The member only named it, on a network on which it was not seen.
        named: bool,
    },
    Left(SocketAddr),
    /// There are copies that it was not told of: [`Hub::copies_after`] has them.
    Whole,
    Reach {
        address: SocketAddr,
        open: bool,
    },
}

/// What one link is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    info_hash: InfoHash,
    nth: u64,
}

impl Ticket {
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }
}

/// A member as its link shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Where it is seen from here.
    pub home: SocketAddr,
    pub name: String,
    pub progress: Progress,
}

struct Link {
    who: (PeerId, u32),
    copy: Option<CopyId>,
    caller: Caller,
    near: Vec<SocketAddr>,
    seen: Seen,
    /// The other conductors were told what it says.
    told: bool,
    /// It knows that there are copies that it has not asked for.
    woken: bool,
    news: Sender<News>,
}

/// A member with a link to another conductor.
struct Elsewhere {
    seen: Seen,
    until: Time,
}

#[derive(Default)]
struct Gathering {
    links: BTreeMap<u64, Link>,
    elsewhere: BTreeMap<(PeerId, u32), Elsewhere>,
}

#[derive(Default)]
struct State {
    gatherings: HashMap<InfoHash, Gathering>,
    copies: Copies,
}

#[derive(Default)]
pub struct Hub {
    state: Mutex<State>,
    next: AtomicU64,
    /// News that wait for links.
    waiting: Arc<AtomicUsize>,
}

/// The news of one link, in the order in which they came.
#[derive(Debug)]
pub struct Queue {
    news: Receiver<News>,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    /// The next; None at the end.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<News>> {
        let next = self.news.poll_recv(context);
        if matches!(next, Poll::Ready(Some(_))) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        next
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.news.close();
        while self.news.try_recv().is_ok() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Hub {
    /// Takes a link in, in place of an older one of the same member, which is taken to listen at `home`. The queue ends when
    /// the link is to end. It counts, and others hear of it, from [`Hub::take_in`] on.
    pub fn enter(&self, hello: &Hello, caller: &Caller, home: SocketAddr) -> (Ticket, Queue) {
        let (news, queue) = mpsc::channel(QUEUE);
        let ticket = Ticket { info_hash: hello.info_hash, nth: self.next.fetch_add(1, Ordering::Relaxed) };
        let link = Link {
            who: (hello.peer_id, hello.key),
            copy: hello.copy,
            caller: *caller,
            near: near(hello, caller),
            seen: Seen { home, name: hello.name.clone(), progress: hello.progress.clone() },
            told: false,
            woken: false,
            news,
        };
        let mut state = self.lock();
        let gathering = state.gatherings.entry(hello.info_hash).or_default();
        gathering.links.retain(|_, other| other.who != link.who);
        gathering.elsewhere.remove(&link.who);
        gathering.links.insert(ticket.nth, link);
        (ticket, Queue { news: queue, waiting: self.waiting.clone() })
    }

    /// The member of this link is in the table: others hear of it.
    pub fn take_in(&self, ticket: Ticket) {
        let mut state = self.lock();
        let Some(gathering) = state.gatherings.get(&ticket.info_hash) else { return };
        let Some(link) = gathering.links.get(&ticket.nth) else { return };
        gathering.introduce(ticket.nth, link, &self.waiting);
        if link.seen.progress.left == 0 {
            self.has_completed(&mut state, ticket);
        }
    }

    /// Up to `most` copies that are whole, after this one; and the last that was looked at. The link hears when there are
    /// more, unless there are some already.
    pub fn copies_after(&self, ticket: Ticket, nth: Nth, most: usize) -> (Vec<Copy>, Nth) {
        let mut state = self.lock();
        let State { gatherings, copies } = &mut *state;
        let links = gatherings.get_mut(&ticket.info_hash).map(|gathering| &mut gathering.links);
        let Some(link) = links.and_then(|links| links.get_mut(&ticket.nth)) else { return (Vec::new(), nth) };
        link.woken = false;
        copies.after(&ticket.info_hash, nth, &link.holder(), most)
    }

    /// What its member says now.
    pub fn report(&self, ticket: Ticket, progress: Progress) {
        let mut state = self.lock();
        let Some(gathering) = state.gatherings.get_mut(&ticket.info_hash) else { return };
        let Some(link) = gathering.links.get_mut(&ticket.nth) else { return };
        let completed = link.seen.progress.left > 0 && progress.left == 0;
        link.seen.progress = progress;
        link.told = false;
        if completed {
            self.has_completed(&mut state, ticket);
        }
    }

    /// Takes a link out. False: another link of its member took its place, or it did not keep up.
    pub fn leave(&self, ticket: Ticket) -> bool {
        let mut state = self.lock();
        let Some(gathering) = state.gatherings.get_mut(&ticket.info_hash) else { return false };
        let was_in = gathering.links.remove(&ticket.nth).is_some();
        state.forget_if_empty(&ticket.info_hash);
        was_in
    }

    /// Spreads a change of the table.
    pub fn tell(&self, change: &Change) {
        let mut state = self.lock();
        let Some(gathering) = state.gatherings.get_mut(&change.info_hash) else { return };
        let of = |link: &mut Link| {
            let address = change.shown_to(&link.caller)?;
            match change.what {
                _ if link.seen.home == change.address => None,
                What::Joined | What::Moved => Some(News::Joined { address, named: change.claimed }),
                What::Left | What::Gone | What::Silent | What::Crowded => {
                    (!change.stays).then_some(News::Left(address))
                }
                What::Replaced | What::Completed => None,
            }
        };
        gathering.links.retain(spread(&self.waiting, of));
    }

    /// Whether this member has a link here that names this address too.
    pub fn is_named(&self, announce: &Announce, ip: IpAddr) -> bool {
        let state = self.lock();
        let links =
            state.gatherings.get(&announce.info_hash).into_iter().flat_map(|gathering| gathering.links.values());
        let who = announce.key.map(|key| (announce.id, key));
        links.filter(|link| Some(link.who) == who).any(|link| link.seen.home.ip() == ip.to_canonical())
    }

    /// Tells a member whether it can be reached.
    pub fn reached(&self, info_hash: &InfoHash, at: SocketAddr, open: bool) {
        let mut state = self.lock();
        let Some(gathering) = state.gatherings.get_mut(info_hash) else { return };
        let word = News::Reach { address: at, open };
        gathering.links.retain(spread(&self.waiting, |link| (link.seen.home == at).then(|| word.clone())));
    }

    /// The members of a swarm that have a link, here or to another conductor.
    pub fn seen(&self, info_hash: &InfoHash) -> Vec<Seen> {
        let state = self.lock();
        state.gatherings.get(info_hash).into_iter().flat_map(Gathering::seen).cloned().collect()
    }

    /// Bytes a second that the members of a swarm with a link receive together. The addresses of their machines are added
    /// to `machines`; how many members that are is returned too.
    pub fn rate(&self, info_hash: &InfoHash, machines: &mut HashSet<IpAddr>) -> (u64, usize) {
        let state = self.lock();
        let all = state.gatherings.get(info_hash).into_iter().flat_map(Gathering::seen);
        all.fold((0, 0), |(rate, count), seen| {
            machines.insert(seen.home.ip());
            (rate.saturating_add(seen.progress.rate_down), count + 1)
        })
    }

    /// What the members with a link here say, for other conductors: what is new, or `all`.
    pub fn glimpses(&self, all: bool) -> Vec<Glimpse> {
        let mut glimpses = Vec::new();
        for (info_hash, gathering) in self.lock().gatherings.iter_mut() {
            for link in gathering.links.values_mut().filter(|link| all || !link.told) {
                link.told = true;
                let ((peer_id, key), copy, Seen { home, name, progress }) = (link.who, link.copy, link.seen.clone());
                let (info_hash, progress) = (*info_hash, Some(progress));
                glimpses.push(Glimpse { info_hash, peer_id, key, home, name, copy, progress, got: None });
            }
        }
        glimpses
    }

    /// What a member says that has its link to another conductor; whether it was not known before.
    pub fn see(&self, glimpse: Glimpse, now: Time) -> bool {
        let Glimpse { info_hash, peer_id, key, home, name, copy, progress, .. } = glimpse;
        let mut state = self.lock();
        let gathering = state.gatherings.entry(info_hash).or_default();
        let who = (peer_id, key);
        let is_here = gathering.links.values().any(|link| link.who == who);
        let mut is_new = false;
        let room = gathering.elsewhere.len() < MAX_ELSEWHERE || gathering.elsewhere.contains_key(&who);
        match progress {
            Some(progress) if !is_here && room => {
                let whole = (progress.left == 0).then(|| Copy { peer_id, name: name.clone(), copy });
                let seen = Seen { home, name, progress };
                is_new = gathering.elsewhere.insert(who, Elsewhere { seen, until: now + ELSEWHERE }).is_none();
                if let Some(copy) = whole {
                    self.is_whole(&mut state, info_hash, copy, home.ip());
                }
            }
            Some(_) => {}
            None => _ = gathering.elsewhere.remove(&who),
        }
        state.forget_if_empty(&info_hash);
        is_new
    }

    /// Forgets members of which their conductor says no more.
    pub fn forget_old(&self, now: Time) {
        let mut state = self.lock();
        let mut empty = Vec::new();
        for (info_hash, gathering) in &mut state.gatherings {
            gathering.elsewhere.retain(|_, other| now < other.until);
            if gathering.is_empty() {
                empty.push(*info_hash);
            }
        }
        empty.iter().for_each(|info_hash| state.forget_if_empty(info_hash));
    }

    /// The swarms in which somebody has a link, here or to another conductor.
    pub fn swarms(&self) -> Vec<InfoHash> {
        self.lock().gatherings.keys().copied().collect()
    }

    /// Links in all.
    pub fn links(&self) -> usize {
        self.lock().gatherings.values().map(|gathering| gathering.links.len()).sum()
    }

    fn has_completed(&self, state: &mut State, ticket: Ticket) {
        let link = state.gatherings.get(&ticket.info_hash).and_then(|gathering| gathering.links.get(&ticket.nth));
        if let Some(link) = link {
            let copy = Copy { peer_id: link.who.0, name: link.seen.name.clone(), copy: link.copy };
            let source = link.caller.source;
            self.is_whole(state, ticket.info_hash, copy, source);
        }
    }

    /// Everybody but its own holder hears of a copy once, and of each new name that it is under.
    fn is_whole(&self, state: &mut State, info_hash: InfoHash, copy: Copy, source: IpAddr) {
        let holder = copy.holder();
        if state.copies.add(info_hash, copy, source)
            && let Some(gathering) = state.gatherings.get_mut(&info_hash)
        {
            let wake = |link: &mut Link| {
                let is_new = !link.woken && link.holder() != holder;
                link.woken |= is_new;
                is_new.then_some(News::Whole)
            };
            gathering.links.retain(spread(&self.waiting, wake));
        }
    }

    // A panic under the lock is a bug of one call; the others go on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets a swarm that nobody is seen in.
    fn forget_if_empty(&mut self, info_hash: &InfoHash) {
        if self.gatherings.get(info_hash).is_some_and(Gathering::is_empty) {
            self.gatherings.remove(info_hash);
            self.copies.forget(info_hash);
        }
    }
}

impl Gathering {
    /// Members behind one address hear of each other where they are on the inside.
    fn introduce(&self, nth: u64, newcomer: &Link, waiting: &AtomicUsize) {
        let beside = || {
            let others = self.links.iter().filter(move |(other, _)| **other != nth).map(|(_, link)| link);
            others.filter(|link| link.caller.source == newcomer.caller.source)
        };
        let tell =
            |to: &Link, address: &SocketAddr| _ = to.tell(News::Joined { address: *address, named: true }, waiting);
        beside().flat_map(|link| &link.near).take(BESIDE).for_each(|address| tell(newcomer, address));
        for link in beside().take(AUDIENCE) {
            newcomer.near.iter().for_each(|address| tell(link, address));
        }
    }

    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.elsewhere.is_empty()
    }

    fn seen(&self) -> impl Iterator<Item = &Seen> {
        let elsewhere = self.elsewhere.values().map(|other| &other.seen);
        self.links.values().map(|link| &link.seen).chain(elsewhere)
    }
}

impl Link {
    /// What its copy is counted under.
    fn holder(&self) -> Holder {
        Holder::of(self.copy, self.who.0)
    }

    /// Has this wait for the link, if there is room; whether the link still takes news.
    fn tell(&self, news: News, waiting: &AtomicUsize) -> bool {
        let all = waiting.load(Ordering::Relaxed);
        let most = if all < MAX_WAITING / 2 { QUEUE } else { QUEUE_UNDER_LOAD };
        let is_full = all >= MAX_WAITING || self.news.max_capacity() - self.news.capacity() >= most;
        // One at most waits of those that wake a link.
        if is_full && news != News::Whole {
            return !self.news.is_closed();
        }
        // Counted first, so that it is never taken off before.
        waiting.fetch_add(1, Ordering::Relaxed);
        match self.news.try_send(news) {
            Ok(()) => true,
            Err(refused) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                matches!(refused, TrySendError::Full(_))
            }
        }
    }
}

/// Gives each link its news, until enough heard; says which links stay.
fn spread(
    waiting: &AtomicUsize,
    mut news: impl FnMut(&mut Link) -> Option<News>,
) -> impl FnMut(&u64, &mut Link) -> bool {
    let mut told = 0;
    move |_, link| {
        let Some(word) = (told < AUDIENCE).then(|| news(link)).flatten() else { return true };
        told += 1;
        link.tell(word, waiting)
    }
}

/// Where a member is on the inside, if it is seen from elsewhere.
fn near(hello: &Hello, caller: &Caller) -> Vec<SocketAddr> {
    let own = hello.near.iter().map(|ip| ip.to_canonical());
    let inside = own.filter(|ip| is_private(*ip) && *ip != caller.source && !caller.source.is_loopback());
    inside.filter_map(|ip| shown(SocketAddr::new(ip, hello.port), &Caller::new(ip, ip))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::live::VERSION;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn hello(n: u8, near: &[&str]) -> Hello {
        Hello {
            v: VERSION,
            info_hash: HASH,
            peer_id: PeerId([n; 20]),
            key: n.into(),
            port: 7000 + u16::from(n),
            ip: None,
            near: near.iter().map(|ip| ip.parse().unwrap()).collect(),
            name: format!("node{n}"),
            copy: None,
            progress: Progress { left: 9, ..Progress::default() },
        }
    }

    fn caller(ip: &str) -> Caller {
        Caller::new(ip.parse().unwrap(), IpAddr::from([9, 9, 9, 9]))
    }

    /// A link that is taken, and who else has all of it.
    fn enter(hub: &Hub, hello: &Hello, caller: &Caller) -> (Ticket, Queue, Vec<Copy>) {
        let (ticket, queue) = hub.enter(hello, caller, SocketAddr::new(caller.source, hello.port));
        hub.take_in(ticket);
        (ticket, queue, hub.copies_after(ticket, 0, 99).0)
    }

    fn heard(queue: &mut Queue) -> Vec<News> {
        std::iter::from_fn(|| queue.news.try_recv().ok())
            .inspect(|_| _ = queue.waiting.fetch_sub(1, Ordering::Relaxed))
            .collect()
    }

    fn change(address: &str, what: What) -> Change {
        let address = address.parse().unwrap();
        Change { info_hash: HASH, address, claimed: false, dial: true, stays: false, what, members: 2, word_of: None }
    }

    #[test]
    fn all_but_the_member_itself_hear_of_a_change() {
        let hub = Hub::default();
        let (_, mut one, _) = enter(&hub, &hello(1, &[]), &caller("10.0.0.1"));
        let (_, mut two, _) = enter(&hub, &hello(2, &[]), &caller("10.0.0.2"));
        hub.tell(&change("10.0.0.2:7002", What::Joined));
        hub.tell(&change("10.0.0.2:7002", What::Gone));
        let at = "10.0.0.2:7002".parse().unwrap();
        assert_eq!(heard(&mut one), [News::Joined { address: at, named: false }, News::Left(at)]);
        assert_eq!(heard(&mut two), []);
        hub.reached(&HASH, at, false);
        assert_eq!(heard(&mut two), [News::Reach { address: at, open: false }]);
    }

    #[test]
    fn nobody_is_told_that_an_address_is_left_where_another_stays() {
        let hub = Hub::default();
        let (_, mut one, _) = enter(&hub, &hello(1, &[]), &caller("10.0.0.1"));
        hub.tell(&Change { claimed: true, ..change("10.0.0.2:7002", What::Joined) });
        hub.tell(&Change { stays: true, ..change("10.0.0.2:7002", What::Left) });
        assert_eq!(heard(&mut one), [News::Joined { address: "10.0.0.2:7002".parse().unwrap(), named: true }]);
    }

    #[test]
    fn who_has_it_whole_is_told_once_and_stays_known_when_it_left() {
        let hub = Hub::default();
        let (one, mut news, _) = enter(&hub, &hello(1, &[]), &caller("10.0.0.1"));
        let (two, _queue, _) = enter(&hub, &hello(2, &[]), &caller("10.0.0.2"));
        hub.report(two, Progress::default());
        hub.report(two, Progress::default());
        let copy = Copy { peer_id: PeerId([2; 20]), name: "node2".into(), copy: None };
        assert_eq!(heard(&mut news), [News::Whole]);
        assert_eq!(hub.copies_after(one, 0, 9).0, std::slice::from_ref(&copy));
        assert!(hub.leave(two));
        let (_, _, copies) = enter(&hub, &hello(3, &[]), &caller("10.0.0.3"));
        assert_eq!(copies, [copy]);
    }

    #[test]
    fn who_is_not_taken_counts_for_nobody() {
        let hub = Hub::default();
        let (one, mut news, _) = enter(&hub, &hello(1, &["192.168.0.1"]), &caller("1.2.3.4"));
        let whole = Hello { progress: Progress::default(), ..hello(2, &["192.168.0.2"]) };
        let (refused, _queue) = hub.enter(&whole, &caller("1.2.3.4"), "1.2.3.4:7002".parse().unwrap());
        assert!(hub.leave(refused));
        assert_eq!((heard(&mut news), hub.copies_after(one, 0, 9).0), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_waits_for_links_that_do_not_take_it_is_bounded_over_all() {
        let hub = Hub::default();
        let links = MAX_WAITING / QUEUE;
        let home: SocketAddr = "10.9.9.9:1".parse().unwrap();
        let queues: Vec<Queue> = (0..links as u32)
            .map(|n| hub.enter(&Hello { key: n, ..hello(1, &[]) }, &caller("10.0.0.1"), home).1)
            .collect();
        (0..=QUEUE).for_each(|_| hub.tell(&change("10.0.0.2:7002", What::Joined)));
        let waiting = hub.waiting.load(Ordering::Relaxed);
        assert!(waiting <= MAX_WAITING / 2 + links * QUEUE_UNDER_LOAD, "{waiting}");
        assert_eq!(waiting, queues.iter().map(|queue| queue.news.len()).sum::<usize>());
        assert_eq!(hub.links(), links, "who is alive stays");
        drop(queues);
        assert_eq!(hub.waiting.load(Ordering::Relaxed), 0);
    }

    /// A hello in the life `n` of the member that holds this copy, under this name.
    fn life(n: u8, copy: u8, name: &str) -> Hello {
        Hello { copy: Some(CopyId([copy; 8])), name: name.to_owned(), ..hello(n, &[]) }
    }

    #[test]
    fn a_copy_is_told_once_however_often_its_member_is_started_anew() {
        let hub = Hub::default();
        let (one, _news, _) = enter(&hub, &life(1, 1, "one"), &caller("10.0.0.1"));
        let (mut told, mut last) = (Vec::new(), 0);
        for (n, name) in [(2, "vm"), (3, "vm"), (4, "node7")] {
            let (ticket, mut own, copies) = enter(&hub, &life(n, 2, name), &caller("10.0.0.2"));
            hub.report(ticket, Progress::default());
            let (new, nth) = hub.copies_after(one, last, 9);
            (told, last) = ([told, new].concat(), nth);
            assert!(hub.leave(ticket));
            assert_eq!((copies, heard(&mut own)), (Vec::new(), Vec::new()), "its own earlier lives are no others");
        }
        let copy =
            |n: u8, name: &str| Copy { peer_id: PeerId([n; 20]), name: name.to_owned(), copy: Some(CopyId([2; 8])) };
        assert_eq!(told, [copy(2, "vm"), copy(4, "node7")], "again under a new name");
        let (_, _queue, copies) = enter(&hub, &life(5, 5, "late"), &caller("10.0.0.5"));
        assert_eq!(copies, [copy(4, "node7")]);
    }

    #[test]
    fn other_conductors_hear_which_copy_it_is() {
        let (here, there) = (Hub::default(), Hub::default());
        let (one, _news, _) = enter(&here, &hello(1, &[]), &caller("10.0.0.1"));
        for n in 2..5 {
            let (ticket, _queue, _) = enter(&there, &life(n, 2, "vm"), &caller("10.0.0.2"));
            there.report(ticket, Progress::default());
            there.glimpses(false).into_iter().for_each(|glimpse| _ = here.see(glimpse, Time::ZERO));
            assert!(there.leave(ticket));
        }
        assert_eq!(here.copies_after(one, 0, 9).0.len(), 1);
    }

    #[test]
    fn who_names_the_copy_of_another_takes_none_out_of_the_count() {
        let hub = Hub::default();
        let whole = |hello: Hello| Hello { progress: Progress::default(), ..hello };
        for hello in [life(2, 2, "two"), hello(3, &[]), life(4, 2, "bad"), Hello { copy: None, ..life(2, 2, "bad") }] {
            enter(&hub, &whole(hello), &caller("10.0.0.2"));
        }
        enter(&hub, &whole(life(3, 2, "bad")), &caller("10.0.0.3"));
        let (_, _queue, copies) = enter(&hub, &hello(1, &[]), &caller("10.0.0.1"));
        assert_eq!(copies.len(), 3);
    }

    #[test]
    fn members_of_another_conductor_are_seen_until_it_says_no_more_of_them() {
        let (here, there) = (Hub::default(), Hub::default());
        let (one, mut news, _) = enter(&here, &hello(1, &[]), &caller("10.0.0.1"));
        let (two, _queue, _) = enter(&there, &hello(2, &[]), &caller("10.0.0.2"));
        let tells = |all| there.glimpses(all).into_iter().for_each(|glimpse| _ = here.see(glimpse, Time::ZERO));
        let lacks = || here.seen(&HASH).iter().map(|seen| (seen.name.clone(), seen.progress.left)).collect::<Vec<_>>();
        tells(false);
        assert_eq!(lacks(), [("node1".into(), 9), ("node2".into(), 9)]);
        assert!(there.glimpses(false).is_empty() && there.glimpses(true).len() == 1);
        there.report(two, Progress::default());
        tells(false);
        assert_eq!(lacks()[1], ("node2".into(), 0));
        assert_eq!(heard(&mut news), [News::Whole]);
        let copy = Copy { peer_id: PeerId([2; 20]), name: "node2".into(), copy: None };
        assert_eq!(here.copies_after(one, 0, 9).0, [copy]);
        let mut gone = there.glimpses(true).remove(0);
        gone.progress = None;
        here.see(gone, Time::ZERO);
        assert_eq!(lacks().len(), 1);
        tells(true);
        here.forget_old(ELSEWHERE);
        assert_eq!((lacks().len(), here.links()), (1, 1));
        let (_, _queue, _) = enter(&here, &hello(2, &[]), &caller("10.0.0.2"));
        tells(true);
        assert_eq!(lacks().len(), 2, "it has come here");
    }

    #[test]
    fn a_second_link_of_a_member_ends_the_first() {
        let hub = Hub::default();
        let (first, mut news, _) = enter(&hub, &hello(1, &[]), &caller("10.0.0.1"));
        let (second, _queue, _) = enter(&hub, &hello(1, &[]), &caller("10.0.0.1"));
        assert!(matches!(news.news.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
        assert!(!hub.leave(first) && hub.leave(second));
        assert_eq!((hub.links(), hub.swarms().len()), (0, 0));
    }

    #[test]
    fn members_behind_one_router_hear_where_they_are_inside() {
        let hub = Hub::default();
        let (_, mut one, _) = enter(&hub, &hello(1, &["192.168.0.1", "8.8.8.8"]), &caller("1.2.3.4"));
        let (_, mut two, _) = enter(&hub, &hello(2, &["192.168.0.2"]), &caller("1.2.3.4"));
        let (_, mut far, _) = enter(&hub, &hello(3, &["192.168.0.3"]), &caller("1.2.3.5"));
        let beside = |address: &str| [News::Joined { address: address.parse().unwrap(), named: true }];
        assert_eq!(heard(&mut one), beside("192.168.0.2:7002"));
        assert_eq!(heard(&mut two), beside("192.168.0.1:7001"));
        assert_eq!(heard(&mut far), []);
    }

    #[test]
    fn a_link_that_does_not_keep_up_misses_joins_and_no_copy() {
        let hub = Hub::default();
        let (slow, _queue, _) = enter(&hub, &hello(1, &[]), &caller("10.0.0.1"));
        (0..=QUEUE).for_each(|_| hub.tell(&change("10.0.0.2:7002", What::Joined)));
        assert_eq!(hub.links(), 1);
        let (other, _other, _) = enter(&hub, &hello(2, &[]), &caller("10.0.0.2"));
        hub.report(other, Progress::default());
        assert_eq!(hub.copies_after(slow, 0, 9).0.len(), 1);
        assert!(hub.leave(slow));
    }
}
