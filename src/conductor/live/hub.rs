//! All live links, by swarm: what each member last said, and what it is still to hear. A link here is a strand of one: of
//! one composition.
//!
//! It is called under the table's locks and never asks the table itself. A link takes news from a bounded queue: who does not
//! keep up misses joins and leaves, which the next announce brings; where it would miss a copy its link ends, and
//! the next one begins with all of them.
//!
//! What it costs an attacker: [`room`](crate::conductor::room) bounds the links, and the table's room for one address
//! their strands. A join costs a word to each link of its
//! swarm, up to [`AUDIENCE`]; who is not told then hears of it with its next announce.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use crate::{
    announce::{
        Announce,
        live::{Copy, Hello, Progress},
    },
    conductor::{
        shared::glimpse::Glimpse,
        table::{Caller, Change, What, home, is_private, shown},
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
/// Addresses beside it that a newcomer hears of, at most.
const BESIDE: usize = 128;
/// Links of one swarm that hear of one change, at most.
const AUDIENCE: usize = 4096;
/// Another conductor says again within this time that a member has a link to it.
const ELSEWHERE: Time = Time::from_secs(45);
/// Members of one swarm with links to other conductors, at most.
const MAX_ELSEWHERE: usize = 10_000;
/// Copies of one swarm of which it is remembered that they were whole.
const MAX_WHOLE: usize = 10_000;

/// What a link is to tell its member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Joined(SocketAddr),
    Left(SocketAddr),
    Whole(Copy),
    Reach { address: SocketAddr, open: bool },
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
    /// Who has all of it, or had it when its link ended: each copy once, with the latest life of its member.
    whole: BTreeMap<Holder, Copy>,
}

#[derive(Default)]
pub struct Hub {
    gatherings: Mutex<HashMap<InfoHash, Gathering>>,
    next: AtomicU64,
}

impl Hub {
    /// Takes a link in, in place of an older one of the same member. The queue ends when the link is to end; with it comes
    /// who else has all of it.
    pub fn enter(&self, hello: &Hello, caller: &Caller) -> (Ticket, Receiver<News>, Vec<Copy>) {
        let (news, queue) = mpsc::channel(QUEUE);
        let ticket = Ticket { info_hash: hello.info_hash, nth: self.next.fetch_add(1, Ordering::Relaxed) };
        let mut gatherings = self.lock();
        let gathering = gatherings.entry(hello.info_hash).or_default();
        let link = Link {
            who: (hello.peer_id, hello.key),
            copy: hello.copy,
            caller: *caller,
            near: near(hello, caller),
            seen: Seen {
                home: home(&hello.announce(None, None), caller),
                name: hello.name.clone(),
                progress: hello.progress.clone(),
            },
            told: false,
            news,
        };
        gathering.links.retain(|_, other| other.who != link.who);
        gathering.elsewhere.remove(&link.who);
        gathering.introduce(&link);
        let others = gathering.whole.iter().filter(|(holder, _)| **holder != link.holder());
        let copies = others.map(|(_, copy)| copy.clone()).collect();
        let is_whole = hello.progress.left == 0;
        gathering.links.insert(ticket.nth, link);
        if is_whole {
            gathering.has_completed(ticket.nth);
        }
        (ticket, queue, copies)
    }

    /// What its member says now.
    pub fn report(&self, ticket: Ticket, progress: Progress) {
        let mut gatherings = self.lock();
        let Some(gathering) = gatherings.get_mut(&ticket.info_hash) else { return };
        let Some(link) = gathering.links.get_mut(&ticket.nth) else { return };
        let completed = link.seen.progress.left > 0 && progress.left == 0;
        link.seen.progress = progress;
        link.told = false;
        if completed {
            gathering.has_completed(ticket.nth);
        }
    }

    /// Takes a link out. False: another link of its member took its place, or it did not keep up.
    pub fn leave(&self, ticket: Ticket) -> bool {
        let mut gatherings = self.lock();
        let Some(gathering) = gatherings.get_mut(&ticket.info_hash) else { return false };
        let was_in = gathering.links.remove(&ticket.nth).is_some();
        if gathering.is_empty() {
            gatherings.remove(&ticket.info_hash);
        }
        was_in
    }

    /// Spreads a change of the table.
    pub fn tell(&self, change: &Change) {
        let mut gatherings = self.lock();
        let Some(gathering) = gatherings.get_mut(&change.info_hash) else { return };
        let of = |link: &Link| {
            let address = change.shown_to(&link.caller)?;
            match change.what {
                _ if link.seen.home == change.address => None,
                What::Joined | What::Moved => Some(News::Joined(address)),
                What::Left | What::Gone | What::Silent => Some(News::Left(address)),
                What::Replaced | What::Completed => None,
            }
        };
        gathering.links.retain(spread(of));
    }

    /// Whether this member has a link here that names this address too.
    pub fn is_named(&self, announce: &Announce, ip: IpAddr) -> bool {
        let gatherings = self.lock();
        let links = gatherings.get(&announce.info_hash).into_iter().flat_map(|gathering| gathering.links.values());
        let who = announce.key.map(|key| (announce.id, key));
        links.filter(|link| Some(link.who) == who).any(|link| link.seen.home.ip() == ip.to_canonical())
    }

    /// Tells a member whether it can be reached.
    pub fn reached(&self, info_hash: &InfoHash, at: SocketAddr, open: bool) {
        let mut gatherings = self.lock();
        let Some(gathering) = gatherings.get_mut(info_hash) else { return };
        let word = News::Reach { address: at, open };
        gathering.links.retain(spread(|link| (link.seen.home == at).then(|| word.clone())));
    }

    /// The members of a swarm that have a link, here or to another conductor.
    pub fn seen(&self, info_hash: &InfoHash) -> Vec<Seen> {
        let gatherings = self.lock();
        gatherings.get(info_hash).into_iter().flat_map(Gathering::seen).cloned().collect()
    }

    /// Bytes a second that the members of a swarm with a link receive together. The addresses of their machines are added
    /// to `machines`; how many members that are is returned too.
    pub fn rate(&self, info_hash: &InfoHash, machines: &mut HashSet<IpAddr>) -> (u64, usize) {
        let gatherings = self.lock();
        let all = gatherings.get(info_hash).into_iter().flat_map(Gathering::seen);
        all.fold((0, 0), |(rate, count), seen| {
            machines.insert(seen.home.ip());
            (rate.saturating_add(seen.progress.rate_down), count + 1)
        })
    }

    /// What the members with a link here say, for other conductors: what is new, or `all`.
    pub fn glimpses(&self, all: bool) -> Vec<Glimpse> {
        let mut glimpses = Vec::new();
        for (info_hash, gathering) in self.lock().iter_mut() {
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
        let mut gatherings = self.lock();
        let gathering = gatherings.entry(info_hash).or_default();
        let who = (peer_id, key);
        let is_here = gathering.links.values().any(|link| link.who == who);
        let mut is_new = false;
        let room = gathering.elsewhere.len() < MAX_ELSEWHERE || gathering.elsewhere.contains_key(&who);
        match progress {
            Some(progress) if !is_here && room => {
                if progress.left == 0 {
                    gathering.is_whole(Copy { peer_id, name: name.clone(), copy });
                }
                let seen = Seen { home, name, progress };
                is_new = gathering.elsewhere.insert(who, Elsewhere { seen, until: now + ELSEWHERE }).is_none();
            }
            Some(_) => {}
            None => _ = gathering.elsewhere.remove(&who),
        }
        if gathering.is_empty() {
            gatherings.remove(&info_hash);
        }
        is_new
    }

    /// Forgets members of which their conductor says no more.
    pub fn forget_old(&self, now: Time) {
        self.lock().retain(|_, gathering| {
            gathering.elsewhere.retain(|_, other| now < other.until);
            !gathering.is_empty()
        });
    }

    /// The swarms in which somebody has a link, here or to another conductor.
    pub fn swarms(&self) -> Vec<InfoHash> {
        self.lock().keys().copied().collect()
    }

    /// Links in all.
    pub fn links(&self) -> usize {
        self.lock().values().map(|gathering| gathering.links.len()).sum()
    }

    // A panic under the lock is a bug of one call; the others go on.
    fn lock(&self) -> MutexGuard<'_, HashMap<InfoHash, Gathering>> {
        self.gatherings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    /// Members behind one address hear of each other where they are on the inside.
    fn introduce(&self, newcomer: &Link) {
        let beside = || self.links.values().filter(|link| link.caller.source == newcomer.caller.source);
        let tell = |to: &Link, address: &SocketAddr| _ = to.news.try_send(News::Joined(*address));
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

    fn has_completed(&mut self, nth: u64) {
        if let Some(link) = self.links.get(&nth) {
            self.is_whole(Copy { peer_id: link.who.0, name: link.seen.name.clone(), copy: link.copy });
        }
    }

    /// Everybody but its own holder hears of a copy once, and of each new name that it is under.
    fn is_whole(&mut self, copy: Copy) {
        let holder = copy.holder();
        if self.whole.len() >= MAX_WHOLE && !self.whole.contains_key(&holder) {
            return;
        }
        let known = self.whole.insert(holder, copy.clone());
        if known.is_none_or(|known| known.name != copy.name) {
            let word = News::Whole(copy);
            self.links.retain(spread(|link| (link.holder() != holder).then(|| word.clone())));
        }
    }
}

impl Link {
    /// What its copy is counted under.
    fn holder(&self) -> Holder {
        Holder::of(self.copy, self.who.0)
    }
}

/// Gives each link its news, until enough heard; says which links stay.
fn spread(news: impl Fn(&Link) -> Option<News>) -> impl FnMut(&u64, &mut Link) -> bool {
    let mut told = 0;
    move |_, link| {
        let Some(word) = (told < AUDIENCE).then(|| news(link)).flatten() else { return true };
        told += 1;
        let is_needed = matches!(word, News::Whole(_));
        match link.news.try_send(word) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => !is_needed,
            Err(TrySendError::Closed(_)) => false,
        }
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

    fn heard(queue: &mut Receiver<News>) -> Vec<News> {
        std::iter::from_fn(|| queue.try_recv().ok()).collect()
    }

    fn change(address: &str, what: What) -> Change {
        Change { info_hash: HASH, address: address.parse().unwrap(), what, members: 2, word_of: None }
    }

    #[test]
    fn all_but_the_member_itself_hear_of_a_change() {
        let hub = Hub::default();
        let (_, mut one, _) = hub.enter(&hello(1, &[]), &caller("10.0.0.1"));
        let (_, mut two, _) = hub.enter(&hello(2, &[]), &caller("10.0.0.2"));
        hub.tell(&change("10.0.0.2:7002", What::Joined));
        hub.tell(&change("10.0.0.2:7002", What::Gone));
        let at = "10.0.0.2:7002".parse().unwrap();
        assert_eq!(heard(&mut one), [News::Joined(at), News::Left(at)]);
        assert_eq!(heard(&mut two), []);
        hub.reached(&HASH, at, false);
        assert_eq!(heard(&mut two), [News::Reach { address: at, open: false }]);
    }

    #[test]
    fn who_has_it_whole_is_told_once_and_stays_known_when_it_left() {
        let hub = Hub::default();
        let (_one, mut news, _) = hub.enter(&hello(1, &[]), &caller("10.0.0.1"));
        let (two, _queue, _) = hub.enter(&hello(2, &[]), &caller("10.0.0.2"));
        hub.report(two, Progress::default());
        hub.report(two, Progress::default());
        let copy = News::Whole(Copy { peer_id: PeerId([2; 20]), name: "node2".into(), copy: None });
        assert_eq!(heard(&mut news), std::slice::from_ref(&copy));
        assert!(hub.leave(two));
        let (_, _, copies) = hub.enter(&hello(3, &[]), &caller("10.0.0.3"));
        assert_eq!(copies.into_iter().map(News::Whole).collect::<Vec<_>>(), [copy]);
    }

    /// A hello in the life `n` of the member that holds this copy, under this name.
    fn life(n: u8, copy: u8, name: &str) -> Hello {
        Hello { copy: Some(CopyId([copy; 8])), name: name.to_owned(), ..hello(n, &[]) }
    }

    #[test]
    fn a_copy_is_told_once_however_often_its_member_is_started_anew() {
        let hub = Hub::default();
        let (_one, mut news, _) = hub.enter(&life(1, 1, "one"), &caller("10.0.0.1"));
        for (n, name) in [(2, "vm"), (3, "vm"), (4, "node7")] {
            let (ticket, mut own, copies) = hub.enter(&life(n, 2, name), &caller("10.0.0.2"));
            hub.report(ticket, Progress::default());
            assert!(hub.leave(ticket));
            assert_eq!((copies, heard(&mut own)), (Vec::new(), Vec::new()), "its own earlier lives are no others");
        }
        let copy =
            |n: u8, name: &str| Copy { peer_id: PeerId([n; 20]), name: name.to_owned(), copy: Some(CopyId([2; 8])) };
        assert_eq!(heard(&mut news), [copy(2, "vm"), copy(4, "node7")].map(News::Whole), "again under a new name");
        let (_, _queue, copies) = hub.enter(&life(5, 5, "late"), &caller("10.0.0.5"));
        assert_eq!(copies, [copy(4, "node7")]);
    }

    #[test]
    fn other_conductors_hear_which_copy_it_is() {
        let (here, there) = (Hub::default(), Hub::default());
        let (_one, mut news, _) = here.enter(&hello(1, &[]), &caller("10.0.0.1"));
        for n in 2..5 {
            let (ticket, _queue, _) = there.enter(&life(n, 2, "vm"), &caller("10.0.0.2"));
            there.report(ticket, Progress::default());
            there.glimpses(false).into_iter().for_each(|glimpse| _ = here.see(glimpse, Time::ZERO));
            assert!(there.leave(ticket));
        }
        assert_eq!(heard(&mut news).len(), 1);
    }

    #[test]
    fn who_names_the_copy_of_another_takes_none_out_of_the_count() {
        let hub = Hub::default();
        let whole = |hello: Hello| Hello { progress: Progress::default(), ..hello };
        for hello in [life(2, 2, "two"), hello(3, &[]), life(4, 2, "bad"), Hello { copy: None, ..life(2, 2, "bad") }] {
            hub.enter(&whole(hello), &caller("10.0.0.2"));
        }
        hub.enter(&whole(life(3, 2, "bad")), &caller("10.0.0.3"));
        let (_, _queue, copies) = hub.enter(&hello(1, &[]), &caller("10.0.0.1"));
        assert_eq!(copies.len(), 3);
    }

    #[test]
    fn members_of_another_conductor_are_seen_until_it_says_no_more_of_them() {
        let (here, there) = (Hub::default(), Hub::default());
        let (_one, mut news, _) = here.enter(&hello(1, &[]), &caller("10.0.0.1"));
        let (two, _queue, _) = there.enter(&hello(2, &[]), &caller("10.0.0.2"));
        let tells = |all| there.glimpses(all).into_iter().for_each(|glimpse| _ = here.see(glimpse, Time::ZERO));
        let lacks = || here.seen(&HASH).iter().map(|seen| (seen.name.clone(), seen.progress.left)).collect::<Vec<_>>();
        tells(false);
        assert_eq!(lacks(), [("node1".into(), 9), ("node2".into(), 9)]);
        assert!(there.glimpses(false).is_empty() && there.glimpses(true).len() == 1);
        there.report(two, Progress::default());
        tells(false);
        assert_eq!(lacks()[1], ("node2".into(), 0));
        assert_eq!(
            heard(&mut news),
            [News::Whole(Copy { peer_id: PeerId([2; 20]), name: "node2".into(), copy: None })]
        );
        let mut gone = there.glimpses(true).remove(0);
        gone.progress = None;
        here.see(gone, Time::ZERO);
        assert_eq!(lacks().len(), 1);
        tells(true);
        here.forget_old(ELSEWHERE);
        assert_eq!((lacks().len(), here.links()), (1, 1));
        let (_, _queue, _) = here.enter(&hello(2, &[]), &caller("10.0.0.2"));
        tells(true);
        assert_eq!(lacks().len(), 2, "it has come here");
    }

    #[test]
    fn a_second_link_of_a_member_ends_the_first() {
        let hub = Hub::default();
        let (first, mut news, _) = hub.enter(&hello(1, &[]), &caller("10.0.0.1"));
        let (second, _queue, _) = hub.enter(&hello(1, &[]), &caller("10.0.0.1"));
        assert!(matches!(news.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
        assert!(!hub.leave(first) && hub.leave(second));
        assert_eq!((hub.links(), hub.swarms().len()), (0, 0));
    }

    #[test]
    fn members_behind_one_router_hear_where_they_are_inside() {
        let hub = Hub::default();
        let (_, mut one, _) = hub.enter(&hello(1, &["192.168.0.1", "8.8.8.8"]), &caller("1.2.3.4"));
        let (_, mut two, _) = hub.enter(&hello(2, &["192.168.0.2"]), &caller("1.2.3.4"));
        let (_, mut far, _) = hub.enter(&hello(3, &["192.168.0.3"]), &caller("1.2.3.5"));
        assert_eq!(heard(&mut one), [News::Joined("192.168.0.2:7002".parse().unwrap())]);
        assert_eq!(heard(&mut two), [News::Joined("192.168.0.1:7001".parse().unwrap())]);
        assert_eq!(heard(&mut far), []);
    }

    #[test]
    fn a_link_that_does_not_keep_up_misses_joins_and_ends_before_it_misses_a_copy() {
        let hub = Hub::default();
        let (slow, _queue, _) = hub.enter(&hello(1, &[]), &caller("10.0.0.1"));
        (0..=QUEUE).for_each(|_| hub.tell(&change("10.0.0.2:7002", What::Joined)));
        assert_eq!(hub.links(), 1);
        let (other, _other, _) = hub.enter(&hello(2, &[]), &caller("10.0.0.2"));
        hub.report(other, Progress::default());
        assert!(!hub.leave(slow));
    }
}
